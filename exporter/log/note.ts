// SPDX-License-Identifier: Apache-2.0
/**
 * C2SP signed notes and tlog checkpoints, byte for byte: text, a blank line, signature lines.
 * Says which known keys signed a text; whose keys these are is the caller's trust, never the note's word.
 * c2sp.org/signed-note@v1.0.0, c2sp.org/tlog-checkpoint; FORMAT.md, "Checkpoint".
 */
import {
  concat,
  decodeBase64,
  decodeUtf8,
  encodeBase64,
  encodeHex,
  equalBytes,
  fromLatin1,
  latin1,
  parseDecimal,
} from './bytes.ts';
import { refuse } from './errors.ts';
import { isOrigin } from './header.ts';
import { NOTE_BYTE_LENGTH_MAX, NOTE_SIGNATURE_COUNT_MAX } from './limits.ts';
import { HASH_BYTE_LENGTH, type Hash, type Sha256 } from './merkle.ts';

const ED25519 = 0x01;
const KEY_ID_BYTE_LENGTH = 4;
const ED25519_KEY_BYTE_LENGTH = 32;
const ED25519_SIGNATURE_BYTE_LENGTH = 64;
/** `— ` (U+2014 and a space) in UTF-8, read as one character per byte. */
const SIGNATURE_MARK = '\u00e2\u0080\u0094 ';
/** Not empty, no plus, and no space of Unicode (U+0085 is one there, and none in JavaScript's `\s`). */
const KEY_NAME = /^[^+\s\u0085]+$/u;

/** A name and a public key that its holder's notes are checked with. */
export interface Verifier {
  readonly name: string;
  readonly keyId: Uint8Array;
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
}

/** Checks one Ed25519 signature (RFC 8032); may be asynchronous, since WebCrypto is. */
export type VerifyEd25519 = (
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
) => boolean | Promise<boolean>;

/** `SHA-256(name || 0x0A || type || key)[:4]`: tells keys apart, secures nothing. */
function keyIdOf(sha256: Sha256, name: string, publicKey: Uint8Array): Uint8Array {
  const bytes = concat(fromLatin1(`${name}\n`), Uint8Array.of(ED25519), publicKey);
  return sha256(bytes).slice(0, KEY_ID_BYTE_LENGTH);
}

/** Verifier of a log's Ed25519 key; `name` is the log's origin. */
export function createVerifier(sha256: Sha256, name: string, publicKey: Uint8Array): Verifier {
  if (!isOrigin(name)) throw new TypeError(`name: '${name}' is no origin`);
  if (publicKey.length !== ED25519_KEY_BYTE_LENGTH) throw new TypeError('publicKey: not 32 bytes');
  return { name, keyId: keyIdOf(sha256, name, publicKey), publicKey };
}

/** `name+hex(key id)+base64(type || key)`: a line to copy into a trust file. */
export function encodeVerifier(verifier: Verifier): string {
  const typed = concat(Uint8Array.of(ED25519), verifier.publicKey);
  return `${verifier.name}+${encodeHex(verifier.keyId)}+${encodeBase64(typed)}`;
}

/**
 * The inverse of {@link encodeVerifier}, strict.
 * @throws LogError `key.syntax`, `bytes.base64`
 */
export function parseVerifier(sha256: Sha256, text: string): Verifier {
  const found = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  if (found === null) refuse('key.syntax', 'key: not name+id+key');
  const [, name, , encoded] = found;
  const typed = decodeBase64(encoded!);
  if (typed.length !== 1 + ED25519_KEY_BYTE_LENGTH || typed[0] !== ED25519) {
    refuse('key.syntax', 'key: not an Ed25519 key (type 01, 32 bytes)');
  }
  if (!isOrigin(name!)) refuse('key.syntax', `key: '${name}' is no origin`);
  const verifier = createVerifier(sha256, name!, typed.slice(1));
  if (encodeVerifier(verifier) !== text) refuse('key.syntax', 'key: the id is not that of the key');
  return verifier;
}

