// SPDX-License-Identifier: Apache-2.0
// Goal: readers see what the writer made durable, whole and in order, also while it grows. Method: a real log in a real
// directory, written by the real writer, read from every index on.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { NOTE_BYTE_LENGTH_MAX, SEGMENT_BYTE_LENGTH_MAX } from '../exporter/log/limits.ts';
import { leafHash, rootOf } from '../exporter/log/merkle.ts';
import { parseCheckpoint } from '../exporter/log/note.ts';
import type { NamedBytes } from '../exporter/log/verify.ts';
import {
  finishedSegments,
  firstOrigin,
  headAt,
  openLogFollower,
  readCheckpointFiles,
  readSegmentFiles,
  readTextFile,
} from '../exporter/node/storage/log-reader.ts';
import type { LogWriter } from '../exporter/node/storage/log-writer.ts';
import { nodeFiles } from '../exporter/node/system/files.ts';
import { sha256 } from '../exporter/node/system/keys.ts';
import {
  COLLECTOR,
  codesOf,
  IN_PROCESS,
  judge,
  logEntries,
  ORIGIN,
  openSigner,
  openWriter,
  recordsOf,
  spanEntries,
} from './support/small-log.ts';

const home = mkdtempSync(join(tmpdir(), 'sealspan-reader-'));
afterAll(() => rmSync(home, { recursive: true }));
const signer = openSigner();

const name = (index: number): string => `${String(index).padStart(20, '0')}.seg`;

function openLog(directory: string): { readonly dir: string; readonly writer: LogWriter } {
  const dir = join(home, directory);
  mkdirSync(dir);
  return { dir, writer: openWriter(nodeFiles, signer, { dir }) };
}

async function listOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Seven records in the segments 0, 3 and 6. */
const { dir, writer } = openLog('seven');
writer.append('traces', IN_PROCESS, spanEntries('1'));
writer.append('logs', COLLECTOR, logEntries('2'));
writer.finishSegment();
writer.append('traces', IN_PROCESS, spanEntries('3', '3b'));
writer.append('traces', COLLECTOR, spanEntries('4'));
writer.append('traces', IN_PROCESS, spanEntries('5'));
writer.checkpoint();
writer.finishSegment();
writer.append('traces', IN_PROCESS, spanEntries('6'));
writer.close();

