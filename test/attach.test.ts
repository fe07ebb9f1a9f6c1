// SPDX-License-Identifier: Apache-2.0
// Goal: a provider that an application built records and gates as one that was built with our processors, whatever was
// taken from it before; one of another shape is left as it was. Method: the providers of three SDK lines.
import type { Span, TracerProvider } from '@opentelemetry/api';
import { describe, expect, test } from 'vitest';
import { attach } from '../exporter/node/capture/attach.ts';
import { type Capture, createCapture } from '../exporter/node/capture/capture.ts';
import type { SpanProcessorLike } from '../exporter/node/otlp/sdk-shapes.ts';
import { type MemorySealer, openMemorySealer } from './support/memory-sealer.ts';
import { type InMemoryExporter, SDK_LINES, type SdkLine } from './support/sdk-lines.ts';

const GOVERNED = { 'gen_ai.operation.name': 'chat' };

interface Application {
  readonly provider: ReturnType<SdkLine['openProvider']>;
  readonly exporter: InMemoryExporter;
  readonly sealer: MemorySealer;
  readonly capture: Capture;
}

function openApplication(line: SdkLine, settings: { readonly drops?: boolean } = {}): Application {
  const exporter = line.openExporter();
  const provider = line.openProvider({
    spanProcessors: [line.simple(exporter)],
    sampler: settings.drops ? line.alwaysOff() : line.alwaysOn(),
  });
  const sealer = openMemorySealer();
  const capture = createCapture({ submit: sealer.submit, forwarding: 'through' });
  return { provider, exporter, sealer, capture };
}

function chat(provider: TracerProvider, name: string, scope = 'app', attributes = GOVERNED): Span {
  const span = provider.getTracer(scope).startSpan(name, { attributes });
  span.end();
  return span;
}

const sealedNames = ({ sealer }: Application): string[] => sealer.spans().map(({ name }) => name);
const exportedNames = ({ exporter }: Application): string[] =>
  exporter.getFinishedSpans().map(({ name }) => name);

describe.each(SDK_LINES)('a provider of SDK $name', (line) => {
  test('is captured, and exports as before, each span after its seal', async () => {
    const app = openApplication(line);
    app.sealer.holds = true;
    expect(attach(app.provider, app.capture)).toEqual({ status: 'attached' });
    chat(app.provider, 'governed');
    app.provider.getTracer('app').startSpan('plain').end();
    app.capture.drainSync();
    expect(exportedNames(app)).toEqual(['plain']);
    app.sealer.answerAll();
    await app.capture.flush();
    expect(sealedNames(app)).toEqual(['governed']);
    expect(exportedNames(app)).toEqual(['plain', 'governed']);
  });

  test('is captured where its sampler drops, and exports no more than before', async () => {
    const app = openApplication(line, { drops: true });
    attach(app.provider, app.capture);
    const span = chat(app.provider, 'governed');
    app.provider.getTracer('app').startSpan('plain').end();
    await app.capture.flush();
    expect(span.spanContext().traceFlags).toBe(0);
    expect(sealedNames(app)).toEqual(['governed']);
    expect(exportedNames(app)).toEqual([]);
  });

  test('is captured in tracers and spans that were taken before', async () => {
    const app = openApplication(line, { drops: true });
    const tracer = app.provider.getTracer('early');
    const recorded = openApplication(line);
    const running = recorded.provider
      .getTracer('app')
      .startSpan('running', { attributes: GOVERNED });
    attach(app.provider, app.capture);
    attach(recorded.provider, recorded.capture);
    tracer.startSpan('early', { attributes: GOVERNED }).end();
    running.end();
    await Promise.all([app.capture.flush(), recorded.capture.flush()]);
    expect(sealedNames(app)).toEqual(['early']);
    expect(sealedNames(recorded)).toEqual(['running']);
  });

  test('is captured by scope where a convention marks nothing else', async () => {
    const app = openApplication(line, { drops: true });
    attach(app.provider, app.capture);
    app.provider.getTracer('langfuse-sdk').startSpan('generation').end();
    app.provider.getTracer('http').startSpan('generation').end();
    await app.capture.flush();
    expect(sealedNames(app)).toEqual(['generation']);
  });

  test('is attached to once', async () => {
    const app = openApplication(line);
    attach(app.provider, app.capture);
    expect(attach(app.provider, app.capture)).toEqual({ status: 'attached' });
    const other = openApplication(line);
    expect(attach(app.provider, other.capture)).toEqual({
      status: 'refused',
      reason: 'another audit is attached to it',
    });
    chat(app.provider, 'governed');
    await app.capture.flush();
    expect(app.capture.stats().started).toBe(1);
    expect(other.capture.stats().started).toBe(0);
    expect(exportedNames(app)).toEqual(['governed']);
  });

  test('with no processor of its own is captured', async () => {
    const app = openApplication(line);
    const bare = line.openProvider({ spanProcessors: [] });
    expect(attach(bare, app.capture)).toEqual({ status: 'attached' });
    chat(bare, 'governed');
    await bare.forceFlush();
    expect(sealedNames(app)).toEqual(['governed']);
  });

  test('flushes and shuts down through to its exporter', async () => {
    const app = openApplication(line);
    attach(app.provider, app.capture);
    chat(app.provider, 'first');
    await app.provider.forceFlush();
    expect(exportedNames(app)).toEqual(['first']);
    let shutDown = false;
    const { exporter } = app;
    const shutdown = exporter.shutdown.bind(exporter);
    exporter.shutdown = () => {
      shutDown = true;
      return shutdown();
    };
    await app.provider.shutdown();
    expect(shutDown).toBe(true);
  });
});

