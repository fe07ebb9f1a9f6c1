// SPDX-License-Identifier: Apache-2.0
/**
 * Forwards the durable log to one OTLP backend: in order, each record at least once, for as long as it takes.
 * Proves nothing to anybody: what a backend refuses for good is reported and passed by, it stays in the log.
 */
import type { SendOutcome } from '../otlp/otlp-answer.ts';
import type { OtlpClient } from '../otlp/otlp-client.ts';
import type { OtlpKind } from '../otlp/otlp-config.ts';
import { ProtoWriter } from '../otlp/proto-writer.ts';
import { writeReferenced } from '../otlp/references.ts';
import type { StoredRecord } from '../storage/record.ts';
import { causeOf } from '../system/cause.ts';
import { openPacer, type RetryDelays, TIMER_MS_MAX } from '../system/pacer.ts';
import type { Cursor } from './cursor.ts';

/**
 * What somebody should know. Of `rejected` items in records `firstRecord` to `lastRecord`:
 *
 * - `refused`: the backend will never take these; they were passed by.
 * - `partial`: the backend took the rest of the request. With 0 rejected it only has something to say.
 * - `held`: the backend refuses whatever we send (credentials, path). Nothing is passed by; it is tried again.
 * - `unreadable`: entries that are no OTLP were left out.
 * - `cursor`: the cursor could not be read or saved; records will be sent again.
 * - `log`: the log could not be read; it is tried again.
 * - `down`: the backend has not answered the first request of all, or not now; it is tried again. Told once.
 */
export interface ForwardReport {
  readonly code: 'refused' | 'partial' | 'held' | 'unreadable' | 'cursor' | 'log' | 'down';
  readonly firstRecord: number;
  readonly lastRecord: number;
  readonly rejected: number;
  readonly cause: string;
}

export interface ForwarderConfig {
  /** Yields the durable records from an index on, in order, and ends at the durable head (invariant 1). */
  readonly readRecords: (fromIndex: number) => AsyncIterable<StoredRecord>;
  /** Stays the caller's to close. */
  readonly client: Pick<OtlpClient, 'send'>;
  readonly cursor: Cursor;
  readonly origin: string;
  readonly onReport: (report: ForwardReport) => void;
  /** How long a record waits at most for others to share a request with; not at all unless given. */
  readonly gatherMs?: number;
  /** Bytes of records that wait, as far as is known: where they fill a request, it is not waited for more. */
  readonly waitingByteLength?: () => number;
  readonly retryDelays?: RetryDelays;
}

export interface ForwardStatus {
  readonly state: 'idle' | 'sending' | 'waiting' | 'closed';
  /** Index of the record to forward next. */
  readonly next: number;
  /** Durable records known of that are not forwarded. */
  readonly behindBy: number;
  /** Spans and log records since open: taken by the backend, refused by it, left out because not sampled. */
  readonly forwardedCount: number;
  readonly rejectedCount: number;
  readonly unsampledCount: number;
  /** Failures in a row, and the last one's cause, while `waiting`. */
  readonly failureCount: number;
  readonly cause: string | undefined;
}

export interface FlushOutcome {
  readonly status: 'ok' | 'pending';
  readonly behindBy: number;
}

export interface Forwarder {
  /** There are durable records up to `headIndex`, included. */
  notify(headIndex: number): void;
  /**
   * Forwards what is durable by now; `pending` if that takes longer than `deadlineMs` from now, or `unansweredMs` where
   * the backend has answered nothing until then. Never rejects.
   */
  flush(deadlineMs: number, unansweredMs?: number): Promise<FlushOutcome>;
  status(): ForwardStatus;
  /** Gives up on the request under way (it is sent again after the next open) and saves the cursor. */
  close(): Promise<void>;
}

/** Receivers take 4 MiB by default (gRPC), and a small request is soon repeated. */
const REQUEST_BYTE_LENGTH_MAX = 1024 * 1024;
const REQUEST_ITEM_COUNT_MAX = 4096;
/** Requests between two saves of the cursor while there is a backlog; so many are sent twice after a crash. */
const REQUESTS_PER_SAVE = 16;
const EMPTY_REQUEST = new Uint8Array(0);

