// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: digests are what their definition says, do not depend on how an answer was cut, and never exist without a key.
 * Method: vectors, the definition computed anew with `node:crypto`, and random cuts.
 */
import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  AnswerOutput,
  canonicalJson,
  contentDigest,
  inputAttributes,
  SequenceOutput,
  valueOutput,
} from '../../instrumentation/content.ts';
import {
  type ContentPolicy,
  configureInstrumentation,
  instrumentationStats,
} from '../../instrumentation/settings.ts';

const digestKey = { id: 'k-1', secret: new Uint8Array(32).fill(9) };
const hex = (text: string) => createHmac('sha256', digestKey.secret).update(text).digest('hex');
const digest = (text: string) => `hmac-sha256:${hex(text)}`;

const configure = (policy: ContentPolicy, withKey = true) =>
  configureInstrumentation({ content: { policy }, ...(withKey && { digestKey }) });

beforeEach(() => configure('digest'));
afterEach(() => vi.unstubAllEnvs());

describe('canonicalJson', () => {
  const cycle: unknown[] = [];
  cycle.push(cycle);

  it.each([
    // RFC 8785, 3.2.2, and the sorting example of 3.2.3.
    [
      'the example of RFC 8785',
      {
        numbers: [JSON.parse('333333333.33333329'), 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
        string: '\u20ac$\u000F\u000aA\'\u0042\u0022\u005c\\"/',
        literals: [null, true, false],
      },
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    ],
    [
      'names in the order of UTF-16',
      { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\ud83d\ude00': 5, '\u0080': 6, '\u00f6': 7 },
      '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"😀":5,"\ufb33":3}',
    ],
    ['numbers that are not finite', [Number.NaN, Number.POSITIVE_INFINITY, -0], '[null,null,0]'],
    [
      'what JSON leaves out',
      { a: undefined, b: () => 1, c: [undefined, () => 1] },
      '{"c":[null,null]}',
    ],
    // biome-ignore lint/suspicious/noSparseArray: a hole is what this is about.
    ['holes', [1, , 2], '[1,null,2]'],
    ['a date', { at: new Date(0) }, '{"at":"1970-01-01T00:00:00.000Z"}'],
    ['a bigint', { n: 2n ** 64n }, '{"n":"18446744073709551616"}'],
    ['bytes', new Uint8Array([1, 2, 255]), '"AQL/"'],
    ['part of a buffer', new Uint8Array([0, 1, 2, 255, 0]).subarray(1, 4), '"AQL/"'],
    ['a lone surrogate', '\ud83d', '"\\ud83d"'],
  ])('writes %s', (_, value, expected) => {
    expect(canonicalJson(value)).toBe(expected);
  });

  it.each([
    ['undefined', undefined],
    ['a function', () => 1],
    ['a cycle', cycle],
  ])('refuses %s', (_, value) => {
    expect(() => canonicalJson(value)).toThrow(RangeError);
  });

  it('agrees with JSON about what a value is, whatever the order of its members', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(canonicalJson(reversed(value))).toBe(text);
      }),
    );
  });

  function reversed(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(reversed);
    if (typeof value !== 'object' || value === null) return value;
    const members = Object.entries(value).reverse();
    return Object.fromEntries(members.map(([name, member]) => [name, reversed(member)]));
  }
});

describe('what goes to a model', () => {
  const input = {
    content: { messages: ['secret'] },
    config: { temperature: 0 },
    messages: () => [{ role: 'user', parts: [{ type: 'text', content: 'secret' }] }],
    systemInstructions: () => [{ type: 'text', content: 'be kind' }],
    toolDefinitions: () => [{ name: 'weather' }],
  };
  const digests = {
    'aigov.digest.alg': 'hmac-sha256',
    'aigov.digest.key_id': 'k-1',
    'aigov.input.digest': digest('{"messages":["secret"]}'),
    'aigov.input.length': 23,
    'aigov.config.digest': digest('{"temperature":0}'),
  };
  const texts = {
    'gen_ai.input.messages': '[{"role":"user","parts":[{"type":"text","content":"secret"}]}]',
    'gen_ai.system_instructions': '[{"type":"text","content":"be kind"}]',
    'gen_ai.tool.definitions': '[{"name":"weather"}]',
  };

  it.each<[ContentPolicy, boolean, object]>([
    ['digest', true, digests],
    ['digest', false, { 'aigov.input.absence': 'no_key' }],
    ['omit', true, { 'aigov.input.absence': 'policy' }],
    ['omit', false, { 'aigov.input.absence': 'policy' }],
    ['full', true, { ...digests, ...texts }],
    ['full', false, { 'aigov.input.absence': 'no_key', ...texts }],
  ])('under %s, with a key: %s', (policy, withKey, expected) => {
    configure(policy, withKey);
    expect(inputAttributes(() => input)).toEqual({ 'aigov.content.policy': policy, ...expected });
  });

  it('is not asked for where nothing of it is kept', () => {
    configure('omit', true);
    const asked = (): never => {
      throw new Error('asked');
    };
    expect(inputAttributes(asked)).toEqual({
      'aigov.content.policy': 'omit',
      'aigov.input.absence': 'policy',
    });
  });

  it('is stated as absent if it has no canonical form', () => {
    const before = instrumentationStats().problems['content.input'] ?? 0;
    const content = {
      get messages(): unknown {
        throw new Error('mine');
      },
    };
    expect(inputAttributes(() => ({ content }))).toEqual({
      'aigov.content.policy': 'digest',
      'aigov.digest.alg': 'hmac-sha256',
      'aigov.digest.key_id': 'k-1',
      'aigov.input.absence': 'unserialisable',
    });
    expect(instrumentationStats().problems['content.input']).toBe(before + 1);
  });

  it('has a digest only with a key', () => {
    expect(contentDigest('yes')).toBe(digest('"yes"'));
    configure('digest', false);
    expect(contentDigest('yes')).toBeUndefined();
  });
});

