// SPDX-License-Identifier: Apache-2.0
/**
 * One writer per log directory, held by the kernel: a lock that SIGKILL frees and that a copy of the directory does
 * not carry along. A PID file lies in containers, where every process is number 1. Does not reach over network file
 * systems without locks, and is lost where its own process opens and closes the file `lock` by other means (POSIX).
 */
import { join } from 'node:path';

export interface Lock {
  release(): void;
}

interface Database {
  exec(sql: string): void;
  close(): void;
}

/** `node:sqlite` is built in but announces itself as experimental on some Nodes; that is no news for our users. */
function openDatabase(path: string): Database {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
    return new DatabaseSync(path);
  } finally {
    process.emitWarning = emitWarning;
  }
}

/**
 * Takes the lock of a log directory; undefined where another process (or this one) holds it.
 * @param waitMs for a lock that is looked at, not held: `verify` asks by taking it for an instant
 */
export function takeLock(dir: string, waitMs: number = 0): Lock | undefined {
  const database = openDatabase(join(dir, 'lock'));
  try {
    database.exec(`PRAGMA busy_timeout = ${waitMs}`);
    database.exec('PRAGMA journal_mode = MEMORY');
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY)
      return undefined;
    throw error;
  }
  return {
    release: () => {
      try {
        database.close();
      } catch {
        // The kernel frees it with the process; whoever waits for an orderly end must not wait for this.
      }
    },
  };
}

const SQLITE_BUSY = 5;
