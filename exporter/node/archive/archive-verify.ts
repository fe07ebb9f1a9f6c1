// SPDX-License-Identifier: Apache-2.0
/**
 * Verifies a log where it is archived: reads each segment once, a few ahead, in memory that does not grow with the log;
 * looks at all versions of every object, at markers and at locks, and holds the sealed receipts against what is there.
 * Trusts nothing in the bucket; whether the store tells the truth of its locks, only the store knows.
 */
import { equalBytes } from '../../log/bytes.ts';
import type { ReceiptEvent } from '../../log/control.ts';
import { LogError } from '../../log/errors.ts';
import { NOTE_BYTE_LENGTH_MAX, SEGMENT_BYTE_LENGTH_MAX } from '../../log/limits.ts';
import { type Hash, leafHash, Tree } from '../../log/merkle.ts';
import { type Head, judgeNote, parseCheckpoint } from '../../log/note.ts';
import type { CheckedRecord } from '../../log/record.ts';
import { parseSegmentName, readFrames } from '../../log/segment.ts';
import { type NamedBytes, type Removed, type Trust, verifyLogBy } from '../../log/verify.ts';
import { parsePruned } from '../storage/prune.ts';
import { DAY_MS, type ObjectLock } from '../storage/retention.ts';
import { nodePrimitives, sha256 } from '../system/keys.ts';
import { type Checkers, openCheckers } from '../verifying/checkers.ts';
import type { TalliedRecord } from '../verifying/tally.ts';
import { Locks, type WantedLock } from './archive-locks.ts';
import { PROBE_FOLDER } from './archive-probe.ts';
import { ArchiveFindings, type ArchiveReport } from './archive-report.ts';
import { findStart, parseStartName, START_BYTE_LENGTH_MAX } from './archive-start.ts';
import { takeHold } from './holds.ts';
import type { StoredKey, StoredVersion } from './s3-listing.ts';
import type { S3Store, StoredBytes } from './s3-store.ts';

export interface ArchiveToVerify {
  readonly store: S3Store;
  readonly origin: string;
  readonly trust: Trust;
  readonly wanted: WantedLock;
  readonly nowMs: number;
  /** Each record is checked when it is its turn, where there are none. */
  readonly checkers?: Checkers | undefined;
  /** Sees each record that passed its own checks, in order. */
  readonly onRecord?: ((record: TalliedRecord) => void) | undefined;
  /** Told after each segment. */
  readonly onProgress?: ((progress: ArchiveProgress) => void) | undefined;
}

export interface VerifiedArchive {
  readonly report: ArchiveReport;
  /** The largest head that a trusted key signed and the log reproduced: what a trust file remembers. */
  readonly head: Head | undefined;
}

export interface ArchiveProgress {
  readonly segmentCount: number;
  readonly recordCount: number;
  readonly byteLength: number;
}

/** Segments that are read ahead of the one being verified. */
const READ_AHEAD_COUNT = 4;
/** Newest checkpoints that are held against the end of the log; those before are, segment by segment. */
const NEWEST_COUNT = 64;
/** Checkpoints of one segment that are looked at; whoever adds more has added foreign objects. */
const CHECKPOINTS_PER_SEGMENT_MAX = 1000;
/** Segments whose receipt is awaited: they come with the next ones, so a few suffice. */
const AWAITED_COUNT_MAX = 10_000;

const CHECKPOINT_NAME = /^(\d{20})-([0-9a-f]{64})$/;

/** Folders of a log. */
const OF_LOG = ['segments', 'checkpoints', 'starts'];

/** Logs of an archive, and what belongs to none. */
export interface FoundLogs {
  readonly origins: readonly string[];
  readonly foreign: readonly string[];
}

const FOREIGN_COUNT_MAX = 100;
const DEPTH_MAX = 32;

