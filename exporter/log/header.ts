// SPDX-License-Identifier: Apache-2.0
/**
 * The record header: nine lines of text that bind one record's payload and link it to the record before.
 * Its leaf hash is the link, and the leaf of the log's tree. FORMAT.md, "Record".
 */

import { decodeBase64, encodeBase64, fromLatin1, latin1, parseDecimal } from './bytes.ts';
import type { PayloadKind } from './entries.ts';
import { refuse } from './errors.ts';
import {
  ENTRY_COUNT_MAX,
  HEADER_BYTE_LENGTH_MAX,
  HEADER_LINE_COUNT,
  PAYLOAD_BYTE_LENGTH_MAX,
  STORED_BYTE_LENGTH_MAX,
} from './limits.ts';
import { HASH_BYTE_LENGTH, type Hash } from './merkle.ts';

/** Where the entries came from: how near to the application the bytes were sealed. */
export type SourceKind = 'in-process' | 'direct' | 'collector';

export interface RecordSource {
  readonly kind: SourceKind;
  /** SHA-256 of the authenticated principal that sent them; undefined where nobody was authenticated. */
  readonly principal: Hash | undefined;
  /** `verbatim`, or the id of the content policy that was applied before sealing. */
  readonly policy: string;
}

export interface RecordHeader {
  /** The log's origin: its permanent name. */
  readonly log: string;
  readonly index: number;
  /** Leaf hash of the header before; zeros at index 0. */
  readonly prev: Hash;
  /** RFC 3339, milliseconds, Z. Claimed by the writer; never earlier than the one before. */
  readonly sealed: string;
  readonly source: RecordSource;
  readonly kind: PayloadKind;
  readonly payloadByteLength: number;
  readonly storedByteLength: number;
  /** SHA-256 of the stored bytes, checked before they are inflated. */
  readonly storedHash: Hash;
  readonly entryCount: number;
  /** RFC 6962 root over the leaves of the entries. */
  readonly root: Hash;
}

const FIRST_LINE = 'sealspan/record@v1';
const NAME = '[a-z0-9][a-z0-9._/-]{0,199}';
const ORIGIN = new RegExp(`^${NAME}$`);
const BASE64_HASH = '[A-Za-z0-9+/]{43}=';
const GRAMMAR: RegExp = new RegExp(
  [
    `^${FIRST_LINE}`,
    `log (${NAME})`,
    'index ([0-9]+)',
    `prev (${BASE64_HASH})`,
    'sealed ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z)',
    `source (in-process|direct|collector) (-|${BASE64_HASH}) (${NAME})`,
    'payload (traces|logs|control) ([0-9]+)',
    `stored zstd ([0-9]+) (${BASE64_HASH})`,
    `entries ([0-9]+) (${BASE64_HASH})\n$`,
  ].join('\n'),
);

/** The one source that control records have: they are the writer's own words. */
export const WRITER_SOURCE: RecordSource = {
  kind: 'in-process',
  principal: undefined,
  policy: 'verbatim',
};

/** Origins and policy ids: lower case, no spaces, no `#`, so that a reference to an entry is never ambiguous. */
export function isOrigin(text: string): boolean {
  return ORIGIN.test(text);
}

/** The text of a header. The inverse of {@link parseHeader}; throws RangeError for a value that has no spelling. */
export function encodeHeader(header: RecordHeader): Uint8Array {
  const { source } = header;
  const principal = source.principal === undefined ? '-' : encodeBase64(source.principal);
  const text = `${FIRST_LINE}
log ${header.log}
index ${header.index}
prev ${encodeBase64(header.prev)}
sealed ${header.sealed}
source ${source.kind} ${principal} ${source.policy}
payload ${header.kind} ${header.payloadByteLength}
stored zstd ${header.storedByteLength} ${encodeBase64(header.storedHash)}
entries ${header.entryCount} ${encodeBase64(header.root)}
`;
  const bytes = fromLatin1(text);
  try {
    parseHeader(bytes);
  } catch (cause) {
    throw new RangeError(`header: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  return bytes;
}

/** End of the header that starts at `start`: the offset behind its ninth LF; undefined where the bytes end before it. */
export function headerEnd(bytes: Uint8Array, start: number): number | undefined {
  const limit = Math.min(bytes.length, start + HEADER_BYTE_LENGTH_MAX);
  let lines = 0;
  for (let at = start; at < limit; at++) {
    if (bytes[at] === 0x0a && ++lines === HEADER_LINE_COUNT) return at + 1;
  }
  if (limit - start === HEADER_BYTE_LENGTH_MAX) {
    refuse('header.too-long', `header: no ninth line in ${HEADER_BYTE_LENGTH_MAX} bytes`, start);
  }
  return undefined;
}

/**
 * Parses one whole header, strictly: every value has one spelling, so parse and encode are inverse.
 * @throws LogError `header.syntax`, `header.too-long`, `bytes.base64`
 */
export function parseHeader(bytes: Uint8Array): RecordHeader {
  if (bytes.length > HEADER_BYTE_LENGTH_MAX) refuse('header.too-long', 'header: too long');
  const found = GRAMMAR.exec(latin1(bytes));
  if (found === null) refuse('header.syntax', 'header: not nine lines of the grammar');
  const text = (group: number): string => found[group]!;
  const header: RecordHeader = {
    log: text(1),
    index: integer(text(2), 'index', Number.MAX_SAFE_INTEGER),
    prev: hash(text(3)),
    sealed: time(text(4)),
    source: {
      kind: text(5) as SourceKind,
      principal: text(6) === '-' ? undefined : hash(text(6)),
      policy: text(7),
    },
    kind: text(8) as PayloadKind,
    payloadByteLength: integer(text(9), 'payload', PAYLOAD_BYTE_LENGTH_MAX),
    storedByteLength: integer(text(10), 'stored', STORED_BYTE_LENGTH_MAX),
    storedHash: hash(text(11)),
    entryCount: integer(text(12), 'entries', ENTRY_COUNT_MAX),
    root: hash(text(13)),
  };
  if (header.entryCount === 0) refuse('header.syntax', 'header: a record of no entries');
  if (header.kind === 'control' && !isWriterSource(header.source)) {
    refuse('header.syntax', 'header: a control record of a foreign source');
  }
  return header;
}

function isWriterSource(source: RecordSource): boolean {
  return (
    source.kind === WRITER_SOURCE.kind &&
    source.principal === undefined &&
    source.policy === WRITER_SOURCE.policy
  );
}

function integer(text: string, line: string, max: number): number {
  const value = parseDecimal(text);
  if (value === undefined || value > max) {
    refuse('header.syntax', `header: ${line} is no integer of 0..${max}`);
  }
  return value;
}

function hash(text: string): Hash {
  const bytes = decodeBase64(text);
  if (bytes.length !== HASH_BYTE_LENGTH) refuse('header.syntax', 'header: a hash is not 32 bytes');
  return bytes;
}

/** Refuses times that do not exist: 2026-02-30 parses in JavaScript, and comes back as another day. */
function time(text: string): string {
  const milliseconds = Date.parse(text);
  if (Number.isNaN(milliseconds) || new Date(milliseconds).toISOString() !== text) {
    refuse('header.syntax', 'header: sealed is no time');
  }
  return text;
}
