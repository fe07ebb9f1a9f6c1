// SPDX-License-Identifier: Apache-2.0
/** An application of `@openai/agents`, with models of OpenAI and one of its own. The package's tracing is off. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { collect, collectUntilError, failing } from './case.ts';

const [, folder, , format, url] = process.argv.slice(2);
const { load } = await import(pathToFileURL(join(folder, 'load.mjs')).href);
const { Agent, OpenAIChatCompletionsModel, Usage, run, setTracingDisabled, tool } = await load(
  '@openai/agents',
  format,
);
const { OpenAI } = await load('openai', format);
setTracingDisabled(true);

const chat = (model, options = {}) => {
  const { baseURL = url, ...others } = options;
  const settings = { apiKey: 'none', baseURL, maxRetries: 0, fetch: globalThis.fetch, ...others };
  return new OpenAIChatCompletionsModel(new OpenAI(settings), model);
};
const weather = (execute) =>
  tool({
    name: 'weather',
    description: 'Tells the weather',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    },
    strict: true,
    execute,
  });
const sunny = weather(({ city }) => `${city}: sun`);
const agent = (model, options = {}) =>
  new Agent({ name: 'greeter', instructions: 'Be kind.', model, ...options });
const asking = async (model, options) => {
  const { finalOutput } = await run(agent(chat(model)), 'Grüß mich', options);
  return finalOutput;
};
const streaming = (model, options) =>
  run(agent(chat(model)), 'Grüß mich', { stream: true, ...options });
const seen = ({ type, name, data }) => [type, name ?? data?.type, data?.delta];
const pieces = async (stream, count) => (await collect(stream, count)).map(seen);
const read = async (open, onItem) => {
  const [items, ended] = await collectUntilError(open, onItem);
  return [items.map(seen), ended];
};

/** A model of the application's own: it asks for the tool once, and then answers. */
class OwnModel {
  model = 'own-1';
  async getResponse({ input }) {
    const isFirst = Array.isArray(input) && input.length === 1;
    const usage = new Usage({ requests: 1, inputTokens: 12, outputTokens: 5, totalTokens: 17 });
    const call = {
      type: 'function_call',
      callId: 'call-1',
      name: 'weather',
      status: 'completed',
      arguments: '{"city":"Köln"}',
    };
    const message = {
      type: 'message',
      role: 'assistant',
      status: 'completed',
      content: [{ type: 'output_text', text: 'Sun.' }],
    };
    return { usage, output: [isFirst ? call : message], responseId: 'own-response' };
  }
}

export const cases = {
  plain: () => asking('gpt-fake'),
  'tool call': async () => {
    const { finalOutput } = await run(agent(new OwnModel(), { tools: [sunny] }), 'Grüß mich');
    return finalOutput;
  },
  'tool that throws': async () => {
    const broken = weather(() => {
      throw new RangeError('no such city');
    });
    const { newItems } = await run(agent(new OwnModel(), { tools: [broken] }), 'Grüß mich');
    return newItems.map(({ type, output }) => [type, output]);
  },
  'too many turns': () =>
    failing(() => run(agent(chat('gpt-tools'), { tools: [sunny] }), 'Grüß mich', { maxTurns: 1 })),
  stream: async () => pieces(await streaming('gpt-fake')),
  'stream of a tool call': async () => {
    const greeter = agent(chat('gpt-tools'), {
      tools: [sunny],
      toolUseBehavior: 'stop_on_first_tool',
    });
    return pieces(await run(greeter, 'Grüß mich', { stream: true }));
  },
  'stream broken off': async () => pieces(await streaming('gpt-waits'), 3),
  'stream with a throwing reader': () =>
    failing(async () => {
      for await (const { type } of await streaming('gpt-waits')) throw new RangeError(type);
    }),
  'stream ends early': () => read(() => streaming('gpt-cut')),
  'stream whose connection dies': () => read(() => streaming('gpt-dies')),
  'stream that reports an error': () => read(() => streaming('gpt-error')),
  'stream never read': async () => {
    await streaming('gpt-fake');
  },
  'stream aborted': () => {
    const controller = new AbortController();
    return read(
      () => streaming('gpt-waits', { signal: controller.signal }),
      (count) => {
        if (count === 4) controller.abort();
      },
    );
  },
  aborted: () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    return asking('gpt-hangs', { signal: controller.signal });
  },
  timeout: () => run(agent(chat('gpt-hangs', { timeout: 50 })), 'Grüß mich'),
  'no connection': () =>
    run(agent(chat('gpt-fake', { baseURL: 'http://127.0.0.1:2' })), 'Grüß mich'),
  400: () => asking('gpt-refuses'),
  '500 after retries': () => asking('gpt-broken'),
  'good after retries': async () => {
    const { finalOutput } = await run(agent(chat('gpt-flaky', { maxRetries: 2 })), 'Grüß mich');
    return finalOutput;
  },
  'never awaited': () => {
    void asking('gpt-fake');
  },
  parse: async () => {
    const outputType = {
      type: 'json_schema',
      name: 'answer',
      strict: true,
      schema: {
        type: 'object',
        properties: { answer: { type: 'number' } },
        required: ['answer'],
        additionalProperties: false,
      },
    };
    const { finalOutput } = await run(agent(chat('gpt-json'), { outputType }), 'Grüß mich');
    return finalOutput;
  },
  tee: async () => {
    const [left, right] = (await streaming('gpt-fake')).toStream().tee();
    return Promise.all([pieces(left), pieces(right)]);
  },
  toReadableStream: async () => {
    const bytes = (await streaming('gpt-fake')).toTextStream().pipeThrough(new TextEncoderStream());
    return new Response(bytes).text();
  },
};
