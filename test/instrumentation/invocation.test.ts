// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a call that started ends in exactly one state, the first that is true, whatever comes after (invariant 8).
 * Method: each way to end, after each other one; a table of errors; collected garbage and a deadline.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type ProxyTracerProvider, trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type Answer,
  COMPLETE,
  errorEnding,
  type Invocation,
  startInvocation,
  UNREAD,
  whenCollected,
} from '../../instrumentation/invocation.ts';
import { governedModel } from '../../instrumentation/model.ts';
import { configureInstrumentation, instrumentationStats } from '../../instrumentation/settings.ts';
import { type IteratorWatch, watchIterator } from '../../instrumentation/streams.ts';
import { ended, recorder } from './support/recorder.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

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

function start(answer: Partial<Answer> = {}): Invocation {
  return startInvocation(
    { name: 'call', attributes: { 'gen_ai.operation.name': 'chat' } },
    {
      chunk: () => {},
      whole: () => {},
      isFinished: false,
      failure: undefined,
      attributes: () => undefined,
      ...answer,
    },
  );
}

const states = () =>
  ended.map(({ attributes }) => [
    attributes['aigov.invocation.completion'],
    attributes['aigov.invocation.detail'],
    attributes['error.type'],
  ]);

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) {
    collectGarbage();
    await delay(2);
  }
}

describe('a call', () => {
  const ways: readonly (readonly [string, (call: Invocation) => void, readonly unknown[]])[] = [
    ['an answer', (call) => call.endWhole('yes'), ['complete', undefined, undefined]],
    ['a finished stream', (call) => call.endStream(true), ['complete', undefined, undefined]],
    ['a cut stream', (call) => call.endStream(false), ['error', 'truncated', 'truncated']],
    [
      'an error',
      (call) => call.end(errorEnding(new RangeError('secret'))),
      ['error', undefined, 'RangeError'],
    ],
    ['never being read', (call) => call.end(UNREAD), ['abandoned', 'unread', undefined]],
  ];

  it.each(ways)('that ends by %s stays so, whatever comes after', (_, end, state) => {
    const before = instrumentationStats();
    const call = start();
    end(call);
    for (const [, again] of ways) again(call);
    call.chunk('late');
    call.annotate({ late: true });
    expect(states()).toEqual([state]);
    expect(ended[0]?.attributes).not.toHaveProperty('late');
    const after = instrumentationStats();
    const name = String(state[0]);
    expect(after.ended[name]).toBe((before.ended[name] ?? 0) + 1);
    expect([after.started, after.open]).toEqual([before.started + 1, before.open]);
  });

  it('that went well is an error if its answer says that the model failed', () => {
    start({ failure: 'server_error' }).endWhole({});
    start({ failure: 'server_error' }).end(UNREAD);
    expect(states()).toEqual([
      ['error', undefined, 'server_error'],
      ['abandoned', 'unread', undefined],
    ]);
  });

  it('ends all the same if its answer can not be understood', () => {
    const fail = (): never => {
      throw new Error('fault');
    };
    const before = instrumentationStats().problems;
    const call = start({ chunk: fail, whole: fail, attributes: fail });
    call.chunk(1);
    call.endWhole('yes');
    expect(states()).toEqual([['complete', undefined, undefined]]);
    const after = instrumentationStats().problems;
    for (const place of ['answer.chunk', 'answer.whole', 'invocation.output']) {
      expect(after[place]).toBe((before[place] ?? 0) + 1);
    }
  });

  it('keeps the type of an error and not its words', () => {
    start().end(errorEnding(new Error('the prompt was: secret')));
    expect(JSON.stringify(ended)).not.toContain('secret');
  });

  it('is abandoned when nothing happens for the configured time', async () => {
    configureInstrumentation({ abandonDelayMs: 20 });
    const call = start();
    await until(() => !call.isOpen);
    expect(states()).toEqual([['abandoned', 'timeout', undefined]]);
  });

  it('costs nothing where nobody records spans', () => {
    const provider = (trace.getTracerProvider() as ProxyTracerProvider).getDelegate();
    trace.disable();
    let isAsked = false;
    const input = () => {
      isAsked = true;
      return { content: 'text' };
    };
    const answer: Answer = {
      chunk: () => {},
      whole: () => {},
      isFinished: true,
      failure: undefined,
      attributes: () => undefined,
    };
    startInvocation({ name: 'call', attributes: {}, input }, answer).end(COMPLETE);
    expect(isAsked).toBe(false);
    trace.setGlobalTracerProvider(provider);
  });
});

