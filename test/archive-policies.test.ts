// SPDX-License-Identifier: Apache-2.0
// Goal: the policies that the command prints and those that the example creates are the same, and let nobody write over
// or delete what is archived. Method: the example's template, its references filled in, against the code.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { archivePolicies } from '../exporter/node/archive/archive-policies.ts';
import { readConfig } from '../exporter/node/config/config.ts';

const FOLDER = join(import.meta.dirname, '../examples/aws');

interface Template {
  readonly Resources: Readonly<
    Record<string, { readonly Properties: { readonly PolicyDocument?: unknown } }>
  >;
}

/** A template with `Fn::Sub` carried out. */
function filled(values: Readonly<Record<string, string>>): Template {
  const substitute = (_key: string, value: unknown): unknown => {
    const text = (value as { 'Fn::Sub'?: string } | null)?.['Fn::Sub'];
    return text === undefined
      ? value
      : text.replace(/\$\{([^}]+)\}/g, (_all, name: string) => values[name] ?? 'unknown');
  };
  const template = parse(readFileSync(join(FOLDER, 'archive.yaml'), 'utf8')) as unknown;
  return JSON.parse(JSON.stringify(template, substitute)) as Template;
}

const env = { SEALSPAN_CONFIG: join(FOLDER, 'sealspan.yaml') };
const config = readConfig(env).archiveS3!;

test('the settings of the example are read, and those of its bucket', () => {
  expect(config).toMatchObject({ bucket: 'acme-ai-records', mode: 'COMPLIANCE' });
});

describe('the template has the policy that the command prints for', () => {
  const { Resources } = filled({
    'Bucket.Arn': `arn:aws:s3:::${config.bucket}`,
    MinimumDays: `${config.retention.minimumDays}`,
    MaximumDays: `${config.retention.maximumDays}`,
  });
  const policies = archivePolicies(config);
  test.each([
    ['bucket', 'Policy'],
    ['writer', 'Writer'],
    ['auditor', 'Auditor'],
  ] as const)('the %s', (name, resource) => {
    expect(Resources[resource]?.Properties.PolicyDocument).toEqual(policies[name]);
  });
});

test('below a prefix a policy is about that prefix', () => {
  const text = JSON.stringify(archivePolicies({ ...config, prefix: 'team/a' }).writer);
  expect(text).toContain('"arn:aws:s3:::acme-ai-records/team/a/*"');
});
