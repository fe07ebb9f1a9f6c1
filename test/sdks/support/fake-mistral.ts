// SPDX-License-Identifier: Apache-2.0
/** A provider that speaks the interface of Mistral: that of chat completions, with content in parts. */
import { ARGUMENTS, event, piecesOf, type Request, startFakeServer, TEXT } from './fake-server.ts';
import type { Provider } from './matrix.ts';

export function startFakeMistral(): Promise<Provider> {
  return startFakeServer({
    modelOf,
    pieces: (request) => (request.body.stream === true ? events(request) : undefined),
    piecesBeforeFault: 3,
    streamType: 'text/event-stream; charset=utf-8',
    whole,
    error: (status) => ({
      object: 'error',
      message: 'failed',
      type: 'error',
      code: String(status),
    }),
    errorPiece: event({ object: 'error', message: 'overloaded' }),
  });
}

const modelOf = ({ body }: Request): string => String(body.model ?? body.agent_id);
const isTool = (request: Request): boolean => modelOf(request).endsWith('tools');
const USAGE = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 };
const THINKING = { type: 'thinking', thinking: [{ type: 'text', text: 'Greet back.' }] };

function called(args: string, id = 'call-1'): object {
  return { tool_calls: [{ id, index: 0, function: { name: 'weather', arguments: args } }] };
}

function base(request: Request, object: string): Record<string, unknown> {
  return { id: 'chat-1', object, created: 1_790_000_000, model: `${modelOf(request)}-2026` };
}

function whole(request: Request): unknown {
  if (request.path.endsWith('/embeddings')) {
    const data = [{ object: 'embedding', index: 0, embedding: [0.25, -0.5] }];
    return { ...base(request, 'list'), data, usage: { ...USAGE, prompt_tokens: 3 } };
  }
  if (request.path.endsWith('/moderations')) {
    const one = { categories: { violence: false }, category_scores: { violence: 0.25 } };
    return { id: 'mod-1', model: `${modelOf(request)}-2026`, results: [one] };
  }
  if (request.path.endsWith('/models')) return { object: 'list', data: [] };
  const message = isTool(request)
    ? { role: 'assistant', content: '', ...called(JSON.stringify(ARGUMENTS)) }
    : { role: 'assistant', content: [THINKING, { type: 'text', text: TEXT }] };
  if (modelOf(request).endsWith('json')) message.content = '{"answer":42}';
  const finish_reason = isTool(request) ? 'tool_calls' : 'stop';
  return {
    ...base(request, 'chat.completion'),
    choices: [{ index: 0, message, finish_reason }],
    usage: USAGE,
  };
}

function events(request: Request): readonly string[] {
  const chunk = (delta: object, finish_reason: string | null = null, more: object = {}): string =>
    event({
      ...base(request, 'chat.completion.chunk'),
      choices: [{ index: 0, delta, finish_reason }],
      ...more,
    });
  const parts = isTool(request)
    ? [chunk({ content: '', ...called(JSON.stringify(ARGUMENTS)) })]
    : [chunk({ content: [THINKING] }), ...piecesOf(TEXT).map((content) => chunk({ content }))];
  return [
    chunk({ role: 'assistant', content: '' }),
    ...parts,
    chunk({ content: '' }, isTool(request) ? 'tool_calls' : 'stop', { usage: USAGE }),
    event('[DONE]'),
  ];
}
