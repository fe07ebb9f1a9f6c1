// SPDX-License-Identifier: Apache-2.0
/**
 * Checks the records of a log on as many threads as there are to be had, ahead of the one who walks it. Each answer is that
 * of `tallyRecord` for the very bytes asked about, whoever gave it: a thread that dies, or can not start, leaves its records
 * to be checked here.
 */
import { Worker } from 'node:worker_threads';
import { LogError } from '../../log/errors.ts';
import type { RecordFault } from '../../log/record.ts';
import { type Frame, readFrames } from '../../log/segment.ts';
import type { NamedBytes } from '../../log/verify.ts';
import { type TalliedRecord, tallyRecord } from './tally.ts';

type Outcome = TalliedRecord | RecordFault;

/** To a thread: records one behind the other, as they stand in a segment. */
export interface ToChecker {
  readonly bytes: Uint8Array;
}

/** From it: an answer for each of them, without what who asked has already. */
export interface FromChecker {
  readonly answers: readonly (Omit<TalliedRecord, 'header'> | RecordFault)[];
}

export interface Checkers {
  /** As {@link tallyRecord}. */
  check(frame: Frame): Promise<Outcome>;
  /** Tells of a segment whose records will be asked for after those of the segments before it. */
  begin(segment: Uint8Array): void;
  /** Nobody asks for what was begun any more: another log comes. */
  forget(): void;
  close(): void;
}

/** A log that is checked in less time than threads take to start is checked without them. */
const THREADS_FROM_BYTE_LENGTH = 32 * 1024 * 1024;
/** What goes to a thread at once: enough that sending it costs nothing beside the checking. */
const BATCH_PAYLOAD_BYTE_LENGTH = 1024 * 1024;
const BATCH_COUNT = 64;
/** So that a thread finds the next batch when it is done with one. */
const BATCHES_PER_THREAD = 2;
/** Records of a thread that are checked, or about to be, and not asked for yet. */
const AHEAD_COUNT = 2 * BATCHES_PER_THREAD * BATCH_COUNT;

const nothing = (): void => {};
const HERE: Checkers = { check: tallyRecord, begin: nothing, forget: nothing, close: nothing };

/** How threads are started, and from how many bytes of payloads on. */
export interface CheckerOptions {
  readonly fromByteLength?: number;
  readonly startWorker?: () => Worker;
}

/** @param threadCount 1 checks each record here, when it is asked for */
export function openCheckers(threadCount: number, options: CheckerOptions = {}): Checkers {
  return threadCount > 1 ? new CheckerThreads(threadCount, options) : HERE;
}

function startWorker(): Worker {
  // Beside this file under its own ending: sources run as they are, the package as JavaScript.
  const file = import.meta.url.endsWith('.ts') ? './checking-thread.ts' : './checking-thread.js';
  return new Worker(new URL(file, import.meta.url), {
    // No hooks, no --import: what audits this process has no business there.
    execArgv: [],
    env: { ...process.env, NODE_OPTIONS: '' },
    // What a batch leaves behind is soon of no use: more room for it only means that it is cleared away later.
    resourceLimits: { maxYoungGenerationSizeMb: 16 },
    name: 'sealspan verify',
  });
}

/** Hands segments on; of each, the next one is read and begun meanwhile. Two are in memory at most. */
export async function* beginAhead(
  checkers: Checkers,
  segments: AsyncGenerator<NamedBytes, void, undefined>,
): AsyncGenerator<NamedBytes, void, undefined> {
  const read = async (): Promise<IteratorResult<NamedBytes, void>> => {
    const next = await segments.next();
    if (next.done !== true) checkers.begin(next.value.bytes);
    return next;
  };
  let coming = read();
  try {
    for (;;) {
      const { done, value } = await coming;
      if (done === true) return;
      coming = read();
      // Whoever asks for the next one hears of it.
      coming.catch(() => {});
      yield value;
    }
  } finally {
    // Where nobody asks for the next one, it must not begin later.
    await coming.catch(() => {});
    await segments.return();
  }
}

/**
 * Hands segments on that nobody else has. The memory of each is given back when the next one is asked for: all that was asked
 * of it is answered by then, and a collector that is left to find it comes late.
 */
export async function* giveBack(
  segments: AsyncGenerator<NamedBytes, void, undefined>,
): AsyncGenerator<NamedBytes, void, undefined> {
  for await (const segment of segments) {
    yield segment;
    if (segment.bytes.buffer instanceof ArrayBuffer) segment.bytes.buffer.transfer(0);
  }
}

interface Job {
  readonly frame: Frame;
  readonly outcome: Promise<Outcome>;
  readonly settle: (outcome: Outcome | Promise<Outcome>) => void;
}

interface Thread {
  readonly worker: Worker;
  /** What it has not answered yet, in order. */
  readonly batches: (readonly Job[])[];
}

class CheckerThreads implements Checkers {
  readonly #threadCount: number;
  readonly #fromByteLength: number;
  readonly #startWorker: () => Worker;
  /** Undefined until there is enough to do for them. */
  #threads: Thread[] | undefined;
  /** Of segments that were begun, what is not taken up yet. */
  #frames: Iterator<Frame>[] = [];
  /** Taken up and not asked for yet, in order. */
  #begun: Job[] = [];
  /** The last that was asked for. */
  #asked: Job | undefined;
  /** Taken up, and no thread has got them. */
  #waiting: Job[] = [];
  #metByteLength = 0;

