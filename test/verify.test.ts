// SPDX-License-Identifier: Apache-2.0
// Goal: whatever is done to a log, verifyLog never says valid, and names the place and the rule. Method: a small real log,
// every single bit of it flipped and every length tried, then forgeries by an archive's owner and by the key's holder.
import { constants as zstd, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type ControlEvent, encodeControl, type GapEvent } from '../exporter/log/control.ts';
import { encodeHeader, type RecordHeader, WRITER_SOURCE } from '../exporter/log/header.ts';
import { NUMBER_RANGE_COUNT_MAX } from '../exporter/log/limits.ts';
import { leafHash, NO_LINK, rootOf, Tree } from '../exporter/log/merkle.ts';
import { encodeCheckpointText, encodeNote, type Head } from '../exporter/log/note.ts';
import type { Primitives } from '../exporter/log/record.ts';
import type { Report } from '../exporter/log/report.ts';
import { readFrames, segmentName } from '../exporter/log/segment.ts';
import type { NamedBytes } from '../exporter/log/verify.ts';
import { nodePrimitives, type Signer, sha256 } from '../exporter/node/system/keys.ts';
import {
  COLLECTOR,
  COUNTERS,
  codesOf,
  DIR,
  emptyDisk,
  HEARTBEAT_MS,
  IN_PROCESS,
  type Judging,
  judge,
  logEntries,
  logOn,
  numberedEntries,
  ORIGIN,
  openSigner,
  openWriter,
  outlineOf,
  recordsOf,
  type SmallLog,
  START_MS,
  sealSmallLog,
  spanEntries,
} from './support/small-log.ts';

const signer = openSigner();
const verifiers = [signer.verifier];
const disk = emptyDisk();
sealSmallLog(disk, signer);
const log = logOn(disk);
const [first, second] = log.segments as [NamedBytes, NamedBytes];
const checkpoint = log.checkpoints[0]!;

const join = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const bytesOf = (latin1: string): Uint8Array => new Uint8Array(Buffer.from(latin1, 'latin1'));
/** Verdict, then each finding as `code place`: `record.link 3/4` is segment 3, record 4. */
const outcomeOf = (report: Report): readonly string[] => [
  report.verdict,
  ...report.findings.map(({ code, where }) => {
    const record = /^segment ([0-9]{20})\.seg record ([0-9]+)$/.exec(where);
    return `${code} ${record === null ? where : `${Number(record[1])}/${record[2]}`}`;
  }),
];

/** All six records checked, and none of them signed by a trusted key. */
const TAIL_6 = 'log.unsigned-tail 3/6';

/** Pure functions, remembered: thousands of logs that differ in one bit hash and inflate the same bytes. */
function remembering(primitives: Primitives): Primitives {
  const inflated = new Map<string, Uint8Array | Promise<Uint8Array>>();
  const verified = new Map<string, boolean | Promise<boolean>>();
  return {
    sha256: primitives.sha256,
    inflate: (stored, byteLength) => {
      const key = `${byteLength} ${text(stored)}`;
      const known = inflated.get(key) ?? primitives.inflate(stored, byteLength);
      inflated.set(key, known);
      return known;
    },
    verifyEd25519: (key, message, signature) => {
      const question = [key, message, signature].map(text).join('\n');
      const known = verified.get(question) ?? primitives.verifyEd25519(key, message, signature);
      verified.set(question, known);
      return known;
    },
  };
}

/** A record to be forged. */
interface Draft {
  readonly header: RecordHeader;
  readonly stored: Uint8Array;
}

const drafts: readonly Draft[] = log.segments.flatMap(({ bytes }) =>
  [...readFrames(bytes)].map(({ header, stored }) => ({ header, stored })),
);

function compress(payload: Uint8Array, level = 1): Uint8Array {
  return zstdCompressSync(payload, {
    pledgedSrcSize: payload.length,
    params: {
      [zstd.ZSTD_c_compressionLevel]: level,
      [zstd.ZSTD_c_contentSizeFlag]: 1,
      [zstd.ZSTD_c_windowLog]: 20,
    },
  });
}

/** A record of other entries, true in all it says of them. */
function draftOf(header: RecordHeader, entries: readonly Uint8Array[]): Draft {
  const payload = join(...entries);
  const stored = compress(payload);
  const leaves = entries.map((entry) => leafHash(sha256, entry));
  return {
    header: {
      ...header,
      payloadByteLength: payload.length,
      storedByteLength: stored.length,
      storedHash: sha256(stored),
      entryCount: entries.length,
      root: rootOf(sha256, leaves),
    },
    stored,
  };
}

/** The same record with other stored bytes, which its header tells the truth of. */
function withStored({ header }: Draft, stored: Uint8Array): Draft {
  return {
    header: { ...header, storedByteLength: stored.length, storedHash: sha256(stored) },
    stored,
  };
}

const controlDraft = (header: RecordHeader, ...events: readonly ControlEvent[]): Draft =>
  draftOf(
    { ...header, kind: 'control', source: WRITER_SOURCE },
    events.map((event) => encodeControl(event, Date.parse(header.sealed))),
  );

/** Drafts in order, each numbered and linked to the one before; what a test changes after that is a lie of its own. */
function linked(
  records: readonly Draft[],
  lie: (header: RecordHeader) => Partial<RecordHeader> = () => ({}),
): { readonly frames: readonly Uint8Array[]; readonly head: Head } {
  const tree = new Tree(sha256);
  let prev = NO_LINK;
  const frames = records.map(({ header, stored }, index) => {
    const honest = { ...header, index, prev };
    const headerBytes = encodeHeader({ ...honest, ...lie(honest) });
    prev = leafHash(sha256, headerBytes);
    tree.append(prev);
    return join(headerBytes, stored);
  });
  return { frames, head: { size: tree.size, root: tree.root() } };
}

/** Frames in two segments, the second from record 3 on. */
const cut = (frames: readonly Uint8Array[]): NamedBytes[] => [
  { name: first.name, bytes: join(...frames.slice(0, 3)) },
  { name: second.name, bytes: join(...frames.slice(3)) },
];

/** The line of a signature with another signature in it. */
function forgedLine(line: string): string {
  const blob = Buffer.from(line.split(' ').at(-1)!, 'base64');
  blob[blob.length - 1]! ^= 1;
  return line.replace(/[^ ]+$/, blob.toString('base64'));
}

function sign(head: Head, by: Signer = signer, origin = ORIGIN): NamedBytes {
  const message = encodeCheckpointText(origin, head);
  const note = encodeNote(message, [{ verifier: by.verifier, signature: by.sign(message) }]);
  return { name: 'checkpoint', bytes: note };
}

/** All rewritten by who has no key: every hash and link fits, but the checkpoint is the old one. */
function rewritten(...parameters: Parameters<typeof linked>): SmallLog {
  return { segments: cut(linked(...parameters).frames), checkpoints: [checkpoint] };
}

