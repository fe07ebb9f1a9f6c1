// SPDX-License-Identifier: Apache-2.0
/**
 * OTLP over gRPC: raw bytes in, one answer out, never UNKNOWN and never INTERNAL, which Collectors take as "throw it away".
 * grpc-js would buffer and inflate whole messages before anybody is asked, so its calls are watched from inside.
 */
import { constants, type Http2Session, type ServerHttp2Stream } from 'node:http2';
import {
  Metadata,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import type { GatewaySettings, ListenerSettings } from '../config/gateway-config.ts';
import { parseListen } from '../config/gateway-config.ts';
import type { OtlpKind } from '../otlp/otlp-config.ts';
import { CAME_TO_NOTHING, encodeStatus, grpcCodeOf, type Refused } from './gateway-answer.ts';
import { openHealth } from './gateway-health.ts';
import { type Answer, Arrival, type Intake } from './gateway-intake.ts';
import type { GatewayTls } from './gateway-tls.ts';

type PartialStatusObject = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

/** A listener that is open. */
export interface Listening {
  readonly port: number;
  /** Takes nothing new and waits for what is under way, at most so long. */
  drain(delayMs: number): Promise<void>;
}

export interface GrpcOptions {
  readonly listener: ListenerSettings;
  readonly settings: GatewaySettings;
  readonly tls: GatewayTls | undefined;
  readonly intake: Intake;
  readonly isReady: () => boolean;
}

const EXPORT_PATHS: ReadonlyMap<string, OtlpKind> = new Map([
  ['/opentelemetry.proto.collector.trace.v1.TraceService/Export', 'traces'],
  ['/opentelemetry.proto.collector.logs.v1.LogsService/Export', 'logs'],
]);
/** As health checks name them; the empty name is the server. */
const SERVICES: ReadonlySet<string> = new Set([
  '',
  ...[...EXPORT_PATHS.keys()].map((path) => path.split('/')[1]!),
]);
const HEALTH_PATH = '/grpc.health.v1.Health';
/** Export…ServiceResponse without partial success: all was taken. */
const ALL_TAKEN: Buffer = Buffer.alloc(0);

const CONCURRENT_STREAMS_MAX = 256;
const KEEPALIVE_DELAY_MS = 30_000;
const KEEPALIVE_ANSWER_DELAY_MS = 10_000;
/** How long a client may go on sending after its answer, before its stream is cut. */
const AFTER_ANSWER_DELAY_MS = 1000;

// grpc-js's own codes that are ever seen here.
const RESOURCE_EXHAUSTED = 8;
const TRANSLATED: ReadonlySet<number> = new Set([2, 12, 13]);
const UNIMPLEMENTED = 12;

/**
 * What a call of grpc-js 1.14 has inside and does not offer. Its version is pinned, and tests fail where this changes.
 * `stream`: bytes as they arrive, to be counted. `decompressMessage`: inflates without a bound over all calls.
 * `sendStatus`: grpc-js's own failures pass here, as codes that make a Collector throw data away.
 */
interface CallInside {
  readonly stream: ServerHttp2Stream;
  decompressMessage(framed: Buffer, encoding: string): Promise<Buffer>;
  sendStatus(status: PartialStatusObject): void;
}

function insideOf(call: unknown): CallInside {
  const inside = call as CallInside;
  if (
    typeof inside.stream?.on !== 'function' ||
    typeof inside.decompressMessage !== 'function' ||
    typeof inside.sendStatus !== 'function'
  ) {
    throw new TypeError('@grpc/grpc-js: a version whose calls can not be watched');
  }
  return inside;
}

interface Status {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

function statusOf(answer: Refused, retryDelayMs: number): Status {
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', encodeStatus(answer, retryDelayMs));
  return { code: grpcCodeOf(answer), details: answer.message, metadata };
}

/** One Export call, from its headers to its answer. */
class ExportCall {
  readonly #kind: OtlpKind;
  readonly #options: GrpcOptions;
  readonly #inside: CallInside;
  #arrival: Arrival | undefined;
  #encoding = 'identity';
  #timer: NodeJS.Timeout | undefined;
  #isAnswered = false;

  constructor(kind: OtlpKind, options: GrpcOptions, call: ServerInterceptingCallInterface) {
    this.#kind = kind;
    this.#options = options;
    const inside = insideOf(call);
    this.#inside = inside;
    const sendStatus = inside.sendStatus.bind(inside);
    inside.sendStatus = (status) => {
      let honest: PartialStatusObject;
      try {
        honest = this.#honest(status);
      } catch {
        honest = this.#statusOf(CAME_TO_NOTHING);
      }
      sendStatus(honest);
      this.#ended();
    };
    inside.decompressMessage = async (framed, encoding) => {
      this.#encoding = encoding;
      // Behind the flag and the length. Inflated later, within the budget.
      return framed.subarray(5);
    };
  }

  /** Decides by the headers; true where the body is to be read. */
  admit(authorization: string | undefined, certificate: Uint8Array | undefined): boolean {
    const { intake, listener, settings } = this.#options;
    const kind = listener.source ?? settings.source;
    const admitted = intake.admit(authorization, certificate, kind);
    if (!(admitted instanceof Arrival)) {
      this.#cut(admitted);
      return false;
    }
    const arrival = admitted;
    this.#arrival = arrival;
    const { stream } = this.#inside;
    stream.on('data', (data: Buffer) =>
      this.#guard(() => {
        if (!this.#isAnswered && !arrival.take(data.length)) this.#cut(intake.full());
      }),
    );
    const late = (): void => this.#guard(() => this.#cut(intake.slow()));
    this.#timer = setTimeout(late, settings.readDelayMsMax);
    stream.once('close', () => {
      clearTimeout(this.#timer);
      this.#guard(() => {
        if (!arrival.isHandedOver) arrival.release();
      });
    });
    return true;
  }

  /** Does the work of an event: a throw there would end the process. */
  #guard(work: () => void): void {
    try {
      work();
    } catch {
      this.#cut(CAME_TO_NOTHING);
    }
  }

  /** Takes the whole message; calls back exactly once. */
  async export(body: Buffer, callback: sendUnaryData<Buffer>): Promise<void> {
    clearTimeout(this.#timer);
    let answer: Answer = CAME_TO_NOTHING;
    try {
      if (this.#arrival !== undefined && !this.#isAnswered) {
        answer = await this.#options.intake.accept(this.#arrival, {
          kind: this.#kind,
          format: 'protobuf',
          body,
          encoding: this.#encoding,
        });
      }
    } catch {
      // Nothing of ours throws to here. If it does, nothing was taken.
    }
    this.#isAnswered = true;
    if (answer.status === 'sealed') callback(null, ALL_TAKEN);
    else callback(this.#statusOf(answer));
  }

  /** Answers before the message is whole, and stops the client that goes on sending. */
  #cut(answer: Answer): void {
    if (this.#isAnswered || answer.status === 'sealed') return;
    this.#isAnswered = true;
    this.#inside.sendStatus(this.#statusOf(answer));
  }

  /** Stops a client that goes on sending after its answer. */
  #ended(): void {
    clearTimeout(this.#timer);
    const { stream } = this.#inside;
    if (stream.readableEnded) return;
    setTimeout(() => {
      if (!stream.closed) stream.close(constants.NGHTTP2_NO_ERROR);
    }, AFTER_ANSWER_DELAY_MS).unref();
  }

  #statusOf(answer: Refused): Status {
    return statusOf(answer, this.#options.settings.retryDelayMs);
  }

  /** A status as it may leave: those that grpc-js makes itself, in codes that say whose fault it is. */
  #honest(status: PartialStatusObject): PartialStatusObject {
    const { intake } = this.#options;
    const sender = this.#arrival?.sender;
    if (status.code === RESOURCE_EXHAUSTED && !this.#isAnswered && sender !== undefined) {
      this.#isAnswered = true;
      return this.#statusOf(intake.tooLarge(sender) as Refused);
    }
    if (!TRANSLATED.has(status.code ?? -1)) return status;
    const { stream } = this.#inside;
    // Who gave up in the middle of a message sent none either, but has it still: nobody hears, and nothing is refused.
    const isGivenUp = stream.closed || stream.destroyed;
    if (status.code === UNIMPLEMENTED && !this.#isAnswered && !isGivenUp && sender !== undefined) {
      this.#isAnswered = true;
      const message = 'not exactly one message in the request';
      return this.#statusOf(
        intake.refuse(sender, 'malformed', 'grpc.message-count', message) as Refused,
      );
    }
    return this.#statusOf(CAME_TO_NOTHING);
  }
}

