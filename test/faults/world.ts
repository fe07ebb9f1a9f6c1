// SPDX-License-Identifier: Apache-2.0
/**
 * The world a service lives in under test: its directories, a backend, processes that live its lives, and the judge, who
 * has the log, the archive, what the backend got and what the service told, and asks verifyLog. Nothing that the service
 * believes of itself counts.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ReceiptEvent } from '../../exporter/log/control.ts';
import type { FindingCode, Report } from '../../exporter/log/report.ts';
import { parseSegmentName } from '../../exporter/log/segment.ts';
import { readPruned } from '../../exporter/node/storage/prune.ts';
import { nodeFiles } from '../../exporter/node/system/files.ts';
import { sha256 } from '../../exporter/node/system/keys.ts';
import { readLog } from '../support/audited-process.ts';
import { type OtlpBackend, openOtlpBackend } from '../support/otlp-backend.ts';
import { bundled } from './bundle.ts';
import type { Plan, Told } from './faulty-node.ts';
import type { LifeTask } from './life.ts';

/** A process that lives lives, and is replaced when one of them kills it. */
export class Lives {
  #child: ChildProcess | undefined;

  /** Resolves with what went wrong in the life beyond what it told; `killed` where its process is gone. */
  async live(task: LifeTask): Promise<'ended' | 'killed' | { readonly failure: string }> {
    const child = this.#child ?? (await this.#begin());
    const answered = new Promise<{ failure?: string } | 'gone'>((resolve) => {
      child.once('message', resolve as (message: unknown) => void);
      child.once('exit', () => resolve('gone'));
    });
    child.send(task);
    const answer = await answered;
    child.removeAllListeners('message');
    child.removeAllListeners('exit');
    if (answer === 'gone') {
      this.#child = undefined;
      if (child.signalCode === 'SIGKILL') return 'killed';
      return { failure: `the process ended by itself (${child.exitCode})` };
    }
    return answer.failure === undefined ? 'ended' : { failure: answer.failure };
  }

  async #begin(): Promise<ChildProcess> {
    const { program, env } = await bundled('life');
    const child = fork(program, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env });
    this.#child = child;
    await once(child, 'message');
    return child;
  }

  async close(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    child.disconnect();
    await once(child, 'exit');
  }
}

/** A root with nothing in it, or with what another one holds. */
export function makeRoot(from?: string): string {
  const root = mkdtempSync(join(tmpdir(), 'sealspan-faults-'));
  if (from !== undefined) cpSync(from, root, { recursive: true, mode: 0 });
  mkdirSync(join(root, 'told'), { recursive: true });
  return root;
}

export function removeRoot(root: string): void {
  // What is archived is read-only, which stops nobody who may write its directory.
  rmSync(root, { recursive: true, force: true });
}

const ARCHIVED = 'archive/faults/0/segments';
export const logOf = (root: string): string => join(root, 'log/0');

export interface World {
  readonly root: string;
  readonly backend: OtlpBackend;
  /** Names of the lives lived here, in order. */
  readonly lives: string[];
  /** Spans that another backend has: what was forwarded before this world was made of another one. */
  readonly forwardedBefore: ReadonlySet<string>;
}

/** A new world, or one that goes on from where another one is. */
export async function openWorld(from?: World): Promise<World> {
  return {
    root: makeRoot(from?.root),
    backend: await openOtlpBackend(),
    lives: [...(from?.lives ?? [])],
    forwardedBefore: from === undefined ? new Set() : forwardedIn(from),
  };
}

function forwardedIn({ backend, forwardedBefore }: World): Set<string> {
  return new Set([...forwardedBefore, ...backend.spans().map(({ name }) => name)]);
}

export async function closeWorld(world: World): Promise<void> {
  await world.backend.close();
  removeRoot(world.root);
}

export interface LifeOptions {
  readonly plan?: Plan | undefined;
  readonly isTraced?: boolean;
  readonly roundCount?: number;
  /** After its last round. */
  readonly stayMs?: number;
  /** A backend or an archive that is not reached would keep a life for as long. */
  readonly shutdownMs?: number;
  readonly mode?: LifeTask['mode'];
}

const SHUTDOWN_MS = 4000;

export function taskOf(world: World, life: string, options: LifeOptions = {}): LifeTask {
  const { plan, isTraced = false, roundCount = 4, stayMs = 0, mode = 'group' } = options;
  const { shutdownMs = SHUTDOWN_MS } = options;
  return {
    world: { root: world.root, tellPath: tellPath(world.root, life), plan, isTraced },
    life,
    roundCount,
    stayMs,
    shutdownMs,
    backend: world.backend.httpEndpoint,
    mode,
  };
}

/** Lives one life in a world; resolves with how it ended. */
export function live(
  lives: Lives,
  world: World,
  life: string,
  options: LifeOptions = {},
): ReturnType<Lives['live']> {
  world.lives.push(life);
  return lives.live(taskOf(world, life, options));
}

