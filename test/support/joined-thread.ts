// SPDX-License-Identifier: Apache-2.0
/** A thread of an application that has joined, and does what it is told by its `parentPort`; tells of each outcome. */
import { parentPort } from 'node:worker_threads';
import { JoinedSealing, offeredSealing } from '../../exporter/node/sealing/handover.ts';
import { IN_PROCESS } from '../../exporter/node/sealing/sealing-client.ts';

/** What a thread can be told to do. */
export type Order = {
  readonly name: 'submit' | 'wait' | 'flush' | 'spin' | 'leave' | 'exit';
  readonly text?: string;
};

const COUNTERS = { started: 1, ended: 1, sealed: 0, lost: 0, highest: 1, open: '' };

const port = parentPort;
const offer = offeredSealing();
if (port === null || offer === undefined) throw new Error('no thread of an application');
const sealing = new JoinedSealing(offer, () => {});
const submit = (text: string): void => {
  const bytes = new TextEncoder().encode(text);
  void sealing.submit(bytes, IN_PROCESS, COUNTERS).then((outcome) => port.postMessage(outcome));
};
sealing.onDrain(() => {
  submit('the rest');
  return { counters: COUNTERS, interrupted: [] };
});
port.on('message', ({ name, text = '' }: Order) => {
  if (name === 'submit' || name === 'wait') submit(text);
  if (name === 'wait') sealing.awaitAnswers();
  if (name === 'flush') void sealing.flush(0, COUNTERS).then((status) => port.postMessage(status));
  if (name === 'spin') while (Atomics.load(new Int32Array(offer.meeting.slots), 0) !== 99);
  if (name === 'leave') sealing.closeSync({ counters: COUNTERS, interrupted: [] });
  if (name === 'exit') process.exit(0);
});
port.postMessage(sealing.state);
