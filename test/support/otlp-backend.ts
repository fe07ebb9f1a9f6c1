// SPDX-License-Identifier: Apache-2.0
/**
 * A small real OTLP receiver on 127.0.0.1: gRPC by grpc-js, HTTP by node:http, both keeping the exact bytes they got,
 * both answering what a test scripts. Messages are read and written by protobufjs, so nothing of ours judges itself.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import * as http from 'node:http';
import * as https from 'node:https';
import { type AddressInfo, isIP } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { Metadata, Server, ServerCredentials } from '@grpc/grpc-js';
import protobuf from 'protobufjs';

export type Kind = 'traces' | 'logs';

/** One request as it arrived, inflated. */
export interface ReceivedRequest {
  readonly transport: 'grpc' | 'http';
  readonly kind: Kind;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Buffer;
}

/** What to answer. `hang` never answers; `reset` cuts the connection (HTTP only). */
export type Answer =
  | 'ok'
  | 'hang'
  | 'reset'
  | { readonly partial: { readonly rejected: number; readonly message: string } }
  | { readonly grpc: number; readonly message?: string; readonly retryAfterMs?: number }
  | {
      readonly http: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: Uint8Array | string;
    };

export interface OtlpBackend {
  readonly grpcPort: number;
  readonly httpPort: number;
  /** Base endpoints, `http(s)://127.0.0.1:<port>`. */
  readonly grpcEndpoint: string;
  readonly httpEndpoint: string;
  /** All requests so far, in order of arrival, refused ones included. */
  readonly requests: readonly ReceivedRequest[];
  /** Those that were answered with `ok` or in part. */
  readonly accepted: readonly ReceivedRequest[];
  /** Spans of the accepted requests, in order, decoded. */
  spans(): DecodedSpan[];
  /** Decides on each request; replace it at any time. `index` counts all requests from 0. */
  answer: (request: ReceivedRequest, index: number) => Answer;
  /** Resolves once `condition` holds; it is asked after each answer. */
  until(condition: (backend: OtlpBackend) => boolean): Promise<void>;
  close(): Promise<void>;
}

export interface BackendOptions {
  readonly grpcPort?: number;
  readonly httpPort?: number;
  /** PEM; with `clientCa` only clients with a certificate of it are let in. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
  readonly answer?: OtlpBackend['answer'];
}

export interface DecodedSpan {
  readonly name: string;
  readonly spanId: string;
  readonly traceId: string;
  /** String attributes of the span. */
  readonly attributes: Readonly<Record<string, string>>;
}

// Field numbers of opentelemetry-proto v1.11.0 and google/rpc/{status,error_details}.proto.
const ROOT = protobuf.parse(`
  syntax = "proto3";
  message AnyValue {
    oneof value {
      string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4;
      ArrayValue array_value = 5; KeyValueList kvlist_value = 6; bytes bytes_value = 7;
    }
  }
  message ArrayValue { repeated AnyValue values = 1; }
  message KeyValueList { repeated KeyValue values = 1; }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message EntityRef { string schema_url = 1; string type = 2; repeated string id_keys = 3; repeated string description_keys = 4; }
  message Resource { repeated KeyValue attributes = 1; uint32 dropped_attributes_count = 2; repeated EntityRef entity_refs = 3; }
  message Scope { string name = 1; string version = 2; repeated KeyValue attributes = 3; uint32 dropped_attributes_count = 4; }
  message Event { fixed64 time_unix_nano = 1; string name = 2; repeated KeyValue attributes = 3; uint32 dropped_attributes_count = 4; }
  message Link { bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; repeated KeyValue attributes = 4; uint32 dropped_attributes_count = 5; fixed32 flags = 6; }
  message Status { string message = 2; int32 code = 3; }
  message Span {
    bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5;
    int32 kind = 6; fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8;
    repeated KeyValue attributes = 9; uint32 dropped_attributes_count = 10;
    repeated Event events = 11; uint32 dropped_events_count = 12;
    repeated Link links = 13; uint32 dropped_links_count = 14; Status status = 15; fixed32 flags = 16;
  }
  message LogRecord {
    fixed64 time_unix_nano = 1; int32 severity_number = 2; string severity_text = 3; AnyValue body = 5;
    repeated KeyValue attributes = 6; uint32 dropped_attributes_count = 7; fixed32 flags = 8;
    bytes trace_id = 9; bytes span_id = 10; fixed64 observed_time_unix_nano = 11; string event_name = 12;
  }
  message ScopeSpans { Scope scope = 1; repeated Span spans = 2; string schema_url = 3; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; string schema_url = 3; }
  message TracesData { repeated ResourceSpans resource_spans = 1; }
  message ScopeLogs { Scope scope = 1; repeated LogRecord log_records = 2; string schema_url = 3; }
  message ResourceLogs { Resource resource = 1; repeated ScopeLogs scope_logs = 2; string schema_url = 3; }
  message LogsData { repeated ResourceLogs resource_logs = 1; }
  message PartialSuccess { int64 rejected = 1; string error_message = 2; }
  message ExportResponse { PartialSuccess partial_success = 1; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }
  message Any { string type_url = 1; bytes value = 2; }
  message RpcStatus { int32 code = 1; string message = 2; repeated Any details = 3; }
`).root;

