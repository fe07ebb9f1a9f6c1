// SPDX-License-Identifier: Apache-2.0
/**
 * Says of each process that made calls, whether it sealed them itself or had them sealed by a gateway, if all its numbers
 * are in the logs that are verified together, and which are not; over all time or a range of it. Takes verified records
 * one by one and keeps ranges, not records: bounded, with a finding where a bound is met. FORMAT.md, "Instances".
 */
import { encodeBase64 } from '../../log/bytes.ts';
import type { ControlEvent } from '../../log/control.ts';
import type { SourceKind } from '../../log/header.ts';
import { NumberRanges, parseNumberRanges } from '../../log/numbers.ts';
import type { Verdict } from '../../log/report.ts';
import type { Beat } from './beats.ts';
import { addAll, Life, type Listed, say, type TimeRange } from './life.ts';
import { NumberedSpans } from './numbered-spans.ts';
import type { Sent, TalliedRecord } from './tally.ts';

export type { TimeRange };

export type Completeness = 'complete' | 'complete with declared gaps' | 'incomplete';
/** `unended`: a sender that had not ended when all logs had, so that nothing of it can come any more. */
export type InstanceState = 'running' | 'closed' | 'interrupted' | 'silent' | 'unclean' | 'unended';
export type InstanceFindingCode =
  | 'source.conflict'
  | 'source.numbers'
  | 'source.silent'
  | 'source.unfollowed'
  | 'source.unnamed';

export interface InstanceFinding {
  readonly code: InstanceFindingCode;
  readonly message: string;
}

/** One life of one process, as far as the range asked about goes. */
export interface InstanceReport {
  /** A writer sealed its own calls; a sender had them sealed by somebody else. */
  readonly kind: 'writer' | 'sender';
  /** As it calls itself; empty for those of a source that do not say who they are, or number their calls unreadably. */
  readonly instance: string;
  /** Origin of its log, or of the log that heard it first. */
  readonly log: string;
  /** `service.name`, as a sender claims; null where none is known. */
  readonly service: string | null;
  readonly source: { readonly kind: SourceKind; readonly principal: string | null };
  readonly state: InstanceState;
  readonly completeness: Completeness;
  /** `sealed` of the first and last record of it. */
  readonly heardFrom: string;
  readonly heardTo: string;
  /** Highest number it is known to have given out. */
  readonly highest: number;
  /** Numbers that ought to be there, and are not: how many, and the first ranges of them. */
  readonly missing: Listed;
  /** Numbers of calls that had not ended when it did, as itself says: not missing, and nothing else of them is sealed. */
  readonly open: Listed;
  /** Spans that its own gaps declare lost. */
  readonly declaredLost: number;
  /** Findings of a sender; those of a writer are its log's. */
  readonly findings: readonly InstanceFinding[];
}

export interface InstancesReport {
  /** Incomplete ones first, at most {@link INSTANCE_LISTED_COUNT}. */
  readonly instances: readonly InstanceReport[];
  /** How many of all there are. */
  readonly counts: Readonly<Record<Completeness, number>>;
  /** Of the senders: a writer's own log says what is to be said of it. */
  readonly senders: Extract<Verdict, 'valid' | 'incomplete'>;
  /** Of all of them. */
  readonly all: Extract<Verdict, 'valid' | 'incomplete'>;
}

export const INSTANCE_LISTED_COUNT: number = 1000;
export const SENDER_COUNT_MAX: number = 65_536;
export const SENDER_RANGE_COUNT_MAX: number = 1_048_576;
const INTERVAL_MS_UNSAID = 60_000;
/** Sorts behind every time there is. */
const NEVER = '~';

/** A run of a log (FORMAT.md, step 20). */
interface Run {
  readonly life: Life;
  readonly instance: string;
  readonly log: string;
  readonly beganUnclean: boolean;
  heartbeatMs: number;
  cutCount: number;
  /** Interrupted, or open at its end. */
  readonly open: NumberRanges;
  declaredLost: number;
}

interface Sender {
  readonly life: Life;
  readonly instance: string;
  readonly log: string;
  readonly service: string | undefined;
  readonly source: InstanceReport['source'];
  /** The first that came. */
  first: Beat | undefined;
  last: Beat | undefined;
  before: Beat | undefined;
  isUnfollowed: boolean;
  /** Spans seen under a number that another span has. */
  conflictCount: number;
  /** Spans with a number, of nobody known; and those whose number can not be read. */
  unnamedCount: number;
  unreadCount: number;
}

