// SPDX-License-Identifier: Apache-2.0
// Goal: the checkpoint of a segment's end is found under its size until an archive has it, and nothing else is touched.
// Method: files in memory; the name as FORMAT.md has it.
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import {
  keepSegmentCheckpoint,
  readSegmentCheckpoint,
  removeSegmentCheckpoints,
} from '../exporter/node/storage/segment-checkpoints.ts';
import { DIR, emptyDisk } from './support/small-log.ts';

const noteOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const nameOf = (size: string, note: Uint8Array): string =>
  `${size.padStart(20, '0')}-${createHash('sha256').update(note).digest('hex')}`;

test('what was kept is found under its size, and under no other', () => {
  const disk = emptyDisk();
  expect(readSegmentCheckpoint(disk, DIR, 7)).toBe(undefined);
  keepSegmentCheckpoint(disk, DIR, 7, noteOf('seven'));
  keepSegmentCheckpoint(disk, DIR, 70, noteOf('seventy'));
  keepSegmentCheckpoint(disk, DIR, 7, noteOf('seven'));
  expect(disk.list(`${DIR}/checkpoints`)).toEqual([
    nameOf('7', noteOf('seven')),
    nameOf('70', noteOf('seventy')),
  ]);
  expect(readSegmentCheckpoint(disk, DIR, 7)).toEqual(noteOf('seven'));
  expect(readSegmentCheckpoint(disk, DIR, 70)).toEqual(noteOf('seventy'));
  for (const size of [0, 6, 8, 700]) expect(readSegmentCheckpoint(disk, DIR, size)).toBe(undefined);
  expect(disk.list(DIR)).toEqual([]);
});

test('is whole or not there after a crash', () => {
  const disk = emptyDisk();
  keepSegmentCheckpoint(disk, DIR, 7, noteOf('seven'));
  for (const loss of ['kept', 'lost', 'half', 'zeros'] as const) {
    expect(readSegmentCheckpoint(disk.afterCrash(loss), DIR, 7)).toEqual(noteOf('seven'));
  }
});

test('what an archive has is removed, and nothing behind it or of others', () => {
  const disk = emptyDisk();
  removeSegmentCheckpoints(disk, DIR, 9);
  for (const size of [3, 7, 9]) keepSegmentCheckpoint(disk, DIR, size, noteOf(`${size}`));
  disk.put(`${DIR}/checkpoints/a-note-of-a-person`, noteOf('x'));
  removeSegmentCheckpoints(disk, DIR, 7);
  expect(disk.list(`${DIR}/checkpoints`)).toEqual([nameOf('9', noteOf('9')), 'a-note-of-a-person']);
});
