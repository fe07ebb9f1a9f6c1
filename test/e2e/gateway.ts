// SPDX-License-Identifier: Apache-2.0
/**
 * The gateway as a process of its own, started by its command from a file of settings, and what its log holds: read by
 * our verifier for the verdict, decoded by protobufjs for the spans.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { findLogs, verifyDirectory } from '../../exporter/cli/verify.ts';
import { decodeOtlp } from '../support/otlp-backend.ts';
import { freePorts, type Service, service } from './services.ts';

const MAIN = join(import.meta.dirname, '../../exporter/cli/main.ts');

export interface Verified {
  /** Exit status of the command. */
  readonly status: number | null;
  readonly verdict: string;
  readonly findings: readonly { readonly code: string; readonly message: string }[];
}

export interface Reconciled {
  readonly status: number | null;
  readonly sealed: number;
  readonly found: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly differences: Readonly<
    Record<string, readonly { readonly name: string; readonly trace: string }[]>
  >;
}

export interface Gateway extends Service {
  /** `host:port` of its OTLP/gRPC. */
  readonly endpoint: string;
  /** How often each span is sealed, by `<trace id> <span id>`. */
  sealed(): Promise<ReadonlyMap<string, number>>;
  /** Records of spans and of log records, in order. */
  records(): Promise<readonly SealedRecord[]>;
  /** Runs `sealspan verify`. */
  verify(): Verified;
  /** Runs `sealspan reconcile` with Jaeger's API. */
  reconcile(jaegerUrl: string): Reconciled;
  /** Runs `sealspan show`. */
  show(traceId: string): { readonly status: number | null; readonly spans: readonly unknown[] };
}

export interface GatewayOptions {
  /** `host:port` of a backend that what was sealed is forwarded to. */
  readonly backend?: string;
  /** Where the log is; below `dir` unless given. */
  readonly logDir?: string;
  readonly source?: 'direct' | 'collector';
  /** PEM files; `localhost` is then the name to reach it by, and only clients of `clientCa` get in. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa: string };
}

/** One record of spans or log records, as far as a test looks at it. */
export interface SealedRecord {
  readonly kind: 'traces' | 'logs';
  /** Source line: what it came through, and who sent it (base64, or undefined for nobody known). */
  readonly source: { readonly kind: string; readonly principal: string | undefined };
  /** Decoded, one span or log record each. */
  readonly entries: readonly Record<string, unknown>[];
}

interface TracesJson {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly {
      readonly spans: readonly { readonly traceId: string; readonly spanId: string }[];
    }[];
  }[];
}

/** A gateway that is not started yet. */
export async function gateway(dir: string, options: GatewayOptions = {}): Promise<Gateway> {
  const [grpc, admin] = await freePorts(2);
  const logDir = options.logDir ?? join(dir, 'log');
  const endpoint = `${options.tls === undefined ? '127.0.0.1' : 'localhost'}:${grpc}`;
  mkdirSync(dir, { recursive: true });
  const config = join(dir, 'sealspan.yaml');
  const forwarding =
    options.backend === undefined
      ? { forwarding: 'off' }
      : {
          forwarding: 'direct',
          backend: { protocol: 'grpc', endpoint: `http://${options.backend}` },
        };
  const settings = {
    dir: logDir,
    origin: 'sealspan/e2e',
    ...forwarding,
    gateway: {
      source: options.source ?? 'collector',
      filter: 'governed',
      grpc: { listen: endpoint },
      http: 'off',
      ...(options.tls === undefined ? {} : { tls: options.tls }),
      admin: { listen: `127.0.0.1:${admin}` },
    },
  };
  writeFileSync(config, stringify(settings));
  const started = service({
    name: 'gateway',
    dir,
    command: process.execPath,
    args: [MAIN, 'gateway', '--config', config],
    env: {},
    readyUrl: `http://127.0.0.1:${admin}/readyz`,
  });
  const ask = (...args: readonly string[]) => {
    const asked = spawnSync(process.execPath, [MAIN, ...args, logDir, '--json'], {
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    });
    if (asked.stdout === '') throw new Error(asked.stderr);
    return { ...JSON.parse(asked.stdout), status: asked.status };
  };
  const records = async (): Promise<SealedRecord[]> => {
    const found: SealedRecord[] = [];
    for (const log of findLogs(logDir)) {
      await verifyDirectory(log.dir, undefined, ({ header, entries }) => {
        const { kind, source } = header;
        if (kind === 'control') return;
        const type = kind === 'traces' ? 'TracesData' : 'LogsData';
        const { principal } = source;
        found.push({
          kind,
          source: {
            kind: source.kind,
            principal: principal && Buffer.from(principal).toString('base64'),
          },
          entries: entries.map((entry) => decodeOtlp(type, entry)),
        });
      });
    }
    return found;
  };
  return {
    ...started,
    endpoint,
    verify: () => ask('verify'),
    reconcile: (jaegerUrl) => ask('reconcile', '--jaeger', jaegerUrl),
    show: (traceId) => ask('show', '--trace', traceId),
    records,
    sealed: async () => {
      const counts = new Map<string, number>();
      for (const { kind, entries } of await records()) {
        if (kind !== 'traces') continue;
        for (const id of entries.flatMap(spanIds)) counts.set(id, (counts.get(id) ?? 0) + 1);
      }
      return counts;
    },
  };
}

function spanIds(entry: Record<string, unknown>): string[] {
  const { resourceSpans } = entry as unknown as TracesJson;
  const hex = (base64: string): string => Buffer.from(base64, 'base64').toString('hex');
  return resourceSpans
    .flatMap(({ scopeSpans }) => scopeSpans)
    .flatMap(({ spans }) => spans)
    .map(({ traceId, spanId }) => `${hex(traceId)} ${hex(spanId)}`);
}
