// SPDX-License-Identifier: Apache-2.0
/** An application of the `ai` package, with the package's own provider for the interfaces of OpenAI. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { collect, failing } from './case.ts';

const [, folder, , format, url] = process.argv.slice(2);
const { load } = await import(pathToFileURL(join(folder, 'load.mjs')).href);
const ai = await load('ai', format);
const { createOpenAI } = await load('@ai-sdk/openai', format);
const { embed, embedMany, generateObject, generateText, streamText } = ai;

// Not the `fetch` that the provider took from the global before it was traced.
const client = (baseURL) => createOpenAI({ apiKey: 'none', baseURL, fetch: globalThis.fetch });
const openai = client(url);
const asking = (model) => ({
  model: openai.chat(model),
  messages: [{ role: 'user', content: 'Grüß mich' }],
  maxRetries: 0,
});
const schema = ai.jsonSchema({ type: 'object', properties: {} });
const weather = (execute) =>
  ai.tool({
    description: 'Tells the weather',
    inputSchema: schema,
    ...(execute !== undefined && { execute }),
  });
const answering = (execute) => ({
  ...asking('gpt-tools'),
  tools: { weather: weather(execute) },
  stopWhen: ai.stepCountIs(1),
});
const sunny = ({ city }) => ({ city, sun: true });
const stream = (model, options) => streamText({ ...asking(model), onError: () => {}, ...options });

/** What came of a stream, piece by piece, and how it ended. */
async function read(result, onPiece = () => {}) {
  const pieces = [];
  const ended = await failing(async () => {
    for await (const piece of result.textStream) {
      pieces.push(piece);
      onPiece(piece);
    }
  });
  // Version 5 leaves it unsettled where a stream fails.
  const never = new Promise((resolve) => setTimeout(resolve, 500, 'never'));
  return [pieces, ended, await failing(() => Promise.race([result.finishReason, never]))];
}

