// SPDX-License-Identifier: Apache-2.0
// Goal: a process under audit loses nothing that ended or was acknowledged, however it ends, and a start that can not be
// says what to do. Method: real SDKs, real threads, real processes and real kills; the log is read by verifyLog.
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { openTrustFile } from '../exporter/cli/trust.ts';
import { verifyDirectory } from '../exporter/cli/verify.ts';
import { parseNumberRanges, sequenceOf } from '../exporter/log/numbers.ts';
import { type Audit, openAuditWith } from '../exporter/node/audit.ts';
import { type ConfigInput, readConfig } from '../exporter/node/config/config.ts';
import { StartError } from '../exporter/node/sealing/sealing-client.ts';
import { generateKeyPem } from '../exporter/node/system/keys.ts';
import { WRITER } from '../exporter/node/system/version.ts';
import { readLog, startAudited } from './support/audited-process.ts';
import { SDK_LINES, type SdkLine } from './support/sdk-lines.ts';
import { codesOf } from './support/small-log.ts';

const home = mkdtempSync(join(tmpdir(), 'sealspan-audit-'));
afterAll(() => rmSync(home, { recursive: true }));

let count = 0;
const newDir = (): string => join(home, String(count++));

const GOVERNED = { 'gen_ai.operation.name': 'chat' };

function open(config: ConfigInput): Audit {
  return openAuditWith(readConfig({}, { archive: 'off', ...config }));
}

/** How the start went: `code: message`, the test's directory shortened to `HOME`. */
function startOf(config: ConfigInput): string {
  try {
    open(config).closeSync();
    return 'started';
  } catch (error) {
    if (error instanceof StartError)
      return `${error.code}: ${error.message.replaceAll(home, 'HOME')}`;
    throw error;
  }
}

function endSpans(line: SdkLine, audit: Audit, spanCount: number): void {
  const provider = line.openProvider({
    spanProcessors: audit.capture.wrapProcessors([]),
    sampler: audit.capture.sampler(line.alwaysOff()),
  });
  const tracer = provider.getTracer('app');
  for (let number = 0; number < spanCount; number++)
    tracer.startSpan(String(number), { attributes: GOVERNED }).end();
}

const namesUpTo = (end: number): string[] => Array.from({ length: end }, (_, name) => `${name}`);

describe('an audit', () => {
  test('has a log that is valid after its shutdown, and says whose it is', async () => {
    const dir = newDir();
    const audit = open({ dir, origin: 'example.org/claims' });
    expect({ ...audit, vkey: '', config: 0, capture: 0 }).toMatchObject({
      origin: 'example.org/claims/0',
      logDirectory: join(dir, '0'),
      keyCreated: true,
    });
    endSpans(SDK_LINES[2]!, audit, 5);
    const status = await audit.shutdown();
    expect(status).toMatchObject({
      forward: undefined,
      archive: undefined,
      capture: { started: 5, ended: 5, sealed: 5, lost: 0, openRanges: [] },
    });
    const { report, records, names } = await readLog(join(dir, '0'));
    expect(report).toMatchObject({
      verdict: 'valid',
      log: 'example.org/claims/0',
      entries: 5,
      assurance: { signer: 'example.org/claims/0', selfAttested: true },
    });
    expect(names).toEqual(namesUpTo(5));
    expect(structuredClone(records[0]!.events)).toEqual([
      expect.objectContaining({
        name: 'opened',
        writer: WRITER,
        instance: '0',
        configuration: structuredClone(audit.config.hash),
        heartbeatMs: 60_000,
      }),
    ]);
    expect(records.at(-1)!.events).toEqual([
      { name: 'closed', started: 5, ended: 5, sealed: 5, lost: 0, highest: 5, open: '' },
    ]);
  });

  test('gathers spans on the event loop for `groupCommitMs`', async () => {
    const audit = open({ dir: newDir(), groupCommitMs: 1234 });
    const timers = vi.spyOn(globalThis, 'setTimeout');
    try {
      endSpans(SDK_LINES[2]!, audit, 2);
      expect(timers.mock.calls.map(([, delayMs]) => delayMs)).toEqual([1234]);
    } finally {
      timers.mockRestore();
    }
    await audit.shutdown();
  });

  test('keeps its files to its owner, but for the public key', async () => {
    const dir = newDir();
    await open({ dir }).shutdown();
    const modeOf = (name: string): string =>
      (statSync(join(dir, '0', name)).mode & 0o777).toString(8);
    expect(['.', 'key.pem', 'signing', 'segments'].map(modeOf)).toEqual([
      '700',
      '600',
      '600',
      '700',
    ]);
    expect(readFileSync(join(dir, '0', 'verifier'), 'utf8')).not.toContain('PRIVATE');
  });

  test('after the end takes nothing, throws nothing, and says so', async () => {
    const dir = newDir();
    const audit = open({ dir });
    const line = SDK_LINES[2]!;
    const provider = line.openProvider({ spanProcessors: audit.capture.wrapProcessors([]) });
    await audit.shutdown();
    const before = await readLog(join(dir, '0'));
    const span = provider.getTracer('app').startSpan('late', { attributes: GOVERNED });
    span.end();
    expect(await audit.capture.committed(span)).toMatchObject({ status: 'lost' });
    await audit.flush();
    audit.closeSync();
    await audit.shutdown();
    expect((await readLog(join(dir, '0'))).records.length).toBe(before.records.length);
  });

  test('goes on with the log of the process before, under the same key', async () => {
    const dir = newDir();
    const first = open({ dir });
    endSpans(SDK_LINES[2]!, first, 2);
    await first.shutdown();
    const second = open({ dir });
    expect([second.vkey, second.keyCreated]).toEqual([first.vkey, false]);
    endSpans(SDK_LINES[2]!, second, 1);
    await second.shutdown();
    const { report, names } = await readLog(join(dir, '0'));
    expect([report.verdict, names]).toEqual(['valid', ['0', '1', '0']]);
  });
});

