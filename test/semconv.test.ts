// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the names are one set wherever they are written, the right spans are governed, what people say about a request
 * arrives unchanged or is refused by name, and readers see one vocabulary without losing what was there.
 * Method: the generator against the files it wrote, tables of attributes as the conventions' packages name them, whole
 * objects compared, and generated attributes for what must hold of any span.
 */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Attribute,
  generateAttributes,
  generateReadme,
  readRegistry,
} from '../scripts/semconv.ts';
import * as aliases from '../semconv/aliases.ts';
import * as attributes from '../semconv/attributes.ts';
import * as conventions from '../semconv/conventions.ts';
import * as genAi from '../semconv/gen-ai.ts';
import * as governance from '../semconv/governance.ts';
import * as governed from '../semconv/governed.ts';
import * as semconv from '../semconv/index.ts';
import { indexed, parseJson } from '../semconv/messages.ts';

const { isGoverned, normalise } = semconv;
const file = (name: string): string =>
  readFileSync(new URL(`../semconv/${name}`, import.meta.url), 'utf8');
const constantName = (value: string): string =>
  value
    .replaceAll(/([a-z])([A-Z])/g, '$1_$2')
    .replaceAll(/[./-]/g, '_')
    .toUpperCase();

describe('the registry', () => {
  const registry = readRegistry();

  test('gives attributes.ts', () => {
    expect(generateAttributes(registry)).toBe(file('attributes.ts'));
  });

  test('gives the table in README.md', () => {
    expect(generateReadme(registry, file('README.md'))).toBe(file('README.md'));
  });

  test('shows in both when an attribute changes', () => {
    const [first, ...rest] = registry.attributes as [Attribute, ...Attribute[]];
    const changed = { ...registry, attributes: [{ ...first, brief: 'Other.' }, ...rest] };
    expect(generateAttributes(changed)).not.toBe(file('attributes.ts'));
    expect(generateReadme(changed, file('README.md'))).not.toBe(file('README.md'));
  });

  test('has only aigov names, in development, with a source or a reason each', () => {
    for (const { key, stability, brief, note, examples, members } of registry.attributes) {
      expect(key).toMatch(/^aigov(\.[a-z][a-z0-9_]*)+$/);
      expect(stability).toBe('development');
      expect(brief).toMatch(/^[A-Z].*\.$/);
      expect(note).toMatch(/Source: |Written by the forwarder alone|Added for readers/);
      expect(examples.length, key).toBeGreaterThan(0);
      if (members.length > 0) expect(members.map(({ value }) => value)).toContain(examples[0]);
    }
  });

  test('states the five terminal states of an invocation', () => {
    expect(semconv.AIGOV_INVOCATION_COMPLETION_VALUES).toEqual([
      'complete',
      'error',
      'aborted',
      'abandoned',
      'interrupted',
    ]);
  });
});

describe('the constants', () => {
  test('are named after their values', () => {
    for (const module of [attributes, genAi]) {
      for (const [name, value] of Object.entries(module)) {
        if (typeof value !== 'string' || name.endsWith('_VERSION')) continue;
        const expected = constantName(value);
        if (name.startsWith('ATTR_')) expect(name).toBe(`ATTR_${expected}`);
        else if (name.startsWith('EVENT_')) expect(name).toBe(`EVENT_${expected}`);
        else expect(name.split('_VALUE_')[1], name).toBe(expected);
      }
    }
  });

  test('pin the upstream commit', () => {
    expect(semconv.GEN_AI_SEMCONV_VERSION).toMatch(/^[0-9a-f]{40}$/);
    expect(file('gen-ai.ts').split(semconv.GEN_AI_SEMCONV_VERSION)).toHaveLength(3);
  });

  test('are all reached through the entry point', () => {
    const all = { ...aliases, ...attributes, ...conventions, ...genAi, ...governance, ...governed };
    expect({ ...semconv }).toEqual(all);
  });
});

