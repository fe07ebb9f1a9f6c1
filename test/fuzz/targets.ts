// SPDX-License-Identifier: Apache-2.0
/**
 * Every parser that reads bytes of others, as a target of fuzzing: what it starts from, which error of its own it may
 * answer with, and what must hold of what it gives out. A target that returns says nothing was wrong; it throws for all
 * else. Says nothing of whether a parser is right: the tests of its module do.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { openTrustFile } from '../../exporter/cli/trust.ts';
import { equalBytes, fromLatin1, latin1 } from '../../exporter/log/bytes.ts';
import { encodeControl, parseControl } from '../../exporter/log/control.ts';
import {
  itemOf,
  type PayloadKind,
  splitPayload,
  splitRequest,
} from '../../exporter/log/entries.ts';
import { LogError } from '../../exporter/log/errors.ts';
import { encodeHeader, headerEnd, parseHeader } from '../../exporter/log/header.ts';
import {
  AMPLIFICATION_FACTOR,
  AMPLIFICATION_SLACK_BYTE_LENGTH,
  PAYLOAD_BYTE_LENGTH_MAX,
} from '../../exporter/log/limits.ts';
import { Tree } from '../../exporter/log/merkle.ts';
import {
  encodeVerifier,
  parseCheckpoint,
  parseNote,
  parseVerifier,
} from '../../exporter/log/note.ts';
import {
  formatNumberRanges,
  NumberRanges,
  parseNumberRanges,
  sequenceOf,
} from '../../exporter/log/numbers.ts';
import type { VerifiedRecord } from '../../exporter/log/record.ts';
import { readFrames } from '../../exporter/log/segment.ts';
import { checkStoredFrame } from '../../exporter/log/stored.ts';
import { verifyLog } from '../../exporter/log/verify.ts';
import { ConfigError, readConfig } from '../../exporter/node/config/config.ts';
import { openCursorFile } from '../../exporter/node/forward/cursor.ts';
import { createContentPolicy } from '../../exporter/node/gateway/content-policy.ts';
import {
  judgeAccepted,
  judgeGrpcError,
  judgeHttpAnswer,
} from '../../exporter/node/otlp/otlp-answer.ts';
import { OtlpJsonError, transcodeJson } from '../../exporter/node/otlp/otlp-json.ts';
import { ProtoWriter } from '../../exporter/node/otlp/proto-writer.ts';
import { writeReferenced } from '../../exporter/node/otlp/references.ts';
import { readIntents } from '../../exporter/node/storage/intents.ts';
import { encodePruned, parsePruned } from '../../exporter/node/storage/prune.ts';
import { encodeSigning, parseSigning } from '../../exporter/node/storage/signed-head.ts';
import { nodePrimitives, sha256 } from '../../exporter/node/system/keys.ts';
import { Instances } from '../../exporter/node/verifying/instances.ts';
import { tallyOf } from '../../exporter/node/verifying/tally.ts';
import { filesOf, ORIGIN, sealDrafts, vectorSigner, WHOLE_DRAFTS } from '../../scripts/vectors.ts';
import { MemoryDisk } from '../support/faulty-files.ts';
import { openTestIntake } from '../support/gateway.ts';
import { readCorpus } from './corpus.ts';

export interface Target {
  readonly name: string;
  readonly corpus: readonly Uint8Array[];
  readonly dictionary: readonly Uint8Array[];
  /** Bytes that it may give out for an input of this length. */
  readonly outputByteLengthMax: (byteLength: number) => number;
  /** Parses; gives how many bytes it gave out. Throws what must not be. */
  readonly run: (input: Uint8Array) => number | Promise<number>;
}

/** What the input itself is the reason for: the one way in which a parser may fail. */
type Coded = new (...parameters: never[]) => Error;

/** 0 where the parser answers with its own error. */
function coded(error: unknown, ...kinds: readonly Coded[]): number {
  if (kinds.some((kind) => error instanceof kind)) return 0;
  throw error;
}

function attempt(parse: () => number, ...kinds: readonly Coded[]): number {
  try {
    return parse();
  } catch (error) {
    return coded(error, ...kinds);
  }
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(`does not hold: ${what}`);
}

