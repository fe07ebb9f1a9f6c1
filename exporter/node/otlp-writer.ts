// SPDX-License-Identifier: Apache-2.0
/**
 * Writes ended spans as OTLP protobuf in one pass, byte-equal to what the stock serialiser of OpenTelemetry writes.
 * Does not wait for resources whose attributes are still being detected: its caller does.
 */
import { MESSAGE_DEPTH_MAX } from '../log/limits.ts';

/** Seconds since 1970 and nanoseconds within that second. */
export type HrTimeLike = readonly [number, number];

export interface SpanContextLike {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly isRemote?: boolean | undefined;
  readonly traceState?: { serialize(): string } | undefined;
}

export type AttributesLike = Readonly<Record<string, unknown>>;

export interface ScopeLike {
  readonly name: string;
  readonly version?: string | undefined;
  readonly schemaUrl?: string | undefined;
  readonly attributes?: AttributesLike | undefined;
  readonly droppedAttributesCount?: number | undefined;
}

export interface ResourceLike {
  readonly attributes?: AttributesLike | undefined;
  readonly schemaUrl?: string | undefined;
  readonly asyncAttributesPending?: boolean | undefined;
  waitForAsyncAttributes?(): Promise<void>;
}

export interface SpanEventLike {
  readonly time: HrTimeLike;
  readonly name: string;
  readonly attributes?: AttributesLike | undefined;
  readonly droppedAttributesCount?: number | undefined;
}

export interface SpanLinkLike {
  readonly context: SpanContextLike;
  readonly attributes?: AttributesLike | undefined;
  readonly droppedAttributesCount?: number | undefined;
}

/** An ended span of SDK 1.30, 2.x or 3.x. The 1.x line has `instrumentationLibrary` and `parentSpanId`. */
export interface ReadableSpanLike {
  readonly name: string;
  readonly kind: number;
  spanContext(): SpanContextLike;
  readonly parentSpanContext?: SpanContextLike | undefined;
  readonly parentSpanId?: string | undefined;
  readonly startTime: HrTimeLike;
  readonly endTime: HrTimeLike;
  readonly status: { readonly code: number; readonly message?: string | undefined };
  readonly attributes: AttributesLike;
  readonly links: readonly SpanLinkLike[];
  readonly events: readonly SpanEventLike[];
  readonly resource: ResourceLike;
  readonly instrumentationScope?: ScopeLike | undefined;
  readonly instrumentationLibrary?: ScopeLike | undefined;
  readonly droppedAttributesCount: number;
  readonly droppedEventsCount: number;
  readonly droppedLinksCount: number;
}

export interface EncodedTraces {
  /** A `TracesData`, in a buffer of its own, so that it can be transferred to another thread. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The spans in the order written: grouped by resource and scope. Entry `i` of `bytes` is `spans[i]`. */
  readonly spans: readonly ReadableSpanLike[];
  /** Values that have no OTLP form or could not be read; each is written as an empty value under its key. */
  readonly lostValueCount: number;
}

/**
 * Maps and lists inside one another that an attribute may have. An AnyValue of an event sits six messages deep and
 * each level adds three, so what is written never passes the depth at which the walker and decoders refuse.
 */
export const VALUE_DEPTH_MAX: number = Math.floor((MESSAGE_DEPTH_MAX - 6) / 3);

/** Maps and lists in one attribute. Shared ones are written out each time, so a small object could fill the memory. */
export const VALUE_CONTAINER_COUNT_MAX: number = 65_536;

const HAS_IS_REMOTE = 0x100;
const IS_REMOTE = 0x200;

const INT64_MIN = -(2 ** 63);
const INT64_END = 2 ** 63;
const TWO_32 = 0x1_0000_0000;

/** Strings shorter than this are faster copied by hand than through a call into C++. */
const SHORT_STRING_LENGTH = 16;
const SCRATCH_BYTE_LENGTH = 256 * 1024;
/** A scratch buffer that one huge span has grown past this is given back. */
const SCRATCH_KEPT_BYTE_LENGTH_MAX = 4 * 1024 * 1024;

