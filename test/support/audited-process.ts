// SPDX-License-Identifier: Apache-2.0
/**
 * Starts the small service of `audited-app.ts`, listens to it, ends it, and reads the log it leaves with a verifier's eyes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Head, parseVerifier } from '../../exporter/log/note.ts';
import type { VerifiedRecord } from '../../exporter/log/record.ts';
import type { Report } from '../../exporter/log/report.ts';
import { verifyLog } from '../../exporter/log/verify.ts';
import { readCheckpointFiles, readSegmentFiles } from '../../exporter/node/storage/log-reader.ts';
import { nodePrimitives, sha256 } from '../../exporter/node/system/keys.ts';
import type { AppTask } from './audited-app.ts';
import { spansOfTraces } from './otlp-proto.ts';

const APP = fileURLToPath(new URL('./audited-app.ts', import.meta.url));

export interface AuditedProcess {
  readonly child: ChildProcess;
  /** What it wrote to stdout so far: whole lines. */
  told(): string[];
  /** Resolves once it told `count` lines. Rejects if it ends before. */
  untilTold(count: number): Promise<void>;
  /** Resolves with its exit code, signal and stderr. */
  ended(): Promise<{
    readonly code: number | null;
    readonly signal: NodeJS.Signals | null;
    readonly errors: string;
  }>;
}

/** @param fileKiBMax no file of it can become larger: a disk that is full for it alone */
export function startAudited(task: AppTask, fileKiBMax?: number): AuditedProcess {
  const command = [process.execPath, APP, JSON.stringify(task)];
  const limited = ['bash', '-c', `ulimit -f ${fileKiBMax}; exec "$@"`, 'bash', ...command];
  const [program = '', ...args] = fileKiBMax === undefined ? command : limited;
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  let isEnded = false;
  const told = (): string[] => output.split('\n').slice(0, -1);
  let onChange = (): void => {};
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
    onChange();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const closed = once(child, 'close').then(() => {
    isEnded = true;
    onChange();
  });
  return {
    child,
    told,
    untilTold: (count) =>
      new Promise((resolve, reject) => {
        onChange = () => {
          if (told().length >= count) resolve();
          else if (isEnded) reject(new Error(`ended after ${told().length} lines: ${errors}`));
        };
        onChange();
      }),
    ended: async () => {
      await closed;
      return { code: child.exitCode, signal: child.signalCode, errors };
    },
  };
}

export interface ReadLog {
  readonly report: Report;
  readonly records: readonly VerifiedRecord[];
  /** Names of the spans, in order. */
  readonly names: readonly string[];
}

/** Reads and verifies a log directory that nobody writes to, by the key beside it, and by a head seen before. */
export async function readLog(dir: string, minimumHead?: Head): Promise<ReadLog> {
  const vkey = readFileSync(join(dir, 'verifier'), 'utf8').trim();
  const verifier = parseVerifier(sha256, vkey);
  const records: VerifiedRecord[] = [];
  const report = await verifyLog(
    {
      checkpoints: await readCheckpointFiles(dir),
      segments: readSegmentFiles(dir),
      trust: {
        origin: verifier.name,
        verifiers: [verifier],
        selfAttested: true,
        minimumHead,
      },
      live: false,
      nowMs: undefined,
      onRecord: (record) => records.push(record),
    },
    nodePrimitives,
  );
  const names = records
    .filter(({ header }) => header.kind === 'traces')
    .flatMap(({ entries }) => entries.flatMap(spansOfTraces).map(({ name }) => name));
  return { report, records, names };
}
