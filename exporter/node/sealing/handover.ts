// SPDX-License-Identifier: Apache-2.0
/**
 * Lets the application's worker threads seal through the sealing thread that its main thread has: one log per process,
 * one writer. A thread finds it by what the one that started it left in the environment data, and talks to it without
 * the main thread. Threads that were started before the offer was made do not see it.
 */
import {
  BroadcastChannel,
  getEnvironmentData,
  setEnvironmentData,
  threadId,
  type Worker,
} from 'node:worker_threads';
import type { Config } from '../config/config.ts';
import {
  channelName,
  type Ending,
  type FromSealer,
  type LobbyMessage,
  listenTo,
  type Meeting,
  type SealingState,
  takeFrom,
} from './protocol.ts';
import { type Link, SealingPeer } from './sealing-client.ts';

const KEY = 'sealspan';

/** What the main thread lets the others know. */
export interface Offer {
  readonly meeting: Meeting;
  /** Without what only the sealing thread needs, and what is secret. */
  readonly config: Config;
}

/**
 * Offers the sealing thread to the threads started from now on; `onGone` hears of each that has ended.
 * Returns what withdraws the offer.
 */
export function offerSealing(
  meeting: Meeting,
  config: Config,
  onGone: (member: number) => void,
): () => void {
  const offer: Offer = { meeting, config: { ...config, keyPem: undefined, backend: undefined } };
  setEnvironmentData(KEY, offer as never);
  const stop = watchThreads(onGone);
  return () => {
    stop();
    if ((getEnvironmentData(KEY) as unknown) === offer) setEnvironmentData(KEY, undefined);
  };
}

/** What the thread that started this one offers; undefined in a main thread, or if it offers nothing. */
export function offeredSealing(): Offer | undefined {
  return threadId === 0 ? undefined : (getEnvironmentData(KEY) as unknown as Offer | undefined);
}

/** Calls `onGone` with the number of each thread that this one starts and that has ended. Returns what stops it. */
function watchThreads(onGone: (member: number) => void): () => void {
  const onWorker = (worker: Worker): void => {
    const member = worker.threadId;
    worker.once('exit', () => onGone(member));
  };
  process.on('worker', onWorker);
  return () => process.removeListener('worker', onWorker);
}

/** The end of a thread that has joined. */
export class JoinedSealing extends SealingPeer {
  readonly state: SealingState;
  readonly #lobby: BroadcastChannel;
  readonly #channel: BroadcastChannel;
  #stopWatching: () => void = () => {};
  #onDrain: (() => Ending) | undefined;

  /**
   * Blocks until the sealing thread has answered, or thirty seconds are over.
   * @throws StartError
   */
  constructor({ meeting }: Offer, onReport: (code: string, message: string) => void) {
    const channel = new BroadcastChannel(channelName(meeting.lobby, threadId));
    super(linkOf(channel), new Int32Array(meeting.slots), onReport);
    this.#channel = channel;
    this.#lobby = new BroadcastChannel(meeting.lobby);
    this.#lobby.unref();
    channel.unref();
    listenTo(this.#lobby, (message: LobbyMessage) => {
      if (message.type === 'down') this.end(message.cause);
    });
    // Only now that the channel is open: what nobody hears is not kept.
    const join: LobbyMessage = { type: 'join', member: threadId };
    this.#lobby.postMessage(join);
    try {
      this.state = this.awaitOpen('the log of the main thread');
    } catch (error) {
      this.end('the log did not open');
      throw error;
    }
    listenTo(channel, (message: FromSealer) => this.hear(message));
    this.#stopWatching = watchThreads((member) => this.tellGone(member));
  }

  /** Hears that the log is about to be closed; MUST submit all there is before it returns. */
  onDrain(drain: () => Ending): void {
    this.#onDrain = drain;
  }

  /** Does not wait: what was sent is with the sealing thread, even when this one has ended. */
  override closeSync(ending: Ending): void {
    if (this.isClosed) return;
    this.tell({ type: 'leave', ...ending });
    this.end('the thread has left');
  }

  protected override drain(): void {
    if (this.#onDrain !== undefined) this.tell({ type: 'drained', ...this.#onDrain() });
  }

  protected override end(cause: string): void {
    if (this.isClosed) return;
    super.end(cause);
    this.#stopWatching();
    this.#lobby.close();
    this.#channel.close();
  }
}

function linkOf(channel: BroadcastChannel): Link {
  return {
    // A channel can not take buffers over; 64 kB are copied in a few microseconds.
    send: (message) => channel.postMessage(message),
    take: () => takeFrom(channel)?.message as FromSealer | undefined,
    ref: () => channel.ref(),
    unref: () => channel.unref(),
  };
}
