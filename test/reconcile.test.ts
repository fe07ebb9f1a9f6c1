// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what only the log has and what only the backend has is told span by span, and what sampling accounts for is not
 * taken for loss. Method: sealed logs against files of OTLP-JSON, and servers that answer as Jaeger's and Tempo's APIs say;
 * a real Jaeger in the end-to-end tests.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type BackendReader,
  fileReader,
  jaegerReader,
  tempoReader,
} from '../exporter/cli/backend-reader.ts';
import { type ReconcileOptions, runReconcile } from '../exporter/cli/reconcile.ts';
import type { Terminal } from '../exporter/cli/terminal.ts';
import { encodeBase64 } from '../exporter/log/bytes.ts';
import { splitRequest } from '../exporter/log/entries.ts';
import { leafHash } from '../exporter/log/merkle.ts';
import { sha256 } from '../exporter/node/system/keys.ts';
import { timeOf } from '../scripts/instance-vectors.ts';
import {
  closedAt,
  control,
  type Draft,
  filesOf,
  ORIGIN,
  opened,
  START_MS,
  sealDrafts,
  vectorSigner,
} from '../scripts/vectors.ts';
import { encodeOtlp } from './support/otlp-backend.ts';

let folder = '';
const servers: Server[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealspan-reconcile-'));
});
afterAll(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

/** A span: which trace, which of its spans, and what of it is out of the ordinary. */
interface Made {
  readonly trace: number;
  readonly span: number;
  readonly second?: number;
  readonly isSampled?: boolean;
  readonly isGoverned?: boolean;
  readonly leaf?: string;
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
const traceId = ({ trace }: Made): string => hex(trace, 32);
const spanId = ({ trace, span }: Made): string => hex(trace * 256 + span, 16);
const nanoseconds = ({ second = 1 }: Made): string => `${START_MS + 1000 * second}000000`;
const attributesOf = ({ isGoverned = true, leaf }: Made) => [
  { key: isGoverned ? 'gen_ai.operation.name' : 'http.route', value: { stringValue: 'chat' } },
  ...(leaf === undefined ? [] : [{ key: 'aigov.audit.leaf', value: { stringValue: leaf } }]),
];

function entryOf(made: Made): Uint8Array {
  const span = {
    traceId: Buffer.from(traceId(made), 'hex').toString('base64'),
    spanId: Buffer.from(spanId(made), 'hex').toString('base64'),
    name: 'chat',
    startTimeUnixNano: nanoseconds(made),
    endTimeUnixNano: nanoseconds(made),
    attributes: attributesOf(made),
    flags: made.isSampled === false ? 0x100 : 0x101,
  };
  const request = { resourceSpans: [{ scopeSpans: [{ scope: { name: 'app' }, spans: [span] }] }] };
  return splitRequest(encodeOtlp('TracesData', request), 'traces')[0]!;
}

const leafOf = (made: Made): string => encodeBase64(leafHash(sha256, entryOf(made)));
const sealed = (...spans: readonly Made[]): Draft => ({
  kind: 'traces',
  entries: () => spans.map(entryOf),
});

let count = 0;
/** A log whose record n is sealed at second n: opened, then these, then closed. */
function logOf(...drafts: readonly Draft[]): string {
  const dir = join(folder, String(count++));
  const log = sealDrafts([[opened, ...drafts, control(closedAt(0))]]);
  for (const [path, file] of Object.entries(filesOf(log))) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), file as Uint8Array);
  }
  writeFileSync(join(dir, 'verifier'), `${vectorSigner(ORIGIN).vkey}\n`);
  return dir;
}

/** A file as the Collector writes it, a request on each line. */
function fileOf(...spans: readonly Made[]): BackendReader {
  const path = join(folder, `${count++}.json`);
  const lines = spans.map((made) =>
    JSON.stringify({
      resourceSpans: [{ scopeSpans: [{ scope: { name: 'app' }, spans: [jsonOf(made)] }] }],
    }),
  );
  writeFileSync(path, `${lines.join('\n')}\n`);
  return fileReader(path);
}

const jsonOf = (made: Made) => ({
  traceId: traceId(made),
  spanId: spanId(made),
  name: 'chat',
  startTimeUnixNano: nanoseconds(made),
  endTimeUnixNano: nanoseconds(made),
  attributes: attributesOf(made),
});

interface Said {
  readonly status: number;
  readonly lines: readonly string[];
  readonly notes: readonly string[];
}

async function reconcile(
  reader: BackendReader,
  dir: string,
  more: Partial<ReconcileOptions> = {},
): Promise<Said> {
  const lines: string[] = [];
  const notes: string[] = [];
  const plain = (text: string): string => text;
  const terminal: Terminal = {
    data: (line) => lines.push(line),
    note: (line) => notes.push(line),
    progress: () => {},
    bold: plain,
    good: plain,
    bad: plain,
  };
  const range = { from: undefined, to: undefined };
  const options = { dir, trustPath: undefined, range, keeps: 1, isJson: true, ...more };
  return { status: await runReconcile(reader, options, terminal), lines, notes };
}

