// SPDX-License-Identifier: Apache-2.0
/**
 * Takes every governed span from its start to its seal: numbers it, gets it recorded where a sampler would drop it, and
 * hands it to the application's own processors only once it is sealed. Never throws into the application, never changes
 * an ended span, never asks for the sampled flag (invariant 7). Does not see what an SDK neither records nor offers to
 * a sampler, such as spans under `suppressTracing`.
 */
import type { SpanContext } from '@opentelemetry/api';
import { ATTR_AIGOV_SEQUENCE, isGoverned, type SpanFacts } from '../../../semconv/index.ts';
import {
  type AttributesLike,
  EXPORT_FAILED,
  type HrTimeLike,
  type LiveSpanLike,
  NOT_RECORD,
  RECORD,
  type ReadableSpanLike,
  type SamplerLike,
  type SpanExporterLike,
  type SpanProcessorLike,
} from '../otlp/sdk-shapes.ts';
import { Captured, type Chunk, type Loss, PendingSpans, type SealOutcome } from './pending.ts';
import { markValueLimit } from './value-limit.ts';

/** What is known when a governed span starts; written down before the model is called (invariant 8). */
export interface Intent {
  readonly sequence: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly startTime: HrTimeLike;
  /** Attributes at the start. */
  readonly attributes: AttributesLike;
}

/**
 * Who else sees a governed span, and when. `through`: the application's processors, once it is sealed. `direct`: they
 * do not see it end, since it is forwarded from the log. `off`: the application's processors, at once.
 */
export type Forwarding = 'through' | 'direct' | 'off';

export interface CaptureOptions {
  /** The sealer. MUST take the entries of a chunk into one record, in their order, and MUST answer each chunk. */
  readonly submit: (chunk: Chunk) => Promise<SealOutcome>;
  readonly forwarding: Forwarding;
  /** Hears of every number that will be in no record, on the next turn of the event loop at the latest. */
  readonly onLost?: (loss: Loss) => void;
  /** Gives out numbers, ascending; 1, 2, 3 and so on unless given, which is right for one capture per process. */
  readonly nextSequence?: () => number;
  /** Hears of every number before anything is done with it. */
  readonly onIntent?: (intent: Intent) => void;
  /** Hears of every number once its span is sealed or lost: with the record it is in, or undefined. */
  readonly onSettled?: (sequence: number, recordIndex: number | undefined) => void;
  /** May set attributes on a governed span that just started. */
  readonly onGovernedStart?: (span: LiveSpanLike) => void;
  /** Which spans belong into the log; the markers of `semconv` unless given. Asked for every span of the service. */
  readonly isGoverned?: (span: SpanFacts) => boolean;
  /** Estimated bytes of spans that have ended and are not sealed; past it spans are lost. 256 MiB unless given. */
  readonly pendingByteLengthMax?: number;
  /** How long a span waits for others to share a chunk with, unless someone waits for it. 10 ms unless given. */
  readonly gatherDelayMs?: number;
  /** Serialise and submit each span before its end returns; `submit` may then block. False unless given. */
  readonly sync?: boolean;
  /** How long spans wait for attributes of a resource that are still being detected. 1 s unless given. */
  readonly resourceDelayMsMax?: number;
  /** How long a flush or shutdown of the application's SDK waits for seals. 10 s unless given. */
  readonly flushDelayMsMax?: number;
}

export interface ExporterOptions {
  /** Seal ungoverned spans too. */
  readonly all?: boolean;
  /** Report an export as failed if one of its spans could not be sealed, whatever the inner exporter says. */
  readonly required?: boolean;
}

export interface CaptureStats {
  /** Governed spans numbered; unless numbers are given from outside, they have the numbers 1 to `highestSequence`. */
  readonly started: number;
  readonly ended: number;
  /** Handed to the sealer. */
  readonly submitted: number;
  readonly sealed: number;
  readonly lost: number;
  readonly highestSequence: number;
  /** Numbers neither handed to the sealer nor reported lost: still running, or waiting for their slice. */
  readonly openRanges: readonly (readonly [first: number, last: number])[];
  /** Estimated bytes of spans that have ended and are not sealed. */
  readonly pendingByteLength: number;
  /** Attribute values that have no OTLP form or could not be read. */
  readonly lostValues: number;
  /** Spans that the application's processors got in mode `through` without a seal: lost, or late at a flush. */
  readonly releasedUnsealed: number;
  /** Spans that were serialised while their resource was still detecting attributes. */
  readonly unsettledResources: number;
  /** Errors kept from the application: of hooks and the sealer, of its processors when called by us, of hostile spans. */
  readonly failures: number;
}

