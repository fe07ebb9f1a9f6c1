// SPDX-License-Identifier: Apache-2.0
/**
 * What people state about a request, a decision or an act of oversight reaches the spans it is about, whoever makes them.
 * It travels by the process's own context and never in headers, so a third party never sees it, nor does another process.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { createHmac } from 'node:crypto';
import { type Attributes, SpanKind, trace } from '@opentelemetry/api';
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
  readGovernanceAttributes,
  readOversight,
} from '../semconv/index.ts';
import { activeContext, currentTracer } from './otel-api.ts';
import {
  announceFirstSpan,
  countProblem,
  currentSettings,
  type GovernanceCall,
  guard,
} from './settings.ts';

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

/** One for all copies of us in a process: what a bundle states holds for the calls that hooks beside it tell of. */
const PLACE = Symbol.for('sealspan.governance.1');
const places = globalThis as Record<symbol, unknown>;
places[PLACE] ??= new AsyncLocalStorage();
const current = places[PLACE] as AsyncLocalStorage<Readonly<Record<string, AttributeValue>>>;

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

const NOTHING: Reading = { attributes: {}, problems: [] };
const VERSION: Attributes = { [ATTR_AIGOV_SCHEMA_VERSION]: AIGOV_SCHEMA_VERSION };

/**
 * The attributes that a governed span started here and now gets. The nearer to the call, the stronger: what holds for the
 * process, what other attributes mean, what the context states, what is known of the very call.
 */
export function governanceAttributesOf(call: GovernanceCall): Attributes {
  const { governance, governanceMap, governanceOf } = currentSettings();
  const stated = current.getStore();
  if (governanceMap.length === 0 && governanceOf === undefined) {
    return { ...VERSION, ...governance, ...stated };
  }
  const mapped = guard('governanceMap', () => readMapped(call)) ?? NOTHING;
  const known = readKnown(call);
  const told = stated?.[ATTR_AIGOV_INSTRUMENTATION_PROBLEMS];
  const problems = [...(Array.isArray(told) ? told : []), ...mapped.problems, ...known.problems];
  return {
    ...VERSION,
    ...governance,
    ...mapped.attributes,
    ...stated,
    ...known.attributes,
    ...(problems.length > 0 && { [ATTR_AIGOV_INSTRUMENTATION_PROBLEMS]: problems }),
  };
}

/** What the attributes of the call, or of the span that it is part of, mean. */
function readMapped({ attributes }: GovernanceCall): Reading {
  const active = property(trace.getSpan(activeContext()), 'attributes');
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const { from, to, pseudonymise } of currentSettings().governanceMap) {
    if (values[to] !== undefined) continue;
    const value = attributes[from] ?? property(active, from);
    if (value === undefined) {
      // A call within a call: what was taken for the outer one holds for the inner one.
      values[to] = property(active, to);
    } else if (pseudonymise) {
      values[to] = pseudonym(String(value));
      if (values[to] === undefined) problems.push(`governance.map.${from}: no digest key`);
    } else {
      values[to] = value;
    }
  }
  const reading = readGovernanceAttributes(values);
  problems.push(...reading.problems);
  if (problems.length > 0) countProblem('governanceMap');
  return { attributes: reading.attributes, problems };
}

let isAsking = false;

/** What the service knows of the call. */
function readKnown(call: GovernanceCall): Reading {
  const { governanceOf } = currentSettings();
  // A governed call that the function itself makes is not asked for, or there would be no end of it.
  if (governanceOf === undefined || isAsking) return NOTHING;
  isAsking = true;
  try {
    const values: unknown = governanceOf(call);
    if (values === undefined) return NOTHING;
    if (typeof property(values, 'then') === 'function') {
      Promise.resolve(values).catch(() => {});
      countProblem('governanceOf');
      return { attributes: {}, problems: ['governanceOf: gave a promise, and calls do not wait'] };
    }
    const reading = readGovernance(values);
    if (reading.problems.length > 0) countProblem('governanceOf');
    return reading;
  } catch {
    countProblem('governanceOf');
    return { attributes: {}, problems: ['governanceOf: threw'] };
  } finally {
    isAsking = false;
  }
}

/**
 * The pseudonym of a person or thing: a hash keyed with the digest key, the same wherever that key is used. Whoever has the
 * key can test a guess; destroying it leaves pseudonyms that lead to nobody. Undefined without a key.
 */
export function pseudonym(id: string): string | undefined {
  const { digestKey } = currentSettings();
  if (digestKey === undefined) return undefined;
  // Digests of content begin as JSON does, so neither can be taken for the other.
  const hash = createHmac('sha256', digestKey.key).update(`sealspan/pseudonym\0${id}`);
  return `hmac-sha256:${hash.digest('hex')}`;
}

/** A property of anything, or undefined. */
function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

/**
 * Puts the statements that hold here and now on a span that has just started. What the span says of itself stays.
 * Never throws. For whoever already knows that the span is governed, such as the capture.
 */
export function stampGovernance(span: RunningSpan): void {
  guard('stampGovernance', () => {
    const { name: spanName, attributes = {} } = span;
    // One of ours has them since before it started.
    if (attributes[ATTR_AIGOV_SCHEMA_VERSION] !== undefined) return;
    const call = { name: spanName, attributes: attributes as Attributes };
    for (const [name, value] of Object.entries(governanceAttributesOf(call))) {
      if (attributes[name] === undefined) span.setAttribute(name, value as AttributeValue);
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
    const here = governanceAttributesOf({ name, attributes });
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
