// SPDX-License-Identifier: Apache-2.0
/**
 * A second verifier, written from FORMAT.md alone: it says what the page says, step by step and in its order.
 * It does not import the code under test, is not fast, and keeps whole logs in memory.
 */
import { createHash, createPublicKey, verify } from 'node:crypto';
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';

/** The files of a log by path from its directory: `checkpoint`, `pruned`, `checkpoints/<any>`, `segments/<any>`. */
export type NaiveFiles = ReadonlyMap<string, Uint8Array>;

/** What the caller knows beforehand. Roots are base64, times milliseconds since 1970. */
export interface NaiveTrust {
  readonly origin?: string;
  readonly vkeys: readonly string[];
  readonly minimum?: { readonly size: number; readonly root: string };
  readonly live?: boolean;
  readonly nowMs?: number;
  /** Said in reports only: no verdict of the page depends on it. */
  readonly selfAttested?: boolean;
}

export interface NaiveReport {
  readonly verdict: 'valid' | 'invalid' | 'unverifiable' | 'incomplete';
  /** Codes, sorted, each once. */
  readonly findings: readonly string[];
  /** Verified size. */
  readonly size: number;
  /** Records read. */
  readonly records: number;
}

/** Reads what the page calls the inputs "from the log"; other files are not looked at. */
export function readLogDirectory(directory: string): NaiveFiles {
  const files = new Map<string, Uint8Array>();
  for (const folder of ['checkpoints', 'segments']) {
    if (!existsSync(join(directory, folder))) continue;
    for (const name of readdirSync(join(directory, folder))) {
      files.set(`${folder}/${name}`, readStart(join(directory, folder, name)));
    }
  }
  for (const name of ['checkpoint', 'pruned']) {
    if (existsSync(join(directory, name))) files.set(name, readStart(join(directory, name)));
  }
  return files;
}

/** A file, up to a byte more than the longest that is not refused. */
function readStart(path: string): Uint8Array {
  const file = openSync(path, 'r');
  const bytes = Buffer.alloc(Math.min(fstatSync(file).size, 268_435_456 + 1));
  readSync(file, bytes);
  closeSync(file);
  return bytes;
}

// ---------------------------------------------------------------------------------------------- Conventions

/** What "refused" is here: which code of the page it has does not matter to a verdict. */
class Refused extends Error {}

function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Refused(what);
}

function accepts(work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (error instanceof Refused) return false;
    throw error;
  }
}

const NAME = /^[a-z0-9][a-z0-9._/-]{0,199}$/;
const LF = 0x0a;

function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function integer(text: string): number {
  must(/^(0|[1-9][0-9]*)$/.test(text), 'integer');
  must(BigInt(text) <= 2n ** 53n - 1n, 'integer range');
  return Number(text);
}

function base64(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  must(bytes.toString('base64') === text, 'base64');
  return bytes;
}

function hash(text: string): Buffer {
  const bytes = base64(text);
  must(bytes.length === 32, 'hash');
  return bytes;
}

function time(text: string): number {
  must(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text), 'time');
  const ms = Date.parse(text);
  must(!Number.isNaN(ms) && new Date(ms).toISOString() === text, 'date');
  return ms;
}

// ------------------------------------------------------------------------------------------------- Protobuf

interface Field {
  readonly number: number;
  readonly wire: number;
  /** The whole field, tag included. */
  readonly raw: Buffer;
  /** What a LEN field holds; empty for the other wire types. */
  readonly body: Buffer;
}

/** All fields of a message, after "Every field looked at". */
export function fieldsOf(message: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;

  const varint = (longest: number, what: string): bigint => {
    let value = 0n;
    for (let i = 0; ; i++) {
      must(i < longest, `${what} too long`);
      const byte = message[at];
      must(byte !== undefined, 'truncated');
      at++;
      if (i === 9) must(byte <= 1, `${what} tenth byte`);
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) return value;
    }
  };

  while (at < message.length) {
    const start = at;
    const tag = varint(5, 'tag');
    must(at - start === 1 || message[at - 1] !== 0, 'tag not minimal');
    const number = tag >> 3n;
    const wire = Number(tag & 7n);
    must(number >= 1n && number <= 2n ** 29n - 1n, 'field number');
    let bodyStart = at;
    if (wire === 0) {
      varint(10, 'varint');
      bodyStart = at;
    } else if (wire === 1) {
      at += 8;
      bodyStart = at;
    } else if (wire === 2) {
      const length = varint(5, 'length');
      must(length <= 2n ** 31n - 1n, 'length');
      bodyStart = at;
      at += Number(length);
    } else if (wire === 5) {
      at += 4;
      bodyStart = at;
    } else {
      throw new Refused('wire type');
    }
    must(at <= message.length, 'truncated');
    fields.push({
      number: Number(number),
      wire,
      raw: message.subarray(start, at),
      body: message.subarray(bodyStart, at),
    });
  }
  return fields;
}

