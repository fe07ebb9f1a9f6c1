// SPDX-License-Identifier: Apache-2.0
/** A disk small enough to fill: a file system of its own in memory, mounted where the test says. Needs the right to mount. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export interface SmallDisk {
  /** Takes the last byte that is free. */
  fill(): void;
  /** Gives back what {@link fill} took. */
  free(): void;
  close(): void;
}

/** Root, or somebody who may become it without being asked. */
function asRoot(...command: readonly string[]): boolean {
  const isRoot = process.getuid?.() === 0;
  const [name = '', ...args] = isRoot ? command : ['sudo', '-n', ...command];
  return spawnSync(name, args, { stdio: 'ignore' }).status === 0;
}

/** Mounts a disk of `byteLength` at `dir`; undefined where that is not allowed, and then `dir` is a plain directory. */
export function openSmallDisk(dir: string, byteLength: number): SmallDisk | undefined {
  mkdirSync(dir, { recursive: true });
  const options = `size=${byteLength},mode=0777`;
  if (!asRoot('mount', '-t', 'tmpfs', '-o', options, 'tmpfs', dir)) return undefined;
  const filler = join(dir, 'filler');
  return {
    fill: () => {
      const file = openSync(filler, 'w');
      try {
        for (let size = 1024 * 1024; size >= 1; ) {
          try {
            writeSync(file, Buffer.alloc(size, 1));
          } catch {
            size = Math.floor(size / 2);
          }
        }
      } finally {
        closeSync(file);
      }
    },
    free: () => rmSync(filler),
    close: () => {
      asRoot('umount', dir);
    },
  };
}
