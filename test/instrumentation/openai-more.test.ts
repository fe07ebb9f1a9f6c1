// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: embeddings, text completions, moderations and decisions of `openai` 6 and 7 behave with our hooks as without, and each
 * leaves one span that says how it ended. Method: the matrix of the other SDKs, with text completions in its cases.
 */
import { expect } from 'vitest';
import { TEXT } from '../sdks/support/fake-server.ts';
import { describeMatrix, digest, inputs, message, outputs } from '../sdks/support/matrix.ts';
import { STAINLESS_ENDS } from '../sdks/support/stainless-cases.ts';
import { startFakeOpenaiMore } from './support/fake-openai-more.ts';

const COMPLETE = { 'aigov.invocation.completion': 'complete' };
const server = (operation: string, model: string = 'm-fake') => ({
  'gen_ai.operation.name': operation,
  'gen_ai.provider.name': 'openai',
  'server.address': '127.0.0.1',
  'gen_ai.request.model': model,
  'gen_ai.response.model': `${model}-2026`,
  ...COMPLETE,
});
const completed = (...reasons: readonly string[]) => ({
  ...server('text_completion'),
  'gen_ai.response.id': 'cmpl-1',
  'gen_ai.response.finish_reasons': reasons,
  'openai.response.system_fingerprint': 'fp-1',
});
const USAGE = { 'gen_ai.usage.input_tokens': 12, 'gen_ai.usage.output_tokens': 5 };
const STREAMED = {
  'gen_ai.request.stream': true,
  'gen_ai.response.time_to_first_chunk': expect.any(Number),
};
/** A text without a role. */
function texts(count: number): Readonly<Record<string, unknown>> {
  const one = outputs({ reason: 'stop', parts: [{ type: 'text', text: TEXT }], role: null });
  const two = outputs(
    { reason: 'stop', parts: [{ type: 'text', text: TEXT }], role: null },
    { reason: 'stop', parts: [{ type: 'text', text: TEXT }], role: null },
  );
  return count === 1 ? one : two;
}
const valued = (canonical: string) => ({
  'aigov.output.digest': digest(canonical),
  'aigov.output.length': Buffer.byteLength(canonical),
});
const PROMPT = '{"prompt":"Grüß mich"}';
const INPUT = '{"input":"Grüß mich"}';
const CHOICE =
  '{"choices":[{"value":"approve"},{"value":"deny"}],"instructions":"Approve?","type":"choice"}';
const PREDICATE = '{"instructions":"Kind?","type":"predicate"}';
const CHOSEN =
  '{"choice":"approve","confidence":0.75,"name":null,"probabilities":[{"probability":0.75,"value":"approve"}],"type":"choice"}';
const decided = (model: string = 'm-fake') => ({
  ...server('decide', model),
  ...USAGE,
  'gen_ai.usage.cache_read.input_tokens': 4,
  'gen_ai.usage.cache_write.input_tokens': 3,
  'gen_ai.usage.reasoning.output_tokens': 2,
});

const NO_TOOLS = { absent: 'text completions call no tools' };
const NO_DECISIONS = { absent: 'this version has no decisions' };

