// SPDX-License-Identifier: Apache-2.0
// Goal: whatever a receiver answers becomes an outcome, never an exception, and its text is fit to be shown. Method:
// answers that real receivers do not give, and random bytes. The retry table itself is in otlp-client.test.ts.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  judgeAccepted,
  judgeGrpcError,
  judgeHttpAnswer,
} from '../exporter/node/otlp/otlp-answer.ts';
import { shownText } from '../exporter/node/system/cause.ts';
import { encodeOtlp, encodeRpcStatus } from './support/otlp-backend.ts';

const RETRY_INFO = 'type.googleapis.com/google.rpc.RetryInfo';

function detailsOf(
  details: readonly { readonly typeUrl: string; readonly value: Uint8Array }[],
): Uint8Array {
  return encodeOtlp('RpcStatus', { code: 8, details });
}
function retryInfo(seconds: number, nanos: number): Uint8Array {
  return encodeOtlp('RetryInfo', { retryDelay: { seconds, nanos } });
}

describe('RetryInfo', () => {
  test.each([
    [
      'among other details',
      [
        { typeUrl: 'x/y', value: Buffer.from('z') },
        { typeUrl: RETRY_INFO, value: retryInfo(2, 5e8) },
      ],
      2500,
    ],
    ['of less than a millisecond', [{ typeUrl: RETRY_INFO, value: retryInfo(0, 1) }], 1],
    ['without a delay', [{ typeUrl: RETRY_INFO, value: Buffer.alloc(0) }], 0],
    ['of a negative delay', [{ typeUrl: RETRY_INFO, value: retryInfo(-5, -1) }], 0],
  ] as const)('%s', (_, details, afterMs) => {
    expect(judgeGrpcError(8, '', detailsOf(details))).toEqual({
      status: 'retryable',
      cause: 'RESOURCE_EXHAUSTED',
      afterMs,
    });
  });

  test.each([
    ['is absent', undefined],
    [
      'is of another type',
      detailsOf([{ typeUrl: 'x/google.rpc.QuotaFailure', value: retryInfo(1, 0) }]),
    ],
    ['is cut off', encodeRpcStatus(8, 'm', 1500).subarray(0, -3)],
  ])('%s: no back-pressure', (_, details) => {
    expect(judgeGrpcError(8, 'too large', details)).toEqual({
      status: 'refused',
      cause: 'RESOURCE_EXHAUSTED: too large',
      suspect: 'request',
    });
  });
});

test('a reset stream is a network error, whatever gRPC calls it', () => {
  const message = 'Received RST_STREAM with code 2 (Internal server error)';
  expect(judgeGrpcError(13, message, undefined)).toEqual({
    status: 'retryable',
    cause: `INTERNAL: ${message}`,
  });
});

test('a status of the future is refused by its number', () => {
  expect(judgeGrpcError(99, '', undefined)).toEqual({
    status: 'refused',
    cause: 'gRPC status 99',
    suspect: 'request',
  });
});

test.each([
  ['a\r\nb\tc', 'a b c'],
  ['\u001b[31mred\u0007', '[31mred'],
  ['left\u202eright\u2028', 'left right'],
  ['x'.repeat(300), `${'x'.repeat(200)}…`],
])('%j is shown as %j', (text, shown) => {
  expect(shownText(text)).toBe(shown);
});

describe('any bytes', () => {
  const statuses = ['ok', 'partial', 'retryable', 'refused'];
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc
      .uint8Array({ maxLength: 8 })
      .map((noise) => Buffer.concat([encodeRpcStatus(14, 'm', 1500), noise])),
  );
  test('of an accepting answer', () => {
    fc.assert(
      fc.property(bytes, (body) => {
        expect(['ok', 'partial']).toContain(judgeAccepted(body).status);
      }),
    );
  });

  test('of a refusing answer', () => {
    fc.assert(
      fc.property(fc.integer(), fc.string(), bytes, (code, message, details) => {
        expect(['retryable', 'refused']).toContain(judgeGrpcError(code, message, details).status);
      }),
    );
  });

  test('over HTTP, at any code and type', () => {
    const contentType = fc.constantFrom(
      'application/x-protobuf',
      'application/json',
      'text/html',
      '',
    );
    const retryAfter = fc.option(fc.string(), { nil: undefined });
    fc.assert(
      fc.property(
        fc.record({
          code: fc.integer({ min: 0, max: 999 }),
          contentType,
          retryAfter,
          body: bytes,
          isWhole: fc.boolean(),
        }),
        (answer) => {
          const outcome = judgeHttpAnswer(answer, 0);
          expect(statuses).toContain(outcome.status);
          if ('afterMs' in outcome) expect(outcome.afterMs).toBeGreaterThanOrEqual(0);
          const isSuccess = answer.code >= 200 && answer.code < 300;
          expect(outcome.status === 'ok' || outcome.status === 'partial').toBe(isSuccess);
        },
      ),
    );
  });

  test.each([
    '[]',
    'null',
    '7',
    '{"partialSuccess":7}',
    '{"partialSuccess":{"rejectedSpans":{}}}',
    '{"partialSuccess":{"rejectedSpans":"-4"}}',
  ])('JSON %s is a success', (body) => {
    const answer = {
      code: 200,
      contentType: 'application/json',
      retryAfter: undefined,
      body: Buffer.from(body),
      isWhole: true,
    };
    expect(judgeHttpAnswer(answer, 0)).toEqual({ status: 'ok' });
  });
});
