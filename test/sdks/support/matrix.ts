// SPDX-License-Identifier: Apache-2.0
/**
 * The matrix test: one application per target, run with and without our hooks, under both module systems and all versions; what
 * it saw must be the same, and each call must have ended once, in the state its case says. Writes what it found to
 * `test/sdks/results/<target>.json`, from which the table of the docs is made.
 */
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Recorded } from '../../instrumentation/support/recorder.ts';
import { CASES } from './case.ts';
import { columnCells, type End, type Ends, type Results, type Row, readColumn } from './table.ts';

export type { Ends } from './table.ts';

/** One version of the package. */
export interface Version {
  readonly version: string;
  /** Folder that has a `load.mjs` and finds the package, from `test/sdks`; `.` for the newest. */
  readonly folder: string;
  readonly formats: readonly ('esm' | 'cjs')[];
  /** Where calls end otherwise with this version, and which cases it has not. */
  readonly ends?: Readonly<Record<string, Ends>>;
}

export interface Provider {
  readonly url: string;
  close(): Promise<void>;
}

/** All attributes of a span. */
export type Whole = Readonly<Record<string, unknown>>;

export interface Matrix {
  /** Name of the target, which is that of its package. */
  readonly target: string;
  readonly versions: readonly Version[];
  /** Module of the application in this folder; it exports `cases`. */
  readonly app: string;
  /** Absent for a model in the process. */
  readonly startProvider?: () => Promise<Provider>;
  /** For all shared cases and those of the target's own. */
  readonly ends: Readonly<Record<string, Ends>>;
  /** Columns of the table, by what the names of their cases begin with; one for the target unless given. */
  readonly columns?: Readonly<Record<string, string>>;
  /** What samplers see of the only span of a case, but `server.port`. */
  readonly started?: Readonly<Record<string, Whole>>;
  /** Scope of the spans that the package makes itself, under which its requests may nest. */
  readonly ownScope?: string;
  /** All attributes of the only span of a case, or of each of several in the order they end in, but `server.port`. */
  readonly whole?: Readonly<Record<string, Whole | readonly Whole[]>>;
  /** What is kept of a case where text is asked for, of the first span; the attributes' JSON as values. */
  readonly texts?: Readonly<Record<string, Texts>>;
}

/** Text of a call, as far as it has it. */
export interface Texts {
  readonly system?: unknown;
  readonly input?: unknown;
  readonly tools?: unknown;
  readonly output?: unknown;
}

export interface Run {
  readonly outcomes: Readonly<Record<string, unknown>>;
  readonly spans: Readonly<Record<string, readonly Recorded[]>>;
  readonly report: {
    readonly coverage: readonly { readonly target: string }[];
    readonly stats: { readonly open: number; readonly problems: Readonly<Record<string, number>> };
    readonly started: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  };
  /** Of each place of our code that was made to throw: how often it did, was counted, and what the application saw of it by case. */
  readonly struck?: readonly {
    readonly place: string;
    readonly thrown: number;
    readonly counted: number;
    readonly seen: Readonly<Record<string, unknown>>;
  }[];
}

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../../..');
const RUN_MS = 180_000;
/** So many places of our code every call comes by, at least. */
const PLACES_MIN = 40;
/** Every place of our code throws, one after the other. */
const EACH = 'each';

/** Runs the application in a process of its own, against a provider of its own. */
export async function runApp(
  matrix: Pick<Matrix, 'app' | 'target' | 'startProvider' | 'ends'>,
  version: Pick<Version, 'folder' | 'ends'>,
  format: string,
  env?: Readonly<Record<string, string>>,
): Promise<Run> {
  const { app, target, startProvider } = matrix;
  const { folder } = version;
  const without = Object.keys(absences(matrix, version));
  const provider = await startProvider?.();
  const support = join(root, 'test/instrumentation/support');
  const preload = [
    ...(env?.FAULT === EACH ? ['--import', join(support, 'fault-loader.ts')] : []),
    ...(env === undefined ? [] : ['--import', join(support, 'preload.ts')]),
  ];
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        ...['--expose-gc', '--no-warnings', ...preload, join(here, 'app.ts'), join(here, app)],
        ...[join(here, '..', folder), target, format, provider?.url ?? '', ...without],
      ],
      // The hooks look for packages from the program upwards; a proxy would see the requests of the test.
      { env: { PATH: process.env.PATH, ...env }, cwd: root, maxBuffer: 2 ** 27, timeout: RUN_MS },
    );
    return JSON.parse(stdout) as Run;
  } finally {
    await provider?.close();
  }
}

