// SPDX-License-Identifier: Apache-2.0
/**
 * Watches the objects that SDKs give out as streams, by way of methods replaced on the object itself: its class, its prototype
 * and what it gives out stay what they are. Sees nothing of a stream that is read by another way than the method named.
 */
import {
  hide,
  type Invocation,
  type IteratorWatch,
  property,
  type Signals,
  signalEnding,
  UNREAD,
  watchIterator,
  whenCollected,
} from './invocation.ts';
import { countProblem, guard } from './settings.ts';

type Method = (this: unknown, ...args: unknown[]) => unknown;

/** What is known of a stream. MUST NOT refer to it: see {@link whenCollected}. */
export interface StreamWatch {
  /** All that can end it, to tell a wish of the application from a fault. */
  readonly signals: Signals;
  /** The signal of this stream alone. One that the application has for many would keep a listener of each. */
  readonly ownSignal?: AbortSignal | undefined;
  /** Whether the end of the answer came by another way than the answer itself. */
  readonly hasEnd?: () => boolean;
  /** How the call ended that an error ended, where the SDK's errors need it; MUST be a function of a module. */
  readonly errorEnding?: NonNullable<IteratorWatch['errorEnding']>;
  /** Runs each `next`; as it comes unless given. MUST run the work exactly once. */
  readonly run?: NonNullable<IteratorWatch['run']>;
}

/** Replaces a method of one object. If there is none, that is counted, and the object stays as it is. */
export function replace(
  target: object,
  name: PropertyKey,
  by: (original: Method, self: unknown, args: unknown[]) => unknown,
): void {
  const original = property(target, name);
  if (typeof original !== 'function') {
    countProblem(`replace.${String(name)}`);
    return;
  }
  hide(target, name, function (this: unknown, ...args: unknown[]) {
    return by(original as Method, this, args);
  });
}

/**
 * Watches a stream that is read by the iterators that a method of it gives out. The first iterator that is asked for
 * something is the one that reads.
 */
export function watchIterable(
  stream: object,
  method: PropertyKey,
  invocation: Invocation,
  { signals, ownSignal, hasEnd = never, errorEnding, run }: StreamWatch,
): void {
  const reading: StreamReading = { iterator: undefined };
  endIfUnread(ownSignal, signals, reading, invocation);
  replace(stream, method, (original, self, args) => {
    const iterator = original.apply(self, args);
    if (typeof iterator === 'object' && iterator !== null) {
      guard('stream.iterator', () => {
        const watch = readerOf(new WeakRef(iterator), reading, hasEnd, signals);
        watchIterator(iterator as AsyncIterator<unknown>, invocation, {
          ...watch,
          ...(errorEnding !== undefined && { errorEnding }),
          ...(run !== undefined && { run }),
        });
      });
    }
    return iterator;
  });
  whenCollected(stream, { reading, invocation }, endUnread);
}

/** Watches a stream that is an iterator itself, such as an async generator. */
export function watchGenerator(
  stream: AsyncIterator<unknown>,
  invocation: Invocation,
  { signals, ownSignal, hasEnd = never }: StreamWatch,
): void {
  const reading: StreamReading = { iterator: undefined };
  endIfUnread(ownSignal, signals, reading, invocation);
  const watch = readerOf(new WeakRef(stream), reading, hasEnd, signals);
  watchIterator(stream, invocation, watch);
  whenCollected(stream, { reading, invocation }, endUnread);
}

/** Which iterator of a stream, or reader of a web stream, reads it. */
export interface StreamReading {
  iterator: WeakRef<object> | undefined;
}

/** A stream that is aborted before it was ever read. Once it is read, the reader learns of it. */
function endIfUnread(
  signal: AbortSignal | undefined,
  signals: Signals,
  reading: StreamReading,
  invocation: Invocation,
): void {
  signal?.addEventListener(
    'abort',
    () => {
      guard('stream.abort', () => {
        const ending = signalEnding(signals);
        if (reading.iterator === undefined && ending !== undefined) invocation.end(ending);
      });
    },
    { once: true },
  );
}

/** Its own function, so that the closures keep nothing but these. */
export function readerOf(
  own: WeakRef<object>,
  reading: StreamReading,
  hasEnd: () => boolean,
  signals: Signals,
): IteratorWatch {
  return {
    isReader: () => {
      reading.iterator ??= own;
      return reading.iterator === own;
    },
    hasEnd,
    signals,
  };
}

export function never(): boolean {
  return false;
}

/** What to do about a stream that is collected: one that nobody read ends the call. */
export function endUnread({
  reading,
  invocation,
}: {
  readonly reading: StreamReading;
  readonly invocation: Invocation;
}): void {
  if (reading.iterator === undefined) invocation.end(UNREAD);
}
