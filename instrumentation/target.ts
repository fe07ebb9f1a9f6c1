// SPDX-License-Identifier: Apache-2.0
/**
 * What one AI package has to say to be hooked, and how a hooked function's channel is listened to safely.
 * Knows no package. A listener that throws is counted; without that, Node would end the process for it.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { type Channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel';
import type { Context } from '@opentelemetry/api';
import { property } from './invocation.ts';
import { currentContextManager } from './otel-api.ts';
import { countProblem, guard } from './settings.ts';

/** A function of the package that gets a channel. */
export interface Hook {
  /** Name of the channel, unique in the target. */
  readonly channel: string;
  /**
   * Path of the file in the package without its ending, which differs between the module systems. Stands in a regular
   * expression as it is.
   */
  readonly file: string;
  /** First version that has the function there, and first that has it elsewhere; those of the target unless given. */
  readonly fromVersion?: string;
  readonly belowVersion?: string;
  readonly function:
    | { readonly className: string; readonly methodName: string; readonly kind: 'Sync' | 'Async' }
    | { readonly functionName: string; readonly kind: 'Sync' | 'Async' };
}

/** One AI package. */
export interface Target {
  /** Name of the package. */
  readonly name: string;
  /** First version whose shape is known, and first major version whose shape is not. */
  readonly fromVersion: string;
  readonly belowVersion: string;
  readonly hooks: readonly Hook[];
  /** Listens to the channels; called by {@link subscribeTo} only. */
  readonly subscribe: () => void;
}

/** What the channel of a hooked function tells; one object per call. */
export interface CallMessage {
  readonly arguments?: ArrayLike<unknown>;
  readonly self?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
}

/** What is kept of a call, on its message, which nobody else sees: a WeakMap costs the collector more than the call costs us. */
export class MessageMap<Value> {
  private readonly key: symbol = Symbol('sealspan');

  has(message: CallMessage): boolean {
    return Object.hasOwn(message, this.key);
  }

  get(message: CallMessage): Value | undefined {
    return (message as Readonly<Record<symbol, unknown>>)[this.key] as Value | undefined;
  }

  set(message: CallMessage, value: Value): void {
    (message as Record<symbol, unknown>)[this.key] = value;
  }
}

/** Ours alone, so that another tool that hooks the same function by the same means is not disturbed. */
export function channelName(channel: string): string {
  return `sealspan.${channel}`;
}

/** The channel of a hook. The beginning of its name is the transformer's. */
export function channelOf(target: string, channel: string): TracingChannel {
  return tracingChannel(`orchestrion:${target}:${channelName(channel)}`);
}

const subscribed = new WeakSet<Target>();

/**
 * Lets a target listen to its channels, once, however many ask for it. The channels are the process's: where another copy of
 * us listens, as beside one that lies in a bundle, that one tells of the calls.
 */
export function subscribeTo(target: Target): void {
  if (subscribed.has(target)) return;
  subscribed.add(target);
  const isHeard = ({ channel }: Hook): boolean => {
    const { start, end, asyncEnd } = channelOf(target.name, channel);
    return [start, end, asyncEnd].some(({ hasSubscribers }) => hasSubscribers);
  };
  if (target.hooks.some(isHeard)) return;
  guard(`${target.name}.subscribe`, target.subscribe);
}

/** Listens to one event of a channel. */
export function listen(channel: Channel, listener: (message: CallMessage) => void): void {
  const place = String(channel.name);
  channel.subscribe((message) => {
    guard(place, () => listener(message as CallMessage));
  });
}

/**
 * Lets `store` hold what `valueFor` gives for a call while the hooked function runs, and all that it starts.
 * `valueFor` is the first that hears of a call, before the event `start`.
 */
export function hold<Value>(
  channel: Channel,
  store: AsyncLocalStorage<Value | undefined>,
  valueFor: (message: CallMessage) => Value | undefined,
): void {
  const place = String(channel.name);
  channel.bindStore(store as AsyncLocalStorage<unknown>, (message) =>
    guard(place, () => valueFor(message as CallMessage)),
  );
}

/**
 * Makes `contextOf` the active OpenTelemetry context while the hooked function runs, so that what it starts nests under the
 * call. A channel can only run a store it was bound to, and the API's is private to its context manager, so it is taken
 * from the manager that is registered, if that has the known shape; otherwise nothing nests and all else works.
 * Returns what to call before each hooked call, since managers come and go; it answers with the store that it has bound
 * just then, if any.
 */
export function bindContext(
  channel: Channel,
  contextOf: (message: CallMessage) => Context | undefined,
): () => AsyncLocalStorage<unknown> | undefined {
  let known: unknown;
  let bound: AsyncLocalStorage<unknown> | undefined;
  return () => {
    const manager = currentContextManager();
    if (manager === known) return undefined;
    known = manager;
    if (bound !== undefined) channel.unbindStore(bound);
    bound = undefined;
    const store = property(manager, '_asyncLocalStorage');
    if (store instanceof AsyncLocalStorage) {
      bound = store;
      channel.bindStore(
        store,
        (message) =>
          guard('context.bind', () => contextOf(message as CallMessage)) ?? store.getStore(),
      );
    } else if (manager !== undefined) {
      countProblem('context.shape');
    }
    return bound;
  };
}

/**
 * As {@link bindContext}, for the channel of the function that starts the call. The start may bring a context manager, too
 * late for the channel to run the store of: for that one call the store is set, and set back when the function returns.
 */
export function activate(
  channel: TracingChannel,
  contextOf: (message: CallMessage) => Context | undefined,
): void {
  const bind = bindContext(channel.start, contextOf);
  const entered = new WeakMap<CallMessage, () => void>();
  listen(channel.start, (message) => {
    const callContext = contextOf(message);
    const store = bind();
    if (store === undefined || callContext === undefined) return;
    const before = store.getStore();
    entered.set(message, () => store.enterWith(before));
    store.enterWith(callContext);
  });
  listen(channel.end, (message) => entered.get(message)?.());
}
