// SPDX-License-Identifier: Apache-2.0
/**
 * B: how long an audit holds the event loop at 2,000 spans a second: p99.9 of its delay, minus that of the same run with a
 * processor that does nothing. A machine that others use at the same time shows in both, and in the spread.
 */

import type { AppFound, AppSpec } from './probes/app.ts';
import { type Bench, interleaved, perRound, type Row, row, runBenches } from './support/bench.ts';
import { probe, startSink } from './support/processes.ts';

const RATE = 2000;
const SECONDS = 10;
const SIZES = [
  { id: '1k', byteLength: 1024, content: 'off' },
  { id: '8k', byteLength: 8192, content: 'on' },
] as const;

export const loopDelay: Bench = {
  id: 'B',
  question: 'p99.9 of the event loop delay at 2,000 spans/s, a no-op run subtracted',
  run: async ({ rounds, dir, say }) => {
    const rows: Row[] = [];
    const sink = await startSink();
    for (const { id, byteLength, content } of SIZES) {
      say(`B: ${id}`);
      const run = (variant: AppSpec['variant']) => (round: number) =>
        probe<AppFound>('app', {
          variant,
          style: { seed: round, byteLength, content },
          spanCount: RATE * SECONDS,
          rate: RATE,
          dir: dir('app'),
          sinkPort: sink.grpcPort,
        } satisfies AppSpec);
      const found = await interleaved(rounds, {
        none: run('none'),
        stock: run('stock'),
        direct: run('direct'),
      });
      const above = (variant: 'stock' | 'direct'): number[] =>
        perRound([found[variant], found.none], (one, none) => one.delayMs.p999 - none.delayMs.p999);
      rows.push(
        row({
          id: `B.${id}`,
          what: `${id}B: p99.9 above no-op, direct`,
          unit: 'ms',
          values: above('direct'),
          aim: { most: 3 },
          floor: perRound([found.none], ({ delayMs }) => delayMs.p999),
          peer: above('stock'),
          note: 'floor: p99.9 of the no-op run itself; peer: stock above no-op',
        }),
      );
    }
    await sink.stop();
    return rows;
  },
};

if (import.meta.main) await runBenches([loopDelay]);
