// SPDX-License-Identifier: Apache-2.0
/**
 * Writes semconv/attributes.ts and the table in semconv/README.md from semconv/registry; --check only compares.
 * It checks what it needs of the registry, not all that Weaver checks.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

export interface Member {
  readonly id: string;
  readonly value: string;
  readonly brief: string;
}

export interface Use {
  /** Signal the attribute is set on, such as `span aigov.invocation`. */
  readonly where: string;
  readonly level: string;
}

export interface Attribute {
  readonly key: string;
  readonly type: string;
  readonly members: readonly Member[];
  readonly brief: string;
  readonly note: string;
  readonly stability: string;
  readonly examples: readonly unknown[];
  readonly uses: readonly Use[];
}

export interface Registry {
  readonly version: string;
  readonly attributes: readonly Attribute[];
}

interface Ref {
  readonly ref?: string;
  readonly ref_group?: string;
  readonly requirement_level?: string | Readonly<Record<string, string>>;
}

interface Signal {
  readonly id?: string;
  readonly type?: string;
  readonly name?: unknown;
  readonly attributes?: readonly Ref[];
  readonly identity?: readonly Ref[];
  readonly description?: readonly Ref[];
}

interface AttributeSource {
  readonly key: string;
  readonly type: string | { readonly members: readonly Member[] };
  readonly brief: string;
  readonly note: string;
  readonly stability: string;
  readonly examples: readonly unknown[];
}

const BEGIN = '<!-- generated: attributes -->';
const END = '<!-- end generated -->';
const root = new URL('../semconv/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, root), 'utf8');

/**
 * Reads the registry.
 * @throws Error naming the attribute that is incomplete, unused, or used and not defined
 */
export function readRegistry(): Registry {
  const manifest = parse(read('registry/manifest.yaml')) as { schema_url: string };
  const { attributes } = parse(read('registry/attributes.yaml')) as {
    attributes: readonly AttributeSource[];
  };
  const signals = parse(read('registry/signals.yaml')) as Readonly<
    Record<'attribute_groups' | 'entities' | 'spans' | 'events', readonly Signal[]>
  >;
  const uses = new Map<string, Use[]>(attributes.map(({ key }) => [key, []]));
  if (uses.size !== attributes.length) throw new Error('registry: an attribute is defined twice');
  const groups = new Map(signals.attribute_groups.map((group) => [group.id, group]));

  const use = (where: string, refs: readonly Ref[] = []): void => {
    for (const { ref, ref_group: group, requirement_level: level } of refs) {
      if (group !== undefined) {
        if (!groups.has(group)) throw new Error(`registry: ${where} uses ${group}: not defined`);
        continue;
      }
      const list = uses.get(ref ?? '');
      if (list === undefined) throw new Error(`registry: ${where} uses ${ref}: not defined`);
      if (level === undefined) throw new Error(`registry: ${where} uses ${ref}: no level`);
      list.push({ where, level: spellLevel(level) });
    }
  };
  for (const entity of signals.entities) {
    use(`resource ${entity.type}`, [...(entity.identity ?? []), ...(entity.description ?? [])]);
  }
  for (const group of signals.attribute_groups) use(`group ${group.id}`, group.attributes);
  for (const span of signals.spans) use(`span ${span.type}`, span.attributes);
  for (const event of signals.events) use(`event ${event.name}`, event.attributes);

  return {
    version: manifest.schema_url.slice(manifest.schema_url.lastIndexOf('/') + 1),
    attributes: attributes.map((source) => {
      const { key, type, brief, note, stability, examples } = source;
      for (const part of ['type', 'brief', 'note', 'stability', 'examples'] as const) {
        if (source[part] === undefined) throw new Error(`registry: ${key}: no ${part}`);
      }
      if (uses.get(key)!.length === 0) throw new Error(`registry: ${key}: no signal uses it`);
      const members = typeof type === 'string' ? [] : type.members;
      const spelledType = typeof type === 'string' ? type : 'enum';
      const used = uses.get(key)!;
      return { key, type: spelledType, members, brief, note, stability, examples, uses: used };
    }),
  };
}

function spellLevel(level: string | Readonly<Record<string, string>>): string {
  if (typeof level === 'string') return level.replace('_', ' ');
  const [name, condition] = Object.entries(level)[0]!;
  const words = name.replace('_', ' ');
  return `${words}: ${condition.charAt(0).toLowerCase()}${condition.slice(1).replace(/\.$/, '')}`;
}

const constantName = (key: string): string => key.toUpperCase().replaceAll('.', '_');

/** The text of semconv/attributes.ts, formatted as the formatter leaves it. */
export function generateAttributes(registry: Registry): string {
  const lines = [
    '// SPDX-License-Identifier: Apache-2.0',
    '/**',
    ' * Every name of the aigov vocabulary, generated from registry/ by scripts/semconv.ts: edit there.',
    ' * A name here says nothing about who sets it: registry/signals.yaml does.',
    ' */',
    '',
    '/** Version of the vocabulary, the value of `aigov.schema.version`. */',
    `export const AIGOV_SCHEMA_VERSION = '${registry.version}';`,
  ];
  for (const { key, brief, members } of registry.attributes) {
    const name = constantName(key);
    lines.push('', `/** ${brief} */`, `export const ATTR_${name} = '${key}';`);
    if (members.length === 0) continue;
    for (const { id, value } of members) {
      lines.push(`export const ${name}_VALUE_${constantName(id)} = '${value}';`);
    }
    const values = members.map(({ value }) => `'${value}'`);
    const oneLine = `export const ${name}_VALUES = [${values.join(', ')}] as const;`;
    if (oneLine.length <= 100) lines.push(oneLine);
    else {
      lines.push(`export const ${name}_VALUES = [`, ...values.map((value) => `  ${value},`));
      lines.push('] as const;');
    }
  }
  return `${lines.join('\n')}\n`;
}

/** `readme` with the table between its markers replaced. */
export function generateReadme(registry: Registry, readme: string): string {
  const rows = registry.attributes.map(({ key, type, members, brief, note, examples, uses }) => {
    const values = members.map(({ value }) => `\`${value}\``).join(', ');
    const example = examples[0];
    const shown = Array.isArray(example) ? JSON.stringify(example) : String(example);
    const where = uses.map((use) => `${use.where} (${use.level})`).join('; ');
    const cells = [`\`${key}\``, values || type, brief, where, values ? '' : `\`${shown}\``, note];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  const [before, rest] = readme.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error('README.md: no markers');
  const table = [
    // Aligned columns would rewrite every row when one grows.
    '<!-- biome-ignore format: one attribute, one changed line -->',
    '| Attribute | Type | Meaning | Where (level) | Example | Note and source |',
    '|---|---|---|---|---|---|',
    ...rows,
  ].join('\n');
  return `${before}${BEGIN}\n\n${table}\n\n${END}${after}`;
}

if (import.meta.main) {
  const registry = readRegistry();
  const outputs = [
    ['attributes.ts', generateAttributes(registry)],
    ['README.md', generateReadme(registry, read('README.md'))],
  ] as const;
  const check = process.argv.includes('--check');
  for (const [name, text] of outputs) {
    const path = new URL(name, root);
    if (!check) writeFileSync(path, text);
    else if (readFileSync(path, 'utf8') !== text) {
      console.error(
        `${fileURLToPath(path)} is not what the registry gives: run node scripts/semconv.ts`,
      );
      process.exitCode = 1;
    }
  }
}
