// SPDX-License-Identifier: Apache-2.0
/**
 * An archive in a bucket with Object Lock: each object is put once, under a lock that is read back before anybody is
 * told. Under COMPLIANCE nobody can delete or shorten it, the owner of the bucket included; somebody may still hide it
 * or put another version in front, which verifying finds.
 */
import { createHash } from 'node:crypto';
import { equalBytes } from '../../log/bytes.ts';
import { controlText } from '../../log/control.ts';
import type { S3ArchiveConfig } from '../config/archive-config.ts';
import { lockFor, lockText, receiptText, weaknessOf } from '../storage/retention.ts';
import { causeOf } from '../system/cause.ts';
import {
  type Archive,
  type ArchiveObject,
  checkKey,
  type PutOutcome,
  readContent,
} from './archive.ts';
import type { StoredKey, StoredVersion } from './s3-listing.ts';
import { isUndecided, S3Failure, S3Store } from './s3-store.ts';

interface Found {
  readonly version: StoredVersion;
  readonly bytes: Uint8Array;
}

export class S3Archive implements Archive {
  readonly name: string;
  readonly store: S3Store;
  readonly #config: S3ArchiveConfig;
  readonly #now: () => number;
  #hasLegalHold: boolean = false;

  private constructor(store: S3Store, config: S3ArchiveConfig, now: () => number) {
    this.store = store;
    this.#config = config;
    this.#now = now;
    this.name = controlText(store.name);
  }

  /** @throws MissingPackageError */
  static async open(config: S3ArchiveConfig, now: () => number = Date.now): Promise<S3Archive> {
    return new S3Archive(await S3Store.open(config), config, now);
  }

  /** Whether what is put from now on is under a legal hold too, which outlasts the lock. */
  holdLegally(isOn: boolean): void {
    this.#hasLegalHold = isOn;
  }

  /** Sets or releases the legal hold on all that is stored of a log. @throws S3Failure */
  async setLegalHolds(origin: string, isOn: boolean): Promise<void> {
    const before = this.#hasLegalHold;
    // First, so that nothing is put without it that the listings do not tell.
    this.holdLegally(isOn);
    try {
      await this.#holdStored(origin, isOn);
    } catch (error) {
      this.holdLegally(before);
      throw error;
    }
  }

