// SPDX-License-Identifier: Apache-2.0
/**
 * The `@anthropic-ai/sdk` package, from 0.60 and 1.x: messages and beta messages, in every way to call and to read them.
 * Batches, agents and the text completions of 0.x are not seen. The spans that 1.x makes itself are left as they are.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { eventsHook, methodHook, requestHook, watchApiClient } from '../api-client.ts';
import { AnswerOutput, canonicalJson, valueOutput } from '../content.ts';
import { type Answer, type InvocationStart, property } from '../invocation.ts';
import type { Target } from '../target.ts';
import { serverOf } from './server.ts';
import { addFields, fields, fieldsOf, indexOf, listOf, textOf, without } from './values.ts';

const NAME = '@anthropic-ai/sdk';

export const anthropicTarget: Target = {
  name: NAME,
  fromVersion: '0.60.0',
  belowVersion: '2.0.0',
  hooks: [
    methodHook('messages', 'resources/messages/messages', 'Messages'),
    methodHook('beta-messages', 'resources/beta/messages/messages', 'Messages'),
    requestHook('client', 'BaseAnthropic'),
    eventsHook('core/streaming'),
  ],
  subscribe: () => {
    const describe = (body: unknown, baseUrl: unknown) => ({
      start: messagesStart(body, serverOf(baseUrl, names.GEN_AI_PROVIDER_NAME_VALUE_ANTHROPIC)),
      answer: new MessageAnswer(),
    });
    watchApiClient(NAME, { messages: describe, 'beta-messages': describe });
  },
};

const PARAMETERS = fields([
  ['model', names.ATTR_GEN_AI_REQUEST_MODEL, 'string'],
  ['stream', names.ATTR_GEN_AI_REQUEST_STREAM, 'boolean'],
  ['max_tokens', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['top_k', names.ATTR_GEN_AI_REQUEST_TOP_K, 'number'],
  ['top_p', names.ATTR_GEN_AI_REQUEST_TOP_P, 'number'],
  ['output_config.effort', names.ATTR_GEN_AI_REQUEST_REASONING_LEVEL, 'string'],
]);

const REPORTED = fields([
  ['id', names.ATTR_GEN_AI_RESPONSE_ID, 'string'],
  ['model', names.ATTR_GEN_AI_RESPONSE_MODEL, 'string'],
]);

/** What does not configure the model: the content, how the answer is delivered, and whom it is for. */
const NOT_CONFIGURATION: ReadonlySet<string> = new Set([
  'messages',
  'system',
  'stream',
  'metadata',
  'user_profile_id',
  'workspace_id',
]);

