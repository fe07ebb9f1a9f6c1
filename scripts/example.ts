// SPDX-License-Identifier: Apache-2.0
/**
 * Runs one example from the root of the checkout: `npm run example -- NAME`; without a name it
 * lists them. An example is a folder of examples/ with a `run.sh`, or else a `main.ts`, `main.mjs`
 * or `main.cjs`, that ends with status 0 when it did what its text promises.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';

const STARTS: readonly (readonly [file: string, command: string])[] = [
  ['run.sh', 'bash'],
  ['main.ts', process.execPath],
  ['main.mjs', process.execPath],
  ['main.cjs', process.execPath],
];

const name = process.argv[2];
if (name === undefined) {
  const folders = existsSync('examples') ? readdirSync('examples', { withFileTypes: true }) : [];
  for (const { name: folder } of folders) {
    if (STARTS.some(([file]) => existsSync(`examples/${folder}/${file}`))) console.log(folder);
  }
} else {
  process.exitCode = run(name);
}

function run(example: string): number {
  for (const [file, command] of STARTS) {
    const path = `examples/${example}/${file}`;
    if (!existsSync(path)) continue;
    const ended = spawnSync(command, [path, ...process.argv.slice(3)], { stdio: 'inherit' });
    return ended.status ?? 1;
  }
  console.error(`examples/${example} has none of ${STARTS.map(([file]) => file).join(', ')}`);
  return 2;
}
