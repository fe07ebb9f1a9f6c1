// SPDX-License-Identifier: Apache-2.0
/**
 * The gateway's three answers in the codes of gRPC and HTTP, by OTLP's retry table: what is answered with "come again" no
 * Collector throws away, and only what can never be accepted gets a code that it does (invariant 11).
 */
import { LEN, VARINT, varintByteLength, writeVarint } from '../../log/wire.ts';
import type { Answer, RefusalReason } from './gateway-intake.ts';

/** Codes of gRPC ("Status codes and their use in gRPC") that are ever answered. */
export const GRPC_OK: number = 0;
export const GRPC_INVALID_ARGUMENT: number = 3;
export const GRPC_NOT_FOUND: number = 5;
export const GRPC_RESOURCE_EXHAUSTED: number = 8;
export const GRPC_UNAVAILABLE: number = 14;
export const GRPC_UNAUTHENTICATED: number = 16;

/** An answer that is no yes. */
export type Refused = Exclude<Answer, { readonly status: 'sealed' }>;

const GRPC_CODES: Readonly<Record<RefusalReason, number>> = {
  malformed: GRPC_INVALID_ARGUMENT,
  'media-type': GRPC_INVALID_ARGUMENT,
  // Without RetryInfo, which would turn it into "come again".
  'too-large': GRPC_RESOURCE_EXHAUSTED,
  unauthenticated: GRPC_UNAUTHENTICATED,
};

const HTTP_CODES: Readonly<Record<RefusalReason, number>> = {
  malformed: 400,
  unauthenticated: 401,
  'too-large': 413,
  'media-type': 415,
};

/** Where everything of ours failed, this is left: nothing was taken, come again. */
export const CAME_TO_NOTHING: Refused = {
  status: 'later',
  cause: 'internal',
  message: 'the gateway could not handle the request',
};

export function grpcCodeOf(answer: Answer): number {
  if (answer.status === 'sealed') return GRPC_OK;
  return answer.status === 'later' ? GRPC_UNAVAILABLE : GRPC_CODES[answer.reason];
}

export function httpCodeOf(answer: Answer): number {
  if (answer.status === 'sealed') return 200;
  return answer.status === 'later' ? 503 : HTTP_CODES[answer.reason];
}

const RETRY_INFO_TYPE = 'type.googleapis.com/google.rpc.RetryInfo';

/** google.rpc.Status, with RetryInfo where the answer is "come again". */
export function encodeStatus(answer: Refused, retryDelayMs: number): Buffer {
  const details: Uint8Array[] = [];
  if (answer.status === 'later') {
    const duration = Buffer.concat([
      integer(1, Math.floor(retryDelayMs / 1000)),
      integer(2, (retryDelayMs % 1000) * 1_000_000),
    ]);
    details.push(
      message(3, message(1, Buffer.from(RETRY_INFO_TYPE)), message(2, message(1, duration))),
    );
  }
  return Buffer.concat([
    integer(1, grpcCodeOf(answer)),
    message(2, Buffer.from(answer.message)),
    ...details,
  ]);
}

function integer(number: number, value: number): Uint8Array {
  const bytes = new Uint8Array(1 + varintByteLength(value));
  bytes[0] = number * 8 + VARINT;
  writeVarint(bytes, 1, value);
  return bytes;
}

function message(number: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const value = Buffer.concat(parts);
  const head = new Uint8Array(1 + varintByteLength(value.length));
  head[0] = number * 8 + LEN;
  writeVarint(head, 1, value.length);
  return Buffer.concat([head, value]);
}
