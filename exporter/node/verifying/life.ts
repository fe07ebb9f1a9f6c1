// SPDX-License-Identifier: Apache-2.0
/**
 * The numbers of one life of a process, and when they were heard, as far as a range of time goes: what those that seal
 * themselves and those that others seal have in common. Judges nothing; `instances.ts` does.
 */
import {
  formatNumberRanges,
  MISSING_LISTED_COUNT,
  type NumberRange,
  NumberRanges,
} from '../../log/numbers.ts';

/** From and to are compared with `sealed`; both are included. */
export interface TimeRange {
  readonly from: string | undefined;
  readonly to: string | undefined;
}

/** Numbers: how many, and the first ranges of them. */
export interface Listed {
  readonly count: number;
  readonly ranges: string;
}

/** What both kinds have: numbers seen, numbers said, and when. */
export class Life {
  readonly numbers: NumberRanges = new NumberRanges();
  heardFrom: string;
  heardTo: string;
  /** Highest number said. */
  said = 0;
  /** Highest known before the range began, and before it ended. */
  low = 0;
  high = 0;
  /** Numbers of calls that had not ended, and of which nothing else was seen. */
  readonly #open = new NumberRanges();
  readonly #range: TimeRange;

  constructor(range: TimeRange, sealed: string) {
    this.#range = range;
    this.heardFrom = sealed;
    this.heardTo = sealed;
  }

  see(first: number, last: number, sealed: string): void {
    this.numbers.add(first, last);
    this.know(last, sealed);
  }

  know(number: number, sealed: string): void {
    const { from, to } = this.#range;
    if (from !== undefined && sealed < from && number > this.low) this.low = number;
    if ((to === undefined || sealed <= to) && number > this.high) this.high = number;
  }

  get highest(): number {
    return Math.max(this.said, this.numbers.highest);
  }

  /** Heard in the range, or on both sides of it; `moreMs` longer where nobody knows when it ended. */
  isIn(moreMs: number): boolean {
    const { from, to } = this.#range;
    const until = moreMs === 0 ? this.heardTo : laterBy(this.heardTo, moreMs);
    return (to === undefined || this.heardFrom <= to) && (from === undefined || until >= from);
  }

  /** Whether what happened last is part of what is asked about. */
  get endsInRange(): boolean {
    return this.#range.to === undefined || this.heardTo <= this.#range.to;
  }

  /** Of these calls no end was sealed, and it was said so: they are open unless they were seen, and not missing. */
  leaveOpen(ranges: readonly NumberRange[]): void {
    addAll(this.#open, [...without(ranges, this.numbers.ranges)]);
    addAll(this.numbers, ranges);
  }

  /** Numbers of the range that are open. */
  get open(): Listed {
    const ranges = [...without(this.#open.ranges, [[0, this.low]])]
      .filter(([first]) => first <= this.high)
      .map(([first, last]) => [first, Math.min(last, this.high)] as const);
    const count = ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    return { count, ranges: formatNumberRanges(ranges.slice(0, MISSING_LISTED_COUNT)) };
  }

  /** Numbers of the range up to `due` that were not seen. Ends the counting: all below the range pass for seen. */
  missing(due: number): Listed {
    if (this.low > 0) this.numbers.add(1, this.low);
    const { count, ranges } = this.numbers.missing(Math.min(due, this.high));
    return { count, ranges: formatNumberRanges(ranges) };
  }
}

/** What of some ranges others do not have; both are ascending. */
function* without(
  ranges: readonly NumberRange[],
  others: readonly NumberRange[],
): Generator<NumberRange> {
  let at = 0;
  for (const [first, last] of ranges) {
    let next = first;
    for (let other = others[at]; other !== undefined && other[0] <= last; other = others[++at]) {
      if (other[0] > next) yield [next, other[0] - 1];
      next = Math.max(next, other[1] + 1);
      // It may reach into the next one as well.
      if (other[1] > last) break;
    }
    if (next <= last) yield [next, last];
  }
}

function laterBy(sealed: string, ms: number): string {
  return new Date(Date.parse(sealed) + ms).toISOString();
}

export function say(life: Life, number: number, sealed: string): void {
  life.said = Math.max(life.said, number);
  life.know(number, sealed);
}

export function addAll(numbers: NumberRanges, ranges: readonly NumberRange[]): void {
  for (const [first, last] of ranges) numbers.add(first, last);
}
