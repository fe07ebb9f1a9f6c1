// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan reconcile`: holds the log against what a backend has, both ways, and says what sampling accounts for and what
 * nothing does. Changes neither. Can not tell what the backend threw away by age from what it never got: ask about a range.
 */
import { encodeBase64 } from '../log/bytes.ts';
import type { VerifiedRecord } from '../log/record.ts';
import type { Verdict } from '../log/report.ts';
import { ConfigError } from '../node/config/config.ts';
import type { TimeRange } from '../node/verifying/instances.ts';
import { BackendError, type BackendReader, type BackendSpan } from './backend-reader.ts';
import { EXIT_IO, EXIT_OF } from './exit.ts';
import { readSpan } from './span.ts';
import { shown, shownJson, type Terminal } from './terminal.ts';
import { openTrustFile } from './trust.ts';
import { findLogsAloud, joinVerdicts, readable, verdictText, verifyDirectory } from './verify.ts';

export interface ReconcileOptions {
  readonly dir: string;
  readonly trustPath: string | undefined;
  /** Of `sealed`, and of the start and end of spans in the backend. */
  readonly range: TimeRange;
  /** Which share of the traces the backend is meant to keep, 0 to 1. */
  readonly keeps: number;
  readonly isJson: boolean;
}

/** What was sealed of a span. */
interface Sealed {
  readonly traceId: string;
  readonly spanId: string;
  readonly name: string;
  /** `<origin>#<record index>/<entry index>` */
  readonly ref: string;
  readonly leaf: string;
  readonly isSampled: boolean;
  /** False for what was sealed behind the range: the backend may have it in the range all the same. */
  readonly isAsked: boolean;
  isFound: boolean;
}

/** A span on one side, for people and programs. */
export interface Difference {
  readonly trace: string;
  readonly span: string;
  readonly name: string;
  /** Where it is sealed; null for one that is not. */
  readonly ref: string | null;
}

interface Differences {
  /** Sealed, and not in the backend, which has other spans of the trace. */
  readonly missing: Difference[];
  /** Sealed, and nothing of the trace is in the backend. */
  readonly absent: Difference[];
  /** Governed, in the backend, and in no log. */
  readonly unsealed: Difference[];
  /** The copy in the backend names another leaf than its original has. */
  readonly altered: Difference[];
}

const SPAN_COUNT_MAX = 500_000;
const LISTED_COUNT = 100;
const ASKED_AT_ONCE = 8;
/** Traces are kept or dropped each by itself: how far from the mean chance alone takes their number. */
const DEVIATIONS = 5;

const SAYS: Readonly<Record<keyof Differences, string>> = {
  missing: 'not in the backend, which has others of its trace',
  absent: 'nothing of its trace is in the backend',
  unsealed: 'in the backend, governed, and in no log',
  altered: 'its copy in the backend names another leaf',
};

