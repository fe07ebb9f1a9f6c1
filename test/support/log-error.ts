// SPDX-License-Identifier: Apache-2.0
/** What the log core said of hostile bytes, as a value that a table can hold. Says nothing of the offset. */
import { LogError, type LogErrorCode } from '../../exporter/log/errors.ts';

/** The code of the LogError that `act` throws; `'accepted'` where it throws nothing; any other error goes on. */
export function codeOf(act: () => unknown): LogErrorCode | 'accepted' {
  try {
    act();
  } catch (error) {
    if (error instanceof LogError) return error.code;
    throw error;
  }
  return 'accepted';
}
