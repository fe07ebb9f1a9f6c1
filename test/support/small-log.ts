// SPDX-License-Identifier: Apache-2.0
/**
 * Small real logs: requests encoded by protobufjs, records by the real writer on a disk in memory, judged by verifyLog.
 * The clock is the test's, the key is new each time.
 */
import { splitRequest } from '../../exporter/log/entries.ts';
import type { RecordSource } from '../../exporter/log/header.ts';
import { encodeNote, type Verifier } from '../../exporter/log/note.ts';
import type { Primitives, VerifiedRecord } from '../../exporter/log/record.ts';
import type { FindingCode, Report } from '../../exporter/log/report.ts';
import { type LogToVerify, type NamedBytes, verifyLog } from '../../exporter/log/verify.ts';
import { LogWriter, type LogWriterOptions } from '../../exporter/node/storage/log-writer.ts';
import type { Files } from '../../exporter/node/system/files.ts';
import {
  generateKeyPem,
  nodePrimitives,
  parseSigner,
  type Signer,
  sha256,
} from '../../exporter/node/system/keys.ts';
import { MemoryDisk } from './faulty-files.ts';
import { encodeOtlp } from './otlp-backend.ts';

export const DIR = '/log';
export const ORIGIN = 'example.org/audit/small';
export const START_MS: number = Date.parse('2026-11-23T10:00:00.000Z');
export const HEARTBEAT_MS = 60_000;

export const IN_PROCESS: RecordSource = {
  kind: 'in-process',
  principal: undefined,
  policy: 'verbatim',
};
export const COLLECTOR: RecordSource = {
  kind: 'collector',
  principal: sha256(new Uint8Array(Buffer.from('team-a'))),
  policy: 'verbatim',
};

/** A `TracesData` with one span of each name, under one resource and scope. */
export function tracesOf(...names: readonly string[]): Uint8Array {
  const spans = names.map((name) => ({
    name,
    traceId: Buffer.alloc(16, 1).toString('base64'),
    spanId: Buffer.alloc(8, 2).toString('base64'),
    attributes: [{ key: 'gen_ai.operation.name', value: { stringValue: 'chat' } }],
  }));
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'claims' } }] };
  return encodeOtlp('TracesData', {
    resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'app' }, spans }] }],
  });
}

/** A `LogsData` with one log record of each text. */
export function logsOf(...texts: readonly string[]): Uint8Array {
  const logRecords = texts.map((stringValue) => ({ body: { stringValue } }));
  return encodeOtlp('LogsData', { resourceLogs: [{ scopeLogs: [{ logRecords }] }] });
}

export function spanEntries(...names: readonly string[]): Uint8Array[] {
  return splitRequest(tracesOf(...names), 'traces');
}

export function logEntries(...texts: readonly string[]): Uint8Array[] {
  return splitRequest(logsOf(...texts), 'logs');
}

/** Entries of spans that a process gave these numbers. */
export function numberedEntries(...sequences: readonly number[]): Uint8Array[] {
  const idOf = (sequence: number, digits: number): string =>
    Buffer.from(sequence.toString(16).padStart(digits, 'a'), 'hex').toString('base64');
  const spans = sequences.map((sequence) => ({
    name: `chat ${sequence}`,
    traceId: idOf(sequence, 32),
    spanId: idOf(sequence, 16),
    attributes: [{ key: 'aigov.sequence', value: { intValue: String(sequence) } }],
  }));
  const request = encodeOtlp('TracesData', { resourceSpans: [{ scopeSpans: [{ spans }] }] });
  return splitRequest(request, 'traces');
}

/** Of a writer that numbers nothing, so that nothing is missing whatever a test seals. */
export const COUNTERS = {
  started: 4,
  ended: 3,
  sealed: 3,
  lost: 0,
  highest: 0,
  open: '',
} as const;

/** A signer that remembers every note it made: what the outside world may hold. */
export interface WitnessedSigner extends Signer {
  readonly notes: NamedBytes[];
  readonly pem: string;
}

export function openSigner(
  origin: string = ORIGIN,
  pem: string = generateKeyPem(),
  notes: NamedBytes[] = [],
): WitnessedSigner {
  const signer = parseSigner(origin, pem);
  return {
    ...signer,
    pem,
    notes,
    sign: (message) => {
      const signature = signer.sign(message);
      // The texts behind the writer's own files are no notes, and their signatures are never given out.
      if (/^sealspan\/(tail|waypoint)-key@1\n/.test(Buffer.from(message).toString()))
        return signature;
      const bytes = encodeNote(message, [{ verifier: signer.verifier, signature }]);
      notes.push({ name: `checkpoints/${notes.length}`, bytes });
      return signature;
    },
  };
}

