// SPDX-License-Identifier: Apache-2.0
/**
 * The application's side of the sealing thread: starts it, hands requests over without copying, and settles each
 * exactly once. Opening either succeeds before it returns or fails with what to do about it. What a lost answer means
 * for its span, the caller knows.
 */
import { randomUUID } from 'node:crypto';
import {
  BroadcastChannel,
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from 'node:worker_threads';
import type { GapEvent, IntentEvent, RefusedEvent, WriterCounters } from '../../log/control.ts';
import { type RecordSource, WRITER_SOURCE } from '../../log/header.ts';
import type { SealOutcome } from '../capture/pending.ts';
import type { OtlpKind } from '../otlp/otlp-config.ts';
import { causeOf } from '../system/cause.ts';
import { TIMER_MS_MAX } from '../system/pacer.ts';
import {
  type ConsumerStatus,
  type CoverageState,
  type Ending,
  type FromSealer,
  type LobbyMessage,
  type Meeting,
  type SealingConfig,
  type SealingState,
  type SealingStatus,
  SLOT_ANSWERED,
  SLOT_COUNT,
  SLOT_STATE,
  STATE_OPEN,
  type StartFailure,
  type ToSealer,
} from './protocol.ts';

/** Sealing could not start. `message` says what to do about it. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly code: StartFailure;
  constructor(code: StartFailure, message: string) {
    super(message);
    this.code = code;
  }
}

/** Who handed a request over, and what it is. */
export interface Provenance {
  readonly kind: OtlpKind;
  readonly source: RecordSource;
}

/** Spans of this very process. */
export const IN_PROCESS: Provenance = { kind: 'traces', source: WRITER_SOURCE };

const START_DELAY_MS_MAX = 30_000;
const CLOSE_DELAY_MS_MAX = 10_000;
const SYNC_DELAY_MS_MAX = 10_000;
/** What the end of a process may take for a disk that is known to be away. */
const AWAY_DELAY_MS_MAX = 5_000;
/** How long a process that has nothing else to do stays for a log that answers nothing. */
const STALL_DELAY_MS_MAX = 10_000;
/** How much later than its deadline a flush may be answered: a sealing thread that a disk holds up answers nothing. */
const FLUSH_GRACE_MS = 1_000;
const CLOSED = 'the log is closed';
const NO_CONSUMERS: ConsumerStatus = { forward: undefined, archive: undefined };
/**
 * What the sealing thread makes is garbage a moment later, most of it in buffers outside of the heap, and V8 lets those grow
 * to a multiple of this: by its default, 48, to tens of megabytes, for no CPU that could be measured.
 */
const YOUNG_GENERATION_MEBIBYTES = 12;

/** The way to the sealing thread, from whichever thread. */
export interface Link {
  send(message: ToSealer, transfer: ArrayBuffer[]): void;
  /** The next message that has arrived and that nobody has heard; for those who block. */
  take(): FromSealer | undefined;
  ref(): void;
  unref(): void;
}

/** One end of the way to the sealing thread: each request is settled exactly once, whatever becomes of the other end. */
export abstract class SealingPeer {
  protected readonly slots: Int32Array;
  readonly #link: Link;
  readonly #onReport: (code: string, message: string) => void;
  readonly #waiting = new Map<number, (outcome: SealOutcome) => void>();
  /** Somebody has blocked for an answer in vain, and nothing was sealed since. */
  #isAway = false;
  #isStalled = false;
  #stallTimer: NodeJS.Timeout | undefined;
  readonly #flushes = new Map<number, (status: ConsumerStatus) => void>();
  readonly #questions = new Map<number, (status: SealingStatus | undefined) => void>();
  #lastId = 0;
  #isClosed = false;
  #sealedCount = 0;

  constructor(link: Link, slots: Int32Array, onReport: (code: string, message: string) => void) {
    this.#link = link;
    this.slots = slots;
    this.#onReport = onReport;
  }

  /** True once the log is given back or the thread is gone: nothing is sealed any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** How long of `delayMs` it is worth to wait at the end: a disk that was waited for in vain already gets less. */
  patienceMs(delayMs: number): number {
    return this.#isAway || this.#isStalled ? Math.min(delayMs, AWAY_DELAY_MS_MAX) : delayMs;
  }

  /** Items of requests whose answer was heard and says sealed; known before their promises tell. */
  get sealedCount(): number {
    return this.#sealedCount;
  }

  /** Hands over one request of `itemCount` for good; resolves when it is durable or lost, never rejects. */
  submit(
    bytes: Uint8Array<ArrayBuffer>,
    provenance: Provenance,
    counters?: WriterCounters,
    itemCount = 0,
  ): Promise<SealOutcome> {
    if (this.#isClosed) return Promise.resolve({ status: 'lost', cause: CLOSED });
    const id = ++this.#lastId;
    const outcome = new Promise<SealOutcome>((resolve) =>
      this.#waiting.set(id, (outcome) => {
        if (outcome.status === 'sealed') this.#sealedCount += itemCount;
        resolve(outcome);
      }),
    );
    this.#keepAlive();
    this.tell({ type: 'request', id, bytes, ...provenance, counters }, [bytes.buffer]);
    return outcome;
  }

  /** Seals that a call is about to start; durable, or known not to be, once the answers were awaited. */
  sealIntent(intent: IntentEvent): void {
    if (this.#isClosed) return;
    const id = ++this.#lastId;
    this.#waiting.set(id, () => {});
    this.tell({ type: 'intent', id, intent });
  }

  /**
   * Blocks until all that was submitted is answered, or ten seconds are over: for `sync` mode. Ten seconds once for a disk
   * that is away, and not for each span that ends meanwhile: an event loop that always waits hears no signal.
   */
  awaitAnswers(): void {
    const deadlineMs = performance.now() + (this.#isAway ? 0 : SYNC_DELAY_MS_MAX);
    while (!this.#isClosed) {
      // Read before the messages are: an answer that comes between the two ends the wait at once.
      const answered = Atomics.load(this.slots, SLOT_ANSWERED);
      this.hearAll();
      const leftMs = deadlineMs - performance.now();
      if (this.#waiting.size === 0) break;
      if (leftMs <= 0) {
        this.#isAway = true;
        break;
      }
      Atomics.wait(this.slots, SLOT_ANSWERED, answered, leftMs);
    }
  }

  /** Declares spans lost, to be sealed as a gap. */
  declareGap(gap: Omit<GapEvent, 'name'>): void {
    if (!this.#isClosed) this.tell({ type: 'gap', gap });
  }

  /** Tells all that is known of the packages by now; sealed if it differs from what was told before. */
  tellCoverage(rows: readonly CoverageState[]): void {
    if (!this.#isClosed) this.tell({ type: 'coverage', rows });
  }

  /** Tells that a thread of the application, which may have joined, has ended. */
  tellGone(member: number): void {
    if (!this.#isClosed) this.tell({ type: 'gone', member });
  }

  /** Counts requests that were refused for good, to be sealed with the next heartbeat. */
  countRefused(refused: Omit<RefusedEvent, 'name'>): void {
    if (!this.#isClosed) this.tell({ type: 'refused', refused });
  }

  /** How far the log and its consumers are; undefined once it is closed. */
  status(): Promise<SealingStatus | undefined> {
    if (this.#isClosed) return Promise.resolve(undefined);
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      this.#questions.set(id, resolve);
      this.#keepAlive();
      this.tell({ type: 'status', id });
    });
  }

  /** Seals all that waits and finishes the segment; resolves when backend and archive have it, or the deadline is over. */
  flush(
    deadlineMs: number,
    counters: WriterCounters,
    unansweredMs: number = deadlineMs,
  ): Promise<ConsumerStatus> {
    if (this.#isClosed) return Promise.resolve(NO_CONSUMERS);
    const id = ++this.#lastId;
    const flushed = new Promise<ConsumerStatus>((resolve) => this.#flushes.set(id, resolve));
    const giveUp = (): void => this.#flushed(id, NO_CONSUMERS);
    const timer = setTimeout(giveUp, Math.min(deadlineMs + FLUSH_GRACE_MS, TIMER_MS_MAX));
    this.#keepAlive();
    this.tell({ type: 'flush', id, deadlineMs, unansweredMs, counters });
    return flushed.finally(() => clearTimeout(timer));
  }

  /** Ends this end of it for good, with all that was submitted on its way. */
  abstract closeSync(ending: Ending): void;

  /** Waits for the log to be open. */
  protected awaitOpen(what: string): SealingState {
    const deadlineMs = performance.now() + START_DELAY_MS_MAX;
    for (;;) {
      const answered = Atomics.load(this.slots, SLOT_ANSWERED);
      const message = this.#link.take();
      const leftMs = deadlineMs - performance.now();
      if (message?.type === 'open') return message.state;
      if (message?.type === 'failed') throw new StartError(message.code, message.message);
      if (message !== undefined) this.hear(message);
      else if (leftMs > 0) Atomics.wait(this.slots, SLOT_ANSWERED, answered, leftMs);
      else throw new StartError('io', `${what} did not open in ${START_DELAY_MS_MAX} ms`);
    }
  }

  protected hearAll(): void {
    // What is heard may be that the log is closed, and then the link is, too.
    while (!this.#isClosed) {
      const next = this.#link.take();
      if (next === undefined) break;
      this.hear(next);
    }
  }

  protected hear(message: FromSealer): void {
    if (message.type === 'outcome') {
      if (message.outcome.status === 'sealed') this.#isAway = false;
      this.#waiting.get(message.id)?.(message.outcome);
      this.#waiting.delete(message.id);
      this.#progress();
    } else if (message.type === 'flushed') {
      this.#flushed(message.id, message.status);
    } else if (message.type === 'status') {
      this.#questions.get(message.id)?.(message.status);
      this.#questions.delete(message.id);
      this.#keepAlive();
    } else if (message.type === 'report') {
      // Whoever waits for a disk waits for ever: a process that has nothing else to do may end.
      if (message.code === 'log.down') this.#stall();
      this.report(message.code, message.message);
    } else if (message.type === 'drain') {
      this.drain();
    } else if (message.type === 'closed') {
      this.end(CLOSED);
    }
  }

  #flushed(id: number, status: ConsumerStatus): void {
    this.#flushes.get(id)?.(status);
    this.#flushes.delete(id);
    this.#keepAlive();
  }

  /** Sends all that this thread has, since the log is about to be closed. */
  protected drain(): void {}

  protected report(code: string, message: string): void {
    try {
      this.#onReport(code, message);
    } catch {
      // A listener's own failure is no reason to lose a span.
    }
  }

  /** There was an answer, so that others are worth waiting for. */
  #progress(): void {
    clearTimeout(this.#stallTimer);
    this.#stallTimer = undefined;
    this.#isStalled = false;
    this.#keepAlive();
  }

  #stall(): void {
    clearTimeout(this.#stallTimer);
    this.#stallTimer = undefined;
    this.#isStalled = true;
    this.#keepAlive();
  }

  /** A process that has nothing else to do stays for answers that are due and can be expected, and for nothing else. */
  #keepAlive(): void {
    if (this.#isClosed) return;
    const isWaiting = this.#waiting.size > 0 && !this.#isStalled;
    if (isWaiting) {
      this.#stallTimer ??= setTimeout(() => this.#stall(), STALL_DELAY_MS_MAX).unref();
    }
    if (isWaiting || this.#flushes.size + this.#questions.size > 0) this.#link.ref();
    else this.#link.unref();
  }

  protected tell(message: ToSealer, transfer: ArrayBuffer[] = []): void {
    this.#link.send(message, transfer);
  }

  /** The other end is gone: nobody may wait for ever, and no span may pass for sealed. */
  protected end(cause: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#stallTimer);
    for (const resolve of this.#waiting.values()) resolve({ status: 'lost', cause });
    this.#waiting.clear();
    for (const resolve of this.#flushes.values()) resolve(NO_CONSUMERS);
    this.#flushes.clear();
    for (const resolve of this.#questions.values()) resolve(undefined);
    this.#questions.clear();
    this.#link.unref();
  }
}

/** The end that has the sealing thread for its own, and the log with it. */
export class SealingClient extends SealingPeer {
  /** Of the open log. */
  readonly state: SealingState;
  /** How other threads of this process find the sealing thread. */
  readonly meeting: Meeting;
  readonly #worker: Worker;
  readonly #exit: Promise<void>;

  /**
   * Blocks until the log is open: a service must not run on unaudited because nobody waited for the answer.
   * @throws StartError
   */
  constructor(config: SealingConfig, onReport: (code: string, message: string) => void) {
    const slots = new SharedArrayBuffer(SLOT_COUNT * Int32Array.BYTES_PER_ELEMENT);
    const numbers = new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT);
    const { port1, port2 } = new MessageChannel();
    super(linkOf(port1), new Int32Array(slots), onReport);
    this.meeting = { lobby: `sealspan/${randomUUID()}`, slots, numbers };
    // Beside this file under its own ending: sources run as they are, the package as JavaScript.
    const file = import.meta.url.endsWith('.ts') ? './sealing-thread.ts' : './sealing-thread.js';
    this.#worker = new Worker(new URL(file, import.meta.url), {
      workerData: { config, port: port2, meeting: this.meeting },
      transferList: [port2],
      // No hooks, no --import: a sealing thread that audited itself would never end.
      execArgv: [],
      env: { ...process.env, NODE_OPTIONS: '' },
      name: 'sealspan',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MEBIBYTES },
    });
    this.#worker.on('error', (error) => this.#fail(causeOf(error)));
    this.#exit = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#fail('the sealing thread ended');
        resolve();
      });
    });
    try {
      this.state = this.awaitOpen(config.dir);
    } catch (error) {
      this.end('the log did not open');
      port1.close();
      void this.#worker.terminate();
      throw error;
    }
    port1.on('message', (message: FromSealer) => this.hear(message));
    this.#worker.unref();
    port1.unref();
  }

  /** Seals what was submitted, the calls that still run and `closed`, signs, gives the log back; blocks until then. */
  override closeSync(ending: Ending): void {
    if (this.isClosed) return;
    this.tell({ type: 'close', ...ending });
    Atomics.wait(this.slots, SLOT_STATE, STATE_OPEN, this.patienceMs(CLOSE_DELAY_MS_MAX));
    this.hearAll();
    this.end(CLOSED);
  }

  /** Resolves once the sealing thread has archived the end of the closed log, or the deadline is over. */
  async ended(deadlineMs: number): Promise<void> {
    // A log that could not even be closed has no end that is archived.
    if (Atomics.load(this.slots, SLOT_STATE) === STATE_OPEN) return;
    this.#worker.ref();
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, Math.min(deadlineMs, TIMER_MS_MAX));
    });
    await Promise.race([this.#exit, deadline]);
    clearTimeout(timer);
    this.#worker.unref();
  }

  #fail(cause: string): void {
    if (this.isClosed) return;
    this.report('thread.down', cause);
    this.end(cause);
    const lobby = new BroadcastChannel(this.meeting.lobby);
    const down: LobbyMessage = { type: 'down', cause };
    lobby.postMessage(down);
    lobby.close();
  }
}

function linkOf(port: MessagePort): Link {
  return {
    send: (message, transfer) => port.postMessage(message, transfer),
    take: () => receiveMessageOnPort(port)?.message as FromSealer | undefined,
    ref: () => port.ref(),
    unref: () => port.unref(),
  };
}
