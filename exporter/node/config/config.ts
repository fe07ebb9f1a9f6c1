// SPDX-License-Identifier: Apache-2.0
/**
 * The one configuration: `sealspan.yaml`, overridden by `SEALSPAN_*`, with the standard `OTEL_*` variables honoured.
 * What it gives back was checked whole; what it refuses it names by path and line, with what was found and expected.
 */
import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, relative, resolve, sep } from 'node:path';
import { isAlias, visit } from 'yaml';
import { z } from 'zod';
import {
  type ConfiguredGovernance,
  configuredGovernanceSchema,
  type Governance,
  type GovernanceMap,
} from '../../../semconv/index.ts';
import { isOrigin } from '../../log/header.ts';
import {
  type OtlpClientConfig,
  type OtlpTls,
  otlpClientConfigFromEnv,
} from '../otlp/otlp-config.ts';
import type { Retention } from '../storage/retention.ts';
import { causeOf } from '../system/cause.ts';
import { readSecret, sha256 } from '../system/keys.ts';
import {
  archiveSchema,
  type RetentionInput,
  retentionSchema,
  type S3ArchiveConfig,
  type S3Input,
  s3ConfigOf,
} from './archive-config.ts';
import { type GatewayInput, type GatewaySettings, gatewaySchema } from './gateway-config.ts';
import { parseYaml, settings } from './settings.ts';

/** What a person wrote that can not be: shown as it is, exit status 2. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const milliseconds = (min: number, max: number) => z.number().int().min(min).max(max);
const name = z
  .string()
  .refine(isOrigin, 'expected lower case letters, digits, dots, dashes, underscores and slashes')
  // A directory archive has a folder for each part, and none that the file system reads as another place.
  .refine(
    (origin) => origin.split('/').every((part) => /^[^.]/.test(part)),
    'expected no part of it to be empty or to begin with a dot',
  );

const backendSchema = settings({
  protocol: z.enum(['grpc', 'http/protobuf']).default('http/protobuf'),
  endpoint: z.string(),
  headers: z.record(z.string(), z.string()).optional(),
  compression: z.enum(['gzip', 'none']).optional(),
  timeoutMs: milliseconds(1, 600_000).optional(),
  tls: settings({
    ca: z.string().optional(),
    cert: z.string().optional(),
    key: z.string().optional(),
    insecure: z.boolean().optional(),
  }).optional(),
});

const schema = settings({
  /** Where log directories are, one for each instance. */
  dir: z.string().min(1).default('./sealspan-log'),
  /** Permanent name of the log, the instance left out. */
  origin: name.optional(),
  instance: z
    .string()
    .regex(
      /^[a-z0-9][a-z0-9_-]{0,63}$/,
      'expected lower case letters, digits, dashes and underscores',
    )
    .optional(),
  /**
   * `group`: durable within `groupCommitMs`. `sync`: durable before a span's end returns. `remote`: no log here; spans are
   * numbered, and go through the application's exporters to a gateway that seals them.
   */
  mode: z.enum(['group', 'sync', 'remote']).default('group'),
  groupCommitMs: milliseconds(0, 10_000).default(10),
  checkpointMs: milliseconds(1, 600_000).default(1000),
  heartbeatMs: milliseconds(100, 86_400_000).default(60_000),
  forwardMs: milliseconds(0, 60_000).default(1000),
  /** File with the signing key (PKCS #8 PEM); without it the log makes one of its own. */
  keyFile: z.string().optional(),
  forwarding: z.enum(['through', 'direct', 'off']).optional(),
  backend: backendSchema.optional(),
  archive: archiveSchema.optional(),
  retention: retentionSchema.prefault({}),
  segment: settings({
    byteLengthMax: z
      .number()
      .int()
      .min(4096)
      .max(128 * 1024 * 1024)
      .default(16 * 1024 * 1024),
    ageMsMax: milliseconds(100, 86_400_000).default(10_000),
  }).prefault({}),
  content: z.enum(['digest', 'omit', 'full']).optional(),
  governance: configuredGovernanceSchema.optional(),
  pendingByteLengthMax: z
    .number()
    .int()
    .min(1024)
    .default(64 * 1024 * 1024),
  /** Start although sealing can not: unaudited, and loud about it. */
  failOpen: z.boolean().default(false),
  gateway: gatewaySchema.optional(),
});

