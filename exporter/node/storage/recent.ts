// SPDX-License-Identifier: Apache-2.0
/**
 * Records that became durable just now, for the one consumer that is about to ask for them: handed over as they are, they
 * need not be read, inflated and hashed again. Bounded, and never the only copy: the log has what is not here.
 */
import { freeParts } from '../system/own-bytes.ts';
import type { LogFollower } from './log-reader.ts';
import type { StoredRecord } from './record.ts';

/** Some requests of a forwarder; what comes while it is further behind is on the disk alone. */
const BYTE_LENGTH_MAX = 32 * 1024 * 1024;

export class RecentRecords {
  readonly #records = new Map<number, StoredRecord>();
  readonly #isAskedFor: () => boolean;
  #byteLength = 0;
  #isFull = false;

  /** @param isAskedFor false while the consumer does not get on: then there is no use in keeping any */
  constructor(isAskedFor: () => boolean) {
    this.#isAskedFor = isAskedFor;
  }

  /** Of their entries. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /**
   * Keeps a record that is durable, where there is room: the oldest stay, as they are asked for next. Once there was none,
   * nothing is kept until all were asked for, so that memory and disk do not take turns with each record.
   */
  add(record: StoredRecord): void {
    if (!this.#isAskedFor()) {
      this.#records.clear();
      this.#byteLength = 0;
      return;
    }
    const byteLength = byteLengthOf(record);
    if (this.#records.size === 0) this.#isFull = false;
    if (this.#byteLength + byteLength > BYTE_LENGTH_MAX) this.#isFull = true;
    if (this.#isFull) return;
    this.#records.set(record.index, { ...record, entries: copied(record.entries, byteLength) });
    this.#byteLength += byteLength;
  }

  #take(index: number): StoredRecord | undefined {
    const record = this.#records.get(index);
    if (record === undefined) return undefined;
    this.#records.delete(index);
    this.#byteLength -= byteLengthOf(record);
    return record;
  }

  /**
   * Reads the log from an index on, to its head: from here what is here, each once, and the rest from the disk. The entries
   * of a record are there until the next is asked for.
   * @param head how many records are durable by now
   */
  before(
    follower: LogFollower,
    head: () => number,
  ): (fromIndex: number) => AsyncGenerator<StoredRecord> {
    const recent = this;
    return async function* (fromIndex) {
      let index = fromIndex;
      while (index < head()) {
        const record = recent.#take(index);
        if (record !== undefined) {
          yield record;
          freeParts(record.entries);
          index = record.index + 1;
          continue;
        }
        for await (const stored of follower.read(index)) {
          yield stored;
          index = stored.index + 1;
          if (recent.#records.has(index)) break;
        }
      }
    };
  }
}

function byteLengthOf({ entries }: StoredRecord): number {
  return entries.reduce((sum, { length }) => sum + length, 0);
}

/** In a buffer of their own, since whoever made them frees them: a copy costs less than what the garbage collector would. */
function copied(entries: readonly Uint8Array[], byteLength: number): Uint8Array[] {
  const own = new Uint8Array(byteLength);
  let at = 0;
  return entries.map((entry) => {
    own.set(entry, at);
    at += entry.length;
    return own.subarray(at - entry.length, at);
  });
}
