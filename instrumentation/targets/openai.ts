// SPDX-License-Identifier: Apache-2.0
/**
 * The `openai` package, versions 6 and 7: chat completions, responses, embeddings, text completions, moderations and decisions,
 * in every way to call and to read them. Other resources of the package (audio, images, realtime, batches) are not seen.
 */
import * as names from '../../semconv/index.ts';
import { eventsHook, methodHook, requestHook, watchApiClient } from '../api-client.ts';
import type { Target } from '../target.ts';
import { ChatAnswer, chatStart } from './openai-chat.ts';
import { embeddingsCall } from './openai-embeddings.ts';
import { completionsCall, decisionsCall, moderationsCall } from './openai-more.ts';
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
    methodHook('embeddings', 'resources/embeddings', 'Embeddings'),
    methodHook('completions', 'resources/completions', 'Completions'),
    methodHook('moderations', 'resources/moderations', 'Moderations'),
    methodHook('decisions', 'resources/decisions', 'Decisions'),
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
    embeddings: (body, baseUrl) => embeddingsCall(body, server(baseUrl)),
    completions: (body, baseUrl) => completionsCall(body, server(baseUrl)),
    moderations: (body, baseUrl) => moderationsCall(body, server(baseUrl)),
    decisions: (body, baseUrl) => decisionsCall(body, server(baseUrl)),
  });
}

const server = (baseUrl: unknown) => serverOf(baseUrl, names.GEN_AI_PROVIDER_NAME_VALUE_OPENAI);
