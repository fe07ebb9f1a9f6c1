// SPDX-License-Identifier: Apache-2.0
/**
 * One bucket of an S3-compatible store, as far as a write-once archive needs it: conditional puts, versions, locks.
 * Says which permission was lacking where one was. Decides nothing: what a version is worth, its callers know.
 */
import type * as Sdk from '@aws-sdk/client-s3';
import type { S3Place } from '../config/archive-config.ts';
import type { ObjectLock } from '../storage/retention.ts';
import { causeOf } from '../system/cause.ts';
import { KeyBuilder, listedOf, type StoredKey } from './s3-listing.ts';

/** What was read, with the lock on it. `unknown` where the store did not say: it does not tell without permission. */
export interface StoredBytes {
  readonly versionId: string;
  readonly bytes: Uint8Array;
  readonly storedMs: number;
  readonly lock: ObjectLock | 'unknown';
  readonly hasLegalHold: boolean;
}

const ANSWER_DELAY_MS_MAX = 60_000;
const CONNECT_DELAY_MS_MAX = 5_000;
const CONNECTION_COUNT_MAX = 16;
/** Slowest link an upload is waited for, beyond the time for an answer. */
const BYTES_PER_MS_MIN = 1024;

export const S3_PACKAGE: string = '@aws-sdk/client-s3';

/** The SDK is an optional peer: most logs are archived elsewhere. */
export class MissingPackageError extends Error {
  override readonly name = 'MissingPackageError';
  constructor() {
    super(`an archive in S3 needs the package ${S3_PACKAGE}; run: npm install ${S3_PACKAGE}`);
  }
}

/** The store refused, or did not answer. */
export class S3Failure extends Error {
  override readonly name = 'S3Failure';
  /** HTTP status; undefined where there was no answer, so that nobody knows what was done. */
  readonly status: number | undefined;
  /** The code of S3: `AccessDenied`, `NoSuchKey`, … */
  readonly code: string;
  /** The permission that the credentials lack, where that is what it is. */
  readonly lacks: string | undefined;
  constructor(
    status: number | undefined,
    code: string,
    lacks: string | undefined,
    message: string,
    cause: unknown,
  ) {
    super(message, { cause });
    this.status = status;
    this.code = code;
    this.lacks = lacks;
  }
}

const PERMISSION_OF: Readonly<Record<string, string>> = {
  PutObjectCommand: 's3:PutObject and s3:PutObjectRetention',
  GetObjectCommand: 's3:GetObject and s3:GetObjectVersion',
  HeadObjectCommand: 's3:GetObject and s3:GetObjectVersion',
  ListObjectVersionsCommand: 's3:ListBucketVersions',
  ListObjectsV2Command: 's3:ListBucket',
  GetObjectRetentionCommand: 's3:GetObjectRetention',
  GetObjectLegalHoldCommand: 's3:GetObjectLegalHold',
  PutObjectLegalHoldCommand: 's3:PutObjectLegalHold',
  PutObjectRetentionCommand: 's3:PutObjectRetention',
  DeleteObjectCommand: 's3:DeleteObject and s3:DeleteObjectVersion',
  GetBucketVersioningCommand: 's3:GetBucketVersioning',
  GetObjectLockConfigurationCommand: 's3:GetBucketObjectLockConfiguration',
};

function failureOf(error: unknown, command: string): S3Failure {
  const { name, $metadata } = (error ?? {}) as {
    name?: string;
    $metadata?: { httpStatusCode?: number };
  };
  const status = $metadata?.httpStatusCode;
  const code = name ?? 'Error';
  const lacks =
    status === 403 && code !== 'RequestTimeTooSkewed' ? PERMISSION_OF[command] : undefined;
  const what = command.replace(/Command$/, '');
  const why = status === undefined ? 'no answer' : `${status} ${code}`;
  const fix = lacks === undefined ? '' : `; the credentials may lack ${lacks}`;
  return new S3Failure(status, code, lacks, `${what}: ${why}: ${causeOf(error)}${fix}`, error);
}

