// SPDX-License-Identifier: Apache-2.0
// Goal: a log whose disk is lost, or older than its archive, is never continued, and one command opens a successor that
// names what the archive has and holds what nobody had signed. Method: real starts on such disks, before and after it.
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runRecover } from '../exporter/cli/recover.ts';
import { findLogs, verifyDirectory } from '../exporter/cli/verify.ts';
import { parseCheckpoint } from '../exporter/log/note.ts';
import { openAuditWith } from '../exporter/node/audit.ts';
import { ConfigError, type ConfigInput, readConfig } from '../exporter/node/config/config.ts';
import { StartError } from '../exporter/node/sealing/sealing-client.ts';
import { encodeRecord } from '../exporter/node/storage/record.ts';
import type { AppTask } from './support/audited-app.ts';
import { readLog, startAudited } from './support/audited-process.ts';
import { BUCKET, FakeS3 } from './support/fake-s3.ts';

process.env.AWS_ACCESS_KEY_ID = 'test';
process.env.AWS_SECRET_ACCESS_KEY = 'test';

const home = mkdtempSync(join(tmpdir(), 'sealspan-successor-'));
afterAll(() => rmSync(home, { recursive: true }));

const ORIGIN = 'example.org/claims/0';
let dir: string;
let archive: string;
let count = 0;
beforeEach(() => {
  dir = join(home, String(count++));
  archive = join(dir, 'archive');
});

const config = (): ConfigInput => ({
  dir,
  origin: 'example.org/claims',
  archive: { directory: archive },
});

/** Starts and ends the writer; what it said. */
async function start(): Promise<string> {
  try {
    await openAuditWith(readConfig({}, config())).shutdown();
    return 'started';
  } catch (error) {
    if (error instanceof StartError) return error.message;
    throw error;
  }
}

interface Recovered {
  readonly origin: string;
  readonly key: string;
  readonly predecessor: { readonly origin: string; readonly size: number; readonly root: string };
  readonly resealedCount: number;
  readonly abandoned?: string;
}

async function recover(yaml = '', origin?: string): Promise<Recovered> {
  const path = join(home, 'sealspan.yaml');
  const where = yaml.includes('archive:') ? '' : `archive: { directory: "${archive}" }\n`;
  writeFileSync(path, `dir: "${dir}"\norigin: example.org/claims\n${where}${yaml}`);
  process.env.SEALSPAN_CONFIG = path;
  let output = '';
  const same = (text: string): string => text;
  try {
    await runRecover(
      { instance: '0', origin, isJson: true },
      {
        data: (line) => {
          output += line;
        },
        note: () => {},
        progress: () => {},
        bold: same,
        good: same,
        bad: same,
      },
    );
    return JSON.parse(output) as Recovered;
  } finally {
    delete process.env.SEALSPAN_CONFIG;
  }
}

const REFUSED =
  'This log must not be continued: `sealspan recover` begins a successor with a new key.';

describe('a disk that is lost', () => {
  test('is succeeded by a log that names the archived head, and goes on under the same settings', async () => {
    await start();
    const archived = join(archive, ORIGIN, 'checkpoints');
    const newest = parseCheckpoint(
      readFileSync(join(archived, readdirSync(archived).sort().at(-1)!)),
    );
    rmSync(join(dir, '0'), { recursive: true });
    expect(await start()).toContain(REFUSED);

    const recovered = await recover();
    expect(recovered).toMatchObject({
      origin: `${ORIGIN}.2`,
      predecessor: {
        origin: ORIGIN,
        size: newest.size,
        root: Buffer.from(newest.root).toString('base64'),
      },
      resealedCount: 0,
    });
    expect(await start()).toBe('started');
    const { report, records } = await readLog(join(dir, '0'));
    expect([report.log, report.findings]).toEqual([`${ORIGIN}.2`, []]);
    expect(structuredClone(records[0]?.events[0])).toMatchObject({
      name: 'opened',
      size: 0,
      successorOf: ORIGIN,
      successorSize: newest.size,
      successorRoot: structuredClone(newest.root),
    });
    // The one before is where it was, whole; the new one is archived beside it.
    expect((await verifyDirectory(join(archive, ORIGIN), undefined)).records).toBe(newest.size);
    expect(existsSync(join(archive, `${ORIGIN}.2`))).toBe(true);
  });

  test('whole, keys and names included, needs to be told which log ends', async () => {
    await start();
    rmSync(join(dir, '0'), { recursive: true });
    await expect(recover()).rejects.toThrow('names no log; say which one ends: --log ORIGIN');
    expect(await recover('', ORIGIN)).toMatchObject({ origin: `${ORIGIN}.2` });
    expect(await start()).toBe('started');
  });

  test('twice has a successor of the successor', async () => {
    await start();
    rmSync(join(dir, '0'), { recursive: true });
    await recover('', ORIGIN);
    await start();
    rmSync(join(dir, '0'), { recursive: true });
    expect(await recover('', `${ORIGIN}.2`)).toMatchObject({
      origin: `${ORIGIN}.3`,
      predecessor: { origin: `${ORIGIN}.2` },
    });
  });
});

