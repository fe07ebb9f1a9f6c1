// SPDX-License-Identifier: Apache-2.0
/** `sealspan/exporter`: capture, sealing, forwarding and archiving for a Node service. Importing it starts nothing. */
export type { RetentionInput, S3Input } from './archive-config.ts';
export { type AttachOutcome, attach } from './attach.ts';
export {
  type Audit,
  type AuditHooks,
  type AuditStatus,
  joinAudit,
  openAudit,
  openAuditWith,
} from './audit.ts';
export type { Capture, CaptureStats, ExporterOptions, Forwarding } from './capture.ts';
export {
  type BackendInput,
  type Config,
  ConfigError,
  type ConfigInput,
  readConfig,
} from './config.ts';
export { type DigestSecret, nodePrimitives, openDigestKey } from './keys.ts';
export type { OtlpClientConfig, OtlpTls } from './otlp-config.ts';
export type { SealOutcome } from './pending.ts';
export type { ConsumerStatus, CoverageState } from './protocol.ts';
export { type Registration, watchRegistration } from './registration.ts';
export { openRemote, type Remote, type RemoteOptions } from './remote.ts';
export { StartError } from './sealing-client.ts';
