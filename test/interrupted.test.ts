// SPDX-License-Identifier: Apache-2.0
// Goal: the next start seals exactly the calls that a killed process left without an end, or says nothing. Method: the
// real writer and journal on a disk in memory, left at any point; the next writer opens it, and verifyLog judges.
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ControlEvent, InterruptedEvent } from '../exporter/log/control.ts';
import { endOfRun, interruptedEvent } from '../exporter/node/sealing/interrupted.ts';
import {
  beginJournal,
  IntentJournal,
  type IntentRecord,
  removeJournals,
} from '../exporter/node/storage/intents.ts';
import type { LogWriter } from '../exporter/node/storage/log-writer.ts';
import { type MemoryDisk, openFaultyFiles } from './support/faulty-files.ts';
import {
  codesOf,
  DIR,
  emptyDisk,
  IN_PROCESS,
  judge,
  logOn,
  numberedEntries,
  openSigner,
  openWriter,
  recordsOf,
} from './support/small-log.ts';

const signer = openSigner();
const COUNTERS = { started: 0, ended: 0, sealed: 0, lost: 0, open: '' } as const;

const intentOf = (sequence: number): IntentRecord => ({
  sequence,
  traceId: sequence.toString(16).padStart(32, 'a'),
  spanId: sequence.toString(16).padStart(16, 'b'),
  startedMs: 1_790_000_000_000 + sequence,
  model: sequence % 2 === 0 ? '' : 'gpt-5',
});

/** A service as far as its log and its journal go. It is killed by not being used any more. */
class Service {
  writer: LogWriter;
  readonly #disk: MemoryDisk;
  readonly #journal: IntentJournal;
  readonly #running = new Map<number, IntentRecord>();
  #newestRecord = 0;

  constructor(disk: MemoryDisk, { rotateEntryCount = 100, numbers = true } = {}) {
    this.#disk = disk;
    let run = 0;
    this.writer = openWriter(disk, signer, {
      endOfRun: (size) => endOfRun({ files: disk, dir: DIR, size, numbers }),
      onOpening: (index) => {
        run = index;
        beginJournal(disk, DIR, run);
      },
    });
    removeJournals(disk, DIR, run);
    this.#newestRecord = run;
    this.#journal = new IntentJournal({
      files: disk,
      dir: DIR,
      run,
      isSync: false,
      newestRecord: () => this.#newestRecord,
      unsettled: () => this.#running.values(),
      rotateEntryCount,
    });
  }

  start(...sequences: readonly number[]): this {
    for (const sequence of sequences) {
      this.#running.set(sequence, intentOf(sequence));
      this.#journal.write(intentOf(sequence));
    }
    return this;
  }

  /** Seals the spans of calls, as one record. */
  seal(...sequences: readonly number[]): this {
    this.#newestRecord = this.writer.size;
    this.writer.append('traces', IN_PROCESS, numberedEntries(...sequences));
    for (const sequence of sequences) this.#running.delete(sequence);
    return this;
  }

  tell(...events: readonly ControlEvent[]): this {
    this.writer.appendControl(events);
    return this;
  }

  /** The disk went away and came back. */
  reopen(continues: number): this {
    this.writer.close();
    const resume = { head: this.writer.head, inDoubt: undefined, continues };
    this.writer = openWriter(this.#disk, signer, { resume });
    return this;
  }
}

const gap = (first: number, last: number): ControlEvent => ({
  name: 'gap',
  count: Math.max(1, last - first + 1),
  first,
  last,
  from: '2026-11-23T10:00:00.000Z',
  to: '2026-11-23T10:00:00.000Z',
  cause: 'x',
});

