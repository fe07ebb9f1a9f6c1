// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `groq-sdk` 0.x and 1.x behave with our hooks as without, and each call of a model leaves one span that says how it
 * ended. Method: the matrix, against a provider that speaks the interface of Groq.
 */
import { expect } from 'vitest';
import { startFakeGroq } from './support/fake-groq.ts';
import { ARGUMENTS, TEXT } from './support/fake-server.ts';
import { describeMatrix, digest, inputs, message, outputs } from './support/matrix.ts';
import { STAINLESS_ENDS } from './support/stainless-cases.ts';

const MESSAGES =
  '{"messages":[{"content":"Be kind.","role":"system"},{"content":"Grüß mich","role":"user"}]}';
const TOOLS =
  '"tools":[{"function":{"name":"weather","parameters":{"type":"object"}},"type":"function"}]';
const CHAT = {
  'gen_ai.operation.name': 'chat',
  'gen_ai.provider.name': 'groq',
  'server.address': '127.0.0.1',
  'openai.api.type': 'chat_completions',
};
const answered = (model: string, reason: string) => ({
  'gen_ai.request.model': model,
  'gen_ai.response.id': 'chatcmpl-1',
  'gen_ai.response.model': `${model}-2026`,
  'gen_ai.response.finish_reasons': [reason],
  'openai.response.service_tier': 'on_demand',
  'openai.response.system_fingerprint': 'fp-1',
  'gen_ai.usage.input_tokens': 12,
  'gen_ai.usage.output_tokens': 5,
  'aigov.invocation.completion': 'complete',
});
const WHOLE_USAGE = {
  'gen_ai.usage.cache_read.input_tokens': 4,
  'gen_ai.usage.reasoning.output_tokens': 2,
};
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

describeMatrix({
  target: 'groq-sdk',
  versions: [
    { version: '1.6.0', folder: '.', formats: ['esm', 'cjs'] },
    {
      version: '0.37.0',
      folder: 'majors/groq-0',
      formats: ['esm', 'cjs'],
      ends: {
        'stream whose connection dies': 'error connection ERR_STREAM_PREMATURE_CLOSE',
        'stream aborted before it is read': {
          absent: 'its reader waits for ever, with or without us',
        },
      },
    },
  ],
  app: 'groq-app.ts',
  startProvider: startFakeGroq,
  ends: {
    ...STAINLESS_ENDS,
    parse: { absent: 'the package has no such helper' },
    'stream that reports an error': 'error overloaded',
    'with parameters': 'complete',
    embeddings: 'complete',
  },
  whole: {
    plain: {
      ...CHAT,
      ...inputs(MESSAGES, '{"model":"m-fake"}'),
      ...answered('m-fake', 'stop'),
      ...WHOLE_USAGE,
      ...said,
    },
    stream: {
      ...CHAT,
      ...inputs(MESSAGES, '{"model":"m-fake"}'),
      ...answered('m-fake', 'stop'),
      ...STREAMED,
      ...said,
    },
    'tool call': {
      ...CHAT,
      ...inputs(MESSAGES, `{"model":"m-tools",${TOOLS}}`),
      ...answered('m-tools', 'tool_calls'),
      ...WHOLE_USAGE,
      ...called,
    },
    'stream of a tool call': {
      ...CHAT,
      ...inputs(MESSAGES, `{"model":"m-tools",${TOOLS}}`),
      ...answered('m-tools', 'tool_calls'),
      ...STREAMED,
      ...called,
    },
    'with parameters': {
      ...CHAT,
      ...inputs(
        '{"messages":[{"content":"Grüß mich","role":"user"}]}',
        '{"max_completion_tokens":64,"model":"m-fake","seed":7,"service_tier":"flex","stop":["END"],"temperature":0.2,"top_p":0.9}',
      ),
      ...answered('m-fake', 'stop'),
      ...WHOLE_USAGE,
      ...said,
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.top_p': 0.9,
      'gen_ai.request.seed': 7,
      'gen_ai.request.max_tokens': 64,
      'gen_ai.request.stop_sequences': ['END'],
      'openai.request.service_tier': 'flex',
    },
    embeddings: {
      'gen_ai.operation.name': 'embeddings',
      'gen_ai.provider.name': 'groq',
      'server.address': '127.0.0.1',
      ...inputs('{"input":["Grüß mich"]}', '{"model":"m-fake"}'),
      'gen_ai.request.model': 'm-fake',
      'gen_ai.response.model': 'm-fake-2026',
      'gen_ai.embeddings.dimension.count': 2,
      'gen_ai.usage.input_tokens': 3,
      'aigov.output.digest': digest('[[0.25,-0.5]]'),
      'aigov.output.length': Buffer.byteLength('[[0.25,-0.5]]'),
      'aigov.invocation.completion': 'complete',
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
  },
});
