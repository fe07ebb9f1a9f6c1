// SPDX-License-Identifier: Apache-2.0
// Goal: the backend gets every record of the log, in order and at least once, through outages and refusals, and what it
// will never take is named and keeps nothing else back. Method: a log in memory, a real client, a real receiver whose
// answers are scripted; the judge is what the receiver took, decoded by protobufjs.
import { createHash } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import {
  type Forwarder,
  type ForwarderConfig,
  type ForwardReport,
  openForwarder,
} from '../exporter/node/forward/forward.ts';
import { type OtlpClient, openOtlpClient } from '../exporter/node/otlp/otlp-client.ts';
import type { StoredRecord } from '../exporter/node/storage/record.ts';
import {
  type Answer,
  decodeOtlp,
  encodeOtlp,
  type OtlpBackend,
  openOtlpBackend,
  type ReceivedRequest,
} from './support/otlp-backend.ts';

const ORIGIN = 'example.org/audit/a';
const LONG_MS = 30_000;
const UNAVAILABLE = { grpc: 14 };
const INVALID = { grpc: 3, message: 'bad id' };

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const resource of open.splice(0).reverse()) await resource.close();
});

function leafOf(entry: Uint8Array): Buffer {
  return createHash('sha256').update(Uint8Array.of(0)).update(entry).digest();
}

function spanEntry(name: string, more: Record<string, unknown> = {}): Uint8Array {
  const span = { name, flags: 1, ...more };
  return encodeOtlp('TracesData', { resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] });
}

function logEntry(text: string): Uint8Array {
  const logRecord = { body: { stringValue: text } };
  return encodeOtlp('LogsData', { resourceLogs: [{ scopeLogs: [{ logRecords: [logRecord] }] }] });
}

/** A log in memory, and what a forwarder of it saves and reports. */
class World {
  readonly records: StoredRecord[] = [];
  readonly reports: ForwardReport[] = [];
  readonly saves: number[] = [];
  readonly backend: OtlpBackend;
  readonly client: OtlpClient;

  constructor(backend: OtlpBackend, client: OtlpClient) {
    this.backend = backend;
    this.client = client;
  }

  static async open(protocol: 'grpc' | 'http/protobuf' = 'grpc'): Promise<World> {
    const backend = await openOtlpBackend();
    const endpoint = protocol === 'grpc' ? backend.grpcEndpoint : backend.httpEndpoint;
    const client = openOtlpClient({ protocol, endpoint });
    open.push(backend, client);
    return new World(backend, client);
  }

  append(entries: readonly Uint8Array[], more: Partial<StoredRecord> = {}): void {
    this.records.push({
      index: this.records.length,
      kind: 'traces',
      source: 'in-process',
      entries,
      leaves: entries.map(leafOf),
      ...more,
    });
  }

  /** Records of one span each, named s0, s1 … by record. */
  appendSpans(count: number): void {
    for (let at = 0; at < count; at++) this.append([spanEntry(`s${this.records.length}`)]);
  }

  forwarder(more: Partial<ForwarderConfig> = {}): Forwarder {
    const { records } = this;
    const forwarder = openForwarder({
      readRecords: async function* (fromIndex) {
        for (let at = fromIndex; at < records.length; at++) yield records[at]!;
      },
      client: this.client,
      cursor: {
        load: () => this.saves.at(-1) ?? 0,
        save: (next) => {
          this.saves.push(next);
        },
      },
      origin: ORIGIN,
      onReport: (report) => {
        this.reports.push(report);
      },
      retryDelays: { initialMs: 1, maxMs: 5 },
      ...more,
    });
    open.push(forwarder);
    return forwarder;
  }

  /** Names of the spans that the backend took, in order. */
  taken(): string[] {
    return this.backend.spans().map(({ name }) => name);
  }
}

function names(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, at) => `s${from + at}`);
}

/** Refuses the requests that hold a span of one of these names. */
function refusing(bad: readonly string[], answer: Answer): (request: ReceivedRequest) => Answer {
  return ({ bytes }) =>
    bad.some((name) => bytes.includes(`\x2a${String.fromCharCode(name.length)}${name}`))
      ? answer
      : 'ok';
}

