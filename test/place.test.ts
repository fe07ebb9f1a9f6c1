// SPDX-License-Identifier: Apache-2.0
// Goal: a writer signs only what extends the newest checkpoint that left this machine, whatever somebody did to the
// archive since (invariant 4). Method: logs of real processes, archived in a small S3 by hand and by the archiver.
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ReceiptEvent } from '../exporter/log/control.ts';
import { parseCheckpoint, parseVerifier } from '../exporter/log/note.ts';
import { S3Archive } from '../exporter/node/archive/archive-s3.ts';
import { findArchivedLogs, verifyArchivedLog } from '../exporter/node/archive/archive-verify.ts';
import { checkpointKey } from '../exporter/node/archive/archiver.ts';
import { openAuditWith } from '../exporter/node/audit.ts';
import { type ConfigInput, readConfig } from '../exporter/node/config/config.ts';
import {
  compareWithArchive,
  newestArchived,
  sealedEvents,
} from '../exporter/node/sealing/place.ts';
import { sha256 } from '../exporter/node/system/keys.ts';
import { readLog, startAudited } from './support/audited-process.ts';
import { BUCKET, FakeS3 } from './support/fake-s3.ts';

process.env.AWS_ACCESS_KEY_ID = 'test';
process.env.AWS_SECRET_ACCESS_KEY = 'test';

const home = mkdtempSync(join(tmpdir(), 'sealspan-place-'));
afterAll(() => rmSync(home, { recursive: true }));
let count = 0;
const newDir = (): string => join(home, String(count++));

const ORIGIN = 'example.org/claims/0';

/** A log that was written and closed so many times. */
async function writtenLog(dir: string, times: number): Promise<string> {
  for (let time = 0; time < times; time++) {
    const config = readConfig({}, { dir, origin: 'example.org/claims', archive: 'off' });
    await openAuditWith(config).shutdown();
  }
  return join(dir, '0');
}

let s3: FakeS3;
let archive: S3Archive;
beforeEach(async () => {
  s3 = await FakeS3.start();
  archive = await S3Archive.open(readConfig({}, { archive: s3Input() }).archiveS3!);
});
afterEach(async () => {
  archive.close();
  await s3.close();
});

function s3Input(): {
  readonly s3: { readonly bucket: string; readonly endpoint: string; readonly pathStyle: true };
} {
  return { s3: { bucket: BUCKET, endpoint: s3.endpoint, pathStyle: true } };
}

/** Archives the newest checkpoint of a log. */
function archiveCheckpoint(dir: string): { readonly key: string; readonly size: number } {
  const bytes = readFileSync(join(dir, 'checkpoint'));
  const { size } = parseCheckpoint(bytes);
  const key = checkpointKey(ORIGIN, size, bytes);
  s3.add(key, bytes);
  return { key, size };
}

describe('a log compared with its archive', () => {
  test('fits an archive that is empty, one that has its head, and one that is behind', async () => {
    const base = newDir();
    const dir = await writtenLog(base, 1);
    expect(await compareWithArchive(dir, archive, ORIGIN, [])).toBe(true);
    archiveCheckpoint(dir);
    expect(await compareWithArchive(dir, archive, ORIGIN, [])).toBe(true);
    await writtenLog(base, 1);
    expect(await compareWithArchive(dir, archive, ORIGIN, [])).toBe(true);
  });

  test.each<readonly [what: string, attack: (key: string) => void]>([
    ['as it is', () => {}],
    ['with the checkpoint hidden', (key) => s3.hide(key)],
    ['with the checkpoint shadowed', (key) => s3.add(key, Buffer.from('something else'))],
    [
      'with things behind it that are no checkpoints',
      () => {
        for (const name of [`${'9'.repeat(20)}-${'0'.repeat(64)}`, 'zzz'])
          s3.add(`${ORIGIN}/checkpoints/${name}`, Buffer.from('no checkpoint'));
      },
    ],
  ])('that is behind an archive %s is refused', async (_what, attack) => {
    const base = newDir();
    const dir = await writtenLog(base, 1);
    const backup = newDir();
    cpSync(dir, backup, { recursive: true });
    await writtenLog(base, 1);
    const { key, size } = archiveCheckpoint(dir);
    attack(key);
    await expect(compareWithArchive(backup, archive, ORIGIN, [])).rejects.toThrow(
      `${backup} is behind the archived checkpoint of ${size} records (${key})`,
    );
    await expect(compareWithArchive(newDir(), archive, ORIGIN, [])).rejects.toThrow('is behind');
    expect(await compareWithArchive(dir, archive, ORIGIN, [])).toBe(true);
  });

  test('that is another history of the same size is refused', async () => {
    const archived = await writtenLog(newDir(), 1);
    const { size } = archiveCheckpoint(archived);
    const other = await writtenLog(newDir(), 1);
    await expect(compareWithArchive(other, archive, ORIGIN, [])).rejects.toThrow(
      `is another history than the archived checkpoint of ${size} records`,
    );
  });

  test('is not compared where the archive does not answer', async () => {
    const dir = await writtenLog(newDir(), 1);
    s3.fault = () => ({ status: 403, code: 'AccessDenied' });
    expect(await compareWithArchive(dir, archive, ORIGIN, [])).toBe(false);
  });

  test('is compared from its newest receipt on, so that a start costs a page and not an archive', async () => {
    const dir = await writtenLog(newDir(), 4);
    s3.pageLength = 1;
    const { size } = archiveCheckpoint(dir);
    for (let older = 1; older < size; older++) {
      const bytes = Buffer.from(`not looked at: ${older}`);
      s3.add(checkpointKey(ORIGIN, older, bytes), bytes);
    }
    const what = { segment: 0, size, byteLength: 1, sha256: new Uint8Array(32), key: 'k' };
    const receipts: ReceiptEvent[] = [{ name: 'receipt', archive: archive.name, ...what }];
    const askedFor = async (of: readonly ReceiptEvent[]): Promise<number> => {
      s3.asked.length = 0;
      expect(await compareWithArchive(dir, archive, ORIGIN, of)).toBe(true);
      return s3.asked.filter(({ operation }) => operation === 'ListObjectVersions').length;
    };
    expect(await askedFor(receipts)).toBeLessThan(6);
    expect(await askedFor([])).toBeGreaterThan(size);
    expect(await askedFor([{ name: 'receipt', archive: 'another', ...what }])).toBeGreaterThan(
      size,
    );
  });
});

