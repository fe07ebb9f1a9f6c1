// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever would keep calls out of the log is found before it does, with its fix, and exit status 1; and nothing is
 * found where nothing is wrong.
 * Method: the real command in folders of applications with real and made-up packages, on logs of the real writer.
 */
import { spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { judgeSdk } from '../exporter/cli/doctor.ts';
import { lastCoverage } from '../exporter/cli/doctor-packages.ts';
import type { ControlEvent } from '../exporter/log/control.ts';
import { nodeFiles } from '../exporter/node/system/files.ts';
import { takeLock } from '../exporter/node/system/lock.ts';
import { openOtlpBackend } from './support/otlp-backend.ts';
import { COUNTERS, openSigner, openWriter } from './support/small-log.ts';

const ROOT = join(import.meta.dirname, '..');
const work = mkdtempSync(join(tmpdir(), 'sealspan-doctor-test-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

interface Finding {
  readonly check: string;
  readonly status: string;
  readonly message: string;
  readonly fix?: string;
}
interface Report {
  readonly ok: boolean;
  readonly folder: string;
  readonly packages: readonly Readonly<Record<string, unknown>>[];
  readonly findings: readonly Finding[];
}

type Files = Readonly<Record<string, string>>;

/** A folder of an application: real packages by name, all others by their files. */
function makeApp(packages: Readonly<Record<string, 'real' | Files>>, files: Files = {}): string {
  const home = mkdtempSync(join(work, 'app-'));
  for (const [name, content] of Object.entries(packages)) {
    const folder = join(home, 'node_modules', name);
    if (content === 'real') {
      mkdirSync(dirname(folder), { recursive: true });
      symlinkSync(join(ROOT, 'node_modules', name), folder);
    } else {
      for (const [file, text] of Object.entries(content)) write(join(folder, file), text);
    }
  }
  for (const [file, text] of Object.entries(files)) write(join(home, file), text);
  return home;
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** A package with the name of a real one. */
const openai = (version: string, files: Files = {}): Files => ({
  'package.json': JSON.stringify({ name: 'openai', version, main: 'client.js' }),
  ...files,
});
const SDK = { '@opentelemetry/sdk-node': 'real' } as const;

async function run(
  home: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const command = join(ROOT, 'exporter/cli/main.ts');
  const child = spawn(process.execPath, [command, 'doctor', ...args], {
    cwd: home,
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: join(work, 'compiled'), ...env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const status = await new Promise<number | null>((done) => child.once('close', done));
  return { status, stdout, stderr };
}

/** What it finds, the folder of the application written as `~`. */
async function diagnose(
  home: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<{ status: number | null; report: Report; of: (check: string) => readonly Finding[] }> {
  const { status, stdout, stderr } = await run(home, [...args, '--json'], env);
  expect(stderr).toBe('');
  const report = JSON.parse(stdout.replaceAll(home, '~')) as Report;
  expect(report.ok).toBe(status === 0);
  return { status, report, of: (name) => report.findings.filter(({ check }) => check === name) };
}

describe('the packages that are installed', () => {
  test('hooked: nothing is found', async () => {
    const home = makeApp({ openai: 'real', ...SDK });
    expect(await diagnose(home)).toMatchObject({
      status: 0,
      report: {
        ok: true,
        folder: '~',
        packages: [
          { target: 'openai', version: '7.57.0', state: 'active', known: '>=6.0.0 <8.0.0' },
        ],
        findings: [
          { check: 'config', status: 'ok', message: 'no sealspan.yaml here: the defaults hold' },
          { check: 'directory', status: 'ok', message: '~/sealspan-log can be made' },
          { check: 'archive', status: 'ok', message: '~/sealspan-log/archive can be written' },
          {
            check: 'backend',
            status: 'ok',
            message: "the application's own exporters get what is sealed",
          },
          { check: 'package', status: 'ok', message: 'openai 7.57.0 is hooked' },
          { check: 'sdk', status: 'ok', message: '@opentelemetry/sdk-node 0.301.0 is installed' },
        ],
      },
    });
    // It looks, and leaves nothing behind.
    expect(readdirSync(home)).toEqual(['node_modules']);
  });

  test.each<[string, Files, string, string]>([
    [
      'of an unknown version',
      openai('8.0.0', { 'client.js': 'exports.OpenAI = class OpenAI { async makeRequest() {} };' }),
      'openai 8.0.0 is not hooked, since versions >=6.0.0 <8.0.0 are known',
      'install a version of that range',
    ],
    [
      'of an unknown shape',
      openai('7.1.0', { 'client.js': 'exports.OpenAI = class OpenAI { async request() {} };' }),
      'openai 7.1.0 is not hooked, since its shape is not known (client.js)',
      'install a newer sealspan, or another version of the package',
    ],
    [
      'without the files that are hooked',
      openai('7.1.0', { 'index.js': '' }),
      'openai 7.1.0 is not hooked: it could not be loaded',
      'install it again (npm ci)',
    ],
  ])('%s: a problem, with its fix', async (_name, files, message, fix) => {
    const { status, of } = await diagnose(makeApp({ openai: files, ...SDK }));
    expect(status).toBe(1);
    expect(of('package')).toEqual([
      { check: 'package', status: 'problem', message, fix: expect.stringContaining(fix) },
    ]);
  });

  test('none: a warning, that names those it knows', async () => {
    const { status, of } = await diagnose(makeApp({}));
    expect(status).toBe(0);
    expect(of('package')).toEqual([
      {
        check: 'package',
        status: 'warning',
        message: 'no AI package that can be hooked is installed in ~',
        fix: expect.stringContaining('openai >=6.0.0 <8.0.0, '),
      },
    ]);
  });

  test('that end the process they are loaded in: told, with what it said', async () => {
    const files = openai('7.1.0', { 'client.js': "console.error('no licence'); process.exit(9);" });
    const { status, of } = await diagnose(makeApp({ openai: files }));
    expect(status).toBe(1);
    expect(of('package')[0]?.message).toContain('could not be tried: it ended with 9: ');
    expect(of('package')[0]?.message).toContain('no licence');
  });
});

test('for people: a line each, the fix below it, the count beside it', async () => {
  const home = makeApp({ openai: openai('8.0.0'), ...SDK });
  const { status, stdout, stderr } = await run(home);
  expect(status).toBe(1);
  expect(stderr).toBe('1 problem found\n');
  expect(stdout).toContain('\nok       archive   ');
  expect(stdout).toMatch(
    /\nproblem {2}package {3}openai 8\.0\.0 is not hooked, .*\n {19}fix: install a version/,
  );
});

describe('the OpenTelemetry SDK', () => {
  const place = join(makeApp({}), 'package.json');

  test.each([
    [true, 'problem'],
    [false, 'warning'],
  ])('that is missing, with packages to hook: %s', (hasPackages, status) => {
    expect(judgeSdk([place], hasPackages)).toEqual({
      check: 'sdk',
      status,
      message: 'no OpenTelemetry SDK is installed here: calls may be hooked, and are not recorded',
      fix: 'npm install @opentelemetry/sdk-node',
    });
  });

  test('that is beside sealspan and not beside the application', () => {
    expect(judgeSdk([place, import.meta.filename], true)).toMatchObject({ status: 'ok' });
  });
});

describe('the configuration', () => {
  test('that can not be: told by line, and the packages are looked at', async () => {
    const home = makeApp({ openai: 'real' }, { 'sealspan.yaml': 'origin: a\nmode: fast\n' });
    const { status, of } = await diagnose(home);
    expect(status).toBe(1);
    expect(of('config')).toEqual([
      {
        check: 'config',
        status: 'problem',
        message: expect.stringContaining('sealspan.yaml:2: mode: found "fast"'),
        fix: expect.stringContaining('correct that setting'),
      },
    ]);
    expect(of('package')).toMatchObject([{ status: 'ok' }]);
  });

  test('that gives things away: warnings', async () => {
    const yaml = 'failOpen: true\narchive: off\nforwarding: off\n';
    const { status, report } = await diagnose(makeApp({}, { 'sealspan.yaml': yaml }));
    expect(status).toBe(0);
    const told = report.findings.map(({ check, status, message }) => [check, status, message]);
    expect(told.slice(0, 5)).toEqual([
      ['config', 'ok', 'sealspan.yaml holds'],
      [
        'config',
        'warning',
        'failOpen is set: where nothing can be sealed, the service runs unaudited',
      ],
      ['directory', 'ok', '~/sealspan-log can be made'],
      ['archive', 'warning', 'off: with the disk of the log, the log is gone'],
      ['backend', 'ok', 'none: what is sealed is forwarded to nobody'],
    ]);
  });

  test('with places that can not be written', async () => {
    const yaml = 'dir: ./file/log\narchive: { directory: ./file }\n';
    const home = makeApp({}, { 'sealspan.yaml': yaml, file: '' });
    const { status, of } = await diagnose(home);
    expect(status).toBe(1);
    expect([...of('directory'), ...of('archive')]).toEqual([
      {
        check: 'directory',
        status: 'problem',
        message: '~/file/log can not be written: ~/file is no directory',
        fix: 'set `dir` (SEALSPAN_DIR) to a place that this user may write',
      },
      {
        check: 'archive',
        status: 'problem',
        message: '~/file can not be written: ~/file is no directory',
        fix: 'set `archive.directory` to a place that this user may write',
      },
    ]);
  });
});

describe('the backend', () => {
  test('is asked only where that is wanted, and gets no span', async () => {
    const backend = await openOtlpBackend();
    const yaml = `backend: { endpoint: "${backend.httpEndpoint}" }\n`;
    const home = makeApp({}, { 'sealspan.yaml': yaml });
    const silent = await diagnose(home);
    expect(backend.requests).toHaveLength(0);
    const asked = await diagnose(home, ['--online']);
    const requests = [...backend.requests];
    await backend.close();
    const gone = await diagnose(home, ['--online']);
    expect([silent, asked, gone].map(({ status, of }) => [status, of('backend')])).toEqual([
      [
        0,
        [
          {
            check: 'backend',
            status: 'skipped',
            message: `http ${backend.httpEndpoint} was not asked`,
            fix: 'run: sealspan doctor --online',
          },
        ],
      ],
      [
        0,
        [{ check: 'backend', status: 'ok', message: `http ${backend.httpEndpoint} takes traces` }],
      ],
      [
        1,
        [
          {
            check: 'backend',
            status: 'problem',
            message: expect.stringContaining(`http ${backend.httpEndpoint} does not take traces: `),
            fix: expect.stringContaining('correct `backend`'),
          },
        ],
      ],
    ]);
    expect(requests.map(({ bytes }) => bytes.length)).toEqual([0]);
  });

  test('that can not be: a problem', async () => {
    const yaml = 'backend: { endpoint: "nowhere" }\n';
    const { status, of } = await diagnose(makeApp({}, { 'sealspan.yaml': yaml }));
    expect([status, of('backend')]).toMatchObject([1, [{ status: 'problem' }]]);
  });
});

const BEAT: readonly ControlEvent[] = [{ name: 'heartbeat', ...COUNTERS }];
const covered = (state: string, more: object = {}): ControlEvent => ({
  name: 'coverage',
  target: 'openai',
  version: '7.57.0',
  state,
  ...more,
});

/** A log with these runs of a writer, each a list of records. */
function makeLog(dir: string, ...runs: readonly (readonly (readonly ControlEvent[])[])[]): void {
  mkdirSync(dir, { recursive: true });
  const signer = openSigner();
  for (const records of runs) {
    const writer = openWriter(nodeFiles, signer, { dir });
    for (const events of records) {
      writer.appendControl(events);
      writer.finishSegment();
    }
    writer.checkpoint();
    writer.close();
  }
}

describe('the logs', () => {
  test('their writers, their keys, and what they said last of packages', async () => {
    const home = makeApp({});
    const logs = join(home, 'logs');
    makeLog(join(logs, '0'), [
      [covered('active')],
      [
        covered('active'),
        covered('loaded_before_us', { version: '6.1.0' }),
        covered('out_of_range', { target: 'cohere-ai', version: '9.1.0', detail: '>=7 <9' }),
        covered('unhooked', { target: '@langchain/core' }),
        covered('not_loaded', { target: 'ollama' }),
      ],
    ]);
    makeLog(join(logs, '1'), [BEAT]);
    for (const [file, mode] of [
      ['digest.key', 0o644],
      ['0/key.pem', 0o600],
    ] as const) {
      writeFileSync(join(logs, file), 'secret');
      chmodSync(join(logs, file), mode);
    }
    const lock = takeLock(join(logs, '0'));
    const { status, report } = await diagnose(home, ['logs']);
    lock?.release();
    expect(status).toBe(1);
    const told = report.findings
      .filter(({ check }) => ['log', 'key', 'coverage'].includes(check))
      .map(({ check, status, message }) => `${check} ${status}: ${message}`);
    const asOf = 'as of 2026-11-23T10:00:00.006Z';
    expect(told).toEqual([
      'key problem: ~/logs/digest.key can be read by others (mode 644); run: chmod 600 ~/logs/digest.key',
      'log skipped: ~/logs/0 is being written; not verified',
      "key ok: ~/logs/0/key.pem is its owner's alone",
      'log skipped: ~/logs/1 has no writer now; not verified',
      'key problem: ~/logs/1/key.pem is missing: the log can not be continued without its key',
      `coverage ok: ~/logs/0: hooked were openai 7.57.0, ${asOf}`,
      `coverage problem: ~/logs/0: openai 6.1.0 was not hooked, since it was loaded before sealspan, ${asOf}`,
      `coverage problem: ~/logs/0: cohere-ai 9.1.0 was not hooked, since versions >=7 <9 are known, ${asOf}`,
      `coverage warning: ~/logs/0: @langchain/core 7.57.0 was loaded in parts that are not hooked, ${asOf}`,
    ]);
    const problems = report.findings.filter(({ status }) => status === 'problem');
    for (const { fix } of problems) expect(fix?.length).toBeGreaterThan(10);
  });

  test('begun beside the one that is configured, since two processes wrote at once: a warning', async () => {
    const home = makeApp({}, { 'sealspan.yaml': 'dir: ./logs\ninstance: pay\n' });
    for (const name of ['pay', 'pay-1', 'pay-2', 'pay-12', 'pay-x', 'pays-2']) {
      makeLog(join(home, 'logs', name), [BEAT]);
    }
    const { of } = await diagnose(home);
    const fix =
      'give each process an `instance` of its own, or list the key of this log in the trust file as well';
    const warning = (name: string): Finding => ({
      check: 'log',
      status: 'warning',
      message: `~/logs/${name} is named as if begun while another process wrote pay`,
      fix,
    });
    expect(of('log').filter(({ status }) => status !== 'skipped')).toEqual([
      warning('pay-12'),
      warning('pay-2'),
    ]);
  });

  const states = async (dir: string): Promise<readonly string[] | undefined> =>
    (await lastCoverage(dir))?.rows.map(({ state }) => state);
  const A = [covered('active')];
  const N = [covered('not_loaded')];

  test.each<[string, Parameters<typeof makeLog>[1][], readonly string[] | undefined]>([
    ['nothing was said', [[BEAT]], undefined],
    ['said once, some segments ago', [[A, BEAT, BEAT, BEAT]], ['active']],
    ['said anew', [[N, BEAT, A]], ['active']],
    ['said by the run before, which counts no more', [[A], [BEAT, BEAT]], undefined],
    ['said by both runs', [[A], [N]], ['not_loaded']],
  ])('%s', async (name, runs, expected) => {
    const dir = join(work, `said ${name}`);
    makeLog(dir, ...runs);
    expect(await states(dir)).toEqual(expected);
  });

  test('a record that is being written hides none that was', async () => {
    const dir = join(work, 'torn');
    makeLog(dir, [A]);
    const [newest] = readdirSync(join(dir, 'segments')).sort().reverse();
    appendFileSync(join(dir, 'segments', newest ?? ''), 'sealspan/record@v1\nlog');
    expect(await states(dir)).toEqual(['active']);
  });
});
