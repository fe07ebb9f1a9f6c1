// SPDX-License-Identifier: Apache-2.0
/**
 * RFC 6962 section 2.1 trees: leaf and node hashes, roots, inclusion and consistency proofs.
 * Both trees of the format are built here: leaves of entries below a record, leaves of headers below a checkpoint.
 * Guarantees nothing about who hashed what: a proof is only as good as the root it is held against.
 */
import { concat, equalBytes } from './bytes.ts';

/** 32 bytes. */
export type Hash = Uint8Array;
/** SHA-256 over bytes, handed in so that Node and browsers each use their own. */
export type Sha256 = (bytes: Uint8Array) => Hash;

export const HASH_BYTE_LENGTH: number = 32;

const NODE_BYTE_LENGTH = 1 + 2 * HASH_BYTE_LENGTH;

/**
 * What is hashed is put together in one place again and again: hashing is synchronous, and keeps nothing. As large as all but
 * the rarest entries: of what is never written to, no system has to find the memory.
 */
const node = new Uint8Array(NODE_BYTE_LENGTH).fill(1, 0, 1);
const leaf = new Uint8Array(1024 * 1024);

/** `SHA-256(0x00 || data)`: RFC 6962 section 2.1; the prefix keeps leaves and nodes apart. */
export function leafHash(sha256: Sha256, data: Uint8Array): Hash {
  const byteLength = 1 + data.length;
  const prefixed =
    byteLength > leaf.length ? new Uint8Array(byteLength) : leaf.subarray(0, byteLength);
  prefixed.set(data, 1);
  return sha256(prefixed);
}

/** `SHA-256(0x01 || left || right)`. */
export function nodeHash(sha256: Sha256, left: Hash, right: Hash): Hash {
  node.set(left, 1);
  node.set(right, 1 + HASH_BYTE_LENGTH);
  return sha256(node);
}

/**
 * A tree that only grows: keeps the roots of its full subtrees (at most 53), which is all that appending and the
 * root need.
 * @example
 * const tree = new Tree(sha256);
 * tree.append(leafHash(sha256, new Uint8Array()));
 * tree.root();
 */
export class Tree {
  readonly #sha256: Sha256;
  /** Roots of full subtrees, largest first; one for each set bit of the size. */
  readonly #peaks: Hash[];
  #size: number;

  /** An empty tree, or the one of `size` leaves that had these peaks. */
  constructor(sha256: Sha256, size = 0, peaks: readonly Hash[] = []) {
    this.#sha256 = sha256;
    this.#size = size;
    this.#peaks = [...peaks];
  }

  /** All that a tree is: with them another goes on where this one is. */
  get peaks(): readonly Hash[] {
    return this.#peaks;
  }

  /** Leaves so far. */
  get size(): number {
    return this.#size;
  }

