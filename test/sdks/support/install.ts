// SPDX-License-Identifier: Apache-2.0
/**
 * Installs the AI packages of this folder, as its lock says, unless what is installed came of the same lock.
 * Runs no script of any of them. Needs the network where it installs.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = join(dirname(fileURLToPath(import.meta.url)), '..');
const mark = join(folder, 'node_modules/.installed-lock');
const lock = createHash('sha256')
  .update(readFileSync(join(folder, 'package-lock.json')))
  .digest('hex');

if (!existsSync(mark) || readFileSync(mark, 'utf8') !== lock) {
  execFileSync(
    'npm',
    ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', folder],
    // A shell finds npm under Windows too.
    { stdio: 'inherit', shell: process.platform === 'win32' },
  );
  writeFileSync(mark, lock);
}
