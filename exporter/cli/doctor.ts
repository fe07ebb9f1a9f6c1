// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan doctor`: what would keep calls out of the log, each with its fix, before an auditor finds it. Looks at the
 * machine, the configuration and the packages as they are now; whether a log is whole, `verify` says.
 */
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { type Config, ConfigError, readConfig } from '../node/config/config.ts';
import { openOtlpClient } from '../node/otlp/otlp-client.ts';
import { causeOf } from '../node/system/cause.ts';
import { readSecret } from '../node/system/keys.ts';
import {
  type Finding,
  judgeLast,
  judgeProbe,
  type LastCoverage,
  lastCoverage,
  type PackageRow,
  probePackages,
} from './doctor-packages.ts';
import { EXIT_PROBLEM } from './exit.ts';
import { shownJson, shownLines, type Terminal } from './terminal.ts';
import { findLogs, isLive, requireDirectory } from './verify.ts';

export interface DoctorOptions {
  /** Where logs are; what the configuration says unless given. */
  readonly dir: string | undefined;
  /** Whether the backend may be asked. */
  readonly isOnline: boolean;
  readonly isJson: boolean;
}

/** Packages any of which is, or brings, a tracer provider that spans are recorded by. */
const SDKS = [
  '@opentelemetry/sdk-node',
  '@opentelemetry/sdk-trace-node',
  '@opentelemetry/sdk-trace',
  '@opentelemetry/sdk-trace-base',
];

/** Runs the command; returns the exit status: 1 where there is a problem. */
export async function runDoctor(options: DoctorOptions, terminal: Terminal): Promise<number> {
  const findings: Finding[] = [];
  if (options.dir !== undefined) requireDirectory(options.dir);
  const config = checkConfig(options.dir, findings);
  const folder = process.cwd();
  let packages: readonly PackageRow[] = [];
  if (config !== undefined) {
    checkDirectory(config, findings);
    for (const log of await checkLogs(config, findings))
      findings.push(...judgeLast(log.dir, log.last));
    checkArchive(config, findings);
    await checkBackend(config, options.isOnline, findings);
  }
  terminal.progress(`loading the AI packages installed in ${folder}`);
  const outcome = await probePackages(folder);
  findings.push(...judgeProbe(folder, outcome));
  if (outcome.status === 'ok') {
    packages = outcome.rows.filter(({ state }) => state !== 'not_installed');
  }
  const places = [join(folder, 'package.json'), import.meta.filename];
  findings.push(judgeSdk(places, packages.length > 0));
  const problems = findings.filter(({ status }) => status === 'problem').length;
  if (options.isJson) {
    terminal.data(shownJson({ ok: problems === 0, folder, packages, findings }));
  } else {
    for (const finding of findings) print(finding, terminal);
    const count = problems === 1 ? '1 problem' : `${problems} problems`;
    terminal.note(problems === 0 ? 'no problem was found' : `${count} found`);
  }
  return problems === 0 ? 0 : EXIT_PROBLEM;
}

function print({ check, status, message, fix }: Finding, terminal: Terminal): void {
  const label = status.padEnd(8);
  const painted = status === 'ok' ? terminal.good(label) : terminal.bad(label);
  terminal.data(
    `${status === 'skipped' ? label : painted} ${check.padEnd(9)} ${shownLines(message)}`,
  );
  if (fix !== undefined) terminal.data(`${' '.repeat(19)}fix: ${shownLines(fix)}`);
}

function checkConfig(dir: string | undefined, findings: Finding[]): Config | undefined {
  const check = 'config';
  try {
    const config = readConfig(process.env, { dir });
    const named = process.env.SEALSPAN_CONFIG;
    const path = named || (existsSync('sealspan.yaml') ? 'sealspan.yaml' : undefined);
    const message =
      path === undefined ? 'no sealspan.yaml here: the defaults hold' : `${path} holds`;
    findings.push({ check, status: 'ok', message });
    if (config.failOpen) {
      findings.push({
        check,
        status: 'warning',
        message: 'failOpen is set: where nothing can be sealed, the service runs unaudited',
        fix: 'remove failOpen (SEALSPAN_FAIL_OPEN), unless that is what you decided',
      });
    }
    return config;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const fix = 'correct that setting; README.md, "Configuration", has them all';
    findings.push({ check, status: 'problem', message: error.message, fix });
    return undefined;
  }
}

