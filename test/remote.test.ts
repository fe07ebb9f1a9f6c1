// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whoever verifies what arrived can tell what did not: each governed span has its number from its start, is exported
 * whatever the sampler says, and heartbeats tell how many there are. Method: three SDK lines with their own processors;
 * what their exporters got, some of it taken away, is judged as a gateway's log is.
 */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { splitRequest } from '../exporter/log/entries.ts';
import { sequenceOf } from '../exporter/log/numbers.ts';
import type { VerifiedRecord } from '../exporter/log/record.ts';
import { encodeTracesCounted } from '../exporter/node/otlp/otlp-writer.ts';
import type { ReadableSpanLike } from '../exporter/node/otlp/sdk-shapes.ts';
import { openRemote, type Remote } from '../exporter/node/remote.ts';
import { claimsOf } from '../exporter/node/verifying/beats.ts';
import { type InstanceReport, Instances } from '../exporter/node/verifying/instances.ts';
import { tallyOf } from '../exporter/node/verifying/tally.ts';
import { GATEWAY, START_MS } from '../scripts/vectors.ts';
import {
  type InMemoryExporter,
  type ProviderLike,
  SDK_LINES,
  type SdkLine,
} from './support/sdk-lines.ts';

const GOVERNED = { 'gen_ai.operation.name': 'chat' };
const HEARTBEAT_MS = 60_000;

afterEach(() => {
  vi.useRealTimers();
});

interface Application {
  readonly provider: ProviderLike;
  readonly exporter: InMemoryExporter;
  readonly remote: Remote;
}

function open(line: SdkLine, kind: 'simple' | 'batch' = 'simple', more: object = {}): Application {
  const exporter = line.openExporter();
  const provider = line.openProvider({
    spanProcessors: [line[kind](exporter)],
    sampler: line.alwaysOff(),
    ...more,
  });
  const remote = openRemote({ heartbeatMs: HEARTBEAT_MS });
  expect(remote.attach(provider)).toEqual({ status: 'attached' });
  return { provider, exporter, remote };
}

const start = ({ provider }: Application, attributes: object = GOVERNED, name = 'chat') =>
  provider.getTracer('app').startSpan(name, { attributes: { ...attributes } });

const entryOf = (span: ReadableSpanLike): Uint8Array =>
  splitRequest(encodeTracesCounted([span]).bytes, 'traces')[0]!;
const exported = ({ exporter }: Application) => [...exporter.getFinishedSpans()];
const claimed = (app: Application) =>
  exported(app).map((span) => [span.name, sequenceOf(entryOf(span)), claimsOf(entryOf(span)).beat]);

/** What is said of the process where these of its spans arrived. */
function judged(spans: readonly ReadableSpanLike[]): InstanceReport | undefined {
  const instances = new Instances();
  const sealed = new Date(START_MS).toISOString();
  const record = {
    header: { log: 'gateway', kind: 'traces', sealed, source: GATEWAY.source },
    entries: spans.map(entryOf),
    events: [],
    numbers: [],
  } as unknown as VerifiedRecord;
  instances.take(tallyOf(record));
  instances.endLog(false, START_MS);
  return instances.report().instances[0];
}

