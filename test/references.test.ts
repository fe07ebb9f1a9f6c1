// SPDX-License-Identifier: Apache-2.0
// Goal: the forwarded copy of an entry is the entry, without what came in under `aigov.audit.` and with our reference,
// and nothing else. Method: random requests, cut by the walker; what protobufjs decodes of the copy must equal what it
// decodes of the entry, edited by hand. Then bytes that protobufjs would not write: unknown fields, long lengths.
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { itemOf, splitPayload, splitRequest } from '../exporter/log/entries.ts';
import { ProtoWriter } from '../exporter/node/otlp/proto-writer.ts';
import {
  type ReferenceContext,
  type ReferencedEntries,
  writeReferenced,
} from '../exporter/node/otlp/references.ts';
import { decodeOtlp, encodeOtlp } from './support/otlp-backend.ts';

const ORIGIN = 'example.org/audit/checkout-7';

function leafOf(entry: Uint8Array): Buffer {
  return createHash('sha256').update(Uint8Array.of(0)).update(entry).digest();
}

function contextOf(
  entries: readonly Uint8Array[],
  more: Partial<ReferenceContext> = {},
): ReferenceContext {
  return {
    kind: 'traces',
    source: 'collector',
    origin: ORIGIN,
    recordIndex: 42,
    leaves: entries.map(leafOf),
    ...more,
  };
}

/** The copies behind something that was there before, which has to stay. */
function withReferences(
  entries: readonly Uint8Array[],
  context: ReferenceContext,
): Omit<ReferencedEntries, 'ends'> & { readonly parts: readonly Uint8Array[] } {
  const before = Buffer.from('before');
  const writer = new ProtoWriter(before.length);
  writer.copy(before, 0, before.length);
  const { ends, ...leftOut } = writeReferenced(writer, entries, context);
  const { buffer, at } = writer;
  expect(buffer.subarray(0, before.length)).toEqual(before);
  expect(at).toBe(ends.at(-1) ?? before.length);
  return {
    parts: ends.map((end, index) => buffer.subarray(ends[index - 1] ?? before.length, end)),
    ...leftOut,
  };
}

const key = fc.oneof(
  fc.constantFrom('gen_ai.system', 'aigov.audit', 'aigov.auditor', 'xaigov.audit.ref', ''),
  fc.constantFrom('aigov.audit.', 'aigov.audit.ref', 'aigov.audit.leaf', 'aigov.audit.é'),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
);
const { value: anyValue } = fc.letrec<{ value: Record<string, unknown> }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.record({ stringValue: fc.string({ maxLength: 200 }) }),
    fc.record({ boolValue: fc.boolean() }),
    fc.record({ intValue: fc.maxSafeInteger().map(String) }),
    fc.record({ doubleValue: fc.double({ noNaN: true }) }),
    fc.record({ bytesValue: fc.uint8Array() }),
    fc.record({ arrayValue: fc.record({ values: fc.array(tie('value'), { maxLength: 3 }) }) }),
    fc.record({
      kvlistValue: fc.record({
        values: fc.array(fc.record({ key, value: tie('value') }), { maxLength: 3 }),
      }),
    }),
  ),
}));
const attributes = fc.array(fc.record({ key, value: anyValue }), { maxLength: 6 });
const resource = fc.record({ attributes, droppedAttributesCount: fc.nat() });
const scope = fc.record({ name: fc.string(), version: fc.string(), attributes });
const schemaUrl = fc.constantFrom('', 'https://opentelemetry.io/schemas/1.40.0');
const id = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const span = fc.record({
  traceId: id(16),
  spanId: id(8),
  name: fc.string(),
  kind: fc.nat(5),
  startTimeUnixNano: fc.maxSafeInteger().map((value) => String(Math.abs(value))),
  attributes,
  events: fc.array(fc.record({ name: fc.string(), attributes }), { maxLength: 3 }),
  links: fc.array(fc.record({ spanId: id(8), attributes, flags: fc.nat() }), { maxLength: 3 }),
  status: fc.record({ message: fc.string(), code: fc.nat(2) }),
  flags: fc.nat(0x3ff),
});
const logRecord = fc.record({
  body: anyValue,
  attributes,
  flags: fc.nat(1),
  traceId: id(16),
  eventName: fc.string(),
});

