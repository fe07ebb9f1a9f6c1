// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: while the backend and the store are both away, a gateway takes spans as before; its memory stays where it is, its
 * disk grows by what spans take, and once the two are back they get all of them. Method: a compiled gateway under a steady
 * load (`E2E_RATE` spans a second, 5,000 unless said), a real store and a backend that go away for `E2E_OUTAGE_S` seconds
 * (15 unless said, 3600 for an hour); each span is numbered, and counted at the backend and in the archive.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { median } from '../bench/support/bench.ts';
import { cpuSecondsOf, hasProc, residentBytesOf } from '../bench/support/processes.ts';
import { startGateway } from '../bench/support/servers.ts';
import { NumberedBackend, SeenNumbers, startNumberedLoad } from './numbered-load.ts';
import { beOwner, SERVERS, storedSegmentCount, verifyStored } from './s3.ts';
import { freePorts, killAll, until } from './services.ts';

beOwner();

const OUTAGE_MS = Number(process.env.E2E_OUTAGE_S ?? 15) * 1000;
const SPANS_PER_SECOND = Number(process.env.E2E_RATE ?? 5000);
/** What a span takes on the disk is learnt before the two go away. */
const LEARN_MS = 8000;
const SAMPLE_MS = 1000;
const PLACE = { bucket: 'records', prefix: 'logs' } as const;
const MIB = 1024 * 1024;
/** Of the whole process, whatever the length of the outage. */
const RSS_MIB_MAX = 320;
/** Of the last third of the outage over the one before: what a process takes to warm up is no growth. */
const RSS_GROWTH_MAX = 1.1;
/** Share by which the disk may grow otherwise than computed. */
const DISK_TOLERANCE = 0.05;

const home = mkdtempSync(join(tmpdir(), 'sealspan-outage-'));
afterAll(async () => {
  await killAll();
  rmSync(home, { recursive: true });
});

const [kind] = SERVERS;

/** Of all files below a directory. */
function byteLengthBelow(dir: string): number {
  let byteLength = 0;
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    const stat = statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false });
    if (stat?.isFile()) byteLength += stat.size;
  }
  return byteLength;
}

test(
  `backend and store away for ${OUTAGE_MS / 1000} s at ${SPANS_PER_SECOND} spans a second: nothing is lost`,
  async () => {
    if (kind === undefined || kind.lacks !== undefined) {
      console.log(`not run: ${kind?.lacks}`);
      return;
    }
    const store = await kind.start(join(home, kind.name));
    await store.makeBucket(PLACE.bucket);
    const { endpoint } = store;
    const [backendPort = 0] = await freePorts(1);
    const backend = new NumberedBackend(backendPort);
    await backend.start();
    const dir = join(home, 'gateway');
    mkdirSync(dir);
    const gateway = await startGateway({
      dir,
      protocol: 'http/protobuf',
      backendPort,
      archive: { s3: { ...PLACE, endpoint, pathStyle: true } },
      segment: { ageMsMax: Math.min(10_000, OUTAGE_MS / 10) },
    });
    const log = join(dir, 'log/0');
    const load = startNumberedLoad(gateway.endpoint, SPANS_PER_SECOND);
    const startMs = performance.now();
    const bytesOfSegments = (): number => byteLengthBelow(join(log, 'segments'));
    await delay(LEARN_MS);
    await until('a segment is stored', 60_000, async () => {
      return (await storedSegmentCount(store, PLACE)) > 0 && backend.seen.count > 0;
    });
    const before = { acknowledged: load.acknowledged, bytes: bytesOfSegments() };
    const bytesPerSpan = before.bytes / before.acknowledged;

    await Promise.all([store.kill(), backend.kill()]);
    const rss: number[] = [];
    const awayMs = performance.now();
    while (performance.now() - awayMs < OUTAGE_MS) {
      await delay(SAMPLE_MS);
      if (hasProc) rss.push(residentBytesOf(gateway.pid) / MIB);
    }
    const meanwhile = load.acknowledged - before.acknowledged;
    const rate = (meanwhile * 1000) / (performance.now() - awayMs);
    const grown = bytesOfSegments() - before.bytes;
    const computed = meanwhile * bytesPerSpan;
    const cpuShare = hasProc
      ? (cpuSecondsOf(gateway.pid) * 1000) / (performance.now() - startMs)
      : Number.NaN;
    await load.end();
    const inAll = byteLengthBelow(log);
    console.log(
      `away for ${OUTAGE_MS / 1000} s: ${meanwhile} spans acknowledged meanwhile, ${Math.round(rate)} a second, ` +
        `${load.retries} requests asked to come again; segments grew by ${(grown / MIB).toFixed(1)} MiB, computed ` +
        `${(computed / MIB).toFixed(1)} MiB (${bytesPerSpan.toFixed(1)} bytes a span), the log has ` +
        `${(inAll / MIB).toFixed(1)} MiB in all; ${(cpuShare * 100).toFixed(1)} % of a core`,
    );
    const thirds = [0, 1, 2].map((third) =>
      median(
        rss.slice(Math.floor((third * rss.length) / 3), Math.floor(((third + 1) * rss.length) / 3)),
      ),
    );
    console.log(
      `resident: ${thirds.map((mib) => mib.toFixed(0)).join(', ')} MiB in the thirds of the outage, ` +
        `${Math.max(...rss).toFixed(0)} MiB at most`,
    );

    const backMs = performance.now();
    await Promise.all([store.start(), backend.start()]);
    const withinMs = 600_000 + 2 * OUTAGE_MS;
    await until('the backend has all spans', withinMs, () => backend.seen.count >= load.sent);
    const forwardedMs = performance.now() - backMs;
    const segmentCount = (): number => readdirSync(join(log, 'segments')).length;
    // All but the one being written.
    await until('the store has caught up', withinMs, async () => {
      return (await storedSegmentCount(store, PLACE)) >= segmentCount() - 1;
    });
    const storedMs = performance.now() - backMs;
    await gateway.stop();

    const vkey = readFileSync(join(log, 'verifier'), 'utf8').trim();
    rmSync(dir, { recursive: true });
    const archived = new SeenNumbers();
    const report = await verifyStored(endpoint, PLACE, vkey, ({ header, entries }) => {
      if (header.kind === 'traces') for (const entry of entries) archived.take(entry);
    });
    await backend.kill();
    await store.kill();

    console.log(
      `${load.acknowledged} spans acknowledged of ${load.sent} sent; backend: ${backend.seen.count}, all of them ` +
        `${Math.round(forwardedMs / 1000)} s after it was back, ${backend.seen.repeats} twice; archive: ` +
        `${archived.count}, ${Math.round(storedMs / 1000)} s, ${archived.repeats} twice; lost ` +
        `${backend.seen.missing(load.sent)} and ${archived.missing(load.sent)}`,
    );
    expect([report.verdict, report.findings]).toEqual(['valid', []]);
    expect(load.acknowledged).toBe(load.sent);
    expect([backend.seen.missing(load.sent), archived.missing(load.sent)]).toEqual([0, 0]);
    expect(Math.abs(grown / computed - 1)).toBeLessThan(DISK_TOLERANCE);
    if (hasProc) {
      expect(Math.max(...rss)).toBeLessThan(RSS_MIB_MAX);
      expect(thirds[2]! / thirds[1]!).toBeLessThan(RSS_GROWTH_MAX);
    }
  },
  3 * OUTAGE_MS + 2_400_000,
);