describeMatrix({
  target: 'openai',
  columns: { 'openai completions': '' },
  versions: [
    { version: '7.57.0', folder: '../instrumentation/support', formats: ['esm', 'cjs'] },
    {
      version: '6.49.0',
      folder: '../apps/openai-6',
      formats: ['esm'],
      ends: {
        decisions: NO_DECISIONS,
        'decisions: two questions': NO_DECISIONS,
        'decisions: refused': NO_DECISIONS,
      },
    },
  ],
  app: '../../instrumentation/support/openai-more-app.ts',
  startProvider: startFakeOpenaiMore,
  ends: {
    ...STAINLESS_ENDS,
    'tool call': NO_TOOLS,
    'stream of a tool call': NO_TOOLS,
    'stream that reports an error': 'error overloaded',
    parse: { absent: 'text completions have no such helper' },
    'completions: with parameters': 'complete',
    'completions: stream of two prompts': 'complete',
    'completions: stream of two prompts, left after the first': 'aborted break',
    embeddings: 'complete',
    'embeddings: as numbers': 'complete',
    'embeddings: withResponse': 'complete',
    moderations: 'complete',
    decisions: 'complete',
    'decisions: two questions': 'complete',
    'decisions: refused': 'complete',
  },
  whole: {
    plain: {
      ...completed('stop'),
      ...inputs(PROMPT, '{"model":"m-fake"}'),
      ...USAGE,
      ...texts(1),
    },
    stream: {
      ...completed('stop'),
      ...inputs(PROMPT, '{"model":"m-fake"}'),
      ...STREAMED,
      ...texts(1),
    },
    'completions: with parameters': {
      ...completed('stop'),
      ...inputs(
        '{"prompt":"Grüß mich","suffix":"!"}',
        '{"max_tokens":64,"model":"m-fake","seed":7,"stop":["END"],"temperature":0.2,"top_p":0.9}',
      ),
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.top_p': 0.9,
      'gen_ai.request.max_tokens': 64,
      'gen_ai.request.seed': 7,
      'gen_ai.request.stop_sequences': ['END'],
      ...USAGE,
      ...texts(1),
    },
    'completions: stream of two prompts': {
      ...completed('stop', 'stop'),
      ...inputs('{"prompt":["a","b"]}', '{"model":"m-fake"}'),
      ...STREAMED,
      ...USAGE,
      ...texts(2),
    },
    embeddings: {
      ...server('embeddings'),
      ...inputs('{"input":["Grüß mich"]}', '{"dimensions":2,"model":"m-fake"}'),
      'gen_ai.embeddings.dimension.count': 2,
      'gen_ai.usage.input_tokens': 3,
      ...valued('[[0.25,-0.5]]'),
    },
    'embeddings: as numbers': {
      ...server('embeddings'),
      ...inputs(INPUT, '{"encoding_format":"float","model":"m-fake"}'),
      'gen_ai.request.encoding_formats': ['float'],
      'gen_ai.embeddings.dimension.count': 2,
      'gen_ai.usage.input_tokens': 3,
      ...valued('[[0.25,-0.5]]'),
    },
    moderations: {
      ...server('moderate'),
      ...inputs(INPUT, '{"model":"m-fake"}'),
      'gen_ai.response.id': 'modr-1',
      ...valued('[{"categories":{"violence":false},"flagged":false}]'),
    },
    decisions: {
      ...decided(),
      ...inputs(INPUT, `{"model":"m-fake","questions":[${CHOICE}]}`),
      'aigov.decision.confidence': 0.75,
      ...valued(`[${CHOSEN}]`),
    },
    'decisions: two questions': {
      ...decided(),
      ...inputs(INPUT, `{"model":"m-fake","questions":[${CHOICE},${PREDICATE}]}`),
      ...valued(`[${CHOSEN},{"name":null,"probability":0.5,"type":"predicate"}]`),
    },
    'decisions: refused': {
      ...decided('m-declines'),
      ...inputs(INPUT, `{"model":"m-declines","questions":[${CHOICE}]}`),
      'gen_ai.response.finish_reasons': ['refusal'],
      ...valued('[{"name":null,"type":"refusal"}]'),
    },
  },
  texts: {
    embeddings: {
      input: [message('user', 'Grüß mich')],
      output: [message('assistant', '[[0.25,-0.5]]')],
    },
    moderations: {
      input: [message('user', 'Grüß mich')],
      output: [message('assistant', '[{"categories":{"violence":false},"flagged":false}]')],
    },
    'completions: with parameters': {
      input: [message('user', 'Grüß mich', '!')],
      output: [{ finish_reason: 'stop', parts: [{ type: 'text', content: TEXT }] }],
    },
    decisions: {
      input: [message('user', 'Grüß mich')],
      output: [message('assistant', `[${CHOSEN}]`)],
    },
  },
});
