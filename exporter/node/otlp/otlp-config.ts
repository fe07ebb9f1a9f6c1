// SPDX-License-Identifier: Apache-2.0
/**
 * Where and how to send OTLP: the settings, the standard environment variables, and the checks before a client opens.
 * Connects to nothing, so what passes here may still be wrong about the world.
 */
import { readFileSync } from 'node:fs';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { causeOf } from '../system/cause.ts';

/** The signals that are forwarded. */
export type OtlpKind = 'traces' | 'logs';

/** TLS material, as paths of PEM files, and the one way to do without TLS. */
export interface OtlpTls {
  /** Certificates to trust instead of the system's. */
  readonly ca?: string;
  /** Client certificate and its private key, for mTLS; both or none. */
  readonly cert?: string;
  readonly key?: string;
  /** Allows plaintext to another host. Loopback never needs it. */
  readonly insecure?: boolean;
}

/** Where and how to send. */
export interface OtlpClientConfig {
  readonly protocol: 'grpc' | 'http/protobuf';
  /**
   * A base URL, to which HTTP appends `v1/traces` or `v1/logs`; for gRPC a URL without a path, or `host:port`, which
   * means TLS unless `tls.insecure`. Or, for HTTP alone, the complete URL of each signal, used as it stands.
   */
  readonly endpoint: string | Readonly<Partial<Record<OtlpKind, string>>>;
  /** Sent with each request; may hold credentials, so values never appear in an error. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly compression?: 'gzip' | 'none';
  /** For one request and its answer. 10,000 by default, as in the OTLP exporter specification. */
  readonly timeoutMs?: number;
  readonly tls?: OtlpTls;
}

const TIMEOUT_MS_DEFAULT = 10_000;
const TIMEOUT_MS_MAX = 10 * 60_000;
/** Set by the transports. Elsewhere they would contradict the body, or be sent twice. */
const RESERVED_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'host',
  'te',
  'transfer-encoding',
]);

/** Settings with their defaults filled in. */
export interface Settings {
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly compression: 'gzip' | 'none';
  readonly tls: OtlpTls;
}

/**
 * Checks what is common to both protocols.
 * @throws TypeError or RangeError that names the setting and the fix
 */
export function checkSettings(config: OtlpClientConfig): Settings {
  const headers = checkHeaders(config);
  const timeoutMs = config.timeoutMs ?? TIMEOUT_MS_DEFAULT;
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > TIMEOUT_MS_MAX) {
    throw new RangeError(
      `timeoutMs: ${timeoutMs}; give milliseconds, a whole number of 1 to ${TIMEOUT_MS_MAX}`,
    );
  }
  const compression = config.compression ?? 'none';
  if (compression !== 'gzip' && compression !== 'none') {
    throw new TypeError(
      `compression: ${JSON.stringify(compression)} is not known; use 'gzip' or 'none'`,
    );
  }
  return { headers, timeoutMs, compression, tls: config.tls ?? {} };
}

function checkHeaders(config: OtlpClientConfig): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const [given, value] of Object.entries(config.headers ?? {})) {
    const name = given.toLowerCase();
    const isGrpcs = config.protocol === 'grpc' && /^grpc-|-bin$/.test(name);
    if (RESERVED_HEADERS.has(name) || isGrpcs) {
      throw new TypeError(
        `headers: ${JSON.stringify(name)} belongs to the transport; leave it out`,
      );
    }
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch {
      // The cause stays behind: it quotes the value.
      throw new TypeError(`headers: ${JSON.stringify(name)} can not be sent as a header`);
    }
    headers[name] = value;
  }
  return headers;
}

/** Reads an endpoint, and refuses plaintext that leaves the machine without somebody having said so. */
export function checkUrl(text: string, tls: OtlpTls): URL {
  const shown = JSON.stringify(text.replace(/\/\/[^/]*@/, '//***@'));
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new TypeError(`endpoint: ${shown} is no URL; use https://<host>:<port>`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new TypeError(`endpoint: ${shown} is neither http:// nor https://`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new TypeError(`endpoint: ${shown} holds credentials; put them into headers`);
  }
  if (url.protocol === 'http:' && !isLoopback(url.hostname) && tls.insecure !== true) {
    throw new TypeError(
      `endpoint: ${shown} would send spans in plaintext to another host; use https://, or allow it with ` +
        'tls.insecure: true (OTEL_EXPORTER_OTLP_INSECURE=true)',
    );
  }
  return url;
}

export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname)
  );
}

