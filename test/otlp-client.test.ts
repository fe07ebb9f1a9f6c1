// SPDX-License-Identifier: Apache-2.0
// Goal: a request arrives byte for byte over both protocols, and every answer of the OTLP retry table becomes the
// outcome that the table asks for. Method: a real receiver on loopback, scripted answer by answer.
import { mkdtempSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type OtlpClient, openOtlpClient } from '../exporter/node/otlp/otlp-client.ts';
import type { OtlpClientConfig } from '../exporter/node/otlp/otlp-config.ts';
import {
  type Answer,
  type BackendOptions,
  encodeOtlp,
  encodeRpcStatus,
  type OtlpBackend,
  openOtlpBackend,
  selfSignedCertificate,
} from './support/otlp-backend.ts';

const REQUEST = encodeOtlp('TracesData', {
  resourceSpans: [{ scopeSpans: [{ spans: [{ name: 'chat', traceId: Buffer.alloc(16, 7) }] }] }],
});

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const resource of open.splice(0).reverse()) await resource.close();
});

async function backendOf(options: BackendOptions = {}): Promise<OtlpBackend> {
  const backend = await openOtlpBackend(options);
  open.push(backend);
  return backend;
}

function clientOf(config: OtlpClientConfig): OtlpClient {
  const client = openOtlpClient(config);
  open.push(client);
  return client;
}

function clientFor(
  backend: OtlpBackend,
  protocol: OtlpClientConfig['protocol'],
  more: Partial<OtlpClientConfig> = {},
): OtlpClient {
  const endpoint = protocol === 'grpc' ? backend.grpcEndpoint : backend.httpEndpoint;
  return clientOf({ protocol, endpoint, ...more });
}

