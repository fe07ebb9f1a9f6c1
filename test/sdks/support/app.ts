// SPDX-License-Identifier: Apache-2.0
/**
 * An application that runs every case of a target and prints what it saw, and, if hooks were loaded before it, the spans of
 * each case. Arguments: module of the cases, folder with the package, name of the package, `esm` or `cjs`, URL of the
 * provider, names of the cases to leave out. Run with `--expose-gc`.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { trace } from '@opentelemetry/api';
import { type Cases, describeError } from './case.ts';

/** What the preloaded module offers; absent in a run without hooks. */
interface Hooked {
  readonly spans: readonly unknown[];
  openCount(): number;
  report(): unknown;
}

const [casesFile = '', folder = '', name = '', format = '', url = '', ...without] =
  process.argv.slice(2);
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

const outcomes: Record<string, unknown> = {};
const spans: Record<string, unknown> = {};
for (const [caseName, run] of Object.entries(cases)) {
  if (without.includes(caseName)) continue;
  const before = hooked?.spans.length ?? 0;
  // In a function of its own, so that nothing here holds what a case has dropped.
  const seen = await (async () => {
    try {
      return { value: await run({ sdk, url }) };
    } catch (error) {
      return { error: describeError(error) };
    }
  })();
  await settle();
  outcomes[caseName] = { ...seen, unhandled: unhandled.splice(0) };
  spans[caseName] = hooked?.spans.slice(before);
}
const report = hooked?.report();
process.stdout.write(JSON.stringify({ outcomes, spans, report }), () => process.exit(0));

/** Waits until every call has ended, collecting garbage meanwhile: some calls end only then. */
async function settle(): Promise<void> {
  for (let round = 0; round < 100; round++) {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    if ((hooked?.openCount() ?? 0) === 0 && round >= 2) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
    globalThis.gc?.();
  }
}
