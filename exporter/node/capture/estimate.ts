// SPDX-License-Identifier: Apache-2.0
/**
 * Estimates how large a span is without serialising it, so that chunks and memory can be bounded when it ends.
 * Does not promise the exact length: text outside ASCII takes up to three times what is said here.
 */
import type { ReadableSpanLike } from '../otlp/sdk-shapes.ts';

/** Roughly what the span takes once written, and at least in proportion to what it holds in memory. */
export function estimateByteLength(span: ReadableSpanLike): number {
  let byteLength = 128 + span.name.length + estimateAttributes(span.attributes);
  for (const event of span.events) {
    byteLength += 32 + event.name.length + estimateAttributes(event.attributes);
  }
  for (const link of span.links) byteLength += 64 + estimateAttributes(link.attributes);
  return byteLength;
}

function estimateAttributes(attributes: Readonly<Record<string, unknown>> | undefined): number {
  let byteLength = 0;
  for (const key in attributes) byteLength += 8 + key.length + estimateValue(attributes[key], 0);
  return byteLength;
}

/** Values this deep or lists this long are guessed from what was looked at: an estimate must stay cheap. */
const ESTIMATE_DEPTH_MAX = 6;
const ESTIMATE_ITEM_COUNT_MAX = 256;

function estimateValue(value: unknown, depth: number): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 8;
  if (value instanceof Uint8Array) return value.length;
  if (depth === ESTIMATE_DEPTH_MAX) return 64;
  const items: readonly unknown[] = Array.isArray(value) ? value : Object.values(value);
  const seenCount = Math.min(items.length, ESTIMATE_ITEM_COUNT_MAX);
  let byteLength = 0;
  for (let i = 0; i < seenCount; i++) byteLength += 8 + estimateValue(items[i], depth + 1);
  return seenCount === 0 ? 0 : Math.ceil((byteLength * items.length) / seenCount);
}