/** What a person may say. Everything has a default. */
export interface ConfigInput {
  /** Where log directories are, one for each instance. `./sealspan-log` unless given. */
  readonly dir?: string | undefined;
  /** Permanent name of the log, the instance left out. Service and host name unless given. */
  readonly origin?: string | undefined;
  /** Name of the log directory below `dir`; the first free number unless given. */
  readonly instance?: string | undefined;
  /**
   * `group` (default): durable within `groupCommitMs`. `sync`: durable before a span's end returns. `remote`: numbered
   * here, sealed by a gateway; only for `sealspan/register`, and `openRemote` by code.
   */
  readonly mode?: 'group' | 'sync' | 'remote' | undefined;
  readonly groupCommitMs?: number | undefined;
  readonly checkpointMs?: number | undefined;
  readonly heartbeatMs?: number | undefined;
  /** How long a sealed span waits at most to share a request to the backend. */
  readonly forwardMs?: number | undefined;
  /** File with the signing key (PKCS #8 PEM); without it the log makes one of its own. */
  readonly keyFile?: string | undefined;
  /** Who else sees governed spans, and when; `direct` where a backend is given, else `through`. */
  readonly forwarding?: 'through' | 'direct' | 'off' | undefined;
  /** Where `direct` forwards to; the standard `OTEL_EXPORTER_OTLP_*` variables unless given. */
  readonly backend?: BackendInput | undefined;
  /** Where finished segments are copied to; `archive` beside the log unless given. */
  readonly archive?: { readonly directory: string } | { readonly s3: S3Input } | 'off' | undefined;
  /** How long records are kept: the lock of an archive in S3, and the local disk. */
  readonly retention?: RetentionInput | undefined;
  readonly segment?:
    | { readonly byteLengthMax?: number | undefined; readonly ageMsMax?: number | undefined }
    | undefined;
  /** What is kept of prompts and answers: keyed digests unless given. */
  readonly content?: 'digest' | 'omit' | 'full' | undefined;
  /** Governance values that hold for the whole process. */
  readonly governance?: ConfiguredGovernance | undefined;
  /** Bytes of spans that may wait for a disk that is away. 64 MiB unless given. */
  readonly pendingByteLengthMax?: number | undefined;
  /** Start although sealing can not: unaudited, and loud about it. */
  readonly failOpen?: boolean | undefined;
  /** Where `sealspan gateway` listens, and what it takes. */
  readonly gateway?: GatewayInput | undefined;
}

export interface BackendInput {
  readonly protocol?: 'grpc' | 'http/protobuf' | undefined;
  readonly endpoint: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly compression?: 'gzip' | 'none' | undefined;
  readonly timeoutMs?: number | undefined;
  readonly tls?: OtlpTls | undefined;
}

/** The configuration in force. */
export interface Config {
  readonly dir: string;
  readonly instance: string | undefined;
  readonly originBase: string;
  readonly originIsChosen: boolean;
  readonly mode: 'group' | 'sync' | 'remote';
  readonly groupCommitMs: number;
  readonly checkpointMs: number;
  readonly heartbeatMs: number;
  readonly forwardMs: number;
  /** Secret. */
  readonly keyPem: string | undefined;
  readonly forwarding: 'through' | 'direct' | 'off';
  readonly backend: OtlpClientConfig | undefined;
  readonly archiveDirectory: string | undefined;
  /** The bucket instead of a directory. */
  readonly archiveS3: S3ArchiveConfig | undefined;
  readonly retention: Retention;
  readonly segment: { readonly byteLengthMax: number; readonly ageMsMax: number };
  readonly content: 'digest' | 'omit' | 'full' | undefined;
  readonly governance: Governance | undefined;
  /** Where further governance values are taken from: attributes that are on spans already. */
  readonly governanceMap: GovernanceMap;
  readonly pendingByteLengthMax: number;
  readonly failOpen: boolean;
  /** Undefined where there is no such section. */
  readonly gateway: GatewaySettings | undefined;
  /** Digest of the configuration in force, without secrets; sealed with `opened`. */
  readonly hash: Uint8Array;
}

