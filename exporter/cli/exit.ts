// SPDX-License-Identifier: Apache-2.0
/**
 * Exit statuses, of every command the same: a verdict's tell what was found, as in README's table; the others that a command
 * did not come that far.
 */
import type { Verdict } from '../log/report.ts';

export const EXIT_OF: Readonly<Record<Verdict, number>> = {
  valid: 0,
  invalid: 1,
  incomplete: 3,
  unverifiable: 4,
};
/** What a command looks for, and nobody wants, was found. */
export const EXIT_PROBLEM = 1;
/** Wrong use or configuration. */
export const EXIT_USAGE = 2;
/** What was asked for is not there, or can not be told. */
export const EXIT_UNKNOWN = 4;
/** The outside world failed. */
export const EXIT_IO = 5;
