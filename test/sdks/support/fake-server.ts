// SPDX-License-Identifier: Apache-2.0
/**
 * The part that all local providers have in common: they fail in the ways real ones fail, as the model's name asks for.
 * What an answer looks like on the wire is up to each. Nothing here depends on the clock or on chance.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Provider } from './matrix.ts';

/** A request to a provider, read whole. */
export interface Request {
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** How a provider speaks. */
export interface Wire {
  /** The name of the model that a request asks for. */
  readonly modelOf: (request: Request) => string;
  /** Pieces of a streamed answer as they stand on the wire; undefined if the request asks for a whole one. */
  readonly pieces: (request: Request) => readonly string[] | undefined;
  /** How many pieces a stream that does not get to its end gives. */
  readonly piecesBeforeFault: number;
  readonly streamType: string;
  readonly whole: (request: Request) => unknown;
  readonly error: (status: number) => unknown;
  /** The piece by which a stream reports an error, if the protocol has one. */
  readonly errorPiece?: string;
}

/**
 * Models, by the last word of their name: `fake` answers; `tools` calls a tool; `cut` ends a stream early but cleanly; `dies`
 * breaks the connection within a stream; `error` reports an error within a stream; `waits` stops within a stream and keeps the
 * connection; `hangs` never answers; `refuses` is 400; `broken` is 500; `flaky` is 500 once and then answers; `html` is a
 * proxy's page.
 */
export async function startFakeServer(wire: Wire): Promise<Provider> {
  const attempts = new Map<string, number>();
  const server = createServer((message, response) => {
    void readBody(message).then((body) => {
      answer(wire, { path: message.url ?? '', body }, response, attempts);
    });
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

async function readBody(message: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}

function answer(
  wire: Wire,
  request: Request,
  response: ServerResponse,
  attempts: Map<string, number>,
): void {
  const model = wire.modelOf(request);
  const kind = model.split('-').at(-1) ?? '';
  // SDKs that know these do not wait for half a second and more before they try again.
  response.setHeader('retry-after-ms', '1');
  response.setHeader('request-id', 'req-1');
  response.setHeader('x-request-id', 'req-1');
  // The only header that would differ from run to run.
  response.sendDate = false;
  const count = (attempts.get(model) ?? 0) + 1;
  attempts.set(model, count);
  switch (kind) {
    case 'hangs':
      return;
    case 'refuses':
      sendJson(response, 400, wire.error(400));
      return;
    case 'html':
      response.writeHead(200, { 'content-type': 'text/html' });
      response.end('<p>proxy</p>');
      return;
    case 'broken':
      sendJson(response, 500, wire.error(500));
      return;
    case 'flaky':
      if (count === 1) {
        sendJson(response, 500, wire.error(500));
        return;
      }
      break;
    default:
  }
  const pieces = wire.pieces(request);
  if (pieces === undefined) sendJson(response, 200, wire.whole(request));
  else sendPieces(response, wire, kind, pieces);
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function sendPieces(
  response: ServerResponse,
  wire: Wire,
  kind: string,
  pieces: readonly string[],
): void {
  response.writeHead(200, { 'content-type': wire.streamType });
  const isBroken = ['cut', 'dies', 'waits', 'error'].includes(kind);
  const sent = isBroken ? pieces.slice(0, wire.piecesBeforeFault) : pieces;
  for (const piece of sent) response.write(piece);
  if (kind === 'waits') return;
  if (kind === 'error' && wire.errorPiece !== undefined) response.write(wire.errorPiece);
  if (kind === 'dies') {
    // Once what was written is on its way, so that the application gets it first.
    response.write('\n', () => setImmediate(() => response.destroy()));
    return;
  }
  response.end();
}

/** A text in pieces of four UTF-16 units, which cut through characters beyond the first plane as some providers do. */
export function piecesOf(text: string): readonly string[] {
  return text.match(/[\s\S]{1,4}/g) ?? [];
}

/** A server-sent event; without a name unless given. */
export function event(data: unknown, name?: string): string {
  const first = name === undefined ? '' : `event: ${name}\n`;
  return `${first}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
}

/** What every provider answers. */
export const TEXT = 'Grüß dich 👋';
/** What every provider calls its tool with. */
export const ARGUMENTS: Readonly<Record<string, string>> = { city: 'Köln' };
