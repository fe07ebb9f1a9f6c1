// SPDX-License-Identifier: Apache-2.0
/**
 * Loaded before our modules: lets every block of ours with a parameter list before it (functions, methods, callbacks) throw when
 * it is entered, one at a time. Goes by how the code is laid out, so a function whose whole body is an expression has no place.
 */
import { registerHooks } from 'node:module';

/** What the application that runs the cases uses of this. */
export interface Faults {
  /** Places that were entered since this was last cleared. */
  readonly entered: Set<string>;
  /** The place that throws. */
  active: string | undefined;
  /** How often it threw. */
  thrown: number;
}

const faults: Faults = { entered: new Set(), active: undefined, thrown: 0 };
const enter = (place: string): void => {
  faults.entered.add(place);
  if (faults.active !== place) return;
  faults.thrown++;
  throw new Error('fault of ours');
};
Object.assign(globalThis, { sealspanFaults: faults, sealspanEnter: enter });

/** The first line of a block after a parameter list. */
const BLOCK = /\)(?:: .+)? (?:=> )?\{$/;
/** What stands between the application and its SDK and calls on: whatever it does first, it does within a guard. */
const SHELL =
  /\b(?:hide|replace|wrap)\(|function \(this|pull: async|^ {4}(?:resolve|load): \(|^\s*(?:\} else )?(?:switch|if|for|while) |^export function (?:guard|countProblem|instrumentationStats)\b/;

/** What does so in several steps: it calls on for the application, so that it can not be within a guard itself. */
const SHELLS: ReadonlySet<string> = new Set([
  'watchCall',
  'runWithin',
  'callModel',
  'callPipeline',
  'send',
]);

registerHooks({
  load: (url, context, next) => {
    const loaded = next(url, context);
    const file = /\/instrumentation\/((?:targets\/)?[a-z-]+)\.ts$/.exec(url)?.[1];
    if (file === undefined || loaded.source === undefined || url.includes('/test/')) return loaded;
    const lines = String(loaded.source).split('\n');
    let name = '';
    const source = lines.map((line, index) => {
      name = /^(?:export )?function (\w+)/.exec(line)?.[1] ?? name;
      const isStart = /^(?:export )?function |^\)/.test(line);
      if (isStart && SHELLS.has(name)) return line;
      // What begins with a guard does nothing outside of it.
      const isGuarded = /^\s*(?:return )?guard\(/.test(lines[index + 1] ?? '');
      if (!BLOCK.test(line) || SHELL.test(line) || isGuarded) return line;
      const text = JSON.stringify(`${file}:${index + 1} ${line.trim()}`);
      return `${line} globalThis.sealspanEnter(${text});`;
    });
    return { ...loaded, source: source.join('\n') };
  },
});
