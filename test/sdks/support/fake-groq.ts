// SPDX-License-Identifier: Apache-2.0
/** A provider that speaks the interface of Groq: that of chat completions, with usage and reasoning in places of its own. */
import { ARGUMENTS, event, piecesOf, type Request, startFakeServer, TEXT } from './fake-server.ts';
import type { Provider } from './matrix.ts';

const REASONING = 'Greet back.';
const USAGE = {
  queue_time: 0.05,
  prompt_tokens: 12,
  prompt_time: 0.001,
  completion_tokens: 5,
  completion_time: 0.02,
  total_tokens: 17,
  total_time: 0.021,
  prompt_tokens_details: { cached_tokens: 4 },
  completion_tokens_details: { reasoning_tokens: 2 },
};

export function startFakeGroq(): Promise<Provider> {
  return startFakeServer({
    modelOf,
    pieces: (request) => (request.body.stream === true ? events(request) : undefined),
    piecesBeforeFault: 3,
    streamType: 'text/event-stream',
    whole: (request) =>
      request.path.endsWith('/embeddings') ? embeddings(request) : chat(request),
    error: (status) => ({
      error: { message: 'failed', type: status === 400 ? 'invalid_request_error' : 'internal' },
    }),
    errorPiece: event({
      error: { message: 'overloaded', type: 'server_error', code: 'overloaded' },
    }),
  });
}

const modelOf = ({ body }: Request): string => String(body.model);
const TOOL_CALL = { id: 'call-1', type: 'function' };

function base(request: Request, object: string): Record<string, unknown> {
  return {
    id: 'chatcmpl-1',
    object,
    created: 1_790_000_000,
    model: `${modelOf(request)}-2026`,
    system_fingerprint: 'fp-1',
    service_tier: 'on_demand',
  };
}

function chat(request: Request): unknown {
  const isTool = modelOf(request).endsWith('tools');
  const called = { name: 'weather', arguments: JSON.stringify(ARGUMENTS) };
  const message = isTool
    ? { role: 'assistant', tool_calls: [{ ...TOOL_CALL, function: called }] }
    : { role: 'assistant', content: TEXT, reasoning: REASONING };
  return {
    ...base(request, 'chat.completion'),
    choices: [{ index: 0, message, logprobs: null, finish_reason: isTool ? 'tool_calls' : 'stop' }],
    usage: USAGE,
    x_groq: { id: 'req-1' },
  };
}

function events(request: Request): readonly string[] {
  const isTool = modelOf(request).endsWith('tools');
  const chunk = (delta: object, finish_reason: string | null = null, more: object = {}): string =>
    event({
      ...base(request, 'chat.completion.chunk'),
      choices: [{ index: 0, delta, logprobs: null, finish_reason }],
      ...more,
    });
  const call = (fields: object) => ({ tool_calls: [{ index: 0, ...fields }] });
  const parts = isTool
    ? [
        chunk(call({ ...TOOL_CALL, function: { name: 'weather', arguments: '' } })),
        ...piecesOf(JSON.stringify(ARGUMENTS)).map((piece) =>
          chunk(call({ function: { arguments: piece } })),
        ),
      ]
    : [chunk({ reasoning: REASONING }), ...piecesOf(TEXT).map((content) => chunk({ content }))];
  return [
    chunk({ role: 'assistant', content: '' }, null, { x_groq: { id: 'req-1' } }),
    ...parts,
    chunk({}, isTool ? 'tool_calls' : 'stop', { x_groq: { id: 'req-1', usage: USAGE } }),
    event('[DONE]'),
  ];
}

function embeddings(request: Request): unknown {
  return {
    object: 'list',
    model: `${modelOf(request)}-2026`,
    data: [{ object: 'embedding', index: 0, embedding: [0.25, -0.5] }],
    usage: { prompt_tokens: 3, total_tokens: 3 },
  };
}
