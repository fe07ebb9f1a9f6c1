// SPDX-License-Identifier: Apache-2.0
// Goal: whatever happens, a request has one of three answers, "never" only for what can never be accepted, and all bytes
// are given back. Method: each of our own parts made to fail in turn, bodies that lie about themselves, and a sealer that
// answers when the test says so.
import { randomBytes } from 'node:crypto';
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { encodeControl } from '../exporter/log/control.ts';
import { REQUEST_ENTRY_COUNT_MAX } from '../exporter/log/limits.ts';
import type { SealOutcome } from '../exporter/node/capture/pending.ts';
import {
  type ContentPolicy,
  createContentPolicy,
} from '../exporter/node/gateway/content-policy.ts';
import type { Clients } from '../exporter/node/gateway/gateway-clients.ts';
import {
  type Answer,
  Arrival,
  Budget,
  ENCODINGS,
  Intake,
  type IntakeOptions,
  type Refusal,
  type WholeRequest,
} from '../exporter/node/gateway/gateway-intake.ts';
import type { GatewayMetrics } from '../exporter/node/gateway/gateway-metrics.ts';
import { sha256 } from '../exporter/node/system/keys.ts';
import { decodeOtlp, encodeOtlp } from './support/otlp-backend.ts';

const SEALED: SealOutcome = { status: 'sealed', origin: 'a', recordIndex: 1, firstEntry: 0 };
const KEEP: ContentPolicy = createContentPolicy({ content: 'keep', attributes: {} }, undefined);
const NOBODY: Clients = {
  identify: (_authorization, _certificate, kind) => ({
    status: 'known',
    sender: { kind, principal: undefined },
  }),
};
const MESSAGE_MAX = 100_000;
const BUDGET = 305_000;
const SETTINGS = {
  filter: 'all',
  messageByteLengthMax: MESSAGE_MAX,
  inFlightByteLengthMax: BUDGET,
  sealDelayMsMax: 60_000,
} as const;

interface Sealed {
  readonly bytes: Uint8Array;
  readonly policy: string;
  readonly itemCount: number;
}

function setUp(overrides: Partial<IntakeOptions> = {}) {
  const sealed: Sealed[] = [];
  const refusals: Refusal[] = [];
  const numbers: string[] = [];
  const note =
    (name: string) =>
    (...values: unknown[]) => {
      numbers.push(`${name} ${values.slice(0, 2).join(' ')}`);
    };
  const metrics: GatewayMetrics = {
    received: note('received'),
    sealed: note('sealed'),
    skipped: note('skipped'),
    refused: note('refused'),
    deferred: note('deferred'),
    text: async () => '',
    close: () => {},
  };
  const intake = new Intake({
    settings: SETTINGS,
    clients: NOBODY,
    policy: KEEP,
    closedBecause: () => undefined,
    onRefusal: (refusal) => refusals.push(refusal),
    metrics,
    seal: async (bytes, _kind, source, itemCount) => {
      sealed.push({ bytes, policy: source.policy, itemCount });
      return SEALED;
    },
    ...overrides,
  });
  const send = async (body: Uint8Array, more: Partial<WholeRequest> = {}): Promise<Answer> => {
    const arrival = intake.admit(undefined, undefined, 'direct');
    if (!(arrival instanceof Arrival)) return arrival;
    if (!arrival.take(body.length)) {
      arrival.release();
      return intake.full();
    }
    const request = { kind: 'traces', format: 'protobuf', encoding: 'identity', body } as const;
    return intake.accept(arrival, { ...request, ...more });
  };
  return { intake, send, sealed, refusals, numbers };
}

/** What an item counts beside its bytes. */
const ITEM = 512;
const traces = (...names: readonly string[]): Uint8Array =>
  encodeOtlp('TracesData', {
    resourceSpans: [{ scopeSpans: [{ spans: names.map((name) => ({ name })) }] }],
  });
const GOOD = traces('chat');
const later = (cause: string) => expect.objectContaining({ status: 'later', cause });
const never = (reason: string) => expect.objectContaining({ status: 'never', reason });

