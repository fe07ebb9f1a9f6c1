// SPDX-License-Identifier: Apache-2.0
/**
 * Reads TracesData into what a test would write down: plain values, ids in hex, spans with their scope and resource.
 * Decoding is protobufjs', so nothing of ours judges itself. Integers beyond 2^53 lose their last digits.
 */
import { decodeOtlp } from './otlp-backend.ts';

export type PlainValue =
  | string
  | number
  | boolean
  | null
  | Uint8Array
  | readonly PlainValue[]
  | { readonly [key: string]: PlainValue };

export type PlainAttributes = Readonly<Record<string, PlainValue>>;

export interface PlainSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly flags: number;
  readonly traceState: string;
  readonly attributes: PlainAttributes;
  readonly droppedAttributesCount: number;
  readonly scope: string;
  readonly resource: PlainAttributes;
}

interface ValueJson {
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly intValue?: string;
  readonly doubleValue?: number;
  readonly bytesValue?: string;
  readonly arrayValue?: { readonly values?: readonly ValueJson[] };
  readonly kvlistValue?: { readonly values?: readonly KeyValueJson[] };
}
interface KeyValueJson {
  readonly key?: string;
  readonly value?: ValueJson;
}
interface SpanJson {
  readonly traceId?: string;
  readonly spanId?: string;
  readonly parentSpanId?: string;
  readonly name?: string;
  readonly traceState?: string;
  readonly flags?: number;
  readonly attributes?: readonly KeyValueJson[];
  readonly droppedAttributesCount?: number;
}
interface TracesJson {
  readonly resourceSpans?: readonly {
    readonly resource?: { readonly attributes?: readonly KeyValueJson[] };
    readonly scopeSpans?: readonly {
      readonly scope?: { readonly name?: string };
      readonly spans?: readonly SpanJson[];
    }[];
  }[];
}

/** The spans of a `TracesData`, in the order of its bytes. */
export function spansOfTraces(bytes: Uint8Array): PlainSpan[] {
  const traces = decodeOtlp('TracesData', bytes) as TracesJson;
  return (traces.resourceSpans ?? []).flatMap(({ resource, scopeSpans }) =>
    (scopeSpans ?? []).flatMap(({ scope, spans }) =>
      (spans ?? []).map((span) => ({
        name: span.name ?? '',
        traceId: hex(span.traceId),
        spanId: hex(span.spanId),
        parentSpanId: hex(span.parentSpanId),
        flags: span.flags ?? 0,
        traceState: span.traceState ?? '',
        attributes: plainAttributes(span.attributes),
        droppedAttributesCount: span.droppedAttributesCount ?? 0,
        scope: scope?.name ?? '',
        resource: plainAttributes(resource?.attributes),
      })),
    ),
  );
}

function hex(base64: string | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString('hex');
}

function plainAttributes(attributes: readonly KeyValueJson[] | undefined): PlainAttributes {
  return Object.fromEntries((attributes ?? []).map(({ key, value }) => [key ?? '', plain(value)]));
}

function plain(value: ValueJson | undefined): PlainValue {
  if (value?.stringValue !== undefined) return value.stringValue;
  if (value?.boolValue !== undefined) return value.boolValue;
  if (value?.intValue !== undefined) return Number(value.intValue);
  if (value?.doubleValue !== undefined) return value.doubleValue;
  if (value?.bytesValue !== undefined) {
    return new Uint8Array(Buffer.from(value.bytesValue, 'base64'));
  }
  if (value?.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(plain);
  if (value?.kvlistValue !== undefined) return plainAttributes(value.kvlistValue.values);
  return null;
}
