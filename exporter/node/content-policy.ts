// SPDX-License-Identifier: Apache-2.0
/**
 * What is done to a request before it is sealed: content attributes kept, replaced by keyed digests or dropped, spans
 * that are not governed left out; on the wire, so that every other byte stays as it came. Judges names, not values:
 * content under a name that no convention gives it is kept unless a rule says otherwise.
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { isGoverned } from '../../semconv/index.ts';
import { encodeHex } from '../log/bytes.ts';
import { LogError } from '../log/errors.ts';
import { REQUEST_ENTRY_COUNT_MAX } from '../log/limits.ts';
import { FieldCursor, LEN, varintByteLength, writeVarint } from '../log/wire.ts';
import { type DigestSecret, sha256 } from './keys.ts';
import type { OtlpKind } from './otlp-config.ts';

export type Treatment = 'keep' | 'digest' | 'drop';

export interface ContentRules {
  /** Of attributes that conventions name for prompts, answers, tool calls and documents. */
  readonly content: Treatment;
  /** Of single attributes: exact keys, or prefixes that end in `*`. Exact wins, then the longest. */
  readonly attributes: Readonly<Record<string, Treatment>>;
}

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

/** The rule for bodies of governed log records stands under this name. */
export const BODY_KEY = 'log.body';

/**
 * Names of content in the conventions known: GenAI and its former names, OpenInference, OpenLLMetry, the Vercel AI SDK,
 * Langfuse. `*` at the end is a prefix, `#` an index.
 */
export const CONTENT_KEYS: readonly string[] = [
  BODY_KEY,
  'gen_ai.system_instructions',
  'gen_ai.input.messages',
  'gen_ai.output.messages',
  'gen_ai.tool.definitions',
  'gen_ai.tool.call.arguments',
  'gen_ai.tool.call.result',
  'gen_ai.retrieval.query.text',
  'gen_ai.retrieval.documents',
  'gen_ai.evaluation.explanation',
  'gen_ai.event.content',
  // Not gen_ai.prompt.name and gen_ai.prompt.version, which only say which template it was.
  'gen_ai.prompt',
  'gen_ai.prompt.#*',
  'gen_ai.completion',
  'gen_ai.completion.#*',
  'input.value',
  'output.value',
  'llm.input_messages*',
  'llm.output_messages*',
  'llm.prompts*',
  'llm.completions*',
  'llm.choices*',
  'llm.function_call',
  'llm.tools*',
  'llm.request.functions*',
  'llm.prompt_template.template',
  'llm.prompt_template.variables',
  'tool.parameters',
  'tool.json_schema',
  'retrieval.documents*',
  'reranker.query',
  'reranker.input_documents*',
  'reranker.output_documents*',
  'embedding.text',
  'embedding.vector',
  'embedding.embeddings*',
  'evaluation.explanation',
  'traceloop.entity.input',
  'traceloop.entity.output',
  'traceloop.prompt.template',
  'traceloop.prompt.template_variables*',
  'db.query.result.document',
  'db.query.embeddings.vector',
  'ai.prompt*',
  'ai.response.text',
  'ai.response.object',
  'ai.response.toolCalls',
  'ai.response.reasoning',
  'ai.response.files',
  'ai.result.text',
  'ai.result.object',
  'ai.result.toolCalls',
  'ai.toolCall.args',
  'ai.toolCall.input',
  'ai.toolCall.result',
  'ai.toolCall.output',
  'ai.value',
  'ai.values',
  'ai.embedding',
  'ai.embeddings',
  'ai.documents',
  'langfuse.observation.input',
  'langfuse.observation.output',
  'langfuse.trace.input',
  'langfuse.trace.output',
];

/** Ends of names inside a family that say how, and not what: an auditor needs them, and they are no content. */
const CONTEXT_SUFFIX = /\.(?:role|finish_reason)$/;

const CONTENT_PATTERN: RegExp = new RegExp(
  `^(?:${CONTENT_KEYS.map((key) =>
    key.replaceAll('.', '\\.').replace('#', '[0-9]+(?:\\.|$)').replace(/\*$/, '.*'),
  ).join('|')})$`,
  's',
);

/** Whether a convention gives this name to content. */
export function isContentKey(key: string): boolean {
  return CONTENT_PATTERN.test(key) && !CONTEXT_SUFFIX.test(key);
}

const DIGEST_ALGORITHM = 'hmac-sha256';

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

const KNOWN_KEY_COUNT_MAX = 4096;

/** Decides on names, and digests values. */
class Judge {
  readonly #content: Treatment;
  readonly #exact = new Map<string, Treatment>();
  /** Longest first. */
  readonly #prefixes: readonly (readonly [prefix: string, treatment: Treatment])[];
  readonly #key: KeyObject | undefined;
  /** Decisions so far. Names come from clients, so it is bounded. */
  readonly #known = new Map<string, Treatment>();

  constructor(
    content: Treatment,
    attributes: readonly (readonly [string, Treatment])[],
    key: DigestSecret | undefined,
  ) {
    this.#content = content;
    const prefixes: [string, Treatment][] = [];
    for (const [pattern, treatment] of attributes) {
      // Keys are compared by their bytes.
      const name = Buffer.from(pattern).toString('latin1');
      if (name.endsWith('*')) prefixes.push([name.slice(0, -1), treatment]);
      else this.#exact.set(name, treatment);
    }
    this.#prefixes = prefixes.sort(([a], [b]) => b.length - a.length);
    this.#key = key === undefined ? undefined : createSecretKey(key.secret);
  }

  treatmentOf(key: string): Treatment {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const treatment =
      this.#exact.get(key) ??
      this.#prefixes.find(([prefix]) => key.startsWith(prefix))?.[1] ??
      (isContentKey(key) ? this.#content : 'keep');
    if (this.#known.size >= KNOWN_KEY_COUNT_MAX) this.#known.clear();
    this.#known.set(key, treatment);
    return treatment;
  }

  /** HMAC over the UTF-8 of a text; over the bytes of the AnyValue where the value is no text. */
  digest(anyValue: Uint8Array): string {
    let content = anyValue;
    const cursor = new FieldCursor(anyValue, 0, anyValue.length);
    if (cursor.next() && cursor.number === 1 && cursor.wireType === LEN) {
      if (cursor.valueEnd === anyValue.length) content = anyValue.subarray(cursor.valueStart);
    }
    return `${DIGEST_ALGORITHM}:${createHmac('sha256', this.#key!).update(content).digest('hex')}`;
  }
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
        const treatment = this.#judge.treatmentOf(this.#keyOf(valueStart, valueEnd));
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
