// SPDX-License-Identifier: Apache-2.0
// Goal: what `show` prints of a span is what was sealed. Method: spans written by protobufjs with every field and every
// kind of value; then values a reader might stumble over, and bytes that no writer of ours makes.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readSpan } from '../exporter/cli/span.ts';
import { splitRequest } from '../exporter/log/entries.ts';
import { LogError } from '../exporter/log/errors.ts';
import { encodeOtlp } from './support/otlp-backend.ts';

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const SPAN_ID = 'b7ad6b7169203331';
const PARENT_ID = '00f067aa0ba902b7';

type Json = Record<string, unknown>;

const base64 = (hex: string): string => Buffer.from(hex, 'hex').toString('base64');

/** The one entry of a request with this span. */
function entryOf(span: Json, context: { resource?: Json; scope?: Json } = {}): Uint8Array {
  const bytes = encodeOtlp('TracesData', {
    resourceSpans: [
      { resource: context.resource, scopeSpans: [{ scope: context.scope, spans: [span] }] },
    ],
  });
  const [entry] = splitRequest(bytes, 'traces');
  return entry as Uint8Array;
}

const attribute = (key: string, value: Json): Json => ({ key, value });

/** Attributes as plain objects; the reader makes objects without a prototype. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

test('every field of a span that people are shown', () => {
  const entry = entryOf(
    {
      traceId: base64(TRACE_ID),
      spanId: base64(SPAN_ID),
      parentSpanId: base64(PARENT_ID),
      traceState: 'vendor=1',
      name: 'chat größer',
      kind: 3,
      startTimeUnixNano: '1795428000123456789',
      endTimeUnixNano: '1795428000125956789',
      attributes: [attribute('gen_ai.request.model', { stringValue: 'small' })],
      droppedAttributesCount: 7,
      events: [
        {
          timeUnixNano: '1795428000124000000',
          name: 'exception',
          attributes: [attribute('exception.type', { stringValue: 'APIError' })],
        },
        { timeUnixNano: '1795428000125000000', name: 'retry' },
      ],
      links: [{ traceId: base64(TRACE_ID), spanId: base64(PARENT_ID) }],
      status: { message: 'overloaded', code: 2 },
      flags: 0x101,
    },
    {
      resource: { attributes: [attribute('service.name', { stringValue: 'loans' })] },
      scope: { name: 'sealspan', version: '1' },
    },
  );
  expect(plain(readSpan(entry))).toEqual({
    traceId: TRACE_ID,
    spanId: SPAN_ID,
    parentSpanId: PARENT_ID,
    name: 'chat größer',
    start: '2026-11-23T10:00:00.123Z',
    durationMs: 2.5,
    status: 'error',
    statusMessage: 'overloaded',
    isSampled: true,
    scope: 'sealspan',
    resource: { 'service.name': 'loans' },
    attributes: { 'gen_ai.request.model': 'small' },
    events: [
      { name: 'exception', attributes: { 'exception.type': 'APIError' } },
      { name: 'retry', attributes: {} },
    ],
    droppedAttributes: 7,
  });
});

test('an empty span: nothing is made up', () => {
  expect(plain(readSpan(entryOf({})))).toEqual({
    traceId: '',
    spanId: '',
    parentSpanId: '',
    name: '',
    start: '1970-01-01T00:00:00.000Z',
    durationMs: 0,
    status: 'unset',
    statusMessage: '',
    isSampled: false,
    scope: '',
    resource: {},
    attributes: {},
    events: [],
    droppedAttributes: 0,
  });
});

test.each([
  ['text', { stringValue: 'a "b" \u2028' }, 'a "b" \u2028'],
  ['empty text', { stringValue: '' }, ''],
  ['true', { boolValue: true }, true],
  ['false', { boolValue: false }, false],
  ['an integer', { intValue: '42' }, 42],
  ['a negative integer', { intValue: '-42' }, -42],
  ['the largest safe integer', { intValue: '9007199254740991' }, 9007199254740991],
  ['an integer beyond it, as text', { intValue: '9007199254740993' }, '9007199254740993'],
  ['the smallest integer, as text', { intValue: '-9223372036854775808' }, '-9223372036854775808'],
  ['a double', { doubleValue: 0.137 }, 0.137],
  ['bytes, in base64', { bytesValue: base64('00ff10') }, 'AP8Q'],
  ['nothing', {}, null],
  [
    'a list',
    { arrayValue: { values: [{ stringValue: 'a' }, { intValue: '1' }, { arrayValue: {} }] } },
    ['a', 1, []],
  ],
  [
    'a map',
    { kvlistValue: { values: [attribute('a', { boolValue: true }), attribute('b', {})] } },
    { a: true, b: null },
  ],
])('a value: %s', (_name, value, shown) => {
  const { attributes } = readSpan(entryOf({ attributes: [attribute('key', value)] }));
  expect(plain(attributes)).toEqual({ key: shown });
});

test('a double that JSON has no number for stays what it is', () => {
  const { attributes } = readSpan(
    entryOf({
      attributes: [
        attribute('a', { doubleValue: 'NaN' }),
        attribute('b', { doubleValue: 'Infinity' }),
      ],
    }),
  );
  expect(attributes.a).toBe(Number.NaN);
  expect(attributes.b).toBe(Number.POSITIVE_INFINITY);
});

test.each([
  [0, 'unset'],
  [1, 'ok'],
  [2, 'error'],
])('status code %i is %s', (code, status) => {
  expect(readSpan(entryOf({ status: { code } })).status).toBe(status);
});

test.each([
  [0, false],
  [1, true],
  [0x300, false],
  [0x301, true],
])('with flags %i sampled is %s', (flags, isSampled) => {
  expect(readSpan(entryOf({ flags })).isSampled).toBe(isSampled);
});

test('a key that stands twice shows both values, the first under its name', () => {
  const attributes = [
    attribute('aigov.decision.outcome', { stringValue: 'granted' }),
    attribute('aigov.decision.outcome', { stringValue: 'refused' }),
  ];
  expect(plain(readSpan(entryOf({ attributes })).attributes)).toEqual({
    'aigov.decision.outcome': 'granted',
    'aigov.decision.outcome (again)': 'refused',
  });
});

test('names of the forwarder are claims of the sender, wherever they stand', () => {
  const claims = [
    attribute('aigov.audit.ref', { stringValue: 'bank/eu-1#7/0' }),
    attribute('aigov.audit.verdict', { stringValue: 'VALID' }),
    attribute('aigov.auditor', { stringValue: 'x' }),
  ];
  const marked = {
    'aigov.audit.ref (claimed by the sender)': 'bank/eu-1#7/0',
    'aigov.audit.verdict (claimed by the sender)': 'VALID',
    'aigov.auditor': 'x',
  };
  const entry = entryOf(
    { attributes: claims, events: [{ name: 'e', attributes: claims }] },
    { resource: { attributes: claims } },
  );
  const { attributes, resource, events } = readSpan(entry);
  expect(plain({ attributes, resource, events })).toEqual({
    attributes: marked,
    resource: marked,
    events: [{ name: 'e', attributes: marked }],
  });
});

test('names of the prototype are names like others', () => {
  const attributes = ['__proto__', 'constructor', 'toString'].map((key) =>
    attribute(key, { stringValue: key }),
  );
  const shown = readSpan(entryOf({ attributes })).attributes;
  expect(Object.entries(shown)).toEqual([
    ['__proto__', '__proto__'],
    ['constructor', 'constructor'],
    ['toString', 'toString'],
  ]);
});

test('bytes that are no UTF-8 show as replacement characters', () => {
  const entry = entryOf({ name: 'XYZ' });
  const at = Buffer.from(entry).indexOf('XYZ');
  entry[at + 1] = 0xff;
  expect(readSpan(entry).name).toBe('X\ufffdZ');
});

test('whatever the walker lets through can be shown', () => {
  const request = encodeOtlp('TracesData', {
    resourceSpans: [
      {
        resource: { attributes: [attribute('a', { stringValue: 'x' })] },
        scopeSpans: [
          {
            scope: { name: 's' },
            spans: [
              {
                name: 'n',
                traceId: base64(TRACE_ID),
                startTimeUnixNano: '1795428000123456789',
                flags: 1,
                status: { code: 2 },
                attributes: [
                  attribute('k', {
                    arrayValue: {
                      values: [
                        { intValue: '5' },
                        { doubleValue: 1.5 },
                        { kvlistValue: { values: [attribute('q', { boolValue: true })] } },
                      ],
                    },
                  }),
                ],
                events: [{ name: 'e', attributes: [attribute('a', {})] }],
              },
            ],
          },
        ],
      },
    ],
  });
  const change = fc.tuple(fc.nat(request.length - 1), fc.nat(255));
  let shown = 0;
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      const bytes = Uint8Array.from(request);
      for (const [at, byte] of changes) bytes[at] = byte;
      let entries: Uint8Array[] = [];
      try {
        entries = splitRequest(bytes, 'traces');
      } catch (error) {
        expect(error).toBeInstanceOf(LogError);
      }
      for (const entry of entries) {
        readSpan(entry);
        shown++;
      }
    }),
    { numRuns: 5_000 },
  );
  // Else the test would have looked at refusals alone.
  expect(shown).toBeGreaterThan(500);
});