/** What the next start finds to say: numbers of interrupted calls, and `closed`; undefined where it says nothing. */
function endOn(
  disk: MemoryDisk,
  size: number,
  numbers = true,
): readonly [interrupted: number[], started: number, ended: number, sealed: number] | undefined {
  const events = endOfRun({ files: disk, dir: DIR, size, numbers });
  if (events.length === 0) return undefined;
  const interrupted = events.slice(0, -1) as InterruptedEvent[];
  const closed = events.at(-1);
  if (closed?.name !== 'closed') throw new Error('the last event is no closed');
  expect(interrupted).toEqual(
    interrupted.map(({ sequence }) => interruptedEvent(intentOf(sequence))),
  );
  expect(closed).toMatchObject({ highest: closed.started, open: '' });
  return [interrupted.map(({ sequence }) => sequence), closed.started, closed.ended, closed.sealed];
}

/** Names of control events and kinds of other records, in order, of the log behind record `from`. */
async function outlineFrom(disk: MemoryDisk, from: number): Promise<string[]> {
  const records = await recordsOf(logOn(disk), signer);
  return records
    .slice(from)
    .map(({ header, events }) =>
      header.kind === 'control' ? events.map(({ name }) => name).join(' ') : header.kind,
    );
}

async function verdictOn(disk: MemoryDisk): Promise<readonly string[]> {
  const report = await judge(logOn(disk), { verifiers: [signer.verifier] });
  return [report.verdict, ...codesOf(report)];
}

/** The journal of a disk: the one there is. */
function journalOf(disk: MemoryDisk): string {
  const [name, ...more] = (disk.list(DIR) ?? []).filter((one) => one.startsWith('intents-'));
  expect([name === undefined, more]).toEqual([false, []]);
  return join(DIR, name as string);
}

function editJournal(disk: MemoryDisk, edit: (text: string) => string): void {
  const path = journalOf(disk);
  const text = Buffer.from(disk.readAll(path) as Uint8Array).toString('latin1');
  const edited = edit(text);
  expect(edited).not.toBe(text);
  disk.put(path, new Uint8Array(Buffer.from(edited, 'latin1')));
}

type End = ReturnType<typeof endOn>;

test.each<[what: string, live: (service: Service) => Service, end: End]>([
  ['no call', (service) => service, [[], 0, 0, 0]],
  ['all sealed', (service) => service.start(1, 2).seal(1, 2), [[], 2, 2, 2]],
  ['none sealed', (service) => service.start(1, 2), [[1, 2], 2, 0, 0]],
  ['some sealed', (service) => service.start(1, 2, 3).seal(2), [[1, 3], 3, 1, 1]],
  ['some lost', (service) => service.start(1, 2, 3, 4).seal(1).tell(gap(2, 3)), [[4], 4, 3, 1]],
  [
    'one lost, nobody knows which',
    (service) => service.start(1, 2).tell(gap(0, 0)),
    [[1, 2], 2, 0, 0],
  ],
  [
    'a heartbeat told more than the journal',
    (service) => service.start(1).tell({ name: 'heartbeat', ...COUNTERS, highest: 3 }),
    [[1], 3, 2, 2],
  ],
  [
    'a span was sealed that is not in the journal',
    (service) => service.start(1).seal(4),
    [[1], 4, 3, 3],
  ],
  [
    'its disk went away and came back',
    (service) => service.start(1).seal(1).start(2, 3).reopen(3).seal(3),
    [[2], 3, 2, 2],
  ],
  [
    'it closed its log',
    (service) => service.start(1).tell({ name: 'closed', ...COUNTERS, highest: 1, open: '1' }),
    undefined,
  ],
])('killed: %s', (_what, live, end) => {
  const disk = emptyDisk();
  const service = live(new Service(disk));
  expect(endOn(disk.copy(), service.writer.size)).toEqual(end);
});

test('the next start seals it in front of its `opened`, and the log is whole', async () => {
  const disk = emptyDisk();
  const { size } = new Service(disk).start(1, 2, 3).seal(2).writer;
  const next = new Service(disk).start(1).seal(1);
  next.tell({ name: 'closed', ...COUNTERS, highest: 1 });
  next.writer.checkpoint();
  expect(await outlineFrom(disk, size)).toEqual([
    'interrupted interrupted closed',
    'opened',
    'traces',
    'closed',
  ]);
  expect(await verdictOn(disk)).toEqual(['valid', 'log.interrupted']);
  expect(endOn(disk, next.writer.size)).toBe(undefined);
});

