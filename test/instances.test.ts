// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: of each process that made calls it is said exactly whether all its numbers are there, and which are not. Method:
 * vectors whose answers are stated by hand, random logs on which a second answer, written from FORMAT.md alone, must
 * agree, and the bounds met on purpose.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeBase64 } from '../exporter/log/bytes.ts';
import type { RecordHeader } from '../exporter/log/header.ts';
import { NUMBER_RANGE_COUNT_MAX } from '../exporter/log/limits.ts';
import type { VerifiedRecord } from '../exporter/log/record.ts';
import { verifyLog } from '../exporter/log/verify.ts';
import { nodePrimitives } from '../exporter/node/system/keys.ts';
import {
  INSTANCE_LISTED_COUNT,
  type InstanceReport,
  Instances,
  SENDER_COUNT_MAX,
  type TimeRange,
} from '../exporter/node/verifying/instances.ts';
import { tallyOf } from '../exporter/node/verifying/tally.ts';
import {
  beat,
  INSTANCE_VECTOR_DIRECTORY,
  type InstanceVector,
  makeInstanceVectors,
  sent,
  sentCall,
  spanId,
  timeOf,
  unreadCall,
} from '../scripts/instance-vectors.ts';
import {
  calls,
  closedAt,
  control,
  type Draft,
  encodeVector,
  filesOf,
  GATEWAY,
  gapOf,
  heartbeatAt,
  interrupted,
  opened,
  RECOVERED,
  START_MS,
  sealDrafts,
} from '../scripts/vectors.ts';
import { type NaiveInstance, type NaiveLog, naiveInstances } from './support/naive-instances.ts';

const PAGE = readFileSync(join(import.meta.dirname, '../exporter/FORMAT.md'), 'utf8');
const vectors = readdirSync(INSTANCE_VECTOR_DIRECTORY)
  .map((name) => name.replace('.json', ''))
  .sort()
  .map((name) => readFileSync(join(INSTANCE_VECTOR_DIRECTORY, `${name}.json`), 'utf8'))
  .map((text) => JSON.parse(text) as InstanceVector);

const lineOf = (one: NaiveInstance): string =>
  [
    one.kind,
    one.instance,
    one.state,
    one.completeness,
    one.missing,
    one.open === '' ? '' : `open ${one.open}`,
    one.findings.join(','),
  ]
    .filter((word) => word !== '')
    .join(' ');

const plain = (one: InstanceReport): NaiveInstance => ({
  kind: one.kind,
  instance: one.instance,
  state: one.state,
  completeness: one.completeness,
  missing: one.missing.ranges,
  open: one.open.ranges,
  findings: one.findings.map(({ code }) => code),
});

/** What the module says, sorted as the second answer is. */
async function judge(
  logs: readonly NaiveLog[],
  nowMs: number,
  range: TimeRange,
): Promise<NaiveInstance[]> {
  const instances = new Instances(range);
  for (const { files, live = false } of logs) {
    const segments = [...files]
      .filter(([path]) => path.startsWith('segments/'))
      .map(([path, bytes]) => ({ name: path.slice('segments/'.length), bytes }));
    const trust = { origin: undefined, verifiers: [], selfAttested: false, minimumHead: undefined };
    const onRecord = (record: VerifiedRecord) => instances.take(tallyOf(record));
    const log = { segments, checkpoints: [], trust, live, nowMs, onRecord };
    await verifyLog(log, nodePrimitives);
    instances.endLog(live, nowMs);
  }
  const text = (one: NaiveInstance) => JSON.stringify(one);
  return instances
    .report()
    .instances.map(plain)
    .sort((a, b) => (text(a) < text(b) ? -1 : 1));
}

