// SPDX-License-Identifier: Apache-2.0
/**
 * Responses: what a request says before it is sent, and what its answer says, whole or in events.
 * Relies on no field being there; an item of a kind without text counts with its type and its canonical text.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { chatMessages } from '../../semconv/messages.ts';
import { AnswerOutput, canonicalJson, type PartType, valueOutput } from '../content.ts';
import { type Answer, type InvocationStart, property } from '../invocation.ts';
import { addFields, codeOf, fields, fieldsOf, indexOf, listOf, textOf, without } from './values.ts';

const PARAMETERS = fields([
  ['model', names.ATTR_GEN_AI_REQUEST_MODEL, 'string'],
  ['stream', names.ATTR_GEN_AI_REQUEST_STREAM, 'boolean'],
  ['max_output_tokens', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['top_p', names.ATTR_GEN_AI_REQUEST_TOP_P, 'number'],
  ['reasoning.effort', names.ATTR_GEN_AI_REQUEST_REASONING_LEVEL, 'string'],
  ['service_tier', names.ATTR_OPENAI_REQUEST_SERVICE_TIER, 'string'],
  ['previous_response_id', names.ATTR_GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID, 'string'],
  ['conversation', names.ATTR_GEN_AI_CONVERSATION_ID, 'string'],
  ['conversation.id', names.ATTR_GEN_AI_CONVERSATION_ID, 'string'],
  ['prompt.id', names.ATTR_GEN_AI_PROMPT_NAME, 'string'],
  ['prompt.version', names.ATTR_GEN_AI_PROMPT_VERSION, 'string'],
]);

const REPORTED = fields([
  ['id', names.ATTR_GEN_AI_RESPONSE_ID, 'string'],
  ['model', names.ATTR_GEN_AI_RESPONSE_MODEL, 'string'],
  ['status', names.ATTR_GEN_AI_RESPONSE_STATUS, 'string'],
  ['service_tier', names.ATTR_OPENAI_RESPONSE_SERVICE_TIER, 'string'],
  ['conversation.id', names.ATTR_GEN_AI_CONVERSATION_ID, 'string'],
  ['usage.input_tokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['usage.output_tokens', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
  [
    'usage.input_tokens_details.cached_tokens',
    names.ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    'number',
  ],
  [
    'usage.output_tokens_details.reasoning_tokens',
    names.ATTR_GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
    'number',
  ],
]);

/** What does not configure the model: the content, how the answer is delivered, and whom it is for. */
const NOT_CONFIGURATION: ReadonlySet<string> = new Set([
  'input',
  'instructions',
  'prompt',
  'stream',
  'stream_options',
  'background',
  'store',
  'user',
  'safety_identifier',
  'prompt_cache_key',
  'metadata',
  'previous_response_id',
  'conversation',
]);

/** Room for the parts of one item, so that one number orders all parts of an answer. */
const PARTS_PER_ITEM = 4096;

