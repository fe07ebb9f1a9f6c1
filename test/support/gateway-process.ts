// SPDX-License-Identifier: Apache-2.0
/** The gateway as a process: `sealspan gateway` from source, on free ports of this host, killed at the end of its test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const MAIN = join(import.meta.dirname, '../../exporter/cli/main.ts');

export interface Running {
  readonly child: ChildProcess;
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly logDirectory: string;
  readonly errors: string[];
}

/** Runs `sealspan gateway`; resolves once it listens. `wrapper` runs before it in the same process, `gateway` is YAML. */
export async function runGateway(
  dir: string,
  cleanUps: (() => unknown)[],
  { wrapper = '', gateway = '' }: { readonly wrapper?: string; readonly gateway?: string } = {},
): Promise<Running> {
  const path = join(dir, 'sealspan.yaml');
  const listen = 'listen: "127.0.0.1:0"';
  writeFileSync(
    path,
    `dir: ${join(dir, 'logs')}
origin: test/gateway
gateway: { grpc: { ${listen} }, http: { ${listen} }, ${gateway} }
`,
  );
  const command = `${wrapper}exec ${process.execPath} ${MAIN} gateway --config ${path} --json`;
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] });
  cleanUps.push(() => child.kill('SIGKILL'));
  const errors: string[] = [];
  createInterface({ input: child.stderr! }).on('line', (line) => errors.push(line));
  const lines = createInterface({ input: child.stdout! });
  const [line] = (await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(() => {
      throw new Error(`it ended: ${errors.join('\n')}`);
    }),
  ])) as [string];
  return { child, errors, ...(JSON.parse(line) as Omit<Running, 'child' | 'errors'>) };
}

/** How it ended: exit status and signal. */
export async function ended(child: ChildProcess): Promise<[number | null, string | null]> {
  return child.exitCode !== null || child.signalCode !== null
    ? [child.exitCode, child.signalCode]
    : ((await once(child, 'exit')) as [number | null, string | null]);
}

/** Bytes of memory that a process had at most; undefined where the system does not tell. */
export function peakMemoryByteLength({ pid }: ChildProcess): number | undefined {
  try {
    const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
    return Number(kilobytes) * 1024;
  } catch {
    return undefined;
  }
}
