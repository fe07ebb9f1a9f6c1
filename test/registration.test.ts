// SPDX-License-Identifier: Apache-2.0
// Goal: each registered provider is seen before its first span, and the API behaves as if nobody looked. Method: the
// real API, in the copies 1.9 and 1.10 that the SDK lines bring, over one slot that is emptied between the tests.
import type { TracerProvider } from '@opentelemetry/api';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Registration, watchRegistration } from '../exporter/node/capture/registration.ts';
import { SDK_LINES, type SdkLine } from './support/sdk-lines.ts';

const SLOT = Symbol.for('opentelemetry.js.api.1');
const slots = globalThis as unknown as Record<symbol, Record<string, unknown> | undefined>;
let kept: Record<string, unknown> | undefined;
let watches: Registration[];

beforeEach(() => {
  kept = slots[SLOT];
  delete slots[SLOT];
  watches = [];
});

afterEach(() => {
  for (const watch of watches) watch.stop();
  for (const { api } of SDK_LINES) api.trace.disable();
  delete slots[SLOT];
  if (kept !== undefined) slots[SLOT] = kept;
});

function watch(seen: unknown[]): Registration {
  const registration = watchRegistration((provider) => seen.push(provider));
  watches.push(registration);
  return registration;
}

const openProvider = (line: SdkLine): TracerProvider =>
  line.openProvider({ spanProcessors: [line.simple(line.openExporter())] });

/** Whether a tracer got through this copy of the API records. */
const records = (line: SdkLine): boolean =>
  line.api.trace.getTracer('t').startSpan('s').isRecording();

test('watching registers nothing and claims no version', () => {
  watch([]);
  expect(slots[SLOT]).toBe(undefined);
  const line = SDK_LINES[0] as SdkLine;
  expect(line.api.trace.setGlobalTracerProvider(openProvider(line))).toBe(true);
  expect(slots[SLOT]?.version).toBe('1.9.0');
});

describe.each(SDK_LINES)('the API of an application on SDK $name', (line) => {
  const { trace } = line.api;

  test('registers after us: seen before the first span', () => {
    const seen: unknown[] = [];
    const registration = watch(seen);
    const tracer = trace.getTracer('taken before');
    expect(registration.isRegistered()).toBe(false);
    const provider = openProvider(line);
    expect(trace.setGlobalTracerProvider(provider)).toBe(true);
    expect(seen).toEqual([provider]);
    expect(registration.isRegistered()).toBe(true);
    expect(tracer.startSpan('s').isRecording()).toBe(true);
  });

  test('registered before us: seen at once', () => {
    const provider = openProvider(line);
    trace.setGlobalTracerProvider(provider);
    const seen: unknown[] = [];
    expect(watch(seen).isRegistered()).toBe(true);
    expect(seen).toEqual([provider]);
    expect(records(line)).toBe(true);
  });

  test('used and not registered before us: seen when it registers', () => {
    const proxy = trace.getTracerProvider();
    trace.getTracer('early').startSpan('s').end();
    line.api.propagation.setGlobalPropagator({ inject() {}, extract: (c) => c, fields: () => [] });
    const seen: unknown[] = [];
    const registration = watch(seen);
    expect(registration.isRegistered()).toBe(false);
    const provider = openProvider(line);
    expect(trace.setGlobalTracerProvider(provider)).toBe(true);
    expect(seen).toEqual([provider]);
    expect(trace.getTracerProvider()).toBe(proxy);
    line.api.propagation.disable();
  });

  test('disables and registers again: both are seen', () => {
    const seen: unknown[] = [];
    const registration = watch(seen);
    const [first, second] = [openProvider(line), openProvider(line)];
    trace.setGlobalTracerProvider(first);
    trace.disable();
    expect(registration.isRegistered()).toBe(false);
    expect(records(line)).toBe(false);
    expect(trace.setGlobalTracerProvider(second)).toBe(true);
    expect(seen).toEqual([first, second]);
    expect(records(line)).toBe(true);
  });

  test('refuses a second provider as it always did', () => {
    const seen: unknown[] = [];
    watch(seen);
    const first = openProvider(line);
    trace.setGlobalTracerProvider(first);
    expect(trace.setGlobalTracerProvider(openProvider(line))).toBe(false);
    expect(seen).toEqual([first]);
  });

  test('takes the place of a replaceable provider, once', async () => {
    const seen: unknown[] = [];
    const registration = watch(seen);
    const [ours, theirs] = [openProvider(line), openProvider(line)];
    registration.registerReplaceable(() => trace.setGlobalTracerProvider(ours));
    expect(records(line)).toBe(true);
    // Another registration in between must not leave the place open for whoever looks next.
    line.api.propagation.setGlobalPropagator({ inject() {}, extract: (c) => c, fields: () => [] });
    await Promise.resolve();
    expect(records(line)).toBe(true);
    expect(trace.setGlobalTracerProvider(theirs)).toBe(true);
    expect(seen).toEqual([ours, theirs]);
    expect(records(line)).toBe(true);
    expect(trace.setGlobalTracerProvider(openProvider(line))).toBe(false);
    expect(seen).toEqual([ours, theirs]);
    line.api.propagation.disable();
  });

  test('works after we stopped, and tells us nothing', () => {
    const seen: unknown[] = [];
    const registration = watch(seen);
    registration.stop();
    expect(trace.setGlobalTracerProvider(openProvider(line))).toBe(true);
    expect(records(line)).toBe(true);
    expect(seen).toEqual([]);
    expect(Object.getOwnPropertyDescriptor(slots[SLOT], 'trace')).toMatchObject({ writable: true });
  });

  test('registers although the watcher throws', () => {
    watches.push(
      watchRegistration(() => {
        throw new Error('ours');
      }),
    );
    expect(trace.setGlobalTracerProvider(openProvider(line))).toBe(true);
    expect(records(line)).toBe(true);
  });
});

test('what stands in the slot without a proxy is taken as the provider', () => {
  const seen: unknown[] = [];
  const provider = { getTracer: () => {} };
  watch(seen);
  slots[SLOT] = { version: '1.9.0' };
  slots[SLOT].trace = provider;
  expect(seen).toEqual([provider]);
});
