// SPDX-License-Identifier: Apache-2.0
/**
 * The AI packages that are hooked when an application loads them, and what of them is covered: a package that was loaded
 * before, or has an unknown version, is not, and is reported; one that lies in a bundle is not, and is not.
 */
import { dirname, join } from 'node:path';
import {
  AIGOV_INSTRUMENTATION_STATUS_VALUE_ACTIVE,
  AIGOV_INSTRUMENTATION_STATUS_VALUE_FAILED,
  AIGOV_INSTRUMENTATION_STATUS_VALUE_LOADED_BEFORE_US,
  AIGOV_INSTRUMENTATION_STATUS_VALUE_OUT_OF_RANGE,
  type AIGOV_INSTRUMENTATION_STATUS_VALUES,
} from '../semconv/index.ts';
import { packageFileOf, versionAt } from './package-files.ts';
import { guard } from './settings.ts';
import type { Target } from './target.ts';
import { anthropicTarget } from './targets/anthropic.ts';
import { bedrockTarget } from './targets/bedrock.ts';
import { cohereTarget } from './targets/cohere.ts';
import { googleGenaiTarget } from './targets/google-genai.ts';
import { groqTarget } from './targets/groq.ts';
import { langchainTarget } from './targets/langchain.ts';
import { mcpTargets } from './targets/mcp.ts';
import { mistralTarget } from './targets/mistral.ts';
import { ollamaTarget } from './targets/ollama.ts';
import { onnxruntimeTarget } from './targets/onnxruntime.ts';
import { openaiTarget } from './targets/openai.ts';
import { openaiAgentsTarget } from './targets/openai-agents.ts';
import { transformersTarget } from './targets/transformers.ts';
import { vercelAiTarget } from './targets/vercel-ai.ts';

/**
 * Whether calls through a package are seen; `not_loaded` and `not_installed` need nobody's attention. Of one that is
 * `unhooked`, files were loaded and none of those that are hooked: a part that makes no calls, or a new shape.
 */
export type TargetStatus =
  | (typeof AIGOV_INSTRUMENTATION_STATUS_VALUES)[number]
  | 'unhooked'
  | 'not_loaded'
  | 'not_installed';

/** What is seen of one package, or of one of several copies of it. */
export interface CoverageRow {
  readonly target: string;
  /** Undefined if the package is not installed. */
  readonly version: string | undefined;
  readonly status: TargetStatus;
  /** The versions that are known, where this is none of them; the file that could not be hooked. */
  readonly detail?: string;
}

export type Coverage = readonly CoverageRow[];

export const TARGETS: readonly Target[] = [
  openaiTarget,
  mistralTarget,
  cohereTarget,
  ollamaTarget,
  anthropicTarget,
  googleGenaiTarget,
  groqTarget,
  vercelAiTarget,
  langchainTarget,
  bedrockTarget,
  ...mcpTargets,
  openaiAgentsTarget,
  onnxruntimeTarget,
  transformersTarget,
];

/** A copy of a package that has come to our attention. */
export interface Copy {
  readonly target: Target;
  readonly version: string;
  /** Files that were given channels. */
  readonly hooked: Set<string>;
  wasLoadedBefore: boolean;
  /** Code of it was loaded, hooked or not. */
  wasLoaded: boolean;
  /** The last file that could not be given its channels. */
  failed: string | undefined;
}

/** By the folder of the copy. */
const copies = new Map<string, Copy>();
let onChange: (() => void) | undefined;

/** Calls `listener` whenever {@link coverage} may have another answer than before; it takes the place of the one before. */
export function watchCoverage(listener: () => void): void {
  onChange = listener;
}

/** Says that something of a copy has changed. */
export function noteChange(): void {
  if (onChange !== undefined) guard('hooks.change', onChange);
}

