// SPDX-License-Identifier: Apache-2.0
/**
 * The sealing thread: takes chunks off the event loop, seals them, and feeds the two consumers of the log, forwarder
 * and archiver. Runs in a worker of its own with no loader hooks, so that it never audits itself.
 */

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type MessagePort, workerData } from 'node:worker_threads';
import { latin1 } from '../../log/bytes.ts';
import type {
  IntentEvent,
  InterruptedEvent,
  ReceiptEvent,
  WriterCounters,
} from '../../log/control.ts';
import { type Archive, openDirectoryArchive } from '../archive/archive.ts';
import { S3Archive } from '../archive/archive-s3.ts';
import { type Archiver, openArchiver } from '../archive/archiver.ts';
import { MissingPackageError } from '../archive/s3-store.ts';
import type { SealOutcome } from '../capture/pending.ts';
import { openCursorFile } from '../forward/cursor.ts';
import { type Forwarder, openForwarder } from '../forward/forward.ts';
import { type OtlpClient, openOtlpClient } from '../otlp/otlp-client.ts';
import type { OtlpClientConfig } from '../otlp/otlp-config.ts';
import { beginJournal, removeJournals } from '../storage/intents.ts';
import { finishedSegments, openLogFollower } from '../storage/log-reader.ts';
import { DamagedLogError, LogWriter } from '../storage/log-writer.ts';
import { RecentRecords } from '../storage/recent.ts';
import { readSegmentCheckpoint, removeSegmentCheckpoints } from '../storage/segment-checkpoints.ts';
import { readSegmentStart, removeSegmentStarts } from '../storage/segment-starts.ts';
import { Waypoint } from '../storage/waypoint.ts';
import { causeOf } from '../system/cause.ts';
import { nodeFiles } from '../system/files.ts';
import { WRITER } from '../system/version.ts';
import { CoverageBook } from './coverage.ts';
import { endOfRun } from './interrupted.ts';
import { Keeping } from './keeping.ts';
import { highestNumber, Members, sumCounters } from './members.ts';
import {
  compareWithArchive,
  openSigner,
  type Place,
  type SealedEvents,
  StartRefusal,
  sealedEvents,
  takePlace,
} from './place.ts';
import {
  type ConsumerStatus,
  type FromSealer,
  type Meeting,
  type SealingConfig,
  type SealingState,
  SLOT_ANSWERED,
  SLOT_STATE,
  STATE_CLOSED,
  STATE_FAILED,
  STATE_OPEN,
  type StartFailure,
  type ToSealer,
} from './protocol.ts';
import { Sealer } from './sealer.ts';

interface ThreadData {
  readonly config: SealingConfig;
  readonly port: MessagePort;
  readonly meeting: Meeting;
}

const COMPARE_DELAY_MS = 10_000;
/** How long the application's other threads may take to send what they have before the log is closed. */
const DRAIN_DELAY_MS = 1_000;
/** How long the end of a closed log may take to be archived. */
const CLOSE_DELAY_MS = 10_000;
/** Calls that still run when a process ends in order are told one by one, up to here; the rest as ranges of numbers. */
const INTERRUPTED_COUNT_MAX = 4096;
/** The thread that started this one, beside those that joined. */
const MAIN = 0;

/** The thread's life: open, serve messages, close. */
class SealingThread {
  readonly #config: SealingConfig;
  readonly #port: MessagePort;
  readonly #meeting: Meeting;
  readonly #slots: Int32Array;
  /** Newest numbers of each thread of the application, those that have ended included. */
  readonly #counters = new Map<number, WriterCounters>();
  readonly #coverage = new CoverageBook();
  readonly #recent = new RecentRecords(() => this.#forwarder?.status().failureCount === 0);
  /** Calls that still ran when their thread ended. */
  readonly #interrupted: InterruptedEvent[] = [];
  #place: Place | undefined;
  #sealer: Sealer | undefined;
  #forwarder: Forwarder | undefined;
  #client: OtlpClient | undefined;
  #archive: Archive | undefined;
  #archiver: Archiver | undefined;
  #keeping: Keeping | undefined;
  #maySign = true;
  #members: Members | undefined;
  #checkpointSize = 0;
  /** Records of the log once it is closed, all under a signature. */
  #closedSize: number | undefined;
  #checkpointedAtMs: number | undefined;