export interface TlsFiles {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

export function readTlsFiles(tls: OtlpTls): TlsFiles {
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw new TypeError('tls: cert and key belong together; give both or none');
  }
  const files: { ca?: Buffer; cert?: Buffer; key?: Buffer } = {};
  for (const name of ['ca', 'cert', 'key'] as const) {
    const path = tls[name];
    if (path === undefined) continue;
    try {
      files[name] = readFileSync(path);
    } catch (error) {
      throw new TypeError(
        `tls.${name}: ${path} can not be read (${causeOf(error)}); give a PEM file`,
      );
    }
  }
  return files;
}

/**
 * Reads the standard `OTEL_EXPORTER_OTLP_*` variables for one signal, by the rules of the OTLP exporter specification:
 * the signal's own variable wins over the general one, an empty variable is an unset one.
 * @throws TypeError that names the variable and the fix
 */
export function otlpClientConfigFromEnv(
  env: Readonly<Record<string, string | undefined>>,
  kind: OtlpKind,
): OtlpClientConfig {
  const general = 'OTEL_EXPORTER_OTLP_';
  const own = `${general}${kind.toUpperCase()}_`;
  /** The variable that counts, and its value. */
  const read = (option: string): { readonly name: string; readonly value: string } | undefined => {
    for (const name of [own + option, general + option]) {
      const value = env[name]?.trim() ?? '';
      if (value !== '') return { name, value };
    }
    return undefined;
  };
  const oneOf = <T extends string>(option: string, values: readonly T[], otherwise: T): T => {
    const found = read(option);
    const value = found === undefined ? otherwise : values.find((known) => known === found.value);
    if (value === undefined) {
      throw new TypeError(
        `${found?.name}: ${JSON.stringify(found?.value)} is not known here; use ${values.join(' or ')}`,
      );
    }
    return value;
  };

  const protocol = oneOf('PROTOCOL', ['grpc', 'http/protobuf'], 'http/protobuf');
  const endpoint = read('ENDPOINT');
  const isComplete = protocol === 'http/protobuf' && endpoint?.name === `${own}ENDPOINT`;
  const port = protocol === 'grpc' ? 4317 : 4318;
  const base = endpoint?.value ?? `http://localhost:${port}`;

  const timeout = read('TIMEOUT');
  if (timeout !== undefined && !/^[1-9][0-9]{0,8}$/.test(timeout.value)) {
    throw new TypeError(
      `${timeout.name}: ${JSON.stringify(timeout.value)}; give milliseconds above 0`,
    );
  }
  const ca = read('CERTIFICATE')?.value;
  const cert = read('CLIENT_CERTIFICATE')?.value;
  const key = read('CLIENT_KEY')?.value;
  const headers = read('HEADERS');
  return {
    protocol,
    endpoint: isComplete ? { [kind]: base } : base,
    headers: headers === undefined ? {} : parseHeaderList(headers.name, headers.value),
    compression: oneOf('COMPRESSION', ['gzip', 'none'], 'none'),
    timeoutMs: timeout === undefined ? TIMEOUT_MS_DEFAULT : Number(timeout.value),
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      insecure: read('INSECURE')?.value.toLowerCase() === 'true',
    },
  };
}

/** `name=value,name=value`, percent-encoded as in W3C Baggage, without properties. */
function parseHeaderList(variable: string, text: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [index, member] of text.split(',').entries()) {
    if (member.trim() === '') continue;
    const at = member.indexOf('=');
    try {
      const name = decodeURIComponent(member.slice(0, Math.max(at, 0)).trim());
      if (name === '') throw new URIError('no name');
      headers[name] = decodeURIComponent(member.slice(at + 1).trim());
    } catch {
      // Not skipped: what is missing is likely the credential. Not quoted: for the same reason.
      throw new TypeError(
        `${variable}: member ${index + 1} is not name=value with percent-encoding; for example "x-api-key=a%2Cb"`,
      );
    }
  }
  return headers;
}
