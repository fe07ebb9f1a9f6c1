// SPDX-License-Identifier: Apache-2.0
/**
 * Cuts OTLP requests into entries, and recognises an entry: one span or log record with its resource, scope and
 * schema URLs, as OTLP of its own. Kept bytes are never re-encoded. FORMAT.md, "Entry" and "Walking a request".
 */
import { refuse } from './errors.ts';
import {
  AMPLIFICATION_FACTOR,
  AMPLIFICATION_SLACK_BYTE_LENGTH,
  ENTRY_COUNT_MAX,
  MESSAGE_DEPTH_MAX,
  REQUEST_BYTE_LENGTH_MAX,
  REQUEST_ENTRY_COUNT_MAX,
} from './limits.ts';
import {
  FIXED32,
  FIXED64,
  FieldCursor,
  LEN,
  VARINT,
  varintByteLength,
  writeVarint,
} from './wire.ts';

export type PayloadKind = 'traces' | 'logs' | 'control';

/** A message type as far as the walker looks: wire type of each known field, and the type of a nested message. */
interface MessageType {
  readonly wireTypes: readonly (number | undefined)[];
  readonly nested: (MessageType | undefined)[];
}

const WIRE_TYPE_OF: Readonly<Record<string, number>> = {
  L: LEN,
  V: VARINT,
  D: FIXED64,
  W: FIXED32,
};

/** @param fields a letter per field number from 1: L length-delimited, V varint, D 64 and W 32 bits, - unknown */
function messageType(fields: string, nested: Record<number, MessageType> = {}): MessageType {
  const wireTypes = [undefined, ...[...fields].map((letter) => WIRE_TYPE_OF[letter])];
  return { wireTypes, nested: wireTypes.map((_wireType, number) => nested[number]) };
}

// opentelemetry-proto v1.11.0: common.proto, resource.proto, trace.proto, logs.proto.
const ANY_VALUE = messageType('LVVDLLL');
const KEY_VALUE = messageType('LL', { 2: ANY_VALUE });
ANY_VALUE.nested[5] = messageType('L', { 1: ANY_VALUE });
ANY_VALUE.nested[6] = messageType('L', { 1: KEY_VALUE });
const RESOURCE = messageType('LVL', { 1: KEY_VALUE, 3: messageType('LLLL') });
const SCOPE = messageType('LLLV', { 3: KEY_VALUE });
const EVENT = messageType('DLLV', { 3: KEY_VALUE });
const LINK = messageType('LLLLVW', { 4: KEY_VALUE });
const STATUS = messageType('-LV');
const SPAN = messageType('LLLLLVDDLVLVLVLW', { 9: KEY_VALUE, 11: EVENT, 13: LINK, 15: STATUS });
const LOG_RECORD = messageType('DVL-LLVWLLDL', { 5: ANY_VALUE, 6: KEY_VALUE });

/** Depth of a span: request, ResourceSpans, ScopeSpans. */
const ITEM_DEPTH = 3;

/** Both signals use the same numbers above the item: 1 resource or scope, 2 the child, 3 the schema URL. */
const CONTEXT_FIELD = 1;
const CHILD_FIELD = 2;
const SCHEMA_URL_FIELD = 3;
const TOP_LEVEL_TAG = 0x0a;
const CHILD_TAG = 0x12;
/** `instrumentation_library_spans` of old, which some decoders still know as a second home for spans. */
const RETIRED_FIELD = 1000;

/**
 * Checks every known field below one message, to the last leaf. Unknown fields are kept and not looked into. One cursor
 * for all levels: half of the time of a walk was the making of one for each.
 */
function checkFields(cursor: FieldCursor, type: MessageType, depth: number): void {
  if (depth > MESSAGE_DEPTH_MAX) {
    refuse('otlp.depth', 'otlp: nested too deep', cursor.valueEnd);
  }
  while (cursor.next()) {
    const wireType = type.wireTypes[cursor.number];
    if (wireType === undefined) continue;
    if (wireType !== cursor.wireType) {
      cursor.refuse('otlp.wire-type', `otlp: field ${cursor.number}: wire type ${cursor.wireType}`);
    }
    const nested = type.nested[cursor.number];
    if (nested !== undefined) checkNested(cursor, nested, depth + 1);
  }
}

/** The message that a cursor stands on; what the cursor says of that field is gone then. */
function checkNested(cursor: FieldCursor, type: MessageType, depth: number): void {
  if (type === KEY_VALUE && depth < MESSAGE_DEPTH_MAX && isShortText(cursor)) return;
  const around = cursor.enter();
  checkFields(cursor, type, depth);
  cursor.leave(around);
}

