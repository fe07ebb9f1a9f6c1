// SPDX-License-Identifier: Apache-2.0
/**
 * The `sealspan` command: parses the line, loads and runs one command, and sets the exit status of DESIGN's table. Data goes
 * to stdout, everything else to stderr.
 */
import { availableParallelism } from 'node:os';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { MissingPackageError } from '../node/archive/s3-store.ts';
import { ConfigError, readConfig } from '../node/config/config.ts';
import { causeOf } from '../node/system/cause.ts';
import { VERSION } from '../node/system/version.ts';
import type { TimeRange } from '../node/verifying/instances.ts';
import { type BackendReader, fileReader, jaegerReader, tempoReader } from './backend-reader.ts';
import { parseTime } from './completeness.ts';
import { EXIT_IO, EXIT_USAGE } from './exit.ts';
import { openTerminal, shownLines, type Terminal } from './terminal.ts';

type Values = Readonly<Record<string, string | boolean | undefined>>;

interface Command {
  readonly summary: string;
  readonly help: string;
  readonly options: NonNullable<ParseArgsConfig['options']>;
  /** Words that it takes beside its options, at most: one more must not be passed over as if it had been looked at. */
  readonly wordCount: number;
  readonly run: (
    values: Values,
    positionals: readonly string[],
    terminal: Terminal,
  ) => Promise<number>;
}

class UsageError extends Error {}

