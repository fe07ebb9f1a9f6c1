// SPDX-License-Identifier: Apache-2.0
/**
 * Reads what an OTLP receiver answers, over gRPC or HTTP, into one of four outcomes by the protocol's retry table.
 * Believes nothing beyond that: an `ok` says what the receiver said, not that the data is still there tomorrow.
 */
import { LogError } from '../../log/errors.ts';
import { FieldCursor, LEN, VARINT } from '../../log/wire.ts';
import { shownText } from '../system/cause.ts';

/**
 * What became of one request.
 *
 * - `ok`: taken whole.
 * - `partial`: taken but for `rejected` items, never to be sent again (OTLP, "Partial Success"). With 0 rejected it is
 *   a warning.
 * - `retryable`: not taken, or not known to be; send the same request again, not before `afterMs` where it is given.
 * - `refused`: not taken, and the protocol says that it never will be. `suspect` tells whose fault the answer hints at:
 *   the request's, or the endpoint's (credentials, path, method), which would refuse any request alike.
 */
export type SendOutcome =
  | { readonly status: 'ok' }
  | { readonly status: 'partial'; readonly rejected: number; readonly message: string }
  | { readonly status: 'retryable'; readonly cause: string; readonly afterMs?: number }
  | {
      readonly status: 'refused';
      readonly cause: string;
      readonly suspect: 'request' | 'endpoint';
    };

/** gRPC status names by number, from the gRPC specification ("Status codes and their use in gRPC"). */
const GRPC_STATUS_NAMES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;

/** OTLP specification, "OTLP/gRPC Response", "Failures": the codes to send again after. */
const GRPC_RETRYABLE: ReadonlySet<string> = new Set([
  'CANCELLED',
  'DEADLINE_EXCEEDED',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNAVAILABLE',
  'DATA_LOSS',
]);
const GRPC_SUSPECTS_ENDPOINT: ReadonlySet<string> = new Set([
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
  'UNIMPLEMENTED',
]);

/** OTLP specification, "OTLP/HTTP Response", "Retryable Response Codes". */
const HTTP_RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const HTTP_SUSPECTS_ENDPOINT: ReadonlySet<number> = new Set([401, 402, 403, 404, 405, 407]);

const RETRY_INFO_TYPE = 'type.googleapis.com/google.rpc.RetryInfo';

/**
 * Judges a failed gRPC call.
 * @param details `grpc-status-details-bin` of the trailers, if any: a google.rpc.Status
 */
export function judgeGrpcError(
  code: number,
  message: string,
  details: Uint8Array | undefined,
): SendOutcome {
  const name = GRPC_STATUS_NAMES[code] ?? `gRPC status ${code}`;
  const cause = message === '' ? name : `${name}: ${shownText(message)}`;
  const afterMs = details === undefined ? undefined : parseStatus(details).retryAfterMs;
  // RESOURCE_EXHAUSTED alone may mean "too large", which no waiting cures; with RetryInfo it is back-pressure.
  const isBackPressure = name === 'RESOURCE_EXHAUSTED' && afterMs !== undefined;
  // A stream that was reset carries no answer of the receiver: a network error, though gRPC spells it INTERNAL.
  const isReset = name === 'INTERNAL' && message.startsWith('Received RST_STREAM');
  if (GRPC_RETRYABLE.has(name) || isBackPressure || isReset) {
    return { status: 'retryable', cause, ...(afterMs === undefined ? {} : { afterMs }) };
  }
  const suspect = GRPC_SUSPECTS_ENDPOINT.has(name) ? 'endpoint' : 'request';
  return { status: 'refused', cause, suspect };
}

/** What is looked at of an HTTP answer. */
export interface HttpAnswer {
  readonly code: number;
  readonly contentType: string;
  readonly retryAfter: string | undefined;
  readonly body: Uint8Array;
  /** The body ended by itself, within the client's bound. */
  readonly isWhole: boolean;
}

/** Judges an HTTP answer; `nowMs` is Unix time, which a Retry-After date is held against. */
export function judgeHttpAnswer(answer: HttpAnswer, nowMs: number): SendOutcome {
  const { code, contentType, body } = answer;
  if (code >= 200 && code < 300) {
    if (!answer.isWhole) return warning('the answer is too long to be read');
    if (contentType.startsWith('application/json')) return judgeJson(body);
    // Proxies and login pages answer 200 as well: the data is then anywhere but in a backend.
    if (contentType.startsWith('text/html')) return warning('the answer is HTML, not OTLP');
    return contentType.startsWith('application/x-protobuf')
      ? judgeAccepted(body)
      : { status: 'ok' };
  }
  const message = contentType.startsWith('application/x-protobuf') ? parseStatus(body).message : '';
  const cause = message === '' ? `HTTP ${code}` : `HTTP ${code}: ${shownText(message)}`;
  if (HTTP_RETRYABLE.has(code)) {
    const afterMs = parseRetryAfter(answer.retryAfter, nowMs);
    return { status: 'retryable', cause, ...(afterMs === undefined ? {} : { afterMs }) };
  }
  const isElsewhere = code >= 300 && code < 400;
  const suspect = isElsewhere || HTTP_SUSPECTS_ENDPOINT.has(code) ? 'endpoint' : 'request';
  return { status: 'refused', cause, suspect };
}

