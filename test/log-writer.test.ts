// SPDX-License-Identifier: Apache-2.0
// Goal: a log goes on after any end, and only if the writer can vouch for all of it. Method: the real writer on a disk in
// memory, its last bytes cut and damaged at every place; the judge is verifyLog, never the writer.
import { describe, expect, test } from 'vitest';
import { encodeBase64, equalBytes } from '../exporter/log/bytes.ts';
import { type ControlEvent, encodeControl, type RecoveredEvent } from '../exporter/log/control.ts';
import type { PayloadKind } from '../exporter/log/entries.ts';
import { encodeHeader, headerEnd, parseHeader } from '../exporter/log/header.ts';
import { leafHash, rootOf, Tree } from '../exporter/log/merkle.ts';
import { encodeCheckpointText, type Head } from '../exporter/log/note.ts';
import { readFrames } from '../exporter/log/segment.ts';
import { DamagedLogError } from '../exporter/node/storage/log-writer.ts';
import { encodeRecord } from '../exporter/node/storage/record.ts';
import { readSegmentCheckpoint } from '../exporter/node/storage/segment-checkpoints.ts';
import { encodeSigning } from '../exporter/node/storage/signed-head.ts';
import { Tail } from '../exporter/node/storage/tail.ts';
import type { Files } from '../exporter/node/system/files.ts';
import { sha256 } from '../exporter/node/system/keys.ts';
import { LOSSES, type MemoryDisk, openFaultyFiles } from './support/faulty-files.ts';
import {
  COLLECTOR,
  COUNTERS,
  codesOf,
  DIR,
  emptyDisk,
  HEARTBEAT_MS,
  IN_PROCESS,
  judge,
  logEntries,
  logOn,
  ORIGIN,
  openClock,
  openSigner,
  openWriter,
  outlineOf,
  recordsOf,
  START_MS,
  sealSmallLog,
  spanEntries,
} from './support/small-log.ts';

const FIRST = `${DIR}/segments/00000000000000000000.seg`;
const SECOND = `${DIR}/segments/00000000000000000003.seg`;
const signer = openSigner();
const verifiers = [signer.verifier];

function bytesOf(disk: MemoryDisk, path: string): Uint8Array {
  const bytes = disk.readAll(path);
  if (bytes === undefined) throw new Error(`${path} is not there`);
  return bytes;
}

const text = (disk: MemoryDisk, path: string): string =>
  Buffer.from(bytesOf(disk, path)).toString();
const join = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

/** Hashes from `node:crypto` are Buffers; what a value says is the same without that. */
const plain = <T>(value: T): T => structuredClone(value);

function flip(bytes: Uint8Array, at: number): Uint8Array {
  const flipped = bytes.slice();
  flipped[at]! ^= 1;
  return flipped;
}

/** Opens, and tells how that went. */
function reopen(disk: MemoryDisk, withSigner = signer): string {
  try {
    openWriter(disk, withSigner).close();
    return 'opened';
  } catch (error) {
    if (error instanceof DamagedLogError) return error.message;
    throw error;
  }
}

describe('a new log', () => {
  test('begins with opened at size 0, and names itself in every place', async () => {
    const disk = emptyDisk();
    const writer = openWriter(disk, signer);
    const entries = spanEntries('chat', 'tool');
    const { header, leaves } = writer.append('traces', COLLECTOR, entries);
    writer.checkpoint();
    writer.close();

    expect(disk.list(DIR)).toEqual(['checkpoint', 'signing', 'tail']);
    const [segment] = logOn(disk).segments;
    expect(segment!.name).toBe('00000000000000000000.seg');
    const [opened, traces] = [...readFrames(segment!.bytes)];
    const root = rootOf(sha256, leaves);
    expect(leaves).toEqual(entries.map((entry) => leafHash(sha256, entry)));
    expect(traces!.header).toEqual(plain(header));
    expect(plain(header)).toEqual({
      log: ORIGIN,
      index: 1,
      prev: plain(leafHash(sha256, opened!.headerBytes)),
      sealed: '2026-11-23T10:00:00.003Z',
      source: plain(COLLECTOR),
      kind: 'traces',
      payloadByteLength: Buffer.concat(entries).length,
      storedByteLength: traces!.stored.length,
      storedHash: plain(sha256(traces!.stored)),
      entryCount: 2,
      root: plain(root),
    });
    const tree = new Tree(sha256);
    for (const frame of [opened!, traces!]) tree.append(leafHash(sha256, frame.headerBytes));
    const head = encodeBase64(tree.root());
    expect(text(disk, `${DIR}/signing`)).toBe(`2 ${head}\n`);
    expect(text(disk, `${DIR}/checkpoint`).split('\n').slice(0, 4)).toEqual([
      ORIGIN,
      '2',
      head,
      '',
    ]);
    const [first] = await recordsOf(logOn(disk), signer);
    expect(first!.events).toEqual([
      {
        name: 'opened',
        size: 0,
        root: plain(new Tree(sha256).root()),
        writer: 'sealspan/test',
        instance: '0',
        configuration: plain(sha256(new Uint8Array())),
        heartbeatMs: HEARTBEAT_MS,
      },
    ]);
  });

  test('has a `signing` of size 0 before its first segment, and no checkpoint of size 0', () => {
    const files = openFaultyFiles(emptyDisk());
    const writer = openWriter(files, signer);
    const { operations } = files;
    const signing = operations.indexOf(`rename ${DIR}/signing`);
    expect(signing).toBeGreaterThan(0);
    expect(operations.indexOf(`open ${FIRST}`)).toBeGreaterThan(signing);
    expect(operations.some((operation) => operation.includes('checkpoint'))).toBe(false);
    writer.close();
  });

  test('is valid after closed and a checkpoint', async () => {
    const disk = emptyDisk();
    sealSmallLog(disk, signer);
    expect(await judge(logOn(disk), { verifiers })).toMatchObject({
      verdict: 'valid',
      size: 6,
      records: 6,
      entries: 4,
      findings: [],
    });
    expect(disk.openCount).toBe(0);
  });
});

