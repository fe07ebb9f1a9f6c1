// SPDX-License-Identifier: Apache-2.0
/**
 * The `@mistralai/mistralai` package, 1.x and 2.x: chat, agents, code completion, embeddings, moderation and classification, by
 * the client or by the functions alone. Conversations, audio, documents and batches are not seen.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { chatMessages } from '../../semconv/messages.ts';
import { type AsyncCall, type Outcome, watchAsyncCalls } from '../async-call.ts';
import { canonicalJson } from '../content.ts';
import { type Answer, type Invocation, property, type Signals } from '../invocation.ts';
import type { CallMessage, Target } from '../target.ts';
import { ValueAnswer } from '../watch.ts';
import { watchWebStream } from '../web-stream.ts';
import { ChatAnswer } from './openai-chat.ts';
import { serverOf } from './server.ts';
import { fields, fieldsOf, listOf, textOf, userMessages, without } from './values.ts';

const NAME = '@mistralai/mistralai';

/** What a function of the package does. */
interface Function {
  readonly operation: string;
  readonly isStream?: boolean;
  readonly answer: (request: unknown) => Answer;
}

const generation = (operation: string, isStream: boolean): Function => ({
  operation,
  isStream,
  answer: (request) => new MistralAnswer(request),
});
const valued = (operation: string, contentOf: (value: unknown) => unknown): Function => ({
  operation,
  answer: () => new ValueAnswer(contentOf, reportedOf),
});
const results = (value: unknown): unknown => property(value, 'results') ?? value;
const { GEN_AI_OPERATION_NAME_VALUE_CHAT: CHAT } = names;
const { GEN_AI_OPERATION_NAME_VALUE_TEXT_COMPLETION: TEXT } = names;

/** By the name of the function, which is also that of its file. */
const FUNCTIONS: Readonly<Record<string, Function>> = {
  chatComplete: generation(CHAT, false),
  chatStream: generation(CHAT, true),
  agentsComplete: generation(CHAT, false),
  agentsStream: generation(CHAT, true),
  fimComplete: generation(TEXT, false),
  fimStream: generation(TEXT, true),
  embeddingsCreate: valued(names.GEN_AI_OPERATION_NAME_VALUE_EMBEDDINGS, (value) =>
    listOf(property(value, 'data')).map((item) => property(item, 'embedding')),
  ),
  classifiersModerate: valued('moderate', results),
  classifiersModerateChat: valued('moderate', results),
  classifiersClassify: valued('classify', results),
  classifiersClassifyChat: valued('classify', results),
};

export const mistralTarget: Target = {
  name: NAME,
  fromVersion: '1.10.0',
  belowVersion: '3.0.0',
  // Each file has one function that does the work; what it exports only wraps that one's promise.
  hooks: Object.keys(FUNCTIONS).map((channel) => ({
    channel,
    file: `(?:esm/)?funcs/${channel}`,
    function: { functionName: '$do', kind: 'Async' },
  })),
  subscribe: () => {
    for (const [channel, what] of Object.entries(FUNCTIONS)) {
      watchAsyncCalls(NAME, channel, (message) => describe(what, message), {
        outcomeOf,
        watchStream,
      });
    }
  },
};

/** A result that says whether it is one stands first, beside what became of the request. */
function outcomeOf(result: unknown): Outcome {
  const first = property(result, '0');
  return property(first, 'ok') === true
    ? { value: property(first, 'value') }
    : { error: property(first, 'error') };
}

function watchStream(value: object, invocation: Invocation, signals: Signals): boolean {
  if (!(value instanceof ReadableStream)) return false;
  watchWebStream(value, invocation, { signals });
  return true;
}

