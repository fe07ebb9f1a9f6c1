// SPDX-License-Identifier: Apache-2.0
/**
 * The numbers of calls that records account for; and, in a file, those of records that were removed while the journal
 * still listed their calls, so that the start after a kill does not take them for interrupted. Operational: whoever
 * deletes the file makes that start say too much, and `verify` find nothing missing.
 */
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { fromLatin1, latin1, parseDecimal } from '../../log/bytes.ts';
import { type ControlEvent, parseControl } from '../../log/control.ts';
import { splitPayload } from '../../log/entries.ts';
import type { RecordHeader } from '../../log/header.ts';
import { PAYLOAD_BYTE_LENGTH_MAX } from '../../log/limits.ts';
import {
  formatNumberRanges,
  NumberRanges,
  parseNumberRanges,
  sequenceOf,
} from '../../log/numbers.ts';
import { readFrames } from '../../log/segment.ts';
import { type Files, replaceFile } from '../system/files.ts';

/** Numbers of the spans, or events, of a record; undefined where somebody changed it: verifying tells of that. */
export function contentOf(
  header: RecordHeader,
  stored: Uint8Array,
): { readonly sequences: number[]; readonly events: ControlEvent[] } | undefined {
  try {
    const payload = zstdDecompressSync(stored, { maxOutputLength: PAYLOAD_BYTE_LENGTH_MAX });
    const entries = splitPayload(payload, header.kind);
    if (header.kind === 'control') {
      return { sequences: [], events: entries.map((entry) => parseControl(entry).event) };
    }
    return { sequences: entries.map(sequenceOf).filter((one) => one !== undefined), events: [] };
  } catch {
    return undefined;
  }
}

const FILE = 'pruned-numbers';
const HEADER = 'sealspan/pruned-numbers@v1';

/** Numbers of a run that removed records account for, as far as a journal may still list their calls. */
export function readPrunedNumbers(files: Files, dir: string, run: number): NumberRanges {
  const numbers = new NumberRanges();
  const text = latin1(files.readAll(join(dir, FILE)) ?? new Uint8Array());
  const [header, ofRun = '', ranges = ''] = text.split('\n');
  if (header !== HEADER || parseDecimal(ofRun) !== run) return numbers;
  for (const [first, last] of parseNumberRanges(ranges) ?? []) numbers.add(first, last);
  return numbers;
}

/**
 * Adds the numbers of a segment that is about to be removed. A crash in between: they are counted twice, which is once.
 * @returns false where they are scattered too widely to be kept: then the segment has to stay
 */
export function keepPrunedNumbers(
  files: Files,
  dir: string,
  run: number,
  segment: Uint8Array,
): boolean {
  const numbers = readPrunedNumbers(files, dir, run);
  for (const { header, stored } of readFrames(segment)) {
    if (header.index < run || header.source.kind !== 'in-process') continue;
    if (header.kind === 'logs') continue;
    const content = contentOf(header, stored);
    for (const sequence of content?.sequences ?? []) numbers.add(sequence);
    for (const event of content?.events ?? []) {
      if (event.name === 'gap' && event.first > 0 && event.last >= event.first) {
        numbers.add(event.first, event.last);
      }
    }
  }
  if (numbers.isFull) return false;
  const lines = [HEADER, run, formatNumberRanges(numbers.ranges)];
  replaceFile(files, join(dir, FILE), fromLatin1(`${lines.join('\n')}\n`));
  return true;
}