interface Json {
  readonly agrees: boolean;
  readonly sealed: number;
  readonly found: number;
  readonly explained: { readonly unsampled: number; readonly sampled: number };
  readonly differences: Readonly<Record<string, readonly { readonly span: string }[]>>;
}

/** Status, sealed and found, explained, and the spans that differ by how. */
async function answer(...asked: Parameters<typeof reconcile>): Promise<unknown> {
  const { status, lines } = await reconcile(...asked);
  const said = JSON.parse(lines.join('\n')) as Json;
  expect(said.agrees).toBe(status === 0);
  const differences = Object.fromEntries(
    Object.entries(said.differences)
      .filter(([, list]) => list.length > 0)
      .map(([name, list]) => [name, list.map(({ span }) => Number.parseInt(span, 16))]),
  );
  return [status, said.sealed, said.found, Object.values(said.explained), differences];
}

const A = { trace: 1, span: 1 };
const B = { trace: 1, span: 2 };
const C = { trace: 2, span: 1 };

describe('against a file', () => {
  test.each<[what: string, there: Made[], said: unknown]>([
    ['the same on both sides', [A, B, C], [0, 3, 3, [0, 0], {}]],
    ['twice in the backend', [A, B, C, C], [0, 3, 3, [0, 0], {}]],
    ['a span missing of a trace that is there', [A, C], [3, 3, 2, [0, 0], { missing: [258] }]],
    ['a whole trace absent', [A, B], [3, 3, 2, [0, 0], { absent: [513] }]],
    [
      'a governed span that was never sealed',
      [A, B, C, { trace: 3, span: 1 }, { trace: 1, span: 9 }],
      [3, 3, 3, [0, 0], { unsealed: [769, 265] }],
    ],
    [
      'what is not governed need not be sealed',
      [A, B, C, { trace: 3, span: 1, isGoverned: false }],
      [0, 3, 3, [0, 0], {}],
    ],
    [
      'nor what ran before the log began, or runs on behind it',
      [A, B, C, { trace: 3, span: 1, second: -1 }, { trace: 3, span: 2, second: 60 }],
      [0, 3, 3, [0, 0], {}],
    ],
    [
      'a copy that names its original, and one that names another',
      [{ ...A, leaf: leafOf(A) }, { ...B, leaf: leafOf(A) }, C],
      [3, 3, 3, [0, 0], { altered: [258] }],
    ],
  ])('%s', async (_what, there, said) => {
    expect(await answer(fileOf(...there), logOf(sealed(A, B), sealed(C)))).toEqual(said);
  });

  test("what the service's sampler kept from the backend is explained", async () => {
    const dir = logOf(sealed(A, { ...B, isSampled: false }), sealed({ ...C, isSampled: false }));
    expect(await answer(fileOf(A), dir)).toEqual([0, 3, 1, [2, 0], {}]);
    // That it is there all the same is no difference.
    expect(await answer(fileOf(A, B, C), dir)).toEqual([0, 3, 3, [0, 0], {}]);
  });

  test('a tail sampler accounts for as many traces as chance lets it drop, not for more', async () => {
    const all = Array.from({ length: 100 }, (_, trace) => ({ trace: trace + 1, span: 1 }));
    const dir = logOf(sealed(...all));
    const some = fileOf(...all.slice(0, 55));
    expect(await answer(some, dir, { keeps: 0.5 })).toEqual([0, 100, 55, [0, 45], {}]);
    const said = (await answer(some, dir, { keeps: 0.9 })) as unknown[];
    expect(said.slice(0, 4)).toEqual([3, 100, 55, [0, 0]]);
    // A span missing of a trace that was kept is no sampler's work.
    const torn = logOf(sealed(...all, { trace: 1, span: 2 }));
    expect(await answer(some, torn, { keeps: 0.5 })).toEqual([
      3,
      101,
      55,
      [0, 45],
      { missing: [258] },
    ]);
  });

  test('a range asks about what was sealed in it; what was sealed behind it is known', async () => {
    const dir = logOf(sealed(A), sealed(B), sealed({ ...C, second: 2 }));
    const range = { from: timeOf(1), to: timeOf(2) };
    expect(await answer(fileOf(A, B, { ...C, second: 2 }), dir, { range })).toEqual([
      0,
      2,
      2,
      [0, 0],
      {},
    ]);
    expect(await answer(fileOf(A), dir, { range })).toEqual([3, 2, 1, [0, 0], { missing: [258] }]);
  });

  test('says it in lines', async () => {
    const dir = logOf(sealed(A, B), sealed({ ...C, isSampled: false }));
    const reader = fileOf(A, { trace: 7, span: 1 });
    const { status, lines } = await reconcile(reader, dir, { isJson: false });
    expect(status).toBe(3);
    expect(lines).toEqual([
      'verdict    VALID (1 logs)',
      `sealed     3 spans, from ${timeOf(0)} to ${timeOf(3)}`,
      `backend    ${reader.name}: 1 of them`,
      'explained  1 without the sampled flag: the service did not export them',
      `missing    trace ${traceId(B)} span ${spanId(B)} (chat) sealed as ${ORIGIN}#1/1: not in the backend, which has others of its trace`,
      `unsealed   trace ${hex(7, 32)} span ${hex(7 * 256 + 1, 16)} (chat): in the backend, governed, and in no log`,
      'result     2 differences',
    ]);
  });

  test('a log that was tampered with is compared, and stays invalid', async () => {
    const dir = logOf(sealed(A));
    writeFileSync(join(dir, 'checkpoint'), 'nothing\n');
    const { status, lines } = await reconcile(fileOf(A), dir);
    expect([status, JSON.parse(lines.join('')).found]).toEqual([1, 1]);
  });

  test.each([
    ['that is not there', () => fileReader(join(folder, 'none')), /none: ENOENT/],
    [
      'that is no JSON',
      () => {
        const path = join(folder, 'broken.json');
        writeFileSync(path, '{}\n{"resourceSpans"');
        return fileReader(path);
      },
      /broken\.json:2: /,
    ],
  ])('%s: no answer', async (_what, reader, note) => {
    const { status, notes } = await reconcile(reader(), logOf(sealed(A)));
    expect(status).toBe(5);
    expect(notes.join()).toMatch(note);
  });
});

