// SPDX-License-Identifier: Apache-2.0
/**
 * SIGKILL at random moments, of a service that makes calls and of a gateway under load, life after life on one log. The
 * judge has what the two were told sealed, what the provider saw, and the log. Moments are picked by the seed, but what
 * a process does at that moment is the machine's: a seed gives the same moments, not the same instruction.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import * as http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConfigInput } from '../../exporter/node/config/config.ts';
import { readLog } from '../support/audited-process.ts';
import { type FakeOpenai, startFakeOpenai } from '../support/fake-openai.ts';
import { encodeOtlp } from '../support/otlp-backend.ts';
import { spansOfTraces } from '../support/otlp-proto.ts';
import { type Random, randomOf } from '../support/random.ts';
import { bundled } from './bundle.ts';
import { type DoomedTask, SPAN_HEADER } from './doomed.ts';
import { ACCOUNTED } from './world.ts';

/** Kills on one log: then it is ended in order and judged. */
const KILLS_PER_LOG = 20;
const SENDERS_AT_ONCE = 4;

export interface KillOptions {
  readonly seed: number;
  readonly killCount: number;
  readonly workerCount?: number;
  /** No log is begun once this says so. */
  readonly isOver?: () => boolean;
  readonly onLog?: (result: KillResult) => void;
}

export interface KillResult {
  readonly kills: number;
  /** Spans told sealed, and those of them that are not in the log. */
  readonly acknowledged: number;
  readonly lost: number;
  /** Calls that the provider saw, and those of them that the log says nothing of. */
  readonly calls: number;
  readonly unaccounted: number;
  readonly problems: readonly string[];
}

type Program = Awaited<ReturnType<typeof bundled>>;

/** One process, from its start to its end. */
class Doomed {
  readonly child: ChildProcess;
  readonly sealed: string[] = [];
  /** Resolves once everything is loaded and the audit is about to be opened, or at the end. */
  readonly begun: Promise<void>;
  /** Resolves with the port (0 for a service) once it is open, or with undefined if it ends before. */
  readonly opened: Promise<number | undefined>;
  errors = '';
  #toldCount = 0;
  #onTold: () => void = () => {};

  constructor({ program, env }: Program, task: DoomedTask) {
    this.child = spawn(process.execPath, [program, JSON.stringify(task)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
    });
    let rest = '';
    let begin: () => void = () => {};
    let open: (port: number | undefined) => void = () => {};
    this.begun = new Promise((resolve) => {
      begin = resolve;
    });
    this.opened = new Promise((resolve) => {
      open = resolve;
    });
    this.child.stdout!.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const [word, value] = line.split(' ');
        if (word === 'begin') begin();
        if (word === 'open') open(Number(value ?? 0));
        if (word === 'sealed') this.acknowledge(value!);
      }
    });
    this.child.stderr!.on('data', (chunk: Buffer) => {
      this.errors += chunk.toString();
    });
    this.child.once('close', () => {
      begin();
      open(undefined);
      this.#onTold();
    });
  }

  acknowledge(spanId: string): void {
    this.sealed.push(spanId);
    this.#toldCount++;
    this.#onTold();
  }

  /** Until so much was told, or the end. */
  async told(count: number): Promise<void> {
    while (this.#toldCount < count && this.child.exitCode === null && !this.child.killed) {
      await new Promise<void>((resolve) => {
        this.#onTold = resolve;
      });
    }
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const closed = once(this.child, 'close');
    this.child.kill(signal);
    await closed;
  }
}

/** Sends spans to a gateway until it is gone. */
async function send(doomed: Doomed, port: number): Promise<void> {
  const agent = new http.Agent({ keepAlive: true });
  const post = (body: Uint8Array): Promise<number> =>
    new Promise((resolve, reject) => {
      const request = http.request(`http://127.0.0.1:${port}/v1/traces`, {
        method: 'POST',
        agent,
        headers: { 'content-type': 'application/x-protobuf' },
      });
      request.on('error', reject);
      request.on('close', () => reject(new Error('closed')));
      request.on('response', (response) => {
        response.on('error', reject);
        response.resume();
        response.on('end', () => resolve(response.statusCode ?? 0));
      });
      request.end(body);
    });
  const loop = async (): Promise<void> => {
    for (;;) {
      const spanIds = Array.from({ length: 3 }, () => randomBytes(8));
      const spans = spanIds.map((spanId) => ({
        name: 'call',
        traceId: Buffer.alloc(16, 1).toString('base64'),
        spanId: spanId.toString('base64'),
      }));
      const body = encodeOtlp('TracesData', { resourceSpans: [{ scopeSpans: [{ spans }] }] });
      try {
        if ((await post(body)) === 200) {
          for (const spanId of spanIds) doomed.acknowledge(spanId.toString('hex'));
        }
      } catch {
        return;
      }
    }
  };
  await Promise.all(Array.from({ length: SENDERS_AT_ONCE }, loop));
  agent.destroy();
}

/** Twice what the last opening took, at first a guess: a busy machine is slow to open, and no slower for ever. */
let openingMsMax = 100;

