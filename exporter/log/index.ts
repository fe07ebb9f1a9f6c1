// SPDX-License-Identifier: Apache-2.0
/** `sealspan/verify`: the log core, for verifiers in Node, browsers and elsewhere. Bytes in, findings out. */
export { decodeBase64, encodeBase64, encodeHex } from './bytes.ts';
export {
  type ControlEvent,
  type ControlName,
  parseControl,
  type WriterCounters,
} from './control.ts';
export { itemOf, type PayloadKind, splitPayload, splitRequest } from './entries.ts';
export { LogError, type LogErrorCode } from './errors.ts';
export {
  encodeHeader,
  parseHeader,
  type RecordHeader,
  type RecordSource,
  type SourceKind,
} from './header.ts';
export {
  type Hash,
  leafHash,
  nodeHash,
  proveConsistency,
  proveInclusion,
  rootOf,
  type Sha256,
  Tree,
  verifyConsistency,
  verifyInclusion,
} from './merkle.ts';
export {
  type Checkpoint,
  createVerifier,
  encodeVerifier,
  type Head,
  judgeNote,
  type Note,
  parseCheckpoint,
  parseNote,
  parseVerifier,
  type Verifier,
  type VerifyEd25519,
} from './note.ts';
export type { Primitives, VerifiedRecord } from './record.ts';
export type { Assurance, Finding, FindingCode, Report, Verdict } from './report.ts';
export { type Frame, parseSegmentName, readFrames, segmentName } from './segment.ts';
export { checkStoredFrame } from './stored.ts';
export { type LogToVerify, type NamedBytes, type Trust, verifyLog } from './verify.ts';
