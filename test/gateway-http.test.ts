// SPDX-License-Identifier: Apache-2.0
// Goal: over HTTP there are three answers, also where Node would have ended a request by itself; pages for probes tell the
// truth. Method: node:http as client, and bare sockets for what it refuses to send.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import * as http from 'node:http';
import * as https from 'node:https';
import { connect, type Socket } from 'node:net';
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import type { SealOutcome } from '../exporter/node/capture/pending.ts';
import type { GatewayInput } from '../exporter/node/config/gateway-config.ts';
import { openHttp, type Probes } from '../exporter/node/gateway/gateway-http.ts';
import type { IntakeOptions } from '../exporter/node/gateway/gateway-intake.ts';
import type { ServerTlsFiles } from '../exporter/node/gateway/gateway-tls.ts';
import { fixedTls, openTestIntake, retrySecondsOf, tracesOf } from './support/gateway.ts';
import { decodeOtlp, selfSignedCertificate } from './support/otlp-backend.ts';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

interface Setting {
  readonly input?: GatewayInput;
  readonly intake?: Partial<IntakeOptions>;
  readonly tls?: ServerTlsFiles;
  readonly env?: Readonly<Record<string, string>>;
  readonly probes?: Partial<Probes>;
}

interface Reply {
  readonly code: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

async function setUp(setting: Setting = {}) {
  const listener = { listen: '127.0.0.1:0' };
  const opened = openTestIntake({ http: listener, ...setting.input }, setting.intake, setting.env);
  const listening = await openHttp({
    name: 'http',
    listener,
    settings: opened.settings,
    tls: setting.tls && fixedTls(setting.tls),
    intake: opened.intake,
    probes: {
      isAlive: () => true,
      closedBecause: () => undefined,
      metrics: async () => 'up 1\n',
      ...setting.probes,
    },
  });
  cleanUps.push(() => listening.drain(0));
  const agent = new http.Agent({ keepAlive: true });
  cleanUps.push(() => agent.destroy());
  const send = async (options: http.RequestOptions, body?: Uint8Array | string): Promise<Reply> => {
    const request = http.request({ host: '127.0.0.1', port: listening.port, agent, ...options });
    request.on('error', () => {});
    request.end(body);
    return replyOf(request);
  };
  const post = (
    body: Uint8Array | string,
    headers: http.OutgoingHttpHeaders = {},
    path = '/v1/traces',
  ): Promise<Reply> =>
    send({ method: 'POST', path, headers: { 'content-type': PROTOBUF, ...headers } }, body);
  const socket = async (): Promise<Socket> => {
    const raw = connect(listening.port, '127.0.0.1');
    raw.on('error', () => {});
    await once(raw, 'connect');
    cleanUps.push(() => raw.destroy());
    return raw;
  };
  return { ...opened, listening, send, post, socket };
}

async function replyOf(request: http.ClientRequest): Promise<Reply> {
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { code: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) };
}

/** All that comes out of a socket until it is closed. */
async function textOf(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'close');
  return Buffer.concat(chunks).toString();
}

const PROTOBUF = 'application/x-protobuf';
const GOOD = tracesOf('chat');
const GOOD_JSON = '{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"chat"}]}]}]}';

/** An answer's code, and what else tells a client whether to come again. */
function endOf({ code, headers, body }: Reply) {
  const isJson = headers['content-type'] === 'application/json';
  const retrySeconds = isJson || code === 200 ? undefined : retrySecondsOf(body);
  return { code, retryAfter: headers['retry-after'], retrySeconds };
}
const OK = { code: 200, retryAfter: undefined, retrySeconds: undefined };
const LATER = { code: 503, retryAfter: '1', retrySeconds: 1 };
const never = (code: number) => ({ code, retryAfter: undefined, retrySeconds: undefined });

describe('a request', () => {
  test('is sealed as it was sent, and answered with nothing rejected', async () => {
    const { post, sealed } = await setUp();
    const reply = await post(GOOD);
    expect(endOf(reply)).toEqual(OK);
    expect(reply.headers['content-type']).toBe(PROTOBUF);
    expect(reply.body.length).toBe(0);
    await post(GOOD, { 'content-type': `${PROTOBUF}; charset=utf-8` }, '/v1/logs?x=1');
    expect(sealed.map(({ kind, bytes }) => [kind, Buffer.from(bytes)])).toEqual([
      ['traces', Buffer.from(GOOD)],
      ['logs', Buffer.from(GOOD)],
    ]);
  });

  test('in JSON is answered in JSON', async () => {
    const { post, sealed } = await setUp();
    const good = await post(GOOD_JSON, { 'content-type': 'Application/JSON' });
    expect([good.code, good.headers['content-type'], good.body.toString()]).toEqual([
      200,
      'application/json',
      '{}',
    ]);
    expect(decodeOtlp('TracesData', sealed[0]!.bytes)).toEqual(decodeOtlp('TracesData', GOOD));
    const bad = await post('{', { 'content-type': 'application/json' });
    expect([bad.code, JSON.parse(bad.body.toString())]).toEqual([
      400,
      { code: 3, message: expect.stringMatching(/^json: /) },
    ]);
  });

  test('may come in chunks, with an Expect, and on one connection after another', async () => {
    const { send, post, sealed } = await setUp();
    const headers = {
      'content-type': PROTOBUF,
      'transfer-encoding': 'chunked',
      expect: '100-continue',
    };
    expect((await send({ method: 'POST', path: '/v1/traces', headers }, GOOD)).code).toBe(200);
    expect((await post(GOOD)).headers.connection).toBe('keep-alive');
    expect(sealed.length).toBe(2);
  });
});

