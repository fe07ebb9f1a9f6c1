// SPDX-License-Identifier: Apache-2.0
/**
 * Stands between a whole service and Node's file system, in one thread: names every call that touches the world under
 * test, fails or kills at the one a plan names, and writes down what reached the disk. The code under test is the real
 * one. Does not reach below the call: what a kernel does to bytes it was given, power.ts tells.
 */
import * as fs from 'node:fs';
import { relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread } from 'node:worker_threads';

export const FAULTS = [
  'no effect',
  'after effect',
  'short',
  'EIO',
  'ENOSPC',
  'EMFILE',
  'slow',
  'SIGKILL',
] as const;
export type FaultName = (typeof FAULTS)[number];

/** One call that goes wrong: the `occurrence`th (from 0) of its name. */
export interface Plan {
  readonly operation: string;
  readonly occurrence: number;
  readonly fault: FaultName;
}

/** What one life of a service runs in. */
export interface World {
  /** Holds `log/` and `archive/`; calls elsewhere are let through. */
  readonly root: string;
  /** What is told goes here, a line of JSON each, whole even when the process is killed. */
  readonly tellPath: string;
  readonly plan: Plan | undefined;
  /** Whether each effect on the disk is told, with its bytes. */
  readonly isTraced: boolean;
}

/** An effect on the disk, paths relative to the root; `file` is one open file of one thread. */
export type Effect =
  | { readonly act: 'mkdir'; readonly path: string }
  | { readonly act: 'sync directory'; readonly path: string }
  | { readonly act: 'remove'; readonly path: string }
  | {
      readonly act: 'open';
      readonly file: string;
      readonly path: string;
      readonly isCut: boolean;
      readonly isNew: boolean;
    }
  | { readonly act: 'append'; readonly file: string; readonly data: string }
  | { readonly act: 'truncate'; readonly file: string; readonly byteLength: number }
  /** What was opened to be read can be synced, too: then `path` tells what it is. */
  | { readonly act: 'sync'; readonly file: string; readonly path: string }
  | { readonly act: 'rename'; readonly from: string; readonly to: string }
  | { readonly act: 'link'; readonly from: string; readonly to: string };

/** What a life tells. */
export type Told =
  | { readonly tell: 'operation'; readonly operation: string; readonly effects: readonly Effect[] }
  | { readonly tell: 'fault'; readonly plan: Plan }
  /** A span, by its name: started, or answered so. */
  | { readonly tell: 'started' | 'sealed' | 'lost'; readonly name: string }
  | { readonly tell: 'report'; readonly code: string; readonly message: string }
  | { readonly tell: 'refused'; readonly message: string }
  | { readonly tell: 'opened' | 'ended' };

const SLOW_DELAY_MS = 120;

/** Node's own calls, as they were before any was replaced. */
export const real: Readonly<typeof fs> = { ...fs };
let world: World | undefined;
let occurrences = new Map<string, number>();

/** Lines are written by the real calls, in one write each: threads and kills tear none. */
export function tell(told: Told): void {
  if (world === undefined) return;
  const file = real.openSync(world.tellPath, 'a', 0o600);
  try {
    real.writeSync(file, `${JSON.stringify(told)}\n`);
  } finally {
    real.closeSync(file);
  }
}

/** Begins a new life: the calls of this thread are counted from 0. */
export function enter(next: World | undefined): void {
  world = next;
  occurrences = new Map();
}

/** Which part of the service a path belongs to, and what it is called in the table. First match wins. */
const PLACES: readonly (readonly [pattern: RegExp, component: string, what: string])[] = [
  [/^log\/0\/key\.pem\./, 'key store', 'new key'],
  [/^log\/0\/key\.pem$/, 'key store', 'key'],
  [/^log\/0\/verifier\.tmp$/, 'key store', 'new verifier'],
  [/^log\/0\/verifier$/, 'key store', 'verifier'],
  [/^log\/0\/lock/, 'lock', 'lock'],
  [/^log\/0\/intents-/, 'journal', 'journal'],
  [/^log\/0\/forward\.cursor\.tmp$/, 'forwarder', 'new cursor'],
  [/^log\/0\/forward\.cursor$/, 'forwarder', 'cursor'],
  [/^log\/0\/segments\/.+$/, 'sealer', 'segment'],
  [/^log\/0\/segments$/, 'sealer', 'segments directory'],
  [/^log\/0\/signing\.tmp$/, 'sealer', 'new signing'],
  [/^log\/0\/signing$/, 'sealer', 'signing'],
  [/^log\/0\/checkpoint\.tmp$/, 'sealer', 'new checkpoint'],
  [/^log\/0\/checkpoint$/, 'sealer', 'checkpoint'],
  [/^log\/0\/checkpoints\/.+$/, 'sealer', 'segment checkpoint'],
  [/^log\/0\/checkpoints$/, 'sealer', 'checkpoints directory'],
  [/^log\/0\/tail$/, 'sealer', 'tail'],
  [/^log\/0\/waypoint\.tmp$/, 'sealer', 'new waypoint'],
  [/^log\/0\/waypoint$/, 'sealer', 'waypoint'],
  [/^log\/0\/waypoint-told$/, 'sealer', 'told by waypoints'],
  [/^log\/0\/start\.tmp$/, 'sealer', 'new start'],
  [/^log\/0\/starts\/.+$/, 'sealer', 'start'],
  [/^log\/0\/starts$/, 'sealer', 'starts directory'],
  [/^log\/0\/pruned\.tmp$/, 'sealer', 'new end of what is removed'],
  [/^log\/0\/pruned$/, 'sealer', 'end of what is removed'],
  [/^log\/0\/pruned-numbers\.tmp$/, 'sealer', 'new numbers of what is removed'],
  [/^log\/0\/pruned-numbers$/, 'sealer', 'numbers of what is removed'],
  [/^log\/0\/holds(\/.*)?$/, 'sealer', 'requests for holds'],
  [/^log\/0\/recovery(\.tmp)?$/, 'sealer', 'recovery'],
  [/^log(\/0)?$/, 'sealer', 'log directory'],
  [/^archive(\/.*)?\/\.[^/]+$/, 'archiver', 'unfinished object'],
  [/^archive\/.*\/(segments|checkpoints|starts)\/[^/]+$/, 'archiver', 'object'],
  [/^archive(\/.*)?$/, 'archiver', 'archive directory'],
  [/^$/, 'sealer', 'parent directory'],
];

