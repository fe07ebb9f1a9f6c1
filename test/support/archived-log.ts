// SPDX-License-Identifier: Apache-2.0
/**
 * Small logs in an archive: records by the real writer, put by the real archive with their receipts sealed in the next
 * segment, each with a checkpoint at its exact end. For stores on loopback and real ones alike.
 */
import { createHash } from 'node:crypto';
import type { ControlEvent } from '../../exporter/log/control.ts';
import { leafHash, NO_LINK, Tree } from '../../exporter/log/merkle.ts';
import { readFrames } from '../../exporter/log/segment.ts';
import type { Archive } from '../../exporter/node/archive/archive.ts';
import { checkpointKey, segmentKey, startKey } from '../../exporter/node/archive/archiver.ts';
import { encodePruned } from '../../exporter/node/storage/prune.ts';
import type { Signer } from '../../exporter/node/system/keys.ts';
import { DIR, emptyDisk, IN_PROCESS, openSigner, openWriter, spanEntries } from './small-log.ts';

export interface ArchivedLog {
  readonly origin: string;
  readonly signer: Signer;
  readonly segmentKeys: readonly string[];
  readonly checkpointKeys: readonly string[];
  /** One for each segment but the first. */
  readonly startKeys: readonly string[];
  readonly spanCount: number;
}

export interface ArchivedLogOptions {
  readonly origin: string;
  readonly segmentCount?: number;
  /** Spans of each segment, all in one record. */
  readonly spansPerSegment?: number;
  readonly signer?: Signer;
  /** Also archive what was in front of each segment. */
  readonly hasStarts?: boolean;
  /** Sealed before the log is closed. */
  readonly lastEvents?: readonly ControlEvent[];
  /** What the spans are called. */
  readonly spanName?: string;
}

const NUMBERS = { started: 0, ended: 0, sealed: 0, lost: 0, highest: 0, open: '' } as const;

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** Writes a log that is opened and closed, and archives all of it. */
export async function archiveLog(
  archive: Archive,
  options: ArchivedLogOptions,
): Promise<ArchivedLog> {
  const { origin, segmentCount = 3, spansPerSegment = 2, spanName = 'chat' } = options;
  const signer = options.signer ?? openSigner(origin);
  const disk = emptyDisk();
  const writer = openWriter(disk, signer);
  const segmentKeys: string[] = [];
  const checkpointKeys: string[] = [];
  const startKeys: string[] = [];
  const tree = new Tree(sha256);
  let link: Uint8Array = NO_LINK;
  const store = async (key: string, bytes: Uint8Array): Promise<string | undefined> => {
    const what = { key, content: { bytes }, byteLength: bytes.length, sha256: sha256(bytes) };
    const outcome = await archive.put(what);
    if (outcome.status !== 'ok') throw new Error(`${outcome.status}: ${outcome.cause}`);
    return outcome.lock;
  };
  let receipts: ControlEvent[] = [];
  for (let number = 0; number < segmentCount; number++) {
    const names = Array.from({ length: spansPerSegment }, (_, at) => `${spanName} ${number}.${at}`);
    writer.append('traces', IN_PROCESS, spanEntries(...names));
    if (receipts.length > 0) writer.appendControl(receipts);
    const lastEvents = options.lastEvents ?? [];
    const closed: ControlEvent = { name: 'closed', ...NUMBERS };
    if (number === segmentCount - 1) writer.appendControl([...lastEvents, closed]);
    writer.checkpoint();
    const segment = writer.currentSegment;
    const bytes = disk.readAll(`${DIR}/segments/${String(segment).padStart(20, '0')}.seg`)!;
    const note = disk.readAll(`${DIR}/checkpoint`)!;
    const key = segmentKey(origin, segment);
    if (options.hasStarts === true && segment > 0) {
      startKeys.push(startKey(origin, segment));
      await store(
        startKey(origin, segment),
        encodePruned({ size: segment, peaks: tree.peaks, link }),
      );
    }
    for (const { headerBytes } of readFrames(bytes)) {
      link = leafHash(sha256, headerBytes);
      tree.append(link);
    }
    const lock = await store(key, bytes);
    checkpointKeys.push(checkpointKey(origin, writer.size, note));
    await store(checkpointKeys.at(-1)!, note);
    segmentKeys.push(key);
    const { size } = writer;
    receipts = [
      {
        name: 'receipt',
        archive: archive.name,
        segment,
        size,
        byteLength: bytes.length,
        sha256: sha256(bytes),
        key,
        ...(lock === undefined ? {} : { lock }),
      },
    ];
    writer.finishSegment();
  }
  writer.close();
  const spanCount = segmentCount * spansPerSegment;
  return { origin, signer, segmentKeys, checkpointKeys, startKeys, spanCount };
}
