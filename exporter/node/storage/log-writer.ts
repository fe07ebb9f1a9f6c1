// SPDX-License-Identifier: Apache-2.0
/**
 * The single writer of one log directory: appends records durably, signs checkpoints, and takes a log up again after
 * any end. Opening a new log, one that was closed and one whose writer was killed is one code path. Refuses to append
 * to a log it can not vouch for; does not know where entries come from. FORMAT.md, "Log directory".
 */
import { join } from 'node:path';
import { equalBytes } from '../../log/bytes.ts';
import {
  type ControlEvent,
  encodeControl,
  type OpenedEvent,
  type RecoveredEvent,
} from '../../log/control.ts';
import type { PayloadKind } from '../../log/entries.ts';
import { type RecordHeader, type RecordSource, WRITER_SOURCE } from '../../log/header.ts';
import { HEADER_BYTE_LENGTH_MAX, SEGMENT_BYTE_LENGTH_MAX } from '../../log/limits.ts';
import { type Hash, leafHash, NO_LINK, Tree } from '../../log/merkle.ts';
import { encodeCheckpointText, encodeNote, type Head } from '../../log/note.ts';
import { parseSegmentName, readFrame, segmentName } from '../../log/segment.ts';
import type { Removed } from '../../log/verify.ts';
import { causeOf } from '../system/cause.ts';
import { type Files, makeDurableDirectory, replaceFile } from '../system/files.ts';
import { type Signer, sha256 } from '../system/keys.ts';
import { freeBytes } from '../system/own-bytes.ts';
import { readPruned } from './prune.ts';
import type { StoredRecord } from './record.ts';
import { type EncodedRecord, encodeRecord, followedByFrame, headerOf } from './record.ts';
import { forgetCuts, readRecovery, rememberCut } from './recovery.ts';
import { keepSegmentCheckpoint } from './segment-checkpoints.ts';
import { DailyStarts } from './segment-starts.ts';
import { encodeSigning, judgeCheckpoint, parseSigning } from './signed-head.ts';
import { Tail } from './tail.ts';
import type { Waypoint } from './waypoint.ts';

/** The log on disk contradicts itself or its own signatures: appending would vouch for what is not known. */
export class DamagedLogError extends Error {
  override readonly name = 'DamagedLogError';
}

/** A record whose append failed: it may be on disk all the same. */
export interface RecordInDoubt {
  readonly index: number;
  /** Root over its entries. */
  readonly root: Hash;
}

/** What a process knows of the log that it wrote to. */
export interface Resume {
  /** What was durable: a log without it is another one, and must not get a new beginning here. */
  readonly head: Head;
  /** {@link LogWriter.holdsInDoubt} tells whether it is there. */
  readonly inDoubt: RecordInDoubt | undefined;
  /** Highest number given out by now: numbers go on behind it. */
  readonly continues: number;
}

export interface LogWriterOptions {
  readonly dir: string;
  readonly signer: Signer;
  readonly files: Files;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** What `opened` says of this writer. */
  readonly opened: Omit<OpenedEvent, 'name' | 'size' | 'root' | 'continues'>;
  /** A segment is finished at this many bytes, or at this age, whichever comes first. */
  readonly segmentByteLengthMax: number;
  readonly segmentAgeMsMax: number;
  /** Where a process opens a log again that it wrote before. */
  readonly resume?: Resume | undefined;
  /** Whether each finished segment is signed at its very end, for an archive; asked when it is finished. */
  readonly signsSegments?: (() => boolean) | undefined;
  /** What to seal for the process that wrote before and did not close the log; asked at open, with its size. */
  readonly endOfRun?: ((size: number) => readonly ControlEvent[]) | undefined;
  /** Where reading begins, and is to begin the next time; else at the beginning of the log. */
  readonly waypoint?: Waypoint | undefined;
  /** Told, right before it is written, which index the `opened` record will have. */
  readonly onOpening?: ((index: number) => void) | undefined;
  /** Told of each record as soon as it is durable. */
  readonly onAppended?: ((record: StoredRecord) => void) | undefined;
}

/** A record that is durable, as the writer's consumers need it. */
export type AppendedRecord = Pick<EncodedRecord, 'header' | 'leaves'>;

const SEGMENTS = 'segments';
const CHECKPOINT = 'checkpoint';
const SIGNING = 'signing';