/** The moment of one kill: while it opens the log and recovers it, or after so much work and a little more. */
async function untilMoment(doomed: Doomed, random: Random): Promise<void> {
  await doomed.begun;
  if (random(2) === 0) {
    await sleep(random(1000) * (openingMsMax / 1000));
    return;
  }
  const count = random(40);
  const moreMs = random(15);
  const begunMs = performance.now();
  if ((await doomed.opened) === undefined) return;
  openingMsMax = 2 * (performance.now() - begunMs);
  await doomed.told(count);
  await sleep(moreMs);
}

/** Kills on one log, an end in order, and the judgement. */
async function killLog(
  program: Program,
  role: DoomedTask['role'],
  killCount: number,
  random: Random,
): Promise<KillResult> {
  const dir = mkdtempSync(join(tmpdir(), 'sealspan-kills-'));
  const provider: FakeOpenai = await startFakeOpenai();
  const config: ConfigInput = {
    dir,
    instance: '0',
    mode: role === 'service' && random(2) === 0 ? 'sync' : 'group',
    groupCommitMs: 1,
    checkpointMs: 5,
    segment: { byteLengthMax: 32 * 1024, ageMsMax: 100 },
    ...(role === 'gateway'
      ? { gateway: { grpc: 'off', http: { listen: '127.0.0.1:0' } } as const }
      : {}),
  };
  const sealed: string[] = [];
  const problems: string[] = [];
  try {
    for (let kill = 0; kill <= killCount; kill++) {
      const doomed = new Doomed(program, { role, config, provider: provider.url });
      const sending = doomed.opened.then((port) => (port ? send(doomed, port) : undefined));
      const isLast = kill === killCount;
      if (isLast) await doomed.opened;
      else await untilMoment(doomed, random);
      await doomed.end(isLast ? 'SIGTERM' : 'SIGKILL');
      await sending;
      const { exitCode, signalCode } = doomed.child;
      if (isLast ? exitCode !== 0 : signalCode !== 'SIGKILL') {
        problems.push(`life ${kill} ended with ${exitCode ?? signalCode}: ${doomed.errors}`);
      }
      sealed.push(...doomed.sealed);
    }
    return { kills: killCount, ...(await judge(join(dir, '0'), sealed, provider, problems)) };
  } finally {
    await provider.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function judge(
  dir: string,
  sealed: readonly string[],
  provider: FakeOpenai,
  before: readonly string[],
): Promise<Omit<KillResult, 'kills'>> {
  const { report, records } = await readLog(dir);
  const problems = [...before];
  for (const { code, where, message } of report.findings) {
    if (!ACCOUNTED.has(code)) problems.push(`${code} at ${where}: ${message}`);
  }
  const there = new Set<string>();
  const begun = new Set<string>();
  for (const { header, entries, events } of records) {
    if (header.kind === 'traces') {
      for (const { spanId } of entries.flatMap(spansOfTraces)) there.add(spanId);
    }
    for (const event of events) {
      if (event.name === 'interrupted' || event.name === 'intent') begun.add(event.spanId);
    }
  }
  const missing = sealed.filter((spanId) => !there.has(spanId));
  if (missing.length > 0) problems.push(`told sealed and not in the log: ${missing.join(', ')}`);
  const calls = provider.requests.map(({ headers }) => String(headers[SPAN_HEADER]));
  const unknown = calls.filter((spanId) => !there.has(spanId) && !begun.has(spanId));
  if (unknown.length > report.declaredLost) {
    problems.push(`the provider saw calls that the log says nothing of: ${unknown.join(', ')}`);
  }
  return {
    acknowledged: sealed.length,
    lost: missing.length,
    calls: calls.length,
    unaccounted: Math.max(0, unknown.length - report.declaredLost),
    problems,
  };
}

export async function runKills(options: KillOptions): Promise<KillResult> {
  const { seed, killCount, workerCount = 2, onLog } = options;
  const random = randomOf(seed);
  const logs: { role: DoomedTask['role']; killCount: number; seed: number }[] = [];
  for (let left = killCount; left > 0; left -= KILLS_PER_LOG) {
    const role = logs.length % 2 === 0 ? 'service' : 'gateway';
    logs.push({ role, killCount: Math.min(left, KILLS_PER_LOG), seed: random(2 ** 32) });
  }
  const program = await bundled('doomed');
  let total: KillResult = {
    kills: 0,
    acknowledged: 0,
    lost: 0,
    calls: 0,
    unaccounted: 0,
    problems: [],
  };
  const work = async (): Promise<void> => {
    for (;;) {
      const log = options.isOver?.() === true ? undefined : logs.shift();
      if (log === undefined) return;
      const result = await killLog(program, log.role, log.killCount, randomOf(log.seed));
      const problems = result.problems.map((text) => `${log.role}, seed ${log.seed}: ${text}`);
      total = {
        kills: total.kills + result.kills,
        acknowledged: total.acknowledged + result.acknowledged,
        lost: total.lost + result.lost,
        calls: total.calls + result.calls,
        unaccounted: total.unaccounted + result.unaccounted,
        problems: [...total.problems, ...problems],
      };
      onLog?.({ ...result, problems });
    }
  };
  await Promise.all(Array.from({ length: workerCount }, work));
  return total;
}
