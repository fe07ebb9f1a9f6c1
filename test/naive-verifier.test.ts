// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: FORMAT.md and the code say the same of every log. Method: a second verifier, written from the page alone, and
 * verifyLog judge the example on the page, the vectors of scripts/vectors.ts, and thousands of random changes to them.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeBase64 } from '../exporter/log/bytes.ts';
import { parseVerifier } from '../exporter/log/note.ts';
import type { Report } from '../exporter/log/report.ts';
import { parseSegmentName } from '../exporter/log/segment.ts';
import { type LogToVerify, verifyLog } from '../exporter/log/verify.ts';
import { readCheckpointFiles, readSegmentFiles } from '../exporter/node/storage/log-reader.ts';
import { parsePruned, readPruned } from '../exporter/node/storage/prune.ts';
import { nodeFiles } from '../exporter/node/system/files.ts';
import { nodePrimitives, sha256 } from '../exporter/node/system/keys.ts';
import {
  type Draft,
  encodeVector,
  f,
  filesOf,
  HEARTBEAT_MS,
  makeVectors,
  NUMBERED_DRAFTS,
  rawFrame,
  START_MS,
  sealDrafts,
  VECTOR_DIRECTORY,
  type Vector,
  WHOLE_DRAFTS,
} from '../scripts/vectors.ts';
import {
  type NaiveFiles,
  type NaiveReport,
  type NaiveTrust,
  naiveVerify,
  readLogDirectory,
} from './support/naive-verifier.ts';

const PAGE = readFileSync(join(import.meta.dirname, '../exporter/FORMAT.md'), 'utf8');

const vectors: readonly Vector[] = readdirSync(VECTOR_DIRECTORY)
  .map((name) => name.replace('.json', ''))
  .sort()
  .map(
    (name) => JSON.parse(readFileSync(join(VECTOR_DIRECTORY, `${name}.json`), 'utf8')) as Vector,
  );

/** What both verifiers are asked, and what is compared. */
type Answer = Pick<NaiveReport, 'verdict' | 'findings' | 'size' | 'records'>;

function answerOf({ verdict, findings, size, records }: Report): Answer {
  return {
    verdict,
    findings: [...new Set(findings.map(({ code }) => code))].sort(),
    size,
    records,
  };
}

/** `verifyLog` on the files of a vector, in the order that FORMAT.md asks for. */
async function verifyFiles(files: NaiveFiles, trust: NaiveTrust): Promise<Answer> {
  const within = (folder: string) =>
    [...files]
      .filter(([path]) => path.startsWith(folder))
      .map(([path, bytes]) => ({ name: path.slice(folder.length), bytes }))
      .filter(({ name }) => !name.startsWith('.'))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  const newest = files.get('checkpoint');
  const removed = parsePruned(files.get('pruned') ?? new Uint8Array());
  const segments = within('segments/');
  return judge(trust, {
    removed,
    segments: segments.filter(({ name }) => !(parseSegmentName(name)! < (removed?.size ?? 0))),
    checkpoints: [
      ...within('checkpoints/'),
      ...(newest === undefined ? [] : [{ name: 'checkpoint', bytes: newest }]),
    ],
  });
}

async function judge(
  { origin, vkeys, minimum, live = false, nowMs }: NaiveTrust,
  log: Pick<LogToVerify, 'removed' | 'segments' | 'checkpoints'>,
): Promise<Answer> {
  const report = await verifyLog(
    {
      ...log,
      trust: {
        origin,
        verifiers: vkeys.map((vkey) => parseVerifier(sha256, vkey)),
        selfAttested: false,
        minimumHead: minimum && { size: minimum.size, root: decodeBase64(minimum.root) },
      },
      live,
      nowMs,
    },
    nodePrimitives,
  );
  return answerOf(report);
}

function naiveAnswer(files: NaiveFiles, trust: NaiveTrust): Answer {
  return naiveVerify(files, trust);
}

function filesOfVector(vector: Vector): NaiveFiles {
  return new Map(
    Object.entries(vector.files).map(([path, file]) => [
      path,
      typeof file === 'string' ? decodeBase64(file) : Buffer.alloc(file.zeros),
    ]),
  );
}

function trustOf({ trust: { origin, ...trust } }: Vector): NaiveTrust {
  return { ...trust, ...(origin === undefined ? {} : { origin }) };
}

