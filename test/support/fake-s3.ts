// SPDX-License-Identifier: Apache-2.0
/**
 * A small S3 on loopback, for the real SDK to talk to: versions, delete markers, conditional puts, checksums, Object
 * Lock, denied operations, and faults before or after an operation took effect. One bucket, path style, no signatures
 * checked. What a real store does beyond that, the end-to-end tests ask real ones.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export const BUCKET = 'records';

interface FakeVersion {
  readonly id: string;
  readonly isMarker: boolean;
  readonly bytes: Buffer;
  readonly storedMs: number;
  mode: string | undefined;
  retainUntil: string | undefined;
  hold: boolean;
}

/** What happens to a request: it is answered with an error, or cut off before or after it was carried out. */
export type Fault =
  | { readonly status: number; readonly code: string }
  | 'cut before'
  | 'cut after'
  /** No answer until the client goes away. */
  | 'hang';

export interface Asked {
  /** `PutObject`, `GetObject`, `ListObjectVersions`, … */
  readonly operation: string;
  readonly key: string;
  /** Requests for this operation and key so far, this one included. */
  readonly count: number;
}

const XML = '<?xml version="1.0" encoding="UTF-8"?>';
const PAGE_LENGTH = 1000;

export class FakeS3 {
  /** Versions of each key, newest first. */
  readonly objects: Map<string, FakeVersion[]> = new Map();
  /** All that was asked, in order. */
  readonly asked: Asked[] = [];
  fault: (asked: Asked) => Fault | undefined = () => undefined;
  /** Operations that the credentials may not use. */
  readonly denied: Set<string> = new Set();
  /** False: a bucket without Object Lock, which refuses locks and keeps one version only. */
  hasObjectLock = true;
  /** False: a store that takes locks and does not keep them. */
  keepsLocks = true;
  /** What a bucket policy lets put. */
  policy: (put: { readonly headers: IncomingMessage['headers'] }) => boolean = () => true;
  /** Keys in one page of a listing. */
  pageLength: number = PAGE_LENGTH;
  /** The store's clock. */
  now: () => number = Date.now;
  /** False: conditions are looked at before the body arrives, so that of two at once both win. */
  isAtomic = true;
  #lastId = 0;
  readonly #counts = new Map<string, number>();
  readonly #server = createServer((request, response) => void this.#serve(request, response));

