// SPDX-License-Identifier: Apache-2.0
/**
 * How the time of each parser grows with its input: the exponent of a power law, fitted over a geometric series of sizes.
 * A control that is quadratic by construction, and one that is linear, are measured first: a fit that can not tell them
 * apart measures nothing. Compares times of one machine with each other, and none with a clock on the wall.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { openTrustFile } from '../../exporter/cli/trust.ts';
import { splitPayload, splitRequest } from '../../exporter/log/entries.ts';
import { parseNote } from '../../exporter/log/note.ts';
import { NumberRanges, parseNumberRanges } from '../../exporter/log/numbers.ts';
import { readFrames } from '../../exporter/log/segment.ts';
import { checkStoredFrame } from '../../exporter/log/stored.ts';
import { verifyLog } from '../../exporter/log/verify.ts';
import { readConfig } from '../../exporter/node/config/config.ts';
import { createContentPolicy } from '../../exporter/node/gateway/content-policy.ts';
import { judgeAccepted, judgeHttpAnswer } from '../../exporter/node/otlp/otlp-answer.ts';
import { transcodeJson } from '../../exporter/node/otlp/otlp-json.ts';
import { ProtoWriter } from '../../exporter/node/otlp/proto-writer.ts';
import { writeReferenced } from '../../exporter/node/otlp/references.ts';
import { readIntents } from '../../exporter/node/storage/intents.ts';
import { nodePrimitives } from '../../exporter/node/system/keys.ts';
import { f, filesOf, ORIGIN, sealDrafts, WHOLE_DRAFTS } from '../../scripts/vectors.ts';
import { MemoryDisk } from '../support/faulty-files.ts';
import { readCorpus } from './corpus.ts';

/** The most that a parser may grow. */
export const EXPONENT_MAX = 1.1;
/** A quadratic control must be seen as at least this. */
const EXPONENT_OF_CONTROL = 1.7;

const SIZES = [1, 2, 4, 8, 16, 32] as const;
/** The clock of a thread may tick in steps of 10 ms. */
const POINT_MS = 100;
/** Others use the machine too: what is measured too high is measured again. */
const ATTEMPT_COUNT = 5;

export interface Growth {
  readonly name: string;
  readonly exponent: number;
  readonly isFine: boolean;
}

/** One parser and one way in which its input can be large. */
interface Shape {
  readonly name: string;
  /** Smallest size; the largest is 32 times that. */
  readonly least: number;
  /** An input of about so many bytes, or things. */
  readonly input: (size: number) => Uint8Array;
  readonly run: (input: Uint8Array) => unknown;
}

/** Time that this thread has had, in milliseconds: what others do with the machine does not count. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Time of one run in milliseconds, over so many runs that the thread's clock can tell. */
async function timeOf(run: () => unknown): Promise<number> {
  const attempt = async (): Promise<void> => {
    try {
      await run();
    } catch {
      // Refused: how long that took counts as well.
    }
  };
  await attempt();
  let count = 0;
  let more = 1;
  const startMs = cpuMs();
  // The clock is asked ever less often, since asking takes time as well.
  while (cpuMs() - startMs < POINT_MS) {
    for (let repeat = 0; repeat < more; repeat++) await attempt();
    count += more;
    more *= 2;
  }
  return (cpuMs() - startMs) / count;
}

/** Slope of the least squares through the logarithms. */
export function exponentOf(points: readonly (readonly [size: number, time: number])[]): number {
  const logs = points.map(([size, time]) => [Math.log(size), Math.log(time)] as const);
  const mean = (at: 0 | 1): number => logs.reduce((sum, log) => sum + log[at], 0) / logs.length;
  const [x, y] = [mean(0), mean(1)];
  const over = logs.reduce((sum, [a, b]) => sum + (a - x) * (b - y), 0);
  return over / logs.reduce((sum, [a]) => sum + (a - x) ** 2, 0);
}

/** The exponent of the least time of each size, measured again until it is enough: what others do only ever adds. */
async function leastExponent(
  { least, input, run }: Shape,
  isEnough: (exponent: number) => boolean,
): Promise<number> {
  const inputs = SIZES.map((factor) => input(least * factor));
  const leastMs = inputs.map(() => Number.POSITIVE_INFINITY);
  let exponent = Number.NaN;
  for (let attempt = 0; attempt < ATTEMPT_COUNT && !isEnough(exponent); attempt++) {
    for (const [i, bytes] of inputs.entries()) {
      leastMs[i] = Math.min(leastMs[i]!, await timeOf(() => run(bytes)));
    }
    exponent = exponentOf(inputs.map(({ length }, i) => [length, leastMs[i]!]));
  }
  return exponent;
}