export interface Capture {
  /** Numbers and captures governed spans. Put it first, or use {@link Capture.wrapProcessors}. */
  readonly processor: SpanProcessorLike;
  /** Our processor, and each of the application's behind its gate: what to give a provider as `spanProcessors`. */
  wrapProcessors(inner: readonly SpanProcessorLike[]): SpanProcessorLike[];
  /**
   * Asks `inner` first, and records what it would drop if it is governed, without the sampled flag. No SDK tells a
   * sampler the scope, which is all that some conventions mark; whoever has one sampler per tracer gives `scopeName`.
   */
  sampler(inner: SamplerLike, scopeName?: string): SamplerLike;
  /**
   * Seals the governed spans of each export, then exports all of it through `inner`. For applications that can add no
   * processor: what its batch processor drops or its sampler refuses never gets here.
   */
  exporter(inner: SpanExporterLike, options?: ExporterOptions): SpanExporterLike;
  /** Resolves when the span is durable or lost; asked while it runs, it waits for its end too. Never rejects. */
  committed(span: SpanContext | { spanContext(): SpanContext }): Promise<SealOutcome>;
  /** Resolves when every span that ended before the call is sealed or lost. */
  flush(): Promise<void>;
  /** Flushes; spans that end afterwards are lost, and counted. */
  shutdown(): Promise<void>;
  /** Serialises and submits all that waits, now, without regard to the event loop: for `process.on('exit')`. */
  drainSync(): void;
  stats(): CaptureStats;
}

/** Settled spans that can still be found by a copy of their context. */
const SETTLED_KEPT_COUNT = 4096;

/**
 * Opens the capture of one process; numbers start at 1.
 * @throws TypeError if `submit` is no function or `forwarding` no mode.
 * @throws RangeError if a delay or length is not a number of 0 or more.
 */
export function createCapture(options: CaptureOptions): Capture {
  if (typeof options.submit !== 'function') throw new TypeError('submit must be a function');
  if (!['through', 'direct', 'off'].includes(options.forwarding)) {
    throw new TypeError('forwarding must be through, direct or off');
  }
  return new SpanCapture(options);
}

class SpanCapture implements Capture {
  readonly processor: SpanProcessorLike;
  private readonly options: CaptureOptions;
  private readonly pending: PendingSpans;
  private readonly governed: (span: SpanFacts) => boolean;
  private readonly flushDelayMsMax: number;

  /** By the span's own context object: lives as long as the span. */
  private readonly byContext = new WeakMap<SpanContext, Captured>();
  /** By span id, for copies of a context: all unsettled spans, and the last settled ones. */
  private readonly byId = new Map<string, Captured>();
  private readonly settledIds: string[] = [];
  private settledIdsAt = 0;

  /** Trace id of a span that our sampler has just made recorded: its constructor calls `onStart` before any other. */
  private upgradedTraceId: string | undefined;
  /** The span that `processor` saw last: the gates behind it are called for the same one. */
  private lastSpan: ReadableSpanLike | undefined;
  private lastCaptured: Captured | undefined;

  private readonly nextSequence: () => number;
  private highestSequence = 0;
  private startedCount = 0;
  private endedCount = 0;
  private releasedUnsealedCount = 0;
  private failureCount = 0;

  constructor(options: CaptureOptions) {
    this.options = options;
    this.governed = options.isGoverned ?? isGoverned;
    this.nextSequence = options.nextSequence ?? (() => this.highestSequence + 1);
    this.flushDelayMsMax = quantity('flushDelayMsMax', options.flushDelayMsMax ?? 10_000);
    this.pending = new PendingSpans(
      {
        submit: options.submit,
        onLost: options.onLost,
        pendingByteLengthMax: quantity(
          'pendingByteLengthMax',
          options.pendingByteLengthMax ?? 256 * 1024 * 1024,
        ),
        gatherDelayMs: quantity('gatherDelayMs', options.gatherDelayMs ?? 10),
        resourceDelayMsMax: quantity('resourceDelayMsMax', options.resourceDelayMsMax ?? 1000),
      },
      (captured) => this.settled(captured),
    );
    this.processor = {
      onStart: (span) => this.guard(() => this.onStart(span)),
      onEnd: (span) => this.guard(() => this.onEnd(span)),
      forceFlush: () => this.flushInTime(),
      // The provider ends, the process may not: what ends later is still captured.
      shutdown: () => this.flushInTime(),
    };
  }

  wrapProcessors(inner: readonly SpanProcessorLike[]): SpanProcessorLike[] {
    return [this.processor, ...inner.map((processor) => this.gate(processor))];
  }

