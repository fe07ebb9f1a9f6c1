// SPDX-License-Identifier: Apache-2.0
// Goal: each primitive writes what protobuf says, wherever in the buffer it lands. Method: protobufjs' writer as the
// oracle for any sequence of them, nested with wrong guesses of their lengths, across several growths of the buffer.
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, test } from 'vitest';
import { ProtoWriter } from '../exporter/node/otlp/proto-writer.ts';

function written(write: (writer: ProtoWriter) => void): string {
  const writer = new ProtoWriter();
  write(writer);
  return writer.buffer.subarray(0, writer.at).toString('hex');
}

function oracle(write: (writer: protobuf.Writer) => void): string {
  const writer = new protobuf.Writer();
  write(writer);
  return Buffer.from(writer.finish()).toString('hex');
}

type Node =
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'bytes'; readonly value: Uint8Array }
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'double'; readonly value: number }
  | { readonly kind: 'message'; readonly guess: number; readonly fields: readonly Node[] };

const { node } = fc.letrec<{ node: Node }>((tie) => ({
  node: fc.oneof(
    { depthSize: 'medium' },
    fc.record({
      kind: fc.constant('string' as const),
      value: fc.oneof(
        fc.string({ unit: 'binary', maxLength: 30 }),
        fc
          .tuple(fc.constantFrom('a', 'ß', '語'), fc.integer({ min: 0, max: 70_000 }))
          .map(([unit, count]) => unit.repeat(count)),
      ),
    }),
    fc.record({ kind: fc.constant('bytes' as const), value: fc.uint8Array({ maxLength: 300 }) }),
    fc.record({ kind: fc.constant('int' as const), value: fc.maxSafeInteger() }),
    fc.record({ kind: fc.constant('double' as const), value: fc.double() }),
    fc.record({
      kind: fc.constant('message' as const),
      guess: fc.constantFrom(0, 200, 20_000, 3_000_000, 300_000_000),
      fields: fc.array(tie('node'), { maxLength: 5 }),
    }),
  ),
}));

function writeOurs(writer: ProtoWriter, item: Node): void {
  if (item.kind === 'string') writer.string(0x0a, item.value);
  else if (item.kind === 'bytes') writer.bytes(0x12, item.value);
  else if (item.kind === 'int') {
    writer.tag(0x18);
    writer.varint(item.value);
  } else if (item.kind === 'double') {
    writer.tag(0x21);
    writer.double(item.value);
  } else {
    writer.tag(0x2a);
    const start = writer.open(item.guess);
    for (const field of item.fields) writeOurs(writer, field);
    writer.close(start, item.guess);
  }
}

function writeTheirs(writer: protobuf.Writer, item: Node): void {
  if (item.kind === 'string') writer.uint32(0x0a).string(item.value);
  else if (item.kind === 'bytes') writer.uint32(0x12).bytes(item.value);
  else if (item.kind === 'int') writer.uint32(0x18).int64(item.value);
  else if (item.kind === 'double') writer.uint32(0x21).double(item.value);
  else {
    writer.uint32(0x2a).fork();
    for (const field of item.fields) writeTheirs(writer, field);
    writer.ldelim();
  }
}

test('any fields, nested in any way', () => {
  fc.assert(
    fc.property(fc.array(node, { maxLength: 8 }), (nodes) => {
      expect(
        written((writer) => {
          for (const item of nodes) writeOurs(writer, item);
        }),
      ).toBe(
        oracle((writer) => {
          for (const item of nodes) writeTheirs(writer, item);
        }),
      );
    }),
    { numRuns: 300 },
  );
});

describe('fixed-width values', () => {
  test.each([0, 1, 0xff, 0x8000_0000, 0xffff_ffff])('fixed32 %d', (value) => {
    expect(written((writer) => writer.fixed32(value))).toBe(
      oracle((writer) => writer.fixed32(value)),
    );
  });

  test.each<readonly [number, number]>([
    [0, 0],
    [0, 999_999_999],
    [1_795_000_000, 123_456_789],
    [2 ** 31, 0],
    [2 ** 32 + 1, 1],
    [18_446_744_073, 709_551_615],
  ])('time %d s %d ns', (seconds, nanoseconds) => {
    const expected = Buffer.alloc(8);
    expected.writeBigUInt64LE(BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds));
    expect(written((writer) => writer.time([seconds, nanoseconds]))).toBe(expected.toString('hex'));
  });

  test.each(['', '00', 'b7ad6b7169203331', '0AF7651916CD43DD8448EB211C80319C'])('id %s', (hex) => {
    expect(written((writer) => writer.id(0x0a, hex))).toBe(
      oracle((writer) => writer.uint32(0x0a).bytes(Buffer.from(hex, 'hex'))),
    );
  });
});

test('a number that is none is written as zero', () => {
  expect(written((writer) => writer.varint(Number.NaN))).toBe('00');
});