const words = (...texts: readonly string[]): Uint8Array[] => texts.map((text) => fromLatin1(text));
const hex = (...texts: readonly string[]): Uint8Array[] =>
  texts.map((text) => new Uint8Array(Buffer.from(text, 'hex')));
const corpusOf = (...kinds: readonly string[]): Uint8Array[] =>
  kinds.flatMap((kind) => [...readCorpus(kind).values()]);
const total = (parts: readonly Uint8Array[]): number =>
  parts.reduce((sum, { length }) => sum + length, 0);
const inputLength = (byteLength: number): number => byteLength;

const OTLP_WORDS: readonly Uint8Array[] = [
  ...hex('0a', '12', '1a', '0a00', '1200', '0b', '0c', '0d', '08', '0800', '8a00', '3d00000000'),
  ...hex('f8ffffff0f', '0a80808080808080808001', '4a0a', '390000000000000000', '0affffffff07'),
  ...words('aigov.', 'gen_ai.', 'aigov.audit.ref', 'service.name', 'sealspan.event'),
  ...words('\x0a\x0eaigov.sequence\x12\x02\x18\x01'),
];
const TALLY_WORDS: readonly Uint8Array[] = [
  ...OTLP_WORDS,
  ...words(
    '\x0a\x13service.instance.id\x12\x03\x0a\x01a',
    '\x0a\x18aigov.value_length_limit\x12\x02\x18\x01',
    'aigov.heartbeat.highest',
    'aigov.heartbeat.open',
    'aigov.heartbeat.interval_ms',
    'aigov.heartbeat.state',
  ),
];
const HEADER_WORDS = words(
  'sealspan/record@v1\n',
  'log ',
  'index 9007199254740991',
  'prev ',
  'sealed 2026-11-23T10:15:30.000Z\n',
  'source collector ',
  'payload traces ',
  'stored zstd ',
  'entries ',
  '\n',
  '\r\n',
  ' - verbatim\n',
  'A'.repeat(43),
  '==',
);
const ZSTD_WORDS = hex(
  '28b52ffd',
  '502a4d18',
  '010000',
  '000000',
  '070000',
  'ffffff',
  '20',
  'a0',
  'e0',
);
const NOTE_WORDS = words('\n\n', '\n', '+', 'vectors/log\n', '==', ' ', '\r');
const YAML_WORDS = words(
  ': ',
  '\n',
  '- ',
  '&a ',
  '*a',
  '<<: ',
  '!!binary ',
  '|\n',
  '>-\n',
  '"',
  "'",
  '{',
  '}',
  '[',
  ']',
  '#',
  '${X}',
  '${X:-1}',
  '$$',
  '${',
  '? ',
  '---\n',
  '...\n',
  '%YAML 1.2\n',
  '0x10',
  '.inf',
  'null',
  '\t',
  'gateway:\n',
  'backend:\n',
  'headers:\n',
  'logs:\n',
  '__proto__: ',
);
const JSON_WORDS = words(
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  '\\u0000',
  '\\ud800',
  '\\',
  'null',
  'true',
  '1e400',
  '-0',
  '0.1',
  '123456789012345678901234567890',
  '"resourceSpans":',
  '"scopeSpans":[',
  '"spans":[',
  '"attributes":[{"key":"a","value":{"arrayValue":{"values":[',
  '"__proto__":',
  '"traceId":"',
);

/** Entries of a request: each is whole by itself, holds one item, and cutting it up again gives it back. */
function request(kind: Exclude<PayloadKind, 'control'>): Target {
  return {
    name: `request-${kind}`,
    corpus: corpusOf(kind, 'entry', 'control'),
    dictionary: OTLP_WORDS,
    outputByteLengthMax: (byteLength) =>
      AMPLIFICATION_FACTOR * byteLength + AMPLIFICATION_SLACK_BYTE_LENGTH,
    run: (input) =>
      attempt(() => {
        const entries = splitRequest(input, kind);
        for (const entry of entries.slice(0, 8)) {
          const [again, ...more] = splitRequest(entry, kind);
          must(more.length === 0 && again !== undefined, 'an entry holds one item');
          must(equalBytes(again!, entry), 'an entry cut up is that entry');
          itemOf(entry, kind);
        }
        return total(entries);
      }, LogError),
  };
}

