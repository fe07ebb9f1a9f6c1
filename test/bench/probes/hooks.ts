// SPDX-License-Identifier: Apache-2.0
/**
 * One process that makes the same call through a client left alone and through one that is watched, in turns, and what each
 * costs its event loop. The provider is in another process. Spans go to a processor that does nothing.
 */
import { context, trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import OpenAI from 'openai';
import {
  configureInstrumentation,
  instrument,
  instrumentationStats,
} from '../../../instrumentation/index.ts';
import { median } from '../support/bench.ts';
import { specification } from '../support/processes.ts';

export interface HooksSpec {
  readonly url: string;
  readonly promptByteLength: number;
  readonly isStream: boolean;
  /** Turns that are counted, each of so many calls of each variant. */
  readonly turnCount: number;
  readonly callCount: number;
}

/** Medians of the turns. */
export interface HooksFound {
  readonly bareMicroseconds: number;
  /** Watched, without digests. */
  readonly watchedMicroseconds: number;
  /** Watched, with digests of prompt and answer. */
  readonly digestedMicroseconds: number;
}

const WARM_TURN_COUNT = 3;

const spec = specification<HooksSpec>();
const nothing = {
  onStart: () => {},
  onEnd: () => {},
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};
new NodeSDK({ spanProcessors: [nothing], metricReaders: [], autoDetectResources: false }).start();
trace.getTracer('warm');
context.active();

const options = { apiKey: 'none', baseURL: spec.url, maxRetries: 0 };
const bare = new OpenAI(options);
const watched = instrument(new OpenAI(options));
const digestKey = { id: 'bench', secret: new Uint8Array(32).fill(7) };
const VARIANTS = {
  bare: { client: bare, policy: 'omit' },
  watched: { client: watched, policy: 'omit' },
  digested: { client: watched, policy: 'digest' },
} as const;
type Variant = keyof typeof VARIANTS;

const messages = [{ role: 'user' as const, content: 'prompt. '.repeat(spec.promptByteLength / 8) }];
async function call(client: OpenAI): Promise<void> {
  if (!spec.isStream) {
    await client.chat.completions.create({ model: 'gpt-fake', messages });
    return;
  }
  const stream = await client.chat.completions.create({
    model: 'gpt-fake',
    messages,
    stream: true,
  });
  for await (const _ of stream);
}

/** CPU of the event loop's thread for one call. */
async function microsecondsOf(variant: Variant): Promise<number> {
  const { client, policy } = VARIANTS[variant];
  configureInstrumentation({ content: { policy }, digestKey });
  const before = process.threadCpuUsage();
  for (let count = 0; count < spec.callCount; count++) await call(client);
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / spec.callCount;
}

const found: Record<Variant, number[]> = { bare: [], watched: [], digested: [] };
const order = Object.keys(VARIANTS) as Variant[];
for (let turn = 0; turn < WARM_TURN_COUNT + spec.turnCount; turn++) {
  for (const variant of turn % 2 === 0 ? order : order.toReversed()) {
    const microseconds = await microsecondsOf(variant);
    if (turn >= WARM_TURN_COUNT) found[variant].push(microseconds);
  }
}
const { started, problems } = instrumentationStats();
const expected = 2 * spec.callCount * (WARM_TURN_COUNT + spec.turnCount);
if (started !== expected || Object.keys(problems).length > 0) {
  throw new Error(`${started} calls watched of ${expected}; ${JSON.stringify(problems)}`);
}
process.stdout.write(
  JSON.stringify({
    bareMicroseconds: median(found.bare),
    watchedMicroseconds: median(found.watched),
    digestedMicroseconds: median(found.digested),
  } satisfies HooksFound),
  () => process.exit(0),
);
