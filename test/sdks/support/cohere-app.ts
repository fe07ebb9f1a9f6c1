// SPDX-License-Identifier: Apache-2.0
/** What applications do with `cohere-ai`. */
import { type App, type Cases, collect, collectUntilError, failing } from './case.ts';

/** The promise that the package gives. */
interface ResponsePromise extends Promise<unknown> {
  withRawResponse(): Promise<{ data: unknown; rawResponse: { status: number } }>;
}

type Call = (request: object, options?: object) => ResponsePromise;

interface Client {
  readonly chat: Call;
  readonly chatStream: Call;
  readonly embed: Call;
  readonly rerank: Call;
  readonly classify: Call;
  readonly tokenize: Call;
}

/** The parts of the package in use. */
interface Module {
  readonly CohereClient: new (options: object) => Client;
  readonly CohereClientV2: new (options: object) => Client;
}

const clientOf = ({ sdk, url }: App<Module>): Client =>
  new sdk.CohereClientV2({ token: 'none', environment: url });
const formerOf = ({ sdk, url }: App<Module>): Client =>
  new sdk.CohereClient({ token: 'none', environment: url });

const body = (model: string, more: object = {}) => ({
  model,
  messages: [
    { role: 'system', content: 'Be kind.' },
    { role: 'user', content: 'Grüß mich' },
  ],
  ...more,
});
const former = (model: string, more: object = {}) => ({
  model,
  preamble: 'Be kind.',
  message: 'Grüß mich',
  ...more,
});
const tools = {
  tools: [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }],
};

type Items = AsyncIterable<unknown>;
const open = async (app: App<Module>, model: string, options?: object): Promise<Items> =>
  (await clientOf(app).chatStream(body(model), options)) as Items;

export const cases: Cases<Module> = {
  plain: (app) => clientOf(app).chat(body('m-fake')),
  'tool call': (app) => clientOf(app).chat(body('m-tools', tools)),
  stream: async (app) => collect(await open(app, 'm-fake')),
  'stream of a tool call': async (app) =>
    collect((await clientOf(app).chatStream(body('m-tools', tools))) as Items),
  'stream broken off': async (app) => collect(await open(app, 'm-fake'), 4),
  'stream with a throwing reader': (app) =>
    failing(async () => {
      for await (const _ of await open(app, 'm-fake')) throw new Error('mine');
    }),
  'stream ends early': (app) => collectUntilError(() => open(app, 'm-cut')),
  'stream whose connection dies': (app) => collectUntilError(() => open(app, 'm-dies')),
  'stream that reports an error': (app) => collectUntilError(() => open(app, 'm-error')),
  'stream never read': async (app) => {
    await open(app, 'm-fake');
    return 'dropped';
  },
  'stream half read': async (app) => (await open(app, 'm-fake'))[Symbol.asyncIterator]().next(),
  'stream aborted': (app) => {
    const controller = new AbortController();
    return collectUntilError(
      () => open(app, 'm-waits', { abortSignal: controller.signal }),
      (count) => {
        if (count === 3) setTimeout(() => controller.abort(), 5);
      },
    );
  },
  aborted: (app) =>
    failing(() => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 20);
      return clientOf(app).chat(body('m-hangs'), { abortSignal: controller.signal });
    }),
  timeout: (app) =>
    failing(() => clientOf(app).chat(body('m-hangs'), { timeoutInSeconds: 0.05, maxRetries: 0 })),
  'no connection': (app) =>
    failing(() =>
      clientOf({ ...app, url: 'http://127.0.0.1:2' }).chat(body('m-fake'), { maxRetries: 0 }),
    ),
  '400': (app) => failing(() => clientOf(app).chat(body('m-refuses'))),
  '500 after retries': (app) =>
    failing(() => clientOf(app).chat(body('m-broken'), { maxRetries: 1 })),
  'good after retries': (app) => clientOf(app).chat(body('m-flaky'), { maxRetries: 1 }),
  'never awaited': (app) => {
    void clientOf(app).chat(body('m-fake'));
    return 'dropped';
  },
  withResponse: async (app) => {
    const { data, rawResponse } = await clientOf(app).chat(body('m-fake')).withRawResponse();
    return [data, rawResponse.status];
  },
  'with parameters': (app) =>
    clientOf(app).chat(
      body('m-fake', {
        temperature: 0.2,
        p: 0.9,
        k: 40,
        maxTokens: 64,
        seed: 7,
        frequencyPenalty: 0.1,
        presencePenalty: 0.3,
        stopSequences: ['END'],
        responseFormat: { type: 'json_object' },
      }),
    ),
  embeddings: (app) =>
    clientOf(app).embed({
      model: 'm-fake',
      texts: ['Grüß mich'],
      inputType: 'search_query',
      embeddingTypes: ['float'],
    }),
  rerank: (app) =>
    clientOf(app).rerank({ model: 'm-fake', query: 'Grüß mich', documents: ['a', 'b'] }),
  'former: plain': (app) => formerOf(app).chat(former('m-fake')),
  'former: tool call': (app) => formerOf(app).chat(former('m-tools')),
  'former: stream': async (app) =>
    collect((await formerOf(app).chatStream(former('m-fake'))) as Items),
  'former: stream of a tool call': async (app) =>
    collect((await formerOf(app).chatStream(former('m-tools'))) as Items),
  'former: embeddings': (app) =>
    formerOf(app).embed({ model: 'm-fake', texts: ['Grüß mich'], inputType: 'search_query' }),
  'former: classify': (app) => formerOf(app).classify({ model: 'm-fake', inputs: ['Grüß'] }),
  'tokenize: not a call of a model': (app) =>
    formerOf(app).tokenize({ model: 'm-fake', text: 'Grüß mich' }),
};
