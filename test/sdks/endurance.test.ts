// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a service that runs for long holds no more for our hooks after 100,000 calls than after 20,000, and no listener stays.
 * Method: calls of every kind through the hooked package, those that are dropped unread included; what is there after collection.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

interface Held {
  readonly bytes: number;
  /** Objects of the application's calls. */
  readonly answers: number;
  readonly promises: number;
  readonly listeners: number;
  readonly processListeners: number;
  readonly started: number;
  readonly open: number;
  readonly problems: Readonly<Record<string, number>>;
}

test('100,000 calls leave nothing behind', async () => {
  const preload = join(ROOT, 'test/instrumentation/support/preload.ts');
  const app = join(import.meta.dirname, 'support/endurance-app.mjs');
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--expose-gc', '--no-warnings', '--import', preload, app],
    { cwd: ROOT, env: { PATH: process.env.PATH } },
  );
  const found = JSON.parse(stdout) as readonly Held[];
  const [first, last] = [found[1]!, found.at(-1)!];
  expect(last).toMatchObject({ started: 100_000, open: 0, problems: {} });
  const { answers, promises, listeners, processListeners } = first;
  expect(last).toMatchObject({ answers, promises, listeners, processListeners });
  // Less than a word for each call. The least that one of a kind could leave is a hundred times that.
  expect((last.bytes - first.bytes) / (last.started - first.started)).toBeLessThan(8);
}, 600_000);