/** A server that answers by path and query. */
async function serve(answers: (url: URL) => unknown): Promise<URL> {
  const server = createServer((request, response) => {
    const found = answers(new URL(request.url ?? '/', 'http://localhost'));
    response.statusCode = found === undefined ? 404 : 200;
    response.end(JSON.stringify(found ?? {}));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/base/`);
}

const jaegerTrace = (id: number, ...spans: readonly Made[]) => ({
  // As Jaeger writes ids that begin with zeros, at times.
  traceID: hex(id, 16),
  spans: spans.map((made) => ({
    spanID: spanId(made),
    operationName: 'chat',
    startTime: (START_MS + 1000) * 1000,
    duration: 10,
    tags: attributesOf(made).map(({ key, value }) => ({ key, value: value.stringValue })),
  })),
});

describe('against an API', () => {
  test("Jaeger's: services, their traces, and each that was not among them", async () => {
    const asked: string[] = [];
    const base = await serve(({ pathname, searchParams }) => {
      asked.push(pathname);
      if (pathname === '/base/api/services') return { data: ['shop'] };
      if (pathname === '/base/api/traces') {
        return searchParams.get('service') === 'shop' ? { data: [jaegerTrace(1, A)] } : {};
      }
      if (pathname === `/base/api/traces/${traceId(A)}`) return { data: [jaegerTrace(1, A, B)] };
      return undefined;
    });
    const dir = logOf(sealed(A, B), sealed(C));
    expect(await answer(jaegerReader(base), dir)).toEqual([3, 3, 2, [0, 0], { absent: [513] }]);
    expect(asked).toContain(`/base/api/traces/${traceId(C)}`);
  });

  test("Jaeger's: a list as long as was asked for is asked for in parts", async () => {
    const windows: number[] = [];
    const base = await serve(({ pathname, searchParams }) => {
      if (pathname === '/base/api/services') return { data: ['shop'] };
      if (pathname !== '/base/api/traces') return undefined;
      const width = Number(searchParams.get('end')) - Number(searchParams.get('start'));
      windows.push(width);
      const limit = Number(searchParams.get('limit'));
      const other = (_: unknown, at: number) =>
        jaegerTrace(9, { trace: 9, span: at, isGoverned: false });
      if (width > 1_000_000) return { data: Array.from({ length: limit }, other) };
      return { data: [jaegerTrace(1, A)] };
    });
    expect(await answer(jaegerReader(base), logOf(sealed(A)))).toEqual([0, 1, 1, [0, 0], {}]);
    expect(windows).toEqual([2_000_000, 1_000_000, 1_000_000]);
  });

  test("Tempo's: a search, and each trace, with ids in base64", async () => {
    const base64 = (id: string) => Buffer.from(id, 'hex').toString('base64');
    const base = await serve(({ pathname }) => {
      if (pathname === '/base/api/search') return { traces: [{ traceID: '1' }] };
      if (pathname !== `/base/api/traces/${traceId(A)}`) return undefined;
      const spans = [A, B].map(jsonOf);
      const inBase64 = spans.map((span) => ({
        ...span,
        traceId: base64(span.traceId),
        spanId: base64(span.spanId),
      }));
      return { batches: [{ scopeSpans: [{ scope: { name: 'app' }, spans: inBase64 }] }] };
    });
    const dir = logOf(sealed(A, B), sealed(C));
    expect(await answer(tempoReader(base), dir)).toEqual([3, 3, 2, [0, 0], { absent: [513] }]);
  });

  test('a server that answers otherwise, or nobody: no answer', async () => {
    const base = await serve(() => undefined);
    const dir = logOf(sealed(A));
    // Of an API that is not there nothing is known: that is no empty backend.
    const { status, notes } = await reconcile(jaegerReader(base), dir);
    expect([status, notes.length]).toEqual([5, 1]);
    const nobody = await reconcile(tempoReader(new URL('http://127.0.0.1:1')), dir);
    expect(nobody.status).toBe(5);
  });
});
