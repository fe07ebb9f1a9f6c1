// SPDX-License-Identifier: Apache-2.0
// Goal: a cursor comes back as it was saved, or as 0 with a word about it. Method: real files, damaged on purpose.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openCursorFile } from '../exporter/node/forward/cursor.ts';

function newPath(): string {
  return join(mkdtempSync(join(tmpdir(), 'sealspan-cursor-')), 'backend.cursor');
}

test('gives back what was saved last, to whoever opens it next', () => {
  const path = newPath();
  const causes: string[] = [];
  const cursor = openCursorFile(path, (cause) => causes.push(cause));
  expect(cursor.load()).toBe(0);
  for (const next of [1, 17, Number.MAX_SAFE_INTEGER, 3]) {
    cursor.save(next);
    expect(openCursorFile(path, (cause) => causes.push(cause)).load()).toBe(next);
  }
  expect(causes).toEqual([]);
  expect(readFileSync(path, 'utf8')).toBe('sealspan/cursor@v1\n3\n');
  expect(readdirSync(join(path, '..'))).toEqual(['backend.cursor']);
});

test('a crash while saving leaves the old one', () => {
  const path = newPath();
  const cursor = openCursorFile(path, () => {});
  cursor.save(5);
  writeFileSync(`${path}.tmp`, 'sealspan/cur');
  expect(cursor.load()).toBe(5);
  cursor.save(6);
  expect(cursor.load()).toBe(6);
});

test.each([
  '',
  '7',
  '7\n',
  'sealspan/cursor@v1\n',
  'sealspan/cursor@v1\n7',
  'sealspan/cursor@v1\n07\n',
  'sealspan/cursor@v1\n-7\n',
  'sealspan/cursor@v1\n7.5\n',
  'sealspan/cursor@v1\n9007199254740992\n',
  'sealspan/cursor@v1\n7\n\n',
  'sealspan/cursor@v2\n7\n',
  '\0'.repeat(21),
])('%j is 0, and told', (text) => {
  const path = newPath();
  writeFileSync(path, text);
  const causes: string[] = [];
  expect(openCursorFile(path, (cause) => causes.push(cause)).load()).toBe(0);
  expect(causes).toEqual([`${path} is no cursor; everything is forwarded again`]);
});

test('what can not be read at all is 0, and told; what can not be saved throws', () => {
  const path = newPath();
  mkdirSync(path);
  const causes: string[] = [];
  const cursor = openCursorFile(path, (cause) => causes.push(cause));
  expect([cursor.load(), causes.length]).toEqual([0, 1]);
  expect(() => cursor.save(1)).toThrow();
});
