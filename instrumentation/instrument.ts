// SPDX-License-Identifier: Apache-2.0
/**
 * Watches one client by hand, where no hook can reach its package: in a bundle, on the edge, or if it was loaded before us.
 * The client stays the object it is. Other clients of the package stay unwatched, but for those derived from this one.
 */
import { hide, property } from './invocation.ts';
import { guard } from './settings.ts';
import { channelOf, subscribeTo, type Target } from './target.ts';
import { openaiTarget } from './targets/openai.ts';

/** A package whose clients can be told by what they have, since a bundler may have changed the names of its classes. */
interface ClientShape {
  readonly target: Target;
  /** Channel of a resource's `create`, and where the resource is in the client. */
  readonly resources: Readonly<Record<string, string>>;
}

const SHAPES: readonly ClientShape[] = [
  {
    target: openaiTarget,
    resources: { chat: 'chat.completions', responses: 'responses' },
  },
];

type Method = (this: unknown, ...args: unknown[]) => unknown;

const instrumented = new WeakSet<object>();

/**
 * Watches the calls made through `client`, and through those made of it by `withOptions`, as the hooks of
 * `sealspan/register` would; gives `client` back. A client that the hooks watch already, or this did, is left as it is.
 * One thing the hooks see and this does not: the end mark of a stream, so that a stream without a finish reason counts as cut.
 * @throws TypeError if `client` is of no known package
 */
export function instrument<Client extends object>(client: Client): Client {
  const shape = SHAPES.find(({ resources }) =>
    Object.values(resources).every((path) => typeof createAt(client, path) === 'function'),
  );
  if (shape === undefined || typeof property(client, 'makeRequest') !== 'function') {
    throw new TypeError('client: expected a client of the openai package, version 6 or 7');
  }
  if (instrumented.has(client)) return client;
  const { target, resources } = shape;
  const paths = Object.entries(resources);
  if (paths.some(([, path]) => isHooked(createAt(client, path)))) return client;
  instrumented.add(client);
  subscribeTo(target);
  for (const [channel, path] of paths) {
    const calls = channelOf(target.name, channel);
    wrap(resourceAt(client, path) as object, 'create', (original, self, args) =>
      calls.traceSync(original, { arguments: args, self }, self, ...args),
    );
  }
  const requests = channelOf(target.name, 'request');
  wrap(client, 'makeRequest', (original, self, args) =>
    requests.tracePromise(
      original as (...args: unknown[]) => Promise<unknown>,
      { arguments: args, self },
      self,
      ...args,
    ),
  );
  wrap(client, 'withOptions', (original, self, args) => {
    const derived = original.apply(self, args);
    return guard('instrument.withOptions', () => instrument(derived as object)) ?? derived;
  });
  return client;
}

function resourceAt(client: object, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => property(value, name), client);
}

function createAt(client: object, path: string): unknown {
  return property(resourceAt(client, path), 'create');
}

/** Whether the hooks have given a method its channel: the transformer names it in the text of the method. */
function isHooked(method: unknown): boolean {
  return Function.prototype.toString.call(method).includes('tr_ch_apm$sealspan');
}

function wrap(
  target: object,
  name: string,
  by: (original: Method, self: unknown, args: unknown[]) => unknown,
): void {
  const original = property(target, name);
  if (typeof original !== 'function') return;
  hide(target, name, function (this: unknown, ...args: unknown[]) {
    return by(original as Method, this, args);
  });
}
