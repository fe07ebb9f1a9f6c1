// SPDX-License-Identifier: Apache-2.0
/**
 * Watches the web streams that SDKs give out: by way of methods replaced on the object itself, which stays what it is and gives
 * what it gave, or by a stream in its place. Sees nothing of a replaced one that Node reads without asking these methods.
 */
import type {
  ReadableStreamDefaultReader,
  ReadableStreamReadResult,
  StreamPipeOptions,
  Transformer,
  TransformStreamDefaultController,
} from 'node:stream/web';
import {
  BROKEN_OFF,
  DROPPED,
  type Invocation,
  type Signals,
  signalEnding,
  UNREAD,
  whenCollected,
} from './invocation.ts';
import { guard, onSettled } from './settings.ts';
import {
  endUnread,
  never,
  readerOf,
  replace,
  type StreamReading,
  type StreamWatch,
  watchIterator,
} from './streams.ts';
import { sdkErrorEnding } from './watch.ts';

/**
 * Watches a web stream: by iterators, by readers, through `tee` or a pipe. Once it is piped there is one more chunk between
 * its ends than without us.
 */
export function watchWebStream(
  stream: ReadableStream,
  invocation: Invocation,
  { signals, hasEnd = never }: StreamWatch,
): void {
  const reading: WebReading = { iterator: undefined, branchCount: 1 };
  watchBranch(stream, invocation, signals, hasEnd, reading);
  whenCollected(stream, { reading, invocation }, endUnread);
}

interface WebReading extends StreamReading {
  /** Streams that are not cancelled, of all that `tee` made of one. */
  branchCount: number;
}

/** A stream, or what `tee` made of it: of two branches, the first that is read tells of the call. */
function watchBranch(
  stream: ReadableStream,
  invocation: Invocation,
  signals: Signals,
  hasEnd: () => boolean,
  reading: WebReading,
): void {
  /** The call ends with the branch that tells of it, or with the last. */
  const cancelled = (isTelling: boolean): void => {
    reading.branchCount--;
    if (!isTelling && reading.branchCount > 0) return;
    invocation.endStream(hasEnd(), signalEnding(signals) ?? BROKEN_OFF);
  };
  for (const method of [Symbol.asyncIterator, 'values']) {
    replace(stream, method, (original, self, args) => {
      const iterator = original.apply(self, args);
      guard('stream.iterator', () => {
        const watch = readerOf(new WeakRef(iterator as object), reading, hasEnd, signals);
        watchIterator(iterator as AsyncIterator<unknown>, invocation, watch);
      });
      return iterator;
    });
  }
  replace(stream, 'getReader', (original, self, args) => {
    const reader = original.apply(self, args) as ReadableStreamDefaultReader;
    guard('stream.reader', () => {
      const { isReader } = readerOf(new WeakRef(reader), reading, hasEnd, signals);
      replace(reader, 'read', (read, own, readArgs) => {
        const step = read.apply(own, readArgs);
        guard('stream.read', () => {
          if (isReader()) watchStep(step, invocation, signals, hasEnd);
        });
        return step;
      });
      replace(reader, 'cancel', (cancel, own, cancelArgs) => {
        guard('stream.cancel', () => cancelled(reading.iterator?.deref() === own));
        return cancel.apply(own, cancelArgs);
      });
    });
    return reader;
  });
  replace(stream, 'cancel', (original, self, args) => {
    // Of a stream that somebody reads, a cancellation is refused.
    if (!stream.locked) guard('stream.cancel', () => cancelled(false));
    return original.apply(self, args);
  });
  replace(stream, 'tee', (original, self, args) => {
    const branches = original.apply(self, args) as readonly ReadableStream[];
    guard('stream.tee', () => {
      reading.branchCount += branches.length - 1;
      for (const branch of branches) watchBranch(branch, invocation, signals, hasEnd, reading);
    });
    return branches;
  });
  replace(stream, 'pipeThrough', (original, self, args) => {
    const tap = guard('stream.pipe', () => tapOf(stream, invocation, signals, hasEnd, reading));
    if (tap === undefined) return original.apply(self, args);
    const [pair, options] = args as Parameters<ReadableStream['pipeThrough']>;
    return (original.call(self, tap) as ReadableStream).pipeThrough(pair, options);
  });
  replace(stream, 'pipeTo', (original, self, args) => {
    const tap = guard('stream.pipe', () => tapOf(stream, invocation, signals, hasEnd, reading));
    if (tap === undefined) return original.apply(self, args);
    const [target, options] = args as [WritableStream, StreamPipeOptions | undefined];
    // Goes by the method above this one, which is the class's own.
    return ReadableStream.prototype.pipeThrough.call(self, tap).pipeTo(target, options);
  });
}

/** Passes on what goes through it. A fault comes to it as a reason to stop, as does the end of interest. */
function tapOf(
  stream: ReadableStream,
  invocation: Invocation,
  signals: Signals,
  hasEnd: () => boolean,
  reading: StreamReading,
): TransformStream {
  reading.iterator ??= new WeakRef(stream);
  const cancel = (reason: unknown): void => {
    guard('stream.pipe', () => {
      if (reason instanceof Error) invocation.endError(reason, signals);
      else invocation.endStream(hasEnd(), signalEnding(signals) ?? BROKEN_OFF);
    });
  };
  const tap: Transformer & { cancel: (reason: unknown) => void } = {
    transform: (chunk: unknown, controller: TransformStreamDefaultController) => {
      guard('stream.pipe', () => invocation.chunk(chunk));
      controller.enqueue(chunk);
    },
    flush: () => {
      guard('stream.pipe', () => invocation.endStream(hasEnd(), signalEnding(signals)));
    },
    cancel,
  };
  return new TransformStream(tap);
}

function watchStep(
  step: unknown,
  invocation: Invocation,
  signals: Signals,
  hasEnd: () => boolean,
): void {
  onSettled(
    'stream.step',
    step as Promise<ReadableStreamReadResult<unknown>>,
    ({ done, value }) => {
      if (done) invocation.endStream(hasEnd(), signalEnding(signals));
      else invocation.chunk(value);
    },
    (error) => invocation.endError(error, signals),
  );
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
  if (watched === undefined) invocation.end(DROPPED);
  return watched ?? stream;
}

function readableOf<Chunk>(
  stream: ReadableStream<Chunk>,
  invocation: Invocation,
  signals: Signals,
): ReadableStream<Chunk> {
  if (stream.locked) throw new TypeError('stream: somebody else reads it');
  // Asked for late: until then the application can have the stream itself, should we fail.
  let reader: ReadableStreamDefaultReader<Chunk> | undefined;
  const reading = { isRead: false, invocation };
  const watched = new ReadableStream<Chunk>(
    {
      pull: async (controller) => {
        reading.isRead = true;
        let step: ReadableStreamReadResult<Chunk>;
        try {
          reader ??= stream.getReader();
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
        reader ??= stream.getReader();
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
  if (isRead) invocation.endStream(false, DROPPED);
  else invocation.end(UNREAD);
}
