// SPDX-License-Identifier: Apache-2.0
// Goal: each answer has the codes that OTLP's retry table reads as meant. Method: whole tables; google.rpc.Status decoded by
// protobufjs; and our own client, written against the specification before this was, judges them.
import { describe, expect, test } from 'vitest';
import {
  CAME_TO_NOTHING,
  encodeStatus,
  grpcCodeOf,
  httpCodeOf,
  type Refused,
} from '../exporter/node/gateway/gateway-answer.ts';
import type { Answer } from '../exporter/node/gateway/gateway-intake.ts';
import { judgeGrpcError, judgeHttpAnswer } from '../exporter/node/otlp/otlp-answer.ts';
import { decodeOtlp } from './support/otlp-backend.ts';

const later: Answer = { status: 'later', cause: 'full', message: 'come again' };
const never = (reason: Extract<Answer, { status: 'never' }>['reason']): Refused => ({
  status: 'never',
  reason,
  message: 'no',
});

test.each<[Answer, number, number]>([
  [{ status: 'sealed' }, 0, 200],
  [later, 14, 503],
  [CAME_TO_NOTHING, 14, 503],
  [never('malformed'), 3, 400],
  [never('media-type'), 3, 415],
  [never('too-large'), 8, 413],
  [never('unauthenticated'), 16, 401],
])('%j', (answer, grpc, http) => {
  expect([grpcCodeOf(answer), httpCodeOf(answer)]).toEqual([grpc, http]);
});

describe('google.rpc.Status', () => {
  test.each([
    [1000, { seconds: '1' }],
    [1500, { seconds: '1', nanos: 500_000_000 }],
    [1, { nanos: 1_000_000 }],
  ])('%i ms to wait', (delayMs, duration) => {
    const status = decodeOtlp('RpcStatus', encodeStatus(later as Refused, delayMs)) as {
      code: number;
      message: string;
      details: { typeUrl: string; value: string }[];
    };
    const [detail] = status.details;
    expect({ ...status, details: [detail?.typeUrl] }).toEqual({
      code: 14,
      message: 'come again',
      details: ['type.googleapis.com/google.rpc.RetryInfo'],
    });
    expect(decodeOtlp('RetryInfo', Buffer.from(detail!.value, 'base64'))).toEqual({
      retryDelay: duration,
    });
  });

  test('has no RetryInfo where nothing is to be sent again', () => {
    expect(decodeOtlp('RpcStatus', encodeStatus(never('too-large'), 1000))).toEqual({
      code: 8,
      message: 'no',
    });
  });
});

test.each<[Refused, string]>([
  [later as Refused, 'retryable'],
  [CAME_TO_NOTHING, 'retryable'],
  [never('malformed'), 'refused'],
  [never('media-type'), 'refused'],
  [never('too-large'), 'refused'],
  [never('unauthenticated'), 'refused'],
])('a sender reads %j as %s', (answer, status) => {
  const bytes = encodeStatus(answer, 1500);
  expect(judgeGrpcError(grpcCodeOf(answer), answer.message, bytes).status).toBe(status);
  const http = {
    code: httpCodeOf(answer),
    contentType: 'application/x-protobuf',
    retryAfter: undefined,
    body: bytes,
    isWhole: true,
  };
  expect(judgeHttpAnswer(http, 0).status).toBe(status);
});
