// SPDX-License-Identifier: Apache-2.0
/**
 * Writes test/vectors/logs/: whole logs, honest and tampered with, each with the verdict and the findings it must have.
 * `node scripts/vectors.ts`. Times and key are fixed and payloads are stored uncompressed, so that the same code gives
 * the same bytes everywhere. What is expected is stated here by hand and computed by nothing.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants as zstd, zstdCompressSync } from 'node:zlib';
import { encodeBase64 } from '../exporter/log/bytes.ts';
import { type ControlEvent, encodeControl } from '../exporter/log/control.ts';
import { encodeHeader, type RecordHeader, WRITER_SOURCE } from '../exporter/log/header.ts';
import { leafHash, NO_LINK, rootOf } from '../exporter/log/merkle.ts';
import { encodeCheckpointText, encodeNote, type Head } from '../exporter/log/note.ts';
import type { FindingCode, Verdict } from '../exporter/log/report.ts';
import { segmentName } from '../exporter/log/segment.ts';
import { encodePruned } from '../exporter/node/storage/prune.ts';
import { parseSigner, type Signer } from '../exporter/node/system/keys.ts';

export interface VectorTrust {
  readonly origin?: string | undefined;
  readonly vkeys: readonly string[];
  readonly minimum?: { readonly size: number; readonly root: string };
  readonly live?: boolean;
  readonly nowMs?: number;
}

/** One log and what must be said of it. Files are base64, or as many zero bytes. */
export interface Vector {
  readonly name: string;
  readonly says: string;
  readonly trust: VectorTrust;
  readonly files: Readonly<Record<string, string | { readonly zeros: number }>>;
  readonly verdict: Verdict;
  /** Sorted, each once. */
  readonly findings: readonly FindingCode[];
}

// ------------------------------------------------------------------------------------------------- Building

const bytes = (...parts: readonly (Uint8Array | string | number)[]): Buffer =>
  Buffer.concat(
    parts.map((part) =>
      typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part as string),
    ),
  );
