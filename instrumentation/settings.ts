// SPDX-License-Identifier: Apache-2.0
/**
 * What the instrumentation was told, and what it counts. Misuse throws here, at set-up, and nowhere else: `guard` keeps
 * every later problem of ours out of the application and counts it. Does not say what a counted problem has cost.
 */
import { createSecretKey, type KeyObject } from 'node:crypto';
import type { Attributes } from '@opentelemetry/api';
import {
  AIGOV_CONTENT_POLICY_VALUE_DIGEST,
  AIGOV_CONTENT_POLICY_VALUE_FULL,
  AIGOV_CONTENT_POLICY_VALUES,
  type AttributeValue,
  type Governance,
  type GovernanceMap,
  type GovernanceMapping,
  readGovernance,
  readGovernanceMap,
} from '../semconv/index.ts';

/** What is kept of prompts and answers: keyed digests, nothing, or the text beside its digests. */
export type ContentPolicy = (typeof AIGOV_CONTENT_POLICY_VALUES)[number];

/** The secret of the content digests. Whoever has it can guess short contents; destroying it makes digests meaningless. */
export interface DigestKey {
  /** Name of the key, written beside each digest; says nothing about the secret. */
  readonly id: string;
  /** At least 16 bytes of randomness. MUST NOT be the signing key of the log. */
  readonly secret: Uint8Array;
}

/** A governed call that starts. */
export interface GovernanceCall {
  /** Name of its span. */
  readonly name: string | undefined;
  /** What its span has by now: operation, model, provider … */
  readonly attributes: Readonly<Attributes>;
}

export interface InstrumentationOptions {
  readonly content?: { readonly policy?: ContentPolicy };
  /** Without a key there are no digests, and the spans say so: an unkeyed hash of a short text gives the text away. */
  readonly digestKey?: DigestKey;
  /** What holds for all that this process does, such as the system it belongs to; `withGovernance` adds to it. */
  readonly governance?: Governance;
  /** What is known of a call when it starts, asked for each; what it throws is counted, and costs its own values. */
  readonly governanceOf?: (call: GovernanceCall) => Governance | undefined;
  /** Attributes that are on spans already, of the call or of what it is part of, and what they mean. */
  readonly governanceMap?: GovernanceMap;
  /** How long a call may stay without any progress before it counts as abandoned. 15 minutes unless given. */
  readonly abandonDelayMs?: number;
  /** Hears, once, that a governed span is about to start: the last moment to bring a provider. */
  readonly onFirstSpan?: () => void;
}

/** The settings in force. */
export interface Settings {
  readonly policy: ContentPolicy;
  readonly digestKey: { readonly id: string; readonly key: KeyObject } | undefined;
  readonly abandonDelayMs: number;
  readonly governance: Readonly<Record<string, AttributeValue>>;
  readonly governanceOf: InstrumentationOptions['governanceOf'];
  readonly governanceMap: readonly GovernanceMapping[];
}

/** What happened since the process started. */
export interface InstrumentationStats {
  readonly started: number;
  /** Calls that have not reached a terminal state yet. */
  readonly open: number;
  /** Calls by terminal state. */
  readonly ended: Readonly<Record<string, number>>;
  /** Problems of ours by place; the application saw none of them. */
  readonly problems: Readonly<Record<string, number>>;
}

const CAPTURE_VARIABLE = 'OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT';
const ABANDON_DELAY_MS = 15 * 60_000;
const ABANDON_DELAY_MS_MAX = 2 ** 31 - 1;
const SECRET_BYTE_LENGTH_MIN = 16;
const KEY_ID = /^[\x21-\x7e]{1,128}$/;

let settings: Settings | undefined;
let onFirstSpan: (() => void) | undefined;
const problems = new Map<string, number>();
const ended = new Map<string, number>();
let started = 0;

/**
 * Sets how content is treated and with which key. The last call wins, whole: what it does not name takes its default.
 * A policy named here beats the environment; `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true` asks for `full`.
 * @throws TypeError or RangeError naming the option that is wrong.
 */
