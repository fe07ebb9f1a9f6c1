// SPDX-License-Identifier: Apache-2.0
/**
 * The verifier: reads a log's bytes and says what holds, step by step as FORMAT.md "Verifying" numbers them.
 * Trusts nothing in the log: keys, origin and minimum head come from the caller (invariant 9). It can not tell
 * whether an application emitted a span, nor whether content is true.
 */
import { encodeBase64, equalBytes } from './bytes.ts';
import type { ClosedEvent, ControlEvent, OpenedEvent } from './control.ts';
import { saidOf } from './errors.ts';
import { SEGMENT_BYTE_LENGTH_MAX } from './limits.ts';
import { type Hash, leafHash, NO_LINK, type Sha256, Tree } from './merkle.ts';
import {
  type Checkpoint,
  type Head,
  judgeNote,
  parseCheckpoint,
  type Verifier,
  type VerifyEd25519,
} from './note.ts';
import { formatNumberRanges, NumberRanges, parseNumberRanges } from './numbers.ts';
import {
  type CheckedRecord,
  type Primitives,
  type RecordFault,
  type VerifiedRecord,
  verifyRecord,
} from './record.ts';
import { type FindingCode, Findings, type Report } from './report.ts';
import { type Frame, parseSegmentName, readFrame } from './segment.ts';

/** A file as it was read, under the name that findings call it by. */
export interface NamedBytes {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What the caller knows from outside the log. */
export interface Trust {
  /** Name of the log expected; undefined takes the name that the log gives itself, which proves less. */
  readonly origin: string | undefined;
  readonly verifiers: readonly Verifier[];
  /** True where the verifiers were found beside the log. */
  readonly selfAttested: boolean;
  /** A head seen before: the log must still reproduce it. */
  readonly minimumHead: Head | undefined;
}

/** What is left of records that were removed: their number, the peaks of the tree over them, the last one's leaf hash. */
export interface Removed {
  readonly size: number;
  readonly peaks: readonly Hash[];
  readonly link: Hash;
}

export interface LogToVerify<Checked extends CheckedRecord = VerifiedRecord> {
  /** What stands for the first records. It proves nothing by itself: a head that was signed behind it has to fit. */
  readonly removed?: Removed | undefined;
  /** Segments in the order of their names. */
  readonly segments: AsyncIterable<NamedBytes> | Iterable<NamedBytes>;
  readonly checkpoints: readonly NamedBytes[];
  readonly trust: Trust;
  /** True where a writer holds the log right now: what it has not signed yet is no finding. */
  readonly live: boolean;
  /** Clock of the caller, milliseconds since 1970; undefined leaves silence unjudged. */
  readonly nowMs: number | undefined;
  /** Sees each record that passed its own checks, in order. Whether a signature covers it, only the report tells. */
  readonly onRecord?: (record: Checked) => void;
}

/** Heads to hold the tree against when it reaches their size: root, and whose word it is. */
type ExpectedHeads = Map<number, { readonly root: Hash; readonly where: string }[]>;

/** The state of one walk over a log: its tree so far, and what the events told. */
class Walk {
  readonly findings: Findings;
  readonly #sha256: Sha256;
  readonly #tree: Tree;
  readonly #expected: ExpectedHeads;
  origin: string | undefined;
  /** Records that were removed or read. */
  size: number;
  entries = 0;
  declaredLost = 0;
  firstSealed: string | undefined;
  lastSealed: string | undefined;
  #link: Hash;
  /** Unknown where its `opened` was removed. */
  #heartbeatMs = Number.POSITIVE_INFINITY;
  #isOpen: boolean;
  /** In the middle of a run whose beginning was removed: its numbers can not be summed. */
  #isPartial: boolean;
  /** Numbers accounted for since the process that writes began: sealed, declared lost, or interrupted. */
  #numbers = new NumberRanges();
  /** Highest number that it said, before it said the last. */
  #highest = 0;
  #beganUnclean: boolean;
  /** What recovery cut out of the run of that process, until its numbers are summed. */
  #cuts: { readonly where: string; readonly message: string }[] = [];
  /** Sizes at which the tree had the expected root, and that root. */
  readonly reproduced: Map<number, Hash> = new Map();

  constructor(
    findings: Findings,
    sha256: Sha256,
    origin: string | undefined,
    expected: ExpectedHeads,
    { size, peaks, link }: Removed,
  ) {
    this.findings = findings;
    this.#sha256 = sha256;
    this.#tree = new Tree(sha256, size, peaks);
    this.#expected = expected;
    this.origin = origin;
    this.#link = link;
    this.size = size;
    this.#isOpen = size > 0;
    this.#isPartial = size > 0;
    this.#beganUnclean = size > 0;
    if (size > 0) this.#meetHeads();
  }

