// SPDX-License-Identifier: Apache-2.0
// Goal: what is put is there, whole, and is never replaced; every state that a crash can leave is put right by putting
// again. Method: real directories, with the leftovers of each crash made by hand.
import { createHash } from 'node:crypto';
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type ArchiveObject, openDirectoryArchive } from '../exporter/node/archive/archive.ts';

const KEY = 'example.org/a/segments/00000000000000000000.seg';

function newDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'sealspan-archive-'));
}

function objectOf(text: string, key: string = KEY): ArchiveObject {
  const bytes = Buffer.from(text);
  const sha256 = createHash('sha256').update(bytes).digest();
  return { key, content: { bytes }, byteLength: bytes.length, sha256 };
}

/** Every file below a directory with its content, hidden ones included. */
function filesOf(dir: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort()) {
    if (statSync(join(dir, name)).isFile()) files[name] = readFileSync(join(dir, name), 'utf8');
  }
  return files;
}

describe('put', () => {
  test('stores bytes, read-only, and leaves nothing beside them', async () => {
    const dir = newDirectory();
    const archive = openDirectoryArchive(dir);
    expect(await archive.put(objectOf('one'))).toEqual({ status: 'ok', existed: false });
    expect(filesOf(dir)).toEqual({ [KEY]: 'one' });
    expect(statSync(join(dir, KEY)).mode & 0o777).toBe(0o444);
    expect(archive.name).toBe(`directory:${dir}`);
  });

  test('stores a file, larger than one read', async () => {
    const dir = newDirectory();
    const path = join(newDirectory(), 'segment');
    const object = objectOf('0123456789'.repeat(300_000));
    writeFileSync(path, '0123456789'.repeat(300_000));
    const outcome = await openDirectoryArchive(dir).put({ ...object, content: { path } });
    expect(outcome).toEqual({ status: 'ok', existed: false });
    expect(readFileSync(join(dir, KEY)).equals(readFileSync(path))).toBe(true);
  });

  test('of the same content is ok, of other content a conflict; neither writes', async () => {
    const dir = newDirectory();
    const archive = openDirectoryArchive(dir);
    await archive.put(objectOf('one'));
    const before = statSync(join(dir, KEY), { bigint: true });
    expect(await archive.put(objectOf('one'))).toEqual({ status: 'ok', existed: true });
    expect(await archive.put(objectOf('two'))).toEqual({
      status: 'conflict',
      cause: `${KEY}: other content is stored under this key`,
    });
    expect(await archive.put(objectOf('on'))).toMatchObject({ status: 'conflict' });
    const after = statSync(join(dir, KEY), { bigint: true });
    expect([after.ino, after.mtimeNs, filesOf(dir)]).toEqual([
      before.ino,
      before.mtimeNs,
      { [KEY]: 'one' },
    ]);
  });

  test('of content that is not what it was said to be stores nothing', async () => {
    const dir = newDirectory();
    const archive = openDirectoryArchive(dir);
    const cause = `${KEY}: the content changed while it was read`;
    for (const content of ['onE', 'one more']) {
      const object = { ...objectOf('one'), content: { bytes: Buffer.from(content) } };
      expect(await archive.put(object)).toEqual({ status: 'retryable', cause });
    }
    expect(filesOf(dir)).toEqual({});
    expect(await archive.put(objectOf('one'))).toEqual({ status: 'ok', existed: false });
    expect(filesOf(dir)).toEqual({ [KEY]: 'one' });
  });

  test('of two at once, whichever wins stored it whole', async () => {
    const text = '0123456789'.repeat(500_000);
    const path = join(newDirectory(), 'segment');
    writeFileSync(path, text);
    const object = { ...objectOf(text), content: { path } };
    for (let round = 0; round < 20; round++) {
      const dir = newDirectory();
      const outcomes = await Promise.all(
        // Each begins somewhere in the middle of the one before.
        Array.from({ length: 4 }, async (_, at) => {
          await new Promise((resolve) => setTimeout(resolve, at * (1 + (round % 8))));
          return openDirectoryArchive(dir).put(object);
        }),
      );
      // A loser may find its unfinished file gone: then it is to try again.
      expect(outcomes.filter(({ status }) => status === 'conflict')).toEqual([]);
      if (existsSync(join(dir, KEY))) expect(filesOf(dir)[KEY] === text).toBe(true);
      expect(await openDirectoryArchive(dir).put(object)).toMatchObject({ status: 'ok' });
      expect(Object.keys(filesOf(dir))).toEqual([KEY]);
    }
  });

  test('is retryable where the store is not mounted, and creates none', async () => {
    const dir = join(newDirectory(), 'volume');
    const archive = openDirectoryArchive(dir);
    expect(await archive.put(objectOf('one'))).toMatchObject({ status: 'retryable' });
    expect(existsSync(dir)).toBe(false);
    mkdirSync(dir);
    expect(await archive.put(objectOf('one'))).toEqual({ status: 'ok', existed: false });
  });

  test('is retryable where the volume was changed for a fresh one, and then stores there', async () => {
    const dir = newDirectory();
    const archive = openDirectoryArchive(dir);
    await archive.put(objectOf('one'));
    rmSync(join(dir, 'example.org'), { recursive: true });
    expect(await archive.put(objectOf('one'))).toMatchObject({ status: 'retryable' });
    expect(await archive.put(objectOf('one'))).toEqual({ status: 'ok', existed: false });
  });

  test('is retryable where the source is missing', async () => {
    const object = { ...objectOf('one'), content: { path: join(newDirectory(), 'none') } };
    expect(await openDirectoryArchive(newDirectory()).put(object)).toMatchObject({
      status: 'retryable',
    });
  });

  test.each([
    '',
    '/a',
    'a//b',
    'a/',
    '../a',
    'a/../b',
    'a/.hidden',
    'a/B',
    'a\\b',
    'a\0',
    `a/${'b'.repeat(201)}`,
  ])('refuses the key %j', async (key) => {
    const archive = openDirectoryArchive(newDirectory());
    await expect(archive.put(objectOf('one', key))).rejects.toThrow(TypeError);
    await expect(archive.read(key, 10)).rejects.toThrow(TypeError);
  });
});

