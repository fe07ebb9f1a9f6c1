// SPDX-License-Identifier: Apache-2.0
// Goal: a field is found where every conforming decoder finds it, or the bytes are refused. Method: tables of fields and
// of refusals, messages written by protobufjs' writer, and every message cut at every byte with a neighbour behind it.
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, test } from 'vitest';
import {
  FIXED32,
  FIXED64,
  FieldCursor,
  LEN,
  VARINT,
  varintByteLength,
  writeVarint,
} from '../exporter/log/wire.ts';
import { codeOf } from './support/log-error.ts';

const hex = (text: string): Uint8Array =>
  new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));

interface Field {
  readonly number: number;
  readonly wireType: number;
  readonly tagStart: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

function fieldsOf(bytes: Uint8Array, start = 0, end: number = bytes.length): Field[] {
  const cursor = new FieldCursor(bytes, start, end);
  const fields: Field[] = [];
  while (cursor.next()) {
    const { number, wireType, tagStart, valueStart, valueEnd } = cursor;
    fields.push({ number, wireType, tagStart, valueStart, valueEnd });
  }
  return fields;
}

/** number, wire type, tag start, value start, value end */
const field = (...values: readonly [number, number, number, number, number]): Field => ({
  number: values[0],
  wireType: values[1],
  tagStart: values[2],
  valueStart: values[3],
  valueEnd: values[4],
});

describe('fields', () => {
  test.each([
    ['nothing', '', []],
    ['a varint', '08 01', [field(1, VARINT, 0, 1, 2)]],
    ['a varint of ten bytes', '08 ffffffffffffffffff01', [field(1, VARINT, 0, 1, 11)]],
    ['a varint that is not minimal', '08 8000', [field(1, VARINT, 0, 1, 3)]],
    ['eight bytes', '11 0102030405060708', [field(2, FIXED64, 0, 1, 9)]],
    ['four bytes', '1d 01020304', [field(3, FIXED32, 0, 1, 5)]],
    ['bytes', '22 03 616263', [field(4, LEN, 0, 2, 5)]],
    ['no bytes', '22 00', [field(4, LEN, 0, 2, 2)]],
    ['bytes with a longer length', '22 8380808000 616263', [field(4, LEN, 0, 6, 9)]],
    ['the last number with a tag of one byte', '7a 00', [field(15, LEN, 0, 2, 2)]],
    ['the first number with a tag of two', '8201 00', [field(16, LEN, 0, 3, 3)]],
    ['the last legal number', 'f8ffffff0f 00', [field(0x1fffffff, VARINT, 0, 5, 6)]],
    [
      'several, back to back',
      '0801 2200 1d01020304',
      [field(1, VARINT, 0, 1, 2), field(4, LEN, 2, 4, 4), field(3, FIXED32, 4, 5, 9)],
    ],
  ])('%s', (_name, bytes, fields) => {
    expect(fieldsOf(hex(bytes))).toEqual(fields);
  });

  test('are looked for in the given range only', () => {
    expect(fieldsOf(hex('ffff 0801 ffff'), 2, 4)).toEqual([field(1, VARINT, 2, 3, 4)]);
  });
});

describe('refusals', () => {
  test.each([
    ['a tag of zero', '00', 'otlp.field-number'],
    ['field number 0 with a length', '02 00', 'otlp.field-number'],
    ['field number 2^29', '8080808010 00', 'otlp.field-number'],
    ['a tag with bit 32 set', '9280808010 00', 'otlp.field-number'],
    ['a tag with bit 34 set', '8a80808040 00', 'otlp.field-number'],
    ['a tag padded to two bytes', '8a00 00', 'otlp.tag'],
    ['a tag padded to five bytes', '8a80808000 00', 'otlp.tag'],
    ['a tag of six bytes', '8a8080808000 00', 'otlp.tag'],
    ['a tag that never ends', 'ffffffffffffffffffff', 'otlp.tag'],
    ['a group', '0b 0c', 'otlp.wire-type'],
    ['the end of a group', '0c', 'otlp.wire-type'],
    ['wire type 6', '0e', 'otlp.wire-type'],
    ['wire type 7', '0f', 'otlp.wire-type'],
    ['a varint of eleven bytes', '08 8080808080808080808000', 'otlp.varint'],
    ['a varint above 64 bits', '08 80808080808080808002', 'otlp.varint'],
    ['a length of six bytes', '22 808080808000', 'otlp.length'],
    ['a length of 2^31', '22 8080808008', 'otlp.truncated'],
    ['a length with bit 32 set', '22 8080808010', 'otlp.truncated'],
    ['a length with bit 34 set', '22 8380808040 616263', 'otlp.truncated'],
    ['a length past the end', '22 04 616263', 'otlp.truncated'],
    ['a tag without its value', '08', 'otlp.truncated'],
    ['a tag cut off', '82', 'otlp.truncated'],
    ['a varint cut off', '08 80', 'otlp.truncated'],
    ['a length that is missing', '22', 'otlp.truncated'],
    ['a length cut off', '22 80', 'otlp.truncated'],
    ['seven of eight bytes', '11 01020304050607', 'otlp.truncated'],
    ['three of four bytes', '1d 010203', 'otlp.truncated'],
  ] as const)('%s', (_name, bytes, code) => {
    expect(codeOf(() => fieldsOf(hex(bytes)))).toBe(code);
    // The same with a neighbour behind the end that would complete it.
    const neighbour = new Uint8Array(32).fill(0x01);
    const joined = new Uint8Array([...hex(bytes), ...neighbour]);
    expect(codeOf(() => fieldsOf(joined, 0, hex(bytes).length))).toBe(code);
  });

  test('say where: the offset of the tag', () => {
    expect(() => fieldsOf(hex('0801 22 04 61'))).toThrow(
      expect.objectContaining({
        code: 'otlp.truncated',
        offset: 2,
        message: 'otlp: a length points past the end (byte 2)',
      }),
    );
  });
});

/** A field as protobufjs' writer spells it. */
const written = fc
  .record({
    number: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 0x1fffffff })),
    value: fc.oneof(
      fc.nat().map((value) => ({ wireType: VARINT, value })),
      fc.nat().map((value) => ({ wireType: FIXED32, value })),
      fc.nat().map((value) => ({ wireType: FIXED64, value })),
      fc.uint8Array({ maxLength: 300 }).map((value) => ({ wireType: LEN, value })),
    ),
  })
  .map(({ number, value: { wireType, value } }) => {
    const writer = protobuf.Writer.create().uint32(((number << 3) | wireType) >>> 0);
    if (typeof value !== 'number') writer.bytes(value);
    else if (wireType === VARINT) writer.uint32(value);
    else if (wireType === FIXED32) writer.fixed32(value);
    else writer.fixed64(value);
    return { number, wireType, bytes: writer.finish() };
  });