const KEY_TAG = 0x0a;
const VALUE_TAG = 0x12;
const STRING_TAG = 0x0a;

/**
 * True for a key and a text of less than 128 bytes each, in their order and nothing else: what most attributes are, and
 * what a cursor could find no fault with. Three steps of it less for each are a third of the time of a walk.
 */
function isShortText({ bytes, valueStart: key, valueEnd: end }: FieldCursor): boolean {
  const keyLength = bytes[key + 1]!;
  const value = key + 2 + keyLength;
  const text = value + 4;
  return (
    text <= end &&
    end - text < 126 &&
    keyLength < 128 &&
    bytes[key] === KEY_TAG &&
    bytes[value] === VALUE_TAG &&
    bytes[value + 1] === end - value - 2 &&
    bytes[value + 2] === STRING_TAG &&
    bytes[value + 3] === end - text
  );
}

/** Entries share buffers of about this size: one for each costs more than all else that is done to a small span. */
const SLAB_BYTE_LENGTH = 256 * 1024;

/** One container (ResourceSpans or ScopeSpans): its children's ranges, and what is kept of it, in order. */
interface Container {
  readonly kept: readonly Uint8Array[];
  readonly keptByteLength: number;
  /** Flat pairs of value start and value end. */
  readonly children: readonly number[];
}

/** A field that stands beside the children of a container: which of the known ones were seen, now with it. */
function checkBeside(
  cursor: FieldCursor,
  seen: number,
  context: MessageType,
  depth: number,
): number {
  const { number, wireType } = cursor;
  if (number === RETIRED_FIELD) {
    cursor.refuse('otlp.field-number', 'otlp: field number 1000 is retired');
  }
  if (number > SCHEMA_URL_FIELD) return seen;
  if (wireType !== LEN) {
    cursor.refuse('otlp.wire-type', `otlp: field ${number}: wire type ${wireType}`);
  }
  // protobufjs keeps the last of two resources, Python merges them: what a span's resource is must not depend on it.
  const bit = 1 << number;
  if ((seen & bit) !== 0) cursor.refuse('otlp.repeated', `otlp: field ${number} stands twice`);
  if (number === CONTEXT_FIELD) checkNested(cursor, context, depth);
  return seen | bit;
}

function readContainer(
  bytes: Uint8Array,
  start: number,
  end: number,
  context: MessageType,
  depth: number,
): Container {
  const kept: Uint8Array[] = [];
  const children: number[] = [];
  let keptByteLength = 0;
  let seen = 0;
  const cursor = new FieldCursor(bytes, start, end);
  while (cursor.next()) {
    if (cursor.number === CHILD_FIELD && cursor.wireType === LEN) {
      children.push(cursor.valueStart, cursor.valueEnd);
    } else {
      kept.push(bytes.subarray(cursor.tagStart, cursor.valueEnd));
      keptByteLength += cursor.valueEnd - cursor.tagStart;
      seen = checkBeside(cursor, seen, context, depth);
    }
  }
  return { kept, keptByteLength, children };
}

/**
 * Cuts one whole OTLP request (`TracesData` or `LogsData`, as `ExportTraceServiceRequest` has the same bytes) into
 * entries, in order. Walk each request alone, before anything is joined: a length that points past the end of one
 * request must not swallow the next (format attack 3).
 *
 * @returns one entry per span or log record; none for a request that holds none
 * @throws LogError with an `otlp.*` code for bytes that decoders refuse or read differently
 * @example
 * splitRequest(new Uint8Array([0x0a, 0x04, 0x12, 0x02, 0x12, 0x00]), 'traces').length; // 1
 */
