// SPDX-License-Identifier: Apache-2.0
/**
 * The audit of one process: capture on the event loop, sealing on a thread of its own, and what joins the two.
 * Opening it either succeeds before it returns or fails with what to do about it; after that nothing of it throws.
 */
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from 'node:worker_threads';
import type { WriterCounters } from '../log/control.ts';
import type { ArchiveStatus } from './archiver.ts';
import { type Capture, type CaptureStats, createCapture } from './capture.ts';
import { type Config, type ConfigInput, readConfig } from './config.ts';
import type { ForwardStatus } from './forward.ts';
import { causeOf } from './otlp-config.ts';
import type { Chunk, Loss, SealOutcome } from './pending.ts';
import {
  type FromSealer,
  type SealingConfig,
  type SealingState,
  SLOT_ANSWERED,
  SLOT_COUNT,
  SLOT_STATE,
  STATE_FAILED,
  STATE_OPEN,
  STATE_STARTING,
  type StartFailure,
  type ToSealer,
} from './protocol.ts';
import type { LiveSpanLike } from './sdk-shapes.ts';

/** Sealing could not start. `message` says what to do about it. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly code: StartFailure;
  constructor(code: StartFailure, message: string) {
    super(message);
    this.code = code;
  }
}

export interface AuditHooks {
  /** May set attributes on a governed span that just started; what it throws is counted, never passed on. */
  readonly onGovernedStart?: (span: LiveSpanLike) => void;
  /** What a person should know of sealing, forwarding and archiving: `code` and words. */
  readonly onReport?: (code: string, message: string) => void;
}

/** How far everything is. */
export interface AuditStatus {
  readonly capture: CaptureStats;
  readonly forward: ForwardStatus | undefined;
  readonly archive: ArchiveStatus | undefined;
}

export interface Audit extends SealingState {
  readonly config: Config;
  readonly capture: Capture;
  /** Seals what has ended, finishes the segment, and waits for backend and archive until `deadlineMs` from now. */
  flush(deadlineMs?: number): Promise<AuditStatus>;
  /** Flushes, seals `closed`, signs, and gives the log back. */
  shutdown(deadlineMs?: number): Promise<AuditStatus>;
  /** The same without backend and archive, blocking the thread: for `process.on('exit')`. */
  closeSync(): void;
}

const START_DELAY_MS_MAX = 30_000;
const CLOSE_DELAY_MS_MAX = 10_000;
const SYNC_DELAY_MS_MAX = 10_000;
const FLUSH_DELAY_MS = 10_000;

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
  const sealing = new SealingProcess(config, hooks);
  return sealing.audit();
}

class SealingProcess {
  readonly #config: Config;
  readonly #hooks: AuditHooks;
  readonly #slots: Int32Array;
  readonly #port: MessagePort;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, (outcome: SealOutcome) => void>();
  readonly #flushes = new Map<
    number,
    (message: Extract<FromSealer, { type: 'flushed' }>) => void
  >();
  readonly #state: SealingState;
  readonly #capture: Capture;
  #lastId = 0;
  #isClosed = false;

