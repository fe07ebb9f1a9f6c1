// SPDX-License-Identifier: Apache-2.0
/**
 * Spans as agents and their models leave them: traces of 50, from 1 to 64 kB, content recorded or not. The same seed gives
 * the same spans, except for what an SDK makes itself, ids and times. No text of anybody: words are drawn from a list.
 */
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  SpanKind,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { encodeTraces } from '../../../exporter/node/otlp/otlp-writer.ts';
import type { ReadableSpanLike } from '../../../exporter/node/otlp/sdk-shapes.ts';

/** Spans of one trace: an agent, and the models and tools that it calls. */
export const TRACE_SPAN_COUNT: number = 50;

export interface SpanStyle {
  readonly seed: number;
  /** Of one span in OTLP protobuf. What the attributes leave of it, content fills; below 1 kB or so nothing is left. */
  readonly byteLength: number;
  /** `off`: digests stand for prompts and answers. `bare`: no more than a name and an operation, for very many. */
  readonly content: 'off' | 'on' | 'bare';
}

/** What a span has when it starts and what is added when it ends. */
export interface SpanShape {
  readonly name: string;
  readonly kind: SpanKind;
  readonly atStart: Attributes;
  readonly atEnd: Attributes;
}

/** Numbers from 0 (included) to 1, from a seed: mulberry32. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Random = () => number;

export function hexOf(random: Random, byteLength: number): string {
  let hex = '';
  while (hex.length < byteLength * 2) {
    hex += Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, '0');
  }
  return hex.slice(0, byteLength * 2);
}

const WORDS = (
  'the of and to a in is that for it as was with be by on not he his but at are this have from or had an they ' +
  'which one you were all her she there would their we him been has when who will no more if out so up said ' +
  'what its about than into them can only other time new some could these two may first then do any like my now ' +
  'over such our man me even most made after also did many off before must well back through years much where ' +
  'your way down should because long each just state those people too mr how little good world make very year ' +
  'still see own work men day get here old between both life being under three never know same last another ' +
  'account applicant income policy claim invoice shipment refund contract threshold evidence employer salary ' +
  'liability reference document attached request response tool query result total amount currency customer'
).split(' ');

/** Text of so many characters, common words more often than rare ones. */
function textOf(random: Random, length: number): string {
  const words: string[] = [];
  let written = 0;
  while (written < length) {
    const word = WORDS[Math.floor(random() * random() * WORDS.length)]!;
    words.push(word);
    written += word.length + 1;
  }
  return words.join(' ').slice(0, length);
}

const MODELS = ['small-2026-08-01', 'large-2026-05-12', 'reason-2026-03-30'];
const TOOLS = ['lookup_customer', 'search_documents', 'score_application', 'send_message'];
const pick = <Value>(random: Random, values: readonly Value[]): Value =>
  values[Math.floor(random() * values.length)]!;

const GOVERNANCE: Attributes = {
  'aigov.schema.version': '0.1.0',
  'aigov.system.id': 'loan-precheck',
  'aigov.system.version': '2026.11.2',
  'aigov.purpose.id': 'loan-precheck',
  'aigov.actor.id': 'loan-service',
  'aigov.actor.type': 'service',
};

function contentOf(random: Random, style: SpanStyle, byteLength: number): Attributes {
  if (style.content !== 'on') {
    return {
      'aigov.content.policy': 'digest',
      'aigov.digest.alg': 'hmac-sha256',
      'aigov.digest.key_id': 'sha256:1c26267bb0e6228c',
      'aigov.input.length': Math.floor(random() * 8000),
      'aigov.output.length': Math.floor(random() * 2000),
      'aigov.input.digest': `hmac-sha256:${hexOf(random, 32)}`,
      'aigov.output.digest': `hmac-sha256:${hexOf(random, 32)}`,
    };
  }
  const message = (role: string, length: number): string =>
    JSON.stringify([{ role, parts: [{ type: 'text', content: textOf(random, length) }] }]);
  const outputLength = Math.floor(byteLength / 4);
  return {
    'gen_ai.input.messages': message('user', Math.max(1, byteLength - outputLength)),
    'gen_ai.output.messages': message('assistant', Math.max(1, outputLength)),
  };
}

