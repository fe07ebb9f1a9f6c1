// SPDX-License-Identifier: Apache-2.0
/**
 * Where a writer stands when it starts: a log directory of its own under a lock, the key that the log began with, and
 * what outside stores say of it. Refuses with the fix in words; opens no log itself.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { equalBytes } from '../../log/bytes.ts';
import type { ControlEvent, ReceiptEvent } from '../../log/control.ts';
import { LogError } from '../../log/errors.ts';
import { NOTE_BYTE_LENGTH_MAX } from '../../log/limits.ts';
import { type Checkpoint, parseCheckpoint, parseVerifier, type Verifier } from '../../log/note.ts';
import type { Archive, ListOptions } from '../archive/archive.ts';
import type { HoldEvent } from '../archive/holds.ts';
import { headAt, prunedSize, readControlRecords, sizeOf } from '../storage/log-reader.ts';
import type { ArchivedSegment } from '../storage/prune.ts';
import type { Waypoint } from '../storage/waypoint.ts';
import { causeOf } from '../system/cause.ts';
import { nodeFiles, replaceFile } from '../system/files.ts';
import {
  generateKeyPem,
  parseSigner,
  readSecret,
  type Signer,
  sha256,
  writeSecret,
} from '../system/keys.ts';
import { type Lock, takeLock } from '../system/lock.ts';
import type { SealingConfig, StartFailure } from './protocol.ts';

/** A start that can not be: told to the person who starts the service, with the fix. */
export class StartRefusal extends Error {
  override readonly name = 'StartRefusal';
  readonly code: StartFailure;
  constructor(code: StartFailure, message: string) {
    super(message);
    this.code = code;
  }
}

/** A directory of our own to write in, and the lock on it. */
export interface Place {
  readonly instance: string;
  readonly dir: string;
  readonly lock: Lock;
}

const INSTANCE_COUNT_MAX = 1024;
/** How long a start waits for an archive: without it, it seals and does not sign. */
const COMPARE_DELAY_MS_MAX = 5_000;
/** How long somebody who only asks whether there is a writer may have a lock; it is some microseconds. */
const LOOK_MS_MAX = 20;

/** Makes a directory and what leads to it; what is acknowledged in it must not be lost with its name (invariant 1). */
function makeDurableTree(dir: string): void {
  const first = mkdirSync(dir, { recursive: true, mode: 0o700 });
  // Our own two levels also where they existed: whoever made them may have crashed right here.
  const top = Math.min(dirname(first ?? dir).length, dirname(dirname(dir)).length);
  let parent = dir;
  do {
    parent = dirname(parent);
    try {
      nodeFiles.syncDirectory(parent);
    } catch (error) {
      // Some may be written to and not be read; then it is as durable as its file system makes it.
      if (!(error instanceof Error && 'code' in error && error.code === 'EACCES')) throw error;
    }
  } while (parent.length > top);
}

export function takePlace(config: SealingConfig): Place {
  const take = (instance: string): Place | undefined => {
    const dir = join(config.dir, instance);
    try {
      makeDurableTree(dir);
      const lock = takeLock(dir, LOOK_MS_MAX);
      return lock === undefined ? undefined : { instance, dir, lock };
    } catch (error) {
      throw new StartRefusal(
        'io',
        `${dir} can not be written (${causeOf(error)}); set \`dir\` to a place that this process may write.`,
      );
    }
  };
  if (config.instance !== undefined) {
    const place = take(config.instance);
    if (place !== undefined) return place;
    throw new StartRefusal(
      'locked',
      `${join(config.dir, config.instance)} is locked: another process writes this log. One log has one writer; ` +
        'give this process an `instance` of its own, or leave it out to take the first free one.',
    );
  }
  // Replicas on one disk take the first free place each, so that a restart goes on with a log that is there.
  for (let number = 0; number < INSTANCE_COUNT_MAX; number++) {
    const place = take(String(number));
    if (place !== undefined) return place;
  }
  throw new StartRefusal(
    'locked',
    `${config.dir}: all ${INSTANCE_COUNT_MAX} log directories are locked`,
  );
}

/** `<name>.2`, `<name>.3`, …: what the logs are called that succeed the one of a name. */
const SUCCESSOR = /\.([2-9]|[1-9][0-9]{1,8})$/;

/** The name after this one. */
export function successorName(origin: string): string {
  const number = SUCCESSOR.exec(origin)?.[1];
  return number === undefined
    ? `${origin}.2`
    : `${origin.slice(0, -number.length)}${Number(number) + 1}`;
}

