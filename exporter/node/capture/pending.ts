// SPDX-License-Identifier: Apache-2.0
/**
 * Governed spans between their end and their seal: serialised once, in slices of the event loop small enough not to be
 * felt, submitted in order, and each settled exactly once, as sealed or as a loss that is reported (invariant 6).
 * Makes nothing durable: what is pending dies with the process, and its intents tell of it.
 */
import type { SpanContext } from '@opentelemetry/api';
import { ATTR_AIGOV_SEQUENCE } from '../../../semconv/index.ts';
import type { LogErrorCode } from '../../log/errors.ts';
import { type EncodedTraces, encodeTracesCounted } from '../otlp/otlp-writer.ts';
import type { ReadableSpanLike, ResourceLike } from '../otlp/sdk-shapes.ts';
import { estimateByteLength } from './estimate.ts';

/** Spans serialised together in one slice of the event loop. */
export interface Chunk {
  /** A `TracesData`; handed over for good, so it may be transferred to another thread. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly spanCount: number;
}

/**
 * What became of a chunk, or of one span. `firstEntry` counts entries from 0 within the record: that of the chunk's
 * first span, or that of the one span asked about.
 */
export type SealOutcome =
  | {
      readonly status: 'sealed';
      readonly origin: string;
      readonly recordIndex: number;
      readonly firstEntry: number;
    }
  | {
      readonly status: 'lost';
      readonly cause: string;
      /** Set where the bytes themselves are at fault: they can never be sealed, however often they are sent. */
      readonly refused?: {
        readonly code: LogErrorCode;
        /** Of the bytes, which whoever handed them over has no more. */
        readonly sha256: Uint8Array;
      };
    };

/** Numbers `firstSequence` to `lastSequence`, all of them, were started and will never be in a record. */
export interface Loss {
  readonly count: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly cause: string;
}

export interface PendingOptions {
  /** The sealer. MUST take the entries of a chunk into one record, in their order. */
  readonly submit: (chunk: Chunk) => Promise<SealOutcome>;
  readonly onLost: ((loss: Loss) => void) | undefined;
  readonly pendingByteLengthMax: number;
  readonly gatherDelayMs: number;
  readonly resourceDelayMsMax: number;
}

export const CHUNK_SPAN_COUNT_MAX: number = 128;
/** By estimate; a larger span goes alone. */
export const CHUNK_BYTE_LENGTH_MAX: number = 64 * 1024;

type Waiting = (outcome: SealOutcome) => void;

/** One governed span, from its start on. */
export class Captured {
  readonly sequence: number;
  readonly context: SpanContext;
  /** Recorded only because of us: the application's processors never hear of it. */
  readonly recordOnly: boolean;
  /** What became of it; undefined until it is settled. */
  outcome: SealOutcome | undefined = undefined;
  /** Called once when it is settled, with the span if it ever was accepted. Owned by the capture. */
  release: ((span: ReadableSpanLike | undefined, outcome: SealOutcome) => void) | undefined =
    undefined;

  // Owned by PendingSpans.
  /** Position among the accepted, from 1; 0 until then. */
  acceptIndex = 0;
  span: ReadableSpanLike | undefined = undefined;
  byteLength = 0;
  /** Entry number relative to that of its chunk. */
  entryOffset = 0;
  waiting: Waiting[] | undefined = undefined;

  constructor(sequence: number, context: SpanContext, recordOnly: boolean) {
    this.sequence = sequence;
    this.context = context;
    this.recordOnly = recordOnly;
  }
}

interface Flush {
  readonly through: number;
  remainingCount: number;
  readonly resolve: () => void;
}

export class PendingSpans {
  submittedCount = 0;
  sealedCount = 0;
  lostCount = 0;
  lostValueCount = 0;
  unsettledResourceCount = 0;
  failureCount = 0;
  /** Estimated bytes of what is accepted and not settled. */
  byteLength = 0;

