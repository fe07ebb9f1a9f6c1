// SPDX-License-Identifier: Apache-2.0
// Goal: whatever somebody does to an archive, short of what its lock forbids, verifying it says so, with the exit status
// of a script. Method: logs of the real writer, put by the real archive into a small S3; one attack each; the command.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Terminal } from '../exporter/cli/terminal.ts';
import { runVerifyArchive } from '../exporter/cli/verify-archive.ts';
import type { ControlEvent } from '../exporter/log/control.ts';
import { ARCHIVE_FINDING_CODES } from '../exporter/node/archive/archive-report.ts';
import { S3Archive } from '../exporter/node/archive/archive-s3.ts';
import { S3Failure } from '../exporter/node/archive/s3-store.ts';
import { readConfig } from '../exporter/node/config/config.ts';
import type { LockMode } from '../exporter/node/storage/retention.ts';
import type { TimeRange } from '../exporter/node/verifying/instances.ts';
import { type ArchivedLog, archiveLog } from './support/archived-log.ts';
import { BUCKET, FakeS3 } from './support/fake-s3.ts';
import { openSigner } from './support/small-log.ts';

process.env.AWS_ACCESS_KEY_ID = 'test';
process.env.AWS_SECRET_ACCESS_KEY = 'test';

const home = mkdtempSync(join(tmpdir(), 'sealspan-archived-'));
afterAll(() => rmSync(home, { recursive: true }));

const ORIGIN = 'example.org/claims/0';
const OTHER = 'example.org/claims/1';
const DAY_MS = 86_400_000;

let s3: FakeS3;
let log: ArchivedLog;
beforeEach(async () => {
  s3 = await FakeS3.start();
  log = await archived();
});
afterEach(() => s3.close());

async function archived(
  more: Partial<Parameters<typeof archiveLog>[1]> = {},
  mode: LockMode = 'COMPLIANCE',
): Promise<ArchivedLog> {
  const place = { bucket: BUCKET, endpoint: s3.endpoint, pathStyle: true };
  const config = readConfig({}, { archive: { s3: place } }).archiveS3!;
  const archive = await S3Archive.open({ ...config, mode });
  try {
    return await archiveLog(archive, { origin: ORIGIN, ...more });
  } finally {
    archive.close();
  }
}

interface Told {
  readonly status: number;
  readonly verdict: string;
  readonly codes: readonly string[];
  readonly json: {
    readonly entries?: number;
    readonly records?: number;
    readonly missing: readonly string[];
    readonly foreign: readonly string[];
    readonly findings?: readonly {
      readonly code: string;
      readonly where: string;
      readonly message: string;
    }[];
    readonly logs?: readonly {
      readonly log: string;
      readonly findings: readonly { readonly code: string }[];
    }[];
    readonly instances: readonly { readonly completeness: string; readonly declaredLost: number }[];
    readonly refused: readonly unknown[];
    readonly assurance?: { readonly archiveLock: string; readonly tail: string };
  };
}

/** Trust file over these logs. */
function trustOf(logs: readonly ArchivedLog[], more = ''): string {
  const path = join(mkdtempSync(join(home, 'trust-')), 'trust.yaml');
  const lines = logs.map(({ origin, signer }) => `  - { origin: ${origin}, key: ${signer.vkey} }`);
  writeFileSync(path, `logs:\n${lines.join('\n')}\n${more}`);
  return path;
}

/** Runs the command; what it says as JSON. */
async function verify(
  trustPath: string | 'none' = trustOf([log]),
  range: TimeRange = { from: undefined, to: undefined },
): Promise<Told> {
  let output = '';
  const same = (text: string): string => text;
  const terminal: Terminal = {
    data: (line) => {
      output += line;
    },
    note: () => {},
    progress: () => {},
    bold: same,
    good: same,
    bad: same,
  };
  const where = {
    url: `s3://${BUCKET}`,
    endpoint: s3.endpoint,
    region: undefined,
    pathStyle: true,
  };
  const trust = trustPath === 'none' ? undefined : trustPath;
  const status = await runVerifyArchive(
    { ...where, range, trustPath: trust, isJson: true },
    terminal,
  );
  const json = JSON.parse(output) as Told['json'] & { readonly verdict: string };
  const findings = json.findings ?? (json.logs ?? []).flatMap((one) => one.findings);
  return { status, verdict: json.verdict, codes: findings.map(({ code }) => code), json };
}

