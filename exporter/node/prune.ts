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
} from '../log/bytes.ts';
import type { ReceiptEvent } from '../log/control.ts';
import { type Hash, leafHash, NO_LINK, Tree } from '../log/merkle.ts';
import { readFrames } from '../log/segment.ts';
import { type Files, replaceFile } from './files.ts';
import { sha256 } from './keys.ts';
import { DAY_MS } from './retention.ts';

/** The end of what was removed. */
export interface PrunedHead {
  /** Records removed; 0 where nothing was. */
  readonly size: number;
  readonly peaks: readonly Hash[];
  /** Leaf hash of the last of them. */
  readonly link: Hash;
  /** When it was sealed, milliseconds since 1970. */
  readonly sealedMs: number;
}

export const NOTHING_PRUNED: PrunedHead = { size: 0, peaks: [], link: NO_LINK, sealedMs: 0 };

export const PRUNED: string = 'pruned';
const PRUNED_HEADER = 'sealspan/pruned@v1';

export function encodePruned({ size, peaks, link, sealedMs }: PrunedHead): Uint8Array {
  const lines = [PRUNED_HEADER, size, sealedMs, encodeBase64(link), ...peaks.map(encodeBase64)];
  return fromLatin1(`${lines.join('\n')}\n`);
}

/** The inverse of {@link encodePruned}; undefined where the bytes are none. */
export function parsePruned(bytes: Uint8Array): PrunedHead | undefined {
  const [header, sizeText = '', sealedText = '', ...hashes] = latin1(bytes)
    .split('\n')
    .slice(0, -1);
  const size = parseDecimal(sizeText);
  const sealedMs = parseDecimal(sealedText);
  if (header !== PRUNED_HEADER || size === undefined || sealedMs === undefined) return undefined;
  try {
    const [link, ...peaks] = hashes.map(decodeBase64);
    if (link === undefined) return undefined;
    const head = { size, peaks, link, sealedMs };
    return equalBytes(encodePruned(head), bytes) ? head : undefined;
  } catch {
    return undefined;
  }
}

/** What was removed from a log directory; undefined where the file that tells is damaged. */
export function readPruned(files: Files, dir: string): PrunedHead | undefined {
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
  /** The first record that somebody here still needs: the forwarder, the journal of started calls. */
  readonly neededFrom: number;
}

export interface PruneOutcome {
  readonly prunedCount: number;
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
  if (pruned === undefined) return { prunedCount: 0, problem: `${join(dir, PRUNED)} is damaged` };
  let head = pruned;
  let prunedCount = 0;
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
      return { prunedCount, problem: `${join(folder, name)} is not what was archived of it` };
    }
    head = advance(head, bytes);
    // A crash before this leaves the segment, and it is removed another time. After it, the tree goes on without it,
    // and what is left of it is removed by the next start.
    replaceFile(files, join(dir, PRUNED), encodePruned(head));
    files.remove(join(folder, name));
    prunedCount++;
  }
  return { prunedCount, problem: undefined };
}

/** The head behind one more segment. */
function advance(head: PrunedHead, segment: Uint8Array): PrunedHead {
  const tree = new Tree(sha256, head.size, head.peaks);
  let { link, sealedMs } = head;
  for (const { header, headerBytes } of readFrames(segment)) {
    link = leafHash(sha256, headerBytes);
    sealedMs = Date.parse(header.sealed);
    tree.append(link);
  }
  return { size: tree.size, peaks: tree.peaks, link, sealedMs };
}
