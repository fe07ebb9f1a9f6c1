// SPDX-License-Identifier: Apache-2.0
// Goal: the `gateway` section is read as it is written, and what can not be is refused by path with the cure. Method: the
// defaults as one object, tables of wrong settings with their whole message, and files through `readConfig`.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ConfigError, readConfig } from '../exporter/node/config/config.ts';
import {
  type GatewayInput,
  gatewaySchema,
  parseListen,
} from '../exporter/node/config/gateway-config.ts';

const dir = mkdtempSync(join(tmpdir(), 'sealspan-'));
afterAll(() => rmSync(dir, { recursive: true }));

const MIB = 1024 * 1024;
const TLS = { cert: 'c.pem', key: 'k.pem' };
const FINGERPRINT = 'ab'.repeat(32);

function messagesOf(input: unknown): string[] {
  const parsed = gatewaySchema.safeParse(input);
  return parsed.success
    ? []
    : parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
}

test('everything has a default', () => {
  expect(gatewaySchema.parse({})).toEqual({
    grpc: { listen: '127.0.0.1:4317' },
    http: { listen: '127.0.0.1:4318' },
    admin: 'off',
    source: 'direct',
    clients: [],
    filter: 'all',
    content: { attributes: {} },
    messageByteLengthMax: 64 * MIB,
    inFlightByteLengthMax: 256 * MIB,
    readDelayMsMax: 30_000,
    sealDelayMsMax: 10_000,
    retryDelayMs: 1000,
    connectionAgeMsMax: 300_000,
    drainDelayMsMax: 10_000,
  });
});

describe('plaintext', () => {
  test.each<[string, GatewayInput]>([
    ['on loopback', { grpc: { listen: '127.0.0.1:1' }, http: { listen: '[::1]:1' } }],
    ['on localhost', { http: { listen: 'localhost:0' } }],
    ['where somebody said so', { grpc: { listen: '0.0.0.0:4317', insecure: true } }],
    ['nowhere, with TLS', { grpc: { listen: '0.0.0.0:1' }, http: { listen: '[::]:1' }, tls: TLS }],
    ['nowhere, listeners off', { grpc: 'off', http: 'off' }],
  ])('%s is taken', (_name, input) => {
    expect(messagesOf(input)).toEqual([]);
  });

  const MESSAGE = 'plaintext that leaves the machine: expected a loopback address,';
  test.each<[string, GatewayInput, string]>([
    [
      'gRPC',
      { grpc: { listen: '0.0.0.0:4317' } },
      `grpc.listen: ${MESSAGE} \`gateway.tls\`, or \`insecure: true\` beside it`,
    ],
    [
      'HTTP',
      { http: { listen: '[::]:4318' } },
      `http.listen: ${MESSAGE} \`gateway.tls\`, or \`insecure: true\` beside it`,
    ],
    [
      'a name',
      { http: { listen: 'gateway.example:4318' } },
      `http.listen: ${MESSAGE} \`gateway.tls\`, or \`insecure: true\` beside it`,
    ],
    [
      'explicitly not allowed',
      { grpc: { listen: '10.0.0.1:1', insecure: false } },
      `grpc.listen: ${MESSAGE} \`gateway.tls\`, or \`insecure: true\` beside it`,
    ],
    [
      'pages for probes, whatever TLS there is',
      { admin: { listen: '0.0.0.0:1' }, tls: TLS },
      `admin.listen: ${MESSAGE} or \`insecure: true\` beside it`,
    ],
  ])('%s is refused elsewhere', (_name, input, message) => {
    expect(messagesOf(input)).toEqual([message]);
  });
});