/** A clock that moves a millisecond each time somebody looks. */
export function openClock(startMs: number = START_MS): () => number {
  let nowMs = startMs;
  return () => nowMs++;
}

/** Opens the writer of `DIR`. */
export function openWriter(
  files: Files,
  signer: Signer,
  more: Partial<LogWriterOptions> = {},
): LogWriter {
  return LogWriter.open({
    dir: DIR,
    signer,
    files,
    now: openClock(),
    opened: {
      writer: 'sealspan/test',
      instance: '0',
      configuration: sha256(new Uint8Array()),
      heartbeatMs: HEARTBEAT_MS,
    },
    segmentByteLengthMax: 1024 * 1024,
    segmentAgeMsMax: 3_600_000,
    ...more,
  });
}

export function emptyDisk(): MemoryDisk {
  const disk = new MemoryDisk();
  disk.makeDirectory(DIR);
  return disk;
}

/** A log as bytes. */
export interface SmallLog {
  readonly segments: readonly NamedBytes[];
  readonly checkpoints: readonly NamedBytes[];
}

export function logOn(disk: Files): SmallLog {
  const read = (path: string): Uint8Array => disk.readAll(path) ?? new Uint8Array();
  const checkpoint = disk.readAll(`${DIR}/checkpoint`);
  return {
    segments: (disk.list(`${DIR}/segments`) ?? []).map((name) => ({
      name,
      bytes: read(`${DIR}/segments/${name}`),
    })),
    checkpoints: checkpoint === undefined ? [] : [{ name: 'checkpoint', bytes: checkpoint }],
  };
}

/**
 * Two segments with records of every kind: opened, spans, log records and a checkpoint; spans of another source, a
 * heartbeat with a receipt, closed and a checkpoint.
 */
export function sealSmallLog(disk: Files, signer: Signer): void {
  const writer = openWriter(disk, signer);
  writer.append('traces', IN_PROCESS, spanEntries('chat', 'tool'));
  writer.append('logs', COLLECTOR, logEntries('asked'));
  writer.checkpoint();
  writer.finishSegment();
  writer.append('traces', COLLECTOR, spanEntries('chat again'));
  writer.appendControl([
    { name: 'heartbeat', ...COUNTERS },
    {
      name: 'receipt',
      archive: 'directory',
      segment: 0,
      size: 3,
      byteLength: 1,
      sha256: sha256(Uint8Array.of(1)),
      key: `${ORIGIN}/segments/00000000000000000000.seg`,
    },
  ]);
  writer.appendControl([{ name: 'closed', ...COUNTERS }]);
  writer.checkpoint();
  writer.close();
}

export interface Judging extends Partial<Pick<LogToVerify, 'live' | 'nowMs' | 'onRecord'>> {
  readonly verifiers?: readonly Verifier[];
  readonly origin?: string | undefined;
  readonly minimumHead?: LogToVerify['trust']['minimumHead'];
  readonly primitives?: Primitives;
}

/** What the verifier says of a log. */
export function judge(
  log: Pick<LogToVerify, 'removed' | 'segments' | 'checkpoints'>,
  judging: Judging = {},
): Promise<Report> {
  const { verifiers = [], minimumHead, primitives = nodePrimitives } = judging;
  const origin = 'origin' in judging ? judging.origin : ORIGIN;
  return verifyLog(
    {
      ...log,
      trust: { origin, verifiers, selfAttested: false, minimumHead },
      live: judging.live ?? false,
      nowMs: judging.nowMs,
      ...(judging.onRecord === undefined ? {} : { onRecord: judging.onRecord }),
    },
    primitives,
  );
}

export function codesOf(report: Report): FindingCode[] {
  return report.findings.map(({ code }) => code);
}

/** Records of a log in order, those that pass their own checks. */
export async function recordsOf(log: SmallLog, signer: Signer): Promise<VerifiedRecord[]> {
  const records: VerifiedRecord[] = [];
  await judge(log, {
    verifiers: [signer.verifier],
    onRecord: (record) => records.push(record),
  });
  return records;
}

/** Names of the control events of a log, and kinds of its other records, in order. */
export async function outlineOf(log: SmallLog, signer: Signer): Promise<string[]> {
  return (await recordsOf(log, signer)).map(({ header, events }) =>
    header.kind === 'control' ? events.map(({ name }) => name).join(' ') : header.kind,
  );
}
