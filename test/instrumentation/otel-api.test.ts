// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: our spans go to the provider that is registered, whichever copy of the API registered it.
 * Method: an older API with its own SDK registers; ours, which by itself would see none, then starts spans.
 */
import { createRequire } from 'node:module';
import { context, trace } from '@opentelemetry/api';
import { afterEach, describe, expect, it } from 'vitest';
import { decision } from '../../instrumentation/governance.ts';
import { governedModel } from '../../instrumentation/model.ts';
import {
  activeContext,
  currentContextManager,
  currentTracer,
  withContext,
} from '../../instrumentation/otel-api.ts';
import { SDK_LINES } from '../support/sdk-lines.ts';

/** What an application on another copy of the API has. */
const COPIES: readonly (readonly [name: string, line: string, from: string])[] = [
  ['an older API, with SDK 1.30', '1.30', '../apps/otel-1/package.json'],
  ['an older API, with SDK 2', '2', '../apps/otel-2/package.json'],
  ['the CommonJS copy of the same API, with SDK 3', '3', '../../package.json'],
];

interface ContextModule {
  readonly AsyncLocalStorageContextManager: new () => never;
}

describe.each(COPIES)('with %s', (_, lineName, from) => {
  const require = createRequire(new URL(from, import.meta.url));
  const api = require('@opentelemetry/api') as typeof import('@opentelemetry/api');
  const { AsyncLocalStorageContextManager } =
    require('@opentelemetry/context-async-hooks') as ContextModule;
  const line = SDK_LINES.find(({ name }) => name.startsWith(lineName));
  if (line === undefined) throw new Error(`no SDK ${lineName}`);

  afterEach(() => {
    api.trace.disable();
    api.context.disable();
    // What stays of a copy keeps every other one out.
    delete (globalThis as Record<symbol, unknown>)[Symbol.for('opentelemetry.js.api.1')];
  });

  it('spans are recorded, and nest in those of the application', async () => {
    const exporter = line.openExporter();
    const provider = line.openProvider({ spanProcessors: [line.simple(exporter)] });
    api.trace.setGlobalTracerProvider(provider as never);
    api.context.setGlobalContextManager(new AsyncLocalStorageContextManager());
    const score = governedModel({ model: 'scorer' }, () => decision({ id: 'd-1', outcome: 'yes' }));
    const result = api.trace.getTracer('app').startActiveSpan('request', (span) => {
      try {
        return score();
      } finally {
        span.end();
      }
    });
    await provider.forceFlush();
    const spans = exporter.getFinishedSpans();
    const idOf = (name: string) => spans.find((span) => span.name === name)?.spanContext().spanId;
    const parentOf = (name: string) => {
      const span = spans.find((one) => one.name === name);
      return span?.parentSpanContext?.spanId ?? (span as { parentSpanId?: string }).parentSpanId;
    };
    expect(spans.map(({ name }) => name)).toEqual(['decision', 'predict scorer', 'request']);
    expect(parentOf('predict scorer')).toBe(idOf('request'));
    expect(parentOf('decision')).toBe(idOf('predict scorer'));
    expect(result).toMatchObject({ spanId: idOf('decision') });
  });
});

describe('with nothing registered', () => {
  it('work goes on, and nobody records', () => {
    trace.disable();
    context.disable();
    expect(currentContextManager()).toBeUndefined();
    expect(withContext(activeContext(), () => 7)).toBe(7);
    const span = currentTracer('sealspan').startSpan('call');
    expect(span.isRecording()).toBe(false);
  });
});
