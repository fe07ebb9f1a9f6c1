// SPDX-License-Identifier: Apache-2.0
// Goal: what is put in a bucket is there once, whole, under the lock that was asked for, and nothing is told before that
// was read back. Method: the real SDK against a small S3 on loopback, which fails at each step of an upload.
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ArchiveObject } from '../exporter/node/archive/archive.ts';
import { S3Archive } from '../exporter/node/archive/archive-s3.ts';
import { DAY_MS, type Retention } from '../exporter/node/storage/retention.ts';
import { BUCKET, FakeS3, type Fault } from './support/fake-s3.ts';

const KEY = 'o/segments/00000000000000000000.seg';
const NOW = Date.parse('2026-11-23T12:00:00.000Z');
const RETENTION: Retention = {
  className: '6-months',
  minimumDays: 184,
  maximumDays: 276,
  localDays: undefined,
};
const RETAIN_UNTIL = '2027-05-26T13:00:00.000Z';
const LOCK = `COMPLIANCE until ${RETAIN_UNTIL}; version v1; class 6-months`;

let s3: FakeS3;
const opened: S3Archive[] = [];
beforeEach(async () => {
  s3 = await FakeS3.start();
  s3.now = () => NOW;
  // The real SDK reads these where nobody gives it others.
  process.env.AWS_ACCESS_KEY_ID = 'test';
  process.env.AWS_SECRET_ACCESS_KEY = 'test';
});
afterEach(async () => {
  for (const archive of opened.splice(0)) archive.close();
  await s3.close();
});

async function open(more: Partial<Parameters<typeof S3Archive.open>[0]> = {}): Promise<S3Archive> {
  const place = { bucket: BUCKET, prefix: '', region: undefined, pathStyle: true };
  const archive = await S3Archive.open(
    { ...place, endpoint: s3.endpoint, mode: 'COMPLIANCE', retention: RETENTION, ...more },
    () => NOW,
  );
  opened.push(archive);
  return archive;
}

function objectOf(text: string, key: string = KEY): ArchiveObject {
  const bytes = Buffer.from(text);
  const sha256 = createHash('sha256').update(bytes).digest();
  return { key, content: { bytes }, byteLength: bytes.length, sha256 };
}

/** A fault for the first so many requests of an operation. */
function failing(operation: string, fault: Fault, times = 1): void {
  s3.fault = (asked) => (asked.operation === operation && asked.count <= times ? fault : undefined);
}

describe('put', () => {
  test('stores once, locked, and says what the store says of the lock', async () => {
    const archive = await open();
    expect(archive.name).toBe(`s3://${BUCKET} at ${s3.endpoint}`);
    expect(await archive.put(objectOf('one'))).toEqual({
      status: 'ok',
      existed: false,
      lock: LOCK,
    });
    expect(s3.objects.get(KEY)).toEqual([
      {
        id: 'v1',
        isMarker: false,
        bytes: Buffer.from('one'),
        storedMs: NOW,
        mode: 'COMPLIANCE',
        retainUntil: '2027-05-26T13:00:00Z',
        hold: false,
      },
    ]);
  });

  test('below a prefix, which is part of its name', async () => {
    const archive = await open({ prefix: 'team/logs' });
    expect(archive.name).toBe(`s3://${BUCKET}/team/logs at ${s3.endpoint}`);
    await archive.put(objectOf('one'));
    expect([...s3.objects.keys()]).toEqual([`team/logs/${KEY}`]);
    expect(await archive.list('o/segments/')).toEqual({
      status: 'ok',
      objects: [{ key: KEY, byteLength: 3 }],
    });
  });

  test('again with the same content is done already; with other content a conflict', async () => {
    const archive = await open();
    await archive.put(objectOf('one'));
    expect(await archive.put(objectOf('one'))).toEqual({ status: 'ok', existed: true, lock: LOCK });
    expect(await archive.put(objectOf('two'))).toEqual({
      status: 'conflict',
      cause: `${KEY}: other content is stored under this key`,
    });
    expect(s3.contents()).toEqual({ [KEY]: ['one'] });
  });

  test('finds its bytes behind a version that somebody put in front', async () => {
    const archive = await open();
    await archive.put(objectOf('one'));
    s3.add(KEY, Buffer.from('two'));
    expect(await archive.put(objectOf('one'))).toEqual({ status: 'ok', existed: true, lock: LOCK });
  });

  test('behind a delete marker stores the same bytes once more', async () => {
    const archive = await open();
    await archive.put(objectOf('one'));
    s3.hide(KEY);
    expect(await archive.put(objectOf('one'))).toMatchObject({ status: 'ok', existed: false });
    expect(s3.contents()).toEqual({ [KEY]: ['one', null, 'one'] });
  });

  test('of content that is not what it was said to be asks the store nothing', async () => {
    const archive = await open();
    const object = { ...objectOf('one'), content: { bytes: Buffer.from('onE') } };
    expect(await archive.put(object)).toEqual({
      status: 'retryable',
      cause: `${KEY}: the content changed while it was read`,
    });
    expect(s3.asked).toEqual([]);
  });

  test('under a legal hold while one is on', async () => {
    const archive = await open();
    archive.holdLegally(true);
    await archive.put(objectOf('one'));
    archive.holdLegally(false);
    await archive.put(objectOf('two', `${KEY}x`));
    expect([...s3.objects.values()].map(([version]) => version?.hold)).toEqual([true, false]);
  });

  test('refuses a key that no store takes', async () => {
    await expect((await open()).put(objectOf('one', '../a'))).rejects.toThrow(TypeError);
  });
});