export class Instances {
  readonly #range: TimeRange;
  readonly #senders = new Map<string, Sender>();
  #senderRangeCount = 0;
  #unfollowedSenderCount = 0;
  readonly #spans = new NumberedSpans();
  #run: Run | undefined;
  /** True once a log began behind its record 0: what was before is kept elsewhere, and not known here. */
  #isPartial = false;
  /** Whether the log that is being read was closed, and not opened since. */
  #isClosed = false;
  /** True once a log may go on, and what is missing may still come into it. */
  #goesOn = false;
  /** Last record of the log that is being read. */
  #lastSealed = '';
  /** End of time, as far as the logs know it. */
  #endMs = 0;
  readonly #reports: InstanceReport[] = [];
  readonly #counts: Record<Completeness, number> = {
    complete: 0,
    'complete with declared gaps': 0,
    incomplete: 0,
  };
  #areSendersWhole = true;

  /** @param range times as records spell them: RFC 3339, UTC, milliseconds */
  constructor(range: TimeRange = { from: undefined, to: undefined }) {
    this.#range = range;
  }

  /** Takes the records of one log in order; then call {@link endLog}. */
  take({ header, events, numbers, sent }: TalliedRecord): void {
    const { sealed, source } = header;
    if (this.#lastSealed === '' && header.index > 0) this.#isPartial = true;
    this.#lastSealed = sealed;
    for (const event of events) this.#hear(event, header.log, sealed);
    if (this.#run !== undefined) this.#run.life.heardTo = sealed;
    for (const [first, last] of numbers) this.#run?.life.see(first, last, sealed);
    const principal = source.principal === undefined ? null : encodeBase64(source.principal);
    for (const one of sent) {
      this.#takeSent(one, { kind: source.kind, principal }, header.log, sealed);
    }
  }

  /**
   * The log ends here.
   * @param isLive a writer holds it now
   * @param nowMs time of the caller
   */
  endLog(isLive: boolean, nowMs: number): void {
    const run = this.#run;
    const lastMs = this.#lastSealed === '' ? 0 : Date.parse(this.#lastSealed);
    const isSilent = !isLive && nowMs - lastMs > 2 * (run?.heartbeatMs ?? INTERVAL_MS_UNSAID);
    if (run !== undefined) this.#endRun(run, isSilent ? 'silent' : 'running');
    if (isLive || (!this.#isClosed && !isSilent)) this.#goesOn = true;
    this.#endMs = Math.max(this.#endMs, isLive ? nowMs : lastMs);
    this.#run = undefined;
    this.#isClosed = false;
    this.#lastSealed = '';
  }

  report(): InstancesReport {
    for (const sender of this.#senders.values()) this.#endSender(sender);
    this.#senders.clear();
    const isWhole = this.#areSendersWhole && this.#unfollowedSenderCount === 0;
    const worst = (report: InstanceReport) =>
      report.completeness === 'incomplete' ? 0 : isRemarkable(report) ? 1 : 2;
    return {
      instances: this.#reports
        .sort((a, b) => worst(a) - worst(b) || (a.heardFrom < b.heardFrom ? -1 : 1))
        .slice(0, INSTANCE_LISTED_COUNT),
      counts: this.#counts,
      senders: isWhole ? 'valid' : 'incomplete',
      all: isWhole && this.#counts.complete === this.#total() ? 'valid' : 'incomplete',
    };
  }

  #total(): number {
    return Object.values(this.#counts).reduce((sum, count) => sum + count, 0);
  }

  #hear(event: ControlEvent, log: string, sealed: string): void {
    const before = this.#run;
    if (event.name === 'closed') this.#isClosed = true;
    if (event.name === 'opened') {
      this.#isClosed = false;
      if (event.continues === undefined || before === undefined) {
        if (before !== undefined) this.#endRun(before, 'unclean');
        this.#run = {
          life: new Life(this.#range, sealed),
          instance: event.instance,
          log,
          beganUnclean: before !== undefined,
          heartbeatMs: event.heartbeatMs,
          cutCount: 0,
          open: new NumberRanges(),
          declaredLost: 0,
        };
      }
      const run = this.#run;
      if (run === undefined) return;
      run.heartbeatMs = event.heartbeatMs;
      say(run.life, event.continues ?? 0, sealed);
    }
    if (before === undefined) return;
    const { life } = before;
    if (event.name === 'heartbeat') say(life, event.highest, sealed);
    if (event.name === 'intent') say(life, event.sequence, sealed);
    if (event.name === 'interrupted') {
      before.open.add(event.sequence);
      life.know(event.sequence, sealed);
    }
    if (event.name === 'recovered') before.cutCount++;
    if (event.name === 'gap') {
      if (this.#isInRange(sealed)) before.declaredLost += event.count;
      if (event.first > 0 && event.last >= event.first) {
        life.numbers.add(event.first, event.last);
        life.know(event.last, sealed);
      }
    }
    if (event.name === 'closed') {
      life.heardTo = sealed;
      say(life, event.highest, sealed);
      const state = event.interrupted === undefined ? 'closed' : 'interrupted';
      this.#endRun(before, state, event.open);
      this.#run = undefined;
    }
  }

  #isInRange(sealed: string): boolean {
    const { from = '', to = NEVER } = this.#range;
    return sealed >= from && sealed <= to;
  }

  /** @param open what `closed` says is open */
  #endRun(run: Run, state: InstanceState, open = ''): void {
    const { life } = run;
    const hasNoEnd = state === 'unclean' || state === 'silent';
    if (!life.isIn(hasNoEnd ? 2 * run.heartbeatMs : 0)) return;
    const isUnknown = hasNoEnd && life.endsInRange;
    // Of a run that goes on, what is under way can not be told from what is missing.
    const isSummed = state !== 'running' && !isUnknown;
    const ranges = parseNumberRanges(open);
    addAll(run.open, ranges ?? []);
    life.leaveOpen(run.open.ranges);
    const missing = life.missing(isSummed ? life.highest : 0);
    const isSum = isSummed && missing.count === 0 && ranges !== undefined && !life.numbers.isFull;
    // What was cut off behind an unclean end is of the run before, and that one is told of.
    const isCut = run.cutCount > 0 && !run.beganUnclean && !isSum;
    const isBroken = isUnknown || isCut || (isSummed && !isSum);
    this.#add({
      kind: 'writer',
      instance: run.instance,
      log: run.log,
      service: null,
      source: { kind: 'in-process', principal: null },
      state,
      completeness: isBroken
        ? 'incomplete'
        : run.declaredLost > 0
          ? 'complete with declared gaps'
          : 'complete',
      heardFrom: life.heardFrom,
      heardTo: life.heardTo,
      highest: life.highest,
      missing,
      open: life.open,
      declaredLost: run.declaredLost,
      findings: [],
    });
  }

  #takeSent(
    { instance, service, numbers, spans, unreadCount, beats }: Sent,
    source: InstanceReport['source'],
    log: string,
    sealed: string,
  ): void {
    const key = `${source.kind} ${source.principal ?? '-'} ${instance}`;
    let sender = this.#senders.get(key);
    if (sender === undefined) {
      if (this.#senders.size >= SENDER_COUNT_MAX) {
        this.#unfollowedSenderCount++;
        return;
      }
      sender = {
        life: new Life(this.#range, sealed),
        instance,
        log,
        service,
        source,
        first: undefined,
        last: undefined,
        before: undefined,
        isUnfollowed: false,
        conflictCount: 0,
        unnamedCount: 0,
        unreadCount: 0,
      };
      this.#senders.set(key, sender);
    }
    const { life } = sender;
    // Logs are read one after the other, and may have heard it in any order.
    if (sealed > life.heardTo) life.heardTo = sealed;
    if (sealed < life.heardFrom) life.heardFrom = sealed;
    if (instance === '') {
      sender.unnamedCount += spans.length;
      sender.unreadCount += unreadCount;
      return;
    }
    for (const [number, mark] of spans) {
      if (!this.#spans.isFirst(life, number, mark)) sender.conflictCount++;
    }
    const before = life.numbers.ranges.length;
    for (const [first, last] of numbers) {
      const count = this.#senderRangeCount + life.numbers.ranges.length - before;
      if (count >= SENDER_RANGE_COUNT_MAX && !life.numbers.has(first, last)) {
        sender.isUnfollowed = true;
      }
      if (!sender.isUnfollowed) life.see(first, last, sealed);
    }
    this.#senderRangeCount += life.numbers.ranges.length - before;
    for (const beat of beats) {
      say(life, beat.highest, sealed);
      sender.first ??= beat;
      takeBeat(sender, beat);
    }
  }

  #endSender(sender: Sender): void {
    if (sender.instance === '') {
      this.#endUnnamed(sender);
      return;
    }
    const { life, first, last, before } = sender;
    if (this.#isPartial) {
      life.low = Math.max(life.low, first?.highest ?? Number.MAX_SAFE_INTEGER);
    }
    const intervalMs = last?.intervalMs ?? INTERVAL_MS_UNSAID;
    const silentMs = this.#endMs - Date.parse(life.heardTo);
    const unclosed = this.#goesOn ? 'running' : 'unended';
    const state = last?.isClosed ? 'closed' : silentMs > 2 * intervalMs ? 'silent' : unclosed;
    if (!life.isIn(state === 'silent' ? 2 * intervalMs : 0)) return;
    const told = state === 'running' ? before : last;
    const ranges = parseNumberRanges(told?.open ?? '') ?? [];
    // Of what was cut off nobody knows which are open.
    const cutFrom = (ranges.at(-1)?.[1] ?? Infinity) + 1;
    if (told?.open.endsWith(',...') && cutFrom <= told.highest) {
      ranges.push([cutFrom, told.highest]);
    }
    // What one that runs has open may still end.
    if (state === 'running') addAll(life.numbers, ranges);
    else life.leaveOpen(ranges);
    const missing = life.missing(state === 'running' ? (before?.highest ?? 0) : life.highest);
    const findings: InstanceFinding[] = [];
    if (missing.count > 0) {
      const message = `${missing.count} of ${life.highest} numbers did not arrive: ${missing.ranges}`;
      findings.push({ code: 'source.numbers', message });
    }
    if (state === 'silent' && life.endsInRange) {
      const message = `neither closed nor heard of since ${life.heardTo}; what it started after number ${life.highest} is unknown`;
      findings.push({ code: 'source.silent', message });
    }
    if (sender.isUnfollowed || life.numbers.isFull) {
      const message = 'its numbers are scattered too far to be followed';
      findings.push({ code: 'source.unfollowed', message });
    }
    if (sender.conflictCount > 0) {
      const message = `${sender.conflictCount} spans have a number that another span has: two processes call themselves so, and what one lost the other may hide`;
      findings.push({ code: 'source.conflict', message });
    }
    this.#addSender(sender, state, missing, findings);
  }

  /** Whose numbers they are nobody can tell, so nothing is judged of them. */
  #endUnnamed(sender: Sender): void {
    if (!sender.life.isIn(0)) return;
    const { unnamedCount, unreadCount } = sender;
    const what = [
      ...(unnamedCount > 0
        ? [`${unnamedCount} spans have a number and no service.instance.id that could be taken`]
        : []),
      ...(unreadCount > 0
        ? [`${unreadCount} spans have an aigov.sequence that can not be read as a number`]
        : []),
    ];
    const message = `${what.join(', ')}: of whom nothing is missing, nobody can tell`;
    const missing = { count: 0, ranges: '' };
    this.#addSender(sender, 'running', missing, [{ code: 'source.unnamed', message }]);
  }

  #addSender(
    { instance, log, service, source, life }: Sender,
    state: InstanceState,
    missing: Listed,
    findings: readonly InstanceFinding[],
  ): void {
    if (findings.length > 0) this.#areSendersWhole = false;
    this.#add({
      kind: 'sender',
      instance,
      log,
      service: service ?? null,
      source,
      state,
      completeness: findings.length > 0 ? 'incomplete' : 'complete',
      heardFrom: life.heardFrom,
      heardTo: life.heardTo,
      highest: life.highest,
      missing,
      open: life.open,
      declaredLost: 0,
      findings,
    });
  }

  #add(report: InstanceReport): void {
    this.#counts[report.completeness]++;
    // Those that are complete make room for those that are not.
    if (this.#reports.length >= 2 * INSTANCE_LISTED_COUNT) {
      const kept = this.#reports.filter(isRemarkable);
      this.#reports.splice(0, this.#reports.length, ...kept.slice(0, INSTANCE_LISTED_COUNT));
    }
    this.#reports.push(report);
  }
}

/** Whether there is more to say of it than that it is complete. */
export function isRemarkable({ completeness, open }: InstanceReport): boolean {
  return completeness !== 'complete' || open.count > 0;
}

/** Keeps the last two, in the order of their numbers: they may arrive in another. */
function takeBeat(sender: Sender, beat: Beat): void {
  const { last, before } = sender;
  if (last === undefined || beat.highest >= last.highest) {
    if (last !== undefined && beat.highest > last.highest) sender.before = last;
    sender.last = beat;
  } else if (before === undefined || beat.highest >= before.highest) sender.before = beat;
}