describe('durability', () => {
  test('a record is vouched for, appended, then synced; the first of a segment syncs the directory too', () => {
    const files = openFaultyFiles(emptyDisk());
    const writer = openWriter(files, signer);
    const before = files.operations.length;
    writer.append('traces', IN_PROCESS, spanEntries('a'));
    expect(files.operations.slice(before)).toEqual(['append', 'append', 'sync']);
    writer.finishSegment();
    writer.append('traces', IN_PROCESS, spanEntries('b'));
    expect(files.operations.slice(before + 3)).toEqual([
      `open ${DIR}/segments/00000000000000000002.seg`,
      'append',
      'append',
      'sync',
      `syncDirectory ${DIR}/segments`,
    ]);
    writer.close();
  });

  test('`signing` is durable before the signature is made (invariant 4)', () => {
    const files = openFaultyFiles(emptyDisk());
    const steps: string[] = [];
    let before = 0;
    const watched = {
      ...signer,
      sign: (message: Uint8Array) => {
        steps.push(...files.operations.slice(before), 'sign');
        return signer.sign(message);
      },
    };
    const writer = openWriter(files, watched);
    before = files.operations.length;
    steps.length = 0;
    writer.checkpoint();
    expect(steps).toEqual([
      `open ${DIR}/signing.tmp`,
      'append',
      'sync',
      `rename ${DIR}/signing`,
      `syncDirectory ${DIR}`,
      'sign',
    ]);
    expect(files.operations.slice(before + 5)).toEqual([
      `open ${DIR}/checkpoint.tmp`,
      'append',
      'sync',
      `rename ${DIR}/checkpoint`,
      `syncDirectory ${DIR}`,
      'truncate',
    ]);
    writer.close();
  });

  test('one head is signed once', () => {
    const disk = emptyDisk();
    const own = openSigner();
    const writer = openWriter(disk, own);
    writer.checkpoint();
    writer.checkpoint();
    writer.append('traces', IN_PROCESS, spanEntries('a'));
    writer.checkpoint();
    writer.close();
    expect(own.notes.length).toBe(2);
  });
});

describe('segments', () => {
  test('are finished at their length, and the next is named after its first record', async () => {
    const disk = emptyDisk();
    const writer = openWriter(disk, signer, { segmentByteLengthMax: 4096 });
    for (let i = 0; i < 20; i++) writer.append('traces', IN_PROCESS, spanEntries(`span ${i}`));
    writer.appendControl([{ name: 'closed', ...COUNTERS }]);
    writer.checkpoint();
    writer.close();
    const { segments } = logOn(disk);
    expect(segments.length).toBeGreaterThan(2);
    for (const { bytes, name } of segments) {
      expect(bytes.length).toBeLessThanOrEqual(4096);
      const end = headerEnd(bytes, 0)!;
      expect(Number(name.slice(0, 20))).toBe(parseHeader(bytes.slice(0, end)).index);
    }
    expect((await judge(logOn(disk), { verifiers })).verdict).toBe('valid');
  });

  test('are finished at their age', () => {
    const disk = emptyDisk();
    let nowMs = START_MS;
    const writer = openWriter(disk, signer, { now: () => nowMs, segmentAgeMsMax: 1000 });
    const step = (ms: number): number => {
      nowMs += ms;
      writer.append('traces', IN_PROCESS, spanEntries('a'));
      return writer.currentSegment;
    };
    expect([step(999), step(1), step(999), step(1)]).toEqual([0, 2, 2, 4]);
    writer.close();
  });

  test('a record larger than the length has a segment of its own', () => {
    const disk = emptyDisk();
    const writer = openWriter(disk, signer, { segmentByteLengthMax: 4096 });
    const large = spanEntries(
      ...Array.from({ length: 200 }, () => sha256(Buffer.from(`${Math.random()}`)).join('')),
    );
    expect(writer.append('traces', IN_PROCESS, large).header.storedByteLength).toBeGreaterThan(
      4096,
    );
    expect(writer.currentSegment).toBe(1);
    writer.append('traces', IN_PROCESS, spanEntries('a'));
    expect(writer.currentSegment).toBe(2);
    writer.close();
  });
});

