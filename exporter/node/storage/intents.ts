// SPDX-License-Identifier: Apache-2.0
/**
 * The journal of calls that started, written before the model is called, so that the next start can tell which
 * calls a killed process left without an end (invariant 8). Survives SIGKILL; a power cut only where each write is
 * synced. Operational: it is read by the writer alone, and what it told is sealed before it is deleted.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Files } from '../system/files.ts';

/** A call that started. */
export interface IntentRecord {
  readonly sequence: number;
  readonly traceId: string;
  readonly spanId: string;
  /** Milliseconds since 1970. */
  readonly startedMs: number;
  /** Empty where the start did not tell. Cut to {@link MODEL_BYTE_LENGTH} bytes. */
  readonly model: string;
}

/** What a journal says of one run of a writer. */
export interface Intents {
  /** Index of the `opened` record that the run began with. */
  readonly run: number;
  /** All spans of the intents listed that are sealed are in this record or later ones. */
  readonly fromRecord: number;
  /** Highest number given out. */
  readonly highest: number;
  /** False where the machine was restarted since: the last intents may never have reached the disk. */
  readonly isWhole: boolean;
  readonly intents: readonly IntentRecord[];
}

/** Fixed, so that a torn end is recognised by its length: number, ids, time, model, CRC-32. */
const ENTRY_BYTE_LENGTH = 112;
const MODEL_BYTE_LENGTH = 64;
const MODEL_AT = 44;
const CRC_AT = ENTRY_BYTE_LENGTH - 4;
const MAGIC = 'sealspan/intents@1\n';
const ROTATE_ENTRY_COUNT = 16_384;
const NAME = /^intents-[0-9]{16}-[0-9]{6}-[0-9]{6}$/;
const MAIN_THREAD = 0;

export interface JournalOptions {
  readonly files: Files;
  /** The log directory. */
  readonly dir: string;
  /** Index of the `opened` record of this run. */
  readonly run: number;
  /** Each thread of the application has a journal of its own; the main thread's unless given. */
  readonly thread?: number;
  /** Sync each write: for `sync` mode. */
  readonly isSync: boolean;
  /** Highest record index that was acknowledged, or `run`. */
  readonly newestRecord: () => number;
  /** Calls whose spans are neither sealed nor declared lost. */
  readonly unsettled: () => Iterable<IntentRecord>;
  /** Entries after which a new file begins, with the calls that still run: neither disk nor start-up grows with age. */
  readonly rotateEntryCount?: number;
}

/**
 * Begins the journal of a run, before its `opened` record is written: a run that leaves no journal is one whose journal
 * was deleted.
 * @throws Error of the file system
 */
export function beginJournal(
  files: Files,
  dir: string,
  run: number,
  thread: number = MAIN_THREAD,
): void {
  const file = files.open(join(dir, nameOf(run, thread, 0)), 'truncate');
  try {
    files.append(file, encodeJournalHeader({ run, fromRecord: run, highest: 0 }));
    files.sync(file);
  } finally {
    files.close(file);
  }
  files.syncDirectory(dir);
}

/** Removes the journals of all runs, or of all but one. */
export function removeJournals(files: Files, dir: string, exceptRun?: number): void {
  const kept = exceptRun === undefined ? undefined : runNameOf(nameOf(exceptRun, 0, 0));
  for (const name of journalNames(files, dir)) {
    if (runNameOf(name) !== kept) files.remove(join(dir, name));
  }
}

/** The journal of the run that goes on now. */
export class IntentJournal {
  readonly #options: JournalOptions;
  #file: number;
  #generation = 0;
  #entryCount = 0;
  #highest = 0;
  /** True from a write that failed until a new file holds all that the old one was to hold. */
  #isTorn = false;
  /**
   * Goes on with what {@link beginJournal} began.
   * @throws Error of the file system
   */
  constructor(options: JournalOptions) {
    this.#options = options;
    this.#file = options.files.open(this.#path(0), 'existing');
  }

