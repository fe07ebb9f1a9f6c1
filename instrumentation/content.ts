// SPDX-License-Identifier: Apache-2.0
/**
 * Turns what went to a model and what came back into keyed digests, and into text only where that was asked for.
 * An unkeyed hash of content is never written, and text is never held unless it will be. Does not judge content.
 */
import { createHmac, type Hmac } from 'node:crypto';
import type { Attributes } from '@opentelemetry/api';
import {
  AIGOV_CONTENT_POLICY_VALUE_FULL,
  AIGOV_CONTENT_POLICY_VALUE_OMIT,
  AIGOV_DIGEST_ALG_VALUE_HMAC_SHA256,
  AIGOV_INPUT_ABSENCE_VALUE_NO_KEY,
  AIGOV_INPUT_ABSENCE_VALUE_POLICY,
  AIGOV_INPUT_ABSENCE_VALUE_UNSERIALISABLE,
  ATTR_AIGOV_CONFIG_DIGEST,
  ATTR_AIGOV_CONTENT_POLICY,
  ATTR_AIGOV_DIGEST_ALG,
  ATTR_AIGOV_DIGEST_KEY_ID,
  ATTR_AIGOV_INPUT_ABSENCE,
  ATTR_AIGOV_INPUT_DIGEST,
  ATTR_AIGOV_INPUT_LENGTH,
  ATTR_AIGOV_OUTPUT_ABSENCE,
  ATTR_AIGOV_OUTPUT_DIGEST,
  ATTR_AIGOV_OUTPUT_LENGTH,
  ATTR_GEN_AI_INPUT_MESSAGES,
  ATTR_GEN_AI_OUTPUT_MESSAGES,
  ATTR_GEN_AI_SYSTEM_INSTRUCTIONS,
  ATTR_GEN_AI_TOOL_DEFINITIONS,
} from '../semconv/index.ts';
import { countProblem, currentSettings, guard, type Settings } from './settings.ts';

/** What goes to a model. */
export interface Input {
  /** All that the answer depends on and that belongs to this call: messages, instructions, documents. */
  readonly content: unknown;
  /** All that configures the call: parameters and tool definitions, without the content. */
  readonly config?: unknown;
  /** The content in the message shape of the GenAI conventions; asked for under `full` only. */
  readonly messages?: () => unknown;
  readonly systemInstructions?: () => unknown;
  readonly toolDefinitions?: () => unknown;
}

/** Deeper values have no canonical form: a cycle ends here and not in a full stack. */
const DEPTH_MAX = 256;

/**
 * The canonical text of a value: what the digests are computed over.
 *
 * The value is first what `JSON.stringify` makes of it: `toJSON` is called; members that are undefined, functions or
 * symbols are left out, and such items are `null`, as are numbers that are not finite. Beyond it, a bigint is the string of
 * its decimal digits, and bytes (`ArrayBuffer` and its views) are the string of their padded base64. It is then written as
 * RFC 8785 says: no spaces, members ordered by the UTF-16 units of their names, numbers and strings as ECMAScript writes
 * them. A lone surrogate, which RFC 8785 refuses, is written as its `\u` escape.
 * @throws RangeError for a value more than 256 levels deep or without any canonical form (undefined, a function).
 */
export function canonicalJson(value: unknown): string {
  const text = write(value, '', 0);
  if (text === undefined) throw new RangeError('value: has no canonical form');
  return text;
}

function write(given: unknown, key: string, depth: number): string | undefined {
  if (depth > DEPTH_MAX) throw new RangeError(`value: deeper than ${DEPTH_MAX} levels`);
  let value = given;
  if (typeof value === 'object' && value !== null) {
    if (value instanceof ArrayBuffer) return JSON.stringify(Buffer.from(value).toString('base64'));
    if (ArrayBuffer.isView(value)) {
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      return JSON.stringify(bytes.toString('base64'));
    }
    const { toJSON } = value as { toJSON?: unknown };
    if (typeof toJSON === 'function') value = toJSON.call(value, key) as unknown;
  }
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'number':
      return JSON.stringify(value);
    case 'bigint':
      return `"${value}"`;
    case 'object':
      break;
    default:
      return undefined;
  }
  if (value === null) return 'null';
  if (Array.isArray(value)) {
    // By index, since `map` skips the holes that JSON writes as null.
    let items = '';
    for (let index = 0; index < value.length; index++) {
      items += `${index === 0 ? '' : ','}${write(value[index], String(index), depth + 1) ?? 'null'}`;
    }
    return `[${items}]`;
  }
  let members = '';
  const record = value as Record<string, unknown>;
  for (const name of Object.keys(record).sort()) {
    const text = write(record[name], name, depth + 1);
    if (text === undefined) continue;
    members += `${members === '' ? '' : ','}${JSON.stringify(name)}:${text}`;
  }
  return `{${members}}`;
}

