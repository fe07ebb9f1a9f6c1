// SPDX-License-Identifier: Apache-2.0
/**
 * Where in its log a writer may begin to read when it starts: the tree up to the beginning of a segment, and what the log
 * said of its archive until there, under a digest that only the writer's key makes. Whoever deletes or changes it makes a
 * start slow. What lies before it is not looked at by that start: verifying does that. FORMAT.md, "Log directory".
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';
import { decodeBase64, encodeBase64, equalBytes, fromLatin1, latin1 } from '../../log/bytes.ts';
import { type ControlEvent, encodeControl, parseControl } from '../../log/control.ts';
import { headerEnd, parseHeader } from '../../log/header.ts';
import { HEADER_BYTE_LENGTH_MAX } from '../../log/limits.ts';
import { type Hash, Tree } from '../../log/merkle.ts';
import type { Head } from '../../log/note.ts';
import { segmentName } from '../../log/segment.ts';
import type { Removed } from '../../log/verify.ts';
import type { Files } from '../system/files.ts';
import { type Signer, sha256 } from '../system/keys.ts';
import { encodePruned, NOTHING_PRUNED, parsePruned, readPruned } from './prune.ts';

/** An event of the log that its keepers need, and the record that it is in. */
export interface EventAt {
  readonly index: number;
  readonly sealedMs: number;
  readonly event: ControlEvent;
}

const WAYPOINT = 'waypoint';
const TOLD = 'waypoint-told';
/** Heads, told and HMAC, each line with its LF; hashes of the last two in hexadecimal. */
const END = /\n((?:head [^\n]+\n)*)told ([0-9]+) ([0-9a-f]{64})\n([0-9a-f]{64})\n$/;
/** Segments whose heads are kept: an archive is seldom further behind. */
const HEAD_COUNT_MAX = 256;

export class Waypoint {
  readonly #files: Files;
  readonly #dir: string;
  readonly #key: Uint8Array;
  /** What a start goes by. */
  #at: Removed = NOTHING_PRUNED;
  /** The beginning of a later segment, to be saved once it is signed. */
  #next: Removed | undefined;
  #isEnded = false;
  readonly #events: EventAt[] = [];
  /** Heads at the beginnings of the last segments. */
  readonly #roots = new Map<number, Hash>();
  /** Length and hash of what was told; and lines of events that were not. */
  #told = { byteLength: 0, hash: createHash('sha256') };
  #untold: { readonly index: number; readonly line: string }[] = [];

  private constructor(files: Files, dir: string, signer: Signer) {
    this.#files = files;
    this.#dir = dir;
    // Ed25519 signs one text always alike, so the key needs no file. No note has this text: an origin has no `@`.
    const text = `sealspan/waypoint-key@1\n${signer.verifier.name}\n`;
    this.#key = sha256(signer.sign(fromLatin1(text)));
  }

  /** Takes up what the last writer of a log directory left, as far as that is its own word and fits the log. */
  static open(files: Files, dir: string, signer: Signer): Waypoint {
    const waypoint = new Waypoint(files, dir, signer);
    try {
      waypoint.#load();
    } catch {
      return new Waypoint(files, dir, signer);
    }
    return waypoint;
  }

  /** Records that need not be read, and the tree over them. */
  get at(): Removed {
    return this.#at;
  }

  /** Receipts and holds of the records before {@link at}, in order. */
  get events(): readonly EventAt[] {
    return this.#events.filter(({ index }) => index < this.#at.size);
  }

  /** The head at the beginning of a segment; undefined for other sizes. */
  headAt(size: number): Head | undefined {
    const root = this.#roots.get(size);
    return root === undefined ? undefined : { size, root };
  }

  /**
   * Where a writer may begin: here, if that is behind what was removed, and not behind a head that the log must have.
   * @param isResumed where this process opens the log again: an append that failed may have left events nobody heard
   */
  begin(pruned: Removed, heads: readonly { readonly head: Head }[], isResumed: boolean): Removed {
    if (isResumed) this.#isEnded = true;
    const { size } = this.#at;
    return size > pruned.size && heads.every(({ head }) => head.size >= size) ? this.#at : pruned;
  }

  /** Hears all events that are sealed, and keeps those that the next start will ask for. */
  hear(index: number, sealedMs: number, events: readonly ControlEvent[]): void {
    for (const event of events) {
      if (event.name !== 'receipt' && event.name !== 'hold') continue;
      this.#events.push({ index, sealedMs, event });
      const entry = encodeBase64(encodeControl(event, sealedMs));
      this.#untold.push({ index, line: `event ${index} ${entry}\n` });
    }
  }

