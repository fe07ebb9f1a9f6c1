// SPDX-License-Identifier: Apache-2.0
/**
 * Pastes what `npm run demo` really prints into README.md; `--check` only compares. What differs from run to run (times,
 * ids, hashes, folders, how spans fell into records) is masked before it is compared, and nothing else is.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const README = join(ROOT, 'README.md');
const BEGIN = '<!-- output: npm run demo -->';
const END = '<!-- /output -->';

/** In this order: what is masked first is not seen by the masks after it. */
const MASKS: readonly (readonly [pattern: RegExp, mask: string])[] = [
  [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'TIME'],
  [/\d+\.\d ms/g, 'MILLISECONDS'],
  [/hmac-sha256:[0-9a-f]{64}/g, 'DIGEST'],
  [/[A-Za-z0-9+/]{43}=/g, 'HASH'],
  [/\b[0-9a-f]{32}\b/g, 'TRACE'],
  [/\S*sealspan-demo-\w+/g, 'FOLDER'],
  [/#\d+\/\d+/g, '#PLACE'],
  [/\b\d{20}\.seg record \d+/g, 'SEGMENT record N'],
  [/\d+ records, \d+ under/g, 'N records, N under'],
  [/in \d+ segments?$/gm, 'in N segments'],
  [/\d+ of (\d+) numbers are in no record: \S+/g, 'N of $1 numbers are in no record: WHICH'],
];

/** Output of the demo without what differs from run to run. */
export function shapeOf(output: string): string {
  return MASKS.reduce((text, [pattern, mask]) => text.replaceAll(pattern, mask), output).trim();
}

/** The output that a README shows. */
export function shownIn(readme: string): string {
  const [, rest] = readme.split(`${BEGIN}\n`);
  const block = rest?.split(END)[0];
  const output = /^```\n(.*)\n```\n$/s.exec(block ?? '')?.[1];
  if (output === undefined) throw new Error(`README.md: no output between ${BEGIN} and ${END}`);
  return output;
}

function runDemo(): string {
  return execFileSync(process.execPath, [join(ROOT, 'dist/exporter/cli/main.js'), 'demo'], {
    encoding: 'utf8',
  }).trim();
}

if (import.meta.main) {
  const readme = readFileSync(README, 'utf8');
  const output = runDemo();
  if (!process.argv.includes('--check')) {
    const [before, rest] = readme.split(BEGIN);
    const after = rest?.split(END)[1];
    if (before === undefined || after === undefined) throw new Error('README.md: no markers');
    writeFileSync(README, `${before}${BEGIN}\n\`\`\`\n${output}\n\`\`\`\n${END}${after}`);
  } else if (shapeOf(shownIn(readme)) !== shapeOf(output)) {
    console.error('README.md shows another output of the demo: run npx node scripts/readme.ts');
    process.exitCode = 1;
  }
}