/** All rewritten by the key's holder: every hash, link and signature fits. */
function forged(...parameters: Parameters<typeof linked>): SmallLog {
  const { frames, head } = linked(...parameters);
  return { segments: cut(frames), checkpoints: [sign(head)] };
}

describe('a whole log', () => {
  test('is valid, and the report says what was checked and what was not', async () => {
    const report = await judge(log, { verifiers, nowMs: START_MS + 10 * HEARTBEAT_MS });
    expect(report).toEqual({
      verdict: 'valid',
      log: ORIGIN,
      size: 6,
      root: text(checkpoint.bytes).split('\n')[2],
      records: 6,
      entries: 4,
      declaredLost: 0,
      findings: [],
      findingsOmitted: 0,
      assurance: {
        signer: ORIGIN,
        selfAttested: false,
        tail: 'not checked: no earlier head was given',
        population: 'not checked: no list of expected logs was given',
        fork: 'fork after restore: not excluded',
        witnesses: 'none',
        archiveLock: 'not checked',
        unsignedRecords: 0,
        claimedFrom: '2026-11-23T10:00:00.001Z',
        claimedTo: report.assurance.claimedTo,
      },
    });
    expect(await outlineOf(log, signer)).toEqual([
      'opened',
      'traces',
      'logs',
      'traces',
      'heartbeat receipt',
      'closed',
    ]);
  });

  test('hands over each record with its leaves and events', async () => {
    const records = await recordsOf(log, signer);
    expect(records.map(({ header }) => header.index)).toEqual([0, 1, 2, 3, 4, 5]);
    const [, traces] = records;
    expect(traces!.entries.map(text)).toEqual(spanEntries('chat', 'tool').map(text));
    expect(traces!.leaves).toEqual(traces!.entries.map((entry) => leafHash(sha256, entry)));
    expect(traces!.leaf).toEqual(leafHash(sha256, traces!.headerBytes));
  });

  test('forging it without a change gives the very same bytes: the forger is no straw man', () => {
    expect(forged(drafts)).toEqual(log);
  });

  test('is valid as an async stream, with primitives that answer later, and without a name to expect', async () => {
    const later: Primitives = {
      ...nodePrimitives,
      inflate: async (stored, byteLength) => nodePrimitives.inflate(stored, byteLength),
      verifyEd25519: async (...question) => nodePrimitives.verifyEd25519(...question),
    };
    const report = await judge(log, { verifiers, origin: undefined, primitives: later });
    expect([report.verdict, report.log]).toEqual(['valid', ORIGIN]);
  });
});

describe('every single bit', () => {
  const primitives = remembering(nodePrimitives);

  async function flipAll(file: NamedBytes, put: (bytes: Uint8Array) => SmallLog): Promise<void> {
    const valid: number[] = [];
    const silent: number[] = [];
    for (let bit = 0; bit < file.bytes.length * 8; bit++) {
      const bytes = file.bytes.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      const report = await judge(put(bytes), { verifiers, primitives });
      if (report.verdict === 'valid') valid.push(bit);
      if (report.findings.length === 0) silent.push(bit);
    }
    expect({ valid, silent }).toEqual({ valid: [], silent: [] });
  }

  test('of the first segment, flipped, is found', () =>
    flipAll(first, (bytes) => ({ ...log, segments: [{ ...first, bytes }, second] })));

  test('of the last segment, flipped, is found', () =>
    flipAll(second, (bytes) => ({ ...log, segments: [first, { ...second, bytes }] })));

  test('of the checkpoint, flipped, is found', () =>
    flipAll(checkpoint, (bytes) => ({ ...log, checkpoints: [{ ...checkpoint, bytes }] })));
});

