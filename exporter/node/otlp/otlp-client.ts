// SPDX-License-Identifier: Apache-2.0
/**
 * Sends OTLP requests, bytes as they are, over gRPC or HTTP, and tells what became of each; `send` never throws.
 * Does not retry, queue or order anything: that is the forwarder's, which has the durable log behind it.
 */
import * as http from 'node:http';
import * as https from 'node:https';
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { causeOf } from '../system/cause.ts';
import { judgeAccepted, judgeGrpcError, judgeHttpAnswer, type SendOutcome } from './otlp-answer.ts';
import {
  checkSettings,
  checkUrl,
  isLoopback,
  type OtlpClientConfig,
  type OtlpKind,
  readTlsFiles,
  type Settings,
} from './otlp-config.ts';

/** An open connection to one OTLP receiver. */
export interface OtlpClient {
  /** What to call the receiver in a report: scheme, host and port, no credentials. */
  readonly name: string;
  /**
   * Sends one request: TracesData or LogsData, which have the bytes of their Export…ServiceRequest.
   * Never rejects. A `signal` that fires gives up on it: `retryable`, as nobody knows whether it arrived.
   */
  send(request: Uint8Array, kind: OtlpKind, signal?: AbortSignal): Promise<SendOutcome>;
  /** Frees the sockets; requests under way end as `retryable`. */
  close(): void;
}

/** An answer is a count and a sentence; whoever sends more is no OTLP receiver, and must not fill our memory. */
const ANSWER_BYTE_LENGTH_MAX = 4 * 1024 * 1024;
const USER_AGENT = 'OTel-OTLP-Exporter-sealspan';
const COMPRESSION_GZIP = 2;

const GRPC_METHODS: Readonly<Record<OtlpKind, string>> = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
};
const gzipAsync = promisify(gzip);

/**
 * Opens a client. Nothing is connected before the first request.
 * @throws TypeError or RangeError that names the setting and the fix; header values are never in it
 */
export function openOtlpClient(config: OtlpClientConfig): OtlpClient {
  const settings = checkSettings(config);
  switch (config.protocol) {
    case 'grpc':
      return openGrpc(config.endpoint, settings);
    case 'http/protobuf':
      return openHttp(config.endpoint, settings);
    default:
      throw new TypeError(
        `protocol: ${JSON.stringify(config.protocol)} is not spoken here; use 'grpc' or 'http/protobuf'`,
      );
  }
}

function openGrpc(endpoint: OtlpClientConfig['endpoint'], settings: Settings): OtlpClient {
  if (typeof endpoint !== 'string') {
    throw new TypeError('endpoint: gRPC has one endpoint for all signals; give a string');
  }
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(endpoint);
  // OTLP exporter specification: the scheme decides, and `insecure` only where there is none.
  const scheme = settings.tls.insecure === true ? 'http' : 'https';
  const url = checkUrl(hasScheme ? endpoint : `${scheme}://${endpoint}`, settings.tls);
  if (url.pathname !== '/' || url.search !== '') {
    throw new TypeError(
      `endpoint: gRPC can not use the path ${JSON.stringify(url.pathname)}; leave it out, or use protocol 'http/protobuf'`,
    );
  }
  const isTls = url.protocol === 'https:';
  const files = isTls ? readTlsFiles(settings.tls) : {};
  const port = url.port === '' ? (isTls ? 443 : 80) : Number(url.port);
  // grpc-js names the host to TLS even where it is an IP address, which Node refuses to (RFC 6066 section 3). So TLS gets
  // a name that is nobody's, and the certificate is held against the address itself.
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  const address = isIP(hostname) === 0 ? undefined : hostname;
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(settings.headers)) metadata.set(name, value);
  const client = new Client(
    `dns:${url.hostname}:${port}`,
    isTls
      ? credentials.createSsl(
          files.ca ?? null,
          files.key ?? null,
          files.cert ?? null,
          address === undefined
            ? {}
            : {
                checkServerIdentity: (_, certificate) => checkServerIdentity(address, certificate),
              },
        )
      : credentials.createInsecure(),
    {
      'grpc.primary_user_agent': USER_AGENT,
      'grpc.max_receive_message_length': ANSWER_BYTE_LENGTH_MAX,
      'grpc.default_compression_algorithm': settings.compression === 'gzip' ? COMPRESSION_GZIP : 0,
      // Retries and their pace are the forwarder's; the channel's own would hide outages from its status.
      'grpc.enable_retries': 0,
      'grpc.initial_reconnect_backoff_ms': 200,
      'grpc.max_reconnect_backoff_ms': 5000,
      'grpc.use_local_subchannel_pool': 1,
      ...(isTls && address !== undefined ? { 'grpc.ssl_target_name_override': 'ip.invalid' } : {}),
      // A proxy set for the world outside can not reach this machine's loopback.
      ...(isLoopback(url.hostname) ? { 'grpc.enable_http_proxy': 0 } : {}),
    },
  );
  return {
    name: `grpc ${url.protocol}//${url.hostname}:${port}`,
    close: () => client.close(),
    send: (request, kind, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve(ABORTED);
        try {
          const call = client.makeUnaryRequest(
            GRPC_METHODS[kind],
            (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
            (bytes: Buffer) => bytes,
            request,
            metadata,
            { deadline: Date.now() + settings.timeoutMs },
            (error, answer) => {
              signal?.removeEventListener('abort', cancel);
              if (signal?.aborted) return resolve(ABORTED);
              if (error === null) return resolve(judgeAccepted(answer ?? new Uint8Array(0)));
              const details = error.metadata?.get('grpc-status-details-bin')[0];
              const bytes = typeof details === 'string' ? undefined : details;
              resolve(judgeGrpcError(error.code, error.details, bytes));
            },
          );
          const cancel = (): void => call.cancel();
          signal?.addEventListener('abort', cancel, { once: true });
        } catch (error) {
          // grpc-js throws where the channel was closed meanwhile.
          resolve({ status: 'retryable', cause: causeOf(error) });
        }
      }),
  };
}

