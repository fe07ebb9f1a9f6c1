// SPDX-License-Identifier: Apache-2.0
// Goal: what was written before a process was killed is read at the next start, whatever the kill left of the last
// write. Method: the journal over files in memory, cut and damaged at every byte; a real child that is killed.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  beginJournal,
  IntentJournal,
  type IntentRecord,
  type JournalOptions,
  readIntents,
  removeJournals,
} from '../exporter/node/storage/intents.ts';
import { type Files, nodeFiles } from '../exporter/node/system/files.ts';
import { FAULT_KINDS, MemoryDisk, openFaultyFiles } from './support/faulty-files.ts';

const DIR = '/log';

const intent = (sequence: number, model = 'gpt-5'): IntentRecord => ({
  sequence,
  traceId: sequence.toString(16).padStart(32, 'a'),
  spanId: sequence.toString(16).padStart(16, 'b'),
  startedMs: 1_790_000_000_000 + sequence,
  model,
});

function openDisk(): MemoryDisk {
  const disk = new MemoryDisk();
  disk.makeDirectory(DIR);
  return disk;
}

function begin(disk: MemoryDisk, options: Partial<JournalOptions> = {}): IntentJournal {
  beginJournal(disk, DIR, options.run ?? 7);
  return new IntentJournal({
    files: disk,
    dir: DIR,
    run: 7,
    isSync: false,
    newestRecord: () => 9,
    unsettled: () => [],
    ...options,
  });
}

const nameOf = (disk: MemoryDisk): string => {
  const names = disk.list(DIR) ?? [];
  expect(names).toHaveLength(1);
  return join(DIR, names[0] as string);
};

test('what was written is read, in order', () => {
  const disk = openDisk();
  const journal = begin(disk);
  const written = [intent(1), intent(2, ''), intent(3, 'm'.repeat(100))];
  for (const one of written) journal.write(one);
  expect(readIntents(disk, DIR)).toEqual([
    {
      run: 7,
      fromRecord: 7,
      highest: 3,
      isWhole: true,
      intents: [intent(1), intent(2, ''), intent(3, 'm'.repeat(64))],
    },
  ]);
});

test('a run that ended in order leaves nothing', () => {
  const disk = openDisk();
  const journal = begin(disk);
  journal.write(intent(1));
  journal.close();
  journal.write(intent(2));
  begin(disk, { run: 9 });
  removeJournals(disk, DIR, 7);
  expect(readIntents(disk, DIR).map(({ run, highest }) => [run, highest])).toEqual([[7, 1]]);
  removeJournals(disk, DIR);
  expect(disk.list(DIR)).toEqual([]);
});

test('a journal cut at any byte gives the whole intents before the cut', () => {
  const disk = openDisk();
  const journal = begin(disk);
  const path = nameOf(disk);
  const headerLength = disk.readAll(path)?.length ?? 0;
  for (let sequence = 1; sequence <= 3; sequence++) journal.write(intent(sequence));
  const bytes = disk.readAll(path) as Uint8Array;
  for (let length = 0; length <= bytes.length; length++) {
    const cut = openDisk();
    const file = cut.open(path, 'create');
    cut.append(file, bytes.subarray(0, length));
    const whole = Math.max(0, Math.floor((length - headerLength) / 112));
    const expected = length < headerLength ? [] : [1, 2, 3].slice(0, whole);
    const intents = readIntents(cut, DIR);
    expect(intents.flatMap((run) => run.intents.map(({ sequence }) => sequence))).toEqual(expected);
  }
});

test('an intent with a wrong byte ends the journal', () => {
  const disk = openDisk();
  const journal = begin(disk);
  const path = nameOf(disk);
  for (let sequence = 1; sequence <= 3; sequence++) journal.write(intent(sequence));
  const bytes = disk.readAll(path) as Uint8Array;
  for (let at = bytes.length - 224; at < bytes.length - 112; at++) {
    const damaged = openDisk();
    const copy = bytes.slice();
    copy[at] = (copy[at] as number) ^ 1;
    damaged.append(damaged.open(path, 'create'), copy);
    const [run] = readIntents(damaged, DIR);
    expect(run?.intents.map(({ sequence }) => sequence)).toEqual([1]);
  }
});

