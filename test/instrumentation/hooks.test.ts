// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what is not hooked is said to be so: loaded before us, of an unknown version or shape; silence means all is well.
 * Method: programs that load packages before and after the hooks, and packages made up for it in a folder of their own.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const hooks = pathToFileURL(join(root, 'instrumentation/index.ts')).href;
const installer = pathToFileURL(join(root, 'instrumentation/install-hooks.ts')).href;
const openai7 = join(root, 'node_modules/openai');
const openai6 = join(root, 'test/apps/openai-6/node_modules/openai');

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealspan-hooks-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** A program in a folder of its own, with made-up packages; answers with what it prints. */
async function run(
  source: string,
  packages: Readonly<Record<string, Readonly<Record<string, string>>>> = {},
  ending = 'mjs',
): Promise<unknown> {
  const home = await mkdtemp(join(folder, 'app-'));
  for (const [name, files] of Object.entries(packages)) {
    for (const [file, text] of Object.entries(files)) {
      const path = join(home, 'node_modules', name, file);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
    }
  }
  const program = join(home, `main.${ending}`);
  await writeFile(program, source);
  const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', program], {
    cwd: home,
    env: { PATH: process.env.PATH },
  });
  return JSON.parse(stdout);
}

const print = `process.stdout.write(JSON.stringify(coverage().filter(({ target }) => target === 'openai')));`;
const quote = (path: string) => JSON.stringify(path);
const url = (path: string) => quote(pathToFileURL(path).href);

/** A package with the name of a real one. */
const fake = (version: string, files: Readonly<Record<string, string>>) => ({
  openai: {
    'package.json': JSON.stringify({
      name: 'openai',
      version,
      main: 'index.js',
      exports: { '.': './index.js' },
    }),
    'index.js': "exports.OpenAI = require('./client.js').OpenAI;",
    ...files,
  },
});

describe.each(['sync', 'async'] as const)('coverage by %s hooks', (loader) => {
  const install = `import { coverage } from ${quote(hooks)}; import { installHooks } from ${quote(installer)}; installHooks({ loader: '${loader}' });`;

  it('of a package that is not there', async () => {
    expect(await run(`${install} ${print}`)).toEqual([
      { target: 'openai', status: 'not_installed' },
    ]);
  });

  it('of a package that was not loaded', async () => {
    expect(await run(`${install} ${print}`, fake('7.1.0', {}))).toEqual([
      { target: 'openai', version: '7.1.0', status: 'not_loaded' },
    ]);
  });

  it.each([
    ['ES module', `await import(${url(join(openai7, 'index.mjs'))});`],
    [
      'CommonJS module',
      `(await import('node:module')).createRequire(import.meta.url)(${quote(openai7)});`,
    ],
  ])('of an %s loaded after', async (_, load) => {
    const wait = 'await new Promise((done) => setTimeout(done, 100));';
    expect(await run(`${install} ${load} ${wait} ${print}`)).toEqual([
      { target: 'openai', version: '7.57.0', status: 'active' },
    ]);
  });

  it.each([
    ['ES module', `await import(${url(join(openai7, 'index.mjs'))});`],
    [
      'CommonJS module',
      `(await import('node:module')).createRequire(import.meta.url)(${quote(openai7)});`,
    ],
  ])('of an %s loaded before', async (_, load) => {
    const late = `const { coverage } = await import(${quote(hooks)}); const { installHooks } = await import(${quote(installer)}); installHooks({ loader: '${loader}' });`;
    // Without a copy of its own the program has no package, and is not searched for what was loaded.
    const program = `${load} ${late} ${print}`;
    expect(await run(program, fake('7.1.0', {}))).toEqual([
      { target: 'openai', version: '7.57.0', status: 'loaded_before_us' },
    ]);
  });

  it('of a version that is not known', async () => {
    const load =
      "import { createRequire } from 'node:module'; createRequire(import.meta.url)('openai');";
    const packages = fake('8.0.0', {
      'client.js': 'exports.OpenAI = class OpenAI { async makeRequest() {} };',
    });
    expect(await run(`${install} ${load} ${print}`, packages)).toEqual([
      { target: 'openai', version: '8.0.0', status: 'out_of_range', detail: '>=6.0.0 <8.0.0' },
    ]);
  });

  it('of a shape that is not known', async () => {
    const load =
      "import { createRequire } from 'node:module'; createRequire(import.meta.url)('openai');";
    const packages = fake('7.1.0', {
      'client.js': 'exports.OpenAI = class OpenAI { async request() {} };',
    });
    expect(await run(`${install} ${load} ${print}`, packages)).toEqual([
      { target: 'openai', version: '7.1.0', status: 'failed', detail: 'client.js' },
    ]);
  });
});