/** mulberry32: the same numbers at every run. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** One small change: bytes flipped, put in, left out, repeated, or the end cut off. Never the same bytes again. */
function mutate(bytes: Uint8Array, random: (below: number) => number): Uint8Array {
  for (;;) {
    const at = random(bytes.length + 1);
    const count = 1 + random(random(8) === 0 ? 40 : 3);
    const head = bytes.subarray(0, at);
    const some = bytes.subarray(at, at + count);
    const tail = bytes.subarray(at + count);
    const noise = Uint8Array.from({ length: some.length }, () => random(256));
    const flipped = some.map((byte) => byte ^ (1 << random(8)));
    const changed = [
      [head, flipped, tail],
      [head, flipped, tail],
      [head, noise, tail],
      [head, noise, some, tail],
      [head, tail],
      [head, some, some, tail],
      [head],
    ][random(7)]!;
    const mutant = Buffer.concat(changed);
    if (!mutant.equals(bytes)) return new Uint8Array(mutant);
  }
}

describe('the example of FORMAT.md', () => {
  const blocks = [...PAGE.matchAll(/^```\n([\s\S]*?)^```$/gm)].map((match) => match[1]!);
  const starting = (start: string) => blocks.filter((block) => block.startsWith(start));
  const headers = starting('sealspan/record@v1\n');
  const payloads = starting('28b52ffd').map((hex) => Buffer.from(hex.replace(/\s/g, ''), 'hex'));
  const [vkey = ''] = starting('claims/prod/0+');
  const segment = Buffer.concat(
    headers.flatMap((header, i) => [Buffer.from(header), payloads[i]!]),
  );
  const files: NaiveFiles = new Map([
    ['segments/00000000000000000000.seg', segment],
    ['checkpoint', Buffer.from(starting('claims/prod/0\n')[0]!)],
  ]);
  const trust = { origin: 'claims/prod/0', vkeys: [vkey.trim()] };

  test('verifies, with both verifiers', async () => {
    const valid = { verdict: 'valid', findings: [], size: 2, records: 2 };
    expect(segment.length).toBe(956);
    expect(PAGE).toContain(Buffer.from(sha256(segment)).toString('hex'));
    expect(naiveAnswer(files, trust)).toEqual(valid);
    expect(await verifyFiles(files, trust)).toEqual(valid);
  });

  test('does not verify with any byte of it changed', () => {
    for (const [path, bytes] of files) {
      for (let at = 0; at < bytes.length; at++) {
        const changed = Uint8Array.from(bytes);
        changed[at] = changed[at]! ^ 1;
        const answer = naiveAnswer(new Map([...files, [path, changed]]), trust);
        expect(answer.verdict, `${path}, byte ${at}`).not.toBe('valid');
      }
    }
  });
});

