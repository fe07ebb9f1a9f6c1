// SPDX-License-Identifier: Apache-2.0
/**
 * Changes bytes the way attackers, disks and bad writers do: bits, lengths, numbers, blocks, splices and words that
 * parsers know. The same random numbers give the same change; whether a change means anything, it does not know.
 */
import { pick, type Random } from '../support/random.ts';

/** What one mutation works with. */
export interface Material {
  /** Inputs to cut from. */
  readonly corpus: readonly Uint8Array[];
  /** Bytes that the parser looks for. */
  readonly dictionary: readonly Uint8Array[];
  readonly byteLengthMax: number;
}

const BYTES = [0, 1, 2, 0x0a, 0x20, 0x2d, 0x30, 0x7f, 0x80, 0xfe, 0xff] as const;
const NUMBERS = [
  0n,
  1n,
  31n,
  127n,
  128n,
  16_383n,
  16_384n,
  65_536n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
] as const;
const REPEAT_COUNT_MAX = 64;
const CHANGE_COUNT_LOG_MAX = 4;

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Uint8Array.of(...bytes, Number(rest));
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** A range of some bytes, short ones more often than long. */
function range(bytes: Uint8Array, random: Random): readonly [from: number, to: number] {
  const from = random(bytes.length + 1);
  const longest = Math.min(bytes.length - from, 1 << random(12));
  return [from, from + random(longest + 1)];
}

type Change = (bytes: Uint8Array, random: Random, material: Material) => Uint8Array;

function replace(
  bytes: Uint8Array,
  [from, to]: readonly [number, number],
  by: Uint8Array,
): Uint8Array {
  return join(bytes.subarray(0, from), by, bytes.subarray(to));
}

const flipBit: Change = (bytes, random) => {
  if (bytes.length === 0) return bytes;
  const changed = bytes.slice();
  const at = random(bytes.length);
  changed[at]! ^= 1 << random(8);
  return changed;
};

const setByte: Change = (bytes, random) => {
  if (bytes.length === 0) return bytes;
  const changed = bytes.slice();
  changed[random(bytes.length)] = random(2) === 0 ? pick(random, BYTES) : random(256);
  return changed;
};

/** One up or down: where it is a length, it no longer fits. */
const nudgeByte: Change = (bytes, random) => {
  if (bytes.length === 0) return bytes;
  const changed = bytes.slice();
  changed[random(bytes.length)]! += random(2) === 0 ? 1 : -1;
  return changed;
};

const setVarint: Change = (bytes, random) => {
  const at = random(bytes.length + 1);
  let end = at;
  while (end < bytes.length && end - at < 10 && (bytes[end]! & 0x80) !== 0) end++;
  const number = varint(pick(random, NUMBERS));
  // Some with a byte more than they need.
  const padded =
    random(4) === 0
      ? join(
          number.map((byte) => byte | 0x80),
          Uint8Array.of(0),
        )
      : number;
  return replace(bytes, [at, Math.min(bytes.length, end + 1)], padded);
};

/** Digits of a text become those of another number. */
const setDigits: Change = (bytes, random) => {
  const isDigit = (byte: number | undefined): boolean =>
    byte !== undefined && byte >= 0x30 && byte <= 0x39;
  const start = random(bytes.length + 1);
  let from = start;
  while (from < bytes.length && !isDigit(bytes[from])) from++;
  let to = from;
  while (isDigit(bytes[to])) to++;
  const text = `${random(8) === 0 ? '-' : ''}${random(8) === 0 ? '0' : ''}${pick(random, NUMBERS)}`;
  return replace(bytes, [from, to], Buffer.from(text));
};

const remove: Change = (bytes, random) => replace(bytes, range(bytes, random), new Uint8Array());

const cutOff: Change = (bytes, random) => bytes.slice(0, random(bytes.length + 1));

const repeat: Change = (bytes, random, { byteLengthMax }) => {
  const [from, to] = range(bytes, random);
  const block = bytes.subarray(from, to);
  const room = Math.floor((byteLengthMax - bytes.length) / Math.max(1, block.length));
  const count = Math.max(0, Math.min(room, 1 + random(REPEAT_COUNT_MAX)));
  return replace(bytes, [to, to], join(...Array.from({ length: count }, () => block)));
};

const insertNoise: Change = (bytes, random) => {
  const at = random(bytes.length + 1);
  const noise = Uint8Array.from({ length: 1 + random(1 << random(7)) }, () => random(256));
  return replace(bytes, [at, at], noise);
};

const insertWord: Change = (bytes, random, { dictionary }) => {
  const at = random(bytes.length + 1);
  return replace(bytes, [at, at], pick(random, dictionary));
};

const overwriteWord: Change = (bytes, random, { dictionary }) => {
  const word = pick(random, dictionary);
  const at = random(bytes.length + 1);
  return replace(bytes, [at, Math.min(bytes.length, at + word.length)], word);
};

/** The start of this one, the end of another. */
const splice: Change = (bytes, random, { corpus }) => {
  const other = pick(random, corpus);
  return join(
    bytes.subarray(0, random(bytes.length + 1)),
    other.subarray(random(other.length + 1)),
  );
};

/** A piece of another one in the middle of this. */
const transplant: Change = (bytes, random, { corpus }) => {
  const other = pick(random, corpus);
  const [from, to] = range(other, random);
  const at = random(bytes.length + 1);
  return replace(bytes, [at, at], other.subarray(from, to));
};

const swap: Change = (bytes, random) => {
  const [a, b] = range(bytes, random);
  const [c, d] = range(bytes, random);
  if (b > c) return bytes;
  return join(
    bytes.subarray(0, a),
    bytes.subarray(c, d),
    bytes.subarray(b, c),
    bytes.subarray(a, b),
    bytes.subarray(d),
  );
};

const CHANGES: readonly Change[] = [
  flipBit,
  flipBit,
  setByte,
  nudgeByte,
  setVarint,
  setDigits,
  remove,
  cutOff,
  repeat,
  insertNoise,
  insertWord,
  overwriteWord,
  splice,
  transplant,
  swap,
];

/** One input, made of one of the corpus by a few changes; mostly one or two, now and then many. */
export function mutate(random: Random, material: Material): Uint8Array {
  let bytes = pick(random, material.corpus);
  const count = 1 + random(1 << random(CHANGE_COUNT_LOG_MAX));
  for (let change = 0; change < count; change++) {
    bytes = pick(random, CHANGES)(bytes, random, material);
    if (bytes.length > material.byteLengthMax) bytes = bytes.slice(0, material.byteLengthMax);
  }
  return bytes;
}
