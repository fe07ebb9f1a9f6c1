// SPDX-License-Identifier: Apache-2.0
// Goal: a header has one spelling, and nothing else is a header. Method: one header written out by hand, then round trips
// of any header, a table of refusals one edit away from a good one, and every single bit of it flipped.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeBase64, latin1 } from '../exporter/log/bytes.ts';
import {
  encodeHeader,
  headerEnd,
  isOrigin,
  parseHeader,
  type RecordHeader,
  type RecordSource,
  type SourceKind,
  WRITER_SOURCE,
} from '../exporter/log/header.ts';
import {
  ENTRY_COUNT_MAX,
  HEADER_BYTE_LENGTH_MAX,
  PAYLOAD_BYTE_LENGTH_MAX,
  STORED_BYTE_LENGTH_MAX,
} from '../exporter/log/limits.ts';
import { NO_LINK } from '../exporter/log/merkle.ts';
import { codeOf } from './support/log-error.ts';

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const hashOf = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);

const PREV = 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=';
const PRINCIPAL = 'AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=';
const STORED = 'AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=';
const ROOT = 'BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=';

const TEXT = `sealspan/record@v1
log payments/prod/0
index 41
prev ${PREV}
sealed 2026-11-23T12:34:56.789Z
source collector ${PRINCIPAL} verbatim
payload traces 48211
stored zstd 9123 ${STORED}
entries 61 ${ROOT}
`;

const HEADER: RecordHeader = {
  log: 'payments/prod/0',
  index: 41,
  prev: hashOf(1),
  sealed: '2026-11-23T12:34:56.789Z',
  source: { kind: 'collector', principal: hashOf(2), policy: 'verbatim' },
  kind: 'traces',
  payloadByteLength: 48_211,
  storedByteLength: 9_123,
  storedHash: hashOf(3),
  entryCount: 61,
  root: hashOf(4),
};

const CONTROL = TEXT.replace(`collector ${PRINCIPAL}`, 'in-process -').replace('traces', 'control');

function edited(from: string | RegExp, to: string, text = TEXT): Uint8Array {
  const result = text.replace(from, to);
  if (result === text) throw new Error(`nothing to edit: ${from}`);
  return bytesOf(result);
}

const origin = fc
  .stringMatching(/^[a-z0-9][a-z0-9._/-]{0,199}$/)
  .filter((text) => text.length <= 200);
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
const upTo = (max: number, min = 0): fc.Arbitrary<number> =>
  fc.oneof(fc.constantFrom(min, max), fc.integer({ min, max }));
const source: fc.Arbitrary<RecordSource> = fc.record({
  kind: fc.constantFrom<SourceKind>('in-process', 'direct', 'collector'),
  principal: fc.option(hash, { nil: undefined }),
  policy: origin,
});
const body = {
  log: origin,
  index: upTo(Number.MAX_SAFE_INTEGER),
  prev: hash,
  sealed: fc
    .date({ min: new Date(0), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true })
    .map((date) => date.toISOString()),
  payloadByteLength: upTo(PAYLOAD_BYTE_LENGTH_MAX),
  storedByteLength: upTo(STORED_BYTE_LENGTH_MAX),
  storedHash: hash,
  entryCount: upTo(ENTRY_COUNT_MAX, 1),
  root: hash,
};
const anyHeader: fc.Arbitrary<RecordHeader> = fc.oneof(
  fc.record({ ...body, source, kind: fc.constantFrom('traces' as const, 'logs' as const) }),
  fc.record({ ...body, source: fc.constant(WRITER_SOURCE), kind: fc.constant('control' as const) }),
);

describe('one spelling', () => {
  test('a header, as it is written', () => {
    expect(latin1(encodeHeader(HEADER))).toBe(TEXT);
    expect(parseHeader(bytesOf(TEXT))).toEqual(HEADER);
  });

  test('a control header, of the writer alone', () => {
    expect(parseHeader(bytesOf(CONTROL))).toEqual({
      ...HEADER,
      kind: 'control',
      source: WRITER_SOURCE,
    });
  });

  test('the first record links to nothing: 43 letters A', () => {
    const text = latin1(encodeHeader({ ...HEADER, index: 0, prev: NO_LINK }));
    expect(text.split('\n').slice(2, 4)).toEqual(['index 0', `prev ${'A'.repeat(43)}=`]);
  });

  test('any header comes back as it was, and any text too', () => {
    fc.assert(
      fc.property(anyHeader, (header) => {
        const bytes = encodeHeader(header);
        const parsed = parseHeader(bytes);
        expect(parsed).toEqual(header);
        expect(encodeHeader(parsed)).toEqual(bytes);
        expect(bytes.length).toBeLessThan(HEADER_BYTE_LENGTH_MAX);
        expect(headerEnd(bytes, 0)).toBe(bytes.length);
      }),
    );
  });
});