/** Events of one record: far below what a record may hold, far above what a start has to tell. */
const CONTROL_ENTRY_COUNT = 4096;

export class LogWriter {
  readonly #options: LogWriterOptions;
  readonly #files: Files;
  readonly #origin: string;
  #tree: Tree = new Tree(sha256);
  #link: Hash = NO_LINK;
  #sealedMs = 0;
  #signed: Head = { size: 0, root: this.#tree.root() };
  /** Heads that the log must have, and whose word each is. */
  #heads: readonly { readonly head: Head; readonly whose: string }[] = [];
  #tail: Tail | undefined;
  /** The newest checkpoint of this writer; one of the writer before is signed again where its size is asked for. */
  #checkpoint: { size: number; note: Uint8Array } = { size: 0, note: new Uint8Array() };
  /** The segment being written: its file, first record index and bytes. */
  #file = -1;
  #segment = 0;
  #byteLength = 0;
  #segmentStartMs = 0;
  readonly #starts = new DailyStarts();
  #attempted: RecordInDoubt | undefined;
  #holdsInDoubt = false;

  private constructor(options: LogWriterOptions) {
    this.#options = options;
    this.#files = options.files;
    this.#origin = options.signer.verifier.name;
  }

  /**
   * Opens the log of a directory that is locked, recovers it, and seals `recovered` (where bytes were cut) and `opened`.
   * @throws DamagedLogError where the log is not one this writer may continue
   * @throws Error of the file system
   */
  static open(options: LogWriterOptions): LogWriter {
    const writer = new LogWriter(options);
    try {
      writer.#recover();
    } catch (error) {
      writer.close();
      throw error;
    }
    return writer;
  }

  /** Records in the log, all durable. */
  get size(): number {
    return this.#tree.size;
  }

