// SPDX-License-Identifier: Apache-2.0
// Goal: README.md, and the programs of exporter/README.md, say what is so. Method: its programs are type-checked and run as an application would have them, its
// commands are executed as they stand, the demo's output is compared in shape with a fresh run, and its tables with
// the settings, variables, files and exit statuses that the code has.
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startProvider } from '../exporter/cli/demo-world.ts';
import { EXIT_OF } from '../exporter/cli/exit.ts';
import { readSpan, type ShownSpan } from '../exporter/cli/span.ts';
import { findLogs, verifyDirectory } from '../exporter/cli/verify.ts';
import { shapeOf, shownIn } from '../scripts/readme.ts';

const ROOT = join(import.meta.dirname, '..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');
const EXPORTER_README = readFileSync(join(ROOT, 'exporter/README.md'), 'utf8');
const COMMAND = join(ROOT, 'dist/exporter/cli/main.js');

/** Names of the settings: the members of the one interface that tells them. */
function settingsOf(source: string): string[] {
  const [, body = ''] = /^export interface ConfigInput \{\n(.*?)^\}/ms.exec(source) ?? [];
  return [...body.matchAll(/^ {2}readonly (\w+)\?:/gm)].map(([, name]) => name ?? '');
}

/** Text below a heading of level 2. */
function section(title: string): string {
  const [, rest] = README.split(`\n## ${title}\n`);
  if (rest === undefined) throw new Error(`README.md has no section ${title}`);
  return rest.split('\n## ')[0] ?? '';
}

