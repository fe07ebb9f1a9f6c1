// SPDX-License-Identifier: Apache-2.0
// An agent with tools behind the Model Context Protocol. Ends with status 0 if the log verifies and tells each step of the
// agent: what the model asked for, which tool was run and how that ended, and on whose behalf.
import { audited, expectSealed } from '../support/audit.mjs';
import { startProvider } from '../support/provider.mjs';

const provider = await startProvider(({ messages }) => {
  const tools = messages.filter(({ role }) => role === 'tool').length;
  if (tools === 0) return { tool: 'find_train', arguments: { to: 'Ghent' } };
  if (tools === 1) return { tool: 'book_train', arguments: { to: 'Ghent' } };
  return 'There is a train, and no seat is left on it.';
});
const log = await audited(import.meta.dirname, { OPENAI_BASE_URL: provider.url });
provider.close();

const asked = { 'gen_ai.response.finish_reasons': ['tool_calls'] };
expectSealed(log, [
  ['invoke_agent travel-agent', { 'aigov.actor.type': 'agent' }],
  ['chat gpt-5', asked],
  ['tools/call find_train', { 'aigov.invocation.completion': 'complete' }],
  ['chat gpt-5', asked],
  ['tools/call book_train', { 'aigov.invocation.completion': 'error' }],
  ['chat gpt-5', { 'gen_ai.response.finish_reasons': ['stop'] }],
]);
for (const { normalised } of log.spans) {
  const chain = JSON.stringify(normalised['aigov.delegation.chain']);
  if (chain !== '["u-17","travel-agent"]') process.exitCode = 1;
}
if (log.callCount !== 3 || JSON.stringify(log.spans).includes('Ghent')) process.exitCode = 1;