/**
 * The attributes of what goes to a model, read at once, since the application may change it while the call runs, and only
 * where any of it is kept. Never throws: what can not be read is stated as absent.
 */
export function inputAttributes(inputOf: () => Input): Attributes {
  const settings = currentSettings();
  const attributes: Attributes = { [ATTR_AIGOV_CONTENT_POLICY]: settings.policy };
  const absence = absenceOf(settings);
  if (absence === undefined) {
    attributes[ATTR_AIGOV_DIGEST_ALG] = AIGOV_DIGEST_ALG_VALUE_HMAC_SHA256;
    attributes[ATTR_AIGOV_DIGEST_KEY_ID] = settings.digestKey?.id;
  } else {
    attributes[ATTR_AIGOV_INPUT_ABSENCE] = absence;
  }
  if (!keepsContent(settings)) return attributes;
  const input = guard('content.input', inputOf);
  if (absence === undefined) {
    const text = input && guard('content.input', () => canonicalJson(input.content));
    if (text === undefined) {
      attributes[ATTR_AIGOV_INPUT_ABSENCE] = AIGOV_INPUT_ABSENCE_VALUE_UNSERIALISABLE;
    } else {
      attributes[ATTR_AIGOV_INPUT_DIGEST] = digestOf(settings, text);
      attributes[ATTR_AIGOV_INPUT_LENGTH] = Buffer.byteLength(text);
    }
    if (input?.config !== undefined) {
      const config = guard('content.config', () => canonicalJson(input.config));
      if (config !== undefined) attributes[ATTR_AIGOV_CONFIG_DIGEST] = digestOf(settings, config);
    }
  }
  if (settings.policy === AIGOV_CONTENT_POLICY_VALUE_FULL) {
    addText(attributes, ATTR_GEN_AI_SYSTEM_INSTRUCTIONS, input?.systemInstructions);
    addText(attributes, ATTR_GEN_AI_INPUT_MESSAGES, input?.messages);
    addText(attributes, ATTR_GEN_AI_TOOL_DEFINITIONS, input?.toolDefinitions);
  }
  return attributes;
}

/** The keyed digest of a value's canonical text, or undefined where the settings or the value allow none. */
export function contentDigest(value: unknown): string | undefined {
  const settings = currentSettings();
  if (absenceOf(settings) !== undefined) return undefined;
  return guard('content.digest', () => digestOf(settings, canonicalJson(value)));
}

/** An answer whose digest is absent for a reason of the call; the settings' own reason comes first. */
export function absentOutput(reason: string): Attributes {
  return { [ATTR_AIGOV_OUTPUT_ABSENCE]: absenceOf(currentSettings()) ?? reason };
}

/** The attributes of an answer that is one value, digested over its canonical text. */
export function valueOutput(value: unknown): Attributes {
  const settings = currentSettings();
  const absence = absenceOf(settings);
  const attributes: Attributes = {};
  const full = settings.policy === AIGOV_CONTENT_POLICY_VALUE_FULL;
  const text =
    absence === undefined || full
      ? guard('content.output', () => canonicalJson(value ?? null))
      : undefined;
  if (absence !== undefined) {
    attributes[ATTR_AIGOV_OUTPUT_ABSENCE] = absence;
  } else if (text === undefined) {
    attributes[ATTR_AIGOV_OUTPUT_ABSENCE] = AIGOV_INPUT_ABSENCE_VALUE_UNSERIALISABLE;
  } else {
    attributes[ATTR_AIGOV_OUTPUT_DIGEST] = digestOf(settings, text);
    attributes[ATTR_AIGOV_OUTPUT_LENGTH] = Buffer.byteLength(text);
  }
  if (full && text !== undefined) {
    addText(attributes, ATTR_GEN_AI_OUTPUT_MESSAGES, () => textMessages(text));
  }
  return attributes;
}

/**
 * An answer that is a sequence of values, such as what an async generator yields: each value's canonical text followed by
 * a line feed, hashed as it passes.
 */
