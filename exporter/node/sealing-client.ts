// SPDX-License-Identifier: Apache-2.0
/**
 * The event loop's side of the sealing thread: starts it, hands requests over without copying, and settles each
 * exactly once. Opening either succeeds before it returns or fails with what to do about it. What a lost answer means
 * for its span, the caller knows.
 */
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from 'node:worker_threads';
import type { GapEvent, InterruptedEvent, RefusedEvent, WriterCounters } from '../log/control.ts';
import { type RecordSource, WRITER_SOURCE } from '../log/header.ts';
import { causeOf, type OtlpKind } from './otlp-config.ts';
import type { SealOutcome } from './pending.ts';
import {
  type ConsumerStatus,
  type FromSealer,
  type SealingConfig,
  type SealingState,
  type SealingStatus,
  SLOT_ANSWERED,
  SLOT_COUNT,
  SLOT_STATE,
  STATE_OPEN,
  STATE_STARTING,
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

export class SealingClient {
  /** Of the open log. */
  readonly state: SealingState;
  readonly #slots: Int32Array;
  readonly #port: MessagePort;
  readonly #worker: Worker;
  readonly #onReport: (code: string, message: string) => void;
  readonly #waiting = new Map<number, (outcome: SealOutcome) => void>();
  readonly #flushes = new Map<number, (status: ConsumerStatus) => void>();
  readonly #questions = new Map<number, (status: SealingStatus | undefined) => void>();
  #lastId = 0;
  #isClosed = false;

  /**
   * Blocks until the log is open: a service must not run on unaudited because nobody waited for the answer.
   * @throws StartError
   */
  constructor(config: SealingConfig, onReport: (code: string, message: string) => void) {
    this.#onReport = onReport;
    const shared = new SharedArrayBuffer(SLOT_COUNT * Int32Array.BYTES_PER_ELEMENT);
    this.#slots = new Int32Array(shared);
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    // Beside this file under its own ending: sources run as they are, the package as JavaScript.
    const file = import.meta.url.endsWith('.ts') ? './sealing-thread.ts' : './sealing-thread.js';
    this.#worker = new Worker(new URL(file, import.meta.url), {
      workerData: { config, port: port2, slots: shared },
      transferList: [port2],
      // No hooks, no --import: a sealing thread that audited itself would never end.
      execArgv: [],
      env: { ...process.env, NODE_OPTIONS: '' },
      name: 'sealspan',
    });
    this.#worker.on('error', (error) => this.#fail(causeOf(error)));
    this.#worker.on('exit', () => this.#fail('the sealing thread ended'));
    this.state = this.#awaitStart(config.dir);
    this.#port.on('message', (message: FromSealer) => this.#hear(message));
    this.#worker.unref();
    this.#keepAlive();
  }

  /** True once the log is given back or the thread is gone: nothing is sealed any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Hands over one request for good; resolves when it is durable or lost, never rejects. */
  submit(
    bytes: Uint8Array<ArrayBuffer>,
    provenance: Provenance,
    counters?: WriterCounters,
  ): Promise<SealOutcome> {
    if (this.#isClosed) return Promise.resolve({ status: 'lost', cause: 'the log is closed' });
    const id = ++this.#lastId;
    const outcome = new Promise<SealOutcome>((resolve) => this.#waiting.set(id, resolve));
    this.#keepAlive();
    this.#tell({ type: 'request', id, bytes, ...provenance, counters }, [bytes.buffer]);
    return outcome;
  }

  /** Blocks until all that was submitted is answered, or ten seconds are over: for `sync` mode. */
  awaitAnswers(): void {
    const deadlineMs = performance.now() + SYNC_DELAY_MS_MAX;
    while (!this.#isClosed) {
      const answered = Atomics.load(this.#slots, SLOT_ANSWERED);
      const leftMs = deadlineMs - performance.now();
      // Ids wrap in the shared slot as 32-bit integers do; their difference does not.
      if (((this.#lastId - answered) | 0) <= 0 || leftMs <= 0) break;
      Atomics.wait(this.#slots, SLOT_ANSWERED, answered, leftMs);
    }
    this.#hearAll();
  }

  /** Declares spans lost, to be sealed as a gap. */
  declareGap(gap: Omit<GapEvent, 'name'>): void {
    if (!this.#isClosed) this.#tell({ type: 'gap', gap });
  }

  /** Counts requests that were refused for good, to be sealed with the next heartbeat. */
  countRefused(refused: Omit<RefusedEvent, 'name'>): void {
    if (!this.#isClosed) this.#tell({ type: 'refused', refused });
  }

  /** How far the log and its consumers are; undefined once it is closed. */
  status(): Promise<SealingStatus | undefined> {
    if (this.#isClosed) return Promise.resolve(undefined);
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      this.#questions.set(id, resolve);
      this.#keepAlive();
      this.#tell({ type: 'status', id });
    });
  }

  /** Seals all that waits and finishes the segment; resolves when backend and archive have it, or the deadline is over. */
  flush(deadlineMs: number, counters: WriterCounters): Promise<ConsumerStatus> {
    if (this.#isClosed) return Promise.resolve({ forward: undefined, archive: undefined });
    const id = ++this.#lastId;
    const flushed = new Promise<ConsumerStatus>((resolve) => this.#flushes.set(id, resolve));
    this.#keepAlive();
    this.#tell({ type: 'flush', id, deadlineMs, counters });
    return flushed;
  }

  /** Seals what was submitted, the calls that still run and `closed`, signs, gives the log back; blocks until then. */
  closeSync(counters: WriterCounters, interrupted: readonly InterruptedEvent[] = []): void {
    if (this.#isClosed) return;
    this.#tell({ type: 'close', counters, interrupted });
    Atomics.wait(this.#slots, SLOT_STATE, STATE_OPEN, CLOSE_DELAY_MS_MAX);
    this.#hearAll();
    this.#isClosed = true;
    this.#settleAll('the log is closed');
  }

  #awaitStart(dir: string): SealingState {
    Atomics.wait(this.#slots, SLOT_STATE, STATE_STARTING, START_DELAY_MS_MAX);
    for (;;) {
      const message = receiveMessageOnPort(this.#port)?.message as FromSealer | undefined;
      if (message?.type === 'open') return message.state;
      if (message?.type === 'failed') this.#abandon(message.code, message.message);
      if (message === undefined)
        this.#abandon('io', `${dir} did not open in ${START_DELAY_MS_MAX} ms`);
      this.#hear(message);
    }
  }

  #abandon(code: StartFailure, message: string): never {
    this.#isClosed = true;
    this.#port.close();
    void this.#worker.terminate();
    throw new StartError(code, message);
  }

  #hearAll(): void {
    for (
      let next = receiveMessageOnPort(this.#port);
      next;
      next = receiveMessageOnPort(this.#port)
    ) {
      this.#hear(next.message as FromSealer);
    }
  }

  #hear(message: FromSealer): void {
    if (message.type === 'outcome') {
      this.#waiting.get(message.id)?.(message.outcome);
      this.#waiting.delete(message.id);
      this.#keepAlive();
    } else if (message.type === 'flushed') {
      this.#flushes.get(message.id)?.(message.status);
      this.#flushes.delete(message.id);
      this.#keepAlive();
    } else if (message.type === 'status') {
      this.#questions.get(message.id)?.(message.status);
      this.#questions.delete(message.id);
      this.#keepAlive();
    } else if (message.type === 'report') {
      this.#report(message.code, message.message);
    }
  }

  #report(code: string, message: string): void {
    try {
      this.#onReport(code, message);
    } catch {
      // A listener's own failure is no reason to lose a span.
    }
  }

  /** A process that has nothing else to do stays for answers that are due, and for nothing else. */
  #keepAlive(): void {
    if (this.#waiting.size + this.#flushes.size + this.#questions.size > 0) this.#port.ref();
    else this.#port.unref();
  }

  #tell(message: ToSealer, transfer: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  /** The thread is gone: nobody may wait for ever, and no span may pass for sealed. */
  #fail(cause: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#report('thread.down', cause);
    this.#settleAll(cause);
  }

  #settleAll(cause: string): void {
    for (const resolve of this.#waiting.values()) resolve({ status: 'lost', cause });
    this.#waiting.clear();
    for (const resolve of this.#flushes.values())
      resolve({ forward: undefined, archive: undefined });
    this.#flushes.clear();
    for (const resolve of this.#questions.values()) resolve(undefined);
    this.#questions.clear();
    this.#port.unref();
  }
}
