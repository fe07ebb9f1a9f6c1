// SPDX-License-Identifier: Apache-2.0
// Goal: records are found where they lie, a torn tail is told from damage, and nothing hides between two records.
// Method: segments of real headers, cut at every byte, joined, and edited.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeHeader, type RecordHeader } from '../exporter/log/header.ts';
import { HEADER_BYTE_LENGTH_MAX } from '../exporter/log/limits.ts';
import {
  type Frame,
  parseSegmentName,
  readFrame,
  readFrames,
  segmentName,
} from '../exporter/log/segment.ts';
import { codeOf } from './support/log-error.ts';

const hashOf = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
const join = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

function record(index: number, stored: Uint8Array): Frame {
  const header: RecordHeader = {
    log: 'payments/prod/0',
    index,
    prev: hashOf(index),
    sealed: '2026-11-23T12:34:56.789Z',
    source: { kind: 'direct', principal: undefined, policy: 'verbatim' },
    kind: 'traces',
    payloadByteLength: 1,
    storedByteLength: stored.length,
    storedHash: hashOf(2),
    entryCount: 1,
    root: hashOf(3),
  };
  const headerBytes = encodeHeader(header);
  return { header, headerBytes, stored, start: 0, end: headerBytes.length + stored.length };
}

/** Frames one behind the other, with the ranges they then have. */
function segment(...records: readonly Frame[]): { bytes: Uint8Array; frames: Frame[] } {
  let at = 0;
  const frames = records.map((frame) => {
    const moved = { ...frame, start: at, end: at + frame.end };
    at = moved.end;
    return moved;
  });
  const bytes = join(...records.flatMap(({ headerBytes, stored }) => [headerBytes, stored]));
  return { bytes, frames };
}

/** Stored bytes that look like a record, a blank line, a zero: nothing in them is looked at. */
const AWKWARD = join(Buffer.from('sealspan/record@v1\nlog a\n\n\n\n\n\n\n\n\n\n\0'));
const THREE = segment(record(7, Buffer.from('first')), record(8, AWKWARD), record(9, Buffer.of(0)));

describe('frames', () => {
  test('are found back to back, whatever they hold', () => {
    const frames = [...readFrames(THREE.bytes)];
    expect(frames.map(({ start, end }) => [start, end])).toEqual(
      THREE.frames.map(({ start, end }) => [start, end]),
    );
    expect(frames.map(({ header }) => header)).toEqual(THREE.frames.map(({ header }) => header));
    for (const [at, frame] of frames.entries()) {
      expect(join(frame.headerBytes)).toEqual(THREE.frames[at]!.headerBytes);
      expect(join(frame.stored)).toEqual(join(THREE.frames[at]!.stored));
    }
  });

  test('of any number and size tile the segment', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 6 }), (list) => {
        const { bytes } = segment(...list.map((stored, index) => record(index, stored)));
        let at = 0;
        for (const frame of readFrames(bytes)) {
          expect(frame.start).toBe(at);
          expect(join(frame.headerBytes, frame.stored)).toEqual(bytes.slice(at, frame.end));
          at = frame.end;
        }
        expect(at).toBe(bytes.length);
      }),
    );
  });

  test('of an empty segment are none', () => {
    expect([...readFrames(new Uint8Array())]).toEqual([]);
  });
});

describe('a segment cut at any byte', () => {
  const ends = new Set([0, ...THREE.frames.map(({ end }) => end)]);

  test('ends whole only where a record ends', () => {
    for (let end = 0; end <= THREE.bytes.length; end++) {
      const cut = THREE.bytes.subarray(0, end);
      expect([end, codeOf(() => [...readFrames(cut)])]).toEqual([
        end,
        ends.has(end) ? 'accepted' : 'segment.truncated',
      ]);
    }
  });

  test('has a torn tail, which is not damage: readFrame asks for more', () => {
    const { start, end } = THREE.frames[2]!;
    for (let cut = start; cut < end; cut++) {
      expect(readFrame(THREE.bytes.subarray(0, cut), start)).toBeUndefined();
    }
    expect(readFrame(THREE.bytes, start)?.header.index).toBe(9);
  });
});

describe('bytes that are no record', () => {
  const [first, second] = THREE.frames as [Frame, Frame];
  const between = (filler: Uint8Array): Uint8Array =>
    join(THREE.bytes.subarray(0, first.end), filler, THREE.bytes.subarray(first.end));

  test.each<[string, Uint8Array, string]>([
    ['a line feed between two records', between(Buffer.from('\n')), 'header.syntax'],
    ['a zero between two records', between(Buffer.of(0)), 'header.syntax'],
    ['a block of zeros at the end', join(THREE.bytes, new Uint8Array(4096)), 'header.too-long'],
    ['a few zeros at the end', join(THREE.bytes, new Uint8Array(16)), 'segment.truncated'],
    ['a page without lines', new Uint8Array(HEADER_BYTE_LENGTH_MAX).fill(0x61), 'header.too-long'],
    ['nine empty lines', Buffer.from('\n'.repeat(9)), 'header.syntax'],
    ['a record without its first byte', THREE.bytes.subarray(1), 'header.syntax'],
    ['stored bytes shorter by one', without({ ...first, start: first.end - 1 }), 'header.syntax'],
    ['stored bytes longer by one', between(Buffer.of(0x73)), 'header.syntax'],
    ['the middle record left out', without(second), 'accepted'],
  ])('%s', (_name, bytes, code) => {
    expect(codeOf(() => [...readFrames(bytes)])).toBe(code);
  });

  /** Leaving out whole records is for the links and the tree to find: framing is no integrity. */
  function without(frame: Frame): Uint8Array {
    return join(THREE.bytes.subarray(0, frame.start), THREE.bytes.subarray(frame.end));
  }
});

describe('names', () => {
  test.each([
    [0, '00000000000000000000.seg'],
    [41, '00000000000000000041.seg'],
    [Number.MAX_SAFE_INTEGER, '00009007199254740991.seg'],
  ])('of the segment from record %i: %s', (index, name) => {
    expect(segmentName(index)).toBe(name);
    expect(parseSegmentName(name)).toBe(index);
  });

  test('sort as their numbers do', () => {
    const indexes = [0, 9, 10, 99, 100, 2 ** 32, 2 ** 53 - 1];
    expect(indexes.map(segmentName).toSorted()).toEqual(indexes.map(segmentName));
  });

  test.each([
    '',
    '41.seg',
    '0000000000000000041.seg',
    '000000000000000000041.seg',
    '00000000000000000041',
    '00000000000000000041.seg.part',
    '00000000000000000041.SEG',
    '0000000000000000004a.seg',
    'x00000000000000000041.seg',
    '../00000000000000000041.seg',
    '00000000000000000041.seg\n',
    '-0000000000000000041.seg',
    '00009007199254740992.seg',
    '99999999999999999999.seg',
  ])('%j is no segment', (name) => {
    expect(parseSegmentName(name)).toBeUndefined();
  });
});
