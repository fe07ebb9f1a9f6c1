// SPDX-License-Identifier: Apache-2.0
// Goal: texts that an SDK cut are known behind the seal. Method: real SDKs with and without a limit, through capture, as
// they would be sealed.
import { expect, test } from 'vitest';
import { splitRequest } from '../exporter/log/entries.ts';
import type { VerifiedRecord } from '../exporter/log/record.ts';
import { createCapture } from '../exporter/node/capture/capture.ts';
import { markValueLimit } from '../exporter/node/capture/value-limit.ts';
import { encodeTracesCounted } from '../exporter/node/otlp/otlp-writer.ts';
import type { LiveSpanLike } from '../exporter/node/otlp/sdk-shapes.ts';
import { DroppedCounts } from '../exporter/node/verifying/dropped.ts';
import { SDK_LINES } from './support/sdk-lines.ts';

test.each(SDK_LINES)(
  'what SDK $name cuts is counted, and where it cuts nothing no span is marked',
  (line) => {
    const exporter = line.openExporter();
    const capture = createCapture({ submit: () => new Promise(() => {}), forwarding: 'off' });
    const started = (spanLimits: object): void => {
      const provider = line.openProvider({
        spanProcessors: [...capture.wrapProcessors([]), line.simple(exporter)],
        sampler: capture.sampler(line.alwaysOn()),
        spanLimits,
      });
      const attributes = { 'gen_ai.operation.name': 'chat', list: ['much too long', 'short'] };
      const span = provider.getTracer('app').startSpan('chat', { attributes });
      span.setAttribute('text', 'much too long').setAttribute('other', 'short').end();
    };
    started({ attributeValueLengthLimit: 8 });
    started({});
    const { bytes } = encodeTracesCounted([...exporter.getFinishedSpans()]);
    const dropped = new DroppedCounts();
    const entries = splitRequest(bytes, 'traces');
    dropped.take({ header: { kind: 'traces' }, entries } as unknown as VerifiedRecord);
    expect(dropped.counts).toEqual({ spans: 1, attributes: 0, events: 0, links: 0, cutValues: 2 });
  },
);

test.each([
  ['no limits', {}],
  ['limits of another shape', { _spanLimits: 8 }],
  ['no limit among them', { _spanLimits: { attributeCountLimit: 128 } }],
  ['0, which is none in SDK 1.30', { _spanLimits: { attributeValueLengthLimit: 0 } }],
  ['infinity', { _spanLimits: { attributeValueLengthLimit: Number.POSITIVE_INFINITY } }],
  ['half a unit', { _spanLimits: { attributeValueLengthLimit: 0.5 } }],
])('%s mark nothing', (_what, shape) => {
  const set: unknown[] = [];
  markValueLimit({
    ...shape,
    setAttribute: (key: string) => set.push(key),
  } as unknown as LiveSpanLike);
  expect(set).toEqual([]);
});
