// SPDX-License-Identifier: Apache-2.0
// Goal: the command ends as it should, whoever ends it and whatever breaks under it: nothing acknowledged is missing, and
// the exit status says what it was. Method: the command as a process with a client at work on it, told to end, killed,
// robbed of its disk or of its sealing thread; then `verifyDirectory` as judge.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import * as https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { framed, openSession, rawGrpcCall, tracesOf } from './support/gateway.ts';
import { post, readLog, spanWith, text } from './support/gateway-log.ts';
import { ended, type Running, runGateway } from './support/gateway-process.ts';
import { selfSignedCertificate } from './support/otlp-backend.ts';

const MAIN = join(import.meta.dirname, '../exporter/cli/main.ts');
const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

function temporaryDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sealspan-'));
  cleanUps.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const run = (dir: string, options?: Parameters<typeof runGateway>[2]): Promise<Running> =>
  runGateway(dir, cleanUps, options);

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

/** Sends spans with names of their own until told to stop; gives those that were acknowledged. */
function load(running: Running, prefix: string) {
  const acknowledged: string[] = [];
  let isOver = false;
  const sending = Promise.all(
    Array.from({ length: 8 }, async (_, worker) => {
      for (let at = 0; !isOver; at++) {
        const name = `${prefix} ${worker} ${at}`;
        const code = await post(running.httpPort, tracesOf(name)).catch(() => 0);
        if (code === 200) acknowledged.push(name);
      }
    }),
  );
  return {
    acknowledged,
    until: async (count: number): Promise<void> => {
      while (acknowledged.length < count) await turn();
    },
    stop: async (): Promise<void> => {
      isOver = true;
      await sending;
    },
  };
}

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s under load: all acknowledged is sealed, the log closed, exit 0',
  async (signal) => {
    const dir = temporaryDirectory();
    const running = await run(dir);
    const sending = load(running, signal);
    await sending.until(100);
    running.child.kill(signal);
    expect(await ended(running.child)).toEqual([0, null]);
    await sending.stop();
    const log = await readLog(running.logDirectory);
    expect([log.verdict, log.findings]).toEqual(['valid', []]);
    expect(log.records.at(-1)!.events.at(-1)!.name).toBe('closed');
    expect(log.spans.map(({ name }) => name)).toEqual(expect.arrayContaining(sending.acknowledged));
  },
);

test('SIGKILL under load, again and again: nothing acknowledged is missing', async () => {
  const dir = temporaryDirectory();
  const acknowledged: string[] = [];
  let logDirectory = '';
  for (let life = 0; life < 4; life++) {
    const running = await run(dir);
    logDirectory = running.logDirectory;
    const sending = load(running, `life ${life}`);
    await sending.until(50);
    running.child.kill('SIGKILL');
    await ended(running.child);
    await sending.stop();
    acknowledged.push(...sending.acknowledged);
  }
  const last = await run(dir);
  expect(last.logDirectory).toBe(logDirectory);
  last.child.kill('SIGTERM');
  expect(await ended(last.child)).toEqual([0, null]);
  const log = await readLog(logDirectory);
  const names = new Set(log.spans.map(({ name }) => name));
  expect(acknowledged.filter((name) => !names.has(name))).toEqual([]);
  expect(acknowledged.length).toBeGreaterThanOrEqual(200);
  // That it was killed is told, in notes: what a gateway acknowledged is sealed, the rest is sent again.
  expect(log.verdict).toBe('valid');
  const told = new Set(['log.interrupted', 'log.recovered-whole']);
  expect(log.findings.filter((code) => !told.has(code))).toEqual([]);
});

// No file above 64 KiB (128 blocks of 512 bytes): writes past that fail as on a full disk.
const SMALL_FILES = { wrapper: 'ulimit -f 128; ', gateway: 'sealDelayMsMax: 1000' };
const noise = (name: string, byteLength: number): Uint8Array<ArrayBuffer> =>
  spanWith(name, text('noise', randomBytes(byteLength).toString('base64')));

test('a disk that fails and comes back: nothing is lost, and it is told', async () => {
  const running = await run(temporaryDirectory(), SMALL_FILES);
  const acknowledged: string[] = [];
  for (let at = 0; !running.errors.some((line) => line.includes('log.up')) || at < 20; at++) {
    const code = await post(running.httpPort, noise(`chat ${at}`, 6000));
    if (code === 200) acknowledged.push(`chat ${at}`);
  }
  expect(running.errors.join('\n')).toMatch(/sealspan: log\.down .*EFBIG/);
  running.child.kill('SIGTERM');
  expect((await ended(running.child))[0]).toBe(0);
  const log = await readLog(running.logDirectory);
  expect(log.spans.map(({ name }) => name)).toEqual(expect.arrayContaining(acknowledged));
  expect(log.verdict).toBe('valid');
  expect(log.findings.filter((code) => code !== 'log.recovered-whole')).toEqual([]);
});

