// SPDX-License-Identifier: Apache-2.0
/**
 * The `ollama` package, 0.5 and 0.6: chat, text generation and embeddings. The making and moving of models is not seen, nor
 * what a server does that other packages talk to.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { chatMessages } from '../../semconv/messages.ts';
import { type AsyncCall, watchAsyncCalls } from '../async-call.ts';
import { AnswerOutput, canonicalJson, valueOutput } from '../content.ts';
import { type Answer, type InvocationStart, property } from '../invocation.ts';
import type { CallMessage, Hook, Target } from '../target.ts';
import { ValueAnswer } from '../watch.ts';
import { serverOf } from './server.ts';
import { addFields, fields, fieldsOf, listOf, textOf, userMessages, without } from './values.ts';

const NAME = 'ollama';
/** The conventions have no name for it. */
const PROVIDER = 'ollama';

export const ollamaTarget: Target = {
  name: NAME,
  fromVersion: '0.5.12',
  belowVersion: '0.7.0',
  hooks: [hookOf('processStreamableRequest'), hookOf('embed'), hookOf('embeddings')],
  subscribe: () => {
    watchAsyncCalls(NAME, 'processStreamableRequest', generationCall);
    watchAsyncCalls(NAME, 'embed', embeddingsCall);
    watchAsyncCalls(NAME, 'embeddings', embeddingsCall);
  },
};

function hookOf(methodName: string): Hook {
  const method = { className: 'Ollama', methodName, kind: 'Async' } as const;
  return {
    channel: methodName,
    file: 'dist/browser',
    function: method,
  };
}

const PARAMETERS = fields([
  ['model', names.ATTR_GEN_AI_REQUEST_MODEL, 'string'],
  ['options.temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['options.top_p', names.ATTR_GEN_AI_REQUEST_TOP_P, 'number'],
  ['options.top_k', names.ATTR_GEN_AI_REQUEST_TOP_K, 'number'],
  ['options.num_predict', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['options.seed', names.ATTR_GEN_AI_REQUEST_SEED, 'number'],
  ['options.presence_penalty', names.ATTR_GEN_AI_REQUEST_PRESENCE_PENALTY, 'number'],
  ['options.frequency_penalty', names.ATTR_GEN_AI_REQUEST_FREQUENCY_PENALTY, 'number'],
  ['think', names.ATTR_GEN_AI_REQUEST_REASONING_LEVEL, 'string'],
]);

const REPORTED = fields([
  ['model', names.ATTR_GEN_AI_RESPONSE_MODEL, 'string'],
  ['prompt_eval_count', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['eval_count', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
]);

/** The content of the interfaces, as far as a request has it. */
const CONTENT = ['messages', 'system', 'prompt', 'suffix', 'context', 'images', 'input'] as const;
/** What does not configure the model: the content, and how the answer is delivered. */
const NOT_CONFIGURATION: ReadonlySet<string> = new Set([...CONTENT, 'stream', 'keep_alive']);

function startOf(operation: string, request: unknown, self: unknown): InvocationStart {
  const model = textOf(property(request, 'model'));
  const stop = property(property(request, 'options'), 'stop');
  const format = property(request, 'format');
  const messages = property(request, 'messages');
  const prompt = property(request, 'prompt') ?? property(request, 'input');
  const system = property(request, 'system');
  const tools = property(request, 'tools');
  return {
    name: model === undefined ? operation : `${operation} ${model}`,
    attributes: {
      [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
      ...serverOf(property(property(self, 'config'), 'host'), PROVIDER),
      ...fieldsOf(request, PARAMETERS),
      ...(property(request, 'stream') === true && { [names.ATTR_GEN_AI_REQUEST_STREAM]: true }),
      ...(Array.isArray(stop) && { [names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES]: stop }),
      // A schema stands here too.
      ...(format !== undefined &&
        format !== '' && { [names.ATTR_GEN_AI_OUTPUT_TYPE]: names.GEN_AI_OUTPUT_TYPE_VALUE_JSON }),
    },
    input: () => ({
      content: Object.fromEntries(CONTENT.map((name) => [name, property(request, name)])),
      config: without(request, NOT_CONFIGURATION),
      messages: () => chatMessages(messages) ?? userMessages(prompt),
      ...(system !== undefined && {
        systemInstructions: () => [{ type: 'text', content: system }],
      }),
      ...(tools !== undefined && { toolDefinitions: () => tools }),
    }),
  };
}

function generationCall({ arguments: args, self }: CallMessage): AsyncCall | undefined {
  const [endpoint, request] = [args?.[0], args?.[1]];
  if (endpoint !== 'chat' && endpoint !== 'generate') return undefined;
  const operation =
    endpoint === 'chat'
      ? names.GEN_AI_OPERATION_NAME_VALUE_CHAT
      : names.GEN_AI_OPERATION_NAME_VALUE_TEXT_COMPLETION;
  return { start: startOf(operation, request, self), answer: new GenerationAnswer() };
}

function embeddingsCall({ arguments: args, self }: CallMessage): AsyncCall {
  const vectorsOf = (value: unknown): unknown =>
    property(value, 'embeddings') ?? property(value, 'embedding');
  return {
    start: startOf(names.GEN_AI_OPERATION_NAME_VALUE_EMBEDDINGS, args?.[0], self),
    answer: new ValueAnswer(vectorsOf, (value) => {
      const [first] = listOf(vectorsOf(value));
      const vector = typeof first === 'number' ? vectorsOf(value) : first;
      return {
        ...fieldsOf(value, REPORTED),
        ...(Array.isArray(vector) && {
          [names.ATTR_GEN_AI_EMBEDDINGS_DIMENSION_COUNT]: vector.length,
        }),
      };
    }),
  };
}

/** The answer of a chat or a generation: each line of a stream has the shape of the whole. */
class GenerationAnswer implements Answer {
  readonly failure: undefined;
  isFinished = false;
  private readonly output = new AnswerOutput();
  private reported: Attributes = {};
  /** Calls of tools come whole, each in a line. */
  private toolCallCount = 0;
  private unknown: { readonly value: unknown } | undefined;

  whole(value: unknown): void {
    this.chunk(value);
    if (this.output.isEmpty) this.unknown = { value };
  }

  chunk(value: unknown): void {
    const { output } = this;
    const message = property(value, 'message');
    const text = textOf(property(message, 'content')) ?? textOf(property(value, 'response'));
    const thinking = property(message, 'thinking') ?? property(value, 'thinking');
    addFields(this.reported, value, REPORTED);
    if (text !== undefined) {
      output.message(0, textOf(property(message, 'role')) ?? 'assistant');
      output.text(0, 'text', 0, text);
    }
    output.text(0, 'reasoning', 0, textOf(thinking) ?? '');
    for (const call of listOf(property(message, 'tool_calls'))) {
      const order = this.toolCallCount++;
      const called = property(call, 'function');
      output.toolCall(0, order, property(call, 'id'), property(called, 'name'));
      const args = property(called, 'arguments');
      output.text(0, 'tool_call', order, textOf(args) ?? canonicalJson(args ?? {}));
    }
    if (property(value, 'done') !== true) return;
    this.isFinished = true;
    const reason = textOf(property(value, 'done_reason'));
    if (reason === undefined) return;
    output.message(0, undefined, reason);
    this.reported[names.ATTR_GEN_AI_RESPONSE_FINISH_REASONS] = [reason];
  }

  attributes(): Attributes | undefined {
    const { output, reported, unknown } = this;
    if (unknown !== undefined) return { ...reported, ...valueOutput(unknown.value) };
    return output.isEmpty ? undefined : { ...reported, ...output.attributes() };
  }
}