/** Runs the command; returns the exit status. */
export async function runReconcile(
  reader: BackendReader,
  options: ReconcileOptions,
  terminal: Terminal,
): Promise<number> {
  const trust = options.trustPath === undefined ? undefined : openTrustFile(options.trustPath);
  const log = new SealedSpans(options.range);
  const verdicts: Verdict[] = [];
  const places = findLogsAloud(options.dir, terminal);
  for (const { dir } of places) {
    const { report } = await readable(dir, trust, () =>
      verifyDirectory(dir, trust, (record) => log.take(record)),
    );
    verdicts.push(report.verdict);
  }
  const verdict = joinVerdicts(verdicts);
  let found: Found;
  try {
    found = await compare(reader, log, (line) => terminal.progress(line));
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    terminal.note(`sealspan: ${shown(error.message)}`);
    return EXIT_IO;
  }
  const { differences } = found;
  const unsampledCount =
    take(differences.absent, log, false) + take(differences.missing, log, false);
  const tail = sampledOut(found.traceCount, found.absentTraceCount, options.keeps);
  const absentCount = differences.absent.length;
  if (tail.isAccounted) differences.absent.length = 0;
  const differenceCount = Object.values(differences).reduce((sum, list) => sum + list.length, 0);
  const result = {
    backend: reader.name,
    from: log.from ?? null,
    to: log.to ?? null,
    sealed: log.askedCount,
    found: found.foundCount,
    explained: { unsampled: unsampledCount, sampled: tail.isAccounted ? absentCount : 0 },
    traces: { sampled: found.traceCount, absent: found.absentTraceCount, expected: tail.expected },
    counts: Object.fromEntries(
      Object.entries(differences).map(([name, list]) => [name, (list as Difference[]).length]),
    ),
    differences: Object.fromEntries(
      Object.entries(differences).map(([name, list]) => [
        name,
        (list as Difference[]).slice(0, LISTED_COUNT),
      ]),
    ),
  };
  if (options.isJson) {
    terminal.data(shownJson({ verdict, agrees: differenceCount === 0, ...result }));
  } else {
    const line = (label: string, words: string) =>
      terminal.data(`${label.padEnd(10)} ${shown(words)}`);
    terminal.data(`verdict    ${verdictText(verdict, terminal)} (${places.length} logs)`);
    line('sealed', `${log.askedCount} spans, from ${log.from ?? '-'} to ${log.to ?? '-'}`);
    line('backend', `${reader.name}: ${found.foundCount} of them`);
    if (unsampledCount > 0) {
      line(
        'explained',
        `${unsampledCount} without the sampled flag: the service did not export them`,
      );
    }
    if (found.absentTraceCount > 0) {
      const { absentTraceCount: absent, traceCount } = found;
      const words = tail.isAccounted ? 'explained' : 'absent';
      line(words, `${absent} of ${traceCount} traces are not there; ${tail.says}`);
    }
    for (const [name, list] of Object.entries(differences) as [keyof Differences, Difference[]][]) {
      for (const { trace, span, name: spanName, ref } of list.slice(0, LISTED_COUNT)) {
        const sealed = ref === null ? '' : ` sealed as ${ref}`;
        line(name, `trace ${trace} span ${span} (${spanName})${sealed}: ${SAYS[name]}`);
      }
      if (list.length > LISTED_COUNT) line(name, `and ${list.length - LISTED_COUNT} more`);
    }
    line('result', differenceCount === 0 ? 'they agree' : `${differenceCount} differences`);
  }
  const isIntact = verdict === 'valid' || verdict === 'incomplete';
  // An incomplete log is compared all the same: what it has, the backend may lack.
  if (!isIntact) return EXIT_OF[verdict];
  return differenceCount === 0 ? 0 : EXIT_OF.incomplete;
}

/** Takes out those that the service's own sampler kept from the backend, or those it did not; how many. */
function take(list: Difference[], log: SealedSpans, isSampled: boolean): number {
  const kept = list.filter(({ trace, span }) => log.find(trace, span)?.isSampled !== isSampled);
  const count = list.length - kept.length;
  list.splice(0, list.length, ...kept);
  return count;
}

/** Whether so many absent traces are what a backend lacks that keeps a share of them, each by chance. */
function sampledOut(
  traceCount: number,
  absentCount: number,
  keeps: number,
): { readonly isAccounted: boolean; readonly expected: number; readonly says: string } {
  const expected = traceCount * (1 - keeps);
  const deviation = Math.sqrt(traceCount * keeps * (1 - keeps));
  const most = expected + DEVIATIONS * deviation;
  const isAccounted = absentCount > 0 && keeps < 1 && absentCount <= most;
  const percent = Math.round(keeps * 10_000) / 100;
  const says = `a backend that keeps ${percent} % lacks ${expected.toFixed(1)}, and by chance up to ${Math.floor(most)}`;
  return { isAccounted, expected, says };
}

interface Found {
  readonly differences: Differences;
  readonly foundCount: number;
  /** Traces with a sealed span that was sampled, and those of them that the backend has nothing of. */
  readonly traceCount: number;
  readonly absentTraceCount: number;
}

