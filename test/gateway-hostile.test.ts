// SPDX-License-Identifier: Apache-2.0
// Goal: a thousand requests that no decent client sends get the right code each, cost the gateway bounded memory, and keep
// nobody else's spans out. Method: the command as a process; kinds of requests drawn by a seed, many at a time, spans of a
// good client among them; then the memory it had at most, and the log, in which the refusals are counted.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import * as http from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, expect, test } from 'vitest';
import { framed, LOGS_METHOD, openSession, rawGrpcCall, tracesOf } from './support/gateway.ts';
import { readLog } from './support/gateway-log.ts';
import { ended, peakMemoryByteLength, runGateway } from './support/gateway-process.ts';
import { pick, randomOf } from './support/random.ts';

const MIB = 1024 * 1024;
const SEED = 20_261_123;
const COUNT = 1000;
const AT_A_TIME = 40;
/** Requests that are never whole, in flight all at once beside the others. */
const SLOW_COUNT = 80;
const READ_DELAY_MS = 2000;
const MESSAGE_MAX = 4 * MIB;
/** The process without a request has some 110 MiB. */
const MEMORY_MAX = 512 * MIB;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** How a request ends: transport, code, and whether its sender is asked to come again. */
type End = string;

interface Target {
  readonly http: (body: Uint8Array | string, headers?: http.OutgoingHttpHeaders) => Promise<End>;
  readonly raw: (text: string) => Promise<End>;
  readonly grpc: (bytes: Uint8Array, headers?: Readonly<Record<string, string>>) => Promise<End>;
}

