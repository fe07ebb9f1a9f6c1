// SPDX-License-Identifier: Apache-2.0
// Goal: the demo says that all is well if and only if it is. Method: the real demo as a checkout and as an installed
// package run it; then the same with one thing wrong in the service or its settings, each of which it must notice. The
// service always runs on the compiled package.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startBackend, startProvider } from '../exporter/cli/demo-world.ts';
import { encodeOtlp } from './support/otlp-backend.ts';

const ROOT = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'sealspan-demo-test-'));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let folderCount = 0;
const freshName = (): string => join(folder, `${folderCount++}`);

function run(command: string, args: readonly string[], env: Record<string, string> = {}): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: process.env.PATH ?? '', TMPDIR: folder, ...env },
  });
  return { status, stdout, stderr };
}

describe('in a checkout', () => {
  const command = join(ROOT, 'exporter/cli/main.ts');

  test.each([
    // One of eight routes makes two spans, and one is dropped by the sampler.
    [8, { sealed: 9, forwarded: 8, unsampled: 1 }],
    [24, { sealed: 27, forwarded: 24, unsampled: 3 }],
  ])('%i calls, for programs: one object and nothing else on stdout', (calls, counts) => {
    const dir = freshName();
    const { status, stdout, stderr } = run(command, [
      'demo',
      '--dir',
      dir,
      '--calls',
      `${calls}`,
      '--json',
    ]);
    expect({ status, object: JSON.parse(stdout) }, stderr).toEqual({
      status: 0,
      object: { dir, log: 'loan-precheck/demo/0', calls, ...counts, verdict: 'valid' },
    });
  });

  test('for people: each step holds, nothing is on stderr, and what it says to try works', () => {
    const { status, stdout, stderr } = run(command, ['demo']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout.match(/^✓/gm)).toHaveLength(8);
    for (const unwanted of ['✗', '\u001b']) expect(stdout).not.toContain(unwanted);
    expect(stdout).toContain(
      'one bit of that record changed in a copy: INVALID\n    record.stored at ',
    );
    const tries = [...stdout.matchAll(/^ {2}npm run sealspan -- (.*)$/gm)].map(([, line]) => line);
    expect(tries).toHaveLength(2);
    for (const line of tries) expect(run(command, (line ?? '').split(' ')).status).toBe(0);
  });

  test('settings in the environment of whoever runs it make no other demo of it', () => {
    const { status, stdout } = run(command, ['demo', '--calls', '8'], {
      OTEL_SDK_DISABLED: 'true',
      OTEL_TRACES_SAMPLER: 'always_off',
      SEALSPAN_ORIGIN: 'somebody/else',
      OPENAI_BASE_URL: 'http://127.0.0.1:9',
      NODE_OPTIONS: '--no-warnings',
      HTTP_PROXY: 'http://127.0.0.1:9',
    });
    expect({ status, text: stdout }).toEqual({
      status: 0,
      text: expect.stringContaining('in loan-precheck/demo/0;'),
    });
  });
});

