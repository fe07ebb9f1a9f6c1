// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `ollama` behaves with our hooks as without, and each call of a model leaves one span that says how it ended.
 * Method: the matrix, against a server that speaks the interface of Ollama.
 */
import { expect } from 'vitest';
import { noHelpers } from './support/case.ts';
import { startFakeOllama } from './support/fake-ollama.ts';
import { TEXT } from './support/fake-server.ts';
import { describeMatrix, digest, inputs, message, outputs } from './support/matrix.ts';

const MESSAGES =
  '{"messages":[{"content":"Be kind.","role":"system"},{"content":"Grüß mich","role":"user"}]}';
const TOOLS = '"tools":[{"function":{"name":"weather"},"type":"function"}]';
const COMPLETE = { 'aigov.invocation.completion': 'complete' };
const server = (operation: string) => ({
  'gen_ai.operation.name': operation,
  'gen_ai.provider.name': 'ollama',
  'server.address': '127.0.0.1',
});
const answered = (model: string) => ({
  'gen_ai.request.model': model,
  'gen_ai.response.model': model,
  'gen_ai.response.finish_reasons': ['stop'],
  'gen_ai.usage.input_tokens': 12,
  'gen_ai.usage.output_tokens': 5,
  ...COMPLETE,
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
  reason: 'stop',
  parts: [{ type: 'tool_call', text: '{"city":"Köln"}', id: 'call-1', name: 'weather' }],
});
const vectors = (canonical: string) => ({
  'gen_ai.embeddings.dimension.count': 2,
  'aigov.output.digest': digest(canonical),
  'aigov.output.length': Buffer.byteLength(canonical),
  ...COMPLETE,
});

describeMatrix({
  target: 'ollama',
  versions: [{ version: '0.6.4', folder: '.', formats: ['esm', 'cjs'] }],
  app: 'ollama-app.ts',
  startProvider: startFakeOllama,
  ends: {
    plain: 'complete',
    'tool call': 'complete',
    stream: 'complete',
    'stream of a tool call': 'complete',
    'stream broken off': 'aborted break',
    'stream broken off at its end': 'complete',
    'stream with a throwing reader': 'aborted break',
    // The package knows that an answer has an end, and throws.
    'stream ends early': 'error Error',
    'stream whose connection dies': 'error connection UND_ERR_SOCKET',
    'stream that reports an error': 'error Error',
    'stream never read': 'abandoned unread',
    'stream half read': 'abandoned',
    'stream aborted': 'aborted signal',
    'stream aborted before it is read': 'aborted signal',
    'stream aborted with its client': 'aborted signal',
    aborted: { absent: 'only streams can be aborted' },
    timeout: { absent: 'there is no time limit to set' },
    'no connection': 'error connection ECONNREFUSED',
    '400': 'error 400',
    '500 after retries': 'error 500',
    'good after retries': { absent: 'nothing is tried again' },
    'never awaited': 'complete',
    ...noHelpers(),
    'with parameters': 'complete',
    'generate: plain': 'complete',
    'generate: stream': 'complete',
    embed: 'complete',
    'former embeddings': 'complete',
  },
  whole: {
    plain: {
      ...server('chat'),
      ...inputs(MESSAGES, '{"model":"m-fake"}'),
      ...answered('m-fake'),
      ...said,
    },
    stream: {
      ...server('chat'),
      ...inputs(MESSAGES, '{"model":"m-fake"}'),
      ...answered('m-fake'),
      ...STREAMED,
      ...said,
    },
    'tool call': {
      ...server('chat'),
      ...inputs(MESSAGES, `{"model":"m-tools",${TOOLS}}`),
      ...answered('m-tools'),
      ...called,
    },
    'stream of a tool call': {
      ...server('chat'),
      ...inputs(MESSAGES, `{"model":"m-tools",${TOOLS}}`),
      ...answered('m-tools'),
      ...STREAMED,
      ...called,
    },
    'with parameters': {
      ...server('chat'),
      ...inputs(
        MESSAGES,
        '{"format":"json","model":"m-fake","options":{"num_predict":64,"seed":7,"stop":["END"],"temperature":0.2,"top_k":40,"top_p":0.9},"think":"low"}',
      ),
      ...answered('m-fake'),
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.top_p': 0.9,
      'gen_ai.request.top_k': 40,
      'gen_ai.request.max_tokens': 64,
      'gen_ai.request.seed': 7,
      'gen_ai.request.stop_sequences': ['END'],
      'gen_ai.request.reasoning.level': 'low',
      'gen_ai.output.type': 'json',
      ...said,
    },
    'generate: stream': {
      ...server('text_completion'),
      ...inputs('{"prompt":"Grüß mich","system":"Be kind."}', '{"model":"m-fake"}'),
      ...answered('m-fake'),
      ...STREAMED,
      ...said,
    },
    embed: {
      ...server('embeddings'),
      ...inputs('{"input":["Grüß mich"]}', '{"model":"m-fake"}'),
      'gen_ai.request.model': 'm-fake',
      'gen_ai.response.model': 'm-fake',
      'gen_ai.usage.input_tokens': 3,
      ...vectors('[[0.25,-0.5]]'),
    },
    'former embeddings': {
      ...server('embeddings'),
      ...inputs('{"prompt":"Grüß mich"}', '{"model":"m-fake"}'),
      'gen_ai.request.model': 'm-fake',
      ...vectors('[0.25,-0.5]'),
    },
  },
  texts: {
    'tool call': {
      input: [message('system', 'Be kind.'), message('user', 'Grüß mich')],
      tools: [{ type: 'function', function: { name: 'weather' } }],
      output: [
        {
          ...(message('assistant', {
            type: 'tool_call',
            id: 'call-1',
            name: 'weather',
            arguments: '{"city":"Köln"}',
          }) as object),
          finish_reason: 'stop',
        },
      ],
    },
    'generate: plain': {
      system: [{ type: 'text', content: 'Be kind.' }],
      input: [message('user', 'Grüß mich')],
      output: [
        {
          ...(message('assistant', { type: 'reasoning', content: 'Greet back.' }, TEXT) as object),
          finish_reason: 'stop',
        },
      ],
    },
    embed: {
      input: [message('user', 'Grüß mich')],
      output: [message('assistant', '[[0.25,-0.5]]')],
    },
  },
});