const ours = (spans: readonly Recorded[] = []) => spans.filter(({ scope }) => scope === 'sealspan');

/** How the calls of a case ended. */
function endsOf(spans: readonly Recorded[] | undefined): readonly End[] {
  return ours(spans).map(({ attributes }) =>
    ['aigov.invocation.completion', 'aigov.invocation.detail', 'error.type']
      .map((name) => attributes[name])
      .filter((value) => value !== undefined)
      .join(' '),
  );
}

/** How the calls of the cases that a version has must end. */
function expectedEnds(
  matrix: Matrix,
  version: Version,
): readonly (readonly [string, readonly End[]])[] {
  return Object.entries({ ...matrix.ends, ...version.ends }).flatMap(([name, ends]) =>
    typeof ends === 'object' && 'absent' in ends ? [] : [[name, [ends].flat()] as const],
  );
}

/** The cases that a version has not, and why. */
function absences(
  matrix: Pick<Matrix, 'ends'>,
  version: Pick<Version, 'ends'>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries({ ...matrix.ends, ...version.ends }).flatMap(([name, ends]) =>
      typeof ends === 'object' && 'absent' in ends ? [[name, ends.absent]] : [],
    ),
  );
}

/** Declares the tests of a target. */
export function describeMatrix(matrix: Matrix): void {
  const rows: Row[] = [];
  const columns = matrix.columns ?? { [matrix.target]: '' };
  const bare = new Map<string, Promise<Run>>();
  const bareRun = (version: Version, format: string): Promise<Run> => {
    const key = `${version.version} ${format}`;
    const known = bare.get(key) ?? runApp(matrix, version, format);
    bare.set(key, known);
    return known;
  };
  const [newest] = matrix.versions;
  const combinations = matrix.versions.flatMap((version) =>
    version.formats.flatMap((format) =>
      // The loader of Node's that runs in a thread is shown with the newest.
      (version === newest ? ['sync', 'async'] : ['sync']).map(
        (loader) => [version.version, format, loader, version] as const,
      ),
    ),
  );

  it.each(Object.entries(columns))('%s has every case of the matrix', (_, prefix) => {
    const names = CASES.map((name) => `${prefix}${name}`);
    expect(Object.keys(matrix.ends)).toEqual(expect.arrayContaining(names));
  });

  describe.each(combinations)(
    `${matrix.target} %s, %s, %s hooks`,
    (number, format, loader, version) => {
      let hooked: Run;
      let plain: Run;
      beforeAll(async () => {
        [hooked, plain] = await Promise.all([
          runApp(matrix, version, format, { LOADER: loader }),
          bareRun(version, format),
        ]);
        const cases = Object.entries(hooked.outcomes).map(([name, outcome]) => [
          name,
          { ends: endsOf(hooked.spans[name]), same: isSame(outcome, plain.outcomes[name]) },
        ]);
        rows.push({ version: number, format, loader, cases: Object.fromEntries(cases) });
      }, RUN_MS);

      it('lets the application see what it sees without hooks', () => {
        expect(hooked.outcomes).toEqual(plain.outcomes);
      });

      it('ends each call once, in the state it ended in', () => {
        const ends = Object.entries(hooked.spans)
          .filter(([name]) => name in matrix.ends)
          .map(([name, spans]) => [name, endsOf(spans)]);
        expect(Object.fromEntries(ends)).toEqual(Object.fromEntries(expectedEnds(matrix, version)));
        expect(hooked.report.stats).toMatchObject({ open: 0, problems: {} });
      });

      it('makes no span of what is no call of a model', () => {
        const others = Object.entries(hooked.spans).filter(([name]) => !(name in matrix.ends));
        expect(others.map(([name, spans]) => [name, endsOf(spans)])).toEqual(
          others.map(([name]) => [name, []]),
        );
      });

      const missing = absences(matrix, version);
      const whole = Object.entries(matrix.whole ?? {}).filter(([name]) => !(name in missing));
      if (whole.length > 0) {
        it.each(whole)('tells all of: %s', (name, expected) => {
          const spans = ours(hooked.spans[name]);
          const all = [expected].flat();
          expect(spans).toHaveLength(all.length);
          for (const [index, span] of spans.entries()) {
            const { 'server.port': port, ...attributes } = span.attributes;
            const wanted = all[index] ?? {};
            expect(attributes).toEqual(wanted);
            if ('server.address' in wanted) expect(port).toEqual(expect.any(Number));
            const subject = [
              'gen_ai.request.model',
              'gen_ai.tool.name',
              'gen_ai.data_source.id',
              'gen_ai.agent.name',
            ]
              .map((key) => attributes[key])
              .find((value) => value !== undefined);
            const method = attributes['mcp.method.name'];
            const operation = String(method ?? attributes['gen_ai.operation.name']);
            const isOfProcess =
              method === undefined &&
              (matrix.startProvider === undefined ||
                ['execute_tool', 'retrieval', 'invoke_agent'].includes(operation));
            expect(span).toMatchObject({
              name: subject === undefined ? operation : `${operation} ${String(subject)}`,
              kind: isOfProcess ? 'INTERNAL' : 'CLIENT',
              status: attributes['error.type'] === undefined ? 'UNSET' : 'ERROR',
            });
          }
        });
      }

      const starts = Object.entries(matrix.started ?? {});
      if (starts.length > 0) {
        it.each(starts)('gives samplers what the call is: %s', (name, expected) => {
          const [span] = ours(hooked.spans[name]);
          const { 'server.port': port, ...seen } = hooked.report.started[span?.spanId ?? ''] ?? {};
          expect(seen).toEqual(expected);
          expect(port).toEqual(expect.any(Number));
        });
      }

      it('lets the spans of the requests nest under a call', () => {
        for (const [name, spans] of Object.entries(hooked.spans)) {
          if (ours(spans).length === 0) continue;
          // Nothing of the application is active, so what is in the trace of a call came of it.
          const traces = new Set(
            spans
              .filter(({ scope }) => scope === 'sealspan' || scope === matrix.ownScope)
              .map(({ traceId }) => traceId),
          );
          const orphans = spans.filter(
            ({ scope, traceId }) => scope === 'http' && !traces.has(traceId),
          );
          expect([name, orphans]).toEqual([name, []]);
        }
      });

      it('says that it is active', () => {
        const row = hooked.report.coverage.filter(({ target }) => target === matrix.target);
        expect(row).toEqual([{ target: matrix.target, version: number, status: 'active' }]);
      });
    },
  );

  if (matrix.texts !== undefined) {
    it(
      `keeps the text of ${matrix.target} where it is asked for`,
      async () => {
        const format = newest?.formats[0];
        if (newest === undefined || format === undefined) throw new Error('no version');
        const [full, plain] = await Promise.all([
          runApp(matrix, newest, format, { [CAPTURE]: 'true' }),
          bareRun(newest, format),
        ]);
        const kept = Object.keys(matrix.texts ?? {}).map((name) => [
          name,
          textsOf(ours(full.spans[name])[0]),
        ]);
        expect(Object.fromEntries(kept)).toEqual(matrix.texts);
        expect(full.outcomes).toEqual(plain.outcomes);
        expect(full.report.stats).toMatchObject({ open: 0, problems: {} });
      },
      RUN_MS,
    );
  }

  describe.each([['tracer'], ['start'], ['span']])(
    `${matrix.target} when our %s throws`,
    (fault) => {
      it(
        'lets the application see what it sees without hooks, and counts',
        async () => {
          const format = newest?.formats[0];
          if (newest === undefined || format === undefined) throw new Error('no version');
          const [faulty, plain] = await Promise.all([
            runApp(matrix, newest, format, { FAULT: fault }),
            bareRun(newest, format),
          ]);
          expect(faulty.outcomes).toEqual(plain.outcomes);
          expect(faulty.report.stats.open).toBe(0);
          const problems = Object.values(faulty.report.stats.problems);
          const calls = expectedEnds(matrix, newest).flatMap(([, ends]) => ends);
          // Each call met the fault at least once.
          expect(Math.max(0, ...problems)).toBeGreaterThanOrEqual(calls.length);
        },
        RUN_MS,
      );
    },
  );

  it(
    `lets the application of ${matrix.target} see what it sees wherever our code throws, and counts`,
    async () => {
      const format = newest?.formats[0];
      if (newest === undefined || format === undefined) throw new Error('no version');
      const { struck = [] } = await runApp(matrix, newest, format, { FAULT: EACH });
      // Some are entered once, as when a package is loaded.
      const tried = struck.filter(({ thrown }) => thrown > 0);
      expect(tried.length).toBeGreaterThan(PLACES_MIN);
      const noticed = tried.filter(
        ({ counted, seen }) => counted === 0 || Object.keys(seen).length > 0,
      );
      expect(noticed).toEqual([]);
    },
    RUN_MS,
  );

  it.each(Object.entries(columns))('%s is in the table as it went', (title, prefix) => {
    // `npx node scripts/matrix.ts` writes the table anew.
    expect(readColumn(title)).toEqual(columnCells(results(), prefix));
  });

  afterAll(() => {
    const folder = join(here, '../results');
    mkdirSync(folder, { recursive: true });
    for (const [title, prefix] of Object.entries(columns)) {
      const file = join(folder, `${title.replace(/^@/, '').replaceAll(/[/ ]/g, '-')}.json`);
      writeFileSync(file, `${JSON.stringify({ title, prefix, ...results() }, undefined, 2)}\n`);
    }
  });

  /** What was found so far, in an order that is always the same. */
  function results(): Results {
    const order = ({ version, format, loader }: Row): number =>
      combinations.findIndex(
        ([number, ...rest]) =>
          `${number} ${rest[0]} ${rest[1]}` === `${version} ${format} ${loader}`,
      );
    return {
      versions: matrix.versions.map((version) => ({
        version: version.version,
        formats: version.formats,
        ends: { ...matrix.ends, ...version.ends },
      })),
      runs: rows.toSorted((a, b) => order(a) - order(b)),
    };
  }
}

