// SPDX-License-Identifier: Apache-2.0
/**
 * Legal holds: asked for through files that any process may write, sealed by the one that writes the log, and then put
 * on everything the archive has of it. While one is on, nothing is removed here. Does not judge who may ask: whoever can write
 * to the log directory can.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { type ControlEvent, controlText } from '../log/control.ts';
import { type Files, makeDurableDirectory, replaceFile } from './files.ts';
import { causeOf } from './otlp-config.ts';

export type HoldEvent = Extract<ControlEvent, { readonly name: 'hold' }>;

export interface HoldRequest {
  readonly action: 'placed' | 'released';
  readonly id: string;
  readonly by?: string | undefined;
}

const HOLDS = 'holds';

const schema = z.strictObject({
  action: z.enum(['placed', 'released']),
  id: z.string().min(1).max(200),
  by: z.string().max(200).optional(),
});

/** Leaves a request for the writer of a log directory, which finds it within seconds, or when it starts. */
export function requestHold(files: Files, dir: string, request: HoldRequest, nowMs: number): void {
  const folder = join(dir, HOLDS);
  makeDurableDirectory(files, folder);
  const name = `${String(nowMs).padStart(16, '0')}-${randomUUID()}.json`;
  const bytes = new TextEncoder().encode(JSON.stringify(schema.parse(request)));
  replaceFile(files, join(folder, name), bytes, join(folder, `.${name}`));
}

/** Ids that are placed and not released. */
export function holdsIn(events: Iterable<HoldEvent>): Set<string> {
  const held = new Set<string>();
  for (const { action, id } of events) {
    if (action === 'placed') held.add(id);
    else held.delete(id);
  }
  return held;
}

export interface HoldsOptions {
  readonly files: Files;
  readonly dir: string;
  /** All that the log holds of them. */
  readonly sealed: Iterable<HoldEvent>;
  /** Seals one; throws where the log can not be written now. */
  readonly seal: (event: HoldEvent) => void;
  /** Puts a hold on all that is archived, or takes it off; throws where that is not done. */
  readonly apply: (isHeld: boolean) => Promise<void>;
  readonly onReport: (cause: string) => void;
}

export class Holds {
  readonly #options: HoldsOptions;
  readonly #held: Set<string>;
  /** Something was asked for and is not carried out: until it is, it may be a hold. */
  #isPending = false;
  #running: Promise<void> | undefined;

  constructor(options: HoldsOptions) {
    this.#options = options;
    this.#held = holdsIn(options.sealed);
  }

  get isHeld(): boolean {
    return this.#held.size > 0;
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
    const folder = join(dir, HOLDS);
    try {
      this.#isPending = true;
      const names = (files.list(folder) ?? []).filter((name) => /^[^.].*\.json$/.test(name));
      for (const name of names) {
        const path = join(folder, name);
        const request = this.#read(path);
        if (request !== undefined) {
          this.#seal(request);
          // A crash before the request is removed: the next start finds the hold sealed, and applies it again.
          await apply(this.isHeld);
        }
        files.remove(path);
      }
      this.#isPending = false;
    } catch (error) {
      onReport(causeOf(error));
    }
  }

  #read(path: string): HoldRequest | undefined {
    const text = Buffer.from(this.#options.files.readAll(path) ?? []).toString('utf8');
    try {
      return schema.parse(JSON.parse(text));
    } catch {
      this.#options.onReport(`${path} is no request for a hold`);
      return undefined;
    }
  }

  #seal({ action, id, by }: HoldRequest): void {
    const name = controlText(id);
    // Placed twice is placed; released without being placed is nothing.
    if (this.#held.has(name) === (action === 'placed')) return;
    const who = by === undefined ? {} : { by: controlText(by) };
    this.#options.seal({ name: 'hold', action, id: name, ...who });
    if (action === 'placed') this.#held.add(name);
    else this.#held.delete(name);
  }
}