/** Judges the body of an accepted request: an Export…ServiceResponse, whose partial success is field 1 in each signal. */
export function judgeAccepted(response: Uint8Array): SendOutcome {
  let rejected = 0;
  let message = '';
  try {
    for (const success of fieldsOf(response)) {
      if (success.number !== 1 || success.wireType !== LEN) continue;
      for (const field of fieldsOf(contentOf(success))) {
        if (field.number === 1 && field.wireType === VARINT) rejected = varintOf(field);
        if (field.number === 2 && field.wireType === LEN) message = textOf(contentOf(field));
      }
    }
  } catch (error) {
    if (!(error instanceof LogError)) throw error;
    return warning('the answer is not OTLP');
  }
  return partialOrOk(rejected, message);
}

function judgeJson(body: Uint8Array): SendOutcome {
  let answer: unknown;
  try {
    answer = JSON.parse(textOf(body));
  } catch {
    return body.length === 0 ? { status: 'ok' } : warning('the answer is not OTLP');
  }
  const partial = memberOf(answer, 'partialSuccess');
  // OTLP/JSON writes 64-bit integers as text, or as numbers.
  const count = memberOf(partial, 'rejectedSpans') ?? memberOf(partial, 'rejectedLogRecords') ?? 0;
  const message = memberOf(partial, 'errorMessage');
  return partialOrOk(Number(count), typeof message === 'string' ? message : '');
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function partialOrOk(count: number, message: string): SendOutcome {
  const rejected = Number.isSafeInteger(count) && count > 0 ? count : 0;
  if (rejected === 0 && message === '') return { status: 'ok' };
  return { status: 'partial', rejected, message: shownText(message) };
}

function warning(message: string): SendOutcome {
  return { status: 'partial', rejected: 0, message };
}

/** RFC 9110 section 10.2.3: whole seconds, or an HTTP date. */
function parseRetryAfter(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^[0-9]{1,9}$/.test(text.trim())) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

interface RpcStatus {
  readonly message: string;
  readonly retryAfterMs: number | undefined;
}

/** google.rpc.Status: 2 message, 3 details (Any: 1 type URL, 2 value); RetryInfo: 1 Duration (1 seconds, 2 nanos). */
function parseStatus(bytes: Uint8Array): RpcStatus {
  let message = '';
  let retryAfterMs: number | undefined;
  try {
    for (const field of fieldsOf(bytes)) {
      if (field.wireType !== LEN) continue;
      if (field.number === 2) message = textOf(contentOf(field));
      if (field.number === 3) retryAfterMs = parseRetryInfo(contentOf(field)) ?? retryAfterMs;
    }
  } catch (error) {
    // The details are an extra: what can not be read of them is as good as absent.
    if (!(error instanceof LogError)) throw error;
  }
  return { message, retryAfterMs };
}

function parseRetryInfo(any: Uint8Array): number | undefined {
  let typeUrl = '';
  let value: Uint8Array = new Uint8Array(0);
  for (const field of fieldsOf(any)) {
    if (field.number === 1 && field.wireType === LEN) typeUrl = textOf(contentOf(field));
    if (field.number === 2 && field.wireType === LEN) value = contentOf(field);
  }
  if (typeUrl !== RETRY_INFO_TYPE) return undefined;
  let delayMs = 0;
  for (const delay of fieldsOf(value)) {
    if (delay.number !== 1 || delay.wireType !== LEN) continue;
    for (const part of fieldsOf(contentOf(delay))) {
      if (part.wireType !== VARINT) continue;
      if (part.number === 1) delayMs += varintOf(part) * 1000;
      if (part.number === 2) delayMs += Math.ceil(varintOf(part) / 1e6);
    }
  }
  return delayMs;
}

function* fieldsOf(bytes: Uint8Array): Generator<FieldCursor> {
  const cursor = new FieldCursor(bytes, 0, bytes.length);
  while (cursor.next()) yield cursor;
}

function contentOf(field: FieldCursor): Uint8Array {
  return field.bytes.subarray(field.valueStart, field.valueEnd);
}

/** A varint as a number; negative ones (two's complement) and those above 2^53-1 count as 0. */
function varintOf(field: FieldCursor): number {
  let value = 0;
  let scale = 1;
  for (const byte of contentOf(field)) {
    value += (byte & 0x7f) * scale;
    scale *= 128;
  }
  return Number.isSafeInteger(value) ? value : 0;
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