export class SequenceOutput {
  private readonly settings: Settings = currentSettings();
  private readonly text: TextDigest = new TextDigest(this.settings);
  private failed = false;

  add(value: unknown): void {
    try {
      this.text.add(`${canonicalJson(value ?? null)}\n`);
    } catch {
      this.failed = true;
      countProblem('content.output');
    }
  }

  attributes(): Attributes {
    const absence =
      absenceOf(this.settings) ??
      (this.failed ? AIGOV_INPUT_ABSENCE_VALUE_UNSERIALISABLE : undefined);
    const attributes: Attributes =
      absence === undefined
        ? {
            [ATTR_AIGOV_OUTPUT_DIGEST]: `${AIGOV_DIGEST_ALG_VALUE_HMAC_SHA256}:${this.text.end()}`,
            [ATTR_AIGOV_OUTPUT_LENGTH]: this.text.byteLength,
          }
        : { [ATTR_AIGOV_OUTPUT_ABSENCE]: absence };
    if (this.text.kept !== undefined) {
      const { kept } = this.text;
      addText(attributes, ATTR_GEN_AI_OUTPUT_MESSAGES, () => textMessages(kept));
    }
    return attributes;
  }
}

/** Kinds of parts of an answer; `text` and `reasoning` have content, a `tool_call` has arguments. */
export type PartType = 'text' | 'reasoning' | 'refusal' | 'tool_call' | 'other';

interface Part {
  readonly type: PartType;
  readonly order: number;
  readonly text: TextDigest;
  id?: string;
  name?: string;
}

interface AnswerMessage {
  role: string | undefined;
  finishReason: string | undefined;
  readonly parts: Map<string, Part>;
}

/**
 * The answer of a model, collected message by message and part by part, whole or chunk by chunk, with the same result.
 *
 * The digest is computed over the canonical text of the list of messages in the order of their index, each
 * `{"finish_reason", "parts", "role"}` (absent values left out), with its parts in their order, each
 * `{"type", "id", "name", "content" | "arguments"}`, where the text of a part stands as the lower-case hex of the HMAC over its
 * UTF-8 bytes. So a stream can be digested without being kept, and one answer has one digest however it was cut into
 * chunks. Parts without text, id and name do not count. The length is that of the UTF-8 texts of all parts.
 */
export class AnswerOutput {
  /** Whether anything of an answer has been seen. */
  isEmpty = true;
  private readonly settings: Settings = currentSettings();
  private readonly isKept: boolean = keepsContent(this.settings);
  private readonly messages = new Map<number, AnswerMessage>();

  message(index: number, role?: string, finishReason?: string): void {
    this.isEmpty = false;
    if (!this.isKept) return;
    const message = this.messageAt(index);
    message.role ??= role;
    message.finishReason ??= finishReason;
  }

  /** Adds text to a part, which begins with it. `order` places the part among the parts of its type group. */
  text(index: number, type: PartType, order: number, text: string): void {
    if (text === '') return;
    this.isEmpty = false;
    if (this.isKept) this.partAt(index, type, order).text.add(text);
  }

  /** Names a tool call. Its arguments are its text. */
  toolCall(index: number, order: number, id: unknown, name: unknown): void {
    this.isEmpty = false;
    if (!this.isKept) return;
    const part = this.partAt(index, 'tool_call', order);
    if (typeof id === 'string' && id !== '') part.id ??= id;
    if (typeof name === 'string' && name !== '') part.name ??= name;
  }

  /** The attributes of what was seen. Call once. */
  attributes(): Attributes {
    const { settings } = this;
    const absence = absenceOf(settings);
    const attributes: Attributes = {};
    if (absence !== undefined) attributes[ATTR_AIGOV_OUTPUT_ABSENCE] = absence;
    if (!this.isKept) return attributes;
    const list = [...this.messages].sort(([a], [b]) => a - b).map(([, message]) => message);
    if (absence === undefined) {
      const digested = shape(list, (part) => part.text.end());
      const parts = list.flatMap((message) => [...message.parts.values()]);
      attributes[ATTR_AIGOV_OUTPUT_DIGEST] = digestOf(settings, canonicalJson(digested));
      attributes[ATTR_AIGOV_OUTPUT_LENGTH] = parts.reduce(
        (sum, { text }) => sum + text.byteLength,
        0,
      );
    }
    if (settings.policy === AIGOV_CONTENT_POLICY_VALUE_FULL) {
      addText(attributes, ATTR_GEN_AI_OUTPUT_MESSAGES, () =>
        shape(list, (part) => part.text.kept ?? ''),
      );
    }
    return attributes;
  }

