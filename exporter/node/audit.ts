// SPDX-License-Identifier: Apache-2.0
/**
 * The audit of one process, or of one of its threads: capture on the event loop, sealing on a thread of its own, and what
 * joins the two.
 * Opening it either succeeds before it returns or fails with what to do about it; after that nothing of it throws.
 */
import { threadId } from 'node:worker_threads';
import { ATTR_GEN_AI_REQUEST_MODEL } from '../../semconv/index.ts';
import type { InterruptedEvent, WriterCounters } from '../log/control.ts';
import { type Capture, type CaptureStats, createCapture, type Intent } from './capture/capture.ts';
import { type Config, ConfigError, type ConfigInput, readConfig } from './config/config.ts';
import type { LiveSpanLike } from './otlp/sdk-shapes.ts';
import { JoinedSealing, offeredSealing, offerSealing } from './sealing/handover.ts';
import { interruptedEvent } from './sealing/interrupted.ts';
import { boundedOpen } from './sealing/members.ts';
import type {
  ConsumerStatus,
  CoverageState,
  Ending,
  Meeting,
  SealingConfig,
  SealingState,
} from './sealing/protocol.ts';
import { IN_PROCESS, SealingClient, StartError } from './sealing/sealing-client.ts';
import { beginJournal, IntentJournal, type IntentRecord } from './storage/intents.ts';
import { causeOf } from './system/cause.ts';
import { nodeFiles } from './system/files.ts';
import { TIMER_MS_MAX } from './system/pacer.ts';

export interface AuditHooks {
  /** May set attributes on a governed span that just started; what it throws is counted, never passed on. */
  readonly onGovernedStart?: (span: LiveSpanLike) => void;
  /** All that is known of the packages that calls are made through; asked for when told of a change, and at the end. */
  readonly coverage?: () => readonly CoverageState[];
  /** What a person should know of sealing, forwarding and archiving: `code` and words. */
  readonly onReport?: (code: string, message: string) => void;
}

/** How far everything is. */
export interface AuditStatus extends ConsumerStatus {
  readonly capture: CaptureStats;
}

export interface Audit extends SealingState {
  readonly config: Config;
  readonly capture: Capture;
  /** Says that {@link AuditHooks.coverage} may have another answer than before. */
  noteCoverage(): void;
  /** Seals what has ended, finishes the segment, and waits for backend and archive until `deadlineMs` (10 s) from now. */
  flush(deadlineMs?: number): Promise<AuditStatus>;
  /** The same for a process with nothing else to do, which a backend that never answered must not keep for long. */
  flushAtEnd(): Promise<AuditStatus>;
  /** Flushes, seals `closed`, signs, and gives the log back. Waits five seconds for a disk that is known to be away. */
  shutdown(deadlineMs?: number): Promise<AuditStatus>;
  /** The same without backend and archive, blocking the thread: for `process.on('exit')`. */
  closeSync(): void;
}

const FLUSH_DELAY_MS = 10_000;
/** What a backend that has answered nothing may take of a process that has nothing else to do. */
const UNANSWERED_DELAY_MS = 2_000;

/**
 * Opens the audit of this process: takes a log directory, recovers or begins its log, and returns once it is open.
 * @throws ConfigError for a configuration that can not be
 * @throws StartError where the log can not be written, with the fix
 */
export function openAudit(input: ConfigInput = {}, hooks: AuditHooks = {}): Audit {
  return openAuditWith(readConfig(process.env, input), hooks);
}

/** {@link openAudit} for a configuration that was read already. */
export function openAuditWith(config: Config, hooks: AuditHooks = {}): Audit {
  if (config.mode === 'remote') {
    throw new ConfigError('mode: found "remote", which has no log; call openRemote');
  }
  const onReport = hooks.onReport ?? (() => {});
  const sealing = new SealingClient(sealingConfig(config), onReport);
  const { meeting } = sealing;
  const withdraw = offerSealing(meeting, config, (member) => sealing.tellGone(member));
  return audit(config, sealing, meeting, hooks, withdraw);
}

/**
 * The audit of a worker thread whose main thread has one: sealed into the same log, numbered with the same numbers.
 * Undefined in a main thread, and where the thread that started this one has no audit.
 * @throws StartError where the sealing thread does not answer
 */
export function joinAudit(hooks: AuditHooks = {}): Audit | undefined {
  const offer = offeredSealing();
  if (offer === undefined) return undefined;
  const sealing = new JoinedSealing(offer, hooks.onReport ?? (() => {}));
  return audit(offer.config, sealing, offer.meeting, hooks, () => {});
}