export function configureInstrumentation(options: InstrumentationOptions): void {
  const { content, digestKey, abandonDelayMs = ABANDON_DELAY_MS } = options;
  const policy = content?.policy ?? defaultPolicy();
  if (!AIGOV_CONTENT_POLICY_VALUES.includes(policy)) {
    throw new TypeError(
      `content.policy: expected one of ${AIGOV_CONTENT_POLICY_VALUES.join(', ')}`,
    );
  }
  if (typeof abandonDelayMs !== 'number' || Number.isNaN(abandonDelayMs)) {
    throw new TypeError('abandonDelayMs: expected a number of milliseconds');
  }
  if (abandonDelayMs <= 0 || abandonDelayMs > ABANDON_DELAY_MS_MAX) {
    throw new RangeError(
      `abandonDelayMs: expected more than 0 and at most ${ABANDON_DELAY_MS_MAX}`,
    );
  }
  if (options.onFirstSpan !== undefined && typeof options.onFirstSpan !== 'function') {
    throw new TypeError('onFirstSpan: expected a function');
  }
  if (options.governanceOf !== undefined && typeof options.governanceOf !== 'function') {
    throw new TypeError('governanceOf: expected a function');
  }
  const governance = readGovernance(options.governance ?? {});
  if (governance.problems.length > 0) throw new TypeError(governance.problems.join('; '));
  settings = {
    policy,
    digestKey: digestKey && readKey(digestKey),
    abandonDelayMs,
    governance: governance.attributes,
    governanceOf: options.governanceOf,
    governanceMap: readMap(options.governanceMap),
  };
  onFirstSpan = options.onFirstSpan;
}

/** The settings in force; the defaults if nobody configured any. */
export function currentSettings(): Settings {
  settings ??= {
    policy: defaultPolicy(),
    digestKey: undefined,
    abandonDelayMs: ABANDON_DELAY_MS,
    governance: {},
    governanceOf: undefined,
    governanceMap: [],
  };
  return settings;
}

/** What was started, how it ended, and what went wrong with us. */
export function instrumentationStats(): InstrumentationStats {
  const endedCount = [...ended.values()].reduce((sum, count) => sum + count, 0);
  return {
    started,
    open: started - endedCount,
    ended: Object.fromEntries(ended),
    problems: Object.fromEntries(problems),
  };
}

/** Runs our own work; if it throws, counts that under `place` and answers with undefined (invariant 7). */
export function guard<Result>(place: string, work: () => Result): Result | undefined {
  try {
    return work();
  } catch {
    countProblem(place);
    return undefined;
  }
}

/** Listens to a promise beside whoever it is for; what our listeners throw is counted under `place`. */
export function onSettled<Value>(
  place: string,
  promise: PromiseLike<Value>,
  fulfilled: (value: Value) => void,
  rejected: (error: unknown) => void = () => {},
): void {
  guard(place, () => settler(place, fulfilled, rejected)(promise));
}

/** What listens as {@link onSettled} does, to one promise after the other. */
export function settler<Value>(
  place: string,
  fulfilled: (value: Value) => void,
  rejected: (error: unknown) => void,
): (promise: PromiseLike<Value>) => void {
  const onFulfilled = (value: Value): void => void guard(place, () => fulfilled(value));
  const onRejected = (error: unknown): void => void guard(place, () => rejected(error));
  return (promise) => {
    guard(place, () => void promise.then(onFulfilled, onRejected));
  };
}

/** Counts a problem of ours that must not reach the application. */
export function countProblem(place: string): void {
  problems.set(place, (problems.get(place) ?? 0) + 1);
}

/** Counts a call that starts, and tells who asked before its span exists. */
export function countStart(): void {
  started++;
  announceFirstSpan();
}

/** Tells the one who asked that a governed span is about to start; only the first time. */
export function announceFirstSpan(): void {
  if (onFirstSpan === undefined) return;
  const listener = onFirstSpan;
  // Cleared first: what the listener does may start governed spans itself.
  onFirstSpan = undefined;
  guard('onFirstSpan', listener);
}

/** Counts the terminal state of a call. */
export function countEnd(completion: string): void {
  ended.set(completion, (ended.get(completion) ?? 0) + 1);
}

function defaultPolicy(): ContentPolicy {
  const asked = process.env[CAPTURE_VARIABLE]?.trim().toLowerCase() === 'true';
  return asked ? AIGOV_CONTENT_POLICY_VALUE_FULL : AIGOV_CONTENT_POLICY_VALUE_DIGEST;
}

function readMap(map: GovernanceMap = {}): readonly GovernanceMapping[] {
  try {
    return readGovernanceMap(map);
  } catch (error) {
    throw new TypeError(`governanceMap.${error instanceof Error ? error.message : 'unreadable'}`);
  }
}

function readKey({ id, secret }: DigestKey): { readonly id: string; readonly key: KeyObject } {
  if (typeof id !== 'string' || !KEY_ID.test(id)) {
    throw new TypeError('digestKey.id: expected 1 to 128 printable ASCII characters');
  }
  if (!(secret instanceof Uint8Array)) throw new TypeError('digestKey.secret: expected bytes');
  if (secret.byteLength < SECRET_BYTE_LENGTH_MIN) {
    throw new RangeError(`digestKey.secret: expected at least ${SECRET_BYTE_LENGTH_MIN} bytes`);
  }
  return { id, key: createSecretKey(secret) };
}
