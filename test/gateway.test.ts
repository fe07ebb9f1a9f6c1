// SPDX-License-Identifier: Apache-2.0
// Goal: what the gateway acknowledged is in a log that verifies, under its sender's name, after any end; and a client can say
// nothing there but its own. Method: the stock exporters as clients, the command as a process that is told to end or
// killed, `verifyDirectory` as judge, protobufjs as reader.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { gzipSync } from 'node:zlib';
import type { ExportResult } from '@opentelemetry/core';
import { OTLPLogExporter as GrpcLogExporter } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPLogExporter as ProtoLogExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPTraceExporter as GrpcTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtoTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { CompressionAlgorithm } from '@opentelemetry/otlp-exporter-base';
import {
  InMemoryLogRecordExporter,
  LoggerProvider,
  type ReadableLogRecord,
  SimpleLogRecordProcessor,
} from '@opentelemetry/sdk-logs';
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { afterEach, describe, expect, test } from 'vitest';
import { runShow } from '../exporter/cli/show.ts';
import type { Terminal } from '../exporter/cli/terminal.ts';
import { verifyDirectory } from '../exporter/cli/verify.ts';
import { encodeControl, type RefusedEvent } from '../exporter/log/control.ts';
import type { RecordHeader } from '../exporter/log/header.ts';
import type { VerifiedRecord } from '../exporter/log/verify.ts';
import { type ConfigInput, readConfig } from '../exporter/node/config.ts';
import { type Gateway, openGateway } from '../exporter/node/gateway.ts';
import { framed, openSession, rawGrpcCall, tracesOf } from './support/gateway.ts';
import { encodeOtlp, openOtlpBackend, selfSignedCertificate } from './support/otlp-backend.ts';
import { type PlainSpan, spansOfTraces } from './support/otlp-proto.ts';

const MAIN = join(import.meta.dirname, '../exporter/cli/main.ts');
const MIB = 1024 * 1024;
const PROTOBUF = { 'content-type': 'application/x-protobuf' };
const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

function temporaryDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sealspan-'));
  cleanUps.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const LISTENERS = { grpc: { listen: '127.0.0.1:0' }, http: { listen: '127.0.0.1:0' } } as const;

async function open(
  input: ConfigInput = {},
  env: Readonly<Record<string, string>> = {},
): Promise<Gateway & { readonly dir: string }> {
  const dir = temporaryDirectory();
  const config = readConfig(env, { dir, ...input, gateway: { ...LISTENERS, ...input.gateway } });
  const gateway = await openGateway(config);
  cleanUps.push(() => gateway.stop());
  return { ...gateway, dir };
}

const SILENT: Terminal = {
  data: () => {},
  note: () => {},
  progress: () => {},
  bold: (text) => text,
  good: (text) => text,
  bad: (text) => text,
};

interface Read {
  readonly verdict: string;
  readonly findings: readonly string[];
  readonly records: readonly VerifiedRecord[];
  readonly headers: readonly RecordHeader[];
  readonly spans: readonly PlainSpan[];
  readonly refused: readonly RefusedEvent[];
  readonly declaredLost: number;
}

/** What a stranger reads in a log. */
async function readLog(dir: string): Promise<Read> {
  const records: VerifiedRecord[] = [];
  const report = await verifyDirectory(dir, undefined, (record) => records.push(record));
  return {
    verdict: report.verdict,
    findings: report.findings.map(({ code }) => code),
    declaredLost: report.declaredLost,
    records,
    headers: records.map(({ header }) => header).filter(({ kind }) => kind !== 'control'),
    spans: records
      .filter(({ header }) => header.kind === 'traces')
      .flatMap(({ entries }) => entries.flatMap(spansOfTraces)),
    refused: records
      .flatMap(({ events }) => events)
      .filter((event): event is RefusedEvent => event.name === 'refused'),
  };
}

async function post(
  port: number | undefined,
  body: Uint8Array<ArrayBuffer> | string,
  headers: Readonly<Record<string, string>> = {},
  path = '/v1/traces',
): Promise<number> {
  const reply = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { ...PROTOBUF, ...headers },
    body,
  });
  await reply.arrayBuffer();
  return reply.status;
}

