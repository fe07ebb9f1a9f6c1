// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `openai` 6 and 7 behave with our hooks as without, and each call of a model leaves one span that says how it ended.
 * Method: the same application, run with and without hooks under both module systems against a provider that fails in all
 * the ways real ones do; then all it saw is compared, and all its spans are compared with a table.
 */
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { startFakeOpenai } from '../support/fake-openai.ts';
import type { Recorded } from './support/recorder.ts';

interface Run {
  readonly outcomes: Readonly<Record<string, unknown>>;
  readonly spans: Readonly<Record<string, readonly Recorded[]>>;
  readonly report: {
    readonly coverage: readonly { readonly target: string }[];
    readonly stats: { readonly open: number; readonly problems: Readonly<Record<string, number>> };
    readonly started: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  };
}

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');
const folders: Readonly<Record<string, string>> = {
  6: join(root, 'test/apps/openai-6/node_modules/openai'),
  7: join(root, 'node_modules/openai'),
};
const versions: Readonly<Record<string, string>> = { 6: '6.49.0', 7: '7.57.0' };
const RUN_MS = 120_000;

/** Runs the application in a process of its own, against a provider of its own. */
async function run(
  major: string,
  format: string,
  env?: Readonly<Record<string, string>>,
): Promise<Run> {
  const provider = await startFakeOpenai();
  try {
    const preload = env === undefined ? [] : ['--import', join(here, 'support/preload.ts')];
    const args = ['--expose-gc', '--no-warnings', ...preload, join(here, 'support/openai-app.ts')];
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [...args, folders[major] ?? '', format, provider.url],
      // The hooks look for packages from the program upwards; a proxy would see the requests of the test.
      { env: { PATH: process.env.PATH, ...env }, cwd: root, maxBuffer: 2 ** 26, timeout: RUN_MS },
    );
    return JSON.parse(stdout) as Run;
  } finally {
    await provider.close();
  }
}

const KEY = new Uint8Array(32).fill(7);

/** The digest as its definition says, computed here anew. */
function hmac(text: string): string {
  return createHmac('sha256', KEY).update(text).digest('hex');
}

function digest(text: string): string {
  return `hmac-sha256:${hmac(text)}`;
}

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
    ...output(said('Grüß'), length('Grüß')),
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
    'http.request.resend_count': 2,
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

/** How each case ends: terminal state, detail, error type. */
const ENDS: Readonly<Record<string, readonly (string | undefined)[]>> = {
  'chat: plain': ['complete'],
  'chat: with parameters': ['complete'],
  'chat: tool call': ['complete'],
  'chat: awaited twice': ['complete'],
  'chat: not JSON': ['complete'],
  'chat: 400': ['error', undefined, '400'],
  'chat: 500 after retries': ['error', undefined, '500'],
  'chat: good after retries': ['complete'],
  'chat: timeout': ['error', 'timeout', 'timeout'],
  'chat: no connection': ['error', 'connection', 'ECONNREFUSED'],
  'chat: aborted by signal': ['aborted', 'signal'],
  'chat: aborted before': ['aborted', 'signal'],
  'chat: timed out by signal': ['error', 'timeout', 'timeout'],
  'chat: no body': ['error', undefined, 'TypeError'],
  'chat: asResponse': ['complete', 'raw_response'],
  'chat: asResponse of a stream': ['complete', 'raw_response'],
  'chat: asResponse of an error': ['error', undefined, '400'],
  'chat: withResponse': ['complete'],
  'chat: withResponse of a stream': ['complete'],
  'chat: asResponse, then the answer': ['complete'],
  'chat: parse': ['complete'],
  'chat: parse of a cut answer': ['complete'],
  'chat: parse withResponse': ['complete'],
  'chat: parse asResponse': ['complete', 'raw_response'],
  'chat: stream': ['complete'],
  'chat: stream of two choices': ['complete'],
  'chat: stream of a tool call': ['complete'],
  'chat: stream broken off': ['aborted', 'break'],
  'chat: stream broken off after the finish reason': ['complete'],
  'chat: stream with a throwing reader': ['aborted', 'break'],
  'chat: stream ends early': ['error', 'truncated', 'truncated'],
  'chat: stream without a finish reason': ['complete'],
  'chat: stream whose connection dies': ['error', 'connection', 'UND_ERR_SOCKET'],
  'chat: stream that reports an error': ['error', undefined, 'overloaded'],
  'chat: stream aborted by its controller': ['aborted', 'signal'],
  'chat: stream aborted by signal': ['aborted', 'signal'],
  'chat: stream aborted before it is read': ['aborted', 'signal'],
  'chat: stream read twice': ['complete'],
  'chat: stream read by hand': ['aborted', 'break'],
  'chat: stream through tee': ['complete'],
  'chat: stream through toReadableStream': ['complete'],
  'chat: stream helper': ['complete'],
  'chat: stream helper with tools': ['complete'],
  'chat: stream helper aborted': ['aborted', 'signal'],
  'chat: stream never read': ['abandoned', 'unread'],
  'chat: stream half read': ['abandoned'],
  'chat: never awaited': ['abandoned', 'unread'],
  'chat: never awaited and 400': ['error', undefined, '400'],
  'responses: plain': ['complete'],
  'responses: tool call': ['complete'],
  'responses: cut short': ['complete'],
  'responses: failed': ['error', undefined, 'server_error'],
  'responses: 400': ['error', undefined, '400'],
  'responses: withResponse': ['complete'],
  'responses: parse': ['complete'],
  'responses: stream': ['complete'],
  'responses: stream of a tool call': ['complete'],
  'responses: stream cut short': ['complete'],
  'responses: stream ends early': ['error', 'truncated', 'truncated'],
  'responses: stream whose connection dies': ['error', 'connection', 'UND_ERR_SOCKET'],
  'responses: stream that reports an error': ['error', undefined, 'server_error'],
  'responses: stream broken off': ['aborted', 'break'],
  'responses: stream helper': ['complete'],
};

