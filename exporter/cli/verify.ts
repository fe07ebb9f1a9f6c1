// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan verify`: one verdict over one log or several, with the assurance behind it. Trusts the trust file alone;
 * without one it says `self-attested`, since a key found beside a log is the log's own word.
 */
import { lstatSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { decodeBase64, encodeHex } from '../log/bytes.ts';
import { LogError } from '../log/errors.ts';
import { type Head, parseCheckpoint, parseVerifier, type Verifier } from '../log/note.ts';
import type { VerifiedRecord } from '../log/record.ts';
import type { Report, Verdict } from '../log/report.ts';
import type { Frame } from '../log/segment.ts';
import { verifyLog, verifyLogBy } from '../log/verify.ts';
import { ConfigError } from '../node/config/config.ts';
import {
  firstOrigin,
  readCheckpointFiles,
  readNewestCheckpoint,
  readSegmentFiles,
  readTextFile,
} from '../node/storage/log-reader.ts';
import { NOTHING_PRUNED, readPruned } from '../node/storage/prune.ts';
import { causeOf } from '../node/system/cause.ts';
import { nodeFiles } from '../node/system/files.ts';
import { nodePrimitives, sha256 } from '../node/system/keys.ts';
import { takeLock } from '../node/system/lock.ts';
import { beginAhead, type Checkers, giveBack, openCheckers } from '../node/verifying/checkers.ts';
import type { TimeRange } from '../node/verifying/instances.ts';
import type { TalliedRecord } from '../node/verifying/tally.ts';
import { Completeness } from './completeness.ts';
import { EXIT_IO, EXIT_OF } from './exit.ts';
import { shown, shownJson, type Terminal } from './terminal.ts';
import { openTrustFile, type TrustFile } from './trust.ts';

/** Worst first, as several verdicts are joined. */
const WORST: readonly Verdict[] = ['invalid', 'unverifiable', 'incomplete', 'valid'];

/** Where a log was found. */
export interface LogPlace {
  readonly dir: string;
}

/**
 * Log directories in or below a directory: itself, one for each instance, or the origins of an archive.
 * @param onPassedOver hears of each directory that was not looked into, and why
 */
export function findLogs(
  dir: string,
  onPassedOver: (path: string, why: string) => void = () => {},
): LogPlace[] {
  requireDirectory(dir);
  const found: LogPlace[] = [];
  // Links may lead in circles.
  const seen = new Set<string>();
  const look = (path: string, depth: number, isArchive: boolean): void => {
    let names: string[];
    try {
      const real = realpathSync(path);
      if (seen.has(real)) return;
      seen.add(real);
      names = readdirSync(path).sort();
    } catch (error) {
      if (depth === 0) throw error;
      onPassedOver(path, causeOf(error));
      return;
    }
    const isWriters = names.includes('signing');
    if (isWriters || names.includes('segments')) {
      if (isWriters || !isArchive) found.push({ dir: path });
      return;
    }
    for (const name of names) {
      const below = join(path, name);
      // What `sealspan recover` put aside, or has not finished: its log was refused, and goes on nowhere.
      if (depth === 0 && /^(?:abandoned-|\.)/.test(name)) continue;
      if (!isDirectory(below)) continue;
      if (depth === DEPTH_MAX) {
        onPassedOver(below, `it lies more than ${DEPTH_MAX} levels below ${dir}`);
        continue;
      }
      // The archive beside the logs holds the same logs once more, and is verified by its own name. Of what is below
      // that name only a writer's own directory is no archive.
      look(below, depth + 1, isArchive || (depth === 0 && name === 'archive'));
    }
  };
  look(dir, 0, false);
  return found;
}

const DEPTH_MAX = 6;

/** @throws ConfigError where there is none, or what is there can not be looked at */
export function requireDirectory(path: string): void {
  let cause: unknown;
  try {
    if (statSync(path).isDirectory()) return;
  } catch (error) {
    cause = error;
  }
  throw new ConfigError(`${path} is no directory${cause ? `: ${causeOf(cause)}` : ''}`, { cause });
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    // A link to nothing or to itself.
    return false;
  }
}