/** Spans of the real SDK. */
function sdkSpans(count: number): ReadableSpan[] {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  for (let at = 0; at < count; at++) {
    const span = provider.getTracer('app').startSpan(`chat ${at}`);
    span.setAttributes({ 'gen_ai.operation.name': 'chat', 'gen_ai.input.messages': 'secret', at });
    span.end();
  }
  return exporter.getFinishedSpans();
}

function sdkLogs(count: number): ReadableLogRecord[] {
  const exporter = new InMemoryLogRecordExporter();
  const provider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] });
  for (let at = 0; at < count; at++) {
    provider
      .getLogger('app')
      .emit({ eventName: 'gen_ai.choice', body: 'secret', attributes: { at } });
  }
  return exporter.getFinishedLogRecords();
}

function exported<T>(
  exporter: {
    export(items: T[], done: (result: ExportResult) => void): void;
    shutdown(): Promise<void>;
  },
  items: T[],
): Promise<number> {
  return new Promise((resolve) => {
    exporter.export(items, ({ code }) => {
      void exporter.shutdown().then(() => resolve(code));
    });
  });
}

const sha256 = (data: string | Uint8Array): Buffer => createHash('sha256').update(data).digest();
const text = (key: string, stringValue: string) => ({ key, value: { stringValue } });
const spanWith = (name: string, ...attributes: object[]): Uint8Array<ArrayBuffer> =>
  new Uint8Array(
    encodeOtlp('TracesData', {
      resourceSpans: [
        {
          resource: { attributes: [text('service.name', 'b')] },
          scopeSpans: [{ spans: [{ name, attributes }] }],
        },
      ],
    }),
  );

describe('the stock exporters', () => {
  const gzip = CompressionAlgorithm.GZIP;
  test.each<[string, string, (gateway: Gateway) => Promise<number>]>([
    [
      'gRPC',
      '',
      ({ grpcPort }) =>
        exported(new GrpcTraceExporter({ url: `http://127.0.0.1:${grpcPort}` }), sdkSpans(20)),
    ],
    [
      'gRPC with gzip',
      '',
      ({ grpcPort }) =>
        exported(
          new GrpcTraceExporter({ url: `http://127.0.0.1:${grpcPort}`, compression: gzip }),
          sdkSpans(20),
        ),
    ],
    [
      'HTTP',
      '',
      ({ httpPort }) =>
        exported(
          new ProtoTraceExporter({ url: `http://127.0.0.1:${httpPort}/v1/traces` }),
          sdkSpans(20),
        ),
    ],
    [
      'HTTP with gzip',
      '',
      ({ httpPort }) =>
        exported(
          new ProtoTraceExporter({
            url: `http://127.0.0.1:${httpPort}/v1/traces`,
            compression: gzip,
          }),
          sdkSpans(20),
        ),
    ],
    [
      'HTTP in JSON',
      '/otlp-json/1',
      ({ httpPort }) =>
        exported(
          new JsonTraceExporter({ url: `http://127.0.0.1:${httpPort}/v1/traces` }),
          sdkSpans(20),
        ),
    ],
  ])('%s: spans', async (_name, policySuffix, send) => {
    const gateway = await open();
    expect(await send(gateway)).toBe(0);
    await gateway.stop();
    const log = await readLog(gateway.logDirectory);
    expect([log.verdict, log.findings]).toEqual(['valid', []]);
    expect(log.headers.map(({ source }) => source)).toEqual([
      { kind: 'direct', principal: undefined, policy: `${gateway.policyId}${policySuffix}` },
    ]);
    const key = Buffer.from(readFileSync(join(gateway.dir, 'digest.key'), 'utf8'), 'base64');
    const digest = `hmac-sha256:${createHmac('sha256', key).update('secret').digest('hex')}`;
    expect(log.spans.map(({ name, scope, attributes }) => ({ name, scope, attributes }))).toEqual(
      Array.from({ length: 20 }, (_, at) => ({
        name: `chat ${at}`,
        scope: 'app',
        attributes: { 'gen_ai.operation.name': 'chat', 'gen_ai.input.messages': digest, at },
      })),
    );
  });

  test.each<[string, (gateway: Gateway) => Promise<number>]>([
    [
      'gRPC',
      ({ grpcPort }) =>
        exported(new GrpcLogExporter({ url: `http://127.0.0.1:${grpcPort}` }), sdkLogs(20)),
    ],
    [
      'HTTP',
      ({ httpPort }) =>
        exported(
          new ProtoLogExporter({ url: `http://127.0.0.1:${httpPort}/v1/logs` }),
          sdkLogs(20),
        ),
    ],
  ])('%s: log records', async (_name, send) => {
    const gateway = await open();
    expect(await send(gateway)).toBe(0);
    await gateway.stop();
    const { verdict, headers, records } = await readLog(gateway.logDirectory);
    expect([verdict, headers.map(({ kind, entryCount }) => [kind, entryCount])]).toEqual([
      'valid',
      [['logs', 20]],
    ]);
    const bytes = records.flatMap(({ entries }) => entries).map((entry) => Buffer.from(entry));
    expect(bytes.some((entry) => entry.includes('secret'))).toBe(false);
  });
});

