// SPDX-License-Identifier: Apache-2.0
// Goal: OTLP/JSON becomes the protobuf that says the same, to the last digit, or is refused with a code. Method: random
// requests written as JSON here and as protobuf by protobufjs, the stock JSON serializer against the stock protobuf one on
// real spans, tables of spellings, and random damage.
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { JsonTraceSerializer, ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import {
  InMemorySpanExporter,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { splitRequest } from '../exporter/log/entries.ts';
import { OtlpJsonError, transcodeJson } from '../exporter/node/otlp/otlp-json.ts';
import { decodeOtlp, encodeOtlp } from './support/otlp-backend.ts';

const utf8 = (text: string): Uint8Array => Buffer.from(text);
const traces = (json: unknown): unknown =>
  decodeOtlp('TracesData', transcodeJson(utf8(JSON.stringify(json)), 'traces'));
const logs = (json: unknown): unknown =>
  decodeOtlp('LogsData', transcodeJson(utf8(JSON.stringify(json)), 'logs'));

/** The request around one span, given as JSON text. */
const spanText = (members: string): string =>
  `{"resourceSpans":[{"scopeSpans":[{"spans":[{${members}}]}]}]}`;
const valueText = (value: string): string =>
  spanText(`"attributes":[{"key":"k","value":${value}}]`);

/** What protobufjs decodes of the one span. */
function spanOf(text: string): Record<string, unknown> {
  const { resourceSpans } = decodeOtlp('TracesData', transcodeJson(utf8(text), 'traces')) as {
    resourceSpans: { scopeSpans: { spans: Record<string, unknown>[] }[] }[];
  };
  return resourceSpans[0]!.scopeSpans[0]!.spans[0]!;
}

function anyValueOf(text: string): unknown {
  return (spanOf(valueText(text)).attributes as { value?: unknown }[])[0]!.value;
}

function codeOf(text: string | Uint8Array): string {
  try {
    transcodeJson(typeof text === 'string' ? utf8(text) : text, 'traces');
  } catch (error) {
    if (error instanceof OtlpJsonError) return error.code;
    throw error;
  }
  return 'accepted';
}

const id = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const nanos = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const word = fc.string({ unit: 'grapheme', maxLength: 30 });
const { value: anyValue } = fc.letrec<{ value: Record<string, unknown> }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.record({ stringValue: word }),
    fc.record({ boolValue: fc.boolean() }),
    fc.record({ intValue: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String) }),
    fc.record({
      doubleValue: fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number + 0),
    }),
    fc.record({ bytesValue: fc.uint8Array() }),
    fc.record({ arrayValue: fc.record({ values: fc.array(tie('value'), { maxLength: 3 }) }) }),
    fc.record({
      kvlistValue: fc.record({
        values: fc.array(fc.record({ key: word, value: tie('value') }), { maxLength: 3 }),
      }),
    }),
  ),
}));
const attributes = fc.array(fc.record({ key: word, value: anyValue }), { maxLength: 3 });
const resource = fc.record({
  attributes,
  droppedAttributesCount: uint32,
  entityRefs: fc.array(
    fc.record({
      schemaUrl: word,
      type: word,
      idKeys: fc.array(word),
      descriptionKeys: fc.array(word),
    }),
    { maxLength: 1 },
  ),
});
const scope = fc.record({ name: word, version: word, attributes, droppedAttributesCount: uint32 });
const span = fc.record(
  {
    traceId: id(16),
    spanId: id(8),
    traceState: word,
    parentSpanId: fc.oneof(id(0), id(8)),
    name: word,
    kind: fc.integer({ min: -5, max: 9 }),
    startTimeUnixNano: nanos,
    endTimeUnixNano: nanos,
    attributes,
    droppedAttributesCount: uint32,
    events: fc.array(
      fc.record({ timeUnixNano: nanos, name: word, attributes, droppedAttributesCount: uint32 }),
      { maxLength: 2 },
    ),
    droppedEventsCount: uint32,
    links: fc.array(
      fc.record({
        traceId: id(16),
        spanId: id(8),
        traceState: word,
        attributes,
        droppedAttributesCount: uint32,
        flags: uint32,
      }),
      { maxLength: 2 },
    ),
    droppedLinksCount: uint32,
    status: fc.record({ message: word, code: fc.nat(2) }),
    flags: uint32,
  },
  { requiredKeys: [] },
);
const logRecord = fc.record(
  {
    timeUnixNano: nanos,
    severityNumber: fc.nat(24),
    severityText: word,
    body: anyValue,
    attributes,
    droppedAttributesCount: uint32,
    flags: uint32,
    traceId: id(16),
    spanId: id(8),
    observedTimeUnixNano: nanos,
    eventName: word,
  },
  { requiredKeys: [] },
);
const requests = fc.oneof(
  fc.record({
    resourceSpans: fc.array(
      fc.record({
        resource,
        scopeSpans: fc.array(
          fc.record({ scope, spans: fc.array(span, { maxLength: 3 }), schemaUrl: word }),
          { maxLength: 2 },
        ),
        schemaUrl: word,
      }),
      { maxLength: 2 },
    ),
  }),
  fc.record({
    resourceLogs: fc.array(
      fc.record({
        resource,
        scopeLogs: fc.array(
          fc.record({ scope, logRecords: fc.array(logRecord, { maxLength: 3 }), schemaUrl: word }),
          { maxLength: 2 },
        ),
      }),
      { maxLength: 2 },
    ),
  }),
);

