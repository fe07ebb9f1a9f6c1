// SPDX-License-Identifier: Apache-2.0
/**
 * What people say about a request, a decision or an act of oversight: the shapes, their check, and their attributes.
 * Nothing is inferred or filled in: what is not given is absent. Says nothing about whether a statement is true.
 */
import { z } from 'zod';
import * as names from './attributes.ts';
import { ATTR_GEN_AI_PROMPT_NAME, ATTR_GEN_AI_PROMPT_VERSION } from './gen-ai.ts';

/** Value of a span attribute; a subset of what every OpenTelemetry API version accepts. */
export type AttributeValue = string | number | boolean | string[];

type Text = string | undefined;
type OneOf<Values extends readonly string[]> = Values[number] | undefined;

/** What holds for all that happens within a request. Every part is optional, so that layers can add theirs. */
export interface Governance {
  readonly system?:
    | {
        readonly id?: Text;
        readonly version?: Text;
        readonly role?: OneOf<typeof names.AIGOV_SYSTEM_ROLE_VALUES>;
        readonly riskClass?: OneOf<typeof names.AIGOV_SYSTEM_RISK_CLASS_VALUES>;
        readonly annexIiiCategory?: Text;
      }
    | undefined;
  readonly deployment?: { readonly id?: Text; readonly jurisdiction?: Text } | undefined;
  readonly purpose?: { readonly id?: Text; readonly intended?: boolean | undefined } | undefined;
  /** Ids are pseudonyms: the log can not forget a name. */
  readonly actor?:
    | { readonly id?: Text; readonly type?: OneOf<typeof names.AIGOV_ACTOR_TYPE_VALUES> }
    | undefined;
  /** Pseudonyms of everybody the actor acts for, the first principal first. */
  readonly delegation?: { readonly chain?: readonly string[] | undefined } | undefined;
  readonly subject?: { readonly ref?: Text } | undefined;
  readonly lawfulBasis?: OneOf<typeof names.AIGOV_LAWFUL_BASIS_VALUES>;
  readonly data?: { readonly categories?: readonly string[] | undefined } | undefined;
  readonly policy?:
    | {
        readonly id?: Text;
        readonly version?: Text;
        readonly ruleId?: Text;
        readonly verdict?: OneOf<typeof names.AIGOV_POLICY_VERDICT_VALUES>;
        readonly action?: OneOf<typeof names.AIGOV_POLICY_ACTION_VALUES>;
        readonly reasonCode?: Text;
      }
    | undefined;
  /** Digests are written `sha256:<hex>`, or with another algorithm before the colon. */
  readonly model?: { readonly version?: Text; readonly digest?: Text } | undefined;
  readonly dataset?:
    | { readonly id?: Text; readonly version?: Text; readonly digest?: Text }
    | undefined;
  /** Of the template: `name` and `version` as whoever manages it has them. */
  readonly prompt?:
    | { readonly name?: Text; readonly version?: Text; readonly templateDigest?: Text }
    | undefined;
  readonly oversight?:
    | { readonly mode?: OneOf<typeof names.AIGOV_OVERSIGHT_MODE_VALUES> }
    | undefined;
  readonly transparency?: { readonly noticeId?: Text } | undefined;
  readonly incident?: { readonly id?: Text } | undefined;
  readonly retention?: { readonly class?: Text } | undefined;
  readonly legalHold?: boolean | undefined;
}

/** One decision made by or with a model. */
export interface Decision {
  readonly id: string;
  readonly parentId?: Text;
  readonly outcome: string;
  /** From 0 to 1, and only as the model reported it. */
  readonly confidence?: number | undefined;
  readonly automation?: OneOf<typeof names.AIGOV_DECISION_AUTOMATION_VALUES>;
  readonly legalEffect?: boolean | undefined;
  /** Whether it was carried out, and not only evaluated. */
  readonly executed?: boolean | undefined;
  readonly effectDigest?: Text;
}

