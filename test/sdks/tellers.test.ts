// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what another instrumentation tells of a call is sealed as it told it, reads in our vocabulary, and is one call, whether or
 * not our hooks tell of it as well.
 * Method: services with the real packages of four others, audited with our hooks and without; the log shown by the command.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { REGISTER, readLogs, run } from '../instrumentation/support/service.ts';
import { type FakeOpenai, startFakeOpenai } from '../support/fake-openai.ts';

const ROOT = join(import.meta.dirname, '../..');
const SERVICE = join(import.meta.dirname, 'tellers');
const EXPORTER = pathToFileURL(join(ROOT, 'exporter/node/index.ts')).href;

interface Told {
  readonly name: string;
  readonly scope: string;
  readonly attributes: Readonly<Record<string, unknown>>;
}

interface Shown {
  readonly calls: number;
  readonly spans: readonly (Told & {
    readonly call?: number;
    readonly normalised: Readonly<Record<string, unknown>>;
  })[];
}

interface Outcome {
  readonly verdict: string;
  /** What the service's own processor saw. */
  readonly told: readonly Told[];
  /** What the log shows, by trace. */
  readonly shown: readonly Shown[];
}

const CHAT = { 'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': 'openai' };
/** What the first call of each reads as, as far as it tells. */
const ASKED = { ...CHAT, 'gen_ai.request.model': 'gpt-fake' };
const USED = { 'gen_ai.usage.input_tokens': 12, 'gen_ai.usage.output_tokens': 5 };
const TELLERS = [
  ['openinference', '@arizeai/openinference-instrumentation-openai', { ...CHAT, ...USED }],
  ['openllmetry', '@traceloop/instrumentation-openai', { ...ASKED, ...USED }],
  // It counts what was cached, and what was reasoned, apart.
  [
    'langfuse',
    'langfuse-sdk',
    {
      'gen_ai.operation.name': 'chat',
      'gen_ai.usage.input_tokens': 8,
      'gen_ai.usage.output_tokens': 3,
    },
  ],
  ['vercel', 'gen_ai', { ...ASKED, ...USED }],
] as const;

let provider: FakeOpenai;
const folders: string[] = [];
beforeAll(async () => {
  provider = await startFakeOpenai();
});
afterAll(async () => {
  for (const folder of folders) rmSync(folder, { recursive: true });
  await provider.close();
});

async function outcomeOf(teller: string, isHooked: boolean): Promise<Outcome> {
  const dir = mkdtempSync(join(tmpdir(), 'sealspan-tellers-'));
  folders.push(dir);
  const preload = isHooked ? ['--import', REGISTER] : [];
  const ended = await run(SERVICE, [...preload, 'service.mjs', teller, provider.url], {
    SEALSPAN_DIR: dir,
    SEALSPAN_ORIGIN: 'svc',
    ...(isHooked ? {} : { SEALSPAN_BARE: EXPORTER }),
  });
  expect(ended).toMatchObject({ code: 0 });
  const logs = await readLogs(dir);
  const [[name, log] = []] = logs;
  const traces = new Set(log?.spans.map(({ traceId }) => traceId));
  const shown = [...traces].map((trace) => {
    const args = ['show', '--trace', trace, '--json', join(dir, name ?? '')];
    const text = execFileSync(process.execPath, [join(ROOT, 'exporter/cli/main.ts'), ...args]);
    return JSON.parse(text.toString()) as Shown;
  });
  return {
    verdict: log?.report.verdict ?? 'no log',
    told: JSON.parse(ended.stdout) as Told[],
    shown,
  };
}

describe.each(TELLERS)('%s', (teller, scope, first) => {
  it.each([
    ['alone', false],
    ['beside our hooks', true],
  ])('is sealed as it told, in one vocabulary, each call once: %s', async (_, isHooked) => {
    const { verdict, told, shown } = await outcomeOf(teller, isHooked);
    expect(verdict).toBe('valid');
    expect(shown.reduce((sum, { calls }) => sum + calls, 0)).toBe(2);

    const spans = shown.flatMap((trace) => trace.spans);
    const theirs = spans.filter((span) => span.scope === scope);
    const tellings = told.filter((span) => span.scope === scope);
    // The number that it was given when it started is all that it did not tell.
    const plain = ({ name, attributes: { 'aigov.sequence': _, ...attributes } }: Told) => [
      name,
      attributes,
    ];
    expect(theirs.map(plain)).toEqual(expect.arrayContaining(tellings.map(plain)));
    expect(theirs).toHaveLength(tellings.length);

    const calls = theirs.filter(({ call }) => call !== undefined);
    expect(calls).toHaveLength(2);
    expect(calls[0]?.normalised).toMatchObject(first);
    const ours = spans.filter((span) => span.scope === 'sealspan' && span.call !== undefined);
    expect(ours.length > 0).toBe(isHooked);
  });
});
