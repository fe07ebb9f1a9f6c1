// SPDX-License-Identifier: Apache-2.0
/**
 * Puts a capture between a tracer provider that the application built and its processors and samplers, for the SDK
 * lines 1.30, 2.x and 3.x. No line offers this in public, so each private field is looked at before it is touched:
 * a provider of an unknown shape is refused and left as it was. Does not find providers; see `registration.ts`.
 */

import type { SamplerLike, SpanProcessorLike } from '../otlp/sdk-shapes.ts';
import type { Capture } from './capture.ts';

export type AttachOutcome =
  | { readonly status: 'attached' }
  /** Its spans are not recorded. `reason` says what about it is unknown. */
  | { readonly status: 'refused'; readonly reason: string };

/** What stands between a provider and its processors and samplers. */
export type Interposed = Pick<Capture, 'wrapProcessors' | 'sampler'>;

/** The private parts of a provider that a capture needs. */
interface ProviderParts {
  /** The very array that the provider walks for each span. */
  readonly processors: SpanProcessorLike[];
  readonly tracers: ReadonlyMap<unknown, unknown>;
  readonly getTracer: (...parameters: unknown[]) => unknown;
}

interface TracerParts {
  _sampler: SamplerLike;
  readonly instrumentationScope?: { readonly name?: string };
  readonly instrumentationLibrary?: { readonly name?: string };
}

const attached = new WeakMap<object, Interposed>();
const ATTACHED: AttachOutcome = { status: 'attached' };

/**
 * Lets `capture` see the spans of `provider`, including those of tracers it gave out before. A second call changes
 * nothing. Never throws.
 * @param provider a `TracerProvider` of SDK 1.30, 2.x or 3.x, or the API's proxy for one
 */
export function attach(provider: unknown, capture: Interposed): AttachOutcome {
  try {
    const real = behindProxy(provider);
    if (typeof real !== 'object' || real === null) return refused('it is no tracer provider');
    const before = attached.get(real);
    if (before === capture) return ATTACHED;
    if (before !== undefined) return refused('another audit is attached to it');
    const parts = partsOf(real);
    if (typeof parts === 'string') return refused(parts);
    interpose(real, parts, capture);
    attached.set(real, capture);
    return ATTACHED;
  } catch (error) {
    return refused(`it threw: ${error instanceof Error ? error.message : 'no error object'}`);
  }
}

function refused(reason: string): AttachOutcome {
  return { status: 'refused', reason };
}

function behindProxy(provider: unknown): unknown {
  const proxy = provider as { getDelegate?: () => unknown } | null | undefined;
  return typeof proxy?.getDelegate === 'function' ? proxy.getDelegate() : provider;
}

/** What is written to is looked at here, all of it, so that nothing is changed by half. */
function partsOf(provider: object): ProviderParts | string {
  const fields = provider as Readonly<Record<string, unknown>>;
  const { getTracer } = fields;
  if (typeof getTracer !== 'function') return 'it has no getTracer';
  // 2.x and 3.x; 1.x without the underscore.
  const active = fields._activeSpanProcessor ?? fields.activeSpanProcessor;
  if (!isProcessor(active))
    return 'its span processor is not where an SDK of 1.30, 2.x or 3.x has it';
  const processors = processorsOf(fields, active);
  if (processors === undefined) return 'its list of span processors is of an unknown shape';
  if (!(fields._tracers instanceof Map)) return 'its tracers are of an unknown shape';
  // Any tracer will do, and ours is the one that no other tracer can be mistaken for.
  const probe: unknown = getTracer.call(provider, 'sealspan');
  if (!isTracer(probe))
    return 'the sampler of its tracers is not where an SDK of 1.30, 2.x or 3.x has it';
  return {
    processors,
    tracers: fields._tracers,
    getTracer: getTracer as ProviderParts['getTracer'],
  };
}

function processorsOf(
  provider: Readonly<Record<string, unknown>>,
  active: SpanProcessorLike,
): SpanProcessorLike[] | undefined {
  const list: unknown = (active as { _spanProcessors?: unknown })._spanProcessors;
  if (Array.isArray(list)) return list.every(isProcessor) ? list : undefined;
  // A provider of 1.x that was given no processor has a default one, and puts up a list with the first one added. If
  // its list is not empty by then, it does not shut the default one down, which is now behind our gate.
  const { _registeredSpanProcessors: registered, addSpanProcessor } = provider;
  if (!Array.isArray(registered) || typeof addSpanProcessor !== 'function') return undefined;
  registered.unshift(active);
  addSpanProcessor.call(provider, NOTHING);
  registered.pop();
  return registered;
}

function interpose(provider: object, parts: ProviderParts, capture: Interposed): void {
  const { processors, tracers, getTracer } = parts;
  processors.splice(0, processors.length, ...capture.wrapProcessors(processors.slice()));

  // One sampler per tracer, since `shouldSample` is told no scope, and for some conventions the scope is the marker.
  const sampled = new WeakSet<object>();
  const interposeSampler = (tracer: unknown): void => {
    if (!isTracer(tracer) || sampled.has(tracer)) return;
    sampled.add(tracer);
    const scope = tracer.instrumentationScope ?? tracer.instrumentationLibrary;
    tracer._sampler = capture.sampler(tracer._sampler, scope?.name);
  };
  for (const tracer of tracers.values()) interposeSampler(tracer);
  replace(provider, 'getTracer', (...parameters: unknown[]) => {
    const tracer: unknown = getTracer.apply(provider, parameters);
    interposeSampler(tracer);
    return tracer;
  });

  // 1.x takes processors later, too.
  const { addSpanProcessor } = provider as { addSpanProcessor?: (p: unknown) => void };
  if (typeof addSpanProcessor !== 'function') return;
  replace(provider, 'addSpanProcessor', (processor: unknown) => {
    const [, gate] = isProcessor(processor) ? capture.wrapProcessors([processor]) : [];
    addSpanProcessor.call(provider, gate ?? processor);
  });
}

function replace(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, {
    value,
    writable: true,
    configurable: true,
    enumerable: false,
  });
}

function isProcessor(value: unknown): value is SpanProcessorLike {
  const { onStart, onEnd } = (value ?? {}) as { onStart?: unknown; onEnd?: unknown };
  return typeof onStart === 'function' && typeof onEnd === 'function';
}

function isTracer(value: unknown): value is TracerParts {
  const { _sampler } = (value ?? {}) as { _sampler?: { shouldSample?: unknown } };
  return typeof _sampler?.shouldSample === 'function';
}

const NOTHING: SpanProcessorLike = {
  onStart: () => {},
  onEnd: () => {},
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};
