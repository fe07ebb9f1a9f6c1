// SPDX-License-Identifier: Apache-2.0
/**
 * Watches functions, hooked or called by us in the package's stead: the application gets the same values and errors as without
 * us, and what a function starts nests under its call. Sees nothing of what a stream gives, which others watch.
 */
import type { Attributes } from '@opentelemetry/api';
import { AIGOV_INVOCATION_COMPLETION_VALUE_ERROR } from '../semconv/index.ts';
import { valueOutput } from './content.ts';
import {
  type Answer,
  type Ending,
  errorEnding,
  type Invocation,
  property,
  type Signals,
  signalEnding,
} from './invocation.ts';
import { activeContext, withContext } from './otel-api.ts';
import { countProblem, guard, onSettled } from './settings.ts';
import { activate, type CallMessage, channelOf, listen, MessageMap } from './target.ts';

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
  if (result instanceof Promise && result.constructor === Promise) {
    return result.then(take, (error: unknown) => {
      guard('watch.error', () => invocation.endError(error, signals, endingOf));
      throw error;
    });
  }
  if (typeof property(result, 'then') === 'function') {
    onSettled('watch.result', result as Promise<Value>, take, (error) =>
      invocation.endError(error, signals, endingOf),
    );
    return result;
  }
  return take(result as Value);
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
  const calls = new MessageMap<HookedCall>();
  activate(channel, (message) => {
    const call = startCall(message);
    if (call !== undefined) calls.set(message, call);
    return call?.invocation.context;
  });
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
