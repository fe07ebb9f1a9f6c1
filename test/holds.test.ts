// SPDX-License-Identifier: Apache-2.0
// Goal: a hold that was asked for is sealed and carried out, whatever fails or crashes in between, and until then nothing
// is removed. Method: requests on a disk in memory, a seal and a store that fail when told to, crashes at each operation.
import { describe, expect, test } from 'vitest';
import {
  type HoldEvent,
  type HoldRequest,
  Holds,
  holdsIn,
  pendingHolds,
  requestHold,
} from '../exporter/node/archive/holds.ts';
import type { Files } from '../exporter/node/system/files.ts';
import { LOSSES, openFaultyFiles } from './support/faulty-files.ts';
import { DIR, emptyDisk } from './support/small-log.ts';

const placed = (id: string, by?: string): HoldRequest => ({ action: 'placed', id, by });
const released = (id: string): HoldRequest => ({ action: 'released', id });

/** A writer of holds, what it sealed, and the holds on its archive. */
class World {
  readonly sealed: HoldEvent[];
  isApplied = false;
  readonly reports: string[] = [];
  sealTrouble: string | undefined;
  storeTrouble: string | undefined;
  readonly holds: Holds;

  constructor(files: Files, sealed: readonly HoldEvent[] = []) {
    this.sealed = [...sealed];
    this.holds = new Holds({
      files,
      dir: DIR,
      sealed,
      seal: (event) => {
        if (this.sealTrouble !== undefined) throw new Error(this.sealTrouble);
        this.sealed.push(event);
      },
      apply: async (isHeld) => {
        if (this.storeTrouble !== undefined) throw new Error(this.storeTrouble);
        this.isApplied = isHeld;
      },
      onReport: (cause) => this.reports.push(cause),
    });
  }
}

let nowMs = 0;
const ask = (files: Files, request: HoldRequest): void => requestHold(files, DIR, request, nowMs++);

describe('a request', () => {
  test('is sealed, applied and gone', async () => {
    const disk = emptyDisk();
    const world = new World(disk);
    ask(disk, placed('case-7', 'legal'));
    expect(pendingHolds(disk, DIR)).toEqual([placed('case-7', 'legal')]);
    await world.holds.poll();
    expect(world).toMatchObject({
      sealed: [{ name: 'hold', action: 'placed', id: 'case-7', by: 'legal' }],
      isApplied: true,
      reports: [],
    });
    expect([world.holds.isHeld, world.holds.mayRemove]).toEqual([true, false]);
    expect(pendingHolds(disk, DIR)).toEqual([]);
  });

  test('is carried out in the order of asking; several holds, and the last release ends them', async () => {
    const disk = emptyDisk();
    const world = new World(disk);
    for (const request of [placed('a'), placed('b'), released('a')]) ask(disk, request);
    await world.holds.poll();
    expect([world.isApplied, world.holds.isHeld]).toEqual([true, true]);
    ask(disk, released('b'));
    await world.holds.poll();
    expect([world.isApplied, world.holds.isHeld, world.holds.mayRemove]).toEqual([
      false,
      false,
      true,
    ]);
    expect(world.sealed.map(({ action, id }) => `${id} ${action}`)).toEqual([
      'a placed',
      'b placed',
      'a released',
      'b released',
    ]);
  });

  test('for what is so already seals nothing', async () => {
    const disk = emptyDisk();
    const before: HoldEvent = { name: 'hold', action: 'placed', id: 'a' };
    const world = new World(disk, [before]);
    for (const request of [placed('a'), released('b')]) ask(disk, request);
    await world.holds.poll();
    expect(world.sealed).toEqual([before]);
    expect(world.isApplied).toBe(true);
  });

  test('in words that no event has is spelled as one', async () => {
    const disk = emptyDisk();
    const world = new World(disk);
    ask(disk, placed('Fälle/7'));
    await world.holds.poll();
    expect(world.sealed).toMatchObject([{ id: 'F?lle/7' }]);
    ask(disk, released('Fälle/7'));
    await world.holds.poll();
    expect(world.holds.isHeld).toBe(false);
  });

  test.each([
    '',
    'null',
    '7',
    '[]',
    '{"action":"stop","id":"a"}',
    '{"action":"placed"}',
    '{"action":"placed","id":""}',
    '{"action":"placed","id":7}',
    '{"action":"placed","id":"a","by":7}',
    '{"action":"placed","id":"a","also":1}',
    `{"action":"placed","id":"${'x'.repeat(201)}"}`,
    `{"action":"placed","id":"a","by":"${'x'.repeat(201)}"}`,
  ])('that is none is told, and gone: %s', async (text) => {
    const disk = emptyDisk();
    ask(disk, placed('a'));
    const [name] = disk.list(`${DIR}/holds`)!;
    const file = disk.open(`${DIR}/holds/${name}`, 'truncate');
    disk.append(file, Buffer.from(text));
    disk.close(file);
    const world = new World(disk);
    await world.holds.poll();
    expect(world.reports).toEqual([
      `${DIR}/holds/${name} is no request for a hold, and was removed`,
    ]);
    expect([world.sealed, disk.list(`${DIR}/holds`)]).toEqual([[], []]);
  });

  test.each([
    ['no id', { action: 'placed', id: '' }],
    ['a long id', { action: 'placed', id: 'x'.repeat(201) }],
    ['a long name', { action: 'placed', id: 'a', by: 'x'.repeat(201) }],
  ] as const)('with %s is refused', (_what, request) => {
    const disk = emptyDisk();
    expect(() => ask(disk, request)).toThrow(RangeError);
    expect(pendingHolds(disk, DIR)).toEqual([]);
  });
});

