// SPDX-License-Identifier: Apache-2.0
// Goal: a sender is who its credentials say, and nobody is turned away for good while that can not be decided. Method:
// tables of credentials against clients, tokens that change or vanish on disk, and a clock that the test moves.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { ClientSettings } from '../exporter/node/config/gateway-config.ts';
import { openClients } from '../exporter/node/gateway/gateway-clients.ts';

const dir = mkdtempSync(join(tmpdir(), 'sealspan-'));
afterAll(() => rmSync(dir, { recursive: true }));

const sha256 = (data: string | Uint8Array): Buffer => createHash('sha256').update(data).digest();
const CERTIFICATE = Buffer.from('der of a certificate');
const ENV = { TOKEN_A: ' alpha-token\n', TOKEN_B: 'beta-token', EMPTY: ' ' };
const A: ClientSettings = { id: 'a', token: { env: 'TOKEN_A' } };
const B: ClientSettings = { id: 'b', token: { env: 'TOKEN_B' }, source: 'collector' };
const C: ClientSettings = {
  id: 'c',
  certificate: sha256(CERTIFICATE).toString('hex'),
  source: 'collector',
};

const open = (settings: readonly ClientSettings[]) => openClients(settings, ENV, () => 0);
const known = (kind: string, principal: Uint8Array | undefined) => ({
  status: 'known',
  sender: { kind, principal },
});
const UNKNOWN = { status: 'unknown' };

test.each<[string, readonly ClientSettings[], string | undefined, Uint8Array | undefined, unknown]>(
  [
    ['nobody asks', [], undefined, undefined, known('direct', undefined)],
    ['a token that nobody asks for', [], 'Bearer x', undefined, known('direct', undefined)],
    ['any certificate of the CA', [], undefined, CERTIFICATE, known('direct', sha256(CERTIFICATE))],
    [
      'a certificate known by name',
      [C],
      undefined,
      CERTIFICATE,
      known('collector', sha256(CERTIFICATE)),
    ],
    ['another of the CA', [C], undefined, Buffer.from('x'), known('direct', sha256('x'))],
    ['a token', [A, B], 'Bearer alpha-token', undefined, known('direct', sha256('a'))],
    [
      'a token with its own source',
      [A, B],
      'Bearer beta-token',
      undefined,
      known('collector', sha256('b')),
    ],
    [
      'a token in any case of the scheme',
      [A],
      'bearer  alpha-token ',
      undefined,
      known('direct', sha256('a')),
    ],
    ['no token', [A], undefined, undefined, UNKNOWN],
    ['a wrong token', [A, B], 'Bearer alpha-toke', undefined, UNKNOWN],
    ['the name instead of the token', [A], 'Bearer a', undefined, UNKNOWN],
    ['another scheme', [A], 'Basic alpha-token', undefined, UNKNOWN],
    ['an empty token', [A], 'Bearer ', undefined, UNKNOWN],
    [
      'a token beside a certificate',
      [A, C],
      'Bearer alpha-token',
      CERTIFICATE,
      known('direct', sha256('a')),
    ],
    ['a wrong token beside a certificate', [A, C], 'Bearer x', CERTIFICATE, UNKNOWN],
    [
      'a named certificate where others have tokens',
      [A, C],
      undefined,
      CERTIFICATE,
      known('collector', sha256(CERTIFICATE)),
    ],
    [
      'a certificate without a name where tokens are asked for',
      [A],
      undefined,
      CERTIFICATE,
      UNKNOWN,
    ],
  ],
)('%s', (_name, settings, authorization, certificate, expected) => {
  expect(open(settings).identify(authorization, certificate, 'direct')).toEqual(expected);
});

test('what a listener says of its clients holds for those without a word of their own', () => {
  const clients = open([A, B]);
  expect(clients.identify('Bearer alpha-token', undefined, 'collector')).toEqual(
    known('collector', sha256('a')),
  );
});

test.each<[string, ClientSettings['token'], string]>([
  ['an empty variable', { env: 'EMPTY' }, 'it is empty or not there'],
  ['no such variable', { env: 'NO_SUCH' }, 'it is empty or not there'],
  ['no such file', { file: join(dir, 'none') }, 'ENOENT'],
])('%s is told at the start', (_name, token, cause) => {
  expect(() => open([{ id: 'a', token }])).toThrow(
    new RegExp(`^gateway.clients: the token of a can not be read: .*${cause}`),
  );
});

describe('a token that changes', () => {
  const path = join(dir, 'token');
  const setUp = () => {
    writeFileSync(path, 'first\n');
    let nowMs = 0;
    const clients = openClients([{ id: 'a', token: { file: path } }], {}, () => nowMs);
    return {
      at: (ms: number, token: string) => {
        nowMs = ms;
        return clients.identify(`Bearer ${token}`, undefined, 'direct').status;
      },
    };
  };

  test('is taken from the first request that brings it, a second after the last look', () => {
    const { at } = setUp();
    writeFileSync(path, 'second');
    expect(at(999, 'second')).toBe('unknown');
    expect(at(1000, 'second')).toBe('known');
    expect(at(1000, 'first')).toBe('unknown');
  });

  test('is taken back within five seconds', () => {
    const { at } = setUp();
    writeFileSync(path, 'second');
    expect(at(4999, 'first')).toBe('known');
    expect(at(5000, 'first')).toBe('unknown');
  });

  test('stays good while it can not be read, and no other is turned away for good', () => {
    const { at } = setUp();
    rmSync(path);
    expect(at(5000, 'first')).toBe('known');
    expect(at(5000, 'second')).toBe('unsure');
    writeFileSync(path, 'second');
    expect(at(6000, 'second')).toBe('known');
    expect(at(6000, 'third')).toBe('unknown');
  });
});
