// SPDX-License-Identifier: Apache-2.0
/** What applications do with `groq-sdk`. */
import type { Cases } from './case.ts';
import { type ApiPromise, stainlessCases } from './stainless-cases.ts';

type Create = (body: object, options?: object) => ApiPromise;

/** The parts of the package in use. */
interface Groq {
  readonly Groq: new (
    options: object,
  ) => {
    readonly chat: { readonly completions: { readonly create: Create } };
    readonly embeddings: { readonly create: Create };
    readonly models: { readonly list: () => ApiPromise };
  };
}

const client = ({ Groq }: Groq, url: string, options: object = {}) =>
  new Groq({ apiKey: 'none', baseURL: url, logLevel: 'off', ...options });

export const cases: Cases<Groq> = {
  ...stainlessCases<Groq>({
    create: (sdk, url, body, options, clientOptions) =>
      client(sdk, url, clientOptions).chat.completions.create(body, options),
    body: (model) => ({
      model,
      messages: [
        { role: 'system', content: 'Be kind.' },
        { role: 'user', content: 'Grüß mich' },
      ],
    }),
    tools: {
      tools: [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }],
    },
  }),
  'with parameters': ({ sdk, url }) =>
    client(sdk, url).chat.completions.create({
      model: 'm-fake',
      messages: [{ role: 'user', content: 'Grüß mich' }],
      temperature: 0.2,
      top_p: 0.9,
      seed: 7,
      max_completion_tokens: 64,
      stop: ['END'],
      service_tier: 'flex',
      user: 'someone',
    }),
  embeddings: ({ sdk, url }) =>
    client(sdk, url).embeddings.create({ model: 'm-fake', input: ['Grüß mich'] }),
  'models: not a call of a model': ({ sdk, url }) => client(sdk, url).models.list(),
};