/** OTLP/JSON: ids in hex, other bytes in base64. */
function asJson(message: unknown): string {
  return JSON.stringify(message, (key, value: unknown) => {
    if (!(value instanceof Uint8Array)) return value;
    return Buffer.from(value).toString(key === 'bytesValue' ? 'base64' : 'hex');
  });
}

describe('a request', () => {
  test('says in protobuf what it said in JSON, for any spans and log records', () => {
    fc.assert(
      fc.property(requests, (message) => {
        const kind = 'resourceSpans' in message ? 'traces' : 'logs';
        const type = kind === 'traces' ? 'TracesData' : 'LogsData';
        const bytes = transcodeJson(utf8(asJson(message)), kind);
        const expected = encodeOtlp(type, message);
        // protobufjs writes the members of an explicit default; equal once decoded with all defaults filled in.
        expect(withDefaults(decodeOtlp(type, bytes))).toEqual(
          withDefaults(decodeOtlp(type, expected)),
        );
        expect(splitRequest(bytes, kind).length).toBe(splitRequest(expected, kind).length);
        expect(bytes.byteLength).toBe(bytes.buffer.byteLength);
      }),
      { numRuns: 300 },
    );
  });

  test('of the stock JSON exporter is that of the stock protobuf exporter', () => {
    const exporter = new InMemorySpanExporter();
    const provider = new TracerProvider({
      spanProcessors: [new SimpleSpanProcessor({ exporter })],
    });
    const tracer = provider.getTracer('app', '1.2.3');
    const parent = tracer.startSpan('parent', { kind: SpanKind.CLIENT });
    parent.setAttributes({ text: 'läuft "so"\n\u{1f600}', n: -7, x: 0.1, big: 2 ** 52, on: false });
    parent.setAttribute('list', ['a', 'b']);
    parent.addEvent('chunk', { size: 3 });
    parent.setStatus({ code: SpanStatusCode.ERROR, message: 'no' });
    tracer.startSpan('child', { links: [{ context: parent.spanContext() }] }).end();
    parent.end();
    const spans = exporter.getFinishedSpans();
    expect(spans.length).toBe(2);
    const bytes = transcodeJson(JsonTraceSerializer.serializeRequest(spans)!, 'traces');
    const stock = ProtobufTraceSerializer.serializeRequest(spans)!;
    expect(withDefaults(decodeOtlp('TracesData', bytes))).toEqual(
      withDefaults(decodeOtlp('TracesData', stock)),
    );
  });

  test.each([
    ['an empty one', '{}'],
    ['null', '{"resourceSpans":null}'],
    ['spaces', ' \r\n\t{ "resourceSpans" : [ ] } \n'],
    ['a list that holds no spans', '{"resourceSpans":[],"x":{"spans":[{}]},"y":1}'],
    ['only what is unknown', '{"x":{"y":[1,-2.5e+3,"\\"]}",true,false,null,{"z":[]}]}}'],
  ])('%s', (_name, text) => {
    expect(transcodeJson(utf8(text), 'traces')).toEqual(new Uint8Array(0));
  });

  test('in the spelling of the .proto file is no empty request', () => {
    expect(
      traces({ resource_spans: [{ scope_spans: [{ spans: [{ trace_id: '0a', name: 'x' }] }] }] }),
    ).toEqual({ resourceSpans: [{ scopeSpans: [{ spans: [{ traceId: 'Cg==', name: 'x' }] }] }] });
    expect(
      logs({ resource_logs: [{ scope_logs: [{ log_records: [{ event_name: 'x' }] }] }] }),
    ).toEqual({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ eventName: 'x' }] }] }] });
  });
});