  constructor(data: ThreadData) {
    this.#config = data.config;
    this.#port = data.port;
    this.#meeting = data.meeting;
    this.#slots = new Int32Array(data.meeting.slots);
  }

  async start(): Promise<void> {
    try {
      const state = await this.#open();
      this.#members = new Members(this.#meeting, state, (message, member, answer) =>
        this.#hear(message, member, answer),
      );
      this.#port.on('message', (message: ToSealer) => this.#hear(message, MAIN, this.#answer));
      this.#enter(STATE_OPEN);
      this.#answer({ type: 'open', state });
    } catch (error) {
      // Before the lock is free: nobody else may write where this one still could.
      this.#sealer?.close();
      this.#place?.lock.release();
      this.#enter(STATE_FAILED);
      this.#answer({ type: 'failed', ...this.#failureOf(error) });
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

  async #open(): Promise<SealingState> {
    const config = this.#config;
    const place = takePlace(config);
    this.#place = place;
    const { signer, keyCreated } = openSigner(config, place);
    const origin = signer.verifier.name;
    this.#archive = await this.#openArchive();
    // Reads the whole log, or what is behind the waypoint; without an archive as well, for the next waypoint tells of it.
    const waypoint = Waypoint.open(nodeFiles, place.dir, signer);
    const found = await sealedEvents(place.dir, waypoint);
    const sealed = this.#archive === undefined ? undefined : found;
    const receipts = sealed?.archived.map(({ receipt }) => receipt) ?? [];
    if (this.#archive !== undefined) {
      this.#maySign = await compareWithArchive(
        place.dir,
        this.#archive,
        origin,
        receipts,
        waypoint,
      );
      if (!this.#maySign) this.#compareLater(place.dir, this.#archive, origin, receipts);
    }
    let run = 0;
    const sealer = new Sealer({
      openWriter: (resume) =>
        LogWriter.open({
          resume,
          waypoint,
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
          signsSegments: () => this.#archive !== undefined && this.#maySign,
          endOfRun: (size) =>
            endOfRun({ files: nodeFiles, dir: place.dir, size, numbers: config.numbers }),
          onOpening: (index) => {
            run = index;
            beginJournal(nodeFiles, place.dir, run);
          },
          onAppended:
            config.backend === undefined ? undefined : (record) => this.#recent.add(record),
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
      onReport: ({ code, cause }) => this.#report(`log.${code}`, `${place.dir}: ${cause}`),
    });
    this.#sealer = sealer;
    // What they told is sealed.
    this.#removeJournals(place.dir, run);
    await this.#openConsumers(place.dir, origin, sealer, sealed);
    return { origin, logDirectory: place.dir, run, vkey: signer.vkey, keyCreated };
  }

  async #openArchive(): Promise<Archive | undefined> {
    const { archiveDirectory, archiveS3 } = this.#config;
    if (archiveS3 !== undefined) {
      try {
        return await S3Archive.open(archiveS3);
      } catch (error) {
        if (error instanceof MissingPackageError) throw new StartRefusal('package', error.message);
        throw error;
      }
    }
    if (archiveDirectory === undefined) return undefined;
    mkdirSync(archiveDirectory, { recursive: true, mode: 0o700 });
    return openDirectoryArchive(archiveDirectory);
  }

  async #openConsumers(
    dir: string,
    origin: string,
    sealer: Sealer,
    sealed: SealedEvents | undefined,
  ): Promise<void> {
    const { backend } = this.#config;
    if (backend !== undefined) {
      this.#client = openOtlpClient(backend);
      const size = (): number => sealer.size;
      this.#forwarder = openForwarder({
        readRecords: this.#recent.before(openLogFollower(dir, size), size),
        gatherMs: this.#config.forwardMs,
        waitingByteLength: () => this.#recent.byteLength,
        client: this.#client,
        cursor: openCursorFile(join(dir, 'forward.cursor'), (cause) =>
          this.#report('forward.cursor', cause),
        ),
        origin,
        onReport: ({ code, firstRecord, lastRecord, rejected, cause }) =>
          this.#report(
            `forward.${code}`,
            code === 'down'
              ? downText(backend, cause)
              : `records ${firstRecord} to ${lastRecord}, ${rejected} rejected: ${cause}`,
          ),
      });
      this.#forwarder.notify(sealer.size - 1);
    }
    this.#keeping = new Keeping({
      dir,
      origin,
      archive: this.#archive,
      sealed,
      localDays: this.#config.localDays,
      seal: (event) => sealer.sealNow(event),
      forwardedTo: () => this.#forwarder?.status().next ?? Number.POSITIVE_INFINITY,
      onReport: (code, cause) => this.#report(code, cause),
    });
    if (this.#archive !== undefined) {
      this.#archiver = openArchiver({
        archive: this.#archive,
        origin,
        finishedSegments: (from) =>
          finishedSegments(
            dir,
            () => sealer.currentSegment,
            () => this.#closedSize,
            from,
          ),
        checkpoint: (size) => {
          if (this.#checkpointSize < size) return undefined;
          const bytes =
            readSegmentCheckpoint(nodeFiles, dir, size) ?? readFileSync(join(dir, 'checkpoint'));
          return { size: Number(latin1(bytes).split('\n')[1]), bytes };
        },
        start: (firstIndex) => readSegmentStart(nodeFiles, dir, firstIndex),
        receipts: sealed?.archived.map(({ receipt }) => receipt) ?? [],
        onReceipt: (receipt) => {
          // A log that is closed takes no receipt: the next start puts the segment again, finds it, and seals one.
          if (this.#closedSize !== undefined) return;
          sealer.sealNow(receipt);
          this.#keeping?.received(receipt);
          removeSegmentCheckpoints(nodeFiles, dir, receipt.size);
          removeSegmentStarts(nodeFiles, dir, receipt.size);
        },
        onReport: ({ code, cause }) => this.#report(`archive.${code}`, cause),
      });
    }
  }

  #hear(message: ToSealer, from: number, answer: (message: FromSealer) => void): void {
    const sealer = this.#sealer;
    if (sealer === undefined) return;
    if (message.type === 'request') {
      const { id, bytes, kind, source, counters } = message;
      if (counters !== undefined) this.#count(from, counters);
      sealer.submit({
        bytes,
        kind,
        source,
        done: (outcome) => answer({ type: 'outcome', id, outcome }),
      });
      // Its entries are copies. Freed now: the garbage collector would be called for it, and cost more than the sealing.
      bytes.buffer.transfer(0);
    } else if (message.type === 'intent') {
      answer({ type: 'outcome', id: message.id, outcome: sealIntent(sealer, message.intent) });
    } else if (message.type === 'gap') {
      sealer.declareGap(message.gap);
    } else if (message.type === 'refused') {
      sealer.countRefused(message.refused);
    } else if (message.type === 'coverage') {
      sealer.tellCoverage(this.#coverage.tell(from, message.rows));
    } else if (message.type === 'status') {
      answer({
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
      this.#count(from, message.counters);
      sealer.finishSegment();
      void this.#flushConsumers(message, answer);
    } else if (message.type === 'gone') {
      this.#members?.gone(message.member);
    } else {
      this.#count(from, message.counters);
      this.#interrupted.push(...message.interrupted);
      if (message.type === 'close') void this.#close(sealer);
    }
  }

  #count(from: number, counters: WriterCounters): void {
    this.#counters.set(from, counters);
    this.#sealer?.count(sumCounters([...this.#counters.values()], highestNumber(this.#meeting)));
  }

  async #flushConsumers(
    { id, deadlineMs, unansweredMs }: Extract<ToSealer, { type: 'flush' }>,
    answer: (message: FromSealer) => void,
  ): Promise<void> {
    await Promise.all([
      this.#forwarder?.flush(deadlineMs, unansweredMs),
      this.#archiver?.flush(deadlineMs),
    ]);
    answer({ type: 'flushed', id, status: this.#consumers() });
  }

  #consumers(): ConsumerStatus {
    return { forward: this.#forwarder?.status(), archive: this.#archiver?.status() };
  }

  /** An archive that was away: asks again until it answers. What does not fit stays unsigned, and is told each time. */
  #compareLater(
    dir: string,
    archive: Archive,
    origin: string,
    receipts: readonly ReceiptEvent[],
  ): void {
    const timer = setTimeout(async () => {
      try {
        this.#maySign = await compareWithArchive(dir, archive, origin, receipts);
      } catch (error) {
        this.#report('log.refused', causeOf(error));
      }
      if (!this.#maySign) this.#compareLater(dir, archive, origin, receipts);
    }, COMPARE_DELAY_MS);
    timer.unref();
  }

  /** Journals that can not be removed are of no harm: what they told of is sealed, and the next start sees that. */
  #removeJournals(dir: string, exceptRun?: number): void {
    try {
      removeJournals(nodeFiles, dir, exceptRun);
    } catch (error) {
      this.#report('journal', causeOf(error));
    }
  }

  /** The process may be waiting in its `exit` handler, where its other threads still run. */
  async #close(sealer: Sealer): Promise<void> {
    await this.#members?.drain(DRAIN_DELAY_MS);
    // Numbers that a busy or terminated thread has not told of are counted as given out, all the same.
    sealer.count(sumCounters([...this.#counters.values()], highestNumber(this.#meeting)));
    this.#sealer = undefined;
    this.#keeping?.close();
    const isDurable = sealer.close(this.#interrupted.slice(0, INTERRUPTED_COUNT_MAX));
    if (isDurable && this.#checkpointSize === sealer.size) this.#closedSize = sealer.size;
    // A crash before this line: the next start finds the run closed, and the journals of no interest.
    if (isDurable && this.#place !== undefined) this.#removeJournals(this.#place.dir);
    this.#place?.lock.release();
    this.#members?.close();
    this.#enter(STATE_CLOSED);
    // Whoever has the time to wait for this thread finds the end of the log archived; a process that exits does not.
    if (this.#closedSize !== undefined) await this.#archiver?.flush(CLOSE_DELAY_MS);
    void Promise.all([this.#forwarder?.close(), this.#archiver?.close()]).then(() => {
      this.#client?.close();
      this.#archive?.close();
      this.#port.close();
    });
  }

  /** To the main thread, which may be blocked until there is an answer. */
  readonly #answer = (message: FromSealer): void => {
    this.#tell(message);
    // The message first: whoever wakes up finds it.
    Atomics.add(this.#slots, SLOT_ANSWERED, 1);
    Atomics.notify(this.#slots, SLOT_ANSWERED);
  };

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

/** A call is not kept from starting by a log that is away: its span is refused or lost, and that is told. */
function sealIntent(sealer: Sealer, intent: IntentEvent): SealOutcome {
  try {
    sealer.sealNow(intent);
    const recordIndex = sealer.size - 1;
    return { status: 'sealed', origin: '', recordIndex, firstEntry: 0 };
  } catch (error) {
    return { status: 'lost', cause: causeOf(error) };
  }
}

/** What a person is told of a backend that does not answer; most of all one that nobody chose. */
function downText({ endpoint }: OtlpClientConfig, cause: string): string {
  const where = typeof endpoint === 'string' ? endpoint : Object.values(endpoint).join(', ');
  return (
    `no answer from ${where} (${cause}). Spans stay in the log and are sent once there is one. Another place is set by ` +
    '`backend.endpoint` or OTEL_EXPORTER_OTLP_ENDPOINT; without both it is the OTLP default on this host.'
  );
}

void new SealingThread(workerData as ThreadData).start();
