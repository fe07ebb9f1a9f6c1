// SPDX-License-Identifier: Apache-2.0
/**
 * The sealing thread's side of the application's other threads: each joins by name, without the main thread, which may
 * be blocked or ending, and has a channel of its own, so that none hears what another sends. What a thread has sent is
 * here even if it has ended since; what it had not sent when it was terminated is gone, and its numbers are missing.
 */
import { BroadcastChannel } from 'node:worker_threads';
import type { WriterCounters } from '../../log/control.ts';
import {
  channelName,
  type FromSealer,
  type LobbyMessage,
  listenTo,
  type Meeting,
  type SealingState,
  SLOT_ANSWERED,
  type ToSealer,
  takeFrom,
} from './protocol.ts';

/** Hears what a thread of the application sends; `answer` goes to that thread. */
export type ServeMember = (
  message: ToSealer,
  member: number,
  answer: (message: FromSealer) => void,
) => void;

export class Members {
  readonly #meeting: Meeting;
  readonly #slots: Int32Array;
  readonly #state: SealingState;
  readonly #serve: ServeMember;
  readonly #lobby: BroadcastChannel;
  readonly #channels = new Map<number, BroadcastChannel>();
  /** Threads that have been asked to send all they have. */
  readonly #draining = new Set<number>();
  #drained: (() => void) | undefined;
  #isClosed = false;

  constructor(meeting: Meeting, state: SealingState, serve: ServeMember) {
    this.#meeting = meeting;
    this.#slots = new Int32Array(meeting.slots);
    this.#state = state;
    this.#serve = serve;
    this.#lobby = new BroadcastChannel(meeting.lobby);
    this.#lobby.unref();
    listenTo(this.#lobby, (message: LobbyMessage) => this.#hearLobby(message));
  }

  /** A thread has ended, as the one that started it says. */
  gone(member: number): void {
    this.#hearAll();
    this.#leave(member);
  }

  /** Has all threads send what they have, and resolves when they did, or `deadlineMs` from now: one that is busy can not. */
  drain(deadlineMs: number): Promise<void> {
    this.#hearAll();
    for (const member of this.#channels.keys()) {
      this.#draining.add(member);
      this.#answer(member, { type: 'drain' });
    }
    if (this.#draining.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, deadlineMs);
      this.#drained = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Tells all threads that nothing is sealed any more. */
  close(): void {
    if (this.#isClosed) return;
    this.#hearAll();
    this.#isClosed = true;
    for (const [member, channel] of this.#channels) {
      this.#answer(member, { type: 'closed' });
      channel.close();
    }
    this.#channels.clear();
    this.#lobby.close();
  }

  /** What has arrived but was not heard yet, since each channel is heard in a turn of its own. */
  #hearAll(): void {
    if (this.#isClosed) return;
    for (let next = takeFrom(this.#lobby); next; next = takeFrom(this.#lobby)) {
      this.#hearLobby(next.message as LobbyMessage);
    }
    for (const [member, channel] of this.#channels) {
      // A thread that leaves has its channel closed, and a closed one can not be asked.
      while (this.#channels.get(member) === channel) {
        const next = takeFrom(channel);
        if (next === undefined) break;
        this.#hear(member, next.message as ToSealer);
      }
    }
  }

  #hearLobby(message: LobbyMessage): void {
    if (message.type !== 'join') return;
    const { member } = message;
    const channel = new BroadcastChannel(channelName(this.#meeting.lobby, member));
    channel.unref();
    this.#channels.set(member, channel);
    listenTo(channel, (data: ToSealer) => this.#hear(member, data));
    this.#answer(member, { type: 'open', state: this.#state });
  }

  #hear(member: number, message: ToSealer): void {
    this.#serve(message, member, (answer) => this.#answer(member, answer));
    if (message.type === 'leave') this.#leave(member);
    else if (message.type === 'drained') this.#settle(member);
  }

  #answer(member: number, message: FromSealer): void {
    this.#channels.get(member)?.postMessage(message);
    // The message first: whoever wakes up finds it.
    Atomics.add(this.#slots, SLOT_ANSWERED, 1);
    Atomics.notify(this.#slots, SLOT_ANSWERED);
  }

  #leave(member: number): void {
    this.#channels.get(member)?.close();
    this.#channels.delete(member);
    this.#settle(member);
  }

  #settle(member: number): void {
    this.#draining.delete(member);
    if (this.#draining.size === 0) this.#drained?.();
  }
}

/** The last number given out by any thread; those that a terminated thread took with it are among the numbers up to it. */
export function highestNumber(meeting: Meeting): number {
  return Number(Atomics.load(new BigInt64Array(meeting.numbers), 0));
}

const OPEN_TEXT_LENGTH_MAX = 1000;

/** The numbers of all threads as one event states them. */
export function sumCounters(all: readonly WriterCounters[], highest: number): WriterCounters {
  const sum = { started: 0, ended: 0, sealed: 0, lost: 0 };
  const ranges: string[] = [];
  for (const counters of all) {
    for (const key of ['started', 'ended', 'sealed', 'lost'] as const) sum[key] += counters[key];
    ranges.push(...counters.open.split(',').filter((range) => range !== ''));
  }
  // What was cut off says so at the end: three dots are no number, and come last.
  const from = (range: string): number => Number.parseInt(range, 10) || Number.POSITIVE_INFINITY;
  ranges.sort((a, b) => from(a) - from(b));
  return { ...sum, highest, open: boundedOpen(ranges.join(',')) };
}

/** Open ranges as an event can hold them; what is cut off, the next event tells. */
export function boundedOpen(text: string): string {
  if (text.length <= OPEN_TEXT_LENGTH_MAX) return text;
  return `${text.slice(0, text.lastIndexOf(',', OPEN_TEXT_LENGTH_MAX))},...`;
}
