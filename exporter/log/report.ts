// SPDX-License-Identifier: Apache-2.0
/**
 * What a verification says: one verdict, the findings behind it, and the assurance, which names what was not checked.
 * FORMAT.md, "Verdicts".
 */
import { FINDING_COUNT_MAX } from './limits.ts';

export type Verdict = 'valid' | 'incomplete' | 'unverifiable' | 'invalid';

/** Every finding there is, and the verdict it leads to; a `note` leads to none. */
export const VERDICT_OF = {
  'checkpoint.missing': 'unverifiable',
  'checkpoint.origin': 'invalid',
  'checkpoint.signature': 'invalid',
  'checkpoint.syntax': 'invalid',
  'checkpoint.unsigned': 'unverifiable',
  'key.missing': 'unverifiable',
  'log.adopted': 'incomplete',
  'log.empty': 'unverifiable',
  'log.gap': 'incomplete',
  'log.interrupted': 'note',
  'log.numbers': 'incomplete',
  'log.pruned': 'unverifiable',
  'log.pruned-seen': 'note',
  'log.recovered': 'incomplete',
  'log.recovered-whole': 'note',
  'log.rollback': 'invalid',
  'log.root': 'invalid',
  'log.silent': 'incomplete',
  'log.torn-tail': 'incomplete',
  'log.truncated': 'invalid',
  'log.unclean-end': 'incomplete',
  'log.unsigned-tail': 'incomplete',
  'log.unsigned-tail-live': 'note',
  'record.control': 'invalid',
  'record.entries': 'invalid',
  'record.frame': 'invalid',
  'record.header': 'invalid',
  'record.index': 'invalid',
  'record.link': 'invalid',
  'record.log': 'invalid',
  'record.opened': 'invalid',
  'record.payload': 'invalid',
  'record.root': 'invalid',
  'record.stored': 'invalid',
  'record.time': 'invalid',
  'segment.name': 'invalid',
  'segment.too-long': 'invalid',
} as const;

export type FindingCode = keyof typeof VERDICT_OF;

export interface Finding {
  readonly code: FindingCode;
  /** Segment and record, or the checkpoint's name. */
  readonly where: string;
  readonly message: string;
}

/** What stands behind a verdict. Each line that says `not checked` is a question nobody asked yet. */
export interface Assurance {
  /** Names of the keys whose signatures hold. */
  readonly signer: string;
  /** True where the key came from beside the log: it then proves nothing against whoever can write there. */
  readonly selfAttested: boolean;
  /** Against which outside head the end of the log was held. */
  readonly tail: string;
  /** Logs expected and found. */
  readonly population: string;
  /** Whether a second history after a restored backup is excluded. */
  readonly fork: string;
  readonly witnesses: string;
  readonly archiveLock: string;
  /** Records that no signature covers yet. */
  readonly unsignedRecords: number;
  /** `sealed` times of the first and last record, as the writer claims them. */
  readonly claimedFrom: string | undefined;
  readonly claimedTo: string | undefined;
}

export interface Report {
  readonly verdict: Verdict;
  /** Origin of the log; empty where nothing told it. */
  readonly log: string;
  /** Records covered by a checkpoint whose signature and root hold. */
  readonly size: number;
  /** Root of the log at `size`, base64; empty where that is 0. What a trust file remembers. */
  readonly root: string;
  /** Records read and checked. */
  readonly records: number;
  /** Spans and log records in them; control events are not counted. */
  readonly entries: number;
  /** Spans that sealed gaps declare lost. */
  readonly declaredLost: number;
  readonly findings: readonly Finding[];
  /** Findings beyond the first {@link FINDING_COUNT_MAX}. */
  readonly findingsOmitted: number;
  readonly assurance: Assurance;
}

const RANK: readonly Verdict[] = ['valid', 'incomplete', 'unverifiable', 'invalid'];

/** Collects findings, bounded, and judges by the worst of all of them, also of those it no longer lists. */
export class Findings {
  readonly list: Finding[] = [];
  omitted = 0;
  #worst = 0;

  add(code: FindingCode, where: string, message: string): void {
    const verdict: Verdict | 'note' = VERDICT_OF[code];
    if (verdict !== 'note') this.#worst = Math.max(this.#worst, RANK.indexOf(verdict));
    if (this.list.length < FINDING_COUNT_MAX) this.list.push({ code, where, message });
    else this.omitted++;
  }

  get verdict(): Verdict {
    return RANK[this.#worst]!;
  }
}
