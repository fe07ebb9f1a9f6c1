// SPDX-License-Identifier: Apache-2.0
/**
 * H: bytes at rest per span, header and all, against its OTLP protobuf. Each span has two digests of its own, 64 random bytes
 * that nothing compresses, and ids. The same seed gives the same number everywhere.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { splitRequest } from '../../exporter/log/entries.ts';
import { WRITER_SOURCE } from '../../exporter/log/header.ts';
import { LogWriter } from '../../exporter/node/storage/log-writer.ts';
import { nodeFiles } from '../../exporter/node/system/files.ts';
import { generateKeyPem, parseSigner } from '../../exporter/node/system/keys.ts';
import { type Bench, type Row, row, runBenches } from './support/bench.ts';
import { otlpRequests, type SpanStyle } from './support/spans.ts';

const CASES = [
  {
    id: 'H.512',
    perRecord: 512,
    records: 40,
    byteLength: 1024,
    content: 'off',
    aim: { most: 0.2 },
  },
  { id: 'H.20', perRecord: 20, records: 400, byteLength: 1024, content: 'off', aim: undefined },
  { id: 'H.512.8k', perRecord: 512, records: 8, byteLength: 8192, content: 'on', aim: undefined },
] as const;

/** Bytes in the segments, and in the requests that went into them. */
function store(
  dir: string,
  style: SpanStyle,
  records: number,
  perRecord: number,
): { readonly stored: number; readonly sent: number; readonly sealed: number } {
  const signer = parseSigner('bench/bytes', generateKeyPem());
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
    segmentByteLengthMax: 16 * 1024 * 1024,
    segmentAgeMsMax: 600_000,
  });
  const bytesIn = (): number => {
    const segments = join(dir, 'segments');
    return readdirSync(segments).reduce(
      (sum, name) => sum + statSync(join(segments, name)).size,
      0,
    );
  };
  const before = bytesIn();
  let sent = 0;
  let sealed = 0;
  for (const request of otlpRequests(style, records, perRecord)) {
    const entries = splitRequest(request, 'traces');
    sent += request.length;
    sealed += entries.reduce((sum, entry) => sum + entry.length, 0);
    writer.append('traces', WRITER_SOURCE, entries);
  }
  const stored = bytesIn() - before;
  writer.close();
  return { stored, sent, sealed };
}

export const bytesAtRest: Bench = {
  id: 'H',
  question: 'bytes at rest per span, against its OTLP protobuf',
  run: async ({ dir, say }) => {
    const rows: Row[] = [];
    for (const { id, perRecord, records, byteLength, content, aim } of CASES) {
      say(id);
      const style: SpanStyle = { seed: 1, byteLength, content };
      const { stored, sent, sealed } = store(dir('bytes'), style, records, perRecord);
      const spanCount = records * perRecord;
      rows.push(
        row({
          id,
          what: `${perRecord} spans of ${byteLength} bytes to a record, content ${content}: bytes stored over bytes sent`,
          unit: 'x',
          values: [stored / sent],
          aim,
          note: `${Math.round(stored / spanCount)} bytes a span, ${Math.round(sent / spanCount)} as sent, ${Math.round(sealed / spanCount)} as an entry of its own (${(stored / sealed).toFixed(3)})`,
        }),
      );
    }
    return rows;
  },
};

if (import.meta.main) await runBenches([bytesAtRest]);
