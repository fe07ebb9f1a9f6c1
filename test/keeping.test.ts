// SPDX-License-Identifier: Apache-2.0
// Goal: a service keeps on its disk what it was told to, and no more: what the archive has leaves, a legal hold stops that,
// and what is left goes on, is forwarded and verifies. Method: real services that archive into a small S3, the commands.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runHold } from '../exporter/cli/hold.ts';
import type { Terminal } from '../exporter/cli/terminal.ts';
import { runVerify } from '../exporter/cli/verify.ts';
import { runVerifyArchive } from '../exporter/cli/verify-archive.ts';
import { readFrames } from '../exporter/log/segment.ts';
import type { HoldRequest } from '../exporter/node/archive/holds.ts';
import type { ConfigInput } from '../exporter/node/config/config.ts';
import { contentOf } from '../exporter/node/storage/sealed-numbers.ts';
import { type AuditedProcess, startAudited } from './support/audited-process.ts';
import { BUCKET, FakeS3 } from './support/fake-s3.ts';
import { openOtlpBackend, spansOf } from './support/otlp-backend.ts';

process.env.AWS_ACCESS_KEY_ID = 'test';
process.env.AWS_SECRET_ACCESS_KEY = 'test';

const home = mkdtempSync(join(tmpdir(), 'sealspan-keeping-'));
afterAll(() => rmSync(home, { recursive: true }));

let s3: FakeS3;
let dir: string;
let count = 0;
let processes: AuditedProcess[];
beforeEach(async () => {
  s3 = await FakeS3.start();
  dir = join(home, String(count++));
  processes = [];
});
afterEach(async () => {
  for (const { child } of processes) child.kill('SIGKILL');
  await s3.close();
});

const config = (more: ConfigInput = {}): ConfigInput => ({
  dir,
  origin: 'example.org/claims',
  // Each record is a segment.
  segment: { byteLengthMax: 4096 },
  archive: { s3: { bucket: BUCKET, endpoint: s3.endpoint, pathStyle: true } },
  retention: { localDays: 0 },
  ...more,
});

/** One life of the service; what it said. */
async function live(spanCount: number, more: ConfigInput = {}): Promise<string> {
  const app = startAudited({ config: config(more), spanCount, end: 'shutdown' });
  processes.push(app);
  const { code, errors } = await app.ended();
  expect(code, errors).toBe(0);
  return errors;
}

const firsts = (): number[] =>
  readdirSync(join(dir, '0/segments')).map((name) => Number.parseInt(name, 10));

interface Told {
  readonly status: number;
  readonly codes: readonly string[];
  readonly entries: number;
}

async function told(run: (terminal: Terminal) => Promise<number>): Promise<[number, unknown]> {
  let output = '';
  const same = (text: string): string => text;
  const status = await run({
    data: (line) => {
      output += line;
    },
    note: () => {},
    progress: () => {},
    bold: same,
    good: same,
    bad: same,
  });
  return [status, JSON.parse(output)];
}

function toldOf([status, json]: [number, unknown]): Told {
  const { findings, entries } = json as {
    readonly findings: readonly { readonly code: string }[];
    readonly entries: number;
  };
  return { status, codes: [...new Set(findings.map(({ code }) => code))], entries };
}

const verifyLocal = async (trustPath: string | undefined): Promise<Told> =>
  toldOf(
    await told((terminal) =>
      runVerify(
        { dir, trustPath, range: { from: undefined, to: undefined }, isJson: true },
        terminal,
      ),
    ),
  );

const verifyStored = async (trustPath: string): Promise<Told> => {
  const { endpoint } = s3;
  const place = { url: `s3://${BUCKET}`, endpoint, region: undefined, pathStyle: true };
  const range = { from: undefined, to: undefined };
  return toldOf(
    await told((terminal) =>
      runVerifyArchive({ ...place, range, trustPath, isJson: true }, terminal),
    ),
  );
};

function trustFile(): string {
  const path = join(dir, 'trust.yaml');
  const key = readFileSync(join(dir, '0/verifier'), 'utf8').trim();
  writeFileSync(path, `logs:\n  - { origin: example.org/claims/0, key: ${key} }\n`);
  return path;
}

