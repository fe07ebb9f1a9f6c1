// SPDX-License-Identifier: Apache-2.0
// Goal: the few file operations do what sealing needs, and the disk in memory that fault tests stand on does the same.
// Method: one specification, run on the operating system's files and on the memory's.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  type Files,
  makeDurableDirectory,
  nodeFiles,
  replaceFile,
} from '../exporter/node/system/files.ts';
import { LOSSES, MemoryDisk, openFaultyFiles } from './support/faulty-files.ts';

const home = mkdtempSync(join(tmpdir(), 'sealspan-files-'));
afterAll(() => rmSync(home, { recursive: true }));

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const textOf = (files: Files, path: string): string | undefined => {
  const found = files.readAll(path);
  return found === undefined ? undefined : Buffer.from(found).toString();
};

function codeOf(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
  return 'done';
}

describe.each([
  ['of the operating system', nodeFiles, home],
  ['in memory', new MemoryDisk(), '/disk'],
])('files %s', (_name, files, root) => {
  const dir = (name: string): string => {
    const path = join(root, name);
    makeDurableDirectory(files, path);
    return path;
  };

  test('append to the end, wherever was read', () => {
    const path = join(dir('append'), 'a');
    const file = files.open(path, 'create');
    files.append(file, bytes('one '));
    const target = new Uint8Array(3);
    expect(files.read(file, target, 0)).toBe(3);
    files.append(file, bytes('two'));
    files.sync(file);
    expect([files.byteLength(file), textOf(files, path)]).toEqual([7, 'one two']);
    files.close(file);
    const again = files.open(path, 'existing');
    files.append(again, bytes('!'));
    files.close(again);
    expect(textOf(files, path)).toBe('one two!');
  });

  test('read what is there, and say how much that was', () => {
    const path = join(dir('read'), 'a');
    const writing = files.open(path, 'create');
    files.append(writing, bytes('0123456789'));
    files.close(writing);
    const file = files.open(path, 'read');
    const readAt = (position: number, length: number): readonly [number, string] => {
      const target = new Uint8Array(length);
      const count = files.read(file, target, position);
      return [count, Buffer.from(target.subarray(0, count)).toString()];
    };
    expect([readAt(2, 3), readAt(8, 5), readAt(10, 1), readAt(99, 1)]).toEqual([
      [3, '234'],
      [2, '89'],
      [0, ''],
      [0, ''],
    ]);
    files.close(file);
  });

  test('truncate to a length, and append from there', () => {
    const path = join(dir('truncate'), 'a');
    const file = files.open(path, 'create');
    files.append(file, bytes('0123456789'));
    files.truncate(file, 4);
    files.append(file, bytes('x'));
    files.close(file);
    expect(textOf(files, path)).toBe('0123x');
    files.close(files.open(path, 'truncate'));
    expect(textOf(files, path)).toBe('');
  });

  test('create once, and open for reading only what is there', () => {
    const path = join(dir('open'), 'a');
    files.close(files.open(path, 'create'));
    expect(codeOf(() => files.open(path, 'create'))).toBe('EEXIST');
    expect(codeOf(() => files.open(`${path}b`, 'read'))).toBe('ENOENT');
    expect(codeOf(() => files.open(join(root, 'nowhere', 'a'), 'create'))).toBe('ENOENT');
  });

  test('rename over what is there, remove, and list in order', () => {
    const path = dir('names');
    for (const name of ['b', 'a', 'c']) replaceFile(files, join(path, name), bytes(name));
    files.rename(join(path, 'c'), join(path, 'b'));
    files.remove(join(path, 'a'));
    replaceFile(files, join(path, '10'), bytes('x'));
    expect(files.list(path)).toEqual(['10', 'b']);
    expect(textOf(files, join(path, 'b'))).toBe('c');
    expect(codeOf(() => files.remove(join(path, 'a')))).toBe('ENOENT');
    expect(codeOf(() => files.rename(join(path, 'a'), join(path, 'b')))).toBe('ENOENT');
  });

  test('tell what is not there from what is empty', () => {
    const path = dir('missing');
    expect(files.list(path)).toEqual([]);
    expect(files.list(join(path, 'nowhere'))).toBe(undefined);
    expect(files.readAll(join(path, 'nowhere'))).toBe(undefined);
  });

  test('replace a file whole, and leave nothing beside it', () => {
    const path = dir('replace');
    for (const text of ['first, and longer', 'second'])
      replaceFile(files, join(path, 'a'), bytes(text));
    expect([files.list(path), textOf(files, join(path, 'a'))]).toEqual([['a'], 'second']);
  });

  test('replace a file after a try that was cut short', () => {
    const path = dir('again');
    const torn = files.open(join(path, 'a.tmp'), 'truncate');
    files.append(torn, bytes('half of something longer'));
    files.close(torn);
    replaceFile(files, join(path, 'a'), bytes('whole'));
    expect([files.list(path), textOf(files, join(path, 'a'))]).toEqual([['a'], 'whole']);
  });
});

test('what is made is readable by its owner alone', () => {
  const umask = process.umask(0);
  try {
    const dir = join(home, 'modes', 'deep');
    nodeFiles.makeDirectory(dir);
    replaceFile(nodeFiles, join(dir, 'a'), bytes('x'));
    const modes = [join(home, 'modes'), dir, join(dir, 'a')].map((path) =>
      (statSync(path).mode & 0o777).toString(8),
    );
    expect(modes).toEqual(['700', '700', '600']);
  } finally {
    process.umask(umask);
  }
});

test('replacing is atomic: a crash at any of its steps leaves the old file or the new one', () => {
  const seen = new Set<string>();
  for (let at = 0; at < 5; at++) {
    for (const kind of ['before', 'after', 'short'] as const) {
      for (const loss of LOSSES) {
        const disk = new MemoryDisk();
        disk.put('/d/a', bytes('old'));
        const files = openFaultyFiles(disk, { at, kind, crashes: true });
        expect(() => replaceFile(files, '/d/a', bytes('newer'))).toThrow('EIO');
        const left = textOf(disk.afterCrash(loss), '/d/a');
        seen.add(`${left}`);
        // Once the directory is synced, nothing brings the old one back.
        if (at === 4 && kind === 'after') expect(left).toBe('newer');
      }
    }
  }
  expect([...seen].sort()).toEqual(['newer', 'old']);
});

test('what was replaced is durable once the call returns', () => {
  const disk = new MemoryDisk();
  makeDurableDirectory(disk, '/d');
  replaceFile(disk, '/d/a', bytes('whole'));
  for (const loss of LOSSES) expect(textOf(disk.afterCrash(loss), '/d/a')).toBe('whole');
});
