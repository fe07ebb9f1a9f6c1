// SPDX-License-Identifier: Apache-2.0
// A chat that may give money back. The model asks for the tool `refund`; a rule looks at the amount; above the limit a
// person approves; only then is the tool run, and the model told. Nothing here knows of an audit log but what only people
// can know: the rule's verdict, the person's act, the decision.
import { trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import OpenAI from 'openai';
import { decision, oversight, withGovernance } from 'sealspan/instrumentation';

const sdk = new NodeSDK({ instrumentations: [] });
sdk.start();
const tracer = trace.getTracer('refund-chat');
const client = new OpenAI({ maxRetries: 0 });

const LIMIT_EUR = 100;
const tools = [
  {
    type: 'function',
    function: {
      name: 'refund',
      description: 'Gives money back for an order',
      parameters: {
        type: 'object',
        properties: { order: { type: 'string' }, amountEur: { type: 'number' } },
      },
    },
  },
];

/** In your service: a message to whoever is on duty, and the answer some minutes later. */
const askPerson = async () => ({
  reviewer: 'r-07',
  role: 'team lead',
  approves: true,
  latencyS: 74,
});

/** The rule, and what came of it, on the tool's own span, in the names of OpenTelemetry. */
async function runTool({ id, function: { name, arguments: text } }) {
  const { order, amountEur } = JSON.parse(text);
  const isOver = amountEur > LIMIT_EUR;
  const policy = {
    id: 'refund-limit',
    version: '3',
    verdict: isOver ? 'escalate' : 'allow',
    action: isOver ? 'escalate' : 'allow',
    ...(isOver && { reasonCode: 'amount.over_limit' }),
  };
  const approval = isOver ? await askPerson() : undefined;
  const decisionId = `refund-${order}`;
  if (approval !== undefined) {
    oversight({
      act: approval.approves ? 'approve' : 'reject',
      reviewer: { id: approval.reviewer, role: approval.role },
      decisionId,
      latencyS: approval.latencyS,
    });
  }
  const executed = approval?.approves ?? true;
  return withGovernance({ policy }, () => {
    const attributes = {
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': name,
      'gen_ai.tool.call.id': id,
    };
    return tracer.startActiveSpan(`execute_tool ${name}`, { attributes }, (span) => {
      // In your service: the payment itself.
      decision({
        id: decisionId,
        outcome: executed ? 'refunded' : 'refused',
        automation: approval === undefined ? 'full' : 'assisted',
        executed,
      });
      span.end();
      return JSON.stringify({ order, refunded: executed });
    });
  });
}

async function chat(question) {
  const messages = [{ role: 'user', content: question }];
  for (;;) {
    const { choices } = await client.chat.completions.create({ model: 'gpt-5', messages, tools });
    const { message } = choices[0];
    if (message.tool_calls === undefined) return message.content;
    messages.push(message);
    for (const call of message.tool_calls) {
      messages.push({ role: 'tool', tool_call_id: call.id, content: await runTool(call) });
    }
  }
}

/** One request. `enduser.id` is there already, for the backend; it is not sealed, its keyed hash is. */
const attributes = { 'http.route': '/chat', 'enduser.id': 'ada@example.org' };
await tracer.startActiveSpan('POST /chat', { attributes }, (span) =>
  withGovernance(
    { purpose: { id: 'refunds' }, actor: { id: 'refund-chat', type: 'agent' } },
    async () => {
      const answer = await chat('My order 4711 never came. I want my 240 euros back.');
      console.log(JSON.stringify({ answer, traceId: span.spanContext().traceId }));
      span.end();
    },
  ),
);
await sdk.shutdown();
