// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `@langchain/core` 0.3 and 1 behaves with our hooks as without, and each call of a model, run of a tool and retrieval leaves
 * one span that says how it ended. Method: the matrix, with models of OpenAI, whose own package is hooked, too, and with models,
 * tools and retrievers of the application's own.
 */
import { expect } from 'vitest';
import { startFakeOpenai } from '../support/fake-openai.ts';
import { noHelpers } from './support/case.ts';
import { describeMatrix, digest, type Ends, inputs, outputs } from './support/matrix.ts';

/** How the span of the package below ends, and then that of the model. */
const both = (end: string) => [end, end];

const OPENAI = {
  plain: both('complete'),
  'with parameters': both('complete'),
  'tool call': both('complete'),
  'two answers': both('complete'),
  responses: both('complete'),
  stream: both('complete'),
  'stream of a tool call': both('complete'),
  'stream of events': both('complete'),
  'stream broken off': both('aborted break'),
  'stream with a throwing reader': both('aborted break'),
  // Only the package below knows what marks the end.
  'stream ends early': ['error truncated truncated', 'complete'],
  'stream whose connection dies': both('error connection UND_ERR_SOCKET'),
  'stream that reports an error': both('error overloaded'),
  'stream never read': both('abandoned'),
  'stream half read': both('abandoned'),
  'stream aborted': both('aborted signal'),
  aborted: both('aborted signal'),
  timeout: both('error timeout timeout'),
  'no connection': both('error connection ECONNREFUSED'),
  '400': both('error 400'),
  '500 after retries': both('error 500'),
  // The model calls the package again, which retries nothing.
  'good after retries': ['error 500', 'error 500', 'complete', 'complete'],
  'never awaited': both('complete'),
  parse: both('complete'),
  tee: both('complete'),
  toReadableStream: both('complete'),
  graph: both('complete'),
} satisfies Readonly<Record<string, Ends>>;
const openaiAbsent = Object.fromEntries(
  Object.keys(OPENAI).map((name) => [name, { absent: 'its model packages are not installed' }]),
);

const COMPLETE = { 'aigov.invocation.completion': 'complete' };
const MESSAGES =
  '{"messages":[{"content":"Be kind.","role":"system"},{"content":"Grüß mich","role":"user"}]}';
/** What both spans of a call through a hooked package say, digests included: so a reader sees that it is one call. */
const ANSWERED = {
  'gen_ai.operation.name': 'chat',
  'gen_ai.provider.name': 'openai',
  'gen_ai.request.model': 'gpt-fake',
  'gen_ai.response.model': 'gpt-fake-2026-08-01',
  'gen_ai.response.finish_reasons': ['stop'],
  'gen_ai.usage.input_tokens': 12,
  'gen_ai.usage.output_tokens': 5,
  'gen_ai.usage.cache_read.input_tokens': 4,
  'gen_ai.usage.reasoning.output_tokens': 2,
  ...inputs(MESSAGES, '{"model":"gpt-fake"}'),
  ...outputs({ reason: 'stop', parts: [{ type: 'text', text: 'Grüß dich 👋' }] }),
  ...COMPLETE,
};
const BELOW = {
  'server.address': '127.0.0.1',
  'openai.api.type': 'chat_completions',
  'gen_ai.response.id': 'chatcmpl-1',
  'openai.response.service_tier': 'default',
  'openai.response.system_fingerprint': 'fp-1',
};
const STREAMED = {
  'gen_ai.request.stream': true,
  'gen_ai.response.time_to_first_chunk': expect.any(Number),
};
const TOOL = {
  'gen_ai.operation.name': 'execute_tool',
  'gen_ai.tool.name': 'weather',
  'gen_ai.tool.type': 'function',
  'gen_ai.tool.description': 'Tells the weather',
  ...inputs('{"city":"Köln"}'),
  'aigov.output.digest': digest('"Köln: sun"'),
  'aigov.output.length': Buffer.byteLength('"Köln: sun"'),
  ...COMPLETE,
};
const DOCUMENTS = '[{"content":"about cats","metadata":{"page":7}}]';

describeMatrix({
  target: '@langchain/core',
  versions: [
    { version: '1.4.0', folder: '.', formats: ['esm', 'cjs'] },
    {
      version: '0.3.80',
      folder: 'majors/langchain-core-0',
      formats: ['esm', 'cjs'],
      ends: openaiAbsent,
    },
  ],
  app: 'langchain-app.mjs',
  startProvider: startFakeOpenai,
  ends: {
    ...noHelpers(),
    ...OPENAI,
    'own model': 'complete',
    'own model, several at once': ['complete', 'complete'],
    'own model, in a chain': 'complete',
    'own model, streamed though it can not': 'complete',
    'own model, with a callback': 'complete',
    'own model that streams': 'complete',
    'own model that streams, invoked': 'complete',
    'own model that streams, broken off': 'aborted break',
    'text model': 'complete',
    'text model, streamed though it can not': 'complete',
    tool: 'complete',
    'tool that the model asked for': 'complete',
    'tool that throws': 'error RangeError',
    'tool with wrong arguments': 'error ToolInputParsingException',
    retriever: 'complete',
    'retriever that throws': 'error RangeError',
  },
  whole: {
    plain: [{ ...ANSWERED, ...BELOW, 'gen_ai.request.stream': false }, ANSWERED],
    stream: [
      { ...ANSWERED, ...BELOW, ...STREAMED },
      { ...ANSWERED, ...STREAMED },
    ],
    'own model': {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'Echo',
      'gen_ai.request.model': 'echo-1',
      ...inputs('{"messages":[{"content":"Grüß mich","role":"user"}]}', '{"model":"echo-1"}'),
      ...outputs({ parts: [{ type: 'text', text: 'Grüß mich' }] }),
      ...COMPLETE,
    },
    'tool that the model asked for': { ...TOOL, 'gen_ai.tool.call.id': 'call-1' },
    tool: TOOL,
    retriever: {
      'gen_ai.operation.name': 'retrieval',
      'gen_ai.data_source.id': 'Shelf',
      ...inputs('"cats"'),
      'aigov.output.digest': digest(DOCUMENTS),
      'aigov.output.length': DOCUMENTS.length,
      ...COMPLETE,
    },
  },
});
