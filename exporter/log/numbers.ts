// SPDX-License-Identifier: Apache-2.0
/**
 * Which of a writer's numbers were seen, as ranges, so that what was not seen can be named (invariant 8). Memory grows
 * with the holes, not with the numbers. Takes every number as claimed; who claims it, the caller knows.
 */
import { fromLatin1 } from './bytes.ts';
import { NUMBER_RANGE_COUNT_MAX } from './limits.ts';
import { FieldCursor, LEN, VARINT } from './wire.ts';

/** A range of numbers, both ends included. */
export type NumberRange = readonly [first: number, last: number];

/** Numbers that were not seen. */
export interface Missing {
  readonly count: number;
  /** Ascending, the first {@link MISSING_LISTED_COUNT} of them. */
  readonly ranges: readonly NumberRange[];
}

/** Ranges named in a finding; a person looks at the first ones, a program at the count. */
export const MISSING_LISTED_COUNT: number = 16;

export class NumberRanges {
  /** Ascending, apart from each other by at least one number. */
  readonly #ranges: [first: number, last: number][] = [];
  #isFull = false;

  /** True once numbers were left out because they were scattered over too many ranges: then nothing is known of holes. */
  get isFull(): boolean {
    return this.#isFull;
  }

  get ranges(): readonly NumberRange[] {
    return this.#ranges;
  }

  /** Highest number seen; 0 before the first. */
  get highest(): number {
    return this.#ranges.at(-1)?.[1] ?? 0;
  }

  has(first: number, last: number = first): boolean {
    const range = this.#ranges[this.#firstReaching(last)];
    return range !== undefined && range[0] <= first;
  }

  add(first: number, last: number = first): void {
    // The first range that `first` lies in or right behind: all before it stay as they are.
    const low = this.#firstReaching(first - 1);
    const range: [number, number] = [first, last];
    let joined = 0;
    for (let other = this.#ranges[low]; other !== undefined && other[0] <= last + 1; ) {
      range[0] = Math.min(range[0], other[0]);
      range[1] = Math.max(range[1], other[1]);
      other = this.#ranges[low + ++joined];
    }
    if (joined === 0 && this.#ranges.length >= NUMBER_RANGE_COUNT_MAX) this.#isFull = true;
    else this.#ranges.splice(low, joined, range);
  }

  /** Numbers from 1 to `highest` that are not here. */
  missing(highest: number): Missing {
    const ranges: NumberRange[] = [];
    let count = 0;
    let next = 1;
    const miss = (first: number, last: number): void => {
      if (first > last) return;
      count += last - first + 1;
      if (ranges.length < MISSING_LISTED_COUNT) ranges.push([first, last]);
    };
    for (const [first, last] of this.#ranges) {
      if (first > highest) break;
      miss(next, first - 1);
      next = last + 1;
    }
    miss(next, highest);
    return { count, ranges };
  }

  /** Index of the first range that ends at `number` or behind it. */
  #firstReaching(number: number): number {
    let low = 0;
    for (let high = this.#ranges.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if (this.#ranges[middle]![1] < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** `4,7-9` as ranges; undefined for what is no list of ascending ranges. A list cut short ends in `...`. */
export function parseNumberRanges(text: string): NumberRange[] | undefined {
  const whole = text.endsWith(',...') ? text.slice(0, -4) : text;
  if (text === '') return [];
  const ranges: NumberRange[] = [];
  let before = 0;
  for (const part of whole.split(',')) {
    const found = /^([1-9][0-9]{0,15})(?:-([1-9][0-9]{0,15}))?$/.exec(part);
    const first = Number(found?.[1]);
    const last = Number(found?.[2] ?? found?.[1]);
    if (found === null || first <= before || last < first || last > Number.MAX_SAFE_INTEGER) {
      return undefined;
    }
    ranges.push([first, last]);
    before = last;
  }
  return ranges;
}

/** `4,7-9`: the inverse of {@link parseNumberRanges}. */
export function formatNumberRanges(ranges: readonly NumberRange[]): string {
  return ranges
    .map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`))
    .join(',');
}

/** F(1, key) of the attribute. */
const SEQUENCE_KEY = fromLatin1('\x0a\x0eaigov.sequence');
const VALUE_TAG = 2 * 8 + LEN;
const INT_VALUE_TAG = 3 * 8 + VARINT;
/** TracesData.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans: each the last field of an entry's level. */
const CHILD_NUMBERS = [1, 2, 2];
const SPAN_ATTRIBUTES = 9;

/** The fields of the span of an entry that the walker let through. */
export function spanOf(entry: Uint8Array): FieldCursor {
  let start = 0;
  let end = entry.length;
  for (const child of CHILD_NUMBERS) {
    const cursor = new FieldCursor(entry, start, end);
    while (cursor.next()) {
      if (cursor.number !== child) continue;
      start = cursor.valueStart;
      end = cursor.valueEnd;
    }
  }
  return new FieldCursor(entry, start, end);
}

/** `aigov.sequence` of the span of a `traces` entry; undefined where it has none in that spelling. */
export function sequenceOf(entry: Uint8Array): number | undefined {
  const span = spanOf(entry);
  while (span.next()) {
    if (span.number !== SPAN_ATTRIBUTES) continue;
    const sequence = sequenceIn(entry, span.valueStart, span.valueEnd);
    if (sequence !== undefined) return sequence;
  }
  return undefined;
}

/** Compared where it lies: of every attribute of every span, most differ in the second byte. */
function isKeyAt(entry: Uint8Array, start: number, end: number): boolean {
  const { length } = SEQUENCE_KEY;
  let same = 0;
  while (same < length && entry[start + same] === SEQUENCE_KEY[same]) same++;
  return same === length && start + length <= end;
}

/** Key and value stand in either order: some Collectors write them backwards. */
function sequenceIn(entry: Uint8Array, start: number, end: number): number | undefined {
  const { length } = SEQUENCE_KEY;
  const isFirst = isKeyAt(entry, start, end);
  if (!isFirst && !isKeyAt(entry, end - length, end)) return undefined;
  const at = isFirst ? start + length : start;
  const behind = isFirst ? end : end - length;
  if (entry[at] !== VALUE_TAG || entry[at + 1] !== behind - at - 2) return undefined;
  if (entry[at + 2] !== INT_VALUE_TAG) return undefined;
  let sequence = 0;
  for (let digit = behind - 1; digit > at + 2; digit--) {
    const byte = entry[digit]!;
    // A minimal varint: the last byte alone has no high bit, and is not zero.
    if (digit === behind - 1 ? byte === 0 || byte > 0x7f : byte < 0x80) return undefined;
    sequence = sequence * 128 + (byte & 0x7f);
  }
  return sequence > 0 && Number.isSafeInteger(sequence) ? sequence : undefined;
}
