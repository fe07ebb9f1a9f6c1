// SPDX-License-Identifier: Apache-2.0
/**
 * A thread that checks records for another: answers each batch it gets, in order, with what `tallyRecord` says. Knows no log,
 * no file and no key; anything unforeseen ends it, and its records are checked where they came from.
 */
import { parentPort } from 'node:worker_threads';
import { readFrames } from '../../log/segment.ts';
import type { FromChecker, ToChecker } from './checkers.ts';
import { tallyRecord } from './tally.ts';

async function answer({ bytes }: ToChecker): Promise<FromChecker> {
  const answers: FromChecker['answers'][number][] = [];
  for (const frame of readFrames(bytes)) {
    const outcome = await tallyRecord(frame);
    if ('code' in outcome) {
      answers.push(outcome);
    } else {
      const { header: _, leaf, ...rest } = outcome;
      // Hashes may lie in memory that many share; a message would carry all of it.
      answers.push({ ...rest, leaf: new Uint8Array(leaf) });
    }
  }
  return { answers };
}

/** One after the other, so that answers come in the order of the questions. */
let last: Promise<void> = Promise.resolve();
parentPort?.on('message', (message: ToChecker) => {
  last = last.then(async () => {
    parentPort?.postMessage(await answer(message));
    // It was sent here for good, and the next one comes at once.
    if (message.bytes.buffer instanceof ArrayBuffer) message.bytes.buffer.transfer(0);
  });
});