function shapeOf(random: Random, style: SpanStyle, position: number): SpanShape {
  const agent = { 'gen_ai.agent.name': 'loan-agent', 'gen_ai.agent.id': 'agent-7c1d' };
  const subject = { 'aigov.subject.ref': `s-${hexOf(random, 4)}` };
  const build = (byteLength: number): SpanShape => {
    const content = contentOf(random, style, byteLength);
    const complete = { 'aigov.invocation.completion': 'complete' };
    if (style.content === 'bare') {
      const atStart = { 'gen_ai.operation.name': 'chat' };
      return { name: 'chat', kind: SpanKind.CLIENT, atStart, atEnd: {} };
    }
    if (position === 0) {
      return {
        name: 'invoke_agent loan-agent',
        kind: SpanKind.INTERNAL,
        atStart: { 'gen_ai.operation.name': 'invoke_agent', ...agent, ...GOVERNANCE, ...subject },
        atEnd: { ...content, ...complete },
      };
    }
    if (position % 2 === 0) {
      const tool = pick(random, TOOLS);
      return {
        name: `execute_tool ${tool}`,
        kind: SpanKind.INTERNAL,
        atStart: {
          'gen_ai.operation.name': 'execute_tool',
          'gen_ai.tool.name': tool,
          'gen_ai.tool.type': 'function',
          'gen_ai.tool.call.id': `call_${hexOf(random, 12)}`,
          ...GOVERNANCE,
          ...subject,
        },
        atEnd: { ...content, ...complete },
      };
    }
    const model = pick(random, MODELS);
    return {
      name: `chat ${model}`,
      kind: SpanKind.CLIENT,
      atStart: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': 'openai',
        'gen_ai.request.model': model,
        'server.address': 'api.example.org',
        'server.port': 443,
        ...GOVERNANCE,
        ...subject,
      },
      atEnd: {
        'gen_ai.response.model': model,
        'gen_ai.response.id': `chatcmpl-${hexOf(random, 12)}`,
        'gen_ai.response.finish_reasons': ['stop'],
        'gen_ai.usage.input_tokens': Math.floor(random() * 4000),
        'gen_ai.usage.output_tokens': Math.floor(random() * 900),
        ...content,
        ...complete,
      },
    };
  };
  if (style.content !== 'on') return build(0);
  const empty = encodeTraces([readableOf(random, build(0), '0'.repeat(32), undefined, 0)]).length;
  return build(Math.max(0, style.byteLength - empty));
}

/** Shapes of `traceCount` traces, one behind the other. */
export function spanShapes(style: SpanStyle, traceCount: number): SpanShape[] {
  const random = randomOf(style.seed);
  return Array.from({ length: traceCount * TRACE_SPAN_COUNT }, (_, position) =>
    shapeOf(random, style, position % TRACE_SPAN_COUNT),
  );
}

/** Makes spans of an SDK, one at each call: the shapes in turn, children under the agent that began their trace. */
export function spanMaker(tracer: Tracer, shapes: readonly SpanShape[]): () => void {
  let at = 0;
  let agent: Context = ROOT_CONTEXT;
  return () => {
    const shape = shapes[at % shapes.length]!;
    const isAgent = at % TRACE_SPAN_COUNT === 0;
    at++;
    const { name, kind, atStart, atEnd } = shape;
    const span = tracer.startSpan(
      name,
      { kind, attributes: atStart },
      isAgent ? ROOT_CONTEXT : agent,
    );
    if (isAgent) agent = trace.setSpan(ROOT_CONTEXT, span);
    span.setAttributes(atEnd);
    span.end();
  };
}

const RESOURCE = {
  attributes: {
    'service.name': 'loan-service',
    'service.version': '2026.11.2',
    'service.instance.id': 'loan-service-7d9f',
    'telemetry.sdk.language': 'nodejs',
    'telemetry.sdk.name': 'opentelemetry',
    'telemetry.sdk.version': '3.1.0',
    'host.name': 'node-17',
  },
};
const SCOPE = { name: 'sealspan', version: '0.1.0' };
const START_SECONDS = 1_795_392_000;

function readableOf(
  random: Random,
  shape: SpanShape,
  traceId: string,
  parentSpanId: string | undefined,
  position: number,
): ReadableSpanLike {
  const context = { traceId, spanId: hexOf(random, 8), traceFlags: 1 };
  const startNs = Math.floor(random() * 1e9);
  return {
    name: shape.name,
    kind: shape.kind,
    spanContext: () => context,
    parentSpanContext:
      parentSpanId === undefined ? undefined : { traceId, spanId: parentSpanId, traceFlags: 1 },
    startTime: [START_SECONDS + position, startNs],
    endTime: [START_SECONDS + position + 1, startNs],
    status: { code: 0 },
    attributes: { ...shape.atStart, ...shape.atEnd },
    links: [],
    events: [],
    resource: RESOURCE,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  } as ReadableSpanLike;
}

/** OTLP requests of `spanCount` spans each, as an SDK would send them; every span has ids and digests of its own. */
export function otlpRequests(
  style: SpanStyle,
  requestCount: number,
  spanCount: number,
): Uint8Array<ArrayBuffer>[] {
  const random = randomOf(style.seed + 1);
  let position = 0;
  let traceId = '';
  let agentId = '';
  return Array.from({ length: requestCount }, () => {
    const spans: ReadableSpanLike[] = [];
    for (let i = 0; i < spanCount; i++, position++) {
      const isAgent = position % TRACE_SPAN_COUNT === 0;
      if (isAgent) traceId = hexOf(random, 16);
      const shape = shapeOf(random, style, position % TRACE_SPAN_COUNT);
      const parent = isAgent ? undefined : agentId;
      const span = readableOf(random, shape, traceId, parent, position);
      if (isAgent) agentId = span.spanContext().spanId;
      spans.push(span);
    }
    return encodeTraces(spans);
  });
}
