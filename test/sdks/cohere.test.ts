// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `cohere-ai` 7 and 8 behave with our hooks as without, and each call of a model leaves one span that says how it ended.
 * Method: the matrix, against a provider that speaks both interfaces of Cohere.
 */
import { expect } from 'vitest';
import { noHelpers } from './support/case.ts';
import { startFakeCohere } from './support/fake-cohere.ts';
import { ARGUMENTS, TEXT } from './support/fake-server.ts';
import { describeMatrix, digest, inputs, message, outputs } from './support/matrix.ts';

const MESSAGES =
  '{"messages":[{"content":"Be kind.","role":"system"},{"content":"Grüß mich","role":"user"}]}';
const FORMER = '{"message":"Grüß mich","preamble":"Be kind."}';
const TOOLS =
  '"tools":[{"function":{"name":"weather","parameters":{"type":"object"}},"type":"function"}]';
const COMPLETE = { 'aigov.invocation.completion': 'complete' };
const server = (operation: string, model: string) => ({
  'gen_ai.operation.name': operation,
  'gen_ai.provider.name': 'cohere',
  'server.address': '127.0.0.1',
  'gen_ai.request.model': model,
});
const answered = (model: string, reason: string) => ({
  ...server('chat', model),
  'gen_ai.response.id': 'chat-1',
  'gen_ai.response.finish_reasons': [reason],
  'gen_ai.usage.input_tokens': 12,
  'gen_ai.usage.output_tokens': 5,
  ...COMPLETE,
});
const STREAMED = {
  'gen_ai.request.stream': true,
  'gen_ai.response.time_to_first_chunk': expect.any(Number),
};
const THOUGHT = { type: 'reasoning', text: 'Greet back.' };
const said = outputs({ reason: 'COMPLETE', parts: [THOUGHT, { type: 'text', text: TEXT }] });
const formerSaid = outputs({ reason: 'COMPLETE', parts: [{ type: 'text', text: TEXT }] });
const CALL = { type: 'tool_call', text: JSON.stringify(ARGUMENTS), name: 'weather' };
const called = outputs({
  reason: 'TOOL_CALL',
  parts: [
    { type: 'reasoning', text: 'Look.' },
    { ...CALL, id: 'call-1' },
  ],
});
const valued = (canonical: string) => ({
  'aigov.output.digest': digest(canonical),
  'aigov.output.length': Buffer.byteLength(canonical),
  ...COMPLETE,
});

describeMatrix({
  target: 'cohere-ai',
  versions: [
    { version: '8.1.0', folder: '.', formats: ['esm', 'cjs'] },
    {
      version: '7.21.0',
      folder: 'majors/cohere-7',
      formats: ['esm', 'cjs'],
      // It keeps no cause.
      ends: { 'no connection': 'error CohereError' },
    },
  ],
  app: 'cohere-app.ts',
  startProvider: startFakeCohere,
  ends: {
    plain: 'complete',
    'tool call': 'complete',
    stream: 'complete',
    'stream of a tool call': 'complete',
    'stream broken off': 'aborted break',
    'stream with a throwing reader': 'aborted break',
    'stream ends early': 'error truncated truncated',
    'stream whose connection dies': 'error connection UND_ERR_SOCKET',
    'stream that reports an error': 'error ERROR',
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
    withResponse: 'complete',
    'with parameters': 'complete',
    embeddings: 'complete',
    rerank: 'complete',
    'former: plain': 'complete',
    'former: tool call': 'complete',
    'former: stream': 'complete',
    'former: stream of a tool call': 'complete',
    'former: embeddings': 'complete',
    'former: classify': 'complete',
  },
  whole: {
    plain: {
      ...answered('m-fake', 'COMPLETE'),
      ...inputs(MESSAGES, '{"model":"m-fake"}'),
      ...said,
    },
    stream: {
      ...answered('m-fake', 'COMPLETE'),
      ...inputs(MESSAGES, '{"model":"m-fake"}'),
      ...STREAMED,
      ...said,
    },
    'tool call': {
      ...answered('m-tools', 'TOOL_CALL'),
      ...inputs(MESSAGES, `{"model":"m-tools",${TOOLS}}`),
      ...called,
    },
    'stream of a tool call': {
      ...answered('m-tools', 'TOOL_CALL'),
      ...inputs(MESSAGES, `{"model":"m-tools",${TOOLS}}`),
      ...STREAMED,
      ...called,
    },
    'with parameters': {
      ...answered('m-fake', 'COMPLETE'),
      ...inputs(
        MESSAGES,
        '{"frequencyPenalty":0.1,"k":40,"maxTokens":64,"model":"m-fake","p":0.9,"presencePenalty":0.3,"responseFormat":{"type":"json_object"},"seed":7,"stopSequences":["END"],"temperature":0.2}',
      ),
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.top_p': 0.9,
      'gen_ai.request.top_k': 40,
      'gen_ai.request.max_tokens': 64,
      'gen_ai.request.seed': 7,
      'gen_ai.request.frequency_penalty': 0.1,
      'gen_ai.request.presence_penalty': 0.3,
      'gen_ai.request.stop_sequences': ['END'],
      'gen_ai.output.type': 'json',
      ...said,
    },
    'former: plain': {
      ...answered('m-fake', 'COMPLETE'),
      ...inputs(FORMER, '{"model":"m-fake"}'),
      ...formerSaid,
    },
    'former: stream': {
      ...answered('m-fake', 'COMPLETE'),
      ...inputs(FORMER, '{"model":"m-fake"}'),
      ...STREAMED,
      ...formerSaid,
    },
    'former: stream of a tool call': {
      ...answered('m-tools', 'COMPLETE'),
      ...inputs(FORMER, '{"model":"m-tools"}'),
      ...STREAMED,
      ...outputs({ reason: 'COMPLETE', parts: [CALL] }),
    },
    embeddings: {
      ...server('embeddings', 'm-fake'),
      ...inputs(
        '{"texts":["Grüß mich"]}',
        '{"embeddingTypes":["float"],"inputType":"search_query","model":"m-fake"}',
      ),
      'gen_ai.request.encoding_formats': ['float'],
      'gen_ai.response.id': 'emb-1',
      'gen_ai.embeddings.dimension.count': 2,
      'gen_ai.usage.input_tokens': 3,
      ...valued('{"float":[[0.25,-0.5]]}'),
    },
    rerank: {
      ...server('rerank', 'm-fake'),
      ...inputs('{"documents":["a","b"],"query":"Grüß mich"}', '{"model":"m-fake"}'),
      'gen_ai.response.id': 'rank-1',
      ...valued('[{"index":1,"relevanceScore":0.9}]'),
    },
  },
  texts: {
    'tool call': {
      input: [message('system', 'Be kind.'), message('user', 'Grüß mich')],
      tools: [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }],
      output: [
        {
          ...(message(
            'assistant',
            { type: 'reasoning', content: 'Look.' },
            { type: 'tool_call', id: 'call-1', name: 'weather', arguments: '{"city":"Köln"}' },
          ) as object),
          finish_reason: 'TOOL_CALL',
        },
      ],
    },
    'former: plain': {
      system: [{ type: 'text', content: 'Be kind.' }],
      input: [message('user', 'Grüß mich')],
      output: [{ ...(message('assistant', TEXT) as object), finish_reason: 'COMPLETE' }],
    },
    'former: embeddings': {
      input: [message('user', 'Grüß mich')],
      output: [message('assistant', '[[0.25,-0.5]]')],
    },
  },
});
