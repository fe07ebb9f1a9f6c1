// SPDX-License-Identifier: Apache-2.0
/**
 * The three SDK lines behind one face, each with its own copy of the API, so that a test can be written once.
 * Adds nothing to them: processors, samplers and exporters are the lines' own classes.
 */
import { createRequire } from 'node:module';
import type * as Api from '@opentelemetry/api';
import type {
  ReadableSpanLike,
  SamplerLike,
  SpanExporterLike,
  SpanProcessorLike,
} from '../../exporter/node/otlp/sdk-shapes.ts';

export interface InMemoryExporter extends SpanExporterLike {
  getFinishedSpans(): ReadableSpanLike[];
}

export interface ProviderLike extends Api.TracerProvider {
  forceFlush(): Promise<void>;
  shutdown(): Promise<void>;
}

export interface SdkLine {
  readonly name: '1.30' | '2.x' | '3.x';
  readonly api: typeof Api;
  readonly openProvider: (options: {
    readonly spanProcessors: readonly SpanProcessorLike[];
    readonly sampler?: SamplerLike;
    readonly resource?: object;
    readonly spanLimits?: object;
  }) => ProviderLike;
  readonly openExporter: () => InMemoryExporter;
  readonly batch: (exporter: SpanExporterLike) => SpanProcessorLike;
  readonly simple: (exporter: SpanExporterLike) => SpanProcessorLike;
  readonly alwaysOff: () => SamplerLike;
  readonly alwaysOn: () => SamplerLike;
  readonly parentBased: (root: SamplerLike) => SamplerLike;
  readonly ratio: (ratio: number) => SamplerLike;
}

type Class = new (...parameters: readonly unknown[]) => never;

function openLine(name: SdkLine['name'], home: string, sdkName: string): SdkLine {
  const require = createRequire(new URL(home, import.meta.url));
  const sdk = require(sdkName) as Readonly<Record<string, Class>>;
  const Provider = (sdk.BasicTracerProvider ?? sdk.TracerProvider) as Class;
  // 3.x takes one object everywhere, the older lines take an exporter or ratio as such.
  const give = (key: string, value: unknown): unknown =>
    name === '3.x' ? { [key]: value } : value;
  const make = (className: string, ...parameters: readonly unknown[]): never =>
    new (sdk[className] as Class)(...parameters);
  return {
    name,
    api: require('@opentelemetry/api') as typeof Api,
    openProvider: (options) => new Provider(options),
    openExporter: () => make('InMemorySpanExporter'),
    batch: (exporter) => make('BatchSpanProcessor', give('exporter', exporter)),
    simple: (exporter) => make('SimpleSpanProcessor', give('exporter', exporter)),
    alwaysOff: () => make('AlwaysOffSampler'),
    alwaysOn: () => make('AlwaysOnSampler'),
    parentBased: (root) => make('ParentBasedSampler', { root }),
    ratio: (ratio) => make('TraceIdRatioBasedSampler', ratio),
  };
}

export const SDK_LINES: readonly SdkLine[] = [
  openLine('1.30', '../apps/otel-1/package.json', '@opentelemetry/sdk-trace-base'),
  openLine('2.x', '../apps/otel-2/package.json', '@opentelemetry/sdk-trace-base'),
  openLine('3.x', '../../package.json', '@opentelemetry/sdk-trace'),
];
