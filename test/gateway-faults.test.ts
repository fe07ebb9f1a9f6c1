// SPDX-License-Identifier: Apache-2.0
// Goal: wherever anything in the gateway's handlers throws, a client hears what it would have heard, or to come again; never
// UNKNOWN, INTERNAL or 500, at which Collectors throw data away; and the next request is served. Method: each kind of
// request counts the calls that its handling makes, then is sent again and again with the first, the second … of them
// failing.
import { once } from 'node:events';
import * as http from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterEach, expect, test } from 'vitest';
import type { SealOutcome } from '../exporter/node/capture/pending.ts';
import type { GatewayInput } from '../exporter/node/config/gateway-config.ts';
import { createContentPolicy } from '../exporter/node/gateway/content-policy.ts';
import { openClients } from '../exporter/node/gateway/gateway-clients.ts';
import { openGrpc } from '../exporter/node/gateway/gateway-grpc.ts';
import { openHttp } from '../exporter/node/gateway/gateway-http.ts';
import { Arrival } from '../exporter/node/gateway/gateway-intake.ts';
import { openGatewayMetrics } from '../exporter/node/gateway/gateway-metrics.ts';
import { framed, openSession, openTestIntake, rawGrpcCall, tracesOf } from './support/gateway.ts';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** Counts calls, and fails one of them. */
class Fuse {
  #failAt = 0;
  #how: 'throws' | 'rejects' = 'throws';
  /** The calls so far, by name. */
  calls: string[] = [];
  /** The one that failed. */
  blown: string | undefined;

  /** Counts anew; the call of this number fails, none where it is 0. */
  set(failAt: number, how: 'throws' | 'rejects' = 'throws'): void {
    this.calls = [];
    this.#failAt = failAt;
    this.#how = how;
    this.blown = undefined;
  }

