// SPDX-License-Identifier: Apache-2.0
// Goal: the file `tail` vouches for the records of one key's writer, and for no others. Method: the file itself on a disk
// in memory; what a writer makes of it, test/log-writer.test.ts shows.
import { expect, test } from 'vitest';
import { leafHash } from '../exporter/log/merkle.ts';
import { Tail } from '../exporter/node/storage/tail.ts';
import { sha256 } from '../exporter/node/system/keys.ts';
import { DIR, emptyDisk, openSigner } from './support/small-log.ts';

const signer = openSigner();
const leaf = (byte: number): Uint8Array => leafHash(sha256, Uint8Array.of(byte));

test('vouches for what was appended, also behind half a line, and for an index twice', () => {
  const disk = emptyDisk();
  const first = Tail.open(disk, DIR, signer, 0);
  for (const [index, byte] of [
    [0, 1],
    [1, 2],
    [1, 3],
  ] as const)
    first.append(index, leaf(byte));
  first.close();
  disk.append(disk.open(`${DIR}/tail`, 'existing'), new Uint8Array(7));
  const second = Tail.open(disk, DIR, signer, 0);
  second.append(2, leaf(4));
  second.close();
  expect(disk.readAll(`${DIR}/tail`)?.length).toBe(160);
  for (const [index, byte, from] of [
    [0, 1, undefined],
    [1, 2, undefined],
    [1, 3, undefined],
    [2, 4, undefined],
    [0, 2, 0],
    [3, 4, 3],
  ] as const) {
    const tail = Tail.open(disk, DIR, signer, 0);
    tail.check(index, leaf(byte));
    expect(tail.unvouchedFrom).toBe(from);
    tail.close();
  }
});

test('of another key vouches for nothing, and what is vouched for elsewhere is not asked', () => {
  const disk = emptyDisk();
  const tail = Tail.open(disk, DIR, openSigner(), 0);
  for (const index of [0, 1]) tail.append(index, leaf(index));
  tail.close();
  const own = Tail.open(disk, DIR, signer, 1);
  for (const index of [0, 1, 2]) own.check(index, leaf(index));
  expect(own.unvouchedFrom).toBe(1);
  own.adopt();
  expect(own.unvouchedFrom).toBe(undefined);
  own.clear();
  expect(disk.readAll(`${DIR}/tail`)).toEqual(new Uint8Array());
  own.close();
});
