// SPDX-License-Identifier: Apache-2.0
// Goal: what was not seen is named exactly, in whatever order the rest was seen. Method: a set of single numbers as
// the oracle, over random ranges; exhaustively over all orders of a few.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NUMBER_RANGE_COUNT_MAX } from '../exporter/log/limits.ts';
import {
  formatNumberRanges,
  MISSING_LISTED_COUNT,
  type NumberRange,
  NumberRanges,
  parseNumberRanges,
} from '../exporter/log/numbers.ts';

const seen = (...ranges: readonly NumberRange[]): NumberRanges => {
  const numbers = new NumberRanges();
  for (const [first, last] of ranges) numbers.add(first, last);
  return numbers;
};

describe('what is missing', () => {
  test.each<[what: string, NumberRange[], highest: number, open: NumberRange[], NumberRange[]]>([
    ['nothing was started', [], 0, [], []],
    ['nothing was seen', [], 3, [], [[1, 3]]],
    ['all were seen', [[1, 3]], 3, [], []],
    [
      'one in the middle',
      [
        [1, 1],
        [3, 3],
      ],
      3,
      [],
      [[2, 2]],
    ],
    [
      'the first and the last',
      [[2, 2]],
      3,
      [],
      [
        [1, 1],
        [3, 3],
      ],
    ],
    [
      'what is open is not missing',
      [
        [1, 1],
        [5, 5],
      ],
      5,
      [[3, 4]],
      [[2, 2]],
    ],
    ['open behind the last that was seen', [[1, 1]], 3, [[2, 3]], []],
    ['numbers behind the highest are no matter', [[1, 9]], 3, [], []],
    [
      'seen twice',
      [
        [1, 2],
        [2, 3],
        [1, 3],
      ],
      3,
      [],
      [],
    ],
  ])('%s', (_what, ranges, highest, open, missing) => {
    expect(seen(...ranges).missing(highest, open).ranges).toEqual(missing);
  });

  test('is that of a set of single numbers, in any order', () => {
    const range = fc
      .tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 5 }))
      .map(([first, more]): NumberRange => [first, first + more]);
    fc.assert(
      fc.property(
        fc.array(range, { maxLength: 40 }),
        fc.array(range, { maxLength: 5 }),
        fc.integer({ min: 0, max: 70 }),
        (ranges, open, highest) => {
          const known = new Set<number>();
          for (const [first, last] of [...ranges, ...open]) {
            for (let number = first; number <= last; number++) known.add(number);
          }
          const expected: number[] = [];
          for (let number = 1; number <= highest; number++) {
            if (!known.has(number)) expected.push(number);
          }
          const missing = seen(...ranges).missing(highest, open);
          const listed = missing.ranges.flatMap(([first, last]) =>
            Array.from({ length: last - first + 1 }, (_, at) => first + at),
          );
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

  test.each(['0', '01', '4,', ',4', '9-7', '7-9,8', '4 ,5', '-4', '4-', '1-9007199254740992', 'x'])(
    '%s is none',
    (text) => {
      expect(parseNumberRanges(text)).toBe(undefined);
    },
  );
});
