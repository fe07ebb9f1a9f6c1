// SPDX-License-Identifier: Apache-2.0
/**
 * Reads a log directory: whole for the verifier, record by record for those that follow it, headers alone for roots.
 * Checks nothing beyond what it needs to find its way; verifying is the log core's.
 */
import { constants, readSync } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
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
import type { Waypoint } from './waypoint.ts';

async function namesIn(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

class NoRegularFile extends Error {
  constructor(path: string) {
    super(`${path} is no regular file`);
  }
}

/**
 * Opens a file to read; without waiting, since a directory that somebody else filled may hold a FIFO that nobody ever
 * writes to, or a device that never ends.
 * @throws NoRegularFile, or what the file system says
 */
async function openRegular(path: string): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    // ENXIO is what a socket answers, and ELOOP a link to itself.
    if (['ENXIO', 'ELOOP'].includes(codeOf(error))) throw new NoRegularFile(path);
    throw error;
  }
  try {
    if ((await file.stat()).isFile()) return file;
    throw new NoRegularFile(path);
  } catch (error) {
    await file.close();
    throw error;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
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

/** What a segment has from a position on; undefined where it is not there. */
export async function readSegmentFrom(
  dir: string,
  firstIndex: number,
  position: number,
): Promise<Uint8Array | undefined> {
  let file: FileHandle;
  try {
    file = await openRegular(join(dir, 'segments', segmentName(firstIndex)));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { size } = await file.stat();
    const end = Math.min(size, SEGMENT_BYTE_LENGTH_MAX);
    return await readRange(file, position, Math.max(0, end - position));
  } finally {
    await file.close();
  }
}

/** The record that an index says is at a position of the segment that it belongs to; undefined where there is none. */
export async function readRecordAt(
  dir: string,
  index: number,
  position: number,
): Promise<Frame | undefined> {
  const name = (await segmentNames(dir, 0)).findLast((one) => parseSegmentName(one)! <= index);
  if (name === undefined) return undefined;
  const file = await openRegular(join(dir, 'segments', name));
  try {
    const found = wholeHeaderAt(file, position);
    if (found === undefined) return undefined;
    const { header, headerBytes, storedStart } = found;
    const stored = await readRange(file, storedStart, header.storedByteLength);
    const end = storedStart + stored.length;
    if (stored.length < header.storedByteLength) return undefined;
    return { header, headerBytes, stored, start: position, end };
  } finally {
    await file.close();
  }
}

/** The newest checkpoint of a log directory; undefined where there is none. */
export async function readNewestCheckpoint(dir: string): Promise<NamedBytes | undefined> {
  return await readNamed(join(dir, 'checkpoint'), 'checkpoint', NOTE_BYTE_LENGTH_MAX);
}

/** The checkpoint of a log directory, and those at the ends of segments (`checkpoints/`). */
export async function readCheckpointFiles(dir: string): Promise<NamedBytes[]> {
  const found: NamedBytes[] = [];
  for (const name of (await namesIn(join(dir, 'checkpoints'))).filter(isFinished)) {
    const path = join(dir, 'checkpoints', name);
    const file = await readNamed(path, `checkpoints/${name}`, NOTE_BYTE_LENGTH_MAX);
    // A running writer removes them once an archive has them.
    if (file !== undefined) found.push(file);
  }
  if ((await namesIn(dir)).includes('checkpoint')) {
    found.push((await readNewestCheckpoint(dir)) ?? noRegularFile('checkpoint'));
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
    return wholeHeaderAt(file, 0)?.header.log;
  } finally {
    await file.close();
  }
}

/**
 * The same where a crash may have torn what stands there: then the log ends. Waits: of many thousands, each in turn, the
 * waiting would cost more than the reading.
 */
function wholeHeaderAt(file: FileHandle, position: number): HeaderAt | undefined {
  const buffer = Buffer.allocUnsafe(HEADER_BYTE_LENGTH_MAX);
  const bytesRead = readSync(file.fd, buffer, 0, buffer.length, position);
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
        const found = wholeHeaderAt(file, at);
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
      const found = wholeHeaderAt(file, at);
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
        const found = wholeHeaderAt(file, at);
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

/** Entries where they lie; what is inside of them was looked at when they were sealed, and is not again. */
function entriesOf(payload: Uint8Array): Uint8Array[] {
  const entries: Uint8Array[] = [];
  const top = new FieldCursor(payload, 0, payload.length);
  while (top.next()) entries.push(payload.subarray(top.tagStart, top.valueEnd));
  return entries;
}

/** The text of a small file beside a log; undefined where there is none, or none of so few bytes. */
export async function readTextFile(
  path: string,
  byteLengthMax: number,
): Promise<string | undefined> {
  const file = await readNamed(path, path, byteLengthMax);
  if (file?.name !== path || file.bytes.length > byteLengthMax) return undefined;
  return Buffer.from(file.bytes).toString('utf8');
}
