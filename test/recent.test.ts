// SPDX-License-Identifier: Apache-2.0
// Goal: whoever follows a log gets each record once and in order, whether it is still here or on the disk alone, and never
// one that is not durable. Method: a real log, a follower of it, and a count of what it was asked for.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openLogFollower } from '../exporter/node/storage/log-reader.ts';
import type { LogWriter } from '../exporter/node/storage/log-writer.ts';
import { RecentRecords } from '../exporter/node/storage/recent.ts';
import type { StoredRecord } from '../exporter/node/storage/record.ts';
import { nodeFiles } from '../exporter/node/system/files.ts';
import { freeParts } from '../exporter/node/system/own-bytes.ts';
import { openFaultyFiles } from './support/faulty-files.ts';
import {
  COLLECTOR,
  emptyDisk,
  IN_PROCESS,
  openSigner,
  openWriter,
  spanEntries,
} from './support/small-log.ts';

const home = mkdtempSync(join(tmpdir(), 'sealspan-recent-'));
afterAll(() => rmSync(home, { recursive: true }));
const signer = openSigner();

interface World {
  readonly state: { isAskedFor: boolean };
  readonly writer: LogWriter;
  readonly recent: RecentRecords;
  /** Indexes that the disk was asked for. */
  readonly asked: number[];
  readonly read: (fromIndex: number) => AsyncIterable<StoredRecord>;
}

/** A log of which only `opened` is not kept. */
function openWorld(name: string): World {
  const dir = join(home, name);
  mkdirSync(dir);
  const state = { isAskedFor: false };
  const recent = new RecentRecords(() => state.isAskedFor);
  const writer = openWriter(nodeFiles, signer, { dir, onAppended: (record) => recent.add(record) });
  state.isAskedFor = true;
  const asked: number[] = [];
  const disk = openLogFollower(dir, () => writer.size);
  const follower: typeof disk = {
    async *read(fromIndex) {
      for await (const record of disk.read(fromIndex)) {
        asked.push(record.index);
        yield record;
      }
    },
  };
  return { state, writer, recent, asked, read: recent.before(follower, () => writer.size) };
}

async function listOf(records: AsyncIterable<StoredRecord>): Promise<StoredRecord[]> {
  const list: StoredRecord[] = [];
  for await (const record of records) {
    list.push({ ...record, entries: record.entries.map((entry) => entry.slice()) });
  }
  return list;
}

const plain = (value: unknown): unknown => structuredClone(value);

test('gives what the disk would give, and asks the disk only for what is not here', async () => {
  const { writer, asked, read } = openWorld('same');
  writer.append('traces', IN_PROCESS, spanEntries('1', '1b'));
  writer.append('traces', COLLECTOR, spanEntries('2'));
  writer.appendControl([{ name: 'coverage', target: 'openai', state: 'active' }]);
  const here = await listOf(read(0));
  expect(asked).toEqual([0]);
  // Each was handed over once: from now on there is the disk alone.
  const there = await listOf(read(0));
  expect(asked).toEqual([0, 0, 1, 2, 3]);
  expect(here.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
  expect(plain(here)).toEqual(plain(there));
  writer.close();
});

test('goes on with what comes while it is read', async () => {
  const { writer, recent, asked, read } = openWorld('growing');
  const seen: number[] = [];
  for await (const { index } of read(0)) {
    seen.push(index);
    if (index < 5) writer.append('traces', IN_PROCESS, spanEntries(`${index}`));
  }
  expect(seen).toEqual([0, 1, 2, 3, 4, 5]);
  expect(asked).toEqual([0]);
  expect(recent.byteLength).toBe(0);
  writer.close();
});

test('beyond its bound the newest are on the disk alone, until what is here was asked for', async () => {
  const { writer, recent, asked, read } = openWorld('bounded');
  const append = (mebibytes: number): void => {
    writer.append('traces', IN_PROCESS, spanEntries('x'.repeat(mebibytes * 1024 * 1024)));
  };
  for (const mebibytes of [15, 15, 15, 1]) append(mebibytes);
  const seen: number[] = [];
  for await (const { index } of read(0)) {
    seen.push(index);
    if (index === 3) append(1);
  }
  expect(seen).toEqual([0, 1, 2, 3, 4, 5]);
  expect(asked).toEqual([0, 3, 4]);
  expect(recent.byteLength).toBe(0);
  append(33);
  expect(recent.byteLength).toBe(0);
  expect((await listOf(read(6))).map(({ index }) => index)).toEqual([6]);
  writer.close();
});

test('keeps none while nobody asks', async () => {
  const { state, writer, recent, asked, read } = openWorld('away');
  writer.append('traces', IN_PROCESS, spanEntries('1'));
  const { byteLength } = recent;
  expect(byteLength).toBeGreaterThan(0);
  state.isAskedFor = false;
  writer.append('traces', IN_PROCESS, spanEntries('2'));
  expect(recent.byteLength).toBe(0);
  state.isAskedFor = true;
  writer.append('traces', IN_PROCESS, spanEntries('3'));
  expect(recent.byteLength).toBe(byteLength);
  expect((await listOf(read(0))).map(({ index }) => index)).toEqual([0, 1, 2, 3]);
  expect(asked).toEqual([0, 1, 2]);
  expect(recent.byteLength).toBe(0);
  writer.close();
});

test('has no record whose sync failed (invariant 1)', () => {
  const recent = new RecentRecords(() => true);
  const files = openFaultyFiles(emptyDisk());
  const writer = openWriter(files, signer, { onAppended: (record) => recent.add(record) });
  const before = recent.byteLength;
  // Digest, frame, sync.
  files.fault = { at: files.operations.length + 2, kind: 'after', crashes: false };
  expect(() => writer.append('traces', IN_PROCESS, spanEntries('lost'))).toThrow();
  expect(recent.byteLength).toBe(before);
  writer.close();
});

test('what it hands out is a copy, there until the next is asked for: who appends frees what was appended', async () => {
  const { writer, recent, read } = openWorld('copies');
  const entries = spanEntries('1', '2');
  const expected = entries.map((entry) => entry.slice());
  writer.append('traces', IN_PROCESS, entries);
  writer.append('traces', IN_PROCESS, spanEntries('3'));
  freeParts(entries);
  expect(recent.byteLength).toBeGreaterThan(0);
  const records: StoredRecord[] = [];
  const seen: number[][] = [];
  for await (const record of read(1)) {
    if (record.index === 1) expect(record.entries.map((entry) => entry.slice())).toEqual(expected);
    records.push(record);
    seen.push(records.map((one) => one.entries[0]!.length));
  }
  expect(seen.map((lengths) => lengths.map((length) => length > 0))).toEqual([
    [true],
    [false, true],
  ]);
  writer.close();
});