describe('whose it is', () => {
  const clients = [
    { id: 'a', token: { env: 'TOKEN_A' } },
    { id: 'b', token: { env: 'TOKEN_B' }, source: 'collector' as const },
  ];
  const asA = { authorization: 'Bearer alpha' };
  const asB = { authorization: 'Bearer beta' };
  const openForBoth = (input: ConfigInput = {}) => {
    process.env.TOKEN_A = 'alpha';
    process.env.TOKEN_B = 'beta';
    cleanUps.push(() => {
      delete process.env.TOKEN_A;
      delete process.env.TOKEN_B;
    });
    return open({ groupCommitMs: 100, ...input, gateway: { clients, ...input.gateway } });
  };

  test('sources never share a record, whatever they claim to be', async () => {
    const gateway = await openForBoth();
    const sends = Array.from({ length: 40 }, (_, at) => {
      const [name, headers] = at % 3 === 0 ? ['of a', asA] : ['of b', asB];
      // Both say that they are service b, with the same ids.
      return post(gateway.httpPort, spanWith(name), headers);
    });
    expect(new Set(await Promise.all(sends))).toEqual(new Set([200]));
    await gateway.stop();
    const { verdict, records } = await readLog(gateway.logDirectory);
    expect(verdict).toBe('valid');
    const sources = records
      .filter(({ header }) => header.kind === 'traces')
      .map(({ header, entries }) => ({
        kind: header.source.kind,
        principal: Buffer.from(header.source.principal!).toString('hex'),
        names: [...new Set(entries.flatMap(spansOfTraces).map(({ name }) => name))],
      }));
    for (const source of sources) {
      expect([
        { kind: 'direct', principal: sha256('a').toString('hex'), names: ['of a'] },
        { kind: 'collector', principal: sha256('b').toString('hex'), names: ['of b'] },
      ]).toContainEqual(source);
    }
    expect(new Set(sources.map(({ kind }) => kind)).size).toBe(2);
  });

  test('nobody forges an event of the writer', async () => {
    const gateway = await open();
    const from = '2026-11-23T12:00:00.000Z';
    for (const event of [
      { name: 'gap', count: 9, first: 1, last: 9, from, to: from, cause: 'forged' },
      { name: 'closed', started: 1, ended: 1, sealed: 1, lost: 0, highest: 1, open: '' },
      { name: 'refused', count: 7, cause: 'forged', source: 'direct' },
    ] as const) {
      const bytes = new Uint8Array(encodeControl(event, 0));
      expect(await post(gateway.httpPort, bytes, {}, '/v1/logs')).toBe(200);
      const session = await openSession(gateway.grpcPort!);
      const path = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';
      expect(await rawGrpcCall(session, framed(bytes), { ':path': path })).toMatchObject({
        code: 0,
      });
      session.destroy();
    }
    await gateway.stop();
    const log = await readLog(gateway.logDirectory);
    expect([log.verdict, log.declaredLost, log.refused]).toEqual(['valid', 0, []]);
    expect(new Set(log.headers.map(({ kind }) => kind))).toEqual(new Set(['logs']));
    expect(log.headers.reduce((sum, { entryCount }) => sum + entryCount, 0)).toBe(6);
  });

  test("numbers of spans are the sender's own words: none is missing, whoever skips some", async () => {
    const gateway = await openForBoth();
    const numbered = (intValue: string) => ({ key: 'aigov.sequence', value: { intValue } });
    for (const number of ['1', '3', '900', '3', '-1']) {
      const span = spanWith('chat', numbered(number));
      expect(await post(gateway.httpPort, span, asA)).toBe(200);
      expect(await post(gateway.httpPort, span, asB)).toBe(200);
    }
    await gateway.stop();
    const { verdict, findings, records } = await readLog(gateway.logDirectory);
    expect([verdict, findings]).toEqual(['valid', []]);
    const closed = records.at(-1)!.events.at(-1)!;
    expect(closed).toMatchObject({ name: 'closed', sealed: 10, lost: 0, highest: 0, open: '' });
  });

  test('nobody forges a reference: sealed as it came, not forwarded, shown as a claim', async () => {
    const backend = await openOtlpBackend();
    cleanUps.push(() => backend.close());
    const gateway = await open({
      backend: { protocol: 'http/protobuf', endpoint: backend.httpEndpoint },
      gateway: { ...LISTENERS, source: 'collector' },
    });
    const forged = text('aigov.audit.ref', 'another/log#1/0');
    expect(await post(gateway.httpPort, spanWith('chat', forged, text('k', 'v')))).toBe(200);
    await backend.until(({ accepted }) => accepted.length > 0);
    await gateway.stop();
    const { records, spans } = await readLog(gateway.logDirectory);
    const index = records.findIndex(({ header }) => header.kind === 'traces');
    expect(spans[0]!.attributes).toEqual({ 'aigov.audit.ref': 'another/log#1/0', k: 'v' });
    expect(backend.spans().map(({ attributes }) => attributes)).toEqual([
      {
        k: 'v',
        'aigov.audit.ref': `${gateway.origin}#${index}/0`,
        'aigov.audit.leaf': Buffer.from(records[index]!.leaves[0]!).toString('base64'),
      },
    ]);
    expect(backend.accepted[0]!.bytes.includes('another/log')).toBe(false);
    const lines: string[] = [];
    const show = { dir: gateway.dir, traceId: '', trustPath: undefined, isJson: false };
    await runShow(show, { ...SILENT, data: (line) => lines.push(line) });
    expect(lines).toContain('  aigov.audit.ref (claimed by the sender) = another/log#1/0');
    expect(lines.filter((line) => /another|aigov\.audit/.test(line))).toHaveLength(1);
    expect(lines.filter((line) => line.endsWith(`as ${gateway.origin}#${index}/0`))).toHaveLength(
      1,
    );
  });

  test('refusals are sealed by source and cause, with the first body and no text of a client', async () => {
    const gateway = await openForBoth();
    const bad = [Buffer.from('\xffsecret'), Buffer.from('\xffsecret too')];
    expect(await post(gateway.httpPort, new Uint8Array(bad[0]!), asA)).toBe(400);
    expect(await post(gateway.httpPort, new Uint8Array(bad[1]!), asA)).toBe(400);
    expect(await post(gateway.httpPort, new Uint8Array(bad[1]!), asB)).toBe(400);
    expect(await post(gateway.httpPort, 'x', { authorization: 'Bearer secret' })).toBe(401);
    await gateway.stop();
    const { verdict, refused, records } = await readLog(gateway.logDirectory);
    expect(verdict).toBe('valid');
    const cause = refused[0]!.cause;
    expect(cause).toMatch(/^otlp\.[a-z-]+$/);
    expect(refused.map((event) => ({ ...event, ...hexOf(event) }))).toEqual([
      refusedOf({
        count: 2,
        cause,
        source: 'direct',
        principal: sha256('a'),
        sha256: sha256(bad[0]!),
      }),
      refusedOf({
        count: 1,
        cause,
        source: 'collector',
        principal: sha256('b'),
        sha256: sha256(bad[1]!),
      }),
      refusedOf({ count: 1, cause: 'client.unauthenticated', source: 'direct' }),
    ]);
    for (const { entries } of records) {
      for (const entry of entries) expect(Buffer.from(entry).includes('secret')).toBe(false);
    }
  });

  test('refusals come with the next heartbeat, each once', async () => {
    const gateway = await open({ heartbeatMs: 100 });
    expect(await post(gateway.httpPort, 'no OTLP')).toBe(400);
    for (;;) {
      // Read while the gateway goes on writing.
      const { refused, records } = await readLog(gateway.logDirectory);
      if (refused.length === 0) continue;
      expect(refused.map(({ count }) => count)).toEqual([1]);
      const record = records.find(({ events }) => events.some(({ name }) => name === 'refused'));
      expect(record!.events.map(({ name }) => name)).toEqual(['heartbeat', 'refused']);
      break;
    }
    await gateway.stop();
    expect((await readLog(gateway.logDirectory)).refused.length).toBe(1);
  });
});

