// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `ai` 5 to 7 behaves with our hooks as without, and each call of a model and each run of a tool leaves one span that says
 * how it ended. Method: the matrix, with the package's own provider against one that speaks the interfaces of OpenAI.
 */
import { expect } from 'vitest';
import { startFakeOpenai } from '../support/fake-openai.ts';
import { describeMatrix, digest, inputs, outputs } from './support/matrix.ts';

const TEXT = 'Grüß dich 👋';
const PROMPT = '{"prompt":[{"content":[{"text":"Grüß mich","type":"text"}],"role":"user"}]}';
const CHAT = { 'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': 'openai' };
const ANSWERED = {
  'gen_ai.response.id': 'chatcmpl-1',
  'gen_ai.response.model': 'gpt-fake-2026-08-01',
  'gen_ai.response.finish_reasons': ['stop'],
  'gen_ai.usage.input_tokens': 12,
  'gen_ai.usage.output_tokens': 5,
  'gen_ai.usage.cache_read.input_tokens': 4,
  'gen_ai.usage.reasoning.output_tokens': 2,
  'aigov.invocation.completion': 'complete',
  ...outputs({ reason: 'stop', parts: [{ type: 'text', text: TEXT }] }),
};
const CALLED = outputs({
  reason: 'tool-calls',
  parts: [{ type: 'tool_call', id: 'call-1', name: 'weather', text: '{"city":"Köln"}' }],
});
const plain = {
  ...CHAT,
  'gen_ai.request.model': 'gpt-fake',
  ...inputs(PROMPT),
  // Differs by version: the package adds parameters of its own.
  'aigov.config.digest': expect.stringMatching(/^hmac-sha256:[0-9a-f]{64}$/),
  ...ANSWERED,
};
const valued = (operation: string, input: string, config: string, output: string) => ({
  'gen_ai.operation.name': operation,
  'gen_ai.provider.name': 'own',
  'gen_ai.request.model': `${operation}-own`,
  ...inputs(input, config),
  'aigov.output.digest': digest(output),
  'aigov.output.length': output.length,
  'aigov.invocation.completion': 'complete',
});

const since = (version: number) => ({ absent: `there since ${version}` });

describeMatrix({
  target: 'ai',
  versions: [
    { version: '7.0.173', folder: '.', formats: ['esm', 'cjs'] },
    {
      version: '6.0.326',
      folder: 'majors/ai-6',
      formats: ['esm', 'cjs'],
      ends: {
        decide: since(7),
        'decide: fails': since(7),
        'stream ends early': 'complete',
        'stream that reports an error': 'error overloaded',
      },
    },
    {
      version: '5.0.277',
      folder: 'majors/ai-5',
      formats: ['esm', 'cjs'],
      ends: {
        'tool call': 'complete',
        'tool that answers': { absent: 'the tools of 5 are not hooked' },
        'tool that throws': 'complete',
        'stream of a tool call': 'complete',
        rerank: since(6),
        decide: since(7),
        'decide: fails': since(7),
        'stream ends early': 'complete',
        'stream that reports an error': 'error overloaded',
      },
    },
  ],
  app: 'vercel-ai-app.mjs',
  startProvider: startFakeOpenai,
  ends: {
    plain: 'complete',
    'with parameters': 'complete',
    'tool call': ['complete', 'complete'],
    'tool that answers': ['complete', 'complete'],
    'tool that throws': ['complete', 'error RangeError'],
    'tool of the application': 'complete',
    'telemetry turned off': 'complete',
    'through middleware': 'complete',
    responses: 'complete',
    'frozen model': 'complete',
    'model of an older make': ['complete', 'complete'],
    'model called by the application': ['complete', 'complete'],
    stream: 'complete',
    'stream of a tool call': ['complete', 'complete'],
    // The package reads on: what the application leaves, another branch of the stream still gets.
    'stream broken off': 'complete',
    'stream with a throwing reader': 'complete',
    'stream ends early': 'error truncated',
    'stream whose connection dies': 'error connection UND_ERR_SOCKET',
    'stream that reports an error': 'error 503',
    'stream never read': 'complete',
    'stream of the model broken off': ['complete', 'aborted break'],
    'stream half read': ['complete', 'abandoned'],
    'stream of the model never read': ['complete', 'abandoned unread'],
    'stream aborted': 'aborted signal',
    aborted: 'aborted signal',
    'aborted before': 'aborted signal',
    timeout: 'error timeout timeout',
    'no connection': 'error connection ECONNREFUSED',
    '400': 'error 400',
    'not JSON': 'error 200',
    // Each attempt is a call of its own: the package makes it anew, and between them nothing runs.
    '500 after retries': ['error 500', 'error 500'],
    'good after retries': ['error 500', 'error 500', 'complete'],
    'never awaited': 'complete',
    asResponse: 'complete',
    withResponse: { absent: 'an answer has its response within it' },
    parse: 'complete',
    'parse of a stream': 'complete',
    tee: 'complete',
    toReadableStream: 'complete',
    embeddings: ['complete', 'complete', 'complete'],
    rerank: 'complete',
    decide: 'complete',
    'decide: fails': 'error RangeError',
  },
  whole: {
    plain,
    'telemetry turned off': plain,
    'frozen model': plain,
    'with parameters': {
      ...plain,
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.top_p': 0.9,
      'gen_ai.request.max_tokens': 64,
      'gen_ai.request.seed': 7,
      'gen_ai.request.frequency_penalty': 0.1,
      'gen_ai.request.presence_penalty': 0.3,
      'gen_ai.request.stop_sequences': ['END'],
    },
    stream: {
      ...plain,
      'gen_ai.request.stream': true,
      'gen_ai.response.time_to_first_chunk': expect.any(Number),
    },
    'tool that answers': [
      expect.objectContaining({ 'gen_ai.response.finish_reasons': ['tool-calls'], ...CALLED }),
      {
        'gen_ai.operation.name': 'execute_tool',
        'gen_ai.tool.name': 'weather',
        'gen_ai.tool.type': 'function',
        'gen_ai.tool.description': 'Tells the weather',
        'gen_ai.tool.call.id': 'call-1',
        ...inputs('{"city":"Köln"}'),
        'aigov.output.digest': digest('{"city":"Köln","sun":true}'),
        'aigov.output.length': Buffer.byteLength('{"city":"Köln","sun":true}'),
        'aigov.invocation.completion': 'complete',
      },
    ],
    rerank: {
      ...valued(
        'rerank',
        '{"documents":{"type":"text","values":["a","b"]},"query":"b"}',
        '{"model":"rerank-own","topN":1}',
        '[{"index":1,"relevanceScore":0.9}]',
      ),
      'gen_ai.retrieval.top_k': 1,
    },
    decide: valued(
      'decide',
      '{"questions":{"ok":{"instructions":"Is it ok?","type":"boolean"}},"state":[{"text":"a loan","type":"text"}]}',
      '{"model":"decide-own","providerOptions":{}}',
      '{"ok":{"type":"boolean","value":true}}',
    ),
  },
});