describe.each(['grpc', 'http/protobuf'] as const)('%s', (protocol) => {
  test.each(['none', 'gzip'] as const)(
    'sends bytes as they are, compression %s',
    async (compression) => {
      const backend = await backendOf();
      const client = clientFor(backend, protocol, { compression, headers: { 'X-Tenant': 'a b' } });

      expect(await client.send(REQUEST, 'traces')).toEqual({ status: 'ok' });
      expect(await client.send(REQUEST.subarray(0, 0), 'logs')).toEqual({ status: 'ok' });

      expect(backend.requests.map(({ kind, bytes }) => ({ kind, bytes }))).toEqual([
        { kind: 'traces', bytes: Buffer.from(REQUEST) },
        { kind: 'logs', bytes: Buffer.alloc(0) },
      ]);
      expect(backend.requests[0]?.headers).toMatchObject({ 'x-tenant': 'a b' });
    },
  );

  test('tells a partial success, and takes an empty one for a success', async () => {
    const backend = await backendOf();
    const client = clientFor(backend, protocol);
    backend.answer = () => ({ partial: { rejected: 3, message: 'too\nold' } });
    expect(await client.send(REQUEST, 'traces')).toEqual({
      status: 'partial',
      rejected: 3,
      message: 'too old',
    });
    backend.answer = () => ({ partial: { rejected: 0, message: '' } });
    expect(await client.send(REQUEST, 'traces')).toEqual({ status: 'ok' });
  });

  test('a receiver that is not there is retryable, and found again once it is', async () => {
    const first = await openOtlpBackend();
    const client = clientFor(first, protocol);
    await first.close();
    expect(await client.send(REQUEST, 'traces')).toMatchObject({ status: 'retryable' });

    const second = await backendOf({ grpcPort: first.grpcPort, httpPort: first.httpPort });
    let outcome = await client.send(REQUEST, 'traces');
    while (outcome.status === 'retryable') outcome = await client.send(REQUEST, 'traces');
    expect(outcome).toEqual({ status: 'ok' });
    expect(second.requests.length).toBe(1);
  });

  test('no answer in time is retryable', async () => {
    const backend = await backendOf({ answer: () => 'hang' });
    const client = clientFor(backend, protocol, { timeoutMs: 300 });
    expect(await client.send(REQUEST, 'traces')).toMatchObject({ status: 'retryable' });
    expect(backend.requests.length).toBe(1);
  });

  test('a request that its sender gives up on is retryable', async () => {
    const backend = await backendOf({ answer: () => 'hang' });
    const client = clientFor(backend, protocol);
    const abort = new AbortController();
    const outcome = client.send(REQUEST, 'traces', abort.signal);
    await backend.until(({ requests }) => requests.length === 1);
    abort.abort();
    const expected = { status: 'retryable', cause: 'given up on by the sender' };
    expect(await outcome).toEqual(expected);
    expect(await client.send(REQUEST, 'traces', abort.signal)).toEqual(expected);
    expect(backend.requests.length).toBe(1);
  });

  test('a closed client answers, it does not throw', async () => {
    const backend = await backendOf();
    const endpoint = protocol === 'grpc' ? backend.grpcEndpoint : backend.httpEndpoint;
    const client = openOtlpClient({ protocol, endpoint });
    client.close();
    expect(await client.send(REQUEST, 'traces')).toMatchObject({ status: 'retryable' });
    expect(backend.requests).toEqual([]);
  });

  test.each(['localhost', '127.0.0.1'])(
    'checks by TLS who %s is, and shows a certificate of its own',
    async (host) => {
      const dir = mkdtempSync(join(tmpdir(), 'sealspan-'));
      const write = (name: string, text: string): string => {
        writeFileSync(join(dir, name), text, { mode: 0o600 });
        return join(dir, name);
      };
      const person = selfSignedCertificate(['client']);
      const pair = { cert: write('cert.pem', person.cert), key: write('key.pem', person.key) };
      const outcomes = [];
      for (const [name, hosts, takesPair] of [
        ['right', [host], true],
        ['no client certificate', [host], false],
        ['another host', ['127.0.0.2', 'other', 'ip.invalid'], true],
      ] as const) {
        const server = selfSignedCertificate(hosts);
        const backend = await backendOf({ tls: { ...server, clientCa: person.cert } });
        const port = protocol === 'grpc' ? backend.grpcPort : backend.httpPort;
        const tls = { ca: write('ca.pem', server.cert), ...(takesPair ? pair : {}) };
        const client = clientOf({
          protocol,
          endpoint: `https://${host}:${port}`,
          tls,
          timeoutMs: 5000,
        });
        const { status } = await client.send(REQUEST, 'traces');
        const untrusting = clientOf({
          protocol,
          endpoint: `https://${host}:${port}`,
          tls: pair,
          timeoutMs: 5000,
        });
        const { status: untrusted } = await untrusting.send(REQUEST, 'traces');
        outcomes.push({ name, status, untrusted, requestCount: backend.requests.length });
      }
      expect(outcomes).toEqual([
        { name: 'right', status: 'ok', untrusted: 'retryable', requestCount: 1 },
        {
          name: 'no client certificate',
          status: 'retryable',
          untrusted: 'retryable',
          requestCount: 0,
        },
        { name: 'another host', status: 'retryable', untrusted: 'retryable', requestCount: 0 },
      ]);
    },
  );
});