function hexOf(event: Omit<RefusedEvent, 'name'>): object {
  const hex = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('hex');
  return { principal: hex(event.principal), sha256: hex(event.sha256) };
}

function refusedOf(event: Omit<RefusedEvent, 'name'>): object {
  return { name: 'refused', ...event, ...hexOf(event) };
}

describe('what is sealed', () => {
  test('may be only what is governed; the rest is acknowledged and counted', async () => {
    const gateway = await open({
      gateway: { ...LISTENERS, filter: 'governed', admin: { listen: '127.0.0.1:0' } },
    });
    const governed = text('gen_ai.operation.name', 'chat');
    for (const request of [spanWith('GET /'), spanWith('chat', governed), spanWith('SELECT')]) {
      expect(await post(gateway.httpPort, request)).toBe(200);
    }
    const page = await (await fetch(`http://127.0.0.1:${gateway.adminPort}/metrics`)).text();
    expect(page).toContain('sealspan_gateway_received_total{kind="traces"} 3\n');
    expect(page).toContain('sealspan_gateway_sealed_total{kind="traces"} 1\n');
    expect(page).toContain('sealspan_gateway_skipped_total{kind="traces"} 2\n');
    expect(page).toMatch(/\nsealspan_gateway_archive_lag_segments [0-9]+\n/);
    await gateway.stop();
    const { spans } = await readLog(gateway.logDirectory);
    expect(spans.map(({ name }) => name)).toEqual(['chat']);
  });

  test('by a policy whose document is found by its id', async () => {
    const content = { default: 'drop', attributes: { 'input.value': 'keep' } } as const;
    const gateway = await open({ gateway: { ...LISTENERS, content } });
    await post(
      gateway.httpPort,
      spanWith('chat', text('input.value', 'x'), text('output.value', 'y')),
    );
    await gateway.stop();
    const { headers, spans } = await readLog(gateway.logDirectory);
    expect(headers[0]!.source.policy).toBe(gateway.policyId);
    expect(spans[0]!.attributes).toEqual({ 'input.value': 'x' });
    const name = gateway.policyId.replace('content/', '');
    const document = readFileSync(join(gateway.dir, 'policies', `${name}.json`));
    expect(sha256(document).toString('hex').slice(0, 32)).toBe(name);
  });

  test.each([
    ['full', { k: 'v', 'input.value': 'x' }],
    ['omit', { k: 'v' }],
  ] as const)('with the content policy of all: %s', async (content, attributes) => {
    const gateway = await open({ content });
    await post(gateway.httpPort, spanWith('chat', text('k', 'v'), text('input.value', 'x')));
    await gateway.stop();
    expect((await readLog(gateway.logDirectory)).spans[0]!.attributes).toEqual(attributes);
    expect(gateway.policyId === 'verbatim').toBe(content === 'full');
  });
});

