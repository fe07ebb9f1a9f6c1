// SPDX-License-Identifier: Apache-2.0
/**
 * The world around the demo's service, on 127.0.0.1 alone: a provider that speaks the wire protocol of OpenAI, and a
 * backend that takes OTLP over HTTP and remembers what it got. Both count; neither proves anything.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { splitRequest } from '../log/entries.ts';
import { CLAIMED, readSpan } from './span.ts';

/** Something that listens. */
interface Listening {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  close(): Promise<void>;
}

export interface DemoProvider extends Listening {
  /** Requests so far. */
  readonly requestCount: number;
}

export interface DemoBackend extends Listening {
  /** Leaf that each `aigov.audit.ref` came with, by the reference. */
  readonly leafOf: ReadonlyMap<string, string>;
  /** Spans that came without a reference: those that the service itself exports. */
  readonly otherCount: number;
  /** References that came twice. */
  readonly repeatedCount: number;
}

/** Nothing in the demo is larger. */
const BODY_BYTE_LENGTH_MAX = 16 * 1024 * 1024;

async function listen(
  answer: (path: string, body: Buffer, response: ServerResponse) => void,
): Promise<Listening & { readonly server: Server }> {
  const server = createServer((request, response) => {
    readBody(request).then(
      (body) => answer(request.url ?? '/', body, response),
      () => response.writeHead(400).end(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    server,
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let byteLength = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    byteLength += chunk.length;
    if (byteLength > BODY_BYTE_LENGTH_MAX) throw new RangeError('the body is too long');
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  return request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
}

/** Takes any OTLP request for traces; what comes to other paths is taken and not looked at. */
export async function startBackend(): Promise<DemoBackend> {
  const leafOf = new Map<string, string>();
  let otherCount = 0;
  let repeatedCount = 0;
  const listening = await listen((path, body, response) => {
    try {
      for (const entry of path === '/v1/traces' ? splitRequest(body, 'traces') : []) {
        const { attributes } = readSpan(entry);
        // A backend takes its sender's word for them.
        const ref = attributes[`aigov.audit.ref${CLAIMED}`];
        if (typeof ref !== 'string') {
          otherCount++;
          continue;
        }
        if (leafOf.has(ref)) repeatedCount++;
        leafOf.set(ref, String(attributes[`aigov.audit.leaf${CLAIMED}`]));
      }
      // An ExportTraceServiceResponse with nothing to add is an empty message.
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
    } catch {
      response.writeHead(400).end();
    }
  });
  return {
    url: listening.url,
    close: listening.close,
    leafOf,
    get otherCount() {
      return otherCount;
    },
    get repeatedCount() {
      return repeatedCount;
    },
  };
}

type Json = Readonly<Record<string, unknown>>;

const ANSWER = 'Your application is complete. A decision follows within two days.';
const USAGE = { prompt_tokens: 23, completion_tokens: 14, total_tokens: 37 };
const RESPONSE_USAGE = {
  input_tokens: 23,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 14,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 37,
};

/** Chat completions and responses, whole and streamed. A request with tools gets a call of one; `demo-overloaded` fails. */
export async function startProvider(): Promise<DemoProvider> {
  let requestCount = 0;
  const listening = await listen((path, body, response) => {
    requestCount++;
    let request: Json;
    try {
      request = JSON.parse(body.toString('utf8')) as Json;
    } catch {
      sendJson(response, 400, { error: { message: 'no JSON', type: 'invalid_request_error' } });
      return;
    }
    if (request.model === 'demo-overloaded') {
      sendJson(response, 503, { error: { message: 'overloaded', type: 'server_error' } });
    } else if (path === '/v1/chat/completions') {
      if (request.stream === true) sendEvents(response, chatEvents(request), '[DONE]');
      else sendJson(response, 200, chatAnswer(request));
    } else if (path === '/v1/responses') {
      if (request.stream === true) sendEvents(response, responseEvents(request));
      else sendJson(response, 200, responseAnswer(request));
    } else {
      sendJson(response, 404, { error: { message: `no ${path}`, type: 'invalid_request_error' } });
    }
  });
  return {
    url: listening.url,
    close: listening.close,
    get requestCount() {
      return requestCount;
    },
  };
}

function sendJson(response: ServerResponse, status: number, body: Json): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function sendEvents(response: ServerResponse, events: readonly Json[], endMark?: string): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const event of events) {
    const name = typeof event.type === 'string' ? `event: ${event.type}\n` : '';
    response.write(`${name}data: ${JSON.stringify(event)}\n\n`);
  }
  response.end(endMark === undefined ? '' : `data: ${endMark}\n\n`);
}

const CHAT = { id: 'chatcmpl-demo', created: 1_790_000_000, system_fingerprint: 'fp_demo' };

function chatAnswer({ model, tools }: Json): Json {
  const message = Array.isArray(tools)
    ? {
        role: 'assistant',
        content: null,
        tool_calls: [
          {
            id: 'call_demo',
            type: 'function',
            function: { name: 'credit_report', arguments: '{"subject":"s-81c0d4"}' },
          },
        ],
      }
    : { role: 'assistant', content: ANSWER };
  const finish_reason = Array.isArray(tools) ? 'tool_calls' : 'stop';
  return {
    ...CHAT,
    object: 'chat.completion',
    model,
    choices: [{ index: 0, message, logprobs: null, finish_reason }],
    usage: USAGE,
  };
}

function chatEvents({ model }: Json): readonly Json[] {
  const chunk = (delta: Json, finish_reason: string | null) => ({
    ...CHAT,
    object: 'chat.completion.chunk',
    model,
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
  });
  const words = ANSWER.split(/(?<= )/).map((content) => chunk({ content }, null));
  return [chunk({ role: 'assistant', content: '' }, null), ...words, chunk({}, 'stop')];
}

function responseAnswer({ model }: Json): Json {
  const part = { type: 'output_text', text: ANSWER, annotations: [] };
  return {
    id: 'resp_demo',
    object: 'response',
    created_at: 1_790_000_000,
    status: 'completed',
    error: null,
    incomplete_details: null,
    model,
    output: [
      { type: 'message', id: 'msg_demo', role: 'assistant', status: 'completed', content: [part] },
    ],
    usage: RESPONSE_USAGE,
  };
}

function responseEvents(request: Json): readonly Json[] {
  const whole = responseAnswer(request);
  const started = { ...whole, status: 'in_progress', output: [], usage: null };
  const at = { item_id: 'msg_demo', output_index: 0, content_index: 0 };
  return [
    { type: 'response.created', response: started },
    ...ANSWER.split(/(?<= )/).map((delta) => ({
      type: 'response.output_text.delta',
      ...at,
      delta,
    })),
    { type: 'response.output_text.done', ...at, text: ANSWER },
    { type: 'response.completed', response: whole },
  ].map((event, sequence_number) => ({ ...event, sequence_number }));
}