/** @throws Error where the address can not be bound */
export async function openGrpc(options: GrpcOptions): Promise<Listening> {
  const { listener, settings, tls, intake } = options;
  /** Calls by their headers, the one thing that interceptor and handler both see. */
  const calls = new WeakMap<Metadata, ExportCall>();
  const certificates = new WeakMap<Http2Session, Uint8Array>();

  const certificateOf = (call: ServerInterceptingCallInterface): Uint8Array | undefined => {
    if (tls?.files.ca === undefined) return undefined;
    const { session } = insideOf(call).stream;
    const known = session && certificates.get(session);
    if (known !== undefined) return known;
    const { sslPeerCertificate } = call.getAuthContext();
    if (sslPeerCertificate === undefined) return undefined;
    if (session !== undefined) certificates.set(session, sslPeerCertificate.raw);
    return sslPeerCertificate.raw;
  };

  const server = new Server({
    'grpc.max_receive_message_length': intake.messageByteLengthMax,
    'grpc.max_concurrent_streams': CONCURRENT_STREAMS_MAX,
    // Collectors stay on one connection for ever: without an age a new replica gets no load.
    'grpc.max_connection_age_ms': settings.connectionAgeMsMax,
    'grpc.max_connection_age_grace_ms': settings.readDelayMsMax + settings.sealDelayMsMax,
    'grpc.keepalive_time_ms': KEEPALIVE_DELAY_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_ANSWER_DELAY_MS,
    'grpc.enable_channelz': 0,
    interceptors: [
      (method, call) => {
        const kind = EXPORT_PATHS.get(method.path);
        if (kind === undefined) return new ServerInterceptingCall(call);
        return new ServerInterceptingCall(call, {
          start: (next) =>
            next({
              onReceiveMetadata: (metadata, nextMetadata) => {
                try {
                  const authorization = metadata.get('authorization')[0]?.toString();
                  const exported = new ExportCall(kind, options, call);
                  if (!exported.admit(authorization, certificateOf(call))) return;
                  calls.set(metadata, exported);
                  nextMetadata(metadata);
                } catch {
                  // A throw here would end the process.
                  call.sendStatus(statusOf(CAME_TO_NOTHING, settings.retryDelayMs));
                }
              },
            }),
        });
      },
    ],
  });

  for (const path of EXPORT_PATHS.keys()) {
    server.addService(
      { export: methodOf(path) },
      {
        export: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
          const exported = calls.get(call.metadata);
          if (exported !== undefined) void exported.export(call.request, callback);
          else callback(statusOf(CAME_TO_NOTHING, settings.retryDelayMs));
        },
      },
    );
  }
  const health = openHealth(SERVICES, options.isReady);
  server.addService(
    {
      check: methodOf(`${HEALTH_PATH}/Check`),
      watch: { ...methodOf(`${HEALTH_PATH}/Watch`), responseStream: true },
    },
    health.implementation,
  );

  const { host } = parseListen(listener.listen);
  const address = (port: number): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const port = await new Promise<number>((resolve, reject) => {
    const credentials =
      tls === undefined ? ServerCredentials.createInsecure() : new RenewedCredentials(tls);
    server.bindAsync(listener.listen, credentials, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(new Error(`gateway.grpc: ${listener.listen} can not be bound: ${error.message}`));
    });
  });

  return {
    port,
    drain: (delayMs) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => {
          server.forceShutdown();
          resolve();
        }, delayMs);
        // Streams of those who watch would hold the end up.
        health.close();
        server.drain(address(port), delayMs);
        server.tryShutdown(() => {
          clearTimeout(timer);
          resolve();
        });
      }),
  };
}

const same = (bytes: Buffer): Buffer => bytes;

/** A unary method whose messages are left as bytes. */
function methodOf(path: string) {
  return {
    path,
    requestStream: false as const,
    responseStream: false as const,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

/** Credentials that change while the server runs, which `createSsl` has none of. */
class RenewedCredentials extends ServerCredentials {
  constructor(tls: GatewayTls) {
    super({ requestCert: tls.files.ca !== undefined }, tls.files);
    tls.watch((files) => this.updateSecureContextOptions(files));
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}
