// SPDX-License-Identifier: Apache-2.0
/**
 * How many spans a second become durable records, and how far that is from the floor: the same payloads hashed, written
 * and synced by a loop that does nothing else. `npm run bench -- [--spans N] [--dir DIR] [--json]`. Numbers are of this
 * machine, disk and moment, and of a process that does nothing but make spans.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  fdatasyncSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SpanKind } from '@opentelemetry/api';
import { TracerProvider } from '@opentelemetry/sdk-trace';
import { verifyDirectory } from '../../exporter/cli/verify.ts';
import { readFrames } from '../../exporter/log/segment.ts';
import { attach, openAudit } from '../../exporter/node/index.ts';
import { nodePrimitives } from '../../exporter/node/keys.ts';
import { readSegmentFiles } from '../../exporter/node/log-reader.ts';

const ROOT = join(import.meta.dirname, '../..');
/** Spans that end in one turn of the event loop. */
const TURN_SPAN_COUNT = 64;
const LATENCY_COUNT = 200;
const TMPFS = 0x01021994;

/** What a hooked call of a language model has on its span. */
const ATTRIBUTES = {
  'gen_ai.operation.name': 'chat',
  'gen_ai.provider.name': 'openai',
  'gen_ai.request.model': 'small-2026-08-01',
  'gen_ai.response.model': 'small-2026-08-01',
  'gen_ai.response.id': 'chatcmpl-5f2a9181c0d44711',
  'gen_ai.response.finish_reasons': ['stop'],
  'gen_ai.usage.input_tokens': 412,
  'gen_ai.usage.output_tokens': 96,
  'server.address': 'api.example.org',
  'server.port': 443,
  'aigov.schema.version': '0.1.0',
  'aigov.system.id': 'loan-precheck',
  'aigov.system.version': '2026.11.2',
  'aigov.purpose.id': 'loan-precheck',
  'aigov.actor.id': 'loan-service',
  'aigov.actor.type': 'service',
  'aigov.subject.ref': 's-81c0d4',
  'aigov.content.policy': 'digest',
  'aigov.digest.alg': 'hmac-sha256',
  'aigov.digest.key_id': 'sha256:1c26267bb0e6228c',
  'aigov.input.length': 1460,
  'aigov.output.length': 388,
  'aigov.invocation.completion': 'complete',
};

type Mode = 'group' | 'sync';

function open(dir: string, mode: Mode) {
  const audit = openAudit({
    dir,
    mode,
    origin: `bench/${mode}`,
    forwarding: 'off',
    archive: 'off',
  });
  const provider = new TracerProvider({ spanProcessors: [nothing] });
  const joined = attach(provider, audit.capture);
  if (joined.status === 'refused') throw new Error(joined.reason);
  const tracer = provider.getTracer('sealspan');
  return {
    audit,
    span: (number: number) => {
      const digest = createHash('sha256').update(String(number)).digest('hex');
      const span = tracer.startSpan('chat small', {
        kind: SpanKind.CLIENT,
        attributes: ATTRIBUTES,
      });
      span.setAttributes({
        'aigov.input.digest': `hmac-sha256:${digest}`,
        'aigov.output.digest': `hmac-sha256:${digest}`,
      });
      span.end();
      return span.spanContext();
    },
  };
}

/** Stands where an application has its exporter. */
const nothing = {
  onStart: () => {},
  onEnd: () => {},
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Seconds until `count` spans were durable, and seconds that the event loop took to make and capture them. */
async function sealMany(dir: string, count: number) {
  const { audit, span } = open(dir, 'group');
  for (let number = 0; number < 2_000; number++) span(number);
  await audit.capture.flush();
  const startMs = performance.now();
  for (let number = 0; number < count; ) {
    for (const end = Math.min(count, number + TURN_SPAN_COUNT); number < end; number++)
      span(number);
    await turn();
  }
  const madeMs = performance.now();
  await audit.capture.flush();
  const endMs = performance.now();
  const { lost } = audit.capture.stats();
  await audit.shutdown();
  if (lost > 0) throw new Error(`${lost} spans were lost`);
  return { seconds: (endMs - startMs) / 1000, madeSeconds: (madeMs - startMs) / 1000 };
}

/** Milliseconds from the end of a span to its durable record, one span at a time. */
async function latencies(dir: string, mode: Mode): Promise<number[]> {
  const { audit, span } = open(dir, mode);
  const found: number[] = [];
  for (let number = 0; number < LATENCY_COUNT; number++) {
    const startMs = performance.now();
    await audit.capture.committed(span(number));
    found.push(performance.now() - startMs);
  }
  await audit.shutdown();
  return found;
}

async function payloadsOf(dir: string): Promise<Uint8Array[]> {
  const payloads: Uint8Array[] = [];
  for await (const { bytes } of readSegmentFiles(dir)) {
    for (const { header, stored } of readFrames(bytes)) {
      if (header.kind !== 'traces') continue;
      payloads.push(await nodePrimitives.inflate(stored, header.payloadByteLength));
    }
  }
  return payloads;
}

/** Milliseconds of each payload: SHA-256, one write, one fdatasync. */
function floor(path: string, payloads: readonly Uint8Array[]): number[] {
  const file = openSync(path, 'ax', 0o600);
  const found = payloads.map((payload) => {
    const startMs = performance.now();
    createHash('sha256').update(payload).digest();
    writeSync(file, payload);
    fdatasyncSync(file);
    return performance.now() - startMs;
  });
  closeSync(file);
  return found;
}

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
}

