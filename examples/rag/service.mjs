// SPDX-License-Identifier: Apache-2.0
// Answers from a handbook: embeds the question, finds the nearest paragraphs, asks the model with them. Which index, of
// which version, and which prompt template stood behind an answer is what an auditor will ask. The index says so of itself
// on its spans; the template is stated where it is filled in.
import { createHash } from 'node:crypto';
import { trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import OpenAI from 'openai';
import { withGovernance } from 'sealspan/instrumentation';

const sdk = new NodeSDK({ instrumentations: [] });
sdk.start();
const tracer = trace.getTracer('handbook-answers');
const client = new OpenAI({ maxRetries: 0 });

const HANDBOOK = [
  'Travel: fees for a missed train are paid by the company, up to 60 euro.',
  'Leave: ask for it two weeks before the first day. A month is the most at a time.',
  'Expenses: every cost above 25 euro needs a receipt.',
];
const TEMPLATE = 'Answer from these paragraphs and nothing else:\n{paragraphs}';
const prompt = {
  name: 'handbook-answer',
  version: '7',
  templateDigest: `sha256:${createHash('sha256').update(TEMPLATE).digest('hex')}`,
};

const embed = async (input) => {
  const { data } = await client.embeddings.create({ model: 'text-embedding-4', input });
  return data.map(({ embedding }) => embedding);
};
const angle = ([a, b], [c, d]) => (a * c + b * d) / (Math.hypot(a, b) * Math.hypot(c, d));

/** In your service: a vector database, whose client writes such a span. */
async function retrieve(question, index) {
  const attributes = {
    'gen_ai.operation.name': 'retrieval',
    'gen_ai.data_source.id': 'handbook',
    'db.collection.name': 'handbook',
    'app.index.version': '2026-11-01',
  };
  return tracer.startActiveSpan('retrieval handbook', { attributes }, async (span) => {
    const [wanted] = await embed(question);
    const ranked = index
      .map((vector, at) => ({ text: HANDBOOK[at], score: angle(vector, wanted) }))
      .sort((a, b) => b.score - a.score);
    span.end();
    return ranked.slice(0, 2).map(({ text }) => text);
  });
}

async function answer(question, index) {
  const paragraphs = await retrieve(question, index);
  const content = TEMPLATE.replace('{paragraphs}', paragraphs.join('\n'));
  return withGovernance({ prompt }, async () => {
    const { choices } = await client.chat.completions.create({
      model: 'gpt-5',
      messages: [
        { role: 'system', content },
        { role: 'user', content: question },
      ],
    });
    return choices[0].message.content;
  });
}

await tracer.startActiveSpan('POST /answer', (span) =>
  withGovernance(
    { purpose: { id: 'staff-questions' }, actor: { id: 'u-17', type: 'human' } },
    async () => {
      const index = await embed(HANDBOOK);
      const text = await answer('Who pays the fee if I miss a train?', index);
      console.log(JSON.stringify({ answer: text, traceId: span.spanContext().traceId }));
      span.end();
    },
  ),
);
await sdk.shutdown();
