// SPDX-License-Identifier: Apache-2.0
/**
 * What one step costs on a log that is already large: opening it for writing, sealing more, indexing it,
 * showing a trace, proving a span.
 * One step per process, so that nothing is remembered from the one before.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runShow } from '../../../exporter/cli/show.ts';
import type { Terminal } from '../../../exporter/cli/terminal.ts';
import { splitPayload } from '../../../exporter/log/entries.ts';
import { leafHash, proveInclusion, verifyInclusion } from '../../../exporter/log/merkle.ts';
import { type Checkpoint, parseCheckpoint } from '../../../exporter/log/note.ts';
import { sealingConfig } from '../../../exporter/node/audit.ts';
import { readConfig } from '../../../exporter/node/config/config.ts';
import { openAudit } from '../../../exporter/node/index.ts';
import { IN_PROCESS, SealingClient } from '../../../exporter/node/sealing/sealing-client.ts';
import { type LogIndex, openLogIndex } from '../../../exporter/node/storage/log-index.ts';
import { readNewestCheckpoint } from '../../../exporter/node/storage/log-reader.ts';
import { nodeFiles } from '../../../exporter/node/system/files.ts';
import { nodePrimitives, sha256 } from '../../../exporter/node/system/keys.ts';
import { specification } from '../support/processes.ts';
import { otlpRequests } from '../support/spans.ts';

export interface GrowthSpec {
  readonly step: 'take-up' | 'start' | 'start-archive' | 'seal' | 'index' | 'show' | 'prove';
  readonly dir: string;
  readonly originBase: string;
  readonly traceId: string;
  readonly record: number;
}

export interface GrowthFound {
  readonly ms: number;
  /** Of all threads. */
  readonly cpuMs: number;
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

/** A life of a writer that ends in order: it leaves what the next start goes by. */
async function takeUp(): Promise<void> {
  const audit = openAudit({ ...settings, archive: 'off' });
  await audit.shutdown();
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

async function signedHead(): Promise<Checkpoint> {
  return parseCheckpoint((await readNewestCheckpoint(join(spec.dir, '0')))!.bytes);
}

async function openIndex(): Promise<LogIndex> {
  const opened = await openLogIndex(join(spec.dir, '0'), await signedHead(), { files: nodeFiles });
  if (opened.status !== 'ok') throw new Error(opened.cause);
  return opened.index;
}

/** The index made from nothing, as the first `show` does. */
async function index(): Promise<void> {
  (await openIndex()).close();
}

/** What proves one span to who has the checkpoint: its entry, its path in the record, the header, its path in the log. */
async function prove(): Promise<void> {
  const index = await openIndex();
  const { size, root } = await signedHead();
  const { header, headerBytes, stored } = (await index.read(spec.record))!;
  const payload = await nodePrimitives.inflate(stored, header.payloadByteLength);
  const entries = splitPayload(payload, 'traces');
  const leaves = entries.map((entry) => leafHash(sha256, entry));
  const last = leaves.length - 1;
  const inRecord = proveInclusion(sha256, leaves, last);
  const inLog = index.tree.inclusionPath(spec.record, size);
  const headerLeaf = leafHash(sha256, headerBytes);
  const holds =
    verifyInclusion(sha256, leaves[last]!, last, leaves.length, inRecord, header.root) &&
    verifyInclusion(sha256, headerLeaf, spec.record, size, inLog, root);
  if (!holds) throw new Error('the proof does not hold');
  index.close();
}

const steps: Readonly<Record<GrowthSpec['step'], () => Promise<void>>> = {
  'take-up': takeUp,
  start: () => start(false),
  'start-archive': () => start(true),
  seal,
  index,
  show,
  prove,
};
const before = readBytes();
const startMs = performance.now();
const startCpu = process.cpuUsage();
await steps[spec.step]();
const ms = spec.step === 'seal' ? sealMs : performance.now() - startMs;
const { user, system } = process.cpuUsage(startCpu);
const found: GrowthFound = { ms, cpuMs: (user + system) / 1000, readBytes: readBytes() - before };
console.log(JSON.stringify(found));
process.exit(0);
