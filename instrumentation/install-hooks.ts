// SPDX-License-Identifier: Apache-2.0
/**
 * Puts our hooks under the AI packages an application loads, with no change to its code. Apart from all else, so that no
 * bundler follows an application's import of the governance API into a code transformer. Sees no bundled package.
 */
import { readFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import nodeModule from 'node:module';
import { parse } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { MessageChannel } from 'node:worker_threads';
import {
  type Coverage,
  copyOf,
  coverage,
  installedVersion,
  noteChange,
  numbersOf,
  TARGETS,
  versionRange,
} from './hooks.ts';
import { property } from './invocation.ts';
import { packageFileOf } from './package-files.ts';
import { countProblem, guard } from './settings.ts';
import { channelName, subscribeTo } from './target.ts';
import type { ThreadData } from './thread-hooks.ts';
import { type Instrumentation, SourceTransformer, type SourceType, textOf } from './transform.ts';

export interface HookOptions {
  /** How to get at modules; by the release of Node unless given. */
  readonly loader?: 'sync' | 'async';
}

let isInstalled = false;

/**
 * Installs the hooks, once; call it before the packages are loaded, best by `--import`. Never throws.
 * @returns what is covered so far, as {@link coverage} does at any later time.
 */
export function installHooks(options: HookOptions = {}): Coverage {
  if (!isInstalled) {
    isInstalled = true;
    for (const target of TARGETS) subscribeTo(target);
    guard('hooks.probe', probeLoaded);
    guard('hooks.install', () => {
      if ((options.loader ?? loaderOf(process.versions.node)) === 'sync') installSync();
      else installAsync();
    });
  }
  return coverage();
}

/** Synchronous hooks exist from 22.15 on, and see all modules they should only from these releases on. */
function loaderOf(release: string): 'sync' | 'async' {
  const [major = 0, minor = 0, patch = 0] = numbersOf(release);
  const isSound =
    major >= 26 ||
    (major === 25 && minor >= 1) ||
    (major === 24 && minor >= 13) ||
    (major === 22 && (minor > 22 || (minor === 22 && patch >= 3)));
  return isSound && typeof nodeModule.registerHooks === 'function' ? 'sync' : 'async';
}

function installSync(): void {
  nodeModule.registerHooks({
    resolve: (specifier, context, nextResolve) => {
      const resolved = nextResolve(specifier, context);
      guard('hooks.resolve', () => copyOf(resolved.url));
      return resolved;
    },
    load: (url, context, nextLoad) => {
      const loaded = nextLoad(url, context);
      const source = guard('hooks.load', () => {
        // Node leaves CommonJS for its own loader to read.
        const text = (): string => textOf(loaded.source ?? readFileSync(fileURLToPath(url)));
        return hookedSource(url, text, loaded.format === 'module' ? 'esm' : 'cjs');
      });
      guard('hooks.loaded', () => noteLoaded(url));
      return source === undefined ? loaded : { ...loaded, source, shortCircuit: true };
    },
  });
}

/**
 * ES modules pass through hooks in a thread of Node's. CommonJS modules, and ES modules that an application requires, pass
 * through the compiler in this one, and through none of the thread's hooks.
 */
function installAsync(): void {
  const { port1, port2 } = new MessageChannel();
  port1.on('message', (message) => noteTransformed(message));
  // Only after the listener: adding one keeps the process alive again.
  port1.unref();
  const { ext } = parse(fileURLToPath(import.meta.url));
  const data: ThreadData = { instrumentations: instrumentations(), port: port2 };
  nodeModule.register(`./thread-hooks${ext}`, import.meta.url, { data, transferList: [port2] });
  patchCompiler();
}

function patchCompiler(): void {
  const prototype = nodeModule.prototype as unknown as { _compile: Compile };
  const original = prototype._compile;
  prototype._compile = function (content, filename, format, ...rest) {
    const source = guard('hooks.required', () => {
      const type = format === 'module' ? 'esm' : 'cjs';
      return hookedSource(pathToFileURL(filename).href, () => content, type);
    });
    return original.call(this, source ?? content, filename, format, ...rest);
  };
}

type Compile = (
  this: unknown,
  content: string,
  filename: string,
  format?: string,
  ...rest: unknown[]
) => unknown;

let transformer: SourceTransformer | undefined;

/** The source of a file with its channels; undefined if it has none, or can not have them, which is noted. */
function hookedSource(url: string, source: () => string, type: SourceType): string | undefined {
  const copy = copyOf(url);
  const at = packageFileOf(url);
  if (copy === undefined || at === undefined) return undefined;
  try {
    transformer ??= new SourceTransformer(instrumentations());
    const hooked = transformer.transform({ ...at, version: copy.version }, source, type);
    if (hooked !== undefined) noteTransformed({ url });
    return hooked;
  } catch (error) {
    noteTransformed({ url, error });
    return undefined;
  }
}

/** All that is hooked. */
function instrumentations(): readonly Instrumentation[] {
  return TARGETS.flatMap((target) =>
    target.hooks.map((hook) => ({
      channelName: channelName(hook.channel),
      module: {
        name: target.name,
        versionRange: versionRange({ ...target, ...hook }),
        filePath: new RegExp(`^${hook.file}\\.[cm]?js$`),
      },
      functionQuery: hook.function,
      ...('className' in hook.function && { astQuery: methodQuery(hook.function) }),
    })),
  );
}

/**
 * The method of the class and nothing else. Left to itself, the transformer also takes a class without that method, gives
 * its objects one, and reports success: a package whose shape has changed would look covered.
 */
function methodQuery({ className, methodName }: { className: string; methodName: string }): string {
  const method = `ClassBody > [key.name="${methodName}"][key.type=Identifier] > [async]`;
  return `[id.name="${className}"] > ${method}, [id.name="${className}"] > ClassExpression > ${method}`;
}

/** Hears of each file of a target that was given its channels, or could not be. */
function noteTransformed(message: unknown): void {
  guard('hooks.transformed', () => {
    const url = property(message, 'url');
    const copy = typeof url === 'string' ? copyOf(url) : undefined;
    if (copy === undefined) return;
    if (property(message, 'error') === undefined) {
      copy.hooked.add(String(url));
    } else {
      copy.failed = packageFileOf(String(url))?.file;
      countProblem(`${copy.target.name}.transform`);
    }
    noteChange();
  });
}

/** Hears of each module that was loaded; types and data of a package are none of its code. */
function noteLoaded(url: string): void {
  const copy = /\.[cm]?js$/.test(url) ? copyOf(url) : undefined;
  if (copy === undefined || copy.wasLoaded) return;
  copy.wasLoaded = true;
  noteChange();
}

/**
 * Finds the copies that were loaded before our hooks. Node has no list of the ES modules it has loaded; the debugger has one
 * of all scripts. Asking takes some 20 ms, so it is asked only where a target is installed at all.
 */
function probeLoaded(): void {
  if (!TARGETS.some(({ name }) => installedVersion(name) !== undefined)) return;
  const session = new Session();
  session.connect();
  try {
    session.on('Debugger.scriptParsed', ({ params: { url } }) => {
      guard('hooks.probe', () => {
        const copy = copyOf(url);
        const file = packageFileOf(url)?.file ?? '';
        const isHooked = copy?.target.hooks.some((hook) =>
          new RegExp(`^${hook.file}\\.[cm]?js$`).test(file),
        );
        if (copy !== undefined && isHooked === true) copy.wasLoadedBefore = true;
      });
    });
    session.post('Debugger.enable');
    session.post('Debugger.disable');
  } finally {
    session.disconnect();
  }
}
