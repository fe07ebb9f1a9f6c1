// SPDX-License-Identifier: Apache-2.0
/**
 * One started call of a model, from its span's start to exactly one terminal state (invariant 8), whatever the SDK.
 * Nothing in here throws into the application (invariant 7). What the process was doing when it died is not seen here.
 */
import {
  type Attributes,
  type Context,
  INVALID_SPAN_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import {
  AIGOV_INVOCATION_COMPLETION_VALUE_ABANDONED,
  AIGOV_INVOCATION_COMPLETION_VALUE_ABORTED,
  AIGOV_INVOCATION_COMPLETION_VALUE_COMPLETE,
  AIGOV_INVOCATION_COMPLETION_VALUE_ERROR,
  AIGOV_INVOCATION_DETAIL_VALUE_BREAK,
  AIGOV_INVOCATION_DETAIL_VALUE_CONNECTION,
  AIGOV_INVOCATION_DETAIL_VALUE_SIGNAL,
  AIGOV_INVOCATION_DETAIL_VALUE_TIMEOUT,
  AIGOV_INVOCATION_DETAIL_VALUE_TRUNCATED,
  AIGOV_INVOCATION_DETAIL_VALUE_UNREAD,
  AIGOV_OUTPUT_ABSENCE_VALUE_INCOMPLETE,
  ATTR_AIGOV_INVOCATION_COMPLETION,
  ATTR_AIGOV_INVOCATION_DETAIL,
  ATTR_ERROR_TYPE,
  ATTR_GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
} from '../semconv/index.ts';
import { absentOutput, type Input, inputAttributes } from './content.ts';
import { governanceAttributesOf, SCOPE_NAME } from './governance.ts';
import { activeContext, currentTracer } from './otel-api.ts';
import { countEnd, countStart, currentSettings, guard } from './settings.ts';

/** What is known of a call before it is made. */
export interface InvocationStart {
  /** Name of the span. */
  readonly name: string;
  /** CLIENT unless given; INTERNAL for a model in this process. */
  readonly kind?: SpanKind;
  /** Set when the span starts, so that samplers see them: operation, provider, model, server, parameters. */
  readonly attributes: Attributes;
  /** Asked for at once, if any of it is kept. */
  readonly input?: () => Input;
}

/** How a call ended. */
export interface Ending {
  readonly completion: 'complete' | 'error' | 'aborted' | 'abandoned';
  readonly detail?: string;
  readonly errorType?: string;
  readonly statusCode?: number;
}

/** What an SDK module gathers of an answer. Its methods may throw; that is counted and costs only what they would have told. */
export interface Answer {
  /** Takes the next chunk of a streamed answer. */
  chunk(value: unknown): void;
  /** Takes an answer that came in one piece. */
  whole(value: unknown): void;
  /** Whether the answer has said that it is at its end. */
  readonly isFinished: boolean;
  /** What the answer itself reports as failure: an error type of few values. */
  readonly failure: string | undefined;
  /** Attributes of what came, digests included; undefined if nothing came. Asked for once, at the end. */
  attributes(): Attributes | undefined;
}

export const COMPLETE: Ending = { completion: AIGOV_INVOCATION_COMPLETION_VALUE_COMPLETE };
export const UNREAD: Ending = {
  completion: AIGOV_INVOCATION_COMPLETION_VALUE_ABANDONED,
  detail: AIGOV_INVOCATION_DETAIL_VALUE_UNREAD,
};
/** Reading began and was dropped, or the answer can not be watched: neither must look complete. */
export const DROPPED: Ending = { completion: AIGOV_INVOCATION_COMPLETION_VALUE_ABANDONED };
const FORGOTTEN: Ending = {
  completion: AIGOV_INVOCATION_COMPLETION_VALUE_ABANDONED,
  detail: AIGOV_INVOCATION_DETAIL_VALUE_TIMEOUT,
};
export const BROKEN_OFF: Ending = {
  completion: AIGOV_INVOCATION_COMPLETION_VALUE_ABORTED,
  detail: AIGOV_INVOCATION_DETAIL_VALUE_BREAK,
};
const SIGNALLED: Ending = {
  completion: AIGOV_INVOCATION_COMPLETION_VALUE_ABORTED,
  detail: AIGOV_INVOCATION_DETAIL_VALUE_SIGNAL,
};
const UNTOLD: Ending = {
  completion: AIGOV_INVOCATION_COMPLETION_VALUE_ERROR,
  errorType: '_OTHER',
};
export const TRUNCATED: Ending = {
  completion: AIGOV_INVOCATION_COMPLETION_VALUE_ERROR,
  detail: AIGOV_INVOCATION_DETAIL_VALUE_TRUNCATED,
  errorType: 'truncated',
};
const TIMED_OUT: Ending = {
  completion: AIGOV_INVOCATION_COMPLETION_VALUE_ERROR,
  detail: AIGOV_INVOCATION_DETAIL_VALUE_TIMEOUT,
  errorType: 'timeout',
};

/** In place of an answer that has been told. */
const TOLD: Answer = {
  chunk: () => {},
  whole: () => {},
  isFinished: true,
  failure: undefined,
  attributes: () => undefined,
};

/** Calls without a terminal state. Holds no object of an SDK, so what the application drops can be collected. */
const open = new Set<Invocation>();
let sweep: { readonly timer: NodeJS.Timeout; readonly delayMs: number } | undefined;
const collected = new FinalizationRegistry<() => void>((listener) => {
  guard('invocation.collected', listener);
});

/** One call of a model. It MUST NOT be given anything that refers to the SDK's promise or stream: see {@link whenCollected}. */
export class Invocation {
  readonly span: Span;
  /** The context of the call, with its span active; undefined if it can not be had, and then nothing nests. */
  readonly context: Context | undefined;
  private answer: Answer;
  private readonly startedMs: number = performance.now();
  private progressMs: number = this.startedMs;
  private hasEnded = false;
  private sawChunk = false;

  constructor(span: Span, callContext: Context | undefined, answer: Answer) {
    this.span = span;
    this.context = callContext;
    this.answer = answer;
  }

  get isOpen(): boolean {
    return !this.hasEnded;
  }

  /** Milliseconds since anything happened. */
  get idleMs(): number {
    return performance.now() - this.progressMs;
  }

  /** Says that the call is alive. */
  progress(): void {
    this.progressMs = performance.now();
  }

  /** Adds attributes while the call runs. */
  annotate(attributes: Attributes): void {
    if (!this.hasEnded) guard('invocation.annotate', () => this.span.setAttributes(attributes));
  }

  chunk(value: unknown): void {
    if (this.hasEnded) return;
    this.progress();
    if (!this.sawChunk) {
      this.sawChunk = true;
      const seconds = (this.progressMs - this.startedMs) / 1000;
      this.annotate({ [ATTR_GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK]: seconds });
    }
    guard('answer.chunk', () => this.answer.chunk(value));
  }

  /** Ends the call with an answer that came in one piece. */
  endWhole(value: unknown): void {
    if (this.hasEnded) return;
    guard('answer.whole', () => this.answer.whole(value));
    this.end(COMPLETE);
  }

  /** Ends a stream that ran out: `fallback` holds if the answer never said that it was at its end. */
  endStream(isFinished: boolean, fallback: Ending = TRUNCATED): void {
    const finished = isFinished || guard('answer.isFinished', () => this.answer.isFinished);
    this.end(finished === true ? COMPLETE : fallback);
  }

  /** Ends the call with an error, told as {@link errorEnding} says unless given, and as `_OTHER` if that fails. */
  endError(
    error: unknown,
    signals: Signals = [],
    endingOf: (error: unknown, signals: Signals) => Ending = errorEnding,
  ): void {
    if (this.hasEnded) return;
    this.end(guard('invocation.classify', () => endingOf(error, signals)) ?? UNTOLD);
  }

  /** The terminal state. The first one stands; whatever comes later is not heard. */
  end(ending: Ending, attributes?: Attributes): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    open.delete(this);
    const failure = guard('answer.failure', () => this.answer.failure);
    // The call went well and the answer says that the model failed.
    const final =
      failure !== undefined && ending.completion === AIGOV_INVOCATION_COMPLETION_VALUE_COMPLETE
        ? failed(failure)
        : ending;
    const { span } = this;
    // Each step alone, so that the state is set and the span ends even if another step fails.
    guard('invocation.output', () => {
      const told = attributes ?? this.answer.attributes();
      span.setAttributes(told ?? absentOutput(AIGOV_OUTPUT_ABSENCE_VALUE_INCOMPLETE));
    });
    guard('invocation.end', () => span.setAttributes(endAttributes(final)));
    if (final.errorType !== undefined) {
      guard('invocation.end', () =>
        // The message of an error can quote the prompt, so only its type is kept.
        span.setStatus({ code: SpanStatusCode.ERROR, message: final.errorType ?? '' }),
      );
    }
    guard('invocation.end', () => span.end());
    // Promises of SDKs outlive their calls by far, and what they keep costs the collector more than the call costs us.
    this.answer = TOLD;
    countEnd(final.completion);
  }
}

