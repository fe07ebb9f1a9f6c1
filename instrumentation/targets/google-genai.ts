// SPDX-License-Identifier: Apache-2.0
/**
 * The `@google/genai` package, 1.x to 3.x: each request that generates content or embeddings, on both of its platforms; a call
 * that runs tools by itself or continues makes several. Images, videos, live sessions, batches and interactions are not seen.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { type AsyncCall, watchAsyncCalls } from '../async-call.ts';
import { AnswerOutput, canonicalJson, valueOutput } from '../content.ts';
import { type Answer, property } from '../invocation.ts';
import type { CallMessage, Hook, Target } from '../target.ts';
import { ValueAnswer } from '../watch.ts';
import { serverOf } from './server.ts';
import { fields, fieldsOf, indexOf, listOf, textOf, without } from './values.ts';

const NAME = '@google/genai';

export const googleGenaiTarget: Target = {
  name: NAME,
  fromVersion: '1.0.0',
  belowVersion: '4.0.0',
  hooks: [hookOf('generateContent'), hookOf('generateContentStream'), hookOf('embedContent')],
  subscribe: () => {
    watchAsyncCalls(NAME, 'generateContent', (message) => contentCall(message, false));
    watchAsyncCalls(NAME, 'generateContentStream', (message) => contentCall(message, true));
    watchAsyncCalls(NAME, 'embedContent', embeddingsCall);
  },
};

/** The method that makes the request: the ones that applications call are made anew for each client. */
function hookOf(channel: string): Hook {
  const method = { className: 'Models', methodName: `${channel}Internal`, kind: 'Async' } as const;
  return { channel, file: 'dist/(?:node/)?index', function: method };
}

