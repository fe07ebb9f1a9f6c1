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

/** Fields by the members they are under, so that each member is looked at once, with every call and every chunk. */
export type Fields = readonly Member[];

interface Member {
  readonly name: string;
  /** The fields that this member is the value of. */
  readonly own: { attribute: string; type: Field[2]; isFallback: boolean }[];
  readonly below: Member[];
}

/** Prepares a list of fields; of several for one attribute, the first that is there holds. */
export function fields(list: readonly Field[]): Fields {
  const top: Member[] = [];
  const attributes = new Set<string>();
  for (const [path, attribute, type] of list) {
    let members = top;
    let member: Member | undefined;
    for (const name of path.split('.')) {
      member = members.find((known) => known.name === name);
      if (member === undefined) {
        member = { name, own: [], below: [] };
        members.push(member);
      }
      members = member.below;
    }
    member?.own.push({ attribute, type, isFallback: attributes.has(attribute) });
    attributes.add(attribute);
  }
  return top;
}

/** The attributes of the fields that are there. */
export function fieldsOf(value: unknown, all: Fields): Attributes {
  const attributes: Attributes = {};
  addFields(attributes, value, all);
  return attributes;
}

/** Adds the attributes of the fields that are there; they take the place of what was told before. */
export function addFields(attributes: Attributes, value: unknown, all: Fields): void {
  for (const { name, own, below } of all) {
    const at = property(value, name);
    if (at === undefined || at === null) continue;
    for (const { attribute, type, isFallback } of own) {
      if (typeof at !== type || (type === 'number' && !Number.isFinite(at))) continue;
      if (isFallback && attributes[attribute] !== undefined) continue;
      attributes[attribute] = at as string | number | boolean;
    }
    if (below.length > 0) addFields(attributes, at, below);
  }
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
