// SPDX-License-Identifier: Apache-2.0
/**
 * The gateway between its transports and the sealing thread: admits by a budget of bytes, inflates within bounds, applies
 * the policy, and turns whatever happens into one of three answers. Nothing in here throws to a transport: what is not
 * surely wrong with the request is answered with "come again" (invariant 11).
 */
import { constants, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import { splitRequest } from '../../log/entries.ts';
import { LogError } from '../../log/errors.ts';
import type { RecordSource } from '../../log/header.ts';
import type { SealOutcome } from '../capture/pending.ts';
import type { GatewaySettings, GatewaySourceKind } from '../config/gateway-config.ts';
import type { OtlpKind } from '../otlp/otlp-config.ts';
import { OtlpJsonError, transcodeJson } from '../otlp/otlp-json.ts';
import { sha256 } from '../system/keys.ts';
import { joinBytes, ownBytes } from '../system/own-bytes.ts';
import type { ContentPolicy } from './content-policy.ts';
import type { Clients, Sender } from './gateway-clients.ts';
import type { GatewayMetrics } from './gateway-metrics.ts';

/** Why a request can never be accepted; decides the code of the answer. */
export type RefusalReason = 'malformed' | 'too-large' | 'unauthenticated' | 'media-type';

/** What a transport has to answer, in its own codes. */
export type Answer =
  | { readonly status: 'sealed' }
  | { readonly status: 'later'; readonly cause: string; readonly message: string }
  | { readonly status: 'never'; readonly reason: RefusalReason; readonly message: string };

/** A refusal to be counted in the next heartbeat. */
export interface Refusal {
  readonly sender: Sender;
  readonly cause: string;
  /** Of the body as it arrived, where it was read. */
  readonly sha256: (() => Uint8Array) | undefined;
}

export interface IntakeOptions {
  readonly settings: Pick<
    GatewaySettings,
    'filter' | 'messageByteLengthMax' | 'inFlightByteLengthMax' | 'sealDelayMsMax'
  >;
  readonly clients: Clients;
  readonly policy: ContentPolicy;
  /** Hands a request over for good. */
  readonly seal: (
    bytes: Uint8Array<ArrayBuffer>,
    kind: OtlpKind,
    source: RecordSource,
    itemCount: number,
  ) => Promise<SealOutcome>;
  /** Undefined while requests are taken; else why not, in words for a client. */
  readonly closedBecause: () => string | undefined;
  readonly onRefusal: (refusal: Refusal) => void;
  readonly metrics: GatewayMetrics;
}

/** A whole request as a transport got it. */
export interface WholeRequest {
  readonly kind: OtlpKind;
  readonly format: 'protobuf' | 'json';
  /** As it arrived. Where it is alone in its buffer, it is given away, and empty afterwards. */
  readonly body: Uint8Array;
  /** Of `body`: `identity`, or how it is compressed. */
  readonly encoding: string;
}

/** Encodings that are inflated, by their names in HTTP and gRPC. */
export const ENCODINGS: readonly string[] = ['gzip', 'x-gzip', 'deflate', 'zlib', 'zstd'];
/** Inflated at a time. Each holds a window of up to 8 MiB beside what the budget counts, and there are four threads. */
const INFLATE_COUNT_MAX = 4;
const ZSTD_WINDOW_LOG_MAX = 23;
/** Before 26, Node ends with the first of the frames of a body: each is a stream to it, and a frame can be nine bytes. */
const ZSTD_FRAME_COUNT_MAX = 64;
const WINDOW_TOO_LARGE = 'ZSTD_error_frameParameter_windowTooLarge';
const INFLATE_CHUNK_BYTE_LENGTH = 64 * 1024;
/** What each span and log record counts in the budget beside its bytes: memory and time of its entry in the sealing thread. */
const ITEM_BYTE_LENGTH = 512;
/** What was done to JSON before sealing, as source lines say it. */
const JSON_POLICY = 'otlp-json/1';

const TOO_LARGE: ReadonlySet<string> = new Set([
  'body.too-large',
  'otlp.too-long',
  'otlp.amplification',
  'otlp.entry-count',
]);

type Inflated =
  | { readonly status: 'ok'; readonly bytes: Uint8Array }
  | { readonly status: 'corrupt' | 'too-large' | 'full' | 'unsupported' };

/** Bytes that all requests together may hold. */
export class Budget {
  readonly byteLengthMax: number;
  #inUse = 0;

  constructor(byteLengthMax: number) {
    this.byteLengthMax = byteLengthMax;
  }

  get byteLengthInUse(): number {
    return this.#inUse;
  }

  /** Takes bytes for a hold that has `own`; a hold that is alone may always grow, or the largest would never fit. */
  take(own: number, byteLength: number): boolean {
    if (this.#inUse > own && this.#inUse + byteLength > this.byteLengthMax) return false;
    this.#inUse += byteLength;
    return true;
  }

  give(byteLength: number): void {
    this.#inUse -= byteLength;
  }
}

/** One request on its way in: who sent it, and the bytes it holds. Every arrival MUST be ended by `release` or `accept`. */
export class Arrival {
  readonly sender: Sender;
  readonly #budget: Budget;
  #held = 0;
  /** Set once `accept` has it: then the seal decides when the bytes are free. */
  isHandedOver = false;

  constructor(sender: Sender, budget: Budget) {
    this.sender = sender;
    this.#budget = budget;
  }

  /** Counts bytes that arrived; false where there is no room: answer {@link Intake.full}. */
  take(byteLength: number): boolean {
    if (!this.#budget.take(this.#held, byteLength)) return false;
    this.#held += byteLength;
    return true;
  }

  release(): void {
    this.#budget.give(this.#held);
    this.#held = 0;
  }
}

export class Intake {
  readonly #options: IntakeOptions;
  readonly #budget: Budget;
  #inflating = 0;
  readonly #inflateQueue: (() => void)[] = [];

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#budget = new Budget(options.settings.inFlightByteLengthMax);
  }

  /** Of one request, as it arrives and inflated. */
  get messageByteLengthMax(): number {
    return this.#options.settings.messageByteLengthMax;
  }

  get inFlightByteLength(): number {
    return this.#budget.byteLengthInUse;
  }

  /** Decides on a request by its head, before any of its body is read. */
  admit(
    authorization: string | undefined,
    certificate: Uint8Array | undefined,
    kind: GatewaySourceKind,
  ): Arrival | Answer {
    try {
      const closedBecause = this.#options.closedBecause();
      if (closedBecause !== undefined) return this.later('closed', closedBecause);
      const found = this.#options.clients.identify(authorization, certificate, kind);
      if (found.status === 'unsure') {
        return this.later('client.unsure', 'credentials can not be checked now');
      }
      if (found.status === 'unknown') {
        const sender: Sender = { kind, principal: undefined };
        return this.refuse(
          sender,
          'unauthenticated',
          'client.unauthenticated',
          'no credentials that are known here',
        );
      }
      if (this.#budget.byteLengthInUse >= this.#budget.byteLengthMax) return this.full();
      return new Arrival(found.sender, this.#budget);
    } catch {
      return this.later('internal', 'the gateway could not look at the request');
    }
  }

  full(): Answer {
    return this.later('full', 'too many bytes in flight');
  }

  /** A request that did not arrive whole in time. */
  slow(): Answer {
    return this.later('slow', 'the request did not arrive in time');
  }

  /** Whose provider of metrics fails must not lose a span. */
  #count(work: () => void): void {
    try {
      work();
    } catch {
      // A number is missing, and no evidence.
    }
  }

  /** "Come again." Counted, not sealed: its sender has it still. */
  later(cause: string, message: string): Answer {
    this.#count(() => this.#options.metrics.deferred(cause));
    return { status: 'later', cause, message };
  }

  /** "Never." Counted for the next heartbeat; `hash` is that of the body as it arrived, where it was read. */
  refuse(
    sender: Sender,
    reason: RefusalReason,
    cause: string,
    message: string,
    hash?: () => Uint8Array,
  ): Answer {
    try {
      this.#options.onRefusal({ sender, cause, sha256: hash });
    } catch {
      // A refusal that nobody counts would be a silent loss (invariant 6).
      return this.later('internal', 'the gateway could not count the request');
    }
    this.#count(() => this.#options.metrics.refused(cause));
    return { status: 'never', reason, message };
  }

  tooLarge(sender: Sender): Answer {
    const message = `more than ${this.messageByteLengthMax} bytes`;
    return this.refuse(sender, 'too-large', 'body.too-large', message);
  }

  /** Takes a whole request. Resolves with the answer, never rejects; the arrival is released when its bytes are free. */
  async accept(arrival: Arrival, request: WholeRequest): Promise<Answer> {
    arrival.isHandedOver = true;
    let isSealing = false;
    const hash = (): Uint8Array => sha256(request.body);
    try {
      const message = await this.#messageOf(arrival, request);
      if (!(message instanceof Uint8Array)) return message;
      const { kind, format } = request;
      const { policy, settings, metrics } = this.#options;
      const protobuf = format === 'json' ? transcodeJson(message, kind) : message;
      const applied = policy.apply(protobuf, kind, settings.filter);
      const itemCount = applied.itemCount - applied.skippedCount;
      this.#count(() => {
        metrics.received(kind, applied.itemCount);
        if (applied.skippedCount > 0) metrics.skipped(kind, applied.skippedCount);
      });
      // Cut into entries, the smallest of spans costs as much to keep and to hash as this.
      if (!arrival.take(itemCount * ITEM_BYTE_LENGTH)) return this.full();
      if (itemCount === 0) {
        // Nothing to seal, so nobody else looks whether it is OTLP.
        splitRequest(applied.bytes, kind);
        return { status: 'sealed' };
      }
      const isAsItCame = applied.bytes === request.body;
      const bytes = ownBytes(applied.bytes);
      const source: RecordSource = { ...arrival.sender, policy: policyOf(policy.id, format) };
      const startedAtMs = performance.now();
      const sealing = this.#options.seal(bytes, kind, source, itemCount);
      isSealing = true;
      // Until the thread lets go of the bytes they are in memory, whatever was answered meanwhile.
      const outcome = await this.#inTime(sealing.finally(() => arrival.release()));
      if (outcome === undefined) return this.later('disk', 'the log could not be written in time');
      if (outcome.status === 'sealed') {
        this.#count(() => metrics.sealed(kind, itemCount, performance.now() - startedAtMs));
        return { status: 'sealed' };
      }
      const { refused, cause } = outcome;
      if (refused === undefined) return this.later('disk', 'the log can not be written now');
      // What was given away is hashed where it is.
      const given = isAsItCame ? () => refused.sha256 : hash;
      return this.#malformed(arrival.sender, refused.code, cause, given);
    } catch (error) {
      if (error instanceof LogError || error instanceof OtlpJsonError) {
        return this.#malformed(arrival.sender, error.code, error.message, hash);
      }
      return this.later('internal', 'the gateway could not handle the request');
    } finally {
      if (!isSealing) arrival.release();
    }
  }

  #malformed(sender: Sender, code: string, message: string, hash: () => Uint8Array): Answer {
    const reason = TOO_LARGE.has(code) ? 'too-large' : 'malformed';
    return this.refuse(sender, reason, code, message, hash);
  }

  async #messageOf(arrival: Arrival, request: WholeRequest): Promise<Uint8Array | Answer> {
    const { body, encoding } = request;
    if (encoding === 'identity' || encoding === '') return body;
    const inflated: Inflated = ENCODINGS.includes(encoding)
      ? await this.#inflate(body, encoding, arrival)
      : { status: 'unsupported' };
    if (inflated.status === 'ok') return inflated.bytes;
    if (inflated.status === 'unsupported') {
      // Not for good: the same spans can be accepted once somebody has set another compression.
      return this.later('encoding', 'compressed in a way not known here; use gzip');
    }
    if (inflated.status === 'full') return this.full();
    if (inflated.status === 'too-large') return this.#tooLargeInflated(arrival.sender, body);
    const message = 'the body does not inflate';
    return this.#malformed(arrival.sender, 'body.encoding', message, () => sha256(body));
  }

  #tooLargeInflated(sender: Sender, body: Uint8Array): Answer {
    const message = `inflates to more than ${this.messageByteLengthMax} bytes`;
    return this.refuse(sender, 'too-large', 'body.too-large', message, () => sha256(body));
  }

  /** Few at a time, and each counted as it grows: what a bomb inflates to is bounded before it is there. */
  async #inflate(body: Uint8Array, encoding: string, arrival: Arrival): Promise<Inflated> {
    if (this.#inflating >= INFLATE_COUNT_MAX) {
      await new Promise<void>((resolve) => this.#inflateQueue.push(resolve));
    } else this.#inflating++;
    try {
      return await inflate(body, encoding, this.messageByteLengthMax, (byteLength) =>
        arrival.take(byteLength),
      );
    } finally {
      // The place passes to the next in line, or is free.
      const next = this.#inflateQueue.shift();
      if (next === undefined) this.#inflating--;
      else next();
    }
  }

  /** The outcome, or undefined where it takes too long. */
  async #inTime(outcome: Promise<SealOutcome>): Promise<SealOutcome | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(resolve, this.#options.settings.sealDelayMsMax, undefined);
    });
    try {
      return await Promise.race([outcome, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function policyOf(policyId: string, format: 'protobuf' | 'json'): string {
  if (format === 'protobuf') return policyId;
  return policyId === 'verbatim' ? JSON_POLICY : `${policyId}/${JSON_POLICY}`;
}

/** All of a body, or why it is not taken. What stands behind the end of what inflates was sent, and is not passed over. */
async function inflate(
  body: Uint8Array,
  encoding: string,
  byteLengthMax: number,
  take: (byteLength: number) => boolean,
): Promise<Inflated> {
  const chunks: Buffer[] = [];
  let byteLength = 0;
  const keep = (chunk: Buffer): 'too-large' | 'full' | undefined => {
    byteLength += chunk.length;
    if (byteLength > byteLengthMax) return 'too-large';
    if (!take(chunk.length)) return 'full';
    chunks.push(chunk);
    return undefined;
  };
  let rest = body;
  for (let frameCount = 1; ; frameCount++) {
    const end = await inflateStream(rest, encoding, keep);
    if (typeof end === 'string') return { status: end };
    rest = rest.subarray(end);
    if (rest.length === 0) return { status: 'ok', bytes: joinBytes(chunks) };
    if (encoding !== 'zstd') return { status: 'corrupt' };
    if (frameCount === ZSTD_FRAME_COUNT_MAX) return { status: 'unsupported' };
  }
}

/** Inflates to the end of the stream that a body begins with; resolves with where that is. */
function inflateStream(
  body: Uint8Array,
  encoding: string,
  keep: (chunk: Buffer) => 'too-large' | 'full' | undefined,
): Promise<number | Exclude<Inflated['status'], 'ok'>> {
  return new Promise((resolve, reject) => {
    const options = { chunkSize: INFLATE_CHUNK_BYTE_LENGTH };
    const stream =
      encoding === 'zstd'
        ? createZstdDecompress({
            ...options,
            params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
          })
        : encoding === 'gzip' || encoding === 'x-gzip'
          ? createGunzip(options)
          : createInflate(options);
    stream.on('data', (chunk: Buffer) => {
      try {
        const refusal = keep(chunk);
        if (refusal === undefined) return;
        resolve(refusal);
      } catch (error) {
        // A throw out of an event would end the process.
        reject(error);
      }
      stream.destroy();
    });
    stream.on('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code === WINDOW_TOO_LARGE ? 'unsupported' : 'corrupt'),
    );
    stream.on('end', () => {
      resolve(stream.bytesWritten);
      stream.destroy();
    });
    stream.end(body);
  });
}
