// SPDX-License-Identifier: Apache-2.0
/**
 * Every maximum of the format, in one place (invariant 12): past a limit there is a coded error, never a crash.
 * Guarantees nothing about what is below a limit. FORMAT.md, "Limits".
 */

/** Bytes of one record header, its last LF included. Fits a C2SP tlog entry (65,535 bytes) many times over. */
export const HEADER_BYTE_LENGTH_MAX: number = 4096;

/** Lines of a record header; the grammar is fixed, so is their number. */
export const HEADER_LINE_COUNT: number = 9;

/** Bytes of one OTLP request before it is cut into entries. What OTLP recommends receivers to accept. */
export const REQUEST_BYTE_LENGTH_MAX: number = 64 * 1024 * 1024;

/** Bytes of one payload, inflated. Above any single entry that {@link REQUEST_BYTE_LENGTH_MAX} allows. */
export const PAYLOAD_BYTE_LENGTH_MAX: number = 2 * REQUEST_BYTE_LENGTH_MAX;

/** Bytes of one stored zstd frame: a payload that does not compress grows by far less than this. */
export const STORED_BYTE_LENGTH_MAX: number = PAYLOAD_BYTE_LENGTH_MAX + 1024 * 1024;

/** Largest zstd window a reader must allocate. RFC 8878 section 3.1.1.1.2 recommends decoders to support 8 MiB. */
export const ZSTD_WINDOW_BYTE_LENGTH_MAX: number = 8 * 1024 * 1024;

/** Entries of one record. */
export const ENTRY_COUNT_MAX: number = 65_536;

/** Entries of one request: sixteen batches of a Collector's usual size. Two kilobytes of gzip can hold a million empty ones. */
export const REQUEST_ENTRY_COUNT_MAX: number = 128 * 1024;

/** Entries of one request may total at most 4 x its length + this (a large resource shared by tiny spans is an attack). */
export const AMPLIFICATION_SLACK_BYTE_LENGTH: number = 64 * 1024 * 1024;
export const AMPLIFICATION_FACTOR: number = 4;

/** Depth of messages inside one request. protobuf decoders stop at 100, so what we accept they can read. */
export const MESSAGE_DEPTH_MAX: number = 90;

/** Bytes of one segment file: the writer finishes segments far earlier, a single large record may reach it. */
export const SEGMENT_BYTE_LENGTH_MAX: number = 256 * 1024 * 1024;

/** Bytes of a signed note: sixteen cosignatures of the largest kind and a body. */
export const NOTE_BYTE_LENGTH_MAX: number = 128 * 1024;

/** Signature lines of a signed note that are looked at (C2SP signed-note asks for at least 16). */
export const NOTE_SIGNATURE_COUNT_MAX: number = 32;

/** Bytes of one text value in a control event. */
export const CONTROL_TEXT_LENGTH_MAX: number = 1024;

/** Bytes that a `recovered` event keeps of what recovery cut off; the rest is counted and hashed. */
export const RECOVERED_BYTE_LENGTH_MAX: number = 1024 * 1024;

/** Findings that a report lists; further ones are counted. */
export const FINDING_COUNT_MAX: number = 100;

/** Proof lines: a tree of 2^53 leaves has no longer path. C2SP tlog-proof allows 63. */
export const PROOF_LENGTH_MAX: number = 63;

/** Ranges of numbers that are told apart for one writer; one that scatters its numbers further is not followed. */
export const NUMBER_RANGE_COUNT_MAX: number = 65_536;
