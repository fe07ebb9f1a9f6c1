// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the page about writing spans says what is so. Method: its programs run as services, its tables are compared with the
 * names in the vocabulary, and its files with the tree.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  AIGOV_CONTENT_POLICY_VALUES,
  AIGOV_INVOCATION_COMPLETION_VALUE_INTERRUPTED,
  AIGOV_INVOCATION_COMPLETION_VALUES,
  AIGOV_INVOCATION_DETAIL_VALUES,
} from '../../semconv/index.ts';
import { type FakeOpenai, startFakeOpenai } from '../support/fake-openai.ts';
import { makeService, REGISTER, readLogs, run } from './support/service.ts';

const folder = fileURLToPath(new URL('../../instrumentation/', import.meta.url));
const page = readFileSync(join(folder, 'README.md'), 'utf8');
const programs = [...page.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code = '']) => code);

/** The first cells of the rows of the table that has this head. */
const cells = (head: string): string[][] => {
  const [, table = ''] = page.split(`| ${head} `);
  const [rows = ''] = table.split('\n\n');
  return rows
    .split('\n')
    .slice(2)
    .map((row) =>
      row
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
};

let provider: FakeOpenai;
const homes: string[] = [];
beforeAll(async () => {
  provider = await startFakeOpenai();
});
afterAll(async () => {
  for (const home of homes) rmSync(home, { recursive: true });
  await provider.close();
});

describe('a program of the page', () => {
  it.each([
    [
      0,
      ['--import', REGISTER],
      [
        [
          'chat gpt-fake',
          { 'aigov.purpose.id': 'loan-precheck', 'aigov.invocation.completion': 'complete' },
        ],
        [
          'predict loan-scorer',
          { 'aigov.subject.ref': 's-81c0d4', 'aigov.model.version': '3.2.0' },
        ],
        ['decision', { 'aigov.decision.id': 'd-4711', 'aigov.decision.outcome': 'granted' }],
        ['oversight', { 'aigov.oversight.act': 'override', 'aigov.decision.id': 'd-4711' }],
      ],
    ],
    [
      1,
      // A client that the hooks watch already is watched once.
      ['--import', REGISTER],
      [['chat gpt-fake', { 'aigov.invocation.completion': 'complete' }]],
    ],
  ] as const)('number %i leaves the spans it tells of', async (number, args, expected) => {
    const source = new URL('../../instrumentation/index.ts', import.meta.url).href;
    const program = programs[number]?.replaceAll('sealspan/instrumentation', source) ?? '';
    const home = makeService('none', { 'main.mjs': program });
    homes.push(home);
    const ended = await run(home, [...args, 'main.mjs'], {
      SEALSPAN_DIR: 'log',
      OPENAI_BASE_URL: provider.url,
      OPENAI_API_KEY: 'none',
    });
    expect(ended.code).toBe(0);
    const log = (await readLogs(join(home, 'log'))).get('0');
    expect(log?.spans.map(({ name }) => name)).toEqual(expected.map(([name]) => name));
    for (const [at, [, attributes]] of expected.entries()) {
      expect(log?.spans[at]?.attributes).toMatchObject(attributes);
      expect(log?.spans[at]?.attributes).not.toHaveProperty('aigov.instrumentation.problems');
    }
  });

  it('is one of these', () => {
    expect(programs).toHaveLength(2);
  });
});

describe('a table of the page', () => {
  it('has every state in which a call can end, and every detail', () => {
    const rows = cells('`aigov.invocation.completion`');
    const states = new Set<string | undefined>([
      ...rows.map(([state]) => state),
      AIGOV_INVOCATION_COMPLETION_VALUE_INTERRUPTED,
    ]);
    expect([...states].sort()).toEqual([...AIGOV_INVOCATION_COMPLETION_VALUES].sort());
    const details = new Set(rows.map(([, detail]) => detail).filter((detail) => detail !== ''));
    expect([...details].sort()).toEqual([...AIGOV_INVOCATION_DETAIL_VALUES].sort());
  });

  it('has every content policy', () => {
    expect(
      cells('`content`')
        .map(([policy]) => policy)
        .sort(),
    ).toEqual([...AIGOV_CONTENT_POLICY_VALUES].sort());
  });

  it('names files that are there', () => {
    const named = cells('File').flatMap(([files = '']) => files.split(/[,\s…]+/).filter(Boolean));
    expect(named.filter((name) => !existsSync(join(folder, name)))).toEqual([]);
    expect(named.length).toBeLessThanOrEqual(readdirSync(folder).length);
  });
});
