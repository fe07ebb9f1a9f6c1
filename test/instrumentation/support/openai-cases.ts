// SPDX-License-Identifier: Apache-2.0
/**
 * What applications do with `openai`, one function each. What a case returns is all that the application sees of it, so two
 * runs, with and without hooks, can be compared. Runs as it stands under both module systems and both major versions.
 */
import type OpenAI from 'openai';

export interface App {
  readonly client: OpenAI;
  /** A client with other options. */
  readonly clientWith: (options: object) => OpenAI;
  readonly sdk: typeof OpenAI;
}

export type Case = (app: App) => Promise<unknown>;

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

/** What the cases use of a stream of the SDK. */
interface Stream extends AsyncIterable<unknown> {
  readonly controller: AbortController;
  tee(): readonly [Stream, Stream];
  toReadableStream(): ReadableStream;
}

async function chatStream(
  client: OpenAI,
  model: string,
  more: object = {},
  ...options: object[]
): Promise<Stream> {
  const body = chat(model, { ...streamed, ...more });
  return (await client.chat.completions.create(body as never, ...options)) as never;
}

async function responseStream(client: OpenAI, model: string): Promise<Stream> {
  return (await client.responses.create(response(model, { stream: true }) as never)) as never;
}

const tools = [
  {
    type: 'function' as const,
    function: { name: 'weather', parameters: { type: 'object', properties: {} } },
  },
];

async function collect<Item>(stream: AsyncIterable<Item>, count = Infinity): Promise<Item[]> {
  const items: Item[] = [];
  for await (const item of stream) {
    items.push(item);
    if (items.length >= count) break;
  }
  return items;
}

async function text(stream: ReadableStream): Promise<string> {
  return new Response(stream as never).text();
}

/** An error as far as an application can tell it apart; stacks differ by where they were made. */
export function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { thrown: error };
  const { status, code, type, cause } = error as Error & Record<string, unknown>;
  return {
    class: error.constructor.name,
    message: error.message,
    keys: Object.keys(error).sort(),
    ...{ status, code, type },
    ...(cause instanceof Error && { cause: cause.constructor.name }),
  };
}

async function failing(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return { returned: await work() };
  } catch (error) {
    return describeError(error);
  }
}