describe('checkpoints of finished segments, for an archive', () => {
  const signed = { segmentByteLengthMax: 2048, signsSegments: () => true };

  const live = (files: Files): void => {
    for (const name of ['a', 'b']) {
      const writer = openWriter(files, signer, signed);
      for (let at = 0; at < 6; at++)
        writer.append('traces', IN_PROCESS, spanEntries(`${name} ${at}`));
      writer.appendControl([{ name: 'closed', ...COUNTERS }]);
      writer.checkpoint();
      writer.close();
    }
  };

  /** Every archive that ends with a finished segment is as good as signed. */
  async function expectArchives(disk: MemoryDisk, where: string): Promise<void> {
    const { segments } = logOn(disk);
    const events = (await recordsOf(logOn(disk), signer)).flatMap((record) => record.events);
    // What nobody vouches for is not signed before the event that says so, which has the second record of a start.
    const unsigned = new Set(
      events.flatMap((event) => (event.name === 'adopted' ? [event.size, event.size + 1] : [])),
    );
    for (const end of segments.keys()) {
      if (end === 0) continue;
      const size = Number(segments[end]!.name.slice(0, 20));
      const bytes = readSegmentCheckpoint(disk, DIR, size);
      if (bytes === undefined && unsigned.has(size)) continue;
      expect(bytes, `${where}: ${size}`).toBeDefined();
      const archive = {
        segments: segments.slice(0, end),
        checkpoints: [{ name: 'c', bytes: bytes! }],
      };
      const report = await judge(archive, { verifiers });
      const codes = codesOf(report).filter((code) => !/unclean-end|recovered|adopted/.test(code));
      expect([report.size, codes], where).toEqual([size, []]);
    }
  }

  test('are of their exact end', async () => {
    const disk = emptyDisk();
    live(disk);
    expect(logOn(disk).segments.length).toBeGreaterThan(3);
    await expectArchives(disk, 'calm');
    expect((await judge(logOn(disk), { verifiers })).verdict).toBe('valid');
  });

  test('are made only where they are asked for, when a segment is finished', () => {
    const disk = emptyDisk();
    let asked = 0;
    const signsSegments = (): boolean => asked++ > 0;
    const writer = openWriter(disk, signer, { ...signed, signsSegments });
    for (let at = 0; at < 20; at++) writer.append('traces', IN_PROCESS, spanEntries(`${at}`));
    writer.close();
    const { segments } = logOn(disk);
    expect(asked).toBe(segments.length - 1);
    expect(disk.list(`${DIR}/checkpoints`)?.length).toBe(segments.length - 2);
  });

  test.each(LOSSES)('a crash at any step, with what was not synced %s', async (loss) => {
    const calm = openFaultyFiles(emptyDisk());
    live(calm);
    for (let at = 0; at < calm.operations.length; at++) {
      const disk = emptyDisk();
      expect(() => live(openFaultyFiles(disk, { at, kind: 'after', crashes: true }))).toThrow(
        'EIO',
      );
      const left = disk.afterCrash(loss);
      // All that the process before had left is finished by the first record.
      openWriter(left, signer, { ...signed, segmentByteLengthMax: 1 }).close();
      await expectArchives(left, `${at}: ${calm.operations[at]}`);
    }
  });
});

describe('the clock', () => {
  test('goes backwards, and `sealed` does not, not even over a restart', async () => {
    const disk = emptyDisk();
    let nowMs = START_MS;
    const now = (): number => nowMs;
    const writer = openWriter(disk, signer, { now });
    for (const jumpMs of [5000, -3000, -60_000, 1, 58_500]) {
      nowMs += jumpMs;
      writer.append('traces', IN_PROCESS, spanEntries('a'));
    }
    writer.appendControl([{ name: 'closed', ...COUNTERS }]);
    writer.close();
    nowMs -= 3_600_000;
    const again = openWriter(disk, signer, { now });
    again.appendControl([{ name: 'closed', ...COUNTERS }]);
    again.checkpoint();
    again.close();
    const sealed = (await recordsOf(logOn(disk), signer)).map(({ header }) => header.sealed);
    const at = (ms: number): string => new Date(START_MS + ms).toISOString();
    expect(sealed).toEqual([0, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000].map(at));
    expect((await judge(logOn(disk), { verifiers })).verdict).toBe('valid');
  });
});