describe('the vectors', () => {
  test('are byte for byte those of scripts/instance-vectors.ts', () => {
    const made = makeInstanceVectors();
    expect(vectors.map(encodeVector)).toEqual(made.map(encodeVector));
    expect(new Set(made.map(({ name }) => name)).size).toBe(made.length);
  });

  test.each(vectors.map((vector) => [vector.name, vector] as const))('%s', async (_, vector) => {
    const { from, to, nowMs } = vector;
    const logs = vector.logs.map(({ live, files }) => ({
      live,
      files: new Map(Object.entries(files).map(([path, file]) => [path, decodeBase64(file)])),
    }));
    const naive = naiveInstances(logs, nowMs, { from, to });
    expect(naive.map(lineOf).sort()).toEqual(vector.instances);
    expect(await judge(logs, nowMs, { from, to })).toEqual(naive);
  });

  test('have every finding there is on the page, and no other', () => {
    const onPage = [...PAGE.matchAll(/`(source\.[a-z-]+)`/g)].map(([, code]) => code);
    const source = readFileSync(
      join(import.meta.dirname, '../exporter/node/verifying/instances.ts'),
      'utf8',
    );
    const inCode = [...source.matchAll(/'(source\.[a-z-]+)'/g)].map(([, code]) => code);
    expect([...new Set(onPage)].sort()).toEqual([...new Set(inCode)].sort());
    // Of `source.unfollowed` no log is small: below.
    const inVectors = vectors.flatMap(({ instances }) => [
      ...instances.join(' ').matchAll(/source\.[a-z-]+/g),
    ]);
    expect(new Set([...inVectors.map(([code]) => code), 'source.unfollowed'])).toEqual(
      new Set(inCode),
    );
  });
});

describe('random logs', () => {
  const number = fc.integer({ min: 1, max: 12 });
  const name = fc.constantFrom('a', 'b');
  const open = fc.constantFrom('', '2', '1-3', '2,5-6', '4,...', '3-1', 'x', 'x,...');
  const state = fc.constantFrom('running', 'closed');
  const entry = fc.oneof(
    fc.tuple(name, number).map(([instance, at]) => sentCall(instance, at)),
    name.map((instance) => unreadCall(instance)),
    fc
      .tuple(fc.constantFrom('a', ''), number, fc.constantFrom(7, 8, 0))
      .map(([instance, at, byte]) => sentCall(instance, at, spanId(byte))),
    fc
      .tuple(name, number, open, state, fc.integer({ min: 500, max: 5000 }), number)
      .map(([instance, highest, ranges, how, intervalMs, at]) =>
        beat(instance, highest, { open: ranges, state: how, intervalMs, number: at }),
      ),
  );
  const source = fc.constantFrom<RecordHeader['source']>(GATEWAY.source, {
    ...GATEWAY.source,
    principal: undefined,
  });
  const draft: fc.Arbitrary<Draft> = fc.oneof(
    fc
      .tuple(fc.array(entry, { minLength: 1, maxLength: 4 }), source)
      .map(([entries, whose]) => sent(entries, whose)),
    fc.array(number, { minLength: 1, maxLength: 4 }).map((numbers) => calls(...numbers)),
    fc
      .array(
        fc.oneof(
          number.map((highest) => heartbeatAt(highest)),
          number.map((at) => interrupted(at)),
          fc.tuple(number, number).map(([first, last]) => gapOf(first, last)),
          fc.constant(RECOVERED),
          fc.tuple(number, open).map(([highest, ranges]) => closedAt(highest, { open: ranges })),
        ),
        { minLength: 1, maxLength: 3 },
      )
      .map((events) => control(...events)),
    fc.constant(opened),
  );
  const second = fc.option(fc.integer({ min: 0, max: 15 }), { nil: undefined });

  test('are judged alike from the page and by the code, over any range', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.array(draft, { maxLength: 12 }), fc.boolean()), {
          minLength: 1,
          maxLength: 2,
        }),
        second,
        second,
        fc.integer({ min: 0, max: 200_000 }),
        async (drafts, from, to, laterMs) => {
          const logs = drafts.map(([each, live], at) => ({
            live,
            files: new Map(
              Object.entries(filesOf(sealDrafts([[opened, ...each]], `vectors/log-${at}`))),
            ) as Map<string, Uint8Array>,
          }));
          const range = {
            from: from === undefined ? undefined : timeOf(from),
            to: to === undefined ? undefined : timeOf(to),
          };
          const nowMs = START_MS + laterMs;
          expect(await judge(logs, nowMs, range)).toEqual(naiveInstances(logs, nowMs, range));
        },
      ),
      { numRuns: 400 },
    );
  });

  test('lose no missing number between two adjoining ranges, and tell none twice', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(draft, { maxLength: 12 }),
        fc.integer({ min: 0, max: 11 }),
        async (drafts, at) => {
          const files = new Map(
            Object.entries(
              filesOf(sealDrafts([[opened, ...drafts, sent([beat('z', 1, { state: 'closed' })])]])),
            ),
          ) as Map<string, Uint8Array>;
          const missingIn = async (from: string | undefined, to: string | undefined) => {
            const found = await judge([{ files }], START_MS, { from, to });
            return found
              .filter(({ kind, state }) => kind === 'sender' && state === 'closed')
              .flatMap(({ instance, missing }) =>
                missing === ''
                  ? []
                  : missing.split(',').flatMap((range) => {
                      const [first = 0, last = first] = range.split('-').map(Number);
                      return Array.from(
                        { length: last - first + 1 },
                        (_, i) => `${instance} ${first + i}`,
                      );
                    }),
              );
          };
          const all = await missingIn(undefined, undefined);
          const early = await missingIn(undefined, timeOf(at));
          const late = await missingIn(new Date(START_MS + 1000 * at + 1).toISOString(), undefined);
          expect([...early, ...late].sort()).toEqual(all.sort());
        },
      ),
      { numRuns: 150 },
    );
  });
});

