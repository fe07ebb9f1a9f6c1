// SPDX-License-Identifier: Apache-2.0
/** An application of `@langchain/core`: chat models of OpenAI where they are installed, models and retrievers of its own. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { collect, collectUntilError, failing } from './case.ts';

const [, folder, , format, url] = process.argv.slice(2);
const { load } = await import(pathToFileURL(join(folder, 'load.mjs')).href);
const at = (path) => load(`@langchain/core/${path}`, format);
const { SimpleChatModel, BaseChatModel } = await at('language_models/chat_models');
const { LLM } = await at('language_models/llms');
const { AIMessage, AIMessageChunk, HumanMessage, SystemMessage } = await at('messages');
const { ChatGenerationChunk } = await at('outputs');
const { BaseRetriever } = await at('retrievers');
const { tool } = await at('tools');
const { Document } = await at('documents');
const { RunnableLambda } = await at('runnables');
// An older line finds those of the newest in the folders above.
const isNewest = !folder.includes('majors');
const { ChatOpenAI } = isNewest ? await load('@langchain/openai', format) : {};
const { StateGraph, MessagesAnnotation } = isNewest
  ? await load('@langchain/langgraph', format)
  : {};

const chat = (model, options = {}) =>
  new ChatOpenAI({
    model,
    apiKey: 'none',
    maxRetries: 0,
    ...options,
    configuration: { baseURL: options.baseURL ?? url, fetch: globalThis.fetch },
  });
const messages = [new SystemMessage('Be kind.'), new HumanMessage('Grüß mich')];
/** What an application sees of a message. */
const seen = (message) => ({
  type: message.constructor.name,
  keys: Object.keys(message).sort(),
  id: message.id,
  content: message.content,
  calls: message.tool_calls,
  usage: message.usage_metadata,
  metadata: message.response_metadata,
});
const pieces = async (stream) => (await collect(stream)).map(seen);
const read = async (open, onItem) => {
  const [items, ended] = await collectUntilError(open, onItem);
  return [items.map(seen), ended];
};
const schema = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
};
const weather = tool(({ city }) => `${city}: sun`, {
  name: 'weather',
  description: 'Tells the weather',
  schema,
});
const broken = tool(
  () => {
    throw new RangeError('no such city');
  },
  { name: 'broken', description: 'Fails', schema },
);
const WEATHER = {
  type: 'function',
  function: { name: 'weather', parameters: { type: 'object', properties: {} } },
};

/** A chat model that answers in one piece, and says so of itself. */
class Echo extends SimpleChatModel {
  _llmType() {
    return 'echo';
  }
  get modelName() {
    return 'echo-1';
  }
  async _call(list) {
    return String(list.at(-1).content);
  }
}
/** A chat model that streams, and answers by reading its own stream. */
class Stream extends BaseChatModel {
  model = 'stream-1';
  _llmType() {
    return 'stream';
  }
  async _generate(list, options, runManager) {
    let text = '';
    for await (const chunk of this._streamResponseChunks(list, options, runManager)) {
      text += chunk.text;
    }
    return { generations: [{ text, message: new AIMessage(text) }] };
  }
  async *_streamResponseChunks() {
    for (const text of ['Grüß', ' dich']) {
      yield new ChatGenerationChunk({ text, message: new AIMessageChunk({ content: text }) });
    }
  }
}
class Completer extends LLM {
  _llmType() {
    return 'completer';
  }
  async _call(prompt) {
    return prompt.toUpperCase();
  }
}
class Shelf extends BaseRetriever {
  lc_namespace = ['own'];
  async _getRelevantDocuments(query) {
    if (query === 'nothing') throw new RangeError('nothing there');
    return [new Document({ pageContent: `about ${query}`, metadata: { page: 7 } })];
  }
}

