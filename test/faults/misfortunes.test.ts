// SPDX-License-Identifier: Apache-2.0
// Goal: clocks that jump, a second process on the same directory and a backup put back do not break a log, or it says so.
// Method: the writer under a clock of the test's, and real services on real directories; verifyLog is the judge, once with
// what an outsider remembers.
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type Audit, openAuditWith } from '../../exporter/node/audit.ts';
import { type ConfigInput, readConfig } from '../../exporter/node/config/config.ts';
import { headAt } from '../../exporter/node/storage/log-reader.ts';
import { readLog } from '../support/audited-process.ts';
import { SDK_LINES } from '../support/sdk-lines.ts';
import {
  COUNTERS,
  codesOf,
  emptyDisk,
  IN_PROCESS,
  judge,
  logOn,
  openSigner,
  openWriter,
  START_MS,
  spanEntries,
} from '../support/small-log.ts';
import { closeWorld, judge as judgeWorld, Lives, live, openWorld, toldBy } from './world.ts';

const home = mkdtempSync(join(tmpdir(), 'sealspan-misfortunes-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const DAY_MS = 86_400_000;

describe('a clock that jumps', () => {
  const walks: readonly (readonly [name: string, step: (at: number) => number])[] = [
    ['a year ahead', (at) => (at === 5 ? 365 * DAY_MS : 1)],
    ['a year back', (at) => (at === 5 ? -365 * DAY_MS : 1)],
    ['ahead and back again', (at) => (at % 2 === 0 ? 3 * DAY_MS : -3 * DAY_MS)],
    ['back with each look', () => -1],
    ['not at all', () => 0],
  ];

  test.each(walks)('%s: times never go back, and the log is valid', async (_name, step) => {
    const disk = emptyDisk();
    const signer = openSigner();
    let nowMs = START_MS;
    let at = 0;
    const now = (): number => {
      nowMs += step(at++);
      return nowMs;
    };
    for (let life = 0; life < 3; life++) {
      const writer = openWriter(disk, signer, { now, segmentAgeMsMax: DAY_MS });
      for (let record = 0; record < 4; record++) {
        writer.append('traces', IN_PROCESS, spanEntries(`${life} ${record}`));
        writer.checkpoint();
      }
      writer.appendControl([{ name: 'closed', ...COUNTERS, highest: 0, open: '' }]);
      writer.checkpoint();
      writer.close();
    }
    const sealed: string[] = [];
    const report = await judge(logOn(disk), {
      verifiers: [signer.verifier],
      onRecord: ({ header }) => sealed.push(header.sealed),
    });
    expect([report.verdict, codesOf(report), sealed.length]).toEqual(['valid', [], 18]);
    expect(sealed).toEqual([...sealed].sort());
  });
});

/** A service in this process, with one span sealed for each name. */
async function serve(config: ConfigInput, ...names: readonly string[]): Promise<Audit> {
  const audit = openAuditWith(readConfig({}, { groupCommitMs: 1, checkpointMs: 1, ...config }));
  const line = SDK_LINES[2]!;
  const tracer = line
    .openProvider({ spanProcessors: audit.capture.wrapProcessors([]) })
    .getTracer('app');
  for (const name of names) {
    const span = tracer.startSpan(name, { attributes: { 'gen_ai.operation.name': 'chat' } });
    span.end();
    expect((await audit.capture.committed(span)).status).toBe('sealed');
  }
  return audit;
}

describe('two processes on one directory', () => {
  test('the second is refused while the first writes, and goes on where it ended', async () => {
    const lives = new Lives();
    const world = await openWorld();
    const audit = await serve(
      { dir: join(world.root, 'log'), instance: '0', origin: 'faults', archive: 'off' },
      'held',
    );
    await live(lives, world, 'second');
    const told = toldBy(world.root, 'second').filter(({ tell }) => tell !== 'operation');
    expect(told).toEqual([
      { tell: 'refused', message: expect.stringContaining('is locked: another process') },
    ]);
    await audit.shutdown();
    expect(await live(lives, world, 'third', { roundCount: 1 })).toBe('ended');
    const { acknowledged, problems, report } = await judgeWorld(world);
    expect([acknowledged, problems, report.verdict]).toEqual([3, [], 'valid']);
    await lives.close();
    await closeWorld(world);
  });

  test('a race of starts: one writes at a time, and no record is lost', async () => {
    const world = await openWorld();
    const racers = [new Lives(), new Lives()];
    await Promise.all(
      racers.map(async (lives, racer) => {
        for (let race = 0; race < 4; race++) {
          expect(await live(lives, world, `${racer} ${race}`, { roundCount: 1 })).toBe('ended');
        }
        await lives.close();
      }),
    );
    const { acknowledged, problems, report } = await judgeWorld(world);
    expect([acknowledged > 0, problems, report.verdict]).toEqual([true, [], 'valid']);
    await closeWorld(world);
  });
});

describe('a backup put back', () => {
  /** A log of which a copy was made, that went on, and that then was replaced by the copy. */
  async function restore(
    name: string,
    archive: boolean,
  ): Promise<{ config: ConfigInput; log: string }> {
    const dir = join(home, name);
    const log = join(dir, '0');
    const config: ConfigInput = {
      dir,
      instance: '0',
      origin: name,
      archive: archive ? { directory: join(home, `${name}-archive`) } : 'off',
    };
    await (await serve(config, 'before')).shutdown();
    cpSync(log, `${log}-backup`, { recursive: true });
    await (await serve(config, 'after 1', 'after 2')).shutdown();
    return { config, log };
  }

  function putBack(log: string): void {
    rmSync(log, { recursive: true });
    cpSync(`${log}-backup`, log, { recursive: true });
  }

  test('with an archive: the start is refused, with what to do', async () => {
    const { config, log } = await restore('archived', true);
    putBack(log);
    await expect(serve(config)).rejects.toThrow(
      /is behind the archived checkpoint of [0-9]+ records .* `sealspan recover` begins a successor/,
    );
    expect((await readLog(log)).names).toEqual(['before']);
  });

  test('without: it starts; the verdict does not exclude it, and whoever remembers a head sees it', async () => {
    const { config, log } = await restore('alone', false);
    const head = await headAt(log, (await readLog(log)).report.size);
    putBack(log);
    await (await serve(config, 'another history', 'longer', 'than', 'before')).shutdown();
    const { report } = await readLog(log);
    expect([report.verdict, report.assurance.fork]).toEqual([
      'valid',
      'fork after restore: not excluded',
    ]);
    const judged = await readLog(log, head);
    expect([judged.report.verdict, codesOf(judged.report)]).toEqual(['invalid', ['log.root']]);
  });
});
