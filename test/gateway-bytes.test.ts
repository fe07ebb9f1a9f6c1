// SPDX-License-Identifier: Apache-2.0
// Goal: buffers are given away, shared and freed by hand on the way through, and still each item is sealed and forwarded as
// it was sent, once, and none has bytes of another. Method: hundreds of requests at once, of contents that name their item,
// in every size, encoding and cut that a transport can have; log and backend are held against what was sent.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { ClientHttp2Session } from 'node:http2';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, expect, test } from 'vitest';
import { readConfig } from '../exporter/node/config/config.ts';
import { openGateway } from '../exporter/node/gateway.ts';
import { framed, LOGS_METHOD, openSession, TRACES_METHOD } from './support/gateway.ts';
import { readLog } from './support/gateway-log.ts';
import { decodeOtlp, encodeOtlp, type Kind, openOtlpBackend } from './support/otlp-backend.ts';
import { pick, type Random, randomOf } from './support/random.ts';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

const SEED = 20;
const REQUEST_COUNT = 400;
const MIB = 1024 * 1024;
/** Where Node, its parsers and the inflater begin another buffer. */
const EDGES = [4096, 8192, 16_384, 32_768, 65_536, 131_072];
const ENCODERS = {
  identity: (bytes: Uint8Array): Uint8Array => bytes,
  gzip: (bytes: Uint8Array): Uint8Array => gzipSync(bytes, { level: 1 }),
  deflate: (bytes: Uint8Array): Uint8Array => deflateSync(bytes, { level: 1 }),
  zstd: (bytes: Uint8Array): Uint8Array => zstdCompressSync(bytes),
} as const;

interface Sent {
  readonly kind: Kind;
  readonly encoding: keyof typeof ENCODERS;
  readonly body: Uint8Array;
  /** Each item of the request as a request of its own, which is what its entry is. */
  readonly entries: readonly Uint8Array[];
}

function requestOf(kind: Kind, items: readonly object[]): Uint8Array {
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'bytes' } }] };
  return kind === 'traces'
    ? encodeOtlp('TracesData', { resourceSpans: [{ resource, scopeSpans: [{ spans: items }] }] })
    : encodeOtlp('LogsData', { resourceLogs: [{ resource, scopeLogs: [{ logRecords: items }] }] });
}

/** An item whose content nothing else has: it is made of the number of the item. */
function itemOf(kind: Kind, number: number, byteLength: number): object {
  const text = `item ${number}`;
  const hash = createHash('shake256', { outputLength: byteLength }).update(text);
  const attributes = [{ key: 'content', value: { bytesValue: hash.digest() } }];
  return kind === 'traces'
    ? { name: text, attributes }
    : { eventName: text, body: { stringValue: text }, attributes };
}

function contentLengths(random: Random, index: number): number[] {
  // Longer than what goes into one record.
  if (index === 0) return [3 * MIB, 3 * MIB, 1000];
  const way = random(10);
  if (way < 3) return Array.from({ length: 1 + random(4) }, () => 1 + random(300));
  if (way < 7) return [pick(random, EDGES) - random(80)];
  if (way < 9) return Array.from({ length: 1 + random(20) }, () => random(6000));
  return [random(MIB / 2)];
}

function sentOf(random: Random): Sent[] {
  let number = 0;
  return Array.from({ length: REQUEST_COUNT }, (_, index) => {
    const kind = random(4) === 0 ? 'logs' : 'traces';
    const items = contentLengths(random, index).map((length) => itemOf(kind, ++number, length));
    const encoding = pick(random, ['identity', 'identity', 'gzip', 'deflate', 'zstd'] as const);
    const body = ENCODERS[encoding](requestOf(kind, items));
    return { kind, encoding, body, entries: items.map((item) => requestOf(kind, [item])) };
  });
}

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

/** The bytes in the pieces in which they are written. */
function piecesOf(random: Random, bytes: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + random(pick(random, [20, 1500, 70_000, 2 * MIB]));
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}

