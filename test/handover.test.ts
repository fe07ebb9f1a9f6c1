// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what a thread of the application has sent is sealed whatever becomes of the thread, its answers reach it alone, and
 * nobody waits for ever. Method: real threads, each told what to do, against the sealing thread's side in this one.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { BroadcastChannel, Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WriterCounters } from '../exporter/log/control.ts';
import { offeredSealing, offerSealing } from '../exporter/node/sealing/handover.ts';
import {
  boundedOpen,
  highestNumber,
  Members,
  sumCounters,
} from '../exporter/node/sealing/members.ts';
import type { FromSealer, Meeting, ToSealer } from '../exporter/node/sealing/protocol.ts';
import type { Order } from './support/joined-thread.ts';

const STATE = {
  origin: 'svc/0',
  logDirectory: 'log/0',
  run: 0,
  vkey: 'svc/0+key',
  keyCreated: false,
};
const SEALED = { status: 'sealed', origin: 'svc/0', recordIndex: 7, firstEntry: 0 } as const;
const NEVER_MS = 1_000_000;

interface Heard {
  readonly member: number;
  readonly type: string;
  readonly text?: string;
}

let meeting: Meeting;
let members: Members;
let heard: Heard[];
/** Answers that wait for the test to give them. */
let held: (() => void)[];
let holds: boolean;
let threads: Worker[];
let gone: number[];
let withdraw: () => void;

beforeEach((context) => {
  meeting = {
    lobby: `test/${context.task.id}`,
    slots: new SharedArrayBuffer(8),
    numbers: new SharedArrayBuffer(8),
  };
  heard = [];
  held = [];
  holds = false;
  threads = [];
  gone = [];
  members = new Members(meeting, STATE, (message, member, answer) => {
    serve(message, member, answer);
  });
  withdraw = offerSealing(meeting, {} as never, (member) => gone.push(member));
});

afterEach(async () => {
  // Lets a thread go that spins.
  Atomics.store(new Int32Array(meeting.slots), 0, 99);
  members.close();
  withdraw();
  await Promise.all(threads.map((thread) => thread.terminate()));
});

function serve(message: ToSealer, member: number, answer: (message: FromSealer) => void): void {
  if (message.type !== 'request') {
    heard.push({ member, type: message.type });
    return;
  }
  const { id, bytes } = message;
  heard.push({ member, type: 'request', text: new TextDecoder().decode(bytes) });
  const give = (): void => answer({ type: 'outcome', id, outcome: SEALED });
  if (holds) held.push(give);
  else give();
}

interface Thread {
  readonly member: number;
  /** What it was told by its sealing: first the state of the log, then outcomes. */
  readonly told: unknown[];
  readonly worker: Worker;
  readonly order: (name: Order['name'], text?: string) => void;
}

async function startThread(): Promise<Thread> {
  const worker = new Worker(new URL('./support/joined-thread.ts', import.meta.url), {
    execArgv: ['--no-warnings'],
  });
  threads.push(worker);
  const told: unknown[] = [];
  let failure: unknown;
  worker.on('message', (message) => told.push(message));
  worker.on('error', (error) => {
    failure = error;
  });
  const member = worker.threadId;
  const order = (name: Order['name'], text?: string): void =>
    worker.postMessage(text === undefined ? { name } : { name, text });
  await until(() => told.length > 0 || failure !== undefined);
  if (failure !== undefined) throw failure;
  return { member, told, worker, order };
}

async function until(holdsNow: () => boolean): Promise<void> {
  while (!holdsNow()) await delay(2);
}

describe('a thread that joins', () => {
  it('knows the log, and alone gets its answers', async () => {
    const [first, second] = [await startThread(), await startThread()];
    first.order('submit', 'a');
    await until(() => first.told.length > 1);
    expect([first.told, second.told]).toEqual([[STATE, SEALED], [STATE]]);
    expect(heard).toEqual([{ member: first.member, type: 'request', text: 'a' }]);
  });

  it('can block for its answer', async () => {
    const thread = await startThread();
    thread.order('wait', 'a');
    await until(() => thread.told.length > 1);
    expect(thread.told).toEqual([STATE, SEALED]);
  });

  it('is heard in full though it has left, or ended', async () => {
    const [leaves, exits] = [await startThread(), await startThread()];
    leaves.order('submit', 'a');
    leaves.order('leave');
    exits.order('submit', 'b');
    exits.order('exit');
    // Nothing is heard meanwhile, so that all of it has to be taken at once.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    const drained = members.drain(NEVER_MS);
    await until(() => gone.includes(exits.member));
    members.gone(exits.member);
    // One has left, and the other is told of: neither is there to be asked for more.
    await drained;
    expect(
      heard
        .filter(({ type }) => type === 'request')
        .map(({ text }) => text)
        .sort(),
    ).toEqual(['a', 'b']);
  });

  it('that is terminated is told of by the thread that started it', async () => {
    const thread = await startThread();
    await thread.worker.terminate();
    expect(gone).toEqual([thread.member]);
  });
});

