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
import { guard } from './settings.ts';
import { watchGenerator, watchIterable } from './streams.ts';
import type { CallMessage } from './target.ts';
import { sdkErrorEnding, watchHooked } from './watch.ts';

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
  watchHooked(target, channelId, (message) => {
    const call = describe(message);
    if (call === undefined) return undefined;
    const signals = [call.signal instanceof AbortSignal ? call.signal : undefined];
    const invocation = startInvocation(call.start, call.answer);
    const endingOf = (error: unknown): Ending => limitEnding(error, signals, call, options);
    return {
      invocation,
      signals,
      errorEnding: endingOf,
      succeeded: (result) => {
        // An answer that can not be told must not leave the call open.
        const outcome = guard('asyncCall.outcome', () => outcomeOf(result)) ?? { error: undefined };
        if ('error' in outcome) invocation.endError(outcome.error, signals, endingOf);
        else takeAnswer(outcome.value, invocation, signals, options);
      },
    };
  });
}

const TIMED_OUT: Ending = {
  completion: AIGOV_INVOCATION_COMPLETION_VALUE_ERROR,
  detail: AIGOV_INVOCATION_DETAIL_VALUE_TIMEOUT,
  errorType: 'timeout',
};

/** A time limit of the SDK's own looks like an abort, which it is only if the application wanted it. */
function limitEnding(
  error: unknown,
  signals: Signals,
  { hasTimeLimit }: AsyncCall,
  { isTimeout }: AsyncCallOptions,
): Ending {
  const ending = sdkErrorEnding(error, signals);
  if (signals.some((signal) => signal?.aborted === true)) return ending;
  const isAborted = ending.completion === AIGOV_INVOCATION_COMPLETION_VALUE_ABORTED;
  return (hasTimeLimit === true && isAborted) || isTimeout?.(error) === true ? TIMED_OUT : ending;
}

function takeAnswer(
  value: unknown,
  invocation: Invocation,
  signals: Signals,
  { watchStream = () => false }: AsyncCallOptions,
): void {
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
