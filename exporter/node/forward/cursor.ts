// SPDX-License-Identifier: Apache-2.0
/**
 * Remembers in a file how far a consumer of the log is; what it gives back was once saved whole.
 * Does not promise the latest save after power loss, nor that the number fits the log.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseDecimal } from '../../log/bytes.ts';
import { causeOf } from '../system/cause.ts';

/** Where a consumer is in the log. */
export interface Cursor {
  /** Index of the record to begin with. Never throws: a cursor that can not be read is 0. */
  load(): number;
  /** @throws Error of the file system; forwarding goes on without */
  save(next: number): void;
}

const CURSOR_HEADER = 'sealspan/cursor@v1';

/**
 * A cursor in a file of its own. Operational and never trusted: lost or damaged, forwarding begins again at 0, because
 * twice is allowed and not at all is not (invariant 10).
 * @param onReport told why, when a file that exists could not be read
 */
export function openCursorFile(path: string, onReport: (cause: string) => void): Cursor {
  return {
    load: () => {
      let text: string;
      try {
        text = readFileSync(path, 'latin1');
      } catch (error) {
        const isFirstStart = error instanceof Error && 'code' in error && error.code === 'ENOENT';
        if (!isFirstStart) onReport(causeOf(error));
        return 0;
      }
      const [header, number = '', rest, ...more] = text.split('\n');
      const next = parseDecimal(number);
      if (header === CURSOR_HEADER && next !== undefined && rest === '' && more.length === 0) {
        return next;
      }
      onReport(`${path} is no cursor; everything is forwarded again`);
      return 0;
    },
    save: (next) => {
      const temporary = `${path}.tmp`;
      const file = openSync(temporary, 'w', 0o600);
      try {
        writeFileSync(file, `${CURSOR_HEADER}\n${next}\n`);
        // A crash up to here leaves the old cursor, and at worst a torn `.tmp` that the next save overwrites.
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      // A crash here leaves the old cursor or the new one, never a mixture: the content was durable before its name.
      renameSync(temporary, path);
      // Power lost before this returns may bring the old cursor back: some records are sent twice.
      syncDirectory(dirname(path));
    },
  };
}

function syncDirectory(path: string): void {
  // Windows has no handle on a directory to sync; its file systems journal names by themselves.
  if (process.platform === 'win32') return;
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
