// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: chat completions and responses of `openai` 6 and 7 behave with our hooks as without, and each call leaves one span that
 * says how it ended. Method: the matrix of the other SDKs, with the cases of this one's own.
 */
import { expect } from 'vitest';
import { describeMatrix, digest, hmac } from '../sdks/support/matrix.ts';
import { STAINLESS_ENDS } from '../sdks/support/stainless-cases.ts';
import { startFakeOpenai } from '../support/fake-openai.ts';

const TEXT = 'Grüß dich 👋';
const ARGUMENTS = '{"city":"Köln"}';
const MESSAGES =
  '{"messages":[{"content":"Be kind.","role":"system"},{"content":"Grüß mich","role":"user"}]}';
const INSTRUCTED = '{"input":"Grüß mich","instructions":"Be kind."}';

/** The canonical text of an answer of one text. */
function said(text: string, reason?: string): string {
  const finish = reason === undefined ? '' : `"finish_reason":"${reason}",`;
  const part = `{"content":"${hmac(text)}","type":"text"}`;
  return `{${finish}"parts":[${text === '' ? '' : part}],"role":"assistant"}`;
}

/** The canonical text of an answer that calls the one tool. */
function called(reason: string): string {
  const part = `{"arguments":"${hmac(ARGUMENTS)}","id":"call-1","name":"weather","type":"tool_call"}`;
  return `{"finish_reason":"${reason}","parts":[${part}],"role":"assistant"}`;
}

function output(canonical: string, byteLength: number): Record<string, unknown> {
  return {
    'aigov.output.digest': digest(`[${canonical}]`),
    'aigov.output.length': byteLength,
  };
}

/** Of every span: `absent` is why there is no digest of an answer. */
const absent = (reason: string) => ({ 'aigov.output.absence': reason });
const INPUT = {
  'aigov.content.policy': 'digest',
  'aigov.digest.alg': 'hmac-sha256',
  'aigov.digest.key_id': 'test-1',
  'aigov.schema.version': '0.1.0',
};
const USAGE = {
  'gen_ai.usage.input_tokens': 12,
  'gen_ai.usage.output_tokens': 5,
  'gen_ai.usage.cache_read.input_tokens': 4,
  'gen_ai.usage.reasoning.output_tokens': 2,
};
const COMPLETE = { 'aigov.invocation.completion': 'complete' };
const SERVER = {
  'gen_ai.operation.name': 'chat',
  'gen_ai.provider.name': 'openai',
  'server.address': '127.0.0.1',
};

function chat(model: string, config: string, more: object = {}): Record<string, unknown> {
  return {
    ...SERVER,
    ...INPUT,
    'openai.api.type': 'chat_completions',
    'gen_ai.request.model': model,
    'aigov.input.digest': digest(MESSAGES),
    'aigov.input.length': Buffer.byteLength(MESSAGES),
    'aigov.config.digest': digest(config),
    ...more,
  };
}

function answered(model: string, reasons?: readonly string[]): Record<string, unknown> {
  return {
    'gen_ai.response.id': 'chatcmpl-1',
    'gen_ai.response.model': `${model}-2026-08-01`,
    ...(reasons && { 'gen_ai.response.finish_reasons': reasons }),
    'openai.response.service_tier': 'default',
    'openai.response.system_fingerprint': 'fp-1',
  };
}

function responses(model: string, config: string, more: object = {}): Record<string, unknown> {
  return {
    ...chat(model, config),
    'openai.api.type': 'responses',
    'aigov.input.digest': digest(INSTRUCTED),
    'aigov.input.length': Buffer.byteLength(INSTRUCTED),
    ...more,
  };
}

function responded(
  model: string,
  status: string,
  reason: string = status,
): Record<string, unknown> {
  return {
    'gen_ai.response.id': 'resp-1',
    'gen_ai.response.model': `${model}-2026-08-01`,
    'gen_ai.response.status': status,
    'gen_ai.response.finish_reasons': [reason],
    'openai.response.service_tier': 'default',
  };
}

