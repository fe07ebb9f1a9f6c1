// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan verify`: one verdict over one log or several, with the assurance behind it. Trusts the trust file alone;
 * without one it says `self-attested`, since a key found beside a log is the log's own word.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { decodeBase64 } from '../log/bytes.ts';
import { LogError } from '../log/errors.ts';
import { parseCheckpoint, parseVerifier, type Verifier } from '../log/note.ts';
import type { Report, Verdict } from '../log/report.ts';
import { type VerifiedRecord, verifyLog } from '../log/verify.ts';
import { ConfigError } from '../node/config.ts';
import { nodePrimitives, sha256 } from '../node/keys.ts';
import { takeLock } from '../node/lock.ts';
import { firstOrigin, readCheckpointFiles, readSegmentFiles } from '../node/log-reader.ts';
import type { Terminal } from './terminal.ts';
import { openTrustFile, type TrustedLog, type TrustFile } from './trust.ts';

export const EXIT_OF: Readonly<Record<Verdict, number>> = {
  valid: 0,
  invalid: 1,
  incomplete: 3,
  unverifiable: 4,
};

/** Worst first, as several verdicts are joined. */
const WORST: readonly Verdict[] = ['invalid', 'unverifiable', 'incomplete', 'valid'];

/** Where a log was found. */
export interface LogPlace {
  readonly dir: string;
}

/** Log directories in or below a directory: itself, one for each instance, or the origins of an archive. */
export function findLogs(dir: string): LogPlace[] {
  if (!existsSync(dir) || !statSync(dir).isDirectory())
    throw new ConfigError(`${dir} is no directory`);
  const found: LogPlace[] = [];
  const look = (path: string, depth: number): void => {
    if (existsSync(join(path, 'segments')) || existsSync(join(path, 'signing'))) {
      found.push({ dir: path });
      return;
    }
    if (depth === DEPTH_MAX) return;
    for (const name of readdirSync(path).sort()) {
      // The archive beside the logs holds the same logs once more; it is verified by its own name.
      if (depth === 0 && name === 'archive') continue;
      // What `sealspan recover` put aside, or has not finished: its log was refused, and goes on nowhere.
      if (depth === 0 && /^(?:abandoned-|\.)/.test(name)) continue;
      if (statSync(join(path, name)).isDirectory()) look(join(path, name), depth + 1);
    }
  };
  look(dir, 0);
  return found;
}

const DEPTH_MAX = 6;

/** True where a writer holds the log now. A copy has no lock, so nothing excuses what it lacks. */
function isLive(dir: string): boolean {
  if (!existsSync(join(dir, 'lock'))) return false;
  try {
    const lock = takeLock(dir);
    lock?.release();
    return lock === undefined;
  } catch {
    // Not ours to lock: a copy on a read-only disk.
    return false;
  }
}

function keyBeside(dir: string): Verifier | undefined {
  const path = join(dir, 'verifier');
  if (!existsSync(path)) return undefined;
  try {
    return parseVerifier(sha256, readFileSync(path, 'utf8').trim());
  } catch (error) {
    if (error instanceof LogError) return undefined;
    throw error;
  }
}

/** Name that a log gives itself, to find it in the trust file by; what it is worth, its signature tells. */
function originBeside(checkpoints: readonly { readonly bytes: Uint8Array }[]): string | undefined {
  for (const { bytes } of checkpoints) {
    try {
      return parseCheckpoint(bytes).origin;
    } catch {
      // The verifier reports it.
    }
  }
  return undefined;
}

/** Verifies the log in a directory; `onRecord` sees what passed its own checks. */
export async function verifyDirectory(
  dir: string,
  trust: TrustFile | undefined,
  onRecord?: (record: VerifiedRecord) => void,
): Promise<Report> {
  const live = isLive(dir);
  // The checkpoint first: what a running writer adds meanwhile is then behind it, never in front.
  const checkpoints = await readCheckpointFiles(dir);
  let known: TrustedLog | undefined;
  let verifier: Verifier | undefined;
  if (trust === undefined) {
    verifier = keyBeside(dir);
  } else {
    // A torn checkpoint must not hide which log is expected here, and which head.
    const origin = originBeside(checkpoints) ?? (await firstOrigin(dir));
    known = trust.logs.find((log) => log.origin === origin);
    verifier = known?.verifier;
  }
  return verifyLog(
    {
      segments: readSegmentFiles(dir),
      checkpoints,
      trust: {
        origin: known?.origin,
        verifiers: verifier === undefined ? [] : [verifier],
        selfAttested: trust === undefined,
        minimumHead: known?.head,
      },
      live,
      nowMs: Date.now(),
      ...(onRecord === undefined ? {} : { onRecord }),
    },
    nodePrimitives,
  );
}

