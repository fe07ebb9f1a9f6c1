// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `@mistralai/mistralai` 1.x and 2.x behaves with our hooks as without, and each call of a model leaves one span that says
 * how it ended. Method: the matrix, against a provider that speaks the interface of Mistral.
 */
import { expect } from 'vitest';
import { noHelpers } from './support/case.ts';
import { startFakeMistral } from './support/fake-mistral.ts';
import { ARGUMENTS, TEXT } from './support/fake-server.ts';
import { describeMatrix, digest, inputs, message, outputs } from './support/matrix.ts';

const MESSAGES =
  '{"messages":[{"content":"Be kind.","role":"system"},{"content":"Grüß mich","role":"user"}]}';
const TOOLS =
  '"tools":[{"function":{"name":"weather","parameters":{"type":"object"}},"type":"function"}]';
const COMPLETE = { 'aigov.invocation.completion': 'complete' };
const server = (operation: string) => ({
  'gen_ai.operation.name': operation,
  'gen_ai.provider.name': 'mistral_ai',
  'server.address': '127.0.0.1',
});
const answered = (model: string, reason: string) => ({
  'gen_ai.response.id': 'chat-1',
  'gen_ai.response.model': `${model}-2026`,
  'gen_ai.response.finish_reasons': [reason],
  'gen_ai.usage.input_tokens': 12,
  'gen_ai.usage.output_tokens': 5,
  ...COMPLETE,
});
const chat = (model: string, reason: string) => ({
  ...server('chat'),
  'gen_ai.request.model': model,
  ...answered(model, reason),
});
const STREAMED = {
  'gen_ai.request.stream': true,
  'gen_ai.response.time_to_first_chunk': expect.any(Number),
};
const said = outputs({
  reason: 'stop',
  parts: [
    { type: 'reasoning', text: 'Greet back.' },
    { type: 'text', text: TEXT },
  ],
});
const called = outputs({
  reason: 'tool_calls',
  parts: [{ type: 'tool_call', text: JSON.stringify(ARGUMENTS), id: 'call-1', name: 'weather' }],
});
const valued = (canonical: string) => ({
  'aigov.output.digest': digest(canonical),
  'aigov.output.length': Buffer.byteLength(canonical),
  ...COMPLETE,
});

