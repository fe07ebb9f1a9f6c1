// SPDX-License-Identifier: Apache-2.0
/**
 * How long after its end a span is durable, in an application that does some work and waits for nothing: the processor behind
 * an audit in mode `through` hears of a span when its record is on the disk, and looks at the clock.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { TracerProvider } from '@opentelemetry/sdk-trace';
import { attach, openAudit } from '../../../exporter/node/index.ts';
import { specification } from '../support/processes.ts';
import { randomOf, spanShapes } from '../support/spans.ts';

export interface LatencySpec {
  readonly dir: string;
  readonly mode: 'group' | 'sync';
  readonly callCount: number;
  /** Calls end at random, so many a second on average. */
  readonly rate: number;
}

const spec = specification<LatencySpec>();
const ended = new Map<string, number>();
const ms: number[] = [];
const provider = new TracerProvider({
  spanProcessors: [
    {
      onStart: () => {},
      onEnd: (span) => {
        const endMs = ended.get(span.spanContext().spanId);
        if (endMs !== undefined) ms.push(performance.now() - endMs);
      },
      forceFlush: () => Promise.resolve(),
      shutdown: () => Promise.resolve(),
    },
  ],
});
const audit = openAudit({
  dir: spec.dir,
  origin: 'bench/latency',
  mode: spec.mode,
  forwarding: 'through',
  archive: 'off',
});
const joined = attach(provider, audit.capture);
if (joined.status === 'refused') throw new Error(joined.reason);
const tracer = provider.getTracer('sealspan');
const shapes = spanShapes({ seed: 1, byteLength: 1024, content: 'off' }, 2);
const random = randomOf(2);

const call = (index: number, isCounted: boolean): void => {
  const { name, kind, atStart, atEnd } = shapes[index % shapes.length]!;
  const span = tracer.startSpan(name, { kind, attributes: atStart }, ROOT_CONTEXT);
  trace.setSpan(ROOT_CONTEXT, span);
  span.setAttributes(atEnd);
  if (isCounted) ended.set(span.spanContext().spanId, performance.now());
  span.end();
};

const WARM_COUNT = 100;
const startMs = performance.now();
let dueMs = startMs;
for (let index = 0; index < spec.callCount + WARM_COUNT; index++) {
  dueMs += (-Math.log(1 - random()) * 1000) / spec.rate;
  const waitMs = dueMs - performance.now();
  if (waitMs > 0) await delay(waitMs);
  call(index, index >= WARM_COUNT);
}
await audit.shutdown();
if (ms.length !== spec.callCount) throw new Error(`${ms.length} of ${spec.callCount} were sealed`);
console.log(JSON.stringify({ ms }));