function audit(
  config: Config,
  sealing: SealingClient | JoinedSealing,
  meeting: Meeting,
  hooks: AuditHooks,
  onClosed: () => void,
): Audit {
  const isSync = config.mode === 'sync';
  const numbers = new BigInt64Array(meeting.numbers);
  const calls = openCalls(sealing, isSync, onClosed);
  const capture = createCapture({
    submit: (chunk) => {
      const outcome = sealing.submit(chunk.bytes, IN_PROCESS, countersOf(capture), chunk.spanCount);
      if (isSync) sealing.awaitAnswers();
      return outcome;
    },
    forwarding: config.forwarding,
    sync: isSync,
    gatherDelayMs: config.groupCommitMs,
    nextSequence: () => Number(Atomics.add(numbers, 0, 1n)) + 1,
    onIntent: (intent) => {
      const call = calls.start(intent);
      if (!isSync) return;
      // Before the call is made: a journal that is deleted after a kill then hides nothing.
      sealing.sealIntent({ ...interruptedEvent(call), name: 'intent' });
      sealing.awaitAnswers();
    },
    onSettled: (sequence, recordIndex) => calls.settle(sequence, recordIndex),
    onLost: ({ count, firstSequence, lastSequence, cause }) => {
      const now = new Date().toISOString();
      sealing.declareGap({
        count,
        first: firstSequence,
        last: lastSequence,
        from: now,
        to: now,
        cause,
      });
    },
    ...(hooks.onGovernedStart === undefined ? {} : { onGovernedStart: hooks.onGovernedStart }),
  });
  const flush = async (
    deadlineMs = sealing.patienceMs(FLUSH_DELAY_MS),
    unansweredMs = deadlineMs,
  ): Promise<AuditStatus> => {
    const leftMs = await within(deadlineMs, capture.flush());
    const consumers = await sealing.flush(leftMs, countersOf(capture), unansweredMs);
    return { ...consumers, capture: capture.stats() };
  };
  const tell = (code: string, message: string): void => {
    try {
      hooks.onReport?.(code, message);
    } catch {
      // A listener's own failure is no reason not to end.
    }
  };
  let hasToldUnsealed = false;
  const tellUnsealed = (): void => {
    // Of a thread that has joined, the sealing thread goes on with what it sent.
    if (hasToldUnsealed || !(sealing instanceof SealingClient)) return;
    hasToldUnsealed = true;
    const count = capture.stats().ended - sealing.sealedCount;
    if (count === 0) return;
    const what = count === 1 ? 'span that ended is' : 'spans that ended are';
    tell('log.unsealed', `${count} ${what} NOT sealed in ${sealing.state.logDirectory}`);
  };
  const noteCoverage = (): void => {
    let rows: readonly CoverageState[] = [];
    try {
      rows = hooks.coverage?.() ?? [];
    } catch {
      // What can not be told of the packages must not cost the end of the log.
    }
    if (rows.length > 0) sealing.tellCoverage(rows);
  };
  /** Hands over all that has ended, and tells what has not. */
  const drain = (): Ending => {
    noteCoverage();
    capture.drainSync();
    return { counters: countersOf(capture), interrupted: calls.end(capture.stats().openRanges) };
  };
  if (sealing instanceof JoinedSealing) sealing.onDrain(drain);
  const closeSync = (): void => {
    sealing.closeSync(drain());
    tellUnsealed();
    process.removeListener('exit', closeSync);
    onClosed();
  };
  // The last moment: what is still in memory is sealed, and the log closed, before the process is gone.
  process.once('exit', closeSync);
  return {
    ...sealing.state,
    config,
    capture,
    noteCoverage,
    flush: (deadlineMs) => flush(deadlineMs),
    flushAtEnd: () => flush(undefined, UNANSWERED_DELAY_MS),
    shutdown: async (deadlineMs) => {
      // Takes no more from here on; the flush waits for what it took.
      void capture.shutdown();
      const status = await flush(deadlineMs);
      closeSync();
      if (sealing instanceof SealingClient) await sealing.ended(deadlineMs ?? FLUSH_DELAY_MS);
      return status;
    },
    closeSync,
  };
}

/** Waits for `work`, but not beyond the deadline; gives what is left of it. */
async function within(deadlineMs: number, work: Promise<void>): Promise<number> {
  const beganMs = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.min(deadlineMs, TIMER_MS_MAX));
  });
  await Promise.race([work, deadline]);
  clearTimeout(timer);
  return Math.max(0, deadlineMs - (performance.now() - beganMs));
}

