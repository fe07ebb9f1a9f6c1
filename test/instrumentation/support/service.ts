// SPDX-License-Identifier: Apache-2.0
/**
 * Services in a folder of their own, run as people run theirs: a program, the SDK line it brings, and us by `--import`.
 * What they leave is read back from the log by the verifier; nothing here trusts what a service says of itself.
 */
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { findLogs, verifyDirectory } from '../../../exporter/cli/verify.ts';
import type { ControlEvent } from '../../../exporter/log/control.ts';
import type { Report } from '../../../exporter/log/report.ts';
import { type PlainSpan, spansOfTraces } from '../../support/otlp-proto.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
export const REGISTER: string = pathToFileURL(join(root, 'instrumentation/register.ts')).href;

/** Folders of packages by SDK line; `none` has no OpenTelemetry at all. */
const LINES: Readonly<Record<string, string>> = {
  '1.30': join(root, 'test/apps/otel-1/node_modules/@opentelemetry'),
  '2.x': join(root, 'test/apps/otel-2/node_modules/@opentelemetry'),
  '3.x': join(root, 'node_modules/@opentelemetry'),
};

export type Format = 'mjs' | 'cjs';

/** Makes a folder with the packages that a service has and the files given. */
export function makeService(line: string, files: Readonly<Record<string, string>>): string {
  const home = mkdtempSync(join(tmpdir(), 'sealspan-service-'));
  mkdirSync(join(home, 'node_modules'));
  symlinkSync(join(root, 'node_modules/openai'), join(home, 'node_modules/openai'));
  const packages = LINES[line];
  if (packages !== undefined) symlinkSync(packages, join(home, 'node_modules/@opentelemetry'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(home, name), text);
  return home;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs Node in the folder of a service; no variable of the test's own environment gets there. */
export function run(
  home: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const child = spawn(process.execPath, ['--no-warnings', ...args], {
    cwd: home,
    env: { PATH: process.env.PATH, OTEL_LOGS_EXPORTER: 'none', ...env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** How a program gets at a package, by the module system it is written in. */
const LOADS: Readonly<Record<Format, string>> = {
  mjs: 'import { appendFileSync } from "node:fs"; const load = (name) => import(name);',
  cjs: 'const { appendFileSync } = require("node:fs"); const load = async (name) => require(name);',
};

/** The set-up of the SDK as its own documentation has it, with an exporter that writes down whose span it got. */
const SET_UPS: Readonly<Record<string, string>> = {
  none: '',
  '1.30': `
    const { NodeTracerProvider, SimpleSpanProcessor } = await load('@opentelemetry/sdk-trace-node');
    new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();`,
  '2.x': `
    const { NodeTracerProvider, SimpleSpanProcessor } = await load('@opentelemetry/sdk-trace-node');
    new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();`,
  '3.x': `
    const { NodeSDK } = await load('@opentelemetry/sdk-node');
    const { SimpleSpanProcessor } = await load('@opentelemetry/sdk-trace');
    new NodeSDK({ spanProcessors: [new SimpleSpanProcessor({ exporter })], metricReaders: [] }).start();`,
};

/** The application's own set-up; spans that its exporter gets are in the file \`exported\`. */
export function setUp(line: string): string {
  return `
    const exporter = {
      export(spans, done) {
        for (const span of spans) appendFileSync('exported', span.spanContext().spanId + '\\n');
        done({ code: 0 });
      },
      forceFlush: async () => {},
      shutdown: async () => {},
    };
    ${SET_UPS[line]}`;
}

/** A program that does this and that, one after the other. */
export function program(format: Format, ...steps: readonly string[]): string {
  return `${LOADS[format]}
  const main = async () => {
    ${steps.join('\n')}
  };
  main();`;
}

/** Three calls: an answer, a stream read to its end, and one that the provider refuses. */
export const CALLS = `
    const { OpenAI } = await load('openai');
    const client = new OpenAI({ apiKey: 'none', baseURL: process.env.PROVIDER });
    const ask = (model, more) =>
      client.chat.completions.create({ model, messages: [{ role: 'user', content: 'hi' }], ...more });
    await ask('gpt-fake');
    for await (const _ of await ask('gpt-two', { stream: true }));
    await ask('gpt-refuses').catch(() => {});`;

/** What one log holds. */
export interface LogContent {
  readonly report: Report;
  readonly spans: readonly PlainSpan[];
  readonly events: readonly ControlEvent[];
}

/** The logs below a folder by the name of their own, each verified. */
export async function readLogs(dir: string): Promise<ReadonlyMap<string, LogContent>> {
  const logs = new Map<string, LogContent>();
  if (!existsSync(dir)) return logs;
  for (const place of findLogs(dir)) {
    const spans: PlainSpan[] = [];
    const events: ControlEvent[] = [];
    const report = await verifyDirectory(place.dir, undefined, (record) => {
      events.push(...record.events);
      if (record.header.kind === 'traces') spans.push(...record.entries.flatMap(spansOfTraces));
    });
    logs.set(place.dir.slice(dir.length + 1), { report, spans, events });
  }
  return logs;
}

/** Ids of the spans that the application's own exporter got, in order. */
export function exportedBy(home: string): string[] {
  const path = join(home, 'exported');
  return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
}
