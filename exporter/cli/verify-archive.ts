// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan verify s3://bucket/prefix`: one verdict over all logs of an archive, read where it is. Needs no more than
 * to read: what the credentials may not see is named, and then not counted as checked.
 */
import type { Verdict } from '../log/report.ts';
import type { ArchiveReport } from '../node/archive/archive-report.ts';
import { findArchivedLogs, verifyArchivedLog } from '../node/archive/archive-verify.ts';
import { S3Store } from '../node/archive/s3-store.ts';
import type { S3Place } from '../node/config/archive-config.ts';
import { ARCHIVE_PREFIX, isBucketName } from '../node/config/archive-config.ts';
import { ConfigError } from '../node/config/config.ts';
import { openCheckers } from '../node/verifying/checkers.ts';
import type { TimeRange } from '../node/verifying/instances.ts';
import { Completeness, type CompletenessAnswer } from './completeness.ts';
import { shown, shownJson, type Terminal } from './terminal.ts';
import { openTrustFile, WANTED_LOCK_DEFAULT } from './trust.ts';
import {
  type HeadToRemember,
  joinVerdicts,
  printReport,
  rememberAll,
  verdictText,
} from './verify.ts';

/** How an archive in S3 is named on the command line. */
export interface ArchiveAddress {
  /** `s3://bucket` or `s3://bucket/prefix` */
  readonly url: string;
  readonly region: string | undefined;
  readonly endpoint: string | undefined;
  readonly pathStyle: boolean;
}

/** @throws ConfigError */
export function placeOf({ url, region, endpoint, pathStyle }: ArchiveAddress): S3Place {
  const [bucket = '', ...rest] = url.slice('s3://'.length).split('/');
  const prefix = rest.join('/').replace(/\/$/, '');
  if (!isBucketName(bucket))
    throw new ConfigError(`${url}: ${JSON.stringify(bucket)} names no bucket`);
  if (prefix !== '' && !ARCHIVE_PREFIX.test(prefix)) {
    throw new ConfigError(`${url}: ${JSON.stringify(prefix)} is no prefix of an archive`);
  }
  return { bucket, prefix, region, endpoint, pathStyle };
}

export interface VerifyArchiveOptions extends ArchiveAddress {
  readonly trustPath: string | undefined;
  /** As for a directory. */
  readonly range: TimeRange;
  /** As in {@link VerifyOptions}. */
  readonly threadCount?: number;
  readonly isJson: boolean;
}

const MEGABYTE = 1_000_000;

/** Runs the command; returns the exit status. */
export async function runVerifyArchive(
  options: VerifyArchiveOptions,
  terminal: Terminal,
): Promise<number> {
  const trust = options.trustPath === undefined ? undefined : openTrustFile(options.trustPath);
  const store = await S3Store.open(placeOf(options));
  const checkers = openCheckers(options.threadCount ?? 1);
  try {
    const { origins, foreign } = await findArchivedLogs(store);
    const completeness = new Completeness(options.range);
    const reports: ArchiveReport[] = [];
    const heads: HeadToRemember[] = [];
    for (const origin of origins) {
      const known = trust?.logs.find((log) => log.origin === origin);
      const inRange = completeness.nextLog();
      const { report, head } = await verifyArchivedLog({
        store,
        origin,
        trust: {
          origin,
          verifiers: known === undefined ? [] : [known.verifier],
          selfAttested: false,
          minimumHead: known?.head,
        },
        wanted: trust?.lock ?? WANTED_LOCK_DEFAULT,
        nowMs: Date.now(),
        checkers,
        onRecord: (record) => inRange.take(record),
        onProgress: ({ segmentCount, recordCount, byteLength }) => {
          const read = `${segmentCount} segments, ${recordCount} records, ${Math.round(byteLength / MEGABYTE)} MB`;
          terminal.progress(`${shown(origin)}: ${read}`);
        },
      });
      // Whether a writer still holds it, nothing in a bucket tells.
      reports.push({ ...report, ...inRange.end(report, false, Date.now()) });
      const isIntact = report.verdict === 'valid' || report.verdict === 'incomplete';
      if (isIntact && head !== undefined) heads.push({ origin, head });
    }
    const expected = trust?.logs.map(({ origin }) => origin);
    const answer = completeness.answer();
    const verdict = tell(options, terminal, { reports, foreign, expected, answer });
    return rememberAll(trust, heads, verdict, terminal);
  } finally {
    checkers.close();
    store.close();
  }
}

interface Outcome {
  readonly reports: readonly ArchiveReport[];
  readonly foreign: readonly string[];
  /** Undefined without a trust file. */
  readonly expected: readonly string[] | undefined;
  readonly answer: CompletenessAnswer;
}

function tell(options: VerifyArchiveOptions, terminal: Terminal, outcome: Outcome): Verdict {
  const { reports, foreign, expected, answer } = outcome;
  const found = new Set(reports.map(({ log }) => log));
  const missing = expected?.filter((origin) => !found.has(origin)) ?? [];
  const verdicts: Verdict[] = [...reports.map(({ verdict }) => verdict), ...answer.verdicts];
  if (missing.length > 0 || (reports.length > 0 && foreign.length > 0)) verdicts.push('incomplete');
  const verdict = joinVerdicts(verdicts);
  const population =
    expected === undefined
      ? 'not checked: no list of expected logs was given'
      : `${expected.length - missing.length} of ${expected.length} logs expected were found`;
  const whole = reports.map((report) => ({
    dir: options.url,
    ...report,
    assurance: { ...report.assurance, population },
  }));
  if (options.isJson) {
    const [only] = whole;
    const object = whole.length === 1 && only !== undefined ? only : { logs: whole };
    terminal.data(shownJson({ ...object, verdict, missing, foreign, ...answer.json }));
  } else {
    for (const report of whole) printReport(report, terminal);
    for (const origin of missing)
      terminal.data(`missing    ${shown(origin)}: expected by the trust file, not found`);
    for (const key of foreign)
      terminal.data(`finding    archive.foreign at ${shown(key)}: is no part of a log`);
    answer.print(terminal);
    terminal.data(`verdict    ${verdictText(verdict, terminal)} (${whole.length} logs)`);
  }
  return verdict;
}