const sum = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0);

function git(...args: readonly string[]): string {
  try {
    return execFileSync('git', args, {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return '';
  }
}

async function measure(dir: string, count: number) {
  const many = await sealMany(join(dir, 'many'), count);
  const report = await verifyDirectory(join(dir, 'many/0'), undefined);
  if (report.verdict !== 'valid') throw new Error(`the log is ${report.verdict}`);
  const payloads = await payloadsOf(join(dir, 'many/0'));
  const floorMs = floor(join(dir, 'floor'), payloads);
  // Those of the spans that warmed up stand first, and are no more than a share of all.
  const share = count / report.entries;
  const floorSeconds = (sum(floorMs) / 1000) * share;
  const byteLength = sum(payloads.map((payload) => payload.length));
  const [group, sync] = [
    await latencies(join(dir, 'group'), 'group'),
    await latencies(join(dir, 'sync'), 'sync'),
  ];
  const oneMs = floor(
    join(dir, 'one'),
    (await payloadsOf(join(dir, 'sync/0'))).slice(0, LATENCY_COUNT),
  );
  const [cpu] = cpus();
  return {
    machine: `${cpu?.model.trim()} × ${cpus().length}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${process.arch}`,
    node: process.version,
    commit: `${git('rev-parse', '--short', 'HEAD').trim() || 'unknown'}${git('status', '--porcelain') === '' ? '' : ' and changes'}`,
    disk: statfsSync(dir).type === TMPFS ? 'memory: a sync costs nothing here, use --dir' : 'disk',
    spans: count,
    bytesPerSpan: Math.round(byteLength / report.entries),
    records: Math.round(payloads.length * share),
    sealedPerSecond: Math.round(count / many.seconds),
    floorPerSecond: Math.round(count / floorSeconds),
    timesFloor: Number((many.seconds / floorSeconds).toFixed(2)),
    eventLoopMicrosecondsPerSpan: Number(((many.madeSeconds * 1e6) / count).toFixed(1)),
    latencyMs: {
      group: [quantile(group, 0.5), quantile(group, 0.99)].map((ms) => Number(ms.toFixed(2))),
      sync: [quantile(sync, 0.5), quantile(sync, 0.99)].map((ms) => Number(ms.toFixed(2))),
      floor: [quantile(oneMs, 0.5), quantile(oneMs, 0.99)].map((ms) => Number(ms.toFixed(2))),
    },
  };
}

const { values } = parseArgs({
  options: { spans: { type: 'string' }, dir: { type: 'string' }, json: { type: 'boolean' } },
});
const count = Number(values.spans ?? '20000');
if (!Number.isInteger(count) || count < 1)
  throw new TypeError('--spans: expected a number above 0');
// Not the folder for temporary files: that is memory on many machines.
const dir = mkdtempSync(join(values.dir ?? join(ROOT, 'node_modules'), '.sealspan-bench-'));
try {
  const found = await measure(dir, count);
  if (values.json === true) {
    console.log(JSON.stringify(found));
  } else {
    const pair = ([half, most]: readonly number[]) => `p50 ${half} ms, p99 ${most} ms`;
    console.log(`machine    ${found.machine}
node       ${found.node}
commit     ${found.commit}
disk       ${found.disk}

sealed     ${found.sealedPerSecond} spans/s: made, captured, sealed and durable (${found.spans} of ${found.bytesPerSpan} bytes in ${found.records} records)
floor      ${found.floorPerSecond} spans/s: the payloads of these records, each hashed, written and synced
ratio      ${found.timesFloor} × the time of the floor
event loop ${found.eventLoopMicrosecondsPerSpan} µs a span, the SDK's own share included

end of a span to durable, one at a time
group      ${pair(found.latencyMs.group)}: waits for others to share an fsync with
sync       ${pair(found.latencyMs.sync)}
floor      ${pair(found.latencyMs.floor)}: one span hashed, written and synced`);
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