describeMatrix({
  target: '@mistralai/mistralai',
  versions: [
    { version: '2.7.0', folder: '.', formats: ['esm', 'cjs'] },
    { version: '1.15.1', folder: 'majors/mistral-1', formats: ['esm', 'cjs'] },
  ],
  app: 'mistral-app.ts',
  startProvider: startFakeMistral,
  ends: {
    plain: 'complete',
    'tool call': 'complete',
    stream: 'complete',
    'stream of a tool call': 'complete',
    'stream broken off': 'aborted break',
    'stream with a throwing reader': 'aborted break',
    'stream ends early': 'error truncated truncated',
    'stream whose connection dies': 'error connection UND_ERR_SOCKET',
    // The package has no shape for it.
    'stream that reports an error': 'error ZodError',
    'stream never read': 'abandoned unread',
    'stream half read': 'abandoned',
    'stream aborted': 'aborted signal',
    aborted: 'aborted signal',
    timeout: 'error timeout timeout',
    'no connection': 'error connection ECONNREFUSED',
    '400': 'error 400',
    '500 after retries': 'error 500',
    'good after retries': 'complete',
    'never awaited': 'complete',
    ...noHelpers(),
    parse: 'complete',
    'parse of a stream': 'complete',
    tee: 'complete',
    toReadableStream: 'complete',
    'no request at all': 'error SDKValidationError',
    'stream by a reader': 'complete',
    'stream by a reader that stops': 'aborted break',
    'stream cancelled before it is read': 'aborted break',
    'stream through pipeThrough': 'complete',
    'stream through pipeThrough, stopped': 'aborted break',
    'stream through pipeThrough, whose connection dies': 'error connection UND_ERR_SOCKET',
    'stream through pipeTo': 'complete',
    'with parameters': 'complete',
    'agents: plain': 'complete',
    'fim: plain': 'complete',
    'fim: stream': 'complete',
    embeddings: 'complete',
    moderation: 'complete',
  },
  whole: {
    plain: {
      ...chat('m-fake', 'stop'),
      ...inputs(MESSAGES, '{"model":"m-fake"}'),
      ...said,
    },
    stream: {
      ...chat('m-fake', 'stop'),
      ...inputs(MESSAGES, '{"model":"m-fake"}'),
      ...STREAMED,
      ...said,
    },
    'stream through pipeThrough': {
      ...chat('m-fake', 'stop'),
      ...inputs(MESSAGES, '{"model":"m-fake"}'),
      ...STREAMED,
      ...said,
    },
    'tool call': {
      ...chat('m-tools', 'tool_calls'),
      ...inputs(MESSAGES, `{"model":"m-tools",${TOOLS}}`),
      ...called,
    },
    'stream of a tool call': {
      ...chat('m-tools', 'tool_calls'),
      ...inputs(MESSAGES, `{"model":"m-tools",${TOOLS}}`),
      ...STREAMED,
      ...called,
    },
    'with parameters': {
      ...chat('m-fake', 'stop'),
      ...inputs(
        MESSAGES,
        '{"frequencyPenalty":0.1,"maxTokens":64,"model":"m-fake","n":1,"presencePenalty":0.3,"randomSeed":7,"responseFormat":{"type":"json_object"},"stop":["END"],"temperature":0.2,"topP":0.9}',
      ),
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.top_p': 0.9,
      'gen_ai.request.max_tokens': 64,
      'gen_ai.request.seed': 7,
      'gen_ai.request.choice.count': 1,
      'gen_ai.request.frequency_penalty': 0.1,
      'gen_ai.request.presence_penalty': 0.3,
      'gen_ai.request.stop_sequences': ['END'],
      'gen_ai.output.type': 'json',
      ...said,
    },
    'agents: plain': {
      ...server('chat'),
      'gen_ai.agent.id': 'm-fake',
      ...inputs('{"messages":[{"content":"Grüß mich","role":"user"}]}', '{"agentId":"m-fake"}'),
      ...answered('m-fake', 'stop'),
      ...said,
    },
    'fim: plain': {
      ...server('text_completion'),
      'gen_ai.request.model': 'm-fake',
      ...inputs('{"prompt":"a","suffix":"b"}', '{"model":"m-fake"}'),
      ...answered('m-fake', 'stop'),
      ...said,
    },
    embeddings: {
      ...server('embeddings'),
      'gen_ai.request.model': 'm-fake',
      ...inputs('{"inputs":["Grüß mich"]}', '{"model":"m-fake"}'),
      'gen_ai.response.id': 'chat-1',
      'gen_ai.response.model': 'm-fake-2026',
      'gen_ai.embeddings.dimension.count': 2,
      'gen_ai.usage.input_tokens': 3,
      ...valued('[[0.25,-0.5]]'),
    },
    moderation: {
      ...server('moderate'),
      'gen_ai.request.model': 'm-fake',
      ...inputs('{"inputs":["Grüß"]}', '{"model":"m-fake"}'),
      'gen_ai.response.id': 'mod-1',
      'gen_ai.response.model': 'm-fake-2026',
      ...valued('[{"categories":{"violence":false},"categoryScores":{"violence":0.25}}]'),
    },
  },
  texts: {
    'tool call': {
      input: [message('system', 'Be kind.'), message('user', 'Grüß mich')],
      tools: [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }],
      output: [
        {
          ...(message('assistant', {
            type: 'tool_call',
            id: 'call-1',
            name: 'weather',
            arguments: '{"city":"Köln"}',
          }) as object),
          finish_reason: 'tool_calls',
        },
      ],
    },
    embeddings: {
      input: [message('user', 'Grüß mich')],
      output: [message('assistant', '[[0.25,-0.5]]')],
    },
    'fim: plain': {
      input: [message('user', 'a', 'b')],
      output: [
        {
          ...(message('assistant', { type: 'reasoning', content: 'Greet back.' }, TEXT) as object),
          finish_reason: 'stop',
        },
      ],
    },
  },
});
