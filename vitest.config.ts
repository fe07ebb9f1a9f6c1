import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/*.test.ts', 'test/{instrumentation,faults}/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
