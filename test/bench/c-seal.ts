// SPDX-License-Identifier: Apache-2.0
/**
 * C: spans sealed and on the disk a second by one process, against the floor: SHA-256 of the same bytes, and the same
 * writes and syncs, in a loop that does nothing else.
 */

import type { SealFound, SealSpec } from './probes/seal.ts';
import {
  type Bench,
  exponentOf,
  interleaved,
  median,
  perRound,
  type Row,
  row,
  runBenches,
} from './support/bench.ts';
import { probe } from './support/processes.ts';
import type { SpanStyle } from './support/spans.ts';

const CASES: readonly {
  readonly id: string;
  readonly what: string;
  readonly from: SealSpec['from'];
  readonly spanCount: number;
  readonly style: Omit<SpanStyle, 'seed'>;
}[] = [
  {
    id: 'C.requests',
    what: '1 kB, handed to the sealing thread',
    from: 'requests',
    spanCount: 60_000,
    style: { byteLength: 1024, content: 'off' },
  },
  {
    id: 'C.spans',
    what: '1 kB, made by an SDK and captured in the same process',
    from: 'spans',
    spanCount: 60_000,
    style: { byteLength: 1024, content: 'off' },
  },
  {
    id: 'C.requests.8k',
    what: '8 kB with content, handed to the sealing thread',
    from: 'requests',
    spanCount: 12_000,
    style: { byteLength: 8192, content: 'on' },
  },
];

export const seal: Bench = {
  id: 'C',
  question: 'spans sealed and synced a second, against the floor of the same bytes',
  run: async ({ rounds, dir, say }) => {
    const rows: Row[] = [];
    const run = (one: (typeof CASES)[number]) => async (round: number) => {
      say(one.id);
      const style = { ...one.style, seed: round };
      return probe<SealFound>('seal', {
        from: one.from,
        style,
        spanCount: one.spanCount,
        dir: dir('seal'),
      } satisfies SealSpec);
    };
    const found = await interleaved(
      rounds,
      Object.fromEntries(CASES.map((one) => [one.id, run(one)])),
    );
    for (const { id, what } of CASES) {
      const results = found[id]!;
      const per = (name: keyof SealFound): number[] => perRound([results], (one) => one[name]);
      rows.push(
        row({
          id,
          what: `${what}: over the floor`,
          unit: 'x',
          values: perRound([results], ({ sealed, floor }) => sealed / floor),
          aim: { least: 0.5 },
          note: `in ${median(per('records'))} records`,
        }),
        row({
          id: `${id}.rate`,
          what: `${what}: sealed and synced`,
          unit: 'spans/s',
          values: per('sealed'),
          floor: per('floor'),
          peer: per('jsonLogSynced'),
          note: `peer: a hash-chained JSON log with a sync for each record; without any sync ${Math.round(median(per('jsonLog')))}`,
        }),
        row({
          id: `${id}.cpu`,
          what: `${what}: CPU of all threads`,
          unit: 'us/span',
          values: per('cpuMicroseconds'),
          floor: per('floorCpuMicroseconds'),
        }),
      );
    }
    return rows;
  },
  short: async ({ dir }) => {
    const [small, large] = [3000, 48_000];
    const seconds = async (spanCount: number): Promise<number> => {
      const spec: SealSpec = {
        from: 'requests',
        style: { byteLength: 1024, content: 'off', seed: 1 },
        spanCount,
        dir: dir('seal'),
      };
      return spanCount / (await probe<SealFound>('seal', spec)).sealed;
    };
    const found = await interleaved(3, {
      small: () => seconds(small),
      large: () => seconds(large),
    });
    const exponent = exponentOf([
      [small, Math.min(...found.small)],
      [large, Math.min(...found.large)],
    ]);
    return [{ id: 'C', what: 'time to seal, with the number of spans', exponent, most: 1.25 }];
  },
};

if (import.meta.main) await runBenches([seal]);
