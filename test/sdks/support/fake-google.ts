// SPDX-License-Identifier: Apache-2.0
/** A provider that speaks the interface of Gemini's models, whole and in events. */
import { ARGUMENTS, event, piecesOf, type Request, startFakeServer, TEXT } from './fake-server.ts';
import type { Provider } from './matrix.ts';

const THOUGHT = 'Greet back.';

export function startFakeGoogle(): Promise<Provider> {
  return startFakeServer({
    modelOf,
    pieces: (request) => (request.path.includes('stream') ? events(request) : undefined),
    piecesBeforeFault: 2,
    streamType: 'text/event-stream',
    whole,
    error: (status) => errorOf(status),
    errorPiece: event(errorOf(503)),
  });
}

/** The model stands in the path: `/v1beta/models/m-fake:generateContent`. */
const modelOf = ({ path }: Request): string => /models\/([^:?]+)/.exec(path)?.[1] ?? '';

function errorOf(code: number): unknown {
  return {
    error: { code, message: 'failed', status: code === 400 ? 'INVALID_ARGUMENT' : 'UNAVAILABLE' },
  };
}

/** Whether a tool has answered already, so that the model calls none. */
function isTool(request: Request): boolean {
  const contents = JSON.stringify(request.body.contents ?? '');
  return modelOf(request).endsWith('tools') && !contents.includes('functionResponse');
}

const CALL = { functionCall: { id: 'call-1', name: 'weather', args: ARGUMENTS } };
const USAGE = {
  promptTokenCount: 12,
  cachedContentTokenCount: 4,
  candidatesTokenCount: 3,
  thoughtsTokenCount: 2,
  totalTokenCount: 17,
};

function chunk(request: Request, parts: readonly unknown[], finishReason?: string): unknown {
  return {
    candidates: [
      {
        index: 0,
        content: { role: 'model', parts },
        ...(finishReason !== undefined && { finishReason }),
      },
    ],
    usageMetadata: USAGE,
    modelVersion: `${modelOf(request)}-2026`,
    responseId: 'resp-1',
  };
}

function whole(request: Request): unknown {
  if (request.path.includes('mbedContent')) {
    return { embeddings: [{ values: [0.25, -0.5] }] };
  }
  if (request.path.includes('countTokens')) return { totalTokens: 3 };
  if (modelOf(request).endsWith('blocked')) {
    return { promptFeedback: { blockReason: 'SAFETY' }, usageMetadata: { promptTokenCount: 12 } };
  }
  const parts = isTool(request) ? [CALL] : [{ text: THOUGHT, thought: true }, { text: TEXT }];
  return chunk(request, parts, 'STOP');
}

function events(request: Request): readonly string[] {
  const parts: readonly unknown[] = isTool(request)
    ? [CALL]
    : [{ text: THOUGHT, thought: true }, ...piecesOf(TEXT).map((text) => ({ text }))];
  return [
    ...parts.map((part) => event(chunk(request, [part]))),
    event(chunk(request, [{ text: '' }], 'STOP')),
  ];
}
