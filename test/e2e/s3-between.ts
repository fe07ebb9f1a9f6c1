// SPDX-License-Identifier: Apache-2.0
/**
 * What stands between a client and a real S3 server and lets each request fail as a test says: cut off before or after
 * the server carried it out, answered with an error, or late. Passes all else on as it is, the signature included.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface Passed {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
}

export type Trouble = 'cut before' | 'cut after' | 'throttled' | 'late';

export interface Between {
  readonly endpoint: string;
  /** Decides on each request; replace it at any time. */
  trouble: (passed: Passed) => Trouble | undefined;
  close(): Promise<void>;
}

const LATE_MS = 400;
const SLOW_DOWN =
  '<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>later</Message></Error>';

export async function openBetween(endpoint: string): Promise<Between> {
  const target = new URL(endpoint);
  const pass = (asked: IncomingMessage, body: Buffer): Promise<[IncomingMessage, Buffer]> =>
    new Promise((resolve, reject) => {
      const options = { host: target.hostname, port: target.port, method: asked.method };
      const sent = request({ ...options, path: asked.url, headers: asked.headers }, (answer) => {
        read(answer).then((bytes) => resolve([answer, bytes]), reject);
      });
      sent.on('error', reject);
      sent.end(body);
    });
  const serve = async (asked: IncomingMessage, answer: ServerResponse): Promise<void> => {
    const trouble = between.trouble({ method: asked.method ?? '', path: asked.url ?? '' });
    const body = await read(asked);
    if (trouble === 'cut before') return void asked.socket.destroy();
    if (trouble === 'throttled') return void answer.writeHead(503).end(SLOW_DOWN);
    const [got, bytes] = await pass(asked, body);
    if (trouble === 'cut after') return void asked.socket.destroy();
    if (trouble === 'late') await delay(LATE_MS);
    answer.writeHead(got.statusCode ?? 500, got.headers).end(bytes);
  };
  const server = createServer((asked, answer) => {
    // Both ends may be gone by the time there is something to say.
    serve(asked, answer).catch(() => asked.socket.destroy());
  });
  // The client waits for it before it sends a body.
  server.on('checkContinue', (asked: IncomingMessage, answer: ServerResponse) => {
    answer.writeContinue();
    delete asked.headers.expect;
    serve(asked, answer).catch(() => asked.socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const between: Between = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    trouble: () => undefined,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return between;
}

async function read(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