const CONTROLS: readonly (Shape & { readonly isFine: (exponent: number) => boolean })[] = [
  {
    name: 'control: every byte with every other',
    least: 1024,
    input: (size) => new Uint8Array(size).fill(1),
    run: (input) => {
      let sum = 0;
      for (const a of input) for (const b of input) sum += a * b;
      return sum;
    },
    isFine: (exponent) => exponent >= EXPONENT_OF_CONTROL,
  },
  {
    name: 'control: every byte',
    least: 256 * 1024,
    input: (size) => new Uint8Array(size).fill(1),
    run: (input) => {
      let sum = 0;
      for (const a of input) sum += a;
      return sum;
    },
    isFine: (exponent) => exponent <= EXPONENT_MAX,
  },
];

const repeated = (part: Uint8Array, size: number): Uint8Array => {
  const count = Math.max(1, Math.ceil(size / part.length));
  return new Uint8Array(Buffer.concat(Array.from({ length: count }, () => part)));
};
const text = (words: string): Uint8Array => new Uint8Array(Buffer.from(words));
const numbered = (size: number, line: (number: number) => string): string => {
  const lines: string[] = [];
  for (let number = 0, length = 0; length < size; number++) {
    lines.push(line(number));
    length += lines.at(-1)!.length;
  }
  return lines.join('');
};

const SPAN = f(2, f(5, 'chat'), f(9, f(1, 'gen_ai.operation.name'), f(2, f(1, 'chat'))));
const ATTRIBUTE = f(9, f(1, 'gen_ai.input.messages'), f(2, f(1, 'hello')));
const RESOURCE = f(1, f(1, f(1, 'service.name'), f(2, f(1, 'claims'))));
const requestOf = (scopeSpans: Uint8Array): Uint8Array =>
  new Uint8Array(f(1, RESOURCE, scopeSpans));

/** Ways in which a request can be large. */
const REQUESTS: readonly (readonly [name: string, input: (size: number) => Uint8Array])[] = [
  ['spans of one scope', (size) => requestOf(f(2, repeated(SPAN, size)))],
  ['scopes', (size) => requestOf(repeated(f(2, SPAN), size))],
  ['scopes without spans', (size) => requestOf(repeated(f(2), size))],
  ['resources', (size) => repeated(f(1, RESOURCE, f(2, SPAN)), size)],
  ['resources without scopes', (size) => repeated(f(1), size)],
  ['attributes of a span', (size) => requestOf(f(2, f(2, repeated(ATTRIBUTE, size))))],
  ['one text', (size) => requestOf(f(2, f(2, f(5, new Uint8Array(size).fill(0x61)))))],
  [
    'unknown fields of a resource',
    (size) => new Uint8Array(f(1, repeated(f(999), size), f(2, SPAN))),
  ],
];

const RULES = { content: 'digest', attributes: { 'app.*': 'keep' } } as const;
const POLICY = createContentPolicy(RULES, { id: 'growth', secret: new Uint8Array(32) });
const WHOLE = sealDrafts([WHOLE_DRAFTS.flat()]);

/** A log of so many bytes: a chain that holds, of the records of the vectors. */
function segmentOf(size: number): Uint8Array {
  const [opened, traces, logs] = WHOLE_DRAFTS.flat();
  const one = WHOLE.segments[0]!.reduce(
    (sum, { header, stored }) => sum + header.length + stored.length,
    0,
  );
  const count = Math.ceil(size / (one / WHOLE.segments[0]!.length));
  const drafts = Array.from({ length: count }, (_, at) => (at % 2 === 0 ? traces! : logs!));
  const files = filesOf(sealDrafts([[opened!, ...drafts]]));
  return files[`segments/${'0'.repeat(20)}.seg`] as Uint8Array;
}

const scratch = mkdtempSync(join(tmpdir(), 'sealspan-growth-'));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));
const FILE = join(scratch, 'file');
const inFile = (input: Uint8Array): string => {
  writeFileSync(FILE, input);
  return FILE;
};

const jsonOf = (spans: string): Uint8Array =>
  text(`{"resourceSpans":[{"scopeSpans":[{"spans":[${spans}]}]}]}`);

