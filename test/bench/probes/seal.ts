// SPDX-License-Identifier: Apache-2.0
/**
 * Spans into durable records, as many as one process can: requests made beforehand are handed to the sealing thread. Then
 * the floor of the very records that came of it, and the same spans by loggers that most packages resemble.
 */
import { createHash } from 'node:crypto';
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { TracerProvider } from '@opentelemetry/sdk-trace';
import { verifyDirectory } from '../../../exporter/cli/verify.ts';
import { readFrames } from '../../../exporter/log/segment.ts';
import { sealingConfig } from '../../../exporter/node/audit.ts';
import { readConfig } from '../../../exporter/node/config/config.ts';
import { attach, openAudit } from '../../../exporter/node/index.ts';
import { IN_PROCESS, SealingClient } from '../../../exporter/node/sealing/sealing-client.ts';
import { readSegmentFiles } from '../../../exporter/node/storage/log-reader.ts';
import { nodePrimitives } from '../../../exporter/node/system/keys.ts';
import { openJsonLog } from '../support/json-log.ts';
import { specification } from '../support/processes.ts';
import { otlpRequests, type SpanStyle, spanMaker, spanShapes } from '../support/spans.ts';

export interface SealSpec {
  /** `requests`: the sealing thread alone is measured. `spans`: an SDK makes them, and the event loop captures. */
  readonly from: 'requests' | 'spans';
  readonly style: SpanStyle;
  readonly spanCount: number;
  readonly dir: string;
}

export interface SealFound {
  /** Spans a second, each. */
  readonly sealed: number;
  readonly floor: number;
  /** CPU of all threads for one span, in microseconds, and that of the floor. */
  readonly cpuMicroseconds: number;
  readonly floorCpuMicroseconds: number;
  readonly jsonLog: number;
  readonly jsonLogSynced: number;
  readonly records: number;
}

const REQUEST_SPAN_COUNT = 128;
const IN_FLIGHT_BYTE_LENGTH = 24 * 1024 * 1024;
const NO_COUNTERS = { started: 0, ended: 0, sealed: 0, lost: 0, highest: 0, open: '' };
const SYNCED_COUNT = 200;
const WARM_PART = 0.1;
/** How often the requests are sealed; the last time is measured, for a service seals for days and not for a second. */
const ROUND_COUNT = 5;

const spec = specification<SealSpec>();
const settings = {
  dir: spec.dir,
  origin: 'bench/seal',
  forwarding: 'off',
  archive: 'off',
} as const;

interface Taken {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Index of the first record that counts. */
  readonly firstRecord?: number;
}

function clock(): () => Taken {
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  return () => {
    const seconds = (performance.now() - startMs) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    return { seconds, cpuSeconds: (user + system) / 1e6 };
  };
}

/** As if nothing had been left out. */
function scaled({ seconds, cpuSeconds }: Taken, part: number): Taken {
  return { seconds: seconds / part, cpuSeconds: cpuSeconds / part };
}

/** What the sealing thread takes for requests that are there already. */
async function sealRequests(): Promise<Taken> {
  const requestCount = Math.ceil(spec.spanCount / REQUEST_SPAN_COUNT);
  const requests = otlpRequests(spec.style, requestCount, REQUEST_SPAN_COUNT);
  const sealing = new SealingClient(sealingConfig(readConfig({}, settings)), () => {});
  let recordCount = 0;
  const send = async (): Promise<void> => {
    let inFlight = 0;
    let next = 0;
    await new Promise<void>((resolve, reject) => {
      let unanswered = requests.length;
      const fill = (): void => {
        for (; next < requests.length && inFlight < IN_FLIGHT_BYTE_LENGTH; next++) {
          const bytes = new Uint8Array(requests[next]!);
          const { length } = bytes;
          inFlight += length;
          void sealing.submit(bytes, IN_PROCESS).then((outcome) => {
            if (outcome.status === 'lost') reject(new Error(outcome.cause));
            else recordCount = outcome.recordIndex + 1;
            inFlight -= length;
            if (--unanswered === 0) resolve();
            else fill();
          });
        }
      };
      fill();
    });
  };
  for (let round = 1; round < ROUND_COUNT; round++) await send();
  const firstRecord = recordCount;
  const taken = clock();
  await send();
  const found = { ...taken(), firstRecord };
  sealing.closeSync({ counters: NO_COUNTERS, interrupted: [] });
  return found;
}

