// SPDX-License-Identifier: Apache-2.0
/**
 * What `sealspan verify` says of all logs together, in a directory or in an archive: of each instance, of a range of time
 * and which findings count in it, of what was dropped and refused. Counts nothing itself; `exporter/node/` does.
 */
import { FINDING_COUNT_MAX } from '../log/limits.ts';
import { type Assurance, VERDICT_OF, type Verdict } from '../log/report.ts';
import { ARCHIVE_VERDICT_OF } from '../node/archive/archive-report.ts';
import { type Dropped, DroppedCounts } from '../node/verifying/dropped.ts';
import {
  type InstanceReport,
  Instances,
  type InstancesReport,
  isRemarkable,
  type TimeRange,
} from '../node/verifying/instances.ts';
import { type Refused, RefusedCounts } from '../node/verifying/refused.ts';
import type { TalliedRecord } from '../node/verifying/tally.ts';
import { shown, type Terminal } from './terminal.ts';

const RFC_3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/;

/** A time as a person writes it, as records spell theirs; undefined for what is none. */
export function parseTime(text: string): string | undefined {
  const ms = RFC_3339.test(text) ? Date.parse(text.replace(' ', 'T').toUpperCase()) : Number.NaN;
  return Number.isNaN(ms) ? undefined : new Date(ms).toISOString();
}

/** What is said of one log that a range can change. */
interface Judged<Finding> {
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
}

type Judgeable<Finding> = Judged<Finding> & {
  readonly records: number;
  readonly findingsOmitted: number;
  readonly assurance: Pick<Assurance, 'claimedFrom' | 'claimedTo'>;
};

/**
 * What is asked of all logs together, beside whether each holds: whether all numbers of each instance are there, what was
 * left out of what is there, and what was refused; over all time, or a range of it.
 */
export class Completeness {
  readonly range: TimeRange;
  readonly instances: Instances;
  readonly dropped: DroppedCounts = new DroppedCounts();
  readonly refused: RefusedCounts = new RefusedCounts();
  #logCount = 0;
  #isAnyInRange = false;
  #isVouched = false;

  constructor(range: TimeRange) {
    this.range = range;
    this.instances = new Instances(range);
  }

  /** Begins the next log. */
  nextLog(): LogInRange {
    return new LogInRange(this);
  }

  /** A log was read to its end. */
  took(
    { claimedFrom, claimedTo }: Pick<Assurance, 'claimedFrom' | 'claimedTo'>,
    verdict: Verdict,
  ): void {
    const { from, to } = this.range;
    this.#logCount++;
    if (verdict !== 'unverifiable') this.#isVouched = true;
    if (claimedFrom === undefined || claimedTo === undefined) return;
    const isBefore = to !== undefined && claimedFrom >= to;
    if (!isBefore && (from === undefined || claimedTo >= from)) this.#isAnyInRange = true;
  }

  answer(): CompletenessAnswer {
    const { range, dropped, refused } = this;
    const instances = this.instances.report();
    const isRanged = range.from !== undefined || range.to !== undefined;
    // Of a time in which no log was written, nothing was checked.
    const isOutside = isRanged && !this.#isAnyInRange;
    const verdicts: Verdict[] = [];
    // A writer's own log says what it lacks, but not in which range.
    if (this.#logCount > 0) verdicts.push(isRanged ? instances.all : instances.senders);
    if (isOutside) verdicts.push('unverifiable');
    return {
      verdicts,
      json: {
        ...(isRanged ? { range } : {}),
        instances: instances.instances,
        instanceCounts: instances.counts,
        dropped: dropped.counts,
        refused: refused.counts,
      },
      print: (terminal) => {
        if (isOutside) terminal.data('range      no log that was found was written in it');
        // Numbers that no log vouches for anybody could have written.
        if (this.#logCount > 0 && !this.#isVouched) {
          terminal.data('instances  not judged: no log that they are in could be verified');
        } else printInstances(instances, range, terminal);
        printDropped(dropped.counts, terminal);
        printRefused(refused.counts, terminal);
      },
    };
  }
}

export interface CompletenessAnswer {
  /** To be joined with those of the logs. */
  readonly verdicts: readonly Verdict[];
  /** Members of the object that `--json` prints. */
  readonly json: Readonly<Record<string, unknown>>;
  readonly print: (terminal: Terminal) => void;
}

/** One log: since records are sealed in order, those of the range are from one index to another. */
export class LogInRange {
  readonly #whole: Completeness;
  #first = Number.POSITIVE_INFINITY;
  #last = -1;
  #isLastIn = true;

  constructor(whole: Completeness) {
    this.#whole = whole;
  }

