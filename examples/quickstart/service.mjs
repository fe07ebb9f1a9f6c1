// SPDX-License-Identifier: Apache-2.0
// A loan service as it may stand today: the `openai` client, OpenTelemetry set up by itself, and no line about an audit
// log. It is started as `node --import sealspan/register service.mjs`. What only people can know (purpose, decision,
// oversight) it states through the governance API. `CALLS` requests are made up, one of each kind in turn, then it ends.
import { SamplingDecision, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import OpenAI from 'openai';
import { decision, governedModel, oversight, withGovernance } from 'sealspan/instrumentation';

// Traces of the nightly batch are too many to keep, says this service. An audit log must hold them all the same.
const sampler = {
  shouldSample(parentContext, _traceId, _name, _kind, attributes) {
    const parent = trace.getSpanContext(parentContext);
    const isDropped = parent
      ? (parent.traceFlags & TraceFlags.SAMPLED) === 0
      : attributes['http.route'] === '/batch';
    return {
      decision: isDropped ? SamplingDecision.NOT_RECORD : SamplingDecision.RECORD_AND_SAMPLED,
    };
  },
  toString: () => 'NoBatchSampler',
};
const sdk = new NodeSDK({ sampler, instrumentations: [] });
sdk.start();

const client = new OpenAI({ maxRetries: 0 });
const tracer = trace.getTracer('loan-service');
const messages = [
  { role: 'system', content: 'You answer questions about loan applications.' },
  { role: 'user', content: 'Is my application complete?' },
];
const tools = [
  { type: 'function', function: { name: 'credit_report', parameters: { type: 'object' } } },
];

/** A classic model: a handful of weights. Every call of it is governed like one of a language model. */
const score = governedModel(
  { model: 'loan-scorer', version: '2026.11', input: ({ income, debt }) => ({ income, debt }) },
  ({ income, debt }) => 1 / (1 + Math.exp(0.5 + debt / 4000 - income / 30_000)),
);

let lastDecision = 'd-0';

/** What the service does, by route. Each gives back what a caller would get. */
const routes = {
  async '/ask'() {
    const answer = await client.chat.completions.create({ model: 'demo-small', messages });
    return answer.choices[0].message.content;
  },
  async '/ask-stream'() {
    const request = { model: 'demo-small', input: 'Is my application complete?', stream: true };
    let text = '';
    for await (const event of await client.responses.create(request)) {
      if (event.type === 'response.output_text.delta') text += event.delta;
    }
    return text;
  },
  async '/ask-and-leave'() {
    // The customer closes the page after the first words.
    const request = { model: 'demo-small', messages, stream: true };
    for await (const chunk of await client.chat.completions.create(request)) {
      if (chunk.choices[0].delta.content) break;
    }
    return 'left';
  },
  async '/report'() {
    const answer = await client.chat.completions.create({ model: 'demo-large', messages, tools });
    return answer.choices[0].message.tool_calls[0].function.name;
  },
  async '/ask-overloaded'() {
    await client.chat.completions.create({ model: 'demo-overloaded', messages });
    return 'never';
  },
  async '/batch'() {
    const answer = await client.chat.completions.create({ model: 'demo-small', messages });
    return answer.choices[0].message.content;
  },
  async '/precheck'(number) {
    const probability = score({ name: 'never recorded', income: 31_000, debt: 9_500 });
    const outcome = probability < 0.5 ? 'refused' : 'granted';
    lastDecision = `d-${number}`;
    decision({
      id: lastDecision,
      outcome,
      confidence: Number(probability.toFixed(3)),
      automation: 'assisted',
      legalEffect: true,
      executed: true,
    });
    return outcome;
  },
  async '/review'() {
    oversight({
      act: 'override',
      reviewer: { id: 'u-17', role: 'credit officer' },
      decisionId: lastDecision,
      justificationRef: 'case-4711',
      latencyS: 42,
    });
    return 'granted';
  },
};

/** One request: a span of the service's own, and what holds for everything that happens within it. */
function handle(route, number) {
  const attributes = { 'http.request.method': 'POST', 'http.route': route };
  return tracer.startActiveSpan(`POST ${route}`, { attributes }, (span) =>
    withGovernance(
      {
        purpose: { id: 'loan-precheck', intended: true },
        actor: {
          id: route === '/review' ? 'u-17' : 'loan-service',
          type: route === '/review' ? 'human' : 'service',
        },
        subject: { ref: 's-81c0d4' },
      },
      async () => {
        const { traceId } = span.spanContext();
        try {
          const result = await routes[route](number);
          console.log(JSON.stringify({ route, traceId, result }));
        } catch (error) {
          span.setStatus({ code: SpanStatusCode.ERROR });
          console.log(JSON.stringify({ route, traceId, error: error.constructor.name }));
        } finally {
          span.end();
        }
      },
    ),
  );
}

const names = Object.keys(routes);
const count = Number(process.env.CALLS ?? names.length);
for (let number = 0; number < count; number++) {
  await handle(names[number % names.length], number);
}
await sdk.shutdown();
