// SPDX-License-Identifier: Apache-2.0
/**
 * What the log tree was where a segment begins, once for each run and day, kept until an archive has it: with it, an
 * archive verifies from there on when what is in front of it was deleted, its retention over. FORMAT.md, "Archive".
 */
import { join } from 'node:path';
import type { Removed } from '../../log/verify.ts';
import { type Files, replaceFile } from '../system/files.ts';
import { encodePruned } from './prune.ts';
import { DAY_MS } from './retention.ts';

const STARTS = 'starts';
const NAME = /^[0-9]{20}$/;

const digits20 = (size: number): string => String(size).padStart(20, '0');

/** Keeps the first start of a run, and the first of each day. */
export class DailyStarts {
  #day: number | undefined;

  /** @throws Error of the file system */
  keep(files: Files, dir: string, start: Removed, sealedMs: number): void {
    const day = Math.floor(sealedMs / DAY_MS);
    if (day === this.#day) return;
    files.makeDirectory(join(dir, STARTS));
    // A crash in here: the next run keeps one.
    const path = join(dir, STARTS, digits20(start.size));
    replaceFile(files, path, encodePruned(start), join(dir, 'start.tmp'));
    this.#day = day;
  }
}

/** What was kept for the segment that begins at a record. */
export function readSegmentStart(files: Files, dir: string, index: number): Uint8Array | undefined {
  return files.readAll(join(dir, STARTS, digits20(index)));
}

/** Removes what was kept below `size`, once an archive has it. */
export function removeSegmentStarts(files: Files, dir: string, size: number): void {
  for (const name of files.list(join(dir, STARTS)) ?? []) {
    if (NAME.test(name) && Number(name) < size) files.remove(join(dir, STARTS, name));
  }
}
