// SPDX-License-Identifier: Apache-2.0
/**
 * Transcodes OTLP/JSON requests into OTLP protobuf in one pass, without a tree of the whole request: 64-bit integers keep
 * all their digits, whether written as text or as numbers. What it writes is equal to the JSON, not to what the client
 * would have sent as protobuf, so records of it do not say `verbatim`.
 */
import type { OtlpKind } from './otlp-config.ts';
import { ProtoWriter } from './proto-writer.ts';

export type OtlpJsonCode = 'json.syntax' | 'json.value' | 'json.depth';

/** Text that is no OTLP/JSON: `code` for programs, `message` for people, with the place and never with the text. */
export class OtlpJsonError extends Error {
  override readonly name = 'OtlpJsonError';
  readonly code: OtlpJsonCode;
  constructor(code: OtlpJsonCode, message: string, at: number) {
    super(`${message} (character ${at})`);
    this.code = code;
  }
}

/** Spelling of a scalar, or the type of a message. */
type Scalar =
  | 'string'
  | 'hex'
  | 'base64'
  | 'bool'
  | 'double'
  | 'int32'
  | 'uint32'
  | 'fixed32'
  | 'int64'
  | 'fixed64';

interface Field {
  readonly number: number;
  readonly type: Scalar | MessageType;
  readonly isRepeated: boolean;
  /** Names that stand for integers, without their common prefix. */
  readonly names: readonly string[];
}

interface MessageType {
  readonly fields: Map<string, Field>;
  /** At most one of its fields is set, and a default value says something. */
  readonly isOneof: boolean;
  /** Spans or log records stand below it: a list that is not known might hold some, and may not be passed over. */
  readonly isEnvelope: boolean;
}

const SPAN_KINDS = [
  'SPAN_KIND_UNSPECIFIED',
  'SPAN_KIND_INTERNAL',
  'SPAN_KIND_SERVER',
  'SPAN_KIND_CLIENT',
  'SPAN_KIND_PRODUCER',
  'SPAN_KIND_CONSUMER',
];
const STATUS_CODES = ['STATUS_CODE_UNSET', 'STATUS_CODE_OK', 'STATUS_CODE_ERROR'];
const SEVERITIES = [
  'SEVERITY_NUMBER_UNSPECIFIED',
  ...['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'].flatMap((level) =>
    ['', '2', '3', '4'].map((number) => `SEVERITY_NUMBER_${level}${number}`),
  ),
];

/**
 * Fields by their JSON name, and by that of the .proto file, which receivers take too: what is not known is left out, and
 * a whole request in the other spelling must not become an empty one.
 */
function messageType(
  fields: Readonly<Record<string, readonly [number, Scalar | MessageType, ...string[]]>>,
  kind?: 'oneof' | 'envelope',
): MessageType {
  const known = new Map<string, Field>();
  for (const [given, [number, type, ...names]] of Object.entries(fields)) {
    const name = given.replace('[]', '');
    const field = { number, type, isRepeated: name !== given, names };
    known.set(name, field);
    known.set(
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      field,
    );
  }
  return { fields: known, isOneof: kind === 'oneof', isEnvelope: kind === 'envelope' };
}