export function splitRequest(bytes: Uint8Array, kind: PayloadKind): Uint8Array[] {
  if (bytes.length > REQUEST_BYTE_LENGTH_MAX) {
    refuse('otlp.too-long', `otlp: a request of ${bytes.length} bytes`);
  }
  const byteLengthMax = AMPLIFICATION_FACTOR * bytes.length + AMPLIFICATION_SLACK_BYTE_LENGTH;
  const item = kind === 'traces' ? SPAN : LOG_RECORD;
  const entries: Uint8Array[] = [];
  let byteLength = 0;
  let slab = new Uint8Array(0);
  let filled = 0;

  const top = new FieldCursor(bytes, 0, bytes.length);
  while (top.next()) {
    if (top.number !== 1 || top.wireType !== LEN) {
      top.refuse('otlp.top-level-field', `otlp: field ${top.number} at the top of a request`);
    }
    const resource = readContainer(bytes, top.valueStart, top.valueEnd, RESOURCE, 2);
    for (let s = 0; s < resource.children.length; s += 2) {
      const scope = readContainer(
        bytes,
        resource.children[s]!,
        resource.children[s + 1]!,
        SCOPE,
        ITEM_DEPTH,
      );
      for (let i = 0; i < scope.children.length; i += 2) {
        const itemStart = scope.children[i]!;
        const itemEnd = scope.children[i + 1]!;
        checkFields(new FieldCursor(bytes, itemStart, itemEnd), item, ITEM_DEPTH);
        const itemLength = itemEnd - itemStart;
        const scopeLength = scope.keptByteLength + 1 + varintByteLength(itemLength) + itemLength;
        const resourceLength =
          resource.keptByteLength + 1 + varintByteLength(scopeLength) + scopeLength;
        const entryLength = 1 + varintByteLength(resourceLength) + resourceLength;
        byteLength += entryLength;
        if (byteLength > byteLengthMax)
          refuse('otlp.amplification', `otlp: entries of over ${byteLengthMax} bytes`, itemStart);
        if (entries.length === REQUEST_ENTRY_COUNT_MAX)
          refuse('otlp.entry-count', `otlp: over ${REQUEST_ENTRY_COUNT_MAX} entries`, itemStart);
        if (slab.length - filled < entryLength) {
          slab = new Uint8Array(Math.max(entryLength, Math.min(bytes.length, SLAB_BYTE_LENGTH)));
          filled = 0;
        }
        const entry = slab.subarray(filled, filled + entryLength);
        filled += entryLength;
        entry[0] = TOP_LEVEL_TAG;
        let at = writeVarint(entry, 1, resourceLength);
        at = writeKept(entry, at, resource.kept);
        entry[at] = CHILD_TAG;
        at = writeVarint(entry, at + 1, scopeLength);
        at = writeKept(entry, at, scope.kept);
        entry[at] = CHILD_TAG;
        at = writeVarint(entry, at + 1, itemLength);
        entry.set(bytes.subarray(itemStart, itemEnd), at);
        entries.push(entry);
      }
    }
  }
  return entries;
}

function writeKept(target: Uint8Array, start: number, kept: readonly Uint8Array[]): number {
  let at = start;
  for (const field of kept) {
    target.set(field, at);
    at += field.length;
  }
  return at;
}

/** Where the one span or log record of an entry is: its message is `entry[start, end)`. */
export interface ItemRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Finds the span or log record of an entry, and holds the entry against its one legal shape: what `splitRequest`
 * would make of it again, byte for byte.
 * @throws LogError `otlp.*`
 */
export function itemOf(entry: Uint8Array, kind: PayloadKind): ItemRange {
  let start = 0;
  let end = entry.length;
  for (let level = 0; level < ITEM_DEPTH; level++) {
    const tag = level === 0 ? TOP_LEVEL_TAG : CHILD_TAG;
    const cursor = new FieldCursor(entry, start, end);
    let seen = 0;
    let child = -1;
    while (cursor.next()) {
      const isChild = entry[cursor.tagStart] === tag;
      if (child >= 0)
        cursor.refuse('otlp.not-an-entry', 'entry: something stands behind the child');
      if (isChild) {
        child = cursor.valueStart;
        if (
          cursor.valueStart - cursor.tagStart - 1 !==
          varintByteLength(cursor.valueEnd - cursor.valueStart)
        ) {
          cursor.refuse('otlp.not-an-entry', 'entry: a container length is not minimal');
        }
        continue;
      }
      if (level === 0) cursor.refuse('otlp.top-level-field', 'entry: a foreign top-level field');
      seen = checkBeside(cursor, seen, level === 1 ? RESOURCE : SCOPE, level + 1);
    }
    if (child < 0) refuse('otlp.not-an-entry', 'entry: holds no span or log record', start);
    start = child;
    end = cursor.valueEnd;
  }
  const type = kind === 'traces' ? SPAN : LOG_RECORD;
  checkFields(new FieldCursor(entry, start, end), type, ITEM_DEPTH);
  return { start, end };
}

/**
 * Cuts a payload, the concatenation of a record's entries, back into them. Every byte of the payload is in exactly
 * one entry (invariant 3).
 * @throws LogError `otlp.*`; `otlp.entry-count` where there are more than a record may hold
 */
export function splitPayload(payload: Uint8Array, kind: PayloadKind): Uint8Array[] {
  const entries: Uint8Array[] = [];
  const top = new FieldCursor(payload, 0, payload.length);
  while (top.next()) {
    if (entries.length === ENTRY_COUNT_MAX) {
      top.refuse('otlp.entry-count', `otlp: more than ${ENTRY_COUNT_MAX} entries in a payload`);
    }
    const entry = payload.subarray(top.tagStart, top.valueEnd);
    itemOf(entry, kind);
    entries.push(entry);
  }
  return entries;
}
