// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `verify` says of each instance, and of a range of time, what holds there, and lets nothing that was tampered with
 * pass for out of range. Method: logs on disk, the command's own function, its JSON and its lines.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseTime } from '../exporter/cli/completeness.ts';
import type { Terminal } from '../exporter/cli/terminal.ts';
import { runVerify } from '../exporter/cli/verify.ts';
import type { ControlEvent } from '../exporter/log/control.ts';
import { beat, sent, sentCall, timeOf, unreadCall } from '../scripts/instance-vectors.ts';
import {
  calls,
  closedAt,
  control,
  type Draft,
  filesOf,
  gapOf,
  interrupted,
  ORIGIN,
  opened,
  sealDrafts,
  vectorSigner,
} from '../scripts/vectors.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealspan-completeness-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

let count = 0;
/** Puts a log into a folder; record n is sealed at second n. */
function logOf(drafts: readonly Draft[], change: (segment: Uint8Array) => void = () => {}): string {
  const dir = join(folder, String(count++));
  for (const [path, file] of Object.entries(filesOf(sealDrafts([[opened, ...drafts]])))) {
    const bytes = Uint8Array.from(file as Uint8Array);
    if (path.startsWith('segments/')) change(bytes);
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), bytes);
  }
  writeFileSync(join(dir, 'verifier'), `${vectorSigner(ORIGIN).vkey}\n`);
  return dir;
}

interface Said {
  readonly status: number;
  readonly lines: readonly string[];
}

async function verify(dir: string, from?: number, to?: number, isJson = false): Promise<Said> {
  const lines: string[] = [];
  const plain = (text: string): string => text;
  const terminal: Terminal = {
    data: (line) => lines.push(line),
    note: () => {},
    progress: () => {},
    bold: plain,
    good: plain,
    bad: plain,
  };
  const range = {
    from: from === undefined ? undefined : timeOf(from),
    to: to === undefined ? undefined : timeOf(to),
  };
  const status = await runVerify({ dir, trustPath: undefined, range, isJson }, terminal);
  return { status, lines };
}

interface Json {
  readonly verdict: string;
  readonly findings: readonly { readonly code: string }[];
  readonly instances: readonly {
    readonly kind: string;
    readonly completeness: string;
    readonly missing: { readonly ranges: string };
  }[];
}

async function json(dir: string, from?: number, to?: number): Promise<readonly unknown[]> {
  const { status, lines } = await verify(dir, from, to, true);
  const { verdict, findings, instances } = JSON.parse(lines.join('')) as Json;
  const told = instances.map(({ kind, completeness, missing }) =>
    [kind, completeness, missing.ranges].filter((word) => word !== '').join(' '),
  );
  return [status, verdict, findings.map(({ code }) => code), told];
}

/** A gateway that lost number 2 of a sender in second 1 and 2, and closed at second 6. */
const LOSSY = [
  sent([sentCall('i', 1)]),
  sent([sentCall('i', 3)]),
  control(closedAt(0)),
  opened,
  sent([beat('i', 4, { state: 'closed' })]),
  control(closedAt(0)),
];
const WRITERS = ['writer complete', 'writer complete'];

test('numbers that did not reach a gateway make the log incomplete, and are named', async () => {
  const dir = logOf(LOSSY);
  expect(await json(dir)).toEqual([3, 'incomplete', [], ['sender incomplete 2', ...WRITERS]]);
  const { status, lines } = await verify(dir);
  expect(status).toBe(3);
  const found = lines.filter((line) => /^(?:instance|finding|verdict)/.test(line));
  expect(found).toEqual([
    'verdict    VALID',
    'instances  2 complete, 1 incomplete, from the beginning to the end',
    expect.stringMatching(
      /^instance {3}claims i: incomplete; numbers to 4, 1 missing: 2; closed, heard from .* to .*, through a gateway, principal \S+$/,
    ),
    'finding    source.numbers at claims i: 1 of 4 numbers did not arrive: 2',
    expect.stringMatching(
      /^instance {3}vectors\/log 0: complete; no numbers; closed, .*, sealed by itself$/,
    ),
    expect.stringMatching(
      /^instance {3}vectors\/log 0: complete; no numbers; closed, .*, sealed by itself$/,
    ),
    'verdict    INCOMPLETE (1 logs)',
  ]);
});

test('numbers that something on the way made a text of are not passed over', async () => {
  const dir = logOf([sent([unreadCall('i'), unreadCall('i')]), control(closedAt(0))]);
  const { status, lines } = await verify(dir);
  expect(status).toBe(3);
  expect(lines.filter((line) => line.startsWith('finding'))).toEqual([
    expect.stringMatching(
      /: 2 spans have an aigov\.sequence that can not be read as a number: of whom nothing is missing, nobody can tell$/,
    ),
  ]);
});

test('a sender that had not ended when the gateway did: what is missing can not come any more', async () => {
  const drafts = [sent([sentCall('i', 1), beat('i', 2)]), sent([sentCall('i', 4)])];
  const { status, lines } = await verify(logOf([...drafts, control(closedAt(0))]));
  expect(status).toBe(3);
  expect(lines.filter((line) => /^(?:instance {3}claims|finding)/.test(line))).toEqual([
    expect.stringMatching(
      /: incomplete; numbers to 4, 1 missing: 3; had not ended when the logs did, heard from/,
    ),
    'finding    source.numbers at claims i: 1 of 4 numbers did not arrive: 3',
  ]);
});

