// SPDX-License-Identifier: Apache-2.0
/**
 * The sealing thread: takes chunks off the event loop, seals them, and feeds the two consumers of the log, forwarder
 * and archiver. Runs in a worker of its own with no loader hooks, so that it never audits itself.
 */

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type MessagePort, workerData } from 'node:worker_threads';
import { latin1 } from '../log/bytes.ts';
import { openDirectoryArchive } from './archive.ts';
import { type Archiver, openArchiver } from './archiver.ts';
import { openCursorFile } from './cursor.ts';
import { nodeFiles } from './files.ts';
import { type Forwarder, openForwarder } from './forward.ts';
import { beginJournal, removeJournals } from './intents.ts';
import { endOfRun } from './interrupted.ts';
import { finishedSegments, openLogFollower } from './log-reader.ts';
import { DamagedLogError, LogWriter } from './log-writer.ts';
import { type OtlpClient, openOtlpClient } from './otlp-client.ts';
import { causeOf } from './otlp-config.ts';
import {
  compareWithArchive,
  openSigner,
  type Place,
  StartRefusal,
  sealedReceipts,
  takePlace,
} from './place.ts';
import {
  type ConsumerStatus,
  type FromSealer,
  type SealingConfig,
  SLOT_ANSWERED,
  SLOT_STATE,
  STATE_CLOSED,
  STATE_FAILED,
  STATE_OPEN,
  type StartFailure,
  type ToSealer,
} from './protocol.ts';
import { Sealer } from './sealer.ts';
import { readSegmentCheckpoint, removeSegmentCheckpoints } from './segment-checkpoints.ts';
import { WRITER } from './version.ts';

interface ThreadData {
  readonly config: SealingConfig;
  readonly port: MessagePort;
  readonly slots: SharedArrayBuffer;
}

const COMPARE_DELAY_MS = 10_000;

/** The thread's life: open, serve messages, close. */
class SealingThread {
  readonly #config: SealingConfig;
  readonly #port: MessagePort;
  readonly #slots: Int32Array;
  #place: Place | undefined;
  #sealer: Sealer | undefined;
  #forwarder: Forwarder | undefined;
  #client: OtlpClient | undefined;
  #archiver: Archiver | undefined;
  #maySign = true;
  #checkpointSize = 0;
  #checkpointedAtMs: number | undefined;

  constructor(data: ThreadData) {
    this.#config = data.config;
    this.#port = data.port;
    this.#slots = new Int32Array(data.slots);
  }

  async start(): Promise<void> {
    try {
      await this.#open();
      this.#port.on('message', (message: ToSealer) => this.#hear(message));
      this.#enter(STATE_OPEN);
    } catch (error) {
      this.#place?.lock.release();
      this.#tell({ type: 'failed', ...this.#failureOf(error) });
      this.#enter(STATE_FAILED);
    }
  }

