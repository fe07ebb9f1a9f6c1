// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan demo`: runs examples/quickstart/service.mjs between a stand-in provider and a small backend, and compares
 * what each of them saw with what is in the log. Every number it prints was counted; it measures no speed.
 */
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeBase64, equalBytes } from '../log/bytes.ts';
import type { Report } from '../log/report.ts';
import { readFrames } from '../log/segment.ts';
import { ConfigError } from '../node/config/config.ts';
import { type DemoBackend, type DemoProvider, startBackend, startProvider } from './demo-world.ts';
import { EXIT_PROBLEM, EXIT_USAGE } from './exit.ts';
import { runShow } from './show.ts';
import { readSpan, type ShownSpan } from './span.ts';
import { shown, type Terminal } from './terminal.ts';
import { findLogs, verifyDirectory } from './verify.ts';

export interface DemoOptions {
  /** Where the log is kept; undefined takes a new temporary directory. MUST be empty if it is there. */
  readonly dir: string | undefined;
  readonly callCount: number;
  readonly isJson: boolean;
}

/** What the service told of one call. */
interface Call {
  readonly route: string;
  readonly traceId: string;
}

interface SealedSpan {
  readonly ref: string;
  readonly leaf: string;
  readonly record: number;
  readonly span: ShownSpan;
}

/** A log as the verifier read it. */
interface SealedLog {
  readonly dir: string;
  readonly report: Report;
  readonly spans: readonly SealedSpan[];
}

interface ServiceRun {
  readonly calls: readonly Call[];
  /** Exit status; undefined if it had to be stopped. */
  readonly status: number | undefined;
  readonly stderr: string;
}

/** What the service imports beside sealspan. */
const PACKAGES = ['@opentelemetry/api', '@opentelemetry/sdk-node', 'openai'];
const SERVICE_DELAY_MS = 60_000;
const CALL_DELAY_MS = 50;

/** Runs the command; returns the exit status: 0 only if everything was as it should. */
export async function runDemo(options: DemoOptions, terminal: Terminal): Promise<number> {
  const root = packageRoot();
  const service = join(root, 'examples/quickstart/service.mjs');
  const missing = missingPackages(service);
  if (missing.length > 0) {
    terminal.note(
      `the demo's service uses ${missing.join(' and ')}, which ${missing.length === 1 ? 'is' : 'are'} not installed here. ` +
        `Run: npm install ${missing.join(' ')}`,
    );
    return EXIT_USAGE;
  }
  const dir = emptyDirectory(options.dir);
  const provider = await startProvider();
  const backend = await startBackend();
  try {
    terminal.progress(`${options.callCount} calls are being made`);
    const run = await runService(service, options.callCount, {
      OPENAI_BASE_URL: `${provider.url}/v1`,
      OPENAI_API_KEY: 'none-needed',
      OTEL_SERVICE_NAME: 'loan-service',
      OTEL_EXPORTER_OTLP_ENDPOINT: backend.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
      OTEL_METRICS_EXPORTER: 'none',
      OTEL_LOGS_EXPORTER: 'none',
      SEALSPAN_DIR: dir,
      SEALSPAN_FORWARDING: 'direct',
    });
    const command = root.includes('node_modules') ? 'npx sealspan' : 'npm run sealspan --';
    return await new Telling(options, terminal, dir, command).all(run, provider, backend);
  } finally {
    await Promise.all([provider.close(), backend.close()]);
  }
}

/** The folder of this package: sources run from the checkout, the command from `dist` in it. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

function missingPackages(service: string): string[] {
  const { resolve: find } = createRequire(service);
  return PACKAGES.filter((name) => {
    try {
      find(name);
      return false;
    } catch {
      return true;
    }
  });
}

/** @throws ConfigError if there is something in it: what the demo counts would not be the demo's */
function emptyDirectory(given: string | undefined): string {
  if (given === undefined) return join(mkdtempSync(join(tmpdir(), 'sealspan-demo-')), 'log');
  const dir = resolve(given);
  if (existsSync(dir) && readdirSync(dir).length > 0)
    throw new ConfigError(`--dir: ${dir} is not empty`);
  mkdirSync(dir, { recursive: true });
  return dir;
}

/** Settings of the person's own environment that would make this another demo. */
const FOREIGN_VARIABLE = /^(OTEL|SEALSPAN|OPENAI|NODE)_|^(https?|all|no)_proxy$/i;

