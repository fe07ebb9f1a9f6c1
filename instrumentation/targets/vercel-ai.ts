// SPDX-License-Identifier: Apache-2.0
/**
 * The `ai` package, versions 5 to 7: each call of a model at the border to its provider, whatever function of the package it
 * comes from, and each tool that 6 and 7 run. Does not go by the package's own telemetry, which a call can turn off or empty.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { chatMessages } from '../../semconv/messages.ts';
import { hide, type Invocation, property, type Signals, startInvocation } from '../invocation.ts';
import { countProblem, guard } from '../settings.ts';
import { channelOf, listen, type Target } from '../target.ts';
import { ToolAnswer, toolStart } from '../tool.ts';
import { sdkErrorEnding, ValueAnswer, watchCall, watchHooked } from '../watch.ts';
import { watchReadable } from '../web-stream.ts';
import { fields, fieldsOf, listOf, textOf, without } from './values.ts';
import { LanguageAnswer } from './vercel-ai-answer.ts';

const NAME = 'ai';

/** The package asks these for the model of a call, once per call or step. */
const RESOLVERS = {
  resolveLanguageModel: 'language',
  resolveEmbeddingModel: 'embedding',
  resolveRerankingModel: 'reranking',
  resolveDecisionModel: 'decision',
  resolveImageModel: 'image',
  resolveSpeechModel: 'speech',
  resolveTranscriptionModel: 'transcription',
} as const;

type Kind = (typeof RESOLVERS)[keyof typeof RESOLVERS];

export const vercelAiTarget: Target = {
  name: NAME,
  fromVersion: '5.0.0',
  belowVersion: '8.0.0',
  hooks: [
    ...Object.keys(RESOLVERS).map((functionName) => ({
      channel: functionName,
      file: 'dist/index',
      function: { functionName, kind: 'Sync' as const },
    })),
    {
      channel: 'executeToolCall',
      file: 'dist/index',
      function: { functionName: 'executeToolCall', kind: 'Async' },
    },
  ],
  subscribe,
};

