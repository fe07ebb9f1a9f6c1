// SPDX-License-Identifier: Apache-2.0
// Goal: a private key is readable by its owner alone and is in no error; what is no key is refused with the fix. Method:
// real files and modes; signatures judged by node:crypto and by published vectors.
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import {
  chmodSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { sha256 as portableSha256 } from '@noble/hashes/sha2.js';
import { afterAll, describe, expect, test } from 'vitest';
import { parseVerifier } from '../exporter/log/note.ts';
import {
  generateKeyPem,
  nodePrimitives,
  openDigestKey,
  parseSigner,
  readSecret,
  sha256,
  writeSecret,
} from '../exporter/node/system/keys.ts';

const home = mkdtempSync(join(tmpdir(), 'sealspan-keys-'));
afterAll(() => rmSync(home, { recursive: true }));

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

function messageOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return 'accepted';
}

describe('a signer', () => {
  const pem = generateKeyPem();
  const signer = parseSigner('example.org/log', pem);

  test('signs what its public line verifies, and nothing else', async () => {
    const { publicKey, name } = parseVerifier(sha256, signer.vkey);
    const signature = signer.sign(bytes('text'));
    expect(name).toBe('example.org/log');
    expect(signature.length).toBe(64);
    expect(verify(null, bytes('text'), createPublicKey(pem), signature)).toBe(true);
    const holds = (message: string): unknown =>
      nodePrimitives.verifyEd25519(publicKey, bytes(message), signature);
    expect([await holds('text'), await holds('texts')]).toEqual([true, false]);
    expect(await nodePrimitives.verifyEd25519(publicKey, bytes('text'), signature.with(9, 0))).toBe(
      false,
    );
  });

  test('is the same from the same key, and another of another origin', () => {
    expect(parseSigner('example.org/log', pem).vkey).toBe(signer.vkey);
    expect(parseSigner('example.org/other', pem).verifier.keyId).not.toEqual(signer.verifier.keyId);
    expect(generateKeyPem()).not.toBe(pem);
  });

  test('shows no private part: neither by its fields nor as JSON', () => {
    const secret = pem.split('\n')[1]!;
    expect(JSON.stringify(signer)).not.toContain(secret);
    expect(Object.keys(signer)).toEqual(['verifier', 'vkey', 'sign']);
  });

  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ed = generateKeyPairSync('ed25519');
  const exported = (key: typeof rsa.privateKey): string =>
    key.export({ format: 'pem', type: 'pkcs8' }).toString();
  const NO_PEM = 'key: not a private key in PEM (PKCS #8); make one with `sealspan keygen`';
  const other = (type: string): string =>
    `key: ${type}, not ed25519; make one with \`sealspan keygen\``;

  test.each([
    ['nothing', '', NO_PEM],
    ['words', 'correct horse battery staple', NO_PEM],
    ['a key cut off', pem.slice(0, 60), NO_PEM],
    ['a flipped character', pem.replace('MC4', 'XC4'), NO_PEM],
    ['a public key', ed.publicKey.export({ format: 'pem', type: 'spki' }).toString(), NO_PEM],
    [
      'a key under a passphrase',
      ed.privateKey
        .export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' })
        .toString(),
      NO_PEM,
    ],
    ['RSA', exported(rsa.privateKey), other('rsa')],
    ['P-256', exported(ec.privateKey), other('ec')],
    ['X25519', exported(generateKeyPairSync('x25519').privateKey), other('x25519')],
    ['Ed448', exported(generateKeyPairSync('ed448').privateKey), other('ed448')],
  ])('is not made of %s, and the text is not in the message', (_name, text, message) => {
    expect(messageOf(() => parseSigner('example.org/log', text))).toBe(message);
  });
});

