#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/**
 * What `sealspan` starts: the command, on a Node that can run it, or else a word on which one can. Imports nothing before it
 * has looked: an older Node fails at the imports already, with words that help nobody.
 */

/** As `engines` in package.json. */
const NEEDED = { major: 22, minor: 15 };
const EXIT_USAGE = 2;

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < NEEDED.major || (major === NEEDED.major && minor < NEEDED.minor)) {
  process.stderr.write(
    `sealspan: needs Node ${NEEDED.major}.${NEEDED.minor} or newer, and runs on ${process.version} (${process.execPath})\n`,
  );
  process.exitCode = EXIT_USAGE;
} else {
  void import('./commands.ts').then(({ runCommand }) => runCommand(process.argv.slice(2)));
}
