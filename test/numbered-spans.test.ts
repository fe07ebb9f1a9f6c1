// SPDX-License-Identifier: Apache-2.0
// Goal: what arrives again is told from another span under the same number, in bounded memory. Method: entries by
// protobufjs; the bound is set low and met on purpose.
import { expect, test } from 'vitest';
import { splitRequest } from '../exporter/log/entries.ts';
import { markOf, NumberedSpans } from '../exporter/node/verifying/numbered-spans.ts';
import { encodeOtlp } from './support/otlp-backend.ts';

function markOfId(spanId: string): number {
  const span = { spanId: Buffer.from(spanId, 'hex').toString('base64') };
  const request = encodeOtlp('TracesData', {
    resourceSpans: [{ scopeSpans: [{ spans: [span] }] }],
  });
  return markOf(splitRequest(request, 'traces')[0]!);
}

const [ONE, OTHER, ZERO, SHORT] = [
  '0000000000000011',
  '0000000000000012',
  '0000000000000000',
  '11',
].map(markOfId) as [number, number, number, number];

test('the same span may come again, another one may not', () => {
  const spans = new NumberedSpans();
  const [a, b] = [{}, {}];
  expect([ONE, ONE, OTHER, SHORT].map((mark) => spans.isFirst(a, 1, mark))).toEqual([
    true,
    true,
    false,
    true,
  ]);
  expect(spans.isFirst(b, 1, OTHER)).toBe(true);
  expect(spans.isFirst(a, 1025, OTHER)).toBe(true);
  expect([ZERO, ZERO, ONE].map((mark) => spans.isFirst(a, 2, mark))).toEqual([true, true, false]);
  expect(spans.isFirst(a, Number.MAX_SAFE_INTEGER, ONE)).toBe(true);
});

test('what is too far behind is not compared, and what is not is', () => {
  const spans = new NumberedSpans(2);
  const sender = {};
  for (const number of [1, 1024, 2048, 3072, 4096]) spans.isFirst(sender, number, ONE);
  expect(spans.isFirst(sender, 4096, OTHER)).toBe(false);
  expect(spans.isFirst(sender, 3072, OTHER)).toBe(false);
  expect(spans.isFirst(sender, 1, OTHER)).toBe(true);
});
