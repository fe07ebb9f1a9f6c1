// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a watched call gives the application what it gives without us, and ends as it ended. Method: each kind of outcome of a
 * call, a table of errors as SDKs throw them, a web stream in each way to read it, and hooked functions as the transformer
 * makes them.
 */
import { context, trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Invocation, startInvocation } from '../../instrumentation/invocation.ts';
import { configureInstrumentation } from '../../instrumentation/settings.ts';
import { channelOf } from '../../instrumentation/target.ts';
import {
  runWithin,
  sdkErrorEnding,
  ValueAnswer,
  watchCall,
  watchHooked,
} from '../../instrumentation/watch.ts';
import { watchReadable } from '../../instrumentation/web-stream.ts';
import { ended, recorder } from './support/recorder.ts';

const sdk = new NodeSDK({
  spanProcessors: [recorder],
  metricReaders: [],
  autoDetectResources: false,
});
beforeAll(() => sdk.start());
afterAll(() => sdk.shutdown());
beforeEach(() => {
  configureInstrumentation({});
  ended.length = 0;
});

const start = (): Invocation =>
  startInvocation({ name: 'call', attributes: {} }, new ValueAnswer());
const states = () =>
  ended.map(({ attributes }) =>
    ['aigov.invocation.completion', 'aigov.invocation.detail', 'error.type']
      .map((name) => attributes[name])
      .filter((value) => value !== undefined)
      .join(' '),
  );
const whole = (invocation: Invocation) => ({
  succeeded: (value: unknown) => {
    invocation.endWhole(value);
    return undefined;
  },
});

describe('a call', () => {
  it('that gives a value gives it, once it has ended', () => {
    const invocation = start();
    expect(watchCall(invocation, () => 7, whole(invocation))).toBe(7);
    expect(states()).toEqual(['complete']);
  });

  it('that throws throws the same', () => {
    const error = new RangeError('no');
    const work = () => {
      throw error;
    };
    expect(() => watchCall(start(), work, { succeeded: () => undefined })).toThrow(error);
    expect(states()).toEqual(['error RangeError']);
  });

  it('that gives a promise gives one of the same', async () => {
    const invocation = start();
    await expect(watchCall(invocation, async () => 7, whole(invocation))).resolves.toBe(7);
    const error = new RangeError('no');
    const failing = watchCall(start(), () => Promise.reject(error), { succeeded: () => undefined });
    await expect(failing).rejects.toBe(error);
    expect(states()).toEqual(['complete', 'error RangeError']);
  });

  it('that gives a promise of a class of its own gives that very one', async () => {
    class Own<Value> extends Promise<Value> {}
    const invocation = start();
    const own = Own.resolve(7);
    expect(watchCall(invocation, () => own, whole(invocation))).toBe(own);
    await own;
    expect(states()).toEqual(['complete']);
  });

  it('gives what its watcher puts in the place of the value, unless that fails', async () => {
    expect(await watchCall(start(), async () => 7, { succeeded: () => 8 })).toBe(8);
    const failing = {
      succeeded: () => {
        throw new Error('ours');
      },
    };
    expect(await watchCall(start(), async () => 7, failing)).toBe(7);
  });

  it('runs once with its span active', () => {
    const invocation = start();
    const active = runWithin(invocation, () => trace.getSpan(context.active()));
    expect(active).toBe(invocation.span);
  });
});

const aborted = [AbortSignal.abort()];
describe.each([
  ['statusCode', { statusCode: 429 }, [], 'error undefined 429'],
  ['$metadata', { $metadata: { httpStatusCode: 503 } }, [], 'error undefined 503'],
  ['status', { status: 400 }, [], 'error undefined 400'],
  ['a number that is no status', { statusCode: 7 }, [], 'error undefined Error'],
  ['anything, once the application said stop', {}, aborted, 'aborted signal undefined'],
  ['a broken connection', { code: 'ECONNRESET' }, [], 'error connection ECONNRESET'],
] as const)('an error with %s', (_, members, signals, expected) => {
  it(`is ${expected}`, () => {
    const ending = sdkErrorEnding(Object.assign(new Error('no'), members), signals);
    expect([ending.completion, ending.detail, ending.errorType].map(String).join(' ')).toBe(
      expected,
    );
  });
});