describe('what arrives whole', () => {
  test('is sealed as it came', async () => {
    const { send, sealed, numbers, intake } = setUp();
    expect(await send(GOOD)).toEqual({ status: 'sealed' });
    expect(sealed).toEqual([{ bytes: new Uint8Array(GOOD), policy: 'verbatim', itemCount: 1 }]);
    expect(numbers).toEqual(['received traces 1', 'sealed traces 1']);
    expect(intake.inFlightByteLength).toBe(0);
  });

  test.each(ENCODINGS)('is the same when compressed by %s', async (encoding) => {
    const compress =
      encoding === 'zstd' ? zstdCompressSync : /gzip/.test(encoding) ? gzipSync : deflateSync;
    const { send, sealed, intake } = setUp();
    expect(await send(compress(GOOD), { encoding })).toEqual({ status: 'sealed' });
    expect(Buffer.from(sealed[0]!.bytes)).toEqual(Buffer.from(GOOD));
    expect(intake.inFlightByteLength).toBe(0);
  });

  const SKIPPABLE = Buffer.from('502a4d180400000073616c74', 'hex');
  test.each<[string, string, readonly Uint8Array[]]>([
    ['two members of gzip', 'gzip', [gzipSync(traces('a')), gzipSync(traces('b'))]],
    ['two frames of zstd', 'zstd', [zstdCompressSync(traces('a')), zstdCompressSync(traces('b'))]],
    [
      'zstd that begins with an empty frame and one to skip',
      'zstd',
      [zstdCompressSync(''), SKIPPABLE, zstdCompressSync(traces('a', 'b')), SKIPPABLE],
    ],
  ])('is all of it: %s', async (_name, encoding, parts) => {
    const { send, sealed } = setUp();
    expect(await send(Buffer.concat(parts), { encoding })).toEqual({ status: 'sealed' });
    expect(sealed.map(({ itemCount }) => itemCount)).toEqual([2]);
  });

  test('as JSON is not called verbatim', async () => {
    const { send, sealed } = setUp();
    const body = Buffer.from('{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"chat"}]}]}]}');
    expect(await send(body, { format: 'json' })).toEqual({ status: 'sealed' });
    expect(sealed[0]!.policy).toBe('otlp-json/1');
    expect(decodeOtlp('TracesData', sealed[0]!.bytes)).toEqual(decodeOtlp('TracesData', GOOD));
    const dropping = createContentPolicy({ content: 'drop', attributes: {} }, undefined);
    const other = setUp({ policy: dropping });
    await other.send(body, { format: 'json' });
    expect(other.sealed[0]!.policy).toBe(`${dropping.id}/otlp-json/1`);
  });

  test('goes to the sealer in a buffer of its own, which may be taken away', async () => {
    const { send, sealed } = setUp();
    const pooled = Buffer.concat([Buffer.from(GOOD)]);
    await send(pooled);
    const { buffer, byteLength } = sealed[0]!.bytes;
    expect(buffer.byteLength).toBe(byteLength);
    expect(buffer).not.toBe(pooled.buffer);
  });

  test('is not copied where the buffer is its own already', async () => {
    const { send, sealed } = setUp();
    const body = new Uint8Array(GOOD);
    await send(body);
    expect(sealed[0]!.bytes).toBe(body);
  });

  test.each<[string, Uint8Array, Partial<WholeRequest>]>([
    ['no bytes', new Uint8Array(), {}],
    ['no spans', encodeOtlp('TracesData', { resourceSpans: [{ resource: {} }] }), {}],
    ['no spans in JSON', Buffer.from('{}'), { format: 'json' }],
    ['no bytes, compressed', gzipSync(''), { encoding: 'gzip' }],
  ])('with %s is acknowledged, and nothing sealed', async (_name, body, more) => {
    const { send, sealed } = setUp();
    expect(await send(body, more)).toEqual({ status: 'sealed' });
    expect(sealed).toEqual([]);
  });

  test('is left out where it is not governed, and counted', async () => {
    const settings = {
      filter: 'governed' as const,
      messageByteLengthMax: MESSAGE_MAX,
      inFlightByteLengthMax: BUDGET,
      sealDelayMsMax: 60_000,
    };
    const { send, sealed, numbers } = setUp({ settings });
    expect(await send(traces('a', 'b'))).toEqual({ status: 'sealed' });
    const attributes = [{ key: 'gen_ai.operation.name', value: { stringValue: 'chat' } }];
    const spans = [{ name: 'GET /' }, { name: 'chat', attributes }];
    await send(encodeOtlp('TracesData', { resourceSpans: [{ scopeSpans: [{ spans }] }] }));
    expect(sealed.map(({ itemCount }) => itemCount)).toEqual([1]);
    expect(numbers).toEqual([
      'received traces 2',
      'skipped traces 2',
      'received traces 2',
      'skipped traces 1',
      'sealed traces 1',
    ]);
  });
});

