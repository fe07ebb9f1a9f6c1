// SPDX-License-Identifier: Apache-2.0
/**
 * Messages of LangChain, and the answer of a model of its: a result with generations, chunks of one, or events of content
 * blocks. Takes no id that LangChain makes up itself.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { AnswerOutput } from '../content.ts';
import { type Answer, property } from '../invocation.ts';
import { guard } from '../settings.ts';
import { addFields, fields, fieldsOf, indexOf, listOf, textOf } from './values.ts';

const ROLES: Readonly<Record<string, string>> = {
  human: 'user',
  ai: 'assistant',
  generic: 'user',
  function: 'tool',
};

/** A message in the shape of the OpenAI interface, without the id that LangChain gives it. */
export function messageOf(message: unknown): unknown {
  const typeOf = property(message, 'getType') ?? property(message, '_getType');
  const type =
    typeof typeOf === 'function'
      ? guard('langchain.message', () => textOf(typeOf.call(message)))
      : undefined;
  // No message of the package: as it is.
  if (type === undefined) return message;
  const calls = listOf(property(message, 'tool_calls')).map((call) => ({
    id: property(call, 'id'),
    function: { name: property(call, 'name'), arguments: property(call, 'args') },
  }));
  const own = textOf(property(message, 'role'));
  return {
    role: type === 'generic' ? (own ?? 'user') : (ROLES[type] ?? type),
    content: property(message, 'content'),
    name: property(message, 'name'),
    tool_call_id: property(message, 'tool_call_id'),
    ...(calls.length > 0 && { tool_calls: calls }),
  };
}

const USAGE = fields([
  ['input_tokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['output_tokens', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
  ['input_token_details.cache_read', names.ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, 'number'],
  [
    'input_token_details.cache_creation',
    names.ATTR_GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    'number',
  ],
  ['output_token_details.reasoning', names.ATTR_GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, 'number'],
]);
const TOTALS = fields([
  ['tokenUsage.promptTokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['tokenUsage.completionTokens', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
]);
const METADATA = fields([
  ['model_name', names.ATTR_GEN_AI_RESPONSE_MODEL, 'string'],
  ['model', names.ATTR_GEN_AI_RESPONSE_MODEL, 'string'],
  ['id', names.ATTR_GEN_AI_RESPONSE_ID, 'string'],
]);
const REASONS = ['finish_reason', 'stop_reason', 'finishReason', 'stopReason'];

export class LangchainAnswer implements Answer {
  readonly isFinished = false;
  readonly failure: undefined;
  private readonly output = new AnswerOutput();
  private readonly reasons = new Map<number, string>();
  private reported: Attributes = {};

  whole(value: unknown): void {
    const generations = listOf(property(value, 'generations')).flat();
    for (const [index, generation] of generations.entries()) this.take(index, generation);
    this.reported = { ...fieldsOf(property(value, 'llmOutput'), TOTALS), ...this.reported };
  }

  chunk(value: unknown): void {
    if (typeof property(value, 'event') === 'string') this.takeEvent(value);
    // A provider that was asked for several answers marks each chunk with the one it belongs to.
    else this.take(indexOf(property(property(value, 'generationInfo'), 'completion'), 0), value);
  }

  attributes(): Attributes | undefined {
    if (this.output.isEmpty && Object.keys(this.reported).length === 0) return undefined;
    const reasons = [...this.reasons].sort(([a], [b]) => a - b).map(([, reason]) => reason);
    return {
      ...this.reported,
      ...(reasons.length > 0 && { [names.ATTR_GEN_AI_RESPONSE_FINISH_REASONS]: reasons }),
      ...this.output.attributes(),
    };
  }

  private take(index: number, generation: unknown): void {
    const message = property(generation, 'message');
    this.output.message(index, 'assistant');
    this.report(property(generation, 'generationInfo'));
    this.report(property(message, 'response_metadata'));
    addFields(this.reported, property(message, 'usage_metadata'), USAGE);
    for (const info of [
      property(generation, 'generationInfo'),
      property(message, 'response_metadata'),
    ])
      this.finish(index, REASONS.map((name) => textOf(property(info, name))).find(isThere));
    const content = property(message, 'content') ?? property(generation, 'text');
    if (typeof content === 'string') this.output.text(index, 'text', 0, content);
    for (const part of listOf(content)) this.takePart(index, part);
    const chunks = property(message, 'tool_call_chunks');
    const calls = listOf(chunks ?? property(message, 'tool_calls'));
    for (const [position, call] of calls.entries()) {
      const place = indexOf(property(call, 'index'), position);
      this.output.toolCall(index, place, property(call, 'id'), property(call, 'name'));
      const args = property(call, 'args');
      this.output.text(index, 'tool_call', place, textOf(args) ?? JSON.stringify(args ?? {}));
    }
  }

  private takePart(index: number, part: unknown): void {
    if (typeof part === 'string') this.output.text(index, 'text', 0, part);
    const place = indexOf(property(part, 'index'), 0);
    const text = textOf(property(part, 'text'));
    const reasoning = textOf(property(part, 'reasoning')) ?? textOf(property(part, 'thinking'));
    if (text !== undefined) this.output.text(index, 'text', place, text);
    if (reasoning !== undefined) this.output.text(index, 'reasoning', place, reasoning);
  }

  private takeEvent(event: unknown): void {
    const place = indexOf(property(event, 'index'), 0);
    const block = property(event, 'content');
    const delta = property(event, 'delta');
    this.output.message(0, 'assistant');
    switch (property(event, 'event')) {
      case 'content-block-delta':
        this.output.text(0, 'text', place, textOf(property(delta, 'text')) ?? '');
        this.output.text(0, 'reasoning', place, textOf(property(delta, 'reasoning')) ?? '');
        break;
      case 'content-block-finish':
        if (property(block, 'type') !== 'tool_call') break;
        this.output.toolCall(0, place, property(block, 'id'), property(block, 'name'));
        this.output.text(0, 'tool_call', place, JSON.stringify(property(block, 'args') ?? {}));
        break;
      case 'message-start':
      case 'message-finish':
        this.report(property(event, 'metadata') ?? property(event, 'responseMetadata'));
        this.finish(0, textOf(property(event, 'reason')));
        addFields(this.reported, property(event, 'usage'), USAGE);
        break;
      case 'usage':
        addFields(this.reported, property(event, 'usage'), USAGE);
        break;
    }
  }

  private report(metadata: unknown): void {
    addFields(this.reported, metadata, METADATA);
  }

  private finish(index: number, reason: string | undefined): void {
    if (reason === undefined || this.reasons.has(index)) return;
    this.reasons.set(index, reason);
    this.output.message(index, 'assistant', reason);
  }
}

function isThere(value: string | undefined): value is string {
  return value !== undefined;
}
