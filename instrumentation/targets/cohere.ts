// SPDX-License-Identifier: Apache-2.0
/**
 * The `cohere-ai` package, from 7.18 and 8.x: chat, embeddings and ranking of both of its interfaces, and the generation,
 * classification and summary of the former one. Jobs, audio and the parsing of documents are not seen.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { chatMessages } from '../../semconv/messages.ts';
import { type AsyncCall, type Outcome, watchAsyncCalls } from '../async-call.ts';
import { type Answer, property } from '../invocation.ts';
import type { CallMessage, Hook, Target } from '../target.ts';
import { ValueAnswer } from '../watch.ts';
import { CohereChatAnswer, ID, USAGE } from './cohere-answer.ts';
import { serverOf } from './server.ts';
import { fields, fieldsOf, listOf, textOf, userMessages, without } from './values.ts';

const NAME = 'cohere-ai';
/** Where the package goes unless it is told otherwise. */
const ADDRESS = 'https://api.cohere.com';

/** What a method of a client does. */
interface Method {
  readonly operation: string;
  readonly isStream?: boolean;
  readonly answer: () => Answer;
}

const chat = (isStream: boolean): Method => ({
  operation: names.GEN_AI_OPERATION_NAME_VALUE_CHAT,
  isStream,
  answer: () => new CohereChatAnswer(),
});
const valued = (operation: string, key: string): Method => ({
  operation,
  answer: () => new ValueAnswer((value) => property(value, key) ?? value, reportedOf),
});

const METHODS: Readonly<Record<string, Method>> = {
  chat: chat(false),
  chatStream: chat(true),
  embed: valued(names.GEN_AI_OPERATION_NAME_VALUE_EMBEDDINGS, 'embeddings'),
  rerank: valued('rerank', 'results'),
};

/** What only the former interface has. */
const FORMER_METHODS: Readonly<Record<string, Method>> = {
  ...METHODS,
  generate: valued(names.GEN_AI_OPERATION_NAME_VALUE_TEXT_COMPLETION, 'generations'),
  generateStream: {
    ...chat(true),
    operation: names.GEN_AI_OPERATION_NAME_VALUE_TEXT_COMPLETION,
  },
  classify: valued('classify', 'classifications'),
  summarize: valued(names.GEN_AI_OPERATION_NAME_VALUE_TEXT_COMPLETION, 'summary'),
};

/** A public method gives a promise that is read lazily; it asks this one at once. */
function hookOf(version: string, file: string, className: string, method: string): Hook {
  const channel = `${version}-${method}`;
  return { channel, file, function: { className, methodName: `__${method}`, kind: 'Async' } };
}

export const cohereTarget: Target = {
  name: NAME,
  fromVersion: '7.18.0',
  belowVersion: '9.0.0',
  hooks: [
    ...Object.keys(METHODS).map((method) =>
      hookOf('v2', 'api/resources/v2/client/Client', 'V2Client', method),
    ),
    ...Object.keys(FORMER_METHODS).map((method) => hookOf('v1', 'Client', 'CohereClient', method)),
  ],
  subscribe: () => {
    for (const [version, methods] of [
      ['v2', METHODS],
      ['v1', FORMER_METHODS],
    ] as const) {
      for (const [name, method] of Object.entries(methods)) {
        watchAsyncCalls(NAME, `${version}-${name}`, (message) => describe(method, message), {
          outcomeOf,
          isTimeout,
        });
      }
    }
  },
};

/** The answer stands beside the response it came with. */
function outcomeOf(result: unknown): Outcome {
  return { value: property(result, 'data') };
}

/** The reason that the package aborts a request for; 7.x has it in the message alone. */
function isTimeout(error: unknown): boolean {
  return property(error, 'cause') === 'timeout' || property(error, 'message') === '"timeout"';
}