  append(leaf: Hash): void {
    let root = leaf;
    // Each trailing one bit of the old size is a full subtree that the new leaf completes with its neighbour.
    for (let size = this.#size; size % 2 === 1; size = (size - 1) / 2) {
      root = nodeHash(this.#sha256, this.#peaks.pop()!, root);
    }
    this.#peaks.push(root);
    this.#size++;
  }

  /** RFC 6962: the root of the empty tree is the hash of nothing. */
  root(): Hash {
    let root = this.#peaks.at(-1);
    if (root === undefined) return this.#sha256(new Uint8Array());
    for (let at = this.#peaks.length - 2; at >= 0; at--) {
      root = nodeHash(this.#sha256, this.#peaks[at]!, root);
    }
    return root;
  }
}

/** Root over leaf hashes, in order. */
export function rootOf(sha256: Sha256, leaves: readonly Hash[]): Hash {
  const tree = new Tree(sha256);
  for (const leaf of leaves) tree.append(leaf);
  return tree.root();
}

/** Largest power of two below `size` (size >= 2): where RFC 6962 splits a tree; odd nodes are never doubled. */
export function splitPoint(size: number): number {
  let power = 1;
  while (power * 2 < size) power *= 2;
  return power;
}

/**
 * Audit path of RFC 6962 section 2.1.1, leaf to root.
 * @throws RangeError where `index` is not in the tree
 */
export function proveInclusion(sha256: Sha256, leaves: readonly Hash[], index: number): Hash[] {
  if (!Number.isInteger(index) || index < 0 || index >= leaves.length) {
    throw new RangeError(`index: ${index} is not in a tree of ${leaves.length}`);
  }
  if (leaves.length === 1) return [];
  const split = splitPoint(leaves.length);
  const [left, right] = [leaves.slice(0, split), leaves.slice(split)];
  return index < split
    ? [...proveInclusion(sha256, left, index), rootOf(sha256, right)]
    : [...proveInclusion(sha256, right, index - split), rootOf(sha256, left)];
}

/** True where `path` leads from `leaf` at `index` to `root` in a tree of `size`, with exactly the right length. */
export function verifyInclusion(
  sha256: Sha256,
  leaf: Hash,
  index: number,
  size: number,
  path: readonly Hash[],
  root: Hash,
): boolean {
  if (!isPosition(index, size) || ![leaf, ...path].every(isHash)) return false;
  let hash = leaf;
  const reaches = climb(index, size - 1, path, (sibling, isLeft) => {
    hash = isLeft ? nodeHash(sha256, sibling, hash) : nodeHash(sha256, hash, sibling);
  });
  return reaches && equalBytes(hash, root);
}

/**
 * Goes up from a node, sibling by sibling; true where that leads to the root and no further. RFC 9162 section 2.1.3.2:
 * `last` walks up beside the index and tells which levels have a right sibling.
 */
function climb(
  index: number,
  lastIndex: number,
  path: readonly Hash[],
  take: (sibling: Hash, isLeft: boolean) => void,
): boolean {
  let at = index;
  let last = lastIndex;
  for (const sibling of path) {
    if (last === 0) return false;
    const isLeft = at % 2 === 1 || at === last;
    take(sibling, isLeft);
    // The last node of a level that has no partner goes up alone.
    while (isLeft && at % 2 === 0 && at !== 0) {
      at /= 2;
      last = Math.floor(last / 2);
    }
    at = Math.floor(at / 2);
    last = Math.floor(last / 2);
  }
  return last === 0;
}

function isPosition(index: number, size: number): boolean {
  return Number.isSafeInteger(index) && Number.isSafeInteger(size) && index >= 0 && index < size;
}

/** Proofs are an attacker's words: a sibling of another length would pad or overrun the node it is copied into. */
function isHash(part: Uint8Array): boolean {
  return part.length === HASH_BYTE_LENGTH;
}

/**
 * Consistency proof of RFC 6962 section 2.1.2 between the first `oldSize` leaves and all of them.
 * @throws RangeError where `oldSize` is not 1..leaves.length
 */
export function proveConsistency(sha256: Sha256, leaves: readonly Hash[], oldSize: number): Hash[] {
  if (!Number.isInteger(oldSize) || oldSize < 1 || oldSize > leaves.length) {
    throw new RangeError(`oldSize: ${oldSize} is not 1..${leaves.length}`);
  }
  const subproof = (part: readonly Hash[], size: number, whole: boolean): Hash[] => {
    if (size === part.length) return whole ? [] : [rootOf(sha256, part)];
    const split = splitPoint(part.length);
    const [left, right] = [part.slice(0, split), part.slice(split)];
    return size <= split
      ? [...subproof(left, size, whole), rootOf(sha256, right)]
      : [...subproof(right, size - split, false), rootOf(sha256, left)];
  };
  return subproof(leaves, oldSize, true);
}

/** True where `proof` shows that the tree of `newSize` with `newRoot` begins with the tree of `oldSize` with `oldRoot`. */
export function verifyConsistency(
  sha256: Sha256,
  oldSize: number,
  oldRoot: Hash,
  newSize: number,
  newRoot: Hash,
  proof: readonly Hash[],
): boolean {
  if (!isPosition(oldSize, newSize + 1) || oldSize === 0) return false;
  if (oldSize === newSize) return proof.length === 0 && equalBytes(oldRoot, newRoot);
  // RFC 9162 section 2.1.4.2.
  let at = oldSize - 1;
  let last = newSize - 1;
  while (at % 2 === 1) {
    at = (at - 1) / 2;
    last = Math.floor(last / 2);
  }
  // Nothing left of `at`: the old size is a power of two, its root a node of the new tree, and not in the proof.
  const path = at === 0 ? [oldRoot, ...proof] : proof;
  const first = path[0];
  if (first === undefined || !path.every(isHash)) return false;
  let oldHash = first;
  let newHash = first;
  const reaches = climb(at, last, path.slice(1), (sibling, isLeft) => {
    if (isLeft) oldHash = nodeHash(sha256, sibling, oldHash);
    newHash = isLeft ? nodeHash(sha256, sibling, newHash) : nodeHash(sha256, newHash, sibling);
  });
  return reaches && equalBytes(oldHash, oldRoot) && equalBytes(newHash, newRoot);
}

/** What a record links to at index 0: there is no header before it. */
export const NO_LINK: Hash = concat(new Uint8Array(HASH_BYTE_LENGTH));
