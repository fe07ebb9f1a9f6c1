// SPDX-License-Identifier: Apache-2.0
// An agent that acts for somebody: a loop of a model that asks for tools, and tools behind the Model Context Protocol. Both
// clients are hooked; on whose behalf it acts, only the service knows.
import { trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import OpenAI from 'openai';
import { withGovernance } from 'sealspan/instrumentation';
import { connect } from './mcp/client.mjs';

const sdk = new NodeSDK({ instrumentations: [] });
sdk.start();
const tracer = trace.getTracer('travel-agent');
const openai = new OpenAI({ maxRetries: 0 });
const mcp = await connect();

/** The tools of the server, as the model is told of them. */
const { tools: listed } = await mcp.listTools();
const tools = listed.map(({ name, description, inputSchema: parameters }) => ({
  type: 'function',
  function: { name, description, parameters },
}));

async function act(task) {
  const messages = [{ role: 'user', content: task }];
  for (;;) {
    const { choices } = await openai.chat.completions.create({ model: 'gpt-5', messages, tools });
    const { message } = choices[0];
    if (message.tool_calls === undefined) return message.content;
    messages.push(message);
    for (const { id, function: called } of message.tool_calls) {
      const answer = await mcp.callTool({
        name: called.name,
        arguments: JSON.parse(called.arguments),
      });
      messages.push({ role: 'tool', tool_call_id: id, content: answer.content[0].text });
    }
  }
}

/** The agent's own span, in the names of OpenTelemetry: what it does is below it. */
const attributes = { 'gen_ai.operation.name': 'invoke_agent', 'gen_ai.agent.name': 'travel-agent' };
await withGovernance(
  {
    purpose: { id: 'business-travel' },
    actor: { id: 'travel-agent', type: 'agent' },
    // For whom it acts, the first principal first.
    delegation: { chain: ['u-17', 'travel-agent'] },
  },
  () =>
    tracer.startActiveSpan('invoke_agent travel-agent', { attributes }, async (span) => {
      const result = await act('Book me a train to Ghent tomorrow.');
      console.log(JSON.stringify({ result, traceId: span.spanContext().traceId }));
      span.end();
    }),
);
await mcp.close();
await sdk.shutdown();