describe('the retry table of gRPC', () => {
  const table: readonly (readonly [number, string, object])[] = [
    [1, 'CANCELLED', { status: 'retryable' }],
    [2, 'UNKNOWN', { status: 'refused', suspect: 'request' }],
    [3, 'INVALID_ARGUMENT', { status: 'refused', suspect: 'request' }],
    [4, 'DEADLINE_EXCEEDED', { status: 'retryable' }],
    [5, 'NOT_FOUND', { status: 'refused', suspect: 'request' }],
    [6, 'ALREADY_EXISTS', { status: 'refused', suspect: 'request' }],
    [7, 'PERMISSION_DENIED', { status: 'refused', suspect: 'endpoint' }],
    [8, 'RESOURCE_EXHAUSTED', { status: 'refused', suspect: 'request' }],
    [9, 'FAILED_PRECONDITION', { status: 'refused', suspect: 'request' }],
    [10, 'ABORTED', { status: 'retryable' }],
    [11, 'OUT_OF_RANGE', { status: 'retryable' }],
    [12, 'UNIMPLEMENTED', { status: 'refused', suspect: 'endpoint' }],
    [13, 'INTERNAL', { status: 'refused', suspect: 'request' }],
    [14, 'UNAVAILABLE', { status: 'retryable' }],
    [15, 'DATA_LOSS', { status: 'retryable' }],
    [16, 'UNAUTHENTICATED', { status: 'refused', suspect: 'endpoint' }],
  ];
  test('each status code', async () => {
    const backend = await backendOf({
      answer: (_, index) => ({ grpc: table[index]![0], message: 'no' }),
    });
    const client = clientFor(backend, 'grpc');
    const outcomes = [];
    for (const _ of table) outcomes.push(await client.send(REQUEST, 'traces'));
    expect(outcomes).toEqual(
      table.map(([, name, outcome]) => ({ ...outcome, cause: `${name}: no` })),
    );
  });

  test.each([8, 14])('status %i with RetryInfo is back-pressure', async (grpc) => {
    const backend = await backendOf({ answer: () => ({ grpc, retryAfterMs: 2500 }) });
    expect(await clientFor(backend, 'grpc').send(REQUEST, 'traces')).toMatchObject({
      status: 'retryable',
      afterMs: 2500,
    });
  });
});