const PARAMETERS = fields([
  ['model', names.ATTR_GEN_AI_REQUEST_MODEL, 'string'],
  ['agentId', names.ATTR_GEN_AI_AGENT_ID, 'string'],
  ['maxTokens', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['topP', names.ATTR_GEN_AI_REQUEST_TOP_P, 'number'],
  ['n', names.ATTR_GEN_AI_REQUEST_CHOICE_COUNT, 'number'],
  ['randomSeed', names.ATTR_GEN_AI_REQUEST_SEED, 'number'],
  ['frequencyPenalty', names.ATTR_GEN_AI_REQUEST_FREQUENCY_PENALTY, 'number'],
  ['presencePenalty', names.ATTR_GEN_AI_REQUEST_PRESENCE_PENALTY, 'number'],
  ['reasoningEffort', names.ATTR_GEN_AI_REQUEST_REASONING_LEVEL, 'string'],
  ['outputDimension', names.ATTR_GEN_AI_EMBEDDINGS_DIMENSION_COUNT, 'number'],
]);

/** The content of the interfaces, as far as a request has it. */
const CONTENT = ['messages', 'prediction', 'prompt', 'suffix', 'inputs', 'input'] as const;
/** What does not configure the model: the content, how the answer is delivered, and whom it is for. */
const NOT_CONFIGURATION: ReadonlySet<string> = new Set([
  ...CONTENT,
  'stream',
  'metadata',
  'promptCacheKey',
]);

const OUTPUT_TYPES: Readonly<Record<string, string>> = {
  text: names.GEN_AI_OUTPUT_TYPE_VALUE_TEXT,
  json_object: names.GEN_AI_OUTPUT_TYPE_VALUE_JSON,
  json_schema: names.GEN_AI_OUTPUT_TYPE_VALUE_JSON,
};

function describe(what: Function, { arguments: args }: CallMessage): AsyncCall {
  const [client, request, options] = [args?.[0], args?.[1], args?.[2]];
  const { operation } = what;
  const model = textOf(property(request, 'model'));
  const stop = property(request, 'stop');
  const tools = property(request, 'tools');
  const format = textOf(property(property(request, 'responseFormat'), 'type'));
  const outputType = OUTPUT_TYPES[format ?? ''];
  const address = property(options, 'serverURL') ?? property(client, '_baseURL');
  return {
    start: {
      name: model === undefined ? operation : `${operation} ${model}`,
      attributes: {
        [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
        ...serverOf(address, names.GEN_AI_PROVIDER_NAME_VALUE_MISTRAL_AI),
        ...fieldsOf(request, PARAMETERS),
        ...(what.isStream === true && { [names.ATTR_GEN_AI_REQUEST_STREAM]: true }),
        ...(stop !== undefined &&
          stop !== null && { [names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES]: [stop].flat() }),
        ...(outputType !== undefined && { [names.ATTR_GEN_AI_OUTPUT_TYPE]: outputType }),
      } as Attributes,
      input: () => ({
        content: Object.fromEntries(CONTENT.map((name) => [name, property(request, name)])),
        config: without(request, NOT_CONFIGURATION),
        messages: () => messagesOf(request),
        ...(tools !== undefined && { toolDefinitions: () => tools }),
      }),
    },
    answer: what.answer(request),
    signal: property(options, 'signal') ?? property(property(options, 'fetchOptions'), 'signal'),
  };
}

function messagesOf(request: unknown): unknown {
  const messages = property(request, 'messages') ?? property(request, 'inputs');
  const text = property(request, 'prompt') ?? property(request, 'inputs');
  return chatMessages(messages) ?? userMessages(text, property(request, 'suffix'));
}

const REPORTED = fields([
  ['id', names.ATTR_GEN_AI_RESPONSE_ID, 'string'],
  ['model', names.ATTR_GEN_AI_RESPONSE_MODEL, 'string'],
  ['usage.promptTokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
]);

function reportedOf(value: unknown): Attributes {
  const [first] = listOf(property(value, 'data'));
  const vector = property(first, 'embedding');
  return {
    ...fieldsOf(value, REPORTED),
    ...(Array.isArray(vector) && { [names.ATTR_GEN_AI_EMBEDDINGS_DIMENSION_COUNT]: vector.length }),
  };
}

/** The answer of a chat, which is that of openai's interface with its names in camel case and content in parts. */
class MistralAnswer implements Answer {
  private readonly chat: ChatAnswer;

  constructor(request: unknown) {
    this.chat = new ChatAnswer(request);
  }

  get isFinished(): boolean {
    return this.chat.isFinished;
  }

  get failure(): undefined {
    return this.chat.failure;
  }

  whole(value: unknown): void {
    this.chat.whole(Array.isArray(property(value, 'choices')) ? chatOf(value) : value);
  }

  chunk(event: unknown): void {
    this.chat.chunk(chatOf(property(event, 'data')));
  }

  attributes(): Attributes | undefined {
    return this.chat.attributes();
  }
}

function chatOf(value: unknown): unknown {
  const usage = property(value, 'usage');
  return {
    id: property(value, 'id'),
    model: property(value, 'model'),
    usage: {
      prompt_tokens: property(usage, 'promptTokens'),
      completion_tokens: property(usage, 'completionTokens'),
      prompt_tokens_details: property(usage, 'promptTokensDetails') ?? {},
    },
    choices: listOf(property(value, 'choices')).map((choice) => ({
      index: property(choice, 'index'),
      message: messageOf(property(choice, 'message')),
      delta: messageOf(property(choice, 'delta')),
      finish_reason: property(choice, 'finishReason'),
    })),
  };
}

function messageOf(message: unknown): unknown {
  const content = property(message, 'content');
  const calls = listOf(property(message, 'toolCalls'));
  return {
    role: property(message, 'role'),
    content: textOf(content) ?? joined(content, 'text'),
    reasoning_content: joined(content, 'thinking'),
    tool_calls: calls.map((call, position) => {
      const called = property(call, 'function');
      const args = property(called, 'arguments');
      return {
        // Each call of a whole answer says 0.
        index: property(call, 'index') || position,
        id: property(call, 'id'),
        function: {
          name: property(called, 'name'),
          arguments: textOf(args) ?? canonicalJson(args ?? {}),
        },
      };
    }),
  };
}

/** The text of the parts of one kind; that of thoughts lies a level deeper. */
function joined(content: unknown, type: 'text' | 'thinking'): string {
  return listOf(content)
    .map((part) => textOf(property(part, type)) ?? joined(property(part, type), 'text'))
    .join('');
}
