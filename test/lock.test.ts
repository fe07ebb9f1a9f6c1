// SPDX-License-Identifier: Apache-2.0
// Goal: a log directory has one writer at a time, and a writer that died holds nothing. Method: real processes on one
// directory, ended by SIGKILL.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
import { afterAll, describe, expect, test } from 'vitest';
import { takeLock } from '../exporter/node/system/lock.ts';

const home = mkdtempSync(join(tmpdir(), 'sealspan-lock-'));
afterAll(() => rmSync(home, { recursive: true }));

const MODULE = new URL('../exporter/node/system/lock.ts', import.meta.url).href;

/** Takes the lock of `dir`, says how that went, and holds it until its end. */
const HOLDER = (dir: string): string => `
  import { takeLock } from ${JSON.stringify(MODULE)};
  const { emitWarning } = process;
  const lock = takeLock(${JSON.stringify(dir)});
  console.log(lock === undefined ? 'busy' : 'held', process.emitWarning === emitWarning);
  setInterval(() => lock, 1000);
`;

interface Holder {
  readonly said: string;
  readonly errors: () => string;
  end(signal: NodeJS.Signals): Promise<void>;
}

async function startHolder(dir: string): Promise<Holder> {
  const child: ChildProcess = spawn(
    process.execPath,
    ['--input-type=module', '--eval', HOLDER(dir)],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let errors = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const ended = once(child, 'exit');
  const [said] = (await once(createInterface(child.stdout!), 'line')) as [string];
  return {
    said,
    errors: () => errors,
    end: async (signal) => {
      child.kill(signal);
      await ended;
    },
  };
}

function directory(name: string): string {
  const dir = join(home, name);
  mkdirSync(dir);
  return dir;
}

describe('between processes', () => {
  test('one holds it, the others are told, and SIGKILL frees it', async () => {
    const dir = directory('processes');
    const first = await startHolder(dir);
    const second = await startHolder(dir);
    expect([first.said, second.said, takeLock(dir)]).toEqual(['held true', 'busy true', undefined]);
    await first.end('SIGKILL');
    const own = takeLock(dir);
    expect(own).toBeDefined();
    const third = await startHolder(dir);
    expect(third.said).toBe('busy true');
    own!.release();
    const fourth = await startHolder(dir);
    expect(fourth.said).toBe('held true');
    // Neither `node:sqlite` nor the file beside it is news to whoever runs the service.
    expect([first, second, third, fourth].map(({ errors }) => errors())).toEqual(['', '', '', '']);
    for (const holder of [second, third, fourth]) await holder.end('SIGKILL');
  });
});

describe('within a process', () => {
  test('it is taken once, and again after its release', () => {
    const dir = directory('once');
    const lock = takeLock(dir);
    expect(takeLock(dir)).toBe(undefined);
    lock!.release();
    const again = takeLock(dir);
    expect(again).toBeDefined();
    again!.release();
  });

  test('a worker thread is somebody else', async () => {
    const dir = directory('threads');
    const lock = takeLock(dir);
    const ask = async (): Promise<unknown> => {
      const code = `import { parentPort } from 'node:worker_threads';
        import { takeLock } from ${JSON.stringify(MODULE)};
        parentPort.postMessage(takeLock(${JSON.stringify(dir)}) !== undefined);`;
      const url = new URL(`data:text/javascript,${encodeURIComponent(code)}`);
      const worker = new Worker(url);
      const [answer] = await once(worker, 'message');
      await once(worker, 'exit');
      return answer;
    };
    expect(await ask()).toBe(false);
    lock!.release();
    expect(await ask()).toBe(true);
    expect(takeLock(dir)).toBeDefined();
  });

  test('each directory has its own', () => {
    const locks = [directory('a'), directory('b')].map(takeLock);
    expect(locks.every((lock) => lock !== undefined)).toBe(true);
    for (const lock of locks) lock!.release();
  });
});

test('a copy of a directory is free though the original is held', async () => {
  const dir = directory('original');
  const holder = await startHolder(dir);
  const copy = directory('copy');
  copyFileSync(join(dir, 'lock'), join(copy, 'lock'));
  const lock = takeLock(copy);
  expect(lock).toBeDefined();
  lock!.release();
  await holder.end('SIGKILL');
});

test('what is no lock is an error, never a lock', () => {
  const dir = directory('noise');
  writeFileSync(join(dir, 'lock'), 'not a database, but long enough to be looked at '.repeat(20));
  expect(() => takeLock(dir)).toThrow('not a database');
  expect(() => takeLock(join(home, 'nowhere'))).toThrow('unable to open database file');
});

test('whoever waits gets a lock that is given back meanwhile', async () => {
  const dir = directory('given-back');
  const code = `
    import { takeLock } from ${JSON.stringify(MODULE)};
    const lock = takeLock(${JSON.stringify(dir)});
    console.log('held');
    process.stdin.once('data', () => setTimeout(() => lock.release(), 200));
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(createInterface(child.stdout), 'line');
  expect(takeLock(dir)).toBe(undefined);
  child.stdin.write('give it back');
  const lock = takeLock(dir, 60_000);
  expect(lock).toBeDefined();
  lock?.release();
  child.kill('SIGKILL');
});
