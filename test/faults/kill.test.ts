// SPDX-License-Identifier: Apache-2.0
// Goal: SIGKILL at any moment loses no acknowledged record, and the log opens again. Method: one log, a service under load,
// ten kills in a row; what it was told sealed, it wrote down before it died.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openAuditWith } from '../../exporter/node/audit.ts';
import { readConfig } from '../../exporter/node/config/config.ts';
import { readLog, startAudited } from '../support/audited-process.ts';
import { codesOf } from '../support/small-log.ts';

const home = mkdtempSync(join(tmpdir(), 'sealspan-kill-'));
afterAll(() => rmSync(home, { recursive: true }));

const KILL_COUNT = 10;

test('ten kills in a row: what was told sealed is in the log, each time', async () => {
  const config = {
    dir: home,
    instance: 'killed',
    archive: 'off',
    groupCommitMs: 1,
    checkpointMs: 5,
    segment: { byteLengthMax: 64 * 1024, ageMsMax: 100 },
  } as const;
  const dir = join(home, 'killed');
  let seen = 0;
  for (let kill = 0; kill < KILL_COUNT; kill++) {
    const app = startAudited({ config, spanCount: 10, perTurn: 5, tells: 'committed' });
    // A different moment each time, by work done and not by the clock.
    await app.untilTold(1 + 43 * kill);
    app.child.kill('SIGKILL');
    expect((await app.ended()).signal).toBe('SIGKILL');
    const { names, report } = await readLog(dir);
    // Of a torn record, nobody was told; what is signed is whole.
    expect(['incomplete', 'valid']).toContain(report.verdict);
    const sealed = new Set(names.slice(seen));
    expect(app.told().filter((name) => !sealed.has(name))).toEqual([]);
    seen = names.length;
  }
  await openAuditWith(readConfig({}, config)).shutdown();
  const { report, records, names } = await readLog(dir);
  expect(names.length).toBe(seen);
  const kinds = new Set<string>(codesOf(report));
  kinds.delete('log.recovered-whole');
  expect([report.verdict, ...kinds]).toEqual(['valid', 'log.interrupted']);
  const starts = records.filter(({ events }) => events[0]?.name === 'opened');
  expect(starts.length).toBe(KILL_COUNT + 1);
  expect(report.size).toBe(report.records);
});
