// SPDX-License-Identifier: Apache-2.0
/**
 * Puts our hooks under the AI packages an application loads, with no change to its code, and says what they cover.
 * A package that was loaded before, has an unknown version or lies in a bundle is not covered; the first two are reported.
 */
/// <reference path="./tracing-hooks.d.ts" />
import { readFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import nodeModule from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
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
  AIGOV_INSTRUMENTATION_STATUS_VALUE_ACTIVE,
  AIGOV_INSTRUMENTATION_STATUS_VALUE_FAILED,
  AIGOV_INSTRUMENTATION_STATUS_VALUE_LOADED_BEFORE_US,
  AIGOV_INSTRUMENTATION_STATUS_VALUE_OUT_OF_RANGE,
  type AIGOV_INSTRUMENTATION_STATUS_VALUES,
} from '../semconv/index.ts';
import { property } from './invocation.ts';
import { countProblem, guard } from './settings.ts';
import { channelName, subscribeTo, type Target } from './target.ts';
import { anthropicTarget } from './targets/anthropic.ts';
import { cohereTarget } from './targets/cohere.ts';
import { googleGenaiTarget } from './targets/google-genai.ts';
import { groqTarget } from './targets/groq.ts';
import { ollamaTarget } from './targets/ollama.ts';
import { openaiTarget } from './targets/openai.ts';
import { vercelAiTarget } from './targets/vercel-ai.ts';

/** Whether calls through a package are seen; `not_loaded` and `not_installed` need nobody's attention. */
export type TargetStatus =
  | (typeof AIGOV_INSTRUMENTATION_STATUS_VALUES)[number]
  | 'not_loaded'
  | 'not_installed';

/** What is seen of one package, or of one of several copies of it. */
export interface CoverageRow {
  readonly target: string;
  /** Undefined if the package is not installed. */
  readonly version: string | undefined;
  readonly status: TargetStatus;
}

export type Coverage = readonly CoverageRow[];

export interface HookOptions {
  /** How to get at modules; by the release of Node unless given. */
  readonly loader?: 'sync' | 'async';
}

const TARGETS: readonly Target[] = [
  openaiTarget,
  anthropicTarget,
  groqTarget,
  vercelAiTarget,
  googleGenaiTarget,
  ollamaTarget,
  cohereTarget,
];

/** A copy of a package that has come to our attention. */
interface Copy {
  readonly target: Target;
  readonly version: string;
  /** Files that were given channels. */
  readonly hooked: Set<string>;
  wasLoadedBefore: boolean;
  hasFailed: boolean;
}

/** By the folder of the copy, with a slash at its end. */
const copies = new Map<string, Copy>();
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

/** What the hooks cover now: a row per copy of a package that was loaded, or one that says why there is none. */
export function coverage(): Coverage {
  return TARGETS.flatMap((target): Coverage => {
    const loaded = [...copies.values()].filter((copy) => copy.target === target);
    if (loaded.length > 0) {
      return loaded.map((copy) => ({
        target: target.name,
        version: copy.version,
        status: statusOf(copy),
      }));
    }
    const version = guard('hooks.installed', () => installedVersion(target.name));
    if (version === undefined) return [{ target: target.name, version, status: 'not_installed' }];
    const status = isKnown(target, version)
      ? 'not_loaded'
      : AIGOV_INSTRUMENTATION_STATUS_VALUE_OUT_OF_RANGE;
    return [{ target: target.name, version, status }];
  });
}

function statusOf(copy: Copy): TargetStatus {
  if (copy.hooked.size === 0 && !copy.wasLoadedBefore && !isKnown(copy.target, copy.version)) {
    return AIGOV_INSTRUMENTATION_STATUS_VALUE_OUT_OF_RANGE;
  }
  if (copy.hasFailed) return AIGOV_INSTRUMENTATION_STATUS_VALUE_FAILED;
  if (copy.wasLoadedBefore) return AIGOV_INSTRUMENTATION_STATUS_VALUE_LOADED_BEFORE_US;
  return copy.hooked.size > 0 ? AIGOV_INSTRUMENTATION_STATUS_VALUE_ACTIVE : 'not_loaded';
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
      const resolved = resolveSync(specifier, context, nextResolve);
      guard('hooks.resolve', () => copyOf(resolved.url));
      return resolved;
    },
    load: loadSync,
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
  return TARGETS.flatMap(({ name, fromVersion, belowVersion, hooks }) =>
    hooks.map((hook) => ({
      channelName: channelName(hook.channel),
      module: {
        name,
        versionRange: `>=${fromVersion} <${belowVersion}`,
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
      copy.hasFailed = true;
      countProblem(`${copy.target.name}.transform`);
    }
  });
}

/** The copy of a target that a file belongs to, known from now on. */
function copyOf(urlOrPath: string): Copy | undefined {
  const at = urlOrPath.replaceAll('\\', '/');
  for (const target of TARGETS) {
    const folder = `/node_modules/${target.name}/`;
    const start = at.lastIndexOf(folder);
    if (start < 0) continue;
    const base = at.slice(0, start + folder.length);
    const path = base.startsWith('file:') ? fileURLToPath(base) : base;
    let copy = copies.get(path);
    if (copy === undefined) {
      const version = versionAt(path);
      if (version === undefined) continue;
      copy = { target, version, hooked: new Set(), wasLoadedBefore: false, hasFailed: false };
      copies.set(path, copy);
    }
    return copy;
  }
  return undefined;
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
          hooks.some((hook) => file.endsWith(`/node_modules/${name}/${hook.file}`)),
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

/** The version that the program would load, from its folder or the working directory upwards. */
function installedVersion(name: string): string | undefined {
  const program = process.argv[1];
  const starts = [...(program === undefined ? [] : [dirname(program)]), process.cwd()];
  for (const start of starts) {
    for (let folder = start; ; folder = dirname(folder)) {
      const version = versionAt(join(folder, 'node_modules', name));
      if (version !== undefined) return version;
      if (folder === dirname(folder)) break;
    }
  }
  return undefined;
}

function versionAt(folder: string): string | undefined {
  try {
    const version = property(
      JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')),
      'version',
    );
    return typeof version === 'string' ? version : undefined;
  } catch {
    return undefined;
  }
}

function isKnown({ fromVersion, belowVersion }: Target, version: string): boolean {
  return compare(version, fromVersion) >= 0 && compare(version, belowVersion) < 0;
}

function compare(a: string, b: string): number {
  const left = numbersOf(a);
  const right = numbersOf(b);
  for (let index = 0; index < 3; index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Major, minor and patch; a pre-release counts as its release. */
function numbersOf(version: string): readonly number[] {
  return version.split(/[-+]/, 1)[0]!.split('.').map(Number);
}