async function runService(
  service: string,
  callCount: number,
  settings: Readonly<Record<string, string>>,
): Promise<ServiceRun> {
  const own = Object.entries(process.env).filter(([name]) => !FOREIGN_VARIABLE.test(name));
  const child = spawn(process.execPath, ['--import', 'sealspan/register', service], {
    // There its sealspan.yaml lies, and from there `sealspan` is this very package.
    cwd: dirname(service),
    env: { ...Object.fromEntries(own), ...settings, CALLS: String(callCount) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const timer = setTimeout(
    () => child.kill('SIGKILL'),
    SERVICE_DELAY_MS + callCount * CALL_DELAY_MS,
  );
  const status = await new Promise<number | undefined>((settle, reject) => {
    child.once('error', reject);
    child.once('close', (code) => settle(code ?? undefined));
  }).finally(() => clearTimeout(timer));
  const calls = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Call);
  return { calls, status, stderr };
}

/** Verifies the one log below `dir`, keeping its spans. */
async function readLog(dir: string): Promise<SealedLog> {
  const [place] = findLogs(dir);
  if (place === undefined) throw new Error(`${dir}: the service left no log`);
  const spans: SealedSpan[] = [];
  const report = await verifyDirectory(place.dir, undefined, ({ header, entries, leaves }) => {
    if (header.kind !== 'traces') return;
    entries.forEach((entry, index) => {
      spans.push({
        ref: `${header.log}#${header.index}/${index}`,
        leaf: encodeBase64(leaves[index]!),
        record: header.index,
        span: readSpan(entry),
      });
    });
  });
  return { dir: place.dir, report, spans };
}

/** Spans in archived segments that are, byte for byte, those of the log; -1 where one differs. */
function countArchived(archive: string, log: SealedLog): { spans: number; segments: number } {
  const folder = join(archive, log.report.log, 'segments');
  // A file whose writing was cut short by the kill is there under a name that begins with a dot.
  const names = (existsSync(folder) ? readdirSync(folder) : []).filter((name) => /^\d/.test(name));
  let spans = 0;
  for (const name of names) {
    const bytes = readFileSync(join(folder, name));
    if (!equalBytes(bytes, readFileSync(join(log.dir, 'segments', name))))
      return { spans: -1, segments: names.length };
    for (const { header } of readFrames(bytes)) {
      if (header.kind === 'traces') spans += header.entryCount;
    }
  }
  return { spans, segments: names.length };
}

/**
 * Copies a log without its key, changes one bit of the stored bytes of one record in the copy, verifies the copy and
 * removes it.
 */
async function verifyForgery(log: SealedLog, record: number): Promise<Report> {
  const copy = mkdtempSync(join(tmpdir(), 'sealspan-forgery-'));
  try {
    for (const name of ['segments', 'checkpoint', 'signing', 'verifier'])
      cpSync(join(log.dir, name), join(copy, name), { recursive: true });
    for (const name of readdirSync(join(copy, 'segments'))) {
      const path = join(copy, 'segments', name);
      const bytes = readFileSync(path);
      for (const { header, stored, end } of readFrames(bytes)) {
        if (header.index !== record) continue;
        bytes[end - Math.ceil(stored.length / 2)]! ^= 1;
        writeFileSync(path, bytes);
      }
    }
    return await verifyDirectory(copy, undefined);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function count<Item>(items: Iterable<Item>, keyOf: (item: Item) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1);
  return counts;
}

/** Attributes that the shortened span is shown with, of the many it has. */
const SHOWN =
  /^(\d{4}-| {2}(sealed |leaf |aigov\.(decision\.(id|outcome|confidence|legal_effect)|model\.version|subject\.ref|system\.(id|risk_class)|input\.digest) = ))/;

/** Says step by step what happened, and remembers whether all of it was as it should. */
class Telling {
  readonly #options: DemoOptions;
  readonly #terminal: Terminal;
  readonly #dir: string;
  /** What a person writes before `verify DIR`. */
  readonly #command: string;
  #isGood = true;

  constructor(options: DemoOptions, terminal: Terminal, dir: string, command: string) {
    this.#options = options;
    this.#terminal = terminal;
    this.#dir = dir;
    this.#command = command;
  }

  /** Compares what service, provider, backend and archive saw with the log; returns the exit status. */
  async all(run: ServiceRun, provider: DemoProvider, backend: DemoBackend): Promise<number> {
    const { callCount, isJson } = this.#options;
    this.#step(
      run.status === 0 && run.calls.length === callCount,
      `${run.calls.length} calls of a service that has the openai client and OpenTelemetry, joined by sealspan/register`,
    );
    this.#say(`    ${listed(count(run.calls, ({ route }) => route))}`);
    if (run.status !== 0) {
      this.#terminal.note(run.stderr.trimEnd());
      return EXIT_PROBLEM;
    }
    const log = await readLog(this.#dir);
    const { report, spans } = log;
    this.#completeness(run.calls, provider, log);
    const unsampled = spans.filter(({ span }) => !span.isSampled);
    // Traces that are dropped as a whole take the service's own span with them.
    const dropped = new Set(unsampled.map(({ span }) => span.traceId));
    const own = run.calls.filter(({ traceId }) => !dropped.has(traceId)).length;
    this.#forwarding(
      { sampled: spans.length - unsampled.length, unsampled: unsampled.length, own },
      log,
      backend,
    );
    const archived = countArchived(join(this.#dir, 'archive'), log);
    this.#step(
      archived.spans === spans.length,
      `${archived.spans} archived, write-once, in ${archived.segments} ${archived.segments === 1 ? 'segment' : 'segments'}`,
    );
    this.#step(
      report.verdict === 'valid',
      `${report.verdict.toUpperCase()}: ${report.records} records, ${report.size} under a signature of ${report.assurance.signer}`,
    );
    const decided = spans.find(
      ({ span }) => span.attributes['aigov.decision.outcome'] !== undefined,
    );
    if (decided !== undefined) {
      await this.#show(decided.span.traceId);
      await this.#forge(log, decided.record);
    }
    this.#end(decided?.span.traceId);
    if (isJson) {
      const { verdict } = report;
      this.#terminal.data(
        JSON.stringify({
          dir: this.#dir,
          log: report.log,
          calls: run.calls.length,
          sealed: spans.length,
          forwarded: backend.leafOf.size,
          unsampled: unsampled.length,
          verdict,
        }),
      );
    }
    return this.#isGood ? 0 : EXIT_PROBLEM;
  }

  #completeness(
    calls: readonly Call[],
    provider: DemoProvider,
    { report, spans }: SealedLog,
  ): void {
    const has = (name: string) => spans.filter(({ span }) => name in span.attributes);
    const asked = has('gen_ai.provider.name').length;
    const called = count(calls, ({ route }) => route);
    // Numbers without a hole: no call that started is missing.
    const numbers = new Set(spans.map(({ span }) => span.attributes['aigov.sequence']));
    const hasHole = spans.some((_, index) => !numbers.has(index + 1));
    this.#step(
      asked === provider.requestCount &&
        has('aigov.decision.outcome').length === called.get('/precheck') &&
        has('aigov.oversight.act').length === called.get('/review') &&
        !hasHole &&
        numbers.size === spans.length,
      `${spans.length} governed spans sealed, numbered without a hole, in ${report.log}; ` +
        `the provider saw ${provider.requestCount} requests, the log has ${asked}`,
    );
    const ended = count(has('aigov.invocation.completion'), ({ span }) =>
      String(span.attributes['aigov.invocation.completion']),
    );
    this.#say(`    model calls by how they ended: ${listed(ended)}`);
  }

  #forwarding(
    { sampled, unsampled, own }: { sampled: number; unsampled: number; own: number },
    log: SealedLog,
    backend: DemoBackend,
  ): void {
    const isKnown = log.spans.every(
      ({ span, ref, leaf }) => !span.isSampled || backend.leafOf.get(ref) === leaf,
    );
    this.#step(
      isKnown &&
        backend.leafOf.size === sampled &&
        backend.repeatedCount === 0 &&
        backend.otherCount === own,
      `${backend.leafOf.size} forwarded to the backend, each with its place in the log and its leaf hash; ` +
        `it got ${backend.otherCount} other spans from the service itself, as ever`,
    );
    this.#step(
      unsampled > 0,
      `${unsampled} that the service's sampler drops: sealed all the same, and not forwarded`,
    );
  }

  /** One decision, as `show` shows it, without most of its attributes. */
  async #show(traceId: string): Promise<void> {
    const lines: string[] = [];
    const quiet: Terminal = { ...this.#terminal, data: (line) => lines.push(line), note: () => {} };
    const options = { dir: this.#dir, traceId, trustPath: undefined, isJson: false };
    const status = await runShow(options, quiet);
    this.#step(status === 0, `one decision, by the trace id that the backend shows too`);
    for (const line of lines.filter((text) => SHOWN.test(text))) this.#say(`    ${line}`);
  }

  async #forge(log: SealedLog, record: number): Promise<void> {
    const { verdict, findings } = await verifyForgery(log, record);
    const [found] = findings;
    this.#step(
      verdict === 'invalid' && found?.code === 'record.stored',
      `one bit of that record changed in a copy: ${this.#terminal.bold(verdict.toUpperCase())}`,
    );
    for (const { code, where, message } of findings)
      this.#say(`    ${shown(`${code} at ${where}: ${message}`)}`);
  }

  #end(traceId: string | undefined): void {
    this.#say('');
    this.#say(`The log is in ${this.#dir}. Try:`);
    this.#say(`  ${this.#command} verify ${this.#dir}`);
    if (traceId !== undefined) this.#say(`  ${this.#command} show --trace ${traceId} ${this.#dir}`);
  }

  #step(isGood: boolean, text: string): void {
    if (!isGood) this.#isGood = false;
    this.#say(`${isGood ? this.#terminal.good('✓') : this.#terminal.bad('✗')} ${text}`);
  }

  /** Data, unless the data is JSON. */
  #say(line: string): void {
    if (this.#options.isJson) this.#terminal.note(line);
    else this.#terminal.data(line);
  }
}

function listed(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, times]) => `${name} ${times}`).join(', ');
}
