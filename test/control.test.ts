// SPDX-License-Identifier: Apache-2.0
// Goal: what the writer says of the log has one spelling, which any OTLP reader can read, and no other bytes say it.
// Method: one event decoded by protobufjs, round trips of every event, tables of other spellings built by protobufjs, and
// random damage: whatever is accepted encodes back to the same bytes.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeBase64 } from '../exporter/log/bytes.ts';
import {
  type ControlEvent,
  controlText,
  encodeControl,
  parseControl,
} from '../exporter/log/control.ts';
import { splitPayload, splitRequest } from '../exporter/log/entries.ts';
import { LogError } from '../exporter/log/errors.ts';
import { CONTROL_TEXT_LENGTH_MAX, RECOVERED_BYTE_LENGTH_MAX } from '../exporter/log/limits.ts';
import { codeOf } from './support/log-error.ts';
import { decodeOtlp, encodeOtlp } from './support/otlp-backend.ts';

const TIME_MS = Date.UTC(2026, 10, 23, 12, 34, 56, 789);
const hashOf = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
const COUNTERS = { started: 12, ended: 10, sealed: 9, lost: 1, highest: 12, open: '4,7' };

const EVENTS: readonly ControlEvent[] = [
  {
    name: 'opened',
    size: 0,
    root: hashOf(1),
    writer: 'sealspan/0.1.0',
    instance: 'checkout-7',
    configuration: hashOf(2),
    heartbeatMs: 60_000,
  },
  {
    name: 'opened',
    size: 0,
    root: hashOf(1),
    writer: 'sealspan/0.1.0',
    instance: '',
    configuration: hashOf(2),
    heartbeatMs: 0,
    successorOf: 'payments/prod/0',
    successorSize: Number.MAX_SAFE_INTEGER,
    successorRoot: hashOf(3),
  },
  {
    name: 'recovered',
    segment: 41,
    offset: 9_000,
    byteLength: 5,
    sha256: hashOf(4),
    cut: Uint8Array.of(0, 0xff, 0x80, 10, 13),
  },
  {
    name: 'gap',
    count: 3,
    first: 17,
    last: 19,
    from: '2026-11-23T12:00:00.000Z',
    to: '2026-11-23T12:00:01.000Z',
    cause: 'memory limit reached',
  },
  {
    name: 'receipt',
    archive: 'bucket',
    segment: 0,
    size: 128,
    byteLength: 2 ** 32,
    sha256: hashOf(5),
    key: 'payments/prod/0/segments/00000000000000000000.seg',
  },
  {
    name: 'receipt',
    archive: 'bucket',
    segment: 0,
    size: 128,
    byteLength: 1,
    sha256: hashOf(5),
    key: 'k',
    lock: 'COMPLIANCE until 2036-11-23',
  },
  { name: 'heartbeat', ...COUNTERS },
  { name: 'closed', ...COUNTERS, open: '' },
  { name: 'closed', ...COUNTERS, open: '', interrupted: 2 },
  {
    name: 'interrupted',
    sequence: 7,
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: 'b7ad6b7169203331',
    startedMs: 1_790_000_000_000,
    model: 'gpt-5',
  },
  { name: 'hold', action: 'placed', id: 'case-4711', by: 'legal@example.org' },
  { name: 'hold', action: 'released', id: 'case-4711' },
  { name: 'interrupted', sequence: 1, traceId: '', spanId: '', startedMs: 0 },
  { name: 'intent', sequence: 2 ** 53 - 1, traceId: 'a', spanId: 'b', startedMs: 1, model: 'm' },
  { name: 'intent', sequence: 1, traceId: '', spanId: '', startedMs: 0 },
  {
    name: 'opened',
    size: 9,
    root: hashOf(1),
    writer: 'sealspan/0.1.0',
    instance: '0',
    configuration: hashOf(2),
    heartbeatMs: 60_000,
    continues: 0,
  },
  { name: 'refused', count: 3, cause: 'client.unauthenticated', source: 'direct' },
  {
    name: 'refused',
    count: 1,
    cause: 'otlp.truncated',
    source: 'collector',
    principal: hashOf(6),
    sha256: hashOf(7),
  },
  { name: 'coverage', target: 'openai', version: '7.57.0', state: 'active' },
  {
    name: 'coverage',
    target: 'cohere-ai',
    version: '9.0.0',
    state: 'out_of_range',
    detail: '>=7.18.0 <9.0.0',
  },
  { name: 'coverage', target: 'ollama', state: 'failed' },
  { name: 'adopted', from: 3, size: 6 },
];

const HEARTBEAT = EVENTS[6]!;
const GAP = EVENTS[3]!;

