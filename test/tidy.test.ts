// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the house stays as DESIGN describes it: who imports whom, what no file may contain, how
 * long files may be. Method: each rule reads the whole checkout, and is first shown a bad example
 * it must complain about, so that no rule can pass by seeing nothing.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import * as tidy from './support/tidy.ts';

/** Modules without a test file of their own name, and where they are tested instead. */
const TESTED_ELSEWHERE: ReadonlyMap<string, string> = new Map([
  ['instrumentation/targets/bedrock-answer.ts', 'sdks/bedrock.test'],
  ['instrumentation/targets/langchain-answer.ts', 'sdks/langchain.test'],
  ['instrumentation/targets/vercel-ai-answer.ts', 'sdks/vercel-ai.test'],
  ['exporter/node/verifying/checking-thread.ts', 'checkers.test'],
  [
    'exporter/node/config/content-judge.ts',
    'content-policy.test: names, rules, and keys as nobody writes them',
  ],
  ['exporter/cli/exit.ts', 'readme.test compares it with the table'],
  ['index.ts', 'package.test: the root import throws and names the entry points'],
  ['semconv/index.ts', 'package.test loads every entry point; semconv.test uses it'],
  ['semconv/attributes.ts', 'generated; semconv.test compares it with the registry'],
  ['semconv/gen-ai.ts', 'names only; semconv.test'],
  ['semconv/governed.ts', 'semconv.test'],
  ['semconv/conventions.ts', 'semconv.test'],
  ['semconv/aliases.ts', 'semconv.test: the tables conventions.ts reads'],
  ['semconv/messages.ts', 'semconv.test: the messages conventions.ts folds'],
  [
    'instrumentation/async-call.ts',
    'sdks: google-genai.test, cohere.test, mistral.test and ollama.test',
  ],
  ['instrumentation/targets/cohere-answer.ts', 'sdks/cohere.test'],
  ['instrumentation/index.ts', 'package.test loads every entry point'],
  ['instrumentation/install-hooks.ts', 'hooks.test: coverage by either loader'],
  [
    'instrumentation/api-promise.ts',
    'instrumentation/openai.test, sdks/anthropic.test, sdks/groq.test',
  ],
  ['instrumentation/targets/openai-chat.ts', 'instrumentation/openai.test'],
  ['instrumentation/targets/values.ts', 'instrumentation/openai.test, and each test in sdks'],
  ['instrumentation/targets/openai-responses.ts', 'instrumentation/openai.test'],
  [
    'instrumentation/api-client.ts',
    'instrumentation/openai.test, sdks/anthropic.test, sdks/groq.test',
  ],
  [
    'instrumentation/streams.ts',
    'instrumentation/openai.test, sdks/ollama.test: every way to read a stream',
  ],
  [
    'instrumentation/targets/openai-embeddings.ts',
    'instrumentation/openai-more.test, sdks/groq.test',
  ],
  ['instrumentation/targets/server.ts', 'instrumentation/openai-more.test'],
  ['exporter/cli/hold.ts', 'keeping.test: holds that are placed, listed and released'],
  [
    'exporter/node/archive/archive-start.ts',
    'archive-verify.test: first segments that were deleted',
  ],
  [
    'exporter/node/storage/recovery.ts',
    'log-writer.test: torn tails, and crashes while they are cut',
  ],
  ['exporter/log/errors.ts', 'each code is provoked in the test of the module that gives it'],
  ['exporter/log/index.ts', 'package.test loads every entry point'],
  ['exporter/log/report.ts', 'verify.test: every finding and verdict there is'],
  ['exporter/node/config/archive-config.ts', 'config.test: every setting and refusal'],
  ['exporter/node/archive/archive-locks.ts', 'archive-verify.test: every finding of a lock'],
  ['exporter/node/archive/archive-report.ts', 'archive-verify.test: every finding there is'],
  [
    'exporter/node/verifying/beats.ts',
    'instances.test: every spelling that counts, and those that do not',
  ],
  ['exporter/node/verifying/life.ts', 'instances.test: writers and senders, over any range'],
  ['exporter/cli/backend-reader.ts', 'reconcile.test, and e2e/completeness.test with Jaeger'],
  ['exporter/cli/recover.ts', 'successor.test'],
  [
    'exporter/node/archive/s3-listing.ts',
    'archive-s3.test, archive-verify.test: any number of pages',
  ],
  ['exporter/cli/verify-archive.ts', 'archive-verify.test'],
  ['exporter/node/archive/s3-store.ts', 'archive-s3.test: the real SDK against a small S3'],
  ['exporter/node/sealing/protocol.ts', 'types and slots only; audit.test'],
  ['exporter/node/sealing/sealing-client.ts', 'audit.test: both threads, with real processes'],
  ['exporter/node/sealing/sealing-thread.ts', 'audit.test: both threads, with real processes'],
  ['exporter/node/storage/signed-head.ts', 'log-writer.test: the logs that are refused'],
  ['exporter/node/index.ts', 'package.test loads every entry point'],
  ['exporter/node/sealing/members.ts', 'handover.test: the other side of the same'],
  ['exporter/cli/main.ts', 'cli.test runs it'],
  ['exporter/cli/commands.ts', 'cli.test runs it'],
  ['exporter/cli/show.ts', 'cli.test'],
  ['exporter/cli/indexed.ts', 'log-index.test: every lie of an index'],
  ['exporter/cli/keygen.ts', 'cli.test'],
  ['exporter/cli/doctor-packages.ts', 'doctor.test'],
  ['instrumentation/probe.ts', 'doctor.test: the command runs it'],
  ['instrumentation/thread-hooks.ts', 'hooks.test: coverage by async hooks; the matrix, by both'],
  ['exporter/cli/trust.ts', 'cli.test'],
  ['exporter/cli/terminal.ts', 'cli.test'],
  ['exporter/cli/demo-world.ts', 'demo.test: the provider and the backend of the demo'],
]);