  call<Result>(name: string, work: () => Result): Result {
    this.calls.push(name);
    if (this.calls.length !== this.#failAt) return work();
    this.blown = name;
    const broken = new Error('broken');
    if (this.#how === 'rejects') return Promise.reject(broken) as Result;
    throw broken;
  }
}

const PROMISING: ReadonlySet<string> = new Set(['intake.accept', 'sealing.seal', 'probes.metrics']);

/** The same object, each call and each getter of which goes through the fuse. */
function fused<Target extends object>(target: Target, name: string, fuse: Fuse): Target {
  return new Proxy(target, {
    get: (_target, key) => {
      const full = `${name}.${String(key)}`;
      const ofClass = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(target), key);
      if (ofClass?.get !== undefined) return fuse.call(full, () => Reflect.get(target, key));
      const value: unknown = Reflect.get(target, key);
      if (typeof value !== 'function') return value;
      return (...given: unknown[]): unknown =>
        fuse.call(full, () => {
          const result: unknown = Reflect.apply(value, target, given);
          return result instanceof Arrival ? fused(result, 'arrival', fuse) : result;
        });
    },
  });
}

interface Setting extends GatewayInput {
  readonly closedBecause?: string;
  readonly outcome?: () => Promise<SealOutcome>;
}

function setUp({ closedBecause, outcome, ...input }: Setting) {
  const fuse = new Fuse();
  const gauges = { inFlightByteLength: 0, isReady: true, sealing: undefined };
  const parts = fused(
    {
      closedBecause: () => closedBecause,
      onRefusal: () => {},
      seal: outcome ?? (async () => ({ ...PLACE, status: 'sealed' as const })),
    },
    'sealing',
    fuse,
  );
  const clients = openClients(input.clients ?? [], { TOKEN: 'alpha' }, () => 0);
  const policy = createContentPolicy({ content: 'keep', attributes: {} }, undefined);
  const opened = openTestIntake(
    input,
    {
      clients: fused(clients, 'clients', fuse),
      policy: fused(policy, 'policy', fuse),
      metrics: fused(
        openGatewayMetrics(async () => gauges),
        'metrics',
        fuse,
      ),
      closedBecause: () => parts.closedBecause(),
      onRefusal: () => parts.onRefusal(),
      seal: () => parts.seal(),
    },
    { TOKEN: 'alpha' },
  );
  return { ...opened, fuse, fusedIntake: fused(opened.intake, 'intake', fuse) };
}

const PLACE = { origin: 'test', recordIndex: 0, firstEntry: 0 };
const LISTENER = { listen: '127.0.0.1:0' };
const CLIENTS = [{ id: 'a', token: { env: 'TOKEN' } }];
const SMALL = { messageByteLengthMax: 1024, inFlightByteLengthMax: 1024 };
const lost =
  (code?: 'otlp.wire-type' | 'otlp.amplification') => async (): Promise<SealOutcome> => ({
    status: 'lost',
    cause: 'x',
    ...(code === undefined ? {} : { refused: { code, sha256: new Uint8Array(32) } }),
  });
const never = (): Promise<SealOutcome> => new Promise(() => {});
const GOOD = tracesOf('chat');
const LARGE = tracesOf('x'.repeat(2000));
const BOMB = gzipSync(Buffer.alloc(100_000));
const BAD = Buffer.of(0xff);

/** Each failure of one kind of request; all that a client heard and must not have. */
async function failEach(
  fuse: Fuse,
  ask: () => Promise<string>,
  expected: string,
  later: string,
  inFlight: () => number,
): Promise<void> {
  fuse.set(0);
  expect(await ask()).toBe(expected);
  const { calls } = fuse;
  expect(calls).not.toEqual([]);
  const wrong: string[] = [];
  let leaked = 0;
  for (const how of ['throws', 'rejects'] as const) {
    for (const [index, name] of calls.entries()) {
      if (how === 'rejects' && !PROMISING.has(name)) continue;
      fuse.set(index + 1, how);
      const heard = await ask();
      const { blown } = fuse;
      fuse.set(0);
      // A number that is not counted is no reason to turn anybody away.
      const legal = blown?.startsWith('metrics.') ? [expected] : [expected, later];
      if (!legal.includes(heard)) wrong.push(`${blown} ${how}: ${heard}`);
      await new Promise(setImmediate);
      const held = inFlight();
      if (held > leaked && blown !== 'arrival.release') wrong.push(`${blown} ${how}: ${held} held`);
      leaked = held;
    }
  }
  expect(wrong).toEqual([]);
}

test.each<[string, Setting, http.RequestOptions, Uint8Array | string | 'never', string]>([
  ['a good request', {}, {}, GOOD, '200'],
  ['one in JSON', {}, type('application/json'), '{"resourceSpans":[]}', '200'],
  ['one that is compressed', {}, encoded('gzip'), gzipSync(GOOD), '200'],
  ['one that the filter leaves out', { filter: 'governed' }, {}, GOOD, '200'],
  ['no OTLP', {}, {}, BAD, '400'],
  ['no OTLP, and nothing to seal', {}, {}, Buffer.of(0x10, 1), '400'],
  ['no JSON', {}, type('application/json'), '{', '400'],
  ['no gzip', {}, encoded('gzip'), GOOD, '400'],
  ['what the sealer refuses', { outcome: lost('otlp.wire-type') }, {}, GOOD, '400'],
  ['what is too much once it is cut', { outcome: lost('otlp.amplification') }, {}, GOOD, '413'],
  ['too large, and says so', SMALL, length(2000), LARGE, '413'],
  ['too large, and does not say so', SMALL, chunked(), LARGE, '413'],
  ['a bomb', SMALL, encoded('gzip'), BOMB, '413'],
  ['another media type', {}, type('text/csv'), GOOD, '415'],
  ['nobody known', { clients: CLIENTS }, {}, GOOD, '401'],
  ['another compression', {}, encoded('br'), GOOD, '503 again'],
  ['a gateway that ends', { closedBecause: 'ending' }, {}, GOOD, '503 again'],
  ['a disk that is full', { outcome: lost() }, {}, GOOD, '503 again'],
  ['one that never arrives whole', { readDelayMsMax: 20 }, length(10), 'never', '503 again'],
])('HTTP, %s: as it was, or come again', async (_name, setting, request, body, expected) => {
  const { settings, intake, fuse, fusedIntake } = setUp(setting);
  const probes = { isAlive: () => true, closedBecause: () => undefined, metrics: undefined };
  const listening = await openHttp({
    name: 'http',
    listener: LISTENER,
    settings,
    tls: undefined,
    intake: fusedIntake,
    probes,
  });
  cleanUps.push(() => listening.drain(0));
  const ask = async (): Promise<string> => {
    const { headers, ...rest } = request;
    const sent = http.request({
      ...rest,
      host: '127.0.0.1',
      port: listening.port,
      method: 'POST',
      path: '/v1/traces',
      agent: false,
      headers: { 'content-type': 'application/x-protobuf', ...(headers as object) },
    });
    sent.on('error', () => {});
    if (body === 'never') sent.write('x');
    else sent.end(body);
    const [response] = (await once(sent, 'response')) as [http.IncomingMessage];
    response.resume();
    await once(response, 'close');
    sent.destroy();
    return `${response.statusCode}${response.headers['retry-after'] === '1' ? ' again' : ''}`;
  };
  await failEach(fuse, ask, expected, '503 again', () => intake.inFlightByteLength);
});

test.each<[string, Setting, Uint8Array, Readonly<Record<string, string>>, string]>([
  ['a good request', {}, framed(GOOD), {}, '0'],
  ['one that is compressed', {}, framed(gzipSync(GOOD), true), { 'grpc-encoding': 'gzip' }, '0'],
  ['one that the filter leaves out', { filter: 'governed' }, framed(GOOD), {}, '0'],
  ['no OTLP', {}, framed(BAD), {}, '3'],
  ['no gzip', {}, framed(GOOD, true), { 'grpc-encoding': 'gzip' }, '3'],
  ['no message', {}, Buffer.alloc(0), {}, '3'],
  ['two messages', {}, Buffer.concat([framed(GOOD), framed(GOOD)]), {}, '3'],
  ['what the sealer refuses', { outcome: lost('otlp.wire-type') }, framed(GOOD), {}, '3'],
  ['too large', SMALL, framed(LARGE), {}, '8'],
  ['a bomb', SMALL, framed(BOMB, true), { 'grpc-encoding': 'gzip' }, '8'],
  ['nobody known', { clients: CLIENTS }, framed(GOOD), {}, '16'],
  ['another compression', {}, framed(GOOD, true), { 'grpc-encoding': 'snappy' }, '14 again'],
  ['a gateway that ends', { closedBecause: 'ending' }, framed(GOOD), {}, '14 again'],
  ['a disk that is full', { outcome: lost() }, framed(GOOD), {}, '14 again'],
  ['a disk that hangs', { outcome: never, sealDelayMsMax: 5 }, framed(GOOD), {}, '14 again'],
  [
    'one that never arrives whole',
    { readDelayMsMax: 20 },
    framed(GOOD, false, 1000),
    {},
    '14 again',
  ],
])('gRPC, %s: as it was, or come again', async (_name, setting, bytes, headers, expected) => {
  const { settings, intake, fuse, fusedIntake } = setUp(setting);
  const listening = await openGrpc({
    listener: LISTENER,
    settings,
    tls: undefined,
    intake: fusedIntake,
    isReady: () => true,
  });
  cleanUps.push(() => listening.drain(0));
  const session = await openSession(listening.port);
  cleanUps.push(() => session.destroy());
  const isWhole = setting.readDelayMsMax === undefined;
  const ask = async (): Promise<string> => {
    const { code, retrySeconds } = await rawGrpcCall(session, bytes, headers, isWhole);
    return `${code}${retrySeconds === 1 ? ' again' : ''}`;
  };
  // Bytes of a seal that hangs stay in memory, and so in the count.
  const inFlight = () => (setting.outcome === never ? 0 : intake.inFlightByteLength);
  await failEach(fuse, ask, expected, '14 again', inFlight);
});

test.each(['/healthz', '/readyz', '/metrics'])('%s: 503 where nobody can tell', async (path) => {
  const { settings } = setUp({});
  const fuse = new Fuse();
  const told = {
    isAlive: () => true,
    closedBecause: () => undefined,
    metrics: async () => 'up 1\n',
  };
  const listening = await openHttp({
    name: 'admin',
    listener: LISTENER,
    settings,
    tls: undefined,
    intake: undefined,
    probes: fused(told, 'probes', fuse),
  });
  cleanUps.push(() => listening.drain(0));
  const ask = async (): Promise<string> =>
    String((await fetch(`http://127.0.0.1:${listening.port}${path}`)).status);
  await failEach(fuse, ask, '200', '503', () => 0);
});

function type(mediaType: string): http.RequestOptions {
  return { headers: { 'content-type': mediaType } };
}
function encoded(encoding: string): http.RequestOptions {
  return { headers: { 'content-encoding': encoding } };
}
function length(byteLength: number): http.RequestOptions {
  return { headers: { 'content-length': byteLength } };
}
function chunked(): http.RequestOptions {
  return { headers: { 'transfer-encoding': 'chunked' } };
}
