// SPDX-License-Identifier: Apache-2.0
/**
 * F: what a log costs that is already large: cost per span of sealing more, start-up, `show --trace` on the last trace, a proof
 * for its last span. The logs are written for this, 512 small spans to a record, `BENCH_GROWTH_MAX` spans in the largest.
 */

import {
  type Bench,
  type Context,
  exponentOf,
  median,
  perRound,
  type Row,
  row,
  runBenches,
} from './support/bench.ts';
import { probe } from './support/processes.ts';
import type { GrowthFound, GrowthSpec } from './support/step.ts';
import { type SyntheticLog, writeSyntheticLog } from './support/synthetic-log.ts';

const SIZES = [1e4, 1e6, 1e8];
const SPANS_PER_RECORD = 512;
const ORIGIN = 'bench/growth';
/** A step that takes longer is ended, and told to take at least so long. */
const STEP_DELAY_MS = 90_000;
/** But what is made once, of 10^8 spans, takes minutes. */
const ONCE_DELAY_MS = 900_000;

type Step = GrowthSpec['step'];

function write(dir: string, spanCount: number): SyntheticLog {
  return writeSyntheticLog({
    dir,
    originBase: ORIGIN,
    spanCount,
    spansPerRecord: SPANS_PER_RECORD,
    style: { seed: 1, byteLength: 0, content: 'bare' },
    distinctCount: 8,
  });
}

interface Steps {
  readonly found: readonly GrowthFound[];
  readonly isWhole: boolean;
}

async function runStep(step: Step, dir: string, log: SyntheticLog, rounds: number): Promise<Steps> {
  const spec: GrowthSpec = {
    step,
    dir,
    originBase: ORIGIN,
    traceId: log.lastTraceId,
    record: log.lastRecord,
  };
  const found: GrowthFound[] = [];
  const withinMs = ONCE.includes(step) ? ONCE_DELAY_MS : STEP_DELAY_MS;
  for (let round = 0; round < rounds; round++) {
    try {
      const name = step === 'prove' ? 'prove' : 'growth';
      found.push(await probe<GrowthFound>(name, spec, { withinMs }));
    } catch (error) {
      if ((error as { killed?: boolean }).killed !== true) throw error;
      return { found: [{ ms: withinMs, cpuMs: 0, readBytes: 0 }], isWhole: false };
    }
    // What takes long needs no second opinion.
    if (found[0]!.ms > STEP_DELAY_MS / 10) break;
  }
  return { found, isWhole: true };
}

function sizesUpTo(max: number): number[] {
  return SIZES.filter((size) => size <= max);
}

/** What they make is there from then on. */
const ONCE: readonly Step[] = ['take-up', 'index'];

const STEPS: readonly {
  readonly step: Step;
  readonly what: string;
  readonly most: number | undefined;
}[] = [
  {
    step: 'take-up',
    what: 'opening and closing it where nothing but the log is there',
    most: undefined,
  },
  { step: 'start', what: 'start-up', most: 1000 },
  { step: 'start-archive', what: 'start-up with an archive', most: 1000 },
  { step: 'index', what: 'making the index, as the first show does', most: undefined },
  { step: 'show', what: 'show --trace, the last one', most: 50 },
  { step: 'prove', what: 'proof for the last span', most: 20 },
];

async function measure({ rounds, dir, say }: Context, sizes: readonly number[]): Promise<Row[]> {
  const rows: Row[] = [];
  const sealing: { readonly size: number; readonly perSpan: number[] }[] = [];
  for (const size of sizes) {
    const name = `1e${Math.round(Math.log10(size))}`;
    const logDir = dir('growth');
    say(`F: writing ${name} spans`);
    const log = write(logDir, size);
    const largest = `${name} spans in ${log.records} records, ${(log.byteLength / 2 ** 20).toFixed(0)} MiB`;
    for (const { step, what, most } of STEPS) {
      say(`F: ${name} ${step}`);
      const { found, isWhole } = await runStep(step, logDir, log, ONCE.includes(step) ? 1 : rounds);
      const cpu = median(found.map(({ cpuMs }) => cpuMs));
      const read = median(found.map(({ readBytes }) => readBytes));
      rows.push(
        row({
          id: `F.${step}.${name}`,
          what: `${what}; ${largest}`,
          unit: 'ms',
          values: found.map(({ ms }) => ms),
          aim: most === undefined ? undefined : { most },
          note: isWhole
            ? `${(read / 2 ** 20).toFixed(2)} MiB read, ${cpu.toFixed(0)} ms of CPU`
            : 'not done by then: this is how long it was waited for',
        }),
      );
      if (step !== 'prove') continue;
      rows.push(
        row({
          id: `F.prove.read.${name}`,
          what: `read for that proof; ${largest}`,
          unit: 'MiB',
          values: found.map(({ readBytes }) => readBytes / 2 ** 20),
          aim: { most: 1 },
        }),
      );
    }
    say(`F: ${name} seal`);
    const { found } = await runStep('seal', logDir, log, rounds);
    sealing.push({ size, perSpan: found.map(({ ms }) => ms * 1000) });
  }
  const [first] = sealing;
  for (const { size, perSpan } of sealing) {
    const name = `1e${Math.round(Math.log10(size))}`;
    rows.push(
      row({
        id: `F.seal.${name}`,
        what: `cost of sealing one more span of 1 kB, over that at 1e4; behind ${name}`,
        unit: 'x',
        values: perRound([perSpan, first!.perSpan], (own, small) => own / small),
        aim: size === first!.size ? undefined : { most: 1.1 },
        note: `${median(perSpan).toFixed(1)} us`,
      }),
    );
  }
  return rows;
}

export const growth: Bench = {
  id: 'F',
  question:
    'what a log of 10^4, 10^6 and 10^8 spans costs to go on with, to show and to prove from',
  run: (context) => measure(context, sizesUpTo(Number(process.env.BENCH_GROWTH_MAX ?? 1e8))),
  short: async ({ dir }) => {
    const points: Record<'start' | 'prove', [number, number][]> = { start: [], prove: [] };
    for (const size of [2e5, 3.2e6]) {
      const logDir = dir('growth');
      const log = write(logDir, size);
      for (const step of ONCE) await runStep(step, logDir, log, 1);
      for (const step of ['start', 'prove'] as const) {
        const { found } = await runStep(step, logDir, log, 3);
        points[step].push([size, Math.min(...found.map(({ ms }) => ms))]);
      }
    }
    return (['start', 'prove'] as const).map((step) => ({
      id: `F.${step}`,
      what: `time of ${step}, with the spans in the log`,
      exponent: exponentOf(points[step]),
      // Neither reads what grows: the last segment alone, and as many nodes as the tree is high.
      most: 0.5,
    }));
  },
};

if (import.meta.main) await runBenches([growth]);
