// SPDX-License-Identifier: Apache-2.0
/**
 * The clients of SDKs made by one generator (openai, and its kin): each call of a hooked method, its requests with their
 * retries, and the end mark of its stream. What a call is and what its answer says is up to the target.
 */
import { createContextKey, ROOT_CONTEXT } from '@opentelemetry/api';
import { ApiCall, watchApiPromise } from './api-promise.ts';
import {
  type Answer,
  hide,
  type InvocationStart,
  property,
  startInvocation,
} from './invocation.ts';
import { settler } from './settings.ts';
import {
  activate,
  type CallMessage,
  callContext,
  channelOf,
  type Hook,
  listen,
  MessageMap,
} from './target.ts';

/** What a call is, and who gathers its answer. */
export interface Described {
  readonly start: InvocationStart;
  readonly answer: Answer;
}

/** Tells of a call, given the body of its request and the address of the client. */
export type Describe = (body: unknown, baseUrl: unknown) => Described;

/** The hook of a method that starts a call; the channel is what {@link watchApiClient} knows it by. */
export function methodHook(channel: string, file: string, className: string): Hook {
  return { channel, file, function: { className, methodName: 'create', kind: 'Sync' } };
}

/** The hook of the client's requests. */
export function requestHook(file: string, className: string): Hook {
  const method = { className, methodName: 'makeRequest', kind: 'Async' } as const;
  return { channel: 'request', file, function: method };
}

/** The hook of the reader of server-sent events. */
export function eventsHook(file: string): Hook {
  const reader = { functionName: '_iterSSEMessages', kind: 'Sync' } as const;
  return { channel: 'events', file, function: reader };
}

/** A request that belongs to a call; whether it is the first, whose outcome is that of its retries. */
interface Attempt {
  readonly call: ApiCall;
  readonly isFirst: boolean;
}

/** Listens to the channels of a target whose hooks are made by the functions above. */
export function watchApiClient(target: string, methods: Readonly<Record<string, Describe>>): void {
  /** The call that the code at hand runs for: in `create`, and in all that it starts. */
  const activeCall = createContextKey(`sealspan.${target}`);
  const attempts = new MessageMap<Attempt>();
  const request = channelOf(target, 'request');
  listen(request.start, (message) => {
    const call = callContext()?.getValue(activeCall) as ApiCall | undefined;
    // Any other request made while a call runs, say by the application's own `fetch`, is none of the call's.
    if (call === undefined || (call.hasAttempts && !isRetry(message))) return;
    attempts.set(message, { call, isFirst: call.attempt() });
  });
  listen(request.asyncEnd, (message) => {
    const attempt = attempts.get(message);
    if (attempt?.isFirst === true) endRequest(message, attempt.call);
  });
  listen(channelOf(target, 'events').end, (message) => watchEvents(message));
  for (const [name, describe] of Object.entries(methods)) {
    watchMethod(target, name, activeCall, describe);
  }
}

function watchMethod(target: string, name: string, activeCall: symbol, describe: Describe): void {
  const calls = new MessageMap<ApiCall>();
  const channel = channelOf(target, name);
  activate(channel, (message) => {
    const baseUrl = property(property(message.self, '_client'), 'baseURL');
    const { start, answer } = describe(message.arguments?.[0], baseUrl);
    const signal = property(message.arguments?.[1], 'signal');
    const invocation = startInvocation(start, answer);
    const call = new ApiCall(invocation, signal);
    calls.set(message, call);
    return (invocation.context ?? ROOT_CONTEXT).setValue(activeCall, call);
  });
  listen(channel.end, (message) => {
    const call = calls.get(message);
    if (call === undefined) return;
    if (message.error !== undefined) call.invocation.endError(message.error);
    else watchApiPromise(message.result, call);
  });
}

/** A retry gives the number of those that are left, and, of later generators, what it is a retry of. */
function isRetry({ arguments: args }: CallMessage): boolean {
  return typeof args?.[1] === 'number' || args?.[2] !== undefined;
}

/** The call that a raw response belongs to. */
const callOfResponse = new WeakMap<object, ApiCall>();

function endRequest(message: CallMessage, call: ApiCall): void {
  if (message.error !== undefined) {
    call.failed(message.error);
    return;
  }
  const { result } = message;
  const response = property(result, 'response');
  // Only a stream has events whose end mark is looked for.
  const options = property(result, 'options');
  const isStream = property(options, 'stream') === true;
  if (isStream && typeof response === 'object' && response !== null) {
    callOfResponse.set(response, call);
  }
  call.headers(property(options, 'signal'), property(property(result, 'controller'), 'signal'));
}

/** Sees the `[DONE]` that ends a stream of chunks and that the SDK keeps to itself. */
function watchEvents(message: CallMessage): void {
  const response = message.arguments?.[0];
  if (typeof response !== 'object' || response === null) return;
  const call = callOfResponse.get(response);
  // A table that only ever loses what is collected grows until the next collection, and never shrinks.
  callOfResponse.delete(response);
  const events = message.result;
  const next = property(events, 'next');
  if (call === undefined || typeof next !== 'function') return;
  // The SDK awaits the same promise, so a rejection is not hidden from it.
  const watchStep = settler(
    'apiClient.events',
    (result) => {
      const data = property(property(result, 'value'), 'data');
      if (typeof data === 'string' && data.startsWith('[DONE]')) call.hasEndMark = true;
    },
    () => {},
  );
  hide(events as object, 'next', function (this: unknown, ...args: unknown[]) {
    const step = next.apply(this, args) as Promise<unknown>;
    watchStep(step);
    return step;
  });
}
