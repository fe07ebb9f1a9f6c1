// SPDX-License-Identifier: Apache-2.0
/**
 * Watches calls that give a native promise, a web stream or an async iterable: the application gets the same values, errors and
 * back-pressure as without us. Sees nothing of an object that is read by other means than these.
 */
import type { Attributes } from '@opentelemetry/api';
import {
  AIGOV_INVOCATION_COMPLETION_VALUE_ABANDONED,
  AIGOV_INVOCATION_COMPLETION_VALUE_ABORTED,
  AIGOV_INVOCATION_COMPLETION_VALUE_ERROR,
  AIGOV_INVOCATION_DETAIL_VALUE_BREAK,
} from '../semconv/index.ts';
import { valueOutput } from './content.ts';
import {
  type Answer,
  type Ending,
  errorEnding,
  type Invocation,
  property,
  type Signals,
  signalEnding,
  UNREAD,
  whenCollected,
} from './invocation.ts';
import { activeContext, withContext } from './otel-api.ts';
import { countProblem, guard, onSettled } from './settings.ts';
import { activate, type CallMessage, channelOf, listen } from './target.ts';

/** A call whose answer can not be watched must not look complete. */
const UNWATCHED: Ending = { completion: AIGOV_INVOCATION_COMPLETION_VALUE_ABANDONED };
const BROKEN_OFF: Ending = {
  completion: AIGOV_INVOCATION_COMPLETION_VALUE_ABORTED,
  detail: AIGOV_INVOCATION_DETAIL_VALUE_BREAK,
};

/** Runs the work of a call exactly once, with its span active if the context manager is well. */
export function runWithin<Result>(invocation: Invocation, work: () => Result): Result {
  let outcome: { readonly value: Result } | { readonly error: unknown } | undefined;
  guard('watch.context', () =>
    withContext(invocation.context ?? activeContext(), () => {
      // Kept apart from what the context manager itself might throw.
      try {
        outcome = { value: work() };
      } catch (error) {
        outcome = { error };
      }
    }),
  );
  if (outcome === undefined) return work();
  if ('error' in outcome) throw outcome.error;
  return outcome.value;
}

/**
 * How a call that an error ended, ended, for SDKs that name the status of the response otherwise (`statusCode`,
 * `status_code` or `$metadata.httpStatusCode`) or throw what they like when they are told to stop. `signals` MUST be the application's alone.
 */
export function sdkErrorEnding(error: unknown, signals: Signals = []): Ending {
  const wished = signalEnding(signals);
  if (wished !== undefined) return wished;
  const ending = errorEnding(error);
  if (ending.statusCode !== undefined || ending.detail !== undefined) return ending;
  if (ending.completion !== AIGOV_INVOCATION_COMPLETION_VALUE_ERROR) return ending;
  const statusCode = guard(
    'watch.status',
    () =>
      property(error, 'statusCode') ??
      property(error, 'status_code') ??
      property(property(error, '$metadata'), 'httpStatusCode'),
  );
  const isStatus = typeof statusCode === 'number' && statusCode >= 100 && statusCode <= 599;
  return isStatus ? { ...ending, errorType: String(statusCode), statusCode } : ending;
}

/** What a watcher of a promise does. */
export interface PromiseWatch<Value> {
  /** Takes the value; what it gives, if anything, the application gets in its place. */
  readonly succeeded: (value: Value) => Value | undefined;
  readonly signals?: Signals;
  /** How the call ended that an error ended; as {@link sdkErrorEnding} says unless given. */
  readonly errorEnding?: (error: unknown, signals: Signals) => Ending;
}

/**
 * Runs a call that may throw, give a value or a promise, and ends its invocation if it fails. Of a native promise the
 * application gets the next one, so that Node reports a rejection nobody handles as ever; any other stays what it is.
 */
export function watchCall<Value>(
  invocation: Invocation,
  work: () => Value | Promise<Value>,
  { succeeded, signals = [], errorEnding: endingOf = sdkErrorEnding }: PromiseWatch<Value>,
): Value | Promise<Value> {
  let result: Value | Promise<Value>;
  try {
    result = runWithin(invocation, work);
  } catch (error) {
    guard('watch.error', () => invocation.endError(error, signals, endingOf));
    throw error;
  }
  const take = (value: Value): Value => guard('watch.result', () => succeeded(value)) ?? value;
  const fail = (error: unknown): void => {
    guard('watch.error', () => invocation.endError(error, signals, endingOf));
  };
  if (result instanceof Promise && result.constructor === Promise) {
    return result.then(take, (error: unknown) => {
      fail(error);
      throw error;
    });
  }
  if (typeof property(result, 'then') === 'function') {
    onSettled('watch.result', result as Promise<Value>, take, fail);
    return result;
  }
  return take(result as Value);
}

