// SPDX-License-Identifier: Apache-2.0
// Goal: a crash or a power cut at any durable step of the writer loses nothing that was acknowledged, never lets two heads
// of one size be signed, and leaves a log that opens again. Method: every operation of the writer fails, in every way, on a
// disk that then keeps, loses or tears what was not synced; the judge is verifyLog, with every signature ever made.
import { beforeAll, describe, expect, test } from 'vitest';
import { parseCheckpoint } from '../../exporter/log/note.ts';
import type { FindingCode } from '../../exporter/log/report.ts';
import { DamagedLogError, type LogWriter } from '../../exporter/node/storage/log-writer.ts';
import {
  FAULT_KINDS,
  type Fault,
  type FaultyFiles,
  LOSSES,
  type Loss,
  MemoryDisk,
  openFaultyFiles,
} from '../support/faulty-files.ts';
import { spansOfTraces } from '../support/otlp-proto.ts';
import { randomOf, seedOfCommit } from '../support/random.ts';
import {
  COUNTERS,
  codesOf,
  DIR,
  emptyDisk,
  IN_PROCESS,
  judge,
  logOn,
  ORIGIN,
  openClock,
  openSigner,
  openWriter,
  spanEntries,
  type WitnessedSigner,
} from '../support/small-log.ts';

/** What the outside world knows of a log: what was acknowledged, and what was signed. */
interface World {
  readonly signer: WitnessedSigner;
  readonly acknowledged: string[];
  readonly now: () => number;
}

const openWorld = (): World => ({ signer: openSigner(), acknowledged: [], now: openClock() });

/** A world that goes its own way from here on. */
function copyOf({ signer, acknowledged, now }: World): World {
  return {
    signer: openSigner(ORIGIN, signer.pem, [...signer.notes]),
    acknowledged: [...acknowledged],
    now,
  };
}

function open(world: World, files: FaultyFiles | MemoryDisk): LogWriter {
  // Small segments, so that each life of the writer begins some.
  return openWriter(files, world.signer, { now: world.now, segmentByteLengthMax: 1200 });
}

/** One life of a writer: opens, appends, signs, closes; acknowledges what `append` returned for. */
function live(world: World, files: FaultyFiles | MemoryDisk, life: string): void {
  const writer = open(world, files);
  const append = (name: string): void => {
    writer.append('traces', IN_PROCESS, spanEntries(name));
    world.acknowledged.push(name);
  };
  try {
    append(`${life} 1`);
    writer.checkpoint();
    append(`${life} 2`);
    append(`${life} 3`);
    writer.finishSegment();
    append(`${life} 4`);
    writer.checkpoint();
    writer.appendControl([{ name: 'closed', ...COUNTERS }]);
    writer.checkpoint();
  } finally {
    writer.close();
  }
}

/** Lives until the fault; true where it came. */
function dies(world: World, files: FaultyFiles, life: string): boolean {
  try {
    live(world, files, life);
    return false;
  } catch (error) {
    if (error instanceof Error && error.name === 'InjectedFault') return true;
    throw error;
  }
}

/** No two signed heads of one size, every acknowledged span in the log, and nothing but honest findings. */
async function expectWhole(
  world: World,
  disk: MemoryDisk,
  where: string,
  isPowerLost = false,
): Promise<ReadonlySet<FindingCode>> {
  const log = logOn(disk);
  const names: string[] = [];
  const report = await judge(
    // Every note ever signed is held against the log: a cut below one of them would be found.
    { ...log, checkpoints: [...world.signer.notes, ...log.checkpoints] },
    {
      verifiers: [world.signer.verifier],
      onRecord: ({ header, entries }) => {
        if (header.kind === 'traces')
          names.push(...entries.flatMap(spansOfTraces).map(({ name }) => name));
      },
    },
  );
  const found = new Set(codesOf(report));
  const kinds = new Set(found);
  for (const code of ['log.unclean-end', 'log.recovered', 'log.recovered-whole'] as const) {
    kinds.delete(code);
  }
  // What vouches for unsigned records is never synced: the power takes it. A killed process leaves it.
  if (isPowerLost) kinds.delete('log.adopted');
  expect([...kinds], where).toEqual([]);
  expect(new Set(names).size, where).toBe(names.length);
  const there = new Set(names);
  expect(
    world.acknowledged.filter((name) => !there.has(name)),
    where,
  ).toEqual([]);
  return found;
}

