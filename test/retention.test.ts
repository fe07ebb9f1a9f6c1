// SPDX-License-Identifier: Apache-2.0
// Goal: a lock lasts as long as its class says by the clock of the store, and a receipt states it in words that can be
// read again. Method: tables.
import { describe, expect, test } from 'vitest';
import {
  DAY_MS,
  lockFor,
  lockText,
  type ObjectLock,
  parseReceiptText,
  RETENTION_CLASSES,
  receiptText,
  weaknessOf,
} from '../exporter/node/storage/retention.ts';

const NOW = Date.parse('2026-11-23T12:00:00.000Z');
const LOCK: ObjectLock = { mode: 'COMPLIANCE', retainUntilMs: NOW + 184 * DAY_MS };
const WANTED = { mode: 'COMPLIANCE', minimumDays: 184 } as const;

test('each class is at least as long as its name says, in every calendar', () => {
  for (const [name, [minimum, maximum]] of Object.entries(RETENTION_CLASSES)) {
    const [count = 0, unit] = name.split('-').map((part, at) => (at === 0 ? Number(part) : part));
    for (let from = Date.UTC(2020, 0, 1); from < Date.UTC(2028, 0, 1); from += DAY_MS) {
      const end = new Date(from);
      if (unit === 'months') end.setUTCMonth(end.getUTCMonth() + Number(count));
      else end.setUTCFullYear(end.getUTCFullYear() + Number(count));
      expect((end.getTime() - from) / DAY_MS).toBeLessThanOrEqual(minimum);
    }
    expect(maximum).toBeGreaterThan(minimum);
  }
});

describe('a lock', () => {
  test('is never weaker than what it was made for, even where the clocks differ by half an hour', () => {
    const retention = {
      className: 'a',
      minimumDays: 3,
      maximumDays: undefined,
      localDays: undefined,
    };
    for (const mode of ['COMPLIANCE', 'GOVERNANCE'] as const) {
      const lock = lockFor(mode, retention, NOW);
      expect(weaknessOf(lock, { mode, minimumDays: 3 }, NOW + 1_800_000)).toBe(undefined);
      expect(weaknessOf(lock, { mode, minimumDays: 4 }, NOW)).toBe('expiry');
    }
  });

  test.each<readonly [ObjectLock | undefined, 'lock' | 'expiry' | undefined]>([
    [LOCK, undefined],
    [{ ...LOCK, retainUntilMs: LOCK.retainUntilMs - 1 }, 'expiry'],
    [{ ...LOCK, mode: 'GOVERNANCE' }, 'lock'],
    [undefined, 'lock'],
  ])('%j is held against COMPLIANCE for 184 days', (lock, weakness) => {
    expect(weaknessOf(lock, WANTED, NOW)).toBe(weakness);
  });

  test('COMPLIANCE is enough where GOVERNANCE was asked for', () => {
    expect(weaknessOf(LOCK, { mode: 'GOVERNANCE', minimumDays: 184 }, NOW)).toBe(undefined);
  });
});

describe('the words of a receipt', () => {
  test('say all of it, and are read again', () => {
    const text = receiptText(LOCK, 'a.b_c-1', '6-months');
    expect(text).toBe('COMPLIANCE until 2027-05-26T12:00:00.000Z; version a.b_c-1; class 6-months');
    expect(parseReceiptText(text)).toEqual({ lock: LOCK, versionId: 'a.b_c-1' });
    expect(lockText(undefined)).toBe('no lock');
  });

  test.each([
    '',
    'no lock',
    'COMPLIANCE until 2027-05-26; version a; class b',
    'COMPLIANCE until 2027-99-26T12:00:00.000Z; version a; class b',
    'compliance until 2027-05-26T12:00:00.000Z; version a; class b',
    'COMPLIANCE until 2027-05-26T12:00:00.000Z; version a b; class b',
    'COMPLIANCE until 2027-05-26T12:00:00.000Z; version a; class b c',
  ])('%j are those of another store', (text) => {
    expect(parseReceiptText(text)).toBe(undefined);
  });
});
