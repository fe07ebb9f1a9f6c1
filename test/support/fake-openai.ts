// SPDX-License-Identifier: Apache-2.0
/**
 * A provider that answers chat completions and responses as the real one does, and fails in the ways real ones fail.
 * The name of the model says what happens; nothing here depends on the clock or on chance.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a request to the provider was. */
export interface FakeRequest {
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface FakeOpenai {
  /** For the client's `baseURL`. */
  readonly url: string;
  /** All that came, but for one that is forgetful: a bench sends gigabytes. */
  readonly requests: readonly FakeRequest[];
  close(): Promise<void>;
}

/**
 * Models: `gpt-fake` answers; `gpt-tools` calls a tool; `gpt-json` answers with JSON; `gpt-two` gives two choices; `gpt-cut` ends a
 * stream early but cleanly; `gpt-dies` breaks the connection within a stream; `gpt-mute` ends a stream without a finish
 * reason but with the end mark; `gpt-error` reports an error within a stream; `gpt-waits` stops after two events and keeps the
 * connection; `gpt-hangs` never answers; `gpt-refuses` is 400; `gpt-broken` is 500; `gpt-flaky` is 500 twice
 * and then answers; `gpt-long` stops for the length; `gpt-fails` is a response with status `failed`; `gpt-html` is a proxy's page.
 */
export async function startFakeOpenai({ isForgetful = false } = {}): Promise<FakeOpenai> {
  const requests: FakeRequest[] = [];
  const attempts = new Map<string, number>();
  const server = createServer((request, response) => {
    void readBody(request).then((body) => {
      const path = request.url ?? '';
      if (!isForgetful) requests.push({ path, body, headers: request.headers });
      answer(path, body, response, attempts);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}

function answer(
  path: string,
  body: Readonly<Record<string, unknown>>,
  response: ServerResponse,
  attempts: Map<string, number>,
): void {
  const model = String(body.model);
  // Without it the SDK waits for half a second and more before it tries again.
  response.setHeader('retry-after-ms', '1');
  response.setHeader('x-request-id', 'req-1');
  if (model === 'gpt-hangs') return;
  if (model === 'gpt-refuses') {
    const error = { message: 'unknown model', type: 'invalid_request_error', code: 'bad_model' };
    sendJson(response, 400, { error });
    return;
  }
  if (model === 'gpt-html') {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end('<p>proxy</p>');
    return;
  }
  const attempt = `${path} ${model}`;
  const count = (attempts.get(attempt) ?? 0) + 1;
  attempts.set(attempt, count);
  if (model === 'gpt-broken' || (model === 'gpt-flaky' && count <= 2)) {
    sendJson(response, 500, { error: { message: 'overloaded', type: 'server_error' } });
    return;
  }
  const isResponses = path.endsWith('/responses');
  if (body.stream === true) {
    sendEvents(response, model, isResponses ? responseEvents(body) : chatEvents(body), isResponses);
  } else {
    sendJson(response, 200, isResponses ? responseOf(body) : chatOf(body));
  }
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function sendEvents(
  response: ServerResponse,
  model: string,
  events: readonly unknown[],
  isResponses: boolean,
): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (event: unknown): void => {
    const type = (event as { type?: string }).type;
    const name = isResponses && type !== undefined ? `event: ${type}\n` : '';
    response.write(`${name}data: ${JSON.stringify(event)}\n\n`);
  };
  const isBroken = ['gpt-cut', 'gpt-dies', 'gpt-waits', 'gpt-error'].includes(model);
  for (const event of isBroken ? events.slice(0, isResponses ? 4 : 2) : events) send(event);
  if (model === 'gpt-waits') return;
  if (model === 'gpt-error') {
    if (isResponses) send({ type: 'error', code: 'server_error', message: 'overloaded' });
    else send({ error: { message: 'overloaded', code: 'overloaded', type: 'server_error' } });
  }
  if (model === 'gpt-dies') {
    // Once what was written is on its way, so that the application gets it first.
    response.write(': \n\n', () => setImmediate(() => response.destroy()));
    return;
  }
  if (!isResponses && model !== 'gpt-cut') response.write('data: [DONE]\n\n');
  response.end();
}

const USAGE = {
  prompt_tokens: 12,
  completion_tokens: 5,
  total_tokens: 17,
  prompt_tokens_details: { cached_tokens: 4 },
  completion_tokens_details: { reasoning_tokens: 2 },
};
const TOOL_ARGUMENTS = '{"city":"Köln"}';

function chatOf(body: Readonly<Record<string, unknown>>): unknown {
  const model = String(body.model);
  const message = { role: 'assistant', content: chatText(model), refusal: null };
  const call = {
    id: 'call-1',
    type: 'function',
    function: { name: 'weather', arguments: TOOL_ARGUMENTS },
  };
  const choice = (index: number) => ({
    index,
    message: model === 'gpt-tools' ? { ...message, content: null, tool_calls: [call] } : message,
    logprobs: null,
    finish_reason: finishReason(model),
  });
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1_790_000_000,
    model: `${model}-2026-08-01`,
    choices: model === 'gpt-two' ? [choice(0), choice(1)] : [choice(0)],
    usage: USAGE,
    service_tier: 'default',
    system_fingerprint: 'fp-1',
  };
}

function chatText(model: string): string {
  return model === 'gpt-json' ? '{"answer":42}' : 'Grüß dich 👋';
}

function finishReason(model: string): string | null {
  if (model === 'gpt-mute') return null;
  if (model === 'gpt-long') return 'length';
  return model === 'gpt-tools' ? 'tool_calls' : 'stop';
}

function chatEvents(body: Readonly<Record<string, unknown>>): readonly unknown[] {
  const model = String(body.model);
  const base = {
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1_790_000_000,
    model: `${model}-2026-08-01`,
    service_tier: 'default',
    system_fingerprint: 'fp-1',
  };
  const chunk = (index: number, delta: unknown, finish_reason: string | null = null) => ({
    ...base,
    choices: [{ index, delta, logprobs: null, finish_reason }],
  });
  const events: unknown[] = [];
  for (const index of model === 'gpt-two' ? [0, 1] : [0]) {
    events.push(chunk(index, { role: 'assistant', content: '', refusal: null }));
    if (model === 'gpt-tools') {
      const call = (fields: object) => ({ tool_calls: [{ index: 0, ...fields }] });
      const named = { name: 'weather', arguments: '' };
      events.push(chunk(index, call({ id: 'call-1', type: 'function', function: named })));
      for (const piece of pieces(TOOL_ARGUMENTS)) {
        events.push(chunk(index, call({ function: { arguments: piece } })));
      }
    } else {
      for (const piece of pieces(chatText(model))) events.push(chunk(index, { content: piece }));
    }
    events.push(chunk(index, {}, finishReason(model)));
  }
  const options = body.stream_options as { include_usage?: boolean } | undefined;
  if (options?.include_usage === true) events.push({ ...base, choices: [], usage: USAGE });
  return events;
}

function responseOf(body: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const model = String(body.model);
  const isLong = model === 'gpt-long';
  const isFailed = model === 'gpt-fails';
  return {
    id: 'resp-1',
    object: 'response',
    created_at: 1_790_000_000,
    status: isFailed ? 'failed' : isLong ? 'incomplete' : 'completed',
    error: isFailed ? { code: 'server_error', message: 'overloaded' } : null,
    incomplete_details: isLong ? { reason: 'max_output_tokens' } : null,
    model: `${model}-2026-08-01`,
    output: isFailed ? [] : [outputItem(model)],
    service_tier: 'default',
    usage: {
      input_tokens: 12,
      input_tokens_details: { cached_tokens: 4 },
      output_tokens: 5,
      output_tokens_details: { reasoning_tokens: 2 },
      total_tokens: 17,
    },
  };
}

function outputItem(model: string): Record<string, unknown> {
  if (model === 'gpt-tools') {
    return {
      type: 'function_call',
      id: 'fc-1',
      call_id: 'call-1',
      name: 'weather',
      arguments: TOOL_ARGUMENTS,
      status: 'completed',
    };
  }
  const part = { type: 'output_text', text: chatText(model), annotations: [], logprobs: [] };
  return { type: 'message', id: 'msg-1', role: 'assistant', status: 'completed', content: [part] };
}

function responseEvents(body: Readonly<Record<string, unknown>>): readonly unknown[] {
  const whole = responseOf(body);
  const started = { ...whole, status: 'in_progress', output: [], usage: null };
  const item = outputItem(String(body.model));
  const isTool = item.type === 'function_call';
  const at = { output_index: 0, item_id: item.id };
  const text = isTool ? TOOL_ARGUMENTS : chatText(String(body.model));
  const part = { type: 'output_text', text: '', annotations: [], logprobs: [] };
  const delta = isTool ? 'response.function_call_arguments' : 'response.output_text';
  const place = isTool ? at : { ...at, content_index: 0 };
  const doneText = isTool ? { name: item.name, arguments: text } : { text, logprobs: [] };
  const donePart = { type: 'response.content_part.done', ...place, part: { ...part, text } };
  const events = [
    { type: 'response.created', response: started },
    {
      type: 'response.output_item.added',
      output_index: 0,
      item: isTool ? { ...item, arguments: '' } : { ...item, content: [] },
    },
    ...(isTool ? [] : [{ type: 'response.content_part.added', ...place, part }]),
    ...pieces(text).map((piece) => ({ type: `${delta}.delta`, ...place, delta: piece })),
    { type: `${delta}.done`, ...place, ...doneText },
    ...(isTool ? [] : [donePart]),
    { type: 'response.output_item.done', output_index: 0, item },
    { type: `response.${String(whole.status)}`, response: whole },
  ];
  return events.map((event, sequence_number) => ({ ...event, sequence_number }));
}

/** A text in pieces of four UTF-16 units, which cut through characters beyond the first plane as some providers do. */
function pieces(text: string): readonly string[] {
  return text.match(/[\s\S]{1,4}/g) ?? [];
}
