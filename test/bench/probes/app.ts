// SPDX-License-Identifier: Apache-2.0
/**
 * One application that makes spans, at a rate or as fast as it goes, audited in one of several ways or not at all, and what
 * that cost it. Makes spans in an otherwise idle process: what a busy one feels on top, it can not tell.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { type Audit, attach, openAudit } from '../../../exporter/node/index.ts';
import { specification } from '../support/processes.ts';
import { type SpanStyle, spanMaker, spanShapes } from '../support/spans.ts';

export interface AppSpec {
  /**
   * `none`: a processor that does nothing. `stock`: BatchSpanProcessor and the OTLP/gRPC exporter, as they come. `direct`,
   * `through`, `off`: an audit with an archive, forwarding so; `through` to the stock exporter.
   */
  readonly variant: 'none' | 'stock' | 'direct' | 'through' | 'off';
  readonly style: SpanStyle;
  readonly spanCount: number;
  /** Spans a second; as fast as nothing is dropped unless given. */
  readonly rate?: number;
  readonly dir: string;
  readonly sinkPort: number;
}

export interface AppFound {
  /** CPU of the event loop's thread, and of all threads, until everything was delivered and durable. */
  readonly loopMicroseconds: number;
  readonly processMicroseconds: number;
  readonly seconds: number;
  /** Spans that the stock processor dropped, alone or behind `through`: its queue was full. */
  readonly droppedCount: number;
  readonly delayMs: { readonly p50: number; readonly p99: number; readonly p999: number };
}

const TURN_SPAN_COUNT = 64;
/** A stock queue holds 2,048 spans: it is waited for before that. */
const FLUSH_SPAN_COUNT = 1024;
/** And a pending budget so many bytes. */
const FLUSH_BYTE_LENGTH = 16 * 1024 * 1024;
const TICK_MS = 10;
const WARM_SPAN_COUNT = 2000;
const DELIVERY_DELAY_MS = 30_000;

const spec = specification<AppSpec>();
const endpoint = `http://127.0.0.1:${spec.sinkPort}`;
const nothing = {
  onStart: () => {},
  onEnd: () => {},
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};

let exportedCount = 0;
function stockProcessor(): BatchSpanProcessor {
  const exporter = new OTLPTraceExporter({ url: endpoint });
  const send = exporter.export.bind(exporter);
  exporter.export = (spans, callback) =>
    send(spans, (result) => {
      if (result.code === 0) exportedCount += spans.length;
      callback(result);
    });
  return new BatchSpanProcessor({ exporter });
}

const isStock = spec.variant === 'stock' || spec.variant === 'through';
const provider = new TracerProvider({ spanProcessors: [isStock ? stockProcessor() : nothing] });
let audit: Audit | undefined;
if (spec.variant !== 'none' && spec.variant !== 'stock') {
  audit = openAudit({
    dir: spec.dir,
    origin: 'bench/app',
    forwarding: spec.variant,
    ...(spec.variant === 'direct' ? { backend: { protocol: 'grpc', endpoint } } : {}),
  });
  const joined = attach(provider, audit.capture);
  if (joined.status === 'refused') throw new Error(joined.reason);
}

const traceCount = spec.style.byteLength > 16_384 ? 2 : 8;
const makeSpan = spanMaker(provider.getTracer('sealspan'), spanShapes(spec.style, traceCount));
let madeCount = 0;

async function fullSpeed(count: number): Promise<void> {
  const flushCount = Math.min(
    FLUSH_SPAN_COUNT,
    Math.max(TURN_SPAN_COUNT, Math.floor(FLUSH_BYTE_LENGTH / spec.style.byteLength)),
  );
  for (let made = 0; made < count; ) {
    const end = Math.min(count, made + flushCount);
    while (made < end) {
      for (let i = 0; i < TURN_SPAN_COUNT && made < end; i++, made++) makeSpan();
      await turn();
    }
    await provider.forceFlush();
  }
  madeCount += count;
}

async function paced(count: number, rate: number): Promise<void> {
  const startMs = performance.now();
  for (let made = 0; made < count; ) {
    const due = Math.min(count, Math.floor(((performance.now() - startMs) * rate) / 1000));
    for (; made < due; made++) makeSpan();
    await delay(TICK_MS);
  }
  await provider.forceFlush();
  madeCount += count;
}

/** Until the consumers of the log are idle, too: their CPU is part of the price. */
async function delivered(): Promise<void> {
  await provider.forceFlush();
  await audit?.flush(DELIVERY_DELAY_MS);
}

await fullSpeed(Math.min(WARM_SPAN_COUNT, spec.spanCount));
await delivered();
const delays = monitorEventLoopDelay({ resolution: 1 });
if (spec.rate !== undefined) delays.enable();
const loop = process.threadCpuUsage();
const all = process.cpuUsage();
const startMs = performance.now();
if (spec.rate === undefined) await fullSpeed(spec.spanCount);
else await paced(spec.spanCount, spec.rate);
delays.disable();
await delivered();
const seconds = (performance.now() - startMs) / 1000;
const loopUsed = process.threadCpuUsage(loop);
const allUsed = process.cpuUsage(all);

if (audit !== undefined) {
  const { sealed, lost, started } = audit.capture.stats();
  if (lost > 0 || sealed !== madeCount) throw new Error(`${lost} of ${started} spans were lost`);
}
const percentile = (part: number): number => delays.percentile(part) / 1e6;
const found: AppFound = {
  loopMicroseconds: loopUsed.user + loopUsed.system,
  processMicroseconds: allUsed.user + allUsed.system,
  seconds,
  droppedCount: isStock ? madeCount - exportedCount : 0,
  delayMs: { p50: percentile(50), p99: percentile(99), p999: percentile(99.9) },
};
console.log(JSON.stringify(found));
await audit?.shutdown();
await provider.shutdown();
