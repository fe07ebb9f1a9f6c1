// SPDX-License-Identifier: Apache-2.0
// Goal: of all bytes that decompressors take for a payload, exactly one shape is stored (format attack 2). Method: frames
// by the real libzstd of Node at several levels and settings, each then cut, joined, edited; frames built by hand for
// what libzstd never writes. What is accepted must inflate to the stated length.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  createZstdCompress,
  constants as ZSTD,
  type ZstdOptions,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { checkStoredFrame } from '../exporter/log/stored.ts';
import { codeOf } from './support/log-error.ts';

const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag, ZSTD_c_contentSizeFlag, ZSTD_c_windowLog } =
  ZSTD;
const MIB = 1024 * 1024;

const hex = (text: string): Uint8Array =>
  new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const join = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const check = (stored: Uint8Array, byteLength: number): string =>
  codeOf(() => checkStoredFrame(stored, byteLength));

function compress(payload: Uint8Array, params: ZstdOptions['params'] = {}): Uint8Array {
  return new Uint8Array(zstdCompressSync(payload, { params }));
}

/** Written in two pieces, the first flushed as a block of its own. */
async function stream(payload: Uint8Array, options: ZstdOptions = {}): Promise<Uint8Array> {
  const compressor = createZstdCompress(options);
  const parts: Buffer[] = [];
  compressor.on('data', (part: Buffer) => parts.push(part));
  compressor.write(payload.subarray(0, 100));
  await new Promise<void>((flushed) => compressor.flush(flushed));
  compressor.end(payload.subarray(100));
  await once(compressor, 'end');
  return join(...parts);
}

const TEXT = new Uint8Array(Buffer.from('{"decision":"refer","score":0.41}\n'.repeat(2_000)));
const PAYLOADS: readonly (readonly [string, Uint8Array])[] = [
  ['one byte', hex('0a')],
  ['255 bytes', TEXT.subarray(0, 255)],
  ['256 bytes, where sizes take two bytes', TEXT.subarray(0, 256)],
  ['65,791 bytes, the most of two bytes', TEXT.subarray(0, 65_791)],
  ['65,792 bytes, where they take four', TEXT.subarray(0, 65_792)],
  ['300,000 random bytes, in raw blocks', randomBytes(300_000)],
  ['one byte repeated, in RLE blocks', new Uint8Array(300_000)],
  ['8 MiB', new Uint8Array(8 * MIB).fill(7)],
  ['more than 8 MiB', new Uint8Array(8 * MIB + 1).fill(7)],
];
const SETTINGS: readonly (readonly [string, ZstdOptions['params']])[] = [
  ['level 1', { [ZSTD_c_compressionLevel]: 1 }],
  ['level 3', { [ZSTD_c_compressionLevel]: 3 }],
  ['level 19', { [ZSTD_c_compressionLevel]: 19 }],
  ['a checksum', { [ZSTD_c_checksumFlag]: 1 }],
];

describe.each(SETTINGS)('frames of libzstd with %s', (_setting, params) => {
  test.each(PAYLOADS)('%s', (_name, payload) => {
    const stored = compress(payload, params);
    expect(check(stored, payload.length)).toBe('accepted');
    expect(zstdDecompressSync(stored)).toHaveLength(payload.length);
  });
});

describe('streamed frames', () => {
  test('with the pledged size are accepted, whatever blocks they have', async () => {
    const all = await stream(TEXT, { pledgedSrcSize: TEXT.length });
    // Node's stream may end the frame at the pledged byte and then write an empty frame behind it.
    const empty = Buffer.from('28b52ffd2000010000', 'hex');
    const stored = all.subarray(0, Buffer.from(all).indexOf(empty) >>> 0);
    expect(stored).not.toEqual(compress(TEXT));
    expect(check(stored, TEXT.length)).toBe('accepted');
  });

  test('without content size are refused', async () => {
    expect(check(await stream(TEXT), TEXT.length)).toBe('stored.frame');
  });
});

const FRAME = compress(TEXT);
const CHECKED = compress(TEXT, { [ZSTD_c_checksumFlag]: 1 });
const SKIPPABLE = hex('502a4d18 04000000 deadbeef');
/** `abc` in one raw block: magic, single segment, size 3, last raw block of 3. */
const ABC = hex('28b52ffd 20 03 190000 616263');

describe('what other readers would take', () => {
  test.each([
    ['a skippable frame before', join(SKIPPABLE, FRAME)],
    ['a skippable frame behind', join(FRAME, SKIPPABLE)],
    ['an empty skippable frame behind', join(FRAME, hex('502a4d18 00000000'))],
    ['two frames', join(FRAME, FRAME)],
    ['an empty frame behind', join(FRAME, compress(new Uint8Array()))],
    ['no content size', compress(TEXT, { [ZSTD_c_contentSizeFlag]: 0 })],
  ])('%s: libzstd inflates it, we do not', (_name, stored) => {
    expect(zstdDecompressSync(stored).subarray(0, TEXT.length)).toEqual(Buffer.from(TEXT));
    expect(check(stored, TEXT.length)).toBe('stored.frame');
  });

  test('a frame of another length than the header says, either way', () => {
    expect(check(FRAME, TEXT.length - 1)).toBe('stored.frame');
    expect(check(FRAME, TEXT.length + 1)).toBe('stored.frame');
    expect(check(join(FRAME, FRAME), 2 * TEXT.length)).toBe('stored.frame');
  });

  test('a payload of 9 MiB in a window of 16 MiB', () => {
    const payload = new Uint8Array(9 * MIB).fill(7);
    const stored = compress(payload, { [ZSTD_c_windowLog]: 24 });
    expect(check(stored, payload.length)).toBe('stored.frame');
  });
});