test('of a log that begins behind its record 0, only what was started later is due', () => {
  const record = (index: number, ...entries: readonly Uint8Array[]): VerifiedRecord =>
    ({
      header: { log: 'a', index, kind: 'traces', sealed: timeOf(index), source: GATEWAY.source },
      entries,
      events: [],
      numbers: [],
    }) as unknown as VerifiedRecord;
  const missingFrom = (first: number): string[] => {
    const instances = new Instances();
    const records = [
      record(first, sentCall('a', 5), sentCall('b', 5)),
      record(first + 1, beat('a', 9)),
      record(first + 2, sentCall('a', 12), sentCall('b', 9)),
      record(first + 3, beat('a', 13, { state: 'closed' })),
    ];
    for (const one of records) instances.take(tallyOf(one));
    instances.endLog(true, START_MS + 1_000_000);
    const { instances: found } = instances.report();
    return found.map(({ instance, missing }) => `${instance} ${missing.ranges}`).sort();
  };
  expect(missingFrom(0)).toEqual(['a 1-4,6-8,10-11', 'b 1-4,6-8']);
  expect(missingFrom(7)).toEqual(['a 10-11', 'b ']);
});

describe('a sender that would fill the memory', () => {
  const record = (entries: readonly Uint8Array[]): VerifiedRecord =>
    ({
      header: { log: 'a', index: 0, kind: 'traces', sealed: timeOf(0), source: GATEWAY.source },
      entries,
      events: [],
      numbers: [],
    }) as unknown as VerifiedRecord;

  test('scatters its numbers: followed up to a bound, and then told of', () => {
    const instances = new Instances();
    const numbers = Array.from({ length: NUMBER_RANGE_COUNT_MAX + 1 }, (_, at) => 2 * at + 1);
    // In two: one record holds no more entries than that bound.
    for (const part of [numbers.slice(0, 100), numbers.slice(100)]) {
      instances.take(tallyOf(record(part.map((at) => sentCall('a', at)))));
    }
    instances.endLog(false, START_MS);
    expect(instances.report()).toMatchObject({
      senders: 'incomplete',
      instances: [{ findings: [{ code: 'source.unfollowed' }] }],
    });
  });

  test('takes a name for each call: the first are followed, and that there are more is told', () => {
    const instances = new Instances();
    for (let at = 0; at <= SENDER_COUNT_MAX; at++) {
      instances.take(tallyOf(record([beat(`i-${at}`, 1, { state: 'closed' })])));
    }
    instances.endLog(false, START_MS);
    const { counts, senders, instances: listed } = instances.report();
    expect(listed).toHaveLength(INSTANCE_LISTED_COUNT);
    expect(counts.complete).toBe(SENDER_COUNT_MAX);
    expect(senders).toBe('incomplete');
  });
});
