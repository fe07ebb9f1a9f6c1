// SPDX-License-Identifier: Apache-2.0
// Goal: what removed records said of the numbers of a run is not forgotten while it may be asked. Method: segments of the
// real writer on a disk in memory, added one by one, twice, and of another run.
import { describe, expect, test } from 'vitest';
import type { GapEvent } from '../exporter/log/control.ts';
import { keepPrunedNumbers, readPrunedNumbers } from '../exporter/node/storage/sealed-numbers.ts';
import type { MemoryDisk } from './support/faulty-files.ts';
import {
  COLLECTOR,
  DIR,
  emptyDisk,
  IN_PROCESS,
  numberedEntries,
  openSigner,
  openWriter,
} from './support/small-log.ts';

const gap = (first: number, last: number): GapEvent => ({
  name: 'gap',
  count: 1,
  first,
  last,
  from: '',
  to: '',
  cause: 'full',
});

/** A log of two segments, each with calls and a gap. */
function written(): { readonly disk: MemoryDisk; readonly segments: readonly Uint8Array[] } {
  const disk = emptyDisk();
  const writer = openWriter(disk, openSigner());
  writer.append('traces', IN_PROCESS, numberedEntries(1, 2, 5));
  writer.appendControl([gap(7, 9), gap(0, 0)]);
  writer.finishSegment();
  writer.append('traces', COLLECTOR, numberedEntries(20));
  writer.append('traces', IN_PROCESS, numberedEntries(3));
  writer.close();
  const names = disk.list(`${DIR}/segments`)!;
  return { disk, segments: names.map((name) => disk.readAll(`${DIR}/segments/${name}`)!) };
}

describe('the numbers of removed records', () => {
  test('are kept: of calls in this process, and of gaps', () => {
    const { disk, segments } = written();
    for (const segment of segments) expect(keepPrunedNumbers(disk, DIR, 0, segment)).toBe(true);
    expect(readPrunedNumbers(disk, DIR, 0).ranges).toEqual([
      [1, 3],
      [5, 5],
      [7, 9],
    ]);
  });

  test('are the same when a crash has them counted twice', () => {
    const { disk, segments } = written();
    keepPrunedNumbers(disk, DIR, 0, segments[0]!);
    const once = readPrunedNumbers(disk, DIR, 0).ranges;
    keepPrunedNumbers(disk, DIR, 0, segments[0]!);
    expect(readPrunedNumbers(disk, DIR, 0).ranges).toEqual(once);
  });

  test('are of one run: records before it do not count, and the next run begins anew', () => {
    const { disk, segments } = written();
    keepPrunedNumbers(disk, DIR, 2, segments[0]!);
    expect(readPrunedNumbers(disk, DIR, 2).ranges).toEqual([[7, 9]]);
    expect(readPrunedNumbers(disk, DIR, 0).ranges).toEqual([]);
    keepPrunedNumbers(disk, DIR, 4, segments[1]!);
    expect(readPrunedNumbers(disk, DIR, 4).ranges).toEqual([[3, 3]]);
    expect(readPrunedNumbers(disk, DIR, 2).ranges).toEqual([]);
  });

  test('are none where there is no file, or another', () => {
    const { disk } = written();
    expect(readPrunedNumbers(disk, DIR, 0).ranges).toEqual([]);
    const file = disk.open(`${DIR}/pruned-numbers`, 'create');
    disk.append(file, Buffer.from('0\n1-9\n'));
    expect(readPrunedNumbers(disk, DIR, 0).ranges).toEqual([]);
  });

  test('that are scattered too widely keep the segment', () => {
    const disk = emptyDisk();
    const writer = openWriter(disk, openSigner());
    const gaps = Array.from({ length: 4096 }, (_, at) => at);
    for (let part = 0; part <= 16; part++) {
      writer.appendControl(
        gaps.map((at) => gap(2 * (part * 4096 + at) + 1, 2 * (part * 4096 + at) + 1)),
      );
    }
    writer.close();
    const [name] = disk.list(`${DIR}/segments`)!;
    const segment = disk.readAll(`${DIR}/segments/${name}`)!;
    expect(keepPrunedNumbers(disk, DIR, 0, segment)).toBe(false);
    expect(disk.readAll(`${DIR}/pruned-numbers`)).toBeUndefined();
  });
});