describe('isGoverned', () => {
  const yes: readonly (readonly [string, governed.SpanFacts])[] = [
    ['a scope of ours', { scopeName: 'sealspan' }],
    ['a scope below ours', { scopeName: 'sealspan/openai' }],
    ['a governance attribute', { attributes: { 'aigov.purpose.id': 'x' } }],
    ['a GenAI span', { scopeName: 'my-app', attributes: { 'gen_ai.operation.name': 'chat' } }],
    ['a GenAI attribute behind others', { attributes: { 'a.b': 1, 'gen_ai.request.model': 'm' } }],
    [
      'an agent with its operation',
      {
        attributes: { 'gen_ai.agent.name': 'a', 'gen_ai.operation.name': 'invoke_agent' },
      },
    ],
    ['OpenInference', { attributes: { 'openinference.span.kind': 'CHAIN' } }],
    ['OpenInference model', { attributes: { 'llm.model_name': 'm' } }],
    ['OpenLLMetry', { attributes: { 'llm.request.type': 'chat' } }],
    [
      'an OpenLLMetry decorator at start',
      { scopeName: '@traceloop/node-server-sdk', attributes: {} },
    ],
    ['an OpenLLMetry decorator at end', { attributes: { 'traceloop.span.kind': 'tool' } }],
    ['Vercel, any scope', { scopeName: 'web', attributes: { 'ai.operationId': 'ai.embed' } }],
    ['Vercel, its scope', { scopeName: 'ai', attributes: { 'ai.model.id': 'm' } }],
    ['Langfuse at start', { scopeName: 'langfuse-sdk' }],
    ['Langfuse at end', { attributes: { 'langfuse.observation.type': 'span' } }],
    ['MCP', { attributes: { 'mcp.method.name': 'tools/call' } }],
  ];
  test.each(yes)('is true for %s', (_name, span) => {
    expect(isGoverned(span)).toBe(true);
  });

  const no: readonly (readonly [string, governed.SpanFacts])[] = [
    ['nothing known', {}],
    [
      'an HTTP span',
      {
        scopeName: '@opentelemetry/instrumentation-http',
        spanName: 'gen_ai.chat',
        attributes: { 'http.request.method': 'POST', 'server.address': 'api.openai.com' },
      },
    ],
    ['values that look like names', { attributes: { key: 'gen_ai.request.model' } }],
    [
      'names that only begin alike',
      {
        attributes: {
          aigov: 1,
          'aigovernance.x': 1,
          gen_ai: 1,
          'gen_air.x': 1,
          llm: 1,
          'mcpx.y': 1,
        },
      },
    ],
    ['ai names of another application', { scopeName: 'game', attributes: { 'ai.difficulty': 3 } }],
    ['another application whose scope is ai', { scopeName: 'ai', attributes: { path: '/' } }],
    ['a scope that only begins like ai', { scopeName: 'air', attributes: { 'ai.x': 1 } }],
    [
      'an HTTP span within a conversation',
      {
        attributes: { 'gen_ai.conversation.id': 'c', 'gen_ai.agent.name': 'a', 'url.path': '/' },
      },
    ],
    [
      "what Langfuse's processor spreads",
      {
        attributes: {
          'langfuse.environment': 'prod',
          'langfuse.trace.name': 't',
          'langfuse.observation.prompt.name': 'p',
          'session.id': 's',
          'user.id': 'u',
        },
      },
    ],
    [
      "what OpenLLMetry's processor spreads",
      {
        attributes: {
          'traceloop.workflow.name': 'w',
          'traceloop.entity.path': 'w.t',
          'traceloop.association.properties.user_id': 'u',
        },
      },
    ],
  ];
  test.each(no)('is false for %s', (_name, span) => {
    expect(isGoverned(span)).toBe(false);
  });

  test('follows every rule it documents', () => {
    for (const { scope, attribute } of semconv.GOVERNED_MARKERS) {
      const key = attribute?.replace('*', 'x');
      const span = {
        scopeName: scope?.replace('*', 'x'),
        attributes: key === undefined ? {} : { [key]: 1 },
      };
      expect(isGoverned(span), JSON.stringify(span)).toBe(true);
    }
  });
});

const DIGEST = `sha256:${'0f'.repeat(32)}`;

const ALL_GOVERNANCE: Required<semconv.Governance> = {
  system: {
    id: 'credit-scoring',
    version: '2026.11.2',
    role: 'deployer',
    riskClass: 'high',
    annexIiiCategory: '5(b)',
  },
  deployment: { id: 'eu-prod', jurisdiction: 'EU' },
  purpose: { id: 'loan-precheck', intended: true },
  actor: { id: 'u-5f2a91', type: 'human' },
  delegation: { chain: ['u-5f2a91', 'agent-planner'] },
  subject: { ref: 's-81c0d4' },
  lawfulBasis: 'contract',
  data: { categories: ['financial'] },
  policy: {
    id: 'no-pii-out',
    version: '7',
    ruleId: 'iban',
    verdict: 'deny',
    action: 'block',
    reasonCode: 'pii.iban',
  },
  model: { version: '3', digest: DIGEST },
  dataset: { id: 'handbook', version: '4', digest: DIGEST },
  prompt: { name: 'precheck', version: '12', templateDigest: DIGEST },
  oversight: { mode: 'in_loop' },
  transparency: { noticeId: 'n-3' },
  incident: { id: 'inc-1' },
  retention: { class: 'aia-6-months' },
  legalHold: false,
};