function requests(kind: 'traces' | 'logs'): fc.Arbitrary<Uint8Array> {
  const [item, items, scopes, resources, type] =
    kind === 'traces'
      ? ([span, 'spans', 'scopeSpans', 'resourceSpans', 'TracesData'] as const)
      : ([logRecord, 'logRecords', 'scopeLogs', 'resourceLogs', 'LogsData'] as const);
  const few = { minLength: 1, maxLength: 3 };
  return fc
    .array(
      fc.record({
        resource,
        schemaUrl,
        [scopes]: fc.array(
          fc.record({ scope, schemaUrl, [items]: fc.array<unknown>(item, few) }),
          few,
        ),
      }),
      few,
    )
    .map((all) => encodeOtlp(type, { [resources]: all }));
}

interface Attribute {
  readonly key?: string;
}
type Message = Record<string, unknown>;

/** The same edit, on decoded objects. */
function edited(request: Message, kind: 'traces' | 'logs', reference: readonly unknown[]): Message {
  const strip = (message: unknown): void => {
    const holder = message as { attributes?: readonly Attribute[] };
    if (holder.attributes === undefined) return;
    holder.attributes = holder.attributes.filter(({ key }) => !key?.startsWith('aigov.audit.'));
    if (holder.attributes.length === 0) delete holder.attributes;
  };
  const list = (message: unknown, name: string): Message[] =>
    ((message as Message)[name] ?? []) as Message[];
  for (const outer of list(request, kind === 'traces' ? 'resourceSpans' : 'resourceLogs')) {
    if (outer.resource !== undefined) strip(outer.resource);
    for (const middle of list(outer, kind === 'traces' ? 'scopeSpans' : 'scopeLogs')) {
      if (middle.scope !== undefined) strip(middle.scope);
      for (const item of list(middle, kind === 'traces' ? 'spans' : 'logRecords')) {
        strip(item);
        for (const inner of [...list(item, 'events'), ...list(item, 'links')]) strip(inner);
        item.attributes = [...((item.attributes as unknown[]) ?? []), ...reference];
      }
    }
  }
  return request;
}

function referenceOf(entry: Uint8Array, index: number): unknown[] {
  return [
    { key: 'aigov.audit.ref', value: { stringValue: `${ORIGIN}#42/${index}` } },
    { key: 'aigov.audit.leaf', value: { stringValue: leafOf(entry).toString('base64') } },
  ];
}

describe.each(['traces', 'logs'] as const)('random requests of %s', (kind) => {
  const type = kind === 'traces' ? 'TracesData' : 'LogsData';
  test('decode to the entry, edited', () => {
    fc.assert(
      fc.property(requests(kind), (request) => {
        const entries = splitRequest(request, kind);
        const before = entries.map((entry) => Buffer.from(entry));
        const { parts, ...leftOut } = withReferences(entries, contextOf(entries, { kind }));

        expect(leftOut).toEqual({ unsampledCount: 0, unreadableCount: 0 });
        expect(parts.map((part) => decodeOtlp(type, part))).toEqual(
          entries.map((entry, index) =>
            edited(decodeOtlp(type, entry), kind, referenceOf(entry, index)),
          ),
        );
        // The stored bytes are shared with the log: they stay as they are.
        expect(entries.map((entry) => Buffer.from(entry))).toEqual(before);
        // Each copy is an entry again, and joined they are one request.
        expect(splitPayload(Buffer.concat(parts), kind).map((part) => Buffer.from(part))).toEqual(
          parts.map((part) => Buffer.from(part)),
        );
      }),
      { numRuns: 300 },
    );
  });
});

/** A length-delimited field; `padding` writes its length longer than needed, which decoders allow inside a span. */
function field(number: number, value: Uint8Array, padding = 0): Buffer {
  const length =
    padding === 0
      ? [value.length]
      : [value.length | 0x80, ...Array<number>(padding - 1).fill(0x80), 0];
  return Buffer.concat([Buffer.from([number * 8 + 2, ...length]), value]);
}

