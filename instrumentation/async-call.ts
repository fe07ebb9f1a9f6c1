// SPDX-License-Identifier: Apache-2.0
/**
 * Hooked functions that give a promise of their answer, whole or as a stream, and that run whether or not anybody awaits them.
 * What a call is and what its answer says is up to the target.
 */
import {
  AIGOV_INVOCATION_COMPLETION_VALUE_ABORTED,
  AIGOV_INVOCATION_COMPLETION_VALUE_ERROR,
  AIGOV_INVOCATION_DETAIL_VALUE_TIMEOUT,
} from '../semconv/index.ts';
import {
  type Answer,
  type Ending,
  type Invocation,
  type InvocationStart,
  property,
  type Signals,
  startInvocation,
} from './invocation.ts';
import { watchGenerator, watchIterable } from './streams.ts';
import { activate, type CallMessage, channelOf, listen } from './target.ts';
import { sdkErrorEnding } from './watch.ts';

/** What a call is, and who gathers its answer. */
export interface AsyncCall {
  readonly start: InvocationStart;
  readonly answer: Answer;
  /** The signal that the application gave. */
  readonly signal?: unknown;
  /** Whether the SDK has a time limit of its own, which it keeps by aborting. */
  readonly hasTimeLimit?: boolean;
}

/** What became of a call: SDKs put an answer, or an error, into an object of their own. */
export type Outcome = { readonly value: unknown } | { readonly error: unknown };

export interface AsyncCallOptions {
  /** What the function's result means; it is the answer itself unless given. */
  readonly outcomeOf?: (result: unknown) => Outcome;
  /** Whether an error is the SDK's for a time limit that ran out, where its name and code do not tell. */
  readonly isTimeout?: (error: unknown) => boolean;
  /** Watches a stream that is read otherwise than by iterators; answers whether it is one. */
  readonly watchStream?: (value: object, invocation: Invocation, signals: Signals) => boolean;
}

/** Listens to the channel of such a function. `describe` gives undefined for what is no call of a model. */
export function watchAsyncCalls(
  target: string,
  channelId: string,
  describe: (message: CallMessage) => AsyncCall | undefined,
  options: AsyncCallOptions = {},
): void {
  const { outcomeOf = (value: unknown): Outcome => ({ value }) } = options;
  const calls = new WeakMap<CallMessage, Call | undefined>();
  const channel = channelOf(target, channelId);
  const callOf = (message: CallMessage): Call | undefined => {
    if (!calls.has(message)) {
      // Set first, so that what throws is not tried again.
      calls.set(message, undefined);
      const call = describe(message);
      if (call !== undefined) {
        const signal = call.signal instanceof AbortSignal ? call.signal : undefined;
        const invocation = startInvocation(call.start, call.answer);
        calls.set(message, {
          invocation,
          signals: [signal],
          hasTimeLimit: call.hasTimeLimit === true,
        });
      }
    }
    return calls.get(message);
  };
  activate(channel, (message) => callOf(message)?.invocation.context);
  listen(channel.end, (message) => {
    // Threw before there was a promise; what it rejects with comes later.
    if (message.error !== undefined) endWith({ error: message.error }, calls.get(message), options);
  });
  listen(channel.asyncEnd, (message) => {
    const call = calls.get(message);
    if (call === undefined) return;
    const { error, result } = message;
    // An answer that can not be told must not leave the call open.
    let outcome: Outcome = { error };
    try {
      if (error === undefined) outcome = outcomeOf(result);
    } finally {
      endWith(outcome, call, options);
    }
  });
}

interface Call {
  readonly invocation: Invocation;
  readonly signals: Signals;
  readonly hasTimeLimit: boolean;
}

const TIMED_OUT: Ending = {
  completion: AIGOV_INVOCATION_COMPLETION_VALUE_ERROR,
  detail: AIGOV_INVOCATION_DETAIL_VALUE_TIMEOUT,
  errorType: 'timeout',
};

function endWith(
  outcome: Outcome,
  call: Call | undefined,
  { watchStream = () => false, isTimeout = () => false }: AsyncCallOptions,
): void {
  if (call === undefined) return;
  const { invocation, signals } = call;
  if ('error' in outcome) {
    const { error } = outcome;
    const ending = sdkErrorEnding(error, signals);
    const isWanted = signals.some((signal) => signal?.aborted === true);
    const isLimit =
      call.hasTimeLimit && ending.completion === AIGOV_INVOCATION_COMPLETION_VALUE_ABORTED;
    invocation.end(!isWanted && (isLimit || isTimeout(error)) ? TIMED_OUT : ending);
    return;
  }
  const { value } = outcome;
  if (typeof value === 'object' && value !== null) {
    if (watchStream(value, invocation, signals)) return;
    if (typeof property(value, 'next') === 'function') {
      watchGenerator(value as AsyncIterator<unknown>, invocation, { signals });
      return;
    }
    if (typeof property(value, Symbol.asyncIterator) === 'function') {
      const own = property(property(value, 'abortController'), 'signal');
      const ownSignal = own instanceof AbortSignal ? own : undefined;
      const watch = { signals: [...signals, ownSignal], ownSignal };
      watchIterable(value, Symbol.asyncIterator, invocation, watch);
      return;
    }
  }
  invocation.endWhole(value);
}
