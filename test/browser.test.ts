// SPDX-License-Identifier: Apache-2.0
// Goal: the verifier stays small enough to be sent with every page, and needs nothing but the language. Method: `sealspan/verify`
// as a bundler makes one script of it, weighed, and run where there is neither Node nor a browser.
import { join } from 'node:path';
import { createContext, runInContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { build, type OutputChunk } from 'rolldown';
import { beforeAll, expect, test } from 'vitest';

const GZIP_BYTE_LENGTH_MAX = 12 * 1024;

let script: OutputChunk;
beforeAll(async () => {
  const bundle = await build({
    input: join(import.meta.dirname, '../exporter/log/index.ts'),
    write: false,
    platform: 'browser',
    output: { format: 'iife', name: 'sealspan', minify: true },
  });
  const [only, ...others] = bundle.output;
  expect(others).toEqual([]);
  script = only;
});

test('imports nothing', () => {
  expect([...script.imports, ...script.dynamicImports]).toEqual([]);
});

test(`has at most ${GZIP_BYTE_LENGTH_MAX} bytes, minified and compressed`, () => {
  expect(gzipSync(script.code).length).toBeLessThanOrEqual(GZIP_BYTE_LENGTH_MAX);
});

test('runs on ECMAScript alone', async () => {
  const bare = createContext({});
  runInContext(script.code, bare);
  const report = `sealspan.verifyLog(
    { segments: [], checkpoints: [], live: false, nowMs: undefined,
      trust: { origin: 'a', verifiers: [], selfAttested: false, minimumHead: undefined } },
    { sha256: (bytes) => new Uint8Array(32), inflate: (stored) => stored, verifyEd25519: () => false },
  ).then(({ verdict, findings }) => [verdict, ...findings.map(({ code }) => code)].join(' '))`;
  expect(await runInContext(report, bare)).toBe(
    'unverifiable key.missing checkpoint.missing log.empty',
  );
});