test('a number that neither journal nor log accounts for is named by the verifier', async () => {
  const disk = emptyDisk();
  new Service(disk).start(1).tell({ name: 'heartbeat', ...COUNTERS, highest: 3 });
  new Service(disk).writer.checkpoint();
  expect(await verdictOn(disk)).toEqual(['incomplete', 'log.numbers', 'log.interrupted']);
});

describe('a call that was sealed as about to start', () => {
  const intentEvent = (sequence: number): ControlEvent => ({
    ...interruptedEvent(intentOf(sequence)),
    name: 'intent',
  });

  test('is told although the journal was made to leave it out', async () => {
    const disk = emptyDisk();
    const { size } = new Service(disk)
      .tell(intentEvent(1))
      .start(1)
      .seal(1)
      .tell(intentEvent(2)).writer;
    new Service(disk).writer.checkpoint();
    expect(await outlineFrom(disk, size)).toEqual(['interrupted closed', 'opened']);
    const [record] = (await recordsOf(logOn(disk), signer)).slice(size);
    expect(record!.events[0]).toEqual(interruptedEvent(intentOf(2)));
    expect(await verdictOn(disk)).toEqual(['valid', 'log.interrupted']);
  });

  test('is told once where both have it, in the order of the numbers', async () => {
    const disk = emptyDisk();
    const service = new Service(disk).start(1).tell(intentEvent(1)).start(3);
    const { size } = service.tell(intentEvent(2), intentEvent(3)).writer;
    new Service(disk).writer.checkpoint();
    const [record] = (await recordsOf(logOn(disk), signer)).slice(size);
    expect(record!.events.slice(0, -1)).toEqual([1, 2, 3].map(intentOf).map(interruptedEvent));
  });

  test('without a journal has no end that anybody knows, and is named', async () => {
    const disk = emptyDisk();
    const service = new Service(disk).start(1, 2, 3);
    service.tell(intentEvent(1), intentEvent(2), intentEvent(3)).seal(2);
    disk.remove(journalOf(disk));
    new Service(disk).writer.checkpoint();
    const report = await judge(logOn(disk), { verifiers: [signer.verifier] });
    expect(codesOf(report)).toEqual(['log.unclean-end']);
    expect(report.findings[0]!.message).toMatch(/ is unknown; no end is sealed of 1,3$/);
  });
});

test('a torn record is sealed with it, and is whole if the numbers are', async () => {
  const disk = emptyDisk();
  const service = new Service(disk).start(1, 2).seal(1);
  const path = join(DIR, 'segments', `${'0'.repeat(20)}.seg`);
  service.seal(2);
  const more = disk.readAll(path) as Uint8Array;
  disk.put(path, more.slice(0, more.length - 20));
  new Service(disk).writer.checkpoint();
  expect(await outlineFrom(disk, 2)).toEqual(['recovered interrupted closed', 'opened']);
  expect(await verdictOn(disk)).toEqual(['valid', 'log.interrupted', 'log.recovered-whole']);
});

test('killed again and again: each run is told once', async () => {
  const disk = emptyDisk();
  for (let round = 0; round < 5; round++) new Service(disk).start(1, 2, 3).seal(3);
  new Service(disk).tell({ name: 'closed', ...COUNTERS, highest: 0 }).writer.checkpoint();
  const records = await recordsOf(logOn(disk), signer);
  const interrupted = records.flatMap(({ events }) =>
    events.flatMap((event) => (event.name === 'interrupted' ? [event.sequence] : [])),
  );
  expect(interrupted).toEqual([1, 2, 1, 2, 1, 2, 1, 2, 1, 2]);
  expect(new Set(await verdictOn(disk))).toEqual(new Set(['valid', 'log.interrupted']));
});

