// SPDX-License-Identifier: Apache-2.0
/**
 * `node --import sealspan/register app.js`: audit without touching the application's code. Joins whatever provider the
 * application registers, hooks the AI packages it loads, and stops the process rather than let it run unaudited.
 * Registers no OpenTelemetry global of its own while the application may still bring one.
 */
import { mkdirSync, realpathSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import {
  type AttachOutcome,
  type Audit,
  type AuditHooks,
  attach,
  type Config,
  ConfigError,
  type CoverageState,
  joinAudit,
  openAuditWith,
  openDigestKey,
  openRemote,
  type Registration,
  type Remote,
  readConfig,
  StartError,
  watchRegistration,
} from '../exporter/node/index.ts';
import { stampGovernance } from './governance.ts';
import { coverage, watchCoverage } from './hooks.ts';
import { installHooks } from './install-hooks.ts';
import { configureInstrumentation } from './settings.ts';

const EXIT_CONFIG = 2;
const EXIT_IO = 5;
const STDERR = 2;
const REGISTERED = Symbol.for('sealspan.register');
const INSTANCE_COUNT_MAX = 1024;
const COVERAGE_DELAY_MS = 250;
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** Package managers run under the same NODE_OPTIONS as the service that they start; they make no decisions. */
const PACKAGE_MANAGERS: ReadonlySet<string> = new Set([
  'npm',
  'npm-cli.js',
  'npx',
  'npx-cli.js',
  'corepack',
  'corepack.js',
  'yarn',
  'yarn.js',
  'pnpm',
  'pnpm.cjs',
]);

function tell(text: string): void {
  try {
    // Not by the stream, which is the application's to replace, and in a worker thread late.
    writeSync(STDERR, `sealspan: ${text}\n`);
  } catch {
    // Nobody is there to read it.
  }
}

/** Ends the process, or goes on unaudited where somebody said so, and says so each time. */
function stop(error: unknown, failOpen: boolean): void {
  const text = error instanceof Error ? error.message : String(error);
  if (failOpen) {
    tell(`${text}\nsealspan: RUNNING UNAUDITED because failOpen is set`);
    return;
  }
  // What a file says counts once all of it can be.
  const wayOut = error instanceof ConfigError ? 'SEALSPAN_FAIL_OPEN=true' : 'failOpen: true';
  tell(`${text}\nsealspan: not started, so that nothing runs unaudited (${wayOut} would start it)`);
  process.exit(error instanceof ConfigError ? EXIT_CONFIG : EXIT_IO);
}

const HOOKS: AuditHooks = {
  onGovernedStart: stampGovernance,
  coverage: coverageStates,
  onReport: (code, message) => tell(`${code}: ${message}`),
};

/** What is installed, and whether it is hooked. */
function coverageStates(): CoverageState[] {
  return coverage()
    .filter(({ status }) => status !== 'not_installed')
    .map(({ target, version, status, detail }) => ({
      target,
      state: status,
      ...(version !== undefined && { version }),
      ...(detail !== undefined && { detail }),
    }));
}

/**
 * Has the coverage sealed once the application has loaded what it starts with, and a while after each change: packages
 * are loaded file by file. What changes in the last moment the audit asks for itself.
 */
function sealCoverage(audit: Audit): void {
  let isScheduled = false;
  const schedule = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    setTimeout(() => {
      isScheduled = false;
      audit.noteCoverage();
    }, COVERAGE_DELAY_MS).unref();
  };
  watchCoverage(schedule);
  schedule();
}

/** The audit of this process. A process that was started beside or by another of the same configuration has its own log. */
function openProcessAudit(config: Config): Audit {
  const { instance } = config;
  for (let number = 1; ; number++) {
    // As a configuration without an instance takes the first number that is free.
    const own = instance === undefined || number === 1 ? instance : `${instance}-${number}`;
    try {
      const audit = openAuditWith({ ...config, instance: own }, HOOKS);
      if (number > 1) {
        tell(
          `${instance} is written by another process, this one writes ${own}: ${audit.logDirectory}`,
        );
      }
      return audit;
    } catch (error) {
      const isTaken = error instanceof StartError && error.code === 'locked';
      if (!isTaken || instance === undefined || number === INSTANCE_COUNT_MAX) throw error;
    }
  }
}

function tellKey({ keyCreated, logDirectory, vkey }: Audit): void {
  if (!keyCreated) return;
  tell(
    `made a signing key beside the log (${join(logDirectory, 'key.pem')}). Whoever can write there can sign; ` +
      `hand this line to those who verify: ${vkey}`,
  );
}

