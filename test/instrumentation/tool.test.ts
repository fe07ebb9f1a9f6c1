// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the run of a tool says which tool, for which call and with what outcome, and holds text only where that was asked for.
 * Method: whole starts and answers, under each content policy.
 */
import { createHmac } from 'node:crypto';
import { SpanKind } from '@opentelemetry/api';
import { beforeEach, describe, expect, it } from 'vitest';
import { configureInstrumentation } from '../../instrumentation/settings.ts';
import { ToolAnswer, toolStart } from '../../instrumentation/tool.ts';

const secret = new Uint8Array(32).fill(7);
const digest = (text: string) =>
  `hmac-sha256:${createHmac('sha256', secret).update(text).digest('hex')}`;
const configure = (policy: 'digest' | 'full' | 'omit') =>
  configureInstrumentation({ content: { policy }, digestKey: { id: 'k', secret } });
const answerOf = (value: unknown) => {
  const answer = new ToolAnswer();
  answer.whole(value);
  return answer.attributes();
};
const TOOL = {
  'gen_ai.operation.name': 'execute_tool',
  'gen_ai.tool.type': 'function',
  'gen_ai.tool.name': 'weather',
};

beforeEach(() => configure('digest'));

describe('the start of a tool', () => {
  it('says all that is known', () => {
    const call = {
      name: 'weather',
      id: 'call-1',
      description: 'Tells',
      arguments: { city: 'Köln' },
    };
    const { input, ...start } = toolStart(call);
    expect(input?.()).toEqual({ content: { city: 'Köln' } });
    expect(start).toEqual({
      name: 'execute_tool weather',
      kind: SpanKind.INTERNAL,
      attributes: {
        ...TOOL,
        'gen_ai.tool.call.id': 'call-1',
        'gen_ai.tool.description': 'Tells',
      },
    });
  });

  it('leaves out what is no text', () => {
    const start = toolStart({ name: 7, id: {}, description: '', arguments: null });
    expect(start.name).toBe('execute_tool');
    expect(start.attributes).toEqual({
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.type': 'function',
    });
  });

  it('holds the arguments where that was asked for', () => {
    configure('full');
    expect(toolStart({ name: 'weather', arguments: { b: 1, a: 2 } }).attributes).toEqual({
      ...TOOL,
      'gen_ai.tool.call.arguments': '{"a":2,"b":1}',
    });
  });
});

describe('the answer of a tool', () => {
  it.each([
    ['digest', { 'aigov.output.digest': digest('"sun"'), 'aigov.output.length': 5 }],
    ['omit', { 'aigov.output.absence': 'policy' }],
    [
      'full',
      {
        'aigov.output.digest': digest('"sun"'),
        'aigov.output.length': 5,
        'gen_ai.tool.call.result': '"sun"',
      },
    ],
  ] as const)('under %s', (policy, expected) => {
    configure(policy);
    expect(answerOf('sun')).toEqual(expected);
  });

  it('that is nothing is null, and none is none', () => {
    expect(answerOf(undefined)).toEqual({
      'aigov.output.digest': digest('null'),
      'aigov.output.length': 4,
    });
    expect(new ToolAnswer().attributes()).toBeUndefined();
  });
});