test('a processor added later to a provider of SDK 1.30 waits for the seal, too', async () => {
  const line = SDK_LINES.find(({ name }) => name === '1.30') as SdkLine;
  for (const spanProcessors of [[], [line.simple(line.openExporter())]]) {
    const app = openApplication(line);
    app.sealer.holds = true;
    const provider = line.openProvider({ spanProcessors }) as ReturnType<
      SdkLine['openProvider']
    > & {
      addSpanProcessor(processor: SpanProcessorLike): void;
    };
    attach(provider, app.capture);
    const late = line.openExporter();
    provider.addSpanProcessor(line.simple(late));
    chat(provider, 'governed');
    app.capture.drainSync();
    expect(late.getFinishedSpans()).toEqual([]);
    app.sealer.answerAll();
    await app.capture.flush();
    expect(late.getFinishedSpans().map(({ name }) => name)).toEqual(['governed']);
  }
});

describe('what is no known provider is refused, and not touched', () => {
  const SHAPE = 'an SDK of 1.30, 2.x or 3.x has it';
  const processor = { onStart: () => {}, onEnd: () => {} };
  const tracer = { _sampler: { shouldSample: () => ({ decision: 0 }) } };
  test.each<[what: string, provider: unknown, reason: string]>([
    ['nothing', undefined, 'it is no tracer provider'],
    ['null', null, 'it is no tracer provider'],
    ['a text', 'provider', 'it is no tracer provider'],
    ['a proxy of nothing', { getDelegate: () => undefined }, 'it is no tracer provider'],
    ['no getTracer', {}, 'it has no getTracer'],
    ['no processor', { getTracer: () => tracer }, `its span processor is not where ${SHAPE}`],
    [
      'no list of processors',
      { getTracer: () => tracer, _activeSpanProcessor: processor, _tracers: new Map() },
      'its list of span processors is of an unknown shape',
    ],
    [
      'a list of something else',
      {
        getTracer: () => tracer,
        _activeSpanProcessor: { ...processor, _spanProcessors: [1] },
        _tracers: new Map(),
      },
      'its list of span processors is of an unknown shape',
    ],
    [
      'no map of tracers',
      { getTracer: () => tracer, _activeSpanProcessor: { ...processor, _spanProcessors: [] } },
      'its tracers are of an unknown shape',
    ],
    [
      'tracers without a sampler',
      {
        getTracer: () => ({}),
        _activeSpanProcessor: { ...processor, _spanProcessors: [] },
        _tracers: new Map(),
      },
      `the sampler of its tracers is not where ${SHAPE}`,
    ],
    [
      'one that throws',
      {
        get getTracer() {
          throw new Error('not today');
        },
      },
      'it threw: not today',
    ],
  ])('%s', (_what, provider, reason) => {
    const { capture } = openApplication(SDK_LINES[0] as SdkLine);
    const before = typeof provider === 'object' && provider !== null ? Object.keys(provider) : [];
    expect(attach(provider, capture)).toEqual({ status: 'refused', reason });
    expect(typeof provider === 'object' && provider !== null ? Object.keys(provider) : []).toEqual(
      before,
    );
  });
});
