// SPDX-License-Identifier: Apache-2.0
/**
 * What one step costs on a log that is already large: opening it for writing, sealing more, showing a trace, proving a span.
 * One step per process, so that nothing is remembered from the one before.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { runShow } from '../../../exporter/cli/show.ts';
import type { Terminal } from '../../../exporter/cli/terminal.ts';
import { splitPayload } from '../../../exporter/log/entries.ts';
import { headerEnd, parseHeader } from '../../../exporter/log/header.ts';
import { leafHash, proveInclusion } from '../../../exporter/log/merkle.ts';
import { parseSegmentName, readFrame } from '../../../exporter/log/segment.ts';
import { sealingConfig } from '../../../exporter/node/audit.ts';
import { readConfig } from '../../../exporter/node/config.ts';
import { openAudit } from '../../../exporter/node/index.ts';
import { nodePrimitives, sha256 } from '../../../exporter/node/keys.ts';
import { IN_PROCESS, SealingClient } from '../../../exporter/node/sealing-client.ts';
import { specification } from '../support/processes.ts';
import { otlpRequests } from '../support/spans.ts';

export interface GrowthSpec {
  readonly step: 'start' | 'start-archive' | 'seal' | 'show' | 'prove';
  readonly dir: string;
  readonly originBase: string;
  readonly traceId: string;
  readonly record: number;
}

export interface GrowthFound {
  readonly ms: number;
  /** Bytes that the process read meanwhile, where the system tells. */
  readonly readBytes: number;
}

const SEAL_REQUEST_COUNT = 80;
const SEAL_SPAN_COUNT = 128;
const NO_COUNTERS = { started: 0, ended: 0, sealed: 0, lost: 0, highest: 0, open: '' };

const spec = specification<GrowthSpec>();
const settings = { dir: spec.dir, origin: spec.originBase, forwarding: 'off' } as const;

function readBytes(): number {
  try {
    return Number(/^rchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

async function start(isArchived: boolean): Promise<void> {
  openAudit({
    ...settings,
    archive: isArchived ? { directory: join(spec.dir, 'archive') } : 'off',
  });
}

let sealMs = 0;

async function seal(): Promise<void> {
  const requests = otlpRequests(
    { seed: 5, byteLength: 1024, content: 'off' },
    SEAL_REQUEST_COUNT,
    SEAL_SPAN_COUNT,
  );
  const config = readConfig({}, { ...settings, archive: 'off' });
  const sealing = new SealingClient(sealingConfig(config), () => {});
  const all = async (): Promise<void> => {
    const outcomes = await Promise.all(
      requests.map((bytes) => sealing.submit(new Uint8Array(bytes), IN_PROCESS)),
    );
    if (outcomes.some(({ status }) => status === 'lost')) throw new Error('lost');
  };
  await all();
  const startMs = performance.now();
  for (let round = 0; round < 5; round++) await all();
  sealMs = (performance.now() - startMs) / (5 * SEAL_REQUEST_COUNT * SEAL_SPAN_COUNT);
  sealing.closeSync({ counters: NO_COUNTERS, interrupted: [] });
}

const silent: Terminal = {
  data: () => {},
  note: () => {},
  progress: () => {},
  bold: (text) => text,
  good: (text) => text,
  bad: (text) => text,
};

async function show(): Promise<void> {
  const options = { dir: spec.dir, traceId: spec.traceId, trustPath: undefined, isJson: false };
  const status = await runShow(options, silent);
  if (status !== 0) throw new Error(`show ended with ${status}`);
}

/** As the parts of the core allow today, for want of an index: every header for the log's tree, then the one record. */
async function prove(): Promise<void> {
  const segments = join(spec.dir, '0/segments');
  const leaves: Uint8Array[] = [];
  let payload: Uint8Array | undefined;
  const buffer = Buffer.allocUnsafe(4096);
  for (const name of readdirSync(segments).sort()) {
    const first = parseSegmentName(name);
    if (first === undefined) throw new Error(name);
    const file = await open(join(segments, name), 'r');
    for (let at = 0; ; ) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      const end = headerEnd(buffer.subarray(0, bytesRead), 0);
      if (end === undefined) break;
      const headerBytes = Uint8Array.prototype.slice.call(buffer, 0, end);
      const header = parseHeader(headerBytes);
      if (header.index === spec.record) {
        const whole = Buffer.alloc(end + header.storedByteLength);
        await file.read(whole, 0, whole.length, at);
        const { stored } = readFrame(whole, 0)!;
        payload = await nodePrimitives.inflate(stored, header.payloadByteLength);
      }
      leaves.push(leafHash(sha256, headerBytes));
      at += end + header.storedByteLength;
    }
    await file.close();
  }
  const entries = splitPayload(payload!, 'traces').map((entry) => leafHash(sha256, entry));
  proveInclusion(sha256, entries, entries.length - 1);
  proveInclusion(sha256, leaves, spec.record);
}

const steps: Readonly<Record<GrowthSpec['step'], () => Promise<void>>> = {
  start: () => start(false),
  'start-archive': () => start(true),
  seal,
  show,
  prove,
};
const before = readBytes();
const startMs = performance.now();
await steps[spec.step]();
const ms = spec.step === 'seal' ? sealMs : performance.now() - startMs;
const found: GrowthFound = { ms, readBytes: readBytes() - before };
console.log(JSON.stringify(found));
process.exit(0);
