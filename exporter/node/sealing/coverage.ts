// SPDX-License-Identifier: Apache-2.0
/**
 * What the threads of a process say of the packages they could make calls through, as one answer. Says again only what has
 * changed; knows no package, and no word that is said of one.
 */
import { type CoverageEvent, controlText } from '../../log/control.ts';
import type { CoverageState } from './protocol.ts';

/** Rows of one process; each is a package, or a copy of one. */
const ROW_COUNT_MAX = 256;

export class CoverageBook {
  /** By thread; what a thread said last stands when it has ended. */
  readonly #said = new Map<number, readonly CoverageState[]>();
  #sealed = '';

  /** Takes all that a thread knows by now. Returns all that the process knows, or nothing where that is as it was. */
  tell(thread: number, rows: readonly CoverageState[]): CoverageEvent[] {
    this.#said.set(thread, rows);
    const events = new Map<string, CoverageEvent>();
    for (const row of [...this.#said.values()].flat()) {
      const event = eventOf(row);
      events.set(JSON.stringify([event.target, event.version, event.state, event.detail]), event);
    }
    const keys = [...events.keys()].sort().slice(0, ROW_COUNT_MAX);
    const all = keys.join();
    if (all === this.#sealed) return [];
    this.#sealed = all;
    return keys.flatMap((key) => events.get(key) ?? []);
  }
}

function eventOf({ target, version, state, detail }: CoverageState): CoverageEvent {
  return {
    name: 'coverage',
    target: controlText(target),
    ...(version !== undefined && { version: controlText(version) }),
    state: controlText(state),
    ...(detail !== undefined && { detail: controlText(detail) }),
  };
}
