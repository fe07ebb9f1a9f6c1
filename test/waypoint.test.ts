// SPDX-License-Identifier: Apache-2.0
// Goal: a start reads what is behind the waypoint and no more, knows what it would know of the whole log, and a waypoint that
// is gone, damaged, old, of another key or of another log costs time and nothing else. Method: a real writer on a disk in
// memory that tells what is read, each byte changed, crashes at each operation.
import { describe, expect, test } from 'vitest';
import type { ControlEvent } from '../exporter/log/control.ts';
import { leafHash, Tree } from '../exporter/log/merkle.ts';
import { readFrames, segmentName } from '../exporter/log/segment.ts';
import { DamagedLogError, type LogWriter } from '../exporter/node/storage/log-writer.ts';
import { encodePruned } from '../exporter/node/storage/prune.ts';
import { contentOf } from '../exporter/node/storage/sealed-numbers.ts';
import { type EventAt, Waypoint } from '../exporter/node/storage/waypoint.ts';
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
  spanEntries,
} from './support/small-log.ts';

const signer = openSigner();
const verifiers = [signer.verifier];
const SEGMENTS = `${DIR}/segments`;
const FILES = ['waypoint', 'waypoint-told'];

const receipt = (segment: number): ControlEvent => ({
  name: 'receipt',
  archive: 'directory',
  segment,
  size: segment + 1,
  byteLength: 5,
  sha256: sha256(Uint8Array.of(segment)),
  key: `k/${segment}`,
});
const HEARTBEAT: ControlEvent = { name: 'heartbeat', ...COUNTERS };

/** Opens as the sealing thread does: what the waypoint does not tell is read from the segments behind it. */
function open(files: Files, as = signer): { writer: LogWriter; events: readonly EventAt[] } {
  const waypoint = Waypoint.open(files, DIR, as);
  const told = waypoint.events;
  const behind = eventsFrom(files, waypoint.at.size);
  for (const { index, sealedMs, event } of behind) waypoint.hear(index, sealedMs, [event]);
  return { writer: openWriter(files, as, { waypoint }), events: [...told, ...behind] };
}

/** Receipts and holds of records from an index on, as they are in the log. */
function eventsFrom(files: Files, from = 0): EventAt[] {
  const found: EventAt[] = [];
  for (const name of files.list(SEGMENTS) ?? []) {
    if (name < segmentName(from)) continue;
    try {
      for (const { header, stored } of readFrames(files.readAll(`${SEGMENTS}/${name}`)!)) {
        const events = header.kind === 'control' ? contentOf(header, stored)!.events : [];
        for (const event of events) {
          if (event.name !== 'receipt' && event.name !== 'hold') continue;
          found.push({ index: header.index, sealedMs: Date.parse(header.sealed), event });
        }
      }
    } catch {
      // Torn by a crash: opening the log cuts it.
      break;
    }
  }
  return found;
}

/** One life of a writer: so many segments, each with a receipt, each signed. */
function live(writer: LogWriter, count: number): void {
  for (let number = 0; number < count; number++) {
    if (number > 0) writer.finishSegment();
    writer.append('traces', IN_PROCESS, spanEntries(`span ${number}`));
    writer.appendControl([receipt(writer.size), HEARTBEAT]);
    writer.checkpoint();
  }
  writer.appendControl([{ name: 'closed', ...COUNTERS }]);
  writer.checkpoint();
  writer.close();
}

/** A log of five segments, closed, and its waypoint. */
function written(): MemoryDisk {
  const disk = emptyDisk();
  live(open(disk).writer, 5);
  return disk;
}

/** The disk, and the paths below `segments/` that were opened on it. */
function watched(disk: Files): { files: Files; opened: string[] } {
  const opened: string[] = [];
  const files = Object.create(disk) as Files;
  for (const name of ['open', 'readAll'] as const) {
    Object.assign(files, {
      [name]: (path: string, mode: 'read') => {
        if (path.startsWith(SEGMENTS)) opened.push(path.slice(SEGMENTS.length + 1));
        return disk[name](path, mode);
      },
    });
  }
  for (const name of ['close', 'byteLength', 'read', 'append', 'truncate', 'sync'] as const) {
    Object.assign(files, { [name]: (disk[name] as () => unknown).bind(disk) });
  }
  for (const name of ['syncDirectory', 'rename', 'remove', 'list', 'makeDirectory'] as const) {
    Object.assign(files, { [name]: (disk[name] as () => unknown).bind(disk) });
  }
  return { files, opened };
}

function rewrite(disk: Files, path: string, bytes: Uint8Array): void {
  const file = disk.open(path, 'truncate');
  disk.append(file, bytes);
  disk.sync(file);
  disk.close(file);
}

