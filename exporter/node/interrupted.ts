// SPDX-License-Identifier: Apache-2.0
/**
 * What the next start seals for a process that was killed: each call of which no end is in the log, and the sum of its
 * numbers (invariant 8). Reads the journal and the records behind it; where either does not tell, it says nothing, and
 * the log stays unclean.
 */
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import {
  type ControlEvent,
  controlText,
  type InterruptedEvent,
  parseControl,
} from '../log/control.ts';
import { splitPayload } from '../log/entries.ts';
import { PAYLOAD_BYTE_LENGTH_MAX } from '../log/limits.ts';
import { NumberRanges, sequenceOf } from '../log/numbers.ts';
import { type Frame, parseSegmentName, readFrames, segmentName } from '../log/segment.ts';
import type { Files } from './files.ts';
import { type IntentRecord, type Intents, readIntents } from './intents.ts';

export interface EndOfRunOptions {
  readonly files: Files;
  /** The log directory. */
  readonly dir: string;
  /** Durable records. */
  readonly size: number;
  /** False for a writer that numbers nothing, such as a gateway: then no journal is needed to know what was started. */
  readonly numbers: boolean;
}

/** Events that end the run of a killed process, `closed` last; none where it ended in order, or nobody can tell. */
export function endOfRun(options: EndOfRunOptions): ControlEvent[] {
  const { files, dir, size } = options;
  const run = readIntents(files, dir).findLast((one) => one.run < size);
  if (run === undefined || (options.numbers && !run.isWhole)) return [];
  const sealed = readRun(options, run);
  if (sealed === undefined) return [];
  const interrupted = run.intents.filter(({ sequence }) => !sealed.numbers.has(sequence));
  const ended = run.highest - interrupted.length;
  return [
    ...interrupted.map(interruptedEvent),
    {
      name: 'closed',
      started: run.highest,
      ended,
      sealed: ended - sealed.lost,
      lost: sealed.lost,
      highest: run.highest,
      open: '',
      interrupted: interrupted.length,
    },
  ];
}

/** What is sealed of a call of which no end will be. */
export function interruptedEvent(intent: IntentRecord): InterruptedEvent {
  const { sequence, traceId, spanId, startedMs, model } = intent;
  return {
    name: 'interrupted',
    sequence,
    traceId,
    spanId,
    startedMs,
    ...(model === '' ? {} : { model: controlText(model) }),
  };
}

/** Numbers that the log accounts for since the journal began; undefined where the run is not the newest, or ended. */
function readRun(
  { files, dir, size }: EndOfRunOptions,
  { run, fromRecord }: Intents,
): { readonly numbers: NumberRanges; readonly lost: number } | undefined {
  const numbers = new NumberRanges();
  let lost = 0;
  let isNewest = true;
  const first = Math.min(run, fromRecord);
  for (const frame of framesFrom(files, dir, first, size)) {
    const { header } = frame;
    if (header.kind === 'logs') continue;
    const entries = splitPayload(
      zstdDecompressSync(frame.stored, { maxOutputLength: PAYLOAD_BYTE_LENGTH_MAX }),
      header.kind,
    );
    if (header.kind === 'traces') {
      if (header.source.kind !== 'in-process') continue;
      for (const entry of entries) {
        const sequence = sequenceOf(entry);
        if (sequence !== undefined) numbers.add(sequence);
      }
      continue;
    }
    for (const entry of entries) {
      const { event } = parseControl(entry);
      if (event.name === 'closed' && header.index > run) isNewest = false;
      if (event.name === 'opened' && header.index > run && event.continues === undefined) {
        isNewest = false;
      }
      if (event.name === 'gap' && header.index > run) {
        lost += event.count;
        if (event.first > 0 && event.last >= event.first) numbers.add(event.first, event.last);
      }
    }
  }
  return isNewest ? { numbers, lost } : undefined;
}

/** Whole frames from a record on, one segment in memory at a time. */
function* framesFrom(files: Files, dir: string, first: number, size: number): Generator<Frame> {
  const segments = (files.list(join(dir, 'segments')) ?? [])
    .map(parseSegmentName)
    .filter((index) => index !== undefined && index < size);
  const from = segments.findLastIndex((index) => (index ?? 0) <= first);
  for (const index of segments.slice(Math.max(0, from))) {
    const bytes = files.readAll(join(dir, 'segments', segmentName(index ?? 0)));
    if (bytes === undefined) continue;
    for (const frame of readFrames(bytes)) {
      if (frame.header.index >= first && frame.header.index < size) yield frame;
    }
  }
}
