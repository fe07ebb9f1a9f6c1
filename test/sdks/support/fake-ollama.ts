// SPDX-License-Identifier: Apache-2.0
/** A server that speaks the interface of Ollama: JSON, and lines of JSON where an answer is streamed. */
import { ARGUMENTS, piecesOf, type Request, startFakeServer, TEXT } from './fake-server.ts';
import type { Provider } from './matrix.ts';

const THINKING = 'Greet back.';

export function startFakeOllama(): Promise<Provider> {
  return startFakeServer({
    modelOf,
    pieces: (request) => (request.body.stream === true ? lines(request) : undefined),
    piecesBeforeFault: 3,
    streamType: 'application/x-ndjson',
    whole,
    error: () => ({ error: 'failed' }),
    errorPiece: `${JSON.stringify({ error: 'overloaded' })}\n`,
  });
}

const modelOf = ({ body }: Request): string => String(body.model);
const base = (request: Request) => ({
  model: modelOf(request),
  created_at: '2026-10-01T12:00:00.000000Z',
});
const END = {
  done: true,
  done_reason: 'stop',
  total_duration: 5_000,
  load_duration: 1_000,
  prompt_eval_count: 12,
  prompt_eval_duration: 2_000,
  eval_count: 5,
  eval_duration: 2_000,
};
const TOOL_CALLS = [{ id: 'call-1', function: { name: 'weather', arguments: ARGUMENTS } }];

/** A piece of an answer, in the place that the interface has for it. */
function piece(request: Request, fields: { text?: string; thinking?: string; tools?: true }) {
  const { text = '', thinking, tools } = fields;
  const more = thinking === undefined ? {} : { thinking };
  if (request.path.endsWith('/generate')) return { response: text, ...more };
  const calls = tools === undefined ? {} : { tool_calls: TOOL_CALLS };
  return { message: { role: 'assistant', content: text, ...more, ...calls } };
}

function whole(request: Request): unknown {
  if (request.path.endsWith('/embed')) {
    return { model: modelOf(request), embeddings: [[0.25, -0.5]], prompt_eval_count: 3 };
  }
  if (request.path.endsWith('/embeddings')) return { embedding: [0.25, -0.5] };
  if (request.path.endsWith('/show')) return { details: { family: 'fake' } };
  const isTool = modelOf(request).endsWith('tools');
  const fields = isTool ? ({ tools: true } as const) : { text: TEXT, thinking: THINKING };
  return { ...base(request), ...piece(request, fields), ...END };
}

function lines(request: Request): readonly string[] {
  const isTool = modelOf(request).endsWith('tools');
  const parts = isTool
    ? [piece(request, { tools: true })]
    : [
        piece(request, { thinking: THINKING }),
        ...piecesOf(TEXT).map((text) => piece(request, { text })),
      ];
  return [
    ...parts.map((part) => ({ ...base(request), ...part, done: false })),
    { ...base(request), ...piece(request, {}), ...END },
  ].map((line) => `${JSON.stringify(line)}\n`);
}
