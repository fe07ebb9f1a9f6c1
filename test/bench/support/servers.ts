// SPDX-License-Identifier: Apache-2.0
/**
 * The gateway and a real Collector, each as a process that takes OTLP, makes it durable, and forwards it to one backend. Both
 * without compression, without TLS, and with the defaults of their own wherever those do not drop.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { ConfigInput } from '../../../exporter/node/config/config.ts';
import { freePorts, isOk, until } from '../../e2e/services.ts';
import { collectorBinary, goVersion } from '../../e2e/tools.ts';
import { ROOT } from './bench.ts';
import { compiled } from './compiled.ts';
import { nodeArguments } from './processes.ts';

export type Protocol = 'grpc' | 'http/protobuf';

export interface ServerOptions {
  readonly dir: string;
  /** What it takes and what it forwards with. */
  readonly protocol: Protocol;
  readonly backendPort: number;
  /** Where the gateway archives to; nowhere unless given. */
  readonly archive?: ConfigInput['archive'];
  readonly segment?: ConfigInput['segment'];
}

export interface Server {
  readonly pid: number;
  /** Where to send to. */
  readonly endpoint: string;
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

async function start(
  name: string,
  dir: string,
  command: string,
  args: readonly string[],
  readyUrl: string,
  endpoint: string,
): Promise<Server> {
  const path = join(dir, `${name}.out`);
  const output = openSync(path, 'a');
  const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', output, output] });
  closeSync(output);
  running.add(child);
  await once(child, 'spawn');
  await until(`${name} ready`, 60_000, () => {
    if (child.exitCode !== null) throw new Error(readFileSync(path, 'utf8').slice(-4000));
    return isOk(readyUrl);
  });
  return {
    pid: child.pid!,
    endpoint,
    stop: async () => {
      const gone = once(child, 'exit');
      child.kill();
      await gone;
      running.delete(child);
    },
  };
}

export async function startGateway({
  dir,
  protocol,
  backendPort,
  archive = 'off',
  segment = {},
}: ServerOptions): Promise<Server> {
  const [port, admin] = (await freePorts(2)) as [number, number];
  const listener = { listen: `127.0.0.1:${port}` };
  const config = join(dir, 'sealspan.yaml');
  const settings = {
    dir: join(dir, 'log'),
    origin: 'bench/gateway',
    archive,
    segment,
    forwarding: 'direct',
    backend: { protocol, endpoint: `http://127.0.0.1:${backendPort}`, compression: 'none' },
    gateway: {
      grpc: protocol === 'grpc' ? listener : 'off',
      http: protocol === 'grpc' ? 'off' : listener,
      admin: { listen: `127.0.0.1:${admin}` },
    },
  };
  writeFileSync(config, stringify(settings));
  return start(
    'gateway',
    dir,
    process.execPath,
    [...nodeArguments(compiled('exporter/cli/main.ts')), 'gateway', '--config', config],
    `http://127.0.0.1:${admin}/readyz`,
    `http://127.0.0.1:${port}`,
  );
}

/** Why there can be no Collector here; undefined where there can. */
export function collectorMissing(): string | undefined {
  return goVersion() === undefined ? 'no Go to build the Collector with' : undefined;
}

/** Received is what its queue has on the disk, fsynced, and it forwards from there, as `otel-collector-config.yaml` has it. */
export async function startCollector({
  dir,
  protocol,
  backendPort,
}: ServerOptions): Promise<Server> {
  const [port, health] = (await freePorts(2)) as [number, number];
  const exporter = protocol === 'grpc' ? 'otlp_grpc' : 'otlp_http';
  const receiver = { endpoint: `127.0.0.1:${port}` };
  const config = join(dir, 'collector.yaml');
  const settings = {
    extensions: {
      health_check: { endpoint: `127.0.0.1:${health}` },
      'file_storage/queue': {
        directory: join(dir, 'queue'),
        create_directory: true,
        fsync: true,
      },
    },
    receivers: {
      otlp: {
        protocols:
          protocol === 'grpc'
            ? { grpc: { ...receiver, max_recv_msg_size_mib: 64 } }
            : { http: receiver },
      },
    },
    exporters: {
      [exporter]: {
        endpoint: `${protocol === 'grpc' ? '' : 'http://'}127.0.0.1:${backendPort}`,
        compression: 'none',
        tls: { insecure: true },
        retry_on_failure: { enabled: true, max_elapsed_time: 0 },
        sending_queue: {
          storage: 'file_storage/queue',
          queue_size: 100_000,
          block_on_overflow: true,
        },
      },
    },
    service: {
      extensions: ['health_check', 'file_storage/queue'],
      pipelines: { traces: { receivers: ['otlp'], exporters: [exporter] } },
      telemetry: { logs: { level: 'warn' }, metrics: { level: 'none' } },
    },
  };
  writeFileSync(config, stringify(settings));
  return start(
    'collector',
    dir,
    collectorBinary(),
    ['--config', config],
    `http://127.0.0.1:${health}`,
    `http://127.0.0.1:${port}`,
  );
}
