// SPDX-License-Identifier: Apache-2.0
/** Keeps spans as plain data, in the order they end. Keeps nothing of the SDK's objects. */
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import type { NodeSDKConfiguration } from '@opentelemetry/sdk-node';

type Processor = NonNullable<NodeSDKConfiguration['spanProcessors']>[number];

export interface Recorded {
  readonly name: string;
  readonly kind: string;
  readonly scope: string;
  readonly status: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** The attributes spans had when they started, by span id: what samplers see. */
export const started: Map<string, Readonly<Record<string, unknown>>> = new Map();
export const ended: Recorded[] = [];

export const recorder: Processor = {
  onStart(span) {
    started.set(span.spanContext().spanId, { ...span.attributes });
  },
  onEnd(span) {
    const { traceId, spanId } = span.spanContext();
    ended.push({
      name: span.name,
      kind: SpanKind[span.kind] ?? '',
      scope: span.instrumentationScope.name,
      status: SpanStatusCode[span.status.code] ?? '',
      traceId,
      spanId,
      parentSpanId: span.parentSpanContext?.spanId,
      attributes: { ...span.attributes },
    });
  },
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};
