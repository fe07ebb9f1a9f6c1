// SPDX-License-Identifier: Apache-2.0
// Goal: the same numbers by the metrics API and as Prometheus text. Method: the stock SDK as provider, and the whole text, read
// by a strict reader of its own.
import { metrics } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { afterEach, describe, expect, test } from 'vitest';
import { type Gauges, openGatewayMetrics } from '../exporter/node/gateway/gateway-metrics.ts';
import { parsePrometheus } from './support/prometheus.ts';

afterEach(() => metrics.disable());

const IDLE: Gauges = { inFlightByteLength: 0, isReady: true, sealing: undefined };
const BUSY: Gauges = {
  inFlightByteLength: 4096,
  isReady: false,
  sealing: {
    size: 12,
    checkpointSize: 10,
    checkpointedAtMs: undefined,
    forward: undefined,
    archive: {
      state: 'idle',
      archivedCount: 3,
      behindBy: 2,
      failureCount: 0,
      cause: undefined,
    },
  },
};

function count(gauges: Gauges) {
  const numbers = openGatewayMetrics(async () => gauges);
  numbers.received('traces', 10);
  numbers.received('logs', 1);
  numbers.skipped('traces', 4);
  numbers.sealed('traces', 6, 3);
  numbers.sealed('logs', 1, 20_000);
  numbers.refused('otlp.truncated');
  numbers.refused('otlp.truncated');
  numbers.deferred('full');
  return numbers;
}

/** Samples by name and labels, as a scraper reads them. */
function samplesOf(text: string): Record<string, number> {
  const samples = [...parsePrometheus(text).values()].flatMap((family) =>
    Object.entries(family.samples),
  );
  return Object.fromEntries(
    samples.map(([name, value]) => [name.replace('sealspan_gateway_', ''), value]),
  );
}

describe('the reader of this test', () => {
  const help = '# HELP a_total x\n# TYPE a_total counter\n';
  const histogram = '# HELP h x\n# TYPE h histogram\n';
  test.each([
    ['a_total 1', /no end/],
    ['a_total 1\n', /without a family/],
    ['# TYPE a_total counter\n', /without help/],
    ['# HELP a_total x\n# TYPE a_total number\n', /no type/],
    [`${help}b_total 1\n`, /of another family/],
    [`${help}a_total{x="1} 1\n`, /no label/],
    [`${help}a_total{x="1",} 1\n`, /no label/],
    [`${help}a_total{x="\\a"} 1\n`, /no label/],
    [`${help}a_total one\n`, /no value/],
    [`${help}a_total 1\na_total 2\n`, /stands twice/],
    [`${help}a_total -1\n`, /below zero/],
    [help + help, /stands twice/],
    [`${histogram}h_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_count 1\n`, /no histogram/],
    [`${histogram}h_bucket{le="1"} 1\nh_count 1\n`, /no histogram/],
  ])('refuses %j', (text, message) => {
    expect(() => parsePrometheus(text)).toThrow(message);
  });
});

test('Prometheus text', async () => {
  const idle = samplesOf(await openGatewayMetrics(async () => IDLE).text());
  expect(idle).toMatchObject({
    in_flight_bytes: 0,
    ready: 1,
    seal_duration_seconds_count: 0,
  });
  expect(Object.keys(idle)).not.toContain('log_records');

  expect(samplesOf(await count(BUSY).text())).toEqual({
    'received_total{kind="traces"}': 10,
    'received_total{kind="logs"}': 1,
    'sealed_total{kind="traces"}': 6,
    'sealed_total{kind="logs"}': 1,
    'skipped_total{kind="traces"}': 4,
    'refused_total{cause="otlp.truncated"}': 2,
    'deferred_total{cause="full"}': 1,
    ...Object.fromEntries(
      ['0.001', '0.0025'].map((le) => [`seal_duration_seconds_bucket{le="${le}"}`, 0]),
    ),
    ...Object.fromEntries(
      ['0.005', '0.01', '0.025', '0.05', '0.1', '0.25', '1', '2.5', '10'].map((le) => [
        `seal_duration_seconds_bucket{le="${le}"}`,
        1,
      ]),
    ),
    'seal_duration_seconds_bucket{le="+Inf"}': 2,
    seal_duration_seconds_sum: 20.003,
    seal_duration_seconds_count: 2,
    in_flight_bytes: 4096,
    ready: 0,
    log_records: 12,
    unsigned_records: 2,
    archive_lag_segments: 2,
  });
});

test('the age of a checkpoint is the time since it was signed', async () => {
  const sealing = { ...BUSY.sealing!, checkpointedAtMs: Date.now() - 5000 };
  const text = await openGatewayMetrics(async () => ({ ...BUSY, sealing })).text();
  expect(samplesOf(text).checkpoint_age_seconds).toBeGreaterThanOrEqual(5);
});

test('the metrics API, with the stock SDK', async () => {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const provider = new MeterProvider({ readers: [reader] });
  metrics.setGlobalMeterProvider(provider);
  const numbers = count(BUSY);
  await provider.forceFlush();
  numbers.close();
  const found = exporter
    .getMetrics()
    .flatMap(({ scopeMetrics }) => scopeMetrics)
    .flatMap(({ metrics: list }) => list)
    .flatMap(({ descriptor, dataPoints }) =>
      dataPoints.map(({ attributes, value }) => [
        descriptor.name.replace('sealspan.gateway.', ''),
        Object.values(attributes).join(),
        typeof value === 'number' ? value : (value as { count: number }).count,
      ]),
    );
  expect(found.sort()).toEqual(
    [
      ['received', 'traces', 10],
      ['received', 'logs', 1],
      ['sealed', 'traces', 6],
      ['sealed', 'logs', 1],
      ['skipped', 'traces', 4],
      ['refused', 'otlp.truncated', 2],
      ['deferred', 'full', 1],
      ['seal.duration', 'traces', 1],
      ['seal.duration', 'logs', 1],
      ['in.flight.bytes', '', 4096],
      ['ready', '', 0],
      ['log.records', '', 12],
      ['unsigned.records', '', 2],
      ['archive.lag.segments', '', 2],
    ].sort(),
  );
  await provider.shutdown();
});

test('labels without end do not fill the memory', async () => {
  const numbers = openGatewayMetrics(async () => IDLE);
  for (let at = 0; at < 1000; at++) numbers.refused(`cause-${at}`);
  const refused = Object.entries(samplesOf(await numbers.text())).filter(([name]) =>
    name.startsWith('refused'),
  );
  expect(refused.length).toBe(201);
  expect(refused.at(-1)).toEqual(['refused_total{cause="other"}', 800]);
});
