// SPDX-License-Identifier: Apache-2.0
/**
 * A provider that speaks Bedrock's REST interface and its event streams. The last word of a model's name says what happens, as
 * with the others; the word before says the family: `converse`, `anthropic` or `titan`.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { crc32 } from 'node:zlib';
import type { Provider } from './matrix.ts';

const TEXT = 'Grüß dich 👋';
const USAGE = { inputTokens: 12, outputTokens: 5, totalTokens: 17, cacheReadInputTokens: 4 };
const METRICS = {
  'amazon-bedrock-invocationMetrics': { inputTokenCount: 12, outputTokenCount: 5 },
};
const INPUT = { city: 'Köln' };

export async function startFakeBedrock(): Promise<Provider> {
  const attempts = new Map<string, number>();
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => answer(decodeURIComponent(request.url ?? ''), response, attempts));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(path: string, response: ServerResponse, attempts: Map<string, number>): void {
  const [, model = '', method = ''] = /^\/model\/(.*)\/(.*)$/.exec(path) ?? [];
  const [family = '', behaviour = ''] = model.split('.').slice(-2);
  const count = (attempts.get(model) ?? 0) + 1;
  attempts.set(model, count);
  response.setHeader('x-amzn-requestid', 'req-1');
  if (behaviour === 'hangs') return;
  if (behaviour === 'refuses') {
    fail(response, 400, 'ValidationException');
  } else if (behaviour === 'broken' || (behaviour === 'flaky' && count === 1)) {
    fail(response, 500, 'InternalServerException');
  } else if (method.endsWith('stream')) {
    sendEvents(response, behaviour, eventsOf(family, behaviour));
  } else {
    response.setHeader('x-amzn-bedrock-input-token-count', '12');
    response.setHeader('x-amzn-bedrock-output-token-count', '5');
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(wholeOf(family, behaviour)));
  }
}

function fail(response: ServerResponse, status: number, type: string): void {
  response.writeHead(status, { 'content-type': 'application/json', 'x-amzn-errortype': type });
  response.end(JSON.stringify({ message: 'no' }));
}

function wholeOf(family: string, behaviour: string): unknown {
  const isTool = behaviour === 'tools';
  switch (family) {
    case 'anthropic':
      return {
        id: 'msg-1',
        type: 'message',
        role: 'assistant',
        model: 'claude-fake',
        content: [{ type: 'text', text: TEXT }],
        stop_reason: 'end_turn',
        usage: { input_tokens: 12, output_tokens: 5 },
      };
    case 'titan':
      return { inputTextTokenCount: 12, results: [{ outputText: TEXT, tokenCount: 5 }] };
    default: {
      const tool = { toolUse: { toolUseId: 'call-1', name: 'weather', input: INPUT } };
      const content = isTool ? [tool] : [{ text: TEXT }];
      return {
        output: { message: { role: 'assistant', content } },
        stopReason: isTool ? 'tool_use' : 'end_turn',
        usage: USAGE,
        metrics: { latencyMs: 7 },
      };
    }
  }
}

type Event = readonly [type: string, payload: unknown];

function eventsOf(family: string, behaviour: string): readonly Event[] {
  const pieces = ['Grüß', ' dich', ' 👋'];
  const chunk = (value: unknown): Event => [
    'chunk',
    { bytes: Buffer.from(JSON.stringify(value)).toString('base64') },
  ];
  if (family === 'anthropic') {
    const message = { id: 'msg-1', role: 'assistant', model: 'claude-fake', content: [] };
    return [
      { type: 'message_start', message: { ...message, usage: { input_tokens: 12 } } },
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      ...pieces.map((text) => ({
        type: 'content_block_delta',
        index: 0,
        delta: { type: 'text_delta', text },
      })),
      { type: 'content_block_stop', index: 0 },
      { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 5 } },
      { type: 'message_stop', ...METRICS },
    ].map(chunk);
  }
  if (family === 'titan') {
    return [
      ...pieces.map((outputText) => ({ outputText })),
      { completionReason: 'FINISH', ...METRICS },
    ].map(chunk);
  }
  const contentBlockIndex = 0;
  const delta = (value: unknown): Event => [
    'contentBlockDelta',
    { contentBlockIndex, delta: value },
  ];
  const tool = { toolUse: { toolUseId: 'call-1', name: 'weather' } };
  const isTool = behaviour === 'tools';
  return [
    ['messageStart', { role: 'assistant' }],
    ...(isTool
      ? [
          ['contentBlockStart', { contentBlockIndex, start: tool }] as const,
          ...['{"city"', ': "Köln"}'].map((input) => delta({ toolUse: { input } })),
        ]
      : pieces.map((text) => delta({ text }))),
    ['contentBlockStop', { contentBlockIndex }],
    ['messageStop', { stopReason: isTool ? 'tool_use' : 'end_turn' }],
    ['metadata', { usage: USAGE, metrics: { latencyMs: 7 } }],
  ];
}

function sendEvents(response: ServerResponse, behaviour: string, events: readonly Event[]): void {
  response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' });
  const isBroken = ['cut', 'dies', 'waits', 'error'].includes(behaviour);
  for (const [type, payload] of isBroken ? events.slice(0, 2) : events) {
    response.write(encode({ ':message-type': 'event', ':event-type': type }, payload));
  }
  if (behaviour === 'waits') return;
  if (behaviour === 'dies') {
    // Once what was written is on its way, so that the application gets it first.
    setTimeout(() => response.destroy(), 50);
    return;
  }
  if (behaviour === 'error') {
    const headers = { ':message-type': 'exception', ':exception-type': 'throttlingException' };
    response.write(encode(headers, { message: 'slow down' }));
  }
  response.end();
}

/** A message of `application/vnd.amazon.eventstream`. */
function encode(headers: Readonly<Record<string, string>>, payload: unknown): Uint8Array {
  const fields = { ...headers, ':content-type': 'application/json' };
  const head = Buffer.concat(
    Object.entries(fields).map(([name, value]) => {
      const size = Buffer.alloc(2);
      size.writeUInt16BE(Buffer.byteLength(value));
      // 7 is a text.
      return Buffer.concat([
        Buffer.from([Buffer.byteLength(name)]),
        Buffer.from(name),
        Buffer.from([7]),
        size,
        Buffer.from(value),
      ]);
    }),
  );
  const body = Buffer.from(JSON.stringify(payload));
  const prelude = Buffer.alloc(12);
  prelude.writeUInt32BE(head.length + body.length + 16, 0);
  prelude.writeUInt32BE(head.length, 4);
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8);
  const message = Buffer.concat([prelude, head, body]);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(message));
  return Buffer.concat([message, checksum]);
}
