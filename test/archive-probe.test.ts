// SPDX-License-Identifier: Apache-2.0
// Goal: a bucket that can not hold an archive is told from one that can, by what it does and not by what it says.
// Method: the real SDK against a small S3 that lacks one thing at a time; the command over a file of settings.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runArchiveTest } from '../exporter/cli/archive.ts';
import { archivePolicies } from '../exporter/node/archive/archive-policies.ts';
import { type ProbeStatus, probeArchive } from '../exporter/node/archive/archive-probe.ts';
import { S3Failure } from '../exporter/node/archive/s3-store.ts';
import { ConfigError, readConfig } from '../exporter/node/config/config.ts';
import { BUCKET, FakeS3 } from './support/fake-s3.ts';

process.env.AWS_ACCESS_KEY_ID = 'test';
process.env.AWS_SECRET_ACCESS_KEY = 'test';

const home = mkdtempSync(join(tmpdir(), 'sealspan-probe-'));
afterAll(() => rmSync(home, { recursive: true }));

let s3: FakeS3;
beforeEach(async () => {
  s3 = await FakeS3.start();
});
afterEach(() => s3.close());

const configOf = (endpoint: string) =>
  readConfig({}, { archive: { s3: { bucket: BUCKET, prefix: 'a', endpoint, pathStyle: true } } })
    .archiveS3!;

/** Names of the probes by what they said, those that are as they should be left out. */
async function probed(): Promise<Record<string, ProbeStatus>> {
  const results = await probeArchive(configOf(s3.endpoint));
  const wrong = results.filter(({ status }) => status !== 'ok');
  return Object.fromEntries(wrong.map(({ name, status }) => [name, status]));
}

/** What a bucket without a policy lets anybody do beside an archive. */
const WITHOUT_POLICY = {
  'put without a condition': 'advice',
  'put under a short lock': 'advice',
  'put without a lock': 'advice',
  'hide an object': 'advice',
} as const;

describe('a bucket', () => {
  test('with locks, versions and conditions is fit; without a policy that is advice', async () => {
    expect(await probed()).toEqual(WITHOUT_POLICY);
    expect([...s3.objects.keys()].every((key) => key.startsWith('a/sealspan-archive-test/'))).toBe(
      true,
    );
  });

  test('without Object Lock is not', async () => {
    s3.hasObjectLock = false;
    expect(await probed()).toMatchObject({
      'object lock': 'missing',
      versioning: 'missing',
      'put under a lock': 'missing',
    });
  });

  test('whose conditions are looked at too early is not', async () => {
    s3.isAtomic = false;
    expect(await probed()).toMatchObject({ race: 'missing' });
  });

  test('whose clock is an hour off is not', async () => {
    s3.now = () => Date.now() - 3_000_000;
    expect(await probed()).toEqual({ ...WITHOUT_POLICY, clock: 'missing' });
  });

  test('that lets locked versions go is not', async () => {
    s3.keepsLocks = false;
    expect(await probed()).toMatchObject({
      'delete a version': 'missing',
    });
  });

  test('whose credentials may not see its settings is not told', async () => {
    s3.denied.add('GetBucketVersioning');
    s3.denied.add('GetObjectLockConfiguration');
    expect(await probed()).toEqual({
      ...WITHOUT_POLICY,
      'object lock': 'unknown',
      versioning: 'unknown',
    });
  });

  test('whose policy refuses what it should has no advice to be given', async () => {
    s3.denied.add('DeleteObject');
    s3.policy = ({ headers }) =>
      headers['if-none-match'] === '*' &&
      headers['x-amz-object-lock-mode'] === 'COMPLIANCE' &&
      Date.parse(`${headers['x-amz-object-lock-retain-until-date']}`) >
        Date.now() + 184 * 86_400_000;
    expect(await probed()).toEqual({});
  });

  test('that does not answer is a failure of the outside world', async () => {
    s3.fault = () => 'cut before';
    await expect(probeArchive(configOf(s3.endpoint))).rejects.toThrow(S3Failure);
  });
});

describe('the command', () => {
  const run = async (
    isJson: boolean,
    yaml: string,
  ): Promise<{ status: number; output: string }> => {
    const path = join(home, 'sealspan.yaml');
    writeFileSync(path, yaml);
    process.env.SEALSPAN_CONFIG = path;
    let output = '';
    const same = (text: string): string => text;
    const data = (line: string): void => {
      output += `${line}\n`;
    };
    try {
      const terminal = {
        data,
        note: () => {},
        progress: () => {},
        bold: same,
        good: same,
        bad: same,
      };
      return { status: await runArchiveTest({ isJson }, terminal), output };
    } finally {
      delete process.env.SEALSPAN_CONFIG;
    }
  };
  const yaml = (): string =>
    `archive: { s3: { bucket: ${BUCKET}, endpoint: "${s3.endpoint}", pathStyle: true } }\n`;

  test('says for each probe what it found, and prints the policies', async () => {
    const { status, output } = await run(false, yaml());
    expect(status).toBe(0);
    expect(output).toContain('✓ race                    of 32 conditional puts at once one won\n');
    expect(output).toContain(
      '! hide an object          a delete marker is taken; see the bucket policy\n',
    );
    expect(output).toContain('"s3:if-none-match": "true"');
    expect(output).toContain('this bucket is fit to be an archive\n');
  });

  test('exits with 1 where something is missing, 4 where it can not be told', async () => {
    s3.denied.add('GetBucketVersioning');
    expect((await run(true, yaml())).status).toBe(4);
    s3.hasObjectLock = false;
    const { status, output } = await run(true, yaml());
    expect(status).toBe(1);
    expect(JSON.parse(output)).toMatchObject({
      isFit: false,
      results: expect.arrayContaining([
        { name: 'object lock', status: 'missing', message: expect.any(String) },
      ]),
      policies: {
        bucket: expect.any(Object),
        writer: expect.any(Object),
        auditor: expect.any(Object),
      },
    });
  });

  test('needs a bucket to test', async () => {
    await expect(run(true, 'archive: off\n')).rejects.toThrow(ConfigError);
  });
});

test('the policies are of the bucket, the prefix and the retention, and let no writer delete', () => {
  const policies = archivePolicies(configOf('http://localhost:1'));
  const text = JSON.stringify(policies);
  expect(text).toContain(`"arn:aws:s3:::${BUCKET}/a/*"`);
  expect(policies.bucket).toMatchObject({
    Statement: expect.arrayContaining([
      expect.objectContaining({
        Sid: 'LockedLongEnough',
        Condition: { NumericLessThan: { 's3:object-lock-remaining-retention-days': '184' } },
      }),
      expect.objectContaining({
        Sid: 'LockedNoLonger',
        Condition: { NumericGreaterThan: { 's3:object-lock-remaining-retention-days': '276' } },
      }),
    ]),
  });
  const allowed = JSON.stringify([policies.writer, policies.auditor]);
  expect(allowed).not.toMatch(/Delete|Bypass|\*"\]|PutBucket|PutLifecycle/);
  expect(JSON.stringify(policies.auditor)).not.toContain('s3:Put');
});
