// SPDX-License-Identifier: Apache-2.0
// Answers from documents. Ends with status 0 if the log verifies and tells which index and which prompt stood behind the
// answer, and holds neither the question nor a paragraph.
import { audited, expectSealed } from '../support/audit.mjs';
import { startProvider } from '../support/provider.mjs';

const provider = await startProvider(({ messages }) =>
  messages[0].content.includes('missed train')
    ? 'The company does, up to 60 euro.'
    : 'I can not tell.',
);
const log = await audited(import.meta.dirname, { OPENAI_BASE_URL: provider.url });
provider.close();

const index = { 'aigov.dataset.id': 'handbook', 'aigov.dataset.version': '2026-11-01' };
expectSealed(log, [
  ['embeddings text-embedding-4', {}],
  ['retrieval handbook', index],
  ['embeddings text-embedding-4', {}],
  ['chat gpt-5', { 'gen_ai.prompt.name': 'handbook-answer', 'gen_ai.prompt.version': '7' }],
]);
// What belongs to the retrieval is known to have drawn on that index; what came before it is not said to have.
const [first, , inner] = log.spans;
if (inner?.normalised['aigov.dataset.version'] !== '2026-11-01') process.exitCode = 1;
if ('aigov.dataset.version' in (first?.normalised ?? {})) process.exitCode = 1;
if (/missed|60 euro|receipt/.test(JSON.stringify(log.spans))) process.exitCode = 1;