const model = (name: string) => `{"model":"${name}"}`;
const TOOLS =
  '"tools":[{"function":{"name":"weather","parameters":{"properties":{},"type":"object"}},"type":"function"}]';
const STREAMED = { 'gen_ai.request.stream': true };
const length = (text: string) => Buffer.byteLength(text);

/** All attributes of the span of a case. */
const WHOLE: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'chat: plain': chat('gpt-fake', '{"model":"gpt-fake","seed":7}', {
    'gen_ai.request.seed': 7,
    ...answered('gpt-fake', ['stop']),
    ...USAGE,
    ...output(said(TEXT, 'stop'), length(TEXT)),
    ...COMPLETE,
  }),
  'chat: with parameters': chat(
    'gpt-two',
    '{"frequency_penalty":0.1,"max_completion_tokens":64,"model":"gpt-two","n":2,"presence_penalty":0.3,"reasoning_effort":"low","response_format":{"type":"json_object"},"service_tier":"flex","stop":["END"],"temperature":0.2,"top_p":0.9}',
    {
      'gen_ai.request.choice.count': 2,
      'gen_ai.request.max_tokens': 64,
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.top_p': 0.9,
      'gen_ai.request.frequency_penalty': 0.1,
      'gen_ai.request.presence_penalty': 0.3,
      'gen_ai.request.reasoning.level': 'low',
      'gen_ai.request.stop_sequences': ['END'],
      'gen_ai.output.type': 'json',
      'openai.request.service_tier': 'flex',
      ...answered('gpt-two', ['stop', 'stop']),
      ...USAGE,
      ...output(`${said(TEXT, 'stop')},${said(TEXT, 'stop')}`, 2 * length(TEXT)),
      ...COMPLETE,
    },
  ),
  'chat: tool call': chat('gpt-tools', `{"model":"gpt-tools",${TOOLS}}`, {
    ...answered('gpt-tools', ['tool_calls']),
    ...USAGE,
    ...output(called('tool_calls'), length(ARGUMENTS)),
    ...COMPLETE,
  }),
  'chat: stream': chat('gpt-fake', model('gpt-fake'), {
    ...STREAMED,
    'gen_ai.response.time_to_first_chunk': expect.any(Number),
    ...answered('gpt-fake', ['stop']),
    ...USAGE,
    ...output(said(TEXT, 'stop'), length(TEXT)),
    ...COMPLETE,
  }),
  'chat: stream of a tool call': chat('gpt-tools', `{"model":"gpt-tools",${TOOLS}}`, {
    ...STREAMED,
    'gen_ai.response.time_to_first_chunk': expect.any(Number),
    ...answered('gpt-tools', ['tool_calls']),
    ...USAGE,
    ...output(called('tool_calls'), length(ARGUMENTS)),
    ...COMPLETE,
  }),
  'chat: stream broken off': chat('gpt-fake', model('gpt-fake'), {
    ...STREAMED,
    'gen_ai.response.time_to_first_chunk': expect.any(Number),
    ...answered('gpt-fake'),
    ...output(said(TEXT), length(TEXT)),
    'aigov.invocation.completion': 'aborted',
    'aigov.invocation.detail': 'break',
  }),
  'chat: stream whose connection dies': chat('gpt-dies', model('gpt-dies'), {
    ...STREAMED,
    'gen_ai.response.time_to_first_chunk': expect.any(Number),
    ...answered('gpt-dies'),
    ...output(said('Grüß'), length('Grüß')),
    'aigov.invocation.completion': 'error',
    'aigov.invocation.detail': 'connection',
    'error.type': 'UND_ERR_SOCKET',
  }),
  'chat: stream never read': chat('gpt-fake', model('gpt-fake'), {
    ...STREAMED,
    ...absent('incomplete'),
    'aigov.invocation.completion': 'abandoned',
    'aigov.invocation.detail': 'unread',
  }),
  'chat: 500 after retries': chat('gpt-broken', model('gpt-broken'), {
    ...absent('incomplete'),
    'aigov.invocation.completion': 'error',
    'error.type': '500',
    'http.response.status_code': 500,
    'http.request.resend_count': 1,
  }),
  'chat: asResponse': chat('gpt-fake', model('gpt-fake'), {
    ...absent('not_observed'),
    ...COMPLETE,
    'aigov.invocation.detail': 'raw_response',
  }),
  'responses: plain': responses('gpt-fake', model('gpt-fake'), {
    ...responded('gpt-fake', 'completed'),
    ...USAGE,
    ...output(said(TEXT, 'completed'), length(TEXT)),
    ...COMPLETE,
  }),
  'responses: stream': responses('gpt-fake', model('gpt-fake'), {
    ...STREAMED,
    'gen_ai.response.time_to_first_chunk': expect.any(Number),
    ...responded('gpt-fake', 'completed'),
    ...USAGE,
    ...output(said(TEXT, 'completed'), length(TEXT)),
    ...COMPLETE,
  }),
  'responses: stream of a tool call': responses('gpt-tools', model('gpt-tools'), {
    ...STREAMED,
    'gen_ai.response.time_to_first_chunk': expect.any(Number),
    ...responded('gpt-tools', 'completed'),
    ...USAGE,
    ...output(called('completed'), length(ARGUMENTS)),
    ...COMPLETE,
  }),
  'responses: cut short': responses('gpt-long', model('gpt-long'), {
    ...responded('gpt-long', 'incomplete', 'max_output_tokens'),
    ...USAGE,
    ...output(said(TEXT, 'max_output_tokens'), length(TEXT)),
    ...COMPLETE,
  }),
  'responses: failed': responses('gpt-fails', model('gpt-fails'), {
    ...responded('gpt-fails', 'failed'),
    ...USAGE,
    ...output(said('', 'failed'), 0),
    'aigov.invocation.completion': 'error',
    'error.type': 'server_error',
  }),
};