  sampler(inner: SamplerLike, scopeName?: string): SamplerLike {
    return {
      shouldSample: (context, traceId, spanName, spanKind, attributes, links) => {
        this.upgradedTraceId = undefined;
        // What the application's sampler throws is the application's, as it was without us.
        const result = inner.shouldSample(context, traceId, spanName, spanKind, attributes, links);
        if (result.decision !== NOT_RECORD) return result;
        if (!this.guard(() => this.governed({ scopeName, spanName, attributes }))) return result;
        this.upgradedTraceId = traceId;
        return {
          decision: RECORD,
          ...(result.attributes === undefined ? {} : { attributes: result.attributes }),
          ...(result.traceState === undefined ? {} : { traceState: result.traceState }),
        };
      },
      toString: () => `GovernedSampler{${inner.toString()}}`,
    };
  }

  exporter(inner: SpanExporterLike, options: ExporterOptions = {}): SpanExporterLike {
    return {
      export: (spans, resultCallback) => {
        const sealing: Promise<SealOutcome>[] = [];
        for (const span of spans) {
          this.guard(() => {
            const captured =
              this.find(span) ??
              (options.all || this.judge(span) ? this.begin(span, false) : undefined);
            if (captured === undefined) return;
            this.end(captured, span);
            sealing.push(this.pending.outcomeOf(captured));
          });
        }
        if (sealing.length === 0) {
          inner.export(spans, resultCallback);
          return;
        }
        void Promise.all(sealing).then((outcomes) => {
          const lost = outcomes.find((outcome) => outcome.status === 'lost');
          const failure =
            lost !== undefined && options.required
              ? { code: EXPORT_FAILED, error: new Error(`not sealed: ${lost.cause}`) }
              : undefined;
          this.guard(() => {
            try {
              inner.export(spans, (result) => resultCallback(failure ?? result));
            } catch (error) {
              resultCallback({
                code: EXPORT_FAILED,
                error: error instanceof Error ? error : new Error('the exporter threw'),
              });
            }
          });
        });
      },
      forceFlush: async () => {
        await this.flushInTime();
        await inner.forceFlush?.();
      },
      shutdown: async () => {
        await this.flushInTime();
        await inner.shutdown();
      },
    };
  }

  committed(span: SpanContext | { spanContext(): SpanContext }): Promise<SealOutcome> {
    const captured = this.guard(() =>
      this.lookUp('spanContext' in span ? span.spanContext() : span),
    );
    if (captured === undefined) return Promise.resolve({ status: 'lost', cause: 'not captured' });
    return this.pending.outcomeOf(captured);
  }

  flush(): Promise<void> {
    return this.pending.flush();
  }

  shutdown(): Promise<void> {
    this.pending.close();
    return this.pending.flush();
  }

  drainSync(): void {
    this.guard(() => this.pending.drainSync());
  }

  stats(): CaptureStats {
    const { pending } = this;
    // A number must not be missing from both the open ranges and the losses reported.
    pending.reportLosses();
    return {
      started: this.startedCount,
      ended: this.endedCount,
      submitted: pending.submittedCount,
      sealed: pending.sealedCount,
      lost: pending.lostCount,
      highestSequence: this.highestSequence,
      openRanges: pending.openRanges(),
      pendingByteLength: pending.byteLength,
      lostValues: pending.lostValueCount,
      releasedUnsealed: this.releasedUnsealedCount,
      unsettledResources: pending.unsettledResourceCount,
      failures: this.failureCount + pending.failureCount,
    };
  }

  private onStart(span: LiveSpanLike): void {
    const upgraded = this.upgradedTraceId;
    this.upgradedTraceId = undefined;
    this.lastSpan = span;
    this.lastCaptured = undefined;
    const recordOnly = upgraded !== undefined && upgraded === span.spanContext().traceId;
    if (!recordOnly && !this.judge(span)) return;
    const captured = this.begin(span, recordOnly);
    this.lastCaptured = captured;
    span.setAttribute(ATTR_AIGOV_SEQUENCE, captured.sequence);
    markValueLimit(span);
    this.options.onGovernedStart?.(span);
  }

  private onEnd(span: ReadableSpanLike): void {
    this.lastSpan = span;
    this.lastCaptured = undefined;
    // What became governed after its start is numbered now.
    const captured = this.find(span) ?? (this.judge(span) ? this.begin(span, false) : undefined);
    this.lastCaptured = captured;
    if (captured !== undefined) this.end(captured, span);
  }

  private judge(span: ReadableSpanLike): boolean {
    return this.governed({
      scopeName: (span.instrumentationScope ?? span.instrumentationLibrary)?.name,
      spanName: span.name,
      attributes: span.attributes,
    });
  }

