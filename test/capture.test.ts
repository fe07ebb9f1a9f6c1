// SPDX-License-Identifier: Apache-2.0
// Goal: every governed span of a real SDK is captured, whatever its sampler and exporter do, and the application can not
// tell: its own exporters get what they would have got, only later. Method: the same application on three SDK lines,
// with and without us; a sealer in memory that answers when told to.
import type { Context, Span, SpanContext, TracerProvider } from '@opentelemetry/api';
import { describe, expect, test } from 'vitest';
import {
  type Capture,
  type CaptureOptions,
  createCapture,
  type Forwarding,
  type Intent,
} from '../exporter/node/capture/capture.ts';
import type { Loss } from '../exporter/node/capture/pending.ts';
import type {
  ExportResultLike,
  ReadableSpanLike,
  SamplerLike,
  SpanExporterLike,
  SpanProcessorLike,
} from '../exporter/node/otlp/sdk-shapes.ts';
import { type MemorySealer, openMemorySealer } from './support/memory-sealer.ts';
import type { PlainSpan } from './support/otlp-proto.ts';
import { type InMemoryExporter, SDK_LINES, type SdkLine } from './support/sdk-lines.ts';

const GOVERNED = { 'gen_ai.operation.name': 'chat' };
const NEVER_MS = 1_000_000;

interface Joined {
  readonly sealer: MemorySealer;
  readonly capture: Capture;
  readonly exporter: InMemoryExporter;
  readonly provider: ReturnType<SdkLine['openProvider']>;
  readonly losses: Loss[];
}

/** A provider whose own batch processor is behind our gate. */
function join(
  line: SdkLine,
  options: Partial<CaptureOptions> & {
    readonly sampler?: SamplerLike;
    readonly holds?: boolean;
    readonly spanLimits?: object;
  } = {},
): Joined {
  const { sampler = line.alwaysOn(), holds = false, spanLimits, ...more } = options;
  const sealer = openMemorySealer();
  sealer.holds = holds;
  const losses: Loss[] = [];
  const capture = createCapture({
    submit: sealer.submit,
    forwarding: 'through',
    onLost: (loss) => losses.push(loss),
    gatherDelayMs: NEVER_MS,
    flushDelayMsMax: NEVER_MS,
    ...more,
  });
  const exporter = line.openExporter();
  const provider = line.openProvider({
    spanProcessors: capture.wrapProcessors([line.batch(exporter)]),
    sampler: capture.sampler(sampler),
    ...(spanLimits === undefined ? {} : { spanLimits }),
  });
  return { sealer, capture, exporter, provider, losses };
}

function turns(count = 5): Promise<void> {
  return count === 0
    ? Promise.resolve()
    : new Promise<void>((resolve) => setImmediate(resolve)).then(() => turns(count - 1));
}

function names(spans: readonly { readonly name: string }[]): string[] {
  return spans.map(({ name }) => name).toSorted();
}

function child(
  line: SdkLine,
  provider: TracerProvider,
  parent: Span | undefined,
  name: string,
  attributes = {},
): Span {
  const { api } = line;
  const context: Context =
    parent === undefined ? api.ROOT_CONTEXT : api.trace.setSpan(api.ROOT_CONTEXT, parent);
  return provider.getTracer('app').startSpan(name, { attributes }, context);
}

/** Two requests: one with model calls in it, two levels deep, one without. */
function serve(line: SdkLine, provider: TracerProvider, suffix = ''): void {
  const request = child(line, provider, undefined, `request${suffix}`);
  const chat = child(line, provider, request, `chat${suffix}`, GOVERNED);
  const http = child(line, provider, chat, `http${suffix}`);
  const tool = child(line, provider, http, `tool${suffix}`, { 'mcp.method.name': 'tools/call' });
  for (const span of [tool, http, chat, request]) span.end();
  child(line, provider, undefined, `health${suffix}`).end();
}

/** Drops the traces whose root is named so, as a sampler of any kind would. */
function dropping(line: SdkLine, name: string): SamplerLike {
  const on = line.alwaysOn();
  const off = line.alwaysOff();
  return line.parentBased({
    shouldSample: (context, traceId, spanName, ...rest) =>
      (spanName === name ? off : on).shouldSample(context, traceId, spanName, ...rest),
    toString: () => 'dropping',
  });
}

