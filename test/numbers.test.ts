// SPDX-License-Identifier: Apache-2.0
// Goal: what was not seen is named exactly, in whatever order the rest was seen. Method: a set of single numbers as
// the oracle, over random ranges; exhaustively over all orders of a few.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { splitRequest } from '../exporter/log/entries.ts';
import { NUMBER_RANGE_COUNT_MAX } from '../exporter/log/limits.ts';
import {
  formatNumberRanges,
  MISSING_LISTED_COUNT,
  type NumberRange,
  NumberRanges,
  parseNumberRanges,
  sequenceOf,
} from '../exporter/log/numbers.ts';
import { f } from '../scripts/vectors.ts';
import { encodeOtlp } from './support/otlp-backend.ts';

const seen = (...ranges: readonly NumberRange[]): NumberRanges => {
  const numbers = new NumberRanges();
  for (const [first, last] of ranges) numbers.add(first, last);
  return numbers;
};

describe('what is missing', () => {
  test.each<[what: string, NumberRange[], highest: number, NumberRange[]]>([
    ['nothing was started', [], 0, []],
    ['nothing was seen', [], 3, [[1, 3]]],
    ['all were seen', [[1, 3]], 3, []],
    [
      'one in the middle',
      [
        [1, 1],
        [3, 3],
      ],
      3,
      [[2, 2]],
    ],
    [
      'the first and the last',
      [[2, 2]],
      3,
      [
        [1, 1],
        [3, 3],
      ],
    ],
    ['numbers behind the highest are no matter', [[1, 9]], 3, []],
    [
      'seen twice',
      [
        [1, 2],
        [2, 3],
        [1, 3],
      ],
      3,
      [],
    ],
  ])('%s', (_what, ranges, highest, missing) => {
    expect(seen(...ranges).missing(highest).ranges).toEqual(missing);
  });

  test('is that of a set of single numbers, in any order', () => {
    const range = fc
      .tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 5 }))
      .map(([first, more]): NumberRange => [first, first + more]);
    fc.assert(
      fc.property(
        fc.array(range, { maxLength: 40 }),
        fc.integer({ min: 0, max: 70 }),
        (ranges, highest) => {
          const known = new Set<number>();
          for (const [first, last] of ranges) {
            for (let number = first; number <= last; number++) known.add(number);
          }
          const expected: number[] = [];
          for (let number = 1; number <= highest; number++) {
            if (!known.has(number)) expected.push(number);
          }
          const missing = seen(...ranges).missing(highest);
          const listed = missing.ranges.flatMap(([first, last]) =>
            Array.from({ length: last - first + 1 }, (_, at) => first + at),
          );
          const numbers = seen(...ranges);
          for (let number = 1; number <= 70; number++) {
            expect(numbers.has(number)).toBe(known.has(number));
          }
          expect(numbers.highest).toBe(Math.max(0, ...known));
          expect(missing.count).toBe(expected.length);
          expect(listed).toEqual(expected.slice(0, listed.length));
          if (missing.ranges.length < MISSING_LISTED_COUNT) expect(listed).toEqual(expected);
        },
      ),
    );
  });

  test('is listed up to a bound, and counted beyond it', () => {
    const numbers = new NumberRanges();
    for (let number = 1; number <= 1000; number += 2) numbers.add(number);
    const { count, ranges } = numbers.missing(1000);
    expect(count).toBe(500);
    expect(ranges).toHaveLength(MISSING_LISTED_COUNT);
  });
});

test('a writer that scatters its numbers costs no more memory than the bound', () => {
  const numbers = new NumberRanges();
  for (let at = 0; at < NUMBER_RANGE_COUNT_MAX; at++) numbers.add(2 * at + 1);
  expect(numbers.isFull).toBe(false);
  numbers.add(2 * NUMBER_RANGE_COUNT_MAX + 1);
  expect(numbers.isFull).toBe(true);
  expect(numbers.highest).toBe(2 * NUMBER_RANGE_COUNT_MAX - 1);
  // What joins a range that is there needs no more memory; that something was left out stays true.
  numbers.add(2);
  expect([numbers.has(2), numbers.isFull]).toEqual([true, true]);
});

test('numbers that come backwards are one range, and so is what fills the hole between two', () => {
  const numbers = new NumberRanges();
  for (let number = 2 * NUMBER_RANGE_COUNT_MAX; number > 0; number--) numbers.add(number);
  expect([numbers.isFull, numbers.missing(2 * NUMBER_RANGE_COUNT_MAX).count]).toEqual([false, 0]);
});