describe('after a crash', () => {
  const partial = KEY.replace(/([^/]+)$/, '.$1.4711');
  const prepare = (): string => {
    const dir = newDirectory();
    mkdirSync(join(dir, 'example.org/a/segments'), { recursive: true });
    return dir;
  };

  test('while the content was written: the torn file is no object, and goes', async () => {
    const dir = prepare();
    writeFileSync(join(dir, partial), 'on');
    const archive = openDirectoryArchive(dir);
    expect(await archive.list('example.org/a/segments/')).toEqual({ status: 'ok', objects: [] });
    expect(await archive.put(objectOf('one'))).toEqual({ status: 'ok', existed: false });
    expect(filesOf(dir)).toEqual({ [KEY]: 'one' });
  });

  test('between naming the object and dropping the partial name: the object is not touched', async () => {
    const dir = prepare();
    writeFileSync(join(dir, KEY), 'one');
    linkSync(join(dir, KEY), join(dir, partial));
    const archive = openDirectoryArchive(dir);
    expect(await archive.put(objectOf('two'))).toMatchObject({ status: 'conflict' });
    expect(filesOf(dir)[KEY]).toBe('one');
    expect(await archive.put(objectOf('one'))).toEqual({ status: 'ok', existed: true });
    expect(filesOf(dir)).toEqual({ [KEY]: 'one' });
  });
});

describe('list and read', () => {
  test('what was put, in order, one level deep', async () => {
    const archive = openDirectoryArchive(newDirectory());
    for (const [key, text] of [
      ['o/checkpoints/2-b', 'bb'],
      ['o/checkpoints/1-a', 'a'],
      ['o/segments/1', 'c'],
    ] as const)
      await archive.put(objectOf(text, key));
    expect(await archive.list('o/checkpoints/')).toEqual({
      status: 'ok',
      objects: [
        { key: 'o/checkpoints/1-a', byteLength: 1 },
        { key: 'o/checkpoints/2-b', byteLength: 2 },
      ],
    });
    expect(await archive.read('o/checkpoints/2-b', 2)).toEqual({
      status: 'ok',
      bytes: Buffer.from('bb'),
    });
    expect(await archive.read('o/checkpoints/2-b', 1)).toMatchObject({ status: 'retryable' });
    expect(await archive.read('o/checkpoints/3-c', 1)).toEqual({ status: 'missing' });
  });

  test('a store without the prefix is empty, one that is not there is not', async () => {
    const dir = newDirectory();
    expect(await openDirectoryArchive(dir).list('o/checkpoints/')).toEqual({
      status: 'ok',
      objects: [],
    });
    const unmounted = openDirectoryArchive(join(dir, 'volume'));
    expect(await unmounted.list('o/checkpoints/')).toMatchObject({ status: 'retryable' });
    expect(await unmounted.read('o/checkpoints/1', 1)).toMatchObject({ status: 'retryable' });
  });
});
