// SPDX-License-Identifier: Apache-2.0
// Goal: entries are a function of the request that every conforming decoder agrees with: one span or log record each, with
// its resource, scope and schema URLs, and kept bytes verbatim. Method: worked examples and the attacks of old by name, a
// table of refusals, then random requests, odd in every legal way or damaged: what is accepted, protobufjs and a naive
// second decoder read alike, whole and entry by entry.
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { itemOf, type PayloadKind, splitPayload, splitRequest } from '../exporter/log/entries.ts';
import {
  AMPLIFICATION_FACTOR,
  AMPLIFICATION_SLACK_BYTE_LENGTH,
  ENTRY_COUNT_MAX,
  MESSAGE_DEPTH_MAX,
  REQUEST_BYTE_LENGTH_MAX,
  REQUEST_ENTRY_COUNT_MAX,
} from '../exporter/log/limits.ts';
import { codeOf } from './support/log-error.ts';
import {
  decodeByProtobufjs,
  decodeNaive,
  type NaiveMessage,
  naiveEntries,
  naiveFields,
} from './support/naive-otlp.ts';
import { decodeOtlp, encodeOtlp } from './support/otlp-backend.ts';

const hex = (text: string): Uint8Array =>
  new Uint8Array(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));
const join = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

function varint(value: number, byteLength = 1): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; rest > 0 || bytes.length < byteLength; rest = Math.floor(rest / 128)) {
    bytes.push((rest % 128) | 0x80);
  }
  bytes.push(bytes.pop()! & 0x7f);
  return Uint8Array.from(bytes);
}

/** A field with a length; `byteLength` pads the length with zeros that decoders ignore. */
function field(number: number, value: Uint8Array, byteLength = 1): Uint8Array {
  return join(varint(number * 8 + 2), varint(value.length, byteLength), value);
}

const NONE = new Uint8Array();
/** Field 3 is a text of a span as of a log record. */
const SPAN = field(3, Buffer.from('call'));
/** A request with this as its ResourceSpans, ScopeSpans, or span. */
const inRequest = (resourceSpans: Uint8Array): Uint8Array => field(1, resourceSpans);
const inResource = (scopeSpans: Uint8Array): Uint8Array => inRequest(field(2, scopeSpans));
const inScope = (...spans: readonly Uint8Array[]): Uint8Array =>
  inResource(join(...spans.map((span) => field(2, span))));

const typeOf = (kind: PayloadKind): string => (kind === 'traces' ? 'TracesData' : 'LogsData');
const codeOfRequest = (bytes: Uint8Array, kind: PayloadKind = 'traces'): string =>
  codeOf(() => splitRequest(bytes, kind));

/** What a decoder makes of a message, or that it refuses. */
function decoded(decode: typeof decodeNaive, type: string, bytes: Uint8Array): unknown {
  try {
    return decode(type, bytes);
  } catch {
    return 'refused';
  }
}

describe('worked examples', () => {
  const resource = field(1, field(1, field(1, Buffer.from('k'))));
  const [url, scopeUrl] = [field(3, Buffer.from('r')), field(3, Buffer.from('s'))];
  const scope = field(1, field(1, Buffer.from('scope')));
  const unknown = hex('a00601');
  const [a, b, c] = ['a', 'b', 'c'].map((name) => field(5, Buffer.from(name)));

  test('two scopes, three spans: each span with what was around it, in order, the child last', () => {
    const request = field(
      1,
      join(
        field(2, join(field(2, a!), scope, field(2, b!), scopeUrl)),
        resource,
        unknown,
        field(2, field(2, c!)),
        url,
      ),
    );
    const entry = (scopeSpans: Uint8Array): Uint8Array =>
      field(1, join(resource, unknown, url, field(2, scopeSpans)));
    expect(splitRequest(request, 'traces')).toEqual([
      entry(join(scope, scopeUrl, field(2, a!))),
      entry(join(scope, scopeUrl, field(2, b!))),
      entry(field(2, c!)),
    ]);
  });

  test('lengths of containers are written minimally, lengths of what is kept stay as they came', () => {
    const kept = field(1, NONE, 3);
    const request = field(1, join(kept, field(2, field(2, SPAN, 4), 2)), 5);
    expect(splitRequest(request, 'traces')).toEqual([
      field(1, join(kept, field(2, field(2, SPAN)))),
    ]);
  });

  test.each<[string, Uint8Array, number]>([
    ['nothing', NONE, 0],
    ['a resource without scopes', inRequest(NONE), 0],
    ['a scope without spans', inResource(NONE), 0],
    ['a span of nothing', inScope(NONE), 1],
    ['two spans of nothing', inScope(NONE, NONE), 2],
    ['two resources', join(inScope(SPAN), inScope(SPAN)), 2],
  ])('%s', (_name, bytes, count) => {
    for (const kind of ['traces', 'logs', 'control'] as const) {
      expect(splitRequest(bytes, kind)).toHaveLength(count);
    }
  });

  test('entries own their bytes', () => {
    const request = inScope(SPAN);
    const [entry] = splitRequest(request, 'traces');
    request.fill(0xff);
    expect(entry).toEqual(inScope(SPAN));
  });
});