/**
 * A stream that gives what `stream` gives, when it is asked and not before, and passes a cancellation on. If there is none to be
 * had, the application gets `stream` itself and the call ends as abandoned.
 */
export function watchReadable<Chunk>(
  stream: ReadableStream<Chunk>,
  invocation: Invocation,
  signals: Signals = [],
): ReadableStream<Chunk> {
  const watched = guard('watch.stream', () => readableOf(stream, invocation, signals));
  if (watched === undefined) invocation.end(UNWATCHED);
  return watched ?? stream;
}

function readableOf<Chunk>(
  stream: ReadableStream<Chunk>,
  invocation: Invocation,
  signals: Signals,
): ReadableStream<Chunk> {
  const reader = stream.getReader();
  const reading = { isRead: false, invocation };
  const watched = new ReadableStream<Chunk>(
    {
      pull: async (controller) => {
        reading.isRead = true;
        let step: Awaited<ReturnType<typeof reader.read>>;
        try {
          step = await reader.read();
        } catch (error) {
          guard('watch.stream', () => invocation.endError(error, signals, sdkErrorEnding));
          throw error;
        }
        if (step.done) {
          guard('watch.stream', () => invocation.endStream(false, signalEnding(signals)));
          controller.close();
        } else {
          guard('watch.stream', () => invocation.chunk(step.value));
          controller.enqueue(step.value);
        }
      },
      cancel: (reason) => {
        guard('watch.stream', () =>
          invocation.endStream(false, signalEnding(signals) ?? BROKEN_OFF),
        );
        return reader.cancel(reason);
      },
    },
    // Nothing is asked for ahead of the application.
    { highWaterMark: 0 },
  );
  whenCollected(watched, reading, endCollected);
  return watched;
}

function endCollected({
  isRead,
  invocation,
}: {
  readonly isRead: boolean;
  readonly invocation: Invocation;
}): void {
  if (isRead) invocation.endStream(false, UNWATCHED);
  else invocation.end(UNREAD);
}

/** An answer that comes in one piece and whose content is a part of it, or all. */
export class ValueAnswer implements Answer {
  readonly isFinished = false;
  readonly failure: undefined;
  private told: Attributes | undefined;
  private readonly contentOf: (value: unknown) => unknown;
  private readonly reportedOf: (value: unknown) => Attributes;

  constructor(
    contentOf: (value: unknown) => unknown = (value) => value,
    reportedOf: (value: unknown) => Attributes = () => ({}),
  ) {
    this.contentOf = contentOf;
    this.reportedOf = reportedOf;
  }

  chunk(): void {
    countProblem('watch.chunk');
  }

  whole(value: unknown): void {
    const reported = guard('watch.reported', () => this.reportedOf(value));
    const content = valueOutput(guard('watch.content', () => this.contentOf(value)));
    this.told = { ...reported, ...content };
  }

  attributes(): Attributes | undefined {
    return this.told;
  }
}

/** A call of a hooked function that is a call of a model or a tool. */
export interface HookedCall {
  readonly invocation: Invocation;
  readonly signals?: Signals;
  /** How the call ended that an error ended; as {@link sdkErrorEnding} says unless given. */
  readonly errorEnding?: (error: unknown, signals: Signals) => Ending;
  /** Takes what the promise of the function gives, and ends the invocation or has it watched. */
  readonly succeeded: (result: unknown, message: CallMessage) => void;
}

/**
 * Watches a function hooked as `Async`. `startCall` answers with the call, or undefined for one that is none of ours. What the
 * function starts nests under the call.
 */
export function watchHooked(
  target: string,
  name: string,
  startCall: (message: CallMessage) => HookedCall | undefined,
): void {
  const channel = channelOf(target, name);
  const calls = new WeakMap<CallMessage, HookedCall>();
  const seen = new WeakSet<CallMessage>();
  // Whoever hears of the call first starts it: stores are filled before the event `start`, if one is bound.
  const callOf = (message: CallMessage): HookedCall | undefined => {
    if (!seen.has(message)) {
      seen.add(message);
      const call = guard(`${target}.start`, () => startCall(message));
      if (call !== undefined) calls.set(message, call);
    }
    return calls.get(message);
  };
  activate(channel, (message) => callOf(message)?.invocation.context);
  const ended = (message: CallMessage): void => {
    const call = calls.get(message);
    if (call === undefined) return;
    // By the member, since anything can be thrown.
    if ('error' in message) {
      const { errorEnding: endingOf = sdkErrorEnding, signals = [] } = call;
      call.invocation.endError(message.error, signals, endingOf);
      return;
    }
    guard(`${target}.result`, () => call.succeeded(message.result, message));
  };
  // A throw before there is a promise, which has an end of its own.
  listen(channel.end, (message) => {
    if ('error' in message) ended(message);
  });
  listen(channel.asyncEnd, ended);
}
