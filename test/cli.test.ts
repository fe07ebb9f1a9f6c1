// SPDX-License-Identifier: Apache-2.0
// Goal: the command says of a log on a disk what DESIGN's table promises, in exit status, words and JSON. Method: the
// real command in a process of its own, on logs that the real writer made in folders; 1,000 seeded changes of one byte
// each, judged in this process for speed by the very function that the command calls.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { openTerminal, shown, shownJson, shownLines } from '../exporter/cli/terminal.ts';
import { openTrustFile } from '../exporter/cli/trust.ts';
import { findLogs, verifyDirectory } from '../exporter/cli/verify.ts';
import type { ControlEvent } from '../exporter/log/control.ts';
import { splitRequest } from '../exporter/log/entries.ts';
import { WRITER_SOURCE } from '../exporter/log/header.ts';
import { LogWriter } from '../exporter/node/storage/log-writer.ts';
import { nodeFiles } from '../exporter/node/system/files.ts';
import { generateKeyPem, parseSigner, sha256 } from '../exporter/node/system/keys.ts';
import { takeLock } from '../exporter/node/system/lock.ts';
import { writeSyntheticLog } from './bench/support/synthetic-log.ts';
import { encodeOtlp } from './support/otlp-backend.ts';

const ROOT = join(import.meta.dirname, '..');
const COMMAND = join(ROOT, 'exporter/cli/main.ts');
const ORIGIN = 'loans/test/0';
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const START_MS = Date.parse('2026-11-23T10:00:00.000Z');
const COUNTERS = { started: 2, ended: 2, sealed: 2, lost: 0, highest: 0, open: '' } as const;
const CLOSED: ControlEvent = { name: 'closed', ...COUNTERS };
const GAP: ControlEvent = {
  name: 'gap',
  count: 3,
  first: 1,
  last: 3,
  from: '2026-11-23T10:00:00.000Z',
  to: '2026-11-23T10:00:01.000Z',
  cause: 'the queue was full',
};

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const folder = mkdtempSync(join(tmpdir(), 'sealspan-cli-'));
let folderCount = 0;
const newFolder = (): string => {
  const path = join(folder, String(folderCount++));
  mkdirSync(path);
  return path;
};

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(args: readonly string[], cwd: string = folder): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, ...args], {
    cwd,
    encoding: 'utf8',
    // Compiling the sources is most of a run's time; the cache is this test's own.
    env: { PATH: process.env.PATH ?? '', NODE_COMPILE_CACHE: join(folder, 'compiled') },
  });
  return { status, stdout, stderr };
}

function runJson(args: readonly string[]): { status: number | null; object: unknown } {
  const { status, stdout, stderr } = run([...args, '--json']);
  expect(stderr).toBe('');
  return { status, object: JSON.parse(stdout) };
}

/** Entries of spans with these names, one trace, the second of them not sampled. */
const entriesOf = (...names: readonly string[]): Uint8Array[] =>
  spanEntries(names, { 'gen_ai.request.model': 'small' });

function spanEntries(
  names: readonly string[],
  attributes: Readonly<Record<string, string>>,
): Uint8Array[] {
  const pairs = Object.entries(attributes);
  const spans = names.map((name, index) => ({
    name,
    traceId: Buffer.from(TRACE_ID, 'hex').toString('base64'),
    spanId: Buffer.alloc(8, index + 1).toString('base64'),
    startTimeUnixNano: String(BigInt(START_MS + index) * 1_000_000n),
    endTimeUnixNano: String(BigInt(START_MS + index) * 1_000_000n + 1_500_000n),
    attributes: pairs.map(([key, stringValue]) => ({ key, value: { stringValue } })),
    flags: index === 0 ? 1 : 0,
  }));
  const bytes = encodeOtlp('TracesData', {
    resourceSpans: [{ scopeSpans: [{ scope: { name: 'sealspan' }, spans }] }],
  });
  return splitRequest(bytes, 'traces');
}

interface TestLog {
  readonly dir: string;
  readonly origin: string;
  readonly pem: string;
  readonly vkey: string;
}

function newLog(origin = ORIGIN, dir = newFolder()): TestLog {
  const pem = generateKeyPem();
  const { vkey } = parseSigner(origin, pem);
  writeFileSync(join(dir, 'verifier'), `${vkey}\n`);
  return { dir, origin, pem, vkey };
}

function openLog({ dir, origin, pem }: TestLog, startMs = START_MS): LogWriter {
  let nowMs = startMs;
  return LogWriter.open({
    dir,
    signer: parseSigner(origin, pem),
    files: nodeFiles,
    now: () => nowMs++,
    opened: {
      writer: 'sealspan/test',
      instance: '0',
      configuration: sha256(new Uint8Array()),
      heartbeatMs: 60_000,
    },
    segmentByteLengthMax: 1024 * 1024,
    segmentAgeMsMax: 3_600_000,
  });
}

/** One life of a writer: opened, two spans, the events, a checkpoint. Again on the same folder, the log goes on. */
function seal(log: TestLog, events: readonly ControlEvent[] = [CLOSED]): TestLog {
  const writer = openLog(log);
  writer.append('traces', WRITER_SOURCE, entriesOf('chat', 'chat again'));
  if (events.length > 0) writer.appendControl(events);
  writer.checkpoint();
  writer.close();
  return log;
}

function mkdirIn(folder: string, name: string): string {
  const dir = join(folder, name);
  mkdirSync(dir);
  return dir;
}

function trustFile(logs: readonly { origin: string; vkey: string }[]): string {
  const path = join(newFolder(), 'trust.yaml');
  const lines = logs.flatMap(({ origin, vkey }) => [`  - origin: ${origin}`, `    key: ${vkey}`]);
  writeFileSync(path, `# mine\nlogs:\n${lines.join('\n')}\n`);
  return path;
}

/** A copy as an auditor gets it: what the log consists of, no lock, no key. */
function copyOf(dir: string): string {
  const copy = newFolder();
  for (const name of ['segments', 'checkpoint', 'signing', 'verifier']) {
    cpSync(join(dir, name), join(copy, name), { recursive: true });
  }
  return copy;
}

const onlySegment = (dir: string): string => join(dir, 'segments', '00000000000000000000.seg');

function changeByte(path: string, offset: number): void {
  const bytes = readFileSync(path);
  bytes[offset]! ^= 1;
  writeFileSync(path, bytes);
}

/** What is found where no key that is trusted signed. */
const UNSIGNED = ['checkpoint.unsigned', 'log.unsigned-tail'];

const codes = (object: unknown): string[] =>
  (object as { findings: readonly { code: string }[] }).findings.map(({ code }) => code);

