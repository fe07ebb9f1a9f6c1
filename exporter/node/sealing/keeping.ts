// SPDX-License-Identifier: Apache-2.0
/**
 * Looks after what a log keeps, every few seconds: carries out legal holds that were asked for, and removes segments that
 * the archive has and the local disk need not have any more. Never removes anything while a hold is on.
 */
import type { ReceiptEvent } from '../../log/control.ts';
import type { Archive } from '../archive/archive.ts';
import { S3Archive } from '../archive/archive-s3.ts';
import { type HoldEvent, Holds } from '../archive/holds.ts';
import { readIntents } from '../storage/intents.ts';
import { type ArchivedSegment, pruneSegments } from '../storage/prune.ts';
import { causeOf } from '../system/cause.ts';
import { nodeFiles } from '../system/files.ts';
import { type SealedEvents, sealedEvents } from './place.ts';

export interface KeepingOptions {
  readonly dir: string;
  readonly origin: string;
  readonly archive: Archive | undefined;
  /** What the log said when it was opened; undefined where there is no archive, and nothing to be removed. */
  readonly sealed: SealedEvents | undefined;
  readonly localDays: number | undefined;
  readonly seal: (event: HoldEvent) => void;
  /** First record that is not forwarded yet. */
  readonly forwardedTo: () => number;
  readonly onReport: (code: string, cause: string) => void;
  readonly now?: () => number;
}

const LOOK_DELAY_MS = 5_000;

export class Keeping {
  readonly #options: KeepingOptions;
  readonly #archived = new Map<number, ArchivedSegment>();
  readonly #holds: Holds;
  readonly #timer: NodeJS.Timeout;

  constructor(options: KeepingOptions) {
    this.#options = options;
    const { archive, sealed, dir, origin } = options;
    for (const one of sealed?.archived ?? []) {
      if (one.receipt.archive === archive?.name) this.#archived.set(one.receipt.segment, one);
    }
    this.#holds = new Holds({
      files: nodeFiles,
      dir,
      sealed: sealed?.holds ?? (async () => (await sealedEvents(dir)).holds),
      seal: options.seal,
      apply: async (isHeld) => {
        if (archive instanceof S3Archive) await archive.setLegalHolds(origin, isHeld);
      },
      onReport: (cause) => options.onReport('hold.pending', cause),
    });
    // Where it could not be applied, as without the permission to, archiving goes on without it until it can.
    if (archive instanceof S3Archive && this.#holds.isApplied)
      archive.holdLegally(this.#holds.isHeld);
    this.#timer = setInterval(() => void this.look(), LOOK_DELAY_MS);
    this.#timer.unref();
    void this.look();
  }

  /** A receipt that was just sealed. */
  received(receipt: ReceiptEvent): void {
    const receivedMs = (this.#options.now ?? Date.now)();
    this.#archived.set(receipt.segment, { receipt, receivedMs });
  }

  async look(): Promise<void> {
    await this.#holds.poll();
    try {
      this.#prune();
    } catch (error) {
      this.#options.onReport('archive.prune', causeOf(error));
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #prune(): void {
    const { dir, localDays, forwardedTo, onReport, now = Date.now } = this.#options;
    if (localDays === undefined || !this.#holds.mayRemove) return;
    const { problem, size } = pruneSegments({
      files: nodeFiles,
      dir,
      localDays,
      nowMs: now(),
      archived: this.#archived,
      neededFrom: forwardedTo(),
      // After a kill the records behind its beginning tell which of its calls ended.
      journal: () => readIntents(nodeFiles, dir).findLast(({ intents }) => intents.length > 0),
    });
    for (const index of this.#archived.keys()) if (index < size) this.#archived.delete(index);
    if (problem !== undefined) onReport('archive.prune', problem);
  }
}
