// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a service in TypeScript that Node strips, and one that a bundler made one file of, is sealed as one of plain modules is,
 * on both lines of the OpenTelemetry SDK.
 * Method: the same three calls under register; in the bundle, where no hook reaches, through a client watched by hand.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  CALLS,
  exportedBy,
  makeService,
  program,
  REGISTER,
  readLogs,
  run,
  setUp,
} from '../instrumentation/support/service.ts';
import { type FakeOpenai, startFakeOpenai } from '../support/fake-openai.ts';

/** As much of esbuild as is used: its types are there only where the packages of this folder are installed. */
interface Bundler {
  build(options: object): Promise<{ outputFiles: { contents: Uint8Array }[] }>;
}

const ROOT = join(import.meta.dirname, '../..');

let provider: FakeOpenai;
const homes: string[] = [];
beforeAll(async () => {
  provider = await startFakeOpenai();
});
afterAll(async () => {
  for (const home of homes) rmSync(home, { recursive: true });
  await provider.close();
});

function madeOf(line: string, files: Readonly<Record<string, string>>): string {
  const home = makeService(line, files);
  homes.push(home);
  return home;
}

/** A service whose source needs its types taken away. */
function typescript(line: string): string {
  const typed = `
    interface Asked { readonly model: string; readonly stream?: boolean }
    const asked: readonly Asked[] = [];
    void (asked satisfies readonly Asked[]);`;
  return madeOf(line, {
    'main.mts': program('mjs', typed, setUp(line), CALLS).replace('(name) =>', '(name: string) =>'),
  });
}

/** A service with the SDK of the provider, and ours, in its one file. Who minifies changes the names of classes. */
async function bundle(line: string, format: 'esm' | 'cjs'): Promise<string> {
  const watched = CALLS.replace("await load('openai')", 'OPENAI').replace(
    /new OpenAI\((.*)\);/,
    'instrument(new OpenAI($1));',
  );
  const source = `
    import * as OPENAI from 'openai';
    import { instrument } from 'sealspan/instrumentation';
    ${program('mjs', setUp(line), watched)}`;
  const result = await (createRequire(import.meta.url)('esbuild') as Bundler).build({
    stdin: { contents: source, resolveDir: ROOT, loader: 'ts' },
    alias: { 'sealspan/instrumentation': join(ROOT, 'instrumentation/index.ts') },
    bundle: true,
    minify: true,
    platform: 'node',
    format,
    write: false,
  });
  const home = madeOf(line, {});
  const [output] = result.outputFiles;
  writeFileSync(join(home, format === 'esm' ? 'main.mjs' : 'main.cjs'), output?.contents ?? '');
  return home;
}

test.each([
  ['TypeScript', '2.x', typescript, 'main.mts'],
  ['TypeScript', '3.x', typescript, 'main.mts'],
  ['a bundle of ES modules', '2.x', (line: string) => bundle(line, 'esm'), 'main.mjs'],
  ['a bundle of ES modules', '3.x', (line: string) => bundle(line, 'esm'), 'main.mjs'],
  ['a bundle of CommonJS', '2.x', (line: string) => bundle(line, 'cjs'), 'main.cjs'],
  ['a bundle of CommonJS', '3.x', (line: string) => bundle(line, 'cjs'), 'main.cjs'],
] as const)('%s, OpenTelemetry %s', async (_, line, make, main) => {
  const home = await make(line);
  const ended = await run(home, ['--import', REGISTER, main], {
    PROVIDER: provider.url,
    SEALSPAN_DIR: 'log',
    SEALSPAN_ORIGIN: 'svc',
  });
  expect(ended).toMatchObject({ code: 0 });
  const log = (await readLogs(join(home, 'log'))).get('0');
  expect(log?.report).toMatchObject({ verdict: 'valid', entries: 3 });
  const ends = log?.spans.map(({ attributes }) => attributes['aigov.invocation.completion']);
  expect(ends).toEqual(['complete', 'complete', 'error']);
  // And the service's own exporter gets what it gets in any case.
  expect(exportedBy(home).sort()).toEqual(log?.spans.map(({ spanId }) => spanId).sort());
});