describe('governance', () => {
  test('maps every value to its attribute', () => {
    expect(semconv.governanceSchema.parse(ALL_GOVERNANCE)).toEqual(ALL_GOVERNANCE);
    expect(semconv.governanceAttributes(ALL_GOVERNANCE)).toEqual({
      'aigov.system.id': 'credit-scoring',
      'aigov.system.version': '2026.11.2',
      'aigov.system.role': 'deployer',
      'aigov.system.risk_class': 'high',
      'aigov.system.annex_iii_category': '5(b)',
      'aigov.deployment.id': 'eu-prod',
      'aigov.deployment.jurisdiction': 'EU',
      'aigov.purpose.id': 'loan-precheck',
      'aigov.purpose.intended': true,
      'aigov.actor.id': 'u-5f2a91',
      'aigov.actor.type': 'human',
      'aigov.delegation.chain': ['u-5f2a91', 'agent-planner'],
      'aigov.subject.ref': 's-81c0d4',
      'aigov.lawful_basis': 'contract',
      'aigov.data.categories': ['financial'],
      'aigov.policy.id': 'no-pii-out',
      'aigov.policy.version': '7',
      'aigov.policy.rule.id': 'iban',
      'aigov.policy.verdict': 'deny',
      'aigov.policy.action': 'block',
      'aigov.policy.reason_code': 'pii.iban',
      'aigov.model.version': '3',
      'aigov.model.digest': DIGEST,
      'aigov.dataset.id': 'handbook',
      'aigov.dataset.version': '4',
      'aigov.dataset.digest': DIGEST,
      'gen_ai.prompt.name': 'precheck',
      'gen_ai.prompt.version': '12',
      'aigov.prompt.template.digest': DIGEST,
      'aigov.oversight.mode': 'in_loop',
      'aigov.transparency.notice_id': 'n-3',
      'aigov.incident.id': 'inc-1',
      'aigov.retention.class': 'aia-6-months',
      'aigov.legal_hold': false,
    });
  });

  test('covers all the registry asks of people', () => {
    const asked = readRegistry()
      .attributes.filter(({ uses }) =>
        uses.some(({ where }) => /aigov\.(governance|system)$/.test(where)),
      )
      .map(({ key }) => key)
      .filter((key) => key !== semconv.ATTR_AIGOV_SCHEMA_VERSION);
    expect(Object.keys(semconv.governanceAttributes(ALL_GOVERNANCE))).toEqual(
      expect.arrayContaining(asked),
    );
  });

  test('is read by the names of its attributes as well, in the types that other systems write', () => {
    const attributes = semconv.governanceAttributes(ALL_GOVERNANCE);
    expect(semconv.GOVERNANCE_ATTRIBUTES).toEqual(Object.keys(attributes));
    expect(semconv.readGovernanceAttributes({ ...attributes, 'enduser.id': 'x' })).toEqual({
      attributes,
      problems: [],
    });
    expect(
      semconv.readGovernanceAttributes({
        'aigov.data.categories': 'financial',
        'aigov.model.version': 3,
        'aigov.actor.type': 'robot',
        'aigov.purpose.intended': 'yes',
      }),
    ).toEqual({
      attributes: { 'aigov.data.categories': ['financial'], 'aigov.model.version': '3' },
      problems: [
        'governance.purpose.intended: expected true or false',
        'governance.actor.type: expected one of human, agent, service',
      ],
    });
  });

  test('a map names what to take, and where it goes', () => {
    const map = {
      'enduser.id': { to: 'aigov.actor.id', pseudonymise: true },
      'app.purpose': 'aigov.purpose.id',
    };
    expect(semconv.configuredGovernanceSchema.parse({ legalHold: true, map })).toEqual({
      legalHold: true,
      map,
    });
    expect(semconv.readGovernanceMap(map)).toEqual([
      { from: 'enduser.id', to: 'aigov.actor.id', pseudonymise: true },
      { from: 'app.purpose', to: 'aigov.purpose.id', pseudonymise: false },
    ]);
  });

  test.each([
    ['a name that nobody knows', { a: 'aigov.actor.name' }],
    ['a name that only we set', { a: 'aigov.sequence' }],
    ['no name', { a: { pseudonymise: true } }],
    ['more than there is', { a: { to: 'aigov.actor.id', salt: 'x' } }],
    ['nothing to take from', { '': 'aigov.actor.id' }],
  ])('a map with %s is refused by its line', (_name, map) => {
    expect(() => semconv.readGovernanceMap(map as semconv.GovernanceMap)).toThrow(TypeError);
    expect(semconv.configuredGovernanceSchema.safeParse({ map }).success).toBe(false);
  });

  test('leaves absent what is absent', () => {
    expect(semconv.governanceAttributes({})).toEqual({});
    expect(semconv.governanceAttributes({ system: undefined, purpose: { id: undefined } })).toEqual(
      {},
    );
  });

  test('copies lists, so that a later change does not reach the span', () => {
    const categories = ['financial'];
    const made = semconv.governanceAttributes({ data: { categories } });
    categories.push('health');
    expect(made).toEqual({ 'aigov.data.categories': ['financial'] });
  });

  const refused: readonly (readonly [string, unknown, string])[] = [
    ['an unknown part', { sytem: {} }, 'unknown: sytem; known: system, deployment'],
    ['an unknown value', { actor: { name: 'Ada' } }, 'unknown: name; known: id, type'],
    ['another word than the listed', { actor: { type: 'robot' } }, 'one of human, agent, service'],
    ['an empty text', { purpose: { id: '' } }, 'is empty'],
    ['a text that is content', { purpose: { id: 'x'.repeat(1025) } }, 'longer than 1024'],
    ['half a character', { purpose: { id: '\ud800' } }, 'not well-formed'],
    ['a bare hash', { model: { digest: 'abc' } }, '<algorithm>:<lower-case hex>'],
    ['an upper-case digest', { model: { digest: DIGEST.toUpperCase() } }, '<algorithm>'],
    ['an empty list', { data: { categories: [] } }, 'is empty'],
    ['a word for a flag', { legalHold: 'yes' }, 'expected true or false'],
    ['no object', 'high', 'expected an object'],
  ];
  test.each(refused)('refuses %s', (_name, value, message) => {
    const result = semconv.governanceSchema.safeParse(value);
    expect(result.error?.issues.map((issue) => issue.message).join()).toContain(message);
  });

  test('keeps what is valid of what was not checked, and names the rest without quoting it', () => {
    const values = {
      actor: { id: 'u-1', type: 'secret-robot', nick: 'secret-nick' },
      purpose: null,
      retention: { class: 'r' },
      data: { categories: ['ok', 17] },
      legalHold: true,
    };
    expect(semconv.readGovernance(values)).toEqual({
      attributes: {
        'aigov.actor.id': 'u-1',
        'aigov.retention.class': 'r',
        'aigov.legal_hold': true,
      },
      problems: [
        'governance.purpose: expected an object',
        'governance.actor.type: expected one of human, agent, service',
        'governance.actor: unknown: nick; known: id, type',
        'governance.data.categories.1: expected text',
      ],
    });
  });

  test.each([
    ['nothing', undefined],
    ['null', null],
    ['text', 'x'],
    [
      'a throwing getter',
      Object.defineProperty({}, 'actor', {
        enumerable: true,
        get: () => {
          throw new Error('no');
        },
      }),
    ],
    [
      'a proxy that refuses',
      new Proxy(
        {},
        {
          ownKeys: () => {
            throw new Error('no');
          },
        },
      ),
    ],
  ])('reads %s without throwing', (_name, value) => {
    for (const read of [semconv.readGovernance, semconv.readDecision, semconv.readOversight]) {
      const { problems } = read(value);
      expect(Array.isArray(problems)).toBe(true);
    }
    expect(semconv.readGovernance(value).attributes).toEqual({});
  });

  test('bounds what it says about problems', () => {
    const values = Object.fromEntries(
      Object.keys(ALL_GOVERNANCE).map((key) => [key, { [`x${'y'.repeat(5000)}`]: 1 }]),
    );
    const { problems } = semconv.readGovernance(values);
    expect(problems).toHaveLength(16);
    expect(Math.max(...problems.map((problem) => problem.length))).toBe(200);
  });
});

