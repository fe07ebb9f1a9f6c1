// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run mutants`: deliberate faults of one line each in sealer, writer, recovery and verifier, one after the other in a
 * copy of the tree; each must make a test of the file that its line names fail. A fault that no test sees is a promise that nobody
 * holds. Says nothing of faults that nobody thought of.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

interface Mutant {
  /** What goes wrong, in words. */
  readonly says: string;
  readonly file: string;
  readonly old: string;
  readonly new: string;
  readonly test: string;
  /** The one test of that file to run, its groups in front; all of them unless given. */
  readonly title?: string;
}

const WRITER = 'exporter/node/storage/log-writer.ts';
const SEALER = 'exporter/node/sealing/sealer.ts';
const RECOVERY = 'exporter/node/storage/recovery.ts';
const INTERRUPTED = 'exporter/node/sealing/interrupted.ts';
const VERIFIER = 'exporter/log/verify.ts';
const RECORD_CHECK = 'exporter/log/record.ts';

const MUTANTS: readonly Mutant[] = [
  {
    says: 'a record is acknowledged before it is synced',
    file: WRITER,
    old: '    this.#files.sync(this.#file);\n    if (this.#byteLength === 0) {',
    new: '    if (this.#byteLength === 0) {',
    test: 'test/faults/crash.test.ts',
    title: 'one crash > in the first life of a log, at any step',
  },
  {
    says: 'the name of a new segment is not synced',
    file: WRITER,
    old: '      this.#files.syncDirectory(join(this.#options.dir, SEGMENTS));\n',
    new: '',
    test: 'test/faults/crash.test.ts',
    title: 'one crash > in the first life of a log, at any step',
  },
  {
    says: 'a head is signed before `signing` has it',
    file: WRITER,
    old: '    replaceFile(this.#files, join(dir, SIGNING), encodeSigning(head));\n    this.#signed = head;',
    new: '    this.#signed = head;',
    test: 'test/log-writer.test.ts',
  },
  {
    says: 'recovery cuts a record that was signed',
    file: WRITER,
    old: '    if (this.#tree.size < this.#signed.size) {\n      throw new DamagedLogError(\n        `segments/${name} record ${this.#tree.size} is damaged, and was signed`,',
    new: '    if (false) {\n      throw new DamagedLogError(\n        `segments/${name} record ${this.#tree.size} is damaged, and was signed`,',
    test: 'test/log-writer.test.ts',
  },
  {
    says: 'recovery cuts a damaged record that others follow',
    file: WRITER,
    old: '    if (followedByFrame(bytes, at)) {',
    new: '    if (followedByFrame(bytes, at) && at < 0) {',
    test: 'test/log-writer.test.ts',
  },
  {
    says: 'a torn record whose header is whole counts as one',
    file: WRITER,
    old: '      if (frame === undefined || !equalBytes(sha256(frame.stored), frame.header.storedHash)) break;',
    new: '      if (frame === undefined) break;',
    test: 'test/log-writer.test.ts',
  },
  {
    says: 'what recovery cuts is not remembered',
    file: RECOVERY,
    old: '  replaceFile(files, join(dir, RECOVERY), file);\n',
    new: '  void file;\n',
    test: 'test/faults/crash.test.ts',
    title: 'one crash > in the first life of a log, at any step',
  },
  {
    says: 'time goes back with the clock',
    file: WRITER,
    old: '    const sealedMs = Math.max(this.#options.now(), this.#sealedMs);\n    const sealed =',
    new: '    const sealedMs = this.#options.now();\n    const sealed =',
    test: 'test/faults/misfortunes.test.ts',
    title: 'a clock that jumps > a year back: times never go back, and the log is valid',
  },
  {
    says: 'a log that lost signed records is gone on with',
    file: WRITER,
    old: '    if (size < this.#signed.size) {',
    new: '    if (size < 0) {',
    test: 'test/log-writer.test.ts',
  },
  {
    says: 'an append that failed is told sealed, wherever it is',
    file: SEALER,
    old: '    uncertain?.settle(writer.holdsInDoubt);',
    new: '    uncertain?.settle(true);',
    test: 'test/sealer.test.ts',
  },
  {
    says: 'an append that never began is told sealed',
    file: SEALER,
    old: '      if (writer.attempted === undefined) settle(false);',
    new: '      if (writer.attempted === undefined) settle(true);',
    test: 'test/sealer.test.ts',
  },
  {
    says: 'gaps that could not be sealed are forgotten',
    file: SEALER,
    old: '        if (!isDurable) this.#gaps.unshift(...gaps);',
    new: '        if (!isDurable) this.#gaps.unshift();',
    test: 'test/sealer.test.ts',
  },
  {
    says: 'it signs what no outside store was asked about',
    file: SEALER,
    old: '        if (this.#options.maySign()) this.#writer.checkpoint();',
    new: '        this.#writer.checkpoint();',
    test: 'test/sealer.test.ts',
  },
  {
    says: 'spans are told a place that is another one’s',
    file: SEALER,
    old: '      firstEntry += entries.length;\n    }\n  }',
    new: '    }\n  }',
    test: 'test/sealer.test.ts',
  },
  {
    says: 'a killed process has interrupted calls that are sealed',
    file: INTERRUPTED,
    old: '    .filter(({ sequence }) => !sealed.numbers.has(sequence))\n',
    new: '',
    test: 'test/interrupted.test.ts',
  },
  {
    says: 'stored bytes are not hashed',
    file: RECORD_CHECK,
    old: '  if (!equalBytes(sha256(stored), header.storedHash)) {',
    new: '  if (!equalBytes(sha256(stored), sha256(stored))) {',
    test: 'test/verify.test.ts',
  },
  {
    says: 'entries are not held against their root',
    file: RECORD_CHECK,
    old: '  if (!equalBytes(rootOf(sha256, leaves), header.root)) {',
    new: '  if (!equalBytes(rootOf(sha256, leaves), rootOf(sha256, leaves))) {',
    test: 'test/verify.test.ts',
  },
  {
    says: 'records need not link',
    file: VERIFIER,
    old: '    if (!equalBytes(header.prev, this.#link))\n',
    new: '    if (!equalBytes(header.prev, header.prev))\n',
    test: 'test/verify.test.ts',
  },
  {
    says: 'a cut tail is none',
    file: VERIFIER,
    old: '  if (walk.size < signedSize) {',
    new: '  if (walk.size < 0) {',
    test: 'test/verify.test.ts',
  },
  {
    says: 'numbers need not add up',
    file: VERIFIER,
    old: '      missing.count === 0\n',
    new: '      missing.count >= 0\n',
    test: 'test/verify.test.ts',
  },
];