/** Leaves out what is the default, as protobuf does not tell it from absence outside of an AnyValue. */
function withDefaults(value: unknown, isValue = false): unknown {
  if (Array.isArray(value)) return value.map((item) => withDefaults(item, isValue));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => isValue || !(member === '' || member === 0 || member === '0'))
      .map(([key, member]) => [
        key,
        withDefaults(member, key.endsWith('alue') || key === 'values'),
      ]),
  );
}

describe('numbers', () => {
  test.each([
    ['"startTimeUnixNano":"18446744073709551615"', { startTimeUnixNano: '18446744073709551615' }],
    ['"startTimeUnixNano":18446744073709551615', { startTimeUnixNano: '18446744073709551615' }],
    ['"startTimeUnixNano":1544712660300000001', { startTimeUnixNano: '1544712660300000001' }],
    ['"startTimeUnixNano":1.5e3', { startTimeUnixNano: '1500' }],
    ['"kind":3', { kind: 3 }],
    ['"kind":"3"', { kind: 3 }],
    ['"kind":"SPAN_KIND_CLIENT"', { kind: 3 }],
    ['"status":{"code":"STATUS_CODE_ERROR"}', { status: { code: 2 } }],
    ['"kind":0', {}],
    ['"flags":4294967295', { flags: 4294967295 }],
    ['"kind":null,"name":null,"traceId":""', {}],
  ])('%s', (members, expected) => {
    expect(spanOf(spanText(members))).toEqual(expected);
  });

  test.each([
    ['{"intValue":"-9223372036854775808"}', { intValue: '-9223372036854775808' }],
    ['{"intValue":9007199254740993}', { intValue: '9007199254740993' }],
    ['{"intValue":-1}', { intValue: '-1' }],
    ['{"intValue":0}', { intValue: '0' }],
    ['{"doubleValue":"NaN"}', { doubleValue: Number.NaN }],
    ['{"doubleValue":"-Infinity"}', { doubleValue: Number.NEGATIVE_INFINITY }],
    ['{"doubleValue":"1.5"}', { doubleValue: 1.5 }],
    ['{"doubleValue":-0.0}', { doubleValue: -0 }],
    ['{"boolValue":false}', { boolValue: false }],
    ['{"stringValue":""}', { stringValue: '' }],
    ['{"bytesValue":"_-8"}', { bytesValue: '/+8=' }],
    ['{"stringValue":null,"intValue":1}', { intValue: '1' }],
    ['{}', {}],
    ['{"unknownValue":1}', {}],
  ])('%s', (text, expected) => {
    expect(anyValueOf(text)).toEqual(expected);
  });

  test('severities by name', () => {
    const of = (severityNumber: unknown): unknown =>
      logs({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ severityNumber }] }] }] });
    expect(of('SEVERITY_NUMBER_ERROR2')).toEqual(of(18));
    expect(of('SEVERITY_NUMBER_TRACE')).toEqual(of(1));
    expect(of('SEVERITY_NUMBER_FATAL4')).toEqual(of(24));
  });
});