/** True where a writer holds the log now. A copy has no lock, so nothing excuses what it lacks. */
export function isLive(dir: string): boolean {
  // A link or a FIFO of that name is nobody's lock, and must not be opened to write.
  if (lstatSync(join(dir, 'lock'), { throwIfNoEntry: false })?.isFile() !== true) return false;
  try {
    const lock = takeLock(dir);
    lock?.release();
    return lock === undefined;
  } catch {
    // Not ours to lock: a copy on a read-only disk.
    return false;
  }
}

const KEY_BYTE_LENGTH_MAX = 4096;

/** The key that a log directory says is its own; undefined where it says none. */
export function keyBeside(dir: string): Verifier | undefined {
  const text = readTextFile(join(dir, 'verifier'), KEY_BYTE_LENGTH_MAX);
  if (text === undefined) return undefined;
  try {
    return parseVerifier(sha256, text.trim());
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
  const log = await openLog(dir, trust);
  const segments = readSegmentFiles(dir, log.removed.size);
  return verifyLog(
    { ...log, segments, ...(onRecord === undefined ? {} : { onRecord }) },
    nodePrimitives,
  );
}

/** The same on the threads of `checkers`; `onRecord` sees what readers of whole logs ask of the entries. */
export async function tallyDirectory(
  dir: string,
  trust: TrustFile | undefined,
  checkers: Checkers,
  onRecord: (record: TalliedRecord) => void,
  seen: SeenHeads = new Map(),
): Promise<Report> {
  const log = await openLog(dir, trust, seen);
  const segments = giveBack(beginAhead(checkers, readSegmentFiles(dir, log.removed.size)));
  const check = (frame: Frame) => checkers.check(frame);
  try {
    const report = await verifyLogBy(check, { ...log, segments, onRecord }, nodePrimitives);
    if (isIntact(report)) seen.set(log.name, headOf(report));
    return report;
  } finally {
    checkers.forget();
  }
}

/** Heads that held in this run, by name and key of their log: of two copies of a log, one must extend the other. */
type SeenHeads = Map<string, Head>;

/** An incomplete log is intact: its end may be held against the next one as well (FORMAT.md, "Trust file"). */
function isIntact({ verdict, size }: Pick<Report, 'verdict' | 'size'>): boolean {
  return (verdict === 'valid' || verdict === 'incomplete') && size > 0;
}

function headOf({ size, root }: Pick<Report, 'size' | 'root'>): Head {
  return { size, root: decodeBase64(root) };
}

/** All that is said of a log beside its segments. */
async function openLog(dir: string, trust: TrustFile | undefined, seen?: SeenHeads) {
  const live = isLive(dir);
  // The checkpoint first: what a running writer adds meanwhile is then behind it, never in front.
  const checkpoints = await readCheckpointFiles(dir);
  // A torn checkpoint must not hide which log is expected here, and which head.
  const origin = originBeside(checkpoints) ?? (await firstOrigin(dir)) ?? '';
  const known = trust?.logs.find((log) => log.origin === origin);
  const verifier = trust === undefined ? keyBeside(dir) : known?.verifier;
  const name = `${origin} ${encodeHex(verifier?.keyId ?? new Uint8Array(0))}`;
  const earlier = seen?.get(name);
  return {
    name,
    // Damaged, it stands for nothing: what is missing is then found missing.
    removed: readPruned(nodeFiles, dir) ?? NOTHING_PRUNED,
    checkpoints,
    trust: {
      origin: known?.origin,
      verifiers: verifier === undefined ? [] : [verifier],
      selfAttested: trust === undefined,
      minimumHead: (earlier?.size ?? 0) > (known?.head?.size ?? 0) ? earlier : known?.head,
    },
    live,
    nowMs: Date.now(),
  };
}

/** A finding of the log, or of the disk that it lies on. */
export interface ShownFinding {
  readonly code: string;
  readonly where: string;
  readonly message: string;
}

export type ShownReport = Omit<Report, 'findings'> & { readonly findings: readonly ShownFinding[] };

/** What is said of a log that can not be read: nothing but why, and no word on whether it holds. */
function unreadableReport(dir: string, error: unknown, isSelfAttested: boolean): ShownReport {
  return {
    verdict: 'unverifiable',
    log: '',
    size: 0,
    root: '',
    records: 0,
    entries: 0,
    declaredLost: 0,
    findings: [{ code: 'log.unreadable', where: dir, message: causeOf(error) }],
    findingsOmitted: 0,
    assurance: {
      signer: 'none',
      selfAttested: isSelfAttested,
      tail: 'not checked: the log can not be read',
      population: '',
      fork: 'not checked: the log can not be read',
      witnesses: 'none',
      archiveLock: 'not checked',
      unsignedRecords: 0,
      claimedFrom: undefined,
      claimedTo: undefined,
    },
  };
}

/** Verifies a log; what the file system refuses is said in the report, so that other logs get theirs. */
export async function readable(
  dir: string,
  trust: TrustFile | undefined,
  verify: () => Promise<Report>,
): Promise<{ readonly report: ShownReport; readonly isRead: boolean }> {
  try {
    return { report: await verify(), isRead: true };
  } catch (error) {
    // Only what the system says of its files: anything else is a fault of ours, and ends the command.
    if (!(error instanceof Error && 'syscall' in error)) throw error;
    return { report: unreadableReport(dir, error, trust === undefined), isRead: false };
  }
}

/** Tells what was not looked into, for whoever takes the verdict for one over all. */
export function findLogsAloud(dir: string, terminal: Terminal): LogPlace[] {
  return findLogs(dir, (path, why) =>
    terminal.note(`sealspan: ${shown(path)} was not looked into: ${shown(why)}`),
  );
}

/** Where logs are expected and not even the directory is there, all of them are missing; else its name is wrong use. */
function placesIn(dir: string, trust: TrustFile | undefined, terminal: Terminal): LogPlace[] {
  if (trust === undefined || trust.logs.length === 0 || !isAbsent(dir)) {
    return findLogsAloud(dir, terminal);
  }
  terminal.note(`sealspan: ${shown(dir)} is not there`);
  return [];
}

function isAbsent(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    // It can not be told, and whoever looks into it says why.
    return false;
  }
}

