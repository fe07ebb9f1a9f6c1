// SPDX-License-Identifier: Apache-2.0
// Goal: what is said of a log does not depend on how many threads checked it, nor on whether they lived. Method: every vector,
// and a log of many segments damaged at random, judged with one thread and with four; threads that die, or never start.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeBase64, encodeHex } from '../exporter/log/bytes.ts';
import { parseVerifier } from '../exporter/log/note.ts';
import type { Report } from '../exporter/log/report.ts';
import { parseSegmentName } from '../exporter/log/segment.ts';
import {
  type LogToVerify,
  type NamedBytes,
  verifyLog,
  verifyLogBy,
} from '../exporter/log/verify.ts';
import { readCheckpointFiles, readSegmentFiles } from '../exporter/node/storage/log-reader.ts';
import { parsePruned } from '../exporter/node/storage/prune.ts';
import { nodePrimitives, sha256 } from '../exporter/node/system/keys.ts';
import {
  beginAhead,
  type CheckerOptions,
  type Checkers,
  giveBack,
  openCheckers,
} from '../exporter/node/verifying/checkers.ts';
import { type TalliedRecord, tallyOf } from '../exporter/node/verifying/tally.ts';
import { VECTOR_DIRECTORY, type Vector } from '../scripts/vectors.ts';
import { writeSyntheticLog } from './bench/support/synthetic-log.ts';

type Log = Omit<LogToVerify, 'segments' | 'onRecord'> & {
  readonly segments: readonly NamedBytes[];
};

/** All that there is to say of a log: the report, and every record that passed. */
interface Answer {
  readonly report: Report;
  readonly records: readonly string[];
}

const THREADS = { fromByteLength: 0 };

async function* inTurn(segments: readonly NamedBytes[]): AsyncGenerator<NamedBytes, void> {
  for (const segment of segments) yield segment;
}

const told = ({ leaf, ...record }: TalliedRecord): string =>
  JSON.stringify([encodeHex(leaf), record], (_key, value: unknown) =>
    value instanceof Uint8Array ? encodeHex(value) : value,
  );

/** What is said by the checkers. */
async function askThreads(checkers: Checkers, log: Log): Promise<Answer> {
  const records: string[] = [];
  const onRecord = (record: TalliedRecord) => records.push(told(record));
  const segments = beginAhead(checkers, inTurn(log.segments));
  const check = checkers.check.bind(checkers);
  try {
    const report = await verifyLogBy(check, { ...log, segments, onRecord }, nodePrimitives);
    return { report, records };
  } finally {
    checkers.forget();
  }
}

/** What `verifyLog` says, which knows of no threads. */
async function askNone(log: Log): Promise<Answer> {
  const records: string[] = [];
  const report = await verifyLog(
    { ...log, onRecord: (record) => records.push(told(tallyOf(record))) },
    nodePrimitives,
  );
  return { report, records };
}

function logOf({ files, trust }: Vector): Log {
  const bytesOf = (path: string): Uint8Array => {
    const file = files[path]!;
    return typeof file === 'string' ? decodeBase64(file) : new Uint8Array(file.zeros);
  };
  const within = (folder: string): NamedBytes[] =>
    Object.keys(files)
      .filter((path) => path.startsWith(folder))
      .sort()
      .map((path) => ({ name: path.slice(folder.length), bytes: bytesOf(path) }))
      .filter(({ name }) => !name.startsWith('.'));
  const removed = 'pruned' in files ? parsePruned(bytesOf('pruned')) : undefined;
  const { origin, vkeys, minimum, live = false, nowMs } = trust;
  return {
    removed,
    segments: within('segments/').filter(
      ({ name }) => !(parseSegmentName(name)! < (removed?.size ?? 0)),
    ),
    checkpoints: [
      ...within('checkpoints/'),
      ...within('checkpoint').filter(({ name }) => name === ''),
    ],
    trust: {
      origin,
      verifiers: vkeys.map((vkey) => parseVerifier(sha256, vkey)),
      selfAttested: false,
      minimumHead: minimum && { size: minimum.size, root: decodeBase64(minimum.root) },
    },
    live,
    nowMs,
  };
}

const homes: string[] = [];
afterAll(() => {
  for (const home of homes) rmSync(home, { recursive: true });
});

/** Segments of a few hundred records; the payloads of some are larger than a batch. */
async function syntheticLog(): Promise<Log> {
  const home = mkdtempSync(join(tmpdir(), 'sealspan-checkers-'));
  homes.push(home);
  writeSyntheticLog({
    dir: home,
    originBase: 'checkers',
    spanCount: 3000,
    spansPerRecord: 5,
    style: { seed: 1, byteLength: 64, content: 'bare' },
    distinctCount: 7,
    segmentByteLength: 50_000,
  });
  const dir = join(home, '0');
  const segments: NamedBytes[] = [];
  for await (const segment of readSegmentFiles(dir)) segments.push(segment);
  const verifier = parseVerifier(sha256, readFileSync(join(dir, 'verifier'), 'utf8').trim());
  return {
    segments,
    checkpoints: await readCheckpointFiles(dir),
    trust: {
      origin: undefined,
      verifiers: [verifier],
      selfAttested: false,
      minimumHead: undefined,
    },
    live: false,
    nowMs: undefined,
  };
}

