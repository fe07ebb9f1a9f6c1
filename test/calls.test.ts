// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: one call of a model counts once, however many instrumentations tell of it; two calls never count as one for looking
 * alike in one way only.
 * Method: traces drawn as tables, a span a line, in the names of four conventions; the groups that come of them.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CallSpan, groupCalls } from '../exporter/cli/calls.ts';
import { normalise } from '../semconv/index.ts';

const START_MS = Date.parse('2026-11-23T10:00:00.000Z');

type Attributes = Readonly<Record<string, unknown>>;
/** Id, parent, scope, milliseconds from when to when, and what it says. */
type Line = readonly [string, string, string, number, number, Attributes];

const spanOf = ([spanId, parentSpanId, scope, from, to, attributes]: Line): CallSpan => ({
  spanId,
  parentSpanId,
  scope,
  start: new Date(START_MS + from).toISOString(),
  durationMs: to - from,
  normalised: normalise(attributes),
});

/** The groups as texts of ids. */
const groupsOf = (lines: readonly Line[]): string[] =>
  groupCalls(lines.map(spanOf)).map((group) => group.map(({ spanId }) => spanId).join(' '));

const OURS = 'sealspan';
const OI = '@arizeai/openinference-instrumentation-openai';
const OLL = '@traceloop/instrumentation-openai';
const LANGFUSE = 'langfuse-sdk';

/** A chat in the names of each convention; without an id where that convention has none. */
const ours = (model = 'gpt-5', id?: string): Attributes => ({
  'gen_ai.operation.name': 'chat',
  'gen_ai.request.model': model,
  ...(id !== undefined && { 'gen_ai.response.id': id }),
});
const openInference = (model = 'gpt-5'): Attributes => ({
  'openinference.span.kind': 'LLM',
  'llm.model_name': model,
  'llm.token_count.prompt': 3,
});
const openLlmetry = (model = 'gpt-5', id?: string): Attributes => ({
  'gen_ai.system': 'OpenAI',
  'llm.request.type': 'chat',
  'gen_ai.request.model': model,
  ...(id !== undefined && { 'gen_ai.response.id': id }),
});
const vercel = (operation: string, model = 'gpt-5', id?: string): Attributes => ({
  'ai.operationId': operation,
  'ai.model.id': model,
  'ai.model.provider': 'openai.chat',
  ...(id !== undefined && { 'ai.response.id': id }),
});
const langfuse = (model = 'gpt-5'): Attributes => ({
  'langfuse.observation.type': 'generation',
  'langfuse.observation.model.name': model,
});

describe('one call', () => {
  test.each<[string, readonly Line[], string[]]>([
    ['told once', [['a', '', OURS, 0, 9, ours()]], ['a']],
    [
      'told by the one around it',
      [
        ['b', 'a', OURS, 1, 8, ours()],
        ['a', '', OI, 0, 9, openInference()],
      ],
      ['a b'],
    ],
    [
      'told by two beside each other',
      [
        ['a', 'http', OLL, 0, 9, openLlmetry()],
        ['b', 'http', OURS, 1, 8, ours()],
      ],
      ['a b'],
    ],
    [
      'of a framework and of the client it uses, both ours',
      [
        ['a', '', OURS, 0, 9, ours('gpt-5', 'x')],
        ['b', 'a', OURS, 1, 8, ours('gpt-5', 'x')],
      ],
      ['a b'],
    ],
    [
      'of the Vercel SDK, whose outer span is none',
      [
        ['a', '', 'ai', 0, 9, vercel('ai.generateText', 'gpt-5', 'x')],
        ['b', 'a', 'ai', 1, 8, vercel('ai.generateText.doGenerate', 'gpt-5', 'x')],
        ['c', 'a', OURS, 1, 8, ours('gpt-5-2026', 'x')],
      ],
      ['b c'],
    ],
    [
      'told by all, one in the other',
      [
        ['a', '', LANGFUSE, 0, 9, langfuse('models/GPT-5')],
        ['b', 'a', 'ai', 1, 8, vercel('ai.streamText.doStream')],
        ['c', 'b', OI, 2, 7, openInference()],
        ['d', 'c', OURS, 3, 6, ours('gpt-5', 'x')],
        ['e', 'c', OLL, 3, 6, openLlmetry('gpt-5', 'x')],
      ],
      ['a b c d e'],
    ],
    [
      'sealed twice, since its sender was not sure',
      [
        ['a', '', OLL, 0, 9, openLlmetry()],
        ['b', 'a', OURS, 1, 8, ours()],
        ['b', 'a', OURS, 1, 8, ours()],
      ],
      ['a b b'],
    ],
    [
      'by another name of the operation',
      [
        ['a', '', OLL, 0, 9, openLlmetry('gemini-3')],
        [
          'b',
          'a',
          OURS,
          1,
          8,
          { ...ours('gemini-3'), 'gen_ai.operation.name': 'generate_content' },
        ],
      ],
      ['a b'],
    ],
  ])('%s', (_name, lines, expected) => {
    expect(groupsOf(lines)).toEqual(expected);
  });
});

