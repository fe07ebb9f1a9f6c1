// SPDX-License-Identifier: Apache-2.0
/**
 * Sums what a log says was refused, by who sent it and why: requests that a gateway answered for good with no. What was
 * in them nobody has; the events name the first body of each kind by its SHA-256.
 */
import { encodeBase64 } from '../../log/bytes.ts';
import type { ControlEvent } from '../../log/control.ts';

export interface Refused {
  /** Requests. */
  readonly count: number;
  /** A code of the receiver's. */
  readonly cause: string;
  readonly source: string;
  /** SHA-256 of the authenticated principal, base64; null where nobody was authenticated. */
  readonly principal: string | null;
}

/** Sources and causes told apart; what comes behind is counted with the cause `other`, of nobody. */
export const REFUSED_KIND_COUNT_MAX: number = 1000;

export class RefusedCounts {
  readonly #counts = new Map<string, Refused>();
  #otherCount = 0;

  take(event: ControlEvent): void {
    if (event.name !== 'refused') return;
    const { count, cause, source } = event;
    const principal = event.principal === undefined ? null : encodeBase64(event.principal);
    const key = JSON.stringify([source, principal, cause]);
    const known = this.#counts.get(key);
    if (known === undefined && this.#counts.size >= REFUSED_KIND_COUNT_MAX) {
      this.#otherCount += count;
    } else {
      this.#counts.set(key, { count: count + (known?.count ?? 0), cause, source, principal });
    }
  }

  /** Most first, what is not told apart at the end. */
  get counts(): readonly Refused[] {
    const told = [...this.#counts.values()].sort((a, b) => b.count - a.count);
    const count = this.#otherCount;
    return count === 0 ? told : [...told, { count, cause: 'other', source: '-', principal: null }];
  }
}
