// SPDX-License-Identifier: Apache-2.0
/**
 * The ways to call a model that every target is shown with, and what the applications that do so have in common.
 * A target may add cases of its own; it must not leave one of these out without saying why.
 */

/** Ways to an answer that some SDKs add. */
const HELPERS = ['asResponse', 'withResponse', 'parse', 'tee', 'toReadableStream'] as const;

/** The cases of the matrix, in the order of the table. What each means to a certain SDK is up to its application. */
export const CASES = [
  'plain',
  'tool call',
  'stream',
  'stream of a tool call',
  'stream broken off',
  'stream with a throwing reader',
  'stream ends early',
  'stream whose connection dies',
  'stream that reports an error',
  'stream never read',
  'stream half read',
  'stream aborted',
  'aborted',
  'timeout',
  'no connection',
  '400',
  '500 after retries',
  'good after retries',
  'never awaited',
  ...HELPERS,
] as const;

export type CaseName = (typeof CASES)[number];

/** Says of an SDK why it has none of the helpers. */
export function noHelpers(
  absent: string = 'the package has no such helper',
): Readonly<Record<(typeof HELPERS)[number], { readonly absent: string }>> {
  const none = { absent };
  return { asResponse: none, withResponse: none, parse: none, tee: none, toReadableStream: none };
}

/** What a case is given. */
export interface App<Sdk> {
  /** The package, loaded in the module system under test. */
  readonly sdk: Sdk;
  /** Address of the provider, without a path. */
  readonly url: string;
}

/** One way to use the SDK. What it returns is all that the application sees of it, so that two runs can be compared. */
export type Case<Sdk> = (app: App<Sdk>) => unknown;

/** What the module of a target's application exports as `cases`. */
export type Cases<Sdk> = Readonly<Record<string, Case<Sdk>>>;

/** The items of a stream, at most `count`: then the loop is left. */
export async function collect<Item>(
  stream: AsyncIterable<Item>,
  count: number = Infinity,
): Promise<Item[]> {
  const items: Item[] = [];
  for await (const item of stream) {
    items.push(item);
    if (items.length >= count) break;
  }
  return items;
}

/** What was read of a stream, and how that ended. `onItem` hears the number of items so far. */
export async function collectUntilError(
  open: () => PromiseLike<AsyncIterable<unknown>> | AsyncIterable<unknown>,
  onItem: (count: number) => void = () => {},
): Promise<unknown> {
  const seen: unknown[] = [];
  const ended = await failing(async () => {
    for await (const item of await open()) {
      seen.push(item);
      onItem(seen.length);
    }
  });
  return [seen, ended];
}

/** Runs what is expected to fail; gives the error as far as an application can tell it apart. */
export async function failing(work: () => unknown): Promise<unknown> {
  try {
    return { returned: await work() };
  } catch (error) {
    return describeError(error);
  }
}

/** An error as far as an application can tell it apart; stacks differ by where they were made. */
export function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { thrown: error };
  const { status, statusCode, code, type, cause } = error as Error & Record<string, unknown>;
  return {
    class: error.constructor.name,
    name: error.name,
    message: error.message,
    keys: Object.keys(error).sort(),
    ...{ status, statusCode, code, type },
    ...(cause instanceof Error && { cause: cause.constructor.name }),
  };
}
