// SPDX-License-Identifier: Apache-2.0
/**
 * Numbers the governed spans of a process that has no log of its own, and says in heartbeats how many there are, so that
 * whoever verifies the gateway's log can tell which never arrived there. Has all of them exported, whatever a sampler says.
 * Makes nothing durable, and can not number a span that becomes governed only after its end.
 */
import { randomUUID } from 'node:crypto';
import {
  AIGOV_HEARTBEAT_STATE_VALUE_CLOSED,
  AIGOV_HEARTBEAT_STATE_VALUE_RUNNING,
  ATTR_AIGOV_HEARTBEAT_ENDED,
  ATTR_AIGOV_HEARTBEAT_HIGHEST,
  ATTR_AIGOV_HEARTBEAT_INTERVAL_MS,
  ATTR_AIGOV_HEARTBEAT_OPEN,
  ATTR_AIGOV_HEARTBEAT_STARTED,
  ATTR_AIGOV_HEARTBEAT_STATE,
  ATTR_AIGOV_SEQUENCE,
  isGoverned,
} from '../../semconv/index.ts';
import { formatNumberRanges, type NumberRange } from '../log/numbers.ts';
import { type AttachOutcome, attach, type Interposed } from './capture/attach.ts';
import { markValueLimit } from './capture/value-limit.ts';
import type {
  AttributesLike,
  LiveSpanLike,
  ReadableSpanLike,
  SamplerLike,
  SpanProcessorLike,
} from './otlp/sdk-shapes.ts';
import { RECORD_AND_SAMPLED } from './otlp/sdk-shapes.ts';
import { boundedOpen } from './sealing/members.ts';
import { VERSION } from './system/version.ts';
import { ATTR_SERVICE_INSTANCE_ID } from './verifying/beats.ts';

export interface RemoteOptions {
  /** How often a heartbeat is sent at least. */
  readonly heartbeatMs: number;
  /** May set attributes on a governed span that just started. */
  readonly onGovernedStart?: (span: LiveSpanLike) => void;
}

/** What a process numbers, and how it ends. */
export interface Remote {
  /** The `service.instance.id` on its spans: one life of this process. */
  readonly instance: string;
  /** Spans that were numbered and have ended. */
  readonly endedCount: number;
  /** Lets the spans of a provider be numbered and exported. Never throws. */
  attach(provider: unknown): AttachOutcome;
  /** Says that nothing follows, and flushes what the application's processors hold; resolves by the deadline. */
  close(deadlineMs?: number): Promise<void>;
}

const SCOPE = 'sealspan/heartbeat';
/** A provider may get its processors a moment after it was registered. */
const FIRST_BEAT_DELAY_MS = 1000;
const CLOSE_DELAY_MS = 2000;

interface HeartbeatTracer {
  startSpan(
    name: string,
    options: { readonly root: boolean; readonly attributes: AttributesLike },
  ): {
    setAttributes(attributes: AttributesLike): unknown;
    end(): void;
  };
}

/** Opens the numbers of this process; they begin at 1. */
export function openRemote(options: RemoteOptions): Remote {
  return new RemoteNumbers(options);
}

