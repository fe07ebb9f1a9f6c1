// SPDX-License-Identifier: Apache-2.0
// Goal: what is told of a record's entries is what they say, and a payload that is given back takes nothing with it. Method:
// records of numbered spans, of senders, and of events, sealed by the real writer; those whose payloads are large as well.
import { expect, test } from 'vitest';
import { splitRequest } from '../exporter/log/entries.ts';
import type { RecordHeader } from '../exporter/log/header.ts';
import { NO_LINK } from '../exporter/log/merkle.ts';
import { type Frame, readFrame } from '../exporter/log/segment.ts';
import { encodeRecord } from '../exporter/node/storage/record.ts';
import { tallyRecord } from '../exporter/node/verifying/tally.ts';
import { encodeOtlp } from './support/otlp-backend.ts';
import { COLLECTOR, IN_PROCESS } from './support/small-log.ts';

const text = (key: string, stringValue: string): object => ({ key, value: { stringValue } });
const count = (key: string, intValue: number): object => ({ key, value: { intValue } });

const numbered = (sequence: number, more: object = {}): object => ({
  name: 'chat',
  attributes: [count('aigov.sequence', sequence), text('service.instance.id', 'a')],
  ...more,
});

const requestOf = (...spans: readonly object[]): Uint8Array => {
  const resource = { attributes: [text('service.name', 'loans')] };
  return encodeOtlp('TracesData', { resourceSpans: [{ resource, scopeSpans: [{ spans }] }] });
};

function frameOf(request: Uint8Array, source: RecordHeader['source']): Frame {
  const place = { log: 'a', index: 0, prev: NO_LINK, sealed: '2026-11-23T10:00:00.000Z', source };
  const entries = splitRequest(request, 'traces');
  return readFrame(encodeRecord({ ...place, kind: 'traces' }, entries).frame, 0)!;
}

const tallyOfRecord = (request: Uint8Array, source: RecordHeader['source']) =>
  tallyRecord(frameOf(request, source));

const NONE = { spans: 0, attributes: 0, events: 0, links: 0, cutValues: 0 };

test('numbers of the process that writes the log, and what was dropped of its spans', async () => {
  const dropped = { droppedAttributesCount: 2, droppedEventsCount: 1 };
  const request = requestOf(numbered(7), numbered(5, dropped), numbered(6), { name: 'x' });
  expect(await tallyOfRecord(request, IN_PROCESS)).toMatchObject({
    numbers: [[5, 7]],
    sent: [],
    dropped: { spans: 1, attributes: 2, events: 1, links: 0, cutValues: 0 },
  });
});

test('numbers and beats of senders, each by its name', async () => {
  const beat = numbered(9, {
    attributes: [
      count('aigov.sequence', 9),
      text('service.instance.id', 'b'),
      count('aigov.heartbeat.highest', 9),
      text('aigov.heartbeat.open', '4'),
      count('aigov.heartbeat.interval_ms', 60_000),
      text('aigov.heartbeat.state', 'running'),
    ],
  });
  const request = requestOf(numbered(1), numbered(3), beat, numbered(2));
  const sender = { service: 'loans', beats: [] };
  expect(await tallyOfRecord(request, COLLECTOR)).toMatchObject({
    numbers: [],
    sent: [
      { ...sender, instance: 'a', numbers: [[1, 3]] },
      {
        ...sender,
        instance: 'b',
        numbers: [[9, 9]],
        beats: [{ highest: 9, open: '4', intervalMs: 60_000, isClosed: false }],
      },
    ],
    dropped: NONE,
  });
});

test('of a payload that is large the same, and its memory is given back', async () => {
  const long = { name: 'x'.repeat(500_000) };
  const frame = frameOf(requestOf(numbered(1, long), numbered(2)), IN_PROCESS);
  const before = process.memoryUsage().arrayBuffers;
  for (let round = 0; round < 50; round++) {
    expect(await tallyRecord(frame)).toMatchObject({ numbers: [[1, 2]] });
  }
  // 25 MB of payloads went by, and so far no collector.
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2_000_000);
});

test('of a record that does not hold, which rule it breaks', async () => {
  const read = frameOf(requestOf(numbered(1)), IN_PROCESS);
  read.stored[read.stored.length - 1]! ^= 1;
  expect(await tallyRecord(read)).toEqual({
    code: 'record.stored',
    message: 'the stored bytes have another SHA-256',
  });
});
