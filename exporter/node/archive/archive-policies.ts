// SPDX-License-Identifier: Apache-2.0
/**
 * The policies under which a bucket is an archive: what the bucket refuses to everybody, what a writer and what an
 * auditor may do. To be copied; nothing here applies them.
 */
import type { S3ArchiveConfig } from '../config/archive-config.ts';

export interface ArchivePolicies {
  /** On the bucket: binds everybody, the administrators of the account included, until they change it. */
  readonly bucket: object;
  /** For the credentials of services. */
  readonly writer: object;
  /** For the credentials of those who verify. Reads only. */
  readonly auditor: object;
}

const VERSION = '2012-10-17';

export function archivePolicies(config: S3ArchiveConfig): ArchivePolicies {
  const { minimumDays, maximumDays } = config.retention;
  const bucket = `arn:aws:s3:::${config.bucket}`;
  const objects = `${bucket}/${config.prefix === '' ? '' : `${config.prefix}/`}*`;
  const deny = (Sid: string, Action: string | readonly string[], Condition: object): object => ({
    Sid,
    Effect: 'Deny',
    Principal: '*',
    Action,
    Resource: objects,
    Condition,
  });
  const allow = (Sid: string, Resource: string, Action: readonly string[]): object => ({
    Sid,
    Effect: 'Allow',
    Action,
    Resource,
  });
  const days = 's3:object-lock-remaining-retention-days';
  const locking = ['s3:PutObject', 's3:PutObjectRetention'];
  return {
    bucket: {
      Version: VERSION,
      Statement: [
        deny('EncryptedTransportOnly', 's3:*', { Bool: { 'aws:SecureTransport': 'false' } }),
        // Also refuses multipart uploads, which have no condition: segments are put in one part.
        deny('NewKeysOnly', 's3:PutObject', { Null: { 's3:if-none-match': 'true' } }),
        deny('LockedOnly', 's3:PutObject', {
          StringNotEquals: { 's3:object-lock-mode': config.mode },
        }),
        deny('LockedLongEnough', locking, { NumericLessThan: { [days]: `${minimumDays}` } }),
        ...(maximumDays === undefined
          ? []
          : [
              deny('LockedNoLonger', locking, { NumericGreaterThan: { [days]: `${maximumDays}` } }),
            ]),
        {
          Sid: 'NobodyDeletes',
          Effect: 'Deny',
          Principal: '*',
          Action: ['s3:DeleteObject', 's3:DeleteObjectVersion', 's3:BypassGovernanceRetention'],
          Resource: objects,
        },
      ],
    },
    writer: {
      Version: VERSION,
      Statement: [
        allow('PutLocked', objects, locking),
        allow('ReadBack', objects, [
          's3:GetObject',
          's3:GetObjectVersion',
          's3:GetObjectRetention',
        ]),
        // For `sealspan hold`; without it holds are sealed, and wait to be put on what is archived.
        allow('HoldLegally', objects, ['s3:PutObjectLegalHold']),
        allow('CompareOnStart', bucket, ['s3:ListBucketVersions']),
      ],
    },
    auditor: {
      Version: VERSION,
      Statement: [
        allow('Read', objects, [
          's3:GetObject',
          's3:GetObjectVersion',
          's3:GetObjectRetention',
          's3:GetObjectLegalHold',
        ]),
        allow('ListVersions', bucket, [
          's3:ListBucketVersions',
          's3:GetBucketVersioning',
          's3:GetBucketObjectLockConfiguration',
        ]),
      ],
    },
  };
}
