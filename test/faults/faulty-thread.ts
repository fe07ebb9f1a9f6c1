// SPDX-License-Identifier: Apache-2.0
/**
 * The sealing thread of a service under test: the real one, once its calls to the file system are replaced. Decides
 * nothing; the plan comes with the thread.
 */
import { workerData } from 'node:worker_threads';
import { replaceCalls } from './faulty-calls.ts';
import { enter, type World } from './faulty-node.ts';

replaceCalls();
enter((workerData as { readonly world: World }).world);
// The service's own module, only now: what it calls are the calls above.
await import('../../exporter/node/sealing/sealing-thread.ts');
