// SPDX-License-Identifier: Apache-2.0
// Goal: what a file of nodes gives is what the trees of the core give. Method: all sizes and positions of small trees, with
// and without a beginning that was removed, and every file that a crash may leave.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  type Hash,
  leafHash,
  NO_LINK,
  proveConsistency,
  proveInclusion,
  rootOf,
  Tree,
  verifyConsistency,
  verifyInclusion,
} from '../exporter/log/merkle.ts';
import { nodeCount, TreeFile } from '../exporter/node/storage/tree-file.ts';
import { nodeFiles } from '../exporter/node/system/files.ts';
import { sha256 } from '../exporter/node/system/keys.ts';

const SIZE = 37;
const leaves: readonly Hash[] = Array.from({ length: SIZE }, (_, index) =>
  leafHash(sha256, Uint8Array.of(index)),
);
const NOTHING = { size: 0, peaks: [], link: NO_LINK };

const folder = mkdtempSync(join(tmpdir(), 'sealspan-tree-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let fileCount = 0;
const newFile = (): number => nodeFiles.open(join(folder, String(fileCount++)), 'create');

const hex = (hashes: readonly Hash[]): string[] =>
  hashes.map((hash) => Buffer.from(hash).toString('hex'));

/** A file of all leaves, the first `removedSize` of which only left their peaks. */
function written(removedSize = 0): TreeFile {
  const tree = new Tree(sha256);
  for (const leaf of leaves.slice(0, removedSize)) tree.append(leaf);
  const removed = { size: removedSize, peaks: tree.peaks, link: NO_LINK };
  const file = TreeFile.begin(nodeFiles, newFile(), removed);
  for (const leaf of leaves.slice(removedSize)) file.append(leaf);
  file.flush();
  return file;
}

describe('a file of nodes', () => {
  test('has two nodes for each leaf, less one for each peak', () => {
    const counts = [0, 1, 2, 3, 4, 7, 8, 2 ** 40].map(nodeCount);
    expect(counts).toEqual([0, 1, 3, 4, 7, 11, 15, 2 ** 41 - 1]);
  });

  test('gives the roots of all sizes, and all leaves', () => {
    const file = written();
    for (let size = 0; size <= SIZE; size++) {
      expect(hex([file.rootAt(size)])).toEqual(hex([rootOf(sha256, leaves.slice(0, size))]));
    }
    expect(hex(leaves.map((_, index) => file.leaf(index)))).toEqual(hex(leaves));
  });

  test('proves each leaf in each size as the core does', () => {
    const file = written();
    for (let size = 1; size <= SIZE; size++) {
      for (let index = 0; index < size; index++) {
        const path = file.inclusionPath(index, size);
        expect(hex(path)).toEqual(hex(proveInclusion(sha256, leaves.slice(0, size), index)));
      }
    }
  });

  test('proves each size consistent with each smaller one as the core does', () => {
    const file = written();
    for (let size = 1; size <= SIZE; size++) {
      for (let oldSize = 1; oldSize <= size; oldSize++) {
        const path = file.consistencyPath(oldSize, size);
        expect(hex(path)).toEqual(hex(proveConsistency(sha256, leaves.slice(0, size), oldSize)));
      }
    }
  });

  test('goes on where it was left, whatever stands behind that', () => {
    for (let size = 0; size <= SIZE; size++) {
      const at = newFile();
      const first = TreeFile.begin(nodeFiles, at, NOTHING);
      for (const leaf of leaves.slice(0, size)) first.append(leaf);
      first.flush();
      nodeFiles.append(at, new Uint8Array(50).fill(7));
      const second = new TreeFile(nodeFiles, at, size);
      for (const leaf of leaves.slice(size)) second.append(leaf);
      second.flush();
      expect(hex([second.rootAt(SIZE)])).toEqual(hex([rootOf(sha256, leaves)]));
      expect(hex(second.inclusionPath(0, SIZE))).toEqual(hex(proveInclusion(sha256, leaves, 0)));
    }
  });

  test('that is too short is refused', () => {
    const at = newFile();
    nodeFiles.append(at, new Uint8Array(31));
    expect(() => new TreeFile(nodeFiles, at, 1)).toThrow(RangeError);
  });

  test('without what was removed: proves all that is left, in every size', () => {
    for (let removed = 1; removed < SIZE; removed++) {
      const file = written(removed);
      for (let size = removed + 1; size <= SIZE; size++) {
        const root = rootOf(sha256, leaves.slice(0, size));
        for (let index = removed; index < size; index++) {
          const path = file.inclusionPath(index, size);
          expect(verifyInclusion(sha256, leaves[index]!, index, size, path, root)).toBe(true);
        }
        const old = rootOf(sha256, leaves.slice(0, removed));
        const path = file.consistencyPath(removed, size);
        expect(verifyConsistency(sha256, removed, old, size, root, path)).toBe(true);
      }
    }
  });
});
