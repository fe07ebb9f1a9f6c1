// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what a Collector loses between a service and the gateway is named, number by number. Method: a service that numbers
 * its calls, real Collectors that drop at random or whose queue overflows, and the numbers in the gateway's log, decoded by
 * protobufjs, against what \`sealspan verify\` says is missing.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { InstanceReport } from '../../exporter/node/verifying/instances.ts';
import { collector } from './collectors.ts';
import { type Gateway, gateway } from './gateway.ts';
import { jaeger } from './jaeger.ts';
import { type Client, killAll, startClient, until } from './services.ts';
import { collectorBinary, goVersion, jaegerBinary } from './tools.ts';

const CLIENT = join(import.meta.dirname, 'clients/numbered.ts');
const LISTED_COUNT = 16;

let work = '';
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'sealspan-e2e-numbers-'));
  if (goVersion() !== undefined) for (const build of [collectorBinary, jaegerBinary]) build();
});
afterAll(async () => {
  await killAll();
  rmSync(work, { recursive: true, force: true });
  if (goVersion() === undefined)
    console.warn('NOT RUN: numbers behind a Collector: `go` is missing');
});

/** A pipeline to the gateway, as somebody might have it who did not read what we ask for. */
function configOf(dir: string, percentage: number, queueSize: number): string {
  mkdirSync(dir, { recursive: true });
  const path = join(dir, 'collector.yaml');
  const exporters = {
    'otlp_grpc/audit': {
      endpoint: '${env:AUDIT_ENDPOINT}',
      tls: { insecure: true },
      retry_on_failure: { enabled: true, initial_interval: '100ms', max_interval: '500ms' },
      sending_queue: { sizer: 'requests', queue_size: queueSize, num_consumers: 10 },
    },
  };
  const processors = {
    // Says yes before it sends, so that what its queue can not take is lost and nobody is told.
    tail_sampling: {
      decision_wait: '200ms',
      policies: [
        {
          name: 'share',
          type: 'probabilistic',
          probabilistic: { sampling_percentage: percentage, hash_salt: String(Math.random()) },
        },
      ],
    },
  };
  const config = {
    extensions: { health_check: { endpoint: '${env:HEALTH_LISTEN}' } },
    receivers: { otlp: { protocols: { grpc: { endpoint: '${env:OTLP_GRPC_LISTEN}' } } } },
    processors,
    exporters,
    service: {
      extensions: ['health_check'],
      pipelines: {
        traces: {
          receivers: ['otlp'],
          processors: ['tail_sampling'],
          exporters: ['otlp_grpc/audit'],
        },
      },
      telemetry: {
        metrics: {
          readers: [
            {
              pull: {
                exporter: { prometheus: { host: '127.0.0.1', port: '${env:METRICS_PORT}' } },
              },
            },
          ],
        },
      },
    },
  };
  writeFileSync(path, stringify(config));
  return path;
}

/** Numbers in the log, as protobufjs reads them. */
async function arrivedOf(log: Gateway): Promise<Set<number>> {
  const numbers = new Set<number>();
  for (const { entries } of await log.records()) {
    const found = JSON.stringify(entries).matchAll(
      /"key":"aigov\.sequence","value":\{"intValue":"(\d+)"/g,
    );
    for (const [, number] of found) numbers.add(Number(number));
  }
  return numbers;
}

function rangesOf(missing: readonly number[]): string[] {
  const ranges: [number, number][] = [];
  for (const number of missing) {
    const last = ranges.at(-1);
    if (last?.[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
}

function senderOf(log: Gateway): InstanceReport | undefined {
  const { instances } = log.verify() as unknown as { instances: readonly InstanceReport[] };
  return instances.find(({ kind }) => kind === 'sender');
}

/** Waits until the end of the service is known, closed or by its silence, and judges. */
async function judge(log: Gateway, startedCount: number): Promise<number> {
  await until('the end of the service is known', 60_000, async () => {
    await delay(500);
    return senderOf(log)?.state !== 'running';
  });
  let arrived = new Set<number>();
  let sender: InstanceReport | undefined;
  // What waits in the Collector may come behind the closing heartbeat.
  await until('all has arrived', 60_000, async () => {
    const { size } = arrived;
    sender = senderOf(log);
    await delay(1000);
    arrived = await arrivedOf(log);
    return arrived.size === size;
  });
  // Its heartbeats have numbers too; the last of them may itself be lost, and then nobody knows of it.
  const highest = Math.max(...arrived);
  expect(highest).toBeGreaterThan(startedCount - 10);
  const missing = Array.from({ length: highest }, (_, at) => at + 1).filter((n) => !arrived.has(n));
  const verified = log.verify();
  expect({
    count: sender?.missing.count,
    ranges: sender?.missing.ranges,
    service: sender?.service,
    status: verified.status,
    verdict: verified.verdict,
  }).toEqual({
    count: missing.length,
    ranges: rangesOf(missing).slice(0, LISTED_COUNT).join(','),
    service: 'numbered',
    status: 3,
    verdict: 'incomplete',
  });
  return missing.length;
}

const startNumbered = (dir: string, endpoint: string): Client =>
  startClient('numbered', dir, process.execPath, [CLIENT], endpoint);

async function make(client: Client, count: number): Promise<void> {
  const before = client.acknowledged();
  client.send(count);
  await until('the calls are made', 60_000, () => client.acknowledged() === before + count);
}

function withCollector(): void {
  test('that drops one in a hundred at random: the missing numbers are named exactly', async () => {
    const dir = join(work, 'random');
    const log = await gateway(dir);
    await log.start();
    const between = await collector(dir, log.endpoint, '', 0, configOf(dir, 99, 100_000));
    await between.start();
    const client = startNumbered(dir, between.endpoint);
    await make(client, 2000);
    await client.finish();
    const missingCount = await judge(log, 2000);
    expect(missingCount).toBeGreaterThan(0);
    expect(missingCount).toBeLessThan(100);
    expect(await between.stop()).toBe(0);
    expect(await log.stop()).toBe(0);
  });

  test('whose sending queue overflows: the missing numbers are named exactly', async () => {
    const dir = join(work, 'overflow');
    const log = await gateway(dir);
    await log.start();
    const between = await collector(dir, log.endpoint, '', 0, configOf(dir, 100, 400));
    await between.start();
    const client = startNumbered(dir, between.endpoint);
    await make(client, 300);
    await delay(2000);
    await log.kill();
    await make(client, 1000);
    await log.start();
    // What the queue could hold arrives; then it takes the rest, and the last heartbeat with it.
    let before = -10;
    await until('the queue is empty', 60_000, async () => {
      const { size } = await arrivedOf(log);
      // Heartbeats go on arriving.
      const isSettled = size - before < 10;
      before = size;
      if (!isSettled) await delay(3000);
      return isSettled;
    });
    await make(client, 300);
    await client.finish();
    expect(await judge(log, 1600)).toBeGreaterThan(100);
    expect(between.said()).toContain('sending queue is full');
    expect(await between.stop()).toBe(0);
    expect(await log.stop()).toBe(0);
  });

  test('reconciled with a real Jaeger: what went past the gateway is told, and nothing else', async () => {
    const dir = join(work, 'reconcile');
    const backend = await jaeger(join(dir, 'jaeger'));
    await backend.start();
    const log = await gateway(dir, { source: 'direct', backend: backend.endpoint });
    await log.start();
    const past = startNumbered(join(dir, 'past'), `http://${backend.endpoint}`);
    await make(past, 3);
    await past.finish();
    const client = startNumbered(dir, `http://${log.endpoint}`);
    await make(client, 200);
    await client.finish();
    expect(await log.stop()).toBe(0);
    expect(log.verify()).toMatchObject({ status: 0, verdict: 'valid' });
    let found = log.reconcile(backend.queryUrl);
    await until('all are in Jaeger', 60_000, async () => {
      await delay(500);
      found = log.reconcile(backend.queryUrl);
      return found.found === found.sealed;
    });
    expect(found.sealed).toBeGreaterThan(200);
    const { unsealed, ...others } = found.differences;
    expect(others).toEqual({ missing: [], absent: [], altered: [] });
    expect(unsealed!.filter(({ name }) => name === 'chat')).toHaveLength(3);
    expect(unsealed!.filter(({ name }) => name !== 'chat' && name !== 'heartbeat')).toEqual([]);
    expect(found.status).toBe(3);
    // A backend that has lost all lacks every trace.
    await backend.kill();
    await backend.start();
    expect(log.reconcile(backend.queryUrl)).toMatchObject({
      status: 3,
      found: 0,
      counts: { missing: 0, absent: found.sealed, unsealed: 0, altered: 0 },
    });
  });

  test('that loses nothing: complete', async () => {
    const dir = join(work, 'whole');
    const log = await gateway(dir);
    await log.start();
    const between = await collector(dir, log.endpoint, '', 0, configOf(dir, 100, 100_000));
    await between.start();
    const client = startNumbered(dir, between.endpoint);
    await make(client, 500);
    await client.finish();
    await until('closed', 60_000, () => senderOf(log)?.state === 'closed');
    expect(await between.stop()).toBe(0);
    expect(await log.stop()).toBe(0);
    expect(log.verify()).toMatchObject({ status: 0, verdict: 'valid' });
    expect(senderOf(log)).toMatchObject({ state: 'closed', completeness: 'complete' });
  });
}
if (goVersion() !== undefined) describe('behind a real Collector', withCollector);