const PAYLOAD_KINDS: readonly PayloadKind[] = ['traces', 'logs', 'control'];

/** One honest log; every other sequence of bytes in its place is told from it. */
const HONEST = (() => {
  const files = filesOf(sealDrafts([WHOLE_DRAFTS.flat()]));
  const segments = Object.entries(files).filter(([path]) => path.startsWith('segments/'));
  return {
    name: segments[0]![0].replace('segments/', ''),
    segment: new Uint8Array(segments[0]![1] as Uint8Array),
    checkpoint: files.checkpoint as Uint8Array,
    verifier: vectorSigner(ORIGIN).verifier,
  };
})();

async function judgeSegment(segment: Uint8Array): Promise<number> {
  const { name, checkpoint, verifier } = HONEST;
  const report = await verifyLog(
    {
      segments: [{ name, bytes: segment }],
      checkpoints: [{ name: 'checkpoint', bytes: checkpoint }],
      trust: { origin: ORIGIN, verifiers: [verifier], selfAttested: false, minimumHead: undefined },
      live: false,
      nowMs: undefined,
    },
    nodePrimitives,
  );
  const isHonest = equalBytes(segment, HONEST.segment);
  must((report.verdict === 'valid') === isHonest, `not honest bytes, and ${report.verdict}`);
  return JSON.stringify(report).length;
}

/** A stored frame with the length that its header would state in front of it, in four bytes. */
function stated(frame: Uint8Array): Uint8Array {
  const length = Buffer.alloc(4);
  try {
    length.writeUInt32LE(zstdDecompressSync(frame).length);
  } catch {
    length.writeUInt32LE(frame.length);
  }
  return new Uint8Array(Buffer.concat([length, frame]));
}

const NO_ROOT = new Uint8Array(32);

/** A directory of this process for parsers that read files. */
const scratch = mkdtempSync(join(tmpdir(), 'sealspan-fuzz-'));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));

function inFile(name: string, input: Uint8Array): string {
  const path = join(scratch, name);
  writeFileSync(path, input);
  return path;
}

const POLICY = createContentPolicy(
  { content: 'digest', attributes: { 'app.*': 'keep', 'app.secret': 'drop' } },
  { id: 'fuzz', secret: new Uint8Array(32) },
);

const ENCODINGS = ['identity', 'gzip', 'deflate', 'zstd', 'identity', 'gzip', 'br'] as const;
const INTAKE_BYTE_LENGTH_MAX = 1024 * 1024;
const { intake, sealed, refusals } = openTestIntake(
  { messageByteLengthMax: INTAKE_BYTE_LENGTH_MAX },
  { policy: POLICY },
);

/** The gateway's receivers behind their transports: the first byte says how the rest is encoded. */
async function receive(input: Uint8Array): Promise<number> {
  const [how = 0] = input;
  const arrival = intake.admit(undefined, undefined, 'collector');
  if (!('take' in arrival)) throw new Error('not admitted');
  const body = input.slice(1);
  const byteLength = body.length;
  arrival.take(byteLength);
  const answer = await intake.accept(arrival, {
    kind: (how & 0x40) === 0 ? 'traces' : 'logs',
    format: (how & 7) === 4 || (how & 7) === 5 ? 'json' : 'protobuf',
    body,
    encoding: ENCODINGS[how & 7] ?? 'x',
  });
  must(answer.status !== 'later' || answer.cause !== 'internal', JSON.stringify(answer));
  must(intake.inFlightByteLength === 0, 'what was answered holds no bytes');
  // The double keeps them, for tests that look at them.
  sealed.length = 0;
  refusals.length = 0;
  return answer.status === 'sealed' ? byteLength : 0;
}

function journalOf(input: Uint8Array): number {
  const disk = new MemoryDisk();
  disk.put('/log/intents-0000000000000003-000000', input);
  const runs = readIntents(disk, '/log');
  for (const { intents, highest } of runs) {
    for (const { sequence } of intents) must(sequence <= highest, 'no number above the highest');
  }
  return JSON.stringify(runs).length;
}

