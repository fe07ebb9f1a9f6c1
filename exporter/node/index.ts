// SPDX-License-Identifier: Apache-2.0
/** `sealspan/exporter`: capture, sealing, forwarding and archiving for a Node service. Importing it starts nothing. */

export {
  type Audit,
  type AuditHooks,
  type AuditStatus,
  joinAudit,
  openAudit,
  openAuditWith,
} from './audit.ts';
export { type AttachOutcome, attach } from './capture/attach.ts';
export type { Capture, CaptureStats, ExporterOptions, Forwarding } from './capture/capture.ts';
export type { SealOutcome } from './capture/pending.ts';
export { type Registration, watchRegistration } from './capture/registration.ts';
export type { RetentionInput, S3Input } from './config/archive-config.ts';
export {
  type BackendInput,
  type Config,
  ConfigError,
  type ConfigInput,
  readConfig,
} from './config/config.ts';
export type { OtlpClientConfig, OtlpTls } from './otlp/otlp-config.ts';
export { openRemote, type Remote, type RemoteOptions } from './remote.ts';
export type { ConsumerStatus, CoverageState } from './sealing/protocol.ts';
export { StartError } from './sealing/sealing-client.ts';
export { type DigestSecret, nodePrimitives, openDigestKey } from './system/keys.ts';
