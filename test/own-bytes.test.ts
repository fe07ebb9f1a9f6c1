// SPDX-License-Identifier: Apache-2.0
// Goal: nothing is given away or freed that somebody else's bytes share a buffer with. Method: bytes alone, behind the head
// of a frame, and cut out of a larger buffer as Node's pool does it.
import { describe, expect, test } from 'vitest';
import { freeBytes, freeParts, joinBytes, ownBytes } from '../exporter/node/system/own-bytes.ts';

const alone = (...bytes: readonly number[]): Uint8Array<ArrayBuffer> => Uint8Array.from(bytes);
const framed = (): Uint8Array<ArrayBuffer> => alone(0, 0, 0, 0, 2, 7, 8).subarray(5);
const pooled = (): Uint8Array<ArrayBuffer> => alone(7, 8, 1, 2, 3, 4, 5, 6).subarray(0, 2);

describe('bytes to give away', () => {
  test.each([
    ['alone in their buffer', alone(7, 8)],
    ['alone behind the head of a frame', framed()],
  ])('%s are the very same', (_name, bytes) => {
    expect(ownBytes(bytes)).toBe(bytes);
  });

  test('that share a buffer are copied', () => {
    const shared = pooled();
    const own = ownBytes(shared);
    expect([...own]).toEqual([7, 8]);
    expect(own.buffer).not.toBe(shared.buffer);
  });

  test('of shared memory are copied', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(2));
    expect(ownBytes(shared).buffer).toBeInstanceOf(ArrayBuffer);
  });
});

describe('freed', () => {
  test.each([
    ['bytes alone in their buffer are gone, also a second time', alone(7, 8), 0],
    ['bytes that share one are left', pooled(), 2],
  ])('%s', (_name, bytes, left) => {
    freeBytes(bytes);
    freeBytes(bytes);
    expect(bytes.length).toBe(left);
  });
});

test('parts are freed with all that they were cut out of, also a second time', () => {
  const whole = alone(1, 2, 3);
  const parts = [whole.subarray(0, 1), whole.subarray(1), alone(4)];
  freeParts(parts);
  freeParts(parts);
  expect([whole, ...parts].map(({ length }) => length)).toEqual([0, 0, 0, 0]);
});

describe('joined', () => {
  test('chunks are one buffer, and gone where they were alone', () => {
    const chunks = [alone(1), alone(), pooled(), framed()];
    const bytes = joinBytes(chunks);
    expect([...bytes]).toEqual([1, 7, 8, 7, 8]);
    expect(bytes.buffer.byteLength).toBe(bytes.length);
    expect(chunks.map(({ length }) => length)).toEqual([0, 0, 2, 0]);
  });

  test('chunks that stand in one buffer are all there, however little the others have of it', () => {
    const whole = alone(1, 2, 3, 4, 5, 6, 7);
    expect([...joinBytes([whole.subarray(0, 5), alone(8), whole.subarray(5)])]).toEqual([
      1, 2, 3, 4, 5, 8, 6, 7,
    ]);
  });

  test('one chunk that is alone is what it was', () => {
    const chunk = alone(1, 2);
    expect(joinBytes([chunk])).toBe(chunk);
  });

  test('none are no bytes', () => {
    expect(joinBytes([])).toEqual(new Uint8Array());
  });
});
