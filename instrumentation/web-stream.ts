// SPDX-License-Identifier: Apache-2.0
/**
 * Watches the web streams that SDKs give out, by way of methods replaced on the object itself: it stays what it is, and gives
 * what it gave. Sees nothing of a stream that Node reads without asking one of these methods.
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
  type Invocation,
  type Signals,
  signalEnding,
  watchIterator,
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
} from './streams.ts';

/**
 * Watches a web stream: by iterators, by readers, through `tee` or a pipe. Once it is piped there is one more chunk between
 * its ends than without us.
 */
export function watchWebStream(
  stream: ReadableStream,
  invocation: Invocation,
  { signals, hasEnd = never }: StreamWatch,
): void {
  const reading: StreamReading = { iterator: undefined };
  watchBranch(stream, invocation, signals, hasEnd, reading);
  whenCollected(stream, { reading, invocation }, endUnread);
}

/** A stream, or what `tee` made of it: of two branches, the first that is read tells of the call. */
function watchBranch(
  stream: ReadableStream,
  invocation: Invocation,
  signals: Signals,
  hasEnd: () => boolean,
  reading: StreamReading,
): void {
  const brokenOff = (): void => invocation.endStream(hasEnd(), signalEnding(signals) ?? BROKEN_OFF);
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
        if (isReader()) guard('stream.read', () => watchStep(step, invocation, signals, hasEnd));
        return step;
      });
      replace(reader, 'cancel', (cancel, own, cancelArgs) => {
        if (isReader()) guard('stream.cancel', brokenOff);
        return cancel.apply(own, cancelArgs);
      });
    });
    return reader;
  });
  replace(stream, 'cancel', (original, self, args) => {
    guard('stream.cancel', brokenOff);
    return original.apply(self, args);
  });
  replace(stream, 'tee', (original, self, args) => {
    const branches = original.apply(self, args) as readonly ReadableStream[];
    guard('stream.tee', () => {
      for (const branch of branches) watchBranch(branch, invocation, signals, hasEnd, reading);
    });
    return branches;
  });
  replace(stream, 'pipeThrough', (original, self, args) => {
    const [pair, options] = args as Parameters<ReadableStream['pipeThrough']>;
    const tapped = original.call(self, tapOf(stream, invocation, signals, hasEnd, reading));
    return (tapped as ReadableStream).pipeThrough(pair, options);
  });
  replace(stream, 'pipeTo', (_, self, [target, options]) => {
    const tap = tapOf(stream, invocation, signals, hasEnd, reading);
    // Goes by the method above this one, which is the class's own.
    const tapped = ReadableStream.prototype.pipeThrough.call(self, tap);
    return tapped.pipeTo(target as WritableStream, options as StreamPipeOptions);
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
