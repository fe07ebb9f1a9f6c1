// SPDX-License-Identifier: Apache-2.0
/**
 * Reads the spans that a backend has: Jaeger and Tempo by their query APIs, or a file of OTLP-JSON lines as the
 * Collector's file exporter writes it. Only reads; what a backend no longer keeps, it can not tell from what it never got.
 */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { isGoverned } from '../../semconv/index.ts';

export interface BackendSpan {
  /** 32 and 16 hexadecimal digits. */
  readonly traceId: string;
  readonly spanId: string;
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly isGoverned: boolean;
  /** What a copy that sealspan forwarded says of its original: its leaf hash, base64. */
  readonly leaf: string | undefined;
}

export interface BackendReader {
  /** Kind and place, for people. */
  readonly name: string;
  /** All spans of a stretch of time, some of them perhaps twice, and perhaps others of the same traces. */
  list(fromMs: number, toMs: number): AsyncIterable<readonly BackendSpan[]>;
  /** The spans of one trace; undefined for a reader whose list is all there is. */
  readonly trace: ((traceId: string) => Promise<readonly BackendSpan[]>) | undefined;
}

/** The backend did not answer, or not as its API says. */
export class BackendError extends Error {
  override readonly name = 'BackendError';
}

const ANSWER_DELAY_MS = 30_000;
const ANSWER_BYTE_LENGTH_MAX = 256 * 1024 * 1024;
const LIMIT = 1500;
const LEAF_KEY = 'aigov.audit.leaf';

/** @param isTrace whether the answer may be that there is no such thing */
async function ask(url: URL, isTrace = false): Promise<unknown> {
  let text: string;
  try {
    const response = await fetch(url, {
      headers: { accept: 'application/json' },
      signal: AbortSignal.timeout(ANSWER_DELAY_MS),
    });
    if (isTrace && response.status === 404) return undefined;
    if (!response.ok) throw new Error(`status ${response.status}`);
    const chunks: Uint8Array[] = [];
    let byteLength = 0;
    for await (const chunk of response.body ?? []) {
      byteLength += chunk.length;
      if (byteLength > ANSWER_BYTE_LENGTH_MAX) throw new Error('an answer that is too long');
      chunks.push(chunk);
    }
    text = Buffer.concat(chunks).toString('utf8');
    return JSON.parse(text) as unknown;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BackendError(`${url.origin}${url.pathname}: ${why}`);
  }
}

/** Below what people give, which may have a path of its own. */
function at(base: URL, path: string, query: Readonly<Record<string, string>> = {}): URL {
  const url = new URL(`${base.href.replace(/\/+$/, '')}/${path}`);
  for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
  return url;
}

const records = (value: unknown): readonly Record<string, unknown>[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'object' && item !== null) : [];
const field = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/**
 * Asks for a stretch of time, and for both halves of it where as many came as were asked for: there may be more.
 * @param search gives what it found, and how many traces that were
 */
async function* halving<Found>(
  fromMs: number,
  toMs: number,
  stepMs: number,
  search: (
    fromMs: number,
    toMs: number,
  ) => Promise<{ readonly found: Found; readonly traceCount: number }>,
): AsyncGenerator<Found> {
  const { found, traceCount } = await search(fromMs, toMs);
  yield found;
  if (traceCount < LIMIT || toMs - fromMs <= stepMs) return;
  const middle = Math.floor((fromMs + toMs) / 2);
  yield* halving(fromMs, middle, stepMs, search);
  yield* halving(middle, toMs, stepMs, search);
}

/** @param base of Jaeger's HTTP query API, such as `http://localhost:16686` */
export function jaegerReader(base: URL): BackendReader {
  const spansIn = (answer: unknown): { spans: BackendSpan[]; traceCount: number } => {
    const traces = records(field(answer, 'data'));
    const spans = traces.flatMap((trace) => {
      const traceId = text(trace.traceID).padStart(32, '0');
      return records(trace.spans).map((span) => jaegerSpan(traceId, span));
    });
    return { spans, traceCount: traces.length };
  };
  return {
    name: `jaeger ${base.href}`,
    async *list(fromMs, toMs) {
      const services = field(await ask(at(base, 'api/services')), 'data');
      for (const service of Array.isArray(services) ? services : []) {
        yield* halving(fromMs, toMs, 1, async (start, end) => {
          const query = {
            service: text(service),
            start: String(Math.floor(start) * 1000),
            end: String(Math.ceil(end) * 1000),
            limit: String(LIMIT),
          };
          const { spans, traceCount } = spansIn(await ask(at(base, 'api/traces', query)));
          return { found: spans, traceCount };
        });
      }
    },
    trace: async (traceId) => spansIn(await ask(at(base, `api/traces/${traceId}`), true)).spans,
  };
}