describe('what can never be accepted', () => {
  const lost =
    (code: 'otlp.wire-type' | 'otlp.amplification') => async (): Promise<SealOutcome> => ({
      status: 'lost',
      cause: 'x',
      refused: { code, sha256: sha256(GOOD) },
    });
  test.each<[string, Uint8Array, Partial<WholeRequest>, Partial<IntakeOptions>, string, string]>([
    ['no protobuf', Buffer.of(0xff), {}, {}, 'malformed', 'otlp.truncated'],
    ['no OTLP and no spans', Buffer.of(0x10, 1), {}, {}, 'malformed', 'otlp.top-level-field'],
    [
      'refused by the walker',
      GOOD,
      {},
      { seal: lost('otlp.wire-type') },
      'malformed',
      'otlp.wire-type',
    ],
    [
      'too large once cut',
      GOOD,
      {},
      { seal: lost('otlp.amplification') },
      'too-large',
      'otlp.amplification',
    ],
    [
      'more resources than a request may have, in 300 bytes of gzip',
      gzipSync(Buffer.alloc(2 * (REQUEST_ENTRY_COUNT_MAX + 1), Buffer.of(0x0a, 0))),
      { encoding: 'gzip' },
      { settings: { ...SETTINGS, messageByteLengthMax: 10 * MESSAGE_MAX } },
      'too-large',
      'otlp.entry-count',
    ],
    ['no JSON', Buffer.from('{'), { format: 'json' }, {}, 'malformed', 'json.syntax'],
    ['no gzip', Buffer.from('x'), { encoding: 'gzip' }, {}, 'malformed', 'body.encoding'],
    [
      'gzip cut off',
      gzipSync(randomBytes(1000)).subarray(0, 500),
      { encoding: 'gzip' },
      {},
      'malformed',
      'body.encoding',
    ],
    [
      'zstd cut off',
      zstdCompressSync(randomBytes(1000)).subarray(0, 500),
      { encoding: 'zstd' },
      {},
      'malformed',
      'body.encoding',
    ],
    [
      'gzip with something behind it',
      Buffer.concat([gzipSync(GOOD), Buffer.of(0), gzipSync(GOOD)]),
      { encoding: 'gzip' },
      {},
      'malformed',
      'body.encoding',
    ],
    [
      'deflate with something behind it',
      Buffer.concat([deflateSync(GOOD), deflateSync(GOOD)]),
      { encoding: 'deflate' },
      {},
      'malformed',
      'body.encoding',
    ],
    [
      'zstd with something behind it',
      Buffer.concat([zstdCompressSync(GOOD), Buffer.from('else')]),
      { encoding: 'zstd' },
      {},
      'malformed',
      'body.encoding',
    ],
    [
      'a bomb',
      gzipSync(Buffer.alloc(50 * MESSAGE_MAX)),
      { encoding: 'gzip' },
      {},
      'too-large',
      'body.too-large',
    ],
    [
      'a bomb of zstd',
      zstdCompressSync(Buffer.alloc(50 * MESSAGE_MAX)),
      { encoding: 'zstd' },
      {},
      'too-large',
      'body.too-large',
    ],
  ])('%s', async (_name, body, more, overrides, reason, cause) => {
    const hash = sha256(body);
    const { send, refusals, numbers, intake } = setUp(overrides);
    expect(await send(new Uint8Array(body), more)).toEqual(never(reason));
    const sender = { kind: 'direct', principal: undefined };
    expect(refusals).toEqual([{ sender, cause, sha256: expect.any(Function) }]);
    expect(refusals[0]!.sha256?.()).toEqual(hash);
    expect(numbers.at(-1)).toBe(`refused ${cause} `.trimEnd());
    expect(intake.inFlightByteLength).toBe(0);
  });

  test('nobody: without a look at the body', () => {
    const clients: Clients = { identify: () => ({ status: 'unknown' }) };
    const { intake, refusals } = setUp({ clients });
    expect(intake.admit('Bearer x', undefined, 'collector')).toEqual(never('unauthenticated'));
    expect(refusals).toEqual([
      {
        sender: { kind: 'collector', principal: undefined },
        cause: 'client.unauthenticated',
        sha256: undefined,
      },
    ]);
  });
});

