// SPDX-License-Identifier: Apache-2.0
// Goal: of each run and day there is a segment that an archive can begin at. Method: a disk in memory and the real writer.
import { describe, expect, test } from 'vitest';
import { parsePruned } from '../exporter/node/storage/prune.ts';
import { DAY_MS } from '../exporter/node/storage/retention.ts';
import {
  DailyStarts,
  readSegmentStart,
  removeSegmentStarts,
} from '../exporter/node/storage/segment-starts.ts';
import {
  DIR,
  emptyDisk,
  IN_PROCESS,
  judge,
  logOn,
  openSigner,
  openWriter,
  START_MS,
  spanEntries,
} from './support/small-log.ts';

const hash = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
const startAt = (size: number) => ({ size, peaks: [hash(1)], link: hash(2) });

test('the first of a run and the first of each day are kept', () => {
  const disk = emptyDisk();
  for (const _run of [1, 2]) {
    const starts = new DailyStarts();
    const first = _run === 1 ? 1 : 16;
    starts.keep(disk, DIR, startAt(first), START_MS);
    starts.keep(disk, DIR, startAt(first * 2), START_MS + 1000);
    starts.keep(disk, DIR, startAt(first * 4), START_MS + DAY_MS);
    starts.keep(disk, DIR, startAt(first * 8), START_MS + DAY_MS + 1000);
  }
  expect(disk.list(`${DIR}/starts`)?.map(Number)).toEqual([1, 4, 16, 64]);
  expect(parsePruned(readSegmentStart(disk, DIR, 4)!)).toEqual(startAt(4));
  expect(readSegmentStart(disk, DIR, 2)).toBeUndefined();
});

test('they go when an archive has the segment', () => {
  const disk = emptyDisk();
  removeSegmentStarts(disk, DIR, 100);
  new DailyStarts().keep(disk, DIR, startAt(4), START_MS);
  removeSegmentStarts(disk, DIR, 4);
  expect(disk.list(`${DIR}/starts`)?.length).toBe(1);
  removeSegmentStarts(disk, DIR, 5);
  expect(disk.list(`${DIR}/starts`)).toEqual([]);
});

describe('the writer', () => {
  test('keeps one that the rest of the log verifies behind, and none without an archive', async () => {
    const signer = openSigner();
    const disk = emptyDisk();
    const plain = emptyDisk();
    for (const [on, signsSegments] of [
      [disk, () => true],
      [plain, () => false],
    ] as const) {
      const writer = openWriter(on, signer, { segmentByteLengthMax: 1, signsSegments });
      for (const name of ['a', 'b', 'c']) writer.append('traces', IN_PROCESS, spanEntries(name));
      writer.checkpoint();
      writer.close();
    }
    expect(plain.list(`${DIR}/starts`)).toBeUndefined();
    expect(disk.list(`${DIR}/starts`)?.map(Number)).toEqual([1]);
    const removed = parsePruned(readSegmentStart(disk, DIR, 1)!);
    const log = logOn(disk);
    const report = await judge(
      { ...log, removed, segments: log.segments.slice(1) },
      { verifiers: [signer.verifier] },
    );
    expect([report.size, report.findings.map(({ code }) => code)]).toEqual([4, ['log.pruned']]);
  });
});