describe('a decision', () => {
  const decision: Required<semconv.Decision> = {
    id: 'loan-2026-000123',
    parentId: 'loan-2026-000119',
    outcome: 'declined',
    confidence: 0.83,
    automation: 'full',
    legalEffect: true,
    executed: false,
    effectDigest: DIGEST,
  };

  test('maps every value to its attribute', () => {
    expect(semconv.readDecision(decision)).toEqual({
      attributes: {
        'aigov.decision.id': 'loan-2026-000123',
        'aigov.decision.parent_id': 'loan-2026-000119',
        'aigov.decision.outcome': 'declined',
        'aigov.decision.confidence': 0.83,
        'aigov.decision.automation': 'full',
        'aigov.decision.legal_effect': true,
        'aigov.decision.executed': false,
        'aigov.decision.effect_digest': DIGEST,
      },
      problems: [],
    });
    expect(semconv.decisionAttributes(semconv.decisionSchema.parse(decision))).toEqual(
      semconv.readDecision(decision).attributes,
    );
  });

  test.each([-0.1, 1.1, Number.NaN, Number.POSITIVE_INFINITY, '0.8'])(
    'has no confidence of %s',
    (confidence) => {
      expect(semconv.readDecision({ ...decision, confidence }).problems).toEqual([
        'decision.confidence: expected a number from 0 to 1',
      ]);
      expect(semconv.readDecision({ ...decision, confidence }).attributes).not.toHaveProperty([
        'aigov.decision.confidence',
      ]);
    },
  );

  test('says so when its id is missing', () => {
    expect(semconv.readDecision({ outcome: 'declined' })).toEqual({
      attributes: { 'aigov.decision.outcome': 'declined' },
      problems: ['decision.id: expected text'],
    });
  });
});