  /**
   * Writes an intent; when this returns it survives the end of this process.
   * @throws Error of the file system: there is no journal then, until a later write succeeds
   */
  write(intent: IntentRecord): void {
    const { files, isSync, rotateEntryCount = ROTATE_ENTRY_COUNT } = this.#options;
    if (this.#file < 0) return;
    this.#highest = Math.max(this.#highest, intent.sequence);
    try {
      if (this.#isTorn || this.#entryCount >= rotateEntryCount) {
        this.#rotate(intent);
        return;
      }
      files.append(this.#file, encodeIntent(intent));
      if (isSync) files.sync(this.#file);
      this.#entryCount++;
    } catch (error) {
      this.#tear();
      throw error;
    }
  }

  #path(generation: number): string {
    const { dir, run, thread = MAIN_THREAD } = this.#options;
    return join(dir, nameOf(run, thread, generation));
  }

  /** Gives the file back; what is written later goes nowhere. */
  close(): void {
    const file = this.#file;
    this.#file = -1;
    try {
      if (file >= 0) this.#options.files.close(file);
    } catch {
      // What was written is written; the log must be closed all the same.
    }
  }

  /** A journal that lacks a call must not be read as one that has all: none is better, for it is missed. */
  #tear(): void {
    const { files, dir, run } = this.#options;
    this.#isTorn = true;
    try {
      for (const name of journalNames(files, dir)) {
        if (runNameOf(name) === runNameOf(nameOf(run, 0, 0))) files.remove(join(dir, name));
      }
    } catch {
      // The disk is away. If it never comes back in this run, the numbers in the log tell what is missing, up to the last.
    }
  }

  /** Begins a new file with all calls that run, and one more. */
  #rotate(newest: IntentRecord): void {
    const { files, dir, run, isSync } = this.#options;
    const header = encodeJournalHeader({
      run,
      fromRecord: this.#options.newestRecord(),
      highest: this.#highest,
    });
    const running = new Map<number, IntentRecord>();
    for (const intent of this.#options.unsettled()) running.set(intent.sequence, intent);
    running.set(newest.sequence, newest);
    const entries = encodeIntents([...running.values()]);
    const before = this.#path(this.#generation);
    // What a try that failed has left there is of no worth.
    const file = files.open(this.#path(this.#generation + 1), 'truncate');
    try {
      // A crash in here leaves two journals of one run; both are read, and a torn one tells nothing that the other lacks.
      files.append(file, Buffer.concat([header, entries]));
      if (isSync) {
        files.sync(file);
        files.syncDirectory(dir);
      }
    } catch (error) {
      files.close(file);
      throw error;
    }
    files.close(this.#file);
    this.#file = file;
    this.#generation++;
    this.#entryCount = 0;
    if (!this.#isTorn) files.remove(before);
    this.#isTorn = false;
  }
}

const sixDigits = (value: number): string => String(value).padStart(6, '0');

function journalNames(files: Files, dir: string): string[] {
  return (files.list(dir) ?? []).filter((name) => NAME.test(name));
}

/** The part of a name that all journals of one run share. */
function runNameOf(name: string): string {
  return name.slice(0, 'intents-'.length + 16);
}

function nameOf(run: number, thread: number, generation: number): string {
  const digits = [String(run).padStart(16, '0'), ...[thread, generation].map(sixDigits)];
  return `intents-${digits.join('-')}`;
}

/** What the journals in a log directory say, by run in ascending order. */
export function readIntents(files: Files, dir: string): Intents[] {
  const runs = new Map<number, Intents>();
  for (const name of journalNames(files, dir)) {
    const bytes = files.readAll(join(dir, name));
    const one = bytes === undefined ? undefined : parseJournal(bytes);
    if (one === undefined) continue;
    const before = runs.get(one.run);
    if (before === undefined) {
      runs.set(one.run, one);
      continue;
    }
    const known = new Set(before.intents.map(({ sequence }) => sequence));
    runs.set(one.run, {
      run: one.run,
      fromRecord: Math.min(before.fromRecord, one.fromRecord),
      highest: Math.max(before.highest, one.highest),
      isWhole: before.isWhole && one.isWhole,
      intents: [...before.intents, ...one.intents.filter(({ sequence }) => !known.has(sequence))],
    });
  }
  return [...runs.values()].sort((a, b) => a.run - b.run);
}

function parseJournal(bytes: Uint8Array): Intents | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerEnd = buffer.indexOf('\n\n');
  const found =
    headerEnd < 0
      ? null
      : /^sealspan\/intents@1\nrun ([0-9]{1,16})\nfrom ([0-9]{1,16})\nhighest ([0-9]{1,16})\nboot (\S*)$/.exec(
          buffer.toString('latin1', 0, headerEnd),
        );
  if (found === null) return undefined;
  const [, run, fromRecord, highestBefore, boot] = found;
  const intents: IntentRecord[] = [];
  let highest = Number(highestBefore);
  for (let at = headerEnd + 2; at + ENTRY_BYTE_LENGTH <= buffer.length; at += ENTRY_BYTE_LENGTH) {
    const entry = buffer.subarray(at, at + ENTRY_BYTE_LENGTH);
    if (crc32(entry.subarray(0, CRC_AT)) !== entry.readUInt32LE(CRC_AT)) break;
    const model = entry.subarray(MODEL_AT, CRC_AT);
    const intent: IntentRecord = {
      sequence: Number(entry.readBigUInt64LE(0)),
      traceId: entry.toString('hex', 8, 24),
      spanId: entry.toString('hex', 24, 32),
      startedMs: Number(entry.readBigUInt64LE(32)),
      model: model.toString('utf8', 0, entry.readUInt32LE(40)),
    };
    highest = Math.max(highest, intent.sequence);
    intents.push(intent);
  }
  return {
    run: Number(run),
    fromRecord: Number(fromRecord),
    highest,
    isWhole: boot !== '' && boot === bootId(),
    intents,
  };
}

/** One entry is put together here again and again: writing is synchronous, and keeps nothing. */
const scratch = Buffer.alloc(ENTRY_BYTE_LENGTH);
const scratchChecked = scratch.subarray(0, CRC_AT);

/** The entry of one intent, until the next is asked for. */
function encodeIntent({ sequence, traceId, spanId, startedMs, model }: IntentRecord): Buffer {
  write64(scratch, sequence, 0);
  scratch.write(traceId, 8, 16, 'hex');
  scratch.write(spanId, 24, 8, 'hex');
  write64(scratch, Math.max(0, Math.trunc(startedMs)), 32);
  scratch.fill(0, MODEL_AT, CRC_AT);
  scratch.writeUInt32LE(scratch.write(model, MODEL_AT, MODEL_BYTE_LENGTH, 'utf8'), 40);
  scratch.writeUInt32LE(crc32(scratchChecked), CRC_AT);
  return scratch;
}

function encodeIntents(intents: readonly IntentRecord[]): Buffer {
  return Buffer.concat(intents.map((intent) => Buffer.from(encodeIntent(intent))));
}

/** A whole number of 0..2^53-1, without a BigInt for each. */
function write64(target: Buffer, value: number, at: number): void {
  target.writeUInt32LE(value % 2 ** 32, at);
  target.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

function encodeJournalHeader(header: {
  readonly run: number;
  readonly fromRecord: number;
  readonly highest: number;
}): Buffer {
  const { run, fromRecord, highest } = header;
  const lines = [`run ${run}`, `from ${fromRecord}`, `highest ${highest}`, `boot ${bootId()}`];
  return Buffer.from(`${MAGIC}${lines.join('\n')}\n\n`);
}

/** Names the time since the machine was started; empty where the system has no name for it. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return '';
  }
}
