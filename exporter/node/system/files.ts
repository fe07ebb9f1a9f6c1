// SPDX-License-Identifier: Apache-2.0
/**
 * The few file operations that sealing stands on, behind one interface so that tests can fail each of them.
 * Synchronous, because the sealer owns its thread. Promises nothing that the kernel does not: durable means fsynced.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

export interface Files {
  /** Opens for appending and reading; `create` fails where the file is there already. */
  open(path: string, mode: 'create' | 'existing' | 'truncate' | 'read'): number;
  close(file: number): void;
  byteLength(file: number): number;
  /** Reads up to `target.length` bytes at `position`; returns how many there were. */
  read(file: number, target: Uint8Array, position: number): number;
  /** Appends all of `bytes`, or throws; after a throw any part of them may be in the file. */
  append(file: number, bytes: Uint8Array): void;
  truncate(file: number, byteLength: number): void;
  sync(file: number): void;
  syncDirectory(path: string): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  readAll(path: string): Uint8Array | undefined;
  /** Names in a directory, sorted; undefined where it is not there. */
  list(path: string): readonly string[] | undefined;
  makeDirectory(path: string): void;
}

const FLAGS = { create: 'ax+', existing: 'a+', truncate: 'w', read: 'r' } as const;

function ifThere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Files of the operating system. Everything made here is readable by its owner alone. */
export const nodeFiles: Files = {
  open: (path, mode) => openSync(path, FLAGS[mode], 0o600),
  close: (file) => closeSync(file),
  byteLength: (file) => fstatSync(file).size,
  read: (file, target, position) => {
    let filled = 0;
    while (filled < target.length) {
      const count = readSync(file, target, filled, target.length - filled, position + filled);
      if (count === 0) break;
      filled += count;
    }
    return filled;
  },
  append: (file, bytes) => {
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at);
  },
  truncate: (file, byteLength) => ftruncateSync(file, byteLength),
  sync: (file) => fdatasyncSync(file),
  syncDirectory: (path) => {
    const directory = openSync(path, 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  },
  rename: (from, to) => renameSync(from, to),
  remove: (path) => unlinkSync(path),
  readAll: (path) => ifThere(() => readFileSync(path)),
  list: (path) => ifThere(() => readdirSync(path).sort()),
  makeDirectory: (path) => {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  },
};

/** Puts `bytes` under a name, whole or not at all. `temporary` is on the same file system. */
export function replaceFile(
  files: Files,
  path: string,
  bytes: Uint8Array,
  temporary: string = `${path}.tmp`,
): void {
  const file = files.open(temporary, 'truncate');
  try {
    files.append(file, bytes);
    files.sync(file);
  } finally {
    files.close(file);
  }
  // A crash up to here leaves the old file; the temporary one is overwritten by the next try.
  files.rename(temporary, path);
  // A crash here leaves the old or the new file, never a mixture; only the next line makes the new name durable.
  files.syncDirectory(dirname(path));
}

/** Creates a directory and makes its name durable. */
export function makeDurableDirectory(files: Files, path: string): void {
  files.makeDirectory(path);
  files.syncDirectory(path);
  files.syncDirectory(join(path, '..'));
}