describe('in an application that installed the package', () => {
  let app = '';
  let root = '';
  let command = '';

  beforeAll(() => {
    app = freshName();
    root = join(app, 'node_modules/sealspan');
    command = join(root, 'dist/exporter/cli/main.js');
    mkdirSync(root, { recursive: true });
    const { files } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      files: readonly string[];
    };
    // What npm would publish, copied: a link would lead back to the packages of this checkout.
    for (const path of ['package.json', ...files]) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      try {
        cpSync(join(ROOT, path), join(root, path), { recursive: true });
      } catch (error) {
        if (path.startsWith('dist') || path.startsWith('examples')) throw error;
      }
    }
  });

  /** Links the packages of this checkout into the application, but for these. */
  function link(...absent: readonly string[]): void {
    const modules = join(app, 'node_modules');
    for (const name of readdirSync(modules)) {
      if (name !== 'sealspan') rmSync(join(modules, name), { recursive: true });
    }
    for (const name of readdirSync(join(ROOT, 'node_modules'))) {
      if (name.startsWith('.') || name === 'sealspan' || absent.includes(name)) continue;
      if (!name.startsWith('@')) {
        symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
        continue;
      }
      mkdirSync(join(modules, name));
      for (const part of readdirSync(join(ROOT, 'node_modules', name))) {
        if (absent.includes(`${name}/${part}`)) continue;
        symlinkSync(join(ROOT, 'node_modules', name, part), join(modules, name, part));
      }
    }
  }

  /** Runs the demo with one thing changed in one of its files. */
  function runChanged(file: string, from: string, to: string): Ended {
    const path = join(root, 'examples/quickstart', file);
    const text = readFileSync(path, 'utf8');
    expect(text).toContain(from);
    writeFileSync(path, text.replace(from, to));
    try {
      return run(command, ['demo', '--calls', '8']);
    } finally {
      writeFileSync(path, text);
    }
  }

  test.each([
    [['openai'], 'openai', 'is'],
    [['openai', '@opentelemetry/sdk-node'], '@opentelemetry/sdk-node and openai', 'are'],
  ])('without %j it says what to install', (absent, names, verb) => {
    link(...absent);
    expect(run(command, ['demo'])).toEqual({
      status: 2,
      stdout: '',
      stderr: `the demo's service uses ${names}, which ${verb} not installed here. Run: npm install ${names.replace(' and ', ' ')}\n`,
    });
  });

  describe('with all that its service uses', () => {
    beforeAll(() => link());

    test('it runs, and names the command as people have it there', () => {
      const { status, stdout, stderr } = run(command, ['demo', '--calls', '8']);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout).toMatch(/^ {2}npx sealspan verify \S+$/m);
    });

    test.each([
      [
        'a call that nobody audits',
        'service.mjs',
        'await sdk.shutdown();',
        `await fetch(\`\${process.env.OPENAI_BASE_URL}/chat/completions\`, { method: 'POST', body: '{}' });
await sdk.shutdown();`,
        /^✗ 9 governed spans sealed.*the provider saw 7 requests, the log has 6$/m,
      ],
      [
        'a decision that is made and not stated',
        'service.mjs',
        'decision({',
        'void ({',
        /^✗ 8 governed spans sealed/m,
      ],
      [
        'nothing that the sampler drops',
        'service.mjs',
        "attributes['http.route'] === '/batch'",
        'false',
        /^✗ 0 that the service's sampler drops/m,
      ],
      ['no archive', 'sealspan.yaml', 'governance:', 'archive: off\ngovernance:', /^✗ 0 archived/m],
      [
        'a backend that somebody else feeds too',
        'sealspan.yaml',
        'governance:',
        'backend: { endpoint: "http://127.0.0.1:9/v1/traces" }\ngovernance:',
        /^✗ 0 forwarded to the backend/m,
      ],
    ])('%s is noticed', (_name, file, from, to, line) => {
      const { status, stdout, stderr } = runChanged(file, from, to);
      expect(stdout).toMatch(line);
      expect(status, `${stdout}\n${stderr}`).toBe(1);
    });

    test('a service that ends before its time is told with its own words', () => {
      const { status, stdout, stderr } = runChanged(
        'service.mjs',
        'await sdk.shutdown();',
        "throw new Error('out of service');",
      );
      expect({ status, stdout, stderr }).toEqual({
        status: 1,
        stdout: expect.stringMatching(/^✓ 8 calls|^✗ 8 calls/),
        stderr: expect.stringContaining('Error: out of service'),
      });
      expect(stdout).toMatch(/^✗/);
    });

    test('settings that can not be are told, and nothing runs unaudited', () => {
      const { status, stdout, stderr } = runChanged('sealspan.yaml', 'origin:', 'orgin:');
      expect({ status, stdout: stdout.split('\n')[0] }).toEqual({
        status: 1,
        stdout: expect.stringMatching(/^✗ 0 calls/),
      });
      expect(stderr).toContain('orgin');
    });
  });
});

describe('the backend of the demo', () => {
  const spanOf = (ref: string | undefined) => ({
    name: 's',
    attributes:
      ref === undefined
        ? []
        : [
            { key: 'aigov.audit.ref', value: { stringValue: ref } },
            { key: 'aigov.audit.leaf', value: { stringValue: `leaf of ${ref}` } },
          ],
  });

  test('remembers what it got, counts what came twice and what has no reference, and refuses what is no OTLP', async () => {
    const backend = await startBackend();
    const post = async (
      body: Uint8Array,
      path = '/v1/traces',
      headers: Record<string, string> = {},
    ) =>
      (await fetch(backend.url + path, { method: 'POST', body: Buffer.from(body), headers }))
        .status;
    const traces = (...refs: readonly (string | undefined)[]) =>
      encodeOtlp('TracesData', { resourceSpans: [{ scopeSpans: [{ spans: refs.map(spanOf) }] }] });
    expect([
      await post(traces('a#1/0', undefined)),
      await post(gzipSync(traces('a#1/1', 'a#1/0')), '/v1/traces', { 'content-encoding': 'gzip' }),
      await post(Buffer.from('no OTLP')),
      await post(Buffer.from('no gzip'), '/v1/traces', { 'content-encoding': 'gzip' }),
      await post(traces('a#2/0'), '/v1/metrics'),
    ]).toEqual([200, 200, 400, 400, 200]);
    expect({
      leaves: Object.fromEntries(backend.leafOf),
      others: backend.otherCount,
      repeated: backend.repeatedCount,
    }).toEqual({
      leaves: { 'a#1/0': 'leaf of a#1/0', 'a#1/1': 'leaf of a#1/1' },
      others: 1,
      repeated: 1,
    });
    await backend.close();
  });
});

describe('the provider of the demo', () => {
  test('fails as providers do, and counts each request', async () => {
    const provider = await startProvider();
    const post = async (path: string, body: string) => {
      const response = await fetch(provider.url + path, { method: 'POST', body });
      return [response.status, ((await response.json()) as { error: { type: string } }).error.type];
    };
    expect([
      await post('/v1/chat/completions', 'no JSON'),
      await post('/v1/chat/completions', '{"model":"demo-overloaded"}'),
      await post('/v1/embeddings', '{}'),
    ]).toEqual([
      [400, 'invalid_request_error'],
      [503, 'server_error'],
      [404, 'invalid_request_error'],
    ]);
    expect(provider.requestCount).toBe(3);
    await provider.close();
  });
});