type Env = Readonly<Record<string, string | undefined>>;

/** Variables that override single settings, and how their text is read. */
const VARIABLES: readonly (readonly [variable: string, path: string, type: 'text' | 'value'])[] = [
  ['SEALSPAN_DIR', 'dir', 'text'],
  ['SEALSPAN_ORIGIN', 'origin', 'text'],
  ['SEALSPAN_INSTANCE', 'instance', 'text'],
  ['SEALSPAN_MODE', 'mode', 'text'],
  ['SEALSPAN_GROUP_COMMIT_MS', 'groupCommitMs', 'value'],
  ['SEALSPAN_HEARTBEAT_MS', 'heartbeatMs', 'value'],
  ['SEALSPAN_KEY_FILE', 'keyFile', 'text'],
  ['SEALSPAN_FORWARDING', 'forwarding', 'text'],
  ['SEALSPAN_CONTENT', 'content', 'text'],
  ['SEALSPAN_FAIL_OPEN', 'failOpen', 'value'],
];

const REFERENCE = /\$\$|\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}\n]*))?\}|\$\{[^}\n]*\}?/g;

/**
 * `${VAR}`, `${VAR:-default}` and `$$` in a value, as OpenTelemetry's configuration files have them; but a variable that
 * is not there needs a default.
 */
function substitute(text: string, env: Env): string {
  return text.replace(REFERENCE, (found, variable?: string, otherwise?: string) => {
    if (found === '$$') return '$';
    if (variable === undefined)
      throw new ConfigError(`found ${found}, expected \${VAR} or \${VAR:-default}`);
    const value = env[variable] || otherwise;
    // A name that was misspelt must not turn a setting into its default.
    if (value === undefined) {
      throw new ConfigError(
        `${variable} is ${env[variable] === undefined ? 'not set' : 'empty'}, expected a value for ${found}; ` +
          `\${${variable}:-default} says what holds without one`,
      );
    }
    return value;
  });
}

/** A plain scalar has the type that its substituted text would have had in place (`${PORT:-1}` is a number). */
function typedScalar(text: string): string | number | boolean | null {
  if (text === 'true' || text === 'false') return text === 'true';
  if (text === '') return null;
  return /^(?:0|[1-9][0-9]{0,14})$/.test(text) ? Number(text) : text;
}

interface Source {
  readonly value: Record<string, unknown>;
  /** Where a setting stands, for people: `sealspan.yaml:4`, or the variable's name. */
  readonly place: (path: readonly PropertyKey[]) => string;
}

const FILE_BYTE_LENGTH_MAX = 1024 * 1024;
/** What a person mends before they try again; each is looked up in the file. */
const ISSUE_COUNT_MAX = 20;