export const cases = {
  'own model': async () => seen(await new Echo({}).invoke('Grüß mich')),
  'own model, several at once': async () =>
    (await new Echo({}).batch(['a', 'b'])).map((message) => message.content),
  'own model, in a chain': async () => {
    const chain = RunnableLambda.from((text) => `${text}!`).pipe(new Echo({}));
    return seen(await chain.invoke('Grüß mich'));
  },
  'own model, streamed though it can not': async () => pieces(await new Echo({}).stream('a')),
  'own model, with a callback': async () => {
    const heard = [];
    const callbacks = [{ handleLLMEnd: ({ generations }) => void heard.push(generations.length) }];
    const { content } = await new Echo({}).invoke('a', { callbacks });
    return [content, heard];
  },
  'own model that streams': async () => pieces(await new Stream({}).stream('a')),
  'own model that streams, invoked': async () => seen(await new Stream({}).invoke('a')),
  'own model that streams, broken off': async () => {
    for await (const message of await new Stream({}).stream('a')) return message.content;
    return undefined;
  },
  'text model': () => new Completer({}).invoke('a'),
  'text model, streamed though it can not': async () =>
    collect(await new Completer({}).stream('a')),
  tool: () => weather.invoke({ city: 'Köln' }),
  'tool that the model asked for': async () => {
    const call = { type: 'tool_call', id: 'call-1', name: 'weather', args: { city: 'Köln' } };
    const { content, tool_call_id } = await weather.invoke(call);
    return { content, tool_call_id };
  },
  'tool that throws': () => failing(() => broken.invoke({ city: 'Köln' })),
  'tool with wrong arguments': async () => {
    const { class: name } = await failing(() => weather.invoke({ town: 'Köln' }));
    return name;
  },
  retriever: async () => (await new Shelf().invoke('cats')).map((found) => found.pageContent),
  'retriever that throws': () => failing(() => new Shelf().invoke('nothing')),

  plain: async () => seen(await chat('gpt-fake').invoke(messages)),
  'with parameters': async () =>
    seen(
      await chat('gpt-fake', { temperature: 0.2, maxTokens: 64, stop: ['END'] }).invoke(messages),
    ),
  'tool call': async () => seen(await chat('gpt-tools').bindTools([WEATHER]).invoke(messages)),
  'two answers': async () => {
    const { generations } = await chat('gpt-two', { n: 2 }).generate([messages]);
    return generations[0].map(({ text }) => text);
  },
  responses: async () => (await chat('gpt-fake', { useResponsesApi: true }).invoke(messages)).text,
  stream: async () => pieces(await chat('gpt-fake').stream(messages)),
  'stream of a tool call': async () =>
    pieces(await chat('gpt-tools').bindTools([WEATHER]).stream(messages)),
  'stream of events': async () =>
    (await collect(chat('gpt-fake').streamEvents(messages))).map(({ event }) => event),
  'stream broken off': async () => {
    for await (const message of await chat('gpt-fake').stream(messages)) return message.content;
    return undefined;
  },
  'stream with a throwing reader': () =>
    failing(async () => {
      for await (const { content } of await chat('gpt-fake').stream(messages)) {
        throw new RangeError(content);
      }
    }),
  'stream ends early': () => read(() => chat('gpt-cut').stream(messages)),
  'stream whose connection dies': () => read(() => chat('gpt-dies').stream(messages)),
  'stream that reports an error': () => read(() => chat('gpt-error').stream(messages)),
  'stream never read': async () => {
    await chat('gpt-fake').stream(messages);
  },
  'stream half read': async () => {
    const stream = await chat('gpt-fake').stream(messages);
    return (await stream[Symbol.asyncIterator]().next()).value.content;
  },
  'stream aborted': () => {
    const controller = new AbortController();
    const { signal } = controller;
    return read(
      () => chat('gpt-waits').stream(messages, { signal }),
      () => controller.abort(),
    );
  },
  aborted: () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    return chat('gpt-hangs').invoke(messages, { signal: controller.signal });
  },
  timeout: () => chat('gpt-hangs', { timeout: 50 }).invoke(messages),
  'no connection': () => chat('gpt-fake', { baseURL: 'http://127.0.0.1:2' }).invoke(messages),
  400: () => chat('gpt-refuses').invoke(messages),
  '500 after retries': () => chat('gpt-broken').invoke(messages),
  'good after retries': async () =>
    (await chat('gpt-flaky', { maxRetries: 2 }).invoke(messages)).content,
  'never awaited': () => {
    void chat('gpt-fake').invoke(messages);
  },
  parse: () =>
    chat('gpt-json')
      .withStructuredOutput(
        { title: 'answer', type: 'object', properties: { answer: { type: 'number' } } },
        { method: 'jsonSchema' },
      )
      .invoke(messages),
  tee: async () => {
    const [left, right] = (await chat('gpt-fake').stream(messages)).tee();
    return Promise.all([pieces(left), pieces(right)]);
  },
  // It is one itself.
  toReadableStream: async () => {
    const stream = await chat('gpt-fake').stream(messages);
    const words = new TransformStream({
      transform: ({ content }, controller) => controller.enqueue(content),
    });
    return new Response(stream.pipeThrough(words).pipeThrough(new TextEncoderStream())).text();
  },
  graph: async () => {
    const graph = new StateGraph(MessagesAnnotation)
      .addNode('ask', async (state) => ({
        messages: [await chat('gpt-fake').invoke(state.messages)],
      }))
      .addEdge('__start__', 'ask')
      .compile();
    const state = await graph.invoke({ messages: [new HumanMessage('Grüß mich')] });
    return state.messages.map(({ content }) => content);
  },
};
