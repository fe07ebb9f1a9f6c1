// SPDX-License-Identifier: Apache-2.0
/**
 * Write-once stores: what is put under a key is durable before `put` says so, and is never overwritten by us.
 * The one in a directory stops accidents, not an administrator: only a store with a lock of its own does that.
 */
import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { equalBytes } from '../../log/bytes.ts';
import { controlText } from '../../log/control.ts';
import { causeOf } from '../system/cause.ts';

/** What to store, once and for all. */
export interface ArchiveObject {
  /** Components of `[a-z0-9._-]`, none beginning with a dot, joined by `/`. */
  readonly key: string;
  readonly content: { readonly bytes: Uint8Array } | { readonly path: string };
  readonly byteLength: number;
  /** SHA-256 of the content; a store MUST refuse content that does not have it. */
  readonly sha256: Uint8Array;
}

/**
 * - `ok`: stored and durable; `existed` if the same content was there already. `lock` is what the store itself says of
 *   the lock on it, read back; absent where a store has none.
 * - `conflict`: something else is stored under the key. Waiting does not help.
 * - `retryable`: not stored, or not known to be.
 */
export type PutOutcome =
  | { readonly status: 'ok'; readonly existed: boolean; readonly lock?: string }
  | { readonly status: 'conflict'; readonly cause: string }
  | { readonly status: 'retryable'; readonly cause: string };

export type ListOutcome =
  | {
      readonly status: 'ok';
      readonly objects: readonly { readonly key: string; readonly byteLength: number }[];
    }
  | { readonly status: 'retryable'; readonly cause: string };

export type ReadOutcome =
  | { readonly status: 'ok'; readonly bytes: Uint8Array }
  | { readonly status: 'missing' }
  | { readonly status: 'retryable'; readonly cause: string };

