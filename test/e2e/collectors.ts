// SPDX-License-Identifier: Apache-2.0
/** A Collector as a process of its own, with the shipped configuration or another. */
import { join } from 'node:path';
import { freePorts, type Service, service } from './services.ts';
import { collectorBinary } from './tools.ts';

/** The configuration that is shipped. */
export const CONFIG: string = join(import.meta.dirname, '../../otel-collector-config.yaml');

export interface Collector extends Service {
  /** Where clients send to by gRPC, and by HTTP. */
  readonly endpoint: string;
  readonly httpEndpoint: string;
}

/** A Collector that is not started yet. */
export async function collector(
  dir: string,
  audit: string,
  backend: string,
  percentage = 10,
  config: string = CONFIG,
): Promise<Collector> {
  const [grpc, http, health, metrics] = await freePorts(4);
  const started = service({
    name: 'collector',
    dir,
    command: collectorBinary(),
    args: ['--config', config],
    env: {
      AUDIT_ENDPOINT: audit,
      AUDIT_QUEUE_DIR: join(dir, 'queue'),
      BACKEND_ENDPOINT: backend,
      BACKEND_SAMPLING_PERCENTAGE: String(percentage),
      HEALTH_LISTEN: `127.0.0.1:${health}`,
      METRICS_PORT: String(metrics),
      OTLP_GRPC_LISTEN: `127.0.0.1:${grpc}`,
      OTLP_HTTP_LISTEN: `127.0.0.1:${http}`,
    },
    readyUrl: `http://127.0.0.1:${health}/`,
  });
  return {
    ...started,
    endpoint: `http://127.0.0.1:${grpc}`,
    httpEndpoint: `http://127.0.0.1:${http}`,
  };
}
