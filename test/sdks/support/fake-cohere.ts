// SPDX-License-Identifier: Apache-2.0
/** A provider that speaks the two interfaces of Cohere: the newer with server-sent events, the former with lines of JSON. */
import { ARGUMENTS, event, piecesOf, type Request, startFakeServer, TEXT } from './fake-server.ts';
import type { Provider } from './matrix.ts';

const THINKING = 'Greet back.';

export function startFakeCohere(): Promise<Provider> {
  return startFakeServer({
    modelOf,
    pieces: (request) => {
      if (request.body.stream !== true) return undefined;
      return isFormer(request) ? lines(request) : events(request);
    },
    piecesBeforeFault: 4,
    streamType: 'text/event-stream',
    whole,
    error: () => ({ id: 'err-1', message: 'failed' }),
    errorPiece: send('message-end', { delta: { finish_reason: 'ERROR' } }),
  });
}

const modelOf = ({ body }: Request): string => String(body.model);
const isFormer = ({ path }: Request): boolean => path.startsWith('/v1/');
const isTool = (request: Request): boolean => modelOf(request).endsWith('tools');

function send(type: string, fields: object): string {
  return event({ type, ...fields }, type);
}

const USAGE = {
  billed_units: { input_tokens: 10, output_tokens: 4 },
  tokens: { input_tokens: 12, output_tokens: 5 },
};
const FORMER_CALLS = [{ name: 'weather', parameters: ARGUMENTS }];
const CALL = { id: 'call-1', type: 'function' };

function whole(request: Request): unknown {
  if (request.path.endsWith('/embed')) {
    const float = [[0.25, -0.5]];
    const billed = { billed_units: { input_tokens: 3 } };
    return isFormer(request)
      ? {
          response_type: 'embeddings_floats',
          id: 'emb-1',
          texts: [],
          embeddings: float,
          meta: billed,
        }
      : { response_type: 'embeddings_by_type', id: 'emb-1', embeddings: { float }, meta: billed };
  }
  if (request.path.endsWith('/rerank')) {
    return { id: 'rank-1', results: [{ index: 1, relevance_score: 0.9 }] };
  }
  if (request.path.endsWith('/classify')) {
    const confidence = { labels: { spam: { confidence: 0.75 } } };
    const common = { prediction: 'spam', confidence: 0.75, confidences: [0.75] };
    const one = {
      id: 'c-1',
      input: 'Grüß',
      predictions: ['spam'],
      classification_type: 'single-label',
    };
    return { id: 'class-1', classifications: [{ ...one, ...common, ...confidence }] };
  }
  if (request.path.endsWith('/tokenize')) return { tokens: [1], token_strings: ['a'] };
  return isFormer(request) ? formerWhole(request) : newerWhole(request);
}

function newerWhole(request: Request): unknown {
  const called = { ...CALL, function: { name: 'weather', arguments: JSON.stringify(ARGUMENTS) } };
  return {
    id: 'chat-1',
    message: isTool(request)
      ? { role: 'assistant', tool_plan: 'Look.', tool_calls: [called] }
      : {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: THINKING },
            { type: 'text', text: TEXT },
          ],
        },
    finish_reason: isTool(request) ? 'TOOL_CALL' : 'COMPLETE',
    usage: USAGE,
  };
}

function formerWhole(request: Request): Record<string, unknown> {
  return {
    response_id: 'chat-1',
    generation_id: 'gen-1',
    text: isTool(request) ? '' : TEXT,
    ...(isTool(request) && { tool_calls: FORMER_CALLS }),
    finish_reason: 'COMPLETE',
    meta: USAGE,
  };
}

function events(request: Request): readonly string[] {
  const content = (index: number, part: object, pieces: readonly object[]): readonly string[] => [
    send('content-start', { index, delta: { message: { content: part } } }),
    ...pieces.map((piece) =>
      send('content-delta', { index, delta: { message: { content: piece } } }),
    ),
    send('content-end', { index }),
  ];
  const call = (type: string, tool_calls: object): string =>
    send(type, { index: 0, delta: { message: { tool_calls } } });
  const parts = isTool(request)
    ? [
        send('tool-plan-delta', { delta: { message: { tool_plan: 'Look.' } } }),
        call('tool-call-start', { ...CALL, function: { name: 'weather', arguments: '' } }),
        ...piecesOf(JSON.stringify(ARGUMENTS)).map((piece) =>
          call('tool-call-delta', { function: { arguments: piece } }),
        ),
        send('tool-call-end', { index: 0 }),
      ]
    : [
        ...content(0, { type: 'thinking', thinking: '' }, [{ thinking: THINKING }]),
        ...content(
          1,
          { type: 'text', text: '' },
          piecesOf(TEXT).map((text) => ({ text })),
        ),
      ];
  const finish_reason = isTool(request) ? 'TOOL_CALL' : 'COMPLETE';
  return [
    send('message-start', { id: 'chat-1', delta: { message: { role: 'assistant' } } }),
    ...parts,
    send('message-end', { id: 'chat-1', delta: { finish_reason, usage: USAGE } }),
    event('[DONE]'),
  ];
}

function lines(request: Request): readonly string[] {
  const parts: readonly object[] = isTool(request)
    ? [{ event_type: 'tool-calls-generation', tool_calls: FORMER_CALLS }]
    : piecesOf(TEXT).map((text) => ({ event_type: 'text-generation', text }));
  return [
    { event_type: 'stream-start', generation_id: 'gen-1' },
    ...parts,
    { event_type: 'stream-end', finish_reason: 'COMPLETE', response: formerWhole(request) },
  ].map((line) => `${JSON.stringify({ is_finished: false, ...line })}\n`);
}
