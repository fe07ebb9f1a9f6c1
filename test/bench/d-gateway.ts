// SPDX-License-Identifier: Apache-2.0
/**
 * D: spans that a gateway takes, seals, syncs and forwards with one second of CPU, against a real Collector that takes, queues
 * on the disk with fsync, and forwards to the same backend. CPU of the whole process, until the backend has all. The floor is
 * a process of Node that takes the same requests by the same transport, counts their spans, and keeps nothing.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { LoadFound, LoadSpec } from './probes/load.ts';
import {
  type Bench,
  exponentOf,
  interleaved,
  perRound,
  type Row,
  row,
  runBenches,
} from './support/bench.ts';
import {
  cpuSecondsOf,
  hasProc,
  peakBytesOf,
  probe,
  type Sink,
  startSink,
} from './support/processes.ts';
import {
  collectorMissing,
  type Protocol,
  type Server,
  startCollector,
  startGateway,
} from './support/servers.ts';

/** Spans of a request, and how many requests: some seconds of work for whoever is measured. */
const SIZES: readonly (readonly [spanCount: number, requestCount: number])[] = [
  [1, 6000],
  [64, 640],
  [512, 160],
  [8192, 12],
];
/** What spans per CPU second are to reach, over those of the Collector. */
const AIMS: Readonly<Record<string, number>> = { 'D.grpc.512': 1, 'D.http.512': 2 };
const PROTOCOLS: Readonly<Record<string, Protocol>> = { grpc: 'grpc', http: 'http/protobuf' };
const SPAN_BYTE_LENGTH = 1024;
const IN_FLIGHT = 8;
const DRAIN_DELAY_MS = 120_000;
const MIB = 1024 * 1024;

interface Measured {
  readonly perCpuSecond: number;
  readonly acknowledgedPerSecond: number;
  readonly peakMib: number;
}

async function measure(
  server: Pick<Server, 'pid' | 'endpoint'>,
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
    peakMib: peakBytesOf(server.pid) / MIB,
  };
}

const loadOf = (
  protocol: Protocol,
  seed: number,
  [spanCount, requestCount]: readonly [number, number],
): Omit<LoadSpec, 'endpoint'> => ({
  protocol,
  style: { seed, byteLength: SPAN_BYTE_LENGTH, content: 'off' },
  spanCount,
  requestCount,
  inFlight: IN_FLIGHT,
});

const portOf = (sink: Sink, protocol: Protocol): number =>
  protocol === 'grpc' ? sink.grpcPort : sink.httpPort;

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
    for (const [name, protocol] of Object.entries(PROTOCOLS)) {
      for (const size of SIZES) {
        const [spanCount, requestCount] = size;
        const id = `D.${name}.${spanCount}`;
        say(id);
        const sink = await startSink();
        const backendPort = portOf(sink, protocol);
        const ours = await startGateway({ dir: dir('gateway'), protocol, backendPort });
        const theirs =
          missing === undefined
            ? await startCollector({ dir: dir('collector'), protocol, backendPort })
            : undefined;
        // A sink of its own, or the work of the two above would count for the floor.
        const floorSink = await startSink();
        const servers: Readonly<Record<string, readonly [Pick<Server, 'pid' | 'endpoint'>, Sink]>> =
          {
            ours: [ours, sink],
            ...(theirs === undefined ? {} : { theirs: [theirs, sink] }),
            floor: [
              { pid: floorSink.pid, endpoint: `http://127.0.0.1:${portOf(floorSink, protocol)}` },
              floorSink,
            ],
          };
        const warm = loadOf(protocol, 100, [spanCount, Math.ceil(requestCount / 4)]);
        for (const [server, backend] of Object.values(servers))
          await measure(server, backend, warm);
        const found = await interleaved(
          rounds,
          Object.fromEntries(
            Object.entries(servers).map(([which, [server, backend]]) => [
              which,
              (round: number) => measure(server, backend, loadOf(protocol, round, size)),
            ]),
          ),
        );
        await ours.stop();
        await theirs?.stop();
        await sink.stop();
        await floorSink.stop();
        const per = (which: string, key: keyof Measured): number[] | undefined =>
          found[which]?.map((result) => result[key]);
        const what = `${name === 'grpc' ? 'gRPC' : 'HTTP'}, ${spanCount} spans of 1 kB to a request`;
        const aim = AIMS[id];
        const [own, peer] = [per('ours', 'perCpuSecond')!, per('theirs', 'perCpuSecond')];
        if (peer !== undefined) {
          rows.push(
            row({
              id,
              what: `${what}: spans per CPU second, over the Collector`,
              unit: 'x',
              values: perRound([own, peer], (mine, other) => mine / other),
              aim: aim === undefined ? undefined : { least: aim },
            }),
          );
        }
        rows.push(
          row({
            id: `${id}.cpu`,
            what: `${what}: sealed, synced and forwarded`,
            unit: 'spans/CPU s',
            values: own,
            peer,
            floor: per('floor', 'perCpuSecond'),
          }),
          row({
            id: `${id}.rate`,
            what: `${what}: acknowledged, ${IN_FLIGHT} requests at a time`,
            unit: 'spans/s',
            values: per('ours', 'acknowledgedPerSecond')!,
            peer: per('theirs', 'acknowledgedPerSecond'),
            floor: per('floor', 'acknowledgedPerSecond'),
          }),
          row({
            id: `${id}.memory`,
            what: `${what}: resident at most`,
            unit: 'MiB',
            values: per('ours', 'peakMib')!,
            peer: per('theirs', 'peakMib'),
            floor: per('floor', 'peakMib'),
          }),
        );
      }
    }
    return rows;
  },
  short: async ({ dir }) => {
    if (!hasProc) return [];
    const points: Record<'cpu' | 'memory', [number, number][]> = { cpu: [], memory: [] };
    for (const requestCount of [100, 400]) {
      const sink = await startSink();
      const options = {
        dir: dir('gateway'),
        protocol: 'grpc',
        backendPort: sink.grpcPort,
      } as const;
      const server = await startGateway(options);
      await measure(server, sink, loadOf('grpc', 100, [512, 40]));
      const load = loadOf('grpc', 1, [512, requestCount]);
      const { perCpuSecond, peakMib } = await measure(server, sink, load);
      await server.stop();
      await sink.stop();
      const spanCount = 512 * requestCount;
      points.cpu.push([spanCount, spanCount / perCpuSecond]);
      points.memory.push([spanCount, peakMib]);
    }
    return [
      {
        id: 'D.cpu',
        what: 'CPU of a gateway, with the spans it took',
        exponent: exponentOf(points.cpu),
        most: 1.2,
      },
      {
        id: 'D.memory',
        what: 'memory of a gateway, with the spans it took',
        exponent: exponentOf(points.memory),
        most: 0.3,
      },
    ];
  },
};

if (import.meta.main) await runBenches([gateway]);
