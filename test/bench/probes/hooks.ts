// SPDX-License-Identifier: Apache-2.0
/**
 * One process that makes the same call through a client left alone, one with a span written by hand around it, one that is
 * watched and one that another instrumentation watches, in turns, and what each costs its event loop. The provider is in
 * another process. Spans go to a processor that does nothing.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setDefaultCACertificates } from 'node:tls';
import { type Attributes, context, SpanKind, trace } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import OpenAI from 'openai';
import {
  configureInstrumentation,
  instrument,
  instrumentationStats,
} from '../../../instrumentation/index.ts';
import { specification } from '../support/processes.ts';

export interface HooksSpec {
  readonly url: string;
  /** Certificate of the provider, where it has one. */
  readonly ca?: string | undefined;
  readonly promptByteLength: number;
  readonly isStream: boolean;
  /** Turns that are counted, each of so many calls of each variant. */
  readonly turnCount: number;
  readonly callCount: number;
}

/** Means over all turns, in microseconds: where garbage is collected is chance, so each turn bears some of it or none. */
export interface HooksFound {
  readonly bare: number;
  /** With a span around the call that somebody writes by hand, of the attributes that ours has. */
  readonly byHand: number;
  /** Watched, without digests. */
  readonly watched: number;
  /** Watched, with digests of prompt and answer. */
  readonly digested: number;
  /** The peer's client, which is of an older release, alone and watched by the peer; absent where it is not installed. */
  readonly peerBare?: number;
  readonly peer?: number;
}

/** By then what a service runs for long is compiled as it will be. */
const WARM_TURN_COUNT = 10;

const spec = specification<HooksSpec>();
if (spec.ca !== undefined) setDefaultCACertificates([spec.ca]);
/** What a span of ours has when it starts, and all it has at its end. */
const told = { starting: {} as Attributes, ended: {} as Attributes };
const processor = {
  onStart: ({ attributes }: { attributes: Attributes }) => {
    told.starting = { ...attributes };
  },
  onEnd: ({ attributes }: { attributes: Attributes }) => {
    told.ended = attributes;
  },
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};
new NodeSDK({
  spanProcessors: [processor],
  metricReaders: [],
  autoDetectResources: false,
  instrumentations: [],
}).start();

const options = { apiKey: 'none', baseURL: spec.url, maxRetries: 0 };
const bare = new OpenAI(options);
const watched = instrument(new OpenAI(options));
const digestKey = { id: 'bench', secret: new Uint8Array(32).fill(7) };
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

async function callByHand({ starting, ended }: typeof told): Promise<void> {
  const tracer = trace.getTracer('by-hand');
  const span = tracer.startSpan('chat gpt-fake', { kind: SpanKind.CLIENT, attributes: starting });
  await context.with(trace.setSpan(context.active(), span), () => call(bare));
  span.setAttributes(ended);
  span.end();
}

/** The variants, each with what sets it up for its turn. */
const variants: Record<string, { setUp?: () => void; call: () => Promise<void> }> = {
  bare: { call: () => call(bare) },
  watched: {
    setUp: () => configureInstrumentation({ content: { policy: 'omit' }, digestKey }),
    call: () => call(watched),
  },
  digested: {
    setUp: () => configureInstrumentation({ content: { policy: 'digest' }, digestKey }),
    call: () => call(watched),
  },
};

configureInstrumentation({ content: { policy: 'omit' }, digestKey });
await call(watched);
const starting = Object.keys(told.starting);
const sample = {
  starting: told.starting,
  ended: Object.fromEntries(
    Object.entries(told.ended).filter(([name]) => !starting.includes(name)),
  ),
};
variants.byHand = { call: () => callByHand(sample) };
processor.onStart = () => {};
processor.onEnd = () => {};
addPeer();

interface PeerModule {
  readonly OpenAIInstrumentation: new (
    options: object,
  ) => { manuallyInstrument(module: object): void };
}

interface PeerClient {
  readonly OpenAI: typeof OpenAI;
}

/** OpenInference's, told to keep no content; it watches all clients of a package, so that is switched with each turn. */
function addPeer(): void {
  const require = createRequire(join(process.cwd(), 'test/sdks/tellers/package.json'));
  let modules: readonly [PeerModule, PeerClient];
  try {
    modules = [
      require('@arizeai/openinference-instrumentation-openai') as PeerModule,
      require('openai') as PeerClient,
    ];
  } catch {
    return;
  }
  const [{ OpenAIInstrumentation }, module] = modules;
  const { prototype } = module.OpenAI.Chat.Completions;
  const plain = prototype.create;
  const traceConfig = { hideInputs: true, hideOutputs: true };
  new OpenAIInstrumentation({ traceConfig }).manuallyInstrument(module);
  const traced = prototype.create;
  const client = new module.OpenAI(options);
  const switchTo = (create: typeof plain) => (): void => {
    prototype.create = create;
  };
  variants.peerBare = { setUp: switchTo(plain), call: () => call(client) };
  variants.peer = { setUp: switchTo(traced), call: () => call(client) };
}

const found: Record<string, number[]> = {};
const order = Object.keys(variants);
for (let turn = 0; turn < WARM_TURN_COUNT + spec.turnCount; turn++) {
  // At another place each, and every other turn backwards: what one leaves behind is not always the same one's to bear.
  const begun = order.map((_, place) => order[(turn + place) % order.length]!);
  for (const name of turn % 2 === 0 ? begun : begun.reverse()) {
    const variant = variants[name]!;
    variant.setUp?.();
    const before = process.threadCpuUsage();
    for (let count = 0; count < spec.callCount; count++) await variant.call();
    const { user, system } = process.threadCpuUsage(before);
    found[name] ??= [];
    if (turn >= WARM_TURN_COUNT) found[name].push((user + system) / spec.callCount);
  }
}
const { started, problems } = instrumentationStats();
const expected = 1 + 2 * spec.callCount * (WARM_TURN_COUNT + spec.turnCount);
if (started !== expected || Object.keys(problems).length > 0) {
  throw new Error(`${started} calls watched of ${expected}; ${JSON.stringify(problems)}`);
}
const means = Object.entries(found).map(([name, values]) => {
  return [name, values.reduce((sum, value) => sum + value, 0) / values.length] as const;
});
process.stdout.write(JSON.stringify(Object.fromEntries(means)), () => process.exit(0));