const embedder = {
  specificationVersion: 'v2',
  provider: 'own.embedding',
  modelId: 'embed-own',
  maxEmbeddingsPerCall: 1,
  supportsParallelCalls: false,
  doEmbed: ({ values }) =>
    Promise.resolve({
      embeddings: values.map((value) => [value.length, 0.5]),
      usage: { tokens: 3 },
      warnings: [],
    }),
};
const reranker = {
  specificationVersion: 'v3',
  provider: 'own.rerank',
  modelId: 'rerank-own',
  doRerank: () => Promise.resolve({ ranking: [{ index: 1, relevanceScore: 0.9 }] }),
};
const deciding = async (doDecide) => {
  const decision = await ai.experimental_decide({
    model: {
      specificationVersion: 'v4',
      provider: 'own.decide',
      modelId: 'decide-own',
      supportedQuestionTypes: ['boolean'],
      doDecide,
    },
    state: 'a loan',
    questions: { ok: { type: 'boolean', instructions: 'Is it ok?' } },
    maxRetries: 0,
  });
  return decision.answers;
};
/** A model that ends at once, whose every method needs the object it was made as. */
class OwnModel {
  specificationVersion = 'v2';
  provider = 'own';
  #id = 'own-model';
  supportedUrls = {};
  get modelId() {
    return this.#id;
  }
  doGenerate() {
    return Promise.resolve({
      content: [{ type: 'text', text: this.#id }],
      finishReason: 'stop',
      usage: { inputTokens: 1, outputTokens: 2, totalTokens: 3 },
      warnings: [],
    });
  }
}

export const cases = {
  plain: async () => {
    const { text, finishReason, usage } = await generateText(asking('gpt-fake'));
    return { text, finishReason, usage };
  },
  'with parameters': async () => {
    const { text } = await generateText({
      ...asking('gpt-fake'),
      temperature: 0.2,
      topP: 0.9,
      maxOutputTokens: 64,
      seed: 7,
      frequencyPenalty: 0.1,
      presencePenalty: 0.3,
      stopSequences: ['END'],
    });
    return text;
  },
  'tool call': async () => {
    const { toolResults, toolCalls } = await generateText(answering(sunny));
    return { toolResults, toolCalls };
  },
  'tool that answers': async () => (await generateText(answering(sunny))).text,
  'tool that throws': async () => {
    const { content } = await generateText(
      answering(() => {
        throw new RangeError('no such city');
      }),
    );
    return content.map(({ type }) => type);
  },
  'tool of the application': async () => (await generateText(answering())).toolCalls,
  'telemetry turned off': async () => {
    const telemetry = { isEnabled: false, recordInputs: false, recordOutputs: false };
    const { text } = await generateText({ ...asking('gpt-fake'), telemetry });
    return text;
  },
  'through middleware': async () => {
    const middleware = { wrapGenerate: ({ doGenerate }) => doGenerate() };
    const model = ai.wrapLanguageModel({ model: openai.chat('gpt-fake'), middleware });
    return (await generateText({ ...asking('gpt-fake'), model })).text;
  },
  parse: async () => (await generateObject({ ...asking('gpt-json'), schema })).object,
  responses: async () =>
    (await generateText({ ...asking('gpt-fake'), model: openai('gpt-fake') })).text,
  'frozen model': async () => {
    const model = Object.freeze(openai.chat('gpt-fake'));
    return (await generateText({ ...asking('gpt-fake'), model })).text;
  },
  'model of an older make': async () => {
    const model = new OwnModel();
    const { text } = await generateText({ ...asking('gpt-fake'), model });
    return [text, (await generateText({ ...asking('gpt-fake'), model })).text];
  },
  'model called by the application': async () => {
    const model = new OwnModel();
    const { text } = await generateText({ ...asking('gpt-fake'), model });
    return [text, (await model.doGenerate({ prompt: [] })).content];
  },
  stream: async () => {
    const result = streamText(asking('gpt-fake'));
    return [await read(result), await result.usage];
  },
  'stream of a tool call': async () => {
    const result = streamText(answering(sunny));
    await result.consumeStream();
    return await result.toolResults;
  },
  asResponse: () => streamText(asking('gpt-fake')).toTextStreamResponse().text(),
  tee: () => {
    const result = streamText(asking('gpt-fake'));
    return Promise.all([read(result), read(result)]);
  },
  toReadableStream: () =>
    new Response(
      streamText(asking('gpt-fake')).textStream.pipeThrough(new TextEncoderStream()),
    ).text(),
  'parse of a stream': async () => {
    const { partialObjectStream, object } = ai.streamObject({ ...asking('gpt-json'), schema });
    return [await collect(partialObjectStream), await object];
  },
  'stream broken off': async () => {
    for await (const piece of streamText(asking('gpt-fake')).textStream) return piece;
    return undefined;
  },
  'stream with a throwing reader': () =>
    failing(async () => {
      for await (const piece of streamText(asking('gpt-fake')).textStream) {
        throw new RangeError(piece);
      }
    }),
  'stream ends early': () => read(stream('gpt-cut')),
  'stream whose connection dies': () => read(stream('gpt-dies')),
  'stream that reports an error': () => read(stream('gpt-error')),
  'stream never read': () => {
    streamText(asking('gpt-fake'));
  },
  'stream of the model broken off': async () => {
    const model = openai.chat('gpt-fake');
    await generateText({ ...asking('gpt-fake'), model });
    const { stream: parts } = await model.doStream({ prompt: [] });
    for await (const part of parts) return part.type;
    return undefined;
  },
  'stream half read': async () => {
    const model = openai.chat('gpt-fake');
    await generateText({ ...asking('gpt-fake'), model });
    const { stream: parts } = await model.doStream({ prompt: [] });
    return (await parts.getReader().read()).value.type;
  },
  'stream of the model never read': async () => {
    const model = openai.chat('gpt-fake');
    await generateText({ ...asking('gpt-fake'), model });
    await model.doStream({ prompt: [] });
  },
  'stream aborted': () => {
    const controller = new AbortController();
    const result = stream('gpt-waits', { abortSignal: controller.signal });
    return read(result, () => controller.abort());
  },
  aborted: () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 20);
    return generateText({ ...asking('gpt-hangs'), abortSignal: controller.signal });
  },
  'aborted before': () => generateText({ ...asking('gpt-fake'), abortSignal: AbortSignal.abort() }),
  timeout: () => generateText({ ...asking('gpt-hangs'), abortSignal: AbortSignal.timeout(50) }),
  'no connection': () =>
    failing(() => generateText({ ...asking('x'), model: client('http://127.0.0.1:2').chat('x') })),
  400: () => generateText(asking('gpt-refuses')),
  'not JSON': () => generateText(asking('gpt-html')),
  '500 after retries': () => generateText({ ...asking('gpt-broken'), maxRetries: 1 }),
  'good after retries': async () =>
    (await generateText({ ...asking('gpt-flaky'), maxRetries: 2 })).text,
  'never awaited': () => {
    void generateText(asking('gpt-fake'));
  },
  embeddings: async () => {
    const { embeddings } = await embedMany({ model: embedder, values: ['eins', 'zwei'] });
    return [embeddings, (await embed({ model: embedder, value: 'eins' })).embedding];
  },
  rerank: async () =>
    (await ai.rerank({ model: reranker, documents: ['a', 'b'], query: 'b', topN: 1 })).ranking,
  decide: () =>
    deciding(() =>
      Promise.resolve({ answers: { ok: { type: 'boolean', value: true } }, warnings: [] }),
    ),
  'decide: fails': () => deciding(() => Promise.reject(new RangeError('no'))),
};