/** The cause that a directory, or the nearest one there is above it, can not be written; undefined where it can. */
function refusalOf(path: string): string | undefined {
  let nearest = path;
  while (!existsSync(nearest) && dirname(nearest) !== nearest) nearest = dirname(nearest);
  if (!statSync(nearest).isDirectory()) return `${nearest} is no directory`;
  try {
    accessSync(nearest, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return causeOf(error);
  }
}

function checkDirectory({ dir }: Config, findings: Finding[]): void {
  const check = 'directory';
  const cause = refusalOf(dir);
  if (cause === undefined) {
    const message = existsSync(dir) ? `${dir} can be written` : `${dir} can be made`;
    findings.push({ check, status: 'ok', message });
  } else {
    const fix = 'set `dir` (SEALSPAN_DIR) to a place that this user may write';
    findings.push({
      check,
      status: 'problem',
      message: `${dir} can not be written: ${cause}`,
      fix,
    });
  }
}

/** Looks at each log; returns what those that said something of packages said last. */
async function checkLogs(
  config: Config,
  findings: Finding[],
): Promise<{ readonly dir: string; readonly last: LastCoverage }[]> {
  const { dir } = config;
  if (!existsSync(dir) || !statSync(dir).isDirectory()) return [];
  checkSecret('key', join(dir, 'digest.key'), findings);
  const told: { dir: string; last: LastCoverage }[] = [];
  for (const place of findLogs(dir)) {
    const running = isLive(place.dir);
    const message = `${place.dir} ${running ? 'is being written' : 'has no writer now'}`;
    const fix = `run: sealspan verify ${place.dir}`;
    findings.push({ check: 'log', status: 'skipped', message: `${message}; not verified`, fix });
    if (isBeside(config.instance, basename(place.dir))) {
      findings.push({
        check: 'log',
        status: 'warning',
        message: `${place.dir} is named as if begun while another process wrote ${config.instance}`,
        fix: 'give each process an `instance` of its own, or list the key of this log in the trust file as well',
      });
    }
    const keyPath = join(place.dir, 'key.pem');
    if (!checkSecret('key', keyPath, findings) && config.keyPem === undefined) {
      findings.push({
        check: 'key',
        status: 'problem',
        message: `${keyPath} is missing: the log can not be continued without its key`,
        fix: 'put it back, or name it as `keyFile`; or begin a new log in another `dir`',
      });
    }
    const hasSegments = existsSync(join(place.dir, 'segments'));
    const last = hasSegments ? await lastCoverage(place.dir) : undefined;
    if (last !== undefined) told.push({ dir: place.dir, last });
  }
  return told;
}

/** Whether a log was begun beside that of `instance`, under the name that `sealspan/register` gives then. */
function isBeside(instance: string | undefined, name: string): boolean {
  const prefix = `${instance}-`;
  return (
    instance !== undefined &&
    name.startsWith(prefix) &&
    /^(?:[2-9]|[1-9][0-9]{1,3})$/.test(name.slice(prefix.length))
  );
}

/** Whether a secret is there; and kept as one. */
function checkSecret(check: string, path: string, findings: Finding[]): boolean {
  if (!existsSync(path)) return false;
  try {
    readSecret(path);
    findings.push({ check, status: 'ok', message: `${path} is its owner's alone` });
  } catch (error) {
    const fix = `chmod 600 ${path}; and if others may have read it, begin a new log with a new key`;
    findings.push({ check, status: 'problem', message: causeOf(error), fix });
  }
  return true;
}

function checkArchive(config: Config, findings: Finding[]): void {
  const check = 'archive';
  const { archiveDirectory: directory, archiveS3: s3 } = config;
  if (s3 !== undefined) {
    const message = `the bucket ${s3.bucket} was not asked`;
    findings.push({ check, status: 'skipped', message, fix: 'run: sealspan archive test' });
  } else if (directory === undefined) {
    findings.push({
      check,
      status: 'warning',
      message: 'off: with the disk of the log, the log is gone',
      fix: 'set `archive`, best to a bucket with Object Lock',
    });
  } else {
    const cause = refusalOf(directory);
    if (cause === undefined) {
      findings.push({ check, status: 'ok', message: `${directory} can be written` });
    } else {
      const message = `${directory} can not be written: ${cause}`;
      const fix = 'set `archive.directory` to a place that this user may write';
      findings.push({ check, status: 'problem', message, fix });
    }
  }
}

async function checkBackend(config: Config, isOnline: boolean, findings: Finding[]): Promise<void> {
  const check = 'backend';
  const { backend, forwarding } = config;
  if (backend === undefined) {
    const message =
      forwarding === 'through'
        ? "the application's own exporters get what is sealed"
        : 'none: what is sealed is forwarded to nobody';
    findings.push({ check, status: 'ok', message });
    return;
  }
  const fix = 'correct `backend` (or OTEL_EXPORTER_OTLP_*); until then the log keeps what is due';
  try {
    const client = openOtlpClient(backend);
    if (!isOnline) {
      const message = `${client.name} was not asked`;
      findings.push({ check, status: 'skipped', message, fix: 'run: sealspan doctor --online' });
    } else {
      // No span at all, which every receiver of OTLP has to take.
      const outcome = await client.send(new Uint8Array(), 'traces');
      if (outcome.status === 'ok' || outcome.status === 'partial') {
        findings.push({ check, status: 'ok', message: `${client.name} takes traces` });
      } else {
        const message = `${client.name} does not take traces: ${outcome.cause}`;
        findings.push({ check, status: 'problem', message, fix });
      }
    }
    client.close();
  } catch (error) {
    findings.push({ check, status: 'problem', message: causeOf(error), fix });
  }
}

/**
 * Without a tracer provider nothing is recorded, whatever is hooked.
 * @param places files from which modules are looked for, the first that finds one first
 */
export function judgeSdk(places: readonly string[], hasPackages: boolean): Finding {
  const check = 'sdk';
  for (const from of places) {
    for (const name of SDKS) {
      const version = versionOf(name, from);
      if (version === undefined) continue;
      return { check, status: 'ok', message: `${name} ${version} is installed` };
    }
  }
  return {
    check,
    status: hasPackages ? 'problem' : 'warning',
    message: 'no OpenTelemetry SDK is installed here: calls may be hooked, and are not recorded',
    fix: 'npm install @opentelemetry/sdk-node',
  };
}

/** The version that a module at `from` would load. */
function versionOf(name: string, from: string): string | undefined {
  // By folder: packages need not let anybody see their package.json.
  for (const modules of createRequire(from).resolve.paths(name) ?? []) {
    const path = join(modules, name, 'package.json');
    if (!existsSync(path)) continue;
    const { version } = JSON.parse(readFileSync(path, 'utf8')) as { readonly version?: unknown };
    return String(version);
  }
  return undefined;
}
