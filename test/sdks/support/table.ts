// SPDX-License-Identifier: Apache-2.0
/**
 * The table of the docs that says what was shown of each target: made of what the tests found, and read back to be compared with
 * what they find. Says nothing of a case that was not run.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CASES, type CaseName } from './case.ts';

/** Terminal state, detail and error type, as far as they are there: `complete`, `error connection ECONNREFUSED`. */
export type End = string;

/** How the calls of a case end, in the order they end in; or why an SDK has no such case. */
export type Ends = End | readonly End[] | { readonly absent: string };

/** What one run of an application found: how the calls of each case ended, and whether the application saw what it sees without us. */
export interface Row {
  readonly version: string;
  readonly format: string;
  readonly loader: string;
  readonly cases: Readonly<
    Record<string, { readonly ends: readonly End[]; readonly same: boolean }>
  >;
}

export interface Results {
  /** The newest first, with how the calls of each case have to end. */
  readonly versions: readonly {
    readonly version: string;
    readonly formats: readonly string[];
    readonly ends: Readonly<Record<string, Ends>>;
  }[];
  readonly runs: readonly Row[];
}

/** The cells of a column by row: a mark and what is to be said of it, if anything. */
export type Cells = Readonly<Record<string, string>>;

/** Where the table is. */
export const DOCUMENT: string = join(import.meta.dirname, '../../../instrumentation/MATRIX.md');
const BEGIN = '<!-- results -->';
const END = '<!-- /results -->';

/** The columns, in tables that fit a page. */
export const TABLES: readonly (readonly string[])[] = [
  [
    'openai chat',
    'openai responses',
    'openai completions',
    '@anthropic-ai/sdk',
    'groq-sdk',
    '@mistralai/mistralai',
    'cohere-ai',
    'ollama',
    '@google/genai',
    '@aws-sdk/client-bedrock-runtime',
  ],
  [
    'ai',
    '@langchain/core',
    '@openai/agents-core',
    '@modelcontextprotocol/sdk',
    '@modelcontextprotocol/client',
    'onnxruntime-node',
    '@huggingface/transformers',
  ],
];
export const COLUMNS: readonly string[] = TABLES.flat();

/** How the one call of a case ends unless a note says otherwise. */
const USUAL: Readonly<Record<CaseName, End>> = {
  plain: 'complete',
  'tool call': 'complete',
  stream: 'complete',
  'stream of a tool call': 'complete',
  'stream broken off': 'aborted break',
  'stream with a throwing reader': 'aborted break',
  'stream ends early': 'error truncated truncated',
  'stream whose connection dies': 'error connection UND_ERR_SOCKET',
  'stream that reports an error': 'error overloaded',
  'stream never read': 'abandoned unread',
  'stream half read': 'abandoned',
  'stream aborted': 'aborted signal',
  aborted: 'aborted signal',
  timeout: 'error timeout timeout',
  'no connection': 'error connection ECONNREFUSED',
  '400': 'error 400',
  '500 after retries': 'error 500',
  'good after retries': 'complete',
  'never awaited': 'complete',
  asResponse: 'complete raw_response',
  withResponse: 'complete',
  parse: 'complete',
  tee: 'complete',
  toReadableStream: 'complete',
};

/** The column of a target whose cases have names that begin with `prefix`. */
export function columnCells({ versions, runs }: Results, prefix: string): Cells {
  return Object.fromEntries(
    CASES.map((row) => {
      const name = `${prefix}${row}`;
      const isAsExpected = runs.every((run) => {
        const ends = versions.find(({ version }) => version === run.version)?.ends[name];
        const found = run.cases[name];
        if (isAbsence(ends)) return found === undefined;
        return found?.same === true && textOf(found.ends) === textOf(ends);
      });
      if (!isAsExpected || runs.length === 0) return [row, '✗'];
      const [first = '', ...older] = versions.map(({ ends }) => textOf(ends[name]));
      const notes = older.flatMap((told, index) =>
        told === first ? [] : [`${versions[index + 1]?.version}: ${told}`],
      );
      const isAbsent = isAbsence(versions[0]?.ends[name]);
      return [
        row,
        [isAbsent ? '–' : '✓', ...(first === USUAL[row] ? [] : [first]), ...notes].join('\n'),
      ];
    }),
  );
}

const isAbsence = (ends: Ends | undefined): ends is { readonly absent: string } =>
  typeof ends === 'object' && 'absent' in ends;

function textOf(ends: Ends = []): string {
  return isAbsence(ends) ? ends.absent : [ends].flat().join('; ');
}

/** One column as the document has it. */
export function readColumn(title: string): Cells {
  const document = shownIn(readFileSync(DOCUMENT, 'utf8'));
  const notes = new Map(
    [...document.matchAll(/^(\d+)\. (.*)$/gm)].map(([, number = '', note = '']) => [number, note]),
  );
  for (const block of document.split('\n\n')) {
    const [header = [], , ...rows] = block
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .map((line) =>
        line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      );
    const at = header.indexOf(`\`${title}\``);
    if (at === -1) continue;
    return Object.fromEntries(
      rows.map((cells) => {
        const [mark = '', ...numbers] = (cells[at] ?? '').split(/<sup>|, |<\/sup>/).filter(Boolean);
        const told = numbers.map((number) => notes.get(number) ?? `no note ${number}`);
        return [cells[0] ?? '', [mark, ...told].join('\n')];
      }),
    );
  }
  return {};
}

/** The tables, their notes and what was run, of the results of all columns. */
export function render(columns: ReadonlyMap<string, { prefix: string } & Results>): string {
  const notes: string[] = [];
  const numberOf = (note: string): number => {
    if (!notes.includes(note)) notes.push(note);
    return notes.indexOf(note) + 1;
  };
  const cells = new Map(
    [...columns].map(([title, results]) => [title, columnCells(results, results.prefix)]),
  );
  const line = (...of: readonly string[]): string => `| ${of.join(' | ')} |`;
  const tables = TABLES.map((titles) => [
    line('', 'ends as', ...titles.map((title) => `\`${title}\``)),
    line('---', '---', ...titles.map(() => ':-:')),
    ...CASES.map((row) =>
      line(
        row,
        USUAL[row],
        ...titles.map((title) => {
          const [mark = '✗', ...told] = (cells.get(title)?.[row] ?? '✗').split('\n');
          return told.length === 0 ? mark : `${mark}<sup>${told.map(numberOf).join(', ')}</sup>`;
        }),
      ),
    ),
  ]);
  const versions = [
    line('', 'versions'),
    line('---', '---'),
    ...[...columns].map(([title, { versions: all }]) =>
      line(
        `\`${title}\``,
        all.map(({ version, formats }) => `${version} (${formats.join(', ')})`).join('; '),
      ),
    ),
  ];
  return [...tables, notes.map((note, index) => `${index + 1}. ${note}`), versions]
    .map((lines) => lines.join('\n'))
    .join('\n\n');
}

/** What stands between the marks. */
export function shownIn(document: string): string {
  const shown = document.split(BEGIN)[1]?.split(END)[0];
  if (shown === undefined) throw new Error(`MATRIX.md: nothing between ${BEGIN} and ${END}`);
  return shown.trim();
}

/** The document with other results between its marks. */
export function withShown(document: string, shown: string): string {
  const [before = ''] = document.split(BEGIN);
  const after = document.split(END)[1] ?? '';
  return `${before}${BEGIN}\n\n${shown}\n\n${END}${after}`;
}