const tellPath = (root: string, life: string): string => join(root, 'told', life);

/** What a life told, line by line. */
export function toldBy(root: string, life: string): Told[] {
  const path = tellPath(root, life);
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Told);
}

/** Names of spans that were told of in this way. */
export function namesTold(told: readonly Told[], how: 'started' | 'sealed' | 'lost'): string[] {
  return told.flatMap((one) => (one.tell === how ? [one.name] : []));
}

/**
 * What may be found in a log of which a writer was killed or failed: all of it is accounted for. A gap is declared, with
 * its numbers; calls that a kill cut short are named one by one; what recovery cut off is made up for.
 */
export const ACCOUNTED: ReadonlySet<FindingCode> = new Set([
  'log.gap',
  'log.interrupted',
  'log.recovered-whole',
] as const);

/**
 * What the loss of power may leave besides: the journal of calls may be lost with it, and what vouches for records that
 * are not signed yet; then the log says so.
 */
export const AFTER_POWER_LOSS: ReadonlySet<FindingCode> = new Set<FindingCode>([
  ...ACCOUNTED,
  'log.adopted',
  'log.unclean-end',
  'log.recovered',
]);

export interface Judgement {
  /** Spans told sealed, and those of them that are not in the log. */
  readonly acknowledged: number;
  readonly lost: number;
  /** Everything that is not as promised, in words; none when all is well. */
  readonly problems: readonly string[];
  readonly report: Report;
}

export interface JudgeOptions {
  /** Findings that are honest; any other is a problem. */
  readonly honest?: ReadonlySet<FindingCode>;
  /** A world whose backend got part of it. */
  readonly before?: World;
}

/** Makes the log whole again: what was removed of it, from the archive. */
function putBack(root: string): void {
  const removed = readPruned(nodeFiles, logOf(root));
  if (removed === undefined || removed.size === 0) return;
  const [segments, archived] = [join(logOf(root), 'segments'), join(root, ARCHIVED)];
  for (const name of existsSync(archived) ? readdirSync(archived) : []) {
    const firstIndex = parseSegmentName(name);
    if (firstIndex !== undefined && firstIndex < removed.size) {
      cpSync(join(archived, name), join(segments, name));
    }
  }
  rmSync(join(logOf(root), 'pruned'), { force: true });
}

/**
 * Judges a world after its last life ended in order: each span told sealed is in the log, once; the log says nothing but
 * what is honest; each receipt's object is in the archive; the backend has what is sealed.
 */
export async function judge(
  world: World,
  { honest = ACCOUNTED, before }: JudgeOptions = {},
): Promise<Judgement> {
  const { root } = world;
  const problems: string[] = [];
  putBack(root);
  const { report, records, names } = await readLog(logOf(root));
  for (const { code, where, message } of report.findings) {
    if (!honest.has(code)) problems.push(`${code} at ${where}: ${message}`);
  }
  const there = new Set(names);
  if (there.size !== names.length) problems.push('a span is sealed twice');
  const told = world.lives.map((life) => toldBy(root, life));
  const sealed = told.flatMap((one) => namesTold(one, 'sealed'));
  const missing = sealed.filter((name) => !there.has(name));
  if (missing.length > 0) problems.push(`told sealed and not in the log: ${missing.join(', ')}`);
  // Who is told `lost` may find it sealed all the same; who is told nothing was killed. All else is declared.
  const lost = told.flatMap((one) => namesTold(one, 'lost')).filter((name) => !there.has(name));
  if (lost.length > report.declaredLost) {
    problems.push(`${lost.length} spans were told lost, ${report.declaredLost} are declared so`);
  }
  problems.push(...told.flatMap((one) => one.flatMap(problemOfTold)));
  const receipts = records.flatMap(({ events }) =>
    events.filter((event): event is ReceiptEvent => event.name === 'receipt'),
  );
  for (const receipt of receipts) problems.push(...problemsOfReceipt(root, receipt));
  const forwarded = forwardedIn(world);
  if (before !== undefined) for (const name of forwardedIn(before)) forwarded.add(name);
  const unsent = names.filter((name) => !forwarded.has(name));
  if (unsent.length > 0) problems.push(`sealed and never forwarded: ${unsent.join(', ')}`);
  return { acknowledged: sealed.length, lost: missing.length, problems, report };
}

function problemOfTold(told: Told): string[] {
  if (told.tell === 'report' && told.code === 'thread.down') return [`thread: ${told.message}`];
  return [];
}

function problemsOfReceipt(root: string, receipt: ReceiptEvent): string[] {
  const path = join(root, 'archive', receipt.key);
  if (!existsSync(path)) return [`${receipt.key} has a receipt and is not in the archive`];
  const same = Buffer.compare(sha256(readFileSync(path)), receipt.sha256) === 0;
  return same ? [] : [`${receipt.key} is not what its receipt says`];
}