  private readonly options: PendingOptions;
  private readonly settled: (captured: Captured) => void;
  private closed = false;
  /** Numbers started and neither submitted nor lost. Ascending, since they are given in order. */
  private readonly open = new Set<number>();
  /** Accepted spans; those before `queueHead` are taken. */
  private queue: Captured[] = [];
  private queueHead = 0;
  private queuedByteLength = 0;
  private readonly inFlight = new Set<readonly Captured[]>();
  private acceptedCount = 0;
  private settledCount = 0;
  /** Accept index up to which someone waits, so that no delay is due. */
  private urgentThrough = 0;
  private flushes: Flush[] = [];
  private timer: NodeJS.Timeout | undefined;
  private immediate: NodeJS.Immediate | undefined;
  private waitsForResource = false;
  private readonly overdueResources = new WeakSet<ResourceLike>();
  private losses = new Map<string, number[]>();
  private lossImmediate: NodeJS.Immediate | undefined;

  /** `settled` hears of each span once, after whoever waits for it. */
  constructor(options: PendingOptions, settled: (captured: Captured) => void) {
    this.options = options;
    this.settled = settled;
  }

  /** A number was given. MUST be called with ascending numbers. */
  start(captured: Captured): void {
    this.open.add(captured.sequence);
  }

  /** Takes an ended span, or settles it as lost at once. */
  accept(captured: Captured, span: ReadableSpanLike): void {
    // What can not be estimated is counted as something, so that it is bounded too.
    const byteLength = this.guard(() => estimateByteLength(span)) ?? 4096;
    if (this.closed) {
      this.lose(captured, 'ended after shutdown');
    } else if (this.byteLength + byteLength > this.options.pendingByteLengthMax) {
      this.lose(captured, 'too many bytes pending');
    } else {
      captured.span = span;
      captured.byteLength = byteLength;
      captured.acceptIndex = ++this.acceptedCount;
      this.byteLength += byteLength;
      this.queuedByteLength += byteLength;
      this.queue.push(captured);
      if (captured.waiting === undefined) this.schedule();
      else this.hurry(captured.acceptIndex);
    }
  }

  /** Resolves when the span is settled, and sees to it that this is soon. */
  outcomeOf(captured: Captured): Promise<SealOutcome> {
    if (captured.outcome !== undefined) return Promise.resolve(captured.outcome);
    return new Promise((resolve) => {
      if (captured.waiting === undefined) captured.waiting = [resolve];
      else captured.waiting.push(resolve);
      if (captured.acceptIndex > 0) this.hurry(captured.acceptIndex);
    });
  }

  /** Resolves when all that was accepted before is settled. */
  flush(): Promise<void> {
    this.reportLosses();
    const remainingCount = this.acceptedCount - this.settledCount;
    if (remainingCount === 0) return Promise.resolve();
    const through = this.acceptedCount;
    return new Promise((resolve) => {
      this.flushes.push({ through, remainingCount, resolve });
      this.hurry(through);
    });
  }

  /** What comes later is lost. */
  close(): void {
    this.closed = true;
  }

  /** Serialises and submits everything now, in one go. */
  drainSync(): void {
    while (this.queueHead < this.queue.length) this.send(this.take(false));
    this.reportLosses();
  }

  openRanges(): [first: number, last: number][] {
    return rangesOf(this.open);
  }

  *unsettled(): Generator<Captured> {
    for (const chunk of this.inFlight) yield* chunk;
    for (let i = this.queueHead; i < this.queue.length; i++) yield this.queue[i]!;
  }

  /** Tells of the losses so far, in ranges. */
  reportLosses(): void {
    clearImmediate(this.lossImmediate);
    this.lossImmediate = undefined;
    if (this.losses.size === 0) return;
    const { losses } = this;
    this.losses = new Map();
    for (const [cause, sequences] of losses) {
      for (const [firstSequence, lastSequence] of rangesOf(sequences.sort((a, b) => a - b))) {
        const count = lastSequence - firstSequence + 1;
        this.guard(() => this.options.onLost?.({ count, firstSequence, lastSequence, cause }));
      }
    }
  }

  // From acceptance to submission.

  private hurry(acceptIndex: number): void {
    this.urgentThrough = Math.max(this.urgentThrough, acceptIndex);
    this.schedule();
  }

  private schedule(): void {
    const head = this.queue[this.queueHead];
    if (head === undefined || this.waitsForResource || this.immediate !== undefined) return;
    const { gatherDelayMs } = this.options;
    if (
      gatherDelayMs === 0 ||
      head.acceptIndex <= this.urgentThrough ||
      this.queue.length - this.queueHead >= CHUNK_SPAN_COUNT_MAX ||
      this.queuedByteLength >= CHUNK_BYTE_LENGTH_MAX
    ) {
      clearTimeout(this.timer);
      this.timer = undefined;
      this.immediate = setImmediate(() => {
        this.immediate = undefined;
        this.runSlice();
      });
    } else if (this.timer === undefined) {
      this.timer = setTimeout(() => {
        this.timer = undefined;
        this.runSlice();
      }, gatherDelayMs);
      // The application ends when it wants to; what is left then goes through `drainSync`.
      this.timer.unref();
    }
  }

