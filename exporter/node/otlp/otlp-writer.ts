// SPDX-License-Identifier: Apache-2.0
/**
 * Writes ended spans as OTLP protobuf in one pass, byte-equal to what the stock serialiser of OpenTelemetry writes.
 * Does not wait for resources whose attributes are still being detected: its caller does.
 */
import { MESSAGE_DEPTH_MAX, REQUEST_BYTE_LENGTH_MAX } from '../../log/limits.ts';
import { ProtoWriter } from './proto-writer.ts';
import type {
  AttributesLike,
  ReadableSpanLike,
  ResourceLike,
  ScopeLike,
  SpanEventLike,
  SpanLinkLike,
} from './sdk-shapes.ts';

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

/** Bytes of one span. A longer one would be refused whole, so the attribute that goes past it is given up. */
export const SPAN_BYTE_LENGTH_MAX: number = REQUEST_BYTE_LENGTH_MAX - 1024 * 1024;

const HAS_IS_REMOTE = 0x100;
const IS_REMOTE = 0x200;

const INT64_MIN = -(2 ** 63);
const INT64_END = 2 ** 63;

/** A scratch buffer that one huge span has grown past this is given back. */
const SCRATCH_KEPT_BYTE_LENGTH_MAX = 4 * 1024 * 1024;

/** Thrown and caught in this file only: the value at hand is given up, the rest of the span is written. */
const GIVE_UP: unique symbol = Symbol('give up');

/** The writer and what is known of the value that it is writing. */
class TraceWriter extends ProtoWriter {
  busy = false;
  /** Where the span (or resource) being written begins. */
  start = 0;
  lostValueCount = 0;
  /** Those of `lostValueCount` that the stock serialiser throws on; the span's dropped count tells of them. */
  refusedValueCount = 0;
  /** Maps and lists around the value being written. */
  readonly around: object[] = [];
  containerCount = 0;
}

/** Returns how many values it had to write empty, for the dropped count that follows. */
function writeAttributes(writer: TraceWriter, tag: number, attributes: AttributesLike): number {
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

function checkLength(writer: TraceWriter): void {
  if (writer.at - writer.start > SPAN_BYTE_LENGTH_MAX) throw GIVE_UP;
}

function refuse(writer: TraceWriter): void {
  writer.lostValueCount++;
  writer.refusedValueCount++;
}

function writeKeyValue(
  writer: TraceWriter,
  tag: number,
  holder: AttributesLike,
  key: string,
): void {
  const { at } = writer;
  const depth = writer.around.length;
  try {
    const value = holder[key];
    const guess = typeof value === 'string' ? value.length + 4 : 0;
    writer.tag(tag);
    const start = writer.open(guess + key.length);
    writer.name(0x0a, key);
    writer.tag(0x12);
    writeValue(writer, value, guess);
    writer.close(start, guess + key.length);
    checkLength(writer);
  } catch {
    // A getter that throws, a cycle, a limit, or no memory for one value: the key stays, its value is empty.
    writer.at = at;
    writer.around.length = depth;
    refuse(writer);
    writer.tag(tag);
    const start = writer.open(key.length);
    writer.name(0x0a, key);
    writer.tag(0x12);
    writer.tag(0);
    writer.close(start, key.length);
  }
}

/** An AnyValue with its length. */
function writeValue(writer: TraceWriter, value: unknown, guess: number): void {
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

function writeContainer(writer: TraceWriter, value: object): void {
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

function writeItem(writer: TraceWriter, list: readonly unknown[], index: number): void {
  // Outside of the try: a list without end is given up as a whole.
  checkLength(writer);
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

function writeEvent(writer: TraceWriter, event: SpanEventLike): void {
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

function writeLink(writer: TraceWriter, link: SpanLinkLike): void {
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

function writeSpan(writer: TraceWriter, span: ReadableSpanLike): void {
  const context = span.spanContext();
  const parent = span.parentSpanContext;
  const parentSpanId = parent?.spanId || span.parentSpanId;
  writer.start = writer.at;
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
  writer: TraceWriter,
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

function writeTraces(writer: TraceWriter, groups: Groups, order: ReadableSpanLike[]): void {
  for (const [resource, scopes] of groups) {
    let spanCount = 0;
    for (const spans of scopes.values()) spanCount += spans.length;
    const guess = spanCount * 1024;
    writer.start = writer.at;
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

let shared: TraceWriter | undefined;

/**
 * Encodes spans as one `TracesData` (the same bytes are an `ExportTraceServiceRequest`).
 *
 * Equal to `ProtobufTraceSerializer.serializeRequest` of `@opentelemetry/otlp-transformer` 0.223 and 0.301 wherever
 * that one neither throws nor overflows. No attribute value can make it throw: values that can not be read, cycles
 * and values past {@link VALUE_DEPTH_MAX}, {@link VALUE_CONTAINER_COUNT_MAX} or {@link SPAN_BYTE_LENGTH_MAX} are
 * written empty and added to the dropped count of what they belong to.
 *
 * @throws TypeError if a span lacks what every SDK gives it, such as its context or times.
 */
export function encodeTracesCounted(spans: readonly ReadableSpanLike[]): EncodedTraces {
  shared ??= new TraceWriter();
  // A getter or a trace state of the application may end a span and flush in the middle of this.
  const writer = shared.busy ? new TraceWriter() : shared;
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
