// SPDX-License-Identifier: Apache-2.0
/**
 * Runs one target in a thread of its own, so that what never ends can be ended and what eats all memory dies alone. Each
 * input comes from its number and the seed, so that any one can be made again without those before it.
 */
import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { randomOf } from '../support/random.ts';
import { mutate } from './mutator.ts';
import type { Target } from './targets.ts';

export const INPUT_BYTE_LENGTH_MAX: number = 16 * 1024;
/** Memory that a target may hold between two looks, above what the thread has to begin with. */
export const MEMORY_BYTE_LENGTH_MAX: number = 256 * 1024 * 1024;
/** Inputs between two looks at the memory. */
const BATCH_COUNT = 64;
const FOUND_COUNT_MAX = 10;
/** No progress for so long is a hang, on a machine that has other things to do as well. */
const HANG_MS = 30_000;
const LOOK_MS = 250;

export interface FuzzTask {
  readonly target: string;
  readonly seed: number;
  readonly from: number;
  readonly count: number;
  /** One Int32: the number of the input under way. */
  readonly progress: SharedArrayBuffer;
}

/** What was wrong with an input. */
export interface Found {
  readonly target: string;
  readonly seed: number;
  readonly run: number;
  readonly problem: string;
  /** Base64. */
  readonly input: string;
}

export interface FuzzResult {
  readonly target: string;
  readonly runs: number;
  readonly found: readonly Found[];
  /** Inputs that the target took, and did not refuse. */
  readonly accepted: number;
  readonly slowestMs: number;
  /** Most that was held above the start, as seen between batches. */
  readonly memoryByteLength: number;
}

/** The input of one run. */
export function inputOf(
  { name, corpus, dictionary }: Target,
  seed: number,
  run: number,
): Uint8Array {
  const key = createHash('sha256').update(`${name} ${seed} ${run}`).digest();
  const random = randomOf(key.readUInt32LE(0));
  return mutate(random, { corpus, dictionary, byteLengthMax: INPUT_BYTE_LENGTH_MAX });
}

function heldByteLength(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Runs inputs `from` to `from + count - 1` of a target in this thread; gives up where it found ten. */
export async function runInputs(
  target: Target,
  seed: number,
  from: number,
  count: number,
  onRun: (run: number) => void = () => {},
): Promise<FuzzResult> {
  const found: Found[] = [];
  let accepted = 0;
  let slowestMs = 0;
  let memoryByteLength = 0;
  const heldAtFirst = heldByteLength();
  let run = from;
  for (; run < from + count && found.length < FOUND_COUNT_MAX; run++) {
    onRun(run);
    const input = inputOf(target, seed, run);
    const report = (problem: string): void => {
      const base64 = Buffer.from(input).toString('base64');
      found.push({ target: target.name, seed, run, problem, input: base64 });
    };
    const startMs = performance.now();
    try {
      const given = target.run(input);
      const byteLength = typeof given === 'number' ? given : await given;
      if (byteLength > 0) accepted++;
      if (byteLength > target.outputByteLengthMax(input.length)) {
        report(`gives out ${byteLength} bytes for ${input.length}`);
      }
    } catch (error) {
      report(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    slowestMs = Math.max(slowestMs, performance.now() - startMs);
    if ((run - from) % BATCH_COUNT === BATCH_COUNT - 1) {
      const held = heldByteLength() - heldAtFirst;
      memoryByteLength = Math.max(memoryByteLength, held);
      if (held > MEMORY_BYTE_LENGTH_MAX) report(`holds ${held} bytes after a batch`);
    }
  }
  return { target: target.name, runs: run - from, found, accepted, slowestMs, memoryByteLength };
}

/** The same in a thread of its own; resolves once they are through or the thread was ended. */
export async function fuzz(
  target: Target,
  seed: number,
  from: number,
  count: number,
): Promise<FuzzResult> {
  const progress = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const number = new Int32Array(progress);
  const task: FuzzTask = { target: target.name, seed, from, count, progress };
  const worker = new Worker(new URL('./fuzz-thread.ts', import.meta.url), {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: MEMORY_BYTE_LENGTH_MAX / 1024 / 1024 },
  });
  const foundAt = (run: number, problem: string): Found => ({
    target: target.name,
    seed,
    run,
    problem,
    input: Buffer.from(inputOf(target, seed, run)).toString('base64'),
  });
  const died = (problem: string): FuzzResult => ({
    target: target.name,
    runs: number[0]! - from,
    found: [foundAt(number[0]!, problem)],
    accepted: 0,
    slowestMs: 0,
    memoryByteLength: 0,
  });
  return new Promise((resolve) => {
    let last = -1;
    let lastMs = performance.now();
    const timer = setInterval(() => {
      const nowMs = performance.now();
      const run = number[0]!;
      if (run !== last) {
        last = run;
        lastMs = nowMs;
      } else if (nowMs - lastMs > HANG_MS) {
        end(died(`hangs for more than ${HANG_MS} ms`));
      }
    }, LOOK_MS);
    const end = (result: FuzzResult): void => {
      clearInterval(timer);
      resolve(result);
      void worker.terminate();
    };
    worker.once('message', end);
    worker.once('error', (error) => end(died(`ends the thread: ${error}`)));
  });
}
