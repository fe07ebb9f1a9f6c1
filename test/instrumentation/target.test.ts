// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what a hooked function starts nests under its call, even if the call itself brings the context manager, and nothing of
 * it is left when the function returns. Method: a real channel and the manager of the SDK, registered before and within a call.
 */
import { type Context, context, createContextKey, ROOT_CONTEXT } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { afterEach, describe, expect, it } from 'vitest';
import { activate, type CallMessage, channelOf } from '../../instrumentation/target.ts';

const KEY = createContextKey('call');
const registerManager = (): void => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
};

afterEach(() => context.disable());

/** Runs a hooked function; gives what was active in it, in what it awaited, and after it. */
async function run(
  name: string,
  calls: number,
  contextOf: () => Context | undefined,
): Promise<readonly unknown[]> {
  const channel = channelOf('target', name);
  activate(channel, contextOf);
  const seen: unknown[] = [];
  const see = (): void => void seen.push(context.active().getValue(KEY));
  for (let call = 0; call < calls; call++) {
    const message: CallMessage = {};
    await channel.traceSync(async () => {
      see();
      await Promise.resolve();
      see();
    }, message);
    see();
  }
  return seen;
}

describe('a function that is hooked', () => {
  it.each([
    ['there before the first call', true],
    ['brought by the first call', false],
  ])('runs in the context of its call; the manager is %s', async (when, isBefore) => {
    if (isBefore) registerManager();
    let isRegistered = isBefore;
    const seen = await run(when, 2, () => {
      if (!isRegistered) registerManager();
      isRegistered = true;
      return ROOT_CONTEXT.setValue(KEY, 'call');
    });
    expect(seen).toEqual(['call', 'call', undefined, 'call', 'call', undefined]);
  });

  it('leaves the context of the application where there is no call', async () => {
    registerManager();
    const outer = ROOT_CONTEXT.setValue(KEY, 'outer');
    const seen = await context.with(outer, () => run('none', 1, () => undefined));
    expect(seen).toEqual(['outer', 'outer', 'outer']);
  });

  it('gives the context of the application back', async () => {
    registerManager();
    const outer = ROOT_CONTEXT.setValue(KEY, 'outer');
    const inner = outer.setValue(KEY, 'call');
    const seen = await context.with(outer, () => run('back', 1, () => inner));
    expect(seen).toEqual(['call', 'call', 'outer']);
  });

  it('runs where no manager is registered', async () => {
    const seen = await run('without', 1, () => ROOT_CONTEXT.setValue(KEY, 'call'));
    expect(seen).toEqual([undefined, undefined, undefined]);
  });
});