/** No provider when the first governed call starts: ours, over the SDK that the application or sealspan has. */
function bringProvider(config: Config, registration: Registration): void {
  if (registration.isRegistered()) return;
  const sdk = loadSdk();
  if (sdk === undefined) {
    tell(
      'no OpenTelemetry SDK is registered, and @opentelemetry/sdk-node is not installed: calls are NOT recorded. ' +
        'Run: npm install @opentelemetry/sdk-node',
    );
    return;
  }
  const { OTEL_TRACES_EXPORTER: exporter, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = process.env;
  const wantsExporters =
    config.forwarding !== 'direct' &&
    exporter !== 'none' &&
    Boolean(exporter || endpoint || process.env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT);
  // With no processor at all the SDK would register nothing to attach to.
  const settings = wantsExporters ? {} : { spanProcessors: [NO_PROCESSOR] };
  registration.registerReplaceable(() => {
    withoutOtherSignals(() => {
      // Propagation is the application's to choose: an SDK that it registers later finds the place free.
      new sdk.NodeSDK({ ...settings, instrumentations: [], textMapPropagator: null }).start();
    });
  });
  if (!registration.isRegistered()) {
    tell('the OpenTelemetry SDK did not start (OTEL_SDK_DISABLED?): calls are NOT recorded');
  }
}

/** Logs and metrics are none of ours: left to itself the SDK would take their places and look for a backend to send them to. */
function withoutOtherSignals(work: () => void): void {
  const names = ['OTEL_LOGS_EXPORTER', 'OTEL_METRICS_EXPORTER'] as const;
  const before = names.map((name) => process.env[name]);
  for (const name of names) process.env[name] = 'none';
  try {
    work();
  } finally {
    for (const [at, name] of names.entries()) {
      const value = before[at];
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

const NO_PROCESSOR = {
  onStart: () => {},
  onEnd: () => {},
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};

interface NodeSdkModule {
  readonly NodeSDK: new (settings: object) => { start(): void };
}

function loadSdk(): NodeSdkModule | undefined {
  // The application's copy first: two copies of the API do not see each other's spans.
  for (const from of [process.argv[1], import.meta.url]) {
    if (from === undefined) continue;
    try {
      return createRequire(from)('@opentelemetry/sdk-node') as NodeSdkModule;
    } catch {
      // Not installed there; the caller says so if it is nowhere.
    }
  }
  return undefined;
}

/**
 * Drains on every way out that lets us: natural end, and signals if nobody else handles them. `process.exit` and an error
 * that nobody caught the audit hears of itself. A worker thread waits for its own spans, and leaves the rest to the main one.
 */
function drainAtEnd(audit: Audit): void {
  onNaturalEnd(
    () => audit.capture.stats().ended,
    () => (isMainThread ? audit.flushAtEnd() : audit.capture.flush()),
  );
  if (isMainThread) onLoneSignal(() => audit.closeSync());
}

/** Once for what there is: a flush keeps the loop going, and its end is announced again. */
function onNaturalEnd(endedCount: () => number, flush: () => Promise<unknown>): void {
  let flushedCount = -1;
  process.on('beforeExit', () => {
    const ended = endedCount();
    if (ended === flushedCount) return;
    flushedCount = ended;
    void flush();
  });
}

/** Ends the process as the signal would have without us, once `end` is done. */
function onLoneSignal(end: () => void | Promise<void>): void {
  for (const signal of SIGNALS) {
    const onSignal = (): void => {
      if (process.listenerCount(signal) > 1) return;
      const goOn = (): void => {
        process.removeListener(signal, onSignal);
        process.kill(process.pid, signal);
      };
      const ending = end();
      if (ending === undefined) goOn();
      else void ending.then(goOn);
    };
    // Before all others: one of them that listens once is not counted any more when it has been called.
    process.prependListener(signal, onSignal);
  }
}

function start(audit: Audit): void {
  instrument(audit.config, (provider) => attach(provider, audit.capture));
  sealCoverage(audit);
  drainAtEnd(audit);
}

/** Without a log of its own: numbers for whoever verifies the gateway's. */
function startRemote(config: Config): void {
  const remote: Remote = openRemote({
    heartbeatMs: config.heartbeatMs,
    onGovernedStart: stampGovernance,
  });
  // For the key of digests alone.
  mkdirSync(config.dir, { recursive: true, mode: 0o700 });
  instrument(config, (provider) => remote.attach(provider));
  onNaturalEnd(
    () => remote.endedCount,
    () => remote.close(),
  );
  if (isMainThread) onLoneSignal(() => remote.close());
}

/** Hooks the AI packages, and lets `join` have each provider that is registered. */
function instrument(config: Config, attachTo: (provider: unknown) => AttachOutcome): void {
  const registration = watchRegistration((provider) => {
    const outcome = attachTo(provider);
    if (outcome.status === 'refused') {
      tell(`spans of this provider are NOT recorded: ${outcome.reason}`);
    }
  });
  configureInstrumentation({
    ...(config.content === undefined ? {} : { content: { policy: config.content } }),
    ...(config.governance === undefined ? {} : { governance: config.governance }),
    governanceMap: config.governanceMap,
    digestKey: openDigestKey(join(config.dir, 'digest.key')),
    onFirstSpan: () => bringProvider(config, registration),
  });
  installHooks();
}

/** Whether the program is a package manager, or our own command, which reads logs and writes none. */
function isTool(program: string | undefined): boolean {
  if (program === undefined) return false;
  if (PACKAGE_MANAGERS.has(basename(program))) return true;
  const command = /^(.*)instrumentation\/register\.[jt]s$/.exec(fileURLToPath(import.meta.url));
  try {
    return realpathSync(program).startsWith(`${command?.[1]}exporter/cli/main.`);
  } catch {
    // No such file: Node will say so.
    return false;
  }
}

function register(): void {
  const place = globalThis as Record<symbol, unknown>;
  if (place[REGISTERED] || isTool(process.argv[1])) return;
  place[REGISTERED] = true;
  let failOpen = process.env.SEALSPAN_FAIL_OPEN === 'true';
  try {
    const joined = joinAudit(HOOKS);
    if (joined !== undefined) {
      start(joined);
      return;
    }
    const config = readConfig(process.env);
    ({ failOpen } = config);
    if (config.mode === 'remote') {
      startRemote(config);
      return;
    }
    const audit = openProcessAudit(config);
    tellKey(audit);
    start(audit);
  } catch (error) {
    stop(error, failOpen);
  }
}

register();
