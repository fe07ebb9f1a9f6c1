// SPDX-License-Identifier: Apache-2.0
/**
 * Puts our hooks under the AI packages an application loads, with no change to its code. Apart from all else, so that no
 * bundler follows an application's import of the governance API into a code transformer. Sees no bundled package.
 */
/// <reference path="./tracing-hooks.d.ts" />
import { Session } from 'node:inspector';
import nodeModule from 'node:module';
import { pathToFileURL } from 'node:url';
import { MessageChannel } from 'node:worker_threads';
import ModulePatch from '@apm-js-collab/tracing-hooks';
// The hooks keep their configuration in the module. With a query it is an instance of our own: another tool that brings
// the same package would replace our configuration, or we theirs, without a word.
import {
  initializeSync,
  loadSync,
  resolveSync,
  setDiagnosticsHook,
} from '@apm-js-collab/tracing-hooks/hook.mjs?sealspan';
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
import { countProblem, guard } from './settings.ts';
import { channelName, subscribeTo } from './target.ts';

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
  const diagnosticsPort = { postMessage: (message: unknown) => noteTransformed(message) };
  initializeSync({ instrumentations: instrumentations(), diagnosticsPort });
  nodeModule.registerHooks({
    resolve: (specifier, context, nextResolve) => {
      const resolved = nextResolve(specifier, context);
      guard('hooks.resolve', () => {
        resolveSync(specifier, context, () => resolved);
        copyOf(resolved.url);
      });
      return resolved;
    },
    load: (url, context, nextLoad) => {
      const loaded = nextLoad(url, context);
      // The package writes into what it is given.
      const hooked = guard('hooks.load', () => loadSync(url, context, () => ({ ...loaded })));
      guard('hooks.loaded', () => noteLoaded(url));
      return hooked ?? loaded;
    },
  });
}

/** ES modules pass through hooks in a thread of Node's, CommonJS modules through the patched compiler in this one. */
function installAsync(): void {
  const { port1, port2 } = new MessageChannel();
  port1.on('message', (message) => noteTransformed(message));
  // Only after the listener: adding one keeps the process alive again.
  port1.unref();
  const hooks = new URL(
    'hook.mjs?sealspan',
    import.meta.resolve('@apm-js-collab/tracing-hooks/hook.mjs'),
  );
  const data = { instrumentations: instrumentations(), diagnosticsPort: port2 };
  nodeModule.register(hooks.href, import.meta.url, { data, transferList: [port2] });
  setDiagnosticsHook((message) => noteTransformed(message));
  patchCompiler();
}

/**
 * An ES module that an application requires passes through the compiler as well, and through none of the thread's hooks. The
 * package's patch would make CommonJS of it, which no longer loads, so these are given their channels here.
 */
function patchCompiler(): void {
  const prototype = nodeModule.prototype as unknown as { _compile: Compile };
  const original = prototype._compile;
  const patch = new ModulePatch({ instrumentations: instrumentations() });
  patch.patch();
  const patched = prototype._compile;
  prototype._compile = function (content, filename, format, ...rest) {
    if (format !== 'module') return patched.call(this, content, filename, format, ...rest);
    const code = guard('hooks.required', () => transformRequired(patch, content, filename));
    return original.call(this, code ?? content, filename, format, ...rest);
  };
}

type Compile = (
  this: unknown,
  content: string,
  filename: string,
  format?: string,
  ...rest: unknown[]
) => unknown;

function transformRequired(
  { instrumentator }: ModulePatch,
  content: string,
  filename: string,
): string | undefined {
  const { href: url } = pathToFileURL(filename);
  const copy = copyOf(url);
  if (copy === undefined) return undefined;
  const { name } = copy.target;
  const folder = `/node_modules/${name}/`;
  const path = filename.replaceAll('\\', '/');
  const file = path.slice(path.lastIndexOf(folder) + folder.length);
  const transformer = instrumentator.getTransformer(name, copy.version, file);
  if (transformer === undefined) return undefined;
  try {
    const { code } = transformer.transform(content, 'esm');
    noteTransformed({ url });
    return code;
  } catch (error) {
    noteTransformed({ url, error });
    return undefined;
  }
}

function instrumentations(): readonly unknown[] {
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
      const path = String(url).replaceAll('\\', '/');
      copy.failed = path.slice(
        path.lastIndexOf(`/${copy.target.name}/`) + copy.target.name.length + 2,
      );
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
        const file = url.replaceAll('\\', '/').replace(/\.[cm]?js$/, '');
        const isHooked = TARGETS.some(({ name, hooks }) =>
          hooks.some((hook) => new RegExp(`/node_modules/${name}/${hook.file}$`).test(file)),
        );
        const copy = isHooked ? copyOf(url) : undefined;
        if (copy !== undefined) copy.wasLoadedBefore = true;
      });
    });
    session.post('Debugger.enable');
    session.post('Debugger.disable');
  } finally {
    session.disconnect();
  }
}
