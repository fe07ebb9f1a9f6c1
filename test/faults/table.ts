// SPDX-License-Identifier: Apache-2.0
/**
 * What the runs of `npm run faults` came to, as the page has it: each part is written by its own run, and the table of the
 * matrix is read back by a test. A cell without a number was not run.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { FAULTS, type FaultName } from './faulty-node.ts';
import { canFail, type Matrix } from './matrix.ts';

const PAGE = join(import.meta.dirname, 'README.md');
export const PARTS = ['matrix', 'power', 'kills'] as const;
export type Part = (typeof PARTS)[number];
const beginOf = (part: Part): string => `<!-- ${part}, written by npm run faults -- --write -->`;
const endOf = (part: Part): string => `<!-- end of ${part} -->`;
const NOT_POSSIBLE = '–';

/** What a part came to. */
export interface Totals {
  readonly runs: number;
  readonly acknowledged: number;
  readonly lost: number;
}

/** Which run it was. */
export interface Provenance {
  readonly seed: number;
  readonly commit: string;
}

function cellOf(matrix: Matrix, operation: string, fault: FaultName): string {
  if (!canFail(operation, fault)) return NOT_POSSIBLE;
  const runs = matrix.results.filter(
    ({ plan, isReached }) => isReached && plan.operation === operation && plan.fault === fault,
  );
  return runs.some(({ problems }) => problems.length > 0) ? 'FAILED' : String(runs.length);
}

function rowOf(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

export function tableOf(matrix: Matrix): string {
  const rows = matrix.operations.map((operation) => {
    const [component = '', call = ''] = operation.split(': ');
    return rowOf([component, call, ...FAULTS.map((fault) => cellOf(matrix, operation, fault))]);
  });
  return [
    rowOf(['part', 'operation', ...FAULTS]),
    rowOf(['---', '---', ...FAULTS.map(() => '--:')]),
    ...rows,
  ].join('\n');
}

/** Replaces on the page what it says of one part: `what` was run in words, what came of it, and `more` below. */
export function writePart(
  part: Part,
  what: string,
  { runs, acknowledged, lost }: Totals,
  { seed, commit }: Provenance,
  more = '',
): void {
  const machine = `${cpus().length} cores, ${process.platform} ${process.arch}, Node ${process.version}`;
  const text =
    `${runs} ${what}. Spans acknowledged: ${acknowledged}. Lost: ${lost}.\n` +
    `Seed ${seed}, commit ${commit}, ${machine}.\n`;
  const page = readFileSync(PAGE, 'utf8');
  const before = page.slice(0, page.indexOf(beginOf(part)) + beginOf(part).length);
  const after = page.slice(page.indexOf(endOf(part)));
  writeFileSync(PAGE, `${before}\n${text}${more === '' ? '' : `\n${more}\n`}${after}`);
}

/** The table as it stands on the page: by operation, what each fault's cell says. */
export function readTable(): ReadonlyMap<string, Readonly<Record<string, string>>> {
  const page = readFileSync(PAGE, 'utf8');
  const lines = page
    .slice(page.indexOf(beginOf('matrix')), page.indexOf(endOf('matrix')))
    .split('\n');
  const cells = lines
    .filter((line) => line.startsWith('| '))
    .map((line) => line.slice(2, -2).split(' | '));
  const [head = [], , ...rows] = cells;
  return new Map(
    rows.map(([component, call, ...values]) => [
      `${component}: ${call}`,
      Object.fromEntries(values.map((value, at) => [head[at + 2] ?? '', value])),
    ]),
  );
}