/**
 * Starts the span of a call. Never throws: if no span can be had, the call still has one, which nobody records.
 */
export function startInvocation(start: InvocationStart, answer: Answer): Invocation {
  countStart();
  const span =
    guard('invocation.start', () =>
      currentTracer(SCOPE_NAME).startSpan(start.name, {
        kind: start.kind ?? SpanKind.CLIENT,
        attributes: { ...governanceAttributesOf(start), ...start.attributes },
      }),
    ) ?? trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
  const callContext = guard('invocation.context', () => trace.setSpan(activeContext(), span));
  const invocation = new Invocation(span, callContext, answer);
  open.add(invocation);
  scheduleSweep();
  guard('invocation.input', () => {
    // After the start, so that the hashing of a large prompt is not paid for a span nobody records.
    if (start.input !== undefined && span.isRecording()) {
      span.setAttributes(inputAttributes(start.input));
    }
  });
  return invocation;
}

/**
 * Calls `listener` with `held` once the application can not reach `target` any more. `held` MUST NOT refer to `target`, and
 * `listener` MUST be a function of a module: a closure keeps all that the closures beside it keep, SDK objects included.
 */
export function whenCollected<Held>(
  target: object,
  held: Held,
  listener: (held: Held) => void,
): void {
  collected.register(target, () => listener(held));
}

