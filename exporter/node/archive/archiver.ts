// SPDX-License-Identifier: Apache-2.0
/**
 * Copies each finished segment, and a checkpoint that covers it, into a write-once store, and has a receipt sealed for it.
 * Says nothing about how long the store keeps it: that is in the lock it reads back, where it has one.
 */
import { createHash } from 'node:crypto';
import { encodeHex } from '../../log/bytes.ts';
import { controlText, type ReceiptEvent } from '../../log/control.ts';
import type { FinishedSegment } from '../storage/record.ts';
import { causeOf } from '../system/cause.ts';
import { openPacer, type RetryDelays, TIMER_MS_MAX } from '../system/pacer.ts';
import { type Archive, type ArchiveObject, checkKey, digestContent } from './archive.ts';

/** A segment that is not archived, and will not be while this archiver is open: the store holds something else there. */
export interface ArchiveReport {
  readonly code: 'conflict';
  readonly firstIndex: number;
  readonly cause: string;
}

export interface ArchiverConfig {
  readonly archive: Archive;
  readonly origin: string;
  /** Finished segments in order, from the one that begins at `from` on; those with a receipt may be left out. */
  readonly finishedSegments: (from: number) => AsyncIterable<FinishedSegment>;
  /**
   * A checkpoint that covers the first `size` records, if there is one: the one of exactly so many where it was kept,
   * since an archive that ends with a segment then verifies by itself; else the newest.
   */
  readonly checkpoint: (
    size: number,
  ) => { readonly size: number; readonly bytes: Uint8Array } | undefined;
  /** What was in front of the segment that begins at `firstIndex`, where that was kept. */
  readonly start?: (firstIndex: number) => Uint8Array | undefined;
  /** The receipts in the log: progress is what is sealed, not what a file beside it says (invariant 10). */
  readonly receipts: Iterable<Pick<ReceiptEvent, 'archive' | 'key'>>;
  /** Seals a receipt; the segment counts as archived once this resolves. */
  readonly onReceipt: (receipt: ReceiptEvent) => void | Promise<void>;
  readonly onReport: (report: ArchiveReport) => void;
  readonly retryDelays?: RetryDelays;
}

export interface ArchiveStatus {
  readonly state: 'idle' | 'storing' | 'waiting' | 'closed';
  readonly archivedCount: number;
  /** Finished segments without a receipt, as of the latest look. */
  readonly behindBy: number;
  readonly failureCount: number;
  readonly cause: string | undefined;
}

export interface Archiver {
  /** There is a new finished segment or checkpoint. */
  notify(): void;
  /** Archives what can be by now; `pending` if something is left or it takes longer than `deadlineMs` from now. */
  flush(
    deadlineMs: number,
  ): Promise<{ readonly status: 'ok' | 'pending'; readonly behindBy: number }>;
  status(): ArchiveStatus;
  close(): Promise<void>;
}

/** `<origin>/segments/<index of the first record, 20 digits>.seg` */
export function segmentKey(origin: string, firstIndex: number): string {
  return `${origin}/segments/${digits20(firstIndex)}.seg`;
}

/** `<origin>/checkpoints/<size, 20 digits>-<SHA-256 of the note, hex>`: two for one size can stand side by side. */
export function checkpointKey(origin: string, size: number, note: Uint8Array): string {
  const sha256 = createHash('sha256').update(note).digest();
  return `${origin}/checkpoints/${digits20(size)}-${encodeHex(sha256)}`;
}

/** `<origin>/starts/<index of the first record behind it, 20 digits>` */
export function startKey(origin: string, firstIndex: number): string {
  return `${origin}/starts/${digits20(firstIndex)}`;
}

function digits20(value: number): string {
  return String(value).padStart(20, '0');
}

/**
 * Starts archiving at once.
 * @throws TypeError if the origin can not be part of a key
 */
