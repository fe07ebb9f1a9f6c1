// SPDX-License-Identifier: Apache-2.0
/**
 * What `sealspan verify` says of each instance, and of a range of time: which findings of a log count in it, and the
 * words. Judges no numbers itself; those are `exporter/node/instances.ts`'s.
 */
import { FINDING_COUNT_MAX } from '../log/limits.ts';
import type { CheckedRecord } from '../log/record.ts';
import { VERDICT_OF, type Verdict } from '../log/report.ts';
import type { Dropped } from '../node/dropped.ts';
import type { InstanceReport, InstancesReport, TimeRange } from '../node/instances.ts';
import { shown, type Terminal } from './terminal.ts';

const RFC_3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/;

/** A time as a person writes it, as records spell theirs; undefined for what is none. */
export function parseTime(text: string): string | undefined {
  const ms = RFC_3339.test(text) ? Date.parse(text.replace(' ', 'T').toUpperCase()) : Number.NaN;
  return Number.isNaN(ms) ? undefined : new Date(ms).toISOString();
}

/** Which records of one log are in a range: since they are sealed in order, those from one index to another. */
export class RangeOfLog {
  readonly #range: TimeRange;
  #first = Number.POSITIVE_INFINITY;
  #last = -1;
  #isLastIn = true;

  constructor(range: TimeRange) {
    this.#range = range;
  }

  take({ header: { index, sealed } }: CheckedRecord): void {
    const { from, to } = this.#range;
    this.#isLastIn = to === undefined || sealed <= to;
    if (!this.#isLastIn || (from !== undefined && sealed < from)) return;
    this.#first = Math.min(this.#first, index);
    this.#last = index;
  }

  /** The findings that count, and their verdict; the log's own where it could not list all it found. */
  judge<Finding extends { readonly code: string; readonly where: string }>(report: {
    readonly verdict: Verdict;
    readonly records: number;
    readonly findings: readonly Finding[];
    readonly findingsOmitted: number;
  }): { readonly verdict: Verdict; readonly findings: readonly Finding[] } {
    const findings = report.findings.filter(({ code, where }) => {
      const verdict = verdictOf(code);
      if (verdict === 'invalid' || verdict === 'unverifiable') return true;
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

/** What is not of the log is of the disk that it lies on, and then nothing is known. */
function verdictOf(code: string): Verdict | 'note' {
  return Object.hasOwn(VERDICT_OF, code)
    ? VERDICT_OF[code as keyof typeof VERDICT_OF]
    : 'unverifiable';
}

/** Instances that are told one by one where all are complete; of more than that, the number is enough. */
const TOLD_COUNT = 20;

/** The lines of all instances: how many are how complete, and what is said of which. */
export function printInstances(
  report: InstancesReport,
  range: TimeRange,
  terminal: Terminal,
): void {
  const { counts, instances } = report;
  const words = Object.entries(counts).filter(([, count]) => count > 0);
  if (words.length === 0 && range.from === undefined && range.to === undefined) return;
  const { from = 'the beginning', to = 'the end' } = range;
  const all = words.map(([word, count]) => `${count} ${word}`).join(', ') || 'none heard of';
  terminal.data(`instances  ${all}, from ${from} to ${to}`);
  const isShort = instances.length <= TOLD_COUNT;
  const told = instances.filter(({ completeness }) => isShort || completeness !== 'complete');
  for (const one of told.slice(0, FINDING_COUNT_MAX)) {
    terminal.data(`instance   ${shown(sentenceOf(one))}`);
    for (const { code, message } of one.findings) {
      terminal.data(`finding    ${shown(`${code} at ${nameOf(one)}: ${message}`)}`);
    }
  }
}

/** What SDKs dropped of the sealed spans; nothing where that is nothing. */
export function printDropped(dropped: Dropped, terminal: Terminal): void {
  const { spans, attributes, events, links, cutValues } = dropped;
  if (spans === 0) return;
  const what = `${attributes} attributes, ${events} events, ${links} links`;
  terminal.data(
    `dropped    ${what}, and up to ${cutValues} texts cut, of ${spans} spans, by the limits of their SDKs`,
  );
}

function nameOf({ instance, service, log }: InstanceReport): string {
  return service === null ? `${log} ${instance}` : `${service} ${instance}`;
}

function sentenceOf(one: InstanceReport): string {
  const { kind, source, state, highest, missing, declaredLost, heardFrom, heardTo } = one;
  const by =
    kind === 'writer'
      ? 'sealed by itself'
      : `through ${source.kind === 'direct' ? 'a gateway' : 'a Collector'}, ${
          source.principal === null ? 'nobody known' : `principal ${source.principal}`
        }`;
  const numbers = [
    highest === 0 ? 'no numbers' : `numbers to ${highest}`,
    ...(missing.count > 0 ? [`${missing.count} missing: ${missing.ranges}`] : []),
    ...(declaredLost > 0 ? [`${declaredLost} declared lost`] : []),
  ];
  // Of one that runs, what may still be under way is not judged: neither seen nor missing.
  const soFar = state === 'running' ? ' so far, its newest numbers not judged yet' : '';
  return `${nameOf(one)}: ${one.completeness}${soFar}; ${numbers.join(', ')}; ${state}, heard from ${heardFrom} to ${heardTo}, ${by}`;
}
