// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what npm would publish works for the people who install it: every entry point loads by
 * `import` and by `require`, on the oldest Node we support and on the newest of each line, with
 * types that resolve. Method: the packed tarball is installed into an empty application with its
 * dependencies, and each entry point is loaded there in a process of its own. Needs the network
 * and Linux on x64 (test/nodes holds binaries for that platform only).
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFakeOpenai } from './support/fake-openai.ts';

interface Manifest {
  readonly version: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

interface Loaded {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const ROOT = join(import.meta.dirname, '..');
const NODES = join(import.meta.dirname, 'nodes');
const MANIFEST: Manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
/** What the service that makes calls has, as exactly as it is tested elsewhere. */
const PACKAGES = ['@opentelemetry/api', '@opentelemetry/sdk-node', 'openai'].map(
  (name) => `${name}@${MANIFEST.devDependencies[name]}`,
);

const RELEASES = [
  ['22.15.0', join(NODES, 'node_modules/node-22.15/bin/node')],
  ['24.21.0', join(NODES, 'node_modules/node-24/bin/node')],
  ['26.10.0', process.execPath],
] as const;

/** `sealspan/verify` and so on, without the root and the manifest. */
const ENTRIES = Object.keys(MANIFEST.exports)
  .filter((key) => key !== '.' && key !== './package.json')
  .map((key) => key.replace('.', 'sealspan'));

const folder = mkdtempSync(join(tmpdir(), 'sealspan-package-'));
const app = join(folder, 'app');
let tarball = '';

/** npm with none of the settings that the npm around this run left in the environment. */
function npm(args: readonly string[], cwd: string): void {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^npm_(package|lifecycle|config_(local_)?prefix|command)/.test(name),
    ),
  );
  execFileSync('npm', args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
}

beforeAll(() => {
  npm(['pack', '--pack-destination', folder], ROOT);
  tarball = join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? 'none');
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), '{"private":true}\n');
  npm(['install', '--ignore-scripts', '--no-audit', '--no-fund', tarball, ...PACKAGES], app);
  npm(['ci', '--ignore-scripts', '--no-audit', '--no-fund'], NODES);
  // The first start of a log makes its key, and tells so; the starts that are compared find it there.
  const { status, stderr } = byImport(process.execPath, 'sealspan/register');
  expect({ status, stderr }).toEqual({
    status: 0,
    stderr: expect.stringContaining('made a signing key beside the log'),
  });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function node(binary: string, args: readonly string[]): Loaded {
  // A clean environment: what is loaded must not depend on options of the test run.
  const env = { PATH: process.env.PATH ?? '', SEALSPAN_DIR: join(folder, 'log') };
  const ended = spawnSync(binary, args, { cwd: app, env, encoding: 'utf8', timeout: 30_000 });
  return { status: ended.status, stdout: ended.stdout, stderr: ended.stderr };
}

/** The names an entry exports; they go out before the process must end by itself. */
function byImport(binary: string, entry: string): Loaded {
  const script = `console.log(Object.keys(await import('${entry}')).sort().join())`;
  return node(binary, ['--input-type=module', '-e', script]);
}

function byRequire(binary: string, entry: string): Loaded {
  const script = `console.log(Object.keys(require('${entry}')).sort().join())`;
  return node(binary, ['--input-type=commonjs', '-e', script]);
}