/** Numbers of calls in the archive, each with its run. */
function numbersStored(): { readonly sealed: string[]; readonly interrupted: string[] } {
  const keys = [...s3.objects.keys()].filter((key) => key.endsWith('.seg')).sort();
  const sealed: string[] = [];
  const interrupted: string[] = [];
  let run = 0;
  for (const key of keys) {
    for (const { header, stored } of readFrames(s3.objects.get(key)![0]!.bytes)) {
      const { sequences, events } = contentOf(header, stored)!;
      if (events[0]?.name === 'opened') run = header.index;
      sealed.push(...sequences.map((number) => `${run}: ${number}`));
      for (const event of events) {
        if (event.name === 'interrupted') interrupted.push(`${run}: ${event.sequence}`);
      }
    }
  }
  return { sealed, interrupted };
}

const hold = async (request: HoldRequest | undefined): Promise<unknown> =>
  (await told((terminal) => runHold({ dir, request, isJson: true }, terminal)))[1];

/** Asks until something is so. */
async function until(ask: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (await ask()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('not within a minute');
}

describe('segments that the archive has', () => {
  test('leave the disk; what is left goes on, and says what it can not show', async () => {
    await live(20);
    await live(20);
    await live(20);
    const [first = 0, ...others] = firsts();
    expect(first).toBeGreaterThan(2);
    expect(others.length).toBeGreaterThan(0);
    expect(await verifyLocal(undefined)).toMatchObject({ status: 4, codes: ['log.pruned'] });

    const trust = trustFile();
    expect(await verifyStored(trust)).toMatchObject({ status: 0, codes: [], entries: 60 });
    // Now its holder has seen what left.
    expect(await verifyLocal(trust)).toMatchObject({ status: 0, codes: ['log.pruned-seen'] });
    await live(20);
    expect(firsts()[0]).toBeGreaterThan(first);
    expect(await verifyLocal(trust)).toMatchObject({ codes: ['log.pruned-seen'] });
    expect(await verifyStored(trust)).toMatchObject({ status: 0, codes: [], entries: 80 });
  });

  test('stay as long as they were told to', async () => {
    const retention = { localDays: 1 };
    await live(20, { retention });
    await live(20, { retention });
    expect(firsts()[0]).toBe(0);
    expect(await verifyLocal(undefined)).toMatchObject({ status: 0, entries: 40 });
  });

  test('stay until they are forwarded, and then leave', async () => {
    const backend = await openOtlpBackend({ answer: () => ({ http: 503 }) });
    const more: ConfigInput = {
      backend: { protocol: 'http/protobuf', endpoint: backend.httpEndpoint },
    };
    const app = startAudited({
      config: config(more),
      spanCount: 20,
      perTurn: 1,
      pauseMs: 20,
      isSampled: true,
      tells: 'committed',
      end: 'shutdown on SIGTERM',
    });
    processes.push(app);
    await app.untilTold(20);
    await until(() => s3.asked.filter(({ key }) => key.endsWith('.seg')).length > 10);
    expect(firsts()[0]).toBe(0);
    backend.answer = () => 'ok';
    await until(() => (firsts()[0] ?? 0) > 0);
    app.child.kill('SIGTERM');
    await app.ended();
    const names = backend.accepted.flatMap(({ bytes }) => spansOf(bytes).map(({ name }) => name));
    expect(app.told().filter((name) => !names.includes(name))).toEqual([]);
    await backend.close();
  });

  test('leave also where the process is killed in between, and the numbers add up', async () => {
    const trust = async (): Promise<Told> => verifyStored(trustFile());
    for (let round = 0; round < 3; round++) {
      const app = startAudited({ config: config(), spanCount: 5, perTurn: 1, pauseMs: 5 });
      processes.push(app);
      const before = firsts0();
      await until(() => firsts0() > before);
      app.child.kill('SIGKILL');
      await app.ended();
    }
    await live(0);
    const report = await trust();
    expect([report.status, report.codes]).toEqual([0, ['log.interrupted']]);
    // A call is sealed or interrupted, and never both.
    const { sealed, interrupted } = numbersStored();
    expect(sealed.length).toBeGreaterThan(100);
    expect(interrupted.filter((one) => sealed.includes(one))).toEqual([]);
  });
});

const firsts0 = (): number => {
  try {
    return firsts()[0] ?? 0;
  } catch {
    return 0;
  }
};

test('an archive has where to begin once its first segments are deleted', async () => {
  for (let round = 0; round < 3; round++) await live(20);
  const trust = trustFile();
  expect(await verifyStored(trust)).toMatchObject({ status: 0, codes: [], entries: 60 });
  const starts = [...s3.objects.keys()].filter((key) => key.includes('/starts/')).sort();
  expect(starts.length).toBe(3);
  const last = starts[2]!.slice(-20);
  for (const key of s3.objects.keys()) {
    const [, at] = /\/(?:segments|checkpoints)\/([0-9]{20})/.exec(key) ?? [];
    if (at !== undefined && at < last) s3.objects.delete(key);
  }
  // No day has passed since they were stored.
  expect(await verifyStored(trust)).toMatchObject({
    status: 3,
    codes: ['log.pruned-seen', 'archive.deleted'],
  });
});

describe('an archive that segments were removed for', () => {
  const refused = async (more: ConfigInput = {}): Promise<string> => {
    const app = startAudited({ config: config(more), spanCount: 1, end: 'shutdown' });
    processes.push(app);
    const { code, errors } = await app.ended();
    return code === 0 ? '' : errors;
  };

  test('and that lost them stops the writer, and says so', async () => {
    for (let round = 0; round < 3; round++) await live(20);
    expect(firsts()[0]).toBeGreaterThan(0);
    for (const key of s3.objects.keys()) if (key.includes('/checkpoints/')) s3.objects.delete(key);
    expect(await refused()).toMatch(
      /records of example\.org\/claims\/0 were removed from .* since s3:/,
    );
  });

  test('can be left for another, and taken up again', async () => {
    for (let round = 0; round < 3; round++) await live(20);
    const first = firsts()[0] ?? 0;
    const archive = { directory: join(dir, 'elsewhere') };
    for (let round = 0; round < 3; round++) expect(await refused({ archive })).toBe('');
    expect(firsts()[0]).toBeGreaterThan(first);
    expect(await refused()).toBe('');
  });
});

describe('a legal hold', () => {
  const place: HoldRequest = { action: 'placed', id: 'case-7', by: 'legal' };
  const release: HoldRequest = { action: 'released', id: 'case-7' };
  const held = (): boolean[] => [...s3.objects.values()].map(([version]) => version?.hold === true);

  test('keeps everything, here and there, until it is released', async () => {
    await live(20);
    const log = join(dir, '0');
    const asked = { logs: [{ dir: log, isLive: false, holds: [], pending: [place] }] };
    expect(await hold(place)).toEqual(asked);
    expect(await hold(place)).toEqual(asked);
    await live(20);
    await live(20);
    expect(await hold(undefined)).toEqual({
      logs: [{ dir: log, isLive: false, holds: ['case-7'], pending: [] }],
    });
    expect(firsts()[0]).toBe(0);
    expect(held()).toEqual(held().map(() => true));
    expect(await verifyStored(trustFile())).toMatchObject({ status: 0, codes: [], entries: 60 });

    expect(await hold(place)).toMatchObject({ logs: [{ holds: ['case-7'], pending: [] }] });
    await hold(release);
    await expect(hold(release)).rejects.toThrow("no hold 'case-7' is on");
    await live(0);
    await live(0);
    expect(firsts()[0]).toBeGreaterThan(0);
    expect(held()).toEqual(held().map(() => false));
    expect(await hold(undefined)).toMatchObject({ logs: [{ holds: [], pending: [] }] });
    await expect(hold(release)).rejects.toThrow("no hold 'case-7' is on");
    expect(await verifyStored(trustFile())).toMatchObject({ status: 0, codes: [], entries: 60 });
  });

  test('is carried out by a service that runs', async () => {
    const app = startAudited({ config: config(), spanCount: 20, perTurn: 1, pauseMs: 20 });
    processes.push(app);
    await until(() => s3.objects.size > 10);
    await hold(place);
    await until(() => held().length > 0 && held().every((isHeld) => isHeld));
    const [first] = firsts();
    const { size } = s3.objects;
    await until(() => s3.objects.size > size + 10);
    expect(held()).toEqual(held().map(() => true));
    expect(firsts()[0]).toBe(first);
  });

  test('that the store refuses is told, stops removal, and archiving goes on', async () => {
    s3.denied.add('PutObjectLegalHold');
    await live(20);
    await hold(place);
    expect(await live(20)).toMatch(/^hold\.pending: .*s3:PutObjectLegalHold/m);
    await live(20);
    expect(firsts()[0]).toBe(0);
    expect(await hold(undefined)).toMatchObject({
      logs: [{ holds: ['case-7'], pending: [place] }],
    });
    expect(await verifyStored(trustFile())).toMatchObject({
      status: 3,
      codes: ['archive.hold'],
      entries: 60,
    });
    s3.denied.clear();
    await live(0);
    expect(await hold(undefined)).toMatchObject({ logs: [{ holds: ['case-7'], pending: [] }] });
    expect(await verifyStored(trustFile())).toMatchObject({ status: 0, codes: [] });
  });
});
