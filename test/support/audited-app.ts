// SPDX-License-Identifier: Apache-2.0
/**
 * A small service under audit, to be run as a process of its own and ended in every way there is. Its spans are named
 * after their number; what it was told durable it writes to stdout at once, a line each. Waits for nobody.
 */
import { writeSync } from 'node:fs';
import { openAuditWith } from '../../exporter/node/audit.ts';
import { type ConfigInput, readConfig } from '../../exporter/node/config/config.ts';
import { SDK_LINES } from './sdk-lines.ts';

export interface AppTask {
  readonly config: ConfigInput;
  /** Spans that end one after the other in the first turn of the loop. */
  readonly spanCount: number;
  /** Then spans without end, `perTurn` in each turn of the loop. */
  readonly perTurn?: number;
  /** Milliseconds between such turns; without it, the next one comes at once. */
  readonly pauseMs?: number;
  /** Every such span, counted from 0, never ends. */
  readonly openEvery?: number;
  /** The application's own tracing samples every span, so that each is forwarded; without it, none. */
  readonly isSampled?: boolean;
  /** What is written to stdout: the numbers told `sealed`, those whose `end` returned, or those that started. */
  readonly tells?: 'committed' | 'ended' | 'started';
  /** How the process ends after the first spans; without it, when nothing is left to do. */
  readonly end?: 'exit' | 'throw' | 'reject' | 'shutdown' | 'shutdown on SIGTERM';
}

/** Waits for a full pipe: what is told was told, whatever comes next. */
function tell(name: string): void {
  for (;;) {
    try {
      writeSync(1, `${name}\n`);
      return;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
    }
  }
}

function run(task: AppTask): void {
  const { config, spanCount, perTurn = 0, pauseMs, openEvery, isSampled, tells, end } = task;
  const audit = openAuditWith(readConfig({}, config), {
    onReport: (code, message) => writeSync(2, `${code}: ${message}\n`),
  });
  const line = SDK_LINES[2]!;
  const provider = line.openProvider({
    spanProcessors: audit.capture.wrapProcessors([]),
    sampler: audit.capture.sampler(isSampled === true ? line.alwaysOn() : line.alwaysOff()),
  });
  const tracer = provider.getTracer('app');
  let number = 0;
  const work = (): void => {
    const isOpen = openEvery !== undefined && number % openEvery === 0;
    const name = String(number++);
    const span = tracer.startSpan(name, { attributes: { 'gen_ai.operation.name': 'chat' } });
    if (tells === 'started') tell(name);
    if (isOpen) return;
    span.end();
    if (tells === 'ended') tell(name);
    if (tells === 'committed') {
      void audit.capture.committed(span).then(({ status }) => {
        if (status === 'sealed') tell(name);
      });
    }
  };
  for (let count = 0; count < spanCount; count++) work();
  if (end === 'exit') process.exit(0);
  if (end === 'throw') throw new Error('as planned');
  if (end === 'reject') void Promise.reject(new Error('as planned'));
  if (end === 'shutdown') void audit.shutdown();
  if (perTurn === 0) return;
  let isEnding = false;
  if (end === 'shutdown on SIGTERM') {
    process.once('SIGTERM', () => {
      isEnding = true;
      void audit.shutdown();
    });
  }
  const turn = (): void => {
    if (isEnding) return;
    for (let count = 0; count < perTurn; count++) work();
    if (pauseMs === undefined) setImmediate(turn);
    else setTimeout(turn, pauseMs);
  };
  turn();
}

run(JSON.parse(process.argv[2]!) as AppTask);
