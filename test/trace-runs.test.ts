// SPDX-License-Identifier: Apache-2.0
// Goal: of each trace that was put in, every record is found again. Method: seeded entries, more than a block holds, through
// batches and merges, against a map in memory.
import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  findInRun,
  mergeRuns,
  TraceBatch,
  type TraceRun,
  traceKey,
  writeRun,
} from '../exporter/node/storage/trace-runs.ts';
import { nodeFiles } from '../exporter/node/system/files.ts';
import { randomOf } from './support/random.ts';

const dir = mkdtempSync(join(tmpdir(), 'sealspan-runs-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const KEYS = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff];

/** A run of seeded entries, and what is in it: few keys at both ends of the range, and many in between. */
function seeded(
  name: string,
  seed: number,
  count: number,
): { readonly run: TraceRun; readonly known: Map<number, Set<number>> } {
  const random = randomOf(seed);
  const known = new Map<number, Set<number>>();
  const batch = new TraceBatch();
  for (let at = 0; at < count; at++) {
    const key = at % 100 === 0 ? KEYS[random(KEYS.length)]! : random(2 ** 32);
    const record = random(2 ** 32);
    batch.add(key, record);
    if (at % 3 === 0) batch.add(key, record);
    known.set(key, (known.get(key) ?? new Set()).add(record));
  }
  return { run: writeRun(nodeFiles, dir, name, batch.take()), known };
}

const sorted = (records: Iterable<number> = []): number[] => [...records].sort((a, b) => a - b);

describe('runs of traces', () => {
  test('the key of a trace is the end of its id', () => {
    const id = Buffer.from('0af7651916cd43dd8448eb21ff80319c', 'hex');
    expect(traceKey(id, 16)).toBe(0xff80319c);
  });

  test.each([1, 500, 30_000])('%i entries are found by their key, each once', (count) => {
    const { run, known } = seeded(`own-${count}`, count, count);
    expect(run.count).toBe([...known.values()].reduce((sum, { size }) => sum + size, 0));
    for (const [key, records] of [...known].slice(-2000)) {
      expect(findInRun(nodeFiles, dir, run, key)).toEqual(sorted(records));
    }
    expect(findInRun(nodeFiles, dir, run, 0x12345678)).toEqual([]);
  });

  test('a batch is empty once it was taken', () => {
    const batch = new TraceBatch();
    batch.add(7, 1);
    batch.take();
    batch.add(8, 2);
    expect([batch.count, batch.take().length]).toEqual([1, 8]);
    expect(batch.take().length).toBe(0);
  });

  test('two runs become one that has all of both', () => {
    const one = seeded('one', 1, 20_000);
    const other = seeded('other', 2, 9_000);
    const run = mergeRuns(nodeFiles, dir, 'merged', [one.run, other.run]);
    expect(run).toEqual({ name: 'merged', count: one.run.count + other.run.count });
    for (const key of [...KEYS, ...one.known.keys(), ...other.known.keys()].slice(0, 2000)) {
      const records = [...(one.known.get(key) ?? []), ...(other.known.get(key) ?? [])];
      expect(findInRun(nodeFiles, dir, run, key)).toEqual(sorted(records));
    }
  });

  test('a run that is shorter than it should be is an error, and no empty answer', () => {
    const { run } = seeded('short', 3, 20_000);
    truncateSync(join(dir, 'short'), 80);
    expect(() => findInRun(nodeFiles, dir, run, 0xffffffff)).toThrow(RangeError);
  });
});