  static async start(): Promise<FakeS3> {
    const fake = new FakeS3();
    fake.#server.listen(0, '127.0.0.1');
    await once(fake.#server, 'listening');
    return fake;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Contents of all versions by key, oldest first; `null` for a delete marker. */
  contents(): Record<string, (string | null)[]> {
    const sorted = [...this.objects].sort(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(
      sorted.map(([key, versions]) => [
        key,
        versions.map(({ isMarker, bytes }) => (isMarker ? null : bytes.toString())).reverse(),
      ]),
    );
  }

  /** Puts a version as somebody with other tools would. */
  add(
    key: string,
    bytes: Uint8Array,
    lock: { readonly mode?: string; readonly retainUntil?: string } = {},
  ): FakeVersion {
    return this.#push(key, {
      isMarker: false,
      bytes: Buffer.from(bytes),
      mode: lock.mode,
      retainUntil: lock.retainUntil,
      hold: false,
    });
  }

  /** Deletes as a plain delete does: by a marker in front. */
  hide(key: string): void {
    const none = Buffer.alloc(0);
    this.#push(key, {
      isMarker: true,
      bytes: none,
      mode: undefined,
      retainUntil: undefined,
      hold: false,
    });
  }

  #push(key: string, version: Omit<FakeVersion, 'id' | 'storedMs'>): FakeVersion {
    // A store tells times in whole seconds.
    const storedMs = Math.floor(this.now() / 1000) * 1000;
    const whole = { ...version, id: `v${++this.#lastId}`, storedMs };
    const before = this.hasObjectLock ? (this.objects.get(key) ?? []) : [];
    this.objects.set(key, [whole, ...before]);
    return whole;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://store');
    const key = decodeURIComponent(url.pathname.slice(`/${BUCKET}/`.length));
    const operation = operationOf(request.method ?? '', key, url.searchParams);
    const counted = `${operation} ${key}`;
    const count = (this.#counts.get(counted) ?? 0) + 1;
    this.#counts.set(counted, count);
    const asked = { operation, key, count };
    this.asked.push(asked);
    const early = this.isAtomic ? undefined : this.#refusalOf(request, key);
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    // Long enough for the others to look, too.
    if (!this.isAtomic) await delay(20);
    const fault = this.fault(asked);
    if (fault === 'hang') return;
    if (fault === 'cut before') {
      request.socket.destroy();
      return;
    }
    let answer: Answer;
    if (typeof fault === 'object') answer = fail(fault.status, fault.code);
    else if (this.denied.has(operation)) answer = fail(403, 'AccessDenied');
    else if (!url.pathname.startsWith(`/${BUCKET}`)) answer = fail(404, 'NoSuchBucket');
    else
      answer =
        early ?? this.#answer(operation, key, url.searchParams, request, Buffer.concat(chunks));
    if (fault === 'cut after') {
      request.socket.destroy();
      return;
    }
    response.writeHead(answer.status, {
      ...answer.headers,
      'content-length': Buffer.byteLength(answer.body),
    });
    response.end(request.method === 'HEAD' ? undefined : answer.body);
  }

  /** Why a conditional put is refused; undefined where it may go on. */
  #refusalOf(request: IncomingMessage, key: string): Answer | undefined {
    if (request.method !== 'PUT' || request.headers['if-none-match'] !== '*') return undefined;
    const newest = this.objects.get(key)?.[0];
    if (newest === undefined || newest.isMarker) return undefined;
    return fail(412, 'PreconditionFailed');
  }

  #answer(
    operation: string,
    key: string,
    query: URLSearchParams,
    request: IncomingMessage,
    body: Buffer,
  ): Answer {
    const { headers } = request;
    if (operation === 'PutObject') return this.#put(request, key, body);
    if (operation === 'ListObjectVersions') return this.#list(query);
    if (operation === 'ListObjectsV2') return this.#listVisible(query);
    if (operation === 'GetBucketVersioning') {
      const status = this.hasObjectLock ? '<Status>Enabled</Status>' : '';
      return ok({}, `${XML}<VersioningConfiguration>${status}</VersioningConfiguration>`);
    }
    if (operation === 'GetObjectLockConfiguration') {
      if (!this.hasObjectLock) return fail(404, 'ObjectLockConfigurationNotFoundError');
      const enabled = '<ObjectLockEnabled>Enabled</ObjectLockEnabled>';
      return ok({}, `${XML}<ObjectLockConfiguration>${enabled}</ObjectLockConfiguration>`);
    }
    const id = query.get('versionId');
    const versions = this.objects.get(key) ?? [];
    const version = id === null ? versions[0] : versions.find((one) => one.id === id);
    if (operation === 'DeleteObject') {
      if (id === null) this.hide(key);
      else if (version !== undefined && this.#isKept(version, headers))
        return fail(403, 'AccessDenied');
      else
        this.objects.set(
          key,
          versions.filter((one) => one !== version),
        );
      return ok({}, '', 204);
    }
    if (version === undefined || version.isMarker) {
      return fail(404, id === null ? 'NoSuchKey' : 'NoSuchVersion');
    }
    if (operation === 'GetObjectRetention') {
      if (!this.hasObjectLock) return fail(400, 'InvalidRequest');
      if (version.mode === undefined) return fail(404, 'NoSuchObjectLockConfiguration');
      const inner = `<Mode>${version.mode}</Mode><RetainUntilDate>${version.retainUntil}</RetainUntilDate>`;
      return ok({}, `${XML}<Retention>${inner}</Retention>`);
    }
    if (operation === 'PutObjectRetention') {
      const mode = /<Mode>(.*?)</.exec(body.toString())?.[1];
      const until = /<RetainUntilDate>(.*?)</.exec(body.toString())?.[1];
      const isWeaker =
        version.mode !== undefined &&
        (mode !== version.mode || Date.parse(until ?? '') < Date.parse(version.retainUntil ?? ''));
      if (isWeaker && this.#isKept(version, headers)) return fail(403, 'AccessDenied');
      version.mode = mode;
      version.retainUntil = until;
      return ok({}, '');
    }
    if (operation === 'PutObjectLegalHold') {
      version.hold = body.toString().includes('>ON<');
      return ok({}, '');
    }
    // Without the permission to see a lock its headers are left out, and nothing is said of that.
    const told =
      version.mode === undefined || this.denied.has('GetObjectRetention')
        ? {}
        : {
            'x-amz-object-lock-mode': version.mode,
            'x-amz-object-lock-retain-until-date': version.retainUntil ?? '',
          };
    return ok(
      {
        ...told,
        ...(version.hold ? { 'x-amz-object-lock-legal-hold': 'ON' } : {}),
        'x-amz-version-id': version.id,
        'last-modified': new Date(version.storedMs).toUTCString(),
        'content-type': 'application/octet-stream',
      },
      version.bytes,
    );
  }

  #isKept(version: FakeVersion, headers: IncomingMessage['headers']): boolean {
    if (!this.keepsLocks) return false;
    if (version.hold) return true;
    if (version.mode === undefined || Date.parse(version.retainUntil ?? '') < this.now())
      return false;
    return version.mode === 'COMPLIANCE' || headers['x-amz-bypass-governance-retention'] !== 'true';
  }

  #put(request: IncomingMessage, key: string, body: Buffer): Answer {
    const { headers } = request;
    if (!this.policy(request)) return fail(403, 'AccessDenied');
    const refusal = this.isAtomic ? this.#refusalOf(request, key) : undefined;
    if (refusal !== undefined) return refusal;
    const given = headers['x-amz-checksum-sha256'];
    if (given !== undefined && given !== createHash('sha256').update(body).digest('base64')) {
      return fail(400, 'BadDigest');
    }
    const mode = headers['x-amz-object-lock-mode']?.toString();
    if (mode !== undefined && (!this.hasObjectLock || given === undefined)) {
      return fail(400, 'InvalidRequest');
    }
    const version = this.#push(key, {
      isMarker: false,
      bytes: body,
      mode,
      retainUntil: headers['x-amz-object-lock-retain-until-date']?.toString(),
      hold: headers['x-amz-object-lock-legal-hold'] === 'ON',
    });
    return ok(this.hasObjectLock ? { 'x-amz-version-id': version.id } : {}, '');
  }

  /** One page is enough here. */
  #listVisible(query: URLSearchParams): Answer {
    const prefix = query.get('prefix') ?? '';
    const folders = new Set<string>();
    const rows: string[] = [];
    for (const [key, [newest]] of [...this.objects].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (!key.startsWith(prefix) || newest === undefined || newest.isMarker) continue;
      const cut = query.has('delimiter') ? key.indexOf('/', prefix.length) : -1;
      if (cut >= 0) folders.add(key.slice(0, cut + 1));
      else {
        const time = new Date(newest.storedMs).toISOString();
        rows.push(
          `<Contents><Key>${key}</Key><LastModified>${time}</LastModified><Size>${newest.bytes.length}</Size></Contents>`,
        );
      }
    }
    for (const one of folders)
      rows.push(`<CommonPrefixes><Prefix>${one}</Prefix></CommonPrefixes>`);
    return ok(
      {},
      `${XML}<ListBucketResult><IsTruncated>false</IsTruncated>${rows.join('')}</ListBucketResult>`,
    );
  }

  #list(query: URLSearchParams): Answer {
    const prefix = query.get('prefix') ?? '';
    const delimiter = query.get('delimiter');
    const keyMarker = query.get('key-marker') ?? '';
    const idMarker = query.get('version-id-marker');
    const folders = new Set<string>();
    const items: { key: string; version: FakeVersion; isLatest: boolean }[] = [];
    let isBehind = idMarker === null;
    for (const key of [...this.objects.keys()].sort()) {
      if (!key.startsWith(prefix) || key < keyMarker) continue;
      if (key === keyMarker && idMarker === null) continue;
      const cut = delimiter === null ? -1 : key.indexOf(delimiter, prefix.length);
      if (cut >= 0) {
        folders.add(key.slice(0, cut + 1));
        continue;
      }
      for (const [index, version] of (this.objects.get(key) ?? []).entries()) {
        if (key > keyMarker) isBehind = true;
        if (isBehind) items.push({ key, version, isLatest: index === 0 });
        if (key === keyMarker && version.id === idMarker) isBehind = true;
      }
    }
    const page = items.slice(0, this.pageLength);
    const last = page.at(-1);
    const isCut = items.length > page.length;
    const rows = page.map(({ key, version, isLatest }) => {
      const time = new Date(version.storedMs).toISOString();
      const common = `<Key>${key}</Key><VersionId>${version.id}</VersionId><IsLatest>${isLatest}</IsLatest><LastModified>${time}</LastModified>`;
      return version.isMarker
        ? `<DeleteMarker>${common}</DeleteMarker>`
        : `<Version>${common}<Size>${version.bytes.length}</Size></Version>`;
    });
    const next = isCut
      ? `<NextKeyMarker>${last?.key}</NextKeyMarker><NextVersionIdMarker>${last?.version.id}</NextVersionIdMarker>`
      : '';
    const common = [...folders].map(
      (one) => `<CommonPrefixes><Prefix>${one}</Prefix></CommonPrefixes>`,
    );
    return ok(
      {},
      `${XML}<ListVersionsResult><IsTruncated>${isCut}</IsTruncated>${next}${rows.join('')}${isCut ? '' : common.join('')}</ListVersionsResult>`,
    );
  }
}

function operationOf(method: string, key: string, query: URLSearchParams): string {
  if (query.get('list-type') === '2') return 'ListObjectsV2';
  if (query.has('versions')) return 'ListObjectVersions';
  if (query.has('versioning')) return 'GetBucketVersioning';
  if (query.has('object-lock')) return 'GetObjectLockConfiguration';
  if (query.has('retention')) return method === 'PUT' ? 'PutObjectRetention' : 'GetObjectRetention';
  if (query.has('legal-hold')) return 'PutObjectLegalHold';
  const verbs: Readonly<Record<string, string>> = {
    PUT: 'PutObject',
    GET: 'GetObject',
    HEAD: 'HeadObject',
    DELETE: 'DeleteObject',
  };
  return key === '' ? `${method} bucket` : (verbs[method] ?? method);
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

function ok(
  headers: Readonly<Record<string, string>>,
  body: string | Buffer,
  status = 200,
): Answer {
  return { status, headers, body };
}

function fail(status: number, code: string): Answer {
  const body = `${XML}<Error><Code>${code}</Code><Message>said by the store</Message></Error>`;
  return { status, headers: { 'content-type': 'application/xml' }, body };
}
