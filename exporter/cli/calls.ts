// SPDX-License-Identifier: Apache-2.0
/**
 * Which sealed spans of a trace are one and the same call of a model, told by two instrumentations or by a framework and the
 * client it uses: for counting and showing. All of them stay sealed, and what looks the same may still be two calls.
 */
import {
  ATTR_GEN_AI_OPERATION_NAME,
  ATTR_GEN_AI_REQUEST_MODEL,
  ATTR_GEN_AI_RESPONSE_ID,
  ATTR_GEN_AI_RESPONSE_MODEL,
} from '../../semconv/index.ts';

/** What has to be known of a span. */
export interface CallSpan {
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly scope: string;
  /** RFC 3339. */
  readonly start: string;
  readonly durationMs: number;
  /** Its attributes in one vocabulary. */
  readonly normalised: Readonly<Record<string, unknown>>;
}

/** Operations that call no model, whatever they contain. */
const NO_CALLS: ReadonlySet<string> = new Set([
  // One turn of an agent, in the telemetry of the Vercel SDK.
  'agent_step',
  'create_agent',
  'execute_tool',
  'fetch_response',
  'invoke_agent',
  'invoke_workflow',
  'plan',
  'retrieval',
  'run_guardrail',
]);
/** Names that instrumentations have for the same thing. */
const TEXT: ReadonlySet<string> = new Set(['chat', 'generate_content', 'text_completion']);

interface Call {
  readonly span: CallSpan;
  readonly operation: string | undefined;
  readonly models: readonly string[];
  readonly responseId: string | undefined;
  readonly startMs: number;
  readonly endMs: number;
  group: Call[];
}

/**
 * The calls that these spans of one trace tell of, each as its spans, the outermost and earliest first; in order of time.
 * Two spans are one call if one is the parent of the other, or both have one parent, two scopes and overlapping times; and
 * if both have the same response id, or, where one has none, the same model. A span has at most one of a kind like it.
 */
export function groupCalls<Span extends CallSpan>(spans: readonly Span[]): Span[][] {
  const all = spans.map(callOf).filter((call) => call !== undefined);
  // A span that was sent twice is sealed twice.
  const firsts = new Map<string, Call>();
  for (const call of all) {
    if (!firsts.has(call.span.spanId)) firsts.set(call.span.spanId, call);
  }
  const calls = [...firsts.values()];
  const pairs: { a: Call; b: Call; isNested: boolean; distance: number }[] = [];
  for (const [at, a] of calls.entries()) {
    for (const b of calls.slice(at + 1)) {
      if (!isAlike(a, b)) continue;
      const isNested = isChild(a, b) || isChild(b, a);
      if (!isNested && !isBeside(a, b)) continue;
      // The same id first, then what is nearest in time: of several tries, the one that answered in the end.
      const isSame = a.responseId !== undefined && a.responseId === b.responseId;
      const distance = Math.abs(a.startMs - b.startMs) + Math.abs(a.endMs - b.endMs);
      const ended = isNested ? Math.abs(a.endMs - b.endMs) : distance;
      pairs.push({ a, b, isNested, distance: isSame ? -1 : ended });
    }
  }
  pairs.sort((one, other) => one.distance - other.distance);
  for (const { a, b } of pairs) join(a, b);
  const groups = new Set(calls.map(({ group }) => group));
  return [...groups].map((group) =>
    group
      .sort(byPlace)
      .flatMap(({ span: { spanId } }) => all.filter(({ span }) => span.spanId === spanId))
      .map(({ span }) => span as Span),
  );
}

function callOf(span: CallSpan): Call | undefined {
  const { normalised } = span;
  const operation = textOf(normalised[ATTR_GEN_AI_OPERATION_NAME]);
  const models = [ATTR_GEN_AI_REQUEST_MODEL, ATTR_GEN_AI_RESPONSE_MODEL]
    .map((name) => textOf(normalised[name]))
    .filter((model) => model !== undefined)
    // Some write the provider or the kind of resource in front.
    .map((model) => model.slice(model.lastIndexOf('/') + 1).toLowerCase());
  const isCall = operation === undefined ? models.length > 0 : !isNoCall(operation);
  if (!isCall) return undefined;
  const startMs = Date.parse(span.start);
  const call: Call = {
    span,
    operation: operation !== undefined && TEXT.has(operation) ? 'text' : operation,
    models,
    responseId: textOf(normalised[ATTR_GEN_AI_RESPONSE_ID]),
    startMs,
    endMs: startMs + span.durationMs,
    group: [],
  };
  call.group.push(call);
  return call;
}

function isNoCall(operation: string): boolean {
  return NO_CALLS.has(operation) || operation.endsWith('_memory') || operation.endsWith('_store');
}

function isAlike(a: Call, b: Call): boolean {
  const hasOperations = a.operation !== undefined && b.operation !== undefined;
  if (hasOperations && a.operation !== b.operation) return false;
  if (a.responseId !== undefined && b.responseId !== undefined) {
    return a.responseId === b.responseId;
  }
  return a.models.some((model) => b.models.includes(model));
}

function isChild(parent: Call, child: Call): boolean {
  return parent.span.spanId === child.span.parentSpanId;
}

function isBeside(a: Call, b: Call): boolean {
  return (
    a.span.parentSpanId === b.span.parentSpanId &&
    a.span.scope !== b.span.scope &&
    a.startMs <= b.endMs &&
    b.startMs <= a.endMs
  );
}

/** Joins two groups, unless two spans of one instrumentation would stand side by side in what is one call. */
function join(a: Call, b: Call): void {
  if (a.group === b.group) return;
  const hasTwo = a.group.some(({ span: one }) =>
    b.group.some(
      ({ span: other }) => one.scope === other.scope && one.parentSpanId === other.parentSpanId,
    ),
  );
  if (hasTwo) return;
  const joined = [...a.group, ...b.group];
  for (const call of joined) call.group = joined;
}

/** Parents before their children, then by time. */
function byPlace(a: Call, b: Call): number {
  return depthOf(a) - depthOf(b) || a.startMs - b.startMs;
}

function depthOf(call: Call): number {
  let depth = 0;
  // Bounded, since spans of strangers can be each other's parents.
  for (let inner = call; depth < call.group.length; depth++) {
    const parent = call.group.find((other) => isChild(other, inner));
    if (parent === undefined) break;
    inner = parent;
  }
  return depth;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