  constructor(threadCount: number, options: CheckerOptions) {
    this.#threadCount = threadCount;
    this.#fromByteLength = options.fromByteLength ?? THREADS_FROM_BYTE_LENGTH;
    this.#startWorker = options.startWorker ?? startWorker;
  }

  begin(segment: Uint8Array): void {
    this.#frames.push(readFrames(segment));
    this.#takeUp();
  }

  check(frame: Frame): Promise<Outcome> {
    const [job] = this.#begun;
    if (job === undefined || !isSame(job.frame, frame)) return tallyRecord(frame);
    this.#begun.shift();
    this.#asked = job;
    this.#takeUp();
    return job.outcome;
  }

  forget(): void {
    this.#frames = [];
    this.#begun = [];
    this.#waiting = [];
  }

  close(): void {
    const threads = this.#threads ?? [];
    this.#threads = [];
    for (const { worker } of threads) void worker.terminate();
  }

  #takeUp(): void {
    while (this.#begun.length < this.#threadCount * AHEAD_COUNT) {
      const frame = this.#nextFrame();
      if (frame === undefined) break;
      this.#metByteLength += frame.header.payloadByteLength;
      if (this.#metByteLength < this.#fromByteLength) continue;
      this.#threads ??= this.#start();
      if (this.#threads.length === 0) continue;
      const job = jobOf(frame);
      this.#begun.push(job);
      this.#waiting.push(job);
    }
    for (const thread of this.#threads ?? []) {
      while (this.#waiting.length > 0 && thread.batches.length < BATCHES_PER_THREAD) {
        this.#send(thread);
      }
    }
  }

  #nextFrame(): Frame | undefined {
    for (;;) {
      const [frames] = this.#frames;
      if (frames === undefined) return undefined;
      try {
        const { done, value } = frames.next();
        if (done !== true) return value;
      } catch (error) {
        // The walk comes to it as well, and says what it is.
        if (!(error instanceof LogError)) throw error;
      }
      this.#frames.shift();
    }
  }

  #send(thread: Thread): void {
    const batch: Job[] = [];
    let payloadByteLength = 0;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const last = batch.at(-1);
      if (last !== undefined && !isBehind(next.frame, last.frame)) break;
      batch.push(next);
      this.#waiting.shift();
      payloadByteLength += next.frame.header.payloadByteLength;
      if (batch.length === BATCH_COUNT || payloadByteLength >= BATCH_PAYLOAD_BYTE_LENGTH) break;
    }
    thread.batches.push(batch);
    const { buffer, byteOffset } = batch[0]!.frame.headerBytes;
    const { byteOffset: last, length } = batch.at(-1)!.frame.stored;
    // A copy, which the thread then has alone: the segment is still walked here.
    const bytes = new Uint8Array(buffer.slice(byteOffset, last + length) as ArrayBuffer);
    thread.worker.postMessage({ bytes } satisfies ToChecker, [bytes.buffer]);
  }

  /** As many threads as can be had; none where none can. */
  #start(): Thread[] {
    const threads: Thread[] = [];
    try {
      while (threads.length < this.#threadCount) {
        const worker = this.#startWorker();
        const thread: Thread = { worker, batches: [] };
        const lose = () => this.#lose(thread);
        worker.on('error', lose).on('messageerror', lose).on('exit', lose);
        worker.on('message', (message: FromChecker) => this.#hear(thread, message));
        threads.push(thread);
      }
    } catch {
      // A system, or a policy, that allows no more of them.
    }
    return threads;
  }

  #hear(thread: Thread, { answers }: FromChecker): void {
    const batch = thread.batches[0] ?? [];
    if (answers.length !== batch.length) {
      this.#lose(thread);
      return;
    }
    thread.batches.shift();
    for (const [index, { frame, settle }] of batch.entries()) {
      const answer = answers[index]!;
      settle('code' in answer ? answer : { header: frame.header, ...answer });
    }
    this.#takeUp();
  }

  /** What a thread leaves undone is done here, when it is asked for: nothing passes for checked that was not. */
  #lose(thread: Thread): void {
    const threads = this.#threads ?? [];
    if (!threads.includes(thread)) return;
    this.#threads = threads.filter((other) => other !== thread);
    void thread.worker.terminate();
    const undone = new Set(thread.batches.flat());
    if (this.#threads.length === 0) for (const job of this.#waiting.splice(0)) undone.add(job);
    this.#begun = this.#begun.filter((job) => !undone.has(job));
    const asked = this.#asked;
    if (asked !== undefined && undone.has(asked)) asked.settle(tallyRecord(asked.frame));
    this.#takeUp();
  }
}

function jobOf(frame: Frame): Job {
  let settle: Job['settle'] = () => {};
  const outcome = new Promise<Outcome>((resolve) => {
    settle = resolve;
  });
  // Awaited in its turn; it may fail before that.
  outcome.catch(() => {});
  return { frame, outcome, settle };
}

/** Whether two frames are the same bytes: not equal ones. */
function isSame({ headerBytes: a }: Frame, { headerBytes: b }: Frame): boolean {
  return a.buffer === b.buffer && a.byteOffset === b.byteOffset;
}

/** Whether a record lies right behind another, in the same memory. */
function isBehind({ headerBytes }: Frame, { stored }: Frame): boolean {
  return (
    headerBytes.buffer === stored.buffer &&
    headerBytes.byteOffset === stored.byteOffset + stored.length
  );
}