/** The start of a response. */
export function responsesStart(body: unknown, server: Attributes): InvocationStart {
  const operation = names.GEN_AI_OPERATION_NAME_VALUE_CHAT;
  const model = textOf(property(body, 'model'));
  const input = property(body, 'input');
  const instructions = property(body, 'instructions');
  const prompt = property(body, 'prompt');
  const tools = property(body, 'tools');
  return {
    name: model === undefined ? operation : `${operation} ${model}`,
    attributes: {
      [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
      ...server,
      [names.ATTR_OPENAI_API_TYPE]: names.OPENAI_API_TYPE_VALUE_RESPONSES,
      ...fieldsOf(body, PARAMETERS),
    },
    input: () => ({
      content: { input, instructions, prompt },
      config: {
        ...without(body, NOT_CONFIGURATION),
        // A stored prompt configures the model; the values filled into it are content.
        prompt: prompt && { id: property(prompt, 'id'), version: property(prompt, 'version') },
      },
      messages: () => inputMessages(input),
      ...(typeof instructions === 'string' && {
        systemInstructions: () => [{ type: 'text', content: instructions }],
      }),
      ...(tools !== undefined && { toolDefinitions: () => tools }),
    }),
  };
}

/** The answer of a response. */
export class ResponsesAnswer implements Answer {
  failure: string | undefined;
  isFinished = false;
  private output = new AnswerOutput();
  private reported: Attributes = {};
  private unknown: { readonly value: unknown } | undefined;

  whole(value: unknown): void {
    if (Array.isArray(property(value, 'output'))) this.takeResponse(value);
    else this.unknown = { value };
  }

  chunk(event: unknown): void {
    const type = textOf(property(event, 'type')) ?? '';
    const response = property(event, 'response');
    switch (type) {
      case 'response.completed':
      case 'response.incomplete':
      case 'response.failed':
        this.isFinished = true;
        // It repeats the whole answer, which is what a call without a stream gets.
        this.output = new AnswerOutput();
        this.takeResponse(response);
        break;
      case 'error':
        this.isFinished = true;
        this.failure = codeOf(property(event, 'code')) ?? 'error';
        break;
      case 'response.output_item.added':
        this.takeItem(indexOf(property(event, 'output_index'), 0), property(event, 'item'), false);
        break;
      default:
        addFields(this.reported, response, REPORTED);
        this.takeDelta(type, event);
    }
  }

  attributes(): Attributes | undefined {
    const { output, reported, unknown } = this;
    if (unknown !== undefined) return { ...reported, ...valueOutput(unknown.value) };
    if (output.isEmpty && Object.keys(reported).length === 0) return undefined;
    return { ...reported, ...output.attributes() };
  }

  private takeResponse(response: unknown): void {
    const status = textOf(property(response, 'status'));
    const reason = textOf(property(property(response, 'incomplete_details'), 'reason')) ?? status;
    this.reported = {
      ...this.reported,
      ...fieldsOf(response, REPORTED),
      ...(reason !== undefined && { [names.ATTR_GEN_AI_RESPONSE_FINISH_REASONS]: [reason] }),
    };
    if (status === 'failed' || status === 'cancelled') {
      this.failure = codeOf(property(property(response, 'error'), 'code')) ?? status;
    }
    this.output.message(0, 'assistant', reason);
    for (const [index, item] of listOf(property(response, 'output')).entries()) {
      this.takeItem(index, item, true);
    }
  }

  private takeItem(index: number, item: unknown, isWhole: boolean): void {
    const { output } = this;
    const order = index * PARTS_PER_ITEM;
    const type = textOf(property(item, 'type'));
    output.message(0, 'assistant');
    switch (type) {
      case 'function_call':
      case 'custom_tool_call': {
        output.toolCall(0, order, property(item, 'call_id'), property(item, 'name'));
        const text = textOf(property(item, 'arguments')) ?? textOf(property(item, 'input'));
        if (isWhole) output.text(0, 'tool_call', order, text ?? '');
        break;
      }
      case 'message':
        for (const [at, part] of listOf(isWhole && property(item, 'content')).entries()) {
          output.text(0, 'text', order + at, textOf(property(part, 'text')) ?? '');
          output.text(0, 'refusal', order + at, textOf(property(part, 'refusal')) ?? '');
        }
        break;
      case 'reasoning':
        for (const key of ['summary', 'content']) {
          for (const [at, part] of listOf(isWhole && property(item, key)).entries()) {
            output.text(
              0,
              'reasoning',
              order + reasoningOrder(key, at),
              textOf(property(part, 'text')) ?? '',
            );
          }
        }
        break;
      default:
        if (isWhole) output.text(0, 'other', order, canonicalJson(item ?? null));
    }
  }

  /** A piece of a part. What these add up to counts only if the last event, which repeats it all, never comes. */
  private takeDelta(type: string, event: unknown): void {
    const part = DELTAS[type];
    const delta = textOf(property(event, 'delta'));
    if (part === undefined || delta === undefined) return;
    const [partType, key, positionKey] = part;
    const at = indexOf(property(event, positionKey), 0);
    const order = indexOf(property(event, 'output_index'), 0) * PARTS_PER_ITEM;
    const within = partType === 'reasoning' ? reasoningOrder(key, at) : at;
    this.output.message(0, 'assistant');
    this.output.text(0, partType, order + within, delta);
  }
}

const DELTAS: Readonly<Record<string, readonly [type: PartType, key: string, position: string]>> = {
  'response.output_text.delta': ['text', 'content', 'content_index'],
  'response.refusal.delta': ['refusal', 'content', 'content_index'],
  'response.function_call_arguments.delta': ['tool_call', 'arguments', ''],
  'response.custom_tool_call_input.delta': ['tool_call', 'input', ''],
  'response.reasoning_summary_text.delta': ['reasoning', 'summary', 'summary_index'],
  'response.reasoning_text.delta': ['reasoning', 'content', 'content_index'],
};

/** The summary of a reasoning stands before its text. */
function reasoningOrder(key: string, at: number): number {
  return key === 'summary' ? at : PARTS_PER_ITEM / 2 + at;
}

/** The input in the message shape of the GenAI conventions. An item of a kind it has no part for keeps its type. */
function inputMessages(input: unknown): unknown {
  if (typeof input === 'string') {
    return [{ role: 'user', parts: [{ type: 'text', content: input }] }];
  }
  return listOf(input).flatMap((item): readonly unknown[] => {
    const type = textOf(property(item, 'type'));
    if (type === 'function_call') {
      const part = {
        type: 'tool_call',
        id: property(item, 'call_id'),
        name: property(item, 'name'),
        arguments: property(item, 'arguments'),
      };
      return [{ role: 'assistant', parts: [part] }];
    }
    if (type === 'function_call_output') {
      const part = {
        type: 'tool_call_response',
        id: property(item, 'call_id'),
        response: property(item, 'output'),
      };
      return [{ role: 'tool', parts: [part] }];
    }
    return chatMessages([item]) ?? [{ parts: [{ type: type ?? 'unknown' }] }];
  });
}
