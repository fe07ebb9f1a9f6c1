// SPDX-License-Identifier: Apache-2.0
/**
 * A second OTLP decoder, as plain as protobuf's encoding guide: every varint a BigInt, every message a loop, nothing
 * shared with the walker or with protobufjs but the table of fields. It reads what a conforming decoder reads: unknown
 * fields and groups are skipped, repeated singular messages merge, the last scalar and the last oneof member win.
 * Strings are kept as their bytes: whether text is UTF-8 is not what it judges.
 */
import protobuf from 'protobufjs';

export type NaiveValue = string | number | boolean | NaiveMessage | NaiveValue[];
export interface NaiveMessage {
  [field: string]: NaiveValue;
}

/** The bytes are no message of the type. */
export class NaiveRefusal extends Error {}

// opentelemetry-proto v1.11.0: `number: [name, type]`; `[]` behind a type is repeated, `?` is a member of the oneof.
const ATTRIBUTES = ['attributes', 'KeyValue[]'] as const;
const DROPPED = ['droppedAttributesCount', 'uint32'] as const;
const SCHEMA_URL = ['schemaUrl', 'string'] as const;
const SCHEMA: Readonly<Record<string, Readonly<Record<number, readonly [string, string]>>>> = {
  AnyValue: {
    1: ['stringValue', 'string?'],
    2: ['boolValue', 'bool?'],
    3: ['intValue', 'int64?'],
    4: ['doubleValue', 'double?'],
    5: ['arrayValue', 'ArrayValue?'],
    6: ['kvlistValue', 'KeyValueList?'],
    7: ['bytesValue', 'bytes?'],
  },
  ArrayValue: { 1: ['values', 'AnyValue[]'] },
  KeyValueList: { 1: ['values', 'KeyValue[]'] },
  KeyValue: { 1: ['key', 'string'], 2: ['value', 'AnyValue'] },
  EntityRef: {
    1: SCHEMA_URL,
    2: ['type', 'string'],
    3: ['idKeys', 'string[]'],
    4: ['descriptionKeys', 'string[]'],
  },
  Resource: { 1: ATTRIBUTES, 2: DROPPED, 3: ['entityRefs', 'EntityRef[]'] },
  Scope: { 1: ['name', 'string'], 2: ['version', 'string'], 3: ATTRIBUTES, 4: DROPPED },
  Event: { 1: ['timeUnixNano', 'fixed64'], 2: ['name', 'string'], 3: ATTRIBUTES, 4: DROPPED },
  Link: {
    1: ['traceId', 'bytes'],
    2: ['spanId', 'bytes'],
    3: ['traceState', 'string'],
    4: ATTRIBUTES,
    5: DROPPED,
    6: ['flags', 'fixed32'],
  },
  Status: { 2: ['message', 'string'], 3: ['code', 'int32'] },
  Span: {
    1: ['traceId', 'bytes'],
    2: ['spanId', 'bytes'],
    3: ['traceState', 'string'],
    4: ['parentSpanId', 'bytes'],
    5: ['name', 'string'],
    6: ['kind', 'int32'],
    7: ['startTimeUnixNano', 'fixed64'],
    8: ['endTimeUnixNano', 'fixed64'],
    9: ATTRIBUTES,
    10: DROPPED,
    11: ['events', 'Event[]'],
    12: ['droppedEventsCount', 'uint32'],
    13: ['links', 'Link[]'],
    14: ['droppedLinksCount', 'uint32'],
    15: ['status', 'Status'],
    16: ['flags', 'fixed32'],
  },
  LogRecord: {
    1: ['timeUnixNano', 'fixed64'],
    2: ['severityNumber', 'int32'],
    3: ['severityText', 'string'],
    5: ['body', 'AnyValue'],
    6: ATTRIBUTES,
    7: DROPPED,
    8: ['flags', 'fixed32'],
    9: ['traceId', 'bytes'],
    10: ['spanId', 'bytes'],
    11: ['observedTimeUnixNano', 'fixed64'],
    12: ['eventName', 'string'],
  },
  ScopeSpans: { 1: ['scope', 'Scope'], 2: ['spans', 'Span[]'], 3: SCHEMA_URL },
  ResourceSpans: { 1: ['resource', 'Resource'], 2: ['scopeSpans', 'ScopeSpans[]'], 3: SCHEMA_URL },
  TracesData: { 1: ['resourceSpans', 'ResourceSpans[]'] },
  ScopeLogs: { 1: ['scope', 'Scope'], 2: ['logRecords', 'LogRecord[]'], 3: SCHEMA_URL },
  ResourceLogs: { 1: ['resource', 'Resource'], 2: ['scopeLogs', 'ScopeLogs[]'], 3: SCHEMA_URL },
  LogsData: { 1: ['resourceLogs', 'ResourceLogs[]'] },
};

