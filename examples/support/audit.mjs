// SPDX-License-Identifier: Apache-2.0
// Runs a service as you would run yours, `node --import sealspan/register service.mjs`, in its own folder and with a log of
// its own; then does what an auditor does: verifies the log, and reads the traces that the service told of.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What an auditor asks for first; `sealspan show` prints all there is. */
const READ =
  /^(gen_ai\.(provider|request\.model|response\.(model|finish)|prompt|usage|tool\.name|data_source)|aigov\.(actor|decision|delegation|dataset|invocation|model|oversight|policy|prompt|purpose|sequence|subject))/;

const root = dirname(fileURLToPath(import.meta.resolve('sealspan/package.json')));
const sealspan = (...args) => {
  const command = join(root, 'dist/exporter/cli/main.js');
  return spawnSync(process.execPath, [command, ...args], { encoding: 'utf8' });
};

/**
 * @param folder of the example, with its `service.mjs` and `sealspan.yaml`
 * @param env where the service finds its provider
 * @returns the spans that were sealed, and how many calls of a model they tell of
 */
export async function audited(folder, env) {
  const dir = mkdtempSync(join(tmpdir(), 'sealspan-example-'));
  // A backend that takes everything, as the service's own exporter expects one.
  const backend = createServer((request, response) =>
    request.resume().on('end', () => response.end()),
  );
  await new Promise((resolve) => backend.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${backend.address().port}`;
  try {
    const args = ['--import', 'sealspan/register', 'service.mjs'];
    const child = spawn(process.execPath, args, {
      cwd: folder,
      env: {
        ...process.env,
        OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
        OTEL_METRICS_EXPORTER: 'none',
        OTEL_LOGS_EXPORTER: 'none',
        OPENAI_API_KEY: 'none-needed',
        SEALSPAN_DIR: dir,
        ...env,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    for await (const text of child.stdout.setEncoding('utf8')) output += text;
    const code = child.exitCode ?? (await new Promise((done) => child.once('exit', done)));
    if (code !== 0) throw new Error(`the service ended with ${code}`);
    const told = output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    console.log('The service says:');
    for (const { traceId, ...line } of told) console.log(`  ${JSON.stringify(line)}`);

    console.log('\nThe log says:');
    const verified = sealspan('verify', dir);
    process.stdout.write(verified.stdout.replace(/^/gm, '  ').trimEnd());
    if (verified.status !== 0) throw new Error('the log does not verify');

    const spans = [];
    let callCount = 0;
    for (const traceId of new Set(told.map(({ traceId }) => traceId))) {
      const shown = JSON.parse(sealspan('show', '--trace', traceId, '--json', dir).stdout);
      callCount += shown.calls;
      // By their numbers, which are given out as calls start.
      const numberOf = ({ normalised }) => normalised['aigov.sequence'];
      shown.spans.sort((a, b) => numberOf(a) - numberOf(b));
      spans.push(...shown.spans);
      console.log(`\n\nAn auditor reads, of trace ${traceId}:`);
      for (const { name, ref, normalised } of shown.spans) {
        console.log(`  ${name}  (${ref})`);
        for (const [key, value] of Object.entries(normalised).sort()) {
          if (READ.test(key)) console.log(`    ${key} = ${JSON.stringify(value)}`);
        }
      }
    }
    return { spans, callCount };
  } finally {
    backend.close();
    backend.closeAllConnections();
    rmSync(dir, { recursive: true });
  }
}

/** Ends with another status than 0 unless the spans, in the order they began, have these names, and say this. */
export function expectSealed({ spans }, expected) {
  const found = spans.map(({ name, normalised }, at) => {
    const wrong = Object.entries(expected[at]?.[1] ?? {}).find(
      ([key, value]) => JSON.stringify(normalised[key]) !== JSON.stringify(value),
    );
    return wrong === undefined ? name : `${name} without ${wrong.join(' = ')}`;
  });
  const names = expected.map(([name]) => name);
  if (JSON.stringify(found) === JSON.stringify(names)) return;
  console.error(`\nexpected ${names.join(', ')}\nsealed   ${found.join(', ')}`);
  process.exitCode = 1;
}
