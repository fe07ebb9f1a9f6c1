// SPDX-License-Identifier: Apache-2.0
/**
 * Watches the lazy promise of SDKs made by one generator (openai, and its kin): the answer is read when the application
 * asks for it, in the way it asks for it, and never because of us. `then` is therefore never called on that promise.
 * Sees nothing of a body that the application takes raw.
 */
import {
  AIGOV_INVOCATION_DETAIL_VALUE_RAW_RESPONSE,
  AIGOV_OUTPUT_ABSENCE_VALUE_BINARY,
  AIGOV_OUTPUT_ABSENCE_VALUE_NOT_OBSERVED,
  ATTR_HTTP_REQUEST_RESEND_COUNT,
} from '../semconv/index.ts';
import { absentOutput } from './content.ts';
import { COMPLETE, type Invocation, property, UNREAD, whenCollected } from './invocation.ts';
import { countProblem, guard, onSettled } from './settings.ts';
import { replace, watchIterable } from './streams.ts';

/** A call by way of such a promise. Refers to neither the promise nor a stream, so that both can be collected. */
export class ApiCall {
  readonly invocation: Invocation;
  /** The signal the application gave, and the one of the request. */
  readonly signals: AbortSignal[] = [];
  /** Whether the stream's end mark came, which the application never gets to see. */
  hasEndMark = false;
  /** Whether the application asked for the parsed answer. */
  private isParsed = false;
  private isAnswered = false;
  /**
   * There if the application asked for the raw response; answers whether it asked for the parsed answer too. It refers to
   * the promise, so it goes with the headers or the failure, or the promise could never be collected.
   */
  private rawAlso: (() => boolean) | undefined;
  /** Whether nobody can ask for the answer any more. */
  private isUnreachable = false;
  private hasHeaders = false;
  private attemptCount = 0;

  constructor(invocation: Invocation, signal: unknown) {
    this.invocation = invocation;
    this.addSignal(signal);
  }

  /** Counts an attempt; answers whether it is the first, whose outcome is that of all retries within it. */
  attempt(): boolean {
    this.invocation.progress();
    return this.attemptCount++ === 0;
  }

  get hasAttempts(): boolean {
    return this.attemptCount > 0;
  }

  /** The headers are there, and with them the signals that can end the stream. */
  headers(...signals: readonly unknown[]): void {
    for (const signal of signals) this.addSignal(signal);
    this.hasHeaders = true;
    this.invocation.progress();
    this.countRetries();
    if (this.rawAlso !== undefined) this.endRaw();
    else if (this.isUnreachable && !this.isParsed) this.invocation.end(UNREAD);
  }

  /** The request failed for good. */
  failed(error: unknown): void {
    this.rawAlso = undefined;
    this.countRetries();
    this.invocation.endError(error, this.signals);
  }

  /** The application asked for the parsed answer. */
  parsed(): void {
    this.isParsed = true;
  }

  /** The parsed answer is there; answers whether it is so for the first time. */
  answered(): boolean {
    const isFirst = !this.isAnswered;
    this.isAnswered = true;
    return isFirst;
  }

  raw(alsoParsed: () => boolean): void {
    this.rawAlso ??= alsoParsed;
    if (this.hasHeaders) this.endRaw();
  }

  unreachable(): void {
    this.isUnreachable = true;
    // Before the headers, the request can still fail, which would be the truer end.
    if (this.hasHeaders && !this.isParsed) this.invocation.end(UNREAD);
  }

  private addSignal(signal: unknown): void {
    if (signal instanceof AbortSignal && !this.signals.includes(signal)) this.signals.push(signal);
  }

  private endRaw(): void {
    const isParsed = this.isParsed || this.rawAlso?.() === true;
    this.rawAlso = undefined;
    if (isParsed) return;
    this.invocation.end(
      { ...COMPLETE, detail: AIGOV_INVOCATION_DETAIL_VALUE_RAW_RESPONSE },
      absentOutput(AIGOV_OUTPUT_ABSENCE_VALUE_NOT_OBSERVED),
    );
  }