/** The next life of a crashed log leaves it whole, and tells of every byte it cut. */
async function expectRecovered(
  world: World,
  left: MemoryDisk,
  life: string,
  where: string,
  isPowerLost: boolean,
): Promise<void> {
  const isTorn = codesOf(await judge(logOn(left))).includes('log.torn-tail');
  live(world, left, life);
  const found = await expectWhole(world, left, where, isPowerLost);
  const isTold = found.has('log.recovered') || found.has('log.recovered-whole');
  if (isTorn) expect(isTold, where).toBe(true);
}

/** Operations of one undisturbed life on a copy of this disk. */
function operationsOf(disk: MemoryDisk, world: World): readonly string[] {
  const files = openFaultyFiles(disk.copy());
  live(copyOf(world), files, 'undisturbed');
  return files.operations;
}

const faultsAt = (at: number): Fault[] => FAULT_KINDS.map((kind) => ({ at, kind, crashes: true }));

const textOf = ({ at, kind }: Fault, operations: readonly string[], loss: Loss): string =>
  `${kind} ${at} ${operations[at]}, unsynced bytes ${loss}`;

describe('one crash', () => {
  test('in the first life of a log, at any step', async () => {
    const operations = operationsOf(emptyDisk(), openWorld());
    expect(operations.length).toBeGreaterThan(40);
    for (let at = 0; at < operations.length; at++) {
      for (const fault of faultsAt(at)) {
        for (const loss of LOSSES) {
          const where = textOf(fault, operations, loss);
          const world = openWorld();
          const disk = emptyDisk();
          expect(dies(world, openFaultyFiles(disk, fault), 'first'), where).toBe(true);
          const left = disk.afterCrash(loss);
          await expectRecovered(world, left, 'second', where, loss !== 'kept');
        }
      }
    }
  });

  test('in a later life, at any step, its opening included', async () => {
    const first = openWorld();
    const begun = emptyDisk();
    live(first, begun, 'first');
    const operations = operationsOf(begun, first);
    for (let at = 0; at < operations.length; at++) {
      for (const fault of faultsAt(at)) {
        for (const loss of LOSSES) {
          const where = textOf(fault, operations, loss);
          const world = copyOf(first);
          const disk = begun.copy();
          expect(dies(world, openFaultyFiles(disk, fault), 'second'), where).toBe(true);
          const left = disk.afterCrash(loss);
          await expectRecovered(world, left, 'third', where, loss !== 'kept');
        }
      }
    }
  });
});

describe('a crash in the recovery from a crash', () => {
  /** Disks as crashes left them: with a torn record, a lost name, a half-written `signing`. */
  const left: { readonly world: World; readonly disk: MemoryDisk; readonly where: string }[] = [];

  beforeAll(() => {
    const operations = operationsOf(emptyDisk(), openWorld());
    const crashes = operations.flatMap(
      (operation, at): readonly (readonly [number, Fault['kind'], Loss])[] => {
        if (operation === 'append') return [[at, 'short', 'kept']];
        return at % 6 === 0 ? [[at, 'before', 'half']] : [];
      },
    );
    for (const [at, kind, loss] of crashes) {
      const world = openWorld();
      const disk = emptyDisk();
      dies(world, openFaultyFiles(disk, { at, kind, crashes: true }), 'first');
      left.push({
        world,
        disk: disk.afterCrash(loss),
        where: textOf({ at, kind, crashes: true }, operations, loss),
      });
    }
  });

  test('at any step of it', async () => {
    expect(left.length).toBeGreaterThan(10);
    let recoveries = 0;
    for (const { world: begun, disk: crashed, where } of left) {
      const counting = openFaultyFiles(crashed.copy());
      open(copyOf(begun), counting).close();
      if (counting.operations.includes('truncate')) recoveries++;
      for (let at = 0; at < counting.operations.length; at++) {
        for (const fault of faultsAt(at)) {
          for (const loss of ['lost', 'half'] as const) {
            const world = copyOf(begun);
            const disk = crashed.copy();
            dies(world, openFaultyFiles(disk, fault), 'second');
            const survivor = disk.afterCrash(loss);
            await expectRecovered(
              world,
              survivor,
              'third',
              `${where}; then ${textOf(fault, counting.operations, loss)}`,
              true,
            );
          }
        }
      }
    }
    // The crashes before did leave something to cut.
    expect(recoveries).toBeGreaterThan(3);
  });
});