/** Signals that can end a stream: its own, and the one the application gave. */
export type Signals = readonly (AbortSignal | undefined)[];

/** How a call that an abort signal ended, ended: a time limit is an error, all else is the application's wish. */
export function signalEnding(signals: Signals): Ending | undefined {
  const aborted = signals.filter((signal) => signal?.aborted === true);
  if (aborted.length === 0) return undefined;
  const timedOut = aborted.some((signal) => nameOf(signal?.reason) === 'TimeoutError');
  return timedOut ? TIMED_OUT : SIGNALLED;
}

const ABORTS: ReadonlySet<string> = new Set([
  'AbortError',
  'APIUserAbortError',
  'RequestAbortedError',
]);
const TYPE = /^[A-Za-z0-9_.:-]{1,64}$/;
const CONNECTION = /^(?:E[A-Z]{3,}|UND_ERR_[A-Z_]+|ERR_(?:SSL|TLS|HTTP2|STREAM)_[A-Z_]+)$/;
const CAUSES_MAX = 5;

/**
 * How a call that an error ended, ended. Goes by the class of the error first: SDKs abort their own controller when a
 * connection breaks, so an aborted signal alone does not show that the application wanted it.
 */
export function errorEnding(error: unknown, signals: Signals = []): Ending {
  return guard('invocation.classify', () => classify(error, signals)) ?? UNTOLD;
}

