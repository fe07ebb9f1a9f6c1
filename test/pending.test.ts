// SPDX-License-Identifier: Apache-2.0
// Goal: every span accepted is settled exactly once, in slices that leave the event loop free, and what is lost is told
// in numbers that add up. Method: plain spans and a sealer in memory that answers when told to; no timer is measured:
// where a delay is under test it is either zero or far longer than the test.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  Captured,
  CHUNK_BYTE_LENGTH_MAX,
  CHUNK_SPAN_COUNT_MAX,
  type Loss,
  type PendingOptions,
  PendingSpans,
  type SealOutcome,
} from '../exporter/node/capture/pending.ts';
import type { ReadableSpanLike, ResourceLike } from '../exporter/node/otlp/sdk-shapes.ts';
import { MEMORY_ORIGIN, type MemorySealer, openMemorySealer } from './support/memory-sealer.ts';

const NEVER_MS = 1_000_000;
const RESOURCE = { attributes: { 'service.name': 'checkout' } };
const SCOPES = [{ name: 'a' }, { name: 'b' }];

interface Bench {
  readonly pending: PendingSpans;
  readonly sealer: MemorySealer;
  readonly losses: Loss[];
  readonly settled: number[];
  /** Starts and accepts the next span. */
  end(more?: Partial<ReadableSpanLike>): Captured;
  start(): Captured;
  accept(captured: Captured, more?: Partial<ReadableSpanLike>): Captured;
}

