// SPDX-License-Identifier: Apache-2.0
/**
 * Writes protobuf into one growing buffer in a single pass: a length is filled in once what it measures is written.
 * Knows nothing of OTLP beyond its time stamps and ids, and does not check that tags make sense.
 */
import type { HrTimeLike } from './sdk-shapes.ts';

const TWO_32 = 0x1_0000_0000;

/** Strings shorter than this are faster copied by hand than through a call into C++. */
const SHORT_STRING_LENGTH = 32;
const FIRST_BYTE_LENGTH = 256 * 1024;
/** Names that are kept as bytes: more than all conventions have, and bounded whatever an application does. */
const NAME_COUNT_MAX = 1024;
const NAME_LENGTH_MAX = 64;

/** One growing buffer. Lengths are written behind what they measure, which is moved if they need more room. */
export class ProtoWriter {
  buffer: Buffer;
  at = 0;
  /** Name to its length and bytes. */
  readonly #names = new Map<string, Uint8Array>();

  /** @param byteLength what is expected to be written: more costs a copy */
  constructor(byteLength: number = FIRST_BYTE_LENGTH) {
    this.buffer = Buffer.allocUnsafeSlow(byteLength);
  }

  room(byteLength: number): void {
    const needed = this.at + byteLength;
    if (needed <= this.buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(grown, 0, 0, this.at);
    this.buffer = grown;
  }

  /** A tag of one byte: field numbers to 15. */
  tag(tag: number): void {
    this.room(1);
    this.buffer[this.at++] = tag;
  }

  /** Leaves room for a length; `guess` is the value expected, and only costs a move if it is wrong. */
  open(guess: number): number {
    const byteLength = varintByteLength(guess);
    this.room(byteLength);
    this.at += byteLength;
    return this.at;
  }

  close(start: number, guess: number): void {
    const reserved = varintByteLength(guess);
    const byteLength = this.at - start;
    const needed = varintByteLength(byteLength);
    if (needed !== reserved) {
      this.room(needed);
      this.buffer.copyWithin(start - reserved + needed, start, this.at);
      this.at += needed - reserved;
    }
    this.putVarint(start - reserved, byteLength);
  }

  private putVarint(at: number, value: number): number {
    let rest = value;
    while (rest > 0x7f) {
      this.buffer[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.buffer[at++] = rest;
    return at;
  }

  /** An integer of the int64 range, negative ones in two's complement. What is no number is written as 0. */
  varint(value: number): void {
    this.room(10);
    if (value >= 0 && value < TWO_32) {
      this.at = this.putVarint(this.at, value >>> 0);
      return;
    }
    const magnitude = Math.abs(value);
    let low = magnitude >>> 0;
    let high = (magnitude / TWO_32) >>> 0;
    if (value < 0) {
      low = (~low + 1) >>> 0;
      high = (low === 0 ? ~high + 1 : ~high) >>> 0;
    }
    while (high > 0 || low > 0x7f) {
      this.buffer[this.at++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.buffer[this.at++] = low;
  }

  double(value: number): void {
    this.room(8);
    this.at = this.buffer.writeDoubleLE(value, this.at);
  }

  fixed32(value: number): void {
    this.room(4);
    this.at = this.buffer.writeUInt32LE(value >>> 0, this.at);
  }

  /** Nanoseconds since 1970; `seconds * 1e9` alone would pass 2^53, so it is taken in two halves of `seconds`. */
  time(time: HrTimeLike): void {
    this.room(8);
    const seconds = time[0];
    const lower = (seconds & 0xffff) * 1e9;
    const upper = ((seconds / 0x10000) >>> 0) * 1e9;
    const low = (lower >>> 0) + (((upper & 0xffff) * 0x10000) >>> 0) + time[1];
    const high = Math.floor(lower / TWO_32) + ((upper / 0x10000) >>> 0) + Math.floor(low / TWO_32);
    this.buffer.writeUInt32LE(low >>> 0, this.at);
    this.at = this.buffer.writeUInt32LE(high >>> 0, this.at + 4);
  }

  /** A string that comes again and again, such as an attribute's name: its bytes are kept. */
  name(tag: number, text: string): void {
    const kept = this.#names.get(text);
    if (kept === undefined) {
      const start = this.at;
      this.string(tag, text);
      const isKept = this.#names.size < NAME_COUNT_MAX && text.length <= NAME_LENGTH_MAX;
      if (isKept)
        this.#names.set(text, Uint8Array.prototype.slice.call(this.buffer, start, this.at));
      return;
    }
    const { length } = kept;
    this.room(length);
    const { buffer } = this;
    let { at } = this;
    // By hand: a call into C++ costs more than these few bytes.
    buffer[at++] = tag;
    for (let i = 1; i < length; i++) buffer[at++] = kept[i]!;
    this.at = at;
  }

  string(tag: number, text: string): void {
    const { length } = text;
    // A code unit takes up to three bytes. Beyond a page that would triple the buffer, so there it is counted.
    this.room((length < 65_536 ? length * 3 : Buffer.byteLength(text)) + 6);
    this.buffer[this.at++] = tag;
    if (length < SHORT_STRING_LENGTH) {
      let at = this.at;
      let ascii = true;
      for (let i = 0; i < length; i++) {
        const code = text.charCodeAt(i);
        if (code > 0x7f) {
          ascii = false;
          break;
        }
        this.buffer[++at] = code;
      }
      if (ascii) {
        this.buffer[this.at] = length;
        this.at = at + 1;
        return;
      }
    }
    const start = this.open(length);
    this.at += this.buffer.write(text, start, 'utf8');
    this.close(start, length);
  }

  /** Bytes as they are, without a tag. */
  copy(bytes: Uint8Array, start: number, end: number): void {
    if (end <= start) return;
    this.room(end - start);
    this.buffer.set(bytes.subarray(start, end), this.at);
    this.at += end - start;
  }

  bytes(tag: number, bytes: Uint8Array): void {
    this.room(bytes.length + 6);
    this.buffer[this.at++] = tag;
    this.at = this.putVarint(this.at, bytes.length);
    this.buffer.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** A trace or span id from its hex digits. */
  id(tag: number, hex: string): void {
    const byteLength = hex.length >>> 1;
    this.room(byteLength + 6);
    this.buffer[this.at++] = tag;
    this.at = this.putVarint(this.at, byteLength);
    for (let i = 0; i < byteLength; i++) {
      this.buffer[this.at++] =
        (hexDigit(hex.charCodeAt(i * 2)) << 4) | hexDigit(hex.charCodeAt(i * 2 + 1));
    }
  }
}

function varintByteLength(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  return code >= 0x61 && code <= 0x66 ? code - 0x57 : code - 0x37;
}