describe('what is no OTLP/JSON', () => {
  test.each([
    ['nothing', '', 'json.value'],
    ['a list', '[]', 'json.value'],
    ['cut off', '{"resourceSpans":[', 'json.value'],
    ['cut off in a member', '{"resourceSpans"', 'json.syntax'],
    ['cut off in a string', '{"resourceSp', 'json.syntax'],
    ['no comma', '{"a":1 "b":2}', 'json.syntax'],
    ['a comma too many', '{"a":1,}', 'json.syntax'],
    ['more behind it', '{} {}', 'json.syntax'],
    ['a name without quotes', '{a:1}', 'json.syntax'],
    ['a number that is none', '{"a":-}', 'json.syntax'],
    ['a leading zero', '{"a":01}', 'json.syntax'],
    ['a word that is none', '{"a":nil}', 'json.syntax'],
    ['a line feed in a string', '{"a":"\n"}', 'json.syntax'],
    ['an escape that is none', '{"a":"\\x"}', 'json.syntax'],
    ['an object for a list', '{"resourceSpans":{}}', 'json.value'],
    ['a text for an object', '{"resourceSpans":["x"]}', 'json.value'],
    ['a number for a text', spanText('"name":7'), 'json.syntax'],
    ['a member twice', spanText('"name":"a","name":"b"'), 'json.value'],
    ['a member in both spellings', spanText('"traceId":"","trace_id":"0a"'), 'json.value'],
    ['two values', valueText('{"stringValue":"a","intValue":1}'), 'json.value'],
    ['an id in base64', spanText('"traceId":"S/kvNXezTaajzpKdDg5HNg=="'), 'json.value'],
    ['half a byte', spanText('"traceId":"abc"'), 'json.value'],
    ['no base64', valueText('{"bytesValue":"*"}'), 'json.value'],
    ['a negative count', spanText('"droppedEventsCount":-1'), 'json.value'],
    ['a count of 33 bits', spanText('"droppedEventsCount":4294967296'), 'json.value'],
    ['a time of 65 bits', spanText('"startTimeUnixNano":"18446744073709551616"'), 'json.value'],
    ['endless digits', spanText(`"startTimeUnixNano":${'9'.repeat(10_000)}`), 'json.value'],
    ['a fraction', spanText('"kind":1.5'), 'json.value'],
    ['a fraction as text', spanText('"kind":"1.0"'), 'json.value'],
    ['another kind', spanText('"kind":"SPAN_KIND_SERVERLESS"'), 'json.value'],
    ['a text for a flag', valueText('{"boolValue":"true"}'), 'json.value'],
    ['a word for a number', valueText('{"doubleValue":"x"}'), 'json.value'],
    // As in protobuf (FORMAT.md, field 1000): spans under a name that nobody reads must not be answered with success.
    ['spans of old', '{"resourceSpans":[{"instrumentationLibrarySpans":[]}]}', 'json.value'],
    [
      'spans of old, in snake case',
      '{"resourceSpans":[{"x":1,"instrumentation_library_spans": [{}]}]}',
      'json.value',
    ],
    ['a list in other letters', '{"ResourceSpans":[]}', 'json.value'],
    ['spans in other letters', '{"resourceSpans":[{"scopeSpans":[{"Spans":[{}]}]}]}', 'json.value'],
    ['logs for traces', '{"resourceLogs":[{}]}', 'json.value'],
  ])('%s', (_name, text, code) => {
    expect(codeOf(text)).toBe(code);
  });

  test('no UTF-8', () => {
    expect(codeOf(Uint8Array.of(0x7b, 0xff, 0x7d))).toBe('json.syntax');
  });

  test.each([
    ['values', valueText('{"arrayValue":{"values":['.repeat(5000))],
    ['unknown lists', `{"x":{"x":${'['.repeat(100_000)}`],
    ['unknown objects', `{"x":${'{"x":'.repeat(100_000)}`],
  ])('%s in values without end', (_name, text) => {
    expect(codeOf(text)).toBe('json.depth');
  });

  test('as deep as the walker goes is not too deep', () => {
    const deep = (count: number): string =>
      valueText(`${'{"arrayValue":{"values":['.repeat(count)}{"intValue":1}${']}}'.repeat(count)}`);
    const bytes = transcodeJson(utf8(deep(42)), 'traces');
    expect(splitRequest(bytes, 'traces').length).toBe(1);
    expect(() => splitRequest(transcodeJson(utf8(deep(43)), 'traces'), 'traces')).toThrow(/deep/);
  });

  test('the message tells the place, never the text', () => {
    expect(() => transcodeJson(utf8(spanText('"traceId":"secret"')), 'traces')).toThrow(
      /^json: no hex \(character [0-9]+\)$/,
    );
  });
});

test('random damage is refused with a code, or gives what the walker takes', () => {
  const good = asJson({
    resourceSpans: [
      {
        resource: { attributes: [{ key: 'a', value: { intValue: '7' } }] },
        scopeSpans: [{ scope: { name: 's' }, spans: [{ traceId: '0a', name: 'x"y', kind: 3 }] }],
      },
    ],
  });
  const codes = new Set<string>();
  const edit = fc.record({ at: fc.nat(good.length), text: fc.constantFrom(...'{}[]",:\\0a-.') });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), fc.boolean(), (edits, replaces) => {
      let text = good;
      for (const { at, text: put } of edits) {
        text = text.slice(0, at) + put + text.slice(replaces ? at + 1 : at);
      }
      const code = codeOf(text);
      codes.add(code);
      if (code === 'accepted') {
        JSON.parse(text);
        splitRequest(transcodeJson(utf8(text), 'traces'), 'traces');
      }
    }),
    { numRuns: 3000 },
  );
  expect(codes).toEqual(new Set(['accepted', 'json.syntax', 'json.value']));
});