describe('a journal that grew', () => {
  test('begins anew with the calls that still run', () => {
    const disk = openDisk();
    let newestRecord = 9;
    const running = [intent(2), intent(60)];
    const journal = begin(disk, {
      newestRecord: () => newestRecord,
      unsettled: () => running,
      rotateEntryCount: 100,
    });
    const first = nameOf(disk);
    for (let sequence = 1; sequence <= 100; sequence++) journal.write(intent(sequence));
    expect(nameOf(disk)).toBe(first);
    newestRecord = 50;
    journal.write(intent(101));
    expect(nameOf(disk)).not.toBe(first);
    expect(readIntents(disk, DIR)).toEqual([
      {
        run: 7,
        fromRecord: 50,
        highest: 101,
        isWhole: true,
        intents: [...running, intent(101)],
      },
    ]);
  });

  test('tells the call that it began anew for once', () => {
    const disk = openDisk();
    const running = [intent(1), intent(2)];
    const journal = begin(disk, { unsettled: () => running, rotateEntryCount: 1 });
    for (const one of running) journal.write(one);
    expect(readIntents(disk, DIR).flatMap(({ intents }) => intents)).toEqual(running);
  });

  test('and was killed between the two files gives the union of both', () => {
    const disk = openDisk();
    const first = begin(disk, {
      newestRecord: () => 20,
      unsettled: () => [intent(3)],
      rotateEntryCount: 3,
    });
    for (const sequence of [1, 2, 3]) first.write(intent(sequence));
    const old = disk.readAll(nameOf(disk)) as Uint8Array;
    const both = openDisk();
    both.append(both.open(nameOf(disk), 'create'), old);
    first.write(intent(4));
    const young = disk.readAll(nameOf(disk)) as Uint8Array;
    both.append(both.open(nameOf(disk), 'create'), young);
    expect(both.list(DIR)).toHaveLength(2);
    const [run] = readIntents(both, DIR);
    expect(run?.intents.map(({ sequence }) => sequence).sort()).toEqual([1, 2, 3, 4]);
    expect(run?.fromRecord).toBe(7);
    expect(run?.highest).toBe(4);
  });
});

describe('a write that fails', () => {
  const live = (files: Files, onWrite: (sequence: number, failed: boolean) => void): void => {
    const running: IntentRecord[] = [];
    const journal = new IntentJournal({
      files,
      dir: DIR,
      run: 7,
      isSync: true,
      newestRecord: () => 9,
      unsettled: () => running,
      rotateEntryCount: 3,
    });
    for (let sequence = 1; sequence <= 8; sequence++) {
      running.push(intent(sequence));
      let failed = false;
      try {
        journal.write(intent(sequence));
      } catch {
        failed = true;
      }
      onWrite(sequence, failed);
    }
  };
  const upTo = (sequence: number) => Array.from({ length: sequence }, (_, at) => at + 1);
  const begun = (): MemoryDisk => {
    const disk = openDisk();
    beginJournal(disk, DIR, 7);
    return disk;
  };

  test.each(FAULT_KINDS)(
    '%s, at any step, leaves no journal that lacks a call, and the next one has all of them',
    (kind) => {
      const calm = openFaultyFiles(begun());
      live(calm, () => {});
      expect(calm.operations.length).toBeGreaterThan(20);
      for (let at = 0; at < calm.operations.length; at++) {
        const disk = begun();
        let failures = 0;
        live(openFaultyFiles(disk, { at, kind, crashes: false }), (sequence, failed) => {
          const where = `${at}: ${calm.operations[at]}, call ${sequence}`;
          const runs = readIntents(disk, DIR);
          if (failed) {
            failures++;
            expect(runs, where).toEqual([]);
            return;
          }
          expect(
            runs.map(({ highest }) => highest),
            where,
          ).toEqual([sequence]);
          const told = runs.flatMap(({ intents }) => intents.map((one) => one.sequence));
          expect([...told].sort(), where).toEqual(upTo(sequence));
        });
        expect(failures, `${at}`).toBe(1);
      }
    },
  );

  test('for as long as the disk is full: the calls of that time are told once it is not', () => {
    const disk = begun();
    const files = openFaultyFiles(disk);
    live(files, (sequence) => {
      const told = readIntents(disk, DIR).flatMap(({ intents }) =>
        intents.map((one) => one.sequence),
      );
      if (sequence === 8) expect(told).toEqual(upTo(8));
      files.isAway = sequence >= 3 && sequence <= 6;
    });
  });
});

test('runs are told apart, and other files are left alone', () => {
  const disk = openDisk();
  begin(disk, { run: 30 }).write(intent(1));
  begin(disk, { run: 4 }).write(intent(2));
  disk.open(join(DIR, 'checkpoint'), 'create');
  disk.open(join(DIR, 'intents-foreign'), 'create');
  expect(readIntents(disk, DIR).map(({ run }) => run)).toEqual([4, 30]);
});

test('a killed process leaves every intent it wrote', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sealspan-intents-'));
  try {
    const child = fork(new URL('./support/intents-child.ts', import.meta.url), [dir]);
    const [written] = (await once(child, 'message')) as [number];
    child.kill('SIGKILL');
    await once(child, 'exit');
    const [run] = readIntents(nodeFiles, dir);
    expect(run?.intents.length).toBeGreaterThanOrEqual(written);
    expect(run?.intents.map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: run?.intents.length ?? 0 }, (_, at) => at + 1),
    );
  } finally {
    rmSync(dir, { recursive: true });
  }
});