describe('secret files', () => {
  test('are made 0600 whatever the umask, and never overwritten', () => {
    const path = join(home, 'new.pem');
    const umask = process.umask(0);
    try {
      writeSecret(path, 'secret\n');
    } finally {
      process.umask(umask);
    }
    expect([modeOf(path), readSecret(path)]).toEqual(['600', 'secret\n']);
    expect(messageOf(() => writeSecret(path, 'other'))).toBe(
      `EEXIST: file already exists, open '${path}'`,
    );
    expect(readSecret(path)).toBe('secret\n');
  });

  test.each([0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o666])(
    'of mode %o are refused, without their text',
    (mode) => {
      const path = join(home, `mode-${mode}`);
      writeFileSync(path, 'hunter2');
      chmodSync(path, mode);
      expect(messageOf(() => readSecret(path))).toBe(
        `${path} can be read by others (mode ${mode.toString(8)}); run: chmod 600 ${path}`,
      );
    },
  );

  test.each([0o600, 0o400])('of mode %o are read', (mode) => {
    const path = join(home, `good-${mode}`);
    writeFileSync(path, 'hunter2');
    chmodSync(path, mode);
    expect(readSecret(path)).toBe('hunter2');
  });

  test('are judged by the file that is read, not by the link to it', () => {
    const open = join(home, 'open');
    writeFileSync(open, 'hunter2');
    chmodSync(open, 0o644);
    const closed = join(home, 'closed');
    writeFileSync(closed, 'hunter2');
    chmodSync(closed, 0o600);
    for (const [target, name] of [
      [open, 'to-open'],
      [closed, 'to-closed'],
    ] as const) {
      symlinkSync(target, join(home, name));
      linkSync(target, join(home, `hard-${name}`));
    }
    expect(messageOf(() => readSecret(join(home, 'to-open')))).toContain('can be read by others');
    expect(messageOf(() => readSecret(join(home, 'hard-to-open')))).toContain('can be read by');
    expect(readSecret(join(home, 'to-closed'))).toBe('hunter2');
  });
});

describe('the digest key', () => {
  test('is made once, 0600, and found again', () => {
    const path = join(home, 'digest.key');
    const made = openDigestKey(path);
    expect(made.secret.length).toBe(32);
    expect(made.id).toMatch(/^sha256:[0-9a-f]{16}$/);
    expect(modeOf(path)).toBe('600');
    expect(openDigestKey(path)).toEqual(made);
    expect(made.id).not.toContain(readFileSync(path, 'utf8').slice(0, 8));
  });

  test('of too few bytes, or open to others, is refused without its text', () => {
    const path = join(home, 'short.key');
    writeSecret(path, 'aHVudGVyMg==\n');
    expect(messageOf(() => openDigestKey(path))).toBe(
      `${path} holds no digest key: it must be 32 bytes in base64`,
    );
    chmodSync(path, 0o644);
    expect(messageOf(() => openDigestKey(path))).toContain('can be read by others');
  });
});

test('a secret that could not be finished is in no way of the next', () => {
  const path = join(home, 'left.key');
  writeFileSync(`${path}.0a6f`, '', { mode: 0o600 });
  expect(openDigestKey(path).secret.length).toBe(32);
  writeFileSync(path, '');
  chmodSync(path, 0o600);
  expect(messageOf(() => openDigestKey(path))).toBe(
    `${path} is empty: delete it, and the next start makes one`,
  );
  rmSync(path);
  expect(openDigestKey(path).secret.length).toBe(32);
});

describe('primitives', () => {
  test('SHA-256 is that of the portable library', () => {
    for (const length of [0, 1, 55, 56, 63, 64, 65, 1000]) {
      const data = Uint8Array.from({ length }, (_, at) => at % 256);
      expect(new Uint8Array(sha256(data))).toEqual(portableSha256(data));
    }
  });

  // RFC 8032 section 7.1, tests 1 and 2.
  test.each([
    [
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
      '',
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
    ],
    [
      '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
      '72',
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    ],
  ])('Ed25519 of RFC 8032: %s', async (key, message, signature) => {
    const parts = [key, message, signature].map((hex) => Uint8Array.from(Buffer.from(hex, 'hex')));
    const [publicKey, text, good] = parts as [Uint8Array, Uint8Array, Uint8Array];
    expect(await nodePrimitives.verifyEd25519(publicKey, text, good)).toBe(true);
    const bad = good.with(0, good[0]! ^ 1);
    expect(await nodePrimitives.verifyEd25519(publicKey, text, bad)).toBe(false);
  });

  test('inflating stops at the stated length', async () => {
    const data = new Uint8Array(100_000).fill(7);
    const stored = zstdCompressSync(data);
    expect((await nodePrimitives.inflate(stored, data.length)).length).toBe(data.length);
    expect(() => nodePrimitives.inflate(stored, data.length - 1)).toThrow();
  });
});
