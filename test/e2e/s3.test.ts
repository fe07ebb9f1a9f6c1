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
import { probeArchive } from '../../exporter/node/archive/archive-probe.ts';
import { S3Archive } from '../../exporter/node/archive/archive-s3.ts';
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

/** An attack that can not be told, for the server does not answer. */
const UNANSWERED: Readonly<Record<string, string>> = {
  // Answers 200 and no XML when it is asked for the lock of an object that has none.
  moto: 'no lock on one object',
};

interface Found {
  readonly code: string;
  readonly message: string;
}

interface Told {
  readonly status: number;
  readonly codes: readonly string[];
  readonly messages: readonly string[];
  /** Logs that were expected, and not found. */
  readonly missing: readonly string[];
  readonly entries: number | undefined;
  readonly archiveLock: string | undefined;
}

function trustIn(logs: readonly ArchivedLog[]): string {
  const path = join(mkdtempSync(join(home, 'trust-')), 'trust.yaml');
  const lines = logs.map(({ origin, signer }) => `  - { origin: ${origin}, key: ${signer.vkey} }`);
  writeFileSync(path, `logs:\n${lines.join('\n')}\n`);
  return path;
}

async function verify(
  server: S3Server,
  bucket: string,
  logs: readonly ArchivedLog[],
  trustPath: string = trustIn(logs),
): Promise<Told> {
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
    {
      url: `s3://${bucket}`,
      ...where,
      range: { from: undefined, to: undefined },
      trustPath,
      isJson: true,
    },
    terminal,
  );
  const json = JSON.parse(output) as {
    readonly entries?: number;
    readonly findings?: readonly Found[];
    readonly logs?: readonly { readonly findings: readonly Found[] }[];
    readonly missing?: readonly string[];
    readonly assurance?: { readonly archiveLock: string };
  };
  const found = json.findings ?? (json.logs ?? []).flatMap(({ findings }) => findings);
  return {
    status,
    codes: [...new Set(found.map(({ code }) => code))].sort(),
    messages: found.map(({ message }) => message),
    missing: json.missing ?? [],
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
        const runs = Array.from({ length: Math.ceil(SPAN_COUNT / SPANS_PER_RUN) }, (_, at) =>
          Math.min(SPANS_PER_RUN, SPAN_COUNT - at * SPANS_PER_RUN),
        );
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

      describe('whose bucket was replaced by a doctored copy', () => {
        const OTHER = 'example.org/claims/1';
        const DAY_MS = 86_400_000;
        interface Doctored {
          bytes: Uint8Array;
          mode: 'COMPLIANCE' | 'GOVERNANCE' | undefined;
          untilMs: number;
        }
        type Objects = Map<string, Doctored>;
        let other: ArchivedLog;

        /** Has two logs verified where they are, then what somebody makes of them elsewhere. */
        const doctored = async (
          edit: (objects: Objects) => void | Promise<void>,
        ): Promise<Told> => {
          bucket = await newBucket();
          log = await archived();
          other = await archived(OTHER, 'cart');
          const trust = trustIn([log, other]);
          expect(await verify(server, bucket, [log, other], trust)).toMatchObject({
            status: 0,
            codes: [],
          });
          const objects: Objects = new Map();
          for (const one of [log, other]) {
            for (const key of [...one.segmentKeys, ...one.checkpointKeys]) {
              const untilMs = Date.now() + 300 * DAY_MS;
              objects.set(key, { bytes: await bytesOf(key), mode: 'COMPLIANCE', untilMs });
            }
          }
          await edit(objects);
          bucket = await newBucket();
          for (const [Key, { bytes, mode, untilMs }] of objects) {
            const lock = { ObjectLockMode: mode, ObjectLockRetainUntilDate: new Date(untilMs) };
            await server.client.send(
              new PutObjectCommand({
                ...at(Key),
                Body: bytes,
                ChecksumAlgorithm: 'SHA256',
                ...(mode === undefined ? {} : lock),
              }),
            );
          }
          return verify(server, bucket, [log, other], trust);
        };

        const forgeries: readonly (readonly [
          what: string,
          edit: (objects: Objects) => void | Promise<void>,
          status: number,
          codes: readonly string[],
        ])[] = [
          ['nothing changed', () => {}, 0, []],
          [
            'the newest segment cut off, with its checkpoint',
            (objects) => {
              objects.delete(log.segmentKeys[2]!);
              objects.delete(log.checkpointKeys[2]!);
            },
            1,
            ['log.rollback', 'log.silent'],
          ],
          [
            'a segment in the middle taken out',
            (objects) => void objects.delete(log.segmentKeys[1]!),
            1,
            ['log.rollback', 'log.silent', 'log.truncated', 'segment.name'],
          ],
          [
            'segments of two logs swapped',
            (objects) => {
              const [own, foreign] = [log, other].map(({ segmentKeys }) => segmentKeys[1]!);
              const kept = objects.get(own!)!;
              objects.set(own!, objects.get(foreign!)!);
              objects.set(foreign!, kept);
            },
            1,
            ['archive.receipt', 'archive.root', 'log.root', 'record.link', 'record.log'],
          ],
          [
            'a segment replaced by one of the same length',
            (objects) => {
              const one = objects.get(log.segmentKeys[1]!)!;
              one.bytes = flipped(one.bytes);
            },
            1,
            ['archive.receipt', 'record.stored'],
          ],
          [
            'GOVERNANCE instead of COMPLIANCE',
            (objects) => {
              for (const one of objects.values()) one.mode = 'GOVERNANCE';
            },
            3,
            ['archive.lock'],
          ],
          [
            'no lock on one object',
            (objects) => {
              objects.get(log.segmentKeys[0]!)!.mode = undefined;
            },
            3,
            ['archive.lock'],
          ],
          [
            'a retention that is shorter than the policy, and than the receipts say',
            (objects) => {
              for (const one of objects.values()) one.untilMs = Date.now() + 30 * DAY_MS;
            },
            3,
            ['archive.expiry'],
          ],
        ];
        test.each(forgeries)('shows: %s', async (what, edit, status, codes) => {
          if (UNANSWERED[kind.name] === what) {
            // No word on a lock is no word that there is none.
            await expect(doctored(edit)).rejects.toThrow('GetObjectRetention');
            return;
          }
          const told = await doctored(edit);
          expect({ status: told.status, codes: told.codes }).toEqual({ status, codes });
        });

        test('shows: a log rewritten under a new origin', async () => {
          const told = await doctored((objects) => {
            for (const key of [...objects.keys()]) if (key.startsWith(ORIGIN)) objects.delete(key);
          });
          expect([told.status, told.missing]).toEqual([3, [ORIGIN]]);
          await archived(`${ORIGIN}-new`);
          const rewritten = await verify(server, bucket, [log, other]);
          expect([rewritten.status, rewritten.missing]).toEqual([4, [ORIGIN]]);
          expect(rewritten.codes).toContain('checkpoint.unsigned');
        });
      });

      test('is verified by credentials that only read; what they may not see is named', async () => {
        const { makeUser } = server;
        if (makeUser === undefined) {
          console.log(`not run: ${kind.name}: all credentials may do everything`);
          return;
        }
        const asUser = async (actions: readonly string[]): Promise<Told> => {
          bucket = await newBucket();
          log = await archived();
          const user = await makeUser(bucket, actions);
          process.env.AWS_ACCESS_KEY_ID = user.accessKeyId;
          process.env.AWS_SECRET_ACCESS_KEY = user.secretAccessKey;
          try {
            return await verify(server, bucket, [log]);
          } finally {
            beOwner();
          }
        };
        const read = ['s3:GetObject', 's3:GetObjectVersion'];
        const list = ['s3:ListBucket', 's3:ListBucketVersions'];
        const all = await asUser([
          ...read,
          ...list,
          's3:GetObjectRetention',
          's3:GetObjectLegalHold',
        ]);
        expect(all).toMatchObject({ status: 0, codes: [], entries: log.spanCount });
        const visible = await asUser([...read, 's3:ListBucket', 's3:GetObjectRetention']);
        expect(visible).toMatchObject({ status: 4, codes: ['archive.permission'] });
        expect([visible.entries, visible.messages.join()]).toEqual([
          log.spanCount,
          expect.stringContaining('s3:ListBucketVersions'),
        ]);
        await expect(asUser(list)).rejects.toThrow('s3:GetObject');
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