describe('four threads say what one says', () => {
  let four: Checkers;
  beforeAll(() => {
    four = openCheckers(4, THREADS);
  });
  afterAll(() => four.close());

  const vectors = readdirSync(VECTOR_DIRECTORY).map((name) => name.replace('.json', ''));
  test.each(vectors)('of the vector %s', async (name) => {
    const vector = JSON.parse(
      readFileSync(join(VECTOR_DIRECTORY, `${name}.json`), 'utf8'),
    ) as Vector;
    const log = logOf(vector);
    const answer = await askThreads(four, log);
    expect(answer).toEqual(await askNone(log));
    expect(await askThreads(openCheckers(1), log)).toEqual(answer);
    expect(answer.report.verdict).toBe(vector.verdict);
  });

  test('of a log of many segments, whole', async () => {
    const log = await syntheticLog();
    expect(log.segments.length).toBeGreaterThan(5);
    const answer = await askThreads(four, log);
    expect(answer.report).toMatchObject({ verdict: 'valid', entries: 3000, records: 602 });
    expect(answer).toEqual(await askNone(log));
  });

  test('of segments whose memory is given back', async () => {
    const log = await syntheticLog();
    const copies = log.segments.map(({ name, bytes }) => ({ name, bytes: bytes.slice() }));
    const segments = giveBack(beginAhead(four, inTurn(copies)));
    const check = four.check.bind(four);
    const report = await verifyLogBy(check, { ...log, segments }, nodePrimitives);
    four.forget();
    expect(report).toEqual((await askNone(log)).report);
    expect(copies.map(({ bytes }) => bytes.length)).toEqual(copies.map(() => 0));
  });

  test('of a log of many segments, with any byte changed, cut, or put in', async () => {
    const log = await syntheticLog();
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const verdicts = new Set<string>();
    for (let round = 0; round < 60; round++) {
      const which = random(log.segments.length);
      const segments = log.segments.map(({ name, bytes }, index) => {
        if (index !== which) return { name, bytes };
        const at = random(bytes.length);
        const [cut, put] = [[1, [random(256)]] as const, [1, []] as const, [0, [10]] as const][
          round % 3
        ]!;
        const parts = [bytes.subarray(0, at), Uint8Array.from(put), bytes.subarray(at + cut)];
        return { name, bytes: new Uint8Array(Buffer.concat(parts)) };
      });
      const answer = await askThreads(four, { ...log, segments });
      expect(answer).toEqual(await askNone({ ...log, segments }));
      verdicts.add(answer.report.verdict);
    }
    expect(verdicts).toContain('invalid');
  });
});

describe('whatever becomes of the threads, nothing is left unchecked', () => {
  const thread = (): Worker =>
    new Worker(new URL('../exporter/node/verifying/checking-thread.ts', import.meta.url), {
      execArgv: [],
    });
  const doing = (script: string) => (): Worker => new Worker(script, { eval: true });
  const onMessage = (what: string): string =>
    `const { parentPort: port } = require('node:worker_threads'); port.on('message', () => { ${what} });`;

  test.each<[what: string, startWorker: () => Worker]>([
    [
      'can not be started',
      () => {
        throw new Error('no more threads');
      },
    ],
    ['end before they hear of anything', doing('process.exit(0)')],
    ['can not load what they need', doing("require('./nowhere.cjs')")],
    ['end at their first batch', doing(onMessage('process.exit(1)'))],
    ['fail at their first batch', doing(onMessage("throw new Error('out of luck')"))],
    ['answer less than they were asked', doing(onMessage('port.postMessage({ answers: [] })'))],
    [
      'are terminated at their second batch',
      () => {
        const worker = thread();
        let count = 0;
        return worker.on('message', () => {
          if (++count === 2) void worker.terminate();
        });
      },
    ],
  ])('threads that %s', async (_what, startWorker) => {
    const log = await syntheticLog();
    const damaged = log.segments.map(({ name, bytes }, index) =>
      index === 4
        ? { name, bytes: bytes.map((byte, at) => (at === 2000 ? byte ^ 1 : byte)) }
        : { name, bytes },
    );
    const checkers = openCheckers(4, { ...THREADS, startWorker });
    expect(await askThreads(checkers, log)).toEqual(await askNone(log));
    const answer = await askThreads(checkers, { ...log, segments: damaged });
    expect(answer).toEqual(await askNone({ ...log, segments: damaged }));
    expect(answer.report.verdict).toBe('invalid');
    checkers.close();
  });

  test('a disk that fails is no finding, and ends the reading ahead as well', async () => {
    const log = await syntheticLog();
    const checkers = openCheckers(2, THREADS);
    const failing = (async function* (): AsyncGenerator<NamedBytes, void> {
      yield* log.segments.slice(0, 3);
      throw new Error('EIO');
    })();
    const check = checkers.check.bind(checkers);
    const segments = beginAhead(checkers, failing);
    await expect(verifyLogBy(check, { ...log, segments }, nodePrimitives)).rejects.toThrow('EIO');
    checkers.forget();
    // The same threads serve the next log.
    expect(await askThreads(checkers, log)).toEqual(await askNone(log));
    checkers.close();
  });
});

test.each<[threadCount: number, options: CheckerOptions, started: number]>([
  [1, THREADS, 0],
  [3, {}, 0],
  [3, THREADS, 3],
])('%d threads, %j: %d are started for a small log', async (threadCount, options, started) => {
  let count = 0;
  const startWorker = (): Worker => {
    count++;
    return new Worker(new URL('../exporter/node/verifying/checking-thread.ts', import.meta.url));
  };
  const checkers = openCheckers(threadCount, { ...options, startWorker });
  const log = await syntheticLog();
  expect((await askThreads(checkers, log)).report.verdict).toBe('valid');
  expect(count).toBe(started);
  checkers.close();
});