describe('come again', () => {
  const broken = (): never => {
    throw new Error('broken');
  };
  test.each<[string, Partial<IntakeOptions>, string]>([
    ['the state can not be told', { closedBecause: broken }, 'internal'],
    ['clients can not be told apart', { clients: { identify: broken } }, 'internal'],
    [
      'credentials can not be checked',
      { clients: { identify: () => ({ status: 'unsure', cause: 'x' }) } },
      'client.unsure',
    ],
    ['the gateway is ending', { closedBecause: () => 'ending' }, 'closed'],
    ['the policy breaks', { policy: { ...KEEP, apply: broken } }, 'internal'],
    ['the sealer throws', { seal: broken }, 'internal'],
    ['the sealer rejects', { seal: () => Promise.reject(new Error('x')) }, 'internal'],
    [
      'the sealer can not write',
      { seal: async () => ({ status: 'lost', cause: 'ENOSPC' }) },
      'disk',
    ],
    [
      'the disk hangs',
      {
        seal: () => new Promise(() => {}),
        settings: {
          filter: 'all',
          messageByteLengthMax: 1e6,
          inFlightByteLengthMax: 1e6,
          sealDelayMsMax: 1,
        },
      },
      'disk',
    ],
  ])('where %s', async (_name, overrides, cause) => {
    const { send, refusals, numbers } = setUp(overrides);
    expect(await send(GOOD)).toEqual(later(cause));
    expect(refusals).toEqual([]);
    expect(numbers).toContain(`deferred ${cause}`);
  });

  test.each(['br', 'snappy', 'lz4', 'x'])(
    'compressed by %s: another setting would do',
    async (encoding) => {
      expect(await setUp().send(GOOD, { encoding })).toEqual(later('encoding'));
    },
  );

  test('a zstd window larger than anybody has to hold: another setting would do', async () => {
    // RFC 8878 section 3.1.1.1: no content size, window descriptor of 2^27 bytes, one empty last raw block.
    const frame = Buffer.from('28b52ffd008801000000'.slice(0, 18), 'hex');
    expect(await setUp().send(frame, { encoding: 'zstd' })).toEqual(later('encoding'));
  });

  test('a refusal that can not be counted is none', async () => {
    expect(await setUp({ onRefusal: broken }).send(Buffer.of(0xff))).toEqual(later('internal'));
  });

  test('a provider of metrics that throws costs a number and no span', async () => {
    const { send } = setUp({
      metrics: {
        received: broken,
        sealed: broken,
        skipped: broken,
        refused: broken,
        deferred: broken,
        text: broken,
        close: broken,
      },
    });
    expect(await send(GOOD)).toEqual({ status: 'sealed' });
    expect(await send(Buffer.of(0xff))).toEqual(never('malformed'));
    expect(await send(GOOD, { encoding: 'br' })).toEqual(later('encoding'));
  });
});

