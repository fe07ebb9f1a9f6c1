// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a service that runs for long holds no more for our hooks after 100,000 calls than after 20,000, and no listener stays.
 * Method: calls of every kind through the hooked package, those that are dropped unread included; the heap after collection.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

interface Held {
  readonly bytes: number;
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
  const [first, last] = JSON.parse(stdout) as [Held, Held];
  expect(last).toMatchObject({ started: 100_000, open: 0, problems: {} });
  expect(last.listeners).toBe(first.listeners);
  expect(last.processListeners).toBe(first.processListeners);
  // The least that a call could leave, its span or what it gathers, is a thousand bytes and more.
  expect((last.bytes - first.bytes) / (last.started - first.started)).toBeLessThan(256);
}, 600_000);