/** True for a failure after which the store may have done what was asked all the same. */
export function isUndecided(failure: S3Failure): boolean {
  return failure.status === undefined || failure.status >= 500;
}

export class S3Store {
  readonly place: S3Place;
  readonly sdk: typeof Sdk;
  readonly #client: Sdk.S3Client;
  readonly #folder: string;

  private constructor(sdk: typeof Sdk, place: S3Place) {
    this.sdk = sdk;
    this.place = place;
    this.#folder = place.prefix === '' ? '' : `${place.prefix}/`;
    this.#client = new sdk.S3Client({
      // A store of one's own has no regions, and the SDK insists on one.
      ...(place.region !== undefined || place.endpoint === undefined
        ? {}
        : { region: process.env.AWS_REGION || 'us-east-1' }),
      ...(place.region === undefined ? {} : { region: place.region }),
      ...(place.endpoint === undefined ? {} : { endpoint: place.endpoint }),
      forcePathStyle: place.pathStyle,
      // Ours is the SHA-256; a second checksum is one more thing that a compatible store may not know.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: CONNECT_DELAY_MS_MAX,
        httpAgent: { keepAlive: true, maxSockets: CONNECTION_COUNT_MAX },
        httpsAgent: { keepAlive: true, maxSockets: CONNECTION_COUNT_MAX },
      },
    });
  }

  /** @throws MissingPackageError */
  static async open(place: S3Place): Promise<S3Store> {
    let sdk: typeof Sdk;
    try {
      sdk = await import('@aws-sdk/client-s3');
    } catch (error) {
      const isMissing =
        error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
      if (isMissing) throw new MissingPackageError();
      throw error;
    }
    return new S3Store(sdk, place);
  }

  /** `s3://bucket/prefix`, and where that is not Amazon's. */
  get name(): string {
    const { bucket, prefix, endpoint } = this.place;
    const at = endpoint === undefined ? '' : ` at ${endpoint}`;
    return `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}${at}`;
  }

  /**
   * Stores an object in one part, under a lock, unless something is visible under its key.
   * @returns the version, where the store names it
   * @throws S3Failure: 412 where something is there, 409 where it is being written
   */
  async put(
    key: string,
    object: {
      readonly bytes: Uint8Array;
      readonly sha256: Uint8Array;
      readonly lock: ObjectLock | undefined;
      readonly hasLegalHold: boolean;
    },
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    const { bytes, sha256, lock, hasLegalHold } = object;
    const put = await this.send(
      new this.sdk.PutObjectCommand({
        ...this.at(key),
        Body: bytes,
        ContentLength: bytes.length,
        ContentType: 'application/octet-stream',
        IfNoneMatch: '*',
        // Said as well as sent: there are stores that look for nothing else.
        ChecksumAlgorithm: 'SHA256',
        ChecksumSHA256: Buffer.from(sha256).toString('base64'),
        ...(lock === undefined
          ? {}
          : {
              ObjectLockMode: lock.mode,
              ObjectLockRetainUntilDate: new Date(lock.retainUntilMs),
            }),
        ...(hasLegalHold ? { ObjectLockLegalHoldStatus: 'ON' } : {}),
      }),
      signal,
      bytes.length / BYTES_PER_MS_MIN,
    );
    return put.VersionId;
  }

  /**
   * Reads a version of at most `byteLengthMax` bytes; undefined where it is not there.
   * @throws S3Failure; RangeError where it is longer
   */
  async get(
    key: string,
    versionId: string,
    byteLengthMax: number,
    signal?: AbortSignal,
  ): Promise<StoredBytes | undefined> {
    const ask = new this.sdk.GetObjectCommand(this.#versionAt(key, versionId));
    try {
      return await this.#within(
        async (within) => {
          const got = await this.#client.send(ask, { abortSignal: within });
          if (got.ContentLength === undefined || got.ContentLength > byteLengthMax) {
            (got.Body as { destroy?: () => void } | undefined)?.destroy?.();
            throw new RangeError(`${key}: ${got.ContentLength} bytes, more than ${byteLengthMax}`);
          }
          return {
            versionId,
            bytes: (await got.Body?.transformToByteArray()) ?? new Uint8Array(),
            storedMs: got.LastModified?.getTime() ?? 0,
            lock: lockOf(got.ObjectLockMode, got.ObjectLockRetainUntilDate) ?? 'unknown',
            hasLegalHold: got.ObjectLockLegalHoldStatus === 'ON',
          };
        },
        'GetObjectCommand',
        signal,
        byteLengthMax / BYTES_PER_MS_MIN,
      );
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /** When the store took a version, and the lock on it; undefined where it has none. @throws S3Failure */
  async head(
    key: string,
    versionId: string,
    signal?: AbortSignal,
  ): Promise<{ readonly storedMs: number; readonly lock: ObjectLock | undefined }> {
    const ask = this.#versionAt(key, versionId);
    const head = await this.send(new this.sdk.HeadObjectCommand(ask), signal);
    const lock =
      lockOf(head.ObjectLockMode, head.ObjectLockRetainUntilDate) ??
      (await this.#retention(ask, signal));
    return { storedMs: head.LastModified?.getTime() ?? 0, lock };
  }

  /** Where no lock was told: because there is none, or because the permission to see it is lacking. */
  async #retention(
    ask: { readonly Bucket: string; readonly Key: string; readonly VersionId?: string },
    signal: AbortSignal | undefined,
  ): Promise<ObjectLock | undefined> {
    try {
      const { Retention } = await this.send(new this.sdk.GetObjectRetentionCommand(ask), signal);
      return lockOf(Retention?.Mode, Retention?.RetainUntilDate);
    } catch (error) {
      // An object without retention answers 404, a bucket without Object Lock 400.
      const isNone =
        error instanceof S3Failure &&
        ['NoSuchObjectLockConfiguration', 'InvalidRequest'].includes(error.code);
      if (isNone) return undefined;
      throw error;
    }
  }

  /** Sets or releases the legal hold of a version. @throws S3Failure */
  async setLegalHold(key: string, versionId: string, isOn: boolean): Promise<void> {
    await this.send(
      new this.sdk.PutObjectLegalHoldCommand({
        ...this.at(key),
        VersionId: versionId,
        LegalHold: { Status: isOn ? 'ON' : 'OFF' },
      }),
    );
  }

  /**
   * Keys that begin with `prefix`, in order, with all their versions: also those that are hidden or shadowed.
   * @throws S3Failure
   */
  async *keys(
    prefix: string,
    options: KeysOptions = {},
  ): AsyncGenerator<StoredKey, void, undefined> {
    const isShallow = options.isShallow === true;
    let from: { KeyMarker?: string; VersionIdMarker?: string } =
      options.after === undefined ? {} : { KeyMarker: `${this.#folder}${options.after}` };
    let open: KeyBuilder | undefined;
    for (;;) {
      let page: Sdk.ListObjectVersionsCommandOutput;
      try {
        page = await this.send(
          new this.sdk.ListObjectVersionsCommand({
            Bucket: this.place.bucket,
            Prefix: `${this.#folder}${prefix}`,
            ...(isShallow ? { Delimiter: '/' } : {}),
            ...from,
          }),
          options.signal,
        );
      } catch (error) {
        const { onLack } = options;
        if (!(error instanceof S3Failure) || error.lacks === undefined || onLack === undefined)
          throw error;
        onLack(error.lacks);
        yield* this.#visibleKeys(prefix, options);
        return;
      }
      // A key may go on on the next page.
      for (const item of listedOf(page, this.#folder.length)) {
        if (item.key !== open?.key) {
          if (open !== undefined) yield open.finish();
          open = new KeyBuilder(item.key);
        }
        open.add(item);
      }
      // Folders come at the end of a page: whoever looks for them does not mind.
      for (const { Prefix: folder } of page.CommonPrefixes ?? []) {
        if (folder !== undefined) yield new KeyBuilder(folder.slice(this.#folder.length)).finish();
      }
      if (page.IsTruncated !== true || page.NextKeyMarker === undefined) break;
      from = {
        KeyMarker: page.NextKeyMarker,
        ...(page.NextVersionIdMarker ? { VersionIdMarker: page.NextVersionIdMarker } : {}),
      };
    }
    if (open !== undefined) yield open.finish();
  }

  /** Keys as a plain listing shows them, of one version each, which is read without a name for it. */
  async *#visibleKeys(
    prefix: string,
    options: KeysOptions,
  ): AsyncGenerator<StoredKey, void, undefined> {
    let token: string | undefined;
    do {
      const page: Sdk.ListObjectsV2CommandOutput = await this.send(
        new this.sdk.ListObjectsV2Command({
          Bucket: this.place.bucket,
          Prefix: `${this.#folder}${prefix}`,
          ...(options.isShallow === true ? { Delimiter: '/' } : {}),
          ...(options.after === undefined ? {} : { StartAfter: `${this.#folder}${options.after}` }),
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
        options.signal,
      );
      for (const { Key = '', LastModified, Size = 0 } of page.Contents ?? []) {
        const builder = new KeyBuilder(Key.slice(this.#folder.length));
        const version = { id: '', storedMs: LastModified?.getTime() ?? 0, byteLength: Size };
        builder.add({ key: Key, isLatest: true, version });
        yield builder.finish();
      }
      for (const { Prefix: folder } of page.CommonPrefixes ?? []) {
        if (folder !== undefined) yield new KeyBuilder(folder.slice(this.#folder.length)).finish();
      }
      token = page.NextContinuationToken;
    } while (token !== undefined);
  }

  close(): void {
    this.#client.destroy();
  }

  /** The whole address of an object, for commands that have no method here. */
  at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.place.bucket, Key: `${this.#folder}${key}` };
  }

  #versionAt(
    key: string,
    versionId: string,
  ): { readonly Bucket: string; readonly Key: string; readonly VersionId?: string } {
    return { ...this.at(key), ...(versionId === '' ? {} : { VersionId: versionId }) };
  }

  /** @throws S3Failure */
  send<Input extends Sdk.ServiceInputTypes, Output extends Sdk.ServiceOutputTypes>(
    command: Command<Input, Output>,
    signal?: AbortSignal,
    moreMs = 0,
  ): Promise<Output> {
    return this.#within(
      (within) => this.#client.send(command, { abortSignal: within }),
      command.constructor.name,
      signal,
      moreMs,
    );
  }

  async #within<Result>(
    work: (signal: AbortSignal) => Promise<Result>,
    command: string,
    signal: AbortSignal | undefined,
    moreMs: number,
  ): Promise<Result> {
    const limit = AbortSignal.timeout(Math.ceil(ANSWER_DELAY_MS_MAX + moreMs));
    const within = signal === undefined ? limit : AbortSignal.any([limit, signal]);
    try {
      return await work(within);
    } catch (error) {
      if (error instanceof RangeError) throw error;
      throw failureOf(error, command);
    }
  }
}

type Command<
  Input extends Sdk.ServiceInputTypes,
  Output extends Sdk.ServiceOutputTypes,
> = Sdk.$Command<
  Input,
  Output,
  Sdk.S3ClientResolvedConfig,
  Sdk.ServiceInputTypes,
  Sdk.ServiceOutputTypes
>;

interface KeysOptions {
  readonly after?: string | undefined;
  /** Keys with a `/` behind the prefix are told as one folder. */
  readonly isShallow?: boolean;
  /** Told which permission lacks for versions; then what is visible is listed. Without it, that is a failure. */
  readonly onLack?: (permission: string) => void;
  readonly signal?: AbortSignal | undefined;
}

function lockOf(mode: string | undefined, until: Date | undefined): ObjectLock | undefined {
  if ((mode !== 'COMPLIANCE' && mode !== 'GOVERNANCE') || until === undefined) return undefined;
  return { mode, retainUntilMs: until.getTime() };
}

function isAbsent(error: unknown): boolean {
  return (
    error instanceof S3Failure && ['NoSuchKey', 'NoSuchVersion', 'NotFound'].includes(error.code)
  );
}
