// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the table of what was shown has every case, every package that is hooked, and no cell that failed or was left out.
 * Method: the document, read; the tests of the packages compare its cells with what they find.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { TARGETS } from '../instrumentation/hooks.ts';
import { CASES } from './sdks/support/case.ts';
import { COLUMNS, DOCUMENT, readColumn, shownIn } from './sdks/support/table.ts';

describe('the table', () => {
  it('has a column for every package that is hooked, and no other', () => {
    const packages = new Set(COLUMNS.map((title) => title.split(' ')[0]));
    // The server of the split protocol package is hooked with its client, whose calls it answers.
    expect([...packages].sort()).toEqual(TARGETS.map(({ name }) => name).sort());
  });

  it.each(COLUMNS)('%s has every case, and all went as they should', (title) => {
    const cells = readColumn(title);
    expect(Object.keys(cells).sort()).toEqual([...CASES].sort());
    for (const [row, cell] of Object.entries(cells)) {
      const [mark, ...notes] = cell.split('\n');
      expect([row, mark]).toEqual([row, expect.stringMatching(/^[✓–]$/)]);
      // Why a package has no such case is always said.
      if (mark === '–') expect([row, notes.join()]).toEqual([row, expect.stringMatching(/\w{3}/)]);
    }
  });

  it('says which versions were run', () => {
    const versions = shownIn(readFileSync(DOCUMENT, 'utf8')).split('\n\n').at(-1) ?? '';
    for (const title of COLUMNS) expect(versions).toMatch(new RegExp(`\`${title}\` \\| \\d`));
  });
});