/** Finds the logs below the prefix of a store. @throws S3Failure */
export async function findArchivedLogs(store: S3Store): Promise<FoundLogs> {
  const origins: string[] = [];
  const foreign: string[] = [];
  const look = async (folder: string, depth: number): Promise<void> => {
    const folders: string[] = [];
    for await (const { key, versionCount, markerCount } of store.keys(folder, {
      isShallow: true,
      // Whoever verifies what is found here is told.
      onLack: () => {},
    })) {
      if (key.endsWith('/') && versionCount + markerCount === 0) folders.push(key);
      else if (foreign.length < FOREIGN_COUNT_MAX) foreign.push(key);
    }
    const isLog =
      folders.includes(`${folder}segments/`) || folders.includes(`${folder}checkpoints/`);
    if (isLog && folder !== '') origins.push(folder.slice(0, -1));
    for (const next of folders.sort()) {
      const isOfLog = isLog && OF_LOG.some((name) => next === `${folder}${name}/`);
      if (isOfLog || next === `${PROBE_FOLDER}/`) continue;
      if (depth < DEPTH_MAX) await look(next, depth + 1);
    }
  };
  await look('', 0);
  return { origins: origins.sort(), foreign };
}

/**
 * Verifies one log of an archive.
 * @throws S3Failure where the store can not be read
 */
export async function verifyArchivedLog(options: ArchiveToVerify): Promise<VerifiedArchive> {
  const removed = await findStart(options.store, `${options.origin}/`);
  const walk = new ArchiveWalk(options, removed);
  const { checkers = openCheckers(1) } = options;
  const report = await verifyLogBy(
    (frame) => checkers.check(frame),
    {
      removed,
      checkpoints: await walk.newestCheckpoints(),
      segments: walk.segments(),
      trust: options.trust,
      live: false,
      nowMs: options.nowMs,
      onRecord: (record) => {
        walk.take(record);
        options.onRecord?.(record);
      },
    },
    nodePrimitives,
  );
  checkers.forget();
  walk.end();
  return { report: walk.findings.join(report, walk.locks()), head: walk.head };
}

interface Loaded {
  readonly stored: StoredKey;
  /** Index of the first record, or size, as the name says. */
  readonly at: number;
  /** Undefined where there are several versions: which one counts is seen when it is its turn. */
  readonly got: Promise<StoredBytes | undefined> | undefined;
}

interface Awaited {
  readonly key: string;
  readonly sha256: Hash;
  readonly byteLength: number;
  readonly lock: ObjectLock | undefined;
}

/** Keeps a few loads under way. */
async function fill(
  ahead: Loaded[],
  listed: AsyncGenerator<Loaded, void, undefined>,
): Promise<void> {
  while (ahead.length <= READ_AHEAD_COUNT) {
    const next = await listed.next();
    if (next.done === true) return;
    ahead.push(next.value);
  }
}

class ArchiveWalk {
  head: Head | undefined;
  readonly findings: ArchiveFindings = new ArchiveFindings();
  readonly #options: ArchiveToVerify;
  readonly #store: S3Store;
  readonly #folder: string;
  readonly #removed: Removed;
  readonly #tree: Tree;
  #link: Hash;
  /** Roots that checkpoints state, by size, for the segment being verified. */
  readonly #stated = new Map<number, { readonly root: Hash; readonly key: string }[]>();
  readonly #checkpoints: AsyncGenerator<Loaded, void, undefined>;
  readonly #checkpointsAhead: Loaded[] = [];
  readonly #locks: Locks;
  readonly #awaited = new Map<number, Awaited>();
  readonly #held = new Set<string>();
  #canSeeVersions = true;
  #segmentCount = 0;
  #byteLength = 0;

  constructor(options: ArchiveToVerify, removed: Removed) {
    this.#removed = removed;
    this.#tree = new Tree(sha256, removed.size, removed.peaks);
    this.#link = removed.link;
    this.#options = options;
    this.#store = options.store;
    this.#folder = `${options.origin}/`;
    this.#checkpoints = this.#checkpointKeys();
    this.#locks = new Locks(options.store, options.wanted, this.findings);
  }

