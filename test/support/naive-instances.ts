// SPDX-License-Identifier: Apache-2.0
/**
 * A second answer on instances, written from FORMAT.md "Instances" alone, step by step. Keeps every record in memory.
 */
import {
  type Content,
  fieldsOf,
  type Header,
  type NaiveFiles,
  Numbers,
  naiveVerify,
  numberOf,
  type Range,
  rangesOf,
  valueFor,
} from './naive-verifier.ts';

export interface NaiveInstance {
  readonly kind: string;
  readonly instance: string;
  readonly state: string;
  readonly completeness: string;
  /** `4,7-9`: of the first sixteen ranges. */
  readonly missing: string;
  /** Likewise. */
  readonly open: string;
  readonly findings: readonly string[];
}

export interface NaiveRange {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

interface Record {
  readonly header: Header;
  readonly content: Content;
}

/** "value of K" */
function claimOf(entry: Buffer, key: string, type: 'count' | 'text'): number | string | undefined {
  const [resourceSpans] = fieldsOf(entry);
  const scopeSpans = fieldsOf(resourceSpans!.body).at(-1);
  const span = fieldsOf(scopeSpans!.body).at(-1);
  for (const { number, body } of fieldsOf(span!.body)) {
    if (number !== 9) continue;
    // The first that holds a text or a count, whichever it is.
    const count = valueFor(body, key, 'count');
    const text = valueFor(body, key, 'text');
    if (count !== undefined || text !== undefined) return type === 'count' ? count : text;
  }
  return undefined;
}

/** Field 1 of a field 9 is that key. */
function hasSequence(entry: Buffer): boolean {
  const [resourceSpans] = fieldsOf(entry);
  const scopeSpans = fieldsOf(resourceSpans!.body).at(-1);
  const span = fieldsOf(scopeSpans!.body).at(-1);
  return fieldsOf(span!.body)
    .filter(({ number }) => number === 9)
    .flatMap(({ body }) => fieldsOf(body))
    .some(({ number, body }) => number === 1 && body.toString('latin1') === 'aigov.sequence');
}

interface Beat {
  readonly highest: number;
  readonly open: string;
  readonly intervalMs: number;
  readonly state: string;
}

function beatOf(entry: Buffer): Beat | undefined {
  const highest = claimOf(entry, 'aigov.heartbeat.highest', 'count');
  const open = claimOf(entry, 'aigov.heartbeat.open', 'text');
  const intervalMs = Number(claimOf(entry, 'aigov.heartbeat.interval_ms', 'count') ?? 0);
  const state = claimOf(entry, 'aigov.heartbeat.state', 'text');
  if (highest === undefined || open === undefined) return undefined;
  if (intervalMs < 1 || intervalMs > 86_400_000) return undefined;
  if (state !== 'running' && state !== 'closed') return undefined;
  return { highest: Number(highest), open: String(open), intervalMs, state };
}

/** Something that was seen or said, and when it was sealed. */
interface Known {
  readonly sealed: string;
  readonly first: number;
  readonly last: number;
  readonly isSeen: boolean;
  /** Seen only as what had not ended. */
  readonly isInterrupted?: boolean;
}

const largest = (known: readonly Known[]): number => Math.max(0, ...known.map(({ last }) => last));

/** Numbers of 1 to `due` that are due in the range and were not seen. */
function missingOf(
  known: readonly Known[],
  more: readonly Range[],
  due: number,
  { from = '', to = '~' }: NaiveRange,
): { text: string; scattered: number } {
  const numbers = new Numbers();
  for (const { isSeen, first, last } of known) if (isSeen) numbers.add(first, last);
  const { scattered } = numbers;
  for (const [first, last] of more) numbers.add(first, last);
  const low = largest(known.filter(({ sealed }) => sealed < from));
  const high = largest(known.filter(({ sealed }) => sealed <= to));
  const missing: string[] = [];
  let next = low + 1;
  const end = Math.min(due, high);
  for (const [first, last] of [...numbers.ranges].sort((a, b) => a[0] - b[0])) {
    if (last < next) continue;
    if (first > end) break;
    if (first > next) missing.push(first - 1 === next ? `${next}` : `${next}-${first - 1}`);
    next = last + 1;
  }
  if (next <= end) missing.push(next === end ? `${next}` : `${next}-${end}`);
  return { text: missing.slice(0, 16).join(','), scattered };
}

/** Numbers left open in the range, of those listed that were not seen. */
function openOf(
  known: readonly Known[],
  listed: readonly Range[],
  { from = '', to = '~' }: NaiveRange,
): string {
  const low = largest(known.filter(({ sealed }) => sealed < from));
  const high = largest(known.filter(({ sealed }) => sealed <= to));
  const isSeen = (number: number): boolean =>
    known.some(({ isSeen, first, last }) => isSeen && first <= number && number <= last);
  const ranges: [number, number][] = [];
  for (let number = low + 1; number <= high; number++) {
    if (isSeen(number)) continue;
    if (!listed.some(([first, last]) => first <= number && number <= last)) continue;
    const range = ranges.at(-1);
    if (range?.[1] === number - 1) range[1] = number;
    else ranges.push([number, number]);
  }
  return ranges
    .slice(0, 16)
    .map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`))
    .join(',');
}

const plus = (sealed: string, ms: number): string =>
  new Date(Date.parse(sealed) + ms).toISOString();

function isIn(from: string, to: string, range: NaiveRange): boolean {
  return from <= (range.to ?? '~') && to >= (range.from ?? '');
}

export interface NaiveLog {
  readonly files: NaiveFiles;
  readonly live?: boolean;
}

/** All instances in the range, sorted by what is said of them. */
export function naiveInstances(
  logs: readonly NaiveLog[],
  nowMs: number,
  range: NaiveRange = {},
): NaiveInstance[] {
  const found: NaiveInstance[] = [];
  const sent: Record[] = [];
  let endMs = 0;
  let goesOn = false;
  for (const { files, live = false } of logs) {
    const records: Record[] = [];
    naiveVerify(files, { vkeys: [], live }, (header, content) => {
      records.push({ header, content });
    });
    const last = records.at(-1)?.header.sealed;
    endMs = Math.max(endMs, live ? nowMs : last === undefined ? 0 : Date.parse(last));
    // 34
    const ends = records
      .flatMap(({ content }) => content.events)
      .filter(({ name }) => name === 'opened' || name === 'closed');
    const opening = ends.findLast(({ name }) => name === 'opened');
    const heartbeatMs = Number(opening?.attributes.get('heartbeatMs') ?? 60_000);
    const isOld = nowMs - (last === undefined ? 0 : Date.parse(last)) > 2 * heartbeatMs;
    if (live || (ends.at(-1)?.name !== 'closed' && !isOld)) goesOn = true;
    found.push(...writersOf(records, live, nowMs, range));
    sent.push(
      ...records.filter(
        ({ header }) => header.kind === 'traces' && header.sourceKind !== 'in-process',
      ),
    );
  }
  found.push(...sendersOf(sent, endMs, goesOn, range));
  const text = (one: NaiveInstance) => JSON.stringify(one);
  return found.sort((a, b) => (text(a) < text(b) ? -1 : 1));
}

interface SenderRecords {
  readonly instance: string;
  readonly known: Known[];
  readonly beats: Beat[];
  /** Last four bytes of the ids that came under each number. */
  readonly spans: Map<number, string[]>;
}

function spanIdOf(entry: Buffer): string {
  const [resourceSpans] = fieldsOf(entry);
  const scopeSpans = fieldsOf(resourceSpans!.body).at(-1);
  const span = fieldsOf(scopeSpans!.body).at(-1);
  const ids = fieldsOf(span!.body).filter(({ number }) => number === 2);
  const hex = ids.at(-1)?.body.subarray(-4).toString('hex') ?? '';
  return hex.replace(/^(?:00)*/, '') || '01';
}

function sendersOf(
  records: readonly Record[],
  endMs: number,
  goesOn: boolean,
  range: NaiveRange,
): NaiveInstance[] {
  // 32: by source kind, principal and text.
  const senders = new Map<string, SenderRecords>();
  for (const { header, content } of records) {
    for (const entry of content.entries) {
      const number = numberOf(entry);
      if (number === undefined && !hasSequence(entry)) continue;
      const claimed =
        number === undefined ? '' : String(claimOf(entry, 'service.instance.id', 'text') ?? '');
      const instance = /^[\x21-\x7e]{1,256}$/.test(claimed) ? claimed : '';
      const key = `${header.sourceKind} ${header.principal} ${instance}`;
      const sender: SenderRecords = senders.get(key) ?? {
        instance,
        known: [],
        beats: [],
        spans: new Map(),
      };
      senders.set(key, sender);
      if (number === undefined) {
        sender.known.push({ sealed: header.sealed, first: 0, last: 0, isSeen: true });
        continue;
      }
      sender.spans.set(number, [...(sender.spans.get(number) ?? []), spanIdOf(entry)]);
      const { sealed } = header;
      sender.known.push({ sealed, first: number, last: number, isSeen: true });
      const beat = beatOf(entry);
      if (beat === undefined) continue;
      sender.known.push({ sealed, first: beat.highest, last: beat.highest, isSeen: false });
      sender.beats.push(beat);
    }
  }
  const found: NaiveInstance[] = [];
  for (const { instance, known, beats, spans } of senders.values()) {
    // 33: stable, so that of two that say the same the later one is behind.
    const ordered = [...beats].sort((a, b) => a.highest - b.highest);
    const last = ordered.at(-1);
    const before = ordered.findLast(({ highest }) => highest < (last?.highest ?? 0));
    // 34
    const times = known.map(({ sealed }) => sealed).sort();
    const heardTo = times.at(-1) ?? '';
    if (instance === '') {
      // 32: nothing else is judged.
      if (!isIn(times[0] ?? '', heardTo, range)) continue;
      const findings = ['source.unnamed'];
      const unknown = { completeness: 'incomplete', missing: '', open: '', findings };
      found.push({ kind: 'sender', instance, state: 'running', ...unknown });
      continue;
    }
    const intervalMs = last?.intervalMs ?? 60_000;
    const isLate = endMs - Date.parse(heardTo) > 2 * intervalMs;
    const unclosed = goesOn ? 'running' : 'unended';
    const state = last?.state === 'closed' ? 'closed' : isLate ? 'silent' : unclosed;
    const until = state === 'silent' ? plus(heardTo, 2 * intervalMs) : heardTo;
    if (!isIn(times[0] ?? '', until, range)) continue;
    // 35
    const told = state === 'running' ? before : last;
    const open = rangesOf(told?.open ?? '') ?? [];
    const notDue: Range[] = [...open];
    if (told?.open.endsWith(',...') && rangesOf(told.open) !== undefined) {
      const behind = open.at(-1)![1] + 1;
      if (behind <= told.highest) notDue.push([behind, told.highest]);
    }
    const due = state === 'running' ? (before?.highest ?? 0) : largest(known);
    const missing = missingOf(known, notDue, due, range);
    const findings: string[] = [];
    if (missing.text !== '') findings.push('source.numbers');
    if (state === 'silent' && heardTo <= (range.to ?? '~')) findings.push('source.silent');
    if (missing.scattered > 65_536) findings.push('source.unfollowed');
    if ([...spans.values()].some((ids) => new Set(ids).size > 1)) findings.push('source.conflict');
    const completeness = findings.length > 0 ? 'incomplete' : 'complete';
    found.push({
      kind: 'sender',
      instance,
      state,
      completeness,
      missing: missing.text,
      open: state === 'running' ? '' : openOf(known, notDue, range),
      findings,
    });
  }
  return found;
}

interface Run {
  readonly instance: string;
  readonly beganUnclean: boolean;
  readonly from: string;
  to: string;
  heartbeatMs: number;
  readonly known: Known[];
  cuts: number;
  gaps: number;
  end: 'closed' | 'interrupted' | 'unclean' | 'last';
  open: string;
}

function writersOf(
  records: readonly Record[],
  live: boolean,
  nowMs: number,
  range: NaiveRange,
): NaiveInstance[] {
  const runs: Run[] = [];
  let run: Run | undefined;
  for (const { header, content } of records) {
    const { sealed } = header;
    for (const { name, attributes } of content.events) {
      const count = (key: string): number => Number(attributes.get(key) ?? 0);
      const know = (first: number, last: number, isSeen: boolean) =>
        run?.known.push({ sealed, first, last, isSeen });
      if (name === 'opened') {
        if (run === undefined || !attributes.has('continues')) {
          if (run !== undefined) run.end = 'unclean';
          run = {
            instance: String(attributes.get('instance')),
            beganUnclean: run !== undefined,
            from: sealed,
            to: sealed,
            heartbeatMs: 0,
            known: [],
            cuts: 0,
            gaps: 0,
            end: 'last',
            open: '',
          };
          runs.push(run);
        }
        run.heartbeatMs = count('heartbeatMs');
        know(count('continues'), count('continues'), false);
      } else if (run !== undefined) {
        if (name === 'heartbeat') know(count('highest'), count('highest'), false);
        if (name === 'intent') know(count('sequence'), count('sequence'), false);
        if (name === 'interrupted') {
          run.known.push({
            sealed,
            first: count('sequence'),
            last: count('sequence'),
            isSeen: true,
            isInterrupted: true,
          });
        }
        if (name === 'recovered') run.cuts++;
        if (name === 'gap') {
          if (isIn(sealed, sealed, range)) run.gaps += count('count');
          if (count('first') >= 1 && count('first') <= count('last')) {
            know(count('first'), count('last'), true);
          }
        }
        if (name === 'closed') {
          know(count('highest'), count('highest'), false);
          run.to = sealed;
          run.end = attributes.has('interrupted') ? 'interrupted' : 'closed';
          run.open = String(attributes.get('open'));
          run = undefined;
        }
      }
    }
    if (run === undefined) continue;
    run.to = sealed;
    if (header.kind !== 'traces' || header.sourceKind !== 'in-process') continue;
    for (const entry of content.entries) {
      const number = numberOf(entry);
      if (number !== undefined)
        run.known.push({ sealed, first: number, last: number, isSeen: true });
    }
  }
  const found: NaiveInstance[] = [];
  for (const one of runs) {
    const isLate = !live && nowMs - Date.parse(one.to) > 2 * one.heartbeatMs;
    const state = one.end === 'last' ? (isLate ? 'silent' : 'running') : one.end;
    const hasNoEnd = state === 'unclean' || state === 'silent';
    if (!isIn(one.from, hasNoEnd ? plus(one.to, 2 * one.heartbeatMs) : one.to, range)) continue;
    const isUnknown = hasNoEnd && one.to <= (range.to ?? '~');
    const isSummed = !isUnknown && state !== 'running';
    const open = rangesOf(one.open);
    const due = isSummed ? largest(one.known) : 0;
    const missing = missingOf(one.known, open ?? [], due, range);
    const adds =
      isSummed && missing.text === '' && open !== undefined && missing.scattered <= 65_536;
    const isBroken =
      isUnknown || (isSummed && !adds) || (one.cuts > 0 && !one.beganUnclean && !adds);
    found.push({
      kind: 'writer',
      instance: one.instance,
      state,
      completeness: isBroken
        ? 'incomplete'
        : one.gaps > 0
          ? 'complete with declared gaps'
          : 'complete',
      missing: missing.text,
      open: openOf(
        one.known.map((each) => ({ ...each, isSeen: each.isSeen && each.isInterrupted !== true })),
        [
          ...one.known
            .filter(({ isInterrupted }) => isInterrupted === true)
            .map(({ first, last }): Range => [first, last]),
          ...(open ?? []),
        ],
        range,
      ),
      findings: [],
    });
  }
  return found;
}