it('tells what was loaded without any of the files that are hooked', async () => {
  const packages = fake('7.1.0', { 'part.js': 'exports.part = 1;', 'types.json': '{}' });
  const source = `
    import { createRequire } from 'node:module';
    import { coverage } from ${quote(hooks)}; import { installHooks } from ${quote(installer)};
    installHooks({ loader: 'sync' });
    const require = createRequire(import.meta.url);
    const seen = [];
    for (const file of ['types.json', 'part.js']) {
      require('./node_modules/openai/' + file);
      seen.push(coverage().find(({ target }) => target === 'openai').status);
    }
    process.stdout.write(JSON.stringify(seen));`;
  expect(await run(source, packages)).toEqual(['not_loaded', 'unhooked']);
});

it('says when its answer may be another, and nothing where it can not be', async () => {
  const watcher = quote(pathToFileURL(join(root, 'instrumentation/hooks.ts')).href);
  const source = `
    import { watchCoverage } from ${watcher}; import { installHooks } from ${quote(installer)};
    installHooks({ loader: 'sync' });
    let count = 0;
    const counts = [];
    watchCoverage(() => { count++; throw new Error('mine'); });
    await import('node:zlib');
    counts.push(count > 0);
    await import(${url(join(openai7, 'index.mjs'))});
    counts.push(count > 0);
    const before = count;
    await import(${url(join(openai7, 'index.mjs'))});
    counts.push(count > before);
    process.stdout.write(JSON.stringify(counts));`;
  expect(await run(source)).toEqual([false, true, false]);
});

it('covers each of several copies', async () => {
  const source = `
    import { coverage } from ${quote(hooks)}; import { installHooks } from ${quote(installer)};
    installHooks();
    await import(${url(join(openai7, 'index.mjs'))});
    await import(${url(join(openai6, 'index.mjs'))});
    ${print}`;
  expect(await run(source)).toEqual([
    { target: 'openai', version: '7.57.0', status: 'active' },
    { target: 'openai', version: '6.49.0', status: 'active' },
  ]);
});

it('can be installed twice', async () => {
  const source = `
    import { installHooks } from ${quote(installer)}; import { instrumentationStats } from ${quote(hooks)};
    const first = installHooks();
    const second = installHooks();
    process.stdout.write(JSON.stringify([first[0], second[0], first.length - second.length, instrumentationStats().problems]));`;
  const row = { target: 'openai', status: 'not_installed' };
  expect(await run(source)).toEqual([row, row, 0, {}]);
});

it('leaves another tool that hooks by the same means its hooks', async () => {
  const tool = url(join(root, 'node_modules/@apm-js-collab/tracing-hooks/hook-sync.mjs'));
  const source = `
    import { registerHooks } from 'node:module';
    import { tracingChannel } from 'node:diagnostics_channel';
    import { initialize, load, resolve } from ${tool};
    import { coverage } from ${quote(hooks)}; import { installHooks } from ${quote(installer)};
    const theirs = {
      channelName: 'theirs',
      module: { name: 'openai', versionRange: '>=6.0.0', filePath: 'resources/chat/completions/completions.mjs' },
      functionQuery: { className: 'Completions', methodName: 'create', kind: 'Sync' },
    };
    if (ORDER) installHooks();
    initialize({ instrumentations: [theirs] });
    registerHooks({ resolve, load });
    if (!ORDER) installHooks();
    const heard = [];
    tracingChannel('orchestrion:openai:theirs').subscribe({ start: () => heard.push('theirs') });
    const { OpenAI } = await import(${url(join(openai7, 'index.mjs'))});
    const client = new OpenAI({ apiKey: 'none', baseURL: 'http://127.0.0.1:2', maxRetries: 0 });
    await client.chat.completions.create({ model: 'm', messages: [] }).catch(() => {});
    const { instrumentationStats } = await import(${quote(hooks)});
    process.stdout.write(JSON.stringify([heard, instrumentationStats().started, coverage()[0].status]));`;
  for (const order of ['true', 'false']) {
    expect(await run(source.replaceAll('ORDER', order))).toEqual([['theirs'], 1, 'active']);
  }
});
