// SPDX-License-Identifier: Apache-2.0
/**
 * What people state about a request, a decision or an act of oversight reaches the spans it is about, whoever makes them.
 * It travels by the process's own context and never in headers, so a third party never sees it, nor does another process.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { type Attributes, SpanKind } from '@opentelemetry/api';
import {
  AIGOV_SCHEMA_VERSION,
  ATTR_AIGOV_INSTRUMENTATION_PROBLEMS,
  ATTR_AIGOV_SCHEMA_VERSION,
  type AttributeValue,
  type Decision,
  type Governance,
  isGoverned,
  type Oversight,
  type Reading,
  readDecision,
  readGovernance,
  readOversight,
} from '../semconv/index.ts';
import { currentTracer } from './otel-api.ts';
import { announceFirstSpan, countProblem, currentSettings, guard } from './settings.ts';

/** Scope of every span of ours. */
export const SCOPE_NAME = 'sealspan';

/** A span that has been recorded; what `sealspan show` and backends find it by. */
export interface RecordedSpan {
  readonly traceId: string;
  readonly spanId: string;
}

/** A span that is running, of any SDK version. */
export interface RunningSpan {
  readonly name?: string;
  readonly attributes?: Readonly<Record<string, unknown>>;
  /** SDK 2 and 3. */
  readonly instrumentationScope?: { readonly name?: string | undefined } | undefined;
  /** SDK 1. */
  readonly instrumentationLibrary?: { readonly name?: string | undefined } | undefined;
  setAttribute(key: string, value: AttributeValue): unknown;
}

/** A span processor of any SDK version. */
export interface GovernanceProcessor {
  onStart(span: RunningSpan, parentContext?: unknown): void;
  onEnd(span: unknown): void;
  forceFlush(): Promise<void>;
  shutdown(): Promise<void>;
}

const current = new AsyncLocalStorage<Readonly<Record<string, AttributeValue>>>();

/**
 * Runs `work` with statements that every governed span started within it carries, across `await` as well. Calls nest: an
 * inner one adds to the outer and replaces only the values it names. What is not valid is left out, stated on
 * those spans by name, and counted; it never throws for the sake of `values`.
 */
export function withGovernance<Result>(values: Governance, work: () => Result): Result {
  const { attributes, problems } = readGovernance(values);
  const merged: Record<string, AttributeValue> = { ...current.getStore(), ...attributes };
  if (problems.length > 0) {
    countProblem('withGovernance');
    merged[ATTR_AIGOV_INSTRUMENTATION_PROBLEMS] = [...problems];
  }
  return current.run(merged, work);
}

/** The attributes that a governed span started here and now gets. */
export function governanceAttributesHere(): Attributes {
  return {
    [ATTR_AIGOV_SCHEMA_VERSION]: AIGOV_SCHEMA_VERSION,
    ...currentSettings().governance,
    ...current.getStore(),
  };
}

/**
 * Puts the statements that hold here and now on a span that has just started. What the span says of itself stays.
 * Never throws. For whoever already knows that the span is governed, such as the capture.
 */
export function stampGovernance(span: RunningSpan): void {
  guard('stampGovernance', () => {
    const { attributes } = span;
    for (const [name, value] of Object.entries(governanceAttributesHere())) {
      if (attributes?.[name] === undefined) span.setAttribute(name, value as AttributeValue);
    }
  });
}

/** A span processor that stamps every governed span; for providers that no capture is attached to. */
export function governanceProcessor(): GovernanceProcessor {
  return {
    onStart(span) {
      guard('governanceProcessor', () => {
        const scope = span.instrumentationScope ?? span.instrumentationLibrary;
        const { name, attributes } = span;
        if (isGoverned({ scopeName: scope?.name, spanName: name, attributes }))
          stampGovernance(span);
      });
    },
    onEnd() {},
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
}

/**
 * Records a decision made by or with a model, as a child of the span that is active. What is not valid is left out and
 * stated on the span. Never throws; undefined if nobody records spans, which is counted.
 */
export function decision(values: Decision): RecordedSpan | undefined {
  return recordStatement('decision', () => readDecision(values));
}

/** Records what a person did about a decision or a running system; otherwise as {@link decision}. */
export function oversight(values: Oversight): RecordedSpan | undefined {
  return recordStatement('oversight', () => readOversight(values));
}

function recordStatement(name: string, read: () => Reading): RecordedSpan | undefined {
  return guard(name, () => {
    const { attributes, problems } = read();
    const here = governanceAttributesHere();
    const told = here[ATTR_AIGOV_INSTRUMENTATION_PROBLEMS];
    const all = [...(Array.isArray(told) ? (told as string[]) : []), ...problems];
    if (problems.length > 0) countProblem(name);
    announceFirstSpan();
    const span = currentTracer(SCOPE_NAME).startSpan(name, {
      kind: SpanKind.INTERNAL,
      attributes: {
        ...here,
        ...attributes,
        ...(all.length > 0 && { [ATTR_AIGOV_INSTRUMENTATION_PROBLEMS]: all }),
      },
    });
    const isRecording = span.isRecording();
    span.end();
    if (!isRecording) {
      countProblem(`${name}.notRecorded`);
      return undefined;
    }
    const { traceId, spanId } = span.spanContext();
    return { traceId, spanId };
  });
}