describe('the command itself', () => {
  const COMMANDS = ['verify', 'reconcile', 'show', 'keygen', 'doctor', 'demo'];

  test('without a command it tells them all, and that this was no use of it', () => {
    const { status, stdout, stderr } = run([]);
    expect({ status, stderr }).toEqual({ status: 2, stderr: '' });
    for (const name of COMMANDS) expect(stdout).toMatch(new RegExp(`^ {2}${name} +\\S`, 'm'));
    expect(run(['--help'])).toEqual({ status: 0, stdout, stderr: '' });
    expect(run(['help'])).toEqual({ status: 0, stdout, stderr: '' });
  });

  test('its version is that of the package', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    expect(run(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  test('on a Node that is too old it says which one it needs, and that it is no use there', () => {
    const older = 'Object.defineProperty(process.versions, "node", { value: "22.14.0" })';
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', `data:text/javascript,${older}`, COMMAND, 'verify'],
      { encoding: 'utf8' },
    );
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/^sealspan: needs Node 22\.15 or newer, and runs on \S+ \(.+\)\n$/);
    const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    expect(engines.node).toBe('>=22.15');
  });

  test('what the system refuses is no wrong use, whichever file it is', () => {
    const home = newFolder();
    symlinkSync('loop', join(home, 'loop'));
    for (const args of [
      ['verify', 'loop'],
      ['doctor', 'loop'],
      ['verify', '.', '--trust', 'loop'],
    ]) {
      const { status, stdout, stderr } = run(args, home);
      expect({ args, status, stdout }).toEqual({ args, status: 5, stdout: '' });
      expect(stderr).toContain('ELOOP');
    }
  });

  test('without a directory it looks where the service that is configured there writes', () => {
    const home = newFolder();
    const { dir } = seal(newLog());
    writeFileSync(join(home, 'sealspan.yaml'), `dir: ${JSON.stringify(dir)}\n`);
    const [there, here] = [run(['verify', dir]), run(['verify'], home)];
    expect(here).toEqual(there);
    expect(here.stdout).toContain(dir);
    writeFileSync(join(home, 'sealspan.yaml'), 'dir: [not, a, name]\n');
    expect(run(['verify'], home)).toMatchObject({ status: 2, stdout: '' });
  });

  test.each(COMMANDS)('%s --help tells its options and an example', (name) => {
    const { status, stdout, stderr } = run([name, '--help']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^sealspan ${name} .*\\[--json\\]\n`));
    expect(stdout).toMatch(new RegExp(`\nexample: sealspan ${name} `));
    expect(run([name, '-h']).stdout).toBe(stdout);
  });

  test.each([
    [['nonsense'], "there is no command 'nonsense'"],
    [['constructor'], "there is no command 'constructor'"],
    [['verify', '--nonsense'], "Unknown option '--nonsense'"],
    [['verify', 'no-such-folder'], 'no-such-folder is no directory'],
    [['doctor', 'no-such-folder'], 'no-such-folder is no directory'],
    [['verify', '.', '--trust', 'no-such-file'], 'no-such-file: '],
    [['verify', '.', '--from', 'noon'], "--from: 'noon' is no time such as 2026-11-23T10:00:00Z"],
    [['verify', '.', '--threads', '0'], '--threads: 0 is no integer of 1 to 256'],
    [['verify', '.', '--threads', 'all'], '--threads: all is no integer of 1 to 256'],
    [
      ['verify', '.', '--from', '2026-11-23T10:00:00Z', '--to', '2026-11-23T09:59:59Z'],
      '--from is behind --to',
    ],
    [['verify', 's3://bucket', '--to', 'noon'], "--to: 'noon' is no time"],
    [['reconcile', '.'], 'expected one of --jaeger URL, --tempo URL, --otlp FILE'],
    [['reconcile', '.', '--otlp', 'a', '--tempo', 'b'], 'expected one of --jaeger URL'],
    [['reconcile', '.', '--jaeger', 'there'], "--jaeger: 'there' is no http or https URL"],
    [['reconcile', '.', '--otlp', 'a', '--keeps', '101'], '--keeps: 101 is no number of 0 to 100'],
    [['verify', '.', 'another'], "verify: 'another' is one word too many"],
    [['gateway', 'another'], "gateway: 'another' is one word too many"],
    [['show', '.'], '--trace is missing; for example --trace 4bf92f35'],
    [['show', '--trace', 'xyz', '.'], "--trace: 'xyz' is not 32 hexadecimal digits"],
    [['keygen', '--out', 'key.pem'], '--origin is missing'],
    [['keygen', '--origin', 'a/b'], '--out is missing'],
    [['keygen', '--origin', 'No Origin', '--out', 'key.pem'], "--origin: 'No Origin' is no origin"],
    [['keygen', '--origin', 'a/b', '--out', 'no/such/folder'], '--out: '],
    [['demo', '--calls', '7'], '--calls: 7 is no integer of 8 to 100000'],
    [['demo', '--calls', 'many'], '--calls: many is no integer of 8 to 100000'],
    [['demo', '--dir', ROOT], `--dir: ${ROOT} is not empty`],
  ] as const)('wrong use: %j', (args, message) => {
    const { status, stdout, stderr } = run(args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(`sealspan: ${message}`);
    expect(stderr).not.toContain('    at ');
  });

  test('the outside world failing is no verdict on the log, and says why', () => {
    const { dir } = unreadable(newFolder());
    const { status, stdout, stderr } = run(['verify', dir]);
    expect({ status, stderr }).toEqual({ status: 5, stderr: '' });
    expect(stdout).toContain('\nverdict    UNVERIFIABLE\n');
    expect(stdout).toContain(`\nfinding    log.unreadable at ${dir}: ENOTDIR`);
    const show = run(['show', '--trace', TRACE_ID, dir]);
    expect({ status: show.status, stdout: show.stdout }).toEqual({ status: 5, stdout: '' });
    expect(show.stderr).toContain(`sealspan: ${dir} can not be read: ENOTDIR`);
  });
});

/** A log of which the disk gives nothing: its segments are no directory. */
function unreadable(dir: string): { readonly dir: string } {
  writeFileSync(join(dir, 'segments'), '');
  return { dir };
}

const NO_INSTANCES = {
  instances: [],
  instanceCounts: { complete: 0, 'complete with declared gaps': 0, incomplete: 0 },
  dropped: { spans: 0, attributes: 0, events: 0, links: 0, cutValues: 0 },
  refused: [],
};

describe('verify', () => {
  test('a whole log, for people', () => {
    const { dir } = seal(newLog());
    expect(run(['verify', dir])).toEqual({
      status: 0,
      stderr: '',
      stdout: `log        ${ORIGIN} in ${dir}
verdict    VALID
records    3 read, 3 under a signature
entries    2 sealed, 0 declared lost
range      2026-11-23T10:00:00.001Z to 2026-11-23T10:00:00.005Z, as the writer claims
signer     ${ORIGIN} (self-attested: the key was found beside the log)
tail       not checked: no earlier head was given
logs       not checked: no list of expected logs was given
fork       fork after restore: not excluded
witnesses  none
instances  1 complete, from the beginning to the end
instance   ${ORIGIN} 0: complete; no numbers; closed, heard from 2026-11-23T10:00:00.001Z to 2026-11-23T10:00:00.005Z, sealed by itself
`,
    });
  });

  test('a whole log, for programs', () => {
    const { dir } = seal(newLog());
    expect(runJson(['verify', dir])).toEqual({
      status: 0,
      object: {
        dir,
        verdict: 'valid',
        log: ORIGIN,
        size: 3,
        root: expect.stringMatching(/^[\w+/]{43}=$/),
        records: 3,
        entries: 2,
        declaredLost: 0,
        findings: [],
        findingsOmitted: 0,
        assurance: {
          signer: ORIGIN,
          selfAttested: true,
          tail: 'not checked: no earlier head was given',
          population: 'not checked: no list of expected logs was given',
          fork: 'fork after restore: not excluded',
          witnesses: 'none',
          archiveLock: 'not checked',
          unsignedRecords: 0,
          claimedFrom: '2026-11-23T10:00:00.001Z',
          claimedTo: '2026-11-23T10:00:00.005Z',
        },
        missing: [],
        instances: [
          {
            kind: 'writer',
            instance: '0',
            log: ORIGIN,
            service: null,
            source: { kind: 'in-process', principal: null },
            state: 'closed',
            completeness: 'complete',
            heardFrom: '2026-11-23T10:00:00.001Z',
            heardTo: '2026-11-23T10:00:00.005Z',
            highest: 0,
            missing: { count: 0, ranges: '' },
            open: { count: 0, ranges: '' },
            declaredLost: 0,
            findings: [],
          },
        ],
        instanceCounts: { ...NO_INSTANCES.instanceCounts, complete: 1 },
        dropped: NO_INSTANCES.dropped,
        refused: [],
      },
    });
  });

  test('a folder without a log: nothing was checked, and that is never valid', () => {
    const dir = newFolder();
    expect(runJson(['verify', dir])).toEqual({
      status: 4,
      object: { logs: [], verdict: 'unverifiable', missing: [], ...NO_INSTANCES },
    });
    expect(run(['verify', dir]).stdout).toBe('verdict    UNVERIFIABLE (0 logs)\n');
  });

  test('without a folder it looks where logs are by default', () => {
    const cwd = newFolder();
    mkdirSync(join(cwd, 'sealspan-log', '0'), { recursive: true });
    seal(newLog(ORIGIN, join(cwd, 'sealspan-log', '0')));
    expect(run(['verify'], cwd).stdout).toContain('verdict    VALID\n');
  });

  test('all logs below a folder are verified, the worst verdict wins', () => {
    const dir = newFolder();
    for (const instance of ['0', '1']) {
      mkdirSync(join(dir, instance));
      seal(newLog(`loans/test/${instance}`, join(dir, instance)));
    }
    expect(run(['verify', dir]).stdout).toMatch(/\nverdict {4}VALID \(2 logs\)\n$/);
    changeByte(onlySegment(join(dir, '1')), 1000);
    const { status, object } = runJson(['verify', dir]);
    const { logs, verdict } = object as { logs: readonly { verdict: string }[]; verdict: string };
    expect({ status, verdict, each: logs.map((log) => log.verdict) }).toEqual({
      status: 1,
      verdict: 'invalid',
      each: ['valid', 'invalid'],
    });
  });

  test('a log that can not be read hides no verdict on the others', () => {
    const dir = newFolder();
    for (const instance of ['0', '1', '2']) mkdirSync(join(dir, instance));
    seal(newLog('loans/test/0', join(dir, '0')));
    unreadable(join(dir, '1'));
    seal(newLog('loans/test/2', join(dir, '2')));
    const verdictsIn = (): unknown => {
      const { status, object } = runJson(['verify', dir]);
      const { logs } = object as { logs: readonly { verdict: string }[] };
      return { status, each: logs.map(({ verdict }) => verdict) };
    };
    expect(verdictsIn()).toEqual({ status: 4, each: ['valid', 'unverifiable', 'valid'] });
    changeByte(onlySegment(join(dir, '2')), 1000);
    expect(verdictsIn()).toEqual({ status: 1, each: ['valid', 'unverifiable', 'invalid'] });
  });

  test('what is no regular file is named, not waited for', () => {
    const { dir } = seal(newLog());
    for (const path of ['verifier', 'lock']) {
      rmSync(join(dir, path), { force: true });
      spawnSync('mkfifo', [join(dir, path)]);
    }
    rmSync(onlySegment(dir));
    spawnSync('mkfifo', [onlySegment(dir)]);
    const { status, object } = runJson(['verify', dir]);
    expect({ status, codes: codes(object) }).toEqual({
      status: 1,
      codes: ['key.missing', 'checkpoint.unsigned', 'segment.name', 'log.empty'],
    });
  });

  test('a key beside the log is read up to a bound', () => {
    const { dir, vkey } = seal(newLog());
    writeFileSync(join(dir, 'verifier'), `${vkey}${'\n'.repeat(4096)}`);
    expect(codes(runJson(['verify', dir]).object)).toContain('key.missing');
    expect(run(['verify', dir]).stdout).toContain('\ninstances  not judged: ');
  });

  test("below a directory called archive only a writer's own directory is a log", () => {
    const dir = newFolder();
    for (const path of ['0', 'archive', 'archive/a/b'])
      mkdirSync(join(dir, path), { recursive: true });
    const log = seal(newLog('loans/test/0', join(dir, '0')));
    cpSync(join(log.dir, 'segments'), join(dir, 'archive/a/b/segments'), { recursive: true });
    expect(findLogs(dir)).toEqual([{ dir: log.dir }]);
    mkdirSync(join(dir, 'archive/hidden'));
    seal(newLog('loans/test/1', join(dir, 'archive/hidden')));
    expect(findLogs(dir)).toEqual([{ dir: log.dir }, { dir: join(dir, 'archive/hidden') }]);
    seal(newLog('loans/test/archive', join(dir, 'archive')));
    expect(findLogs(dir)).toEqual([{ dir: log.dir }, { dir: join(dir, 'archive') }]);
    changeByte(onlySegment(join(dir, 'archive')), 1000);
    expect(run(['verify', dir]).status).toBe(1);
  });

  test('directories too deep to be looked into are told; links may lead in circles or nowhere', () => {
    const dir = newFolder();
    const deep = join(dir, '1/2/3/4/5/6');
    mkdirSync(join(deep, '7'), { recursive: true });
    seal(newLog(ORIGIN, join(deep, '7')));
    for (const path of [dir, join(dir, '1'), join(dir, '1/2')]) {
      symlinkSync(dir, join(path, 'circle'));
      symlinkSync(join(dir, 'nothing'), join(path, 'nowhere'));
    }
    expect(run(['verify', dir])).toEqual({
      status: 4,
      stdout: 'verdict    UNVERIFIABLE (0 logs)\n',
      stderr: `sealspan: ${deep}/7 was not looked into: it lies more than 6 levels below ${dir}\n`,
    });
  });

  test('what was tampered with is said where, and which rule broke', () => {
    const { dir } = seal(newLog());
    changeByte(onlySegment(dir), statSync(onlySegment(dir)).size - 1);
    const { status, stdout } = run(['verify', dir]);
    expect(status).toBe(1);
    expect(stdout).toContain('\nverdict    INVALID\n');
    expect(stdout).toContain(
      '\nfinding    record.stored at segment 00000000000000000000.seg record 2: ',
    );
  });

  test('a declared gap: incomplete, and counted', () => {
    const { dir } = seal(newLog(), [GAP, CLOSED]);
    const { status, object } = runJson(['verify', dir]);
    expect({ status, codes: codes(object) }).toEqual({ status: 3, codes: ['log.gap'] });
    expect(object).toMatchObject({ verdict: 'incomplete', declaredLost: 3, size: 3 });
  });

  test('a call that is in no record: incomplete, and named', () => {
    const { dir } = seal(newLog(), [{ name: 'closed', ...COUNTERS, highest: 2 }]);
    const { status, object } = runJson(['verify', dir]);
    expect({ status, codes: codes(object) }).toEqual({ status: 3, codes: ['log.numbers'] });
    expect(run(['verify', dir]).stdout).toContain('2 of 2 numbers are in no record: 1-2');
  });

  test('a time in which it was not written: unverifiable, whatever holds of the rest', () => {
    const { dir } = seal(newLog());
    const { object } = runJson(['verify', dir]);
    const { claimedFrom, claimedTo } = (object as { assurance: Record<string, string> }).assurance;
    const status = (...range: string[]): number | null => run(['verify', dir, ...range]).status;
    expect({
      within: status('--from', claimedFrom!, '--to', '2999-01-01T00:00:00Z'),
      before: status('--to', claimedFrom!),
      behind: status('--from', new Date(Date.parse(claimedTo!) + 1).toISOString()),
    }).toEqual({ within: 0, before: 4, behind: 4 });
    expect(run(['verify', dir, '--to', claimedFrom!]).stdout).toContain(
      '\nrange      no log that was found was written in it\n',
    );
  });

  test('no key: unverifiable', () => {
    const { dir } = seal(newLog());
    rmSync(join(dir, 'verifier'));
    const { status, object } = runJson(['verify', dir]);
    expect({ status, codes: codes(object) }).toEqual({
      status: 4,
      codes: ['key.missing', ...UNSIGNED],
    });
  });

  test.each([
    ['of somebody else', parseSigner(ORIGIN, generateKeyPem()).vkey, 'checkpoint.unsigned'],
    ['that is none', 'no key at all', 'key.missing'],
  ])('a key beside the log %s: unverifiable', (_name, text, code) => {
    const { dir } = seal(newLog());
    writeFileSync(join(dir, 'verifier'), text);
    const { status, object } = runJson(['verify', dir]);
    expect({ status, codes: codes(object) }).toEqual({
      status: 4,
      codes: expect.arrayContaining([code]),
    });
  });

  test('a tail that is not signed yet excuses a running writer, and nobody else', () => {
    const log = newLog();
    const lock = takeLock(log.dir);
    const writer = openLog(log, Date.now());
    writer.checkpoint();
    writer.append('traces', WRITER_SOURCE, entriesOf('chat'));
    const running = runJson(['verify', log.dir]);
    const copied = runJson(['verify', copyOf(log.dir)]);
    writer.close();
    lock?.release();
    const ended = runJson(['verify', log.dir]);
    expect([running, copied, ended].map(({ status, object }) => [status, codes(object)])).toEqual([
      [0, ['log.unsigned-tail-live']],
      [3, ['log.unsigned-tail']],
      [3, ['log.unsigned-tail']],
    ]);
    expect(running.object).toMatchObject({ size: 1, records: 2 });
  });
});

describe('verify with a trust file', () => {
  test('the head is remembered, comments stay, and the next log must extend it', () => {
    const log = seal(newLog());
    const path = trustFile([log]);
    const before = readFileSync(path, 'utf8');
    expect(runJson(['verify', log.dir, '--trust', path])).toMatchObject({
      status: 0,
      object: {
        verdict: 'valid',
        assurance: {
          selfAttested: false,
          tail: 'not checked: no earlier head was given',
          population: '1 of 1 logs expected were found',
        },
      },
    });
    const head = openTrustFile(path).logs[0]?.head;
    const root = Buffer.from(head?.root ?? []).toString('base64');
    expect(readFileSync(join(log.dir, 'checkpoint'), 'latin1')).toContain(`\n3\n${root}\n`);
    expect(readFileSync(path, 'utf8')).toBe(
      `${before}    head:\n      size: 3\n      root: ${root}\n`,
    );
    seal(log);
    expect(runJson(['verify', log.dir, '--trust', path]).object).toMatchObject({
      size: 6,
      assurance: { tail: 'extends the head of 3 records seen before' },
    });
    expect(openTrustFile(path).logs[0]?.head?.size).toBe(6);
  });

  test('the head of a log that is intact but incomplete is remembered too', () => {
    const log = seal(newLog(), [GAP, CLOSED]);
    const path = trustFile([log]);
    expect(run(['verify', log.dir, '--trust', path]).status).toBe(3);
    expect(openTrustFile(path).logs[0]?.head?.size).toBe(3);
  });

  test('a trust file that can not be written: the verdict is told all the same, then why', () => {
    const log = seal(newLog());
    const path = trustFile([log]);
    // What a read-only file system does to it, also for a superuser: the new file can not be made beside it.
    mkdirSync(`${path}.tmp`);
    const { status, stdout, stderr } = run(['verify', log.dir, '--trust', path]);
    expect(status).toBe(5);
    expect(stdout).toContain('\nverdict    VALID\n');
    expect(stderr).toMatch(/^sealspan: the head of loans\/test\/0 is not remembered: EISDIR/);
    changeByte(onlySegment(log.dir), 1000);
    expect(run(['verify', log.dir, '--trust', path]).status).toBe(1);
  });

  test('a log put back to an older state, checkpoint and all: found, and the head stays', () => {
    const log = seal(newLog());
    const old = copyOf(log.dir);
    const path = trustFile([log]);
    seal(log);
    expect(run(['verify', log.dir, '--trust', path]).status).toBe(0);
    const before = readFileSync(path, 'utf8');
    const { status, object } = runJson(['verify', old, '--trust', path]);
    expect({ status, codes: codes(object) }).toEqual({ status: 1, codes: ['log.rollback'] });
    expect(readFileSync(path, 'utf8')).toBe(before);
    // Nobody who keeps no head can tell.
    expect(run(['verify', old]).status).toBe(0);
  });

  test('another history under the same key: found by the head', () => {
    const log = seal(newLog());
    const path = trustFile([log]);
    expect(run(['verify', log.dir, '--trust', path]).status).toBe(0);
    const other = { ...log, dir: newFolder() };
    writeFileSync(join(other.dir, 'verifier'), `${log.vkey}\n`);
    seal(seal(other, [GAP]));
    const { status, object } = runJson(['verify', other.dir, '--trust', path]);
    expect(status).toBe(1);
    expect(codes(object)).toContain('log.root');
  });

  test.each([
    ['before', 'a', 'b'],
    ['behind', 'b', 'a'],
  ])(
    'another history %s the longer one below one directory: invalid, and no head is kept',
    (_, one, two) => {
      const folder = newFolder();
      const log = newLog(ORIGIN, mkdirIn(folder, one));
      const path = trustFile([log]);
      const before = readFileSync(path, 'utf8');
      seal(seal(log));
      const other = { ...log, dir: mkdirIn(folder, two) };
      writeFileSync(join(other.dir, 'verifier'), `${log.vkey}\n`);
      seal(other, [GAP, CLOSED]);
      for (const trust of [[], ['--trust', path]]) {
        const { status, object } = runJson(['verify', folder, ...trust]);
        expect(status).toBe(1);
        expect((object as { logs: unknown[] }).logs.flatMap(codes)).toContain('log.root');
      }
      expect(readFileSync(path, 'utf8')).toBe(before);
    },
  );

  test.each([
    ['before', 'a', 'b'],
    ['behind', 'b', 'a'],
  ])(
    'an older copy %s its log below one directory: valid, and the head is the larger',
    (_, one, two) => {
      const folder = newFolder();
      const log = seal(newLog(ORIGIN, mkdirIn(folder, one)));
      cpSync(copyOf(log.dir), join(folder, two), { recursive: true });
      seal(log);
      const path = trustFile([log]);
      expect(run(['verify', folder, '--trust', path]).status).toBe(0);
      expect(openTrustFile(path).logs[0]?.head?.size).toBe(6);
    },
  );

  test('two logs of one name and two keys below one directory are two logs', () => {
    const folder = newFolder();
    seal(seal(newLog(ORIGIN, mkdirIn(folder, 'a'))));
    seal(newLog(ORIGIN, mkdirIn(folder, 'b')), [GAP, CLOSED]);
    expect(runJson(['verify', folder]).object).toMatchObject({
      logs: [
        { findings: [], size: 6 },
        { log: ORIGIN, size: 3 },
      ],
    });
    expect(run(['verify', folder]).stdout).not.toContain('log.root');
  });

  test('a log that is expected and not there: incomplete, and named', () => {
    const log = seal(newLog());
    const absent = {
      origin: 'loans/test/1',
      vkey: parseSigner('loans/test/1', generateKeyPem()).vkey,
    };
    const path = trustFile([log, absent]);
    expect(runJson(['verify', log.dir, '--trust', path])).toMatchObject({
      status: 3,
      object: {
        verdict: 'incomplete',
        missing: ['loans/test/1'],
        findings: [],
        assurance: { population: '1 of 2 logs expected were found' },
      },
    });
    expect(run(['verify', log.dir, '--trust', path]).stdout).toContain(
      '\nmissing    loans/test/1: expected by the trust file, not found\n',
    );
    expect(runJson(['verify', newFolder(), '--trust', path])).toEqual({
      status: 3,
      object: {
        logs: [],
        verdict: 'incomplete',
        ...NO_INSTANCES,
        missing: [ORIGIN, 'loans/test/1'],
      },
    });
    // A directory that went with all that was in it, or a disk that is not mounted.
    expect(run(['verify', 'no-such-folder', '--trust', path])).toEqual({
      status: 3,
      stdout: `missing    ${ORIGIN}: expected by the trust file, not found
missing    loans/test/1: expected by the trust file, not found
verdict    INCOMPLETE (0 logs)
`,
      stderr: 'sealspan: no-such-folder is not there\n',
    });
    const nothing = join(newFolder(), 'trust.yaml');
    writeFileSync(nothing, 'logs: []\n');
    expect(run(['verify', 'no-such-folder', '--trust', nothing]).status).toBe(2);
  });

  test('the key beside the log counts for nothing', () => {
    const log = seal(newLog());
    const path = trustFile([{ origin: ORIGIN, vkey: parseSigner(ORIGIN, generateKeyPem()).vkey }]);
    const before = readFileSync(path, 'utf8');
    const { status, object } = runJson(['verify', log.dir, '--trust', path]);
    expect({ status, codes: codes(object) }).toEqual({ status: 4, codes: UNSIGNED });
    expect(readFileSync(path, 'utf8')).toBe(before);
  });

  test.each([
    [
      'torn',
      (path: string) => writeFileSync(path, 'loans'),
      ['checkpoint.syntax', 'log.unsigned-tail'],
    ],
    ['gone', (path: string) => rmSync(path), ['checkpoint.missing', 'log.unsigned-tail']],
  ] as const)(
    'a checkpoint that is %s hides neither the key nor the head seen before',
    (_what, spoil, found) => {
      const log = seal(newLog());
      const path = trustFile([log]);
      expect(run(['verify', log.dir, '--trust', path]).status).toBe(0);
      const before = readFileSync(path, 'utf8');
      spoil(join(log.dir, 'checkpoint'));
      const { object } = runJson(['verify', log.dir, '--trust', path]);
      expect(codes(object)).toEqual(found);
      expect(object).toMatchObject({
        assurance: { tail: 'extends the head of 3 records seen before' },
      });
      expect(readFileSync(path, 'utf8')).toBe(before);
    },
  );

  test('a log that nobody listed is not verified by its own word', () => {
    const log = seal(newLog());
    const path = trustFile([seal(newLog('loans/test/1'))]);
    const { status, object } = runJson(['verify', log.dir, '--trust', path]);
    expect(status).toBe(4);
    expect(codes(object)).toEqual(['key.missing', ...UNSIGNED]);
  });

  test('a signature that does not hold: invalid', () => {
    const log = seal(newLog());
    changeSignature(join(log.dir, 'checkpoint'));
    const { status, object } = runJson(['verify', log.dir, '--trust', trustFile([log])]);
    expect(status).toBe(1);
    expect(codes(object)).toContain('checkpoint.signature');
  });

  test.each([
    ['no YAML', 'logs: [', /trust\.yaml: /],
    ['no list', 'logs: 1', /trust\.yaml: logs: /],
    ['an unknown setting', 'logs: []\nmore: 1', /trust\.yaml: : Unrecognized key/],
    ['no key', 'logs:\n  - { origin: a, key: nonsense }', /trust\.yaml: logs\.0: /],
    [
      'the key of another log',
      `logs:\n  - { origin: a, key: ${parseSigner('b', generateKeyPem()).vkey} }`,
      /trust\.yaml: logs\.0: .*the key is that of b/,
    ],
    [
      'a head of no size',
      `logs:\n  - { origin: a, key: ${parseSigner('a', generateKeyPem()).vkey}, head: { size: 0, root: '' } }`,
      /trust\.yaml: logs\.0\.head\.size: /,
    ],
    [
      'one log twice, so that the head of one hides that of the other',
      ['a/b', 'a', 'a/b']
        .map(
          (origin) =>
            `  - { origin: ${origin}, key: ${parseSigner(origin, generateKeyPem()).vkey} }`,
        )
        .reduce((lines, line) => `${lines}\n${line}`, 'logs:'),
      /trust\.yaml: logs\.2: a\/b stands in the list twice/,
    ],
  ])('a trust file with %s is refused by name', (_name, text, message) => {
    const path = join(newFolder(), 'trust.yaml');
    writeFileSync(path, text);
    const { status, stdout, stderr } = run(['verify', folder, '--trust', path]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(message);
  });
});

/** Changes one bit of the Ed25519 signature in a checkpoint, not of the key id before it. */
function changeSignature(path: string): void {
  const lines = readFileSync(path, 'utf8').split('\n');
  const at = lines.findIndex((line) => line.startsWith('\u2014 '));
  const [dash, name, base64 = ''] = (lines[at] ?? '').split(' ');
  const bytes = Buffer.from(base64, 'base64');
  bytes[bytes.length - 1]! ^= 1;
  lines[at] = [dash, name, bytes.toString('base64')].join(' ');
  writeFileSync(path, lines.join('\n'));
}

describe('show', () => {
  test('the spans of a trace with the place each is sealed at, for programs', () => {
    const { dir } = seal(newLog());
    const span = {
      traceId: TRACE_ID,
      parentSpanId: '',
      durationMs: 1.5,
      status: 'unset',
      statusMessage: '',
      scope: 'sealspan',
      resource: {},
      attributes: { 'gen_ai.request.model': 'small' },
      normalised: { 'gen_ai.request.model': 'small', 'aigov.source.convention': 'gen_ai' },
      events: [],
      droppedAttributes: 0,
      leaf: expect.stringMatching(/^[A-Za-z0-9+/]{43}=$/),
      sealed: '2026-11-23T10:00:00.003Z',
      source: { kind: 'in-process', principal: null },
    };
    expect(runJson(['show', '--trace', TRACE_ID, dir])).toEqual({
      status: 0,
      object: {
        trace: TRACE_ID,
        verdict: 'valid',
        scope: 'log',
        calls: 2,
        spans: [
          {
            ...span,
            call: 1,
            name: 'chat',
            spanId: '0101010101010101',
            start: '2026-11-23T10:00:00.000Z',
            isSampled: true,
            ref: `${ORIGIN}#1/0`,
          },
          {
            ...span,
            call: 2,
            name: 'chat again',
            spanId: '0202020202020202',
            start: '2026-11-23T10:00:00.001Z',
            isSampled: false,
            ref: `${ORIGIN}#1/1`,
          },
        ],
      },
    });
  });

  test('the same for people, whatever case the id is written in', () => {
    const { dir } = seal(newLog());
    const { status, stdout, stderr } = run(['show', '--trace', TRACE_ID.toUpperCase(), dir]);
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr: `2 spans of trace ${TRACE_ID}, calls of a model: 2; verdict of the log: valid\n`,
    });
    expect(
      stdout.replaceAll(/leaf \S+/g, 'leaf HASH'),
    ).toBe(`2026-11-23T10:00:00.000Z  chat  1.5 ms  unset
  sealed 2026-11-23T10:00:00.003Z as ${ORIGIN}#1/0
  leaf HASH
  source in-process
  aigov.source.convention = gen_ai
  gen_ai.request.model = small
2026-11-23T10:00:00.001Z  chat again  1.5 ms  unset
  sealed 2026-11-23T10:00:00.003Z as ${ORIGIN}#1/1
  leaf HASH   (not sampled: sealed, not in the backend)
  source in-process
  aigov.source.convention = gen_ai
  gen_ai.request.model = small
`);
  });

  test('who sent them is told', () => {
    const log = newLog();
    const writer = openLog(log);
    const principal = sha256(Buffer.from('a client'));
    const base64 = Buffer.from(principal).toString('base64');
    writer.append('traces', { kind: 'collector', principal, policy: 'verbatim' }, entriesOf('x'));
    writer.close();
    expect(run(['show', '--trace', TRACE_ID, log.dir]).stdout).toContain(
      `\n  source collector, principal ${base64}\n`,
    );
    expect(runJson(['show', '--trace', TRACE_ID, log.dir]).object).toMatchObject({
      spans: [{ source: { kind: 'collector', principal: base64 } }],
    });
  });

  test('a trace that is not there, and a folder without a log', () => {
    const { dir } = seal(newLog());
    const trace = 'f'.repeat(32);
    expect(runJson(['show', '--trace', trace, dir])).toEqual({
      status: 4,
      object: { trace, verdict: 'valid', scope: 'log', calls: 0, spans: [] },
    });
    expect(runJson(['show', '--trace', trace, newFolder()])).toEqual({
      status: 4,
      object: { trace, verdict: 'unverifiable', scope: 'log', calls: 0, spans: [] },
    });
  });

  describe("other instrumentations' spans", () => {
    /** Spans as each writes them, with the names that its own packages have. */
    const OTHERS: Readonly<Record<string, Readonly<Record<string, string | number>>>> = {
      '@arizeai/openinference-instrumentation-openai': {
        'openinference.span.kind': 'LLM',
        'llm.provider': 'openai',
        'llm.model_name': 'gpt-5',
        'llm.token_count.prompt': 9,
        'llm.token_count.completion': 4,
        'llm.finish_reason': 'stop',
      },
      '@traceloop/instrumentation-openai': {
        'gen_ai.system': 'OpenAI',
        'llm.request.type': 'chat',
        'gen_ai.request.model': 'gpt-5',
        'gen_ai.usage.prompt_tokens': 9,
        'gen_ai.usage.completion_tokens': 4,
        'gen_ai.completion.0.role': 'assistant',
        'gen_ai.completion.0.content': 'hi',
        'gen_ai.completion.0.finish_reason': 'stop',
      },
      ai: {
        'ai.operationId': 'ai.generateText.doGenerate',
        'ai.model.provider': 'openai.chat',
        'ai.model.id': 'gpt-5',
        'ai.usage.inputTokens': 9,
        'ai.usage.outputTokens': 4,
        'ai.response.finishReason': 'stop',
      },
      'langfuse-sdk': {
        'langfuse.observation.type': 'generation',
        'langfuse.observation.model.name': 'gpt-5',
        'langfuse.observation.usage_details': '{"input":9,"output":4}',
      },
    };

    /** A log with one span of each, one in the other: one call that four tell of. */
    function sealOthers(): string {
      const log = newLog();
      const writer = openLog(log);
      const entries = Object.entries(OTHERS).flatMap(([name, attributes], index) => {
        const id = (byte: number) => Buffer.alloc(8, byte).toString('base64');
        const startNs = BigInt(START_MS + index) * 1_000_000n;
        const span = {
          name: 'call',
          traceId: Buffer.from(TRACE_ID, 'hex').toString('base64'),
          spanId: id(index + 1),
          ...(index > 0 && { parentSpanId: id(index) }),
          startTimeUnixNano: String(startNs),
          endTimeUnixNano: String(startNs + 5_000_000n),
          attributes: Object.entries(attributes).map(([key, value]) => ({
            key,
            value: typeof value === 'string' ? { stringValue: value } : { intValue: value },
          })),
        };
        const scopeSpans = [{ scope: { name }, spans: [span] }];
        return splitRequest(
          encodeOtlp('TracesData', { resourceSpans: [{ scopeSpans }] }),
          'traces',
        );
      });
      writer.append('traces', WRITER_SOURCE, entries);
      writer.checkpoint();
      writer.close();
      return log.dir;
    }

    interface Shown {
      readonly calls: number;
      readonly spans: readonly {
        readonly scope: string;
        readonly call: number;
        readonly attributes: unknown;
        readonly normalised?: Readonly<Record<string, unknown>>;
      }[];
    }

    test('are sealed as they were, shown in one vocabulary, and count as the one call they tell of', () => {
      const { calls, spans } = runJson(['show', '--trace', TRACE_ID, sealOthers()]).object as Shown;
      expect(calls).toBe(1);
      expect(spans.map(({ scope, call, attributes }) => [scope, call, attributes])).toEqual(
        Object.entries(OTHERS).map(([scope, attributes]) => [scope, 1, attributes]),
      );
      for (const { scope, normalised } of spans) {
        expect(normalised, scope).toMatchObject({
          'gen_ai.operation.name': 'chat',
          'gen_ai.request.model': 'gpt-5',
          'gen_ai.usage.input_tokens': 9,
          'gen_ai.usage.output_tokens': 4,
        });
      }
    });

    test('and with --raw shown as they are sealed', () => {
      const dir = sealOthers();
      const { spans } = runJson(['show', '--trace', TRACE_ID, '--raw', dir]).object as Shown;
      expect(spans.map(({ attributes }) => attributes)).toEqual(Object.values(OTHERS));
      expect(spans.some((span) => 'normalised' in span)).toBe(false);
      const { stdout } = run(['show', '--trace', TRACE_ID, '--raw', dir]);
      expect(stdout).toContain('\n  llm.token_count.prompt = 9\n');
      expect(stdout).not.toContain('gen_ai.usage.input_tokens');
    });

    test('for people: the later ones name the first', () => {
      const { stdout, stderr } = run(['show', '--trace', TRACE_ID, sealOthers()]);
      expect(stderr).toContain('calls of a model: 1;');
      expect(stdout.match(/^ {2}the same call as .*$/gm)).toEqual(
        Object.keys(OTHERS)
          .slice(1)
          .map((scope) => `  the same call as ${ORIGIN}#1/0 (call), told by ${scope}`),
      );
    });
  });

  test('of a log that was tampered with: what did not pass is not shown, and the status says so', () => {
    const log = seal(seal(newLog()));
    const bytes = readFileSync(onlySegment(log.dir));
    const second = bytes.indexOf('sealspan/record@v1', 10);
    const third = bytes.indexOf('sealspan/record@v1', second + 10);
    changeByte(onlySegment(log.dir), third - 1);
    const { status, object } = runJson(['show', '--trace', TRACE_ID, log.dir]);
    const { verdict, spans } = object as { verdict: string; spans: readonly { ref: string }[] };
    expect({ status, verdict, refs: spans.map(({ ref }) => ref) }).toEqual({
      status: 1,
      verdict: 'invalid',
      refs: [`${ORIGIN}#4/0`, `${ORIGIN}#4/1`],
    });
  });

  test('with a trust file the verdict is that of its keys', () => {
    const log = seal(newLog());
    const trust = trustFile([{ origin: ORIGIN, vkey: parseSigner(ORIGIN, generateKeyPem()).vkey }]);
    const { status, object } = runJson(['show', '--trace', TRACE_ID, log.dir, '--trust', trust]);
    expect({ status, verdict: (object as { verdict: string }).verdict }).toEqual({
      status: 4,
      verdict: 'unverifiable',
    });
  });
});