describe('many spans in one turn of the event loop', () => {
  const SPAN_COUNT = 10_000;

  test.each(
    SDK_LINES.filter(({ name }) => name !== '1.30').map((line) => [line.name, line] as const),
  )(
    'SDK %s: all 10,000 are sealed, where a batch processor of its own keeps fewer',
    async (_name, line) => {
      const exporter = line.openExporter();
      const stock = line.openProvider({ spanProcessors: [line.batch(exporter)] });
      const tracer = stock.getTracer('app');
      for (let number = 0; number < SPAN_COUNT; number++)
        tracer.startSpan(String(number), { attributes: GOVERNED }).end();
      await stock.forceFlush();
      expect(exporter.getFinishedSpans().length).toBeLessThan(SPAN_COUNT);

      const dir = newDir();
      const audit = open({ dir });
      endSpans(line, audit, SPAN_COUNT);
      const { capture } = await audit.shutdown();
      expect(capture).toMatchObject({ sealed: SPAN_COUNT, lost: 0 });
      const { report, names } = await readLog(join(dir, '0'));
      expect([report.verdict, report.entries]).toEqual(['valid', SPAN_COUNT]);
      expect(names).toEqual(namesUpTo(SPAN_COUNT));
    },
  );
});

describe('a start that can not be says what to do', () => {
  test('another process holds the log', async () => {
    const dir = newDir();
    const audit = open({ dir, instance: 'blue' });
    expect(startOf({ dir, instance: 'blue' })).toBe(
      `locked: ${dir.replace(home, 'HOME')}/blue is locked: another process writes this log. One log has one writer; ` +
        'give this process an `instance` of its own, or leave it out to take the first free one.',
    );
    await audit.shutdown();
    expect(startOf({ dir, instance: 'blue' })).toBe('started');
  });

  test('without a name, the first log that is free is taken', () => {
    const dir = newDir();
    const audits = [open({ dir }), open({ dir }), open({ dir })];
    const instanceOf = ({ logDirectory }: Audit): string => logDirectory.slice(dir.length + 1);
    expect(audits.map(instanceOf)).toEqual(['0', '1', '2']);
    expect(new Set(audits.map(({ vkey }) => vkey)).size).toBe(3);
    audits[1]!.closeSync();
    const again = open({ dir });
    expect([instanceOf(again), again.keyCreated]).toEqual(['1', false]);
    for (const audit of [...audits, again]) audit.closeSync();
  });

  test('the log is damaged', async () => {
    const dir = newDir();
    await open({ dir }).shutdown();
    rmSync(join(dir, '0', 'signing'));
    const at = `${dir.replace(home, 'HOME')}/0`;
    expect(startOf({ dir })).toBe(
      `damaged: ${at} is damaged, and was left as it is: there are segments but no \`signing\` file: what was signed is ` +
        `not known. See \`sealspan verify ${at}\`; a log that can not be repaired is moved away, and a successor begun ` +
        'with a new `origin` and a new key.',
    );
  });

  test('a refused start gives the lock back', async () => {
    const dir = newDir();
    await open({ dir }).shutdown();
    const path = join(dir, '0', 'signing');
    const signing = readFileSync(path);
    writeFileSync(path, '');
    expect(startOf({ dir })).toMatch(/^damaged: /);
    writeFileSync(path, signing);
    expect(startOf({ dir })).toBe('started');
    expect(readdirSync(dir)).toEqual(['0']);
  });

  test('the log has another name, another key, or none', async () => {
    const dir = newDir();
    const shown = dir.replace(home, 'HOME');
    const audit = open({ dir, origin: 'example.org/a' });
    await audit.shutdown();
    expect(startOf({ dir, origin: 'example.org/b' })).toBe(
      `mismatch: ${shown}/0 holds the log example.org/a/0, not example.org/b/0. A log keeps its name for life: set ` +
        '`origin` back, or use another `dir`.',
    );
    const keyFile = join(home, 'other.pem');
    writeFileSync(keyFile, generateKeyPem(), { mode: 0o600 });
    expect(startOf({ dir, keyFile })).toBe(
      `mismatch: the key given is not the one that example.org/a/0 began with (${audit.vkey}); give that key, or use ` +
        'another `dir`.',
    );
    const keyPath = join(dir, '0', 'key.pem');
    const key = readFileSync(keyPath);
    rmSync(keyPath);
    expect(startOf({ dir })).toBe(
      `mismatch: ${shown}/0/key.pem is missing: example.org/a/0 can not be continued without its key. Put it back, or ` +
        'use another `dir`.',
    );
    writeFileSync(keyPath, key);
    chmodSync(keyPath, 0o644);
    expect(startOf({ dir })).toBe(
      `io: ${shown}/0: ${shown}/0/key.pem can be read by others (mode 644); run: chmod 600 ${shown}/0/key.pem`,
    );
    chmodSync(keyPath, 0o600);
    expect(startOf({ dir })).toBe('started');
  });

  test('a disk that was full left an empty file', async () => {
    const dir = newDir();
    const shown = dir.replace(home, 'HOME');
    const keyPath = join(dir, '0', 'key.pem');
    const verifierPath = join(dir, '0', 'verifier');
    mkdirSync(join(dir, '0'), { recursive: true });
    writeFileSync(keyPath, '', { mode: 0o600 });
    expect(startOf({ dir })).toBe(
      `damaged: ${shown}/0/key.pem is empty: delete it, and the next start makes a key.`,
    );
    rmSync(keyPath);
    // What an attempt left that never became the file itself.
    for (const name of ['key.pem.0a6f', 'verifier.tmp']) writeFileSync(join(dir, '0', name), '');
    expect(startOf({ dir })).toBe('started');
    const verifier = readFileSync(verifierPath, 'utf8');
    writeFileSync(verifierPath, '');
    expect(startOf({ dir })).toBe(
      `damaged: ${shown}/0/verifier is empty: delete it, and the next start writes it again.`,
    );
    rmSync(verifierPath);
    expect(startOf({ dir })).toBe('started');
    expect(readFileSync(verifierPath, 'utf8')).toBe(verifier);
    writeFileSync(keyPath, '');
    expect(startOf({ dir })).toMatch(
      /^damaged: .*key\.pem is empty: .* Put it back, or use another/,
    );
  });

  test('one key for two logs', async () => {
    const dir = newDir();
    const shown = dir.replace(home, 'HOME');
    const keyFile = `${dir}.pem`;
    writeFileSync(keyFile, generateKeyPem(), { mode: 0o600 });
    const config = { dir, keyFile, origin: 'example.org/a' };
    const first = open(config);
    expect(startOf(config)).toBe(
      `mismatch: the key given signs the log example.org/a/0 (${shown}/0) already, and example.org/a/1 would be ` +
        'another: one key signs one log. Leave the key out, so that each log makes its own, or set `instance` and ' +
        'give each its own key.',
    );
    expect(startOf({ ...config, keyFile: undefined })).toBe('started');
    await first.shutdown();
    expect(startOf(config)).toBe('started');
  });

  test('the key is none, and is not shown', () => {
    const dir = newDir();
    const keyFile = join(home, 'none.pem');
    writeFileSync(keyFile, 'hunter2', { mode: 0o600 });
    expect(startOf({ dir, keyFile })).toBe(
      `io: ${dir.replace(home, 'HOME')}/0: key: not a private key in PEM (PKCS #8); make one with \`sealspan keygen\``,
    );
  });

  test('the directory can not be written', () => {
    const file = newDir();
    writeFileSync(file, '');
    const dir = join(file, 'log');
    const shown = dir.replace(home, 'HOME');
    expect(startOf({ dir })).toBe(
      `io: ${shown}/0 can not be written (ENOTDIR: not a directory, mkdir '${shown}/0'); set \`dir\` to a place that ` +
        'this process may write.',
    );
  });

  test('the log is behind what the archive has: a restored backup (invariant 4)', async () => {
    const dir = newDir();
    const archive = { directory: newDir() };
    const segment = { ageMsMax: 100 };
    const first = open({ dir, archive, segment });
    endSpans(SDK_LINES[2]!, first, 1);
    await first.shutdown();
    const backup = newDir();
    cpSync(dir, backup, { recursive: true });
    const second = open({ dir, archive, segment });
    endSpans(SDK_LINES[2]!, second, 1);
    const { archive: archived } = await second.shutdown();
    expect(archived).toBeDefined();
    const refusal = startOf({ dir: backup, archive, segment });
    expect(refusal).toMatch(
      /^damaged: HOME\/\d+\/0 is behind the archived checkpoint of \d+ records/,
    );
    expect(refusal).toContain('`sealspan recover` begins a successor with a new key.');
    expect(startOf({ dir, archive, segment })).toBe('started');
  });
});

