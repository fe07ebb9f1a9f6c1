// SPDX-License-Identifier: Apache-2.0
/**
 * What readers of whole logs ask of a record's entries, read by whoever checks them: so little that it goes from thread to
 * thread at no cost, and the entries need not. Tells nothing of a record that does not hold.
 */
import { type NumberRange, NumberRanges, sequenceOf } from '../../log/numbers.ts';
import {
  type CheckedRecord,
  type RecordFault,
  type VerifiedRecord,
  verifyRecord,
} from '../../log/record.ts';
import type { Frame } from '../../log/segment.ts';
import { nodePrimitives } from '../system/keys.ts';
import { type Beat, type Claims, claimsOf, isNumbered, serviceOf } from './beats.ts';
import { type Dropped, DroppedCounts } from './dropped.ts';
import { markOf } from './numbered-spans.ts';

/** What the spans of one record say of one process that had them sealed by somebody else. */
export interface Sent {
  /** Empty for the spans that have a number and nobody's name, or one that can not be read. */
  readonly instance: string;
  readonly service: string | undefined;
  readonly numbers: readonly NumberRange[];
  /** The number of each span, and what tells it from another one. */
  readonly spans: readonly (readonly [number: number, mark: number])[];
  /** Spans with a number that can not be read. */
  readonly unreadCount: number;
  /** In the order they stand in. */
  readonly beats: readonly Beat[];
}

export interface TalliedRecord extends CheckedRecord {
  readonly sent: readonly Sent[];
  readonly dropped: Dropped;
}

/** Checks a record as {@link verifyRecord} does. The memory of its payload is given back at once. */
export async function tallyRecord(frame: Frame): Promise<TalliedRecord | RecordFault> {
  const record = await verifyRecord(frame, nodePrimitives);
  if ('code' in record) return record;
  const tallied = tallyOf(record);
  release(record);
  return tallied;
}

/** What is asked of a record that is whole, and stays so. */
export function tallyOf(record: VerifiedRecord): TalliedRecord {
  const { header, leaf, events, numbers } = record;
  const dropped = new DroppedCounts();
  dropped.take(record);
  return { header, leaf, events, numbers, sent: sentIn(record), dropped: dropped.counts };
}

interface Tally {
  readonly service: string | undefined;
  readonly all: NumberRanges;
  readonly spans: [number: number, mark: number][];
  unreadCount: number;
  readonly beats: Beat[];
}

/** What a span says of itself beside a number that can not be read counts for nothing. */
const NO_CLAIMS: Claims = { instance: undefined, beat: undefined };

/** Of the senders whose numbers a record holds, in the order they come in. */
function sentIn({ header, entries }: VerifiedRecord): Sent[] {
  if (header.kind !== 'traces' || header.source.kind === 'in-process') return [];
  const sent = new Map<string, Tally>();
  for (const entry of entries) {
    const number = sequenceOf(entry);
    if (number === undefined && !isNumbered(entry)) continue;
    const { instance = '', beat } = number === undefined ? NO_CLAIMS : claimsOf(entry);
    let one = sent.get(instance);
    if (one === undefined) {
      const service = serviceOf(entry);
      one = { service, all: new NumberRanges(), spans: [], unreadCount: 0, beats: [] };
      sent.set(instance, one);
    }
    if (number === undefined) {
      one.unreadCount++;
      continue;
    }
    one.all.add(number);
    one.spans.push([number, markOf(entry)]);
    if (beat !== undefined) one.beats.push(beat);
  }
  return [...sent].map(([instance, { service, all, spans, unreadCount, beats }]) => ({
    instance,
    service,
    numbers: all.ranges,
    spans,
    unreadCount,
    beats,
  }));
}

/** Below this a buffer may be one that Node hands out in parts, and costs little to keep. */
const RELEASED_BYTE_LENGTH_MIN = 128 * 1024;

/**
 * Gives the payload back, whose entries nobody looks at any more: left to the garbage collector, payloads of megabytes call
 * it so often that it takes a fifth of the time of a verification.
 */
function release({ header, entries }: VerifiedRecord): void {
  const buffer = entries[0]?.buffer;
  // Of a control record the events may point into it.
  if (header.kind === 'control' || !(buffer instanceof ArrayBuffer)) return;
  if (buffer.byteLength < RELEASED_BYTE_LENGTH_MIN) return;
  buffer.transfer(0);
}