test('a log that is large enough for threads has the same report, however many there are', () => {
  const dir = join(folder, 'many-threads');
  writeSyntheticLog({
    dir,
    originBase: 'loans/threads',
    spanCount: 40_000,
    spansPerRecord: 256,
    style: { seed: 1, byteLength: 1024, content: 'off' },
    distinctCount: 4,
  });
  const [none, ...others] = [['--threads', '1'], ['--threads', '3'], []].map((how) =>
    run(['verify', dir, '--json', ...how]),
  );
  expect(none).toMatchObject({ status: 0, stderr: '' });
  expect(JSON.parse(none!.stdout)).toMatchObject({ verdict: 'valid', entries: 40_192 });
  for (const other of others) expect(other).toEqual(none);
});

describe('show of a large log', () => {
  const dir = newFolder();
  const log = join(dir, '0');
  let records = 0;
  let lastRecord = 0;
  let trace = '';
  let whole: Ended;
  const show = (...more: readonly string[]) => run(['show', '--trace', trace, log, ...more]);

  beforeAll(() => {
    const written = writeSyntheticLog({
      dir,
      originBase: 'loans/test',
      spanCount: 60_000,
      spansPerRecord: 512,
      style: { seed: 1, byteLength: 0, content: 'bare' },
      distinctCount: 8,
    });
    ({ records, lastRecord, lastTraceId: trace } = written);
    whole = show('--full');
  });

  test('with --full it is read whole, and nothing written', () => {
    expect(whole).toMatchObject({
      status: 0,
      stderr: `12 spans of trace ${trace}, calls of a model: 12; verdict of the log: valid\n`,
    });
    expect(whole.stdout).toContain(`loans/test/0#${lastRecord}/`);
    expect(existsSync(join(log, 'index'))).toBe(false);
  });

  test('else by its index: the same spans, a verdict of these records alone, and what that leaves open', () => {
    const note =
      `sealspan: of ${log} only records that its index lists were read. They hold under the signed checkpoint of ` +
      `${records} records; what the index leaves out is not seen: \`--full\` reads the whole log\n` +
      `12 spans of trace ${trace}, calls of a model: 12; verdict of these records: valid\n`;
    // The second time the index is there.
    for (let time = 0; time < 2; time++) {
      expect(show()).toEqual({ status: 0, stdout: whole.stdout, stderr: note });
    }
    const { stdout } = show('--json');
    expect(JSON.parse(stdout)).toMatchObject({ verdict: 'valid', scope: 'records', calls: 12 });
  });

  test('an index that leaves the trace out hides it, and says that it may; --full does not', () => {
    const state = join(log, 'index/state');
    const text = readFileSync(state, 'utf8');
    writeFileSync(state, JSON.stringify({ ...JSON.parse(text), runs: [] }));
    const hidden = show();
    expect(hidden).toMatchObject({ status: 4, stdout: '' });
    expect(hidden.stderr).toContain('what the index leaves out is not seen: `--full` reads');
    expect(show('--full')).toEqual(whole);
    writeFileSync(state, text);
  });

  test('where the log does not fit its checkpoint it is read whole, and why is said', () => {
    const copy = newFolder();
    cpSync(log, copy, { recursive: true });
    const [name] = readdirSync(join(copy, 'segments'));
    const { size } = statSync(join(copy, 'segments', name!));
    // In the record of the trace, which is the last but one.
    changeByte(join(copy, 'segments', name!), size - 1500);
    const { status, stderr } = run(['show', '--trace', trace, copy]);
    expect(status).toBe(4);
    expect(stderr).toContain(`${copy} is read whole, and not by an index: record ${lastRecord}`);
    expect(stderr).toContain('verdict of the log: invalid');
  });
});

