// SPDX-License-Identifier: Apache-2.0
// Goal: roots and proofs are those of RFC 6962, and a proof holds for exactly one position in one tree. Method: published
// vectors (good and bad), then every index of every tree up to 256 leaves and every pair of sizes up to 64 against the
// RFC's recursion written down naively, each proof then altered in every way a liar could.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeHex } from '../exporter/log/bytes.ts';
import {
  HASH_BYTE_LENGTH,
  type Hash,
  leafHash,
  NO_LINK,
  nodeHash,
  proveConsistency,
  proveInclusion,
  rootOf,
  Tree,
  verifyConsistency,
  verifyInclusion,
} from '../exporter/log/merkle.ts';
import { naiveLog, sha256 } from './support/naive-merkle.ts';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
const base64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
const hexOf = (hashes: readonly Hash[]): string[] => hashes.map(encodeHex);

/** The leaves that Certificate Transparency's implementations have shared since RFC 6962. */
const CT_LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
].map(hex);

/** Root of the first `size` of them, by size. */
const CT_ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

interface InclusionVector {
  readonly name: string;
  readonly index: number;
  readonly size: number;
  readonly root: string | null;
  readonly leaf: string | null;
  readonly proof: readonly string[] | null;
  readonly holds: boolean;
}
interface ConsistencyVector {
  readonly name: string;
  readonly oldSize: number;
  readonly newSize: number;
  readonly oldRoot: string | null;
  readonly newRoot: string | null;
  readonly proof: readonly string[] | null;
  readonly holds: boolean;
}
const VECTORS = JSON.parse(
  readFileSync(new URL('vectors/merkle.json', import.meta.url), 'utf8'),
) as {
  readonly inclusion: readonly InclusionVector[];
  readonly consistency: readonly ConsistencyVector[];
};

const TREE_SIZE_MAX = 256;
const PAIR_SIZE_MAX = 64;
const DATA = Array.from({ length: TREE_SIZE_MAX }, (_, index) => Uint8Array.of(index, index >> 4));
const LEAVES = DATA.map((data) => leafHash(sha256, data));
const NAIVE = naiveLog(DATA);

function flipped(hash: Hash, bit: number): Hash {
  const copy = hash.slice();
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}

/** Every way a proof can be tampered with by one step: a bit, a part left out, added, doubled, or two swapped. */
function alterations(proof: readonly Hash[], bit: number): Map<string, readonly Hash[]> {
  const all = new Map<string, readonly Hash[]>();
  const other = leafHash(sha256, Uint8Array.of(bit));
  for (const [at, part] of proof.entries()) {
    all.set(`flip ${at}`, proof.with(at, flipped(part, bit)));
    all.set(`drop ${at}`, proof.toSpliced(at, 1));
    all.set(`double ${at}`, proof.toSpliced(at, 0, part));
    if (at > 0) all.set(`swap ${at}`, proof.with(at, proof[at - 1]!).with(at - 1, part));
  }
  for (let at = 0; at <= proof.length; at++) all.set(`add ${at}`, proof.toSpliced(at, 0, other));
  return all;
}

describe('published vectors', () => {
  test.each(CT_ROOTS.map((root, size) => [size, root] as const))(
    'the tree of %i leaves of Certificate Transparency',
    (size, root) => {
      const leaves = CT_LEAVES.slice(0, size).map((data) => leafHash(sha256, data));
      expect(encodeHex(rootOf(sha256, leaves))).toBe(root);
      expect(encodeHex(naiveLog(CT_LEAVES).mth(0, size))).toBe(root);
    },
  );

  test('are there, good and bad', () => {
    const count = (list: readonly { readonly holds: boolean }[], holds: boolean): number =>
      list.filter((vector) => vector.holds === holds).length;
    expect({
      inclusion: [count(VECTORS.inclusion, true), count(VECTORS.inclusion, false)],
      consistency: [count(VECTORS.consistency, true), count(VECTORS.consistency, false)],
    }).toEqual({ inclusion: [6, 92], consistency: [6, 92] });
  });

  test.each(VECTORS.inclusion)('inclusion $name: $holds', (vector) => {
    expect(
      verifyInclusion(
        sha256,
        base64(vector.leaf ?? ''),
        vector.index,
        vector.size,
        (vector.proof ?? []).map(base64),
        base64(vector.root ?? ''),
      ),
    ).toBe(vector.holds);
  });

  test.each(VECTORS.consistency)('consistency $name: $holds', (vector) => {
    expect(
      verifyConsistency(
        sha256,
        vector.oldSize,
        base64(vector.oldRoot ?? ''),
        vector.newSize,
        base64(vector.newRoot ?? ''),
        (vector.proof ?? []).map(base64),
      ),
    ).toBe(vector.holds);
  });
});