const WIRE_TYPES: Readonly<Record<string, number>> = {
  bool: 0,
  int32: 0,
  uint32: 0,
  int64: 0,
  double: 1,
  fixed64: 1,
  fixed32: 5,
};

export interface NaiveField {
  readonly number: number;
  readonly name: string;
  readonly type: string;
  readonly wireType: number;
  readonly repeated: boolean;
  readonly oneof: boolean;
  readonly isMessage: boolean;
}

/** The fields of a message type, by number. */
export function naiveFields(type: string): NaiveField[] {
  return Object.entries(SCHEMA[type]!).map(([number, [name, spelled]]) => {
    const base = spelled.replace(/[?[\]]/g, '');
    return {
      number: Number(number),
      name,
      type: base,
      wireType: WIRE_TYPES[base] ?? 2,
      repeated: spelled.endsWith('[]'),
      oneof: spelled.endsWith('?'),
      isMessage: base in SCHEMA,
    };
  });
}

interface Reader {
  readonly bytes: Uint8Array;
  at: number;
}

function varint(reader: Reader): bigint {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = reader.bytes[reader.at++];
    if (byte === undefined) throw new NaiveRefusal('a varint past the end');
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return BigInt.asUintN(64, value);
  }
  throw new NaiveRefusal('a varint of more than ten bytes');
}

function take(reader: Reader, length: bigint): Uint8Array {
  if (BigInt(reader.at) + length > BigInt(reader.bytes.length))
    throw new NaiveRefusal('past the end');
  const start = reader.at;
  reader.at += Number(length);
  return new Uint8Array(reader.bytes.subarray(start, reader.at));
}

function tag(reader: Reader): { readonly number: number; readonly wireType: number } {
  const value = varint(reader);
  const number = value >> 3n;
  if (number === 0n || number > 0x1fffffffn) throw new NaiveRefusal(`field number ${number}`);
  return { number: Number(number), wireType: Number(value & 7n) };
}

function skip(reader: Reader, number: number, wireType: number): void {
  if (wireType === 0) varint(reader);
  else if (wireType === 1) take(reader, 8n);
  else if (wireType === 2) take(reader, varint(reader));
  else if (wireType === 5) take(reader, 4n);
  else if (wireType === 3) {
    for (;;) {
      const inner = tag(reader);
      if (inner.wireType === 4) {
        if (inner.number !== number) throw new NaiveRefusal('the end of another group');
        return;
      }
      skip(reader, inner.number, inner.wireType);
    }
  } else throw new NaiveRefusal(`wire type ${wireType}`);
}

function scalar(reader: Reader, type: string): NaiveValue {
  const fixed = (byteLength: bigint): DataView => new DataView(take(reader, byteLength).buffer);
  switch (type) {
    case 'string':
    case 'bytes':
      return Buffer.from(take(reader, varint(reader))).toString('base64');
    case 'bool':
      return varint(reader) !== 0n;
    case 'int32':
      return Number(BigInt.asIntN(32, varint(reader)));
    case 'uint32':
      return Number(BigInt.asUintN(32, varint(reader)));
    case 'int64':
      return String(BigInt.asIntN(64, varint(reader)));
    case 'double':
      return fixed(8n).getFloat64(0, true);
    case 'fixed64':
      return String(fixed(8n).getBigUint64(0, true));
    case 'fixed32':
      return fixed(4n).getUint32(0, true);
    default:
      throw new TypeError(`no such type: ${type}`);
  }
}