test('calls that were under way at an orderly end are named, of a sender and of a writer', async () => {
  const dir = logOf([
    sent([sentCall('i', 1), beat('i', 51, { state: 'closed', open: '2-49' }), sentCall('i', 50)]),
    calls(1),
    control(interrupted(2), interrupted(3), closedAt(3, { open: '2-3' })),
  ]);
  const { status, lines } = await verify(dir);
  expect(status).toBe(0);
  expect(lines.filter((line) => line.startsWith('instance '))).toEqual([
    expect.stringMatching(/complete; numbers to 3, 2 left open: 2-3; closed,/),
    expect.stringMatching(/complete; numbers to 51, 48 left open: 2-49; closed,/),
  ]);
  const [said] = (await verify(dir, undefined, undefined, true)).lines;
  expect(JSON.parse(said!)).toMatchObject({
    instances: [{ open: { count: 2, ranges: '2-3' } }, { open: { count: 48, ranges: '2-49' } }],
  });
});

test('what a gateway refused is told, by who sent it and why', async () => {
  const refused = (count: number, cause: string, principal?: Uint8Array): ControlEvent => ({
    name: 'refused',
    count,
    cause,
    source: 'collector',
    ...(principal === undefined ? {} : { principal }),
  });
  const drafts = [
    control(refused(2, 'otlp.truncated'), refused(1, 'otlp.truncated', new Uint8Array(32))),
    control(refused(3, 'otlp.truncated')),
    control(closedAt(0)),
  ];
  const told = async (from?: number): Promise<readonly string[]> => {
    const { lines } = await verify(logOf(drafts), from);
    return lines.filter((line) => line.startsWith('refused'));
  };
  const known = `principal ${'A'.repeat(43)}=`;
  expect(await told()).toEqual([
    'refused    5 requests from collector, nobody known: otlp.truncated',
    `refused    1 requests from collector, ${known}: otlp.truncated`,
  ]);
  expect(await told(2)).toEqual([
    'refused    3 requests from collector, nobody known: otlp.truncated',
  ]);
});

describe('a range of time', () => {
  test.each<[what: string, from: number | undefined, to: number | undefined, said: unknown]>([
    ['before the loss', undefined, 1, [0, 'valid', [], ['sender complete', 'writer complete']]],
    ['with the loss', 2, 2, [3, 'incomplete', [], ['sender incomplete 2', 'writer complete']]],
    ['behind the loss', 4, undefined, [0, 'valid', [], ['sender complete', 'writer complete']]],
    ['in which nothing was written', 60, undefined, [4, 'unverifiable', [], []]],
  ])('%s', async (_what, from, to, said) => {
    const [status, verdict, findings, told] = await json(logOf(LOSSY), from, to);
    expect([status, verdict, findings, [...(told as string[])].sort()]).toEqual(said);
  });

  const GAPPED = [calls(1), control(gapOf(2, 3)), calls(4), calls(6), control(closedAt(6))];
  test.each<[what: string, from: number | undefined, to: number | undefined, said: unknown]>([
    [
      'all of it',
      undefined,
      undefined,
      [3, 'incomplete', ['log.gap', 'log.numbers'], ['writer incomplete 5']],
    ],
    ['what is whole', undefined, 1, [0, 'valid', [], ['writer complete']]],
    [
      'what is declared lost',
      2,
      3,
      [3, 'incomplete', ['log.gap'], ['writer complete with declared gaps']],
    ],
    ['what is missing', 4, 4, [3, 'incomplete', [], ['writer incomplete 5']]],
  ])('of the log of a service: %s', async (_what, from, to, said) => {
    expect(await json(logOf(GAPPED), from, to)).toEqual(said);
  });

  test('hides nothing that was tampered with, wherever it is', async () => {
    const dir = logOf(LOSSY, (segment) => {
      segment[segment.length - 1] = segment.at(-1)! ^ 1;
    });
    expect(await json(dir, undefined, 1)).toEqual([
      1,
      'invalid',
      ['record.stored'],
      expect.any(Array),
    ]);
  });

  test('that ends before a log did is not asked about its end', async () => {
    const dir = logOf([calls(1), calls(2), opened, calls(1), control(closedAt(1))]);
    const codes = ['log.unclean-end'];
    const all = ['writer incomplete', 'writer complete'];
    expect(await json(dir)).toEqual([3, 'incomplete', codes, all]);
    expect(await json(dir, undefined, 1)).toEqual([0, 'valid', [], ['writer complete']]);
    expect(await json(dir, undefined, 3)).toEqual([3, 'incomplete', codes, all]);
  });
});

test.each([
  ['2026-11-23T10:00:00Z', '2026-11-23T10:00:00.000Z'],
  ['2026-11-23t10:00:00.1234z', '2026-11-23T10:00:00.123Z'],
  ['2026-11-23 10:00:00+01:30', '2026-11-23T08:30:00.000Z'],
  ['2026-11-23', undefined],
  ['2026-13-23T10:00:00Z', undefined],
  ['2026-11-23T10:00:00', undefined],
  ['yesterday', undefined],
])('%s is a time, or is none', (text, time) => {
  expect(parseTime(text)).toBe(time);
});