const PARAMETERS = fields([
  ['model', names.ATTR_GEN_AI_REQUEST_MODEL, 'string'],
  ['maxTokens', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['k', names.ATTR_GEN_AI_REQUEST_TOP_K, 'number'],
  ['p', names.ATTR_GEN_AI_REQUEST_TOP_P, 'number'],
  ['seed', names.ATTR_GEN_AI_REQUEST_SEED, 'number'],
  ['frequencyPenalty', names.ATTR_GEN_AI_REQUEST_FREQUENCY_PENALTY, 'number'],
  ['presencePenalty', names.ATTR_GEN_AI_REQUEST_PRESENCE_PENALTY, 'number'],
  ['numGenerations', names.ATTR_GEN_AI_REQUEST_CHOICE_COUNT, 'number'],
  ['conversationId', names.ATTR_GEN_AI_CONVERSATION_ID, 'string'],
]);

/** The content of the interfaces, as far as a request has it. */
const CONTENT = [
  'messages',
  'message',
  'preamble',
  'chatHistory',
  'documents',
  'toolResults',
  'texts',
  'images',
  'inputs',
  'query',
  'prompt',
  'text',
  'examples',
] as const;
/** What does not configure the model: the content, and how the answer is delivered. */
const NOT_CONFIGURATION: ReadonlySet<string> = new Set([
  ...CONTENT,
  'accepts',
  'conversationId',
  'priority',
]);

function describe(method: Method, { arguments: args, self }: CallMessage): AsyncCall {
  const [request, options] = [args?.[0], args?.[1]];
  const { operation } = method;
  const model = textOf(property(request, 'model'));
  const stop = property(request, 'stopSequences');
  const system = property(request, 'preamble');
  const tools = property(request, 'tools');
  const types = property(request, 'embeddingTypes');
  const format = textOf(property(property(request, 'responseFormat'), 'type'));
  return {
    start: {
      name: model === undefined ? operation : `${operation} ${model}`,
      attributes: {
        [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
        ...serverOf(addressOf(self), names.GEN_AI_PROVIDER_NAME_VALUE_COHERE),
        ...fieldsOf(request, PARAMETERS),
        ...(method.isStream === true && { [names.ATTR_GEN_AI_REQUEST_STREAM]: true }),
        ...(Array.isArray(stop) && { [names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES]: stop }),
        ...(Array.isArray(types) && { [names.ATTR_GEN_AI_REQUEST_ENCODING_FORMATS]: types }),
        ...(format === 'json_object' && {
          [names.ATTR_GEN_AI_OUTPUT_TYPE]: names.GEN_AI_OUTPUT_TYPE_VALUE_JSON,
        }),
      },
      input: () => ({
        content: Object.fromEntries(CONTENT.map((name) => [name, property(request, name)])),
        config: without(request, NOT_CONFIGURATION),
        messages: () => messagesOf(request),
        ...(system !== undefined && {
          systemInstructions: () => [{ type: 'text', content: system }],
        }),
        ...(tools !== undefined && { toolDefinitions: () => tools }),
      }),
    },
    answer: method.answer(),
    signal: property(options, 'abortSignal'),
  };
}

/** An address that the application gives as a function is not asked for. */
function addressOf(client: unknown): unknown {
  const options = property(client, '_options');
  return property(options, 'baseUrl') ?? property(options, 'environment') ?? ADDRESS;
}

function messagesOf(request: unknown): unknown {
  const history = listOf(property(request, 'chatHistory')).map((message) => ({
    role: property(message, 'role'),
    parts: [{ type: 'text', content: property(message, 'message') }],
  }));
  const asked = ['message', 'prompt', 'query', 'text', 'texts', 'inputs'];
  return (
    chatMessages(property(request, 'messages')) ?? [
      ...history,
      ...userMessages(...asked.map((name) => property(request, name))),
    ]
  );
}

function reportedOf(value: unknown): Attributes {
  const embeddings = property(value, 'embeddings');
  const lists = Array.isArray(embeddings) ? [embeddings] : Object.values(embeddings ?? {});
  const vector = lists.map((list) => listOf(list)[0]).find((first) => Array.isArray(first));
  return {
    ...fieldsOf(value, ID),
    ...fieldsOf(property(value, 'meta'), USAGE),
    ...(Array.isArray(vector) && { [names.ATTR_GEN_AI_EMBEDDINGS_DIMENSION_COUNT]: vector.length }),
  };
}