/** What readers of whole logs take out of the spans that somebody sent. */
function tally(input: Uint8Array): number {
  const entries = splitPayload(input, 'traces');
  const header = {
    kind: 'traces',
    log: ORIGIN,
    index: 1,
    sealed: '2026-11-23T10:15:30.000Z',
    source: { kind: 'collector', principal: undefined },
  };
  const record = tallyOf({
    header,
    entries,
    events: [],
    numbers: [],
  } as unknown as VerifiedRecord);
  for (const { numbers, spans, unreadCount } of record.sent) {
    must(spans.length <= entries.length, 'each span has one number at most');
    must(numbers.length <= spans.length, 'ranges are of numbers seen');
    must(numbers.length + unreadCount > 0, 'nobody is told of who has no number');
  }
  for (const count of Object.values(record.dropped)) {
    must(Number.isSafeInteger(count) && count >= 0, 'what is counted is a count');
  }
  must(record.dropped.spans <= entries.length, 'no more spans than there are');
  const instances = new Instances();
  instances.take(record);
  instances.endLog(false, 0);
  const { senders } = instances.report();
  return record.sent.length === 0 ? 0 : senders.length;
}

export const TARGETS: readonly Target[] = [
  request('traces'),
  request('logs'),
  {
    name: 'payload',
    corpus: corpusOf('traces', 'logs', 'control', 'entry'),
    dictionary: OTLP_WORDS,
    outputByteLengthMax: inputLength,
    run: (input) =>
      Math.max(
        ...PAYLOAD_KINDS.map((kind) =>
          attempt(() => {
            const entries = splitPayload(input, kind);
            must(equalBytes(Buffer.concat(entries), input), 'every byte is in one entry');
            return total(entries);
          }, LogError),
        ),
      ),
  },
  {
    name: 'entry',
    corpus: corpusOf('entry'),
    dictionary: OTLP_WORDS,
    outputByteLengthMax: inputLength,
    run: (input) =>
      Math.max(
        ...PAYLOAD_KINDS.map((kind) =>
          attempt(() => {
            const { start, end } = itemOf(input, kind);
            must(start >= 0 && end <= input.length && start <= end, 'the item lies in the entry');
            const sequence = sequenceOf(input) ?? 1;
            must(Number.isSafeInteger(sequence) && sequence > 0, 'a number counts');
            return end - start;
          }, LogError),
        ),
      ),
  },
  {
    name: 'tally',
    corpus: corpusOf('entry', 'traces'),
    dictionary: TALLY_WORDS,
    outputByteLengthMax: (byteLength) => byteLength + 16,
    run: (input) => attempt(() => tally(input), LogError),
  },
  {
    name: 'header',
    corpus: corpusOf('header'),
    dictionary: HEADER_WORDS,
    outputByteLengthMax: (byteLength) => byteLength + 1024,
    run: (input) =>
      attempt(() => {
        const end = headerEnd(input, 0);
        if (end === undefined) return 0;
        const header = parseHeader(input.slice(0, end));
        must(equalBytes(encodeHeader(header), input.subarray(0, end)), 'one spelling');
        return end;
      }, LogError),
  },
  {
    name: 'segment',
    corpus: corpusOf('segment'),
    dictionary: [...HEADER_WORDS, ...ZSTD_WORDS],
    // Each frame is given with its header, and both are views or copies of what came in.
    outputByteLengthMax: (byteLength) => 2 * byteLength,
    run: (input) =>
      attempt(() => {
        let byteLength = 0;
        for (const { headerBytes, stored, end } of readFrames(input)) {
          byteLength += headerBytes.length + stored.length;
          must(end <= input.length, 'a frame ends in the segment');
        }
        return byteLength;
      }, LogError),
  },
  {
    name: 'stored',
    corpus: corpusOf('stored').map(stated),
    dictionary: ZSTD_WORDS,
    outputByteLengthMax: () => PAYLOAD_BYTE_LENGTH_MAX,
    run: async (input) => {
      if (input.length < 4) return 0;
      const byteLength = Buffer.from(input).readUInt32LE(0);
      const frame = input.subarray(4);
      try {
        checkStoredFrame(frame, byteLength);
      } catch (error) {
        return coded(error, LogError);
      }
      // What it lets through is handed to a decompressor that must not give more than was stated.
      try {
        const payload = await nodePrimitives.inflate(frame, byteLength);
        must(payload.length <= byteLength, 'no more than was stated');
        return payload.length;
      } catch (error) {
        // Of zlib, which verifyLog reports as a finding.
        if (error instanceof Error && 'code' in error) return 0;
        throw error;
      }
    },
  },
  {
    name: 'note',
    corpus: corpusOf('note'),
    dictionary: [...NOTE_WORDS, new Uint8Array(Buffer.from('\u2014 '))],
    outputByteLengthMax: (byteLength) => 2 * byteLength,
    run: (input) =>
      attempt(() => {
        const { text, signatures } = parseNote(input);
        must(text.length <= input.length, 'the text is part of the note');
        return text.length + total(signatures.map(({ signature }) => signature));
      }, LogError),
  },
  {
    name: 'checkpoint',
    corpus: corpusOf('note'),
    dictionary: [...NOTE_WORDS, new Uint8Array(Buffer.from('\u2014 '))],
    outputByteLengthMax: inputLength,
    run: (input) =>
      attempt(() => {
        const { origin, size, root } = parseCheckpoint(input);
        must(Number.isSafeInteger(size) && size > 0 && root.length === 32, 'a head');
        return origin.length + root.length;
      }, LogError),
  },
  {
    name: 'key',
    corpus: corpusOf('key'),
    dictionary: NOTE_WORDS,
    outputByteLengthMax: (byteLength) => byteLength + 100,
    run: (input) =>
      attempt(() => {
        const text = latin1(input);
        must(encodeVerifier(parseVerifier(sha256, text)) === text, 'one spelling');
        return text.length;
      }, LogError),
  },
  {
    name: 'control',
    corpus: corpusOf('control', 'entry'),
    dictionary: OTLP_WORDS,
    outputByteLengthMax: (byteLength) => byteLength,
    run: (input) =>
      attempt(() => {
        const { event, timeMs } = parseControl(input);
        const again = encodeControl(event, timeMs);
        must(equalBytes(again, input), 'one spelling');
        return again.length;
      }, LogError),
  },
  {
    name: 'log',
    corpus: [HONEST.segment, ...corpusOf('segment')],
    dictionary: [...HEADER_WORDS, ...ZSTD_WORDS],
    // A report lists a bounded number of findings.
    outputByteLengthMax: () => 64 * 1024,
    run: judgeSegment,
  },
  {
    name: 'ranges',
    corpus: corpusOf('ranges'),
    dictionary: words('-', ',', ',...', '9007199254740991', '0', '1-2'),
    outputByteLengthMax: (byteLength) => byteLength,
    run: (input) => {
      const text = latin1(input);
      const ranges = parseNumberRanges(text);
      if (ranges === undefined) return 0;
      const numbers = new NumberRanges();
      for (const [first, last] of ranges) numbers.add(first, last);
      const { count } = numbers.missing(numbers.highest);
      must(count >= 0 && count <= numbers.highest, 'what is missing is counted');
      return formatNumberRanges(ranges).length;
    },
  },
  {
    name: 'signing',
    corpus: corpusOf('signing'),
    dictionary: words('\n', ' ', '=', '9007199254740993', '+/'),
    outputByteLengthMax: inputLength,
    run: (input) => {
      const head = parseSigning(input);
      if (head !== undefined) must(equalBytes(encodeSigning(head), input), 'one spelling');
      return head === undefined ? 0 : input.length;
    },
  },
  {
    name: 'pruned',
    corpus: corpusOf('pruned'),
    dictionary: words('sealspan/pruned@v1\n', '\n', '=', '9007199254740991', '+/'),
    outputByteLengthMax: inputLength,
    run: (input) => {
      const removed = parsePruned(input);
      if (removed === undefined) return 0;
      must(equalBytes(encodePruned(removed), input), 'one spelling');
      // A tree goes on from whatever is taken.
      const tree = new Tree(sha256, removed.size, removed.peaks);
      tree.append(removed.link);
      must(tree.size === removed.size + 1 && tree.root().length === 32, 'a tree');
      return input.length;
    },
  },
  {
    name: 'config',
    corpus: corpusOf('config'),
    dictionary: YAML_WORDS,
    outputByteLengthMax: () => 1024 * 1024,
    run: (input) =>
      attempt(
        () => JSON.stringify(readConfig({ SEALSPAN_CONFIG: inFile('config', input) })).length,
        ConfigError,
      ),
  },
  {
    name: 'trust',
    corpus: corpusOf('trust'),
    dictionary: YAML_WORDS,
    outputByteLengthMax: () => 1024 * 1024,
    run: (input) =>
      attempt(() => {
        const trust = openTrustFile(inFile('trust', input));
        const [log] = trust.logs;
        if (log !== undefined) trust.remember(log.origin, { size: 2 ** 40, root: NO_ROOT });
        return JSON.stringify(trust.logs).length;
      }, ConfigError),
  },
  {
    name: 'cursor',
    corpus: corpusOf('cursor'),
    dictionary: words('sealspan/cursor@v1\n', '\n', '9007199254740991'),
    outputByteLengthMax: () => 1,
    run: (input) => {
      const next = openCursorFile(inFile('cursor', input), () => {}).load();
      must(Number.isSafeInteger(next) && next >= 0, 'a place in the log');
      return next === 0 ? 0 : 1;
    },
  },
  {
    name: 'journal',
    corpus: corpusOf('journal'),
    dictionary: words('sealspan/intents@1\n', 'run ', 'from ', 'highest ', 'boot ', '\n\n'),
    outputByteLengthMax: (byteLength) => 8 * byteLength + 256,
    run: journalOf,
  },
  ...(['traces', 'logs'] as const).map(
    (kind): Target => ({
      name: `json-${kind}`,
      corpus: corpusOf('json'),
      dictionary: JSON_WORDS,
      outputByteLengthMax: (byteLength) => 2 * byteLength + 1024,
      run: (input) =>
        attempt(
          () => {
            const protobuf = transcodeJson(input, kind);
            // What it writes is walked like what anybody sends.
            splitRequest(protobuf, kind);
            return protobuf.length;
          },
          OtlpJsonError,
          LogError,
        ),
    }),
  ),
  {
    name: 'policy',
    corpus: corpusOf('traces', 'logs', 'entry'),
    dictionary: [...OTLP_WORDS, ...words('gen_ai.input.messages', 'app.secret', 'app.x')],
    // A digest may be longer than the content it stands for.
    outputByteLengthMax: (byteLength) => 64 * byteLength + 1024,
    run: (input) =>
      Math.max(
        ...(['traces', 'logs'] as const).map((kind) =>
          attempt(() => {
            const { bytes, itemCount, skippedCount } = POLICY.apply(input, kind, 'governed');
            must(skippedCount <= itemCount, 'no more left out than there are');
            return bytes === input ? 0 : bytes.length;
          }, LogError),
        ),
      ),
  },
  {
    name: 'references',
    corpus: corpusOf('entry', 'traces', 'logs'),
    dictionary: OTLP_WORDS,
    outputByteLengthMax: (byteLength) => 2 * byteLength + 1024,
    run: (input) => {
      const writer = new ProtoWriter();
      for (const kind of ['traces', 'logs'] as const) {
        writeReferenced(writer, [input], {
          kind,
          source: 'collector',
          origin: ORIGIN,
          recordIndex: 7,
          leaves: [new Uint8Array(32)],
        });
      }
      return writer.at / 2;
    },
  },
  {
    name: 'answer',
    corpus: corpusOf('answer'),
    dictionary: [...OTLP_WORDS, ...words('RetryInfo', '{"partialSuccess":', '1e999', '"')],
    outputByteLengthMax: () => 64 * 1024,
    run: (input) => {
      const answers = [
        judgeAccepted(input),
        judgeGrpcError(8, latin1(input), input),
        ...['application/json', 'application/x-protobuf', 'text/html'].flatMap((contentType) =>
          [200, 400, 503].map((code) =>
            judgeHttpAnswer(
              { code, contentType, retryAfter: latin1(input), body: input, isWhole: true },
              0,
            ),
          ),
        ),
      ];
      return JSON.stringify(answers).length;
    },
  },
  {
    name: 'intake',
    corpus: corpusOf('intake'),
    dictionary: [...OTLP_WORDS, ...ZSTD_WORDS, ...hex('1f8b08', '789c')],
    outputByteLengthMax: (byteLength) => byteLength,
    run: receive,
  },
];