export function openArchiver(config: ArchiverConfig): Archiver {
  const { archive, origin } = config;
  checkKey(segmentKey(origin, 0));
  const pacer = openPacer(config.retryDelays);
  const abort = new AbortController();
  const archived = new Set<string>();
  for (const receipt of config.receipts) {
    if (receipt.archive === archive.name) archived.add(receipt.key);
  }
  const conflicting = new Set<string>();
  let state: ArchiveStatus['state'] = 'idle';
  let archivedCount = 0;
  let behindBy = 0;
  let failureCount = 0;
  let cause: string | undefined;
  /** All segments before this record are archived: a pass costs what is new, not what there is. */
  let archivedTo = 0;

  /** What is wrong with one of our own files, in the pass under way. The other segments are archived all the same. */
  let localFailure: unknown;

  /** Stores a segment with its checkpoint and hands out the receipt; throws where the store fails, as it would for all. */
  const archiveSegment = async (
    segment: FinishedSegment,
    checkpoint: { readonly size: number; readonly bytes: Uint8Array },
  ): Promise<void> => {
    const key = segmentKey(origin, segment.firstIndex);
    const { byteLength } = segment;
    let sha256: Uint8Array;
    try {
      const digest = await digestContent({ path: segment.path });
      if (digest.byteLength !== byteLength) {
        throw new Error(`${segment.path}: ${digest.byteLength} bytes instead of ${byteLength}`);
      }
      sha256 = digest.sha256;
    } catch (error) {
      localFailure ??= error;
      return;
    }
    const { bytes } = checkpoint;
    const start = config.start?.(segment.firstIndex);
    const objects: readonly ArchiveObject[] = [
      { key, content: { path: segment.path }, byteLength, sha256 },
      // A crash between the two leaves a segment without the proof of who sealed it; without a receipt both are put again.
      {
        key: checkpointKey(origin, checkpoint.size, bytes),
        content: { bytes },
        byteLength: bytes.length,
        sha256: createHash('sha256').update(bytes).digest(),
      },
      ...(start === undefined
        ? []
        : [
            {
              key: startKey(origin, segment.firstIndex),
              content: { bytes: start },
              byteLength: start.length,
              sha256: createHash('sha256').update(start).digest(),
            },
          ]),
    ];
    let lock: string | undefined;
    for (const object of objects) {
      const outcome = await archive.put(object, abort.signal);
      if (outcome.status === 'retryable') throw new Error(outcome.cause);
      if (outcome.status === 'conflict') {
        conflicting.add(key);
        report({ code: 'conflict', firstIndex: segment.firstIndex, cause: outcome.cause });
        return;
      }
      if (object.key === key) lock = outcome.lock;
    }
    // A crash before the receipt is sealed: the next start puts both again, finds them there, and seals it then.
    await config.onReceipt({
      name: 'receipt',
      archive: archive.name,
      segment: segment.firstIndex,
      size: segment.nextIndex,
      byteLength,
      sha256,
      key,
      ...(lock === undefined ? {} : { lock: controlText(lock) }),
    });
    archived.add(key);
    archivedCount++;
  };

  const report = (text: ArchiveReport): void => {
    try {
      config.onReport(text);
    } catch {
      // A broken listener must not stop the log from being archived.
    }
  };

  const pass = async (): Promise<void> => {
    let left = 0;
    localFailure = undefined;
    for await (const segment of config.finishedSegments(archivedTo)) {
      const key = segmentKey(origin, segment.firstIndex);
      if (archived.has(key)) {
        if (left === 0) archivedTo = segment.nextIndex;
        continue;
      }
      left++;
      // Grows while a pass looks; shrinks only when one has looked at all.
      behindBy = Math.max(behindBy, left);
      if (abort.signal.aborted) return;
      if (conflicting.has(key)) continue;
      const checkpoint = config.checkpoint(segment.nextIndex);
      // Not covered yet: the next checkpoint comes with its own notification.
      if (checkpoint === undefined || checkpoint.size < segment.nextIndex) continue;
      await archiveSegment(segment, checkpoint);
      if (archived.has(key)) left--;
      if (left === 0) archivedTo = segment.nextIndex;
    }
    behindBy = left;
    if (localFailure !== undefined) throw localFailure;
  };

  let passCount = 0;
  const flushes = new Set<{ readonly passNeeded: number; readonly settle: () => void }>();

  const run = async (): Promise<void> => {
    while (!abort.signal.aborted) {
      passCount++;
      state = 'storing';
      try {
        await pass();
      } catch (error) {
        state = 'waiting';
        failureCount++;
        cause = causeOf(error);
        await pacer.pause(failureCount);
        continue;
      }
      failureCount = 0;
      cause = undefined;
      state = 'idle';
      for (const flush of [...flushes]) if (flush.passNeeded <= passCount) flush.settle();
      await pacer.idle();
    }
    state = 'closed';
  };
  const running = run();

  return {
    notify: () => pacer.notify(),
    flush: (deadlineMs) =>
      new Promise((resolvePromise) => {
        const settle = (isDone: boolean): void => {
          clearTimeout(timer);
          flushes.delete(flush);
          resolvePromise({ status: isDone && behindBy === 0 ? 'ok' : 'pending', behindBy });
        };
        // The pass under way may have looked before the newest segment was finished; the one after it can not.
        const flush = { passNeeded: passCount + 1, settle: () => settle(!abort.signal.aborted) };
        const timer = setTimeout(() => settle(false), Math.min(deadlineMs, TIMER_MS_MAX));
        if (abort.signal.aborted) return settle(false);
        flushes.add(flush);
        pacer.notify();
        pacer.hurry();
      }),
    status: () => ({ state, archivedCount, behindBy, failureCount, cause }),
    close: async () => {
      abort.abort();
      pacer.close();
      for (const flush of [...flushes]) flush.settle();
      await running;
    },
  };
}