describe.each(RELEASES)('on Node %s', (release, binary) => {
  test('the binary is that release', () => {
    expect(node(binary, ['--version'])).toEqual({
      status: 0,
      stdout: `v${release}\n`,
      stderr: '',
    });
  });

  test.each(ENTRIES)('%s loads by import and by require, alike and without a word', (entry) => {
    const imported = byImport(binary, entry);
    expect(imported).toEqual({ status: 0, stdout: expect.any(String), stderr: '' });
    expect(byRequire(binary, entry)).toEqual(imported);
    if (entry !== 'sealspan/register') expect(imported.stdout.trim()).not.toBe('');
  });

  test.each([
    ['import', byImport],
    ['require', byRequire],
  ] as const)('the root refuses %s and names the entry points', (_how, load) => {
    const { status, stderr } = load(binary, 'sealspan');
    expect(status).toBe(1);
    for (const entry of ENTRIES) expect(stderr).toContain(`'${entry}'`);
  });

  test.each(['mjs', 'cjs'])('calls of a model are sealed, of a service in %s', async (format) => {
    const provider = await startFakeOpenai();
    const load = format === 'mjs' ? '(await import("openai"))' : 'require("openai")';
    const main = `calls.${format}`;
    writeFileSync(
      join(app, main),
      `(async () => {
        const { OpenAI } = ${load};
        const client = new OpenAI({ apiKey: 'none', baseURL: '${provider.url}', maxRetries: 0 });
        const ask = (model, more) =>
          client.chat.completions.create({ model, messages: [{ role: 'user', content: 'hi' }], ...more });
        await ask('gpt-fake');
        for await (const _ of await ask('gpt-two', { stream: true }));
        await ask('gpt-refuses').catch(() => {});
      })();`,
    );
    const log = join(folder, `calls-${release}-${format}`);
    const env = { PATH: process.env.PATH ?? '', SEALSPAN_DIR: log, SEALSPAN_ORIGIN: 'svc' };
    const args = ['--no-warnings', '--import', 'sealspan/register', main];
    const run = promisify(execFile);
    const options = { cwd: app, env, encoding: 'utf8', timeout: 60_000 } as const;
    const { stdout } = await run(binary, args, options).finally(() => provider.close());
    expect(stdout).toBe('');
    const command = join(app, 'node_modules/sealspan/dist/exporter/cli/main.js');
    const verified = await run(binary, [command, 'verify', '--json', join(log, '0')], options);
    expect(JSON.parse(verified.stdout)).toMatchObject({ verdict: 'valid', entries: 3 });
  });

  test('the command answers', () => {
    const command = join(app, 'node_modules/sealspan/dist/exporter/cli/main.js');
    const { status, stdout } = node(binary, [command, '--help']);
    expect(status).toBe(0);
    expect(stdout).toContain('sealspan');
  });
});

test('an entry point is one instance, whichever way it is loaded', () => {
  const script = `console.log(require('sealspan/verify') === (await import('sealspan/verify')))`;
  const prelude = `import { createRequire } from 'node:module';
    const require = createRequire(process.cwd() + '/x.js'); `;
  for (const [, binary] of RELEASES) {
    const { stdout } = node(binary, ['--input-type=module', '-e', prelude + script]);
    expect(stdout).toBe('true\n');
  }
});

test('the types resolve for every entry point that ESM and require(esm) can load', () => {
  const attw = join(NODES, 'node_modules/@arethetypeswrong/cli/dist/index.js');
  const args = ['--profile', 'esm-only', '--format', 'ascii', '--no-emoji', tarball];
  const { status, stdout, stderr } = spawnSync(process.execPath, [attw, ...args], {
    encoding: 'utf8',
  });
  expect(status, `${stdout}${stderr}`).toBe(0);
  for (const entry of ENTRIES) expect(stdout).toContain(`"${entry}"`);
});

test('the tarball holds compiled code and documents, and no sources, tests or logs', () => {
  const names = execFileSync('tar', ['tzf', tarball], { encoding: 'utf8' }).trim().split('\n');
  const files = names.map((name) => name.replace(/^package\//, ''));
  expect(files).toEqual(expect.arrayContaining(['LICENSE', 'package.json', 'dist/index.js']));
  const allowed =
    /^(dist\/.*\.(js|d\.ts|html|css)|exporter\/FORMAT\.md|examples\/quickstart\/(service\.mjs|sealspan\.yaml)|semconv\/registry\/.*\.yaml|[\w-]+\.(md|yaml|json)|LICENSE)$/;
  expect(files.filter((name) => !allowed.test(name))).toEqual([]);
});
