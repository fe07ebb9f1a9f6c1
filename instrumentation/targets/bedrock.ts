// SPDX-License-Identifier: Apache-2.0
/**
 * `@aws-sdk/client-bedrock-runtime`: `Converse` and `InvokeModel`, whole and streamed, by a middleware in each client, which is what
 * the package has for this. The bidirectional stream and jobs that run on are not seen.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import {
  hide,
  type Invocation,
  type InvocationStart,
  property,
  startInvocation,
} from '../invocation.ts';
import { countProblem, guard } from '../settings.ts';
import { watchIterable } from '../streams.ts';
import { channelOf, listen, type Target } from '../target.ts';
import { sdkErrorEnding, watchCall } from '../watch.ts';
import { MessageAnswer } from './anthropic.ts';
import { BodyAnswer, ConverseAnswer, jsonOf, partsOf } from './bedrock-answer.ts';
import { serverOf } from './server.ts';
import { fields, fieldsOf, listOf, textOf, without } from './values.ts';

const NAME = '@aws-sdk/client-bedrock-runtime';

export const bedrockTarget: Target = {
  name: NAME,
  fromVersion: '3.422.0',
  belowVersion: '4.0.0',
  hooks: [
    {
      channel: 'client',
      file: '(?:dist-cjs/index|dist-es/BedrockRuntimeClient)',
      function: { className: 'BedrockRuntimeClient', methodName: 'constructor', kind: 'Sync' },
    },
  ],
  subscribe,
};

type Next = (args: unknown) => Promise<unknown>;

/** What the application gave beside the command that is being sent. */
const sending = new AsyncLocalStorage<unknown>();

function subscribe(): void {
  listen(channelOf(NAME, 'client').end, ({ self }) => {
    if (typeof self !== 'object' || self === null) return;
    const stack = property(self, 'middlewareStack');
    const add = property(stack, 'add');
    if (typeof add !== 'function') {
      countProblem('bedrock.client');
      return;
    }
    add.call(
      stack,
      (next: Next, context: unknown) => (args: unknown) => send(next, context, args),
      // Outermost, so that retries are within one call.
      { step: 'initialize', priority: 'high', name: 'sealspan', override: true },
    );
    // A middleware is not told of the application's signal.
    hide(self, 'send', function (this: object, command: unknown, ...rest: unknown[]): unknown {
      // Looked up with each call, since tests put another in its place there.
      const { send } = Object.getPrototypeOf(this) as { send(...args: unknown[]): unknown };
      return sending.run(rest[0], () => send.call(this, command, ...rest));
    });
  });
}

function send(next: Next, context: unknown, args: unknown): Promise<unknown> {
  const started = guard('bedrock.start', () =>
    startCall(textOf(property(context, 'commandName')) ?? '', property(args, 'input')),
  );
  if (started === undefined) return next(args);
  const { invocation, isStream } = started;
  const signal = property(sending.getStore(), 'abortSignal');
  const signals = [signal instanceof AbortSignal ? signal : undefined];
  const tell = (metadata: unknown): void => {
    const url = property(property(context, 'endpointV2'), 'url');
    const attempts = property(metadata, 'attempts');
    invocation.annotate({
      ...serverOf(url, names.GEN_AI_PROVIDER_NAME_VALUE_AWS_BEDROCK),
      [names.ATTR_GEN_AI_PROVIDER_NAME]: names.GEN_AI_PROVIDER_NAME_VALUE_AWS_BEDROCK,
      ...(typeof attempts === 'number' &&
        attempts > 1 && { [names.ATTR_HTTP_REQUEST_RESEND_COUNT]: attempts - 1 }),
    });
  };
  return watchCall(invocation, () => next(args), {
    signals,
    errorEnding: (error) => {
      guard('bedrock.error', () => tell(property(error, '$metadata')));
      return sdkErrorEnding(error, signals);
    },
    succeeded: (result) => {
      const output = property(result, 'output');
      guard('bedrock.answer', () => tell(property(output, '$metadata')));
      const stream = property(output, 'stream') ?? property(output, 'body');
      if (isStream && typeof stream === 'object' && stream !== null) {
        watchIterable(stream, Symbol.asyncIterator, invocation, {
          signals,
          errorEnding: sdkErrorEnding,
        });
      } else {
        const headers = property(property(result, 'response'), 'headers');
        invocation.endWhole({ output, headers });
      }
      return undefined;
    },
  }) as Promise<unknown>;
}

function startCall(
  command: string,
  input: unknown,
): { readonly invocation: Invocation; readonly isStream: boolean } | undefined {
  const model = textOf(property(input, 'modelId'));
  switch (command) {
    case 'ConverseCommand':
    case 'ConverseStreamCommand': {
      const isStream = command === 'ConverseStreamCommand';
      const start = converseStart(model, input, isStream);
      return { invocation: startInvocation(start, new ConverseAnswer()), isStream };
    }
    case 'InvokeModelCommand':
    case 'InvokeModelWithResponseStreamCommand': {
      const isStream = command === 'InvokeModelWithResponseStreamCommand';
      const body = jsonOf(property(input, 'body'));
      // The one family whose own interface is spoken through this.
      const isAnthropic = property(body, 'anthropic_version') !== undefined;
      const answer = new BodyAnswer(isAnthropic ? new MessageAnswer() : undefined);
      return { invocation: startInvocation(invokeStart(model, body, isStream), answer), isStream };
    }
    default:
      return undefined;
  }
}

