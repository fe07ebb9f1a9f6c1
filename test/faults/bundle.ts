// SPDX-License-Identifier: Apache-2.0
/**
 * Programs of this checkout that are started very often: most of a short life is loading, and the same code in one file
 * for each of its threads halves that. Lies in a temporary folder until this process ends.
 */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rolldown } from 'rolldown';

const ROOT = join(import.meta.dirname, '../..');

let made: Promise<string> | undefined;

/** Threads that the programs start by a name beside themselves, and the programs. */
const SOURCES = [
  'exporter/node/sealing/sealing-thread.ts',
  'test/faults/doomed.ts',
  'test/faults/faulty-thread.ts',
  'test/faults/life.ts',
] as const;

async function make(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'sealspan-bundle-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  // What is left outside is found where it is installed.
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  for (const source of SOURCES) {
    const bundle = await rolldown({
      input: join(ROOT, source),
      platform: 'node',
      external: /^@aws-sdk\//,
      // A thread has no exports, and package.json says that such modules do nothing.
      treeshake: false,
    });
    await bundle.write({ dir: folder, format: 'esm', chunkFileNames: '[name]-[hash].js' });
  }
  return folder;
}

/** How to start one of the two programs: its path, and the environment in which what was compiled is kept. */
export async function bundled(
  name: 'doomed' | 'life',
): Promise<{ readonly program: string; readonly env: NodeJS.ProcessEnv }> {
  made ??= make();
  const folder = await made;
  return {
    program: join(folder, `${name}.js`),
    env: { ...process.env, NODE_NO_WARNINGS: '1', NODE_COMPILE_CACHE: join(folder, 'cache') },
  };
}
