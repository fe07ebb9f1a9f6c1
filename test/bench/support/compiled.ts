// SPDX-License-Identifier: Apache-2.0
/**
 * This checkout as JavaScript, as a user has it: a process that strips types first takes longer to start and more memory than
 * any that is installed. Compiled once per run, below `node_modules`, so that packages are found; gone afterwards.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './bench.ts';

let place: string | undefined;

/**
 * Path of a compiled source, named by its path from the root of the checkout.
 * @throws Error with what the compiler said, where it wrote nothing
 */
export function compiled(source: string): string {
  place ??= compile();
  return join(place, source.replace(/\.ts$/, '.js'));
}

function compile(): string {
  const dir = mkdtempSync(join(ROOT, 'node_modules/.sealspan-bench-js-'));
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  const config = {
    extends: join(ROOT, 'test/tsconfig.json'),
    compilerOptions: {
      noEmit: false,
      outDir: dir,
      rootDir: ROOT,
      rewriteRelativeImportExtensions: true,
      typeRoots: [join(ROOT, 'node_modules/@types')],
    },
    include: ['exporter', 'semconv', 'test/bench'].map((folder) => join(ROOT, folder)),
  };
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}\n');
  writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify(config));
  const tsc = spawnSync('npx', ['tsc', '-p', dir], { cwd: ROOT, encoding: 'utf8' });
  if (!existsSync(join(dir, 'exporter/cli/main.js'))) throw new Error(tsc.stdout + tsc.stderr);
  return dir;
}