describe('an error', () => {
  class APIConnectionTimeoutError extends Error {}
  class APIUserAbortError extends Error {}
  class APIConnectionError extends Error {}
  const timedOut = AbortSignal.abort(new DOMException('late', 'TimeoutError'));
  const deep = (code: string) =>
    new Error('outer', {
      cause: new Error('inner', { cause: Object.assign(new Error(), { code }) }),
    });
  const looped = new Error('loop');
  looped.cause = looped;
  const hostile = new Proxy(new Error('hostile'), {
    get: () => {
      throw new Error('fault');
    },
  });

  it.each<[string, unknown, (AbortSignal | undefined)[], unknown]>([
    ['a status', { status: 429 }, [], { completion: 'error', errorType: '429', statusCode: 429 }],
    [
      'a status that is none',
      Object.assign(new Error(), { status: 7 }),
      [],
      { completion: 'error', errorType: 'Error' },
    ],
    [
      'an abort',
      new DOMException('off', 'AbortError'),
      [],
      { completion: 'aborted', detail: 'signal' },
    ],
    [
      'an abort of an SDK',
      new APIUserAbortError(),
      [AbortSignal.abort()],
      { completion: 'aborted', detail: 'signal' },
    ],
    [
      'an abort by a time limit',
      new APIUserAbortError(),
      [undefined, timedOut],
      { completion: 'error', detail: 'timeout', errorType: 'timeout' },
    ],
    [
      'a timeout of an SDK',
      new APIConnectionTimeoutError(),
      [],
      { completion: 'error', detail: 'timeout', errorType: 'timeout' },
    ],
    [
      'a broken connection, though the SDK aborted its own signal',
      deep('ECONNRESET'),
      [AbortSignal.abort()],
      { completion: 'error', detail: 'connection', errorType: 'ECONNRESET' },
    ],
    [
      'a connection error without a code',
      new APIConnectionError(),
      [],
      { completion: 'error', detail: 'connection', errorType: 'APIConnectionError' },
    ],
    [
      'a code of the provider',
      Object.assign(new Error(), { code: 'rate_limit' }),
      [],
      { completion: 'error', errorType: 'rate_limit' },
    ],
    [
      'a code that is text',
      Object.assign(new TypeError(), { code: 'your prompt was bad' }),
      [],
      { completion: 'error', errorType: 'TypeError' },
    ],
    ['a loop of causes', looped, [], { completion: 'error', errorType: 'Error' }],
    ['text', 'thrown', [], { completion: 'error', errorType: '_OTHER' }],
    ['nothing', undefined, [], { completion: 'error', errorType: '_OTHER' }],
    ['a hostile object', hostile, [], { completion: 'error', errorType: '_OTHER' }],
  ])('that is %s', (_, error, signals, expected) => {
    expect(errorEnding(error, signals)).toEqual(expected);
  });
});

describe('an iterator', () => {
  async function* numbers(): AsyncGenerator<number> {
    yield 1;
    yield 2;
  }
  const watching: IteratorWatch = { isReader: () => true, hasEnd: () => false, signals: [] };

  it('stays what it is for the application', () => {
    const iterator = numbers();
    const bare = numbers();
    watchIterator(iterator, start(), watching);
    expect(Object.keys(iterator)).toEqual(Object.keys(bare));
    expect(Object.getPrototypeOf(Object.getPrototypeOf(iterator))).toBe(
      Object.getPrototypeOf(Object.getPrototypeOf(bare)),
    );
    expect(iterator[Symbol.asyncIterator]()).toBe(iterator);
  });

  it('that is not the reader ends nothing', async () => {
    const call = start();
    const iterator = numbers();
    watchIterator(iterator, call, { ...watching, isReader: () => false });
    for await (const _ of iterator);
    expect(call.isOpen).toBe(true);
    call.end(COMPLETE);
  });

  it('that runs out is cut short, unless its end was seen another way', async () => {
    for (const hasEnd of [false, true]) {
      const iterator = numbers();
      watchIterator(iterator, start(), { ...watching, hasEnd: () => hasEnd });
      for await (const _ of iterator);
    }
    expect(states()).toEqual([
      ['error', 'truncated', 'truncated'],
      ['complete', undefined, undefined],
    ]);
  });

  it('that runs out after an abort was aborted, or ran out of time', async () => {
    for (const reason of [undefined, new DOMException('late', 'TimeoutError')]) {
      const iterator = numbers();
      watchIterator(iterator, start(), { ...watching, signals: [AbortSignal.abort(reason)] });
      for await (const _ of iterator);
    }
    expect(states()).toEqual([
      ['aborted', 'signal', undefined],
      ['error', 'timeout', 'timeout'],
    ]);
  });

  it('that is thrown into is broken off', async () => {
    const iterator = numbers();
    watchIterator(iterator, start(), watching);
    await iterator.next();
    await expect(iterator.throw(new Error('mine'))).rejects.toThrow('mine');
    expect(states()).toEqual([['aborted', 'break', undefined]]);
  });

  it('that is dropped half read is abandoned', async () => {
    const call = start();
    await (async () => {
      const iterator = numbers();
      watchIterator(iterator, call, watching);
      await iterator.next();
    })();
    await until(() => !call.isOpen);
    expect(states()).toEqual([['abandoned', undefined, undefined]]);
  });

  it('of a model that is never read is abandoned', async () => {
    const model = governedModel({ model: 'm' }, numbers);
    (() => void model())();
    await until(() => ended.length > 0);
    expect(states()).toEqual([['abandoned', 'unread', undefined]]);
  });

  it('whose watch throws goes on', async () => {
    const call = start();
    const iterator = numbers();
    const fail = (): never => {
      throw new Error('fault');
    };
    watchIterator(iterator, call, { ...watching, isReader: fail, hasEnd: fail });
    const seen: number[] = [];
    for await (const n of iterator) seen.push(n);
    expect(seen).toEqual([1, 2]);
    call.end(COMPLETE);
  });
});

it('hears once of an object that was collected', async () => {
  const heard: string[] = [];
  (() => whenCollected({}, 'held', (held) => heard.push(held)))();
  await until(() => heard.length > 0);
  expect(heard).toEqual(['held']);
});
