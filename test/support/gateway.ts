// SPDX-License-Identifier: Apache-2.0
/**
 * What tests of the gateway's two transports share: an intake whose sealer answers as a test says, and clients that can
 * send what no decent client would.
 */
import { once } from 'node:events';
import * as http2 from 'node:http2';
import type { RecordSource } from '../../exporter/log/header.ts';
import type { GatewayInput, GatewaySettings } from '../../exporter/node/config/gateway-config.ts';
import { gatewaySchema } from '../../exporter/node/config/gateway-config.ts';
import { createContentPolicy } from '../../exporter/node/gateway/content-policy.ts';
import { openClients } from '../../exporter/node/gateway/gateway-clients.ts';
import {
  Intake,
  type IntakeOptions,
  type Refusal,
} from '../../exporter/node/gateway/gateway-intake.ts';
import { openGatewayMetrics } from '../../exporter/node/gateway/gateway-metrics.ts';
import type { GatewayTls, ServerTlsFiles } from '../../exporter/node/gateway/gateway-tls.ts';
import { decodeOtlp, encodeOtlp } from './otlp-backend.ts';

export const TRACES_METHOD = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
export const LOGS_METHOD = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';

/** A request of one span for each name. */
export function tracesOf(...names: readonly string[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(
    encodeOtlp('TracesData', {
      resourceSpans: [{ scopeSpans: [{ spans: names.map((name) => ({ name })) }] }],
    }),
  );
}

export interface SealedRequest {
  readonly bytes: Uint8Array;
  readonly kind: string;
  readonly source: RecordSource;
}

export interface TestIntake {
  readonly settings: GatewaySettings;
  readonly intake: Intake;
  readonly sealed: SealedRequest[];
  readonly refusals: Refusal[];
}

/** TLS of files that never change. */
export function fixedTls(files: ServerTlsFiles): GatewayTls {
  return { files, watch: () => {}, reload: () => {}, close: () => {} };
}

/** An intake that "seals" into memory. */
export function openTestIntake(
  input: GatewayInput = {},
  overrides: Partial<IntakeOptions> = {},
  env: Readonly<Record<string, string>> = {},
): TestIntake {
  const settings = gatewaySchema.parse(input);
  const sealed: SealedRequest[] = [];
  const refusals: Refusal[] = [];
  const intake = new Intake({
    settings,
    clients: openClients(settings.clients, env, () => 0),
    policy: createContentPolicy({ content: 'keep', attributes: {} }, undefined),
    closedBecause: () => undefined,
    onRefusal: (refusal) => refusals.push(refusal),
    metrics: openGatewayMetrics(async () => ({
      inFlightByteLength: 0,
      isReady: true,
      sealing: undefined,
    })),
    seal: async (bytes, kind, source) => {
      sealed.push({ bytes, kind, source });
      return { status: 'sealed', origin: 'test', recordIndex: 0, firstEntry: 0 };
    },
    ...overrides,
  });
  return { settings, intake, sealed, refusals };
}

/** How a call ended: its gRPC code, and the delay in RetryInfo where there is one. */
export interface GrpcEnd {
  readonly code: number;
  readonly message: string;
  readonly retrySeconds: number | undefined;
}

/** Reads `grpc-status-details-bin`. */
export function retrySecondsOf(details: Uint8Array | undefined): number | undefined {
  if (details === undefined) return undefined;
  const status = decodeOtlp('RpcStatus', details) as { details?: { value: string }[] };
  const value = status.details?.[0]?.value;
  if (value === undefined) return undefined;
  const info = decodeOtlp('RetryInfo', Buffer.from(value, 'base64')) as {
    retryDelay?: { seconds?: string; nanos?: number };
  };
  return Number(info.retryDelay?.seconds ?? 0) + (info.retryDelay?.nanos ?? 0) / 1e9;
}

/** Messages as gRPC frames them. */
export function framed(
  message: Uint8Array,
  isCompressed = false,
  statedLength = message.length,
): Buffer {
  const head = Buffer.alloc(5);
  head[0] = isCompressed ? 1 : 0;
  head.writeUInt32BE(statedLength, 1);
  return Buffer.concat([head, message]);
}

/** One call with these very bytes; `isEnded` false leaves the client's side open. */
export async function rawGrpcCall(
  session: http2.ClientHttp2Session,
  bytes: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
  isEnded = true,
): Promise<GrpcEnd> {
  const stream = session.request({
    ':method': 'POST',
    ':path': TRACES_METHOD,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  let found: http2.IncomingHttpHeaders = {};
  stream.on('response', (response) => {
    if (response['grpc-status'] !== undefined) found = response;
  });
  stream.on('trailers', (trailers) => {
    found = trailers;
  });
  stream.on('error', () => {});
  stream.resume();
  if (isEnded) stream.end(bytes);
  else stream.write(bytes);
  await once(stream, 'close');
  const details = found['grpc-status-details-bin'];
  return {
    code: Number(found['grpc-status'] ?? -1),
    message: decodeURI(String(found['grpc-message'] ?? '')),
    retrySeconds: retrySecondsOf(
      details === undefined ? undefined : Buffer.from(String(details), 'base64'),
    ),
  };
}

export async function openSession(port: number): Promise<http2.ClientHttp2Session> {
  const session = http2.connect(`http://127.0.0.1:${port}`, { maxSessionMemory: 1000 });
  session.on('error', () => {});
  await once(session, 'connect');
  return session;
}