describe('the spelling', () => {
  test('is OTLP: one log record, its time, its attributes in order, its name', () => {
    const number = (key: string, intValue: string) => ({ key, value: { intValue } });
    const entry = encodeControl(HEARTBEAT, TIME_MS);
    expect(decodeOtlp('LogsData', entry)).toEqual({
      resourceLogs: [
        {
          scopeLogs: [
            {
              logRecords: [
                {
                  timeUnixNano: `${TIME_MS}000000`,
                  attributes: [
                    number('started', '12'),
                    number('ended', '10'),
                    number('sealed', '9'),
                    number('lost', '1'),
                    number('highest', '12'),
                    { key: 'open', value: { stringValue: '4,7' } },
                  ],
                  eventName: 'heartbeat',
                },
              ],
            },
          ],
        },
      ],
    });
  });

  test('of a hash is its base64, of bytes the bytes', () => {
    const decoded = decodeOtlp('LogsData', encodeControl(EVENTS[2]!, TIME_MS));
    expect(JSON.stringify(decoded)).toContain(
      `{"key":"sha256","value":{"stringValue":"${encodeBase64(hashOf(4))}"}}`,
    );
    expect(JSON.stringify(decoded)).toContain('{"key":"cut","value":{"bytesValue":"AP+ACg0="}}');
  });

  test.each(EVENTS.map((event) => [event.name, event] as const))(
    '%s comes back, and is one entry of a control payload',
    (_name, event) => {
      const entry = encodeControl(event, TIME_MS);
      expect(parseControl(entry)).toEqual({ event, timeMs: TIME_MS });
      expect(splitRequest(entry, 'control')).toEqual([entry]);
      expect(splitPayload(new Uint8Array([...entry, ...entry]), 'control')).toEqual([entry, entry]);
    },
  );

  test('every event is in this table', () => {
    const all: Record<ControlEvent['name'], true> = {
      opened: true,
      closed: true,
      heartbeat: true,
      intent: true,
      interrupted: true,
      recovered: true,
      adopted: true,
      gap: true,
      receipt: true,
      refused: true,
      hold: true,
      coverage: true,
    };
    expect(new Set(EVENTS.map(({ name }) => name))).toEqual(new Set(Object.keys(all)));
  });

  test('any values come back', () => {
    const count = fc.oneof(
      fc.maxSafeInteger().map(Math.abs),
      fc.constantFrom(0, 127, 128, 2 ** 53 - 1),
    );
    const text = fc.string({ unit: 'grapheme-ascii', maxLength: 300 });
    const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
    const events: fc.Arbitrary<ControlEvent> = fc.oneof(
      fc.record({
        name: fc.constant('heartbeat' as const),
        started: count,
        ended: count,
        sealed: count,
        lost: count,
        highest: count,
        open: text,
      }),
      fc.record({
        name: fc.constant('recovered' as const),
        segment: count,
        offset: count,
        byteLength: count,
        sha256: hash,
        cut: fc.uint8Array({ maxLength: 300 }),
      }),
      fc.record(
        {
          name: fc.constant('receipt' as const),
          archive: text,
          segment: count,
          size: count,
          byteLength: count,
          sha256: hash,
          key: text,
          lock: text,
        },
        { requiredKeys: ['name', 'archive', 'segment', 'size', 'byteLength', 'sha256', 'key'] },
      ),
    );
    const times = fc.integer({ min: 0, max: TIME_MAX_MS });
    fc.assert(
      fc.property(events, times, (event, timeMs) => {
        expect(parseControl(encodeControl(event, timeMs))).toEqual({ event, timeMs });
      }),
    );
  });
});

/** The last whole millisecond that 64 bits of nanoseconds hold, in the year 2554. */
const TIME_MAX_MS = 18_446_744_073_709;

describe('misuse', () => {
  test.each<[string, Record<string, unknown>]>([
    ['a negative count', { count: -1 }],
    ['half a count', { count: 0.5 }],
    ['a count of 2^53', { count: 2 ** 53 }],
    ['a count that is text', { count: '3' }],
    ['no count', { count: undefined }],
    ['a text above ASCII', { cause: 'speicher läuft über' }],
    ['a text of two lines', { cause: 'a\nb' }],
    ['a text that is too long', { cause: 'x'.repeat(CONTROL_TEXT_LENGTH_MAX + 1) }],
    ['a text that is a number', { cause: 3 }],
  ])('%s', (_name, change) => {
    expect(() => encodeControl({ ...GAP, ...change } as ControlEvent, TIME_MS)).toThrow(RangeError);
  });

  test.each<[string, Record<string, unknown>]>([
    ['a hash of 31 bytes', { sha256: new Uint8Array(31) }],
    ['a hash that is text', { sha256: encodeBase64(hashOf(1)) }],
    ['a cut that is too long', { cut: new Uint8Array(RECOVERED_BYTE_LENGTH_MAX + 1) }],
    ['a cut that is text', { cut: 'abc' }],
  ])('%s', (_name, change) => {
    expect(() => encodeControl({ ...EVENTS[2], ...change } as ControlEvent, TIME_MS)).toThrow(
      RangeError,
    );
  });

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, TIME_MAX_MS + 1])(
    'a time of %d ms',
    (timeMs) => {
      expect(() => encodeControl(HEARTBEAT, timeMs)).toThrow(RangeError);
    },
  );
});

