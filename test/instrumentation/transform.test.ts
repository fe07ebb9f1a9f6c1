// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: hooked functions get their channels, and all else of a file stays as it is, in a long file to the letter.
 * Method: files made up for it in the layouts that bundlers write, transformed and run with a listener on each channel.
 */
import { tracingChannel } from 'node:diagnostics_channel';
import { createContext, runInContext } from 'node:vm';
import { afterEach, describe, expect, it } from 'vitest';
import { transformersTarget } from '../../instrumentation/targets/transformers.ts';
import { SourceTransformer } from '../../instrumentation/transform.ts';

const NAME = '@huggingface/transformers';
const transformer = new SourceTransformer(
  transformersTarget.hooks.map((hook) => ({
    channelName: `sealspan.${hook.channel}`,
    module: {
      name: NAME,
      versionRange: '>=4.0.0 <5.0.0',
      filePath: new RegExp(`^${hook.file}\\.[cm]?js$`),
    },
    functionQuery: hook.function,
  })),
);
const VERSION = '4.3.1';
const FILE = 'dist/transformers.node.cjs';
const CLASS = `class Pipeline extends Base {
  constructor(options) {
    super();
    this.task = options.task;
  }
}
`;
const FUNCTION = `async function pipeline(task, {
  model,
} = {}) {
  return new Pipeline({ task: \`\${task} by \${model}\` }).task;
}
`;
/** A class as long as those are for which a file is not parsed whole. */
const filler = (length: number): string =>
  `class Base {}\nvar kept   = [ ${"'x', ".repeat(length / 5)}];\n`;
const LONG = 100_000;

const transform = (source: string): string | undefined =>
  transformer.transform({ name: NAME, version: VERSION, file: FILE }, () => source, 'cjs');

const subscribed: (() => void)[] = [];
afterEach(() => {
  for (const forget of subscribed.splice(0)) forget();
});

/** Runs a source; answers with what its function gives and with the channels that told of a call. */
async function run(source: string): Promise<unknown> {
  const told: string[] = [];
  for (const name of ['create', 'pipeline']) {
    const { start } = tracingChannel(`orchestrion:@huggingface/transformers:sealspan.${name}`);
    const listener = (): void => void told.push(name);
    start.subscribe(listener);
    subscribed.push(() => start.unsubscribe(listener));
  }
  const sandbox = createContext({ require: (name: string) => process.getBuiltinModule(name) });
  const result = await (runInContext(
    `${source}\npipeline('qa', { model: 'm' })`,
    sandbox,
  ) as Promise<unknown>);
  return { result, told };
}
const BOTH = { result: 'qa by m', told: ['pipeline', 'create'] };

describe.each([
  ['short', 0],
  ['long', LONG],
])('a %s file', (_, length) => {
  it('gets the channels of all that is hooked', async () => {
    expect(await run(transform(filler(length) + CLASS + FUNCTION)!)).toEqual(BOTH);
  });

  it('gets them for a class that bundlers have made a variable of', async () => {
    const made = CLASS.replace('class Pipeline', 'var Pipeline = class').replace(/\}\n$/, '};\n');
    expect(await run(transform(filler(length) + made + FUNCTION)!)).toEqual(BOTH);
  });

  it('gets them where the end of a function only seems to be one', async () => {
    const quoting = FUNCTION.replace('  return', '  const text = `\n}\n`;\n  void text;\n  return');
    expect(await run(transform(filler(length) + CLASS + quoting)!)).toEqual(BOTH);
  });

  it('is refused without any of what is hooked', () => {
    expect(() => transform(`${filler(length)}class Other {}\n`)).toThrow('injection points');
  });
});

it('all else of a long file stays to the letter', () => {
  const [before, after] = [filler(LONG), '\nmodule . exports = {pipeline}\n// end\n'];
  const source = transform(before + CLASS + FUNCTION + after)!;
  expect(source.startsWith(before)).toBe(true);
  expect(source.endsWith(after)).toBe(true);
});

it.each([
  ['a file of which nothing is hooked', VERSION, 'dist/other.cjs'],
  ['a version that is not known', '99.0.0', FILE],
])('%s is left alone', (_, version, file) => {
  const at = { name: NAME, version, file };
  expect(transformer.transform(at, () => CLASS, 'cjs')).toBeUndefined();
});