  private runSlice(): void {
    const resource = this.queue[this.queueHead]?.span?.resource;
    if (this.isUnsettled(resource)) this.awaitResource(resource);
    else if (this.queueHead < this.queue.length) this.send(this.take(true));
    this.schedule();
  }

  private isUnsettled(resource: ResourceLike | undefined): resource is ResourceLike {
    return (
      resource?.asyncAttributesPending === true &&
      typeof resource.waitForAsyncAttributes === 'function' &&
      !this.overdueResources.has(resource)
    );
  }

  private awaitResource(resource: ResourceLike): void {
    this.waitsForResource = true;
    const goOn = (): void => {
      clearTimeout(deadline);
      this.overdueResources.add(resource);
      this.waitsForResource = false;
      this.schedule();
    };
    const deadline = setTimeout(goOn, this.options.resourceDelayMsMax);
    const waited = this.guard(() => resource.waitForAsyncAttributes?.());
    Promise.resolve(waited).then(goOn, goOn);
  }

  /** The next chunk of the queue: at least one span, and more of them only within the limits. */
  private take(waitsForResources: boolean): Captured[] {
    const chunk: Captured[] = [];
    let byteLength = 0;
    while (chunk.length < CHUNK_SPAN_COUNT_MAX && this.queueHead < this.queue.length) {
      const next = this.queue[this.queueHead]!;
      if (chunk.length > 0) {
        if (byteLength + next.byteLength > CHUNK_BYTE_LENGTH_MAX) break;
        if (waitsForResources && this.isUnsettled(next.span?.resource)) break;
      }
      byteLength += next.byteLength;
      chunk.push(next);
      this.queueHead++;
    }
    this.queuedByteLength -= byteLength;
    // Moving the rest down once half is taken costs a constant per span.
    if (this.queueHead * 2 >= this.queue.length) {
      this.queue = this.queue.slice(this.queueHead);
      this.queueHead = 0;
    }
    return chunk;
  }

  private send(chunk: readonly Captured[]): void {
    const { written, bytes } = this.encode(chunk);
    if (written.length === 0) return;
    for (const captured of written) {
      this.open.delete(captured.sequence);
      // What nobody waits for need not live until it is durable: it is all in `bytes`.
      if (captured.release === undefined) captured.span = undefined;
    }
    this.submittedCount += written.length;
    this.inFlight.add(written);
    const settleAll = (outcome: SealOutcome): void => {
      this.inFlight.delete(written);
      for (const captured of written) {
        if (outcome.status === 'sealed') this.seal(captured, outcome);
        else this.lose(captured, outcome.cause);
      }
    };
    const fail = (error: unknown): void => {
      this.failureCount++;
      settleAll({ status: 'lost', cause: `sealer failed: ${nameOf(error)}` });
    };
    try {
      this.options.submit({ bytes, spanCount: written.length }).then(settleAll).catch(fail);
    } catch (error) {
      fail(error);
    }
  }

  private encode(chunk: readonly Captured[]): {
    readonly written: readonly Captured[];
    readonly bytes: Uint8Array<ArrayBuffer>;
  } {
    const byView = new Map<ReadableSpanLike, Captured>();
    const parts: EncodedTraces[] = [];
    for (const captured of chunk) {
      this.guard(() => byView.set(this.viewOf(captured), captured));
    }
    try {
      parts.push(encodeTracesCounted([...byView.keys()]));
    } catch {
      // One of them is no span of any SDK. It is lost alone, not with its neighbours.
      for (const view of byView.keys()) {
        const part = this.guard(() => encodeTracesCounted([view]));
        if (part !== undefined) parts.push(part);
      }
    }
    const written: Captured[] = [];
    for (const part of parts) {
      this.lostValueCount += part.lostValueCount;
      for (const view of part.spans) {
        const captured = byView.get(view)!;
        captured.entryOffset = written.length;
        written.push(captured);
      }
    }
    if (written.length < chunk.length) {
      const kept = new Set(written);
      for (const captured of chunk)
        if (!kept.has(captured)) this.lose(captured, 'not serialisable');
    }
    // Concatenated TracesData are one TracesData: its only field repeats.
    const bytes = parts.length === 1 ? parts[0]!.bytes : concatenate(parts);
    return { written, bytes };
  }