describe('opening again', () => {
  test('after closed: the log goes on, states its head, and is valid', async () => {
    const disk = emptyDisk();
    sealSmallLog(disk, signer);
    const writer = openWriter(disk, signer);
    expect([writer.size, writer.currentSegment]).toEqual([7, 6]);
    writer.appendControl([{ name: 'closed', ...COUNTERS }]);
    writer.checkpoint();
    writer.close();
    expect(await judge(logOn(disk), { verifiers })).toMatchObject({ verdict: 'valid', size: 8 });
    expect(await outlineOf(logOn(disk), signer)).toEqual([
      'opened',
      'traces',
      'logs',
      'traces',
      'heartbeat receipt',
      'closed',
      'opened',
      'closed',
    ]);
  });

  test('without closed: an unclean end, never a new genesis', async () => {
    const disk = emptyDisk();
    openWriter(disk, signer).close();
    const writer = openWriter(disk, signer);
    writer.appendControl([{ name: 'closed', ...COUNTERS }]);
    writer.checkpoint();
    writer.close();
    expect(await judge(logOn(disk), { verifiers })).toMatchObject({
      verdict: 'incomplete',
      findings: [{ code: 'log.unclean-end', where: 'segment 00000000000000000001.seg record 1' }],
    });
  });

  test('finds the record whose append failed, and no other', () => {
    const disk = emptyDisk();
    const files = openFaultyFiles(disk);
    const writer = openWriter(files, signer);
    expect(writer.attempted).toBe(undefined);
    files.fault = { at: files.operations.length + 2, kind: 'before', crashes: false };
    expect(() => writer.append('traces', IN_PROCESS, spanEntries('a'))).toThrow('EIO: sync');
    writer.close();
    const inDoubt = writer.attempted!;
    const root = rootOf(
      sha256,
      spanEntries('a').map((entry) => leafHash(sha256, entry)),
    );
    expect(plain(inDoubt)).toEqual(plain({ index: 1, root }));
    const find = (looked: typeof inDoubt): boolean => {
      const again = openWriter(disk, signer, {
        resume: { head: writer.head, inDoubt: looked, continues: 0 },
      });
      again.close();
      return again.holdsInDoubt;
    };
    // Also behind the `opened` records of starts in between.
    expect([find(inDoubt), find(inDoubt), find(inDoubt)]).toEqual([true, true, true]);
    expect(find({ index: 2, root })).toBe(false);
    expect(find({ index: 1, root: sha256(root) })).toBe(false);
  });

  test('an append that could not begin left nothing to look for', () => {
    const files = openFaultyFiles(emptyDisk());
    const writer = openWriter(files, signer);
    writer.finishSegment();
    files.fault = { at: files.operations.length, kind: 'before', crashes: false };
    expect(() => writer.append('traces', IN_PROCESS, spanEntries('a'))).toThrow('EIO: open');
    expect(writer.attempted).toBe(undefined);
    writer.close();
  });

  test('a segment that was created and never filled is filled', async () => {
    const disk = emptyDisk();
    openWriter(disk, signer).close();
    disk.put(`${DIR}/segments/00000000000000000001.seg`, new Uint8Array());
    openWriter(disk, signer).close();
    expect(disk.list(`${DIR}/segments`)).toEqual([
      '00000000000000000000.seg',
      '00000000000000000001.seg',
    ]);
    expect(await outlineOf(logOn(disk), signer)).toEqual(['opened', 'opened']);
  });
});