/** The log goes on, knows what it holds, and verifies. */
async function expectWhole(disk: Files, isFast: boolean | undefined, what = ''): Promise<void> {
  const known = eventsFrom(disk);
  const names = disk.list(SEGMENTS)!;
  const { files, opened } = watched(disk);
  const { writer, events } = open(files);
  expect([what, events]).toEqual([what, known]);
  if (isFast !== undefined) {
    expect([what, opened.includes(names[0]!)]).toEqual([what, !isFast]);
    if (isFast) expect(names.filter((name) => opened.includes(name))).toEqual([names.at(-1)]);
  }
  live(writer, 2);
  const report = await judge(logOn(disk), { verifiers });
  expect([what, codesOf(report).filter((code) => code !== 'log.unclean-end')]).toEqual([what, []]);
  expect(report.size).toBe(report.records);
}

describe('a waypoint', () => {
  test('is the beginning of the segment that is written; a start reads that one alone', async () => {
    const disk = written();
    const waypoint = Waypoint.open(disk, DIR, signer);
    expect(segmentName(waypoint.at.size)).toBe(disk.list(SEGMENTS)!.at(-1));
    await expectWhole(disk, true);
    await expectWhole(disk, true);
  });

  test('knows the heads at all beginnings of segments, and of no other', () => {
    const disk = written();
    const waypoint = Waypoint.open(disk, DIR, signer);
    const tree = new Tree(sha256);
    const { segments } = logOn(disk);
    const starts = segments.map(({ name }) => Number(name.slice(0, 20)));
    for (const { bytes } of segments) {
      for (const { header } of readFrames(bytes)) {
        const head = waypoint.headAt(tree.size);
        const isStart = tree.size > 0 && starts.includes(tree.size);
        expect(head === undefined ? undefined : [...head.root]).toEqual(
          isStart ? [...tree.root()] : undefined,
        );
        tree.append(leafOf(segments, header.index));
      }
    }
  });

  test('is made for a log that never had one, with all that it told', async () => {
    const disk = written();
    for (const name of FILES) disk.remove(`${DIR}/${name}`);
    await expectWhole(disk, false);
    await expectWhole(disk, true);
  });

  test('tells nothing of segments that were removed, as the log does not', () => {
    const disk = written();
    const [first, second] = disk.list(SEGMENTS)!;
    const tree = new Tree(sha256);
    const frames = [...readFrames(disk.readAll(`${SEGMENTS}/${first}`)!)];
    for (const { headerBytes } of frames) tree.append(leafHash(sha256, headerBytes));
    const link = leafHash(sha256, frames.at(-1)!.headerBytes);
    const pruned = encodePruned({ size: tree.size, peaks: tree.peaks, link });
    rewrite(disk, `${DIR}/pruned`, pruned);
    disk.remove(`${SEGMENTS}/${first}`);
    const known = eventsFrom(disk);
    expect(known[0]?.index).toBeGreaterThan(Number(second!.slice(0, 20)));
    const { writer, events } = open(disk);
    expect(events).toEqual(known);
    writer.close();
  });

  test('tells anew what is left, where most of it left', async () => {
    const disk = written();
    const names = disk.list(SEGMENTS)!;
    const tree = new Tree(sha256);
    let link = new Uint8Array();
    for (const name of names.slice(0, -1)) {
      for (const { headerBytes } of readFrames(disk.readAll(`${SEGMENTS}/${name}`)!)) {
        link = Uint8Array.from(leafHash(sha256, headerBytes));
        tree.append(link);
      }
      disk.remove(`${SEGMENTS}/${name}`);
    }
    const pruned = encodePruned({ size: tree.size, peaks: tree.peaks, link });
    rewrite(disk, `${DIR}/pruned`, pruned);
    const before = disk.readAll(`${DIR}/waypoint-told`)!.length;
    live(open(disk).writer, 1);
    expect(disk.readAll(`${DIR}/waypoint-told`)!.length).toBeLessThan(before);
    const known = eventsFrom(disk);
    expect(open(disk).events).toEqual(known);
  });

  test('is not ahead of what is signed', () => {
    const disk = emptyDisk();
    const { writer } = open(disk);
    writer.checkpoint();
    writer.finishSegment();
    writer.append('traces', IN_PROCESS, spanEntries('not signed'));
    writer.close();
    expect(Waypoint.open(disk, DIR, signer).at.size).toBe(0);
  });

  test('that can not be saved keeps nobody from sealing', async () => {
    const disk = emptyDisk();
    const { files } = watched(disk);
    const failing = Object.assign(files, {
      rename: (from: string, to: string) => {
        if (to.endsWith('/waypoint')) throw new Error('EIO');
        disk.rename(from, to);
      },
    });
    live(open(failing).writer, 4);
    await expectWhole(disk, false);
  });

  test('is not saved by a process that opened the log again: an event may have gone unheard', async () => {
    const disk = written();
    const waypoint = Waypoint.open(disk, DIR, signer);
    const before = disk.readAll(`${DIR}/waypoint`);
    const first = openWriter(disk, signer, { waypoint });
    const resume = { head: first.head, inDoubt: undefined, continues: 0 };
    first.close();
    live(openWriter(disk, signer, { waypoint, resume }), 3);
    expect(disk.readAll(`${DIR}/waypoint`)).toEqual(before);
    await expectWhole(disk, undefined);
  });
});

