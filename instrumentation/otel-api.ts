// SPDX-License-Identifier: Apache-2.0
/**
 * What is registered with the OpenTelemetry API, whichever copy and version of it registered. A copy of the API answers
 * with nothing at all where an older one has registered, and 1.10 has two in one installation, one per module system:
 * through any of them our spans would be gone without a word. Registers nothing.
 */
import {
  type Context,
  type ContextManager,
  context,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';

/** Where every copy of the API 1.x keeps what is registered. */
const SLOT = Symbol.for('opentelemetry.js.api.1');

interface Registry {
  readonly trace?: TracerProvider;
  readonly context?: ContextManager;
}

function registry(): Registry | undefined {
  return (globalThis as Readonly<Record<symbol, unknown>>)[SLOT] as Registry | undefined;
}

/** What is registered is a proxy, which later stands for another provider. */
interface Proxied {
  readonly getDelegate?: () => TracerProvider;
}

let last:
  | { readonly provider: TracerProvider; readonly scopeName: string; readonly tracer: Tracer }
  | undefined;

/** A tracer of the provider that is registered now. To be asked for anew each time: one got before stays silent for ever. */
export function currentTracer(scopeName: string): Tracer {
  const registered = registry()?.trace ?? trace.getTracerProvider();
  const provider = (registered as Proxied).getDelegate?.() ?? registered;
  if (last?.provider !== provider || last.scopeName !== scopeName) {
    last = { provider, scopeName, tracer: provider.getTracer(scopeName) };
  }
  return last.tracer;
}

/** The context manager that is registered now. */
export function currentContextManager(): ContextManager | undefined {
  return registry()?.context;
}

export function activeContext(): Context {
  return currentContextManager()?.active() ?? context.active();
}

/** Runs `work` with `active` as the active context. */
export function withContext<Result>(active: Context, work: () => Result): Result {
  const manager = currentContextManager();
  return manager === undefined ? work() : manager.with(active, work);
}