describe('bytes in flight', () => {
  test('a hold that is alone may grow; with others it stays within the budget', () => {
    const budget = new Budget(100);
    const sender = { kind: 'direct', principal: undefined } as const;
    const first = new Arrival(sender, budget);
    const second = new Arrival(sender, budget);
    expect(first.take(150)).toBe(true);
    expect(second.take(1)).toBe(false);
    first.release();
    expect(second.take(60)).toBe(true);
    expect(first.take(40)).toBe(true);
    expect(first.take(1)).toBe(false);
    expect(budget.byteLengthInUse).toBe(100);
    first.release();
    first.release();
    second.release();
    expect(budget.byteLengthInUse).toBe(0);
  });

  test('are held until the sealer lets go, and nothing is admitted past the budget', async () => {
    const waiting: ((outcome: SealOutcome) => void)[] = [];
    const seal = () => new Promise<SealOutcome>((resolve) => waiting.push(resolve));
    const { send, intake } = setUp({ seal });
    const large = traces('x'.repeat(MESSAGE_MAX - 100));
    const first = [send(large), send(large), send(large)];
    expect(await send(large)).toEqual(later('full'));
    expect(intake.inFlightByteLength).toBe(3 * (large.length + ITEM));
    for (const answer of waiting) answer(SEALED);
    expect(await Promise.all(first)).toEqual(Array(3).fill({ status: 'sealed' }));
    expect(intake.inFlightByteLength).toBe(0);
    const again = send(large);
    expect(intake.inFlightByteLength).toBe(large.length);
    await Promise.resolve();
    waiting.at(-1)!(SEALED);
    expect(await again).toEqual({ status: 'sealed' });
  });

  test('stay held after an answer that came too early for the disk', async () => {
    const waiting: ((outcome: SealOutcome) => void)[] = [];
    const seal = () => new Promise<SealOutcome>((resolve) => waiting.push(resolve));
    const { send, intake } = setUp({ seal, settings: { ...SETTINGS, sealDelayMsMax: 1 } });
    expect(await send(GOOD)).toEqual(later('disk'));
    expect(intake.inFlightByteLength).toBe(GOOD.length + ITEM);
    waiting[0]!(SEALED);
    await new Promise(setImmediate);
    expect(intake.inFlightByteLength).toBe(0);
  });

  test('many items count more than their bytes: their entries cost more', async () => {
    const waiting: ((outcome: SealOutcome) => void)[] = [];
    const seal = () => new Promise<SealOutcome>((resolve) => waiting.push(resolve));
    const { send, intake, sealed } = setUp({ seal });
    const many = traces(...Array<string>(500).fill(''));
    // A hold that is alone may always grow; beside it there is no room for a second.
    const first = send(many);
    await new Promise(setImmediate);
    expect(intake.inFlightByteLength).toBe(many.length + 500 * ITEM);
    expect(await send(many)).toEqual(later('full'));
    expect(intake.inFlightByteLength).toBe(many.length + 500 * ITEM);
    waiting[0]!(SEALED);
    expect(await first).toEqual({ status: 'sealed' });
    expect([sealed, intake.inFlightByteLength]).toEqual([[], 0]);
  });

  test('a hundred bombs at once never hold more than the budget and a piece of each', async () => {
    const { send, intake } = setUp();
    let most = 0;
    const bomb = gzipSync(Buffer.alloc(MESSAGE_MAX - 1));
    const watch = setInterval(() => {
      most = Math.max(most, intake.inFlightByteLength);
    }, 0);
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => send(bomb, { encoding: 'gzip' })),
    );
    clearInterval(watch);
    expect(most).toBeLessThanOrEqual(BUDGET + MESSAGE_MAX);
    for (const answer of answers) {
      expect(['later', 'never']).toContain(answer.status);
    }
    expect(intake.inFlightByteLength).toBe(0);
  });
});

test('bytes of a control event are a log record like any other', async () => {
  const { send, sealed } = setUp();
  const forged = encodeControl(
    { name: 'gap', count: 9, first: 1, last: 9, from: '', to: '', cause: 'forged' },
    0,
  );
  expect(await send(forged, { kind: 'logs' })).toEqual({ status: 'sealed' });
  expect(sealed[0]!.itemCount).toBe(1);
});