/** Thrown and caught in this file only: the value at hand is given up, the rest of the span is written. */
const GIVE_UP: unique symbol = Symbol('give up');

/** One growing buffer. Lengths are written behind what they measure, which is moved if they need more room. */
class Writer {
  buffer: Buffer = Buffer.allocUnsafeSlow(SCRATCH_BYTE_LENGTH);
  at = 0;
  busy = false;
  lostValueCount = 0;
  /** Those of `lostValueCount` that the stock serialiser would have thrown on; the span's dropped count tells of them. */
  refusedValueCount = 0;
  /** Maps and lists around the value being written. */
  readonly around: object[] = [];
  containerCount = 0;

  room(byteLength: number): void {
    const needed = this.at + byteLength;
    if (needed <= this.buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(grown, 0, 0, this.at);
    this.buffer = grown;
  }

  /** A tag of one byte: field numbers to 15. */
  tag(tag: number): void {
    this.room(1);
    this.buffer[this.at++] = tag;
  }

  /** Leaves room for a length; `guess` is the value expected, and only costs a move if it is wrong. */
  open(guess: number): number {
    const byteLength = varintByteLength(guess);
    this.room(byteLength);
    this.at += byteLength;
    return this.at;
  }

  close(start: number, guess: number): void {
    const reserved = varintByteLength(guess);
    const byteLength = this.at - start;
    const needed = varintByteLength(byteLength);
    if (needed !== reserved) {
      this.room(needed);
      this.buffer.copyWithin(start - reserved + needed, start, this.at);
      this.at += needed - reserved;
    }
    this.putVarint(start - reserved, byteLength);
  }

  private putVarint(at: number, value: number): number {
    let rest = value;
    while (rest > 0x7f) {
      this.buffer[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.buffer[at++] = rest;
    return at;
  }

  /** An integer of the int64 range, negative ones in two's complement. What is no number is written as 0. */
  varint(value: number): void {
    this.room(10);
    if (value >= 0 && value < TWO_32) {
      this.at = this.putVarint(this.at, value >>> 0);
      return;
    }
    const magnitude = Math.abs(value);
    let low = magnitude >>> 0;
    let high = (magnitude / TWO_32) >>> 0;
    if (value < 0) {
      low = (~low + 1) >>> 0;
      high = (low === 0 ? ~high + 1 : ~high) >>> 0;
    }
    while (high > 0 || low > 0x7f) {
      this.buffer[this.at++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.buffer[this.at++] = low;
  }

  double(value: number): void {
    this.room(8);
    this.at = this.buffer.writeDoubleLE(value, this.at);
  }

  fixed32(value: number): void {
    this.room(4);
    this.at = this.buffer.writeUInt32LE(value >>> 0, this.at);
  }

  /** Nanoseconds since 1970; `seconds * 1e9` alone would pass 2^53, so it is taken in two halves of `seconds`. */
  time(time: HrTimeLike): void {
    this.room(8);
    const seconds = time[0];
    const lower = (seconds & 0xffff) * 1e9;
    const upper = ((seconds / 0x10000) >>> 0) * 1e9;
    const low = (lower >>> 0) + (((upper & 0xffff) * 0x10000) >>> 0) + time[1];
    const high = Math.floor(lower / TWO_32) + ((upper / 0x10000) >>> 0) + Math.floor(low / TWO_32);
    this.buffer.writeUInt32LE(low >>> 0, this.at);
    this.at = this.buffer.writeUInt32LE(high >>> 0, this.at + 4);
  }

  string(tag: number, text: string): void {
    const { length } = text;
    // A code unit takes up to three bytes. Beyond a page that would triple the buffer, so there it is counted.
    this.room((length < 65_536 ? length * 3 : Buffer.byteLength(text)) + 6);
    this.buffer[this.at++] = tag;
    if (length < SHORT_STRING_LENGTH) {
      let at = this.at;
      let ascii = true;
      for (let i = 0; i < length; i++) {
        const code = text.charCodeAt(i);
        if (code > 0x7f) {
          ascii = false;
          break;
        }
        this.buffer[++at] = code;
      }
      if (ascii) {
        this.buffer[this.at] = length;
        this.at = at + 1;
        return;
      }
    }
    const start = this.open(length);
    this.at += this.buffer.write(text, start, 'utf8');
    this.close(start, length);
  }

  bytes(tag: number, bytes: Uint8Array): void {
    this.room(bytes.length + 6);
    this.buffer[this.at++] = tag;
    this.at = this.putVarint(this.at, bytes.length);
    this.buffer.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** A trace or span id from its hex digits. */
  id(tag: number, hex: string): void {
    const byteLength = hex.length >>> 1;
    this.room(byteLength + 6);
    this.buffer[this.at++] = tag;
    this.at = this.putVarint(this.at, byteLength);
    for (let i = 0; i < byteLength; i++) {
      this.buffer[this.at++] =
        (hexDigit(hex.charCodeAt(i * 2)) << 4) | hexDigit(hex.charCodeAt(i * 2 + 1));
    }
  }
}

function varintByteLength(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  return code >= 0x61 && code <= 0x66 ? code - 0x57 : code - 0x37;
}

/** Values of a key that fell out of its span; how many, for the dropped count written behind them. */
function writeAttributes(writer: Writer, tag: number, attributes: AttributesLike): number {
  const before = writer.refusedValueCount;
  try {
    for (const key in attributes) {
      if (!Object.hasOwn(attributes, key)) continue;
      writer.containerCount = 0;
      writeKeyValue(writer, tag, attributes, key);
    }
  } catch {
    // Only a proxy gets here, by refusing to list its keys.
    refuse(writer);
  }
  return writer.refusedValueCount - before;
}

function refuse(writer: Writer): void {
  writer.lostValueCount++;
  writer.refusedValueCount++;
}

function writeKeyValue(writer: Writer, tag: number, holder: AttributesLike, key: string): void {
  const { at } = writer;
  const depth = writer.around.length;
  try {
    const value = holder[key];
    const guess = typeof value === 'string' ? value.length + 4 : 0;
    writer.tag(tag);
    const start = writer.open(guess + key.length);
    writer.string(0x0a, key);
    writer.tag(0x12);
    writeValue(writer, value, guess);
    writer.close(start, guess + key.length);
  } catch {
    // A getter that throws, a cycle, a limit, or no memory for one value: the key stays, its value is empty.
    writer.at = at;
    writer.around.length = depth;
    refuse(writer);
    writer.tag(tag);
    const start = writer.open(key.length);
    writer.string(0x0a, key);
    writer.tag(0x12);
    writer.tag(0);
    writer.close(start, key.length);
  }
}

/** An AnyValue with its length. */
function writeValue(writer: Writer, value: unknown, guess: number): void {
  const start = writer.open(guess);
  switch (typeof value) {
    case 'string':
      writer.string(0x0a, value);
      break;
    case 'boolean':
      writer.tag(0x10);
      writer.tag(value ? 1 : 0);
      break;
    case 'number':
      if (Number.isInteger(value) && value >= INT64_MIN && value < INT64_END) {
        writer.tag(0x18);
        writer.varint(value);
      } else {
        writer.tag(0x21);
        writer.double(value);
      }
      break;
    case 'object':
      if (value instanceof Uint8Array) writer.bytes(0x3a, value);
      else if (value !== null) writeContainer(writer, value);
      break;
    case 'undefined':
      break;
    default:
      // A bigint, symbol or function: the stock serialiser leaves the value empty too, but does not count it.
      writer.lostValueCount++;
  }
  writer.close(start, guess);
}

function writeContainer(writer: Writer, value: object): void {
  const { around } = writer;
  if (
    around.length >= VALUE_DEPTH_MAX ||
    ++writer.containerCount > VALUE_CONTAINER_COUNT_MAX ||
    around.includes(value)
  ) {
    throw GIVE_UP;
  }
  around.push(value);
  if (Array.isArray(value)) {
    writer.tag(0x2a);
    const start = writer.open(0);
    for (let i = 0; i < value.length; i++) writeItem(writer, value, i);
    writer.close(start, 0);
  } else {
    writer.tag(0x32);
    const start = writer.open(0);
    for (const key in value) {
      if (Object.hasOwn(value, key)) writeKeyValue(writer, 0x0a, value as AttributesLike, key);
    }
    writer.close(start, 0);
  }
  around.pop();
}

function writeItem(writer: Writer, list: readonly unknown[], index: number): void {
  const { at } = writer;
  const depth = writer.around.length;
  try {
    const value = list[index];
    writer.tag(0x0a);
    writeValue(writer, value, 0);
  } catch {
    writer.at = at;
    writer.around.length = depth;
    refuse(writer);
    writer.tag(0x0a);
    writer.tag(0);
  }
}

function writeEvent(writer: Writer, event: SpanEventLike): void {
  writer.tag(0x5a);
  const start = writer.open(0);
  writer.tag(0x09);
  writer.time(event.time);
  writer.string(0x12, text(event.name));
  const lost = event.attributes ? writeAttributes(writer, 0x1a, event.attributes) : 0;
  writer.tag(0x20);
  writer.varint((event.droppedAttributesCount || 0) + lost);
  writer.close(start, 0);
}

function writeLink(writer: Writer, link: SpanLinkLike): void {
  const { context } = link;
  writer.tag(0x6a);
  const start = writer.open(0);
  writer.id(0x0a, context.traceId);
  writer.id(0x12, context.spanId);
  const traceState = context.traceState?.serialize();
  if (traceState) writer.string(0x1a, traceState);
  const lost = link.attributes ? writeAttributes(writer, 0x22, link.attributes) : 0;
  writer.tag(0x28);
  writer.varint((link.droppedAttributesCount || 0) + lost);
  writer.tag(0x35);
  writer.fixed32((context.traceFlags & 0xff) | HAS_IS_REMOTE | (context.isRemote ? IS_REMOTE : 0));
  writer.close(start, 0);
}

function writeSpan(writer: Writer, span: ReadableSpanLike): void {
  const context = span.spanContext();
  const parent = span.parentSpanContext;
  const parentSpanId = parent?.spanId || span.parentSpanId;
  writer.tag(0x12);
  const start = writer.open(1024);
  writer.id(0x0a, context.traceId);
  writer.id(0x12, context.spanId);
  const traceState = context.traceState?.serialize();
  if (traceState) writer.string(0x1a, traceState);
  if (parentSpanId) writer.id(0x22, parentSpanId);
  writer.string(0x2a, text(span.name));
  // The API has no value for "unspecified", so OTLP's kinds are one higher.
  const kind = span.kind == null ? 0 : span.kind + 1;
  if (kind !== 0) {
    writer.tag(0x30);
    writer.varint(kind);
  }
  writer.tag(0x39);
  writer.time(span.startTime);
  writer.tag(0x41);
  writer.time(span.endTime);
  const lost = span.attributes ? writeAttributes(writer, 0x4a, span.attributes) : 0;
  writer.tag(0x50);
  writer.varint(span.droppedAttributesCount + lost);
  for (const event of span.events) writeEvent(writer, event);
  writer.tag(0x60);
  writer.varint(span.droppedEventsCount);
  for (const link of span.links) writeLink(writer, link);
  writer.tag(0x70);
  writer.varint(span.droppedLinksCount);
  writer.tag(0x7a);
  const statusStart = writer.open(0);
  if (span.status.message) writer.string(0x12, text(span.status.message));
  writer.tag(0x18);
  writer.varint(span.status.code);
  writer.close(statusStart, 0);
  // SDK 1.x does not tell whether a parent was remote, so there neither bit is set: "unknown" in OTLP.
  const remote = parent === undefined && parentSpanId ? 0 : HAS_IS_REMOTE;
  const flags = (context.traceFlags & 0xff) | remote | (parent?.isRemote ? IS_REMOTE : 0);
  if (flags !== 0) {
    writer.tag(0x85);
    writer.tag(0x01);
    writer.fixed32(flags);
  }
  writer.close(start, 1024);
}

/** JavaScript callers can put anything into a name. */
function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

const NO_SCOPE: ScopeLike = { name: '' };

function writeScopeSpans(
  writer: Writer,
  scope: ScopeLike,
  spans: readonly ReadableSpanLike[],
): void {
  const guess = spans.length * 1024;
  writer.tag(0x12);
  const start = writer.open(guess);
  writer.tag(0x0a);
  const scopeStart = writer.open(0);
  writer.string(0x0a, text(scope.name));
  if (scope.version) writer.string(0x12, text(scope.version));
  const lost = scope.attributes ? writeAttributes(writer, 0x1a, scope.attributes) : 0;
  const dropped = (scope.droppedAttributesCount || 0) + lost;
  if (dropped) {
    writer.tag(0x20);
    writer.varint(dropped);
  }
  writer.close(scopeStart, 0);
  for (const span of spans) writeSpan(writer, span);
  if (scope.schemaUrl) writer.string(0x1a, text(scope.schemaUrl));
  writer.close(start, guess);
}

type Groups = Map<ResourceLike, Map<ScopeLike, ReadableSpanLike[]>>;

/** By identity, as the stock serialiser does: equal resources of two providers stay two. */
function groupSpans(spans: readonly ReadableSpanLike[]): Groups {
  const groups: Groups = new Map();
  for (const span of spans) {
    const scope = span.instrumentationScope ?? span.instrumentationLibrary ?? NO_SCOPE;
    let scopes = groups.get(span.resource);
    if (scopes === undefined) {
      scopes = new Map();
      groups.set(span.resource, scopes);
    }
    const group = scopes.get(scope);
    if (group === undefined) scopes.set(scope, [span]);
    else group.push(span);
  }
  return groups;
}

function writeTraces(writer: Writer, groups: Groups, order: ReadableSpanLike[]): void {
  for (const [resource, scopes] of groups) {
    let spanCount = 0;
    for (const spans of scopes.values()) spanCount += spans.length;
    const guess = spanCount * 1024;
    writer.tag(0x0a);
    const start = writer.open(guess);
    writer.tag(0x0a);
    const resourceStart = writer.open(0);
    const attributes = resource?.attributes;
    const lost = attributes ? writeAttributes(writer, 0x0a, attributes) : 0;
    writer.tag(0x10);
    writer.varint(lost);
    writer.close(resourceStart, 0);
    for (const [scope, spans] of scopes) {
      writeScopeSpans(writer, scope, spans);
      for (const span of spans) order.push(span);
    }
    if (resource?.schemaUrl) writer.string(0x1a, text(resource.schemaUrl));
    writer.close(start, guess);
  }
}

let shared: Writer | undefined;

/**
 * Encodes spans as one `TracesData` (the same bytes are an `ExportTraceServiceRequest`).
 *
 * Equal to `ProtobufTraceSerializer.serializeRequest` of `@opentelemetry/otlp-transformer` 0.223 and 0.301 wherever
 * that one neither throws nor overflows. No attribute value can make it throw: values that can not be read, cycles
 * and values past {@link VALUE_DEPTH_MAX} or {@link VALUE_CONTAINER_COUNT_MAX} are written empty and added to the
 * dropped count of what they belong to.
 *
 * @throws TypeError if a span lacks what every SDK gives it, such as its context or times.
 */
export function encodeTracesCounted(spans: readonly ReadableSpanLike[]): EncodedTraces {
  shared ??= new Writer();
  // A getter or a trace state of the application may end a span and flush in the middle of this.
  const writer = shared.busy ? new Writer() : shared;
  writer.busy = true;
  writer.at = 0;
  writer.around.length = 0;
  writer.lostValueCount = 0;
  writer.refusedValueCount = 0;
  const order: ReadableSpanLike[] = [];
  try {
    writeTraces(writer, groupSpans(spans), order);
    const bytes = new Uint8Array(writer.at);
    bytes.set(writer.buffer.subarray(0, writer.at));
    return { bytes, spans: order, lostValueCount: writer.lostValueCount };
  } finally {
    writer.busy = false;
    if (writer.buffer.length > SCRATCH_KEPT_BYTE_LENGTH_MAX) shared = undefined;
  }
}

/** The bytes of {@link encodeTracesCounted}. */
export function encodeTraces(spans: readonly ReadableSpanLike[]): Uint8Array<ArrayBuffer> {
  return encodeTracesCounted(spans).bytes;
}
