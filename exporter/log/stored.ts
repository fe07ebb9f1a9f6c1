// SPDX-License-Identifier: Apache-2.0
/**
 * The stored form of a payload: exactly one zstd frame of one shape, so that no two decompressors can read it
 * differently (format attack 2). Looks at the frame's outline only. RFC 8878 section 3.1; FORMAT.md, "Stored bytes".
 */
import { LogError } from './errors.ts';
import { ZSTD_WINDOW_BYTE_LENGTH_MAX } from './limits.ts';

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
const BLOCK_TYPE_RLE = 1;
const BLOCK_TYPE_RESERVED = 3;

/**
 * Holds `stored` against the rules: one frame, content size present and equal to `payloadByteLength`, no
 * dictionary, a window of at most 8 MiB, no reserved bit, and nothing before or after the frame.
 * @throws LogError `stored.frame`
 */
export function checkStoredFrame(stored: Uint8Array, payloadByteLength: number): void {
  const refuse = (why: string, at: number): never => {
    throw new LogError('stored.frame', `stored: ${why}`, at);
  };
  if (MAGIC.some((byte, at) => stored[at] !== byte)) refuse('no zstd frame', 0);
  const descriptor = stored[4] ?? refuse('the frame is cut off', 4);
  const contentSizeFlag = descriptor >> 6;
  const singleSegment = (descriptor & 0x20) !== 0;
  if ((descriptor & 0x18) !== 0) refuse('a reserved or unused bit is set', 4);
  if ((descriptor & 0x03) !== 0) refuse('a dictionary is named', 4);
  if (contentSizeFlag === 0 && !singleSegment) refuse('no content size', 4);
  const hasChecksum = (descriptor & 0x04) !== 0;

  let at = 5;
  if (!singleSegment) {
    const byte = stored[at++] ?? refuse('the frame is cut off', at);
    const base = 2 ** (10 + (byte >> 3));
    if (base + (base / 8) * (byte & 7) > ZSTD_WINDOW_BYTE_LENGTH_MAX)
      refuse('the window is too large', 5);
  } else if (payloadByteLength > ZSTD_WINDOW_BYTE_LENGTH_MAX) {
    refuse('a single segment is too large', 4);
  }
  const contentSizeLength = [1, 2, 4, 8][contentSizeFlag]!;
  if (at + contentSizeLength > stored.length) refuse('the frame is cut off', at);
  let contentSize = 0;
  for (let byte = contentSizeLength - 1; byte >= 0; byte--)
    contentSize = contentSize * 256 + stored[at + byte]!;
  // Two-byte sizes are stored less 256 (RFC 8878 section 3.1.1.1.4).
  if (contentSizeFlag === 1) contentSize += 256;
  if (contentSize !== payloadByteLength)
    refuse(`the frame says ${contentSize} bytes, the header ${payloadByteLength}`, at);
  at += contentSizeLength;

  for (let last = false; !last; ) {
    if (at + 3 > stored.length) refuse('a block is cut off', at);
    const block = stored[at]! | (stored[at + 1]! << 8) | (stored[at + 2]! << 16);
    last = (block & 1) === 1;
    const type = (block >> 1) & 3;
    if (type === BLOCK_TYPE_RESERVED) refuse('a block of a reserved type', at);
    at += 3 + (type === BLOCK_TYPE_RLE ? 1 : block >> 3);
  }
  if (hasChecksum) at += 4;
  if (at !== stored.length)
    refuse(at > stored.length ? 'the frame is cut off' : 'something stands behind the frame', at);
}