describe('every length', () => {
  const primitives = remembering(nodePrimitives);
  const put: Readonly<Record<string, (bytes: Uint8Array) => SmallLog>> = {
    'the first segment': (bytes) => ({ ...log, segments: [{ ...first, bytes }, second] }),
    'the last segment': (bytes) => ({ ...log, segments: [first, { ...second, bytes }] }),
    'the checkpoint': (bytes) => ({ ...log, checkpoints: [{ ...checkpoint, bytes }] }),
  };
  const bytes = {
    'the first segment': first,
    'the last segment': second,
    'the checkpoint': checkpoint,
  };

  test.each(Object.entries(bytes))('%s cut short anywhere is invalid', async (name, file) => {
    const wrong: number[] = [];
    for (let length = 0; length < file.bytes.length; length++) {
      const report = await judge(put[name]!(file.bytes.slice(0, length)), {
        verifiers,
        primitives,
      });
      if (report.verdict !== 'invalid') wrong.push(length);
    }
    expect(wrong).toEqual([]);
  });

  test.each(Object.entries(bytes))('%s longer by any one byte is not valid', async (name, file) => {
    const wrong: number[] = [];
    for (let byte = 0; byte < 256; byte++) {
      const longer = join(file.bytes, Uint8Array.of(byte));
      const report = await judge(put[name]!(longer), { verifiers, primitives });
      if (report.verdict === 'valid') wrong.push(byte);
    }
    expect(wrong).toEqual([]);
  });

  test('any one byte taken out is not valid', async () => {
    const wrong: string[] = [];
    for (const [name, file] of Object.entries(bytes)) {
      for (let gone = 0; gone < file.bytes.length; gone++) {
        const shorter = join(file.bytes.slice(0, gone), file.bytes.slice(gone + 1));
        const report = await judge(put[name]!(shorter), { verifiers, primitives });
        if (report.verdict === 'valid') wrong.push(`${name} ${gone}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

/** A change to a log, and all that the verifier says of it. */
type Attack = readonly [name: string, log: SmallLog, ...outcome: string[]];
const frames = linked(drafts).frames;
const [d0, d1, d2, d3, d4, d5] = drafts as [Draft, Draft, Draft, Draft, Draft, Draft];
const sealAt = (ms: number): string => new Date(START_MS + ms).toISOString();

describe('records and segments moved about by who has no key', () => {
  const [f0, f1, f2, f3, f4, f5] = frames as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  const with_ = (...list: readonly Uint8Array[]): SmallLog => ({ ...log, segments: cut(list) });
  const named = (...segments: readonly (readonly [index: number, bytes: Uint8Array])[]) => ({
    ...log,
    segments: segments.map(([index, bytes]) => ({ name: segmentName(index), bytes })),
  });
  const attacks: readonly Attack[] = [
    [
      'two neighbours swapped',
      with_(f0, f2, f1, f3, f4, f5),
      'invalid',
      'record.index 0/1',
      'record.link 0/1',
      'record.index 0/2',
      'record.link 0/2',
      'record.time 0/2',
      'record.link 3/3',
      'log.root checkpoint',
    ],
    [
      'a record doubled, in place of its neighbour',
      with_(f0, f1, f1, f3, f4, f5),
      'invalid',
      'record.index 0/2',
      'record.link 0/2',
      'record.link 3/3',
      'log.root checkpoint',
    ],
    [
      'a record inserted',
      named([0, first.bytes], [3, join(f3, f3, f4, f5)]),
      'invalid',
      'record.index 3/4',
      'record.link 3/4',
      'record.index 3/5',
      'log.root checkpoint',
      'record.index 3/6',
      'log.unsigned-tail 3/7',
    ],
    [
      'a record deleted, its neighbours closed up',
      with_(f0, f2, f3, f4, f5),
      'invalid',
      'record.index 0/1',
      'record.link 0/1',
      'record.index 0/2',
      'record.index 3/3',
      'record.index 3/4',
      'log.truncated 3/5',
    ],
    [
      'a record deleted in place',
      named([0, join(f0, f2)], [3, second.bytes]),
      'invalid',
      'record.index 0/1',
      'record.link 0/1',
      'segment.name 00000000000000000003.seg',
      'log.truncated 3/2',
    ],
    [
      'the first record deleted',
      named([0, join(f1, f2)], [3, second.bytes]),
      'invalid',
      'record.index 0/0',
      'record.link 0/0',
      'record.opened 0/0',
      'record.index 0/1',
      'record.opened 0/1',
      'segment.name 00000000000000000003.seg',
      'log.truncated 3/2',
    ],
    ['the last record deleted', with_(f0, f1, f2, f3, f4), 'invalid', 'log.truncated 3/5'],
    [
      'a record repeated behind the last',
      with_(f0, f1, f2, f3, f4, f5, f5),
      'invalid',
      'record.index 3/6',
      'record.link 3/6',
      'record.opened 3/6',
      'log.unsigned-tail 3/7',
    ],
    [
      'a record repeated behind the last, headed by a half',
      with_(f0, f1, f2, f3, f4, f5, f5.slice(0, 200)),
      'incomplete',
      'log.torn-tail 3/6',
    ],
    [
      'the first segment deleted',
      named([3, second.bytes]),
      'invalid',
      'segment.name 00000000000000000003.seg',
      'log.truncated 3/0',
      'log.empty log',
    ],
    ['the last segment deleted', named([0, first.bytes]), 'invalid', 'log.truncated 0/3'],
    [
      'all segments deleted',
      named(),
      'invalid',
      'log.truncated segment - record 0',
      'log.empty log',
    ],
    [
      'two segments swapped',
      named([0, second.bytes], [3, first.bytes]),
      'invalid',
      'record.index 0/0',
      'record.link 0/0',
      'record.opened 0/0',
      'record.index 0/1',
      'record.opened 0/1',
      'record.index 0/2',
      'record.opened 0/2',
      'record.index 3/3',
      'record.link 3/3',
      'record.time 3/3',
      'record.opened 3/3',
      'record.index 3/4',
      'record.index 3/5',
      'log.root checkpoint',
    ],
    [
      'two segments listed the other way round',
      named([3, second.bytes], [0, first.bytes]),
      'invalid',
      'segment.name 00000000000000000003.seg',
      'log.truncated 3/0',
      'log.empty log',
    ],
    [
      'a segment repeated',
      named([0, first.bytes], [3, second.bytes], [6, second.bytes]),
      'invalid',
      'record.index 6/6',
      'record.link 6/6',
      'record.time 6/6',
      'record.opened 6/6',
      'record.index 6/7',
      'record.opened 6/7',
      'record.index 6/8',
      'record.opened 6/8',
      'log.unsigned-tail 6/9',
    ],
    [
      'a segment under another number',
      named([0, first.bytes], [4, second.bytes]),
      'invalid',
      'segment.name 00000000000000000004.seg',
      'log.truncated 4/3',
    ],
    [
      'a file that is no segment',
      { ...log, segments: [first, second, { name: 'copy.seg', bytes: f5 }] },
      'invalid',
      'segment.name copy.seg',
    ],
    [
      'a segment torn before its successor',
      named([0, first.bytes.slice(0, -1)], [3, second.bytes]),
      'invalid',
      'record.header 0/2',
      'log.truncated 3/2',
    ],
    [
      'a segment of zeros',
      named([0, first.bytes], [3, new Uint8Array(second.bytes.length)]),
      'invalid',
      'log.truncated 3/3',
      'log.torn-tail 3/3',
    ],
  ];
  for (const [name, attacked, ...outcome] of attacks) {
    test(name, async () => {
      expect(outcomeOf(await judge(attacked, { verifiers }))).toEqual(outcome);
    });
  }
});

describe('values changed by who has no key', () => {
  const change = (index: number, of: Partial<RecordHeader>): SmallLog =>
    rewritten(drafts, (header) => (header.index === index ? of : {}));
  const other = sha256(Uint8Array.of(1));
  const attacks: readonly Attack[] = [
    ['time', change(1, { sealed: sealAt(4) }), 'invalid', 'log.root checkpoint'],
    ['source', change(1, { source: COLLECTOR }), 'invalid', 'log.root checkpoint'],
    [
      'policy',
      change(1, { source: { ...IN_PROCESS, policy: 'redacted' } }),
      'invalid',
      'log.root checkpoint',
    ],
    [
      'principal',
      change(2, { source: { ...COLLECTOR, principal: other } }),
      'invalid',
      'log.root checkpoint',
    ],
    [
      'another span, hashed and linked anew',
      rewritten(drafts.with(1, draftOf(d1.header, spanEntries('chat', 'too1')))),
      'invalid',
      'log.root checkpoint',
    ],
    [
      'a span less',
      rewritten(drafts.with(1, draftOf(d1.header, spanEntries('chat')))),
      'invalid',
      'log.root checkpoint',
    ],
    ['a record less', rewritten([d0, d2, d3, d4, d5]), 'invalid', 'log.truncated 3/5'],
    [
      'the stored bytes compressed anew, the header left',
      {
        ...log,
        segments: cut(
          frames.with(
            1,
            join(
              encodeHeader(d1.header),
              compress(
                nodePrimitives.inflate(d1.stored, d1.header.payloadByteLength) as Uint8Array,
                19,
              ),
            ),
          ),
        ),
      },
      'invalid',
      'record.stored 0/1',
      'record.header 0/2',
      'log.truncated 0/2',
    ],
  ];
  for (const [name, attacked, ...outcome] of attacks) {
    test(name, async () => {
      expect(outcomeOf(await judge(attacked, { verifiers }))).toEqual(outcome);
    });
  }
});

describe("lies of the key's holder: signed, and against the rules all the same", () => {
  const other = sha256(Uint8Array.of(1));
  const lie = (index: number, of: Partial<RecordHeader>): SmallLog =>
    forged(drafts, (header) => (header.index === index ? of : {}));
  const emptyHead = { size: 0, root: new Tree(sha256).root() };
  const opened = {
    name: 'opened' as const,
    ...emptyHead,
    writer: 'sealspan/test',
    instance: '0',
    configuration: other,
    heartbeatMs: HEARTBEAT_MS,
  };
  const attacks: readonly Attack[] = [
    [
      'a record of another log',
      lie(1, { log: 'example.org/audit/other' }),
      'invalid',
      'record.log 0/1',
    ],
    [
      'a record with another index (format attack 19)',
      lie(4, { index: 7 }),
      'invalid',
      'record.index 3/4',
    ],
    ['a record that links elsewhere', lie(2, { prev: other }), 'invalid', 'record.link 0/2'],
    ['the first record with a link', lie(0, { prev: other }), 'invalid', 'record.link 0/0'],
    [
      'a record sealed before the one before (format attack 20)',
      lie(4, { sealed: sealAt(0) }),
      'invalid',
      'record.time 3/4',
    ],
    [
      'a record with the root of other entries (format attack 19)',
      lie(1, { root: other }),
      'invalid',
      'record.root 0/1',
    ],
    [
      'a record that counts an entry more',
      lie(1, { entryCount: 3 }),
      'invalid',
      'record.entries 0/1',
    ],
    ['a record of another kind', lie(1, { kind: 'logs' }), 'invalid', 'record.entries 0/1'],
    [
      'a record that says another length of its payload',
      lie(1, { payloadByteLength: 215 }),
      'invalid',
      'record.frame 0/1',
    ],
    [
      'a record with another hash of its stored bytes',
      lie(1, { storedHash: other }),
      'invalid',
      'record.stored 0/1',
    ],
    [
      'spans in a control record',
      lie(1, { kind: 'control', source: WRITER_SOURCE }),
      'invalid',
      'record.entries 0/1',
    ],
    [
      'log records that are no events, in a control record',
      forged(
        drafts.with(
          2,
          draftOf({ ...d2.header, kind: 'control', source: WRITER_SOURCE }, logEntries('asked')),
        ),
      ),
      'invalid',
      'record.control 0/2',
    ],
    [
      'a first record that opens nothing',
      forged([d1, d2, d3, d4, d5, d5]),
      'invalid',
      'record.opened 0/0',
      'record.opened 0/1',
      'record.opened 0/2',
      'record.opened 3/3',
      'record.opened 3/4',
      'record.opened 3/5',
    ],
    [
      'opened that states another size',
      forged(drafts.with(0, controlDraft(d0.header, { ...opened, size: 3 }))),
      'invalid',
      'record.opened 0/0',
    ],
    [
      'opened that states another root',
      forged(drafts.with(0, controlDraft(d0.header, { ...opened, root: other }))),
      'invalid',
      'record.opened 0/0',
    ],
    [
      'opened again without the head there is',
      forged(drafts.with(3, controlDraft(d3.header, opened))),
      'invalid',
      'record.opened 3/3',
      'log.unclean-end 3/3',
    ],
    [
      'a record behind closed',
      forged([d0, d1, d5, d3, d4, d5]),
      'invalid',
      'record.time 3/3',
      'record.opened 3/3',
      'record.opened 3/4',
      'record.opened 3/5',
    ],
  ];
  for (const [name, attacked, ...outcome] of attacks) {
    test(name, async () => {
      expect(outcomeOf(await judge(attacked, { verifiers }))).toEqual(outcome);
    });
  }
});

test('borders between segments carry no meaning: the same records, divided otherwise, are the same log', async () => {
  const divided = (...starts: readonly number[]): SmallLog => ({
    ...log,
    segments: starts.map((start, position) => ({
      name: segmentName(start),
      bytes: join(...frames.slice(start, starts[position + 1])),
    })),
  });
  for (const attacked of [divided(0), divided(0, 1, 3), divided(0, 1, 2, 3, 4, 5)]) {
    expect(outcomeOf(await judge(attacked, { verifiers }))).toEqual(['valid']);
  }
});

describe('keys, names and heads come from outside (invariant 9)', () => {
  const stranger = openSigner();
  const elsewhere = openSigner('example.org/audit/other');
  const head = (size: number, of: readonly Uint8Array[] = frames): Head => {
    const tree = new Tree(sha256);
    for (const frame of of.slice(0, size)) {
      for (const { headerBytes } of readFrames(frame)) tree.append(leafHash(sha256, headerBytes));
    }
    return { size, root: tree.root() };
  };
  const note = text(checkpoint.bytes);
  const noteOf = (latin1: string): SmallLog => ({
    ...log,
    checkpoints: [{ name: 'checkpoint', bytes: bytesOf(latin1) }],
  });
  const line = note.split('\n')[4]!;

  const cases: readonly (readonly [string, SmallLog, Judging, ...string[]])[] = [
    [
      'no key at all',
      log,
      {},
      'unverifiable',
      'key.missing trust',
      'checkpoint.unsigned checkpoint',
      TAIL_6,
    ],
    [
      'the key of a stranger',
      log,
      { verifiers: [stranger.verifier] },
      'unverifiable',
      'checkpoint.unsigned checkpoint',
      TAIL_6,
    ],
    [
      'the key of another log',
      log,
      { verifiers: [elsewhere.verifier] },
      'unverifiable',
      'checkpoint.unsigned checkpoint',
      TAIL_6,
    ],
    [
      'a stranger’s key beside the right one',
      log,
      { verifiers: [stranger.verifier, ...verifiers] },
      'valid',
    ],
    [
      'the log under another name',
      log,
      { verifiers, origin: 'example.org/audit/other' },
      'invalid',
      'checkpoint.origin checkpoint',
      ...[0, 1, 2].map((n) => `record.log 0/${n}`),
      ...[3, 4, 5].map((n) => `record.log 3/${n}`),
      TAIL_6,
    ],
    [
      'no checkpoint',
      { ...log, checkpoints: [] },
      { verifiers },
      'unverifiable',
      'checkpoint.missing log',
      TAIL_6,
    ],
    [
      'a checkpoint of another size under the old signature',
      noteOf(note.replace('\n6\n', '\n5\n')),
      { verifiers },
      'invalid',
      'checkpoint.signature checkpoint',
      TAIL_6,
    ],
    [
      'a checkpoint signed by a stranger',
      { ...log, checkpoints: [sign(head(6), stranger)] },
      { verifiers },
      'unverifiable',
      'checkpoint.unsigned checkpoint',
      TAIL_6,
    ],
    [
      'a signature of nothing under the name of the key',
      noteOf(note.replace(line, `${line.slice(0, -90)}${'A'.repeat(87)}=`)),
      { verifiers },
      'invalid',
      'checkpoint.syntax checkpoint',
      TAIL_6,
    ],
    [
      'the right line, then a forged one of the same key',
      noteOf(`${note}${forgedLine(line)}\n`),
      { verifiers },
      'invalid',
      'checkpoint.signature checkpoint',
      TAIL_6,
    ],
    [
      'a line of an unknown key beside the right one (C2SP signed-note)',
      noteOf(`${note}${line.replace(ORIGIN, 'example.org/witness')}\n`),
      { verifiers },
      'valid',
    ],
    [
      'a checkpoint of another log among those of the archive',
      {
        ...log,
        checkpoints: [
          {
            ...sign({ size: 6, root: head(6).root }, elsewhere, 'example.org/audit/other'),
            name: 'checkpoints/b',
          },
          checkpoint,
        ],
      },
      { verifiers: [elsewhere.verifier, ...verifiers] },
      'invalid',
      'checkpoint.origin checkpoints/b',
    ],
    [
      'an archived checkpoint of an older head',
      { ...log, checkpoints: [{ ...sign(head(3)), name: 'checkpoints/a' }, checkpoint] },
      { verifiers },
      'valid',
    ],
    [
      'two signed heads of one size (format attack 11)',
      {
        ...log,
        checkpoints: [
          { ...sign({ size: 3, root: sha256(bytesOf('x')) }), name: 'checkpoints/a' },
          checkpoint,
        ],
      },
      { verifiers },
      'invalid',
      'log.root checkpoints/a',
    ],
    [
      'nothing but an older checkpoint',
      { ...log, checkpoints: [sign(head(3))] },
      { verifiers },
      'incomplete',
      'log.unsigned-tail 3/6',
    ],
    [
      'nothing at all',
      { segments: [], checkpoints: [] },
      { verifiers },
      'unverifiable',
      'checkpoint.missing log',
      'log.empty log',
    ],
    [
      'an older log and its own checkpoint, with no head to tell',
      { segments: [first], checkpoints: [sign(head(3))] },
      { verifiers },
      'valid',
    ],
    [
      'an older log and its own checkpoint, against the head seen before',
      { segments: [first], checkpoints: [sign(head(3))] },
      { verifiers, minimumHead: head(6) },
      'invalid',
      'log.rollback 0/3',
    ],
    ['the whole log, against its own head', log, { verifiers, minimumHead: head(6) }, 'valid'],
    ['the whole log, against an older head', log, { verifiers, minimumHead: head(2) }, 'valid'],
    [
      'the whole log, against a head of its size with another root',
      log,
      { verifiers, minimumHead: { size: 6, root: head(5).root } },
      'invalid',
      'log.root minimum head',
    ],
  ];
  for (const [name, given, judging, ...outcome] of cases) {
    test(name, async () => {
      expect(outcomeOf(await judge(given, judging))).toEqual(outcome);
    });
  }

  test('what no signature covers is never counted as verified', async () => {
    const { size, records, assurance } = await judge(
      { ...log, checkpoints: [sign(head(3))] },
      { verifiers },
    );
    expect([size, records, assurance.unsignedRecords, assurance.signer]).toEqual([3, 6, 3, ORIGIN]);
    const unsigned = await judge({ ...log, checkpoints: [] }, { verifiers });
    expect([unsigned.size, unsigned.assurance.signer]).toEqual([0, 'none']);
  });

  test('the tail of the report says which head it was held against', async () => {
    const tailOf = async (given: SmallLog, minimumHead?: Head): Promise<string> =>
      (await judge(given, { verifiers, minimumHead })).assurance.tail;
    expect(await tailOf(log)).toBe('not checked: no earlier head was given');
    expect(await tailOf(log, head(2))).toBe('extends the head of 2 records seen before');
    expect(await tailOf({ segments: [first], checkpoints: [sign(head(3))] }, head(6))).toBe(
      'does not extend the head seen before',
    );
  });
});

describe('the end of a log', () => {
  const grown = emptyDisk();
  const writer = openWriter(grown, signer);
  writer.checkpoint();
  const signedHere = logOn(grown);
  writer.append('traces', IN_PROCESS, spanEntries('not signed yet'));
  writer.close();
  const unsigned = logOn(grown);
  const tornHere: SmallLog = {
    ...unsigned,
    segments: unsigned.segments.map(({ name, bytes }) => ({ name, bytes: bytes.slice(0, -1) })),
  };
  const lastMs = START_MS + 2;

  const cases: readonly (readonly [string, SmallLog, Judging, ...string[]])[] = [
    ['an unsigned record, no writer', unsigned, {}, 'incomplete', 'log.unsigned-tail 0/2'],
    [
      'an unsigned record, a running writer',
      unsigned,
      { live: true },
      'valid',
      'log.unsigned-tail-live 0/2',
    ],
    ['a torn record, no writer', tornHere, {}, 'incomplete', 'log.torn-tail 0/1'],
    [
      'a torn record, a running writer',
      tornHere,
      { live: true },
      'valid',
      'log.unsigned-tail-live 0/1',
    ],
    [
      'a writer silent for two heartbeats',
      signedHere,
      { nowMs: lastMs + 2 * HEARTBEAT_MS - 1 },
      'valid',
    ],
    [
      'a writer silent for longer',
      signedHere,
      { nowMs: lastMs + 2 * HEARTBEAT_MS },
      'incomplete',
      'log.silent 0/1',
    ],
    [
      'a writer silent for longer that holds its log',
      signedHere,
      { nowMs: lastMs + 9 * HEARTBEAT_MS, live: true },
      'valid',
    ],
    ['a closed log, years later', log, { nowMs: lastMs + 1e11 }, 'valid'],
  ];
  for (const [name, given, judging, ...outcome] of cases) {
    test(name, async () => {
      expect(outcomeOf(await judge(given, { verifiers, ...judging }))).toEqual(outcome);
    });
  }

  test('a gap is incomplete, and its spans are counted', async () => {
    const gap: GapEvent = {
      name: 'gap',
      count: 3,
      first: 1,
      last: 3,
      from: sealAt(0),
      to: sealAt(9),
      cause: 'memory is full',
    };
    const report = await judge(forged(drafts.with(4, controlDraft(d4.header, gap, gap))), {
      verifiers,
    });
    expect([report.verdict, report.declaredLost]).toEqual(['incomplete', 6]);
    const finding = {
      code: 'log.gap',
      where: 'segment 00000000000000000003.seg record 4',
      message: `3 spans lost from ${sealAt(0)} to ${sealAt(9)}: memory is full`,
    };
    expect(report.findings).toEqual([finding, finding]);
  });

  test('of several verdicts the worst counts: invalid, unverifiable, incomplete, valid', async () => {
    const bad = tornHere.segments.map(({ name, bytes }) => ({
      name,
      bytes: bytesOf(text(bytes).replace('payload control', 'payload traces ')),
    }));
    const steps = [
      await judge(tornHere, { verifiers }),
      await judge(tornHere, {}),
      await judge({ ...tornHere, segments: bad }, {}),
    ];
    expect(steps.map(({ verdict }) => verdict)).toEqual(['incomplete', 'unverifiable', 'invalid']);
  });

  test('findings beyond the hundredth are counted, and judged all the same', async () => {
    const gap = (cause: string): GapEvent => ({
      name: 'gap',
      count: 1,
      first: 0,
      last: 0,
      from: sealAt(0),
      to: sealAt(0),
      cause,
    });
    const gaps = Array.from({ length: 120 }, (_, number) => gap(`${number}`));
    const long = forged(drafts.with(4, controlDraft(d4.header, ...gaps)));
    const report = await judge(
      { ...long, segments: [...long.segments, { name: 'x', bytes: d5.stored }] },
      { verifiers },
    );
    expect([report.verdict, report.findings.length, report.findingsOmitted]).toEqual([
      'invalid',
      100,
      21,
    ]);
  });
});

describe('numbers of a process (invariant 8)', () => {
  /** Spans with these numbers, an event, or what opens the log again: a `restart`, or `reopened` by the same process. */
  type Step = readonly number[] | ControlEvent | 'restart' | 'reopened';

  async function judgeRun(steps: readonly Step[]): Promise<readonly string[]> {
    const own = emptyDisk();
    let writer = openWriter(own, signer);
    for (const step of steps) {
      if (step === 'restart' || step === 'reopened') {
        writer.close();
        const resume = { head: writer.head, inDoubt: undefined, continues: 0 };
        writer = openWriter(own, signer, step === 'restart' ? {} : { resume });
      } else if ('name' in step) {
        writer.appendControl([step]);
      } else {
        writer.append('traces', IN_PROCESS, numberedEntries(...step));
      }
    }
    writer.checkpoint();
    writer.close();
    const { verdict, findings } = await judge(logOn(own), { verifiers });
    return [verdict, ...findings.map(({ code, message }) => `${code}: ${message}`)];
  }

  const closed = (highest: number, more: Partial<ControlEvent & { name: 'closed' }> = {}) =>
    ({ name: 'closed', ...COUNTERS, highest, ...more }) as const;
  const heartbeat = (highest: number): ControlEvent => ({
    name: 'heartbeat',
    ...COUNTERS,
    highest,
  });
  const interrupted = (sequence: number): ControlEvent => ({
    name: 'interrupted',
    sequence,
    traceId: 'a',
    spanId: 'b',
    startedMs: 0,
  });
  const gap = (firstLost: number, lastLost: number): GapEvent => ({
    name: 'gap',
    count: Math.max(1, lastLost - firstLost + 1),
    first: firstLost,
    last: lastLost,
    from: sealAt(0),
    to: sealAt(1),
    cause: 'x',
  });
  const recovered: ControlEvent = {
    name: 'recovered',
    segment: 0,
    offset: 1,
    byteLength: 9,
    sha256: sha256(new Uint8Array()),
    cut: new Uint8Array(),
  };
  const LOST = (count: number): string =>
    `log.gap: ${count} spans lost from ${sealAt(0)} to ${sealAt(1)}: x`;
  const missing = (count: number, highest: number, which: string): string =>
    `log.numbers: ${count} of ${highest} numbers are in no record: ${which}`;
  const NO_SUM = 'log.numbers: the numbers can not be summed';
  const UNCLEAN =
    'log.unclean-end: the log was not closed before; what its writer had not sealed is unknown';
  const KILLED =
    'log.interrupted: the process could not seal its own end (killed, or its disk was away); 1 calls have no outcome in the log';
  const CUT = 'recovery cut 9 bytes from the end of the log';

  test.each<[what: string, steps: Step[], verdict: string, ...findings: string[]]>([
    ['nothing was started', [closed(0)], 'valid'],
    ['all are sealed, in any order', [[3, 1], [2], closed(3)], 'valid'],
    ['a number twice', [[1, 1], [1, 2], closed(2)], 'valid'],
    ['one is missing', [[1, 3], closed(3)], 'incomplete', missing(1, 3, '2')],
    ['the last are missing', [[1], closed(3)], 'incomplete', missing(2, 3, '2-3')],
    ['the first are missing', [[3], closed(3)], 'incomplete', missing(2, 3, '1-2')],
    ['still running at the end', [[2], closed(4, { open: '1,3-4' })], 'valid'],
    [
      'open, and not all of the rest',
      [[2], closed(4, { open: '3-4' })],
      'incomplete',
      missing(1, 4, '1'),
    ],
    [
      'a list of open ones that was cut short',
      [[2], closed(4, { open: '1,...' })],
      'incomplete',
      missing(2, 4, '3-4'),
    ],
    ['open is no list', [[1], closed(1, { open: 'none' })], 'incomplete', NO_SUM],
    ['open is not ascending', [[1], closed(4, { open: '3-4,2' })], 'incomplete', NO_SUM],
    ['interrupted', [[2], interrupted(1), interrupted(3), closed(3)], 'valid'],
    ['declared lost', [[1], gap(2, 3), closed(3)], 'incomplete', LOST(2)],
    [
      'lost, and nobody knows which',
      [[1], gap(0, 0), closed(2)],
      'incomplete',
      LOST(1),
      missing(1, 2, '2'),
    ],
    [
      'a gap that ends before it begins',
      [[1], gap(2, 1), closed(2)],
      'incomplete',
      LOST(1),
      missing(1, 2, '2'),
    ],
    [
      'a gap of all numbers there are',
      [gap(1, 2 ** 53 - 1), closed(2)],
      'incomplete',
      LOST(2 ** 53 - 1),
    ],
    [
      'closed names less than is sealed',
      [[1, 2, 5], closed(2)],
      'incomplete',
      missing(2, 5, '3-4'),
    ],
    [
      'closed names less than a heartbeat did',
      [[1], heartbeat(3), closed(1)],
      'incomplete',
      missing(2, 3, '2-3'),
    ],
    ['a heartbeat is no end', [[1], heartbeat(3), [2, 3], closed(3)], 'valid'],
    ['not closed: nothing is summed', [[2]], 'valid'],
    [
      'closed twice is no record of this log',
      [[1], closed(1), closed(1)],
      'invalid',
      'record.opened: the log was not opened before this record',
      missing(1, 1, '1'),
    ],
    ['a new process begins at 1', [[1, 2], closed(2), 'restart', [1], closed(1)], 'valid'],
    [
      'a new process has its own',
      [[1, 2], closed(2), 'restart', [2], closed(2)],
      'incomplete',
      missing(1, 2, '1'),
    ],
    [
      'an end that was not clean tells no numbers',
      [[2], 'restart', [1], closed(1)],
      'incomplete',
      UNCLEAN,
    ],
    ['the same process goes on', [[1], 'reopened', [2], closed(2)], 'valid'],
    [
      'the same process lost one',
      [[1], 'reopened', [3], closed(3)],
      'incomplete',
      missing(1, 3, '2'),
    ],
    [
      'who goes on from a closed log begins anew, whatever was before',
      ['restart', closed(0), 'reopened', recovered, closed(0)],
      'incomplete',
      UNCLEAN,
      `log.recovered-whole: ${CUT}`,
    ],
    [
      'who goes on from a closed log begins anew',
      [[1], closed(1), 'reopened', [2], closed(2)],
      'incomplete',
      missing(1, 2, '1'),
    ],
    ['killed', [[1], interrupted(2), closed(2, { interrupted: 1 })], 'valid', KILLED],
    [
      'killed, and one is missing',
      [interrupted(2), closed(2, { interrupted: 1 })],
      'incomplete',
      missing(1, 2, '1'),
      KILLED,
    ],
    [
      'cut, and whole all the same',
      [[1], recovered, interrupted(2), closed(2, { interrupted: 1 })],
      'valid',
      KILLED,
      `log.recovered-whole: ${CUT}`,
    ],
    [
      'cut, by the same process',
      [[1], 'reopened', recovered, [2], closed(2)],
      'valid',
      `log.recovered-whole: ${CUT}`,
    ],
    [
      'cut, and one is missing',
      [[1], 'reopened', recovered, [3], closed(3)],
      'incomplete',
      missing(1, 3, '2'),
      `log.recovered: ${CUT}`,
    ],
    [
      'cut, and not summed yet',
      [[1], 'reopened', recovered],
      'incomplete',
      `log.recovered: ${CUT}`,
    ],
    [
      'cut, and no end',
      [[1], recovered, 'restart', closed(0)],
      'incomplete',
      UNCLEAN,
      `log.recovered: ${CUT}`,
    ],
    [
      'cut from a run that nobody ended',
      [[1], 'restart', recovered, [1], closed(1)],
      'incomplete',
      UNCLEAN,
      `log.recovered: ${CUT}`,
    ],
    [
      'cut behind an end in order',
      [[1], closed(1), 'restart', recovered, [1], closed(1)],
      'valid',
      `log.recovered-whole: ${CUT}`,
    ],
    [
      'the run behind an unclean one can be whole',
      [[1], 'restart', closed(0), 'restart', recovered, closed(0)],
      'incomplete',
      UNCLEAN,
      `log.recovered-whole: ${CUT}`,
    ],
  ])('%s', async (_what, steps, ...outcome) => {
    expect(await judgeRun(steps)).toEqual(outcome);
  });

  test('are those of spans sealed in the process alone: who sends others can not fill holes', async () => {
    const own = emptyDisk();
    const writer = openWriter(own, signer);
    writer.append('traces', COLLECTOR, numberedEntries(1, 2, 9));
    writer.append('logs', IN_PROCESS, logEntries('aigov.sequence'));
    writer.appendControl([closed(2)]);
    writer.checkpoint();
    const { findings } = await judge(logOn(own), { verifiers });
    expect(findings.map(({ message }) => message)).toEqual([
      '2 of 2 numbers are in no record: 1-2',
    ]);
  });

  test('missing ones are listed up to a bound, and counted', async () => {
    const odd = Array.from({ length: 40 }, (_, at) => 2 * at + 1);
    const [, finding] = await judgeRun([odd, closed(80)]);
    const listed = Array.from({ length: 16 }, (_, at) => 2 * at + 2).join(',');
    expect(finding).toBe(missing(40, 80, listed));
  });

  test('scattered beyond what a verifier holds can not be summed, even where they meet again', async () => {
    const scattered = (count: number): ControlEvent[] =>
      Array.from({ length: count }, (_, at) => interrupted(2 * at + 1));
    const outcomes: string[][] = [];
    for (const count of [NUMBER_RANGE_COUNT_MAX, NUMBER_RANGE_COUNT_MAX + 1]) {
      const own = emptyDisk();
      const writer = openWriter(own, signer, { segmentByteLengthMax: 1e8 });
      const events = scattered(count);
      writer.appendControl(events.slice(0, 40_000));
      writer.appendControl(events.slice(40_000));
      writer.append('traces', IN_PROCESS, numberedEntries(2));
      writer.appendControl([{ ...gap(1, 2 * count), count: 1 }, closed(1)]);
      writer.checkpoint();
      outcomes.push(codesOf(await judge(logOn(own), { verifiers })));
    }
    expect(outcomes).toEqual([['log.gap'], ['log.gap', 'log.numbers']]);
  });
});

describe('attacks on the first draft of the format, by their numbers', () => {
  test('1: what a client sends is no control event, though it be the same bytes', async () => {
    const own = emptyDisk();
    const writer = openWriter(own, signer);
    const lie: GapEvent = {
      name: 'gap',
      count: 99,
      first: 1,
      last: 99,
      from: sealAt(0),
      to: sealAt(1),
      cause: 'excused',
    };
    const closed: ControlEvent = { name: 'closed', ...COUNTERS };
    const entries = [lie, closed].map((event) => encodeControl(event, START_MS));
    writer.append('logs', COLLECTOR, entries);
    writer.checkpoint();
    writer.close();
    const report = await judge(logOn(own), { verifiers, nowMs: START_MS + 3 * HEARTBEAT_MS });
    // Not closed, so silent; and no gap excuses anything.
    expect(outcomeOf(report)).toEqual(['incomplete', 'log.silent 0/2']);
    expect([report.entries, report.declaredLost]).toEqual([2, 0]);
    openWriter(own, signer).close();
    expect(codesOf(await judge(logOn(own), { verifiers }))).toContain('log.unclean-end');
  });

  describe('2: stored bytes have one reading', () => {
    const payload = nodePrimitives.inflate(d1.stored, d1.header.payloadByteLength) as Uint8Array;
    const inflating = (stored: Uint8Array): SmallLog =>
      forged(drafts.with(1, withStored(d1, stored)));
    const skippable = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0);
    // A frame of one segment that says `payload.length` bytes, and one RLE block of a hundred times as many.
    const bomb = Uint8Array.of(
      ...[0x28, 0xb5, 0x2f, 0xfd, 0x60, payload.length & 0xff, (payload.length - 256) >> 8],
      ...[3 | ((100_000 << 3) & 0xf8), (100_000 >> 5) & 0xff, (100_000 >> 13) & 0xff, 0x0a],
    );
    const smallBomb = Uint8Array.of(
      ...[0x28, 0xb5, 0x2f, 0xfd, 0x20, payload.length],
      ...[3 | ((100_000 << 3) & 0xf8), (100_000 >> 5) & 0xff, (100_000 >> 13) & 0xff, 0x0a],
    );
    test.each([
      ['two frames', join(d1.stored, d1.stored), 'record.frame'],
      ['a skippable frame in front', join(skippable, d1.stored), 'record.frame'],
      ['a skippable frame behind', join(d1.stored, skippable), 'record.frame'],
      ['a frame of another length', compress(payload.slice(0, -1)), 'record.frame'],
      [
        'a frame that inflates to more than it says',
        payload.length < 256 ? smallBomb : bomb,
        'record.payload',
      ],
      [
        'a frame whose blocks are noise',
        d1.stored.with(d1.stored.length - 8, 0xff),
        'record.payload',
      ],
      ['no frame', new Uint8Array(d1.stored.length), 'record.frame'],
      ['nothing', new Uint8Array(), 'record.frame'],
    ])('%s', async (_name, stored, code) => {
      expect(outcomeOf(await judge(inflating(stored), { verifiers }))).toEqual([
        'invalid',
        `${code} 0/1`,
      ]);
    });

    test('the same payload, compressed harder, is another record', async () => {
      const again = inflating(compress(payload, 19));
      expect(outcomeOf(await judge(again, { verifiers }))).toEqual(['valid']);
      expect(
        outcomeOf(await judge({ ...again, checkpoints: [checkpoint] }, { verifiers })),
      ).toEqual(['invalid', 'log.root checkpoint']);
    });

    test('no byte reaches the decompressor before its hash and its outline fit', async () => {
      const seen: Uint8Array[] = [];
      const primitives: Primitives = {
        ...nodePrimitives,
        inflate: (stored, byteLength) => {
          seen.push(stored);
          return nodePrimitives.inflate(stored, byteLength);
        },
      };
      const bytes = first.bytes.slice();
      bytes[frames[0]!.length + frames[1]!.length - 1]! ^= 1;
      await judge({ ...log, segments: [{ ...first, bytes }, second] }, { verifiers, primitives });
      expect(seen.length).toBe(5);
      await judge(inflating(join(d1.stored, d1.stored)), { verifiers, primitives });
      expect(seen.length).toBe(10);
    });

    test('a decompressor that gives another length is not believed', async () => {
      const short: Primitives = {
        ...nodePrimitives,
        inflate: (stored, byteLength) =>
          (nodePrimitives.inflate(stored, byteLength) as Uint8Array).subarray(1),
      };
      const report = await judge(log, { verifiers, primitives: short });
      expect(codesOf(report).slice(0, 6)).toEqual(
        Array.from({ length: 6 }, () => 'record.payload'),
      );
    });
  });

  test("7: the key's holder rewrites all and signs a larger tree; only a head from outside finds it", async () => {
    const innocent = forged(drafts.with(1, draftOf(d1.header, spanEntries('another', 'story'))));
    const seen = linked(drafts).head;
    expect(outcomeOf(await judge(innocent, { verifiers }))).toEqual(['valid']);
    expect((await judge(innocent, { verifiers })).assurance.tail).toMatch(/^not checked/);
    expect(outcomeOf(await judge(innocent, { verifiers, minimumHead: seen }))).toEqual([
      'invalid',
      'log.root minimum head',
    ]);
  });

  test('9: tail and checkpoint deleted, then recovered by an innocent writer', async () => {
    const own = emptyDisk();
    const writer = openWriter(own, signer);
    writer.checkpoint();
    const restored = own.copy();
    writer.append('traces', IN_PROCESS, spanEntries('to be forgotten'));
    writer.checkpoint();
    writer.close();
    const seen = {
      size: 2,
      root: rootOf(
        sha256,
        (await recordsOf(logOn(own), signer)).map(({ leaf }) => leaf),
      ),
    };
    const path = `${DIR}/segments/${segmentName(0)}`;
    restored.put(path, own.readAll(path)!.slice(0, -1));
    const innocent = openWriter(restored, signer);
    innocent.checkpoint();
    expect(outcomeOf(await judge(logOn(restored), { verifiers, live: true }))).toEqual([
      'incomplete',
      'log.unclean-end 1/1',
      'log.recovered 1/2',
    ]);
    expect(
      outcomeOf(await judge(logOn(restored), { verifiers, live: true, minimumHead: seen })),
    ).toEqual(['invalid', 'log.unclean-end 1/1', 'log.root minimum head', 'log.recovered 1/2']);
    innocent.close();
  });

  test('15: a running log is valid, a restart after a kill is named once, size 0 is nothing', async () => {
    const own = emptyDisk();
    const writer = openWriter(own, signer);
    writer.checkpoint();
    expect(outcomeOf(await judge(logOn(own), { verifiers, live: true, nowMs: START_MS }))).toEqual([
      'valid',
    ]);
    writer.close();
    const again = openWriter(own, signer);
    again.checkpoint();
    expect(outcomeOf(await judge(logOn(own), { verifiers, live: true, nowMs: START_MS }))).toEqual([
      'incomplete',
      'log.unclean-end 1/1',
    ]);
    again.close();
    const nothing = { size: 0, root: new Tree(sha256).root() };
    expect(
      outcomeOf(await judge({ segments: [], checkpoints: [sign(nothing)] }, { verifiers })),
    ).toEqual(['invalid', 'checkpoint.syntax checkpoint', 'log.empty log']);
  });

  describe('19: one spelling for every value of a header', () => {
    const [f0, f1, f2] = frames as [Uint8Array, Uint8Array, Uint8Array];
    const header = text(encodeHeader({ ...d1.header }));
    const respelled = (
      from: string | RegExp,
      to: string | ((...found: string[]) => string),
    ): SmallLog => {
      const changed = bytesOf(header.replace(from, to as string));
      return { ...log, segments: [{ ...first, bytes: join(f0, changed, d1.stored, f2) }, second] };
    };
    test.each([
      [
        'spare bits in base64',
        respelled(
          /(prev .{42})(.)=/,
          (_, start, last) => `${start}${String.fromCharCode(last.charCodeAt(0) + 1)}=`,
        ),
      ],
      ['base64 without padding', respelled(/(prev .{43})=/, '$1')],
      ['a leading zero', respelled('index 1\n', 'index 01\n')],
      ['a plus sign', respelled('index 1\n', 'index +1\n')],
      ['CR LF', respelled('index 1\n', 'index 1\r\n')],
      ['a line more', respelled('index 1\n', 'index 1\nnote x\n')],
      ['a number above 2^53 - 1', respelled('index 1\n', 'index 9007199254740992\n')],
      ['upper case in a name', respelled(`log ${ORIGIN}`, `log ${ORIGIN.toUpperCase()}`)],
      ['a version to come', respelled('record@v1', 'record@v2')],
    ])('%s', async (_name, attacked) => {
      expect(f1.length).toBe(header.length + d1.stored.length);
      expect(outcomeOf(await judge(attacked, { verifiers }))).toEqual([
        'invalid',
        'record.header 0/1',
        'log.truncated 0/1',
      ]);
    });
  });
});

test('a segment too long to be read is not read', async () => {
  const long = { name: second.name, bytes: new Uint8Array(256 * 1024 * 1024 + 1) };
  expect(outcomeOf(await judge({ ...log, segments: [first, long] }, { verifiers }))).toEqual([
    'invalid',
    `segment.too-long ${second.name}`,
    'log.truncated 3/3',
  ]);
});

test('the outside world failing is no finding: verifyLog rejects', async () => {
  const failing = async function* (): AsyncGenerator<NamedBytes> {
    yield first;
    throw new Error('the disk is gone');
  };
  await expect(
    judge({ ...log, segments: failing() as unknown as NamedBytes[] }, { verifiers }),
  ).rejects.toThrow('the disk is gone');
});