describe('the power goes', () => {
  /** Selections of unsynced names and sectors tried at each step. */
  const CHANCES = 6;

  test('at any step of two lives: what was not synced is lost, torn by sectors, or there in another order', async () => {
    const seed = seedOfCommit();
    const random = randomOf(seed);
    for (const life of ['first', 'second']) {
      const begun = openWorld();
      const disk = new MemoryDisk();
      disk.putDirectory(DIR);
      if (life === 'second') live(begun, disk, 'first');
      const operations = operationsOf(disk, begun);
      for (let at = 0; at < operations.length; at++) {
        const world = copyOf(begun);
        const dying = disk.copy();
        dies(world, openFaultyFiles(dying, { at, kind: 'before', crashes: true }), life);
        for (let chance = 0; chance < CHANCES; chance++) {
          const where = `seed ${seed}: ${life} life, before ${at} ${operations[at]}, chance ${chance}`;
          await expectRecovered(copyOf(world), dying.afterPowerLoss(random), 'next', where, true);
        }
      }
    }
  });

  test('the disk would notice: a name or bytes that nobody synced can be lost, those synced never', () => {
    const random = randomOf(1);
    const disk = new MemoryDisk();
    disk.putDirectory('/d');
    const write = (path: string, isNameSynced: boolean): void => {
      const file = disk.open(path, 'create');
      disk.append(file, new Uint8Array(2000).fill(1));
      disk.sync(file);
      if (isNameSynced) disk.syncDirectory('/d');
      disk.append(file, new Uint8Array(2000).fill(2));
      disk.close(file);
    };
    write('/d/durable', true);
    write('/d/named', false);
    const seen = new Set<string>();
    for (let chance = 0; chance < 200; chance++) {
      const left = disk.afterPowerLoss(random);
      const bytes = left.readAll('/d/durable')!;
      expect(bytes.subarray(0, 2000)).toEqual(new Uint8Array(2000).fill(1));
      seen.add(left.readAll('/d/named') === undefined ? 'name lost' : 'name kept');
      const rest = new Set(bytes.subarray(2000));
      seen.add(
        bytes.length === 2000 ? 'bytes lost' : rest.has(0) ? 'sector of zeros' : 'bytes kept',
      );
    }
    expect([...seen].sort()).toEqual(
      ['bytes kept', 'bytes lost', 'name kept', 'name lost', 'sector of zeros'].sort(),
    );
  });
});

test('a disk that fails without a crash: the writer is closed, the next one looks', async () => {
  const operations = operationsOf(emptyDisk(), openWorld());
  for (let at = 0; at < operations.length; at++) {
    for (const kind of FAULT_KINDS) {
      const world = openWorld();
      const disk = emptyDisk();
      const files = openFaultyFiles(disk, { at, kind, crashes: false });
      dies(world, files, 'first');
      // A file that was opened while the call says it failed, nobody can close.
      const isLeak = kind === 'after' && operations[at]!.startsWith('open');
      expect(disk.openCount).toBe(isLeak ? 1 : 0);
      live(world, files, 'second');
      await expectWhole(world, disk, `${kind} ${at} ${operations[at]}`);
    }
  }
});

test('the judge would notice: an acknowledged record cut off, a head signed twice', async () => {
  const world = openWorld();
  const disk = emptyDisk();
  live(world, disk, 'first');
  await expectWhole(world, disk, 'undisturbed');
  const sizes = world.signer.notes.map(({ bytes }) => parseCheckpoint(bytes).size);
  expect(sizes).toEqual([2, 5, 6]);
  await expect(
    expectWhole({ ...world, acknowledged: ['never sealed'] }, disk, 'missing'),
  ).rejects.toThrow('missing');
  const stranger = openWorld();
  live({ ...stranger, signer: world.signer }, emptyDisk(), 'another history');
  await expect(expectWhole(world, disk, 'forked')).rejects.toThrow('forked');
  disk.remove('/log/signing');
  expect(() => open(world, disk)).toThrow(DamagedLogError);
});
