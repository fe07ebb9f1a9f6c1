// SPDX-License-Identifier: Apache-2.0
/**
 * `@langchain/core`, versions 0.3 and 1: calls of chat models and text models, runs of tools and of retrievers, whatever package
 * they come from. Adds no callback handler, since a model with one gives its messages other ids. What a model sends by an SDK
 * that is hooked, too, has a span of its own below.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Attributes } from '@opentelemetry/api';
import { SpanKind } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { chatMessages } from '../../semconv/messages.ts';
import {
  COMPLETE,
  hide,
  type Invocation,
  property,
  type Signals,
  startInvocation,
} from '../invocation.ts';
import { guard } from '../settings.ts';
import { watchIterator } from '../streams.ts';
import { channelOf, listen, type Target } from '../target.ts';
import { ToolAnswer, toolStart } from '../tool.ts';
import { runWithin, sdkErrorEnding, ValueAnswer, watchCall, watchHooked } from '../watch.ts';
import { LangchainAnswer, messageOf } from './langchain-answer.ts';
import { fields, fieldsOf, listOf, textOf, without } from './values.ts';

const NAME = '@langchain/core';

/** Where a model comes by before its own methods are called. */
const ENTRIES = [
  ['chat', 'dist/language_models/chat_models', 'BaseChatModel', '_generateUncached', 'Async'],
  ['chatStream', 'dist/language_models/chat_models', 'BaseChatModel', '_streamIterator', 'Sync'],
  ['chatEvents', 'dist/language_models/chat_models', 'BaseChatModel', 'streamEvents', 'Sync'],
  ['text', 'dist/language_models/llms', 'BaseLLM', '_generateUncached', 'Async'],
  ['textStream', 'dist/language_models/llms', 'BaseLLM', '_streamIterator', 'Sync'],
] as const;

export const langchainTarget: Target = {
  name: NAME,
  fromVersion: '0.3.0',
  belowVersion: '2.0.0',
  hooks: [
    ...ENTRIES.map(([channel, file, className, methodName, kind]) => ({
      channel,
      file,
      function: { className, methodName, kind },
    })),
    {
      channel: 'tool',
      file: 'dist/tools/index',
      function: { className: 'StructuredTool', methodName: 'call', kind: 'Async' },
    },
    {
      channel: 'retriever',
      file: 'dist/retrievers/index',
      function: { className: 'BaseRetriever', methodName: 'invoke', kind: 'Async' },
    },
  ],
  subscribe,
};

