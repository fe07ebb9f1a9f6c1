// SPDX-License-Identifier: Apache-2.0
// Chat with a tool that needs a person's approval. Ends with status 0 if the log verifies and tells who approved what.
import { audited, expectSealed } from '../support/audit.mjs';
import { startProvider } from '../support/provider.mjs';

const provider = await startProvider(({ messages }) =>
  messages.at(-1).role === 'tool'
    ? 'Your 240 euros are on their way.'
    : { tool: 'refund', arguments: { order: '4711', amountEur: 240 } },
);
const log = await audited(import.meta.dirname, { OPENAI_BASE_URL: provider.url });
provider.close();

expectSealed(log, [
  ['chat gpt-5', { 'aigov.purpose.id': 'refunds', 'aigov.invocation.completion': 'complete' }],
  ['oversight', { 'aigov.oversight.act': 'approve', 'aigov.oversight.reviewer.id': 'r-07' }],
  ['execute_tool refund', { 'aigov.policy.verdict': 'escalate', 'gen_ai.tool.name': 'refund' }],
  ['decision', { 'aigov.decision.outcome': 'refunded', 'aigov.decision.executed': true }],
  ['chat gpt-5', {}],
]);
const text = JSON.stringify(log.spans);
for (const said of ['ada@example.org', '240 euros', 'amountEur']) {
  if (text.includes(said)) process.exitCode = 1;
}
if (!log.spans.every(({ normalised }) => /^hmac-/.test(normalised['aigov.subject.ref']))) {
  process.exitCode = 1;
}
