// SPDX-License-Identifier: Apache-2.0
/**
 * Power cuts under a whole service: one life is written down, effect by effect, and played onto a disk that knows what
 * was synced; cut off anywhere, what such a disk may have left is laid out for the next life to find. Nobody runs while
 * the power goes, so a run costs one start; the order of effects is that of one life that was really lived.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { MemoryDisk } from '../support/faulty-files.ts';
import { pick, type Random, randomOf } from '../support/random.ts';
import type { Effect, Told } from './faulty-node.ts';
import {
  AFTER_POWER_LOSS,
  closeWorld,
  type Judgement,
  judge,
  Lives,
  live,
  openWorld,
  toldBy,
  type World,
} from './world.ts';

/** A life that was written down, and the disk that it began on. */
export interface TracedLife {
  readonly world: World;
  readonly begun: MemoryDisk;
  readonly told: readonly Told[];
  readonly life: string;
}

const TOP_NAMES = ['log', 'archive'] as const;

/** The log and archive of a world, all of it durable. */
function diskOf(root: string): MemoryDisk {
  const disk = new MemoryDisk();
  const take = (place: string): void => {
    disk.putDirectory(`/${place}`);
    for (const entry of readdirSync(join(root, place), { withFileTypes: true })) {
      const inside = `${place}/${entry.name}`;
      if (entry.isDirectory()) take(inside);
      else disk.put(`/${inside}`, new Uint8Array(readFileSync(join(root, inside))));
    }
  };
  for (const name of TOP_NAMES) if (readdirSync(root).includes(name)) take(name);
  return disk;
}

/** Lives a life and writes it down; `from` is the world that it goes on from. */
export async function traceLife(lives: Lives, from?: World, life = 'first'): Promise<TracedLife> {
  const world = await openWorld(from);
  const begun = diskOf(world.root);
  const end = await live(lives, world, life, { isTraced: true });
  if (end !== 'ended') throw new Error(`the traced life: ${JSON.stringify(end)}`);
  return { world, begun, told: toldBy(world.root, life), life };
}

/** The effects of a life up to a line of what it told. */
function diskAt({ begun, told }: TracedLife, lineCount: number): MemoryDisk {
  const disk = begun.copy();
  const files = new Map<string, number>();
  const fileOf = (id: string): number => {
    const file = files.get(id);
    if (file === undefined) throw new Error(`${id} is not open`);
    return file;
  };
  const play = (effect: Effect): void => {
    if (effect.act === 'mkdir') disk.makeDirectory(`/${effect.path}`);
    // The root of the world lies on ground that was there before.
    else if (effect.act === 'sync directory') disk.syncDirectory(`/${effect.path}`);
    else if (effect.act === 'remove') disk.remove(`/${effect.path}`);
    else if (effect.act === 'open') {
      files.set(effect.file, disk.open(`/${effect.path}`, effect.isCut ? 'truncate' : 'existing'));
    } else if (effect.act === 'append') {
      disk.append(fileOf(effect.file), new Uint8Array(Buffer.from(effect.data, 'base64')));
    } else if (effect.act === 'truncate') disk.truncate(fileOf(effect.file), effect.byteLength);
    else if (effect.act === 'sync')
      disk.sync(files.get(effect.file) ?? disk.open(`/${effect.path}`, 'existing'));
    else if (effect.act === 'rename') disk.rename(`/${effect.from}`, `/${effect.to}`);
    else disk.link(`/${effect.from}`, `/${effect.to}`);
  };
  for (const one of told.slice(0, lineCount)) {
    if (one.tell === 'operation') for (const effect of one.effects) play(effect);
  }
  return disk;
}

/** A machine that was started again has another name for it in its journals of calls. */
const BOOT = Buffer.from('\nboot ');

function rebooted(bytes: Uint8Array): Uint8Array {
  const at = Buffer.from(bytes).indexOf(BOOT);
  const first = at + BOOT.length;
  if (at < 0 || first >= bytes.length) return bytes;
  const other = bytes.slice();
  other[first] = bytes[first] === 0x30 ? 0x31 : 0x30;
  return other;
}

