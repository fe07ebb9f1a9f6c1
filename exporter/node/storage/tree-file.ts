// SPDX-License-Identifier: Apache-2.0
/**
 * All nodes of a log's tree in one file that only grows, so that a proof costs a few reads and not the whole log. Proves
 * nothing by itself: what is read here is held against a root that was signed.
 */
import { HASH_BYTE_LENGTH, type Hash, nodeHash, splitPoint, Tree } from '../../log/merkle.ts';
import type { Removed } from '../../log/verify.ts';
import type { Files } from '../system/files.ts';
import { sha256 } from '../system/keys.ts';

/** Nodes of a tree of so many leaves that are complete: two for each leaf, less one for each peak. */
export function nodeCount(leafCount: number): number {
  let count = 2 * leafCount;
  for (let rest = leafCount; rest > 0; rest = Math.floor(rest / 2)) count -= rest % 2;
  return count;
}

/**
 * A file of 32-byte nodes, each behind those below it: node `index` of `level` stands behind its last leaf. Of a log whose
 * first records were removed, of those only the peaks are there, which is all that proofs for the others need.
 */
export class TreeFile {
  readonly #files: Files;
  readonly #file: number;
  #size: number;
  /** Nodes that are not in the file yet. */
  #added: Hash[] = [];
  #peaks: Hash[];

  /** @param size leaves in the file, which is cut or refused where it is of another length */
  constructor(files: Files, file: number, size: number) {
    const byteLength = nodeCount(size) * HASH_BYTE_LENGTH;
    if (files.byteLength(file) < byteLength) throw new RangeError('size: the file is shorter');
    files.truncate(file, byteLength);
    this.#files = files;
    this.#file = file;
    this.#size = size;
    this.#peaks = this.#readPeaks();
  }

  /** Begins a file that is empty behind what was removed. */
  static begin(files: Files, file: number, removed: Removed): TreeFile {
    files.truncate(file, 0);
    let end = 0;
    let power = 2 ** 52;
    for (const peak of removed.peaks) {
      while (end + power > removed.size) power /= 2;
      end += power;
      power /= 2;
      // The hole before it is of nodes that nobody has any more.
      files.truncate(file, (nodeCount(end) - 1) * HASH_BYTE_LENGTH);
      files.append(file, peak);
    }
    return new TreeFile(files, file, removed.size);
  }

  get size(): number {
    return this.#size;
  }

  append(leaf: Hash): void {
    let root = leaf;
    this.#added.push(root);
    for (let size = this.#size; size % 2 === 1; size = (size - 1) / 2) {
      root = nodeHash(sha256, this.#peaks.pop()!, root);
      this.#added.push(root);
    }
    this.#peaks.push(root);
    this.#size++;
  }

  /** Writes what was appended, and makes it durable. */
  flush(): void {
    this.#files.append(this.#file, Buffer.concat(this.#added));
    this.#added = [];
    this.#files.sync(this.#file);
  }

  leaf(index: number): Hash {
    return this.#node(0, index);
  }

  /** Root of the first `size` leaves. */
  rootAt(size: number): Hash {
    return size === 0 ? new Tree(sha256).root() : this.#rangeRoot(0, size);
  }

  /** Audit path of RFC 6962 section 2.1.1 for one leaf in the first `size`. */
  inclusionPath(index: number, size: number): Hash[] {
    const path: Hash[] = [];
    let [start, end] = [0, size];
    while (end - start > 1) {
      const split = start + splitPoint(end - start);
      path.push(index < split ? this.#rangeRoot(split, end) : this.#rangeRoot(start, split));
      if (index < split) end = split;
      else start = split;
    }
    return path.reverse();
  }

  /** Consistency proof of RFC 6962 section 2.1.2 between the first `oldSize` (at least 1) and the first `size` leaves. */
  consistencyPath(oldSize: number, size: number): Hash[] {
    const path: Hash[] = [];
    let [start, end, isOldRoot] = [0, size, true];
    while (oldSize < end) {
      const split = start + splitPoint(end - start);
      if (oldSize <= split) {
        path.push(this.#rangeRoot(split, end));
        end = split;
      } else {
        path.push(this.#rangeRoot(start, split));
        start = split;
        isOldRoot = false;
      }
    }
    if (!isOldRoot) path.push(this.#rangeRoot(start, end));
    return path.reverse();
  }

  /** Root of leaves `start` to `end`, a range that RFC 6962 splits a tree into. */
  #rangeRoot(start: number, end: number): Hash {
    const size = end - start;
    const level = Math.round(Math.log2(size));
    if (2 ** level === size) return this.#node(level, start / size);
    const split = start + splitPoint(size);
    return nodeHash(sha256, this.#rangeRoot(start, split), this.#rangeRoot(split, end));
  }

  #node(level: number, index: number): Hash {
    const lastLeaf = (index + 1) * 2 ** level - 1;
    const node = new Uint8Array(HASH_BYTE_LENGTH);
    this.#files.read(this.#file, node, (nodeCount(lastLeaf) + level) * HASH_BYTE_LENGTH);
    return node;
  }

  #readPeaks(): Hash[] {
    const peaks: Hash[] = [];
    let start = 0;
    for (let level = 52; level >= 0; level--) {
      const size = 2 ** level;
      if (start + size > this.#size) continue;
      peaks.push(this.#node(level, start / size));
      start += size;
    }
    return peaks;
  }
}
