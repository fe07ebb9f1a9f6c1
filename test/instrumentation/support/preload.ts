// SPDX-License-Identifier: Apache-2.0
/**
 * Loaded before an application: an SDK whose spans are kept in memory, and our hooks, or with `EXPLICIT=true` what watches
 * single clients. Stands in for `register`, which also seals.
 */
import { trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import {
  configureInstrumentation,
  coverage,
  instrument,
  instrumentationStats,
} from '../../../instrumentation/index.ts';
import { installHooks } from '../../../instrumentation/install-hooks.ts';
import { faultyProvider } from './faults.ts';
import { ended, recorder, started } from './recorder.ts';

const fault = process.env.FAULT;
if (fault === undefined || fault === 'each') {
  new NodeSDK({
    spanProcessors: [recorder],
    metricReaders: [],
    autoDetectResources: false,
  }).start();
} else {
  trace.setGlobalTracerProvider(faultyProvider(fault));
}
configureInstrumentation({
  digestKey: { id: 'test-1', secret: new Uint8Array(32).fill(7) },
});
const isExplicit = process.env.EXPLICIT === 'true';
const loader = process.env.LOADER;
if (!isExplicit) installHooks(loader === 'sync' || loader === 'async' ? { loader } : {});

Object.assign(globalThis, {
  sealspanTest: {
    spans: ended,
    started,
    instrument: isExplicit ? instrument : undefined,
    openCount: () => instrumentationStats().open,
    problems: () => instrumentationStats().problems,
    report: () => ({
      coverage: coverage(),
      stats: instrumentationStats(),
      started: Object.fromEntries(started),
    }),
  },
});
