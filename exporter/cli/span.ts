// SPDX-License-Identifier: Apache-2.0
/**
 * Reads the span of an entry for people. Its bytes were checked by the walker before; what is no UTF-8 shows as
 * replacement characters. Never used to decide whether a log is valid.
 */
import { encodeBase64, encodeHex } from '../log/bytes.ts';
import { itemOf } from '../log/entries.ts';
import { FieldCursor, LEN } from '../log/wire.ts';

export interface ShownSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly start: string;
  readonly durationMs: number;
  readonly status: 'unset' | 'ok' | 'error';
  readonly statusMessage: string;
  readonly isSampled: boolean;
  readonly scope: string;
  readonly resource: Readonly<Record<string, unknown>>;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly events: readonly {
    readonly name: string;
    readonly attributes: Readonly<Record<string, unknown>>;
  }[];
  readonly droppedAttributes: number;
}

const utf8 = new TextDecoder();

function text(cursor: FieldCursor): string {
  return utf8.decode(cursor.bytes.subarray(cursor.valueStart, cursor.valueEnd));
}

function hex(cursor: FieldCursor): string {
  return encodeHex(cursor.bytes.subarray(cursor.valueStart, cursor.valueEnd));
}

function view(cursor: FieldCursor): DataView {
  return new DataView(cursor.bytes.buffer, cursor.bytes.byteOffset + cursor.valueStart);
}

function varint(cursor: FieldCursor): bigint {
  let value = 0n;
  for (let at = cursor.valueEnd - 1; at >= cursor.valueStart; at--) {
    value = (value << 7n) | BigInt(cursor.bytes[at]! & 0x7f);
  }
  return BigInt.asIntN(64, value);
}

function inside(cursor: FieldCursor): FieldCursor {
  return new FieldCursor(cursor.bytes, cursor.valueStart, cursor.valueEnd);
}

/** OTLP AnyValue as JSON has it; integers beyond 2^53 as text. */
function anyValue(cursor: FieldCursor): unknown {
  let value: unknown = null;
  while (cursor.next()) {
    if (cursor.number === 1) value = text(cursor);
    else if (cursor.number === 2) value = varint(cursor) !== 0n;
    else if (cursor.number === 3) {
      const integer = varint(cursor);
      value = Number.isSafeInteger(Number(integer)) ? Number(integer) : integer.toString();
    } else if (cursor.number === 4) value = view(cursor).getFloat64(0, true);
    else if (cursor.number === 5) {
      const items: unknown[] = [];
      const array = inside(cursor);
      while (array.next()) if (array.number === 1) items.push(anyValue(inside(array)));
      value = items;
    } else if (cursor.number === 6) value = attributesOf(inside(cursor), 1);
    else if (cursor.number === 7) {
      value = encodeBase64(cursor.bytes.subarray(cursor.valueStart, cursor.valueEnd));
    }
  }
  return value;
}

/** Names of the forwarder, which writes on copies alone: under them a sealed entry has the words of whoever sent it. */
const FORWARDER_PREFIX = 'aigov.audit.';
/** Behind such a name. */
export const CLAIMED: string = ' (claimed by the sender)';

/** The key-value fields of that number. A key that stands twice keeps its first value, and says so. */
function attributesOf(cursor: FieldCursor, number: number): Record<string, unknown> {
  const attributes: Record<string, unknown> = Object.create(null);
  while (cursor.next()) {
    if (cursor.number !== number || cursor.wireType !== LEN) continue;
    const pair = inside(cursor);
    let key = '';
    let value: unknown = null;
    while (pair.next()) {
      if (pair.number === 1) key = text(pair);
      if (pair.number === 2) value = anyValue(inside(pair));
    }
    if (key.startsWith(FORWARDER_PREFIX)) key += CLAIMED;
    if (key in attributes) attributes[`${key} (again)`] = value;
    else attributes[key] = value;
  }
  return attributes;
}

/** The context of one level: the message in field 1 of the container that holds the child. */
function contexts(entry: Uint8Array): { resource: Record<string, unknown>; scope: string } {
  let resource: Record<string, unknown> = {};
  let scope = '';
  const top = new FieldCursor(entry, 0, entry.length);
  top.next();
  const resourceSpans = inside(top);
  while (resourceSpans.next()) {
    if (resourceSpans.number === 1) resource = attributesOf(inside(resourceSpans), 1);
    if (resourceSpans.number !== 2) continue;
    const scopeSpans = inside(resourceSpans);
    while (scopeSpans.next()) {
      if (scopeSpans.number !== 1) continue;
      const message = inside(scopeSpans);
      while (message.next()) if (message.number === 1) scope = text(message);
    }
  }
  return { resource, scope };
}

/** The span of an entry of a `traces` record. */
export function readSpan(entry: Uint8Array): ShownSpan {
  const { start, end } = itemOf(entry, 'traces');
  const span = {
    traceId: '',
    spanId: '',
    parentSpanId: '',
    name: '',
    startNs: 0n,
    endNs: 0n,
    code: 0n,
    statusMessage: '',
    flags: 0,
    dropped: 0,
  };
  const events: { name: string; attributes: Record<string, unknown> }[] = [];
  const cursor = new FieldCursor(entry, start, end);
  while (cursor.next()) {
    if (cursor.number === 1) span.traceId = hex(cursor);
    else if (cursor.number === 2) span.spanId = hex(cursor);
    else if (cursor.number === 4) span.parentSpanId = hex(cursor);
    else if (cursor.number === 5) span.name = text(cursor);
    else if (cursor.number === 7) span.startNs = view(cursor).getBigUint64(0, true);
    else if (cursor.number === 8) span.endNs = view(cursor).getBigUint64(0, true);
    else if (cursor.number === 10) span.dropped = Number(varint(cursor));
    else if (cursor.number === 16) span.flags = view(cursor).getUint32(0, true);
    else if (cursor.number === 11) {
      const event = inside(cursor);
      let name = '';
      while (event.next()) if (event.number === 2) name = text(event);
      events.push({ name, attributes: attributesOf(inside(cursor), 3) });
    } else if (cursor.number === 15) {
      const status = inside(cursor);
      while (status.next()) {
        if (status.number === 2) span.statusMessage = text(status);
        if (status.number === 3) span.code = varint(status);
      }
    }
  }
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId,
    name: span.name,
    start: new Date(Number(span.startNs / 1_000_000n)).toISOString(),
    durationMs: Number(span.endNs - span.startNs) / 1e6,
    status: span.code === 2n ? 'error' : span.code === 1n ? 'ok' : 'unset',
    statusMessage: span.statusMessage,
    isSampled: (span.flags & 1) === 1,
    ...contexts(entry),
    attributes: attributesOf(new FieldCursor(entry, start, end), 9),
    events,
    droppedAttributes: span.dropped,
  };
}