describe('a log directory as the verifier gets it', () => {
  test('has its segments in order, and its checkpoint', async () => {
    const segments = await listOf(readSegmentFiles(dir));
    expect(segments.map((segment) => segment.name)).toEqual([name(0), name(3), name(6)]);
    const checkpoints = await readCheckpointFiles(dir);
    expect(checkpoints.map((checkpoint) => checkpoint.name)).toEqual(['checkpoint']);
    const report = await judge({ segments, checkpoints }, { verifiers: [signer.verifier] });
    expect([report.verdict, ...codesOf(report)]).toEqual(['incomplete', 'log.unsigned-tail']);
  });

  test('hides no file below segments/: the verifier judges its name', async () => {
    const { dir: own, writer: ownWriter } = openLog('foreign');
    ownWriter.close();
    writeFileSync(join(own, 'segments', 'copy.seg'), 'x');
    const segments = await listOf(readSegmentFiles(own));
    expect(segments.map((segment) => segment.name)).toEqual([name(0), 'copy.seg']);
  });

  test('has checkpoints of an archive before its own', async () => {
    const own = join(home, 'checkpoints');
    mkdirSync(join(own, 'checkpoints'), { recursive: true });
    for (const path of ['checkpoints/b', 'checkpoints/a', 'checkpoint'])
      writeFileSync(join(own, path), path);
    const found = await readCheckpointFiles(own);
    expect(found.map((file) => [file.name, Buffer.from(file.bytes).toString()])).toEqual([
      ['checkpoints/a', 'checkpoints/a'],
      ['checkpoints/b', 'checkpoints/b'],
      ['checkpoint', 'checkpoint'],
    ]);
  });

  test('may lose a checkpoint to an archive while it is read', async () => {
    const own = join(home, 'vanishing');
    mkdirSync(join(own, 'checkpoints'), { recursive: true });
    symlinkSync(join(own, 'gone'), join(own, 'checkpoints', 'a'));
    writeFileSync(join(own, 'checkpoints', 'b'), 'b');
    const found = await readCheckpointFiles(own);
    expect(found.map((file) => file.name)).toEqual(['checkpoints/b']);
  });

  test('that is not there has nothing', async () => {
    const nowhere = join(home, 'nowhere');
    expect(await listOf(readSegmentFiles(nowhere))).toEqual([]);
    expect(await readCheckpointFiles(nowhere)).toEqual([]);
    expect(await readTextFile(join(nowhere, 'verifier'), 10)).toBe(undefined);
  });

  test('reads no file beyond the limits of the format, and what the verifier needs to say so', async () => {
    const own = join(home, 'large');
    mkdirSync(join(own, 'segments'), { recursive: true });
    const segment = join(own, 'segments', name(0));
    writeFileSync(segment, '');
    truncateSync(segment, SEGMENT_BYTE_LENGTH_MAX + 1000);
    writeFileSync(join(own, 'checkpoint'), 'x'.repeat(NOTE_BYTE_LENGTH_MAX + 1000));
    const checkpoints = await readCheckpointFiles(own);
    const lengths: number[] = [];
    async function* measured(): AsyncGenerator<NamedBytes> {
      for await (const file of readSegmentFiles(own)) {
        lengths.push(file.bytes.length);
        yield file;
      }
    }
    const report = await judge(
      { segments: measured(), checkpoints },
      { verifiers: [signer.verifier] },
    );
    expect(checkpoints.map(({ bytes }) => bytes.length)).toEqual([NOTE_BYTE_LENGTH_MAX + 1]);
    expect(lengths).toEqual([SEGMENT_BYTE_LENGTH_MAX + 1]);
    expect(codesOf(report)).toEqual(['checkpoint.syntax', 'segment.too-long', 'log.empty']);
  });

  /** What a directory may hold in place of a file; a test that reads one of them to its end never ends. */
  const FAKES: readonly (readonly [string, (path: string) => void])[] = [
    ['a FIFO', (path) => void execFileSync('mkfifo', [path])],
    ['a directory', (path) => mkdirSync(path)],
    ['a link to a device', (path) => symlinkSync('/dev/zero', path)],
    ['a link to nothing', (path) => symlinkSync(join(home, 'nothing'), path)],
    ['a link to itself', (path) => symlinkSync(path, path)],
  ];

  test.each(FAKES)('reads regular files alone: %s is named, and no log', async (what, make) => {
    const own = join(home, `fake ${what}`);
    mkdirSync(join(own, 'segments'), { recursive: true });
    for (const path of [join(own, 'segments', name(0)), join(own, 'checkpoint')]) make(path);
    const segments = await listOf(readSegmentFiles(own));
    const checkpoints = await readCheckpointFiles(own);
    const bytes = new Uint8Array();
    expect(segments).toEqual([{ name: `${name(0)} (no regular file)`, bytes }]);
    expect(checkpoints).toEqual([{ name: 'checkpoint (no regular file)', bytes }]);
    expect(await firstOrigin(own)).toBe(undefined);
    const report = await judge({ segments, checkpoints }, { verifiers: [signer.verifier] });
    expect(codesOf(report)).toEqual(['checkpoint.syntax', 'segment.name', 'log.empty']);
    expect(await readTextFile(join(own, 'checkpoint'), 10)).toBe(undefined);
  });

  test('gives the text of a file beside it up to a bound', async () => {
    const path = join(home, 'text');
    writeFileSync(path, 'é'.repeat(5));
    expect(await readTextFile(path, 10)).toBe('ééééé');
    expect(await readTextFile(path, 9)).toBe(undefined);
  });

  test('passes over files on their way into an archive, which a crash left behind', async () => {
    const own = join(home, 'half-put');
    for (const folder of ['segments', 'checkpoints']) {
      mkdirSync(join(own, folder), { recursive: true });
      writeFileSync(join(own, folder, '.0-half'), 'x');
    }
    expect(await listOf(readSegmentFiles(own))).toEqual([]);
    expect(await readCheckpointFiles(own)).toEqual([]);
    expect(await firstOrigin(own)).toBe(undefined);
  });
});

describe('the origin that the first record names', () => {
  const originIn = (
    directory: string,
    file: string,
    bytes: Uint8Array,
  ): Promise<string | undefined> => {
    const own = join(home, directory);
    mkdirSync(join(own, 'segments'), { recursive: true });
    writeFileSync(join(own, 'segments', file), bytes);
    return firstOrigin(own);
  };

  test('is read where no checkpoint is', async () => {
    expect(await firstOrigin(dir)).toBe(ORIGIN);
    const own = join(home, 'half-put-and-whole');
    cpSync(dir, own, { recursive: true });
    writeFileSync(join(own, 'segments', '.0-half'), 'x');
    expect(await firstOrigin(own)).toBe(ORIGIN);
  });

  test('is none where there is no log, or none that can be read', async () => {
    expect(await firstOrigin(join(home, 'nowhere'))).toBe(undefined);
    expect(await originIn('empty', name(0), new Uint8Array())).toBe(undefined);
    expect(await originIn('noise', name(0), new Uint8Array(5000).fill(10))).toBe(undefined);
    expect(await originIn('long', name(0), new Uint8Array(5000).fill(120))).toBe(undefined);
  });
});

describe('heads', () => {
  test('of every size are those that the tree has', async () => {
    const segments = await listOf(readSegmentFiles(dir));
    const records = await recordsOf({ segments, checkpoints: [] }, signer);
    const leaves = records.map(({ leaf }) => leaf);
    for (let size = 1; size <= 7; size++) {
      expect(await headAt(dir, size)).toEqual({
        size,
        root: rootOf(sha256, leaves.slice(0, size)),
      });
    }
    const { size, root } = parseCheckpoint(readFileSync(join(dir, 'checkpoint')));
    expect(structuredClone(await headAt(dir, 6))).toEqual(structuredClone({ size, root }));
  });

  test('beyond the log there are none', async () => {
    expect(await headAt(dir, 8)).toBe(undefined);
    expect(await headAt(join(home, 'nowhere'), 1)).toBe(undefined);
  });
});

