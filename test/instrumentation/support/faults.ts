// SPDX-License-Identifier: Apache-2.0
/** Providers whose parts throw when we use them, and work for everybody else. For showing that nobody else notices. */
import {
  INVALID_SPAN_CONTEXT,
  type Span,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';

/** `tracer` throws when a tracer is asked for, `start` when a span is started, `span` in every method of a span. */
export function faultyProvider(fault: string): TracerProvider {
  const silent = trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
  const tracer: Tracer = {
    startSpan: () => {
      if (fault === 'start') throw new Error('fault');
      return faultySpan(silent);
    },
    startActiveSpan: (...args: unknown[]) => {
      const work = args.at(-1) as (span: Span) => never;
      return work(silent);
    },
  };
  const others: Tracer = { ...tracer, startSpan: () => silent };
  return {
    getTracer: (name) => {
      if (name !== 'sealspan') return others;
      if (fault === 'tracer') throw new Error('fault');
      return tracer;
    },
  };
}

/** A span that says it records, so that all is tried on it, and throws at whatever is tried. */
function faultySpan(span: Span): Span {
  return new Proxy(span, {
    get: (_, name) => {
      if (name === 'isRecording') return () => true;
      return () => {
        throw new Error('fault');
      };
    },
  });
}