describe('the attacks', () => {
  test('3. a request that ends in the middle swallows its neighbour, so each is walked alone', () => {
    const victim = inScope(field(5, Buffer.from('victim')));
    const attacker = join(inScope(SPAN), hex('7a'), varint(victim.length));
    // Joined, every decoder is content, and the victim's span is an unknown field.
    for (const decode of [decodeNaive, decodeByProtobufjs]) {
      const joined = decode('TracesData', join(attacker, victim));
      expect(joined).toEqual(decode('TracesData', inScope(SPAN)));
    }
    expect(codeOfRequest(attacker)).toBe('otlp.truncated');
    expect(codeOfRequest(join(attacker, victim))).toBe('otlp.top-level-field');
    expect(codeOf(() => splitPayload(join(attacker, victim), 'traces'))).toBe(
      'otlp.top-level-field',
    );
  });

  test.each<[string, Uint8Array, string]>([
    ['two resources', inRequest(join(field(1, NONE), field(1, NONE))), 'otlp.repeated'],
    ['two scopes', inResource(join(field(1, NONE), field(1, NONE))), 'otlp.repeated'],
    [
      'two schema URLs of a resource',
      inRequest(join(field(3, NONE), field(3, NONE))),
      'otlp.repeated',
    ],
    [
      'two schema URLs of a scope',
      inResource(join(field(3, NONE), field(3, NONE))),
      'otlp.repeated',
    ],
    [
      'a tag with bit 32 set, where the span is',
      inResource(hex('9280808010 00')),
      'otlp.field-number',
    ],
    [
      'a tag with bit 32 set, where the scope is',
      inRequest(hex('9280808010 00')),
      'otlp.field-number',
    ],
    ['a tag with bit 32 set, at the top', hex('8a80808010 00'), 'otlp.field-number'],
    ['a span under a padded tag', inResource(hex('9200 00')), 'otlp.tag'],
    ['a span in a group', inResource(hex('1314')), 'otlp.wire-type'],
    ['a span that is a number', inResource(hex('1000')), 'otlp.wire-type'],
    ['a resource that is a number', inRequest(hex('0800')), 'otlp.wire-type'],
    [
      'spans in the retired field 1000 of a resource',
      inRequest(hex('c23e00')),
      'otlp.field-number',
    ],
    ['spans in the retired field 1000 of a scope', inResource(hex('c23e00')), 'otlp.field-number'],
    ['field number 0', inResource(hex('0200')), 'otlp.field-number'],
    ['field number 2^29', inResource(hex('828080801000')), 'otlp.field-number'],
    ['another field at the top', join(inScope(SPAN), hex('1200')), 'otlp.top-level-field'],
    ['a number at the top', hex('0801'), 'otlp.top-level-field'],
    ['a length of 2^31', inResource(hex('128080808008')), 'otlp.truncated'],
  ])('4. what decoders read differently above the span: %s', (_name, bytes, code) => {
    expect(codeOfRequest(bytes)).toBe(code);
    expect(codeOfRequest(bytes, 'logs')).toBe(code);
  });

  test('4. unknown fields above the span are kept, in every entry they belong to', () => {
    const unknown = [hex('200a'), hex('2900000000000000ff'), hex('a206026162'), hex('3500000001')];
    const request = inRequest(
      join(unknown[0]!, field(2, join(unknown[1]!, field(2, SPAN), unknown[2]!)), unknown[3]!),
    );
    expect(splitRequest(request, 'traces')).toEqual([
      inRequest(
        join(unknown[0]!, unknown[3]!, field(2, join(unknown[1]!, unknown[2]!, field(2, SPAN)))),
      ),
    ]);
  });

  test('4. inside a span the last singular field wins, for both decoders', () => {
    const twice = inScope(join(field(5, Buffer.from('first')), field(5, Buffer.from('last'))));
    expect(splitRequest(twice, 'traces')).toEqual([twice]);
    for (const decode of [decodeNaive, decodeByProtobufjs]) {
      expect(JSON.stringify(decode('TracesData', twice))).toContain(
        `{"name":"${Buffer.from('last').toString('base64')}"}`,
      );
    }
  });

  test('5. a large resource shared by thousands of tiny spans is refused, not multiplied', () => {
    const resource = field(1, field(9, new Uint8Array(1024 * 1024)));
    const spans = (count: number): Uint8Array => field(2, join(...Array(count).fill(hex('1200'))));
    expect(codeOfRequest(inRequest(join(resource, spans(8_000))))).toBe('otlp.amplification');
  });

  test('5. the bound is 4 times the request and 64 MiB, to the byte', () => {
    // Entries of `resource` bytes and a few: grow the resource until the total passes the bound.
    const request = (resourceLength: number): Uint8Array =>
      inRequest(join(field(9, new Uint8Array(resourceLength)), field(2, hex('1200'.repeat(100)))));
    const excess = (resourceLength: number): number => {
      const bytes = request(resourceLength);
      const [entry] = naiveEntries(bytes);
      const bound = AMPLIFICATION_FACTOR * bytes.length + AMPLIFICATION_SLACK_BYTE_LENGTH;
      return 100 * entry!.length - bound;
    };
    // Each byte of the resource adds 100 to the entries and 4 to the bound.
    const start = 690_000;
    const last = start - Math.ceil(excess(start) / 96);
    expect([excess(last) <= 0, excess(last + 1) > 0]).toEqual([true, true]);
    expect(codeOfRequest(request(last))).toBe('accepted');
    expect(codeOfRequest(request(last + 1))).toBe('otlp.amplification');
  });

  test('19. an entry is one spelling: what splitRequest would not make again is none', () => {
    const wrong = field(1, field(2, field(2, SPAN), 2));
    expect(decodeNaive('TracesData', wrong)).toEqual(decodeNaive('TracesData', inScope(SPAN)));
    expect(codeOf(() => itemOf(wrong, 'traces'))).toBe('otlp.not-an-entry');
  });
});