describe('settings that can not be', () => {
  test.each<[string, ConfigInput['gateway'], RegExp]>([
    [
      'no certificate',
      { tls: { cert: '/nowhere/c.pem', key: '/nowhere/k.pem' } },
      /gateway\.tls\.cert: .*ENOENT/,
    ],
    [
      'no token',
      { clients: [{ id: 'a', token: { env: 'NO_SUCH_TOKEN' } }] },
      /gateway\.clients: the token of a /,
    ],
  ])('%s', async (_name, gateway, message) => {
    await expect(open({ gateway: { ...LISTENERS, ...gateway } })).rejects.toThrow(message);
  });

  test('an address that is taken gives the log back', async () => {
    const gateway = await open();
    const dir = temporaryDirectory();
    const taken = { ...LISTENERS, http: { listen: `127.0.0.1:${gateway.httpPort}` } };
    await expect(openGateway(readConfig({}, { dir, gateway: taken }))).rejects.toThrow(
      /can not be bound/,
    );
    const again = await openGateway(readConfig({}, { dir, gateway: LISTENERS }));
    expect(again.logDirectory).toBe(join(dir, '0'));
    await again.stop();
  });

  test('TLS from files', async () => {
    const dir = temporaryDirectory();
    const { cert, key } = selfSignedCertificate(['localhost']);
    writeFileSync(join(dir, 'c.pem'), cert);
    writeFileSync(join(dir, 'k.pem'), key, { mode: 0o600 });
    const tls = { cert: join(dir, 'c.pem'), key: join(dir, 'k.pem') };
    const gateway = await open({ gateway: { ...LISTENERS, tls } });
    await expect(post(gateway.httpPort, spanWith('chat'))).rejects.toThrow();
    const { credentials } = await import('@grpc/grpc-js');
    const exporter = new GrpcTraceExporter({
      url: `https://localhost:${gateway.grpcPort}`,
      credentials: credentials.createSsl(Buffer.from(cert)),
    });
    expect(await exported(exporter, sdkSpans(1))).toBe(0);
  });
});