async function collect<Chunk>(stream: ReadableStream<Chunk>): Promise<Chunk[]> {
  const chunks: Chunk[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

describe('a web stream', () => {
  const streamOf = (pulled: number[], cancelled: unknown[] = []): ReadableStream<number> => {
    let next = 0;
    return new ReadableStream<number>(
      {
        pull: (controller) => {
          pulled.push(next);
          if (next === 3) controller.close();
          else controller.enqueue(next++);
        },
        cancel: (reason) => void cancelled.push(reason),
      },
      { highWaterMark: 0 },
    );
  };

  it('gives its chunks when they are asked for, and not before', async () => {
    const pulled: number[] = [];
    const reader = watchReadable(streamOf(pulled), start()).getReader();
    await new Promise((resolve) => setImmediate(resolve));
    expect(pulled).toEqual([]);
    expect(await reader.read()).toEqual({ done: false, value: 0 });
    expect(pulled).toEqual([0]);
  });

  it('that runs out before its answer is whole is cut short', async () => {
    const chunks = await collect(watchReadable(streamOf([]), start()));
    expect(chunks).toEqual([0, 1, 2]);
    expect(states()).toEqual(['error truncated truncated']);
  });

  it('passes a cancellation on, with its reason', async () => {
    const cancelled: unknown[] = [];
    await watchReadable(streamOf([], cancelled), start()).cancel('enough');
    expect(cancelled).toEqual(['enough']);
    expect(states()).toEqual(['aborted break']);
  });

  it('passes an error on', async () => {
    const error = new RangeError('no');
    const stream = new ReadableStream({ pull: (controller) => controller.error(error) });
    await expect(collect(watchReadable(stream, start()))).rejects.toBe(error);
    expect(states()).toEqual(['error RangeError']);
  });

  it('that somebody else reads stays what it is, and does not look complete', () => {
    const stream = streamOf([]);
    stream.getReader();
    expect(watchReadable(stream, start())).toBe(stream);
    expect(states()).toEqual(['abandoned']);
  });
});

describe('a hooked function', () => {
  const hooked = channelOf('own', 'work');
  const call = <Result>(work: () => Promise<Result>, mine = true): Promise<Result> =>
    hooked.tracePromise(work, { arguments: [mine] });
  let active: unknown;
  beforeAll(() => {
    watchHooked('own', 'work', ({ arguments: args }) => {
      if (args?.[0] !== true) return undefined;
      const invocation = start();
      return { invocation, succeeded: (result) => invocation.endWhole(result) };
    });
  });

  it('ends its call with what its promise gives, and has its span active', async () => {
    const work = async () => {
      active = trace.getSpan(context.active());
      return 7;
    };
    expect(await call(work)).toBe(7);
    expect(states()).toEqual(['complete']);
    expect(active).toMatchObject({ name: 'call' });
  });

  it('ends its call with an error, be it undefined', async () => {
    await expect(call(() => Promise.reject(new RangeError('no')))).rejects.toThrow('no');
    await expect(call(() => Promise.reject(undefined))).rejects.toBeUndefined();
    expect(states()).toEqual(['error RangeError', 'error _OTHER']);
  });

  it('has no span for a call that is none of ours', async () => {
    expect(await call(async () => 7, false)).toBe(7);
    expect(states()).toEqual([]);
  });
});

describe('an answer that is a value', () => {
  it('tells what of it is reported beside its content', () => {
    const answer = new ValueAnswer(
      (value) => value,
      () => ({ reported: 1 }),
    );
    answer.whole('text');
    expect(answer.attributes()).toEqual({ reported: 1, 'aigov.output.absence': 'no_key' });
  });

  it('is nothing until it came', () => {
    expect(new ValueAnswer().attributes()).toBeUndefined();
  });
});
