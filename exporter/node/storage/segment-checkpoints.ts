// SPDX-License-Identifier: Apache-2.0
/**
 * Checkpoints of the exact ends of finished segments, kept from when they are signed until an archive has them: with
 * its own, an archive that ends with a segment verifies by itself. FORMAT.md, "Log directory". Signs nothing.
 */
import { join } from 'node:path';
import { encodeHex } from '../../log/bytes.ts';
import { type Files, replaceFile } from '../system/files.ts';
import { sha256 } from '../system/keys.ts';

const CHECKPOINTS = 'checkpoints';

const digits20 = (size: number): string => String(size).padStart(20, '0');

/**
 * Keeps the checkpoint of exactly `size` records of the log in `dir`.
 * @throws Error of the file system
 */
export function keepSegmentCheckpoint(
  files: Files,
  dir: string,
  size: number,
  note: Uint8Array,
): void {
  files.makeDirectory(join(dir, CHECKPOINTS));
  const path = join(dir, CHECKPOINTS, `${digits20(size)}-${encodeHex(sha256(note))}`);
  // A crash in here: the segment is archived with a later checkpoint, as if none had been kept.
  replaceFile(files, path, note, join(dir, 'checkpoint.tmp'));
}

/** The checkpoint that was kept of exactly so many records. */
export function readSegmentCheckpoint(
  files: Files,
  dir: string,
  size: number,
): Uint8Array | undefined {
  const names = files.list(join(dir, CHECKPOINTS)) ?? [];
  const name = names.find((one) => one.startsWith(`${digits20(size)}-`));
  return name === undefined ? undefined : files.readAll(join(dir, CHECKPOINTS, name));
}

/** Removes what was kept up to `size`, once an archive has it. */
export function removeSegmentCheckpoints(files: Files, dir: string, size: number): void {
  for (const name of files.list(join(dir, CHECKPOINTS)) ?? []) {
    const found = /^([0-9]{20})-[0-9a-f]{64}$/.exec(name);
    if (found !== null && Number(found[1]) <= size) files.remove(join(dir, CHECKPOINTS, name));
  }
}