/** Cells of the rows of the one table in a section. */
function rowsOf(title: string): string[][] {
  return section(title)
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(1)
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** Code blocks of a language. */
function blocks(language: string, text: string = README): string[] {
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
    .filter(([, found]) => found === language)
    .map(([, , code]) => code ?? '');
}

/** Programs by the name in their first line. */
const PROGRAMS = new Map(
  [README, EXPORTER_README]
    .flatMap((text) => blocks('js', text))
    .map((code) => [/^\/\/ (\S+\.js)\n/.exec(code)?.[1], code]),
);

describe('its size and its links', () => {
  test('it is short', () => {
    const [before, after] = README.split(shownIn(README));
    expect(`${before}${after}`.split('\n').length).toBeLessThanOrEqual(200);
  });

  test('every link leads to a file, and to a heading where it names one', () => {
    const links = [...README.matchAll(/\]\(([^)]+)\)/g)].map(([, target]) => target ?? '');
    expect(links.length).toBeGreaterThan(5);
    for (const link of links) {
      const [path = '', anchor] = link.split('#');
      expect(existsSync(join(ROOT, path)), link).toBe(true);
      if (anchor === undefined) continue;
      const headings = readFileSync(join(ROOT, path), 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('#'))
        .map((line) => line.replace(/^#+ /, '').toLowerCase().replaceAll(' ', '-'));
      expect(headings, link).toContain(anchor);
    }
  });

  test('it claims no compliance', () => {
    expect(README).toContain('technical evidence; not a compliance determination');
  });
});

describe('its tables', () => {
  const source = readFileSync(join(ROOT, 'exporter/node/config/config.ts'), 'utf8');

  test('each setting has its row, and each row is a setting', () => {
    const named = rowsOf('Configuration').map(([setting]) => setting?.replaceAll('`', ''));
    expect(named).toContain('pendingByteLengthMax');
    expect(named.sort()).toEqual(settingsOf(source).sort());
  });

  test('each variable that the code reads is named, and no other', () => {
    const read = new Set([...source.matchAll(/\bSEALSPAN_[A-Z_]*[A-Z]\b/g)].map(([name]) => name));
    const told = new Set([...README.matchAll(/\bSEALSPAN_[A-Z_]*[A-Z]\b/g)].map(([name]) => name));
    expect([...told].sort()).toEqual([...read].sort());
  });

  test('exit statuses are those of the verdicts', () => {
    const told = rowsOf('What a verdict means').map(([status, verdict]) => [
      verdict,
      Number(status),
    ]);
    expect(told.filter(([verdict]) => verdict !== '–')).toEqual(
      Object.entries(EXIT_OF).sort(([, a], [, b]) => a - b),
    );
    expect(told.map(([, status]) => status)).toEqual([0, 1, 2, 3, 4, 5]);
  });
});

describe('its programs', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sealspan-readme-'));
  const modules = join(folder, 'node_modules');

  beforeAll(() => {
    mkdirSync(join(modules, '.bin'), { recursive: true });
    symlinkSync(ROOT, join(modules, 'sealspan'));
    symlinkSync(COMMAND, join(modules, '.bin/sealspan'));
    for (const name of ['@opentelemetry', '@types', 'openai']) {
      symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
    }
    writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
    for (const [name, code] of PROGRAMS) writeFileSync(join(folder, name ?? 'unnamed.js'), code);
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function run(command: string, env: Record<string, string>): Promise<number | null> {
    // As people have it: node and the commands of their application on the path.
    const path = [join(process.execPath, '..'), join(modules, '.bin'), process.env.PATH].join(':');
    const child = spawn('sh', ['-c', command], {
      cwd: folder,
      env: { PATH: path, HOME: folder, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const status = await new Promise<number | null>((settle) => child.once('close', settle));
    expect(status, `${command}\n${stderr}`).toBe(0);
    return status;
  }

  test('each has a name, and the types that an application sees fit', () => {
    expect([...PROGRAMS.keys()]).toEqual(['app.js', 'wrapped.js']);
    const options = [
      ...['--noEmit', '--allowJs', '--checkJs', '--strict', '--skipLibCheck', '--types', 'node'],
      ...['--module', 'nodenext', '--target', 'es2023'],
    ];
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    const files = [...PROGRAMS.keys()].map((name) => name ?? '');
    const { status, stdout } = spawnSync(process.execPath, [tsc, ...options, ...files], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  });

  test('its commands, as they stand, on its program: sealed, stated and verified', async () => {
    const commands = (blocks('sh')[1] ?? '').trim().split('\n');
    expect(commands[0]).toBe('npm install sealspan');
    expect(commands).toHaveLength(3);
    const provider = await startProvider();
    const env = { OPENAI_BASE_URL: `${provider.url}/v1`, OPENAI_API_KEY: 'none-needed' };
    // What is installed is linked above.
    for (const command of commands.slice(1)) {
      await run(command.replace(/^npx (sealspan)\b/, '$1'), env);
    }
    await provider.close();
    const spans: ShownSpan[] = [];
    const [log] = findLogs(join(folder, 'sealspan-log'));
    const { verdict } = await verifyDirectory(log?.dir ?? '', undefined, ({ header, entries }) => {
      if (header.kind === 'traces') spans.push(...entries.map(readSpan));
    });
    expect({ verdict, names: spans.map(({ name }) => name) }).toEqual({
      verdict: 'valid',
      names: ['chat gpt-5', 'decision'],
    });
    for (const { attributes } of spans) {
      expect(attributes).toMatchObject({
        'aigov.purpose.id': 'loan-precheck',
        'aigov.actor.id': 'u-17',
        'aigov.subject.ref': 's-81c0d4',
      });
    }
    const text = JSON.stringify(spans);
    expect(text).toContain('"aigov.input.digest":"hmac-sha256:');
    expect(text).not.toContain('May this application be granted?');
  });

  test('the wrapped exporter: opens a log, and lets the process end', async () => {
    await run('node wrapped.js', { SEALSPAN_DIR: './wrapped-log', OTEL_METRICS_EXPORTER: 'none' });
    const [log] = findLogs(join(folder, 'wrapped-log'));
    const report = await verifyDirectory(log?.dir ?? '', undefined);
    expect(report).toMatchObject({ verdict: 'valid', entries: 0 });
  });
});

describe('the output that it shows', () => {
  test('is in shape that of a fresh run', () => {
    const { status, stdout } = spawnSync(process.execPath, [COMMAND, 'demo'], { encoding: 'utf8' });
    expect(status).toBe(0);
    expect(shapeOf(shownIn(README))).toBe(shapeOf(stdout));
  });

  test.each([
    ['a count', '27 governed spans', '26 governed spans'],
    ['a verdict', '✓ VALID', '✓ INVALID'],
    ['an outcome', 'outcome = refused', 'outcome = granted'],
    ['a missing line', '\n      aigov.model.version = 2026.11', ''],
  ])('the comparison sees %s', (_name, from, to) => {
    const shown = shownIn(README);
    expect(shown).toContain(from);
    expect(shapeOf(shown.replace(from, to))).not.toBe(shapeOf(shown));
  });
});