/** Files written by a script or copied from upstream, which nobody reads from top to bottom. */
const GENERATED: ReadonlyMap<string, string> = new Map([
  ['semconv/attributes.ts', 'scripts/semconv.ts writes it from the registry'],
  ['semconv/gen-ai.ts', 'upstream names, one constant each'],
]);

const SPDX = '// SPDX-License-Identifier: Apache-2.0\n';
const LINES = (count: number): string => 'let line = 0;\n'.repeat(count);
const PACKAGE = JSON.stringify({
  name: 'sealspan',
  exports: {
    '.': { default: './dist/index.js' },
    './verify': { default: './dist/exporter/log/index.js' },
  },
  dependencies: { zod: '4.6.7' },
  peerDependencies: { '@opentelemetry/api': '>=1.9.0 <2' },
  devDependencies: { vitest: '5.1.1' },
});

// Joined here, so that the rule about them does not find this file.
const MACHINE = ['', 'root', ''].join('/');
const REGISTRY = ['registry', 'example', 'org'].join('.');
const RESOLVED = ['"', 'https'].join('');

interface Example {
  readonly rule: tidy.Rule;
  readonly bad: Readonly<Record<string, string>>;
  readonly problems: readonly string[];
}

/** One bad example for each rule, with what the rule must say of it and nothing else. */
const EXAMPLES: Readonly<Record<string, Example>> = {
  'imports follow the layers': {
    rule: tidy.layersHold,
    bad: {
      'semconv/a.ts': "import { b } from '../instrumentation/b.ts';",
      'instrumentation/b.ts': "import type { d } from '../exporter/node/d.ts';",
      'instrumentation/register.ts': "import { d } from '../exporter/node/d.ts';",
      'exporter/log/c.ts': "export { d } from '../node/d.ts';\nimport '../../semconv/a.ts';",
      'exporter/node/d.ts': "const a = await import('../../instrumentation/b.ts');",
      'exporter/node/forward/i.ts': "import '../capture/j.ts';",
      'exporter/cli/e.ts': "import {\n  c,\n} from '../log/c.ts';\nimport '../../test/f.ts';",
      'exporter/viewer/g.ts': "new URL('../node/d.ts', import.meta.url);",
      'exporter/other/h.ts': '',
    },
    problems: [
      'semconv/a.ts:1 must not import instrumentation/b.ts',
      'instrumentation/b.ts:1 must not import exporter/node/d.ts',
      'exporter/log/c.ts:1 must not import exporter/node/d.ts',
      'exporter/node/d.ts:1 must not import instrumentation/b.ts',
      'exporter/node/forward/i.ts:1 must not import exporter/node/capture/j.ts',
      'exporter/cli/e.ts:4 must not import test/f.ts',
      'exporter/viewer/g.ts:1 must not import exporter/node/d.ts',
      'exporter/other/h.ts belongs to no layer',
    ],
  },
  'relative imports name a file of the tree': {
    rule: tidy.relativeImportsNameAFile,
    bad: { 'semconv/a.ts': "import './b.ts';\nimport './b.js';", 'semconv/b.ts': '' },
    problems: ['semconv/a.ts:2 imports no file of the tree: ./b.js'],
  },
  'there are no import cycles': {
    rule: tidy.noCycles,
    bad: {
      'semconv/a.ts': "import { b } from './b.ts';",
      'semconv/b.ts': "import type { c } from './c.ts';",
      'semconv/c.ts': "import { b } from './b.ts';",
    },
    problems: ['semconv/b.ts -> semconv/c.ts -> semconv/b.ts is a cycle'],
  },
  'examples use public names only': {
    rule: tidy.examplesUsePublicNames,
    bad: {
      'package.json': PACKAGE,
      'examples/a/main.ts': [
        "import { verifyLog } from 'sealspan/verify';",
        "import './own.ts';",
        "import '../b/main.ts'; import '../support/c.ts';",
        "import '../../exporter/log/index.ts';",
        "import 'sealspan/dist/exporter/log/index.js';",
      ].join('\n'),
    },
    problems: [
      'examples/a/main.ts:3 imports what is not public: ../b/main.ts',
      'examples/a/main.ts:4 imports what is not public: ../../exporter/log/index.ts',
      'examples/a/main.ts:5 imports what is not public: sealspan/dist/exporter/log/index.js',
    ],
  },
  'Node modules are imported with node:, and never in the pure parts': {
    rule: tidy.builtinsWherePermitted,
    bad: {
      'semconv/a.ts': "import { hash } from 'node:crypto';",
      'exporter/log/b.ts': "const fs = require('fs');",
      'exporter/node/c.ts': "import 'node:fs';\nimport 'fs/promises';",
    },
    problems: [
      'semconv/a.ts:1 must run without Node: node:crypto',
      'exporter/log/b.ts:1 must run without Node: fs',
      'exporter/node/c.ts:2 lacks node: fs/promises',
    ],
  },
  'third-party imports are dependencies or peers': {
    rule: tidy.thirdPartyIsDeclared,
    bad: {
      'package.json': PACKAGE,
      'semconv/a.ts': [
        "import { z } from 'zod';",
        "import type { Span } from '@opentelemetry/api/experimental';",
        "import { test } from 'vitest';",
        "import type { ReadableSpan } from '@opentelemetry/sdk-trace';",
      ].join('\n'),
    },
    problems: [
      'semconv/a.ts:3 is no dependency or peer: vitest',
      'semconv/a.ts:4 is no dependency or peer: @opentelemetry/sdk-trace',
    ],
  },
  'every dependency has its line in CONTRIBUTING.md': {
    rule: tidy.dependenciesAreJustified,
    bad: {
      'package.json': PACKAGE,
      'CONTRIBUTING.md': '| `zod` | schemas |\n| `@opentelemetry/api` | spans |\nvitest\n',
    },
    problems: ['CONTRIBUTING.md has no line for vitest'],
  },
  'there are no default exports': {
    rule: tidy.noDefaultExports,
    bad: {
      'semconv/a.ts': 'export default 1;',
      'test/b.ts': 'export { b as default };',
      'vitest.config.ts': 'export default {};',
      'test/c.ts': "const text = 'export default 1'; // export default 1",
    },
    problems: ['semconv/a.ts:1 exports a default', 'test/b.ts:1 exports a default'],
  },
  'only entry points re-export': {
    rule: tidy.noBarrels,
    bad: {
      'package.json': PACKAGE,
      'exporter/log/index.ts': "export { a } from './a.ts';",
      'exporter/log/a.ts': "export const a = 1;\nexport * from './b.ts';",
      'exporter/cli/index.ts': '',
    },
    problems: [
      'exporter/log/a.ts:2 re-exports from ./b.ts',
      'exporter/cli/index.ts is an index but no entry point',
    ],
  },
  'nothing is any': {
    rule: tidy.noAny,
    bad: {
      'test/a.ts': [
        'let a: any;',
        'let b = <any>a;',
        'let c: Map<string, any>;',
        'let d = a as any;',
        'type E = any;',
        'let f: any[];',
        'let g: 1 | any;',
        'const h = (): any => a;',
      ].join('\n'),
      'semconv/b.ts': [
        'Promise.any([]); z.any(); // : any',
        "const any = { any: 'x as any' };",
        'for (const a of list(any)) any.number = f(a, any);',
      ].join('\n'),
    },
    problems: [1, 2, 3, 4, 5, 6, 7, 8].map((line) => `test/a.ts:${line} says any`),
  },
  'no source writes to the console': {
    rule: tidy.noConsole,
    bad: {
      'exporter/cli/a.ts': "console.log('x');",
      'exporter/node/b.ts': 'const text = `console.log(${console.error})`;',
      'scripts/c.ts': "console.log('x');",
    },
    problems: ['exporter/cli/a.ts:1 uses console', 'exporter/node/b.ts:1 uses console'],
  },
  'one file of the command writes to the terminal': {
    rule: tidy.oneFileWritesToTheTerminal,
    bad: {
      'exporter/cli/a.ts': "process.stdout.write('x');",
      'exporter/node/b.ts': "writeSync(2, 'x');\nwriteSync(fd, 'x');",
    },
    problems: [
      'exporter/cli/a.ts:1 writes to the terminal',
      'exporter/node/b.ts:1 writes to the terminal',
    ],
  },
  'no comment leaves work behind': {
    rule: tidy.nothingLeftToDo,
    bad: {
      'semconv/a.ts': 'let a = 1;\n// TODO later\n/* a\n FIXME */',
      'semconv/b.ts': "const text = 'TODO';",
    },
    problems: ['semconv/a.ts:2 leaves work behind', 'semconv/a.ts:4 leaves work behind'],
  },
  'every test runs': {
    rule: tidy.everyTestRuns,
    bad: {
      'test/a.test.ts': "test.skip('a');\ndescribe.each([]).only('b');\nfit('c');\nit.todo('d');",
      'test/b.test.ts': "test('skip( and only(', () => list.skipped());",
    },
    problems: [1, 2, 4, 3].map((line) => `test/a.test.ts:${line} skips or focuses`),
  },
  'the licence comes first': {
    rule: tidy.licenceComesFirst,
    bad: {
      'semconv/a.ts': SPDX,
      'semconv/b.ts': `/** b */\n${SPDX}`,
      'exporter/cli/main.ts': `#!/usr/bin/env node\n${SPDX}`,
    },
    problems: ['semconv/b.ts does not begin with its SPDX line'],
  },
  'no source file is too long': {
    rule: tidy.filesAreShort(500, new Map([['semconv/c.ts', 'generated']])),
    bad: { 'semconv/a.ts': LINES(500), 'semconv/b.ts': LINES(501), 'semconv/c.ts': LINES(501) },
    problems: ['semconv/b.ts has 501 lines, more than 500'],
  },
  'the pure core is read in one sitting': {
    rule: tidy.folderIsShort('exporter/log/', 2_000),
    bad: {
      'exporter/log/a.ts': LINES(1_000),
      'exporter/log/b.ts': LINES(1_001),
      'exporter/node/c.ts': LINES(500),
    },
    problems: ['exporter/log/ has 2001 lines of code, more than 2000'],
  },
  'every module has a test file named after it': {
    rule: tidy.modulesAreTested(
      new Map([
        ['semconv/c.ts', 'a.test'],
        ['semconv/a.ts', 'not needed'],
      ]),
    ),
    bad: {
      'semconv/a.ts': '',
      'semconv/b.ts': '',
      'semconv/c.ts': '',
      'exporter/node/d.ts': '',
      'test/a.test.ts': '',
      'test/faults/d.test.ts': '',
    },
    problems: [
      'semconv/b.ts has no test file named after it',
      'semconv/a.ts has a test file: drop it from the list',
    ],
  },
  'no file names a machine or a registry': {
    rule: tidy.namesNoMachine,
    bad: {
      'a.md': `see ${MACHINE}x\nand https://example.org${MACHINE}x, .${MACHINE}x`,
      'package-lock.json': `"resolved": ${RESOLVED}://example.org/a.tgz"`,
      '.ci/run': `npm --registry ${REGISTRY}\ncat registry.attributes.map`,
    },
    problems: [
      `a.md:1 names a machine path: ${MACHINE}`,
      `package-lock.json:1 names a registry host: "resolved": ${RESOLVED}:`,
      `.ci/run:1 names a registry host: ${REGISTRY}`,
    ],
  },
};