function shapes(): Shape[] {
  const KIB = 1024;
  // From where V8 keeps a text by itself, beside the heap: to map it takes about what it takes to parse it.
  const TEXT_LEAST = 256 * KIB;
  const list: Shape[] = [];
  const add = (name: string, least: number, input: Shape['input'], run: Shape['run']): void => {
    list.push({ name, least, input, run });
  };
  for (const [name, input] of REQUESTS) {
    add(`request-traces: ${name}`, 8 * KIB, input, (bytes) => splitRequest(bytes, 'traces'));
    add(`policy: ${name}`, 16 * KIB, input, (bytes) => POLICY.apply(bytes, 'traces', 'all'));
  }
  const entry = requestOf(f(2, SPAN));
  add(
    'payload: entries',
    32 * KIB,
    (size) => repeated(entry, size),
    (bytes) => splitPayload(bytes, 'traces'),
  );
  for (const [name, input] of REQUESTS.slice(5)) {
    add(`references: ${name}`, 32 * KIB, input, (bytes) =>
      writeReferenced(new ProtoWriter(), [bytes], {
        kind: 'traces',
        source: 'collector',
        origin: ORIGIN,
        recordIndex: 1,
        leaves: [new Uint8Array(32)],
      }),
    );
  }
  add('segment: records', 16 * KIB, segmentOf, (bytes) => [...readFrames(bytes)].length);
  add('log: records', 16 * KIB, segmentOf, (bytes) =>
    verifyLog(
      {
        segments: [{ name: `${'0'.repeat(20)}.seg`, bytes }],
        checkpoints: [],
        trust: { origin: ORIGIN, verifiers: [], selfAttested: false, minimumHead: undefined },
        live: false,
        nowMs: undefined,
      },
      nodePrimitives,
    ),
  );
  const noise = (size: number): Uint8Array =>
    Uint8Array.from({ length: size }, (_, at) => (at * 7919) >> 3);
  add(
    'stored: noise',
    64 * KIB,
    (size) => new Uint8Array(zstdCompressSync(noise(size))),
    (bytes) => {
      checkStoredFrame(bytes, bytes.length);
    },
  );
  add(
    'stored: empty blocks',
    64 * KIB,
    (size) =>
      new Uint8Array(
        Buffer.concat([
          Buffer.from('28b52ffd2000', 'hex'),
          repeated(Uint8Array.of(0, 0, 0), size),
          Uint8Array.of(1, 0, 0),
        ]),
      ),
    (bytes) => {
      checkStoredFrame(bytes, 0);
    },
  );
  const note = [...readCorpus('note').values()][0]!;
  // A note of 128 KiB is the longest that is looked at.
  add(
    'note: text',
    2 * KIB,
    (size) =>
      text(
        `${'line of a text\n'.repeat(size / 15)}\n${Buffer.from(note).toString().split('\n\n')[1]}`,
      ),
    parseNote,
  );
  add(
    'note: signatures',
    4 * KIB,
    (size) => text(`a\n1\nAA==\n\n${'\u2014 name AAAAAAAAAA==\n'.repeat(size / 22)}`),
    parseNote,
  );
  const ranges = (size: number): Uint8Array =>
    text(numbered(size, (number) => `${number * 3 + 1},`).slice(0, -1));
  add('ranges: of a list', 16 * KIB, ranges, (bytes) =>
    parseNumberRanges(Buffer.from(bytes).toString('latin1')),
  );
  const scattered =
    (order: (count: number, at: number) => number) =>
    (bytes: Uint8Array): NumberRanges => {
      const numbers = new NumberRanges();
      for (let at = 0; at < bytes.length; at++) numbers.add(1 + 2 * order(bytes.length, at));
      return numbers;
    };
  // At most 65,536 ranges are told apart: up to there each number that comes out of order moves those behind it.
  add(
    'ranges: scattered numbers, upwards',
    64 * KIB,
    (size) => new Uint8Array(size),
    scattered((_, at) => at),
  );
  add(
    'ranges: scattered numbers, downwards',
    64 * KIB,
    (size) => new Uint8Array(size),
    scattered((count, at) => count - at),
  );
  add(
    'ranges: scattered numbers, anyhow',
    64 * KIB,
    (size) => new Uint8Array(size),
    scattered((count, at) => (at * 7919) % count),
  );
  const journal = [...readCorpus('journal').values()][0]!;
  const start = Buffer.from(journal).indexOf('\n\n') + 2;
  add(
    'journal: calls',
    32 * KIB,
    (size) =>
      new Uint8Array(
        Buffer.concat([
          journal.subarray(0, start),
          repeated(journal.subarray(start, start + 112), size),
        ]),
      ),
    (bytes) => {
      const disk = new MemoryDisk();
      disk.put('/log/intents-0000000000000003-000000-000000', bytes);
      return readIntents(disk, '/log');
    },
  );
  const json = (name: string, input: (size: number) => string): void => {
    add(
      `json-traces: ${name}`,
      TEXT_LEAST,
      (size) => jsonOf(input(size)),
      (bytes) => transcodeJson(bytes, 'traces'),
    );
  };
  json('spans', (size) =>
    '{"name":"chat","traceId":"5b8efff798038103d269b633813fc60c"},'.repeat(size / 62).slice(0, -1),
  );
  json('one text', (size) => `{"name":"${'a'.repeat(size)}"}`);
  json('escapes', (size) => `{"name":"${'\\u00e9'.repeat(size / 6)}"}`);
  json(
    'unknown members',
    (size) => `{${numbered(size, (number) => `"m${number}":[1,{"a":null}],`).slice(0, -1)}}`,
  );
  json('digits', (size) => `{"startTimeUnixNano":${'1'.repeat(size)}}`);
  json('digits as text', (size) => `{"startTimeUnixNano":"${'1'.repeat(size)}"}`);
  json('spaces', (size) => `{"name":${' '.repeat(size)}"a"}`);
  json('lists', (size) => `{"x":[${'[],'.repeat(size / 3)}[]]}`);
  json(
    'attributes',
    (size) =>
      `{"attributes":[${'{"key":"a","value":{"intValue":"1"}},'.repeat(size / 37).slice(0, -1)}]}`,
  );
  const config = (name: string, input: (size: number) => string): void => {
    add(
      `config: ${name}`,
      4 * KIB,
      (size) => text(input(size)),
      (bytes) => readConfig({ SEALSPAN_CONFIG: inFile(bytes) }),
    );
  };
  config('unknown settings', (size) => numbered(size, (number) => `setting${number}: 1\n`));
  config(
    'headers',
    (size) =>
      `backend:\n  endpoint: http://a\n  headers:\n${numbered(size, (number) => `    h${number}: x\n`)}`,
  );
  config(
    'headers that are no text',
    (size) =>
      `backend:\n  endpoint: http://a\n  headers:\n${numbered(size, (number) => `    h${number}: [1]\n`)}`,
  );
  config(
    'clients',
    (size) =>
      `gateway:\n  clients:\n${numbered(size, (number) => `    - { id: c${number}, token: { env: T } }\n`)}`,
  );
  config('comments', (size) => '# nothing\n'.repeat(size / 10));
  config('one text', (size) => `dir: ${'a'.repeat(size)}\n`);
  config('variables', (size) => `dir: "${'${X:-y}'.repeat(size / 7)}"\n`);
  config('brackets', (size) => `dir: ${'['.repeat(size)}`);
  add(
    'trust: logs',
    4 * KIB,
    (size) => text(`logs:\n${numbered(size, (number) => `  - { origin: a${number}, key: b }\n`)}`),
    (bytes) => openTrustFile(inFile(bytes)),
  );
  const partial = f(1, f(2, 'no'));
  add('answer: partial successes', 16 * KIB, (size) => repeated(partial, size), judgeAccepted);
  add(
    'answer: one message',
    16 * KIB,
    (size) => new Uint8Array(f(1, f(2, '\u0007 '.repeat(size / 2)))),
    judgeAccepted,
  );
  add(
    'answer: JSON',
    TEXT_LEAST,
    (size) => text(`{"partialSuccess":{"errorMessage":"${' '.repeat(size)}"}}`),
    (body) =>
      judgeHttpAnswer(
        { code: 200, contentType: 'application/json', retryAfter: undefined, body, isWhole: true },
        0,
      ),
  );
  return list;
}

/**
 * Measures all shapes of a target, or of all; the controls first.
 * @throws Error where the fit can not tell the controls apart: nothing else would mean anything
 */
export async function measureGrowth(
  target: string | undefined,
  onGrowth: (growth: Growth) => void = () => {},
): Promise<Growth[]> {
  const all: Growth[] = [];
  const take = (growth: Growth): void => {
    all.push(growth);
    onGrowth(growth);
  };
  for (const control of CONTROLS) {
    const exponent = await leastExponent(control, control.isFine);
    take({ name: control.name, exponent, isFine: control.isFine(exponent) });
    if (!control.isFine(exponent)) throw new Error(`${control.name}: n^${exponent.toFixed(2)}`);
  }
  for (const shape of shapes()) {
    if (target !== undefined && !shape.name.startsWith(`${target}:`)) continue;
    const isFine = (exponent: number): boolean => exponent <= EXPONENT_MAX;
    const exponent = await leastExponent(shape, isFine);
    take({ name: shape.name, exponent, isFine: isFine(exponent) });
  }
  return all;
}
