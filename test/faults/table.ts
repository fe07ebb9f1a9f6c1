// SPDX-License-Identifier: Apache-2.0
/**
 * The fault matrix as the table in README.md: written by the run, read back by a test. Says what was run and what came
 * of it; a cell without a number was not run.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { FAULTS, type FaultName } from './faulty-node.ts';
import { canFail, type Matrix } from './matrix.ts';

const PAGE = join(import.meta.dirname, 'README.md');
const BEGIN = '<!-- written by npm run faults -- --write -->';
const END = '<!-- end -->';
const NOT_POSSIBLE = '–';

/** What one invocation of `npm run faults` came to. */
export interface Totals {
  readonly seed: number;
  readonly matrixRuns: number;
  readonly powerCuts: number;
  readonly kills: number;
  readonly acknowledged: number;
  readonly lost: number;
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

function textOf(matrix: Matrix, totals: Totals, commit: string): string {
  const machine = `${cpus().length} cores, ${process.platform} ${process.arch}, Node ${process.version}`;
  const rows = matrix.operations.map((operation) => {
    const [component = '', call = ''] = operation.split(': ');
    return rowOf([component, call, ...FAULTS.map((fault) => cellOf(matrix, operation, fault))]);
  });
  return [
    `${matrix.operations.length} operations × ${FAULTS.length} faults: ${totals.matrixRuns} runs. Power cuts: ${totals.powerCuts}. ` +
      `Random kills: ${totals.kills}.`,
    `Spans acknowledged: ${totals.acknowledged}. Lost: ${totals.lost}.`,
    `Seed ${totals.seed}, commit ${commit}, ${machine}.`,
    '',
    rowOf(['part', 'operation', ...FAULTS]),
    rowOf(['---', '---', ...FAULTS.map(() => '--:')]),
    ...rows,
  ].join('\n');
}

/** Replaces the table on the page. */
export function writeTable(matrix: Matrix, totals: Totals, commit: string): void {
  const page = readFileSync(PAGE, 'utf8');
  const before = page.slice(0, page.indexOf(BEGIN) + BEGIN.length);
  const after = page.slice(page.indexOf(END));
  writeFileSync(PAGE, `${before}\n${textOf(matrix, totals, commit)}\n${after}`);
}

/** The table as it stands on the page: by operation, what each fault's cell says. */
export function readTable(): ReadonlyMap<string, Readonly<Record<string, string>>> {
  const page = readFileSync(PAGE, 'utf8');
  const lines = page.slice(page.indexOf(BEGIN), page.indexOf(END)).split('\n');
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