describe('refusals', () => {
  test.each<[string, Uint8Array]>([
    ['nothing', bytesOf('')],
    ['a byte before', bytesOf(` ${TEXT}`)],
    ['an empty line before', bytesOf(`\n${TEXT}`)],
    ['a byte order mark', bytesOf(`\u00ef\u00bb\u00bf${TEXT}`)],
    ['a byte behind', bytesOf(`${TEXT}x`)],
    ['an empty line behind', bytesOf(`${TEXT}\n`)],
    ['a NUL behind', bytesOf(`${TEXT}\0`)],
    ['no last line feed', bytesOf(TEXT.slice(0, -1))],
    ['CR LF', bytesOf(TEXT.replaceAll('\n', '\r\n'))],
    ['CR', bytesOf(TEXT.replaceAll('\n', '\r'))],
    ['one CR', edited('index 41\n', 'index 41\r\n')],
    ['another version', edited('@v1', '@v2')],
    ['a line that nobody knows', edited('index 41\n', 'index 41\nnote hello\n')],
    ['a ninth line of another name', edited('entries', 'entry')],
    ['a line missing', edited('index 41\n', '')],
    ['a line twice', edited('index 41\n', 'index 41\nindex 41\n')],
    ['two lines swapped', edited(/(index 41\n)(prev .*\n)/, '$2$1')],
    ['two spaces', edited('index 41', 'index  41')],
    ['a space at the end of a line', edited('index 41', 'index 41 ')],
    ['a tab', edited('index 41', 'index\t41')],
    ['an upper case name', edited('index', 'Index')],
    ['an origin in upper case', edited('payments', 'Payments')],
    ['an origin that starts with a slash', edited('payments', '/payments')],
    ['an origin with #', edited('prod/0', 'prod#0')],
    ['an origin with a space', edited('prod/0', 'prod 0')],
    ['an empty origin', edited('payments/prod/0', '')],
    ['an origin of 201 characters', edited('payments/prod/0', 'a'.repeat(201))],
    ['an origin above ASCII', edited('payments', 'p\u00e4yments')],
    ['an index with a leading zero', edited('index 41', 'index 041')],
    ['an index of two zeros', edited('index 41', 'index 00')],
    ['a negative index', edited('index 41', 'index -1')],
    ['an index with a sign', edited('index 41', 'index +41')],
    ['half an index', edited('index 41', 'index 41.0')],
    ['an index of 2^53', edited('index 41', 'index 9007199254740992')],
    ['no index', edited('index 41', 'index ')],
    ['a link of 31 bytes', edited(PREV, `${'AQEB'.repeat(10)}AQ==`)],
    ['a link of 33 bytes', edited(PREV, 'AQEB'.repeat(11))],
    ['a link without padding', edited(PREV, PREV.slice(0, -1))],
    ['a link for URLs', edited(PREV, `_${PREV.slice(1)}`)],
    ['the 30th of February', edited('2026-11-23', '2026-02-30')],
    ['the 29th of February of 2026', edited('2026-11-23', '2026-02-29')],
    ['month 13', edited('2026-11-23', '2026-13-23')],
    ['month 0', edited('2026-11-23', '2026-00-23')],
    ['hour 24', edited('T12:34:56.789', 'T24:00:00.000')],
    ['a leap second', edited('12:34:56', '23:59:60')],
    ['a time without milliseconds', edited('.789Z', 'Z')],
    ['microseconds', edited('.789Z', '.789123Z')],
    ['a lower case z', edited('789Z', '789z')],
    ['an offset', edited('.789Z', '.789+00:00')],
    ['a space for the T', edited('T12', ' 12')],
    ['a year of five digits', edited('2026', '02026')],
    ['an unknown source', edited('collector', 'gateway')],
    ['a source without principal', edited(`${PRINCIPAL} `, '')],
    ['two dashes for a principal', edited(PRINCIPAL, '--')],
    ['no policy', edited(' verbatim', '')],
    ['a policy in upper case', edited('verbatim', 'Verbatim')],
    ['an unknown kind', edited('traces', 'metrics')],
    ['a payload length with a leading zero', edited('48211', '048211')],
    ['a payload that is too large', edited('48211', String(PAYLOAD_BYTE_LENGTH_MAX + 1))],
    ['another compression', edited('zstd', 'gzip')],
    ['a stored length with a leading zero', edited('9123', '09123')],
    ['a stored frame that is too large', edited('9123', String(STORED_BYTE_LENGTH_MAX + 1))],
    ['no entries', edited('entries 61', 'entries 0')],
    ['an entry count with a leading zero', edited('entries 61', 'entries 061')],
    ['too many entries', edited('entries 61', `entries ${ENTRY_COUNT_MAX + 1}`)],
    ['a principal on control', edited('process -', `process ${PRINCIPAL}`, CONTROL)],
    ['control from a collector', edited('in-process', 'collector', CONTROL)],
    ['control under a policy', edited('verbatim', 'redacted', CONTROL)],
  ])('%s', (_name, bytes) => {
    expect(codeOf(() => parseHeader(bytes))).toBe('header.syntax');
  });

  test.each(['PREV', 'PRINCIPAL', 'STORED', 'ROOT'] as const)('spare bits of %s', (name) => {
    const text = { PREV, PRINCIPAL, STORED, ROOT }[name];
    const last = text.at(-2)!;
    const spare = `${text.slice(0, -2)}${String.fromCharCode(last.charCodeAt(0) + 1)}=`;
    // The text that Node would read as the same 32 bytes.
    expect(Buffer.from(spare, 'base64')).toEqual(Buffer.from(text, 'base64'));
    expect(codeOf(() => parseHeader(edited(text, spare)))).toBe('bytes.base64');
  });

  test('more bytes than any header has', () => {
    const bytes = bytesOf(TEXT.padEnd(HEADER_BYTE_LENGTH_MAX + 1, 'x'));
    expect(codeOf(() => parseHeader(bytes))).toBe('header.too-long');
  });
});