describe('the answers of HTTP', () => {
  const PROTOBUF = { 'content-type': 'application/x-protobuf' };
  const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' };
  const table: readonly (readonly [string, Answer, object])[] = [
    ['201', { http: 201 }, { status: 'ok' }],
    [
      '302',
      { http: 302, headers: { location: 'https://127.0.0.1/' } },
      { status: 'refused', cause: 'HTTP 302', suspect: 'endpoint' },
    ],
    [
      '400 with a reason',
      { http: 400, headers: PROTOBUF, body: encodeRpcStatus(3, 'bad id') },
      { status: 'refused', cause: 'HTTP 400: bad id', suspect: 'request' },
    ],
    [
      '400 with nonsense',
      { http: 400, headers: PROTOBUF, body: 'nonsense' },
      { status: 'refused', cause: 'HTTP 400', suspect: 'request' },
    ],
    ['401', { http: 401 }, { status: 'refused', cause: 'HTTP 401', suspect: 'endpoint' }],
    ['403', { http: 403 }, { status: 'refused', cause: 'HTTP 403', suspect: 'endpoint' }],
    ['404', { http: 404 }, { status: 'refused', cause: 'HTTP 404', suspect: 'endpoint' }],
    ['413', { http: 413 }, { status: 'refused', cause: 'HTTP 413', suspect: 'request' }],
    ['429 without a time', { http: 429 }, { status: 'retryable', cause: 'HTTP 429' }],
    [
      '429 with seconds',
      { http: 429, headers: { 'retry-after': '7' } },
      { status: 'retryable', cause: 'HTTP 429', afterMs: 7000 },
    ],
    [
      '429 with nonsense',
      { http: 429, headers: { 'retry-after': 'soon' } },
      { status: 'retryable', cause: 'HTTP 429' },
    ],
    ['500', { http: 500 }, { status: 'refused', cause: 'HTTP 500', suspect: 'request' }],
    ['502', { http: 502 }, { status: 'retryable', cause: 'HTTP 502' }],
    [
      '503 with a date of the past',
      { http: 503, headers: { 'retry-after': 'Sun, 06 Nov 1994 08:49:37 GMT' } },
      { status: 'retryable', cause: 'HTTP 503', afterMs: 0 },
    ],
    ['504', { http: 504 }, { status: 'retryable', cause: 'HTTP 504' }],
    ['a reset', 'reset', { status: 'retryable', cause: 'socket hang up' }],
    ['200 in JSON', { http: 200, headers: JSON_TYPE, body: '{}' }, { status: 'ok' }],
    [
      '200 in JSON, in part',
      {
        http: 200,
        headers: JSON_TYPE,
        body: '{"partialSuccess":{"rejectedSpans":"2","errorMessage":"old"}}',
      },
      { status: 'partial', rejected: 2, message: 'old' },
    ],
    [
      '200 of a login page',
      { http: 200, headers: { 'content-type': 'text/html' }, body: '<html>' },
      { status: 'partial', rejected: 0, message: 'the answer is HTML, not OTLP' },
    ],
    [
      '200 with nonsense',
      { http: 200, headers: PROTOBUF, body: 'nonsense' },
      { status: 'partial', rejected: 0, message: 'the answer is not OTLP' },
    ],
    [
      '200 without end',
      { http: 200, headers: PROTOBUF, body: Buffer.alloc(5 * 1024 * 1024) },
      { status: 'partial', rejected: 0, message: 'the answer is too long to be read' },
    ],
  ];
  test.each(table)('%s', async (_, answer, outcome) => {
    const backend = await backendOf({ answer: () => answer });
    expect(await clientFor(backend, 'http/protobuf').send(REQUEST, 'traces')).toEqual(outcome);
  });

  test('a date of the future becomes a delay', async () => {
    const date = new Date(Date.now() + 3_600_000).toUTCString();
    const backend = await backendOf({
      answer: () => ({ http: 503, headers: { 'retry-after': date } }),
    });
    const outcome = await clientFor(backend, 'http/protobuf').send(REQUEST, 'traces');
    expect(outcome).toEqual({
      status: 'retryable',
      cause: 'HTTP 503',
      afterMs: expect.any(Number),
    });
    const afterMs = 'afterMs' in outcome ? (outcome.afterMs ?? 0) : 0;
    expect(afterMs > 3_000_000 && afterMs <= 3_600_000).toBe(true);
  });

  test.each([
    ['', '/v1/traces', '/v1/logs'],
    ['/', '/v1/traces', '/v1/logs'],
    ['/otlp', '/otlp/v1/traces', '/otlp/v1/logs'],
    ['/otlp/', '/otlp/v1/traces', '/otlp/v1/logs'],
  ])('the base %j gets the path of the signal', async (path, traces, logs) => {
    const backend = await backendOf();
    const endpoint = `${backend.httpEndpoint}${path}`;
    const client = clientOf({ protocol: 'http/protobuf', endpoint });
    await client.send(REQUEST, 'traces');
    await client.send(REQUEST, 'logs');
    expect(backend.requests.map((request) => request.path)).toEqual([traces, logs]);
  });

  test('a complete URL is used as it stands, and a signal without one is refused', async () => {
    const backend = await backendOf();
    const endpoint = { traces: `${backend.httpEndpoint}/in?team=7` };
    const client = clientOf({ protocol: 'http/protobuf', endpoint });
    expect([await client.send(REQUEST, 'traces'), await client.send(REQUEST, 'logs')]).toEqual([
      { status: 'ok' },
      { status: 'refused', cause: 'no endpoint is configured for logs', suspect: 'request' },
    ]);
    expect(backend.requests.map((request) => request.path)).toEqual(['/in?team=7']);
  });
});

test('an HTTP server that answers before it has read: the request is its own until all of it is out', async () => {
  const body = Buffer.alloc(16 * 1024 * 1024, 'a');
  const got: Buffer[] = [];
  let socket: Socket | undefined;
  const server = createServer((connection) => {
    socket = connection;
    connection.once('data', (chunk: Buffer) => {
      got.push(chunk);
      connection.pause();
      connection.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      setTimeout(() => connection.on('data', (more: Buffer) => got.push(more)).resume(), 200);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = openOtlpClient({
    protocol: 'http/protobuf',
    endpoint: `http://127.0.0.1:${port}`,
  });
  const outcome = await client.send(body, 'traces');
  body.fill('b');
  const whole = (): Buffer => Buffer.concat(got);
  await expect.poll(() => whole().length, { timeout: 20_000 }).toBeGreaterThan(16 * 1024 * 1024);
  expect([outcome, whole().includes('bbbb')]).toEqual([{ status: 'ok' }, false]);
  client.close();
  socket?.destroy();
  server.close();
});