function lenField(number: number, body: Uint8Array): Buffer {
  const length: number[] = [];
  let rest = body.length;
  do {
    const low = rest % 128;
    rest = (rest - low) / 128;
    length.push(rest > 0 ? low + 128 : low);
  } while (rest > 0);
  return Buffer.concat([Buffer.from([8 * number + 2, ...length]), body]);
}

interface Message {
  readonly len: readonly number[];
  readonly varint?: readonly number[];
  readonly i64?: readonly number[];
  readonly i32?: readonly number[];
  readonly inside?: Readonly<Record<number, string>>;
}

/** The table "Known fields", line by line. */
const MESSAGES: Readonly<Record<string, Message>> = {
  Resource: { len: [1, 3], varint: [2], inside: { 1: 'KeyValue', 3: 'EntityRef' } },
  InstrumentationScope: { len: [1, 2, 3], varint: [4], inside: { 3: 'KeyValue' } },
  Span: {
    len: [1, 2, 3, 4, 5, 9, 11, 13, 15],
    varint: [6, 10, 12, 14],
    i64: [7, 8],
    i32: [16],
    inside: { 9: 'KeyValue', 11: 'Event', 13: 'Link', 15: 'Status' },
  },
  Event: { len: [2, 3], varint: [4], i64: [1], inside: { 3: 'KeyValue' } },
  Link: { len: [1, 2, 3, 4], varint: [5], i32: [6], inside: { 4: 'KeyValue' } },
  Status: { len: [2], varint: [3] },
  LogRecord: {
    len: [3, 5, 6, 9, 10, 12],
    varint: [2, 7],
    i64: [1, 11],
    i32: [8],
    inside: { 5: 'AnyValue', 6: 'KeyValue' },
  },
  KeyValue: { len: [1, 2], inside: { 2: 'AnyValue' } },
  AnyValue: {
    len: [1, 5, 6, 7],
    varint: [2, 3],
    i64: [4],
    inside: { 5: 'ArrayValue', 6: 'KeyValueList' },
  },
  ArrayValue: { len: [1], inside: { 1: 'AnyValue' } },
  KeyValueList: { len: [1], inside: { 1: 'KeyValue' } },
  EntityRef: { len: [1, 2, 3, 4] },
};

function walkKnown(type: string, bytes: Buffer, depth: number): void {
  must(depth <= 90, 'depth');
  const message = MESSAGES[type];
  if (message === undefined) throw new TypeError(`no message ${type}`);
  for (const field of fieldsOf(bytes)) {
    const { number, wire } = field;
    if (message.len.includes(number)) must(wire === 2, 'wire type');
    if (message.varint?.includes(number)) must(wire === 0, 'wire type');
    if (message.i64?.includes(number)) must(wire === 1, 'wire type');
    if (message.i32?.includes(number)) must(wire === 5, 'wire type');
    const inside = message.inside?.[number];
    if (inside !== undefined) walkKnown(inside, field.body, depth + 1);
  }
}

type Kind = 'traces' | 'logs' | 'control';

/** The entries of a request, each spelled as the page says under "Entry". */
function entriesOf(request: Buffer, kind: Kind): Buffer[] {
  const entries: Buffer[] = [];
  for (const top of fieldsOf(request)) {
    must(top.number === 1 && top.wire === 2, 'top-level field');
    const level1 = containerFields(top.body);
    for (const field of level1) {
      if (field.number === 1) walkKnown('Resource', field.body, 2);
    }
    const kept1 = level1.filter((field) => field.number !== 2).map((field) => field.raw);
    for (const child of level1.filter((field) => field.number === 2)) {
      const level2 = containerFields(child.body);
      for (const field of level2) {
        if (field.number === 1) walkKnown('InstrumentationScope', field.body, 3);
        if (field.number === 2) walkKnown(kind === 'traces' ? 'Span' : 'LogRecord', field.body, 3);
      }
      const kept2 = level2.filter((field) => field.number !== 2).map((field) => field.raw);
      for (const item of level2.filter((field) => field.number === 2)) {
        const scope = Buffer.concat([...kept2, lenField(2, item.body)]);
        entries.push(lenField(1, Buffer.concat([...kept1, lenField(2, scope)])));
      }
    }
  }
  return entries;
}

function containerFields(bytes: Buffer): Field[] {
  const fields = fieldsOf(bytes);
  for (const field of fields) {
    if (field.number <= 3) must(field.wire === 2, 'wire type');
    must(field.number !== 1000, 'field 1000');
  }
  for (const number of [1, 3]) {
    must(fields.filter((field) => field.number === number).length <= 1, 'repeated');
  }
  return fields;
}

// --------------------------------------------------------------------------------------------------- Record

