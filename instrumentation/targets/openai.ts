// SPDX-License-Identifier: Apache-2.0
/**
 * The `openai` package, versions 6 and 7: chat completions and responses, in every way to call and to read them.
 * Other resources of the package (embeddings, audio, realtime) are not seen.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { ApiCall, watchApiPromise } from '../api-promise.ts';
import {
  type Answer,
  errorEnding,
  hide,
  type InvocationStart,
  property,
  startInvocation,
} from '../invocation.ts';
import { guard } from '../settings.ts';
import { bindContext, type CallMessage, channelOf, hold, listen, type Target } from '../target.ts';
import { ChatAnswer, chatStart } from './openai-chat.ts';
import { ResponsesAnswer, responsesStart } from './openai-responses.ts';

const NAME = 'openai';

export const openaiTarget: Target = {
  name: NAME,
  fromVersion: '6.0.0',
  belowVersion: '8.0.0',
  hooks: [
    {
      channel: 'chat',
      file: 'resources/chat/completions/completions',
      function: { className: 'Completions', methodName: 'create', kind: 'Sync' },
    },
    {
      channel: 'responses',
      file: 'resources/responses/responses',
      function: { className: 'Responses', methodName: 'create', kind: 'Sync' },
    },
    {
      channel: 'request',
      file: 'client',
      function: { className: 'OpenAI', methodName: 'makeRequest', kind: 'Async' },
    },
    {
      channel: 'events',
      file: 'core/streaming',
      function: { functionName: '_iterSSEMessages', kind: 'Sync' },
    },
  ],
  subscribe,
};

/** The call that the code at hand runs for: in `create`, and in all that it starts. */
const activeCall = new AsyncLocalStorage<ApiCall | undefined>();
/** The call that a raw response belongs to. */
const callOfResponse = new WeakMap<object, ApiCall>();
/** The requests that belong to a call; whether one is the first, whose outcome is that of its retries. */
const requests = new WeakMap<CallMessage, { readonly call: ApiCall; readonly isFirst: boolean }>();

function subscribe(): void {
  const request = channelOf(NAME, 'request');
  const bindRequests = bindContext(
    request.start,
    (message) => requestOf(message)?.call.invocation.context,
  );
  listen(request.start, (message) => requestOf(message));
  listen(request.asyncEnd, (message) => endRequest(message));
  listen(channelOf(NAME, 'events').end, (message) => watchEvents(message));
  watchCreate('chat', (body, server) => ({
    start: chatStart(body, server),
    answer: new ChatAnswer(body),
  }));
  watchCreate('responses', (body, server) => ({
    start: responsesStart(body, server),
    answer: new ResponsesAnswer(),
  }));

  function watchCreate(
    name: string,
    describe: (body: unknown, server: Attributes) => { start: InvocationStart; answer: Answer },
  ): void {
    const calls = new WeakMap<CallMessage, ApiCall>();
    const channel = channelOf(NAME, name);
    hold(channel.start, activeCall, (message) => {
      const { start, answer } = describe(message.arguments?.[0], serverOf(message.self));
      const signal = property(message.arguments?.[1], 'signal');
      const invocation = startInvocation(start, answer);
      // After the start, which may have brought a provider and its context manager with it.
      bindRequests();
      const call = new ApiCall(invocation, signal instanceof AbortSignal ? signal : undefined);
      calls.set(message, call);
      return call;
    });
    listen(channel.end, (message) => {
      const call = calls.get(message);
      if (call === undefined) return;
      if (message.error !== undefined) call.invocation.end(errorEnding(message.error));
      else watchApiPromise(message.result, call);
    });
  }
}

/**
 * The call a request belongs to: its first request, or one that says it is a retry. Any other request made while a call
 * runs, say by the application's own `fetch`, is none of the call's.
 */
function requestOf(message: CallMessage): { call: ApiCall; isFirst: boolean } | undefined {
  const known = requests.get(message);
  if (known !== undefined) return known;
  const call = activeCall.getStore();
  const isRetry = message.arguments?.[2] !== undefined;
  if (call === undefined || (call.hasAttempts && !isRetry)) return undefined;
  const request = { call, isFirst: call.attempt() };
  requests.set(message, request);
  return request;
}

