// SPDX-License-Identifier: Apache-2.0
/**
 * Processes that a benchmark looks at: probes that print one JSON object, a sink that counts spans, and what the kernel
 * says of a process. Each probe starts from nothing, so that no run warms up the next.
 */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { ROOT } from './bench.ts';
import { compiled } from './compiled.ts';

const PROBES = 'test/bench/probes';
const OUTPUT_BYTE_LENGTH_MAX = 64 * 1024 * 1024;
const execFileAsync = promisify(execFile);

/** Folder for CPU profiles of all probes, where somebody wants them: `BENCH_PROFILES=DIR npm run bench -- --only A`. */
function profileArguments(): string[] {
  const dir = process.env.BENCH_PROFILES;
  return dir === undefined || dir === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${dir}`];
}

/** Node with the arguments that every process here gets. */
export function nodeArguments(file: string): string[] {
  return ['--no-warnings', ...profileArguments(), file];
}

export interface ProbeOptions {
  /** Pins the probe to one core, where the system can. */
  readonly isPinned?: boolean;
  /** Kills it after so long. */
  readonly withinMs?: number;
}

/** Runs `probes/<name>.ts` with a specification, and returns what it found. */
export async function probe<Found>(
  name: string,
  specification: unknown,
  options: ProbeOptions = {},
): Promise<Found> {
  const node = [
    process.execPath,
    ...nodeArguments(compiled(`${PROBES}/${name}.ts`)),
    JSON.stringify(specification),
  ];
  const [command, ...rest] = options.isPinned && canPin() ? ['taskset', '-c', '0', ...node] : node;
  const { stdout } = await execFileAsync(command!, rest, {
    cwd: ROOT,
    maxBuffer: OUTPUT_BYTE_LENGTH_MAX,
    timeout: options.withinMs ?? 0,
    killSignal: 'SIGKILL',
  });
  return JSON.parse(stdout) as Found;
}

let pins: boolean | undefined;

/** Whether a process can be kept on one core. */
export function canPin(): boolean {
  pins ??= spawnSync('taskset', ['-c', '0', 'true']).status === 0;
  return pins;
}

/** The specification that a probe was started with. */
export function specification<Spec>(): Spec {
  return JSON.parse(process.argv.at(-1)!) as Spec;
}

export interface Counted {
  readonly requests: number;
  readonly spans: number;
  readonly bytes: number;
}

/** An OTLP backend in a process of its own that acknowledges at once and keeps nothing. */
export interface Sink {
  readonly pid: number;
  readonly grpcPort: number;
  readonly httpPort: number;
  counted(): Promise<Counted>;
  stop(): Promise<void>;
}

export async function startSink(): Promise<Sink> {
  const child = spawn(process.execPath, ['--no-warnings', compiled(`${PROBES}/sink.ts`)], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const kill = (): void => {
    child.kill();
  };
  process.once('exit', kill);
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const { grpcPort, httpPort } = JSON.parse(line) as { grpcPort: number; httpPort: number };
  return {
    pid: child.pid!,
    grpcPort,
    httpPort,
    counted: async () =>
      (await (await fetch(`http://127.0.0.1:${httpPort}/counted`)).json()) as Counted,
    stop: async () => {
      process.removeListener('exit', kill);
      const gone = once(child, 'exit');
      kill();
      await gone;
    },
  };
}

/** Kernel clock ticks in a second, as Linux tells user space on every architecture. */
const TICKS_PER_SECOND = 100;

/** Whether this system tells of other processes. */
export const hasProc: boolean = existsSync('/proc/self/stat');

/** Seconds of CPU that a process has used, all its threads; in steps of 10 ms. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // Behind the name, which may hold anything but a closing bracket last.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Bytes of memory that a process has resident. */
export function residentBytesOf(pid: number): number {
  return statusBytesOf(pid, 'VmRSS');
}

/** Bytes of memory that a process had resident at most. */
export function peakBytesOf(pid: number): number {
  return statusBytesOf(pid, 'VmHWM');
}

function statusBytesOf(pid: number, name: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * 1024;
}
