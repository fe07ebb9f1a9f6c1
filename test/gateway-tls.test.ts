// SPDX-License-Identifier: Apache-2.0
// Goal: a certificate that is renewed on disk is served without a restart, and a renewal that is half done or wrong changes
// nothing but what is told. Method: files rewritten as renewals do, and both listeners asked by clients that trust one of
// the two certificates.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import * as https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { openGrpc } from '../exporter/node/gateway/gateway-grpc.ts';
import { openHttp } from '../exporter/node/gateway/gateway-http.ts';
import { type GatewayTls, openTls } from '../exporter/node/gateway/gateway-tls.ts';
import { openTestIntake, TRACES_METHOD, tracesOf } from './support/gateway.ts';
import { selfSignedCertificate } from './support/otlp-backend.ts';

type Pair = ReturnType<typeof selfSignedCertificate>;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

const [OLD, NEW] = [selfSignedCertificate(['localhost']), selfSignedCertificate(['localhost'])];

function setUp(first: Pair = OLD, clientCa?: Pair) {
  const dir = mkdtempSync(join(tmpdir(), 'sealspan-'));
  cleanUps.push(() => rmSync(dir, { recursive: true, force: true }));
  const put = (name: string, text: string): string => {
    const path = join(dir, name);
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
    return path;
  };
  const reports: string[] = [];
  const open = (): GatewayTls => {
    const paths = {
      cert: join(dir, 'cert.pem'),
      key: join(dir, 'key.pem'),
      ...(clientCa === undefined ? {} : { clientCa: join(dir, 'ca.pem') }),
    };
    const tls = openTls(paths, (code, message) => reports.push(`${code} ${message}`));
    cleanUps.push(() => tls.close());
    return tls;
  };
  put('cert.pem', first.cert);
  put('key.pem', first.key);
  if (clientCa !== undefined) put('ca.pem', clientCa.cert);
  return { dir, put, open, reports };
}

describe('files', () => {
  test('that are renewed are taken, by themselves within ten seconds, and told once', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { put, open, reports } = setUp();
    const tls = open();
    const heard: string[] = [];
    tls.watch(({ cert }) => heard.push(cert.toString()));
    vi.advanceTimersByTime(30_000);
    expect([heard, reports]).toEqual([[], []]);
    put('cert.pem', NEW.cert);
    put('key.pem', NEW.key);
    vi.advanceTimersByTime(30_000);
    expect(heard).toEqual([NEW.cert]);
    expect(tls.files).toEqual({ cert: Buffer.from(NEW.cert), key: Buffer.from(NEW.key) });
    expect(reports).toEqual([
      expect.stringMatching(/^tls\.reloaded CN=sealspan test, valid to .*GMT$/),
    ]);
  });

  test.each<[string, (put: (name: string, text: string) => string) => void, RegExp]>([
    ['a certificate without its key', (put) => put('cert.pem', NEW.cert), /do not fit together/],
    ['a key without its certificate', (put) => put('key.pem', NEW.key), /do not fit together/],
    ['a certificate that is none', (put) => put('cert.pem', 'x'), /do not fit together/],
    ['a CA that is none', (put) => put('ca.pem', 'x'), /do not fit together/],
  ])('%s: told once, and the one before stays', (_name, spoil, message) => {
    const { put, open, reports } = setUp(OLD, NEW);
    const tls = open();
    const before = tls.files;
    spoil(put);
    tls.reload();
    tls.reload();
    expect(reports).toEqual([expect.stringMatching(/^tls\.refused .*; the one before stays$/)]);
    expect(reports[0]).toMatch(message);
    expect(tls.files).toBe(before);
    expect(open).toThrow(message);
  });

  test('that are gone: told, and taken once they are there', () => {
    const { dir, put, open, reports } = setUp();
    const tls = open();
    rmSync(join(dir, 'key.pem'));
    tls.reload();
    put('cert.pem', NEW.cert);
    put('key.pem', NEW.key);
    tls.reload();
    expect(reports.map((line) => line.split(' ')[0])).toEqual(['tls.refused', 'tls.reloaded']);
    expect(reports[0]).toContain(
      `gateway.tls.key: ${join(dir, 'key.pem')} can not be read: ENOENT`,
    );
  });
});

describe('connections', () => {
  const listener = { listen: '127.0.0.1:0' };
  const renew = (put: (name: string, text: string) => string): void => {
    put('cert.pem', NEW.cert);
    put('key.pem', NEW.key);
  };
  /** Whether each certificate, taken for the only authority, lets a client in: the old one, the new one. */
  const bothOf = async (ask: (ca: Pair) => Promise<boolean>) => [await ask(OLD), await ask(NEW)];

  test('by HTTP', async () => {
    const { put, open } = setUp();
    const tls = open();
    const { settings, intake } = openTestIntake({ http: listener });
    const probes = { isAlive: () => true, closedBecause: () => undefined, metrics: undefined };
    const http = await openHttp({ name: 'http', listener, settings, tls, intake, probes });
    cleanUps.push(() => http.drain(0));
    const ask = ({ cert }: Pair): Promise<boolean> =>
      new Promise((resolve) => {
        const url = `https://localhost:${http.port}/readyz`;
        const request = https.get(url, { ca: cert, agent: false }, (response) => {
          response.resume();
          resolve(response.statusCode === 200);
        });
        request.on('error', () => resolve(false));
      });
    expect(await bothOf(ask)).toEqual([true, false]);
    renew(put);
    tls.reload();
    expect(await bothOf(ask)).toEqual([false, true]);
  });

  /** Whether a client with this CA for servers, and maybe a certificate, has its spans taken. */
  const ask = (port: number, ca: Pair, own?: Pair): Promise<boolean> =>
    new Promise((resolve) => {
      const pem = (text: string | undefined) => (text === undefined ? null : Buffer.from(text));
      const channel = credentials.createSsl(pem(ca.cert), pem(own?.key), pem(own?.cert));
      const client = new Client(`localhost:${port}`, channel);
      const same = (bytes: Buffer): Buffer => bytes;
      const spans = Buffer.from(tracesOf('chat'));
      client.makeUnaryRequest(TRACES_METHOD, same, same, spans, (error) => {
        client.close();
        resolve(error === null);
      });
    });

  test('by gRPC', async () => {
    const { put, open } = setUp();
    const tls = open();
    const { settings, intake } = openTestIntake({ grpc: listener });
    const grpc = await openGrpc({ listener, settings, tls, intake, isReady: () => true });
    cleanUps.push(() => grpc.drain(0));
    expect(await bothOf((ca) => ask(grpc.port, ca))).toEqual([true, false]);
    renew(put);
    tls.reload();
    expect(await bothOf((ca) => ask(grpc.port, ca))).toEqual([false, true]);
  });

  test('the CA of clients is renewed with the rest', async () => {
    const [before, after] = [selfSignedCertificate(['a']), selfSignedCertificate(['b'])];
    const { put, open } = setUp(OLD, before);
    const tls = open();
    const { settings, intake, sealed } = openTestIntake({ grpc: listener });
    const grpc = await openGrpc({ listener, settings, tls, intake, isReady: () => true });
    cleanUps.push(() => grpc.drain(0));
    const both = async (ca: Pair) => [
      await ask(grpc.port, ca, before),
      await ask(grpc.port, ca, after),
      await ask(grpc.port, ca),
    ];
    expect(await both(OLD)).toEqual([true, false, false]);
    put('ca.pem', after.cert);
    tls.reload();
    expect(await both(OLD)).toEqual([false, true, false]);
    expect(sealed).toHaveLength(2);
  });
});