export const CASES: Readonly<Record<string, Case>> = {
  'chat: plain': ({ client }) => client.chat.completions.create(chat('gpt-fake', { seed: 7 })),
  'chat: with parameters': ({ client }) =>
    client.chat.completions.create(
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
  'chat: tool call': ({ client }) => client.chat.completions.create(chat('gpt-tools', { tools })),
  'chat: awaited twice': async ({ client }) => {
    const promise = client.chat.completions.create(chat('gpt-fake'));
    return [await promise, await promise];
  },
  'chat: not JSON': ({ client }) => client.chat.completions.create(chat('gpt-html')),
  'chat: 400': ({ client }) =>
    failing(async () => client.chat.completions.create(chat('gpt-refuses'))),
  'chat: 500 after retries': ({ client }) =>
    failing(async () => client.chat.completions.create(chat('gpt-broken'))),
  'chat: good after retries': ({ client }) => client.chat.completions.create(chat('gpt-flaky')),
  'chat: timeout': ({ clientWith }) =>
    failing(async () =>
      clientWith({ timeout: 50, maxRetries: 0 }).chat.completions.create(chat('gpt-hangs')),
    ),
  'chat: no connection': ({ clientWith }) =>
    failing(async () =>
      clientWith({ baseURL: 'http://127.0.0.1:2/v1', maxRetries: 0 }).chat.completions.create(
        chat('gpt-fake'),
      ),
    ),
  'chat: aborted by signal': ({ client }) =>
    failing(async () => {
      const controller = new AbortController();
      const promise = client.chat.completions.create(chat('gpt-hangs'), {
        signal: controller.signal,
      });
      setTimeout(() => controller.abort(), 20);
      return promise;
    }),
  'chat: aborted before': ({ client }) =>
    failing(async () =>
      client.chat.completions.create(chat('gpt-fake'), { signal: AbortSignal.abort() }),
    ),
  'chat: timed out by signal': ({ client }) =>
    failing(async () =>
      client.chat.completions.create(chat('gpt-hangs'), { signal: AbortSignal.timeout(30) }),
    ),
  'chat: no body': ({ client }) =>
    failing(async () => client.chat.completions.create(undefined as never)),
  'chat: asResponse': async ({ client }) => {
    const raw = await client.chat.completions.create(chat('gpt-fake')).asResponse();
    return [raw.status, await raw.json()];
  },
  'chat: asResponse of a stream': async ({ client }) => {
    const raw = await client.chat.completions.create(chat('gpt-fake', streamed)).asResponse();
    return [raw.status, await raw.text()];
  },
  'chat: asResponse of an error': ({ client }) =>
    failing(async () => client.chat.completions.create(chat('gpt-refuses')).asResponse()),
  'chat: withResponse': async ({ client }) => {
    const result = await client.chat.completions.create(chat('gpt-fake')).withResponse();
    return [result.data, result.request_id, result.response.status];
  },
  'chat: withResponse of a stream': async ({ client }) => {
    const result = await client.chat.completions.create(chat('gpt-fake', streamed)).withResponse();
    return [await collect(result.data as never), result.request_id];
  },
  'chat: asResponse, then the answer': ({ client }) =>
    failing(async () => {
      const promise = client.chat.completions.create(chat('gpt-fake'));
      const answer = promise.then((value: unknown) => value);
      return [(await promise.asResponse()).status, await answer];
    }),
  'chat: parse': ({ client }) =>
    client.chat.completions.parse(
      chat('gpt-json', {
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'answer', schema: { type: 'object' } },
        },
      }) as never,
    ),
  'chat: parse of a cut answer': ({ client }) =>
    failing(async () => client.chat.completions.parse(chat('gpt-long') as never)),
  'chat: parse withResponse': async ({ client }) => {
    const result = await client.chat.completions.parse(chat('gpt-json') as never).withResponse();
    return [result.data, result.request_id];
  },
  'chat: parse asResponse': async ({ client }) => {
    const raw = await client.chat.completions.parse(chat('gpt-json') as never).asResponse();
    return raw.json();
  },
  'chat: stream': async ({ client }) => collect(await chatStream(client, 'gpt-fake')),
  'chat: stream of two choices': async ({ client }) =>
    collect(await chatStream(client, 'gpt-two', { n: 2 })),
  'chat: stream of a tool call': async ({ client }) =>
    collect(await chatStream(client, 'gpt-tools', { tools })),
  'chat: stream broken off': async ({ client }) => collect(await chatStream(client, 'gpt-fake'), 2),
  'chat: stream broken off after the finish reason': async ({ client }) => {
    const stream = (await chatStream(
      client,
      'gpt-fake',
    )) as never as AsyncIterable<OpenAI.ChatCompletionChunk>;
    const seen: unknown[] = [];
    for await (const chunk of stream) {
      seen.push(chunk);
      if (chunk.choices[0]?.finish_reason) break;
    }
    return seen;
  },
  'chat: stream with a throwing reader': ({ client }) =>
    failing(async () => {
      const stream = await chatStream(client, 'gpt-fake');
      for await (const _ of stream) throw new Error('mine');
    }),
  'chat: stream ends early': async ({ client }) =>
    failing(async () => collect(await chatStream(client, 'gpt-cut'))),
  'chat: stream without a finish reason': async ({ client }) =>
    collect(await chatStream(client, 'gpt-mute')),
  'chat: stream whose connection dies': async ({ client }) => {
    const seen: unknown[] = [];
    const ended = await failing(async () => {
      const stream = await chatStream(client, 'gpt-dies');
      for await (const chunk of stream) seen.push(chunk);
    });
    return [seen, ended];
  },
  'chat: stream that reports an error': ({ client }) =>
    failing(async () => collect(await chatStream(client, 'gpt-error'))),
  'chat: stream aborted by its controller': async ({ client }) => {
    const stream = await chatStream(client, 'gpt-waits');
    const seen: unknown[] = [];
    const { controller } = stream;
    const ended = await failing(async () => {
      for await (const chunk of stream) {
        seen.push(chunk);
        if (seen.length === 2) controller.abort();
      }
    });
    return [seen, ended];
  },
  'chat: stream aborted by signal': async ({ client }) => {
    const controller = new AbortController();
    const { signal } = controller;
    const stream = await chatStream(client, 'gpt-waits', {}, { signal });
    const seen: unknown[] = [];
    const ended = await failing(async () => {
      for await (const chunk of stream) {
        seen.push(chunk);
        if (seen.length === 2) setTimeout(() => controller.abort(), 5);
      }
    });
    return [seen, ended];
  },
  'chat: stream aborted before it is read': async ({ client }) => {
    const stream = await chatStream(client, 'gpt-waits');
    stream.controller.abort();
    return failing(async () => collect(stream));
  },
  'chat: stream read twice': async ({ client }) => {
    const stream = await chatStream(client, 'gpt-fake');
    return [await collect(stream), await failing(async () => collect(stream))];
  },
  'chat: stream read by hand': async ({ client }) => {
    const stream = await chatStream(client, 'gpt-fake');
    const iterator = stream[Symbol.asyncIterator]();
    return [
      await iterator.next(),
      await iterator.return?.(),
      await iterator.next(),
      Object.keys(iterator),
    ];
  },
  'chat: stream through tee': async ({ client }) => {
    const stream = await chatStream(client, 'gpt-fake');
    const [left, right] = stream.tee();
    return Promise.all([collect(left!), collect(right!)]);
  },
  'chat: stream through toReadableStream': async ({ client }) => {
    const stream = await chatStream(client, 'gpt-fake');
    return text(stream.toReadableStream());
  },
  'chat: stream helper': async ({ client }) => {
    const runner = client.chat.completions.stream(chat('gpt-fake', streamed) as never);
    const events: string[] = [];
    runner.on('content', (delta, snapshot) => events.push(`${delta}|${snapshot}`));
    return [await runner.finalChatCompletion(), events];
  },
  'chat: stream helper with tools': async ({ client }) => {
    const body = chat('gpt-tools', { ...streamed, tools });
    return client.chat.completions.stream(body as never).finalChatCompletion();
  },
  'chat: stream helper aborted': async ({ client }) => {
    const runner = client.chat.completions.stream(chat('gpt-waits', streamed) as never);
    runner.on('chunk', () => runner.abort());
    return failing(() => runner.finalChatCompletion());
  },
  'chat: stream never read': async ({ client }) => {
    await chatStream(client, 'gpt-fake');
    return 'dropped';
  },
  'chat: stream half read': async ({ client }) => {
    const stream = await chatStream(client, 'gpt-fake');
    const iterator = stream[Symbol.asyncIterator]();
    return iterator.next();
  },
  'chat: never awaited': ({ client }) => {
    client.chat.completions.create(chat('gpt-fake'));
    return Promise.resolve('dropped');
  },
  'chat: never awaited and 400': ({ client }) => {
    client.chat.completions.create(chat('gpt-refuses'));
    return Promise.resolve('dropped');
  },
  'responses: plain': ({ client }) => client.responses.create(response('gpt-fake')),
  'responses: tool call': ({ client }) => client.responses.create(response('gpt-tools')),
  'responses: cut short': ({ client }) => client.responses.create(response('gpt-long')),
  'responses: failed': ({ client }) => client.responses.create(response('gpt-fails')),
  'responses: 400': ({ client }) =>
    failing(async () => client.responses.create(response('gpt-refuses'))),
  'responses: withResponse': async ({ client }) => {
    const result = await client.responses.create(response('gpt-fake')).withResponse();
    return [result.data, result.request_id];
  },
  'responses: parse': ({ client }) => client.responses.parse(response('gpt-json') as never),
  'responses: stream': async ({ client }) => collect(await responseStream(client, 'gpt-fake')),
  'responses: stream of a tool call': async ({ client }) =>
    collect(await responseStream(client, 'gpt-tools')),
  'responses: stream cut short': async ({ client }) =>
    collect(await responseStream(client, 'gpt-long')),
  'responses: stream ends early': ({ client }) =>
    failing(async () => collect(await responseStream(client, 'gpt-cut'))),
  'responses: stream whose connection dies': ({ client }) =>
    failing(async () => collect(await responseStream(client, 'gpt-dies'))),
  'responses: stream that reports an error': ({ client }) =>
    failing(async () => collect(await responseStream(client, 'gpt-error'))),
  'responses: stream broken off': async ({ client }) =>
    collect(await responseStream(client, 'gpt-fake'), 4),
  'responses: stream helper': async ({ client }) =>
    client.responses.stream(response('gpt-fake') as never).finalResponse(),
  'models: not a call of a model': ({ client }) => failing(async () => client.models.list()),
};
