// SPDX-License-Identifier: Apache-2.0
/**
 * Where finished segments are archived, and for how long: the settings `archive` and `retention`, checked against each
 * other. Does not ask the store whether it can: `sealspan archive test` does.
 */
import { z } from 'zod';
import {
  type LockMode,
  RETENTION_CLASS_DEFAULT,
  RETENTION_CLASSES,
  RETENTION_DAYS_MAX,
  type Retention,
} from '../storage/retention.ts';
import { settings } from './settings.ts';

/** Where objects are. Credentials come from the SDK's own chain: environment, profile, workload identity. */
export interface S3Place {
  readonly bucket: string;
  /** Components joined by `/`; empty for the whole bucket. */
  readonly prefix: string;
  readonly region: string | undefined;
  readonly endpoint: string | undefined;
  readonly pathStyle: boolean;
}

/** A bucket, and the lock that everything in it gets. Plain data, since it crosses threads. */
export interface S3ArchiveConfig extends S3Place {
  readonly mode: LockMode;
  readonly retention: Retention;
}

/** What a person may say of a bucket. */
export interface S3Input {
  readonly bucket: string;
  /** What keys begin with, so that several archives can share a bucket. */
  readonly prefix?: string | undefined;
  readonly region?: string | undefined;
  /** Of a store that is not Amazon's: `https://…`. */
  readonly endpoint?: string | undefined;
  /** `https://host/bucket` instead of `https://bucket.host`; for stores without names for buckets. */
  readonly pathStyle?: boolean | undefined;
  /** `compliance` (default): nobody can delete. `governance`: whoever may bypass it can; for trying out. */
  readonly mode?: 'compliance' | 'governance' | undefined;
}

export interface RetentionInput {
  /** `6-months` (default), `3-years`, `6-years`, `7-years` or `10-years`; or a name of your own with `minimumDays`. */
  readonly class?: string | undefined;
  readonly minimumDays?: number | undefined;
  readonly maximumDays?: number | undefined;
  /** Days that segments stay on the local disk after they are archived; for ever unless given. */
  readonly localDays?: number | undefined;
}

/** Names of buckets as Amazon has them; other stores take no more. */
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
/** What keys of an archive may begin with. */
export const ARCHIVE_PREFIX: RegExp = /^(?!\.)[a-z0-9._-]+(?:\/(?!\.)[a-z0-9._-]+)*$/;

export function isBucketName(text: string): boolean {
  return BUCKET.test(text);
}

function isUrl(text: string): boolean {
  return /^https?:\/\//.test(text) && URL.canParse(text);
}

interface S3Settings extends S3Input {
  readonly mode: 'compliance' | 'governance';
}

const s3Schema: z.ZodType<S3Settings> = settings({
  bucket: z
    .string()
    .regex(
      BUCKET,
      'expected the name of a bucket: 3 to 63 lower case letters, digits, dots, dashes',
    ),
  prefix: z
    .string()
    .max(200)
    .regex(
      ARCHIVE_PREFIX,
      'expected lower case letters, digits, dots, dashes, underscores, single slashes in between',
    )
    .optional(),
  region: z.string().min(1).optional(),
  endpoint: z.string().refine(isUrl, 'expected a URL, http:// or https://').optional(),
  pathStyle: z.boolean().optional(),
  mode: z.enum(['compliance', 'governance']).default('compliance'),
});

const WHAT = 'expected off, or settings with a directory or s3';

/** `off` is one thing to say; the rest keeps its own places for its own mistakes. */
export const archiveSchema: z.ZodType<ArchiveSettings> = z.preprocess(
  (value) => (value === 'off' ? { directory: null } : value),
  z
    .strictObject(
      { directory: z.string().min(1).nullable().optional(), s3: s3Schema.optional() },
      {
        error: (issue) =>
          issue.code === 'unrecognized_keys'
            ? `unknown: ${issue.keys.join(', ')}; known: directory, s3`
            : WHAT,
      },
    )
    .refine(({ directory, s3 }) => (directory === undefined) !== (s3 === undefined), {
      error: `${WHAT}, and not both`,
      when: ({ issues }) => issues.length === 0,
    }),
);

interface ArchiveSettings {
  readonly directory?: string | null | undefined;
  readonly s3?: S3Settings | undefined;
}

const days = z.number().int().min(0).max(RETENTION_DAYS_MAX);

export const retentionSchema: z.ZodType<Retention> = settings({
  class: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'expected a name of lower case letters, digits and dashes')
    .optional(),
  minimumDays: days.min(1).optional(),
  maximumDays: days.optional(),
  localDays: days.optional(),
})
  .superRefine((given, context) => {
    const refuse = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message });
    const known = knownClass(given.class);
    if (known === undefined && given.minimumDays === undefined) {
      refuse(
        'class',
        `expected one of ${Object.keys(RETENTION_CLASSES).join(', ')}, or minimumDays for a class of your own`,
      );
      return;
    }
    // A class is a promise to others: less than it says is not that class.
    const [least = 0] = known ?? [];
    const minimum = given.minimumDays ?? least;
    if (minimum < least) {
      refuse(
        'minimumDays',
        `expected at least ${least}, as the class ${given.class ?? RETENTION_CLASS_DEFAULT} has it`,
      );
    }
    if (given.maximumDays !== undefined && given.maximumDays < minimum) {
      refuse('maximumDays', `expected at least minimumDays, ${minimum}`);
    }
  })
  .transform((given) => {
    const [least = 0, greatest] = knownClass(given.class) ?? [];
    const minimumDays = given.minimumDays ?? least;
    const otherwise = greatest === undefined ? undefined : Math.max(greatest, minimumDays);
    return {
      className: given.class ?? RETENTION_CLASS_DEFAULT,
      minimumDays,
      maximumDays: given.maximumDays ?? otherwise,
      localDays: given.localDays,
    };
  });

function knownClass(name: string = RETENTION_CLASS_DEFAULT): readonly [number, number] | undefined {
  return Object.hasOwn(RETENTION_CLASSES, name) ? RETENTION_CLASSES[name] : undefined;
}

/** The bucket of the settings, with the lock that everything in it gets. */
export function s3ConfigOf(
  { bucket, prefix, region, endpoint, pathStyle, mode }: S3Settings,
  retention: Retention,
): S3ArchiveConfig {
  return {
    bucket,
    prefix: prefix ?? '',
    region,
    endpoint,
    pathStyle: pathStyle ?? false,
    mode: mode === 'compliance' ? 'COMPLIANCE' : 'GOVERNANCE',
    retention,
  };
}