  /** A segment begins behind these records. */
  pass(end: Removed): void {
    if (end.size === 0 || end.size <= this.#at.size) return;
    this.#roots.set(end.size, new Tree(sha256, end.size, end.peaks).root());
    const [oldest] = this.#roots.keys();
    if (this.#roots.size > HEAD_COUNT_MAX && oldest !== undefined) this.#roots.delete(oldest);
    this.#next = end;
  }

  /** Saves the beginning of the segment that is written, all before it being signed now. Failing costs the next start time. */
  save(): void {
    const next = this.#next;
    if (next === undefined || this.#isEnded) return;
    this.#next = undefined;
    try {
      this.#tell(next.size);
      const { byteLength, hash } = this.#told;
      const heads = [...this.#roots].map(([size, root]) => `head ${size} ${encodeBase64(root)}\n`);
      const text = `${latin1(encodePruned(next))}${heads.join('')}told ${byteLength} ${hash.copy().digest('hex')}\n`;
      const digest = createHmac('sha256', this.#key).update(text, 'latin1').digest('hex');
      this.#replace(fromLatin1(`${text}${digest}\n`));
      this.#at = next;
    } catch {
      // The last one saved stays true.
      this.#isEnded = true;
    }
  }

  /** Not synced, nor is what was told: what a power cut leaves of them does not hold, and the next start is slow. */
  #replace(bytes: Uint8Array): void {
    const path = join(this.#dir, WAYPOINT);
    const file = this.#files.open(`${path}.tmp`, 'truncate');
    try {
      this.#files.append(file, bytes);
    } finally {
      this.#files.close(file);
    }
    this.#files.rename(`${path}.tmp`, path);
  }

  /** Writes the lines of records before `size`. A crash behind it leaves lines that the next writer cuts. */
  #tell(size: number): void {
    const isBefore = ({ index }: { readonly index: number }) => index < size;
    const lines = this.#untold.filter(isBefore).map(({ line }) => line);
    this.#untold = this.#untold.filter((line) => !isBefore(line));
    const bytes = fromLatin1(lines.join(''));
    const file = this.#files.open(join(this.#dir, TOLD), 'existing');
    try {
      this.#files.truncate(file, this.#told.byteLength);
      this.#files.append(file, bytes);
    } finally {
      this.#files.close(file);
    }
    this.#told.byteLength += bytes.length;
    this.#told.hash.update(bytes);
  }

  /** @throws Error where there is none, or it does not hold */
  #load(): void {
    const bytes = this.#files.readAll(join(this.#dir, WAYPOINT));
    const text = latin1(bytes ?? new Uint8Array());
    const [end, heads = '', toldLength, toldHash, digest] = END.exec(text) ?? [];
    if (end === undefined || digest === undefined) throw new Error('no waypoint');
    const signed = text.slice(0, -digest.length - 1);
    const own = createHmac('sha256', this.#key).update(signed, 'latin1').digest();
    if (!timingSafeEqual(own, Buffer.from(digest, 'hex'))) throw new Error('not of this key');
    const at = parsePruned(fromLatin1(text.slice(0, text.length - end.length + 1)));
    const told = this.#files.readAll(join(this.#dir, TOLD))?.subarray(0, Number(toldLength));
    if (at === undefined || told?.length !== Number(toldLength)) throw new Error('cut off');
    const hash = createHash('sha256').update(told);
    if (hash.copy().digest('hex') !== toldHash) throw new Error('not what was told');
    if (!this.#isContinued(at)) throw new Error('not of this log');
    for (const line of heads.split('\n').slice(0, -1)) {
      const [, size, root = ''] = line.split(' ');
      this.#roots.set(Number(size), decodeBase64(root));
    }
    // What left with its segment is no longer said by the log.
    const removed = readPruned(this.#files, this.#dir)?.size ?? 0;
    const lines = latin1(told).split('\n').slice(0, -1);
    const left = lines.filter((line) => Number(line.split(' ')[1]) >= removed);
    for (const line of left) {
      const [, index, entry = ''] = line.split(' ');
      const { event, timeMs } = parseControl(decodeBase64(entry));
      this.#events.push({ index: Number(index), sealedMs: timeMs, event });
    }
    this.#at = at;
    if (left.length >= lines.length / 2) this.#told = { byteLength: told.length, hash };
    // Most of it is of no use: it is told anew.
    else
      this.#untold = left.map((line) => ({ index: Number(line.split(' ')[1]), line: `${line}\n` }));
  }

  /** True where the segment that begins there is there, and goes on from it. */
  #isContinued({ size, link }: Removed): boolean {
    const file = this.#files.open(join(this.#dir, 'segments', segmentName(size)), 'read');
    try {
      const buffer = new Uint8Array(HEADER_BYTE_LENGTH_MAX);
      const bytes = buffer.subarray(0, this.#files.read(file, buffer, 0));
      const end = headerEnd(bytes, 0);
      if (end === undefined) return false;
      const { index, prev } = parseHeader(bytes.subarray(0, end));
      return index === size && equalBytes(prev, link);
    } finally {
      this.#files.close(file);
    }
  }
}
