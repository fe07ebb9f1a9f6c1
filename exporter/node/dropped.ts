// SPDX-License-Identifier: Apache-2.0
/**
 * Counts what SDKs say they dropped of sealed spans for their own limits: attributes, events and links. The counts are in
 * the spans, sealed as they came; what an SDK leaves out without counting, such as a value of a wrong type, is not here.
 */
import type { VerifiedRecord } from '../log/record.ts';
import { FieldCursor } from '../log/wire.ts';
import { spanOf } from './beats.ts';

export interface Dropped {
  /** Spans of which anything was dropped. */
  readonly spans: number;
  readonly attributes: number;
  readonly events: number;
  readonly links: number;
}

// opentelemetry-proto v1.11.0, trace.proto.
const SPAN = { attributes: 10, events: 12, links: 14 } as const;
/** Field of a nested message, and of the count of attributes in it. */
const EVENT = { field: 11, dropped: 4 } as const;
const LINK = { field: 13, dropped: 5 } as const;

export class DroppedCounts {
  #spans = 0;
  #attributes = 0;
  #events = 0;
  #links = 0;

  get counts(): Dropped {
    return {
      spans: this.#spans,
      attributes: this.#attributes,
      events: this.#events,
      links: this.#links,
    };
  }

  /** What was counted elsewhere. */
  add({ spans, attributes, events, links }: Dropped): void {
    this.#spans += spans;
    this.#attributes += attributes;
    this.#events += events;
    this.#links += links;
  }

  take({ header, entries }: Pick<VerifiedRecord, 'header' | 'entries'>): void {
    if (header.kind !== 'traces') return;
    for (const entry of entries) this.#takeSpan(entry);
  }

  #takeSpan(entry: Uint8Array): void {
    let attributes = 0;
    let events = 0;
    let links = 0;
    const span = spanOf(entry);
    while (span.next()) {
      if (span.number === SPAN.attributes) attributes += countIn(span);
      else if (span.number === SPAN.events) events += countIn(span);
      else if (span.number === SPAN.links) links += countIn(span);
      else if (span.number === EVENT.field || span.number === LINK.field) {
        const { dropped } = span.number === EVENT.field ? EVENT : LINK;
        const inner = new FieldCursor(entry, span.valueStart, span.valueEnd);
        while (inner.next()) if (inner.number === dropped) attributes += countIn(inner);
      }
    }
    const spans = attributes + events + links > 0 ? 1 : 0;
    this.add({ spans, attributes, events, links });
  }
}

const UINT32_MAX = 0xffffffff;

/** A uint32, whatever a sender has put there. */
function countIn({ bytes, valueStart, valueEnd }: FieldCursor): number {
  let value = 0;
  for (let at = valueEnd - 1; at >= valueStart; at--) value = value * 128 + (bytes[at]! & 0x7f);
  return Math.min(value, UINT32_MAX);
}