/** One act of a person over a decision or a running system. */
export interface Oversight {
  readonly act: (typeof names.AIGOV_OVERSIGHT_ACT_VALUES)[number];
  readonly reviewer: { readonly id: string; readonly role?: Text };
  readonly decisionId?: Text;
  /** Digest of what the person was shown. */
  readonly contextDigest?: Text;
  readonly justificationRef?: Text;
  /** Seconds from showing to acting. */
  readonly latencyS?: number | undefined;
}

/** Longest text of one value, in UTF-16 units: governance values are names and codes, not content. */
const TEXT_LENGTH_MAX = 1024;
/** Most items of one list. */
const LIST_LENGTH_MAX = 64;
/** Most problems told of one call, and the longest text of one: they become a span attribute. */
const PROBLEMS_MAX = 16;
const PROBLEM_LENGTH_MAX = 200;

// A lone surrogate has no UTF-8 form, so two writers could spell one value differently.
const text = z
  .string('expected text')
  .min(1, 'is empty')
  .max(TEXT_LENGTH_MAX, `longer than ${TEXT_LENGTH_MAX}`)
  .refine((value) => !/\p{Surrogate}/u.test(value), 'not well-formed Unicode');
const digest = z
  .string('expected text')
  .regex(
    /^[a-z0-9]+(?:-[a-z0-9]+)*:(?:[0-9a-f]{2}){16,64}$/,
    'expected <algorithm>:<lower-case hex>',
  );
const flag = z.boolean('expected true or false');
const texts = z
  .array(text, 'expected a list of texts')
  .min(1, 'is empty')
  .max(LIST_LENGTH_MAX, `more than ${LIST_LENGTH_MAX} items`)
  .readonly();
const oneOf = <const Values extends readonly [string, ...string[]]>(values: Values) =>
  z.enum(values, `expected one of ${values.join(', ')}`);
const object = <Shape extends z.core.$ZodLooseShape>(shape: Shape) =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `unknown: ${issue.keys.join(', ')}; known: ${Object.keys(shape).join(', ')}`
        : 'expected an object',
  });

const governanceShape = {
  system: object({
    id: text.optional(),
    version: text.optional(),
    role: oneOf(names.AIGOV_SYSTEM_ROLE_VALUES).optional(),
    riskClass: oneOf(names.AIGOV_SYSTEM_RISK_CLASS_VALUES).optional(),
    annexIiiCategory: text.optional(),
  }).optional(),
  deployment: object({ id: text.optional(), jurisdiction: text.optional() }).optional(),
  purpose: object({ id: text.optional(), intended: flag.optional() }).optional(),
  actor: object({
    id: text.optional(),
    type: oneOf(names.AIGOV_ACTOR_TYPE_VALUES).optional(),
  }).optional(),
  delegation: object({ chain: texts.optional() }).optional(),
  subject: object({ ref: text.optional() }).optional(),
  lawfulBasis: oneOf(names.AIGOV_LAWFUL_BASIS_VALUES).optional(),
  data: object({ categories: texts.optional() }).optional(),
  policy: object({
    id: text.optional(),
    version: text.optional(),
    ruleId: text.optional(),
    verdict: oneOf(names.AIGOV_POLICY_VERDICT_VALUES).optional(),
    action: oneOf(names.AIGOV_POLICY_ACTION_VALUES).optional(),
    reasonCode: text.optional(),
  }).optional(),
  model: object({ version: text.optional(), digest: digest.optional() }).optional(),
  dataset: object({
    id: text.optional(),
    version: text.optional(),
    digest: digest.optional(),
  }).optional(),
  prompt: object({
    name: text.optional(),
    version: text.optional(),
    templateDigest: digest.optional(),
  }).optional(),
  oversight: object({ mode: oneOf(names.AIGOV_OVERSIGHT_MODE_VALUES).optional() }).optional(),
  transparency: object({ noticeId: text.optional() }).optional(),
  incident: object({ id: text.optional() }).optional(),
  retention: object({ class: text.optional() }).optional(),
  legalHold: flag.optional(),
};

