// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: an archive in a real S3 server holds what was sealed, whatever fails on the way, and verifies when nothing else
 * is left. Method: two servers that are not ours, each asked first what it does; services that are killed; logs that
 * are wiped; and attacks by whoever has the bucket's keys, as far as each server lets them.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Terminal } from '../../exporter/cli/terminal.ts';
import { runVerifyArchive } from '../../exporter/cli/verify-archive.ts';
import { probeArchive } from '../../exporter/node/archive-probe.ts';
import { S3Archive } from '../../exporter/node/archive-s3.ts';
import { type ArchivedLog, archiveLog } from '../support/archived-log.ts';
import { startAudited } from '../support/audited-process.ts';
import { beOwner, type S3Server, SERVERS } from './s3.ts';
import { killAll } from './services.ts';

beOwner();

const home = mkdtempSync(join(tmpdir(), 'sealspan-s3-'));
afterAll(async () => {
  await killAll();
  rmSync(home, { recursive: true });
  for (const { name, lacks } of SERVERS)
    if (lacks !== undefined) console.log(`not run: ${name}: ${lacks}`);
});

/** Spans of the round trip. */
const SPAN_COUNT = Number(process.env.E2E_S3_SPANS ?? 50_000);
/** Spans of one life of the service: all of them end in one turn of its loop. */
const SPANS_PER_RUN = 50_000;
/** Node with the SDK, and a few segments in flight; whatever the number of spans. */
const RSS_MIB_MAX = 400;

/** What a bucket without a policy lets its owner do beside an archive: no server here has policies that know locks. */
const WITHOUT_POLICY = {
  'put without a condition': 'advice',
  'put under a short lock': 'advice',
  'put without a lock': 'advice',
  'hide an object': 'advice',
};

/** What each gets wrong. */
const WRONG: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  versitygw: {},
  // Takes content that does not have the SHA-256 it was sent with, and lets a COMPLIANCE lock be shortened.
  moto: { checksum: 'missing', 'shorten a lock': 'missing' },
};

interface Told {
  readonly status: number;
  readonly codes: readonly string[];
  readonly entries: number | undefined;
  readonly archiveLock: string | undefined;
}

async function verify(
  server: S3Server,
  bucket: string,
  logs: readonly ArchivedLog[],
): Promise<Told> {
  const trustPath = join(mkdtempSync(join(home, 'trust-')), 'trust.yaml');
  const lines = logs.map(({ origin, signer }) => `  - { origin: ${origin}, key: ${signer.vkey} }`);
  writeFileSync(trustPath, `logs:\n${lines.join('\n')}\n`);
  let output = '';
  const same = (text: string): string => text;
  const data = (line: string): void => {
    output += line;
  };
  const terminal: Terminal = {
    data,
    note: () => {},
    progress: () => {},
    bold: same,
    good: same,
    bad: same,
  };
  const where = { endpoint: server.endpoint, region: undefined, pathStyle: true };
  const status = await runVerifyArchive(
    { url: `s3://${bucket}`, ...where, trustPath, isJson: true },
    terminal,
  );
  const json = JSON.parse(output) as {
    readonly entries?: number;
    readonly findings?: readonly { readonly code: string }[];
    readonly assurance?: { readonly archiveLock: string };
  };
  return {
    status,
    codes: [...new Set((json.findings ?? []).map(({ code }) => code))].sort(),
    entries: json.entries,
    archiveLock: json.assurance?.archiveLock,
  };
}

