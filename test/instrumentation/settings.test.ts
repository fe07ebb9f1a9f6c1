// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: misuse is told at set-up by the name of the option, and whatever goes wrong later is counted and goes no further.
 * Method: options that are wrong, each way; work that throws all there is to throw.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  announceFirstSpan,
  configureInstrumentation,
  countEnd,
  countProblem,
  countStart,
  currentSettings,
  guard,
  instrumentationStats,
} from '../../instrumentation/settings.ts';

const CAPTURE = 'OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT';
const secret = new Uint8Array(32).fill(7);

beforeEach(() => configureInstrumentation({}));
afterEach(() => {
  vi.unstubAllEnvs();
  configureInstrumentation({});
});

describe('settings', () => {
  it('are the defaults until somebody says otherwise', () => {
    expect(currentSettings()).toEqual({
      policy: 'digest',
      digestKey: undefined,
      abandonDelayMs: 15 * 60_000,
      governance: {},
      governanceOf: undefined,
      governanceMap: [],
    });
  });

  it('are those of the last call, whole', () => {
    const governanceOf = () => undefined;
    configureInstrumentation({
      governanceOf,
      governanceMap: { a: 'aigov.purpose.id' },
      content: { policy: 'omit' },
      digestKey: { id: 'k-1', secret },
      abandonDelayMs: 5,
      governance: { system: { id: 'scoring' } },
    });
    expect(currentSettings()).toEqual({
      policy: 'omit',
      digestKey: { id: 'k-1', key: expect.objectContaining({ type: 'secret' }) },
      abandonDelayMs: 5,
      governance: { 'aigov.system.id': 'scoring' },
      governanceOf,
      governanceMap: [{ from: 'a', to: 'aigov.purpose.id', pseudonymise: false }],
    });
    configureInstrumentation({ abandonDelayMs: 6 });
    expect(currentSettings()).toEqual({
      policy: 'digest',
      digestKey: undefined,
      abandonDelayMs: 6,
      governance: {},
      governanceOf: undefined,
      governanceMap: [],
    });
  });

  it.each([
    ['true', undefined, 'full'],
    [' TRUE ', undefined, 'full'],
    ['1', undefined, 'digest'],
    ['', undefined, 'digest'],
    ['true', 'omit', 'omit'],
  ] as const)(
    'with %j in the environment and %s asked for keep content as %s',
    (text, asked, policy) => {
      vi.stubEnv(CAPTURE, text);
      configureInstrumentation(asked === undefined ? {} : { content: { policy: asked } });
      expect(currentSettings().policy).toBe(policy);
    },
  );

  it.each([
    ['content.policy', TypeError, { content: { policy: 'all' } }],
    ['abandonDelayMs', TypeError, { abandonDelayMs: '5' }],
    ['abandonDelayMs', TypeError, { abandonDelayMs: Number.NaN }],
    ['abandonDelayMs', RangeError, { abandonDelayMs: 0 }],
    ['abandonDelayMs', RangeError, { abandonDelayMs: 2 ** 31 }],
    ['onFirstSpan', TypeError, { onFirstSpan: 'soon' }],
    ['governanceOf', TypeError, { governanceOf: {} }],
    ['governanceMap.enduser.id', TypeError, { governanceMap: { 'enduser.id': 'aigov.name' } }],
    ['governance.system', TypeError, { governance: { system: 'scoring' } }],
    ['governance.system.riskClass', TypeError, { governance: { system: { riskClass: 'tiny' } } }],
    ['digestKey.id', TypeError, { digestKey: { id: 'a b', secret } }],
    ['digestKey.secret', TypeError, { digestKey: { id: 'k', secret: 'text' } }],
    ['digestKey.secret', RangeError, { digestKey: { id: 'k', secret: secret.subarray(0, 15) } }],
  ] as const)('refuse %s with a %o, and stay as they were', (name, kind, options) => {
    const before = currentSettings();
    const configure = () => configureInstrumentation(options as never);
    expect(configure).toThrow(kind);
    expect(configure).toThrow(name);
    expect(currentSettings()).toBe(before);
  });
});

describe('the first span', () => {
  it('is announced once, even if what hears of it starts one itself', () => {
    let heard = 0;
    configureInstrumentation({
      onFirstSpan: () => {
        heard++;
        announceFirstSpan();
      },
    });
    announceFirstSpan();
    countStart();
    countEnd('complete');
    expect(heard).toBe(1);
  });

  it('starts all the same if who hears of it throws', () => {
    const before = instrumentationStats().problems.onFirstSpan ?? 0;
    configureInstrumentation({
      onFirstSpan: () => {
        throw new Error('fault');
      },
    });
    expect(announceFirstSpan).not.toThrow();
    expect(instrumentationStats().problems.onFirstSpan).toBe(before + 1);
  });
});

describe('what is counted', () => {
  it('adds up: what was started has ended or is open', () => {
    const before = instrumentationStats();
    countStart();
    countStart();
    countEnd('aborted');
    const during = instrumentationStats();
    expect([during.started, during.open]).toEqual([before.started + 2, before.open + 1]);
    countEnd('aborted');
    const after = instrumentationStats();
    expect(after.open).toBe(before.open);
    expect(after.ended.aborted).toBe((before.ended.aborted ?? 0) + 2);
  });

  it.each([[new Error('fault')], ['text'], [undefined], [null]])(
    'includes a problem that throws %o, which goes no further',
    (thrown) => {
      const place = 'test.guard';
      const before = instrumentationStats().problems[place] ?? 0;
      const work = (): never => {
        throw thrown;
      };
      expect(guard(place, work)).toBeUndefined();
      countProblem(place);
      expect(instrumentationStats().problems[place]).toBe(before + 2);
    },
  );

  it('does not include what goes well', () => {
    expect(guard('test.well', () => 7)).toBe(7);
    expect(instrumentationStats().problems).not.toHaveProperty('test.well');
  });
});