const PARAMETERS = fields([
  ['inferenceConfig.maxTokens', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['inferenceConfig.temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['inferenceConfig.topP', names.ATTR_GEN_AI_REQUEST_TOP_P, 'number'],
  ['max_tokens', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['max_gen_len', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['top_p', names.ATTR_GEN_AI_REQUEST_TOP_P, 'number'],
  ['top_k', names.ATTR_GEN_AI_REQUEST_TOP_K, 'number'],
  ['textGenerationConfig.maxTokenCount', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['textGenerationConfig.temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['textGenerationConfig.topP', names.ATTR_GEN_AI_REQUEST_TOP_P, 'number'],
]);

function attributesOf(
  operation: string,
  model: string | undefined,
  body: unknown,
  stop: unknown,
  isStream: boolean,
): Attributes {
  const stopSequences = listOf(stop).filter((text) => typeof text === 'string');
  return {
    [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
    [names.ATTR_GEN_AI_PROVIDER_NAME]: names.GEN_AI_PROVIDER_NAME_VALUE_AWS_BEDROCK,
    ...(model !== undefined && { [names.ATTR_GEN_AI_REQUEST_MODEL]: model }),
    ...(isStream && { [names.ATTR_GEN_AI_REQUEST_STREAM]: true }),
    ...fieldsOf(body, PARAMETERS),
    ...(stopSequences.length > 0 && {
      [names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES]: stopSequences as string[],
    }),
  };
}

const CONVERSE_CONTENT: ReadonlySet<string> = new Set(['messages', 'system', 'promptVariables']);
const NOT_CONVERSE_CONFIGURATION: ReadonlySet<string> = new Set([
  ...CONVERSE_CONTENT,
  'requestMetadata',
]);

function converseStart(
  model: string | undefined,
  input: unknown,
  isStream: boolean,
): InvocationStart {
  const operation = names.GEN_AI_OPERATION_NAME_VALUE_CHAT;
  const system = property(input, 'system');
  const tools = property(property(input, 'toolConfig'), 'tools');
  const stop = property(property(input, 'inferenceConfig'), 'stopSequences');
  return {
    name: model === undefined ? operation : `${operation} ${model}`,
    attributes: attributesOf(operation, model, input, stop, isStream),
    input: () => ({
      content: Object.fromEntries(
        [...CONVERSE_CONTENT].map((name) => [name, property(input, name)]),
      ),
      config: without(input, NOT_CONVERSE_CONFIGURATION),
      messages: () =>
        listOf(property(input, 'messages')).map((message) => ({
          role: property(message, 'role'),
          parts: partsOf(property(message, 'content')),
        })),
      ...(system !== undefined && { systemInstructions: () => partsOf(system) }),
      ...(tools !== undefined && { toolDefinitions: () => tools }),
    }),
  };
}

/** What of the bodies of the known families is content; of an unknown family, nothing is told apart. */
const BODY_CONTENT: ReadonlySet<string> = new Set([
  'messages',
  'system',
  'prompt',
  'inputText',
  'inputImage',
  'texts',
  'images',
  'message',
  'chat_history',
  'documents',
  'query',
  'preamble',
  'taskParams',
]);

function invokeStart(model: string | undefined, body: unknown, isStream: boolean): InvocationStart {
  const content = Object.fromEntries(
    [...BODY_CONTENT]
      .map((name) => [name, property(body, name)])
      .filter(([, value]) => value !== undefined),
  ) as Readonly<Record<string, unknown>>;
  const isKnown = Object.keys(content).length > 0;
  const operation = operationOf(model, content);
  const tools = property(body, 'tools');
  const stop = property(body, 'stop_sequences') ?? property(body, 'stop');
  return {
    name: model === undefined ? operation : `${operation} ${model}`,
    attributes: attributesOf(operation, model, body, stop, isStream),
    input: () => ({
      content: isKnown ? content : body,
      config: { modelId: model, ...(isKnown && without(body, BODY_CONTENT)) },
      messages: () =>
        listOf(content.messages).map((message) => ({
          role: property(message, 'role'),
          parts: partsOf(property(message, 'content')),
        })),
      ...(tools !== undefined && { toolDefinitions: () => tools }),
    }),
  };
}

function operationOf(
  model: string | undefined,
  { messages, message, prompt, inputText }: Readonly<Record<string, unknown>>,
): string {
  if (messages !== undefined || message !== undefined)
    return names.GEN_AI_OPERATION_NAME_VALUE_CHAT;
  if (model?.includes('embed') === true) return names.GEN_AI_OPERATION_NAME_VALUE_EMBEDDINGS;
  return prompt === undefined && inputText === undefined
    ? names.GEN_AI_OPERATION_NAME_VALUE_GENERATE_CONTENT
    : names.GEN_AI_OPERATION_NAME_VALUE_TEXT_COMPLETION;
}
