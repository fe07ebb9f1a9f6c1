// SPDX-License-Identifier: Apache-2.0
// Goal: memory and chunks bounded by the estimate are bounded in fact, and asking costs little. Method: the writer's
// own length as the measure; then values made to look small or to be slow.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { estimateByteLength } from '../exporter/node/capture/estimate.ts';
import { encodeTraces } from '../exporter/node/otlp/otlp-writer.ts';
import type { AttributesLike, ReadableSpanLike } from '../exporter/node/otlp/sdk-shapes.ts';

function spanOf(
  attributes: AttributesLike,
  more: Partial<ReadableSpanLike> = {},
): ReadableSpanLike {
  const context = { traceId: '0'.repeat(32), spanId: '1'.repeat(16), traceFlags: 1 };
  return {
    name: 'chat',
    kind: 2,
    spanContext: () => context,
    startTime: [1, 1],
    endTime: [2, 2],
    status: { code: 0 },
    attributes,
    links: [],
    events: [],
    resource: {},
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
    ...more,
  };
}

const ascii = fc.string({ maxLength: 2000 });
const attributes = fc.dictionary(
  fc.string({ maxLength: 30 }),
  fc.oneof(
    ascii,
    fc.double(),
    fc.boolean(),
    fc.uint8Array({ maxLength: 500 }),
    fc.array(ascii, { maxLength: 5 }),
    fc.dictionary(fc.string({ maxLength: 10 }), ascii, { maxKeys: 5 }),
  ),
  { maxKeys: 30 },
);

describe('the estimate', () => {
  test('is within a factor of two of what is written, for ASCII', () => {
    fc.assert(
      fc.property(attributes, attributes, (own, ofEvent) => {
        const span = spanOf(own, { events: [{ name: 'e', time: [1, 1], attributes: ofEvent }] });
        const estimated = estimateByteLength(span);
        const actual = encodeTraces([span]).length;
        expect(estimated).toBeGreaterThan(actual / 2);
        expect(estimated).toBeLessThan(actual * 2 + 200);
      }),
    );
  });

  test('sees text wherever an attribute can hide it', () => {
    const text = 'x'.repeat(100_000);
    for (const value of [text, [text], { a: { b: [text] } }, Buffer.from(text)]) {
      expect(estimateByteLength(spanOf({ value }))).toBeGreaterThan(100_000);
    }
    expect(
      estimateByteLength(
        spanOf({}, { links: [{ context: spanOf({}).spanContext(), attributes: { text } }] }),
      ),
    ).toBeGreaterThan(100_000);
  });

  test('looks at a part of a long list and answers for all of it', () => {
    const list = new Array<string>(100_000).fill('x'.repeat(92));
    expect(estimateByteLength(spanOf({ list }))).toBeGreaterThan(9_000_000);
  });

  test('does not follow a cycle for ever', () => {
    const value: Record<string, unknown> = {};
    value.self = value;
    expect(estimateByteLength(spanOf({ value }))).toBeLessThan(1000);
  });
});
