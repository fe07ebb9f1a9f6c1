// SPDX-License-Identifier: Apache-2.0
/**
 * A strict reader of the Prometheus text format 0.0.4, by its grammar and the promises that go with types: what a scraper
 * refuses or misreads is an error here.
 */

export interface Family {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** Values by the sample's name and labels as they stand. */
  readonly samples: Readonly<Record<string, number>>;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,(?=.)|$)/;
const VALUE = /^(?:[+-]?Inf|NaN|[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)$/;

/** @throws Error naming the line */
export function parsePrometheus(text: string): ReadonlyMap<string, Family> {
  const families = new Map<string, { type: Family['type']; help: string; samples: Samples }>();
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  let help: { readonly name: string; readonly text: string } | undefined;
  let current: string | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    const fail = (why: string): never => {
      throw new Error(`${why}: ${line}`);
    };
    const [mark, keyword, name = '', ...rest] = line.split(' ');
    if (mark === '#' && keyword === 'HELP') {
      if (!NAME.test(name)) fail('a name that is none');
      help = { name, text: rest.join(' ') };
    } else if (mark === '#' && keyword === 'TYPE') {
      const [type] = rest;
      if (type !== 'counter' && type !== 'gauge' && type !== 'histogram') fail('no type');
      if (families.has(name)) fail('a family that stands twice');
      if (help?.name !== name) fail('a family without help');
      families.set(name, { type: type as Family['type'], help: help!.text, samples: {} });
      current = name;
    } else {
      const [, sample = '', labels, value = ''] = SAMPLE.exec(line) ?? fail('no sample');
      const family = families.get(current ?? '') ?? fail('a sample without a family');
      const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
      if (!suffixes.some((suffix) => sample === `${current}${suffix}`)) {
        fail('a sample of another family');
      }
      for (let left = labels ?? ''; left !== ''; ) {
        const [label] = LABEL.exec(left) ?? fail('no label');
        left = left.slice(label.length);
      }
      if (!VALUE.test(value)) fail('no value');
      const key = line.slice(0, line.lastIndexOf(' '));
      if (Object.hasOwn(family.samples, key)) fail('a sample that stands twice');
      family.samples[key] = Number(value.replace('Inf', 'Infinity'));
    }
  }
  for (const [name, { type, samples }] of families) {
    if (type === 'counter') checkCounter(name, samples);
    if (type === 'histogram') checkHistogram(name, samples);
  }
  return families;
}

type Samples = Record<string, number>;

function checkCounter(name: string, samples: Samples): void {
  if (!name.endsWith('_total')) throw new Error(`${name}: a counter ends in _total`);
  if (Object.values(samples).some((value) => value < 0)) throw new Error(`${name}: below zero`);
}

/** Buckets are cumulative, in the order of their bounds, and the last has all. */
function checkHistogram(name: string, samples: Samples): void {
  const buckets = Object.entries(samples)
    .filter(([key]) => key.startsWith(`${name}_bucket{`))
    .map(([key, value]) => {
      const bound = /le="([^"]+)"/.exec(key)?.[1] ?? '';
      return { bound: Number(bound.replace('Inf', 'Infinity')), value };
    });
  const isOrdered = buckets.every(
    ({ bound, value }, at) =>
      at === 0 || (bound > buckets[at - 1]!.bound && value >= buckets[at - 1]!.value),
  );
  const last = buckets.at(-1);
  if (!isOrdered || last?.bound !== Infinity || last.value !== samples[`${name}_count`]) {
    throw new Error(`${name}: no histogram`);
  }
}