describe('every single bit flipped', () => {
  test.each([
    ['traces', TEXT],
    ['control', CONTROL],
  ])('of a %s header: refused, or another header with exactly these bytes', (_kind, text) => {
    const original = bytesOf(text);
    const header = parseHeader(original);
    let parsedCount = 0;
    for (let bit = 0; bit < original.length * 8; bit++) {
      const bytes = original.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      if (codeOf(() => parseHeader(bytes)) !== 'accepted') continue;
      parsedCount++;
      const parsed = parseHeader(bytes);
      expect(parsed).not.toEqual(header);
      expect(encodeHeader(parsed)).toEqual(bytes);
    }
    // Digits, hashes and names have neighbours one bit away: a test that met none of them would prove nothing.
    expect(parsedCount).toBeGreaterThan(300);
  });
});

describe('misuse of encodeHeader', () => {
  test.each<[string, Partial<RecordHeader>]>([
    ['an origin in upper case', { log: 'Payments' }],
    ['an origin above U+00FF', { log: 'p\u0101yments' }],
    ['an origin with a line of its own', { log: 'a\nindex 7' }],
    ['a negative index', { index: -1 }],
    ['half an index', { index: 1.5 }],
    ['an index of 2^53', { index: 2 ** 53 }],
    ['a link of 31 bytes', { prev: new Uint8Array(31) }],
    ['a time without milliseconds', { sealed: '2026-11-23T12:34:56Z' }],
    ['no entries', { entryCount: 0 }],
    ['control of a foreign source', { kind: 'control' }],
  ])('%s', (_name, change) => {
    expect(() => encodeHeader({ ...HEADER, ...change })).toThrow(RangeError);
  });
});

describe('the end of a header', () => {
  const bytes = bytesOf(TEXT);

  test('is behind its ninth line feed, wherever it starts and whatever follows', () => {
    const joined = new Uint8Array([...bytesOf('\n\nbefore'), ...bytes, ...bytesOf('\n\nbehind')]);
    expect(headerEnd(joined, 8)).toBe(8 + bytes.length);
  });

  test('is not known while the ninth line is cut, at any byte', () => {
    for (let end = 0; end < bytes.length; end++) {
      expect(headerEnd(bytes.subarray(0, end), 0)).toBeUndefined();
    }
  });

  test('is not looked for beyond what a header may have', () => {
    const line = 'x'.repeat(HEADER_BYTE_LENGTH_MAX - 1);
    expect(codeOf(() => headerEnd(bytesOf(`${line}y`), 0))).toBe('header.too-long');
    expect(headerEnd(bytesOf(line), 0)).toBeUndefined();
    expect(headerEnd(bytesOf(`${line.slice(8)}${'\n'.repeat(9)}`), 0)).toBe(HEADER_BYTE_LENGTH_MAX);
  });
});

describe('origins', () => {
  test.each([
    ['a', true],
    ['0', true],
    ['payments/prod/0', true],
    ['example.org/audit/checkout-7', true],
    ['a_b', true],
    ['a'.repeat(200), true],
    ['a'.repeat(201), false],
    ['', false],
    ['-a', false],
    ['.a', false],
    ['/a', false],
    ['_a', false],
    ['A', false],
    ['a#b', false],
    ['a+b', false],
    ['a b', false],
    ['a\n', false],
    ['a\nb', false],
    ['\u00e4', false],
  ])('%j: %s', (text, valid) => {
    expect(isOrigin(text)).toBe(valid);
  });
});

test('hashes are spelled as they are in the vectors above', () => {
  expect([1, 2, 3, 4].map((byte) => encodeBase64(hashOf(byte)))).toEqual([
    PREV,
    PRINCIPAL,
    STORED,
    ROOT,
  ]);
});
