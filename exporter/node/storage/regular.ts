// SPDX-License-Identifier: Apache-2.0
/**
 * Opens files of a directory that somebody else may have filled: regular ones alone, and without waiting, since there may be
 * a FIFO that nobody ever writes to, or a device that never ends. What is in them is not looked at.
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

export class NoRegularFile extends Error {
  constructor(path: string) {
    super(`${path} is no regular file`);
  }
}

const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK;

/** @throws NoRegularFile, or what the file system says */
export async function openRegular(path: string): Promise<FileHandle> {
  const file = await open(path, FLAGS).catch((error: unknown) => refuse(error, path));
  try {
    if ((await file.stat()).isFile()) return file;
    throw new NoRegularFile(path);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The same at once: where little is read, waiting for it would cost more than reading. */
export function openRegularNow(path: string): number {
  let file: number;
  try {
    file = openSync(path, FLAGS);
  } catch (error) {
    return refuse(error, path);
  }
  if (fstatSync(file).isFile()) return file;
  closeSync(file);
  throw new NoRegularFile(path);
}

function refuse(error: unknown, path: string): never {
  // ENXIO is what a socket answers, and ELOOP a link to itself.
  if (['ENXIO', 'ELOOP'].includes(codeOf(error))) throw new NoRegularFile(path);
  throw error;
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
