// SPDX-License-Identifier: Apache-2.0
/**
 * Finds the records of one trace in a large log by its index, and verifies each of them: its bytes, and its place under the
 * newest signed checkpoint. Where anything does not fit it gives up, and the log has to be read whole. What the index leaves
 * out, nobody sees here; nor what is wrong elsewhere in the log.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { LogError } from '../log/errors.ts';
import { verifyConsistency, verifyInclusion } from '../log/merkle.ts';
import { type Checkpoint, type Head, judgeNote, parseCheckpoint } from '../log/note.ts';
import { type VerifiedRecord, verifyRecord } from '../log/record.ts';
import { isOfFiles, type LogIndex, openLogIndex } from '../node/storage/log-index.ts';
import { readNewestCheckpoint } from '../node/storage/log-reader.ts';
import { causeOf } from '../node/system/cause.ts';
import { nodeFiles } from '../node/system/files.ts';
import { nodePrimitives, sha256 } from '../node/system/keys.ts';
import type { TrustFile } from './trust.ts';
import { keyBeside } from './verify.ts';

export interface IndexedTrace {
  readonly status: 'ok';
  /** Those that may hold spans of the trace; each was verified, and is under the checkpoint. */
  readonly records: readonly VerifiedRecord[];
  readonly head: Checkpoint;
}

export interface NoIndexedTrace {
  readonly status: 'none';
  /** Why the log has to be read whole. */
  readonly cause: string;
}

const none = (cause: string): NoIndexedTrace => ({ status: 'none', cause });

/**
 * Looks a trace up, once more with an index made anew where the first does not fit.
 * @param onProgress told how many records are indexed of how many, while the index is behind
 */
export async function findIndexed(
  dir: string,
  traceId: Uint8Array,
  trust: TrustFile | undefined,
  onProgress: (size: number, of: number) => void,
): Promise<IndexedTrace | NoIndexedTrace> {
  // An archive is written to by its archiver alone.
  if (!existsSync(join(dir, 'signing'))) return none('this is no log directory of a writer');
  const signed = await signedHead(dir, trust);
  if (typeof signed === 'string') return none(signed);
  let cause = '';
  for (const isAnew of [false, true]) {
    const opened = await openLogIndex(dir, signed.head, { files: nodeFiles, onProgress, isAnew });
    if (opened.status === 'none') return opened;
    const { index } = opened;
    try {
      const records = await lookUp(index, traceId, signed);
      // No index has what is not signed yet.
      if (records === undefined) return none('spans of the trace are not signed yet');
      return { status: 'ok', records, head: signed.head };
    } catch (error) {
      if (!(error instanceof Misfit) && !isOfFiles(error)) throw error;
      cause = causeOf(error);
    } finally {
      index.close();
    }
  }
  return none(cause);
}

/** What the index gives does not hold. */
class Misfit extends Error {}

interface SignedHead {
  readonly head: Checkpoint;
  /** The head that the trust file remembers. */
  readonly minimum: Head | undefined;
}

/** The newest checkpoint, with a signature that holds; or, in words, why there is none to go by. */
async function signedHead(dir: string, trust: TrustFile | undefined): Promise<SignedHead | string> {
  const file = readNewestCheckpoint(dir);
  if (file === undefined) return 'there is no checkpoint';
  let head: Checkpoint;
  try {
    head = parseCheckpoint(file.bytes);
  } catch (error) {
    if (error instanceof LogError) return error.message;
    throw error;
  }
  const known = trust?.logs.find(({ origin }) => origin === head.origin);
  const verifier = trust === undefined ? keyBeside(dir) : known?.verifier;
  if (verifier === undefined || verifier.name !== head.origin) {
    return 'there is no key to check the checkpoint with';
  }
  const { signedBy, forged } = await judgeNote(head.note, [verifier], nodePrimitives.verifyEd25519);
  if (forged.length > 0 || signedBy.length === 0)
    return 'the signature of the checkpoint does not hold';
  return { head, minimum: known?.head };
}

/**
 * The records that may hold spans of a trace, each verified; undefined where there may be some behind the checkpoint.
 * @throws Misfit, or what {@link isOfFiles} knows
 */
async function lookUp(
  index: LogIndex,
  traceId: Uint8Array,
  { head, minimum }: SignedHead,
): Promise<VerifiedRecord[] | undefined> {
  if (minimum !== undefined && !extendsHead(index, head, minimum)) {
    throw new Misfit('the log does not extend the head seen before');
  }
  const found = index.find(traceId);
  if (found.some((record) => record >= head.size) || (await index.isBehind(traceId))) {
    return undefined;
  }
  const records: VerifiedRecord[] = [];
  for (const number of found) {
    const frame = index.read(number);
    if (frame === undefined) throw new Misfit(`record ${number} is not where it should be`);
    const record = await verifyRecord(frame, nodePrimitives);
    if ('code' in record) throw new Misfit(`record ${number}: ${record.message}`);
    const { log, index: own } = record.header;
    const path = index.tree.inclusionPath(number, head.size);
    const isIncluded = verifyInclusion(sha256, record.leaf, number, head.size, path, head.root);
    // The leaf binds the header, so its own words are true once it is included; its log is what was signed.
    if (!isIncluded || log !== head.origin || own !== number) {
      throw new Misfit(`record ${number} is not the one that was signed`);
    }
    records.push(record);
  }
  return records;
}

function extendsHead({ tree }: LogIndex, head: Checkpoint, old: Head): boolean {
  if (old.size > head.size) return false;
  const path = tree.consistencyPath(old.size, head.size);
  return verifyConsistency(sha256, old.size, old.root, head.size, head.root, path);
}
