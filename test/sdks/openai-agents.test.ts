// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `@openai/agents` behaves with our hooks as without, and each run of an agent, call of a model and run of a tool leaves one
 * span that says how it ended. Method: the matrix, with models of OpenAI, whose own package is hooked, too, and one of the
 * application's own.
 */
import { expect } from 'vitest';
import { startFakeOpenai } from '../support/fake-openai.ts';
import { noHelpers } from './support/case.ts';
import { describeMatrix, digest, inputs, outputs } from './support/matrix.ts';

/** How the span of the package below ends, then that of the model, then that of the run. */
const all = (end: string) => [end, end, end];
const COMPLETE = { 'aigov.invocation.completion': 'complete' };
const USAGE = { 'gen_ai.usage.input_tokens': 12, 'gen_ai.usage.output_tokens': 5 };
const OWN = {
  'gen_ai.operation.name': 'chat',
  'gen_ai.request.model': 'own-1',
  'gen_ai.response.id': 'own-response',
  'aigov.config.digest': expect.stringMatching(/^hmac-sha256:[0-9a-f]{64}$/),
  ...USAGE,
  ...COMPLETE,
};
const ARGUMENTS = '{"city":"Köln"}';
const QUESTION = '{"content":"Grüß mich","role":"user","type":"message"}';
const CALL = `{"arguments":${JSON.stringify(ARGUMENTS)},"callId":"call-1","name":"weather","status":"completed","type":"function_call"}`;
const RESULT =
  '{"callId":"call-1","name":"weather","output":{"text":"Köln: sun","type":"text"},"status":"completed","type":"function_call_result"}';

describeMatrix({
  target: '@openai/agents-core',
  versions: [{ version: '0.20.0', folder: '.', formats: ['esm', 'cjs'] }],
  app: 'openai-agents-app.mjs',
  startProvider: startFakeOpenai,
  ends: {
    plain: all('complete'),
    'tool call': ['complete', 'complete', 'complete', 'complete'],
    // The package tells the model of it, in words that the tool's own span has as its answer.
    'tool that throws': ['complete', 'complete', 'complete', 'complete'],
    'too many turns': ['complete', 'complete', 'complete', 'error MaxTurnsExceededError'],
    stream: all('complete'),
    'stream of a tool call': ['complete', 'complete', 'complete', 'complete'],
    'stream broken off': all('aborted signal'),
    'stream with a throwing reader': all('aborted signal'),
    // Only the package below knows what marks the end.
    'stream ends early': ['error truncated truncated', 'complete', 'complete'],
    'stream whose connection dies': all('error connection UND_ERR_SOCKET'),
    'stream that reports an error': all('error overloaded'),
    // A run goes on by itself.
    'stream never read': all('complete'),
    'stream half read': { absent: 'a run goes on by itself, whoever reads it' },
    'stream aborted': all('aborted signal'),
    aborted: all('aborted signal'),
    timeout: all('error timeout timeout'),
    'no connection': all('error connection ECONNREFUSED'),
    '400': all('error 400'),
    '500 after retries': all('error 500'),
    'good after retries': all('complete'),
    'never awaited': all('complete'),
    ...noHelpers(),
    parse: all('complete'),
    tee: all('complete'),
    toReadableStream: all('complete'),
  },
  whole: {
    'tool call': [
      {
        ...OWN,
        ...inputs(`{"input":[${QUESTION}],"instructions":"Be kind."}`),
        ...outputs({
          parts: [{ type: 'tool_call', id: 'call-1', name: 'weather', text: ARGUMENTS }],
        }),
      },
      {
        'gen_ai.operation.name': 'execute_tool',
        'gen_ai.tool.name': 'weather',
        'gen_ai.tool.type': 'function',
        'gen_ai.tool.description': 'Tells the weather',
        'gen_ai.tool.call.id': 'call-1',
        ...inputs(ARGUMENTS),
        'aigov.output.digest': digest('"Köln: sun"'),
        'aigov.output.length': Buffer.byteLength('"Köln: sun"'),
        ...COMPLETE,
      },
      {
        ...OWN,
        ...inputs(`{"input":[${QUESTION},${CALL},${RESULT}],"instructions":"Be kind."}`),
        ...outputs({ parts: [{ type: 'text', text: 'Sun.' }] }),
      },
      {
        'gen_ai.operation.name': 'invoke_agent',
        'gen_ai.agent.name': 'greeter',
        ...inputs('"Grüß mich"'),
        'aigov.output.digest': digest('"Sun."'),
        'aigov.output.length': 6,
        ...COMPLETE,
      },
    ],
  },
});
