// SPDX-License-Identifier: Apache-2.0
// Goal: every finished segment ends up in the store with a checkpoint that covers it and one sealed receipt, whatever
// fails in between. Method: a real directory store, segment files, and a list of receipts in place of the sealer.
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { ReceiptEvent } from '../exporter/log/control.ts';
import { type Archive, openDirectoryArchive } from '../exporter/node/archive/archive.ts';
import {
  type ArchiveReport,
  type Archiver,
  type ArchiverConfig,
  openArchiver,
} from '../exporter/node/archive/archiver.ts';
import type { FinishedSegment } from '../exporter/node/storage/record.ts';

const ORIGIN = 'example.org/audit/a';
const LONG_MS = 30_000;

/** A log of segments of ten records each, and all that an archiver tells about it. */
class World {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'sealspan-log-'));
  readonly store: string = mkdtempSync(join(tmpdir(), 'sealspan-store-'));
  readonly segments: FinishedSegment[] = [];
  readonly receipts: ReceiptEvent[] = [];
  readonly reports: ArchiveReport[] = [];
  checkpoint: { readonly size: number; readonly bytes: Uint8Array } | undefined;

  finish(text: string): void {
    const firstIndex = this.segments.length * 10;
    const path = join(this.dir, `${firstIndex}.seg`);
    writeFileSync(path, text);
    this.segments.push({ firstIndex, nextIndex: firstIndex + 10, path, byteLength: text.length });
  }

  cover(size: number): void {
    this.checkpoint = { size, bytes: Buffer.from(`checkpoint of ${size}`) };
  }

  open(more: Partial<ArchiverConfig> = {}): Archiver {
    const archiver = openArchiver({
      archive: openDirectoryArchive(this.store),
      origin: ORIGIN,
      finishedSegments: async function* (this: World) {
        yield* this.segments;
      }.bind(this),
      checkpoint: () => this.checkpoint,
      receipts: [...this.receipts],
      onReceipt: (receipt) => {
        this.receipts.push(receipt);
      },
      onReport: (report) => this.reports.push(report),
      retryDelays: { initialMs: 1, maxMs: 5 },
      ...more,
    });
    opened.push(archiver);
    return archiver;
  }

  stored(): Record<string, string> {
    const root = join(this.store, ORIGIN);
    if (!existsSync(root)) return {};
    return Object.fromEntries(
      ['checkpoints', 'segments'].flatMap((kind) =>
        readdirSync(join(root, kind))
          .sort()
          .map((name) => [`${kind}/${name}`, readFileSync(join(root, kind, name), 'utf8')]),
      ),
    );
  }
}

const opened: Archiver[] = [];
afterEach(async () => {
  for (const archiver of opened.splice(0)) await archiver.close();
});

