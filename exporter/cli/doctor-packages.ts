// SPDX-License-Identifier: Apache-2.0
/**
 * Whether calls through the AI packages of an application are seen: asked of a process that loads them as the application
 * would, and read from what its log said last. Finds packages in `node_modules` only, not in a bundle.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CoverageEvent, parseControl } from '../log/control.ts';
import { splitPayload } from '../log/entries.ts';
import { readFrames } from '../log/segment.ts';
import { nodePrimitives } from '../node/system/keys.ts';

/** One thing that was looked at. */
export interface Finding {
  readonly check: string;
  /** `problem` makes the exit status 1; `skipped` was not looked at. */
  readonly status: 'ok' | 'warning' | 'problem' | 'skipped';
  readonly message: string;
  readonly fix?: string;
}

/** One package, as the probe or a log tells it. */
export interface PackageRow {
  readonly target: string;
  readonly version: string | undefined;
  readonly state: string;
  readonly detail: string | undefined;
  /** Versions that can be hooked; only the probe knows them. */
  readonly known?: string;
}

/** Variables that a process can not do without, or is faster with. */
const KEPT = ['PATH', 'HOME', 'SystemRoot', 'TMPDIR', 'TEMP', 'NODE_COMPILE_CACHE'];
const PROBE_DELAY_MS = 60_000;
const STDERR_LENGTH_MAX = 2000;

export type ProbeOutcome =
  | { readonly status: 'ok'; readonly rows: readonly PackageRow[] }
  | { readonly status: 'failed'; readonly cause: string };

/** A file of the instrumentation, which is another program to this one: it is run, and never loaded in here. */
function programOf(name: string): string {
  // Sources run as they are, the package as JavaScript.
  const isSource = import.meta.url.endsWith('.ts');
  const place = `${isSource ? '.' : './dist'}/instrumentation/${name}.${isSource ? 'ts' : 'js'}`;
  return new URL(place, import.meta.resolve('sealspan/package.json')).href;
}

/** Loads the packages installed in a folder in a process of its own, with our hooks under them. */
export async function probePackages(folder: string): Promise<ProbeOutcome> {
  const work = mkdtempSync(join(tmpdir(), 'sealspan-doctor-'));
  try {
    // Its log is thrown away, and nothing of the real configuration applies: no backend gets anything from a probe.
    const config = join(work, 'sealspan.yaml');
    writeFileSync(config, 'forwarding: off\narchive: off\n');
    const kept = KEPT.filter((name) => process.env[name] !== undefined);
    return await runProbe(folder, {
      ...Object.fromEntries(kept.map((name) => [name, process.env[name]])),
      SEALSPAN_DIR: join(work, 'log'),
      SEALSPAN_CONFIG: config,
    });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function runProbe(folder: string, env: NodeJS.ProcessEnv): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    // As a loader of its own it sees `folder` as the application does: by its working directory.
    const load = `await import(${JSON.stringify(programOf('probe'))})`;
    const args = ['--import', programOf('register'), '--input-type=module', '--eval', load];
    const child = spawn(process.execPath, args, {
      cwd: folder,
      env,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      timeout: PROBE_DELAY_MS,
      killSignal: 'SIGKILL',
    });
    let rows: readonly PackageRow[] | undefined;
    let errors = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors = `${errors}${text}`.slice(0, STDERR_LENGTH_MAX);
    });
    child.on('message', (report) => {
      rows = (report as { readonly packages: readonly RawRow[] }).packages.map(rowOf);
    });
    const fail = (cause: string): void => resolve({ status: 'failed', cause });
    child.on('error', (error) => fail(error.message));
    child.on('close', (code, signal) => {
      if (rows !== undefined) resolve({ status: 'ok', rows });
      else fail(`it ended with ${signal ?? code}: ${errors.trim() || 'no word'}`);
    });
  });
}

interface RawRow {
  readonly target: string;
  readonly version?: string;
  readonly status: string;
  readonly detail?: string;
  readonly known: string;
  readonly loadError?: string;
}

function rowOf({ target, version, status, detail, known, loadError }: RawRow): PackageRow {
  return { target, version, state: status, detail: detail ?? loadError, known };
}

/** What a log said last of the packages, within the newest run of its writer. */
export interface LastCoverage {
  /** When that was sealed. */
  readonly sealed: string;
  readonly rows: readonly PackageRow[];
}

/** Reads it without verifying the log: `verify` does that. Undefined where its newest run said nothing. */
export async function lastCoverage(dir: string): Promise<LastCoverage | undefined> {
  const names = readdirSync(join(dir, 'segments')).filter((name) => !name.startsWith('.'));
  // The newest first: a log may be larger than what anybody wants to wait for.
  for (const name of names.sort().reverse()) {
    const { last, hasBegun } = await coverageIn(readFileSync(join(dir, 'segments', name)));
    if (last !== undefined || hasBegun) return last;
  }
  return undefined;
}

