// SPDX-License-Identifier: Apache-2.0
/**
 * A service that makes 100,000 calls through hooked packages, of every kind there is: whole, streamed, broken off, never read,
 * aborted by one signal for all, refused. Prints what it holds on the way. Needs no network: the answers are made here.
 */
import { getEventListeners } from 'node:events';
import { queryObjects } from 'node:v8';
import OpenAI, { APIPromise } from 'openai';

const CALLS = 100_000;
/** How often what is held is looked at. */
const STEP = 10_000;
/** How often garbage is collected: weak tables, the package's own too, grow until then, and never shrink. */
const SWEEP = 1_000;
const answer = JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  model: 'gpt-fake',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 12, completion_tokens: 5 },
});
const chunk = (delta, finish_reason = null) =>
  `data: ${JSON.stringify({ id: 'chatcmpl-1', model: 'gpt-fake', choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
const events = [chunk({ content: 'Hel' }), chunk({ content: 'lo' }), chunk({}, 'stop')];
const answering = async (_, { body }) => {
  const { model, stream } = JSON.parse(body);
  if (model === 'gpt-refuses') return new Response('{"error":{"code":"bad"}}', { status: 400 });
  if (stream !== true) {
    return new Response(answer, { headers: { 'content-type': 'application/json' } });
  }
  const text = [...events, 'data: [DONE]\n\n'].join('');
  return new Response(text, { headers: { 'content-type': 'text/event-stream' } });
};
const client = new OpenAI({ apiKey: 'none', maxRetries: 0, fetch: answering, logLevel: 'off' });
// One signal for the life of the service, as services have that end all at once.
const { signal } = new AbortController();
const ask = (model, more) =>
  client.chat.completions.create(
    { model, messages: [{ role: 'user', content: 'hi' }], ...more },
    { signal },
  );
const KINDS = [
  () => ask('gpt-fake'),
  async () => {
    for await (const _ of await ask('gpt-fake', { stream: true }));
  },
  async () => {
    for await (const _ of await ask('gpt-fake', { stream: true })) break;
  },
  () => ask('gpt-fake', { stream: true }),
  () => ask('gpt-refuses').catch(() => {}),
  () => ask('gpt-fake').asResponse(),
];
/** What the process holds once all that nobody can reach is gone. */
async function held() {
  for (let round = 0; round < 10; round++) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { heapUsed, external } = process.memoryUsage();
  return {
    bytes: heapUsed + external,
    answers: queryObjects(Response, { format: 'count' }),
    promises: queryObjects(APIPromise, { format: 'count' }),
    listeners: getEventListeners(signal, 'abort').length,
    processListeners: process
      .eventNames()
      .reduce((sum, name) => sum + process.listenerCount(name), 0),
    ...globalThis.sealspanTest.report().stats,
  };
}

const found = [];
for (let count = 1; count <= CALLS; count++) {
  await KINDS[count % KINDS.length]();
  // What was dropped is told of in turns of the loop, which a service has.
  if (count % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  globalThis.sealspanTest.spans.length = 0;
  globalThis.sealspanTest.started.clear();
  if (count % SWEEP === 0) globalThis.gc();
  if (count % STEP === 0) found.push(await held());
}
process.stdout.write(JSON.stringify(found), () => process.exit(0));
