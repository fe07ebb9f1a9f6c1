// SPDX-License-Identifier: Apache-2.0
/**
 * K: what a watched call costs the event loop beside the same call left alone, toggled within one process against a provider on
 * this machine: hook and span, and apart from these the digests of content, per kB.
 */
import { startFakeOpenai } from '../support/fake-openai.ts';
import type { HooksFound, HooksSpec } from './probes/hooks.ts';
import { type Bench, type Row, row, runBenches } from './support/bench.ts';
import { probe } from './support/processes.ts';

const KILOBYTE = 1024;
const LOADS = [
  {
    id: 'K.plain',
    what: 'an answer in one piece, a prompt of 1 kB',
    kilobytes: 1,
    isStream: false,
  },
  { id: 'K.stream', what: 'an answer streamed, a prompt of 1 kB', kilobytes: 1, isStream: true },
  {
    id: 'K.large',
    what: 'an answer in one piece, a prompt of 64 kB',
    kilobytes: 64,
    isStream: false,
  },
] as const;
/** The hook and its span, of what the bare client takes. */
const AIM = { most: 0.1 };

export const hooks: Bench = {
  id: 'K',
  question: 'CPU on the event loop for a watched call, of what the client takes by itself',
  run: async ({ rounds, say }) => {
    const provider = await startFakeOpenai();
    const rows: Row[] = [];
    for (const { id, what, kilobytes, isStream } of LOADS) {
      say(`K: ${what}`);
      const found: HooksFound[] = [];
      for (let round = 0; round < rounds; round++) {
        const spec: HooksSpec = {
          url: provider.url,
          promptByteLength: kilobytes * KILOBYTE,
          isStream,
          turnCount: 15,
          callCount: 100,
        };
        found.push(await probe<HooksFound>('hooks', spec));
      }
      const mean = (of: keyof HooksFound): string =>
        (found.reduce((sum, one) => sum + one[of], 0) / found.length).toFixed(0);
      rows.push(
        row({
          id,
          what: `${what}: hook and span, of the bare client`,
          unit: 'x',
          values: found.map(
            ({ bareMicroseconds, watchedMicroseconds }) =>
              (watchedMicroseconds - bareMicroseconds) / bareMicroseconds,
          ),
          aim: AIM,
          note: `us a call: ${mean('bareMicroseconds')} bare, ${mean('watchedMicroseconds')} watched, ${mean('digestedMicroseconds')} with digests`,
        }),
        row({
          id: `${id}.digests`,
          what: `${what}: digests of content, beside that`,
          unit: 'us/kB of prompt',
          values: found.map(
            ({ digestedMicroseconds, watchedMicroseconds }) =>
              (digestedMicroseconds - watchedMicroseconds) / kilobytes,
          ),
        }),
      );
    }
    await provider.close();
    return rows;
  },
};

if (import.meta.main) await runBenches([hooks]);
