// SPDX-License-Identifier: Apache-2.0
/**
 * An audit log as most packages have it: one JSON line per record, each with the SHA-256 of itself and the line before.
 * Stands here to be measured against. Unsigned, its tail can be cut unseen, and unless synced it survives no power cut.
 */
import { createHash } from 'node:crypto';
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';

export interface JsonLog {
  append(record: object): void;
  close(): void;
}

/** @param isSynced whether each record is on the disk before `append` returns */
export function openJsonLog(path: string, isSynced: boolean): JsonLog {
  const file = openSync(path, 'ax', 0o600);
  let previous = '0'.repeat(64);
  return {
    append: (record) => {
      const text = JSON.stringify({ previous, ...record });
      previous = createHash('sha256').update(text).digest('hex');
      writeSync(file, `${text.slice(0, -1)},"hash":"${previous}"}\n`);
      if (isSynced) fdatasyncSync(file);
    },
    close: () => closeSync(file),
  };
}