for (const kind of SERVERS) {
  if (kind.lacks !== undefined) continue;
  describe(kind.name, () => {
    let server: S3Server;
    let count = 0;
    const newBucket = async (): Promise<string> => {
      const bucket = `records-${count++}`;
      await server.makeBucket(bucket);
      return bucket;
    };
    beforeAll(async () => {
      server = await kind.start(mkdtempSync(join(home, `${kind.name}-`)));
    });
    afterAll(() => server?.kill());

    test('does what an archive needs, but for what is known', async () => {
      const results = await probeArchive(server.archive(await newBucket(), 'team/logs'));
      const wrong = results.filter(({ status }) => status !== 'ok');
      expect(Object.fromEntries(wrong.map(({ name, status }) => [name, status]))).toEqual({
        ...WITHOUT_POLICY,
        ...WRONG[kind.name],
      });
    });

    describe('a service whose disk is lost', () => {
      const MAIN = join(import.meta.dirname, '../../exporter/cli/main.ts');
      /** Has the command say at its end how much memory it had at most. */
      const TELL_MEMORY =
        'data:text/javascript,process.on("exit",()=>console.error("RSS",process.resourceUsage().maxRSS))';

      test(`has its ${SPAN_COUNT} spans in the archive, and they verify in constant memory`, async () => {
        const bucket = await newBucket();
        const dir = mkdtempSync(join(home, 'log-'));
        const { endpoint } = server;
        const config = {
          dir,
          origin: 'example.org/claims',
          pendingByteLengthMax: 4 * 1024 ** 3,
          segment: { byteLengthMax: 2 * 1024 * 1024 },
          archive: { s3: { bucket, prefix: 'logs', endpoint, pathStyle: true } },
        } as const;
        const startedMs = performance.now();
        const runs = Array.from({ length: SPAN_COUNT / SPANS_PER_RUN }, () => SPANS_PER_RUN);
        // What was not archived when the service had no more time, the next start archives.
        for (const spanCount of [...runs, 0]) {
          const app = startAudited({ config, spanCount, end: 'shutdown' });
          expect(await app.ended()).toMatchObject({ code: 0, errors: '' });
        }
        const archivedMs = performance.now() - startedMs;
        const vkey = readFileSync(join(dir, '0/verifier'), 'utf8').trim();
        rmSync(dir, { recursive: true });
        const trustPath = join(mkdtempSync(join(home, 'trust-')), 'trust.yaml');
        writeFileSync(trustPath, `logs:\n  - { origin: example.org/claims/0, key: ${vkey} }\n`);
        const verifyMs = performance.now();
        const args = ['verify', `s3://${bucket}/logs`, '--endpoint', endpoint, '--path-style'];
        const ended = spawnSync(
          process.execPath,
          ['--import', TELL_MEMORY, MAIN, ...args, '--trust', trustPath, '--json'],
          { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
        );
        const report = JSON.parse(ended.stdout) as { entries: number; findings: unknown[] };
        expect([ended.status, report.findings, report.entries]).toEqual([0, [], SPAN_COUNT]);
        const rss = Number(/RSS (\d+)/.exec(ended.stderr)?.[1]) / 1024;
        console.log(
          `${kind.name}: ${SPAN_COUNT} spans sealed and archived in ${Math.round(archivedMs)} ms, ` +
            `verified in ${Math.round(performance.now() - verifyMs)} ms with ${Math.round(rss)} MiB`,
        );
        expect(rss).toBeLessThan(RSS_MIB_MAX);
      }, 3_600_000);
    });

    describe('an archive', () => {
      const ORIGIN = 'example.org/claims/0';
      let bucket: string;
      let log: ArchivedLog;
      const archived = async (origin = ORIGIN, spanName = 'chat'): Promise<ArchivedLog> => {
        const archive = await S3Archive.open(server.archive(bucket));
        try {
          return await archiveLog(archive, { origin, spanName, segmentCount: 3 });
        } finally {
          archive.close();
        }
      };
      const at = (Key: string) => ({ Bucket: bucket, Key });
      const bytesOf = async (key: string): Promise<Uint8Array> => {
        const { Body } = await server.client.send(new GetObjectCommand(at(key)));
        return (await Body?.transformToByteArray()) ?? new Uint8Array();
      };
      const put = (key: string, bytes: Uint8Array, mode?: 'COMPLIANCE' | 'GOVERNANCE') =>
        server.client.send(
          new PutObjectCommand({
            ...at(key),
            Body: bytes,
            ...(mode === undefined
              ? {}
              : {
                  ObjectLockMode: mode,
                  ObjectLockRetainUntilDate: new Date(Date.now() + 200 * 86_400_000),
                  ChecksumAlgorithm: 'SHA256',
                }),
          }),
        );
      const hide = (key: string) => server.client.send(new DeleteObjectCommand(at(key)));
      const flipped = (bytes: Uint8Array): Uint8Array => {
        const copy = Uint8Array.from(bytes);
        copy[copy.length - 10]! ^= 1;
        return copy;
      };

      test('verifies, every lock told', async () => {
        bucket = await newBucket();
        log = await archived();
        const told = await verify(server, bucket, [log]);
        expect(told).toMatchObject({ status: 0, codes: [], entries: log.spanCount });
        expect(told.archiveLock).toMatch(/^6 of 6 objects locked, COMPLIANCE, the first until /);
      });

      interface Attack {
        readonly what: string;
        readonly act: () => Promise<unknown>;
        readonly status: number;
        readonly codes: readonly string[];
      }
      const attacks: readonly Attack[] = [
        {
          what: 'a delete marker',
          act: () => hide(log.segmentKeys[1]!),
          status: 3,
          codes: ['archive.marker'],
        },
        {
          what: 'a version in front',
          act: async () => put(log.segmentKeys[1]!, flipped(await bytesOf(log.segmentKeys[1]!))),
          status: 1,
          codes: ['archive.version'],
        },
        {
          what: 'a delete marker, a version in front, and the first put once more',
          act: async () => {
            const key = log.segmentKeys[1]!;
            const bytes = await bytesOf(key);
            await hide(key);
            await put(key, flipped(bytes), 'COMPLIANCE');
            await put(key, bytes, 'COMPLIANCE');
          },
          status: 1,
          codes: ['archive.duplicate', 'archive.marker', 'archive.version'],
        },
        {
          what: 'a foreign object',
          act: () => put(`${ORIGIN}/segments/notes.txt`, Buffer.from('hello')),
          status: 3,
          codes: ['archive.foreign'],
        },
      ];
      test.each(attacks)('shows $what', async ({ act, status, codes }) => {
        bucket = await newBucket();
        log = await archived();
        await act();
        const told = await verify(server, bucket, [log]);
        expect({ status: told.status, codes: told.codes }).toEqual({ status, codes });
        expect(told.entries).toBe(log.spanCount);
      });

      test('can not be emptied: locked versions stay, markers are found, all is read', async () => {
        bucket = await newBucket();
        log = await archived();
        const { Versions = [] } = await server.client.send(
          new ListObjectVersionsCommand({ Bucket: bucket }),
        );
        expect(Versions.length).toBe(6);
        for (const { Key = '', VersionId } of Versions) {
          const deletion = server.client.send(
            new DeleteObjectCommand({ ...at(Key), VersionId, BypassGovernanceRetention: true }),
          );
          await expect(deletion).rejects.toMatchObject({ name: 'AccessDenied' });
          await hide(Key);
        }
        const told = await verify(server, bucket, [log]);
        expect(told).toMatchObject({
          status: 3,
          codes: ['archive.marker'],
          entries: log.spanCount,
        });
      });
    });
  });
}