export interface Header {
  readonly bytes: Buffer;
  readonly log: string;
  readonly index: number;
  readonly sourceKind: string;
  readonly principal: string;
  readonly prev: Buffer;
  readonly sealed: string;
  readonly kind: Kind;
  readonly payloadLength: number;
  readonly storedLength: number;
  readonly storedHash: Buffer;
  readonly entryCount: number;
  readonly root: Buffer;
}

/** The end of the header that begins at `at`; `undefined` where the record is torn there. */
function headerEnd(segment: Buffer, at: number): number | undefined {
  let end = at;
  for (let line = 0; line < 9; line++) {
    const lf = segment.indexOf(LF, end);
    if (lf === -1 || lf + 1 - at > 4096) {
      // Torn only where the file ends less than 4,096 bytes behind the start of the header.
      must(segment.length - at < 4096, 'header too long');
      return undefined;
    }
    end = lf + 1;
  }
  return end;
}

function parseHeader(bytes: Buffer): Header {
  const lines = bytes.toString('latin1').split('\n');
  must(lines.length === 10 && lines[9] === '', 'nine lines');
  must(lines[0] === 'sealspan/record@v1', 'version');
  const line = (number: number, key: string, count: number): string[] => {
    const words = (lines[number] ?? '').split(' ');
    must(words.length === count + 1 && words[0] === key, key);
    return words.slice(1);
  };
  const [log = ''] = line(1, 'log', 1);
  must(NAME.test(log), 'log');
  const [index = ''] = line(2, 'index', 1);
  const [prev = ''] = line(3, 'prev', 1);
  const [sealed = ''] = line(4, 'sealed', 1);
  time(sealed);
  const [sourceKind = '', principal = '', policy = ''] = line(5, 'source', 3);
  must(['in-process', 'direct', 'collector'].includes(sourceKind), 'source kind');
  if (principal !== '-') hash(principal);
  must(NAME.test(policy), 'policy');
  const [kind = '', payloadLength = ''] = line(6, 'payload', 2);
  must(kind === 'traces' || kind === 'logs' || kind === 'control', 'payload kind');
  must(integer(payloadLength) <= 134_217_728, 'payload length');
  if (kind === 'control') {
    must(sourceKind === 'in-process' && principal === '-' && policy === 'verbatim', 'source');
  }
  const [compression, storedLength = '', storedHash = ''] = line(7, 'stored', 3);
  must(compression === 'zstd', 'compression');
  must(integer(storedLength) <= 135_266_304, 'stored length');
  const [entryCount = '', root = ''] = line(8, 'entries', 2);
  must(integer(entryCount) >= 1 && integer(entryCount) <= 65_536, 'entries');
  return {
    bytes,
    log,
    index: integer(index),
    sourceKind,
    principal,
    prev: hash(prev),
    sealed,
    kind,
    payloadLength: integer(payloadLength),
    storedLength: integer(storedLength),
    storedHash: hash(storedHash),
    entryCount: integer(entryCount),
    root: hash(root),
  };
}

/** "Stored bytes", rules 1 to 5. */
function checkFrame(frame: Buffer, payloadLength: number): void {
  const byteAt = (index: number): number => {
    const byte = frame[index];
    must(byte !== undefined, 'frame ends');
    return byte;
  };
  must(frame.subarray(0, 4).equals(Buffer.from([0x28, 0xb5, 0x2f, 0xfd])), 'magic');
  const descriptor = byteAt(4);
  const sizeFlag = descriptor >> 6;
  const singleSegment = (descriptor & 0x20) !== 0;
  const checksum = (descriptor & 0x04) !== 0;
  must((descriptor & 0x18) === 0, 'reserved bit');
  must((descriptor & 0x03) === 0, 'dictionary');
  must(sizeFlag !== 0 || singleSegment, 'no content size');
  let at = 5;
  if (singleSegment) {
    must(payloadLength <= 8 * 1024 * 1024, 'window');
  } else {
    const b = byteAt(at++);
    const base = 2 ** (10 + (b >> 3));
    must(base + (base / 8) * (b & 7) <= 8 * 1024 * 1024, 'window');
  }
  const sizeBytes = [1, 2, 4, 8][sizeFlag] ?? 0;
  let size = 0n;
  for (let i = 0; i < sizeBytes; i++) size += BigInt(byteAt(at++)) << BigInt(8 * i);
  if (sizeBytes === 2) size += 256n;
  must(size === BigInt(payloadLength), 'content size');
  for (let last = false; !last; ) {
    const block = byteAt(at) + byteAt(at + 1) * 2 ** 8 + byteAt(at + 2) * 2 ** 16;
    last = (block & 1) === 1;
    const type = (block >> 1) & 3;
    must(type !== 3, 'block type');
    at += 3 + (type === 1 ? 1 : block >> 3);
  }
  if (checksum) at += 4;
  must(at === frame.length, 'frame end');
}