  private countRetries(): void {
    if (this.attemptCount > 1) {
      this.invocation.annotate({ [ATTR_HTTP_REQUEST_RESEND_COUNT]: this.attemptCount - 1 });
    }
  }
}

/**
 * Watches a promise that a call returned. If it is none of the kind known, the call ends as abandoned with a counted
 * problem: what can not be watched must not look complete.
 */
export function watchApiPromise(promise: unknown, call: ApiCall): void {
  if (typeof property(promise, 'parseResponse') !== 'function') {
    countProblem('apiPromise.shape');
    call.invocation.end({ completion: 'abandoned' });
    return;
  }
  watchParse(promise as object, call);
  whenCollected(promise as object, call, endUnreachable);
}

function endUnreachable(call: ApiCall): void {
  call.unreachable();
}

/** The ways to the answer, of the promise and of those derived from it. */
function watchParse(promise: object, call: ApiCall): void {
  let isWithResponse = false;
  replace(promise, 'parseResponse', (original, self, args) => {
    const parsing = original.apply(self, args);
    guard('apiPromise.parse', () => watchParsing(parsing, call));
    return parsing;
  });
  replace(promise, '_thenUnwrap', (original, self, [transform, ...rest]) => {
    // The derived promise has a parser of its own, which may fail on an answer that came well: that is the helper's
    // failure and not the call's. So the answer is taken where the helper gets it.
    const taking =
      typeof transform !== 'function'
        ? transform
        : function (this: unknown, ...args: unknown[]): unknown {
            guard('apiPromise.transform', () => watchAnswer(args[0], call));
            return transform.apply(this, args) as unknown;
          };
    const derived = original.apply(self, [taking, ...rest]);
    guard('apiPromise.derive', () => {
      if (typeof derived === 'object' && derived !== null) watchParse(derived, call);
    });
    return derived;
  });
  replace(promise, 'asResponse', (original, self, args) => {
    const response = original.apply(self, args);
    if (!isWithResponse) {
      guard('apiPromise.raw', () => call.raw(() => property(self, 'parsedPromise') !== undefined));
    }
    return response;
  });
  replace(promise, 'withResponse', (original, self, args) => {
    // It asks for both, at once and before it first waits.
    isWithResponse = true;
    try {
      return original.apply(self, args);
    } finally {
      isWithResponse = false;
    }
  });
}

/** Its own function, so that the closure keeps nothing but the call. */
function hasEndOf(call: ApiCall): () => boolean {
  return () => call.hasEndMark;
}

/** The promise of a parser is the SDK's own and goes into another one, so listening to it hides no rejection. */
function watchParsing(parsing: unknown, call: ApiCall): void {
  call.parsed();
  if (typeof property(parsing, 'then') !== 'function') {
    watchAnswer(parsing, call);
    return;
  }
  onSettled(
    'apiPromise.answer',
    parsing as Promise<unknown>,
    (answer) => watchAnswer(answer, call),
    (error) => call.invocation.endError(error, call.signals),
  );
}

function watchAnswer(answer: unknown, call: ApiCall): void {
  if (!call.answered()) return;
  const { invocation } = call;
  if (typeof property(answer, 'iterator') === 'function') {
    // All ways to read a stream (iteration, `tee`, `toReadableStream`, the helpers) go by way of its `iterator`.
    const signal = property(property(answer, 'controller'), 'signal');
    const ownSignal = signal instanceof AbortSignal ? signal : undefined;
    const watch = { signals: [...call.signals, ownSignal], ownSignal, hasEnd: hasEndOf(call) };
    watchIterable(answer as object, 'iterator', invocation, watch);
  } else if (answer instanceof Response) {
    invocation.end(COMPLETE, absentOutput(AIGOV_OUTPUT_ABSENCE_VALUE_BINARY));
  } else {
    invocation.endWhole(answer);
  }
}