  /** Why the log did not open, and what to do about it. */
  #failureOf(error: unknown): { readonly code: StartFailure; readonly message: string } {
    if (error instanceof StartRefusal) return { code: error.code, message: error.message };
    const dir = this.#place?.dir ?? this.#config.dir;
    if (error instanceof DamagedLogError) {
      return {
        code: 'damaged',
        message:
          `${dir} is damaged, and was left as it is: ${error.message}. See \`sealspan verify ${dir}\`; a log that can not ` +
          'be repaired is moved away, and a successor begun with a new `origin` and a new key.',
      };
    }
    return { code: 'io', message: `${dir}: ${causeOf(error)}` };
  }

  async #open(): Promise<void> {
    const config = this.#config;
    const place = takePlace(config);
    this.#place = place;
    const { signer, keyCreated } = openSigner(config, place);
    const origin = signer.verifier.name;
    if (config.archiveDirectory !== undefined) {
      mkdirSync(config.archiveDirectory, { recursive: true, mode: 0o700 });
      this.#maySign = await compareWithArchive(place.dir, config.archiveDirectory, origin);
      if (!this.#maySign) this.#compareLater(place.dir, config.archiveDirectory, origin);
    }
    let run = 0;
    const sealer = new Sealer({
      openWriter: (again) =>
        LogWriter.open({
          ...again,
          dir: place.dir,
          signer,
          files: nodeFiles,
          now: Date.now,
          opened: {
            writer: WRITER,
            instance: place.instance,
            configuration: config.configurationHash,
            heartbeatMs: config.heartbeatMs,
          },
          segmentByteLengthMax: config.segmentByteLengthMax,
          segmentAgeMsMax: config.segmentAgeMsMax,
          signsSegments: () => config.archiveDirectory !== undefined && this.#maySign,
          endOfRun: (size) =>
            endOfRun({ files: nodeFiles, dir: place.dir, size, numbers: config.numbers }),
          onOpening: (index) => {
            run = index;
            beginJournal(nodeFiles, place.dir, run);
          },
        }),
      now: Date.now,
      groupCommitMs: config.groupCommitMs,
      checkpointMs: config.checkpointMs,
      heartbeatMs: config.heartbeatMs,
      pendingByteLengthMax: config.pendingByteLengthMax,
      maySign: () => this.#maySign,
      onDurable: (size, signed) => {
        if (signed) {
          this.#checkpointSize = size;
          this.#checkpointedAtMs = Date.now();
        }
        this.#forwarder?.notify(size - 1);
        if (signed) this.#archiver?.notify();
      },
      onReport: ({ code, cause }) => this.#report(`log.${code}`, cause),
    });
    this.#sealer = sealer;
    // What they told is sealed.
    removeJournals(nodeFiles, place.dir, run);
    await this.#openConsumers(place.dir, origin, sealer);
    this.#tell({
      type: 'open',
      state: { origin, logDirectory: place.dir, run, vkey: signer.vkey, keyCreated },
    });
  }

  async #openConsumers(dir: string, origin: string, sealer: Sealer): Promise<void> {
    const { backend, archiveDirectory } = this.#config;
    if (backend !== undefined) {
      this.#client = openOtlpClient(backend);
      const follower = openLogFollower(dir, () => sealer.size);
      this.#forwarder = openForwarder({
        readRecords: (fromIndex) => follower.read(fromIndex),
        client: this.#client,
        cursor: openCursorFile(join(dir, 'forward.cursor'), (cause) =>
          this.#report('forward.cursor', cause),
        ),
        origin,
        onReport: ({ code, firstRecord, lastRecord, rejected, cause }) =>
          this.#report(
            `forward.${code}`,
            `records ${firstRecord} to ${lastRecord}, ${rejected} rejected: ${cause}`,
          ),
      });
      this.#forwarder.notify(sealer.size - 1);
    }
    if (archiveDirectory !== undefined) {
      this.#archiver = openArchiver({
        archive: openDirectoryArchive(archiveDirectory),
        origin,
        finishedSegments: () => finishedSegments(dir, () => sealer.currentSegment),
        checkpoint: (size) => {
          if (this.#checkpointSize < size) return undefined;
          const bytes =
            readSegmentCheckpoint(nodeFiles, dir, size) ?? readFileSync(join(dir, 'checkpoint'));
          return { size: Number(latin1(bytes).split('\n')[1]), bytes };
        },
        receipts: await sealedReceipts(dir),
        onReceipt: (receipt) => {
          sealer.sealReceipt(receipt);
          removeSegmentCheckpoints(nodeFiles, dir, receipt.size);
        },
        onReport: ({ code, cause }) => this.#report(`archive.${code}`, cause),
      });
    }
  }

  #hear(message: ToSealer): void {
    const sealer = this.#sealer;
    if (sealer === undefined) return;
    if (message.type === 'request') {
      const { id, bytes, kind, source, counters } = message;
      if (counters !== undefined) sealer.count(counters);
      sealer.submit({
        bytes,
        kind,
        source,
        done: (outcome) => {
          this.#tell({ type: 'outcome', id, outcome });
          // The message first: whoever wakes up finds it.
          Atomics.store(this.#slots, SLOT_ANSWERED, id);
          Atomics.notify(this.#slots, SLOT_ANSWERED);
        },
      });
    } else if (message.type === 'gap') {
      sealer.declareGap(message.gap);
    } else if (message.type === 'refused') {
      sealer.countRefused(message.refused);
    } else if (message.type === 'status') {
      this.#tell({
        type: 'status',
        id: message.id,
        status: {
          ...this.#consumers(),
          size: sealer.size,
          checkpointSize: this.#checkpointSize,
          checkpointedAtMs: this.#checkpointedAtMs,
        },
      });
    } else if (message.type === 'flush') {
      sealer.count(message.counters);
      sealer.finishSegment();
      void this.#flushConsumers(message);
    } else {
      this.#close(message);
    }
  }

  async #flushConsumers({ id, deadlineMs }: Extract<ToSealer, { type: 'flush' }>): Promise<void> {
    await Promise.all([this.#forwarder?.flush(deadlineMs), this.#archiver?.flush(deadlineMs)]);
    this.#tell({ type: 'flushed', id, status: this.#consumers() });
  }

  #consumers(): ConsumerStatus {
    return { forward: this.#forwarder?.status(), archive: this.#archiver?.status() };
  }

  /** An archive that was away: asks again until it answers. What does not fit stays unsigned, and is told each time. */
  #compareLater(dir: string, archiveDirectory: string, origin: string): void {
    const timer = setTimeout(async () => {
      try {
        this.#maySign = await compareWithArchive(dir, archiveDirectory, origin);
      } catch (error) {
        this.#report('log.refused', causeOf(error));
      }
      if (!this.#maySign) this.#compareLater(dir, archiveDirectory, origin);
    }, COMPARE_DELAY_MS);
    timer.unref();
  }

  /** Synchronous up to the closed log, since the process may be waiting in its `exit` handler. */
  #close(message: Extract<ToSealer, { type: 'close' }>): void {
    const sealer = this.#sealer;
    this.#sealer = undefined;
    sealer?.count(message.counters);
    const isDurable = sealer?.close(message.interrupted) ?? false;
    // A crash before this line: the next start finds the run closed, and the journal of no interest.
    if (isDurable && this.#place !== undefined) removeJournals(nodeFiles, this.#place.dir);
    this.#place?.lock.release();
    this.#enter(STATE_CLOSED);
    void Promise.all([this.#forwarder?.close(), this.#archiver?.close()]).then(() => {
      this.#client?.close();
      this.#port.close();
    });
  }

  #enter(state: number): void {
    Atomics.store(this.#slots, SLOT_STATE, state);
    Atomics.notify(this.#slots, SLOT_STATE);
  }

  #report(code: string, message: string): void {
    this.#tell({ type: 'report', code, message });
  }

  #tell(message: FromSealer): void {
    this.#port.postMessage(message);
  }
}

void new SealingThread(workerData as ThreadData).start();
