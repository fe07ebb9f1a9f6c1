// SPDX-License-Identifier: Apache-2.0
/**
 * The shapes that spans, processors, samplers and exporters have in the SDK lines 1.30, 2.x and 3.x alike, so that none
 * of these lines is a dependency of ours. Holds nothing that checks an object against them.
 */
import type { Attributes, Context, Link, TraceState } from '@opentelemetry/api';

/** Seconds since 1970 and nanoseconds within that second. */
export type HrTimeLike = readonly [number, number];

export interface SpanContextLike {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly isRemote?: boolean | undefined;
  readonly traceState?: { serialize(): string } | undefined;
}

export type AttributesLike = Readonly<Record<string, unknown>>;

export interface ScopeLike {
  readonly name: string;
  readonly version?: string | undefined;
  readonly schemaUrl?: string | undefined;
  readonly attributes?: AttributesLike | undefined;
  readonly droppedAttributesCount?: number | undefined;
}

export interface ResourceLike {
  readonly attributes?: AttributesLike | undefined;
  readonly schemaUrl?: string | undefined;
  readonly asyncAttributesPending?: boolean | undefined;
  waitForAsyncAttributes?(): Promise<void>;
}

export interface SpanEventLike {
  readonly time: HrTimeLike;
  readonly name: string;
  readonly attributes?: AttributesLike | undefined;
  readonly droppedAttributesCount?: number | undefined;
}

export interface SpanLinkLike {
  readonly context: SpanContextLike;
  readonly attributes?: AttributesLike | undefined;
  readonly droppedAttributesCount?: number | undefined;
}

/** An ended span of SDK 1.30, 2.x or 3.x. The 1.x line has `instrumentationLibrary` and `parentSpanId`. */
export interface ReadableSpanLike {
  readonly name: string;
  readonly kind: number;
  spanContext(): SpanContextLike;
  readonly parentSpanContext?: SpanContextLike | undefined;
  readonly parentSpanId?: string | undefined;
  readonly startTime: HrTimeLike;
  readonly endTime: HrTimeLike;
  readonly status: { readonly code: number; readonly message?: string | undefined };
  readonly attributes: AttributesLike;
  readonly links: readonly SpanLinkLike[];
  readonly events: readonly SpanEventLike[];
  readonly resource: ResourceLike;
  readonly instrumentationScope?: ScopeLike | undefined;
  readonly instrumentationLibrary?: ScopeLike | undefined;
  readonly droppedAttributesCount: number;
  readonly droppedEventsCount: number;
  readonly droppedLinksCount: number;
}

/** A span that has not ended yet, of SDK 1.30, 2.x or 3.x. */
export interface LiveSpanLike extends ReadableSpanLike {
  setAttribute(key: string, value: string | number | boolean): unknown;
}

/** `SpanProcessor` of SDK 1.30, 2.x and 3.x. */
export interface SpanProcessorLike {
  onStart(span: LiveSpanLike, parentContext: Context): void;
  onEnding?(span: LiveSpanLike): void;
  onEnd(span: ReadableSpanLike): void;
  forceFlush(): Promise<void>;
  shutdown(): Promise<void>;
}

export interface SamplingResultLike {
  readonly decision: number;
  readonly attributes?: Readonly<Attributes>;
  readonly traceState?: TraceState;
}

/** `Sampler` of SDK 1.30, 2.x and 3.x. */
export interface SamplerLike {
  shouldSample(
    context: Context,
    traceId: string,
    spanName: string,
    spanKind: number,
    attributes: Attributes,
    links: Link[],
  ): SamplingResultLike;
  toString(): string;
}

export interface ExportResultLike {
  readonly code: number;
  readonly error?: Error;
}

/** `SpanExporter` of SDK 1.30, 2.x and 3.x. */
export interface SpanExporterLike {
  export(spans: ReadableSpanLike[], resultCallback: (result: ExportResultLike) => void): void;
  shutdown(): Promise<void>;
  forceFlush?(): Promise<void>;
}

/** `SamplingDecision.NOT_RECORD` of every line. */
export const NOT_RECORD: number = 0;
/** `SamplingDecision.RECORD` of every line: recorded, without the sampled flag. */
export const RECORD: number = 1;
/** `SamplingDecision.RECORD_AND_SAMPLED` of every line. */
export const RECORD_AND_SAMPLED: number = 2;
/** `ExportResultCode.FAILED` of every line. */
export const EXPORT_FAILED: number = 1;
