// SPDX-License-Identifier: Apache-2.0
/**
 * Reads a log directory: whole for the verifier, record by record for those that follow it, headers alone for roots.
 * Checks nothing beyond what it needs to find its way; verifying is the log core's.
 */
import { closeSync, readSync } from 'node:fs';
import { type FileHandle, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { equalBytes } from '../../log/bytes.ts';
import { type ControlEvent, parseControl } from '../../log/control.ts';
import { splitPayload } from '../../log/entries.ts';
import { LogError } from '../../log/errors.ts';
import { headerEnd, parseHeader, type RecordHeader } from '../../log/header.ts';
import {
  HEADER_BYTE_LENGTH_MAX,
  NOTE_BYTE_LENGTH_MAX,
  SEGMENT_BYTE_LENGTH_MAX,
} from '../../log/limits.ts';
import { leafHash, Tree } from '../../log/merkle.ts';
import type { Head } from '../../log/note.ts';
import { type Frame, parseSegmentName, segmentName } from '../../log/segment.ts';
import type { NamedBytes } from '../../log/verify.ts';
import { FieldCursor } from '../../log/wire.ts';
import { nodeFiles } from '../system/files.ts';
import { nodePrimitives, sha256 } from '../system/keys.ts';
import { NOTHING_PRUNED, readPruned } from './prune.ts';
import type { FinishedSegment, StoredRecord } from './record.ts';
import { codeOf, NoRegularFile, openRegular, openRegularNow } from './regular.ts';
import type { Waypoint } from './waypoint.ts';

async function namesIn(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Under a name that no file of a log has, so that the verifier reports it whatever stands in the directory. */
const noRegularFile = (name: string): NamedBytes => ({
  name: `${name} (no regular file)`,
  bytes: new Uint8Array(),
});

/** Undefined where the name leads to nothing. */
async function readNamed(
  path: string,
  name: string,
  byteLengthMax: number,
): Promise<NamedBytes | undefined> {
  try {
    return { name, bytes: await readBounded(path, byteLengthMax) };
  } catch (error) {
    if (error instanceof NoRegularFile) return noRegularFile(name);
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** A file, or one byte more than the most that a verifier takes: enough for it to say that there are too many. */
async function readBounded(path: string, byteLengthMax: number): Promise<Uint8Array> {
  const file = await openRegular(path);
  try {
    const { size } = await file.stat();
    return await readRange(file, 0, Math.min(size, byteLengthMax + 1));
  } finally {
    await file.close();
  }
}

async function readRange(
  file: FileHandle,
  position: number,
  byteLength: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(byteLength);
  let filled = 0;
  while (filled < bytes.length) {
    const rest = bytes.length - filled;
    const { bytesRead } = await file.read(bytes, filled, rest, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

/** Names that begin with a dot are files on their way into an archive; a crash leaves them behind. */
const isFinished = (name: string): boolean => !name.startsWith('.');

/**
 * All files below `segments/` but those that were removed up to `from`, in the order of their names, each read when it is
 * its turn.
 * @throws Error where the writer removes more meanwhile
 */
export async function* readSegmentFiles(
  dir: string,
  from: number = prunedSize(dir),
): AsyncGenerator<NamedBytes, void, undefined> {
  const names = (await segmentNames(dir, from)).filter(isFinished);
  if (prunedSize(dir) !== from) throw removedMeanwhile(dir);
  for (const name of names) {
    const path = join(dir, 'segments', name);
    const file = await readNamed(path, name, SEGMENT_BYTE_LENGTH_MAX);
    if (file === undefined && parseSegmentName(name)! < prunedSize(dir))
      throw removedMeanwhile(dir);
    yield file ?? noRegularFile(name);
  }
}

function removedMeanwhile(dir: string): Error {
  return new Error(`${dir}: its writer removed segments while they were read; try once more`);
}

/** What `read` gets out of a file; undefined where there is none. */
function withFile<T>(path: string, read: (file: number) => T): T | undefined {
  let file: number;
  try {
    file = openRegularNow(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return read(file);
  } finally {
    closeSync(file);
  }
}

function readRangeNow(file: number, position: number, end: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(0, end - position));
  return bytes.subarray(0, nodeFiles.read(file, bytes, position));
}

/** What a segment has from a position on; undefined where it is not there. */
export function readSegmentFrom(
  dir: string,
  firstIndex: number,
  position: number,
): Uint8Array | undefined {
  return withFile(join(dir, 'segments', segmentName(firstIndex)), (file) => {
    const end = Math.min(nodeFiles.byteLength(file), SEGMENT_BYTE_LENGTH_MAX);
    return readRangeNow(file, position, end);
  });
}

/** The record that an index says is at a position of the segment that it belongs to; undefined where there is none. */
export function readRecordAt(dir: string, index: number, position: number): Frame | undefined {
  const names = nodeFiles.list(join(dir, 'segments')) ?? [];
  const name = names.findLast((one) => parseSegmentName(one)! <= index);
  if (name === undefined) return undefined;
  return withFile(join(dir, 'segments', name), (file) => {
    const found = wholeHeaderAt(file, position);
    if (found === undefined) return undefined;
    const { header, headerBytes, storedStart } = found;
    const end = storedStart + header.storedByteLength;
    const stored = readRangeNow(file, storedStart, end);
    if (stored.length < header.storedByteLength) return undefined;
    return { header, headerBytes, stored, start: position, end };
  });
}

/** The newest checkpoint of a log directory; undefined where there is none. */
export function readNewestCheckpoint(dir: string): NamedBytes | undefined {
  return readSmall(join(dir, 'checkpoint'), 'checkpoint', NOTE_BYTE_LENGTH_MAX);
}

/** As {@link readNamed}, at once. */
function readSmall(path: string, name: string, byteLengthMax: number): NamedBytes | undefined {
  try {
    return withFile(path, (file) => {
      const end = Math.min(nodeFiles.byteLength(file), byteLengthMax + 1);
      return { name, bytes: readRangeNow(file, 0, end) };
    });
  } catch (error) {
    if (error instanceof NoRegularFile) return noRegularFile(name);
    throw error;
  }
}

/** The checkpoint of a log directory, and those at the ends of segments (`checkpoints/`). */
export async function readCheckpointFiles(dir: string): Promise<NamedBytes[]> {
  const found: NamedBytes[] = [];
  for (const name of (await namesIn(join(dir, 'checkpoints'))).filter(isFinished)) {
    const path = join(dir, 'checkpoints', name);
    const file = readSmall(path, `checkpoints/${name}`, NOTE_BYTE_LENGTH_MAX);
    // A running writer removes them once an archive has them.
    if (file !== undefined) found.push(file);
  }
  if ((await namesIn(dir)).includes('checkpoint')) {
    found.push(readNewestCheckpoint(dir) ?? noRegularFile('checkpoint'));
  }
  return found;
}

interface HeaderAt {
  readonly header: RecordHeader;
  readonly headerBytes: Uint8Array;
  readonly storedStart: number;
}

/** The record at `position` of an open segment; undefined at its end. */
async function readHeaderAt(file: FileHandle, position: number): Promise<HeaderAt | undefined> {
  const buffer = Buffer.allocUnsafe(HEADER_BYTE_LENGTH_MAX);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
  return headerIn(buffer.subarray(0, bytesRead), position);
}

function headerIn(bytes: Uint8Array, position: number): HeaderAt | undefined {
  const end = headerEnd(bytes, 0);
  if (end === undefined) return undefined;
  const headerBytes = Uint8Array.prototype.slice.call(bytes, 0, end);
  return { header: parseHeader(headerBytes), headerBytes, storedStart: position + end };
}

/** What the first record says which log it belongs to; undefined where it says nothing readable. */
export async function firstOrigin(dir: string): Promise<string | undefined> {
  const [name] = (await namesIn(join(dir, 'segments'))).filter(isFinished);
  if (name === undefined) return undefined;
  let file: FileHandle;
  try {
    file = await openRegular(join(dir, 'segments', name));
  } catch (error) {
    if (error instanceof NoRegularFile || codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return wholeHeaderAt(file.fd, 0)?.header.log;
  } finally {
    await file.close();
  }
}

/**
 * The same where a crash may have torn what stands there: then the log ends. Waits: of many thousands, each in turn, the
 * waiting would cost more than the reading.
 */
function wholeHeaderAt(file: number, position: number): HeaderAt | undefined {
  const buffer = Buffer.allocUnsafe(HEADER_BYTE_LENGTH_MAX);
  const bytesRead = readSync(file, buffer, 0, buffer.length, position);
  try {
    return headerIn(buffer.subarray(0, bytesRead), position);
  } catch (error) {
    if (error instanceof LogError) return undefined;
    throw error;
  }
}

/** Names of segments that are not pruned, also of one that a crash left. */
async function segmentNames(dir: string, from: number): Promise<string[]> {
  return (await namesIn(join(dir, 'segments'))).filter((name) => !(parseSegmentName(name)! < from));
}

/** Records that were removed from a log directory since an archive has them. */
export function prunedSize(dir: string): number {
  return readPruned(nodeFiles, dir)?.size ?? 0;
}

/** Head of the first `size` records as they lie on disk, or passed a waypoint; undefined where there are fewer, or they were pruned. */
export async function headAt(
  dir: string,
  size: number,
  waypoint?: Waypoint,
): Promise<Head | undefined> {
  const passed = waypoint?.headAt(size);
  if (passed !== undefined) return passed;
  const pruned = readPruned(nodeFiles, dir) ?? NOTHING_PRUNED;
  const further = waypoint?.at ?? pruned;
  const from = further.size > pruned.size && further.size <= size ? further : pruned;
  const tree = new Tree(sha256, from.size, from.peaks);
  if (size === from.size && size > 0) return { size, root: tree.root() };
  for (const name of await segmentNames(dir, from.size)) {
    const file = await openRegular(join(dir, 'segments', name));
    try {
      for (let at = 0; tree.size < size; ) {
        const found = wholeHeaderAt(file.fd, at);
        if (found === undefined) break;
        tree.append(leafHash(sha256, found.headerBytes));
        at = found.storedStart + found.header.storedByteLength;
      }
    } finally {
      await file.close();
    }
    if (tree.size === size) return { size, root: tree.root() };
  }
  return undefined;
}

/** Records of a log as they lie on disk, by the name of the last segment and what is in it. */
export async function sizeOf(dir: string): Promise<number> {
  const name = (await namesIn(join(dir, 'segments'))).at(-1);
  if (name === undefined) return prunedSize(dir);
  let size = parseSegmentName(name) ?? 0;
  const file = await openRegular(join(dir, 'segments', name));
  try {
    for (let at = 0; ; size++) {
      const found = wholeHeaderAt(file.fd, at);
      if (found === undefined) return size;
      at = found.storedStart + found.header.storedByteLength;
    }
  } finally {
    await file.close();
  }
}

/**
 * Segments before the one that begins at `current`; of a log that was closed, also the one that ends it: the next
 * writer begins one of its own.
 * @param closedSize records of the closed log; undefined while it is written
 * @param from the first segment that is asked for: where none is finished behind it, the disk is not looked at
 */
export async function* finishedSegments(
  dir: string,
  current: () => number,
  closedSize: () => number | undefined = () => undefined,
  from = 0,
): AsyncGenerator<FinishedSegment, void, undefined> {
  // Before the names are read: a log that is closed meanwhile may have got one segment more, and ends with that.
  const size = closedSize();
  if (from >= (size ?? current())) return;
  const firsts = (await segmentNames(dir, Math.max(from, prunedSize(dir))))
    .map(parseSegmentName)
    .filter((index) => index !== undefined);
  for (const [position, firstIndex] of firsts.entries()) {
    if (size !== undefined && firstIndex >= size) return;
    const nextIndex = firsts[position + 1] ?? size;
    if (nextIndex === undefined || nextIndex > (size ?? current())) return;
    const path = join(dir, 'segments', segmentName(firstIndex));
    const file = await openRegular(path);
    const { size: byteLength } = await file.stat().finally(() => file.close());
    yield { firstIndex, nextIndex, path, byteLength };
  }
}

/** Follows a log: gives its records from any index on, and remembers where it was, so that going on costs no search. */
export interface LogFollower {
  /** Records `fromIndex` to `head() - 1`, in order, then ends. */
  read(fromIndex: number): AsyncGenerator<StoredRecord, void, undefined>;
}

/** @param head how many records are durable by now: none behind it is read (invariant 1) */
export function openLogFollower(dir: string, head: () => number): LogFollower {
  let place = { index: 0, segment: 0, position: 0 };

  const seek = async (index: number): Promise<void> => {
    if (index === place.index) return;
    const firsts = (await segmentNames(dir, prunedSize(dir)))
      .map(parseSegmentName)
      .filter((first) => first !== undefined && first <= index);
    const segment = firsts.at(-1);
    if (segment === undefined) throw new Error(`no segment holds record ${index}`);
    if (segment === place.segment && index > place.index) return;
    place = { index: segment, segment, position: 0 };
  };

  return {
    async *read(fromIndex) {
      if (fromIndex >= head()) return;
      // Whoever asks for what was removed lost its place: nothing is removed before it was read.
      await seek(Math.max(fromIndex, prunedSize(dir)));
      let file = await openRegular(join(dir, 'segments', segmentName(place.segment)));
      try {
        while (place.index < head()) {
          const found = await readHeaderAt(file, place.position);
          if (found === undefined) {
            // The end of a finished segment: the next begins with the record that is due.
            await file.close();
            file = await openRegular(join(dir, 'segments', segmentName(place.index)));
            place = { index: place.index, segment: place.index, position: 0 };
            continue;
          }
          const { header, storedStart } = found;
          place = {
            index: place.index + 1,
            segment: place.segment,
            position: storedStart + header.storedByteLength,
          };
          if (header.index < fromIndex) continue;
          yield await readStored(file, header, storedStart);
        }
      } finally {
        await file.close();
      }
    },
  };
}

/** A record of the writer's own. */
export interface ControlRecord {
  readonly header: RecordHeader;
  readonly events: readonly ControlEvent[];
}

/**
 * Records of the writer's own, in order, up to what a crash tore or somebody changed. Reads no others, and no segment before
 * the one that begins at `begin`.
 */
export async function* readControlRecords(
  dir: string,
  begin = 0,
): AsyncGenerator<ControlRecord, void, undefined> {
  for (const name of await segmentNames(dir, Math.max(prunedSize(dir), begin))) {
    const file = await openRegular(join(dir, 'segments', name));
    try {
      for (let at = 0; ; ) {
        const found = wholeHeaderAt(file.fd, at);
        if (found === undefined) break;
        const { header, storedStart } = found;
        at = storedStart + header.storedByteLength;
        if (header.kind !== 'control') continue;
        const events = await readEvents(file, header, storedStart);
        if (events === undefined) return;
        yield { header, events };
      }
    } finally {
      await file.close();
    }
  }
}

async function readEvents(
  file: FileHandle,
  header: RecordHeader,
  start: number,
): Promise<ControlEvent[] | undefined> {
  const stored = Buffer.alloc(header.storedByteLength);
  await file.read(stored, 0, stored.length, start);
  if (!equalBytes(sha256(stored), header.storedHash)) return undefined;
  try {
    const payload = await nodePrimitives.inflate(stored, header.payloadByteLength);
    return splitPayload(payload, 'control').map((entry) => parseControl(entry).event);
  } catch (error) {
    if (error instanceof LogError) return undefined;
    throw error;
  }
}

async function readStored(
  file: FileHandle,
  header: RecordHeader,
  start: number,
): Promise<StoredRecord> {
  const stored = Buffer.allocUnsafe(header.storedByteLength);
  await file.read(stored, 0, stored.length, start);
  const payload = await nodePrimitives.inflate(stored, header.payloadByteLength);
  const entries = entriesOf(payload);
  return {
    index: header.index,
    kind: header.kind,
    source: header.source.kind,
    entries,
    leaves: entries.map((entry) => leafHash(sha256, entry)),
  };
}

/** The entries of a payload where they lie; what is inside of them was looked at when they were sealed, and is not again. */
export function entriesOf(payload: Uint8Array): Uint8Array[] {
  const entries: Uint8Array[] = [];
  const top = new FieldCursor(payload, 0, payload.length);
  while (top.next()) entries.push(payload.subarray(top.tagStart, top.valueEnd));
  return entries;
}

/** The text of a small file beside a log; undefined where there is none, or none of so few bytes. */
export function readTextFile(path: string, byteLengthMax: number): string | undefined {
  const file = readSmall(path, path, byteLengthMax);
  if (file?.name !== path || file.bytes.length > byteLengthMax) return undefined;
  return Buffer.from(file.bytes).toString('utf8');
}
