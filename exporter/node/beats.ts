// SPDX-License-Identifier: Apache-2.0
/**
 * What a span says of the numbers of the process that made it, where somebody else seals it: its instance, and of a
 * beat the counters. Claims of a sender on itself; nothing here says who the sender is. FORMAT.md, "Instances".
 */
import {
  ATTR_AIGOV_HEARTBEAT_HIGHEST,
  ATTR_AIGOV_HEARTBEAT_INTERVAL_MS,
  ATTR_AIGOV_HEARTBEAT_OPEN,
  ATTR_AIGOV_HEARTBEAT_STATE,
} from '../../semconv/index.ts';
import { concat, equalBytes, fromLatin1, latin1 } from '../log/bytes.ts';
import { FieldCursor, LEN, VARINT, varintByteLength, writeVarint } from '../log/wire.ts';

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
/** TracesData.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans: each the last field of an entry's level. */
const CHILD_NUMBERS = [1, 2, 2];
const SPAN_ATTRIBUTES = 9;

const KEYS: ReadonlySet<string> = new Set([
  ATTR_SERVICE_INSTANCE_ID,
  ATTR_AIGOV_HEARTBEAT_HIGHEST,
  ATTR_AIGOV_HEARTBEAT_INTERVAL_MS,
  ATTR_AIGOV_HEARTBEAT_OPEN,
  ATTR_AIGOV_HEARTBEAT_STATE,
]);
const KEY_LENGTHS: ReadonlySet<number> = new Set([...KEYS].map((key) => key.length));

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

function valuesOf(entry: Uint8Array): Map<string, string | number> {
  let start = 0;
  let end = entry.length;
  for (const child of CHILD_NUMBERS) {
    const cursor = new FieldCursor(entry, start, end);
    while (cursor.next()) {
      if (cursor.number !== child) continue;
      start = cursor.valueStart;
      end = cursor.valueEnd;
    }
  }
  const values = new Map<string, string | number>();
  const span = new FieldCursor(entry, start, end);
  while (span.next()) {
    if (span.number !== SPAN_ATTRIBUTES) continue;
    const keyLength = entry[span.valueStart + 1] ?? 0;
    if (!KEY_LENGTHS.has(keyLength)) continue;
    const keyStart = span.valueStart + 2;
    const key = latin1(entry, keyStart, Math.min(keyStart + keyLength, span.valueEnd));
    if (!KEYS.has(key) || values.has(key)) continue;
    const attribute = entry.subarray(span.valueStart, span.valueEnd);
    const value = valueIn(attribute, 2 + keyLength);
    if (value === undefined || (typeof value === 'string' && !TEXT.test(value))) continue;
    // What does not encode back to these bytes has another spelling, and counts for nothing.
    if (equalBytes(encodeAttribute(key, value), attribute)) values.set(key, value);
  }
  return values;
}

function valueIn(attribute: Uint8Array, at: number): string | number | undefined {
  const outer = new FieldCursor(attribute, at, attribute.length);
  try {
    if (!outer.next() || outer.number !== 2 || outer.wireType !== LEN) return undefined;
    const inner = new FieldCursor(attribute, outer.valueStart, outer.valueEnd);
    if (!inner.next()) return undefined;
    const tag = attribute[inner.tagStart];
    if (tag === TEXT_TAG) return latin1(attribute, inner.valueStart, inner.valueEnd);
    if (tag !== COUNT_TAG) return undefined;
    let count = 0;
    for (let digit = inner.valueEnd - 1; digit >= inner.valueStart; digit--) {
      count = count * 128 + (attribute[digit]! & 0x7f);
    }
    return Number.isSafeInteger(count) ? count : undefined;
  } catch {
    // The walker has no word on what stands behind a key: it may be anything.
    return undefined;
  }
}

/** `F(1, key) ‖ F(2, value)`. */
function encodeAttribute(key: string, value: string | number): Uint8Array {
  return concat(field(1, fromLatin1(key)), field(2, encodeValue(value)));
}

function encodeValue(value: string | number): Uint8Array {
  if (typeof value === 'string') return field(1, fromLatin1(value));
  const bytes = new Uint8Array(1 + varintByteLength(value));
  bytes[0] = COUNT_TAG;
  writeVarint(bytes, 1, value);
  return bytes;
}

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
      const attribute = entry.subarray(resource.valueStart, resource.valueEnd);
      const key = 'service.name';
      if (latin1(attribute, 2, 2 + key.length) !== key) continue;
      const value = valueIn(attribute, 2 + key.length);
      return typeof value === 'string' ? utf8(value) : undefined;
    }
  }
  return undefined;
}

const utf8 = (text: string): string => Buffer.from(text, 'latin1').toString('utf8');
