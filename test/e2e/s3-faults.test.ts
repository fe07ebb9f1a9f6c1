// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever a real store does and whenever the service dies, no key ever gets two contents, nothing told sealed is
 * missing, and the archive catches up. Method: services that archive into two servers that are not ours, through
 * something that cuts, throttles and delays requests, and kills the service at each step of an upload.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { GetObjectCommand, ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { ConfigInput } from '../../exporter/node/config/config.ts';
import { type AuditedProcess, readLog, startAudited } from '../support/audited-process.ts';
import { beOwner, type S3Server, SERVERS, verifyStored } from './s3.ts';
import { type Between, openBetween, type Passed, type Trouble } from './s3-between.ts';
import { killAll } from './services.ts';
import { openSmallDisk } from './small-disk.ts';

beOwner();

const home = mkdtempSync(join(tmpdir(), 'sealspan-s3-faults-'));
afterAll(async () => {
  await killAll();
  rmSync(home, { recursive: true });
});

const isSegment = ({ path }: Passed): boolean => path.includes('/segments/');
const STEPS: readonly (readonly [
  step: string,
  method: string,
  ofSegment: boolean,
  trouble: Trouble,
])[] = [
  ['before the segment is stored', 'PUT', true, 'cut before'],
  ['when the segment is stored and nobody was told', 'PUT', true, 'cut after'],
  ['before the lock of the segment is read back', 'HEAD', true, 'cut before'],
  ['before the checkpoint is stored', 'PUT', false, 'cut before'],
  ['when the checkpoint is stored and nobody was told', 'PUT', false, 'cut after'],
  ['before the lock of the checkpoint is read back', 'HEAD', false, 'cut before'],
  ['before the receipt is sealed', 'HEAD', false, 'cut after'],
];

for (const kind of SERVERS) {
  if (kind.lacks !== undefined) {
    console.log(`not run: ${kind.name}: ${kind.lacks}`);
    continue;
  }
  describe(kind.name, () => {
    let server: S3Server;
    let between: Between;
    let count = 0;
    let app: AuditedProcess | undefined;
    beforeAll(async () => {
      server = await kind.start(mkdtempSync(join(home, `${kind.name}-`)));
      between = await openBetween(server.endpoint);
    });
    afterEach(() => {
      app?.child.kill('SIGKILL');
      between.trouble = () => undefined;
    });
    afterAll(async () => {
      await between?.close();
      await server?.kill();
    });

    interface World {
      readonly bucket: string;
      readonly dir: string;
      readonly config: ConfigInput;
    }
    const newWorld = async (): Promise<World> => {
      const bucket = `records-${count++}`;
      await server.makeBucket(bucket);
      const dir = join(home, `${kind.name}-log-${bucket}`);
      const { endpoint } = between;
      return {
        bucket,
        dir,
        config: {
          dir,
          origin: 'example.org/claims',
          // Small segments: each is an upload to be cut short.
          segment: { byteLengthMax: 128 * 1024 },
          archive: { s3: { bucket, endpoint, pathStyle: true } },
        },
      };
    };
    const underLoad = ({ config }: World): AuditedProcess => {
      app = startAudited({ config, spanCount: 1, perTurn: 1, tells: 'committed' });
      return app;
    };

    /** The next start stores what is left; then each key has one content, and log and archive are the same. */
    const expectWhole = async ({ bucket, dir, config }: World, told: readonly string[]) => {
      between.trouble = () => undefined;
      app = startAudited({ config, spanCount: 0, end: 'shutdown' });
      expect(await app.ended()).toMatchObject({ code: 0, errors: '' });
      const contents = new Map<string, Set<string>>();
      let KeyMarker: string | undefined;
      do {
        const page = await server.client.send(
          new ListObjectVersionsCommand({ Bucket: bucket, KeyMarker }),
        );
        for (const { Key = '', VersionId } of page.Versions ?? []) {
          const got = await server.client.send(
            new GetObjectCommand({ Bucket: bucket, Key, VersionId }),
          );
          const bytes = (await got.Body?.transformToByteArray()) ?? new Uint8Array();
          const hash = createHash('sha256').update(bytes).digest('hex');
          contents.set(Key, (contents.get(Key) ?? new Set()).add(hash));
        }
        KeyMarker = page.IsTruncated === true ? page.NextKeyMarker : undefined;
      } while (KeyMarker !== undefined);
      expect([...contents].filter(([, hashes]) => hashes.size !== 1)).toEqual([]);
      expect(contents.size).toBeGreaterThan(3);

      const { report: local, names } = await readLog(join(dir, '0'));
      const sealed = new Set(names);
      expect(told.filter((name) => !sealed.has(name))).toEqual([]);
      const vkey = readFileSync(join(dir, '0/verifier'), 'utf8').trim();
      const report = await verifyStored(server.endpoint, { bucket, prefix: '' }, vkey);
      expect([report.verdict, report.records, report.entries]).toEqual([
        local.verdict,
        local.records,
        local.entries,
      ]);
      // Starts after a kill are noted; nothing else is.
      const codes = new Set<string>(report.findings.map(({ code }) => code));
      for (const code of ['log.interrupted', 'log.recovered-whole']) codes.delete(code);
      expect([...codes]).toEqual([]);
    };

    test.each(STEPS)('SIGKILL %s', async (_step, method, ofSegment, trouble) => {
      const world = await newWorld();
      let seen = 0;
      between.trouble = (passed) => {
        const isIt = passed.method === method && isSegment(passed) === ofSegment;
        // Of the second upload: the first may be one that a start begins with.
        if (!isIt || ++seen !== 2) return undefined;
        app?.child.kill('SIGKILL');
        return trouble;
      };
      const killed = underLoad(world);
      expect(await killed.ended()).toMatchObject({ signal: 'SIGKILL' });
      await expectWhole(world, killed.told());
    });

    test('a store that is down while the disk is full: what was said to be sealed is, nothing is lost', async () => {
      const disk = openSmallDisk(join(home, `disk-${kind.name}`), 64 * 1024 * 1024);
      if (disk === undefined) {
        console.log('not run: a full disk: this machine does not let us mount one');
        return;
      }
      try {
        const { config, ...world } = await newWorld();
        const dir = join(home, `disk-${kind.name}`, 'log');
        const running = startAudited({
          config: { ...config, dir },
          spanCount: 1,
          perTurn: 20,
          pauseMs: 50,
          tells: 'committed',
          end: 'shutdown on SIGTERM',
        });
        app = running;
        await running.untilTold(500);
        between.trouble = () => 'cut before';
        await running.untilTold(1000);
        disk.fill();
        await delay(3000);
        const told = running.told().length;
        disk.free();
        await running.untilTold(told + 1500);
        between.trouble = () => undefined;
        await running.untilTold(told + 2000);
        running.child.kill('SIGTERM');
        const { code, errors } = await running.ended();
        expect(code).toBe(0);
        expect(errors).toContain('ENOSPC');
        await expectWhole({ ...world, dir, config: { ...config, dir } }, running.told());
      } finally {
        disk.close();
      }
    });

    let asked = 0;
    test.each<readonly [what: string, trouble: () => Trouble | undefined]>([
      ['down', () => 'cut before'],
      ['throttling', () => 'throttled'],
      ['flapping', () => (Math.floor(asked++ / 3) % 2 === 0 ? undefined : 'cut after')],
      ['slow', () => 'late'],
    ])('a store that is %s', async (_what, trouble) => {
      const world = await newWorld();
      between.trouble = trouble;
      const running = underLoad(world);
      await running.untilTold(2000);
      running.child.kill('SIGKILL');
      await running.ended();
      await expectWhole(world, running.told());
    });
  });
}
