// SPDX-License-Identifier: Apache-2.0
/**
 * Asks a bucket, by doing it, whether it is the write-once store that an archive needs: locks, versions, conditions,
 * refusals, clock. Leaves some small objects that are locked as long as records are. Says nothing about tomorrow:
 * settings can be changed after it.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { S3ArchiveConfig } from '../config/archive-config.ts';
import { DAY_MS, lockFor, lockText, type ObjectLock, weaknessOf } from '../storage/retention.ts';
import { causeOf } from '../system/cause.ts';
import type { StoredKey } from './s3-listing.ts';
import { S3Failure, S3Store } from './s3-store.ts';

/**
 * - `ok`: it is so.
 * - `missing`: it is not, and an archive there does not hold what sealspan says of it.
 * - `advice`: it is not, and should be: what is archived is safe, but somebody can make a mess beside it.
 * - `unknown`: it can not be told with these credentials.
 */
export type ProbeStatus = 'ok' | 'missing' | 'advice' | 'unknown';

export interface ProbeResult {
  readonly name: string;
  readonly status: ProbeStatus;
  readonly message: string;
}

/** Folder of what probes leave; verifying passes over it. */
export const PROBE_FOLDER: string = 'sealspan-archive-test';

const RACE_COUNT = 32;
const CLOCK_DIFFERENCE_MS_MAX = 5 * 60_000;

type Answer = Omit<ProbeResult, 'name'>;

const answer = (status: ProbeStatus, message: string): Answer => ({ status, message });

/**
 * Runs all probes in order; each is told as it ends.
 * @throws MissingPackageError; S3Failure where the store does not answer at all
 */
export async function probeArchive(
  config: S3ArchiveConfig,
  onResult: (result: ProbeResult) => void = () => {},
  now: () => number = Date.now,
): Promise<ProbeResult[]> {
  const store = await S3Store.open(config);
  try {
    const probe = new Probe(store, config, now);
    const results: ProbeResult[] = [];
    for (const [name, ask] of probe.questions()) {
      let said: Answer;
      try {
        said = await ask();
      } catch (error) {
        const isUnanswered = error instanceof S3Failure && error.status === undefined;
        if (isUnanswered) throw error;
        const isDenied = error instanceof S3Failure && error.lacks !== undefined;
        said = answer(isDenied ? 'unknown' : 'missing', causeOf(error));
      }
      const result = { name, ...said };
      results.push(result);
      onResult(result);
    }
    return results;
  } finally {
    store.close();
  }
}

class Probe {
  readonly #store: S3Store;
  readonly #config: S3ArchiveConfig;
  readonly #now: () => number;
  readonly #folder: string = `${PROBE_FOLDER}/${randomUUID()}`;
  /** The object that all questions after the first put are about. */
  #first:
    | { readonly key: string; readonly versionId: string; readonly lock: ObjectLock }
    | undefined;

  constructor(store: S3Store, config: S3ArchiveConfig, now: () => number) {
    this.#store = store;
    this.#config = config;
    this.#now = now;
  }