/** What a segment says of the newest run in it, and whether that run began in it. */
async function coverageIn(
  bytes: Uint8Array,
): Promise<{ last: LastCoverage | undefined; hasBegun: boolean }> {
  let last: LastCoverage | undefined;
  let hasBegun = false;
  try {
    for (const { header, stored } of readFrames(bytes)) {
      if (header.kind !== 'control') continue;
      const payload = await nodePrimitives.inflate(stored, header.payloadByteLength);
      const events = splitPayload(payload, 'control').map((entry) => parseControl(entry).event);
      if (events.some(({ name }) => name === 'opened')) {
        hasBegun = true;
        last = undefined;
      }
      const told = events.filter((event): event is CoverageEvent => event.name === 'coverage');
      if (told.length > 0) last = { sealed: header.sealed, rows: told.map(toldRow) };
    }
  } catch {
    // A record that is being written, or one that is damaged: what stands before it is there.
  }
  return { last, hasBegun };
}

function toldRow({ target, version, state, detail }: CoverageEvent): PackageRow {
  return { target, version, state, detail };
}

const OTHER_WAYS =
  'until then use `instrument(client)` where there is one, or an OpenTelemetry instrumentation of the package: its spans are sealed, too';

/** What is wrong with a package in a state, and what to do about it. */
const BAD_STATES: Readonly<Record<string, (row: PackageRow) => readonly [string, string]>> = {
  out_of_range: ({ detail }) => [
    `not hooked, since versions ${detail ?? 'of another range'} are known`,
    `install a version of that range, or a newer sealspan; ${OTHER_WAYS}`,
  ],
  failed: ({ detail }) => [
    `not hooked, since its shape is not known${detail === undefined ? '' : ` (${detail})`}`,
    `install a newer sealspan, or another version of the package; ${OTHER_WAYS}`,
  ],
  loaded_before_us: () => [
    'not hooked, since it was loaded before sealspan',
    'put `--import sealspan/register` in front of every other --import and --require',
  ],
};

function nameOf({ target, version }: PackageRow): string {
  return version === undefined ? target : `${target} ${version}`;
}

/** The findings of a probe in a folder. */
export function judgeProbe(folder: string, outcome: ProbeOutcome): Finding[] {
  const check = 'package';
  if (outcome.status === 'failed') {
    return [
      {
        check,
        status: 'problem',
        message: `the packages in ${folder} could not be tried: ${outcome.cause}`,
        fix: 'start the application with `node --import sealspan/register` and see what it says',
      },
    ];
  }
  const installed = outcome.rows.filter(({ state }) => state !== 'not_installed');
  if (installed.length === 0) {
    const names = outcome.rows.map(({ target, known }) => `${target} ${known}`).join(', ');
    return [
      {
        check,
        status: 'warning',
        message: `no AI package that can be hooked is installed in ${folder}`,
        fix: `run this in the application's folder; known are ${names}. Other models: \`governedModel\``,
      },
    ];
  }
  return installed.map((row) => {
    if (row.state === 'active') {
      return { check, status: 'ok', message: `${nameOf(row)} is hooked` };
    }
    const [message, fix] = BAD_STATES[row.state]?.(row) ?? [
      `not hooked: it could not be loaded${row.detail === undefined ? '' : ` (${row.detail})`}`,
      'install it again (npm ci), or install a newer sealspan',
    ];
    return { check, status: 'problem', message: `${nameOf(row)} is ${message}`, fix };
  });
}

/** The findings of what a log said last. */
export function judgeLast(dir: string, { sealed, rows }: LastCoverage): Finding[] {
  const hooked = rows.filter(({ state }) => state === 'active').map(nameOf);
  const findings: Finding[] = rows.flatMap((row) => {
    const [message, fix] = BAD_STATES[row.state]?.(row) ?? [];
    if (message === undefined || fix === undefined) {
      if (row.state !== 'unhooked') return [];
      return {
        check: 'coverage',
        status: 'warning',
        message: `${dir}: ${nameOf(row)} was loaded in parts that are not hooked, as of ${sealed}`,
        fix: 'nothing, if the application makes no calls through it; otherwise install a newer sealspan',
      };
    }
    const text = `${dir}: ${nameOf(row)} was ${message}, as of ${sealed}`;
    return { check: 'coverage', status: 'problem', message: text, fix };
  });
  const message = `${dir}: hooked were ${hooked.join(', ') || 'none'}, as of ${sealed}`;
  return [{ check: 'coverage', status: 'ok', message }, ...findings];
}