function jaegerSpan(traceId: string, span: Record<string, unknown>): BackendSpan {
  const attributes = Object.fromEntries(
    records(span.tags).map(({ key, value }) => [text(key), value]),
  );
  const startMs = Number(span.startTime) / 1000;
  const scopeName = text(attributes['otel.scope.name'] ?? attributes['otel.library.name']);
  return {
    traceId,
    spanId: text(span.spanID).padStart(16, '0'),
    name: text(span.operationName),
    startMs,
    endMs: startMs + Number(span.duration) / 1000,
    isGoverned: isGoverned({ scopeName, attributes }),
    leaf: text(attributes[LEAF_KEY]) || undefined,
  };
}

/** @param base of Tempo's HTTP API, such as `http://localhost:3200` */
export function tempoReader(base: URL): BackendReader {
  const trace = async (traceId: string): Promise<readonly BackendSpan[]> =>
    otlpSpans(await ask(at(base, `api/traces/${traceId}`), true));
  return {
    name: `tempo ${base.href}`,
    async *list(fromMs, toMs) {
      const seen = new Set<string>();
      const windows = halving(fromMs, toMs, 1000, async (start, end) => {
        const query = {
          q: '{}',
          start: String(Math.floor(start / 1000)),
          end: String(Math.ceil(end / 1000) + 1),
          limit: String(LIMIT),
        };
        const found = records(field(await ask(at(base, 'api/search', query)), 'traces'));
        return { found, traceCount: found.length };
      });
      for await (const found of windows) {
        for (const { traceID } of found) {
          const traceId = text(traceID).padStart(32, '0');
          if (seen.has(traceId)) continue;
          seen.add(traceId);
          yield await trace(traceId);
        }
      }
    },
    trace,
  };
}

/** @param path of a file with one `TracesData` in OTLP-JSON on each line */
export function fileReader(path: string): BackendReader {
  return {
    name: `file ${path}`,
    async *list() {
      let number = 0;
      try {
        const lines = createInterface({ input: createReadStream(path), crlfDelay: Infinity });
        for await (const line of lines) {
          number++;
          if (line.trim() !== '') yield otlpSpans(JSON.parse(line));
        }
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        throw new BackendError(`${path}${number > 0 ? `:${number}` : ''}: ${why}`);
      }
    },
    trace: undefined,
  };
}

/** Spans of a `TracesData` in JSON, as the specification has it or as Tempo does. */
export function otlpSpans(data: unknown): BackendSpan[] {
  // Tempo's first API calls them batches; its second puts a trace around them.
  const trace = field(data, 'trace') ?? data;
  const containers = records(field(trace, 'resourceSpans') ?? field(trace, 'batches'));
  return containers.flatMap((container) =>
    records(container.scopeSpans ?? container.instrumentationLibrarySpans).flatMap((scopeSpans) => {
      const scopeName = text(field(scopeSpans.scope ?? scopeSpans.instrumentationLibrary, 'name'));
      return records(scopeSpans.spans).map((span) => otlpSpan(scopeName, span));
    }),
  );
}

function otlpSpan(scopeName: string, span: Record<string, unknown>): BackendSpan {
  const attributes = Object.fromEntries(
    records(span.attributes).map(({ key, value }) => [text(key), field(value, 'stringValue')]),
  );
  return {
    traceId: idOf(text(span.traceId), 16),
    spanId: idOf(text(span.spanId), 8),
    name: text(span.name),
    startMs: Number(BigInt(text(span.startTimeUnixNano) || '0') / 1000n) / 1000,
    endMs: Number(BigInt(text(span.endTimeUnixNano) || '0') / 1000n) / 1000,
    isGoverned: isGoverned({ scopeName, attributes }),
    leaf: text(attributes[LEAF_KEY]) || undefined,
  };
}

/** OTLP-JSON has ids in hex; plain protobuf JSON, as Tempo answers with, in base64. */
function idOf(id: string, byteLength: number): string {
  if (/^[0-9a-f]+$/i.test(id) && id.length <= 2 * byteLength) {
    return id.toLowerCase().padStart(2 * byteLength, '0');
  }
  return Buffer.from(id, 'base64')
    .toString('hex')
    .padStart(2 * byteLength, '0');
}