/** proto3 does not tell a scalar that is its default from one that is absent, unless it is a member of a oneof. */
function isDefault(value: NaiveValue): boolean {
  return value === '' || value === '0' || value === false || Object.is(value, 0);
}

/**
 * Decodes one message: bytes and strings as base64, 64-bit integers as text, absent what is absent.
 * @throws NaiveRefusal
 */
export function decodeNaive(
  type: string,
  bytes: Uint8Array,
  into: NaiveMessage = {},
): NaiveMessage {
  const fields = naiveFields(type);
  const reader: Reader = { bytes, at: 0 };
  while (reader.at < bytes.length) {
    const { number, wireType } = tag(reader);
    const field = fields.find((known) => known.number === number && known.wireType === wireType);
    if (field === undefined) {
      skip(reader, number, wireType);
      continue;
    }
    const { name } = field;
    if (field.oneof) {
      for (const other of fields) if (other.oneof && other.name !== name) delete into[other.name];
    }
    if (field.isMessage) {
      const value = take(reader, varint(reader));
      if (field.repeated) {
        const list = (into[name] ?? []) as NaiveValue[];
        into[name] = [...list, decodeNaive(field.type, value)];
      } else {
        into[name] = decodeNaive(field.type, value, into[name] as NaiveMessage | undefined);
      }
    } else if (field.repeated) {
      into[name] = [...((into[name] ?? []) as NaiveValue[]), scalar(reader, field.type)];
    } else {
      const value = scalar(reader, field.type);
      if (field.oneof || !isDefault(value)) into[name] = value;
      else delete into[name];
    }
  }
  return into;
}

/** The fields of one message as they stand: number, whole field, and the value of those with a length. */
function rawFields(
  bytes: Uint8Array,
): { readonly number: number; readonly field: Uint8Array; readonly value: Uint8Array }[] {
  const reader: Reader = { bytes, at: 0 };
  const fields = [];
  while (reader.at < bytes.length) {
    const start = reader.at;
    const { number, wireType } = tag(reader);
    const value = wireType === 2 ? take(reader, varint(reader)) : new Uint8Array();
    if (wireType !== 2) skip(reader, number, wireType);
    fields.push({ number, field: bytes.slice(start, reader.at), value });
  }
  return fields;
}

function withLength(number: number, value: Uint8Array): Uint8Array {
  return protobuf.Writer.create()
    .uint32(number * 8 + 2)
    .bytes(value)
    .finish();
}

/** The entries of a request by their definition: all other children deleted, the rest as it stood, the child last. */
export function naiveEntries(request: Uint8Array): Uint8Array[] {
  const cut = (container: Uint8Array, childrenOf: (child: Uint8Array) => Uint8Array[]) => {
    const fields = rawFields(container);
    const kept = fields.filter(({ number }) => number !== 2).map(({ field }) => field);
    return fields
      .filter(({ number }) => number === 2)
      .flatMap(({ value }) => childrenOf(value))
      .map((child) => new Uint8Array(Buffer.concat([...kept, withLength(2, child)])));
  };
  return rawFields(request)
    .flatMap(({ value }) => cut(value, (scope) => cut(scope, (item) => [item])))
    .map((resource) => new Uint8Array(withLength(1, resource)));
}

/** The same table for protobufjs, with strings as bytes. */
const ROOT = protobuf.Root.fromJSON({
  nested: Object.fromEntries(
    Object.keys(SCHEMA).map((type) => [
      type,
      {
        edition: 'proto3',
        fields: Object.fromEntries(
          naiveFields(type).map((field) => [
            field.name,
            {
              id: field.number,
              type: field.type === 'string' ? 'bytes' : field.type,
              ...(field.repeated ? { rule: 'repeated' } : {}),
            },
          ]),
        ),
        oneofs: {
          oneof: {
            oneof: naiveFields(type)
              .filter(({ oneof }) => oneof)
              .map(({ name }) => name),
          },
        },
      },
    ]),
  ),
});

/** The same message by protobufjs. */
export function decodeByProtobufjs(type: string, bytes: Uint8Array): NaiveMessage {
  const message = ROOT.lookupType(type);
  return message.toObject(message.decode(bytes), { bytes: String, longs: String });
}