describe('while it is not carried out,', () => {
  test.each(['sealTrouble', 'storeTrouble'] as const)(
    'for %s, nothing may be removed, it is told once, and done when that has passed',
    async (trouble) => {
      const disk = emptyDisk();
      const world = new World(disk);
      ask(disk, placed('a'));
      world[trouble] = 'away';
      for (let count = 0; count < 3; count++) await world.holds.poll();
      expect(world).toMatchObject({ isApplied: false, reports: ['away'] });
      expect(world.holds).toMatchObject({ mayRemove: false, isApplied: false });
      world[trouble] = undefined;
      await world.holds.poll();
      expect([world.isApplied, world.holds.isHeld]).toEqual([true, true]);
      expect(world.sealed).toHaveLength(1);
    },
  );

  test('nothing may be removed from the start on', () => {
    const disk = emptyDisk();
    ask(disk, placed('a'));
    expect(new World(disk).holds.mayRemove).toBe(false);
  });

  test.each(LOSSES)(
    'a crash at any step costs no hold, with what was not synced %s',
    async (loss) => {
      const carryOut = async (files: Files, world: World): Promise<void> => {
        ask(files, placed('a'));
        await world.holds.poll();
      };
      const calm = openFaultyFiles(emptyDisk());
      await carryOut(calm, new World(calm));
      expect(calm.operations.length).toBeGreaterThan(5);
      for (let at = 0; at < calm.operations.length; at++) {
        const disk = emptyDisk();
        const faulty = openFaultyFiles(disk, { at, kind: 'after', crashes: true });
        const world = new World(faulty);
        let wasTold = false;
        try {
          ask(faulty, placed('a'));
          wasTold = true;
          await world.holds.poll();
        } catch {
          // Whoever asked knows that it did not work.
        }
        const left = disk.afterCrash(loss);
        const next = new World(left, world.sealed);
        next.isApplied = world.isApplied;
        await next.holds.poll();
        const what = `${at}: ${calm.operations[at]}`;
        if (wasTold) expect([next.holds.isHeld, next.isApplied], what).toEqual([true, true]);
        expect(next.holds.isHeld, what).toBe(next.isApplied);
        expect(next.sealed.length, what).toBeLessThanOrEqual(1);
      }
    },
  );
});

test('what the log holds is read when something is asked for, and not before', async () => {
  const disk = emptyDisk();
  const sealed: HoldEvent[] = [{ name: 'hold', action: 'placed', id: 'a' }];
  let readCount = 0;
  const holds = new Holds({
    files: disk,
    dir: DIR,
    sealed: async () => {
      readCount++;
      return sealed;
    },
    seal: (event) => sealed.push(event),
    apply: async () => {},
    onReport: () => {},
  });
  await holds.poll();
  expect(readCount).toBe(0);
  for (const request of [released('a'), placed('b')]) ask(disk, request);
  await holds.poll();
  expect(sealed.map(({ action, id }) => `${id} ${action}`)).toEqual([
    'a placed',
    'a released',
    'b placed',
  ]);
  expect([readCount, holds.isHeld]).toEqual([1, true]);
});

test('ids that are on: placed, and not released since', () => {
  const event = (action: string, id: string): HoldEvent => ({ name: 'hold', action, id });
  const events = [
    event('placed', 'a'),
    event('released', 'a'),
    event('placed', 'b'),
    event('placed', 'a'),
    event('lifted', 'b'),
  ];
  expect([...holdsIn(events)].sort()).toEqual(['a', 'b']);
});
