// SPDX-License-Identifier: Apache-2.0
/**
 * Ends a log that must not be continued (a lost disk, a restored backup) and opens its successor: a new origin, a new
 * key, a first record that names the archived head, and what the old disk holds without a signature, sealed again. Proves
 * nothing about what was on a disk that is gone.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ControlEvent, controlText, parseControl } from '../../log/control.ts';
import { itemOf } from '../../log/entries.ts';
import type { RecordSource } from '../../log/header.ts';
import { judgeNote } from '../../log/note.ts';
import type { Archive } from '../archive/archive.ts';
import { openLogFollower, sizeOf } from '../storage/log-reader.ts';
import { LogWriter } from '../storage/log-writer.ts';
import { parseSigning } from '../storage/signed-head.ts';
import { causeOf } from '../system/cause.ts';
import { nodeFiles } from '../system/files.ts';
import { generateKeyPem, nodePrimitives, parseSigner, writeSecret } from '../system/keys.ts';
import { takeLock } from '../system/lock.ts';
import { WRITER } from '../system/version.ts';
import { type ArchivedHead, newestArchived, StartRefusal, successorName } from './place.ts';

export interface SuccessorOptions {
  /** Directory of all logs, and which of them. */
  readonly dir: string;
  readonly instance: string;
  /** Name of the log that ends; undefined takes it from the directory. */
  readonly origin: string | undefined;
  readonly archive: Archive;
  /** PKCS #8 PEM of a key of the successor's own, or undefined to make one beside it. */
  readonly keyPem: string | undefined;
  readonly configurationHash: Uint8Array;
  readonly heartbeatMs: number;
  readonly now?: () => number;
}

export interface Successor {
  readonly origin: string;
  readonly vkey: string;
  /** The log that ended, and the head that the archive has of it. */
  readonly predecessor: ArchivedHead;
  /** Spans and log records without a signature that were sealed again. */
  readonly resealedCount: number;
  /** Why not all of them could be read; undefined where they were. */
  readonly damage: string | undefined;
  /** Where the old directory is now; undefined where there was none. */
  readonly abandoned: string | undefined;
}

/** They come from another process's log, and are not counted among the numbers of one that wrote here. */
const RESEALED: RecordSource = { kind: 'direct', principal: undefined, policy: 'resealed/1' };
const NUMBERS = { started: 0, ended: 0, sealed: 0, lost: 0, highest: 0, open: '' } as const;

/**
 * Does all of it, or leaves what a second run goes on from.
 * @throws StartRefusal where there is nothing to succeed, or somebody writes the log
 */
export async function openSuccessor(options: SuccessorOptions): Promise<Successor> {
  const { dir, instance, archive } = options;
  const place = join(dir, instance);
  const building = join(dir, `.successor-of-${instance}`);
  const lock = existsSync(place) ? takeLock(place) : undefined;
  if (existsSync(place) && lock === undefined) {
    throw new StartRefusal('locked', `${place} is locked: end the process that writes it first`);
  }
  try {
    const origin = options.origin ?? originIn(place);
    if (origin === undefined) {
      throw new StartRefusal('mismatch', `${place} names no log; say which one ends: --log ORIGIN`);
    }
    const predecessor = await newestArchived(archive, origin);
    if (predecessor === undefined) {
      throw new StartRefusal(
        'mismatch',
        `${archive.name} has no checkpoint of ${origin}: there is nothing to succeed, a log can simply begin`,
      );
    }
    const next = await freeName(archive, origin);
    // What a run before this one left half done.
    rmSync(building, { recursive: true, force: true });
    mkdirSync(building, { recursive: true, mode: 0o700 });
    const pem = options.keyPem ?? generateKeyPem();
    if (options.keyPem === undefined) writeSecret(join(building, 'key.pem'), pem);
    const signer = parseSigner(next, pem);
    // By what it signed: its public part may have been on the disk that is gone.
    const same = [parseSigner(origin, pem).verifier];
    const { note } = predecessor.checkpoint;
    if ((await judgeNote(note, same, nodePrimitives.verifyEd25519)).signedBy.length > 0) {
      throw new StartRefusal(
        'mismatch',
        `the key given is that of ${origin}: one key signs one log. Make another: sealspan keygen --origin ${next} --out FILE`,
      );
    }
    writeFileSync(join(building, 'verifier'), `${signer.vkey}\n`, { mode: 0o644 });
    const writer = LogWriter.open({
      dir: building,
      signer,
      files: nodeFiles,
      now: options.now ?? Date.now,
      opened: {
        writer: WRITER,
        instance,
        configuration: options.configurationHash,
        heartbeatMs: options.heartbeatMs,
        successorOf: origin,
        successorSize: predecessor.checkpoint.size,
        successorRoot: predecessor.checkpoint.root,
      },
      segmentByteLengthMax: 16 * 1024 * 1024,
      segmentAgeMsMax: 86_400_000,
    });
    const resealed = await reseal(place, writer);
    writer.appendControl([{ name: 'closed', ...NUMBERS }]);
    writer.checkpoint();
    writer.close();
    lock?.release();
    const abandoned = existsSync(place)
      ? join(dir, `abandoned-${instance}-${predecessor.checkpoint.size}-${next.split('.').at(-1)}`)
      : undefined;
    // A crash between these two leaves no log here: a start begins one under the old name, finds the archive ahead, and
    // refuses; a second run of this begins anew.
    if (abandoned !== undefined) renameSync(place, abandoned);
    renameSync(building, place);
    nodeFiles.syncDirectory(dir);
    return { origin: next, vkey: signer.vkey, predecessor, ...resealed, abandoned };
  } finally {
    lock?.release();
  }
}

/** Seals again what the old log holds behind the last size it may have signed. */
async function reseal(
  place: string,
  writer: LogWriter,
): Promise<{ readonly resealedCount: number; readonly damage: string | undefined }> {
  let resealedCount = 0;
  try {
    const signing = nodeFiles.readAll(join(place, 'signing'));
    if (signing === undefined) return { resealedCount, damage: undefined };
    const signed = parseSigning(signing)?.size ?? 0;
    const size = await sizeOf(place);
    for await (const record of openLogFollower(place, () => size).read(signed)) {
      if (record.kind !== 'control') {
        // Nobody signed them: what is no entry must not become part of a log.
        for (const entry of record.entries) itemOf(entry, record.kind);
        writer.append(record.kind, RESEALED, record.entries);
        resealedCount += record.entries.length;
        continue;
      }
      // What was lost there stays lost here; the rest of what that writer said was about its own log.
      const kept = record.entries.map((entry) => parseControl(entry).event).filter(isLoss);
      if (kept.length > 0) writer.appendControl(kept);
    }
    return { resealedCount, damage: undefined };
  } catch (error) {
    return { resealedCount, damage: controlText(causeOf(error)) };
  }
}

function isLoss(event: ControlEvent): boolean {
  return event.name === 'gap' || event.name === 'refused';
}

function originIn(place: string): string | undefined {
  const path = join(place, 'verifier');
  return existsSync(path) ? readFileSync(path, 'utf8').trim().split('+')[0] : undefined;
}

/** The first name of a successor that the archive has nothing under. */
async function freeName(archive: Archive, origin: string): Promise<string> {
  for (let name = successorName(origin); ; name = successorName(name)) {
    const listed = await archive.list(`${name}/checkpoints/`, { countMax: 1 });
    if (listed.status !== 'ok') throw new Error(listed.cause);
    if (listed.objects.length === 0) return name;
  }
}
