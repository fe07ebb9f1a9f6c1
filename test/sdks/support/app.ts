// SPDX-License-Identifier: Apache-2.0
/**
 * An application that runs every case of a target and prints what it saw, and, if hooks were loaded before it, the spans of
 * each case. Arguments: module of the cases, folder with the package, name of the package, `esm` or `cjs`, URL of the
 * provider, names of the cases to leave out. Run with `--expose-gc`.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { trace } from '@opentelemetry/api';
import type { Faults } from '../../instrumentation/support/fault-loader.ts';
import { type Cases, describeError } from './case.ts';

/** What the preloaded module offers; absent in a run without hooks. */
interface Hooked {
  readonly spans: readonly unknown[];
  openCount(): number;
  problems(): Readonly<Record<string, number>>;
  report(): unknown;
}

const ROUNDS_MAX = 100;
/** After how long a case that a fault is tried in counts as one that never ends. */
const HANG_MS = 5000;
/** How many cases a fault of ours is tried in, the quickest first. */
const CASES_MAX = 3;

const [casesFile = '', folder = '', name = '', format = '', url = '', ...without] =
  process.argv.slice(2);
const faults = (globalThis as { sealspanFaults?: Faults }).sealspanFaults;
const hooked = (globalThis as { sealspanTest?: Hooked }).sealspanTest;

// A fetch with a span of its own, as instrumentation of HTTP makes them.
const bareFetch = globalThis.fetch;
globalThis.fetch = (input, init) =>
  trace.getTracer('http').startActiveSpan('fetch', async (span) => {
    try {
      return await bareFetch(input, init);
    } finally {
      span.end();
    }
  });
// SDKs tell of errors there, at length.
for (const level of ['log', 'info', 'warn', 'error', 'debug'] as const) console[level] = () => {};

const { cases } = (await import(pathToFileURL(casesFile).href)) as { cases: Cases<unknown> };
const { load } = (await import(pathToFileURL(join(folder, 'load.mjs')).href)) as {
  load: (name: string, format: string) => Promise<unknown>;
};
// A package without an entry of its own name is loaded by its application.
const sdk = await load(name, format).catch(() => undefined);

const unhandled: unknown[] = [];
process.on('unhandledRejection', (error) => unhandled.push(describeError(error)));
process.on('uncaughtException', (error) => unhandled.push(describeError(error)));

const outcomes: Record<string, unknown> = {};
const spans: Record<string, unknown> = {};
/** The cases that enter a place of ours. */
const casesOf = new Map<string, string[]>();
const durationsMs = new Map<string, number>();
for (const [caseName, run] of Object.entries(cases)) {
  if (without.includes(caseName)) continue;
  const before = hooked?.spans.length ?? 0;
  faults?.entered.clear();
  const startedMs = performance.now();
  outcomes[caseName] = await outcomeOf(run);
  durationsMs.set(caseName, performance.now() - startedMs);
  spans[caseName] = hooked?.spans.slice(before);
  for (const place of faults?.entered ?? []) {
    casesOf.set(place, [...(casesOf.get(place) ?? []), caseName]);
  }
}
const struck = faults === undefined ? undefined : await strike(faults);
const report = hooked?.report();
process.stdout.write(JSON.stringify({ outcomes, spans, report, struck }), () => process.exit(0));

/** What a case comes to. In a function of its own, so that nothing here holds what a case has dropped. */
async function outcomeOf(run: Cases<unknown>[string]): Promise<unknown> {
  const openBefore = hooked?.openCount() ?? 0;
  const seen = await (async () => {
    try {
      return { value: await run({ sdk, url }) };
    } catch (error) {
      return { error: describeError(error) };
    }
  })();
  await settle(openBefore);
  return { ...seen, unhandled: unhandled.splice(0) };
}

/** Lets each place of ours throw, in the first cases that enter it; tells what of it the application saw, and whether it was counted. */
async function strike(places: Faults): Promise<unknown> {
  const problemCount = (): number =>
    Object.values(hooked?.problems() ?? {}).reduce((sum, count) => sum + count, 0);
  const found: unknown[] = [];
  for (const [place, names] of casesOf) {
    const seen: Record<string, unknown> = {};
    const before = problemCount();
    places.active = place;
    places.thrown = 0;
    const quickest = names
      // A provider that fails the first time only does not do so again.
      .filter((name) => !name.includes('good after'))
      .sort((a, b) => (durationsMs.get(a) ?? 0) - (durationsMs.get(b) ?? 0));
    for (const name of quickest.slice(0, CASES_MAX)) {
      const run = cases[name] as Cases<unknown>[string];
      const outcome = await Promise.race([outcomeOf(run), delay(HANG_MS, 'hangs')]);
      if (JSON.stringify(outcome) !== JSON.stringify(outcomes[name])) seen[name] = outcome;
    }
    places.active = undefined;
    found.push({ place, thrown: places.thrown, counted: problemCount() - before, seen });
  }
  return found;
}

/** Waits until every call has ended, collecting garbage meanwhile: some calls end only then. */
async function settle(openBefore = 0): Promise<void> {
  for (let round = 0; round < ROUNDS_MAX; round++) {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    // A call that our own fault keeps open stays so.
    const isStruck = faults !== undefined && faults.active !== undefined && faults.thrown > 0;
    const isOpen = (hooked?.openCount() ?? 0) > openBefore;
    if ((isStruck || !isOpen) && round >= 2) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (isOpen) globalThis.gc?.();
  }
}
