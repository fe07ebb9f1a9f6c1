// SPDX-License-Identifier: Apache-2.0
/**
 * Signing keys: the only module that ever holds a private key. Reads or creates Ed25519 keys, signs, and gives out
 * public parts. Can not keep a key from whoever reads this process or its files; a key beside the log it signs proves
 * nothing against the owner of the disk.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  randomBytes,
  randomUUID,
  sign,
  verify,
} from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { constants, zstdDecompressSync } from 'node:zlib';
import { createVerifier, encodeVerifier, type Verifier } from '../../log/note.ts';
import type { Primitives } from '../../log/record.ts';
import { nodeFiles } from './files.ts';

export interface Signer {
  readonly verifier: Verifier;
  /** `name+id+key`, the public line to hand to verifiers. */
  readonly vkey: string;
  sign(message: Uint8Array): Uint8Array;
}

export function sha256(bytes: Uint8Array): Uint8Array {
  // By way of a string: an object for each hash, or a buffer from the outside, costs three times the hash of a tree's node.
  return Buffer.from(hash('sha256', bytes, 'latin1'), 'latin1');
}

/** DER of an Ed25519 SubjectPublicKeyInfo up to the key itself (RFC 8410 section 4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** What the log core needs from Node. */
export const nodePrimitives: Primitives = {
  sha256,
  inflate: (stored, byteLength) => {
    const { buffer, byteOffset, length } = zstdDecompressSync(stored, {
      // One byte more would be a lie of the header; the core compares the length.
      maxOutputLength: Math.max(1, byteLength),
      // One buffer as large as what comes out, instead of many to be joined.
      chunkSize: Math.max(constants.Z_MIN_CHUNK, byteLength + 1),
      params: { [constants.ZSTD_d_windowLogMax]: 23 },
    });
    // Not as the Buffer that it is: cutting entries out of one of those takes twice as long.
    return new Uint8Array(buffer, byteOffset, length);
  },
  verifyEd25519: (publicKey, message, signature) => {
    const key = createPublicKey({
      key: Buffer.concat([SPKI_PREFIX, publicKey]),
      format: 'der',
      type: 'spki',
    });
    return verify(null, message, key, signature);
  },
};

function rawPublicKey(key: KeyObject): Uint8Array {
  const der = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return new Uint8Array(der.subarray(SPKI_PREFIX.length));
}

/**
 * Signer of one log from a PKCS #8 PEM.
 * @throws TypeError where the text is no Ed25519 private key; the text itself is never in the message
 */
export function parseSigner(origin: string, pem: string): Signer {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    throw new TypeError('key: not a private key in PEM (PKCS #8); make one with `sealspan keygen`');
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new TypeError(
      `key: ${key.asymmetricKeyType}, not ed25519; make one with \`sealspan keygen\``,
    );
  }
  const verifier = createVerifier(sha256, origin, rawPublicKey(key));
  return {
    verifier,
    vkey: encodeVerifier(verifier),
    sign: (message) => new Uint8Array(sign(null, message, key)),
  };
}

/** A new Ed25519 private key as PEM. */
export function generateKeyPem(): string {
  return generateKeyPairSync('ed25519')
    .privateKey.export({ format: 'pem', type: 'pkcs8' })
    .toString();
}

/**
 * Writes a secret that must not be there yet, 0600, whole and durable.
 * @throws Error with code EEXIST rather than overwrite: an overwritten key orphans its log
 */
export function writeSecret(path: string, text: string): void {
  // A name of its own for each attempt: of two at once, none can name what the other has half written.
  const unfinished = `${path}.${randomUUID()}`;
  try {
    const file = openSync(unfinished, 'wx', 0o600);
    try {
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    // A crash up to here leaves a secret that nothing was ever made with, under a name that nobody reads. link, not
    // rename: it refuses where the name is taken, so that of two processes one gets its own and the other learns of it.
    linkSync(unfinished, path);
  } catch (error) {
    // Node names the two files of the link; to who asked, there is one.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    throw Object.assign(new Error(`EEXIST: file already exists, open '${path}'`), {
      code: 'EEXIST',
    });
  } finally {
    rmSync(unfinished, { force: true });
  }
  // A crash before this may lose the name, before anything was signed or digested with what it names.
  nodeFiles.syncDirectory(dirname(path));
}

/**
 * Reads a secret file.
 * @throws Error where others than its owner can read it: that key is no secret any more
 */
export function readSecret(path: string): string {
  const file = openSync(path, 'r');
  try {
    // Of the open file, not of its name: a mounted secret is often a link, and a name can change in between.
    const mode = fstatSync(file).mode & 0o777;
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new Error(
        `${path} can be read by others (mode ${mode.toString(8)}); run: chmod 600 ${path}`,
      );
    }
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

/** The secret that content digests are keyed with, and its name. */
export interface DigestSecret {
  readonly id: string;
  readonly secret: Uint8Array;
}

/**
 * Reads the digest key of a directory, or makes it on first run. It is not the signing key: whoever holds it can
 * guess short contents from their digests, and destroying it leaves the digests without meaning.
 */
export function openDigestKey(path: string): DigestSecret {
  try {
    writeSecret(path, `${randomBytes(32).toString('base64')}\n`);
  } catch (error) {
    // Another process was first, today or years ago: there is one key for all of them.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  const text = readSecret(path).trim();
  if (text === '') throw new Error(`${path} is empty: delete it, and the next start makes one`);
  const secret = Buffer.from(text, 'base64');
  if (secret.length < 32)
    throw new Error(`${path} holds no digest key: it must be 32 bytes in base64`);
  return { id: `sha256:${Buffer.from(sha256(secret)).toString('hex', 0, 8)}`, secret };
}