test('copies what it does not know, and how lengths were spelled, as they are', () => {
  const unknown = Buffer.from([0xa2, 0x06, 0x03, 1, 2, 3]); // field 100
  const keyValue = Buffer.concat([field(1, Buffer.from('k'), 2), unknown]);
  const forged = Buffer.concat([
    unknown,
    field(1, Buffer.from('k')),
    field(1, Buffer.from('aigov.audit.ref')),
  ]);
  // Of two keys decoders take the last: this one is called k.
  const renamed = Buffer.concat([
    field(1, Buffer.from('aigov.audit.ref')),
    field(1, Buffer.from('k')),
  ]);
  const span = Buffer.concat([
    unknown,
    field(9, keyValue, 1),
    field(9, forged),
    field(9, renamed),
    field(5, Buffer.from('chat')),
  ]);
  const scopeSpans = Buffer.concat([unknown, field(2, span)]);
  const resource = field(1, field(1, forged));
  const entry = field(1, Buffer.concat([unknown, resource, field(2, scopeSpans)]));

  const { parts } = withReferences([entry], contextOf([entry]));
  const item = itemOf(parts[0]!, 'traces');
  const reference = (name: string, value: string): Buffer =>
    field(9, Buffer.concat([field(1, Buffer.from(name)), field(2, field(1, Buffer.from(value)))]));
  expect(Buffer.from(parts[0]!.subarray(item.start, item.end)).toString('hex')).toBe(
    Buffer.concat([
      unknown,
      field(9, keyValue, 1),
      field(9, renamed),
      field(5, Buffer.from('chat')),
      reference('aigov.audit.ref', `${ORIGIN}#42/0`),
      reference('aigov.audit.leaf', leafOf(entry).toString('base64')),
    ]).toString('hex'),
  );
  const emptied = Buffer.concat([unknown, field(1, Buffer.alloc(0)), Buffer.from([0x12])]);
  expect(Buffer.from(parts[0]!).includes(emptied)).toBe(true);
});

function entryOf(flags: number | undefined): Uint8Array {
  const span = { name: 'chat', ...(flags === undefined ? {} : { flags }) };
  return encodeOtlp('TracesData', { resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] });
}

describe('the sampled bit', () => {
  const entries = [entryOf(0x101), entryOf(0x100), entryOf(undefined), entryOf(1)];
  test.each([
    ['in-process', [0, 3], 2],
    ['direct', [0, 1, 2, 3], 0],
    ['collector', [0, 1, 2, 3], 0],
  ] as const)('source %s', (source, kept, unsampledCount) => {
    const referenced = withReferences(entries, contextOf(entries, { source }));
    expect(referenced).toEqual({ parts: expect.any(Array), unsampledCount, unreadableCount: 0 });
    // The number of an entry is its number in the record, whoever was left out before it.
    expect(referenced.parts.map((part) => decodeOtlp('TracesData', part))).toEqual(
      kept.map((index) =>
        edited(
          decodeOtlp('TracesData', entries[index]!),
          'traces',
          referenceOf(entries[index]!, index),
        ),
      ),
    );
  });

  test('of log records leaves nothing out', () => {
    const entry = encodeOtlp('LogsData', {
      resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: 'x' } }] }] }],
    });
    const context = contextOf([entry], { kind: 'logs', source: 'in-process' });
    expect(withReferences([entry], context).parts.length).toBe(1);
  });
});

test('counts what is no entry instead of forwarding it', () => {
  const good = entryOf(1);
  const two = Buffer.concat([good, good]);
  const entries = [Buffer.from([0x0a, 0x7f]), two, Buffer.alloc(0), good];
  const { parts, ...leftOut } = withReferences(entries, contextOf(entries));
  expect([parts.length, leftOut]).toEqual([1, { unsampledCount: 0, unreadableCount: 3 }]);
});

test('any bytes at all: an entry stays an entry, all else is counted or stays what it is', () => {
  const isEntry = (bytes: Uint8Array): boolean => {
    try {
      itemOf(bytes, 'traces');
      return true;
    } catch {
      return false;
    }
  };
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 4 }), fc.nat(), (noise, at) => {
      const entry = Buffer.from(entryOf(1));
      noise.forEach((byte, offset) => {
        entry[(at + offset) % entry.length] = byte;
      });
      const { parts, unreadableCount } = withReferences([entry], contextOf([entry]));
      expect(parts.length + unreadableCount).toBe(1);
      if (isEntry(entry)) expect(parts.map(isEntry)).toEqual([true]);
    }),
    { numRuns: 2000 },
  );
});

test('a leaf is needed for each entry', () => {
  expect(() => withReferences([entryOf(1)], contextOf([]))).toThrow(
    new RangeError('leaves: 0 for 1 entries; give one leaf per entry'),
  );
});
