// SPDX-License-Identifier: Apache-2.0
/** An application of `@aws-sdk/client-bedrock-runtime`. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { trace } from '@opentelemetry/api';
import { collect, collectUntilError, failing } from './case.ts';

const [, folder, , format, url] = process.argv.slice(2);
const { load } = await import(pathToFileURL(join(folder, 'load.mjs')).href);
const aws = await load('@aws-sdk/client-bedrock-runtime', format);
const { NodeHttpHandler } = await load('@smithy/node-http-handler', format);

/** A handler of requests with a span of its own, as instrumentation of HTTP makes them. */
class TracedHandler extends NodeHttpHandler {
  handle(request, options) {
    return trace.getTracer('http').startActiveSpan('request', async (span) => {
      try {
        return await super.handle(request, options);
      } finally {
        span.end();
      }
    });
  }
}
const options = (more) => ({
  region: 'us-east-1',
  endpoint: url,
  credentials: { accessKeyId: 'none', secretAccessKey: 'none' },
  maxAttempts: 1,
  requestHandler: new TracedHandler(),
  ...more,
});
const client = (more = {}) => new aws.BedrockRuntimeClient(options(more));
const asking = (behaviour, more = {}) => ({
  modelId: `own.converse.${behaviour}`,
  system: [{ text: 'Be kind.' }],
  messages: [{ role: 'user', content: [{ text: 'Grüß mich' }] }],
  ...more,
});
const converse = (behaviour, more, sending) =>
  client().send(new aws.ConverseCommand(asking(behaviour, more)), sending);
const converseStream = async (behaviour, more, sending) =>
  (await client().send(new aws.ConverseStreamCommand(asking(behaviour, more)), sending)).stream;
const body = (family) =>
  JSON.stringify(
    family === 'titan'
      ? { inputText: 'Grüß mich', textGenerationConfig: { maxTokenCount: 64, temperature: 0.2 } }
      : {
          anthropic_version: 'bedrock-2023-05-31',
          max_tokens: 64,
          messages: [{ role: 'user', content: 'Grüß mich' }],
        },
  );
const invoking = (family, behaviour = 'fake') => ({
  modelId: `own.${family}.${behaviour}`,
  contentType: 'application/json',
  body: body(family),
});
const text = (bytes) => new TextDecoder().decode(bytes);
const invoke = async (family) => {
  const answer = await client().send(new aws.InvokeModelCommand(invoking(family)));
  return [text(answer.body), answer.contentType];
};
const invokeStream = async (family, behaviour) => {
  const command = new aws.InvokeModelWithResponseStreamCommand(invoking(family, behaviour));
  const answer = await client().send(command);
  return (await collect(answer.body)).map(({ chunk }) => text(chunk.bytes));
};
const toolConfig = {
  tools: [{ toolSpec: { name: 'weather', inputSchema: { json: { type: 'object' } } } }],
};
/** The package's metadata has a time in it. */
const answerOf = ({ output, stopReason, usage }) => ({ output, stopReason, usage });

export const cases = {
  plain: async () => answerOf(await converse('fake')),
  'with parameters': async () => {
    const inferenceConfig = { maxTokens: 64, temperature: 0.2, topP: 0.9, stopSequences: ['END'] };
    return answerOf(await converse('fake', { inferenceConfig }));
  },
  'tool call': async () => answerOf(await converse('tools', { toolConfig })),
  'by the method of a client of all commands': async () =>
    answerOf(await new aws.BedrockRuntime(options()).converse(asking('fake'))),
  'by a callback': () =>
    new Promise((resolve) => {
      client().send(new aws.ConverseCommand(asking('fake')), (_, answer) =>
        resolve(answerOf(answer)),
      );
    }),
  'invoke: anthropic': () => invoke('anthropic'),
  'invoke: titan': () => invoke('titan'),
  'invoke: stream of anthropic': () => invokeStream('anthropic', 'fake'),
  'invoke: stream of titan': () => invokeStream('titan', 'fake'),
  'invoke: stream ends early': () => failing(() => invokeStream('titan', 'cut')),
  stream: async () => collect(await converseStream('fake')),
  'stream of a tool call': async () => collect(await converseStream('tools', { toolConfig })),
  'stream broken off': async () => collect(await converseStream('fake'), 2),
  'stream with a throwing reader': () =>
    failing(async () => {
      for await (const event of await converseStream('fake')) {
        throw new RangeError(Object.keys(event)[0]);
      }
    }),
  'stream ends early': () => collectUntilError(() => converseStream('cut')),
  'stream whose connection dies': () => collectUntilError(() => converseStream('dies')),
  'stream that reports an error': () => collectUntilError(() => converseStream('error')),
  'stream never read': async () => {
    await converseStream('fake');
  },
  'stream half read': async () => {
    const stream = await converseStream('fake');
    return (await stream[Symbol.asyncIterator]().next()).value;
  },
  'stream aborted': () => {
    const controller = new AbortController();
    return collectUntilError(
      () => converseStream('waits', {}, { abortSignal: controller.signal }),
      (count) => {
        if (count === 2) controller.abort();
      },
    );
  },
  aborted: () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    return converse('hangs', {}, { abortSignal: controller.signal });
  },
  timeout: () => converse('hangs', {}, { abortSignal: AbortSignal.timeout(50) }),
  'timeout of the handler': () =>
    client({
      requestHandler: new NodeHttpHandler({ requestTimeout: 50, throwOnRequestTimeout: true }),
    }).send(new aws.ConverseCommand(asking('hangs'))),
  'no connection': () =>
    client({ endpoint: 'http://127.0.0.1:2' }).send(new aws.ConverseCommand(asking('fake'))),
  'no credentials': () =>
    failing(() =>
      client({ credentials: () => Promise.reject(new RangeError('none')) }).send(
        new aws.ConverseCommand(asking('fake')),
      ),
    ),
  400: () => converse('refuses'),
  '500 after retries': () =>
    client({ maxAttempts: 2 }).send(new aws.ConverseCommand(asking('broken'))),
  'good after retries': async () =>
    answerOf(await client({ maxAttempts: 2 }).send(new aws.ConverseCommand(asking('flaky')))),
  'never awaited': () => {
    void converse('fake');
  },
  'no call of a model': () =>
    failing(() =>
      client().send(new aws.CountTokensCommand({ modelId: 'own.converse.refuses', input: {} })),
    ),
};
