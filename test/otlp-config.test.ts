// SPDX-License-Identifier: Apache-2.0
// Goal: the standard variables mean here what the OTLP exporter specification says, and misuse is named before
// anything is sent, without a credential in the message. Method: tables.
import { describe, expect, test } from 'vitest';
import { openOtlpClient } from '../exporter/node/otlp/otlp-client.ts';
import {
  type OtlpClientConfig,
  otlpClientConfigFromEnv,
} from '../exporter/node/otlp/otlp-config.ts';

const DEFAULTS: OtlpClientConfig = {
  protocol: 'http/protobuf',
  endpoint: 'http://localhost:4318',
  headers: {},
  compression: 'none',
  timeoutMs: 10_000,
  tls: { insecure: false },
};

describe('otlpClientConfigFromEnv', () => {
  const table: readonly (readonly [string, Record<string, string>, Partial<OtlpClientConfig>])[] = [
    ['nothing', {}, {}],
    ['empty is unset', { ENDPOINT: '', TRACES_ENDPOINT: ' ', HEADERS: '' }, {}],
    [
      'gRPC has its own port',
      { PROTOCOL: 'grpc' },
      { protocol: 'grpc', endpoint: 'http://localhost:4317' },
    ],
    ['a base', { ENDPOINT: 'https://b/x' }, { endpoint: 'https://b/x' }],
    [
      'a complete URL wins',
      { ENDPOINT: 'https://b', TRACES_ENDPOINT: 'https://t/in' },
      { endpoint: { traces: 'https://t/in' } },
    ],
    [
      'gRPC knows no complete URL',
      { PROTOCOL: 'grpc', TRACES_ENDPOINT: 'https://t:1' },
      { protocol: 'grpc', endpoint: 'https://t:1' },
    ],
    ['the other signal is not ours', { LOGS_ENDPOINT: 'https://l', LOGS_TIMEOUT: '1' }, {}],
    ['the own protocol wins', { PROTOCOL: 'grpc', TRACES_PROTOCOL: 'http/protobuf' }, {}],
    [
      'headers are decoded',
      { HEADERS: ' x-api-key = a%2Cb%3D%20c ,, b==' },
      { headers: { 'x-api-key': 'a,b= c', b: '=' } },
    ],
    ['own headers replace', { HEADERS: 'a=1', TRACES_HEADERS: 'b=2' }, { headers: { b: '2' } }],
    ['compression', { TRACES_COMPRESSION: 'gzip' }, { compression: 'gzip' }],
    ['timeout in milliseconds', { TIMEOUT: '2500' }, { timeoutMs: 2500 }],
    ['insecure in any case', { INSECURE: 'TRUE' }, { tls: { insecure: true } }],
    [
      'TLS files',
      { CERTIFICATE: '/ca', TRACES_CLIENT_CERTIFICATE: '/cert', CLIENT_KEY: '/key' },
      { tls: { ca: '/ca', cert: '/cert', key: '/key', insecure: false } },
    ],
  ];
  test.each(table)('%s', (_, variables, expected) => {
    const env = Object.fromEntries(
      Object.entries(variables).map(([name, value]) => [`OTEL_EXPORTER_OTLP_${name}`, value]),
    );
    expect(otlpClientConfigFromEnv(env, 'traces')).toEqual({ ...DEFAULTS, ...expected });
  });

  test.each([
    [
      'PROTOCOL',
      'http/json',
      'OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" is not known here; use grpc or http/protobuf',
    ],
    [
      'COMPRESSION',
      'zstd',
      'OTEL_EXPORTER_OTLP_COMPRESSION: "zstd" is not known here; use gzip or none',
    ],
    ['TIMEOUT', '10s', 'OTEL_EXPORTER_OTLP_TIMEOUT: "10s"; give milliseconds above 0'],
    [
      'HEADERS',
      'a=1,s3cret',
      'OTEL_EXPORTER_OTLP_HEADERS: member 2 is not name=value with percent-encoding; for example "x-api-key=a%2Cb"',
    ],
    [
      'HEADERS',
      'a=s3cret%',
      'OTEL_EXPORTER_OTLP_HEADERS: member 1 is not name=value with percent-encoding; for example "x-api-key=a%2Cb"',
    ],
  ])('%s=%s is refused', (name, value, message) => {
    const env = { [`OTEL_EXPORTER_OTLP_${name}`]: value };
    expect(() => otlpClientConfigFromEnv(env, 'traces')).toThrow(new TypeError(message));
  });
});