function classify(error: unknown, signals: Signals): Ending {
  const names = [nameOf(error), classOf(error)];
  if (names.some((name) => name !== undefined && ABORTS.has(name))) {
    return signalEnding(signals) ?? SIGNALLED;
  }
  const statusCode = property(error, 'status');
  if (typeof statusCode === 'number' && statusCode >= 100 && statusCode <= 599) {
    return { ...failed(String(statusCode)), statusCode };
  }
  if (names.some((name) => name !== undefined && /Timeout/.test(name))) return TIMED_OUT;
  const codes: string[] = [];
  let cause: unknown = error;
  for (let depth = 0; depth < CAUSES_MAX && cause !== undefined && cause !== null; depth++) {
    const code = property(cause, 'code');
    if (typeof code === 'string' && TYPE.test(code)) codes.push(code);
    if (/Timeout/.test(nameOf(cause) ?? '')) return TIMED_OUT;
    cause = property(cause, 'cause');
  }
  const connection = codes.find((code) => CONNECTION.test(code));
  const type = connection ?? codes[0] ?? toldType(error) ?? classOf(error) ?? nameOf(error);
  const ending = failed(type !== undefined && TYPE.test(type) ? type : '_OTHER');
  const isConnection =
    connection !== undefined || names.some((name) => /Connection/.test(name ?? ''));
  return isConnection ? { ...ending, detail: AIGOV_INVOCATION_DETAIL_VALUE_CONNECTION } : ending;
}

/** The type of an error as the provider told it, within an answer that began well. */
function toldType(error: unknown): string | undefined {
  const body = property(error, 'error');
  const told = [property(body, 'code'), property(property(body, 'error'), 'type')];
  return [...told, property(body, 'type')].find(
    (type): type is string => typeof type === 'string' && TYPE.test(type),
  );
}

const { propertyIsEnumerable: isEnumerable } = Object.prototype;

/** Sets a property of an SDK's object that an application enumerating it does not see. */
export function hide(target: object, name: PropertyKey, value: unknown): void {
  Object.defineProperty(target, name, {
    value,
    enumerable: isEnumerable.call(target, name),
    configurable: true,
    writable: true,
  });
}

/** A property of anything, or undefined. */
export function property(value: unknown, name: PropertyKey): unknown {
  if ((typeof value !== 'object' || value === null) && typeof value !== 'function')
    return undefined;
  return (value as Readonly<Record<PropertyKey, unknown>>)[name];
}

/** Ends what nobody has touched for the configured time: the collector of garbage may never come. */
function scheduleSweep(): void {
  const { abandonDelayMs } = currentSettings();
  const delayMs = Math.ceil(abandonDelayMs / 2);
  // One that waits longer stems from a delay that holds no more.
  if (sweep !== undefined && sweep.delayMs <= delayMs) return;
  clearTimeout(sweep?.timer);
  const timer = setTimeout(() => {
    sweep = undefined;
    for (const invocation of open) {
      if (invocation.idleMs >= abandonDelayMs) invocation.end(FORGOTTEN);
    }
    if (open.size > 0) scheduleSweep();
  }, delayMs);
  timer.unref();
  sweep = { timer, delayMs };
}

function endAttributes({ completion, detail, errorType, statusCode }: Ending): Attributes {
  const attributes: Attributes = { [ATTR_AIGOV_INVOCATION_COMPLETION]: completion };
  if (detail !== undefined) attributes[ATTR_AIGOV_INVOCATION_DETAIL] = detail;
  if (errorType !== undefined) attributes[ATTR_ERROR_TYPE] = errorType;
  if (statusCode !== undefined) attributes[ATTR_HTTP_RESPONSE_STATUS_CODE] = statusCode;
  return attributes;
}

function failed(errorType: string): Ending {
  return { completion: AIGOV_INVOCATION_COMPLETION_VALUE_ERROR, errorType };
}

function nameOf(value: unknown): string | undefined {
  const name = property(value, 'name');
  return typeof name === 'string' ? name : undefined;
}

function classOf(value: unknown): string | undefined {
  return nameOf(property(value, 'constructor'));
}