function httpBytes(random: Random, { kind, encoding, body }: Sent): Buffer {
  const isChunked = random(3) === 0;
  const head = [
    `POST /v1/${kind} HTTP/1.1`,
    'Host: x',
    'Content-Type: application/x-protobuf',
    `Content-Encoding: ${encoding}`,
    isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`,
  ].join('\r\n');
  const chunks = isChunked
    ? [...piecesOf(random, body), Buffer.alloc(0)].flatMap((piece) => [
        Buffer.from(`${piece.length.toString(16)}\r\n`),
        piece,
        Buffer.from('\r\n'),
      ])
    : [body];
  return Buffer.concat([Buffer.from(`${head}\r\n\r\n`), ...chunks]);
}

/** Sends requests on one connection, the next before the last is answered, cut anywhere; gives the codes of the answers. */
async function sendHttp(
  random: Random,
  port: number,
  requests: readonly Sent[],
): Promise<string[]> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  cleanUps.push(() => socket.destroy());
  let text = '';
  socket.on('data', (data: Buffer) => {
    text += data.toString('latin1');
  });
  const codes = (): string[] => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, code]) => code!);
  for (let at = 0; at < requests.length; ) {
    const some = requests.slice(at, at + 1 + random(4));
    at += some.length;
    const bytes = Buffer.concat(some.map((sent) => httpBytes(random, sent)));
    for (const piece of piecesOf(random, bytes)) {
      socket.write(piece);
      await turn();
    }
    while (codes().length < at && !socket.destroyed) await turn();
  }
  return codes();
}

/** Sends the beginning of a request, and goes. */
async function abandon(random: Random, port: number, sent: Sent): Promise<void> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  const bytes = httpBytes(random, sent);
  const part = bytes.subarray(0, random(bytes.length));
  await new Promise((resolve) => {
    socket.write(part, resolve);
  });
  socket.destroy();
}

async function sendGrpc(random: Random, session: ClientHttp2Session, sent: Sent): Promise<string> {
  const isPlain = sent.encoding === 'identity';
  const stream = session.request({
    ':method': 'POST',
    ':path': sent.kind === 'traces' ? TRACES_METHOD : LOGS_METHOD,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...(isPlain ? {} : { 'grpc-encoding': sent.encoding }),
  });
  stream.resume();
  const ended = once(stream, 'trailers');
  for (const piece of piecesOf(random, framed(sent.body, !isPlain))) {
    stream.write(piece);
    await turn();
  }
  stream.end();
  const [trailers] = (await ended) as [Record<string, string>];
  return String(trailers['grpc-status']);
}

const digestOf = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex');

/** Items of a request to the backend as they were before they were forwarded. */
function unreferenced(kind: Kind, request: Uint8Array): string[] {
  const isTraces = kind === 'traces';
  const type = isTraces ? 'TracesData' : 'LogsData';
  type Item = { attributes: { key: string }[] };
  const decoded = decodeOtlp(type, request) as Record<string, Record<string, unknown>[]>;
  return decoded[isTraces ? 'resourceSpans' : 'resourceLogs']!.flatMap((resource) =>
    (resource[isTraces ? 'scopeSpans' : 'scopeLogs'] as Record<string, Item[]>[]).flatMap((scope) =>
      scope[isTraces ? 'spans' : 'logRecords']!.map((item) => ({
        ...item,
        attributes: item.attributes.filter(({ key }) => !key.startsWith('aigov.audit.')),
      })),
    ),
  ).map((item) => digestOf(requestOf(kind, [item])));
}

test('each item is sealed and forwarded once and as it was sent, however its bytes came', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sealspan-'));
  cleanUps.push(() => rmSync(dir, { recursive: true, force: true }));
  const backend = await openOtlpBackend();
  cleanUps.push(() => backend.close());
  // The second request has no answer at first: the same bytes are sent again.
  backend.answer = (_request, index) => (index === 1 ? { http: 503 } : 'ok');
  const listener = { listen: '127.0.0.1:0' };
  const config = readConfig(
    {},
    {
      dir,
      forwardMs: 1,
      backend: { protocol: 'http/protobuf', endpoint: backend.httpEndpoint },
      gateway: { grpc: listener, http: listener, content: { default: 'keep' } },
    },
  );
  const gateway = await openGateway(config);
  cleanUps.push(() => gateway.stop());
  const session = await openSession(gateway.grpcPort!);
  cleanUps.push(() => session.destroy());

  const sent = sentOf(randomOf(SEED));
  const byGrpc = sent.filter((_, index) => index % 3 === 0);
  const byHttp = sent.filter((_, index) => index % 3 !== 0);
  const lines = Array.from({ length: 12 }, (_, line) =>
    byHttp.filter((_sent, index) => index % 12 === line),
  );
  const [grpcCodes, httpCodes] = await Promise.all([
    Promise.all(byGrpc.map((one, index) => sendGrpc(randomOf(index), session, one))),
    Promise.all(lines.map((line, index) => sendHttp(randomOf(index), gateway.httpPort!, line))),
    Promise.all(
      sent.slice(0, 50).map((one, index) => abandon(randomOf(index), gateway.httpPort!, one)),
    ),
  ]);
  expect(new Set(grpcCodes)).toEqual(new Set(['0']));
  expect(httpCodes.flat()).toEqual(byHttp.map(() => '200'));

  const entries = sent.flatMap((one) => one.entries).map(digestOf);
  const forwarded: string[] = [];
  let readCount = 0;
  await backend.until(({ accepted }) => {
    for (const { kind, bytes } of accepted.slice(readCount)) {
      forwarded.push(...unreferenced(kind, bytes));
    }
    readCount = accepted.length;
    return forwarded.length >= entries.length;
  });
  session.destroy();
  await gateway.stop();
  const log = await readLog(gateway.logDirectory);
  expect([log.verdict, log.findings]).toEqual(['valid', []]);
  const sealed = log.records
    .filter(({ header }) => header.kind !== 'control')
    .flatMap((record) => record.entries);
  expect(sealed.map(digestOf).sort()).toEqual([...entries].sort());
  expect(forwarded.sort()).toEqual([...entries].sort());
}, 60_000);
