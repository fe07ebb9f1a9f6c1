// SPDX-License-Identifier: Apache-2.0
/**
 * Two real S3 servers with Object Lock, each a process of its own, with a bucket made as an archive needs it. What they
 * do otherwise than Amazon's is told beside each, and held by s3.test.ts.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { S3ArchiveConfig } from '../../exporter/node/archive-config.ts';
import { readConfig } from '../../exporter/node/config.ts';
import { freePorts, type Service, service } from './services.ts';
import { goVersion, motoPython, pythonVersion, versitygwBinary } from './tools.ts';

const ACCESS_KEY = 'sealspan';
const SECRET_KEY = 'sealspan-e2e';

export interface S3Server extends Service {
  readonly endpoint: string;
  /** A client of its own, for what an archive never asks. */
  readonly client: S3Client;
  /** Makes a bucket with Object Lock. */
  makeBucket(name: string): Promise<void>;
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
    const [data, versions] = [join(dir, 'data'), join(dir, 'versions')];
    for (const path of [data, versions]) mkdirSync(path, { recursive: true });
    const options = [
      '--port',
      `127.0.0.1:${port}`,
      '--health',
      '/health',
      '--quiet',
      '--keep-alive',
    ];
    return serverOf(
      port,
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

async function serverOf(port: number, started: Service): Promise<S3Server> {
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
    archive: (bucket, prefix) => {
      const s3 = { bucket, prefix, endpoint, pathStyle: true };
      const { archiveS3 } = readConfig({}, { archive: { s3 } });
      if (archiveS3 === undefined) throw new Error('no archive in the configuration');
      return archiveS3;
    },
  };
}
