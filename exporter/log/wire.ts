// SPDX-License-Identifier: Apache-2.0
/**
 * Protobuf wire primitives: a cursor over fields that refuses what decoders read differently.
 * Knows nothing of OTLP. FORMAT.md, "Walking a request".
 */
import { type LogErrorCode, refuse } from './errors.ts';

export const VARINT: number = 0;
export const FIXED64: number = 1;
export const LEN: number = 2;
export const FIXED32: number = 5;

/** Decoders disagree above this (2^29-1 is the last legal field number). */
const FIELD_NUMBER_MAX = 0x1fffffff;
const LENGTH_MAX = 0x7fffffff;

/**
 * Walks the fields of one message, `bytes[start, end)`. After `next()` returned true the public fields describe
 * the field it stands on; they are overwritten by the next call, so that walking allocates nothing per field.
 */
export class FieldCursor {
  readonly bytes: Uint8Array;
  #end: number;
  /** Field number and wire type of the current field. */
  number = 0;
  wireType = 0;
  /** The whole field is `bytes[tagStart, valueEnd)`; its value `bytes[valueStart, valueEnd)` (without a LEN's length). */
  tagStart = 0;
  valueStart = 0;
  valueEnd: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.#end = end;
    this.valueEnd = start;
  }

  /** Goes into the message that the current field is; hand what it returns to {@link leave} when that is walked. */
  enter(): number {
    const end = this.#end;
    this.#end = this.valueEnd;
    this.valueEnd = this.valueStart;
    return end;
  }

  /** Goes back to the message around the one that was walked to its end. */
  leave(end: number): void {
    this.#end = end;
  }

  /**
   * Steps to the next field; false at the end of the message.
   * @throws LogError `otlp.tag` `otlp.field-number` `otlp.wire-type` `otlp.length` `otlp.varint` `otlp.truncated`
   */
  next(): boolean {
    const { bytes } = this;
    const end = this.#end;
    let at = this.valueEnd;
    if (at >= end) return false;
    this.tagStart = at;

    const tag = bytes[at++]!;
    let number = tag >>> 3;
    const wireType = tag & 7;
    if (tag > 0x7f) {
      number = (this.#long(at, 'otlp.tag') - wireType) / 8;
      at = this.valueStart;
      if (bytes[at - 1] === 0) this.refuse('otlp.tag', 'otlp: a tag is not minimal');
    }
    if (number === 0 || number > FIELD_NUMBER_MAX) {
      this.refuse('otlp.field-number', `otlp: field number ${number}`);
    }
    this.number = number;
    this.wireType = wireType;

    if (wireType === LEN) {
      let length = bytes[at++]!;
      if (length > 0x7f) {
        length = this.#long(at, 'otlp.length');
        at = this.valueStart;
      }
      // `at > end` where the message ended behind the tag: bytes[at] was read, but of the neighbour.
      if (at > end || length > LENGTH_MAX || length > end - at) {
        this.refuse('otlp.truncated', 'otlp: a length points past the end');
      }
      this.valueStart = at;
      this.valueEnd = at + length;
      return true;
    }
    this.valueStart = at;
    if (wireType === VARINT) {
      for (let byteCount = 1; ; byteCount++) {
        if (at >= end) this.refuse('otlp.truncated', 'otlp: a varint runs past the end');
        const byte = bytes[at++]!;
        if (byte < 0x80) {
          // The tenth byte holds bit 63 alone; more is a value that decoders cut differently.
          if (byteCount === 10 && byte > 1) this.refuse('otlp.varint', 'otlp: a varint overflows');
          break;
        }
        if (byteCount === 10) this.refuse('otlp.varint', 'otlp: a varint is too long');
      }
    } else if (wireType === FIXED64) {
      at += 8;
    } else if (wireType === FIXED32) {
      at += 4;
    } else {
      // 3 and 4 are groups, 6 and 7 do not exist.
      this.refuse('otlp.wire-type', `otlp: wire type ${wireType}`);
    }
    if (at > end) this.refuse('otlp.truncated', 'otlp: a field runs past the end');
    this.valueEnd = at;
    return true;
  }

  /** A tag or a length of more than one byte, the first of them in front of `start`; leaves `valueStart` behind the last. */
  #long(start: number, what: 'otlp.tag' | 'otlp.length'): number {
    let value = this.bytes[start - 1]! & 0x7f;
    let scale = 128;
    for (let at = start; ; scale *= 128) {
      if (at >= this.#end) this.refuse('otlp.truncated', `${what}: runs past the end`);
      const byte = this.bytes[at++]!;
      // Multiplication, not shifts: five bytes reach bit 34, and bit 32 is where decoders part.
      value += (byte & 0x7f) * scale;
      this.valueStart = at;
      if (byte < 0x80) return value;
      if (at === start + 4) this.refuse(what, `${what}: is too long`);
    }
  }

  /** @throws LogError at the field under the cursor */
  refuse(code: LogErrorCode, message: string): never {
    return refuse(code, message, this.tagStart);
  }
}

/** Bytes that a length or a value takes as a minimal varint; `value` is an integer of 0..2^53-1. */
export function varintByteLength(value: number): number {
  let byteLength = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) byteLength++;
  return byteLength;
}

/** Writes `value` (0..2^53-1) minimally at `at`; returns the offset behind it. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value;
  let offset = at;
  while (rest >= 128) {
    target[offset++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  target[offset++] = rest;
  return offset;
}