async function untilState(forwarder: Forwarder, state: string): Promise<void> {
  while (forwarder.status().state !== state) await new Promise(setImmediate);
}

describe.each(['grpc', 'http/protobuf'] as const)('over %s', (protocol) => {
  test('forwards all records in order, joined, with their references; control records stay', async () => {
    const world = await World.open(protocol);
    const entries = [spanEntry('a'), spanEntry('b', { flags: 0 }), spanEntry('c')];
    world.append([], { kind: 'control' });
    world.append(entries);
    world.append([], { kind: 'control' });
    world.append([spanEntry('d', { flags: 0 })], { source: 'collector' });
    const forwarder = world.forwarder();

    expect(await forwarder.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
    const reference = (
      record: number,
      entry: number,
      bytes: Uint8Array,
    ): Record<string, string> => ({
      'aigov.audit.ref': `${ORIGIN}#${record}/${entry}`,
      'aigov.audit.leaf': leafOf(bytes).toString('base64'),
    });
    expect(world.backend.spans().map(({ name, attributes }) => ({ name, attributes }))).toEqual([
      { name: 'a', attributes: reference(1, 0, entries[0]!) },
      { name: 'c', attributes: reference(1, 2, entries[2]!) },
      { name: 'd', attributes: reference(3, 0, spanEntry('d', { flags: 0 })) },
    ]);
    expect(world.backend.requests.length).toBe(1);
    expect(forwarder.status()).toEqual({
      state: 'idle',
      next: 4,
      behindBy: 0,
      forwardedCount: 3,
      rejectedCount: 0,
      unsampledCount: 1,
      failureCount: 0,
      cause: undefined,
    });
    expect([world.saves, world.reports]).toEqual([[4], []]);
  });
});

test('goes on when it is told of more', async () => {
  const world = await World.open();
  const forwarder = world.forwarder();
  for (let round = 1; round <= 5; round++) {
    world.appendSpans(2);
    forwarder.notify(world.records.length - 1);
    await world.backend.until(() => world.taken().length === 2 * round);
  }
  expect(world.taken()).toEqual(names(0, 10));
});

test('a record that became durable before a flush is forwarded by it', async () => {
  const world = await World.open();
  world.appendSpans(1);
  const forwarder = world.forwarder();
  await world.backend.until(({ requests }) => requests.length === 1);
  world.appendSpans(1);
  expect(await forwarder.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
  expect(world.taken()).toEqual(names(0, 2));
});

describe('gathering', () => {
  const FOREVER_MS = 1e9;

  test('records that come one by one go in one request, once a flush asks for them', async () => {
    const world = await World.open();
    const forwarder = world.forwarder({ gatherMs: FOREVER_MS });
    await untilState(forwarder, 'idle');
    for (let count = 1; count <= 5; count++) {
      world.appendSpans(1);
      forwarder.notify(world.records.length - 1);
      await new Promise(setImmediate);
    }
    expect(world.backend.requests).toEqual([]);
    expect(await forwarder.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
    expect(await forwarder.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
    expect(world.backend.requests).toHaveLength(1);
    expect(world.taken()).toEqual(names(0, 5));
    expect(world.saves).toEqual([5]);
  });

  test('ends by itself', async () => {
    const world = await World.open();
    const forwarder = world.forwarder({ gatherMs: 1 });
    await untilState(forwarder, 'idle');
    world.appendSpans(1);
    forwarder.notify(0);
    await world.backend.until(({ requests }) => requests.length === 1);
  });

  test('ends where what waits fills a request', async () => {
    const world = await World.open();
    let waitingByteLength = 0;
    const forwarder = world.forwarder({
      gatherMs: FOREVER_MS,
      waitingByteLength: () => waitingByteLength,
    });
    await untilState(forwarder, 'idle');
    for (const byteLength of [1024 * 1024 - 1, 1024 * 1024]) {
      world.appendSpans(1);
      waitingByteLength = byteLength;
      forwarder.notify(world.records.length - 1);
      await new Promise(setImmediate);
    }
    await world.backend.until(() => world.taken().length === 2);
    expect(world.backend.requests).toHaveLength(1);
  });

  test('does not keep a forwarder from being closed', async () => {
    const world = await World.open();
    const forwarder = world.forwarder({ gatherMs: FOREVER_MS });
    await untilState(forwarder, 'idle');
    world.appendSpans(1);
    forwarder.notify(0);
    await new Promise(setImmediate);
    await forwarder.close();
    expect([world.taken(), world.saves]).toEqual([[], []]);
  });
});

test('traces and logs go in requests of their own, in the order of the log', async () => {
  const world = await World.open();
  world.appendSpans(2);
  world.append([logEntry('l2'), logEntry('l3')], { kind: 'logs' });
  world.append([logEntry('l4')], { kind: 'logs' });
  world.append([spanEntry('s4')]);
  await world.forwarder().flush(LONG_MS);
  expect(world.backend.requests.map(({ kind }) => kind)).toEqual(['traces', 'logs', 'traces']);
  expect(world.taken()).toEqual(['s0', 's1', 's4']);
  expect(decodeOtlp('LogsData', world.backend.requests[1]!.bytes).resourceLogs).toHaveLength(3);
});

describe('while the backend is away', () => {
  test('the same request is sent until it is taken; nothing overtakes it', async () => {
    const world = await World.open();
    world.appendSpans(3);
    world.backend.answer = (_, index) => (index < 4 ? UNAVAILABLE : 'ok');
    const forwarder = world.forwarder();
    await world.backend.until(({ requests }) => requests.length === 2);
    world.appendSpans(1);
    forwarder.notify(3);
    expect(await forwarder.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
    const [first, ...others] = world.backend.requests.map(({ bytes }) => bytes.toString('hex'));
    expect(others.slice(0, 4)).toEqual(Array(4).fill(first));
    expect(world.taken()).toEqual(names(0, 4));
    // Told once, and not with each try.
    expect(world.reports).toEqual([
      { code: 'down', firstRecord: 0, lastRecord: 2, rejected: 0, cause: 'UNAVAILABLE' },
    ]);
  });

  test('a flush ends in time and says how far behind', async () => {
    const world = await World.open();
    world.appendSpans(3);
    world.backend.answer = () => ({ grpc: 14, message: 'away' });
    const forwarder = world.forwarder();
    await untilState(forwarder, 'waiting');
    expect(await forwarder.flush(1)).toEqual({ status: 'pending', behindBy: 3 });
    expect(forwarder.status()).toMatchObject({ next: 0, cause: 'UNAVAILABLE: away' });
    world.backend.answer = () => 'ok';
    expect(await forwarder.flush(Number.POSITIVE_INFINITY)).toEqual({ status: 'ok', behindBy: 0 });
    expect(forwarder.status()).toMatchObject({ failureCount: 0, cause: undefined });
  });

  test('a flush waits less for one that never answered, and not for that reason for one that has', async () => {
    const world = await World.open();
    world.appendSpans(1);
    world.backend.answer = () => UNAVAILABLE;
    const forwarder = world.forwarder();
    await untilState(forwarder, 'waiting');
    expect(await forwarder.flush(Number.POSITIVE_INFINITY, 1)).toEqual({
      status: 'pending',
      behindBy: 1,
    });
    world.backend.answer = () => 'ok';
    expect(await forwarder.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
    world.appendSpans(1);
    const { length } = world.backend.requests;
    world.backend.answer = (_, index) => (index < length + 3 ? UNAVAILABLE : 'ok');
    forwarder.notify(1);
    expect(await forwarder.flush(LONG_MS, 0)).toEqual({ status: 'ok', behindBy: 0 });
    expect(world.reports.map(({ code }) => code)).toEqual(['down']);
  });

  test('a delay that it asks for is kept to', async () => {
    const world = await World.open();
    world.appendSpans(1);
    world.backend.answer = () => ({ grpc: 8, retryAfterMs: 300_000 });
    const forwarder = world.forwarder();
    await untilState(forwarder, 'waiting');
    expect(await forwarder.flush(100)).toEqual({ status: 'pending', behindBy: 1 });
    expect(world.backend.requests.length).toBe(1);
  });

  test('its process may go and come back', async () => {
    const first = await openOtlpBackend();
    const client = openOtlpClient({ protocol: 'grpc', endpoint: first.grpcEndpoint });
    const world = new World(first, client);
    open.push(client);
    world.appendSpans(2);
    const forwarder = world.forwarder();
    await forwarder.flush(LONG_MS);
    await first.close();
    world.appendSpans(2);
    forwarder.notify(3);
    await untilState(forwarder, 'waiting');
    const second = await openOtlpBackend({ grpcPort: first.grpcPort });
    open.push(second);
    expect(await forwarder.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
    expect(second.spans().map(({ name }) => name)).toEqual(names(2, 4));
  });

  test('a client that throws in spite of its contract is taken for away', async () => {
    const world = await World.open();
    world.appendSpans(1);
    let throws = 2;
    const send: OtlpClient['send'] = (...request) => {
      if (throws-- > 0) throw new Error('out of order');
      return world.client.send(...request);
    };
    await world.forwarder({ client: { send } }).flush(LONG_MS);
    expect(world.taken()).toEqual(names(0, 1));
  });
});

describe('what is refused', () => {
  test.each([[[0]], [[6]], [[3, 4]], [[0, 1, 2, 3, 4, 5, 6]]])(
    'of seven records %j: reported and passed by',
    async (bad) => {
      const world = await World.open();
      world.appendSpans(7);
      world.backend.answer = refusing(
        bad.map((index) => `s${index}`),
        INVALID,
      );
      const forwarder = world.forwarder();
      expect(await forwarder.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
      expect(world.taken()).toEqual(names(0, 7).filter((_, index) => !bad.includes(index)));
      expect(world.reports).toEqual(
        bad.map((index) => ({
          code: 'refused',
          firstRecord: index,
          lastRecord: index,
          rejected: 1,
          cause: 'INVALID_ARGUMENT: bad id',
        })),
      );
      expect(forwarder.status()).toMatchObject({
        next: 7,
        forwardedCount: 7 - bad.length,
        rejectedCount: bad.length,
      });
    },
  );

  test('in part: reported, and never sent again', async () => {
    const world = await World.open();
    world.appendSpans(5);
    world.backend.answer = () => ({ partial: { rejected: 2, message: 'too old' } });
    const forwarder = world.forwarder();
    await forwarder.flush(LONG_MS);
    expect(world.backend.requests.length).toBe(1);
    expect(world.reports).toEqual([
      { code: 'partial', firstRecord: 0, lastRecord: 4, rejected: 2, cause: 'too old' },
    ]);
    expect(forwarder.status()).toMatchObject({ next: 5, forwardedCount: 3, rejectedCount: 2 });
  });

  test('for a reason that any request would be: held, nothing is passed by', async () => {
    const world = await World.open('http/protobuf');
    world.appendSpans(7);
    world.backend.answer = (_, index) => (index < 20 ? { http: 401 } : 'ok');
    const forwarder = world.forwarder();
    expect(await forwarder.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
    expect(world.taken()).toEqual(names(0, 7));
    expect(world.reports).toEqual([
      { code: 'held', firstRecord: 0, lastRecord: 6, rejected: 0, cause: 'HTTP 401' },
    ]);
  });

  test('for what is in it, by a code that says otherwise: passed by', async () => {
    const world = await World.open('http/protobuf');
    world.appendSpans(7);
    world.backend.answer = refusing(['s3'], { http: 403 });
    await world.forwarder().flush(LONG_MS);
    expect(world.taken()).toEqual(names(0, 7).filter((name) => name !== 's3'));
    expect(world.reports).toEqual([
      { code: 'refused', firstRecord: 3, lastRecord: 3, rejected: 1, cause: 'HTTP 403' },
    ]);
  });

  test('by nobody, because it is no OTLP: left out and reported', async () => {
    const world = await World.open();
    world.append([spanEntry('s0'), Uint8Array.of(0x0a, 0x7f)]);
    const forwarder = world.forwarder();
    await forwarder.flush(LONG_MS);
    expect(world.taken()).toEqual(['s0']);
    expect(world.reports).toEqual([
      { code: 'unreadable', firstRecord: 0, lastRecord: 0, rejected: 1, cause: 'not OTLP' },
    ]);
    expect(forwarder.status()).toMatchObject({ forwardedCount: 1, rejectedCount: 1 });
  });
});

describe('large records', () => {
  const large = (name: string, byteLength: number): Uint8Array =>
    spanEntry(name, { attributes: [{ key: 'k', value: { stringValue: 'x'.repeat(byteLength) } }] });

  test('requests stay near 1 MiB, and a record beyond it goes in pieces', async () => {
    const world = await World.open();
    for (let at = 0; at < 5; at++) world.append([large(`s${at}`, 400_000)]);
    world.append(Array.from({ length: 6 }, (_, at) => large(`s${5 + at}`, 300_000)));
    world.append([large('s11', 3_000_000)]);
    world.append([spanEntry('s12')]);
    await world.forwarder().flush(LONG_MS);
    expect(world.taken()).toEqual(names(0, 13));
    expect(world.backend.requests.map(({ bytes }) => Math.round(bytes.length / 100_000))).toEqual([
      8, 8, 4, 9, 9, 30, 0,
    ]);
  });

  test('the cursor passes a record with its last piece only', async () => {
    const world = await World.open();
    world.appendSpans(1);
    world.append(Array.from({ length: 6 }, (_, at) => large(`s${1 + at}`, 300_000)));
    world.backend.answer = (_, index) => (index < 1 ? 'ok' : 'hang');
    const forwarder = world.forwarder();
    await world.backend.until(({ requests }) => requests.length === 2);
    expect(forwarder.status()).toMatchObject({ next: 1, forwardedCount: 4 });
    await forwarder.close();
    expect(world.saves).toEqual([1]);

    world.backend.answer = () => 'ok';
    await world.forwarder().flush(LONG_MS);
    expect(world.taken()).toEqual([...names(0, 4), ...names(1, 7)]);
  });

  test('many small items fill a request by their number', async () => {
    const world = await World.open();
    for (let at = 0; at < 3; at++) world.append(Array.from({ length: 3000 }, () => spanEntry('s')));
    world.append(Array.from({ length: 5000 }, () => spanEntry('s')));
    await world.forwarder().flush(LONG_MS);
    const counts = world.backend.requests.map(
      ({ bytes }) => (decodeOtlp('TracesData', bytes).resourceSpans as unknown[]).length,
    );
    expect(counts).toEqual([3000, 3000, 3000, 4096, 904]);
  });
});

describe('the cursor', () => {
  test('is where the next start begins', async () => {
    const world = await World.open();
    world.appendSpans(3);
    const first = world.forwarder();
    await first.flush(LONG_MS);
    await first.close();
    world.appendSpans(2);
    await world.forwarder().flush(LONG_MS);
    expect(world.taken()).toEqual(names(0, 5));
    expect(world.saves).toEqual([3, 5]);
  });

  test('lost in a crash: records arrive twice, none is missing', async () => {
    const world = await World.open();
    world.appendSpans(3);
    await world.forwarder({ cursor: { load: () => 0, save: () => {} } }).flush(LONG_MS);
    await world.forwarder({ cursor: { load: () => 1, save: () => {} } }).flush(LONG_MS);
    expect(world.taken()).toEqual([...names(0, 3), ...names(1, 3)]);
  });

  test('is saved on the way through a backlog', async () => {
    const world = await World.open();
    const big = [{ key: 'k', value: { stringValue: 'x'.repeat(700_000) } }];
    for (let at = 0; at < 20; at++) world.append([spanEntry(`s${at}`, { attributes: big })]);
    await world.forwarder().flush(LONG_MS);
    expect(world.saves).toEqual([16, 20]);
  });

  test('that can not be saved is reported, and stops nothing', async () => {
    const world = await World.open();
    world.appendSpans(2);
    const save = (): void => {
      throw new Error('disk full');
    };
    expect(await world.forwarder({ cursor: { load: () => 0, save } }).flush(LONG_MS)).toEqual({
      status: 'ok',
      behindBy: 0,
    });
    expect(world.reports).toEqual([
      { code: 'cursor', firstRecord: 2, lastRecord: 2, rejected: 0, cause: 'disk full' },
    ]);
  });

  test('beyond the log is of another log: reported, and begun again', async () => {
    const world = await World.open();
    world.appendSpans(2);
    world.saves.push(900);
    const forwarder = world.forwarder();
    forwarder.notify(1);
    await forwarder.flush(LONG_MS);
    expect(world.taken()).toEqual(names(0, 2));
    expect(world.reports).toEqual([
      {
        code: 'cursor',
        firstRecord: 900,
        lastRecord: 900,
        rejected: 0,
        cause: 'the cursor is beyond the log, which ends at 1',
      },
    ]);
  });

  test('just behind the head is not', async () => {
    const world = await World.open();
    world.appendSpans(2);
    world.saves.push(2);
    const forwarder = world.forwarder();
    forwarder.notify(1);
    await forwarder.flush(LONG_MS);
    expect([world.taken(), world.reports]).toEqual([[], []]);
  });

  test.each([-1, 0.5, Number.NaN])('of %d is 0', async (next) => {
    const world = await World.open();
    world.appendSpans(1);
    await world.forwarder({ cursor: { load: () => next, save: () => {} } }).flush(LONG_MS);
    expect(world.taken()).toEqual(names(0, 1));
  });
});

test('a log that can not be read: what was read before is sent, the rest once it can be', async () => {
  const world = await World.open();
  world.appendSpans(4);
  let isDamaged = true;
  const forwarder = world.forwarder({
    readRecords: async function* (fromIndex) {
      for (let at = fromIndex; at < world.records.length; at++) {
        if (isDamaged && at === 2) throw new Error('segment: frame 2 is damaged');
        yield world.records[at]!;
      }
    },
  });
  await untilState(forwarder, 'waiting');
  expect(world.taken()).toEqual(names(0, 2));
  expect(world.reports).toEqual([
    {
      code: 'log',
      firstRecord: 2,
      lastRecord: 2,
      rejected: 0,
      cause: 'segment: frame 2 is damaged',
    },
  ]);
  isDamaged = false;
  expect(await forwarder.flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
  expect(world.taken()).toEqual(names(0, 4));
});

test('a listener that throws stops nothing', async () => {
  const world = await World.open();
  world.appendSpans(3);
  world.backend.answer = refusing(['s1'], INVALID);
  const onReport = (): void => {
    throw new Error('a broken listener');
  };
  expect(await world.forwarder({ onReport }).flush(LONG_MS)).toEqual({ status: 'ok', behindBy: 0 });
  expect(world.taken()).toEqual(['s0', 's2']);
});

describe('closing', () => {
  test('gives up on the request under way; it is sent again at the next start', async () => {
    const world = await World.open();
    world.appendSpans(2);
    world.backend.answer = () => 'hang';
    const forwarder = world.forwarder();
    await world.backend.until(({ requests }) => requests.length === 1);
    const flushed = forwarder.flush(LONG_MS);
    await forwarder.close();
    expect(await flushed).toEqual({ status: 'pending', behindBy: 2 });
    expect(await forwarder.flush(LONG_MS)).toEqual({ status: 'pending', behindBy: 2 });
    expect(forwarder.status()).toMatchObject({ state: 'closed', next: 0 });
    world.backend.answer = () => 'ok';
    await world.forwarder().flush(LONG_MS);
    expect(world.taken()).toEqual(names(0, 2));
  });

  test('ends the longest wait', async () => {
    const world = await World.open();
    world.appendSpans(1);
    world.backend.answer = () => ({ grpc: 14, retryAfterMs: 600_000 });
    const forwarder = world.forwarder();
    await untilState(forwarder, 'waiting');
    await forwarder.close();
    expect(world.backend.requests.length).toBe(1);
  });
});