describe('the vectors', () => {
  const made = makeVectors();

  test('are those of scripts/vectors.ts, at least forty of them attacks', () => {
    expect(vectors.map(({ name }) => name)).toEqual(made.map(({ name }) => name));
    expect(vectors.filter(({ verdict }) => verdict === 'invalid').length).toBeGreaterThan(40);
  });

  test('are byte for byte what it writes', () => {
    const written = (name: string) => readFileSync(join(VECTOR_DIRECTORY, `${name}.json`), 'utf8');
    const others = made.filter((vector) => written(vector.name) !== encodeVector(vector));
    expect(others.map(({ name }) => name)).toEqual([]);
  });

  test('have every finding there is on the page, and no other', () => {
    const table = PAGE.slice(PAGE.indexOf('### Verdicts'), PAGE.indexOf('### What is not checked'));
    const onPage = [...table.matchAll(/^\| (`.*) \| (\w+)/gm)].flatMap(([, codes, verdict]) =>
      [...codes!.matchAll(/`([^`]+)`/g)].map(([, code]) => ({ code, verdict })),
    );
    const source = readFileSync(join(import.meta.dirname, '../exporter/log/report.ts'), 'utf8');
    const inCode = [...source.matchAll(/^ {2}'([a-z.-]+)': '(\w+)',$/gm)].map(
      ([, code, verdict]) => ({ code, verdict: verdict === 'note' ? 'none' : verdict }),
    );
    const byCode = (a: { code?: string | undefined }, b: { code?: string | undefined }) =>
      a.code! < b.code! ? -1 : 1;
    expect(inCode.length).toBe(37);
    expect(onPage.sort(byCode)).toEqual(inCode.sort(byCode));
    const inVectors = new Set(vectors.flatMap(({ findings }) => findings));
    expect([...inVectors].sort()).toEqual(inCode.map(({ code }) => code));
  });

  test.each(vectors.map((vector) => [vector.name, vector] as const))('%s', async (_, vector) => {
    const files = filesOfVector(vector);
    const trust = trustOf(vector);
    const naive = naiveAnswer(files, trust);
    const { verdict, findings } = vector;
    expect({ verdict: naive.verdict, findings: naive.findings }).toEqual({ verdict, findings });
    expect(await verifyFiles(files, trust)).toEqual({
      verdict: naive.verdict,
      findings: naive.findings,
      size: naive.size,
      records: naive.records,
    });
  });
});

describe('from a directory', () => {
  let directory = '';
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'sealspan-vectors-'));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  test.each(vectors.map((vector) => [vector.name, vector] as const))('%s', async (name, vector) => {
    const files = filesOfVector(vector);
    const log = join(directory, name);
    for (const [path, bytes] of files) {
      mkdirSync(dirname(join(log, path)), { recursive: true });
      writeFileSync(join(log, path), bytes);
    }
    const expected = naiveAnswer(files, trustOf(vector));
    expect(naiveAnswer(readLogDirectory(log), trustOf(vector))).toEqual(expected);
    // A log of no file has no directory either.
    if (files.size === 0) return;
    const checkpoints = await readCheckpointFiles(log);
    const answer = await judge(trustOf(vector), {
      removed: readPruned(nodeFiles, log),
      segments: readSegmentFiles(log),
      checkpoints,
    });
    expect(answer).toEqual({
      verdict: expected.verdict,
      findings: expected.findings,
      size: expected.size,
      records: expected.records,
    });
  });
});

/** Both say the same; returns the verdict. */
async function agree(files: NaiveFiles, trust: NaiveTrust, what: string): Promise<string> {
  const { verdict, findings, size, records } = naiveVerify(files, trust);
  const answer = await verifyFiles(files, trust);
  expect(answer, what).toEqual({ verdict, findings, size, records });
  return answer.verdict;
}

describe('known fields', () => {
  const inSpan = (message: Uint8Array) => f(1, f(2, f(2, message)));
  const inValue = (message: Uint8Array) => inSpan(f(9, f(2, message)));
  const inResource = (message: Uint8Array) => f(1, f(1, message), f(2, f(2)));
  /** An entry around a message of each type, and how many of fields 1 to 17 are known there. */
  const within: readonly [
    type: string,
    entry: (message: Uint8Array) => Uint8Array,
    known: number,
  ][] = [
    ['Resource', inResource, 3],
    ['EntityRef', (message) => inResource(f(3, message)), 4],
    ['InstrumentationScope', (message) => f(1, f(2, f(1, message), f(2))), 4],
    ['Span', inSpan, 16],
    ['Event', (message) => inSpan(f(11, message)), 4],
    ['Link', (message) => inSpan(f(13, message)), 6],
    ['Status', (message) => inSpan(f(15, message)), 2],
    ['KeyValue', (message) => inSpan(f(9, message)), 2],
    ['AnyValue', inValue, 7],
    ['ArrayValue', (message) => inValue(f(5, message)), 1],
    ['KeyValueList', (message) => inValue(f(6, message)), 1],
    ['LogRecord', inSpan, 11],
  ];
  const { vkeys } = trustOf(vectors.find(({ name }) => name === 'whole')!);
  const opened = WHOLE_DRAFTS[0]![0]!;
  /** An empty value of each wire type; the tags of fields 16 and 17 have two bytes. */
  const values: readonly [wire: number, value: Uint8Array][] = [
    [0, Uint8Array.of(0)],
    [1, new Uint8Array(8)],
    [2, Uint8Array.of(0)],
    [5, new Uint8Array(4)],
  ];

  test.each(within)(
    'of %s have one wire type, and the others are refused',
    async (type, entry, known) => {
      let refused = 0;
      for (let number = 1; number <= 17; number++) {
        for (const [wire, value] of values) {
          const tag = number * 8 + wire;
          const field = tag < 128 ? [tag] : [(tag % 128) + 128, tag >> 7];
          const draft: Draft = {
            kind: type === 'LogRecord' ? 'logs' : 'traces',
            entries: () => [entry(Uint8Array.from([...field, ...value]))],
          };
          const files = new Map(
            Object.entries(filesOf(sealDrafts([[opened, draft]]))) as [string, Uint8Array][],
          );
          const verdict = await agree(files, { vkeys }, `${type}, field ${number}, type ${wire}`);
          if (verdict !== 'valid') refused++;
        }
      }
      expect(refused).toBe(3 * known);
    },
  );
});

