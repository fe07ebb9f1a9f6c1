// SPDX-License-Identifier: Apache-2.0
/**
 * What applications do with chat completions and responses of `openai`, beside what they do with every SDK of its generator.
 * Runs as it stands under both module systems and both major versions, with hooks and with each client watched by hand.
 */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type OpenAI from 'openai';
import { type App, type Cases, collect, failing } from '../../sdks/support/case.ts';
import {
  type ApiPromise,
  type Stream,
  stainlessCases,
} from '../../sdks/support/stainless-cases.ts';

/** The part of the package in use. */
interface Module {
  readonly OpenAI: typeof OpenAI;
}

/** What the preloaded module offers where clients are watched by hand. */
const watching = (globalThis as { sealspanTest?: { instrument?: (client: OpenAI) => OpenAI } })
  .sealspanTest?.instrument;

function clientOf({ sdk, url }: App<Module>, options: object = {}): OpenAI {
  const client = new sdk.OpenAI({ apiKey: 'none', baseURL: url, logLevel: 'off', ...options });
  return watching === undefined ? client : watching(client);
}

const messages = [
  { role: 'system' as const, content: 'Be kind.' },
  { role: 'user' as const, content: 'Grüß mich' },
];
const chat = (model: string, more: object = {}) => ({ model, messages, ...more });
const streamed = { stream: true as const, stream_options: { include_usage: true } };
const response = (model: string, more: object = {}) => ({
  model,
  instructions: 'Be kind.',
  input: 'Grüß mich',
  ...more,
});
/** The shared cases ask for `m-fake` and its kin. */
const modelOf = (name: string) => name.replace('m-', 'gpt-');

async function chatStream(app: App<Module>, model: string, more: object = {}): Promise<Stream> {
  const body = chat(model, { ...streamed, ...more });
  return (await clientOf(app).chat.completions.create(body as never)) as never;
}

async function responseStream(app: App<Module>, model: string): Promise<Stream> {
  return (await clientOf(app).responses.create(
    response(model, { stream: true }) as never,
  )) as never;
}

const tools = [
  {
    type: 'function' as const,
    function: { name: 'weather', parameters: { type: 'object', properties: {} } },
  },
];

/** The cases of every such SDK, under names that tell the interface. */
function shared(prefix: string, of: Cases<Module>): Cases<Module> {
  return Object.fromEntries(Object.entries(of).map(([name, run]) => [`${prefix}${name}`, run]));
}