function endRequest(message: CallMessage): void {
  const request = requests.get(message);
  if (request === undefined || !request.isFirst) return;
  const { call } = request;
  if (message.error !== undefined) {
    call.failed(message.error);
    return;
  }
  const { result } = message;
  const response = property(result, 'response');
  if (typeof response === 'object' && response !== null) callOfResponse.set(response, call);
  const signals = [
    ...call.signals,
    property(property(result, 'options'), 'signal'),
    property(property(result, 'controller'), 'signal'),
  ].filter((signal) => signal instanceof AbortSignal);
  call.headers([...new Set(signals)]);
}

/** Sees the `[DONE]` that ends a stream of chunks and that the SDK keeps to itself. */
function watchEvents(message: CallMessage): void {
  const response = message.arguments?.[0];
  const call =
    typeof response === 'object' && response !== null ? callOfResponse.get(response) : undefined;
  const events = message.result;
  const next = property(events, 'next');
  if (call === undefined || typeof next !== 'function') return;
  hide(events as object, 'next', function (this: unknown, ...args: unknown[]) {
    const step = next.apply(this, args) as Promise<unknown>;
    guard('openai.events', () => {
      // The SDK awaits the same promise, so a rejection is not hidden from it.
      void step.then(
        (result) => {
          const data = property(property(result, 'value'), 'data');
          if (typeof data === 'string' && data.startsWith('[DONE]')) call.hasEndMark = true;
        },
        () => {},
      );
    });
    return step;
  });
}

/** Providers that speak this interface, by the end of the host name. Any other host is named as the package is. */
const PROVIDERS: readonly (readonly [hostEnd: string, provider: string])[] = [
  ['.openai.azure.com', names.GEN_AI_PROVIDER_NAME_VALUE_AZURE_AI_OPENAI],
  ['.cognitiveservices.azure.com', names.GEN_AI_PROVIDER_NAME_VALUE_AZURE_AI_OPENAI],
  ['.services.ai.azure.com', names.GEN_AI_PROVIDER_NAME_VALUE_AZURE_AI_INFERENCE],
  ['api.anthropic.com', names.GEN_AI_PROVIDER_NAME_VALUE_ANTHROPIC],
  ['api.cohere.ai', names.GEN_AI_PROVIDER_NAME_VALUE_COHERE],
  ['api.deepseek.com', names.GEN_AI_PROVIDER_NAME_VALUE_DEEPSEEK],
  ['api.groq.com', names.GEN_AI_PROVIDER_NAME_VALUE_GROQ],
  ['api.mistral.ai', names.GEN_AI_PROVIDER_NAME_VALUE_MISTRAL_AI],
  ['api.moonshot.ai', names.GEN_AI_PROVIDER_NAME_VALUE_MOONSHOT_AI],
  ['api.perplexity.ai', names.GEN_AI_PROVIDER_NAME_VALUE_PERPLEXITY],
  ['api.x.ai', names.GEN_AI_PROVIDER_NAME_VALUE_X_AI],
  ['generativelanguage.googleapis.com', names.GEN_AI_PROVIDER_NAME_VALUE_GCP_GEMINI],
  ['-aiplatform.googleapis.com', names.GEN_AI_PROVIDER_NAME_VALUE_GCP_VERTEX_AI],
];

/** Who answers, and where: by the address the client of a resource calls. */
function serverOf(resource: unknown): Attributes {
  const attributes: Attributes = {
    [names.ATTR_GEN_AI_PROVIDER_NAME]: names.GEN_AI_PROVIDER_NAME_VALUE_OPENAI,
  };
  const baseUrl = property(property(resource, '_client'), 'baseURL');
  const url = typeof baseUrl === 'string' ? URL.parse(baseUrl) : null;
  if (url === null) return attributes;
  const provider = PROVIDERS.find(([hostEnd]) => url.hostname.endsWith(hostEnd));
  if (provider !== undefined) attributes[names.ATTR_GEN_AI_PROVIDER_NAME] = provider[1];
  attributes[names.ATTR_SERVER_ADDRESS] = url.hostname;
  attributes[names.ATTR_SERVER_PORT] = Number(url.port) || (url.protocol === 'http:' ? 80 : 443);
  return attributes;
}
