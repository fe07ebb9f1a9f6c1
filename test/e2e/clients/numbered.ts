// SPDX-License-Identifier: Apache-2.0
/**
 * A service on the stock SDK whose calls are numbered and sealed elsewhere: for each number on stdin it makes so many calls,
 * one trace each, and says how many it has made. At the end it shuts its SDK down, as services do.
 */
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

process.env.SEALSPAN_MODE = 'remote';
process.env.SEALSPAN_HEARTBEAT_MS = '1000';
process.env.SEALSPAN_DIR = join(dirname(process.env.IDS_FILE ?? '.'), 'keys');
await import('../../../instrumentation/register.ts');
const { trace } = await import('@opentelemetry/api');
const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-grpc');
const { NodeSDK } = await import('@opentelemetry/sdk-node');
const { BatchSpanProcessor } = await import('@opentelemetry/sdk-trace');

const exporter = new OTLPTraceExporter();
const sdk = new NodeSDK({
  // Small batches: what is lost on the way is then lost here and there.
  spanProcessors: [
    new BatchSpanProcessor({ exporter, scheduledDelayMillis: 50, maxExportBatchSize: 10 }),
  ],
  metricReaders: [],
});
sdk.start();
const tracer = trace.getTracer('app');
let made = 0;

for await (const line of createInterface({ input: process.stdin })) {
  for (let left = Number(line); left > 0; left--) {
    tracer.startSpan('chat', { attributes: { 'gen_ai.operation.name': 'chat' } }).end();
    made++;
    // The queue of the SDK holds 2,048: nothing is to be lost in here.
    if (made % 100 === 0) await delay(100);
  }
  process.stdout.write(`${made}\n`);
}
await sdk.shutdown();