describe('a waypoint that is not to be gone by', () => {
  test('in any byte: the whole log is read', async () => {
    for (const name of FILES) {
      const { length } = written().readAll(`${DIR}/${name}`)!;
      for (let offset = 0; offset < length; offset += name === 'waypoint' ? 7 : 41) {
        const disk = written();
        const bytes = Uint8Array.from(disk.readAll(`${DIR}/${name}`)!);
        bytes[offset]! ^= 1;
        rewrite(disk, `${DIR}/${name}`, bytes);
        await expectWhole(disk, false, `${name} ${offset}`);
      }
    }
  });

  test.each<readonly [what: string, change: (disk: MemoryDisk) => void, isFast: boolean]>([
    ['without what was told', (disk) => disk.remove(`${DIR}/waypoint-told`), false],
    ['without its head', (disk) => disk.remove(`${DIR}/waypoint`), false],
    ['empty', (disk) => rewrite(disk, `${DIR}/waypoint`, Uint8Array.of()), false],
    ['cut off', (disk) => cut(disk, 'waypoint', 40), false],
    ['with less told', (disk) => cut(disk, 'waypoint-told', 40), false],
    ['of another log of this key', (disk) => take(disk, otherLog()), false],
    [
      'of another key',
      (disk) => {
        const other = openSigner();
        const own = emptyDisk();
        live(open(own, other).writer, 5);
        take(disk, own);
      },
      false,
    ],
    [
      'with more told than it says, as a crash leaves it',
      (disk) => {
        const file = disk.open(`${DIR}/waypoint-told`, 'existing');
        disk.append(file, Buffer.from('event 1 AA'));
        disk.close(file);
      },
      true,
    ],
  ])('%s', async (_what, change, isFast) => {
    const disk = written();
    change(disk);
    await expectWhole(disk, isFast);
  });

  test('an older one is true as well', async () => {
    const disk = written();
    const old = FILES.map((name) => disk.readAll(`${DIR}/${name}`)!);
    live(open(disk).writer, 3);
    for (const [at, name] of FILES.entries()) rewrite(disk, `${DIR}/${name}`, old[at]!);
    await expectWhole(disk, undefined);
  });

  test('the segment behind it is gone: the log is refused as it would be', () => {
    const disk = written();
    disk.remove(`${SEGMENTS}/${disk.list(SEGMENTS)!.at(-1)}`);
    expect(() => open(disk)).toThrow(DamagedLogError);
  });

  test('an older checkpoint: all is read, for its root has to be met', async () => {
    const disk = emptyDisk();
    const { writer } = open(disk);
    writer.checkpoint();
    const old = disk.readAll(`${DIR}/checkpoint`)!;
    writer.finishSegment();
    live(writer, 4);
    rewrite(disk, `${DIR}/checkpoint`, old);
    const { files, opened } = watched(disk);
    open(files).writer.close();
    expect(new Set(opened)).toEqual(new Set(disk.list(SEGMENTS)));
  });

  test.each(LOSSES)('after a crash at any step, with what was not synced %s', async (loss) => {
    const run = (files: Files): void => {
      live(open(files).writer, 3);
    };
    const calm = openFaultyFiles(written());
    run(calm);
    for (let at = 0; at < calm.operations.length; at++) {
      const disk = written();
      const faulty = openFaultyFiles(disk, { at, kind: 'after', crashes: true });
      try {
        run(faulty);
      } catch {
        // Most steps tell of it.
      }
      const left = disk.afterCrash(loss);
      const what = `${at}: ${calm.operations[at]}`;
      const { writer, events } = open(left);
      writer.close();
      const known = eventsFrom(left);
      expect([what, events]).toEqual([what, known.slice(0, events.length)]);
      // What a crash tore off was never heard of.
      expect([what, events.length]).toEqual([what, known.length]);
    }
  });
});

function leafOf(segments: ReturnType<typeof logOn>['segments'], index: number): Uint8Array {
  for (const { bytes } of segments) {
    for (const { header, headerBytes } of readFrames(bytes)) {
      if (header.index === index) return leafHash(sha256, headerBytes);
    }
  }
  throw new RangeError('index');
}

function cut(disk: Files, name: string, byteLength: number): void {
  const bytes = disk.readAll(`${DIR}/${name}`)!;
  rewrite(disk, `${DIR}/${name}`, bytes.slice(0, bytes.length - byteLength));
}

function take(disk: Files, from: Files): void {
  for (const name of FILES) rewrite(disk, `${DIR}/${name}`, from.readAll(`${DIR}/${name}`)!);
}

/** As a restored backup goes on: the same key and sizes, other records. */
function otherLog(): MemoryDisk {
  const disk = emptyDisk();
  const { writer } = open(disk);
  writer.append('traces', IN_PROCESS, spanEntries('other'));
  live(writer, 5);
  return disk;
}