describe('an upload that was cut short at', () => {
  test.each<readonly [where: string, operation: string, fault: Fault, times: number]>([
    ['the request', 'PutObject', 'cut before', 9],
    ['the answer', 'PutObject', 'cut after', 9],
    ['a server in trouble', 'PutObject', { status: 503, code: 'SlowDown' }, 9],
    ['a race', 'PutObject', { status: 409, code: 'ConditionalRequestConflict' }, 1],
    ['reading back', 'HeadObject', 'cut before', 9],
  ])('%s is put right by putting again', async (_where, operation, fault, times) => {
    const archive = await open();
    failing(operation, fault, times);
    const first = await archive.put(objectOf('one'));
    s3.fault = () => undefined;
    // Whatever was said, it is there at most once; and if it was said to be there, it is.
    expect([[], ['one']]).toContainEqual(s3.contents()[KEY] ?? []);
    if (first.status === 'ok') expect(s3.contents()[KEY]).toEqual(['one']);
    expect(await archive.put(objectOf('one'))).toMatchObject({ status: 'ok', lock: LOCK });
    expect(s3.contents()).toEqual({ [KEY]: ['one'] });
  });

  test('an answer that never came, the store is asked at once', async () => {
    const archive = await open();
    failing('PutObject', 'cut after', 9);
    expect(await archive.put(objectOf('one'))).toEqual({ status: 'ok', existed: true, lock: LOCK });
  });

  test('an end that somebody asked for', async () => {
    const archive = await open();
    failing('PutObject', 'hang');
    const abort = new AbortController();
    const putting = archive.put(objectOf('one'), abort.signal);
    while (s3.asked.length === 0) await new Promise(setImmediate);
    abort.abort();
    expect(await putting).toMatchObject({ status: 'retryable' });
    expect(s3.contents()).toEqual({});
  });
});

test('of 32 writers at once one stores it, and all are told that it is there', async () => {
  const archives = await Promise.all(Array.from({ length: 4 }, () => open()));
  const outcomes = await Promise.all(
    Array.from({ length: 32 }, (_, at) => archives[at % 4]!.put(objectOf('one'))),
  );
  expect(outcomes.map(({ status }) => status)).toEqual(Array(32).fill('ok'));
  expect(s3.contents()).toEqual({ [KEY]: ['one'] });
});