test('an act of oversight maps every value to its attribute', () => {
  const oversight: Required<semconv.Oversight> = {
    act: 'override',
    reviewer: { id: 'r-07', role: 'credit-officer' },
    decisionId: 'loan-2026-000123',
    contextDigest: DIGEST,
    justificationRef: 'case/123#note-2',
    latencyS: 12.4,
  };
  const expected = {
    'aigov.oversight.act': 'override',
    'aigov.oversight.reviewer.id': 'r-07',
    'aigov.oversight.reviewer.role': 'credit-officer',
    'aigov.decision.id': 'loan-2026-000123',
    'aigov.oversight.context_digest': DIGEST,
    'aigov.oversight.justification_ref': 'case/123#note-2',
    'aigov.oversight.latency': 12.4,
  };
  expect(semconv.readOversight(oversight)).toEqual({ attributes: expected, problems: [] });
  expect(semconv.oversightAttributes(semconv.oversightSchema.parse(oversight))).toEqual(expected);
  expect(semconv.readOversight({ act: 'nod', reviewer: {} })).toEqual({
    attributes: {},
    problems: [
      'oversight.act: expected one of approve, edit, reject, override, stop, respond',
      'oversight.reviewer.id: expected text',
    ],
  });
});

/** Content as JSON text, opened for comparison. */
function opened(span: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(span).map(([key, value]) => [
      key,
      typeof value === 'string' && /messages$|definitions$|documents$|instructions$/.test(key)
        ? (parseJson(value) ?? value)
        : value,
    ]),
  );
}
const says = (role: string, content: string) => ({ role, parts: [{ type: 'text', content }] });