/** A message type of OTLP (`TracesData`, `LogsData`) or of an answer (`ExportResponse`, `RpcStatus`). */
export function otlpType(name: string): protobuf.Type {
  return ROOT.lookupType(name);
}

/** Encodes plain objects as a message of `otlpType(name)`. */
export function encodeOtlp(name: string, message: Record<string, unknown>): Uint8Array {
  const type = otlpType(name);
  return type.encode(type.fromObject(message)).finish();
}

/** Decodes into a plain object: bytes as base64, 64-bit integers as text. */
export function decodeOtlp(name: string, bytes: Uint8Array): Record<string, unknown> {
  const type = otlpType(name);
  return type.toObject(type.decode(bytes), { bytes: String, longs: String });
}

/** A google.rpc.Status, with a RetryInfo where a delay is given. */
export function encodeRpcStatus(code: number, message: string, retryAfterMs?: number): Buffer {
  const details =
    retryAfterMs === undefined
      ? []
      : [
          {
            typeUrl: 'type.googleapis.com/google.rpc.RetryInfo',
            value: encodeOtlp('RetryInfo', {
              retryDelay: {
                seconds: Math.floor(retryAfterMs / 1000),
                nanos: (retryAfterMs % 1000) * 1e6,
              },
            }),
          },
        ];
  return Buffer.from(encodeOtlp('RpcStatus', { code, message, details }));
}

interface KeyValueJson {
  readonly key: string;
  readonly value?: { readonly stringValue?: string };
}
interface TracesJson {
  readonly resourceSpans?: readonly {
    readonly scopeSpans?: readonly {
      readonly spans?: readonly {
        readonly name?: string;
        readonly spanId?: string;
        readonly traceId?: string;
        readonly attributes?: readonly KeyValueJson[];
      }[];
    }[];
  }[];
}

/** Spans of one request. */
export function spansOf(bytes: Uint8Array): DecodedSpan[] {
  const request = decodeOtlp('TracesData', bytes) as TracesJson;
  const spans = (request.resourceSpans ?? []).flatMap((resource) =>
    (resource.scopeSpans ?? []).flatMap((scope) => scope.spans ?? []),
  );
  return spans.map((span) => ({
    name: span.name ?? '',
    spanId: Buffer.from(span.spanId ?? '', 'base64').toString('hex'),
    traceId: Buffer.from(span.traceId ?? '', 'base64').toString('hex'),
    attributes: Object.fromEntries(
      (span.attributes ?? []).map((attribute) => [
        attribute.key,
        attribute.value?.stringValue ?? '',
      ]),
    ),
  }));
}

