// SPDX-License-Identifier: Apache-2.0
// Says what to do when a script runs on a Node that is too old. Plain JavaScript of 2020, so that
// such a Node can still read it. Scripts need a newer Node (type stripping) than the package does.
const NEEDED = [22, 18];

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) {
  process.stderr.write(
    `This script needs Node ${NEEDED.join('.')} or newer and runs on ${process.version} (${process.execPath}).
"npm ci" installs the Node it is meant for into node_modules, and "npm run" uses that one.
If you installed with --ignore-scripts, run "npm rebuild node" now; else run "npm ci".
`,
  );
  process.exit(1);
}