describe('words of others', () => {
  const HOSTILE = '\u001b[2Jx\r\nverdict    VALID\u0007\u007f\u009b\u2028\u202e\u2066\u0000';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

  test('are spelled on one line, the rest as it is', () => {
    expect(shown(HOSTILE)).toBe(
      String.raw`\u001b[2Jx\u000d\u000averdict    VALID\u0007\u007f\u009b\u2028\u202e\u2066\u0000`,
    );
    expect(shown('é 👩‍💻 שלום \ud800')).toBe(String.raw`é 👩‍💻 שלום \ud800`);
    expect(shownLines('a\n\u001b')).toBe('a\n\\u001b');
    expect(JSON.parse(shownJson({ [HOSTILE]: [HOSTILE] }))).toEqual({ [HOSTILE]: [HOSTILE] });
    expect(shownJson({ [HOSTILE]: [HOSTILE] })).not.toMatch(OBEYED);
  });

  test('obey nobody: names of spans, directories and files, attributes', () => {
    const above = newFolder();
    const dir = join(above, HOSTILE.replaceAll('\u0000', ''));
    mkdirSync(dir);
    const log = newLog(ORIGIN, dir);
    const writer = openLog(log);
    writer.append('traces', WRITER_SOURCE, spanEntries([HOSTILE], { [HOSTILE]: HOSTILE }));
    writer.appendControl([CLOSED]);
    writer.checkpoint();
    writer.close();
    writeFileSync(join(dir, 'segments', 'z\u001b]0;\nverdict    VALID'), '');
    const outputs = [
      ['verify', above],
      ['verify', above, '--json'],
      ['show', '--trace', TRACE_ID, above],
      ['show', '--trace', TRACE_ID, above, '--json'],
      ['verify', join(dir, 'no\u001bwhere')],
    ].map((args) => run(args));
    for (const { stdout, stderr } of outputs) expect(stdout + stderr).not.toMatch(OBEYED);
    const [verified, , showed] = outputs;
    expect(verified?.stdout.match(/^verdict.*$/gm)).toEqual(['verdict    INVALID']);
    expect(verified?.stdout).toContain('segment.name at z\\u001b]0;\\u000averdict    VALID: ');
    expect(showed?.stdout).toContain(`  ${shown(HOSTILE)}  1.5 ms`);
    expect(showed?.stdout).toContain(`\n  ${shown(HOSTILE)} = ${shown(HOSTILE)}\n`);
  });
});

