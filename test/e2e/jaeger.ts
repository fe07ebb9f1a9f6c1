// SPDX-License-Identifier: Apache-2.0
/** Jaeger as the backend of a test, and the questions that a test asks it over the API that its own pages use. */
import { join } from 'node:path';
import { freePorts, type Service, service } from './services.ts';
import { jaegerBinary } from './tools.ts';

export interface JaegerSpan {
  readonly spanID: string;
  readonly operationName: string;
  readonly tags: Readonly<Record<string, unknown>>;
}

export interface JaegerTrace {
  readonly traceID: string;
  readonly spans: readonly JaegerSpan[];
}

export interface Jaeger extends Service {
  /** `host:port` of its OTLP/gRPC. */
  readonly endpoint: string;
  /** Its HTTP query API. */
  readonly queryUrl: string;
  /** All traces with a span of the service, and with these tags if any are given. */
  tracesOf(serviceName: string, tags?: Readonly<Record<string, string>>): Promise<JaegerTrace[]>;
  /** The spans of one trace; none where it has no such trace. */
  spansOf(traceId: string): Promise<readonly JaegerSpan[]>;
}

interface Answer {
  readonly data?: readonly {
    readonly traceID: string;
    readonly spans: readonly {
      readonly spanID: string;
      readonly operationName: string;
      readonly tags: readonly { readonly key: string; readonly value: unknown }[];
    }[];
  }[];
}

const LIMIT = 50_000;

/** A Jaeger that is not started yet. */
export async function jaeger(dir: string): Promise<Jaeger> {
  const [otlp, query, queryGrpc, health] = await freePorts(4);
  const started = service({
    name: 'jaeger',
    dir,
    command: jaegerBinary(),
    args: ['--config', join(import.meta.dirname, 'jaeger/jaeger.yaml')],
    env: {
      OTLP_PORT: String(otlp),
      QUERY_PORT: String(query),
      QUERY_GRPC_PORT: String(queryGrpc),
      HEALTH_PORT: String(health),
    },
    readyUrl: `http://127.0.0.1:${health}/status`,
  });
  const ask = async (path: string): Promise<JaegerTrace[]> => {
    const response = await fetch(`http://127.0.0.1:${query}/api/${path}`);
    if (response.status === 404) return [];
    if (response.status !== 200) throw new Error(`Jaeger: ${response.status} for ${path}`);
    const { data } = (await response.json()) as Answer;
    return (data ?? []).map(({ traceID, spans }) => ({
      traceID,
      spans: spans.map(({ spanID, operationName, tags }) => ({
        spanID,
        operationName,
        tags: Object.fromEntries(tags.map(({ key, value }) => [key, value])),
      })),
    }));
  };
  return {
    ...started,
    endpoint: `127.0.0.1:${otlp}`,
    queryUrl: `http://127.0.0.1:${query}`,
    tracesOf: (serviceName, tags = {}) => {
      const now = Date.now() * 1000;
      const hour = 3600 * 1e6;
      const question = new URLSearchParams({
        service: serviceName,
        limit: String(LIMIT),
        start: String(now - hour),
        end: String(now + hour),
        tags: JSON.stringify(tags),
      });
      return ask(`traces?${question}`);
    },
    spansOf: async (traceId) => (await ask(`traces/${traceId}`))[0]?.spans ?? [],
  };
}