describe('refusals', () => {
  const value = (any: Uint8Array): Uint8Array => inScope(field(9, field(2, any)));
  const cases: readonly (readonly [string, Uint8Array, string])[] = [
    ['a length past the end of the request', hex('0a05'), 'otlp.truncated'],
    ['a length past the end of its container', inRequest(hex('1205')), 'otlp.truncated'],
    ['a length past the end of the scope', inResource(hex('1205')), 'otlp.truncated'],
    ['a length past the end of the span', inScope(hex('2a05')), 'otlp.truncated'],
    ['a length past the end of an attribute', value(hex('0a05')), 'otlp.truncated'],
    ['an unknown field that is cut off', inScope(hex('a006')), 'otlp.truncated'],
    ['a length of six bytes', inScope(hex('2a808080808000')), 'otlp.length'],
    ['a varint of eleven bytes', inScope(hex('308080808080808080808000')), 'otlp.varint'],
    ['a varint above 64 bits', value(hex('1880808080808080808002')), 'otlp.varint'],
    ['a padded tag in a span', inScope(hex('aa0000')), 'otlp.tag'],
    ['a group in a span', inScope(hex('5354')), 'otlp.wire-type'],
    ['a group in an attribute', value(hex('2b2c')), 'otlp.wire-type'],
    ['a name that is a number', inScope(hex('2800')), 'otlp.wire-type'],
    ['a time that is a varint', inScope(hex('3800')), 'otlp.wire-type'],
    ['flags of eight bytes', inScope(hex('81010000000000000000')), 'otlp.wire-type'],
    ['an event that is a number', inScope(hex('5800')), 'otlp.wire-type'],
    ['the name of an event that is a number', inScope(field(11, hex('1000'))), 'otlp.wire-type'],
    ['the flags of a link as a varint', inScope(field(13, hex('3000'))), 'otlp.wire-type'],
    ['the code of a status with a length', inScope(field(15, hex('1a00'))), 'otlp.wire-type'],
    ['a boolean with a length', value(hex('1200')), 'otlp.wire-type'],
    ['a double as a varint', value(hex('2000')), 'otlp.wire-type'],
    ['a value in a list', value(field(5, field(1, hex('0800')))), 'otlp.wire-type'],
    ['a value in a map', value(field(6, field(1, field(2, hex('0800'))))), 'otlp.wire-type'],
    ['an attribute of the resource', inRequest(field(1, field(1, hex('0800')))), 'otlp.wire-type'],
    ['an entity of the resource', inRequest(field(1, field(3, hex('0800')))), 'otlp.wire-type'],
    ['an attribute of the scope', inResource(field(1, field(3, hex('0800')))), 'otlp.wire-type'],
  ];

  test.each(cases)('%s', (_name, bytes, code) => {
    expect(codeOfRequest(bytes)).toBe(code);
  });

  test.each<[string, Uint8Array, string]>([
    ['a time that is a varint', inScope(hex('0800')), 'otlp.wire-type'],
    ['a body that is a number', inScope(hex('2800')), 'otlp.wire-type'],
    ['a number in a body', inScope(field(5, hex('0800'))), 'otlp.wire-type'],
    ['a number in an attribute', inScope(field(6, hex('0800'))), 'otlp.wire-type'],
    ['an event name that is a number', inScope(hex('6000')), 'otlp.wire-type'],
  ])('of a log record: %s', (_name, bytes, code) => {
    expect(codeOfRequest(bytes, 'logs')).toBe(code);
    expect(codeOfRequest(bytes, 'control')).toBe(code);
  });

  test('more bytes than a request may have', () => {
    expect(codeOfRequest(new Uint8Array(REQUEST_BYTE_LENGTH_MAX + 1))).toBe('otlp.too-long');
    expect(codeOfRequest(new Uint8Array(REQUEST_BYTE_LENGTH_MAX))).toBe('otlp.field-number');
  });

  test('a request of more entries than the memory of a small process holds', () => {
    const spans = (count: number): Uint8Array =>
      new Uint8Array(2 * count).map((_, at) => (at % 2 === 0 ? 0x12 : 0));
    expect(codeOfRequest(inResource(spans(REQUEST_ENTRY_COUNT_MAX + 1)))).toBe('otlp.entry-count');
    expect(codeOfRequest(inResource(spans(ENTRY_COUNT_MAX + 1)))).toBe('accepted');
  });

  test('a payload of more entries than a record holds', () => {
    const entry = inScope(NONE);
    const payload = (count: number): Uint8Array => join(...Array(count).fill(entry));
    expect(splitPayload(payload(ENTRY_COUNT_MAX), 'traces')).toHaveLength(ENTRY_COUNT_MAX);
    expect(codeOf(() => splitPayload(payload(ENTRY_COUNT_MAX + 1), 'traces'))).toBe(
      'otlp.entry-count',
    );
  });
});