describe('two calls', () => {
  test.each<[string, readonly Line[], string[]]>([
    [
      'with other ids, for all else they share',
      [
        ['a', '', OLL, 0, 9, openLlmetry('gpt-5', 'x')],
        ['b', 'a', OURS, 1, 8, ours('gpt-5', 'y')],
      ],
      ['a', 'b'],
    ],
    [
      'of other models',
      [
        ['a', '', OI, 0, 9, openInference('gpt-5')],
        ['b', 'a', OURS, 1, 8, ours('gpt-5-mini')],
      ],
      ['a', 'b'],
    ],
    [
      'of other operations',
      [
        ['a', '', OI, 0, 9, { 'openinference.span.kind': 'EMBEDDING', 'llm.model_name': 'm' }],
        ['b', 'a', OURS, 1, 8, ours('m')],
      ],
      ['a', 'b'],
    ],
    [
      'of one instrumentation, at once',
      [
        ['a', 'http', OURS, 0, 9, ours()],
        ['b', 'http', OURS, 0, 9, ours()],
      ],
      ['a', 'b'],
    ],
    [
      'one after the other, by two instrumentations',
      [
        ['a', 'http', OURS, 0, 4, ours()],
        ['b', 'http', OI, 5, 9, openInference()],
      ],
      ['a', 'b'],
    ],
    [
      'in different parts of the trace',
      [
        ['a', 'one', OURS, 0, 9, ours()],
        ['b', 'two', OI, 0, 9, openInference()],
      ],
      ['a', 'b'],
    ],
    [
      'of which the first failed and was tried again',
      [
        ['a', '', OURS, 0, 9, ours('gpt-5', 'x')],
        ['b', 'a', OURS, 1, 2, ours()],
        ['c', 'a', OURS, 3, 8, ours('gpt-5', 'x')],
      ],
      ['a c', 'b'],
    ],
    [
      'of which the first failed, and no id tells which answered',
      [
        ['a', '', OI, 0, 9, openInference()],
        ['b', 'a', OURS, 1, 2, ours()],
        ['c', 'a', OURS, 3, 8, ours()],
      ],
      ['a c', 'b'],
    ],
    [
      'at once, each told twice',
      [
        ['a', 'http', OURS, 0, 50, ours()],
        ['b', 'http', OURS, 3, 90, ours()],
        ['c', 'http', OI, 4, 89, openInference()],
        ['d', 'http', OI, 1, 49, openInference()],
      ],
      ['a d', 'b c'],
    ],
  ])('%s', (_name, lines, expected) => {
    expect(groupsOf(lines)).toEqual(expected);
  });
});

test('what calls no model is no call', () => {
  const operations = [
    'invoke_agent',
    'agent_step',
    'execute_tool',
    'retrieval',
    'search_memory',
    'plan',
  ];
  const lines = operations.map(
    (operation, at): Line => [
      String(at),
      '',
      OURS,
      0,
      9,
      { 'gen_ai.operation.name': operation, 'gen_ai.request.model': 'gpt-5' },
    ],
  );
  expect(groupsOf([...lines, ['x', '', OURS, 0, 9, { 'aigov.decision.id': 'd' }]])).toEqual([]);
});

test('any spans, of whatever shape: each call is in one group, and it ends', () => {
  const id = fc.constantFrom('', 'a', 'b', 'c', 'd', 'e');
  const line = fc.tuple(
    id,
    id,
    fc.constantFrom(OURS, OI, ''),
    fc.integer({ min: 0, max: 9 }),
    fc.integer({ min: 0, max: 9 }),
    fc.constantFrom(ours(), ours('gpt-5', 'x'), openInference(), {}),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
      const spans = lines.map(spanOf);
      const grouped = groupCalls(spans).flat();
      const calls = spans.filter(({ normalised }) => 'gen_ai.operation.name' in normalised);
      expect(new Set(grouped)).toEqual(new Set(calls));
      expect(grouped).toHaveLength(calls.length);
    }),
  );
});
