// SPDX-License-Identifier: Apache-2.0
// Goal: what the three SDK lines call a processor, sampler, exporter or span is what our shapes say, and ours fit where
// theirs are asked for. Method: the compiler, against the types that each line ships; the numbers at run time.
import { createRequire } from 'node:module';
import * as sdk3 from '@opentelemetry/sdk-trace';
import { describe, expect, expectTypeOf, test } from 'vitest';
import {
  EXPORT_FAILED,
  type LiveSpanLike,
  NOT_RECORD,
  RECORD,
  type ReadableSpanLike,
  type SamplerLike,
  type SpanExporterLike,
  type SpanProcessorLike,
} from '../exporter/node/otlp/sdk-shapes.ts';
import type * as sdk1 from './apps/otel-1/node_modules/@opentelemetry/sdk-trace-base/build/src/index.js';
import type * as sdk2 from './apps/otel-2/node_modules/@opentelemetry/sdk-trace-base/build/src/index-shim.js';

test('theirs are ours', () => {
  expectTypeOf<sdk1.ReadableSpan>().toExtend<ReadableSpanLike>();
  expectTypeOf<sdk2.ReadableSpan>().toExtend<ReadableSpanLike>();
  expectTypeOf<sdk3.ReadableSpan>().toExtend<ReadableSpanLike>();
  expectTypeOf<sdk1.Span>().toExtend<LiveSpanLike>();
  expectTypeOf<sdk2.Span>().toExtend<LiveSpanLike>();
  expectTypeOf<sdk3.Span>().toExtend<LiveSpanLike>();
  expectTypeOf<sdk1.SpanProcessor>().toExtend<SpanProcessorLike>();
  expectTypeOf<sdk2.SpanProcessor>().toExtend<SpanProcessorLike>();
  expectTypeOf<sdk3.SpanProcessor>().toExtend<SpanProcessorLike>();
  expectTypeOf<sdk1.SpanExporter>().toExtend<SpanExporterLike>();
  expectTypeOf<sdk2.SpanExporter>().toExtend<SpanExporterLike>();
  expectTypeOf<sdk3.SpanExporter>().toExtend<SpanExporterLike>();
  expectTypeOf<sdk1.Sampler>().toExtend<SamplerLike>();
  expectTypeOf<sdk2.Sampler>().toExtend<SamplerLike>();
  expectTypeOf<sdk3.Sampler>().toExtend<SamplerLike>();
});

test('ours are theirs', () => {
  expectTypeOf<SpanProcessorLike>().toExtend<sdk1.SpanProcessor>();
  expectTypeOf<SpanProcessorLike>().toExtend<sdk2.SpanProcessor>();
  expectTypeOf<SpanProcessorLike>().toExtend<sdk3.SpanProcessor>();
  expectTypeOf<SpanExporterLike>().toExtend<sdk1.SpanExporter>();
  expectTypeOf<SpanExporterLike>().toExtend<sdk2.SpanExporter>();
  expectTypeOf<SpanExporterLike>().toExtend<sdk3.SpanExporter>();
  // Attributes of api 1.10 are wider than those of the api 1.9 that the older lines bring along here; an application
  // has one copy of the api, which is the one our types resolve to.
  expectTypeOf<SamplerLike>().toExtend<sdk3.Sampler>();
});

describe('the numbers of each line', () => {
  const lines = {
    '1.30': 'apps/otel-1/package.json',
    '2.x': 'apps/otel-2/package.json',
  };
  test.each(Object.entries(lines))('%s', (_, home) => {
    const require = createRequire(new URL(home, import.meta.url));
    const { SamplingDecision } = require('@opentelemetry/sdk-trace-base');
    const { ExportResultCode } = createRequire(require.resolve('@opentelemetry/sdk-trace-base'))(
      '@opentelemetry/core',
    );
    expect([SamplingDecision.NOT_RECORD, SamplingDecision.RECORD, ExportResultCode.FAILED]).toEqual(
      [NOT_RECORD, RECORD, EXPORT_FAILED],
    );
  });

  test('3.x', () => {
    expect([sdk3.SamplingDecision.NOT_RECORD, sdk3.SamplingDecision.RECORD]).toEqual([
      NOT_RECORD,
      RECORD,
    ]);
  });
});
