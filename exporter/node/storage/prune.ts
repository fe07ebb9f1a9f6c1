// SPDX-License-Identifier: Apache-2.0
/**
 * Removes segments from the local disk that an archive has, and keeps what a writer needs to go on: the tree up to there,
 * in a file of a few hundred bytes. Whoever changes that file stops the writer, for the tree no longer has the root that was
 * signed. What was removed is verified in the archive, and no longer here.
 */
import { join } from 'node:path';
import {
  decodeBase64,
  encodeBase64,
  equalBytes,
  fromLatin1,
  latin1,
  parseDecimal,
} from '../../log/bytes.ts';
import type { ReceiptEvent } from '../../log/control.ts';
import { HASH_BYTE_LENGTH, leafHash, NO_LINK, Tree } from '../../log/merkle.ts';
import { readFrames } from '../../log/segment.ts';
import type { Removed } from '../../log/verify.ts';
import { type Files, replaceFile } from '../system/files.ts';
import { sha256 } from '../system/keys.ts';
import { DAY_MS } from './retention.ts';
import { keepPrunedNumbers } from './sealed-numbers.ts';

export const NOTHING_PRUNED: Removed = { size: 0, peaks: [], link: NO_LINK };

const PRUNED = 'pruned';
const PRUNED_HEADER = 'sealspan/pruned@v1';

export function encodePruned({ size, peaks, link }: Removed): Uint8Array {
  const lines = [PRUNED_HEADER, size, ...[link, ...peaks].map(encodeBase64)];
  return fromLatin1(`${lines.join('\n')}\n`);
}

/** The inverse of {@link encodePruned}; undefined where the bytes are no end of a log. FORMAT.md, "Log directory". */
export function parsePruned(bytes: Uint8Array): Removed | undefined {
  const [header, sizeText = '', ...hashes] = latin1(bytes).split('\n').slice(0, -1);
  const size = parseDecimal(sizeText);
  if (header !== PRUNED_HEADER || size === undefined) return undefined;
  try {
    const [link, ...peaks] = hashes.map(decodeBase64);
    const isWhole = [link, ...peaks].every((hash) => hash?.length === HASH_BYTE_LENGTH);
    // A tree has a peak for each set bit of its size.
    const isTree = size > 0 && peaks.length === BigInt(size).toString(2).replaceAll('0', '').length;
    if (link === undefined || !isWhole || !isTree) return undefined;
    const removed = { size, peaks, link };
    return equalBytes(encodePruned(removed), bytes) ? removed : undefined;
  } catch {
    return undefined;
  }
}

/** What was removed from a log directory; undefined where the file that tells is damaged. */
export function readPruned(files: Files, dir: string): Removed | undefined {
  const bytes = files.readAll(join(dir, PRUNED));
  return bytes === undefined ? NOTHING_PRUNED : parsePruned(bytes);
}

/** A segment that an archive has, and since when this log says so. */
export interface ArchivedSegment {
  readonly receipt: ReceiptEvent;
  readonly receivedMs: number;
}

export interface PruneOptions {
  readonly files: Files;
  readonly dir: string;
  /** Days that a segment stays after its receipt was sealed. */
  readonly localDays: number;
  readonly nowMs: number;
  /** Receipts of the archive in use, by first index of their segments. */
  readonly archived: ReadonlyMap<number, ArchivedSegment>;
  /** The first record that somebody here still needs. */
  readonly neededFrom: number;
  /** The run whose journal lists calls that ended in a record from an index on; asked where something is due. */
  readonly journal: () => { readonly run: number; readonly fromRecord: number } | undefined;
}

export interface PruneOutcome {
  /** Records removed by now, those of earlier times included. */
  readonly size: number;
  /** Why it went no further, where that is no good reason. */
  readonly problem: string | undefined;
}

/**
 * Removes the oldest segments whose time has come, one after the other, and no further than the first that must stay.
 * @throws Error of the file system
 */
export function pruneSegments(options: PruneOptions): PruneOutcome {
  const { files, dir, archived } = options;
  const folder = join(dir, 'segments');
  const pruned = readPruned(files, dir);
  if (pruned === undefined) return { size: 0, problem: `${join(dir, PRUNED)} is damaged` };
  let head = pruned;
  for (const name of files.list(folder) ?? []) {
    const firstIndex = Number(name.slice(0, -'.seg'.length));
    // What a crash left of an earlier time.
    if (firstIndex < head.size) {
      files.remove(join(folder, name));
      continue;
    }
    const found = archived.get(firstIndex);
    if (firstIndex !== head.size || found === undefined) break;
    const { receipt, receivedMs } = found;
    const isDue = receivedMs + options.localDays * DAY_MS <= options.nowMs;
    if (!isDue || receipt.size > options.neededFrom) break;
    const bytes = files.readAll(join(folder, name)) ?? new Uint8Array();
    if (bytes.length !== receipt.byteLength || !equalBytes(sha256(bytes), receipt.sha256)) {
      return { size: head.size, problem: `${join(folder, name)} is not what was archived of it` };
    }
    const journal = options.journal();
    const isListed = journal !== undefined && receipt.size > journal.fromRecord;
    if (isListed && !keepPrunedNumbers(files, dir, journal.run, bytes)) break;
    head = advance(head, bytes);
    // A crash before this leaves the segment, and it is removed another time. After it, the tree goes on without it,
    // and what is left of it is removed by the next start.
    replaceFile(files, join(dir, PRUNED), encodePruned(head));
    files.remove(join(folder, name));
  }
  return { size: head.size, problem: undefined };
}

/** The end of what is removed with one more segment. */
function advance(removed: Removed, segment: Uint8Array): Removed {
  const tree = new Tree(sha256, removed.size, removed.peaks);
  let { link } = removed;
  for (const { headerBytes } of readFrames(segment)) {
    link = leafHash(sha256, headerBytes);
    tree.append(link);
  }
  return { size: tree.size, peaks: tree.peaks, link };
}
