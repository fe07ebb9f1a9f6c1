// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run fuzz`: every parser against inputs that are nearly right. What breaks one is printed with what makes it again,
 * and the exit status is 1. `--growth` asks instead how time grows with the size of an input.
 */
import { parseArgs } from 'node:util';
import { isMainThread, Worker } from 'node:worker_threads';
import { writeCorporaOfVectors } from '../test/fuzz/corpus.ts';
import { measureGrowth } from '../test/fuzz/growth.ts';
import { type Found, fuzz, inputOf } from '../test/fuzz/run.ts';
import { TARGETS } from '../test/fuzz/targets.ts';
import { seedOfCommit } from '../test/support/random.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '2000' },
    seed: { type: 'string' },
    target: { type: 'string' },
    /** The number of one input, to run that alone. */
    run: { type: 'string' },
    growth: { type: 'boolean', default: false },
    corpus: { type: 'boolean', default: false },
  },
});

function countOf(name: 'runs' | 'seed' | 'run', text: string): number {
  if (!/^[0-9]{1,10}$/.test(text)) throw new TypeError(`--${name}: ${text} is no count`);
  return Number(text);
}

const seed = values.seed === undefined ? seedOfCommit() : countOf('seed', values.seed);
const targets = TARGETS.filter(({ name }) => name === (values.target ?? name));
if (targets.length === 0)
  throw new TypeError(`--target: one of ${TARGETS.map(({ name }) => name)}`);

function show({ target, run, problem, input }: Found): void {
  console.log(`FOUND in ${target}: ${problem}`);
  console.log(`  npm run fuzz -- --target ${target} --seed ${seed} --run ${run}`);
  console.log(`  ${input}`);
}

async function fuzzAll(): Promise<void> {
  console.log(`seed ${seed}`);
  console.log('target            runs       taken    slowest   held   found');
  for (const target of targets) {
    const result = await fuzz(target, seed, 0, countOf('runs', values.runs));
    const cells = [
      target.name.padEnd(16),
      String(result.runs).padStart(9),
      String(result.accepted).padStart(9),
      `${result.slowestMs.toFixed(1)} ms`.padStart(11),
      `${(result.memoryByteLength / 1024 / 1024).toFixed(0)} MiB`.padStart(8),
      String(result.found.length).padStart(5),
    ];
    console.log(cells.join(' '));
    for (const found of result.found) show(found);
    if (result.found.length > 0) process.exitCode = 1;
  }
}

async function runOne(run: number): Promise<void> {
  for (const target of targets) {
    const input = inputOf(target, seed, run);
    console.log(`${target.name}: ${Buffer.from(input).toString('base64')}`);
    console.log(`gives out ${await target.run(input)} bytes`);
  }
}

/**
 * In a thread whose nursery no input fills: else the exponent is of the collector, which copies what outlives a filled one
 * and nothing of what a small input leaves behind.
 */
const NURSERY = { maxYoungGenerationSizeMb: 768 };

async function growAll(): Promise<void> {
  if (isMainThread) {
    const options = { argv: process.argv.slice(2), resourceLimits: NURSERY };
    new Worker(import.meta.filename, options).on('exit', (code) => {
      process.exitCode = code;
    });
    return;
  }
  await measureGrowth(values.target, ({ name, exponent, isFine }) => {
    console.log(`${name.padEnd(48)} n^${exponent.toFixed(2)}${isFine ? '' : '  TOO MUCH'}`);
    if (!isFine) process.exitCode = 1;
  });
}

if (values.corpus) await writeCorporaOfVectors();
else if (values.growth) await growAll();
else if (values.run !== undefined) await runOne(countOf('run', values.run));
else await fuzzAll();
