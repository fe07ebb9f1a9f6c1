// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a client that is watched by hand behaves as without us, and leaves the spans that hooks would have left.
 * Method: the application of all cases, run bare, with hooks, and with each client watched by hand; then all is compared.
 */
import OpenAI from 'openai';
import { beforeAll, describe, expect, it } from 'vitest';
import { instrument } from '../../instrumentation/instrument.ts';
import { instrumentationStats } from '../../instrumentation/settings.ts';
import { type Run, runApp } from '../sdks/support/matrix.ts';
import { startFakeOpenai } from '../support/fake-openai.ts';
import type { Recorded } from './support/recorder.ts';

const FOLDERS: Readonly<Record<string, string>> = {
  6: '../apps/openai-6',
  7: '../instrumentation/support',
};
const APP = {
  target: 'openai',
  app: '../../instrumentation/support/openai-cases.ts',
  startProvider: startFakeOpenai,
  ends: {},
};
const run = (major: string, env?: Readonly<Record<string, string>>): Promise<Run> =>
  runApp(APP, { folder: FOLDERS[major] ?? '' }, 'esm', env);

/** What does not depend on the run: no ids, ports and times. */
const shown = (spans: readonly Recorded[] | undefined) =>
  spans?.map(({ name, kind, scope, status, attributes }) => ({
    name,
    kind,
    scope,
    status,
    attributes: {
      ...attributes,
      'server.port': 0,
      ...('gen_ai.response.time_to_first_chunk' in attributes && {
        'gen_ai.response.time_to_first_chunk': 0,
      }),
    },
  }));

describe.each(['6', '7'])('openai %s, watched by hand', (major) => {
  let bare: Run;
  let hooked: Run;
  let watched: Run;
  beforeAll(async () => {
    bare = await run(major);
    [hooked, watched] = await Promise.all([run(major, {}), run(major, { EXPLICIT: 'true' })]);
  }, 240_000);

  it('is to the application as without us', () => {
    expect(watched.outcomes).toEqual(bare.outcomes);
  });

  it('leaves the spans that hooks leave, but for the end mark, which it can not see', () => {
    const MUTE = 'chat: stream without a finish reason';
    const { [MUTE]: mute, ...spans } = watched.spans;
    for (const [name, seen] of Object.entries(spans)) {
      expect([name, shown(seen)]).toEqual([name, shown(hooked.spans[name])]);
    }
    const [call] = mute?.filter(({ scope }) => scope === 'sealspan') ?? [];
    expect(call?.attributes).toMatchObject({
      'aigov.invocation.completion': 'error',
      'aigov.invocation.detail': 'truncated',
    });
    const { stats } = watched.report;
    expect([stats.open, stats.problems]).toEqual([0, {}]);
  });
});

describe('instrument', () => {
  const client = (): OpenAI =>
    new OpenAI({ apiKey: 'none', baseURL: 'http://127.0.0.1:2', maxRetries: 0 });
  const ask = (of: OpenAI) =>
    of.chat.completions.create({ model: 'm', messages: [] }).catch((error: unknown) => error);
  const startedBy = async (work: () => Promise<unknown>): Promise<number> => {
    const before = instrumentationStats().started;
    await work();
    return instrumentationStats().started - before;
  };

  it('gives back the client it was given, which looks as it did', () => {
    const plain = client();
    const keys = [Object.keys(plain), Object.keys(plain.chat.completions)];
    expect(instrument(plain)).toBe(plain);
    expect([Object.keys(plain), Object.keys(plain.chat.completions)]).toEqual(keys);
  });

  it('watches a call once, however often it is asked to', async () => {
    const watched = instrument(instrument(client()));
    expect(await startedBy(() => ask(watched))).toBe(1);
  });

  it('watches what is derived of the client, and no other', async () => {
    const watched = instrument(client());
    const derived = watched.withOptions({ maxRetries: 0 });
    expect(await startedBy(() => ask(derived))).toBe(1);
    expect(await startedBy(() => ask(client()))).toBe(0);
  });

  it.each([[{}], [{ chat: { completions: { create: () => {} } } }], [new Map()]])(
    'refuses what is no client: %o',
    (other) => {
      expect(() => instrument(other)).toThrow(TypeError);
    },
  );
});