describe('openOtlpClient refuses', () => {
  const GRPC = 'grpc' as const;
  const HTTP = 'http/protobuf' as const;
  const table: readonly (readonly [string, OtlpClientConfig, RegExp])[] = [
    [
      'plaintext to another host',
      { protocol: HTTP, endpoint: 'http://collector:4318' },
      /^endpoint: .*plaintext.*tls\.insecure/,
    ],
    [
      'the same over gRPC',
      { protocol: GRPC, endpoint: 'http://collector:4317' },
      /^endpoint: .*plaintext/,
    ],
    [
      'the same of one signal',
      { protocol: HTTP, endpoint: { traces: 'https://a', logs: 'http://b' } },
      /^endpoint: "http:\/\/b" .*plaintext/,
    ],
    [
      'a name that only looks like loopback',
      { protocol: HTTP, endpoint: 'http://localhost.example' },
      /plaintext/,
    ],
    [
      'an address that only looks like it',
      { protocol: HTTP, endpoint: 'http://127.0.0.1.example' },
      /plaintext/,
    ],
    [
      'no scheme over HTTP',
      { protocol: HTTP, endpoint: 'collector' },
      /^endpoint: "collector" is no URL/,
    ],
    ['another scheme', { protocol: HTTP, endpoint: 'ftp://collector' }, /^endpoint: .* neither/],
    [
      'credentials in the URL',
      { protocol: HTTP, endpoint: 'https://me:s3cret@collector' },
      /^endpoint: "https:\/\/\*\*\*@collector" holds credentials; put them into headers/,
    ],
    [
      'a path over gRPC',
      { protocol: GRPC, endpoint: 'https://collector/v1/traces' },
      /^endpoint: gRPC can not use the path "\/v1\/traces"/,
    ],
    [
      'URLs of signals over gRPC',
      { protocol: GRPC, endpoint: { traces: 'https://collector' } },
      /^endpoint: gRPC has one/,
    ],
    ['no URL at all', { protocol: HTTP, endpoint: {} }, /^endpoint: no URL/],
    [
      'half a client certificate',
      { protocol: HTTP, endpoint: 'https://a', tls: { cert: '/c' } },
      /^tls: cert and key belong together/,
    ],
    [
      'a CA that is not there',
      { protocol: GRPC, endpoint: 'https://a', tls: { ca: '/not/there' } },
      /^tls\.ca: \/not\/there can not be read/,
    ],
    [
      'a header of the transport',
      { protocol: HTTP, endpoint: 'https://a', headers: { Host: 'b' } },
      /^headers: "host" belongs to the transport/,
    ],
    [
      'a binary header',
      { protocol: GRPC, endpoint: 'https://a', headers: { 'a-bin': 'b' } },
      /^headers: "a-bin" belongs/,
    ],
    [
      'a header with a line break',
      { protocol: HTTP, endpoint: 'https://a', headers: { a: 's3cret\n' } },
      /^headers: "a" can not be sent as a header$/,
    ],
    [
      'no time',
      { protocol: HTTP, endpoint: 'https://a', timeoutMs: 0 },
      /^timeoutMs: 0; give milliseconds/,
    ],
  ];
  test.each(table)('%s', (_, config, message) => {
    let error: unknown;
    try {
      openOtlpClient(config).close();
    } catch (thrown) {
      error = thrown;
    }
    expect(String(error).replace(/^(Type|Range)Error: /, '')).toMatch(message);
    expect(String(error)).not.toContain('s3cret');
  });

  test.each([
    { protocol: HTTP, endpoint: 'http://127.8.9.1:4318' },
    { protocol: HTTP, endpoint: 'http://[::1]:4318' },
    { protocol: GRPC, endpoint: 'http://localhost:4317' },
    { protocol: GRPC, endpoint: 'collector:4317' },
    { protocol: GRPC, endpoint: 'collector:4317', tls: { insecure: true } },
    { protocol: HTTP, endpoint: 'http://collector:4318', tls: { insecure: true } },
  ] satisfies OtlpClientConfig[])('but not %j', (config) => {
    expect(() => openOtlpClient(config).close()).not.toThrow();
  });

  test.each([
    [{ protocol: GRPC, endpoint: 'collector' }, 'grpc https://collector:443'],
    [
      { protocol: GRPC, endpoint: 'collector:4317', tls: { insecure: true } },
      'grpc http://collector:4317',
    ],
    // The scheme decides, whatever `insecure` says.
    [
      { protocol: GRPC, endpoint: 'https://collector:1', tls: { insecure: true } },
      'grpc https://collector:1',
    ],
    [{ protocol: HTTP, endpoint: 'https://collector/otlp' }, 'http https://collector'],
  ] satisfies [OtlpClientConfig, string][])('%j is called %s', (config, name) => {
    const client = openOtlpClient(config);
    client.close();
    expect(client.name).toBe(name);
  });
});
