// SPDX-License-Identifier: Apache-2.0
/**
 * A steady stream of spans whose ids are their numbers, made beforehand so that sending them costs next to nothing, and
 * who counts which of the numbers arrived. Numbers begin at 1; the id of a parent is nobody's.
 */
import { createServer, type Server } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { FieldCursor } from '../../exporter/log/wire.ts';
import { openOtlpClient } from '../../exporter/node/otlp/otlp-client.ts';
import { otlpRequests } from '../bench/support/spans.ts';

/** Distinct requests: enough that no window of a compressor holds one twice. */
const DISTINCT_COUNT = 48;
const SPANS_PER_REQUEST = 256;
const IN_FLIGHT = 16;
const RETRY_DELAY_MS = 50;
/** Fields of TracesData, ResourceSpans and ScopeSpans that lead to spans, and `span_id` in a span. */
const PATH = [1, 2, 2, 2] as const;

/** Calls with the place of the id of each span. */
export function findSpanIds(bytes: Uint8Array, onId: (start: number) => void): void {
  const walk = (start: number, end: number, depth: number): void => {
    const cursor = new FieldCursor(bytes, start, end);
    while (cursor.next()) {
      if (cursor.number !== PATH[depth]) continue;
      if (depth === PATH.length - 1) onId(cursor.valueStart);
      else walk(cursor.valueStart, cursor.valueEnd, depth + 1);
    }
  };
  walk(0, bytes.length, 0);
}

/** Which of the numbers from 1 on were seen, in a bit each. */
export class SeenNumbers {
  #bits: Uint8Array = new Uint8Array(1024 * 1024);
  /** Different numbers, and how often one came again. */
  count = 0;
  repeats = 0;

  /** Takes all spans of a request, or of an entry, whose ids are numbers. */
  take(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    findSpanIds(bytes, (start) => this.#see(Number(view.getBigUint64(start))));
  }

  #see(number: number): void {
    const at = Math.floor(number / 8);
    while (at >= this.#bits.length) {
      const larger = new Uint8Array(this.#bits.length * 2);
      larger.set(this.#bits);
      this.#bits = larger;
    }
    const bit = 1 << (number % 8);
    if ((this.#bits[at]! & bit) !== 0) {
      this.repeats++;
      return;
    }
    this.#bits[at]! |= bit;
    this.count++;
  }

  /** How many of the numbers 1 to `last` were not seen. */
  missing(last: number): number {
    let missing = 0;
    for (let number = 1; number <= last; number++) {
      if (((this.#bits[Math.floor(number / 8)] ?? 0) & (1 << (number % 8))) === 0) missing++;
    }
    return missing;
  }
}

export interface NumberedLoad {
  /** Numbers 1 to `sent` were sent, and so many spans were acknowledged. */
  readonly sent: number;
  readonly acknowledged: number;
  /** Requests that were asked to come again. */
  readonly retries: number;
  /** Sends nothing new; resolves once all that was sent was acknowledged. */
  end(): Promise<void>;
}

/**
 * Sends numbered spans of a kilobyte over OTLP/HTTP at a rate, until it is ended; whoever refuses for now is asked again.
 * What lags behind is made up for.
 */
export function startNumberedLoad(endpoint: string, spansPerSecond: number): NumberedLoad {
  const style = { seed: 1, byteLength: 1024, content: 'off' } as const;
  const requests = otlpRequests(style, DISTINCT_COUNT, SPANS_PER_REQUEST).map((bytes) => {
    const starts: number[] = [];
    findSpanIds(bytes, (start) => starts.push(start));
    return { bytes, starts };
  });
  const client = openOtlpClient({ protocol: 'http/protobuf', endpoint, compression: 'none' });
  const startMs = performance.now();
  let isEnding = false;
  let next = 0;
  let acknowledged = 0;
  let retries = 0;
  const loop = async (): Promise<void> => {
    while (!isEnding) {
      const dueMs = startMs + (next * SPANS_PER_REQUEST * 1000) / spansPerSecond;
      const index = next++;
      await delay(Math.max(0, dueMs - performance.now()));
      const { bytes: template, starts } = requests[index % requests.length]!;
      // Its own copy: one that is under way must not change.
      const bytes = template.slice();
      const view = new DataView(bytes.buffer);
      const first = index * SPANS_PER_REQUEST + 1;
      for (const [at, start] of starts.entries()) view.setBigUint64(start, BigInt(first + at));
      for (;;) {
        const outcome = await client.send(bytes, 'traces');
        if (outcome.status === 'ok') break;
        if (outcome.status !== 'retryable') throw new Error(JSON.stringify(outcome));
        retries++;
        await delay(outcome.afterMs ?? RETRY_DELAY_MS);
      }
      acknowledged += starts.length;
    }
  };
  const loops = Promise.all(Array.from({ length: IN_FLIGHT }, loop));
  // Who ends it hears of it.
  loops.catch(() => {});
  return {
    get sent() {
      return next * SPANS_PER_REQUEST;
    },
    get acknowledged() {
      return acknowledged;
    },
    get retries() {
      return retries;
    },
    end: async () => {
      isEnding = true;
      await loops;
      client.close();
    },
  };
}

/** A backend (OTLP/HTTP) that takes everything and notes the numbers. It can go away, and come back where it was. */
export class NumberedBackend {
  readonly seen: SeenNumbers = new SeenNumbers();
  readonly port: number;
  #server: Server | undefined;

  constructor(port: number) {
    this.port = port;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        this.seen.take(Buffer.concat(chunks));
        response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
      });
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve));
  }

  async kill(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
    this.#server = undefined;
  }
}