async function compare(
  reader: BackendReader,
  log: SealedSpans,
  onProgress: (line: string) => void,
): Promise<Found> {
  const differences: Differences = { missing: [], absent: [], unsealed: [], altered: [] };
  const there = new Set<string>();
  const judged = new Set<string>();
  const hear = (spans: readonly BackendSpan[]): void => {
    for (const span of spans) {
      const sealed = log.find(span.traceId, span.spanId);
      if (sealed !== undefined || log.hasTrace(span.traceId)) there.add(span.traceId);
      const key = `${span.traceId}${span.spanId}`;
      if (judged.has(key)) continue;
      if (sealed === undefined) {
        if (!span.isGoverned || !log.covers(span)) continue;
        differences.unsealed.push(differenceOf(span, null));
      } else {
        sealed.isFound = true;
        if (span.leaf === undefined || span.leaf === sealed.leaf) continue;
        differences.altered.push(differenceOf(span, sealed.ref));
      }
      judged.add(key);
    }
  };
  const { from, to } = log;
  if (from !== undefined && to !== undefined) {
    for await (const spans of reader.list(Date.parse(from), Date.parse(to))) hear(spans);
  }
  // A list may have been cut short, or ordered by another clock: whoever is not in it is asked for by name.
  const { trace } = reader;
  if (trace !== undefined) {
    const open = [...new Set(log.unfound().map(({ traceId }) => traceId))];
    for (let next = 0; next < open.length; next += ASKED_AT_ONCE) {
      onProgress(`${next} of ${open.length} traces asked for`);
      const answers = open.slice(next, next + ASKED_AT_ONCE).map((traceId) => trace(traceId));
      for (const spans of await Promise.all(answers)) hear(spans);
    }
  }
  const unfound = log.unfound();
  for (const sealed of unfound) {
    const list = there.has(sealed.traceId) ? differences.missing : differences.absent;
    list.push(differenceOf(sealed, sealed.ref));
  }
  const sampled = new Set(
    log
      .asked()
      .filter(({ isSampled }) => isSampled)
      .map(({ traceId }) => traceId),
  );
  return {
    differences,
    foundCount: log.askedCount - unfound.length,
    traceCount: sampled.size,
    absentTraceCount: [...sampled].filter((traceId) => !there.has(traceId)).length,
  };
}

function differenceOf(
  { traceId, spanId, name }: Pick<Sealed, 'traceId' | 'spanId' | 'name'>,
  ref: string | null,
): Difference {
  return { trace: traceId, span: spanId, name, ref };
}

/** The spans of all logs that can be asked about, by their ids. */
class SealedSpans {
  readonly #range: TimeRange;
  readonly #spans = new Map<string, Sealed>();
  readonly #traces = new Set<string>();
  /** Times that the logs cover, within the range. */
  from: string | undefined;
  to: string | undefined;

  constructor(range: TimeRange) {
    this.#range = range;
  }

  /** @throws ConfigError where there are more than memory is meant for */
  take({ header, entries, leaves }: VerifiedRecord): void {
    const { from = '', to = '~' } = this.#range;
    if (header.sealed < from) return;
    const isAsked = header.sealed <= to;
    if (isAsked) {
      if (this.from === undefined || header.sealed < this.from) this.from = header.sealed;
      if (this.to === undefined || header.sealed > this.to) this.to = header.sealed;
    }
    if (header.kind !== 'traces') return;
    for (const [index, entry] of entries.entries()) {
      const { traceId, spanId, name, isSampled } = readSpan(entry);
      const key = `${traceId}${spanId}`;
      if (this.#spans.size >= SPAN_COUNT_MAX && !this.#spans.has(key)) {
        throw new ConfigError(`more than ${SPAN_COUNT_MAX} spans: give --from and --to`);
      }
      this.#traces.add(traceId);
      this.#spans.set(key, {
        traceId,
        spanId,
        name,
        ref: `${header.log}#${header.index}/${index}`,
        leaf: encodeBase64(leaves[index]!),
        // Whoever sends a span to a gateway has exported it, whatever its flags say, and some say nothing.
        isSampled: header.source.kind !== 'in-process' || isSampled,
        isAsked,
        isFound: false,
      });
    }
  }

  get askedCount(): number {
    return this.asked().length;
  }

  find(traceId: string, spanId: string): Sealed | undefined {
    return this.#spans.get(`${traceId}${spanId}`);
  }

  hasTrace(traceId: string): boolean {
    return this.#traces.has(traceId);
  }

  asked(): Sealed[] {
    return [...this.#spans.values()].filter(({ isAsked }) => isAsked);
  }

  unfound(): Sealed[] {
    return this.asked().filter(({ isFound }) => !isFound);
  }

  /** Whether a span ran while the logs were written: one that runs on at their end is not sealed yet. */
  covers({ startMs, endMs }: BackendSpan): boolean {
    if (this.from === undefined || this.to === undefined) return false;
    return startMs >= Date.parse(this.from) && endMs <= Date.parse(this.to);
  }
}