type Json = Record<string, unknown>;
interface EventJson {
  readonly attributes: readonly Json[];
  readonly record?: Json;
  readonly scope?: Json;
  readonly resource?: Json;
}

const text = (key: string, stringValue: string): Json => ({ key, value: { stringValue } });
const count = (key: string, intValue: unknown): Json => ({ key, value: { intValue } });
const GAP_ATTRIBUTES: readonly Json[] = [
  count('count', 3),
  count('first', 17),
  count('last', 19),
  text('from', '2026-11-23T12:00:00.000Z'),
  text('to', '2026-11-23T12:00:01.000Z'),
  text('cause', 'memory limit reached'),
];

/** Any LogsData with one record, by protobufjs. */
function logs({ attributes, record = {}, scope = {}, resource = {} }: EventJson): Uint8Array {
  const logRecord = {
    timeUnixNano: `${TIME_MS}000000`,
    attributes,
    eventName: 'gap',
    ...record,
  };
  return encodeOtlp('LogsData', {
    resourceLogs: [{ scopeLogs: [{ logRecords: [logRecord], ...scope }], ...resource }],
  });
}

describe('other spellings', () => {
  test('the good one, by protobufjs', () => {
    expect(logs({ attributes: GAP_ATTRIBUTES })).toEqual(Buffer.from(encodeControl(GAP, TIME_MS)));
  });

  const [first, second, ...rest] = GAP_ATTRIBUTES as [Json, Json, ...Json[]];
  test.each<[string, EventJson]>([
    ['attributes in another order', { attributes: [second, first, ...rest] }],
    ['an attribute twice', { attributes: [first, first, second, ...rest] }],
    ['an attribute missing', { attributes: [first, ...rest] }],
    ['no attributes', { attributes: [] }],
    ['an attribute that nobody knows', { attributes: [...GAP_ATTRIBUTES, text('note', 'x')] }],
    ['an attribute named __proto__', { attributes: [...GAP_ATTRIBUTES, text('__proto__', 'x')] }],
    ['an attribute without value', { attributes: [{ key: 'count' }, second, ...rest] }],
    ['a count as text', { attributes: [text('count', '3'), second, ...rest] }],
    [
      'a count as a double',
      { attributes: [{ key: 'count', value: { doubleValue: 3 } }, second, ...rest] },
    ],
    ['a negative count', { attributes: [count('count', -3), second, ...rest] }],
    ['a count of 2^53', { attributes: [count('count', '9007199254740992'), second, ...rest] }],
    [
      'a text as bytes',
      {
        attributes: [
          first,
          second,
          ...rest.slice(0, 3),
          { key: 'cause', value: { bytesValue: Buffer.from('x') } },
        ],
      },
    ],
    [
      'a text above ASCII',
      { attributes: [first, second, ...rest.slice(0, 3), text('cause', 'läuft')] },
    ],
    [
      'a text with a line feed',
      { attributes: [first, second, ...rest.slice(0, 3), text('cause', 'a\nb')] },
    ],
    [
      'a text that is too long',
      {
        attributes: [
          first,
          second,
          ...rest.slice(0, 3),
          text('cause', 'x'.repeat(CONTROL_TEXT_LENGTH_MAX + 1)),
        ],
      },
    ],
    ['no name', { attributes: GAP_ATTRIBUTES, record: { eventName: '' } }],
    ['an unknown name', { attributes: GAP_ATTRIBUTES, record: { eventName: 'erased' } }],
    [
      'a name of every object',
      { attributes: GAP_ATTRIBUTES, record: { eventName: 'constructor' } },
    ],
    ['the name of another event', { attributes: GAP_ATTRIBUTES, record: { eventName: 'closed' } }],
    ['no time', { attributes: GAP_ATTRIBUTES, record: { timeUnixNano: '0' } }],
    [
      'a time in microseconds',
      { attributes: GAP_ATTRIBUTES, record: { timeUnixNano: `${TIME_MS}000001` } },
    ],
    ['a body', { attributes: GAP_ATTRIBUTES, record: { body: { stringValue: 'x' } } }],
    ['a severity', { attributes: GAP_ATTRIBUTES, record: { severityNumber: 9 } }],
    ['a scope', { attributes: GAP_ATTRIBUTES, scope: { scope: { name: 'sealspan' } } }],
    ['an empty scope', { attributes: GAP_ATTRIBUTES, scope: { scope: {} } }],
    ['a resource', { attributes: GAP_ATTRIBUTES, resource: { resource: {} } }],
  ])('%s', (_name, json) => {
    expect(codeOf(() => parseControl(logs(json)))).toBe('control.syntax');
  });

  test('a hash in another base64', () => {
    const good = encodeControl(EVENTS[2]!, TIME_MS);
    const at = Buffer.from(good).indexOf(encodeBase64(hashOf(4)));
    const bytes = good.slice();
    bytes[at + 42]! += 1;
    expect(codeOf(() => parseControl(bytes))).toBe('bytes.base64');
  });

  test('a count that is not minimal', () => {
    const good = Buffer.from(encodeControl(HEARTBEAT, TIME_MS)).toString('hex');
    // started = 12: key `started`, then value {intValue 0c}; made one byte longer at every level above.
    const attribute = '32 0d 0a 07 73746172746564 12 02 18 0c'.replaceAll(' ', '');
    const longer = '32 0e 0a 07 73746172746564 12 03 18 8c00'.replaceAll(' ', '');
    expect(good).toContain(attribute);
    // Behind six bytes of containers, each with a tag and a length of one byte.
    const record = Buffer.from(good.replace(attribute, longer), 'hex').subarray(6);
    const wrap = (field: number, value: Buffer): Buffer =>
      Buffer.concat([Buffer.of(field * 8 + 2, value.length), value]);
    const entry = (body: Buffer): Uint8Array => new Uint8Array(wrap(1, wrap(2, wrap(2, body))));
    expect(entry(Buffer.from(good, 'hex').subarray(6))).toEqual(encodeControl(HEARTBEAT, TIME_MS));
    expect(codeOf(() => parseControl(entry(record)))).toBe('control.syntax');
  });

  test.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(), 'otlp.not-an-entry'],
    ['no record', Buffer.from('0a021200', 'hex'), 'otlp.not-an-entry'],
    [
      'a schema URL behind the child',
      logs({ attributes: GAP_ATTRIBUTES, resource: { schemaUrl: 'x' } }),
      'otlp.not-an-entry',
    ],
    ['a record of nothing', Buffer.from('0a0412021200', 'hex'), 'control.syntax'],
  ])('%s', (_name, bytes, code) => {
    expect(codeOf(() => parseControl(new Uint8Array(bytes)))).toBe(code);
  });
});

