// SPDX-License-Identifier: Apache-2.0
/**
 * A service on the Node SDK that makes traces on command and knows which of its spans were acknowledged: stdin takes a
 * number of traces a line, stdout answers each acknowledged batch with the total so far, IDS_FILE gets the spans.
 * Sends what failed again until it is taken, since the stock exporter tries once; so nothing it names can be excused.
 */
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { type Attributes, context, SpanKind, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { BatchSpanProcessor, type ReadableSpan, type SpanExporter } from '@opentelemetry/sdk-trace';

const idsFile = process.env.IDS_FILE ?? '';
const IN_FLIGHT_MAX = 1000;
let made = 0;
let acknowledged = 0;

const isGoverned = (span: ReadableSpan): boolean =>
  Object.keys(span.attributes).some((key) => /^(gen_ai|openinference|aigov)\./.test(key));

const otlp = new OTLPTraceExporter();
const untilTaken: SpanExporter = {
  export: (spans, callback) => {
    const attempt = (): void =>
      otlp.export(spans, (result) => {
        if (result.code !== 0) {
          setTimeout(attempt, 200);
          return;
        }
        const lines = spans.map(
          (span) =>
            `${span.spanContext().traceId} ${span.spanContext().spanId} ${isGoverned(span) ? 1 : 0}\n`,
        );
        appendFileSync(idsFile, lines.join(''));
        acknowledged += spans.length;
        console.log(acknowledged);
        callback(result);
      });
    attempt();
  },
  shutdown: () => otlp.shutdown(),
};

const sdk = new NodeSDK({
  serviceName: process.env.OTEL_SERVICE_NAME ?? 'node',
  autoDetectResources: false,
  instrumentations: [],
  spanProcessors: [
    new BatchSpanProcessor({
      exporter: untilTaken,
      scheduledDelayMillis: 100,
      exportTimeoutMillis: 600_000,
    }),
  ],
});
sdk.start();
const tracer = trace.getTracer('shop');

const CHILDREN: readonly (readonly [name: string, kind: SpanKind, attributes: Attributes])[] = [
  ['SELECT products', SpanKind.CLIENT, { 'db.system.name': 'postgresql', 'db.namespace': 'shop' }],
  [
    'chat gpt-fake',
    SpanKind.CLIENT,
    {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'openai',
      'gen_ai.request.model': 'gpt-fake',
      'gen_ai.usage.input_tokens': 12,
      'gen_ai.response.finish_reasons': ['stop'],
    },
  ],
  ['retrieve', SpanKind.INTERNAL, { 'openinference.span.kind': 'RETRIEVER' }],
  ['decide', SpanKind.INTERNAL, { 'aigov.decision.outcome': 'granted' }],
];

function makeTrace(): void {
  const root = tracer.startSpan('POST /answer', {
    kind: SpanKind.SERVER,
    attributes: { 'http.request.method': 'POST', 'http.route': '/answer' },
  });
  const inRoot = trace.setSpan(context.active(), root);
  for (const [name, kind, attributes] of CHILDREN) {
    tracer.startSpan(name, { kind, attributes }, inRoot).end();
  }
  root.end();
  made += CHILDREN.length + 1;
}

for await (const line of createInterface({ input: process.stdin })) {
  for (let left = Number(line); left > 0; left--) {
    makeTrace();
    while (made - acknowledged > IN_FLIGHT_MAX) await delay(5);
  }
}
while (acknowledged < made) await delay(20);
await sdk.shutdown();
