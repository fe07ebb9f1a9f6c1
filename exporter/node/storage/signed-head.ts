// SPDX-License-Identifier: Apache-2.0
/**
 * What a log directory says was signed: `signing`, written before each signature, and the newest checkpoint. Tells where
 * they contradict each other or the writer's key. Whether the log has these heads, its records tell. FORMAT.md, "Log
 * directory".
 */
import {
  decodeBase64,
  encodeBase64,
  equalBytes,
  fromLatin1,
  latin1,
  parseDecimal,
} from '../../log/bytes.ts';
import { LogError } from '../../log/errors.ts';
import { encodeVerifier, type Head, parseCheckpoint, type Verifier } from '../../log/note.ts';
import { nodePrimitives } from '../system/keys.ts';

export function encodeSigning(head: Head): Uint8Array {
  return fromLatin1(`${head.size} ${encodeBase64(head.root)}\n`);
}

/** The inverse of {@link encodeSigning}; undefined where the bytes are none. */
export function parseSigning(bytes: Uint8Array): Head | undefined {
  // The last digit of a hash has two spare bits, which are zero.
  const found = /^([0-9]+) ([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)\n$/.exec(latin1(bytes));
  const size = parseDecimal(found?.[1] ?? '');
  return found === null || size === undefined ? undefined : { size, root: decodeBase64(found[2]!) };
}

/** The head that this key signed; or, in words, why its writer must not go on from this checkpoint. */
export function judgeCheckpoint(
  bytes: Uint8Array,
  verifier: Verifier,
  signed: Head,
): Head | string {
  let checkpoint: ReturnType<typeof parseCheckpoint>;
  try {
    checkpoint = parseCheckpoint(bytes);
  } catch (error) {
    if (error instanceof LogError) return error.message;
    throw error;
  }
  const { origin, note, size, root } = checkpoint;
  if (origin !== verifier.name) return `checkpoint: belongs to the log ${origin}`;
  const own = note.signatures.filter(
    (line) => line.name === origin && equalBytes(line.keyId, verifier.keyId),
  );
  if (own.length === 0) {
    return `checkpoint: signed by another key than ${encodeVerifier(verifier)}; a log keeps its key for life`;
  }
  const { verifyEd25519 } = nodePrimitives;
  if (!own.every((line) => verifyEd25519(verifier.publicKey, note.text, line.signature))) {
    return 'checkpoint: the signature of its key does not hold';
  }
  // `signing` is durable before each signature, so it never falls behind by itself (invariant 4).
  if (size > signed.size || (size === signed.size && !equalBytes(root, signed.root))) {
    return `checkpoint: signed at ${size} records, and \`signing\` does not know of it`;
  }
  return { size, root };
}