/** What a backend would see of a span, without our number and without what differs from run to run. */
function shown(spans: readonly ReadableSpanLike[]): unknown[] {
  const nameOf = new Map(spans.map((span) => [span.spanContext().spanId, span.name]));
  return spans
    .map((span) => {
      const { 'aigov.sequence': _, ...attributes } = span.attributes;
      return {
        name: span.name,
        parent: nameOf.get(span.parentSpanContext?.spanId ?? span.parentSpanId ?? ''),
        sampled: span.spanContext().traceFlags,
        attributes,
      };
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function sequencesOf(spans: readonly PlainSpan[]): unknown[] {
  return spans.map(({ attributes }) => attributes['aigov.sequence']);
}

describe.each(SDK_LINES)('SDK $name', (line) => {
  describe('sampling', () => {
    const samplers: readonly (readonly [string, () => SamplerLike])[] = [
      ['always off', () => line.alwaysOff()],
      ['ratio 0', () => line.ratio(0)],
      ['parent based on a root that is off', () => line.parentBased(line.alwaysOff())],
    ];
    test.each(samplers)('%s: governed spans are recorded, without the flag', async (_, sampler) => {
      const { sealer, capture, exporter, provider } = join(line, { sampler: sampler() });
      serve(line, provider);
      await provider.forceFlush();
      const spans = sealer.spans();
      expect(names(spans)).toEqual(['chat', 'tool']);
      expect(spans.map(({ flags }) => flags & 1)).toEqual([0, 0]);
      expect(sequencesOf(spans).toSorted()).toEqual([1, 2]);
      // The tool is a grandchild, across a span that nobody recorded.
      expect(spans[0]?.traceId).toBe(spans[1]?.traceId);
      expect(exporter.getFinishedSpans()).toEqual([]);
      expect(capture.stats()).toMatchObject({
        started: 2,
        ended: 2,
        sealed: 2,
        lost: 0,
        openRanges: [],
      });
    });

    test.each([0, 1])(
      'a remote parent with the flag %d keeps it, and its trace state',
      async (traceFlags) => {
        const { api } = line;
        const { sealer, exporter, provider } = join(line, {
          sampler: line.parentBased(line.alwaysOff()),
        });
        const remote: SpanContext = {
          traceId: 'ab'.repeat(16),
          spanId: 'cd'.repeat(8),
          traceFlags,
          isRemote: true,
          traceState: api.createTraceState('vendor=1'),
        };
        const context = api.trace.setSpanContext(api.ROOT_CONTEXT, remote);
        const span = provider.getTracer('app').startSpan('chat', { attributes: GOVERNED }, context);
        // What goes out with the call to the model: the decision of the caller is passed on.
        expect(span.spanContext()).toMatchObject({ traceId: remote.traceId, traceFlags });
        expect(span.spanContext().traceState?.serialize()).toBe('vendor=1');
        span.end();
        await provider.forceFlush();
        expect(sealer.spans()).toMatchObject([
          { traceId: remote.traceId, parentSpanId: remote.spanId, traceState: 'vendor=1' },
        ]);
        expect(sealer.spans()[0]!.flags & 1).toBe(traceFlags);
        expect(exporter.getFinishedSpans()).toHaveLength(traceFlags);
      },
    );

    test('attributes and trace state of the decision are kept, a decision to record is left alone', async () => {
      const { api } = line;
      const decisions: number[] = [];
      const inner = (decision: number): SamplerLike => ({
        shouldSample: () => ({
          decision,
          attributes: { 'sampler.rule': 'r1' },
          traceState: api.createTraceState('rule=1'),
        }),
        toString: () => 'inner',
      });
      for (const decision of [0, 1, 2]) {
        const { sealer, provider } = join(line, { sampler: inner(decision) });
        child(line, provider, undefined, 'chat', GOVERNED).end();
        await provider.forceFlush();
        expect(sealer.spans()).toMatchObject([
          { attributes: { 'sampler.rule': 'r1' }, traceState: 'rule=1' },
        ]);
        decisions.push(sealer.spans()[0]!.flags & 1);
      }
      expect(decisions).toEqual([0, 0, 1]);
    });

    test('the scope decides where a sampler is told of it', () => {
      const capture = createCapture({ submit: openMemorySealer().submit, forwarding: 'through' });
      const { ROOT_CONTEXT } = line.api;
      const decide = (scopeName?: string): number =>
        capture
          .sampler(line.alwaysOff(), scopeName)
          .shouldSample(ROOT_CONTEXT, 'ab'.repeat(16), 'generation', 0, {}, []).decision;
      expect([decide(), decide('app'), decide('langfuse-sdk'), decide('sealspan')]).toEqual([
        0, 0, 1, 1,
      ]);
    });

    test('what the application’s sampler throws is the application’s', () => {
      const { provider } = join(line, {
        sampler: {
          shouldSample: () => {
            throw new Error('the application');
          },
          toString: () => 'broken',
        },
      });
      expect(() => child(line, provider, undefined, 'chat', GOVERNED)).toThrow('the application');
    });
  });

  describe('forwarding', () => {
    test('through: the exporter gets what it would have got without us, once it is sealed', async () => {
      const bare = line.openExporter();
      const bareProvider = line.openProvider({
        spanProcessors: [line.batch(bare)],
        sampler: dropping(line, 'request dropped'),
      });
      const joined = join(line, { sampler: dropping(line, 'request dropped'), holds: true });
      for (const provider of [bareProvider, joined.provider]) {
        serve(line, provider);
        serve(line, provider, ' dropped');
      }
      await bareProvider.forceFlush();
      joined.capture.drainSync();
      expect(names(joined.sealer.spans())).toEqual([
        'chat',
        'chat dropped',
        'tool',
        'tool dropped',
      ]);

      // Before the seal: only what nobody governs.
      const flush = joined.provider.forceFlush();
      await turns();
      expect(joined.exporter.getFinishedSpans()).toEqual([]);
      joined.sealer.answerAll();
      await flush;
      expect(shown(joined.exporter.getFinishedSpans())).toEqual(shown(bare.getFinishedSpans()));
      expect(names(bare.getFinishedSpans())).toEqual([
        'chat',
        'health',
        'health dropped',
        'http',
        'request',
        'tool',
      ]);
      expect(joined.capture.stats()).toMatchObject({ releasedUnsealed: 0, failures: 0 });
    });

    test.each<readonly [Forwarding, readonly string[]]>([
      ['direct', ['health', 'http', 'request']],
      ['off', ['chat', 'health', 'http', 'request', 'tool']],
    ])('%s: the exporter gets its part at once', async (forwarding, expected) => {
      const { sealer, capture, exporter, provider } = join(line, {
        forwarding,
        holds: true,
        flushDelayMsMax: 0,
      });
      serve(line, provider);
      await provider.forceFlush();
      expect(names(exporter.getFinishedSpans())).toEqual(expected);
      expect(names(sealer.spans())).toEqual(['chat', 'tool']);
      expect(capture.stats()).toMatchObject({ sealed: 0, pendingByteLength: expect.any(Number) });
    });

    test.each<Forwarding>(['through', 'direct', 'off'])(
      '%s: spans recorded only because of us never reach a processor, those its own sampler records do',
      async (forwarding) => {
        const calls: string[] = [];
        const spy: SpanProcessorLike = {
          onStart: (span) => calls.push(`start ${span.name}`),
          onEnding: (span) => calls.push(`ending ${span.name}`),
          onEnd: (span) => calls.push(`end ${span.name}`),
          forceFlush: () => Promise.resolve(),
          shutdown: () => Promise.resolve(),
        };
        const sealer = openMemorySealer();
        const capture = createCapture({
          submit: sealer.submit,
          forwarding,
          gatherDelayMs: NEVER_MS,
        });
        const provider = line.openProvider({
          spanProcessors: capture.wrapProcessors([spy, spy]),
          sampler: capture.sampler({
            shouldSample: (_, __, name) => ({ decision: name === 'recorded' ? 1 : 0 }),
            toString: () => 'some',
          }),
        });
        child(line, provider, undefined, 'dropped', GOVERNED).end();
        child(line, provider, undefined, 'recorded', GOVERNED).end();
        await provider.forceFlush();
        expect(names(sealer.spans())).toEqual(['dropped', 'recorded']);
        const seen = [
          'start recorded',
          ...(line.name === '1.30' ? [] : ['ending recorded']),
          ...(forwarding === 'direct' ? [] : ['end recorded']),
        ];
        // Both of the two processors.
        expect(calls).toEqual(seen.flatMap((call) => [call, call]));
      },
    );

    test('a span that is lost still reaches the exporter, and is counted', async () => {
      const { sealer, capture, exporter, provider, losses } = join(line, { holds: true });
      serve(line, provider);
      const flush = provider.forceFlush();
      await turns();
      sealer.answerAll('disk full');
      await flush;
      expect(names(exporter.getFinishedSpans())).toEqual([
        'chat',
        'health',
        'http',
        'request',
        'tool',
      ]);
      expect(losses).toEqual([{ count: 2, firstSequence: 1, lastSequence: 2, cause: 'disk full' }]);
      expect(capture.stats()).toMatchObject({ sealed: 0, lost: 2, releasedUnsealed: 2 });
    });

    test('so does one that finds no room', async () => {
      const { capture, exporter, provider, losses } = join(line, { pendingByteLengthMax: 0 });
      serve(line, provider);
      await provider.forceFlush();
      expect(exporter.getFinishedSpans()).toHaveLength(5);
      expect(losses).toMatchObject([{ count: 2, cause: 'too many bytes pending' }]);
      expect(capture.stats()).toMatchObject({ lost: 2, releasedUnsealed: 2, openRanges: [] });
    });

    test('a sealer that hangs does not hold up a flush for ever, nor is a span released twice', async () => {
      const { sealer, capture, exporter, provider } = join(line, {
        holds: true,
        flushDelayMsMax: 1,
      });
      serve(line, provider);
      await provider.forceFlush();
      expect(names(exporter.getFinishedSpans())).toEqual([
        'chat',
        'health',
        'http',
        'request',
        'tool',
      ]);
      sealer.answerAll();
      await capture.flush();
      await provider.forceFlush();
      expect(exporter.getFinishedSpans()).toHaveLength(5);
      expect(capture.stats()).toMatchObject({ sealed: 2, lost: 0, releasedUnsealed: 2 });
    });

    test('a span of a trace that we recorded, from a tracer that samples it itself, is the application’s', async () => {
      const { capture, exporter } = join(line);
      const inner = line.batch(exporter);
      const open = (sampler: SamplerLike): ReturnType<SdkLine['openProvider']> =>
        line.openProvider({ spanProcessors: capture.wrapProcessors([inner]), sampler });
      const ours = open(capture.sampler(line.alwaysOff()));
      const theirs = open(line.alwaysOn());
      const parent = child(line, ours, undefined, 'upgraded', GOVERNED);
      child(line, theirs, parent, 'sampled', GOVERNED).end();
      parent.end();
      await ours.forceFlush();
      expect(names(exporter.getFinishedSpans())).toEqual(['sampled']);
    });

    test('a span that was sealed before a gate sees its end is passed on at once', async () => {
      const { capture, provider } = join(line);
      const seen = line.openExporter();
      const [processor, gate] = capture.wrapProcessors([line.simple(seen)]);
      const finished = line.openExporter();
      const other = line.openProvider({ spanProcessors: [line.simple(finished)] });
      child(line, other, undefined, 'chat', GOVERNED).end();
      const span = finished.getFinishedSpans()[0]!;
      processor?.onEnd(span);
      await provider.forceFlush();
      gate?.onEnd(span);
      await gate?.forceFlush();
      expect(names(seen.getFinishedSpans())).toEqual(['chat']);
      expect(capture.stats()).toMatchObject({ sealed: 1, releasedUnsealed: 0 });
    });

    test('a shutdown of the provider waits for the seals', async () => {
      const { sealer, exporter, provider } = join(line, { holds: true });
      const finished: ReadableSpanLike[][] = [];
      // The in-memory exporter forgets its spans at shutdown.
      exporter.shutdown = () => {
        finished.push([...exporter.getFinishedSpans()]);
        return Promise.resolve();
      };
      serve(line, provider);
      const shutdown = provider.shutdown();
      await turns();
      expect(finished).toEqual([]);
      sealer.answerAll();
      await shutdown;
      expect(finished.map(names)).toEqual([['chat', 'health', 'http', 'request', 'tool']]);
    });
  });

  describe('capture', () => {
    test('10,000 spans that end in one tick are all in the log, numbered without holes', async () => {
      const { sealer, capture, provider } = join(line, { sampler: line.alwaysOff() });
      const tracer = provider.getTracer('app');
      for (let i = 0; i < 10_000; i++) tracer.startSpan('chat', { attributes: GOVERNED }).end();
      await capture.flush();
      const sequences = new Set(sequencesOf(sealer.spans()));
      expect(sequences.size).toBe(10_000);
      expect([
        Math.min(...(sequences as Set<number>)),
        Math.max(...(sequences as Set<number>)),
      ]).toEqual([1, 10_000]);
      expect(capture.stats()).toMatchObject({
        started: 10_000,
        sealed: 10_000,
        lost: 0,
        failures: 0,
      });
    });

    test('a span that becomes governed after its start is captured, numbered, and itself unchanged', async () => {
      const { sealer, exporter, provider } = join(line);
      const span = child(line, provider, undefined, 'late');
      span.setAttribute('gen_ai.request.model', 'gpt-5');
      span.end();
      await provider.forceFlush();
      expect(sealer.spans()).toMatchObject([
        { name: 'late', attributes: { 'gen_ai.request.model': 'gpt-5', 'aigov.sequence': 1 } },
      ]);
      expect(exporter.getFinishedSpans()[0]?.attributes).toEqual({
        'gen_ai.request.model': 'gpt-5',
      });
    });

    test('a span at its limit of attributes gets its number in the record', async () => {
      const { sealer, provider } = join(line, { spanLimits: { attributeCountLimit: 1 } });
      child(line, provider, undefined, 'full', GOVERNED).end();
      await provider.forceFlush();
      expect(sealer.spans()).toMatchObject([{ attributes: { ...GOVERNED, 'aigov.sequence': 1 } }]);
    });

    test('an open span is open in the statistics until it ends', async () => {
      const { capture, provider } = join(line);
      const spans = Array.from({ length: 5 }, () =>
        child(line, provider, undefined, 'chat', GOVERNED),
      );
      spans[1]?.end();
      await capture.flush();
      expect(capture.stats()).toMatchObject({
        started: 5,
        ended: 1,
        sealed: 1,
        highestSequence: 5,
        openRanges: [
          [1, 1],
          [3, 5],
        ],
      });
      for (const span of spans) span.end();
      expect(capture.stats().openRanges).toHaveLength(2);
      await capture.flush();
      expect(capture.stats()).toMatchObject({ ended: 5, sealed: 5, openRanges: [] });
    });

    test('hooks are called with each number first, and can add attributes', async () => {
      const order: unknown[] = [];
      const { sealer, capture, provider } = join(line, {
        onIntent: (intent: Intent) => order.push(intent),
        onGovernedStart: (span) => {
          order.push(span.attributes['aigov.sequence']);
          span.setAttribute('aigov.system.id', 'credit-1');
        },
      });
      const span = child(line, provider, undefined, 'chat', GOVERNED);
      const { traceId, spanId } = span.spanContext();
      expect(order).toEqual([
        {
          sequence: 1,
          traceId,
          spanId,
          startTime: [expect.any(Number), expect.any(Number)],
          attributes: expect.objectContaining(GOVERNED),
        },
        1,
      ]);
      span.end();
      await capture.flush();
      expect(sealer.spans()[0]?.attributes).toMatchObject({ 'aigov.system.id': 'credit-1' });
    });

    test('nothing of ours is thrown into the application, whatever fails', async () => {
      const fail = (): never => {
        throw new Error('ours');
      };
      const { sealer, capture, exporter, provider } = join(line, {
        onIntent: fail,
        onGovernedStart: fail,
        onLost: fail,
        isGoverned: ({ attributes }) => (attributes?.judge === 'fails' ? fail() : true),
        holds: true,
      });
      child(line, provider, undefined, 'chat').end();
      child(line, provider, undefined, 'unjudged', { judge: 'fails' }).end();
      const flush = provider.forceFlush();
      await turns();
      sealer.answerAll('disk full');
      await flush;
      expect(names(sealer.spans())).toEqual(['chat']);
      expect(names(exporter.getFinishedSpans())).toEqual(['chat', 'unjudged']);
      expect(capture.stats().failures).toBeGreaterThan(3);
    });

    test('what a processor of the application throws when it is called later stays with us', async () => {
      const sealer = openMemorySealer();
      const capture = createCapture({ submit: sealer.submit, forwarding: 'through' });
      const good = line.openExporter();
      const provider = line.openProvider({
        spanProcessors: capture.wrapProcessors([
          {
            onStart: () => undefined,
            onEnd: () => {
              throw new Error('the application');
            },
            forceFlush: () => Promise.resolve(),
            shutdown: () => Promise.resolve(),
          },
          line.simple(good),
        ]),
      });
      child(line, provider, undefined, 'chat', GOVERNED).end();
      await provider.forceFlush();
      expect(names(good.getFinishedSpans())).toEqual(['chat']);
      expect(capture.stats().failures).toBe(1);
      // Without us it would have been thrown here, and still is.
      expect(() => child(line, provider, undefined, 'request').end()).toThrow('the application');
    });

    test('a provider that was shut down is still heard, a capture that was is not', async () => {
      const { sealer, capture, provider, losses } = join(line);
      const spans = [1, 2].map(() => child(line, provider, undefined, 'chat', GOVERNED));
      await provider.shutdown();
      spans[0]?.end();
      await capture.shutdown();
      spans[1]?.end();
      await capture.flush();
      expect(sequencesOf(sealer.spans())).toEqual([1]);
      expect(losses).toEqual([
        { count: 1, firstSequence: 2, lastSequence: 2, cause: 'ended after shutdown' },
      ]);
    });
  });

  describe('committed', () => {
    test('tells the place of the span, before and after, by the span, its context and a copy of it', async () => {
      const { sealer, capture, provider } = join(line);
      const span = child(line, provider, undefined, 'chat', GOVERNED);
      const early = capture.committed(span);
      child(line, provider, undefined, 'other', GOVERNED).end();
      span.end();
      const outcome = await early;
      expect(sealer.at(outcome)?.spanId).toBe(span.spanContext().spanId);
      for (const asked of [span, span.spanContext(), { ...span.spanContext() }]) {
        expect(await capture.committed(asked)).toEqual(outcome);
      }
    });

    test.each<readonly [string, (provider: TracerProvider) => Span | SpanContext]>([
      ['an ungoverned span', (provider) => provider.getTracer('app').startSpan('request')],
      ['a span of nobody', () => line.api.trace.wrapSpanContext(line.api.INVALID_SPAN_CONTEXT)],
      [
        'an unknown context',
        () => ({ traceId: 'ab'.repeat(16), spanId: 'cd'.repeat(8), traceFlags: 1 }),
      ],
    ])('%s was not captured', async (_, make) => {
      const { capture, provider } = join(line);
      expect(await capture.committed(make(provider))).toEqual({
        status: 'lost',
        cause: 'not captured',
      });
    });

    test('a context of another trace is another span, whatever its span id', async () => {
      const { capture, provider } = join(line);
      const span = child(line, provider, undefined, 'chat', GOVERNED);
      span.end();
      const other = { ...span.spanContext(), traceId: 'ab'.repeat(16) };
      expect(await capture.committed(other)).toEqual({ status: 'lost', cause: 'not captured' });
    });

    test('knows a span as long as it lives, and a copy of its context for some thousand spans', async () => {
      const { capture, provider } = join(line);
      const span = child(line, provider, undefined, 'chat', GOVERNED);
      span.end();
      const outcome = await capture.committed(span);
      for (let i = 0; i < 5000; i++) child(line, provider, undefined, 'chat', GOVERNED).end();
      await capture.flush();
      expect(await capture.committed(span)).toEqual(outcome);
      expect(await capture.committed({ ...span.spanContext() })).toMatchObject({
        cause: 'not captured',
      });
    });
  });

  describe('the exporter route', () => {
    function openRoute(
      options: {
        readonly required?: boolean;
        readonly all?: boolean;
        readonly inner?: SpanExporterLike;
      } = {},
    ): {
      readonly sealer: MemorySealer;
      readonly capture: Capture;
      readonly inner: InMemoryExporter;
      readonly exporter: SpanExporterLike;
      spans(): ReadableSpanLike[];
      send(spans: ReadableSpanLike[]): Promise<ExportResultLike>;
    } {
      const sealer = openMemorySealer();
      const capture = createCapture({
        submit: sealer.submit,
        forwarding: 'off',
        gatherDelayMs: NEVER_MS,
      });
      const inner = line.openExporter();
      const exporter = capture.exporter(options.inner ?? inner, options);
      return {
        sealer,
        capture,
        inner,
        exporter,
        spans: () => {
          const finished = line.openExporter();
          const provider = line.openProvider({ spanProcessors: [line.simple(finished)] });
          serve(line, provider);
          return finished.getFinishedSpans();
        },
        send: (spans) => new Promise((resolve) => exporter.export(spans, resolve)),
      };
    }

    test('seals the governed spans before it exports all of them, unchanged', async () => {
      const route = openRoute();
      route.sealer.holds = true;
      const spans = route.spans();
      const sent = route.send(spans);
      await turns();
      expect(names(route.sealer.spans())).toEqual(['chat', 'tool']);
      expect(sequencesOf(route.sealer.spans()).toSorted()).toEqual([1, 2]);
      expect(route.inner.getFinishedSpans()).toEqual([]);
      route.sealer.answerAll();
      expect((await sent).code).toBe(0);
      expect(route.inner.getFinishedSpans()).toEqual(spans);
    });

    test('seals all spans if asked to', async () => {
      const route = openRoute({ all: true });
      await route.send(route.spans());
      expect(names(route.sealer.spans())).toEqual(['chat', 'health', 'http', 'request', 'tool']);
    });

    test.each([
      [false, { code: 0 }],
      [true, { code: 1, error: new Error('not sealed: disk full') }],
    ])('lost seals with required %s', async (required, expected) => {
      const route = openRoute({ required });
      route.sealer.holds = true;
      const sent = route.send(route.spans());
      await turns();
      route.sealer.answerAll('disk full');
      expect(await sent).toMatchObject(expected);
      // The backend gets them either way.
      expect(route.inner.getFinishedSpans()).toHaveLength(5);
    });

    test('a retried or doubly routed span is sealed once', async () => {
      const route = openRoute();
      const spans = route.spans();
      for (const span of spans) route.capture.processor.onEnd(span);
      await route.send(spans);
      await route.send(spans);
      expect(names(route.sealer.spans())).toEqual(['chat', 'tool']);
    });

    test('passes on what the inner exporter says, or throws', async () => {
      const failing = openRoute({
        inner: {
          export: (_, resultCallback) => resultCallback({ code: 1, error: new Error('backend') }),
          shutdown: () => Promise.resolve(),
        },
      });
      expect(await failing.send(failing.spans())).toEqual({ code: 1, error: new Error('backend') });
      const throwing = openRoute({
        inner: {
          export: () => {
            throw new Error('bug');
          },
          shutdown: () => Promise.resolve(),
        },
      });
      expect(await throwing.send(throwing.spans())).toEqual({ code: 1, error: new Error('bug') });
    });

    test.each(['forceFlush', 'shutdown'] as const)('%s waits for the seals', async (method) => {
      const calls: string[] = [];
      const route = openRoute({
        inner: {
          export: (_, resultCallback) => {
            calls.push('export');
            resultCallback({ code: 0 });
          },
          forceFlush: () => Promise.resolve(void calls.push('forceFlush')),
          shutdown: () => Promise.resolve(void calls.push('shutdown')),
        },
      });
      route.sealer.holds = true;
      void route.send(route.spans());
      const done = route.exporter[method]?.();
      await turns();
      expect(calls).toEqual([]);
      route.sealer.answerAll();
      await done;
      expect(calls).toEqual(['export', method]);
    });

    test('works behind the line’s own batch processor', async () => {
      const route = openRoute();
      const provider = line.openProvider({ spanProcessors: [line.batch(route.exporter)] });
      serve(line, provider);
      await provider.forceFlush();
      expect(names(route.sealer.spans())).toEqual(['chat', 'tool']);
      expect(route.inner.getFinishedSpans()).toHaveLength(5);
    });
  });
});

test.each<readonly [string, Record<string, unknown>, RegExp]>([
  ['no sealer', { submit: undefined }, /submit/],
  ['an unknown mode', { forwarding: 'sideways' }, /forwarding/],
  ['a negative delay', { gatherDelayMs: -1 }, /gatherDelayMs/],
  ['a length that is no number', { pendingByteLengthMax: Number.NaN }, /pendingByteLengthMax/],
])('refuses %s', (_, options, message) => {
  const make = (): Capture =>
    createCapture({ submit: openMemorySealer().submit, forwarding: 'off', ...options });
  expect(make).toThrow(message);
});