function decompress(frame: Buffer, length: number): Buffer | undefined {
  try {
    const payload = zstdDecompressSync(frame, { maxOutputLength: Math.max(length, 1) });
    return payload.length === length ? payload : undefined;
  } catch {
    return undefined;
  }
}

/** The payload cut at its top-level fields, each an entry of the kind. */
function cutPayload(payload: Buffer, kind: Kind): Buffer[] {
  return fieldsOf(payload).map((field) => {
    const walked = entriesOf(field.raw, kind);
    must(walked.length === 1 && walked[0]?.equals(field.raw) === true, 'not an entry');
    return field.raw;
  });
}

// ------------------------------------------------------------------------------------------- Control events

const EVENTS: Readonly<Record<string, string>> = {
  opened:
    'size count, root hash, writer text, instance text, configuration hash, heartbeatMs count, ' +
    'successorOf? text, successorSize? count, successorRoot? hash, continues? count',
  heartbeat: 'started count, ended count, sealed count, lost count, highest count, open text',
  closed:
    'started count, ended count, sealed count, lost count, highest count, open text, interrupted? count',
  intent: 'sequence count, traceId text, spanId text, startedMs count, model? text',
  interrupted: 'sequence count, traceId text, spanId text, startedMs count, model? text',
  hold: 'action text, id text, by? text',
  gap: 'count count, first count, last count, from text, to text, cause text',
  recovered: 'segment count, offset count, byteLength count, sha256 hash, cut bytes',
  adopted: 'from count, size count',
  receipt:
    'archive text, segment count, size count, byteLength count, sha256 hash, key text, lock? text',
  refused: 'count count, cause text, source text, principal? hash, sha256? hash',
  coverage: 'target text, version? text, state text, detail? text',
};

export interface Content {
  readonly entries: readonly Buffer[];
  readonly events: readonly ControlEvent[];
}

export interface ControlEvent {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, number | string | Buffer>;
}

/** The only field of a message, which must be LEN with this number and a minimal length. */
function onlyChild(message: Buffer, number: number): Buffer {
  const [field, ...more] = fieldsOf(message);
  must(field !== undefined && more.length === 0, 'one field');
  return child(field, number);
}

function child(field: Field | undefined, number: number): Buffer {
  must(field !== undefined && field.number === number && field.wire === 2, 'field');
  must(lenField(number, field.body).equals(field.raw), 'spelling');
  return field.body;
}

function parseEvent(entry: Buffer): ControlEvent {
  const fields = fieldsOf(onlyChild(onlyChild(onlyChild(entry, 1), 2), 2));
  const first = fields.shift();
  must(first !== undefined && first.raw[0] === 0x09, 'time');
  must(first.raw.readBigUInt64LE(1) % 1_000_000n === 0n, 'whole milliseconds');
  const name = child(fields.pop(), 12).toString('latin1');
  must(Object.hasOwn(EVENTS, name), 'event');
  const attributes = new Map<string, number | string | Buffer>();
  for (const line of (EVENTS[name] ?? '').split(', ')) {
    const [word = '', type = ''] = line.split(' ');
    const key = word.replace('?', '');
    const next = fields[0] === undefined ? undefined : fieldsOf(child(fields[0], 6));
    const nextKey = next?.[0] === undefined ? undefined : child(next[0], 1).toString('latin1');
    if (nextKey !== key) {
      must(word.endsWith('?'), `no ${key}`);
      continue;
    }
    fields.shift();
    must(next?.length === 2, 'attribute');
    attributes.set(key, parseValue(child(next[1], 2), type));
  }
  must(fields.length === 0, 'unknown attribute');
  return { name, attributes };
}

function parseValue(value: Buffer, type: string): number | string | Buffer {
  if (type === 'count') {
    must(value[0] === 0x18, 'count');
    const [field, ...more] = fieldsOf(value);
    must(field !== undefined && more.length === 0, 'count');
    const digits = field.raw.subarray(1);
    must(digits.length === 1 || digits.at(-1) !== 0, 'minimal varint');
    let count = 0n;
    for (const byte of [...digits].reverse()) count = count * 128n + BigInt(byte & 0x7f);
    must(count <= 2n ** 53n - 1n, 'count range');
    return Number(count);
  }
  if (type === 'bytes') {
    const bytes = onlyChild(value, 7);
    must(bytes.length <= 1_048_576, 'bytes length');
    return bytes;
  }
  const text = onlyChild(value, 1).toString('latin1');
  if (type === 'hash') return hash(text);
  must(/^[\x20-\x7e]{0,1024}$/.test(text), 'text');
  return text;
}

// -------------------------------------------------------------------------------------------------- Numbers

/** All numbers from the first to the second. */
export type Range = readonly [first: number, last: number];

/** A set of numbers, as ranges of adjacent ones; counts how many there were at most. */
export class Numbers {
  ranges: Range[] = [];
  scattered = 0;

