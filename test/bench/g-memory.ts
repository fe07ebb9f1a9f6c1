// SPDX-License-Identifier: Apache-2.0
/**
 * G: what a gateway holds in memory at 20,000 spans a second while its backend is away: the log is the queue, so nothing may
 * pile up. Resident bytes of the whole process, looked at twice a second.
 */

import type { LoadFound, LoadSpec } from './probes/load.ts';
import { type Bench, median, type Row, row, runBenches } from './support/bench.ts';
import { hasProc, probe, residentBytesOf } from './support/processes.ts';
import { startGateway } from './support/servers.ts';

const RATE = 20_000;
const SECONDS = 40;
const MIB = 1024 * 1024;
/** Nobody listens there. */
const AWAY_PORT = 9;

export const memory: Bench = {
  id: 'G',
  question: 'resident memory of a gateway at 20,000 spans/s, its backend away',
  run: async ({ dir, say }) => {
    if (!hasProc) {
      say('G: left out, this system does not tell what other processes use');
      return [];
    }
    const rows: Row[] = [];
    for (const [id, spanCount] of [
      ['G', 512],
      ['G.64', 64],
    ] as const) {
      say(id);
      const server = await startGateway({
        dir: dir('gateway'),
        protocol: 'grpc',
        backendPort: AWAY_PORT,
      });
      const idle = residentBytesOf(server.pid) / MIB;
      const samples: number[] = [];
      const timer = setInterval(() => samples.push(residentBytesOf(server.pid) / MIB), 500);
      const load = await probe<LoadFound>('load', {
        endpoint: server.endpoint,
        protocol: 'grpc',
        style: { seed: 1, byteLength: 1024, content: 'off' },
        spanCount,
        requestCount: Math.ceil((RATE * SECONDS) / spanCount),
        inFlight: 32,
        rate: RATE,
      } satisfies LoadSpec);
      clearInterval(timer);
      await server.stop();
      // What a process takes to warm up is no growth.
      const third = Math.floor(samples.length / 3);
      const middle = median(samples.slice(third, 2 * third));
      const last = median(samples.slice(2 * third));
      const rate = Math.round(load.spans / load.seconds);
      rows.push(
        row({
          id: `${id}.resident`,
          what: `highest, ${spanCount} spans to a request`,
          unit: 'MiB',
          values: [Math.max(...samples)],
          aim: { most: 200 },
          floor: [idle],
          note: `floor: before the first span; ${rate} spans/s for ${Math.round(load.seconds)} s, ${load.retries} asked to come again`,
        }),
        row({
          id: `${id}.growth`,
          what: 'last third over the one before',
          unit: 'x',
          values: [last / middle],
          aim: { most: 1.1 },
        }),
      );
    }
    return rows;
  },
};

if (import.meta.main) await runBenches([memory]);
