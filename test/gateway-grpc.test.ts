// SPDX-License-Identifier: Apache-2.0
// Goal: over gRPC, too, there are three answers, whatever grpc-js would have said; and no client holds memory it did not
// pay for with bytes, nor for longer than allowed. Method: the real grpc-js client, and a bare HTTP/2 client for what it
// refuses to send.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { ClientHttp2Session } from 'node:http2';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type ChannelCredentials, Client, credentials, Metadata } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import type { SealOutcome } from '../exporter/node/capture/pending.ts';
import type { GatewayInput } from '../exporter/node/config/gateway-config.ts';
import { type Listening, openGrpc } from '../exporter/node/gateway/gateway-grpc.ts';
import type { IntakeOptions } from '../exporter/node/gateway/gateway-intake.ts';
import type { ServerTlsFiles } from '../exporter/node/gateway/gateway-tls.ts';
import {
  fixedTls,
  framed,
  type GrpcEnd,
  LOGS_METHOD,
  openSession,
  openTestIntake,
  rawGrpcCall,
  retrySecondsOf,
  TRACES_METHOD,
  tracesOf,
} from './support/gateway.ts';
import { selfSignedCertificate } from './support/otlp-backend.ts';

const GZIP = 2;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

interface Setting {
  readonly input?: GatewayInput;
  readonly intake?: Partial<IntakeOptions>;
  readonly tls?: ServerTlsFiles;
  readonly env?: Readonly<Record<string, string>>;
  readonly isReady?: () => boolean;
}

async function setUp(setting: Setting = {}) {
  const listener = { listen: '127.0.0.1:0' };
  const test = openTestIntake({ grpc: listener, ...setting.input }, setting.intake, setting.env);
  const listening: Listening = await openGrpc({
    listener,
    settings: test.settings,
    tls: setting.tls && fixedTls(setting.tls),
    intake: test.intake,
    isReady: setting.isReady ?? (() => true),
  });
  cleanUps.push(() => listening.drain(0));
  const session = async (): Promise<ClientHttp2Session> => {
    const opened = await openSession(listening.port);
    cleanUps.push(() => opened.destroy());
    return opened;
  };
  const client = (
    options: object = {},
    channel: ChannelCredentials = credentials.createInsecure(),
  ) => {
    const opened = new Client(`localhost:${listening.port}`, channel, {
      'grpc.max_send_message_length': -1,
      ...options,
    });
    cleanUps.push(() => opened.close());
    return opened;
  };
  return { ...test, listening, session, client };
}

const same = (bytes: Buffer): Buffer => bytes;

function call(
  client: Client,
  bytes: Uint8Array,
  path: string = TRACES_METHOD,
  headers: Readonly<Record<string, string>> = {},
): Promise<GrpcEnd & { readonly answer?: Buffer }> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, same, same, Buffer.from(bytes), metadata, {}, (error, answer) => {
      if (error === null) {
        resolve({ code: 0, message: '', retrySeconds: undefined, answer: answer! });
        return;
      }
      const details = error.metadata.get('grpc-status-details-bin')[0] as Buffer | undefined;
      resolve({
        code: error.code,
        message: error.details,
        retrySeconds: retrySecondsOf(details),
      });
    });
  });
}

const GOOD = tracesOf('chat');
const OK = { code: 0, retrySeconds: undefined };
const LATER = { code: 14, retrySeconds: 1 };
const never = (code: number) => ({ code, retrySeconds: undefined });