/** The rules whose limits and lists are those of this tree, in place of those of the example. */
const FOR_THIS_TREE: Readonly<Record<string, tidy.Rule>> = {
  'no source file is too long': tidy.filesAreShort(500, GENERATED),
  'every module has a test file named after it': tidy.modulesAreTested(TESTED_ELSEWHERE),
};

const ROOT = join(import.meta.dirname, '..');
const NOT_OURS = new Set(['.git', 'node_modules', 'dist', 'sealspan-log', 'coverage']);
const BINARY = /\.(bin|png|seg|zst|gz|tgz|log|wasm|pb|sqlite)$/;

function readTree(folder = ''): readonly (readonly [string, string])[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true })
    .filter((entry) => !NOT_OURS.has(entry.name))
    .flatMap((entry) => {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) return readTree(path);
      if (!entry.isFile() || BINARY.test(path)) return [];
      return [[path, readFileSync(join(ROOT, path), 'utf8')] as const];
    });
}

describe('a rule complains about its bad example', () => {
  test.each(Object.entries(EXAMPLES))('%s', (_name, { rule, bad, problems }) => {
    expect(rule(new Map(Object.entries(bad)))).toEqual(problems);
  });
});

describe('what a rule reads', () => {
  test('comments, strings, templates and regular expressions are told from code', () => {
    const source = [
      "import a from 'x'; // import b from 'y'",
      'const t = `import c from "z" ${`${d}`} }`; /* e */ const r = /[/"]\'/.test(f / g / h);',
      "const s = 'it\\'s'; i;",
    ].join('\n');
    expect(tidy.mask(source).code.replace(/\s+/g, ' ')).toBe(
      "import a from ' '; const t = ` ${`${d}`} `; const r = .test(f / g / h); const s = ' '; i;",
    );
    expect(
      tidy
        .mask(source)
        .comments.trim()
        .split(/\s{2,}/),
    ).toEqual(["// import b from 'y'", '/* e */']);
  });

  test('every form of import is found, whatever its layout', () => {
    const source = [
      "import type { A } from 'a';",
      "import {\n  b,\n} from 'b';",
      "export * from 'c';",
      "const d = await import('d');",
      "import 'e';",
      "new Worker(new URL('./f.ts', import.meta.url));",
      'const text = "import g from \'g\'";',
    ].join('\n');
    expect(tidy.importsOf(source)).toEqual([
      { specifier: 'a', line: 1, kind: 'import' },
      { specifier: 'b', line: 4, kind: 'import' },
      { specifier: 'c', line: 5, kind: 'reexport' },
      { specifier: 'd', line: 6, kind: 'import' },
      { specifier: 'e', line: 7, kind: 'import' },
      { specifier: './f.ts', line: 8, kind: 'url' },
    ]);
  });
});

describe('this tree', () => {
  const files: tidy.Files = new Map(readTree());

  test('is read', () => {
    expect([...files.keys()]).toEqual(expect.arrayContaining(['package.json', 'index.ts']));
  });

  test.each(Object.entries(EXAMPLES))('%s', (name, { rule }) => {
    expect((FOR_THIS_TREE[name] ?? rule)(files)).toEqual([]);
  });
});
