// SPDX-License-Identifier: Apache-2.0
/**
 * What is done to a request before it is sealed: content attributes kept, replaced by keyed digests or dropped, spans
 * that are not governed left out; on the wire, so that every other byte stays as it came. Content under a name that no
 * convention gives it is kept unless a rule says otherwise.
 */
import { isGoverned } from '../../../semconv/index.ts';
import { encodeHex } from '../../log/bytes.ts';
import { LogError } from '../../log/errors.ts';
import { REQUEST_ENTRY_COUNT_MAX } from '../../log/limits.ts';
import { FieldCursor, LEN, varintByteLength, writeVarint } from '../../log/wire.ts';
import {
  BODY_KEY,
  CONTENT_KEYS,
  type ContentRules,
  DIGEST_ALGORITHM,
  Judge,
  type Treatment,
} from '../config/content-judge.ts';
import type { OtlpKind } from '../otlp/otlp-config.ts';
import { type DigestSecret, sha256 } from '../system/keys.ts';

/** A request after the policy. */
export interface AppliedPolicy {
  /** The very array that was given where nothing changed. */
  readonly bytes: Uint8Array;
  /** Spans or log records in the request, and those left out because they are not governed. */
  readonly itemCount: number;
  readonly skippedCount: number;
}

export interface ContentPolicy {
  /** For the source line of records: `verbatim`, or `content/` and the start of the SHA-256 of `document`. */
  readonly id: string;
  /** The whole policy, so that an id in a record can be looked up and checked. JSON, ends in LF. */
  readonly document: string;
  /**
   * Applies the policy to one whole request.
   * @throws LogError `otlp.*` for bytes that it can not walk; what it passes by, sealing checks
   */
  apply(request: Uint8Array, kind: OtlpKind, filter: 'all' | 'governed'): AppliedPolicy;
}

/**
 * A policy from its rules.
 * @param key of the digests; `undefined` is legal only where no rule asks for one
 * @throws TypeError where a digest is asked for and there is no key
 */
