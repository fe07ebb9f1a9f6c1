// SPDX-License-Identifier: Apache-2.0
/**
 * Takes requests from anywhere, seals them in groups, and answers each once it is durable or lost. Outlives the disk:
 * what it can not write now it keeps, bounded, and goes on when the log opens again. Owns the order of the writer's
 * own events: opened, gaps, heartbeats, closed.
 */
import { encodeHex } from '../../log/bytes.ts';
import {
  type CoverageEvent,
  controlText,
  type GapEvent,
  type IntentEvent,
  type InterruptedEvent,
  type ReceiptEvent,
  type RefusedEvent,
  type WriterCounters,
} from '../../log/control.ts';
import { type PayloadKind, splitRequest } from '../../log/entries.ts';
import { LogError } from '../../log/errors.ts';
import type { RecordSource } from '../../log/header.ts';
import type { Head } from '../../log/note.ts';
import type { HoldEvent } from '../archive/holds.ts';
import type { SealOutcome } from '../capture/pending.ts';
import {
  DamagedLogError,
  type LogWriter,
  type RecordInDoubt,
  type Resume,
} from '../storage/log-writer.ts';
import { equalSources } from '../storage/record.ts';
import { causeOf } from '../system/cause.ts';
import { sha256 } from '../system/keys.ts';
import { freeParts } from '../system/own-bytes.ts';
import { fitsRecord, type Group, groupsOf } from './groups.ts';

/** One OTLP request to seal. Its entries go into one record, in order; into several if one can not hold them. */
export interface SealRequest {
  readonly bytes: Uint8Array;
  readonly kind: Exclude<PayloadKind, 'control'>;
  readonly source: RecordSource;
  /** Called exactly once. MUST NOT throw. */
  readonly done: (outcome: SealOutcome) => void;
}

/** What somebody should know of the writer: it can not write, or it can again. */
export interface SealerReport {
  readonly code: 'down' | 'up' | 'refused';
  readonly cause: string;
}

export interface SealerOptions {
  /** Opens the log; called again after each failure, with what is known of it by then. */
  readonly openWriter: (resume: Resume | undefined) => LogWriter;
  readonly now: () => number;
  /** How far apart groups begin: what comes sooner shares a record and an fsync, what was gathered before waits no more. */
  readonly groupCommitMs: number;
  /** How long a durable record waits for a signature at most. */
  readonly checkpointMs: number;
  readonly heartbeatMs: number;
  /** Bytes of requests that may wait while the log can not be written; past it they are lost, and answered so. */
  readonly pendingByteLengthMax: number;
  /** False while an outside store could not be compared with (invariant 4): sealed, but not signed. */
  readonly maySign: () => boolean;
  /** There are `size` durable records; `signed` tells whether all of them are under a checkpoint now. */
  readonly onDurable: (size: number, signed: boolean) => void;
  readonly onReport: (report: SealerReport) => void;
}

/** Entries of one request that go into one record together. */
interface Part extends Group {
  readonly kind: SealRequest['kind'];
  readonly source: RecordSource;
  readonly settle: (outcome: SealOutcome) => void;
}

const REOPEN_DELAY_MS_MIN = 500;
const REOPEN_DELAY_MS_MAX = 30_000;
/** Gaps that wait for a log to be written to; further ones are added to the last. */
const GAP_COUNT_MAX = 256;
/** Kinds of refusals, by source and cause, told apart between two heartbeats; further ones are counted together. */
const REFUSAL_COUNT_MAX = 256;

const NO_COUNTERS: WriterCounters = {
  started: 0,
  ended: 0,
  sealed: 0,
  lost: 0,
  highest: 0,
  open: '',
};

export class Sealer {
  readonly #options: SealerOptions;
  #writer: LogWriter | undefined;
  #waiting: Part[] = [];
  #waitingByteLength = 0;
  readonly #gaps: GapEvent[] = [];
  readonly #refusals = new Map<string, RefusedEvent>();
  /** What is to be sealed of the packages; empty where there is nothing new. */
  #coverage: readonly CoverageEvent[] = [];
  #counters: WriterCounters = NO_COUNTERS;
  #groupTimer: NodeJS.Timeout | undefined;
  #groupBeganMs = Number.NEGATIVE_INFINITY;
  #checkpointTimer: NodeJS.Timeout | undefined;
  #heartbeatTimer: NodeJS.Timeout | undefined;
  #reopenTimer: NodeJS.Timeout | undefined;
  #reopenDelayMs = REOPEN_DELAY_MS_MIN;
  /** Of the writer before, when it failed. */
  #lastHead: Head;
  /** An append that failed, and what to do once the log tells whether it is on disk all the same. */
  #uncertain:
    | { readonly record: RecordInDoubt; readonly settle: (isDurable: boolean) => void }
    | undefined;
  #isClosed = false;

