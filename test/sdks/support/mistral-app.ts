// SPDX-License-Identifier: Apache-2.0
/** What applications do with `@mistralai/mistralai`. */
import { z } from 'zod';
import { type App, type Cases, collect, collectUntilError, failing } from './case.ts';

type Call = (request: object, options?: object) => Promise<unknown>;

interface Client {
  readonly chat: {
    readonly complete: Call;
    readonly stream: Call;
    readonly parse: Call;
    readonly parseStream: Call;
  };
  readonly agents: { readonly complete: Call; readonly stream: Call };
  readonly fim: { readonly complete: Call; readonly stream: Call };
  readonly embeddings: { readonly create: Call };
  readonly classifiers: { readonly moderate: Call };
  readonly models: { readonly list: () => Promise<unknown> };
}

/** The parts of the package in use. */
interface Module {
  readonly Mistral: new (options: object) => Client;
}

const clientOf = ({ sdk, url }: App<Module>): Client =>
  new sdk.Mistral({ apiKey: 'none', serverURL: url });

const body = (model: string, more: object = {}) => ({
  model,
  messages: [
    { role: 'system', content: 'Be kind.' },
    { role: 'user', content: 'Grüß mich' },
  ],
  ...more,
});
const tools = {
  tools: [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }],
};
const backoff = { initialInterval: 1, maxInterval: 2, exponent: 1, maxElapsedTime: 200 };
const retrying = { retries: { strategy: 'backoff', backoff, retryConnectionErrors: false } };

type Items = ReadableStream & AsyncIterable<unknown>;
const open = async (app: App<Module>, model: string, options?: object): Promise<Items> =>
  (await clientOf(app).chat.stream(body(model), options)) as Items;

/** As applications pass a stream on to a browser. */
const lines = () =>
  new TransformStream({
    transform: (item, controller) => controller.enqueue(`${JSON.stringify(item)}\n`),
  });

async function drain(reader: ReadableStreamDefaultReader): Promise<unknown[]> {
  const seen: unknown[] = [];
  for (let step = await reader.read(); !step.done; step = await reader.read()) {
    seen.push(step.value);
  }
  return seen;
}