describe('an answer', () => {
  const text = 'Grüß 👋 dich';

  it('has one digest however it was cut, through characters as well', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.array(fc.nat(40)), (content, cuts) => {
        const whole = new AnswerOutput();
        whole.message(0, 'assistant', 'stop');
        whole.text(0, 'text', 0, content);
        const cut = new AnswerOutput();
        cut.message(0, 'assistant');
        const places = [0, ...cuts.sort((a, b) => a - b), content.length];
        for (const [index, place] of places.entries()) {
          cut.text(0, 'text', 0, content.slice(places[index - 1] ?? 0, place));
        }
        cut.message(0, undefined, 'stop');
        expect(cut.attributes()).toEqual(whole.attributes());
      }),
    );
  });

  it('does not depend on the order in which parts and choices arrive', () => {
    const one = new AnswerOutput();
    one.message(1, 'assistant', 'stop');
    one.text(1, 'text', 0, text);
    one.message(0, 'assistant', 'tool_calls');
    one.toolCall(0, 1, 'b', 'second');
    one.toolCall(0, 0, 'a', 'first');
    one.text(0, 'tool_call', 0, '{}');
    one.text(0, 'text', 0, text);
    const calls =
      `{"content":"${hex(text)}","type":"text"},` +
      `{"arguments":"${hex('{}')}","id":"a","name":"first","type":"tool_call"},` +
      `{"arguments":"${hex('')}","id":"b","name":"second","type":"tool_call"}`;
    const first = `{"finish_reason":"tool_calls","parts":[${calls}],"role":"assistant"}`;
    const second = `{"finish_reason":"stop","parts":[{"content":"${hex(text)}","type":"text"}],"role":"assistant"}`;
    expect(one.attributes()).toEqual({
      'aigov.output.digest': digest(`[${first},${second}]`),
      'aigov.output.length': 2 * Buffer.byteLength(text) + 2,
    });
  });

  it.each<[ContentPolicy, boolean, object]>([
    ['digest', false, { 'aigov.output.absence': 'no_key' }],
    ['omit', true, { 'aigov.output.absence': 'policy' }],
    [
      'full',
      false,
      {
        'aigov.output.absence': 'no_key',
        'gen_ai.output.messages': `[{"role":"assistant","finish_reason":"stop","parts":[{"type":"text","content":"${text}"}]}]`,
      },
    ],
  ])('under %s, with a key: %s', (policy, withKey, expected) => {
    configure(policy, withKey);
    const answer = new AnswerOutput();
    answer.message(0, 'assistant', 'stop');
    answer.text(0, 'text', 0, text.slice(0, 6));
    answer.text(0, 'text', 0, text.slice(6));
    expect(answer.attributes()).toEqual(expected);
  });

  it('that is one value is digested over its canonical text', () => {
    expect(valueOutput({ b: 1, a: 2 })).toEqual({
      'aigov.output.digest': digest('{"a":2,"b":1}'),
      'aigov.output.length': 13,
    });
    expect(valueOutput(undefined)).toEqual({
      'aigov.output.digest': digest('null'),
      'aigov.output.length': 4,
    });
  });

  it('that is a sequence is digested value by value', () => {
    const sequence = new SequenceOutput();
    sequence.add({ n: 1 });
    sequence.add('two');
    expect(sequence.attributes()).toEqual({
      'aigov.output.digest': digest('{"n":1}\n"two"\n'),
      'aigov.output.length': 14,
    });
  });
});
