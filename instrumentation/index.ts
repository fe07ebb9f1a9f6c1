// SPDX-License-Identifier: Apache-2.0
/**
 * The names and shapes of `sealspan/instrumentation`, each listed: what is not here is not public.
 * Importing it hooks nothing and starts nothing.
 */
export { canonicalJson, contentDigest } from './content.ts';
export {
  decision,
  type GovernanceProcessor,
  governanceProcessor,
  oversight,
  pseudonym,
  type RecordedSpan,
  type RunningSpan,
  stampGovernance,
  withGovernance,
} from './governance.ts';
export {
  type Coverage,
  type CoverageRow,
  coverage,
  type TargetStatus,
} from './hooks.ts';
export { instrument } from './instrument.ts';
export { type GovernedModelOptions, governedModel } from './model.ts';
export {
  type ContentPolicy,
  configureInstrumentation,
  type DigestKey,
  type GovernanceCall,
  type InstrumentationOptions,
  type InstrumentationStats,
  instrumentationStats,
} from './settings.ts';
