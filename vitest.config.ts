// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

// Most of what a test waits for is a process of its own that starts: what one has compiled, the next need not.
process.env.NODE_COMPILE_CACHE ??= join(
  import.meta.dirname,
  'node_modules/.cache/sealspan-compiled',
);

const limits = { testTimeout: 180_000, hookTimeout: 180_000 };

/** `unit` is `npm test` and needs no network; `package` and `sdks` (`npm run test:package`, `test:sdks`) do. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...limits,
          name: 'unit',
          include: ['test/*.test.ts', 'test/{instrumentation,faults,fuzz}/*.test.ts'],
          exclude: ['test/package.test.ts'],
        },
      },
      {
        test: {
          ...limits,
          name: 'package',
          include: ['test/package.test.ts'],
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          ...limits,
          name: 'e2e',
          include: ['test/e2e/*.test.ts'],
          // The first run builds a Collector and Jaeger.
          hookTimeout: 1_800_000,
          testTimeout: 600_000,
        },
      },
      { test: { ...limits, name: 'sdks', include: ['test/sdks/*.test.ts'] } },
    ],
  },
});
