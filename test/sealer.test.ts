// SPDX-License-Identifier: Apache-2.0
// Goal: every request is answered once, and truly: sealed means it is in the log, once; lost means it is not. Method: the
// real writer on a disk in memory that goes away and comes back, time moved by the test, the log read by verifyLog.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type {
  ControlEvent,
  CoverageEvent,
  GapEvent,
  WriterCounters,
} from '../exporter/log/control.ts';
import { splitRequest } from '../exporter/log/entries.ts';
import type { SealOutcome } from '../exporter/node/capture/pending.ts';
import {
  Sealer,
  type SealerOptions,
  type SealerReport,
  type SealRequest,
} from '../exporter/node/sealing/sealer.ts';
import { DamagedLogError } from '../exporter/node/storage/log-writer.ts';
import { sha256 } from '../exporter/node/system/keys.ts';
import {
  FAULT_KINDS,
  type FaultyFiles,
  type MemoryDisk,
  openFaultyFiles,
} from './support/faulty-files.ts';
import { spansOfTraces } from './support/otlp-proto.ts';
import {
  COLLECTOR,
  codesOf,
  DIR,
  emptyDisk,
  IN_PROCESS,
  judge,
  logOn,
  logsOf,
  ORIGIN,
  openClock,
  openSigner,
  openWriter,
  outlineOf,
  recordsOf,
  START_MS,
  tracesOf,
} from './support/small-log.ts';

const signer = openSigner();

interface Bench {
  readonly disk: MemoryDisk;
  readonly files: FaultyFiles;
  readonly sealer: Sealer;
  readonly reports: readonly SealerReport[];
  /** Sizes that were told durable, negative where they were signed. */
  readonly durable: readonly number[];
  /** What each request was answered, in the order of the answers. */
  readonly answers: readonly (readonly [name: string, outcome: SealOutcome])[];
  submit(name: string, request?: Partial<SealRequest>): void;
}

function openBench(
  options: Partial<SealerOptions> = {},
  { disk = emptyDisk(), files = openFaultyFiles(disk) } = {},
): Bench {
  const reports: SealerReport[] = [];
  const durable: number[] = [];
  const answers: [string, SealOutcome][] = [];
  const now = openClock();
  const sealer = new Sealer({
    openWriter: (resume) => openWriter(files, signer, { now, resume }),
    now,
    groupCommitMs: 10,
    checkpointMs: 1000,
    heartbeatMs: 60_000,
    pendingByteLengthMax: 1024 * 1024,
    maySign: () => true,
    onDurable: (size, signed) => durable.push(signed ? -size : size),
    onReport: (report) => reports.push(report),
    ...options,
  });
  return {
    disk,
    files,
    sealer,
    reports,
    durable,
    answers,
    submit: (name, request) =>
      sealer.submit({
        bytes: tracesOf(name),
        kind: 'traces',
        source: IN_PROCESS,
        done: (outcome) => answers.push([name, outcome]),
        ...request,
      }),
  };
}

const sealed = (recordIndex: number, firstEntry: number): SealOutcome => ({
  status: 'sealed',
  origin: ORIGIN,
  recordIndex,
  firstEntry,
});
const lost = (cause: string): SealOutcome => ({ status: 'lost', cause });

const outline = ({ disk }: Bench): Promise<string[]> => outlineOf(logOn(disk), signer);

/** Names of the spans of a log, in order. */
async function namesOn(disk: MemoryDisk): Promise<string[]> {
  const records = await recordsOf(logOn(disk), signer);
  return records
    .filter(({ header }) => header.kind === 'traces')
    .flatMap(({ entries }) => entries.flatMap(spansOfTraces).map(({ name }) => name));
}

async function eventsOn<Name extends ControlEvent['name']>(
  disk: MemoryDisk,
  name: Name,
): Promise<Extract<ControlEvent, { name: Name }>[]> {
  const records = await recordsOf(logOn(disk), signer);
  return records.flatMap(({ events }) =>
    events.filter((event): event is Extract<ControlEvent, { name: Name }> => event.name === name),
  );
}

const PATHS = [`${DIR}/signing`, `${DIR}/checkpoint`, `${DIR}/segments/00000000000000000000.seg`];

function clear(disk: MemoryDisk): void {
  for (const path of PATHS) if (disk.readAll(path) !== undefined) disk.remove(path);
}