describe('the code of the answer', () => {
  const lost =
    (code?: 'otlp.depth'): IntakeOptions['seal'] =>
    async () =>
      ({
        status: 'lost',
        cause: 'x',
        ...(code === undefined ? {} : { refused: { code, sha256: new Uint8Array(32) } }),
      }) as SealOutcome;
  const broken = (): never => {
    throw new Error('broken');
  };
  const small = { messageByteLengthMax: 10_000 };
  const clients = [{ id: 'a', token: { env: 'A' } }];
  const secured = { input: { clients }, env: { A: 'alpha' } };

  test.each<[string, Uint8Array | string, http.OutgoingHttpHeaders, Setting, object]>([
    ['sealed', GOOD, {}, {}, OK],
    ['of no bytes', '', {}, {}, OK],
    ['gzip', gzipSync(GOOD), { 'content-encoding': 'gzip' }, {}, OK],
    ['GZIP', gzipSync(GOOD), { 'content-encoding': ' GZIP' }, {}, OK],
    ['zstd', zstdCompressSync(GOOD), { 'content-encoding': 'zstd' }, {}, OK],
    ['identity', GOOD, { 'content-encoding': 'identity' }, {}, OK],
    ['with its token', GOOD, { authorization: 'Bearer alpha' }, secured, OK],
    ['no OTLP', Buffer.of(0xff), {}, {}, never(400)],
    ['refused by the walker', GOOD, {}, { intake: { seal: lost('otlp.depth') } }, never(400)],
    ['no gzip', 'garbage', { 'content-encoding': 'gzip' }, {}, never(400)],
    ['no token', GOOD, {}, secured, never(401)],
    ['a wrong token', GOOD, { authorization: 'Bearer x' }, secured, never(401)],
    ['too large', Buffer.alloc(10_001), {}, { input: small }, never(413)],
    [
      'too large, in chunks',
      Buffer.alloc(10_001),
      { 'transfer-encoding': 'chunked' },
      { input: small },
      never(413),
    ],
    [
      'a bomb',
      gzipSync(Buffer.alloc(1e7)),
      { 'content-encoding': 'gzip' },
      { input: small },
      never(413),
    ],
    ['text', GOOD, { 'content-type': 'text/plain' }, {}, never(415)],
    ['of no type', GOOD, { 'content-type': '' }, {}, never(415)],
    ['gRPC on the wrong port', GOOD, { 'content-type': 'application/grpc' }, {}, never(415)],
    ['brotli', brotliCompressSync(GOOD), { 'content-encoding': 'br' }, {}, LATER],
    ['twice compressed', GOOD, { 'content-encoding': 'gzip, gzip' }, {}, LATER],
    ['disk full', GOOD, {}, { intake: { seal: lost() } }, LATER],
    ['a sealer that throws', GOOD, {}, { intake: { seal: broken } }, LATER],
    ['a state that throws', GOOD, {}, { intake: { closedBecause: broken } }, LATER],
    ['ending', GOOD, {}, { intake: { closedBecause: () => 'ending' } }, LATER],
    [
      'a refusal that can not be counted',
      Buffer.of(0xff),
      {},
      { intake: { onRefusal: broken } },
      LATER,
    ],
  ])('%s', async (_name, body, headers, setting, end) => {
    const { post, intake } = await setUp(setting);
    expect(endOf(await post(body, headers))).toEqual(end);
    await new Promise(setImmediate);
    expect(intake.inFlightByteLength).toBe(0);
  });

  test('where even the intake throws', async () => {
    const { post, intake } = await setUp();
    intake.accept = () => Promise.reject(new Error('broken'));
    expect(endOf(await post(GOOD))).toEqual(LATER);
    intake.admit = broken;
    expect(endOf(await post(GOOD))).toEqual(LATER);
    expect(endOf(await post(GOOD_JSON, { 'content-type': 'application/json' }))).toEqual(LATER);
  });

  test.each([
    ['GET', '/v1/traces', 405],
    ['PUT', '/v1/logs', 405],
    ['POST', '/v1/metrics', 404],
    ['GET', '/', 404],
    ['POST', '/v1/traces/', 404],
  ])('%s %s', async (method, path, code) => {
    const { send } = await setUp();
    expect((await send({ method, path })).code).toBe(code);
  });

  test('of a refusal for want of credentials says which', async () => {
    const { post, refusals } = await setUp(secured);
    expect((await post(GOOD)).headers['www-authenticate']).toBe('Bearer');
    expect(refusals).toEqual([
      {
        sender: { kind: 'direct', principal: undefined },
        cause: 'client.unauthenticated',
        body: undefined,
      },
    ]);
  });
});