  /** The span as it is written: itself, or with its number where it could not take it. */
  private viewOf(captured: Captured): ReadableSpanLike {
    const span = captured.span!;
    if (span.resource?.asyncAttributesPending === true) this.unsettledResourceCount++;
    // A span that was full or ended did not take it (invariant 7), and the application may have written over it since.
    return span.attributes[ATTR_AIGOV_SEQUENCE] === captured.sequence
      ? span
      : withAttribute(span, ATTR_AIGOV_SEQUENCE, captured.sequence);
  }

  // From submission to settlement.

  private seal(captured: Captured, outcome: SealOutcome & { readonly status: 'sealed' }): void {
    this.sealedCount++;
    const { entryOffset } = captured;
    this.settle(
      captured,
      entryOffset === 0 ? outcome : { ...outcome, firstEntry: outcome.firstEntry + entryOffset },
    );
  }

  private lose(captured: Captured, cause: string): void {
    this.lostCount++;
    this.open.delete(captured.sequence);
    const sequences = this.losses.get(cause);
    if (sequences === undefined) this.losses.set(cause, [captured.sequence]);
    else sequences.push(captured.sequence);
    this.lossImmediate ??= setImmediate(() => this.reportLosses());
    this.settle(captured, { status: 'lost', cause });
  }

  private settle(captured: Captured, outcome: SealOutcome): void {
    const { acceptIndex, release, span, waiting } = captured;
    captured.outcome = outcome;
    captured.span = undefined;
    captured.release = undefined;
    captured.waiting = undefined;
    this.byteLength -= captured.byteLength;
    for (const resolve of waiting ?? []) resolve(outcome);
    this.guard(() => release?.(span, outcome));
    this.guard(() => this.settled(captured));
    if (acceptIndex === 0) return;
    this.settledCount++;
    if (this.flushes.length === 0) return;
    for (const flush of this.flushes) {
      if (acceptIndex > flush.through || --flush.remainingCount > 0) continue;
      this.reportLosses();
      flush.resolve();
    }
    this.flushes = this.flushes.filter(({ remainingCount }) => remainingCount > 0);
  }

  private guard<T>(step: () => T): T | undefined {
    try {
      return step();
    } catch {
      this.failureCount++;
      return undefined;
    }
  }
}

/** Ascending numbers as closed ranges. */
function rangesOf(ascending: Iterable<number>): [first: number, last: number][] {
  const ranges: [number, number][] = [];
  let last: [number, number] | undefined;
  for (const sequence of ascending) {
    if (last !== undefined && last[1] === sequence - 1) last[1] = sequence;
    else {
      last = [sequence, sequence];
      ranges.push(last);
    }
  }
  return ranges;
}

/** A copy with one more attribute: getters of SDK classes are not inherited, since some have private fields. */
function withAttribute(span: ReadableSpanLike, key: string, value: number): ReadableSpanLike {
  return {
    name: span.name,
    kind: span.kind,
    spanContext: () => span.spanContext(),
    parentSpanContext: span.parentSpanContext,
    parentSpanId: span.parentSpanId,
    startTime: span.startTime,
    endTime: span.endTime,
    status: span.status,
    // Descriptors and not values: a getter that throws then costs its own value when it is written, and no more.
    attributes: Object.defineProperties(
      {},
      {
        ...Object.getOwnPropertyDescriptors(span.attributes),
        [key]: { value, enumerable: true },
      },
    ),
    links: span.links,
    events: span.events,
    resource: span.resource,
    instrumentationScope: span.instrumentationScope,
    instrumentationLibrary: span.instrumentationLibrary,
    droppedAttributesCount: span.droppedAttributesCount,
    droppedEventsCount: span.droppedEventsCount,
    droppedLinksCount: span.droppedLinksCount,
  };
}

function concatenate(parts: readonly EncodedTraces[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.bytes.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part.bytes, at);
    at += part.bytes.length;
  }
  return bytes;
}

/** Of an error only its class: messages can quote content, and causes go into the log for ever. */
function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}