/** One signature line: `key id || signature`, under a name. */
export interface NoteSignature {
  readonly name: string;
  readonly keyId: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Note {
  /** What is signed, the last LF included. */
  readonly text: Uint8Array;
  readonly signatures: readonly NoteSignature[];
}

/** @throws LogError `note.syntax`, `note.too-long`, `bytes.base64` */
export function parseNote(bytes: Uint8Array): Note {
  if (bytes.length > NOTE_BYTE_LENGTH_MAX) refuse('note.too-long', 'note: too long');
  if (decodeUtf8(bytes) === undefined) refuse('note.syntax', 'note: not UTF-8');
  if (bytes.some((byte) => byte < 0x20 && byte !== 0x0a))
    refuse('note.syntax', 'note: a control character');
  // One character per byte, so that offsets in it are offsets in the bytes.
  const text = latin1(bytes);
  // The last blank line: a text may hold blank lines of its own, signatures may not.
  const split = text.lastIndexOf('\n\n');
  if (split < 0) refuse('note.syntax', 'note: no blank line before the signatures');
  const tail = text.slice(split + 2);
  if (tail === '' || !tail.endsWith('\n'))
    refuse('note.syntax', 'note: no signature line, or one without its end');
  const lines = tail.slice(0, -1).split('\n');
  if (lines.length > NOTE_SIGNATURE_COUNT_MAX)
    refuse('note.syntax', `note: more than ${NOTE_SIGNATURE_COUNT_MAX} signatures`);
  const signatures = lines.map((line): NoteSignature => {
    const [nameBytes, encoded, ...more] = line.startsWith(SIGNATURE_MARK)
      ? line.slice(SIGNATURE_MARK.length).split(' ')
      : [];
    const name = decodeUtf8(fromLatin1(nameBytes ?? '')) ?? '';
    if (!KEY_NAME.test(name) || encoded === undefined || more.length > 0) {
      return refuse('note.syntax', 'note: a signature line that is none');
    }
    const blob = decodeBase64(encoded);
    if (blob.length <= KEY_ID_BYTE_LENGTH) refuse('note.syntax', 'note: a signature without bytes');
    return {
      name,
      keyId: blob.slice(0, KEY_ID_BYTE_LENGTH),
      signature: blob.slice(KEY_ID_BYTE_LENGTH),
    };
  });
  return { text: bytes.subarray(0, split + 1), signatures };
}

/** Which of the given keys signed a note, and whether one of them did not although its line says so. */
export interface NoteJudgement {
  readonly signedBy: readonly Verifier[];
  /** A line that names a known key and does not verify: the whole note is to be refused. */
  readonly forged: readonly Verifier[];
}

/** Holds a note against known keys. Lines of unknown keys are passed over, as C2SP signed-note says. */
export async function judgeNote(
  note: Note,
  verifiers: readonly Verifier[],
  verifyEd25519: VerifyEd25519,
): Promise<NoteJudgement> {
  const signedBy: Verifier[] = [];
  const forged: Verifier[] = [];
  for (const { name, keyId, signature } of note.signatures) {
    const verifier = verifiers.find(
      (known) => known.name === name && equalBytes(known.keyId, keyId),
    );
    if (verifier === undefined) continue;
    const holds =
      signature.length === ED25519_SIGNATURE_BYTE_LENGTH &&
      (await verifyEd25519(verifier.publicKey, note.text, signature));
    (holds ? signedBy : forged).push(verifier);
  }
  return { signedBy, forged };
}

/** Joins a text and its Ed25519 signatures into a note. */
export function encodeNote(
  text: Uint8Array,
  signatures: readonly { readonly verifier: Verifier; readonly signature: Uint8Array }[],
): Uint8Array {
  const lines = signatures.map(
    ({ verifier, signature }) =>
      `${SIGNATURE_MARK}${verifier.name} ${encodeBase64(concat(verifier.keyId, signature))}\n`,
  );
  return concat(text, fromLatin1(`\n${lines.join('')}`));
}

/** The head of a log at one moment: how many records, and the root over their headers. */
export interface Head {
  readonly size: number;
  readonly root: Hash;
}

/** The text that a log signs: `origin LF size LF base64(root) LF`, with no extension lines. */
export function encodeCheckpointText(origin: string, head: Head): Uint8Array {
  return fromLatin1(`${origin}\n${head.size}\n${encodeBase64(head.root)}\n`);
}

export interface Checkpoint extends Head {
  readonly origin: string;
  readonly note: Note;
}

/**
 * Parses a checkpoint; its signatures are not looked at: {@link judgeNote} does that.
 * @throws LogError `checkpoint.syntax`, `note.syntax`, `note.too-long`, `bytes.base64`
 */
export function parseCheckpoint(bytes: Uint8Array): Checkpoint {
  const note = parseNote(bytes);
  const lines = latin1(note.text).split('\n');
  const [origin, sizeText, rootText] = lines;
  const size = parseDecimal(sizeText ?? '');
  if (lines.length !== 4 || !isOrigin(origin!) || size === undefined || rootText === undefined) {
    refuse('checkpoint.syntax', 'checkpoint: not origin, size and root');
  }
  const root = decodeBase64(rootText);
  if (root.length !== HASH_BYTE_LENGTH)
    refuse('checkpoint.syntax', 'checkpoint: root is not 32 bytes');
  // Size 0 is never signed: "nothing was checked" must not look like a head (format attack 15).
  if (size === 0) refuse('checkpoint.syntax', 'checkpoint: size 0');
  return { origin: origin!, size, root, note };
}
