// SPDX-License-Identifier: Apache-2.0
/**
 * Writes test/vectors/instances/: logs of senders and writers, and what must be said of each instance.
 * `node scripts/instance-vectors.ts`. What is expected is stated here by hand and computed by nothing.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeBase64 } from '../exporter/log/bytes.ts';
import type { RecordSource } from '../exporter/log/header.ts';
import {
  around,
  calls,
  closedAt,
  control,
  type Draft,
  encodeVector,
  f,
  filesOf,
  GATEWAY,
  gapOf,
  heartbeatAt,
  intent,
  interrupted,
  opened,
  RECOVERED,
  START_MS,
  sealDrafts,
  sequence,
  span,
} from './vectors.ts';

/** What is said of one instance, as one line: kind, name, state, completeness, missing ranges, open ones, codes. */
export type InstanceLine = string;

export interface InstanceVector {
  readonly name: string;
  readonly says: string;
  /** Files are base64; logs that are verified together. */
  readonly logs: readonly {
    readonly live: boolean;
    readonly files: Readonly<Record<string, string>>;
  }[];
  /** Clock of the verifier, milliseconds since 1970. */
  readonly nowMs: number;
  readonly from?: string;
  readonly to?: string;
  readonly instances: readonly InstanceLine[];
}

/** Record n of a log is sealed n seconds after the start. */
export const timeOf = (second: number): string => new Date(START_MS + 1000 * second).toISOString();

const text = (key: string, value: string): Buffer => f(9, f(1, key), f(2, f(1, value)));
const count = (key: string, value: number): Buffer => {
  const digits: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) digits.push((rest % 128) | 128);
  return f(9, f(1, key), f(2, 0x18, Buffer.from([...digits, rest])));
};

/** A call of a sender, its attributes in the order given. */
export const sentCall = (instance: string, number: number, ...more: readonly Buffer[]): Buffer =>
  around(
    Buffer.concat([
      span('chat'),
      ...(instance === '' ? [] : [text('service.instance.id', instance)]),
      sequence(number),
      ...more,
    ]),
  );
/** A call whose number is of another type. */
export const unreadCall = (instance: string, value: Buffer = f(1, '3')): Buffer => {
  const number = f(9, f(1, 'aigov.sequence'), f(2, value));
  return around(Buffer.concat([span('chat'), text('service.instance.id', instance), number]));
};
/** Another id of the span, in front of which the one it had counts for nothing. */
export const spanId = (byte: number): Buffer => f(2, Buffer.alloc(8, byte));
/** A beat; its own number is the highest. */
export const beat = (
  instance: string,
  highest: number,
  { open = '', intervalMs = 1000, state = 'running', number = highest } = {},
): Buffer =>
  sentCall(
    instance,
    number,
    count('aigov.heartbeat.highest', highest),
    text('aigov.heartbeat.open', open),
    count('aigov.heartbeat.interval_ms', intervalMs),
    text('aigov.heartbeat.state', state),
  );
/** A record of what a gateway got. */
export const sent = (
  entries: readonly Uint8Array[],
  source: RecordSource = GATEWAY.source,
): Draft => ({ kind: 'traces', entries: () => entries, header: { source } });
const sentCalls = (instance: string, ...numbers: readonly number[]): Draft =>
  sent(numbers.map((number) => sentCall(instance, number)));
const idle = (recordCount: number): Draft[] =>
  Array.from({ length: recordCount }, () => control(heartbeatAt(0)));
const OTHER: RecordSource = { ...GATEWAY.source, principal: Buffer.alloc(32, 7) };
const COLLECTOR: RecordSource = { ...GATEWAY.source, kind: 'collector' };
const CLOSED = { state: 'closed' };
const UNNAMED_LINE = 'sender running incomplete source.unnamed';
const GATEWAY_LINE = 'writer 0 closed complete';

