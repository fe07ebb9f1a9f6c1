// SPDX-License-Identifier: Apache-2.0
/**
 * Replaces the calls of `node:fs`, `node:fs/promises` and `node:sqlite` in this thread by those of faulty-node.ts, for
 * every module that is loaded here, before or after. Covers the calls that the service makes; another call that it
 * begins to make is not covered until it stands here.
 */
import type * as fs from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { threadId } from 'node:worker_threads';
import { type Effect, failure, nameOf, placeOf, real, run, runLater } from './faulty-node.ts';

/** An open file below the root of the world under test. */
interface Opened {
  readonly place: string;
  /** Tells it from every other that any thread opened. */
  readonly id: string;
  /** The write before was short, since the disk is full: the next one finds out. */
  isFull: boolean;
}

const opened = new Map<number, Opened>();
let openCount = 0;

type Encodable = string | Uint8Array;
const bytesOf = (data: Encodable): Uint8Array =>
  typeof data === 'string' ? Buffer.from(data) : data;
const base64 = (data: Encodable): string => Buffer.from(bytesOf(data)).toString('base64');
const halfOf = (data: Encodable): Uint8Array => {
  const bytes = bytesOf(data);
  return bytes.subarray(0, bytes.length >> 1);
};

function remember(file: number, place: string): Opened {
  const known: Opened = { place, id: `${threadId}/${++openCount}`, isFull: false };
  opened.set(file, known);
  return known;
}

const isDirectory = (path: string): boolean =>
  real.statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

/** What opening with these flags does to the disk. */
function effectOf(known: Opened, flags: string | number, isNew: boolean): Effect[] {
  if (typeof flags === 'number' || flags === 'r') return [];
  return [
    {
      act: 'open',
      file: known.id,
      path: known.place,
      isCut: flags.startsWith('w'),
      isNew: isNew || flags.includes('x'),
    },
  ];
}

const callOfOpen = (flags: string | number): string =>
  typeof flags === 'number' || flags === 'r' ? 'open' : 'open for writing';

/** A call on an open file: as it was, where the file is none of ours. */
function onFile<Value>(
  file: number,
  call: string,
  act: () => Value,
  more: {
    readonly effects?: (known: Opened, value: Value) => readonly Effect[];
    readonly short?: (known: Opened) => Value;
    readonly isFinal?: boolean;
  } = {},
): Value {
  const known = opened.get(file);
  if (known === undefined) return act();
  const { effects, short, isFinal = false } = more;
  return run({
    operation: nameOf(call, known.place, false),
    act,
    isFinal,
    ...(effects === undefined ? {} : { effects: (value: Value) => effects(known, value) }),
    ...(short === undefined ? {} : { short: () => short(known) }),
  });
}

function onPath<Value>(
  call: string,
  path: fs.PathLike | number,
  act: () => Value,
  effects: (place: string, value: Value) => readonly Effect[] = () => [],
): Value {
  const place = placeOf(path);
  if (place === undefined) return act();
  return run({
    operation: nameOf(call, place, false),
    act,
    effects: (value) => effects(place, value),
  });
}

function onPathLater<Value>(
  call: string,
  path: unknown,
  act: () => Promise<Value>,
  effects: (place: string, value: Value) => readonly Effect[] = () => [],
): Promise<Value> {
  const place = placeOf(path);
  if (place === undefined) return act();
  return runLater({
    operation: nameOf(call, place, true),
    act,
    effects: (value) => effects(place, value),
  });
}

/** The directories that `mkdir` with `recursive` has to make for a path. */
function mkdirEffects(path: string, first: string | undefined): Effect[] {
  if (first === undefined) return [];
  const from = placeOf(first) ?? '';
  const all = (placeOf(path) ?? '').split('/');
  return all
    .map((_, at) => all.slice(0, at + 1).join('/'))
    .filter((place) => place.length >= from.length)
    .map((place) => ({ act: 'mkdir', path: place }));
}

const syncEffect = (known: Opened, isDir: boolean): Effect[] => [
  isDir
    ? { act: 'sync directory', path: known.place }
    : { act: 'sync', file: known.id, path: known.place },
];

const openSync: typeof fs.openSync = (path, flags = 'r', mode) => {
  const place = placeOf(path);
  if (place === undefined) return real.openSync(path, flags, mode);
  const wasThere = real.existsSync(path);
  const call = callOfOpen(flags);
  return run({
    operation: nameOf(call, place, false),
    act: () => {
      const file = real.openSync(path, flags, mode);
      remember(file, place);
      return file;
    },
    effects: (file) => effectOf(opened.get(file)!, flags, !wasThere),
    undo: (file) => {
      opened.delete(file);
      real.closeSync(file);
    },
  });
};

