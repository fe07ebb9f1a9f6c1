// SPDX-License-Identifier: Apache-2.0
// Goal: after a policy a request is what it was, but for the attributes that the policy names and the spans that the filter
// leaves out. Method: random requests; what protobufjs decodes of the result must equal what it decodes of the request,
// edited by hand. Then bytes that protobufjs would not write, and names as the conventions publish them.
import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { splitRequest } from '../exporter/log/entries.ts';
import { REQUEST_ENTRY_COUNT_MAX } from '../exporter/log/limits.ts';
import {
  BODY_KEY,
  CONTENT_KEYS,
  type ContentRules,
  isContentKey,
  type Treatment,
} from '../exporter/node/config/content-judge.ts';
import { createContentPolicy } from '../exporter/node/gateway/content-policy.ts';
import { sha256 } from '../exporter/node/system/keys.ts';
import { isGoverned } from '../semconv/index.ts';
import { codeOf } from './support/log-error.ts';
import { decodeOtlp, encodeOtlp } from './support/otlp-backend.ts';

const KEY = { id: 'sha256:0011223344556677', secret: new Uint8Array(32).fill(7) };
const digestOf = (content: Uint8Array | string): string =>
  `hmac-sha256:${createHmac('sha256', KEY.secret).update(content).digest('hex')}`;

const rules = (
  content: Treatment,
  attributes: Readonly<Record<string, Treatment>> = {},
): ContentRules => ({ content, attributes });

describe('names', () => {
  test.each([
    // GenAI conventions, now and formerly.
    'gen_ai.input.messages',
    'gen_ai.output.messages',
    'gen_ai.system_instructions',
    'gen_ai.tool.definitions',
    'gen_ai.tool.call.arguments',
    'gen_ai.tool.call.result',
    'gen_ai.retrieval.query.text',
    'gen_ai.retrieval.documents',
    'gen_ai.prompt',
    'gen_ai.completion',
    // OpenLLMetry.
    'gen_ai.prompt.0.content',
    'gen_ai.prompt.12.tool_calls.0.arguments',
    'gen_ai.completion.0.content',
    'traceloop.entity.input',
    'traceloop.entity.output',
    'llm.request.functions.0.parameters',
    // OpenInference.
    'input.value',
    'output.value',
    'llm.input_messages.0.message.content',
    'llm.output_messages.3.message.tool_calls.0.tool_call.function.arguments',
    'llm.prompts.0.prompt.text',
    'llm.tools.0.tool.json_schema',
    'llm.prompt_template.variables',
    'tool.parameters',
    'retrieval.documents.0.document.content',
    'embedding.embeddings.0.embedding.text',
    'reranker.query',
    // Vercel AI SDK.
    'ai.prompt',
    'ai.prompt.messages',
    'ai.prompt.tools',
    'ai.response.text',
    'ai.response.object',
    'ai.response.toolCalls',
    'ai.toolCall.args',
    'ai.toolCall.result',
    'ai.value',
    'ai.embedding',
    // Langfuse.
    'langfuse.observation.input',
    'langfuse.observation.output',
    'langfuse.trace.input',
    'langfuse.trace.output',
  ])('%s is content', (key) => {
    expect(isContentKey(key)).toBe(true);
  });

  test.each([
    'gen_ai.prompt.name',
    'gen_ai.prompt.version',
    'gen_ai.prompt.0.role',
    'gen_ai.completion.0.finish_reason',
    'llm.input_messages.0.message.role',
    'gen_ai.request.model',
    'gen_ai.usage.input_tokens',
    'gen_ai.tool.name',
    'gen_ai.tool.call.id',
    'gen_ai.prompts',
    'xgen_ai.prompt',
    'input.valued',
    'input_value',
    'inputXvalue',
    'ai.response.id',
    'ai.response.model',
    'llm.model_name',
    'llm.token_count.prompt',
    'traceloop.entity.name',
    'langfuse.observation.type',
    'aigov.input.digest',
    'http.request.method',
    '',
  ])('%j is none', (key) => {
    expect(isContentKey(key)).toBe(false);
  });
});