describe('depth', () => {
  /** A value of so many lists in each other, in an attribute of the span; each list is two messages. */
  const nested = (
    listCount: number,
    around: (any: Uint8Array) => Uint8Array,
    innermost: Uint8Array = hex('1001'),
  ): Uint8Array => {
    let any = innermost;
    for (let count = 0; count < listCount; count++) any = field(5, field(1, any));
    return around(any);
  };
  const inSpan = (any: Uint8Array): Uint8Array => inScope(field(9, field(2, any)));
  const inResourceAttribute = (any: Uint8Array): Uint8Array =>
    inRequest(join(field(1, field(1, field(2, any))), field(2, field(2, SPAN))));

  test.each([
    ['a span', inSpan, 5],
    ['a resource', inResourceAttribute, 4],
  ] as const)(
    'of the attributes of %s is bounded, below where protobufjs stops',
    (_, around, base) => {
      const listCount = Math.floor((MESSAGE_DEPTH_MAX - base) / 2);
      const deepest = nested(listCount, around);
      expect(codeOfRequest(deepest)).toBe('accepted');
      expect(
        isDeepStrictEqual(
          decodeByProtobufjs('TracesData', deepest),
          decodeNaive('TracesData', deepest),
        ),
      ).toBe(true);
      expect(codeOfRequest(nested(listCount + 1, around))).toBe('otlp.depth');
    },
  );

  test.each([
    [1, 41, 'accepted'],
    [2, 40, 'otlp.depth'],
  ])('counts a short text as any other value: %d maps, %d lists, %s', (maps, lists, code) => {
    const texts = [field(1, Buffer.from('text')), field(1, Buffer.from('x'.repeat(200)))];
    for (const text of texts) {
      let any: Uint8Array = text;
      const inMap = () => field(6, field(1, join(field(1, Buffer.from('key')), field(2, any))));
      for (let count = 0; count < maps; count++) any = inMap();
      expect(codeOfRequest(nested(lists, inSpan, any))).toBe(code);
    }
  });

  test('without bound ends in a coded error, not in the end of the stack', () => {
    expect(codeOfRequest(nested(2_000, inSpan))).toBe('otlp.depth');
  });
});

