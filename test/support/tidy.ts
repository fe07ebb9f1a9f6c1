// SPDX-License-Identifier: Apache-2.0
/**
 * The rules of the house as functions over a map of files, so that each can be shown a bad example.
 * They scan text: they find what is written down plainly, and not what is computed (an import of
 * a variable, a console reached through an alias).
 */
import { isBuiltin } from 'node:module';
import { posix } from 'node:path';

/** Text files by their path from the root of the checkout, with forward slashes. */
export type Files = ReadonlyMap<string, string>;

/** A rule answers with one line per problem, each starting with the file; none when all is well. */
export type Rule = (files: Files) => readonly string[];

interface Masked {
  /** The source with comments, string contents and regular expressions blanked, same offsets. */
  readonly code: string;
  /** Only the comments; all else blanked, same offsets. */
  readonly comments: string;
}

interface Import {
  readonly specifier: string;
  readonly line: number;
  /** `url` is `new URL('./x', import.meta.url)`: a worker or a file, reached but not loaded. */
  readonly kind: 'import' | 'reexport' | 'url';
}

const masks = new Map<string, Masked>();

/** Splits a source into code and comments; a template's `${}` counts as code. */
export function mask(source: string): Masked {
  const known = masks.get(source);
  if (known !== undefined) return known;
  const code = source.split('');
  const comments: string[] = code.map((char) => (char === '\n' ? char : ' '));
  const blank = (from: number, to: number): void => {
    for (let at = from; at < to; at += 1) if (code[at] !== '\n') code[at] = ' ';
  };
  /** Brace depth at which each open template continues. */
  const templates: number[] = [];
  let depth = 0;
  let at = 0;

  const template = (from: number): number => {
    let end = from;
    while (end < source.length && source[end] !== '`') {
      if (source[end] === '$' && source[end + 1] === '{') {
        blank(from, end);
        templates.push(depth);
        depth += 1;
        return end + 2;
      }
      end += source[end] === '\\' ? 2 : 1;
    }
    blank(from, end);
    return end + 1;
  };

  while (at < source.length) {
    const char = source[at] as string;
    const pair = source.slice(at, at + 2);
    if (pair === '//' || pair === '/*') {
      const close = pair === '//' ? source.indexOf('\n', at) : source.indexOf('*/', at + 2) + 2;
      const end = close < at + 2 ? source.length : close;
      for (let i = at; i < end; i += 1) comments[i] = source[i] as string;
      blank(at, end);
      at = end;
    } else if (char === "'" || char === '"') {
      let end = at + 1;
      while (end < source.length && source[end] !== char && source[end] !== '\n') {
        end += source[end] === '\\' ? 2 : 1;
      }
      blank(at + 1, end);
      at = end + 1;
    } else if (char === '`') {
      at = template(at + 1);
    } else if (char === '/' && startsExpression(code.slice(Math.max(0, at - 40), at).join(''))) {
      let end = at + 1;
      let inClass = false;
      while (end < source.length && source[end] !== '\n' && (inClass || source[end] !== '/')) {
        if (source[end] === '[') inClass = true;
        if (source[end] === ']') inClass = false;
        end += source[end] === '\\' ? 2 : 1;
      }
      blank(at, end + 1);
      at = end + 1;
    } else {
      if (char === '{') depth += 1;
      if (char === '}') depth -= 1;
      at += 1;
      if (char === '}' && templates.at(-1) === depth) {
        templates.pop();
        at = template(at);
      }
    }
  }
  const masked = { code: code.join(''), comments: comments.join('') };
  masks.set(source, masked);
  return masked;
}

