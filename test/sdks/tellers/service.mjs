// SPDX-License-Identifier: Apache-2.0
/**
 * A service that another instrumentation traces, set up as that one's documents say. Arguments: which one, and the address of the
 * provider. Makes two calls, one whole and one streamed, and prints the spans that its own processor saw end.
 */
import { createRequire } from 'node:module';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

const [teller, url] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const seen = [];
const provider = new NodeTracerProvider({
  spanProcessors: [
    {
      onStart: () => {},
      onEnd: (span) => seen.push(span),
      forceFlush: () => Promise.resolve(),
      shutdown: () => Promise.resolve(),
    },
  ],
});
provider.register();
// Without hooks of ours: the audit alone, put on the provider by hand.
const audited = process.env.SEALSPAN_BARE === undefined ? undefined : await bareAudit();

const messages = [{ role: 'user', content: 'Grüß mich' }];
const ask = async (openai, more = {}) => {
  const client = more.wrap?.(new openai.OpenAI(options)) ?? new openai.OpenAI(options);
  await client.chat.completions.create({ model: 'gpt-fake', messages });
  const stream = await client.chat.completions.create({
    model: 'gpt-two',
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const _ of stream);
};
const options = { apiKey: 'none', baseURL: url, maxRetries: 0, logLevel: 'off' };

const TELLERS = {
  openinference: async () => {
    const { OpenAIInstrumentation } = require('@arizeai/openinference-instrumentation-openai');
    const openai = require('openai');
    new OpenAIInstrumentation().manuallyInstrument(openai);
    await ask(openai);
  },
  openllmetry: async () => {
    const { OpenAIInstrumentation } = require('@traceloop/instrumentation-openai');
    const openai = require('openai');
    new OpenAIInstrumentation().manuallyInstrument(openai.OpenAI);
    await ask(openai);
  },
  langfuse: async () => {
    const { observeOpenAI } = await import('@langfuse/openai');
    await ask(await import('openai'), { wrap: observeOpenAI });
  },
  vercel: async () => {
    const { generateText, streamText, registerTelemetry } = await import('ai');
    const { OpenTelemetry } = await import('@ai-sdk/otel');
    const { createOpenAI } = await import('@ai-sdk/openai');
    registerTelemetry(new OpenTelemetry());
    const chat = createOpenAI({ apiKey: 'none', baseURL: url }).chat;
    await generateText({ model: chat('gpt-fake'), messages, maxRetries: 0 });
    await streamText({ model: chat('gpt-two'), messages, maxRetries: 0 }).consumeStream();
  },
};
// Within a request, as services make them: not every teller makes its own span the parent of what the client does.
await provider.getTracer('http').startActiveSpan('request', async (span) => {
  await TELLERS[teller]();
  span.end();
});
// The service's own processor has a span once it is sealed.
for (let round = 0; round < 3; round++) await provider.forceFlush();
await audited?.shutdown();
process.stdout.write(
  JSON.stringify(
    seen.map(({ name, attributes, instrumentationScope: { name: scope } }) => ({
      name,
      scope,
      attributes,
    })),
  ),
);

async function bareAudit() {
  const { attach, openAudit } = await import(process.env.SEALSPAN_BARE);
  const audit = openAudit({ dir: process.env.SEALSPAN_DIR, origin: 'svc' });
  attach(provider, audit.capture);
  return audit;
}
