// SPDX-License-Identifier: Apache-2.0
/**
 * Gives the hooked functions of a package their channels, in the text of its files. Of a long file only these functions are
 * parsed: a whole one takes a second and more per megabyte. Does not load files, nor say which of them were transformed.
 */
/// <reference path="./tracing-hooks.d.ts" />
import { createRequire } from 'node:module';
import type ModulePatch from '@apm-js-collab/tracing-hooks';
import { TARGETS, versionRange } from './hooks.ts';
import { channelName, type Hook, type Target } from './target.ts';

export type SourceType = 'esm' | 'cjs';

/** Shorter files are parsed whole: that takes some ten milliseconds. */
const WHOLE_LENGTH_MAX = 48 * 1024;

type Matcher = ModulePatch['instrumentator'];
let matcher: Matcher | undefined;

/** The transformer, with its parser, is loaded when there is something to transform: most programs have one package or none. */
function matcherOf(): Matcher {
  if (matcher === undefined) {
    const require = createRequire(import.meta.url);
    const Patch = require('@apm-js-collab/tracing-hooks') as typeof ModulePatch;
    matcher = new Patch({ instrumentations: instrumentations() }).instrumentator;
  }
  return matcher;
}

/**
 * The source of a file with its channels; undefined if nothing of the file is hooked.
 * @param file path in the package, with slashes
 * @throws Error if what is hooked is not found, or the source can not be parsed
 */
export function transformSource(
  target: Target,
  version: string,
  file: string,
  source: () => string,
  type: SourceType,
): string | undefined {
  const hooks = target.hooks.filter((hook) => new RegExp(`^${hook.file}\\.[cm]?js$`).test(file));
  if (hooks.length === 0) return undefined;
  const transformer = matcherOf().getTransformer(target.name, version, file);
  if (transformer === undefined) return undefined;
  const transform = (code: string): string => transformer.transform(code, type).code;
  const text = source();
  return transformPieces(text, hooks, transform) ?? transform(text);
}

/** A class or function that stands at the top of a file. */
interface Piece {
  readonly start: number;
  readonly end: number;
}

/** Undefined if the file is short, or is not written so that its pieces can be told, as one that is minified. */
function transformPieces(
  text: string,
  hooks: readonly Hook[],
  transform: (code: string) => string,
): string | undefined {
  const pieces = text.length > WHOLE_LENGTH_MAX ? piecesOf(text, hooks) : undefined;
  if (pieces === undefined) return undefined;
  const declarations = new Set<string>();
  const parts: string[] = [];
  try {
    let at = 0;
    for (const { start, end } of pieces) {
      const lines = transform(text.slice(start, end)).split('\n');
      const first = lines.findIndex((line) => !DECLARATION.test(line));
      // Each piece brings those it needs, and a file can have each only once.
      for (const line of lines.splice(0, first)) declarations.add(line);
      parts.push(text.slice(at, start), lines.join('\n'));
      at = end;
    }
    const [before = '', ...rest] = parts;
    return [before, ...declarations, rest.join('') + text.slice(at)].join('\n');
  } catch {
    // What looked like the end of a piece was none.
    return undefined;
  }
}

/** What the transformer puts before the code, a line each. */
const DECLARATION = /^(?:import tr_ch_apm|const \{tracingChannel: tr_ch_apm|const tr_ch_apm)/;

/** By the layout that bundlers write: declarations at the top begin in the first column, as do the braces that end them. */
function piecesOf(text: string, hooks: readonly Hook[]): readonly Piece[] | undefined {
  const pieces = new Map<string, Piece>();
  for (const hook of hooks) {
    const isClass = 'className' in hook.function;
    const name = isClass ? hook.function.className : hook.function.functionName;
    const declared = isClass
      ? `(?:class ${name}|(?:var|let|const) ${name} = class)`
      : `(?:async )?function\\*? ${name}`;
    const start = new RegExp(`^(?:export )?${declared}\\b`, 'm').exec(text)?.index;
    if (start === undefined) return undefined;
    const end = /^\};?$/gm;
    end.lastIndex = start;
    if (end.exec(text) === null) return undefined;
    pieces.set(name, { start, end: end.lastIndex });
  }
  return [...pieces.values()].sort((a, b) => a.start - b.start);
}

/** What is hooked, as the transformer wants to be told. */
export function instrumentations(): readonly unknown[] {
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