describe('a request of the real client', () => {
  test('is sealed as it was sent, and answered with nothing rejected', async () => {
    const { client, sealed } = await setUp();
    const answer = await call(client(), GOOD);
    expect(answer).toMatchObject(OK);
    expect(answer.answer).toEqual(Buffer.alloc(0));
    await call(client(), GOOD, LOGS_METHOD);
    expect(sealed.map(({ kind, bytes }) => [kind, Buffer.from(bytes)])).toEqual([
      ['traces', Buffer.from(GOOD)],
      ['logs', Buffer.from(GOOD)],
    ]);
  });

  test('may be compressed, and several at once', async () => {
    const { client, sealed } = await setUp();
    const gzipping = client({ 'grpc.default_compression_algorithm': GZIP });
    const requests = Array.from({ length: 20 }, (_, at) => tracesOf(`chat ${at}`.repeat(1000)));
    for (const answer of await Promise.all(requests.map((request) => call(gzipping, request)))) {
      expect(answer).toMatchObject(OK);
    }
    const texts = (list: readonly Uint8Array[]) =>
      list.map((bytes) => Buffer.from(bytes).toString()).sort();
    expect(texts(sealed.map(({ bytes }) => bytes))).toEqual(texts(requests));
  });

  test('of 64 MiB is taken, of a byte more refused for good', async () => {
    const { client, sealed, refusals } = await setUp();
    // Seven bytes of tags and lengths at each of four levels is room enough.
    const name = 'x'.repeat(64 * 1024 * 1024 - 40);
    let request = tracesOf(name);
    while (request.length < 64 * 1024 * 1024) {
      request = tracesOf(name + 'x'.repeat(64 * 1024 * 1024 - request.length));
    }
    expect(request.length).toBe(64 * 1024 * 1024);
    const one = client();
    expect(await call(one, request)).toMatchObject(OK);
    expect(sealed[0]!.bytes.length).toBe(request.length);
    expect(await call(one, new Uint8Array(request.length + 1))).toMatchObject(never(8));
    expect(refusals).toEqual([
      {
        sender: { kind: 'direct', principal: undefined },
        cause: 'body.too-large',
        body: undefined,
      },
    ]);
  });

  test('for another service is not implemented', async () => {
    const { client } = await setUp();
    const metrics = '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export';
    expect(await call(client(), GOOD, metrics)).toMatchObject({ code: 12 });
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

  test.each<[string, Buffer, Record<string, string>, Setting, object]>([
    ['sealed', framed(GOOD), {}, {}, OK],
    ['of no bytes', framed(Buffer.alloc(0)), {}, {}, OK],
    ['gzip', framed(gzipSync(GOOD), true), { 'grpc-encoding': 'gzip' }, {}, OK],
    ['zstd', framed(zstdCompressSync(GOOD), true), { 'grpc-encoding': 'zstd' }, {}, OK],
    ['compression announced, and not used', framed(GOOD), { 'grpc-encoding': 'gzip' }, {}, OK],
    ['no OTLP', framed(Buffer.of(0xff)), {}, {}, never(3)],
    ['refused by the walker', framed(GOOD), {}, { intake: { seal: lost('otlp.depth') } }, never(3)],
    ['no gzip', framed(Buffer.from('garbage'), true), { 'grpc-encoding': 'gzip' }, {}, never(3)],
    ['no message', Buffer.alloc(0), {}, {}, never(3)],
    ['two messages', Buffer.concat([framed(GOOD), framed(GOOD)]), {}, {}, never(3)],
    ['half a message, and the end', framed(GOOD).subarray(0, 8), {}, {}, never(3)],
    ['too large', framed(Buffer.alloc(10_001)), {}, { input: small }, never(8)],
    [
      'too large, by its own word',
      framed(GOOD, false, 0xffff_ffff),
      {},
      { input: small },
      never(8),
    ],
    [
      'a bomb',
      framed(gzipSync(Buffer.alloc(10_000_000)), true),
      { 'grpc-encoding': 'gzip' },
      { input: small },
      never(8),
    ],
    ['snappy', framed(GOOD, true), { 'grpc-encoding': 'snappy' }, {}, LATER],
    ['compressed by nothing', framed(GOOD, true), {}, {}, OK],
    ['disk full', framed(GOOD), {}, { intake: { seal: lost() } }, LATER],
    ['a sealer that throws', framed(GOOD), {}, { intake: { seal: broken } }, LATER],
    ['a state that throws', framed(GOOD), {}, { intake: { closedBecause: broken } }, LATER],
    ['ending', framed(GOOD), {}, { intake: { closedBecause: () => 'ending' } }, LATER],
    [
      'a refusal that can not be counted',
      framed(Buffer.of(0xff)),
      {},
      { intake: { onRefusal: broken } },
      LATER,
    ],
    ['a timeout that is none', framed(GOOD), { 'grpc-timeout': 'soon' }, {}, { code: 14 }],
    ['a metadata value that is none', framed(GOOD), { 'x-bin': '%%%' }, {}, OK],
  ])('%s', async (_name, bytes, headers, setting, end) => {
    const { session, intake } = await setUp(setting);
    expect(await rawGrpcCall(await session(), bytes, headers)).toMatchObject(end);
    await new Promise(setImmediate);
    expect(intake.inFlightByteLength).toBe(0);
  });

  test('where even the intake throws', async () => {
    const { client, intake } = await setUp();
    const one = client();
    expect(await call(one, GOOD)).toMatchObject(OK);
    intake.accept = () => Promise.reject(new Error('broken'));
    expect(await call(one, GOOD)).toMatchObject(LATER);
    intake.admit = broken;
    expect(await call(one, GOOD)).toMatchObject({ code: 14 });
  });
});

describe('who it is from', () => {
  const clients = [
    { id: 'a', token: { env: 'A' } },
    { id: 'b', token: { env: 'B' }, source: 'collector' as const },
  ];
  const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest();

  test('is the token, and nobody without one', async () => {
    const { client, sealed, refusals } = await setUp({
      input: { clients },
      env: { A: 'alpha', B: 'beta' },
    });
    const one = client();
    expect(await call(one, GOOD)).toMatchObject(never(16));
    expect(await call(one, GOOD, TRACES_METHOD, { authorization: 'Bearer x' })).toMatchObject(
      never(16),
    );
    for (const token of ['alpha', 'beta']) {
      const headers = { authorization: `Bearer ${token}` };
      expect(await call(one, GOOD, TRACES_METHOD, headers)).toMatchObject(OK);
    }
    expect(sealed.map(({ source }) => source)).toEqual([
      { kind: 'direct', principal: sha256('a'), policy: 'verbatim' },
      { kind: 'collector', principal: sha256('b'), policy: 'verbatim' },
    ]);
    expect(refusals.map(({ cause }) => cause)).toEqual(Array(2).fill('client.unauthenticated'));
  });

  test('is the certificate of the client, and nobody gets in without one', async () => {
    const server = selfSignedCertificate(['localhost']);
    const ours = selfSignedCertificate(['client']);
    const tls = {
      cert: Buffer.from(server.cert),
      key: Buffer.from(server.key),
      ca: Buffer.from(ours.cert),
    };
    const { client, sealed } = await setUp({ tls });
    const pem = (text: string) => Buffer.from(text);
    const withCertificate = credentials.createSsl(pem(server.cert), pem(ours.key), pem(ours.cert));
    expect(await call(client({}, withCertificate), GOOD)).toMatchObject(OK);
    const der = Buffer.from(ours.cert.replace(/-----[^-]+-----|\n/g, ''), 'base64');
    expect(sealed.map(({ source }) => source.principal)).toEqual([sha256(der)]);
    const without = credentials.createSsl(pem(server.cert));
    expect(await call(client({}, without), GOOD)).toMatchObject({ code: 14 });
    const other = selfSignedCertificate(['client']);
    const stranger = credentials.createSsl(pem(server.cert), pem(other.key), pem(other.cert));
    expect(await call(client({}, stranger), GOOD)).toMatchObject({ code: 14 });
    expect(sealed.length).toBe(1);
  });

  test('is nobody known with TLS alone', async () => {
    const server = selfSignedCertificate(['localhost']);
    const tls = { cert: Buffer.from(server.cert), key: Buffer.from(server.key) };
    const { client, sealed } = await setUp({ tls });
    expect(await call(client({}, credentials.createSsl(tls.cert)), GOOD)).toMatchObject(OK);
    expect(sealed[0]!.source.principal).toBeUndefined();
  });
});

describe('bytes and time', () => {
  test('a message that does not come is answered, its stream cut, its bytes given back', async () => {
    const { session, intake } = await setUp({ input: { readDelayMsMax: 50 } });
    const opened = await session();
    const slow = rawGrpcCall(opened, framed(GOOD, false, 5000), {}, false);
    expect(await slow).toMatchObject(LATER);
    expect(intake.inFlightByteLength).toBe(0);
    expect(await rawGrpcCall(opened, framed(GOOD))).toMatchObject(OK);
  });

  test('past the budget the answer is to come again, before the message is whole', async () => {
    const { session, intake } = await setUp({
      input: { inFlightByteLengthMax: 10_000, readDelayMsMax: 60_000 },
    });
    const opened = await session();
    // Held by a client that does not go on.
    const holding = opened.request({
      ':method': 'POST',
      ':path': TRACES_METHOD,
      'content-type': 'application/grpc',
    });
    holding.on('error', () => {});
    holding.write(framed(Buffer.alloc(9000), false, 50_000));
    while (intake.inFlightByteLength < 9000) await new Promise(setImmediate);
    const over = rawGrpcCall(await session(), framed(Buffer.alloc(2000), false, 50_000), {}, false);
    expect(await over).toMatchObject(LATER);
    expect(intake.inFlightByteLength).toBe(9005);
    holding.destroy();
    while (intake.inFlightByteLength > 0) await new Promise(setImmediate);
    expect(await rawGrpcCall(await session(), framed(GOOD))).toMatchObject(OK);
  });

  test('a client that goes on sending after its answer is cut off', async () => {
    const { session, intake } = await setUp({ input: { messageByteLengthMax: 10_000 } });
    const opened = await session();
    const stream = opened.request({
      ':method': 'POST',
      ':path': TRACES_METHOD,
      'content-type': 'application/grpc',
    });
    stream.on('error', () => {});
    stream.resume();
    stream.write(framed(Buffer.alloc(1000), false, 0x7fff_ffff));
    const timer = setInterval(() => stream.write(Buffer.alloc(1000)), 10);
    await once(stream, 'close');
    clearInterval(timer);
    expect(intake.inFlightByteLength).toBe(0);
  });

  test('a client that goes away gives its bytes back, and nothing counts as refused', async () => {
    const { session, intake, sealed, refusals } = await setUp();
    const opened = await session();
    const lost = rawGrpcCall(opened, framed(GOOD, false, 5000), {}, false);
    while (intake.inFlightByteLength === 0) await new Promise(setImmediate);
    opened.destroy();
    await lost;
    while (intake.inFlightByteLength > 0) await new Promise(setImmediate);
    expect([sealed, refusals]).toEqual([[], []]);
  });

  test('nor does what a client gives up in the middle, on a connection that stays', async () => {
    const { session, intake, sealed, refusals } = await setUp();
    const opened = await session();
    const stream = opened.request({
      ':method': 'POST',
      ':path': TRACES_METHOD,
      'content-type': 'application/grpc',
    });
    stream.on('error', () => {});
    stream.write(framed(GOOD, false, 5000));
    while (intake.inFlightByteLength === 0) await new Promise(setImmediate);
    stream.destroy();
    while (intake.inFlightByteLength > 0) await new Promise(setImmediate);
    expect((await rawGrpcCall(opened, framed(GOOD))).code).toBe(0);
    expect([sealed.length, refusals]).toEqual([1, []]);
  });

  test('connections are closed when they are old, so that replicas share load', async () => {
    const { session } = await setUp({ input: { connectionAgeMsMax: 50 } });
    const opened = await session();
    const [code] = await once(opened, 'goaway');
    expect(code).toBe(0);
  });
});

describe('the end', () => {
  test('answers what is under way and takes nothing new', async () => {
    let answer: ((outcome: SealOutcome) => void) | undefined;
    const seal = () =>
      new Promise<SealOutcome>((resolve) => {
        answer = resolve;
      });
    const { client, listening } = await setUp({ intake: { seal } });
    const underWay = call(client(), GOOD);
    while (answer === undefined) await new Promise(setImmediate);
    const drained = listening.drain(10_000);
    expect(await call(client(), GOOD)).toMatchObject({ code: 14 });
    answer({ status: 'sealed', origin: 'a', recordIndex: 0, firstEntry: 0 });
    expect(await underWay).toMatchObject(OK);
    await drained;
  });

  test('does not wait longer than it may', async () => {
    const { client, listening } = await setUp({ intake: { seal: () => new Promise(() => {}) } });
    const underWay = call(client(), GOOD);
    while (listening.port === 0) await new Promise(setImmediate);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await listening.drain(50);
    expect((await underWay).code).not.toBe(0);
  });

  test('an address that is taken is told', async () => {
    const { listening } = await setUp();
    const { settings, intake } = openTestIntake();
    const listener = { listen: `127.0.0.1:${listening.port}` };
    await expect(
      openGrpc({ listener, settings, tls: undefined, intake, isReady: () => true }),
    ).rejects.toThrow(`gateway.grpc: ${listener.listen} can not be bound`);
  });
});
