// SPDX-License-Identifier: Apache-2.0
/**
 * Finds where a log in an archive begins, once its first segments were deleted: at the first one of which the archive
 * holds what the tree was in front of it. Trusts none of that: the roots that were signed behind it have to fit.
 */
import { parseSegmentName } from '../../log/segment.ts';
import type { Removed } from '../../log/verify.ts';
import { NOTHING_PRUNED, parsePruned } from '../storage/prune.ts';
import type { S3Store } from './s3-store.ts';

/** 53 peaks and a link in base64, two short lines. */
export const START_BYTE_LENGTH_MAX = 4096;
const START_NAME = /^[0-9]{20}$/;

/** The record that a start is named after; undefined for another name. */
export function parseStartName(name: string): number | undefined {
  return START_NAME.test(name) ? Number(name) : undefined;
}

/** What was in front of the first segment that can be verified; nothing where the log is whole. @throws S3Failure */
export async function findStart(store: S3Store, folder: string): Promise<Removed> {
  const onLack = (): void => {};
  const nameOf = (key: string): string => key.slice(key.lastIndexOf('/') + 1);
  let first = 0;
  for await (const { key, versionCount } of store.keys(`${folder}segments/`, { onLack })) {
    const index = parseSegmentName(nameOf(key));
    if (index === undefined || versionCount === 0) continue;
    first = index;
    break;
  }
  if (first === 0) return NOTHING_PRUNED;
  for await (const { key, versions } of store.keys(`${folder}starts/`, { onLack })) {
    const index = parseStartName(nameOf(key));
    if (index === undefined || index < first) continue;
    for (const { id, byteLength } of versions) {
      if (byteLength > START_BYTE_LENGTH_MAX) continue;
      const got = await store.get(key, id, START_BYTE_LENGTH_MAX);
      const start = got && parsePruned(got.bytes);
      if (start?.size === index) return start;
    }
  }
  return NOTHING_PRUNED;
}
