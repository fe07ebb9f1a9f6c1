// SPDX-License-Identifier: Apache-2.0
/**
 * Chat completions: what a request says before it is sent, and what its answer says, whole or in chunks.
 * Relies on no field being there: other providers speak this interface with gaps.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { chatMessages } from '../../semconv/messages.ts';
import { AnswerOutput, valueOutput } from '../content.ts';
import { type Answer, type InvocationStart, property } from '../invocation.ts';
import { addFields, type Fields, fields, indexOf, listOf, textOf, without } from './values.ts';

/** Parameters of this interface, and of the one before it. */
export const PARAMETERS: Fields = fields([
  ['model', names.ATTR_GEN_AI_REQUEST_MODEL, 'string'],
  ['n', names.ATTR_GEN_AI_REQUEST_CHOICE_COUNT, 'number'],
  ['seed', names.ATTR_GEN_AI_REQUEST_SEED, 'number'],
  ['stream', names.ATTR_GEN_AI_REQUEST_STREAM, 'boolean'],
  ['max_completion_tokens', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['max_tokens', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['top_p', names.ATTR_GEN_AI_REQUEST_TOP_P, 'number'],
  ['frequency_penalty', names.ATTR_GEN_AI_REQUEST_FREQUENCY_PENALTY, 'number'],
  ['presence_penalty', names.ATTR_GEN_AI_REQUEST_PRESENCE_PENALTY, 'number'],
  ['reasoning_effort', names.ATTR_GEN_AI_REQUEST_REASONING_LEVEL, 'string'],
  ['service_tier', names.ATTR_OPENAI_REQUEST_SERVICE_TIER, 'string'],
]);

const REPORTED = fields([
  ['id', names.ATTR_GEN_AI_RESPONSE_ID, 'string'],
  ['model', names.ATTR_GEN_AI_RESPONSE_MODEL, 'string'],
  ['service_tier', names.ATTR_OPENAI_RESPONSE_SERVICE_TIER, 'string'],
  ['system_fingerprint', names.ATTR_OPENAI_RESPONSE_SYSTEM_FINGERPRINT, 'string'],
  ['usage.prompt_tokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  // Where Groq puts the usage of a stream.
  ['x_groq.usage.prompt_tokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['x_groq.usage.completion_tokens', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
  ['usage.completion_tokens', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
  [
    'usage.prompt_tokens_details.cached_tokens',
    names.ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    'number',
  ],
  [
    'usage.prompt_tokens_details.audio_tokens',
    names.ATTR_GEN_AI_USAGE_AUDIO_INPUT_TOKENS,
    'number',
  ],
  [
    'usage.completion_tokens_details.reasoning_tokens',
    names.ATTR_GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
    'number',
  ],
  [
    'usage.completion_tokens_details.audio_tokens',
    names.ATTR_GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS,
    'number',
  ],
]);

/** What does not configure the model: the content, how the answer is delivered, and whom it is for. */
const NOT_CONFIGURATION: ReadonlySet<string> = new Set([
  'messages',
  'prediction',
  'stream',
  'stream_options',
  'user',
  'safety_identifier',
  'prompt_cache_key',
  'metadata',
]);

const OUTPUT_TYPES: Readonly<Record<string, string>> = {
  text: names.GEN_AI_OUTPUT_TYPE_VALUE_TEXT,
  json_object: names.GEN_AI_OUTPUT_TYPE_VALUE_JSON,
  json_schema: names.GEN_AI_OUTPUT_TYPE_VALUE_JSON,
};

/** The start of a chat completion. */
export function chatStart(body: unknown, server: Attributes): InvocationStart {
  const operation = names.GEN_AI_OPERATION_NAME_VALUE_CHAT;
  const model = textOf(property(body, 'model'));
  const stop = property(body, 'stop');
  const outputType =
    OUTPUT_TYPES[textOf(property(property(body, 'response_format'), 'type')) ?? ''];
  const attributes: Attributes = {
    [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
    ...server,
    [names.ATTR_OPENAI_API_TYPE]: names.OPENAI_API_TYPE_VALUE_CHAT_COMPLETIONS,
  };
  addFields(attributes, body, PARAMETERS);
  if (stop !== undefined && stop !== null) {
    attributes[names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES] = [stop].flat().filter(isText);
  }
  if (outputType !== undefined) attributes[names.ATTR_GEN_AI_OUTPUT_TYPE] = outputType;
  return {
    name: model === undefined ? operation : `${operation} ${model}`,
    attributes,
    input: () => {
      const [messages, tools] = [property(body, 'messages'), property(body, 'tools')];
      return {
        content: { messages, prediction: property(body, 'prediction') },
        config: without(body, NOT_CONFIGURATION),
        messages: () => chatMessages(messages),
        ...(tools !== undefined && { toolDefinitions: () => tools }),
      };
    },
  };
}

/** The answer of a chat completion. */
export class ChatAnswer implements Answer {
  readonly failure: undefined;
  private readonly output = new AnswerOutput();
  private readonly choiceCount: number;
  private readonly finishReasons = new Map<number, string>();
  private readonly choices = new Set<number>();
  private reported: Attributes = {};
  private unknown: { readonly value: unknown } | undefined;

  constructor(body: unknown) {
    this.choiceCount = indexOf(property(body, 'n'), 1);
  }

  get isFinished(): boolean {
    return (
      this.finishReasons.size >= this.choiceCount && this.finishReasons.size === this.choices.size
    );
  }

  whole(value: unknown): void {
    const choices = property(value, 'choices');
    // Not the shape of this interface: a proxy's page, say. It is what the application got all the same.
    if (!Array.isArray(choices)) this.unknown = { value };
    this.take(value, 'message');
  }

  chunk(value: unknown): void {
    this.take(value, 'delta');
  }

  attributes(): Attributes | undefined {
    const { finishReasons, output, reported, unknown } = this;
    if (unknown !== undefined) return { ...reported, ...valueOutput(unknown.value) };
    if (output.isEmpty && Object.keys(reported).length === 0) return undefined;
    const reasons = [...finishReasons].sort(([a], [b]) => a - b).map(([, reason]) => reason);
    return {
      ...reported,
      ...(reasons.length > 0 && { [names.ATTR_GEN_AI_RESPONSE_FINISH_REASONS]: reasons }),
      ...output.attributes(),
    };
  }

  private take(value: unknown, key: 'message' | 'delta'): void {
    addFields(this.reported, value, REPORTED);
    for (const [position, choice] of listOf(property(value, 'choices')).entries()) {
      const index = indexOf(property(choice, 'index'), position);
      this.choices.add(index);
      this.takeMessage(index, property(choice, key));
      // Where the interface before this one has its text.
      this.output.text(index, 'text', 0, textOf(property(choice, 'text')) ?? '');
      const reason = textOf(property(choice, 'finish_reason'));
      if (reason !== undefined) {
        this.finishReasons.set(index, reason);
        this.output.message(index, undefined, reason);
      }
    }
  }

  private takeMessage(index: number, message: unknown): void {
    const { output } = this;
    output.message(index, textOf(property(message, 'role')));
    output.text(index, 'text', 0, textOf(property(message, 'content')) ?? '');
    output.text(index, 'refusal', 0, textOf(property(message, 'refusal')) ?? '');
    // Not the provider's own: others send their reasoning in one of these.
    const reasoning = property(message, 'reasoning_content') ?? property(message, 'reasoning');
    output.text(index, 'reasoning', 0, textOf(reasoning) ?? '');
    for (const [position, call] of listOf(property(message, 'tool_calls')).entries()) {
      const order = indexOf(property(call, 'index'), position);
      const called = property(call, 'function') ?? property(call, 'custom');
      output.toolCall(index, order, property(call, 'id'), property(called, 'name'));
      const text = textOf(property(called, 'arguments')) ?? textOf(property(called, 'input'));
      output.text(index, 'tool_call', order, text ?? '');
    }
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