const TURN_SPAN_COUNT = 64;
const FLUSH_SPAN_COUNT = 8192;

/** The same for spans that an SDK makes in this process. */
async function sealSpans(): Promise<Taken> {
  const audit = openAudit(settings);
  const provider = new TracerProvider({ spanProcessors: [] });
  const joined = attach(provider, audit.capture);
  if (joined.status === 'refused') throw new Error(joined.reason);
  const makeSpan = spanMaker(provider.getTracer('sealspan'), spanShapes(spec.style, 8));
  const make = async (count: number): Promise<void> => {
    for (let made = 0; made < count; ) {
      for (let i = 0; i < TURN_SPAN_COUNT && made < count; i++, made++) makeSpan();
      if (made % FLUSH_SPAN_COUNT === 0) await audit.capture.flush();
      else await turn();
    }
    await audit.capture.flush();
  };
  const warmCount = Math.ceil(spec.spanCount * WARM_PART);
  await make(warmCount);
  const taken = clock();
  await make(spec.spanCount - warmCount);
  const found = taken();
  const { lost } = audit.capture.stats();
  await audit.shutdown();
  if (lost > 0) throw new Error(`${lost} spans were lost`);
  return scaled(found, 1 - WARM_PART);
}

const sealed = spec.from === 'requests' ? await sealRequests() : await sealSpans();
const logDirectory = join(spec.dir, '0');
const report = await verifyDirectory(logDirectory, undefined);
if (report.verdict !== 'valid') throw new Error(`the log is ${report.verdict}`);

const records: { readonly payload: Uint8Array; readonly frame: Uint8Array }[] = [];
const entries: Uint8Array[] = [];
for await (const { bytes } of readSegmentFiles(logDirectory)) {
  for (const { header, headerBytes, stored } of readFrames(bytes)) {
    if (header.kind !== 'traces' || header.index < (sealed.firstRecord ?? 0)) continue;
    const payload = await nodePrimitives.inflate(stored, header.payloadByteLength);
    records.push({ payload, frame: Buffer.concat([headerBytes, stored]) });
    if (entries.length < SYNCED_COUNT) entries.push(payload.subarray(0, spec.style.byteLength));
  }
}

/** The bytes of each record hashed once; the bytes that were written, written and synced as often. */
function floor(): Taken {
  const file = openSync(join(spec.dir, 'floor'), 'ax', 0o600);
  const taken = clock();
  for (const { payload, frame } of records) {
    createHash('sha256').update(payload).digest();
    writeSync(file, frame);
    fdatasyncSync(file);
  }
  const found = taken();
  closeSync(file);
  return found;
}

function jsonSeconds(name: string, count: number, isSynced: boolean): number {
  const log = openJsonLog(join(spec.dir, name), isSynced);
  const shapes = spanShapes(spec.style, 8);
  const startMs = performance.now();
  for (let i = 0; i < count; i++) {
    const { name: spanName, atStart, atEnd } = shapes[i % shapes.length]!;
    log.append({ name: spanName, attributes: { ...atStart, ...atEnd }, at: i });
  }
  const found = (performance.now() - startMs) / 1000;
  log.close();
  return found;
}

const least = floor();
const microseconds = ({ cpuSeconds }: Taken): number => (cpuSeconds * 1e6) / spec.spanCount;
const found: SealFound = {
  sealed: spec.spanCount / sealed.seconds,
  floor: spec.spanCount / least.seconds,
  cpuMicroseconds: microseconds(sealed),
  floorCpuMicroseconds: microseconds(least),
  jsonLog: spec.spanCount / jsonSeconds('json', spec.spanCount, false),
  jsonLogSynced: SYNCED_COUNT / jsonSeconds('json-synced', SYNCED_COUNT, true),
  records: records.length,
};
console.log(JSON.stringify(found));