const CAPTURE = 'OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT';
const TEXTS: Readonly<Record<keyof Texts, string>> = {
  system: 'gen_ai.system_instructions',
  input: 'gen_ai.input.messages',
  tools: 'gen_ai.tool.definitions',
  output: 'gen_ai.output.messages',
};

function textsOf(span: Recorded | undefined): unknown {
  return Object.fromEntries(
    Object.entries(TEXTS).flatMap(([key, name]) => {
      const json = span?.attributes[name];
      return typeof json === 'string' ? [[key, JSON.parse(json)]] : [];
    }),
  );
}

/** A message of one role, as it is kept where text is asked for. */
export function message(role: string, ...parts: readonly unknown[]): unknown {
  return {
    role,
    parts: parts.map((part) => (typeof part === 'string' ? { type: 'text', content: part } : part)),
  };
}

function isSame(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}

const KEY = new Uint8Array(32).fill(7);

/** The hex of the HMAC that the digests are made of, computed here anew. */
export function hmac(text: string): string {
  return createHmac('sha256', KEY).update(text).digest('hex');
}

/** The digest of a text, as its definition says. */
export function digest(text: string): string {
  return `hmac-sha256:${hmac(text)}`;
}

/** The attributes that say how content was treated, of every span of a run. */
export const POLICY: Readonly<Record<string, string>> = {
  'aigov.content.policy': 'digest',
  'aigov.digest.alg': 'hmac-sha256',
  'aigov.digest.key_id': 'test-1',
  'aigov.schema.version': '0.1.0',
};