  add(first: number, last: number): void {
    const touching = this.ranges.filter((range) => range[0] <= last + 1 && range[1] >= first - 1);
    const others = this.ranges.filter((range) => !touching.includes(range));
    const joined: Range = [
      Math.min(first, ...touching.map((range) => range[0])),
      Math.max(last, ...touching.map((range) => range[1])),
    ];
    this.ranges = [...others, joined];
    this.scattered = Math.max(this.scattered, this.ranges.length);
  }

  get largest(): number {
    return Math.max(0, ...this.ranges.map((range) => range[1]));
  }

  /** Adjacent numbers are in one range, so that all of them are in the one around 1. */
  hasAllTo(largest: number): boolean {
    return largest < 1 || this.ranges.some((range) => range[0] <= 1 && range[1] >= largest);
  }
}

/** The ranges in `open` of a `closed`; undefined for another text. */
export function rangesOf(open: string): Range[] | undefined {
  if (open === '') return [];
  const ranges: Range[] = [];
  let before = 0;
  for (const part of open.replace(/,\.\.\.$/, '').split(',')) {
    const numbers = part.split('-');
    const legal = accepts(() => {
      must(numbers.length <= 2, 'range');
      const [first = 0, last = first] = numbers.map(integer);
      must(first > before && last >= first, 'ascending');
      ranges.push([first, last]);
      before = last;
    });
    if (!legal) return undefined;
  }
  return ranges;
}

/** "The number of an entry". */
export function numberOf(entry: Buffer): number | undefined {
  const [resourceSpans] = fieldsOf(entry);
  const scopeSpans = fieldsOf(resourceSpans!.body).at(-1);
  const span = fieldsOf(scopeSpans!.body).at(-1);
  for (const { number, body } of fieldsOf(span!.body)) {
    if (number !== 9) continue;
    const value = valueFor(body, 'aigov.sequence', 'count');
    if (typeof value === 'number' && value >= 1) return value;
  }
  return undefined;
}

/** The value of an attribute of that key which is spelled as the page says, in either order. */
export function valueFor(
  attribute: Buffer,
  key: string,
  type: 'count' | 'text',
): number | string | undefined {
  const name = lenField(1, Buffer.from(key));
  const bodies = [
    attribute.subarray(0, name.length).equals(name) ? attribute.subarray(name.length) : undefined,
    attribute.subarray(-name.length).equals(name) ? attribute.subarray(0, -name.length) : undefined,
  ];
  for (const body of bodies) {
    if (body === undefined) continue;
    let value: number | string | Buffer | undefined;
    const legal = accepts(() => {
      value = parseValue(onlyChild(body, 2), type);
    });
    if (legal) return value as number | string;
  }
  return undefined;
}

// ---------------------------------------------------------------------------------------------------- Trees

function leafOf(data: Uint8Array): Buffer {
  return sha256(Buffer.from([0]), data);
}

function rootOf(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leaves[0] ?? Buffer.alloc(0);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return sha256(Buffer.from([1]), rootOf(leaves.slice(0, split)), rootOf(leaves.slice(split)));
}

/** A subtree of so many leaves. */
interface Part {
  readonly size: number;
  readonly root: Buffer;
}

/** The root over subtrees that stand side by side, the larger ones first. */
function rootOver(parts: readonly Part[]): Buffer {
  const [only] = parts;
  if (only === undefined) return sha256();
  if (parts.length === 1) return only.root;
  const total = parts.reduce((sum, { size }) => sum + size, 0);
  let split = 1;
  while (split * 2 < total) split *= 2;
  let at = 0;
  for (let left = 0; left < split; at++) left += parts[at]?.size ?? 0;
  return sha256(Buffer.from([1]), rootOver(parts.slice(0, at)), rootOver(parts.slice(at)));
}

interface Pruned {
  readonly size: number;
  readonly link: Buffer;
  readonly peaks: readonly Part[];
}

function parsePruned(bytes: Buffer): Pruned {
  const text = bytes.toString('latin1');
  must(text.endsWith('\n'), 'last line');
  const [first, size = '', link = '', ...peaks] = text.slice(0, -1).split('\n');
  must(first === 'sealspan/pruned@v1', 'first line');
  must(integer(size) > 0, 'size');
  const sizes: number[] = [];
  for (let power = 2 ** 52; power >= 1; power /= 2) {
    if (Math.floor(integer(size) / power) % 2 === 1) sizes.push(power);
  }
  must(peaks.length === sizes.length, 'a peak for each bit');
  const parts = peaks.map((peak, i): Part => ({ size: sizes[i] ?? 0, root: hash(peak) }));
  return { size: integer(size), link: hash(link), peaks: parts };
}

// ---------------------------------------------------------------------------------------------- Checkpoints

interface Signature {
  readonly name: string;
  readonly id: Buffer;
  readonly signature: Buffer;
}

