// SPDX-License-Identifier: Apache-2.0
/**
 * A sealer that keeps chunks in memory: one record per chunk, answered at once or when a test says so.
 * Seals nothing; what it was handed is cut by the real walker, so a chunk that no log would take fails the test.
 */
import { splitRequest } from '../../exporter/log/entries.ts';
import type { Chunk, SealOutcome } from '../../exporter/node/capture/pending.ts';
import { type PlainSpan, spansOfTraces } from './otlp-proto.ts';

export const MEMORY_ORIGIN = 'example.org/audit/memory';

export interface MemorySealer {
  readonly submit: (chunk: Chunk) => Promise<SealOutcome>;
  readonly chunks: readonly Chunk[];
  /** Every span submitted, in the order of the log. */
  spans(): PlainSpan[];
  /** The span at a place of the log, as an outcome names it. */
  at(outcome: SealOutcome): PlainSpan | undefined;
  /** `answer` makes each new chunk wait until `answerAll`. */
  holds: boolean;
  /** Answers what waits: sealed, or lost with a cause. */
  answerAll(cause?: string): void;
}

export function openMemorySealer(): MemorySealer {
  const chunks: Chunk[] = [];
  const waiting: ((cause?: string) => void)[] = [];
  const entries: Uint8Array[][] = [];
  const sealer: MemorySealer = {
    chunks,
    holds: false,
    submit: (chunk) => {
      const recordIndex = chunks.push(chunk) - 1;
      const cut = splitRequest(chunk.bytes, 'traces');
      entries.push(cut);
      if (cut.length !== chunk.spanCount) throw new Error('the count of a chunk is wrong');
      const sealed: SealOutcome = {
        status: 'sealed',
        origin: MEMORY_ORIGIN,
        recordIndex,
        firstEntry: 0,
      };
      if (!sealer.holds) return Promise.resolve(sealed);
      return new Promise((resolve) => {
        waiting.push((cause) => resolve(cause === undefined ? sealed : { status: 'lost', cause }));
      });
    },
    spans: () => chunks.flatMap(({ bytes }) => spansOfTraces(bytes)),
    at: (outcome) => {
      if (outcome.status !== 'sealed') return undefined;
      const entry = entries[outcome.recordIndex]?.[outcome.firstEntry];
      return entry === undefined ? undefined : spansOfTraces(entry)[0];
    },
    answerAll: (cause) => {
      for (const answer of waiting.splice(0)) answer(cause);
    },
  };
  return sealer;
}
