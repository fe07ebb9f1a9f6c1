// SPDX-License-Identifier: Apache-2.0
/**
 * The gateway's own numbers: by the OpenTelemetry metrics API for whoever registered a provider before, and as Prometheus
 * text for whoever asks. Numbers since this process started; evidence is what is sealed.
 */
import { type Counter, type Histogram, type Meter, metrics } from '@opentelemetry/api';
import type { OtlpKind } from '../otlp/otlp-config.ts';
import type { SealingStatus } from '../sealing/protocol.ts';
import { VERSION } from '../system/version.ts';

/** What is known only at the moment of asking. */
export interface Gauges {
  readonly inFlightByteLength: number;
  readonly isReady: boolean;
  /** Undefined where the sealing thread does not answer. */
  readonly sealing: SealingStatus | undefined;
}

export interface GatewayMetrics {
  received(kind: OtlpKind, itemCount: number): void;
  sealed(kind: OtlpKind, itemCount: number, durationMs: number): void;
  /** Acknowledged and left out by the filter. */
  skipped(kind: OtlpKind, itemCount: number): void;
  /** A request answered for good with no. */
  refused(cause: string): void;
  /** A request answered with "come again". */
  deferred(cause: string): void;
  /** Prometheus text format 0.0.4. */
  text(): Promise<string>;
  close(): void;
}

const BUCKETS_S: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10,
];

/** Counters by name, each with one label. */
const COUNTERS = {
  received: ['kind', 'Spans and log records that arrived whole.'],
  sealed: ['kind', 'Spans and log records that are durable in a record.'],
  skipped: ['kind', 'Spans and log records acknowledged, and left out by the filter.'],
  refused: ['cause', 'Requests refused for good.'],
  deferred: ['cause', 'Requests answered with: come again.'],
} as const;

type CounterName = keyof typeof COUNTERS;

/** Causes are codes of ours, so few; a bound all the same. */
const LABEL_COUNT_MAX = 200;

/** @param gauges asked when somebody looks; must not reject */
export function openGatewayMetrics(gauges: () => Promise<Gauges>): GatewayMetrics {
  const counts = new Map<CounterName, Map<string, number>>();
  const buckets = new Array<number>(BUCKETS_S.length + 1).fill(0);
  let sealCount = 0;
  let sealSumS = 0;

  const meter = metrics.getMeter('sealspan', VERSION);
  const counters = new Map<CounterName, Counter>();
  for (const [name, [, description]] of Object.entries(COUNTERS) as [
    CounterName,
    readonly [string, string],
  ][]) {
    counts.set(name, new Map());
    const unit = name === 'refused' || name === 'deferred' ? '{request}' : '{item}';
    counters.set(name, meter.createCounter(`sealspan.gateway.${name}`, { description, unit }));
  }
  const histogram: Histogram = meter.createHistogram('sealspan.gateway.seal.duration', {
    description: 'From the whole request to its durable record.',
    unit: 's',
    advice: { explicitBucketBoundaries: [...BUCKETS_S] },
  });
  const stopObserving = observe(meter, gauges);

  const count = (name: CounterName, label: string, value: number): void => {
    const values = counts.get(name)!;
    const key = values.has(label) || values.size < LABEL_COUNT_MAX ? label : 'other';
    values.set(key, (values.get(key) ?? 0) + value);
    counters.get(name)!.add(value, { [`sealspan.${COUNTERS[name][0]}`]: key });
  };

  return {
    received: (kind, itemCount) => count('received', kind, itemCount),
    skipped: (kind, itemCount) => count('skipped', kind, itemCount),
    refused: (cause) => count('refused', cause, 1),
    deferred: (cause) => count('deferred', cause, 1),
    sealed: (kind, itemCount, durationMs) => {
      count('sealed', kind, itemCount);
      const seconds = durationMs / 1000;
      const at = BUCKETS_S.findIndex((bound) => seconds <= bound);
      buckets[at < 0 ? BUCKETS_S.length : at]! += 1;
      sealCount++;
      sealSumS += seconds;
      histogram.record(seconds, { 'sealspan.kind': kind });
    },
    text: async () => {
      const lines: string[] = [];
      const family = (name: string, type: string, help: string): string => {
        lines.push(
          `# HELP sealspan_gateway_${name} ${help}`,
          `# TYPE sealspan_gateway_${name} ${type}`,
        );
        return `sealspan_gateway_${name}`;
      };
      for (const [name, values] of counts) {
        const [label, help] = COUNTERS[name];
        const full = family(`${name}_total`, 'counter', help);
        for (const [value, total] of values) lines.push(`${full}{${label}="${value}"} ${total}`);
      }
      const seal = family('seal_duration_seconds', 'histogram', 'From request to durable record.');
      let below = 0;
      for (const [at, bound] of BUCKETS_S.entries()) {
        below += buckets[at]!;
        lines.push(`${seal}_bucket{le="${bound}"} ${below}`);
      }
      lines.push(`${seal}_bucket{le="+Inf"} ${sealCount}`);
      lines.push(`${seal}_sum ${sealSumS}`, `${seal}_count ${sealCount}`);
      for (const [name, help, , value] of gaugesOf(await gauges())) {
        if (value !== undefined) lines.push(`${family(name, 'gauge', help)} ${value}`);
      }
      return `${lines.join('\n')}\n`;
    },
    close: stopObserving,
  };
}

type Gauge = readonly [name: string, help: string, unit: string, value: number | undefined];

function gaugesOf({ inFlightByteLength, isReady, sealing }: Gauges): readonly Gauge[] {
  const checkpointedAtMs = sealing?.checkpointedAtMs;
  return [
    ['in_flight_bytes', 'Bytes of requests being received or sealed.', 'By', inFlightByteLength],
    ['ready', '1 where requests are taken.', '1', isReady ? 1 : 0],
    ['log_records', 'Durable records of the log.', '{record}', sealing?.size],
    [
      'unsigned_records',
      'Durable records that no checkpoint covers yet.',
      '{record}',
      sealing && sealing.size - sealing.checkpointSize,
    ],
    [
      'checkpoint_age_seconds',
      'Age of the newest checkpoint.',
      's',
      checkpointedAtMs && Math.max(0, Date.now() - checkpointedAtMs) / 1000,
    ],
    [
      'forward_lag_records',
      'Durable records not forwarded.',
      '{record}',
      sealing?.forward?.behindBy,
    ],
    [
      'archive_lag_segments',
      'Finished segments not archived.',
      '{segment}',
      sealing?.archive?.behindBy,
    ],
  ];
}

/** The same gauges for the metrics API; returns what ends it. */
function observe(meter: Meter, gauges: () => Promise<Gauges>): () => void {
  const empty: Gauges = { inFlightByteLength: 0, isReady: false, sealing: undefined };
  const observables = gaugesOf(empty).map(([name, description, unit]) =>
    meter.createObservableGauge(`sealspan.gateway.${name.replaceAll('_', '.')}`, {
      description,
      unit,
    }),
  );
  const callback = async (result: {
    observe(metric: (typeof observables)[number], value: number): void;
  }): Promise<void> => {
    for (const [at, [, , , value]] of gaugesOf(await gauges()).entries()) {
      if (value !== undefined) result.observe(observables[at]!, value);
    }
  };
  meter.addBatchObservableCallback(callback, observables);
  return () => meter.removeBatchObservableCallback(callback, observables);
}
