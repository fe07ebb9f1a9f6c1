// SPDX-License-Identifier: Apache-2.0
/**
 * A disk in memory that knows what a power cut would leave of it, and files that fail or crash at a chosen operation.
 * Models one directory tree whose unsynced bytes and names are lost, kept or torn; real file systems have more ways.
 */
import { dirname } from 'node:path';
import type { Files } from '../../exporter/node/system/files.ts';
import type { Random } from './random.ts';

/** What a crash leaves of bytes that were appended and not synced; names share their fate, `kept` by SIGKILL. */
export type Loss = 'kept' | 'lost' | 'half' | 'zeros';
export const LOSSES: readonly Loss[] = ['kept', 'lost', 'half', 'zeros'];

interface Inode {
  bytes: Uint8Array;
  synced: Uint8Array;
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

/** What happened to the names of a directory that was not synced since. A file system does each whole or not at all. */
type NameChange =
  | { readonly change: 'made'; readonly path: string }
  | { readonly change: 'named'; readonly path: string; readonly inode: Inode }
  | {
      readonly change: 'renamed';
      readonly from: string;
      readonly path: string;
      readonly inode: Inode;
    }
  | { readonly change: 'removed'; readonly path: string };

/** Files in memory. Directories are names that something begins with. */
export class MemoryDisk implements Files {
  #names = new Map<string, Inode>();
  #syncedNames = new Map<string, Inode>();
  #unsynced: NameChange[] = [];
  readonly #directories = new Set<string>(['/']);
  readonly #syncedDirectories = new Set<string>(['/']);
  readonly #open = new Map<number, { readonly inode: Inode; readonly path: string }>();
  #lastFile = 2;