describe('a torn tail', () => {
  const disk = emptyDisk();
  const writer = openWriter(disk, signer);
  writer.append('traces', IN_PROCESS, spanEntries('a', 'b'));
  writer.checkpoint();
  const whole = bytesOf(disk, FIRST).length;
  writer.append('logs', COLLECTOR, logEntries('torn'));
  writer.close();
  const bytes = bytesOf(disk, FIRST);
  const torn = bytes.slice(whole);

  /** Opens a log whose end is `tail`, closes it, and judges. */
  async function recover(tail: Uint8Array) {
    const own = disk.copy();
    own.put(FIRST, join(bytes.slice(0, whole), tail));
    const before = await judge(logOn(own), { verifiers });
    const again = openWriter(own, signer);
    again.appendControl([{ name: 'closed', ...COUNTERS }]);
    again.checkpoint();
    again.close();
    const records = await recordsOf(logOn(own), signer);
    return {
      before: [before.verdict, ...codesOf(before)],
      after: await judge(logOn(own), { verifiers }),
      outline: await outlineOf(logOn(own), signer),
      recovered: plain(
        records.flatMap(({ events }) =>
          events.filter((event): event is RecoveredEvent => event.name === 'recovered'),
        ),
      ),
      names: own.list(DIR),
    };
  }

  test('is cut at every byte of the last record; the cut is sealed with its bytes', async () => {
    for (let length = 1; length < torn.length; length++) {
      const tail = torn.slice(0, length);
      const { before, after, outline, recovered, names } = await recover(tail);
      expect(before).toEqual(['incomplete', 'log.torn-tail']);
      expect(outline).toEqual(['opened', 'traces', 'opened', 'recovered', 'closed']);
      expect(recovered).toEqual([
        {
          name: 'recovered',
          segment: 0,
          offset: whole,
          byteLength: length,
          sha256: plain(sha256(tail)),
          cut: tail,
        },
      ]);
      expect([after.verdict, ...codesOf(after)]).toEqual([
        'incomplete',
        'log.unclean-end',
        'log.recovered',
      ]);
      expect(names).toEqual(['checkpoint', 'signing', 'tail']);
    }
  });

  test.each([
    ['zeros, less than a header', new Uint8Array(100)],
    ['zeros, more than a header', new Uint8Array(5000)],
    ['noise', new Uint8Array(3000).fill(0x0a)],
    ['the record with a flipped bit in its stored bytes', flip(torn, torn.length - 1)],
    ['the record with a flipped bit in its first line', flip(torn, 0)],
    ['the record, and then zeros where its neighbour was to be', join(torn, new Uint8Array(50))],
  ])('is cut where it is %s', async (_name, tail) => {
    const { after, recovered } = await recover(tail);
    expect([after.verdict, ...codesOf(after)]).toEqual([
      'incomplete',
      'log.unclean-end',
      'log.recovered',
    ]);
    expect(recovered.length).toBe(1);
  });

  test('of more than 1 MiB is hashed whole and kept in part', async () => {
    const tail = new Uint8Array(3 * 1024 * 1024).map((_, at) => at % 251);
    const { recovered } = await recover(tail);
    expect(recovered[0]).toMatchObject({ byteLength: tail.length, sha256: plain(sha256(tail)) });
    expect(equalBytes(recovered[0]!.cut, tail.slice(0, 1024 * 1024))).toBe(true);
  });

  test('whole records behind the checkpoint are kept: they were acknowledged', async () => {
    const { outline, after } = await recover(torn);
    expect(outline).toEqual(['opened', 'traces', 'logs', 'opened', 'closed']);
    expect(codesOf(after)).toEqual(['log.unclean-end']);
  });

  test('that is torn again while it is recovered is sealed with both cuts', async () => {
    const own = disk.copy();
    const first = torn.slice(0, 100);
    own.put(FIRST, join(bytes.slice(0, whole), first));
    const files = openFaultyFiles(own);
    // Dies in the middle of the first append to a segment, that of `opened`.
    const counting = openFaultyFiles(own.copy());
    openWriter(counting, signer).close();
    const { operations } = counting;
    const vouching = operations.indexOf('append', operations.indexOf('truncate'));
    const opening = operations.indexOf('append', vouching + 1);
    files.fault = { at: opening, kind: 'short', crashes: true };
    expect(() => openWriter(files, signer)).toThrow('EIO');
    const left = own.afterCrash('kept');
    openWriter(left, signer).close();
    const records = await recordsOf(logOn(left), signer);
    const cuts = records.flatMap(({ events }) =>
      events.flatMap((event) => (event.name === 'recovered' ? [event.cut] : [])),
    );
    expect(cuts.length).toBe(2);
    expect(plain(cuts[0])).toEqual(first);
    // The second cut is the `opened` that the crash tore.
    expect(Buffer.from(cuts[1]!).toString()).toMatch(/^sealspan\/record@v1\nlog /);
    expect(left.list(DIR)).toEqual(['checkpoint', 'signing', 'tail']);
  });
});

test('a recovery that dies between its note and the cut seals the cut once', async () => {
  const disk = emptyDisk();
  openWriter(disk, signer).close();
  const whole = bytesOf(disk, FIRST);
  disk.put(FIRST, join(whole, Buffer.from('sealspan/rec')));
  const files = openFaultyFiles(disk);
  const counting = openFaultyFiles(disk.copy());
  openWriter(counting, signer).close();
  files.fault = { at: counting.operations.indexOf('truncate'), kind: 'before', crashes: true };
  expect(() => openWriter(files, signer)).toThrow('EIO: truncate');
  const left = disk.afterCrash('kept');
  expect(left.list(DIR)).toEqual(['recovery', 'signing', 'tail']);
  openWriter(left, signer).close();
  expect(await outlineOf(logOn(left), signer)).toEqual(['opened', 'opened', 'recovered']);
});