test('a restored backup is put aside as it is, and is no log that is expected any more', async () => {
  await start();
  const backup = join(home, `backup-${count}`);
  cpSync(join(dir, '0'), backup, { recursive: true });
  await start();
  rmSync(join(dir, '0'), { recursive: true });
  cpSync(backup, join(dir, '0'), { recursive: true });
  expect(await start()).toContain(REFUSED);
  const { abandoned } = await recover();
  expect(readdirSync(join(abandoned!, 'segments'))).toEqual(readdirSync(join(backup, 'segments')));
  expect(findLogs(dir).map((log) => log.dir)).toEqual([join(dir, '0')]);
  expect(await start()).toBe('started');
});

describe('what nobody had signed', () => {
  let s3: FakeS3;
  beforeEach(async () => {
    s3 = await FakeS3.start();
  });
  afterEach(() => s3.close());

  /** The task whose log that is, and its settings. */
  async function loseDisk(): Promise<{ readonly task: AppTask; readonly yaml: string }> {
    const s3Archive = { s3: { bucket: BUCKET, endpoint: s3.endpoint, pathStyle: true } };
    const task = {
      config: { dir, origin: 'example.org/claims', archive: s3Archive },
      spanCount: 20,
      end: 'shutdown',
    } as const;
    expect(await startAudited(task).ended()).toMatchObject({ code: 0 });
    rmSync(join(dir, '0'), { recursive: true });
    // The store is away: what is sealed meanwhile begins a log of the same name, which is never signed.
    s3.fault = () => ({ status: 503, code: 'SlowDown' });
    expect(await startAudited({ ...task, end: 'exit' }).ended()).toMatchObject({ code: 0 });
    s3.fault = () => undefined;
    const again = await startAudited(task).ended();
    expect(again.errors).toContain(REFUSED);
    const yaml = `archive: { s3: { bucket: ${BUCKET}, endpoint: "${s3.endpoint}", pathStyle: true } }\n`;
    return { task, yaml };
  }

  test('is sealed again up to what is no entry', async () => {
    const { yaml } = await loseDisk();
    const { records } = await readLog(join(dir, '0'));
    const segments = join(dir, '0', 'segments');
    const place = { ...records[1]!.header, index: records.length };
    const { frame } = encodeRecord(place, [Uint8Array.of(0x0a, 0)]);
    appendFileSync(join(segments, readdirSync(segments).at(-1)!), frame);
    expect(await recover(yaml)).toMatchObject({
      resealedCount: 20,
      damage: expect.stringContaining('holds no span'),
    });
    expect(await verifyDirectory(join(dir, '0'), undefined)).toMatchObject({ findings: [] });
  });

  test('since the archive was away when the disk was lost, is sealed again', async () => {
    const { task, yaml } = await loseDisk();
    expect(await recover(yaml)).toMatchObject({ origin: `${ORIGIN}.2`, resealedCount: 20 });
    expect(await startAudited(task).ended()).toMatchObject({ code: 0, errors: '' });
    const { report, names, records } = await readLog(join(dir, '0'));
    expect(report).toMatchObject({ verdict: 'valid', findings: [], entries: 40 });
    expect(names.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, name) => `${name}`));
    expect(records[1]?.header.source).toEqual({
      kind: 'direct',
      principal: undefined,
      policy: 'resealed/1',
    });
  });
});

describe('nothing is done', () => {
  test('where the archive knows nothing of the log', async () => {
    await start();
    rmSync(archive, { recursive: true });
    mkdirSync(archive);
    await expect(recover()).rejects.toThrow(ConfigError);
    await expect(recover()).rejects.toThrow('there is nothing to succeed');
    expect(await start()).toBe('started');
  });

  test('to a log that is written', async () => {
    await start();
    const audit = openAuditWith(readConfig({}, config()));
    await expect(recover()).rejects.toThrow('is locked: end the process that writes it first');
    await audit.shutdown();
  });

  test('with the key of the log that ends', async () => {
    await start();
    const key = join(home, `key-${count}.pem`);
    cpSync(join(dir, '0/key.pem'), key);
    rmSync(join(dir, '0'), { recursive: true });
    await expect(recover(`keyFile: "${key}"\n`, ORIGIN)).rejects.toThrow('one key signs one log');
  });

  test('without an archive', async () => {
    await expect(recover('archive: off\n')).rejects.toThrow('archive: found off');
  });
});

test('what a run left half done is begun anew', async () => {
  await start();
  rmSync(join(dir, '0'), { recursive: true });
  mkdirSync(join(dir, '.successor-of-0/segments'), { recursive: true });
  writeFileSync(join(dir, '.successor-of-0/segments/torn'), 'x');
  await recover('', ORIGIN);
  expect(await start()).toBe('started');
  expect((await readLog(join(dir, '0'))).report.verdict).toBe('valid');
});
