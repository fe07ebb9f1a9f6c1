// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what is sealed of the packages is what all threads together know, whole each time, and only when it has changed.
 * Method: tables of what is told, thread by thread, and the events that come of it.
 */
import { describe, expect, test } from 'vitest';
import { encodeControl } from '../exporter/log/control.ts';
import { CoverageBook } from '../exporter/node/sealing/coverage.ts';
import type { CoverageState } from '../exporter/node/sealing/protocol.ts';

const OPENAI: CoverageState = { target: 'openai', version: '7.57.0', state: 'active' };
const IDLE: CoverageState = { ...OPENAI, state: 'not_loaded' };
const COHERE: CoverageState = { target: 'cohere-ai', state: 'out_of_range', detail: '<9' };

type Steps = readonly (readonly [thread: number, rows: readonly CoverageState[]])[];

/** What each step is answered, as `target state`. */
function answers(steps: Steps): string[][] {
  const book = new CoverageBook();
  return steps.map(([thread, rows]) =>
    book.tell(thread, rows).map(({ target, state }) => `${target} ${state}`),
  );
}

describe('what is sealed of the packages', () => {
  test('is all there is to say of each', () => {
    expect(new CoverageBook().tell(0, [OPENAI, COHERE])).toEqual([
      { name: 'coverage', ...COHERE },
      { name: 'coverage', ...OPENAI },
    ]);
  });

  test.each<[string, Steps, string[][]]>([
    ['nothing, where nothing is installed', [[0, []]], [[]]],
    [
      'said once',
      [
        [0, [OPENAI]],
        [0, [OPENAI]],
      ],
      [['openai active'], []],
    ],
    [
      'whole again after a change',
      [
        [0, [IDLE, COHERE]],
        [0, [OPENAI, COHERE]],
      ],
      [
        ['cohere-ai out_of_range', 'openai not_loaded'],
        ['cohere-ai out_of_range', 'openai active'],
      ],
    ],
    [
      'not said again for another order, or another copy like it',
      [
        [0, [OPENAI, COHERE]],
        [0, [COHERE, OPENAI, OPENAI]],
      ],
      [['cohere-ai out_of_range', 'openai active'], []],
    ],
    [
      'what one thread or the other knows',
      [
        [0, [IDLE]],
        [3, [OPENAI]],
        [4, [IDLE]],
        [0, [OPENAI]],
      ],
      [['openai not_loaded'], ['openai active', 'openai not_loaded'], [], []],
    ],
  ])('is %s', (_name, steps, expected) => {
    expect(answers(steps)).toEqual(expected);
  });

  test('has a spelling, whatever is told, and an end', () => {
    const odd = { target: 'ä'.repeat(2000), version: '\n', state: '☃', detail: 'x'.repeat(2000) };
    const many = Array.from({ length: 1000 }, (_, number) => ({ ...odd, target: `t${number}` }));
    const events = new CoverageBook().tell(0, [odd, ...many]);
    expect(events).toHaveLength(256);
    for (const event of events) expect(() => encodeControl(event, 0)).not.toThrow();
  });
});
