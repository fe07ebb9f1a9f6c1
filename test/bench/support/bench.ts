// SPDX-License-Identifier: Apache-2.0
/**
 * What a benchmark is, and how its numbers are told: medians of interleaved runs with their spread, beside the floor and
 * the peer of the same run. Knows nothing of what is measured; a number is of this machine, disk and moment.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

export const ROOT: string = join(import.meta.dirname, '../../..');
const RESULTS = join(import.meta.dirname, '../results');

/** What a row is to reach. */
export type Aim = { readonly most: number } | { readonly least: number };

/** One number, with what it stands against. */
export interface Row {
  readonly id: string;
  readonly what: string;
  readonly unit: string;
  /** Median of the rounds. */
  readonly value: number;
  readonly aim: Aim | undefined;
  /** The same work without what is measured, and done by others; in `unit`s of their own where `what` says so. */
  readonly floor: number | undefined;
  readonly peer: number | undefined;
  /** Lowest and highest of the rounds. */
  readonly spread: { readonly low: number; readonly high: number };
  readonly note: string | undefined;
}

export interface RowInput {
  readonly id: string;
  readonly what: string;
  readonly unit: string;
  /** One value of each round. */
  readonly values: readonly number[];
  readonly aim?: Aim | undefined;
  readonly floor?: readonly number[] | undefined;
  readonly peer?: readonly number[] | undefined;
  readonly note?: string | undefined;
}

/** How a cost grows with a size: 0 is flat, 1 in proportion. */
export interface Growth {
  readonly id: string;
  readonly what: string;
  readonly exponent: number;
  readonly most: number;
}

export interface Context {
  /** A new directory on the disk that is measured. */
  readonly dir: (name: string) => string;
  readonly rounds: number;
  /** What is going on, for the person who waits. */
  readonly say: (text: string) => void;
}

export interface Bench {
  readonly id: string;
  readonly question: string;
  readonly run: (context: Context) => Promise<readonly Row[]>;
  /** For CI: growth alone, never a time. */
  readonly short?: (context: Context) => Promise<readonly Growth[]>;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length / 2;
  return sorted.length % 2 === 1
    ? sorted[Math.floor(half)]!
    : (sorted[half - 1]! + sorted[half]!) / 2;
}

export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
}

/** Of values over sizes, the exponent of the power that joins the first to the last. */
export function exponentOf(points: readonly (readonly [size: number, value: number])[]): number {
  const [firstSize, first] = points[0]!;
  const [lastSize, last] = points.at(-1)!;
  return Math.log(last / first) / Math.log(lastSize / firstSize);
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

export function row(input: RowInput): Row {
  const { id, what, unit, values, aim, floor, peer, note } = input;
  return {
    id,
    what,
    unit,
    value: rounded(median(values)),
    aim,
    floor: floor && rounded(median(floor)),
    peer: peer && rounded(median(peer)),
    spread: { low: rounded(Math.min(...values)), high: rounded(Math.max(...values)) },
    note,
  };
}

/**
 * Runs every variant once in each round, in turn, every other round backwards: what the machine does to one it does to
 * its neighbours, and no variant always comes first.
 */
export async function interleaved<Name extends string, Result>(
  rounds: number,
  variants: Readonly<Record<Name, (round: number) => Promise<Result>>>,
): Promise<Record<Name, Result[]>> {
  const names = Object.keys(variants) as Name[];
  const results = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
    Name,
    Result[]
  >;
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      results[name].push(await variants[name](round));
    }
  }
  return results;
}

/** `combine` of the values of each round. */
export function perRound<Value>(
  lists: readonly (readonly Value[])[],
  combine: (...values: Value[]) => number,
): number[] {
  return lists[0]!.map((_value, round) => combine(...lists.map((list) => list[round]!)));
}

function isMet({ value, aim }: Row): boolean | undefined {
  if (aim === undefined) return undefined;
  return 'most' in aim ? value <= aim.most : value >= aim.least;
}

function aimText(aim: Aim | undefined): string {
  if (aim === undefined) return '';
  return 'most' in aim ? `<= ${aim.most}` : `>= ${aim.least}`;
}

