// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a file is of the package that Node would say it is of, however the path is written.
 * Method: a table of paths.
 */
import { expect, it } from 'vitest';
import { packageFileOf, versionAt } from '../../instrumentation/package-files.ts';

const at = (folder: string, name: string, file: string) => ({ folder, name, file });
const OPENAI = at('/app/node_modules/openai', 'openai', 'core/streaming.js');

it.each([
  ['/app/node_modules/openai/core/streaming.js', OPENAI],
  ['file:///app/node_modules/openai/core/streaming.js?v=1#x', OPENAI],
  ['file:///my%20app/node_modules/a/i.js', at('/my app/node_modules/a', 'a', 'i.js')],
  [
    '/app/node_modules/@google/genai/dist/index.mjs',
    at('/app/node_modules/@google/genai', '@google/genai', 'dist/index.mjs'),
  ],
  [
    '/a/node_modules/openai/node_modules/x/i.js',
    at('/a/node_modules/openai/node_modules/x', 'x', 'i.js'),
  ],
  [
    '/a/node_modules/.pnpm/openai@7.1.0/node_modules/openai/index.js',
    at('/a/node_modules/.pnpm/openai@7.1.0/node_modules/openai', 'openai', 'index.js'),
  ],
  [
    'C:\\\\app\\\\node_modules\\\\ollama\\\\i.cjs'.replaceAll('\\\\', '\\'),
    at('C:/app/node_modules/ollama', 'ollama', 'i.cjs'),
  ],
])('%s', (path, expected) => {
  expect(packageFileOf(path)).toEqual(expected);
});

it.each(['node:fs', '/app/main.js', '/app/node_modules/openai', '/app/node_modules/@scope/a'])(
  '%s is of none',
  (path) => expect(packageFileOf(path)).toBeUndefined(),
);

it('a folder without a package has no version', () => {
  expect(versionAt(import.meta.dirname)).toBeUndefined();
});