  /** The newest checkpoints, by the sizes that their names say. */
  async newestCheckpoints(): Promise<NamedBytes[]> {
    const newest: StoredKey[] = [];
    for await (const stored of this.#keys('checkpoints/')) {
      if (!CHECKPOINT_NAME.test(this.#nameOf(stored))) continue;
      newest.push(stored);
      if (newest.length > NEWEST_COUNT) newest.shift();
    }
    const found: NamedBytes[] = [];
    for (const stored of newest) {
      const bytes = (await this.#choose(stored, NOTE_BYTE_LENGTH_MAX, this.#isNamed(stored)))
        ?.bytes;
      if (bytes !== undefined) found.push({ name: this.#relative(stored.key), bytes });
    }
    return found;
  }

  /** Segments in the order of their first records, each under the name that the verifier expects. */
  async *segments(): AsyncGenerator<NamedBytes, void, undefined> {
    const listed = this.#segmentKeys();
    const ahead: Loaded[] = [];
    for (;;) {
      await fill(ahead, listed);
      const loaded = ahead.shift();
      if (loaded === undefined) break;
      const nextIndex = ahead[0]?.at ?? Number.MAX_SAFE_INTEGER;
      await this.#stateUpTo(nextIndex);
      const bytes = await this.#segmentOf(loaded);
      if (bytes === undefined) continue;
      this.#segmentCount++;
      this.#byteLength += bytes.length;
      this.#options.checkers?.begin(bytes);
      yield { name: this.#relative(loaded.stored.key).slice('segments/'.length), bytes };
      this.#options.onProgress?.({
        segmentCount: this.#segmentCount,
        recordCount: this.#tree.size,
        byteLength: this.#byteLength,
      });
    }
    // What lies behind the end of the log is looked at as well.
    await this.#stateUpTo(Number.POSITIVE_INFINITY);
    await this.#lookAtStarts();
  }

  /** What only the whole log tells. */
  end(): void {
    this.#locks.compareHolds(this.#held);
  }

  locks(): string {
    return this.#locks.summary();
  }

  /** A record that passed its own checks. */
  take({ header, leaf, events }: CheckedRecord): void {
    // Behind a record that did not, no root of ours means anything; the verdict is invalid already.
    if (header.index === this.#tree.size) {
      this.#tree.append(leaf);
      this.#link = leaf;
      for (const { root, key } of this.#stated.get(this.#tree.size) ?? []) {
        if (equalBytes(root, this.#tree.root())) {
          this.head = { size: this.#tree.size, root };
          continue;
        }
        const message = `states another root than the log has at ${this.#tree.size} records`;
        this.findings.add('archive.root', key, message);
      }
    }
    for (const event of events) {
      if (event.name === 'receipt') this.#hear(event);
      if (event.name === 'hold') takeHold(this.#held, event);
    }
  }

  /** Keys of segments in order, those of one version being read already. */
  async *#segmentKeys(): AsyncGenerator<Loaded, void, undefined> {
    for await (const stored of this.#keys('segments/')) {
      const firstIndex = parseSegmentName(this.#nameOf(stored));
      if (firstIndex === undefined) this.#foreign(stored);
      // What is in front of where the log begins is on its way out, or can not be verified any more.
      else if (firstIndex >= this.#removed.size)
        yield { stored, at: firstIndex, got: this.#getOnly(stored, SEGMENT_BYTE_LENGTH_MAX) };
    }
  }

  /** Keys of checkpoints in order of size, those of one version being read already. */
  async *#checkpointKeys(): AsyncGenerator<Loaded, void, undefined> {
    for await (const stored of this.#keys('checkpoints/')) {
      const size = Number(CHECKPOINT_NAME.exec(this.#nameOf(stored))?.[1] ?? Number.NaN);
      if (Number.isNaN(size)) this.#foreign(stored);
      else if (size > this.#removed.size || stored.versionCount > 0)
        yield { stored, at: size, got: this.#getOnly(stored, NOTE_BYTE_LENGTH_MAX) };
    }
  }

  /** Begins to read an object of one version; undefined where there are several. */
  #getOnly(stored: StoredKey, byteLengthMax: number): Loaded['got'] {
    const [only] = stored.versions;
    if (only === undefined || stored.versionCount > 1) return undefined;
    const got = this.#get(stored.key, only, byteLengthMax);
    // Nobody may be waiting yet when it fails.
    got.catch(() => {});
    return got;
  }

  async #get(
    key: string,
    { id, byteLength, storedMs }: StoredVersion,
    byteLengthMax: number,
  ): Promise<StoredBytes | undefined> {
    if (byteLength <= byteLengthMax) return this.#store.get(key, id, byteLengthMax);
    // Not read: one byte too many is enough for the verifier to say so.
    const bytes = new Uint8Array(byteLengthMax + 1);
    return { versionId: id, bytes, storedMs, lock: 'unknown', hasLegalHold: false };
  }

  async #segmentOf({ stored, got, at }: Loaded): Promise<Uint8Array | undefined> {
    const fits = (bytes: Uint8Array): boolean => this.#continues(bytes, at);
    const counted = await (got ?? this.#choose(stored, SEGMENT_BYTE_LENGTH_MAX, fits, true));
    this.#locks.lookAtMarkers(stored);
    if (counted === undefined) return undefined;
    const lock = await this.#locks.lookAt(stored.key, counted);
    if (at > 0 && at === this.#removed.size) this.#judgeRemoval(stored.key, counted.storedMs);
    const { bytes } = counted;
    if (this.#awaited.size < AWAITED_COUNT_MAX) {
      const hash = sha256(bytes);
      this.#awaited.set(at, { key: stored.key, sha256: hash, byteLength: bytes.length, lock });
    }
    return bytes;
  }

  /** True for the bytes that the name of a checkpoint binds. */
  #isNamed(stored: StoredKey): (bytes: Uint8Array) => boolean {
    const hash = CHECKPOINT_NAME.exec(this.#nameOf(stored))?.[2];
    return (bytes) => Buffer.from(sha256(bytes)).toString('hex') === hash;
  }

  /**
   * The oldest version that fits, or the oldest of all where none does: then the verifier says what is wrong with it.
   * All others become findings.
   */
  async #choose(
    stored: StoredKey,
    byteLengthMax: number,
    fits: (bytes: Uint8Array) => boolean,
    reports = false,
  ): Promise<StoredBytes | undefined> {
    let counted: StoredBytes | undefined;
    let oldest: StoredBytes | undefined;
    const seen: { readonly id: string; readonly hash: Hash }[] = [];
    for (const version of stored.versions) {
      const got = await this.#get(stored.key, version, byteLengthMax);
      if (got === undefined) continue;
      oldest ??= got;
      if (counted === undefined && fits(got.bytes)) counted = got;
      seen.push({ id: version.id, hash: sha256(got.bytes) });
    }
    const result = counted ?? oldest;
    if (result === undefined || !reports) return result;
    const hash = sha256(result.bytes);
    for (const other of seen) {
      if (other.id === result.versionId) continue;
      const [code, what] = equalBytes(other.hash, hash)
        ? (['archive.duplicate', 'the same bytes once more'] as const)
        : (['archive.version', `other bytes than ${result.versionId}, which counts`] as const);
      this.findings.add(code, stored.key, `version ${other.id} has ${what}`);
    }
    const unseenCount = stored.versionCount - stored.versions.length;
    if (unseenCount > 0) {
      this.findings.add('archive.version', stored.key, `${unseenCount} newer ones, not looked at`);
    }
    return result;
  }

  /** True for a segment that goes on where the log is: record by record, link by link. */
  #continues(bytes: Uint8Array, firstIndex: number): boolean {
    let index = firstIndex;
    let link = this.#link;
    try {
      for (const { header, headerBytes, stored } of readFrames(bytes)) {
        const isNext =
          header.log === this.#options.origin &&
          header.index === index &&
          equalBytes(header.prev, link) &&
          equalBytes(sha256(stored), header.storedHash);
        if (!isNext) return false;
        link = leafHash(sha256, headerBytes);
        index++;
      }
    } catch (error) {
      if (error instanceof LogError) return false;
      throw error;
    }
    return index > firstIndex;
  }

  /** Takes the checkpoints up to a size, so that each can be held against the log on its way. */
  async #stateUpTo(size: number): Promise<void> {
    this.#stated.clear();
    for (let count = 0; ; count++) {
      await fill(this.#checkpointsAhead, this.#checkpoints);
      const [next] = this.#checkpointsAhead;
      if (next === undefined || next.at > size) return;
      this.#checkpointsAhead.shift();
      const { stored, got } = next;
      const counted = await (got ??
        this.#choose(stored, NOTE_BYTE_LENGTH_MAX, this.#isNamed(stored), true));
      this.#locks.lookAtMarkers(stored);
      if (counted === undefined) continue;
      await this.#locks.lookAt(stored.key, counted);
      if (!this.#isNamed(stored)(counted.bytes)) {
        this.findings.add(
          'archive.foreign',
          stored.key,
          'is not the checkpoint that its name says',
        );
      } else if (count < CHECKPOINTS_PER_SEGMENT_MAX) {
        await this.#state(stored.key, counted.bytes);
      }
    }
  }

  /** What is gone was stored before the first that is left; if that is young, so was it. */
  #judgeRemoval(key: string, storedMs: number): void {
    const { nowMs, wanted } = this.#options;
    if (storedMs + wanted.minimumDays * DAY_MS <= nowMs) return;
    const since = new Date(storedMs).toISOString();
    const message = `is the first that is left, stored ${since}: those before it are gone sooner than ${wanted.minimumDays} days, unless nothing was stored for long`;
    this.findings.add('archive.deleted', key, message);
  }

  /** What was kept of the log in front of some segments. */
  async #lookAtStarts(): Promise<void> {
    for await (const stored of this.#keys('starts/')) {
      const index = parseStartName(this.#nameOf(stored));
      const isStart = (bytes: Uint8Array): boolean => parsePruned(bytes)?.size === index;
      if (index === undefined) this.#foreign(stored);
      if (index === undefined || (index < this.#removed.size && stored.versionCount === 0))
        continue;
      this.#locks.lookAtMarkers(stored);
      const counted = await this.#choose(stored, START_BYTE_LENGTH_MAX, isStart, true);
      if (counted === undefined) continue;
      await this.#locks.lookAt(stored.key, counted);
      if (!isStart(counted.bytes)) {
        this.findings.add('archive.foreign', stored.key, 'is not the start that its name says');
      }
    }
  }

  async #state(key: string, bytes: Uint8Array): Promise<void> {
    const { trust, origin } = this.#options;
    try {
      const checkpoint = parseCheckpoint(bytes);
      if (checkpoint.origin !== origin) return;
      const keys = trust.verifiers.filter(({ name }) => name === origin);
      const { signedBy } = await judgeNote(checkpoint.note, keys, nodePrimitives.verifyEd25519);
      // Without the key's word it is anybody's.
      if (signedBy.length === 0) return;
      const { size, root } = checkpoint;
      this.#stated.set(size, [...(this.#stated.get(size) ?? []), { root, key }]);
    } catch (error) {
      if (!(error instanceof LogError)) throw error;
    }
  }

  #hear(receipt: ReceiptEvent): void {
    const awaited = this.#awaited.get(receipt.segment);
    if (awaited === undefined) return;
    const { key } = awaited;
    this.#awaited.delete(receipt.segment);
    if (receipt.byteLength !== awaited.byteLength || !equalBytes(receipt.sha256, awaited.sha256)) {
      this.findings.add('archive.receipt', key, 'has other bytes than its sealed receipt says');
    }
    this.#locks.compare(key, awaited.lock, receipt.lock);
  }

  #foreign(stored: StoredKey): void {
    this.findings.add('archive.foreign', stored.key, 'is no part of a log');
  }

  #relative(key: string): string {
    return key.slice(this.#folder.length);
  }

  /** What stands behind `segments/` or `checkpoints/`. */
  #nameOf(stored: StoredKey): string {
    const relative = this.#relative(stored.key);
    return relative.slice(relative.indexOf('/') + 1);
  }

  #keys(
    folder: 'segments/' | 'checkpoints/' | 'starts/',
  ): AsyncGenerator<StoredKey, void, undefined> {
    return this.#store.keys(`${this.#folder}${folder}`, {
      onLack: (permission) => {
        if (this.#canSeeVersions) {
          const message = `versions and delete markers were not seen: lacks ${permission}`;
          this.findings.add('archive.permission', this.#folder, message);
        }
        this.#canSeeVersions = false;
      },
    });
  }
}