describe('a log that can not be vouched for is refused, and left as it is', () => {
  const sealed = emptyDisk();
  sealSmallLog(sealed, signer);
  const first = bytesOf(sealed, FIRST);
  const second = bytesOf(sealed, SECOND);
  const frames = [...readFrames(first)];
  const [, traces, logs] = frames;
  const noRoot = encodeBase64(sha256(new Uint8Array()));

  const rewrite = (at: number, change: Parameters<typeof Object.assign>[1]): Uint8Array => {
    const frame = frames[at]!;
    const header = encodeHeader({ ...frame.header, ...change });
    return join(...frames.flatMap((one) => [one === frame ? header : one.headerBytes, one.stored]));
  };

  const cases: readonly (readonly [
    name: string,
    damage: (disk: MemoryDisk) => void,
    message: string | RegExp,
  ])[] = [
    [
      'segments without `signing`',
      (disk) => disk.remove(`${DIR}/signing`),
      'there are segments but no `signing` file: what was signed is not known',
    ],
    [
      '`signing` that is none',
      (disk) => disk.put(`${DIR}/signing`, Buffer.from('6\n')),
      'signing: not a size and a root',
    ],
    [
      '`signing` whose root has spare bits',
      (disk) => disk.put(`${DIR}/signing`, Buffer.from(`6 ${noRoot.slice(0, 42)}B=\n`)),
      'signing: not a size and a root',
    ],
    [
      'an empty `signing`',
      (disk) => disk.put(`${DIR}/signing`, new Uint8Array()),
      'signing: not a size and a root',
    ],
    [
      '`signing` above what is there',
      (disk) => disk.put(`${DIR}/signing`, Buffer.from(`7 ${noRoot}\n`)),
      '6 records, but 7 were signed',
    ],
    [
      '`signing` with another root, and no checkpoint to tell',
      (disk) => {
        disk.put(`${DIR}/signing`, Buffer.from(`5 ${noRoot}\n`));
        disk.remove(`${DIR}/checkpoint`);
      },
      'segments/00000000000000000003.seg record 4: the log has another root than was signed',
    ],
    [
      'an older `signing` put back under a newer checkpoint',
      (disk) => disk.put(`${DIR}/signing`, Buffer.from(`3 ${noRoot}\n`)),
      'checkpoint: signed at 6 records, and `signing` does not know of it',
    ],
    [
      '`signing` of the size of the checkpoint with another root',
      (disk) => disk.put(`${DIR}/signing`, Buffer.from(`6 ${noRoot}\n`)),
      'checkpoint: signed at 6 records, and `signing` does not know of it',
    ],
    [
      'a checkpoint that is none',
      (disk) => disk.put(`${DIR}/checkpoint`, Buffer.from('6\n')),
      'note: no blank line before the signatures',
    ],
    [
      'all segments gone',
      (disk) => {
        disk.remove(FIRST);
        disk.remove(SECOND);
      },
      '0 records, but 6 were signed',
    ],
    ['the last segment gone', (disk) => disk.remove(SECOND), '3 records, but 6 were signed'],
    [
      'the first segment gone',
      (disk) => disk.remove(FIRST),
      'segments/00000000000000000003.seg is not the segment of record 0',
    ],
    [
      'the last record cut off, whole',
      (disk) => disk.put(SECOND, second.slice(0, [...readFrames(second)].at(-1)!.start)),
      '5 records, but 6 were signed',
    ],
    [
      'the last record cut off in its middle',
      (disk) => disk.put(SECOND, second.slice(0, -10)),
      'segments/00000000000000000003.seg record 5 is damaged, and was signed',
    ],
    [
      'a bit of the last, signed record flipped',
      (disk) => disk.put(SECOND, flip(second, second.length - 1)),
      'segments/00000000000000000003.seg record 5 is damaged, and was signed',
    ],
    [
      'a finished segment cut in its last record',
      (disk) => disk.put(FIRST, first.slice(0, -1)),
      'segments/00000000000000000000.seg ends in the middle of a record',
    ],
    [
      'a finished segment cut in a header',
      (disk) => disk.put(FIRST, first.slice(0, logs!.start + 50)),
      'segments/00000000000000000000.seg record 2: the header is cut off',
    ],
    [
      'a header of a finished segment that is none',
      (disk) => disk.put(FIRST, flip(first, traces!.start)),
      'segments/00000000000000000000.seg record 1: header: not nine lines of the grammar',
    ],
    [
      'a header of a finished segment that says another time',
      (disk) => disk.put(FIRST, rewrite(1, { sealed: '2026-11-23T10:00:00.001Z' })),
      'segments/00000000000000000000.seg record 2 does not continue the record before it',
    ],
    [
      'a record of another log',
      (disk) => disk.put(FIRST, rewrite(1, { log: 'example.org/audit/other' })),
      'segments/00000000000000000000.seg record 1 belongs to the log example.org/audit/other',
    ],
    [
      'a record of another index',
      (disk) => disk.put(FIRST, rewrite(1, { index: 2 })),
      'segments/00000000000000000000.seg record 1 does not continue the record before it',
    ],
    [
      'a record taken out',
      (disk) => disk.put(FIRST, join(first.slice(0, traces!.start), first.slice(logs!.start))),
      'segments/00000000000000000000.seg record 1 does not continue the record before it',
    ],
    [
      'a foreign file among the segments',
      (disk) => disk.put(`${DIR}/segments/copy.seg`, second),
      'segments/copy.seg is not the segment of record 6',
    ],
    [
      'a second copy of the last segment under the next name',
      (disk) => disk.put(`${DIR}/segments/00000000000000000006.seg`, second),
      'segments/00000000000000000006.seg record 6 does not continue the record before it',
    ],
    [
      '`recovery` that is none',
      (disk) => disk.put(`${DIR}/recovery`, Buffer.from('0\n')),
      'recovery: entry: a foreign top-level field (byte 0)',
    ],
  ];

  test.each(cases)('%s', (_name, damage, message) => {
    const disk = sealed.copy();
    damage(disk);
    const before = logOn(disk);
    expect(reopen(disk)).toBe(message);
    expect(logOn(disk)).toEqual(before);
    expect(disk.openCount).toBe(0);
  });

  test('damage in front of whole records that nobody signed yet', () => {
    const disk = emptyDisk();
    const writer = openWriter(disk, signer);
    const start = bytesOf(disk, FIRST).length;
    for (const name of ['a', 'b']) writer.append('traces', IN_PROCESS, spanEntries(name));
    writer.close();
    const bytes = bytesOf(disk, FIRST);
    for (const at of [start, start + 60, headerEnd(bytes, start)! + 3]) {
      const own = disk.copy();
      own.put(FIRST, flip(bytes, at));
      expect(reopen(own)).toMatch(
        /^segments\/0{20}\.seg record (1 is damaged, and records follow it|1 does not continue the record before it|1 belongs to the log .*)$/,
      );
      expect(bytesOf(own, FIRST)).toEqual(flip(bytes, at));
    }
  });

  test('the log of another origin', () => {
    expect(reopen(sealed.copy(), openSigner('example.org/audit/other'))).toBe(
      'checkpoint: belongs to the log example.org/audit/small',
    );
    const unsigned = emptyDisk();
    openWriter(unsigned, signer).close();
    expect(reopen(unsigned, openSigner('example.org/audit/other'))).toBe(
      'segments/00000000000000000000.seg record 0 belongs to the log example.org/audit/small',
    );
  });

  test('a log that another key signed', () => {
    const stranger = openSigner();
    expect(reopen(sealed.copy(), stranger)).toBe(
      `checkpoint: signed by another key than ${stranger.vkey}; a log keeps its key for life`,
    );
  });

  test('and opens again once the damage is undone', () => {
    const disk = sealed.copy();
    disk.put(FIRST, flip(first, traces!.start));
    expect(reopen(disk)).not.toBe('opened');
    disk.put(FIRST, first);
    expect(reopen(disk)).toBe('opened');
  });
});