/** A head to put in the trust file once the verdict is told. */
export interface HeadToRemember {
  readonly origin: string;
  readonly head: Head;
}

/**
 * Remembers the heads; a trust file that can not be written, as on a read-only file system, costs no verdict.
 * @returns the exit status: that of the verdict, but 5 where a head is not remembered and the log not invalid
 */
export function rememberAll(
  trust: TrustFile | undefined,
  heads: readonly HeadToRemember[],
  verdict: Verdict,
  terminal: Terminal,
): number {
  let failed = false;
  for (const { origin, head } of heads) {
    try {
      trust?.remember(origin, head);
    } catch (error) {
      failed = true;
      const why = shown(causeOf(error));
      terminal.note(`sealspan: the head of ${shown(origin)} is not remembered: ${why}`);
    }
  }
  return failed && verdict !== 'invalid' ? EXIT_IO : EXIT_OF[verdict];
}

export interface VerifyOptions {
  readonly dir: string;
  readonly trustPath: string | undefined;
  /** Of what was sealed when completeness is asked about; integrity is always that of all. */
  readonly range: TimeRange;
  /** Threads that records are checked on; with 1, the default, here. */
  readonly threadCount?: number;
  readonly isJson: boolean;
}

/** Runs the command; returns the exit status. */
export async function runVerify(options: VerifyOptions, terminal: Terminal): Promise<number> {
  const trust = options.trustPath === undefined ? undefined : openTrustFile(options.trustPath);
  const places = placesIn(options.dir, trust, terminal);
  const reportOf = new Map<string, ShownReport>();
  const heads: HeadToRemember[] = [];
  const seen: SeenHeads = new Map();
  const completeness = new Completeness(options.range);
  let readCount = 0;
  const checkers = openCheckers(options.threadCount ?? 1);
  try {
    for (const { dir } of shortestFirst(places)) {
      const inRange = completeness.nextLog();
      let records = 0;
      const tally = (record: TalliedRecord): void => {
        inRange.take(record);
        if (++records % 100 === 0) terminal.progress(`${shown(dir)}: ${records} records`);
      };
      const { report, isRead } = await readable(dir, trust, () =>
        tallyDirectory(dir, trust, checkers, tally, seen),
      );
      if (isRead) readCount++;
      const judged = inRange.end(report, isRead && isLive(dir), Date.now());
      reportOf.set(dir, { ...report, ...judged });
      if (isIntact(report)) heads.push({ origin: report.log, head: headOf(report) });
    }
  } finally {
    checkers.close();
  }
  const answer = completeness.answer();
  const reports = places.map(({ dir }) => ({ dir, report: reportOf.get(dir)! }));
  const found = new Set(reports.map(({ report }) => report.log));
  const missing =
    trust?.logs.filter((log) => !found.has(log.origin)).map((log) => log.origin) ?? [];
  const verdicts = [...reports.map(({ report }) => report.verdict), ...answer.verdicts];
  if (missing.length > 0) verdicts.push('incomplete');
  const verdict = joinVerdicts(verdicts);
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
    const object = whole.length === 1 && only !== undefined ? only : { logs: whole };
    terminal.data(shownJson({ ...object, verdict, missing, ...answer.json }));
  } else {
    for (const report of whole) printReport(report, terminal);
    for (const origin of missing)
      terminal.data(`missing    ${shown(origin)}: expected by the trust file, not found`);
    answer.print(terminal);
    if (whole.length !== 1 || verdict !== whole[0]?.verdict)
      terminal.data(`verdict    ${verdictText(verdict, terminal)} (${whole.length} logs)`);
  }
  // Of two histories under one name, which is the right one is not for us to say.
  const broken = new Set(whole.filter(({ verdict: of }) => of === 'invalid').map(({ log }) => log));
  const holding = heads.filter(({ origin }) => !broken.has(origin));
  const status = rememberAll(trust, holding, verdict, terminal);
  return places.length > 0 && readCount === 0 ? EXIT_IO : status;
}

