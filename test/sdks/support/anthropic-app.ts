// SPDX-License-Identifier: Apache-2.0
/** What applications do with `@anthropic-ai/sdk`. */
import { type Case, type Cases, collect, failing } from './case.ts';
import { type ApiPromise, type Stream, stainlessCases } from './stainless-cases.ts';

/** The helper that gathers the events of a stream. */
interface MessageStream extends AsyncIterable<unknown> {
  on(event: string, listener: (...args: unknown[]) => void): MessageStream;
  abort(): void;
  finalMessage(): Promise<unknown>;
  finalText(): Promise<string>;
}

interface Messages {
  create(body: object, options?: object): ApiPromise;
  parse(body: object, options?: object): Promise<unknown>;
  stream(body: object, options?: object): MessageStream;
  countTokens(body: object): ApiPromise;
  toolRunner(body: object, options?: object): PromiseLike<unknown>;
}

/** The parts of the package in use. */
interface Anthropic {
  readonly Anthropic: new (
    options: object,
  ) => { readonly messages: Messages; readonly beta: { readonly messages: Messages } };
}

const client = ({ Anthropic }: Anthropic, url: string, options: object = {}) =>
  new Anthropic({ apiKey: 'none', baseURL: url, logLevel: 'off', ...options });

const body = (model: string) => ({
  model,
  max_tokens: 64,
  system: 'Be kind.',
  messages: [{ role: 'user', content: 'Grüß mich' }],
});
const tools = {
  tools: [{ name: 'weather', input_schema: { type: 'object', properties: {} } }],
};

const helper =
  (model: string, more: object = {}): Case<Anthropic> =>
  async ({ sdk, url }) => {
    const stream = client(sdk, url).messages.stream({ ...body(model), ...more });
    const texts: unknown[] = [];
    stream.on('text', (delta, snapshot) => texts.push([delta, snapshot]));
    return [await stream.finalMessage(), texts];
  };

export const cases: Cases<Anthropic> = {
  ...stainlessCases<Anthropic>({
    create: (sdk, url, request, options, clientOptions) =>
      client(sdk, url, clientOptions).messages.create(request, options),
    body,
    tools,
  }),
  'with parameters': ({ sdk, url }) =>
    client(sdk, url).messages.create({
      ...body('m-fake'),
      temperature: 0.2,
      top_p: 0.9,
      top_k: 40,
      stop_sequences: ['END'],
      thinking: { type: 'adaptive' },
      metadata: { user_id: 'someone' },
    }),
  'answer of a tool': ({ sdk, url }) =>
    client(sdk, url).messages.create({
      model: 'm-fake',
      max_tokens: 64,
      messages: [
        { role: 'user', content: 'Sky?' },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'Look.', signature: 'c2ln' },
            { type: 'tool_use', id: 'call-1', name: 'weather', input: { city: 'Köln' } },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'call-1', content: 'blue' },
            { type: 'image', source: { type: 'base64', media_type: 'image/png', data: '' } },
          ],
        },
      ],
    }),
  parse: ({ sdk, url }) =>
    client(sdk, url).messages.parse({
      ...body('m-json'),
      output_config: { format: { type: 'json_schema', schema: { type: 'object' } } },
    }),
  'stream helper': helper('m-fake'),
  'stream helper with tools': helper('m-tools', tools),
  'stream helper whose connection dies': (app) => failing(() => helper('m-dies')(app)),
  'stream helper aborted': ({ sdk, url }) =>
    failing(() => {
      const stream = client(sdk, url).messages.stream(body('m-waits'));
      stream.on('streamEvent', (item) => {
        if ((item as { type: string }).type === 'content_block_delta') stream.abort();
      });
      return stream.finalMessage();
    }),
  'stream helper left': async ({ sdk, url }) =>
    collect(client(sdk, url).messages.stream(body('m-waits')), 3),
  'beta: plain': ({ sdk, url }) => client(sdk, url).beta.messages.create(body('m-fake')),
  'beta: stream': async ({ sdk, url }) =>
    collect(
      (await client(sdk, url).beta.messages.create({ ...body('m-fake'), stream: true })) as Stream,
    ),
  'countTokens: not a call of a model': ({ sdk, url }) => {
    const { max_tokens: _, ...counted } = body('m-fake');
    return client(sdk, url).messages.countTokens(counted);
  },
};