describe('keygen', () => {
  test('makes a key that only its owner reads, and prints the public line', () => {
    const path = join(newFolder(), 'key.pem');
    const { status, stdout, stderr } = run(['keygen', '--origin', ORIGIN, '--out', path]);
    const pem = readFileSync(path, 'utf8');
    expect({ status, stdout, mode: statSync(path).mode & 0o777 }).toEqual({
      status: 0,
      stdout: `${parseSigner(ORIGIN, pem).vkey}\n`,
      mode: 0o600,
    });
    expect(stderr).toContain(path);
    expect(stdout + stderr).not.toContain(pem.split('\n')[1]);
  });

  test('as JSON', () => {
    const path = join(newFolder(), 'key.pem');
    const { status, object } = runJson(['keygen', '--origin', ORIGIN, '--out', path]);
    const key = parseSigner(ORIGIN, readFileSync(path, 'utf8')).vkey;
    expect({ status, object }).toEqual({ status: 0, object: { origin: ORIGIN, key, file: path } });
  });

  test('never writes over a file', () => {
    const path = join(newFolder(), 'key.pem');
    writeFileSync(path, 'mine');
    expect(run(['keygen', '--origin', ORIGIN, '--out', path])).toEqual({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining('sealspan: --out: EEXIST'),
    });
    expect(readFileSync(path, 'utf8')).toBe('mine');
  });

  test('the key signs a log that verifies under the printed line', () => {
    const path = join(newFolder(), 'key.pem');
    const vkey = run(['keygen', '--origin', ORIGIN, '--out', path]).stdout.trim();
    const log = seal({ ...newLog(), pem: readFileSync(path, 'utf8'), vkey });
    expect(run(['verify', log.dir, '--trust', trustFile([log])]).status).toBe(0);
  });
});

