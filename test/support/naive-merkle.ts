// SPDX-License-Identifier: Apache-2.0
/**
 * RFC 6962 section 2.1 written down as the RFC does, recursively and over ranges: MTH, PATH, SUBPROOF. An oracle for
 * tests; shares nothing with the code it judges but the hash function of Node. Keeps what it computed, or every
 * tree of 256 would cost minutes.
 */
import { hash } from 'node:crypto';

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', bytes, 'buffer'));
}

export interface NaiveLog {
  /** MTH(D[start:end]) */
  mth(start: number, end: number): Uint8Array;
  /** PATH(m, D[start:end]) */
  path(m: number, start: number, end: number): Uint8Array[];
  /** PROOF(m, D[0:n]) */
  proof(m: number, n: number): Uint8Array[];
}

export function naiveLog(data: readonly Uint8Array[]): NaiveLog {
  const roots = new Map<string, Uint8Array>();

  /** The largest power of two smaller than n. */
  function k(n: number): number {
    let power = 1;
    while (power * 2 < n) power *= 2;
    return power;
  }

  function mth(start: number, end: number): Uint8Array {
    const key = `${start}-${end}`;
    const known = roots.get(key);
    if (known !== undefined) return known;
    const n = end - start;
    const split = start + k(n);
    const root =
      n === 0
        ? sha256(new Uint8Array())
        : n === 1
          ? sha256(Buffer.concat([Buffer.of(0), data[start]!]))
          : sha256(Buffer.concat([Buffer.of(1), mth(start, split), mth(split, end)]));
    roots.set(key, root);
    return root;
  }

  function path(m: number, start: number, end: number): Uint8Array[] {
    const n = end - start;
    if (n === 1) return [];
    const split = start + k(n);
    return m < k(n)
      ? [...path(m, start, split), mth(split, end)]
      : [...path(m - k(n), split, end), mth(start, split)];
  }

  function subproof(m: number, start: number, end: number, whole: boolean): Uint8Array[] {
    const n = end - start;
    if (m === n) return whole ? [] : [mth(start, end)];
    const split = start + k(n);
    return m <= k(n)
      ? [...subproof(m, start, split, whole), mth(split, end)]
      : [...subproof(m - k(n), split, end, false), mth(start, split)];
  }

  return { mth, path, proof: (m, n) => subproof(m, 0, n, true) };
}