/** Whether a slash after this code begins a regular expression and does not divide. */
function startsExpression(before: string): boolean {
  const text = before.trimEnd();
  if (/(^|[^\w$.])(return|typeof|case|in|of|throw|else|await|yield|void|new)$/.test(text))
    return true;
  return text === '' || /[(,=:[!&|?{};+\-*%<>~^}]$/.test(text);
}

const IMPORTS: readonly (readonly [Import['kind'] | 'from', RegExp])[] = [
  ['from', /\b(import|export)\b[^'"`;]*?\bfrom\s*(['"])([^'"]*)\2/dg],
  ['import', /\b(import|require)\s*\(?\s*(['"])([^'"]*)\2/dg],
  ['url', /\b(new)\s+URL\(\s*(['"])([^'"]*)\2\s*,\s*import\.meta\.url/dg],
];

/** Every import, re-export and `new URL(…, import.meta.url)` whose target is written as a string. */
export function importsOf(source: string): readonly Import[] {
  const { code } = mask(source);
  const found: Import[] = [];
  for (const [form, pattern] of IMPORTS) {
    for (const match of code.matchAll(pattern)) {
      const [from, to] = match.indices?.[3] ?? [0, 0];
      const kind = form === 'from' ? (match[1] === 'export' ? 'reexport' : 'import') : form;
      found.push({ specifier: source.slice(from, to), line: lineAt(source, from), kind });
    }
  }
  return found.sort((a, b) => a.line - b.line);
}

function lineAt(source: string, offset: number): number {
  return source.slice(0, offset).split('\n').length;
}

function lineCount(source: string): number {
  return source.replace(/\n$/, '').split('\n').length;
}

const SOURCE = /^(semconv|instrumentation|exporter)\/.*\.ts$|^index\.ts$/;
const CODE = /\.(ts|mts|cts|js|mjs|cjs)$/;

function sources(files: Files): readonly (readonly [string, string])[] {
  return [...files].filter(([path]) => SOURCE.test(path) && !path.endsWith('.d.ts'));
}

function code(files: Files): readonly (readonly [string, string])[] {
  return [...files].filter(([path]) => CODE.test(path));
}

/** Problems for each match of a pattern in one of the two masks. */
function matches(
  list: readonly (readonly [string, string])[],
  part: keyof Masked,
  pattern: RegExp,
  problem: string,
): readonly string[] {
  return list.flatMap(([path, source]) =>
    [...mask(source)[part].matchAll(pattern)].map(
      (match) => `${path}:${lineAt(source, match.index)} ${problem}`,
    ),
  );
}

function resolveFrom(path: string, specifier: string): string {
  return posix.normalize(posix.join(posix.dirname(path), specifier));
}

function isRelative(specifier: string): boolean {
  return specifier.startsWith('.');
}

/** `@scope/name/sub` and `name/sub` without the `sub`. */
function packageName(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

interface Manifest {
  readonly name: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

function manifest(files: Files): Manifest {
  const empty = { name: '', exports: {}, dependencies: {}, peerDependencies: {} };
  const parsed = JSON.parse(files.get('package.json') ?? '{}') as Partial<Manifest>;
  return { ...empty, devDependencies: {}, ...parsed };
}

type Layer = readonly [layer: string, mayImport: readonly string[]];

/** The rooms of one layer; each may import itself, those named with it, and what is below the layer. */
function roomsOf(layer: string, rooms: readonly Layer[]): Layer[] {
  return rooms.map(([room, others]) => [
    layer + room,
    [room, ...others].map((name) => layer + name).concat('exporter/log/', 'semconv/'),
  ]);
}

/** Who may import whom (DESIGN section 3). The first prefix that fits a file is its layer. */
const LAYERS: readonly Layer[] = [
  ['semconv/', ['semconv/']],
  ['instrumentation/register.ts', ['instrumentation/', 'semconv/', 'exporter/node/']],
  ['instrumentation/', ['instrumentation/', 'semconv/']],
  ['exporter/log/', ['exporter/log/', 'semconv/']],
  ...roomsOf('exporter/node/', [
    ['system/', []],
    ['otlp/', ['system/']],
    ['storage/', ['system/', 'otlp/']],
    ['config/', ['system/', 'otlp/', 'storage/']],
    ['capture/', ['system/', 'otlp/']],
    ['forward/', ['system/', 'otlp/', 'storage/']],
    ['verifying/', ['system/']],
    ['archive/', ['system/', 'otlp/', 'storage/', 'config/', 'verifying/']],
    ['sealing/', ['system/', 'otlp/', 'storage/', 'config/', 'capture/', 'forward/', 'archive/']],
    ['gateway/', ['system/', 'otlp/', 'config/', 'capture/', 'sealing/']],
  ]),
  ['exporter/node/', ['exporter/node/', 'exporter/log/', 'semconv/']],
  ['exporter/cli/', ['exporter/cli/', 'exporter/node/', 'exporter/log/', 'semconv/']],
  ['exporter/viewer/', ['exporter/viewer/', 'exporter/log/']],
  ['index.ts', []],
];

export const layersHold: Rule = (files) =>
  sources(files).flatMap(([path, source]) => {
    const layer = LAYERS.find(([prefix]) => path.startsWith(prefix));
    if (layer === undefined) return [`${path} belongs to no layer`];
    return importsOf(source)
      .filter(({ specifier }) => isRelative(specifier))
      .map(({ specifier, line }) => ({ target: resolveFrom(path, specifier), line }))
      .filter(({ target }) => !layer[1].some((prefix) => target.startsWith(prefix)))
      .map(({ target, line }) => `${path}:${line} must not import ${target}`);
  });

export const relativeImportsNameAFile: Rule = (files) =>
  sources(files).flatMap(([path, source]) =>
    importsOf(source)
      .filter(({ specifier, kind }) => isRelative(specifier) && kind !== 'url')
      .filter(({ specifier }) => !files.has(resolveFrom(path, specifier)))
      .map(({ specifier, line }) => `${path}:${line} imports no file of the tree: ${specifier}`),
  );

export const noCycles: Rule = (files) => {
  const edges = new Map(
    sources(files).map(([path, source]) => [
      path,
      importsOf(source)
        .filter(({ specifier, kind }) => isRelative(specifier) && kind !== 'url')
        .map(({ specifier }) => resolveFrom(path, specifier)),
    ]),
  );
  const done = new Set<string>();
  const problems: string[] = [];
  const walk = (path: string, trail: readonly string[]): void => {
    const seenAt = trail.indexOf(path);
    if (seenAt >= 0) problems.push(`${[...trail.slice(seenAt), path].join(' -> ')} is a cycle`);
    if (seenAt >= 0 || done.has(path)) return;
    for (const next of edges.get(path) ?? []) walk(next, [...trail, path]);
    done.add(path);
  };
  for (const path of edges.keys()) walk(path, []);
  return problems;
};

/** What several examples share: a provider to talk to, an auditor to read with. */
const SUPPORT = 'examples/support/';

export const examplesUsePublicNames: Rule = (files) => {
  const { name, exports } = manifest(files);
  const entries = new Set(Object.keys(exports).map((key) => posix.join(name, key)));
  return code(files)
    .filter(([path]) => path.startsWith('examples/'))
    .flatMap(([path, source]) => {
      const home = path.split('/', 2).join('/');
      return importsOf(source)
        .filter(({ specifier }) =>
          isRelative(specifier)
            ? ![`${home}/`, SUPPORT].some((at) => resolveFrom(path, specifier).startsWith(at))
            : packageName(specifier) === name && !entries.has(specifier),
        )
        .map(({ specifier, line }) => `${path}:${line} imports what is not public: ${specifier}`);
    });
};

export const builtinsWherePermitted: Rule = (files) =>
  sources(files).flatMap(([path, source]) =>
    importsOf(source)
      .filter(({ specifier }) => isBuiltin(specifier))
      .flatMap(({ specifier, line }) => {
        if (/^(semconv|exporter\/log|exporter\/viewer)\//.test(path)) {
          return [`${path}:${line} must run without Node: ${specifier}`];
        }
        return specifier.startsWith('node:') ? [] : [`${path}:${line} lacks node: ${specifier}`];
      }),
  );

export const thirdPartyIsDeclared: Rule = (files) => {
  const { dependencies, peerDependencies } = manifest(files);
  return sources(files).flatMap(([path, source]) =>
    importsOf(source)
      .filter(({ specifier }) => !isRelative(specifier) && !isBuiltin(specifier))
      .filter(({ specifier }) => {
        const name = packageName(specifier);
        return !(name in dependencies) && !(name in peerDependencies);
      })
      .map(({ specifier, line }) => `${path}:${line} is no dependency or peer: ${specifier}`),
  );
};

export const dependenciesAreJustified: Rule = (files) => {
  const { dependencies, peerDependencies, devDependencies } = manifest(files);
  const text = files.get('CONTRIBUTING.md') ?? '';
  return Object.keys({ ...dependencies, ...peerDependencies, ...devDependencies })
    .filter((name) => !text.includes(`| \`${name}\` |`))
    .map((name) => `CONTRIBUTING.md has no line for ${name}`);
};

export const noDefaultExports: Rule = (files) =>
  matches(
    code(files).filter(([path]) => path !== 'vitest.config.ts'),
    'code',
    /\bexport\s+default\b|\bas\s+default\b/g,
    'exports a default',
  );

/** The one kind of file that may re-export: what an entry point of the package is built from. */
export const noBarrels: Rule = (files) => {
  const entries = Object.values(manifest(files).exports).map((target) => {
    const file = typeof target === 'string' ? target : (target as { default?: string }).default;
    return (file ?? '').replace(/^\.\/(dist\/)?/, '').replace(/\.js$/, '.ts');
  });
  return sources(files).flatMap(([path, source]) => {
    if (entries.includes(path)) return [];
    if (path.endsWith('/index.ts')) return [`${path} is an index but no entry point`];
    return importsOf(source)
      .filter(({ kind }) => kind === 'reexport')
      .map(({ specifier, line }) => `${path}:${line} re-exports from ${specifier}`);
  });
};

/** In type positions only: an AnyValue of OTLP may well be held in a variable of that name. */
const ANY = new RegExp(
  [
    /(?::|=>|[<|&]|\b(?:as|is|extends|satisfies)|\btype\s+\w+\s*=)\s*any(?![\w$.(])/,
    /(?<![\w$.])any\s*(?:\[\]|>)/,
  ]
    .map((pattern) => pattern.source)
    .join('|'),
  'g',
);

export const noAny: Rule = (files) => matches(code(files), 'code', ANY, 'says any');

export const noConsole: Rule = (files) =>
  matches(sources(files), 'code', /(?<![.\w$])console\s*[.[]/g, 'uses console');

/** But for the composition root, which has to say why it stops a process that is not its own. */
const COMPOSITION_ROOT = 'instrumentation/register.ts';

export const oneFileWritesToTheTerminal: Rule = (files) => {
  const writes = matches(
    sources(files).filter(([path]) => path !== COMPOSITION_ROOT),
    'code',
    /\bprocess\s*\.\s*(stdout|stderr)\b|\bwriteSync\(\s*[12]\b/g,
    'writes to the terminal',
  );
  const writers = new Set(writes.map((problem) => problem.split(':', 1)[0]));
  const inPlace = (path: string): boolean => writers.size === 1 && path.startsWith('exporter/cli/');
  return writes.filter((problem) => !inPlace(problem));
};

export const nothingLeftToDo: Rule = (files) =>
  matches(code(files), 'comments', /\b(TODO|FIXME|XXX|HACK)\b/g, 'leaves work behind');

export const everyTestRuns: Rule = (files) => {
  const tests = code(files).filter(([path]) => path.startsWith('test/'));
  const modifiers = /\.(skip|only|todo|skipIf|runIf)\s*[(`.]/g;
  const prefixed = /(?<![.\w$])(xit|xtest|xdescribe|fit|fdescribe)\s*\(/g;
  return [
    ...matches(tests, 'code', modifiers, 'skips or focuses'),
    ...matches(tests, 'code', prefixed, 'skips or focuses'),
  ];
};

export const licenceComesFirst: Rule = (files) =>
  code(files)
    .filter(([path, source]) => {
      if (path.startsWith('test/vectors/')) return false;
      const lines = source.split('\n', 2);
      const first = lines[0]?.startsWith('#!') ? lines[1] : lines[0];
      return first !== '// SPDX-License-Identifier: Apache-2.0';
    })
    .map(([path]) => `${path} does not begin with its SPDX line`);

/** Files stay readable in one sitting; `generated` names those no person writes. */
export function filesAreShort(lineCountMax: number, generated: ReadonlyMap<string, string>): Rule {
  return (files) =>
    sources(files)
      .filter(([path]) => !generated.has(path))
      .filter(([, source]) => lineCount(source) > lineCountMax)
      .map(([path, source]) => `${path} has ${lineCount(source)} lines, more than ${lineCountMax}`);
}

/** Comments and blank lines do not count: they are there to be read, and must never be cut to fit. */
export function folderIsShort(folder: string, lineCountMax: number): Rule {
  return (files) => {
    const total = sources(files)
      .filter(([path]) => path.startsWith(folder))
      .flatMap(([, source]) => source.split('\n'))
      .filter((line) => !/^\s*(?:\/\/|\/\*|\*|$)/.test(line)).length;
    return total > lineCountMax
      ? [`${folder} has ${total} lines of code, more than ${lineCountMax}`]
      : [];
  };
}

/** `elsewhere` says, for a module with no test file of its own, where it is tested instead. */
export function modulesAreTested(elsewhere: ReadonlyMap<string, string>): Rule {
  return (files) => {
    const names = [...files.keys()].filter((path) => /^test\/.*\.test\.ts$/.test(path));
    const tested = new Set(names.map((path) => posix.basename(path, '.test.ts')));
    const untested = sources(files)
      .map(([path]) => path)
      .filter((path) => !tested.has(posix.basename(path, '.ts')) && !elsewhere.has(path))
      .map((path) => `${path} has no test file named after it`);
    const stale = [...elsewhere.keys()]
      .filter((path) => files.has(path) && tested.has(posix.basename(path, '.ts')))
      .map((path) => `${path} has a test file: drop it from the list`);
    return [...untested, ...stale];
  };
}

/** Built from parts, so that the rule does not find itself. */
const MACHINE = new RegExp(`(?<![\\w.:@-])/(${['work', 'root', 'home'].join('|')})/`, 'g');
const REGISTRY = new RegExp(
  [
    'registry\\.[\\w-]+\\.(org|com|net|io|dev)\\b',
    'npm\\.pkg\\.',
    'proxy\\.golang',
    '"resolved": "https?:',
  ].join('|'),
  'g',
);

export const namesNoMachine: Rule = (files) =>
  [...files].flatMap(([path, text]) =>
    [
      ...[...text.matchAll(MACHINE)].map((match) => ({ match, problem: 'names a machine path' })),
      ...[...text.matchAll(REGISTRY)].map((match) => ({ match, problem: 'names a registry host' })),
    ].map(({ match, problem }) => `${path}:${lineAt(text, match.index)} ${problem}: ${match[0]}`),
  );
