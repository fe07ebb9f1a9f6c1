// SPDX-License-Identifier: Apache-2.0
// Goal: what was refused is summed by source, principal and cause, in bounded memory. Method: events as a log has them.
import { expect, test } from 'vitest';
import type { RefusedEvent } from '../exporter/log/control.ts';
import {
  REFUSED_KIND_COUNT_MAX,
  type Refused,
  RefusedCounts,
} from '../exporter/node/verifying/refused.ts';

const EVENT: RefusedEvent = { name: 'refused', count: 1, cause: 'otlp.tag', source: 'direct' };

function countsOf(...events: readonly Partial<RefusedEvent>[]): readonly Refused[] {
  const refused = new RefusedCounts();
  for (const event of events) refused.take({ ...EVENT, ...event });
  return refused.counts;
}

test('of each source, each principal and each cause on its own, most first', () => {
  const principal = new Uint8Array(32);
  const one: Refused = { count: 1, cause: 'otlp.tag', source: 'direct', principal: null };
  expect(countsOf()).toEqual([]);
  expect(
    countsOf({ principal }, { source: 'collector' }, { cause: 'x' }, {}, { count: 5 }),
  ).toEqual([
    { ...one, count: 6 },
    { ...one, principal: `${'A'.repeat(43)}=` },
    { ...one, source: 'collector' },
    { ...one, cause: 'x' },
  ]);
});

test('other events are no refusals', () => {
  const refused = new RefusedCounts();
  refused.take({ name: 'hold', action: 'on', id: 'x' });
  expect(refused.counts).toEqual([]);
});

test('what is too many to be told apart is counted all the same', () => {
  const events = Array.from({ length: REFUSED_KIND_COUNT_MAX + 3 }, (_, at) => ({
    cause: `${at}`,
  }));
  const counts = countsOf(...events, { cause: '0' });
  expect(counts.length).toBe(REFUSED_KIND_COUNT_MAX + 1);
  expect(counts[0]).toMatchObject({ cause: '0', count: 2 });
  expect(counts.at(-1)).toEqual({ count: 3, cause: 'other', source: '-', principal: null });
});