// opentelemetry-proto v1.11.0.
const ANY_VALUE = messageType(
  {
    stringValue: [1, 'string'],
    boolValue: [2, 'bool'],
    intValue: [3, 'int64'],
    doubleValue: [4, 'double'],
    bytesValue: [7, 'base64'],
  },
  'oneof',
);
const KEY_VALUE = messageType({ key: [1, 'string'], value: [2, ANY_VALUE] });
for (const [name, number, type] of [
  ['arrayValue', 5, messageType({ 'values[]': [1, ANY_VALUE] })],
  ['kvlistValue', 6, messageType({ 'values[]': [1, KEY_VALUE] })],
] as const) {
  for (const [key, field] of messageType({ [name]: [number, type] }).fields) {
    ANY_VALUE.fields.set(key, field);
  }
}
const ENTITY_REF = messageType({
  schemaUrl: [1, 'string'],
  type: [2, 'string'],
  'idKeys[]': [3, 'string'],
  'descriptionKeys[]': [4, 'string'],
});
const RESOURCE = messageType({
  'attributes[]': [1, KEY_VALUE],
  droppedAttributesCount: [2, 'uint32'],
  'entityRefs[]': [3, ENTITY_REF],
});
const SCOPE = messageType({
  name: [1, 'string'],
  version: [2, 'string'],
  'attributes[]': [3, KEY_VALUE],
  droppedAttributesCount: [4, 'uint32'],
});
const SPAN = messageType({
  traceId: [1, 'hex'],
  spanId: [2, 'hex'],
  traceState: [3, 'string'],
  parentSpanId: [4, 'hex'],
  name: [5, 'string'],
  kind: [6, 'int32', ...SPAN_KINDS],
  startTimeUnixNano: [7, 'fixed64'],
  endTimeUnixNano: [8, 'fixed64'],
  'attributes[]': [9, KEY_VALUE],
  droppedAttributesCount: [10, 'uint32'],
  'events[]': [
    11,
    messageType({
      timeUnixNano: [1, 'fixed64'],
      name: [2, 'string'],
      'attributes[]': [3, KEY_VALUE],
      droppedAttributesCount: [4, 'uint32'],
    }),
  ],
  droppedEventsCount: [12, 'uint32'],
  'links[]': [
    13,
    messageType({
      traceId: [1, 'hex'],
      spanId: [2, 'hex'],
      traceState: [3, 'string'],
      'attributes[]': [4, KEY_VALUE],
      droppedAttributesCount: [5, 'uint32'],
      flags: [6, 'fixed32'],
    }),
  ],
  droppedLinksCount: [14, 'uint32'],
  status: [15, messageType({ message: [2, 'string'], code: [3, 'int32', ...STATUS_CODES] })],
  flags: [16, 'fixed32'],
});
const LOG_RECORD = messageType({
  timeUnixNano: [1, 'fixed64'],
  severityNumber: [2, 'int32', ...SEVERITIES],
  severityText: [3, 'string'],
  body: [5, ANY_VALUE],
  'attributes[]': [6, KEY_VALUE],
  droppedAttributesCount: [7, 'uint32'],
  flags: [8, 'fixed32'],
  traceId: [9, 'hex'],
  spanId: [10, 'hex'],
  observedTimeUnixNano: [11, 'fixed64'],
  eventName: [12, 'string'],
});

function requestType(kind: 'Spans' | 'Logs', items: string, item: MessageType): MessageType {
  const scopes = messageType(
    { scope: [1, SCOPE], [`${items}[]`]: [2, item], schemaUrl: [3, 'string'] },
    'envelope',
  );
  const resources = messageType(
    { resource: [1, RESOURCE], [`scope${kind}[]`]: [2, scopes], schemaUrl: [3, 'string'] },
    'envelope',
  );
  return messageType({ [`resource${kind}[]`]: [1, resources] }, 'envelope');
}

const REQUESTS: Readonly<Record<OtlpKind, MessageType>> = {
  traces: requestType('Spans', 'spans', SPAN),
  logs: requestType('Logs', 'logRecords', LOG_RECORD),
};

/** Deeper JSON than any request that the walker takes: it stops at 90 messages, of which two make three JSON levels. */
const DEPTH_MAX = 300;

const VARINT = 0;
const FIXED64 = 1;
const LEN = 2;
const FIXED32 = 5;
const WIRE_TYPES: Readonly<Record<Scalar, number>> = {
  string: LEN,
  hex: LEN,
  base64: LEN,
  bool: VARINT,
  double: FIXED64,
  int32: VARINT,
  uint32: VARINT,
  fixed32: FIXED32,
  int64: VARINT,
  fixed64: FIXED64,
};

const RANGES: Readonly<Record<string, readonly [min: bigint, max: bigint]>> = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  fixed32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  fixed64: [0n, 2n ** 64n - 1n],
};

/**
 * The protobuf of an OTLP/JSON request: unknown members are left out, as the protocol says, but for a list beside or in
 * place of the spans, of which nobody could say what was lost; times, counts and ids that are absent, null or the default
 * are not written.
 * @param bytes UTF-8
 * @throws OtlpJsonError
 */
export function transcodeJson(bytes: Uint8Array, kind: OtlpKind): Uint8Array<ArrayBuffer> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new OtlpJsonError('json.syntax', 'json: not UTF-8', 0);
  }
  return new Transcoder(text).run(REQUESTS[kind]);
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const SPACES = /[ \n\r\t]*/y;
const INTEGER = /^-?(?:0|[1-9][0-9]*)$/;
/** Digits that 64 bits can have at most, and a sign: what is longer is not worth a BigInt. */
const INTEGER_LENGTH_MAX = 21;