const bytesOf = (key: string): Buffer => s3.objects.get(key)!.at(-1)!.bytes;
const [FIRST, SECOND, LAST] = [0, 1, 2];
const segment = (number: number): string => log.segmentKeys[number]!;

/** Takes all that was stored under a key, as only an expired or lifted lock allows. */
function destroy(key: string): void {
  s3.objects.delete(key);
}

test('an archive says of each instance, and of a range of time, what a directory says', async () => {
  const [from, to] = ['2026-01-01T00:00:00.000Z', '2026-01-01T00:00:05.000Z'];
  const lost = { count: 3, first: 0, last: 0, from, to, cause: 'memory' };
  const refused = { count: 2, cause: 'otlp.truncated', source: 'direct' };
  const whole = await archived({
    origin: OTHER,
    lastEvents: [
      { name: 'gap', ...lost },
      { name: 'refused', ...refused },
    ],
  });
  const trust = trustOf([log, whole]);
  const all = await verify(trust);
  expect([all.status, all.codes]).toEqual([3, ['log.gap']]);
  expect(all.json.instances).toMatchObject([
    { completeness: 'complete with declared gaps', declaredLost: 3 },
    { completeness: 'complete', declaredLost: 0 },
  ]);
  expect(all.json.refused).toEqual([{ ...refused, principal: null }]);
  const later = await verify(trust, { from: '2100-01-01T00:00:00.000Z', to: undefined });
  expect([later.status, later.codes, later.json.instances]).toEqual([4, [], []]);
});