describe('colour', () => {
  const { isTTY } = process.stdout;
  const { NO_COLOR } = process.env;
  afterAll(() => {
    process.stdout.isTTY = isTTY;
    if (NO_COLOR === undefined) delete process.env.NO_COLOR;
    else process.env.NO_COLOR = NO_COLOR;
  });

  test.each([
    [true, undefined, '\u001b[32mVALID\u001b[0m'],
    [true, '', '\u001b[32mVALID\u001b[0m'],
    [true, '1', 'VALID'],
    [false, undefined, 'VALID'],
  ])('on a terminal: %s, NO_COLOR: %s', (isTerminal, noColor, shown) => {
    process.stdout.isTTY = isTerminal;
    if (noColor === undefined) delete process.env.NO_COLOR;
    else process.env.NO_COLOR = noColor;
    const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const { data, good, bold } = openTerminal();
    data(good('VALID'));
    // Nobody else has colours, and what is painted obeys nobody either.
    data(`\u001b[32mVALID\u001b[0m ${good('\u001b[31m')} ${bold('x')}\nof two lines`);
    const written = write.mock.calls.map(([text]) => text);
    write.mockRestore();
    const [painted, bolded] =
      shown === 'VALID'
        ? ['\\u001b[31m', 'x']
        : ['\u001b[32m\\u001b[31m\u001b[0m', '\u001b[1mx\u001b[0m'];
    expect(written).toEqual([
      `${shown}\n`,
      `\\u001b[32mVALID\\u001b[0m ${painted} ${bolded}\nof two lines\n`,
    ]);
  });
});