function git(...args: readonly string[]): string {
  try {
    return execFileSync('git', args, {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return '';
  }
}

function commitOf(): Pick<Results, 'commit' | 'committed'> {
  const isClean = git('status', '--porcelain', '--', 'exporter', 'semconv', 'test/bench') === '';
  return {
    commit: `${git('rev-parse', '--short', 'HEAD') || 'unknown'}${isClean ? '' : ' and changes'}`,
    committed: git('show', '-s', '--format=%cI', 'HEAD'),
  };
}

function machine(): string {
  const [cpu] = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${cpu?.model.trim()} x ${cpus().length}, ${memory} GiB, ${process.platform} ${process.arch}`;
}

const load = (): string =>
  loadavg()
    .map((value) => value.toFixed(1))
    .join(' ');

interface Results {
  readonly machine: string;
  readonly node: string;
  readonly commit: string;
  /** When the commit was made, so that results stand in its order. */
  readonly committed: string;
  /** Load averages before and after: others that were at work on the machine. */
  readonly load: string;
  readonly rows: readonly (Omit<Row, 'aim'> & { aim: string; isMet: boolean | undefined })[];
}

function print({ rows, ...run }: Results): void {
  console.log(`machine ${run.machine}\nnode    ${run.node}\ncommit  ${run.commit}`);
  console.log(`load    ${run.load}\n`);
  for (const found of rows) {
    const { low, high } = found.spread;
    const parts = [
      `${found.value} ${found.unit} (${low} to ${high})`,
      found.aim === '' ? '' : `aim ${found.aim}: ${found.isMet ? 'met' : 'MISSED'}`,
      found.floor === undefined ? '' : `floor ${found.floor}`,
      found.peer === undefined ? '' : `peer ${found.peer}`,
    ];
    console.log(`${found.id.padEnd(22)} ${parts.filter((part) => part !== '').join('   ')}`);
    console.log(
      `${' '.repeat(23)}${found.what}${found.note === undefined ? '' : `. ${found.note}`}`,
    );
  }
}

/** One file per commit, and all of them as a script, since a page that is opened from a disk can not fetch. */
function write(results: Results): void {
  const name = results.commit.replace(/ .*/, '');
  writeFileSync(join(RESULTS, `${name}.json`), `${JSON.stringify(results, undefined, 2)}\n`);
  const all = readdirSync(RESULTS)
    .filter((file) => file.endsWith('.json'))
    .map((file) => JSON.parse(readFileSync(join(RESULTS, file), 'utf8')) as Results)
    .sort((a, b) => a.committed.localeCompare(b.committed));
  // In a string: valid as a script whatever the text holds, and the same for every formatter.
  const text = JSON.stringify(JSON.stringify(all)).replaceAll('<', '\\u003c');
  const licence = '// SPDX-License-Identifier: Apache-2.0\n';
  writeFileSync(join(RESULTS, 'results.js'), `${licence}globalThis.results = ${text};\n`);
}

const USAGE = `npm run bench -- [--only ID[,ID]] [--rounds N] [--dir DIR] [--json] [--write] [--short]`;

/** Runs benchmarks as the command line asks. */
export async function runBenches(benches: readonly Bench[]): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      dir: { type: 'string' },
      json: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      short: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(`${USAGE}\n`);
    for (const { id, question } of benches) console.log(`${id}  ${question}`);
    return;
  }
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new TypeError(`--rounds: ${values.rounds}`);
  const only = values.only?.toUpperCase().split(',');
  const chosen = benches.filter(({ id }) => only?.includes(id) ?? true);
  if (chosen.length === 0) throw new TypeError(`--only: no benchmark ${values.only}`);

  // Not the folder for temporary files: that is memory on many machines, where a sync costs nothing.
  const parent = values.dir ?? join(ROOT, 'node_modules');
  mkdirSync(parent, { recursive: true });
  const dir = mkdtempSync(join(parent, '.sealspan-bench-'));
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      console.error(`ended by ${signal}`);
      process.exit(1);
    });
  }
  let count = 0;
  const context: Context = {
    dir: (name) => {
      const path = join(dir, `${count++}-${name}`);
      mkdirSync(path);
      return path;
    },
    rounds,
    say: (text) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`),
  };

  if (values.short) {
    let failed = 0;
    for (const bench of chosen) {
      for (const { id, what, exponent, most } of (await bench.short?.(context)) ?? []) {
        const isGood = exponent <= most;
        if (!isGood) failed++;
        console.log(
          `${isGood ? 'ok  ' : 'FAIL'} ${id} grows with exponent ${exponent.toFixed(2)} (at most ${most}): ${what}`,
        );
      }
    }
    if (failed > 0) process.exitCode = 1;
    return;
  }

  const loadBefore = load();
  // Of the sources as they are now, which is what is measured: hours later there may be others.
  const commit = commitOf();
  const rows: Row[] = [];
  for (const bench of chosen) {
    context.say(`${bench.id}: ${bench.question}`);
    try {
      const found = await bench.run(context);
      rows.push(...found);
      for (const { id, value, unit, spread } of found) {
        context.say(`  ${id} ${value} ${unit} (${spread.low} to ${spread.high})`);
      }
    } catch (error) {
      // The others have answers all the same.
      context.say(`${bench.id} FAILED: ${error instanceof Error ? error.stack : String(error)}`);
      process.exitCode = 1;
    }
  }
  const results: Results = {
    machine: machine(),
    node: process.version,
    ...commit,
    load: `${loadBefore} before, ${load()} after`,
    rows: rows.map((found) => ({ ...found, aim: aimText(found.aim), isMet: isMet(found) })),
  };
  if (values.json) console.log(JSON.stringify(results));
  else print(results);
  if (values.write) write(results);
  // What a failed benchmark left running must not keep this alive.
  process.exit();
}