  async #holdStored(origin: string, isOn: boolean): Promise<void> {
    for (const folder of ['segments', 'checkpoints', 'starts']) {
      const prefix = `${origin}/${folder}/`;
      let last: string | undefined;
      // Twice: what was on its way while the first listing was read is behind its end.
      for (let pass = 0; pass < 2; pass++) {
        for await (const { key, versions } of this.store.keys(prefix, { after: last })) {
          for (const { id } of versions) await this.store.setLegalHold(key, id, isOn);
          last = key;
        }
      }
    }
  }

  async put(object: ArchiveObject, signal?: AbortSignal): Promise<PutOutcome> {
    checkKey(object.key);
    try {
      const bytes = await readContent(object);
      if (bytes === undefined) {
        return {
          status: 'retryable',
          cause: `${object.key}: the content changed while it was read`,
        };
      }
      return await this.#put(object, bytes, signal);
    } catch (error) {
      return { status: 'retryable', cause: causeOf(error) };
    }
  }

  async #put(object: ArchiveObject, bytes: Uint8Array, signal?: AbortSignal): Promise<PutOutcome> {
    const { key, sha256 } = object;
    const { mode, retention } = this.#config;
    const lock = lockFor(mode, retention, this.#now());
    let versionId: string | undefined;
    try {
      // A crash in here: the object is there, whole and locked, or it is not. The next start puts it again, is
      // answered 412, reads it back and finds its own bytes.
      versionId = await this.store.put(
        key,
        { bytes, sha256, lock, hasLegalHold: this.#hasLegalHold },
        signal,
      );
    } catch (error) {
      // 412: something is there. 409: somebody is writing it right now, and the next try finds it. No answer, or one
      // of a server in trouble: it may be there all the same. In doubt the store is asked, never the memory.
      if (!(error instanceof S3Failure) || (error.status !== 412 && !isUndecided(error)))
        throw error;
      const stored = await this.#keyOf(key, signal);
      const found = await this.#oldest(stored, object.byteLength, sha256, signal);
      if (found !== undefined) return this.#judge(key, found.version.id, true, signal);
      if (error.status !== 412 || stored === undefined) throw error;
      return { status: 'conflict', cause: `${key}: other content is stored under this key` };
    }
    return this.#judge(key, versionId ?? 'null', false, signal);
  }

  /** Reads the lock back: what the store does not say, no receipt says. */
  async #judge(
    key: string,
    versionId: string,
    existed: boolean,
    signal: AbortSignal | undefined,
  ): Promise<PutOutcome> {
    const { mode, retention } = this.#config;
    const { storedMs, lock } = await this.store.head(key, versionId, signal);
    const { minimumDays } = retention;
    const weakness = weaknessOf(lock, { mode, minimumDays }, storedMs);
    if (lock === undefined || weakness !== undefined) {
      return {
        status: 'conflict',
        cause: `${key}: stored with ${lockText(lock)}, weaker than ${mode} for ${minimumDays} days`,
      };
    }
    return { status: 'ok', existed, lock: receiptText(lock, versionId, retention.className) };
  }

  async list(
    prefix: string,
    options: Parameters<Archive['list']>[1] = {},
  ): ReturnType<Archive['list']> {
    checkKey(prefix.replace(/\/$/, ''));
    const { after, countMax, signal } = options;
    const objects: { key: string; byteLength: number }[] = [];
    try {
      for await (const { key, versions } of this.store.keys(prefix, {
        after,
        isShallow: true,
        signal,
      })) {
        const [oldest] = versions;
        if (oldest === undefined) continue;
        objects.push({ key, byteLength: oldest.byteLength });
        if (objects.length === countMax) break;
      }
      return { status: 'ok', objects };
    } catch (error) {
      return { status: 'retryable', cause: causeOf(error) };
    }
  }

  async read(
    key: string,
    byteLengthMax: number,
    options: Parameters<Archive['read']>[2] = {},
  ): ReturnType<Archive['read']> {
    checkKey(key);
    try {
      const stored = await this.#keyOf(key, options.signal);
      const found = await this.#oldest(stored, byteLengthMax, options.sha256, options.signal);
      return found === undefined ? { status: 'missing' } : { status: 'ok', bytes: found.bytes };
    } catch (error) {
      return { status: 'retryable', cause: causeOf(error) };
    }
  }

  close(): void {
    this.store.close();
  }

  async #keyOf(key: string, signal: AbortSignal | undefined): Promise<StoredKey | undefined> {
    for await (const found of this.store.keys(key, { signal })) {
      return found.key === key && found.versions.length > 0 ? found : undefined;
    }
    return undefined;
  }

  /** The oldest version with this hash, or the oldest of all where none is asked for. */
  async #oldest(
    stored: StoredKey | undefined,
    byteLengthMax: number,
    hash: Uint8Array | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Found | undefined> {
    for (const version of stored?.versions ?? []) {
      if (version.byteLength > byteLengthMax) {
        if (hash !== undefined) continue;
        throw new RangeError(
          `${stored?.key}: ${version.byteLength} bytes, more than ${byteLengthMax}`,
        );
      }
      const got = await this.store.get(stored?.key ?? '', version.id, byteLengthMax, signal);
      if (got === undefined) continue;
      const sha256 = createHash('sha256').update(got.bytes).digest();
      if (hash === undefined || equalBytes(sha256, hash)) {
        return { version, bytes: got.bytes };
      }
    }
    return undefined;
  }
}