function openHttp(endpoint: OtlpClientConfig['endpoint'], settings: Settings): OtlpClient {
  const urls: Partial<Record<OtlpKind, URL>> = {};
  for (const kind of ['traces', 'logs'] as const) {
    const complete = typeof endpoint === 'string' ? endpoint : endpoint[kind];
    if (complete === undefined) continue;
    const url = checkUrl(complete, settings.tls);
    if (typeof endpoint === 'string') {
      url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/${kind}`;
    }
    urls[kind] = url;
  }
  const url = urls.traces ?? urls.logs;
  if (url === undefined) throw new TypeError('endpoint: no URL is given for any signal');
  const isTls = urls.traces?.protocol === 'https:' || urls.logs?.protocol === 'https:';
  const agents = {
    'http:': new http.Agent({ keepAlive: true }),
    'https:': new https.Agent({ keepAlive: true, ...(isTls ? readTlsFiles(settings.tls) : {}) }),
  };
  let isClosed = false;
  return {
    name: `http ${url.origin}`,
    close: () => {
      isClosed = true;
      for (const agent of Object.values(agents)) agent.destroy();
    },
    send: async (request, kind, signal) => {
      // A destroyed agent would open sockets again.
      if (isClosed) return { status: 'retryable', cause: 'the client is closed' };
      const target = urls[kind];
      if (target === undefined) {
        const cause = `no endpoint is configured for ${kind}`;
        return { status: 'refused', cause, suspect: 'request' };
      }
      try {
        const body = settings.compression === 'gzip' ? await gzipAsync(request) : request;
        return await post(target, body, settings, agents, signal);
      } catch (error) {
        return { status: 'retryable', cause: causeOf(error) };
      }
    },
  };
}

const ABORTED: SendOutcome = { status: 'retryable', cause: 'given up on by the sender' };

function post(
  url: URL,
  body: Uint8Array,
  settings: Settings,
  agents: { readonly 'http:': http.Agent; readonly 'https:': https.Agent },
  signal: AbortSignal | undefined,
): Promise<SendOutcome> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve(ABORTED);
    const isTls = url.protocol === 'https:';
    const request = (isTls ? https : http).request(url, {
      method: 'POST',
      agent: isTls ? agents['https:'] : agents['http:'],
      headers: {
        'user-agent': USER_AGENT,
        ...settings.headers,
        'content-type': 'application/x-protobuf',
        'content-length': body.length,
        ...(settings.compression === 'gzip' ? { 'content-encoding': 'gzip' } : {}),
      },
    });
    const finish = (outcome: SendOutcome): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      resolve(outcome);
    };
    const giveUp = (outcome: SendOutcome): void => {
      finish(outcome);
      request.destroy();
    };
    const abort = (): void => giveUp(ABORTED);
    // One clock over connecting, sending and the whole answer: a receiver that drips bytes must not hold the line.
    const timer = setTimeout(
      () => giveUp({ status: 'retryable', cause: `no answer within ${settings.timeoutMs} ms` }),
      settings.timeoutMs,
    );
    signal?.addEventListener('abort', abort, { once: true });

    request.on('error', (error) => finish({ status: 'retryable', cause: causeOf(error) }));
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let byteLength = 0;
      const judge = (isWhole: boolean): void =>
        finish(
          judgeHttpAnswer(
            {
              code: response.statusCode ?? 0,
              contentType: response.headers['content-type']?.toLowerCase() ?? '',
              retryAfter: response.headers['retry-after'],
              body: Buffer.concat(chunks),
              isWhole,
            },
            Date.now(),
          ),
        );
      response.on('data', (chunk: Buffer) => {
        byteLength += chunk.length;
        if (byteLength <= ANSWER_BYTE_LENGTH_MAX) chunks.push(chunk);
        else {
          judge(false);
          request.destroy();
        }
      });
      response.on('end', () => {
        // Answered before all was sent. Once this resolves the caller may write over `body`, of which the rest must not
        // go out changed: a yes waits for it, after a no nobody wants it.
        const isAccepted = (response.statusCode ?? 0) < 300;
        if (request.writableFinished) judge(true);
        else if (isAccepted) request.once('finish', () => judge(true));
        else {
          judge(true);
          request.destroy();
        }
      });
      response.on('error', (error) => {
        const isAccepted = (response.statusCode ?? 0) < 300;
        // Cut off inside its "yes": nobody knows what it said of parts, and twice is better than not at all.
        if (isAccepted) finish({ status: 'retryable', cause: causeOf(error) });
        else judge(true);
      });
    });
    request.end(body);
  });
}
