// SPDX-License-Identifier: Apache-2.0
/**
 * J: sealed segments into an object store, locked and read back: MB a second against the same bytes put without any of
 * that, requests and their price per million spans, bytes at rest against OTLP and against JSON lines. The store is
 * versitygw on this machine's disk: what a network adds, no bench here knows.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { splitRequest } from '../../exporter/log/entries.ts';
import { WRITER_SOURCE } from '../../exporter/log/header.ts';
import { S3Archive } from '../../exporter/node/archive/archive-s3.ts';
import { openArchiver } from '../../exporter/node/archive/archiver.ts';
import { finishedSegments } from '../../exporter/node/storage/log-reader.ts';
import { LogWriter } from '../../exporter/node/storage/log-writer.ts';
import { nodeFiles } from '../../exporter/node/system/files.ts';
import { generateKeyPem, parseSigner } from '../../exporter/node/system/keys.ts';
import { beOwner, type S3Server, SERVERS } from '../e2e/s3.ts';
import { killAll } from '../e2e/services.ts';
import { decodeOtlp } from '../support/otlp-backend.ts';
import { type Bench, interleaved, type Row, row, runBenches } from './support/bench.ts';
import { otlpRequests } from './support/spans.ts';

const ORIGIN = 'bench/archive/0';
const REQUEST_COUNT = 600;
const SPANS_PER_REQUEST = 128;
const SPAN_COUNT = REQUEST_COUNT * SPANS_PER_REQUEST;
/** As by default, for the count of requests. */
const SEGMENT_BYTE_LENGTH = 16 * 1024 * 1024;
/** As written here, so that there are several. */
const WRITTEN_BYTE_LENGTH = 2 * 1024 * 1024;
const MEGABYTE = 1_000_000;
/** Dollars for 1,000 requests that put, and for a gigabyte and month, as Amazon lists them for us-east-1. */
const PRICE_OF_1000_PUTS = 0.005;
const PRICE_OF_GB_MONTH = 0.023;
/** Two objects for each segment, and a question about each. */
const OBJECTS_PER_SEGMENT = 2;

/** Lines of OTLP/JSON as the Collector's file exporter writes them: ids in hex. */
function jsonLineLength(request: Uint8Array): number {
  const isId = (key: string): boolean => ['traceId', 'spanId', 'parentSpanId'].includes(key);
  const line = JSON.stringify(decodeOtlp('TracesData', request), (key, value: unknown) =>
    isId(key) && typeof value === 'string' ? Buffer.from(value, 'base64').toString('hex') : value,
  );
  return Buffer.byteLength(line) + 1;
}

interface Written {
  readonly dir: string;
  readonly size: number;
  readonly note: Uint8Array;
  readonly sentByteLength: number;
  readonly jsonByteLength: number;
  readonly storedByteLength: number;
  readonly segmentCount: number;
}

function writeLog(dir: string): Written {
  const signer = parseSigner(ORIGIN, generateKeyPem());
  const writer = LogWriter.open({
    dir,
    signer,
    files: nodeFiles,
    now: Date.now,
    opened: {
      writer: 'bench',
      instance: '0',
      configuration: new Uint8Array(32),
      heartbeatMs: 60_000,
    },
    segmentByteLengthMax: WRITTEN_BYTE_LENGTH,
    segmentAgeMsMax: 600_000,
  });
  let sentByteLength = 0;
  let jsonByteLength = 0;
  const style = { seed: 1, byteLength: 1024, content: 'off' } as const;
  for (const request of otlpRequests(style, REQUEST_COUNT, SPANS_PER_REQUEST)) {
    sentByteLength += request.length;
    jsonByteLength += jsonLineLength(request);
    writer.append('traces', WRITER_SOURCE, splitRequest(request, 'traces'));
  }
  writer.checkpoint();
  writer.close();
  const segments = join(dir, 'segments');
  const names = readdirSync(segments);
  return {
    dir,
    size: writer.size,
    note: readFileSync(join(dir, 'checkpoint')),
    sentByteLength,
    jsonByteLength,
    storedByteLength: names.reduce((sum, name) => sum + statSync(join(segments, name)).size, 0),
    segmentCount: names.length,
  };
}