function subscribe(): void {
  for (const [channel] of ENTRIES) {
    listen(channelOf(NAME, channel).start, ({ self }) => {
      if (typeof self !== 'object' || self === null) return;
      const isChat = channel.startsWith('chat');
      for (const name of METHODS) watchMethod(self, name, isChat);
    });
  }
  watchHooked(NAME, 'tool', ({ self, arguments: args }) => {
    const call = property(args?.[1], 'toolCall') ?? args?.[0];
    const id = property(call, 'type') === 'tool_call' ? property(call, 'id') : undefined;
    const start = toolStart({
      name: property(self, 'name'),
      id,
      description: property(self, 'description'),
      arguments: property(args?.[0], 'type') === 'tool_call' ? property(call, 'args') : args?.[0],
    });
    const invocation = startInvocation(start, new ToolAnswer());
    return {
      invocation,
      signals: signalsOf(args?.[1]),
      // A message for the model, if the model asked; otherwise what the tool gave.
      succeeded: (result) =>
        invocation.endWhole(
          property(result, 'lc_serializable') === true ? property(result, 'content') : result,
        ),
    };
  });
  watchHooked(NAME, 'retriever', ({ self, arguments: args }) => {
    const operation = names.GEN_AI_OPERATION_NAME_VALUE_RETRIEVAL;
    const source = textOf(property(property(self, 'constructor'), 'name'));
    const k = property(self, 'k');
    const invocation = startInvocation(
      {
        name: source === undefined ? operation : `${operation} ${source}`,
        kind: SpanKind.INTERNAL,
        attributes: {
          [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
          ...(source !== undefined && { [names.ATTR_GEN_AI_DATA_SOURCE_ID]: source }),
          ...(typeof k === 'number' && { [names.ATTR_GEN_AI_RETRIEVAL_TOP_K]: k }),
        },
        input: () => ({ content: args?.[0] }),
      },
      new ValueAnswer((documents) => listOf(documents).map(documentOf)),
    );
    return {
      invocation,
      signals: signalsOf(args?.[1]),
      succeeded: (result) => invocation.endWhole(result),
    };
  });
}

function documentOf(document: unknown): unknown {
  const [content, metadata, id] = ['pageContent', 'metadata', 'id'].map((name) =>
    property(document, name),
  );
  return { content, metadata, id };
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

const METHODS = ['_generate', '_streamResponseChunks', '_streamChatModelEvents'] as const;

/** Methods that are ours. */
const watched = new WeakSet<object>();
/** The model whose call runs: what it calls of itself is the same call. */
const running = new AsyncLocalStorage<unknown>();

/**
 * Replaces a method of a model on the model itself, unless it is the base class's own: that a model has none of its own is how
 * the package knows that it can not stream.
 */
function watchMethod(model: object, name: string, isChat: boolean): void {
  for (
    let at: object | null = model;
    at !== null;
    at = Object.getPrototypeOf(at) as object | null
  ) {
    const method: unknown = Object.getOwnPropertyDescriptor(at, name)?.value;
    if (typeof method !== 'function') continue;
    if (watched.has(method) || Object.hasOwn(at, '_streamIterator')) return;
    const replacement = function (this: unknown, ...args: unknown[]): unknown {
      if (running.getStore() === this) return method.apply(this, args) as unknown;
      return callModel(method as Method, this, args, name, isChat);
    };
    watched.add(replacement);
    hide(model, name, replacement);
    return;
  }
}

function callModel(
  method: Method,
  model: unknown,
  args: unknown[],
  name: string,
  isChat: boolean,
): unknown {
  const isStream = name !== '_generate';
  const signals = guard('langchain.signals', () => signalsOf(args[1])) ?? [];
  const invocation = guard('langchain.start', () =>
    startCall(model, args[0], args[1], isChat, isStream),
  );
  const run = <Result>(work: () => Result): Result => running.run(model, work);
  if (invocation === undefined) return run(() => method.apply(model, args));
  if (!isStream) {
    return watchCall(invocation, () => run(() => method.apply(model, args)), {
      signals,
      succeeded: (result) => {
        invocation.endWhole(result);
        return undefined;
      },
    });
  }
  const iterator = run(() => method.apply(model, args));
  guard('langchain.stream', () =>
    watchIterator(iterator as AsyncIterator<unknown>, invocation, {
      isReader: always,
      hasEnd: never,
      signals,
      errorEnding: sdkErrorEnding,
      // It has done all it was going to do. Whether the provider had more to say is told by the span below.
      runOut: COMPLETE,
      run: (work) => runWithin(invocation, () => run(work)),
    }),
  );
  return iterator;
}

/** Functions of the module: one made beside the iterator would keep it. */
const always = (): boolean => true;
const never = (): boolean => false;

function signalsOf(options: unknown): Signals {
  const signal = property(options, 'signal');
  return [signal instanceof AbortSignal ? signal : undefined];
}

/** What LangChain models say of themselves to those who trace them. */
const DESCRIBED = fields([
  ['ls_temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['ls_max_tokens', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
]);

const PROVIDERS: Readonly<Record<string, string>> = {
  amazon_bedrock: names.GEN_AI_PROVIDER_NAME_VALUE_AWS_BEDROCK,
  azure: names.GEN_AI_PROVIDER_NAME_VALUE_AZURE_AI_OPENAI,
  google_genai: names.GEN_AI_PROVIDER_NAME_VALUE_GCP_GEMINI,
  google_vertexai: names.GEN_AI_PROVIDER_NAME_VALUE_GCP_VERTEX_AI,
  mistral: names.GEN_AI_PROVIDER_NAME_VALUE_MISTRAL_AI,
  xai: names.GEN_AI_PROVIDER_NAME_VALUE_X_AI,
};

/** What of the parameters is no configuration of the model. */
const NOT_CONFIGURATION: ReadonlySet<string> = new Set([
  'messages',
  'signal',
  'stream',
  'stream_options',
  'user',
  'metadata',
  'headers',
]);

function startCall(
  model: unknown,
  input: unknown,
  options: unknown,
  isChat: boolean,
  isStream: boolean,
): Invocation {
  const operation = isChat
    ? names.GEN_AI_OPERATION_NAME_VALUE_CHAT
    : names.GEN_AI_OPERATION_NAME_VALUE_TEXT_COMPLETION;
  const described = ask(model, 'getLsParams', options);
  const name =
    textOf(property(model, 'model')) ??
    textOf(property(model, 'modelName')) ??
    textOf(property(described, 'ls_model_name'));
  const provider = textOf(property(described, 'ls_provider'));
  const parameters = ask(model, 'invocationParams', options);
  const stop = listOf(property(options, 'stop')).filter((text) => typeof text === 'string');
  const tools = property(parameters, 'tools') ?? property(options, 'tools');
  const attributes: Attributes = {
    [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
    ...(provider !== undefined && {
      [names.ATTR_GEN_AI_PROVIDER_NAME]: PROVIDERS[provider] ?? provider,
    }),
    ...(name !== undefined && { [names.ATTR_GEN_AI_REQUEST_MODEL]: name }),
    ...(isStream && { [names.ATTR_GEN_AI_REQUEST_STREAM]: true }),
    ...fieldsOf(described, DESCRIBED),
    ...(stop.length > 0 && { [names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES]: stop as string[] }),
  };
  const messages = Array.isArray(input) && isChat ? input.map(messageOf) : undefined;
  return startInvocation(
    {
      name: name === undefined ? operation : `${operation} ${name}`,
      attributes,
      input: () => ({
        content: messages === undefined ? { prompts: input } : { messages },
        config: { model: name, ...without(parameters, NOT_CONFIGURATION) },
        ...(messages !== undefined && { messages: () => chatMessages(messages) }),
        ...(tools !== undefined && { toolDefinitions: () => tools }),
      }),
    },
    new LangchainAnswer(),
  );
}

/** Asks a model what it tells those who trace it. */
function ask(model: unknown, method: string, options: unknown): unknown {
  const tell = property(model, method);
  if (typeof tell !== 'function') return undefined;
  return guard(`langchain.${method}`, () => tell.call(model, options) as unknown);
}
