// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run bench`: every benchmark of test/bench, or those named. Each also runs by itself: `npx node test/bench/c-seal.ts`.
 */
import { eventLoop } from '../test/bench/a-event-loop.ts';
import { loopDelay } from '../test/bench/b-loop-delay.ts';
import { seal } from '../test/bench/c-seal.ts';
import { gateway } from '../test/bench/d-gateway.ts';
import { verify } from '../test/bench/e-verify.ts';
import { growth } from '../test/bench/f-growth.ts';
import { memory } from '../test/bench/g-memory.ts';
import { bytesAtRest } from '../test/bench/h-bytes.ts';
import { latency } from '../test/bench/i-latency.ts';
import { archive } from '../test/bench/j-archive.ts';
import { hooks } from '../test/bench/k-hooks.ts';
import { runBenches } from '../test/bench/support/bench.ts';

await runBenches([
  eventLoop,
  loopDelay,
  seal,
  gateway,
  verify,
  growth,
  memory,
  bytesAtRest,
  latency,
  archive,
  hooks,
]);
