// SPDX-License-Identifier: Apache-2.0
/**
 * What applications do with an SDK of the generator that made openai's, given how its client is made and its method called.
 */
import { type Case, collect, collectUntilError, failing } from './case.ts';

/** The promise such a method gives. */
export interface ApiPromise extends Promise<unknown> {
  asResponse(): Promise<Response>;
  withResponse(): Promise<{ data: unknown; response: Response }>;
}

/** The stream such a promise gives. */
export interface Stream extends AsyncIterable<unknown> {
  readonly controller: AbortController;
  tee(): readonly [Stream, Stream];
  toReadableStream(): ReadableStream;
}

/** How to call the SDK. */
export interface Sdk<Module> {
  /** Calls the method of a client made with `clientOptions`. */
  readonly create: (
    sdk: Module,
    url: string,
    body: object,
    options?: object,
    clientOptions?: object,
  ) => ApiPromise;
  readonly body: (model: string) => object;
  readonly tools: object;
  /** What the body of a call has that asks for a stream. */
  readonly streaming?: object;
  /** How many items a stream gives at least that stops and keeps its connection. */
  readonly itemsBeforeAbort?: number;
}

/** The shared cases, and those of this generator's own. */
export function stainlessCases<Module>({
  create,
  body,
  tools,
  streaming = { stream: true },
  itemsBeforeAbort = 3,
}: Sdk<Module>): Readonly<Record<string, Case<Module>>> {
  const streamed = (model: string) => ({ ...body(model), ...streaming });
  type Given = { readonly sdk: Module; readonly url: string };
  const open = async ({ sdk, url }: Given, model: string, options?: object): Promise<Stream> =>
    (await create(sdk, url, streamed(model), options)) as Stream;
  return {
    plain: ({ sdk, url }) => create(sdk, url, body('m-fake')),
    'tool call': ({ sdk, url }) => create(sdk, url, { ...body('m-tools'), ...tools }),
    stream: async (app) => collect(await open(app, 'm-fake')),
    'stream of a tool call': async ({ sdk, url }) =>
      collect((await create(sdk, url, { ...streamed('m-tools'), ...tools })) as Stream),
    'stream broken off': async (app) => collect(await open(app, 'm-fake'), 4),
    'stream with a throwing reader': (app) =>
      failing(async () => {
        for await (const _ of await open(app, 'm-fake')) throw new Error('mine');
      }),
    'stream ends early': (app) => collectUntilError(() => open(app, 'm-cut')),
    'stream whose connection dies': (app) => collectUntilError(() => open(app, 'm-dies')),
    'stream that reports an error': (app) => collectUntilError(() => open(app, 'm-error')),
    'stream never read': async (app) => {
      await open(app, 'm-fake');
      return 'dropped';
    },
    'stream half read': async (app) => {
      const stream = await open(app, 'm-fake');
      return stream[Symbol.asyncIterator]().next();
    },
    'stream aborted': (app) => {
      const controller = new AbortController();
      return collectUntilError(
        () => open(app, 'm-waits', { signal: controller.signal }),
        (count) => {
          if (count === itemsBeforeAbort) setTimeout(() => controller.abort(), 5);
        },
      );
    },
    'stream aborted by its controller': async (app) => {
      const stream = await open(app, 'm-waits');
      return collectUntilError(
        () => stream,
        (count) => {
          if (count === itemsBeforeAbort) stream.controller.abort();
        },
      );
    },
    'stream aborted before it is read': async (app) => {
      const stream = await open(app, 'm-waits');
      stream.controller.abort();
      return collectUntilError(() => stream);
    },
    aborted: ({ sdk, url }) =>
      failing(() => {
        const controller = new AbortController();
        setTimeout(() => controller.abort(), 20);
        return create(sdk, url, body('m-hangs'), { signal: controller.signal });
      }),
    timeout: ({ sdk, url }) =>
      failing(() => create(sdk, url, body('m-hangs'), { timeout: 50, maxRetries: 0 })),
    'no connection': ({ sdk }) =>
      failing(() => create(sdk, 'http://127.0.0.1:2', body('m-fake'), {}, { maxRetries: 0 })),
    '400': ({ sdk, url }) => failing(() => create(sdk, url, body('m-refuses'))),
    '500 after retries': ({ sdk, url }) =>
      failing(() => create(sdk, url, body('m-broken'), { maxRetries: 1 })),
    'good after retries': ({ sdk, url }) => create(sdk, url, body('m-flaky')),
    'never awaited': ({ sdk, url }) => {
      create(sdk, url, body('m-fake'));
      return 'dropped';
    },
    'not JSON': ({ sdk, url }) => create(sdk, url, body('m-html')),
    asResponse: async ({ sdk, url }) => {
      const response = await create(sdk, url, body('m-fake')).asResponse();
      return [response.status, await response.json()];
    },
    'asResponse of a stream': async ({ sdk, url }) => {
      const response = await create(sdk, url, streamed('m-fake')).asResponse();
      return [response.status, await response.text()];
    },
    withResponse: async ({ sdk, url }) => {
      const { data, response, ...rest } = await create(sdk, url, body('m-fake')).withResponse();
      return [data, response.status, rest];
    },
    'withResponse of a stream': async ({ sdk, url }) => {
      const { data } = await create(sdk, url, streamed('m-fake')).withResponse();
      return collect(data as Stream);
    },
    tee: async (app) => {
      const [left, right] = (await open(app, 'm-fake')).tee();
      return Promise.all([collect(left), collect(right)]);
    },
    toReadableStream: async (app) =>
      new Response((await open(app, 'm-fake')).toReadableStream()).text(),
  };
}

/** How the calls of these cases end, with every SDK of this generator. */
export const STAINLESS_ENDS = {
  plain: 'complete',
  'tool call': 'complete',
  stream: 'complete',
  'stream of a tool call': 'complete',
  'stream broken off': 'aborted break',
  'stream with a throwing reader': 'aborted break',
  'stream ends early': 'error truncated truncated',
  'stream whose connection dies': 'error connection UND_ERR_SOCKET',
  'stream never read': 'abandoned unread',
  'stream half read': 'abandoned',
  'stream aborted': 'aborted signal',
  'stream aborted by its controller': 'aborted signal',
  'stream aborted before it is read': 'aborted signal',
  aborted: 'aborted signal',
  timeout: 'error timeout timeout',
  'no connection': 'error connection ECONNREFUSED',
  '400': 'error 400',
  '500 after retries': 'error 500',
  'good after retries': 'complete',
  'never awaited': 'abandoned unread',
  'not JSON': 'complete',
  asResponse: 'complete raw_response',
  'asResponse of a stream': 'complete raw_response',
  withResponse: 'complete',
  'withResponse of a stream': 'complete',
  tee: 'complete',
  toReadableStream: 'complete',
} as const;