const ours = (spans: readonly Recorded[] = []) => spans.filter(({ scope }) => scope === 'sealspan');
const bare = new Map<string, Promise<Run>>();

describe.each([
  ['6', 'esm', 'sync'],
  ['6', 'cjs', 'sync'],
  ['7', 'esm', 'sync'],
  ['7', 'cjs', 'sync'],
  ['7', 'esm', 'async'],
  ['7', 'cjs', 'async'],
])('openai %s, %s, %s hooks', (major, format, loader) => {
  let hooked: Run;
  let plain: Run;
  beforeAll(async () => {
    const key = `${major} ${format}`;
    const known = bare.get(key) ?? run(major, format);
    bare.set(key, known);
    [hooked, plain] = await Promise.all([run(major, format, { LOADER: loader }), known]);
  }, RUN_MS);

  it('lets the application see what it sees without hooks', () => {
    expect(hooked.outcomes).toEqual(plain.outcomes);
  });

  it('ends each call once, in the state it ended in', () => {
    const ends = Object.entries(hooked.spans).flatMap(([name, spans]) =>
      ours(spans).map(({ attributes }) => [
        name,
        [
          attributes['aigov.invocation.completion'],
          attributes['aigov.invocation.detail'],
          attributes['error.type'],
        ],
      ]),
    );
    const expected = Object.entries(ENDS).map(([name, [completion, detail, type]]) => [
      name,
      [completion, detail, type],
    ]);
    expect(ends).toEqual(expected);
    expect(hooked.report.stats).toMatchObject({ open: 0, problems: {} });
  });

  it.each(Object.keys(WHOLE))('tells all of: %s', (name) => {
    const [span] = ours(hooked.spans[name]);
    const { 'server.port': port, ...attributes } = span?.attributes ?? {};
    expect(attributes).toEqual(WHOLE[name]);
    expect(port).toEqual(expect.any(Number));
    expect(span).toMatchObject({
      name: `chat ${String(attributes['gen_ai.request.model'])}`,
      kind: 'CLIENT',
      status: attributes['error.type'] === undefined ? 'UNSET' : 'ERROR',
    });
  });

  it('gives samplers what the call is', () => {
    const [span] = ours(hooked.spans['chat: plain']);
    expect(hooked.report.started[span?.spanId ?? '']).toEqual({
      ...SERVER,
      'aigov.schema.version': '0.1.0',
      'openai.api.type': 'chat_completions',
      'gen_ai.request.model': 'gpt-fake',
      'gen_ai.request.seed': 7,
      'server.port': expect.any(Number),
    });
  });

  it('lets the spans of the requests nest under the call, retries included', () => {
    for (const [name, spans] of Object.entries(hooked.spans)) {
      const [call] = ours(spans);
      if (call === undefined) continue;
      const parents = spans
        .filter(({ scope }) => scope === 'http')
        .map((span) => span.parentSpanId);
      expect([name, ...new Set(parents)]).toEqual([
        name,
        ...(parents.length > 0 ? [call.spanId] : []),
      ]);
    }
    const requests = hooked.spans['chat: 500 after retries']?.filter(
      ({ scope }) => scope === 'http',
    );
    expect(requests).toHaveLength(3);
  });

  it('makes no span of what is no call of a model', () => {
    expect(ours(hooked.spans['models: not a call of a model'])).toEqual([]);
  });

  it('says that it is active', () => {
    expect(hooked.report.coverage.filter(({ target }) => target === 'openai')).toEqual([
      { target: 'openai', version: versions[major], status: 'active' },
    ]);
  });
});

describe.each([['tracer'], ['start'], ['span']])('openai when our %s throws', (fault) => {
  it(
    'lets the application see what it sees without hooks, and counts',
    async () => {
      const known = bare.get('7 esm') ?? run('7', 'esm');
      bare.set('7 esm', known);
      const [faulty, plain] = await Promise.all([run('7', 'esm', { FAULT: fault }), known]);
      expect(faulty.outcomes).toEqual(plain.outcomes);
      expect(faulty.report.stats.open).toBe(0);
      const problems = Object.values(faulty.report.stats.problems);
      expect(problems.length).toBeGreaterThan(0);
      // Each call met the fault at least once.
      expect(Math.max(...problems)).toBeGreaterThanOrEqual(Object.keys(ENDS).length);
    },
    RUN_MS,
  );
});
