// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `--import sealspan/register` is all it takes: every call of the service is in the log once, however the service is
 * written, whatever SDK it brings and however it ends, and it ends as it would have without us.
 * Method: services run as people run theirs, with the real client and SDKs; their logs read by the verifier.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyDirectory } from '../../exporter/cli/verify.ts';
import { readConfig } from '../../exporter/node/config/config.ts';
import { openGateway } from '../../exporter/node/gateway.ts';
import { Instances } from '../../exporter/node/verifying/instances.ts';
import { tallyOf } from '../../exporter/node/verifying/tally.ts';
import { type FakeOpenai, startFakeOpenai } from '../support/fake-openai.ts';
import {
  CALLS,
  type Ended,
  exportedBy,
  type Format,
  type LogContent,
  makeService,
  program,
  REGISTER,
  readLogs,
  run,
  setUp,
} from './support/service.ts';

let provider: FakeOpenai;
const homes: string[] = [];
beforeAll(async () => {
  provider = await startFakeOpenai();
});
afterAll(async () => {
  for (const home of homes) rmSync(home, { recursive: true });
  await provider.close();
});

interface Outcome {
  readonly home: string;
  readonly ended: Ended;
  readonly logs: ReadonlyMap<string, LogContent>;
}

/** Runs a service made of these files; its logs are below `log` in its folder. */
async function serve(
  line: string,
  files: Readonly<Record<string, string>>,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const home = makeService(line, files);
  homes.push(home);
  const ended = await run(home, args, {
    PROVIDER: provider.url,
    SEALSPAN_DIR: 'log',
    SEALSPAN_ORIGIN: 'svc',
    ...env,
  });
  return { home, ended, logs: await readLogs(join(home, 'log')) };
}

const registered = (program: string) => ['--import', REGISTER, program];

const callsOf = (content: LogContent | undefined) =>
  content?.spans.map(({ attributes }) => [
    attributes['aigov.sequence'],
    attributes['gen_ai.request.model'],
    attributes['aigov.invocation.completion'],
  ]);
const THREE_CALLS = [
  [1, 'gpt-fake', 'complete'],
  [2, 'gpt-two', 'complete'],
  [3, 'gpt-refuses', 'error'],
];
/** How the log was closed. */
function closedOf(content: LogContent | undefined): object {
  const last = content?.events.at(-1);
  if (last?.name !== 'closed') return { last };
  const { started, ended, lost, highest, open } = last;
  return { started, ended, lost, highest, open };
}
const idsOf = (content: LogContent | undefined) => content?.spans.map(({ spanId }) => spanId);

/** Ways to end, with what anybody sees of them, and whether the event loop goes on until it is empty. */
const ENDS: readonly (readonly [
  name: string,
  step: string,
  seen: Partial<Ended>,
  isNatural: boolean,
])[] = [
  ['by itself', '', { code: 0, signal: null }, true],
  ['by process.exit', 'process.exit(3);', { code: 3, signal: null }, false],
  [
    'by an error nobody caught',
    "setImmediate(() => { throw new Error('mine'); });",
    { code: 1, signal: null },
    false,
  ],
  [
    'by a SIGTERM nobody hears',
    "process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 60_000);",
    { code: null, signal: 'SIGTERM' },
    false,
  ],
  [
    'by a SIGTERM it handles',
    `const timer = setInterval(() => {}, 60_000);
     process.once('SIGTERM', () => { process.exitCode = 4; clearInterval(timer); });
     process.kill(process.pid, 'SIGTERM');`,
    { code: 4, signal: null },
    true,
  ],
];

const LINES = ['1.30', '2.x', '3.x', 'none'] as const;
const FORMATS: readonly Format[] = ['mjs', 'cjs'];
const MATRIX = LINES.flatMap((line) =>
  FORMATS.flatMap((format) => ENDS.map((end) => ({ line, format, name: end[0], end }))),
);

