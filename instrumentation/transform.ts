// SPDX-License-Identifier: Apache-2.0
/**
 * Gives the hooked functions of a package their channels, in the text of its files. Of a long file only these functions are
 * parsed: a whole one takes a second and more per megabyte. Does not load files, nor say which of them were transformed.
 */
/// <reference path="./tracing-hooks.d.ts" />
import { createRequire } from 'node:module';
import type ModulePatch from '@apm-js-collab/tracing-hooks';
import type { Hook } from './target.ts';

export type SourceType = 'esm' | 'cjs';

/** A function that is hooked, as the transformer wants to be told. Can be sent to another thread. */
export interface Instrumentation {
  readonly channelName: string;
  readonly module: {
    readonly name: string;
    readonly versionRange: string;
    readonly filePath: RegExp;
  };
  readonly functionQuery: Hook['function'];
  /** Which nodes of the syntax tree, where the function alone does not tell. */
  readonly astQuery?: string;
}

/** A file of a package, by its path in it, with slashes. */
export interface VersionedFile {
  readonly name: string;
  readonly version: string;
  readonly file: string;
}

/** Shorter files are parsed whole: that takes some ten milliseconds. */
const WHOLE_LENGTH_MAX = 48 * 1024;

export class SourceTransformer {
  readonly #instrumentations: readonly Instrumentation[];
  #matcher: ModulePatch['instrumentator'] | undefined;

  constructor(instrumentations: readonly Instrumentation[]) {
    this.#instrumentations = instrumentations;
  }

  hasHooksOf(name: string): boolean {
    return this.#instrumentations.some(({ module }) => module.name === name);
  }

  /**
   * The source of a file with its channels; undefined if nothing of the file is hooked.
   * @throws Error if what is hooked is not found, or the source can not be parsed
   */
  transform(
    { name, version, file }: VersionedFile,
    source: () => string,
    type: SourceType,
  ): string | undefined {
    const functions = this.#instrumentations
      .filter(({ module }) => module.name === name && module.filePath.test(file))
      .map(({ functionQuery }) => functionQuery);
    if (functions.length === 0) return undefined;
    const transformer = this.#matcherOf().getTransformer(name, version, file);
    if (transformer === undefined) return undefined;
    const transform = (code: string): string => transformer.transform(code, type).code;
    const text = source();
    return transformPieces(text, functions, transform) ?? transform(text);
  }

  /** The transformer, with its parser, is loaded when there is something to transform: most programs have one package or none. */
  #matcherOf(): ModulePatch['instrumentator'] {
    if (this.#matcher === undefined) {
      const require = createRequire(import.meta.url);
      const Patch = require('@apm-js-collab/tracing-hooks') as typeof ModulePatch;
      this.#matcher = new Patch({ instrumentations: this.#instrumentations }).instrumentator;
    }
    return this.#matcher;
  }
}

/** The text of a source as Node's loaders give it. */
export function textOf(source: string | ArrayBuffer | NodeJS.TypedArray): string {
  return typeof source === 'string' ? source : new TextDecoder().decode(source);
}

/** A class or function that stands at the top of a file. */
interface Piece {
  readonly start: number;
  readonly end: number;
}

/** Undefined if the file is short, or is not written so that its pieces can be told, as one that is minified. */
function transformPieces(
  text: string,
  functions: readonly Hook['function'][],
  transform: (code: string) => string,
): string | undefined {
  const pieces = text.length > WHOLE_LENGTH_MAX ? piecesOf(text, functions) : undefined;
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
function piecesOf(
  text: string,
  functions: readonly Hook['function'][],
): readonly Piece[] | undefined {
  const pieces = new Map<string, Piece>();
  for (const hooked of functions) {
    const isClass = 'className' in hooked;
    const name = isClass ? hooked.className : hooked.functionName;
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