const closeSync: typeof fs.closeSync = (file) => {
  try {
    onFile(file, 'close', () => real.closeSync(file), { isFinal: true });
  } finally {
    opened.delete(file);
  }
};

function writeSync(file: number, data: Uint8Array, from = 0, length = data.length - from): number {
  const part = data.subarray(from, from + length);
  const known = opened.get(file);
  if (known?.isFull) {
    known.isFull = false;
    throw failure('ENOSPC', 'the rest of a short write');
  }
  return onFile(file, 'write', () => real.writeSync(file, part), {
    effects: ({ id }) => [{ act: 'append', file: id, data: base64(part) }],
    short: (full) => {
      full.isFull = true;
      return real.writeSync(file, halfOf(part));
    },
  });
}

function writeFileSync(
  path: string | number,
  data: Encodable,
  options?: fs.WriteFileOptions,
): void {
  if (typeof path === 'number') {
    onFile(path, 'write', () => real.writeFileSync(path, data, options), {
      effects: ({ id }) => [{ act: 'append', file: id, data: base64(data) }],
      short: ({ place }) => {
        real.writeFileSync(path, halfOf(data));
        throw failure('ENOSPC', place);
      },
    });
    return;
  }
  // By name it opens, writes and closes: each may fail.
  const mode = typeof options === 'object' && options !== null ? options.mode : undefined;
  const file = openSync(path, 'w', mode ?? 0o666);
  try {
    writeFileSync(file, data);
  } finally {
    closeSync(file);
  }
}

const SYNC_CALLS = {
  openSync,
  closeSync,
  writeSync,
  writeFileSync,
  readSync: (
    file: number,
    target: Uint8Array<ArrayBuffer>,
    offset: number,
    length: number,
    position: number,
  ): number =>
    onFile(file, 'read', () => real.readSync(file, target, offset, length, position), {
      short: () => real.readSync(file, target, offset, Math.ceil(length / 2), position),
    }),
  readFileSync: (path: fs.PathOrFileDescriptor, options?: BufferEncoding): unknown => {
    const act = () => real.readFileSync(path, { encoding: options ?? null });
    return typeof path === 'number'
      ? onFile(path, 'read whole', act)
      : onPath('read whole', path as fs.PathLike, act);
  },
  fstatSync: (file: number): unknown => onFile(file, 'stat', () => real.fstatSync(file)),
  fdatasyncSync: (file: number): void =>
    onFile(file, 'fdatasync', () => real.fdatasyncSync(file), {
      effects: (known) => syncEffect(known, false),
    }),
  fsyncSync: (file: number): void => {
    const isDir = opened.has(file) && real.fstatSync(file).isDirectory();
    onFile(file, 'fsync', () => real.fsyncSync(file), {
      effects: (known) => syncEffect(known, isDir),
    });
  },
  ftruncateSync: (file: number, byteLength = 0): void =>
    onFile(file, 'truncate', () => real.ftruncateSync(file, byteLength), {
      effects: ({ id }) => [{ act: 'truncate', file: id, byteLength }],
    }),
  mkdirSync: (path: string, options: fs.MakeDirectoryOptions & { recursive: true }): unknown =>
    onPath(
      'mkdir',
      path,
      () => real.mkdirSync(path, options),
      (_place, first) => mkdirEffects(path, first),
    ),
  readdirSync: (path: string): unknown => onPath('list', path, () => real.readdirSync(path)),
  renameSync: (from: string, to: string): void =>
    onPath(
      'rename to',
      to,
      () => real.renameSync(from, to),
      (place) => [{ act: 'rename', from: placeOf(from) ?? '', to: place }],
    ),
  linkSync: (from: string, to: string): void =>
    onPath(
      'link',
      to,
      () => real.linkSync(from, to),
      (place) => [{ act: 'link', from: placeOf(from) ?? '', to: place }],
    ),
  chmodSync: (path: string, mode: number): void =>
    onPath('chmod', path, () => real.chmodSync(path, mode)),
  rmSync: (path: string, options?: fs.RmOptions): void => {
    const wasThere = real.existsSync(path);
    onPath(
      'remove',
      path,
      () => real.rmSync(path, options),
      (place) => (wasThere ? [{ act: 'remove', path: place }] : []),
    );
  },
  unlinkSync: (path: string): void =>
    onPath(
      'remove',
      path,
      () => real.unlinkSync(path),
      (place) => [{ act: 'remove', path: place }],
    ),
};

const realPromises = { ...real.promises };