function messagesStart(body: unknown, server: Attributes): InvocationStart {
  const operation = names.GEN_AI_OPERATION_NAME_VALUE_CHAT;
  const model = textOf(property(body, 'model'));
  const messages = property(body, 'messages');
  const system = property(body, 'system');
  const tools = property(body, 'tools');
  const stop = property(body, 'stop_sequences');
  return {
    name: model === undefined ? operation : `${operation} ${model}`,
    attributes: {
      [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
      ...server,
      ...fieldsOf(body, PARAMETERS),
      ...(Array.isArray(stop) && {
        [names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES]: stop.filter((text) => typeof text === 'string'),
      }),
    },
    input: () => ({
      content: { messages, system },
      config: without(body, NOT_CONFIGURATION),
      messages: () =>
        listOf(messages).map((message) => ({
          role: property(message, 'role'),
          parts: partsOf(property(message, 'content')),
        })),
      ...(system !== undefined && { systemInstructions: () => partsOf(system) }),
      ...(tools !== undefined && { toolDefinitions: () => tools }),
    }),
  };
}

/** The answer of a message, whole or in events. */
export class MessageAnswer implements Answer {
  readonly failure: undefined;
  private readonly output = new AnswerOutput();
  private stopReason: string | undefined;
  private reported: Attributes = {};
  /** The numbers of tokens so far; what a later event names replaces what an earlier one did. */
  private readonly usage = new Map<string, number>();
  private readonly blockTypes = new Map<number, string>();
  /** The arguments of tool calls, until they are whole: then they are digested as one value. */
  private readonly inputs = new Map<number, string>();
  private unknown: { readonly value: unknown } | undefined;

  get isFinished(): boolean {
    return this.stopReason !== undefined;
  }

  whole(value: unknown): void {
    const content = property(value, 'content');
    // Not the shape of this interface: a proxy's page, say. It is what the application got all the same.
    if (!Array.isArray(content)) this.unknown = { value };
    this.takeMessage(value);
    for (const [index, block] of listOf(content).entries()) {
      this.takeBlock(index, block);
      const input = property(block, 'input');
      if (input !== undefined) this.inputs.set(index, canonicalJson(input));
      this.endBlock(index);
    }
  }

  chunk(event: unknown): void {
    const index = indexOf(property(event, 'index'), 0);
    switch (property(event, 'type')) {
      case 'message_start':
        this.takeMessage(property(event, 'message'));
        break;
      case 'content_block_start':
        this.takeBlock(index, property(event, 'content_block'));
        break;
      case 'content_block_delta':
        this.takeDelta(index, property(event, 'delta'));
        break;
      case 'content_block_stop':
        this.endBlock(index);
        break;
      case 'message_delta':
        this.takeEnd(property(property(event, 'delta'), 'stop_reason'));
        this.takeUsage(property(event, 'usage'));
        break;
      default:
    }
  }

  attributes(): Attributes | undefined {
    const { output, unknown, usage } = this;
    const reported = { ...this.reported, ...usageAttributes(usage) };
    if (unknown !== undefined) return { ...reported, ...valueOutput(unknown.value) };
    if (output.isEmpty) return undefined;
    for (const index of [...this.inputs.keys()]) this.endBlock(index);
    return { ...reported, ...output.attributes() };
  }

  private takeMessage(message: unknown): void {
    addFields(this.reported, message, REPORTED);
    this.takeUsage(property(message, 'usage'));
    const role = textOf(property(message, 'role'));
    if (role !== undefined) this.output.message(0, role);
    this.takeEnd(property(message, 'stop_reason'));
  }

  private takeEnd(reason: unknown): void {
    if (typeof reason !== 'string') return;
    this.stopReason = reason;
    this.output.message(0, undefined, reason);
    this.reported[names.ATTR_GEN_AI_RESPONSE_FINISH_REASONS] = [reason];
  }

  private takeUsage(usage: unknown): void {
    if (typeof usage !== 'object' || usage === null) return;
    for (const [name, count] of Object.entries(usage)) {
      if (Number.isSafeInteger(count)) this.usage.set(name, count as number);
    }
  }

  private takeBlock(index: number, block: unknown): void {
    const { output } = this;
    const type = textOf(property(block, 'type')) ?? '';
    this.blockTypes.set(index, type);
    if (type === 'text') {
      output.text(0, 'text', index, textOf(property(block, 'text')) ?? '');
    } else if (type === 'thinking') {
      output.text(0, 'reasoning', index, textOf(property(block, 'thinking')) ?? '');
    } else if (type.endsWith('tool_use')) {
      output.toolCall(0, index, property(block, 'id'), property(block, 'name'));
    } else {
      output.text(0, 'other', index, canonicalJson(block ?? null));
    }
  }

  private takeDelta(index: number, delta: unknown): void {
    const { inputs, output } = this;
    const json = textOf(property(delta, 'partial_json'));
    if (json !== undefined) inputs.set(index, (inputs.get(index) ?? '') + json);
    output.text(0, 'text', index, textOf(property(delta, 'text')) ?? '');
    output.text(0, 'reasoning', index, textOf(property(delta, 'thinking')) ?? '');
  }

  private endBlock(index: number): void {
    if (this.blockTypes.get(index)?.endsWith('tool_use') !== true) return;
    // A tool without arguments streams none.
    const text = this.inputs.get(index) || '{}';
    this.inputs.delete(index);
    this.blockTypes.delete(index);
    this.output.text(0, 'tool_call', index, canonicalText(text));
  }
}

/** The canonical text of JSON; a text that breaks off stays as it is. */
function canonicalText(json: string): string {
  try {
    return canonicalJson(JSON.parse(json));
  } catch {
    return json;
  }
}

/** Tokens that a cache took or gave are counted apart here, and are part of the input in the conventions. */
function usageAttributes(usage: ReadonlyMap<string, number>): Attributes {
  const input = usage.get('input_tokens');
  const output = usage.get('output_tokens');
  const read = usage.get('cache_read_input_tokens');
  const written = usage.get('cache_creation_input_tokens');
  return {
    ...(input !== undefined && {
      [names.ATTR_GEN_AI_USAGE_INPUT_TOKENS]: input + (read ?? 0) + (written ?? 0),
    }),
    ...(output !== undefined && { [names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS]: output }),
    ...(read !== undefined && { [names.ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS]: read }),
    ...(written !== undefined && { [names.ATTR_GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS]: written }),
  };
}

/** Content in the message shape of the GenAI conventions. A block of a kind that has no part keeps its type. */
function partsOf(content: unknown): readonly unknown[] {
  if (typeof content === 'string') return [{ type: 'text', content }];
  return listOf(content).map((block) => {
    const type = textOf(property(block, 'type')) ?? 'unknown';
    switch (type) {
      case 'text':
        return { type, content: property(block, 'text') };
      case 'thinking':
        return { type: 'reasoning', content: property(block, 'thinking') };
      case 'tool_use':
        return {
          type: 'tool_call',
          id: property(block, 'id'),
          name: property(block, 'name'),
          arguments: property(block, 'input'),
        };
      case 'tool_result':
        return {
          type: 'tool_call_response',
          id: property(block, 'tool_use_id'),
          response: property(block, 'content'),
        };
      default:
        return { type };
    }
  });
}
