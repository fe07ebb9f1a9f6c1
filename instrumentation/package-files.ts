// SPDX-License-Identifier: Apache-2.0
/**
 * Which package a file belongs to, and which version of it lies there. Goes by the innermost `node_modules`, as Node does; what
 * is linked in from elsewhere has no name here.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface PackageFile {
  readonly name: string;
  /** Where the package lies. */
  readonly folder: string;
  /** Path of the file in it, with slashes. */
  readonly file: string;
}

const MODULES = '/node_modules/';

/** The package of a file, given its path or `file:` URL; undefined if it is in none. */
export function packageFileOf(urlOrPath: string): PackageFile | undefined {
  const path = urlOrPath.startsWith('file:') ? fileURLToPath(urlOrPath) : urlOrPath;
  const at = path.replaceAll('\\', '/');
  const start = at.lastIndexOf(MODULES);
  const [, name, file] =
    /^((?:@[^/]+\/)?[^@/][^/]*)\/(.+)$/.exec(at.slice(start + MODULES.length)) ?? [];
  if (start < 0 || name === undefined || file === undefined) return undefined;
  return { name, folder: at.slice(0, start + MODULES.length + name.length), file };
}

/** The version of the package in a folder; undefined if there is none. */
export function versionAt(folder: string): string | undefined {
  try {
    const { version }: { version?: unknown } = JSON.parse(
      readFileSync(join(folder, 'package.json'), 'utf8'),
    );
    return typeof version === 'string' ? version : undefined;
  } catch {
    return undefined;
  }
}