const PARAMETERS = fields([
  ['temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['topP', names.ATTR_GEN_AI_REQUEST_TOP_P, 'number'],
  ['topK', names.ATTR_GEN_AI_REQUEST_TOP_K, 'number'],
  ['candidateCount', names.ATTR_GEN_AI_REQUEST_CHOICE_COUNT, 'number'],
  ['maxOutputTokens', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['presencePenalty', names.ATTR_GEN_AI_REQUEST_PRESENCE_PENALTY, 'number'],
  ['frequencyPenalty', names.ATTR_GEN_AI_REQUEST_FREQUENCY_PENALTY, 'number'],
  ['seed', names.ATTR_GEN_AI_REQUEST_SEED, 'number'],
  ['thinkingConfig.thinkingLevel', names.ATTR_GEN_AI_REQUEST_REASONING_LEVEL, 'string'],
]);

const REPORTED = fields([
  ['responseId', names.ATTR_GEN_AI_RESPONSE_ID, 'string'],
  ['modelVersion', names.ATTR_GEN_AI_RESPONSE_MODEL, 'string'],
  ['usageMetadata.promptTokenCount', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  [
    'usageMetadata.cachedContentTokenCount',
    names.ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    'number',
  ],
  ['usageMetadata.thoughtsTokenCount', names.ATTR_GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, 'number'],
]);

/** What does not configure the model: the content, how the request is made, and what the package does by itself. */
const NOT_CONFIGURATION: ReadonlySet<string> = new Set([
  'systemInstruction',
  'httpOptions',
  'abortSignal',
  'labels',
  'automaticFunctionCalling',
  'automaticContinuation',
]);

interface Given {
  readonly model: string | undefined;
  readonly contents: unknown;
  readonly config: unknown;
  readonly server: Attributes;
  readonly hasTimeLimit: boolean;
}

function givenOf({ arguments: args, self }: CallMessage): Given {
  const options = property(property(self, 'apiClient'), 'clientOptions');
  const isVertex = property(options, 'vertexai') === true;
  const params = args?.[0];
  const config = property(params, 'config');
  const httpOptions = [property(config, 'httpOptions'), property(options, 'httpOptions')];
  return {
    model: textOf(property(params, 'model')),
    contents: property(params, 'contents') ?? property(params, 'content'),
    config,
    hasTimeLimit: httpOptions.some((given) => property(given, 'timeout') !== undefined),
    server: serverOf(
      property(property(options, 'httpOptions'), 'baseUrl'),
      isVertex
        ? names.GEN_AI_PROVIDER_NAME_VALUE_GCP_VERTEX_AI
        : names.GEN_AI_PROVIDER_NAME_VALUE_GCP_GEMINI,
    ),
  };
}

function contentCall(message: CallMessage, isStream: boolean): AsyncCall {
  const { model, contents, config, server, hasTimeLimit } = givenOf(message);
  const operation = names.GEN_AI_OPERATION_NAME_VALUE_GENERATE_CONTENT;
  const stop = property(config, 'stopSequences');
  const system = property(config, 'systemInstruction');
  const tools = property(config, 'tools');
  const isJson = property(config, 'responseMimeType') === 'application/json';
  return {
    start: {
      name: model === undefined ? operation : `${operation} ${model}`,
      attributes: {
        [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
        ...server,
        ...(model !== undefined && { [names.ATTR_GEN_AI_REQUEST_MODEL]: model }),
        ...(isStream && { [names.ATTR_GEN_AI_REQUEST_STREAM]: true }),
        ...fieldsOf(config, PARAMETERS),
        ...(Array.isArray(stop) && { [names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES]: stop }),
        ...(isJson && { [names.ATTR_GEN_AI_OUTPUT_TYPE]: names.GEN_AI_OUTPUT_TYPE_VALUE_JSON }),
      },
      input: () => ({
        content: { contents, systemInstruction: system },
        config: { ...without(config, NOT_CONFIGURATION), model },
        messages: () => [contents].flat().map(messageOf),
        ...(system !== undefined && { systemInstructions: () => partsOf(system) }),
        ...(tools !== undefined && { toolDefinitions: () => tools }),
      }),
    },
    answer: new ContentAnswer(indexOf(property(config, 'candidateCount'), 1)),
    signal: property(config, 'abortSignal'),
    hasTimeLimit,
  };
}

function embeddingsCall(message: CallMessage): AsyncCall {
  const { model, contents, config, server, hasTimeLimit } = givenOf(message);
  const operation = names.GEN_AI_OPERATION_NAME_VALUE_EMBEDDINGS;
  const vectorsOf = (value: unknown): readonly unknown[] =>
    listOf(property(value, 'embeddings')).map((embedding) => property(embedding, 'values'));
  return {
    start: {
      name: model === undefined ? operation : `${operation} ${model}`,
      attributes: {
        [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
        ...server,
        ...(model !== undefined && { [names.ATTR_GEN_AI_REQUEST_MODEL]: model }),
      },
      input: () => ({
        content: { contents },
        config: { ...without(config, NOT_CONFIGURATION), model },
        messages: () => [contents].flat().map(messageOf),
      }),
    },
    answer: new ValueAnswer(vectorsOf, (value) => {
      const [first] = vectorsOf(value);
      return Array.isArray(first)
        ? { [names.ATTR_GEN_AI_EMBEDDINGS_DIMENSION_COUNT]: first.length }
        : {};
    }),
    signal: property(config, 'abortSignal'),
    hasTimeLimit,
  };
}

/** The answer of a generation: each chunk has the shape of the whole. */
class ContentAnswer implements Answer {
  readonly failure: undefined;
  private readonly output = new AnswerOutput();
  private readonly candidateCount: number;
  private readonly finishReasons = new Map<number, string>();
  private reported: Attributes = {};
  /** Parts that are no text come whole, each in a chunk; so they are counted. */
  private partCount = 0;
  private unknown: { readonly value: unknown } | undefined;

  constructor(candidateCount: number) {
    this.candidateCount = candidateCount;
  }

  get isFinished(): boolean {
    return this.finishReasons.size >= this.candidateCount;
  }

  whole(value: unknown): void {
    this.chunk(value);
    if (this.output.isEmpty && this.finishReasons.size === 0) this.unknown = { value };
  }

  chunk(value: unknown): void {
    const answered = property(property(value, 'usageMetadata'), 'candidatesTokenCount');
    const thought = property(property(value, 'usageMetadata'), 'thoughtsTokenCount');
    const counts = [answered, thought].filter((count) => typeof count === 'number');
    this.reported = {
      ...this.reported,
      ...fieldsOf(value, REPORTED),
      ...(counts.length > 0 && {
        [names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS]: counts.reduce((sum, count) => sum + count, 0),
      }),
    };
    for (const [position, candidate] of listOf(property(value, 'candidates')).entries()) {
      const index = indexOf(property(candidate, 'index'), position);
      const content = property(candidate, 'content');
      this.output.message(index, textOf(property(content, 'role')));
      for (const part of listOf(property(content, 'parts'))) this.takePart(index, part);
      this.takeEnd(index, property(candidate, 'finishReason'));
    }
    const blocked = textOf(property(property(value, 'promptFeedback'), 'blockReason'));
    // A prompt that is not answered has no candidates at all.
    for (let index = 0; blocked !== undefined && index < this.candidateCount; index++) {
      this.takeEnd(index, blocked);
    }
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

  private takeEnd(index: number, reason: unknown): void {
    if (typeof reason !== 'string') return;
    this.finishReasons.set(index, reason);
    this.output.message(index, undefined, reason);
  }

  private takePart(index: number, part: unknown): void {
    const { output } = this;
    const text = textOf(property(part, 'text'));
    const call = property(part, 'functionCall');
    if (text !== undefined) {
      output.text(index, property(part, 'thought') === true ? 'reasoning' : 'text', 0, text);
    } else if (call !== undefined) {
      const order = this.partCount++;
      output.toolCall(index, order, property(call, 'id'), property(call, 'name'));
      output.text(index, 'tool_call', order, canonicalJson(property(call, 'args') ?? {}));
    } else {
      output.text(index, 'other', this.partCount++, canonicalJson(part ?? null));
    }
  }
}

/** A message in the shape of the GenAI conventions. */
function messageOf(content: unknown): unknown {
  const role = textOf(property(content, 'role')) ?? 'user';
  return { role, parts: partsOf(property(content, 'parts') ?? content) };
}

function partsOf(content: unknown): readonly unknown[] {
  return [property(content, 'parts') ?? content].flat().map((part) => {
    const text = textOf(part) ?? textOf(property(part, 'text'));
    const call = property(part, 'functionCall');
    const response = property(part, 'functionResponse');
    if (text !== undefined) return { type: 'text', content: text };
    if (call !== undefined) {
      const id = property(call, 'id');
      const name = property(call, 'name');
      return { type: 'tool_call', id, name, arguments: property(call, 'args') };
    }
    if (response !== undefined) {
      const id = property(response, 'id');
      return { type: 'tool_call_response', id, response: property(response, 'response') };
    }
    return { type: Object.keys(part ?? {})[0] ?? 'unknown' };
  });
}