describe('by hand', () => {
  test('the smallest frame, as RFC 8878 section 3.1 has it', () => {
    expect(compress(hex('616263'))).toEqual(ABC);
    expect(check(ABC, 3)).toBe('accepted');
  });

  test.each<[string, string, number]>([
    ['a window of exactly 8 MiB', '28b52ffd 80 68 03000000 190000 616263', 3],
    ['the size in eight bytes', '28b52ffd e0 0300000000000000 190000 616263', 3],
    ['two raw blocks', '28b52ffd 20 03 080000 61 110000 6263', 3],
    ['an empty last block', '28b52ffd 20 03 180000 616263 010000', 3],
    ['an RLE block', '28b52ffd 20 03 1b0000 61', 3],
  ])('accepted: %s', (_name, bytes, byteLength) => {
    expect(check(hex(bytes), byteLength)).toBe('accepted');
    expect(zstdDecompressSync(hex(bytes))).toHaveLength(byteLength);
  });

  test.each<[string, string, number]>([
    ['nothing', '', 3],
    ['the magic number alone', '28b52ffd', 3],
    ['a skippable frame alone', '502a4d18 00000000', 0],
    ['gzip', '1f8b0800000000000003', 3],
    ['the magic number of zstd 0.7', '27b52ffd 20 03 190000 616263', 3],
    ['a reserved bit', '28b52ffd 28 03 190000 616263', 3],
    ['an unused bit', '28b52ffd 30 03 190000 616263', 3],
    ['a dictionary of one byte', '28b52ffd 21 07 03 190000 616263', 3],
    ['a dictionary of two bytes', '28b52ffd 22 0700 03 190000 616263', 3],
    ['a dictionary of four bytes', '28b52ffd 23 07000000 03 190000 616263', 3],
    ['a dictionary whose id is 0', '28b52ffd 21 00 03 190000 616263', 3],
    ['a window one step above 8 MiB', '28b52ffd 80 69 03000000 190000 616263', 3],
    ['the largest window', '28b52ffd 80 ff 03000000 190000 616263', 3],
    ['a block of a reserved type', '28b52ffd 20 03 1f0000 616263', 3],
    ['no last block', '28b52ffd 20 03 180000 616263', 3],
    ['a block cut off', '28b52ffd 20 03 190000 6162', 3],
    ['a block header cut off', '28b52ffd 20 03 1900', 3],
    ['no window byte', '28b52ffd 80', 3],
    ['a content size cut off', '28b52ffd 80 00 0300', 3],
    ['a checksum that is missing', '28b52ffd 24 03 190000 616263', 3],
    ['a checksum cut off', '28b52ffd 24 03 190000 616263 000000', 3],
    ['a byte behind', '28b52ffd 20 03 190000 616263 00', 3],
    ['four bytes behind, where no checksum is', '28b52ffd 20 03 190000 616263 00000000', 3],
    ['a size of two bytes read as it stands', '28b52ffd 60 0300 190000 616263', 3],
    ['a size above 2^53', '28b52ffd e0 0300000000000080 190000 616263', 3],
  ])('refused: %s', (_name, bytes, byteLength) => {
    expect(check(hex(bytes), byteLength)).toBe('stored.frame');
  });
});

describe('any damage to the outline', () => {
  test.each([
    ['without', FRAME],
    ['with', CHECKED],
  ])('a frame %s checksum, cut at any byte, is refused', (_name, frame) => {
    for (let end = 0; end < frame.length; end++) {
      expect(check(frame.subarray(0, end), TEXT.length)).toBe('stored.frame');
    }
  });

  test('any bit of the frame header flipped is refused, but for the checksum flag', () => {
    // 4 magic, 1 descriptor, 4 content size; a frame with the flag is 4 bytes short, so that is refused too.
    for (let bit = 0; bit < 9 * 8; bit++) {
      const frame = FRAME.slice();
      frame[bit >> 3]! ^= 1 << (bit & 7);
      expect([bit, check(frame, TEXT.length)]).toEqual([bit, 'stored.frame']);
    }
  });
});

test('accepted bytes never inflate to another length, over any bit flipped anywhere', () => {
  const payload = TEXT.subarray(0, 400);
  const original = compress(payload, { [ZSTD_c_checksumFlag]: 1 });
  let acceptedCount = 0;
  for (let bit = 0; bit < original.length * 8; bit++) {
    const frame = original.slice();
    frame[bit >> 3]! ^= 1 << (bit & 7);
    if (check(frame, payload.length) !== 'accepted') continue;
    acceptedCount++;
    let inflated: Uint8Array | undefined;
    try {
      inflated = zstdDecompressSync(frame);
    } catch {
      continue;
    }
    expect(inflated).toHaveLength(payload.length);
  }
  // The outline does not cover what is inside blocks: that is the work of the hash in the header.
  expect(acceptedCount).toBeGreaterThan(0);
});
