// SPDX-License-Identifier: Apache-2.0
/**
 * What verifying an archive says beyond what verifying a log says: of versions, markers, locks and permissions. A list
 * of its own, since only some stores have any of them. FORMAT.md, "Archive".
 */
import { FINDING_COUNT_MAX } from '../../log/limits.ts';
import type { Finding, Report, Verdict } from '../../log/report.ts';

/** Every finding of an archive, and the verdict it leads to; a `note` leads to none. */
export const ARCHIVE_VERDICT_OF = {
  /** A version with other bytes than the one that counts: somebody wrote where nobody may write twice. */
  'archive.version': 'invalid',
  /** A trusted key signed another root than the log has: two histories under one name. */
  'archive.root': 'invalid',
  /** The sealed receipt of a segment names another hash than its bytes have. */
  'archive.receipt': 'invalid',
  /** A delete marker hides an object from whoever reads without looking at versions. */
  'archive.marker': 'incomplete',
  /** An object that is no part of any log. */
  'archive.foreign': 'incomplete',
  /** No lock, or one that somebody can lift. */
  'archive.lock': 'incomplete',
  /** A lock that ends before the retention does, or before it ended when the receipt was sealed. */
  'archive.expiry': 'incomplete',
  /** The first segments are gone before their retention can have ended. */
  'archive.deleted': 'incomplete',
  /** The log says that a legal hold is on, and an object is under none. */
  'archive.hold': 'incomplete',
  /** The credentials may not see what was to be checked. */
  'archive.permission': 'unverifiable',
  /** The same bytes, stored once more. */
  'archive.duplicate': 'note',
} as const;

export type ArchiveFindingCode = keyof typeof ARCHIVE_VERDICT_OF;

/** All there are, for whoever must know each. */
export const ARCHIVE_FINDING_CODES: readonly ArchiveFindingCode[] = Object.keys(
  ARCHIVE_VERDICT_OF,
) as ArchiveFindingCode[];

export interface ArchiveFinding {
  readonly code: ArchiveFindingCode;
  /** Key of the object, or folder. */
  readonly where: string;
  readonly message: string;
}

/** The report of a log in an archive: of its bytes, and of how they are kept. */
export interface ArchiveReport extends Omit<Report, 'findings'> {
  readonly findings: readonly (Finding | ArchiveFinding)[];
}

/** Worst first, as several verdicts are joined. */
const WORST: readonly Verdict[] = ['invalid', 'unverifiable', 'incomplete', 'valid'];

/** The worst of the verdicts; undefined without any. */
export function worstOf(verdicts: readonly Verdict[]): Verdict | undefined {
  return WORST.find((verdict) => verdicts.includes(verdict));
}

/** Collects findings, bounded, and judges by the worst of all of them, also of those it no longer lists. */
export class ArchiveFindings {
  readonly list: ArchiveFinding[] = [];
  omitted = 0;
  #verdict: Verdict = 'valid';

  add(code: ArchiveFindingCode, where: string, message: string): void {
    const verdict: Verdict | 'note' = ARCHIVE_VERDICT_OF[code];
    if (verdict !== 'note') this.#verdict = worstOf([this.#verdict, verdict]) ?? verdict;
    if (this.list.length < FINDING_COUNT_MAX) this.list.push({ code, where, message });
    else this.omitted++;
  }

  get verdict(): Verdict {
    return this.#verdict;
  }

  /** The report of a log with these findings behind its own. */
  join(report: Report, archiveLock: string): ArchiveReport {
    return {
      ...report,
      verdict: worstOf([report.verdict, this.verdict]) ?? report.verdict,
      findings: [...report.findings, ...this.list],
      findingsOmitted: report.findingsOmitted + this.omitted,
      assurance: { ...report.assurance, archiveLock },
    };
  }
}
