// SPDX-License-Identifier: Apache-2.0
/**
 * The program that `sealspan doctor` runs in an application's folder, under `--import sealspan/register`: loads the files of
 * each installed package that are hooked, and sends what came of it to the process that started it. It is the very
 * register, hooks and packages that the application would have; which files that one loads, and when, it does not know.
 */
import { readdirSync } from 'node:fs';
import { join, sep } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { type Coverage, coverage, installedCopy, TARGETS, versionRange } from './hooks.ts';
import type { Target } from './target.ts';

/** What the probe sends. */
export interface ProbeReport {
  readonly packages: readonly (Coverage[number] & {
    /** Versions that are known. */
    readonly known: string;
    /** Kind of the error that loading it ended with, if any. */
    readonly loadError?: string;
  })[];
}

/** By the asynchronous hooks, a file is told of after it has loaded. */
const SETTLE_DELAY_MS = 50;
const SETTLE_COUNT = 20;

/** The files of a target that are hooked, in each of the module systems it comes in. */
function hookedFiles({ hooks }: Target, folder: string): string[] {
  const patterns = hooks.map(({ file }) => new RegExp(`^${file}\\.[cm]?js$`));
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => {
    const path = file.replaceAll(sep, '/');
    return !path.includes('node_modules/') && patterns.some((pattern) => pattern.test(path));
  });
}

/** Loads them; returns the kind of the first error. */
async function load(target: Target): Promise<string | undefined> {
  const folder = installedCopy(target.name)?.folder;
  if (folder === undefined) return undefined;
  let kind: string | undefined;
  for (const file of hookedFiles(target, folder)) {
    try {
      await import(pathToFileURL(join(folder, file)).href);
    } catch (error) {
      kind ??= error instanceof Error ? String(Object(error).code ?? error.name) : 'unknown';
    }
  }
  return kind;
}

async function probe(): Promise<void> {
  const errors = new Map<string, string | undefined>();
  for (const target of TARGETS) errors.set(target.name, await load(target));
  for (let count = 0; count < SETTLE_COUNT; count++) {
    if (!coverage().some(({ status }) => status === 'unhooked' || status === 'not_loaded')) break;
    await delay(SETTLE_DELAY_MS);
  }
  const report: ProbeReport = {
    packages: coverage().map((row) => {
      const target = TARGETS.find(({ name }) => name === row.target);
      const loadError = errors.get(row.target);
      return {
        ...row,
        known: target === undefined ? '' : versionRange(target),
        ...(loadError !== undefined && { loadError }),
      };
    }),
  };
  // Packages may have left timers and sockets behind; nobody waits for them.
  process.send?.(report, () => process.exit());
}

void probe();
