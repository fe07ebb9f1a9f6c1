// SPDX-License-Identifier: Apache-2.0
// Goal: no bytes of others crash a parser, or get more out of it than its limits allow; and time grows with size as it
// should. Method: a short run of `npm run fuzz` over every target, picked by the commit; first targets that are wrong on
// purpose, and the fit on known powers, so that nothing can pass by seeing nothing.
import { describe, expect, test } from 'vitest';
import { randomOf, seedOfCommit } from '../support/random.ts';
import { readCorpus } from './corpus.ts';
import { exponentOf } from './growth.ts';
import { mutate } from './mutator.ts';
import { fuzz, INPUT_BYTE_LENGTH_MAX, inputOf, runInputs } from './run.ts';
import { TARGETS, type Target } from './targets.ts';

const SEED = seedOfCommit();
const RUN_COUNT = 150;
const LIMIT = { timeout: 300_000 };

describe(`short runs, seed ${SEED}`, () => {
  test.each(TARGETS.map((target) => [target.name, target] as const))(
    '%s',
    LIMIT,
    async (_name, target) => {
      const { runs, found } = await runInputs(target, SEED, 0, RUN_COUNT);
      expect(found).toEqual([]);
      expect(runs).toBe(RUN_COUNT);
    },
  );

  test.each(TARGETS.map((target) => [target.name, target] as const))(
    '%s takes some of what it starts from, and breaks at none',
    async (_name, { corpus, run, outputByteLengthMax }) => {
      const given: number[] = [];
      for (const input of corpus) given.push(await run(input));
      // Two of them give out nothing, whatever they take.
      expect(Math.max(...given) > 0).toBe(outputByteLengthMax(1) > 0);
    },
  );
});

describe('what is wrong is found', () => {
  const corpus = [...readCorpus('header').values()];
  const target = (run: Target['run']): Target => ({
    name: 'wrong',
    corpus,
    dictionary: corpus,
    outputByteLengthMax: (byteLength) => byteLength,
    run,
  });

  test.each<[string, Target['run'], string]>([
    ['a crash', () => (undefined as unknown as Uint8Array).length, 'TypeError'],
    ['a rejection', () => Promise.reject(new Error('later')), 'Error: later'],
    ['more than allowed', (input) => input.length + 1, 'gives out'],
  ])('%s', async (_name, run, problem) => {
    const { runs, found } = await runInputs(target(run), SEED, 0, RUN_COUNT);
    expect([runs, found.length]).toEqual([10, 10]);
    expect(found[0]!.problem).toContain(problem);
    // What is told makes the same input again.
    const again = inputOf(target(run), SEED, found[3]!.run);
    expect(Buffer.from(again).toString('base64')).toBe(found[3]!.input);
  });

  test('in a thread of its own as well', async () => {
    const cursor = TARGETS.find(({ name }) => name === 'cursor')!;
    const { runs, found } = await fuzz(cursor, SEED, 7, 20);
    expect([runs, found]).toEqual([20, []]);
  });
});

describe('the mutator', () => {
  test('the same numbers make the same input; others make others, within the bound', () => {
    const corpus = [...readCorpus('segment').values()];
    const material = { corpus, dictionary: corpus, byteLengthMax: INPUT_BYTE_LENGTH_MAX };
    const inputs = (seed: number): string[] => {
      const random = randomOf(seed);
      return Array.from({ length: 200 }, () =>
        Buffer.from(mutate(random, material)).toString('hex'),
      );
    };
    expect(inputs(1)).toEqual(inputs(1));
    expect(new Set([...inputs(1), ...inputs(2)]).size).toBeGreaterThan(350);
    expect(Math.max(...inputs(3).map((hex) => hex.length / 2))).toBeLessThanOrEqual(
      INPUT_BYTE_LENGTH_MAX,
    );
  });
});

test('the fit sees the power that is there', () => {
  const sizes = [1, 2, 4, 8, 16, 32];
  for (const power of [1, 1.5, 2, 3]) {
    expect(exponentOf(sizes.map((size) => [size, 7 * size ** power]))).toBeCloseTo(power, 10);
  }
});