const sha256 = (data: Uint8Array): Uint8Array => createHash('sha256').update(data).digest();
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** PKCS #8 of an Ed25519 key (RFC 8410) up to its 32 bytes. The key is as public as this line and guards nothing. */
const PKCS8 = hex('302e020100300506032b657004220420');
export function vectorSigner(origin: string, word = 'one'): Signer {
  const der = bytes(PKCS8, sha256(bytes(`sealspan test vectors, key ${word}`)));
  const pem = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`;
  return parseSigner(origin, pem);
}

export const ORIGIN = 'vectors/log';
export const START_MS: number = Date.parse('2026-11-23T10:15:30.000Z');
export const HEARTBEAT_MS = 60_000;
const SIGNER = vectorSigner(ORIGIN);

function varint(value: number | bigint): Buffer {
  const out: number[] = [];
  let rest = BigInt(value);
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  return bytes(...out, Number(rest));
}
/** A LEN field with a minimal length. */
export const f = (number: number, ...parts: readonly (Uint8Array | string | number)[]): Buffer => {
  const body = bytes(...parts);
  return bytes(varint(number * 8 + 2), varint(body.length), body);
};

export const span = (name: string): Buffer =>
  bytes(
    f(1, Buffer.alloc(16, 0x4b)),
    f(2, Buffer.alloc(8, 0xf0)),
    f(5, name),
    hex('39 00f5116e19a5ea18 41 80a7f87c19a5ea18'),
  );
const RESOURCE = f(1, f(1, f(1, 'service.name'), f(2, f(1, 'claims'))));
const SCOPE = f(1, f(1, 'app'));
export const around = (...items: readonly Uint8Array[]): Buffer =>
  f(1, RESOURCE, f(2, SCOPE, ...items.map((item) => f(2, item))));
const traces = (...names: readonly string[]): Uint8Array[] =>
  names.map((name) => around(span(name)));
const logs = (...texts: readonly string[]): Uint8Array[] =>
  texts.map((text) => around(f(5, f(1, text))));

/** A frame of one raw block without a compressor: single segment, the shortest content size. */
export function rawFrame(payload: Uint8Array): Buffer {
  return frameOf(payload.length, [block(0, payload.length, payload)]);
}
/** `last` is set by frameOf. */
const block = (type: number, size: number, content: Uint8Array): Buffer => {
  const head = Buffer.alloc(3);
  head.writeUIntLE(size * 8 + type * 2, 0, 3);
  return bytes(head, content);
};
function frameOf(contentSize: number, blocks: readonly Buffer[], more = 0): Buffer {
  const flag = contentSize < 256 ? 0 : contentSize < 65_792 ? 1 : 2;
  const size = Buffer.alloc([1, 2, 4][flag]!);
  size.writeUIntLE(flag === 1 ? contentSize - 256 : contentSize, 0, size.length);
  return bytes(hex('28b52ffd'), flag * 64 + 0x20 + more, size, lastOf(blocks));
}
function lastOf(blocks: readonly Buffer[]): Buffer {
  const all = blocks.map((one) => Buffer.from(one));
  const last = all.at(-1)!;
  last[0] = last[0]! | 1;
  return bytes(...all);
}
/** Frame with a window descriptor and an eight-byte content size. */
function windowFrame(payload: Uint8Array, window: number): Buffer {
  const size = Buffer.alloc(8);
  size.writeUInt32LE(payload.length, 0);
  return bytes(hex('28b52ffd c0'), window, size, lastOf([block(0, payload.length, payload)]));
}
/** The checksum depends on the content alone, so that any compressor's will do. */
function checksummed(payload: Uint8Array): Buffer {
  const sum = zstdCompressSync(payload, { params: { [zstd.ZSTD_c_checksumFlag]: 1 } }).subarray(-4);
  return bytes(frameOf(payload.length, [block(0, payload.length, payload)], 4), sum);
}

type Events = readonly (ControlEvent | ((head: Head) => ControlEvent))[];

/** A record to be sealed. What is given instead of the usual is what a key holder who lies would seal. */
export interface Draft {
  readonly kind: RecordHeader['kind'];
  readonly entries: (head: Head, timeMs: number) => readonly Uint8Array[];
  readonly frame?: (payload: Uint8Array) => Uint8Array;
  readonly header?: Partial<RecordHeader>;
  readonly text?: (header: string) => string;
}
export interface SealedRecord {
  readonly header: Uint8Array;
  readonly stored: Uint8Array;
}
export interface SealedLog {
  readonly origin: string;
  readonly segments: readonly (readonly SealedRecord[])[];
  headAt(size: number): Head;
}

/** Seals drafts into a chain whose links and roots hold, whatever is in the records. */
export function sealDrafts(drafts: readonly (readonly Draft[])[], origin = ORIGIN): SealedLog {
  const leaves: Uint8Array[] = [];
  const headAt = (size: number): Head => ({ size, root: rootOf(sha256, leaves.slice(0, size)) });
  const seal = (draft: Draft): SealedRecord => {
    const index = leaves.length;
    const timeMs = START_MS + 1000 * index;
    const entries = draft.entries(headAt(index), timeMs);
    const payload = bytes(...entries);
    const stored = (draft.frame ?? rawFrame)(payload);
    const plain = encodeHeader({
      log: origin,
      index,
      prev: leaves.at(-1) ?? NO_LINK,
      sealed: new Date(timeMs).toISOString(),
      source: WRITER_SOURCE,
      kind: draft.kind,
      payloadByteLength: payload.length,
      storedByteLength: stored.length,
      storedHash: sha256(stored),
      entryCount: Math.max(1, entries.length),
      root: rootOf(
        sha256,
        entries.map((entry) => leafHash(sha256, entry)),
      ),
      ...draft.header,
    });
    const header =
      draft.text === undefined
        ? plain
        : Buffer.from(draft.text(Buffer.from(plain).toString('latin1')), 'latin1');
    leaves.push(leafHash(sha256, header));
    return { header, stored };
  };
  const segments = drafts.map((segment) => segment.map(seal));
  return { origin, segments, headAt };
}

const OPENED = (head: Head): ControlEvent & { name: 'opened' } => ({
  name: 'opened',
  ...head,
  writer: 'sealspan/1.0.0',
  instance: '0',
  configuration: sha256(bytes('{}')),
  heartbeatMs: HEARTBEAT_MS,
});
/** Of a writer that numbers nothing. */
const COUNTERS = { started: 4, ended: 4, sealed: 4, lost: 0, highest: 0, open: '' } as const;
const HEARTBEAT: ControlEvent = { name: 'heartbeat', ...COUNTERS, ended: 3 };
const CLOSED: ControlEvent = { name: 'closed', ...COUNTERS };
const GAP: ControlEvent = {
  name: 'gap',
  count: 3,
  first: 2,
  last: 4,
  from: '2026-11-23T10:15:29.000Z',
  to: '2026-11-23T10:15:30.000Z',
  cause: 'the queue was full',
};
export const RECOVERED: ControlEvent = {
  name: 'recovered',
  segment: 0,
  offset: 500,
  byteLength: 3,
  sha256: sha256(bytes('cut')),
  cut: new Uint8Array(bytes('cut')),
};
const ADOPTED: ControlEvent = { name: 'adopted', from: 1, size: 2 };
const RECEIPT: ControlEvent = {
  name: 'receipt',
  archive: 'directory',
  segment: 0,
  size: 3,
  byteLength: 9,
  sha256: sha256(bytes('segment')),
  key: `${ORIGIN}/segments/${segmentName(0)}`,
  lock: 'none',
};

export const control = (...events: Events): Draft => ({
  kind: 'control',
  entries: (head, timeMs) =>
    events.map((event) => encodeControl(typeof event === 'function' ? event(head) : event, timeMs)),
});
const of = (kind: Draft['kind'], entries: readonly Uint8Array[], more?: Partial<Draft>): Draft => ({
  kind,
  entries: () => entries,
  ...more,
});
export const opened: Draft = control(OPENED);
const closed = control(CLOSED);
export const GATEWAY: { readonly source: RecordHeader['source'] } = {
  source: { kind: 'direct', principal: sha256(bytes('team')), policy: 'no-content' },
};

/** Six records in three segments, one of each sort. */
export const WHOLE_DRAFTS: readonly (readonly Draft[])[] = [
  [opened, of('traces', traces('chat', 'tool')), of('logs', logs('asked'))],
  [of('traces', traces('again'), { header: GATEWAY }), control(HEARTBEAT, RECEIPT)],
  [closed],
];

export const closedAt = (
  highest: number,
  more?: Partial<ControlEvent & { name: 'closed' }>,
): ControlEvent => ({ name: 'closed', ...COUNTERS, highest, ...more }) as ControlEvent;
export const heartbeatAt = (highest: number): ControlEvent =>
  ({ ...HEARTBEAT, highest }) as ControlEvent;
export const interrupted = (sequence: number, model?: string): ControlEvent => ({
  name: 'interrupted',
  sequence,
  traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
  spanId: '00f067aa0ba902b7',
  startedMs: START_MS,
  ...(model === undefined ? {} : { model }),
});
export const intent = (sequence: number): ControlEvent => ({
  ...(interrupted(sequence) as ControlEvent & { name: 'interrupted' }),
  name: 'intent',
});
export const gapOf = (first: number, last: number): ControlEvent =>
  ({ ...GAP, count: 1, first, last }) as ControlEvent;
/** `aigov.sequence` as an attribute; a number is any varint. */
export const sequence = (number: number | bigint): Buffer =>
  f(9, f(1, 'aigov.sequence'), f(2, 0x18, varint(number)));
const numbered = (...numbers: readonly number[]): Uint8Array[] =>
  numbers.map((number) => around(bytes(span('chat'), sequence(number))));
export const calls = (...numbers: readonly number[]): Draft => of('traces', numbered(...numbers));
const continued = (continues: number): Draft =>
  control((head) => ({ ...OPENED(head), continues }) as ControlEvent);

/** Two processes: one that loses its disk and was killed, one that ends in order with a call still running. */
export const NUMBERED_DRAFTS: readonly (readonly Draft[])[] = [
  [opened, calls(2, 1), control(heartbeatAt(4)), continued(4), control(RECOVERED), calls(4)],
  [control(RECOVERED, interrupted(3, 'gpt-5'), closedAt(4, { interrupted: 1 })), opened],
  [calls(1), control(interrupted(2), closedAt(3, { open: '2-3' }))],
];

type Files = Record<string, Uint8Array | { readonly zeros: number }>;

function sign(text: Uint8Array, ...signers: readonly Signer[]): Uint8Array {
  return encodeNote(
    text,
    signers.map((signer) => ({ verifier: signer.verifier, signature: signer.sign(text) })),
  );
}
function checkpoint(log: SealedLog, size: number, signer = SIGNER): Uint8Array {
  return sign(encodeCheckpointText(log.origin, log.headAt(size)), signer);
}
function segmentFiles(segments: readonly (readonly SealedRecord[])[]): Files {
  const files: Files = {};
  let first = 0;
  for (const records of segments) {
    files[`segments/${segmentName(first)}`] = bytes(
      ...records.flatMap(({ header, stored }) => [header, stored]),
    );
    first += records.length;
  }
  return files;
}
const countOf = (log: SealedLog): number => log.segments.flat().length;
/** Files of a log signed at `size`, by default at its end. */
export function filesOf(log: SealedLog, size: number = countOf(log)): Files {
  return { ...segmentFiles(log.segments), checkpoint: checkpoint(log, size) };
}

/** What a writer leaves of the first records once their segments are removed. */
function prunedFile(log: SealedLog, size: number): Uint8Array {
  const leaves = log.segments.flat().map(({ header }) => leafHash(sha256, header));
  const peaks: Uint8Array[] = [];
  let at = 0;
  for (let power = 2 ** 20; power >= 1; power /= 2) {
    if (Math.floor(size / power) % 2 === 0) continue;
    peaks.push(rootOf(sha256, leaves.slice(at, at + power)));
    at += power;
  }
  return encodePruned({ size, peaks, link: leaves[size - 1]! });
}
/** Files of a log whose first `size` records were removed. */
function prunedFiles(log: SealedLog, size: number, more: Files = {}): Files {
  const files = Object.entries(filesOf(log));
  const first = (path: string): number => Number(/([0-9]{20})\.seg$/.exec(path)?.[1] ?? size);
  const kept = files.filter(([path]) => first(path) >= size);
  return { ...Object.fromEntries(kept), pruned: prunedFile(log, size), ...more };
}

// ---------------------------------------------------------------------------------------------------- Cases

const SEG = (first: number): string => `segments/${segmentName(first)}`;
const TRUST: VectorTrust = { origin: ORIGIN, vkeys: [SIGNER.vkey] };

/** All vectors, in the order of their names. */
export function makeVectors(): Vector[] {
  const vectors = new Map<string, Vector>();
  const encode = (file: Files[string]): string | { zeros: number } =>
    file instanceof Uint8Array ? encodeBase64(file) : file;
  const add =
    (verdict: Verdict) =>
    (name: string, says: string, codes: string, files: Files, trust?: Partial<VectorTrust>) => {
      if (vectors.has(name)) throw new TypeError(`two vectors ${name}`);
      vectors.set(name, {
        name,
        says,
        trust: { ...TRUST, ...trust },
        files: Object.fromEntries(
          Object.entries(files).map(([path, file]) => [path, encode(file)]),
        ),
        verdict,
        findings: codes === '' ? [] : (codes.split(' ').sort() as FindingCode[]),
      });
    };
  const valid = add('valid');
  const incomplete = add('incomplete');
  const unverifiable = add('unverifiable');
  const invalid = add('invalid');

  const whole = sealDrafts(WHOLE_DRAFTS);
  const honest = filesOf(whole);
  const records = whole.segments.flat();
  /** The whole log cut anew into segments, under its true checkpoint. */
  const relaid = (...segments: readonly (readonly (SealedRecord | undefined)[])[]): Files => ({
    ...segmentFiles(segments.map((segment) => segment.map((record) => record!))),
    checkpoint: honest.checkpoint!,
  });
  /** The whole log with one record changed in place by somebody without the key. */
  const changed = (index: number, change: Partial<SealedRecord>): Files => {
    let n = 0;
    const segments = whole.segments.map((segment) =>
      segment.map((record) => (n++ === index ? { ...record, ...change } : record)),
    );
    const files: Files = { checkpoint: honest.checkpoint! };
    let first = 0;
    for (const [at, records] of segments.entries()) {
      files[SEG(first)] = bytes(...records.flatMap(({ header, stored }) => [header, stored]));
      first += whole.segments[at]!.length;
    }
    return files;
  };
  const headerText = (index: number): string =>
    Buffer.from(records[index]!.header).toString('latin1');
  const edited = (index: number, from: string | RegExp, to: string): Files => {
    const text = headerText(index);
    const edit = text.replace(from, () => to);
    if (edit === text) throw new TypeError(`record ${index} has no ${String(from)}`);
    return changed(index, { header: Buffer.from(edit, 'latin1') });
  };
  const withFile = (path: string, file: Files[string]): Files => ({ ...honest, [path]: file });
  const fileOf = (path: string): Buffer => {
    const file = honest[path];
    if (!(file instanceof Uint8Array)) throw new TypeError(path);
    return Buffer.from(file);
  };
  const without = (...paths: readonly string[]): Files =>
    Object.fromEntries(Object.entries(honest).filter(([path]) => !paths.includes(path)));
  const HASH = encodeBase64(sha256(bytes('another')));

  // Honest logs.
  valid('one-record', 'opened, and nothing else', '', filesOf(sealDrafts([[opened]])));
  valid('whole', 'six records in three segments', '', honest);
  valid('own-origin', 'the caller knows no origin', '', honest, { origin: undefined });
  valid('least-head', 'an earlier head holds', '', honest, {
    minimum: { size: 3, root: encodeBase64(whole.headAt(3).root) },
  });
  valid('least-head-same', 'the least head is the newest', '', honest, {
    minimum: { size: 6, root: encodeBase64(whole.headAt(6).root) },
  });
  valid(
    'reopened',
    'closed in order and opened again',
    '',
    filesOf(
      sealDrafts([
        [opened, closed],
        [opened, of('logs', logs('a')), closed],
      ]),
    ),
  );
  const open = sealDrafts([[opened, control(HEARTBEAT), of('traces', traces('chat'))]]);
  const LAST_MS = START_MS + 2000;
  valid('heartbeats', 'exactly two heartbeats of silence', '', filesOf(open), {
    nowMs: LAST_MS + 2 * HEARTBEAT_MS,
  });
  incomplete('silent', 'a millisecond more', 'log.silent', filesOf(open), {
    nowMs: LAST_MS + 2 * HEARTBEAT_MS + 1,
  });
  valid('silent-live', 'a live log is not silent', '', filesOf(open), {
    nowMs: LAST_MS + 10 * HEARTBEAT_MS,
    live: true,
  });
  valid('silent-closed', 'a closed log may be silent', '', honest, { nowMs: LAST_MS * 2 });
  valid('archive', 'checkpoints of two sizes, and none in the log directory', '', {
    ...segmentFiles(whole.segments),
    'checkpoints/b': checkpoint(whole, 3),
    'checkpoints/a': checkpoint(whole, 6),
  });
  const witness = vectorSigner('witness', 'two');
  const wholeText = encodeCheckpointText(ORIGIN, whole.headAt(6));
  valid('cosigned', 'a line of an unknown key is passed over', '', {
    ...honest,
    checkpoint: sign(wholeText, witness, SIGNER),
  });
  valid('empty-last-segment', 'created, and not yet filled', '', withFile(SEG(6), bytes()));
  valid(
    'same-time',
    'two records of one time',
    '',
    filesOf(
      sealDrafts([[opened, { ...closed, header: { sealed: new Date(START_MS).toISOString() } }]]),
    ),
  );
  valid(
    'successor',
    'a log that continues another',
    '',
    filesOf(
      sealDrafts([
        [
          control((head) => ({
            ...OPENED(head),
            successorOf: 'vectors/before',
            successorSize: 9,
            successorRoot: sha256(bytes('before')),
          })),
        ],
      ]),
    ),
  );
  valid(
    'successor-part',
    'readers do not ask where and with what the words on a predecessor stand',
    '',
    filesOf(
      sealDrafts([[opened, closed, control((head) => ({ ...OPENED(head), successorSize: 1 }))]]),
    ),
  );
  valid(
    'closed-and-more',
    'events behind closed in the same record',
    '',
    filesOf(sealDrafts([[opened, control(CLOSED, HEARTBEAT)]])),
  );
  valid(
    'control-in-logs',
    'the bytes of a closed event in a logs payload mean nothing',
    '',
    filesOf(
      sealDrafts([
        [opened, of('logs', [encodeControl(CLOSED, START_MS)]), of('logs', logs('still open'))],
      ]),
    ),
  );
  const long = `v${'o'.repeat(199)}`;
  valid(
    'long-origin',
    'a name of 200 characters',
    '',
    {
      ...segmentFiles(sealDrafts([[opened]], long).segments),
      checkpoint: checkpoint(sealDrafts([[opened]], long), 1, vectorSigner(long)),
    },
    { origin: long, vkeys: [vectorSigner(long).vkey] },
  );

  // Incomplete logs.
  incomplete(
    'gap-and-recovered',
    'what was lost is said',
    'log.gap log.recovered log.unclean-end',
    filesOf(
      sealDrafts([
        [opened, of('traces', traces('chat'))],
        [opened, control(RECOVERED, GAP)],
      ]),
    ),
  );
  incomplete(
    'adopted',
    'a record that nothing vouched for was adopted, and the writer said so',
    'log.adopted log.unclean-end',
    filesOf(
      sealDrafts([
        [opened, of('traces', traces('chat'))],
        [opened, control(ADOPTED)],
      ]),
    ),
  );
  incomplete(
    'unclean-end',
    'opened twice',
    'log.unclean-end',
    filesOf(sealDrafts([[opened, opened]])),
  );
  incomplete(
    'opened-twice-in-one',
    'opened twice in one record',
    'log.unclean-end',
    filesOf(sealDrafts([[control(OPENED, OPENED)]])),
  );
  incomplete('unsigned-tail', 'signed at 4 of 6', 'log.unsigned-tail', filesOf(whole, 4));
  const longer = { ...honest, [SEG(5)]: bytes(fileOf(SEG(5)), headerText(0).slice(0, 80)) };
  incomplete('torn-header', 'a header was being written', 'log.torn-tail', longer);
  incomplete(
    'torn-and-unsigned',
    'signed at 5, and the end is torn',
    'log.torn-tail log.unsigned-tail',
    { ...longer, checkpoint: checkpoint(whole, 5) },
  );
  valid(
    'live',
    'what a live log has not signed is a note',
    'log.unsigned-tail-live',
    { ...longer, checkpoint: checkpoint(whole, 5) },
    { live: true },
  );
  valid('live-torn', 'a record is being written', 'log.unsigned-tail-live', longer, { live: true });
  incomplete(
    'trailing-byte',
    'a byte at the end may be a header that was being written',
    'log.torn-tail',
    { ...honest, [SEG(5)]: bytes(fileOf(SEG(5)), 'x') },
  );
  incomplete('trailing-4095', 'so may 4,095', 'log.torn-tail', {
    ...honest,
    [SEG(5)]: bytes(fileOf(SEG(5)), Buffer.alloc(4095)),
  });
  invalid('trailing-4096', 'but 4,096 without nine lines are no header', 'record.header', {
    ...honest,
    [SEG(5)]: bytes(fileOf(SEG(5)), Buffer.alloc(4096)),
  });
  invalid('trailing-nine-lines', 'nine lines that are no header', 'record.header', {
    ...honest,
    [SEG(5)]: bytes(fileOf(SEG(5)), '\n'.repeat(9)),
  });
  invalid(
    'trailing-bytes-within',
    'a byte behind a segment that another follows',
    'record.header log.truncated',
    { ...honest, [SEG(0)]: bytes(fileOf(SEG(0)), 'x') },
  );

  // Nothing that could be believed.
  unverifiable('no-key', 'no key', 'key.missing checkpoint.unsigned log.unsigned-tail', honest, {
    vkeys: [],
  });
  unverifiable(
    'no-checkpoint',
    'nothing is signed',
    'checkpoint.missing log.unsigned-tail',
    without('checkpoint'),
  );
  unverifiable(
    'other-key',
    'another key of the same name',
    'checkpoint.unsigned log.unsigned-tail',
    honest,
    { vkeys: [vectorSigner(ORIGIN, 'two').vkey] },
  );
  unverifiable('nothing', 'no file at all', 'checkpoint.missing log.empty', {});
  unverifiable('only-torn', 'a header cut off', 'checkpoint.missing log.empty log.torn-tail', {
    [SEG(0)]: bytes('sealspan/record@v1\n'),
  });
  invalid(
    'only-a-checkpoint',
    'six records were signed, none is there',
    'log.empty log.truncated',
    { checkpoint: honest.checkpoint! },
  );

  // Header lines of a record, edited without the key. Record 1 is followed by others, record 5 by none.
  const BROKEN = 'record.link log.root';
  const line: [name: string, from: string | RegExp, to: string, codes: string][] = [
    ['version', '@v1', '@v2', 'record.header log.truncated'],
    ['log', `log ${ORIGIN}`, 'log vectors/other', `record.log ${BROKEN}`],
    ['index', 'index 1', 'index 7', `record.index ${BROKEN}`],
    ['prev', /prev .*/, `prev ${HASH}`, BROKEN],
    ['sealed', '10:15:31.000Z', '10:15:31.001Z', BROKEN],
    ['sealed-before', '10:15:31.000Z', '10:15:29.999Z', `record.time ${BROKEN}`],
    ['source', 'source in-process', 'source collector', BROKEN],
    ['principal', 'in-process -', `in-process ${HASH}`, BROKEN],
    ['policy', 'verbatim', 'no-content', BROKEN],
    ['kind', 'payload traces', 'payload logs', `record.entries ${BROKEN}`],
    ['kind-control', 'payload traces', 'payload control', `record.entries ${BROKEN}`],
    ['payload-length', /payload traces \d+/, 'payload traces 9', `record.frame ${BROKEN}`],
    ['stored-short', /zstd \d+/, 'zstd 9', 'record.stored record.header log.truncated'],
    ['stored-none', /zstd \d+/, 'zstd 0', 'record.stored record.header log.truncated'],
    ['stored-long', /zstd \d+/, 'zstd 100000', 'record.header log.truncated'],
    ['stored-hash', /(?<=zstd \d+ ).*/, HASH, `record.stored ${BROKEN}`],
    ['entries', 'entries 2', 'entries 3', `record.entries ${BROKEN}`],
    ['root', /(?<=entries \d+ ).*/, HASH, `record.root ${BROKEN}`],
  ];
  for (const [name, from, to, codes] of line) {
    invalid(`line-${name}`, `record 1: ${name} edited`, codes, edited(1, from, to));
  }
  invalid(
    'line-sealed-last',
    'record 5 has no successor',
    'log.root',
    edited(5, '35.000Z', '35.001Z'),
  );
  invalid(
    'line-stored-long-last',
    'the last record says it goes on',
    'log.torn-tail log.truncated',
    edited(5, /zstd \d+/, 'zstd 100000'),
  );
  invalid(
    'line-stored-hash-first',
    'without its opened a log is not open: also record 1 is told so',
    `record.stored record.opened ${BROKEN}`,
    edited(0, /(?<=zstd \d+ ).*/, HASH),
  );
  invalid(
    'line-prev-first',
    'a link where nothing stands before',
    BROKEN,
    edited(0, /prev .*/, `prev ${HASH}`),
  );

  // Spellings of a header that are refused.
  const oneMore = (base64: string): string => {
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
    return `${base64.slice(0, -2)}${digits[digits.indexOf(base64.at(-2)!) + 1]}=`;
  };
  const prevOf = (index: number): string => /prev (.*)/.exec(headerText(index))![1]!;
  const spelling: [name: string, from: string | RegExp, to: string, index?: number][] = [
    ['leading-zero', 'index 1', 'index 01'],
    ['plus', 'index 1', 'index +1'],
    ['exponent', 'index 1', 'index 1e0'],
    ['no-integer', 'index 1', 'index '],
    ['index-above-2-53', 'index 1', 'index 9007199254740992'],
    ['index-of-17-digits', 'index 1', 'index 10000000000000000'],
    ['crlf', 'index 1\n', 'index 1\r\n'],
    ['trailing-space', 'index 1\n', 'index 1 \n'],
    ['two-spaces', 'index 1', 'index  1'],
    ['tab', 'index 1', 'index\t1'],
    ['nul', `log ${ORIGIN}`, `log ${ORIGIN}\0`],
    ['upper-case-name', `log ${ORIGIN}`, 'log Vectors/log'],
    ['name-with-space', `log ${ORIGIN}`, 'log vectors log'],
    ['name-of-201', `log ${ORIGIN}`, `log ${'o'.repeat(201)}`],
    ['dot-first', `log ${ORIGIN}`, 'log .vectors'],
    ['line-missing', /source .*\n/, ''],
    ['line-twice', 'index 1\n', 'index 1\nindex 1\n'],
    ['line-unknown', 'index 1\n', 'index 1\nnote x\n'],
    ['lines-swapped', /(index .*\n)(prev .*\n)/, `prev ${prevOf(1)}\nindex 1\n`],
    ['empty-line-first', 'sealspan', '\nsealspan'],
    ['bom', 'sealspan', '\xef\xbb\xbfsealspan'],
    ['spare-bits', prevOf(1), oneMore(prevOf(1))],
    ['no-padding', prevOf(1), prevOf(1).slice(0, -1)],
    ['hash-of-31', prevOf(1), encodeBase64(sha256(bytes('x')).slice(0, 31))],
    ['hash-in-hex', prevOf(1), Buffer.from(prevOf(1), 'base64').toString('hex')],
    ['url-base64', prevOf(1), `${'-'.repeat(43)}=`],
    ['no-such-day', '2026-11-23', '2026-02-29'],
    ['hour-24', 'T10:15:31.000Z', 'T24:00:00.000Z'],
    ['second-60', ':31.000Z', ':60.000Z'],
    ['offset-for-z', '.000Z', '.000+00:00'],
    ['microseconds', '.000Z', '.000000Z'],
    ['lower-case-t', '3T1', '3t1'],
    ['source-unknown', 'in-process', 'gateway'],
    ['principal-empty', 'in-process - ', 'in-process  '],
    ['kind-unknown', 'payload traces', 'payload metrics'],
    ['compression-unknown', 'zstd', 'gzip'],
    ['entries-none', 'entries 2', 'entries 0'],
    ['entries-65537', 'entries 2', 'entries 65537'],
    ['payload-too-long', /traces \d+/, 'traces 134217729'],
    ['stored-too-long', /zstd \d+/, 'zstd 135266305'],
    ['too-long', `log ${ORIGIN}`, `log ${'o'.repeat(4096)}`],
    ['control-collector', 'in-process', 'collector', 0],
    ['control-policy', 'verbatim', 'no-content', 0],
    ['control-principal', 'in-process -', `in-process ${HASH}`, 0],
  ];
  for (const [name, from, to, index = 1] of spelling) {
    const codes = `record.header log.truncated${index === 0 ? ' log.empty' : ''}`;
    invalid(`spelling-${name}`, `a header: ${name}`, codes, edited(index, from, to));
  }

  // Records and segments moved about.
  const [r0, r1, r2, r3, r4, r5] = records;
  const stored1 = Buffer.from(r1!.stored);
  stored1[20] = stored1[20]! ^ 1;
  invalid('stored-bit', 'a bit of a payload', 'record.stored', changed(1, { stored: stored1 }));
  invalid(
    'stored-same-length',
    'a payload of the same length, for another one',
    'record.stored',
    changed(1, { stored: rawFrame(bytes(...traces('chat', 'fool'))) }),
  );
  invalid(
    'records-swapped',
    'records 1 and 2 swapped',
    `record.index record.time ${BROKEN}`,
    relaid([r0, r2, r1], [r3, r4], [r5]),
  );
  invalid(
    'records-reversed',
    'records 0 to 2 in reverse',
    `record.index record.time record.opened ${BROKEN}`,
    relaid([r2, r1, r0], [r3, r4], [r5]),
  );
  invalid(
    'record-dropped',
    'record 1 dropped, segments named anew',
    'record.index record.link log.truncated',
    relaid([r0, r2], [r3, r4], [r5]),
  );
  invalid(
    'record-dropped-name',
    'record 1 dropped',
    'record.index record.link segment.name log.truncated',
    {
      ...honest,
      [SEG(0)]: bytes(r0!.header, r0!.stored, r2!.header, r2!.stored),
    },
  );
  invalid(
    'record-dropped-last',
    'the last record dropped',
    'log.truncated',
    withFile(SEG(5), bytes()),
  );
  invalid(
    'record-twice',
    'record 1 twice, segments named anew',
    'record.index record.link log.unsigned-tail log.root',
    relaid([r0, r1, r1, r2], [r3, r4], [r5]),
  );
  invalid(
    'record-twice-name',
    'record 1 twice',
    'record.index record.link segment.name log.truncated',
    { ...honest, [SEG(0)]: bytes(...[r0, r1, r1, r2].flatMap((r) => [r!.header, r!.stored])) },
  );
  const foreign = sealDrafts(WHOLE_DRAFTS, 'vectors/other').segments.flat()[1]!;
  invalid('record-foreign', 'a record of another log', `record.log ${BROKEN}`, changed(1, foreign));
  const rewritten = sealDrafts([
    [opened, of('traces', traces('chat', 'lies'))],
  ]).segments.flat()[1]!;
  invalid('record-rewritten', 'a record that never was', BROKEN, changed(1, rewritten));
  const rewrittenLog = sealDrafts([
    [opened, of('traces', traces('chat', 'lies')), of('logs', logs('asked'))],
    ...WHOLE_DRAFTS.slice(1),
  ]);
  invalid('log-rewritten', 'a whole chain under the old checkpoint', 'log.root', {
    ...segmentFiles(rewrittenLog.segments),
    checkpoint: honest.checkpoint!,
  });
  invalid(
    'log-rewritten-with-key',
    'and signed, but somebody remembers',
    'log.root',
    filesOf(rewrittenLog),
    { minimum: { size: 3, root: encodeBase64(whole.headAt(3).root) } },
  );
  invalid('two-histories', 'two checkpoints of one size', 'log.root', {
    ...segmentFiles(whole.segments),
    'checkpoints/1': checkpoint(whole, 6),
    'checkpoints/2': checkpoint(rewrittenLog, 6),
  });
  invalid(
    'two-histories-least',
    'the checkpoint is of another history, the least head of this one',
    'log.root',
    { ...honest, checkpoint: checkpoint(rewrittenLog, 6) },
    { minimum: { size: 6, root: encodeBase64(whole.headAt(6).root) } },
  );
  invalid(
    'rollback',
    'cut back to an older checkpoint that was signed, but somebody remembers',
    'log.rollback',
    { ...segmentFiles(whole.segments.slice(0, 1)), checkpoint: checkpoint(whole, 3) },
    { minimum: { size: 6, root: encodeBase64(whole.headAt(6).root) } },
  );
  valid('cut-back', 'the same, and nobody remembers: this is what can not be seen', '', {
    ...segmentFiles(whole.segments.slice(0, 1)),
    checkpoint: checkpoint(whole, 3),
  });
  invalid('segment-dropped', 'the middle', 'segment.name log.truncated', without(SEG(3)));
  invalid(
    'segment-dropped-first',
    'the first',
    'segment.name log.empty log.truncated',
    without(SEG(0)),
  );
  invalid('segment-dropped-last', 'the last', 'log.truncated', without(SEG(5)));
  invalid(
    'segments-swapped',
    'the first two under the names of each other',
    'record.index record.link record.opened segment.name log.truncated',
    { ...honest, [SEG(0)]: fileOf(SEG(3)), [SEG(3)]: fileOf(SEG(0)) },
  );
  invalid(
    'segment-twice',
    'the last once more at the end',
    'record.index record.link record.opened log.unsigned-tail',
    withFile(SEG(6), fileOf(SEG(5))),
  );
  const renamed = (name: string): Files => {
    const { [SEG(3)]: middle, ...rest } = honest;
    return { ...rest, [`segments/${name}`]: middle! };
  };
  const GONE = 'segment.name log.truncated';
  invalid('segment-name-short', 'a name without its zeros', GONE, renamed('3.seg'));
  invalid('segment-name-upper', 'SEG', GONE, renamed('00000000000000000003.SEG'));
  invalid('segment-name-other', 'another index', GONE, renamed('00000000000000000004.seg'));
  invalid('segment-name-21', 'twenty-one digits', GONE, renamed('000000000000000000003.seg'));
  invalid(
    'segment-copy',
    'a copy beside a segment',
    GONE,
    withFile(`${SEG(3)}.bak`, fileOf(SEG(3))),
  );
  invalid(
    'segment-foreign-file',
    'whatever is there has to be a segment',
    'segment.name log.empty log.truncated',
    withFile('segments/-hidden', bytes()),
  );
  valid('dot-names', 'files on their way into an archive are passed over', '', {
    ...honest,
    'segments/.hidden': bytes('x'),
    'checkpoints/.hidden': bytes('x'),
  });
  invalid('segment-torn-within', 'cut off, and another follows', 'record.header log.truncated', {
    ...honest,
    [SEG(3)]: fileOf(SEG(3)).subarray(0, -1),
  });
  invalid('segment-torn-last', 'a signed record cut off', 'log.torn-tail log.truncated', {
    ...honest,
    [SEG(5)]: fileOf(SEG(5)).subarray(0, -1),
  });
  invalid('segment-too-long', 'above 256 MiB', 'segment.too-long', {
    ...honest,
    [SEG(6)]: { zeros: 268_435_457 },
  });
  invalid(
    'unsigned-after-closed',
    'a record put behind the end without the key',
    'record.opened log.unsigned-tail',
    {
      ...segmentFiles(sealDrafts([...WHOLE_DRAFTS, [of('logs', logs('late'))]]).segments),
      checkpoint: honest.checkpoint!,
    },
  );

  // Checkpoints.
  const note = Buffer.from(honest.checkpoint as Uint8Array).toString('utf8');
  const [, , root6 = '', , signatureLine = ''] = note.split('\n');
  const blob = Buffer.from(signatureLine.split(' ')[2]!, 'base64');
  const noted = (text: string | Uint8Array): Files => withFile('checkpoint', bytes(text));
  const noteEdited = (from: string | RegExp, to: string): Files => {
    const edit = note.replace(from, () => to);
    if (edit === note) throw new TypeError(`the note has no ${String(from)}`);
    return noted(edit);
  };
  const SYNTAX = 'checkpoint.syntax log.unsigned-tail';
  const FORGED = 'checkpoint.signature log.unsigned-tail';
  const signedText = (text: string, ...signers: readonly Signer[]): Uint8Array =>
    sign(bytes(text), ...(signers.length === 0 ? [SIGNER] : signers));
  const badNotes: [name: string, note: string | Uint8Array][] = [
    ['empty', ''],
    ['size-0', signedText(`${ORIGIN}\n0\n${encodeBase64(sha256(bytes()))}\n`)],
    ['extension', signedText(`${ORIGIN}\n6\n${root6}\nmore\n`)],
    ['extension-empty-line', signedText(`${ORIGIN}\n6\n${root6}\n\nmore\n`)],
    ['two-lines', signedText(`${ORIGIN}\n6\n`)],
    ['crlf', signedText(`${ORIGIN}\r\n6\r\n${root6}\r\n`)],
    ['tab', signedText(`${ORIGIN}\n6\n${root6}\t\n`)],
    ['leading-zero', signedText(`${ORIGIN}\n06\n${root6}\n`)],
    ['size-above-2-53', signedText(`${ORIGIN}\n9007199254740992\n${root6}\n`)],
    ['size-negative', signedText(`${ORIGIN}\n-6\n${root6}\n`)],
    ['root-spare-bits', signedText(`${ORIGIN}\n6\n${oneMore(root6)}\n`)],
    ['root-of-31', signedText(`${ORIGIN}\n6\n${encodeBase64(sha256(bytes()).slice(1))}\n`)],
    ['origin-upper-case', signedText(`Vectors/log\n6\n${root6}\n`)],
    ['bom', `\ufeff${note}`],
    ['empty-line-first', `\n${note}`],
    ['no-signature', note.slice(0, note.indexOf('\u2014'))],
    ['no-last-lf', note.slice(0, -1)],
    ['text-behind', `${note}x`],
    ['empty-line-behind', `${note}\n`],
    ['no-empty-line', note.replace('\n\n', '\n')],
    ['hyphen-for-dash', note.replace('\u2014', '-')],
    ['name-missing', note.replace(`\u2014 ${ORIGIN} `, '\u2014  ')],
    ['name-with-plus', `${note}\u2014 a+b ${blob.toString('base64')}\n`],
    ['name-with-nel', `${note}\u2014 a\u0085b ${blob.toString('base64')}\n`],
    ['name-with-bom', `${note}\u2014 a\ufeffb ${blob.toString('base64')}\n`],
    ['signature-of-4', `${note}\u2014 witness AAAAAA==\n`],
    ['signature-spare-bits', note.replace(/(.)=\n$/, (_, c: string) => `${oneMore(`${c}=`)}\n`)],
    ['signature-not-padded', note.replace(/=+\n$/, '\n')],
    ['signature-twice-spaced', note.replace(`${ORIGIN} `, `${ORIGIN}  `)],
    ['33-signatures', `${note}${`\u2014 witness ${blob.toString('base64')}\n`.repeat(32)}`],
    ['not-utf-8', bytes(note, hex('e28094 20 ff 20'), `${blob.toString('base64')}\n`)],
    ['overlong', bytes(note, hex('e28094 20 c0af 20'), `${blob.toString('base64')}\n`)],
    ['surrogate', bytes(note, hex('e28094 20 eda080 20'), `${blob.toString('base64')}\n`)],
    ['too-long', `${note}\u2014 ${'w'.repeat(131_072)} ${blob.toString('base64')}\n`],
  ];
  for (const [name, text] of badNotes) {
    invalid(`checkpoint-${name}`, `a checkpoint: ${name}`, SYNTAX, noted(text));
  }
  valid(
    'checkpoint-32-signatures',
    'as many signature lines as there may be',
    '',
    noted(`${note}${`\u2014 w\u00eetness ${blob.toString('base64')}\n`.repeat(31)}`),
  );
  invalid('checkpoint-root', 'another root, signature kept', FORGED, noteEdited(root6, HASH));
  invalid('checkpoint-size', 'another size, signature kept', FORGED, noteEdited('\n6\n', '\n5\n'));
  const forged = Buffer.from(blob);
  forged[30] = forged[30]! ^ 1;
  invalid(
    'checkpoint-forged',
    'a bit of the signature',
    FORGED,
    noteEdited(blob.toString('base64'), forged.toString('base64')),
  );
  invalid(
    'checkpoint-63',
    'a signature of 63 bytes',
    FORGED,
    noteEdited(blob.toString('base64'), blob.subarray(0, -1).toString('base64')),
  );
  invalid(
    'checkpoint-forged-beside',
    'a good line does not mend a bad one of the same key',
    FORGED,
    noted(`${note}\u2014 ${ORIGIN} ${forged.toString('base64')}\n`),
  );
  const otherId = Buffer.from(blob);
  otherId[0] = otherId[0]! ^ 1;
  unverifiable(
    'checkpoint-key-id',
    'the id of no known key',
    'checkpoint.unsigned log.unsigned-tail',
    noteEdited(blob.toString('base64'), otherId.toString('base64')),
  );
  unverifiable(
    'checkpoint-key-name',
    'the name of no known key',
    'checkpoint.unsigned log.unsigned-tail',
    noteEdited(`\u2014 ${ORIGIN}`, '\u2014 vectors/other'),
  );
  unverifiable(
    'checkpoint-witness-only',
    'signed by somebody else alone',
    'checkpoint.unsigned log.unsigned-tail',
    { ...honest, checkpoint: sign(wholeText, witness) },
  );
  const other = sealDrafts(WHOLE_DRAFTS, 'vectors/other');
  const otherSigner = vectorSigner('vectors/other', 'two');
  invalid(
    'checkpoint-origin',
    'a checkpoint of another log whose key is known too',
    'checkpoint.origin log.unsigned-tail',
    { ...honest, checkpoint: checkpoint(other, 6, otherSigner) },
    { vkeys: [SIGNER.vkey, otherSigner.vkey] },
  );
  invalid(
    'checkpoint-origins',
    'checkpoints of two logs, and the caller knows no origin',
    'checkpoint.origin',
    {
      ...segmentFiles(whole.segments),
      'checkpoints/1': honest.checkpoint!,
      'checkpoints/2': checkpoint(other, 6, otherSigner),
    },
    { vkeys: [SIGNER.vkey, otherSigner.vkey], origin: undefined },
  );
  invalid(
    'origin-expected',
    'another log than the one expected',
    'checkpoint.origin record.log log.unsigned-tail',
    honest,
    { origin: 'vectors/expected' },
  );
  invalid('checkpoint-ahead', 'more was signed than is there', 'log.truncated', {
    ...segmentFiles(whole.segments.slice(0, 2)),
    checkpoint: honest.checkpoint!,
  });
  invalid(
    'checkpoint-bad-beside',
    'an unsigned file among the checkpoints',
    'checkpoint.syntax',
    withFile('checkpoints/x', bytes('x')),
  );

  // What a key holder may seal and sign, and a reader refuses all the same: links and roots hold.
  const lie = (draft: Draft, ...more: readonly Draft[]): Files =>
    filesOf(sealDrafts([[opened, draft, ...more]]));
  const payload = bytes(...traces('chat'));
  const framed = (frame: (payload: Uint8Array) => Uint8Array): Files =>
    lie(of('traces', traces('chat'), { frame }));
  const raw = (p: Uint8Array): Buffer => block(0, p.length, p);
  const SKIPPABLE = hex('502a4d18 01000000 00');
  const descriptor =
    (bits: number) =>
    (p: Uint8Array): Buffer => {
      const frame = rawFrame(p);
      frame[4] = frame[4]! | bits;
      return frame;
    };
  valid(
    'frame-blocks',
    'several blocks',
    '',
    framed((p) =>
      frameOf(p.length, [raw(p.subarray(0, 9)), raw(p.subarray(9, 9)), raw(p.subarray(9))]),
    ),
  );
  valid(
    'frame-window',
    'a window of 8 MiB, and eight bytes of size',
    '',
    framed((p) => windowFrame(p, 13 << 3)),
  );
  valid('frame-checksum', 'a checksum', '', framed(checksummed));
  const run = around(f(5, 'a'.repeat(300)));
  const runAt = run.indexOf('aaaa');
  valid(
    'frame-run',
    'a block of one byte repeated, and two bytes of size',
    '',
    lie(
      of('traces', [run], {
        frame: (p) =>
          frameOf(p.length, [raw(p.subarray(0, runAt)), block(1, p.length - runAt, bytes('a'))]),
      }),
    ),
  );
  const FRAME: [name: string, frame: (payload: Uint8Array) => Uint8Array][] = [
    ['two', (p) => bytes(rawFrame(p), rawFrame(p))],
    ['two-halves', (p) => bytes(rawFrame(p.subarray(0, 50)), rawFrame(p.subarray(50)))],
    ['empty-behind', (p) => bytes(rawFrame(p), rawFrame(bytes()))],
    ['skippable-before', (p) => bytes(SKIPPABLE, rawFrame(p))],
    ['skippable-behind', (p) => bytes(rawFrame(p), SKIPPABLE)],
    ['byte-behind', (p) => bytes(rawFrame(p), 0)],
    ['none', () => bytes()],
    ['magic', (p) => bytes(hex('27b52ffd'), rawFrame(p).subarray(4))],
    ['magic-only', () => hex('28b52ffd')],
    ['not-compressed', (p) => bytes(p)],
    ['dictionary', (p) => bytes(rawFrame(p).subarray(0, 4), 0x21, 7, rawFrame(p).subarray(5))],
    ['reserved-bit', descriptor(0x08)],
    ['unused-bit', descriptor(0x10)],
    ['no-content-size', (p) => bytes(hex('28b52ffd 00 58'), lastOf([raw(p)]))],
    ['content-size', (p) => frameOf(p.length + 1, [raw(p)])],
    ['window-above', (p) => windowFrame(p, (13 << 3) + 1)],
    ['window-largest', (p) => windowFrame(p, 0xff)],
    ['block-type-3', (p) => frameOf(p.length, [block(3, p.length, p)])],
    ['cut', (p) => rawFrame(p).subarray(0, -1)],
    ['cut-in-block-header', (p) => rawFrame(p).subarray(0, 8)],
    ['cut-in-size', (p) => rawFrame(p).subarray(0, 5)],
    ['no-last-block', (p) => bytes(rawFrame(p).subarray(0, 6), raw(p))],
    ['checksum-missing', descriptor(0x04)],
  ];
  for (const [name, frame] of FRAME) {
    invalid(`frame-${name}`, `stored bytes: ${name}`, 'record.frame', framed(frame));
  }
  invalid(
    'frame-single-segment-too-large',
    'a single segment is a window of its size',
    'record.frame',
    lie(
      of('traces', traces('chat'), {
        frame: () =>
          frameOf(8_388_609, [
            ...Array.from({ length: 64 }, () => block(1, 131_072, bytes('a'))),
            block(1, 1, bytes('a')),
          ]),
        header: { payloadByteLength: 8_388_609 },
      }),
    ),
  );
  const PAYLOAD: [name: string, frame: (payload: Uint8Array) => Uint8Array][] = [
    ['short', (p) => frameOf(p.length, [raw(p.subarray(1))])],
    ['long', (p) => frameOf(p.length, [raw(bytes(p, 0))])],
    [
      'checksum',
      (p) => {
        const frame = checksummed(p);
        frame[frame.length - 1] = frame.at(-1)! ^ 1;
        return frame;
      },
    ],
    ['garbage', (p) => frameOf(p.length, [block(2, p.length, p)])],
  ];
  for (const [name, frame] of PAYLOAD) {
    invalid(
      `payload-${name}`,
      `a frame of other content: ${name}`,
      'record.payload',
      framed(frame),
    );
  }
  invalid(
    'root-of-others',
    'the root of other entries',
    'record.root',
    lie(of('traces', traces('chat'), { header: { root: sha256(bytes()) } })),
  );
  invalid(
    'count-of-others',
    'one entry more than said',
    'record.entries',
    lie(of('traces', traces('a', 'b'), { header: { entryCount: 1 } })),
  );
  const first = { header: { entryCount: 1, root: leafHash(sha256, payload) } };
  invalid(
    'payload-behind',
    'a byte behind the last entry',
    'record.entries',
    lie(of('traces', [payload, bytes(0x0a)], first)),
  );
  invalid('payload-empty', 'no entry at all', 'record.entries', lie(of('traces', [])));
  invalid(
    'times-backwards',
    'sealed before the one before',
    'record.time',
    lie(of('traces', traces('a'), { header: { sealed: '2026-11-23T10:15:29.999Z' } })),
  );
  invalid(
    'log-of-others',
    'the chain names another log',
    'record.log',
    filesOf({ ...other, origin: ORIGIN }),
  );
  invalid(
    'index-skipped',
    'an index left out',
    'record.index',
    lie(of('traces', traces('a'), { header: { index: 2 } })),
  );
  invalid(
    'link-wrong',
    'a link to nothing',
    'record.link',
    lie(of('traces', traces('a'), { header: { prev: NO_LINK } })),
  );
  invalid(
    'header-signed',
    'a refused header stays refused under a signature',
    'record.header log.truncated',
    lie(of('traces', traces('a'), { text: (text) => text.replace('index 1', 'index 01') })),
  );

  // Entries.
  const c = span('chat');
  /** An AnyValue at depth 5, arrays in arrays, down to an empty message at this depth. */
  const deep = (depth: number): Buffer => {
    let inner = bytes();
    for (let at = depth - 1; at >= 5; at--) inner = f(at % 2 === 1 ? 5 : 1, inner);
    return inner;
  };
  const attribute = (value: Uint8Array): Buffer => f(9, f(1, 'k'), f(2, value));
  const good: [name: string, entry: Uint8Array][] = [
    ['bare', f(1, f(2, f(2)))],
    ['schema-urls', f(1, RESOURCE, f(3, 'r'), f(2, f(3, 's'), SCOPE, f(2, c)))],
    [
      'unknown-fields',
      f(1, RESOURCE, f(99, 'x'), hex('f806 01'), f(2, f(1001, 'y'), f(2, c, f(1000, 'z')))),
    ],
    ['inner-length-not-minimal', around(bytes(hex('2a8400'), 'chat'))],
    ['name-twice', around(bytes(c, f(5, 'tool')))],
    ['depth-90', around(bytes(c, attribute(deep(90))))],
    ['varint-of-10', around(bytes(c, hex('30 ffffffffffffffffff01')))],
    ['varint-not-minimal', around(bytes(c, hex('30 808000')))],
  ];
  for (const [name, entry] of good)
    valid(`entry-${name}`, `an entry: ${name}`, '', lie(of('traces', [entry])));
  const bad: [name: string, entry: Uint8Array][] = [
    ['merged', around(c, c)],
    ['merged-scopes', f(1, RESOURCE, f(2, SCOPE, f(2, c)), f(2, SCOPE, f(2, c)))],
    ['no-span', around()],
    ['no-scope', f(1, RESOURCE)],
    ['empty', f(1)],
    ['length-not-minimal', bytes(0x0a, around(c)[1]! | 0x80, 0x00, around(c).subarray(2))],
    ['scope-length-not-minimal', f(1, RESOURCE, 0x12, f(2, c).length | 0x80, 0x00, f(2, c))],
    ['span-length-not-minimal', f(1, f(2, 0x12, c.length | 0x80, 0x00, c))],
    ['resource-behind', f(1, f(2, SCOPE, f(2, c)), RESOURCE)],
    ['scope-behind', f(1, RESOURCE, f(2, f(2, c), SCOPE))],
    ['unknown-behind', f(1, RESOURCE, f(2, SCOPE, f(2, c)), f(99))],
    ['two-resources', f(1, RESOURCE, RESOURCE, f(2, SCOPE, f(2, c)))],
    ['two-scopes', f(1, RESOURCE, f(2, SCOPE, SCOPE, f(2, c)))],
    ['two-schema-urls', f(1, f(3, 'a'), f(3, 'b'), f(2, f(2, c)))],
    ['field-1000', f(1, f(1000, f(2, c)), f(2, f(2, c)))],
    ['field-1000-scope', f(1, f(2, f(1000, 'x'), f(2, c)))],
    ['top-level-field', f(2, f(2, f(2, c)))],
    ['resource-varint', f(1, hex('08 01'), f(2, f(2, c)))],
    ['span-name-varint', around(bytes(c, hex('28 01')))],
    ['span-time-len', around(bytes(c, f(7, '12345678')))],
    ['group', around(bytes(c, hex('9b06 9c06')))],
    ['wire-type-6', around(bytes(c, hex('9e06')))],
    ['wire-type-7', around(bytes(c, hex('9f06')))],
    ['field-0', around(bytes(c, hex('00 00')))],
    ['field-2-29', around(bytes(c, hex('8080808010 00')))],
    ['tag-not-minimal', around(bytes(hex('aa00 04'), 'chat'))],
    ['tag-of-6', around(bytes(c, hex('f8ffffff8f00 00')))],
    ['varint-of-11', around(bytes(c, hex('30 ffffffffffffffffffff01')))],
    ['varint-above-64-bits', around(bytes(c, hex('30 ffffffffffffffffff02')))],
    ['length-of-6', around(bytes(c, hex('2a 808080808000')))],
    ['length-past-end', around(bytes(c, hex('2a 05'), 'chat'))],
    ['length-above-2-31', around(bytes(c, hex('2a 8080808008')))],
    ['fixed-cut', around(bytes(c, hex('39 00')))],
    ['tag-cut', around(bytes(c, hex('80')))],
    ['depth-91', around(bytes(c, attribute(deep(91))))],
    ['nested-wire-type', around(bytes(c, attribute(hex('09 0000000000000000'))))],
    ['resource-nested', f(1, f(1, f(1, hex('08 01'))), f(2, f(2, c)))],
    ['closed-event', encodeControl(CLOSED, START_MS)],
  ];
  for (const [name, entry] of bad) {
    invalid(`entry-${name}`, `no entry: ${name}`, 'record.entries', lie(of('traces', [entry])));
  }
  invalid(
    'entries-split',
    'one entry in two halves, each of them a field',
    'record.entries',
    lie(of('traces', [f(1, RESOURCE), f(1, f(2, f(2, c)))])),
  );
  invalid(
    'entry-spans-in-logs',
    'spans in a record of logs',
    'record.entries',
    lie(of('logs', traces('chat'))),
  );

  // Events.
  const message = (...fields: readonly Uint8Array[]): Uint8Array => f(1, f(2, f(2, ...fields)));
  const time = hex('09 00141c6819a5ea18');
  const count = (key: string, value: number | bigint): Buffer =>
    f(6, f(1, key), f(2, 0x18, varint(value)));
  const text = (key: string, value: string): Buffer => f(6, f(1, key), f(2, f(1, value)));
  const counts = ['started', 'ended', 'sealed', 'lost', 'highest'].map((key) => count(key, 1));
  const [started, ended, sealed, lost, highest] = counts as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ];
  const ranges = text('open', '4,7-9');
  const heartbeat = f(12, 'heartbeat');
  const beat = (...fields: readonly Uint8Array[]): Uint8Array =>
    message(time, ...fields, heartbeat);
  valid(
    'event-heartbeat',
    'an event made by hand',
    '',
    lie(of('control', [beat(...counts, ranges)])),
  );
  valid(
    'event-count-largest',
    'a count of 2^53-1',
    '',
    lie(
      of('control', [beat(started, ended, sealed, lost, count('highest', 2n ** 53n - 1n), ranges)]),
    ),
  );
  valid(
    'event-text-longest',
    'a text of 1,024 characters',
    '',
    lie(of('control', [beat(...counts, text('open', '9'.repeat(1024)))])),
  );
  valid(
    'event-time-largest',
    'the last whole millisecond',
    '',
    lie(of('control', [message(hex('09 4095f7ffffffffff'), ...counts, ranges, heartbeat)])),
  );
  const hashed = (value: string): Uint8Array =>
    message(
      time,
      count('segment', 0),
      count('offset', 0),
      count('byteLength', 0),
      text('sha256', value),
      f(6, f(1, 'cut'), f(2, f(7))),
      f(12, 'recovered'),
    );
  incomplete(
    'event-recovered',
    'an event with a hash, made by hand',
    'log.recovered',
    lie(of('control', [hashed(HASH)])),
  );
  incomplete(
    'event-adopted',
    'an event made by hand; its numbers are not judged',
    'log.adopted',
    lie(of('control', [message(time, count('from', 0), count('size', 0), f(12, 'adopted'))])),
  );
  const ids = [text('traceId', '0a'), text('spanId', 'f0')];
  const killed = (...fields: readonly Uint8Array[]): Uint8Array =>
    message(time, ...fields, f(12, 'interrupted'));
  const call = [count('sequence', 1), ...ids, count('startedMs', 1)];
  valid(
    'event-interrupted',
    'with a model and without, made by hand',
    '',
    lie(of('control', [killed(...call), killed(...call, text('model', 'gpt-5'))])),
  );
  const hold = (...fields: readonly Uint8Array[]): Uint8Array =>
    message(time, ...fields, f(12, 'hold'));
  const placed = [text('action', 'placed'), text('id', 'case-7')];
  valid(
    'event-hold',
    'a legal hold and its release, made by hand',
    '',
    lie(
      of('control', [
        hold(...placed, text('by', 'legal')),
        hold(text('action', 'released'), text('id', 'case-7')),
      ]),
    ),
  );
  const refused = [count('count', 2), text('cause', 'x'), text('source', 'direct')];
  valid(
    'event-refused',
    'refused requests, of somebody and of nobody',
    '',
    lie(
      of('control', [
        message(time, ...refused, f(12, 'refused')),
        message(time, ...refused, text('principal', HASH), text('sha256', HASH), f(12, 'refused')),
      ]),
    ),
  );
  const covered = (...fields: readonly Uint8Array[]): Uint8Array =>
    message(time, text('target', 'openai'), ...fields, f(12, 'coverage'));
  valid(
    'event-coverage',
    'a package with all there is to say of it and with the least, made by hand',
    '',
    lie(
      of('control', [
        covered(text('version', '9.0.0'), text('state', 'out_of_range'), text('detail', '<8')),
        covered(text('state', 'active')),
      ]),
    ),
  );
  const badEvents: [name: string, entry: Uint8Array][] = [
    ['heartbeat-interrupted', beat(...counts, ranges, count('interrupted', 1))],
    [
      'closed-interrupted-first',
      message(time, count('interrupted', 1), ...counts, ranges, f(12, 'closed')),
    ],
    [
      'closed-interrupted-text',
      message(time, ...counts, ranges, text('interrupted', '1'), f(12, 'closed')),
    ],
    ['hold-without-id', hold(placed[0]!)],
    ['hold-id-first', hold(placed[1]!, placed[0]!)],
    ['interrupted-without-ids', killed(call[0]!, call[3]!)],
    ['interrupted-model-first', killed(text('model', 'x'), ...call)],
    ['coverage-without-state', covered()],
    ['coverage-state-first', covered(text('state', 'active'), text('version', '9.0.0'))],
    ['unknown', message(time, f(12, 'reopened'))],
    ['prototype', message(time, f(12, 'constructor'))],
    ['unnamed', message(time, ...counts, ranges)],
    ['plain-log', logs('asked')[0]!],
    ['order', beat(ended, started, sealed, lost, highest, ranges)],
    ['name-first', message(time, heartbeat, ...counts, ranges)],
    ['time-last', message(...counts, ranges, heartbeat, time)],
    ['time-missing', message(...counts, ranges, heartbeat)],
    ['time-twice', message(time, time, ...counts, ranges, heartbeat)],
    ['time-nanoseconds', message(hex('09 01141c6819a5ea18'), ...counts, ranges, heartbeat)],
    ['attribute-missing', beat(started, ended, sealed, lost, ranges)],
    ['attribute-twice', beat(started, started, ended, sealed, lost, highest, ranges)],
    ['attribute-unknown', beat(...counts, ranges, text('more', 'x'))],
    ['attribute-foreign-optional', beat(...counts, ranges, text('lock', 'x'))],
    ['field-unknown', beat(...counts, ranges, f(9, Buffer.alloc(16)))],
    ['body', message(time, f(5, f(1, 'x')), ...counts, ranges, heartbeat)],
    ['resource', f(1, f(1), f(2, f(2, time, ...counts, ranges, heartbeat)))],
    ['scope', f(1, f(2, f(1), f(2, time, ...counts, ranges, heartbeat)))],
    [
      'value-before-key',
      beat(f(6, f(2, hex('18 01')), f(1, 'started')), ...counts.slice(1), ranges),
    ],
    ['value-missing', beat(f(6, f(1, 'started')), ...counts.slice(1), ranges)],
    [
      'value-twice',
      beat(f(6, f(1, 'started'), f(2, hex('18 01 18 01'))), ...counts.slice(1), ranges),
    ],
    ['value-kind', beat(text('started', '1'), ...counts.slice(1), ranges)],
    ['value-bool', beat(f(6, f(1, 'started'), f(2, hex('10 01'))), ...counts.slice(1), ranges)],
    [
      'attribute-field-3',
      beat(f(6, f(1, 'started'), f(2, hex('18 01')), f(3)), ...counts.slice(1), ranges),
    ],
    [
      'count-not-minimal',
      beat(f(6, f(1, 'started'), f(2, hex('18 8100'))), ...counts.slice(1), ranges),
    ],
    ['count-above-2-53', beat(count('started', 2n ** 53n), ...counts.slice(1), ranges)],
    ['count-negative', beat(count('started', 2n ** 64n - 1n), ...counts.slice(1), ranges)],
    ['text-latin-1', beat(...counts, f(6, f(1, 'open'), f(2, f(1, hex('e9')))))],
    ['text-lf', beat(...counts, text('open', '4\n'))],
    ['text-delete', beat(...counts, text('open', '\x7f'))],
    ['text-of-1025', beat(...counts, text('open', '9'.repeat(1025)))],
    ['text-as-bytes', beat(...counts, f(6, f(1, 'open'), f(2, f(7, '4'))))],
    ['length-not-minimal', beat(...counts, f(6, f(1, 'open'), bytes(hex('128300'), f(1, '4'))))],
    ['hash-spare-bits', hashed(oneMore(HASH))],
    ['hash-of-31', hashed(encodeBase64(sha256(bytes()).slice(1)))],
    ['hash-in-hex', hashed(Buffer.from(HASH, 'base64').toString('hex'))],
  ];
  for (const [name, entry] of badEvents) {
    invalid(`event-${name}`, `no event: ${name}`, 'record.control', lie(of('control', [entry])));
  }

  // Opening and closing.
  const openedBy = (change: Partial<ControlEvent & { name: 'opened' }>): Draft =>
    control((head) => ({ ...OPENED(head), ...change }) as ControlEvent);
  const log = (...drafts: readonly Draft[]): Files => filesOf(sealDrafts([drafts]));
  invalid(
    'opened-missing',
    'begins with spans',
    'record.opened',
    log(of('traces', traces('chat'))),
  );
  invalid(
    'opened-late',
    'spans, then opened',
    'record.opened',
    log(of('traces', traces('chat')), opened),
  );
  invalid(
    'opened-second',
    'a heartbeat before it in record 0',
    'record.opened',
    log(control(HEARTBEAT, OPENED)),
  );
  invalid('opened-size', 'another size', 'record.opened', log(openedBy({ size: 1 })));
  invalid(
    'opened-root',
    'another root',
    'record.opened',
    log(openedBy({ root: sha256(bytes('x')) })),
  );
  invalid(
    'opened-again-size',
    'the size of the start',
    'record.opened',
    log(opened, closed, openedBy({ size: 0 })),
  );
  invalid(
    'opened-again-root',
    'the root of the start',
    'record.opened',
    log(opened, closed, openedBy({ root: sha256(bytes()) })),
  );
  invalid(
    'opened-unclean-size',
    'unclean and wrong',
    'record.opened log.unclean-end',
    log(opened, openedBy({ size: 9 })),
  );
  invalid(
    'closed-then-spans',
    'spans behind closed',
    'record.opened',
    log(opened, closed, of('traces', traces('chat'))),
  );
  invalid('closed-then-closed', 'closed twice', 'record.opened', log(opened, closed, closed));
  invalid(
    'closed-then-opened-late',
    'a heartbeat before opened',
    'record.opened',
    log(opened, closed, control(HEARTBEAT, OPENED)),
  );
  invalid('closed-first', 'begins with closed', 'record.opened', log(closed));

  // Numbers.
  valid(
    'numbers',
    'killed and whole, then closed in order',
    'log.interrupted log.recovered-whole',
    filesOf(sealDrafts(NUMBERED_DRAFTS)),
  );
  const sums: [name: string, says: string, drafts: Draft[], ...codes: string[]][] = [
    ['all', 'all are sealed, in any order', [calls(3, 1), calls(2), control(closedAt(3))]],
    ['twice', 'a number twice', [calls(1, 2), calls(2), control(closedAt(2))]],
    ['none', 'nothing was started', [control(closedAt(0))]],
    ['not-closed', 'what is not closed is not summed', [calls(2), control(heartbeatAt(9))]],
    ['gap', 'declared lost', [calls(1), control(gapOf(2, 4), closedAt(4))], 'log.gap'],
    [
      'gap-of-all',
      'a gap of all numbers there are',
      [control(gapOf(1, 2 ** 53 - 1), closedAt(2 ** 53 - 1))],
      'log.gap',
    ],
    [
      'gap-unknown',
      'lost, and nobody knows which',
      [calls(1), control(gapOf(0, 0), closedAt(2))],
      'log.gap',
      'log.numbers',
    ],
    [
      'gap-backwards',
      'a gap that ends before it begins',
      [calls(1), control(gapOf(2, 1), closedAt(2))],
      'log.gap',
      'log.numbers',
    ],
    [
      'gap-from-zero',
      'a gap whose first is unknown',
      [calls(1), control(gapOf(0, 2), closedAt(2))],
      'log.gap',
      'log.numbers',
    ],
    ['missing', 'one is missing', [calls(1, 3), control(closedAt(3))], 'log.numbers'],
    ['missing-first', 'the first is missing', [calls(2), control(closedAt(2))], 'log.numbers'],
    ['missing-last', 'the last is missing', [calls(1), control(closedAt(2))], 'log.numbers'],
    ['missing-all', 'none is there', [control(closedAt(1))], 'log.numbers'],
    [
      'closed-below-seen',
      'closed names less than is sealed',
      [calls(1, 4), control(closedAt(2)), opened],
      'log.numbers',
    ],
    [
      'closed-below-seen-whole',
      'closed names less, and none is missing',
      [calls(1, 2), control(closedAt(1))],
    ],
    [
      'closed-below-said',
      'closed names less than a heartbeat did',
      [calls(1), control(heartbeatAt(2)), control(closedAt(1))],
      'log.numbers',
    ],
    [
      'closed-below-continued',
      'closed names less than opened did',
      [calls(1), continued(2), control(closedAt(1))],
      'log.numbers',
    ],
    [
      'heartbeat-behind',
      'a heartbeat behind closed says nothing of it',
      [calls(1), control(closedAt(1), heartbeatAt(9))],
    ],
    [
      'intent',
      'sealed before it started, and ended',
      [control(intent(1)), calls(1), control(closedAt(1))],
    ],
    [
      'intent-only',
      'sealed before it started, and no end of it',
      [control(intent(2)), calls(1), control(closedAt(1))],
      'log.numbers',
    ],
    [
      'intent-unclean',
      'what was killed, and its journal deleted',
      [control(intent(1)), opened, control(closedAt(0))],
      'log.unclean-end',
    ],
    ['open', 'still running at the end', [calls(2), control(closedAt(9, { open: '1,3-9' }))]],
    ['open-above', 'open above the highest', [calls(1), control(closedAt(1, { open: '3' }))]],
    [
      'open-cut',
      'a list that was cut short',
      [calls(3), control(closedAt(3, { open: '1-2,...' }))],
    ],
    [
      'open-cut-missing',
      'and what was cut off is missing',
      [calls(3), control(closedAt(4, { open: '1-2,...' }))],
      'log.numbers',
    ],
    [
      'open-largest',
      'the largest number there is',
      [control(closedAt(2 ** 53 - 1, { open: '1-9007199254740991' }))],
    ],
    [
      'interrupted',
      'two processes, one killed',
      [
        calls(2),
        control(interrupted(1), closedAt(2, { interrupted: 1 })),
        opened,
        calls(1),
        control(closedAt(1)),
      ],
      'log.interrupted',
    ],
    [
      'interrupted-none',
      'killed, and no call was under way',
      [control(closedAt(0, { interrupted: 0 }))],
      'log.interrupted',
    ],
    [
      'interrupted-missing',
      'killed, and one is missing',
      [control(interrupted(2), closedAt(2, { interrupted: 1 }))],
      'log.interrupted',
      'log.numbers',
    ],
    [
      'interrupted-zero',
      'a number that is none',
      [control(interrupted(0), closedAt(1))],
      'log.numbers',
    ],
    [
      'runs',
      'each process has its own',
      [calls(1), control(closedAt(1)), opened, calls(2), control(closedAt(2))],
      'log.numbers',
    ],
    [
      'runs-unclean',
      'an end that was not clean tells no numbers',
      [calls(2), control(heartbeatAt(7)), opened, calls(1), control(closedAt(1))],
      'log.unclean-end',
    ],
    [
      'continued',
      'the same process goes on',
      [calls(1), continued(1), calls(2), control(closedAt(2))],
    ],
    [
      'continued-missing',
      'the same process lost one',
      [calls(1), continued(1), calls(3), control(closedAt(3))],
      'log.numbers',
    ],
    [
      'continued-behind-unclean',
      'a run begins where the log is not open, and this one is whole',
      [opened, control(closedAt(0)), continued(0), control(RECOVERED, closedAt(0))],
      'log.unclean-end',
      'log.recovered-whole',
    ],
    [
      'continued-behind-closed',
      'nothing goes on behind closed',
      [calls(1), control(closedAt(1)), continued(1), calls(2), control(closedAt(2))],
      'log.numbers',
    ],
    [
      'recovered',
      'a cut, and all is there',
      [calls(1), continued(1), control(RECOVERED), control(closedAt(1))],
      'log.recovered-whole',
    ],
    [
      'recovered-missing',
      'a cut, and one is missing',
      [continued(1), control(RECOVERED), control(closedAt(1))],
      'log.recovered',
      'log.numbers',
    ],
    [
      'recovered-not-closed',
      'a cut, and no sum yet',
      [continued(0), control(RECOVERED)],
      'log.recovered',
    ],
    [
      'recovered-unclean',
      'a cut behind an unclean end',
      [opened, control(RECOVERED), control(closedAt(0))],
      'log.recovered',
      'log.unclean-end',
    ],
    [
      'recovered-unclean-continued',
      'the same process went on',
      [opened, continued(0), control(RECOVERED), control(closedAt(0))],
      'log.recovered',
      'log.unclean-end',
    ],
    [
      'recovered-then-killed',
      'a cut in a run that nobody ended',
      [control(RECOVERED), opened, control(closedAt(0))],
      'log.recovered',
      'log.unclean-end',
    ],
    [
      'recovered-closed',
      'a cut behind an end in order',
      [control(closedAt(0)), opened, control(RECOVERED), control(closedAt(0))],
      'log.recovered-whole',
    ],
    [
      'recovered-around',
      'one cut before closed, one behind',
      [control(RECOVERED, closedAt(0), RECOVERED)],
      'log.recovered',
      'log.recovered-whole',
    ],
    [
      'recovered-again',
      'whole behind a run that was not',
      [opened, control(closedAt(0)), opened, control(RECOVERED, closedAt(0))],
      'log.recovered-whole',
      'log.unclean-end',
    ],
    [
      'collector',
      'what others number is not ours',
      [of('traces', numbered(9), { header: GATEWAY }), control(closedAt(0))],
    ],
    [
      'collector-missing',
      'and fills no hole',
      [of('traces', numbered(1), { header: GATEWAY }), control(closedAt(1))],
      'log.numbers',
    ],
    [
      'logs',
      'log records have no number',
      [
        of('logs', [around(f(6, f(1, 'aigov.sequence'), f(2, hex('18 01'))))]),
        control(closedAt(1)),
      ],
      'log.numbers',
    ],
  ];
  for (const text of [
    'x',
    '0',
    '01',
    '1,',
    ',1',
    '1,1',
    '2-1',
    '1-2-3',
    '-1',
    '1-',
    '1 ',
    '1, 2',
    '+1',
    '1.0',
    '...',
    ',...',
    '1,...,...',
    '1..',
    '1-9007199254740992',
    '9'.repeat(17),
  ]) {
    const name = `open-bad-${[...text.slice(0, 20)].map((char) => char.charCodeAt(0).toString(16)).join('')}`;
    sums.push([
      name,
      `no list: ${text}`,
      [calls(1), control(closedAt(1, { open: text }))],
      'log.numbers',
    ]);
  }
  /** Attributes of the one span of a log that says its number is 1. */
  const spelled: [name: string, isNumber: boolean, ...attributes: Buffer[]][] = [
    ['plain', true, sequence(1)],
    ['behind-others', true, f(9, f(1, 'a'), f(2, hex('18 05'))), sequence(1), f(9, f(1, 'b'))],
    ['behind-bad', true, sequence(0), sequence(1)],
    ['first-of-two', true, sequence(1), sequence(7)],
    ['longer-key', false, f(9, f(1, 'aigov.sequences'), f(2, hex('18 01')))],
    ['zero', false, sequence(0)],
    ['negative', false, sequence(2n ** 64n - 1n)],
    ['2-53', false, sequence(2n ** 53n)],
    ['not-minimal', false, f(9, f(1, 'aigov.sequence'), f(2, hex('18 8100')))],
    ['text', false, f(9, f(1, 'aigov.sequence'), f(2, f(1, '1')))],
    ['double', false, f(9, f(1, 'aigov.sequence'), f(2, hex('21 000000000000f03f')))],
    ['bool', false, f(9, f(1, 'aigov.sequence'), f(2, hex('10 01')))],
    ['value-first', true, f(9, f(2, hex('18 01')), f(1, 'aigov.sequence'))],
    ['value-first-zero', false, f(9, f(2, hex('18 00')), f(1, 'aigov.sequence'))],
    ['key-and-key', false, f(9, f(1, 'aigov.sequence'), f(1, 'aigov.sequence'))],
    ['key-alone', false, f(9, f(1, 'aigov.sequence'))],
    ['value-twice', false, f(9, f(1, 'aigov.sequence'), f(2, hex('18 01')), f(2, hex('18 01')))],
    ['member-twice', false, f(9, f(1, 'aigov.sequence'), f(2, hex('18 01 18 01')))],
    ['key-twice', false, f(9, f(1, 'aigov.sequence'), f(1, 'aigov.sequence'), f(2, hex('18 01')))],
    ['unknown-behind', false, f(9, f(1, 'aigov.sequence'), f(2, hex('18 01')), f(3, 'x'))],
    ['no-value', false, f(9, f(1, 'aigov.sequence'))],
    ['empty-value-and-more', false, f(9, f(1, 'aigov.sequence'), f(2), hex('18 01'))],
    ['empty-value', false, f(9, f(1, 'aigov.sequence'), f(2))],
    ['length-not-minimal', false, f(9, f(1, 'aigov.sequence'), hex('12 8200 18 01'))],
    ['key-length-not-minimal', false, f(9, hex('0a 8e00'), 'aigov.sequence', f(2, hex('18 01')))],
    ['in-event', false, f(11, f(3, f(1, 'aigov.sequence'), f(2, hex('18 01'))))],
  ];
  for (const [name, isNumber, ...attributes] of spelled) {
    const entry = around(bytes(span('chat'), ...attributes));
    const drafts = [of('traces', [entry]), control(closedAt(1))];
    sums.push([
      `spelled-${name}`,
      `the attribute: ${name}`,
      drafts,
      ...(isNumber ? [] : ['log.numbers']),
    ]);
  }
  const notes = ['log.interrupted', 'log.recovered-whole'];
  for (const [name, says, drafts, ...codes] of sums) {
    const verdict = codes.every((code) => notes.includes(code)) ? valid : incomplete;
    verdict(`numbers-${name}`, says, codes.join(' '), log(opened, ...drafts));
  }

  // Segments that were removed since an archive has them.
  const numberedLog = sealDrafts(NUMBERED_DRAFTS);
  const seenAt = (log: SealedLog, size: number): Partial<VectorTrust> => ({
    minimum: { size, root: encodeBase64(log.headAt(size).root) },
  });
  const removal = (
    name: string,
    says: string,
    files: Files,
    seen: Partial<VectorTrust> | undefined,
    codes = '',
  ): void => {
    if (seen === undefined)
      unverifiable(`pruned-${name}`, says, `log.pruned ${codes}`.trim(), files);
    else if (codes === '') valid(`pruned-${name}`, says, 'log.pruned-seen', files, seen);
    else incomplete(`pruned-${name}`, says, `log.pruned-seen ${codes}`, files, seen);
  };
  removal('unseen', 'nobody saw them verified', prunedFiles(whole, 3), undefined);
  removal('seen', 'a head behind them was seen', prunedFiles(whole, 3), seenAt(whole, 4));
  removal(
    'seen-exactly',
    'the head at their end was seen',
    prunedFiles(whole, 3),
    seenAt(whole, 3),
  );
  unverifiable(
    'pruned-seen-before',
    'only a head among them was seen',
    'log.pruned',
    prunedFiles(whole, 3),
    seenAt(whole, 2),
  );
  removal('twice', 'two segments were removed', prunedFiles(whole, 5), seenAt(whole, 6));
  removal(
    'half-way',
    'a crash left a segment that was to be removed',
    prunedFiles(whole, 5, { [SEG(3)]: honest[SEG(3)]! }),
    seenAt(whole, 6),
  );
  removal(
    'numbers',
    'the numbers of a run whose beginning was removed are not summed',
    prunedFiles(numberedLog, 6),
    seenAt(numberedLog, 6),
    'log.interrupted log.recovered',
  );
  removal('in-a-run', 'nor is its end', prunedFiles(numberedLog, 8), seenAt(numberedLog, 8));
  const twoRuns = sealDrafts([
    [opened, closed],
    [opened, calls(2), control(closedAt(2))],
  ]);
  removal(
    'run-begins',
    'a run that begins behind them is summed',
    prunedFiles(twoRuns, 2),
    seenAt(twoRuns, 2),
    'log.numbers',
  );
  unverifiable('pruned-all', 'nothing but them', 'log.empty log.pruned', {
    pruned: prunedFile(whole, 6),
    checkpoint: honest.checkpoint!,
  });
  const behind3 = prunedFiles(whole, 3);
  const prunedText = Buffer.from(behind3.pruned as Uint8Array).toString('latin1');
  for (const [name, text] of [
    ['empty', ''],
    ['no-end', prunedText.slice(0, -1)],
    ['peak-missing', prunedText.replace(/[^\n]+\n$/, '')],
    ['size-zero', prunedText.replace('\n3\n', '\n0\n')],
    ['leading-zero', prunedText.replace('\n3\n', '\n03\n')],
    ['blank', `${prunedText}\n`],
  ] as const) {
    const files = { ...behind3, pruned: bytes(text) };
    invalid(
      `pruned-${name}`,
      'no such file: the log begins at 0',
      'segment.name log.empty log.truncated',
      files,
    );
  }
  invalid('pruned-other-size', 'a lie about how many', 'log.pruned log.root record.link', {
    ...behind3,
    pruned: bytes(prunedText.replace('\n3\n', '\n5\n')),
  });
  const [, , , ...lines] = prunedText.split('\n');
  for (const [name, from, codes] of [
    ['other-link', prunedText.split('\n')[2]!, 'record.link'],
    ['other-peak', lines[0]!, 'log.root'],
  ] as const) {
    invalid(`pruned-${name}`, 'a lie about what was there', `log.pruned ${codes}`, {
      ...behind3,
      pruned: bytes(prunedText.replace(from, HASH)),
    });
  }

  return [...vectors.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** One line for each member, so that a changed vector shows as one. */
export function encodeVector(vector: object): string {
  const members = Object.entries(vector).map(
    ([key, value]) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)}`,
  );
  return `{\n${members.join(',\n')}\n}\n`;
}

export const VECTOR_DIRECTORY: string = join(import.meta.dirname, '../test/vectors/logs');

if (import.meta.main) {
  mkdirSync(VECTOR_DIRECTORY, { recursive: true });
  for (const name of readdirSync(VECTOR_DIRECTORY)) rmSync(join(VECTOR_DIRECTORY, name));
  const vectors = makeVectors();
  for (const vector of vectors) {
    writeFileSync(join(VECTOR_DIRECTORY, `${vector.name}.json`), encodeVector(vector));
  }
  console.log(`${vectors.length} vectors`);
}
