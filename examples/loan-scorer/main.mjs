// SPDX-License-Identifier: Apache-2.0
// A loan scorer. Ends with status 0 if the log verifies and tells which weights decided, on whom, and who overrode it.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { audited, expectSealed } from '../support/audit.mjs';

const log = await audited(import.meta.dirname, {});

const file = readFileSync(new URL('weights.json', import.meta.url));
const digest = `sha256:${createHash('sha256').update(file).digest('hex')}`;
const scored = { 'aigov.model.version': '2026.11', 'aigov.model.digest': digest };
expectSealed(log, [
  ['predict loan-scorer', scored],
  ['decision', { 'aigov.decision.legal_effect': true }],
  ['predict loan-scorer', scored],
  ['decision', { 'aigov.decision.legal_effect': true }],
  ['oversight', { 'aigov.oversight.act': 'override', 'aigov.decision.id': 'd-2' }],
  ['decision', {}],
]);
const outcomes = log.spans.map(({ normalised }) => normalised['aigov.decision.outcome']);
if (outcomes.filter(Boolean).join() !== 'granted,refused,granted') process.exitCode = 1;