describe('random changes', () => {
  test('2,000 to valid logs, without the key: the same answer from both, never valid', async () => {
    const random = randomOf(1);
    // Nobody signs what a live log adds, a line of a key that nobody trusts, nor a file passed over: changes go unseen.
    const covered = vectors.filter(
      ({ name, verdict, findings }) =>
        verdict === 'valid' &&
        findings.length === 0 &&
        name !== 'cosigned' &&
        name !== 'dot-names' &&
        name !== 'checkpoint-32-signatures',
    );
    for (let n = 0; n < 2000; n++) {
      const vector = covered[random(covered.length)]!;
      const files = new Map(filesOfVector(vector));
      const path = [...files.keys()][random(files.size)]!;
      const original = files.get(path)!;
      // Nothing can be changed in an empty file.
      if (original.length === 0) continue;
      files.set(path, mutate(original, random));
      const what = `${n}: ${vector.name}, ${path}`;
      expect(await agree(files, trustOf(vector), what), what).not.toBe('valid');
    }
  });

  test('2,000 to logs of any verdict: the same answer from both', async () => {
    const random = randomOf(2);
    const some = vectors.filter(
      ({ name }) => name !== 'segment-too-long' && name !== 'checkpoint-too-long',
    );
    for (let n = 0; n < 2000; n++) {
      const vector = some[random(some.length)]!;
      const files = new Map(filesOfVector(vector));
      if (files.size === 0) continue;
      const path = [...files.keys()][random(files.size)]!;
      const original = files.get(path)!;
      if (original.length > 0) files.set(path, mutate(original, random));
      await agree(files, trustOf(vector), `${n}: ${vector.name}, ${path}`);
    }
  });

  test('4,000 by the holder of the key, who seals and signs them: the same answer from both', async () => {
    const random = randomOf(3);
    const { vkeys } = trustOf(vectors.find(({ name }) => name === 'whole')!);
    const verdicts = new Map<string, number>();
    for (let n = 0; n < 4000; n++) {
      const drafts = n % 2 === 0 ? WHOLE_DRAFTS : NUMBERED_DRAFTS;
      const target = random(drafts.flat().length);
      const way = random(4);
      let index = 0;
      const change = (draft: Draft): Draft => {
        if (index++ !== target) return draft;
        // Entries, their number and their root fit the changed bytes; so does the hash of a changed frame.
        if (way === 0) return { ...draft, frame: (payload) => mutate(rawFrame(payload), random) };
        if (way === 1) {
          const text = (header: string) =>
            Buffer.from(mutate(Buffer.from(header, 'latin1'), random)).toString('latin1');
          return { ...draft, text };
        }
        return {
          ...draft,
          entries: (head, timeMs) => {
            const entries = draft.entries(head, timeMs);
            const which = random(entries.length);
            return entries.map((entry, i) => (i === which ? mutate(entry, random) : entry));
          },
        };
      };
      const log = sealDrafts(drafts.map((segment) => segment.map(change)));
      const files = new Map(Object.entries(filesOf(log)) as [string, Uint8Array][]);
      const trust = { origin: log.origin, vkeys, nowMs: START_MS + 5000 + 2 * HEARTBEAT_MS };
      const verdict = await agree(files, trust, `${n}: record ${target}, way ${way}`);
      verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
    }
    // A span of other bytes may well be a span: both outcomes have to come up, or nothing was compared.
    expect(verdicts.get('valid')).toBeGreaterThan(100);
    expect(verdicts.get('invalid')).toBeGreaterThan(1000);
  });
});
