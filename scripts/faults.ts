// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run faults`: the fault matrix, power cuts and random kills, with one count of spans acknowledged and lost at the
 * end. What went wrong goes to stderr, and the exit status is 1 if anything did. test/faults/README.md says what is run.
 */
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { FAULTS } from '../test/faults/faulty-node.ts';
import { runKills } from '../test/faults/kills.ts';
import { type Matrix, runMatrix } from '../test/faults/matrix.ts';
import { runPowerCuts } from '../test/faults/power.ts';
import { PARTS, type Part, type Totals, tableOf, writePart } from '../test/faults/table.ts';
import { seedOfCommit } from '../test/support/random.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    seed: { type: 'string' },
    /** One part of the three. */
    only: { type: 'string' },
    /** Runs of the matrix; all unless given. */
    runs: { type: 'string' },
    /** Of the matrix, the runs with this fault or at this operation. */
    fault: { type: 'string' },
    operation: { type: 'string' },
    power: { type: 'string', default: '200' },
    kills: { type: 'string', default: '100' },
    seconds: { type: 'string' },
    /** Processes at once. */
    workers: { type: 'string', default: '2' },
  },
});

function countOf(
  name: keyof typeof values & ('seed' | 'runs' | 'power' | 'kills' | 'seconds' | 'workers'),
  otherwise: number,
): number {
  const text = values[name];
  if (text === undefined) return otherwise;
  if (!/^[0-9]{1,10}$/.test(text)) throw new TypeError(`--${name}: ${text} is no count`);
  return Number(text);
}

const parts = PARTS.filter((part) => part === (values.only ?? part));
if (parts.length === 0) throw new TypeError(`--only: one of ${PARTS.join(', ')}`);
const isAsked = (part: Part): boolean => parts.includes(part);
const seed = countOf('seed', seedOfCommit());
const workerCount = countOf('workers', 2);
const endMs = performance.now() + countOf('seconds', Number.POSITIVE_INFINITY) * 1000;
const isOver = (): boolean => performance.now() > endMs;
const note = (text: string): void => {
  process.stderr.write(`${text}\n`);
};
let failureCount = 0;
const fail = (where: string, problems: readonly string[]): void => {
  failureCount += problems.length;
  for (const problem of problems) note(`${where}: ${problem}`);
};

note(`seed ${seed}`);
let done = 0;
const matrix: Matrix = isAsked('matrix')
  ? await runMatrix({
      seed,
      isOver,
      workerCount,
      runCountMax: countOf('runs', Number.POSITIVE_INFINITY),
      isAsked: ({ operation, fault }) =>
        operation === (values.operation ?? operation) && fault === (values.fault ?? fault),
      onRun: ({ scenario, plan, problems }) => {
        fail(`${scenario}, ${plan.fault} at ${plan.operation} (${plan.occurrence})`, problems);
        if (++done % 100 === 0) note(`${done} runs of the matrix`);
      },
    })
  : { operations: [], results: [] };
const power = await runPowerCuts({
  seed,
  isOver,
  workerCount,
  cutCount: isAsked('power') ? countOf('power', 0) : 0,
  onCut: ({ where, problems }) => fail(where, problems),
});
let killed = 0;
const kills = await runKills({
  seed,
  isOver,
  workerCount,
  killCount: isAsked('kills') ? countOf('kills', 0) : 0,
  onLog: (result) => {
    killed += result.kills;
    const { acknowledged, lost, calls, unaccounted } = result;
    note(`${killed} kills: ${JSON.stringify({ acknowledged, lost, calls, unaccounted })}`);
    fail('kills', result.problems);
  },
});

const reached = matrix.results.filter(({ isReached }) => isReached);
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const totals: Readonly<Record<Part, Totals>> = {
  matrix: {
    runs: reached.length,
    acknowledged: sum(reached.map(({ acknowledged }) => acknowledged)),
    lost: sum(matrix.results.map(({ lost }) => lost)),
  },
  power: { ...power, runs: power.cuts },
  kills: { ...kills, runs: kills.kills },
};
const operations = matrix.operations.length;
const calls = `${kills.calls} calls that a provider saw, ${kills.unaccounted} of them the log says nothing of`;
const words: Readonly<Record<Part, string>> = {
  matrix: `runs of the matrix, ${operations} operations × ${FAULTS.length} faults`,
  power: 'power cuts',
  kills: `kills, ${calls}`,
};
if (values.write) {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD']).toString().trim();
  for (const part of parts) {
    const more = part === 'matrix' ? tableOf(matrix) : '';
    writePart(part, words[part], totals[part], { seed, commit }, more);
  }
}
const all = Object.values(totals);
const runs = sum(all.map((one) => one.runs));
const acknowledged = sum(all.map((one) => one.acknowledged));
const lost = sum(all.map((one) => one.lost));
if (values.json) {
  const faults = FAULTS.length;
  console.log(JSON.stringify({ operations, faults, runs, acknowledged, lost, seed }));
} else {
  for (const part of parts) console.log(`${totals[part].runs} ${words[part]}`);
  console.log(`${acknowledged} spans acknowledged, ${lost} lost; seed ${seed}`);
}
process.exitCode = failureCount > 0 ? 1 : 0;
