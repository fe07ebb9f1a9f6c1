// SPDX-License-Identifier: Apache-2.0
/**
 * Strict codecs and the few byte helpers the core needs, on plain Uint8Array.
 * One value has one spelling: what decodes here encodes back to the same text. FORMAT.md, "Conventions".
 */
import { refuse } from './errors.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const VALUE_OF_CODE: Int8Array = new Int8Array(128).fill(-1);
for (let value = 0; value < 64; value++) VALUE_OF_CODE[ALPHABET.charCodeAt(value)] = value;

/** RFC 4648 section 4, padded. */
export function encodeBase64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const left = bytes.length - at;
    const word = (bytes[at]! << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    text += ALPHABET[word >> 18]! + ALPHABET[(word >> 12) & 63]!;
    text += left > 1 ? ALPHABET[(word >> 6) & 63]! : '=';
    text += left > 2 ? ALPHABET[word & 63]! : '=';
  }
  return text;
}

/**
 * RFC 4648 section 4, padded, zero spare bits, nothing before, between or after.
 * @throws LogError `bytes.base64`
 */
export function decodeBase64(text: string): Uint8Array {
  if (text.length % 4 !== 0) refuse('bytes.base64', 'base64: length is no multiple of 4');
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  const digits = text.length - padding;
  let word = 0;
  let filled = 0;
  for (let at = 0; at < digits; at++) {
    const code = text.charCodeAt(at);
    const value = code < 128 ? VALUE_OF_CODE[code]! : -1;
    if (value < 0) refuse('bytes.base64', 'base64: a character outside the alphabet', at);
    word = ((word << 6) | value) & 0xffffff;
    if (at % 4 !== 0) bytes[filled++] = (word >> (6 - 2 * (at % 4))) & 0xff;
  }
  const spareBits = padding === 1 ? 2 : padding === 2 ? 4 : 0;
  if ((word & ((1 << spareBits) - 1)) !== 0) {
    refuse('bytes.base64', 'base64: spare bits are not zero');
  }
  return bytes;
}

export function encodeHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

/** Text of one byte per character; bytes above 0x7F come out as U+0080..U+00FF and never equal ASCII. */
export function latin1(bytes: Uint8Array, start = 0, end: number = bytes.length): string {
  let text = '';
  // Chunks, because fromCharCode takes its characters as arguments and a stack has an end.
  for (let at = start; at < end; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, Math.min(end, at + 8192)));
  }
  return text;
}

/** @throws RangeError for a character above U+00FF: the callers' grammars never let one through. */
export function fromLatin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code > 0xff) throw new RangeError(`text: character U+${code.toString(16)} is above U+00FF`);
    bytes[at] = code;
  }
  return bytes;
}

/**
 * UTF-8 text, strictly (RFC 3629): undefined for overlong forms, surrogates and cut sequences. There is no TextDecoder
 * here; decodeURIComponent is ECMAScript's own decoder, and as strict.
 */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return decodeURIComponent(encodeHex(bytes).replace(/../g, '%$&'));
  } catch {
    return undefined;
  }
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let byteLength = 0;
  for (const part of parts) byteLength += part.length;
  const all = new Uint8Array(byteLength);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Plain comparison: everything compared in this core is public, so timing tells nothing. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/**
 * A decimal integer of one spelling: no sign, no leading zero, at most 2^53-1. Returns undefined for all else.
 * BigInt('') is 0n and Number(' 7 ') is 7, so neither may parse what an attacker wrote.
 */
export function parseDecimal(text: string): number | undefined {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return undefined;
  const value = Number(text);
  return value <= Number.MAX_SAFE_INTEGER ? value : undefined;
}