/** Checks a {@link Governance}; unknown keys are refused with the known ones named. */
export const governanceSchema: z.ZodType<Governance> = object(governanceShape);

/** Checks a {@link Decision}. */
export const decisionSchema: z.ZodType<Decision> = object({
  id: text,
  parentId: text.optional(),
  outcome: text,
  confidence: z
    .number('expected a number from 0 to 1')
    .min(0, 'expected a number from 0 to 1')
    .max(1, 'expected a number from 0 to 1')
    .optional(),
  automation: oneOf(names.AIGOV_DECISION_AUTOMATION_VALUES).optional(),
  legalEffect: flag.optional(),
  executed: flag.optional(),
  effectDigest: digest.optional(),
});

/** Checks an {@link Oversight}. */
export const oversightSchema: z.ZodType<Oversight> = object({
  act: oneOf(names.AIGOV_OVERSIGHT_ACT_VALUES),
  reviewer: object({ id: text, role: text.optional() }),
  decisionId: text.optional(),
  contextDigest: digest.optional(),
  justificationRef: text.optional(),
  latencyS: z
    .number('expected a number of seconds')
    .min(0, 'expected a number of seconds')
    .optional(),
});

type Mapping = readonly (readonly [path: string, attribute: string])[];

const GOVERNANCE: Mapping = [
  ['system.id', names.ATTR_AIGOV_SYSTEM_ID],
  ['system.version', names.ATTR_AIGOV_SYSTEM_VERSION],
  ['system.role', names.ATTR_AIGOV_SYSTEM_ROLE],
  ['system.riskClass', names.ATTR_AIGOV_SYSTEM_RISK_CLASS],
  ['system.annexIiiCategory', names.ATTR_AIGOV_SYSTEM_ANNEX_III_CATEGORY],
  ['deployment.id', names.ATTR_AIGOV_DEPLOYMENT_ID],
  ['deployment.jurisdiction', names.ATTR_AIGOV_DEPLOYMENT_JURISDICTION],
  ['purpose.id', names.ATTR_AIGOV_PURPOSE_ID],
  ['purpose.intended', names.ATTR_AIGOV_PURPOSE_INTENDED],
  ['actor.id', names.ATTR_AIGOV_ACTOR_ID],
  ['actor.type', names.ATTR_AIGOV_ACTOR_TYPE],
  ['delegation.chain', names.ATTR_AIGOV_DELEGATION_CHAIN],
  ['subject.ref', names.ATTR_AIGOV_SUBJECT_REF],
  ['lawfulBasis', names.ATTR_AIGOV_LAWFUL_BASIS],
  ['data.categories', names.ATTR_AIGOV_DATA_CATEGORIES],
  ['policy.id', names.ATTR_AIGOV_POLICY_ID],
  ['policy.version', names.ATTR_AIGOV_POLICY_VERSION],
  ['policy.ruleId', names.ATTR_AIGOV_POLICY_RULE_ID],
  ['policy.verdict', names.ATTR_AIGOV_POLICY_VERDICT],
  ['policy.action', names.ATTR_AIGOV_POLICY_ACTION],
  ['policy.reasonCode', names.ATTR_AIGOV_POLICY_REASON_CODE],
  ['model.version', names.ATTR_AIGOV_MODEL_VERSION],
  ['model.digest', names.ATTR_AIGOV_MODEL_DIGEST],
  ['dataset.id', names.ATTR_AIGOV_DATASET_ID],
  ['dataset.version', names.ATTR_AIGOV_DATASET_VERSION],
  ['dataset.digest', names.ATTR_AIGOV_DATASET_DIGEST],
  ['prompt.name', ATTR_GEN_AI_PROMPT_NAME],
  ['prompt.version', ATTR_GEN_AI_PROMPT_VERSION],
  ['prompt.templateDigest', names.ATTR_AIGOV_PROMPT_TEMPLATE_DIGEST],
  ['oversight.mode', names.ATTR_AIGOV_OVERSIGHT_MODE],
  ['transparency.noticeId', names.ATTR_AIGOV_TRANSPARENCY_NOTICE_ID],
  ['incident.id', names.ATTR_AIGOV_INCIDENT_ID],
  ['retention.class', names.ATTR_AIGOV_RETENTION_CLASS],
  ['legalHold', names.ATTR_AIGOV_LEGAL_HOLD],
];

