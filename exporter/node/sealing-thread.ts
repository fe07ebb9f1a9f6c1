// SPDX-License-Identifier: Apache-2.0
/**
 * The sealing thread: takes chunks off the event loop, seals them, and feeds the two consumers of the log, forwarder
 * and archiver. Runs in a worker of its own with no loader hooks, so that it never audits itself.
 */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type MessagePort, workerData } from 'node:worker_threads';
import { equalBytes, latin1 } from '../log/bytes.ts';
import type { ReceiptEvent } from '../log/control.ts';
import { parseControl } from '../log/control.ts';
import { splitPayload } from '../log/entries.ts';
import { WRITER_SOURCE } from '../log/header.ts';
import { parseCheckpoint } from '../log/note.ts';
import { readFrames } from '../log/segment.ts';
import { openDirectoryArchive } from './archive.ts';
import { type Archiver, openArchiver } from './archiver.ts';
import { openCursorFile } from './cursor.ts';
import { nodeFiles } from './files.ts';
import { type Forwarder, openForwarder } from './forward.ts';
import {
  generateKeyPem,
  nodePrimitives,
  parseSigner,
  readSecret,
  type Signer,
  writeSecret,
} from './keys.ts';
import { type Lock, takeLock } from './lock.ts';
import { finishedSegments, headAt, openLogFollower, readSegmentFiles } from './log-reader.ts';
import { DamagedLogError, LogWriter } from './log-writer.ts';
import { type OtlpClient, openOtlpClient } from './otlp-client.ts';
import { causeOf } from './otlp-config.ts';
import {
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
import { WRITER } from './version.ts';

interface ThreadData {
  readonly config: SealingConfig;
  readonly port: MessagePort;
  readonly slots: SharedArrayBuffer;
}

/** A start that can not be: told to the person who starts the service, with the fix. */
class StartError extends Error {
  readonly code: StartFailure;
  constructor(code: StartFailure, message: string) {
    super(message);
    this.code = code;
  }
}

/** A directory of our own to write in, and the lock on it. */
interface Place {
  readonly instance: string;
  readonly dir: string;
  readonly lock: Lock;
}

const INSTANCE_COUNT_MAX = 1024;
const COMPARE_DELAY_MS = 10_000;

function takePlace(config: SealingConfig): Place {
  const take = (instance: string): Place | undefined => {
    const dir = join(config.dir, instance);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const lock = takeLock(dir);
    return lock === undefined ? undefined : { instance, dir, lock };
  };
  if (config.instance !== undefined) {
    const place = take(config.instance);
    if (place !== undefined) return place;
    throw new StartError(
      'locked',
      `${join(config.dir, config.instance)} is locked: another process writes this log. One log has one writer; ` +
        'give this process an `instance` of its own, or leave it out to take the first free one.',
    );
  }
  // Replicas on one disk take the first free place each, so that a restart goes on with a log that is there.
  for (let number = 0; number < INSTANCE_COUNT_MAX; number++) {
    const place = take(String(number));
    if (place !== undefined) return place;
  }
  throw new StartError(
    'locked',
    `${config.dir}: all ${INSTANCE_COUNT_MAX} log directories are locked`,
  );
}

/** The signer of a log: its own key, or the configured one, which must be the one the log began with. */
function openSigner(config: SealingConfig, place: Place): { signer: Signer; keyCreated: boolean } {
  const verifierPath = join(place.dir, 'verifier');
  const known = existsSync(verifierPath) ? readFileSync(verifierPath, 'utf8').trim() : undefined;
  const knownOrigin = known?.split('+')[0];
  const origin = `${config.originBase}/${place.instance}`;
  if (knownOrigin !== undefined && config.originIsChosen && knownOrigin !== origin) {
    throw new StartError(
      'mismatch',
      `${place.dir} holds the log ${knownOrigin}, not ${origin}. A log keeps its name for life: set \`origin\` back, or use another \`dir\`.`,
    );
  }
  const keyPath = join(place.dir, 'key.pem');
  let keyCreated = false;
  let pem = config.keyPem;
  if (pem === undefined) {
    if (!existsSync(keyPath)) {
      if (known !== undefined) {
        throw new StartError(
          'mismatch',
          `${keyPath} is missing: ${knownOrigin} can not be continued without its key`,
        );
      }
      writeSecret(keyPath, generateKeyPem());
      keyCreated = true;
    }
    pem = readSecret(keyPath);
  }
  const signer = parseSigner(knownOrigin ?? origin, pem);
  if (known !== undefined && known !== signer.vkey) {
    throw new StartError(
      'mismatch',
      `the key given is not the one that ${knownOrigin} began with (${known})`,
    );
  }
  // Public and untrusted: for people to copy into their trust file, elsewhere.
  if (known === undefined) writeFileSync(verifierPath, `${signer.vkey}\n`, { mode: 0o644 });
  return { signer, keyCreated };
}

/**
 * Compares the log with the newest checkpoint that the archive has (invariant 4). False where the archive can not be
 * read now: then nothing is signed until it was.
 * @throws StartError where the log is behind what was archived, or another history
 */
async function compareWithArchive(
  dir: string,
  archiveDirectory: string,
  origin: string,
): Promise<boolean> {
  const archive = openDirectoryArchive(archiveDirectory);
  const listed = await archive.list(`${origin}/checkpoints/`);
  if (listed.status !== 'ok') return false;
  const newest = listed.objects.at(-1);
  if (newest === undefined) return true;
  const read = await archive.read(newest.key, 128 * 1024);
  if (read.status !== 'ok') return false;
  const archived = parseCheckpoint(read.bytes);
  const own = await headAt(dir, archived.size);
  if (own !== undefined && equalBytes(own.root, archived.root)) return true;
  throw new StartError(
    'damaged',
    `${dir} is ${own === undefined ? 'behind' : 'another history than'} the archived checkpoint of ${archived.size} records ` +
      `(${newest.key}): a restored backup or a replaced disk. This log must not be continued; move it away and begin a successor ` +
      'with a new `origin` and a new key.',
  );
}

/** Receipts that the log holds: how far the archiver is (invariant 10). */
async function sealedReceipts(dir: string): Promise<ReceiptEvent[]> {
  const receipts: ReceiptEvent[] = [];
  for await (const { bytes } of readSegmentFiles(dir)) {
    for (const { header, stored } of readFrames(bytes)) {
      if (header.kind !== 'control') continue;
      const payload = await nodePrimitives.inflate(stored, header.payloadByteLength);
      for (const entry of splitPayload(payload, 'control')) {
        const { event } = parseControl(entry);
        if (event.name === 'receipt') receipts.push(event);
      }
    }
  }
  return receipts;
}

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
      const code =
        error instanceof StartError
          ? error.code
          : error instanceof DamagedLogError
            ? 'damaged'
            : 'io';
      this.#tell({ type: 'failed', code, message: causeOf(error) });
      this.#enter(STATE_FAILED);
    }
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
    const sealer = new Sealer({
      openWriter: () =>
        LogWriter.open({
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
        }),
      now: Date.now,
      groupCommitMs: config.groupCommitMs,
      checkpointMs: config.checkpointMs,
      heartbeatMs: config.heartbeatMs,
      pendingByteLengthMax: config.pendingByteLengthMax,
      maySign: () => this.#maySign,
      onDurable: (size, signed) => {
        if (signed) this.#checkpointSize = size;
        this.#forwarder?.notify(size - 1);
        if (signed) this.#archiver?.notify();
      },
      onReport: ({ code, cause }) => this.#report(`log.${code}`, cause),
    });
    this.#sealer = sealer;
    await this.#openConsumers(place.dir, origin, sealer);
    this.#tell({
      type: 'open',
      state: { origin, logDirectory: place.dir, vkey: signer.vkey, keyCreated },
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
        checkpoint: () => {
          if (this.#checkpointSize === 0) return undefined;
          const bytes = readFileSync(join(dir, 'checkpoint'));
          return { size: Number(latin1(bytes).split('\n')[1]), bytes };
        },
        receipts: await sealedReceipts(dir),
        onReceipt: (receipt) => sealer.sealReceipt(receipt),
        onReport: ({ code, cause }) => this.#report(`archive.${code}`, cause),
      });
    }
  }

  #hear(message: ToSealer): void {
    const sealer = this.#sealer;
    if (sealer === undefined) return;
    if (message.type === 'chunk') {
      const { id, bytes, counters } = message;
      sealer.count(counters);
      sealer.submit({
        bytes,
        kind: 'traces',
        source: WRITER_SOURCE,
        done: (outcome) => {
          this.#tell({ type: 'outcome', id, outcome });
          // The message first: whoever wakes up finds it.
          Atomics.store(this.#slots, SLOT_ANSWERED, id);
          Atomics.notify(this.#slots, SLOT_ANSWERED);
        },
      });
    } else if (message.type === 'gap') {
      sealer.declareGap(message.gap);
    } else if (message.type === 'counters') {
      sealer.count(message.counters);
    } else if (message.type === 'flush') {
      sealer.count(message.counters);
      if (message.finishes) sealer.finishSegment();
      else sealer.flush();
      void this.#flushConsumers(message);
    } else {
      this.#close(message);
    }
  }

  async #flushConsumers({
    id,
    deadlineMs,
    finishes,
  }: Extract<ToSealer, { type: 'flush' }>): Promise<void> {
    await Promise.all([
      this.#forwarder?.flush(deadlineMs),
      finishes ? this.#archiver?.flush(deadlineMs) : undefined,
    ]);
    this.#tell({
      type: 'flushed',
      id,
      forward: this.#forwarder?.status(),
      archive: this.#archiver?.status(),
    });
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
    sealer?.close();
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
