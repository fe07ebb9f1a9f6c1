// SPDX-License-Identifier: Apache-2.0
/**
 * The `groq-sdk` package, from 0.30 and 1.x: chat completions and embeddings, in every way to call and to read them.
 * Audio and batches are not seen.
 */
import * as names from '../../semconv/index.ts';
import { eventsHook, methodHook, requestHook, watchApiClient } from '../api-client.ts';
import type { Target } from '../target.ts';
import { ChatAnswer, chatStart } from './openai-chat.ts';
import { embeddingsCall } from './openai-embeddings.ts';
import { serverOf } from './server.ts';

const NAME = 'groq-sdk';

export const groqTarget: Target = {
  name: NAME,
  fromVersion: '0.30.0',
  belowVersion: '2.0.0',
  hooks: [
    methodHook('chat', 'resources/chat/completions', 'Completions'),
    methodHook('embeddings', 'resources/embeddings', 'Embeddings'),
    requestHook('client', 'Groq'),
    eventsHook('core/streaming'),
    // The layout of 0.x, whose stream keeps its reader of events to itself.
    requestHook('core', 'APIClient'),
  ],
  subscribe: () =>
    watchApiClient(NAME, {
      chat: (body, baseUrl) => ({
        start: chatStart(body, server(baseUrl)),
        answer: new ChatAnswer(body),
      }),
      embeddings: (body, baseUrl) => embeddingsCall(body, server(baseUrl)),
    }),
};

const server = (baseUrl: unknown) => serverOf(baseUrl, names.GEN_AI_PROVIDER_NAME_VALUE_GROQ);
