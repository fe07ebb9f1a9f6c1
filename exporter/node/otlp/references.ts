// SPDX-License-Identifier: Apache-2.0
/**
 * Writes into the forwarded copy of every entry where its sealed original is: `aigov.audit.ref` and `aigov.audit.leaf`,
 * after taking out whatever came in under those names; every other byte is copied as it is stored.
 * Proves nothing: the copy in a backend can be edited there, only the sealed record can be verified.
 */
import { LogError } from '../../log/errors.ts';
import { FIXED32, FieldCursor, LEN } from '../../log/wire.ts';
import type { ProtoWriter } from './proto-writer.ts';

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

/** The copies to forward, one behind the other. Any run of them is a valid OTLP request. */
export interface ReferencedEntries {
  /** Where each copy ends in the writer. */
  readonly ends: readonly number[];
  /** Spans of this process that were recorded only because of the audit: the application chose not to export them. */
  readonly unsampledCount: number;
  /** Entries that are no OTLP. What the sealer let in never is; counted here so that nothing goes missing unseen. */
  readonly unreadableCount: number;
}

/** Names that belong to the forwarder: whoever sends them in claims to be sealed by us (DESIGN section 7). */
const RESERVED_PREFIX: Uint8Array = Buffer.from('aigov.audit.');
const REF_KEY = 'aigov.audit.ref';
const LEAF_KEY = 'aigov.audit.leaf';

/** Where attributes are in a message, and which fields hold messages that have attributes themselves. */
interface MessageType {
  readonly attributes?: number;
  readonly nested?: Readonly<Record<number, MessageType>>;
  /** Set on the span or log record: where the reference goes, and the number of its `flags`. */
  readonly flags?: number;
  /** True where a span or log record is below: such a message always changes. */
  readonly leadsToItem?: boolean;
}

// opentelemetry-proto v1.11.0, resource.proto, common.proto, trace.proto, logs.proto.
const RESOURCE: MessageType = { attributes: 1 };
const SCOPE: MessageType = { attributes: 3 };
const SPAN: MessageType = {
  attributes: 9,
  nested: { 11: { attributes: 3 }, 13: { attributes: 4 } },
  flags: 16,
  leadsToItem: true,
};
const LOG_RECORD: MessageType = { attributes: 6, flags: 8, leadsToItem: true };

function requestOf(item: MessageType): MessageType {
  const scope: MessageType = { nested: { 1: SCOPE, 2: item }, leadsToItem: true };
  return { nested: { 1: { nested: { 1: RESOURCE, 2: scope }, leadsToItem: true } } };
}
const REQUESTS: Readonly<Record<'traces' | 'logs', MessageType>> = {
  traces: requestOf(SPAN),
  logs: requestOf(LOG_RECORD),
};

/** W3C trace flags, bit 0. */
const SAMPLED = 1;

/**
 * Copies entries into a writer, each with its reference: `<origin>#<record index>/<entry index>`, and the leaf in base64.
 *
 * Spans of this process whose sampled bit is 0 are left out: they exist because the audit does not sample, and the
 * backend must see what it would have seen without us.
 *
 * @param entries each a TracesData or LogsData that holds exactly one span or log record
 * @throws RangeError if `leaves` does not hold one leaf per entry
 */
export function writeReferenced(
  writer: ProtoWriter,
  entries: readonly Uint8Array[],
  context: ReferenceContext,
): ReferencedEntries {
  if (context.leaves.length !== entries.length) {
    throw new RangeError(
      `leaves: ${context.leaves.length} for ${entries.length} entries; give one leaf per entry`,
    );
  }
  const byteLength = entries.reduce((sum, { length }) => sum + length + REFERENCE_BYTE_LENGTH, 0);
  writer.room(byteLength);
  const ends: number[] = [];
  let unsampledCount = 0;
  let unreadableCount = 0;
  for (const [index, entry] of entries.entries()) {
    const start = writer.at;
    const copy = new EntryCopy(writer, entry, context, index);
    try {
      copy.write(REQUESTS[context.kind]);
      const isSampled = (copy.flags & SAMPLED) !== 0;
      if (copy.itemCount !== 1) unreadableCount++;
      else if (context.kind === 'traces' && context.source === 'in-process' && !isSampled)
        unsampledCount++;
      else {
        ends.push(writer.at);
        continue;
      }
    } catch (error) {
      if (!(error instanceof LogError)) throw error;
      unreadableCount++;
    }
    writer.at = start;
  }
  return { ends, unsampledCount, unreadableCount };
}

