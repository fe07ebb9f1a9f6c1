// SPDX-License-Identifier: Apache-2.0
/**
 * An application that runs every case and prints what it saw, and, if hooks were loaded before it, the spans of each case.
 * Arguments: folder of the `openai` package, `esm` or `cjs`, URL of the provider. Run with `--expose-gc`.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { trace } from '@opentelemetry/api';
import type OpenAI from 'openai';
import { CASES, describeError } from './openai-cases.ts';

/** What the preloaded module offers; absent in a run without hooks. */
interface Hooked {
  readonly spans: readonly { readonly scope: string }[];
  /** Watches one client; absent where hooks do. */
  readonly instrument?: (client: OpenAI) => OpenAI;
  openCount(): number;
  report(): unknown;
}

const [folder = '', format = '', baseURL = ''] = process.argv.slice(2);
const hooked = (globalThis as { sealspanTest?: Hooked }).sealspanTest;

const module = (
  format === 'cjs'
    ? createRequire(import.meta.url)(join(folder, 'index.js'))
    : await import(pathToFileURL(join(folder, 'index.mjs')).href)
) as { OpenAI: typeof OpenAI };
const sdk = module.OpenAI;

/** A fetch with a span of its own, as instrumentation of HTTP makes them. */
const tracedFetch: typeof fetch = (url, init) =>
  trace.getTracer('http').startActiveSpan('POST', async (span) => {
    try {
      return await fetch(url, init);
    } finally {
      span.end();
    }
  });
const clientWith = (options: object): OpenAI => {
  const client = new sdk({
    apiKey: 'none',
    baseURL,
    fetch: tracedFetch,
    logLevel: 'off',
    ...options,
  });
  return hooked?.instrument === undefined ? client : hooked.instrument(client);
};

const unhandled: unknown[] = [];
process.on('unhandledRejection', (error) => unhandled.push(describeError(error)));

const outcomes: Record<string, unknown> = {};
const spans: Record<string, unknown> = {};
for (const [name, run] of Object.entries(CASES)) {
  const before = hooked?.spans.length ?? 0;
  // In a function of its own, so that nothing here holds what a case has dropped.
  const seen = await (async () => {
    try {
      return { value: await run({ client: clientWith({}), clientWith, sdk }) };
    } catch (error) {
      return { error: describeError(error) };
    }
  })();
  await settle();
  outcomes[name] = { ...seen, unhandled: unhandled.splice(0) };
  spans[name] = hooked?.spans.slice(before);
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
