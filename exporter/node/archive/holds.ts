// SPDX-License-Identifier: Apache-2.0
/**
 * Legal holds: asked for through files that any process may write, sealed by the one that writes the log, and then put
 * on everything the archive has of it. While one is on, nothing is removed here. Does not judge who may ask: whoever can write
 * to the log directory can.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type ControlEvent, controlText } from '../../log/control.ts';
import { causeOf } from '../system/cause.ts';
import { type Files, makeDurableDirectory, replaceFile } from '../system/files.ts';

export type HoldEvent = Extract<ControlEvent, { readonly name: 'hold' }>;

export interface HoldRequest {
  readonly action: 'placed' | 'released';
  readonly id: string;
  readonly by?: string | undefined;
}

const HOLDS = 'holds';

const WORD_LENGTH_MAX = 200;

const isWord = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= WORD_LENGTH_MAX;

/**
 * A request, and nothing beside it; undefined for anything else. By hand: for three words, the library that all other
 * settings are checked with would be a quarter of what the sealing thread loads and holds in memory.
 */
function requestOf(value: object): HoldRequest | undefined {
  const { action, id, by, ...others } = value as Readonly<Record<string, unknown>>;
  const isWhole =
    (action === 'placed' || action === 'released') &&
    isWord(id) &&
    id !== '' &&
    (by === undefined || isWord(by)) &&
    Object.keys(others).length === 0;
  return isWhole ? { action, id, by } : undefined;
}

/**
 * Leaves a request for the writer of a log directory, which finds it within seconds, or when it starts.
 * @throws RangeError where an id or a name is too long, or empty
 */
export function requestHold(files: Files, dir: string, request: HoldRequest, nowMs: number): void {
  const whole = requestOf(request);
  if (whole === undefined) {
    throw new RangeError(`id, by: give an id, and of each at most ${WORD_LENGTH_MAX} characters`);
  }
  const folder = join(dir, HOLDS);
  makeDurableDirectory(files, folder);
  const name = `${String(nowMs).padStart(16, '0')}-${randomUUID()}.json`;
  const bytes = new TextEncoder().encode(JSON.stringify(whole));
  replaceFile(files, join(folder, name), bytes, join(folder, `.${name}`));
}

/** Requests that no writer carried out yet, the oldest first. */
export function pendingHolds(files: Files, dir: string): HoldRequest[] {
  return namesOf(files, dir)
    .map((name) => readRequest(files, join(dir, HOLDS, name)))
    .filter((request) => request !== undefined);
}

function namesOf(files: Files, dir: string): string[] {
  return (files.list(join(dir, HOLDS)) ?? []).filter((name) => /^[^.].*\.json$/.test(name));
}

function readRequest(files: Files, path: string): HoldRequest | undefined {
  try {
    const text = Buffer.from(files.readAll(path) ?? []).toString('utf8');
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? requestOf(value) : undefined;
  } catch {
    return undefined;
  }
}

/** Ids that are placed and not released. */
export function holdsIn(events: Iterable<HoldEvent>): Set<string> {
  const held = new Set<string>();
  for (const event of events) takeHold(held, event);
  return held;
}

/** Adds to the ids that are on, or takes away. Of words that nobody seals nothing follows. */
export function takeHold(held: Set<string>, { action, id }: HoldEvent): void {
  if (action === 'placed') held.add(id);
  if (action === 'released') held.delete(id);
}

export interface HoldsOptions {
  readonly files: Files;
  readonly dir: string;
  /** All that the log holds of them; or how to find out, where nobody needs to know before something is asked for. */
  readonly sealed: Iterable<HoldEvent> | (() => Promise<Iterable<HoldEvent>>);
  /** Seals one; throws where the log can not be written now. */
  readonly seal: (event: HoldEvent) => void;
  /** Puts a hold on all that is archived, or takes it off; throws where that is not done. */
  readonly apply: (isHeld: boolean) => Promise<void>;
  readonly onReport: (cause: string) => void;
}

export class Holds {
  readonly #options: HoldsOptions;
  #held: Set<string> | undefined;
  /** Something was asked for and is not carried out: until it is, it may be a hold. */
  #isPending = false;
  #trouble: string | undefined;
  #running: Promise<void> | undefined;

  constructor(options: HoldsOptions) {
    this.#options = options;
    if (typeof options.sealed !== 'function') this.#held = holdsIn(options.sealed);
    this.#isPending = namesOf(options.files, options.dir).length > 0;
  }

  get isHeld(): boolean {
    return this.#held !== undefined && this.#held.size > 0;
  }

  /** True where all that was asked for is sealed and carried out. */
  get isApplied(): boolean {
    return !this.#isPending;
  }

  /** False while a hold is on, or may have been asked for. */
  get mayRemove(): boolean {
    return !this.isHeld && !this.#isPending;
  }

  /** Carries out what was asked for since the last time; never rejects. */
  poll(): Promise<void> {
    this.#running ??= this.#poll().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #poll(): Promise<void> {
    const { files, dir, apply, onReport } = this.#options;
    try {
      this.#isPending = true;
      for (const name of namesOf(files, dir)) {
        const path = join(dir, HOLDS, name);
        const request = readRequest(files, path);
        if (request === undefined) {
          onReport(`${path} is no request for a hold, and was removed`);
        } else {
          this.#held ??= await this.#heldSoFar();
          this.#seal(request, this.#held);
          // A crash before the request is removed: the next start finds the hold sealed, and applies it again.
          await apply(this.isHeld);
        }
        files.remove(path);
      }
      this.#isPending = false;
      this.#trouble = undefined;
    } catch (error) {
      const cause = causeOf(error);
      // Once, not every few seconds.
      if (cause !== this.#trouble) onReport(cause);
      this.#trouble = cause;
    }
  }

  async #heldSoFar(): Promise<Set<string>> {
    const { sealed } = this.#options;
    return holdsIn(typeof sealed === 'function' ? await sealed() : sealed);
  }

  #seal({ action, id, by }: HoldRequest, held: Set<string>): void {
    const name = controlText(id);
    // Placed twice is placed; released without being placed is nothing.
    if (held.has(name) === (action === 'placed')) return;
    const who = by === undefined ? {} : { by: controlText(by) };
    const event: HoldEvent = { name: 'hold', action, id: name, ...who };
    this.#options.seal(event);
    takeHold(held, event);
  }
}