  open(path: string, mode: 'create' | 'existing' | 'truncate' | 'read'): number {
    let inode = this.#names.get(path);
    if (mode === 'create' && inode !== undefined) throw failure('EEXIST', path);
    if (inode === undefined) {
      if (mode === 'read' || !this.#directories.has(dirname(path))) throw failure('ENOENT', path);
      inode = { bytes: new Uint8Array(), synced: new Uint8Array() };
      this.#names.set(path, inode);
      this.#unsynced.push({ change: 'named', path, inode });
    } else if (mode === 'truncate') {
      inode.bytes = new Uint8Array();
    }
    this.#open.set(++this.#lastFile, { inode, path });
    return this.#lastFile;
  }

  close(file: number): void {
    if (!this.#open.delete(file)) throw failure('EBADF', String(file));
  }

  byteLength(file: number): number {
    return this.#inode(file).bytes.length;
  }

  read(file: number, target: Uint8Array, position: number): number {
    const part = this.#inode(file).bytes.subarray(position, position + target.length);
    target.set(part);
    return part.length;
  }

  append(file: number, bytes: Uint8Array): void {
    const inode = this.#inode(file);
    inode.bytes = new Uint8Array(Buffer.concat([inode.bytes, bytes]));
  }

  truncate(file: number, byteLength: number): void {
    const inode = this.#inode(file);
    inode.bytes = inode.bytes.slice(0, byteLength);
  }

  sync(file: number): void {
    const inode = this.#inode(file);
    inode.synced = inode.bytes;
  }

  syncDirectory(path: string): void {
    if (!this.#directories.has(path)) throw failure('ENOENT', path);
    for (const name of this.#syncedNames.keys())
      if (dirname(name) === path) this.#syncedNames.delete(name);
    for (const [name, inode] of this.#names)
      if (dirname(name) === path) this.#syncedNames.set(name, inode);
    for (const directory of this.#directories)
      if (dirname(directory) === path) this.#syncedDirectories.add(directory);
    this.#unsynced = this.#unsynced.filter((change) => dirname(change.path) !== path);
  }

  rename(from: string, to: string): void {
    const inode = this.#names.get(from);
    if (inode === undefined) throw failure('ENOENT', from);
    this.#names.delete(from);
    this.#names.set(to, inode);
    this.#unsynced.push({ change: 'renamed', from, path: to, inode });
  }

  /** A second name for a file. */
  link(from: string, to: string): void {
    const inode = this.#names.get(from);
    if (inode === undefined) throw failure('ENOENT', from);
    if (this.#names.has(to)) throw failure('EEXIST', to);
    this.#names.set(to, inode);
    this.#unsynced.push({ change: 'named', path: to, inode });
  }

  remove(path: string): void {
    if (!this.#names.delete(path)) throw failure('ENOENT', path);
    this.#unsynced.push({ change: 'removed', path });
  }

  readAll(path: string): Uint8Array | undefined {
    return this.#names.get(path)?.bytes.slice();
  }

  list(path: string): readonly string[] | undefined {
    if (!this.#directories.has(path)) return undefined;
    return [...this.#names.keys()]
      .filter((name) => dirname(name) === path)
      .map((name) => name.slice(path.length + 1))
      .sort();
  }

  makeDirectory(path: string): void {
    const made: string[] = [];
    for (let at = path; !this.#directories.has(at); at = dirname(at)) made.unshift(at);
    for (const directory of made) {
      this.#directories.add(directory);
      this.#unsynced.push({ change: 'made', path: directory });
    }
  }

  /** Puts a whole, durable file there: what somebody else did to the disk. */
  put(path: string, bytes: Uint8Array): void {
    for (let at = dirname(path); at !== dirname(at); at = dirname(at)) {
      this.#directories.add(at);
      this.#syncedDirectories.add(at);
    }
    const inode = { bytes, synced: bytes };
    this.#names.set(path, inode);
    this.#syncedNames.set(path, inode);
  }

  /** Files that are open. */
  get openCount(): number {
    return this.#open.size;
  }

  /** The disk as the next process finds it. Directories are durable, so that all loss is within them. */
  afterCrash(loss: Loss): MemoryDisk {
    const disk = new MemoryDisk();
    for (const directory of this.#directories) disk.putDirectory(directory);
    for (const [path, inode] of loss === 'lost' ? this.#syncedNames : this.#names) {
      disk.put(path, survivor(inode, loss));
    }
    return disk;
  }

  /**
   * The disk after the power went: of the changes to names that were not synced any may be there, each whole, in any
   * selection; of bytes that were not synced any sectors. Directories are lost like files, with all that is in them.
   */
  afterPowerLoss(random: Random): MemoryDisk {
    const names = new Map(this.#syncedNames);
    const directories = new Set(this.#syncedDirectories);
    // None, all, or each by chance: the ends are as likely to be wrong as what lies between.
    const share = [0, 2, 1][random(3)]!;
    for (const change of this.#unsynced) {
      if (random(2) >= share) continue;
      if (change.change === 'made') directories.add(change.path);
      else if (change.change === 'removed') names.delete(change.path);
      else {
        if (change.change === 'renamed') names.delete(change.from);
        names.set(change.path, change.inode);
      }
    }
    const isThere = (directory: string): boolean =>
      directory === '/' || (directories.has(directory) && isThere(dirname(directory)));
    const disk = new MemoryDisk();
    for (const directory of directories) {
      if (isThere(directory)) disk.putDirectory(directory);
    }
    // One file with two names has one content.
    const contents = new Map<Inode, Uint8Array>();
    for (const [path, inode] of names) {
      if (!isThere(dirname(path))) continue;
      const bytes = contents.get(inode) ?? torn(inode, random);
      contents.set(inode, bytes);
      disk.put(path, bytes);
    }
    return disk;
  }

  /** Puts a durable directory there. */
  putDirectory(path: string): void {
    this.#directories.add(path);
    this.#syncedDirectories.add(path);
  }

  /** Every directory and file, parents first. */
  *entries(): Generator<{ readonly path: string; readonly bytes: Uint8Array | undefined }> {
    for (const path of [...this.#directories].sort()) yield { path, bytes: undefined };
    for (const [path, { bytes }] of this.#names) yield { path, bytes };
  }

  /** A copy that shares nothing with this one. */
  copy(): MemoryDisk {
    return this.afterCrash('kept');
  }

  #inode(file: number): Inode {
    const open = this.#open.get(file);
    if (open === undefined) throw failure('EBADF', String(file));
    return open.inode;
  }
}

function survivor({ bytes, synced }: Inode, loss: Loss): Uint8Array {
  if (loss === 'kept') return bytes.slice();
  // What was truncated or replaced and not synced may be there again; only growth can be torn.
  const grew = bytes.length > synced.length && equalStart(bytes, synced);
  if (loss === 'lost' || !grew) return synced.slice();
  const end = Math.ceil((synced.length + bytes.length) / 2);
  if (loss === 'half') return bytes.slice(0, end);
  const zeros = new Uint8Array(bytes.length);
  zeros.set(synced);
  return zeros;
}

const SECTOR_BYTE_LENGTH = 512;

/** Bytes as a power cut leaves them: of what was not synced each sector is new, zeros, or what lay there before. */
function torn({ bytes, synced }: Inode, random: Random): Uint8Array {
  const grew = bytes.length > synced.length && equalStart(bytes, synced);
  if (!grew) return (random(2) === 0 ? bytes : synced).slice();
  const grown = bytes.length - synced.length;
  const end = synced.length + [0, grown, random(grown + 1)][random(3)]!;
  const left = bytes.slice(0, end);
  const isWhole = random(3) === 0;
  for (let at = synced.length; at < end && !isWhole; ) {
    const next = Math.min(end, at - (at % SECTOR_BYTE_LENGTH) + SECTOR_BYTE_LENGTH);
    const fate = random(4);
    if (fate === 0) left.fill(0, at, next);
    if (fate === 1) for (let byte = at; byte < next; byte++) left[byte] = random(256);
    at = next;
  }
  return left;
}

function equalStart(bytes: Uint8Array, start: Uint8Array): boolean {
  return Buffer.compare(bytes.subarray(0, start.length), start) === 0;
}

/** How one operation fails: without any effect, after all of it, or (an append) after half of it. */
export type FaultKind = 'before' | 'after' | 'short';
export const FAULT_KINDS: readonly FaultKind[] = ['before', 'after', 'short'];

export interface Fault {
  /** Number of the operation from 0, counting those that change the disk. */
  readonly at: number;
  readonly kind: FaultKind;
  /** Nothing works any more from then on: the process is gone. */
  readonly crashes: boolean;
}

/** The process or the disk died in the middle of an operation. */
export class InjectedFault extends Error {
  override readonly name = 'InjectedFault';
  readonly code = 'EIO';
}

export interface FaultyFiles extends Files {
  /** Operations that changed the disk, or were to: `append segments/…`. */
  readonly operations: readonly string[];
  /** Every operation fails while this is true: the disk is away. */
  isAway: boolean;
  /** The operation that fails, if it is still to come. */
  fault: Fault | undefined;
}

/** Files that do what `inner` does, until the fault. */
export function openFaultyFiles(inner: Files, first?: Fault): FaultyFiles {
  const operations: string[] = [];
  let isDead = false;

  const fail = (what: string): never => {
    throw new InjectedFault(`EIO: ${what}`);
  };

  const run = <T>(what: string, act: () => T, short?: () => void): T => {
    if (isDead || faulty.isAway) return fail(what);
    const number = operations.push(what) - 1;
    const { fault } = faulty;
    if (fault === undefined || number !== fault.at) return act();
    isDead = fault.crashes;
    if (fault.kind === 'after') act();
    if (fault.kind === 'short') short?.();
    return fail(what);
  };

  const look = <T>(what: string, act: () => T): T => {
    if (isDead || faulty.isAway) return fail(what);
    return act();
  };

  const faulty: FaultyFiles = {
    operations,
    isAway: false,
    fault: first,
    open: (path, mode) =>
      mode === 'read' || mode === 'existing'
        ? look(`open ${path}`, () => inner.open(path, mode))
        : run(`open ${path}`, () => inner.open(path, mode)),
    close: (file) => inner.close(file),
    byteLength: (file) => look('byteLength', () => inner.byteLength(file)),
    read: (file, target, position) => look('read', () => inner.read(file, target, position)),
    append: (file, bytes) =>
      run(
        'append',
        () => inner.append(file, bytes),
        () => inner.append(file, bytes.subarray(0, bytes.length >> 1)),
      ),
    truncate: (file, byteLength) => run('truncate', () => inner.truncate(file, byteLength)),
    sync: (file) => run('sync', () => inner.sync(file)),
    syncDirectory: (path) => run(`syncDirectory ${path}`, () => inner.syncDirectory(path)),
    rename: (from, to) => run(`rename ${to}`, () => inner.rename(from, to)),
    remove: (path) => run(`remove ${path}`, () => inner.remove(path)),
    readAll: (path) => look(`readAll ${path}`, () => inner.readAll(path)),
    list: (path) => look(`list ${path}`, () => inner.list(path)),
    makeDirectory: (path) => run(`makeDirectory ${path}`, () => inner.makeDirectory(path)),
  };
  return faulty;
}