export function makeInstanceVectors(): InstanceVector[] {
  const vectors: InstanceVector[] = [];
  const add = (
    name: string,
    says: string,
    logs: readonly (readonly Draft[])[],
    instances: readonly InstanceLine[],
    more: { from?: number; to?: number; nowMs?: number; live?: boolean } = {},
  ): void => {
    const { from, to, nowMs = START_MS + 60_000, live = false } = more;
    vectors.push({
      name,
      says,
      logs: logs.map((drafts, at) => ({
        live,
        files: Object.fromEntries(
          Object.entries(filesOf(sealDrafts([[opened, ...drafts]], `vectors/log-${at}`))).map(
            ([path, file]) => [path, encodeBase64(file as Uint8Array)],
          ),
        ),
      })),
      nowMs,
      ...(from === undefined ? {} : { from: timeOf(from) }),
      ...(to === undefined ? {} : { to: timeOf(to) }),
      instances: [...instances].sort(),
    });
  };
  /** One log of a gateway that closed in order. */
  const gateway = (
    name: string,
    says: string,
    drafts: readonly Draft[],
    ...lines: readonly InstanceLine[]
  ): void => add(name, says, [[...drafts, control(closedAt(0))]], [GATEWAY_LINE, ...lines]);

  gateway(
    'closed-whole',
    'all numbers up to the closing beat',
    [sentCalls('a', 2, 1), sent([beat('a', 3, CLOSED)])],
    'sender a closed complete',
  );
  gateway(
    'closed-missing',
    'numbers that a Collector lost',
    [sentCalls('a', 1, 4, 6), sent([beat('a', 9, CLOSED)])],
    'sender a closed incomplete 2-3,5,7-8 source.numbers',
  );
  gateway(
    'closed-open',
    'calls that ran when it closed are not due, and told',
    [sentCalls('a', 1, 4), sent([beat('a', 5, { ...CLOSED, open: '2-3' })])],
    'sender a closed complete open 2-3',
  );
  gateway(
    'closed-beat-lost',
    'a beat is numbered as well: one that is lost is missed',
    [sentCalls('a', 1), sent([beat('a', 2)]), sentCalls('a', 3), sent([beat('a', 5, CLOSED)])],
    'sender a closed incomplete 4 source.numbers',
  );
  gateway(
    'closed-reordered',
    'what was sent before arrives behind the closing beat',
    [sent([beat('a', 3, CLOSED)]), sentCalls('a', 1), sent([beat('a', 2)])],
    'sender a closed complete',
  );
  gateway(
    'closed-twice',
    'everything arrives twice',
    [sentCalls('a', 1, 1), sent([beat('a', 2, CLOSED), beat('a', 2, CLOSED)])],
    'sender a closed complete',
  );
  gateway(
    'conflict',
    'two processes of one name: each number has two spans, and nothing seems to be missing',
    [
      sentCalls('a', 1, 2),
      sent([sentCall('a', 2, spanId(7)), sentCall('a', 3, spanId(0))]),
      sent([beat('a', 4, CLOSED)]),
    ],
    'sender a closed incomplete source.conflict',
  );
  gateway(
    'unnamed',
    'numbers of nobody',
    [
      sent([sentCall('', 1), sentCall('', 7), sentCall('with space', 2)]),
      sentCalls('a', 1),
      ...idle(3),
    ],
    UNNAMED_LINE,
    'sender a unended complete',
  );
  gateway(
    'open-cut',
    'of a list cut short nobody knows what is open behind it',
    [sentCalls('a', 1, 5), sent([beat('a', 9, { ...CLOSED, open: '2-3,...' })])],
    'sender a closed complete open 2-4,6-8',
  );
  gateway(
    'open-and-ended',
    'a call that ran at its end, and of which the end came all the same',
    [sentCalls('a', 1), sent([beat('a', 4, { ...CLOSED, open: '2-3' })]), sentCalls('a', 2)],
    'sender a closed complete open 3',
  );
  gateway(
    'open-cut-no-list',
    'nor is what is cut short a list for that',
    [sentCalls('a', 1), sent([beat('a', 4, { ...CLOSED, open: 'x,...' })])],
    'sender a closed incomplete 2-3 source.numbers',
  );
  gateway(
    'open-no-list',
    'a list that is none excuses nothing',
    [sentCalls('a', 1), sent([beat('a', 4, { ...CLOSED, open: '3-2' })])],
    'sender a closed incomplete 2-3 source.numbers',
  );
  const GOES_ON = { nowMs: START_MS + 10_000 };
  add(
    'running-not-due',
    'what was sent before the last beat may be on its way',
    [[sentCalls('a', 1), sent([beat('a', 3)])]],
    ['writer 0 running complete', 'sender a running complete'],
    GOES_ON,
  );
  add(
    'running-due',
    'what was sent before the beat before is due',
    [[sentCalls('a', 1), sent([beat('a', 4, { open: '2' })]), sent([beat('a', 7)])]],
    ['writer 0 running complete', 'sender a running incomplete 3 source.numbers'],
    GOES_ON,
  );
  add(
    'running-beside-one-that-ended',
    'what is missing may come into the log that goes on',
    [[sentCalls('a', 1, 3), control(closedAt(0))], []],
    [GATEWAY_LINE, 'writer 0 running complete', 'sender a running complete'],
    GOES_ON,
  );
  add(
    'running-reopened',
    'or into one that was closed, and opened again',
    [[sentCalls('a', 1, 3), control(closedAt(0)), opened]],
    [GATEWAY_LINE, 'writer 0 running complete', 'sender a running complete'],
    GOES_ON,
  );
  gateway(
    'unended-holes',
    'where no log goes on, nothing that is missing can come any more',
    [sentCalls('a', 1, 2, 3), sent([beat('a', 4)]), sentCalls('a', 6, 9)],
    'sender a unended incomplete 5,7-8 source.numbers',
  );
  gateway(
    'unended-open',
    'of one that had not ended, what it had open at its last beat is not missing',
    [sentCalls('a', 1), sent([beat('a', 3, { open: '2' })]), sentCalls('a', 4)],
    'sender a unended complete open 2',
  );
  add(
    'unended-all-closed',
    'no log of several goes on',
    [
      [sentCalls('a', 1), control(closedAt(0))],
      [sentCalls('a', 4), control(closedAt(0))],
    ],
    [GATEWAY_LINE, GATEWAY_LINE, 'sender a unended incomplete 2-3 source.numbers'],
  );
  gateway(
    'silent',
    'neither closed nor heard of for two intervals',
    [sentCalls('a', 1), sent([beat('a', 3)]), ...idle(3)],
    'sender a silent incomplete 2 source.numbers,source.silent',
  );
  gateway(
    'silent-without-beats',
    'numbers and no beat: holes are known, the end is not',
    [sentCalls('a', 1, 3), ...idle(3)],
    'sender a unended incomplete 2 source.numbers',
  );
  add(
    'silent-without-beats-live',
    'the same, two minutes later',
    [[sentCalls('a', 1, 3)]],
    ['writer 0 running complete', 'sender a silent incomplete 2 source.numbers,source.silent'],
    { live: true, nowMs: START_MS + 121_001 },
  );
  add(
    'silence-of-the-gateway',
    'where the log ends, nobody knows of a silence',
    [[sentCalls('a', 1), sent([beat('a', 2)])]],
    ['writer 0 silent incomplete', 'sender a unended complete'],
    { nowMs: START_MS + 3_600_000 },
  );
  gateway(
    'forged-principal',
    'numbers that another principal sends under the same name fill no hole',
    [sentCalls('a', 1), sent([sentCall('a', 2)], OTHER), sent([beat('a', 3, CLOSED)])],
    'sender a closed incomplete 2 source.numbers',
    'sender a unended incomplete 1 source.numbers',
  );
  gateway(
    'forged-kind',
    'nor do those of another kind of source',
    [sentCalls('a', 1), sent([sentCall('a', 2)], COLLECTOR), sent([beat('a', 3, CLOSED)])],
    'sender a closed incomplete 2 source.numbers',
    'sender a unended incomplete 1 source.numbers',
  );
  gateway(
    'policy-changes',
    'a policy that changes is the same source',
    [
      sentCalls('a', 1),
      sent([sentCall('a', 2)], { ...GATEWAY.source, policy: 'other' }),
      sent([beat('a', 3, CLOSED)]),
    ],
    'sender a closed complete',
  );
  gateway(
    'two-instances',
    'a restart is another instance',
    [sentCalls('a', 1), sentCalls('b', 2), sent([beat('a', 2, CLOSED), beat('b', 3, CLOSED)])],
    'sender a closed complete',
    'sender b closed incomplete 1 source.numbers',
  );
  gateway(
    'no-instance',
    'numbers without an instance are of nobody',
    [sent([around(Buffer.concat([span('chat'), sequence(2)]))])],
    UNNAMED_LINE,
  );
  gateway('no-number', 'an instance without a number is none', [
    sent([around(Buffer.concat([span('chat'), text('service.instance.id', 'a')]))]),
  ]);
  const unread: readonly [name: string, value: Buffer][] = [
    ['text', f(1, '3')],
    ['double', Buffer.from('210000000000000840', 'hex')],
    ['zero', Buffer.from('1800', 'hex')],
    ['negative', Buffer.from('18ffffffffffffffffff01', 'hex')],
    ['too-large', Buffer.from('188080808080808010', 'hex')],
    ['empty', Buffer.alloc(0)],
  ];
  for (const [name, value] of unread) {
    gateway(
      `number-${name}`,
      `a number that is there and can not be read: ${name}`,
      [sent([sentCall('a', 1), unreadCall('a', value)])],
      UNNAMED_LINE,
      'sender a unended complete',
    );
  }
  const spelled: readonly [name: string, instance: Buffer][] = [
    ['number', count('service.instance.id', 1)],
    ['empty', text('service.instance.id', '')],
    ['space', text('service.instance.id', 'a b')],
    ['long', text('service.instance.id', 'a'.repeat(257))],
    ['utf-8', text('service.instance.id', 'ä')],
    ['not-minimal', f(9, f(1, 'service.instance.id'), Buffer.from('1284000a0161', 'hex'))],
    ['key-twice', f(9, f(1, 'service.instance.id'), f(1, 'service.instance.id'))],
    ['more-behind', f(9, f(1, 'service.instance.id'), f(2, f(1, 'a')), f(4, 'x'))],
    ['value-of-two', f(9, f(1, 'service.instance.id'), f(2, f(1, 'a'), f(1, 'b')))],
    [
      'fixed-behind',
      f(9, f(1, 'service.instance.id'), f(2, f(1, 'a')), Buffer.from('2500000000', 'hex')),
    ],
    ['in-event', f(11, f(3, f(1, 'service.instance.id'), f(2, f(1, 'a'))))],
  ];
  for (const [name, instance] of spelled) {
    gateway(
      `instance-${name}`,
      `no instance: ${name}`,
      [sent([around(Buffer.concat([span('chat'), sequence(2), instance]))])],
      // No entry at all has a length that is spelled too long.
      ...(name === 'not-minimal' ? [] : [UNNAMED_LINE]),
    );
  }
  gateway(
    'instance-longest',
    'the longest name there is',
    [sent([beat('a'.repeat(256), 1, CLOSED)])],
    `sender ${'a'.repeat(256)} closed complete`,
  );
  gateway(
    'backwards',
    'attributes whose value stands before the key, as some Collectors write them',
    [
      sent([
        around(
          Buffer.concat([
            span('chat'),
            f(9, f(2, f(1, 'a')), f(1, 'service.instance.id')),
            f(9, f(2, Buffer.from('1802', 'hex')), f(1, 'aigov.sequence')),
            f(9, f(2, Buffer.from('1802', 'hex')), f(1, 'aigov.heartbeat.highest')),
            f(9, f(2, f(1, '')), f(1, 'aigov.heartbeat.open')),
            f(9, f(2, Buffer.from('1864', 'hex')), f(1, 'aigov.heartbeat.interval_ms')),
            f(9, f(2, f(1, 'closed')), f(1, 'aigov.heartbeat.state')),
          ]),
        ),
      ]),
    ],
    'sender a closed incomplete 1 source.numbers',
  );
  gateway(
    'instance-first-of-two',
    'the first that counts',
    [
      sent([
        around(
          Buffer.concat([
            span('chat'),
            text('service.instance.id', 'ä'),
            text('service.instance.id', 'b'),
            text('service.instance.id', 'c'),
            sequence(1),
          ]),
        ),
      ]),
    ],
    'sender b unended complete',
  );
  const beats: readonly [name: string, ...attributes: Buffer[]][] = [
    ['no-state', count('aigov.heartbeat.highest', 9), text('aigov.heartbeat.open', '')],
    [
      'interval-0',
      count('aigov.heartbeat.highest', 9),
      text('aigov.heartbeat.open', ''),
      count('aigov.heartbeat.interval_ms', 0),
      text('aigov.heartbeat.state', 'closed'),
    ],
    [
      'interval-too-long',
      count('aigov.heartbeat.highest', 9),
      text('aigov.heartbeat.open', ''),
      count('aigov.heartbeat.interval_ms', 86_400_001),
      text('aigov.heartbeat.state', 'closed'),
    ],
    [
      'other-state',
      count('aigov.heartbeat.highest', 9),
      text('aigov.heartbeat.open', ''),
      count('aigov.heartbeat.interval_ms', 1),
      text('aigov.heartbeat.state', 'done'),
    ],
    [
      'highest-text',
      text('aigov.heartbeat.highest', '9'),
      text('aigov.heartbeat.open', ''),
      count('aigov.heartbeat.interval_ms', 1),
      text('aigov.heartbeat.state', 'closed'),
    ],
  ];
  for (const [name, ...attributes] of beats) {
    gateway(
      `no-beat-${name}`,
      `no beat: ${name}`,
      [sent([sentCall('a', 1, ...attributes)])],
      'sender a unended complete',
    );
  }
  add(
    'two-gateways',
    'a sender whose calls go to several gateways is whole in all of them together',
    [
      [sentCalls('a', 1, 3), control(closedAt(0))],
      [sentCalls('a', 2), sent([beat('a', 4, CLOSED)]), control(closedAt(0))],
    ],
    [GATEWAY_LINE, GATEWAY_LINE, 'sender a closed complete'],
  );
  gateway('own-numbers', 'numbers sealed in the process are of the writer, not of a sender', [
    { kind: 'traces', entries: () => [sentCall('a', 1)] },
  ]);

  // Writers.
  const writer = (
    name: string,
    says: string,
    drafts: readonly Draft[],
    ...lines: readonly InstanceLine[]
  ): void => add(name, says, [drafts], lines);
  writer('writer-whole', 'closed', [calls(1, 2), control(closedAt(2))], 'writer 0 closed complete');
  writer(
    'writer-gap',
    'lost, and said so',
    [calls(1), control(gapOf(2, 3)), control(closedAt(3))],
    'writer 0 closed complete with declared gaps',
  );
  writer(
    'writer-missing',
    'a number in no record',
    [calls(1, 3), control(closedAt(4, { open: '4' }))],
    'writer 0 closed incomplete 2 open 4',
  );
  writer(
    'writer-intent',
    'a call that was sealed before it started, and of which no end is sealed',
    [control(intent(2)), calls(1), control(closedAt(1))],
    'writer 0 closed incomplete 2',
  );
  writer(
    'writer-unclean',
    'one that ended unclean, and one that goes on',
    [calls(1), opened, calls(1)],
    'writer 0 unclean incomplete',
    'writer 0 running complete',
  );
  writer(
    'writer-interrupted',
    'killed, and the next start told of it',
    [calls(1), control(RECOVERED, interrupted(2), closedAt(2, { interrupted: 1 })), opened],
    'writer 0 interrupted complete open 2',
    'writer 0 running complete',
  );
  writer(
    'writer-interrupted-in-order',
    'an orderly end, with calls under way',
    [calls(2), control(interrupted(1), interrupted(3), closedAt(3))],
    'writer 0 closed complete open 1,3',
  );
  writer(
    'writer-cut-unclean',
    'a cut behind an unclean end is of the run before',
    [calls(1), opened, control(RECOVERED), calls(1), control(closedAt(1))],
    'writer 0 unclean incomplete',
    'writer 0 closed complete',
  );

  // Ranges: record n is sealed at second n.
  const ranged = [
    sentCalls('a', 1, 2),
    sent([beat('a', 3)]),
    sentCalls('a', 5),
    sent([beat('a', 6)]),
    sentCalls('a', 8),
    sent([beat('a', 9, CLOSED)]),
    control(closedAt(0)),
  ];
  const ranges: readonly [
    name: string,
    from: number | undefined,
    to: number | undefined,
    line: string,
  ][] = [
    ['before', undefined, 2, 'sender a closed complete'],
    ['of-the-first-hole', 3, 4, 'sender a closed incomplete 4 source.numbers'],
    ['of-the-second-hole', 5, 6, 'sender a closed incomplete 7 source.numbers'],
    ['of-both', 1, 6, 'sender a closed incomplete 4,7 source.numbers'],
    ['of-one-record', 5, 5, 'sender a closed incomplete 7 source.numbers'],
    ['between-records', undefined, undefined, 'sender a closed incomplete 4,7 source.numbers'],
  ];
  for (const [name, from, to, line] of ranges) {
    add(`range-${name}`, 'two holes, one in each part of the log', [ranged], [GATEWAY_LINE, line], {
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
    });
  }
  add('range-behind', 'nothing was heard of it then', [ranged], [GATEWAY_LINE], { from: 7 });
  add('range-long-behind', 'nor of the writer', [ranged], [], { from: 8 });
  add(
    'range-before-silence',
    'what was not silent yet',
    [[sentCalls('a', 1, 3), sent([beat('a', 4)]), sent([beat('a', 5)]), ...idle(4)]],
    ['writer 0 running complete', 'sender a silent incomplete 2 source.numbers'],
    { to: 2, nowMs: START_MS + 9000 },
  );
  add(
    'range-of-silence',
    'heard for two more intervals',
    [[sentCalls('a', 1), sent([beat('a', 2)]), ...idle(9)]],
    ['writer 0 running complete', 'sender a silent incomplete source.silent'],
    { from: 4, to: 9, nowMs: START_MS + 12_000 },
  );
  add(
    'range-before-unclean-end',
    'a run that ended unclean is summed up to the end of the range',
    [[calls(1, 3), control(heartbeatAt(4)), calls(4), calls(6), opened, control(closedAt(0))]],
    ['writer 0 unclean incomplete 2'],
    { to: 3 },
  );
  return vectors.sort((a, b) => (a.name < b.name ? -1 : 1));
}

export const INSTANCE_VECTOR_DIRECTORY: string = join(
  import.meta.dirname,
  '../test/vectors/instances',
);

if (import.meta.main) {
  mkdirSync(INSTANCE_VECTOR_DIRECTORY, { recursive: true });
  for (const name of readdirSync(INSTANCE_VECTOR_DIRECTORY)) {
    rmSync(join(INSTANCE_VECTOR_DIRECTORY, name));
  }
  const vectors = makeInstanceVectors();
  for (const vector of vectors) {
    writeFileSync(join(INSTANCE_VECTOR_DIRECTORY, `${vector.name}.json`), encodeVector(vector));
  }
  console.log(`${vectors.length} vectors`);
}