/** Calls that still run when a process ends in order are told one by one, up to here; the rest as ranges of numbers. */
const INTERRUPTED_COUNT_MAX = 4096;

/** @throws StartError where the journal can not be written: calls that nobody could tell of must not be made */
function openCalls(
  sealing: SealingClient | JoinedSealing,
  isSync: boolean,
  onClosed: () => void,
): RunningCalls {
  try {
    return new RunningCalls(sealing.state, isSync);
  } catch (error) {
    sealing.closeSync({ counters: NO_COUNTERS, interrupted: [] });
    onClosed();
    const { logDirectory } = sealing.state;
    throw new StartError('io', `${logDirectory}: no journal of calls (${causeOf(error)})`);
  }
}

const NO_COUNTERS: WriterCounters = {
  started: 0,
  ended: 0,
  sealed: 0,
  lost: 0,
  highest: 0,
  open: '',
};

/** Calls that started and are not settled: in the journal for a process that is killed, in the log at an end in order. */
class RunningCalls {
  readonly #journal: IntentJournal;
  readonly #running = new Map<number, IntentRecord>();
  #newestRecord: number;

  constructor({ logDirectory, run }: SealingState, isSync: boolean) {
    this.#newestRecord = run;
    // The sealing thread began that of the main thread, before the run itself began.
    if (threadId !== 0) beginJournal(nodeFiles, logDirectory, run, threadId);
    this.#journal = new IntentJournal({
      files: nodeFiles,
      dir: logDirectory,
      run,
      thread: threadId,
      isSync,
      newestRecord: () => this.#newestRecord,
      unsettled: () => this.#running.values(),
    });
  }

  start({ sequence, traceId, spanId, startTime, attributes }: Intent): IntentRecord {
    const model = attributes[ATTR_GEN_AI_REQUEST_MODEL];
    const startedMs = startTime[0] * 1000 + Math.trunc(startTime[1] / 1e6);
    const intent: IntentRecord = {
      sequence,
      traceId,
      spanId,
      // A time that no event can spell must not keep the end of this process from being sealed.
      startedMs: Number.isSafeInteger(startedMs) && startedMs > 0 ? startedMs : 0,
      model: typeof model === 'string' ? model : '',
    };
    this.#running.set(sequence, intent);
    // Now, and not once for a turn of the loop: a model that computes in this very turn may be what kills the process.
    this.#journal.write(intent);
    return intent;
  }

  settle(sequence: number, recordIndex: number | undefined): void {
    this.#running.delete(sequence);
    if (recordIndex !== undefined && recordIndex > this.#newestRecord) {
      this.#newestRecord = recordIndex;
    }
  }

  /** @param open numbers that still run, since of what was handed over the answer may be on its way */
  end(open: CaptureStats['openRanges']): InterruptedEvent[] {
    this.#journal.close();
    const events: InterruptedEvent[] = [];
    for (const [first, last] of open) {
      for (let sequence = first; sequence <= last; sequence++) {
        const intent = this.#running.get(sequence);
        if (intent !== undefined) events.push(interruptedEvent(intent));
        if (events.length === INTERRUPTED_COUNT_MAX) return events;
      }
    }
    return events;
  }
}

/** The numbers of a capture as heartbeats state them. */
function countersOf(capture: Capture): WriterCounters {
  const { started, ended, sealed, lost, highestSequence, openRanges } = capture.stats();
  const open = openRanges
    .map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`))
    .join(',');
  return { started, ended, sealed, lost, highest: highestSequence, open: boundedOpen(open) };
}

/** What the sealing thread needs of a configuration. */
export function sealingConfig(config: Config): SealingConfig {
  return {
    dir: config.dir,
    instance: config.instance,
    originBase: config.originBase,
    originIsChosen: config.originIsChosen,
    keyPem: config.keyPem,
    numbers: true,
    configurationHash: config.hash,
    groupCommitMs: config.mode === 'sync' ? 0 : config.groupCommitMs,
    checkpointMs: config.checkpointMs,
    heartbeatMs: config.heartbeatMs,
    forwardMs: config.forwardMs,
    segmentByteLengthMax: config.segment.byteLengthMax,
    segmentAgeMsMax: config.segment.ageMsMax,
    pendingByteLengthMax: config.pendingByteLengthMax,
    backend: config.backend,
    archiveDirectory: config.archiveDirectory,
    archiveS3: config.archiveS3,
    localDays: config.retention.localDays,
  };
}
