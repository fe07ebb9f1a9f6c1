// SPDX-License-Identifier: Apache-2.0
/**
 * What a span says of the numbers of the process that made it, where somebody else seals it: its instance, and of a
 * beat the counters. Claims of a sender on itself; nothing here says who the sender is. FORMAT.md, "Instances".
 */
// Not by semconv's index: the schemas that it brings along take a thread longer to load than all that it checks with.
import {
  ATTR_AIGOV_HEARTBEAT_HIGHEST,
  ATTR_AIGOV_HEARTBEAT_INTERVAL_MS,
  ATTR_AIGOV_HEARTBEAT_OPEN,
  ATTR_AIGOV_HEARTBEAT_STATE,
  ATTR_AIGOV_SEQUENCE,
} from '../../../semconv/attributes.ts';
import { concat, equalBytes, fromLatin1, latin1 } from '../../log/bytes.ts';
import { spanOf } from '../../log/numbers.ts';
import { FieldCursor, LEN, VARINT, varintByteLength, writeVarint } from '../../log/wire.ts';

/** Which process: one life of it, by a text of its own choice. */
export const ATTR_SERVICE_INSTANCE_ID = 'service.instance.id';

export interface Beat {
  readonly highest: number;
  readonly open: string;
  readonly intervalMs: number;
  readonly isClosed: boolean;
}

export interface Claims {
  readonly instance: string | undefined;
  readonly beat: Beat | undefined;
}

const INSTANCE = /^[\x21-\x7e]{1,256}$/;
/** As in control events. */
const TEXT = /^[\x20-\x7e]{0,1024}$/;
const INTERVAL_MS_MAX = 86_400_000;
const COUNT_TAG = 3 * 8 + VARINT;
const TEXT_TAG = 1 * 8 + LEN;
const SPAN_ATTRIBUTES = 9;
const ATTRIBUTE_KEY = 1;
const SEQUENCE_KEY = fromLatin1(ATTR_AIGOV_SEQUENCE);

const KEYS: ReadonlySet<string> = new Set([
  ATTR_SERVICE_INSTANCE_ID,
  ATTR_AIGOV_HEARTBEAT_HIGHEST,
  ATTR_AIGOV_HEARTBEAT_INTERVAL_MS,
  ATTR_AIGOV_HEARTBEAT_OPEN,
  ATTR_AIGOV_HEARTBEAT_STATE,
]);

/** @param entry of a `traces` record that was verified */
export function claimsOf(entry: Uint8Array): Claims {
  const values = valuesOf(entry);
  const instance = values.get(ATTR_SERVICE_INSTANCE_ID);
  const highest = values.get(ATTR_AIGOV_HEARTBEAT_HIGHEST);
  const open = values.get(ATTR_AIGOV_HEARTBEAT_OPEN);
  const intervalMs = values.get(ATTR_AIGOV_HEARTBEAT_INTERVAL_MS);
  const state = values.get(ATTR_AIGOV_HEARTBEAT_STATE);
  const isBeat =
    typeof highest === 'number' &&
    typeof open === 'string' &&
    typeof intervalMs === 'number' &&
    intervalMs >= 1 &&
    intervalMs <= INTERVAL_MS_MAX &&
    (state === 'running' || state === 'closed');
  return {
    instance: typeof instance === 'string' && INSTANCE.test(instance) ? instance : undefined,
    beat: isBeat ? { highest, open, intervalMs, isClosed: state === 'closed' } : undefined,
  };
}

/** Whether a span has a number at all, be it one that can be read or not: what rewrites attributes may make a text of it. */
export function isNumbered(entry: Uint8Array): boolean {
  const span = spanOf(entry);
  while (span.next()) {
    if (span.number !== SPAN_ATTRIBUTES) continue;
    const attribute = new FieldCursor(entry, span.valueStart, span.valueEnd);
    while (attribute.next()) {
      const { number, valueStart, valueEnd } = attribute;
      if (number !== ATTRIBUTE_KEY || valueEnd - valueStart !== SEQUENCE_KEY.length) continue;
      if (equalBytes(entry.subarray(valueStart, valueEnd), SEQUENCE_KEY)) return true;
    }
  }
  return false;
}