describe('hashes', () => {
  test('a leaf is prefixed with 0, a node with 1: neither can pass for the other', () => {
    const [a, b] = [leafHash(sha256, hex('61')), leafHash(sha256, hex('62'))];
    const digest = (...parts: readonly Uint8Array[]): string =>
      createHash('sha256').update(Buffer.concat(parts)).digest('hex');
    expect(encodeHex(a)).toBe(digest(hex('0061')));
    expect(encodeHex(nodeHash(sha256, a, b))).toBe(digest(hex('01'), a, b));
    expect(leafHash(sha256, Buffer.concat([a, b]))).not.toEqual(nodeHash(sha256, a, b));
  });

  test('of Node and of the portable library are the same function', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (data) => {
        const roots = [sha256, nobleSha256].map((hash) =>
          encodeHex(
            rootOf(
              hash,
              data.map((item) => leafHash(hash, item)),
            ),
          ),
        );
        expect(roots[0]).toBe(roots[1]);
      }),
    );
  });

  test('there is no link before the first record: 32 zeros', () => {
    expect(NO_LINK).toEqual(new Uint8Array(HASH_BYTE_LENGTH));
  });
});

describe('roots', () => {
  test('of every tree up to 256 leaves, growing leaf by leaf, are those of the RFC', () => {
    const tree = new Tree(sha256);
    for (const [index, leaf] of LEAVES.entries()) {
      expect([tree.size, encodeHex(tree.root())]).toEqual([index, encodeHex(NAIVE.mth(0, index))]);
      tree.append(leaf);
    }
    expect(encodeHex(tree.root())).toBe(encodeHex(NAIVE.mth(0, TREE_SIZE_MAX)));
  });

  test('asking for the root changes nothing', () => {
    const tree = new Tree(sha256);
    for (const leaf of LEAVES.slice(0, 7)) tree.append(leaf);
    const first = tree.root();
    expect([tree.root(), tree.size]).toEqual([first, 7]);
  });

  test('an odd leaf is not doubled (CVE-2012-2459)', () => {
    const [a, b, c] = LEAVES as [Hash, Hash, Hash];
    expect(rootOf(sha256, [a, b, c])).not.toEqual(rootOf(sha256, [a, b, c, c]));
  });
});

