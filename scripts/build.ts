// SPDX-License-Identifier: Apache-2.0
// Compiles the package into dist/: tsc, then the executable bit of the command.
// npm puts the pinned Node first on PATH for every script, so this runs as TypeScript.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, rmSync } from 'node:fs';

rmSync('dist', { recursive: true, force: true });
execFileSync('tsc', ['-p', 'tsconfig.json'], {
  stdio: 'inherit',
  shell: process.platform === 'win32',
});
if (existsSync('dist/exporter/cli/main.js')) chmodSync('dist/exporter/cli/main.js', 0o755);
