// SPDX-License-Identifier: Apache-2.0
// Goal: no call of a service to its file system can fail in a way that loses what was acknowledged, or that the next start
// does not get over; nor can a power cut. Method: a part of `npm run faults`, picked by the commit. First the judge is shown a loss, so that it can not pass by seeing nothing.
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seedOfCommit } from '../support/random.ts';
import { type RunResult, runMatrix } from './matrix.ts';
import { runPowerCuts } from './power.ts';
import { closeWorld, judge, Lives, live, logOf, namesTold, openWorld, toldBy } from './world.ts';

const SEED = seedOfCommit();
const RUN_COUNT = 8;
const CUT_COUNT = 6;
/** On an idle machine the whole file takes 20 s. */
const LIMIT = { timeout: 300_000 };

const lives = new Lives();
let whole: Awaited<ReturnType<typeof openWorld>>;
beforeAll(async () => {
  whole = await openWorld();
  expect(await live(lives, whole, 'only')).toBe('ended');
});
afterAll(async () => {
  await lives.close();
  await closeWorld(whole);
});

test('the judge sees what is lost', async () => {
  const { acknowledged, lost, problems, report } = await judge(whole);
  expect([lost, problems, report.verdict]).toEqual([0, [], 'valid']);
  expect(acknowledged).toBeGreaterThan(5);

  const wordsOf = async (rob: (root: string) => void, known: Set<string>): Promise<string> => {
    const robbed = await openWorld(whole);
    rob(robbed.root);
    const judgement = await judge({ ...robbed, forwardedBefore: known });
    await closeWorld(robbed);
    return judgement.problems.join('\n');
  };
  const first = (dir: string): string => join(dir, readdirSync(dir)[0]!);
  const last = (dir: string): string => join(dir, readdirSync(dir).at(-1)!);
  const all = new Set(namesTold(toldBy(whole.root, 'only'), 'started'));
  const archived = 'archive/faults/0/segments';
  // The last one was put when the log was closed, and has none.
  expect(await wordsOf((root) => rmSync(first(join(root, archived))), all)).toContain('receipt');
  expect(await wordsOf((root) => rmSync(last(join(logOf(root), 'segments'))), all)).toContain(
    'log.truncated',
  );
  expect(await wordsOf(() => {}, new Set())).toContain('sealed and never forwarded');
  expect(await wordsOf(() => {}, all)).toBe('');
});

test(`the matrix, ${RUN_COUNT} cells of it, seed ${SEED}`, LIMIT, async () => {
  const failed: RunResult[] = [];
  const matrix = await runMatrix({
    seed: SEED,
    runCountMax: RUN_COUNT,
    onRun: (result) => {
      if (result.problems.length > 0) failed.push(result);
    },
  });
  expect(failed).toEqual([]);
  expect(matrix.results.filter(({ isReached }) => isReached).length).toBeGreaterThan(RUN_COUNT / 2);
});

test(`power cuts, ${CUT_COUNT} of them, seed ${SEED}`, LIMIT, async () => {
  const problems: string[] = [];
  const { cuts, lost } = await runPowerCuts({
    seed: SEED,
    cutCount: CUT_COUNT,
    onCut: (cut) => problems.push(...cut.problems.map((text) => `${cut.where}: ${text}`)),
  });
  expect(problems).toEqual([]);
  expect([cuts, lost]).toEqual([CUT_COUNT, 0]);
});
