// SPDX-License-Identifier: Apache-2.0
// The way in by code, for a service that has OpenTelemetry and can not be started with --import; and how to hold an
// action back until its record is durable. service.mjs beside it needs no such lines. `npm run example -- quickstart`
// runs this one; it ends with status 0 if what was decided is in a log that verifies.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { attach, openAudit, openDigestKey } from 'sealspan/exporter';
import {
  configureInstrumentation,
  decision,
  governedModel,
  withGovernance,
} from 'sealspan/instrumentation';

const dir = mkdtempSync(join(tmpdir(), 'sealspan-quickstart-'));

// What the service has already: an SDK, and an exporter to a backend, here one that prints.
const traceExporter = {
  export(spans, done) {
    for (const { name, attributes } of spans) {
      console.log(`backend: ${name}, number ${attributes['aigov.sequence']}`);
    }
    done({ code: 0 });
  },
  shutdown: async () => {},
};
const sdk = new NodeSDK({ traceExporter, instrumentations: [] });
sdk.start();

// What is added: open the log (this throws rather than let the service run unaudited), and join the provider.
const audit = openAudit({ dir, origin: 'loan-precheck/quickstart' });
const joined = attach(trace.getTracerProvider(), audit.capture);
if (joined.status === 'refused') throw new Error(joined.reason);
configureInstrumentation({ digestKey: openDigestKey(join(dir, 'digest.key')) });

const score = governedModel(
  { model: 'loan-scorer', version: '2026.11' },
  ({ income, debt }) => 1 / (1 + Math.exp(0.5 + debt / 4000 - income / 30_000)),
);

/** Pays out only what is on record: `committed` resolves once the decision survives a power failure. */
async function precheck(application) {
  const outcome = score(application) < 0.5 ? 'refused' : 'granted';
  const { traceId, spanId } = decision({ id: application.id, outcome, automation: 'full' });
  const sealed = await audit.capture.committed({ traceId, spanId, traceFlags: 1 });
  if (sealed.status === 'lost') return `held back: ${sealed.cause}`;
  return `${outcome}, sealed as ${sealed.origin}#${sealed.recordIndex}/${sealed.firstEntry}`;
}

const answer = await withGovernance({ purpose: { id: 'loan-precheck' } }, () =>
  precheck({ id: 'd-1', income: 90_000, debt: 1_500 }),
);
console.log(answer);

await sdk.shutdown();
await audit.shutdown();

// The command, as npx would find it.
const root = dirname(fileURLToPath(import.meta.resolve('sealspan/package.json')));
const command = join(root, 'dist/exporter/cli/main.js');
execFileSync(process.execPath, [command, 'verify', dir], { stdio: 'inherit' });
rmSync(dir, { recursive: true });
if (!answer.startsWith('granted, sealed as loan-precheck/quickstart/0#')) process.exitCode = 1;