/** Reads through promises are those of the log's consumers; the writer's are synchronous. */
export function nameOf(call: string, path: string, isConsumer: boolean): string {
  const found = PLACES.find(([pattern]) => pattern.test(path));
  const [, component, what] = found ?? [undefined, 'sealer', path];
  let part = component;
  if (isConsumer && part === 'sealer') part = 'consumers';
  // The application's own thread writes it; the sealer begins it and reads what a killed process left.
  if (part === 'journal' && !isMainThread) part = 'sealer';
  return `${part}: ${call} ${what}`;
}

/** A path relative to the root of the world under test; undefined where it lies elsewhere. */
export function placeOf(path: unknown): string | undefined {
  if (world === undefined || typeof path !== 'string') return undefined;
  const place = relative(world.root, path);
  return place.startsWith('..') ? undefined : place;
}

export function failure(code: string, operation: string): Error {
  const error = new Error(`${code}: injected into ${operation}`);
  return Object.assign(error, { code, syscall: operation });
}

/** Nothing of this process comes after this. */
function die(): never {
  process.kill(process.pid, 'SIGKILL');
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

/** Counts a call; the fault that is due at it. */
function due(operation: string): FaultName | undefined {
  const occurrence = occurrences.get(operation) ?? 0;
  occurrences.set(operation, occurrence + 1);
  const plan = world?.plan;
  if (plan?.operation !== operation || plan.occurrence !== occurrence) return undefined;
  tell({ tell: 'fault', plan });
  return plan.fault;
}

/** One call: `act` does it, `Value` is what it gives, at once or as a promise. */
export interface Call<Value, Given> {
  readonly operation: string;
  readonly act: () => Given;
  /** What the call did to the disk, once it is done. */
  readonly effects?: (value: Value) => readonly Effect[];
  /** Half of it: a read or write that moves fewer bytes than asked. */
  readonly short?: () => Given;
  /** Done whatever it says: a kernel forgets the number of a file that it fails to close. */
  readonly isFinal?: boolean;
  /** Takes back what a call that says it failed does not leave in its process, such as an open file. */
  readonly undo?: (value: Value) => void;
}

function done<Value>(
  { operation, effects }: Call<Value, Value | Promise<Value>>,
  value: Value,
): Value {
  const isTraced = world?.isTraced === true;
  if (isTraced || world?.plan === undefined) {
    tell({ tell: 'operation', operation, effects: isTraced ? (effects?.(value) ?? []) : [] });
  }
  return value;
}

const codeOf = (fault: FaultName): string => (fault === 'no effect' ? 'EACCES' : fault);

export function run<Value>(call: Call<Value, Value>): Value {
  const { operation, act, short = act, undo } = call;
  const fault = due(operation);
  if (fault === undefined) return done(call, act());
  if (fault === 'short') return short();
  if (fault === 'slow') {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SLOW_DELAY_MS);
    return done(call, act());
  }
  if (fault === 'SIGKILL') {
    try {
      if (call.short !== undefined) short();
    } finally {
      die();
    }
  }
  if (fault === 'after effect') {
    const value = act();
    undo?.(value);
    throw failure('EIO', operation);
  }
  if (call.isFinal === true) act();
  throw failure(codeOf(fault), operation);
}

/** The same for a call that gives a promise. */
export async function runLater<Value>(call: Call<Value, Promise<Value>>): Promise<Value> {
  const { operation, act, short = act, undo } = call;
  const fault = due(operation);
  if (fault === undefined) return done(call, await act());
  if (fault === 'short') return short();
  if (fault === 'slow') {
    await sleep(SLOW_DELAY_MS);
    return done(call, await act());
  }
  if (fault === 'SIGKILL') {
    try {
      if (call.short !== undefined) await short();
    } finally {
      die();
    }
  }
  if (fault === 'after effect') {
    const value = await act();
    undo?.(value);
    throw failure('EIO', operation);
  }
  if (call.isFinal === true) await act();
  throw failure(codeOf(fault), operation);
}
