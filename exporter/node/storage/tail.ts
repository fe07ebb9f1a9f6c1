// SPDX-License-Identifier: Apache-2.0
/**
 * What vouches for a record until it is signed: a keyed digest of each, in the file `tail` of the log directory, so that
 * the next start can tell records of this key's writer from those that somebody else appended. Never synced: it survives
 * a killed process, and what a power cut takes of it makes honest records unvouched, never forged ones vouched.
 * FORMAT.md, "Log directory".
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';
import { fromLatin1 } from '../../log/bytes.ts';
import type { Hash } from '../../log/merkle.ts';
import type { Files } from '../system/files.ts';
import { type Signer, sha256 } from '../system/keys.ts';

const TAIL = 'tail';

/** Index and HMAC-SHA256. */
const INDEX_BYTE_LENGTH = 8;
const LINE_BYTE_LENGTH = INDEX_BYTE_LENGTH + 32;

export class Tail {
  readonly #files: Files;
  readonly #file: number;
  readonly #key: Uint8Array;
  /** Digests found at open. An index has several where an append failed and the next one took its place. */
  readonly #found: Map<number, Uint8Array[]> = new Map();

  readonly #vouchedSize: number;
  #unvouchedFrom: number | undefined;

  private constructor(files: Files, file: number, key: Uint8Array, vouchedSize: number) {
    this.#files = files;
    this.#file = file;
    this.#key = key;
    this.#vouchedSize = vouchedSize;
  }

  /**
   * Opens the file of a log directory, or makes it.
   * @param vouchedSize how many records something else vouches for: a signature, or this process
   * @throws Error of the file system
   */
  static open(files: Files, dir: string, signer: Signer, vouchedSize: number): Tail {
    // Ed25519 signs one text always alike, so the key needs no file. No note has this text: an origin has no `@`.
    const text = `sealspan/tail-key@1\n${signer.verifier.name}\n`;
    const key = sha256(signer.sign(fromLatin1(text)));
    const path = join(dir, TAIL);
    const bytes = files.readAll(path);
    const file = files.open(path, bytes === undefined ? 'create' : 'existing');
    const tail = new Tail(files, file, key, vouchedSize);
    try {
      tail.#read(bytes ?? new Uint8Array());
    } catch (error) {
      tail.close();
      throw error;
    }
    return tail;
  }

  #read(bytes: Uint8Array): void {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const end = bytes.length - (bytes.length % LINE_BYTE_LENGTH);
    for (let at = 0; at < end; at += LINE_BYTE_LENGTH) {
      const index = Number(view.readBigUInt64BE(at));
      const digest = bytes.subarray(at + INDEX_BYTE_LENGTH, at + LINE_BYTE_LENGTH);
      const others = this.#found.get(index);
      if (others === undefined) this.#found.set(index, [digest]);
      else others.push(digest);
    }
    // Half a line is of a write that failed: what is appended behind it could not be read.
    if (end < bytes.length) this.#files.truncate(this.#file, end);
  }

  #digest(leaf: Hash): Uint8Array {
    return createHmac('sha256', this.#key).update(leaf).digest();
  }

  /** Holds a record of the log against what was in the file at open. */
  check(index: number, leaf: Hash): void {
    if (index < this.#vouchedSize || this.#unvouchedFrom !== undefined) return;
    const digest = this.#digest(leaf);
    const isVouched = this.#found.get(index)?.some((one) => timingSafeEqual(one, digest));
    if (isVouched !== true) this.#unvouchedFrom = index;
  }

  /** First record that nothing vouches for, until a sealed event says so. */
  get unvouchedFrom(): number | undefined {
    return this.#unvouchedFrom;
  }

  /**
   * Lets all records be signed, now that an event says which of them nothing vouches for. They get no digest: if a crash
   * takes the event before it is signed, the next start seals another.
   */
  adopt(): void {
    this.#unvouchedFrom = undefined;
    this.#found.clear();
  }

  /** Vouches for a record that is about to be written: a crash in between vouches for what is not there. */
  append(index: number, leaf: Hash): void {
    const line = Buffer.alloc(LINE_BYTE_LENGTH);
    line.writeBigUInt64BE(BigInt(index));
    line.set(this.#digest(leaf), INDEX_BYTE_LENGTH);
    this.#files.append(this.#file, line);
  }

  /** Forgets all records, for a signature vouches for them now. */
  clear(): void {
    this.#files.truncate(this.#file, 0);
  }

  close(): void {
    this.#files.close(this.#file);
  }
}