  private begin(span: ReadableSpanLike, recordOnly: boolean): Captured {
    const context = span.spanContext() as SpanContext;
    const { traceId, spanId } = context;
    const sequence = this.nextSequence();
    this.highestSequence = sequence;
    this.startedCount++;
    const captured = new Captured(sequence, context, recordOnly);
    this.pending.start(captured);
    this.byContext.set(context, captured);
    this.byId.set(spanId, captured);
    const { onIntent } = this.options;
    if (onIntent !== undefined) {
      const { startTime, attributes } = span;
      this.guard(() => onIntent({ sequence, traceId, spanId, startTime, attributes }));
    }
    return captured;
  }

  /** A span can come twice: through the processor and through the exporter. */
  private end(captured: Captured, span: ReadableSpanLike): void {
    if (captured.acceptIndex !== 0 || captured.outcome !== undefined) return;
    this.endedCount++;
    this.pending.accept(captured, span);
    if (this.options.sync) this.pending.drainSync();
  }

  private find(span: ReadableSpanLike): Captured | undefined {
    return this.lookUp(span.spanContext());
  }

  private lookUp(context: {
    readonly traceId: string;
    readonly spanId: string;
  }): Captured | undefined {
    const captured = this.byContext.get(context as SpanContext);
    if (captured !== undefined) return captured;
    const candidate = this.byId.get(context.spanId);
    return candidate?.context.traceId === context.traceId ? candidate : undefined;
  }

  private settled(captured: Captured): void {
    this.forgetLater(captured.context.spanId);
    const { onSettled } = this.options;
    if (onSettled === undefined) return;
    const { sequence, outcome } = captured;
    const recordIndex = outcome?.status === 'sealed' ? outcome.recordIndex : undefined;
    this.guard(() => onSettled(sequence, recordIndex));
  }

  /** A ring, so that the map of ids does not grow with the age of the process. */
  private forgetLater(spanId: string): void {
    const oldest = this.settledIds[this.settledIdsAt];
    this.settledIds[this.settledIdsAt] = spanId;
    this.settledIdsAt = (this.settledIdsAt + 1) % SETTLED_KEPT_COUNT;
    if (oldest !== undefined && this.byId.get(oldest)?.outcome !== undefined) {
      this.byId.delete(oldest);
    }
  }

  /** What `inner` throws when the SDK calls it is the application's; when we call it later, it is caught and counted. */
  private gate(inner: SpanProcessorLike): SpanProcessorLike {
    const { forwarding } = this.options;
    const capturedOf = (span: ReadableSpanLike): Captured | undefined =>
      span === this.lastSpan ? this.lastCaptured : this.guard(() => this.find(span));
    const gate: SpanProcessorLike = {
      onStart: (span, parentContext) => {
        if (!capturedOf(span)?.recordOnly) inner.onStart(span, parentContext);
      },
      onEnd: (span) => {
        const captured = capturedOf(span);
        if (captured === undefined || (forwarding === 'off' && !captured.recordOnly)) {
          inner.onEnd(span);
        } else if (forwarding === 'through' && !captured.recordOnly) {
          this.hold(captured, span, inner);
        }
      },
      forceFlush: async () => {
        await this.flushInTime();
        await inner.forceFlush();
      },
      shutdown: async () => {
        await this.flushInTime();
        await inner.shutdown();
      },
    };
    if (typeof inner.onEnding === 'function') {
      gate.onEnding = (span) => {
        if (!capturedOf(span)?.recordOnly) inner.onEnding?.(span);
      };
    }
    return gate;
  }

  private hold(captured: Captured, span: ReadableSpanLike, inner: SpanProcessorLike): void {
    // Held only if it is sure to be settled; a span that was lost at once has nothing to wait for.
    if (captured.acceptIndex === 0 || captured.outcome !== undefined) {
      if (captured.outcome?.status !== 'sealed') this.releasedUnsealedCount++;
      inner.onEnd(span);
      return;
    }
    const { release } = captured;
    captured.release = (released, outcome) => {
      // Several processors of the application may wait for one span.
      if (release !== undefined) this.guard(() => release(released, outcome));
      else if (outcome.status === 'lost') this.releasedUnsealedCount++;
      inner.onEnd(span);
    };
  }

  /** Waits for a flush, but not for ever; then the application's processors get what is still held. Never rejects. */
  private async flushInTime(): Promise<void> {
    let deadline: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      deadline = setTimeout(resolve, this.flushDelayMsMax, 'late');
    });
    const first = await Promise.race([this.pending.flush(), late]);
    clearTimeout(deadline);
    if (first !== 'late') return;
    for (const captured of [...this.pending.unsettled()]) {
      const { release, span } = captured;
      captured.release = undefined;
      this.guard(() => release?.(span, { status: 'lost', cause: 'late' }));
    }
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

function quantity(name: string, value: number): number {
  if (!(value >= 0)) throw new RangeError(`${name} must be a number of 0 or more`);
  return value;
}
