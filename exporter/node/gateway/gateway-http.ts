// SPDX-License-Identifier: Apache-2.0
/**
 * OTLP over HTTP, protobuf and JSON, and the pages for probes and Prometheus. Answers every request with one of three
 * answers, also those that Node would end by itself: its own 408 and 500 are codes that a Collector throws data away at.
 */
import * as http from 'node:http';
import * as https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import {
  type GatewaySettings,
  type ListenerSettings,
  parseListen,
} from '../config/gateway-config.ts';
import type { OtlpKind } from '../otlp/otlp-config.ts';
import { causeOf } from '../system/cause.ts';
import { joinBytes } from '../system/own-bytes.ts';
import { CAME_TO_NOTHING, encodeStatus, grpcCodeOf, httpCodeOf } from './gateway-answer.ts';
import { type Answer, Arrival, type Intake } from './gateway-intake.ts';
import type { GatewayTls } from './gateway-tls.ts';

/** What probes and Prometheus are told. */
export interface Probes {
  readonly isAlive: () => boolean;
  /** Undefined while requests are taken; else why not. */
  readonly closedBecause: () => string | undefined;
  /** Prometheus text; undefined where this listener does not tell. */
  readonly metrics: (() => Promise<string>) | undefined;
}

export interface HttpOptions {
  /** Of the section, for messages: `http` or `admin`. */
  readonly name: string;
  readonly listener: ListenerSettings;
  readonly settings: GatewaySettings;
  readonly tls: GatewayTls | undefined;
  /** Undefined where only probes are answered. */
  readonly intake: Intake | undefined;
  readonly probes: Probes;
}

export interface HttpListening {
  readonly port: number;
  /** Takes nothing new and waits for what is under way, at most so long. */
  drain(delayMs: number): Promise<void>;
}

const EXPORT_PATHS: ReadonlyMap<string, OtlpKind> = new Map([
  ['/v1/traces', 'traces'],
  ['/v1/logs', 'logs'],
]);
const FORMATS: ReadonlyMap<string, 'protobuf' | 'json'> = new Map([
  ['application/x-protobuf', 'protobuf'],
  ['application/json', 'json'],
]);
const MEDIA_TYPES = { protobuf: 'application/x-protobuf', json: 'application/json' } as const;

const HEADERS_DELAY_MS_MAX = 10_000;
/** Above that of Go's and Java's clients, so that it is they who close an idle connection, and no request is lost. */
const IDLE_DELAY_MS_MAX = 120_000;
const CHECK_DELAY_MS = 1000;
const HANDSHAKE_DELAY_MS_MAX = 10_000;
/** How long a client may go on sending after its answer: cut at once, it might never read it, and send it all again. */
const AFTER_ANSWER_DELAY_MS = 2000;

const SWEEP_DELAY_MS = 20;

/** What reading a body comes to; `gone` where there is nobody left to answer. */
type Body = Uint8Array | Answer | 'gone';

/** @throws Error where the address can not be bound */
export async function openHttp(options: HttpOptions): Promise<HttpListening> {
  const { settings, tls, name } = options;
  const bornAtMs = new WeakMap<Socket, number>();
  const listener = (request: http.IncomingMessage, response: http.ServerResponse): void => {
    const ageMs = performance.now() - (bornAtMs.get(request.socket) ?? performance.now());
    // Collectors stay on one connection for ever: without an age a new replica gets no load.
    if (ageMs > settings.connectionAgeMsMax) response.setHeader('connection', 'close');
    handle(options, request, response).catch(() => {
      // What was answered stays answered.
      if (!response.headersSent) reply(options, request, response, CAME_TO_NOTHING, 'protobuf');
    });
  };
  const serverOptions: http.ServerOptions = {
    headersTimeout: Math.min(HEADERS_DELAY_MS_MAX, settings.readDelayMsMax),
    // Ours is the clock over the whole request: Node would answer 408.
    requestTimeout: 0,
    keepAliveTimeout: IDLE_DELAY_MS_MAX,
    connectionsCheckingInterval: CHECK_DELAY_MS,
  };
  const server =
    tls === undefined
      ? http.createServer(serverOptions, listener)
      : createSecureServer(tls, serverOptions, listener);
  server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
    bornAtMs.set(socket, performance.now());
  });
  server.on('clientError', answerBrokenClient);

  const { host, port } = parseListen(options.listener.listen);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      reject(
        new Error(
          `gateway.${name}: ${options.listener.listen} can not be bound: ${causeOf(error)}`,
        ),
      );
    });
    server.listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    drain: (delayMs) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => server.closeAllConnections(), delayMs);
        // A connection that has its answer stays open for the next request, which will not come.
        const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_DELAY_MS);
        server.close(() => {
          clearTimeout(timer);
          clearInterval(sweep);
          resolve();
        });
      }),
  };
}

function createSecureServer(
  tls: GatewayTls,
  options: http.ServerOptions,
  listener: http.RequestListener,
): https.Server {
  const hasCa = tls.files.ca !== undefined;
  const server = https.createServer(
    {
      ...options,
      ...tls.files,
      handshakeTimeout: HANDSHAKE_DELAY_MS_MAX,
      requestCert: hasCa,
      rejectUnauthorized: hasCa,
    },
    listener,
  );
  tls.watch((files) => server.setSecureContext(files));
  return server;
}

