// SPDX-License-Identifier: Apache-2.0
/**
 * Checks one record by itself: that its bytes are those its header names, and are what they have to be. Nothing here knows
 * its neighbours, so records can be checked in any order and on any core; whether it stands in its place, the walk tells.
 */
import { equalBytes } from './bytes.ts';
import { type ControlEvent, parseControl } from './control.ts';
import { splitPayload } from './entries.ts';
import { saidOf } from './errors.ts';
import type { RecordHeader } from './header.ts';
import { type Hash, leafHash, rootOf, type Sha256 } from './merkle.ts';
import type { VerifyEd25519 } from './note.ts';
import { type NumberRange, NumberRanges, sequenceOf } from './numbers.ts';
import type { Finding, FindingCode } from './report.ts';
import type { Frame } from './segment.ts';
import { checkStoredFrame } from './stored.ts';

/** What pure ECMAScript does not have. `inflate` gets one checked zstd frame and must return `byteLength` bytes. */
export interface Primitives {
  readonly sha256: Sha256;
  readonly inflate: (stored: Uint8Array, byteLength: number) => Uint8Array | Promise<Uint8Array>;
  readonly verifyEd25519: VerifyEd25519;
}

/** Which rule a record breaks. */
export type RecordFault = Omit<Finding, 'where'>;

/** What the walk has to know of a record that passed its checks: little, however much the record holds. */
export interface CheckedRecord {
  readonly header: RecordHeader;
  readonly leaf: Hash;
  /** Events of a control record. */
  readonly events: readonly ControlEvent[];
  /** `aigov.sequence` of its spans, where the process that writes the log made them. */
  readonly numbers: readonly NumberRange[];
}

/** A record that passed its checks, whole. */
export interface VerifiedRecord extends CheckedRecord {
  readonly headerBytes: Uint8Array;
  readonly entries: readonly Uint8Array[];
  readonly leaves: readonly Hash[];
}

/** Checks what one record says of itself: stored bytes, frame, payload, entries, root, control events. */
export async function verifyRecord(
  { header, headerBytes, stored }: Frame,
  { sha256, inflate }: Primitives,
): Promise<VerifiedRecord | RecordFault> {
  const { kind, payloadByteLength } = header;
  const fault = (code: FindingCode, message: string): RecordFault => ({ code, message });
  // The hash first: attacker bytes must not reach a decompressor (format attack 2).
  if (!equalBytes(sha256(stored), header.storedHash)) {
    return fault('record.stored', 'the stored bytes have another SHA-256');
  }
  let rule: FindingCode = 'record.frame';
  try {
    checkStoredFrame(stored, payloadByteLength);
    let payload: Uint8Array;
    try {
      payload = await inflate(stored, payloadByteLength);
    } catch {
      return fault('record.payload', 'the stored bytes do not inflate');
    }
    if (payload.length !== payloadByteLength) {
      const message = `the payload has ${payload.length} bytes, not ${payloadByteLength}`;
      return fault('record.payload', message);
    }
    rule = 'record.entries';
    const entries = splitPayload(payload, kind);
    if (entries.length !== header.entryCount) {
      return fault(rule, `${entries.length} entries, not ${header.entryCount}`);
    }
    const leaves = entries.map((entry) => leafHash(sha256, entry));
    if (!equalBytes(rootOf(sha256, leaves), header.root)) {
      return fault('record.root', 'the entries have another root');
    }
    rule = 'record.control';
    const events = kind === 'control' ? entries.map((entry) => parseControl(entry).event) : [];
    const numbers = numbersIn(header, entries);
    const leaf = leafHash(sha256, headerBytes);
    return { header, headerBytes, leaf, entries, leaves, events, numbers };
  } catch (cause) {
    return fault(rule, saidOf(cause));
  }
}

function numbersIn({ kind, source }: RecordHeader, entries: readonly Uint8Array[]) {
  const numbers = new NumberRanges();
  if (kind !== 'traces' || source.kind !== 'in-process') return [];
  for (const entry of entries) {
    const sequence = sequenceOf(entry);
    if (sequence !== undefined) numbers.add(sequence);
  }
  return numbers.ranges;
}
