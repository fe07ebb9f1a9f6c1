// SPDX-License-Identifier: Apache-2.0
/**
 * Counts what SDKs dropped of sealed spans for their own limits: attributes, events and links as the spans say, and texts
 * that are as long as the limit that the span names, which is how one looks that was cut. What an SDK leaves out without
 * a trace, such as a value of a wrong type, is not here.
 */
import { ATTR_AIGOV_VALUE_LENGTH_LIMIT } from '../../../semconv/index.ts';
import { equalBytes, fromLatin1 } from '../../log/bytes.ts';
import { spanOf } from '../../log/numbers.ts';
import type { VerifiedRecord } from '../../log/record.ts';
import { FieldCursor } from '../../log/wire.ts';

export interface Dropped {
  /** Spans of which anything was dropped. */
  readonly spans: number;
  readonly attributes: number;
  readonly events: number;
  readonly links: number;
  /** Texts that were cut, or are just as long as their SDK lets them be. */
  readonly cutValues: number;
}

// opentelemetry-proto v1.11.0, trace.proto.
const SPAN = { attributes: 10, events: 12, links: 14 } as const;
const SPAN_ATTRIBUTE = 9;
/** Field of a nested message, of the attributes in it, and of the count of those dropped. */
const EVENT = { field: 11, attribute: 3, dropped: 4 } as const;
const LINK = { field: 13, attribute: 4, dropped: 5 } as const;
// common.proto.
const KEY_VALUE = { key: 1, value: 2 } as const;
const ANY_VALUE = { text: 1, int: 3, array: 5, map: 6 } as const;
const VALUES_OF_ARRAY = 1;
const PAIRS_OF_MAP = 1;

/** F(1, key) of the attribute. */
const LIMIT_KEY = fromLatin1(
  `\x0a${String.fromCharCode(ATTR_AIGOV_VALUE_LENGTH_LIMIT.length)}${ATTR_AIGOV_VALUE_LENGTH_LIMIT}`,
);

export class DroppedCounts {
  #spans = 0;
  #attributes = 0;
  #events = 0;
  #links = 0;
  #cutValues = 0;

  get counts(): Dropped {
    return {
      spans: this.#spans,
      attributes: this.#attributes,
      events: this.#events,
      links: this.#links,
      cutValues: this.#cutValues,
    };
  }

  /** What was counted elsewhere. */
  add({ spans, attributes, events, links, cutValues }: Dropped): void {
    this.#spans += spans;
    this.#attributes += attributes;
    this.#events += events;
    this.#links += links;
    this.#cutValues += cutValues;
  }

  take({ header, entries }: Pick<VerifiedRecord, 'header' | 'entries'>): void {
    if (header.kind !== 'traces') return;
    for (const entry of entries) this.#takeSpan(entry);
  }

  #takeSpan(entry: Uint8Array): void {
    let attributes = 0;
    let events = 0;
    let links = 0;
    let limit: number | undefined;
    const span = spanOf(entry);
    while (span.next()) {
      if (span.number === SPAN_ATTRIBUTE) limit ??= limitIn(span);
      else if (span.number === SPAN.attributes) attributes += countIn(span);
      else if (span.number === SPAN.events) events += countIn(span);
      else if (span.number === SPAN.links) links += countIn(span);
      else if (span.number === EVENT.field || span.number === LINK.field) {
        const { dropped } = span.number === EVENT.field ? EVENT : LINK;
        const inner = new FieldCursor(entry, span.valueStart, span.valueEnd);
        while (inner.next()) if (inner.number === dropped) attributes += countIn(inner);
      }
    }
    const cutValues = limit === undefined ? 0 : countOfLength(entry, limit);
    const spans = attributes + events + links + cutValues > 0 ? 1 : 0;
    this.add({ spans, attributes, events, links, cutValues });
  }
}

/** The limit, where the attribute is that. */
function limitIn({ bytes, valueStart, valueEnd }: FieldCursor): number | undefined {
  // Most attributes have a key of another length.
  if (bytes[valueStart + 1] !== LIMIT_KEY[1]) return undefined;
  if (!equalBytes(bytes.subarray(valueStart, valueStart + LIMIT_KEY.length), LIMIT_KEY)) {
    return undefined;
  }
  const value = new FieldCursor(bytes, valueStart + LIMIT_KEY.length, valueEnd);
  if (!value.next() || value.number !== KEY_VALUE.value) return undefined;
  const int = new FieldCursor(bytes, value.valueStart, value.valueEnd);
  return int.next() && int.number === ANY_VALUE.int ? countIn(int) : undefined;
}

/** Texts of just that many UTF-16 units among the values of a span, its events and its links. */
function countOfLength(entry: Uint8Array, limit: number): number {
  let count = 0;
  const takeValue = (start: number, end: number): void => {
    const value = new FieldCursor(entry, start, end);
    while (value.next()) {
      const { number, valueStart, valueEnd } = value;
      if (number === ANY_VALUE.text && hasLength(entry, valueStart, valueEnd, limit)) count++;
      if (number === ANY_VALUE.array) takeEach(valueStart, valueEnd, VALUES_OF_ARRAY, takeValue);
      if (number === ANY_VALUE.map) takeEach(valueStart, valueEnd, PAIRS_OF_MAP, takePair);
    }
  };
  const takePair = (start: number, end: number): void =>
    takeEach(start, end, KEY_VALUE.value, takeValue);
  const takeEach = (
    start: number,
    end: number,
    field: number,
    take: (start: number, end: number) => void,
  ): void => {
    const cursor = new FieldCursor(entry, start, end);
    while (cursor.next()) if (cursor.number === field) take(cursor.valueStart, cursor.valueEnd);
  };
  const span = spanOf(entry);
  while (span.next()) {
    const { number, valueStart, valueEnd } = span;
    if (number === SPAN_ATTRIBUTE) takePair(valueStart, valueEnd);
    if (number === EVENT.field) takeEach(valueStart, valueEnd, EVENT.attribute, takePair);
    if (number === LINK.field) takeEach(valueStart, valueEnd, LINK.attribute, takePair);
  }
  return count;
}

/** Whether a text has so many UTF-16 units; a unit takes one byte to three of UTF-8. */
function hasLength(bytes: Uint8Array, start: number, end: number, units: number): boolean {
  if (end - start < units || end - start > 3 * units) return false;
  let found = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    // Of four bytes, two units; those that only go on are none.
    if (byte >= 0xf0) found += 2;
    else if (byte < 0x80 || byte >= 0xc0) found++;
  }
  return found === units;
}

const UINT32_MAX = 0xffffffff;

/** A uint32, whatever a sender has put there. */
function countIn({ bytes, valueStart, valueEnd }: FieldCursor): number {
  let value = 0;
  for (let at = valueEnd - 1; at >= valueStart; at--) value = value * 128 + (bytes[at]! & 0x7f);
  return Math.min(value, UINT32_MAX);
}
