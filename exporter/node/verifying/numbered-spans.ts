// SPDX-License-Identifier: Apache-2.0
/**
 * Tells a span that arrives again from another one under the same number, which only two processes of one name give out.
 * Four bytes for each number, of which the latest pages are kept: bounded, and blind behind that bound.
 */
import { spanOf } from '../../log/numbers.ts';

const PAGE_NUMBER_COUNT = 1024;
/** 8,388,608 numbers, 32 MiB. */
export const NUMBERED_PAGE_COUNT_MAX: number = 8192;
const SPAN_ID = 2;

export class NumberedSpans {
  readonly #pageCountMax: number;
  readonly #pages = new Map<object, Map<number, Uint32Array>>();
  /** In the order in which they were begun. */
  readonly #begun: { readonly sender: object; readonly page: number }[] = [];
  #dropped = 0;

  constructor(pageCountMax: number = NUMBERED_PAGE_COUNT_MAX) {
    this.#pageCountMax = pageCountMax;
  }

  /**
   * False where another span was seen under that number of that sender; the first one stays.
   * @param mark of {@link markOf}
   */
  isFirst(sender: object, number: number, mark: number): boolean {
    const page = this.#pageOf(sender, Math.floor(number / PAGE_NUMBER_COUNT));
    const at = number % PAGE_NUMBER_COUNT;
    if (page[at] === 0) page[at] = mark;
    return page[at] === mark;
  }

  #pageOf(sender: object, page: number): Uint32Array {
    let pages = this.#pages.get(sender);
    if (pages === undefined) {
      pages = new Map();
      this.#pages.set(sender, pages);
    }
    const known = pages.get(page);
    if (known !== undefined) return known;
    if (this.#begun.length - this.#dropped >= this.#pageCountMax) this.#dropOldest();
    const marks = new Uint32Array(PAGE_NUMBER_COUNT);
    pages.set(page, marks);
    this.#begun.push({ sender, page });
    return marks;
  }

  #dropOldest(): void {
    const { sender, page } = this.#begun[this.#dropped++]!;
    this.#pages.get(sender)?.delete(page);
    // Taken out all at once, since an array is slow to lose its first.
    if (this.#dropped < this.#pageCountMax) return;
    this.#begun.splice(0, this.#dropped);
    this.#dropped = 0;
  }
}

/** The last four bytes of the id of an entry's span, which are chance; never 0, which is nothing seen. */
export function markOf(entry: Uint8Array): number {
  let mark = 0;
  const span = spanOf(entry);
  while (span.next()) {
    if (span.number !== SPAN_ID) continue;
    mark = 0;
    const { valueStart, valueEnd } = span;
    for (let at = Math.max(valueStart, valueEnd - 4); at < valueEnd; at++) {
      mark = ((mark << 8) | entry[at]!) >>> 0;
    }
  }
  return mark === 0 ? 1 : mark;
}