describe('the policy', () => {
  test('is named by its whole text, which the key is part of', () => {
    const policy = createContentPolicy(rules('digest', { b: 'drop', a: 'keep' }), KEY);
    expect(policy.id).toBe(
      `content/${Buffer.from(sha256(Buffer.from(policy.document))).toString('hex', 0, 16)}`,
    );
    expect(JSON.parse(policy.document)).toEqual({
      content: 'digest',
      contentKeys: CONTENT_KEYS,
      attributes: { a: 'keep', b: 'drop' },
      digest: { algorithm: 'hmac-sha256', key: KEY.id },
    });
    expect(policy.document).not.toContain(Buffer.from(KEY.secret).toString('base64'));
  });

  test('has one id for one meaning, and another for another', () => {
    const id = (given: ContentRules, key = KEY) => createContentPolicy(given, key).id;
    expect(id(rules('digest', { a: 'keep', b: 'drop' }))).toBe(
      id(rules('digest', { b: 'drop', a: 'keep' })),
    );
    const ids = [
      id(rules('digest')),
      id(rules('drop')),
      id(rules('digest', { a: 'drop' })),
      id(rules('digest'), { ...KEY, id: 'another' }),
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('is verbatim where everything is kept', () => {
    expect(createContentPolicy(rules('keep'), undefined).id).toBe('verbatim');
    expect(createContentPolicy(rules('keep', { 'input.value': 'keep' }), undefined).id).toBe(
      'verbatim',
    );
    expect(createContentPolicy(rules('keep', { x: 'drop' }), undefined).id).not.toBe('verbatim');
  });

  test.each([rules('digest'), rules('keep', { x: 'digest' })])(
    'needs a key for digests',
    (given) => {
      expect(() => createContentPolicy(given, undefined)).toThrow(TypeError);
    },
  );
});

interface Pair {
  readonly key: string;
  readonly value?: unknown;
}

const text = (key: string, stringValue: string): Pair => ({ key, value: { stringValue } });

const request = (span: object, scope: object = { name: 'app' }): Uint8Array =>
  encodeOtlp('TracesData', { resourceSpans: [{ scopeSpans: [{ scope, spans: [span] }] }] });

/** Attributes of the one span after a policy. */
function spanAfter(given: ContentRules, attributes: readonly Pair[]): unknown {
  const policy = createContentPolicy(given, KEY);
  const { bytes } = policy.apply(request({ name: 'chat', attributes }), 'traces', 'all');
  return decodeOtlp('TracesData', bytes);
}

const asWritten = (...attributes: Pair[]): unknown =>
  decodeOtlp('TracesData', request({ name: 'chat', attributes }));

describe('rules', () => {
  test('keep, digest and drop', () => {
    const given = [text('input.value', 'secret'), text('user.id', 'u1')];
    expect(spanAfter(rules('keep', { x: 'drop' }), given)).toEqual(asWritten(...given));
    expect(spanAfter(rules('drop'), given)).toEqual(asWritten(text('user.id', 'u1')));
    expect(spanAfter(rules('digest'), given)).toEqual(
      asWritten(text('input.value', digestOf('secret')), text('user.id', 'u1')),
    );
  });

  test('exact names win over prefixes, longer over shorter, any over the conventions', () => {
    const given = rules('digest', {
      'a.*': 'drop',
      'a.b.*': 'keep',
      'a.b.c': 'digest',
      'input.value': 'keep',
      'läuft.*': 'drop',
    });
    expect(
      spanAfter(given, [
        text('a.x', '1'),
        text('a.b.x', '2'),
        text('a.b.c', '3'),
        text('a', '4'),
        text('input.value', '5'),
        text('output.value', '6'),
        text('läuft.so', '7'),
      ]),
    ).toEqual(
      asWritten(
        text('a.b.x', '2'),
        text('a.b.c', digestOf('3')),
        text('a', '4'),
        text('input.value', '5'),
        text('output.value', digestOf('6')),
      ),
    );
  });

  test('many names do not fill the memory of decisions, nor change them', () => {
    const policy = createContentPolicy(rules('drop'), undefined);
    for (let round = 0; round < 3; round++) {
      const attributes = Array.from({ length: 3000 }, (_, at) => text(`${round}.${at}`, 'x'));
      const given = request({ attributes: [...attributes, text('input.value', 'x')] });
      expect(decodeOtlp('TracesData', policy.apply(given, 'traces', 'all').bytes)).toEqual(
        decodeOtlp('TracesData', request({ attributes })),
      );
    }
  });

  test('a value that is no text is digested as the bytes of its AnyValue', () => {
    const value = { arrayValue: { values: [{ stringValue: 'a' }, { intValue: '7' }] } };
    expect(spanAfter(rules('digest'), [{ key: 'ai.values', value }])).toEqual(
      asWritten(text('ai.values', digestOf(encodeOtlp('AnyValue', value)))),
    );
    expect(spanAfter(rules('digest'), [{ key: 'ai.values' }])).toEqual(
      asWritten({ key: 'ai.values' }),
    );
  });
});

const key = fc.oneof(
  fc.constantFrom('input.value', 'gen_ai.prompt.0.content', 'gen_ai.prompt.0.role', 'dropped'),
  fc.constantFrom('gen_ai.request.model', 'kept', '', 'constructor', '__proto__', 'event.name'),
  fc.string({ unit: 'grapheme', maxLength: 20 }),
);
const { value: anyValue } = fc.letrec<{ value: Record<string, unknown> }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.record({ stringValue: fc.string({ unit: 'grapheme', maxLength: 200 }) }),
    fc.record({ stringValue: fc.constantFrom('gen_ai.choice', 'gen_ai', '') }),
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
const attributes = fc.array(fc.record({ key, value: anyValue }), { maxLength: 5 });
const resource = fc.record({ attributes });
const scope = fc.record({
  name: fc.constantFrom('app', 'ai', 'langfuse-sdk', 'sealspan'),
  attributes,
});
const span = fc.record({
  name: fc.string(),
  attributes,
  events: fc.array(fc.record({ name: fc.string(), attributes }), { maxLength: 2 }),
  links: fc.array(fc.record({ spanId: fc.uint8Array(), attributes }), { maxLength: 2 }),
  flags: fc.nat(300),
});
const traces = fc.record({
  resourceSpans: fc.array(
    fc.record({
      resource,
      scopeSpans: fc.array(fc.record({ scope, spans: fc.array(span, { maxLength: 4 }) }), {
        maxLength: 3,
      }),
      schemaUrl: fc.string(),
    }),
    { maxLength: 3 },
  ),
});
const logRecord = fc.record({
  body: anyValue,
  attributes,
  eventName: fc.constantFrom('', 'gen_ai.choice', 'gen_ai', 'click'),
});
const logs = fc.record({
  resourceLogs: fc.array(
    fc.record({
      resource,
      scopeLogs: fc.array(fc.record({ scope, logRecords: fc.array(logRecord, { maxLength: 4 }) }), {
        maxLength: 3,
      }),
    }),
    { maxLength: 3 },
  ),
});

const RULES = rules('digest', { dropped: 'drop', 'ke*': 'digest', kept: 'keep' });

/** The policy of RULES on one attribute list, by hand. */
function edited(list: readonly Pair[]): Pair[] {
  return list.flatMap((pair) => {
    if (pair.key === 'dropped') return [];
    const named = pair.key.startsWith('ke') && pair.key !== 'kept';
    if (!named && !['input.value', 'gen_ai.prompt.0.content'].includes(pair.key)) return [pair];
    return [text(pair.key, digestOf(contentOf(pair.value)))];
  });
}

function contentOf(value: unknown): Uint8Array | string {
  const { stringValue } = value as { stringValue?: string };
  return stringValue ?? encodeOtlp('AnyValue', value as Record<string, unknown>);
}

type Item = { readonly attributes: readonly Pair[] } & Readonly<Record<string, unknown>>;

function isGovernedItem(scopeName: string, item: Item): boolean {
  const facts = Object.fromEntries(item.attributes.map((pair) => [pair.key, true]));
  if (isGoverned({ scopeName, attributes: facts })) return true;
  if (!('body' in item)) return false;
  const names = item.attributes
    .filter((pair) => pair.key === 'event.name')
    .map((pair) => (pair.value as { stringValue?: string }).stringValue ?? '');
  return [String(item.eventName), ...names].some((name) => name.startsWith('gen_ai.'));
}

function editedItem(scopeName: string, item: Item): Item {
  const lists = Object.fromEntries(
    ['events', 'links'].flatMap((name) => {
      const list = item[name] as readonly Item[] | undefined;
      return list === undefined
        ? []
        : [[name, list.map((one) => ({ ...one, attributes: edited(one.attributes) }))]];
    }),
  );
  const body =
    'body' in item && isGovernedItem(scopeName, item)
      ? { body: text('', digestOf(contentOf(item.body))).value }
      : {};
  return { ...item, ...lists, ...body, attributes: edited(item.attributes) };
}

type Group = Readonly<Record<string, unknown>>;

function editedRequest(given: unknown, isFiltered: boolean, isEdited: boolean): [unknown, number] {
  let skippedCount = 0;
  const walk = (group: Group, names: readonly string[]): Group => {
    const [name, ...rest] = names;
    const context = (list: Group): Group =>
      isEdited ? { ...list, attributes: edited(list.attributes as Pair[]) } : list;
    const out: Record<string, unknown> = { ...group };
    for (const of of ['resource', 'scope']) {
      if (of in group) out[of] = context(group[of] as Group);
    }
    if (name === undefined) return out;
    if (rest.length > 0) {
      out[name] = (group[name] as Group[]).map((child) => walk(child, rest));
      return out;
    }
    const scopeName = String((group.scope as Group).name);
    const items = (group[name] as Item[]).filter(
      (item) => !isFiltered || isGovernedItem(scopeName, item),
    );
    skippedCount += (group[name] as Item[]).length - items.length;
    out[name] = isEdited ? items.map((item) => editedItem(scopeName, item)) : items;
    return out;
  };
  const isTraces = 'resourceSpans' in (given as Group);
  const edit = walk(
    given as Group,
    isTraces
      ? ['resourceSpans', 'scopeSpans', 'spans']
      : ['resourceLogs', 'scopeLogs', 'logRecords'],
  );
  return [edit, skippedCount];
}

describe('random requests', () => {
  const cases: readonly [string, ContentRules, 'all' | 'governed'][] = [
    ['edited, whole', RULES, 'all'],
    ['edited, governed', RULES, 'governed'],
    ['verbatim, governed', rules('keep'), 'governed'],
  ];
  test.each(cases)('%s', (_name, given, filter) => {
    const policy = createContentPolicy(given, KEY);
    fc.assert(
      fc.property(fc.oneof(traces, logs), (message) => {
        const kind = 'resourceSpans' in message ? 'traces' : 'logs';
        const type = kind === 'traces' ? 'TracesData' : 'LogsData';
        const before = encodeOtlp(type, message);
        const applied = policy.apply(before, kind, filter);
        const [edit, skippedCount] = editedRequest(message, filter === 'governed', given === RULES);
        const expected = encodeOtlp(type, edit as Record<string, unknown>);
        expect(decodeOtlp(type, applied.bytes)).toEqual(decodeOtlp(type, expected));
        expect(applied.skippedCount).toBe(skippedCount);
        expect(applied.itemCount).toBe(splitRequest(before, kind).length);
        expect(splitRequest(applied.bytes, kind).length).toBe(applied.itemCount - skippedCount);
      }),
      { numRuns: 200 },
    );
  });

  test('verbatim and whole is the very same array', () => {
    const policy = createContentPolicy(rules('keep'), undefined);
    fc.assert(
      fc.property(traces, (message) => {
        const before = encodeOtlp('TracesData', message);
        expect(policy.apply(before, 'traces', 'all').bytes).toBe(before);
      }),
    );
  });
});

const hex = (digits: string): Uint8Array =>
  Uint8Array.from(Buffer.from(digits.replaceAll(' ', ''), 'hex'));
const wrap = (field: number, ...parts: readonly Uint8Array[]): Uint8Array => {
  const value = Buffer.concat(parts);
  expect(value.length).toBeLessThan(128);
  return Buffer.concat([Uint8Array.of(field * 8 + 2, value.length), value]);
};
const spanOf = (...fields: readonly Uint8Array[]): Uint8Array =>
  wrap(1, wrap(2, wrap(2, ...fields)));
const utf8 = (given: string): Uint8Array => Buffer.from(given);

describe('more than anybody sends', () => {
  const lengthOf = (length: number): number[] =>
    length < 128 ? [length] : [(length % 128) | 128, ...lengthOf(Math.floor(length / 128))];
  const inside = (tag: number, content: Uint8Array): Uint8Array =>
    Buffer.concat([Buffer.of(tag, ...lengthOf(content.length)), content]);
  const empty = (tag: number, count: number): Uint8Array =>
    Buffer.alloc(2 * count, Buffer.of(tag, 0));
  const MAX = REQUEST_ENTRY_COUNT_MAX;

  test.each<[string, (count: number) => Uint8Array]>([
    ['resources', (count) => empty(0x0a, count)],
    ['scopes', (count) => inside(0x0a, empty(0x12, count - 1))],
    ['items', (count) => inside(0x0a, inside(0x12, empty(0x12, count - 2)))],
  ])('%s are refused before they are walked', (_name, request) => {
    for (const [policy, filter] of [
      [createContentPolicy(RULES, KEY), 'governed'],
      [createContentPolicy(rules('keep'), undefined), 'all'],
    ] as const) {
      for (const kind of ['traces', 'logs'] as const) {
        const run = (count: number) => codeOf(() => policy.apply(request(count), kind, filter));
        expect([run(MAX), run(MAX + 1)]).toEqual(['accepted', 'otlp.entry-count']);
      }
    }
  });
});

describe('bytes that nobody decent writes', () => {
  const policy = createContentPolicy(rules('digest'), KEY);
  const dropping = createContentPolicy(rules('drop'), undefined);
  const applied = (bytes: Uint8Array) => Buffer.from(policy.apply(bytes, 'traces', 'all').bytes);

  test('what is not touched stays as it stands: unknown fields, long lengths, order', () => {
    // Length of the name 3 in two bytes, an unknown field 100 before the attribute and one in its neighbour.
    const before = [hex('2a 8300 616263'), hex('a2 06 01 78'), wrap(9, wrap(1, utf8('k')))];
    const behind = [wrap(9, wrap(1, utf8('k')), hex('a2 06 01 79')), hex('30 01')];
    const secret = wrap(9, wrap(1, utf8('input.value')), wrap(2, wrap(1, utf8('x'))));
    const bytes = spanOf(...before, secret, ...behind);
    expect(Buffer.from(dropping.apply(bytes, 'traces', 'all').bytes)).toEqual(
      Buffer.from(spanOf(...before, ...behind)),
    );
  });

  test('of a key that stands twice the last counts', () => {
    const value = wrap(2, wrap(1, utf8('x')));
    const hidden = spanOf(wrap(9, wrap(1, utf8('k')), value, wrap(1, utf8('input.value'))));
    expect(applied(hidden).includes(digestOf('x'))).toBe(true);
    const shown = spanOf(wrap(9, wrap(1, utf8('input.value')), value, wrap(1, utf8('k'))));
    expect(policy.apply(shown, 'traces', 'all').bytes).toBe(shown);
  });

  test('a value that stands twice is gone, both of it, also where the second is empty', () => {
    const attribute = wrap(
      9,
      wrap(1, utf8('input.value')),
      wrap(2, wrap(1, utf8('secret'))),
      wrap(2),
    );
    const bytes = applied(spanOf(attribute));
    expect(bytes.includes('secret')).toBe(false);
    expect(bytes.includes(digestOf('secret'))).toBe(true);
  });

  test('what stands beside key and value is gone with the value', () => {
    const attribute = wrap(
      9,
      wrap(1, utf8('input.value')),
      wrap(2, wrap(1, utf8('x'))),
      wrap(3, utf8('secret')),
    );
    expect(applied(spanOf(attribute)).includes('secret')).toBe(false);
  });

  test('a body that stands twice is gone, both of it', () => {
    const bytes = spanOf(
      wrap(5, wrap(1, utf8('secret'))),
      wrap(12, utf8('gen_ai.choice')),
      wrap(5, wrap(1, utf8('secret'))),
    );
    const result = Buffer.from(policy.apply(bytes, 'logs', 'all').bytes);
    expect(result.includes('secret')).toBe(false);
    expect(result.includes(digestOf('secret'))).toBe(true);
  });

  test('a scope behind its spans counts for them', () => {
    const bytes = wrap(1, wrap(2, wrap(2, wrap(5, utf8('s'))), wrap(1, wrap(1, utf8('sealspan')))));
    expect(policy.apply(bytes, 'traces', 'governed')).toEqual({
      bytes,
      itemCount: 1,
      skippedCount: 0,
    });
  });

  test.each([
    ['a length past the end', hex('0a 05 12 00'), 'otlp.truncated'],
    [
      'a value of another wire type',
      spanOf(wrap(9, wrap(1, utf8('input.value')), hex('10 01'))),
      'otlp.wire-type',
    ],
    [
      'an AnyValue that is none',
      spanOf(wrap(9, wrap(1, utf8('input.value')), wrap(2, hex('0a 09')))),
      'otlp.truncated',
    ],
  ])('%s is refused', (_name, bytes, code) => {
    expect(codeOf(() => policy.apply(bytes, 'traces', 'all'))).toBe(code);
  });

  test('a rule for bodies has a name of its own', () => {
    const keeping = createContentPolicy(rules('digest', { [BODY_KEY]: 'keep' }), KEY);
    const bytes = spanOf(wrap(5, wrap(1, utf8('shown'))), wrap(12, utf8('gen_ai.choice')));
    expect(keeping.apply(bytes, 'logs', 'all').bytes).toBe(bytes);
    const without = dropping.apply(bytes, 'logs', 'all').bytes;
    expect(Buffer.from(without)).toEqual(Buffer.from(spanOf(wrap(12, utf8('gen_ai.choice')))));
  });
});