/** What the hooks cover now: a row per copy of a package that was loaded, or one that says why there is none. */
export function coverage(): Coverage {
  return TARGETS.flatMap((target): Coverage => {
    const loaded = [...copies.values()].filter((copy) => copy.target === target);
    if (loaded.length > 0) {
      return loaded.map((copy) => rowOf(target, copy.version, statusOf(copy), copy.failed));
    }
    const version = guard('hooks.installed', () => installedVersion(target.name));
    if (version === undefined) return [{ target: target.name, version, status: 'not_installed' }];
    const status = isKnown(target, version)
      ? 'not_loaded'
      : AIGOV_INSTRUMENTATION_STATUS_VALUE_OUT_OF_RANGE;
    return [rowOf(target, version, status)];
  });
}

function rowOf(
  target: Target,
  version: string,
  status: TargetStatus,
  failed?: string,
): CoverageRow {
  const row = { target: target.name, version, status };
  if (status === AIGOV_INSTRUMENTATION_STATUS_VALUE_OUT_OF_RANGE) {
    return { ...row, detail: versionRange(target) };
  }
  return failed === undefined ? row : { ...row, detail: failed };
}

/** The versions that are known, as package managers write them. */
export function versionRange({
  fromVersion,
  belowVersion,
}: Pick<Target, 'fromVersion' | 'belowVersion'>): string {
  return `>=${fromVersion} <${belowVersion}`;
}

function statusOf(copy: Copy): TargetStatus {
  if (copy.hooked.size === 0 && !copy.wasLoadedBefore && !isKnown(copy.target, copy.version)) {
    return AIGOV_INSTRUMENTATION_STATUS_VALUE_OUT_OF_RANGE;
  }
  if (copy.failed !== undefined) return AIGOV_INSTRUMENTATION_STATUS_VALUE_FAILED;
  if (copy.wasLoadedBefore) return AIGOV_INSTRUMENTATION_STATUS_VALUE_LOADED_BEFORE_US;
  if (copy.hooked.size > 0) return AIGOV_INSTRUMENTATION_STATUS_VALUE_ACTIVE;
  return copy.wasLoaded ? 'unhooked' : 'not_loaded';
}

/** The copy of a target that a file belongs to, known from now on. */
export function copyOf(urlOrPath: string): Copy | undefined {
  const at = packageFileOf(urlOrPath);
  const target = TARGETS.find(({ name }) => name === at?.name);
  if (at === undefined || target === undefined) return undefined;
  const known = copies.get(at.folder);
  if (known !== undefined) return known;
  const version = versionAt(at.folder);
  if (version === undefined) return undefined;
  const copy: Copy = {
    target,
    version,
    hooked: new Set(),
    wasLoadedBefore: false,
    wasLoaded: false,
    failed: undefined,
  };
  copies.set(at.folder, copy);
  noteChange();
  return copy;
}

/** The version that the program would load. */
export function installedVersion(name: string): string | undefined {
  return installedCopy(name)?.version;
}

/** The copy that the program would load, from its folder or the working directory upwards. */
export function installedCopy(
  name: string,
): { readonly folder: string; readonly version: string } | undefined {
  const program = process.argv[1];
  const starts = [...(program === undefined ? [] : [dirname(program)]), process.cwd()];
  for (const start of starts) {
    for (let folder = start; ; folder = dirname(folder)) {
      const place = join(folder, 'node_modules', name);
      const version = versionAt(place);
      if (version !== undefined) return { folder: place, version };
      if (folder === dirname(folder)) break;
    }
  }
  return undefined;
}

function isKnown({ fromVersion, belowVersion }: Target, version: string): boolean {
  return compare(version, fromVersion) >= 0 && compare(version, belowVersion) < 0;
}

function compare(a: string, b: string): number {
  const left = numbersOf(a);
  const right = numbersOf(b);
  for (let index = 0; index < 3; index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Major, minor and patch; a pre-release counts as its release. */
export function numbersOf(version: string): readonly number[] {
  return version.split(/[-+]/, 1)[0]!.split('.').map(Number);
}
