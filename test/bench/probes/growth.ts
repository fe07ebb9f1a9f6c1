// SPDX-License-Identifier: Apache-2.0
/**
 * What one step costs on a log that is already large: opening it for writing, sealing more, indexing it, showing a trace.
 */
import { join } from 'node:path';
import { runShow } from '../../../exporter/cli/show.ts';
import type { Terminal } from '../../../exporter/cli/terminal.ts';
import { parseCheckpoint } from '../../../exporter/log/note.ts';
import { sealingConfig } from '../../../exporter/node/audit.ts';
import { readConfig } from '../../../exporter/node/config/config.ts';
import { openAudit } from '../../../exporter/node/index.ts';
import { IN_PROCESS, SealingClient } from '../../../exporter/node/sealing/sealing-client.ts';
import { openLogIndex } from '../../../exporter/node/storage/log-index.ts';
import { readNewestCheckpoint } from '../../../exporter/node/storage/log-reader.ts';
import { nodeFiles } from '../../../exporter/node/system/files.ts';
import { otlpRequests } from '../support/spans.ts';
import { type GrowthSpec, runTimed, spec } from '../support/step.ts';

const SEAL_REQUEST_COUNT = 80;
const SEAL_SPAN_COUNT = 128;
const NO_COUNTERS = { started: 0, ended: 0, sealed: 0, lost: 0, highest: 0, open: '' };

const settings = { dir: spec.dir, origin: spec.originBase, forwarding: 'off' } as const;

/** Returns the time it took in milliseconds, where that is not all that it does. */
type Step = () => Promise<number | undefined>;

async function start(isArchived: boolean): Promise<undefined> {
  openAudit({
    ...settings,
    archive: isArchived ? { directory: join(spec.dir, 'archive') } : 'off',
  });
}

/** A life of a writer that ends in order: it leaves what the next start goes by. */
async function takeUp(): Promise<undefined> {
  const audit = openAudit({ ...settings, archive: 'off' });
  await audit.shutdown();
}

/** Of one span. */
async function seal(): Promise<number> {
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
  const sealMs = (performance.now() - startMs) / (5 * SEAL_REQUEST_COUNT * SEAL_SPAN_COUNT);
  sealing.closeSync({ counters: NO_COUNTERS, interrupted: [] });
  return sealMs;
}

const silent: Terminal = {
  data: () => {},
  note: () => {},
  progress: () => {},
  bold: (text) => text,
  good: (text) => text,
  bad: (text) => text,
};

async function show(): Promise<undefined> {
  const options = { dir: spec.dir, traceId: spec.traceId, trustPath: undefined, isJson: false };
  const status = await runShow(options, silent);
  if (status !== 0) throw new Error(`show ended with ${status}`);
}

/** The index made from nothing, as the first `show` does. */
async function index(): Promise<undefined> {
  const dir = join(spec.dir, '0');
  const head = parseCheckpoint(readNewestCheckpoint(dir)!.bytes);
  const opened = await openLogIndex(dir, head, { files: nodeFiles });
  if (opened.status !== 'ok') throw new Error(opened.cause);
  opened.index.close();
}

const steps: Readonly<Record<Exclude<GrowthSpec['step'], 'prove'>, Step>> = {
  'take-up': takeUp,
  start: () => start(false),
  'start-archive': () => start(true),
  seal,
  index,
  show,
};
if (spec.step === 'prove') throw new TypeError('step: has a probe of its own');
await runTimed(steps[spec.step]);
