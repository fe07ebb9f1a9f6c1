// SPDX-License-Identifier: Apache-2.0
/** A provider that speaks the interface of Anthropic's messages, whole and in events. */
import { ARGUMENTS, event, piecesOf, type Request, startFakeServer, TEXT } from './fake-server.ts';
import type { Provider } from './matrix.ts';

const THINKING = 'Greet back.';

export function startFakeAnthropic(): Promise<Provider> {
  return startFakeServer({
    modelOf,
    pieces: (request) => (request.body.stream === true ? events(request) : undefined),
    piecesBeforeFault: 7,
    streamType: 'text/event-stream; charset=utf-8',
    whole: (request) =>
      request.path.includes('count_tokens') ? { input_tokens: 8 } : message(request),
    error: (status) => errorOf(status === 400 ? 'invalid_request_error' : 'api_error'),
    errorPiece: event(errorOf('overloaded_error'), 'error'),
  });
}

function errorOf(type: string): unknown {
  return { type: 'error', error: { type, message: 'failed' }, request_id: 'req-1' };
}

const modelOf = ({ body }: Request): string => String(body.model);

function blocks(request: Request): readonly Record<string, unknown>[] {
  const text = { type: 'text', text: modelOf(request).endsWith('json') ? '{"answer":42}' : TEXT };
  return modelOf(request).endsWith('tools')
    ? [
        { type: 'text', text: 'Looking.' },
        { type: 'tool_use', id: 'call-1', name: 'weather', input: ARGUMENTS },
      ]
    : [{ type: 'thinking', thinking: THINKING, signature: 'c2ln' }, text];
}

function message(request: Request): Record<string, unknown> {
  return {
    id: 'msg-1',
    type: 'message',
    role: 'assistant',
    model: `${modelOf(request)}-2026`,
    content: blocks(request),
    stop_reason: modelOf(request).endsWith('tools') ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: {
      input_tokens: 5,
      cache_creation_input_tokens: 3,
      cache_read_input_tokens: 4,
      output_tokens: 6,
      service_tier: 'standard',
    },
  };
}

function events(request: Request): readonly string[] {
  const whole = message(request);
  const { stop_reason, usage } = whole;
  const start = {
    ...whole,
    content: [],
    stop_reason: null,
    usage: { ...(usage as object), output_tokens: 1 },
  };
  const send = (type: string, fields: object): string => event({ type, ...fields }, type);
  const parts = blocks(request).flatMap((block, index) => {
    const begin = (content_block: object) => send('content_block_start', { index, content_block });
    const delta = (fields: object) => send('content_block_delta', { index, delta: fields });
    const end = send('content_block_stop', { index });
    if (block.type === 'thinking') {
      return [
        begin({ type: 'thinking', thinking: '', signature: '' }),
        delta({ type: 'thinking_delta', thinking: THINKING }),
        delta({ type: 'signature_delta', signature: 'c2ln' }),
        end,
      ];
    }
    if (block.type === 'tool_use') {
      // With spaces, as the real one sends them.
      const json = JSON.stringify(block.input).replace(':', ': ');
      const pieces = ['', ...piecesOf(json)];
      return [
        begin({ ...block, input: {} }),
        ...pieces.map((partial_json) => delta({ type: 'input_json_delta', partial_json })),
        end,
      ];
    }
    return [
      begin({ type: 'text', text: '' }),
      ...piecesOf(String(block.text)).map((text) => delta({ type: 'text_delta', text })),
      end,
    ];
  });
  return [
    send('message_start', { message: start }),
    send('ping', {}),
    ...parts,
    send('message_delta', {
      delta: { stop_reason, stop_sequence: null },
      usage: { output_tokens: 6 },
    }),
    send('message_stop', {}),
  ];
}
