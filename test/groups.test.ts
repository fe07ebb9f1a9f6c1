// SPDX-License-Identifier: Apache-2.0
// Goal: no record is larger than it may be, and no entry is left out or moved. Method: tables of entries at the bounds.
import { expect, test } from 'vitest';
import { fitsRecord, groupsOf } from '../exporter/node/sealing/groups.ts';

const MEBIBYTE = 1024 * 1024;
const entriesOf = (...byteLengths: readonly number[]): Uint8Array[] =>
  byteLengths.map((byteLength) => new Uint8Array(byteLength));

test.each<[what: string, byteLengths: readonly number[], groups: readonly (readonly number[])[]]>([
  ['one entry', [100], [[100]]],
  ['up to 4 MiB together', [MEBIBYTE, 3 * MEBIBYTE, 1], [[MEBIBYTE, 3 * MEBIBYTE], [1]]],
  ['a larger one alone', [1, 5 * MEBIBYTE, 1, 1], [[1], [5 * MEBIBYTE], [1, 1]]],
  ['a larger one first', [5 * MEBIBYTE, 1], [[5 * MEBIBYTE], [1]]],
])('%s', (_what, byteLengths, groups) => {
  const entries = entriesOf(...byteLengths);
  const found = groupsOf(entries);
  expect(found.map((group) => group.entries.map(({ length }) => length))).toEqual(groups);
  expect(found.map(({ byteLength }) => byteLength)).toEqual(
    groups.map((lengths) => lengths.reduce((sum, length) => sum + length)),
  );
  expect(found.flatMap((group) => group.entries)).toEqual(entries);
});

test('at most 4,096 entries together', () => {
  const found = groupsOf(entriesOf(...Array.from({ length: 9000 }, () => 1)));
  expect(found.map(({ entries }) => entries.length)).toEqual([4096, 4096, 808]);
});

test.each([
  [4096, 1, true],
  [4097, 1, false],
  [1, 4 * MEBIBYTE, true],
  [1, 4 * MEBIBYTE + 1, false],
])('%i entries of %i bytes fit: %s', (entryCount, byteLength, fits) => {
  expect(fitsRecord(entryCount, byteLength)).toBe(fits);
});