/** MB a second of the archiver, from the first segment to the last receipt. */
async function archiveAll(server: S3Server, bucket: string, log: Written): Promise<number> {
  await server.makeBucket(bucket);
  const archive = await S3Archive.open(server.archive(bucket));
  const startedMs = performance.now();
  const archiver = openArchiver({
    archive,
    origin: ORIGIN,
    finishedSegments: () =>
      finishedSegments(
        log.dir,
        () => log.size,
        () => log.size,
      ),
    checkpoint: () => ({ size: log.size, bytes: log.note }),
    receipts: [],
    onReceipt: () => {},
    onReport: ({ cause }) => {
      throw new Error(cause);
    },
  });
  const { status } = await archiver.flush(600_000);
  const seconds = (performance.now() - startedMs) / 1000;
  await archiver.close();
  archive.close();
  if (status !== 'ok') throw new Error(`archiving: ${archiver.status().cause}`);
  return log.storedByteLength / MEGABYTE / seconds;
}

/** MB a second of plain puts of the same files, nothing asked and nothing read back. */
async function putAll(server: S3Server, bucket: string, log: Written): Promise<number> {
  await server.makeBucket(bucket);
  const startedMs = performance.now();
  for (const name of readdirSync(join(log.dir, 'segments'))) {
    const Body = readFileSync(join(log.dir, 'segments', name));
    const ChecksumSHA256 = createHash('sha256').update(Body).digest('base64');
    await server.client.send(
      new PutObjectCommand({ Bucket: bucket, Key: name, Body, ChecksumSHA256 }),
    );
  }
  const seconds = (performance.now() - startedMs) / 1000;
  return log.storedByteLength / MEGABYTE / seconds;
}

export const archive: Bench = {
  id: 'J',
  question: 'sealed segments into a locked object store: MB a second, requests and bytes',
  run: async ({ rounds, dir, say }) => {
    const [kind] = SERVERS;
    if (kind === undefined || kind.lacks !== undefined) {
      say(`not run: ${kind?.lacks}`);
      return [];
    }
    beOwner();
    const server = await kind.start(dir('store'));
    try {
      say('writing the log');
      const log = writeLog(dir('archived'));
      const values = await interleaved(rounds, {
        archived: (round) => {
          say(`archiving, round ${round}`);
          return archiveAll(server, `archived-${round}`, log);
        },
        plain: (round) => {
          say(`plain puts, round ${round}`);
          return putAll(server, `plain-${round}`, log);
        },
      });
      return rowsOf(log, values);
    } finally {
      await killAll();
    }
  },
};

function rowsOf(
  log: Written,
  { archived, plain }: { readonly archived: readonly number[]; readonly plain: readonly number[] },
): Row[] {
  const segmentsPerMillion =
    (1_000_000 / SPAN_COUNT) * (log.storedByteLength / SEGMENT_BYTE_LENGTH);
  const putsPerMillion = segmentsPerMillion * OBJECTS_PER_SEGMENT;
  const dollars = (putsPerMillion / 1000) * PRICE_OF_1000_PUTS;
  const perSpan = (byteLength: number): number => byteLength / SPAN_COUNT;
  const stored = perSpan(log.storedByteLength);
  const month = (stored / 1000) * PRICE_OF_GB_MONTH;
  return [
    row({
      id: 'J.rate',
      what: 'segments of 2 MiB with a checkpoint each, put once, locked, the lock read back',
      unit: 'MB/s',
      values: archived,
      floor: plain,
    }),
    row({
      id: 'J.puts',
      what: 'objects put per million spans of 1 kB, where segments of 16 MiB fill before they are ten seconds old',
      unit: 'PUT',
      values: [putsPerMillion],
      note: `$${dollars.toFixed(5)} at $${PRICE_OF_1000_PUTS} for 1,000; a writer of few spans puts 12 a minute, $${((12 * 60 * 24 * 30 * PRICE_OF_1000_PUTS) / 1000).toFixed(2)} a month`,
    }),
    row({
      id: 'J.bytes',
      what: 'bytes at rest per span of 1 kB, against OTLP protobuf (floor) and JSON lines of a Collector (peer)',
      unit: 'B',
      values: [stored],
      floor: [perSpan(log.sentByteLength)],
      peer: [perSpan(log.jsonByteLength)],
      note: `a million spans kept for a month: $${month.toFixed(4)} at $${PRICE_OF_GB_MONTH} a GB`,
    }),
  ];
}

if (import.meta.main) await runBenches([archive]);