test('a disk without room: come again, not ready, and still an end in order', async () => {
  const running = await run(temporaryDirectory(), SMALL_FILES);
  expect(await post(running.httpPort, tracesOf('before'))).toBe(200);
  expect(await post(running.httpPort, noise('too large for the disk', 100_000))).toBe(503);
  let ready = 200;
  while (ready !== 503) {
    ready = (await fetch(`http://127.0.0.1:${running.httpPort}/readyz`)).status;
  }
  expect(await post(running.httpPort, tracesOf('after'))).toBe(503);
  const session = await openSession(running.grpcPort);
  expect(await rawGrpcCall(session, framed(tracesOf('after')))).toMatchObject({
    code: 14,
    retrySeconds: 1,
  });
  session.destroy();
  running.child.kill('SIGTERM');
  expect((await ended(running.child))[0]).toBe(0);
  const log = await readLog(running.logDirectory);
  expect(log.verdict).not.toBe('invalid');
  expect(log.spans.map(({ name }) => name)).toContain('before');
});

test('a configuration that can not be: exit 2, with the cure', async () => {
  const dir = temporaryDirectory();
  const path = join(dir, 'sealspan.yaml');
  writeFileSync(path, 'gateway:\n  grpc: { listen: "0.0.0.0:4317" }\n');
  const child = spawn(process.execPath, [MAIN, 'gateway', '--config', path]);
  const errors: Buffer[] = [];
  child.stderr.on('data', (chunk) => errors.push(chunk));
  expect((await ended(child))[0]).toBe(2);
  expect(Buffer.concat(errors).toString()).toContain(
    `${path}:2: gateway.grpc.listen: found "0.0.0.0:4317", plaintext that leaves the machine`,
  );
});

test('SIGHUP: certificates are taken from their files again, and nothing ends', async () => {
  const dir = temporaryDirectory();
  const [before, after] = [
    selfSignedCertificate(['localhost']),
    selfSignedCertificate(['localhost']),
  ];
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  const put = (pair: typeof before): void => {
    writeFileSync(cert, pair.cert);
    writeFileSync(key, pair.key, { mode: 0o600 });
  };
  put(before);
  const running = await run(dir, { gateway: `tls: { cert: ${cert}, key: ${key} }` });
  const isReady = (ca: string): Promise<boolean> =>
    new Promise((resolve) => {
      const options = { host: 'localhost', port: running.httpPort, path: '/readyz', agent: false };
      const request = https.get({ ...options, ca }, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      });
      request.on('error', () => resolve(false));
    });
  expect([await isReady(before.cert), await isReady(after.cert)]).toEqual([true, false]);
  put(after);
  running.child.kill('SIGHUP');
  while (!running.errors.some((line) => line.startsWith('sealspan: tls.reloaded'))) await turn();
  expect([await isReady(before.cert), await isReady(after.cert)]).toEqual([false, true]);
  running.child.kill('SIGTERM');
  expect(await ended(running.child)).toEqual([0, null]);
});

test('a sealing thread that dies: exit 5, nothing acknowledged is missing, and the next start goes on', async () => {
  const dir = temporaryDirectory();
  const preload = join(dir, 'preload.mjs');
  writeFileSync(
    preload,
    `import { syncBuiltinESMExports } from 'node:module';
import threads from 'node:worker_threads';
const { Worker } = threads;
threads.Worker = class extends Worker {
  constructor(...given) {
    super(...given);
    process.on('SIGUSR2', () => this.terminate());
  }
};
syncBuiltinESMExports();
`,
  );
  const running = await run(dir, { wrapper: `export NODE_OPTIONS=--import=${preload}; ` });
  const sending = load(running, 'chat');
  await sending.until(50);
  running.child.kill('SIGUSR2');
  expect(await ended(running.child)).toEqual([5, null]);
  await sending.stop();
  expect(running.errors.join('\n')).toContain('sealspan: thread.down ');
  const again = await run(dir);
  expect(await post(again.httpPort, tracesOf('afterwards'))).toBe(200);
  again.child.kill('SIGTERM');
  expect(await ended(again.child)).toEqual([0, null]);
  const log = await readLog(again.logDirectory);
  expect(log.verdict).toBe('valid');
  expect(log.spans.map(({ name }) => name)).toEqual(
    expect.arrayContaining([...sending.acknowledged, 'afterwards']),
  );
});