describe('a service', () => {
  it.concurrent.each(MATRIX)(
    'on SDK $line, in $format, that ends $name',
    async ({ line, format, end: [, step, seen, isNatural] }) => {
      const main = `main.${format}`;
      const text = program(format, setUp(line), CALLS, step);
      const { home, ended, logs } = await serve(line, { [main]: text }, registered(main));
      expect(ended).toMatchObject(seen);
      // One process, one log: neither our own thread nor anything else has begun another.
      expect([...logs.keys()]).toEqual(['0']);
      const log = logs.get('0');
      expect(log?.report).toMatchObject({ verdict: 'valid', log: 'svc/0', entries: 3 });
      expect(callsOf(log)).toEqual(THREE_CALLS);
      expect(closedOf(log)).toEqual({ started: 3, ended: 3, lost: 0, highest: 3, open: '' });
      // Its own exporter: each span once, and only what is sealed. A process that ends at once takes the last with it.
      const exported = exportedBy(home);
      if (isNatural && line !== 'none') expect(exported).toEqual(idsOf(log));
      else expect(idsOf(log)).toEqual(expect.arrayContaining(exported));
      expect(new Set(exported).size).toBe(exported.length);
    },
  );

  it.concurrent('that makes calls when its loop is empty', async () => {
    const text = program(
      'mjs',
      setUp('3.x'),
      `let isAsked = false;
       process.on('beforeExit', async () => {
         if (isAsked) return;
         isAsked = true;
         ${CALLS}
       });`,
    );
    const { logs } = await serve('3.x', { 'main.mjs': text }, registered('main.mjs'));
    expect(callsOf(logs.get('0'))).toEqual(THREE_CALLS);
  });

  it.concurrent('in sync mode', async () => {
    const text = program('mjs', setUp('3.x'), CALLS, "process.kill(process.pid, 'SIGKILL');");
    const { ended, logs } = await serve('3.x', { 'main.mjs': text }, registered('main.mjs'), {
      SEALSPAN_MODE: 'sync',
    });
    expect(ended.signal).toBe('SIGKILL');
    expect(callsOf(logs.get('0'))).toEqual(THREE_CALLS);
  });

  it.concurrent('that is started by NODE_OPTIONS', async () => {
    const text = program('cjs', setUp('3.x'), CALLS);
    const { logs } = await serve('3.x', { 'main.cjs': text }, ['main.cjs'], {
      NODE_OPTIONS: `--import ${REGISTER}`,
    });
    expect([...logs.keys()]).toEqual(['0']);
    expect(callsOf(logs.get('0'))).toEqual(THREE_CALLS);
  });
});

describe('a service with a preload that sets up its SDK', () => {
  const ORDERS = [
    ['before us', (otel: string) => ['--import', otel, '--import', REGISTER]],
    ['after us', (otel: string) => ['--import', REGISTER, '--import', otel]],
    [
      'by --require, which is always first',
      (otel: string) => ['--require', otel, '--import', REGISTER],
    ],
  ] as const;

  it.concurrent.each(
    ['2.x', '3.x'].flatMap((line) => ORDERS.map((order) => [line, ...order] as const)),
  )('SDK %s, %s', async (line, name, order) => {
    const format = name.startsWith('by') ? 'cjs' : 'mjs';
    const files = {
      [`otel.${format}`]: program(format, setUp(line)),
      'main.mjs': program('mjs', CALLS),
    };
    const { home, logs } = await serve(line, files, [...order(`./otel.${format}`), 'main.mjs']);
    const log = logs.get('0');
    expect(callsOf(log)).toEqual(THREE_CALLS);
    expect(exportedBy(home)).toEqual(idsOf(log));
  });
});

describe('a service without an SDK', () => {
  it.concurrent('that brings one after its first call has both in the log, and the later ones in its own exporter', async () => {
    const text = program('mjs', CALLS, setUp('3.x'), "await ask('gpt-json');");
    const { home, logs } = await serve('3.x', { 'main.mjs': text }, registered('main.mjs'));
    const log = logs.get('0');
    expect(callsOf(log)).toEqual([...THREE_CALLS, [4, 'gpt-json', 'complete']]);
    expect(exportedBy(home)).toEqual(idsOf(log)?.slice(3));
  });

  it.concurrent('keeps the places of logs and metrics free, and its environment as it was', async () => {
    const text = program(
      'mjs',
      CALLS,
      `const registry = globalThis[Symbol.for('opentelemetry.js.api.1')];
       const logs = globalThis[Symbol.for('io.opentelemetry.js.api.logs')];
       const { OTEL_LOGS_EXPORTER, OTEL_METRICS_EXPORTER } = process.env;
       console.log(JSON.stringify([Object.keys(registry).sort(), logs ?? null, OTEL_LOGS_EXPORTER, OTEL_METRICS_EXPORTER ?? null]));`,
    );
    const { ended } = await serve('none', { 'main.mjs': text }, registered('main.mjs'), {
      OTEL_LOGS_EXPORTER: 'otlp',
    });
    expect(JSON.parse(ended.stdout)).toEqual([['context', 'trace', 'version'], null, 'otlp', null]);
  });

  it.concurrent('is told if the SDK is switched off, since then nothing is recorded', async () => {
    const { ended, logs } = await serve(
      'none',
      { 'main.mjs': program('mjs', CALLS) },
      registered('main.mjs'),
      { OTEL_SDK_DISABLED: 'true' },
    );
    expect(ended.stderr).toContain('calls are NOT recorded');
    expect(callsOf(logs.get('0'))).toEqual([]);
  });
});

