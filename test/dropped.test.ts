// SPDX-License-Identifier: Apache-2.0
// Goal: what SDKs dropped of sealed spans is summed, wherever in a span they say so. Method: spans encoded by protobufjs,
// and spans of three SDKs whose limits are small.
import { expect, test } from 'vitest';
import { splitRequest } from '../exporter/log/entries.ts';
import type { VerifiedRecord } from '../exporter/log/record.ts';
import { encodeTracesCounted } from '../exporter/node/otlp/otlp-writer.ts';
import { type Dropped, DroppedCounts } from '../exporter/node/verifying/dropped.ts';
import { encodeOtlp } from './support/otlp-backend.ts';
import { SDK_LINES } from './support/sdk-lines.ts';

function countsOf(request: Uint8Array, kind: 'traces' | 'logs' = 'traces'): Dropped {
  const dropped = new DroppedCounts();
  const entries = splitRequest(request, kind);
  dropped.take({ header: { kind }, entries } as unknown as VerifiedRecord);
  return dropped.counts;
}

const NONE: Dropped = { spans: 0, attributes: 0, events: 0, links: 0, cutValues: 0 };
const traces = (...spans: readonly object[]): Uint8Array =>
  encodeOtlp('TracesData', { resourceSpans: [{ scopeSpans: [{ spans }] }] });

const textOf = (stringValue: string): object => ({ key: 'text', value: { stringValue } });
const limitOf = (intValue: number): object => ({
  key: 'aigov.value_length_limit',
  value: { intValue },
});

test.each<[what: string, span: object, counts: Dropped]>([
  ['nothing', { name: 'chat' }, NONE],
  ['attributes', { droppedAttributesCount: 300 }, { ...NONE, spans: 1, attributes: 300 }],
  ['events', { droppedEventsCount: 2 }, { ...NONE, spans: 1, events: 2 }],
  ['links', { droppedLinksCount: 3 }, { ...NONE, spans: 1, links: 3 }],
  [
    'attributes of events and links',
    {
      droppedAttributesCount: 1,
      events: [{ droppedAttributesCount: 2 }, { name: 'x' }],
      links: [{ droppedAttributesCount: 4 }],
    },
    { ...NONE, spans: 1, attributes: 7 },
  ],
  ...(['abcd', 'äöüß', '日本語字', '😀😀'] as const).map((text): [string, object, Dropped] => [
    `a text of four units where four is the limit: ${text}`,
    { attributes: [limitOf(4), textOf(text), textOf('abc'), textOf('abcde'), textOf('')] },
    { ...NONE, spans: 1, cutValues: 1 },
  ]),
  ['a text where there is no limit', { attributes: [textOf('abcd')] }, NONE],
  [
    'texts in lists, maps, events and links',
    {
      attributes: [
        {
          key: 'list',
          value: { arrayValue: { values: [{ stringValue: 'ab' }, { stringValue: 'cd' }] } },
        },
        { key: 'map', value: { kvlistValue: { values: [textOf('ef')] } } },
        limitOf(2),
      ],
      events: [{ attributes: [textOf('gh')] }],
      links: [{ attributes: [textOf('ij')] }],
    },
    { ...NONE, spans: 1, cutValues: 5 },
  ],
  [
    'the most there is',
    { droppedLinksCount: 2 ** 32 - 1 },
    { ...NONE, spans: 1, links: 2 ** 32 - 1 },
  ],
])('%s', (_what, span, counts) => {
  expect(countsOf(traces(span))).toEqual(counts);
  const twice = { ...counts, spans: 2 * counts.spans, attributes: 2 * counts.attributes };
  const { events, links, cutValues } = counts;
  expect(countsOf(traces(span, { name: 'other' }, span))).toEqual({
    ...twice,
    events: 2 * events,
    links: 2 * links,
    cutValues: 2 * cutValues,
  });
});

test('a log record is no span', () => {
  const logs = { resourceLogs: [{ scopeLogs: [{ logRecords: [{ droppedAttributesCount: 9 }] }] }] };
  expect(countsOf(encodeOtlp('LogsData', logs), 'logs')).toEqual(NONE);
});

test.each(SDK_LINES)('SDK $name says what it drops', (line) => {
  const exporter = line.openExporter();
  const provider = line.openProvider({
    spanProcessors: [line.simple(exporter)],
    spanLimits: { attributeCountLimit: 2, eventCountLimit: 1 },
  });
  const span = provider.getTracer('app').startSpan('chat', { attributes: { a: 1, b: 2 } });
  span.setAttribute('c', 3).setAttribute('d', 4).addEvent('x').addEvent('y').end();
  const { bytes } = encodeTracesCounted([...exporter.getFinishedSpans()]);
  expect(countsOf(bytes)).toEqual({ spans: 1, attributes: 2, events: 1, links: 0, cutValues: 0 });
});
