// SPDX-License-Identifier: Apache-2.0
// Goal: whatever the store does and whenever the process dies, no key ever gets two contents, nothing told sealed is
// missing, and the archive catches up and verifies by itself. Method: real processes that archive into a small S3, which
// kills them at each step of an upload, or fails in each way a store does; then the archive is verified.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseVerifier } from '../../exporter/log/note.ts';
import type { ArchiveReport } from '../../exporter/node/archive/archive-report.ts';
import { verifyArchivedLog } from '../../exporter/node/archive/archive-verify.ts';
import { S3Store } from '../../exporter/node/archive/s3-store.ts';
import type { ConfigInput } from '../../exporter/node/config/config.ts';
import { sha256 } from '../../exporter/node/system/keys.ts';
import { type AuditedProcess, readLog, startAudited } from '../support/audited-process.ts';
import { BUCKET, FakeS3, type Fault } from '../support/fake-s3.ts';

process.env.AWS_ACCESS_KEY_ID = 'test';
process.env.AWS_SECRET_ACCESS_KEY = 'test';

const home = mkdtempSync(join(tmpdir(), 'sealspan-archive-faults-'));
afterAll(() => rmSync(home, { recursive: true }));
let count = 0;

const ORIGIN = 'example.org/claims/0';

let s3: FakeS3;
let dir: string;
beforeEach(async () => {
  s3 = await FakeS3.start();
  dir = join(home, String(count++));
});
afterEach(() => s3.close());

const config = (): ConfigInput => ({
  dir,
  origin: 'example.org/claims',
  // Small segments: each is an upload to be cut short.
  segment: { byteLengthMax: 128 * 1024 },
  archive: { s3: { bucket: BUCKET, endpoint: s3.endpoint, pathStyle: true } },
});

/** A service that ends a span in each turn of its loop, and tells those that are sealed. */
const underLoad = (): AuditedProcess =>
  startAudited({ config: config(), spanCount: 1, perTurn: 1, tells: 'committed' });

/** A start with nothing to do but to catch up. */
async function catchUp(): Promise<void> {
  const app = startAudited({ config: config(), spanCount: 0, end: 'shutdown' });
  expect(await app.ended()).toMatchObject({ code: 0, errors: '' });
}

async function verifyArchive(): Promise<ArchiveReport> {
  const verifier = parseVerifier(sha256, readFileSync(join(dir, '0/verifier'), 'utf8').trim());
  const where = { bucket: BUCKET, prefix: '', region: undefined, pathStyle: true };
  const store = await S3Store.open({ ...where, endpoint: s3.endpoint });
  try {
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
      nowMs: Date.now(),
    });
    return report;
  } finally {
    store.close();
  }
}

/** All that was told is in the log, all of the log is in the archive, and no key has two contents. */
async function expectWhole(told: readonly string[]): Promise<void> {
  for (const [key, contents] of Object.entries(s3.contents())) {
    expect(new Set(contents).size, key).toBe(1);
  }
  const { report: local, names } = await readLog(join(dir, '0'));
  const sealed = new Set(names);
  expect(told.filter((name) => !sealed.has(name))).toEqual([]);
  const report = await verifyArchive();
  expect([report.verdict, report.records, report.entries]).toEqual([
    local.verdict,
    local.records,
    local.entries,
  ]);
  // Starts after a kill are noted; nothing else is.
  const codes = new Set(report.findings.map(({ code }) => code));
  for (const code of ['log.interrupted', 'log.recovered-whole'] as const) codes.delete(code);
  expect([...codes]).toEqual([]);
}

describe('SIGKILL at an upload,', () => {
  const segment = (asked: { readonly key: string }) => asked.key.includes('/segments/');
  test.each<readonly [step: string, operation: string, ofSegment: boolean, fault: Fault]>([
    ['before the segment is stored', 'PutObject', true, 'cut before'],
    ['when the segment is stored and nobody was told', 'PutObject', true, 'cut after'],
    ['before the lock of the segment is read back', 'HeadObject', true, 'cut before'],
    ['before the checkpoint is stored', 'PutObject', false, 'cut before'],
    ['when the checkpoint is stored and nobody was told', 'PutObject', false, 'cut after'],
    ['before the lock of the checkpoint is read back', 'HeadObject', false, 'cut before'],
    ['before the receipt is sealed', 'HeadObject', false, 'cut after'],
  ])('%s', async (_step, operation, ofSegment, fault) => {
    let killCount = 0;
    let app: AuditedProcess | undefined;
    s3.fault = (asked) => {
      const isIt = asked.operation === operation && segment(asked) === ofSegment;
      // The second upload of each process: the first may be one that was put before.
      if (!isIt || app === undefined || ++seen !== 2) return undefined;
      killCount++;
      app.child.kill('SIGKILL');
      return fault;
    };
    let seen = 0;
    const told: string[] = [];
    for (let round = 0; round < 2; round++) {
      seen = 0;
      app = underLoad();
      expect(await app.ended()).toMatchObject({ signal: 'SIGKILL' });
      // Numbers begin anew with each process.
      told.push(...app.told());
    }
    expect(killCount).toBe(2);
    s3.fault = () => undefined;
    await catchUp();
    await expectWhole(told);
  });
});

describe('a store that is', () => {
  /** Lets the store fail until enough was sealed, then lets it be and ends the service. */
  const through = async (fault: () => Fault | undefined): Promise<void> => {
    s3.fault = fault;
    const app = underLoad();
    await app.untilTold(2000);
    s3.fault = () => undefined;
    app.child.kill('SIGKILL');
    await app.ended();
    expect(app.told().length).toBeGreaterThanOrEqual(2000);
    await catchUp();
    await expectWhole(app.told());
  };

  test('down all the time: sealing goes on, and nothing is signed until it was compared', async () => {
    await through(() => 'cut before');
  });

  test('throttling', async () => {
    await through(() => ({ status: 503, code: 'SlowDown' }));
  });

  test('flapping', async () => {
    let asked = 0;
    await through(() => (Math.floor(asked++ / 3) % 2 === 0 ? undefined : 'cut after'));
  });

  test('without an answer', async () => {
    let asked = 0;
    await through(() => (asked++ % 5 === 4 ? 'hang' : undefined));
  });
});
