// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a governed function gives and throws what the function does, however it is made, and each call leaves one span.
 * Method: functions of each kind on a real SDK; the digests are computed here anew.
 */
import { createHmac } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { context, trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { withGovernance } from '../../instrumentation/governance.ts';
import { governedModel } from '../../instrumentation/model.ts';
import { configureInstrumentation, instrumentationStats } from '../../instrumentation/settings.ts';
import { faultyProvider } from './support/faults.ts';
import { ended, recorder } from './support/recorder.ts';

const digestKey = { id: 'k-1', secret: new Uint8Array(32).fill(9) };
const digest = (text: string) =>
  `hmac-sha256:${createHmac('sha256', digestKey.secret).update(text).digest('hex')}`;
const weights = `sha256:${'ab'.repeat(32)}`;
const options = { model: 'scorer', version: '3', digest: weights, provider: 'in-house' };
const sdk = new NodeSDK({
  spanProcessors: [recorder],
  metricReaders: [],
  autoDetectResources: false,
});

beforeAll(() => sdk.start());
afterAll(() => sdk.shutdown());
beforeEach(() => {
  configureInstrumentation({ digestKey });
  ended.length = 0;
});

/** All attributes of a call with these arguments and this outcome. */
const told = (args: string, outcome: object) => ({
  'aigov.schema.version': '0.1.0',
  'gen_ai.operation.name': 'predict',
  'gen_ai.provider.name': 'in-house',
  'gen_ai.request.model': 'scorer',
  'aigov.model.version': '3',
  'aigov.model.digest': weights,
  'aigov.content.policy': 'digest',
  'aigov.digest.alg': 'hmac-sha256',
  'aigov.digest.key_id': 'k-1',
  'aigov.input.digest': digest(args),
  'aigov.input.length': args.length,
  ...outcome,
});
const completed = (answer: string) => ({
  'aigov.output.digest': digest(answer),
  'aigov.output.length': answer.length,
  'aigov.invocation.completion': 'complete',
});
const failedAs = (type: string) => ({
  'aigov.output.absence': 'incomplete',
  'aigov.invocation.completion': 'error',
  'error.type': type,
});
const only = () => {
  expect(ended).toHaveLength(1);
  return ended[0]?.attributes;
};

describe('a governed function', () => {
  it('that answers at once', () => {
    const score = governedModel(options, (a: number, b: number) => ({ sum: a + b }));
    expect(score(1, 2)).toEqual({ sum: 3 });
    expect(only()).toEqual(told('[1,2]', completed('{"sum":3}')));
    expect(ended[0]).toMatchObject({ name: 'predict scorer', kind: 'INTERNAL', status: 'UNSET' });
  });

  it('that answers later', async () => {
    const score = governedModel(options, async (a: number) => {
      await delay(1);
      return a;
    });
    const answer = score(1);
    expect(ended).toEqual([]);
    expect(await answer).toBe(1);
    expect(only()).toEqual(told('[1]', completed('1')));
  });

  it('that throws', () => {
    const error = new RangeError('secret');
    const score = governedModel(options, () => {
      throw error;
    });
    expect(() => score()).toThrow(error);
    expect(only()).toEqual(told('[]', failedAs('RangeError')));
    expect(ended[0]?.status).toBe('ERROR');
  });

  it('that rejects', async () => {
    const error = Object.assign(new Error('secret'), { code: 'E_MODEL' });
    const score = governedModel(options, () => Promise.reject(error));
    await expect(score()).rejects.toBe(error);
    expect(only()).toEqual(told('[]', failedAs('E_MODEL')));
  });

  it('that rejects unheard leaves that to the process, as without us', async () => {
    const unhandled: unknown[] = [];
    const known = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', (error) => unhandled.push(error));
    onTestFinished(() => {
      process.removeAllListeners('unhandledRejection');
      for (const listener of known) process.on('unhandledRejection', listener);
    });
    const error = new Error('mine');
    void governedModel(options, () => Promise.reject(error))();
    await delay(5);
    expect(unhandled).toEqual([error]);
  });

  it('whose promise is of a class of its own gives that very promise', async () => {
    class Lazy extends Promise<number> {}
    const promise = Lazy.resolve(7) as Lazy;
    const answer = governedModel(options, () => promise)();
    expect(answer).toBe(promise);
    expect(await answer).toBe(7);
    expect(only()).toEqual(told('[]', completed('7')));
  });

  it('passes this, name and length on', () => {
    const scorer = {
      base: 40,
      score: governedModel(
        options,
        function score(this: { base: number }, a: number, b: number = 1) {
          return this.base + a + b;
        },
      ),
    };
    expect(scorer.score(1)).toBe(42);
    expect([scorer.score.name, scorer.score.length]).toEqual(['score', 1]);
  });

  it('digests the input it is told to, and the configuration', () => {
    const configured = {
      ...options,
      operation: 'classify',
      config: { threshold: 0.5 },
      input: (_: object, features: object) => features,
    };
    governedModel(configured, (_: object, features: object) => features)({}, { b: 1, a: 2 });
    expect(only()).toEqual({
      ...told('{"a":2,"b":1}', completed('{"a":2,"b":1}')),
      'gen_ai.operation.name': 'classify',
      'aigov.config.digest': digest('{"threshold":0.5}'),
    });
  });

  it('says of an input that can not be told that it can not', () => {
    const score = governedModel(
      {
        ...options,
        input: () => {
          throw new Error('mine');
        },
      },
      () => 1,
    );
    expect(score()).toBe(1);
    expect(only()).toMatchObject({ 'aigov.input.absence': 'unserialisable' });
  });

  it('carries what is stated, and is the parent of what it starts', () => {
    const inner = governedModel({ model: 'inner' }, () => 1);
    const outer = governedModel({ model: 'outer' }, inner);
    withGovernance({ purpose: { id: 'loan' } }, () => outer());
    expect(ended.map(({ attributes }) => attributes['aigov.purpose.id'])).toEqual(['loan', 'loan']);
    expect(ended[0]?.parentSpanId).toBe(ended[1]?.spanId);
  });

  it.each([
    [
      'a sync generator',
      function* () {
        yield 1;
      },
    ],
    ['something to iterate over later', () => ({ async *[Symbol.asyncIterator]() {} })],
  ])('does not claim to know what will come of %s', (_, model) => {
    governedModel<unknown, [], unknown>(options, model)();
    expect(only()).toEqual(
      told('[]', {
        'aigov.output.absence': 'not_observed',
        'aigov.invocation.completion': 'complete',
      }),
    );
  });
});

describe('a governed async generator', () => {
  const count = governedModel(options, async function* (to: number) {
    for (let n = 1; n <= to; n++) {
      trace.getTracer('inner').startSpan(`step ${n}`).end();
      yield n;
    }
  });
  const ours = () => ended.filter(({ scope }) => scope === 'sealspan');

  it('is digested value by value, and is the parent of what its steps start', async () => {
    const seen: number[] = [];
    for await (const n of count(3)) seen.push(n);
    expect(seen).toEqual([1, 2, 3]);
    const [span] = ours();
    const { 'gen_ai.response.time_to_first_chunk': first, ...attributes } = span?.attributes ?? {};
    expect(attributes).toEqual(told('[3]', completed('1\n2\n3\n')));
    expect(first).toEqual(expect.any(Number));
    const parents = ended.filter(({ scope }) => scope === 'inner').map((step) => step.parentSpanId);
    expect(parents).toEqual([span?.spanId, span?.spanId, span?.spanId]);
  });

  it('that yields nothing is complete', async () => {
    for await (const _ of count(0)) throw new Error('nothing to see');
    expect(ours()[0]?.attributes).toEqual(
      told('[0]', { ...completed(''), 'aigov.output.length': 0 }),
    );
  });

  it('that is broken off is aborted, with the digest of what was given', async () => {
    for await (const _ of count(3)) break;
    expect(ours().map(({ attributes }) => attributes)).toEqual([
      {
        ...told('[3]', completed('1\n')),
        'aigov.invocation.completion': 'aborted',
        'aigov.invocation.detail': 'break',
        'gen_ai.response.time_to_first_chunk': expect.any(Number),
      },
    ]);
  });

  it('that throws is an error', async () => {
    const failing = governedModel(options, async function* () {
      yield 1;
      throw new RangeError('secret');
    });
    await expect(async () => {
      for await (const _ of failing());
    }).rejects.toThrow(RangeError);
    expect(ours()[0]?.attributes).toMatchObject({
      'aigov.invocation.completion': 'error',
      'error.type': 'RangeError',
    });
  });
});

describe('misuse', () => {
  it.each([
    ['model', {}],
    ['model', { model: '' }],
    ['version', { model: 'm', version: 3 }],
    ['provider', { model: 'm', provider: '' }],
    ['operation', { model: 'm', operation: 7 }],
    ['input', { model: 'm', input: 'all' }],
    ['model.digest', { model: 'm', digest: 'abc' }],
  ])('is refused when wrapping, by name: %s', (name, wrong) => {
    const wrap = () => governedModel(wrong as never, () => 1);
    expect(wrap).toThrow(TypeError);
    expect(wrap).toThrow(name);
  });

  it('is refused when there is no function', () => {
    expect(() => governedModel({ model: 'm' }, undefined as never)).toThrow(TypeError);
  });
});

describe('our own failures', () => {
  it.each(['tracer', 'start', 'span'])('of the %s do not reach the application', (fault) => {
    trace.disable();
    trace.setGlobalTracerProvider(faultyProvider(fault));
    onTestFinished(() => {
      trace.disable();
    });
    let calls = 0;
    const open = instrumentationStats().open;
    expect(governedModel(options, (n: number) => n + ++calls)(1)).toBe(2);
    expect([calls, instrumentationStats().open]).toEqual([1, open]);
  });

  it('of the context manager do not run the model twice, or not at all', () => {
    const manager = (failing: 'before' | 'after') => ({
      active: () => ({}) as never,
      with: (_: unknown, work: () => unknown) => {
        if (failing === 'before') throw new Error('fault');
        work();
        throw new Error('fault');
      },
      bind: (_: unknown, target: unknown) => target,
      enable: () => undefined as never,
      disable: () => undefined as never,
    });
    for (const failing of ['before', 'after'] as const) {
      context.disable();
      context.setGlobalContextManager(manager(failing) as never);
      let calls = 0;
      expect(governedModel(options, (n: number) => n + ++calls)(1)).toBe(2);
      expect(calls).toBe(1);
    }
    context.disable();
  });
});
