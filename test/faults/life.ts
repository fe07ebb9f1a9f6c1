// SPDX-License-Identifier: Apache-2.0
/**
 * One process that lives one life of an audited service after the other, each in a world of its own, as it is asked:
 * opens the audit, ends some spans, shuts down. Everything in it is the real service; only its calls to the file system
 * are not its own. What becomes of the log, others judge.
 */
import { once } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import * as threads from 'node:worker_threads';
import { AlwaysOnSampler, TracerProvider } from '@opentelemetry/sdk-trace';
import { replaceCalls } from './faulty-calls.ts';
import { enter, tell, type World } from './faulty-node.ts';

export interface LifeTask {
  readonly world: World;
  /** What the names of its spans begin with. */
  readonly life: string;
  /** Spans end in so many rounds, and each round waits for the one before to be answered. */
  readonly roundCount: number;
  readonly stayMs: number;
  /** For backend and archive, at the end. */
  readonly shutdownMs: number;
  readonly backend: string;
  readonly mode: 'group' | 'sync';
}

const SPANS_PER_ROUND = 3;
const ANSWER_DELAY_MS_MAX = 20_000;

let world: World | undefined;
const workers: threads.Worker[] = [];

/** Every thread that is started for sealing is the one whose calls are replaced. */
class FaultyWorker extends threads.Worker {
  constructor(file: string | URL, options: threads.WorkerOptions) {
    // Both are bundled, and lie beside each other.
    super(new URL('./faulty-thread.js', import.meta.url), {
      ...options,
      workerData: { ...(options.workerData as object), world },
    });
    workers.push(this);
    if (!String(file).includes('/sealing-thread.')) throw new Error(`what thread is ${file}?`);
  }
}

process.getBuiltinModule('node:worker_threads').Worker = FaultyWorker as typeof threads.Worker;
syncBuiltinESMExports();
replaceCalls();
const { openAuditWith } = await import('../../exporter/node/audit.ts');
const { readConfig } = await import('../../exporter/node/config/config.ts');

async function live({
  world: next,
  life,
  roundCount,
  stayMs,
  shutdownMs,
  backend,
  mode,
}: LifeTask): Promise<void> {
  world = next;
  enter(next);
  const config = readConfig(
    {},
    {
      dir: `${next.root}/log`,
      instance: '0',
      origin: 'faults',
      mode,
      archive: { directory: `${next.root}/archive` },
      backend: { endpoint: backend },
      // What is archived leaves the log, where a life is long enough for it.
      retention: { localDays: 0 },
      groupCommitMs: 1,
      checkpointMs: 5,
      heartbeatMs: 300,
      segment: { byteLengthMax: 4096, ageMsMax: 10_000 },
    },
  );
  const audit = openAuditWith(config, {
    onReport: (code, message) => tell({ tell: 'report', code, message }),
  });
  tell({ tell: 'opened' });
  const provider = new TracerProvider({
    spanProcessors: audit.capture.wrapProcessors([]),
    sampler: audit.capture.sampler(new AlwaysOnSampler()),
  });
  const tracer = provider.getTracer('app');
  let number = 0;
  for (let round = 0; round < roundCount; round++) {
    const answers: Promise<void>[] = [];
    for (let count = 0; count < SPANS_PER_ROUND; count++) {
      const name = `${life} ${number++}`;
      tell({ tell: 'started', name });
      const span = tracer.startSpan(name, { attributes: { 'gen_ai.operation.name': 'chat' } });
      span.end();
      answers.push(
        audit.capture.committed(span).then(({ status }) => tell({ tell: status, name })),
      );
    }
    await within(Promise.all(answers), 'answers');
  }
  await sleep(stayMs);
  await audit.shutdown(shutdownMs);
  tell({ tell: 'ended' });
}

async function within(promise: Promise<unknown>, what: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: too late`)), ANSWER_DELAY_MS_MAX);
  });
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

process.on('message', async (task: LifeTask) => {
  let failure: string | undefined;
  try {
    await live(task);
  } catch (error) {
    const isRefused = error instanceof Error && error.name === 'StartError';
    if (isRefused) tell({ tell: 'refused', message: error.message });
    else failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  // The next life must not meet this one's thread.
  const worker = workers.pop();
  if (worker !== undefined && worker.threadId !== -1) {
    await within(once(worker, 'exit'), 'the end of the sealing thread').catch((error: Error) => {
      failure ??= error.message;
    });
  }
  enter(undefined);
  process.send?.({ failure });
});
process.send?.({ ready: true });
