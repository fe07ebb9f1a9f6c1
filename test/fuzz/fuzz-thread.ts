// SPDX-License-Identifier: Apache-2.0
/** The thread in which a target meets its inputs. What it can not tell, the thread that started it sees. */
import { parentPort, workerData } from 'node:worker_threads';
import { type FuzzTask, runInputs } from './run.ts';
import { TARGETS } from './targets.ts';

// What libraries think of such inputs is no news.
process.emitWarning = () => {};

const { target: name, seed, from, count, progress } = workerData as FuzzTask;
const target = TARGETS.find((one) => one.name === name);
if (target === undefined) throw new TypeError(`target: no ${name}`);
const number = new Int32Array(progress);
parentPort?.postMessage(
  await runInputs(target, seed, from, count, (run) => Atomics.store(number, 0, run)),
);