function subscribe(): void {
  for (const [resolver, kind] of Object.entries(RESOLVERS)) {
    listen(channelOf(NAME, resolver).end, (message: { result?: unknown }) => {
      const { result } = message;
      if (typeof result !== 'object' || result === null) return;
      if (Object.isExtensible(result)) {
        for (const method of METHODS[kind]) watchMethod(result, method, kind);
      } else {
        message.result = standInFor(result, kind);
      }
    });
  }
  watchTools();
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

const METHODS: Readonly<Record<Kind, readonly string[]>> = {
  language: ['doGenerate', 'doStream'],
  embedding: ['doEmbed'],
  reranking: ['doRerank'],
  decision: ['doDecide'],
  image: ['doGenerate'],
  speech: ['doGenerate'],
  transcription: ['doGenerate'],
};

/** Methods that are ours. */
const watched = new WeakSet<object>();

/**
 * Replaces a method of a model on the model itself, so that it stays the object the application knows. The package wraps models
 * of older make into proxies that answer with a converted method, so the method is taken from where it is kept.
 */
function watchMethod(model: object, name: string, kind: Kind): void {
  const method = methodOf(model, name);
  if (method === undefined || watched.has(method)) return;
  const replacement = function (this: unknown, ...args: unknown[]): unknown {
    return callModel(method, this ?? model, args, name, kind);
  };
  watched.add(replacement);
  hide(model, name, replacement);
}

/** What the package gets in place of models that nothing can be replaced on, by model; and of each of these, itself. */
const standIns = new WeakMap<object, object>();

function standInFor(model: object, kind: Kind): object {
  const known = standIns.get(model);
  if (known !== undefined) return known;
  const methods = new Map<PropertyKey, unknown>();
  for (const name of METHODS[kind]) {
    const method = methodOf(model, name);
    if (method === undefined) continue;
    // A proxy has to answer with it.
    if (Object.hasOwn(model, name)) countProblem('ai.model');
    else methods.set(name, (...args: unknown[]) => callModel(method, model, args, name, kind));
  }
  const standIn = new Proxy(model, {
    get: (target, name) => methods.get(name) ?? (Reflect.get(target, name, target) as unknown),
  });
  standIns.set(model, standIn);
  standIns.set(standIn, standIn);
  return standIn;
}

function methodOf(model: object, name: string): Method | undefined {
  for (
    let at: object | null = model;
    at !== null;
    at = Object.getPrototypeOf(at) as object | null
  ) {
    const descriptor = Object.getOwnPropertyDescriptor(at, name);
    if (descriptor === undefined) continue;
    return typeof descriptor.value === 'function' ? (descriptor.value as Method) : undefined;
  }
  return undefined;
}

function callModel(
  method: Method,
  model: unknown,
  args: unknown[],
  name: string,
  kind: Kind,
): unknown {
  const started = guard('ai.start', () => startCall(model, args[0], name, kind));
  if (started === undefined) return method.apply(model, args);
  const { invocation, signals } = started;
  return watchCall(invocation, () => method.apply(model, args), {
    signals,
    succeeded: (result) => {
      const stream = property(result, 'stream');
      if (stream instanceof ReadableStream) {
        return { ...(result as object), stream: watchReadable(stream, invocation, signals) };
      }
      invocation.endWhole(result);
      return undefined;
    },
  });
}

const PARAMETERS = fields([
  ['maxOutputTokens', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['topP', names.ATTR_GEN_AI_REQUEST_TOP_P, 'number'],
  ['topK', names.ATTR_GEN_AI_REQUEST_TOP_K, 'number'],
  ['topN', names.ATTR_GEN_AI_RETRIEVAL_TOP_K, 'number'],
  ['frequencyPenalty', names.ATTR_GEN_AI_REQUEST_FREQUENCY_PENALTY, 'number'],
  ['presencePenalty', names.ATTR_GEN_AI_REQUEST_PRESENCE_PENALTY, 'number'],
  ['seed', names.ATTR_GEN_AI_REQUEST_SEED, 'number'],
  ['n', names.ATTR_GEN_AI_REQUEST_CHOICE_COUNT, 'number'],
  ['reasoning', names.ATTR_GEN_AI_REQUEST_REASONING_LEVEL, 'string'],
]);

const REPORTED = fields([
  ['response.id', names.ATTR_GEN_AI_RESPONSE_ID, 'string'],
  ['response.modelId', names.ATTR_GEN_AI_RESPONSE_MODEL, 'string'],
  ['usage.tokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['usage.inputTokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['usage.outputTokens', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
]);

/** What each kind is called, what of its options is the content, and what of its result. */
const KINDS: Readonly<
  Record<Kind, { operation: string; content: readonly string[]; result?: string; output?: string }>
> = {
  language: { operation: names.GEN_AI_OPERATION_NAME_VALUE_CHAT, content: ['prompt'] },
  embedding: {
    operation: names.GEN_AI_OPERATION_NAME_VALUE_EMBEDDINGS,
    content: ['values'],
    result: 'embeddings',
  },
  reranking: { operation: 'rerank', content: ['documents', 'query'], result: 'ranking' },
  decision: { operation: 'decide', content: ['state', 'questions'], result: 'answers' },
  image: {
    operation: names.GEN_AI_OPERATION_NAME_VALUE_GENERATE_CONTENT,
    content: ['prompt', 'files', 'mask'],
    result: 'images',
    output: names.GEN_AI_OUTPUT_TYPE_VALUE_IMAGE,
  },
  speech: {
    operation: names.GEN_AI_OPERATION_NAME_VALUE_GENERATE_CONTENT,
    content: ['text', 'instructions'],
    result: 'audio',
    output: names.GEN_AI_OUTPUT_TYPE_VALUE_SPEECH,
  },
  transcription: {
    operation: names.GEN_AI_OPERATION_NAME_VALUE_GENERATE_CONTENT,
    content: ['audio'],
    result: 'text',
    output: names.GEN_AI_OUTPUT_TYPE_VALUE_TEXT,
  },
};

/** What neither is content nor configures the model. */
const DELIVERY = ['abortSignal', 'headers', 'includeRawChunks'];

function startCall(
  model: unknown,
  options: unknown,
  method: string,
  kind: Kind,
): { readonly invocation: Invocation; readonly signals: Signals } {
  const { operation, content, result, output } = KINDS[kind];
  const modelId = textOf(property(model, 'modelId'));
  const signal = property(options, 'abortSignal');
  const tools = property(options, 'tools');
  const prompt = property(options, 'prompt');
  const stop = listOf(property(options, 'stopSequences')).filter(
    (text): text is string => typeof text === 'string',
  );
  const isJson = property(property(options, 'responseFormat'), 'type') === 'json';
  const outputType = isJson ? names.GEN_AI_OUTPUT_TYPE_VALUE_JSON : output;
  const answer =
    kind === 'language'
      ? new LanguageAnswer()
      : new ValueAnswer(
          (value) => (result === undefined ? value : property(value, result)),
          (value) => fieldsOf(value, REPORTED),
        );
  const invocation = startInvocation(
    {
      name: modelId === undefined ? operation : `${operation} ${modelId}`,
      attributes: {
        [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
        ...providerOf(textOf(property(model, 'provider'))),
        ...(modelId !== undefined && { [names.ATTR_GEN_AI_REQUEST_MODEL]: modelId }),
        ...(method === 'doStream' && { [names.ATTR_GEN_AI_REQUEST_STREAM]: true }),
        ...fieldsOf(options, PARAMETERS),
        ...(stop.length > 0 && { [names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES]: stop }),
        ...(outputType !== undefined && { [names.ATTR_GEN_AI_OUTPUT_TYPE]: outputType }),
      },
      input: () => ({
        content: Object.fromEntries(content.map((name) => [name, property(options, name)])),
        config: {
          model: modelId,
          ...without(options, new Set([...content, ...DELIVERY])),
        },
        ...(kind === 'language' && { messages: () => chatMessages(prompt) }),
        ...(tools !== undefined && { toolDefinitions: () => tools }),
      }),
    },
    answer,
  );
  return { invocation, signals: [signal instanceof AbortSignal ? signal : undefined] };
}

/** The names that providers of the package have, by their first word, where the conventions have another. */
const PROVIDERS: Readonly<Record<string, string>> = {
  'amazon-bedrock': names.GEN_AI_PROVIDER_NAME_VALUE_AWS_BEDROCK,
  bedrock: names.GEN_AI_PROVIDER_NAME_VALUE_AWS_BEDROCK,
  azure: names.GEN_AI_PROVIDER_NAME_VALUE_AZURE_AI_OPENAI,
  'azure-openai': names.GEN_AI_PROVIDER_NAME_VALUE_AZURE_AI_OPENAI,
  google: names.GEN_AI_PROVIDER_NAME_VALUE_GCP_GEMINI,
  mistral: names.GEN_AI_PROVIDER_NAME_VALUE_MISTRAL_AI,
  moonshotai: names.GEN_AI_PROVIDER_NAME_VALUE_MOONSHOT_AI,
  vertex: names.GEN_AI_PROVIDER_NAME_VALUE_GCP_VERTEX_AI,
  xai: names.GEN_AI_PROVIDER_NAME_VALUE_X_AI,
};

/** The package names a provider with its interface behind a dot: `openai.responses`. */
function providerOf(provider: string | undefined): Attributes {
  if (provider === undefined || provider === '') return {};
  const [first = provider] = provider.split('.', 1);
  const isVertex = provider.startsWith('google.vertex');
  return { [names.ATTR_GEN_AI_PROVIDER_NAME]: PROVIDERS[isVertex ? 'vertex' : first] ?? first };
}

function watchTools(): void {
  watchHooked(NAME, 'executeToolCall', (message) => {
    const call = property(message.arguments?.[0], 'toolCall');
    const toolName = property(call, 'toolName');
    const tools = property(message.arguments?.[0], 'tools');
    const tool = typeof toolName === 'string' ? property(tools, toolName) : undefined;
    // A tool without a function is the application's to run, later and elsewhere.
    if (typeof property(tool, 'execute') !== 'function') return undefined;
    const start = toolStart({
      name: toolName,
      id: property(call, 'toolCallId'),
      description: property(tool, 'description'),
      arguments: property(call, 'input'),
    });
    const signal = property(message.arguments?.[0], 'abortSignal');
    const invocation = startInvocation(start, new ToolAnswer());
    return {
      invocation,
      succeeded: (result) => {
        // Version 6 gives the output, 7 an object that holds it.
        const output = property(result, 'type') === undefined ? property(result, 'output') : result;
        if (property(output, 'type') === 'tool-error') {
          const signals = [signal instanceof AbortSignal ? signal : undefined];
          invocation.end(sdkErrorEnding(property(output, 'error'), signals));
        } else {
          invocation.endWhole(property(output, 'output'));
        }
      },
    };
  });
}
