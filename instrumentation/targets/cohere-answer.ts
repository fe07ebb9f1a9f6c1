// SPDX-License-Identifier: Apache-2.0
/**
 * What the two chat interfaces of `cohere-ai` answer, whole or in events; both come with their names in camel case.
 * Citations and the results of searches do not count as answers.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { AnswerOutput, canonicalJson, valueOutput } from '../content.ts';
import { type Answer, property } from '../invocation.ts';
import { addFields, type Fields, fields, indexOf, listOf, textOf } from './values.ts';

/** The plan of a call of tools comes after all other reasoning. */
const PLAN_ORDER = 4096;

/** The numbers of tokens; what was billed stands in where the model's own are not told. */
export const USAGE: Fields = fields([
  ['tokens.inputTokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['tokens.outputTokens', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
  ['billedUnits.inputTokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['billedUnits.outputTokens', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
  ['cachedTokens', names.ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, 'number'],
]);

export const ID: Fields = fields([
  ['id', names.ATTR_GEN_AI_RESPONSE_ID, 'string'],
  ['responseId', names.ATTR_GEN_AI_RESPONSE_ID, 'string'],
]);

/** The answer of a chat. */
export class CohereChatAnswer implements Answer {
  failure: string | undefined;
  isFinished = false;
  private readonly output = new AnswerOutput();
  private reported: Attributes = {};
  private toolCallCount = 0;
  private unknown: { readonly value: unknown } | undefined;

  whole(value: unknown): void {
    const { output } = this;
    const message = property(value, 'message');
    output.message(0, textOf(property(message, 'role')) ?? 'assistant');
    for (const [index, item] of listOf(property(message, 'content')).entries()) {
      this.takeContent(index, item);
    }
    this.takePlan(message);
    for (const [index, call] of listOf(property(message, 'toolCalls')).entries()) {
      this.takeToolCall(index, call);
    }
    // The former interface.
    output.text(0, 'text', 0, textOf(property(value, 'text')) ?? '');
    this.takeFormerCalls(property(value, 'toolCalls'));
    if (message === undefined && property(value, 'text') === undefined) this.unknown = { value };
    this.takeEnd(value);
  }

  chunk(event: unknown): void {
    const index = indexOf(property(event, 'index'), 0);
    const delta = property(event, 'delta');
    const message = property(delta, 'message');
    switch (property(event, 'type') ?? property(event, 'eventType')) {
      case 'message-start':
        this.output.message(0, textOf(property(message, 'role')) ?? 'assistant');
        addFields(this.reported, event, ID);
        break;
      case 'content-start':
      case 'content-delta':
        this.takeContent(index, property(message, 'content'));
        break;
      case 'tool-plan-delta':
        this.takePlan(message);
        break;
      case 'tool-call-start':
      case 'tool-call-delta':
        this.takeToolCall(index, property(message, 'toolCalls'));
        break;
      case 'message-end':
        this.takeEnd(delta);
        this.isFinished = true;
        break;
      // The former interface.
      case 'stream-start':
        this.output.message(0, 'assistant');
        break;
      case 'text-generation':
        this.output.message(0, 'assistant');
        this.output.text(0, 'text', 0, textOf(property(event, 'text')) ?? '');
        break;
      case 'tool-calls-generation':
        this.takeFormerCalls(property(event, 'toolCalls'));
        break;
      case 'stream-end':
        this.takeEnd(property(event, 'response'));
        this.takeEnd(event);
        this.isFinished = true;
        break;
      default:
    }
  }

  attributes(): Attributes | undefined {
    const { output, reported, unknown } = this;
    if (unknown !== undefined) return { ...reported, ...valueOutput(unknown.value) };
    return output.isEmpty ? undefined : { ...reported, ...output.attributes() };
  }

  private takeContent(index: number, content: unknown): void {
    this.output.text(0, 'text', index, textOf(property(content, 'text')) ?? '');
    this.output.text(0, 'reasoning', index, textOf(property(content, 'thinking')) ?? '');
  }

  private takePlan(message: unknown): void {
    const plan = textOf(property(message, 'toolPlan'));
    this.output.text(0, 'reasoning', PLAN_ORDER, plan ?? '');
  }

  private takeToolCall(index: number, call: unknown): void {
    const called = property(call, 'function');
    this.output.toolCall(0, index, property(call, 'id'), property(called, 'name'));
    this.output.text(0, 'tool_call', index, textOf(property(called, 'arguments')) ?? '');
  }

  private takeFormerCalls(calls: unknown): void {
    for (const call of listOf(calls)) {
      const order = this.toolCallCount++;
      this.output.toolCall(0, order, undefined, property(call, 'name'));
      const text = canonicalJson(property(call, 'parameters') ?? {});
      this.output.text(0, 'tool_call', order, text);
    }
  }

  private takeEnd(value: unknown): void {
    addFields(this.reported, value, ID);
    addFields(this.reported, property(value, 'usage') ?? property(value, 'meta'), USAGE);
    const reason = textOf(property(value, 'finishReason'));
    if (reason === undefined) return;
    this.output.message(0, undefined, reason);
    this.reported[names.ATTR_GEN_AI_RESPONSE_FINISH_REASONS] = [reason];
    if (reason === 'ERROR' || reason === 'TIMEOUT') this.failure = reason;
  }
}
