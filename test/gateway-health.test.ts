// SPDX-License-Identifier: Apache-2.0
// Goal: whoever asks or watches is told whether requests are taken, and of each change once. Method: the gateway's own
// listener, the real grpc-js client, and a state that the test turns.
import { on } from 'node:events';
import { Client, credentials } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { openGrpc } from '../exporter/node/gateway/gateway-grpc.ts';
import { openTestIntake } from './support/gateway.ts';

const CHECK = '/grpc.health.v1.Health/Check';
const WATCH = '/grpc.health.v1.Health/Watch';
const [UNKNOWN_YET, SERVING, NOT_SERVING] = [Buffer.of(8, 3), Buffer.of(8, 1), Buffer.of(8, 2)];
const WHOLE_SERVER = Buffer.alloc(0);
const named = (name: string): Buffer =>
  Buffer.concat([Buffer.of(0x0a, name.length), Buffer.from(name)]);
const TRACES = named('opentelemetry.proto.collector.trace.v1.TraceService');

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function setUp(isReady: () => boolean = () => true) {
  const listener = { listen: '127.0.0.1:0' };
  const { settings, intake } = openTestIntake({ grpc: listener });
  const listening = await openGrpc({ listener, settings, tls: undefined, intake, isReady });
  cleanUps.push(() => listening.drain(0));
  const client = new Client(`127.0.0.1:${listening.port}`, credentials.createInsecure());
  cleanUps.push(() => client.close());
  return { listening, client };
}

const same = (bytes: Buffer): Buffer => bytes;

function check(client: Client, request: Buffer): Promise<Buffer | number> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(CHECK, same, same, request, (error, answer) =>
      resolve(error === null ? answer! : error.code),
    );
  });
}

function watch(client: Client, request: Buffer) {
  const stream = client.makeServerStreamRequest(WATCH, same, same, request);
  // How it ended is in its status; without this a cancelled stream would be an error of the test.
  stream.on('error', () => {});
  const answers = on(stream, 'data');
  return {
    stream,
    status: new Promise<number>((resolve) => stream.on('status', ({ code }) => resolve(code))),
    next: async (): Promise<Buffer> => (await answers.next()).value?.[0],
  };
}

describe('Check', () => {
  const broken = (): never => {
    throw new Error('broken');
  };
  test.each<[string, Buffer, () => boolean, Buffer | number]>([
    ['the server', WHOLE_SERVER, () => true, SERVING],
    ['the server, not ready', WHOLE_SERVER, () => false, NOT_SERVING],
    ['the server, when nobody can tell', WHOLE_SERVER, broken, NOT_SERVING],
    ['a service', TRACES, () => true, SERVING],
    ['another service', named('x'), () => true, 5],
    ['no request', Buffer.of(0xff), () => true, 3],
  ])('of %s', async (_name, request, isReady, answer) => {
    const { client } = await setUp(isReady);
    expect(await check(client, request)).toEqual(answer);
  });
});

describe('Watch', () => {
  test('tells the state, and each change once', async () => {
    let isReady = true;
    const { client } = await setUp(() => isReady);
    const watched = [watch(client, WHOLE_SERVER), watch(client, TRACES)];
    const next = () => Promise.all(watched.map((one) => one.next()));
    expect(await next()).toEqual([SERVING, SERVING]);
    isReady = false;
    expect(await next()).toEqual([NOT_SERVING, NOT_SERVING]);
    isReady = true;
    expect(await next()).toEqual([SERVING, SERVING]);
  });

  test('of another service: not known yet, and the stream stays open', async () => {
    const { client, listening } = await setUp();
    const { next, status } = watch(client, named('x'));
    expect(await next()).toEqual(UNKNOWN_YET);
    const [known] = [watch(client, TRACES)];
    expect(await known.next()).toEqual(SERVING);
    await listening.drain(10_000);
    expect(await status).toBe(0);
  });

  test('of no request is refused', async () => {
    const { client } = await setUp();
    expect(await watch(client, Buffer.of(0xff)).status).toBe(3);
  });

  test('the end: told, the stream ended, and nobody waits for it', async () => {
    const { client, listening } = await setUp();
    const { next, status } = watch(client, WHOLE_SERVER);
    expect(await next()).toEqual(SERVING);
    const isOver = listening.drain(60_000);
    expect(await next()).toEqual(NOT_SERVING);
    expect(await status).toBe(0);
    await isOver;
  });

  test('who goes away is forgotten, and the others are told', async () => {
    let isReady = true;
    const { client } = await setUp(() => isReady);
    const gone = watch(client, WHOLE_SERVER);
    const stays = watch(client, WHOLE_SERVER);
    expect([await gone.next(), await stays.next()]).toEqual([SERVING, SERVING]);
    gone.stream.cancel();
    expect(await gone.status).toBe(1);
    isReady = false;
    expect(await stays.next()).toEqual(NOT_SERVING);
  });
});
