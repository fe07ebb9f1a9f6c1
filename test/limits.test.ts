// SPDX-License-Identifier: Apache-2.0
// Goal: limits fit each other and those of the formats around ours, and every way to refuse bytes is provoked by a test.
// Method: the values as published, inequalities with their reason, the real extremes built; the codes read from source.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { describe, expect, test } from 'vitest';
import { encodeControl } from '../exporter/log/control.ts';
import { encodeHeader } from '../exporter/log/header.ts';
import * as limits from '../exporter/log/limits.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const hash = new Uint8Array(32).fill(0xff);

describe('limits', () => {
  test('are these: a change is a change of the format', () => {
    expect({ ...limits }).toEqual({
      HEADER_BYTE_LENGTH_MAX: 4 * KIB,
      HEADER_LINE_COUNT: 9,
      REQUEST_BYTE_LENGTH_MAX: 64 * MIB,
      PAYLOAD_BYTE_LENGTH_MAX: 128 * MIB,
      STORED_BYTE_LENGTH_MAX: 129 * MIB,
      ZSTD_WINDOW_BYTE_LENGTH_MAX: 8 * MIB,
      ENTRY_COUNT_MAX: 64 * KIB,
      REQUEST_ENTRY_COUNT_MAX: 128 * KIB,
      AMPLIFICATION_SLACK_BYTE_LENGTH: 64 * MIB,
      AMPLIFICATION_FACTOR: 4,
      MESSAGE_DEPTH_MAX: 90,
      SEGMENT_BYTE_LENGTH_MAX: 256 * MIB,
      NOTE_BYTE_LENGTH_MAX: 128 * KIB,
      NOTE_SIGNATURE_COUNT_MAX: 32,
      CONTROL_TEXT_LENGTH_MAX: 1024,
      RECOVERED_BYTE_LENGTH_MAX: MIB,
      FINDING_COUNT_MAX: 100,
      PROOF_LENGTH_MAX: 63,
      NUMBER_RANGE_COUNT_MAX: 64 * KIB,
    });
  });

  test.each<[string, number, number]>([
    [
      'a payload holds any single entry: an entry is never longer than its request',
      limits.REQUEST_BYTE_LENGTH_MAX,
      limits.PAYLOAD_BYTE_LENGTH_MAX,
    ],
    [
      'a stored frame holds any payload, by the bound that libzstd states for bytes without pattern',
      limits.PAYLOAD_BYTE_LENGTH_MAX + limits.PAYLOAD_BYTE_LENGTH_MAX / 256 + 64 * KIB,
      limits.STORED_BYTE_LENGTH_MAX,
    ],
    [
      'a segment holds any single record',
      limits.HEADER_BYTE_LENGTH_MAX + limits.STORED_BYTE_LENGTH_MAX,
      limits.SEGMENT_BYTE_LENGTH_MAX,
    ],
    ['a header is an entry of a C2SP log', limits.HEADER_BYTE_LENGTH_MAX, 65_535],
    [
      'a note holds 16 signatures of 5 kB in base64, and a checkpoint',
      16 * (5 * KIB * (4 / 3) + 300) + limits.HEADER_BYTE_LENGTH_MAX,
      limits.NOTE_BYTE_LENGTH_MAX,
    ],
    ['C2SP asks for 16 signatures', 16, limits.NOTE_SIGNATURE_COUNT_MAX],
    ['a proof reaches the root of 2^53 leaves', 53, limits.PROOF_LENGTH_MAX],
    ['protobufjs reads what we accept', limits.MESSAGE_DEPTH_MAX, protobuf.Reader.recursionLimit],
    ['other decoders read what we accept', limits.MESSAGE_DEPTH_MAX, 100],
  ])('%s', (_name, needed, given) => {
    expect(needed).toBeLessThanOrEqual(given);
  });

  test('the longest header there is fits', () => {
    const longest = encodeHeader({
      log: 'a'.repeat(200),
      index: Number.MAX_SAFE_INTEGER,
      prev: hash,
      sealed: '2026-11-23T12:34:56.789Z',
      source: { kind: 'in-process', principal: hash, policy: 'a'.repeat(200) },
      kind: 'traces',
      payloadByteLength: limits.PAYLOAD_BYTE_LENGTH_MAX,
      storedByteLength: limits.STORED_BYTE_LENGTH_MAX,
      storedHash: hash,
      entryCount: limits.ENTRY_COUNT_MAX,
      root: hash,
    });
    expect(longest.length).toBeLessThan(limits.HEADER_BYTE_LENGTH_MAX);
    expect(Buffer.from(longest).toString().split('\n')).toHaveLength(limits.HEADER_LINE_COUNT + 1);
  });

  test('the longest control event there is fits a payload', () => {
    const longest = encodeControl(
      {
        name: 'recovered',
        segment: Number.MAX_SAFE_INTEGER,
        offset: Number.MAX_SAFE_INTEGER,
        byteLength: Number.MAX_SAFE_INTEGER,
        sha256: hash,
        cut: new Uint8Array(limits.RECOVERED_BYTE_LENGTH_MAX),
      },
      0,
    );
    expect(longest.length).toBeLessThan(limits.PAYLOAD_BYTE_LENGTH_MAX);
  });
});

describe('codes of refusal', () => {
  const root = join(import.meta.dirname, '..');
  const read = (path: string): string => readFileSync(join(root, path), 'utf8');
  const union = /type LogErrorCode =([^;]*);/.exec(read('exporter/log/errors.ts'))?.[1] ?? '';
  const codes = [...union.matchAll(/'([a-z0-9.-]+)'/g)].map((match) => match[1]!);
  const modules = readdirSync(join(root, 'exporter/log')).filter((name) => name.endsWith('.ts'));
  const sources = modules
    .filter((name) => name !== 'errors.ts')
    .map((name) => `exporter/log/${name}`);
  const tests = readdirSync(join(root, 'test')).filter(
    (name) => modules.includes(name.replace('.test.ts', '.ts')) && name !== 'limits.test.ts',
  );

  test('are read', () => {
    expect(codes).toContain('otlp.amplification');
    expect(tests).toContain('entries.test.ts');
  });

  test.each(codes)('%s is given by the core, and a test provokes it', (code) => {
    const holds = (path: string): boolean => read(path).includes(`'${code}'`);
    expect(sources.filter(holds)).not.toEqual([]);
    expect(tests.map((name) => `test/${name}`).filter(holds)).not.toEqual([]);
  });
});
