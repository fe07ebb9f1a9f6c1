// SPDX-License-Identifier: Apache-2.0
/**
 * What one AI package has to say to be hooked, and how a hooked function's channel is listened to safely.
 * Knows no package. A listener that throws is counted; without that, Node would end the process for it.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { type Channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel';
import type { Context, ContextManager } from '@opentelemetry/api';
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

/** Holds contexts where no context manager of the known shape is registered. */
const ownStore = new AsyncLocalStorage<Context>();
let known: {
  readonly manager: ContextManager | undefined;
  readonly store: AsyncLocalStorage<Context>;
} = { manager: undefined, store: ownStore };

/**
 * Where the active context is. The API has no way to make a context active but around a function, and its store is private to
 * the context manager, so it is taken from there, if the one that is registered now has the known shape. In ours, nothing
 * nests, and all else works.
 */
function contextStore(): AsyncLocalStorage<Context> {
  const manager = currentContextManager();
  if (manager !== known.manager) {
    const store = property(manager, '_asyncLocalStorage');
    const isKnown = store instanceof AsyncLocalStorage;
    if (!isKnown && manager !== undefined) countProblem('context.shape');
    known = { manager, store: isKnown ? (store as AsyncLocalStorage<Context>) : ownStore };
  }
  return known.store;
}

/** The context that {@link activate} has made active for the code at hand. */
export function callContext(): Context | undefined {
  return contextStore().getStore();
}

/**
 * Makes `contextOf` the active OpenTelemetry context while the hooked function runs, so that what it starts nests under the
 * call. The store is set, and set back when the function returns, which its channel tells in any case: one that was bound
 * to the channel could not be of a context manager that the start of the call brings.
 */
export function activate(
  channel: TracingChannel,
  contextOf: (message: CallMessage) => Context | undefined,
): void {
  const entered = new MessageMap<() => void>();
  listen(channel.start, (message) => {
    const active = contextOf(message);
    if (active === undefined) return;
    const store = contextStore();
    const before = store.getStore();
    entered.set(message, () => store.enterWith(before as Context));
    store.enterWith(active);
  });
  listen(channel.end, (message) => entered.get(message)?.());
}