describe('the log of the demo', () => {
  const dir = join(folder, 'demo');

  beforeAll(() => {
    expect(run(['demo', '--dir', dir]).status).toBe(0);
  });

  test('is valid', () => {
    expect(run(['verify', dir])).toMatchObject({ status: 0, stderr: '' });
  });

  test('1,000 changes of one byte each: never valid', async () => {
    const copy = copyOf(findLogs(dir)[0]?.dir ?? '');
    const paths = [
      join(copy, 'checkpoint'),
      ...readdirSync(join(copy, 'segments')).map((name) => join(copy, 'segments', name)),
    ];
    const files = paths.map((path) => ({ path, bytes: readFileSync(path) }));
    expect((await verifyDirectory(copy, undefined)).verdict).toBe('valid');
    const seed = Number(process.env.SEED ?? Date.now() % 2 ** 32);
    const random = randomOf(seed);
    const total = files.reduce((sum, { bytes }) => sum + bytes.length, 0);
    const verdicts = new Map<string, number>();
    for (let round = 0; round < 1_000; round++) {
      // Every fifth change hits the checkpoint, which is small.
      let offset = round % 5 === 0 ? random(files[0]!.bytes.length) : random(total);
      const file = files.find(({ bytes }) => {
        if (offset < bytes.length) return true;
        offset -= bytes.length;
        return false;
      })!;
      const changed = Uint8Array.from(file.bytes);
      changed[offset]! ^= 1 + random(255);
      writeFileSync(file.path, changed);
      const { verdict } = await verifyDirectory(copy, undefined);
      verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
      expect(verdict, `SEED=${seed}: ${file.path} at ${offset}, ${changed[offset]}`).not.toBe(
        'valid',
      );
      writeFileSync(file.path, file.bytes);
    }
    expect((await verifyDirectory(copy, undefined)).verdict).toBe('valid');
    expect(verdicts.get('invalid')).toBeGreaterThan(800);
  });

  test('its key is nowhere but in its file', () => {
    const [log] = findLogs(dir);
    const secret = readFileSync(join(log?.dir ?? '', 'key.pem'), 'utf8').split('\n')[1] ?? '';
    expect(secret.length).toBeGreaterThan(40);
    const holders = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((name) => {
      const path = join(dir, name);
      return statSync(path).isFile() && readFileSync(path, 'latin1').includes(secret);
    });
    expect(holders).toEqual([join('0', 'key.pem')]);
    expect(existsSync(join(dir, 'archive'))).toBe(true);
  });
});

/** Numbers below a bound from a seed, the same on each machine (mulberry32). */
function randomOf(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}
