// SPDX-License-Identifier: Apache-2.0
/**
 * The processes of an end-to-end test, each started on ports of its own, killed when the test says so and at the end
 * whatever happens, with the end of what it said in the error when something went otherwise.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, createWriteStream, mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

const ROOT = join(import.meta.dirname, '../..');

/** Ports that were free a moment ago, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

/** Asks until the answer is true; says what was waited for when `withinMs` has passed. */
export async function until(
  what: string,
  withinMs: number,
  ask: () => boolean | Promise<boolean>,
): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await ask())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${withinMs} ms`);
    await delay(100);
  }
}

/** Whether GET answers 200. */
export async function isOk(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(2000) })).status === 200;
  } catch {
    return false;
  }
}

export interface Service {
  /** Starts it, or starts it once more after it was killed. Resolves when it is ready. */
  start(): Promise<void>;
  /** Sends SIGKILL and waits until it is gone. */
  kill(): Promise<void>;
  /** Sends SIGTERM and waits; the exit status. */
  stop(): Promise<number | null>;
  /** All it wrote to stdout and stderr so far. */
  said(): string;
}

interface ServiceOptions {
  readonly name: string;
  /** Directory for its output. */
  readonly dir: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** GET answers 200 here once it is ready. */
  readonly readyUrl: string;
}

const running = new Set<ChildProcess>();

/** Kills what is still running; for the end of a test file. */
export async function killAll(): Promise<void> {
  await Promise.all([...running].map((child) => ended(child, 'SIGKILL')));
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
  }
  running.delete(child);
  return child.exitCode;
}

/** A service that is not started yet. */
export function service(options: ServiceOptions): Service {
  const path = join(options.dir, `${options.name}.out`);
  let child: ChildProcess | undefined;
  const said = (): string => readFileSync(path, 'utf8');
  return {
    said,
    start: async () => {
      mkdirSync(options.dir, { recursive: true });
      const output = createWriteStream(path, { flags: 'a' });
      await once(output, 'open');
      const started = spawn(options.command, options.args, {
        cwd: ROOT,
        env: { ...process.env, ...options.env },
        stdio: ['ignore', output, output],
      });
      output.close();
      running.add(started);
      child = started;
      const exit = once(started, 'exit');
      await once(started, 'spawn');
      try {
        await until(`${options.name} ready`, 60_000, () => {
          if (started.exitCode !== null) throw new Error(`${options.name} ended`);
          return isOk(options.readyUrl);
        });
      } catch (error) {
        started.kill('SIGKILL');
        await exit;
        throw new Error(`${String(error)}\n${said().slice(-4000)}`);
      }
    },
    kill: async () => {
      if (child !== undefined) await ended(child, 'SIGKILL');
    },
    stop: async () => (child === undefined ? null : ended(child, 'SIGTERM')),
  };
}

/** A span that a client made and got acknowledged. */
export interface SentSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly isGoverned: boolean;
}

/** One of the load clients of clients/. */
export interface Client {
  readonly name: string;
  /** Total of acknowledged spans. */
  acknowledged(): number;
  /** Has it make and send so many traces of five spans, three of them governed. */
  send(traceCount: number): void;
  /** Lets it send what is left and end. */
  finish(): Promise<void>;
  /** What was acknowledged, read back from the file the client wrote. */
  sent(): Promise<SentSpan[]>;
}

/** Starts a load client that sends to `endpoint`. */
export function startClient(
  name: string,
  dir: string,
  command: string,
  args: readonly string[],
  endpoint: string,
): Client {
  mkdirSync(dir, { recursive: true });
  const idsFile = join(dir, `${name}.ids`);
  const child = spawn(command, args, {
    cwd: ROOT,
    env: {
      ...process.env,
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_EXPORTER_OTLP_INSECURE: 'true',
      OTEL_EXPORTER_OTLP_TIMEOUT: name === 'python' ? '10' : '10000',
      OTEL_SERVICE_NAME: name,
      IDS_FILE: idsFile,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  running.add(child);
  let acknowledged = 0;
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    errors = `${errors}${chunk.toString()}`.slice(-4000);
  });
  createInterface({ input: child.stdout! }).on('line', (line) => {
    acknowledged = Number(line);
  });
  // What is written to a client that is gone is lost; that it is gone, the next question tells.
  child.stdin?.on('error', () => {});
  const exit = once(child, 'exit');
  return {
    name,
    acknowledged: () => {
      if (child.exitCode !== null && child.exitCode !== 0)
        throw new Error(`client ${name} ended with ${child.exitCode}\n${errors}`);
      return acknowledged;
    },
    send: (traceCount) => {
      child.stdin?.write(`${traceCount}\n`);
    },
    finish: async () => {
      child.stdin?.end();
      const [status] = await exit;
      running.delete(child);
      if (status !== 0) throw new Error(`client ${name} ended with ${status}\n${errors}`);
    },
    sent: async () => {
      const spans: SentSpan[] = [];
      for await (const line of createInterface({ input: createReadStream(idsFile) })) {
        const [traceId = '', spanId = '', governed] = line.split(' ');
        spans.push({ traceId, spanId, isGoverned: governed === '1' });
      }
      return spans;
    },
  };
}