describe('inclusion', () => {
  test('every index of every tree up to 256 leaves: the path of the RFC, and it holds', () => {
    for (let size = 1; size <= TREE_SIZE_MAX; size++) {
      const leaves = LEAVES.slice(0, size);
      const root = NAIVE.mth(0, size);
      for (let index = 0; index < size; index++) {
        const path = NAIVE.path(index, 0, size);
        // Ours recomputes each sibling from its leaves; every tree to 64, then those around powers of two and some.
        if (size <= 64 || size % 37 === 0 || size > 254 || (size > 126 && size < 131)) {
          expect(hexOf(proveInclusion(sha256, leaves, index))).toEqual(hexOf(path));
        }
        if (!verifyInclusion(sha256, leaves[index]!, index, size, path, root)) {
          expect.unreachable(`leaf ${index} of ${size}`);
        }
      }
    }
  });

  test('every altered path fails, for every index of every tree up to 256 leaves', () => {
    for (let size = 1; size <= TREE_SIZE_MAX; size++) {
      const root = NAIVE.mth(0, size);
      for (let index = 0; index < size; index++) {
        if (size > 32 && (index * 7 + size) % 16 !== 0) continue;
        const path = NAIVE.path(index, 0, size);
        for (const [name, altered] of alterations(path, (size + index) % 256)) {
          if (verifyInclusion(sha256, LEAVES[index]!, index, size, altered, root)) {
            expect.unreachable(`${name} at leaf ${index} of ${size}`);
          }
        }
      }
    }
  });

  test('a path holds for no other index, no other leaf, no other root', () => {
    for (let size = 1; size <= PAIR_SIZE_MAX; size++) {
      const root = NAIVE.mth(0, size);
      for (let index = 0; index < size; index++) {
        const path = NAIVE.path(index, 0, size);
        const leaf = LEAVES[index]!;
        for (let other = 0; other < size; other++) {
          if (other === index) continue;
          const holds = [
            verifyInclusion(sha256, leaf, other, size, path, root),
            verifyInclusion(sha256, LEAVES[other]!, index, size, path, root),
          ];
          if (holds.includes(true)) expect.unreachable(`${other} for ${index} of ${size}`);
        }
        expect(verifyInclusion(sha256, leaf, index, size, path, flipped(root, index))).toBe(false);
      }
    }
  });

  test('a path holds for another size only where that size has the same shape above the leaf', () => {
    // The root binds the size only through the shape; the checkpoint binds it by signing size and root together.
    for (let size = 1; size <= PAIR_SIZE_MAX; size++) {
      for (let index = 0; index < size; index++) {
        const path = NAIVE.path(index, 0, size);
        for (let other = 1; other <= PAIR_SIZE_MAX; other++) {
          const holds = verifyInclusion(
            sha256,
            LEAVES[index]!,
            index,
            other,
            path,
            NAIVE.mth(0, size),
          );
          if (holds !== (index < other && sameShape(index, size, other))) {
            expect.unreachable(`leaf ${index} of ${size} in a tree of ${other}: ${holds}`);
          }
        }
      }
    }
  });

  test.each([
    ['an index behind the end', 8, 8],
    ['an index of 2^53', 2 ** 53, 2 ** 54],
    ['a negative index', -1, 8],
    ['half an index', 0.5, 8],
    ['no number', Number.NaN, 8],
    ['an empty tree', 0, 0],
  ])('%s is in no tree', (_name, index, size) => {
    expect(verifyInclusion(sha256, LEAVES[0]!, index, size, [], LEAVES[0]!)).toBe(false);
  });

  test.each([8, -1, 0.5, Number.NaN])('proving leaf %d of 8 is misuse', (index) => {
    expect(() => proveInclusion(sha256, LEAVES.slice(0, 8), index)).toThrow(RangeError);
  });
});

/** Whether the siblings of a leaf lie on the same sides, level by level, in trees of both sizes. */
function sameShape(index: number, size: number, other: number): boolean {
  const sides = (end: number): string => {
    let [start, stop, text] = [0, end, ''];
    while (stop - start > 1) {
      let power = 1;
      while (power * 2 < stop - start) power *= 2;
      const left = index < start + power;
      text += left ? 'L' : 'R';
      if (left) stop = start + power;
      else start += power;
    }
    return text;
  };
  return sides(size) === sides(other);
}

