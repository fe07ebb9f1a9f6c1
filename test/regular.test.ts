// SPDX-License-Identifier: Apache-2.0
// Goal: what is no regular file is refused at once, whoever put it there, by both ways to open. Method: one of each kind.
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  codeOf,
  NoRegularFile,
  openRegular,
  openRegularNow,
} from '../exporter/node/storage/regular.ts';

const home = mkdtempSync(join(tmpdir(), 'sealspan-regular-'));
const at = (name: string): string => join(home, name);
const server = createServer();

beforeAll(async () => {
  writeFileSync(at('file'), 'x');
  mkdirSync(at('directory'));
  execFileSync('mkfifo', [at('fifo')]);
  symlinkSync(at('loop'), at('loop'));
  symlinkSync('/dev/zero', at('device'));
  await new Promise<void>((resolve) => server.listen(at('socket'), resolve));
});
afterAll(() => {
  server.close();
  rmSync(home, { recursive: true });
});

describe.each<[string, (path: string) => Promise<void>]>([
  ['waiting for it', async (path) => (await openRegular(path)).close()],
  ['at once', async (path) => closeSync(openRegularNow(path))],
])('%s', (_name, open) => {
  test('a file opens', async () => {
    await expect(open(at('file'))).resolves.toBe(undefined);
  });

  test.each(['directory', 'fifo', 'loop', 'device', 'socket'])('a %s does not', async (name) => {
    await expect(open(at(name))).rejects.toThrow(NoRegularFile);
  });

  test('what is not there is told by its code', async () => {
    expect(codeOf(await open(at('nothing')).catch((error: unknown) => error))).toBe('ENOENT');
  });
});

test('what has no code has an empty one', () => {
  expect([codeOf(new Error('x')), codeOf('ENOENT')]).toEqual(['', '']);
});