test('a thousand requests that are none: a code each, memory bounded, and still at work', async () => {
  const gateway = await open({
    gateway: { ...LISTENERS, messageByteLengthMax: 4 * MIB, readDelayMsMax: 3000 },
  });
  const bomb = new Uint8Array(gzipSync(Buffer.alloc(64 * MIB)));
  const session = await openSession(gateway.grpcPort!);
  const grpc = async (bytes: Uint8Array, headers = {}, isEnded = true): Promise<string> =>
    `gRPC ${(await rawGrpcCall(session, bytes, headers, isEnded)).code}`;
  const http = async (
    body: Uint8Array<ArrayBuffer> | string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<string> => `HTTP ${await post(gateway.httpPort, body, headers)}`;
  const json = { 'content-type': 'application/json' };
  const kinds: readonly (readonly [expected: string, send: () => Promise<string>])[] = [
    ['HTTP 400', () => http(new Uint8Array(randomBytes(1000)).fill(0xff, 0, 4))],
    ['HTTP 413', () => http(bomb, { 'content-encoding': 'gzip' })],
    ['HTTP 415', () => http(spanWith('x'), { 'content-type': 'text/csv' })],
    ['HTTP 400', () => http('{"resourceSpans":7}', json)],
    ['HTTP 400', () => http('x', { 'content-encoding': 'gzip' })],
    ['gRPC 3', () => grpc(framed(Buffer.of(0xff)))],
    ['gRPC 8', () => grpc(framed(bomb, true), { 'grpc-encoding': 'gzip' })],
    ['gRPC 8', () => grpc(framed(Buffer.alloc(10), false, 2 ** 31))],
  ];
  const before = process.memoryUsage().rss;
  let most = 0;
  const wrong: string[] = [];
  const check = async (expected: string, send: () => Promise<string>): Promise<void> => {
    const code = await send();
    if (code !== expected) wrong.push(`${code} instead of ${expected}`);
    most = Math.max(most, process.memoryUsage().rss);
  };
  // Never whole: held until their time is over, while all the others come.
  const slow = Array.from({ length: 100 }, () =>
    check('gRPC 14', () => grpc(framed(Buffer.alloc(10), false, 1e6), {}, false)),
  );
  for (let round = 0; round < 15; round++) {
    const requests = Array.from({ length: 64 }, (_, at) => kinds[at % kinds.length]!);
    await Promise.all(requests.map(([expected, send]) => check(expected, send)));
  }
  await Promise.all(slow);
  session.destroy();
  expect(wrong).toEqual([]);
  expect(most - before).toBeLessThan(512 * MIB);
  expect(await post(gateway.httpPort, spanWith('alive'))).toBe(200);
  await gateway.stop();
  const { verdict, refused, spans } = await readLog(gateway.logDirectory);
  expect([verdict, spans.map(({ name }) => name)]).toEqual(['valid', ['alive']]);
  const count = refused.reduce((sum, event) => sum + event.count, 0);
  expect(count).toBe(15 * 64);
});

interface Running {
  readonly child: ChildProcess;
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly logDirectory: string;
  readonly errors: string[];
}

describe('the command', () => {
  /** Runs `sealspan gateway`; resolves once it listens. `wrapper` runs before it in the same process. */
  async function run(
    dir: string,
    { wrapper = '', gateway = '' }: { readonly wrapper?: string; readonly gateway?: string } = {},
  ): Promise<Running> {
    const path = join(dir, 'sealspan.yaml');
    const listen = 'listen: "127.0.0.1:0"';
    writeFileSync(
      path,
      `dir: ${join(dir, 'logs')}
origin: test/gateway
gateway: { grpc: { ${listen} }, http: { ${listen} }, ${gateway} }
`,
    );
    const command = `${wrapper}exec ${process.execPath} ${MAIN} gateway --config ${path} --json`;
    const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] });
    cleanUps.push(() => child.kill('SIGKILL'));
    const errors: string[] = [];
    createInterface({ input: child.stderr! }).on('line', (line) => errors.push(line));
    const lines = createInterface({ input: child.stdout! });
    const [line] = (await Promise.race([
      once(lines, 'line'),
      once(child, 'exit').then(() => {
        throw new Error(`it ended: ${errors.join('\n')}`);
      }),
    ])) as [string];
    return { child, errors, ...(JSON.parse(line) as Omit<Running, 'child' | 'errors'>) };
  }

  /** Sends spans with names of their own until told to stop; gives those that were acknowledged. */
  function load(running: Running, prefix: string) {
    const acknowledged: string[] = [];
    let isOver = false;
    const sending = Promise.all(
      Array.from({ length: 8 }, async (_, worker) => {
        for (let at = 0; !isOver; at++) {
          const name = `${prefix} ${worker} ${at}`;
          const code = await post(running.httpPort, tracesOf(name)).catch(() => 0);
          if (code === 200) acknowledged.push(name);
        }
      }),
    );
    return {
      acknowledged,
      until: async (count: number): Promise<void> => {
        while (acknowledged.length < count) await new Promise(setImmediate);
      },
      stop: async (): Promise<void> => {
        isOver = true;
        await sending;
      },
    };
  }

  async function ended(child: ChildProcess): Promise<[number | null, string | null]> {
    return child.exitCode !== null || child.signalCode !== null
      ? [child.exitCode, child.signalCode]
      : ((await once(child, 'exit')) as [number | null, string | null]);
  }

  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s under load: all acknowledged is sealed, the log closed, exit 0',
    async (signal) => {
      const dir = temporaryDirectory();
      const running = await run(dir);
      const sending = load(running, signal);
      await sending.until(100);
      running.child.kill(signal);
      expect(await ended(running.child)).toEqual([0, null]);
      await sending.stop();
      const log = await readLog(running.logDirectory);
      expect([log.verdict, log.findings]).toEqual(['valid', []]);
      expect(log.records.at(-1)!.events.at(-1)!.name).toBe('closed');
      expect(log.spans.map(({ name }) => name)).toEqual(
        expect.arrayContaining(sending.acknowledged),
      );
    },
  );

  test('SIGKILL under load, again and again: nothing acknowledged is missing', async () => {
    const dir = temporaryDirectory();
    const acknowledged: string[] = [];
    let logDirectory = '';
    for (let life = 0; life < 4; life++) {
      const running = await run(dir);
      logDirectory = running.logDirectory;
      const sending = load(running, `life ${life}`);
      await sending.until(50);
      running.child.kill('SIGKILL');
      await ended(running.child);
      await sending.stop();
      acknowledged.push(...sending.acknowledged);
    }
    const last = await run(dir);
    expect(last.logDirectory).toBe(logDirectory);
    last.child.kill('SIGTERM');
    expect(await ended(last.child)).toEqual([0, null]);
    const log = await readLog(logDirectory);
    const names = new Set(log.spans.map(({ name }) => name));
    expect(acknowledged.filter((name) => !names.has(name))).toEqual([]);
    expect(acknowledged.length).toBeGreaterThanOrEqual(200);
    // That it was killed is told, in notes: what a gateway acknowledged is sealed, the rest is sent again.
    expect(log.verdict).toBe('valid');
    const told = new Set(['log.interrupted', 'log.recovered-whole']);
    expect(log.findings.filter((code) => !told.has(code))).toEqual([]);
  });

  // No file above 64 KiB (128 blocks of 512 bytes): writes past that fail as on a full disk.
  const SMALL_FILES = { wrapper: 'ulimit -f 128; ', gateway: 'sealDelayMsMax: 1000' };
  const noise = (name: string, byteLength: number): Uint8Array<ArrayBuffer> =>
    spanWith(name, text('noise', randomBytes(byteLength).toString('base64')));

  test('a disk that fails and comes back: nothing is lost, and it is told', async () => {
    const running = await run(temporaryDirectory(), SMALL_FILES);
    const acknowledged: string[] = [];
    for (let at = 0; !running.errors.some((line) => line.includes('log.up')) || at < 20; at++) {
      const code = await post(running.httpPort, noise(`chat ${at}`, 6000));
      if (code === 200) acknowledged.push(`chat ${at}`);
    }
    expect(running.errors.join('\n')).toMatch(/sealspan: log\.down .*EFBIG/);
    running.child.kill('SIGTERM');
    expect((await ended(running.child))[0]).toBe(0);
    const log = await readLog(running.logDirectory);
    expect(log.spans.map(({ name }) => name)).toEqual(expect.arrayContaining(acknowledged));
    expect(log.verdict).toBe('valid');
    expect(log.findings.filter((code) => code !== 'log.recovered-whole')).toEqual([]);
  });

  test('a disk without room: come again, not ready, and still an end in order', async () => {
    const running = await run(temporaryDirectory(), SMALL_FILES);
    expect(await post(running.httpPort, tracesOf('before'))).toBe(200);
    expect(await post(running.httpPort, noise('too large for the disk', 100_000))).toBe(503);
    let ready = 200;
    while (ready !== 503) {
      ready = (await fetch(`http://127.0.0.1:${running.httpPort}/readyz`)).status;
    }
    expect(await post(running.httpPort, tracesOf('after'))).toBe(503);
    const session = await openSession(running.grpcPort);
    expect(await rawGrpcCall(session, framed(tracesOf('after')))).toMatchObject({
      code: 14,
      retrySeconds: 1,
    });
    session.destroy();
    running.child.kill('SIGTERM');
    expect((await ended(running.child))[0]).toBe(0);
    const log = await readLog(running.logDirectory);
    expect(log.verdict).not.toBe('invalid');
    expect(log.spans.map(({ name }) => name)).toContain('before');
  });

  test('a configuration that can not be: exit 2, with the cure', async () => {
    const dir = temporaryDirectory();
    const path = join(dir, 'sealspan.yaml');
    writeFileSync(path, 'gateway:\n  grpc: { listen: "0.0.0.0:4317" }\n');
    const child = spawn(process.execPath, [MAIN, 'gateway', '--config', path]);
    const errors: Buffer[] = [];
    child.stderr.on('data', (chunk) => errors.push(chunk));
    expect((await ended(child))[0]).toBe(2);
    expect(Buffer.concat(errors).toString()).toContain(
      `${path}:2: gateway.grpc.listen: found "0.0.0.0:4317", plaintext that leaves the machine`,
    );
  });
});