describe('a process that ends', () => {
  const SPAN_COUNT = 1000;
  const task = (dir: string) =>
    ({ config: { dir, archive: 'off' }, spanCount: SPAN_COUNT }) as const;

  test.each([
    ['when nothing is left to do', undefined, { code: 0, signal: null }, ''],
    ['by process.exit in the same turn', 'exit', { code: 0, signal: null }, ''],
    ['by an uncaught exception', 'throw', { code: 1, signal: null }, 'Error: as planned'],
    ['by an unhandled rejection', 'reject', { code: 1, signal: null }, 'Error: as planned'],
    ['by its own shutdown', 'shutdown', { code: 0, signal: null }, ''],
  ] as const)(
    '%s has sealed every span that ended, and closed its log',
    async (_name, end, how, words) => {
      const dir = newDir();
      const app = startAudited({ ...task(dir), ...(end === undefined ? {} : { end }) });
      const { errors, ...ended } = await app.ended();
      expect([ended, errors.includes(words) && (words !== '' || errors === '')]).toEqual([
        how,
        true,
      ]);
      const { report, names, records } = await readLog(join(dir, '0'));
      expect([report.verdict, ...codesOf(report)]).toEqual(['valid']);
      expect(names).toEqual(namesUpTo(SPAN_COUNT));
      expect(records.at(-1)!.events).toMatchObject([
        { name: 'closed', ended: SPAN_COUNT, lost: 0 },
      ]);
    },
  );

  test.each([
    ['by itself', undefined],
    ['after a shutdown', 'shutdown'],
    ['by process.exit', 'exit'],
  ] as const)('%s on a disk that is full does end, and says what is not sealed', async (_, end) => {
    const dir = newDir();
    const app = startAudited({ ...task(dir), ...(end === undefined ? {} : { end }) }, 16);
    const { code, errors } = await app.ended();
    expect(code).toBe(0);
    const place = join(dir, '0');
    if (end !== 'exit') expect(errors).toContain(`log.down: ${place}: EFBIG`);
    const { names } = await readLog(place);
    expect(errors.split('\n').filter((line) => line.startsWith('log.unsealed'))).toEqual([
      `log.unsealed: ${SPAN_COUNT - names.length} spans that ended are NOT sealed in ${place}`,
    ]);
  });

  test('in `sync` mode waits once for a disk that is full, and the next start tells of each call', async () => {
    const config = { dir: newDir(), mode: 'sync', archive: 'off', origin: 'acme' } as const;
    const place = join(config.dir, '0');
    // Ten seconds for each of them, and this test would be over before it ends.
    const spanCount = 8;
    const app = startAudited({ config, spanCount, end: 'exit' }, 1);
    const { code, errors } = await app.ended();
    const told = errors.split('\n').filter((line) => line.startsWith('log.unsealed'));
    expect([code, told]).toEqual([
      0,
      [`log.unsealed: ${spanCount} spans that ended are NOT sealed in ${place}`],
    ]);
    await open(config).shutdown();
    const { report, records } = await readLog(place);
    const runs = runsOf(records);
    expect(runs.flatMap(({ sealed }) => sealed)).toEqual([]);
    expect(runs.flatMap(({ interrupted }) => interrupted)).toEqual(upTo(spanCount));
    expect(codesOf(report)).toContain('log.interrupted');
  }, 60_000);

  test('in `sync` mode, killed right after `end` returned, has sealed that span', async () => {
    const dir = newDir();
    for (let round = 0; round < 3; round++) {
      const app = startAudited({
        config: { dir, mode: 'sync', archive: 'off', instance: `${round}` },
        spanCount: 1,
        perTurn: 3,
        tells: 'ended',
      });
      await app.untilTold(1 + 20 * round);
      app.child.kill('SIGKILL');
      expect((await app.ended()).signal).toBe('SIGKILL');
      const { names } = await readLog(join(dir, `${round}`));
      expect(names.slice(0, app.told().length)).toEqual(app.told());
    }
  });
});

