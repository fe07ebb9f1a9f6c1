// SPDX-License-Identifier: Apache-2.0
/**
 * The core of all that watches streams: iterators, and the objects that give them out, by way of methods replaced on the object
 * itself, whose class, prototype and promises stay what they are. Sees nothing of a stream that is read in another way.
 */
import {
  BROKEN_OFF,
  DROPPED,
  type Ending,
  errorEnding,
  hide,
  type Invocation,
  property,
  type Signals,
  signalEnding,
  TRUNCATED,
  UNREAD,
  whenCollected,
} from './invocation.ts';
import { countProblem, guard, settler } from './settings.ts';

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

/** What {@link watchIterator} has to know. MUST NOT refer to the iterator: see {@link whenCollected}. */
export interface IteratorWatch {
  /** Whether this iterator is the one that reads; asked at its first `next`. */
  readonly isReader: () => boolean;
  /** Whether the end of the answer came by another way than the answer itself. */
  readonly hasEnd: () => boolean;
  readonly signals: Signals;
  /** How the call ended if the iterator runs out and nothing said that the answer is at its end; truncated unless given. */
  readonly runOut?: Ending;
  /** How the call ended that an error ended; as {@link errorEnding} says unless given. */
  readonly errorEnding?: (error: unknown, signals: Signals) => Ending;
  /** Runs each `next`; as it comes unless given. MUST run the work exactly once. */
  readonly run?: <Result>(work: () => Result) => Result;
}

/**
 * Watches the reading of a stream by way of its iterator, whose methods are replaced on the object itself: its class,
 * its prototype and the promises it gives out stay what they are.
 */
export function watchIterator(
  iterator: AsyncIterator<unknown>,
  invocation: Invocation,
  watch: IteratorWatch,
): void {
  const reading: Reading = { reads: undefined, invocation, hasEnd: watch.hasEnd };
  const { next, return: close, throw: fail } = iterator;
  const { hasEnd, isReader, signals, runOut = TRUNCATED, run = (work) => work() } = watch;
  const { errorEnding: endingOf = errorEnding } = watch;
  const watchStep = settler(
    'stream.step',
    (step: IteratorResult<unknown>) => {
      if (step.done === true) invocation.endStream(hasEnd(), signalEnding(signals) ?? runOut);
      else invocation.chunk(step.value);
    },
    (error) => invocation.endError(error, signals, endingOf),
  );
  hide(iterator, 'next', function (this: unknown, ...args: []) {
    reading.reads ??= guard('stream.reader', isReader) ?? false;
    const step = run(() => next.apply(this as AsyncIterator<unknown>, args));
    guard('stream.next', () => {
      if (reading.reads === true && invocation.isOpen) watchStep(step);
    });
    return step;
  });
  for (const [name, method] of [
    ['return', close],
    ['throw', fail],
  ] as const) {
    if (method === undefined) continue;
    hide(iterator, name, function (this: unknown, ...args: [unknown?]) {
      // Before the SDK hears of it, since it aborts its own controller in answer. An iterator that was never asked for
      // anything is closed without an effect on the call, which stays unread.
      if (reading.reads === true) {
        guard('stream.close', () =>
          invocation.endStream(hasEnd(), signalEnding(signals) ?? BROKEN_OFF),
        );
      }
      return method.apply(this as AsyncIterator<unknown>, args);
    });
  }
  whenCollected(iterator, reading, drop);
}

interface Reading {
  /** Whether this iterator reads the answer; undefined until it is first asked. */
  reads: boolean | undefined;
  readonly invocation: Invocation;
  readonly hasEnd: () => boolean;
}

/** An iterator that was never asked is no reading that was dropped: whoever watches the stream tells of that. */
function drop({ reads, invocation, hasEnd }: Reading): void {
  if (reads === true) invocation.endStream(hasEnd(), DROPPED);
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
  /** Takes our listener off the stream's signal, which can outlive the stream by far. */
  forget?: () => void;
}

/** A stream that is aborted before it was ever read. Once it is read, the reader learns of it. */
function endIfUnread(
  signal: AbortSignal | undefined,
  signals: Signals,
  reading: StreamReading,
  invocation: Invocation,
): void {
  if (signal === undefined) return;
  const onAbort = (): void => {
    guard('stream.abort', () => {
      const ending = signalEnding(signals);
      if (reading.iterator === undefined && ending !== undefined) invocation.end(ending);
    });
  };
  signal.addEventListener('abort', onAbort, { once: true });
  reading.forget = forgetOf(new WeakRef(signal), new WeakRef(onAbort));
}

/** Its own function, so that the closure keeps neither: whoever waits for the stream's end has it. */
function forgetOf(signal: WeakRef<AbortSignal>, listener: WeakRef<() => void>): () => void {
  return () => {
    const onAbort = listener.deref();
    if (onAbort !== undefined) signal.deref()?.removeEventListener('abort', onAbort);
  };
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
      if (reading.iterator === undefined) {
        reading.iterator = own;
        reading.forget?.();
      }
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
  if (reading.iterator !== undefined) return;
  reading.forget?.();
  invocation.end(UNREAD);
}