/** The attributes of an input and, if there is one, a configuration, given as their canonical texts. */
export function inputs(content: string, config?: string): Readonly<Record<string, unknown>> {
  return {
    ...POLICY,
    'aigov.input.digest': digest(content),
    'aigov.input.length': Buffer.byteLength(content),
    ...(config !== undefined && { 'aigov.config.digest': digest(config) }),
  };
}

/** A part of an answer: its type, its text and, for a tool call, its id and name. */
export interface AnswerPart {
  readonly type: string;
  readonly text: string;
  readonly id?: string;
  readonly name?: string;
}

/** The attributes of an answer, of one message per list of parts. */
export function outputs(
  ...messages: readonly { reason?: string; role?: string | null; parts: readonly AnswerPart[] }[]
): Readonly<Record<string, unknown>> {
  const text = messages.map(({ reason, role = 'assistant', parts }) => {
    const finish = reason === undefined ? '' : `"finish_reason":${JSON.stringify(reason)},`;
    const list = parts.map((part) => {
      const key = part.type === 'tool_call' ? 'arguments' : 'content';
      const id = part.id === undefined ? '' : `"id":${JSON.stringify(part.id)},`;
      const name = part.name === undefined ? '' : `"name":${JSON.stringify(part.name)},`;
      return `{"${key}":"${hmac(part.text)}",${id}${name}"type":"${part.type}"}`;
    });
    const end = role === null ? '' : `,"role":"${role}"`;
    return `{${finish}"parts":[${list.join(',')}]${end}}`;
  });
  const byteLengths = messages.flatMap(({ parts }) =>
    parts.map((part) => Buffer.byteLength(part.text)),
  );
  return {
    'aigov.output.digest': digest(`[${text.join(',')}]`),
    'aigov.output.length': byteLengths.reduce((sum, byteLength) => sum + byteLength, 0),
  };
}
