// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `@aws-sdk/client-bedrock-runtime` behaves with our hooks as without, and each call of a model leaves one span that says how it
 * ended. Method: the matrix, against a provider that speaks Bedrock's interface and its event streams.
 */
import { expect } from 'vitest';
import { noHelpers } from './support/case.ts';
import { startFakeBedrock } from './support/fake-bedrock.ts';
import { describeMatrix, digest, inputs, outputs } from './support/matrix.ts';

const CONVERSE =
  '{"messages":[{"content":[{"text":"Grüß mich"}],"role":"user"}],"system":[{"text":"Be kind."}]}';
const TOOLS =
  '"toolConfig":{"tools":[{"toolSpec":{"inputSchema":{"json":{"type":"object"}},"name":"weather"}}]}';
const SERVER = { 'gen_ai.provider.name': 'aws.bedrock', 'server.address': '127.0.0.1' };
const COUNTED = { 'gen_ai.usage.input_tokens': 12, 'gen_ai.usage.output_tokens': 5 };
const COMPLETE = { 'aigov.invocation.completion': 'complete' };
const said = (reason: string) =>
  outputs({ reason, parts: [{ type: 'text', text: 'Grüß dich 👋' }] });
const STREAMED = {
  'gen_ai.request.stream': true,
  'gen_ai.response.time_to_first_chunk': expect.any(Number),
};
const chat = (model: string, reason: string) => ({
  ...SERVER,
  'gen_ai.operation.name': 'chat',
  'gen_ai.request.model': model,
  'gen_ai.response.finish_reasons': [reason],
  ...COUNTED,
  ...COMPLETE,
});
const plain = {
  ...chat('own.converse.fake', 'end_turn'),
  'gen_ai.usage.cache_read.input_tokens': 4,
  ...inputs(CONVERSE, '{"modelId":"own.converse.fake"}'),
  ...said('end_turn'),
};
const called = {
  ...chat('own.converse.tools', 'tool_use'),
  'gen_ai.usage.cache_read.input_tokens': 4,
  ...inputs(CONVERSE, `{"modelId":"own.converse.tools",${TOOLS}}`),
  ...outputs({
    reason: 'tool_use',
    parts: [{ type: 'tool_call', id: 'call-1', name: 'weather', text: '{"city":"Köln"}' }],
  }),
};
const anthropic = {
  ...chat('own.anthropic.fake', 'end_turn'),
  'gen_ai.request.max_tokens': 64,
  'gen_ai.response.id': 'msg-1',
  'gen_ai.response.model': 'claude-fake',
  ...inputs(
    '{"messages":[{"content":"Grüß mich","role":"user"}]}',
    '{"anthropic_version":"bedrock-2023-05-31","max_tokens":64,"modelId":"own.anthropic.fake"}',
  ),
  ...said('end_turn'),
};
const TITAN = '{"inputTextTokenCount":12,"results":[{"outputText":"Grüß dich 👋","tokenCount":5}]}';

describeMatrix({
  target: '@aws-sdk/client-bedrock-runtime',
  versions: [{ version: '3.1164.0', folder: '.', formats: ['esm', 'cjs'] }],
  app: 'bedrock-app.mjs',
  startProvider: startFakeBedrock,
  ends: {
    plain: 'complete',
    'with parameters': 'complete',
    'tool call': 'complete',
    'by the method of a client of all commands': 'complete',
    'by a callback': 'complete',
    'invoke: anthropic': 'complete',
    'invoke: titan': 'complete',
    'invoke: stream of anthropic': 'complete',
    'invoke: stream of titan': 'complete',
    'invoke: stream ends early': 'error truncated truncated',
    stream: 'complete',
    'stream of a tool call': 'complete',
    'stream broken off': 'aborted break',
    'stream with a throwing reader': 'aborted break',
    'stream ends early': 'error truncated truncated',
    'stream whose connection dies': 'error connection ECONNRESET',
    'stream that reports an error': 'error ThrottlingException',
    'stream never read': 'abandoned unread',
    'stream half read': 'abandoned',
    'stream aborted': 'aborted signal',
    aborted: 'aborted signal',
    timeout: 'error timeout timeout',
    'timeout of the handler': 'error timeout timeout',
    'no connection': 'error connection ECONNREFUSED',
    'no credentials': 'error RangeError',
    '400': 'error 400',
    '500 after retries': 'error 500',
    'good after retries': 'complete',
    'never awaited': 'complete',
    ...noHelpers(),
  },
  whole: {
    plain,
    'by a callback': plain,
    stream: { ...plain, ...STREAMED },
    'tool call': called,
    'stream of a tool call': { ...called, ...STREAMED },
    'good after retries': {
      ...plain,
      'gen_ai.request.model': 'own.converse.flaky',
      ...inputs(CONVERSE, '{"modelId":"own.converse.flaky"}'),
      'http.request.resend_count': 1,
    },
    'invoke: anthropic': anthropic,
    'invoke: stream of anthropic': { ...anthropic, ...STREAMED },
    'invoke: titan': {
      ...SERVER,
      ...COUNTED,
      'gen_ai.operation.name': 'text_completion',
      'gen_ai.request.model': 'own.titan.fake',
      'gen_ai.request.max_tokens': 64,
      'gen_ai.request.temperature': 0.2,
      ...inputs(
        '{"inputText":"Grüß mich"}',
        '{"modelId":"own.titan.fake","textGenerationConfig":{"maxTokenCount":64,"temperature":0.2}}',
      ),
      'aigov.output.digest': digest(TITAN),
      'aigov.output.length': Buffer.byteLength(TITAN),
      ...COMPLETE,
    },
  },
});
