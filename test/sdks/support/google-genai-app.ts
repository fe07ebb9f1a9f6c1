// SPDX-License-Identifier: Apache-2.0
/** What applications do with `@google/genai`. */
import { type App, type Cases, collect, collectUntilError, failing } from './case.ts';

interface Models {
  generateContent(params: object): Promise<{ readonly text?: string }>;
  generateContentStream(params: object): Promise<AsyncGenerator>;
  embedContent(params: object): Promise<unknown>;
  countTokens(params: object): Promise<unknown>;
}

interface Chat {
  sendMessage(params: object): Promise<unknown>;
  sendMessageStream(params: object): Promise<AsyncGenerator>;
}

/** The parts of the package in use. */
interface Genai {
  readonly GoogleGenAI: new (
    options: object,
  ) => { readonly models: Models; readonly chats: { create(params: object): Chat } };
}

const clientOf = ({ sdk, url }: App<Genai>, httpOptions: object = {}) =>
  new sdk.GoogleGenAI({ apiKey: 'none', httpOptions: { baseUrl: url, ...httpOptions } });

const body = (model: string, config: object = {}) => ({
  model,
  contents: 'Grüß mich',
  config: { systemInstruction: 'Be kind.', ...config },
});
const tools = { tools: [{ functionDeclarations: [{ name: 'weather' }] }] };
/** With it, the package makes the requests again that failed. */
const retrying = {
  retryOptions: { attempts: 2, initialDelay: 0.001, maxDelay: 0.002, jitter: 0 },
};
const callable = {
  tools: [
    {
      tool: async () => ({ functionDeclarations: [{ name: 'weather' }] }),
      callTool: async () => [
        { functionResponse: { id: 'call-1', name: 'weather', response: { sky: 'blue' } } },
      ],
    },
  ],
};

const open = (app: App<Genai>, model: string, config?: object) =>
  clientOf(app).models.generateContentStream(body(model, config));

export const cases: Cases<Genai> = {
  plain: async (app) => {
    const answer = await clientOf(app).models.generateContent(body('m-fake'));
    return [answer, answer.text];
  },
  'tool call': (app) => clientOf(app).models.generateContent(body('m-tools', tools)),
  stream: async (app) => collect(await open(app, 'm-fake')),
  'stream of a tool call': async (app) => collect(await open(app, 'm-tools', tools)),
  'stream broken off': async (app) => collect(await open(app, 'm-fake'), 2),
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
  'stream half read': async (app) => (await open(app, 'm-fake')).next(),
  'stream aborted': (app) => {
    const controller = new AbortController();
    return collectUntilError(
      () => open(app, 'm-waits', { abortSignal: controller.signal }),
      (count) => {
        if (count === 2) setTimeout(() => controller.abort(), 5);
      },
    );
  },
  aborted: (app) =>
    failing(() => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 20);
      const config = { abortSignal: controller.signal };
      return clientOf(app).models.generateContent(body('m-hangs', config));
    }),
  timeout: (app) =>
    failing(() => clientOf(app, { timeout: 50 }).models.generateContent(body('m-hangs'))),
  'no connection': (app) =>
    failing(() =>
      clientOf({ ...app, url: 'http://127.0.0.1:2' }).models.generateContent(body('m-fake')),
    ),
  '400': (app) => failing(() => clientOf(app).models.generateContent(body('m-refuses'))),
  '500 after retries': (app) =>
    failing(() => clientOf(app, retrying).models.generateContent(body('m-broken'))),
  'good after retries': (app) => clientOf(app, retrying).models.generateContent(body('m-flaky')),
  'never awaited': (app) => {
    void clientOf(app).models.generateContent(body('m-fake'));
    return 'dropped';
  },
  'with parameters': (app) =>
    clientOf(app).models.generateContent(
      body('m-fake', {
        temperature: 0.2,
        topP: 0.9,
        topK: 40,
        candidateCount: 1,
        maxOutputTokens: 64,
        stopSequences: ['END'],
        seed: 7,
        presencePenalty: 0.3,
        frequencyPenalty: 0.1,
        responseMimeType: 'application/json',
      }),
    ),
  'answer of a tool': (app) =>
    clientOf(app).models.generateContent({
      ...body('m-fake'),
      contents: [
        { role: 'user', parts: [{ text: 'Sky?' }] },
        {
          role: 'model',
          parts: [{ functionCall: { id: 'call-1', name: 'weather', args: { city: 'Köln' } } }],
        },
        {
          role: 'user',
          parts: [
            { functionResponse: { id: 'call-1', name: 'weather', response: { sky: 'blue' } } },
            { inlineData: { mimeType: 'image/png', data: '' } },
          ],
        },
      ],
    }),
  'prompt that is blocked': (app) => clientOf(app).models.generateContent(body('m-blocked')),
  'tool that the package runs': (app) =>
    clientOf(app).models.generateContent(body('m-tools', callable)),
  'chat: plain': (app) =>
    clientOf(app).chats.create({ model: 'm-fake' }).sendMessage({ message: 'Grüß mich' }),
  'chat: stream': async (app) =>
    collect(
      await clientOf(app)
        .chats.create({ model: 'm-fake' })
        .sendMessageStream({ message: 'Grüß mich' }),
    ),
  embeddings: (app) =>
    clientOf(app).models.embedContent({ model: 'm-fake', contents: ['Grüß mich'] }),
  'countTokens: not a call of a model': (app) =>
    clientOf(app).models.countTokens({ model: 'm-fake', contents: 'Grüß mich' }),
};