function readYaml(path: string, env: Env): Source {
  const text = readFileSync(path, 'utf8');
  if (text.length > FILE_BYTE_LENGTH_MAX) throw new ConfigError(`${path}: larger than 1 MiB`);
  const { document, lines, problem } = parseYaml(text);
  if (problem !== undefined) throw new ConfigError(`${path}:${problem.line}: ${problem.message}`);
  visit(document, {
    Scalar: (key, node) => {
      if (key === 'key' || typeof node.value !== 'string' || !node.value.includes('$')) return;
      try {
        const text = substitute(node.value, env);
        node.value = node.type === 'PLAIN' ? typedScalar(text) : text;
      } catch (error) {
        throw new ConfigError(
          `${path}:${lines.linePos(node.range?.[0] ?? 0).line}: ${causeOf(error)}`,
        );
      }
    },
  });
  const value: unknown = document.toJS({ maxAliasCount: 100 }) ?? {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConfigError(
      `${path}:1: found ${Array.isArray(value) ? 'a list' : typeof value}, expected settings`,
    );
  }
  const place = (at: readonly PropertyKey[]): string => {
    for (let length = at.length; length > 0; length--) {
      const node = document.getIn(at.slice(0, length), true);
      const range =
        isAlias(node) || typeof node !== 'object' || node === null || !('range' in node)
          ? undefined
          : node.range;
      if (Array.isArray(range)) return `${path}:${lines.linePos(range[0]).line}`;
    }
    return path;
  };
  return { value: withoutNulls(value) as Record<string, unknown>, place };
}

/** Takes what a person may write as an origin's part out of any text. */
function nameOf(text: string): string {
  return (
    text
      .toLowerCase()
      .replace(/[^a-z0-9._-]+/g, '-')
      .replace(/^[^a-z0-9]+/, '')
      .slice(0, 80) || 'service'
  );
}

function serviceName(env: Env): string {
  const inResource = /(?:^|,)service\.name=([^,]*)/.exec(env.OTEL_RESOURCE_ATTRIBUTES ?? '')?.[1];
  return env.OTEL_SERVICE_NAME || inResource || 'service';
}

/** A setting without a value is a setting that was not given. */
function withoutNulls(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null)
      .map(([key, item]) => [key, withoutNulls(item)]),
  );
}

const SHOWN_LENGTH_MAX = 100;

/** What was found at `path`, in words. Of headers the type alone: they may hold credentials. */
function found(input: unknown, path: readonly PropertyKey[]): string {
  let value = input;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | undefined)?.[key];
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'settings';
  return path.includes('headers') ? typeof value : JSON.stringify(value).slice(0, SHOWN_LENGTH_MAX);
}

/**
 * Reads the configuration. `overrides` are what a program gives; they win over variables, and those over the file.
 * The file is `SEALSPAN_CONFIG`, or `sealspan.yaml` in the working directory if it is there.
 * @throws ConfigError naming path, line, what was found and what was expected
 */
export function readConfig(env: Env, overrides: ConfigInput = {}): Config {
  const path = env.SEALSPAN_CONFIG || (existsSync('sealspan.yaml') ? 'sealspan.yaml' : undefined);
  let file: Source = { value: {}, place: () => 'configuration' };
  if (path !== undefined) {
    try {
      file = readYaml(path, env);
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      throw new ConfigError(`${path}: ${causeOf(error)}`, { cause: error });
    }
  }
  const input: Record<string, unknown> = { ...file.value };
  const places = new Map<string, string>();
  for (const [variable, setting, type] of VARIABLES) {
    const text = env[variable];
    if (text === undefined || text === '') continue;
    input[setting] = type === 'text' ? text : typedScalar(text);
    places.set(setting, variable);
  }
  for (const [setting, value] of Object.entries(overrides)) {
    if (value === undefined) continue;
    input[setting] = value;
    places.set(setting, 'options');
  }
  const parsed = schema.safeParse(input);
  if (!parsed.success) {
    const { issues } = parsed.error;
    const lines = issues.slice(0, ISSUE_COUNT_MAX).map((issue) => {
      const unknown = issue.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [];
      const at = [...issue.path, ...unknown];
      const place = places.get(String(at[0])) ?? file.place(at);
      return `${place}: ${at.join('.')}: found ${found(input, at)}, ${issue.message}`;
    });
    if (issues.length > lines.length) lines.push(`and ${issues.length - lines.length} more`);
    throw new ConfigError(lines.join('\n'));
  }
  return complete(parsed.data, env);
}

