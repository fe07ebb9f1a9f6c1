// SPDX-License-Identifier: Apache-2.0
/**
 * D: spans that a gateway takes, seals, syncs and forwards with one second of CPU, against a real Collector that takes, queues
 * on the disk with fsync, and forwards to the same backend. CPU of the whole process, until the backend has all.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { LoadFound, LoadSpec } from './probes/load.ts';
import { type Bench, interleaved, perRound, type Row, row, runBenches } from './support/bench.ts';
import { cpuSecondsOf, hasProc, probe, type Sink, startSink } from './support/processes.ts';
import {
  collectorMissing,
  type Protocol,
  type Server,
  startCollector,
  startGateway,
} from './support/servers.ts';

const CASES: readonly {
  readonly id: string;
  readonly what: string;
  readonly protocol: Protocol;
  readonly spanCount: number;
  readonly requestCount: number;
  readonly aim?: { readonly least: number };
}[] = [
  {
    id: 'D.grpc',
    what: 'gRPC, 512 spans of 1 kB to a request',
    protocol: 'grpc',
    spanCount: 512,
    requestCount: 160,
    aim: { least: 1 },
  },
  {
    id: 'D.http',
    what: 'HTTP, 512 spans of 1 kB to a request',
    protocol: 'http/protobuf',
    spanCount: 512,
    requestCount: 160,
    aim: { least: 2 },
  },
  {
    id: 'D.grpc.64',
    what: 'gRPC, 64 spans of 1 kB to a request',
    protocol: 'grpc',
    spanCount: 64,
    requestCount: 640,
  },
  {
    id: 'D.http.64',
    what: 'HTTP, 64 spans of 1 kB to a request',
    protocol: 'http/protobuf',
    spanCount: 64,
    requestCount: 640,
  },
];
const IN_FLIGHT = 8;
const DRAIN_DELAY_MS = 120_000;

interface Measured {
  readonly perCpuSecond: number;
  readonly acknowledgedPerSecond: number;
}

async function measure(
  server: Server,
  sink: Sink,
  load: Omit<LoadSpec, 'endpoint'>,
): Promise<Measured> {
  const before = cpuSecondsOf(server.pid);
  const { spans: countedBefore } = await sink.counted();
  const found = await probe<LoadFound>('load', { ...load, endpoint: server.endpoint });
  const endMs = performance.now() + DRAIN_DELAY_MS;
  while ((await sink.counted()).spans < countedBefore + found.spans) {
    if (performance.now() > endMs) throw new Error('the backend did not get all spans');
    await delay(50);
  }
  const seconds = cpuSecondsOf(server.pid) - before;
  return {
    perCpuSecond: found.spans / seconds,
    acknowledgedPerSecond: found.spans / found.seconds,
  };
}

export const gateway: Bench = {
  id: 'D',
  question: 'spans a gateway seals and forwards per CPU second, against the Collector',
  run: async ({ rounds, dir, say }) => {
    if (!hasProc) {
      say('D: left out, this system does not tell what other processes use');
      return [];
    }
    const missing = collectorMissing();
    if (missing !== undefined) say(`D: without its peer: ${missing}`);
    const rows: Row[] = [];
    const sink = await startSink();
    for (const one of CASES) {
      say(one.id);
      const { protocol } = one;
      const backendPort = protocol === 'grpc' ? sink.grpcPort : sink.httpPort;
      const ours = await startGateway({ dir: dir('gateway'), protocol, backendPort });
      const theirs =
        missing === undefined
          ? await startCollector({ dir: dir('collector'), protocol, backendPort })
          : undefined;
      const load = (seed: number, requestCount: number): Omit<LoadSpec, 'endpoint'> => ({
        protocol,
        style: { seed, byteLength: 1024, content: 'off' },
        spanCount: one.spanCount,
        requestCount,
        inFlight: IN_FLIGHT,
      });
      const warm = load(100, Math.ceil(one.requestCount / 4));
      await measure(ours, sink, warm);
      if (theirs !== undefined) await measure(theirs, sink, warm);
      const servers: Readonly<Record<string, Server>> = {
        ours,
        ...(theirs === undefined ? {} : { theirs }),
      };
      const found = await interleaved(
        rounds,
        Object.fromEntries(
          Object.entries(servers).map(([name, server]) => [
            name,
            (round: number) => measure(server, sink, load(round, one.requestCount)),
          ]),
        ),
      );
      await ours.stop();
      await theirs?.stop();
      const per = (which: string, name: keyof Measured): number[] | undefined =>
        found[which]?.map((result) => result[name]);
      const [own, peer] = [per('ours', 'perCpuSecond')!, per('theirs', 'perCpuSecond')];
      if (peer !== undefined) {
        rows.push(
          row({
            id: one.id,
            what: `${one.what}: spans per CPU second, over the Collector`,
            unit: 'x',
            values: perRound([own, peer], (mine, other) => mine / other),
            aim: one.aim,
          }),
        );
      }
      rows.push(
        row({
          id: `${one.id}.cpu`,
          what: `${one.what}: sealed, synced and forwarded`,
          unit: 'spans/CPU s',
          values: own,
          peer,
        }),
        row({
          id: `${one.id}.rate`,
          what: `${one.what}: acknowledged, ${IN_FLIGHT} requests at a time`,
          unit: 'spans/s',
          values: per('ours', 'acknowledgedPerSecond')!,
          peer: per('theirs', 'acknowledgedPerSecond'),
        }),
      );
    }
    await sink.stop();
    return rows;
  },
};

if (import.meta.main) await runBenches([gateway]);