describe('a start that is killed as well, at any of its steps', () => {
  test.each(['before', 'after', 'short'] as const)(
    '%s: each call is told once, and nothing is unclean',
    async (kind) => {
      const killed = emptyDisk();
      new Service(killed).start(1, 2, 3, 4).seal(2);
      const calm = openFaultyFiles(killed.copy());
      new Service(calm as unknown as MemoryDisk);
      for (let at = 0; at < calm.operations.length; at++) {
        const disk = killed.copy();
        const files = openFaultyFiles(disk, { at, kind, crashes: true });
        expect(() => new Service(files as unknown as MemoryDisk), `${at}`).toThrow('EIO');
        const left = disk.afterCrash('kept');
        new Service(left).tell({ name: 'closed', ...COUNTERS, highest: 0 }).writer.checkpoint();
        const records = await recordsOf(logOn(left), signer);
        const told = records.flatMap(({ events }) =>
          events.flatMap((event) => (event.name === 'interrupted' ? [event.sequence] : [])),
        );
        const where = `${kind} ${at}: ${calm.operations[at]}`;
        expect(told, where).toEqual([1, 3, 4]);
        const [verdict, ...codes] = await verdictOn(left);
        expect([verdict, codes.includes('log.interrupted')], where).toEqual(['valid', true]);
      }
    },
  );

  test('between two records of its events: the second start tells the rest, and counts all', () => {
    const disk = emptyDisk();
    const service = new Service(disk).start(1, 2, 3);
    service.tell(interruptedEvent(intentOf(1)), interruptedEvent(intentOf(2)));
    expect(endOn(disk, service.writer.size)).toEqual([[3], 3, 0, 0]);
    expect(
      endOfRun({ files: disk, dir: DIR, size: service.writer.size, numbers: true }).at(-1),
    ).toEqual({ name: 'closed', ...COUNTERS, started: 3, highest: 3, interrupted: 3 });
  });
});

