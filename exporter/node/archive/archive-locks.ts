// SPDX-License-Identifier: Apache-2.0
/**
 * Looks at how objects of an archive are kept: their locks, held against what was wanted and what receipts say, and the
 * delete markers in front of them. A lock is the store's word: it is told, not proved.
 */

import {
  type LockMode,
  lockText,
  type ObjectLock,
  parseReceiptText,
  weaknessOf,
} from '../storage/retention.ts';
import type { ArchiveFindings } from './archive-report.ts';
import type { StoredKey } from './s3-listing.ts';
import { S3Failure, type S3Store, type StoredBytes } from './s3-store.ts';

/** The lock that every object is to have. */
export interface WantedLock {
  readonly mode: LockMode;
  readonly minimumDays: number;
}

export class Locks {
  readonly #store: S3Store;
  readonly #wanted: WantedLock;
  readonly #findings: ArchiveFindings;
  #canSeeLocks = true;
  #lockedCount = 0;
  #objectCount = 0;
  #governedCount = 0;
  #heldCount = 0;
  /** The first object that is under no legal hold. */
  #unheld: string | undefined;
  #earliestMs: number = Number.POSITIVE_INFINITY;

  constructor(store: S3Store, wanted: WantedLock, findings: ArchiveFindings) {
    this.#store = store;
    this.#wanted = wanted;
    this.#findings = findings;
  }

  /** What the locks of all objects amount to. */
  summary(): string {
    if (!this.#canSeeLocks) return 'not checked: the credentials lack s3:GetObjectRetention';
    const parts = [`${this.#lockedCount} of ${this.#objectCount} objects locked`];
    if (this.#lockedCount > 0) {
      parts.push(
        this.#governedCount === 0
          ? 'COMPLIANCE'
          : `${this.#governedCount} only by GOVERNANCE, which whoever may bypass it can lift`,
        `the first until ${new Date(this.#earliestMs).toISOString()}`,
      );
    }
    if (this.#heldCount > 0) parts.push(`${this.#heldCount} under a legal hold`);
    return parts.join(', ');
  }

  /** Holds the lock of a segment against the words of its sealed receipt. */
  compare(key: string, lock: ObjectLock | undefined, receiptLock: string | undefined): void {
    const said = parseReceiptText(receiptLock ?? '')?.lock;
    if (said === undefined || !this.#canSeeLocks) return;
    if (lock === undefined || (said.mode === 'COMPLIANCE' && lock.mode !== 'COMPLIANCE')) {
      this.#findings.add(
        'archive.lock',
        key,
        `has ${lockText(lock)}; its sealed receipt says ${lockText(said)}`,
      );
    } else if (lock.retainUntilMs < said.retainUntilMs) {
      this.#findings.add(
        'archive.expiry',
        key,
        `has ${lockText(lock)}; its sealed receipt says ${lockText(said)}`,
      );
    }
  }

  /** Holds what was found against the holds that the log says are on. */
  compareHolds(holds: ReadonlySet<string>): void {
    if (holds.size === 0 || this.#unheld === undefined) return;
    const count = this.#objectCount - this.#heldCount;
    const seen = this.#heldCount === 0 ? ', as far as these credentials see' : '';
    this.#findings.add(
      'archive.hold',
      this.#unheld,
      `${count} objects are under no legal hold${seen}; the log says that ${[...holds].join(', ')} is on`,
    );
  }

  lookAtMarkers({ key, markerCount, isHidden }: StoredKey): void {
    if (markerCount === 0) return;
    const what = isHidden ? 'is hidden by a delete marker' : 'was hidden by a delete marker';
    this.#findings.add('archive.marker', key, `${what}; ${markerCount} in all`);
  }

  async lookAt(key: string, got: StoredBytes): Promise<ObjectLock | undefined> {
    this.#objectCount++;
    if (got.hasLegalHold) this.#heldCount++;
    else this.#unheld ??= key;
    let lock: ObjectLock | undefined;
    if (got.lock !== 'unknown') lock = got.lock;
    else if (this.#canSeeLocks) lock = await this.#askForLock(key, got.versionId);
    if (!this.#canSeeLocks) return undefined;
    if (lock !== undefined) {
      this.#lockedCount++;
      if (lock.mode === 'GOVERNANCE') this.#governedCount++;
      this.#earliestMs = Math.min(this.#earliestMs, lock.retainUntilMs);
    }
    const wanted = this.#wanted;
    const weakness = weaknessOf(lock, wanted, got.storedMs);
    if (weakness !== undefined) {
      const stored = new Date(got.storedMs).toISOString();
      this.#findings.add(
        weakness === 'lock' ? 'archive.lock' : 'archive.expiry',
        key,
        `has ${lockText(lock)}; expected ${wanted.mode} for ${wanted.minimumDays} days from ${stored}`,
      );
    }
    return lock;
  }

  async #askForLock(key: string, versionId: string): Promise<ObjectLock | undefined> {
    try {
      return (await this.#store.head(key, versionId)).lock;
    } catch (error) {
      if (!(error instanceof S3Failure) || error.lacks === undefined) throw error;
      this.#canSeeLocks = false;
      this.#findings.add('archive.permission', key, `locks were not seen: lacks ${error.lacks}`);
      return undefined;
    }
  }
}