/** An open file of the promises' kind: its calls are replaced on it alone. */
function wrap(
  file: FileHandle,
  place: string,
  isDir: boolean,
): { readonly known: Opened; readonly close: () => Promise<void> } {
  const known: Opened = { place, id: `${threadId}/${++openCount}`, isFull: false };
  const own = {
    read: file.read.bind(file),
    readFile: file.readFile.bind(file),
    writeFile: file.writeFile.bind(file),
    stat: file.stat.bind(file),
    sync: file.sync.bind(file),
    chmod: file.chmod.bind(file),
    close: file.close.bind(file),
  };
  const call = <Value>(
    name: string,
    act: () => Promise<Value>,
    more: {
      readonly effects?: (value: Value) => readonly Effect[];
      readonly short?: () => Promise<Value>;
      readonly isFinal?: boolean;
    } = {},
  ): Promise<Value> => runLater({ operation: nameOf(name, place, true), act, ...more });
  Object.assign(file, {
    read: (target: Uint8Array<ArrayBuffer>, offset: number, length: number, position: number) =>
      call('read', () => own.read(target, offset, length, position), {
        short: () => own.read(target, offset, Math.ceil(length / 2), position),
      }),
    readFile: () => call('read whole', () => own.readFile()),
    writeFile: (data: Encodable) =>
      call('write', () => own.writeFile(data), {
        effects: () => [{ act: 'append', file: known.id, data: base64(data) }],
        short: async () => {
          await own.writeFile(halfOf(data));
          throw failure('ENOSPC', place);
        },
      }),
    stat: () => call('stat', () => own.stat()),
    sync: () =>
      call('fsync', () => own.sync(), {
        effects: () => syncEffect(known, isDir),
      }),
    chmod: (mode: number) => call('chmod', () => own.chmod(mode)),
    close: () => call('close', () => own.close(), { isFinal: true }),
  });
  return { known, close: own.close };
}

const PROMISE_CALLS = {
  open: async (path: string, flags: string | number = 'r', mode?: number): Promise<FileHandle> => {
    const place = placeOf(path);
    if (place === undefined) return realPromises.open(path, flags, mode);
    const isDir = isDirectory(path);
    const wasThere = real.existsSync(path);
    let wrapped: ReturnType<typeof wrap> | undefined;
    return runLater({
      operation: nameOf(callOfOpen(flags), place, true),
      act: async () => {
        const file = await realPromises.open(path, flags, mode);
        wrapped = wrap(file, place, isDir);
        return file;
      },
      effects: () => effectOf(wrapped!.known, flags, !wasThere),
      // A handle that nobody closes ends its process.
      undo: () => void wrapped!.close(),
    });
  },
  readdir: (path: string): Promise<unknown> =>
    onPathLater('list', path, () => realPromises.readdir(path)),
  readFile: (path: string, options?: BufferEncoding): Promise<unknown> =>
    onPathLater('read whole', path, () =>
      realPromises.readFile(path, { encoding: options ?? null }),
    ),
  mkdir: (path: string, options?: fs.MakeDirectoryOptions): Promise<unknown> =>
    onPathLater(
      'mkdir',
      path,
      () => realPromises.mkdir(path, options),
      (place) => [{ act: 'mkdir', path: place }],
    ),
  link: (from: string, to: string): Promise<void> =>
    onPathLater(
      'link',
      to,
      () => realPromises.link(from, to),
      (place) => [{ act: 'link', from: placeOf(from) ?? '', to: place }],
    ),
  rm: (path: string, options?: fs.RmOptions): Promise<void> => {
    const wasThere = real.existsSync(path);
    return onPathLater(
      'remove',
      path,
      () => realPromises.rm(path, options),
      (place) => (wasThere ? [{ act: 'remove', path: place }] : []),
    );
  },
};

interface Sqlite {
  DatabaseSync: new (
    path: string,
  ) => {
    exec(sql: string): void;
    close(): void;
  };
}

function replaceSqlite(): void {
  const sqlite = process.getBuiltinModule('node:sqlite') as unknown as Sqlite;
  const Real = sqlite.DatabaseSync;
  sqlite.DatabaseSync = class {
    readonly #path: string;
    readonly #real: InstanceType<Sqlite['DatabaseSync']>;
    constructor(path: string) {
      this.#path = path;
      this.#real = onPath('open', path, () => new Real(path));
    }
    exec(sql: string): void {
      onPath(sql, this.#path, () => this.#real.exec(sql));
    }
    close(): void {
      onPath('close', this.#path, () => this.#real.close());
    }
  };
}

/** Replaces the calls of this thread, for good. */
export function replaceCalls(): void {
  const require = createRequire(import.meta.url);
  Object.assign(require('node:fs') as object, SYNC_CALLS);
  Object.assign(require('node:fs/promises') as object, PROMISE_CALLS);
  replaceSqlite();
  syncBuiltinESMExports();
}