describe('any message', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(fc.array(written, { maxLength: 10 }), (list) => {
        const bytes = new Uint8Array(Buffer.concat(list.map((part) => part.bytes)));
        const fields = fieldsOf(bytes);
        expect(fields.map(({ number, wireType }) => ({ number, wireType }))).toEqual(
          list.map(({ number, wireType }) => ({ number, wireType })),
        );
        expect(fields.map(({ tagStart, valueEnd }) => bytes.subarray(tagStart, valueEnd))).toEqual(
          list.map((part) => new Uint8Array(part.bytes)),
        );
      }),
    );
  });

  test('cut inside a field is refused, whatever stands behind the cut', () => {
    fc.assert(
      fc.property(written, written, ({ bytes }, neighbour) => {
        const joined = new Uint8Array(Buffer.concat([bytes, neighbour.bytes]));
        for (let end = 1; end < bytes.length; end++) {
          expect(codeOf(() => fieldsOf(joined, 0, end))).toBe('otlp.truncated');
        }
      }),
    );
  });

  test('of random bytes: fields tile the range, or a LogError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        if (codeOf(() => fieldsOf(bytes)) !== 'accepted') return;
        let at = 0;
        for (const { tagStart, valueStart, valueEnd } of fieldsOf(bytes)) {
          expect(tagStart).toBe(at);
          expect(valueStart).toBeGreaterThan(tagStart);
          expect(valueEnd).toBeGreaterThanOrEqual(valueStart);
          at = valueEnd;
        }
        expect(at).toBe(bytes.length);
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('writing varints', () => {
  const edges = [0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32, 2 ** 49, 2 ** 53 - 1];

  test.each(edges)('%d is minimal, and is what protobufjs writes', (value) => {
    const target = new Uint8Array(12).fill(0xee);
    const end = writeVarint(target, 1, value);
    expect([...target.subarray(1, end)]).toEqual([
      ...protobuf.Writer.create().uint64(value).finish(),
    ]);
    expect([end - 1, target[0], target[end]]).toEqual([varintByteLength(value), 0xee, 0xee]);
  });
});