describe('itemOf', () => {
  test('points to the span', () => {
    const entry = inRequest(join(field(1, NONE), field(2, join(field(3, NONE), field(2, SPAN)))));
    const { start, end } = itemOf(entry, 'traces');
    expect(entry.slice(start, end)).toEqual(SPAN);
  });

  test.each<[string, Uint8Array, string]>([
    ['nothing', NONE, 'otlp.not-an-entry'],
    ['no scope', inRequest(NONE), 'otlp.not-an-entry'],
    ['no span', inResource(NONE), 'otlp.not-an-entry'],
    ['two spans', inScope(SPAN, SPAN), 'otlp.not-an-entry'],
    [
      'two scopes',
      inRequest(join(field(2, field(2, SPAN)), field(2, field(2, SPAN)))),
      'otlp.not-an-entry',
    ],
    [
      'an empty second scope',
      inRequest(join(field(2, field(2, SPAN)), field(2, NONE))),
      'otlp.not-an-entry',
    ],
    ['two resources', join(inScope(SPAN), inScope(SPAN)), 'otlp.not-an-entry'],
    [
      'a field behind the scope',
      inRequest(join(field(2, field(2, SPAN)), field(3, NONE))),
      'otlp.not-an-entry',
    ],
    [
      'a field behind the span',
      inResource(join(field(2, SPAN), field(3, NONE))),
      'otlp.not-an-entry',
    ],
    [
      'an unknown field behind the span',
      inResource(join(field(2, SPAN), hex('200a'))),
      'otlp.not-an-entry',
    ],
    ['a longer length at the top', field(1, field(2, field(2, SPAN)), 2), 'otlp.not-an-entry'],
    ['a longer length of the scope', inRequest(field(2, field(2, SPAN), 2)), 'otlp.not-an-entry'],
    ['a longer length of the span', inResource(field(2, SPAN, 2)), 'otlp.not-an-entry'],
    ['another field at the top', join(hex('1200'), inScope(SPAN)), 'otlp.top-level-field'],
    [
      'a resource twice',
      inRequest(join(field(1, NONE), field(1, NONE), field(2, field(2, SPAN)))),
      'otlp.repeated',
    ],
    [
      'a resource that is a number',
      inRequest(join(hex('0800'), field(2, field(2, SPAN)))),
      'otlp.wire-type',
    ],
    [
      'a scope that is a number',
      inRequest(join(hex('1000'), field(2, field(2, SPAN)))),
      'otlp.wire-type',
    ],
    [
      'the retired field',
      inRequest(join(hex('c23e00'), field(2, field(2, SPAN)))),
      'otlp.field-number',
    ],
    ['a span cut off', inScope(hex('2a05')), 'otlp.truncated'],
    [
      'a number in the resource',
      inRequest(join(field(1, hex('0800')), field(2, field(2, SPAN)))),
      'otlp.wire-type',
    ],
    [
      'a number in the scope',
      inResource(join(field(1, hex('0800')), field(2, SPAN))),
      'otlp.wire-type',
    ],
  ])('refuses %s', (name, bytes, code) => {
    expect(codeOf(() => itemOf(bytes, 'traces'))).toBe(code);
    // Nothing is a payload of no entries, and two entries are two; all else is refused in a payload too.
    const isPayload = name === 'nothing' || name === 'two resources';
    expect(codeOf(() => splitPayload(bytes, 'traces'))).toBe(isPayload ? 'accepted' : code);
  });

  test('holds for exactly what splitRequest makes of itself again', () => {
    fc.assert(
      fc.property(odd('TracesData'), (request) => {
        const isEntry = codeOf(() => itemOf(request, 'traces')) === 'accepted';
        let again: Uint8Array[] = [];
        const code = codeOf(() => {
          again = splitRequest(request, 'traces');
        });
        expect(isEntry).toBe(code === 'accepted' && isDeepStrictEqual(again, [request]));
      }),
      { numRuns: 2_000 },
    );
  });
});

/**
 * Any message of a type, legal but as odd as the wire allows: fields in any order, repeated, unknown ones between them,
 * lengths with padding. Only what the walker refuses above the span is not made on purpose.
 */
