// SPDX-License-Identifier: Apache-2.0
/**
 * Sees each tracer provider that is registered with the OpenTelemetry API, before the first span goes through it,
 * whichever copy and version of the API registers it, before or after us. Registers nothing, and calls no API: the
 * first to do so decides which version of it the process has, and an application of another version traces nothing.
 * Does not see providers that are never registered.
 */

/** Where every copy of the API 1.x keeps what is registered. */
const SLOT = Symbol.for('opentelemetry.js.api.1');

/** What stands in the slot: an object of the copy that registered first. */
type Registry = Record<string, unknown>;

export interface Registration {
  /** Whether a provider is registered now. */
  isRegistered(): boolean;
  /**
   * Runs `register`, which registers a provider, and lets a later one take its place. The API would refuse the later
   * one as a duplicate, and an application that comes with its own SDK would trace nothing.
   */
  registerReplaceable(register: () => void): void;
  /** Leaves the slot as the API has it. What was attached stays attached. */
  stop(): void;
}

/**
 * Calls `onProvider` with the provider that is registered now, if one is, and with each one registered from now on.
 * @param onProvider must not throw; what it throws is dropped, since the application's registration goes before
 */
export function watchRegistration(onProvider: (provider: unknown) => void): Registration {
  const watch = new Watch(onProvider);
  watch.start();
  return watch;
}

class Watch implements Registration {
  private readonly onProvider: (provider: unknown) => void;
  private readonly proxies = new WeakSet<object>();
  private readonly registries = new WeakSet<object>();
  private registry: Registry | undefined;
  private provider: unknown;
  private registering = false;
  private replaceable: unknown;
  /** The next look at `trace` is a registration asking if the place is taken. */
  private offersPlace = false;

  constructor(onProvider: (provider: unknown) => void) {
    this.onProvider = onProvider;
  }

  start(): void {
    const existing = (globalThis as Record<symbol, unknown>)[SLOT] as Registry | undefined;
    Object.defineProperty(globalThis, SLOT, {
      configurable: true,
      enumerable: true,
      get: () => this.registry,
      // Each registration, of whatever kind, first assigns the slot, if only to itself.
      set: (registry: Registry | undefined) => this.onRegistry(registry),
    });
    if (existing !== undefined) this.onRegistry(existing);
    this.offersPlace = false;
  }

  isRegistered(): boolean {
    return this.registry?.trace !== undefined && this.provider !== undefined;
  }

  registerReplaceable(register: () => void): void {
    this.registering = true;
    try {
      register();
    } finally {
      this.registering = false;
    }
  }

  stop(): void {
    const { registry } = this;
    this.offersPlace = false;
    const trace = registry?.trace;
    if (registry !== undefined && trace !== undefined) {
      Object.defineProperty(registry, 'trace', plain(trace));
    } else if (registry !== undefined) {
      delete registry.trace;
    }
    Object.defineProperty(globalThis, SLOT, plain(registry));
  }

  private onRegistry(registry: Registry | undefined): void {
    this.registry = registry;
    if (typeof registry !== 'object' || registry === null) return;
    // `trace.disable()` deletes the property, and our accessor with it: put up again for the next registration.
    if (!Object.hasOwn(registry, 'trace') || !this.registries.has(registry)) {
      this.watchTrace(registry);
    }
    // Not to our own registration, which goes on with context and propagation: the next look is then a span's.
    this.offersPlace =
      !this.registering && this.replaceable !== undefined && this.replaceable === this.provider;
    if (this.offersPlace) queueMicrotask(() => this.withdraw());
  }

  private withdraw(): void {
    this.offersPlace = false;
  }

  private watchTrace(registry: Registry): void {
    this.registries.add(registry);
    let current: unknown;
    const accept = (proxy: unknown): void => {
      current = proxy;
      this.onProxy(proxy);
    };
    const existing = registry.trace;
    Object.defineProperty(registry, 'trace', {
      configurable: true,
      enumerable: true,
      get: () => {
        if (!this.offersPlace) return current;
        this.offersPlace = false;
        return undefined;
      },
      set: accept,
    });
    if (existing !== undefined) accept(existing);
    else this.provider = undefined;
  }

  /** The API registers a proxy, and then tells it the provider. */
  private onProxy(proxy: unknown): void {
    const { setDelegate, _delegate } = (proxy ?? {}) as {
      setDelegate?: (provider: unknown) => void;
      _delegate?: unknown;
    };
    if (typeof setDelegate !== 'function') {
      this.onRegistered(proxy);
      return;
    }
    if (!this.proxies.has(proxy as object)) {
      this.proxies.add(proxy as object);
      Object.defineProperty(proxy, 'setDelegate', {
        configurable: true,
        writable: true,
        enumerable: false,
        value: (provider: unknown) => {
          this.onRegistered(provider);
          setDelegate.call(proxy, provider);
        },
      });
    }
    if (_delegate !== undefined) this.onRegistered(_delegate);
  }

  private onRegistered(provider: unknown): void {
    if (provider === undefined || provider === null || provider === this.provider) return;
    this.provider = provider;
    this.replaceable = this.registering ? provider : undefined;
    try {
      this.onProvider(provider);
    } catch {
      // The application's registration goes before.
    }
  }
}

function plain(value: unknown): PropertyDescriptor {
  return { value, configurable: true, enumerable: true, writable: true };
}
