// SPDX-License-Identifier: Apache-2.0
/**
 * The one error of the log core: hostile or damaged bytes, with a code out of a closed union.
 * Misuse by a caller is never a LogError; it is a TypeError or a RangeError that names the argument.
 */

export type LogErrorCode =
  | 'bytes.base64'
  | 'control.syntax'
  | 'header.syntax'
  | 'header.too-long'
  | 'note.syntax'
  | 'note.too-long'
  | 'checkpoint.syntax'
  | 'key.syntax'
  | 'otlp.amplification'
  | 'otlp.depth'
  | 'otlp.entry-count'
  | 'otlp.field-number'
  | 'otlp.length'
  | 'otlp.not-an-entry'
  | 'otlp.repeated'
  | 'otlp.tag'
  | 'otlp.too-long'
  | 'otlp.top-level-field'
  | 'otlp.truncated'
  | 'otlp.varint'
  | 'otlp.wire-type'
  | 'segment.truncated'
  | 'stored.frame';

/** What was wrong with some bytes: `code` for programs, `message` for people, `offset` in bytes where there is one. */
export class LogError extends Error {
  override readonly name = 'LogError';
  readonly code: LogErrorCode;
  readonly offset: number | undefined;

  constructor(code: LogErrorCode, message: string, offset?: number) {
    super(offset === undefined ? message : `${message} (byte ${offset})`);
    this.code = code;
    this.offset = offset;
  }
}

/** @throws LogError, always */
export function refuse(code: LogErrorCode, message: string, offset?: number): never {
  throw new LogError(code, message, offset);
}

/** What a finding says of bytes that were refused. @throws whatever else was thrown, again */
export function saidOf(cause: unknown): string {
  if (cause instanceof LogError) return `${cause.code}: ${cause.message}`;
  throw cause;
}