function openBench(options: Partial<PendingOptions> = {}): Bench {
  const sealer = openMemorySealer();
  const losses: Loss[] = [];
  const settled: number[] = [];
  let sequence = 0;
  const pending = new PendingSpans(
    {
      submit: sealer.submit,
      onLost: (loss) => losses.push(loss),
      pendingByteLengthMax: 1e9,
      gatherDelayMs: NEVER_MS,
      resourceDelayMsMax: NEVER_MS,
      ...options,
    },
    (captured) => settled.push(captured.sequence),
  );
  const bench: Bench = {
    pending,
    sealer,
    losses,
    settled,
    start: () => {
      sequence++;
      const spanId = sequence.toString(16).padStart(16, '0');
      const captured = new Captured(
        sequence,
        { traceId: 'ab'.repeat(16), spanId, traceFlags: 1 },
        false,
      );
      pending.start(captured);
      return captured;
    },
    accept: (captured, more = {}) => {
      pending.accept(captured, {
        name: `span ${captured.sequence}`,
        kind: 0,
        spanContext: () => captured.context,
        startTime: [1, 1],
        endTime: [2, 2],
        status: { code: 0 },
        attributes: { 'gen_ai.operation.name': 'chat' },
        links: [],
        events: [],
        resource: RESOURCE,
        instrumentationScope: SCOPES[captured.sequence % 2]!,
        droppedAttributesCount: 0,
        droppedEventsCount: 0,
        droppedLinksCount: 0,
        ...more,
      });
      return captured;
    },
    end: (more) => bench.accept(bench.start(), more),
  };
  return bench;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

function sequences({ sealer }: Bench): number[] {
  return sealer.spans().map(({ attributes }) => attributes['aigov.sequence'] as number);
}

describe('slices', () => {
  test('10,000 spans that end in one tick are all sealed, and the event loop turns in between', async () => {
    const bench = openBench();
    for (let i = 0; i < 10_000; i++) bench.end();
    expect(bench.sealer.chunks).toHaveLength(0);

    const chunksAtTurn: number[] = [];
    let done = false;
    const flushed = bench.pending.flush().then(() => {
      done = true;
    });
    for (let i = 0; i < 1000 && !done; i++) {
      await turn();
      chunksAtTurn.push(bench.sealer.chunks.length);
    }
    await flushed;

    expect(sequences(bench).toSorted((a, b) => a - b)).toEqual(range(1, 10_000));
    expect(bench.settled.toSorted((a, b) => a - b)).toEqual(range(1, 10_000));
    expect(Math.max(...bench.sealer.chunks.map(({ spanCount }) => spanCount))).toBe(
      CHUNK_SPAN_COUNT_MAX,
    );
    // One chunk per turn at most.
    for (const [i, count] of chunksAtTurn.entries()) {
      expect(count - (chunksAtTurn[i - 1] ?? 0)).toBeLessThanOrEqual(1);
    }
  });

  test('large spans share a chunk only up to its bytes, and the largest goes alone', async () => {
    const bench = openBench();
    const texts = [30_000, 30_000, 30_000, 500_000, 100, 100];
    for (const length of texts) bench.end({ attributes: { text: 'x'.repeat(length) } });
    await bench.pending.flush();
    expect(bench.sealer.chunks.map(({ spanCount }) => spanCount)).toEqual([2, 1, 1, 2]);
    expect(bench.sealer.chunks[0]!.bytes.length).toBeLessThan(CHUNK_BYTE_LENGTH_MAX * 1.5);
  });

  test('a full chunk does not wait for company, a single span does until someone waits for it', async () => {
    const bench = openBench();
    for (let i = 0; i < CHUNK_SPAN_COUNT_MAX; i++) bench.end();
    await turn();
    await turn();
    expect(bench.sealer.chunks).toHaveLength(1);

    const alone = bench.end();
    await turn();
    await turn();
    expect(bench.sealer.chunks).toHaveLength(1);
    expect(await bench.pending.outcomeOf(alone)).toMatchObject({
      status: 'sealed',
      recordIndex: 1,
    });
  });

  test('someone who waited before the span ended does not wait for company either', async () => {
    const bench = openBench();
    const captured = bench.start();
    const outcome = bench.pending.outcomeOf(captured);
    bench.accept(captured);
    expect(await outcome).toEqual({
      status: 'sealed',
      origin: MEMORY_ORIGIN,
      recordIndex: 0,
      firstEntry: 0,
    });
  });

  test('without a delay for company, a span goes with the next turn', async () => {
    const bench = openBench({ gatherDelayMs: 0 });
    bench.end();
    await turn();
    await turn();
    expect(bench.sealer.chunks).toHaveLength(1);
  });

  test('drainSync submits everything at once', () => {
    const bench = openBench();
    for (let i = 0; i < 1000; i++) bench.end();
    bench.pending.drainSync();
    expect(sequences(bench).toSorted((a, b) => a - b)).toEqual(range(1, 1000));
    expect(bench.pending.openRanges()).toEqual([]);
  });
});

describe('outcomes', () => {
  test('each span is told its own entry, although writing groups them by scope', async () => {
    const bench = openBench();
    const spans = range(1, 300).map(() => bench.end());
    await bench.pending.flush();
    for (const captured of spans) {
      const outcome = captured.outcome as SealOutcome;
      expect(bench.sealer.at(outcome)).toMatchObject({
        name: `span ${captured.sequence}`,
        attributes: { 'aigov.sequence': captured.sequence },
      });
    }
  });

  test('a flush waits for what was accepted before it, and for no more', async () => {
    const bench = openBench();
    bench.sealer.holds = true;
    bench.end();
    let flushed = false;
    const flush = bench.pending.flush().then(() => {
      flushed = true;
    });
    await turn();
    await turn();
    expect([bench.sealer.chunks.length, flushed]).toEqual([1, false]);
    bench.end();
    bench.sealer.answerAll();
    await flush;
    expect(bench.settled).toEqual([1]);
  });

  test('a flush is not misled by later spans that are settled earlier', async () => {
    const answers: (() => void)[] = [];
    const sealed: SealOutcome = { status: 'sealed', origin: 'o', recordIndex: 0, firstEntry: 0 };
    const bench = openBench({
      submit: () => new Promise((resolve) => answers.push(() => resolve(sealed))),
    });
    bench.end();
    let flushed = false;
    const flush = bench.pending.flush().then(() => {
      flushed = true;
    });
    bench.pending.drainSync();
    bench.end();
    bench.pending.drainSync();
    answers[1]?.();
    await turn();
    expect([bench.settled, flushed]).toEqual([[2], false]);
    answers[0]?.();
    await flush;
    expect(bench.settled).toEqual([2, 1]);
  });

  test('the span is released once it is settled, with its outcome', async () => {
    const bench = openBench();
    bench.sealer.holds = true;
    const captured = bench.end();
    const released: unknown[] = [];
    captured.release = (span, outcome) => released.push([span?.name, outcome.status]);
    const outcome = bench.pending.outcomeOf(captured);
    await turn();
    expect(released).toEqual([]);
    bench.sealer.answerAll();
    await outcome;
    await turn();
    expect(released).toEqual([['span 1', 'sealed']]);
    expect(captured.span).toBeUndefined();
  });

  test('a release that throws disturbs nobody', async () => {
    const bench = openBench();
    const first = bench.end();
    first.release = () => {
      throw new Error('the application');
    };
    bench.end();
    await bench.pending.flush();
    expect(bench.settled.toSorted()).toEqual([1, 2]);
    expect(bench.pending.failureCount).toBe(1);
  });
});

describe('losses', () => {
  test('past the byte limit spans are lost at once, told in ranges, and there is room again later', async () => {
    const bench = openBench({ pendingByteLengthMax: 30_000 });
    const attributes = { text: 'x'.repeat(10_000) };
    for (let i = 0; i < 3; i++) bench.end({ attributes });
    bench.start();
    for (let i = 0; i < 2; i++) bench.end({ attributes });
    await bench.pending.flush();
    expect(bench.losses).toEqual([
      { count: 1, firstSequence: 3, lastSequence: 3, cause: 'too many bytes pending' },
      { count: 2, firstSequence: 5, lastSequence: 6, cause: 'too many bytes pending' },
    ]);
    expect(sequences(bench).toSorted()).toEqual([1, 2]);
    expect(bench.pending.openRanges()).toEqual([[4, 4]]);
    expect(bench.pending.byteLength).toBe(0);
    bench.end({ attributes });
    await bench.pending.flush();
    expect(sequences(bench).toSorted()).toEqual([1, 2, 7]);
  });

  test('a loss is told without anyone asking', async () => {
    const bench = openBench({ pendingByteLengthMax: 0 });
    bench.end();
    await turn();
    expect(bench.losses).toEqual([
      { count: 1, firstSequence: 1, lastSequence: 1, cause: 'too many bytes pending' },
    ]);
  });

  test('spans that end out of order are told in order', () => {
    const bench = openBench({ pendingByteLengthMax: 0 });
    const spans = range(1, 6).map(() => bench.start());
    for (const i of [5, 0, 2, 1, 3]) bench.accept(spans[i]!);
    bench.pending.reportLosses();
    expect(
      bench.losses.map(({ count, firstSequence, lastSequence }) => [
        count,
        firstSequence,
        lastSequence,
      ]),
    ).toEqual([
      [4, 1, 4],
      [1, 6, 6],
    ]);
  });

  test('what the sealer loses is lost with its cause', async () => {
    const bench = openBench();
    bench.sealer.holds = true;
    const spans = [bench.end(), bench.end()];
    const flush = bench.pending.flush();
    await turn();
    bench.sealer.answerAll('disk full');
    await flush;
    expect(spans.map(({ outcome }) => outcome)).toEqual([
      { status: 'lost', cause: 'disk full' },
      { status: 'lost', cause: 'disk full' },
    ]);
    expect(bench.losses).toEqual([
      { count: 2, firstSequence: 1, lastSequence: 2, cause: 'disk full' },
    ]);
    expect([
      bench.pending.submittedCount,
      bench.pending.sealedCount,
      bench.pending.lostCount,
    ]).toEqual([2, 0, 2]);
  });

  test.each<readonly [string, PendingOptions['submit']]>([
    [
      'throws',
      () => {
        throw new TypeError('a secret');
      },
    ],
    ['rejects', () => Promise.reject(new TypeError('a secret'))],
    ['answers with nothing', () => Promise.resolve(undefined as unknown as SealOutcome)],
    ['returns nothing', () => undefined as unknown as Promise<SealOutcome>],
  ])('a sealer that %s loses the chunk, and no message gets into the cause', async (_, submit) => {
    const bench = openBench({ submit });
    bench.end();
    bench.end();
    await bench.pending.flush();
    expect(bench.losses).toEqual([
      { count: 2, firstSequence: 1, lastSequence: 2, cause: 'sealer failed: TypeError' },
    ]);
  });

  test('a span that is none is lost alone', async () => {
    const bench = openBench();
    bench.end();
    bench.end({ startTime: undefined as unknown as [number, number] });
    const last = bench.end();
    const unlistable = new Proxy(
      {},
      {
        ownKeys: () => {
          throw new Error('hostile');
        },
      },
    );
    bench.end({ attributes: unlistable });
    await bench.pending.flush();
    expect(sequences(bench)).toEqual([1, 3]);
    expect(bench.sealer.at(last.outcome as SealOutcome)?.name).toBe('span 3');
    expect(bench.losses).toEqual([
      { count: 1, firstSequence: 2, lastSequence: 2, cause: 'not serialisable' },
      { count: 1, firstSequence: 4, lastSequence: 4, cause: 'not serialisable' },
    ]);
  });

  test('a value that can not be read costs itself, not the span', async () => {
    const bench = openBench();
    const attributes = {
      fine: 1,
      get broken(): never {
        throw new Error('hostile');
      },
    };
    bench.end({ attributes });
    await bench.pending.flush();
    expect(bench.sealer.spans()[0]?.attributes).toEqual({
      fine: 1,
      broken: null,
      'aigov.sequence': 1,
    });
    expect(bench.pending.lostValueCount).toBe(1);
  });

  test('after closing', async () => {
    const bench = openBench();
    bench.end();
    bench.pending.close();
    bench.end();
    await bench.pending.flush();
    expect(sequences(bench)).toEqual([1]);
    expect(bench.losses).toEqual([
      { count: 1, firstSequence: 2, lastSequence: 2, cause: 'ended after shutdown' },
    ]);
  });

  test('a listener that throws disturbs nobody', async () => {
    const bench = openBench({
      pendingByteLengthMax: 0,
      onLost: () => {
        throw new Error('the listener');
      },
    });
    bench.end();
    bench.pending.reportLosses();
    expect(bench.pending.failureCount).toBe(1);
  });
});

describe('the numbers that are open', () => {
  test('are those started and neither submitted nor lost, in any history', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom('start', 'end', 'flush'), fc.nat(20)), { maxLength: 60 }),
        async (steps) => {
          const bench = openBench();
          const open = new Map<number, Captured>();
          const ended = new Set<number>();
          for (const [step, n] of steps) {
            const running = [...open.values()].filter(({ sequence }) => !ended.has(sequence));
            const captured = running[n % Math.max(1, running.length)];
            if (step === 'start') {
              const started = bench.start();
              open.set(started.sequence, started);
            } else if (step === 'end' && captured !== undefined) {
              bench.accept(captured);
              ended.add(captured.sequence);
            } else if (step === 'flush') {
              bench.pending.drainSync();
              for (const sequence of ended) open.delete(sequence);
            }
          }
          const listed = bench.pending.openRanges().flatMap(([first, last]) => range(first, last));
          expect(listed).toEqual([...open.keys()]);
          for (const [i, [first]] of bench.pending.openRanges().entries()) {
            expect(first).toBeGreaterThan((bench.pending.openRanges()[i - 1]?.[1] ?? -1) + 1);
          }
          await bench.pending.flush();
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('resources that are still detecting attributes', () => {
  function slowResource(): ResourceLike & { settle(): void; attributes: Record<string, string> } {
    let settle = (): void => undefined;
    const settled = new Promise<void>((resolve) => {
      settle = resolve;
    });
    const resource = {
      asyncAttributesPending: true,
      attributes: {} as Record<string, string>,
      waitForAsyncAttributes: () => settled,
      settle: () => {
        resource.asyncAttributesPending = false;
        resource.attributes['host.id'] = 'h1';
        settle();
      },
    };
    return resource;
  }

  test('are waited for', async () => {
    const bench = openBench();
    const resource = slowResource();
    bench.end({ resource });
    const flush = bench.pending.flush();
    await turn();
    await turn();
    expect(bench.sealer.chunks).toHaveLength(0);
    resource.settle();
    await flush;
    expect(bench.sealer.spans()[0]?.resource).toEqual({ 'host.id': 'h1' });
    expect(bench.pending.unsettledResourceCount).toBe(0);
  });

  test('are not waited for beyond the deadline, and that is counted', async () => {
    const bench = openBench({ resourceDelayMsMax: 1 });
    bench.end({ resource: slowResource() });
    await bench.pending.flush();
    expect(bench.sealer.spans()[0]?.resource).toEqual({});
    expect(bench.pending.unsettledResourceCount).toBe(1);
  });

  test('do not hold up spans before them in the queue', async () => {
    const bench = openBench();
    const first = bench.end();
    const resource = slowResource();
    const second = bench.end({ resource });
    expect(await bench.pending.outcomeOf(first)).toMatchObject({ status: 'sealed' });
    expect(bench.sealer.spans()).toHaveLength(1);
    resource.settle();
    const outcome = await bench.pending.outcomeOf(second);
    expect(bench.sealer.at(outcome)?.resource).toEqual({ 'host.id': 'h1' });
  });

  test('that reject or throw are taken as they are', async () => {
    for (const waitForAsyncAttributes of [
      () => Promise.reject(new Error('no')),
      () => {
        throw new Error('no');
      },
    ]) {
      const bench = openBench();
      bench.end({ resource: { asyncAttributesPending: true, waitForAsyncAttributes } });
      await bench.pending.flush();
      expect(bench.sealer.chunks).toHaveLength(1);
    }
  });

  test('are not waited for at the end of the process', () => {
    const bench = openBench();
    bench.end({ resource: slowResource() });
    bench.pending.drainSync();
    expect(bench.sealer.chunks).toHaveLength(1);
  });
});