/** Opens both receivers. */
export async function openOtlpBackend(options: BackendOptions = {}): Promise<OtlpBackend> {
  const requests: ReceivedRequest[] = [];
  const accepted: ReceivedRequest[] = [];
  const waiting = new Set<() => void>();

  const decide = (request: ReceivedRequest): Answer => {
    const index = requests.push(request) - 1;
    const answer = backend.answer(request, index);
    if (answer === 'ok' || (typeof answer === 'object' && 'partial' in answer))
      accepted.push(request);
    // After the answer is on its way, so that a waiting test does not close the receiver under it.
    setImmediate(() => {
      for (const check of [...waiting]) check();
    });
    return answer;
  };

  const grpcServer = new Server({ 'grpc.max_receive_message_length': 64 * 1024 * 1024 });
  const raw = (bytes: Buffer): Buffer => bytes;
  for (const [kind, path] of [
    ['traces', '/opentelemetry.proto.collector.trace.v1.TraceService/Export'],
    ['logs', '/opentelemetry.proto.collector.logs.v1.LogsService/Export'],
  ] as const) {
    grpcServer.addService(
      {
        Export: {
          path,
          requestStream: false,
          responseStream: false,
          requestSerialize: raw,
          requestDeserialize: raw,
          responseSerialize: raw,
          responseDeserialize: raw,
        },
      },
      {
        Export: (
          call: { readonly metadata: Metadata; readonly request: Buffer },
          callback: (error: object | null, value?: Buffer) => void,
        ) => {
          const headers = Object.fromEntries(
            Object.entries(call.metadata.getMap()).map(([name, value]) => [name, String(value)]),
          );
          const bytes = Buffer.from(call.request);
          const answer = decide({ transport: 'grpc', kind, path, headers, bytes });
          if (answer === 'hang') return;
          if (typeof answer === 'object' && 'grpc' in answer) {
            const metadata = new Metadata();
            if (answer.retryAfterMs !== undefined) {
              const details = encodeRpcStatus(answer.grpc, '', answer.retryAfterMs);
              metadata.set('grpc-status-details-bin', details);
            }
            callback({ code: answer.grpc, details: answer.message ?? '', metadata });
          } else callback(null, acceptance(answer));
        },
      },
    );
  }
  const { tls } = options;
  const grpcCredentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(
          tls.clientCa === undefined ? null : Buffer.from(tls.clientCa),
          [{ private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) }],
          tls.clientCa !== undefined,
        );
  const grpcPort = await new Promise<number>((resolve, reject) => {
    grpcServer.bindAsync(`127.0.0.1:${options.grpcPort ?? 0}`, grpcCredentials, (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });

  const onRequest: http.RequestListener = async (request, response) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const body = Buffer.concat(chunks);
    const answer = decide({
      transport: 'http',
      kind: request.url?.endsWith('/logs') ? 'logs' : 'traces',
      path: request.url ?? '',
      headers: Object.fromEntries(
        Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
      ),
      bytes: request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body,
    });
    if (answer === 'hang') return;
    if (answer === 'reset') {
      request.socket.destroy();
    } else if (typeof answer === 'object' && 'http' in answer) {
      response.writeHead(answer.http, answer.headers ?? {}).end(answer.body ?? '');
    } else {
      response.setHeader('content-type', 'application/x-protobuf').end(acceptance(answer));
    }
  };
  const httpServer =
    tls === undefined
      ? http.createServer(onRequest)
      : https.createServer(
          {
            cert: tls.cert,
            key: tls.key,
            ...(tls.clientCa === undefined
              ? {}
              : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true }),
          },
          onRequest,
        );
  httpServer.listen(options.httpPort ?? 0, '127.0.0.1');
  await once(httpServer, 'listening');
  const httpPort = (httpServer.address() as AddressInfo).port;

  const scheme = tls === undefined ? 'http' : 'https';
  const backend: OtlpBackend = {
    grpcPort,
    httpPort,
    grpcEndpoint: `${scheme}://127.0.0.1:${grpcPort}`,
    httpEndpoint: `${scheme}://127.0.0.1:${httpPort}`,
    requests,
    accepted,
    spans: () =>
      accepted
        .filter((request) => request.kind === 'traces')
        .flatMap((request) => spansOf(request.bytes)),
    answer: options.answer ?? (() => 'ok'),
    until: (condition) =>
      new Promise((resolve) => {
        const check = (): void => {
          if (!condition(backend)) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
    close: async () => {
      grpcServer.forceShutdown();
      httpServer.closeAllConnections();
      httpServer.close();
      await once(httpServer, 'close');
    },
  };
  return backend;
}

function acceptance(answer: Answer): Buffer {
  if (typeof answer !== 'object' || !('partial' in answer)) return Buffer.alloc(0);
  const { rejected, message } = answer.partial;
  return Buffer.from(
    encodeOtlp('ExportResponse', { partialSuccess: { rejected, errorMessage: message } }),
  );
}

/**
 * A self-signed certificate for `hosts` (names or IP addresses), valid for a day around now, made on the spot so that
 * no key is ever a fixture. Trust it by giving `cert` as CA.
 */
export function selfSignedCertificate(hosts: readonly string[]): {
  readonly cert: string;
  readonly key: string;
} {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ecdsaWithSha256 = der(0x30, [
    der(0x06, Buffer.from([0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])),
  ]);
  const commonName = [
    der(0x06, Buffer.from([0x55, 4, 3])),
    der(0x0c, Buffer.from('sealspan test')),
  ];
  const name = der(0x30, [der(0x31, [der(0x30, commonName)])]);
  const day = 24 * 3600_000;
  const time = (ms: number): Buffer =>
    der(0x17, Buffer.from(`${new Date(ms).toISOString().slice(2, 19).replace(/[-:T]/g, '')}Z`));
  const alternatives = hosts.map((host) =>
    isIP(host) === 4
      ? der(0x87, Buffer.from(host.split('.').map(Number)))
      : der(0x82, Buffer.from(host)),
  );
  const extension = (oid: readonly number[], value: Buffer): Buffer =>
    der(0x30, [der(0x06, Buffer.from(oid)), der(0x04, value)]);
  const body = der(0x30, [
    der(0xa0, [der(0x02, Buffer.from([2]))]),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ecdsaWithSha256,
    name,
    der(0x30, [time(Date.now() - day), time(Date.now() + day)]),
    name,
    publicKey.export({ format: 'der', type: 'spki' }),
    der(0xa3, [
      der(0x30, [
        extension([0x55, 0x1d, 19], der(0x30, [der(0x01, Buffer.from([0xff]))])),
        extension([0x55, 0x1d, 17], der(0x30, alternatives)),
      ]),
    ]),
  ]);
  const signature = sign('sha256', body, privateKey);
  const certificate = der(0x30, [
    body,
    ecdsaWithSha256,
    der(0x03, Buffer.concat([Buffer.from([0]), signature])),
  ]);
  const base64 = certificate.toString('base64').replace(/.{1,64}/g, '$&\n');
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${base64}-----END CERTIFICATE-----\n`,
    key: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  };
}

function der(tag: number, content: Buffer | readonly Buffer[]): Buffer {
  const value = Buffer.isBuffer(content) ? content : Buffer.concat([...content]);
  const length = value.length;
  const header =
    length < 128
      ? [tag, length]
      : length < 256
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), value]);
}
