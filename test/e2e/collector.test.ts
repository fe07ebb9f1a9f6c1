// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: behind the Collector that a team already runs, every governed span of any language is sealed, whatever is
 * killed or full meanwhile. Method: the shipped configuration, unchanged but for addresses, in a real Collector; clients
 * on the stock SDKs of three languages that know what was acknowledged to them; Jaeger as the backend; and at the end
 * the log, verified, against what the clients know.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFakeOpenai } from '../support/fake-openai.ts';
import { openOtlpBackend, selfSignedCertificate } from '../support/otlp-backend.ts';
import { CONFIG, collector } from './collectors.ts';
import { type Gateway, gateway } from './gateway.ts';
import { type Jaeger, jaeger } from './jaeger.ts';
import { type Client, killAll, type SentSpan, startClient, until } from './services.ts';
import { openSmallDisk, type SmallDisk } from './small-disk.ts';
import {
  collectorBinary,
  goClientBinary,
  goVersion,
  jaegerBinary,
  pythonBinary,
  pythonVersion,
} from './tools.ts';

const CLIENTS = join(import.meta.dirname, 'clients');
const SPANS_PER_TRACE = 5;
/** Spans of the load, and how long an outage lasts beyond the load that it meets. */
const SPAN_COUNT = Number(process.env.E2E_SPANS ?? 50_000);
const OUTAGE_MS = Number(process.env.E2E_OUTAGE_MS ?? 3000);

const hasGo = goVersion() !== undefined;
const hasPython = pythonVersion() !== undefined;
const notRun: string[] = [];
if (!hasGo) notRun.push('everything with the Collector, Jaeger and the Go client: `go` is missing');
if (!hasPython) notRun.push('the Python clients: `python3` with venv is missing');

let work = '';
let disk: SmallDisk | undefined;
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'sealspan-e2e-'));
  // Builds what is not there yet, so that no test's time is the compiler's.
  if (hasPython) pythonBinary();
  if (hasGo) for (const build of [goClientBinary, collectorBinary, jaegerBinary]) build();
});
afterAll(async () => {
  await killAll();
  disk?.close();
  rmSync(work, { recursive: true, force: true });
  for (const part of notRun) console.warn(`NOT RUN: ${part}`);
});

function startClients(dir: string, endpoint: string): Client[] {
  const started = [
    startClient('node', dir, process.execPath, [join(CLIENTS, 'node.ts')], endpoint),
  ];
  if (hasGo) started.push(startClient('go', dir, goClientBinary(), [], endpoint));
  if (hasPython) {
    const script = join(CLIENTS, 'python/load.py');
    started.push(startClient('python', dir, pythonBinary(), [script], endpoint));
  }
  return started;
}

const id = (span: SentSpan): string => `${span.traceId} ${span.spanId}`;

async function governedOf(clients: readonly Client[]): Promise<string[]> {
  const spans = (await Promise.all(clients.map((client) => client.sent()))).flat();
  return spans.filter((span) => span.isGoverned).map(id);
}

/** Waits until the log holds every one of `spans`; how often each span is sealed. */
async function whenSealed(
  log: Gateway,
  spans: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  let sealed = await log.sealed();
  await until(`${spans.length} spans sealed`, 120_000, async () => {
    if (spans.every((span) => sealed.has(span))) return true;
    await delay(1000);
    sealed = await log.sealed();
    return false;
  }).catch((error: unknown) => {
    const missing = spans.filter((span) => !sealed.has(span));
    throw new Error(`${String(error)}; ${missing.length} are missing, first ${missing[0]}`);
  });
  return sealed;
}

/** Has the clients send `spanCount` spans together; `during` runs once three tenths of them are acknowledged. */
async function sendAll(
  clients: readonly Client[],
  spanCount: number,
  during: () => Promise<void> = async () => {},
): Promise<void> {
  const traceCount = Math.ceil(spanCount / clients.length / SPANS_PER_TRACE);
  const share = traceCount * SPANS_PER_TRACE;
  const before = clients.map((client) => client.acknowledged());
  const progress = (): number =>
    clients.reduce((sum, client, at) => sum + client.acknowledged() - before[at]!, 0);
  for (const client of clients) client.send(traceCount);
  await until('the load is under way', 60_000, () => progress() >= 0.3 * share * clients.length);
  await during();
  await until('the load is acknowledged', 180_000, () => progress() === share * clients.length);
}