  /** Head of the durable records. */
  get head(): Head {
    return { size: this.#tree.size, root: this.#tree.root() };
  }

  get origin(): string {
    return this.#origin;
  }

  /** The record whose append threw; undefined where nothing of it can be on disk. */
  get attempted(): RecordInDoubt | undefined {
    return this.#attempted;
  }

  /** True where the record looked for at open is in the log. */
  get holdsInDoubt(): boolean {
    return this.#holdsInDoubt;
  }

  /** First record index of the segment being written: all before it are finished. */
  get currentSegment(): number {
    return this.#segment;
  }

  /**
   * Seals entries as one record: when this returns, the record survives power loss.
   * @throws Error of the file system: whether the record is there is unknown; close, and open again (invariant 1).
   */
  append(kind: PayloadKind, source: RecordSource, entries: readonly Uint8Array[]): AppendedRecord {
    // Never earlier than the record before, whatever the clock did (FORMAT.md, "sealed").
    const sealedMs = Math.max(this.#options.now(), this.#sealedMs);
    const sealed = new Date(sealedMs).toISOString();
    const { header, headerBytes, frame, leaves } = encodeRecord(
      { log: this.#origin, index: this.#tree.size, prev: this.#link, sealed, source, kind },
      entries,
    );
    const isFull =
      this.#byteLength + frame.length > this.#options.segmentByteLengthMax ||
      sealedMs - this.#segmentStartMs >= this.#options.segmentAgeMsMax;
    if (isFull && this.#byteLength > 0) this.#closeFile();
    if (this.#file < 0) this.#startSegment();
    // Before the frame: a crash in between vouches for what is not there, and after a kill no honest record is without.
    this.#tail?.append(header.index, leafHash(sha256, headerBytes));
    this.#attempted = { index: header.index, root: header.root };
    // A crash in here leaves no frame, a torn one, or a whole one: recovery cuts the torn one, and nobody was told of
    // any. One frame is under way at most, so a bad frame that another follows is never the work of a crash.
    this.#files.append(this.#file, frame);
    this.#files.sync(this.#file);
    if (this.#byteLength === 0) {
      // The file's name must be as durable as its bytes; the segment before is finished from here on.
      this.#files.syncDirectory(join(this.#options.dir, SEGMENTS));
    }
    this.#attempted = undefined;
    this.#byteLength += frame.length;
    freeBytes(frame);
    this.#take(header, headerBytes);
    const { index } = header;
    this.#options.onAppended?.({ index, kind, source: source.kind, entries, leaves });
    return { header, leaves };
  }

  /** Seals events of the writer itself. */
  appendControl(events: readonly ControlEvent[]): AppendedRecord {
    const timeMs = Math.max(this.#options.now(), this.#sealedMs);
    const entries = events.map((event) => encodeControl(event, timeMs));
    const record = this.append('control', WRITER_SOURCE, entries);
    this.#options.waypoint?.hear(record.header.index, Date.parse(record.header.sealed), events);
    return record;
  }

  /**
   * Signs the head, unless it is signed already.
   * @throws Error of the file system, after which the writer must be closed and opened again
   */
  checkpoint(): void {
    const { head } = this;
    if (head.size === this.#checkpoint.size) return;
    const { dir, signer } = this.#options;
    // A crash before this line: nothing was signed. After it: this head may have been, so no other head of its size
    // ever will be (invariant 4), and recovery never cuts below it (invariant 5).
    replaceFile(this.#files, join(dir, SIGNING), encodeSigning(head));
    this.#signed = head;
    const text = encodeCheckpointText(this.#origin, head);
    const note = encodeNote(text, [{ verifier: signer.verifier, signature: signer.sign(text) }]);
    // A crash before this leaves the checkpoint before; the same head is signed again at the next open.
    replaceFile(this.#files, join(dir, CHECKPOINT), note);
    this.#checkpoint = { size: head.size, note };
    // A crash before this leaves digests of records that the signature vouches for: nobody looks at them.
    this.#tail?.clear();
    this.#options.waypoint?.save();
  }

  /** Gives the files back. Seals nothing: `closed` and the last checkpoint are the sealer's to order. */
  close(): void {
    const tail = this.#tail;
    this.#tail = undefined;
    for (const give of [() => this.#closeFile(), () => tail?.close()]) {
      try {
        give();
      } catch {
        // What was acknowledged is durable already, and what was not is told so.
      }
    }
  }

  #closeFile(): void {
    const file = this.#file;
    // First, for a file that could not be closed is gone all the same.
    this.#file = -1;
    this.#byteLength = 0;
    if (file >= 0) this.#files.close(file);
  }

  #startSegment(): void {
    // Records that nobody vouches for are signed only under the event that says so.
    const isSigned = this.#tree.size > 0 && this.#tail?.unvouchedFrom === undefined;
    const start = this.#end;
    if (isSigned && this.#options.signsSegments?.()) {
      this.checkpoint();
      keepSegmentCheckpoint(this.#files, this.#options.dir, start.size, this.#checkpoint.note);
      this.#starts.keep(this.#files, this.#options.dir, start, this.#sealedMs);
    }
    this.#segment = start.size;
    this.#options.waypoint?.pass(start);
    const path = join(this.#options.dir, SEGMENTS, segmentName(this.#segment));
    this.#file = this.#files.open(path, 'create');
    this.#byteLength = 0;
    this.#segmentStartMs = Math.max(this.#options.now(), this.#sealedMs);
  }

  /** Lets the next record begin a segment, so that all before it are finished and can be archived. */
  finishSegment(): void {
    if (this.#byteLength > 0) this.#closeFile();
  }

  /** What stands for all records by now. */
  get #end(): Removed {
    return { size: this.#tree.size, peaks: [...this.#tree.peaks], link: this.#link };
  }

  #take(header: RecordHeader, headerBytes: Uint8Array): void {
    this.#link = leafHash(sha256, headerBytes);
    this.#tree.append(this.#link);
    this.#sealedMs = Date.parse(header.sealed);
  }

  /** Start-up and recovery are this one path: read what is there, cut what no one was told of, and go on. */
  #recover(): void {
    const { dir, endOfRun, onOpening, resume } = this.#options;
    const signingBytes = this.#files.readAll(join(dir, SIGNING));
    const names = this.#files.list(join(dir, SEGMENTS)) ?? [];
    const resumed = resume?.head;
    if (signingBytes === undefined) {
      if (resumed !== undefined) throw new DamagedLogError('the log is gone');
      if (names.length > 0) {
        throw new DamagedLogError(
          'there are segments but no `signing` file: what was signed is not known',
        );
      }
      makeDurableDirectory(this.#files, join(dir, SEGMENTS));
      // A crash before this line leaves an empty directory; after it, a log of size 0.
      replaceFile(this.#files, join(dir, SIGNING), encodeSigning(this.#signed));
    } else {
      const signed = parseSigning(signingBytes);
      if (signed === undefined) throw new DamagedLogError('signing: not a size and a root');
      this.#signed = signed;
    }
    const heads = [{ head: this.#signed, whose: 'was signed' }];
    if (resumed !== undefined) heads.push({ head: resumed, whose: 'was durable before' });
    const checkpoint = this.#files.readAll(join(dir, CHECKPOINT));
    let vouchedSize = resumed?.size ?? 0;
    if (checkpoint !== undefined) {
      const head = judgeCheckpoint(checkpoint, this.#options.signer.verifier, this.#signed);
      if (typeof head === 'string') throw new DamagedLogError(head);
      heads.push({ head, whose: 'was signed' });
      vouchedSize = Math.max(vouchedSize, head.size);
    }
    this.#heads = heads;
    // Not `signing`: nothing in it tells who wrote it.
    const tail = Tail.open(this.#files, dir, this.#options.signer, vouchedSize);
    this.#tail = tail;
    this.#beginBehindPruned();
    this.#readSegments(names.filter((name) => !(parseSegmentName(name)! < this.#tree.size)));
    const recovered: ControlEvent[] = this.#readRecovery();
    const { size } = this.#tree;
    const hasCut = recovered.length > 0;
    const from = tail.unvouchedFrom;
    if (from !== undefined) recovered.unshift({ name: 'adopted', from, size });
    if (size < this.#signed.size) {
      throw new DamagedLogError(`${size} records, but ${this.#signed.size} were signed`);
    }
    if (resumed !== undefined && size < resumed.size) {
      throw new DamagedLogError(`${size} records, but ${resumed.size} were durable before`);
    }
    const end = (resume === undefined && size > 0 && endOfRun?.(size)) || [];
    // What was cut belongs to the run that ends, so that its numbers can make up for it. A crash in here: the next
    // start seals the rest again, which is true twice.
    const events = end.length === 0 ? [] : [...recovered, ...end];
    for (let at = 0; at < events.length; at += CONTROL_ENTRY_COUNT) {
      this.appendControl(events.slice(at, at + CONTROL_ENTRY_COUNT));
    }
    if (resume === undefined) onOpening?.(this.#tree.size);
    const opened: ControlEvent = {
      name: 'opened',
      size: this.#tree.size,
      root: this.#tree.root(),
      ...this.#options.opened,
      ...(resume === undefined ? {} : { continues: resume.continues }),
    };
    this.appendControl([opened]);
    if (recovered.length > 0 && end.length === 0) this.appendControl(recovered);
    tail.adopt();
    // A crash before this line: the next start seals `recovered` once more, which is true twice.
    if (hasCut) forgetCuts(this.#files, dir);
  }

  /** Goes on from what was removed, or from further on. That it was so, the root that was signed at or behind it tells. */
  #beginBehindPruned(): void {
    const { dir, resume, waypoint } = this.#options;
    const pruned = readPruned(this.#files, dir);
    if (pruned === undefined) throw new DamagedLogError('pruned: not the head of a log');
    const from = waypoint?.begin(pruned, this.#heads, resume !== undefined) ?? pruned;
    this.#tree = new Tree(sha256, from.size, from.peaks);
    this.#link = from.link;
    for (const { head, whose } of this.#heads) {
      // What is removed was archived under a checkpoint, so no signature is older.
      if (head.size < pruned.size) {
        throw new DamagedLogError(`pruned: ${pruned.size} records, but only ${head.size} ${whose}`);
      }
      this.#compare(head, whose, from === pruned ? 'pruned' : 'waypoint');
    }
  }

  #compare({ size, root }: Head, whose: string, where: string): void {
    if (size === this.#tree.size && !equalBytes(this.#tree.root(), root)) {
      throw new DamagedLogError(`${where}: the log has another root than ${whose}`);
    }
  }

  #readSegments(names: readonly string[]): void {
    const { dir } = this.#options;
    for (const [position, name] of names.entries()) {
      if (parseSegmentName(name) !== this.#tree.size) {
        throw new DamagedLogError(
          `segments/${name} is not the segment of record ${this.#tree.size}`,
        );
      }
      const isLast = position === names.length - 1;
      const path = join(dir, SEGMENTS, name);
      this.#segment = this.#tree.size;
      this.#options.waypoint?.pass(this.#end);
      if (isLast) this.#readLastSegment(path, name);
      else this.#readHeaders(path, name);
    }
  }

  /** Finished segments: headers alone, for the tree over them binds the rest. */
  #readHeaders(path: string, name: string): void {
    const file = this.#files.open(path, 'read');
    try {
      const byteLength = this.#files.byteLength(file);
      const buffer = new Uint8Array(HEADER_BYTE_LENGTH_MAX);
      for (let at = 0; at < byteLength; ) {
        const filled = this.#files.read(file, buffer, at);
        const { header, headerBytes } = this.#readHeader(buffer.subarray(0, filled), name);
        at += headerBytes.length + header.storedByteLength;
        if (at > byteLength)
          throw new DamagedLogError(`segments/${name} ends in the middle of a record`);
        this.#continue(header, headerBytes, name);
      }
    } finally {
      this.#files.close(file);
    }
  }

  #readHeader(bytes: Uint8Array, name: string): ReturnType<typeof headerOf> {
    try {
      return headerOf(bytes);
    } catch (error) {
      throw new DamagedLogError(`segments/${name} record ${this.#tree.size}: ${causeOf(error)}`);
    }
  }

  /** The one segment that may end in a torn frame. */
  #readLastSegment(path: string, name: string): void {
    const file = this.#files.open(path, 'existing');
    this.#file = file;
    const byteLength = this.#files.byteLength(file);
    if (byteLength > SEGMENT_BYTE_LENGTH_MAX)
      throw new DamagedLogError(`segments/${name} has ${byteLength} bytes`);
    const bytes = new Uint8Array(byteLength);
    this.#files.read(file, bytes, 0);
    let at = 0;
    while (at < bytes.length) {
      let frame: ReturnType<typeof readFrame>;
      try {
        frame = readFrame(bytes, at);
      } catch {
        frame = undefined;
      }
      // A frame whose stored bytes do not hash is torn as well: its header reached the disk before its payload.
      if (frame === undefined || !equalBytes(sha256(frame.stored), frame.header.storedHash)) break;
      this.#continue(frame.header, frame.headerBytes, name);
      at = frame.end;
    }
    this.#byteLength = at;
    if (at < bytes.length) this.#cut(bytes, at, name);
  }

  #continue(header: RecordHeader, headerBytes: Uint8Array, name: string): void {
    const where = `segments/${name} record ${this.#tree.size}`;
    if (header.log !== this.#origin)
      throw new DamagedLogError(`${where} belongs to the log ${header.log}`);
    if (header.index !== this.#tree.size || !equalBytes(header.prev, this.#link)) {
      throw new DamagedLogError(`${where} does not continue the record before it`);
    }
    this.#take(header, headerBytes);
    this.#tail?.check(header.index, this.#link);
    const inDoubt = this.#options.resume?.inDoubt;
    if (header.index === inDoubt?.index && equalBytes(header.root, inDoubt.root)) {
      this.#holdsInDoubt = true;
    }
    for (const { head, whose } of this.#heads) this.#compare(head, whose, where);
  }

  /** Cuts what stands behind the last whole frame, and remembers it until it is sealed (invariant 5). */
  #cut(bytes: Uint8Array, at: number, name: string): void {
    const { dir } = this.#options;
    if (this.#tree.size < this.#signed.size) {
      throw new DamagedLogError(
        `segments/${name} record ${this.#tree.size} is damaged, and was signed`,
      );
    }
    if (followedByFrame(bytes, at)) {
      throw new DamagedLogError(
        `segments/${name} record ${this.#tree.size} is damaged, and records follow it`,
      );
    }
    // A crash before the truncation repeats this; after it, the file tells what was cut.
    const cut = { segment: this.#segment, offset: at, bytes: bytes.subarray(at) };
    rememberCut(this.#files, dir, cut, this.#readRecovery(), this.#options.now());
    this.#files.truncate(this.#file, at);
    this.#files.sync(this.#file);
  }

  /** Cuts that no record tells of yet. */
  #readRecovery(): RecoveredEvent[] {
    try {
      return readRecovery(this.#files, this.#options.dir);
    } catch (error) {
      throw new DamagedLogError(`recovery: ${causeOf(error)}`);
    }
  }
}
