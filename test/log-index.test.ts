// SPDX-License-Identifier: Apache-2.0
// Goal: by an index the records of a trace are found and verified, and whatever becomes of index or log, nothing else is ever
// given for them. Method: real logs in folders, each byte of the index changed, files cut, taken away and swapped, logs put
// back, forked, pruned and damaged; what is found is held against what was sealed.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { findIndexed } from '../exporter/cli/indexed.ts';
import type { TrustFile } from '../exporter/cli/trust.ts';
import { splitRequest } from '../exporter/log/entries.ts';
import { type Head, parseVerifier } from '../exporter/log/note.ts';
import { readFrames, segmentName } from '../exporter/log/segment.ts';
import { headAt } from '../exporter/node/storage/log-reader.ts';
import { LogWriter } from '../exporter/node/storage/log-writer.ts';
import { pruneSegments } from '../exporter/node/storage/prune.ts';
import { encodeRecord } from '../exporter/node/storage/record.ts';
import { nodeFiles } from '../exporter/node/system/files.ts';
import { generateKeyPem, parseSigner, sha256 } from '../exporter/node/system/keys.ts';
import { takeLock } from '../exporter/node/system/lock.ts';
import { encodeOtlp } from './support/otlp-backend.ts';
import { IN_PROCESS } from './support/small-log.ts';

const ORIGIN = 'loans/test/0';
const TRACE_COUNT = 12;
const START_MS = Date.parse('2026-11-23T10:00:00.000Z');

