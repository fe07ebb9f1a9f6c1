// SPDX-License-Identifier: Apache-2.0
/** A process that writes intents until it is killed, and tells its parent once how many it has written. */

import { beginJournal, IntentJournal } from '../../exporter/node/storage/intents.ts';
import { nodeFiles } from '../../exporter/node/system/files.ts';

const dir = process.argv[2] ?? '.';
beginJournal(nodeFiles, dir, 0);
const journal = new IntentJournal({
  files: nodeFiles,
  dir,
  run: 0,
  isSync: false,
  newestRecord: () => 0,
  unsettled: () => [],
});
for (let sequence = 1; ; sequence++) {
  journal.write({
    sequence,
    traceId: '0'.repeat(32),
    spanId: '0'.repeat(16),
    startedMs: 0,
    model: '',
  });
  if (sequence === 1000) process.send?.(sequence);
  // The message leaves the process only when the loop turns.
  if (sequence % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
  if (sequence === 16_000) await new Promise(() => setInterval(() => {}, 1000));
}
