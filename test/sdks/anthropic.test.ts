// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `@anthropic-ai/sdk` 0.x and 1.x behave with our hooks as without, and each call of a model leaves one span of ours that
 * says how it ended. Method: the matrix, against a provider that speaks the interface of Anthropic.
 */
import { expect } from 'vitest';
import { startFakeAnthropic } from './support/fake-anthropic.ts';
import { TEXT } from './support/fake-server.ts';
import { describeMatrix, inputs, message, outputs } from './support/matrix.ts';
import { STAINLESS_ENDS } from './support/stainless-cases.ts';

const MESSAGES = '{"messages":[{"content":"Grüß mich","role":"user"}],"system":"Be kind."}';
const TOOLS = '"tools":[{"input_schema":{"properties":{},"type":"object"},"name":"weather"}]';
const config = (model: string, more = ''): string => `{"max_tokens":64,"model":"${model}"${more}}`;
const CHAT = {
  'gen_ai.operation.name': 'chat',
  'gen_ai.provider.name': 'anthropic',
  'server.address': '127.0.0.1',
  'gen_ai.request.max_tokens': 64,
};
const answered = (model: string, reason: string) => ({
  'gen_ai.request.model': model,
  'gen_ai.response.id': 'msg-1',
  'gen_ai.response.model': `${model}-2026`,
  'gen_ai.response.finish_reasons': [reason],
  'gen_ai.usage.input_tokens': 12,
  'gen_ai.usage.output_tokens': 6,
  'gen_ai.usage.cache_read.input_tokens': 4,
  'gen_ai.usage.cache_write.input_tokens': 3,
  'aigov.invocation.completion': 'complete',
});
const STREAMED = {
  'gen_ai.request.stream': true,
  'gen_ai.response.time_to_first_chunk': expect.any(Number),
};
const THOUGHT = { type: 'reasoning', text: 'Greet back.' };
const said = outputs({ reason: 'end_turn', parts: [THOUGHT, { type: 'text', text: TEXT }] });
const called = outputs({
  reason: 'tool_use',
  parts: [
    { type: 'text', text: 'Looking.' },
    { type: 'tool_call', text: '{"city":"Köln"}', id: 'call-1', name: 'weather' },
  ],
});

describeMatrix({
  target: '@anthropic-ai/sdk',
  versions: [
    { version: '1.12.0', folder: '.', formats: ['esm', 'cjs'] },
    { version: '0.137.0', folder: 'majors/anthropic-0', formats: ['esm', 'cjs'] },
  ],
  app: 'anthropic-app.ts',
  startProvider: startFakeAnthropic,
  ownScope: 'com.anthropic.sdk.typescript',
  ends: {
    ...STAINLESS_ENDS,
    'stream that reports an error': 'error overloaded_error',
    'with parameters': 'complete',
    'answer of a tool': 'complete',
    parse: 'complete',
    'stream helper': 'complete',
    'stream helper with tools': 'complete',
    'stream helper whose connection dies': 'error connection UND_ERR_SOCKET',
    'stream helper aborted': 'aborted signal',
    'stream helper left': 'aborted signal',
    'beta: plain': 'complete',
    'beta: stream': 'complete',
  },
  whole: {
    plain: {
      ...CHAT,
      ...inputs(MESSAGES, config('m-fake')),
      ...answered('m-fake', 'end_turn'),
      ...said,
    },
    stream: {
      ...CHAT,
      ...inputs(MESSAGES, config('m-fake')),
      ...answered('m-fake', 'end_turn'),
      ...STREAMED,
      ...said,
    },
    'tool call': {
      ...CHAT,
      ...inputs(MESSAGES, config('m-tools', `,${TOOLS}`)),
      ...answered('m-tools', 'tool_use'),
      ...called,
    },
    'stream of a tool call': {
      ...CHAT,
      ...inputs(MESSAGES, config('m-tools', `,${TOOLS}`)),
      ...answered('m-tools', 'tool_use'),
      ...STREAMED,
      ...called,
    },
    'stream helper': {
      ...CHAT,
      ...inputs(MESSAGES, config('m-fake')),
      ...answered('m-fake', 'end_turn'),
      ...STREAMED,
      ...said,
    },
    'stream whose connection dies': {
      ...CHAT,
      ...inputs(MESSAGES, config('m-dies')),
      ...STREAMED,
      'gen_ai.request.model': 'm-dies',
      'gen_ai.response.id': 'msg-1',
      'gen_ai.response.model': 'm-dies-2026',
      'gen_ai.usage.input_tokens': 12,
      'gen_ai.usage.output_tokens': 1,
      'gen_ai.usage.cache_read.input_tokens': 4,
      'gen_ai.usage.cache_write.input_tokens': 3,
      ...outputs({ parts: [THOUGHT] }),
      'aigov.invocation.completion': 'error',
      'aigov.invocation.detail': 'connection',
      'error.type': 'UND_ERR_SOCKET',
    },
    'with parameters': {
      ...CHAT,
      ...inputs(
        MESSAGES,
        config(
          'm-fake',
          ',"stop_sequences":["END"],"temperature":0.2,"thinking":{"type":"adaptive"},"top_k":40,"top_p":0.9',
        ),
      ),
      ...answered('m-fake', 'end_turn'),
      ...said,
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.top_p': 0.9,
      'gen_ai.request.top_k': 40,
      'gen_ai.request.stop_sequences': ['END'],
    },
  },
  texts: {
    'tool call': {
      system: [{ type: 'text', content: 'Be kind.' }],
      input: [message('user', 'Grüß mich')],
      tools: [{ name: 'weather', input_schema: { type: 'object', properties: {} } }],
      output: [
        {
          ...(message('assistant', 'Looking.', {
            type: 'tool_call',
            id: 'call-1',
            name: 'weather',
            arguments: '{"city":"Köln"}',
          }) as object),
          finish_reason: 'tool_use',
        },
      ],
    },
    'answer of a tool': {
      input: [
        message('user', 'Sky?'),
        message(
          'assistant',
          { type: 'reasoning', content: 'Look.' },
          { type: 'tool_call', id: 'call-1', name: 'weather', arguments: { city: 'Köln' } },
        ),
        message(
          'user',
          { type: 'tool_call_response', id: 'call-1', response: 'blue' },
          { type: 'image' },
        ),
      ],
      output: [
        {
          ...(message('assistant', { type: 'reasoning', content: 'Greet back.' }, TEXT) as object),
          finish_reason: 'end_turn',
        },
      ],
    },
  },
});
