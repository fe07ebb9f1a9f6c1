// SPDX-License-Identifier: Apache-2.0
/**
 * What runs in the thread that older Nodes load ES modules through: gives those of hooked packages their channels, and tells
 * the main thread. CommonJS modules pass it as they are; they get theirs in the thread that compiles them.
 */
import type { LoadHook } from 'node:module';
import type { MessagePort } from 'node:worker_threads';
import { packageFileOf, versionAt } from './package-files.ts';
import { type Instrumentation, SourceTransformer, textOf } from './transform.ts';

/** What the main thread gives. */
export interface ThreadData {
  readonly instrumentations: readonly Instrumentation[];
  readonly port: MessagePort;
}

let given: { readonly transformer: SourceTransformer; readonly port: MessagePort } | undefined;

export function initialize({ instrumentations, port }: ThreadData): void {
  given = { transformer: new SourceTransformer(instrumentations), port };
}

export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context);
  const { format, source } = loaded;
  if (given === undefined || format !== 'module' || source === undefined || source === null) {
    return loaded;
  }
  const { transformer, port } = given;
  try {
    const at = packageFileOf(url);
    const version = at && transformer.hasHooksOf(at.name) ? versionAt(at.folder) : undefined;
    if (at === undefined || version === undefined) return loaded;
    const hooked = transformer.transform({ ...at, version }, () => textOf(source), 'esm');
    if (hooked === undefined) return loaded;
    port.postMessage({ url });
    return { ...loaded, source: hooked };
  } catch (error) {
    port.postMessage({ url, error: String(error) });
    return loaded;
  }
};