describe('before the log is closed', () => {
  it('each thread sends the rest of what it has', async () => {
    const all = [await startThread(), await startThread()];
    await members.drain(NEVER_MS);
    expect(heard.map(({ member, type }) => `${member} ${type}`).sort()).toEqual(
      all.flatMap(({ member }) => [`${member} drained`, `${member} request`]).sort(),
    );
  });

  it('a thread that is busy is not waited for', async () => {
    const busy = await startThread();
    busy.order('spin');
    await delay(50);
    await members.drain(20);
    expect(heard).toEqual([]);
  });

  it('nobody is waited for where nobody has joined', async () => {
    await members.drain(NEVER_MS);
  });
});

describe('nobody waits for ever', () => {
  it('when the log is closed', async () => {
    holds = true;
    const thread = await startThread();
    thread.order('submit', 'a');
    await until(() => held.length > 0);
    members.close();
    await until(() => thread.told.length > 1);
    thread.order('submit', 'b');
    await until(() => thread.told.length > 2);
    const lost = { status: 'lost', cause: 'the log is closed' };
    expect(thread.told).toEqual([STATE, lost, lost]);
  });

  it('for a flush beyond its deadline, when the sealing thread answers nothing', async () => {
    const thread = await startThread();
    thread.order('flush');
    await until(() => thread.told.length > 1);
    expect(thread.told).toEqual([STATE, { forward: undefined, archive: undefined }]);
    expect(heard).toEqual([{ member: thread.member, type: 'flush' }]);
  });

  it('for more than one answer in vain, until something is sealed again', async () => {
    holds = true;
    const thread = await startThread();
    for (const text of ['a', 'b', 'c']) thread.order('wait', text);
    await until(() => held.length === 3);
    holds = false;
    for (const give of held) give();
    thread.order('wait', 'd');
    await until(() => thread.told.length > 4);
    expect(thread.told).toEqual([STATE, SEALED, SEALED, SEALED, SEALED]);
  }, 25_000);

  it('when the sealing thread has ended without a word', async () => {
    holds = true;
    const thread = await startThread();
    thread.order('submit', 'a');
    await until(() => held.length > 0);
    const lobby = new BroadcastChannel(meeting.lobby);
    lobby.postMessage({ type: 'down', cause: 'out of memory' });
    lobby.close();
    await until(() => thread.told.length > 1);
    expect(thread.told).toEqual([STATE, { status: 'lost', cause: 'out of memory' }]);
  });
});

describe('an offer', () => {
  it('is not for the thread that makes it', () => {
    expect(offeredSealing()).toBeUndefined();
  });

  it('ends when it is withdrawn', async () => {
    withdraw();
    await expect(startThread()).rejects.toThrow('no thread of an application');
  });
});

describe('the numbers of several threads', () => {
  const numbers = (open: string, count = 1): WriterCounters => ({
    started: 3 * count,
    ended: 2 * count,
    sealed: count,
    lost: count,
    highest: 9,
    open,
  });

  it.each([
    [[], ''],
    [[''], ''],
    [['4,7-9'], '4,7-9'],
    [['10,12-14', '', '2-3,11'], '2-3,10,11,12-14'],
    [['5,...', '7'], '5,7,...'],
  ])('%j are open together as %j', (open, expected) => {
    const all = open.map((ranges) => numbers(ranges));
    expect(sumCounters(all, 40)).toEqual({ ...numbers(expected, open.length), highest: 40 });
  });

  it('fit an event, and say where they were cut', () => {
    const long = Array.from({ length: 1000 }, (_, at) => 2 * at + 1).join(',');
    const cut = boundedOpen(long);
    expect(cut.length).toBeLessThanOrEqual(1004);
    expect(long.startsWith(cut.slice(0, -4))).toBe(true);
    expect(cut.endsWith(',...')).toBe(true);
    expect(boundedOpen('1,3-5')).toBe('1,3-5');
  });

  it('go up to the last that any of them was given', () => {
    Atomics.add(new BigInt64Array(meeting.numbers), 0, 12n);
    expect(highestNumber(meeting)).toBe(12);
  });
});
