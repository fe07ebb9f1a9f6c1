// SPDX-License-Identifier: Apache-2.0
// A classic model, no language model: a handful of weights in a file. `governedModel` makes each run of it a governed call,
// with the version and the digest of the very weights; the decision it leads to, and the person who overrides one, are
// stated. A model of ONNX runs the same way: its call takes the place of the formula.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { decision, governedModel, oversight, withGovernance } from 'sealspan/instrumentation';

const sdk = new NodeSDK({ instrumentations: [] });
sdk.start();
const tracer = trace.getTracer('loan-scorer');

const file = readFileSync(new URL('weights.json', import.meta.url));
const weights = JSON.parse(file);
const score = governedModel(
  {
    model: 'loan-scorer',
    version: '2026.11',
    provider: 'in-house',
    digest: `sha256:${createHash('sha256').update(file).digest('hex')}`,
    // A name is no input of the model, and is not digested with it.
    input: ({ income, debt }) => ({ income, debt }),
  },
  ({ income, debt }) => {
    const sum = weights.bias + (weights.incomePer1000 * income + weights.debtPer1000 * debt) / 1000;
    return 1 / (1 + Math.exp(-sum));
  },
);

function decide(application) {
  const probability = score(application);
  const outcome = probability < 0.5 ? 'refused' : 'granted';
  decision({
    id: application.id,
    outcome,
    confidence: Number(probability.toFixed(3)),
    automation: 'assisted',
    legalEffect: true,
    executed: false,
  });
  return outcome;
}

/** A person looks at every refusal, and may see more than the model does. */
function review(application) {
  oversight({
    act: 'override',
    reviewer: { id: 'r-07', role: 'credit officer' },
    decisionId: application.id,
    justificationRef: `case/${application.id}`,
    latencyS: 311,
  });
  decision({
    id: `${application.id}-review`,
    parentId: application.id,
    outcome: 'granted',
    automation: 'advisory',
    legalEffect: true,
    executed: true,
  });
  return 'granted';
}

const applications = [
  { id: 'd-1', subject: 's-81c0d4', income: 61_000, debt: 2_000 },
  { id: 'd-2', subject: 's-04b7aa', income: 31_000, debt: 9_500 },
];
for (const application of applications) {
  tracer.startActiveSpan('POST /applications', (span) =>
    withGovernance(
      {
        purpose: { id: 'loan-precheck', intended: true },
        actor: { id: 'loan-service', type: 'service' },
        subject: { ref: application.subject },
      },
      () => {
        const outcome = decide(application);
        const end = outcome === 'refused' ? review(application) : outcome;
        const { traceId } = span.spanContext();
        console.log(JSON.stringify({ application: application.id, outcome, end, traceId }));
        span.end();
      },
    ),
  );
}
await sdk.shutdown();
