// SPDX-License-Identifier: Apache-2.0
// Goal: the version that records name their writer by is that of the package. Method: both are read.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { VERSION, WRITER } from '../exporter/node/system/version.ts';

test('is the version of package.json', () => {
  const manifest: unknown = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  );
  expect(manifest).toMatchObject({ version: VERSION });
  expect(WRITER).toBe(`sealspan/${VERSION}`);
});
