// SPDX-License-Identifier: Apache-2.0
/**
 * What went wrong, in words that may be shown to people: short, on one line, and without what a terminal would obey.
 * Does not know what to do about it.
 */

/** Longest text of a receiver that is kept: it ends up in reports and terminals. */
const CAUSE_LENGTH_MAX = 200;

/** Makes text of the outside fit to be shown: one line, no control characters, bounded. */
export function shownText(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim();
  return line.length > CAUSE_LENGTH_MAX ? `${line.slice(0, CAUSE_LENGTH_MAX)}…` : line;
}

/** What went wrong, in words that may be shown. */
export function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return shownText(error.message === '' ? code : error.message);
}
