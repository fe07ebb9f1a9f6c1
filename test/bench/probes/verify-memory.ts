// SPDX-License-Identifier: Apache-2.0
/** Verifies a log once, as `sealspan verify` does, and prints the most memory that the process ever had resident. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { tallyDirectory } from '../../../exporter/cli/verify.ts';
import { openCheckers } from '../../../exporter/node/verifying/checkers.ts';
import { specification } from '../support/processes.ts';

export interface VerifyMemorySpec {
  /** Holds the log in `0`. */
  readonly dir: string;
}

export interface VerifyMemoryFound {
  readonly peakBytes: number;
  readonly entries: number;
}

const { dir } = specification<VerifyMemorySpec>();
const checkers = openCheckers(availableParallelism());
const report = await tallyDirectory(join(dir, '0'), undefined, checkers, () => {});
checkers.close();
if (report.verdict !== 'valid') throw new Error(JSON.stringify(report.findings));
const found: VerifyMemoryFound = {
  peakBytes: process.resourceUsage().maxRSS * 1024,
  entries: report.entries,
};
console.log(JSON.stringify(found));
