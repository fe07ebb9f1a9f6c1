// SPDX-License-Identifier: Apache-2.0
/**
 * One step on a log that is already large, timed. One step per process, so that nothing is remembered from the one before;
 * and in a probe that loads no more than its steps need, or what else was loaded would be compiled and collected meanwhile.
 */
import { readFileSync } from 'node:fs';
import { specification } from './processes.ts';

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

export const spec: GrowthSpec = specification<GrowthSpec>();

function readBytes(): number {
  try {
    return Number(/^rchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Runs the step and ends the process. @param step may return a time that it took itself, in milliseconds */
export async function runTimed(step: () => Promise<number | undefined>): Promise<never> {
  const before = readBytes();
  const startMs = performance.now();
  const startCpu = process.cpuUsage();
  const own = await step();
  const ms = own ?? performance.now() - startMs;
  const { user, system } = process.cpuUsage(startCpu);
  const found: GrowthFound = { ms, cpuMs: (user + system) / 1000, readBytes: readBytes() - before };
  console.log(JSON.stringify(found));
  process.exit(0);
}