export const cases: Cases<Module> = {
  plain: (app) => clientOf(app).chat.complete(body('m-fake')),
  'tool call': (app) => clientOf(app).chat.complete(body('m-tools', tools)),
  stream: async (app) => collect(await open(app, 'm-fake')),
  'stream of a tool call': async (app) =>
    collect((await clientOf(app).chat.stream(body('m-tools', tools))) as Items),
  'stream broken off': async (app) => collect(await open(app, 'm-fake'), 3),
  'stream with a throwing reader': (app) =>
    failing(async () => {
      for await (const _ of await open(app, 'm-fake')) throw new Error('mine');
    }),
  'stream ends early': (app) => collectUntilError(() => open(app, 'm-cut')),
  'stream whose connection dies': (app) => collectUntilError(() => open(app, 'm-dies')),
  'stream that reports an error': async (app) => {
    // The message of the error is a whole report of how the event differs from what is known.
    const [seen, ended] = (await collectUntilError(() => open(app, 'm-error'))) as [
      unknown,
      { class: string },
    ];
    return [seen, ended.class];
  },
  'stream never read': async (app) => {
    await open(app, 'm-fake');
    return 'dropped';
  },
  'stream half read': async (app) => (await open(app, 'm-fake'))[Symbol.asyncIterator]().next(),
  'stream aborted': (app) => {
    const controller = new AbortController();
    return collectUntilError(
      () => open(app, 'm-waits', { signal: controller.signal }),
      (count) => {
        if (count === 3) setTimeout(() => controller.abort(), 5);
      },
    );
  },
  aborted: (app) =>
    failing(() => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 20);
      return clientOf(app).chat.complete(body('m-hangs'), { signal: controller.signal });
    }),
  timeout: (app) => failing(() => clientOf(app).chat.complete(body('m-hangs'), { timeoutMs: 50 })),
  'no connection': (app) =>
    failing(() => clientOf({ ...app, url: 'http://127.0.0.1:2' }).chat.complete(body('m-fake'))),
  '400': (app) => failing(() => clientOf(app).chat.complete(body('m-refuses'))),
  '500 after retries': (app) =>
    failing(() => clientOf(app).chat.complete(body('m-broken'), retrying)),
  'good after retries': (app) => clientOf(app).chat.complete(body('m-flaky'), retrying),
  'never awaited': (app) => {
    void clientOf(app).chat.complete(body('m-fake'));
    return 'dropped';
  },
  parse: (app) =>
    clientOf(app).chat.parse(body('m-json', { responseFormat: z.object({ answer: z.number() }) })),
  'parse of a stream': async (app) => {
    const request = body('m-json', { responseFormat: z.object({ answer: z.number() }) });
    return collect((await clientOf(app).chat.parseStream(request)) as Items);
  },
  'no request at all': async (app) => {
    const ended = (await failing(() => clientOf(app).chat.complete({ model: 7 }))) as object;
    return 'class' in ended && ended.class;
  },
  'stream by a reader': async (app) => drain((await open(app, 'm-fake')).getReader()),
  'stream by a reader that stops': async (app) => {
    const reader = (await open(app, 'm-fake')).getReader();
    return [await reader.read(), await reader.read(), await reader.cancel(), await reader.read()];
  },
  'stream cancelled before it is read': async (app) => (await open(app, 'm-fake')).cancel(),
  tee: async (app) => {
    const [left, right] = (await open(app, 'm-fake')).tee();
    return Promise.all([collect(left as Items), collect(right as Items)]);
  },
  'stream through pipeThrough': async (app) =>
    collect((await open(app, 'm-fake')).pipeThrough(lines()) as Items),
  'stream through pipeThrough, stopped': async (app) =>
    collect((await open(app, 'm-waits')).pipeThrough(lines()) as Items, 2),
  'stream through pipeThrough, whose connection dies': (app) =>
    collectUntilError(async () => (await open(app, 'm-dies')).pipeThrough(lines()) as Items),
  'stream through pipeTo': async (app) => {
    const seen: unknown[] = [];
    const target = new WritableStream({ write: (item) => void seen.push(item) });
    await (await open(app, 'm-fake')).pipeTo(target);
    return seen;
  },
  // It is one itself.
  toReadableStream: async (app) => {
    const bytes = (await open(app, 'm-fake'))
      .pipeThrough(lines())
      .pipeThrough(new TextEncoderStream());
    return new Response(bytes).text();
  },
  'with parameters': (app) =>
    clientOf(app).chat.complete(
      body('m-fake', {
        temperature: 0.2,
        topP: 0.9,
        maxTokens: 64,
        randomSeed: 7,
        stop: ['END'],
        frequencyPenalty: 0.1,
        presencePenalty: 0.3,
        n: 1,
        responseFormat: { type: 'json_object' },
      }),
    ),
  'agents: plain': (app) =>
    clientOf(app).agents.complete({
      agentId: 'm-fake',
      messages: [{ role: 'user', content: 'Grüß mich' }],
    }),
  'fim: plain': (app) => clientOf(app).fim.complete({ model: 'm-fake', prompt: 'a', suffix: 'b' }),
  'fim: stream': async (app) =>
    collect((await clientOf(app).fim.stream({ model: 'm-fake', prompt: 'a' })) as Items),
  embeddings: (app) => clientOf(app).embeddings.create({ model: 'm-fake', inputs: ['Grüß mich'] }),
  moderation: (app) => clientOf(app).classifiers.moderate({ model: 'm-fake', inputs: ['Grüß'] }),
  'models: not a call of a model': (app) => clientOf(app).models.list(),
};