describe('nothing is said', () => {
  test('without a journal', async () => {
    const disk = emptyDisk();
    const { writer } = new Service(disk).start(1);
    disk.remove(journalOf(disk));
    expect(endOn(disk, writer.size)).toBe(undefined);
    new Service(disk).writer.checkpoint();
    expect(await verdictOn(disk)).toEqual(['incomplete', 'log.unclean-end']);
  });

  test('of a run behind which another began', async () => {
    const disk = emptyDisk();
    new Service(disk).start(1);
    const kept = disk.readAll(journalOf(disk)) as Uint8Array;
    const path = journalOf(disk);
    const { writer } = new Service(disk);
    disk.remove(journalOf(disk));
    disk.put(path, kept);
    expect(endOn(disk, writer.size)).toBe(undefined);
  });

  test('of a run whose first record is not `opened`: the journal is of another log', () => {
    const disk = emptyDisk();
    const service = new Service(disk).start(1).seal(1);
    editJournal(disk, (text) => text.replace('run 0', 'run 1'));
    expect(endOn(disk, service.writer.size)).toBe(undefined);
  });

  test('of a run that seems to begin where the same process opened its log again, or with another event', () => {
    const disk = emptyDisk();
    const service = new Service(disk).start(1).tell({ name: 'heartbeat', ...COUNTERS, highest: 1 });
    service.reopen(1);
    for (const run of [1, 2]) {
      const other = disk.copy();
      editJournal(other, (text) => text.replace('run 0', `run ${run}`));
      expect(endOn(other, service.writer.size)).toBe(undefined);
    }
    expect(endOn(disk, service.writer.size)).toEqual([[1], 1, 0, 0]);
  });

  test('of a run whose `opened` never got durable; that of the run before still counts', () => {
    const disk = emptyDisk();
    const { size } = new Service(disk).start(1).writer;
    beginJournal(disk, DIR, size);
    expect(endOn(disk, size)).toEqual([[1], 1, 0, 0]);
  });

  test('where a record can not be read: verifying tells of that', () => {
    const disk = emptyDisk();
    const service = new Service(disk).start(1, 2).seal(1);
    const { size } = service.writer;
    const path = join(DIR, 'segments', `${'0'.repeat(20)}.seg`);
    const bytes = disk.readAll(path) as Uint8Array;
    bytes.fill(0, bytes.length - 60);
    disk.put(path, bytes);
    expect(endOn(disk, size)).toBe(undefined);
  });

  test('by the journal of another boot, for the last calls may never have reached the disk', async () => {
    const disk = emptyDisk();
    const service = new Service(disk).start(1);
    const { size } = service.writer;
    expect(endOn(disk, size)).toBeDefined();
    editJournal(disk, (text) => text.replace(/boot \S+/, 'boot another'));
    expect(endOn(disk, size)).toBe(undefined);
    editJournal(disk, (text) => text.replace(/boot \S+/, 'boot '));
    expect(endOn(disk, size)).toBe(undefined);
    new Service(disk).writer.checkpoint();
    expect(await verdictOn(disk)).toEqual(['incomplete', 'log.unclean-end']);
  });

  test('but a writer that numbers nothing has no calls that could be missing', () => {
    const disk = emptyDisk();
    const { size } = new Service(disk, { numbers: false }).writer;
    editJournal(disk, (text) => text.replace(/boot \S+/, 'boot another'));
    expect(endOn(disk, size, true)).toBe(undefined);
    expect(endOn(disk, size, false)).toEqual([[], 0, 0, 0]);
  });

  test('where the disk can not be read, it is asked again: a start fails', () => {
    const disk = emptyDisk();
    const { size } = new Service(disk).start(1).writer;
    const files = openFaultyFiles(disk);
    files.isAway = true;
    expect(() => endOfRun({ files, dir: DIR, size, numbers: true })).toThrow('EIO');
  });
});

describe('a journal that began anew', () => {
  const live = (disk: MemoryDisk): Service => {
    const service = new Service(disk, { rotateEntryCount: 3 });
    for (let sequence = 1; sequence <= 20; sequence++) {
      service.start(sequence);
      if (sequence % 5 !== 0) service.seal(sequence);
    }
    return service;
  };

  test('tells of all calls that run, and of none that ended', async () => {
    const disk = emptyDisk();
    const { size } = live(disk).writer;
    expect(journalOf(disk)).not.toMatch(/-000000$/);
    expect(endOn(disk, size)).toEqual([[5, 10, 15, 20], 20, 16, 16]);
    new Service(disk).writer.checkpoint();
    expect(await verdictOn(disk)).toEqual(['valid', 'log.interrupted']);
  });

  test('spares a start the spans of records before those it points to', () => {
    const disk = emptyDisk();
    const { size } = live(disk).writer;
    const path = join(DIR, 'segments', `${'0'.repeat(20)}.seg`);
    const bytes = disk.readAll(path) as Uint8Array;
    const traces = Buffer.from(bytes).indexOf('payload traces');
    const frame = Buffer.from(bytes).indexOf('28b52ffd', traces, 'hex');
    bytes.fill(0, frame, frame + 20);
    disk.put(path, bytes);
    expect(endOn(disk, size)).toEqual([[5, 10, 15, 20], 20, 16, 16]);
  });
});

test('an event can be spelled whatever the application called its ids and its model', () => {
  const odd = { ...intentOf(1), traceId: 'ä\n', spanId: 'x'.repeat(2000), model: 'mödel' };
  expect(interruptedEvent(odd)).toEqual({
    name: 'interrupted',
    sequence: 1,
    traceId: '??',
    spanId: 'x'.repeat(1024),
    startedMs: odd.startedMs,
    model: 'm?del',
  });
});
