// SPDX-License-Identifier: Apache-2.0
/**
 * Large bytes that pass through: joined, given to another thread and freed by hand. The garbage collector counts them, is
 * called for them, and then looks through all that lives: it took a third of a gateway's time. Knows who shares a buffer,
 * not who still reads it: that is for whoever frees.
 */

/** A frame of gRPC has its head in one buffer with its message. */
const FRAME_HEAD_BYTE_LENGTH = 5;

/** True where nothing else is in their buffer that anybody reads; what Node cuts out of its pool shares one. */
function isAlone(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  const { buffer, byteLength } = bytes;
  return buffer instanceof ArrayBuffer && buffer.byteLength - byteLength <= FRAME_HEAD_BYTE_LENGTH;
}

/** The same bytes in a buffer that can be given away whole: their own, or a new one. */
export function ownBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return isAlone(bytes) ? bytes : new Uint8Array(bytes);
}

/** Frees bytes that nobody reads again, or leaves them to the garbage collector where they share a buffer. */
export function freeBytes(bytes: Uint8Array): void {
  if (isAlone(bytes) && !bytes.buffer.detached) bytes.buffer.transfer(0);
}

/** Frees the buffers that parts were cut out of, however many share one: nobody may read any of those parts again. */
export function freeParts(parts: readonly Uint8Array[]): void {
  for (const { buffer } of parts) {
    if (buffer instanceof ArrayBuffer && !buffer.detached) buffer.transfer(0);
  }
}

/** One behind the other, in a buffer of their own; the chunks are freed. */
export function joinBytes(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const [first] = chunks;
  if (chunks.length === 1 && first !== undefined) return ownBytes(first);
  const bytes = new Uint8Array(chunks.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  // Only now: of two that stand in one buffer, the first may fill all but the last bytes of it.
  for (const chunk of chunks) freeBytes(chunk);
  return bytes;
}