const root = mkdtempSync(join(tmpdir(), 'sealspan-index-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folderCount = 0;
const newFolder = (): string => {
  const path = join(root, String(folderCount++));
  mkdirSync(path);
  return path;
};

/** A log, and which of its records hold each trace. */
interface Log {
  readonly dir: string;
  readonly pem: string;
  readonly vkey: string;
  readonly sealed: ReadonlyMap<number, readonly number[]>;
}

const traceId = (trace: number): Buffer => sha256Of(`trace ${trace}`).subarray(0, 16);
const sha256Of = (text: string): Buffer => Buffer.from(sha256(Buffer.from(text)));

function newLog(dir = newFolder()): Log {
  const pem = generateKeyPem();
  const { vkey } = parseSigner(ORIGIN, pem);
  writeFileSync(join(dir, 'verifier'), `${vkey}\n`);
  return { dir, pem, vkey, sealed: new Map() };
}

function openWriter({ dir, pem }: Log): LogWriter {
  let nowMs = START_MS;
  return LogWriter.open({
    dir,
    signer: parseSigner(ORIGIN, pem),
    files: nodeFiles,
    now: () => nowMs++,
    opened: { writer: 'test', instance: '0', configuration: sha256(Buffer.of()), heartbeatMs: 1e3 },
    // Three or four records each.
    segmentByteLengthMax: 2500,
    segmentAgeMsMax: 3_600_000,
  });
}

/** Seals so many records more, each with spans of two traces, in a life of their own; `salt` makes them others. */
function seal(log: Log, count: number, salt = 0, signs = true): Log {
  const writer = openWriter(log);
  const sealed = new Map([...log.sealed].map(([trace, records]) => [trace, [...records]]));
  for (let at = 0; at < count; at++) {
    const traces = [(at * 7 + salt) % TRACE_COUNT, (at * 5 + salt) % TRACE_COUNT];
    const spans = traces.map((trace, number) => ({
      name: `span ${at} of ${salt}`,
      traceId: traceId(trace).toString('base64'),
      spanId: Buffer.alloc(8, number + 1).toString('base64'),
    }));
    const bytes = encodeOtlp('TracesData', { resourceSpans: [{ scopeSpans: [{ spans }] }] });
    const { header } = writer.append('traces', IN_PROCESS, splitRequest(bytes, 'traces'));
    for (const trace of new Set(traces)) {
      sealed.set(trace, [...(sealed.get(trace) ?? []), header.index]);
    }
  }
  if (signs) writer.checkpoint();
  writer.close();
  return { ...log, sealed };
}

function copyOf(log: Log): Log {
  const dir = newFolder();
  cpSync(log.dir, dir, { recursive: true });
  return { ...log, dir };
}

/** Puts the log back to what it was in another copy; its index stays. */
function putBack(log: Log, earlier: Log): Log {
  for (const name of ['segments', 'checkpoint', 'signing']) {
    rmSync(join(log.dir, name), { recursive: true });
    cpSync(join(earlier.dir, name), join(log.dir, name), { recursive: true });
  }
  return { ...earlier, dir: log.dir };
}

function trusting({ vkey }: Log, head?: Head): TrustFile {
  const verifier = parseVerifier(sha256, vkey);
  return {
    logs: [{ origin: ORIGIN, verifier, head }],
    lock: { mode: 'COMPLIANCE', minimumDays: 0 },
    remember: () => {},
  };
}

/** Records found for a trace; or, in words, why there was no finding any. */
async function found(log: Log, trace: number, trust?: TrustFile): Promise<number[] | string> {
  const outcome = await findIndexed(log.dir, traceId(trace), trust, () => {});
  if (outcome.status === 'none') return outcome.cause;
  return outcome.records.map(({ header }) => header.index);
}

async function foundAll(log: Log): Promise<Map<number, number[] | string>> {
  const all = new Map<number, number[] | string>();
  for (const trace of log.sealed.keys()) all.set(trace, await found(log, trace));
  return all;
}

const modeOf = (path: string): number => statSync(path).mode & 0o777;
const indexFiles = (log: Log): string[] =>
  readdirSync(join(log.dir, 'index')).filter((name) => name !== 'lock');
const inIndex = (log: Log, name: string): string => join(log.dir, 'index', name);
const runsOf = (log: Log): string[] => indexFiles(log).filter((name) => name.startsWith('traces-'));

function changeByte(path: string, offset: number): void {
  const bytes = readFileSync(path);
  bytes[offset]! ^= 1;
  writeFileSync(path, bytes);
}

const plain = seal(newLog(), 40);
const indexed = copyOf(plain);
await found(indexed, 0);

describe('an index', () => {
  test('finds each trace in every record that holds it, and nothing of one that is in none', async () => {
    const log = copyOf(plain);
    expect(await foundAll(log)).toEqual(log.sealed);
    expect(await found(log, TRACE_COUNT)).toEqual([]);
  });

  test('takes in what was sealed since, and keeps few files however often it is asked', async () => {
    let log = newLog();
    for (let life = 0; life < 12; life++) {
      log = seal(log, 1 + (life % 5), life);
      expect(await foundAll(log)).toEqual(log.sealed);
    }
    expect(runsOf(log).length).toBeLessThan(8);
  });

  test('is the same whether it was made at once or bit by bit', async () => {
    let log = seal(newLog(), 10);
    await found(log, 0);
    log = seal(log, 30, 3);
    await found(log, 0);
    const anew = copyOf(log);
    rmSync(join(anew.dir, 'index'), { recursive: true });
    await found(anew, 0);
    for (const name of ['tree', 'records']) {
      expect(readFileSync(inIndex(anew, name))).toEqual(readFileSync(inIndex(log, name)));
    }
  });

  test('is only readable by who made it', () => {
    const modes = ['', ...indexFiles(indexed)].map((name) => modeOf(inIndex(indexed, name)));
    expect(modes).toEqual([0o700, ...indexFiles(indexed).map(() => 0o600)]);
  });

  test('spans that are not signed yet have the log read whole, those of other traces do not', async () => {
    const log = seal(copyOf(plain), 1, 1, false);
    const trace = 1 % TRACE_COUNT;
    expect(await found(log, trace)).toBe('spans of the trace are not signed yet');
    expect(await found(log, 2)).toEqual(plain.sealed.get(2));
    const signed = seal(log, 1, 5);
    expect(typeof (await found(signed, trace))).toBe('object');
  });

  test('is not made in an archive', async () => {
    const log = copyOf(plain);
    rmSync(join(log.dir, 'signing'));
    expect(await found(log, 0)).toBe('this is no log directory of a writer');
    expect(existsSync(join(log.dir, 'index'))).toBe(false);
  });
});

describe('trust', () => {
  test('the head seen before is extended, or the log is read whole', async () => {
    const log = copyOf(plain);
    const misfit = 'the log does not extend the head seen before';
    for (const size of [1, 2, 21, 41]) {
      const head = (await headAt(log.dir, size))!;
      expect(await found(log, 0, trusting(log, head))).toEqual(log.sealed.get(0));
      const other = { size, root: sha256(Buffer.of()) };
      expect(await found(log, 0, trusting(log, other))).toBe(misfit);
    }
    const later = { size: 42, root: sha256(Buffer.of()) };
    expect(await found(log, 0, trusting(log, later))).toBe(misfit);
  });

  test.each<readonly [what: string, change: (log: Log) => TrustFile | undefined, cause: string]>([
    ['no checkpoint', remove('checkpoint'), 'there is no checkpoint'],
    ['no key beside the log', remove('verifier'), 'there is no key to check the checkpoint with'],
    [
      'a log that the trust file does not name',
      (log) => ({ ...trusting(log), logs: [] }),
      'there is no key to check the checkpoint with',
    ],
    [
      'another key in the trust file',
      () => trusting(newLog()),
      'the signature of the checkpoint does not hold',
    ],
    [
      'a signature that was changed',
      ({ dir }) => {
        const path = join(dir, 'checkpoint');
        const text = readFileSync(path, 'utf8');
        const at = text.lastIndexOf('=') - 20;
        const other = text[at] === 'A' ? 'B' : 'A';
        writeFileSync(path, text.slice(0, at) + other + text.slice(at + 1));
        return undefined;
      },
      'the signature of the checkpoint does not hold',
    ],
  ])('%s: the log is read whole', async (_what, change, cause) => {
    const log = copyOf(indexed);
    expect(await found(log, 0, change(log))).toBe(cause);
  });
});

function remove(name: string): (log: Log) => undefined {
  return ({ dir }) => {
    rmSync(join(dir, name));
    return undefined;
  };
}

describe('an index that lies', () => {
  test('in any byte that is no trace: is made anew, and finds the same', async () => {
    for (const name of ['tree', 'records', 'state']) {
      const { length } = readFileSync(inIndex(indexed, name));
      for (let offset = 0; offset < length; offset += name === 'tree' ? 97 : 11) {
        const log = copyOf(indexed);
        changeByte(inIndex(log, name), offset);
        const trace = offset % TRACE_COUNT;
        expect([name, offset, await found(log, trace)]).toEqual([
          name,
          offset,
          plain.sealed.get(trace),
        ]);
        rmSync(log.dir, { recursive: true });
      }
    }
  });

  test('in any byte of a trace: hides records at most, and gives none that does not hold', async () => {
    const [run] = runsOf(indexed);
    const { length } = readFileSync(inIndex(indexed, run!));
    let hiddenCount = 0;
    for (let offset = 0; offset < length; offset += 9) {
      const log = copyOf(indexed);
      changeByte(inIndex(log, run!), offset);
      for (const trace of [0, 5]) {
        const records = await found(log, trace);
        if (typeof records === 'string') continue;
        const known = plain.sealed.get(trace)!;
        // Others are given as well, and whoever asked looks for himself: they hold all the same.
        if (!known.every((record) => records.includes(record))) hiddenCount++;
        expect(records.every((record) => record < 41)).toBe(true);
      }
      rmSync(log.dir, { recursive: true });
    }
    expect(hiddenCount).toBeGreaterThan(0);
  });

  test.each<readonly [what: string, change: (log: Log) => void | Promise<void>]>([
    ['is gone', (log) => rmSync(join(log.dir, 'index'), { recursive: true })],
    ['has no state', (log) => rmSync(inIndex(log, 'state'))],
    ['has no tree', (log) => rmSync(inIndex(log, 'tree'))],
    ['has no records', (log) => rmSync(inIndex(log, 'records'))],
    ['has no traces', (log) => rmSync(inIndex(log, runsOf(log)[0]!))],
    ['has a tree that is cut off', (log) => truncateSync(inIndex(log, 'tree'), 100)],
    ['has records that are cut off', (log) => truncateSync(inIndex(log, 'records'), 10)],
    ['has traces that are cut off', (log) => truncateSync(inIndex(log, runsOf(log)[0]!), 10)],
    [
      'is empty',
      (log) => {
        for (const name of indexFiles(log)) truncateSync(inIndex(log, name), 0);
      },
    ],
    [
      'says that each record is another',
      (log) => {
        const bytes = readFileSync(inIndex(log, 'records'));
        writeFileSync(inIndex(log, 'records'), Buffer.concat([bytes.subarray(4), bytes]));
      },
    ],
    [
      'is of another log of that name',
      async (log) => {
        const other = seal(newLog(), 50, 2);
        await found(other, 0);
        rmSync(join(log.dir, 'index'), { recursive: true });
        cpSync(join(other.dir, 'index'), join(log.dir, 'index'), { recursive: true });
      },
    ],
    [
      'has a file too many',
      (log) => writeFileSync(inIndex(log, 'traces-3-4'), 'left behind by a crash'),
    ],
  ])('%s: finds the same', async (_what, change) => {
    const log = copyOf(indexed);
    await change(log);
    expect(await foundAll(log)).toEqual(plain.sealed);
  });

  test('gives records of other traces: they are verified as well, and not taken for the one', async () => {
    const log = copyOf(indexed);
    const state = JSON.parse(readFileSync(inIndex(log, 'state'), 'utf8'));
    const entry = new Uint32Array([3, traceId(0).readUInt32BE(12)]);
    writeFileSync(inIndex(log, 'traces-0-1'), new Uint8Array(entry.buffer));
    state.runs.push({ name: 'traces-0-1', count: 1 });
    writeFileSync(inIndex(log, 'state'), JSON.stringify(state));
    const records = [...new Set([...plain.sealed.get(0)!, 3])].sort((a, b) => a - b);
    expect(await found(log, 0)).toEqual(records);
  });
});

describe('a log that changed under its index', () => {
  test('put back to an older state: what is left is found', async () => {
    const earlier = seal(newLog(), 10);
    const log = seal(copyOf(earlier), 20, 3);
    await found(log, 0);
    const back = putBack(log, earlier);
    for (const [trace, records] of await foundAll(back)) {
      // What the index knows to come later makes the log be read whole.
      if (typeof records === 'string')
        expect(records).toBe('spans of the trace are not signed yet');
      else expect(records).toEqual(back.sealed.get(trace));
    }
  });

  test('put back, and gone on with otherwise: what is there now is found', async () => {
    const earlier = seal(newLog(), 10);
    const log = seal(copyOf(earlier), 20, 3);
    await found(log, 0);
    const fork = seal(putBack(log, earlier), 25, 8);
    expect(await foundAll(fork)).toEqual(fork.sealed);
  });

  test('a record that was changed: never given for what was sealed', async () => {
    const segments = readdirSync(join(indexed.dir, 'segments'));
    for (const [position, name] of segments.entries()) {
      const log = copyOf(indexed);
      const path = join(log.dir, 'segments', name);
      const { length } = readFileSync(path);
      for (let offset = position % 17; offset < length; offset += 401) {
        changeByte(path, offset);
        for (const [trace, records] of await foundAll(log)) {
          if (typeof records === 'string') continue;
          expect(records).toEqual(plain.sealed.get(trace));
        }
        changeByte(path, offset);
      }
      rmSync(log.dir, { recursive: true });
    }
  }, 60_000);

  test('a record that was replaced by another one, well made but not the one signed: the log is read whole', async () => {
    const log = copyOf(indexed);
    const [, name] = readdirSync(join(log.dir, 'segments'));
    const path = join(log.dir, 'segments', name!);
    const bytes = readFileSync(path);
    const last = [...readFrames(bytes)].at(-1)!;
    const [trace] = [...log.sealed].find(([, records]) => records.includes(last.header.index))!;
    const id = traceId(trace).toString('base64');
    const spans = [{ name: 'forged', traceId: id, spanId: Buffer.alloc(8, 9).toString('base64') }];
    const request = encodeOtlp('TracesData', { resourceSpans: [{ scopeSpans: [{ spans }] }] });
    const { frame } = encodeRecord(last.header, splitRequest(request, 'traces'));
    writeFileSync(path, Buffer.concat([bytes.subarray(0, last.start), frame]));
    expect(typeof (await found(log, trace))).toBe('string');
  });

  test('the segment of a record is gone: the log is read whole', async () => {
    const log = copyOf(indexed);
    rmSync(join(log.dir, 'segments', segmentName(0)));
    const [trace] = [...log.sealed].find(([, records]) => records.includes(1))!;
    expect(typeof (await found(log, trace))).toBe('string');
  });

  test('segments that were pruned: those left are found, by an index from before and by a new one', async () => {
    const log = copyOf(indexed);
    const firsts = readdirSync(join(log.dir, 'segments')).map((name) => Number(name.slice(0, 20)));
    const receipts = firsts.slice(0, 3).map((segment, at) => {
      const bytes = readFileSync(join(log.dir, 'segments', segmentName(segment)));
      const size = firsts[at + 1]!;
      const of = { byteLength: bytes.length, sha256: sha256(bytes), key: 'k' };
      return { name: 'receipt', archive: 'directory', segment, size, ...of } as const;
    });
    const outcome = pruneSegments({
      files: nodeFiles,
      dir: log.dir,
      localDays: 0,
      nowMs: START_MS,
      archived: new Map(receipts.map((receipt) => [receipt.segment, { receipt, receivedMs: 0 }])),
      neededFrom: Number.POSITIVE_INFINITY,
      journal: () => undefined,
    });
    expect(outcome).toEqual({ size: firsts[3]!, problem: undefined });
    const left = new Map(
      [...log.sealed].map(([trace, records]) => [
        trace,
        records.filter((record) => record >= outcome.size),
      ]),
    );
    expect(await foundAll(log)).toEqual(left);
    rmSync(join(log.dir, 'index'), { recursive: true });
    expect(await foundAll(log)).toEqual(left);
    const grown = seal({ ...log, sealed: left }, 9, 4);
    expect(await foundAll(grown)).toEqual(grown.sealed);
  });
});

describe('no index', () => {
  test.each<readonly [what: string, change: (folder: string) => void, cause: RegExp]>([
    ['a file in its place', (folder) => writeFileSync(folder, ''), /EEXIST|no directory/],
    ['a link in its place', (folder) => symlinkSync(newFolder(), folder), /is no directory/],
    [
      'a link in it',
      (folder) => {
        mkdirSync(folder);
        symlinkSync(join(newFolder(), 'elsewhere'), join(folder, 'tree'));
      },
      /is no regular file/,
    ],
  ])('%s: nothing is written, and the log read whole', async (_what, change, cause) => {
    const log = copyOf(plain);
    change(join(log.dir, 'index'));
    expect(await found(log, 0)).toMatch(cause);
  });

  test('while another process writes it: the log is read whole', async () => {
    const log = copyOf(indexed);
    const lock = takeLock(join(log.dir, 'index'));
    expect(await found(log, 0)).toBe('another process is writing it');
    lock?.release();
    expect(await found(log, 0)).toEqual(plain.sealed.get(0));
  });
});
