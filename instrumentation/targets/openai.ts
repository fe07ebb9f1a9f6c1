// SPDX-License-Identifier: Apache-2.0
/**
 * The `openai` package, versions 6 and 7: chat completions and responses, in every way to call and to read them.
 * Other resources of the package (embeddings, audio, realtime) are not seen.
 */
import * as names from '../../semconv/index.ts';
import { eventsHook, methodHook, requestHook, watchApiClient } from '../api-client.ts';
import type { Target } from '../target.ts';
import { ChatAnswer, chatStart } from './openai-chat.ts';
import { ResponsesAnswer, responsesStart } from './openai-responses.ts';
import { serverOf } from './server.ts';

const NAME = 'openai';

export const openaiTarget: Target = {
  name: NAME,
  fromVersion: '6.0.0',
  belowVersion: '8.0.0',
  hooks: [
    methodHook('chat', 'resources/chat/completions/completions', 'Completions'),
    methodHook('responses', 'resources/responses/responses', 'Responses'),
    requestHook('client', 'OpenAI'),
    eventsHook('core/streaming'),
  ],
  subscribe,
};

function subscribe(): void {
  watchApiClient(NAME, {
    chat: (body, baseUrl) => ({
      start: chatStart(body, server(baseUrl)),
      answer: new ChatAnswer(body),
    }),
    responses: (body, baseUrl) => ({
      start: responsesStart(body, server(baseUrl)),
      answer: new ResponsesAnswer(),
    }),
  });
}

const server = (baseUrl: unknown) => serverOf(baseUrl, names.GEN_AI_PROVIDER_NAME_VALUE_OPENAI);
