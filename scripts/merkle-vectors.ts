// SPDX-License-Identifier: Apache-2.0
/**
 * Writes test/vectors/merkle.json from a checkout (or bare clone) of github.com/transparency-dev/merkle:
 * `node scripts/merkle-vectors.ts <git directory>`. Cases are sorted by path, so the same commit gives the same file.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const gitDirectory = process.argv[2];
if (gitDirectory === undefined) throw new TypeError('usage: merkle-vectors.ts <git directory>');

function git(...args: readonly string[]): string {
  return execFileSync('git', ['--git-dir', gitDirectory!, ...args], { encoding: 'utf8' });
}

interface Inclusion {
  readonly leafIdx: number;
  readonly treeSize: number;
  readonly root: string | null;
  readonly leafHash: string | null;
  readonly proof: readonly string[] | null;
  readonly wantErr: boolean;
}
interface Consistency {
  readonly size1: number;
  readonly size2: number;
  readonly root1: string | null;
  readonly root2: string | null;
  readonly proof: readonly string[] | null;
  readonly wantErr: boolean;
}

function cases(folder: string): readonly (readonly [name: string, text: string])[] {
  const prefix = `testdata/${folder}/`;
  return git('ls-tree', '-r', '--name-only', 'HEAD', prefix)
    .trimEnd()
    .split('\n')
    .sort()
    .map((path) => [path.slice(prefix.length).replace('.json', ''), git('show', `HEAD:${path}`)]);
}

const vectors = {
  source: `github.com/transparency-dev/merkle, testdata, commit ${git('rev-parse', 'HEAD').trim()}`,
  licence: 'Apache-2.0',
  inclusion: cases('inclusion').map(([name, text]) => {
    const { leafIdx, treeSize, root, leafHash, proof, wantErr } = JSON.parse(text) as Inclusion;
    return { name, index: leafIdx, size: treeSize, root, leaf: leafHash, proof, holds: !wantErr };
  }),
  consistency: cases('consistency').map(([name, text]) => {
    const { size1, size2, root1, root2, proof, wantErr } = JSON.parse(text) as Consistency;
    return {
      name,
      oldSize: size1,
      newSize: size2,
      oldRoot: root1,
      newRoot: root2,
      proof,
      holds: !wantErr,
    };
  }),
};
const lines = (list: readonly unknown[]): string =>
  list.map((item) => `    ${JSON.stringify(item)}`).join(',\n');
writeFileSync(
  join(import.meta.dirname, '../test/vectors/merkle.json'),
  `{
  "source": ${JSON.stringify(vectors.source)},
  "licence": ${JSON.stringify(vectors.licence)},
  "inclusion": [
${lines(vectors.inclusion)}
  ],
  "consistency": [
${lines(vectors.consistency)}
  ]
}
`,
);