describe('an archive that nobody touched', () => {
  test('is valid, every span counted, every lock told', async () => {
    const { status, verdict, codes, json } = await verify();
    expect({ status, verdict, codes }).toEqual({ status: 0, verdict: 'valid', codes: [] });
    expect(json).toMatchObject({ entries: log.spanCount, missing: [], foreign: [] });
    expect(json.assurance?.archiveLock).toMatch(
      /^6 of 6 objects locked, COMPLIANCE, the first until \d{4}-/,
    );
  });

  test('of many segments and logs, over many pages, with keys that nest', async () => {
    const logs = [
      log,
      await archived({ origin: OTHER, segmentCount: 40 }),
      await archived({ origin: `${OTHER}/inner` }),
    ];
    s3.pageLength = 3;
    const { status, json } = await verify(trustOf(logs));
    expect(status).toBe(0);
    expect(json.logs?.map((one) => one.log)).toEqual(logs.map(({ origin }) => origin));
  });

  test('teaches the trust file its head, and a cut behind that is found', async () => {
    const trust = trustOf([log]);
    expect((await verify(trust)).status).toBe(0);
    expect(readFileSync(trust, 'utf8')).toMatch(/head: \{ size: 7,/);
    destroy(segment(LAST));
    destroy(log.checkpointKeys[LAST]!);
    expect(await verify(trust)).toMatchObject({
      status: 1,
      codes: expect.arrayContaining(['log.rollback']),
    });
  });

  test('without a trust file is not vouched for by anybody', async () => {
    expect(await verify('none')).toMatchObject({
      status: 4,
      codes: expect.arrayContaining(['key.missing']),
    });
  });

  test('that holds what a test of the bucket left is as it was', async () => {
    s3.add('sealspan-archive-test/3f/first', Buffer.from('first'));
    expect((await verify()).status).toBe(0);
  });

  test('that is empty misses all that is expected', async () => {
    s3.objects.clear();
    const { status, json } = await verify();
    expect([status, json.missing]).toEqual([3, [ORIGIN]]);
  });
});

interface Attack {
  readonly what: string;
  readonly act: () => void | Promise<void>;
  readonly status: number;
  /** All findings, without repetition. */
  readonly codes: readonly string[];
}

const flipped = (bytes: Buffer): Buffer => {
  const copy = Buffer.from(bytes);
  copy[copy.length - 10]! ^= 1;
  return copy;
};

const ATTACKS: readonly Attack[] = [
  {
    what: 'a delete marker before a segment',
    act: () => s3.hide(segment(SECOND)),
    status: 3,
    codes: ['archive.marker'],
  },
  {
    what: 'a delete marker before a checkpoint',
    act: () => s3.hide(log.checkpointKeys[LAST]!),
    status: 3,
    codes: ['archive.marker'],
  },
  {
    what: 'a version in front of a segment',
    act: () => void s3.add(segment(SECOND), flipped(bytesOf(segment(SECOND)))),
    status: 1,
    codes: ['archive.version'],
  },
  {
    what: 'a version in front of a checkpoint',
    act: () => void s3.add(log.checkpointKeys[LAST]!, Buffer.from('another')),
    status: 1,
    codes: ['archive.version'],
  },
  {
    what: 'a delete marker, a version in front, and the first put once more',
    act: () => {
      const key = segment(SECOND);
      const bytes = bytesOf(key);
      s3.hide(key);
      s3.add(key, flipped(bytes));
      s3.add(key, bytes);
    },
    status: 1,
    codes: ['archive.marker', 'archive.version', 'archive.duplicate'],
  },
  {
    what: 'two hundred versions in front of a segment',
    act: () => {
      for (let count = 0; count < 200; count++) s3.add(segment(SECOND), Buffer.from(`${count}`));
    },
    status: 1,
    codes: ['archive.version'],
  },
  {
    what: 'the newest segment taken away',
    act: () => destroy(segment(LAST)),
    status: 1,
    codes: ['log.truncated', 'log.silent'],
  },
  {
    what: 'a segment in the middle taken away',
    act: () => destroy(segment(SECOND)),
    status: 1,
    codes: ['segment.name', 'log.truncated', 'log.silent'],
  },
  {
    what: 'a segment replaced by one of the same length',
    act: () => {
      const bytes = flipped(bytesOf(segment(FIRST)));
      destroy(segment(FIRST));
      s3.add(segment(FIRST), bytes, lockNow());
    },
    status: 1,
    codes: ['record.stored', 'archive.receipt'],
  },
  {
    what: 'a key that signed two histories of one size',
    act: async () => {
      const kept = new Map(s3.objects);
      s3.objects.clear();
      await archived({ signer: log.signer, spanName: 'lie' });
      const lies = [...s3.objects].filter(([key]) => key.includes('/checkpoints/'));
      s3.objects.clear();
      for (const [key, versions] of [...kept, lies[1]!]) s3.objects.set(key, versions);
    },
    status: 1,
    codes: ['log.root', 'archive.root'],
  },
  {
    what: 'a lock of GOVERNANCE where COMPLIANCE was sealed',
    act: () => {
      s3.objects.get(segment(FIRST))![0]!.mode = 'GOVERNANCE';
    },
    status: 3,
    codes: ['archive.lock'],
  },
  {
    what: 'no lock',
    act: () => {
      s3.objects.get(segment(FIRST))![0]!.mode = undefined;
    },
    status: 3,
    codes: ['archive.lock'],
  },
  {
    what: 'a lock that was shortened, though still as long as the retention',
    act: () => {
      const [version] = s3.objects.get(segment(FIRST))!;
      version!.retainUntil = new Date(version!.storedMs + 184 * DAY_MS).toISOString();
    },
    status: 3,
    codes: ['archive.expiry'],
  },
  {
    what: 'a lock of a checkpoint that ends early',
    act: () => {
      const [version] = s3.objects.get(log.checkpointKeys[FIRST]!)!;
      version!.retainUntil = new Date(version!.storedMs + DAY_MS).toISOString();
    },
    status: 3,
    codes: ['archive.expiry'],
  },
  {
    what: 'a foreign object among the segments',
    act: () => void s3.add(`${ORIGIN}/segments/notes.txt`, Buffer.from('hello')),
    status: 3,
    codes: ['archive.foreign'],
  },
  {
    what: 'a foreign object among the checkpoints',
    act: () => void s3.add(`${ORIGIN}/checkpoints/0`, Buffer.from('hello')),
    status: 3,
    codes: ['archive.foreign'],
  },
  {
    what: 'a foreign object in a folder below the segments',
    act: () => void s3.add(`${ORIGIN}/segments/a/00000000000000000000.seg`, Buffer.from('hello')),
    status: 3,
    codes: ['archive.foreign'],
  },
  {
    what: 'something under the name of a checkpoint that it is not',
    act: () =>
      void s3.add(
        `${ORIGIN}/checkpoints/${'0'.repeat(19)}3-${'0'.repeat(64)}`,
        Buffer.from('hello'),
        lockNow(),
      ),
    status: 1,
    codes: ['checkpoint.syntax', 'archive.foreign'],
  },
];

describe('first segments that were deleted', () => {
  const YEAR_MS = 365 * DAY_MS;
  /** An archive of so long ago, whose first segment is gone, seen whole before. */
  const gone = async (ageMs: number, hasStarts = true): Promise<string> => {
    s3.objects.clear();
    s3.now = () => Date.now() - ageMs;
    log = await archived({ segmentCount: 4, hasStarts });
    s3.now = Date.now;
    const trust = trustOf([log]);
    expect(await verify(trust)).toMatchObject({ status: 0, codes: [] });
    for (const key of [segment(FIRST), log.checkpointKeys[FIRST]!]) destroy(key);
    return trust;
  };

  test('when their retention was over: the rest verifies, for whoever saw them or did not', async () => {
    const trust = await gone(YEAR_MS);
    expect(await verify(trust)).toMatchObject({ status: 0, codes: ['log.pruned-seen'] });
    const { status, codes, json } = await verify();
    expect([status, codes, json.entries]).toEqual([4, ['log.pruned'], log.spanCount - 2]);
  });

  test('sooner: told', async () => {
    const trust = await gone(DAY_MS);
    expect(await verify(trust)).toMatchObject({
      status: 3,
      codes: ['log.pruned-seen', 'archive.deleted'],
    });
    expect(await verify()).toMatchObject({ status: 4, codes: ['log.pruned', 'archive.deleted'] });
  });

  test('and are on their way out, behind a delete marker: they are gone', async () => {
    const trust = await gone(YEAR_MS);
    for (const key of [segment(FIRST), log.checkpointKeys[FIRST]!]) s3.hide(key);
    expect(await verify(trust)).toMatchObject({ status: 0, codes: ['log.pruned-seen'] });
  });

  test('down to where no start is: the log begins at the next one', async () => {
    const trust = await gone(YEAR_MS);
    destroy(log.startKeys[FIRST]!);
    const { status, codes, json } = await verify(trust);
    expect([status, codes, json.entries]).toEqual([0, ['log.pruned-seen'], log.spanCount - 4]);
  });

  test('without any start: nothing behind them can be held against a signature', async () => {
    expect(await verify(await gone(YEAR_MS, false))).toMatchObject({
      status: 1,
      codes: expect.arrayContaining(['segment.name']),
    });
  });

  test('with a start that lies, or none under its name', async () => {
    const trust = await gone(YEAR_MS);
    const key = log.startKeys[FIRST]!;
    const honest = bytesOf(key);
    const lie = Buffer.from(honest.toString().replace(/\n[^\n]+\n$/, `\n${'A'.repeat(43)}=\n`));
    s3.objects.delete(key);
    s3.add(key, lie, lockNow());
    expect(await verify(trust)).toMatchObject({
      status: 1,
      codes: expect.arrayContaining(['log.root', 'log.pruned']),
    });
    s3.objects.delete(key);
    s3.add(key, Buffer.from('hello'), lockNow());
    expect(await verify(trust)).toMatchObject({
      status: 3,
      codes: ['log.pruned-seen', 'archive.foreign'],
    });
    s3.add(`${ORIGIN}/starts/notes`, honest, lockNow());
    s3.add(key, honest, lockNow());
    expect(await verify(trust)).toMatchObject({
      status: 1,
      codes: expect.arrayContaining(['archive.version', 'archive.foreign']),
    });
  });
});

describe('a legal hold that the log says is on', () => {
  const hold = { name: 'hold', action: 'placed', id: 'case-7' } as const;
  const under = async (isOn: boolean, events: readonly ControlEvent[]): Promise<Told> => {
    s3.objects.clear();
    log = await archived({ lastEvents: events });
    for (const [version] of s3.objects.values()) version!.hold = isOn;
    return verify();
  };

  test('is on all that is archived', async () => {
    const { status, json } = await under(true, [hold]);
    expect(status).toBe(0);
    expect(json.assurance?.archiveLock).toMatch(/, 6 under a legal hold$/);
  });

  test('is missing: told, with how many and which', async () => {
    const { status, codes, json } = await under(false, [hold]);
    expect([status, codes]).toEqual([3, ['archive.hold']]);
    expect(json.findings?.[0]).toMatchObject({
      where: log.checkpointKeys[0],
      message:
        '6 objects are under no legal hold, as far as these credentials see; the log says that case-7 is on',
    });
    s3.objects.get(segment(FIRST))![0]!.hold = true;
    expect((await verify()).json.findings?.[0]?.message).toMatch(
      /^5 objects are under no legal hold;/,
    );
  });

  test('is released: nothing is expected', async () => {
    const released = { ...hold, action: 'released' };
    expect(await under(false, [hold, released])).toMatchObject({ status: 0, codes: [] });
  });
});

function lockNow(): { readonly mode: string; readonly retainUntil: string } {
  return { mode: 'COMPLIANCE', retainUntil: new Date(Date.now() + 200 * DAY_MS).toISOString() };
}

describe('an attack:', () => {
  test.each(ATTACKS)('$what', async ({ act, status, codes }) => {
    await act();
    const told = await verify();
    expect({ status: told.status, codes: [...new Set(told.codes)].sort() }).toEqual({
      status,
      codes: [...codes].sort(),
    });
    // What was sealed and is still there is read all the same.
    if (status === 3) expect(told.json.entries).toBe(log.spanCount);
  });

  test('segments of two logs swapped', async () => {
    const other = await archived({ origin: OTHER, spanName: 'cart' });
    const [own, foreign] = [segment(SECOND), other.segmentKeys[SECOND]!];
    const [a, b] = [s3.objects.get(own)!, s3.objects.get(foreign)!];
    s3.objects.set(own, b);
    s3.objects.set(foreign, a);
    const told = await verify(trustOf([log, other]));
    expect(told.status).toBe(1);
    expect(told.codes).toEqual(expect.arrayContaining(['record.log', 'record.link', 'log.root']));
  });

  test('the log rewritten under a new origin', async () => {
    s3.objects.clear();
    await archived({ origin: `${ORIGIN}-new`, signer: openSigner(`${ORIGIN}-new`) });
    const { status, json } = await verify();
    expect([status, json.missing]).toEqual([4, [ORIGIN]]);
  });

  test('the log rewritten under its own origin and another key', async () => {
    s3.objects.clear();
    await archived({ signer: openSigner(ORIGIN), spanName: 'lie' });
    expect(await verify()).toMatchObject({
      status: 4,
      codes: expect.arrayContaining(['checkpoint.unsigned']),
    });
  });

  test('a foreign object beside the logs', async () => {
    for (const key of ['index.html', 'example.org/readme']) s3.add(key, Buffer.from('hello'));
    const { status, json } = await verify();
    expect([status, json.foreign]).toEqual([3, ['index.html', 'example.org/readme']]);
  });
});

test('a policy of its own: GOVERNANCE for a day is enough where the trust file says so, and is said', async () => {
  s3.objects.clear();
  log = await archived({}, 'GOVERNANCE');
  expect(await verify()).toMatchObject({ status: 3, codes: Array(6).fill('archive.lock') });
  const { status, json } = await verify(
    trustOf([log], 'archive: { mode: governance, minimumDays: 1 }\n'),
  );
  expect(status).toBe(0);
  expect(json.assurance?.archiveLock).toContain(
    '6 only by GOVERNANCE, which whoever may bypass it',
  );
  const long = await verify(trustOf([log], 'archive: { mode: governance, minimumDays: 400 }\n'));
  expect(long).toMatchObject({ status: 3, codes: Array(6).fill('archive.expiry') });
});

describe('credentials that may not', () => {
  test('see locks: what is there is verified, and it is said what was not', async () => {
    s3.denied.add('GetObjectRetention');
    const { status, codes, json } = await verify();
    expect([status, codes]).toEqual([4, ['archive.permission']]);
    expect(json.entries).toBe(log.spanCount);
    expect(json.assurance?.archiveLock).toBe(
      'not checked: the credentials lack s3:GetObjectRetention',
    );
    expect(json.findings?.[0]?.message).toContain('s3:GetObjectRetention');
  });

  test('see versions: what is visible is verified, and it is said what was not', async () => {
    s3.denied.add('ListObjectVersions');
    const { status, codes, json } = await verify();
    expect([status, codes]).toEqual([4, ['archive.permission']]);
    expect(json.entries).toBe(log.spanCount);
    expect(json.findings?.[0]?.message).toContain('s3:ListBucketVersions');
  });

  test('read: a failure of the outside world, with the permission', async () => {
    s3.denied.add('GetObject');
    await expect(verify()).rejects.toThrow(S3Failure);
    await expect(verify()).rejects.toThrow('the credentials may lack s3:GetObject');
  });
});

test('every finding of an archive is provoked here', () => {
  const elsewhere = ['archive.permission', 'archive.hold', 'archive.deleted'];
  const provoked = new Set([...ATTACKS.flatMap(({ codes }) => codes), ...elsewhere]);
  expect(ARCHIVE_FINDING_CODES.filter((code) => !provoked.has(code))).toEqual([]);
});
