// SPDX-License-Identifier: Apache-2.0
/**
 * `node --import sealspan/register app.js`: audit without touching the application's code. Joins whatever provider the
 * application registers, hooks the AI packages it loads, and stops the process rather than let it run unaudited.
 * Registers no OpenTelemetry global of its own while the application may still bring one.
 */
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import {
  type Audit,
  attach,
  type Config,
  ConfigError,
  openAuditWith,
  openDigestKey,
  type Registration,
  readConfig,
  watchRegistration,
} from '../exporter/node/index.ts';
import { stampGovernance } from './governance.ts';
import { installHooks } from './hooks.ts';
import { configureInstrumentation } from './settings.ts';

const EXIT_CONFIG = 2;
const EXIT_IO = 5;
const REGISTERED = Symbol.for('sealspan.register');

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
  process.stderr.write(`sealspan: ${text}\n`);
}

/** Ends the process, or goes on unaudited where somebody said so, and says so each time. */
function stop(error: unknown, failOpen: boolean): void {
  const text = error instanceof Error ? error.message : String(error);
  if (failOpen) {
    tell(`${text}\nsealspan: RUNNING UNAUDITED because failOpen is set`);
    return;
  }
  tell(
    `${text}\nsealspan: not started, so that nothing runs unaudited (failOpen: true would start it)`,
  );
  process.exit(error instanceof ConfigError ? EXIT_CONFIG : EXIT_IO);
}

function start(config: Config): Audit {
  const audit = openAuditWith(config, {
    onGovernedStart: stampGovernance,
    onReport: (code, message) => tell(`${code}: ${message}`),
  });
  if (audit.keyCreated) {
    tell(
      `made a signing key beside the log (${join(audit.logDirectory, 'key.pem')}). Whoever can write there can sign; ` +
        `hand this line to those who verify: ${audit.vkey}`,
    );
  }
  return audit;
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
  const wantsExporters =
    config.forwarding !== 'direct' &&
    Boolean(process.env.OTEL_TRACES_EXPORTER || process.env.OTEL_EXPORTER_OTLP_ENDPOINT);
  // With no processor at all the SDK would register nothing to attach to.
  const settings = wantsExporters ? {} : { spanProcessors: [NO_PROCESSOR] };
  registration.registerReplaceable(() => {
    // Propagation is the application's to choose: an SDK that it registers later finds the place free.
    new sdk.NodeSDK({ ...settings, instrumentations: [], textMapPropagator: null }).start();
  });
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

/** Drains on every way out that lets us: natural end, `process.exit`, an error, and SIGTERM if nobody else handles it. */
function drainAtEnd(audit: Audit): void {
  let isFlushed = false;
  process.on('beforeExit', () => {
    if (isFlushed) return;
    isFlushed = true;
    void audit.shutdown();
  });
  const onSigterm = (): void => {
    if (process.listenerCount('SIGTERM') > 1) return;
    audit.closeSync();
    process.removeListener('SIGTERM', onSigterm);
    // What would have happened without us.
    process.kill(process.pid, 'SIGTERM');
  };
  process.on('SIGTERM', onSigterm);
}

function register(): void {
  const place = globalThis as Record<symbol, unknown>;
  if (place[REGISTERED] || PACKAGE_MANAGERS.has(basename(process.argv[1] ?? ''))) return;
  place[REGISTERED] = true;
  let config: Config;
  try {
    config = readConfig(process.env);
  } catch (error) {
    stop(error, process.env.SEALSPAN_FAIL_OPEN === 'true');
    return;
  }
  try {
    const audit = start(config);
    const registration = watchRegistration((provider) => {
      const outcome = attach(provider, audit.capture);
      if (outcome.status === 'refused')
        tell(`spans of this provider are NOT recorded: ${outcome.reason}`);
    });
    configureInstrumentation({
      ...(config.content === undefined ? {} : { content: { policy: config.content } }),
      ...(config.governance === undefined ? {} : { governance: config.governance }),
      digestKey: openDigestKey(join(config.dir, 'digest.key')),
      onFirstSpan: () => bringProvider(config, registration),
    });
    installHooks();
    drainAtEnd(audit);
  } catch (error) {
    stop(error, config.failOpen);
  }
}

register();
