// SPDX-License-Identifier: Apache-2.0
/**
 * Two real S3 servers with Object Lock, each a process of its own, with a bucket made as an archive needs it. What they
 * do otherwise than Amazon's is told beside each, and held by s3.test.ts.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  CreateBucketCommand,
  ListObjectVersionsCommand,
  PutBucketPolicyCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { parseVerifier } from '../../exporter/log/note.ts';
import { type VerifiedRecord, verifyRecord } from '../../exporter/log/record.ts';
import {
  type VerifiedArchive,
  verifyArchivedLog,
} from '../../exporter/node/archive/archive-verify.ts';
import { S3Store } from '../../exporter/node/archive/s3-store.ts';
import type { S3ArchiveConfig } from '../../exporter/node/config/archive-config.ts';
import { readConfig } from '../../exporter/node/config/config.ts';
import { nodePrimitives, sha256 } from '../../exporter/node/system/keys.ts';
import { openCheckers } from '../../exporter/node/verifying/checkers.ts';
import { tallyOf } from '../../exporter/node/verifying/tally.ts';
import { freePorts, type Service, service } from './services.ts';
import { goVersion, motoPython, pythonVersion, versitygwBinary } from './tools.ts';

const ACCESS_KEY = 'sealspan';
const SECRET_KEY = 'sealspan-e2e';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface S3Server extends Service {
  readonly endpoint: string;
  /** A client of its own, for what an archive never asks. */
  readonly client: S3Client;
  /** Makes a bucket with Object Lock. */
  makeBucket(name: string): Promise<void>;
  /**
   * Makes credentials that may do nothing in a bucket but these actions. Undefined for a server whose credentials all may
   * do everything.
   */
  readonly makeUser:
    | ((bucket: string, actions: readonly string[]) => Promise<Credentials>)
    | undefined;
  /** Settings of an archive there. */
  archive(bucket: string, prefix?: string): S3ArchiveConfig;
}

export interface S3ServerKind {
  readonly name: string;
  /** Why it can not run here; undefined where it can. */
  readonly lacks: string | undefined;
  start(dir: string): Promise<S3Server>;
}

const VERSITYGW: S3ServerKind = {
  name: 'versitygw',
  lacks: goVersion() === undefined ? '`go` is missing' : undefined,
  start: async (dir) => {
    const [port = 0] = await freePorts(1);
    const [data, versions, users] = [join(dir, 'data'), join(dir, 'versions'), join(dir, 'users')];
    for (const path of [data, versions, users]) mkdirSync(path, { recursive: true });
    const options = [
      '--port',
      `127.0.0.1:${port}`,
      '--health',
      '/health',
      '--quiet',
      '--keep-alive',
      '--iam-dir',
      users,
    ];
    return serverOf(
      port,
      (userName) => {
        const secret = `${userName}-secret`;
        const root = ['-a', ACCESS_KEY, '-s', SECRET_KEY, '-er', `http://127.0.0.1:${port}`];
        const user = ['create-user', '-a', userName, '-s', secret, '-r', 'user'];
        const ended = spawnSync(versitygwBinary(), ['admin', ...root, ...user], {
          encoding: 'utf8',
        });
        if (ended.status !== 0) throw new Error(ended.stderr);
        return secret;
      },
      service({
        name: 'versitygw',
        dir,
        command: versitygwBinary(),
        // It keeps metadata in extended attributes: the directory must be on a file system that has them.
        args: [...options, 'posix', '--versioning-dir', versions, data],
        env: { ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: SECRET_KEY },
        readyUrl: `http://127.0.0.1:${port}/health`,
      }),
    );
  },
};

const MOTO: S3ServerKind = {
  name: 'moto',
  lacks: pythonVersion() === undefined ? '`python3` with venv is missing' : undefined,
  start: async (dir) => {
    const [port = 0] = await freePorts(1);
    return serverOf(
      port,
      undefined,
      service({
        name: 'moto',
        dir,
        command: motoPython(),
        args: ['-m', 'moto.server', '-H', '127.0.0.1', '-p', `${port}`],
        env: {},
        readyUrl: `http://127.0.0.1:${port}/moto-api/`,
      }),
    );
  },
};

export const SERVERS: readonly S3ServerKind[] = [VERSITYGW, MOTO];

/** Has the clients in this process, and those that it starts, write as the owner of the buckets. */
export function beOwner(): void {
  process.env.AWS_ACCESS_KEY_ID = ACCESS_KEY;
  process.env.AWS_SECRET_ACCESS_KEY = SECRET_KEY;
}

/** @param newUser makes a user and returns the secret key */
async function serverOf(
  port: number,
  newUser: ((userName: string) => string) | undefined,
  started: Service,
): Promise<S3Server> {
  const endpoint = `http://127.0.0.1:${port}`;
  await started.start();
  const credentials = { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY };
  const client = new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true });
  return {
    ...started,
    endpoint,
    client,
    makeBucket: async (name) => {
      await client.send(
        new CreateBucketCommand({ Bucket: name, ObjectLockEnabledForBucket: true }),
      );
    },
    makeUser:
      newUser &&
      (async (bucket, Action) => {
        const accessKeyId = `user-of-${bucket}`;
        const secretAccessKey = newUser(accessKeyId);
        const Resource = [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`];
        const Statement = Resource.map((one, at) => ({
          Effect: 'Allow',
          Principal: { AWS: [accessKeyId] },
          Action: Action.filter((action) => action.startsWith('s3:List') === (at === 0)),
          Resource: [one],
        })).filter((statement) => statement.Action.length > 0);
        const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
        await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }));
        return { accessKeyId, secretAccessKey };
      }),
    archive: (bucket, prefix) => {
      const s3 = { bucket, prefix, endpoint, pathStyle: true };
      const { archiveS3 } = readConfig({}, { archive: { s3 } });
      if (archiveS3 === undefined) throw new Error('no archive in the configuration');
      return archiveS3;
    },
  };
}

/** How many segments a bucket has, all versions counted. */
export async function storedSegmentCount(
  { client }: S3Server,
  { bucket, prefix }: { readonly bucket: string; readonly prefix: string },
): Promise<number> {
  let count = 0;
  let KeyMarker: string | undefined;
  do {
    const page = await client.send(
      new ListObjectVersionsCommand({ Bucket: bucket, KeyMarker, Prefix: `${prefix}/` }),
    );
    count += (page.Versions ?? []).filter(({ Key }) => Key?.endsWith('.seg')).length;
    KeyMarker = page.IsTruncated === true ? page.NextKeyMarker : undefined;
  } while (KeyMarker !== undefined);
  return count;
}

/** What a verifier says that knows one log and its key, and asks for half a year of COMPLIANCE. */
export async function verifyStored(
  endpoint: string,
  place: { readonly bucket: string; readonly prefix: string },
  vkey: string,
  onRecord?: (record: VerifiedRecord) => void,
): Promise<VerifiedArchive['report']> {
  const store = await S3Store.open({ ...place, region: undefined, endpoint, pathStyle: true });
  const verifier = parseVerifier(sha256, vkey);
  const origin = verifier.name;
  const { report } = await verifyArchivedLog({
    store,
    origin,
    trust: { origin, verifiers: [verifier], selfAttested: false, minimumHead: undefined },
    wanted: { mode: 'COMPLIANCE', minimumDays: 184 },
    nowMs: Date.now(),
    checkers: {
      ...openCheckers(1),
      check: async (frame) => {
        const record = await verifyRecord(frame, nodePrimitives);
        if ('code' in record) return record;
        onRecord?.(record);
        return tallyOf(record);
      },
    },
  });
  store.close();
  return report;
}