  private messageAt(index: number): AnswerMessage {
    let message = this.messages.get(index);
    if (message === undefined) {
      message = { role: undefined, finishReason: undefined, parts: new Map() };
      this.messages.set(index, message);
    }
    return message;
  }

  private partAt(index: number, type: PartType, order: number): Part {
    const { parts } = this.messageAt(index);
    const key = `${type} ${order}`;
    let part = parts.get(key);
    if (part === undefined) {
      part = { type, order, text: new TextDigest(this.settings) };
      parts.set(key, part);
    }
    return part;
  }
}

/** A text that arrives in pieces: hashed as it passes, kept only under `full`. */
class TextDigest {
  byteLength = 0;
  /** The whole text under `full`, undefined otherwise. */
  kept: string | undefined;
  private readonly hmac: Hmac | undefined;
  /** A high surrogate at the end of a piece, whose other half comes with the next. */
  private pending = '';

  constructor(settings: Settings) {
    const { digestKey } = settings;
    if (digestKey !== undefined && settings.policy !== AIGOV_CONTENT_POLICY_VALUE_OMIT) {
      this.hmac = createHmac('sha256', digestKey.key);
    }
    if (settings.policy === AIGOV_CONTENT_POLICY_VALUE_FULL) this.kept = '';
  }

  add(piece: string): void {
    if (this.kept !== undefined) this.kept += piece;
    if (this.hmac === undefined || piece === '') return;
    const text = this.pending + piece;
    const last = text.charCodeAt(text.length - 1);
    const cut = last >= 0xd800 && last <= 0xdbff ? text.length - 1 : text.length;
    this.pending = text.slice(cut);
    this.hash(text.slice(0, cut));
  }

  /** The hex of the HMAC; call once. */
  end(): string {
    this.hash(this.pending);
    return this.hmac?.digest('hex') ?? '';
  }

  private hash(text: string): void {
    if (text === '') return;
    this.hmac?.update(text, 'utf8');
    this.byteLength += Buffer.byteLength(text);
  }
}

/** Groups in the order a reader expects, so that the order of arrival does not matter. */
const PART_RANKS: Readonly<Record<PartType, number>> = {
  reasoning: 0,
  text: 1,
  refusal: 2,
  tool_call: 3,
  other: 4,
};

function shape(list: readonly AnswerMessage[], textOf: (part: Part) => string): unknown {
  return list.map(({ role, finishReason, parts }) => ({
    role,
    finish_reason: finishReason,
    parts: [...parts.values()]
      .sort((a, b) => PART_RANKS[a.type] - PART_RANKS[b.type] || a.order - b.order)
      .map((part) => ({
        type: part.type,
        id: part.id,
        name: part.name,
        [part.type === 'tool_call' ? 'arguments' : 'content']: textOf(part),
      })),
  }));
}

function textMessages(content: string): unknown {
  return [{ role: 'assistant', parts: [{ type: 'text', content }] }];
}

function addText(attributes: Attributes, name: string, value: (() => unknown) | undefined): void {
  if (value === undefined) return;
  const text = guard('content.full', () => JSON.stringify(value()));
  if (text !== undefined) attributes[name] = text;
}

/** Whether anything of a content, if only its digest, gets into a span. */
function keepsContent(settings: Settings): boolean {
  return absenceOf(settings) === undefined || settings.policy === AIGOV_CONTENT_POLICY_VALUE_FULL;
}

function absenceOf(settings: Settings): string | undefined {
  if (settings.policy === AIGOV_CONTENT_POLICY_VALUE_OMIT) return AIGOV_INPUT_ABSENCE_VALUE_POLICY;
  return settings.digestKey === undefined ? AIGOV_INPUT_ABSENCE_VALUE_NO_KEY : undefined;
}

function digestOf({ digestKey }: Settings, text: string): string {
  // Only reached with a key: `absenceOf` has answered for the case without.
  const hmac = createHmac('sha256', digestKey!.key).update(text, 'utf8');
  return `${AIGOV_DIGEST_ALG_VALUE_HMAC_SHA256}:${hmac.digest('hex')}`;
}