  take(record: TalliedRecord): void {
    const { instances, dropped, refused, range } = this.#whole;
    const { index, sealed } = record.header;
    instances.take(record);
    this.#isLastIn = range.to === undefined || sealed <= range.to;
    if (!this.#isLastIn || (range.from !== undefined && sealed < range.from)) return;
    dropped.add(record.dropped);
    for (const event of record.events) refused.take(event);
    this.#first = Math.min(this.#first, index);
    this.#last = index;
  }

  /**
   * The log ends here. What is said of it in the range: the findings that count, and their verdict; the log's own where it
   * could not list all it found.
   * @param isLive a writer holds it now
   */
  end<Finding extends { readonly code: string; readonly where: string }>(
    report: Judgeable<Finding>,
    isLive: boolean,
    nowMs: number,
  ): Judged<Finding> {
    this.#whole.instances.endLog(isLive, nowMs);
    const judged = this.#judge(report);
    this.#whole.took(report.assurance, judged.verdict);
    return judged;
  }

  #judge<Finding extends { readonly code: string; readonly where: string }>(
    report: Judgeable<Finding>,
  ): Judged<Finding> {
    const findings = report.findings.filter(({ code, where }) => {
      const verdict = verdictOf(code);
      if (verdict === 'invalid' || verdict === 'unverifiable') return true;
      // How something is kept now has no place in time.
      if (Object.hasOwn(ARCHIVE_VERDICT_OF, code)) return true;
      const index = Number(/ record (\d+)$/.exec(where)?.[1] ?? report.records);
      if (index >= report.records) return this.#isLastIn;
      return index >= this.#first && index <= this.#last;
    });
    if (report.findingsOmitted > 0) return { verdict: report.verdict, findings };
    const verdicts = findings.map(({ code }) => verdictOf(code));
    const worst = (['invalid', 'unverifiable', 'incomplete'] as const).find((verdict) =>
      verdicts.includes(verdict),
    );
    return { verdict: worst ?? 'valid', findings };
  }
}

const ALL_VERDICTS: ReadonlyMap<string, Verdict | 'note'> = new Map(
  Object.entries({ ...VERDICT_OF, ...ARCHIVE_VERDICT_OF }),
);

/** What is neither of the log nor of an archive is of the disk that it lies on, and then nothing is known. */
function verdictOf(code: string): Verdict | 'note' {
  return ALL_VERDICTS.get(code) ?? 'unverifiable';
}

/** Instances that are told one by one where all are complete; of more than that, the number is enough
 * of those that left nothing open. */
const TOLD_COUNT = 20;

/** The lines of all instances: how many are how complete, and what is said of which. */
function printInstances(report: InstancesReport, range: TimeRange, terminal: Terminal): void {
  const { counts, instances } = report;
  const words = Object.entries(counts).filter(([, count]) => count > 0);
  if (words.length === 0 && range.from === undefined && range.to === undefined) return;
  const { from = 'the beginning', to = 'the end' } = range;
  const all = words.map(([word, count]) => `${count} ${word}`).join(', ') || 'none heard of';
  terminal.data(`instances  ${all}, from ${from} to ${to}`);
  const isShort = instances.length <= TOLD_COUNT;
  const told = instances.filter((one) => isShort || isRemarkable(one));
  for (const one of told.slice(0, FINDING_COUNT_MAX)) {
    terminal.data(`instance   ${shown(sentenceOf(one))}`);
    for (const { code, message } of one.findings) {
      terminal.data(`finding    ${shown(`${code} at ${nameOf(one)}: ${message}`)}`);
    }
  }
}

/** What SDKs dropped of the sealed spans; nothing where that is nothing. */
function printDropped(dropped: Dropped, terminal: Terminal): void {
  const { spans, attributes, events, links, cutValues } = dropped;
  if (spans === 0) return;
  const what = `${attributes} attributes, ${events} events, ${links} links`;
  terminal.data(
    `dropped    ${what}, and up to ${cutValues} texts cut, of ${spans} spans, by the limits of their SDKs`,
  );
}

function printRefused(refused: readonly Refused[], terminal: Terminal): void {
  for (const { count, cause, source, principal } of refused.slice(0, TOLD_COUNT)) {
    const whose = principal === null ? 'nobody known' : `principal ${principal}`;
    terminal.data(`refused    ${shown(`${count} requests from ${source}, ${whose}: ${cause}`)}`);
  }
  const more = refused.slice(TOLD_COUNT).reduce((sum, { count }) => sum + count, 0);
  if (more > 0) terminal.data(`refused    and ${more} more`);
}

function nameOf({ instance, service, log }: InstanceReport): string {
  return service === null ? `${log} ${instance}` : `${service} ${instance}`;
}

function sentenceOf(one: InstanceReport): string {
  const { kind, source, state, highest, missing, open, declaredLost, heardFrom, heardTo } = one;
  const by =
    kind === 'writer'
      ? 'sealed by itself'
      : `through ${source.kind === 'direct' ? 'a gateway' : 'a Collector'}, ${
          source.principal === null ? 'nobody known' : `principal ${source.principal}`
        }`;
  const numbers = [
    highest === 0 ? 'no numbers' : `numbers to ${highest}`,
    ...(missing.count > 0 ? [`${missing.count} missing: ${missing.ranges}`] : []),
    ...(open.count > 0 ? [`${open.count} left open: ${open.ranges}`] : []),
    ...(declaredLost > 0 ? [`${declaredLost} declared lost`] : []),
  ];
  // Of one that runs, what may still be under way is not judged: neither seen nor missing.
  const soFar = state === 'running' ? ' so far, its newest numbers not judged yet' : '';
  const end = state === 'unended' ? 'had not ended when the logs did' : state;
  return `${nameOf(one)}: ${one.completeness}${soFar}; ${numbers.join(', ')}; ${end}, heard from ${heardFrom} to ${heardTo}, ${by}`;
}
