// SPDX-License-Identifier: Apache-2.0
/**
 * Writes into the forwarded copy of every entry where its sealed original is: `aigov.audit.ref` and `aigov.audit.leaf`,
 * after taking out whatever came in under those names; every other byte is copied as it is stored.
 * Proves nothing: the copy in a backend can be edited there, only the sealed record can be verified.
 */
import { LogError } from '../log/errors.ts';
import { FIXED32, FieldCursor, LEN, varintByteLength, writeVarint } from '../log/wire.ts';

/** How the entries of a record came in, as its header says. */
export type EntrySource = 'in-process' | 'direct' | 'collector';

/** The record that the entries are from. */
export interface ReferenceContext {
  readonly kind: 'traces' | 'logs';
  readonly source: EntrySource;
  readonly origin: string;
  readonly recordIndex: number;
  /** One leaf hash of 32 bytes per entry, in order. */
  readonly leaves: readonly Uint8Array[];
}

/** The copies to forward. Any concatenation of `parts` is a valid OTLP request. */
export interface ReferencedEntries {
  readonly parts: readonly Uint8Array[];
  /** Spans of this process that were recorded only because of the audit: the application chose not to export them. */
  readonly unsampledCount: number;
  /** Entries that are no OTLP. What the sealer let in never is; counted here so that nothing goes missing unseen. */
  readonly unreadableCount: number;
}

/** Names that belong to the forwarder: whoever sends them in claims to be sealed by us (DESIGN section 7). */
const RESERVED_PREFIX: Uint8Array = encodeText('aigov.audit.');
const REF_KEY = 'aigov.audit.ref';
const LEAF_KEY = 'aigov.audit.leaf';

/** Where attributes are in a message, and which fields hold messages that have attributes themselves. */
interface MessageType {
  readonly attributes?: number;
  readonly nested?: Readonly<Record<number, MessageType>>;
  /** Set on the span or log record: where the reference goes, and the number of its `flags`. */
  readonly flags?: number;
}

// opentelemetry-proto v1.11.0, resource.proto, common.proto, trace.proto, logs.proto.
const RESOURCE: MessageType = { attributes: 1 };
const SCOPE: MessageType = { attributes: 3 };
const SPAN: MessageType = {
  attributes: 9,
  nested: { 11: { attributes: 3 }, 13: { attributes: 4 } },
  flags: 16,
};
const LOG_RECORD: MessageType = { attributes: 6, flags: 8 };

function requestOf(item: MessageType): MessageType {
  return { nested: { 1: { nested: { 1: RESOURCE, 2: { nested: { 1: SCOPE, 2: item } } } } } };
}
const REQUESTS: Readonly<Record<'traces' | 'logs', MessageType>> = {
  traces: requestOf(SPAN),
  logs: requestOf(LOG_RECORD),
};

/** W3C trace flags, bit 0. */
const SAMPLED = 1;

/**
 * Copies entries with their reference: `<origin>#<record index>/<entry index>`, and the leaf in base64.
 *
 * Spans of this process whose sampled bit is 0 are left out: they exist because the audit does not sample, and the
 * backend must see what it would have seen without us.
 *
 * @param entries each a TracesData or LogsData that holds exactly one span or log record
 * @throws RangeError if `leaves` does not hold one leaf per entry
 */