class RemoteNumbers implements Remote, Interposed {
  readonly instance: string = randomUUID();
  readonly #options: RemoteOptions;
  readonly #processor: SpanProcessorLike;
  readonly #inner: SpanProcessorLike[] = [];
  readonly #sequences = new WeakMap<object, number>();
  /** Ascending, since numbers are given in order. */
  readonly #open = new Set<number>();
  #highest = 0;
  #endedCount = 0;
  /** Highest number when the last closing beat was sent. */
  #closedAt = 0;
  #tracer: HeartbeatTracer | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RemoteOptions) {
    this.#options = options;
    this.#processor = {
      onStart: (span) => guard(() => this.#start(span)),
      // Of an SDK that asks before the end: what became governed meanwhile can still be numbered.
      onEnding: (span) => guard(() => this.#start(span)),
      onEnd: (span) => guard(() => this.#end(span)),
      forceFlush: () => Promise.resolve(),
      // The first of the provider's processors: those behind it still take what is sent now.
      shutdown: () => {
        guard(() => this.#beatClosed());
        return Promise.resolve();
      },
    };
  }

  get endedCount(): number {
    return this.#endedCount;
  }

  attach(provider: unknown): AttachOutcome {
    const outcome = attach(provider, this);
    if (outcome.status === 'attached') guard(() => this.#beatThrough(provider));
    return outcome;
  }

  wrapProcessors(inner: readonly SpanProcessorLike[]): SpanProcessorLike[] {
    this.#inner.push(...inner);
    return [this.#processor, ...inner];
  }

  sampler(inner: SamplerLike, scopeName?: string): SamplerLike {
    return {
      shouldSample: (context, traceId, spanName, spanKind, attributes, links) => {
        const result = inner.shouldSample(context, traceId, spanName, spanKind, attributes, links);
        if (result.decision === RECORD_AND_SAMPLED) return result;
        if (!guard(() => isGoverned({ scopeName, spanName, attributes }))) return result;
        return { ...result, decision: RECORD_AND_SAMPLED };
      },
      toString: () => `GovernedSampler{${inner.toString()}}`,
    };
  }

  async close(deadlineMs: number = CLOSE_DELAY_MS): Promise<void> {
    guard(() => this.#beatClosed());
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    const flushed = this.#inner.map(async (processor) => processor.forceFlush());
    await Promise.race([Promise.allSettled(flushed), deadline]);
    clearTimeout(timer);
  }

  #start(span: LiveSpanLike): void {
    if (this.#sequences.has(span) || !this.#judge(span)) return;
    const sequence = this.#highest + 1;
    span.setAttribute(ATTR_SERVICE_INSTANCE_ID, this.instance);
    span.setAttribute(ATTR_AIGOV_SEQUENCE, sequence);
    // A number that a full span did not take would be missed by everybody.
    if (span.attributes[ATTR_AIGOV_SEQUENCE] !== sequence) return;
    this.#highest = sequence;
    this.#open.add(sequence);
    this.#sequences.set(span, sequence);
    markValueLimit(span);
    this.#options.onGovernedStart?.(span);
  }

  #end(span: ReadableSpanLike): void {
    const sequence = this.#sequences.get(span);
    if (sequence !== undefined && this.#open.delete(sequence)) this.#endedCount++;
  }

  #judge(span: ReadableSpanLike): boolean {
    return isGoverned({
      scopeName: (span.instrumentationScope ?? span.instrumentationLibrary)?.name,
      spanName: span.name,
      attributes: span.attributes,
    });
  }

  #beatThrough(provider: unknown): void {
    const { getTracer } = provider as { getTracer(name: string, version: string): HeartbeatTracer };
    this.#tracer = getTracer.call(provider, SCOPE, VERSION);
    const beat = (): void => {
      guard(() => this.#beat(AIGOV_HEARTBEAT_STATE_VALUE_RUNNING));
      this.#timer = setTimeout(beat, this.#options.heartbeatMs).unref();
    };
    this.#timer ??= setTimeout(
      beat,
      Math.min(this.#options.heartbeatMs, FIRST_BEAT_DELAY_MS),
    ).unref();
  }

  #beatClosed(): void {
    if (this.#highest > this.#closedAt || this.#closedAt === 0) {
      this.#beat(AIGOV_HEARTBEAT_STATE_VALUE_CLOSED);
      this.#closedAt = this.#highest;
    }
  }

  /** A heartbeat is a governed span as any other, with a number of its own: one that is lost is missed. */
  #beat(state: string): void {
    const span = this.#tracer?.startSpan('heartbeat', {
      root: true,
      attributes: {
        [ATTR_AIGOV_HEARTBEAT_INTERVAL_MS]: this.#options.heartbeatMs,
        [ATTR_AIGOV_HEARTBEAT_STATE]: state,
      },
    });
    const own = this.#highest;
    const open = rangesOf([...this.#open].filter((sequence) => sequence !== own));
    span?.setAttributes({
      [ATTR_AIGOV_HEARTBEAT_HIGHEST]: own,
      [ATTR_AIGOV_HEARTBEAT_OPEN]: boundedOpen(formatNumberRanges(open)),
      [ATTR_AIGOV_HEARTBEAT_STARTED]: own,
      [ATTR_AIGOV_HEARTBEAT_ENDED]: this.#endedCount,
    });
    span?.end();
  }
}

function rangesOf(ascending: readonly number[]): NumberRange[] {
  const ranges: [first: number, last: number][] = [];
  for (const number of ascending) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges;
}

/** Nothing of ours is the application's to catch (invariant 7). */
function guard<T>(step: () => T): T | undefined {
  try {
    return step();
  } catch {
    return undefined;
  }
}
