// SPDX-License-Identifier: Apache-2.0
/**
 * The answers of Bedrock: of `Converse` in its own shape, of `InvokeModel` in that of the model's family, which is known for one
 * family; of the others the whole body is the answer.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { AnswerOutput, canonicalJson, SequenceOutput, valueOutput } from '../content.ts';
import { type Answer, property } from '../invocation.ts';
import { guard } from '../settings.ts';
import { addFields, fields, indexOf, listOf, textOf } from './values.ts';

const USAGE = fields([
  ['usage.inputTokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['usage.outputTokens', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
  ['usage.cacheReadInputTokens', names.ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, 'number'],
  ['usage.cacheWriteInputTokens', names.ATTR_GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS, 'number'],
]);

/** The answer of `Converse` and `ConverseStream`. */
export class ConverseAnswer implements Answer {
  isFinished = false;
  readonly failure: undefined;
  private readonly output = new AnswerOutput();
  private reported: Attributes = {};
  /** The arguments of tool calls that arrive in pieces, digested as one value once they are whole. */
  private readonly inputs = new Map<number, string>();

  whole({ output }: { readonly output: unknown }): void {
    const message = property(property(output, 'output'), 'message');
    this.output.message(0, textOf(property(message, 'role')) ?? 'assistant');
    for (const [index, block] of listOf(property(message, 'content')).entries()) {
      this.takeBlock(index, block);
    }
    this.finish(property(output, 'stopReason'));
    this.report(output);
  }

  chunk(event: unknown): void {
    const start = property(event, 'contentBlockStart');
    const delta = property(event, 'contentBlockDelta');
    const role = textOf(property(property(event, 'messageStart'), 'role'));
    if (role !== undefined) this.output.message(0, role);
    this.takeBlock(indexOf(property(start, 'contentBlockIndex'), 0), property(start, 'start'));
    this.takeBlock(indexOf(property(delta, 'contentBlockIndex'), 0), property(delta, 'delta'));
    this.finish(property(property(event, 'messageStop'), 'stopReason'));
    this.report(property(event, 'metadata'));
  }

  attributes(): Attributes | undefined {
    if (this.output.isEmpty) return undefined;
    for (const [index, text] of this.inputs) {
      const value = guard('bedrock.input', () => canonicalJson(JSON.parse(text)));
      this.output.text(0, 'tool_call', index, value ?? text);
    }
    return { ...this.reported, ...this.output.attributes() };
  }

  /** A block, or what a delta adds to it. */
  private takeBlock(index: number, block: unknown): void {
    if (block === undefined) return;
    const { output } = this;
    const tool = property(block, 'toolUse');
    const reasoning = property(block, 'reasoningContent');
    const text = textOf(property(block, 'text'));
    if (text !== undefined) {
      output.text(0, 'text', index, text);
    } else if (tool !== undefined) {
      output.toolCall(0, index, property(tool, 'toolUseId'), property(tool, 'name'));
      const input = property(tool, 'input');
      if (typeof input === 'string') this.inputs.set(index, (this.inputs.get(index) ?? '') + input);
      else if (input !== undefined) output.text(0, 'tool_call', index, canonicalJson(input));
    } else if (reasoning !== undefined) {
      const whole = property(property(reasoning, 'reasoningText'), 'text');
      output.text(0, 'reasoning', index, textOf(whole ?? property(reasoning, 'text')) ?? '');
    } else {
      output.text(0, 'other', index, canonicalJson(block));
    }
  }

  private finish(reason: unknown): void {
    if (typeof reason !== 'string') return;
    this.isFinished = true;
    this.output.message(0, undefined, reason);
    this.reported[names.ATTR_GEN_AI_RESPONSE_FINISH_REASONS] = [reason];
  }

  private report(value: unknown): void {
    addFields(this.reported, value, USAGE);
  }
}

const HEADERS: readonly (readonly [string, string])[] = [
  ['x-amzn-bedrock-input-token-count', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS],
  ['x-amzn-bedrock-output-token-count', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS],
];
const METRICS = 'amazon-bedrock-invocationMetrics';
const COUNTED = fields([
  ['inputTokenCount', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['outputTokenCount', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
]);

/** The answer of `InvokeModel` and its stream: JSON in the shape of the model's family. */
export class BodyAnswer implements Answer {
  readonly failure: undefined;
  private readonly known: Answer | undefined;
  private hasMetrics = false;
  private reported: Attributes = {};
  private content: Attributes | undefined;
  private sequence: SequenceOutput | undefined;

  /** `known` takes the bodies of a family whose shape is known. */
  constructor(known: Answer | undefined) {
    this.known = known;
  }

  get isFinished(): boolean {
    return this.hasMetrics || this.known?.isFinished === true;
  }

  whole({ output, headers }: { readonly output: unknown; readonly headers?: unknown }): void {
    const body = jsonOf(property(output, 'body'));
    for (const [header, attribute] of HEADERS) {
      const count = Number(property(headers, header) ?? Number.NaN);
      if (Number.isSafeInteger(count)) this.reported[attribute] = count;
    }
    if (this.known === undefined) this.content = valueOutput(body);
    else this.known.whole(body);
  }

  chunk(event: unknown): void {
    const piece = jsonOf(property(property(event, 'chunk'), 'bytes'));
    const metrics = property(piece, METRICS);
    if (metrics !== undefined) {
      this.hasMetrics = true;
      addFields(this.reported, metrics, COUNTED);
    }
    if (this.known !== undefined) {
      this.known.chunk(piece);
    } else {
      this.sequence ??= new SequenceOutput();
      this.sequence.add(piece);
    }
  }

  attributes(): Attributes | undefined {
    const content = this.known?.attributes() ?? this.content ?? this.sequence?.attributes();
    return content === undefined ? undefined : { ...this.reported, ...content };
  }
}

/** The JSON in a text or in bytes; what is none, as it is. */
export function jsonOf(body: unknown): unknown {
  const text = body instanceof Uint8Array ? Buffer.from(body).toString('utf8') : body;
  if (typeof text !== 'string') return body;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Content blocks as parts of a message of the GenAI conventions. */
export function partsOf(content: unknown): readonly unknown[] {
  if (typeof content === 'string') return [{ type: 'text', content }];
  return listOf(content).map((block) => {
    const use = property(block, 'toolUse');
    const result = property(block, 'toolResult');
    const text = property(block, 'text');
    if (text !== undefined) return { type: 'text', content: text };
    if (use !== undefined) {
      const [id, name, args] = ['toolUseId', 'name', 'input'].map((key) => property(use, key));
      return { type: 'tool_call', id, name, arguments: args };
    }
    if (result !== undefined) {
      const [id, response] = ['toolUseId', 'content'].map((key) => property(result, key));
      return { type: 'tool_call_response', id, response };
    }
    return { type: textOf(property(block, 'type')) ?? Object.keys(block ?? {})[0] ?? 'other' };
  });
}