const UNKNOWN_LIST = 'a list of unknown name where spans or log records stand';

class Transcoder {
  readonly #text: string;
  readonly #writer = new ProtoWriter();
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  run(type: MessageType): Uint8Array<ArrayBuffer> {
    this.#message(type);
    this.#space();
    if (this.#at < this.#text.length) this.#fail('json.syntax', 'something follows the request');
    // A copy of its own: the buffer of the writer is larger, and the result is handed to another thread.
    return new Uint8Array(this.#writer.buffer.subarray(0, this.#writer.at));
  }

  #fail(code: OtlpJsonCode, message: string): never {
    throw new OtlpJsonError(code, `json: ${message}`, this.#at);
  }

  #space(): void {
    if (!(this.#text.charCodeAt(this.#at) <= 0x20)) return;
    SPACES.lastIndex = this.#at;
    SPACES.test(this.#text);
    this.#at = SPACES.lastIndex;
  }

  /** Whether the next character is this one, which is then passed. */
  #takes(character: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #takesWord(word: string): boolean {
    if (!this.#text.startsWith(word, this.#at)) return false;
    this.#at += word.length;
    return true;
  }

  #string(): string {
    const start = this.#at;
    let end = this.#text.indexOf('"', start + 1);
    // A quote behind an odd number of backslashes is part of the text.
    while (end > 0) {
      let backslashes = 0;
      while (this.#text[end - 1 - backslashes] === '\\') backslashes++;
      if (backslashes % 2 === 0) break;
      end = this.#text.indexOf('"', end + 1);
    }
    if (this.#text[start] !== '"' || end < 0) this.#fail('json.syntax', 'a string is expected');
    try {
      const value = JSON.parse(this.#text.slice(start, end + 1)) as string;
      this.#at = end + 1;
      return value;
    } catch {
      return this.#fail('json.syntax', 'a string with an illegal character or escape');
    }
  }

  #number(): string {
    NUMBER.lastIndex = this.#at;
    const found = NUMBER.exec(this.#text)?.[0];
    if (found === undefined) return this.#fail('json.syntax', 'a number is expected');
    this.#at += found.length;
    return found;
  }

  /** Calls `member` for each member of an object, on its value. */
  #members(member: (name: string) => void): void {
    if (!this.#takes('{')) this.#fail('json.value', 'an object is expected');
    this.#enter();
    if (!this.#takes('}')) {
      do {
        this.#space();
        const name = this.#string();
        if (!this.#takes(':')) this.#fail('json.syntax', 'a colon is expected');
        this.#space();
        member(name);
      } while (this.#takes(','));
      if (!this.#takes('}')) this.#fail('json.syntax', 'a comma or a brace is expected');
    }
    this.#depth--;
  }

  #items(item: () => void): void {
    if (!this.#takes('[')) this.#fail('json.value', 'a list is expected');
    this.#enter();
    if (!this.#takes(']')) {
      do {
        this.#space();
        item();
      } while (this.#takes(','));
      if (!this.#takes(']')) this.#fail('json.syntax', 'a comma or a bracket is expected');
    }
    this.#depth--;
  }

  #enter(): void {
    if (++this.#depth > DEPTH_MAX) this.#fail('json.depth', 'nested too deep');
  }

  /** Passes a value that nobody asked for. */
  #skip(): void {
    const character = this.#text[this.#at];
    if (character === '{') this.#members(() => this.#skip());
    else if (character === '[') this.#items(() => this.#skip());
    else if (character === '"') this.#string();
    else if (!this.#takesWord('null') && !this.#takesWord('true') && !this.#takesWord('false')) {
      this.#number();
    }
  }

  #message(type: MessageType): void {
    let seen = 0;
    this.#members((name) => {
      const field = type.fields.get(name);
      if (field === undefined) {
        if (type.isEnvelope && this.#text[this.#at] === '[') this.#fail('json.value', UNKNOWN_LIST);
        return this.#skip();
      }
      // Decoders of JSON take the first, the last, or none: what a span says must not depend on it.
      const bit = 1 << field.number;
      if ((seen & bit) !== 0) this.#fail('json.value', 'a member stands twice');
      if (this.#takesWord('null')) return;
      if (type.isOneof && seen !== 0) this.#fail('json.value', 'a value of two types');
      seen |= bit;
      if (field.isRepeated) this.#items(() => this.#field(field, true));
      else this.#field(field, type.isOneof);
    });
  }

  /** Writes one field; a default value only where `isExplicit`. */
  #field(field: Field, isExplicit: boolean): void {
    const { number, type } = field;
    const writer = this.#writer;
    if (typeof type !== 'string') {
      this.#tag(number, LEN);
      const start = writer.open(0);
      this.#message(type);
      writer.close(start, 0);
      return;
    }
    const tag = number * 8 + WIRE_TYPES[type];
    if (type === 'string') {
      const value = this.#string();
      if (value !== '' || isExplicit) writer.string(tag, value);
    } else if (type === 'hex' || type === 'base64') {
      const value = this.#bytes(type);
      if (value.length > 0 || isExplicit) writer.bytes(tag, value);
    } else if (type === 'bool') {
      const value = this.#takesWord('true');
      if (!value && !this.#takesWord('false')) this.#fail('json.value', 'true or false expected');
      this.#tag(number, VARINT);
      writer.varint(value ? 1 : 0);
    } else if (type === 'double') {
      const value = this.#double();
      this.#tag(number, FIXED64);
      writer.double(value);
    } else {
      const value = this.#integer(type, field.names);
      if (value === 0n && !isExplicit) return;
      this.#tag(number, WIRE_TYPES[type]);
      this.#putInteger(type, value);
    }
  }

  /** Field numbers go to 16, whose tag has two bytes. */
  #tag(number: number, wireType: number): void {
    const tag = number * 8 + wireType;
    if (tag > 0x7f) {
      this.#writer.tag((tag & 0x7f) | 0x80);
      this.#writer.tag(tag >> 7);
    } else this.#writer.tag(tag);
  }

  #bytes(type: 'hex' | 'base64'): Uint8Array {
    const text = this.#string();
    const isLegal =
      type === 'hex'
        ? text.length % 2 === 0 && /^[0-9a-fA-F]*$/.test(text)
        : /^[A-Za-z0-9+/_-]*={0,2}$/.test(text);
    if (!isLegal) this.#fail('json.value', `no ${type}`);
    return Buffer.from(text, type);
  }

  #double(): number {
    if (this.#text[this.#at] !== '"') return Number(this.#number());
    const text = this.#string();
    if (text === 'NaN') return Number.NaN;
    if (text === 'Infinity' || text === '-Infinity') return Number(text);
    NUMBER.lastIndex = 0;
    if (NUMBER.exec(text)?.[0] !== text) this.#fail('json.value', 'no number');
    return Number(text);
  }

  #integer(type: keyof typeof RANGES, names: readonly string[]): bigint {
    const isText = this.#text[this.#at] === '"';
    const text = isText ? this.#string() : this.#number();
    const named = isText ? names.indexOf(text) : -1;
    if (named >= 0) return BigInt(named);
    let value: bigint | undefined;
    if (INTEGER.test(text)) {
      if (text.length <= INTEGER_LENGTH_MAX) value = BigInt(text);
    } else if (!isText && Number.isSafeInteger(Number(text))) {
      // 1e3 and 1.0 are integers too.
      value = BigInt(Number(text));
    }
    const [min, max] = RANGES[type]!;
    if (value === undefined || value < min || value > max) {
      return this.#fail('json.value', `no integer of ${min} to ${max}`);
    }
    return value;
  }

  #putInteger(type: Scalar, value: bigint): void {
    const writer = this.#writer;
    const bits = BigInt.asUintN(64, value);
    if (type === 'fixed32') {
      writer.fixed32(Number(value));
    } else if (type === 'fixed64') {
      writer.room(8);
      writer.at = writer.buffer.writeBigUInt64LE(bits, writer.at);
    } else if (bits <= 0xffff_ffffn) {
      writer.varint(Number(bits));
    } else {
      // The writer's own varints are numbers, which lose digits above 2^53.
      writer.room(10);
      let rest = bits;
      for (; rest > 0x7fn; rest >>= 7n) writer.buffer[writer.at++] = Number(rest & 0x7fn) | 0x80;
      writer.buffer[writer.at++] = Number(rest);
    }
  }
}