  /** @throws what `openWriter` throws: a service is not to start on a log that can not be written */
  constructor(options: SealerOptions) {
    this.#options = options;
    this.#writer = options.openWriter(undefined);
    this.#lastHead = this.#writer.head;
    this.#durable();
    this.#scheduleHeartbeat();
  }

  /** Durable records. */
  get size(): number {
    return this.#writer?.size ?? 0;
  }

  /** First record index of the segment being written. */
  get currentSegment(): number {
    return this.#writer?.currentSegment ?? 0;
  }

  /** Bytes of requests that wait. */
  get pendingByteLength(): number {
    return this.#waitingByteLength;
  }

  /** Takes a request; answers through its `done`. Never throws. */
  submit(request: SealRequest): void {
    const refusal = this.#take(request);
    if (refusal !== undefined) request.done(refusal);
    else if (this.#options.groupCommitMs === 0) this.flush();
    else this.#gather();
  }

  /** Seals what waits once a group may begin; never in this turn, so that all that arrived during an fsync comes along. */
  #gather(): void {
    if (this.#groupTimer !== undefined) return;
    const dueMs = this.#groupBeganMs + this.#options.groupCommitMs;
    this.#groupTimer = setTimeout(() => this.flush(), Math.max(0, dueMs - performance.now()));
  }

  /** Cuts a request up and lets it wait; or says why not. */
  #take({ bytes, kind, source, done }: SealRequest): SealOutcome | undefined {
    if (this.#isClosed) return { status: 'lost', cause: 'the log is closed' };
    if (this.#waitingByteLength + bytes.length > this.#options.pendingByteLengthMax) {
      return { status: 'lost', cause: 'the log can not be written and memory is full' };
    }
    let entries: Uint8Array[];
    try {
      entries = splitRequest(bytes, kind);
    } catch (error) {
      if (!(error instanceof LogError)) throw error;
      const refused = { code: error.code, sha256: sha256(bytes) };
      return { status: 'lost', cause: error.message, refused };
    }
    if (entries.length === 0) return { status: 'lost', cause: 'no span in the request' };
    const groups = groupsOf(entries);
    let unsettled = groups.length;
    let first: SealOutcome | undefined;
    let failure: SealOutcome | undefined;
    const settle = (outcome: SealOutcome): void => {
      first ??= outcome;
      if (outcome.status === 'lost') failure ??= outcome;
      if (--unsettled > 0) return;
      done(failure ?? first);
      // Else the garbage collector is called for them, on threads that the application may need.
      freeParts(entries);
    };
    for (const group of groups) {
      this.#waiting.push({ kind, source, ...group, settle });
      this.#waitingByteLength += group.byteLength;
    }
    return undefined;
  }

  /**
   * Seals that an archive took a segment, that a legal hold was placed or released, or that a call is about to start;
   * durable when this returns.
   * @throws Error where the log can not be written now: whoever asks, asks again; of a call, its journal tells
   */
  sealNow(event: ReceiptEvent | HoldEvent | IntentEvent): void {
    if (this.#writer === undefined || this.#isClosed) throw new Error('the log can not be written');
    try {
      this.#writer.appendControl([event]);
    } catch (error) {
      this.#fail(error);
      throw error;
    }
    this.#durable();
  }

  /** Declares spans lost; sealed as a gap with the next record. */
  declareGap(lost: Omit<GapEvent, 'name'>): void {
    if (this.#isClosed) return;
    const gap: GapEvent = { name: 'gap', ...lost, cause: controlText(lost.cause) };
    const last = this.#gaps.at(-1);
    const joins = last?.cause === gap.cause && last.last > 0 && last.last + 1 === gap.first;
    if (last !== undefined && (joins || this.#gaps.length >= GAP_COUNT_MAX)) {
      this.#gaps[this.#gaps.length - 1] = {
        ...last,
        count: last.count + gap.count,
        last: joins ? gap.last : 0,
        first: joins ? last.first : 0,
        to: gap.to,
        cause: last.cause === gap.cause ? gap.cause : 'several',
      };
    } else {
      this.#gaps.push(gap);
    }
    this.#gather();
  }

  /** Seals with the next record which packages are covered; none where nothing has changed. */
  tellCoverage(events: readonly CoverageEvent[]): void {
    if (this.#isClosed || events.length === 0) return;
    this.#coverage = events;
    this.#gather();
  }

  /** Seals all that waits, finishes the segment so that it can be archived, and signs. Never throws. */
  finishSegment(): void {
    this.flush();
    const writer = this.#writer;
    if (writer === undefined || this.#isClosed) return;
    try {
      writer.finishSegment();
      // A segment is finished once its successor's first frame is durable.
      this.#beat(writer);
      this.#durable();
      this.#sign();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Counts requests that were refused for good; sealed with the next heartbeat, or before the end (invariant 11). */
  countRefused(refused: Omit<RefusedEvent, 'name'>): void {
    const hex = refused.principal === undefined ? '-' : encodeHex(refused.principal);
    let key = `${refused.source} ${hex} ${refused.cause}`;
    let event: RefusedEvent = { name: 'refused', ...refused };
    if (!this.#refusals.has(key) && this.#refusals.size >= REFUSAL_COUNT_MAX) {
      key = 'several';
      event = { name: 'refused', count: refused.count, cause: 'several', source: refused.source };
    }
    const before = this.#refusals.get(key);
    // The first body's digest stays; Map.set keeps the order of arrival.
    this.#refusals.set(key, { ...event, ...before, count: event.count + (before?.count ?? 0) });
  }

  /** Newest numbers of the capture, for the next heartbeat. */
  count(counters: WriterCounters): void {
    this.#counters = counters;
  }

  /** Seals all that waits, now. */
  flush(): void {
    clearTimeout(this.#groupTimer);
    this.#groupTimer = undefined;
    const writer = this.#writer;
    if (writer === undefined || this.#isClosed) return;
    this.#groupBeganMs = performance.now();
    try {
      while (this.#waiting.length > 0) this.#sealGroup(writer);
      if (this.#gaps.length > 0) this.#sealGaps(writer);
      if (this.#coverage.length > 0) this.#sealCoverage(writer);
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * Seals all that waits, the calls that still run, and `closed`; signs, and gives the log back. True where all of
   * that is durable; what is not is answered as lost.
   */
  close(interrupted: readonly InterruptedEvent[] = []): boolean {
    if (this.#isClosed) return true;
    this.flush();
    // One more try for a log that was away: at the end of a process there is no later.
    if (this.#writer === undefined) this.#reopen();
    this.#isClosed = true;
    for (const timer of [
      this.#groupTimer,
      this.#checkpointTimer,
      this.#heartbeatTimer,
      this.#reopenTimer,
    ]) {
      clearTimeout(timer);
    }
    let isDurable = false;
    if (this.#writer !== undefined) {
      try {
        this.#writer.appendControl([
          ...this.#refusals.values(),
          ...interrupted,
          { name: 'closed', ...this.#counters },
        ]);
        if (this.#options.maySign()) this.#writer.checkpoint();
        isDurable = true;
        this.#options.onDurable(this.#writer.size, this.#options.maySign());
      } catch (error) {
        this.#options.onReport({ code: 'down', cause: causeOf(error) });
      }
      this.#writer.close();
    }
    this.#waitingByteLength = 0;
    for (const { settle } of this.#waiting.splice(0)) {
      settle({ status: 'lost', cause: 'the log could not be written before the end' });
    }
    return isDurable;
  }

  /** One record of one source, as many parts as fit. */
  #sealGroup(writer: LogWriter): void {
    const first = this.#waiting[0]!;
    const group: Part[] = [];
    let entryCount = 0;
    let byteLength = 0;
    for (const part of this.#waiting) {
      const fits = fitsRecord(entryCount + part.entries.length, byteLength + part.byteLength);
      const isAlike = part.kind === first.kind && equalSources(part.source, first.source);
      if (group.length > 0 && !(fits && isAlike)) break;
      group.push(part);
      entryCount += part.entries.length;
      byteLength += part.byteLength;
    }
    const entries = group.flatMap((part) => part.entries);
    const index = writer.size;
    this.#attempt(
      writer,
      () => writer.append(first.kind, first.source, entries),
      (isDurable) => {
        if (isDurable) this.#answer(group.length, index, writer.origin);
      },
    );
  }

  #sealGaps(writer: LogWriter): void {
    const gaps = this.#gaps.splice(0);
    this.#attempt(
      writer,
      () => writer.appendControl(gaps),
      (isDurable) => {
        if (!isDurable) this.#gaps.unshift(...gaps);
      },
    );
  }

  #sealCoverage(writer: LogWriter): void {
    const events = this.#coverage;
    this.#coverage = [];
    this.#attempt(
      writer,
      () => writer.appendControl(events),
      (isDurable) => {
        // What was told since is the whole answer, and newer.
        if (!isDurable && this.#coverage.length === 0) this.#coverage = events;
      },
    );
  }

  /** Appends, and settles: now, or after a failure once it is known whether the record reached the disk. */
  #attempt(writer: LogWriter, append: () => void, settle: (isDurable: boolean) => void): void {
    try {
      append();
    } catch (error) {
      if (writer.attempted === undefined) settle(false);
      else this.#uncertain = { record: writer.attempted, settle };
      throw error;
    }
    settle(true);
    this.#durable();
  }

  /** Tells the first `count` waiting parts that they are durable in record `index`. */
  #answer(count: number, index: number, origin: string): void {
    let firstEntry = 0;
    for (const { entries, byteLength, settle } of this.#waiting.splice(0, count)) {
      this.#waitingByteLength -= byteLength;
      settle({ status: 'sealed', origin, recordIndex: index, firstEntry });
      firstEntry += entries.length;
    }
  }

  /** Seals a heartbeat, and the refusals since the last. */
  #beat(writer: LogWriter): void {
    writer.appendControl([{ name: 'heartbeat', ...this.#counters }, ...this.#refusals.values()]);
    // Only now: an append that failed may be on disk all the same, and refusals counted twice are better than none.
    this.#refusals.clear();
  }

  #durable(): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    this.#options.onDurable(writer.size, false);
    this.#checkpointTimer ??= setTimeout(() => this.#sign(), this.#options.checkpointMs);
  }

  #sign(): void {
    clearTimeout(this.#checkpointTimer);
    this.#checkpointTimer = undefined;
    if (this.#writer === undefined) return;
    if (!this.#options.maySign()) {
      this.#checkpointTimer = setTimeout(() => this.#sign(), this.#options.checkpointMs);
      return;
    }
    try {
      this.#writer.checkpoint();
      this.#options.onDurable(this.#writer.size, true);
    } catch (error) {
      this.#fail(error);
    }
  }

  #scheduleHeartbeat(): void {
    this.#heartbeatTimer = setTimeout(() => {
      this.#scheduleHeartbeat();
      if (this.#writer === undefined) return;
      try {
        this.#beat(this.#writer);
        this.#durable();
      } catch (error) {
        this.#fail(error);
      }
    }, this.#options.heartbeatMs);
  }

  /** The disk failed: nothing is retried on the open file (invariant 1). Close, and open again later. */
  #fail(error: unknown): void {
    this.#options.onReport({ code: 'down', cause: causeOf(error) });
    if (this.#writer !== undefined) {
      this.#lastHead = this.#writer.head;
      this.#writer.close();
      this.#writer = undefined;
    }
    if (this.#isClosed) return;
    clearTimeout(this.#reopenTimer);
    this.#reopenTimer = setTimeout(() => this.#reopen(), this.#reopenDelayMs);
    this.#reopenDelayMs = Math.min(REOPEN_DELAY_MS_MAX, this.#reopenDelayMs * 2);
  }

  #reopen(): void {
    let writer: LogWriter;
    try {
      writer = this.#options.openWriter({
        head: this.#lastHead,
        continues: this.#counters.highest,
        inDoubt: this.#uncertain?.record,
      });
    } catch (error) {
      if (error instanceof DamagedLogError) {
        this.#options.onReport({ code: 'refused', cause: causeOf(error) });
      }
      this.#fail(error);
      return;
    }
    this.#writer = writer;
    this.#reopenDelayMs = REOPEN_DELAY_MS_MIN;
    const uncertain = this.#uncertain;
    this.#uncertain = undefined;
    // The append that failed may have reached the disk; then it is sealed, and not to be sealed twice.
    uncertain?.settle(writer.holdsInDoubt);
    this.#options.onReport({ code: 'up', cause: '' });
    this.#durable();
    this.flush();
  }
}