async function targetOf(httpPort: number, grpcPort: number): Promise<Target> {
  const session = await openSession(grpcPort);
  cleanUps.push(() => session.destroy());
  const agent = new http.Agent({ keepAlive: true, maxSockets: AT_A_TIME });
  cleanUps.push(() => agent.destroy());
  return {
    http: async (body, headers = {}) => {
      const { ':method': method = 'POST', ':path': path = '/v1/traces', ...rest } = headers;
      const request = http.request({
        host: '127.0.0.1',
        port: httpPort,
        agent,
        method: String(method),
        path: String(path),
        headers: { 'content-type': 'application/x-protobuf', ...rest },
      });
      request.on('error', () => {});
      request.end(body);
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      response.resume();
      await once(response, 'close');
      const { statusCode } = response;
      return `HTTP ${statusCode}${response.headers['retry-after'] === undefined ? '' : ' again'}`;
    },
    raw: async (text) => {
      const socket = connect(httpPort, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(text);
      let answer = '';
      socket.on('data', (chunk: Buffer) => {
        answer += chunk.toString('latin1');
        if (answer.includes('\r\n\r\n')) socket.end();
      });
      await once(socket, 'close');
      const again = /\r\nretry-after: /i.test(answer) ? ' again' : '';
      return `HTTP ${answer.slice(9, 12)}${again}`;
    },
    grpc: async (bytes, headers = {}) => {
      const { ':unfinished': unfinished, ...rest } = headers;
      const end = await rawGrpcCall(session, bytes, rest, unfinished === undefined);
      return `gRPC ${end.code}${end.retrySeconds === undefined ? '' : ' again'}`;
    },
  };
}

const GOOD = tracesOf('chat');
const JSON_TYPE = { 'content-type': 'application/json' };
const tiny = (count: number): Buffer => Buffer.alloc(2 * count, Buffer.of(0x0a, 0));
const ZEROS = Buffer.alloc(64 * MIB);
const BOMBS = [
  ['gzip', gzipSync(ZEROS)],
  ['zstd', zstdCompressSync(ZEROS)],
  ['deflate', deflateSync(ZEROS)],
] as const;
const MILLION = gzipSync(tiny(1_000_000));
const encoded = (encoding: string) => ({ 'content-encoding': encoding });
const grpcEncoded = (encoding: string) => ({ 'grpc-encoding': encoding });
const posted = (length: number | string, body: string): string =>
  `POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: ${length}\r\n\r\n${body}`;

/** Of each kind: how it ends, whether the log has to count it, and how it is sent. */
const KINDS: readonly (readonly [End, 'counted' | '-', (target: Target) => Promise<End>])[] = [
  // Malformed.
  ['HTTP 400', 'counted', ({ http }) => http(Buffer.of(0xff, 0xff))],
  ['HTTP 400', 'counted', ({ http }) => http(GOOD.subarray(0, GOOD.length - 1))],
  ['HTTP 400', 'counted', ({ http }) => http(Buffer.of(0x10, 1), { ':path': '/v1/logs' })],
  ['HTTP 400', 'counted', ({ http }) => http('{"resourceSpans":7}', JSON_TYPE)],
  ['HTTP 400', 'counted', ({ http }) => http('['.repeat(100_000), JSON_TYPE)],
  ['gRPC 3', 'counted', ({ grpc }) => grpc(framed(Buffer.of(0xff)))],
  ['gRPC 3', 'counted', ({ grpc }) => grpc(framed(Buffer.of(0xff)), { ':path': LOGS_METHOD })],
  ['gRPC 3', 'counted', ({ grpc }) => grpc(Buffer.alloc(0))],
  ['gRPC 3', 'counted', ({ grpc }) => grpc(framed(GOOD).subarray(0, 9))],
  ['gRPC 3', 'counted', ({ grpc }) => grpc(Buffer.concat([framed(GOOD), framed(GOOD)]))],
  // Compressed, or not.
  ['HTTP 400', 'counted', ({ http }) => http(GOOD, encoded('gzip'))],
  ['HTTP 400', 'counted', ({ http }) => http(GOOD, encoded('zstd'))],
  ['HTTP 400', 'counted', ({ http }) => http(gzipSync(GOOD).subarray(0, 12), encoded('gzip'))],
  ['gRPC 3', 'counted', ({ grpc }) => grpc(framed(GOOD, true), grpcEncoded('gzip'))],
  ['gRPC 3', 'counted', ({ grpc }) => grpc(framed(GOOD, true), grpcEncoded('zstd'))],
  ['HTTP 503 again', '-', ({ http }) => http(brotliCompressSync(GOOD), encoded('br'))],
  ['gRPC 14 again', '-', ({ grpc }) => grpc(framed(GOOD, true), grpcEncoded('snappy'))],
  // Oversized.
  ['HTTP 413', 'counted', ({ http }) => http(ZEROS.subarray(0, MESSAGE_MAX + 1))],
  ['HTTP 413', 'counted', ({ raw }) => raw(posted('9'.repeat(15), 'x'))],
  ['gRPC 8', 'counted', ({ grpc }) => grpc(framed(ZEROS.subarray(0, MESSAGE_MAX + 1)))],
  ['gRPC 8', 'counted', ({ grpc }) => grpc(framed(GOOD, false, 2 ** 32 - 1))],
  // Bombs.
  ...BOMBS.map(
    ([encoding, bomb]) =>
      ['HTTP 413', 'counted', ({ http }: Target) => http(bomb, encoded(encoding))] as const,
  ),
  ...BOMBS.slice(0, 2).map(
    ([encoding, bomb]) =>
      [
        'gRPC 8',
        'counted',
        ({ grpc }: Target) => grpc(framed(bomb, true), grpcEncoded(encoding)),
      ] as const,
  ),
  ['HTTP 413', 'counted', ({ http }) => http(MILLION, encoded('gzip'))],
  ['gRPC 8', 'counted', ({ grpc }) => grpc(framed(MILLION, true), grpcEncoded('gzip'))],
  // Of another kind.
  ['HTTP 415', 'counted', ({ http }) => http(GOOD, { 'content-type': 'text/csv' })],
  ['HTTP 415', 'counted', ({ http }) => http(GOOD, { 'content-type': 'application/grpc' })],
  ['HTTP 404', '-', ({ http }) => http(GOOD, { ':path': '/v1/metrics' })],
  ['HTTP 405', '-', ({ http }) => http('', { ':method': 'GET' })],
  ['HTTP 400', '-', ({ raw }) => raw('\u0016\u0003\u0001\r\n\r\n')],
  ['HTTP 400', '-', ({ raw }) => raw(posted('1\r\nContent-Length: 2', 'xx'))],
  ['HTTP 431', '-', ({ raw }) => raw(`GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)],
  ['gRPC 12', '-', ({ grpc }) => grpc(framed(GOOD), { ':path': '/no.such.Service/Export' })],
];

/** Never whole: held until their time is over. */
const SLOW: readonly (readonly [End, (target: Target) => Promise<End>])[] = [
  ['HTTP 503 again', ({ raw }) => raw(posted(1000, 'abc'))],
  ['HTTP 503 again', ({ raw }) => raw('POST /v1/traces HTTP/1.1\r\nHost: x\r\n')],
  ['gRPC 14 again', ({ grpc }) => grpc(framed(GOOD, false, 1e6), { ':unfinished': '' })],
];

test('a thousand requests that are none: a code each, memory bounded, and still at work', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sealspan-'));
  cleanUps.push(() => rmSync(dir, { recursive: true, force: true }));
  const gateway = await runGateway(dir, cleanUps, {
    gateway: `messageByteLengthMax: ${MESSAGE_MAX}, readDelayMsMax: ${READ_DELAY_MS}`,
  });
  const target = await targetOf(gateway.httpPort, gateway.grpcPort);
  const wrong: string[] = [];
  const check = async (expected: End, send: (target: Target) => Promise<End>): Promise<void> => {
    const end = await send(target).catch(String);
    if (end !== expected) wrong.push(`${end} instead of ${expected}: ${send}`);
  };

  const slow = Array.from({ length: SLOW_COUNT }, (_, at) => {
    const [expected, send] = SLOW[at % SLOW.length]!;
    return check(expected, send);
  });
  const random = randomOf(SEED);
  let countedCount = 0;
  const names: string[] = [];
  for (let sent = 0; sent < COUNT; sent += AT_A_TIME) {
    // Each kind at least once, then by chance.
    const kinds = Array.from(
      { length: AT_A_TIME },
      (_, at) => KINDS[sent + at] ?? pick(random, KINDS),
    );
    countedCount += kinds.filter(([, counted]) => counted === 'counted').length;
    const name = `chat ${sent}`;
    names.push(`${name} by HTTP`, `${name} by gRPC`);
    await Promise.all([
      ...kinds.map(([expected, , send]) => check(expected, send)),
      check('HTTP 200', ({ http }) => http(tracesOf(`${name} by HTTP`))),
      check('gRPC 0', ({ grpc }) => grpc(framed(tracesOf(`${name} by gRPC`)))),
    ]);
  }
  await Promise.all(slow);
  expect(wrong).toEqual([]);

  const peak = peakMemoryByteLength(gateway.child);
  if (peak !== undefined) expect(peak).toBeLessThan(MEMORY_MAX);
  const metrics = await fetch(`http://127.0.0.1:${gateway.httpPort}/metrics`);
  expect(await metrics.text()).toContain('\nsealspan_gateway_in_flight_bytes 0\n');
  gateway.child.kill('SIGTERM');
  expect(await ended(gateway.child)).toEqual([0, null]);
  const { verdict, refused, spans } = await readLog(gateway.logDirectory);
  expect(verdict).toBe('valid');
  expect(spans.map(({ name }) => name).sort()).toEqual(names.sort());
  expect(refused.reduce((sum, { count }) => sum + count, 0)).toBe(countedCount);
});