/** What a log says of the numbers of each process: those sealed, and those interrupted. */
function runsOf(
  records: Awaited<ReturnType<typeof readLog>>['records'],
): { readonly sealed: number[]; readonly interrupted: number[]; readonly isClosed: boolean }[] {
  const runs: { sealed: number[]; interrupted: number[]; isClosed: boolean }[] = [];
  for (const { header, entries, events } of records) {
    if (events[0]?.name === 'opened') runs.push({ sealed: [], interrupted: [], isClosed: false });
    const run = runs.at(-1)!;
    if (header.kind === 'traces') run.sealed.push(...entries.map((entry) => sequenceOf(entry)!));
    for (const event of events) {
      if (event.name === 'interrupted') run.interrupted.push(event.sequence);
      if (event.name === 'closed') run.isClosed = true;
    }
  }
  return runs;
}

const upTo = (highest: number): number[] => Array.from({ length: highest }, (_, at) => at + 1);
const ascending = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b);

describe('calls without an end (invariant 8)', () => {
  test.each(['group', 'sync'] as const)(
    'mode %s: killed again and again, the next start accounts for every call, once',
    async (mode) => {
      const dir = newDir();
      const toldCounts: number[] = [];
      for (let round = 0; round < 4; round++) {
        const app = startAudited({
          config: { dir, mode, archive: 'off' },
          spanCount: 20,
          perTurn: 3,
          openEvery: 7,
          tells: 'started',
        });
        await app.untilTold(25 + 40 * round);
        app.child.kill('SIGKILL');
        expect((await app.ended()).signal).toBe('SIGKILL');
        toldCounts.push(app.told().length);
      }
      await open({ dir, mode }).shutdown();
      const { report, records } = await readLog(join(dir, '0'));
      const codes = new Set(codesOf(report));
      codes.delete('log.recovered-whole');
      expect([report.verdict, ...codes]).toEqual(['valid', 'log.interrupted']);
      const runs = runsOf(records);
      expect(runs.map(({ isClosed }) => isClosed)).toEqual([true, true, true, true, true]);
      for (const [round, toldCount] of toldCounts.entries()) {
        const { sealed, interrupted } = runs[round]!;
        const numbers = ascending([...sealed, ...interrupted]);
        expect(numbers).toEqual(upTo(numbers.length));
        // The last one may have been written down, and not told any more.
        expect(numbers.length - toldCount).toBeOneOf([0, 1]);
        const open = upTo(toldCount).filter((number) => (number - 1) % 7 === 0);
        expect(interrupted).toEqual(expect.arrayContaining(open));
        // `end` returns when the span is sealed: none but the last can be lost.
        if (mode === 'sync') expect(interrupted.length - open.length).toBeLessThanOrEqual(1);
      }
      expect(readdirSync(join(dir, '0')).filter((name) => name.startsWith('intents-'))).toEqual([]);
    },
  );

  test('mode sync: killed, and the journal deleted: what had started is named all the same', async () => {
    const dir = newDir();
    const app = startAudited({
      config: { dir, mode: 'sync', archive: 'off' },
      spanCount: 20,
      perTurn: 3,
      openEvery: 7,
      tells: 'started',
    });
    await app.untilTold(40);
    app.child.kill('SIGKILL');
    await app.ended();
    const log = join(dir, '0');
    for (const name of readdirSync(log)) {
      if (name.startsWith('intents-')) rmSync(join(log, name));
    }
    await open({ dir, mode: 'sync' }).shutdown();
    const { report, records } = await readLog(log);
    expect([report.verdict, ...codesOf(report)]).toEqual(['incomplete', 'log.unclean-end']);
    const events = records.flatMap((record) => record.events);
    const intents = events.flatMap((event) => (event.name === 'intent' ? [event.sequence] : []));
    // The last one may have been sealed, and not told any more.
    expect(ascending(intents)).toEqual(upTo(intents.length));
    expect(intents.length - app.told().length).toBeOneOf([0, 1]);
    const named = /; no end is sealed of (.*)$/.exec(report.findings[0]!.message)?.[1];
    const open_ = upTo(app.told().length).filter((number) => (number - 1) % 7 === 0);
    const ranges = parseNumberRanges(named ?? '') ?? [];
    for (const number of open_) {
      expect(ranges.some(([first, last]) => first <= number && number <= last)).toBe(true);
    }
  });

  test('more calls than one journal holds: those that still run are told all the same', async () => {
    const dir = newDir();
    const app = startAudited({
      config: { dir, archive: 'off' },
      spanCount: 20_000,
      perTurn: 1,
      openEvery: 5000,
      tells: 'started',
    });
    await app.untilTold(20_050);
    app.child.kill('SIGKILL');
    await app.ended();
    const journals = readdirSync(join(dir, '0')).filter((name) => name.startsWith('intents-'));
    expect(journals.map((name) => name.slice(-6))).toEqual(['000001']);
    await open({ dir }).shutdown();
    const { report, records } = await readLog(join(dir, '0'));
    expect(report.verdict).toBe('valid');
    const [{ sealed, interrupted } = { sealed: [], interrupted: [] }] = runsOf(records);
    expect(ascending([...sealed, ...interrupted])).toEqual(
      upTo(sealed.length + interrupted.length),
    );
    expect(interrupted).toEqual(expect.arrayContaining([1, 5001, 10_001, 15_001, 20_001]));
  });

  test('a journal that was deleted is missed', async () => {
    const dir = newDir();
    const app = startAudited({
      config: { dir, archive: 'off' },
      spanCount: 5,
      perTurn: 1,
      tells: 'started',
    });
    await app.untilTold(10);
    app.child.kill('SIGKILL');
    await app.ended();
    for (const name of readdirSync(join(dir, '0'))) {
      if (name.startsWith('intents-')) rmSync(join(dir, '0', name));
    }
    await open({ dir }).shutdown();
    const { report } = await readLog(join(dir, '0'));
    expect([report.verdict, codesOf(report)[0]]).toEqual(['incomplete', 'log.unclean-end']);
  });

  test.each(['shutdown', 'closeSync'] as const)(
    'that still run at an end in order, by %s, are sealed once; those handed over are not',
    async (how) => {
      const dir = newDir();
      const audit = open({ dir });
      const provider = SDK_LINES[2]!.openProvider({
        spanProcessors: audit.capture.wrapProcessors([]),
      });
      const tracer = provider.getTracer('app');
      const attributes = { ...GOVERNED, 'gen_ai.request.model': 'gpt-5' };
      const spans = upTo(6).map((number) =>
        tracer.startSpan(`${number}`, number === 5 ? { attributes: GOVERNED } : { attributes }),
      );
      for (const number of [1, 4, 6]) spans[number - 1]!.end();
      if (how === 'shutdown') await audit.shutdown();
      audit.closeSync();
      audit.closeSync();
      for (const span of spans) span.end();
      const { report, records } = await readLog(join(dir, '0'));
      expect([report.verdict, ...codesOf(report)]).toEqual(['valid']);
      expect(ascending(runsOf(records)[0]!.sealed)).toEqual([1, 4, 6]);
      const calls = [2, 3, 5].map((number) => {
        const { traceId, spanId } = spans[number - 1]!.spanContext();
        const model = number === 5 ? {} : { model: 'gpt-5' };
        const startedMs = expect.any(Number);
        return { name: 'interrupted', sequence: number, traceId, spanId, startedMs, ...model };
      });
      const closed = { name: 'closed', started: 6, ended: 3, lost: 0, highest: 6, open: '2-3,5' };
      expect(records.at(-1)!.events).toEqual([...calls, expect.objectContaining(closed)]);
      expect(readdirSync(join(dir, '0')).filter((name) => name.startsWith('intents-'))).toEqual([]);
    },
  );

  test('keep their number in the record, whatever the application writes over it', async () => {
    const dir = newDir();
    const audit = open({ dir });
    const provider = SDK_LINES[2]!.openProvider({
      spanProcessors: audit.capture.wrapProcessors([]),
    });
    const span = provider.getTracer('app').startSpan('chat', { attributes: GOVERNED });
    span.setAttribute('aigov.sequence', 77).end();
    await audit.shutdown();
    const { report, records } = await readLog(join(dir, '0'));
    expect([report.verdict, runsOf(records)[0]!.sealed]).toEqual(['valid', [1]]);
  });
});

