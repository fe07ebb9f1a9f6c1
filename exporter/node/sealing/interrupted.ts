// SPDX-License-Identifier: Apache-2.0
/**
 * What the next start seals for a process that could not seal its own end, killed or with its disk away: each call of
 * which no end is in the log, whether or not it had one, and the sum of its numbers (invariant 8). Reads the journal and
 * the records behind it; where either does not tell, it says nothing, and the log stays unclean.
 */
import { join } from 'node:path';
import { type ControlEvent, controlText, type InterruptedEvent } from '../../log/control.ts';
import { headerEnd, parseHeader, type RecordHeader } from '../../log/header.ts';
import { HEADER_BYTE_LENGTH_MAX } from '../../log/limits.ts';
import type { NumberRanges } from '../../log/numbers.ts';
import { parseSegmentName, segmentName } from '../../log/segment.ts';
import { type IntentRecord, type Intents, readIntents } from '../storage/intents.ts';
import { contentOf, readPrunedNumbers } from '../storage/sealed-numbers.ts';
import type { Files } from '../system/files.ts';

export interface EndOfRunOptions {
  readonly files: Files;
  /** The log directory. */
  readonly dir: string;
  /** Durable records. */
  readonly size: number;
  /** False for a writer that numbers nothing, such as a gateway: then no journal is needed to know what was started. */
  readonly numbers: boolean;
}

/** Events that end the run of such a process, `closed` last; none where it sealed its end itself, or nobody can tell. */
export function endOfRun(options: EndOfRunOptions): ControlEvent[] {
  const { files, dir, size } = options;
  const run = readIntents(files, dir).findLast((one) => one.run < size);
  if (run === undefined || (options.numbers && !run.isWhole)) return [];
  const sealed = readRun(options, run);
  if (sealed === undefined) return [];
  // What was sealed before a call was made is not the journal's to leave out.
  const started = new Map(sealed.intents.map((intent) => [intent.sequence, intent]));
  for (const intent of run.intents) started.set(intent.sequence, intent);
  const interrupted = [...started.values()]
    .filter(({ sequence }) => !sealed.numbers.has(sequence))
    .sort((a, b) => a.sequence - b.sequence);
  const interruptedCount = sealed.interrupted + interrupted.length;
  const highest = Math.max(run.highest, sealed.highest);
  // Gaps whose numbers are not known may count calls that the journal tells of as well.
  const ended = Math.max(0, highest - interruptedCount);
  return [
    ...interrupted.map(interruptedEvent),
    {
      name: 'closed',
      started: highest,
      ended,
      sealed: Math.max(0, ended - sealed.lost),
      lost: sealed.lost,
      highest,
      open: '',
      interrupted: interruptedCount,
    },
  ];
}

/** What is sealed of a call of which no end will be. */
export function interruptedEvent(intent: IntentRecord): InterruptedEvent {
  const { sequence, traceId, spanId, startedMs, model } = intent;
  return {
    name: 'interrupted',
    sequence,
    traceId: controlText(traceId),
    spanId: controlText(spanId),
    startedMs,
    ...(model === '' ? {} : { model: controlText(model) }),
  };
}

/** What the log says of a run. */
interface SealedRun {
  /** Numbers accounted for, of calls whose end may be in the records that the journal points to. */
  readonly numbers: NumberRanges;
  /** Highest number in any event or span that was read: a journal that lost its end must not hide it. */
  readonly highest: number;
  readonly lost: number;
  /** Calls that were sealed as about to start, in the records that the journal points to. */
  readonly intents: readonly IntentRecord[];
  /** Calls that an earlier start sealed as interrupted, before it was killed as well. */
  readonly interrupted: number;
}

/** Reads a run; undefined where it is not the newest, ended already, or can not be read. */
function readRun(
  { files, dir, size }: EndOfRunOptions,
  { run, fromRecord }: Intents,
): SealedRun | undefined {
  const numbers = readPrunedNumbers(files, dir, run);
  let highest = 0;
  let lost = 0;
  let interrupted = 0;
  const intents: IntentRecord[] = [];
  for (const { header, readStored } of framesFrom(files, dir, run, size)) {
    if (header.index === run && header.kind !== 'control') return undefined;
    const isCounted = header.source.kind === 'in-process' && header.index >= fromRecord;
    if (header.kind !== 'control' && !(header.kind === 'traces' && isCounted)) continue;
    const sealed = contentOf(header, readStored());
    if (sealed === undefined) return undefined;
    for (const sequence of sealed.sequences) numbers.add(sequence);
    for (const event of sealed.events) {
      // The journal is of the run that this very record opened; whatever else begins or ends one is of another.
      const begins = event.name === 'opened' && event.continues === undefined;
      if (begins !== (header.index === run) || event.name === 'closed') return undefined;
      if (event.name === 'heartbeat') {
        highest = Math.max(highest, event.highest);
        // Gaps before it may be in segments that were removed.
        lost = Math.max(lost, event.lost);
      }
      if (event.name === 'intent') {
        highest = Math.max(highest, event.sequence);
        if (header.index >= fromRecord) intents.push({ ...event, model: event.model ?? '' });
      }
      if (event.name === 'gap') {
        lost += event.count;
        if (event.first > 0 && event.last >= event.first) numbers.add(event.first, event.last);
      }
      if (event.name === 'interrupted') {
        interrupted++;
        numbers.add(event.sequence);
      }
    }
  }
  if (numbers.isFull) return undefined;
  return { numbers, highest: Math.max(highest, numbers.highest), lost, intents, interrupted };
}

interface StoredFrame {
  readonly header: RecordHeader;
  readonly readStored: () => Uint8Array;
}

/** Records `first` to `size - 1`, their payloads unread: a start is not to wait for all that a long run has sealed. */
function* framesFrom(
  files: Files,
  dir: string,
  first: number,
  size: number,
): Generator<StoredFrame> {
  const segments = (files.list(join(dir, 'segments')) ?? [])
    .map(parseSegmentName)
    .filter((index) => index !== undefined);
  const from = segments.findLastIndex((index) => index <= first);
  const buffer = new Uint8Array(HEADER_BYTE_LENGTH_MAX);
  for (const segment of segments.slice(Math.max(0, from))) {
    const file = files.open(join(dir, 'segments', segmentName(segment)), 'read');
    try {
      let index = segment;
      for (let at = 0; index < size; index++) {
        const read = buffer.subarray(0, files.read(file, buffer, at));
        const end = headerEnd(read, 0);
        if (end === undefined) break;
        const header = parseHeader(read.slice(0, end));
        const storedAt = at + end;
        at = storedAt + header.storedByteLength;
        if (index < first) continue;
        const readStored = (): Uint8Array => {
          const stored = new Uint8Array(header.storedByteLength);
          return stored.subarray(0, files.read(file, stored, storedAt));
        };
        yield { header, readStored };
      }
    } finally {
      files.close(file);
    }
  }
}
