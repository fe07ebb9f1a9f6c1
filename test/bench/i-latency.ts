// SPDX-License-Identifier: Apache-2.0
/**
 * I: from the end of a call to its durable record, with the default group commit, at 50 calls a second that end at random.
 * Of a quiet machine: the disk's own share stands beside it, and others that sync at the same time show in both.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { LatencySpec } from './probes/latency.ts';
import {
  type Bench,
  interleaved,
  perRound,
  quantile,
  type Row,
  row,
  runBenches,
} from './support/bench.ts';
import { probe } from './support/processes.ts';

const CALL_COUNT = 1000;
const RATE = 50;
const SYNC_COUNT = 300;
const RECORD_BYTE_LENGTH = 1500;

/** Milliseconds of one write and one sync, each after a pause. */
async function syncs(path: string): Promise<number[]> {
  const file = openSync(path, 'ax', 0o600);
  const bytes = Buffer.alloc(RECORD_BYTE_LENGTH, 1);
  const found: number[] = [];
  for (let i = 0; i < SYNC_COUNT; i++) {
    const startMs = performance.now();
    writeSync(file, bytes);
    fdatasyncSync(file);
    found.push(performance.now() - startMs);
    await delay(5);
  }
  closeSync(file);
  return found;
}

export const latency: Bench = {
  id: 'I',
  question: 'from the end of a call to its durable record, default group commit',
  run: async ({ rounds, dir, say }) => {
    const rows: Row[] = [];
    const run = (mode: LatencySpec['mode']) => async (): Promise<readonly number[]> => {
      say(`I: ${mode}`);
      const spec: LatencySpec = { dir: dir('latency'), mode, callCount: CALL_COUNT, rate: RATE };
      return (await probe<{ ms: number[] }>('latency', spec)).ms;
    };
    const found = await interleaved(rounds, {
      group: run('group'),
      sync: run('sync'),
      disk: () => syncs(join(dir('disk'), 'file')),
    });
    const at = (which: keyof typeof found, part: number): number[] =>
      perRound([found[which]], (ms) => quantile(ms, part));
    for (const [name, part, most] of [
      ['p50', 0.5, 15],
      ['p99', 0.99, 60],
    ] as const) {
      rows.push(
        row({
          id: `I.${name}`,
          what: `${name}, default group commit`,
          unit: 'ms',
          values: at('group', part),
          aim: { most },
          floor: at('disk', part),
          note: 'floor: one write and one sync',
        }),
        row({
          id: `I.sync.${name}`,
          what: `${name}, mode sync: the span's end returns when it is durable`,
          unit: 'ms',
          values: at('sync', part),
          floor: at('disk', part),
        }),
      );
    }
    return rows;
  },
};

if (import.meta.main) await runBenches([latency]);