it.concurrent('mode remote: no log here; at the gateway, whether all calls of the process arrived', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sealspan-remote-'));
  homes.push(dir);
  const http = { listen: '127.0.0.1:0' };
  const gateway = await openGateway(
    readConfig({}, { dir, archive: 'off', gateway: { grpc: 'off', http, filter: 'governed' } }),
  );
  const { home, ended, logs } = await serve(
    '3.x',
    { 'app.mjs': program('mjs', CALLS) },
    registered('app.mjs'),
    {
      SEALSPAN_MODE: 'remote',
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${gateway.httpPort}`,
      OTEL_TRACES_SAMPLER: 'always_off',
    },
  );
  await gateway.stop();
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  expect(logs.size).toBe(0);
  expect(readdirSync(join(home, 'log'))).toEqual(['digest.key']);
  const instances = new Instances();
  const report = await verifyDirectory(gateway.logDirectory, undefined, (record) =>
    instances.take(tallyOf(record)),
  );
  instances.endLog(false, Date.now());
  const { instances: found } = instances.report();
  expect(report.verdict).toBe('valid');
  expect(found).toMatchObject([
    { kind: 'writer', state: 'closed' },
    { kind: 'sender', service: expect.any(String), state: 'closed', completeness: 'complete' },
  ]);
  // Three calls and the last heartbeat; a machine that is slow has sent the first as well.
  expect(found[1]!.highest).toBeGreaterThanOrEqual(4);
});

it.concurrent('mode remote has no log to forward from', async () => {
  const { ended } = await serve(
    '3.x',
    { 'app.mjs': program('mjs', setUp('3.x'), CALLS) },
    registered('app.mjs'),
    { SEALSPAN_MODE: 'remote', SEALSPAN_FORWARDING: 'direct' },
  );
  expect(ended.code).toBe(2);
  expect(ended.stderr).toContain('mode: found "remote" beside a `backend` or `forwarding`');
});

it.concurrent('a backend that is not there is told once, and the calls are sealed', async () => {
  const files = { 'main.mjs': program('mjs', CALLS) };
  const { ended, logs } = await serve('3.x', files, registered('main.mjs'), {
    SEALSPAN_FORWARDING: 'direct',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
  });
  expect(ended.code).toBe(0);
  const told = ended.stderr.split('\n').filter((line) => line.includes('forward.'));
  expect(told).toEqual([
    expect.stringMatching(/forward\.down: no answer from http:\/\/127\.0\.0\.1:1 \(.*ECONNREFUSED/),
  ]);
  expect(callsOf(logs.get('0'))).toEqual(THREE_CALLS);
});

describe('a configuration that can not be', () => {
  const files = {
    'main.mjs': program('mjs', "console.log('first line');", CALLS),
    'sealspan.yaml': 'dir: log\nmode: fast\n',
  };
  const told = /sealspan\.yaml:2: mode: found "fast", .*expected/;

  it.concurrent('stops the service before its first line', async () => {
    const { ended, logs } = await serve('3.x', files, registered('main.mjs'));
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toMatch(told);
    // A `failOpen` in that file would not: it is not read as long as the file can not be.
    expect(ended.stderr).toContain('(SEALSPAN_FAIL_OPEN=true would start it)');
    expect(logs.size).toBe(0);
  });

  it.concurrent('lets it run if somebody said so, and says so', async () => {
    const { ended, logs } = await serve('3.x', files, registered('main.mjs'), {
      SEALSPAN_FAIL_OPEN: 'true',
    });
    expect(ended).toMatchObject({ code: 0, stdout: 'first line\n' });
    expect(ended.stderr).toMatch(told);
    expect(ended.stderr).toContain('RUNNING UNAUDITED');
    expect(logs.size).toBe(0);
  });

  it.concurrent.each([
    ['stops the service', {}, { code: 5, stdout: '' }],
    ['lets it run', { SEALSPAN_FAIL_OPEN: 'true' }, { code: 0, stdout: 'first line\n' }],
  ])('of a folder that can not be written %s', async (_, env, seen) => {
    const { ended } = await serve(
      '3.x',
      { 'main.mjs': files['main.mjs'] },
      registered('main.mjs'),
      {
        ...env,
        SEALSPAN_DIR: 'main.mjs',
      },
    );
    expect(ended).toMatchObject(seen);
    expect(ended.stderr).toContain('main.mjs');
  });
});

describe('what is covered', () => {
  const coverageOf = (content: LogContent | undefined): string[] =>
    (content?.events ?? []).flatMap((event) =>
      event.name === 'coverage' ? `${event.target} ${event.version} ${event.state}` : [],
    );

  it.concurrent('is sealed by a service that ends at once', async () => {
    const text = program('mjs', "await load('openai');");
    const { logs } = await serve('none', { 'main.mjs': text }, registered('main.mjs'));
    const log = logs.get('0');
    expect(log?.report).toMatchObject({ verdict: 'valid' });
    expect(coverageOf(log)).toEqual(['openai 7.57.0 active']);
  });

  it.concurrent('is sealed at start, and again when it has changed, in a thread as well', async () => {
    const { logs } = await serve(
      'none',
      {
        'main.mjs': program(
          'mjs',
          "const { Worker } = await import('node:worker_threads');",
          "const told = (await import('node:timers/promises')).setTimeout;",
          'await told(600);',
          "await new Promise((done) => new Worker('./worker.mjs').on('exit', done));",
        ),
        'worker.mjs': program('mjs', "await load('openai');"),
      },
      registered('main.mjs'),
    );
    expect(coverageOf(logs.get('0'))).toEqual([
      'openai 7.57.0 not_loaded',
      'openai 7.57.0 active',
      'openai 7.57.0 not_loaded',
    ]);
  });
});

describe('what makes no decisions', () => {
  it.concurrent.each(['npm', 'npx-cli.js'])('writes no log: %s', async (name) => {
    const files = { [name]: "require('node:fs').writeFileSync('ran', '')" };
    const { home, logs } = await serve('none', files, registered(name));
    expect([existsSync(join(home, 'ran')), existsSync(join(home, 'log')), logs.size]).toEqual([
      true,
      false,
      0,
    ]);
  });

  it.concurrent('writes no log: our own command', async () => {
    const command = join(dirname(fileURLToPath(import.meta.url)), '../../exporter/cli/main.ts');
    const { home, ended } = await serve('none', {}, registered(command).concat('--help'));
    expect(ended.code).toBe(0);
    expect(existsSync(join(home, 'log'))).toBe(false);
  });
});

describe('processes of one service', () => {
  const files = {
    'main.mjs': program(
      'mjs',
      setUp('3.x'),
      CALLS,
      `const { fork, spawn } = await import('node:child_process');
       const ended = (child) => new Promise((resolve) => child.on('exit', resolve));
       await Promise.all([ended(fork('child.cjs')), ended(spawn(process.execPath, ['child.cjs'], { stdio: 'inherit' }))]);`,
    ),
    'child.cjs': program('cjs', setUp('3.x'), CALLS),
  };

  it.concurrent.each([
    ['the next that is free', {}, ['0', '1', '2']],
    ['the next of its name', { SEALSPAN_INSTANCE: 'blue' }, ['blue', 'blue-2', 'blue-3']],
  ])('have a log each: %s', async (_, env, names) => {
    const { ended, logs } = await serve('3.x', files, ['main.mjs'], {
      NODE_OPTIONS: `--import ${REGISTER}`,
      ...env,
    });
    expect(ended.code).toBe(0);
    expect([...logs.keys()].sort()).toEqual(names);
    for (const log of logs.values()) {
      expect(log.report.verdict).toBe('valid');
      expect(callsOf(log)).toEqual(THREE_CALLS);
    }
  });
});

describe('threads of one service', () => {
  /** The number of each span, and how the log was closed. */
  const numbersOf = (log: LogContent | undefined) => ({
    numbers: log?.spans
      .map(({ attributes }) => Number(attributes['aigov.sequence']))
      .sort((a, b) => a - b),
    closed: closedOf(log),
  });
  /** Each number once, none left out. */
  const upTo = (highest: number) => ({
    numbers: Array.from({ length: highest }, (_, at) => at + 1),
    closed: { started: highest, ended: highest, lost: 0, highest, open: '' },
  });
  const WORKERS = `
    const { Worker } = await load('node:worker_threads');
    const workers = [1, 2, 3].map(() => new Worker('./worker.' + process.argv[2]));
    const ended = (worker) => new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject));`;

  it.concurrent.each(FORMATS.flatMap((format) => LINES.map((line) => [format, line] as const)))(
    'seal into its one log: %s, SDK %s',
    async (format, line) => {
      const files = {
        [`main.${format}`]: program(
          format,
          setUp(line),
          WORKERS,
          CALLS,
          'await Promise.all(workers.map(ended));',
        ),
        [`worker.${format}`]: program(format, setUp(line), CALLS),
      };
      const { home, ended, logs } = await serve(line, files, [
        ...registered(`main.${format}`),
        format,
      ]);
      expect(ended).toMatchObject({ code: 0 });
      expect([...logs.keys()]).toEqual(['0']);
      expect(logs.get('0')?.report.verdict).toBe('valid');
      expect(numbersOf(logs.get('0'))).toEqual(upTo(12));
      if (line !== 'none') expect(exportedBy(home).sort()).toEqual(idsOf(logs.get('0'))?.sort());
    },
  );

  it.concurrent('seal what they have when they exit', async () => {
    const files = {
      'main.mjs': program(
        'mjs',
        WORKERS,
        'console.log(JSON.stringify(await Promise.all(workers.map(ended))));',
      ),
      'worker.mjs': program('mjs', setUp('3.x'), CALLS, 'process.exit(7);'),
    };
    const { ended, logs } = await serve('3.x', files, [...registered('main.mjs'), 'mjs']);
    expect(ended.stdout).toBe('[7,7,7]\n');
    expect(numbersOf(logs.get('0'))).toEqual(upTo(9));
  });

  it.concurrent('seal what they have when the main thread exits, which is blocked by then', async () => {
    const files = {
      'main.mjs': program(
        'mjs',
        WORKERS,
        `let count = 0;
         for (const worker of workers) worker.on('message', () => { if (++count === 3) process.exit(3); });`,
      ),
      // The call that ends last is still in memory when the main thread hears of it.
      'worker.mjs': program(
        'mjs',
        setUp('3.x'),
        CALLS,
        "(await load('node:worker_threads')).parentPort.postMessage('asked'); setInterval(() => {}, 60_000);",
      ),
    };
    const { ended, logs } = await serve('3.x', files, [...registered('main.mjs'), 'mjs']);
    expect(ended.code).toBe(3);
    expect(numbersOf(logs.get('0'))).toEqual(upTo(9));
  });

  it.concurrent('seal in sync mode, too, while the main thread is blocked', async () => {
    const files = {
      'main.mjs': program(
        'mjs',
        `const { Worker } = await load('node:worker_threads');
         const shared = new Int32Array(new SharedArrayBuffer(4));
         new Worker('./worker.mjs', { workerData: shared });
         Atomics.wait(shared, 0, 0);
         process.kill(process.pid, 'SIGKILL');`,
      ),
      'worker.mjs': program(
        'mjs',
        setUp('3.x'),
        CALLS,
        `const { workerData } = await load('node:worker_threads');
         Atomics.store(workerData, 0, 1);
         Atomics.notify(workerData, 0);`,
      ),
    };
    const { logs } = await serve('3.x', files, registered('main.mjs'), { SEALSPAN_MODE: 'sync' });
    expect(callsOf(logs.get('0'))).toEqual(THREE_CALLS);
  });

  it.concurrent('that are terminated leave the numbers of what they took along', async () => {
    const files = {
      'main.mjs': program(
        'mjs',
        WORKERS,
        "await Promise.all(workers.map((worker) => new Promise((resolve) => worker.on('message', () => worker.terminate().then(resolve)))));",
      ),
      'worker.mjs': program(
        'mjs',
        setUp('3.x'),
        CALLS,
        "ask('gpt-hangs'); setTimeout(async () => (await load('node:worker_threads')).parentPort.postMessage('asked'), 500);",
      ),
    };
    const { logs } = await serve('3.x', files, [...registered('main.mjs'), 'mjs']);
    const { numbers = [], closed } = numbersOf(logs.get('0'));
    expect(numbers).toHaveLength(9);
    // Each of the three had a call open that nobody will hear of again: what was given out and what is sealed differ by it.
    expect(closed).toMatchObject({ highest: 12 });
  });

  it.concurrent('of threads join as well, and those with an environment of their own', async () => {
    const files = {
      'main.mjs': program(
        'mjs',
        "const { Worker } = await load('node:worker_threads'); new Worker('./middle.mjs', { env: { PROVIDER: process.env.PROVIDER } });",
      ),
      'middle.mjs': program(
        'mjs',
        setUp('3.x'),
        CALLS,
        "const { Worker } = await load('node:worker_threads'); new Worker('./worker.mjs');",
      ),
      'worker.mjs': program('mjs', setUp('3.x'), CALLS),
    };
    const { home, logs } = await serve('3.x', files, registered('main.mjs'));
    expect(numbersOf(logs.get('0'))).toEqual(upTo(6));
    expect(readdirSync(home).filter((name) => name.startsWith('sealspan'))).toEqual([]);
  });
});
