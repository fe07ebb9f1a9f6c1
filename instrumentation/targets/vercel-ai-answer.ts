// SPDX-License-Identifier: Apache-2.0
/**
 * The answer of a language model of the `ai` package, in the shapes of model specifications v2 to v4, whole or in parts.
 * Takes the results of tools that the provider ran as no answer of the model.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { AnswerOutput, type PartType } from '../content.ts';
import { type Answer, property } from '../invocation.ts';
import { sdkErrorEnding } from '../watch.ts';
import { addFields, fields, listOf, textOf } from './values.ts';

const RESPONSE = fields([
  ['id', names.ATTR_GEN_AI_RESPONSE_ID, 'string'],
  ['modelId', names.ATTR_GEN_AI_RESPONSE_MODEL, 'string'],
]);

/** The first form is that of v2, the second that of v3 and v4. */
const USAGE = fields([
  ['inputTokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['inputTokens.total', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['outputTokens', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
  ['outputTokens.total', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
  ['cachedInputTokens', names.ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, 'number'],
  ['inputTokens.cacheRead', names.ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, 'number'],
  ['inputTokens.cacheWrite', names.ATTR_GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS, 'number'],
  ['reasoningTokens', names.ATTR_GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, 'number'],
  ['outputTokens.reasoning', names.ATTR_GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, 'number'],
]);

export class LanguageAnswer implements Answer {
  isFinished = false;
  failure: string | undefined;
  private readonly output = new AnswerOutput();
  private reported: Attributes = {};
  /** The place of a part among those of its type, by its type and id. */
  private readonly places = new Map<string, number>();
  private readonly counts = new Map<PartType, number>();

  whole(value: unknown): void {
    this.output.message(0, 'assistant');
    for (const part of listOf(property(value, 'content'))) this.take(part, false);
    this.respond(property(value, 'response'));
    this.finish(value);
  }

  chunk(value: unknown): void {
    this.take(value, true);
  }

  attributes(): Attributes | undefined {
    if (this.output.isEmpty && Object.keys(this.reported).length === 0) return undefined;
    return { ...this.reported, ...this.output.attributes() };
  }

  private take(part: unknown, isStreamed: boolean): void {
    const { output } = this;
    const text = textOf(property(part, isStreamed ? 'delta' : 'text')) ?? '';
    const id = isStreamed ? property(part, 'id') : undefined;
    switch (property(part, 'type')) {
      case 'text':
      case 'text-delta':
        output.message(0, 'assistant');
        output.text(0, 'text', this.place('text', id), text);
        break;
      case 'reasoning':
      case 'reasoning-delta':
        output.message(0, 'assistant');
        output.text(0, 'reasoning', this.place('reasoning', id), text);
        break;
      case 'tool-call': {
        const place = this.place('tool_call', undefined);
        output.message(0, 'assistant');
        output.toolCall(0, place, property(part, 'toolCallId'), property(part, 'toolName'));
        output.text(0, 'tool_call', place, textOf(property(part, 'input')) ?? '');
        break;
      }
      case 'file': {
        const data = property(part, 'data');
        output.message(0, 'assistant');
        output.text(0, 'other', this.place('other', undefined), base64Of(data));
        break;
      }
      case 'response-metadata':
        this.respond(part);
        break;
      case 'finish':
        this.finish(part);
        break;
      case 'error':
        this.isFinished = true;
        this.failure = sdkErrorEnding(property(part, 'error')).errorType ?? '_OTHER';
        break;
    }
  }

  private place(type: PartType, id: unknown): number {
    const key = typeof id === 'string' ? `${type} ${id}` : undefined;
    const known = key === undefined ? undefined : this.places.get(key);
    if (known !== undefined) return known;
    const place = this.counts.get(type) ?? 0;
    this.counts.set(type, place + 1);
    if (key !== undefined) this.places.set(key, place);
    return place;
  }

  private respond(response: unknown): void {
    addFields(this.reported, response, RESPONSE);
  }

  private finish(value: unknown): void {
    this.isFinished = true;
    const given = property(value, 'finishReason');
    const reason = textOf(given) ?? textOf(property(given, 'unified'));
    addFields(this.reported, property(value, 'usage'), USAGE);
    if (reason === undefined) return;
    // A stream that ended without its end mark has its end made up by the provider's package.
    if (reason === 'interrupted') this.failure ??= 'truncated';
    if (reason === 'error') this.failure ??= '_OTHER';
    this.reported[names.ATTR_GEN_AI_RESPONSE_FINISH_REASONS] = [reason];
    this.output.message(0, 'assistant', reason);
  }
}

/** The data of a file: base64 or bytes, within an object in v4. */
function base64Of(data: unknown): string {
  const bytes = property(data, 'data') ?? data;
  if (typeof bytes === 'string') return bytes;
  return bytes instanceof Uint8Array ? Buffer.from(bytes).toString('base64') : '';
}
