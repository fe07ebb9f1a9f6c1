// SPDX-License-Identifier: Apache-2.0
// Goal: nothing leaves the local disk that the archive does not have for long enough, and what is left is the same log:
// it goes on, verifies, and a crash at any step costs nothing. Method: a real writer on a disk in memory, receipts as the
// archive gives them, crashes at each operation, and the files changed by somebody.
import { describe, expect, test } from 'vitest';
import { equalBytes } from '../exporter/log/bytes.ts';
import { parseSegmentName } from '../exporter/log/segment.ts';
import { DamagedLogError } from '../exporter/node/storage/log-writer.ts';
import {
  type ArchivedSegment,
  encodePruned,
  NOTHING_PRUNED,
  type PruneOptions,
  parsePruned,
  pruneSegments,
  readPruned,
} from '../exporter/node/storage/prune.ts';
import { DAY_MS } from '../exporter/node/storage/retention.ts';
import type { Files } from '../exporter/node/system/files.ts';
import { sha256 } from '../exporter/node/system/keys.ts';
import { LOSSES, type MemoryDisk, openFaultyFiles } from './support/faulty-files.ts';
import {
  COUNTERS,
  codesOf,
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

const signer = openSigner();
const verifiers = [signer.verifier];
const SEGMENTS = `${DIR}/segments`;
const DAYS = 7;
const DUE_MS = START_MS + DAYS * DAY_MS;

/** Segments of 3, 2, 2 and 2 records, all but the last archived; signed at their end. */
function writeLog(): MemoryDisk {
  const disk = emptyDisk();
  const writer = openWriter(disk, signer);
  for (const name of ['a', 'b', 'c', 'd']) {
    if (name !== 'a') writer.finishSegment();
    writer.append('traces', IN_PROCESS, spanEntries(name));
    writer.appendControl([{ name: 'heartbeat', ...COUNTERS }]);
  }
  writer.checkpoint();
  writer.close();
  return disk;
}

function receiptsOf(disk: Files): Map<number, ArchivedSegment> {
  const firsts = disk.list(SEGMENTS)!.map((name) => parseSegmentName(name)!);
  const all = firsts.slice(0, -1).map((segment, at) => {
    const bytes = disk.readAll(`${SEGMENTS}/${disk.list(SEGMENTS)![at]}`)!;
    const receipt = {
      name: 'receipt',
      archive: 'directory',
      segment,
      size: firsts[at + 1]!,
      byteLength: bytes.length,
      sha256: sha256(bytes),
      key: `k/${segment}`,
    } as const;
    return [segment, { receipt, receivedMs: START_MS + segment }] as const;
  });
  return new Map(all);
}

const whole = writeLog();
const archived = receiptsOf(whole);
const head = (await judge(logOn(whole), { verifiers })).size;

const prune = (disk: Files, more: Partial<PruneOptions> = {}) =>
  pruneSegments({
    files: disk,
    dir: DIR,
    localDays: DAYS,
    nowMs: DUE_MS + 100,
    archived,
    neededFrom: Number.POSITIVE_INFINITY,
    journal: () => undefined,
    ...more,
  });

const firstsOn = (disk: Files): number[] =>
  disk.list(SEGMENTS)!.map((name) => parseSegmentName(name)!);

/** What the verifier says of a log whose beginning may be gone. */
function verify(disk: Files) {
  const removed = readPruned(disk, DIR) ?? NOTHING_PRUNED;
  const log = logOn(disk);
  const segments = log.segments.filter(({ name }) => parseSegmentName(name)! >= removed.size);
  return judge({ ...log, removed, segments }, { verifiers });
}

describe('a segment leaves', () => {
  test.each<readonly [when: string, more: Partial<PruneOptions>, left: readonly number[]]>([
    ['a millisecond before its time: not', { nowMs: DUE_MS - 1 }, [0, 3, 5, 7]],
    ['when its time has come', { nowMs: DUE_MS }, [3, 5, 7]],
    ['with all whose time has come', { nowMs: DUE_MS + 3 }, [5, 7]],
    ['never without a receipt: the last stays', {}, [7]],
    ['not behind one without a receipt', { archived: without(3) }, [3, 5, 7]],
    ['not while somebody needs a record of it', { neededFrom: 4 }, [3, 5, 7]],
    ['when all of it was read', { neededFrom: 5 }, [5, 7]],
    ['at once where that was asked for', { localDays: 0, nowMs: START_MS + 5 }, [7]],
  ])('%s', async (_when, more, left) => {
    const disk = writtenDisk();
    expect(prune(disk, more)).toEqual({ size: left[0], problem: undefined });
    expect(firstsOn(disk)).toEqual(left);
    const report = await verify(disk);
    expect([codesOf(report), report.size]).toEqual([left[0] === 0 ? [] : ['log.pruned'], head]);
  });

  test('never if it is not what was archived', () => {
    const disk = writtenDisk();
    const bytes = Uint8Array.from(disk.readAll(`${SEGMENTS}/${name(3)}`)!);
    bytes[bytes.length - 1]! ^= 1;
    rewrite(disk, `${SEGMENTS}/${name(3)}`, bytes);
    expect(prune(disk)).toEqual({
      size: 3,
      problem: `${SEGMENTS}/${name(3)} is not what was archived of it`,
    });
    expect(firstsOn(disk)).toEqual([3, 5, 7]);
  });

  test('never where it is not known what left before', () => {
    const disk = writtenDisk();
    rewrite(disk, `${DIR}/pruned`, Buffer.from('3\n'));
    expect(prune(disk)).toEqual({ size: 0, problem: `${DIR}/pruned is damaged` });
    expect(firstsOn(disk)).toEqual([0, 3, 5, 7]);
  });
});

describe('what is left', () => {
  test('is the same log: it goes on, and so it does in steps', async () => {
    const disk = writtenDisk();
    prune(disk, { nowMs: DUE_MS });
    prune(disk, { nowMs: DUE_MS + 3 });
    const writer = openWriter(disk, signer);
    expect(writer.size).toBe(head + 1);
    writer.appendControl([{ name: 'closed', ...COUNTERS }]);
    writer.checkpoint();
    writer.close();
    expect(await verify(disk)).toMatchObject({ size: head + 2, records: head + 2 - 5 });
    expect(codesOf(await verify(disk))).toEqual(['log.unclean-end', 'log.pruned']);
  });

  test.each(LOSSES)('after a crash at any step, with what was not synced %s', async (loss) => {
    const calm = openFaultyFiles(writtenDisk());
    prune(calm);
    expect(calm.operations.length).toBeGreaterThan(9);
    for (let at = 0; at < calm.operations.length; at++) {
      const disk = writtenDisk();
      const faulty = openFaultyFiles(disk, { at, kind: 'after', crashes: true });
      expect(() => prune(faulty)).toThrow('EIO');
      const left = disk.afterCrash(loss);
      const what = `${at}: ${calm.operations[at]}`;
      const report = await verify(left);
      expect(
        [report.size, report.findings.filter((one) => one.code !== 'log.pruned')],
        what,
      ).toEqual([head, []]);
      openWriter(left, signer).close();
      // Goes on where it was.
      expect(prune(left), what).toEqual({ size: 7, problem: undefined });
      expect(firstsOn(left), what).toContain(7);
      expect(Math.min(...firstsOn(left)), what).toBe(7);
    }
  });

  test.each<readonly [what: string, change: (text: string) => string]>([
    ['another size', (text) => text.replace('\n5\n', '\n6\n')],
    ['another link', (text) => swapLine(text, 2)],
    ['another peak', (text) => swapLine(text, 3)],
    ['a line more', (text) => `${text}x\n`],
    ['nothing', () => ''],
  ])('is refused by the writer with %s in `pruned`', (_what, change) => {
    const disk = writtenDisk();
    prune(disk, { nowMs: DUE_MS + 3 });
    const text = Buffer.from(disk.readAll(`${DIR}/pruned`)!).toString('latin1');
    rewrite(disk, `${DIR}/pruned`, Buffer.from(change(text)));
    expect(() => openWriter(disk, signer)).toThrow(DamagedLogError);
  });

  test('is refused by the writer without `pruned`, and when it is behind what was signed', () => {
    const disk = writtenDisk();
    prune(disk);
    disk.remove(`${DIR}/pruned`);
    expect(() => openWriter(disk, signer)).toThrow(DamagedLogError);
    const other = writtenDisk();
    prune(other);
    for (const file of ['checkpoint', 'signing']) {
      const early = earlySigned.readAll(`${DIR}/${file}`);
      rewrite(other, `${DIR}/${file}`, early!);
    }
    expect(() => openWriter(other, signer)).toThrow('only 3 was signed');
  });
});

test('the file is spelled in one way', () => {
  const disk = writtenDisk();
  prune(disk);
  const bytes = disk.readAll(`${DIR}/pruned`)!;
  const removed = parsePruned(bytes);
  expect(removed?.size).toBe(7);
  expect(equalBytes(encodePruned(removed!), bytes)).toBe(true);
  const text = Buffer.from(bytes).toString('latin1');
  for (const other of [text.slice(0, -1), `${text}\n`, text.replace('@v1', '@v2'), '']) {
    expect(parsePruned(Buffer.from(other))).toBeUndefined();
  }
});

/** The log when only its first segment was signed. */
const earlySigned = ((): MemoryDisk => {
  const disk = emptyDisk();
  const writer = openWriter(disk, signer);
  writer.append('traces', IN_PROCESS, spanEntries('a'));
  writer.appendControl([{ name: 'heartbeat', ...COUNTERS }]);
  writer.checkpoint();
  writer.close();
  return disk;
})();

function writtenDisk(): MemoryDisk {
  return whole.afterCrash('kept');
}

function without(segment: number): ReadonlyMap<number, ArchivedSegment> {
  return new Map([...archived].filter(([first]) => first !== segment));
}

function name(first: number): string {
  return `${String(first).padStart(20, '0')}.seg`;
}

function swapLine(text: string, at: number): string {
  const lines = text.split('\n');
  lines[at] = `${'A'.repeat(43)}=`;
  return lines.join('\n');
}

function rewrite(disk: MemoryDisk, path: string, bytes: Uint8Array): void {
  const file = disk.open(path, 'truncate');
  disk.append(file, bytes);
  disk.sync(file);
  disk.close(file);
}
