// SPDX-License-Identifier: Apache-2.0
/**
 * Verifies a log as `sealspan verify` does, again and again, in turn with the floor: SHA-256 over the payloads of the same log, once, already
 * in memory. Prints seconds of each.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { tallyDirectory } from '../../../exporter/cli/verify.ts';
import { readFrames } from '../../../exporter/log/segment.ts';
import { readSegmentFiles } from '../../../exporter/node/storage/log-reader.ts';
import { nodePrimitives } from '../../../exporter/node/system/keys.ts';
import { openCheckers } from '../../../exporter/node/verifying/checkers.ts';
import { specification } from '../support/processes.ts';

export interface VerifySpec {
  /** Holds the log in `0`. */
  readonly dir: string;
  readonly rounds: number;
  readonly threadCount: number;
}

export interface VerifyFound {
  readonly verifySeconds: readonly number[];
  readonly floorSeconds: readonly number[];
  /** The same in CPU, all threads together. */
  readonly verifyCpuSeconds: readonly number[];
  readonly floorCpuSeconds: readonly number[];
  readonly payloadBytes: number;
  readonly entries: number;
}

const spec = specification<VerifySpec>();
const dir = join(spec.dir, '0');
const payloads: Uint8Array[] = [];
for await (const { bytes } of readSegmentFiles(dir)) {
  for (const { header, stored } of readFrames(bytes)) {
    payloads.push(await nodePrimitives.inflate(stored, header.payloadByteLength));
  }
}
const verifySeconds: number[] = [];
const floorSeconds: number[] = [];
const verifyCpuSeconds: number[] = [];
const floorCpuSeconds: number[] = [];
const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const checkers = openCheckers(spec.threadCount);
let entries = 0;
// The first round is for the compiler.
for (let round = 0; round <= spec.rounds; round++) {
  const startMs = performance.now();
  const startCpu = cpuSeconds();
  const report = await tallyDirectory(dir, undefined, checkers, () => {});
  const halfMs = performance.now();
  const halfCpu = cpuSeconds();
  for (const payload of payloads) createHash('sha256').update(payload).digest();
  const endMs = performance.now();
  const endCpu = cpuSeconds();
  if (report.verdict !== 'valid') throw new Error(JSON.stringify(report.findings));
  entries = report.entries;
  if (round === 0) continue;
  verifySeconds.push((halfMs - startMs) / 1000);
  floorSeconds.push((endMs - halfMs) / 1000);
  verifyCpuSeconds.push(halfCpu - startCpu);
  floorCpuSeconds.push(endCpu - halfCpu);
}
checkers.close();
const found: VerifyFound = {
  verifySeconds,
  floorSeconds,
  verifyCpuSeconds,
  floorCpuSeconds,
  payloadBytes: payloads.reduce((sum, payload) => sum + payload.length, 0),
  entries,
};
console.log(JSON.stringify(found));