const withPrefix = (prefix: string, ends: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(ends).map(([name, end]) => [`${prefix}${name}`, end]));

describeMatrix({
  target: 'openai',
  columns: { 'openai chat': 'chat: ', 'openai responses': 'responses: ' },
  versions: [
    { version: '7.57.0', folder: '../instrumentation/support', formats: ['esm', 'cjs'] },
    { version: '6.49.0', folder: '../apps/openai-6', formats: ['esm', 'cjs'] },
  ],
  app: '../../instrumentation/support/openai-cases.ts',
  startProvider: startFakeOpenai,
  ends: {
    ...withPrefix('chat: ', STAINLESS_ENDS),
    'chat: stream that reports an error': 'error overloaded',
    'chat: with parameters': 'complete',
    'chat: awaited twice': 'complete',
    'chat: aborted before': 'aborted signal',
    'chat: timed out by signal': 'error timeout timeout',
    'chat: no body': 'error TypeError',
    'chat: asResponse of an error': 'error 400',
    'chat: asResponse, then the answer': 'complete',
    'chat: parse': 'complete',
    'chat: parse of a cut answer': 'complete',
    'chat: parse withResponse': 'complete',
    'chat: parse asResponse': 'complete raw_response',
    'chat: stream of two choices': 'complete',
    'chat: stream broken off after the finish reason': 'complete',
    'chat: stream without a finish reason': 'complete',
    'chat: stream read twice': 'complete',
    'chat: stream read by hand': 'aborted break',
    'chat: stream helper': 'complete',
    'chat: stream helper with tools': 'complete',
    'chat: stream helper aborted': 'aborted signal',
    'chat: never awaited and 400': 'error 400',
    ...withPrefix('responses: ', STAINLESS_ENDS),
    'responses: stream that reports an error': 'error server_error',
    // It looks into the answer itself, and throws.
    'responses: not JSON': 'error TypeError',
    'responses: cut short': 'complete',
    'responses: failed': 'error server_error',
    'responses: parse': 'complete',
    'responses: stream cut short': 'complete',
    'responses: stream helper': 'complete',
  },
  started: {
    'chat: plain': {
      ...SERVER,
      'aigov.schema.version': '0.1.0',
      'openai.api.type': 'chat_completions',
      'gen_ai.request.model': 'gpt-fake',
      'gen_ai.request.seed': 7,
    },
  },
  whole: WHOLE,
});
