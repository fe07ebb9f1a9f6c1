// SPDX-License-Identifier: Apache-2.0
// Goal: delays grow to a bound, what the other side asks for is kept to, and no wake-up is lost. Method: a table, and
// waits that would outlast the test if they were not ended.
import { describe, expect, test } from 'vitest';
import { openPacer, retryDelayMs } from '../exporter/node/system/pacer.ts';

const FOREVER = { initialMs: 1e9, maxMs: 1e9 };

test.each([
  [1, undefined, 0, 250],
  [1, undefined, 0.5, 375],
  [2, undefined, 0, 500],
  [6, undefined, 0, 8000],
  [7, undefined, 0, 15_000],
  [1000, undefined, 0, 15_000],
  [5000, undefined, 0.999, 29_985],
  [3, 0, 0, 1000],
  [9, 1234, 0.5, 1234],
  [1, 45_000, 0, 45_000],
  [1, 10 * 365 * 24 * 3_600_000, 0, 600_000],
  [1, Number.POSITIVE_INFINITY, 0, 600_000],
])('failure %i, asked for %s, chance %d: %d ms', (failureCount, askedMs, random, delayMs) => {
  expect(retryDelayMs(failureCount, askedMs, random)).toBe(delayMs);
});

describe('waits', () => {
  test('idle ends by a notification, also by one that came before, once', async () => {
    const pacer = openPacer(FOREVER);
    pacer.notify();
    pacer.notify();
    await pacer.idle();
    let isOver = false;
    const idle = pacer.idle().then(() => {
      isOver = true;
    });
    await new Promise(setImmediate);
    expect(isOver).toBe(false);
    pacer.notify();
    await idle;
  });

  test('a pause ends when somebody waits, not when there is more to do', async () => {
    const pacer = openPacer(FOREVER);
    let isOver = false;
    const pause = pacer.pause(1).then(() => {
      isOver = true;
    });
    pacer.notify();
    await new Promise(setImmediate);
    expect(isOver).toBe(false);
    pacer.hurry();
    await pause;
  });

  test('a pause that was asked for is kept, but for closing', async () => {
    const pacer = openPacer(FOREVER);
    let isOver = false;
    const pause = pacer.pause(1, 60_000).then(() => {
      isOver = true;
    });
    pacer.hurry();
    await new Promise(setImmediate);
    expect(isOver).toBe(false);
    pacer.close();
    await pause;
    await pacer.pause(1, 60_000);
    await pacer.idle();
  });

  test('a pause ends by itself', async () => {
    await openPacer({ initialMs: 1, maxMs: 1 }).pause(1);
  });

  test('lingering takes in what is notified meanwhile; it ends by itself, in a hurry, and by closing', async () => {
    const pacer = openPacer(FOREVER);
    await pacer.linger(1);
    let isOver = false;
    const linger = pacer.linger(1e9).then(() => {
      isOver = true;
    });
    pacer.notify();
    await new Promise(setImmediate);
    expect(isOver).toBe(false);
    pacer.hurry();
    await linger;
    let isWoken = false;
    const idle = pacer.idle().then(() => {
      isWoken = true;
    });
    await new Promise(setImmediate);
    expect(isWoken).toBe(false);
    pacer.notify();
    await idle;
    const last = pacer.linger(1e9);
    pacer.close();
    await last;
    await pacer.linger(1e9);
  });
});