/** What a reference adds to a message at most times: a wrong guess costs a move, nothing else. */
const REFERENCE_BYTE_LENGTH = 2 * (6 + REF_KEY.length) + 32 + 44;

/** The copy of one entry. */
class EntryCopy {
  itemCount = 0;
  flags = 0;
  readonly #writer: ProtoWriter;
  readonly #entry: Uint8Array;
  readonly #context: ReferenceContext;
  readonly #index: number;

  constructor(writer: ProtoWriter, entry: Uint8Array, context: ReferenceContext, index: number) {
    this.#writer = writer;
    this.#entry = entry;
    this.#context = context;
    this.#index = index;
  }

  /** @throws LogError where the entry is no OTLP */
  write(request: MessageType): void {
    const { length } = this.#entry;
    this.#message(new FieldCursor(this.#entry, 0, length), request, 0, length);
  }

  /** Copies the message that the cursor is about to walk, in runs of fields that do not change. */
  #message(cursor: FieldCursor, type: MessageType, start: number, end: number): void {
    const writer = this.#writer;
    const entry = this.#entry;
    let from = start;
    while (cursor.next()) {
      const { number, wireType, tagStart, valueStart, valueEnd } = cursor;
      if (number === type.flags && wireType === FIXED32) this.flags = entry[valueStart]!;
      if (wireType !== LEN) continue;
      if (number === type.attributes) {
        if (!isReserved(cursor, entry)) continue;
        writer.copy(entry, from, tagStart);
        from = valueEnd;
        continue;
      }
      const nested = type.nested?.[number];
      if (nested === undefined) continue;
      if (!nested.leadsToItem && !holdsReserved(entry, valueStart, valueEnd, nested)) continue;
      // Fields that hold messages have numbers below 16: a tag of one byte, which the cursor holds to be minimal.
      writer.copy(entry, from, tagStart + 1);
      from = valueEnd;
      const guess = valueEnd - valueStart + (nested.leadsToItem ? REFERENCE_BYTE_LENGTH : 0);
      const copyStart = writer.open(guess);
      this.#message(new FieldCursor(entry, valueStart, valueEnd), nested, valueStart, valueEnd);
      writer.close(copyStart, guess);
    }
    writer.copy(entry, from, end);
    if (type.flags === undefined) return;
    this.itemCount++;
    const { origin, recordIndex, leaves } = this.#context;
    const leaf = Buffer.from(leaves[this.#index]!).toString('base64');
    this.#attribute(type, REF_KEY, `${origin}#${recordIndex}/${this.#index}`);
    this.#attribute(type, LEAF_KEY, leaf);
  }

  /** A KeyValue with a string value; whoever reads it takes the last of a field, wherever it stands. */
  #attribute(type: MessageType, key: string, value: string): void {
    const writer = this.#writer;
    const guess = key.length + value.length + 6;
    writer.tag(type.attributes! * 8 + LEN);
    const start = writer.open(guess);
    writer.name(0x0a, key);
    writer.tag(0x12);
    const valueStart = writer.open(value.length + 2);
    writer.string(0x0a, value);
    writer.close(valueStart, value.length + 2);
    writer.close(start, guess);
  }
}

function holdsReserved(bytes: Uint8Array, start: number, end: number, type: MessageType): boolean {
  const cursor = new FieldCursor(bytes, start, end);
  let isFound = false;
  while (cursor.next()) {
    const isAttribute = cursor.number === type.attributes && cursor.wireType === LEN;
    if (isAttribute && isReserved(cursor, bytes)) isFound = true;
  }
  return isFound;
}

/** Whether the KeyValue that the cursor is at has a reserved key; the last `key` counts, as in every decoder. */
function isReserved(cursor: FieldCursor, bytes: Uint8Array): boolean {
  let reserved = false;
  const around = cursor.enter();
  while (cursor.next()) {
    if (cursor.number !== 1 || cursor.wireType !== LEN) continue;
    reserved = cursor.valueEnd - cursor.valueStart >= RESERVED_PREFIX.length;
    for (let at = 0; reserved && at < RESERVED_PREFIX.length; at++) {
      reserved = bytes[cursor.valueStart + at] === RESERVED_PREFIX[at];
    }
  }
  cursor.leave(around);
  return reserved;
}