  questions(): readonly (readonly [name: string, ask: () => Promise<Answer>])[] {
    return [
      ['object lock', () => this.#objectLock()],
      ['versioning', () => this.#versioning()],
      ['put under a lock', () => this.#putLocked()],
      ['clock', () => this.#clock()],
      ['checksum', () => this.#checksum()],
      ['conditional put', () => this.#conditionalPut()],
      ['race', () => this.#race()],
      ['delete a version', () => this.#deleteVersion()],
      ['shorten a lock', () => this.#shorten()],
      ['put without a condition', () => this.#putUnconditionally()],
      ['put under a short lock', () => this.#putShortly()],
      ['put without a lock', () => this.#putUnlocked()],
      ['hide an object', () => this.#hide()],
    ];
  }

  async #objectLock(): Promise<Answer> {
    const { sdk, place } = this.#store;
    const ask = new sdk.GetObjectLockConfigurationCommand({ Bucket: place.bucket });
    try {
      const { ObjectLockConfiguration } = await this.#store.send(ask);
      if (ObjectLockConfiguration?.ObjectLockEnabled === 'Enabled') {
        return answer('ok', 'is enabled on the bucket');
      }
    } catch (error) {
      const isNone =
        error instanceof S3Failure && error.code === 'ObjectLockConfigurationNotFoundError';
      if (!isNone) throw error;
    }
    return answer(
      'missing',
      'is not enabled on the bucket; enable it, which also turns on versioning',
    );
  }

  async #versioning(): Promise<Answer> {
    const { sdk, place } = this.#store;
    const ask = new sdk.GetBucketVersioningCommand({ Bucket: place.bucket });
    const { Status = 'Off' } = await this.#store.send(ask);
    return Status === 'Enabled'
      ? answer('ok', 'is on')
      : answer('missing', `is ${Status.toLowerCase()}; turn it on`);
  }

  #lock(): ObjectLock {
    return lockFor(this.#config.mode, this.#config.retention, this.#now());
  }

  #put(key: string, text: string, lock: ObjectLock | undefined): Promise<string | undefined> {
    const bytes = Buffer.from(text);
    const sha256 = createHash('sha256').update(bytes).digest();
    return this.#store.put(key, { bytes, sha256, lock, hasLegalHold: false });
  }

  async #putLocked(): Promise<Answer> {
    const key = `${this.#folder}/first`;
    const versionId = (await this.#put(key, 'first', this.#lock())) ?? 'null';
    const { storedMs, lock } = await this.#store.head(key, versionId);
    const { mode, retention } = this.#config;
    const weakness = weaknessOf(lock, { mode, minimumDays: retention.minimumDays }, storedMs);
    if (lock === undefined || weakness !== undefined) {
      return answer(
        'missing',
        `asked for ${lockText(this.#lock())}, and read back ${lockText(lock)}`,
      );
    }
    this.#first = { key, versionId, lock };
    return answer('ok', `${lockText(lock)}, read back of version ${versionId}`);
  }

  async #clock(): Promise<Answer> {
    const { key, versionId } = this.#stored();
    const { storedMs } = await this.#store.head(key, versionId);
    const differenceMs = Math.abs(this.#now() - storedMs);
    const seconds = Math.round(differenceMs / 1000);
    return differenceMs <= CLOCK_DIFFERENCE_MS_MAX
      ? answer('ok', `differs by ${seconds} s from the one here`)
      : answer('missing', `differs by ${seconds} s from the one here: locks may end early`);
  }

  async #checksum(): Promise<Answer> {
    const bytes = Buffer.from('checksum');
    const sha256 = createHash('sha256').update('another').digest();
    const put = { bytes, sha256, lock: this.#lock(), hasLegalHold: false };
    return this.#refused(
      () => this.#store.put(`${this.#folder}/checksum`, put),
      'content that does not have its SHA-256',
      'missing',
    );
  }

  async #conditionalPut(): Promise<Answer> {
    const { key } = this.#stored();
    return this.#refused(() => this.#put(key, 'again', this.#lock()), 'a second put', 'missing');
  }

  async #race(): Promise<Answer> {
    const key = `${this.#folder}/race`;
    const outcomes = await Promise.allSettled(
      Array.from({ length: RACE_COUNT }, (_, at) => this.#put(key, `${at}`, this.#lock())),
    );
    const wonCount = outcomes.filter(({ status }) => status === 'fulfilled').length;
    const versionCount = (await this.#listed(key))?.versionCount ?? 0;
    return versionCount === 1
      ? answer('ok', `of ${RACE_COUNT} conditional puts at once one won`)
      : answer(
          'missing',
          `of ${RACE_COUNT} conditional puts at once ${wonCount} won and ${versionCount} versions are stored: the condition is not atomic`,
        );
  }

  async #deleteVersion(): Promise<Answer> {
    const { key, versionId } = this.#stored();
    const { sdk } = this.#store;
    const command = new sdk.DeleteObjectCommand({ ...this.#store.at(key), VersionId: versionId });
    const said = await this.#refused(() => this.#store.send(command), 'it', 'missing');
    const isThere = (await this.#listed(key))?.versions.some(({ id }) => id === versionId);
    if (isThere !== true) return answer('missing', 'the locked version is gone');
    // Some stores answer that it is done, and do nothing.
    return said.status === 'ok' ? said : answer('ok', 'is answered as done, and the version stays');
  }

  async #shorten(): Promise<Answer> {
    const { key, versionId, lock } = this.#stored();
    const { sdk } = this.#store;
    const until = new Date(this.#now() + DAY_MS);
    const command = new sdk.PutObjectRetentionCommand({
      ...this.#store.at(key),
      VersionId: versionId,
      Retention: { Mode: lock.mode, RetainUntilDate: until },
    });
    const said = await this.#refused(() => this.#store.send(command), 'it', 'missing');
    const after = await this.#store.head(key, versionId);
    if ((after.lock?.retainUntilMs ?? 0) < lock.retainUntilMs) {
      return answer('missing', `the lock is now ${lockText(after.lock)}`);
    }
    return said.status === 'ok' ? said : answer('ok', 'is answered as done, and the lock stays');
  }

  async #putUnconditionally(): Promise<Answer> {
    const { sdk } = this.#store;
    const { key } = this.#stored();
    const lock = this.#lock();
    const command = new sdk.PutObjectCommand({
      ...this.#store.at(key),
      Body: 'in front',
      ChecksumAlgorithm: 'SHA256',
      ChecksumSHA256: createHash('sha256').update('in front').digest('base64'),
      ObjectLockMode: lock.mode,
      ObjectLockRetainUntilDate: new Date(lock.retainUntilMs),
    });
    return this.#refused(
      () => this.#store.send(command),
      'a version in front of another',
      'advice',
    );
  }

  #putShortly(): Promise<Answer> {
    const lock = { ...this.#lock(), retainUntilMs: this.#now() + 2 * 60_000 };
    return this.#refused(() => this.#put(`${this.#folder}/short`, 'short', lock), 'it', 'advice');
  }

  #putUnlocked(): Promise<Answer> {
    return this.#refused(
      () => this.#put(`${this.#folder}/unlocked`, 'unlocked', undefined),
      'it',
      'advice',
    );
  }

  async #hide(): Promise<Answer> {
    const { sdk } = this.#store;
    const command = new sdk.DeleteObjectCommand(this.#store.at(this.#stored().key));
    return this.#refused(() => this.#store.send(command), 'a delete marker', 'advice');
  }

  /** What is to be refused: it is, or the answer is `otherwise`. */
  async #refused(
    act: () => Promise<unknown>,
    what: string,
    otherwise: 'missing' | 'advice',
  ): Promise<Answer> {
    try {
      await act();
    } catch (error) {
      const isRefused =
        error instanceof S3Failure &&
        error.status !== undefined &&
        error.status >= 400 &&
        error.status < 500;
      if (!isRefused) throw error;
      return answer('ok', `${what} is refused: ${error.status} ${error.code}`);
    }
    return answer(
      otherwise,
      `${what} is taken${otherwise === 'advice' ? '; see the bucket policy' : ''}`,
    );
  }

  #stored(): { readonly key: string; readonly versionId: string; readonly lock: ObjectLock } {
    if (this.#first === undefined) throw new Error('could not be tried: nothing was stored');
    return this.#first;
  }

  async #listed(key: string): Promise<StoredKey | undefined> {
    for await (const found of this.#store.keys(key)) return found.key === key ? found : undefined;
    return undefined;
  }
}