describe('no receipt for', () => {
  test('a lock weaker than was asked for', async () => {
    const archive = await open();
    s3.add(KEY, Buffer.from('one'), {
      mode: 'GOVERNANCE',
      retainUntil: '2099-01-01T00:00:00.000Z',
    });
    expect(await archive.put(objectOf('one'))).toEqual({
      status: 'conflict',
      cause: `${KEY}: stored with GOVERNANCE until 2099-01-01T00:00:00.000Z, weaker than COMPLIANCE for 184 days`,
    });
  });

  test('a lock that ends too early', async () => {
    const archive = await open();
    s3.add(KEY, Buffer.from('one'), {
      mode: 'COMPLIANCE',
      retainUntil: '2027-01-01T00:00:00.000Z',
    });
    expect(await archive.put(objectOf('one'))).toMatchObject({ status: 'conflict' });
  });

  test('no lock at all', async () => {
    const archive = await open();
    s3.add(KEY, Buffer.from('one'));
    expect(await archive.put(objectOf('one'))).toMatchObject({
      status: 'conflict',
      cause: `${KEY}: stored with no lock, weaker than COMPLIANCE for 184 days`,
    });
  });

  test('a bucket without Object Lock', async () => {
    const archive = await open();
    s3.hasObjectLock = false;
    expect(await archive.put(objectOf('one'))).toMatchObject({
      status: 'retryable',
      cause: expect.stringContaining('PutObject: 400 InvalidRequest'),
    });
    expect(s3.contents()).toEqual({});
  });

  test('a lock that can not be read back, with the permission that lacks', async () => {
    const archive = await open();
    s3.denied.add('GetObjectRetention');
    expect(await archive.put(objectOf('one'))).toMatchObject({
      status: 'retryable',
      cause: expect.stringContaining('the credentials may lack s3:GetObjectRetention'),
    });
  });

  test.each([
    ['PutObject', 's3:PutObject and s3:PutObjectRetention'],
    ['HeadObject', 's3:GetObject and s3:GetObjectVersion'],
  ])('credentials that may not %s', async (operation, permission) => {
    const archive = await open();
    s3.denied.add(operation);
    expect(await archive.put(objectOf('one'))).toMatchObject({
      status: 'retryable',
      cause: expect.stringContaining(`the credentials may lack ${permission}`),
    });
  });
});

test('GOVERNANCE only where it was asked for', async () => {
  const archive = await open({ mode: 'GOVERNANCE' });
  expect(await archive.put(objectOf('one'))).toMatchObject({
    lock: `GOVERNANCE until ${RETAIN_UNTIL}; version v1; class 6-months`,
  });
});

test('a store clock far from ours: the lock is held against the store', async () => {
  const archive = await open();
  s3.now = () => NOW + 30 * DAY_MS;
  expect(await archive.put(objectOf('one'))).toMatchObject({ status: 'conflict' });
});

describe('list and read', () => {
  test('see what is hidden and what is shadowed, over any number of pages', async () => {
    const archive = await open();
    for (const name of ['1-a', '2-b', '3-c']) s3.add(`o/checkpoints/${name}`, Buffer.from(name));
    s3.add('o/segments/0', Buffer.from('x'));
    s3.hide('o/checkpoints/3-c');
    s3.add('o/checkpoints/2-b', Buffer.from('something else'));
    for (const pageLength of [1, 2, 3, 1000]) {
      s3.pageLength = pageLength;
      expect(await archive.list('o/checkpoints/')).toEqual({
        status: 'ok',
        objects: ['1-a', '2-b', '3-c'].map((name) => ({
          key: `o/checkpoints/${name}`,
          byteLength: 3,
        })),
      });
    }
    expect(
      await archive.list('o/checkpoints/', { after: 'o/checkpoints/1-a', countMax: 1 }),
    ).toEqual({
      status: 'ok',
      objects: [{ key: 'o/checkpoints/2-b', byteLength: 3 }],
    });
    const textOf = async (key: string, text?: string): Promise<string> => {
      const sha256 = text === undefined ? undefined : createHash('sha256').update(text).digest();
      const read = await archive.read(key, 100, { sha256 });
      return read.status === 'ok' ? Buffer.from(read.bytes).toString() : read.status;
    };
    expect(await textOf('o/checkpoints/3-c')).toBe('3-c');
    expect(await textOf('o/checkpoints/2-b')).toBe('2-b');
    expect(await textOf('o/checkpoints/2-b', 'something else')).toBe('something else');
    expect(await textOf('o/checkpoints/2-b', 'never put')).toBe('missing');
    expect(await textOf('o/checkpoints/4-d')).toBe('missing');
    expect(await archive.read('o/checkpoints/1-a', 2)).toMatchObject({ status: 'retryable' });
  });

  test('a store that does not answer is not one that is empty', async () => {
    const archive = await open();
    s3.fault = () => ({ status: 403, code: 'AccessDenied' });
    expect(await archive.list('o/checkpoints/')).toMatchObject({
      status: 'retryable',
      cause: expect.stringContaining('s3:ListBucketVersions'),
    });
    expect(await archive.read('o/checkpoints/1-a', 2)).toMatchObject({ status: 'retryable' });
  });
});
