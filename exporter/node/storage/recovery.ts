// SPDX-License-Identifier: Apache-2.0
/**
 * What a start cut off the end of a log, in a file beside it until a record tells of it (invariant 5). Decides nothing:
 * the writer judges what is to be cut.
 */
import { join } from 'node:path';
import { equalBytes } from '../../log/bytes.ts';
import { encodeControl, parseControl, type RecoveredEvent } from '../../log/control.ts';
import { splitPayload } from '../../log/entries.ts';
import { RECOVERED_BYTE_LENGTH_MAX } from '../../log/limits.ts';
import { type Files, replaceFile } from '../system/files.ts';
import { sha256 } from '../system/keys.ts';

const RECOVERY = 'recovery';

/** Cuts that no record tells of yet. @throws Error where the file holds something else */
export function readRecovery(files: Files, dir: string): RecoveredEvent[] {
  const bytes = files.readAll(join(dir, RECOVERY));
  if (bytes === undefined) return [];
  return splitPayload(bytes, 'control').map((entry) => {
    const { event } = parseControl(entry);
    if (event.name !== 'recovered') throw new Error(`holds ${event.name}`);
    return event;
  });
}

/** Bytes behind the last whole frame of a segment. */
export interface Cut {
  /** First record index of the segment. */
  readonly segment: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Remembers one more cut: a recovery that was itself cut short left its own, and each is sealed, the first one too. */
export function rememberCut(
  files: Files,
  dir: string,
  { segment, offset, bytes }: Cut,
  before: readonly RecoveredEvent[],
  nowMs: number,
): void {
  const event: RecoveredEvent = {
    name: 'recovered',
    segment,
    offset,
    byteLength: bytes.length,
    sha256: sha256(bytes),
    cut: bytes.subarray(0, RECOVERED_BYTE_LENGTH_MAX),
  };
  const last = before.at(-1);
  const isRepeated =
    last !== undefined && last.offset === offset && equalBytes(last.sha256, event.sha256);
  const events = isRepeated ? before : [...before, event];
  const file = Buffer.concat(events.map((one) => encodeControl(one, nowMs)));
  replaceFile(files, join(dir, RECOVERY), file);
}

export function forgetCuts(files: Files, dir: string): void {
  files.remove(join(dir, RECOVERY));
}
