// SPDX-License-Identifier: Apache-2.0
/**
 * The fault matrix: every call that a service makes to its file system, found by watching it, times every way in which a
 * call goes wrong. Each run is one life with one fault, one life that goes on from there, and a judgement. What a run
 * does not reach, the table does not count.
 */
import { randomOf, shuffled } from '../support/random.ts';
import { FAULTS, type FaultName, type Plan } from './faulty-node.ts';
import {
  closeWorld,
  judge,
  type LifeOptions,
  Lives,
  live,
  openWorld,
  toldBy,
  type World,
} from './world.ts';

/** Where a life begins. */
export const SCENARIOS = ['first start', 'after a kill', 'long life'] as const;
export type Scenario = (typeof SCENARIOS)[number];

export interface PlannedRun {
  readonly scenario: Scenario;
  readonly plan: Plan;
}

export interface RunResult extends PlannedRun {
  /** False where the life went another way and the call never came. */
  readonly isReached: boolean;
  readonly acknowledged: number;
  readonly lost: number;
  readonly problems: readonly string[];
}

export interface MatrixOptions {
  readonly seed: number;
  /** So many runs, picked by the seed; all of them unless given. */
  readonly runCountMax?: number;
  /** Only the runs that this says yes to. */
  readonly isAsked?: (plan: Plan) => boolean;
  /** No run begins once this says so. */
  readonly isOver?: () => boolean;
  readonly workerCount?: number;
  readonly onRun?: (result: RunResult) => void;
}

export interface Matrix {
  /** Every call there is, sorted. */
  readonly operations: readonly string[];
  readonly results: readonly RunResult[];
}

const ROUND_COUNT = 4;
/** A little more than the time between two looks for what can be removed, since an archive has it. */
const LONG_MS = 5500;
/** For the life without faults to forward and archive all there is, on a machine that does other things as well. */
const CATCH_UP_MS = 30_000;
/** A plan is tried so often where a life does not come by: consumers of the log work at their own pace. */
const ATTEMPT_COUNT_MAX = 3;

/** Only a call that moves bytes can move half of them. */
export function canFail(operation: string, fault: FaultName): boolean {
  return fault !== 'short' || /: (write|read) /.test(operation);
}

/** The world as a kill in the middle of a record leaves it: the next start has something to recover. */
async function killedWorld(lives: Lives): Promise<World> {
  const world = await openWorld();
  const plan: Plan = { operation: 'sealer: write segment', occurrence: 4, fault: 'SIGKILL' };
  const end = await live(lives, world, 'killed', { plan });
  if (end !== 'killed') throw new Error(`it was to be killed, and ${JSON.stringify(end)}`);
  return world;
}

function lifeIn(scenario: Scenario): LifeOptions {
  return { roundCount: ROUND_COUNT, ...(scenario === 'long life' ? { stayMs: LONG_MS } : {}) };
}

/** How often an undisturbed life makes each call. */
async function watch(
  lives: Lives,
  from: World | undefined,
  scenario: Scenario,
): Promise<Map<string, number>> {
  const world = await openWorld(from);
  try {
    const end = await live(lives, world, 'watched', lifeIn(scenario));
    const { problems } = await judge(world);
    if (end !== 'ended' || problems.length > 0) {
      throw new Error(`undisturbed: ${JSON.stringify(end)} ${problems.join('; ')}`);
    }
    const counts = new Map<string, number>();
    for (const told of toldBy(world.root, 'watched')) {
      if (told.tell !== 'operation') continue;
      counts.set(told.operation, (counts.get(told.operation) ?? 0) + 1);
    }
    return counts;
  } finally {
    await closeWorld(world);
  }
}

/** Faults that differ in more than their code. */
const KINDS: readonly FaultName[] = ['no effect', 'after effect', 'short', 'SIGKILL'];

/**
 * Every fault where a call first comes up; later in a life and after a kill those that differ in kind. Of a long life
 * only what comes up in no other.
 */
function plansOf(counts: readonly ReadonlyMap<string, number>[]): PlannedRun[] {
  const known = new Set<string>();
  return SCENARIOS.flatMap((scenario, at) =>
    [...counts[at]!].flatMap(([operation, count]) => {
      if (scenario === 'long life' && known.has(operation)) return [];
      const first = known.has(operation) ? KINDS : FAULTS;
      known.add(operation);
      const plan = (occurrence: number, faults: readonly FaultName[]): PlannedRun[] =>
        faults
          .filter((fault) => canFail(operation, fault))
          .map((fault) => ({ scenario, plan: { operation, occurrence, fault } }));
      const middle = count >> 1;
      const isAgain = scenario === 'first start' && middle > 0;
      return [...plan(0, first), ...(isAgain ? plan(middle, KINDS) : [])];
    }),
  );
}

/** One run: a life with the fault, and one that finds what it left. */
async function runOnce(
  lives: Lives,
  from: World | undefined,
  { scenario, plan }: PlannedRun,
): Promise<RunResult> {
  const world = await openWorld(from);
  try {
    const problems: string[] = [];
    const end = await live(lives, world, 'faulty', { plan, ...lifeIn(scenario) });
    if (typeof end === 'object') problems.push(end.failure);
    const isReached = toldBy(world.root, 'faulty').some(({ tell }) => tell === 'fault');
    if ((end === 'killed') !== (isReached && plan.fault === 'SIGKILL')) problems.push(String(end));
    const after = await live(lives, world, 'after', {
      roundCount: 1,
      shutdownMs: CATCH_UP_MS,
    });
    if (after !== 'ended') problems.push(`the life after: ${JSON.stringify(after)}`);
    const refused = toldBy(world.root, 'after').find(({ tell }) => tell === 'refused');
    if (refused?.tell === 'refused') problems.push(`the next start refused: ${refused.message}`);
    const judgement = await judge(world);
    problems.push(...judgement.problems);
    const { acknowledged, lost } = judgement;
    return { scenario, plan, isReached, acknowledged, lost, problems };
  } finally {
    await closeWorld(world);
  }
}

export async function runMatrix(options: MatrixOptions): Promise<Matrix> {
  const { seed, runCountMax = Number.POSITIVE_INFINITY, workerCount = 2, onRun } = options;
  const first = new Lives();
  const killed = await killedWorld(first);
  const worldOf = (scenario: Scenario): World | undefined =>
    scenario === 'after a kill' ? killed : undefined;
  const results: RunResult[] = [];
  try {
    const counts: ReadonlyMap<string, number>[] = [];
    for (const scenario of SCENARIOS) counts.push(await watch(first, worldOf(scenario), scenario));
    const asked = plansOf(counts).filter(({ plan }) => options.isAsked?.(plan) ?? true);
    const queue = shuffled(randomOf(seed), asked).slice(0, runCountMax);
    const work = async (lives: Lives): Promise<void> => {
      try {
        for (;;) {
          const planned = options.isOver?.() === true ? undefined : queue.shift();
          if (planned === undefined) return;
          const from = worldOf(planned.scenario);
          let result = await runOnce(lives, from, planned);
          for (let attempt = 1; !result.isReached && attempt < ATTEMPT_COUNT_MAX; attempt++) {
            result = await runOnce(lives, from, planned);
          }
          results.push(result);
          onRun?.(result);
        }
      } finally {
        await lives.close();
      }
    };
    const more = Array.from({ length: workerCount - 1 }, () => new Lives());
    await Promise.all([first, ...more].map(work));
    const operations = [...new Set(counts.flatMap((count) => [...count.keys()]))].sort();
    return { operations, results };
  } finally {
    await first.close();
    await closeWorld(killed);
  }
}