/** By what their newest checkpoint claims, so that each log is held against the shorter ones of its name. */
function shortestFirst(places: readonly LogPlace[]): LogPlace[] {
  const sizeOf = (dir: string): number => {
    try {
      return parseCheckpoint(readNewestCheckpoint(dir)!.bytes).size;
    } catch {
      // Verifying says what is wrong with it.
      return 0;
    }
  };
  const sizes = new Map(places.map(({ dir }) => [dir, sizeOf(dir)]));
  return places.toSorted((a, b) => sizes.get(a.dir)! - sizes.get(b.dir)!);
}

/** The worst of the verdicts. Without any, nothing was checked, and that is never valid (invariant 9). */
export function joinVerdicts(verdicts: readonly Verdict[]): Verdict {
  return WORST.find((verdict) => verdicts.includes(verdict)) ?? 'unverifiable';
}

export function verdictText(verdict: Verdict, terminal: Terminal): string {
  const text = verdict.toUpperCase();
  return terminal.bold(verdict === 'valid' ? terminal.good(text) : terminal.bad(text));
}

export function printReport(
  report: ShownReport & { readonly dir: string },
  terminal: Terminal,
): void {
  const { assurance } = report;
  const put = (label: string, text: string) => terminal.data(`${label.padEnd(10)} ${text}`);
  const line = (label: string, text: string) => put(label, shown(text));
  line('log', `${report.log || '(unnamed)'} in ${report.dir}`);
  put('verdict', verdictText(report.verdict, terminal));
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