const sent = (clients: readonly Client[]): number =>
  clients.reduce((sum, client) => sum + client.acknowledged(), 0);

const finish = (clients: readonly Client[]) =>
  Promise.all(clients.map((client) => client.finish()));

test('clients straight into the gateway: governed spans are sealed once each', async () => {
  const dir = join(work, 'direct');
  const log = await gateway(dir, { source: 'direct' });
  await log.start();
  const clients = startClients(dir, `http://${log.endpoint}`);
  await sendAll(clients, 3000);
  await finish(clients);
  const governed = await governedOf(clients);
  const sealed = await whenSealed(log, governed);
  expect(await log.stop()).toBe(0);
  expect(governed.length).toBe((3000 / SPANS_PER_TRACE) * 3);
  expect(new Set(governed.map((span) => sealed.get(span)))).toEqual(new Set([1]));
  expect(log.verify()).toMatchObject({ status: 0, verdict: 'valid' });
});

function withCollector(): void {
  test('the shipped configuration is valid, and the check would tell', () => {
    const validate = (path: string) =>
      spawnSync(collectorBinary(), ['validate', '--config', path], { encoding: 'utf8' });
    expect(validate(CONFIG)).toMatchObject({ status: 0, stderr: '' });
    const broken = join(work, 'broken.yaml');
    writeFileSync(broken, readFileSync(CONFIG, 'utf8').replace('block_on_overflow', 'block'));
    expect(validate(broken).status).toBe(1);
  });

  test('the lines of mutual TLS, uncommented: the certificate is sealed with spans and log events', async () => {
    const dir = join(work, 'tls');
    mkdirSync(dir);
    const pem = (name: string, text: string): string => {
      writeFileSync(join(dir, name), text, { mode: 0o600 });
      return join(dir, name);
    };
    const server = selfSignedCertificate(['localhost']);
    const client = selfSignedCertificate(['collector']);
    const tls = {
      cert: pem('server.pem', server.cert),
      key: pem('server.key', server.key),
      clientCa: pem('client.pem', client.cert),
    };
    const files: Readonly<Record<string, string>> = {
      ca_file: tls.cert,
      cert_file: tls.clientCa,
      key_file: pem('client.key', client.key),
      reload_interval: '1h',
    };
    const text = readFileSync(CONFIG, 'utf8')
      .replace(/^ *insecure: true\n(?= *# ca_file)/m, '')
      .replace(/^( *)# (ca_file|cert_file|key_file|reload_interval): .*$/gm, (_, indent, name) => {
        return `${indent}${name}: ${files[name]}`;
      });
    const log = await gateway(dir, { tls });
    await log.start();
    const config = pem('collector.yaml', text);
    const between = await collector(dir, log.endpoint, '127.0.0.1:1', 0, config);
    await between.start();

    const post = async (path: string, body: object): Promise<void> => {
      const headers = { 'content-type': 'application/json' };
      const url = `${between.httpEndpoint}/v1/${path}`;
      const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
      expect(answer.status).toBe(200);
    };
    const attribute = (key: string) => ({ key, value: { stringValue: 'x' } });
    const ids = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' };
    const times = { startTimeUnixNano: '1', endTimeUnixNano: '2' };
    const spans = [
      { ...ids, ...times, name: 'not governed', attributes: [attribute('http.route')] },
      { ...ids, ...times, name: 'governed', attributes: [attribute('gen_ai.operation.name')] },
    ];
    const eventName = 'gen_ai.client.inference.operation.details';
    const logRecords = [
      { ...ids, body: { stringValue: 'not governed' } },
      { ...ids, eventName },
    ];
    await post('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] });
    await post('logs', { resourceLogs: [{ scopeLogs: [{ logRecords }] }] });
    await until('both are sealed', 30_000, async () => (await log.records()).length === 2);
    expect(await between.stop()).toBe(0);
    expect(await log.stop()).toBe(0);

    const principal = createHash('sha256')
      .update(new X509Certificate(client.cert).raw)
      .digest('base64');
    const records = [...(await log.records())].sort((a, b) => (a.kind > b.kind ? -1 : 1));
    expect(records.map(({ kind, source }) => ({ kind, source }))).toEqual([
      { kind: 'traces', source: { kind: 'collector', principal } },
      { kind: 'logs', source: { kind: 'collector', principal } },
    ]);
    const [traces, logs] = records.map(({ entries }) => entries);
    expect(traces).toMatchObject([
      { resourceSpans: [{ scopeSpans: [{ spans: [{ name: 'governed' }] }] }] },
    ]);
    expect(logs).toMatchObject([
      {
        resourceLogs: [{ scopeLogs: [{ logRecords: [{ eventName }] }] }],
      },
    ]);
    expect(log.verify()).toMatchObject({ status: 0, verdict: 'valid' });
  });

  describe('with Jaeger as the backend', () => {
    let backend: Jaeger;
    beforeAll(async () => {
      backend = await jaeger(join(work, 'jaeger'));
      await backend.start();
    });

    test('three languages: a tenth is in the backend, all governed spans are sealed, once each', async () => {
      const dir = join(work, 'load');
      const log = await gateway(dir);
      await log.start();
      const between = await collector(dir, log.endpoint, backend.endpoint);
      await between.start();
      const clients = startClients(dir, between.endpoint);
      await sendAll(clients, SPAN_COUNT);
      await finish(clients);

      const governed = await governedOf(clients);
      const sealed = await whenSealed(log, governed);
      expect(governed.length).toBeGreaterThanOrEqual((SPAN_COUNT / SPANS_PER_TRACE) * 3);
      expect(sealed.size).toBe(governed.length);
      expect(new Set(sealed.values())).toEqual(new Set([1]));

      // Trace ids are random: five standard deviations around a tenth.
      const traceCount = sent(clients) / SPANS_PER_TRACE;
      const tolerance = 5 * Math.sqrt(0.09 / traceCount);
      const share = async (): Promise<number> => {
        const traces = (
          await Promise.all(clients.map((client) => backend.tracesOf(client.name)))
        ).flat();
        expect(new Set(traces.map(({ spans }) => spans.length))).toEqual(
          new Set(traces.length === 0 ? [] : [SPANS_PER_TRACE]),
        );
        return traces.length / traceCount;
      };
      await until('a tenth is in Jaeger', 60_000, async () => {
        await delay(1000);
        return (await share()) > 0.1 - tolerance;
      });
      expect(await between.stop()).toBe(0);
      expect(await share()).toBeLessThan(0.1 + tolerance);
      expect(await log.stop()).toBe(0);
      expect(log.verify()).toMatchObject({ status: 0, verdict: 'valid' });
    });

    if (hasPython) {
      test.each([
        ['opentelemetry.instrumentation.genai.openai', 'gen_ai.input.messages'],
        ['openinference.instrumentation.openai', 'input.value'],
      ])(
        'a Python service instrumented by %s: from the backend to the log and back',
        async (instrumentation, contentKey) => {
          const dir = join(work, instrumentation);
          const log = await gateway(dir, { backend: backend.endpoint });
          await log.start();
          // Nothing through the sampled pipeline, so that what Jaeger has came out of the log.
          const between = await collector(dir, log.endpoint, backend.endpoint, 0);
          await between.start();
          const provider = await startFakeOpenai();
          const { stdout } = await promisify(execFile)(
            pythonBinary(),
            [join(CLIENTS, 'python/service.py'), instrumentation],
            {
              env: {
                ...process.env,
                OPENAI_BASE_URL: provider.url,
                OTEL_EXPORTER_OTLP_ENDPOINT: between.endpoint,
                OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: 'span_only',
                OTEL_SEMCONV_STABILITY_OPT_IN: 'gen_ai_latest_experimental',
                OTEL_SERVICE_NAME: instrumentation,
              },
            },
          );
          const traceId = stdout.trim();
          expect(provider.requests.length).toBe(1);
          await provider.close();

          let [span] = await backend.spansOf(traceId);
          await until('the span is in Jaeger', 30_000, async () => {
            [span] = await backend.spansOf(traceId);
            return span !== undefined;
          });
          expect(await between.stop()).toBe(0);
          expect(await log.stop()).toBe(0);

          const shown = log.show(traceId);
          expect(shown).toMatchObject({
            status: 0,
            verdict: 'valid',
            spans: [
              {
                spanId: span!.spanID,
                ref: span!.tags['aigov.audit.ref'],
                leaf: span!.tags['aigov.audit.leaf'],
                normalised: {
                  'gen_ai.operation.name': 'chat', // OpenInference has one name for the model, under which it tells of the one that answered.
                  'gen_ai.request.model': expect.stringMatching(/^gpt-fake/),
                },
              },
            ],
          });
          // From the log's reference to the backend: its search finds this very span.
          const ref = String(span!.tags['aigov.audit.ref']);
          const found = await backend.tracesOf(instrumentation, { 'aigov.audit.ref': ref });
          expect(found.flatMap(({ spans }) => spans.map(({ spanID }) => spanID))).toEqual([
            span!.spanID,
          ]);
          // The instrumentation wrote the prompt onto the span. Neither the log nor the backend's copy has it in clear.
          expect(JSON.stringify(span)).toContain(contentKey);
          expect(JSON.stringify([shown, span])).not.toContain('Mustermann');
        },
      );
    }
  });

  test('gateway killed, Collector killed, backend away, disk full: nothing governed is missing', async () => {
    const dir = join(work, 'faults');
    disk = openSmallDisk(join(dir, 'disk'), 64 * 1024 * 1024);
    if (disk === undefined) notRun.push('a full disk: this machine does not let us mount one');
    const log = await gateway(dir, { logDir: join(dir, 'disk', 'log') });
    await log.start();
    const first = await openOtlpBackend();
    const between = await collector(dir, log.endpoint, `127.0.0.1:${first.grpcPort}`);
    await between.start();
    const clients = startClients(dir, between.endpoint);
    const share = SPAN_COUNT / 5;

    await sendAll(clients, share, async () => {
      await log.kill();
      await delay(OUTAGE_MS);
      await log.start();
    });
    await sendAll(clients, share, async () => {
      await between.kill();
      await delay(OUTAGE_MS);
      await between.start();
    });
    await sendAll(clients, share, () => first.close());
    await delay(OUTAGE_MS);
    const second = await openOtlpBackend({ grpcPort: first.grpcPort });
    if (disk !== undefined) {
      await sendAll(clients, share, async () => {
        disk?.fill();
        await until('the gateway has no space left', 60_000, () => log.said().includes('ENOSPC'));
        await delay(OUTAGE_MS);
      });
      // All of it is acknowledged to the clients: the Collector's queue holds what the gateway can not take.
      disk.free();
    }
    await sendAll(clients, share);
    await finish(clients);

    const governed = await governedOf(clients);
    const sealed = await whenSealed(log, governed);
    // Again after a kill means twice at times, and never anything that no client sent.
    expect([...sealed.keys()].sort()).toEqual([...governed].sort());
    await second.until((backend) => backend.accepted.length > 0);
    expect(await between.stop()).toBe(0);
    expect(await log.stop()).toBe(0);
    // The log notes itself that its writer was killed, and of nothing lost.
    const { findings, ...verified } = log.verify();
    expect(verified).toMatchObject({ status: 0, verdict: 'valid', declaredLost: 0 });
    const codes = new Set(findings.map(({ code }) => code));
    for (const ofKills of ['log.interrupted', 'log.recovered-whole']) codes.delete(ofKills);
    expect([...codes]).toEqual([]);
    await second.close();
  });
}
if (hasGo) describe('behind a real Collector', withCollector);