describe('normalise', () => {
  test('reads an OpenInference model call', () => {
    const span = {
      'openinference.span.kind': 'LLM',
      'llm.provider': 'aws',
      'llm.model_name': 'claude',
      'llm.token_count.prompt': 10n,
      'llm.token_count.completion': 4,
      'llm.token_count.total': 14,
      'llm.token_count.prompt_details.cache_read': 2,
      'llm.finish_reason': 'tool_calls',
      'llm.invocation_parameters': '{"temperature":0.2,"max_tokens":50,"stop":["a"],"user":"x"}',
      'llm.input_messages.10.message.role': 'tool',
      'llm.input_messages.10.message.content': '{"ok":true}',
      'llm.input_messages.10.message.tool_call_id': 'c1',
      'llm.input_messages.2.message.role': 'user',
      'llm.input_messages.2.message.contents.0.message_content.type': 'text',
      'llm.input_messages.2.message.contents.0.message_content.text': 'Look',
      'llm.input_messages.2.message.contents.1.message_content.type': 'image',
      'llm.input_messages.2.message.contents.1.message_content.image.image.url': 'https://x.test/i',
      'llm.output_messages.0.message.role': 'assistant',
      'llm.output_messages.0.message.tool_calls.0.tool_call.id': 'c2',
      'llm.output_messages.0.message.tool_calls.0.tool_call.function.name': 'lookup',
      'llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments': '{"q":1}',
      'llm.tools.0.tool.json_schema': '{"name":"lookup"}',
      'input.value': 'raw',
      'session.id': 's1',
      'user.id': 'u1',
    };
    expect(opened(normalise(span))).toEqual({
      'aigov.source.convention': 'openinference',
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'aws.bedrock',
      'gen_ai.request.model': 'claude',
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.max_tokens': 50,
      'gen_ai.request.stop_sequences': ['a'],
      'gen_ai.usage.input_tokens': 10,
      'gen_ai.usage.output_tokens': 4,
      'gen_ai.usage.cache_read.input_tokens': 2,
      'gen_ai.response.finish_reasons': ['tool_calls'],
      'gen_ai.conversation.id': 's1',
      'gen_ai.input.messages': [
        {
          role: 'user',
          parts: [
            { type: 'text', content: 'Look' },
            { type: 'uri', modality: 'image', uri: 'https://x.test/i' },
          ],
        },
        {
          role: 'tool',
          parts: [{ type: 'tool_call_response', id: 'c1', response: '{"ok":true}' }],
        },
      ],
      'gen_ai.output.messages': [
        {
          role: 'assistant',
          parts: [{ type: 'tool_call', id: 'c2', name: 'lookup', arguments: { q: 1 } }],
        },
      ],
      'gen_ai.tool.definitions': [{ name: 'lookup' }],
      'llm.invocation_parameters': span['llm.invocation_parameters'],
      'llm.token_count.total': 14,
      'input.value': 'raw',
      'user.id': 'u1',
    });
  });

  test('reads an OpenInference tool, retriever, guardrail and chain', () => {
    expect(
      normalise({
        'openinference.span.kind': 'TOOL',
        'tool.name': 'lookup',
        'input.value': '{"q":1}',
        'output.value': 'found',
      }),
    ).toEqual({
      'aigov.source.convention': 'openinference',
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'lookup',
      'gen_ai.tool.call.arguments': '{"q":1}',
      'gen_ai.tool.call.result': 'found',
    });
    expect(
      opened(
        normalise({
          'openinference.span.kind': 'RETRIEVER',
          'input.value': 'who?',
          'retrieval.documents.0.document.id': 'd1',
          'retrieval.documents.0.document.score': 0.5,
        }),
      ),
    ).toEqual({
      'aigov.source.convention': 'openinference',
      'gen_ai.operation.name': 'retrieval',
      'gen_ai.retrieval.query.text': 'who?',
      'gen_ai.retrieval.documents': [{ id: 'd1', score: 0.5 }],
      'retrieval.documents.0.document.id': 'd1',
      'retrieval.documents.0.document.score': 0.5,
    });
    expect(normalise({ 'openinference.span.kind': 'GUARDRAIL' })).toEqual({
      'aigov.source.convention': 'openinference',
      'gen_ai.operation.name': 'run_guardrail',
    });
    const chain = { 'openinference.span.kind': 'CHAIN', 'input.value': 'x' };
    expect(normalise(chain)).toEqual({ ...chain, 'aigov.source.convention': 'openinference' });
  });

  test('reads an OpenLLMetry model call in its former names', () => {
    const span = {
      'llm.request.type': 'chat',
      'gen_ai.system': 'OpenAI',
      'gen_ai.request.model': 'gpt-4o',
      'gen_ai.usage.prompt_tokens': 7,
      'gen_ai.usage.completion_tokens': 3,
      'gen_ai.usage.cache_creation_input_tokens': 1,
      'gen_ai.usage.reasoning_tokens': 2,
      'llm.usage.total_tokens': 10,
      'llm.chat.stop_sequences': ['x'],
      'gen_ai.prompt.0.role': 'user',
      'gen_ai.prompt.0.content': 'Hi',
      'gen_ai.completion.0.role': 'assistant',
      'gen_ai.completion.0.content': 'Hello',
      'gen_ai.completion.0.finish_reason': 'stop',
      'traceloop.association.properties.session_id': 's',
      'traceloop.association.properties.tenant': 't',
    };
    expect(opened(normalise(span))).toEqual({
      'aigov.source.convention': 'openllmetry',
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'openai',
      'gen_ai.request.model': 'gpt-4o',
      'gen_ai.request.stop_sequences': ['x'],
      'gen_ai.usage.input_tokens': 7,
      'gen_ai.usage.output_tokens': 3,
      'gen_ai.usage.cache_write.input_tokens': 1,
      'gen_ai.usage.reasoning.output_tokens': 2,
      'gen_ai.input.messages': [says('user', 'Hi')],
      'gen_ai.output.messages': [says('assistant', 'Hello')],
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.conversation.id': 's',
      'llm.usage.total_tokens': 10,
      'traceloop.association.properties.tenant': 't',
    });
  });

  test('reads an OpenLLMetry tool', () => {
    expect(
      normalise({
        'traceloop.span.kind': 'tool',
        'traceloop.entity.name': 'lookup',
        'traceloop.entity.input': '{}',
        'traceloop.entity.output': '1',
        'traceloop.workflow.name': 'w',
      }),
    ).toEqual({
      'aigov.source.convention': 'openllmetry',
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'lookup',
      'gen_ai.tool.call.arguments': '{}',
      'gen_ai.tool.call.result': '1',
      'gen_ai.workflow.name': 'w',
    });
  });

  test('reads a step of the Vercel AI SDK', () => {
    const span = {
      'operation.name': 'ai.streamText.doStream',
      'ai.operationId': 'ai.streamText.doStream',
      'ai.telemetry.functionId': 'support',
      'ai.model.provider': 'google.generative-ai',
      'ai.model.id': 'gemini-2',
      'gen_ai.system': 'google.generative-ai',
      'gen_ai.request.model': 'gemini-2',
      'ai.prompt.messages': JSON.stringify([
        { role: 'system', content: 'Be short.' },
        {
          role: 'tool',
          content: [
            { type: 'tool-result', toolCallId: 'c1', output: { type: 'text', value: 'rain' } },
          ],
        },
      ]),
      'ai.prompt.tools': ['{"name":"weather"}'],
      'ai.response.text': 'Wet.',
      'ai.response.toolCalls': '[{"toolCallId":"c2","toolName":"weather","input":{"city":"Kiel"}}]',
      'ai.response.finishReason': 'stop',
      'gen_ai.response.finish_reasons': ['stop'],
      'ai.response.msToFirstChunk': 250,
      'ai.usage.inputTokens': 9,
      'ai.usage.cachedInputTokens': 3,
      'ai.settings.maxRetries': 2,
    };
    expect(opened(normalise(span))).toEqual({
      'aigov.source.convention': 'vercel_ai',
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'gcp.gemini',
      'gen_ai.request.model': 'gemini-2',
      'gen_ai.agent.name': 'support',
      'gen_ai.input.messages': [
        says('system', 'Be short.'),
        { role: 'tool', parts: [{ type: 'tool_call_response', id: 'c1', response: 'rain' }] },
      ],
      'gen_ai.output.messages': [
        {
          role: 'assistant',
          parts: [
            { type: 'text', content: 'Wet.' },
            { type: 'tool_call', id: 'c2', name: 'weather', arguments: { city: 'Kiel' } },
          ],
        },
      ],
      'gen_ai.tool.definitions': [{ name: 'weather' }],
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.response.time_to_first_chunk': 0.25,
      'gen_ai.usage.input_tokens': 9,
      'gen_ai.usage.cache_read.input_tokens': 3,
      'operation.name': 'ai.streamText.doStream',
      'ai.settings.maxRetries': 2,
    });
  });

  test('reads the outer call and the tool call of the Vercel AI SDK', () => {
    expect(
      opened(
        normalise({
          'ai.operationId': 'ai.generateText',
          'ai.prompt': '{"system":"Be short.","prompt":"Hi"}',
        }),
      ),
    ).toEqual({
      'aigov.source.convention': 'vercel_ai',
      'gen_ai.operation.name': 'invoke_agent',
      'gen_ai.system_instructions': [{ type: 'text', content: 'Be short.' }],
      'gen_ai.input.messages': [says('user', 'Hi')],
    });
    expect(
      normalise({
        'ai.operationId': 'ai.toolCall',
        'ai.toolCall.name': 'weather',
        'ai.toolCall.id': 'c2',
        'ai.toolCall.args': '{"city":"Kiel"}',
        'ai.toolCall.result': '"rain"',
      }),
    ).toEqual({
      'aigov.source.convention': 'vercel_ai',
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'weather',
      'gen_ai.tool.call.id': 'c2',
      'gen_ai.tool.call.arguments': '{"city":"Kiel"}',
      'gen_ai.tool.call.result': '"rain"',
    });
  });

  test('reads a Langfuse generation', () => {
    const span = {
      'langfuse.observation.type': 'generation',
      'langfuse.observation.model.name': 'gpt-4o',
      'langfuse.observation.model.parameters': '{"temperature":1}',
      'langfuse.observation.usage_details': '{"input":5,"output":2,"total":7}',
      'langfuse.observation.input': '[{"role":"user","content":"Hi"}]',
      'langfuse.observation.output': '{"role":"assistant","content":"Hello"}',
      'langfuse.observation.prompt.name': 'greet',
      'langfuse.observation.prompt.version': 3,
      'langfuse.trace.name': 'greeting',
      'langfuse.environment': 'prod',
      'session.id': 's',
    };
    expect(opened(normalise(span))).toEqual({
      'aigov.source.convention': 'langfuse',
      'gen_ai.operation.name': 'chat',
      'gen_ai.request.model': 'gpt-4o',
      'gen_ai.request.temperature': 1,
      'gen_ai.usage.input_tokens': 5,
      'gen_ai.usage.output_tokens': 2,
      'gen_ai.input.messages': [says('user', 'Hi')],
      'gen_ai.output.messages': [says('assistant', 'Hello')],
      'gen_ai.prompt.name': 'greet',
      'gen_ai.prompt.version': 3,
      'gen_ai.workflow.name': 'greeting',
      'gen_ai.conversation.id': 's',
      'langfuse.observation.model.parameters': '{"temperature":1}',
      'langfuse.observation.usage_details': '{"input":5,"output":2,"total":7}',
      'langfuse.environment': 'prod',
    });
  });

  test('reads older GenAI names, and leaves current ones as they are', () => {
    expect(
      normalise({
        'gen_ai.operation.name': 'retrieval',
        'gen_ai.system': 'az.ai.openai',
        'gen_ai.request.top_k': 5,
        'gen_ai.usage.cache_creation.input_tokens': 8,
      }),
    ).toEqual({
      'aigov.source.convention': 'gen_ai',
      'gen_ai.operation.name': 'retrieval',
      'gen_ai.provider.name': 'azure.ai.openai',
      'gen_ai.retrieval.top_k': 5,
      'gen_ai.usage.cache_write.input_tokens': 8,
    });
    const current = { 'gen_ai.operation.name': 'chat', 'gen_ai.request.top_k': 5, 'x.y': 1 };
    expect(normalise(current)).toEqual({ ...current, 'aigov.source.convention': 'gen_ai' });
  });

  test('never replaces a GenAI value, and keeps a source that says otherwise', () => {
    const span = {
      'openinference.span.kind': 'AGENT',
      'gen_ai.operation.name': 'chat',
      'llm.model_name': 'b',
      'gen_ai.request.model': 'a',
      'llm.input_messages.0.message.role': 'user',
      'llm.input_messages.0.message.content': 'Hi',
      'gen_ai.input.messages': '[]',
    };
    expect(normalise(span)).toEqual({ ...span, 'aigov.source.convention': 'openinference' });
  });

  test('believes a stated convention, if it is one', () => {
    const stated = { 'aigov.source.convention': 'gen_ai', 'ai.operationId': 'ai.embed' };
    expect(normalise(stated)).toEqual(stated);
    expect(normalise({ 'aigov.source.convention': 'none', 'gen_ai.system': 'xai' })).toEqual({
      'aigov.source.convention': 'gen_ai',
      'gen_ai.provider.name': 'x_ai',
    });
  });

  test('leaves alone what is no such span', () => {
    expect(normalise({ 'http.request.method': 'GET', 'session.id': 's' })).toEqual({
      'http.request.method': 'GET',
      'session.id': 's',
    });
  });

  test('takes the members of an indexed family in the order of well-spelled indexes alone', () => {
    const span = {
      'a.10.x': 1,
      'a.2.x': 2,
      'a.2.y.z': 3,
      'a.02.x': 4,
      'a..x': 5,
      'a.3': 6,
      'ab.0.x': 7,
    };
    expect(indexed(span, 'a').map((member) => ({ ...member }))).toEqual([
      { x: 2, 'y.z': 3 },
      { x: 1 },
    ]);
  });

  test('survives JSON that nests deeper than the stack', () => {
    const deep = '['.repeat(200_000) + ']'.repeat(200_000);
    const span = { 'openinference.span.kind': 'LLM', 'llm.tools.0.tool.json_schema': deep };
    expect(normalise(span)['gen_ai.operation.name']).toBe('chat');
  });

  test('translates any span without throwing, changing its input, or replacing a GenAI value', () => {
    const sources = [aliases.FORMER_ALIASES, ...Object.values(aliases.ALIASES)]
      .flat()
      .flatMap(({ from }) => from);
    const native = Object.entries(genAi)
      .filter(([name]) => name.startsWith('ATTR_'))
      .map(([, value]) => value);
    const family = fc
      .tuple(
        fc.constantFrom('llm.input_messages', 'gen_ai.prompt', 'gen_ai.completion', 'llm.tools'),
        fc.constantFrom('0', '1', '01', 'x', '__proto__', '999999999'),
        fc.constantFrom('message.role', 'role', 'content', 'tool_calls.0.id', 'tool.json_schema'),
      )
      .map((parts) => parts.join('.'));
    const key = fc.oneof(fc.constantFrom(...sources), fc.constantFrom(...native), family);
    const value = fc.oneof(
      fc.string(),
      fc.constantFrom(
        'LLM',
        'TOOL',
        'chat',
        'tool',
        'generation',
        '{"a":[1]}',
        '[{"role":"user"}]',
      ),
      fc.double(),
      fc.bigInt(),
      fc.boolean(),
      fc.array(fc.string()),
      fc.constantFrom(null, undefined, {}),
    );
    fc.assert(
      fc.property(fc.dictionary(key, value, { maxKeys: 20 }), (span) => {
        const before = structuredClone(span);
        const out = normalise(span);
        expect(span).toEqual(before);
        const renamed = new Set(aliases.FORMER_ALIASES.flatMap(({ from }) => from));
        for (const name of native) {
          if (span[name] !== undefined && !renamed.has(name)) expect(out[name]).toBe(span[name]);
        }
        expect(normalise(out)).toEqual(out);
      }),
      { numRuns: 500 },
    );
  });
});