describe('aigov.sequence of an entry', () => {
  const attribute = (key: string, value: Uint8Array) => f(9, f(1, key), f(2, value));
  const entryOf = (...fields: readonly Uint8Array[]) =>
    f(1, f(2, f(1, f(1, 'app')), f(2, ...fields)));
  const int = (...varint: readonly number[]) => Uint8Array.of(0x18, ...varint);

  test('is found wherever the attribute stands', () => {
    const other = attribute('gen_ai.system', f(1, 'aigov.sequence'));
    const own = attribute('aigov.sequence', int(0xac, 0x02));
    const entries = splitRequest(entryOf(f(5, 'chat'), other, own, f(5, 'x')), 'traces');
    expect(entries.map(sequenceOf)).toEqual([300]);
  });

  test('is that of the first attribute that has a number', () => {
    const own = [f(1, 'x'), int(7), int(8)].map((value) => attribute('aigov.sequence', value));
    expect(sequenceOf(entryOf(...own))).toBe(7);
  });

  test('is what the exporter of an SDK writes, up to the largest number', () => {
    for (const intValue of ['1', '127', '128', '16384', '9007199254740991']) {
      const span = {
        name: 'chat',
        traceId: Buffer.alloc(16, 1).toString('base64'),
        spanId: Buffer.alloc(8, 1).toString('base64'),
        attributes: [{ key: 'aigov.sequence', value: { intValue } }],
      };
      const request = encodeOtlp('TracesData', {
        resourceSpans: [{ scopeSpans: [{ spans: [span] }] }],
      });
      expect(splitRequest(request, 'traces').map(sequenceOf)).toEqual([Number(intValue)]);
    }
  });

  const MAX = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
  test.each<[what: string, field: Uint8Array]>([
    ['no attribute', f(5, 'chat')],
    ['a longer key', attribute('aigov.sequences', int(7))],
    ['another key of that length', attribute('aigov.sequencE', int(7))],
    ['zero', attribute('aigov.sequence', int(0))],
    ['a number that is not minimal', attribute('aigov.sequence', int(0x87, 0x00))],
    ['2^53', attribute('aigov.sequence', int(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10))],
    ['-1', attribute('aigov.sequence', int(...Array(9).fill(0xff), 1))],
    ['text', attribute('aigov.sequence', f(1, '7'))],
    ['a double', attribute('aigov.sequence', Uint8Array.of(0x21, 0, 0, 0, 0, 0, 0, 28, 64))],
    ['true', attribute('aigov.sequence', Uint8Array.of(0x10, 1))],
    ['a value twice in one', attribute('aigov.sequence', int(7, 0x18, 8))],
    ['a value twice', f(9, f(1, 'aigov.sequence'), f(2, int(7)), f(2, int(8)))],
    ['a value before another key', f(9, f(2, int(7)), f(1, 'aigov.sequencf'))],
    ['a key before its key', f(9, f(1, 'aigov.sequence'), f(1, 'aigov.sequence'))],
    ['a zero before its key', f(9, f(2, int(0)), f(1, 'aigov.sequence'))],
    ['no value', f(9, f(1, 'aigov.sequence'))],
    ['an empty value', f(9, f(1, 'aigov.sequence'), f(2))],
    ['an empty value, and a foreign field', f(9, f(1, 'aigov.sequence'), f(2), int(7))],
    [
      'a length that is not minimal',
      f(9, f(1, 'aigov.sequence'), Uint8Array.of(0x12, 0x82, 0, 0x18, 7)),
    ],
    ['an attribute of an event', f(11, f(3, f(1, 'aigov.sequence'), f(2, int(7))))],
  ])('%s is none', (_what, field) => {
    const [entry] = splitRequest(entryOf(field), 'traces');
    expect(sequenceOf(entry!)).toBe(undefined);
    expect(sequenceOf(entryOf(attribute('aigov.sequence', int(...MAX))))).toBe(2 ** 53 - 1);
    const backwards = f(9, f(2, int(7)), f(1, 'aigov.sequence'));
    expect(sequenceOf(entryOf(backwards))).toBe(7);
  });
});

describe('ranges in text', () => {
  test.each<[text: string, ranges: NumberRange[]]>([
    ['', []],
    ['4', [[4, 4]]],
    [
      '4,7-9',
      [
        [4, 4],
        [7, 9],
      ],
    ],
    ['1-9007199254740991', [[1, Number.MAX_SAFE_INTEGER]]],
  ])('%s', (text, ranges) => {
    expect(parseNumberRanges(text)).toEqual(ranges);
    expect(formatNumberRanges(ranges)).toBe(text);
  });

  test('a list that was cut short gives what is left of it', () => {
    expect(parseNumberRanges('4,7-9,...')).toEqual([
      [4, 4],
      [7, 9],
    ]);
  });

  test.each([
    '0',
    '01',
    '4,',
    ',4',
    '9-7',
    '7-9,8',
    '4,4',
    '4 ,5',
    '-4',
    '4-',
    '1-9007199254740992',
    'x',
    ',...',
    '...',
    '4...',
  ])('%s is none', (text) => {
    expect(parseNumberRanges(text)).toBe(undefined);
  });
});
