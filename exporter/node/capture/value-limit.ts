// SPDX-License-Identifier: Apache-2.0
/**
 * Tells how long a text on a span may be before its SDK cuts it, which SDKs do without counting. Reads a field that is
 * theirs: of another shape it says nothing, as of an SDK that cuts nothing.
 */
import { ATTR_AIGOV_VALUE_LENGTH_LIMIT } from '../../../semconv/index.ts';
import type { LiveSpanLike } from '../otlp/sdk-shapes.ts';

/** Marks a span that just started with the limit of its SDK, so that what is sealed says what may be cut in it. */
export function markValueLimit(span: LiveSpanLike): void {
  const limit = limitOf(span);
  if (limit !== undefined) span.setAttribute(ATTR_AIGOV_VALUE_LENGTH_LIMIT, limit);
}

/** `_spanLimits` of SDK 1.30, 2.x and 3.x; 1.30 takes 0 for no limit. */
function limitOf(span: LiveSpanLike): number | undefined {
  const limits: unknown = '_spanLimits' in span ? span._spanLimits : undefined;
  if (typeof limits !== 'object' || limits === null) return undefined;
  const limit = 'attributeValueLengthLimit' in limits ? limits.attributeValueLengthLimit : 0;
  return typeof limit === 'number' && Number.isSafeInteger(limit) && limit > 0 ? limit : undefined;
}
