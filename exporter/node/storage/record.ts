// SPDX-License-Identifier: Apache-2.0
/**
 * Makes one record out of entries: compressed, hashed, headed, as one frame; and finds one in any bytes. Writes nothing,
 * and decides neither index nor time; what it returns is what FORMAT.md calls a record, whoever keeps it.
 */
import { constants, zstdCompressSync } from 'node:zlib';
import { equalBytes } from '../../log/bytes.ts';
import {
  encodeHeader,
  headerEnd,
  parseHeader,
  type RecordHeader,
  type RecordSource,
} from '../../log/header.ts';
import { type Hash, leafHash, rootOf } from '../../log/merkle.ts';
import { readFrame } from '../../log/segment.ts';
import type { OtlpKind } from '../otlp/otlp-config.ts';
import type { EntrySource } from '../otlp/references.ts';
import { sha256 } from '../system/keys.ts';

/** A durable record, as its consumers see it. */
export interface StoredRecord {
  readonly index: number;
  readonly kind: OtlpKind | 'control';
  readonly source: EntrySource;
  readonly entries: readonly Uint8Array[];
  readonly leaves: readonly Uint8Array[];
}

/** A segment that will never change again. */
export interface FinishedSegment {
  readonly firstIndex: number;
  /** Index of the first record behind it: the one its successor begins with. */
  readonly nextIndex: number;
  readonly path: string;
  readonly byteLength: number;
}

/** A record as its writer and the writer's consumers need it. */
export interface EncodedRecord {
  readonly header: RecordHeader;
  readonly headerBytes: Uint8Array;
  /** Header and stored bytes, as they stand in a segment. */
  readonly frame: Uint8Array;
  readonly leaves: readonly Hash[];
}

/** Level 1: the payload is on its way to a disk that costs less than the core. */
const COMPRESSION_LEVEL = 1;

/**
 * @param place what the writer decides: log, index, link, time, source and kind
 * @param entries as `splitRequest` or `encodeControl` make them
 */
export function encodeRecord(
  place: Pick<RecordHeader, 'log' | 'index' | 'prev' | 'sealed' | 'source' | 'kind'>,
  entries: readonly Uint8Array[],
): EncodedRecord {
  const payload = joined(entries);
  const stored = compress(payload);
  const leaves = entries.map((entry) => leafHash(sha256, entry));
  const header: RecordHeader = {
    ...place,
    payloadByteLength: payload.length,
    storedByteLength: stored.length,
    storedHash: sha256(stored),
    entryCount: entries.length,
    root: rootOf(sha256, leaves),
  };
  const headerBytes = encodeHeader(header);
  return { header, headerBytes, frame: Buffer.concat([headerBytes, stored]), leaves };
}

const MIN_CHUNK_BYTE_LENGTH = 1024;
const SCRATCH_BYTE_LENGTH_MAX = 8 * 1024 * 1024;
let scratch = new Uint8Array(64 * 1024);

/**
 * The payload, until the next is asked for: it is compressed at once, and not kept. Memory of its own for each would have
 * the garbage collector called for that alone, as it counts what lies outside of its heap.
 */
function joined(entries: readonly Uint8Array[]): Uint8Array {
  const byteLength = entries.reduce((sum, { length }) => sum + length, 0);
  if (byteLength > SCRATCH_BYTE_LENGTH_MAX) return Buffer.concat(entries);
  if (byteLength > scratch.length) scratch = new Uint8Array(2 ** Math.ceil(Math.log2(byteLength)));
  let at = 0;
  for (const entry of entries) {
    scratch.set(entry, at);
    at += entry.length;
  }
  return scratch.subarray(0, at);
}

/** Compresses one payload into one frame that says its size (FORMAT.md, "Stored bytes"). */
function compress(payload: Uint8Array): Uint8Array {
  return zstdCompressSync(payload, {
    pledgedSrcSize: payload.length,
    // Most payloads come out as less than half, and so in one piece.
    chunkSize: Math.max(MIN_CHUNK_BYTE_LENGTH, payload.length >> 1),
    params: {
      [constants.ZSTD_c_compressionLevel]: COMPRESSION_LEVEL,
      [constants.ZSTD_c_contentSizeFlag]: 1,
      [constants.ZSTD_c_windowLog]: 20,
    },
  });
}

/**
 * The header that bytes begin with.
 * @throws LogError, Error where it is none, or cut off
 */
export function headerOf(bytes: Uint8Array): {
  readonly header: RecordHeader;
  readonly headerBytes: Uint8Array;
} {
  const end = headerEnd(bytes, 0);
  if (end === undefined) throw new Error('the header is cut off');
  const headerBytes = bytes.slice(0, end);
  return { header: parseHeader(headerBytes), headerBytes };
}

/** True where a whole record with matching stored bytes stands anywhere behind `at`: then `at` is no torn tail. */
export function followedByFrame(bytes: Uint8Array, at: number): boolean {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let next = view.indexOf('sealspan/record@v1\n', at + 1); next >= 0; ) {
    try {
      const frame = readFrame(bytes, next);
      if (frame !== undefined && equalBytes(sha256(frame.stored), frame.header.storedHash))
        return true;
    } catch {
      // Not a record: payload bytes can spell anything.
    }
    next = view.indexOf('sealspan/record@v1\n', next + 1);
  }
  return false;
}

/** Whether two sources are the same: one record holds one source (format attack 13). */
export function equalSources(a: RecordSource, b: RecordSource): boolean {
  return (
    a.kind === b.kind &&
    a.policy === b.policy &&
    (a.principal === undefined
      ? b.principal === undefined
      : b.principal !== undefined && equalBytes(a.principal, b.principal))
  );
}