describe('finished segments', () => {
  test.each([
    [
      6,
      [
        [0, 3],
        [3, 6],
      ],
    ],
    [5, [[0, 3]]],
    [3, [[0, 3]]],
    [0, []],
  ])('before the one that begins at %i', async (current, expected) => {
    const found = await listOf(finishedSegments(dir, () => current));
    expect(found.map(({ firstIndex, nextIndex }) => [firstIndex, nextIndex])).toEqual(expected);
    for (const { path, byteLength } of found) expect(readFileSync(path).length).toBe(byteLength);
  });

  test('of a closed log also its last one, and nothing that another writer begins behind it', async () => {
    const endsOf = async (closedSize: number): Promise<(readonly [number, number])[]> => {
      const found = finishedSegments(
        dir,
        () => 0,
        () => closedSize,
      );
      return (await listOf(found)).map(({ firstIndex, nextIndex }) => [firstIndex, nextIndex]);
    };
    expect(await endsOf(7)).toEqual([
      [0, 3],
      [3, 6],
      [6, 7],
    ]);
    expect(await endsOf(6)).toEqual([
      [0, 3],
      [3, 6],
    ]);
  });

  test('of a log that is closed while one looks, those that were finished before: its end may be in a newer one', async () => {
    let closedSize: number | undefined;
    const found: number[] = [];
    for await (const { nextIndex } of finishedSegments(
      dir,
      () => 6,
      () => closedSize,
    )) {
      found.push(nextIndex);
      closedSize = 7;
    }
    expect(found).toEqual([3, 6]);
  });
});

describe('following', () => {
  const indexes = async (items: AsyncIterable<{ readonly index: number }>): Promise<number[]> =>
    (await listOf(items)).map(({ index }) => index);

  test('gives each record with its entries and leaves', async () => {
    const [, traces, logs, two] = await listOf(openLogFollower(dir, () => 7).read(0));
    const entries = spanEntries('3', '3b');
    expect(structuredClone(two)).toEqual(
      structuredClone({
        index: 3,
        kind: 'traces',
        source: 'in-process',
        entries,
        leaves: entries.map((entry) => leafHash(sha256, entry)),
      }),
    );
    expect([traces!.kind, logs!.kind, logs!.source]).toEqual(['traces', 'logs', 'collector']);
  });

  test('begins at every index, and ends at every head', async () => {
    for (let head = 0; head <= 7; head++) {
      for (let from = 0; from <= 8; from++) {
        const expected = Array.from({ length: Math.max(0, head - from) }, (_, n) => from + n);
        expect(await indexes(openLogFollower(dir, () => head).read(from))).toEqual(expected);
      }
    }
  });

  test('goes on where it was, also backwards, also after a consumer that gave up', async () => {
    const follower = openLogFollower(dir, () => 7);
    for await (const { index } of follower.read(1)) if (index === 4) break;
    expect(await indexes(follower.read(5))).toEqual([5, 6]);
    expect(await indexes(follower.read(7))).toEqual([]);
    expect(await indexes(follower.read(2))).toEqual([2, 3, 4, 5, 6]);
  });

  test('sees what is appended while it reads, into new segments too', async () => {
    const { dir: own, writer: growing } = openLog('growing');
    const follower = openLogFollower(own, () => growing.size);
    const seen: number[] = [];
    for await (const { index } of follower.read(0)) {
      seen.push(index);
      if (index % 2 === 1) growing.finishSegment();
      if (index < 9) growing.append('traces', IN_PROCESS, spanEntries(`${index}`));
    }
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    growing.append('traces', IN_PROCESS, spanEntries('later'));
    expect(await indexes(follower.read(10))).toEqual([10]);
    growing.close();
  });

  test('gives nothing behind the head, though bytes stand there (invariant 1)', async () => {
    const { dir: own, writer: torn } = openLog('torn');
    torn.append('traces', IN_PROCESS, spanEntries('a'));
    torn.close();
    const path = join(own, 'segments', name(0));
    writeFileSync(
      path,
      Buffer.concat([readFileSync(path), Buffer.from('sealspan/record@v1\nlog')]),
    );
    expect(await indexes(openLogFollower(own, () => 2).read(0))).toEqual([0, 1]);
    expect(await indexes(openLogFollower(own, () => 1).read(0))).toEqual([0]);
  });

  test('of a log without the record is an error, not an end', async () => {
    const none = openLogFollower(join(home, 'none'), () => 2);
    await expect(listOf(none.read(0))).rejects.toThrow('ENOENT');
    await expect(listOf(none.read(1))).rejects.toThrow('no segment holds record 1');
  });
});
