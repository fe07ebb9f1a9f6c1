// SPDX-License-Identifier: Apache-2.0
/**
 * A: what an audit costs the event loop for each span, against the stock exporter that does its own job alone. Thread
 * CPU, a no-op processor's subtracted. The intents, the archive and `direct` forwarding of a default audit are on.
 */

import type { AppFound, AppSpec } from './probes/app.ts';
import { type Bench, interleaved, perRound, type Row, row, runBenches } from './support/bench.ts';
import { probe, startSink } from './support/processes.ts';

interface Load {
  readonly id: string;
  readonly what: string;
  readonly byteLength: number;
  readonly spanCount: number;
  readonly rate?: number;
}

/** Spans that run long enough for a clock that steps by 4 ms. The stock exporter can not take 2,000/s of 64 kB. */
const LOADS: readonly Load[] = [
  { id: '1k.full', what: '1 kB, full speed', byteLength: 1024, spanCount: 40_000 },
  { id: '1k.paced', what: '1 kB, 2,000/s', byteLength: 1024, spanCount: 14_000, rate: 2000 },
  { id: '8k.full', what: '8 kB, full speed', byteLength: 8192, spanCount: 10_000 },
  { id: '8k.paced', what: '8 kB, 2,000/s', byteLength: 8192, spanCount: 12_000, rate: 2000 },
  { id: '64k.full', what: '64 kB, full speed', byteLength: 65_536, spanCount: 1500 },
  { id: '64k.paced', what: '64 kB, 200/s', byteLength: 65_536, spanCount: 1200, rate: 200 },
];
/** Ways of forwarding that are told beside the one that has an aim, for spans of 1 kB. */
const BESIDE = ['through', 'off'] as const;
const AIM = { most: 0.5 };

export const eventLoop: Bench = {
  id: 'A',
  question: 'CPU on the event loop per governed span, against the stock exporter alone',
  run: async ({ rounds, dir, say }) => {
    const rows: Row[] = [];
    const sink = await startSink();
    for (const load of LOADS) {
      say(`A: ${load.what}`);
      const content = load.byteLength > 2048 ? 'on' : 'off';
      const run = (variant: AppSpec['variant']) => (round: number) =>
        probe<AppFound>('app', {
          variant,
          style: { seed: round, byteLength: load.byteLength, content },
          spanCount: load.spanCount,
          ...(load.rate === undefined ? {} : { rate: load.rate }),
          dir: dir('app'),
          sinkPort: sink.grpcPort,
        } satisfies AppSpec);
      const beside = load.byteLength > 2048 ? [] : BESIDE;
      const none = async (): Promise<AppFound | undefined> => undefined;
      const measured = await interleaved(rounds, {
        none: run('none'),
        stock: run('stock'),
        direct: run('direct'),
        through: beside.length === 0 ? none : run('through'),
        off: beside.length === 0 ? none : run('off'),
      });
      const found = Object.fromEntries(
        Object.entries(measured).map(([name, results]) => [
          name,
          results.filter((result) => result !== undefined),
        ]),
      ) as Record<AppSpec['variant'], AppFound[]>;
      const own = (variant: 'stock' | 'direct' | 'through' | 'off', of: keyof Cost): number[] =>
        perRound(
          [found[variant], found.none],
          (one, none) => (one[of] - none[of]) / load.spanCount,
        );
      const ratio = (variant: 'direct' | 'through' | 'off', of: keyof Cost): number[] =>
        perRound([own(variant, of), own('stock', of)], (ours, stock) => ours / stock);
      const loopNote = (variant: 'direct' | 'through' | 'off'): string => {
        const dropped = (which: 'stock' | 'through'): string => {
          const count = found[which].reduce((sum, { droppedCount }) => sum + droppedCount, 0);
          return count === 0
            ? ''
            : `; ${count} of ${rounds * load.spanCount} dropped by the stock queue, ${which}`;
        };
        return (
          `${microseconds(own(variant, 'loopMicroseconds'))} us a span, stock ${microseconds(own('stock', 'loopMicroseconds'))}` +
          dropped('stock') +
          (variant === 'through' ? dropped('through') : '')
        );
      };
      rows.push(
        row({
          id: `A.${load.id}`,
          what: `${load.what}: event loop, direct, over stock`,
          unit: 'x',
          values: ratio('direct', 'loopMicroseconds'),
          aim: AIM,
          peer: found.stock.map(() => 1),
          note: loopNote('direct'),
        }),
      );
      for (const variant of beside) {
        rows.push(
          row({
            id: `A.${load.id}.${variant}`,
            what: `${load.what}: event loop, ${variant}, over stock`,
            unit: 'x',
            values: ratio(variant, 'loopMicroseconds'),
            note: loopNote(variant),
          }),
        );
      }
      rows.push(
        row({
          id: `A.${load.id}.process`,
          what: `${load.what}: whole process, direct, over stock`,
          unit: 'x',
          values: ratio('direct', 'processMicroseconds'),
          note: `${microseconds(own('direct', 'processMicroseconds'))} us a span, stock ${microseconds(own('stock', 'processMicroseconds'))}`,
        }),
      );
    }
    await sink.stop();
    return rows;
  },
};

type Cost = Pick<AppFound, 'loopMicroseconds' | 'processMicroseconds'>;

function microseconds(values: readonly number[]): string {
  return (values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(1);
}

if (import.meta.main) await runBenches([eventLoop]);