function text(values: Values, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

function required(values: Values, name: string, example: string): string {
  const value = text(values, name);
  if (value === undefined) throw new UsageError(`--${name} is missing; for example ${example}`);
  return value;
}

/** A time in the spelling of records; undefined where none is asked for. */
function time(values: Values, name: string): string | undefined {
  const value = text(values, name);
  const parsed = value === undefined ? undefined : parseTime(value);
  if (value !== undefined && parsed === undefined) {
    throw new UsageError(`--${name}: '${value}' is no time such as 2026-11-23T10:00:00Z`);
  }
  return parsed;
}

function rangeOf(values: Values): TimeRange {
  const range = { from: time(values, 'from'), to: time(values, 'to') };
  if ((range.from ?? '') > (range.to ?? '~')) throw new UsageError('--from is behind --to');
  return range;
}

const THREAD_COUNT_MAX = 256;

function threadCountOf(values: Values): number {
  const cores = Math.min(availableParallelism(), THREAD_COUNT_MAX);
  const count = Number(text(values, 'threads') ?? cores);
  if (Number.isInteger(count) && count >= 1 && count <= THREAD_COUNT_MAX) return count;
  throw new UsageError(
    `--threads: ${text(values, 'threads')} is no integer of 1 to ${THREAD_COUNT_MAX}`,
  );
}

/** The one backend that is named. */
function readerOf(values: Values): BackendReader {
  const given = (['jaeger', 'tempo', 'otlp'] as const).filter((name) => values[name] !== undefined);
  const [kind] = given;
  if (kind === undefined || given.length > 1) {
    throw new UsageError('expected one of --jaeger URL, --tempo URL, --otlp FILE');
  }
  const place = required(values, kind, '');
  if (kind === 'otlp') return fileReader(place);
  if (!/^https?:/.test(place) || !URL.canParse(place)) {
    throw new UsageError(`--${kind}: '${place}' is no http or https URL`);
  }
  return (kind === 'jaeger' ? jaegerReader : tempoReader)(new URL(place));
}

const DEFAULT_DIR = './sealspan-log';

/** Where the service that is configured here writes its logs. */
function configuredDir(): string {
  return readConfig(process.env).dir;
}

const TRACE_ID = /^[0-9a-f]{32}$/;

const COMMANDS: Readonly<Record<string, Command>> = {
  verify: {
    wordCount: 1,
    summary: 'say whether a log is whole and unchanged',
    help: `sealspan verify [DIR | s3://BUCKET/PREFIX] [--trust FILE] [--from TIME] [--to TIME] [--threads N] [--json]

Verifies every log in or below DIR (default: \`dir\` of sealspan.yaml, or ${DEFAULT_DIR}): each byte of each record, every link, the signatures.
Without --trust the key beside the log is used, and the verdict says so: self-attested. Of an archive in S3 also all
versions, delete markers and locks; its keys come from the trust file alone. Of each process that made calls, also of those
whose spans a gateway sealed, it says whether all its numbers arrived, and names those that did not.

  --trust FILE   your trust file: logs expected, their keys, the last heads seen, kept up to date
  --from, --to   ask of a range of time (RFC 3339) whether it is complete; all bytes are verified anyway
  --endpoint URL --region NAME --path-style   where the bucket is, unless the AWS variables say so
  --threads N    check records on so many threads (default: as many as there are cores); the report is the same
  --json         one JSON object on stdout

exit 0 valid, 1 invalid, 2 usage, 3 incomplete, 4 unverifiable, 5 the outside world failed: no log could be read, or
the trust file not written (the verdict is printed before)

example: sealspan verify ./sealspan-log --trust ~/sealspan-trust.yaml --from 2026-11-01T00:00:00Z`,
    options: {
      trust: { type: 'string' },
      from: { type: 'string' },
      to: { type: 'string' },
      threads: { type: 'string' },
      endpoint: { type: 'string' },
      region: { type: 'string' },
      'path-style': { type: 'boolean' },
    },
    run: async (values, [dir = configuredDir()], terminal) => {
      const how = {
        trustPath: text(values, 'trust'),
        threadCount: threadCountOf(values),
        isJson: values.json === true,
      };
      const range = rangeOf(values);
      if (!dir.startsWith('s3://')) {
        const { runVerify } = await import('./verify.ts');
        return runVerify({ dir, range, ...how }, terminal);
      }
      const where = {
        url: dir,
        endpoint: text(values, 'endpoint'),
        region: text(values, 'region'),
        pathStyle: values['path-style'] === true,
      };
      const { runVerifyArchive } = await import('./verify-archive.ts');
      return runVerifyArchive({ ...where, range, ...how }, terminal);
    },
  },
  reconcile: {
    wordCount: 1,
    summary: 'say what the log and a backend do not both have',
    help: `sealspan reconcile [DIR] --jaeger URL | --tempo URL | --otlp FILE [--trust FILE] [--json]

Compares the sealed spans of all logs in or below DIR (default: \`dir\` of sealspan.yaml, or ${DEFAULT_DIR}) with those of a backend, by their ids and
both ways: what is sealed and not there, and what is there, is governed, and was never sealed. What sampling accounts for
is counted apart. Reads only.

  --jaeger URL   Jaeger's HTTP query API, such as http://localhost:16686
  --tempo URL    Tempo's HTTP API, such as http://localhost:3200
  --otlp FILE    lines of OTLP-JSON, as the Collector's file exporter writes them
  --keeps PERCENT   how many of the traces a sampler before the backend keeps (default 100)
  --from, --to   what was sealed then (RFC 3339); ask about no more than the backend still has
  --trust FILE   as in verify
  --json         one JSON object on stdout: agrees, verdict, sealed, found, explained, traces, counts, differences

exit 0 nothing is unexplained, 3 something is, 1 and 4 as verify for the log, 2 usage, 5 the backend did not answer

example: sealspan reconcile ./sealspan-log --jaeger http://localhost:16686 --keeps 10`,
    options: {
      jaeger: { type: 'string' },
      tempo: { type: 'string' },
      otlp: { type: 'string' },
      keeps: { type: 'string' },
      from: { type: 'string' },
      to: { type: 'string' },
      trust: { type: 'string' },
    },
    run: async (values, [dir = configuredDir()], terminal) => {
      const keeps = Number(text(values, 'keeps') ?? '100');
      if (!(keeps >= 0 && keeps <= 100)) {
        throw new UsageError(`--keeps: ${text(values, 'keeps')} is no number of 0 to 100`);
      }
      const { runReconcile } = await import('./reconcile.ts');
      return runReconcile(
        readerOf(values),
        {
          dir,
          trustPath: text(values, 'trust'),
          range: rangeOf(values),
          keeps: keeps / 100,
          isJson: values.json === true,
        },
        terminal,
      );
    },
  },
  recover: {
    wordCount: 0,
    summary: 'succeed a log whose disk is lost or older than its archive',
    help: `sealspan recover --instance NAME [--log ORIGIN] [--json]

Ends the log in directory NAME below \`dir\` of sealspan.yaml and opens its successor: ORIGIN.2 with a key of its own. Its
first record names the head that the archive has; what the old disk holds without a signature is sealed again. The old
directory is kept, under another name. Prints the public line of the new key for trust files.

  --instance NAME   the directory, as in the settings; 0 where nothing else was said
  --log ORIGIN      the log that ends, where its directory is gone
  --json            one JSON object on stdout

example: sealspan recover --instance 0`,
    options: { instance: { type: 'string' }, log: { type: 'string' } },
    run: async (values, _positionals, terminal) =>
      (await import('./recover.ts')).runRecover(
        {
          instance: text(values, 'instance'),
          origin: text(values, 'log'),
          isJson: values.json === true,
        },
        terminal,
      ),
  },
  archive: {
    wordCount: 1,
    summary: 'test whether a bucket can hold an archive, and print the policies for it',
    help: `sealspan archive test [--json]

Tests the bucket of \`archive.s3\` in sealspan.yaml by doing: Object Lock, versions, conditional puts 32 at once, refusal
to delete and to shorten, clock. Prints what is missing, and the policies for bucket, writers and auditors.
Leaves some small objects below sealspan-archive-test/, locked as long as records are.

  --json         one JSON object on stdout

exit 0 fit, 1 something is missing, 2 usage, 4 something can not be told with these credentials, 5 no answer

example: sealspan archive test`,
    options: {},
    run: async (values, positionals, terminal) => {
      if (positionals.join(' ') !== 'test') throw new UsageError('expected: sealspan archive test');
      const { runArchiveTest } = await import('./archive.ts');
      return runArchiveTest({ isJson: values.json === true }, terminal);
    },
  },
  hold: {
    wordCount: 2,
    summary: 'place or release a legal hold, sealed in the log and put on all that is archived',
    help: `sealspan hold place|release|list [DIR] [--id NAME] [--by WHO] [--json]

Asks the writer of every log in or below DIR (default: \`dir\` of sealspan.yaml, or ${DEFAULT_DIR}) to seal that a hold is placed or released. While one
is on, nothing is removed from the local disk, and everything in an archive in S3 is under a legal hold, which lasts
until it is released, whatever the retention. A writer that runs does it within seconds, another when it starts.

  --id NAME      which hold, such as the number of a case; several may be on at once
  --by WHO       who asks; it is sealed, so name no person
  --json         one JSON object on stdout: logs[] with dir, isLive, holds[], pending[]

example: sealspan hold place --id case-4711 --by legal ./sealspan-log`,
    options: { id: { type: 'string' }, by: { type: 'string' } },
    run: async (values, [action = '', dir = configuredDir()], terminal) => {
      const known = { place: 'placed', release: 'released', list: undefined } as const;
      if (!Object.hasOwn(known, action)) {
        throw new UsageError('expected: sealspan hold place, release or list');
      }
      const asked = known[action as keyof typeof known];
      const request = asked && {
        action: asked,
        id: required(values, 'id', '--id case-4711'),
        by: text(values, 'by'),
      };
      const { runHold } = await import('./hold.ts');
      return runHold({ dir, request, isJson: values.json === true }, terminal);
    },
  },
  show: {
    wordCount: 1,
    summary: 'print the sealed spans of one trace',
    help: `sealspan show --trace ID [DIR] [--trust FILE] [--full] [--raw] [--json]

Prints the sealed spans of a trace with the place each is sealed at, after verifying the log they are in: in the names
of OpenTelemetry, whatever convention wrote them. Spans of two instrumentations that tell of one call count as one.

Of a log of 1 MiB or more it reads what an index beside it lists (DIR/index, made on first use), and verifies that: the
verdict is that of those records. Whoever can write there can hide records from the index, and can not change them unseen.

  --trace ID     32 hexadecimal digits, as every tracing backend shows them
  --trust FILE   as in verify
  --full         read and verify the whole log, use no index, write nothing
  --raw          names and values as they are sealed
  --json         one JSON object on stdout: trace, verdict, scope (log, or records), calls, spans[] with attributes as
                 sealed, and normalised

exit as verify; 4 where the trace is not in the log, or not in its index

example: sealspan show --trace 4bf92f3577b34da6a3ce929d0e0e4736 ./sealspan-log`,
    options: {
      trace: { type: 'string' },
      trust: { type: 'string' },
      full: { type: 'boolean' },
      raw: { type: 'boolean' },
    },
    run: async (values, [dir = configuredDir()], terminal) => {
      const traceId = required(
        values,
        'trace',
        '--trace 4bf92f3577b34da6a3ce929d0e0e4736',
      ).toLowerCase();
      if (!TRACE_ID.test(traceId))
        throw new UsageError(`--trace: '${traceId}' is not 32 hexadecimal digits`);
      const { runShow } = await import('./show.ts');
      return runShow(
        {
          dir,
          traceId,
          trustPath: text(values, 'trust'),
          isFull: values.full === true,
          isRaw: values.raw === true,
          isJson: values.json === true,
        },
        terminal,
      );
    },
  },
  keygen: {
    wordCount: 0,
    summary: 'make the signing key of one log',
    help: `sealspan keygen --origin NAME --out FILE [--json]

Makes an Ed25519 key for the log NAME, writes the private part to FILE (mode 0600, never over another file), and
prints the public line for trust files. One key signs one log, for life.

example: sealspan keygen --origin payments/prod/0 --out /etc/sealspan/payments-0.pem`,
    options: { origin: { type: 'string' }, out: { type: 'string' } },
    run: async (values, _positionals, terminal) =>
      (await import('./keygen.ts')).runKeygen(
        {
          origin: required(values, 'origin', '--origin payments/prod/0'),
          path: required(values, 'out', '--out sealspan-key.pem'),
          isJson: values.json === true,
        },
        terminal,
      ),
  },
  gateway: {
    wordCount: 0,
    summary: 'seal what Collectors and applications send by OTLP',
    help: `sealspan gateway [--config FILE] [--json]

Listens for OTLP over gRPC (127.0.0.1:4317) and HTTP (127.0.0.1:4318), traces and logs, and seals what arrives. An
acknowledged request is sealed and fsynced. Ends in order on SIGTERM: answers what is under way, closes the log. Takes
renewed certificates from their files by itself, and at once on SIGHUP.

  --config FILE  configuration (default: SEALSPAN_CONFIG, or ./sealspan.yaml if it is there)
  --json         one JSON object on stdout once it listens: origin, logDirectory, vkey, ports, policyId

Other addresses need \`gateway.tls\` in the configuration, or \`insecure: true\` beside them.

exit 0 after SIGTERM or SIGINT, 2 configuration, 5 the log, an address, the disk or the sealing thread failed

example: sealspan gateway --config /etc/sealspan/sealspan.yaml`,
    options: { config: { type: 'string' } },
    run: async (values, _positionals, terminal) =>
      (await import('./gateway.ts')).runGateway(
        { configPath: text(values, 'config'), isJson: values.json === true },
        terminal,
      ),
  },
  doctor: {
    wordCount: 1,
    summary: 'say what would keep calls out of the log, each with its fix',
    help: `sealspan doctor [DIR] [--online] [--json]

Run it in the application's folder. Looks at the configuration, the directory of logs (DIR, or what the configuration
says), locks, keys, archive and backend; loads each AI package that is installed here, in a process of its own with the
hooks under it, and says whether its calls are seen; and tells what each log said of that last.

  --online       ask the backend whether it takes traces
  --json         one JSON object on stdout: ok, folder, packages[], findings[] with check, status, message and fix

exit 0 no problem, 1 a problem, such as a package that is installed and not hooked; 2 usage

example: sealspan doctor ./sealspan-log --online`,
    options: { online: { type: 'boolean' } },
    run: async (values, [dir], terminal) =>
      (await import('./doctor.ts')).runDoctor(
        { dir, isOnline: values.online === true, isJson: values.json === true },
        terminal,
      ),
  },
  demo: {
    wordCount: 0,
    summary:
      'see it all at work on this machine: calls, seals, a backend, an archive, a verdict, a forgery found',
    help: `sealspan demo [--dir DIR] [--calls N] [--json]

Runs a small service with the real \`openai\` client against a local stand-in for a provider: no API key, no network.

  --dir DIR      keep the demo's log there (default: a new temporary directory)
  --calls N      model calls to make, at least 8 (default 24)
  --json         one JSON object on stdout: {dir, log, calls, sealed, forwarded, unsampled, verdict}

example: sealspan demo --dir ./demo-log`,
    options: { dir: { type: 'string' }, calls: { type: 'string' } },
    run: async (values, _positionals, terminal) => {
      const calls = Number(text(values, 'calls') ?? '24');
      if (!Number.isInteger(calls) || calls < 8 || calls > 100_000) {
        throw new UsageError(`--calls: ${text(values, 'calls')} is no integer of 8 to 100000`);
      }
      const { runDemo } = await import('./demo.ts');
      return runDemo(
        { dir: text(values, 'dir'), callCount: calls, isJson: values.json === true },
        terminal,
      );
    },
  },
};

function overview(): string {
  const rows = Object.entries(COMMANDS).map(
    ([name, { summary }]) => `  ${name.padEnd(9)} ${summary}`,
  );
  return `sealspan ${VERSION}: an audit log of AI decisions that a stranger can verify

${rows.join('\n')}

sealspan COMMAND --help tells more, with an example`;
}

async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    terminal.data(overview());
    return name === undefined ? EXIT_USAGE : 0;
  }
  if (name === '--version') {
    terminal.data(VERSION);
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) throw new UsageError(`there is no command '${name}'\n\n${overview()}`);
  const { values, positionals } = parseArgs({
    args: rest,
    options: {
      ...command.options,
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
    allowPositionals: true,
  });
  if (values.help === true) {
    terminal.data(command.help);
    return 0;
  }
  const extra = positionals[command.wordCount];
  if (extra !== undefined) {
    throw new UsageError(
      `${name}: '${extra}' is one word too many; see sealspan ${name} --help. Of several logs, give the directory that they lie in`,
    );
  }
  return command.run(values as Values, positionals, terminal);
}

/** What the system says of a name that is wrong; all else that it says is no fault of the line or the settings. */
const WRONG_NAMES: ReadonlySet<unknown> = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'EEXIST']);

function isUsage(error: unknown): boolean {
  if (error instanceof ConfigError && error.cause instanceof Error && 'syscall' in error.cause) {
    return 'code' in error.cause && WRONG_NAMES.has(error.cause.code);
  }
  if (error instanceof UsageError || error instanceof ConfigError) return true;
  if (error instanceof MissingPackageError) return true;
  return (
    error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
  );
}

/** Runs the command that the words ask for, and sets the exit status of the process. */
export async function runCommand(argv: readonly string[]): Promise<void> {
  const terminal = openTerminal();
  try {
    process.exitCode = await main(argv, terminal);
  } catch (error) {
    const why = isUsage(error) && error instanceof Error ? error.message : causeOf(error);
    terminal.note(`sealspan: ${shownLines(why)}`);
    process.exitCode = isUsage(error) ? EXIT_USAGE : EXIT_IO;
  }
}
