// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `@google/genai` 1.x to 3.x behaves with our hooks as without, and each request to a model leaves one span that says how
 * it ended. Method: the matrix, against a provider that speaks the interface of Gemini.
 */
import { expect } from 'vitest';
import { noHelpers } from './support/case.ts';
import { startFakeGoogle } from './support/fake-google.ts';
import { TEXT } from './support/fake-server.ts';
import { describeMatrix, digest, inputs, message, outputs } from './support/matrix.ts';

const CONTENTS = '{"contents":"Grüß mich","systemInstruction":"Be kind."}';
const TOOLS = '"tools":[{"functionDeclarations":[{"name":"weather"}]}]';
const SERVER = { 'gen_ai.provider.name': 'gcp.gemini', 'server.address': '127.0.0.1' };
const COMPLETE = { 'aigov.invocation.completion': 'complete' };
const answered = (model: string) => ({
  'gen_ai.operation.name': 'generate_content',
  ...SERVER,
  'gen_ai.request.model': model,
  'gen_ai.response.id': 'resp-1',
  'gen_ai.response.model': `${model}-2026`,
  'gen_ai.response.finish_reasons': ['STOP'],
  'gen_ai.usage.input_tokens': 12,
  'gen_ai.usage.output_tokens': 5,
  'gen_ai.usage.cache_read.input_tokens': 4,
  'gen_ai.usage.reasoning.output_tokens': 2,
  ...COMPLETE,
});
const STREAMED = {
  'gen_ai.request.stream': true,
  'gen_ai.response.time_to_first_chunk': expect.any(Number),
};
const said = outputs({
  role: 'model',
  reason: 'STOP',
  parts: [
    { type: 'reasoning', text: 'Greet back.' },
    { type: 'text', text: TEXT },
  ],
});
const called = outputs({
  role: 'model',
  reason: 'STOP',
  parts: [{ type: 'tool_call', text: '{"city":"Köln"}', id: 'call-1', name: 'weather' }],
});

describeMatrix({
  target: '@google/genai',
  versions: [
    { version: '3.1.0', folder: '.', formats: ['esm', 'cjs'] },
    { version: '2.32.0', folder: 'majors/google-genai-2', formats: ['esm'] },
    {
      version: '1.52.0',
      folder: 'majors/google-genai-1',
      formats: ['esm', 'cjs'],
      // It knows the status only as text after retries, and does not hear of an error within a stream.
      ends: {
        '500 after retries': 'error Error',
        'stream that reports an error': 'error truncated truncated',
      },
    },
  ],
  app: 'google-genai-app.ts',
  startProvider: startFakeGoogle,
  ends: {
    plain: 'complete',
    'tool call': 'complete',
    stream: 'complete',
    'stream of a tool call': 'complete',
    'stream broken off': 'aborted break',
    'stream with a throwing reader': 'aborted break',
    'stream ends early': 'error truncated truncated',
    'stream whose connection dies': 'error connection UND_ERR_SOCKET',
    'stream that reports an error': 'error 503',
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
    'with parameters': 'complete',
    'answer of a tool': 'complete',
    'prompt that is blocked': 'complete',
    'tool that the package runs': ['complete', 'complete'],
    'chat: plain': 'complete',
    'chat: stream': 'complete',
    embeddings: 'complete',
  },
  whole: {
    plain: { ...answered('m-fake'), ...inputs(CONTENTS, '{"model":"m-fake"}'), ...said },
    stream: {
      ...answered('m-fake'),
      ...inputs(CONTENTS, '{"model":"m-fake"}'),
      ...STREAMED,
      ...said,
    },
    'tool call': {
      ...answered('m-tools'),
      ...inputs(CONTENTS, `{"model":"m-tools",${TOOLS}}`),
      ...called,
    },
    'stream of a tool call': {
      ...answered('m-tools'),
      ...inputs(CONTENTS, `{"model":"m-tools",${TOOLS}}`),
      ...STREAMED,
      ...called,
    },
    'with parameters': {
      ...answered('m-fake'),
      ...inputs(
        CONTENTS,
        '{"candidateCount":1,"frequencyPenalty":0.1,"maxOutputTokens":64,"model":"m-fake","presencePenalty":0.3,"responseMimeType":"application/json","seed":7,"stopSequences":["END"],"temperature":0.2,"topK":40,"topP":0.9}',
      ),
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.top_p': 0.9,
      'gen_ai.request.top_k': 40,
      'gen_ai.request.choice.count': 1,
      'gen_ai.request.max_tokens': 64,
      'gen_ai.request.stop_sequences': ['END'],
      'gen_ai.request.seed': 7,
      'gen_ai.request.presence_penalty': 0.3,
      'gen_ai.request.frequency_penalty': 0.1,
      'gen_ai.output.type': 'json',
      ...said,
    },
    'prompt that is blocked': {
      'gen_ai.operation.name': 'generate_content',
      ...SERVER,
      'gen_ai.request.model': 'm-blocked',
      ...inputs(CONTENTS, '{"model":"m-blocked"}'),
      'gen_ai.response.finish_reasons': ['SAFETY'],
      'gen_ai.usage.input_tokens': 12,
      'aigov.output.digest': digest('[{"finish_reason":"SAFETY","parts":[]}]'),
      'aigov.output.length': 0,
      ...COMPLETE,
    },
    embeddings: {
      'gen_ai.operation.name': 'embeddings',
      ...SERVER,
      'gen_ai.request.model': 'm-fake',
      ...inputs('{"contents":["Grüß mich"]}', '{"model":"m-fake"}'),
      'gen_ai.embeddings.dimension.count': 2,
      'aigov.output.digest': digest('[[0.25,-0.5]]'),
      'aigov.output.length': Buffer.byteLength('[[0.25,-0.5]]'),
      ...COMPLETE,
    },
  },
  texts: {
    'tool call': {
      system: [{ type: 'text', content: 'Be kind.' }],
      input: [message('user', 'Grüß mich')],
      tools: [{ functionDeclarations: [{ name: 'weather' }] }],
      output: [
        {
          ...(message('model', {
            type: 'tool_call',
            id: 'call-1',
            name: 'weather',
            arguments: '{"city":"Köln"}',
          }) as object),
          finish_reason: 'STOP',
        },
      ],
    },
    embeddings: {
      input: [message('user', 'Grüß mich')],
      output: [message('assistant', '[[0.25,-0.5]]')],
    },
    'answer of a tool': {
      system: [{ type: 'text', content: 'Be kind.' }],
      input: [
        message('user', 'Sky?'),
        message('model', {
          type: 'tool_call',
          id: 'call-1',
          name: 'weather',
          arguments: { city: 'Köln' },
        }),
        message(
          'user',
          { type: 'tool_call_response', id: 'call-1', response: { sky: 'blue' } },
          { type: 'inlineData' },
        ),
      ],
      output: [
        {
          ...(message('model', { type: 'reasoning', content: 'Greet back.' }, TEXT) as object),
          finish_reason: 'STOP',
        },
      ],
    },
  },
});
