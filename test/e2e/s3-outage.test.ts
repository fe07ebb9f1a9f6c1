// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: while the store is away, spans are sealed and forwarded as before, and once it is back it gets all of them.
 * Method: a service under a steady load, a real store that is killed for `E2E_OUTAGE_S` seconds (20 unless said, 3600 for
 * an hour), a backend that counts; then the store alone is verified.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { cpuSecondsOf, hasProc, residentBytesOf } from '../bench/support/processes.ts';
import { startAudited } from '../support/audited-process.ts';
import { openOtlpBackend, spansOf } from '../support/otlp-backend.ts';
import { beOwner, SERVERS, storedSegmentCount, verifyStored } from './s3.ts';
import { killAll, until } from './services.ts';

beOwner();

const OUTAGE_MS = Number(process.env.E2E_OUTAGE_S ?? 20) * 1000;
/** 100 spans a second: what a service with a few model calls a second makes at most. */
const SPANS_PER_TURN = 20;
const TURN_MS = 200;
const PLACE = { bucket: 'records', prefix: 'logs' } as const;
const MIB = 1024 * 1024;
/** Node, the SDK and the load; whatever the length of the outage. */
const RSS_MIB_MAX = 400;

const home = mkdtempSync(join(tmpdir(), 'sealspan-outage-'));
afterAll(async () => {
  await killAll();
  rmSync(home, { recursive: true });
});

const [kind] = SERVERS;

test(
  `a store that is away for ${OUTAGE_MS / 1000} s costs nothing but disk`,
  async () => {
    if (kind === undefined || kind.lacks !== undefined) {
      console.log(`not run: ${kind?.lacks}`);
      return;
    }
    const server = await kind.start(join(home, kind.name));
    await server.makeBucket(PLACE.bucket);
    const backend = await openOtlpBackend();
    const forwarded = new Set<string>();
    let takenCount = 0;
    const takeForwarded = (): void => {
      for (const { bytes } of backend.accepted.slice(takenCount)) {
        for (const { name } of spansOf(bytes)) forwarded.add(name);
        takenCount++;
      }
    };
    const dir = join(home, 'log');
    const { endpoint } = server;
    const app = startAudited({
      config: {
        dir,
        origin: 'example.org/claims',
        backend: { protocol: 'grpc', endpoint: backend.grpcEndpoint },
        segment: { ageMsMax: Math.min(10_000, OUTAGE_MS / 10) },
        archive: { s3: { ...PLACE, endpoint, pathStyle: true } },
      },
      spanCount: 1,
      perTurn: SPANS_PER_TURN,
      pauseMs: TURN_MS,
      isSampled: true,
      tells: 'committed',
      end: 'shutdown on SIGTERM',
    });
    const localSegments = (): number => readdirSync(join(dir, '0/segments')).length;
    await until(
      'the first segments are stored',
      120_000,
      async () => (await storedSegmentCount(server, PLACE)) >= 2,
    );

    await server.kill();
    const storedBefore = localSegments() - 1;
    const toldBefore = app.told().length;
    const rss: number[] = [];
    const startedMs = performance.now();
    while (performance.now() - startedMs < OUTAGE_MS) {
      await delay(1000);
      takeForwarded();
      if (hasProc) rss.push(residentBytesOf(app.child.pid!) / MIB);
    }
    const sealedMeanwhile = app.told().length - toldBefore;
    const queued = localSegments() - storedBefore;
    await until('the backend has what was sealed meanwhile', 30_000, () => {
      takeForwarded();
      return forwarded.size >= toldBefore + sealedMeanwhile;
    });

    await server.start();
    const backMs = performance.now();
    // All but the one being written.
    await until('the store has caught up', 600_000, async () => {
      return (await storedSegmentCount(server, PLACE)) >= localSegments() - 1;
    });
    const caughtUpMs = performance.now() - backMs;
    const seconds = hasProc ? cpuSecondsOf(app.child.pid!) : Number.NaN;
    const livedMs = performance.now() - startedMs;
    app.child.kill('SIGTERM');
    expect(await app.ended()).toMatchObject({ code: 0 });
    takeForwarded();

    const told = app.told();
    const vkey = readFileSync(join(dir, '0/verifier'), 'utf8').trim();
    rmSync(dir, { recursive: true });
    const report = await verifyStored(endpoint, PLACE, vkey);
    await backend.close();

    const [rssFirst = 0] = rss;
    console.log(
      `${kind.name} away for ${OUTAGE_MS / 1000} s: ${sealedMeanwhile} spans sealed meanwhile, ${queued} segments queued, ` +
        `all stored ${Math.round(caughtUpMs)} ms after it was back; ${told.length} told sealed, ${report.entries} in the ` +
        `archive, ${forwarded.size} at the backend; resident ${Math.round(rssFirst)} MiB at first, ` +
        `${Math.round(Math.max(...rss))} MiB at most; ${((seconds / livedMs) * 100_000).toFixed(1)} % of a core`,
    );
    expect([report.verdict, report.findings]).toEqual(['valid', []]);
    // Every span was told sealed but those whose answer the end came before.
    expect(report.entries).toBeGreaterThanOrEqual(told.length);
    expect(forwarded.size).toBe(report.entries);
    expect(queued).toBeGreaterThanOrEqual(5);
    expect(Math.max(...rss)).toBeLessThan(RSS_MIB_MAX);
  },
  OUTAGE_MS + 1_200_000,
);
