// SPDX-License-Identifier: Apache-2.0
/**
 * How long records are kept: named classes with a least and a greatest time, and the words in which a receipt states a
 * lock. Keeps nothing itself: the lock of the store does, and whoever configures it.
 */

export type LockMode = 'COMPLIANCE' | 'GOVERNANCE';

/** What keeps a version from being deleted. */
export interface ObjectLock {
  readonly mode: LockMode;
  readonly retainUntilMs: number;
}

export const DAY_MS: number = 86_400_000;

/** What a class of records needs. */
export interface Retention {
  readonly className: string;
  /** No lock ends before so many days after the store took the object. */
  readonly minimumDays: number;
  /** No lock lasts longer, so that what has to be deleted then can be; undefined sets no bound. */
  readonly maximumDays: number | undefined;
  /** How long a segment stays on the local disk after its receipt was sealed; undefined keeps it. */
  readonly localDays: number | undefined;
}

/**
 * Classes by name, in days: least and greatest. Six months are the least that AI Act articles 19 and 26(6) say; which
 * class a system needs is for its people to know. A quarter above the least is for a lifecycle rule to delete in.
 */
export const RETENTION_CLASSES: Readonly<
  Record<string, readonly [minimum: number, maximum: number]>
> = {
  '6-months': [184, 276],
  '3-years': [1096, 1188],
  '6-years': [2192, 2284],
  '7-years': [2557, 2649],
  '10-years': [3653, 3745],
};

export const RETENTION_CLASS_DEFAULT: string = '6-months';

/** Amazon's own greatest retention is 100 years. */
export const RETENTION_DAYS_MAX: number = 36_500;

/** More than clocks may differ: the lock that the store computes from its own must not end early. */
const CLOCK_MARGIN_MS = 3_600_000;

/** The lock for an object that is put now. */
export function lockFor(mode: LockMode, retention: Retention, nowMs: number): ObjectLock {
  return { mode, retainUntilMs: nowMs + retention.minimumDays * DAY_MS + CLOCK_MARGIN_MS };
}

/** What is wrong with the lock of an object that was stored at `storedMs`; undefined where it is as it should be. */
export function weaknessOf(
  lock: ObjectLock | undefined,
  wanted: { readonly mode: LockMode; readonly minimumDays: number },
  storedMs: number,
): 'lock' | 'expiry' | undefined {
  if (lock === undefined) return 'lock';
  if (wanted.mode === 'COMPLIANCE' && lock.mode !== 'COMPLIANCE') return 'lock';
  return lock.retainUntilMs < storedMs + wanted.minimumDays * DAY_MS ? 'expiry' : undefined;
}

/** A lock as a person reads it. */
export function lockText(lock: ObjectLock | undefined): string {
  if (lock === undefined) return 'no lock';
  return `${lock.mode} until ${new Date(lock.retainUntilMs).toISOString()}`;
}

/** A lock as a receipt states it: what was read back of which version. */
export function receiptText(lock: ObjectLock, versionId: string, className: string): string {
  return `${lockText(lock)}; version ${versionId}; class ${className}`;
}

/** The inverse of {@link receiptText}; undefined for words of another store. */
export function parseReceiptText(
  text: string,
): { readonly lock: ObjectLock; readonly versionId: string } | undefined {
  const found =
    /^(COMPLIANCE|GOVERNANCE) until (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z); version (\S+); class \S+$/.exec(
      text,
    );
  if (found === null) return undefined;
  const [, mode, until = '', versionId = ''] = found;
  const retainUntilMs = Date.parse(until);
  if (Number.isNaN(retainUntilMs)) return undefined;
  return { lock: { mode: mode as LockMode, retainUntilMs }, versionId };
}