export interface VerifyOptions {
  readonly dir: string;
  readonly trustPath: string | undefined;
  readonly isJson: boolean;
}

/** Runs the command; returns the exit status. */
export async function runVerify(options: VerifyOptions, terminal: Terminal): Promise<number> {
  const trust = options.trustPath === undefined ? undefined : openTrustFile(options.trustPath);
  const places = findLogs(options.dir);
  const reports: { dir: string; report: Report }[] = [];
  for (const { dir } of places) {
    let records = 0;
    const report = await verifyDirectory(dir, trust, () => {
      if (++records % 100 === 0) terminal.progress(`${dir}: ${records} records`);
    });
    reports.push({ dir, report });
    // An incomplete log is intact: its end may be held against the next one as well (FORMAT.md, "Trust file").
    const isIntact = report.verdict === 'valid' || report.verdict === 'incomplete';
    if (isIntact && report.size > 0) {
      trust?.remember(report.log, { size: report.size, root: decodeBase64(report.root) });
    }
  }
  const found = new Set(reports.map(({ report }) => report.log));
  const missing =
    trust?.logs.filter((log) => !found.has(log.origin)).map((log) => log.origin) ?? [];
  const foundVerdict = joinVerdicts(reports.map(({ report }) => report.verdict));
  const verdict = missing.length > 0 ? joinVerdicts([foundVerdict, 'incomplete']) : foundVerdict;
  const population =
    trust === undefined
      ? 'not checked: no list of expected logs was given'
      : `${trust.logs.length - missing.length} of ${trust.logs.length} logs expected were found`;
  const whole = reports.map(({ dir, report }) => ({
    dir,
    ...report,
    assurance: { ...report.assurance, population },
  }));
  if (options.isJson) {
    const [only] = whole;
    const object =
      whole.length === 1 && only !== undefined ? { ...only, verdict } : { logs: whole };
    terminal.data(JSON.stringify({ ...object, verdict, missing }, undefined, 2));
  } else {
    for (const report of whole) printReport(report, terminal);
    for (const origin of missing)
      terminal.data(`missing    ${origin}: expected by the trust file, not found`);
    if (whole.length !== 1)
      terminal.data(`verdict    ${verdictText(verdict, terminal)} (${whole.length} logs)`);
  }
  return EXIT_OF[verdict];
}

/** The worst of the verdicts. Without any, nothing was checked, and that is never valid (invariant 9). */
export function joinVerdicts(verdicts: readonly Verdict[]): Verdict {
  return WORST.find((verdict) => verdicts.includes(verdict)) ?? 'unverifiable';
}

export function verdictText(verdict: Verdict, terminal: Terminal): string {
  const text = verdict.toUpperCase();
  return terminal.bold(verdict === 'valid' ? terminal.good(text) : terminal.bad(text));
}

interface PrintedFinding {
  readonly code: string;
  readonly where: string;
  readonly message: string;
}

export function printReport(
  report: Omit<Report, 'findings'> & {
    readonly dir: string;
    readonly findings: readonly PrintedFinding[];
  },
  terminal: Terminal,
): void {
  const { assurance } = report;
  const line = (label: string, text: string) => terminal.data(`${label.padEnd(10)} ${text}`);
  line('log', `${report.log || '(unnamed)'} in ${report.dir}`);
  line('verdict', verdictText(report.verdict, terminal));
  line('records', `${report.records} read, ${report.size} under a signature`);
  line('entries', `${report.entries} sealed, ${report.declaredLost} declared lost`);
  line(
    'range',
    `${assurance.claimedFrom ?? '-'} to ${assurance.claimedTo ?? '-'}, as the writer claims`,
  );
  const beside = assurance.selfAttested ? ' (self-attested: the key was found beside the log)' : '';
  line('signer', `${assurance.signer}${beside}`);
  line('tail', assurance.tail);
  line('logs', assurance.population);
  line('fork', assurance.fork);
  line('witnesses', assurance.witnesses);
  // A directory has no locks to speak of.
  if (assurance.archiveLock !== 'not checked') line('archive', assurance.archiveLock);
  for (const { code, where, message } of report.findings)
    line('finding', `${code} at ${where}: ${message}`);
  if (report.findingsOmitted > 0) line('finding', `and ${report.findingsOmitted} more`);
}