test('a failed append leaves the writer to be closed, and the next one to look', async () => {
  const disk = emptyDisk();
  const files = openFaultyFiles(disk);
  const writer = openWriter(files, signer, { now: openClock() });
  files.fault = { at: files.operations.length + 2, kind: 'before', crashes: false };
  expect(() => writer.append('traces', IN_PROCESS, spanEntries('a'))).toThrow('EIO: sync');
  expect(writer.size).toBe(1);
  writer.close();
  expect(disk.openCount).toBe(0);
  openWriter(disk, signer).close();
  expect(await outlineOf(logOn(disk), signer)).toEqual(['opened', 'traces', 'opened']);
});

describe('records behind the last signature', () => {
  const stranger = openSigner(ORIGIN);

  /** What somebody without the key appends: a start, a span and an end that continue the chain. Returns the head. */
  function forge(disk: MemoryDisk): Head {
    const { segments } = logOn(disk);
    const tree = new Tree(sha256);
    let prev = new Uint8Array(32) as Uint8Array;
    const take = (headerBytes: Uint8Array): void => {
      prev = leafHash(sha256, headerBytes);
      tree.append(prev);
    };
    for (const { bytes } of segments)
      for (const frame of readFrames(bytes)) take(frame.headerBytes);
    const path = `${DIR}/segments/${segments.at(-1)!.name}`;
    const seal = (kind: PayloadKind, entries: readonly Uint8Array[]): void => {
      const sealed = new Date(START_MS + 1000).toISOString();
      const place = { log: ORIGIN, index: tree.size, prev, sealed, source: IN_PROCESS, kind };
      const { frame, headerBytes } = encodeRecord(place, entries);
      disk.put(path, join(bytesOf(disk, path), frame));
      take(headerBytes);
    };
    const opened: ControlEvent = {
      name: 'opened',
      size: tree.size,
      root: tree.root(),
      writer: 'sealspan/test',
      instance: '0',
      configuration: sha256(new Uint8Array()),
      heartbeatMs: HEARTBEAT_MS,
    };
    seal('control', [encodeControl(opened, START_MS)]);
    seal('traces', spanEntries('forged'));
    seal('control', [encodeControl({ name: 'closed', ...COUNTERS }, START_MS)]);
    return { size: tree.size, root: tree.root() };
  }

  /** `tail` with digests of another key for all records. */
  function vouch(disk: MemoryDisk): void {
    disk.put(`${DIR}/tail`, new Uint8Array());
    const tail = Tail.open(disk, DIR, stranger, 0);
    for (const frame of logOn(disk).segments.flatMap(({ bytes }) => [...readFrames(bytes)]))
      tail.append(frame.header.index, leafHash(sha256, frame.headerBytes));
    tail.close();
  }

  /** A log whose process was killed with two records unsigned. */
  function killed(): MemoryDisk {
    const disk = emptyDisk();
    const writer = openWriter(disk, signer);
    writer.append('traces', IN_PROCESS, spanEntries('signed'));
    writer.checkpoint();
    for (const name of ['a', 'b']) writer.append('traces', IN_PROCESS, spanEntries(name));
    return disk.copy();
  }

  function ended(): MemoryDisk {
    const disk = emptyDisk();
    sealSmallLog(disk, signer);
    return disk;
  }

  /** The honest writer's next life, and what is said of it. */
  async function next(disk: MemoryDisk): Promise<readonly unknown[]> {
    const writer = openWriter(disk, signer);
    writer.appendControl([{ name: 'closed', ...COUNTERS }]);
    writer.checkpoint();
    writer.close();
    const report = await judge(logOn(disk), { verifiers });
    const codes = codesOf(report).filter((code) => code !== 'log.unclean-end');
    const events = (await recordsOf(logOn(disk), signer)).flatMap((record) => record.events);
    return [
      report.verdict,
      ...codes,
      ...events.flatMap((event) => (event.name === 'adopted' ? [event.from, event.size] : [])),
    ];
  }

  test('of a process that was killed are vouched for, and nothing is told', async () => {
    // Incomplete for the end that was not clean alone.
    expect(await next(killed())).toEqual(['incomplete']);
    expect(await next(ended())).toEqual(['valid']);
  });

  test.each<[string, () => MemoryDisk, (disk: MemoryDisk) => void, number, number]>([
    ['forged after a clean end', ended, forge, 6, 9],
    ['forged after a kill', killed, forge, 4, 7],
    ['whose `tail` is gone', killed, (disk) => disk.remove(`${DIR}/tail`), 2, 4],
    ['whose `tail` is empty', killed, (disk) => disk.put(`${DIR}/tail`, new Uint8Array()), 2, 4],
    [
      'whose `tail` lost its end',
      killed,
      (disk) => disk.put(`${DIR}/tail`, bytesOf(disk, `${DIR}/tail`).slice(0, -1)),
      3,
      4,
    ],
    [
      'whose `tail` is damaged',
      killed,
      (disk) => disk.put(`${DIR}/tail`, flip(bytesOf(disk, `${DIR}/tail`), 39)),
      2,
      4,
    ],
    [
      'forged, with a `tail` of another key',
      ended,
      (disk) => {
        forge(disk);
        vouch(disk);
      },
      6,
      9,
    ],
    [
      'forged, with a `signing` that has them',
      ended,
      (disk) => {
        disk.put(`${DIR}/signing`, encodeSigning(forge(disk)));
      },
      6,
      9,
    ],
    ['whose checkpoint is gone', ended, (disk) => disk.remove(`${DIR}/checkpoint`), 0, 6],
  ])('%s are adopted, and the log says so', async (_name, begin, change, from, size) => {
    const disk = begin();
    change(disk);
    expect(await next(disk)).toEqual(['incomplete', 'log.adopted', from, size]);
    // Once: the signature vouches for what came after.
    expect(disk.readAll(`${DIR}/tail`)).toEqual(new Uint8Array());
    expect(await next(disk)).toEqual(['incomplete', 'log.adopted', from, size]);
  });

  test('are told again where a crash took the event before it was signed', async () => {
    const disk = ended();
    forge(disk);
    openWriter(disk, signer).close();
    expect(await next(disk)).toEqual(['incomplete', 'log.adopted', 'log.adopted', 6, 9, 6, 11]);
  });

  test('are not signed with a finished segment before the event is sealed', () => {
    const disk = ended();
    forge(disk);
    const own = openSigner(ORIGIN, signer.pem);
    openWriter(disk, own, { segmentByteLengthMax: 1, signsSegments: () => true }).close();
    expect(own.notes).toEqual([]);
  });

  test('are told before the end of the run that the start seals', async () => {
    const disk = killed();
    forge(disk);
    openWriter(disk, signer, {
      endOfRun: () => [{ name: 'closed', ...COUNTERS, interrupted: 0 }],
    }).close();
    expect((await outlineOf(logOn(disk), signer)).slice(-2)).toEqual(['adopted closed', 'opened']);
  });

  test('that a process knows of are vouched for by its memory', async () => {
    const disk = emptyDisk();
    const writer = openWriter(disk, signer);
    writer.append('traces', IN_PROCESS, spanEntries('a'));
    writer.close();
    disk.remove(`${DIR}/tail`);
    openWriter(disk, signer, {
      resume: { head: writer.head, inDoubt: undefined, continues: 0 },
    }).close();
    expect(await outlineOf(logOn(disk), signer)).toEqual(['opened', 'traces', 'opened']);
  });

  test('under a checkpoint that the key did not sign are refused', () => {
    const disk = ended();
    const head = forge(disk);
    disk.put(`${DIR}/signing`, encodeSigning(head));
    const checkpoint = text(disk, `${DIR}/checkpoint`);
    // The right name and key id, and a signature of another text.
    const line = checkpoint.slice(checkpoint.lastIndexOf('\n\n') + 1);
    const forged = join(encodeCheckpointText(ORIGIN, head), Buffer.from(line));
    disk.put(`${DIR}/checkpoint`, forged);
    expect(reopen(disk)).toBe('checkpoint: the signature of its key does not hold');
  });

  test('below a true checkpoint of another history are refused, whatever `signing` says', () => {
    const disk = ended();
    const other = killed();
    forge(other);
    other.put(`${DIR}/signing`, encodeSigning(forge(other)));
    other.put(`${DIR}/checkpoint`, bytesOf(disk, `${DIR}/checkpoint`));
    expect(reopen(other)).toMatch(/record 5: the log has another root than was signed$/);
  });
});