function copyTo(disk: MemoryDisk, from: MemoryDisk): void {
  for (const path of PATHS) {
    const bytes = from.readAll(path);
    if (bytes !== undefined) disk.put(path, bytes);
  }
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('groups', () => {
  test('what waits together shares a record, as long as kind and source are the same', async () => {
    const bench = openBench();
    const bytes = tracesOf('b1', 'b2');
    bench.submit('a');
    bench.submit('b', { bytes });
    bench.submit('c', { source: COLLECTOR });
    bench.submit('d', { source: { ...COLLECTOR, principal: sha256(new Uint8Array([2])) } });
    bench.submit('e', { kind: 'logs', bytes: logsOf('e') });
    bench.submit('f', { source: { ...IN_PROCESS, policy: 'redacted' } });
    bench.submit('g');
    expect(bench.answers).toEqual([]);
    vi.advanceTimersByTime(10);
    expect(bench.answers).toEqual([
      ['a', sealed(1, 0)],
      ['b', sealed(1, 1)],
      ['c', sealed(2, 0)],
      ['d', sealed(3, 0)],
      ['e', sealed(4, 0)],
      ['f', sealed(5, 0)],
      ['g', sealed(6, 0)],
    ]);
    expect(bench.sealer.close()).toBe(true);
    const records = await recordsOf(logOn(bench.disk), signer);
    expect(records.map(({ header }) => `${header.kind} ${header.source.kind}`)).toEqual([
      'control in-process',
      'traces in-process',
      'traces collector',
      'traces collector',
      'logs in-process',
      'traces in-process',
      'traces in-process',
      'control in-process',
    ]);
  });

  test('a request that comes when a group may begin does not wait again; the next ones do, together', () => {
    const bench = openBench();
    const beganMs = performance.now();
    const names = (): string[] => bench.answers.map(([name]) => name);
    bench.submit('a');
    vi.advanceTimersToNextTimer();
    expect([names(), performance.now() - beganMs]).toEqual([['a'], 0]);
    bench.submit('b');
    vi.advanceTimersByTime(5);
    bench.submit('c');
    vi.advanceTimersByTime(4);
    expect(names()).toEqual(['a']);
    vi.advanceTimersByTime(1);
    expect(names()).toEqual(['a', 'b', 'c']);
    expect(bench.answers.slice(1).map(([, outcome]) => outcome)).toEqual([
      sealed(2, 0),
      sealed(2, 1),
    ]);
    vi.advanceTimersByTime(10);
    bench.submit('d');
    vi.advanceTimersByTime(1);
    expect(names()).toEqual(['a', 'b', 'c', 'd']);
    bench.sealer.close();
  });

  test('without a delay, a request is answered before `submit` returns', () => {
    const bench = openBench({ groupCommitMs: 0 });
    bench.submit('a');
    expect(bench.answers).toEqual([['a', sealed(1, 0)]]);
    bench.sealer.close();
  });

  test('each answer comes after the fsync of its record (invariant 1)', () => {
    const bench = openBench({ groupCommitMs: 0 });
    const before = bench.files.operations.length;
    let after: readonly string[] = [];
    bench.submit('a', { done: () => (after = bench.files.operations.slice(before)) });
    expect(after).toEqual(['append', 'append', 'sync']);
    bench.sealer.close();
  });

  const many = (count: number, text = ''): Uint8Array =>
    tracesOf(...Array.from({ length: count }, (_, number) => `${number}${text}`));
  const countsOf = async ({ disk }: Bench): Promise<number[]> =>
    (await recordsOf(logOn(disk), signer))
      .filter(({ header }) => header.kind === 'traces')
      .map(({ header }) => header.entryCount);

  test('a record has at most 4,096 entries; a larger request has several, and one answer', async () => {
    const bench = openBench({ groupCommitMs: 0, pendingByteLengthMax: 1e9 });
    bench.submit('large', { bytes: many(9000) });
    expect(bench.answers).toEqual([['large', sealed(1, 0)]]);
    expect(await countsOf(bench)).toEqual([4096, 4096, 808]);
    bench.sealer.close();
  });

  test('entries are freed once their request is answered, and not between its records', () => {
    const disk = emptyDisk();
    const files = openFaultyFiles(disk);
    const appended: Uint8Array[] = [];
    let seenCount = 0;
    const bench = openBench(
      {
        groupCommitMs: 0,
        openWriter: (resume) =>
          openWriter(files, signer, {
            resume,
            onAppended: ({ entries, kind }) => {
              if (kind === 'control') return;
              appended.push(...entries);
              seenCount += entries.filter(({ length }) => length > 0).length;
            },
          }),
      },
      { disk, files },
    );
    bench.submit('large', { bytes: many(5000) });
    expect([seenCount, appended.length]).toEqual([5000, 5000]);
    expect(appended.filter(({ length }) => length > 0)).toEqual([]);
    bench.sealer.close();
  });

  test('requests that do not fit together go one after the other', async () => {
    const bench = openBench({ pendingByteLengthMax: 1e9 });
    for (const name of ['a', 'b', 'c']) bench.submit(name, { bytes: many(2000) });
    vi.advanceTimersByTime(10);
    expect(bench.answers.map(([, outcome]) => outcome)).toEqual([
      sealed(1, 0),
      sealed(1, 2000),
      sealed(2, 0),
    ]);
    expect(await countsOf(bench)).toEqual([4000, 2000]);
    bench.sealer.close();
  });

  test('a record has at most 4 MiB of entries, or one entry', async () => {
    const bench = openBench({ groupCommitMs: 0, pendingByteLengthMax: 1e9 });
    bench.submit('mebibytes', { bytes: many(9, 'x'.repeat(1024 * 1024)) });
    bench.submit('one', { bytes: many(2, 'x'.repeat(5 * 1024 * 1024)) });
    expect(await countsOf(bench)).toEqual([3, 3, 3, 1, 1]);
    expect(bench.answers).toEqual([
      ['mebibytes', sealed(1, 0)],
      ['one', sealed(4, 0)],
    ]);
    bench.sealer.close();
  });
});

describe('what can never be sealed is answered at once', () => {
  test('bytes that are no request, with the code of the log core', () => {
    const bench = openBench();
    const bytes = new Uint8Array([0x0a, 0x05, 0x01]);
    bench.submit('noise', { bytes });
    const refused = { code: 'otlp.truncated', sha256: sha256(bytes) };
    expect(bench.answers).toEqual([
      ['noise', { status: 'lost', cause: expect.any(String), refused }],
    ]);
    bench.sealer.close();
  });

  test('a request without a span', () => {
    const bench = openBench();
    bench.submit('nothing', { bytes: new Uint8Array() });
    expect(bench.answers).toEqual([['nothing', lost('no span in the request')]]);
    bench.sealer.close();
  });

  test('and does no harm to its neighbours (format attack 3)', async () => {
    const bench = openBench();
    bench.submit('a');
    bench.submit('swallower', {
      bytes: Buffer.concat([tracesOf('x'), new Uint8Array([0x7a, 0x10])]),
    });
    bench.submit('b');
    vi.advanceTimersByTime(10);
    expect(bench.answers.map(([name, { status }]) => `${name} ${status}`)).toEqual([
      'swallower lost',
      'a sealed',
      'b sealed',
    ]);
    expect(await namesOn(bench.disk)).toEqual(['a', 'b']);
    bench.sealer.close();
  });
});

describe('a disk that goes away', () => {
  test('and comes back: all that waited is sealed, in order and once', async () => {
    const bench = openBench();
    bench.submit('before');
    vi.advanceTimersByTime(10);
    bench.files.isAway = true;
    for (const name of ['a', 'b', 'c']) {
      bench.submit(name);
      vi.advanceTimersByTime(10);
    }
    vi.advanceTimersByTime(60_000);
    expect(bench.answers.length).toBe(1);
    expect(bench.sealer.size).toBe(0);
    bench.files.isAway = false;
    vi.advanceTimersByTime(30_000);
    expect(bench.answers.map(([name, { status }]) => `${name} ${status}`)).toEqual([
      'before sealed',
      'a sealed',
      'b sealed',
      'c sealed',
    ]);
    bench.submit('after');
    expect(bench.sealer.close()).toBe(true);
    expect(await namesOn(bench.disk)).toEqual(['before', 'a', 'b', 'c', 'after']);
    const report = await judge(logOn(bench.disk), { verifiers: [signer.verifier] });
    expect([report.verdict, ...codesOf(report)]).toEqual(['valid']);
    expect(bench.reports.map(({ code }) => code)).toEqual([
      ...Array.from({ length: bench.reports.length - 1 }, () => 'down'),
      'up',
    ]);
    expect(bench.reports[0]).toEqual({ code: 'down', cause: expect.stringMatching(/^EIO: /) });
  });

  test('is asked for again after 0.5, 1, 2, 4, 8, 16, 30, 30 seconds', () => {
    let attempts = 0;
    const disk = emptyDisk();
    const files = openFaultyFiles(disk);
    const bench = openBench(
      {
        openWriter: () => {
          attempts++;
          return openWriter(files, signer);
        },
        groupCommitMs: 0,
      },
      { disk, files },
    );
    files.isAway = true;
    bench.submit('a');
    const seen: number[] = [];
    for (let ms = 0; ms < 100_000; ms += 500) {
      const before = attempts;
      vi.advanceTimersByTime(500);
      if (attempts > before) seen.push((ms + 500) / 1000);
    }
    expect(seen).toEqual([0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5]);
    files.isAway = false;
    vi.advanceTimersByTime(30_000);
    expect(bench.answers).toEqual([['a', expect.objectContaining({ status: 'sealed' })]]);
    // Once it was back, patience begins anew.
    files.isAway = true;
    bench.submit('b');
    files.isAway = false;
    vi.advanceTimersByTime(500);
    expect(bench.answers.length).toBe(2);
    bench.sealer.close();
  });

  test('keeps what fits into memory; the rest is lost, answered so, and can be declared', async () => {
    const one = tracesOf('0').length;
    const bench = openBench({ pendingByteLengthMax: 5 * one, groupCommitMs: 0 });
    bench.files.isAway = true;
    for (let number = 0; number < 8; number++) bench.submit(`${number}`);
    expect(bench.sealer.pendingByteLength).toBe(5 * one);
    const full = lost('the log can not be written and memory is full');
    expect(bench.answers).toEqual([
      ['5', full],
      ['6', full],
      ['7', full],
    ]);
    bench.sealer.declareGap({
      count: 3,
      first: 6,
      last: 8,
      from: new Date(START_MS).toISOString(),
      to: new Date(START_MS + 1).toISOString(),
      cause: 'memory is full',
    });
    bench.files.isAway = false;
    vi.advanceTimersByTime(500);
    bench.submit('8');
    expect(bench.sealer.close()).toBe(true);
    expect(bench.sealer.pendingByteLength).toBe(0);
    expect(await namesOn(bench.disk)).toEqual(['0', '1', '2', '3', '4', '8']);
    expect(await judge(logOn(bench.disk), { verifiers: [signer.verifier] })).toMatchObject({
      verdict: 'incomplete',
      declaredLost: 3,
    });
  });

  test('and whose log is damaged when it comes back is refused, and goes on once it is repaired', () => {
    const bench = openBench({ groupCommitMs: 0 });
    bench.submit('a');
    bench.files.isAway = true;
    bench.submit('b');
    const path = `${DIR}/signing`;
    const signing = bench.disk.readAll(path)!;
    bench.disk.put(path, new Uint8Array());
    bench.files.isAway = false;
    vi.advanceTimersByTime(500);
    expect(bench.reports.at(-2)).toEqual({
      code: 'refused',
      cause: 'signing: not a size and a root',
    });
    bench.disk.put(path, signing);
    vi.advanceTimersByTime(30_000);
    expect(bench.answers.map(([name, { status }]) => `${name} ${status}`)).toEqual([
      'a sealed',
      'b sealed',
    ]);
    bench.sealer.close();
  });

  test.each([
    ['gone', (disk: MemoryDisk) => clear(disk), 'the log is gone'],
    [
      'an older copy',
      (disk: MemoryDisk, older: MemoryDisk) => {
        clear(disk);
        copyTo(disk, older);
      },
      '1 records, but 2 were durable before',
    ],
    [
      'another one under the same key',
      (disk: MemoryDisk) => {
        clear(disk);
        const writer = openWriter(disk, signer);
        for (const name of ['x', 'y'])
          writer.append('traces', IN_PROCESS, splitRequest(tracesOf(name), 'traces'));
        writer.close();
      },
      'segments/00000000000000000000.seg record 1: the log has another root than was durable before',
    ],
  ])(
    'and comes back with a log that is %s gets no new beginning (invariant 5)',
    (_name, replace, cause) => {
      const bench = openBench({ groupCommitMs: 0 });
      const older = bench.disk.copy();
      bench.submit('a');
      bench.files.isAway = true;
      bench.submit('b');
      replace(bench.disk, older);
      const before = logOn(bench.disk);
      bench.files.isAway = false;
      vi.advanceTimersByTime(60_000);
      expect(bench.reports.filter(({ code }) => code === 'refused')[0]?.cause).toBe(cause);
      expect(logOn(bench.disk)).toEqual(before);
      expect(bench.sealer.close()).toBe(false);
      expect(bench.answers.map(([name, { status }]) => `${name} ${status}`)).toEqual([
        'a sealed',
        'b lost',
      ]);
    },
  );

  test('at the start is an error: nobody starts on a log that can not be written', () => {
    const disk = emptyDisk();
    disk.put(`${DIR}/segments/00000000000000000000.seg`, new Uint8Array());
    expect(() => openBench({}, { disk, files: openFaultyFiles(disk) })).toThrow(DamagedLogError);
  });
});

describe('an append whose fate is unknown', () => {
  /** Operations of a run without faults, from the first submit on. */
  const run = (files: FaultyFiles, disk: MemoryDisk): Bench => {
    const bench = openBench({ groupCommitMs: 10 }, { disk, files });
    for (const name of ['a', 'b']) bench.submit(name);
    vi.advanceTimersByTime(10);
    bench.sealer.declareGap(GAP);
    bench.submit('c', { source: COLLECTOR });
    vi.advanceTimersByTime(10);
    bench.sealer.finishSegment();
    bench.submit('d');
    vi.advanceTimersByTime(120_000);
    bench.submit('e');
    vi.advanceTimersByTime(120_000);
    return bench;
  };
  const GAP = {
    count: 2,
    first: 1,
    last: 2,
    from: new Date(START_MS).toISOString(),
    to: new Date(START_MS).toISOString(),
    cause: 'test',
  };

  async function expectEachOnce(bench: Bench, where: string): Promise<void> {
    expect(bench.sealer.close(), where).toBe(true);
    const answers = bench.answers.map(([name, { status }]) => `${name} ${status}`);
    expect(answers, where).toEqual(['a', 'b', 'c', 'd', 'e'].map((name) => `${name} sealed`));
    expect((await namesOn(bench.disk)).sort(), where).toEqual(['a', 'b', 'c', 'd', 'e']);
    const gaps = (await eventsOn(bench.disk, 'gap')).map(({ count }) => count);
    expect(gaps, where).toEqual([2]);
    const records = await recordsOf(logOn(bench.disk), signer);
    for (const [name, outcome] of bench.answers) {
      if (outcome.status !== 'sealed') continue;
      const entry = records[outcome.recordIndex]!.entries[outcome.firstEntry]!;
      expect(spansOfTraces(entry)[0]!.name, where).toBe(name);
    }
    const report = await judge(logOn(bench.disk), { verifiers: [signer.verifier] });
    const kinds = new Set(codesOf(report));
    // The process is the same from its start to its end: what was cut was sealed again, and its numbers go on.
    kinds.delete('log.recovered-whole');
    expect([report.verdict, ...kinds], where).toEqual(['incomplete', 'log.gap']);
  }

  test('at any step: every request is sealed once, where its answer says, and every gap declared once', async () => {
    const calm = openFaultyFiles(emptyDisk());
    const undisturbed = run(calm, emptyDisk());
    const steps = calm.operations.length;
    undisturbed.sealer.close();
    expect(steps).toBeGreaterThan(40);
    const first = calm.operations.lastIndexOf(`syncDirectory ${DIR}/segments`, 14) + 1;
    for (let at = first; at < steps; at++) {
      for (const kind of FAULT_KINDS) {
        const disk = emptyDisk();
        const bench = run(openFaultyFiles(disk, { at, kind, crashes: false }), disk);
        await expectEachOnce(bench, `${kind} ${at}: ${calm.operations[at]}`);
      }
    }
  });

  test('also where the next starts fail at any of their steps', async () => {
    for (let behind = 1; behind <= 12; behind++) {
      for (const kind of FAULT_KINDS) {
        const disk = emptyDisk();
        const files = openFaultyFiles(disk);
        const bench = openBench({ groupCommitMs: 0 }, { disk, files });
        bench.submit('a');
        // The fsync of this record fails, after its bytes arrived.
        files.fault = { at: files.operations.length + 2, kind: 'before', crashes: false };
        bench.submit('b');
        files.fault = { at: files.operations.length + behind - 1, kind, crashes: false };
        for (const name of ['c', 'd']) bench.submit(name);
        bench.sealer.declareGap(GAP);
        vi.advanceTimersByTime(60_000);
        bench.submit('e');
        vi.advanceTimersByTime(60_000);
        await expectEachOnce(bench, `${kind}, ${behind} steps behind`);
      }
    }
  });
});

describe('coverage', () => {
  const covered = (state: string): CoverageEvent => ({ name: 'coverage', target: 'openai', state });
  const statesOn = async ({ disk }: Bench): Promise<string[]> =>
    (await eventsOn(disk, 'coverage')).map(({ state }) => state);

  test('is sealed, and where nothing is new nothing is', async () => {
    const bench = openBench();
    bench.sealer.tellCoverage([covered('not_loaded'), covered('active')]);
    bench.sealer.tellCoverage([]);
    vi.advanceTimersByTime(10);
    bench.sealer.tellCoverage([]);
    vi.advanceTimersByTime(10);
    bench.sealer.close();
    bench.sealer.tellCoverage([covered('failed')]);
    expect(await outline(bench)).toEqual(['opened', 'coverage coverage', 'closed']);
    expect(await statesOn(bench)).toEqual(['not_loaded', 'active']);
  });

  test('that is told in the last moment is sealed', async () => {
    const bench = openBench();
    bench.sealer.tellCoverage([covered('active')]);
    expect(bench.sealer.close()).toBe(true);
    expect(await outline(bench)).toEqual(['opened', 'coverage', 'closed']);
  });

  test.each([
    ['as it was', [], ['not_loaded']],
    ['as it is by then', [covered('active')], ['active']],
  ])('waits for a disk that is away, and is sealed once: %s', async (_name, later, expected) => {
    const bench = openBench();
    bench.files.isAway = true;
    bench.sealer.tellCoverage([covered('not_loaded')]);
    vi.advanceTimersByTime(10);
    bench.sealer.tellCoverage(later);
    bench.files.isAway = false;
    vi.advanceTimersByTime(1000);
    bench.sealer.close();
    expect(await statesOn(bench)).toEqual(expected);
  });
});

describe('gaps', () => {
  const gap = (first: number, last: number, cause = 'x'): Omit<GapEvent, 'name'> => ({
    count: last - first + 1,
    first,
    last,
    from: new Date(START_MS + first).toISOString(),
    to: new Date(START_MS + last).toISOString(),
    cause,
  });
  const textOf = ({ count, first, last, cause }: GapEvent): string =>
    `${count}: ${first}-${last} ${cause}`;

  test('of one cause and following numbers are joined, others are told apart', async () => {
    const bench = openBench();
    for (const [first, last, cause] of [
      [1, 1, 'x'],
      [2, 4, 'x'],
      [6, 6, 'x'],
      [7, 7, 'y'],
      [8, 8, 'y'],
    ] as const) {
      bench.sealer.declareGap(gap(first, last, cause));
    }
    vi.advanceTimersByTime(10);
    const gaps = await eventsOn(bench.disk, 'gap');
    expect(gaps.map(textOf)).toEqual(['4: 1-4 x', '1: 6-6 x', '2: 7-8 y']);
    expect(gaps[0]).toMatchObject({ from: gap(1, 1).from, to: gap(4, 4).to });
    expect(await outline(bench)).toEqual(['opened', 'gap gap gap']);
    bench.sealer.close();
  });

  test('beyond 256 that wait are added to the last, without their numbers', async () => {
    const bench = openBench();
    for (let number = 0; number < 300; number++) {
      bench.sealer.declareGap(gap(1 + 2 * number, 1 + 2 * number, `${number % 2}`));
    }
    vi.advanceTimersByTime(10);
    const gaps = await eventsOn(bench.disk, 'gap');
    expect(gaps.length).toBe(256);
    expect(gaps.reduce((sum, { count }) => sum + count, 0)).toBe(300);
    expect(textOf(gaps.at(-1)!)).toBe('45: 0-0 several');
    bench.sealer.close();
  });

  test('have a cause that can be sealed, whatever it says', async () => {
    const bench = openBench();
    bench.sealer.declareGap(gap(1, 1, `ünsealable\n${'x'.repeat(5000)}`));
    vi.advanceTimersByTime(10);
    const [found] = await eventsOn(bench.disk, 'gap');
    expect(found!.cause).toBe(`?nsealable?${'x'.repeat(1013)}`);
    bench.sealer.close();
  });

  test('are behind the spans that ended before them', async () => {
    const bench = openBench();
    bench.sealer.declareGap(gap(2, 2));
    bench.submit('a');
    expect(bench.sealer.close()).toBe(true);
    expect(await outline(bench)).toEqual(['opened', 'traces', 'gap', 'closed']);
  });
});

describe("the writer's own events", () => {
  const counters: WriterCounters = {
    started: 7,
    ended: 6,
    sealed: 5,
    lost: 1,
    highest: 7,
    open: '7',
  };

  test('heartbeats come by the clock, with the newest numbers', async () => {
    const bench = openBench({ heartbeatMs: 1000 });
    vi.advanceTimersByTime(1000);
    bench.sealer.count(counters);
    vi.advanceTimersByTime(2000);
    bench.sealer.close();
    const nothing = { started: 0, ended: 0, sealed: 0, lost: 0, highest: 0, open: '' };
    expect(await eventsOn(bench.disk, 'heartbeat')).toEqual([
      { name: 'heartbeat', ...nothing },
      { name: 'heartbeat', ...counters },
      { name: 'heartbeat', ...counters },
    ]);
    expect(await eventsOn(bench.disk, 'closed')).toEqual([{ name: 'closed', ...counters }]);
    vi.advanceTimersByTime(10_000);
    expect((await outline(bench)).at(-1)).toBe('closed');
  });

  test('heartbeats stay away with the disk, and come back with it', async () => {
    const bench = openBench({ heartbeatMs: 1000 });
    bench.files.isAway = true;
    vi.advanceTimersByTime(5000);
    bench.files.isAway = false;
    vi.advanceTimersByTime(10_000);
    bench.sealer.close();
    expect((await eventsOn(bench.disk, 'heartbeat')).length).toBeGreaterThan(2);
  });

  test('refusals are counted by source and cause, and sealed with the next heartbeat or at the end', async () => {
    const bench = openBench({ heartbeatMs: 1000 });
    const refused = { count: 1, cause: 'otlp.length', source: 'collector' };
    const digest = sha256(new Uint8Array([1]));
    bench.sealer.countRefused({ ...refused, sha256: digest });
    bench.sealer.countRefused({ ...refused, sha256: sha256(new Uint8Array([2])) });
    bench.sealer.countRefused({ ...refused, cause: 'otlp.tag' });
    vi.advanceTimersByTime(1000);
    bench.sealer.countRefused({ ...refused, count: 5 });
    bench.sealer.close();
    expect(await outline(bench)).toEqual(['opened', 'heartbeat refused refused', 'refused closed']);
    const events = await eventsOn(bench.disk, 'refused');
    expect(events.map(({ count, cause }) => [count, cause])).toEqual([
      [2, 'otlp.length'],
      [1, 'otlp.tag'],
      [5, 'otlp.length'],
    ]);
    expect(structuredClone(events[0]!.sha256)).toEqual(structuredClone(digest));
  });

  test('refusals of many kinds are bounded', async () => {
    const bench = openBench({ heartbeatMs: 1000 });
    for (let kind = 0; kind < 400; kind++) {
      bench.sealer.countRefused({ count: 1, cause: `cause ${kind}`, source: 'collector' });
    }
    vi.advanceTimersByTime(1000);
    const events = await eventsOn(bench.disk, 'refused');
    expect(events.length).toBe(257);
    expect(events.at(-1)).toEqual({
      name: 'refused',
      count: 144,
      cause: 'several',
      source: 'collector',
    });
    bench.sealer.close();
  });

  test('a log that is opened again by the same process says how far its numbers were', async () => {
    const bench = openBench({ groupCommitMs: 0 });
    bench.sealer.count(counters);
    bench.files.isAway = true;
    bench.submit('a');
    bench.files.isAway = false;
    vi.advanceTimersByTime(500);
    bench.sealer.close();
    const opened = await eventsOn(bench.disk, 'opened');
    expect(opened.map(({ continues }) => continues)).toEqual([undefined, 7]);
  });

  test('calls that still run at the end are sealed in front of `closed`, with it', async () => {
    const bench = openBench();
    bench.submit('a');
    const call = { name: 'interrupted', traceId: 'a', spanId: 'b', startedMs: 1 } as const;
    const interrupted = [5, 7].map((sequence) => ({ ...call, sequence }));
    expect(bench.sealer.close(interrupted)).toBe(true);
    expect(bench.sealer.close(interrupted)).toBe(true);
    expect(await outline(bench)).toEqual(['opened', 'traces', 'interrupted interrupted closed']);
    expect(await eventsOn(bench.disk, 'interrupted')).toEqual(interrupted);
  });

  const receipt = {
    name: 'receipt',
    archive: 'directory',
    segment: 0,
    size: 1,
    byteLength: 1,
    sha256: new Uint8Array(32),
    key: 'k',
  } as const;

  test('a receipt is durable when it was taken, or throws', async () => {
    const bench = openBench();
    bench.sealer.sealNow(receipt);
    bench.files.isAway = true;
    expect(() => bench.sealer.sealNow(receipt)).toThrow('EIO');
    expect(() => bench.sealer.sealNow(receipt)).toThrow('the log can not be written');
    bench.files.isAway = false;
    vi.advanceTimersByTime(500);
    bench.sealer.sealNow(receipt);
    bench.sealer.close();
    expect(() => bench.sealer.sealNow(receipt)).toThrow('the log can not be written');
    expect(await outline(bench)).toEqual(['opened', 'receipt', 'opened', 'receipt', 'closed']);
  });

  test('finishing a segment seals what waits, begins the next with a heartbeat, and signs', async () => {
    const bench = openBench();
    bench.submit('a');
    bench.sealer.finishSegment();
    expect(bench.sealer.currentSegment).toBe(2);
    expect(bench.durable.at(-1)).toBe(-3);
    expect(await outline(bench)).toEqual(['opened', 'traces', 'heartbeat']);
    bench.sealer.close();
  });
});

describe('signing', () => {
  test('comes within its time after a record, once for all of them', () => {
    const own = openSigner();
    const disk = emptyDisk();
    const bench = openBench({ openWriter: () => openWriter(disk, own) }, { disk });
    vi.advanceTimersByTime(999);
    expect(own.notes.length).toBe(0);
    vi.advanceTimersByTime(1);
    expect(own.notes.length).toBe(1);
    vi.advanceTimersByTime(10_000);
    expect(own.notes.length).toBe(1);
    for (const name of ['a', 'b']) {
      bench.submit(name);
      vi.advanceTimersByTime(10);
    }
    vi.advanceTimersByTime(1000);
    expect(own.notes.length).toBe(2);
    expect(bench.durable).toEqual([1, -1, 2, 3, -3]);
    bench.sealer.close();
  });

  test('waits while an outside store was not compared with, and sealing does not (invariant 4)', async () => {
    let isCompared = false;
    const bench = openBench({ maySign: () => isCompared });
    bench.submit('a');
    vi.advanceTimersByTime(30_000);
    expect(bench.answers.length).toBe(1);
    expect(logOn(bench.disk).checkpoints).toEqual([]);
    isCompared = true;
    vi.advanceTimersByTime(1000);
    expect(logOn(bench.disk).checkpoints.length).toBe(1);
    isCompared = false;
    expect(bench.sealer.close()).toBe(true);
    const report = await judge(logOn(bench.disk), { verifiers: [signer.verifier] });
    expect(codesOf(report)).toEqual(['log.unsigned-tail']);
  });
});

describe('closing', () => {
  test('seals what waits, then closed, then signs; afterwards nothing is sealed', async () => {
    const bench = openBench();
    bench.submit('a');
    expect(bench.sealer.close()).toBe(true);
    expect(bench.answers).toEqual([['a', sealed(1, 0)]]);
    const before = logOn(bench.disk);
    bench.submit('late');
    bench.sealer.declareGap({ count: 1, first: 1, last: 1, from: '', to: '', cause: 'late' });
    bench.sealer.finishSegment();
    bench.sealer.flush();
    vi.advanceTimersByTime(600_000);
    expect(bench.sealer.close()).toBe(true);
    expect(bench.answers.at(-1)).toEqual(['late', lost('the log is closed')]);
    expect(logOn(bench.disk)).toEqual(before);
    expect(bench.disk.openCount).toBe(0);
    const report = await judge(before, { verifiers: [signer.verifier] });
    expect(report).toMatchObject({ verdict: 'valid', size: 3, entries: 1 });
  });

  test('while the disk is away tries once more, and seals all if it is back', async () => {
    const bench = openBench({ groupCommitMs: 0 });
    bench.files.isAway = true;
    bench.submit('a');
    bench.files.isAway = false;
    expect(bench.sealer.close()).toBe(true);
    expect(bench.answers).toEqual([['a', sealed(2, 0)]]);
    expect((await outline(bench)).at(-1)).toBe('closed');
    vi.advanceTimersByTime(60_000);
    expect(bench.disk.openCount).toBe(0);
  });

  test('while the disk stays away answers what waits as lost, and says that it is not durable', () => {
    const bench = openBench();
    bench.files.isAway = true;
    bench.submit('a');
    bench.submit('b');
    expect(bench.sealer.close()).toBe(false);
    const cause = 'the log could not be written before the end';
    expect(bench.answers).toEqual([
      ['a', lost(cause)],
      ['b', lost(cause)],
    ]);
    bench.files.isAway = false;
    vi.advanceTimersByTime(600_000);
    expect(bench.disk.openCount).toBe(0);
    expect(bench.sealer.pendingByteLength).toBe(0);
  });

  test('is not durable where only `closed` could not be written', () => {
    const bench = openBench();
    bench.files.fault = { at: bench.files.operations.length + 2, kind: 'before', crashes: true };
    expect(bench.sealer.close()).toBe(false);
    expect(bench.reports).toEqual([{ code: 'down', cause: 'EIO: sync' }]);
  });
});