const DECISION: Mapping = [
  ['id', names.ATTR_AIGOV_DECISION_ID],
  ['parentId', names.ATTR_AIGOV_DECISION_PARENT_ID],
  ['outcome', names.ATTR_AIGOV_DECISION_OUTCOME],
  ['confidence', names.ATTR_AIGOV_DECISION_CONFIDENCE],
  ['automation', names.ATTR_AIGOV_DECISION_AUTOMATION],
  ['legalEffect', names.ATTR_AIGOV_DECISION_LEGAL_EFFECT],
  ['executed', names.ATTR_AIGOV_DECISION_EXECUTED],
  ['effectDigest', names.ATTR_AIGOV_DECISION_EFFECT_DIGEST],
];

const OVERSIGHT: Mapping = [
  ['act', names.ATTR_AIGOV_OVERSIGHT_ACT],
  ['reviewer.id', names.ATTR_AIGOV_OVERSIGHT_REVIEWER_ID],
  ['reviewer.role', names.ATTR_AIGOV_OVERSIGHT_REVIEWER_ROLE],
  ['decisionId', names.ATTR_AIGOV_DECISION_ID],
  ['contextDigest', names.ATTR_AIGOV_OVERSIGHT_CONTEXT_DIGEST],
  ['justificationRef', names.ATTR_AIGOV_OVERSIGHT_JUSTIFICATION_REF],
  ['latencyS', names.ATTR_AIGOV_OVERSIGHT_LATENCY],
];

/** The attributes of checked values; an absent value gives no attribute. */
export function governanceAttributes(values: Governance): Record<string, AttributeValue> {
  return map(GOVERNANCE, values);
}

/** Attributes that a {@link Governance} can have. */
export const GOVERNANCE_ATTRIBUTES: readonly string[] = GOVERNANCE.map(
  ([, attribute]) => attribute,
);

/**
 * Reads unchecked values by the names of their attributes, as {@link readGovernance} does those of an object. A text stands
 * for a list of one, and a number for its digits, where that is what is asked for: other systems write them so.
 */
export function readGovernanceAttributes(values: Readonly<Record<string, unknown>>): Reading {
  const nested: Record<string, Record<string, unknown> | unknown> = {};
  for (const [path, attribute] of GOVERNANCE) {
    const value = values[attribute];
    if (value === undefined) continue;
    const [first = '', second] = path.split('.');
    const told = typeof value === 'number' ? String(value) : value;
    if (second === undefined) nested[first] = told;
    else {
      const isList = LISTS.has(attribute) && typeof told === 'string';
      nested[first] = { ...(nested[first] as object), [second]: isList ? [told] : told };
    }
  }
  return readGovernance(nested);
}

const LISTS: ReadonlySet<string> = new Set([
  names.ATTR_AIGOV_DELEGATION_CHAIN,
  names.ATTR_AIGOV_DATA_CATEGORIES,
]);

/** The attributes of a checked decision. */
export function decisionAttributes(values: Decision): Record<string, AttributeValue> {
  return map(DECISION, values);
}

/** The attributes of a checked act of oversight. */
export function oversightAttributes(values: Oversight): Record<string, AttributeValue> {
  return map(OVERSIGHT, values);
}

function map(mapping: Mapping, values: object): Record<string, AttributeValue> {
  const attributes: Record<string, AttributeValue> = {};
  for (const [path, attribute] of mapping) {
    let value: unknown = values;
    for (const step of path.split('.'))
      value = (value as Record<string, unknown> | undefined)?.[step];
    if (value === undefined) continue;
    attributes[attribute] = Array.isArray(value) ? [...value] : (value as AttributeValue);
  }
  return attributes;
}

