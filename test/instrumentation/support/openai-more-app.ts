// SPDX-License-Identifier: Apache-2.0
/** What applications do with the smaller interfaces of `openai`. */
import { type Cases, collect } from '../../sdks/support/case.ts';
import {
  type ApiPromise,
  type Stream,
  stainlessCases,
} from '../../sdks/support/stainless-cases.ts';

type Create = (body: object, options?: object) => ApiPromise;

/** The parts of the package in use. */
interface Module {
  readonly OpenAI: new (
    options: object,
  ) => {
    readonly completions: { readonly create: Create };
    readonly embeddings: { readonly create: Create };
    readonly moderations: { readonly create: Create };
    readonly decisions: { readonly create: Create };
    readonly models: { readonly list: () => ApiPromise };
  };
}

const client = ({ OpenAI }: Module, url: string, options: object = {}) =>
  new OpenAI({ apiKey: 'none', baseURL: url, logLevel: 'off', ...options });

const choice = {
  type: 'choice',
  instructions: 'Approve?',
  choices: [{ value: 'approve' }, { value: 'deny' }],
};
const ask = (model: string, ...questions: object[]) => ({ model, input: 'Grüß mich', questions });

export const cases: Cases<Module> = {
  ...stainlessCases<Module>({
    create: (sdk, url, body, options, clientOptions) =>
      client(sdk, url, clientOptions).completions.create(body, options),
    body: (model) => ({ model, prompt: 'Grüß mich' }),
    tools: {},
  }),
  'completions: with parameters': ({ sdk, url }) =>
    client(sdk, url).completions.create({
      model: 'm-fake',
      prompt: 'Grüß mich',
      suffix: '!',
      temperature: 0.2,
      top_p: 0.9,
      max_tokens: 64,
      seed: 7,
      stop: ['END'],
      user: 'someone',
    }),
  'completions: stream of two prompts': async ({ sdk, url }) =>
    collect(
      (await client(sdk, url).completions.create({
        model: 'm-fake',
        prompt: ['a', 'b'],
        stream: true,
        stream_options: { include_usage: true },
      })) as Stream,
    ),
  'completions: stream of two prompts, left after the first': async ({ sdk, url }) =>
    collect(
      (await client(sdk, url).completions.create({
        model: 'm-fake',
        prompt: ['a', 'b'],
        stream: true,
      })) as Stream,
      8,
    ),
  embeddings: ({ sdk, url }) =>
    client(sdk, url).embeddings.create({ model: 'm-fake', input: ['Grüß mich'], dimensions: 2 }),
  'embeddings: as numbers': ({ sdk, url }) =>
    client(sdk, url).embeddings.create({
      model: 'm-fake',
      input: 'Grüß mich',
      encoding_format: 'float',
    }),
  'embeddings: withResponse': async ({ sdk, url }) => {
    const { data } = await client(sdk, url)
      .embeddings.create({ model: 'm-fake', input: 'Grüß mich' })
      .withResponse();
    return data;
  },
  moderations: ({ sdk, url }) =>
    client(sdk, url).moderations.create({ model: 'm-fake', input: 'Grüß mich' }),
  decisions: ({ sdk, url }) => client(sdk, url).decisions.create(ask('m-fake', choice)),
  'decisions: two questions': ({ sdk, url }) =>
    client(sdk, url).decisions.create(
      ask('m-fake', choice, { type: 'predicate', instructions: 'Kind?' }),
    ),
  'decisions: refused': ({ sdk, url }) =>
    client(sdk, url).decisions.create(ask('m-declines', choice)),
  'models: not a call of a model': ({ sdk, url }) => client(sdk, url).models.list(),
};
