// SPDX-License-Identifier: Apache-2.0
/**
 * What the event loops of a process and its sealing thread say to each other, and by which means. Decides nothing.
 */
import { type BroadcastChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type {
  CoverageEvent,
  GapEvent,
  IntentEvent,
  InterruptedEvent,
  RefusedEvent,
  WriterCounters,
} from '../../log/control.ts';
import type { RecordSource } from '../../log/header.ts';
import type { ArchiveStatus } from '../archive/archiver.ts';
import type { SealOutcome } from '../capture/pending.ts';
import type { S3ArchiveConfig } from '../config/archive-config.ts';
import type { ForwardStatus } from '../forward/forward.ts';
import type { OtlpClientConfig, OtlpKind } from '../otlp/otlp-config.ts';

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
  readonly forwardMs: number;
  readonly segmentByteLengthMax: number;
  readonly segmentAgeMsMax: number;
  readonly pendingByteLengthMax: number;
  /** Backend that sealed spans are forwarded to from the log, or undefined. */
  readonly backend: OtlpClientConfig | undefined;
  /** Directory of the archive, or undefined. */
  readonly archiveDirectory: string | undefined;
  /** Days that archived segments stay on the local disk; undefined for ever. */
  readonly localDays: number | undefined;
  /** Bucket of the archive, or undefined. */
  readonly archiveS3: S3ArchiveConfig | undefined;
}

/** Int32 slots of the memory that all threads share. */
export const SLOT_STATE: number = 0;
/** Counts answers, so that a thread that blocks for one can sleep until there is another. Wraps. */
export const SLOT_ANSWERED: number = 1;
export const SLOT_COUNT: number = 2;

export const STATE_STARTING: number = 0;
export const STATE_OPEN: number = 1;
export const STATE_FAILED: number = 2;
export const STATE_CLOSED: number = 3;

/** Whether calls through one package are seen. */
export type CoverageState = Omit<CoverageEvent, 'name'>;

/** What a thread of the application says last. */
export interface Ending {
  readonly counters: WriterCounters;
  /** Its calls that still run. */
  readonly interrupted: readonly InterruptedEvent[];
}

export type ToSealer =
  | {
      readonly type: 'request';
      readonly id: number;
      readonly bytes: Uint8Array<ArrayBuffer>;
      readonly kind: OtlpKind;
      readonly source: RecordSource;
      readonly counters: WriterCounters | undefined;
    }
  /** A call that is about to start; answered once it is durable, or can not be. */
  | { readonly type: 'intent'; readonly id: number; readonly intent: IntentEvent }
  | { readonly type: 'gap'; readonly gap: Omit<GapEvent, 'name'> }
  | { readonly type: 'refused'; readonly refused: Omit<RefusedEvent, 'name'> }
  /** All that this thread of the application knows by now of the packages it could make calls through. */
  | { readonly type: 'coverage'; readonly rows: readonly CoverageState[] }
  | { readonly type: 'status'; readonly id: number }
  | {
      readonly type: 'flush';
      readonly id: number;
      readonly deadlineMs: number;
      /** Where the backend has answered nothing at all; not beyond `deadlineMs`. */
      readonly unansweredMs: number;
      readonly counters: WriterCounters;
    }
  | ({ readonly type: 'close' } & Ending)
  /** In answer to `drain`: all that this thread had is on its way. */
  | ({ readonly type: 'drained' } & Ending)
  /** This thread of the application ends; what it sent before counts. */
  | ({ readonly type: 'leave' } & Ending)
  /** A thread of the application has ended, as the one that started it says. */
  | { readonly type: 'gone'; readonly member: number };

/** What is said in the lobby, where threads of the application find the sealing thread. */
export type LobbyMessage =
  | { readonly type: 'join'; readonly member: number }
  /** The sealing thread has ended without a word. */
  | { readonly type: 'down'; readonly cause: string };

/** How a thread of the application finds the sealing thread of its process. */
export interface Meeting {
  /** Name of the lobby; the channel of each thread has its number behind it. */
  readonly lobby: string;
  readonly slots: SharedArrayBuffer;
  /** One BigInt64: the last number given to a governed span by any thread. */
  readonly numbers: SharedArrayBuffer;
}

/** Name of the channel between the sealing thread and one other. */
export function channelName(lobby: string, member: number): string {
  return `${lobby}/${member}`;
}

export function listenTo<Message>(
  channel: BroadcastChannel,
  hear: (message: Message) => void,
): void {
  channel.onmessage = (event) => hear((event as { readonly data: Message }).data);
}

/** The next message that has arrived and was not heard. Node takes a BroadcastChannel here; its types do not know. */
export function takeFrom(channel: BroadcastChannel): { readonly message: unknown } | undefined {
  return receiveMessageOnPort(channel as unknown as MessagePort);
}

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
  | { readonly type: 'report'; readonly code: string; readonly message: string }
  /** To threads of the application: the log is about to be closed. */
  | { readonly type: 'drain' }
  /** To threads of the application: the log is closed. */
  | { readonly type: 'closed' };

/** Why sealing could not start. */
export type StartFailure = 'locked' | 'damaged' | 'mismatch' | 'package' | 'io';
