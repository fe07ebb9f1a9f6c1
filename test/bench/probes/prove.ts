// SPDX-License-Identifier: Apache-2.0
/**
 * What proves one span to who has the checkpoint: its entry, its path in the record, the header, its path in the log.
 */
import { join } from 'node:path';
import { leafHash, proveInclusion, verifyInclusion } from '../../../exporter/log/merkle.ts';
import { parseCheckpoint } from '../../../exporter/log/note.ts';
import { openLogIndex } from '../../../exporter/node/storage/log-index.ts';
import { entriesOf, readNewestCheckpoint } from '../../../exporter/node/storage/log-reader.ts';
import { nodeFiles } from '../../../exporter/node/system/files.ts';
import { nodePrimitives, sha256 } from '../../../exporter/node/system/keys.ts';
import { runTimed, spec } from '../support/step.ts';

async function prove(): Promise<undefined> {
  const dir = join(spec.dir, '0');
  const head = parseCheckpoint(readNewestCheckpoint(dir)!.bytes);
  const opened = await openLogIndex(dir, head, { files: nodeFiles });
  if (opened.status !== 'ok') throw new Error(opened.cause);
  const { index } = opened;
  const { header, headerBytes, stored } = index.read(spec.record)!;
  const payload = await nodePrimitives.inflate(stored, header.payloadByteLength);
  const leaves = entriesOf(payload).map((entry) => leafHash(sha256, entry));
  const last = leaves.length - 1;
  const inRecord = proveInclusion(sha256, leaves, last);
  const inLog = index.tree.inclusionPath(spec.record, head.size);
  const headerLeaf = leafHash(sha256, headerBytes);
  const holds =
    verifyInclusion(sha256, leaves[last]!, last, leaves.length, inRecord, header.root) &&
    verifyInclusion(sha256, headerLeaf, spec.record, head.size, inLog, head.root);
  if (!holds) throw new Error('the proof does not hold');
  index.close();
  return undefined;
}

await runTimed(prove);
