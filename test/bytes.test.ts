// SPDX-License-Identifier: Apache-2.0
// Goal: one value has one spelling. Method: the codecs against Node's own over random bytes, the vectors of RFC 4648,
// then every text near a legal one: what decodes must encode back to the same text.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  concat,
  decodeBase64,
  decodeUtf8,
  encodeBase64,
  encodeHex,
  equalBytes,
  fromLatin1,
  latin1,
  parseDecimal,
} from '../exporter/log/bytes.ts';
import { codeOf } from './support/log-error.ts';

const ascii = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

describe('base64', () => {
  test.each([
    ['', ''],
    ['f', 'Zg=='],
    ['fo', 'Zm8='],
    ['foo', 'Zm9v'],
    ['foob', 'Zm9vYg=='],
    ['fooba', 'Zm9vYmE='],
    ['foobar', 'Zm9vYmFy'],
    ['\xfb\xff\xbf', '+/+/'],
  ])('RFC 4648 section 10: %j is %j', (plain, encoded) => {
    expect(encodeBase64(ascii(plain))).toBe(encoded);
    expect(decodeBase64(encoded)).toEqual(ascii(plain));
  });

  test('is that of Node for any bytes, both ways', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const encoded = Buffer.from(bytes).toString('base64');
        expect(encodeBase64(bytes)).toBe(encoded);
        expect(decodeBase64(encoded)).toEqual(bytes);
      }),
    );
  });

  test.each([
    ['spare bits, one byte', 'AB=='],
    ['spare bits, two bytes', 'AAB='],
    ['no padding', 'Zg'],
    ['half the padding', 'Zg='],
    ['too much padding', 'Zm9v===='],
    ['padding alone', '===='],
    ['three paddings', 'Z==='],
    ['padding in the middle', 'Zg==Zg=='],
    ['padding before a digit', 'Zm=v'],
    ['a line feed behind', 'Zm9v\n'],
    ['a line feed inside', 'Zm9\nv=='],
    ['a carriage return', 'Zm9v\r\n==='],
    ['a space', 'Zm9 Zm9v'],
    ['the alphabet for URLs', '-_-_'],
    ['a character above ASCII', 'Zm9\u00f6'],
    ['a character that lowers to ASCII', 'Zm9\u0141'],
    ['an astral character', 'Zm\u{1f600}'],
    ['a NUL', 'Zm9\0'],
  ])('refuses %s', (_name, text) => {
    expect(codeOf(() => decodeBase64(text))).toBe('bytes.base64');
  });

  test('of two characters and padding: what decodes is the one spelling of its byte', () => {
    const decoded = new Map<number, string>();
    for (const first of ALPHABET) {
      for (const second of ALPHABET) {
        const text = `${first}${second}==`;
        if (codeOf(() => decodeBase64(text)) !== 'accepted') continue;
        const [byte] = decodeBase64(text);
        expect(decoded.get(byte!)).toBeUndefined();
        decoded.set(byte!, text);
      }
    }
    expect(decoded.size).toBe(256);
  });

  test('any text that decodes encodes back to itself', () => {
    const near = fc
      .array(fc.constantFrom(...ALPHABET, '=', '=', '\n', '-'), { maxLength: 12 })
      .map((characters) => characters.join(''));
    fc.assert(
      fc.property(near, (text) => {
        if (codeOf(() => decodeBase64(text)) === 'accepted') {
          expect(encodeBase64(decodeBase64(text))).toBe(text);
        }
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('hex', () => {
  test('is that of Node: lower case, two digits a byte', () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    expect(encodeHex(bytes)).toBe(Buffer.from(bytes).toString('hex'));
    expect(encodeHex(new Uint8Array())).toBe('');
  });
});

describe('one character per byte', () => {
  test('every byte is the character of its number, and back', () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
    expect(latin1(bytes)).toBe(text);
    expect(fromLatin1(text)).toEqual(bytes);
  });

  test.each([0, 1, 8191, 8192, 8193, 300_000])('%i bytes are read whole', (byteLength) => {
    const bytes = Uint8Array.from({ length: byteLength }, (_, at) => at % 251);
    expect(latin1(bytes)).toBe(Buffer.from(bytes).toString('latin1'));
  });

  test('a range is that range', () => {
    const bytes = ascii('abcdefgh');
    expect([latin1(bytes, 2), latin1(bytes, 2, 5), latin1(bytes, 3, 3)]).toEqual([
      'cdefgh',
      'cde',
      '',
    ]);
  });

  test.each(['\u0100', '\u2014', 'a\u{1f600}'])('%j has no spelling in bytes', (text) => {
    expect(() => fromLatin1(text)).toThrow(RangeError);
  });
});

describe('UTF-8', () => {
  test.each([
    ['an overlong letter', 'c181'],
    ['an overlong slash', 'e080af'],
    ['a surrogate', 'eda080'],
    ['a pair of surrogates', 'eda080edb080'],
    ['a character above U+10FFFF', 'f4908080'],
    ['a sequence of five', 'f888808080'],
    ['a sequence cut off', 'e282'],
    ['a sequence cut by a letter', 'e28261'],
    ['a continuation alone', '80'],
    ['0xFF', 'ff'],
  ])('%s is none', (_name, bytes) => {
    expect(decodeUtf8(new Uint8Array(Buffer.from(bytes, 'hex')))).toBeUndefined();
  });

  test('any bytes are text to us where they are text to the platform', () => {
    const pieces = fc.oneof(
      fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 4 }),
    );
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 4 }), (list) => {
        const bytes = new Uint8Array(Buffer.concat(list));
        let text: string | undefined;
        try {
          text = decoder.decode(bytes);
        } catch {
          text = undefined;
        }
        expect(decodeUtf8(bytes)).toBe(text);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('concat and equalBytes', () => {
  test('join parts in order, and own the result', () => {
    const part = ascii('b');
    const all = concat(ascii('a'), part, new Uint8Array(), ascii('cd'));
    part[0] = 0;
    expect(all).toEqual(ascii('abcd'));
    expect(concat()).toEqual(new Uint8Array());
  });

  test.each([
    ['', '', true],
    ['a', 'a', true],
    ['a', 'b', false],
    ['a', 'ab', false],
    ['ab', 'a', false],
    ['ab', 'ac', false],
    ['\0', '', false],
  ])('%j and %j: %s', (a, b, equal) => {
    expect(equalBytes(ascii(a), ascii(b))).toBe(equal);
  });
});

describe('decimals', () => {
  test.each([
    ['0', 0],
    ['7', 7],
    ['10', 10],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
    ['9007199254740992', undefined],
    ['9999999999999999', undefined],
    ['10000000000000000', undefined],
    ['', undefined],
    ['00', undefined],
    ['07', undefined],
    ['+7', undefined],
    ['-0', undefined],
    ['-7', undefined],
    [' 7', undefined],
    ['7 ', undefined],
    ['7\n', undefined],
    ['7.0', undefined],
    ['1e3', undefined],
    ['0x7', undefined],
    ['1_000', undefined],
    ['٧', undefined],
    ['７', undefined],
    ['NaN', undefined],
  ])('%j is %s', (text, value) => {
    expect(parseDecimal(text)).toBe(value);
  });

  test('every integer up to 2^53-1 has this one spelling', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger().map(Math.abs), (value) => {
        expect(parseDecimal(String(value))).toBe(value);
      }),
    );
  });
});