async function handle(
  options: HttpOptions,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<void> {
  const path = (request.url ?? '').split('?', 1)[0]!;
  const kind = options.intake === undefined ? undefined : EXPORT_PATHS.get(path);
  if (kind === undefined || options.intake === undefined) {
    return answerPage(options.probes, path, request, response);
  }
  if (request.method !== 'POST') {
    response.setHeader('allow', 'POST');
    return end(request, response, 405, 'text/plain', 'POST only\n');
  }
  const [mediaType = ''] = (request.headers['content-type'] ?? '').split(';', 1);
  const format = FORMATS.get(mediaType.trim().toLowerCase());
  const { intake, listener, settings } = options;
  const admitted = intake.admit(
    request.headers.authorization,
    certificateOf(request.socket),
    listener.source ?? settings.source,
  );
  if (!(admitted instanceof Arrival)) {
    return reply(options, request, response, admitted, format ?? 'protobuf');
  }
  try {
    let answer: Answer;
    if (format === undefined) {
      const message = 'application/x-protobuf or application/json';
      answer = intake.refuse(admitted.sender, 'media-type', 'body.media-type', message);
    } else {
      const body = await readBody(request, admitted, intake, settings.readDelayMsMax);
      if (body === 'gone') return;
      answer =
        body instanceof Uint8Array
          ? await intake.accept(admitted, {
              kind,
              format,
              body,
              encoding: (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase(),
            })
          : body;
    }
    reply(options, request, response, answer, format ?? 'protobuf');
  } finally {
    if (!admitted.isHandedOver) admitted.release();
  }
}

/** DER of the certificate that TLS checked against the CA of clients. */
function certificateOf(socket: Socket): Uint8Array | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  return socket.getPeerCertificate()?.raw;
}

function readBody(
  request: http.IncomingMessage,
  arrival: Arrival,
  intake: Intake,
  delayMs: number,
): Promise<Body> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let byteLength = 0;
    const done = (body: Body): void => {
      clearTimeout(timer);
      request.removeListener('data', take);
      resolve(body);
    };
    /** Does the work of an event: a throw there would end the process. */
    const guard = (work: () => void): void => {
      try {
        work();
      } catch {
        done(CAME_TO_NOTHING);
      }
    };
    const take = (chunk: Buffer): void =>
      guard(() => {
        byteLength += chunk.length;
        if (byteLength > intake.messageByteLengthMax) done(intake.tooLarge(arrival.sender));
        else if (!arrival.take(chunk.length)) done(intake.full());
        else chunks.push(chunk);
      });
    const timer = setTimeout(() => guard(() => done(intake.slow())), delayMs);
    guard(() => {
      if (Number(request.headers['content-length']) > intake.messageByteLengthMax) {
        done(intake.tooLarge(arrival.sender));
        return;
      }
      request.on('data', take);
      request.once('end', () => guard(() => done(joinBytes(chunks))));
      request.once('close', () => done('gone'));
      request.once('error', () => done('gone'));
    });
  });
}

function reply(
  options: HttpOptions,
  request: http.IncomingMessage,
  response: http.ServerResponse,
  answer: Answer,
  format: 'protobuf' | 'json',
): void {
  const { retryDelayMs } = options.settings;
  let body: Buffer | string = format === 'json' ? '{}' : '';
  if (answer.status !== 'sealed') {
    body =
      format === 'json'
        ? JSON.stringify({ code: grpcCodeOf(answer), message: answer.message })
        : encodeStatus(answer, retryDelayMs);
  }
  if (answer.status === 'later') response.setHeader('retry-after', Math.ceil(retryDelayMs / 1000));
  if (answer.status === 'never' && answer.reason === 'unauthenticated') {
    response.setHeader('www-authenticate', 'Bearer');
  }
  end(request, response, httpCodeOf(answer), MEDIA_TYPES[format], body);
}

function end(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  code: number,
  mediaType: string,
  body: Buffer | string,
): void {
  if (!request.complete) {
    // It may still be sending: not read, it would never see the answer; read for ever, it would hold the connection. Node
    // would cut it as soon as the answer is out, did the answer say `close`.
    response.removeHeader('connection');
    request.resume();
    cutLater(request.socket, request);
  }
  response.writeHead(code, {
    'content-type': mediaType,
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

/** Destroys a connection in a while, unless there is an end to what is being received. */
function cutLater(socket: Socket, request?: http.IncomingMessage): void {
  const timer = setTimeout(() => socket.destroy(), AFTER_ANSWER_DELAY_MS).unref();
  // A connection that stays may be answered early again and again.
  const end = (): void => {
    clearTimeout(timer);
    socket.removeListener('close', end);
  };
  request?.once('end', end);
  socket.once('close', end);
}

async function answerPage(
  probes: Probes,
  path: string,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<void> {
  const page = (code: number, text: string): void =>
    end(request, response, code, 'text/plain; charset=utf-8', text);
  if (path === '/healthz') {
    if (probes.isAlive()) page(200, 'ok\n');
    else page(503, 'sealing ended\n');
  } else if (path === '/readyz') {
    const cause = probes.closedBecause();
    page(cause === undefined ? 200 : 503, `${cause ?? 'ok'}\n`);
  } else if (path === '/metrics' && probes.metrics !== undefined) {
    const text = await probes.metrics();
    end(request, response, 200, 'text/plain; version=0.0.4; charset=utf-8', text);
  } else page(404, 'not served here\n');
}

/** Answers what never became a request. Only what can not be HTTP is refused for good. */
function answerBrokenClient(error: NodeJS.ErrnoException, socket: Socket | TLSSocket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code?.startsWith('HPE_')
        ? '400 Bad Request'
        : '503 Service Unavailable\r\nRetry-After: 1';
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  // Half closed, it would be open for as long as the client likes.
  cutLater(socket);
}
