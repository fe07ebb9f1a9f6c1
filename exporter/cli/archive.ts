// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan archive test`: asks a bucket by doing whether it can hold an archive, and prints the policies to copy. What
 * it leaves in the bucket is small, and locked as long as records are.
 */
import { archivePolicies } from '../node/archive/archive-policies.ts';
import { type ProbeResult, type ProbeStatus, probeArchive } from '../node/archive/archive-probe.ts';
import { ConfigError, readConfig } from '../node/config/config.ts';
import { EXIT_PROBLEM, EXIT_UNKNOWN } from './exit.ts';
import { shown, type Terminal } from './terminal.ts';

const SIGN_OF: Readonly<Record<ProbeStatus, string>> = {
  ok: '✓',
  missing: '✗',
  advice: '!',
  unknown: '?',
};

export interface ArchiveTestOptions {
  readonly isJson: boolean;
}

/**
 * Runs the command; returns the exit status: 0 all that must be is so, 1 something is missing, 4 something can not be
 * told.
 */
export async function runArchiveTest(
  { isJson }: ArchiveTestOptions,
  terminal: Terminal,
): Promise<number> {
  const { archiveS3 } = readConfig(process.env);
  if (archiveS3 === undefined) {
    throw new ConfigError('archive: found no s3, expected settings of the bucket to be tested');
  }
  const tell = ({ name, status, message }: ProbeResult): void => {
    if (isJson) return;
    const sign = status === 'ok' ? terminal.good(SIGN_OF[status]) : terminal.bad(SIGN_OF[status]);
    terminal.data(`${sign} ${name.padEnd(23)} ${shown(message)}`);
  };
  const results = await probeArchive(archiveS3, tell);
  const policies = archivePolicies(archiveS3);
  const has = (status: ProbeStatus): boolean => results.some((result) => result.status === status);
  if (isJson) {
    terminal.data(JSON.stringify({ isFit: !has('missing'), results, policies }, undefined, 2));
  } else {
    terminal.data('');
    for (const [title, policy] of [
      ['bucket policy', policies.bucket],
      ['IAM policy of writers', policies.writer],
      ['IAM policy of auditors', policies.auditor],
    ] as const) {
      terminal.data(`${terminal.bold(title)}\n${JSON.stringify(policy, undefined, 2)}\n`);
    }
    const fit = has('missing')
      ? terminal.bad('not fit: see ✗')
      : has('unknown')
        ? 'not fully told: see ?'
        : terminal.good('fit');
    terminal.data(`this bucket is ${terminal.bold(fit)} to be an archive`);
  }
  if (has('missing')) return EXIT_PROBLEM;
  return has('unknown') ? EXIT_UNKNOWN : 0;
}
