// SPDX-License-Identifier: Apache-2.0
/**
 * Segments: records one behind the other, header then stored bytes, with nothing between, before or after.
 * Finds where records are; what is in them is checked elsewhere. FORMAT.md, "Segment".
 */
import { refuse } from './errors.ts';
import { headerEnd, parseHeader, type RecordHeader } from './header.ts';

/** One record as it lies in a segment. */
export interface Frame {
  readonly header: RecordHeader;
  readonly headerBytes: Uint8Array;
  /** The stored (compressed) payload. */
  readonly stored: Uint8Array;
  /** Byte range in the segment. */
  readonly start: number;
  readonly end: number;
}

const NAME = /^([0-9]{20})\.seg$/;

/** File name of the segment whose first record has this index: twenty digits, so that names sort as numbers do. */
export function segmentName(firstIndex: number): string {
  return `${String(firstIndex).padStart(20, '0')}.seg`;
}

/** First record index of a segment by its file name; undefined where the name is no segment's. */
export function parseSegmentName(name: string): number | undefined {
  const found = NAME.exec(name);
  if (found === null) return undefined;
  const index = Number(found[1]);
  return Number.isSafeInteger(index) ? index : undefined;
}

/**
 * Reads the record at `start`; undefined where the segment ends in the middle of it (a torn tail, or more to come).
 * @throws LogError `header.syntax`, `header.too-long`, `bytes.base64`: these bytes are no record, whatever follows
 */
export function readFrame(segment: Uint8Array, start: number): Frame | undefined {
  const storedStart = headerEnd(segment, start);
  if (storedStart === undefined) return undefined;
  const headerBytes = segment.subarray(start, storedStart);
  const header = parseHeader(headerBytes);
  const end = storedStart + header.storedByteLength;
  if (end > segment.length) return undefined;
  return { header, headerBytes, stored: segment.subarray(storedStart, end), start, end };
}

/**
 * All records of a whole segment.
 * @throws LogError as {@link readFrame}; `segment.truncated` where bytes are left over
 */
export function* readFrames(segment: Uint8Array): Generator<Frame, void, undefined> {
  for (let at = 0; at < segment.length; ) {
    const frame = readFrame(segment, at);
    if (frame === undefined)
      refuse('segment.truncated', 'segment: ends in the middle of a record', at);
    yield frame;
    at = frame.end;
  }
}
