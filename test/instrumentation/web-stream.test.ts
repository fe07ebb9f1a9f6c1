// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the call of a web stream ends when nobody can read it any more, and not before. Method: streams of Node's own, read and
 * cancelled in the ways that are left beside those of the matrix.
 */
import { NodeSDK } from '@opentelemetry/sdk-node';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Answer, startInvocation } from '../../instrumentation/invocation.ts';
import { watchWebStream } from '../../instrumentation/web-stream.ts';
import { ended, recorder } from './support/recorder.ts';

const sdk = new NodeSDK({
  spanProcessors: [recorder],
  metricReaders: [],
  autoDetectResources: false,
});
beforeAll(() => sdk.start());
afterAll(() => sdk.shutdown());
beforeEach(() => {
  ended.length = 0;
});

/** An answer that is at its end when all chunks were seen. */
function answerOf(count: number): Answer {
  let seen = 0;
  return {
    chunk: () => void seen++,
    whole: () => {},
    get isFinished() {
      return seen === count;
    },
    failure: undefined,
    attributes: () => undefined,
  };
}

function watched(): ReadableStream<number> {
  const stream = new ReadableStream<number>({
    start: (controller) => {
      for (const chunk of [1, 2]) controller.enqueue(chunk);
      controller.close();
    },
  });
  watchWebStream(stream, startInvocation({ name: 'call', attributes: {} }, answerOf(2)), {
    signals: [],
  });
  return stream;
}

async function readAll(stream: ReadableStream<number>): Promise<void> {
  const reader = stream.getReader();
  while (!(await reader.read()).done);
}

const states = () =>
  ended.map(({ attributes }) => [
    attributes['aigov.invocation.completion'],
    attributes['aigov.invocation.detail'],
  ]);
const COMPLETE = [['complete', undefined]];
const BROKEN_OFF = [['aborted', 'break']];

it('one branch is cancelled, the other is read', async () => {
  const [left, right] = watched().tee();
  const cancelled = left.cancel();
  expect(states()).toEqual([]);
  await readAll(right);
  await cancelled;
  expect(states()).toEqual(COMPLETE);
});

it('the reader of one branch gives up unread, the other is read', async () => {
  const [left, right] = watched().tee();
  const cancelled = left.getReader().cancel();
  expect(states()).toEqual([]);
  await readAll(right);
  await cancelled;
  expect(states()).toEqual(COMPLETE);
});

it('both branches are cancelled', async () => {
  const branches = watched().tee();
  await Promise.all(branches.map((branch) => branch.cancel()));
  expect(states()).toEqual(BROKEN_OFF);
});

it('the branch that is read gives up', async () => {
  const [left] = watched().tee();
  const reader = left.getReader();
  await reader.read();
  void reader.cancel();
  expect(states()).toEqual(BROKEN_OFF);
});

it('a stream that somebody reads can not be cancelled beside it', async () => {
  const stream = watched();
  const reader = stream.getReader();
  await expect(stream.cancel()).rejects.toThrow(TypeError);
  while (!(await reader.read()).done);
  expect(states()).toEqual(COMPLETE);
});
