// SPDX-License-Identifier: Apache-2.0
// Goal: what the gateway acknowledged is in a log that verifies, under its sender's name; and a client can say nothing there
// but its own. Method: the stock exporters as clients, `verifyDirectory` as judge, protobufjs as reader.
import { createHash, createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
import { encodeControl, type RefusedEvent } from '../exporter/log/control.ts';
import { type ConfigInput, readConfig } from '../exporter/node/config/config.ts';
import { type Gateway, openGateway } from '../exporter/node/gateway.ts';
import { framed, openSession, rawGrpcCall } from './support/gateway.ts';
import { post, readLog, spanWith, text } from './support/gateway-log.ts';
import { openOtlpBackend, selfSignedCertificate } from './support/otlp-backend.ts';
import { spansOfTraces } from './support/otlp-proto.ts';
import { parsePrometheus } from './support/prometheus.ts';

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

test('its numbers: what was taken, how far log, backend and archive are, and how old the signature is', async () => {
  const backend = await openOtlpBackend();
  cleanUps.push(() => backend.close());
  let isAway = true;
  backend.answer = () => (isAway ? { http: 503 } : 'ok');
  const gateway = await open({
    backend: { protocol: 'http/protobuf', endpoint: backend.httpEndpoint },
    checkpointMs: 10,
  });
  const numbers = async () => {
    const page = await fetch(`http://127.0.0.1:${gateway.httpPort}/metrics`);
    expect(page.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const families = [...parsePrometheus(await page.text()).values()];
    return Object.fromEntries(
      families.flatMap(({ samples }) =>
        Object.entries(samples).map(([key, value]) => [
          key.replace('sealspan_gateway_', ''),
          value,
        ]),
      ),
    );
  };
  for (let at = 0; at < 5; at++) {
    expect(await post(gateway.httpPort, spanWith(`chat ${at}`))).toBe(200);
  }
  expect(await post(gateway.httpPort, 'no OTLP')).toBe(400);
  expect(await numbers()).toMatchObject({
    'received_total{kind="traces"}': 5,
    'sealed_total{kind="traces"}': 5,
    'refused_total{cause="otlp.wire-type"}': 1,
    seal_duration_seconds_count: 5,
    in_flight_bytes: 0,
    ready: 1,
    forward_lag_records: expect.closeTo(5, -1),
  });
  expect((await numbers()).forward_lag_records).toBeGreaterThan(0);
  isAway = false;
  for (;;) {
    const found = await numbers();
    const { forward_lag_records: forward, unsigned_records: unsigned } = found;
    if (forward === 0 && unsigned === 0 && found.archive_lag_segments === 0) {
      expect(found.checkpoint_age_seconds).toBeLessThan(60);
      expect(found.log_records).toBeGreaterThanOrEqual(6);
      break;
    }
  }
});

test('what the budget lets in is sealed, however little the sealer may hold elsewhere', async () => {
  const gateway = await open({ pendingByteLengthMax: 1024, groupCommitMs: 100 });
  const large = spanWith('chat', text('padding', 'x'.repeat(900)));
  const codes = Array.from({ length: 50 }, () => post(gateway.httpPort, large));
  expect(new Set(await Promise.all(codes))).toEqual(new Set([200]));
});

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