describe('what is no request', () => {
  test.each([
    ['no HTTP', 'hello\r\n\r\n', 'HTTP/1.1 400 '],
    [
      'two lengths',
      'POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      'HTTP/1.1 400 ',
    ],
    [
      'endless headers',
      `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
      'HTTP/1.1 431 ',
    ],
  ])('%s', async (_name, bytes, start) => {
    const { socket } = await setUp();
    const raw = await socket();
    raw.write(bytes);
    const text = await textOf(raw);
    expect(text.slice(0, start.length)).toBe(start);
  });
});

test('who sent no request does not keep the connection, even half of it', async () => {
  const { listening } = await setUp();
  const raw = connect({ port: listening.port, host: '127.0.0.1', allowHalfOpen: true });
  cleanUps.push(() => raw.destroy());
  raw.write('hello\r\n\r\n');
  raw.resume();
  await once(raw, 'end');
  // Waits for connections that are open, much longer than a test may take.
  await listening.drain(600_000);
});

describe('bytes and time', () => {
  const head = (length: number): string =>
    `POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: ${PROTOBUF}\r\nContent-Length: ${length}\r\n\r\n`;

  test('a body that does not come is answered, its connection cut, its bytes given back', async () => {
    const { socket, intake } = await setUp({ input: { readDelayMsMax: 50 } });
    const raw = await socket();
    raw.write(`${head(1000)}abc`);
    const text = await textOf(raw);
    expect(text).toMatch(/^HTTP\/1\.1 503 .*\r\n/);
    expect(text).toMatch(/\r\nretry-after: 1\r\n/);
    expect(intake.inFlightByteLength).toBe(0);
  });

  test('a head that does not come is answered with "come again" too', async () => {
    const { socket } = await setUp({ input: { readDelayMsMax: 50 } });
    const raw = await socket();
    raw.write('POST /v1/traces HTTP/1.1\r\nHost: x\r\n');
    expect(await textOf(raw)).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\nRetry-After: 1\r\n/);
  });

  test('past the budget the answer is to come again, before the body is whole', async () => {
    const { socket, post, intake } = await setUp({ input: { inFlightByteLengthMax: 10_000 } });
    const holding = await socket();
    holding.write(head(50_000));
    holding.write(Buffer.alloc(9000));
    while (intake.inFlightByteLength < 9000) await new Promise(setImmediate);
    expect(endOf(await post(Buffer.alloc(2000)))).toEqual(LATER);
    holding.destroy();
    while (intake.inFlightByteLength > 0) await new Promise(setImmediate);
    expect(endOf(await post(GOOD))).toEqual(OK);
  });

  test('a length that is too large is refused without waiting for it', async () => {
    const { socket, refusals } = await setUp({ input: { messageByteLengthMax: 10_000 } });
    const raw = await socket();
    raw.write(head(1e12));
    expect(await textOf(raw)).toMatch(/^HTTP\/1\.1 413 /);
    expect(refusals.map(({ cause }) => cause)).toEqual(['body.too-large']);
  });

  test('a client that goes away gives its bytes back', async () => {
    const { socket, intake, sealed } = await setUp();
    const raw = await socket();
    raw.write(`${head(1000)}abc`);
    while (intake.inFlightByteLength === 0) await new Promise(setImmediate);
    raw.destroy();
    while (intake.inFlightByteLength > 0) await new Promise(setImmediate);
    expect(sealed).toEqual([]);
  });

  test('a connection that is answered early again and again keeps nothing of it', async () => {
    const { socket } = await setUp();
    const warnings: Error[] = [];
    const warned = (warning: Error): unknown => warnings.push(warning);
    process.on('warning', warned);
    cleanUps.push(() => process.removeListener('warning', warned));
    const raw = await socket();
    for (let count = 0; count < 20; count++) {
      raw.write(`${head(1000).replace(PROTOBUF, 'text/plain')}abc`);
      expect(String(await once(raw, 'data'))).toMatch(/^HTTP\/1\.1 415 /);
      raw.write(Buffer.alloc(997));
    }
    expect(warnings).toEqual([]);
  });

  test('connections are closed when they are old, so that replicas share load', async () => {
    const { post } = await setUp({ input: { connectionAgeMsMax: 50 } });
    const closes: (string | undefined)[] = [];
    while (closes.at(-1) !== 'close') closes.push((await post(GOOD)).headers.connection);
    expect(closes[0]).toBe('keep-alive');
  });
});

describe('who it is from', () => {
  test('is the certificate of the client, and nobody gets in without one', async () => {
    const server = selfSignedCertificate(['localhost']);
    const ours = selfSignedCertificate(['client']);
    const tls = {
      cert: Buffer.from(server.cert),
      key: Buffer.from(server.key),
      ca: Buffer.from(ours.cert),
    };
    const { listening, sealed } = await setUp({ tls });
    const send = (own: { cert?: string; key?: string }): Promise<Reply> => {
      const request = https.request({
        host: 'localhost',
        port: listening.port,
        method: 'POST',
        path: '/v1/traces',
        headers: { 'content-type': PROTOBUF },
        ca: server.cert,
        agent: false,
        ...own,
      });
      request.end(GOOD);
      return replyOf(request);
    };
    expect(endOf(await send(ours))).toEqual(OK);
    const der = Buffer.from(ours.cert.replace(/-----[^-]+-----|\n/g, ''), 'base64');
    expect(sealed.map(({ source }) => source.principal)).toEqual([
      createHash('sha256').update(der).digest(),
    ]);
    await expect(send({})).rejects.toThrow();
    await expect(send(selfSignedCertificate(['client']))).rejects.toThrow();
    expect(sealed.length).toBe(1);
  });

  test('a listener says whether Collectors or applications come there', async () => {
    const { post, sealed } = await setUp({ input: { source: 'collector' } });
    await post(GOOD, { 'user-agent': 'direct' });
    expect(sealed[0]!.source.kind).toBe('collector');
  });
});

describe('pages', () => {
  test.each<[string, Partial<Probes>, number, string]>([
    ['/healthz', {}, 200, 'ok\n'],
    ['/healthz', { isAlive: () => false }, 503, 'sealing ended\n'],
    ['/readyz', {}, 200, 'ok\n'],
    ['/readyz', { closedBecause: () => 'the log is full' }, 503, 'the log is full\n'],
    ['/metrics', {}, 200, 'up 1\n'],
    ['/metrics', { metrics: undefined }, 404, 'not served here\n'],
    ['/metrics', { metrics: () => Promise.reject(new Error('x')) }, 503, ''],
  ])('%s', async (path, probes, code, text) => {
    const { send } = await setUp({ probes });
    const reply = await send({ path });
    expect(reply.code).toBe(code);
    if (text !== '') expect(reply.body.toString()).toBe(text);
  });

  test('alone take no spans', async () => {
    const { settings } = openTestIntake();
    const listening = await openHttp({
      name: 'admin',
      listener: { listen: '127.0.0.1:0' },
      settings,
      tls: undefined,
      intake: undefined,
      probes: { isAlive: () => true, closedBecause: () => undefined, metrics: undefined },
    });
    cleanUps.push(() => listening.drain(0));
    const base = `http://127.0.0.1:${listening.port}`;
    const headers = { 'content-type': PROTOBUF, connection: 'close' };
    const reply = await fetch(`${base}/v1/traces`, { method: 'POST', body: GOOD, headers });
    expect(reply.status).toBe(404);
  });
});

describe('the end', () => {
  test('answers what is under way and takes nothing new', async () => {
    let answer: ((outcome: SealOutcome) => void) | undefined;
    const seal = () =>
      new Promise<SealOutcome>((resolve) => {
        answer = resolve;
      });
    const { post, listening } = await setUp({ intake: { seal } });
    const underWay = post(GOOD);
    while (answer === undefined) await new Promise(setImmediate);
    const drained = listening.drain(10_000);
    await expect(fetch(`http://127.0.0.1:${listening.port}/healthz`)).rejects.toThrow();
    answer({ status: 'sealed', origin: 'a', recordIndex: 0, firstEntry: 0 });
    expect((await underWay).code).toBe(200);
    await drained;
  });

  test('an address that is taken is told', async () => {
    const { listening, settings, intake } = await setUp();
    const listener = { listen: `127.0.0.1:${listening.port}` };
    const probes = { isAlive: () => true, closedBecause: () => undefined, metrics: undefined };
    await expect(
      openHttp({ name: 'http', listener, settings, tls: undefined, intake, probes }),
    ).rejects.toThrow(`gateway.http: ${listener.listen} can not be bound: listen EADDRINUSE`);
  });
});