describe('wrong settings', () => {
  test.each<[unknown, string]>([
    [{ grpc: { listen: '4317' } }, 'expected host:port'],
    [{ grpc: { listen: '127.0.0.1:70000' } }, 'expected host:port'],
    [{ grpc: { listen: 'a b:1' } }, 'expected host:port'],
    [{ grpc: 'on' }, 'grpc: Invalid input'],
    [{ prot: 1 }, 'Unrecognized key: "prot"'],
    [{ filter: 'some' }, 'filter: '],
    [{ content: { attributes: { a: 'hash' } } }, 'content.attributes.a: '],
    [{ content: { attributes: { '': 'keep' } } }, 'content.attributes'],
    [{ messageByteLengthMax: 64 * MIB + 1 }, 'messageByteLengthMax: '],
    [{ source: 'in-process' }, 'source: '],
    [{ clients: [{ id: 'a' }] }, 'clients.0: expected either token or certificate'],
    [{ clients: [{ id: 'a', token: {} }] }, 'clients.0.token: expected either file or env'],
    [
      { clients: [{ id: 'a', token: { file: 'f', env: 'E' } }] },
      'clients.0.token: expected either file or env',
    ],
    [
      { clients: [{ id: 'a b', token: { env: 'E' } }] },
      'clients.0.id: expected 1 to 128 printable',
    ],
    [
      { clients: [{ id: 'a', certificate: 'abc' }] },
      'clients.0.certificate: expected the 64 hex digits',
    ],
    [
      { clients: [{ id: 'a', certificate: FINGERPRINT }] },
      'clients.0.certificate: expected `gateway.tls.clientCa` with it',
    ],
    [
      {
        clients: [
          { id: 'a', token: { env: 'E' } },
          { id: 'a', token: { env: 'F' } },
        ],
      },
      'clients.1.id: expected each id once',
    ],
  ])('%j', (input, message) => {
    expect(messagesOf(input).join('\n')).toContain(message);
  });
});

test('a fingerprint may be written as openssl prints it', () => {
  const colons = FINGERPRINT.toUpperCase().replace(/..(?!$)/g, '$&:');
  const tls = { ...TLS, clientCa: 'ca.pem' };
  const { clients } = gatewaySchema.parse({ tls, clients: [{ id: 'a', certificate: colons }] });
  expect(clients).toEqual([{ id: 'a', certificate: FINGERPRINT }]);
});

test.each([
  ['127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
  ['[::1]:4317', { host: '::1', port: 4317 }],
  ['gateway.example:1', { host: 'gateway.example', port: 1 }],
])('%s in parts', (text, parts) => {
  expect(parseListen(text)).toEqual(parts);
});

test.each(['', ':1', 'a', 'a:', 'a:01', 'a:65536', '::1:4317'])('%j has no parts', (text) => {
  expect(() => parseListen(text)).toThrow(TypeError);
});

describe('in the configuration', () => {
  const read = (yaml: string) => {
    const path = join(dir, 'sealspan.yaml');
    writeFileSync(path, yaml);
    return readConfig({ SEALSPAN_CONFIG: path, PORT: '5317' });
  };

  test('it is absent unless given, and part of the digest that the log opens with', () => {
    expect(read('mode: group\n').gateway).toBeUndefined();
    const one = read('gateway: { filter: governed }\n');
    expect(one.gateway?.filter).toBe('governed');
    expect(one.hash).not.toEqual(read('mode: group\n').hash);
    expect(one.hash).not.toEqual(read('gateway: { filter: all }\n').hash);
  });

  test('variables are put in', () => {
    const { gateway } = read('gateway:\n  grpc: { listen: "127.0.0.1:${PORT:-4317}" }\n');
    expect(gateway?.grpc).toEqual({ listen: '127.0.0.1:5317' });
  });

  test('what is wrong is named by line', () => {
    expect(() => read('mode: group\ngateway:\n  http:\n    listen: 0.0.0.0:4318\n')).toThrow(
      new ConfigError(
        `${join(dir, 'sealspan.yaml')}:4: gateway.http.listen: found "0.0.0.0:4318", plaintext that leaves the machine: expected a loopback address, \`gateway.tls\`, or \`insecure: true\` beside it`,
      ),
    );
  });
});
