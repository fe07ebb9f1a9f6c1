// SPDX-License-Identifier: Apache-2.0
/**
 * The one way settings are read and checked: YAML without repeated keys, and objects of known members, whose refusal
 * names what is known. Where a setting stands, the reader of its file tells.
 */
import { type Document, isScalar, LineCounter, parseDocument, visit } from 'yaml';
import { z } from 'zod';

/** A document of YAML, and the first thing wrong with it. */
export interface ParsedYaml {
  readonly document: Document;
  readonly lines: LineCounter;
  readonly problem: { readonly line: number; readonly message: string } | undefined;
}

/** Parses YAML in time that grows with its length, which the parser's own search for repeated keys does not. */
export function parseYaml(text: string): ParsedYaml {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false });
  const [error] = document.errors;
  if (error !== undefined) {
    const message = error.message.split('\n')[0] ?? '';
    return { document, lines, problem: { line: error.linePos?.[0].line ?? 1, message } };
  }
  let problem: ParsedYaml['problem'];
  visit(document, {
    Map: (_key, map) => {
      const known = new Set<unknown>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        if (known.has(key.value)) {
          const { line, col } = lines.linePos(key.range?.[0] ?? 0);
          problem = { line, message: `Map keys must be unique at line ${line}, column ${col}:` };
          return visit.BREAK;
        }
        known.add(key.value);
      }
      return undefined;
    },
  });
  return { document, lines, problem };
}

/** An object that names what it knows where it finds something else: most mistakes are of spelling. */
export const settings = <Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
): z.ZodObject<Shape, z.core.$strict> =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `unknown: ${issue.keys.join(', ')}; known: ${Object.keys(shape).join(', ')}`
        : 'expected settings',
  });