/** A log keeps its name for life; the one that succeeds it is what the same settings mean from then on. */
function isNameOrSuccessor(known: string, origin: string): boolean {
  return (
    known === origin || (known.startsWith(`${origin}.`) && known.replace(SUCCESSOR, '') === origin)
  );
}

/** The signer of a log: its own key, or the configured one, which must be the one the log began with. */
export function openSigner(
  config: SealingConfig,
  place: Place,
): { signer: Signer; keyCreated: boolean } {
  const verifierPath = join(place.dir, 'verifier');
  const known = existsSync(verifierPath) ? readFileSync(verifierPath, 'utf8').trim() : undefined;
  if (known === '') {
    // Nothing of ours leaves one behind, but a copy that ran out of disk may.
    throw new StartRefusal(
      'damaged',
      `${verifierPath} is empty: delete it, and the next start writes it again.`,
    );
  }
  const knownOrigin = known?.split('+')[0];
  const origin = `${config.originBase}/${place.instance}`;
  const isOther = knownOrigin !== undefined && !isNameOrSuccessor(knownOrigin, origin);
  if (isOther && config.originIsChosen) {
    throw new StartRefusal(
      'mismatch',
      `${place.dir} holds the log ${knownOrigin}, not ${origin}. A log keeps its name for life: set \`origin\` back, or use another \`dir\`.`,
    );
  }
  const keyPath = join(place.dir, 'key.pem');
  let keyCreated = false;
  let pem = config.keyPem;
  if (pem === undefined) {
    if (!existsSync(keyPath)) {
      if (known !== undefined) {
        throw new StartRefusal(
          'mismatch',
          `${keyPath} is missing: ${knownOrigin} can not be continued without its key. Put it back, or use another \`dir\`.`,
        );
      }
      writeSecret(keyPath, generateKeyPem());
      keyCreated = true;
    }
    pem = readSecret(keyPath);
    if (pem.trim() === '') {
      throw new StartRefusal(
        'damaged',
        known === undefined
          ? `${keyPath} is empty: delete it, and the next start makes a key.`
          : `${keyPath} is empty: ${knownOrigin} can not be continued without its key. Put it back, or use another \`dir\`.`,
      );
    }
  }
  const signer = parseSigner(knownOrigin ?? origin, pem);
  if (known !== undefined && known !== signer.vkey) {
    throw new StartRefusal(
      'mismatch',
      `the key given is not the one that ${knownOrigin} began with (${known}); give that key, or use another \`dir\`.`,
    );
  }
  if (known === undefined && config.keyPem !== undefined && config.instance === undefined) {
    refuseSharedKey(config.dir, signer.verifier);
  }
  // Public and untrusted: for people to copy into their trust file, elsewhere.
  if (known === undefined) {
    // Whole or not at all: a torn one would look like the key of another log.
    replaceFile(nodeFiles, verifierPath, Buffer.from(`${signer.vkey}\n`));
    chmodSync(verifierPath, 0o644);
  }
  return { signer, keyCreated };
}

/**
 * A log that began only because the one before it was taken must not be signed with that one's key.
 * @throws StartRefusal where another log below `dir` has this key
 */
function refuseSharedKey(dir: string, own: Verifier): void {
  for (const instance of nodeFiles.list(dir) ?? []) {
    const path = join(dir, instance, 'verifier');
    let other: Verifier;
    try {
      other = parseVerifier(sha256, readFileSync(path, 'utf8').trim());
    } catch {
      // No log, or none that could be told by: its own start says what is wrong with it.
      continue;
    }
    if (other.name === own.name || !equalBytes(other.publicKey, own.publicKey)) continue;
    throw new StartRefusal(
      'mismatch',
      `the key given signs the log ${other.name} (${join(dir, instance)}) already, and ${own.name} would be another: ` +
        'one key signs one log. Leave the key out, so that each log makes its own, or set `instance` and give each ' +
        'its own key.',
    );
  }
}

/** `<origin>/checkpoints/<size, 20 digits>-<SHA-256 of the note, hex>` */
const CHECKPOINT_KEY = /\/(\d{20})-([0-9a-f]{64})$/;
/** Names at the end of a listing that are passed over because what lies there is no checkpoint. */
const FOREIGN_COUNT_MAX = 100;

/** A checkpoint that an archive holds under a key that fits it. */
export interface ArchivedHead {
  readonly key: string;
  readonly checkpoint: Checkpoint;
}

/**
 * The newest checkpoint of a log in an archive, by size; undefined where it has none. Whose signature it bears does not
 * matter: under the name of this log nobody else is to store any.
 * @throws Error where the archive can not be read
 */
