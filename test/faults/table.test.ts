// SPDX-License-Identifier: Apache-2.0
// Goal: the table on the page is of the whole matrix, and nothing in it failed. Method: the page, and one undisturbed life
// in which every call of today's service comes up.
import { expect, test } from 'vitest';
import { FAULTS } from './faulty-node.ts';
import { canFail, runMatrix } from './matrix.ts';
import { readTable } from './table.ts';

test('the table has every call that a service makes', async () => {
  const { operations } = await runMatrix({ seed: 1, runCountMax: 0 });
  const table = readTable();
  // What the table does not have yet: `npm run faults -- --write`.
  expect(operations.filter((operation) => !table.has(operation))).toEqual([]);
}, 300_000);

test('the table has every fault at every operation, each run, none failed', () => {
  const table = readTable();
  expect(table.size).toBeGreaterThan(60);
  for (const [operation, cells] of table) {
    for (const fault of FAULTS) {
      const said = canFail(operation, fault) ? /^[1-9][0-9]*$/ : /^–$/;
      expect(`${operation}, ${fault}: ${cells[fault]}`).toMatch(
        new RegExp(`: ${said.source.slice(1)}`),
      );
    }
  }
});
