// SPDX-License-Identifier: Apache-2.0
/**
 * Sends OTLP requests made beforehand to one receiver, so many at a time or at a rate, until each was acknowledged.
 * What is refused for now is sent again after a moment; what is refused for good ends the process.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { openOtlpClient } from '../../../exporter/node/otlp/otlp-client.ts';
import { specification } from '../support/processes.ts';
import { otlpRequests, type SpanStyle } from '../support/spans.ts';

export interface LoadSpec {
  readonly endpoint: string;
  readonly protocol: 'grpc' | 'http/protobuf';
  readonly style: SpanStyle;
  /** Spans of each request. */
  readonly spanCount: number;
  readonly requestCount: number;
  readonly inFlight: number;
  /** Spans a second; as fast as it goes unless given. */
  readonly rate?: number;
}

export interface LoadFound {
  readonly spans: number;
  readonly seconds: number;
  readonly retries: number;
}

/** Distinct requests: enough that no window of a compressor holds one twice. */
const DISTINCT_COUNT = 48;
const RETRY_DELAY_MS = 20;

const spec = specification<LoadSpec>();
const distinct = Math.min(spec.requestCount, DISTINCT_COUNT);
const requests = otlpRequests(spec.style, distinct, spec.spanCount);
const client = openOtlpClient({
  protocol: spec.protocol,
  endpoint: spec.endpoint,
  compression: 'none',
});
let next = 0;
let retries = 0;
const startMs = performance.now();

async function sendAll(): Promise<void> {
  while (next < spec.requestCount) {
    const index = next++;
    if (spec.rate !== undefined) {
      const dueMs = startMs + (index * spec.spanCount * 1000) / spec.rate;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) await delay(waitMs);
    }
    for (;;) {
      const outcome = await client.send(requests[index % distinct]!, 'traces');
      if (outcome.status === 'ok') break;
      if (outcome.status !== 'retryable') throw new Error(JSON.stringify(outcome));
      retries++;
      await delay(outcome.afterMs ?? RETRY_DELAY_MS);
    }
  }
}

await Promise.all(Array.from({ length: spec.inFlight }, sendAll));
const found: LoadFound = {
  spans: spec.requestCount * spec.spanCount,
  seconds: (performance.now() - startMs) / 1000,
  retries,
};
client.close();
console.log(JSON.stringify(found));