/** What could be used of values nobody has checked yet. */
export interface Reading {
  readonly attributes: Record<string, AttributeValue>;
  /** One sentence per value left out, naming it and never quoting it; empty if all was used. */
  readonly problems: readonly string[];
}

/** Reads unchecked values of a {@link Governance}, keeping what is valid. Never throws. */
export function readGovernance(values: unknown): Reading {
  return readValues('governance', governanceSchema, GOVERNANCE, values);
}

/** Reads unchecked values of a {@link Decision}, keeping what is valid. Never throws. */
export function readDecision(values: unknown): Reading {
  return readValues('decision', decisionSchema, DECISION, values);
}

/** Reads unchecked values of an {@link Oversight}, keeping what is valid. Never throws. */
export function readOversight(values: unknown): Reading {
  return readValues('oversight', oversightSchema, OVERSIGHT, values);
}

function readValues(what: string, schema: z.ZodType, mapping: Mapping, values: unknown): Reading {
  try {
    const checked = schema.safeParse(values);
    if (checked.success) return { attributes: map(mapping, checked.data as object), problems: [] };
    const issues = checked.error.issues;
    const problems = issues
      .slice(0, PROBLEMS_MAX)
      .map(({ path, message }) =>
        `${[what, ...path].join('.')}: ${message}`.slice(0, PROBLEM_LENGTH_MAX),
      );
    const bad = issues
      .filter(({ code }) => code !== 'unrecognized_keys')
      .map(({ path }) => path.join('.'));
    // The mapping reads known keys only, so unknown ones need no removing; a value counts as bad with all it contains.
    const isGood = (path: string) =>
      !bad.some(
        (at) => at === '' || at === path || at.startsWith(`${path}.`) || path.startsWith(`${at}.`),
      );
    const good = mapping.filter(([path]) => isGood(path));
    return { attributes: map(good, values as object), problems };
  } catch {
    // A getter of the caller's object threw: nothing of it can be trusted to read the same twice.
    return { attributes: {}, problems: [`${what}: can not be read`] };
  }
}

/** Where a value comes from that is on spans already: a governance attribute by the attribute it is taken from. */
export type GovernanceMap = Readonly<Record<string, string | GovernanceMapTarget>>;

export interface GovernanceMapTarget {
  /** One of {@link GOVERNANCE_ATTRIBUTES}. */
  readonly to: string;
  /** Whether a keyed hash of the value is taken instead of it: names and addresses of persons must not be sealed. */
  readonly pseudonymise?: boolean | undefined;
}

/** One line of a {@link GovernanceMap}. */
export interface GovernanceMapping {
  readonly from: string;
  readonly to: string;
  readonly pseudonymise: boolean;
}

/** What a configuration states: values that hold for the whole process, and where others come from. */
export interface ConfiguredGovernance extends Governance {
  readonly map?: GovernanceMap | undefined;
}

const attributeName = z.enum(GOVERNANCE_ATTRIBUTES as [string, ...string[]]);
const governanceMapSchema: z.ZodType<GovernanceMap> = z.record(
  text,
  z.union(
    [attributeName, object({ to: attributeName, pseudonymise: flag.optional() })],
    'expected an attribute that people state, such as aigov.actor.id, or settings with `to` and `pseudonymise`',
  ),
);

/** Checks a {@link ConfiguredGovernance}. */
export const configuredGovernanceSchema: z.ZodType<ConfiguredGovernance> = object({
  ...governanceShape,
  map: governanceMapSchema.optional(),
});

/**
 * The lines of a map.
 * @throws TypeError naming the line that can not be
 */
export function readGovernanceMap(map: GovernanceMap): GovernanceMapping[] {
  const checked = governanceMapSchema.safeParse(map);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    throw new TypeError(`${issue?.path.join('.') || 'map'}: ${issue?.message}`);
  }
  return Object.entries(checked.data).map(([from, target]) =>
    typeof target === 'string'
      ? { from, to: target, pseudonymise: false }
      : { from, to: target.to, pseudonymise: target.pseudonymise ?? false },
  );
}
