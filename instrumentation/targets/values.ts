// SPDX-License-Identifier: Apache-2.0
/**
 * Reads values of requests and answers, whose types the packages only promise. A value of another type than expected is left
 * out, not converted.
 */
import type { Attributes } from '@opentelemetry/api';
import { property } from '../invocation.ts';

/** Where a parameter or a reported value goes, and of which type it must be. */
export type Field = readonly [
  path: string,
  attribute: string,
  type: 'string' | 'number' | 'boolean',
];

/** The steps of each path, which are few and asked for with every call. */
const steps = new Map<string, readonly string[]>();

function stepsOf(path: string): readonly string[] {
  let known = steps.get(path);
  if (known === undefined) {
    known = path.split('.');
    steps.set(path, known);
  }
  return known;
}

/** The attributes of the fields that are there; a path has its steps separated by dots. */
export function fieldsOf(value: unknown, fields: readonly Field[]): Attributes {
  const attributes: Attributes = {};
  for (const [path, attribute, type] of fields) {
    let at: unknown = value;
    for (const step of stepsOf(path)) at = property(at, step);
    if (typeof at !== type || (type === 'number' && !Number.isFinite(at))) continue;
    attributes[attribute] ??= at as string | number | boolean;
  }
  return attributes;
}

/** The items of a list, none if it is no list. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export function indexOf(value: unknown, fallback: number): number {
  return Number.isSafeInteger(value) ? (value as number) : fallback;
}

/** An error type of few values out of a provider's code. */
export function codeOf(...values: readonly unknown[]): string | undefined {
  return values.find(
    (value): value is string => typeof value === 'string' && /^[A-Za-z0-9_.-]{1,64}$/.test(value),
  );
}

/** The members of a request body but for some. */
export function without(body: unknown, omitted: ReadonlySet<string>): Record<string, unknown> {
  if (typeof body !== 'object' || body === null) return {};
  return Object.fromEntries(Object.entries(body).filter(([name]) => !omitted.has(name)));
}

/** What a person asks, as one message in the shape of the GenAI conventions: each text, or item of a list, is a part. */
export function userMessages(...contents: readonly unknown[]): readonly unknown[] {
  const parts = contents.flat().filter((content) => content !== undefined && content !== null);
  return [{ role: 'user', parts: parts.map((content) => ({ type: 'text', content })) }];
}
