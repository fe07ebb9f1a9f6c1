// SPDX-License-Identifier: Apache-2.0
/**
 * Beside a log, where in it each trace is, each record, and each node of its tree: so that one trace is found, read and
 * proved without reading the rest. Made by whoever asks, up to a checkpoint, and made anew where it does not fit. Nothing it
 * says is taken for true: it can only leave out records, which nobody sees who does not read the whole log.
 */
import { lstatSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { decodeBase64, encodeBase64, equalBytes } from '../../log/bytes.ts';
import { LogError } from '../../log/errors.ts';
import { leafHash, NO_LINK } from '../../log/merkle.ts';
import type { Checkpoint } from '../../log/note.ts';
import { type Frame, readFrame } from '../../log/segment.ts';
import { checkStoredFrame } from '../../log/stored.ts';
import { FieldCursor, LEN } from '../../log/wire.ts';
import { causeOf } from '../system/cause.ts';
import { type Files, replaceFile } from '../system/files.ts';
import { nodePrimitives, sha256 } from '../system/keys.ts';
import { type Lock, takeLock } from '../system/lock.ts';
import { readRecordAt, readSegmentFrom } from './log-reader.ts';
import { readPruned } from './prune.ts';
import {
  findInRun,
  mergeRuns,
  RUN_RECORD_COUNT_MAX,
  TraceBatch,
  type TraceRun,
  traceKey,
  writeRun,
} from './trace-runs.ts';
import { TreeFile } from './tree-file.ts';

const INDEX = 'index';
const STATE = 'state';
const TREE = 'tree';
const RECORDS = 'records';
const POSITION_BYTE_LENGTH = 4;

/** What is in memory until it is written: 32 MiB of traces, and as many records. */
const BATCH_TRACE_COUNT = 4 * 1024 * 1024;
const BATCH_RECORD_COUNT = 65_536;

interface State {
  readonly format: 'sealspan/index@v1';
  readonly log: string;
  /** The first record, all before it were removed; and how many there are, those counted. */
  readonly from: number;
  size: number;
  /** Leaf hash of the last record. */
  readonly link: string;
  /** Where the next record is. */
  segment: number;
  position: number;
  readonly runs: readonly TraceRun[];
}

/** Index and log do not fit each other. */
class Misfit extends Error {}

export interface IndexOptions {
  readonly files: Files;
  /** Told now and then how many records are done of how many. */
  readonly onProgress?: (size: number, of: number) => void;
  /** Makes it anew whatever is there. */
  readonly isAnew?: boolean;
}

/** The index, or in words why there is none now. */
export type IndexOutcome =
  | { readonly status: 'ok'; readonly index: LogIndex }
  | { readonly status: 'none'; readonly cause: string };

/**
 * Opens the index of a log directory and brings it up to a checkpoint, whose signature is the caller's to check. It is locked
 * until it is closed.
 */
export async function openLogIndex(
  dir: string,
  head: Checkpoint,
  options: IndexOptions,
): Promise<IndexOutcome> {
  const none = (cause: string): IndexOutcome => ({ status: 'none', cause });
  // Its numbers are written as they lie in memory.
  if (endianness() !== 'LE') return none('this machine writes numbers the other way round');
  if (head.size > RUN_RECORD_COUNT_MAX) return none('there are more records than it can number');
  let lock: Lock | undefined;
  try {
    makeFolder(options.files, join(dir, INDEX));
    lock = takeLock(join(dir, INDEX));
  } catch (error) {
    return none(causeOf(error));
  }
  if (lock === undefined) return none('another process is writing it');
  let cause = '';
  for (const isAnew of options.isAnew ? [true] : [false, true]) {
    const index = new LogIndex(dir, options.files, lock);
    try {
      await index.reach(head, isAnew, options.onProgress ?? (() => {}));
      return { status: 'ok', index };
    } catch (error) {
      index.closeFiles();
      if (!isOfFiles(error)) {
        lock.release();
        throw error;
      }
      cause = causeOf(error);
    }
  }
  lock.release();
  return none(cause);
}

/** True for what damaged, foreign or vanished files lead to; all else is a fault of ours. */
export function isOfFiles(error: unknown): boolean {
  return (
    error instanceof Misfit ||
    error instanceof LogError ||
    error instanceof RangeError ||
    (error instanceof Error && 'syscall' in error)
  );
}

/** A log may be a stranger's, and lead to files that are none of the index. */
function makeFolder(files: Files, folder: string): void {
  files.makeDirectory(folder);
  if (!lstatSync(folder).isDirectory()) throw new Misfit(`${folder} is no directory`);
  for (const name of files.list(folder) ?? []) {
    const path = join(folder, name);
    if (!lstatSync(path).isFile()) throw new Misfit(`${path} is no regular file`);
  }
}

export class LogIndex {
  readonly #dir: string;
  readonly #folder: string;
  readonly #files: Files;
  readonly #lock: Lock;
  readonly #open: number[] = [];
  readonly #batch = new TraceBatch();
  #state: State = {
    format: 'sealspan/index@v1',
    log: '',
    from: 0,
    size: 0,
    link: encodeBase64(NO_LINK),
    segment: 0,
    position: 0,
    runs: [],
  };
  #link = NO_LINK;
  #tree: TreeFile | undefined;
  #records = -1;
  /** Positions of records that are not written yet. */
  #positions: number[] = [];

  /** @param lock of the folder, released by {@link close} */
  constructor(dir: string, files: Files, lock: Lock) {
    this.#dir = dir;
    this.#folder = join(dir, INDEX);
    this.#files = files;
    this.#lock = lock;
  }

  /** Nodes of the log's tree, up to the checkpoint or further. */
  get tree(): TreeFile {
    if (this.#tree === undefined) throw new TypeError('the index is not open');
    return this.#tree;
  }

  /** Opens what is there, or begins anew, and takes in what the log has up to a checkpoint. */
  async reach(
    head: Checkpoint,
    isAnew: boolean,
    onProgress: (size: number, of: number) => void,
  ): Promise<void> {
    if (isAnew) this.#begin(head.origin);
    else this.#load(head.origin);
    while (this.#state.size < head.size) {
      const { segment, position, size } = this.#state;
      const bytes = readSegmentFrom(this.#dir, segment, position);
      if (bytes === undefined) throw new Misfit(`the log ends at ${size} records`);
      for (let at = 0; at < bytes.length && this.#state.size < head.size; ) {
        const frame = readFrame(bytes, at);
        if (frame === undefined) throw new Misfit(`record ${this.#state.size} is not whole`);
        await this.#take(frame, position + at);
        at = frame.end;
        this.#state.position = position + at;
        const isFull =
          this.#batch.count >= BATCH_TRACE_COUNT || this.#positions.length >= BATCH_RECORD_COUNT;
        if (isFull) this.#commit();
        if (this.#state.size % 1024 === 0) onProgress(this.#state.size, head.size);
      }
      if (this.#state.size >= head.size) break;
      if (this.#state.size === segment) throw new Misfit(`segment ${segment} is empty`);
      this.#state.segment = this.#state.size;
      this.#state.position = 0;
    }
    if (this.#positions.length > 0) this.#commit();
    if (!equalBytes(this.tree.rootAt(head.size), head.root)) {
      throw new Misfit(`the log has another root at ${head.size} records`);
    }
  }

  /** Indexes of records that may hold spans of a trace, those that were removed from the log left out, in order. */
  find(traceId: Uint8Array): number[] {
    const key = traceKey(traceId, traceId.length);
    const from = readPruned(this.#files, this.#dir)?.size ?? 0;
    const found = this.#state.runs.flatMap((run) => findInRun(this.#files, this.#folder, run, key));
    return [...new Set(found)].filter((record) => record >= from).sort((a, b) => a - b);
  }

  /** True where records that the index ends before may hold spans of a trace. */
  async isBehind(traceId: Uint8Array): Promise<boolean> {
    const key = traceKey(traceId, traceId.length);
    let { segment, position, size } = this.#state;
    for (;;) {
      const bytes = readSegmentFrom(this.#dir, segment, position);
      if (bytes === undefined) return false;
      for (let at = 0; at < bytes.length; size++) {
        const frame = readFrame(bytes, at);
        // Being written, or torn by a crash.
        if (frame === undefined) return false;
        let isFound = false;
        await eachTrace(frame, (other) => {
          isFound ||= other === key;
        });
        if (isFound) return true;
        at = frame.end;
      }
      if (size === segment) return false;
      segment = size;
      position = 0;
    }
  }

  /** A record as it lies in its segment; whether it is the one that was sealed, {@link tree} and a checkpoint tell. */
  read(index: number): Frame | undefined {
    const position = new Uint32Array(1);
    const target = new Uint8Array(position.buffer);
    const at = (index - this.#state.from) * POSITION_BYTE_LENGTH;
    if (at < 0 || this.#files.read(this.#records, target, at) < target.length) return undefined;
    return readRecordAt(this.#dir, index, position[0]!);
  }

  close(): void {
    this.closeFiles();
    this.#lock.release();
  }

  closeFiles(): void {
    for (const file of this.#open.splice(0)) this.#files.close(file);
  }

  #openFile(name: string): number {
    const file = this.#files.open(join(this.#folder, name), 'existing');
    this.#open.push(file);
    return file;
  }

  #begin(origin: string): void {
    const removed = readPruned(this.#files, this.#dir);
    if (removed === undefined) throw new Misfit('`pruned` is damaged');
    const { size, link } = removed;
    this.#tree = TreeFile.begin(this.#files, this.#openFile(TREE), removed);
    this.#records = this.#openFile(RECORDS);
    this.#files.truncate(this.#records, 0);
    this.#link = link;
    this.#state = { ...this.#state, log: origin, from: size, size, segment: size };
  }

  #load(origin: string): void {
    const bytes = this.#files.readAll(join(this.#folder, STATE));
    const data = parseJson(bytes);
    if (!isState(data) || data.log !== origin) throw new Misfit('there is none of this log');
    const { from, size } = data;
    const byteLength = (size - from) * POSITION_BYTE_LENGTH;
    this.#records = this.#openFile(RECORDS);
    if (byteLength < 0 || this.#files.byteLength(this.#records) < byteLength) {
      throw new Misfit('the index is cut off');
    }
    this.#files.truncate(this.#records, byteLength);
    this.#tree = new TreeFile(this.#files, this.#openFile(TREE), size);
    this.#link = decodeBase64(data.link);
    this.#state = data;
  }

  async #take(frame: Frame, position: number): Promise<void> {
    const { header, headerBytes } = frame;
    const { log, size } = this.#state;
    const isNext =
      header.log === log && header.index === size && equalBytes(header.prev, this.#link);
    if (!isNext) throw new Misfit(`record ${size} does not continue the one before it`);
    await eachTrace(frame, (key) => this.#batch.add(key, size));
    this.#link = leafHash(sha256, headerBytes);
    this.tree.append(this.#link);
    this.#positions.push(position);
    this.#state.size++;
  }

  /** Makes durable what was taken in. A crash before the state is written leaves what the next one cuts or overwrites. */
  #commit(): void {
    const files = this.#files;
    const firstRecord = this.#state.size - this.#positions.length;
    this.tree.flush();
    files.append(this.#records, new Uint8Array(Uint32Array.from(this.#positions).buffer));
    files.sync(this.#records);
    this.#positions = [];
    const runs: TraceRun[] = [...this.#state.runs];
    if (this.#batch.count > 0) {
      const name = `traces-${firstRecord}-${this.#state.size}`;
      runs.push(writeRun(files, this.#folder, name, this.#batch.take()));
    }
    // Each run stays at least twice as large as the next, so that there are few, and each entry was seldom moved.
    for (;;) {
      const [one, other] = runs.slice(-2);
      if (one === undefined || other === undefined || one.count >= 2 * other.count) break;
      const name = `traces-${one.name.split('-')[1]}-${other.name.split('-')[2]}`;
      runs.splice(-2, 2, mergeRuns(files, this.#folder, name, [one, other]));
    }
    this.#state = { ...this.#state, link: encodeBase64(this.#link), runs };
    const text = JSON.stringify(this.#state);
    replaceFile(files, join(this.#folder, STATE), new TextEncoder().encode(text));
    const known = new Set(runs.map(({ name }) => name));
    for (const name of files.list(this.#folder) ?? []) {
      if (name.startsWith('traces-') && !known.has(name)) files.remove(join(this.#folder, name));
    }
  }
}

function parseJson(bytes: Uint8Array | undefined): unknown {
  try {
    return JSON.parse(Buffer.from(bytes ?? []).toString('utf8'));
  } catch {
    return undefined;
  }
}

/** By hand: what checks a schema takes longer to get going than all else that there is to do. */
function isState(value: unknown): value is State {
  if (typeof value !== 'object' || value === null) return false;
  const { format, log, link, from, size, segment, position, runs } = value as Partial<State>;
  return (
    format === 'sealspan/index@v1' &&
    typeof log === 'string' &&
    typeof link === 'string' &&
    [from, size, segment, position].every(isCount) &&
    Array.isArray(runs) &&
    // The names lead to files.
    runs.every((run) => /^traces-\d+-\d+$/.test(run?.name) && isCount(run.count))
  );
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/**
 * Tells the key of each span's trace id, once or several times.
 * @throws LogError, Misfit for a record that does not verify
 */
async function eachTrace({ header, stored }: Frame, onKey: (key: number) => void): Promise<void> {
  if (header.kind !== 'traces') return;
  // The hash first, as the verifier has it: what was not sealed must not reach a decompressor.
  if (!equalBytes(sha256(stored), header.storedHash)) {
    throw new Misfit(`record ${header.index} has other bytes than were sealed`);
  }
  checkStoredFrame(stored, header.payloadByteLength);
  let payload: Uint8Array;
  try {
    payload = await nodePrimitives.inflate(stored, header.payloadByteLength);
  } catch {
    throw new Misfit(`record ${header.index} does not inflate`);
  }
  walkTraces(new FieldCursor(payload, 0, payload.length), 0, onKey);
}

/** Field numbers that lead to a trace id: ResourceSpans, ScopeSpans, Span, its id. */
const TRACE_PATH = [1, 2, 2, 1];
const TRACE_ID_BYTE_LENGTH = 16;

function walkTraces(cursor: FieldCursor, depth: number, onKey: (key: number) => void): void {
  while (cursor.next()) {
    if (cursor.wireType !== LEN || cursor.number !== TRACE_PATH[depth]) continue;
    if (depth < TRACE_PATH.length - 1) {
      const around = cursor.enter();
      walkTraces(cursor, depth + 1, onKey);
      cursor.leave(around);
    } else if (cursor.valueEnd - cursor.valueStart === TRACE_ID_BYTE_LENGTH) {
      onKey(traceKey(cursor.bytes, cursor.valueEnd));
    }
  }
}
