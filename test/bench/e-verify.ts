// SPDX-License-Identifier: Apache-2.0
/**
 * E: verifying a whole log, every leaf, root, link and signature, against SHA-256 over its payloads once. On one core, and on
 * all that there are.
 */
import { availableParallelism } from 'node:os';
import type { VerifyFound, VerifySpec } from './probes/verify.ts';
import type { VerifyMemoryFound } from './probes/verify-memory.ts';
import {
  type Bench,
  type Context,
  exponentOf,
  perRound,
  type Row,
  row,
  runBenches,
} from './support/bench.ts';
import { canPin, probe } from './support/processes.ts';
import type { SpanStyle } from './support/spans.ts';
import { writeSyntheticLog } from './support/synthetic-log.ts';

const CASES = [
  { id: 'E', spanCount: 150_000, byteLength: 1024, content: 'off' },
  { id: 'E.8k', spanCount: 20_000, byteLength: 8192, content: 'on' },
] as const;
const DISTINCT_COUNT = 16;
const AIM = 0.4;
const MEMORY_SPAN_COUNT = 1_000_000;
/** Start-up of a few milliseconds weighs on the shorter log, so that a little less than 1 is to be expected. */
const EXPONENT_MOST = 1.25;

function write(dir: string, spanCount: number, style: SpanStyle): void {
  writeSyntheticLog({
    dir,
    originBase: 'bench/verify',
    spanCount,
    spansPerRecord: 512,
    style,
    distinctCount: DISTINCT_COUNT,
  });
}

export const verify: Bench = {
  id: 'E',
  question: 'verifying a whole log, against SHA-256 of the same bytes',
  run: async ({ rounds, dir, say }) => {
    const rows: Row[] = [];
    const cores = availableParallelism();
    for (const { id, spanCount, byteLength, content } of CASES) {
      say(id);
      const logDir = dir('verify');
      write(logDir, spanCount, { seed: 1, byteLength, content });
      for (const isPinned of canPin() ? [true, false] : [false]) {
        const spec: VerifySpec = { dir: logDir, rounds, threadCount: isPinned ? 1 : cores };
        const found = await probe<VerifyFound>('verify', spec, { isPinned });
        // On one core it is the core's time that counts, whoever else is on it.
        const verifySeconds = isPinned ? found.verifyCpuSeconds : found.verifySeconds;
        const floorSeconds = isPinned ? found.floorCpuSeconds : found.floorSeconds;
        const mebibytes = found.payloadBytes / 1024 / 1024;
        const rate = (seconds: readonly number[]): number[] =>
          perRound([seconds], (value) => mebibytes / value);
        const where = isPinned ? 'one core' : `${cores} cores`;
        const name = isPinned ? 'one' : 'all';
        rows.push(
          row({
            id: `${id}.${name}`,
            what: `${byteLength} bytes a span, ${where}: over SHA-256 on one core`,
            unit: 'x',
            values: perRound([floorSeconds, verifySeconds], (floor, own) => floor / own),
            // All cores but for a tenth of the work is near enough to linear.
            aim:
              id === 'E'
                ? { least: isPinned ? AIM : Number((AIM * cores * 0.9).toFixed(2)) }
                : undefined,
          }),
          row({
            id: `${id}.${name}.rate`,
            what: `${byteLength} bytes a span, ${where}`,
            unit: 'MiB/s',
            values: rate(verifySeconds),
            floor: rate(floorSeconds),
            note: `${found.entries} entries of ${Math.round(mebibytes)} MiB`,
          }),
        );
      }
    }
    const peaks: number[] = [];
    for (const spanCount of [MEMORY_SPAN_COUNT, 10 * MEMORY_SPAN_COUNT]) {
      say(`E.memory ${spanCount}`);
      const logDir = dir('verify');
      write(logDir, spanCount, { seed: 1, byteLength: 256, content: 'bare' });
      const { peakBytes } = await probe<VerifyMemoryFound>('verify-memory', { dir: logDir });
      peaks.push(peakBytes / 1024 / 1024);
    }
    rows.push(
      row({
        id: 'E.memory',
        what: `most memory resident, ${10 * MEMORY_SPAN_COUNT} spans, all cores`,
        unit: 'MiB',
        values: peaks.slice(1),
        peer: peaks.slice(0, 1),
        note: `peer: the same with ${MEMORY_SPAN_COUNT} spans`,
      }),
    );
    say('E.growth');
    rows.push(
      row({
        id: 'E.growth',
        what: 'of the time to verify, with the number of spans',
        unit: 'exponent',
        values: [await growth(dir)],
        aim: { most: EXPONENT_MOST },
      }),
    );
    return rows;
  },
  short: async ({ dir }) => [
    {
      id: 'E',
      what: 'time to verify, with the number of spans',
      exponent: await growth(dir),
      most: EXPONENT_MOST,
    },
  ],
};

async function growth(dir: Context['dir']): Promise<number> {
  const points: [number, number][] = [];
  for (const spanCount of [4096, 65_536]) {
    const logDir = dir('verify');
    write(logDir, spanCount, { seed: 1, byteLength: 1024, content: 'off' });
    const spec: VerifySpec = { dir: logDir, rounds: 3, threadCount: 1 };
    const found = await probe<VerifyFound>('verify', spec);
    points.push([spanCount, Math.min(...found.verifyCpuSeconds)]);
  }
  return exponentOf(points);
}

if (import.meta.main) await runBenches([verify]);
