// SPDX-License-Identifier: Apache-2.0
/**
 * The programs of other people that the end-to-end tests run: each built or installed once by its own tools, outside
 * the checkout, under a name that is the hash of what it was made from. Does not install Go or Python.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';

const HERE = import.meta.dirname;
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'sealspan-e2e');

/** The newest Jaeger that is a Go module: 2.13.0. Later ones have only tags of version 2, which no module path names. */
const JAEGER_MODULE = 'github.com/jaegertracing/jaeger@v1.76.0';
/** 1.7.0 looks at the condition of a put before it stores; later ones do both at once. */
const VERSITYGW_MODULE = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0';
const BUILDER_MODULE = 'go.opentelemetry.io/collector/cmd/builder';

/** The line that `go version` says, or undefined where there is no Go. */
export function goVersion(): string | undefined {
  const asked = spawnSync('go', ['version'], { encoding: 'utf8' });
  return asked.status === 0 ? asked.stdout.trim() : undefined;
}

/** The line that `python3 --version` says, or undefined where there is no Python with venv. */
export function pythonVersion(): string | undefined {
  const asked = spawnSync('python3', ['-c', 'import sys, venv, ensurepip; print(sys.version)'], {
    encoding: 'utf8',
  });
  return asked.status === 0 ? asked.stdout.trim() : undefined;
}

/** Runs a tool to its end, as politely as it can. */
function run(
  cwd: string,
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): string {
  const ended = spawnSync('nice', [command, ...args], {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (ended.status !== 0) {
    const said = `${ended.error?.message ?? ''}${ended.stdout ?? ''}${ended.stderr ?? ''}`;
    throw new Error(`${command} ${args.join(' ')} failed:\n${said.slice(-4000)}`);
  }
  return ended.stdout;
}

/**
 * A directory made by `make` from what `ingredients` says, or the one made before. It is built beside its place and
 * then renamed, so a directory that is there is whole; of two that build at once the first wins.
 */
function cached(name: string, ingredients: string, make: (dir: string) => void): string {
  const hash = createHash('sha256').update(ingredients).digest('hex').slice(0, 16);
  const place = join(CACHE, hash);
  if (existsSync(place)) return place;
  mkdirSync(CACHE, { recursive: true });
  const building = mkdtempSync(join(CACHE, `${name}-`));
  try {
    console.log(`building ${name} into ${place}: minutes, once`);
    make(building);
    if (!existsSync(place)) renameSync(building, place);
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
  return place;
}

/** The Collector of collector/manifest.yaml, made by the Collector's own builder. */
export function collectorBinary(): string {
  const text = readFileSync(join(HERE, 'collector/manifest.yaml'), 'utf8');
  const manifest = parse(text) as { dist: { version: string; output_path?: string; name: string } };
  const place = cached('collector', `${text}${process.platform}${process.arch}`, (dir) => {
    manifest.dist.output_path = dir;
    writeFileSync(join(dir, 'manifest.yaml'), stringify(manifest));
    const builder = `${BUILDER_MODULE}@v${manifest.dist.version}`;
    run(dir, 'go', ['run', builder, '--config', 'manifest.yaml']);
  });
  return join(place, manifest.dist.name);
}

/** Jaeger, from its module as published; the pages of its user interface are not in it, and nothing here looks at them. */
export function jaegerBinary(): string {
  const place = cached('jaeger', `${JAEGER_MODULE}${process.platform}${process.arch}`, (dir) => {
    const { Dir: module } = JSON.parse(
      run(dir, 'go', ['mod', 'download', '-json', JAEGER_MODULE]),
    ) as { Dir: string };
    const source = join(dir, 'source');
    cpSync(module, source, { recursive: true });
    makeWritable(source);
    run(source, 'go', ['build', '-trimpath', '-ldflags=-s -w', '-o', '../jaeger', './cmd/jaeger']);
    rmSync(source, { recursive: true });
  });
  return join(place, 'jaeger');
}

/** Modules come read-only, which `go build` and `rm` both mind. */
function makeWritable(dir: string): void {
  chmodSync(dir, 0o755);
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) makeWritable(path);
    else chmodSync(path, 0o644);
  }
}

/** The client of clients/go. */
export function goClientBinary(): string {
  const source = join(HERE, 'clients/go');
  const names = ['main.go', 'go.mod', 'go.sum'];
  const text = names.map((name) => readFileSync(join(source, name), 'utf8')).join('\0');
  const place = cached('go-client', `${text}${process.platform}${process.arch}`, (dir) =>
    run(source, 'go', ['build', '-trimpath', '-o', join(dir, 'client'), '.']),
  );
  return join(place, 'client');
}

/** An S3 server over a directory, with versions and Object Lock. */
export function versitygwBinary(): string {
  const ingredients = `${VERSITYGW_MODULE}${process.platform}${process.arch}`;
  const place = cached('versitygw', ingredients, (dir) =>
    run(dir, 'go', ['install', '-trimpath', VERSITYGW_MODULE], { GOBIN: dir }),
  );
  return join(place, 'versitygw');
}

/** A Python that has an S3 server in memory: `-m moto.server`. */
export function motoPython(): string {
  return join(pythonWith('moto', join(HERE, 'moto/requirements.txt')), 'venv/bin/python');
}

/** A Python with the packages of clients/python/requirements.txt. */
export function pythonBinary(): string {
  return join(
    pythonWith('python', join(HERE, 'clients/python/requirements.txt')),
    'venv/bin/python',
  );
}

function pythonWith(name: string, requirements: string): string {
  const version = pythonVersion() ?? '';
  return cached(name, `${readFileSync(requirements, 'utf8')}${version}`, (dir) => {
    run(dir, 'python3', ['-m', 'venv', 'venv']);
    const quiet = ['--quiet', '--disable-pip-version-check'];
    run(dir, 'venv/bin/python', ['-m', 'pip', 'install', ...quiet, '-r', requirements]);
  });
}
