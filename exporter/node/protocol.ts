// SPDX-License-Identifier: Apache-2.0
/**
 * What the event loop and the sealing thread say to each other. Types and slots only; chunks are transferred, never
 * copied.
 */
import type { GapEvent, InterruptedEvent, RefusedEvent, WriterCounters } from '../log/control.ts';
import type { RecordSource } from '../log/header.ts';
import type { ArchiveStatus } from './archiver.ts';
import type { ForwardStatus } from './forward.ts';
import type { OtlpClientConfig, OtlpKind } from './otlp-config.ts';
import type { SealOutcome } from './pending.ts';

/** Everything the sealing thread needs; plain data, since it crosses threads. */
export interface SealingConfig {
  /** Directory that holds one log directory per instance. */
  readonly dir: string;
  /** Name of the log directory below `dir`; undefined takes the first that no other process holds. */
  readonly instance: string | undefined;
  /** What origins begin with; the instance follows. */
  readonly originBase: string;
  /** True where a person chose `originBase`: then a log of another name is a mistake. */
  readonly originIsChosen: boolean;
  /** PKCS #8 PEM, or undefined for a key of the log's own, made on first run. */
  readonly keyPem: string | undefined;
  /** True where spans of this very process are sealed, and numbered: then a journal tells which of them started. */
  readonly numbers: boolean;
  readonly configurationHash: Uint8Array;
  readonly groupCommitMs: number;
  readonly checkpointMs: number;
  readonly heartbeatMs: number;
  readonly segmentByteLengthMax: number;
  readonly segmentAgeMsMax: number;
  readonly pendingByteLengthMax: number;
  /** Backend that sealed spans are forwarded to from the log, or undefined. */
  readonly backend: OtlpClientConfig | undefined;
  /** Directory of the archive, or undefined. */
  readonly archiveDirectory: string | undefined;
}

/** Int32 slots of the shared memory between the two threads. */
export const SLOT_STATE: number = 0;
export const SLOT_ANSWERED: number = 1;
export const SLOT_COUNT: number = 2;

export const STATE_STARTING: number = 0;
export const STATE_OPEN: number = 1;
export const STATE_FAILED: number = 2;
export const STATE_CLOSED: number = 3;

export type ToSealer =
  | {
      readonly type: 'request';
      readonly id: number;
      readonly bytes: Uint8Array<ArrayBuffer>;
      readonly kind: OtlpKind;
      readonly source: RecordSource;
      readonly counters: WriterCounters | undefined;
    }
  | { readonly type: 'gap'; readonly gap: Omit<GapEvent, 'name'> }
  | { readonly type: 'refused'; readonly refused: Omit<RefusedEvent, 'name'> }
  | { readonly type: 'status'; readonly id: number }
  | {
      readonly type: 'flush';
      readonly id: number;
      readonly deadlineMs: number;
      readonly counters: WriterCounters;
    }
  | {
      readonly type: 'close';
      readonly counters: WriterCounters;
      /** Calls that still run. */
      readonly interrupted: readonly InterruptedEvent[];
    };

/** How far the consumers of the log are. */
export interface ConsumerStatus {
  readonly forward: ForwardStatus | undefined;
  readonly archive: ArchiveStatus | undefined;
}

/** How far the log itself is, beside its consumers. */
export interface SealingStatus extends ConsumerStatus {
  /** Durable records, and those of them that are under a signature. */
  readonly size: number;
  readonly checkpointSize: number;
  /** Unix time of the newest checkpoint in milliseconds; undefined before the first. */
  readonly checkpointedAtMs: number | undefined;
}

/** What the sealing thread knows of itself once it is open. */
export interface SealingState {
  readonly origin: string;
  readonly logDirectory: string;
  /** Index of the record that this run began with. */
  readonly run: number;
  readonly vkey: string;
  readonly keyCreated: boolean;
}

export type FromSealer =
  | { readonly type: 'open'; readonly state: SealingState }
  | { readonly type: 'failed'; readonly message: string; readonly code: StartFailure }
  | { readonly type: 'outcome'; readonly id: number; readonly outcome: SealOutcome }
  | { readonly type: 'flushed'; readonly id: number; readonly status: ConsumerStatus }
  | { readonly type: 'status'; readonly id: number; readonly status: SealingStatus }
  | { readonly type: 'report'; readonly code: string; readonly message: string };

/** Why sealing could not start. */
export type StartFailure = 'locked' | 'damaged' | 'mismatch' | 'io';