describe.each(SDK_LINES)('with SDK $name', (line) => {
  test('governed spans are numbered from their start, and exported though the sampler drops', () => {
    const app = open(line);
    const first = start(app);
    start(app, {}, 'plain').end();
    const second = start(app);
    second.end();
    first.end();
    expect(claimed(app)).toEqual([
      ['chat', 2, undefined],
      ['chat', 1, undefined],
    ]);
    const [span] = exported(app);
    expect(claimsOf(entryOf(span!)).instance).toBe(app.remote.instance);
    expect(span!.spanContext().traceFlags).toBe(1);
  });

  test('heartbeats tell the highest number, what is open, and when the next comes', async () => {
    vi.useFakeTimers({ now: START_MS, toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    const app = open(line);
    const running = [start(app), start(app), start(app)];
    running[1]!.end();
    await vi.advanceTimersByTimeAsync(1000);
    running[0]!.end();
    await vi.advanceTimersByTimeAsync(HEARTBEAT_MS);
    const beat = { intervalMs: HEARTBEAT_MS, isClosed: false };
    expect(claimed(app)).toEqual([
      ['chat', 2, undefined],
      ['heartbeat', 4, { highest: 4, open: '1,3', ...beat }],
      ['chat', 1, undefined],
      ['heartbeat', 5, { highest: 5, open: '3', ...beat }],
    ]);
  });

  test.each(['simple', 'batch'] as const)(
    'a provider that shuts down sends a closing heartbeat before, through a %s processor',
    async (kind) => {
      const app = open(line, kind);
      const sent: ReadableSpanLike[] = [];
      const { exporter } = app;
      const take = exporter.export.bind(exporter);
      exporter.export = (spans, done) => {
        sent.push(...spans);
        take(spans, done);
      };
      start(app).end();
      const open_ = start(app);
      await app.provider.shutdown();
      open_.end();
      expect(sent.map(({ name }) => name)).toEqual(['chat', 'heartbeat']);
      expect(judged(sent)).toMatchObject({
        instance: app.remote.instance,
        state: 'closed',
        completeness: 'complete',
        highest: 3,
      });
    },
  );

  test('what did not arrive is named', async () => {
    const app = open(line);
    for (let number = 1; number <= 9; number++) start(app).end();
    await app.remote.close();
    const arrived = exported(app).filter((_, at) => ![1, 2, 6].includes(at));
    expect(judged(arrived)).toMatchObject({
      state: 'closed',
      completeness: 'incomplete',
      missing: { count: 3, ranges: '2-3,7' },
    });
    expect(judged(exported(app))).toMatchObject({ completeness: 'complete' });
  });

  test('closing says so once, and again where something followed', async () => {
    const app = open(line);
    await app.remote.close();
    await app.remote.close();
    start(app).end();
    await app.remote.close();
    expect(claimed(app).map(([name, number]) => [name, number])).toEqual([
      ['heartbeat', 1],
      ['chat', 2],
      ['heartbeat', 3],
    ]);
    expect(app.remote.endedCount).toBe(3);
  });

  test('a full span that can not take its number uses none up', () => {
    const app = open(line, 'simple', {
      spanLimits: { attributeCountLimit: 3 },
    });
    start(app, { ...GOVERNED, a: 1, b: 2 }).end();
    start(app).end();
    expect(claimed(app).map(([, number]) => number)).toEqual([undefined, 1]);
  });

  test('what becomes governed after its start is numbered at its end, where the SDK lets it', () => {
    const app = open(line, 'simple', { sampler: line.alwaysOn() });
    const span = start(app, {});
    span.setAttribute('gen_ai.operation.name', 'chat');
    span.end();
    expect(claimed(app).map(([, number]) => number)).toEqual([
      line.name === '1.30' ? undefined : 1,
    ]);
  });
});

test('a hook that throws, and a provider of another shape, harm nobody', () => {
  const line = SDK_LINES[2]!;
  const remote = openRemote({
    heartbeatMs: HEARTBEAT_MS,
    onGovernedStart: () => {
      throw new Error('hook');
    },
  });
  expect(remote.attach({})).toMatchObject({ status: 'refused' });
  const exporter = line.openExporter();
  const provider = line.openProvider({ spanProcessors: [line.simple(exporter)] });
  remote.attach(provider);
  provider.getTracer('app').startSpan('chat', { attributes: GOVERNED }).end();
  expect(exporter.getFinishedSpans()).toHaveLength(1);
});

test('a close does not wait longer than it may', async () => {
  const remote = openRemote({ heartbeatMs: HEARTBEAT_MS });
  const never = { onStart() {}, onEnd() {}, forceFlush: () => new Promise<void>(() => {}) };
  const line = SDK_LINES[2]!;
  remote.attach(
    line.openProvider({ spanProcessors: [{ ...never, shutdown: () => Promise.resolve() }] }),
  );
  await remote.close(50);
  expect(remote.endedCount).toBe(1);
});