  /** Holds one record against its neighbours and takes it into the tree. Reports; never stops at a wrong content. */
  take({ header, headerBytes }: Frame, where: string, checked: CheckedRecord | RecordFault): void {
    this.origin ??= header.log;
    const report = (code: FindingCode, message: string) => this.findings.add(code, where, message);
    if (header.log !== this.origin) report('record.log', `belongs to the log ${header.log}`);
    if (header.index !== this.size) report('record.index', `has index ${header.index}`);
    if (!equalBytes(header.prev, this.#link))
      report('record.link', 'does not link to the record before it');
    if (this.lastSealed !== undefined && header.sealed < this.lastSealed) {
      report('record.time', `sealed ${header.sealed}, before ${this.lastSealed}`);
    }
    if ('code' in checked) report(checked.code, checked.message);
    else {
      if (!this.#isOpen && checked.events[0]?.name !== 'opened') {
        report('record.opened', 'the log was not opened before this record');
      }
      for (const event of checked.events) this.#hear(event, where);
      for (const [first, last] of checked.numbers) this.#numbers.add(first, last);
      if (header.kind !== 'control') this.entries += header.entryCount;
    }
    this.#link = 'leaf' in checked ? checked.leaf : leafHash(this.#sha256, headerBytes);
    this.#tree.append(this.#link);
    this.firstSealed ??= header.sealed;
    this.lastSealed = header.sealed;
    this.size++;
    this.#meetHeads();
  }

  #meetHeads(): void {
    for (const { root, where: whose } of this.#expected.get(this.size) ?? []) {
      if (equalBytes(this.#tree.root(), root)) this.reproduced.set(this.size, root);
      else this.findings.add('log.root', whose, `the log has another root at ${this.size} records`);
    }
  }

  #hear(event: ControlEvent, where: string): void {
    if (event.name === 'opened') this.#hearOpened(event, where);
    if (event.name === 'closed') this.#hearClosed(event, where);
    if (event.name === 'heartbeat') this.#highest = Math.max(this.#highest, event.highest);
    if (event.name === 'intent') this.#highest = Math.max(this.#highest, event.sequence);
    if (event.name === 'interrupted') this.#numbers.add(event.sequence);
    if (event.name === 'gap') {
      this.declaredLost += event.count;
      if (event.first > 0 && event.last >= event.first) this.#numbers.add(event.first, event.last);
      const message = `${event.count} spans lost from ${event.from} to ${event.to}: ${event.cause}`;
      this.findings.add('log.gap', where, message);
    }
    if (event.name === 'adopted') {
      const message = `records ${event.from} to ${event.size - 1} were found unsigned and unauthenticated after a crash: whoever can write there may have put them there`;
      this.findings.add('log.adopted', where, message);
    }
    if (event.name === 'recovered') {
      const message = `recovery cut ${event.byteLength} bytes from the end of the log`;
      this.#cuts.push({ where, message });
    }
  }

  #hearOpened(event: OpenedEvent, where: string): void {
    // Whether the run before it was closed, only removed records tell.
    const isFirst = this.#isPartial && this.firstSealed === undefined;
    if (isFirst && event.continues === undefined) this.#isOpen = false;
    if (event.size !== this.#tree.size || !equalBytes(event.root, this.#tree.root())) {
      this.findings.add('record.opened', where, 'opened states another head than the log had');
    }
    // The same process may lose its disk and open the log again: its numbers are summed at its end.
    if (event.continues === undefined || !this.#isOpen) {
      const { ranges } = this.#numbers.missing(this.#highest);
      const known = ranges.length > 0 ? `; no end is sealed of ${formatNumberRanges(ranges)}` : '';
      const message = `the log was not closed before; what its writer had not sealed is unknown${known}`;
      if (this.#isOpen) this.findings.add('log.unclean-end', where, message);
      this.endRun();
      this.#beganUnclean = this.#isOpen;
    }
    this.#isOpen = true;
    this.#highest = Math.max(this.#highest, event.continues ?? 0);
    this.#heartbeatMs = event.heartbeatMs;
  }

  /** The numbers of a process add up, or the difference is named (invariant 8). */
  #hearClosed(event: ClosedEvent, where: string): void {
    this.#isOpen = false;
    // Numbers that are in the log were given out, whatever `closed` says: it may be told by a journal that was cut.
    const highest = Math.max(event.highest, this.#highest, this.#numbers.highest);
    const open = parseNumberRanges(event.open);
    for (const [first, last] of open ?? []) this.#numbers.add(first, last);
    const missing = this.#numbers.missing(highest);
    let problem =
      missing.count === 0
        ? undefined
        : `${missing.count} of ${highest} numbers are in no record: ${formatNumberRanges(missing.ranges)}`;
    if (open === undefined || this.#numbers.isFull) problem = 'the numbers can not be summed';
    if (this.#isPartial) problem = undefined;
    if (problem !== undefined) this.findings.add('log.numbers', where, problem);
    if (event.interrupted !== undefined) {
      const message = `the process could not seal its own end (killed, or its disk was away); ${event.interrupted} calls have no outcome in the log`;
      this.findings.add('log.interrupted', where, message);
    }
    // A cut told behind an unclean end is of the run before, whose numbers nobody summed.
    this.endRun(problem === undefined && !this.#beganUnclean);
  }

  /** What was cut is whole again if all numbers are accounted for across it (invariant 5). */
  endRun(isWhole = false): void {
    for (const cut of this.#cuts) {
      this.findings.add(isWhole ? 'log.recovered-whole' : 'log.recovered', cut.where, cut.message);
    }
    this.#cuts = [];
    this.#numbers = new NumberRanges();
    this.#highest = 0;
    this.#isPartial = false;
  }

  /** Milliseconds of silence beyond two heartbeats; 0 where the log is closed or its writer not late. */
  silenceMs(nowMs: number): number {
    if (!this.#isOpen || this.lastSealed === undefined) return 0;
    const silentMs = nowMs - Date.parse(this.lastSealed);
    return silentMs > 2 * this.#heartbeatMs ? silentMs : 0;
  }
}

/** Checkpoints that a trusted key signed; the rest becomes findings. */
async function judgeCheckpoints(
  { checkpoints, trust }: Pick<LogToVerify, 'checkpoints' | 'trust'>,
  verifyEd25519: VerifyEd25519,
  findings: Findings,
) {
  const trusted: Checkpoint[] = [];
  const expected: ExpectedHeads = new Map();
  const signers = new Set<string>();
  const expect = (head: Head, where: string) => {
    const list = expected.get(head.size) ?? [];
    list.push({ root: head.root, where });
    expected.set(head.size, list);
  };
  if (trust.verifiers.length === 0)
    findings.add('key.missing', 'trust', 'no key to check signatures with');
  if (checkpoints.length === 0)
    findings.add('checkpoint.missing', 'log', 'no checkpoint: nothing is signed');
  for (const { name, bytes } of checkpoints) {
    const report = (code: FindingCode, message: string) => findings.add(code, name, message);
    let checkpoint: Checkpoint;
    try {
      checkpoint = parseCheckpoint(bytes);
    } catch (cause) {
      report('checkpoint.syntax', saidOf(cause));
      continue;
    }
    const origin = trust.origin ?? trusted[0]?.origin;
    if (origin !== undefined && checkpoint.origin !== origin) {
      report('checkpoint.origin', `belongs to the log ${checkpoint.origin}`);
      continue;
    }
    const keys = trust.verifiers.filter((verifier) => verifier.name === checkpoint.origin);
    const { signedBy, forged } = await judgeNote(checkpoint.note, keys, verifyEd25519);
    if (forged.length > 0) {
      report('checkpoint.signature', `the signature of ${forged[0]!.name} does not hold`);
      continue;
    }
    if (signedBy.length === 0) {
      report('checkpoint.unsigned', 'no trusted key signed it');
      continue;
    }
    for (const signer of signedBy) signers.add(signer.name);
    trusted.push(checkpoint);
    expect(checkpoint, name);
  }
  if (trust.minimumHead !== undefined) expect(trust.minimumHead, 'minimum head');
  return { trusted, expected, signers };
}

/**
 * Verifies a log. Reads each segment once, keeps one in memory, and reports instead of throwing for anything that
 * is in the bytes; rejects only where `segments` or a primitive does.
 *
 * @example
 * const report = await verifyLog(
 *   { segments: [], checkpoints: [], trust: { origin: 'a', verifiers: [], selfAttested: false, minimumHead: undefined }, live: false, nowMs: undefined },
 *   primitives,
 * );
 * report.verdict; // 'unverifiable': nothing was checked, and that is never valid
 */
export function verifyLog(log: LogToVerify, primitives: Primitives): Promise<Report> {
  return verifyLogBy((frame) => verifyRecord(frame, primitives), log, primitives);
}

/**
 * As {@link verifyLog}, where the caller sees to it that each record is checked, as {@link verifyRecord} does it: the report
 * is worth as much as these answers. Asks for one at a time and in order, and rejects where `check` does.
 */
export async function verifyLogBy<Checked extends CheckedRecord>(
  check: (frame: Frame) => Promise<Checked | RecordFault>,
  log: LogToVerify<Checked>,
  { sha256, verifyEd25519 }: Pick<Primitives, 'sha256' | 'verifyEd25519'>,
): Promise<Report> {
  const findings = new Findings();
  const { trusted, expected, signers } = await judgeCheckpoints(log, verifyEd25519, findings);
  const signedSize = Math.max(0, ...trusted.map((checkpoint) => checkpoint.size));
  const removed = log.removed ?? { size: 0, peaks: [], link: NO_LINK };
  const origin = log.trust.origin ?? trusted[0]?.origin;
  const walk = new Walk(findings, sha256, origin, expected, removed);

  let lastName = '';
  let tornWhere: string | undefined;
  walking: for await (const { name, bytes } of log.segments) {
    lastName = name;
    if (tornWhere !== undefined) {
      const message = 'ends in the middle of a record, and another segment follows';
      findings.add('record.header', tornWhere, message);
      tornWhere = undefined;
      break;
    }
    if (bytes.length > SEGMENT_BYTE_LENGTH_MAX) {
      findings.add('segment.too-long', name, `has ${bytes.length} bytes`);
      break;
    }
    if (parseSegmentName(name) !== walk.size) {
      findings.add('segment.name', name, `is not the segment of record ${walk.size}`);
      break;
    }
    for (let at = 0; at < bytes.length; ) {
      const where = `segment ${name} record ${walk.size}`;
      let frame: Frame | undefined;
      try {
        frame = readFrame(bytes, at);
      } catch (cause) {
        findings.add('record.header', where, saidOf(cause));
        break walking;
      }
      if (frame === undefined) {
        tornWhere = where;
        break;
      }
      const checked = await check(frame);
      walk.take(frame, where, checked);
      if ('leaf' in checked) log.onRecord?.(checked);
      at = frame.end;
    }
  }

  // What no later record can account for is told.
  walk.endRun();
  const end = `segment ${lastName || '-'} record ${walk.size}`;
  const report = (code: FindingCode, message: string) => findings.add(code, end, message);
  const minimum = log.trust.minimumHead;
  if (walk.size < signedSize) {
    report('log.truncated', `${walk.size} records, but ${signedSize} were signed`);
  }
  if (minimum !== undefined && walk.size < minimum.size) {
    report('log.rollback', `${walk.size} records, but ${minimum.size} were seen before`);
  }
  if (removed.size > 0) {
    const isSeen = minimum !== undefined && walk.reproduced.has(minimum.size);
    const message = `records 0 to ${removed.size - 1} were removed here, and not read`;
    findings.add(isSeen ? 'log.pruned-seen' : 'log.pruned', 'pruned', message);
  }
  if (walk.size === removed.size) findings.add('log.empty', 'log', 'holds no record');
  const root = walk.reproduced.get(signedSize);
  const size = root === undefined ? 0 : signedSize;
  const unsignedRecords = Math.max(0, walk.size - signedSize);
  if (unsignedRecords > 0) {
    const message = `${unsignedRecords} records at the end are not covered by a signature`;
    report(log.live ? 'log.unsigned-tail-live' : 'log.unsigned-tail', message);
  }
  if (tornWhere !== undefined) {
    if (log.live) findings.add('log.unsigned-tail-live', tornWhere, 'a record is being written');
    else findings.add('log.torn-tail', tornWhere, 'the log ends in the middle of a record');
  }
  const silenceMs = log.live || log.nowMs === undefined ? 0 : walk.silenceMs(log.nowMs);
  if (silenceMs > 0) {
    report('log.silent', `the writer neither closed the log nor wrote for ${silenceMs} ms`);
  }

  return {
    verdict: findings.verdict,
    log: walk.origin ?? '',
    size,
    root: root === undefined ? '' : encodeBase64(root),
    records: walk.size - removed.size,
    entries: walk.entries,
    declaredLost: walk.declaredLost,
    findings: findings.list,
    findingsOmitted: findings.omitted,
    assurance: {
      signer: signers.size === 0 ? 'none' : [...signers].join(', '),
      selfAttested: log.trust.selfAttested,
      tail:
        minimum === undefined
          ? 'not checked: no earlier head was given'
          : walk.reproduced.has(minimum.size)
            ? `extends the head of ${minimum.size} records seen before`
            : minimum.size < removed.size
              ? 'not checked: the head seen before lies in what was removed'
              : 'does not extend the head seen before',
      population: 'not checked: no list of expected logs was given',
      fork: 'fork after restore: not excluded',
      witnesses: 'none',
      archiveLock: 'not checked',
      unsignedRecords,
      claimedFrom: walk.firstSealed,
      claimedTo: walk.lastSealed,
    },
  };
}