export const cases: Cases<Module> = {
  ...shared(
    'chat: ',
    stainlessCases<Module>({
      create: (sdk, url, body, options, clientOptions) =>
        clientOf({ sdk, url }, clientOptions).chat.completions.create(
          body as never,
          options,
        ) as never as ApiPromise,
      body: (model) => chat(modelOf(model)),
      tools: { tools },
      streaming: streamed,
      // The provider sends no more before it fails.
      itemsBeforeAbort: 2,
    }),
  ),
  ...shared(
    'responses: ',
    stainlessCases<Module>({
      create: (sdk, url, body, options, clientOptions) =>
        clientOf({ sdk, url }, clientOptions).responses.create(
          body as never,
          options,
        ) as never as ApiPromise,
      body: (model) => response(modelOf(model)),
      tools: {},
    }),
  ),
  'chat: plain': (app) => clientOf(app).chat.completions.create(chat('gpt-fake', { seed: 7 })),
  'chat: with parameters': (app) =>
    clientOf(app).chat.completions.create(
      chat('gpt-two', {
        n: 2,
        temperature: 0.2,
        top_p: 0.9,
        max_completion_tokens: 64,
        frequency_penalty: 0.1,
        presence_penalty: 0.3,
        stop: ['END'],
        response_format: { type: 'json_object' },
        reasoning_effort: 'low',
        service_tier: 'flex',
        user: 'someone',
      }),
    ),
  'chat: awaited twice': async (app) => {
    const promise = clientOf(app).chat.completions.create(chat('gpt-fake'));
    return [await promise, await promise];
  },
  'chat: aborted before': (app) =>
    failing(async () =>
      clientOf(app).chat.completions.create(chat('gpt-fake'), { signal: AbortSignal.abort() }),
    ),
  'chat: timed out by signal': (app) =>
    failing(async () =>
      clientOf(app).chat.completions.create(chat('gpt-hangs'), { signal: AbortSignal.timeout(30) }),
    ),
  'chat: no body': (app) =>
    failing(async () => clientOf(app).chat.completions.create(undefined as never)),
  'chat: asResponse of an error': (app) =>
    failing(async () => clientOf(app).chat.completions.create(chat('gpt-refuses')).asResponse()),
  'chat: asResponse, then the answer': (app) =>
    failing(async () => {
      const promise = clientOf(app).chat.completions.create(chat('gpt-fake'));
      const answer = promise.then((value: unknown) => value);
      return [(await promise.asResponse()).status, await answer];
    }),
  'chat: parse': (app) =>
    clientOf(app).chat.completions.parse(
      chat('gpt-json', {
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'answer', schema: { type: 'object' } },
        },
      }) as never,
    ),
  'chat: parse of a cut answer': (app) =>
    failing(async () => clientOf(app).chat.completions.parse(chat('gpt-long') as never)),
  'chat: parse withResponse': async (app) => {
    const result = await clientOf(app)
      .chat.completions.parse(chat('gpt-json') as never)
      .withResponse();
    return [result.data, result.request_id];
  },
  'chat: parse asResponse': async (app) => {
    const raw = await clientOf(app)
      .chat.completions.parse(chat('gpt-json') as never)
      .asResponse();
    return raw.json();
  },
  'chat: stream of two choices': async (app) => collect(await chatStream(app, 'gpt-two', { n: 2 })),
  'chat: stream broken off after the finish reason': async (app) => {
    const stream = (await chatStream(
      app,
      'gpt-fake',
    )) as never as AsyncIterable<OpenAI.ChatCompletionChunk>;
    const seen: unknown[] = [];
    for await (const chunk of stream) {
      seen.push(chunk);
      if (chunk.choices[0]?.finish_reason) break;
    }
    return seen;
  },
  'chat: stream without a finish reason': async (app) => collect(await chatStream(app, 'gpt-mute')),
  'chat: stream read twice': async (app) => {
    const stream = await chatStream(app, 'gpt-fake');
    return [await collect(stream), await failing(async () => collect(stream))];
  },
  'chat: stream read by hand': async (app) => {
    const stream = await chatStream(app, 'gpt-fake');
    const iterator = stream[Symbol.asyncIterator]();
    return [
      await iterator.next(),
      await iterator.return?.(),
      await iterator.next(),
      Object.keys(iterator),
    ];
  },
  'chat: stream helper': async (app) => {
    const runner = clientOf(app).chat.completions.stream(chat('gpt-fake', streamed) as never);
    const events: string[] = [];
    runner.on('content', (delta, snapshot) => events.push(`${delta}|${snapshot}`));
    return [await runner.finalChatCompletion(), events];
  },
  'chat: stream helper with tools': async (app) => {
    const body = chat('gpt-tools', { ...streamed, tools });
    return clientOf(app)
      .chat.completions.stream(body as never)
      .finalChatCompletion();
  },
  'chat: stream helper aborted': async (app) => {
    const runner = clientOf(app).chat.completions.stream(chat('gpt-waits', streamed) as never);
    runner.on('chunk', () => runner.abort());
    return failing(() => runner.finalChatCompletion());
  },
  'chat: never awaited and 400': async (app) => {
    // However long it takes: the case that comes next must not get what comes of this one.
    const told = once(process, 'unhandledRejection');
    clientOf(app).chat.completions.create(chat('gpt-refuses'));
    await Promise.race([told, delay(5000)]);
    return 'dropped';
  },
  'responses: cut short': (app) => clientOf(app).responses.create(response('gpt-long')),
  'responses: failed': (app) => clientOf(app).responses.create(response('gpt-fails')),
  'responses: parse': (app) => clientOf(app).responses.parse(response('gpt-json') as never),
  'responses: stream cut short': async (app) => collect(await responseStream(app, 'gpt-long')),
  'responses: stream helper': async (app) =>
    clientOf(app)
      .responses.stream(response('gpt-fake') as never)
      .finalResponse(),
  'models: not a call of a model': (app) => failing(async () => clientOf(app).models.list()),
};