export function withReferences(
  entries: readonly Uint8Array[],
  context: ReferenceContext,
): ReferencedEntries {
  if (context.leaves.length !== entries.length) {
    throw new RangeError(
      `leaves: ${context.leaves.length} for ${entries.length} entries; give one leaf per entry`,
    );
  }
  const parts: Uint8Array[] = [];
  let unsampledCount = 0;
  let unreadableCount = 0;
  for (const [index, entry] of entries.entries()) {
    const reference = [
      encodeAttribute(REF_KEY, `${context.origin}#${context.recordIndex}/${index}`, context.kind),
      encodeAttribute(
        LEAF_KEY,
        Buffer.from(context.leaves[index]!).toString('base64'),
        context.kind,
      ),
    ];
    try {
      const item = { count: 0, flags: 0 };
      const copy = rewrite(entry, REQUESTS[context.kind], reference, item);
      const isSampled = (item.flags & SAMPLED) !== 0;
      if (item.count !== 1) unreadableCount++;
      else if (context.kind === 'traces' && context.source === 'in-process' && !isSampled)
        unsampledCount++;
      else parts.push(copy);
    } catch (error) {
      if (!(error instanceof LogError)) throw error;
      unreadableCount++;
    }
  }
  return { parts, unsampledCount, unreadableCount };
}

interface ItemSeen {
  count: number;
  flags: number;
}

/** Rewrites one message; returns `message` itself where nothing in it changes, so that its field is copied whole. */
function rewrite(
  message: Uint8Array,
  type: MessageType,
  reference: readonly Uint8Array[],
  item: ItemSeen,
): Uint8Array {
  const kept: Uint8Array[] = [];
  let keptUpTo = 0;
  const cursor = new FieldCursor(message, 0, message.length);
  while (cursor.next()) {
    const { number, wireType, tagStart, valueStart, valueEnd } = cursor;
    if (number === type.flags && wireType === FIXED32) {
      item.flags = message[valueStart]!;
    }
    if (wireType !== LEN) continue;
    if (number === type.attributes) {
      if (!isReserved(message, valueStart, valueEnd)) continue;
      kept.push(message.subarray(keptUpTo, tagStart));
      keptUpTo = valueEnd;
      continue;
    }
    const nested = type.nested?.[number];
    if (nested === undefined) continue;
    const before = message.subarray(valueStart, valueEnd);
    const after = rewrite(before, nested, reference, item);
    if (after === before) continue;
    // Fields that hold messages have numbers below 16: a tag of one byte, which the cursor holds to be minimal.
    const tagEnd = tagStart + 1;
    kept.push(message.subarray(keptUpTo, tagEnd), encodeLength(after.length), after);
    keptUpTo = valueEnd;
  }
  if (type.flags !== undefined) {
    item.count++;
    return Buffer.concat([...kept, message.subarray(keptUpTo), ...reference]);
  }
  return kept.length === 0 ? message : Buffer.concat([...kept, message.subarray(keptUpTo)]);
}

/** Whether the KeyValue at `bytes[start, end)` has a reserved key; the last `key` counts, as in every decoder. */
function isReserved(bytes: Uint8Array, start: number, end: number): boolean {
  let reserved = false;
  const cursor = new FieldCursor(bytes, start, end);
  while (cursor.next()) {
    if (cursor.number !== 1 || cursor.wireType !== LEN) continue;
    reserved = cursor.valueEnd - cursor.valueStart >= RESERVED_PREFIX.length;
    for (let at = 0; reserved && at < RESERVED_PREFIX.length; at++) {
      reserved = bytes[cursor.valueStart + at] === RESERVED_PREFIX[at];
    }
  }
  return reserved;
}

/** A KeyValue field with a string value, ready to stand at the end of a span or log record. */
function encodeAttribute(key: string, value: string, kind: 'traces' | 'logs'): Uint8Array {
  const anyValue = lengthDelimited(1, encodeText(value));
  const keyValue = Buffer.concat([
    lengthDelimited(1, encodeText(key)),
    lengthDelimited(2, anyValue),
  ]);
  return lengthDelimited((kind === 'traces' ? SPAN : LOG_RECORD).attributes!, keyValue);
}

function encodeText(text: string): Uint8Array {
  return Buffer.from(text);
}

function lengthDelimited(number: number, value: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(number * 8 + LEN), encodeLength(value.length), value]);
}

function encodeLength(byteLength: number): Uint8Array {
  const bytes = new Uint8Array(varintByteLength(byteLength));
  writeVarint(bytes, 0, byteLength);
  return bytes;
}
