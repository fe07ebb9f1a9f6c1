// SPDX-License-Identifier: Apache-2.0
// Goal: a record says of itself what is true of its bytes. Method: its frame read back by the log core, field by field;
// payloads that compress and that do not.
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { splitPayload } from '../exporter/log/entries.ts';
import { encodeHeader, type RecordSource, WRITER_SOURCE } from '../exporter/log/header.ts';
import { leafHash, NO_LINK, rootOf } from '../exporter/log/merkle.ts';
import { readFrame } from '../exporter/log/segment.ts';
import { checkStoredFrame } from '../exporter/log/stored.ts';
import { encodeRecord, equalSources } from '../exporter/node/storage/record.ts';
import { nodePrimitives, sha256 } from '../exporter/node/system/keys.ts';
import { IN_PROCESS, spanEntries } from './support/small-log.ts';

const PLACE = {
  log: 'example.org/audit/record',
  index: 3,
  prev: NO_LINK,
  sealed: '2026-11-23T10:00:00.000Z',
  source: IN_PROCESS,
  kind: 'traces',
} as const;

describe.each<[what: string, entries: readonly Uint8Array[]]>([
  ['one span', spanEntries('chat')],
  ['spans that are alike', spanEntries(...Array.from({ length: 500 }, () => 'chat'))],
  ['a span that does not compress', spanEntries(randomBytes(50_000).toString('base64'))],
])('a record of %s', (_what, entries) => {
  const { header, headerBytes, frame, leaves } = encodeRecord(PLACE, entries);

  test('reads back as it was made', () => {
    const read = readFrame(frame, 0);
    expect(read === undefined ? undefined : encodeHeader(read.header)).toEqual(headerBytes);
    expect(read?.end).toBe(frame.length);
  });

  test('states its length, hash, count and root', async () => {
    const stored = frame.subarray(headerBytes.length);
    const payload = Buffer.concat(entries);
    expect(header).toEqual({
      ...PLACE,
      payloadByteLength: payload.length,
      storedByteLength: stored.length,
      storedHash: sha256(stored),
      entryCount: entries.length,
      root: rootOf(sha256, leaves),
    });
    expect(leaves).toEqual(entries.map((entry) => leafHash(sha256, entry)));
    expect(() => checkStoredFrame(stored, payload.length)).not.toThrow();
    const inflated = await nodePrimitives.inflate(stored, payload.length);
    expect(splitPayload(inflated, 'traces').map((entry) => Buffer.from(entry))).toEqual(
      entries.map((entry) => Buffer.from(entry)),
    );
  });
});

describe('equal sources', () => {
  const base: RecordSource = {
    kind: 'direct',
    principal: new Uint8Array(32).fill(1),
    policy: 'verbatim',
  };
  test.each<[string, Partial<RecordSource>, boolean]>([
    ['the same', {}, true],
    ['a copy of the principal', { principal: new Uint8Array(32).fill(1) }, true],
    ['another kind', { kind: 'collector' }, false],
    ['another principal', { principal: new Uint8Array(32).fill(2) }, false],
    ['no principal', { principal: undefined }, false],
    ['another policy', { policy: 'redacted' }, false],
  ])('%s', (_name, change, equal) => {
    expect(equalSources(base, { ...base, ...change })).toBe(equal);
    expect(equalSources({ ...base, ...change }, base)).toBe(equal);
  });

  test('two of nobody', () => {
    expect(equalSources(WRITER_SOURCE, { ...WRITER_SOURCE })).toBe(true);
  });
});
