// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a service that is traced by its SDK's own telemetry has each call sealed as told, twice where we hook it as well, and
 * counted once.
 * Method: `ai` 6 with its own telemetry on, under register, against a provider of its wire; the log shown by the command.
 */
import { execFileSync } from 'node:child_process';
import { rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  makeService,
  program,
  REGISTER,
  readLogs,
  run,
  setUp,
} from '../instrumentation/support/service.ts';
import { type FakeOpenai, startFakeOpenai } from '../support/fake-openai.ts';

const ROOT = join(import.meta.dirname, '../..');
const MODULES = join(import.meta.dirname, 'majors/ai-6/node_modules');

const ASK = `
  const { generateText } = await load('ai');
  const { createOpenAI } = await load('@ai-sdk/openai');
  const openai = createOpenAI({ apiKey: 'none', baseURL: process.env.PROVIDER });
  const ask = () => generateText({
    model: openai.chat('gpt-fake'),
    prompt: 'hi',
    maxRetries: 0,
    experimental_telemetry: { isEnabled: true, metadata: { userId: 'u-1' } },
  });
  await Promise.all([ask(), ask()]);`;

let provider: FakeOpenai;
let home: string;
beforeAll(async () => {
  provider = await startFakeOpenai();
  home = makeService('3.x', { 'main.mjs': program('mjs', setUp('3.x'), ASK) });
  for (const name of ['ai', '@ai-sdk']) {
    symlinkSync(join(MODULES, name), join(home, 'node_modules', name));
  }
  const ended = await run(home, ['--import', REGISTER, 'main.mjs'], {
    PROVIDER: provider.url,
    SEALSPAN_DIR: 'log',
    SEALSPAN_ORIGIN: 'svc',
  });
  expect(ended).toMatchObject({ code: 0 });
});
afterAll(async () => {
  rmSync(home, { recursive: true });
  await provider.close();
});

interface Shown {
  readonly calls: number;
  readonly spans: readonly {
    readonly name: string;
    readonly scope: string;
    readonly call?: number;
    readonly attributes: Readonly<Record<string, unknown>>;
    readonly normalised: Readonly<Record<string, unknown>>;
  }[];
}

test('each call is told by both, in one vocabulary, and counted once', async () => {
  const log = (await readLogs(join(home, 'log'))).get('0');
  expect(log?.report).toMatchObject({ verdict: 'valid', entries: 6 });
  for (const trace of new Set(log?.spans.map(({ traceId }) => traceId))) {
    const args = ['show', '--trace', trace, '--json', join(home, 'log')];
    const text = execFileSync(process.execPath, [join(ROOT, 'exporter/cli/main.ts'), ...args]);
    const { calls, spans } = JSON.parse(text.toString()) as Shown;
    expect(calls).toBe(1);
    expect(spans.map(({ scope, name, call }) => [scope, name, call])).toEqual([
      ['ai', 'ai.generateText', undefined],
      ['ai', 'ai.generateText.doGenerate', 1],
      ['sealspan', 'chat gpt-fake', 1],
    ]);
    const [, theirs, ours] = spans;
    for (const name of [
      'gen_ai.operation.name',
      'gen_ai.provider.name',
      'gen_ai.request.model',
      'gen_ai.response.id',
      'gen_ai.response.model',
      'gen_ai.response.finish_reasons',
      'gen_ai.usage.input_tokens',
      'gen_ai.usage.output_tokens',
    ]) {
      expect(theirs?.normalised[name], name).toEqual(ours?.normalised[name]);
    }
    // As that SDK wrote it: a name of its own is there still.
    expect(theirs?.attributes).toMatchObject({ 'ai.operationId': 'ai.generateText.doGenerate' });
  }
});
