// SPDX-License-Identifier: Apache-2.0
/**
 * Writes large logs fast: real headers, links, tree, signature and key, but payloads that repeat, written once and synced
 * never. Verifies as any other log does; would not survive a power cut.
 */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import { encodeControl } from '../../../exporter/log/control.ts';
import { type PayloadKind, splitRequest } from '../../../exporter/log/entries.ts';
import { encodeHeader, WRITER_SOURCE } from '../../../exporter/log/header.ts';
import { leafHash, NO_LINK, rootOf, Tree } from '../../../exporter/log/merkle.ts';
import { encodeCheckpointText, encodeNote } from '../../../exporter/log/note.ts';
import { segmentName } from '../../../exporter/log/segment.ts';
import { encodeSigning } from '../../../exporter/node/storage/signed-head.ts';
import {
  generateKeyPem,
  parseSigner,
  sha256,
  writeSecret,
} from '../../../exporter/node/system/keys.ts';
import { otlpRequests, type SpanStyle } from './spans.ts';

export interface SyntheticOptions {
  /** Gets the log of instance `0`. */
  readonly dir: string;
  readonly originBase: string;
  readonly spanCount: number;
  readonly spansPerRecord: number;
  readonly style: SpanStyle;
  /** Distinct payloads, in turn. */
  readonly distinctCount: number;
  /** Default 16 MiB, as writers make them. */
  readonly segmentByteLength?: number;
}

export interface SyntheticLog {
  readonly records: number;
  readonly byteLength: number;
  /** Index of the last record of spans; no trace of it is in any other record. */
  readonly lastRecord: number;
  readonly lastTraceId: string;
}

interface Part {
  readonly kind: PayloadKind;
  readonly payloadByteLength: number;
  readonly stored: Uint8Array;
  readonly storedHash: Uint8Array;
  readonly entryCount: number;
  readonly root: Uint8Array;
}

const SEGMENT_BYTE_LENGTH = 16 * 1024 * 1024;
const RECORD_INTERVAL_MS = 10;

function partOf(kind: PayloadKind, entries: readonly Uint8Array[]): Part {
  const payload = Buffer.concat(entries);
  const stored = zstdCompressSync(payload, {
    pledgedSrcSize: payload.length,
    params: {
      [constants.ZSTD_c_compressionLevel]: 1,
      [constants.ZSTD_c_contentSizeFlag]: 1,
      [constants.ZSTD_c_windowLog]: 20,
    },
  });
  const leaves = entries.map((entry) => leafHash(sha256, entry));
  return {
    kind,
    payloadByteLength: payload.length,
    stored,
    storedHash: sha256(stored),
    entryCount: entries.length,
    root: rootOf(sha256, leaves),
  };
}

export function writeSyntheticLog(options: SyntheticOptions): SyntheticLog {
  const { originBase, spanCount, spansPerRecord, distinctCount } = options;
  const segmentByteLengthMax = options.segmentByteLength ?? SEGMENT_BYTE_LENGTH;
  const dir = join(options.dir, '0');
  const segments = join(dir, 'segments');
  mkdirSync(segments, { recursive: true, mode: 0o700 });
  const pem = generateKeyPem();
  const signer = parseSigner(`${originBase}/0`, pem);
  const origin = signer.verifier.name;
  writeSecret(join(dir, 'key.pem'), pem);
  writeFileSync(join(dir, 'verifier'), `${signer.vkey}\n`);

  const spanRecords = Math.ceil(spanCount / spansPerRecord);
  const last = otlpRequests(
    { ...options.style, seed: options.style.seed + 7 },
    1,
    spansPerRecord,
  )[0]!;
  const traces = otlpRequests(options.style, distinctCount, spansPerRecord).map((request) =>
    partOf('traces', splitRequest(request, 'traces')),
  );
  const lastEntries = splitRequest(last, 'traces');
  const startMs = Date.now() - (spanRecords + 2) * RECORD_INTERVAL_MS;
  const tree = new Tree(sha256);
  let link = NO_LINK;
  let file = -1;
  let segmentByteLength = 0;
  let byteLength = 0;

  const append = (part: Part): void => {
    const { stored, kind, payloadByteLength, storedHash, entryCount, root } = part;
    const headerBytes = encodeHeader({
      log: origin,
      index: tree.size,
      prev: link,
      sealed: new Date(startMs + tree.size * RECORD_INTERVAL_MS).toISOString(),
      source: WRITER_SOURCE,
      kind,
      payloadByteLength,
      storedByteLength: stored.length,
      storedHash,
      entryCount,
      root,
    });
    const frame = Buffer.concat([headerBytes, stored]);
    if (file < 0 || segmentByteLength + frame.length > segmentByteLengthMax) {
      if (file >= 0) closeSync(file);
      file = openSync(join(segments, segmentName(tree.size)), 'ax', 0o600);
      segmentByteLength = 0;
    }
    writeSync(file, frame);
    segmentByteLength += frame.length;
    byteLength += frame.length;
    link = leafHash(sha256, headerBytes);
    tree.append(link);
  };

  const opened = {
    name: 'opened',
    size: 0,
    root: tree.root(),
    writer: 'bench',
    instance: '0',
    configuration: new Uint8Array(32),
    heartbeatMs: 86_400_000,
  } as const;
  append(partOf('control', [encodeControl(opened, startMs)]));
  for (let record = 1; record < spanRecords; record++) append(traces[record % traces.length]!);
  append(partOf('traces', lastEntries));
  const lastRecord = tree.size - 1;
  const counters = { started: 0, ended: 0, sealed: 0, lost: 0, highest: 0, open: '' };
  append(partOf('control', [encodeControl({ name: 'closed', ...counters }, Date.now())]));
  closeSync(file);

  const head = { size: tree.size, root: tree.root() };
  writeFileSync(join(dir, 'signing'), encodeSigning(head));
  const text = encodeCheckpointText(origin, head);
  const signatures = [{ verifier: signer.verifier, signature: signer.sign(text) }];
  writeFileSync(join(dir, 'checkpoint'), encodeNote(text, signatures));
  return {
    records: tree.size,
    byteLength,
    lastRecord,
    lastTraceId: traceIdOf(lastEntries.at(-1)!),
  };
}

/** In an entry a trace id follows tag 1 and its length, 16; and the ids here are the first of their kind. */
function traceIdOf(entry: Uint8Array): string {
  const bytes = Buffer.from(entry);
  for (let at = bytes.indexOf('\n\x10'); at >= 0; at = bytes.indexOf('\n\x10', at + 1)) {
    // The span id comes behind it: tag 2 and its length, 8.
    if (bytes[at + 18] === 0x12 && bytes[at + 19] === 8)
      return bytes.toString('hex', at + 2, at + 18);
  }
  throw new Error('no trace id');
}
