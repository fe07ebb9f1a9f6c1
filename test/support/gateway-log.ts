// SPDX-License-Identifier: Apache-2.0
/** What tests of the whole gateway share: a plain HTTP client, spans of one attribute or more, and a stranger's look at a log. */
import { verifyDirectory } from '../../exporter/cli/verify.ts';
import type { RefusedEvent } from '../../exporter/log/control.ts';
import type { RecordHeader } from '../../exporter/log/header.ts';
import type { VerifiedRecord } from '../../exporter/log/record.ts';
import { encodeOtlp } from './otlp-backend.ts';
import { type PlainSpan, spansOfTraces } from './otlp-proto.ts';

export interface Read {
  readonly verdict: string;
  readonly findings: readonly string[];
  readonly records: readonly VerifiedRecord[];
  readonly headers: readonly RecordHeader[];
  readonly spans: readonly PlainSpan[];
  readonly refused: readonly RefusedEvent[];
  readonly declaredLost: number;
}

/** What a stranger reads in a log. */
export async function readLog(dir: string): Promise<Read> {
  const records: VerifiedRecord[] = [];
  const report = await verifyDirectory(dir, undefined, (record) => records.push(record));
  return {
    verdict: report.verdict,
    findings: report.findings.map(({ code }) => code),
    declaredLost: report.declaredLost,
    records,
    headers: records.map(({ header }) => header).filter(({ kind }) => kind !== 'control'),
    spans: records
      .filter(({ header }) => header.kind === 'traces')
      .flatMap(({ entries }) => entries.flatMap(spansOfTraces)),
    refused: records
      .flatMap(({ events }) => events)
      .filter((event): event is RefusedEvent => event.name === 'refused'),
  };
}

/** Sends a request; the status of the answer. */
export async function post(
  port: number | undefined,
  body: Uint8Array<ArrayBuffer> | string,
  headers: Readonly<Record<string, string>> = {},
  path = '/v1/traces',
): Promise<number> {
  const reply = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf', ...headers },
    body,
  });
  await reply.arrayBuffer();
  return reply.status;
}

export const text = (key: string, stringValue: string): object => ({ key, value: { stringValue } });
/** A request of one span. */
export const spanWith = (name: string, ...attributes: object[]): Uint8Array<ArrayBuffer> =>
  new Uint8Array(
    encodeOtlp('TracesData', {
      resourceSpans: [
        {
          resource: { attributes: [text('service.name', 'b')] },
          scopeSpans: [{ spans: [{ name, attributes }] }],
        },
      ],
    }),
  );
