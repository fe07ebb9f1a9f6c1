// SPDX-License-Identifier: Apache-2.0
/**
 * Which attributes are content, by the names that conventions give them, and what a policy does with each. Judges names, not
 * values; what the bytes around them are, content-policy.ts knows.
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { FieldCursor, LEN } from '../../log/wire.ts';
import type { DigestSecret } from '../system/keys.ts';

export type Treatment = 'keep' | 'digest' | 'drop';

export interface ContentRules {
  /** Of attributes that conventions name for prompts, answers, tool calls and documents. */
  readonly content: Treatment;
  /** Of single attributes: exact keys, or prefixes that end in `*`. Exact wins, then the longest. */
  readonly attributes: Readonly<Record<string, Treatment>>;
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

export const DIGEST_ALGORITHM: string = 'hmac-sha256';

/** Decisions that are remembered, by a hash of the key: a power of two. */
const KNOWN_COUNT = 4096;
/** Longer keys are decided anew each time: names come from clients, and what is remembered is to be small. */
const KNOWN_KEY_BYTE_LENGTH_MAX = 128;
/** FNV-1a, 32 bits. Who makes keys collide has them decided anew, and no more. */
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

interface Known {
  readonly key: Uint8Array;
  readonly treatment: Treatment;
}

/** Decides on names, and digests values. */
export class Judge {
  readonly #content: Treatment;
  readonly #exact = new Map<string, Treatment>();
  /** Longest first. */
  readonly #prefixes: readonly (readonly [prefix: string, treatment: Treatment])[];
  readonly #key: KeyObject | undefined;
  readonly #known = new Array<Known | undefined>(KNOWN_COUNT).fill(undefined);

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

  /** Of the attribute whose key is `bytes[start, end)`. */
  treatmentAt(bytes: Uint8Array, start: number, end: number): Treatment {
    if (end - start > KNOWN_KEY_BYTE_LENGTH_MAX) return this.treatmentOf(latin1(bytes, start, end));
    let hash = FNV_OFFSET;
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, FNV_PRIME);
    const slot = (hash ^ (hash >>> 16)) & (KNOWN_COUNT - 1);
    const known = this.#known[slot];
    if (known !== undefined && isAt(bytes, start, end, known.key)) return known.treatment;
    const treatment = this.treatmentOf(latin1(bytes, start, end));
    this.#known[slot] = { key: bytes.slice(start, end), treatment };
    return treatment;
  }

  /** @param key a character per byte */
  treatmentOf(key: string): Treatment {
    return (
      this.#exact.get(key) ??
      this.#prefixes.find(([prefix]) => key.startsWith(prefix))?.[1] ??
      (isContentKey(key) ? this.#content : 'keep')
    );
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

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(
    'latin1',
    start,
    end,
  );
}

function isAt(bytes: Uint8Array, start: number, end: number, key: Uint8Array): boolean {
  if (end - start !== key.length) return false;
  for (let at = 0; at < key.length; at++) if (bytes[start + at] !== key[at]) return false;
  return true;
}