describe('an archive', () => {
  test('verifies by itself, while its writer runs and after every end', async () => {
    const dir = newDir();
    const archive = { directory: newDir() };
    const open = (): Audit =>
      openAuditWith(readConfig({}, { dir, archive, origin: 'example.org/a', checkpointMs: 50 }));
    const verifyArchive = (audit: Audit) => {
      const trustPath = join(dir, 'trust.yaml');
      writeFileSync(trustPath, `logs:\n  - origin: ${audit.origin}\n    key: ${audit.vkey}\n`);
      return verifyDirectory(join(archive.directory, audit.origin), openTrustFile(trustPath));
    };
    const audit = open();
    let archivedRecords = 0;
    for (let round = 0; round < 3; round++) {
      endSpans(SDK_LINES[2]!, audit, 5);
      const status = await audit.flush();
      expect(status.archive).toMatchObject({ behindBy: 0 });
      const report = await verifyArchive(audit);
      expect([report.verdict, ...codesOf(report), report.size]).toEqual(['valid', report.records]);
      expect(report.records).toBeGreaterThan(archivedRecords);
      archivedRecords = report.records;
      expect(readdirSync(join(audit.logDirectory, 'checkpoints'))).toEqual([]);
    }
    await audit.shutdown();
    const after = await verifyArchive(audit);
    expect([after.verdict, ...codesOf(after)]).toEqual(['valid']);
    const again = open();
    endSpans(SDK_LINES[2]!, again, 1);
    await again.shutdown();
    const report = await verifyArchive(again);
    expect([report.verdict, ...codesOf(report), report.size]).toEqual(['valid', report.records]);
    expect(report.entries).toBe(16);
    expect((await readLog(audit.logDirectory)).report.verdict).toBe('valid');
  });
});
