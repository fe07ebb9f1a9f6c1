// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what people state reaches every governed span started within, whoever makes it and on whatever SDK, and only those;
 * a wrong statement costs its own value and nothing else.
 * Method: the three SDK lines themselves, and whole attributes.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { context, type Span, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { contentDigest } from '../../instrumentation/content.ts';
import {
  decision,
  governanceProcessor,
  oversight,
  pseudonym,
  type RunningSpan,
  stampGovernance,
  withGovernance,
} from '../../instrumentation/governance.ts';
import { governedModel } from '../../instrumentation/model.ts';
import {
  configureInstrumentation,
  type GovernanceCall,
  instrumentationStats,
} from '../../instrumentation/settings.ts';
import type { Decision, Governance } from '../../semconv/index.ts';
import { SDK_LINES } from '../support/sdk-lines.ts';

const VERSION = { 'aigov.schema.version': '0.1.0' };
const problemsOf = (place: string) => instrumentationStats().problems[place] ?? 0;

beforeEach(() => configureInstrumentation({}));
afterEach(() => {
  trace.disable();
  context.disable();
});

describe.each(SDK_LINES)('spans of SDK $name', ({ openProvider, openExporter, simple }) => {
  /** The attributes of the spans that `work` starts. */
  async function attributesOf(
    work: (start: (name: string, attributes?: object, scope?: string) => void) => unknown,
  ): Promise<unknown[]> {
    const exporter = openExporter();
    const provider = openProvider({
      spanProcessors: [governanceProcessor() as never, simple(exporter)],
    });
    await work((name, attributes = {}, scope = 'app') =>
      provider
        .getTracer(scope)
        .startSpan(name, { attributes: { ...attributes } })
        .end(),
    );
    await provider.forceFlush();
    return exporter.getFinishedSpans().map((span) => ({ ...span.attributes }));
  }

  it('get what is stated if they are governed, and nothing otherwise', async () => {
    const seen = await attributesOf((start) =>
      withGovernance({ purpose: { id: 'loan' }, data: { categories: ['financial'] } }, () => {
        start('model', { 'gen_ai.operation.name': 'chat' });
        start('langfuse', {}, 'langfuse-sdk');
        start('http', { 'http.request.method': 'GET' });
      }),
    );
    const stated = {
      ...VERSION,
      'aigov.purpose.id': 'loan',
      'aigov.data.categories': ['financial'],
    };
    expect(seen).toEqual([
      { 'gen_ai.operation.name': 'chat', ...stated },
      stated,
      { 'http.request.method': 'GET' },
    ]);
  });

  it('keep what they say of themselves', async () => {
    const own = { 'aigov.purpose.id': 'mine' };
    const seen = await attributesOf((start) =>
      withGovernance({ purpose: { id: 'theirs', intended: true } }, () => start('model', own)),
    );
    expect(seen).toEqual([{ ...VERSION, ...own, 'aigov.purpose.intended': true }]);
  });

  it('get the inner statement where two hold, and the outer one after it', async () => {
    const seen = await attributesOf(async (start) => {
      const governed = { 'gen_ai.operation.name': 'chat' };
      await withGovernance({ purpose: { id: 'outer' }, actor: { id: 'u-1' } }, async () => {
        await withGovernance({ purpose: { id: 'inner' } }, async () => {
          await delay(1);
          start('inner', governed);
        });
        start('outer', governed);
      });
      start('none', governed);
    });
    const governed = { 'gen_ai.operation.name': 'chat', ...VERSION };
    expect(seen).toEqual([
      { ...governed, 'aigov.purpose.id': 'inner', 'aigov.actor.id': 'u-1' },
      { ...governed, 'aigov.purpose.id': 'outer', 'aigov.actor.id': 'u-1' },
      governed,
    ]);
  });

  it('get what holds for the process', async () => {
    configureInstrumentation({ governance: { system: { id: 'scoring' }, purpose: { id: 'p' } } });
    const seen = await attributesOf((start) =>
      withGovernance({ purpose: { id: 'loan' } }, () => start('m', { 'gen_ai.system': 'x' })),
    );
    expect(seen).toEqual([
      {
        'gen_ai.system': 'x',
        ...VERSION,
        'aigov.system.id': 'scoring',
        'aigov.purpose.id': 'loan',
      },
    ]);
  });
});

const SECRET = { id: 'k', secret: new Uint8Array(32).fill(7) };

describe.each(SDK_LINES)(
  'values that others have, on SDK $name',
  ({ openProvider, openExporter, simple }) => {
    /** The attributes of the governed spans that `work` starts, the text of the pseudonym of `u` written as PSEUDONYM. */
    async function attributesOf(
      work: (inSpan: (attributes: object, inner?: () => void) => void) => void,
    ): Promise<unknown[]> {
      context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
      const exporter = openExporter();
      const provider = openProvider({
        spanProcessors: [governanceProcessor() as never, simple(exporter)],
      });
      const tracer = provider.getTracer('app');
      work((attributes, inner) => {
        const span = tracer.startSpan('s', { attributes: { ...attributes } });
        if (inner !== undefined) context.with(trace.setSpan(context.active(), span as Span), inner);
        span.end();
      });
      await provider.forceFlush();
      return exporter
        .getFinishedSpans()
        .map((span) => ({ ...span.attributes }))
        .filter((attributes) => 'gen_ai.operation.name' in attributes);
    }

    const CALL = { 'gen_ai.operation.name': 'chat' };

    it('are taken from the call, from what it is part of, and from the call around it', async () => {
      configureInstrumentation({
        governanceMap: { 'app.purpose': 'aigov.purpose.id', 'app.data': 'aigov.data.categories' },
      });
      const seen = await attributesOf((inSpan) => {
        inSpan({ ...CALL, 'app.purpose': 'own' });
        inSpan({ 'http.route': '/', 'app.purpose': 'outer', 'app.data': 'financial' }, () => {
          inSpan({ ...CALL, 'app.purpose': 'own' });
          inSpan(CALL, () => inSpan(CALL));
        });
        inSpan(CALL);
      });
      const outer = { ...CALL, ...VERSION, 'aigov.data.categories': ['financial'] };
      expect(seen).toEqual([
        { ...CALL, ...VERSION, 'app.purpose': 'own', 'aigov.purpose.id': 'own' },
        { ...outer, 'app.purpose': 'own', 'aigov.purpose.id': 'own' },
        { ...outer, 'aigov.purpose.id': 'outer' },
        { ...outer, 'aigov.purpose.id': 'outer' },
        { ...CALL, ...VERSION },
      ]);
    });

    it('are pseudonyms where they name persons, and nothing without a key', async () => {
      const governanceMap = { 'enduser.id': { to: 'aigov.actor.id', pseudonymise: true } };
      const work = (inSpan: (attributes: object, inner?: () => void) => void): void =>
        inSpan({ 'enduser.id': 'ada@example.org' }, () => inSpan(CALL));
      configureInstrumentation({ governanceMap, digestKey: SECRET });
      const id = pseudonym('ada@example.org');
      expect(id).toMatch(/^hmac-sha256:[0-9a-f]{64}$/);
      expect(id).not.toBe(contentDigest('ada@example.org'));
      expect(await attributesOf(work)).toEqual([{ ...CALL, ...VERSION, 'aigov.actor.id': id }]);
      configureInstrumentation({ governanceMap });
      const before = problemsOf('governanceMap');
      expect(await attributesOf(work)).toEqual([
        {
          ...CALL,
          ...VERSION,
          'aigov.instrumentation.problems': ['governance.map.enduser.id: no digest key'],
        },
      ]);
      expect(problemsOf('governanceMap')).toBe(before + 1);
    });

    it('are asked for at each call, and the nearest to the call holds', async () => {
      const asked: unknown[] = [];
      configureInstrumentation({
        governance: { purpose: { id: 'process' }, system: { id: 's' } },
        governanceMap: { 'app.purpose': 'aigov.purpose.id', 'app.actor': 'aigov.actor.id' },
        governanceOf: (call) => {
          asked.push(call);
          return { model: { version: '3' }, prompt: { name: 'p', version: '12' } };
        },
      });
      const seen = await attributesOf((inSpan) =>
        withGovernance({ purpose: { id: 'context' }, model: { version: '2' } }, () =>
          inSpan({ ...CALL, 'app.purpose': 'map', 'app.actor': 7 }),
        ),
      );
      const own = { ...CALL, 'app.purpose': 'map', 'app.actor': 7 };
      expect(asked).toMatchObject([{ name: 's', attributes: own }]);
      expect(seen).toEqual([
        {
          ...own,
          ...VERSION,
          'aigov.system.id': 's',
          'aigov.purpose.id': 'context',
          'aigov.actor.id': '7',
          'aigov.model.version': '3',
          'gen_ai.prompt.name': 'p',
          'gen_ai.prompt.version': '12',
        },
      ]);
    });

    it.each<[string, (call: GovernanceCall) => unknown, string]>([
      [
        'throws',
        () => {
          throw new Error('secret');
        },
        'governanceOf: threw',
      ],
      [
        'answers later',
        () => Promise.reject(new Error('secret')),
        'governanceOf: gave a promise, and calls do not wait',
      ],
      ['answers with no object', () => 'secret', 'governance: expected an object'],
      [
        'answers with a wrong value',
        () => ({ actor: { type: 'secret' } }),
        'governance.actor.type: expected one of human, agent, service',
      ],
    ])('cost nothing else where the function %s', async (_name, governanceOf, problem) => {
      configureInstrumentation({ governanceOf: governanceOf as never });
      const before = problemsOf('governanceOf');
      const seen = await attributesOf((inSpan) =>
        withGovernance({ purpose: { id: 'p' } }, () => inSpan(CALL)),
      );
      expect(seen).toEqual([
        {
          ...CALL,
          ...VERSION,
          'aigov.purpose.id': 'p',
          'aigov.instrumentation.problems': [problem],
        },
      ]);
      expect(problemsOf('governanceOf')).toBe(before + 1);
    });

    it('are not asked for by a call that the function itself makes', async () => {
      let count = 0;
      const seen = await attributesOf((inSpan) => {
        configureInstrumentation({
          governanceOf: () => {
            count++;
            inSpan(CALL);
            return { legalHold: true };
          },
        });
        inSpan(CALL);
      });
      expect(count).toBe(1);
      expect(seen).toEqual([
        { ...CALL, ...VERSION },
        { ...CALL, ...VERSION, 'aigov.legal_hold': true },
      ]);
    });
  },
);

it('is asked for once for a call of ours, however many processors see it', async () => {
  const [, , line] = SDK_LINES;
  const exporter = line!.openExporter();
  const spanProcessors = [governanceProcessor() as never, line!.simple(exporter)];
  trace.setGlobalTracerProvider(line!.openProvider({ spanProcessors }) as never);
  let count = 0;
  configureInstrumentation({
    governanceOf: ({ name, attributes }) => {
      count++;
      return { policy: { id: `${name} of ${attributes['gen_ai.request.model']}` } };
    },
  });
  governedModel({ model: 'm' }, () => 1)();
  expect(count).toBe(1);
  expect(exporter.getFinishedSpans()[0]?.attributes['aigov.policy.id']).toBe('predict m of m');
});

describe('withGovernance', () => {
  const stampOf = (values: unknown): Record<string, unknown> => {
    const attributes: Record<string, unknown> = {};
    withGovernance(values as Governance, () =>
      stampGovernance({ attributes, setAttribute: (key, value) => (attributes[key] = value) }),
    );
    return attributes;
  };

  it('answers and throws what the work does', () => {
    expect(withGovernance({}, () => 7)).toBe(7);
    const error = new Error('mine');
    expect(() =>
      withGovernance({}, () => {
        throw error;
      }),
    ).toThrow(error);
  });

  it('leaves out what is not valid, says so by name only, and counts', () => {
    const before = problemsOf('withGovernance');
    expect(
      stampOf({ purpose: { id: 'loan', intended: 'surely' }, secret: 'value', actor: 'me' }),
    ).toEqual({
      ...VERSION,
      'aigov.purpose.id': 'loan',
      'aigov.instrumentation.problems': [
        expect.stringContaining('governance.purpose.intended'),
        expect.stringContaining('governance.actor'),
        expect.stringContaining('unknown: secret'),
      ],
    });
    expect(problemsOf('withGovernance')).toBe(before + 1);
  });

  it.each([[undefined], [null], [7], ['text'], [[]]])(
    'never throws for the sake of %j',
    (values) => {
      expect(stampOf(values)).toEqual({
        ...VERSION,
        'aigov.instrumentation.problems': [expect.any(String)],
      });
    },
  );

  it('does not let a span that throws reach the application', () => {
    const before = problemsOf('stampGovernance');
    const span: RunningSpan = {
      setAttribute: () => {
        throw new Error('fault');
      },
    };
    expect(() => stampGovernance(span)).not.toThrow();
    expect(problemsOf('stampGovernance')).toBe(before + 1);
  });
});

describe('decision and oversight', () => {
  const [, , line] = SDK_LINES;
  if (line === undefined) throw new Error('no SDK 3');
  const { openExporter, openProvider, simple } = line;

  async function recorded(work: () => unknown): Promise<unknown[]> {
    const exporter = openExporter();
    const provider = openProvider({ spanProcessors: [simple(exporter)] });
    trace.setGlobalTracerProvider(provider);
    const result = work();
    await provider.forceFlush();
    const [span] = exporter.getFinishedSpans();
    return [
      result,
      span && {
        ids: { traceId: span.spanContext().traceId, spanId: span.spanContext().spanId },
        name: span.name,
        kind: span.kind,
        scope: span.instrumentationScope?.name,
        attributes: { ...span.attributes },
      },
    ];
  }

  const span = (name: string, attributes: object) => ({
    ids: expect.any(Object),
    name,
    kind: 0,
    scope: 'sealspan',
    attributes: { ...VERSION, ...attributes },
  });

  it('are spans that carry what holds where they are made', async () => {
    const [result, seen] = await recorded(() =>
      withGovernance({ subject: { ref: 's-1' } }, () =>
        decision({
          id: 'd-1',
          parentId: 'd-0',
          outcome: 'declined',
          confidence: 0.83,
          automation: 'assisted',
          legalEffect: true,
          executed: false,
          effectDigest: `sha256:${'0'.repeat(64)}`,
        }),
      ),
    );
    expect(seen).toEqual(
      span('decision', {
        'aigov.subject.ref': 's-1',
        'aigov.decision.id': 'd-1',
        'aigov.decision.parent_id': 'd-0',
        'aigov.decision.outcome': 'declined',
        'aigov.decision.confidence': 0.83,
        'aigov.decision.automation': 'assisted',
        'aigov.decision.legal_effect': true,
        'aigov.decision.executed': false,
        'aigov.decision.effect_digest': `sha256:${'0'.repeat(64)}`,
      }),
    );
    expect(result).toEqual((seen as { ids: unknown }).ids);
  });

  it('tell what a person did', async () => {
    const [, seen] = await recorded(() =>
      oversight({
        act: 'override',
        reviewer: { id: 'r-07', role: 'credit-officer' },
        decisionId: 'd-1',
        justificationRef: 'case/1',
        latencyS: 12.4,
      }),
    );
    expect(seen).toEqual(
      span('oversight', {
        'aigov.oversight.act': 'override',
        'aigov.oversight.reviewer.id': 'r-07',
        'aigov.oversight.reviewer.role': 'credit-officer',
        'aigov.decision.id': 'd-1',
        'aigov.oversight.justification_ref': 'case/1',
        'aigov.oversight.latency': 12.4,
      }),
    );
  });

  it('are recorded with what is valid of them, and never throw', async () => {
    const before = problemsOf('decision');
    const [, seen] = await recorded(() =>
      decision({ id: 'd-1', outcome: 'yes', confidence: 83 } as Decision),
    );
    expect(seen).toEqual(
      span('decision', {
        'aigov.decision.id': 'd-1',
        'aigov.decision.outcome': 'yes',
        'aigov.instrumentation.problems': ['decision.confidence: expected a number from 0 to 1'],
      }),
    );
    expect(problemsOf('decision')).toBe(before + 1);
  });

  it('answer with nothing if nobody records spans, and count it', () => {
    const before = problemsOf('decision.notRecorded');
    expect(decision({ id: 'd-1', outcome: 'yes' })).toBeUndefined();
    expect(problemsOf('decision.notRecorded')).toBe(before + 1);
  });

  it('announce the first span before they ask for a tracer', async () => {
    const exporter = openExporter();
    const provider = openProvider({ spanProcessors: [simple(exporter)] });
    let announced = 0;
    configureInstrumentation({
      onFirstSpan: () => {
        announced++;
        trace.setGlobalTracerProvider(provider);
      },
    });
    decision({ id: 'd-1', outcome: 'yes' });
    decision({ id: 'd-2', outcome: 'yes' });
    await provider.forceFlush();
    expect([announced, exporter.getFinishedSpans().length]).toEqual([1, 2]);
  });
});