/** Until a pass has failed. */
async function untilWaiting(archiver: Archiver): Promise<void> {
  while (archiver.status().state !== 'waiting') await new Promise(setImmediate);
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function segmentName(index: number): string {
  return `segments/${String(index).padStart(20, '0')}.seg`;
}

function checkpointName(size: number): string {
  const hex = sha256(`checkpoint of ${size}`).toString('hex');
  return `checkpoints/${String(size).padStart(20, '0')}-${hex}`;
}

function receiptOf(world: World, firstIndex: number, text: string): ReceiptEvent {
  return {
    name: 'receipt',
    archive: `directory:${world.store}`,
    segment: firstIndex,
    size: firstIndex + 10,
    byteLength: text.length,
    sha256: sha256(text),
    key: `${ORIGIN}/${segmentName(firstIndex)}`,
  };
}

test('stores each finished segment with a checkpoint that covers it, and gives a receipt', async () => {
  const world = new World();
  world.finish('first');
  world.finish('second');
  world.cover(25);
  const archiver = world.open();
  expect(await archiver.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
  expect(world.stored()).toEqual({
    [checkpointName(25)]: 'checkpoint of 25',
    [segmentName(0)]: 'first',
    [segmentName(10)]: 'second',
  });
  expect(world.receipts).toEqual([receiptOf(world, 0, 'first'), receiptOf(world, 10, 'second')]);
  expect(archiver.status()).toEqual({
    state: 'idle',
    archivedCount: 2,
    behindBy: 0,
    failureCount: 0,
    cause: undefined,
  });

  world.finish('third');
  world.cover(30);
  archiver.notify();
  expect(await archiver.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
  expect(world.receipts.slice(2)).toEqual([receiptOf(world, 20, 'third')]);
});

test('waits for a checkpoint that covers the segment', async () => {
  const world = new World();
  world.finish('first');
  world.finish('second');
  const archiver = world.open();
  expect(await archiver.flush(LONG_MS)).toEqual({ status: 'pending', behindBy: 2 });
  world.cover(19);
  expect(await archiver.flush(LONG_MS)).toEqual({ status: 'pending', behindBy: 1 });
  expect(Object.keys(world.stored())).toEqual([checkpointName(19), segmentName(0)]);
  world.cover(20);
  expect(await archiver.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
});

describe('progress is what is sealed', () => {
  test('a segment with a receipt is not looked at again', async () => {
    const world = new World();
    world.finish('first');
    world.cover(10);
    await world.open().flush(LONG_MS);
    rmSync(world.segments[0]!.path);
    rmSync(world.store, { recursive: true });
    expect(await world.open().flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
    expect(world.receipts.length).toBe(1);
  });

  test('a crash before the receipt: what is stored is found, and gets its receipt', async () => {
    const world = new World();
    world.finish('first');
    world.cover(10);
    await world.open().flush(LONG_MS);
    const [receipt] = world.receipts.splice(0);
    world.cover(12);
    expect(await world.open().flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
    expect(world.receipts).toEqual([receipt]);
    expect(Object.keys(world.stored())).toEqual([
      checkpointName(10),
      checkpointName(12),
      segmentName(0),
    ]);
  });

  test('the receipt of another store is none', async () => {
    const world = new World();
    world.finish('first');
    world.cover(10);
    const elsewhere = { ...receiptOf(world, 0, 'first'), archive: 'directory:/elsewhere' };
    await world.open({ receipts: [elsewhere] }).flush(LONG_MS);
    expect(world.receipts).toEqual([receiptOf(world, 0, 'first')]);
  });

  test('a receipt that could not be sealed is given again', async () => {
    const world = new World();
    world.finish('first');
    world.cover(10);
    const given: ReceiptEvent[] = [];
    const archiver = world.open({
      onReceipt: async (receipt) => {
        if (given.push(receipt) < 3) throw new Error('disk full');
      },
    });
    expect(await archiver.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
    expect(given).toEqual(Array(3).fill(receiptOf(world, 0, 'first')));
  });
});

test('a pass looks at what is new, and not at all that was archived', async () => {
  const world = new World();
  const asked: number[] = [];
  const archiver = world.open({
    finishedSegments: async function* (from) {
      asked.push(from);
      yield* world.segments.filter(({ firstIndex }) => firstIndex >= from);
    },
  });
  for (const text of ['a', 'b', 'c']) {
    world.finish(text);
    world.cover(world.segments.length * 10);
    expect(await archiver.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
  }
  expect(asked.at(-1)).toBeGreaterThanOrEqual(20);
  expect(asked).toEqual([...asked].sort((a, b) => a - b));
  expect(world.receipts.map(({ segment }) => segment)).toEqual([0, 10, 20]);
  // One that the store has something else for is looked at each time, and so are those behind it.
  writeFileSync(join(world.store, ORIGIN, segmentName(30)), 'another');
  for (const text of ['d', 'e']) world.finish(text);
  world.cover(50);
  expect(await archiver.flush(LONG_MS)).toEqual({ status: 'pending', behindBy: 1 });
  await archiver.flush(LONG_MS);
  expect(asked.at(-1)).toBe(30);
  expect(world.receipts.map(({ segment }) => segment)).toEqual([0, 10, 20, 40]);
});

test('a store that is away is waited for, and told about', async () => {
  const world = new World();
  world.finish('first');
  world.finish('second');
  world.cover(20);
  rmSync(world.store, { recursive: true });
  const archiver = world.open();
  await untilWaiting(archiver);
  expect(await archiver.flush(1)).toEqual({ status: 'pending', behindBy: 1 });
  expect(archiver.status()).toMatchObject({
    archivedCount: 0,
    cause: expect.stringContaining('ENOENT'),
  });
  mkdirSync(world.store);
  expect(await archiver.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
  expect(world.receipts.map(({ segment }) => segment)).toEqual([0, 10]);
});

test('a segment that can not be read does not keep the others back', async () => {
  const world = new World();
  for (const text of ['first', 'second', 'third']) world.finish(text);
  world.cover(30);
  rmSync(world.segments[0]!.path);
  writeFileSync(world.segments[1]!.path, 'longer than it was');
  const archiver = world.open();
  await untilWaiting(archiver);
  expect(await archiver.flush(1)).toEqual({ status: 'pending', behindBy: 2 });
  expect(world.receipts).toEqual([receiptOf(world, 20, 'third')]);
  writeFileSync(world.segments[0]!.path, 'first');
  writeFileSync(world.segments[1]!.path, 'second');
  expect(await archiver.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
});

test('other content in the store is reported once, never replaced, and keeps no other segment back', async () => {
  const world = new World();
  world.finish('first');
  world.finish('second');
  world.cover(20);
  mkdirSync(join(world.store, ORIGIN, 'segments'), { recursive: true });
  writeFileSync(join(world.store, ORIGIN, segmentName(0)), 'forged');
  const archiver = world.open({
    onReport: (report) => {
      world.reports.push(report);
      throw new Error('a broken listener');
    },
  });
  for (let round = 0; round < 2; round++) {
    expect(await archiver.flush(LONG_MS)).toEqual({ status: 'pending', behindBy: 1 });
  }
  expect(world.reports).toEqual([
    {
      code: 'conflict',
      firstIndex: 0,
      cause: `${ORIGIN}/${segmentName(0)}: other content is stored under this key`,
    },
  ]);
  expect(world.stored()[segmentName(0)]).toBe('forged');
  expect(world.receipts).toEqual([receiptOf(world, 10, 'second')]);
});

test('what the store says of its lock is in the receipt', async () => {
  const world = new World();
  world.finish('first');
  world.cover(10);
  const store = openDirectoryArchive(world.store);
  const locking: Archive = {
    ...store,
    put: async (object) => {
      const outcome = await store.put(object);
      return outcome.status === 'ok' && object.key.endsWith('.seg')
        ? { ...outcome, lock: 'COMPLIANCE until 2036-11-23T00:00:00Z\u2028' }
        : outcome;
    },
  };
  await world.open({ archive: locking }).flush(LONG_MS);
  const lock = 'COMPLIANCE until 2036-11-23T00:00:00Z?';
  expect(world.receipts).toEqual([{ ...receiptOf(world, 0, 'first'), lock }]);
});

test('closing ends every wait', async () => {
  const world = new World();
  world.finish('first');
  world.cover(10);
  rmSync(world.store, { recursive: true });
  const archiver = world.open({ retryDelays: { initialMs: 1e9, maxMs: 1e9 } });
  await untilWaiting(archiver);
  const flushed = archiver.flush(LONG_MS);
  await archiver.close();
  expect(await flushed).toEqual({ status: 'pending', behindBy: 1 });
  expect(archiver.status().state).toBe('closed');
});

test.each(['a/../b', 'a//b', '.a'])('the origin %j can not name objects', (origin) => {
  expect(() => new World().open({ origin })).toThrow(TypeError);
});