/** More than that is not kept for a record that may never come again. */
const COPIES_BYTE_LENGTH_MAX = 16 * 1024 * 1024;

/** A record, or a piece of a large one, ready to be sent: where its copies are. */
interface Unit {
  readonly recordIndex: number;
  readonly start: number;
  readonly end: number;
  readonly itemCount: number;
}

/** Starts forwarding at once, from the cursor on. Call `close` to let the process end. */
export function openForwarder(config: ForwarderConfig): Forwarder {
  const { client, origin, gatherMs = 0, waitingByteLength = () => 0 } = config;
  const pacer = openPacer(config.retryDelays);
  const abort = new AbortController();
  let state: ForwardStatus['state'] = 'idle';
  let head = -1;
  let forwardedCount = 0;
  let rejectedCount = 0;
  let unsampledCount = 0;
  let failureCount = 0;
  let cause: string | undefined;
  /** The backend has taken or refused something since this was opened. */
  let isAnswered = false;
  let hasToldDown = false;

  const report = (
    code: ForwardReport['code'],
    firstRecord: number,
    lastRecord: number,
    rejected: number,
    text: string,
  ): void => {
    try {
      config.onReport({ code, firstRecord, lastRecord, rejected, cause: text });
    } catch {
      // A broken listener must not stop the log from being forwarded.
    }
  };

  const loaded = config.cursor.load();
  let next = Number.isSafeInteger(loaded) && loaded >= 0 ? loaded : 0;
  let saved = next;
  let requestsSinceSave = 0;
  /** What is to be sent, one behind the other: requests are cut out of it, not put together. */
  let copies = new ProtoWriter();
  /** Until something confirms it, the cursor may be from another life of this directory. */
  let isCursorConfirmed = next === 0;

  /** What the latest save failed of, so that a full disk is told once and not with every record. */
  let saveTrouble: string | undefined;

  const save = (): void => {
    requestsSinceSave = 0;
    if (saved === next) return;
    try {
      config.cursor.save(next);
      saved = next;
      saveTrouble = undefined;
    } catch (error) {
      const text = causeOf(error);
      if (text !== saveTrouble) report('cursor', next, next, 0, text);
      saveTrouble = text;
    }
  };

  const fail = async (text: string, askedMs?: number): Promise<void> => {
    state = 'waiting';
    failureCount++;
    cause = text;
    await pacer.pause(failureCount, askedMs);
    state = 'sending';
  };
  const recover = (): void => {
    failureCount = 0;
    cause = undefined;
  };

  const send = async (request: Uint8Array, kind: OtlpKind): Promise<SendOutcome> => {
    try {
      return await client.send(request, kind, abort.signal);
    } catch (error) {
      return { status: 'retryable', cause: causeOf(error) };
    }
  };

  /** Sends until there is an answer that stands; undefined if closed meanwhile. */
  const insist = async (
    units: readonly Unit[],
    kind: OtlpKind,
  ): Promise<Exclude<SendOutcome, { status: 'retryable' }> | undefined> => {
    const request = copies.buffer.subarray(units[0]!.start, units.at(-1)!.end);
    let heldCause: string | undefined;
    while (!abort.signal.aborted) {
      const outcome = await send(request, kind);
      if (abort.signal.aborted) break;
      if (outcome.status === 'retryable') {
        if (!isAnswered && !hasToldDown) {
          hasToldDown = true;
          report('down', units[0]!.recordIndex, units.at(-1)!.recordIndex, 0, outcome.cause);
        }
        await fail(outcome.cause, outcome.afterMs);
        continue;
      }
      isAnswered = true;
      if (outcome.status === 'refused' && outcome.suspect === 'endpoint') {
        // An expired token refuses everything. Passing by would empty the log into nowhere, so ask with a request that
        // nobody can object to: OTLP wants an empty one answered with success.
        const probe = await send(EMPTY_REQUEST, kind);
        if (abort.signal.aborted) break;
        if (probe.status === 'retryable' || probe.status === 'refused') {
          if (heldCause !== outcome.cause) {
            heldCause = outcome.cause;
            report('held', units[0]!.recordIndex, units.at(-1)!.recordIndex, 0, outcome.cause);
          }
          await fail(outcome.cause);
          continue;
        }
      }
      recover();
      return outcome;
    }
    return undefined;
  };

  /** Gets a request through; where it is refused, halves it, so that one bad record does not take others with it. */
  const deliver = async (units: readonly Unit[], kind: OtlpKind): Promise<void> => {
    const outcome = await insist(units, kind);
    if (outcome === undefined) return;
    const itemCount = units.reduce((sum, unit) => sum + unit.itemCount, 0);
    const first = units[0]!.recordIndex;
    const last = units.at(-1)!.recordIndex;
    if (outcome.status === 'ok') {
      forwardedCount += itemCount;
    } else if (outcome.status === 'partial') {
      // OTLP: never sent again. Nobody tells which items it were, so there would be nothing to send either.
      const rejected = Math.min(outcome.rejected, itemCount);
      forwardedCount += itemCount - rejected;
      rejectedCount += rejected;
      report('partial', first, last, rejected, outcome.message);
    } else if (units.length === 1) {
      rejectedCount += itemCount;
      report('refused', first, last, itemCount, outcome.cause);
    } else {
      const half = Math.ceil(units.length / 2);
      await deliver(units.slice(0, half), kind);
      if (!abort.signal.aborted) await deliver(units.slice(half), kind);
    }
  };

  /** One way through the log, from the cursor to the durable head. */
  const pass = async (): Promise<void> => {
    let units: Unit[] = [];
    let itemCount = 0;
    let kind: OtlpKind = 'traces';
    const began = next;
    /** Where the cursor is once `units` are delivered. A record that is sent in pieces moves it with its last piece. */
    let reached = began;

    const deliverAll = async (): Promise<void> => {
      if (units.length > 0) {
        await deliver(units, kind);
        if (abort.signal.aborted) return;
        units = [];
        itemCount = 0;
        requestsSinceSave++;
      }
      // A crash before the save sends these again: at least once (invariant 10).
      if (reached > began) next = reached;
      if (requestsSinceSave >= REQUESTS_PER_SAVE) save();
    };

    const addUnit = async (unit: Unit): Promise<void> => {
      const isFull =
        unit.end - (units[0]?.start ?? unit.start) > REQUEST_BYTE_LENGTH_MAX ||
        itemCount + unit.itemCount > REQUEST_ITEM_COUNT_MAX;
      if (units.length > 0 && isFull) await deliverAll();
      if (abort.signal.aborted) return;
      units.push(unit);
      itemCount += unit.itemCount;
    };

    /** Drops the copies that are delivered, so that those of the next record follow the ones that wait. */
    const forgetDelivered = (): void => {
      const from = units[0]?.start ?? copies.at;
      if (from === 0) return;
      if (units.length === 0 && copies.buffer.length > COPIES_BYTE_LENGTH_MAX) {
        copies = new ProtoWriter();
        return;
      }
      // Whatever was made of them is answered by now: no client reads these bytes again.
      copies.buffer.copyWithin(0, from, copies.at);
      copies.at -= from;
      units = units.map((unit) => ({ ...unit, start: unit.start - from, end: unit.end - from }));
    };

    let failure: unknown;
    try {
      for await (const record of config.readRecords(next)) {
        if (abort.signal.aborted) return;
        if (record.index < reached) continue;
        isCursorConfirmed = true;
        if (record.index > head) head = record.index;
        if (record.kind !== 'control') {
          if (record.kind !== kind) {
            await deliverAll();
            if (abort.signal.aborted) return;
            kind = record.kind;
          }
          forgetDelivered();
          const start = copies.at;
          const referenced = writeReferenced(copies, record.entries, {
            kind,
            source: record.source,
            origin,
            recordIndex: record.index,
            leaves: record.leaves,
          });
          unsampledCount += referenced.unsampledCount;
          if (referenced.unreadableCount > 0) {
            rejectedCount += referenced.unreadableCount;
            const { index } = record;
            report('unreadable', index, index, referenced.unreadableCount, 'not OTLP');
          }
          for (const unit of unitsOf(record.index, start, referenced.ends)) {
            await addUnit(unit);
            if (abort.signal.aborted) return;
          }
        }
        reached = record.index + 1;
      }
    } catch (error) {
      // What was read before the damage is sent all the same: it may be a long time until somebody repairs it.
      failure = error ?? new Error('reading failed');
    }
    await deliverAll();
    if (failure !== undefined) throw failure;
  };

  let passCount = 0;
  const flushes = new Set<{ readonly passNeeded: number; readonly settle: () => void }>();
  const behindBy = (): number => Math.max(0, head + 1 - next);
  const isFull = (): boolean => waitingByteLength() >= REQUEST_BYTE_LENGTH_MAX;

  const run = async (): Promise<void> => {
    while (!abort.signal.aborted) {
      passCount++;
      state = 'sending';
      try {
        await pass();
      } catch (error) {
        const text = causeOf(error);
        if (text !== cause) report('log', next, next, 0, text);
        await fail(text);
        continue;
      }
      if (abort.signal.aborted) break;
      recover();
      save();
      state = 'idle';
      for (const flush of [...flushes]) if (flush.passNeeded <= passCount) flush.settle();
      await pacer.idle();
      if (gatherMs > 0 && flushes.size === 0 && !isFull()) await pacer.linger(gatherMs);
    }
    save();
    state = 'closed';
  };
  const running = run();

  return {
    notify: (headIndex) => {
      if (headIndex > head) head = headIndex;
      if (!isCursorConfirmed && head >= 0) {
        isCursorConfirmed = true;
        if (next > head + 1) {
          // Nothing would ever be forwarded again. A log that is younger than its cursor was replaced or restored.
          report('cursor', next, next, 0, `the cursor is beyond the log, which ends at ${head}`);
          next = 0;
        }
      }
      pacer.notify();
      if (state === 'idle' && isFull()) pacer.hurry();
    },
    flush: (deadlineMs, unansweredMs = deadlineMs) =>
      new Promise((resolve) => {
        if (abort.signal.aborted) return resolve({ status: 'pending', behindBy: behindBy() });
        // The pass under way may have read the head before the last record was durable; the one after it can not.
        const passNeeded = passCount + 1;
        const settle = (status: FlushOutcome['status']): void => {
          clearTimeout(timer);
          clearTimeout(unansweredTimer);
          flushes.delete(flush);
          resolve({ status, behindBy: behindBy() });
        };
        const flush = { passNeeded, settle: () => settle(abort.signal.aborted ? 'pending' : 'ok') };
        const timer = setTimeout(() => settle('pending'), Math.min(deadlineMs, TIMER_MS_MAX));
        const unansweredTimer = setTimeout(
          () => {
            if (!isAnswered) settle('pending');
          },
          Math.min(unansweredMs, deadlineMs, TIMER_MS_MAX),
        );
        flushes.add(flush);
        pacer.notify();
        pacer.hurry();
      }),
    status: () => ({
      state,
      next,
      behindBy: behindBy(),
      forwardedCount,
      rejectedCount,
      unsampledCount,
      failureCount,
      cause,
    }),
    close: async () => {
      abort.abort();
      pacer.close();
      for (const flush of [...flushes]) flush.settle();
      await running;
    },
  };
}

/** Cuts the copies of one record into units that fit a request; a single copy that does not goes alone. */
function* unitsOf(recordIndex: number, from: number, ends: readonly number[]): Generator<Unit> {
  let [start, end, itemCount] = [from, from, 0];
  for (const next of ends) {
    const isFull = next - start > REQUEST_BYTE_LENGTH_MAX || itemCount === REQUEST_ITEM_COUNT_MAX;
    if (itemCount > 0 && isFull) {
      yield { recordIndex, start, end, itemCount };
      start = end;
      itemCount = 0;
    }
    end = next;
    itemCount++;
  }
  if (itemCount > 0) yield { recordIndex, start, end, itemCount };
}