  constructor(config: Config, hooks: AuditHooks) {
    this.#config = config;
    this.#hooks = hooks;
    const shared = new SharedArrayBuffer(SLOT_COUNT * Int32Array.BYTES_PER_ELEMENT);
    this.#slots = new Int32Array(shared);
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    // Beside this file under its own ending: sources run as they are, the package as JavaScript.
    const file = import.meta.url.endsWith('.ts') ? './sealing-thread.ts' : './sealing-thread.js';
    this.#worker = new Worker(new URL(file, import.meta.url), {
      workerData: { config: sealingConfig(config), port: port2, slots: shared },
      transferList: [port2],
      // No hooks, no --import: a sealing thread that audited itself would never end.
      execArgv: [],
      env: { ...process.env, NODE_OPTIONS: '' },
      name: 'sealspan',
    });
    this.#worker.on('error', (error) => this.#fail(causeOf(error)));
    this.#worker.on('exit', () => this.#fail('the sealing thread ended'));
    this.#state = this.#awaitStart();
    this.#capture = createCapture({
      submit: (chunk) => this.#submit(chunk),
      forwarding: config.forwarding,
      onLost: (loss) => this.#declareLost(loss),
      ...(hooks.onGovernedStart === undefined ? {} : { onGovernedStart: hooks.onGovernedStart }),
      ...(config.mode === 'sync' ? { sync: true } : {}),
    });
    this.#port.on('message', (message: FromSealer) => this.#hear(message));
    this.#worker.unref();
    this.#keepAlive();
    // The last moment: what is still in memory is sealed, and the log closed, before the process is gone.
    process.once('exit', () => this.#closeSync());
  }

  /** A process that has nothing else to do stays for answers that are due, and for nothing else. */
  #keepAlive(): void {
    if (this.#waiting.size + this.#flushes.size > 0) this.#port.ref();
    else this.#port.unref();
  }

  /** Blocks until the log is open: a service must not run on unaudited because nobody waited for the answer. */
  #awaitStart(): SealingState {
    Atomics.wait(this.#slots, SLOT_STATE, STATE_STARTING, START_DELAY_MS_MAX);
    const state = Atomics.load(this.#slots, SLOT_STATE);
    for (
      let next = receiveMessageOnPort(this.#port);
      next;
      next = receiveMessageOnPort(this.#port)
    ) {
      const message = next.message as FromSealer;
      if (message.type === 'open' && state === STATE_OPEN) return message.state;
      if (message.type === 'failed') this.#abandon(message.code, message.message);
      this.#hear(message);
    }
    return this.#abandon(
      'io',
      state === STATE_FAILED
        ? 'the sealing thread failed'
        : `${this.#config.dir} did not open in ${START_DELAY_MS_MAX} ms`,
    );
  }

  #abandon(code: StartFailure, message: string): never {
    this.#isClosed = true;
    this.#port.close();
    void this.#worker.terminate();
    throw new StartError(code, message);
  }

  audit(): Audit {
    return {
      ...this.#state,
      config: this.#config,
      capture: this.#capture,
      flush: (deadlineMs) => this.#flush(deadlineMs ?? FLUSH_DELAY_MS),
      shutdown: async (deadlineMs) => {
        await this.#capture.shutdown();
        const status = await this.#flush(deadlineMs ?? FLUSH_DELAY_MS);
        this.#closeSync();
        return status;
      },
      closeSync: () => this.#closeSync(),
    };
  }

  #submit(chunk: Chunk): Promise<SealOutcome> {
    if (this.#isClosed) return Promise.resolve({ status: 'lost', cause: 'the audit is closed' });
    const id = ++this.#lastId;
    const outcome = new Promise<SealOutcome>((resolve) => this.#waiting.set(id, resolve));
    this.#keepAlive();
    this.#tell({ type: 'chunk', id, bytes: chunk.bytes, counters: this.#counters() }, [
      chunk.bytes.buffer,
    ]);
    if (this.#config.mode === 'sync') this.#awaitAnswer(id);
    return outcome;
  }

  /** `sync`: a span's end returns when its record is durable, or when ten seconds are over. */
  #awaitAnswer(id: number): void {
    const deadlineMs = performance.now() + SYNC_DELAY_MS_MAX;
    for (;;) {
      const answered = Atomics.load(this.#slots, SLOT_ANSWERED);
      const leftMs = deadlineMs - performance.now();
      if (answered >= id || leftMs <= 0) break;
      Atomics.wait(this.#slots, SLOT_ANSWERED, answered, leftMs);
    }
    this.#hearAll();
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
      this.#flushes.get(message.id)?.(message);
      this.#flushes.delete(message.id);
      this.#keepAlive();
    } else if (message.type === 'report') {
      this.#report(message.code, message.message);
    }
  }

  #report(code: string, message: string): void {
    try {
      this.#hooks.onReport?.(code, message);
    } catch {
      // A listener's own failure is no reason to lose a span.
    }
  }

  #declareLost({ count, firstSequence, lastSequence, cause }: Loss): void {
    const now = new Date().toISOString();
    this.#tell({
      type: 'gap',
      gap: { count, first: firstSequence, last: lastSequence, from: now, to: now, cause },
    });
  }

  #counters(): WriterCounters {
    const { started, ended, sealed, lost, highestSequence, openRanges } = this.#capture.stats();
    const open = openRanges.map(([first, last]) =>
      first === last ? `${first}` : `${first}-${last}`,
    );
    // Bounded as the event's text is; the rest is told by the numbers around it.
    return { started, ended, sealed, lost, highest: highestSequence, open: joinBounded(open) };
  }

  async #flush(deadlineMs: number): Promise<AuditStatus> {
    await this.#capture.flush();
    const { forward, archive } = await this.#flushSealer(deadlineMs);
    return { capture: this.#capture.stats(), forward, archive };
  }

  #flushSealer(deadlineMs: number): Promise<Pick<AuditStatus, 'forward' | 'archive'>> {
    if (this.#isClosed) return Promise.resolve({ forward: undefined, archive: undefined });
    const id = ++this.#lastId;
    const flushed = new Promise<Pick<AuditStatus, 'forward' | 'archive'>>((resolve) =>
      this.#flushes.set(id, resolve),
    );
    this.#keepAlive();
    this.#tell({ type: 'flush', id, deadlineMs, finishes: true, counters: this.#counters() });
    return flushed;
  }

  #closeSync(): void {
    if (this.#isClosed) return;
    this.#capture.drainSync();
    this.#tell({ type: 'close', counters: this.#counters() });
    this.#isClosed = true;
    Atomics.wait(this.#slots, SLOT_STATE, STATE_OPEN, CLOSE_DELAY_MS_MAX);
    this.#hearAll();
    this.#settleAll('the audit is closed');
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
    for (const [id, resolve] of this.#flushes) {
      resolve({ type: 'flushed', id, forward: undefined, archive: undefined });
    }
    this.#flushes.clear();
  }
}

const OPEN_TEXT_LENGTH_MAX = 1000;

function joinBounded(ranges: readonly string[]): string {
  const joined = ranges.join(',');
  if (joined.length <= OPEN_TEXT_LENGTH_MAX) return joined;
  return `${joined.slice(0, joined.lastIndexOf(',', OPEN_TEXT_LENGTH_MAX))},...`;
}

function sealingConfig(config: Config): SealingConfig {
  return {
    dir: config.dir,
    instance: config.instance,
    originBase: config.originBase,
    originIsChosen: config.originIsChosen,
    keyPem: config.keyPem,
    configurationHash: config.hash,
    groupCommitMs: config.mode === 'sync' ? 0 : config.groupCommitMs,
    checkpointMs: config.checkpointMs,
    heartbeatMs: config.heartbeatMs,
    segmentByteLengthMax: config.segment.byteLengthMax,
    segmentAgeMsMax: config.segment.ageMsMax,
    pendingByteLengthMax: config.pendingByteLengthMax,
    backend: config.backend,
    archiveDirectory: config.archiveDirectory,
  };
}