interface Checkpoint {
  readonly text: Buffer;
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
  readonly signatures: readonly Signature[];
}

interface Key {
  readonly name: string;
  readonly id: Buffer;
  readonly publicKey: Buffer;
}

function parseKey(vkey: string): Key {
  const match = /^([^+]*)\+([0-9a-f]{8})\+(.*)$/s.exec(vkey);
  must(match !== null, 'vkey');
  const [, name = '', id = '', encoded = ''] = match;
  const typed = base64(encoded);
  must(NAME.test(name) && typed.length === 33 && typed[0] === 1, 'vkey');
  const computed = sha256(Buffer.from(`${name}\n`), typed).subarray(0, 4);
  must(computed.toString('hex') === id, 'vkey id');
  return { name, id: computed, publicKey: typed.subarray(1) };
}

function parseCheckpoint(bytes: Buffer): Checkpoint {
  must(bytes.length <= 131_072, 'note too long');
  const note = bytes.toString('utf8');
  must(Buffer.from(note, 'utf8').equals(bytes), 'UTF-8');
  for (const byte of bytes) must(byte >= 0x20 || byte === LF, 'control character');
  const empty = note.lastIndexOf('\n\n');
  must(empty !== -1 && note.endsWith('\n'), 'parts');
  const text = note.slice(0, empty + 1);
  const lines = note
    .slice(empty + 2)
    .split('\n')
    .slice(0, -1);
  must(lines.length >= 1 && lines.length <= 32, 'signature lines');
  const signatures = lines.map((line) => {
    const match = /^\u2014 ([^+\uFEFF\p{White_Space}]+) (.*)$/su.exec(line);
    must(match !== null, 'signature line');
    const [, name = '', encoded = ''] = match;
    const signature = base64(encoded);
    must(signature.length > 4, 'signature length');
    return { name, id: signature.subarray(0, 4), signature: signature.subarray(4) };
  });
  const [origin = '', size = '', root = '', ...more] = text.split('\n');
  must(more.length === 1 && more[0] === '', 'three lines');
  must(NAME.test(origin), 'origin');
  must(integer(size) > 0, 'size 0');
  return {
    text: Buffer.from(text, 'utf8'),
    origin,
    size: integer(size),
    root: hash(root),
    signatures,
  };
}

function verifiesUnder(key: Key, text: Buffer, signature: Buffer): boolean {
  if (signature.length !== 64) return false;
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), key.publicKey]);
  try {
    const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
    return verify(null, text, publicKey, signature);
  } catch {
    return false;
  }
}

// ------------------------------------------------------------------------------------------------ Verifying

interface Head {
  readonly size: number;
  readonly root: Buffer;
}