const ROOT = join(import.meta.dirname, '..');

/** A copy of what is under version control, as it stands now, with the packages that are installed here. */
function copyTree(): string {
  const copy = mkdtempSync(join(tmpdir(), 'sealspan-mutants-'));
  const names = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], { cwd: ROOT });
  for (const name of names.toString().split('\0').slice(0, -1)) {
    mkdirSync(dirname(join(copy, name)), { recursive: true });
    copyFileSync(join(ROOT, name), join(copy, name));
  }
  for (const folder of ['.', 'test/apps/openai-6', 'test/apps/otel-1', 'test/apps/otel-2']) {
    symlinkSync(join(ROOT, folder, 'node_modules'), join(copy, folder, 'node_modules'));
  }
  return copy;
}

interface TestResult {
  readonly ancestorTitles: readonly string[];
  readonly title: string;
  readonly status: string;
}

interface Outcome {
  readonly passed: readonly string[];
  readonly failed: readonly string[];
}

/** Runs a test of the copy; its titles that passed and failed. */
function runTest(copy: string, { test, title }: Mutant): Outcome {
  const report = join(copy, 'report.json');
  rmSync(report, { force: true });
  const args = ['--project', 'unit', test, '--reporter=json', `--outputFile.json=${report}`];
  if (title !== undefined) args.push('-t', title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  spawnSync(process.execPath, [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', ...args], {
    cwd: copy,
    stdio: 'ignore',
  });
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as {
    testResults: { assertionResults: readonly TestResult[] }[];
  };
  const all = testResults.flatMap(({ assertionResults }) => assertionResults);
  const titlesOf = (status: string): string[] =>
    all
      .filter((one) => one.status === status)
      .map(({ ancestorTitles, title: own }) => [...ancestorTitles, own].join(' > '));
  return { passed: titlesOf('passed'), failed: titlesOf('failed') };
}

function apply(copy: string, { file, old, new: changed }: Mutant): () => void {
  const path = join(copy, file);
  const source = readFileSync(path, 'utf8');
  if (source.split(old).length !== 2) throw new Error(`${file}: not there, or there twice: ${old}`);
  // A function, for a text may hold what `replace` takes for a pattern.
  writeFileSync(
    path,
    source.replace(old, () => changed),
  );
  return () => writeFileSync(path, source);
}

/** `npm run mutants -- WORDS`: only those that these words are in. */
const words = process.argv[2] ?? '';
const chosen = MUTANTS.filter(({ says }) => says.includes(words));
const copy = copyTree();
try {
  const baselines = new Map<string, Outcome>();
  let survivorCount = 0;
  console.log('| fault | in | caught by |\n|---|---|---|');
  for (const mutant of chosen) {
    const key = `${mutant.test} ${mutant.title ?? ''}`;
    const baseline = baselines.get(key) ?? runTest(copy, mutant);
    baselines.set(key, baseline);
    const restore = apply(copy, mutant);
    const { failed } = runTest(copy, mutant);
    restore();
    const caught = failed.filter((title) => baseline.passed.includes(title));
    if (caught.length === 0) survivorCount++;
    const where = mutant.file.split('/').at(-1);
    const by = caught.length === 0 ? '**nothing**' : `${mutant.test}: ${caught[0]}`;
    const more = caught.length > 1 ? ` and ${caught.length - 1} more` : '';
    console.log(`| ${mutant.says} | ${where} | ${by}${more} |`);
  }
  console.log(`${chosen.length} faults, ${survivorCount} survive`);
  if (survivorCount > 0) process.exitCode = 1;
} finally {
  rmSync(copy, { recursive: true, force: true });
}