export function createContentPolicy(
  rules: ContentRules,
  key: DigestSecret | undefined,
): ContentPolicy {
  const attributes = Object.entries(rules.attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  const treatments = new Set([rules.content, ...attributes.map(([, treatment]) => treatment)]);
  if (treatments.has('digest') && key === undefined) {
    throw new TypeError('key: digests need one');
  }
  const isVerbatim = treatments.size === 1 && treatments.has('keep');
  const document = `${JSON.stringify({
    content: rules.content,
    contentKeys: CONTENT_KEYS,
    attributes: Object.fromEntries(attributes),
    digest: key === undefined ? null : { algorithm: DIGEST_ALGORITHM, key: key.id },
  })}\n`;
  const hash = encodeHex(sha256(Buffer.from(document)));
  const judge = new Judge(rules.content, attributes, key);
  return {
    id: isVerbatim ? 'verbatim' : `content/${hash.slice(0, 32)}`,
    document,
    apply: (request, kind, filter) => new Pass(request, kind, filter, judge, isVerbatim).run(),
  };
}

/** Where attributes are in a message, and which fields hold messages that have attributes themselves. */
interface MessageType {
  readonly attributes: number;
  readonly nested: Readonly<Record<number, MessageType>>;
}

// opentelemetry-proto v1.11.0: resource.proto, common.proto, trace.proto, logs.proto.
const RESOURCE: MessageType = { attributes: 1, nested: {} };
const SCOPE: MessageType = { attributes: 3, nested: {} };
const SPAN: MessageType = {
  attributes: 9,
  nested: { 11: { attributes: 3, nested: {} }, 13: { attributes: 4, nested: {} } },
};
const LOG_RECORD: MessageType = { attributes: 6, nested: {} };
const LOG_BODY_FIELD = 5;
const LOG_EVENT_NAME_FIELD = 12;
const CONTEXT_FIELD = 1;
const CHILD_FIELD = 2;
/** Of a KeyValue. */
const KEY_TAG = 0x0a;
const VALUE_TAG = 0x12;

/** The pieces of a message that changes in places; the rest is copied as it stands. */
class Splice {
  readonly #bytes: Uint8Array;
  readonly #pieces: Uint8Array[] = [];
  #keptUpTo: number;
  #isChanged = false;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#keptUpTo = start;
  }

  replace(start: number, end: number, ...pieces: readonly Uint8Array[]): void {
    this.#pieces.push(this.#bytes.subarray(this.#keptUpTo, start), ...pieces);
    this.#keptUpTo = end;
    this.#isChanged = true;
  }

  /** The new message, or undefined where it is the old one. */
  finish(end: number): Uint8Array | undefined {
    if (!this.#isChanged) return undefined;
    return Buffer.concat([...this.#pieces, this.#bytes.subarray(this.#keptUpTo, end)]);
  }
}

/** One request on its way through a policy. */
class Pass {
  readonly #bytes: Uint8Array;
  readonly #text: Buffer;
  readonly #kind: OtlpKind;
  readonly #isFiltered: boolean;
  readonly #judge: Judge;
  readonly #isVerbatim: boolean;
  /** Resources, scopes and items: two bytes each can be, and none of them is free. */
  #walkedCount = 0;
  #itemCount = 0;
  #skippedCount = 0;

  constructor(
    bytes: Uint8Array,
    kind: OtlpKind,
    filter: 'all' | 'governed',
    judge: Judge,
    isVerbatim: boolean,
  ) {
    this.#bytes = bytes;
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#kind = kind;
    this.#isFiltered = filter === 'governed';
    this.#judge = judge;
    this.#isVerbatim = isVerbatim;
  }

  run(): AppliedPolicy {
    const splice = new Splice(this.#bytes, 0);
    const top = new FieldCursor(this.#bytes, 0, this.#bytes.length);
    while (top.next()) {
      if (top.number !== 1 || top.wireType !== LEN) continue;
      put(splice, top, this.#resource(top.valueStart, top.valueEnd));
    }
    return {
      bytes: splice.finish(this.#bytes.length) ?? this.#bytes,
      itemCount: this.#itemCount,
      skippedCount: this.#skippedCount,
    };
  }

  /** Before it is walked, so that what a request costs is bounded whatever its few bytes unfold into. */
  #walk(start: number): void {
    if (++this.#walkedCount <= REQUEST_ENTRY_COUNT_MAX) return;
    const message = `otlp: more than ${REQUEST_ENTRY_COUNT_MAX} items, scopes and resources`;
    throw new LogError('otlp.entry-count', message, start);
  }

  #resource(start: number, end: number): Uint8Array | undefined {
    this.#walk(start);
    const splice = new Splice(this.#bytes, start);
    const cursor = new FieldCursor(this.#bytes, start, end);
    while (cursor.next()) {
      if (cursor.wireType !== LEN) continue;
      if (cursor.number === CHILD_FIELD) {
        put(splice, cursor, this.#scope(cursor.valueStart, cursor.valueEnd));
      } else if (cursor.number === CONTEXT_FIELD) {
        put(splice, cursor, this.#message(RESOURCE, cursor.valueStart, cursor.valueEnd));
      }
    }
    return splice.finish(end);
  }

  #scope(start: number, end: number): Uint8Array | undefined {
    this.#walk(start);
    const needsScope = this.#isFiltered || (this.#kind === 'logs' && !this.#isVerbatim);
    const scopeName = needsScope ? this.#scopeName(start, end) : undefined;
    const splice = new Splice(this.#bytes, start);
    const cursor = new FieldCursor(this.#bytes, start, end);
    while (cursor.next()) {
      if (cursor.wireType !== LEN) continue;
      if (cursor.number === CONTEXT_FIELD) {
        put(splice, cursor, this.#message(SCOPE, cursor.valueStart, cursor.valueEnd));
      } else if (cursor.number === CHILD_FIELD) {
        this.#walk(cursor.tagStart);
        this.#itemCount++;
        const governed =
          needsScope && this.#isGoverned(scopeName, cursor.valueStart, cursor.valueEnd);
        if (this.#isFiltered && !governed) {
          this.#skippedCount++;
          splice.replace(cursor.tagStart, cursor.valueEnd);
        } else {
          put(splice, cursor, this.#item(governed, cursor.valueStart, cursor.valueEnd));
        }
      }
    }
    return splice.finish(end);
  }

  #item(governed: boolean, start: number, end: number): Uint8Array | undefined {
    return this.#kind === 'traces'
      ? this.#message(SPAN, start, end)
      : this.#message(LOG_RECORD, start, end, governed ? LOG_BODY_FIELD : 0);
  }

  /** A message that has attributes; `bodyField` is that of a content value beside them, or 0. */
  #message(type: MessageType, start: number, end: number, bodyField = 0): Uint8Array | undefined {
    if (this.#isVerbatim) return undefined;
    const splice = new Splice(this.#bytes, start);
    const cursor = new FieldCursor(this.#bytes, start, end);
    while (cursor.next()) {
      if (cursor.wireType !== LEN) continue;
      const { number, tagStart, valueStart, valueEnd } = cursor;
      if (number === type.attributes) {
        const treatment = this.#treatmentOf(valueStart, valueEnd);
        if (treatment === 'drop') splice.replace(tagStart, valueEnd);
        if (treatment !== 'digest') continue;
        const digested = this.#digested(valueStart, valueEnd);
        if (digested !== undefined) splice.replace(tagStart, valueEnd, field(number, digested));
      } else if (number === bodyField) {
        const treatment = this.#judge.treatmentOf(BODY_KEY);
        if (treatment === 'drop') splice.replace(tagStart, valueEnd);
        if (treatment !== 'digest' || valueStart === valueEnd) continue;
        const digest = this.#judge.digest(this.#bytes.subarray(valueStart, valueEnd));
        // A body that stands twice gives two digests, of which readers take the last, as they would have before.
        splice.replace(tagStart, valueEnd, field(number, field(1, Buffer.from(digest))));
      } else {
        const nested = type.nested[number];
        if (nested !== undefined) put(splice, cursor, this.#message(nested, valueStart, valueEnd));
      }
    }
    return splice.finish(end);
  }

  /** Of the attribute of a KeyValue. */
  #treatmentOf(start: number, end: number): Treatment {
    const keyEnd = this.#plainKeyEnd(start, end);
    return keyEnd > 0
      ? this.#judge.treatmentAt(this.#bytes, start + 2, keyEnd)
      : this.#judge.treatmentOf(this.#keyOf(start, end));
  }

  /** Where the key ends in a KeyValue as every SDK writes it, a short key and then the value; 0 for any other. */
  #plainKeyEnd(start: number, end: number): number {
    const bytes = this.#bytes;
    const length = bytes[start + 1] ?? 128;
    const keyEnd = start + 2 + length;
    if (bytes[start] !== KEY_TAG || length > 127 || keyEnd > end) return 0;
    if (keyEnd === end) return end;
    if (bytes[keyEnd] !== VALUE_TAG) return 0;
    let valueLength = 0;
    for (let at = keyEnd + 1, scale = 1; at < end; at++, scale *= 128) {
      valueLength += (bytes[at]! & 0x7f) * scale;
      if (bytes[at]! < 128) return at + 1 + valueLength === end ? keyEnd : 0;
    }
    return 0;
  }

  /** Key of a KeyValue, a character per byte; the last one counts, as in every decoder. */
  #keyOf(start: number, end: number): string {
    let key = '';
    const cursor = new FieldCursor(this.#bytes, start, end);
    while (cursor.next()) {
      if (cursor.number === 1 && cursor.wireType === LEN) {
        key = this.#text.toString('latin1', cursor.valueStart, cursor.valueEnd);
      }
    }
    return key;
  }

  /** A KeyValue with the digest in place of its value, and nothing else that it held; undefined where it has no value. */
  #digested(start: number, end: number): Uint8Array | undefined {
    let key: Uint8Array = new Uint8Array(0);
    const values: Uint8Array[] = [];
    const cursor = new FieldCursor(this.#bytes, start, end);
    while (cursor.next()) {
      if (cursor.number > 2) continue;
      if (cursor.wireType !== LEN) {
        throw new LogError('otlp.wire-type', 'otlp: an attribute has a wrong wire type', start);
      }
      const content = this.#bytes.subarray(cursor.valueStart, cursor.valueEnd);
      if (cursor.number === 1) key = content;
      else values.push(content);
    }
    if (values.length === 0) return undefined;
    // Joining the bytes of a message field that stands twice is what merging it means in protobuf.
    const digest = this.#judge.digest(values.length === 1 ? values[0]! : Buffer.concat(values));
    return Buffer.concat([field(1, key), field(2, field(1, Buffer.from(digest)))]);
  }

  #scopeName(start: number, end: number): string {
    let name = '';
    const cursor = new FieldCursor(this.#bytes, start, end);
    while (cursor.next()) {
      // The scope is shaped like a KeyValue as far as its name goes.
      if (cursor.number === CONTEXT_FIELD && cursor.wireType === LEN) {
        name = this.#keyOf(cursor.valueStart, cursor.valueEnd);
      }
    }
    return name;
  }

  /** The rules of `isGoverned`, and for log records the events of the GenAI conventions. */
  #isGoverned(scopeName: string | undefined, start: number, end: number): boolean {
    const isLog = this.#kind === 'logs';
    const { attributes } = isLog ? LOG_RECORD : SPAN;
    const keys = Object.create(null) as Record<string, unknown>;
    const cursor = new FieldCursor(this.#bytes, start, end);
    while (cursor.next()) {
      if (cursor.wireType !== LEN) continue;
      if (cursor.number === attributes) {
        const key = this.#keyOf(cursor.valueStart, cursor.valueEnd);
        keys[key] = true;
        if (isLog && key === 'event.name' && this.#isGenAiText(cursor.valueStart, cursor.valueEnd))
          return true;
      } else if (isLog && cursor.number === LOG_EVENT_NAME_FIELD) {
        if (this.#startsGenAi(cursor.valueStart, cursor.valueEnd)) return true;
      }
    }
    return isGoverned({ scopeName, attributes: keys });
  }

  #startsGenAi(start: number, end: number): boolean {
    return this.#text.toString('latin1', start, Math.min(end, start + 7)) === 'gen_ai.';
  }

  /** Whether the KeyValue has a text value that begins with `gen_ai.`. */
  #isGenAiText(start: number, end: number): boolean {
    const pair = new FieldCursor(this.#bytes, start, end);
    while (pair.next()) {
      if (pair.number !== 2 || pair.wireType !== LEN) continue;
      const value = new FieldCursor(this.#bytes, pair.valueStart, pair.valueEnd);
      while (value.next()) {
        if (value.number === 1 && value.wireType === LEN) {
          if (this.#startsGenAi(value.valueStart, value.valueEnd)) return true;
        }
      }
    }
    return false;
  }
}

/** Puts a message's new bytes in place of the old, where there are any. */
function put(splice: Splice, cursor: FieldCursor, message: Uint8Array | undefined): void {
  if (message === undefined) return;
  splice.replace(cursor.tagStart, cursor.valueEnd, ...fieldParts(cursor.number, message));
}

function field(number: number, value: Uint8Array): Uint8Array {
  return Buffer.concat(fieldParts(number, value));
}

/** All fields here have numbers below 16: a tag of one byte. */
function fieldParts(number: number, value: Uint8Array): Uint8Array[] {
  const head = new Uint8Array(1 + varintByteLength(value.length));
  head[0] = number * 8 + LEN;
  writeVarint(head, 1, value.length);
  return [head, value];
}