/** Lays a disk out below a root. */
function layOut(disk: MemoryDisk, root: string): void {
  for (const { path, bytes: left } of disk.entries()) {
    const at = join(root, path);
    const bytes = left !== undefined && /\/intents-/.test(path) ? rebooted(left) : left;
    if (bytes === undefined) mkdirSync(at, { recursive: true, mode: 0o700 });
    else {
      mkdirSync(dirname(at), { recursive: true, mode: 0o700 });
      writeFileSync(at, bytes, { mode: 0o600 });
    }
  }
}

/** Lines at which the power may go: behind each that changed the disk or acknowledged something. */
export function cutsOf({ told }: TracedLife): number[] {
  return told.flatMap((one, at) => {
    const counts = one.tell === 'operation' ? one.effects.length > 0 : one.tell === 'sealed';
    return counts ? [at + 1] : [];
  });
}

/** The power goes behind a line of the life; the next life starts from what the disk may have kept, and all is judged. */
export async function losePower(
  lives: Lives,
  traced: TracedLife,
  lineCount: number,
  random: Random,
): Promise<Judgement> {
  const left = diskAt(traced, lineCount).afterPowerLoss(random);
  const world = await openWorld();
  try {
    layOut(left, world.root);
    const told = traced.told.slice(0, lineCount).filter(({ tell }) => tell !== 'operation');
    for (const life of traced.world.lives) {
      const lines = life === traced.life ? told : toldBy(traced.world.root, life);
      const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
      writeFileSync(join(world.root, 'told', life), text);
    }
    world.lives.push(...traced.world.lives);
    const end = await live(lives, world, 'after', { roundCount: 1 });
    const judgement = await judge(world, { honest: AFTER_POWER_LOSS, before: traced.world });
    const problems = [...judgement.problems];
    if (end !== 'ended') problems.push(`the life after: ${JSON.stringify(end)}`);
    const refused = toldBy(world.root, 'after').find(({ tell }) => tell === 'refused');
    if (refused?.tell === 'refused') problems.push(`the next start refused: ${refused.message}`);
    return { ...judgement, problems };
  } finally {
    await closeWorld(world);
  }
}

export interface PowerOptions {
  readonly seed: number;
  readonly cutCount: number;
  readonly workerCount?: number;
  readonly isOver?: () => boolean;
  readonly onCut?: (cut: { readonly where: string; readonly problems: readonly string[] }) => void;
}

export interface PowerResult {
  readonly cuts: number;
  readonly acknowledged: number;
  readonly lost: number;
}

/** Power cuts at random steps of a first life and of one that goes on after it. */
export async function runPowerCuts(options: PowerOptions): Promise<PowerResult> {
  const { seed, cutCount, workerCount = 2, isOver, onCut } = options;
  if (cutCount === 0) return { cuts: 0, acknowledged: 0, lost: 0 };
  const random = randomOf(seed);
  const first = new Lives();
  const begun = await traceLife(first);
  const traces: TracedLife[] = [begun];
  let cuts = 0;
  let acknowledged = 0;
  let lost = 0;
  try {
    traces.push(await traceLife(first, begun.world, 'second'));
    const queue = Array.from({ length: cutCount }, () => {
      const trace = pick(random, traces);
      return { trace, lineCount: pick(random, cutsOf(trace)), seed: random(2 ** 32) };
    });
    const work = async (lives: Lives): Promise<void> => {
      try {
        for (;;) {
          const cut = isOver?.() === true ? undefined : queue.shift();
          if (cut === undefined) return;
          const { trace, lineCount } = cut;
          const judgement = await losePower(lives, trace, lineCount, randomOf(cut.seed));
          cuts++;
          acknowledged += judgement.acknowledged;
          lost += judgement.lost;
          const last = trace.told[lineCount - 1]!;
          const step = last.tell === 'operation' ? last.operation : last.tell;
          const where = `power lost in the ${trace.life} life behind line ${lineCount}, ${step}, seed ${cut.seed}`;
          onCut?.({ where, problems: judgement.problems });
        }
      } finally {
        await lives.close();
      }
    };
    const more = Array.from({ length: workerCount - 1 }, () => new Lives());
    await Promise.all([first, ...more].map(work));
  } finally {
    await first.close();
    for (const { world } of traces) await closeWorld(world);
  }
  return { cuts, acknowledged, lost };
}