export async function newestArchived(
  archive: Archive,
  origin: string,
  options: ListOptions = {},
): Promise<ArchivedHead | undefined> {
  const listed = await archive.list(`${origin}/checkpoints/`, options);
  if (listed.status !== 'ok') throw new Error(listed.cause);
  for (const { key } of listed.objects.slice(-FOREIGN_COUNT_MAX).reverse()) {
    const found = CHECKPOINT_KEY.exec(key);
    if (found === null) continue;
    const hash = Buffer.from(found[2] ?? '', 'hex');
    const { signal } = options;
    const read = await archive.read(key, NOTE_BYTE_LENGTH_MAX, { sha256: hash, signal });
    if (read.status === 'retryable') throw new Error(read.cause);
    if (read.status === 'missing' || !equalBytes(sha256(read.bytes), hash)) continue;
    try {
      const checkpoint = parseCheckpoint(read.bytes);
      if (checkpoint.origin === origin) return { key, checkpoint };
    } catch (error) {
      // Verifying reports what it is; here it must not keep a service from starting.
      if (!(error instanceof LogError)) throw error;
    }
  }
  return undefined;
}

/**
 * Compares the log with the newest checkpoint that the archive has (invariant 4). False where the archive can not be
 * read now: then nothing is signed until it was.
 * @param receipts what the log holds of them: what was archived before the newest needs no second look
 * @throws StartRefusal where the log is behind what was archived, or another history
 */
export async function compareWithArchive(
  dir: string,
  archive: Archive,
  origin: string,
  receipts: readonly ReceiptEvent[],
  waypoint?: Waypoint,
): Promise<boolean> {
  const behind = (size: number): string =>
    `${origin}/checkpoints/${String(size).padStart(20, '0')}`;
  const receiptSize = receipts.findLast((one) => one.archive === archive.name)?.size ?? 0;
  const signal = AbortSignal.timeout(COMPARE_DELAY_MS_MAX);
  let newest: ArchivedHead | undefined;
  try {
    // What lies beyond this log is asked for first: of a lost disk an archive may hold any number of checkpoints.
    newest =
      (await newestArchived(archive, origin, {
        after: behind((await sizeOf(dir)) + 1),
        countMax: FOREIGN_COUNT_MAX,
        signal,
      })) ??
      (await newestArchived(archive, origin, {
        after: behind(receiptSize),
        signal,
      }));
  } catch {
    return false;
  }
  const removedSize = prunedSize(dir);
  if (newest === undefined || newest.checkpoint.size < removedSize) {
    // Of an archive that came later, or was left for another, no more is expected.
    if (removedSize === 0 || receiptSize === 0) return true;
    throw new StartRefusal(
      'damaged',
      `${removedSize} records of ${origin} were removed from ${dir} since ${archive.name} had them, and it has no checkpoint ` +
        'of so many. Find out what became of it; without it, the log is not whole anywhere.',
    );
  }
  const archived = newest.checkpoint;
  const own = await headAt(dir, archived.size, waypoint);
  if (own !== undefined && equalBytes(own.root, archived.root)) return true;
  throw new StartRefusal(
    'damaged',
    `${dir} is ${own === undefined ? 'behind' : 'another history than'} the archived checkpoint of ${archived.size} records ` +
      `(${newest.key}): a restored backup or a replaced disk. This log must not be continued: ` +
      '`sealspan recover` begins a successor with a new key.',
  );
}

/** What the log says of its archive. */
export interface SealedEvents {
  readonly archived: readonly ArchivedSegment[];
  readonly holds: readonly HoldEvent[];
}

/**
 * Receipts and legal holds that the log holds: how far the archiver is (invariant 10). Read before the log is opened, so what a crash tore
 * off its end is still there: receipts end before it, and opening the log judges it.
 */
export async function sealedEvents(dir: string, waypoint?: Waypoint): Promise<SealedEvents> {
  const archived: ArchivedSegment[] = [];
  const holds: HoldEvent[] = [];
  const take = (event: ControlEvent, sealedMs: number): void => {
    if (event.name === 'hold') holds.push(event);
    if (event.name === 'receipt') archived.push({ receipt: event, receivedMs: sealedMs });
  };
  for (const { event, sealedMs } of waypoint?.events ?? []) take(event, sealedMs);
  for await (const { header, events } of readControlRecords(dir, waypoint?.at.size)) {
    const sealedMs = Date.parse(header.sealed);
    waypoint?.hear(header.index, sealedMs, events);
    for (const event of events) take(event, sealedMs);
  }
  return { archived, holds };
}