/** Verifies the files of a log after "Verifying". A vkey that the page refuses throws: it is the caller's. */
export function naiveVerify(
  files: NaiveFiles,
  trust: NaiveTrust,
  onRecord: (header: Header, content: Content) => void = () => {},
): NaiveReport {
  const found = new Set<string>();
  const live = trust.live === true;
  const folder = (prefix: string): [name: string, bytes: Buffer][] =>
    [...files]
      .filter(([path]) => path.startsWith(prefix))
      .map(([path, bytes]): [string, Buffer] => [path.slice(prefix.length), asBuffer(bytes)])
      .filter(([name]) => !name.startsWith('.'))
      .sort(([a], [b]) => (a < b ? -1 : 1));

  // A. Checkpoints: steps 1 to 5.
  const keys = trust.vkeys.map(parseKey);
  const notes = folder('checkpoints/').map(([, bytes]) => bytes);
  const newest = files.get('checkpoint');
  if (newest !== undefined) notes.push(asBuffer(newest));
  if (keys.length === 0) found.add('key.missing');
  if (notes.length === 0) found.add('checkpoint.missing');
  const trusted: Head[] = [];
  let origin = trust.origin;
  for (const bytes of notes) {
    let checkpoint: Checkpoint;
    try {
      checkpoint = parseCheckpoint(bytes);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      found.add('checkpoint.syntax');
      continue;
    }
    if (origin !== undefined && checkpoint.origin !== origin) {
      found.add('checkpoint.origin');
      continue;
    }
    let signed = 0;
    let failed = 0;
    for (const { name, id, signature } of checkpoint.signatures) {
      for (const key of keys) {
        if (key.name !== checkpoint.origin || key.name !== name || !key.id.equals(id)) continue;
        if (verifiesUnder(key, checkpoint.text, signature)) signed++;
        else failed++;
      }
    }
    if (failed > 0) {
      found.add('checkpoint.signature');
    } else if (signed === 0) {
      found.add('checkpoint.unsigned');
    } else {
      trusted.push(checkpoint);
      origin = checkpoint.origin;
    }
  }
  const minimum: Head | undefined =
    trust.minimum === undefined
      ? undefined
      : { size: trust.minimum.size, root: hash(trust.minimum.root) };
  const heads = minimum === undefined ? trusted : [...trusted, minimum];
  const signedSize = Math.max(0, ...trusted.map((head) => head.size));

  // What was removed.
  let pruned: Pruned = { size: 0, link: Buffer.alloc(32), peaks: [] };
  const prunedFile = files.get('pruned');
  if (prunedFile !== undefined)
    accepts(() => {
      pruned = parsePruned(asBuffer(prunedFile));
    });

  // B and C. Segments and records: steps 6 to 21.
  const leaves: Buffer[] = [];
  const sizeNow = (): number => pruned.size + leaves.length;
  const rootNow = (): Buffer =>
    pruned.size === 0
      ? rootOf(leaves)
      : rootOver([...pruned.peaks, ...leaves.map((root): Part => ({ size: 1, root }))]);
  let previous: Header | undefined;
  let state: 'new' | 'open' | 'closed' = pruned.size > 0 ? 'open' : 'new';
  let heartbeatMs = pruned.size > 0 ? Number.POSITIVE_INFINITY : 0;
  let numbers = new Numbers();
  let said = 0;
  let cuts = 0;
  let beganUnclean = pruned.size > 0;
  let torn = false;
  let verified = 0;
  let seen = false;
  // Behind removed records: in the middle of a run whose numbers nobody can add up.
  let partial = pruned.size > 0;

  const checkRecord = (header: Header, stored: Buffer): void => {
    const n = sizeNow();
    origin ??= header.log;
    if (header.log !== origin) found.add('record.log');
    if (header.index !== n) found.add('record.index');
    if (!header.prev.equals(leaves.at(-1) ?? pruned.link)) found.add('record.link');
    if (previous !== undefined && header.sealed < previous.sealed) found.add('record.time');
    const content = checkContent(header, stored);
    if (typeof content === 'string') {
      found.add(content);
      return;
    }
    hear(content.events, n);
    onRecord(header, content);
    if (header.kind !== 'traces' || header.sourceKind !== 'in-process') return;
    for (const entry of content.entries) {
      const number = numberOf(entry);
      if (number !== undefined) numbers.add(number, number);
    }
  };

  /** Steps 11 to 16: the finding, or the entries, and the events of a `control` record. */
  const checkContent = (header: Header, stored: Buffer): string | Content => {
    if (!sha256(stored).equals(header.storedHash)) return 'record.stored';
    if (!accepts(() => checkFrame(stored, header.payloadLength))) return 'record.frame';
    const payload = decompress(stored, header.payloadLength);
    if (payload === undefined) return 'record.payload';
    let entries: Buffer[] = [];
    const legal = accepts(() => {
      entries = cutPayload(payload, header.kind);
    });
    if (!legal || entries.length !== header.entryCount) return 'record.entries';
    if (!rootOf(entries.map(leafOf)).equals(header.root)) return 'record.root';
    let events: ControlEvent[] = [];
    if (header.kind !== 'control') return { entries, events };
    const spelled = accepts(() => {
      events = entries.map(parseEvent);
    });
    return spelled ? { entries, events } : 'record.control';
  };

  /** Empties what is kept of numbers: where a run begins, behind a `closed`, and at the end. */
  const forgetNumbers = (whole: boolean): void => {
    if (cuts > 0) found.add(whole ? 'log.recovered-whole' : 'log.recovered');
    numbers = new Numbers();
    said = 0;
    cuts = 0;
    partial = false;
  };

  /** Step 20 at a `closed`. */
  const sum = (attributes: ControlEvent['attributes']): void => {
    const largest = Math.max(Number(attributes.get('highest')), numbers.largest, said);
    const open = rangesOf(String(attributes.get('open')));
    for (const [first, last] of open ?? []) numbers.add(first, last);
    const adds =
      partial || (open !== undefined && numbers.scattered <= 65_536 && numbers.hasAllTo(largest));
    if (!adds) found.add('log.numbers');
    forgetNumbers(adds && !beganUnclean);
  };

  /** Steps 17 to 20. */
  const hear = (events: readonly ControlEvent[], n: number): void => {
    if (state !== 'open' && events[0]?.name !== 'opened') found.add('record.opened');
    for (const { name, attributes } of events) {
      if (name === 'opened') {
        const root = attributes.get('root');
        if (attributes.get('size') !== n || !Buffer.isBuffer(root) || !root.equals(rootNow()))
          found.add('record.opened');
        const continues = attributes.get('continues');
        if (partial && leaves.length === 0 && continues === undefined) state = 'closed';
        if (continues === undefined || state !== 'open') {
          beganUnclean = state === 'open';
          if (beganUnclean) found.add('log.unclean-end');
          forgetNumbers(false);
        }
        said = Math.max(said, Number(continues ?? 0));
        state = 'open';
        heartbeatMs = Number(attributes.get('heartbeatMs'));
      }
      if (name === 'gap') {
        found.add('log.gap');
        const [first, last] = [Number(attributes.get('first')), Number(attributes.get('last'))];
        if (first >= 1 && first <= last) numbers.add(first, last);
      }
      if (name === 'intent') said = Math.max(said, Number(attributes.get('sequence')));
      if (name === 'interrupted') {
        const sequence = Number(attributes.get('sequence'));
        numbers.add(sequence, sequence);
      }
      if (name === 'heartbeat') said = Math.max(said, Number(attributes.get('highest')));
      if (name === 'recovered') cuts++;
      if (name === 'adopted') found.add('log.adopted');
      if (name === 'closed') {
        state = 'closed';
        if (attributes.has('interrupted')) found.add('log.interrupted');
        sum(attributes);
      }
    }
  };

  /** Step 21 for heads of the size that the log has now. */
  const meetHeads = (): void => {
    for (const head of heads) {
      if (head.size !== sizeNow()) continue;
      if (!head.root.equals(rootNow())) found.add('log.root');
      else {
        if (head.size === signedSize) verified = signedSize;
        if (head === minimum) seen = true;
      }
    }
  };

  /** Reads one segment; false where reading stops. */
  const readSegment = (name: string, segment: Buffer, last: boolean): boolean => {
    if (segment.length > 268_435_456) {
      found.add('segment.too-long');
      return false;
    }
    if (name !== `${String(sizeNow()).padStart(20, '0')}.seg`) {
      found.add('segment.name');
      return false;
    }
    let at = 0;
    while (at < segment.length) {
      let header: Header | undefined;
      const legal = accepts(() => {
        const end = headerEnd(segment, at);
        if (end !== undefined) header = parseHeader(segment.subarray(at, end));
      });
      if (!legal) {
        found.add('record.header');
        return false;
      }
      const storedAt = at + (header?.bytes.length ?? 0);
      if (header === undefined || storedAt + header.storedLength > segment.length) {
        if (last) torn = true;
        else found.add('record.header');
        return false;
      }
      at = storedAt + header.storedLength;
      checkRecord(header, segment.subarray(storedAt, at));
      leaves.push(leafOf(header.bytes));
      previous = header;
      meetHeads();
    }
    return true;
  };

  if (pruned.size > 0) meetHeads();
  const segments = folder('segments/').filter(
    ([name]) => !(/^[0-9]{20}\.seg$/.test(name) && Number(name.slice(0, 20)) < pruned.size),
  );
  segments.every(([name, bytes], i) => readSegment(name, bytes, i === segments.length - 1));

  // D. The end: step 20 for a run that is not closed, and steps 22 to 24.
  forgetNumbers(false);
  const n = sizeNow();
  if (pruned.size > 0) found.add(seen ? 'log.pruned-seen' : 'log.pruned');
  if (n < signedSize) found.add('log.truncated');
  if (minimum !== undefined && n < minimum.size) found.add('log.rollback');
  if (leaves.length === 0) found.add('log.empty');
  if (n > signedSize) found.add(live ? 'log.unsigned-tail-live' : 'log.unsigned-tail');
  if (torn) found.add(live ? 'log.unsigned-tail-live' : 'log.torn-tail');
  if (isOpen(state) && !live && trust.nowMs !== undefined && previous !== undefined) {
    if (trust.nowMs - time(sealedOf(previous)) > 2 * heartbeatMs) found.add('log.silent');
  }

  const findings = [...found].sort();
  return { verdict: worst(findings), findings, size: verified, records: leaves.length };
}

// The closures above assign these: a call keeps the compiler from taking the first values for the last.
function isOpen(state: 'new' | 'open' | 'closed'): boolean {
  return state === 'open';
}

function sealedOf(header: Header): string {
  return header.sealed;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const UNVERIFIABLE = [
  'key.missing',
  'checkpoint.missing',
  'checkpoint.unsigned',
  'log.empty',
  'log.pruned',
];
const INCOMPLETE = [
  'log.adopted',
  'log.gap',
  'log.numbers',
  'log.recovered',
  'log.unclean-end',
  'log.silent',
  'log.unsigned-tail',
  'log.torn-tail',
];
const NOTES = [
  'log.unsigned-tail-live',
  'log.interrupted',
  'log.recovered-whole',
  'log.pruned-seen',
];

function worst(findings: readonly string[]): NaiveReport['verdict'] {
  const known = [...UNVERIFIABLE, ...INCOMPLETE, ...NOTES];
  if (findings.some((code) => !known.includes(code))) return 'invalid';
  if (findings.some((code) => UNVERIFIABLE.includes(code))) return 'unverifiable';
  if (findings.some((code) => INCOMPLETE.includes(code))) return 'incomplete';
  return 'valid';
}