test('the newest checkpoint of an archive', async () => {
  expect(await newestArchived(archive, ORIGIN)).toBe(undefined);
  const base = newDir();
  let newest = 0;
  for (let times = 0; times < 3; times++)
    newest = archiveCheckpoint(await writtenLog(base, 1)).size;
  expect((await newestArchived(archive, ORIGIN))?.checkpoint.size).toBe(newest);
  s3.fault = () => ({ status: 403, code: 'AccessDenied' });
  await expect(newestArchived(archive, ORIGIN)).rejects.toThrow('s3:ListBucketVersions');
});

describe('a process that archives in a bucket', () => {
  const config = (dir: string): ConfigInput => ({
    dir,
    origin: 'example.org/claims',
    archive: s3Input(),
  });

  test('stores its segments under a lock, and seals what the store said of it', async () => {
    const dir = newDir();
    const app = startAudited({ config: config(dir), spanCount: 20, end: 'shutdown' });
    expect(await app.ended()).toMatchObject({ code: 0 });
    const [receipt] = (await sealedEvents(join(dir, '0'))).archived.map((one) => one.receipt);
    expect(receipt).toMatchObject({
      archive: `s3://${BUCKET} at ${s3.endpoint}`,
      key: `${ORIGIN}/segments/00000000000000000000.seg`,
      lock: expect.stringMatching(/^COMPLIANCE until \S+Z; version v1; class 6-months$/),
    });
    const { report } = await readLog(join(dir, '0'));
    expect(report.verdict).toBe('valid');
    const kept = [...s3.objects.values()].map(([version]) => version?.mode);
    expect(kept).toEqual(kept.map(() => 'COMPLIANCE'));
  });

  test('leaves an archive that verifies when nothing else is left, its end included', async () => {
    const dir = newDir();
    const more = { segment: { byteLengthMax: 4096 } };
    for (let run = 0; run < 2; run++) {
      const task = { config: { ...config(dir), ...more }, spanCount: 50, end: 'shutdown' } as const;
      expect(await startAudited(task).ended()).toMatchObject({ code: 0, errors: '' });
    }
    const verifier = parseVerifier(sha256, readFileSync(join(dir, '0', 'verifier'), 'utf8').trim());
    rmSync(dir, { recursive: true });
    const { store } = archive;
    expect(await findArchivedLogs(store)).toEqual({ origins: [ORIGIN], foreign: [] });
    const { report } = await verifyArchivedLog({
      store,
      origin: ORIGIN,
      trust: {
        origin: ORIGIN,
        verifiers: [verifier],
        selfAttested: false,
        minimumHead: undefined,
      },
      wanted: { mode: 'COMPLIANCE', minimumDays: 184 },
      // Long after: a log that was closed is never silent.
      nowMs: Date.now() + 30 * 86_400_000,
    });
    expect(report.findings).toEqual([]);
    expect(report).toMatchObject({ verdict: 'valid', entries: 100 });
    expect(Object.values(s3.contents()).every((versions) => versions.length === 1)).toBe(true);
  });

  test('whose store is away seals all the same, and signs nothing', async () => {
    const dir = newDir();
    s3.fault = () => ({ status: 503, code: 'SlowDown' });
    const app = startAudited({ config: config(dir), spanCount: 20, end: 'exit' });
    expect(await app.ended()).toMatchObject({ code: 0 });
    const { report, names } = await readLog(join(dir, '0'));
    expect(names.length).toBe(20);
    expect(report).toMatchObject({ verdict: 'unverifiable', size: 0 });
  });
});