function odd(type: string): fc.Arbitrary<Uint8Array> {
  const padding = fc.oneof(
    { weight: 9, arbitrary: fc.constant(1) },
    fc.integer({ min: 2, max: 5 }),
  );
  const framed = (number: number, value: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> =>
    fc.tuple(value, padding).map(([bytes, byteLength]) => field(number, bytes, byteLength));
  const number = fc.oneof(fc.nat(300), fc.maxSafeInteger().map(Math.abs));
  const tagged = (tag: number, value: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> =>
    value.map((bytes) => join(varint(tag), bytes));
  const fixed = (byteLength: number): fc.Arbitrary<Uint8Array> =>
    fc.uint8Array({ minLength: byteLength, maxLength: byteLength });
  const scalars: Readonly<Record<number, (tag: number) => fc.Arbitrary<Uint8Array>>> = {
    0: (tag) =>
      tagged(
        tag,
        fc.tuple(number, fc.constantFrom(1, 1, 10)).map(([value, length]) => varint(value, length)),
      ),
    1: (tag) => tagged(tag, fixed(8)),
    5: (tag) => tagged(tag, fixed(4)),
    2: (tag) => framed(Math.floor(tag / 8), fc.uint8Array({ maxLength: 12 })),
  };
  const unknown = fc
    .tuple(fc.constantFrom(30, 99, 999, 1001, 0x1fffffff), fc.constantFrom(0, 1, 2, 5))
    .chain(([fieldNumber, wireType]) => scalars[wireType]!(fieldNumber * 8 + wireType));

  const types = new Set<string>();
  const collect = (name: string): void => {
    if (types.has(name)) return;
    types.add(name);
    for (const known of naiveFields(name)) if (known.isMessage) collect(known.type);
  };
  collect(type);

  const { [type]: root } = fc.letrec<Record<string, Uint8Array>>((tie) =>
    Object.fromEntries(
      [...types].map((name) => {
        const fields = naiveFields(name);
        const simple = fields
          .filter(({ isMessage }) => !isMessage)
          .map((known) => scalars[known.wireType]!(known.number * 8 + known.wireType));
        const nestedFields = fields
          .filter(({ isMessage }) => isMessage)
          .map((known) => ({ weight: 3, arbitrary: framed(known.number, tie(known.type)) }));
        const isContainer = /^(Resource|Scope)(Spans|Logs)$|Data$/.test(name);
        if (!isContainer) {
          const any = fc.oneof(
            { depthSize: 'small', depthIdentifier: 'values' },
            { weight: 1, arbitrary: unknown },
            ...simple.map((arbitrary) => ({ weight: 1, arbitrary })),
            ...nestedFields,
          );
          return [name, fc.array(any, { maxLength: 4 }).map((parts) => join(...parts))];
        }
        // At most one of each singular field, any number of children, shuffled.
        const child = fields.find(({ repeated }) => repeated)!;
        const singular = fields
          .filter(({ repeated }) => !repeated)
          .map((known) =>
            known.isMessage
              ? framed(known.number, tie(known.type))
              : scalars[known.wireType]!(known.number * 8 + known.wireType),
          );
        const parts = fc.tuple(
          ...singular.map((arbitrary) => fc.array(arbitrary, { maxLength: 1 })),
          fc.array(framed(child.number, tie(child.type)), { maxLength: 3 }),
          fc.array(unknown, { maxLength: name.endsWith('Data') ? 0 : 1 }),
        );
        return [
          name,
          fc
            .tuple(parts, fc.array(fc.nat(), { minLength: 8, maxLength: 8 }))
            .map(([lists, keys]) => {
              const flat = lists.flat();
              const sorted = flat
                .map((part, at) => [keys[at % keys.length]!, part] as const)
                .sort(([a], [b]) => a - b);
              return join(...sorted.map(([, part]) => part));
            }),
        ];
      }),
    ),
  );
  return root!;
}

/** One message per item: what an entry must decode to. */
function singles(data: NaiveMessage): NaiveMessage[] {
  const [[outer, resources] = ['', []]] = Object.entries(data);
  return (resources as NaiveMessage[]).flatMap((resource) => {
    const inner = outer === 'resourceSpans' ? 'scopeSpans' : 'scopeLogs';
    const { [inner]: scopes = [], ...aroundScopes } = resource;
    return (scopes as NaiveMessage[]).flatMap((scope) => {
      const items = inner === 'scopeSpans' ? 'spans' : 'logRecords';
      const { [items]: list = [], ...aroundItems } = scope;
      return (list as NaiveMessage[]).map((item) => ({
        [outer]: [{ ...aroundScopes, [inner]: [{ ...aroundItems, [items]: [item] }] }],
      }));
    });
  });
}

function expectSame(actual: unknown, expected: unknown): void {
  // The slow comparison only where it has something to say.
  if (!isDeepStrictEqual(actual, expected)) expect(actual).toEqual(expected);
}

/** Splits, and where that is accepted, holds every promise about entries against both decoders. */
function splitAndJudge(request: Uint8Array, kind: PayloadKind): Uint8Array[] | undefined {
  let entries: Uint8Array[] = [];
  const code = codeOf(() => {
    entries = splitRequest(request, kind);
  });
  if (code !== 'accepted') return undefined;
  const type = typeOf(kind);
  const data = decodeNaive(type, request);
  expectSame(decodeByProtobufjs(type, request), data);
  const expected = singles(data);
  expectSame(
    entries.map((entry) => decodeNaive(type, entry)),
    expected,
  );
  expectSame(
    entries.map((entry) => decodeByProtobufjs(type, entry)),
    expected,
  );
  expectSame(entries.map(Buffer.from), naiveEntries(request).map(Buffer.from));

  const payload = join(...entries);
  expectSame(splitPayload(payload, kind).map(Buffer.from), entries.map(Buffer.from));
  expectSame(singles(decodeNaive(type, payload)), expected);
  for (const entry of entries) {
    expectSame(splitRequest(entry, kind), [entry]);
    const { start, end } = itemOf(entry, kind);
    const item = decodeNaive(kind === 'traces' ? 'Span' : 'LogRecord', entry.subarray(start, end));
    const whole = decodeNaive(type, entry);
    expect(JSON.stringify(whole)).toContain(`[${JSON.stringify(item)}]`);
  }
  return entries;
}

describe('two decoders and the walker', () => {
  const KINDS = ['traces', 'logs'] as const;

  test('the naive decoder reads real requests as an independent schema does', () => {
    const attributes = [
      { key: 'text', value: { stringValue: 'ü' } },
      { key: 'yes', value: { boolValue: true } },
      { key: 'minus', value: { intValue: '-9223372036854775808' } },
      { key: 'half', value: { doubleValue: 0.5 } },
      { key: 'list', value: { arrayValue: { values: [{ intValue: '1' }, {}] } } },
      {
        key: 'map',
        value: { kvlistValue: { values: [{ key: 'k', value: { bytesValue: 'AP8=' } }] } },
      },
    ];
    const resource = {
      attributes,
      droppedAttributesCount: 1,
      entityRefs: [{ schemaUrl: 'u', type: 't', idKeys: ['a', 'b'], descriptionKeys: ['c'] }],
    };
    const scope = { name: 'n', version: 'v', attributes, droppedAttributesCount: 2 };
    const ids = { traceId: 'AQIDBAUGBwgJCgsMDQ4PEA==', spanId: 'AQIDBAUGBwg=' };
    const span = {
      ...ids,
      traceState: 'a=b',
      parentSpanId: 'CAcGBQQDAgE=',
      name: 'chat',
      kind: 3,
      startTimeUnixNano: '18446744073709551615',
      endTimeUnixNano: '1',
      attributes,
      droppedAttributesCount: 4294967295,
      events: [{ timeUnixNano: '2', name: 'e', attributes, droppedAttributesCount: 3 }],
      droppedEventsCount: 4,
      links: [{ ...ids, traceState: 'c=d', attributes, droppedAttributesCount: 5, flags: 257 }],
      droppedLinksCount: 6,
      status: { message: 'm', code: 2 },
      flags: 4294967295,
    };
    const logRecord = {
      ...ids,
      timeUnixNano: '1',
      severityNumber: 9,
      severityText: 'INFO',
      body: attributes[4]!.value,
      attributes,
      droppedAttributesCount: 7,
      flags: 1,
      observedTimeUnixNano: '2',
      eventName: 'e',
    };
    const requests = {
      TracesData: {
        resourceSpans: [
          { resource, schemaUrl: 'r', scopeSpans: [{ scope, schemaUrl: 's', spans: [span, {}] }] },
        ],
      },
      LogsData: {
        resourceLogs: [
          {
            resource,
            schemaUrl: 'r',
            scopeLogs: [{ scope, schemaUrl: 's', logRecords: [logRecord] }],
          },
        ],
      },
    };
    for (const [type, request] of Object.entries(requests)) {
      const bytes = encodeOtlp(type, request);
      expect(decodeOtlp(type, bytes)).toEqual(request);
      // Text, where the independent schema says it is text, is base64 here.
      const asText = JSON.parse(JSON.stringify(decodeNaive(type, bytes)), (key, value) =>
        TEXT_FIELDS.has(key) && typeof value === 'string'
          ? Buffer.from(value, 'base64').toString()
          : Array.isArray(value) && /Keys$/.test(key)
            ? value.map((part: string) => Buffer.from(part, 'base64').toString())
            : value,
      ) as unknown;
      expect(asText).toEqual(request);
    }
  });

  test.each(KINDS)('any odd request of %s is accepted, and read alike', (kind) => {
    let entryCount = 0;
    fc.assert(
      fc.property(odd(typeOf(kind)), (request) => {
        const entries = splitAndJudge(request, kind);
        if (entries === undefined) expect(codeOfRequest(request, kind)).toBe('accepted');
        entryCount += entries?.length ?? 0;
      }),
      { numRuns: 1_500 },
    );
    expect(entryCount).toBeGreaterThan(500);
  });

  test.each(KINDS)('a damaged request of %s is refused, or read alike', (kind) => {
    let acceptedCount = 0;
    const type = typeOf(kind);
    fc.assert(
      fc.property(odd(type), fc.array(EDIT, { minLength: 1, maxLength: 6 }), (request, edits) => {
        const damaged = edits.reduce(damage, request);
        if (splitAndJudge(damaged, kind) !== undefined) acceptedCount++;
      }),
      { numRuns: 6_000 },
    );
    expect(acceptedCount).toBeGreaterThan(100);
  });

  test.each(KINDS)('damage inside a resource, scope or item of %s, lengths kept right', (kind) => {
    let acceptedCount = 0;
    const edits = fc.array(EDIT, { maxLength: 3 });
    const damaged = (type: string): fc.Arbitrary<Uint8Array> =>
      fc.tuple(odd(type), edits).map(([bytes, list]) => list.reduce(damage, bytes));
    const item = damaged(kind === 'traces' ? 'Span' : 'LogRecord');
    const parts = fc.tuple(damaged('Resource'), damaged('Scope'), fc.array(item, { maxLength: 2 }));
    fc.assert(
      fc.property(parts, ([resource, scope, items]) => {
        const scopeSpans = join(field(1, scope), ...items.map((bytes) => field(2, bytes)));
        const request = inRequest(join(field(1, resource), field(2, scopeSpans)));
        if (splitAndJudge(request, kind) !== undefined) acceptedCount++;
      }),
      { numRuns: 4_000 },
    );
    expect(acceptedCount).toBeGreaterThan(100);
  });

  test.each<[string, Uint8Array, string]>([
    ['a tag of six bytes', inResource(hex('92808080800000')), 'otlp.tag'],
    ['a tag of ten bytes', inResource(hex('9280808080808080800000')), 'otlp.tag'],
    ['a length of six bytes', inScope(hex('2a81808080800061')), 'otlp.length'],
    [
      'a boolean above 64 bits',
      inScope(field(9, field(2, hex('1080808080808080808002')))),
      'otlp.varint',
    ],
    [
      'an unknown varint of eleven bytes',
      inScope(hex('a0068080808080808080808001')),
      'otlp.varint',
    ],
  ])('what the two read differently is refused: %s', (_name, bytes, code) => {
    expect(decoded(decodeNaive, 'TracesData', bytes)).not.toEqual(
      decoded(decodeByProtobufjs, 'TracesData', bytes),
    );
    expect(codeOfRequest(bytes)).toBe(code);
  });
});

const TEXT_FIELDS = new Set(
  'stringValue key schemaUrl type name version traceState message severityText eventName'.split(
    ' ',
  ),
);

/** Tokens that mean something on the wire, to be put where they mean something else. */
const TOKENS = [
  '0a',
  '12',
  '1a',
  '00',
  '80',
  'ff',
  '0a00',
  '1200',
  '1a00',
  '0800',
  '1000',
  'c23e00',
  '0b0c',
  '1314',
  '9280808010',
  '8a00',
  '7a05',
  '8000',
  'ffffffffffffffffff01',
  '0a0412021200',
  '2a0161',
  '4a020a00',
].map(hex);
interface Edit {
  readonly at: number;
  readonly length: number;
  readonly token: Uint8Array;
  readonly how: 'flip' | 'insert' | 'replace' | 'delete' | 'repeat' | 'grow';
}
const EDIT: fc.Arbitrary<Edit> = fc.record({
  at: fc.nat(1_000_000),
  length: fc.integer({ min: 1, max: 8 }),
  token: fc.oneof(fc.constantFrom(...TOKENS), fc.uint8Array({ minLength: 1, maxLength: 3 })),
  how: fc.constantFrom('flip', 'insert', 'replace', 'delete', 'repeat', 'grow'),
});

function damage(bytes: Uint8Array, { at, length, token, how }: Edit): Uint8Array {
  const start = at % (bytes.length + 1);
  const end = Math.min(bytes.length, start + length);
  const [before, part, behind] = [
    bytes.subarray(0, start),
    bytes.subarray(start, end),
    bytes.subarray(end),
  ];
  switch (how) {
    case 'flip': {
      const copy = bytes.slice();
      if (start < copy.length) copy[start]! ^= 1 << (length - 1);
      return copy;
    }
    case 'insert':
      return join(before, token, part, behind);
    case 'replace':
      return join(before, token, behind);
    case 'delete':
      return join(before, behind);
    case 'repeat':
      return join(before, part, part, behind);
    case 'grow':
      // A whole field appended at the top keeps the lengths of all others right.
      return join(bytes, field(1, join(part, token)));
  }
}