describe('consistency', () => {
  const pairs = Array.from({ length: PAIR_SIZE_MAX }, (_, index) => index + 1).flatMap((newSize) =>
    Array.from({ length: newSize }, (_, index) => [index + 1, newSize] as const),
  );

  test('every pair of sizes up to 64: the proof of the RFC, and it holds', () => {
    for (const [oldSize, newSize] of pairs) {
      const proof = NAIVE.proof(oldSize, newSize);
      expect(hexOf(proveConsistency(sha256, LEAVES.slice(0, newSize), oldSize))).toEqual(
        hexOf(proof),
      );
      const [oldRoot, newRoot] = [NAIVE.mth(0, oldSize), NAIVE.mth(0, newSize)];
      if (!verifyConsistency(sha256, oldSize, oldRoot, newSize, newRoot, proof)) {
        expect.unreachable(`${oldSize} to ${newSize}`);
      }
    }
  });

  test('every altered proof fails, and so does every other root', () => {
    for (const [oldSize, newSize] of pairs) {
      const proof = NAIVE.proof(oldSize, newSize);
      const [oldRoot, newRoot] = [NAIVE.mth(0, oldSize), NAIVE.mth(0, newSize)];
      for (const [name, altered] of alterations(proof, (oldSize + newSize) % 256)) {
        if (verifyConsistency(sha256, oldSize, oldRoot, newSize, newRoot, altered)) {
          expect.unreachable(`${name}: ${oldSize} to ${newSize}`);
        }
      }
      const bit = (oldSize * newSize) % 256;
      const forged = [
        verifyConsistency(sha256, oldSize, flipped(oldRoot, bit), newSize, newRoot, proof),
        verifyConsistency(sha256, oldSize, oldRoot, newSize, flipped(newRoot, bit), proof),
      ];
      expect(forged).toEqual([false, false]);
    }
  });

  test('a log with one rewritten record is consistent with no earlier head that covers it', () => {
    const rewritten = DATA.with(3, Uint8Array.of(0xff));
    const forged = naiveLog(rewritten);
    for (let oldSize = 4; oldSize <= 16; oldSize++) {
      for (let newSize = oldSize; newSize <= 16; newSize++) {
        const newRoot = forged.mth(0, newSize);
        const proof = forged.proof(oldSize, newSize);
        const oldRoot = NAIVE.mth(0, oldSize);
        expect(verifyConsistency(sha256, oldSize, oldRoot, newSize, newRoot, proof)).toBe(false);
      }
    }
  });

  test('sizes of more leaves than 48 bits count are told apart from powers of two', () => {
    // old: A and b; new: A, b and c, where A is a full tree of 2^50 leaves.
    const [a, b, c] = LEAVES as [Hash, Hash, Hash];
    const node = (left: Hash, right: Hash): Hash => nodeHash(sha256, left, right);
    const size = 2 ** 50;
    expect(
      verifyConsistency(sha256, size + 1, node(a, b), size + 2, node(a, node(b, c)), [b, c, a]),
    ).toBe(true);
    expect(verifyConsistency(sha256, size, a, size + 1, node(a, b), [b])).toBe(true);
  });

  test.each([
    ['an empty old tree', 0, 4],
    ['a tree that shrank', 5, 4],
    ['half a tree', 1.5, 4],
    ['sizes that no integer holds', 2 ** 53, 2 ** 54],
  ])('%s proves nothing', (_name, oldSize, newSize) => {
    expect(verifyConsistency(sha256, oldSize, LEAVES[0]!, newSize, LEAVES[0]!, [])).toBe(false);
  });

  test.each([0, 9, 1.5, Number.NaN])('proving from size %d of 8 is misuse', (oldSize) => {
    expect(() => proveConsistency(sha256, LEAVES.slice(0, 8), oldSize)).toThrow(RangeError);
  });
});

describe('parts that are no hashes', () => {
  const [leaf, sibling] = LEAVES as [Hash, Hash];
  const root = nodeHash(sha256, leaf, sibling);
  /** Ends in a zero, so that a short copy, padded by a careless reader, would give the same node. */
  const padded = sibling.with(31, 0);

  test.each([
    ['empty', sibling.subarray(0, 0)],
    ['cut by its last zero', padded.subarray(0, 31)],
    ['a byte too long', Uint8Array.of(...sibling, 0)],
    ['as long as a node', new Uint8Array(65)],
    ['longer than a node', new Uint8Array(1000)],
  ])('a sibling that is %s holds in no proof, and throws nothing', (_name, part) => {
    const paddedRoot = nodeHash(sha256, leaf, padded);
    for (const at of [root, paddedRoot]) {
      expect(verifyInclusion(sha256, leaf, 0, 2, [part], at)).toBe(false);
      expect(verifyInclusion(sha256, leaf, 1, 2, [part], at)).toBe(false);
      expect(verifyConsistency(sha256, 1, leaf, 2, at, [part])).toBe(false);
    }
  });
});
