// SPDX-License-Identifier: Apache-2.0
/**
 * Which records may hold a trace, as sorted files of 8 bytes for each trace and record: four of the trace id, four of the
 * record's index. A B-tree would take each random id to a page of its own; these are only ever written from one end to the
 * other. Who asks gets records of other traces as well, and looks for himself.
 */
import { join } from 'node:path';
import type { Files } from '../system/files.ts';

/** A sorted file; the number of its entries is kept elsewhere, since a crash leaves longer ones. */
export interface TraceRun {
  readonly name: string;
  readonly count: number;
}

/** Records behind this have no number that fits. */
export const RUN_RECORD_COUNT_MAX: number = 2 ** 32;

const ENTRY_BYTE_LENGTH = 8;
/** Entries that are read at once where two runs become one, and where one is looked into. */
const MERGE_COUNT = 8192;
const FIND_COUNT = 256;
const FIRST_CAPACITY = 1024;

/** The end of a trace id is random in all schemes there are, its beginning not. */
export function traceKey(bytes: Uint8Array, end: number): number {
  let key = 0;
  for (let at = end - 4; at < end; at++) key = key * 256 + bytes[at]!;
  return key;
}

/** Entries in memory, in the order they come. */
export class TraceBatch {
  #numbers = new BigUint64Array(FIRST_CAPACITY);
  /** The record in the lower half, the key in the upper: so they sort as numbers, without one BigInt made. */
  #halves = new Uint32Array(this.#numbers.buffer);
  count = 0;

  add(key: number, record: number): void {
    if (this.count === this.#numbers.length) {
      const numbers = new BigUint64Array(2 * this.count);
      numbers.set(this.#numbers);
      this.#numbers = numbers;
      this.#halves = new Uint32Array(numbers.buffer);
    }
    this.#halves[2 * this.count] = record;
    this.#halves[2 * this.count + 1] = key;
    this.count++;
  }

  /** The entries sorted, each once, as bytes that are overwritten by what is added next; the batch is empty then. */
  take(): Uint8Array {
    const numbers = this.#numbers.subarray(0, this.count).sort();
    let kept = 0;
    for (let at = 0; at < numbers.length; at++) {
      const isAgain =
        kept > 0 &&
        this.#halves[2 * at] === this.#halves[2 * kept - 2] &&
        this.#halves[2 * at + 1] === this.#halves[2 * kept - 1];
      if (isAgain) continue;
      this.#halves[2 * kept] = this.#halves[2 * at]!;
      this.#halves[2 * kept + 1] = this.#halves[2 * at + 1]!;
      kept++;
    }
    this.count = 0;
    return new Uint8Array(this.#numbers.buffer, 0, kept * ENTRY_BYTE_LENGTH);
  }
}

/** Entries of a file, one behind the other. */
class RunReader {
  readonly #files: Files;
  readonly #file: number;
  readonly #count: number;
  readonly #bytes: Uint8Array;
  readonly #halves: Uint32Array;
  #read: number;
  #at = 0;
  #filled = 0;

  constructor(files: Files, file: number, { count }: TraceRun, blockCount: number, from = 0) {
    this.#files = files;
    this.#file = file;
    this.#count = count;
    this.#halves = new Uint32Array(2 * blockCount);
    this.#bytes = new Uint8Array(this.#halves.buffer);
    this.#read = from;
  }

  /** Steps to the next entry; false at the end. */
  next(): boolean {
    this.#at += 2;
    if (this.#at < this.#filled) return true;
    const count = Math.min(this.#halves.length / 2, this.#count - this.#read);
    if (count === 0) return false;
    const target = this.#bytes.subarray(0, count * ENTRY_BYTE_LENGTH);
    const byteLength = this.#files.read(this.#file, target, this.#read * ENTRY_BYTE_LENGTH);
    if (byteLength < target.length) throw new RangeError('count: the file ends before it');
    this.#read += count;
    this.#at = 0;
    this.#filled = 2 * count;
    return true;
  }

  get record(): number {
    return this.#halves[this.#at]!;
  }

  get key(): number {
    return this.#halves[this.#at + 1]!;
  }
}

function withFile<T>(files: Files, path: string, use: (file: number) => T): T {
  const file = files.open(path, 'read');
  try {
    return use(file);
  } finally {
    files.close(file);
  }
}

/** Writes what a batch took, and makes it durable. */
export function writeRun(files: Files, dir: string, name: string, entries: Uint8Array): TraceRun {
  const file = files.open(join(dir, name), 'truncate');
  try {
    files.append(file, entries);
    files.sync(file);
  } finally {
    files.close(file);
  }
  return { name, count: entries.length / ENTRY_BYTE_LENGTH };
}

/** Writes the entries of two runs, which stay, as one. */
export function mergeRuns(
  files: Files,
  dir: string,
  name: string,
  [one, other]: readonly [TraceRun, TraceRun],
): TraceRun {
  const out = files.open(join(dir, name), 'truncate');
  try {
    withFile(files, join(dir, one.name), (oneFile) =>
      withFile(files, join(dir, other.name), (otherFile) => {
        const a = new RunReader(files, oneFile, one, MERGE_COUNT);
        const b = new RunReader(files, otherFile, other, MERGE_COUNT);
        const block = new Uint32Array(2 * MERGE_COUNT);
        const bytes = new Uint8Array(block.buffer);
        let filled = 0;
        let hasA = a.next();
        let hasB = b.next();
        while (hasA || hasB) {
          const isA =
            !hasB || (hasA && (a.key < b.key || (a.key === b.key && a.record < b.record)));
          block[filled++] = isA ? a.record : b.record;
          block[filled++] = isA ? a.key : b.key;
          if (isA) hasA = a.next();
          else hasB = b.next();
          if (filled === block.length) {
            files.append(out, bytes);
            filled = 0;
          }
        }
        files.append(out, bytes.subarray(0, 4 * filled));
      }),
    );
    files.sync(out);
  } finally {
    files.close(out);
  }
  return { name, count: one.count + other.count };
}

/** Records that a run has under a key, in order. */
export function findInRun(files: Files, dir: string, run: TraceRun, key: number): number[] {
  return withFile(files, join(dir, run.name), (file) => {
    if (files.byteLength(file) < run.count * ENTRY_BYTE_LENGTH) {
      throw new RangeError('count: the file is shorter');
    }
    const half = new Uint32Array(1);
    const bytes = new Uint8Array(half.buffer);
    let [from, to] = [0, run.count];
    while (to - from > FIND_COUNT) {
      const middle = Math.floor((from + to) / 2);
      files.read(file, bytes, middle * ENTRY_BYTE_LENGTH + 4);
      if (half[0]! < key) from = middle + 1;
      else to = middle;
    }
    const found: number[] = [];
    const reader = new RunReader(files, file, run, FIND_COUNT, from);
    while (reader.next() && reader.key <= key) if (reader.key === key) found.push(reader.record);
    return found;
  });
}