function valuesOf(entry: Uint8Array): Map<string, string | number> {
  const values = new Map<string, string | number>();
  const span = spanOf(entry);
  while (span.next()) {
    if (span.number !== SPAN_ATTRIBUTES) continue;
    const pair = pairIn(entry.subarray(span.valueStart, span.valueEnd));
    if (pair === undefined || !KEYS.has(pair.key) || values.has(pair.key)) continue;
    if (typeof pair.value === 'number' || TEXT.test(pair.value)) values.set(pair.key, pair.value);
  }
  return values;
}

interface Pair {
  readonly key: string;
  readonly value: string | number;
}

/**
 * An attribute that is nothing but a key and a text or a count, minimally spelled, in either order: some Collectors
 * write backwards. Of bytes that are no UTF-8 each is a character.
 */
function pairIn(attribute: Uint8Array): Pair | undefined {
  const fields = fieldsIn(attribute);
  const key = fields.find(([number]) => number === 1)?.[1];
  const body = fields.find(([number]) => number === 2)?.[1];
  if (key === undefined || body === undefined || fields.length !== 2) return undefined;
  const value = valueIn(body);
  if (value === undefined) return undefined;
  const keyField = field(1, key);
  const valueField = field(2, encodeValue(value));
  const isKeyFirst = fields[0]![0] === 1;
  // What does not encode back to these bytes has another spelling, and counts for nothing.
  const again = isKeyFirst ? concat(keyField, valueField) : concat(valueField, keyField);
  return equalBytes(again, attribute) ? { key: latin1(key), value } : undefined;
}

/** Fields of a message that the walker let through, those that are LEN. */
function fieldsIn(message: Uint8Array): (readonly [number: number, body: Uint8Array])[] {
  const fields: (readonly [number, Uint8Array])[] = [];
  const cursor = new FieldCursor(message, 0, message.length);
  while (cursor.next()) {
    if (cursor.wireType !== LEN) return [];
    fields.push([cursor.number, message.subarray(cursor.valueStart, cursor.valueEnd)]);
  }
  return fields;
}

function valueIn(body: Uint8Array): string | number | undefined {
  const cursor = new FieldCursor(body, 0, body.length);
  if (!cursor.next()) return undefined;
  if (body[0] === TEXT_TAG) return latin1(body, cursor.valueStart, cursor.valueEnd);
  if (body[0] !== COUNT_TAG) return undefined;
  let count = 0;
  for (let digit = cursor.valueEnd - 1; digit >= cursor.valueStart; digit--) {
    count = count * 128 + (body[digit]! & 0x7f);
  }
  return Number.isSafeInteger(count) ? count : undefined;
}

function encodeValue(value: string | number): Uint8Array {
  if (typeof value === 'string') return field(1, fromLatin1(value));
  const bytes = new Uint8Array(1 + varintByteLength(value));
  bytes[0] = COUNT_TAG;
  writeVarint(bytes, 1, value);
  return bytes;
}

/** `F(number, body)`. */
function field(number: number, body: Uint8Array): Uint8Array {
  const head = new Uint8Array(1 + varintByteLength(body.length));
  head[0] = number * 8 + LEN;
  writeVarint(head, 1, body.length);
  return concat(head, body);
}

/** `service.name` of an entry's resource, for people; undefined where there is none. */
export function serviceOf(entry: Uint8Array): string | undefined {
  const top = new FieldCursor(entry, 0, entry.length);
  if (!top.next()) return undefined;
  const container = new FieldCursor(entry, top.valueStart, top.valueEnd);
  while (container.next()) {
    if (container.number !== 1) continue;
    const resource = new FieldCursor(entry, container.valueStart, container.valueEnd);
    while (resource.next()) {
      if (resource.number !== 1) continue;
      const pair = pairIn(entry.subarray(resource.valueStart, resource.valueEnd));
      if (pair?.key !== 'service.name') continue;
      return typeof pair.value === 'string' ? utf8(pair.value) : undefined;
    }
  }
  return undefined;
}

const utf8 = (text: string): string => Buffer.from(text, 'latin1').toString('utf8');
