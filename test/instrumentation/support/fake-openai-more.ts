// SPDX-License-Identifier: Apache-2.0
/** A provider that speaks the smaller interfaces of OpenAI: text completions, embeddings, moderations and decisions. */
import { event, type Request, startFakeServer, TEXT } from '../../sdks/support/fake-server.ts';
import type { Provider } from '../../sdks/support/matrix.ts';

const USAGE = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 };
const VECTOR = [0.25, -0.5];

export function startFakeOpenaiMore(): Promise<Provider> {
  return startFakeServer({
    modelOf,
    pieces: (request) => (request.body.stream === true ? events(request) : undefined),
    piecesBeforeFault: 3,
    streamType: 'text/event-stream',
    whole,
    error: (status) => ({ error: { message: 'failed', type: 'error', code: `code-${status}` } }),
    errorPiece: event({ error: { message: 'overloaded', code: 'overloaded' } }),
  });
}

const modelOf = ({ body }: Request): string => String(body.model);

function completion(request: Request, choices: readonly object[]): Record<string, unknown> {
  return {
    id: 'cmpl-1',
    object: 'text_completion',
    created: 1_790_000_000,
    model: `${modelOf(request)}-2026`,
    system_fingerprint: 'fp-1',
    choices,
  };
}

const choice = (text: string, index: number, finish_reason: string | null) => ({
  text,
  index,
  logprobs: null,
  finish_reason,
});

/** One choice for each prompt. */
function indexes({ body }: Request): readonly number[] {
  return Array.isArray(body.prompt) ? [...body.prompt.keys()] : [0];
}

function whole(request: Request): unknown {
  const model = `${modelOf(request)}-2026`;
  switch (request.path) {
    case '/embeddings': {
      const bytes = Buffer.from(new Float32Array(VECTOR).buffer).toString('base64');
      const embedding = request.body.encoding_format === 'base64' ? bytes : VECTOR;
      const data = [{ object: 'embedding', index: 0, embedding }];
      return { object: 'list', data, model, usage: { prompt_tokens: 3, total_tokens: 3 } };
    }
    case '/moderations': {
      const results = [{ flagged: false, categories: { violence: false } }];
      return { id: 'modr-1', model, results };
    }
    case '/decisions':
      return decision(request, model);
    default: {
      const choices = indexes(request).map((index) => choice(TEXT, index, 'stop'));
      return { ...completion(request, choices), usage: USAGE };
    }
  }
}

function decision(request: Request, model: string): unknown {
  const probabilities = [{ value: 'approve', probability: 0.75 }];
  const answers = (request.body.questions as readonly { type: string }[]).map(({ type }) => {
    if (modelOf(request).endsWith('declines')) return { type: 'refusal', name: null };
    if (type === 'predicate') return { type, name: null, probability: 0.5 };
    return { type, name: null, choice: 'approve', confidence: 0.75, probabilities };
  });
  const usage = {
    input_tokens: 12,
    input_tokens_details: { cached_tokens: 4, cache_write_tokens: 3 },
    output_tokens: 5,
    output_tokens_details: { reasoning_tokens: 2 },
    total_tokens: 17,
  };
  return { answers, model, usage };
}

function events(request: Request): readonly string[] {
  const options = request.body.stream_options as { include_usage?: boolean } | undefined;
  return [
    ...indexes(request).flatMap((index) => [
      ...(TEXT.match(/[\s\S]{1,2}/g) ?? []).map((text) =>
        event(completion(request, [choice(text, index, null)])),
      ),
      event(completion(request, [choice('', index, 'stop')])),
    ]),
    ...(options?.include_usage === true
      ? [event({ ...completion(request, []), usage: USAGE })]
      : []),
    event('[DONE]'),
  ];
}