function backendOf(env: Env): OtlpClientConfig {
  try {
    return otlpClientConfigFromEnv(env, 'traces');
  } catch (error) {
    throw new ConfigError(causeOf(error));
  }
}

function complete(settings: z.output<typeof schema>, env: Env): Config {
  // The standard variables tell where to; that sealspan forwards at all is for the person to say.
  const backend =
    (settings.backend as OtlpClientConfig | undefined) ??
    (settings.forwarding === 'direct' ? backendOf(env) : undefined);
  const forwarding = settings.forwarding ?? (backend === undefined ? 'through' : 'direct');
  if (settings.mode === 'remote' && forwarding !== 'through') {
    throw new ConfigError(
      'mode: found "remote" beside a `backend` or `forwarding`, expected neither: without a log here spans go through the ' +
        "application's own exporters, to the gateway",
    );
  }
  let keyPem = env.SEALSPAN_KEY || undefined;
  if (settings.keyFile !== undefined) {
    try {
      keyPem = readSecret(settings.keyFile);
    } catch (error) {
      throw new ConfigError(`keyFile: ${causeOf(error)}`);
    }
  }
  // Headers may hold credentials; nothing else in here is secret.
  const digested = JSON.stringify({ ...settings, backend: backend?.endpoint });
  const dir = resolve(settings.dir);
  const archiveDirectory = archiveDirectoryOf(settings.archive, dir, settings.instance);
  const { archive, retention } = settings;
  if (
    retention.localDays !== undefined &&
    archiveDirectory === undefined &&
    archive?.s3 === undefined
  ) {
    throw new ConfigError(
      `retention.localDays: found ${retention.localDays}, expected none without an \`archive\`: nothing is removed that no archive has`,
    );
  }
  const { map: governanceMap = {}, ...governance } = settings.governance ?? {};
  return {
    dir,
    instance: settings.instance,
    originBase: settings.origin ?? `${nameOf(serviceName(env))}/${nameOf(hostname())}`,
    originIsChosen: settings.origin !== undefined,
    mode: settings.mode,
    groupCommitMs: settings.groupCommitMs,
    checkpointMs: settings.checkpointMs,
    heartbeatMs: settings.heartbeatMs,
    forwardMs: settings.forwardMs,
    keyPem,
    forwarding,
    backend: forwarding === 'direct' ? backend : undefined,
    archiveDirectory,
    archiveS3: archive?.s3 && s3ConfigOf(archive.s3, retention),
    retention,
    segment: settings.segment,
    content: settings.content,
    governance: settings.governance && governance,
    governanceMap,
    pendingByteLengthMax: settings.pendingByteLengthMax,
    failOpen: settings.failOpen,
    gateway: settings.gateway,
    hash: sha256(new TextEncoder().encode(digested)),
  };
}

/**
 * Beside the log unless somebody says otherwise.
 * @throws ConfigError where that is inside a log directory, where the log's own files are
 */
function archiveDirectoryOf(
  archive: z.infer<typeof archiveSchema> | undefined,
  dir: string,
  instance: string | undefined,
): string | undefined {
  const given = archive === undefined ? join(dir, 'archive') : archive.directory;
  if (typeof given !== 'string') return undefined;
  const directory = resolve(given);
  const [first = ''] = relative(dir, directory).split(sep);
  // Numbers are for whoever has no name, and `name-2` is for a second process of that name.
  const isLog =
    /^(?:0|[1-9][0-9]{0,3})$/.test(first) ||
    (instance !== undefined && first.replace(/-[0-9]{1,4}$/, '') === instance) ||
    first === instance ||
    (first !== '' && first !== '..' && existsSync(join(dir, first, 'verifier')));
  if (!isLog) return directory;
  throw new ConfigError(
    archive === undefined
      ? `instance: found "${instance}", which is also the directory of the archive (${directory}); give the instance ` +
          'another name, or set `archive`'
      : `archive.directory: found ${JSON.stringify(given)}, expected a directory outside of the log directory ` +
          `${join(dir, first)}`,
  );
}
