// SPDX-License-Identifier: Apache-2.0
/** What applications do with `ollama`. */
import { type App, type Cases, collect, collectUntilError, failing } from './case.ts';

interface Stream extends AsyncIterable<unknown> {
  abort(): void;
}

/** The parts of the package in use. */
interface Module {
  readonly Ollama: new (
    options: object,
  ) => {
    chat(request: object): Promise<unknown>;
    generate(request: object): Promise<unknown>;
    embed(request: object): Promise<unknown>;
    embeddings(request: object): Promise<unknown>;
    show(request: object): Promise<unknown>;
    abort(): void;
  };
}

const clientOf = ({ sdk, url }: App<Module>) => new sdk.Ollama({ host: url });
const body = (model: string, more: object = {}) => ({
  model,
  messages: [
    { role: 'system', content: 'Be kind.' },
    { role: 'user', content: 'Grüß mich' },
  ],
  ...more,
});
const tools = { tools: [{ type: 'function', function: { name: 'weather' } }] };
const open = async (app: App<Module>, model: string, more: object = {}): Promise<Stream> =>
  (await clientOf(app).chat(body(model, { stream: true, ...more }))) as Stream;

export const cases: Cases<Module> = {
  plain: (app) => clientOf(app).chat(body('m-fake')),
  'tool call': (app) => clientOf(app).chat(body('m-tools', tools)),
  stream: async (app) => collect(await open(app, 'm-fake')),
  'stream of a tool call': async (app) => collect(await open(app, 'm-tools', tools)),
  'stream broken off': async (app) => collect(await open(app, 'm-fake'), 2),
  'stream broken off at its end': async (app) => {
    const stream = await open(app, 'm-fake');
    const seen: unknown[] = [];
    for await (const item of stream) {
      seen.push(item);
      if ((item as { done: boolean }).done) break;
    }
    return seen;
  },
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
  'stream aborted': async (app) => {
    const stream = await open(app, 'm-waits');
    return collectUntilError(
      () => stream,
      (count) => {
        if (count === 2) setTimeout(() => stream.abort(), 5);
      },
    );
  },
  'stream aborted before it is read': async (app) => {
    const stream = await open(app, 'm-waits');
    stream.abort();
    return collectUntilError(() => stream);
  },
  'stream aborted with its client': async (app) => {
    const client = clientOf(app);
    const stream = (await client.chat(body('m-waits', { stream: true }))) as Stream;
    return collectUntilError(
      () => stream,
      (count) => {
        if (count === 2) setTimeout(() => client.abort(), 5);
      },
    );
  },
  'no connection': (app) =>
    failing(() => clientOf({ ...app, url: 'http://127.0.0.1:2' }).chat(body('m-fake'))),
  '400': (app) => failing(() => clientOf(app).chat(body('m-refuses'))),
  '500 after retries': (app) => failing(() => clientOf(app).chat(body('m-broken'))),
  'never awaited': (app) => {
    void clientOf(app).chat(body('m-fake'));
    return 'dropped';
  },
  'with parameters': (app) =>
    clientOf(app).chat(
      body('m-fake', {
        format: 'json',
        think: 'low',
        keep_alive: '5m',
        options: {
          temperature: 0.2,
          top_p: 0.9,
          top_k: 40,
          num_predict: 64,
          seed: 7,
          stop: ['END'],
        },
      }),
    ),
  'generate: plain': (app) =>
    clientOf(app).generate({ model: 'm-fake', system: 'Be kind.', prompt: 'Grüß mich' }),
  'generate: stream': async (app) =>
    collect(
      (await clientOf(app).generate({
        model: 'm-fake',
        system: 'Be kind.',
        prompt: 'Grüß mich',
        stream: true,
      })) as Stream,
    ),
  embed: (app) => clientOf(app).embed({ model: 'm-fake', input: ['Grüß mich'] }),
  'former embeddings': (app) => clientOf(app).embeddings({ model: 'm-fake', prompt: 'Grüß mich' }),
  'show: not a call of a model': (app) => clientOf(app).show({ model: 'm-fake' }),
};
