// SPDX-License-Identifier: Apache-2.0
/**
 * Writes the table of instrumentation/MATRIX.md out of what the last runs of the tests found (`npm run test:sdks`, and
 * `npm test` for openai). The tests themselves compare the table with what they find.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { COLUMNS, DOCUMENT, type Results, render, withShown } from '../test/sdks/support/table.ts';

const FOLDER = join(import.meta.dirname, '../test/sdks/results');

interface Column extends Results {
  readonly title: string;
  readonly prefix: string;
}

const found = new Map(
  readdirSync(FOLDER).map((name) => {
    const column = JSON.parse(readFileSync(join(FOLDER, name), 'utf8')) as Column;
    return [column.title, column] as const;
  }),
);
const columns = COLUMNS.map((title) => {
  const column = found.get(title);
  if (column === undefined) throw new Error(`${title}: its tests have not run here`);
  return [title, column] as const;
});
writeFileSync(DOCUMENT, withShown(readFileSync(DOCUMENT, 'utf8'), render(new Map(columns))));
