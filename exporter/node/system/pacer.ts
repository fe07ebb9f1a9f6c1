// SPDX-License-Identifier: Apache-2.0
/**
 * When a consumer of the log works: woken when there is something new, and ever more patient while the outside fails.
 * Keeps no work and loses no wake-up, but knows nothing of what the work is.
 */

/** How patient to be: the first delay, doubled with each failure up to the last. */
export interface RetryDelays {
  readonly initialMs: number;
  readonly maxMs: number;
}

export const RETRY_DELAYS_DEFAULT: RetryDelays = { initialMs: 500, maxMs: 30_000 };

/** The longest that the other side may ask for: a clock gone wrong there must not stop us for a year. */
export const ASKED_DELAY_MS_MAX: number = 10 * 60_000;

/**
 * Delay before the next attempt: exponential, the upper half of it by chance, so that many writers do not come back at
 * once. A delay that the other side asked for is kept to instead, as nobody else knows better.
 * @param failureCount failures in a row, from 1
 * @param random a number of 0 (included) to 1 (excluded)
 */
export function retryDelayMs(
  failureCount: number,
  askedMs: number | undefined,
  random: number,
  delays: RetryDelays = RETRY_DELAYS_DEFAULT,
): number {
  if (askedMs !== undefined && askedMs > 0) return Math.min(askedMs, ASKED_DELAY_MS_MAX);
  const fullMs = Math.min(delays.maxMs, delays.initialMs * 2 ** (failureCount - 1));
  return fullMs / 2 + (fullMs / 2) * random;
}

/** Timers of Node fire at once beyond this, so `Infinity` would be no time at all. */
export const TIMER_MS_MAX: number = 2 ** 31 - 1;

/** The ways a consumer waits. */
export interface Pacer {
  /** Something is new: ends the `idle` under way, or the next one at once. */
  notify(): void;
  /** Somebody waits: ends a `linger`, and a `pause` of our own choosing; one that the other side asked for is kept. */
  hurry(): void;
  /** Until `notify` or `close`. */
  idle(): Promise<void>;
  /** Lets more come to what there is: for `delayMs`, or until `hurry` or `close`. */
  linger(delayMs: number): Promise<void>;
  /** After a failure: for {@link retryDelayMs}, or until `hurry` or `close`. */
  pause(failureCount: number, askedMs?: number): Promise<void>;
  /** Ends every wait, now and later. */
  close(): void;
}

export function openPacer(delays: RetryDelays = RETRY_DELAYS_DEFAULT): Pacer {
  let isClosed = false;
  let isNotified = false;
  let endIdle: (() => void) | undefined;
  let endPause: (() => void) | undefined;
  let isPauseAsked = false;
  const wait = async (delayMs: number): Promise<void> => {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      endPause = resolve;
      timer = setTimeout(resolve, delayMs);
    });
    clearTimeout(timer);
    endPause = undefined;
  };
  return {
    notify: () => {
      isNotified = true;
      endIdle?.();
    },
    hurry: () => {
      if (!isPauseAsked) endPause?.();
    },
    idle: async () => {
      if (!isNotified && !isClosed) {
        await new Promise<void>((resolve) => {
          endIdle = resolve;
        });
        endIdle = undefined;
      }
      isNotified = false;
    },
    linger: async (delayMs) => {
      if (isClosed) return;
      await wait(delayMs);
      // What came meanwhile is part of the work that begins now.
      isNotified = false;
    },
    pause: async (failureCount, askedMs) => {
      if (isClosed) return;
      isPauseAsked = askedMs !== undefined && askedMs > 0;
      await wait(retryDelayMs(failureCount, askedMs, Math.random(), delays));
      isPauseAsked = false;
    },
    close: () => {
      isClosed = true;
      endIdle?.();
      endPause?.();
    },
  };
}