describe('random damage', () => {
  test('is refused, or is another event that encodes back to exactly these bytes', () => {
    let acceptedCount = 0;
    const edit = fc.record({ at: fc.nat(400), byte: fc.nat(255), how: fc.nat(2) });
    fc.assert(
      fc.property(
        fc.constantFrom(...EVENTS),
        fc.array(edit, { minLength: 1, maxLength: 3 }),
        (event, edits) => {
          let bytes = Buffer.from(encodeControl(event, TIME_MS));
          for (const { at, byte, how } of edits) {
            const offset = at % (bytes.length + 1);
            const kept = how === 0 ? offset : Math.min(bytes.length, offset + 1);
            const middle = how === 1 ? [] : [byte];
            bytes = Buffer.concat([
              bytes.subarray(0, offset),
              Buffer.from(middle),
              bytes.subarray(kept),
            ]);
          }
          const entry = new Uint8Array(bytes);
          try {
            const { event: parsed, timeMs } = parseControl(entry);
            expect(encodeControl(parsed, timeMs)).toEqual(entry);
            acceptedCount++;
          } catch (error) {
            if (!(error instanceof LogError)) throw error;
          }
        },
      ),
      { numRuns: 10_000 },
    );
    expect(acceptedCount).toBeGreaterThan(0);
  });
});

describe('any text, cut down to a control text', () => {
  test.each([
    ['', ''],
    ['plain', 'plain'],
    ['läuft\nüber\0', 'l?uft??ber?'],
    ['\u{1f600}', '??'],
    ['x'.repeat(CONTROL_TEXT_LENGTH_MAX + 5), 'x'.repeat(CONTROL_TEXT_LENGTH_MAX)],
  ])('%j', (given, expected) => {
    expect(controlText(given)).toBe(expected);
    expect(() => encodeControl({ ...GAP, cause: expected } as ControlEvent, TIME_MS)).not.toThrow();
  });
});