/** Which part of a listing is wanted. */
export interface ListOptions {
  /** Only keys that sort behind this one. */
  readonly after?: string | undefined;
  /** No more than the first so many. */
  readonly countMax?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ReadOptions {
  /** Of several versions, the oldest that has this SHA-256. */
  readonly sha256?: Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A write-once store. Implementations MUST NOT overwrite, and MUST NOT reject but for a malformed key. One that keeps
 * versions MUST look at the oldest, and past what hides them: whoever adds a version later changes nothing.
 */
export interface Archive {
  /** Tells this store from every other, for as long as it lives: receipts name it. */
  readonly name: string;
  /** @throws TypeError if the key is malformed */
  put(object: ArchiveObject, signal?: AbortSignal): Promise<PutOutcome>;
  /** Objects right under `prefix`, which ends in `/`, in order of their keys. */
  list(prefix: string, options?: ListOptions): Promise<ListOutcome>;
  /** Reads an object of at most `byteLengthMax` bytes. */
  read(key: string, byteLengthMax: number, options?: ReadOptions): Promise<ReadOutcome>;
  /** Gives connections back. */
  close(): void;
}

const KEY_COMPONENT = /^(?!\.)[a-z0-9._-]{1,200}$/;
const COPY_BYTE_LENGTH = 1024 * 1024;

/** @throws TypeError that names the component no store takes */
export function checkKey(key: string): readonly string[] {
  const components = key.split('/');
  for (const component of components) {
    // Dots at the front are ours (unfinished files), and `..` would lead out of the store.
    if (!KEY_COMPONENT.test(component)) {
      throw new TypeError(
        `key: ${JSON.stringify(key)} has the component ${JSON.stringify(component)}`,
      );
    }
  }
  return components;
}

/**
 * A store in a directory, for example on a mounted volume. The directory itself must exist: creating it would fill the
 * disk below a volume that is not mounted.
 */
export function openDirectoryArchive(dir: string): Archive {
  const root = resolve(dir);
  const durableDirectories = new Set<string>([root]);

  const makeDirectory = async (path: string): Promise<void> => {
    if (durableDirectories.has(path)) return;
    await makeDirectory(dirname(path));
    await mkdir(path).catch((error: unknown) => {
      if (!hasCode(error, 'EEXIST')) throw error;
    });
    // A crash before this leaves a directory that power loss takes away with all that is in it. That is why it is synced
    // also where it existed: whoever created it may have crashed right here.
    await syncDirectory(dirname(path));
    durableDirectories.add(path);
  };

  const store = async (object: ArchiveObject, path: string): Promise<PutOutcome> => {
    const directory = dirname(path);
    await makeDirectory(directory);
    const name = path.slice(directory.length + 1);
    // What crashes left of this object. Removed, never truncated: after a crash between link and rm it is the archived
    // object itself, by another name.
    for (const left of await readdir(directory)) {
      if (left.startsWith(`.${name}.`)) await rm(join(directory, left), { force: true });
    }
    // A name of its own for each attempt: of two at once, none can give its name to what the other has half written.
    const partial = join(directory, `.${name}.${randomUUID()}`);
    try {
      return await storeBy(partial, object, path);
    } finally {
      await rm(partial, { force: true }).catch(() => {});
    }
  };

  const storeBy = async (
    partial: string,
    object: ArchiveObject,
    path: string,
  ): Promise<PutOutcome> => {
    const directory = dirname(path);
    const file = await open(partial, 'wx', 0o600);
    try {
      const { byteLength, sha256 } = await digestContent(object.content, file);
      if (byteLength !== object.byteLength || !equalBytes(sha256, object.sha256)) {
        return {
          status: 'retryable',
          cause: `${object.key}: the content changed while it was read`,
        };
      }
      await file.chmod(0o444);
      // A crash up to here leaves a partial file that is no object; the next put begins again.
      await file.sync();
    } finally {
      await file.close();
    }
    let existed = false;
    try {
      // link, not rename: it is the one that refuses where the name is taken, without a moment in between.
      await link(partial, path);
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
      existed = true;
    }
    if (existed) {
      const there = await open(path, 'r');
      try {
        const { sha256 } = await digestContent({ file: there });
        if (!equalBytes(sha256, object.sha256)) {
          return {
            status: 'conflict',
            cause: `${object.key}: other content is stored under this key`,
          };
        }
        await there.sync();
      } finally {
        await there.close();
      }
    }
    // A crash before this may lose the name, not the content: no receipt was given, so it is put again. After it, the
    // object is durable, and a crash only leaves the partial name beside it.
    await syncDirectory(directory);
    return { status: 'ok', existed };
  };

  return {
    name: controlText(`directory:${root}`),
    put: async (object) => {
      const path = join(root, ...checkKey(object.key));
      try {
        return await store(object, path);
      } catch (error) {
        // Perhaps another volume is mounted by now.
        durableDirectories.clear();
        durableDirectories.add(root);
        return { status: 'retryable', cause: causeOf(error) };
      }
    },
    list: async (prefix, { after, countMax } = {}) => {
      const components = checkKey(prefix.replace(/\/$/, ''));
      const directory = join(root, ...components);
      try {
        const names = (await readdir(directory))
          .filter((name) => KEY_COMPONENT.test(name))
          .filter((name) => after === undefined || [...components, name].join('/') > after)
          .sort()
          .slice(0, countMax);
        const objects: { key: string; byteLength: number }[] = [];
        for (const name of names) {
          const file = await open(join(directory, name), 'r');
          try {
            const { size } = await file.stat();
            objects.push({ key: [...components, name].join('/'), byteLength: size });
          } finally {
            await file.close();
          }
        }
        return { status: 'ok', objects };
      } catch (error) {
        // A store that is not mounted must not look like one that is empty.
        const isEmpty = hasCode(error, 'ENOENT') && (await isDirectory(root));
        if (isEmpty) return { status: 'ok', objects: [] };
        return { status: 'retryable', cause: causeOf(error) };
      }
    },
    read: async (key, byteLengthMax) => {
      const path = join(root, ...checkKey(key));
      try {
        const file = await open(path, 'r');
        try {
          const { size } = await file.stat();
          if (size > byteLengthMax) {
            return {
              status: 'retryable',
              cause: `${key}: ${size} bytes, more than ${byteLengthMax}`,
            };
          }
          return { status: 'ok', bytes: await file.readFile() };
        } finally {
          await file.close();
        }
      } catch (error) {
        if (hasCode(error, 'ENOENT') && (await isDirectory(root))) return { status: 'missing' };
        return { status: 'retryable', cause: causeOf(error) };
      }
    },
    close: () => {},
  };
}

/** What was read, in numbers. */
export interface Digest {
  readonly byteLength: number;
  readonly sha256: Uint8Array;
}

/** The bytes of an object; undefined where they are not what was said of them. */
export async function readContent(object: ArchiveObject): Promise<Uint8Array | undefined> {
  const { content, byteLength, sha256 } = object;
  const bytes = 'bytes' in content ? content.bytes : await readFile(content.path);
  if (bytes.length !== byteLength) return undefined;
  return equalBytes(createHash('sha256').update(bytes).digest(), sha256) ? bytes : undefined;
}

/** Reads content once, hashing what is read, and writes the very same bytes to `copy`. */
export async function digestContent(
  content: ArchiveObject['content'] | { readonly file: FileHandle },
  copy?: FileHandle,
): Promise<Digest> {
  const hash = createHash('sha256');
  if ('bytes' in content) {
    await copy?.writeFile(content.bytes);
    return { byteLength: content.bytes.length, sha256: hash.update(content.bytes).digest() };
  }
  const file = 'file' in content ? content.file : await open(content.path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(COPY_BYTE_LENGTH);
    let byteLength = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, byteLength);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      await copy?.writeFile(buffer.subarray(0, bytesRead));
      byteLength += bytesRead;
    }
    return { byteLength, sha256: hash.digest() };
  } finally {
    if (!('file' in content)) await file.close();
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

async function isDirectory(path: string): Promise<boolean> {
  return readdir(path).then(
    () => true,
    () => false,
  );
}

async function syncDirectory(path: string): Promise<void> {
  // Windows has no handle on a directory to sync; its file systems journal names by themselves.
  if (process.platform === 'win32') return;
  const directory = await open(path, constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
