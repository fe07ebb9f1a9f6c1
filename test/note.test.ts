// SPDX-License-Identifier: Apache-2.0
// Goal: notes, keys and checkpoints are those of C2SP, byte for byte, and a note says nothing that no known key signed.
// Method: the examples of c2sp.org/signed-note and c2sp.org/tlog-checkpoint, signatures by Node's Ed25519, tables of what
// is refused, and every bit of a signed checkpoint flipped.
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { encodeBase64, encodeHex, latin1 } from '../exporter/log/bytes.ts';
import { NOTE_BYTE_LENGTH_MAX, NOTE_SIGNATURE_COUNT_MAX } from '../exporter/log/limits.ts';
import {
  createVerifier,
  encodeCheckpointText,
  encodeNote,
  encodeVerifier,
  judgeNote,
  parseCheckpoint,
  parseNote,
  parseVerifier,
  type Verifier,
  type VerifyEd25519,
} from '../exporter/log/note.ts';
import { codeOf } from './support/log-error.ts';
import { sha256 } from './support/naive-merkle.ts';

const utf8 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'utf8'));
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

const verifyEd25519: VerifyEd25519 = (publicKey, message, signature) => {
  const x = Buffer.from(publicKey).toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  return verify(null, message, key, signature);
};

interface Signer {
  readonly verifier: Verifier;
  sign(text: Uint8Array): { readonly verifier: Verifier; readonly signature: Uint8Array };
}

function signer(name: string): Signer {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const { x } = publicKey.export({ format: 'jwk' });
  const verifier = createVerifier(sha256, name, new Uint8Array(Buffer.from(x!, 'base64url')));
  return {
    verifier,
    sign: (text) => ({ verifier, signature: new Uint8Array(sign(null, text, privateKey)) }),
  };
}

// c2sp.org/signed-note, "Example".
const EXAMPLE_KEY = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k';
const EXAMPLE_TEXT = 'This is an example message.\n';
const EXAMPLE_NOTE = `${EXAMPLE_TEXT}
— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`;
// c2sp.org/signed-note, first lines: a text with an empty line and characters above ASCII.
const POEM_TEXT = `Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.
`;
const POEM_NOTE = `${POEM_TEXT}
— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
`;
// c2sp.org/tlog-checkpoint, first lines.
const CHECKPOINT_NOTE = `example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
`;

describe('the examples of C2SP', () => {
  const verifier = parseVerifier(sha256, EXAMPLE_KEY);

  test('the key, its id and its spelling', () => {
    expect({ name: verifier.name, id: encodeHex(verifier.keyId) }).toEqual({
      name: 'example.com/foo',
      id: '530d903a',
    });
    expect(encodeVerifier(createVerifier(sha256, verifier.name, verifier.publicKey))).toBe(
      EXAMPLE_KEY,
    );
  });

  test('the note is signed by that key', async () => {
    const note = parseNote(utf8(EXAMPLE_NOTE));
    expect(note.text).toEqual(utf8(EXAMPLE_TEXT));
    expect(await judgeNote(note, [verifier], verifyEd25519)).toEqual({
      signedBy: [verifier],
      forged: [],
    });
    const { signature } = note.signatures[0]!;
    expect(encodeNote(note.text, [{ verifier, signature }])).toEqual(utf8(EXAMPLE_NOTE));
  });

  test('a text with an empty line of its own ends at the last one', () => {
    const note = parseNote(utf8(POEM_NOTE));
    expect(note.text).toEqual(utf8(POEM_TEXT));
    expect(note.signatures.map(({ name, keyId }) => [name, encodeHex(keyId)])).toEqual([
      ['quasimodo.example/salvatore', '367ba04b'],
    ]);
  });

  test('the checkpoint', () => {
    const { note, ...head } = parseCheckpoint(utf8(CHECKPOINT_NOTE));
    expect({ ...head, root: encodeBase64(head.root) }).toEqual({
      origin: 'example.com/behind-the-sofa',
      size: 20_852_163,
      root: 'CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=',
    });
    expect(encodeCheckpointText(head.origin, head)).toEqual(note.text);
  });
});

describe('notes that are none', () => {
  const line = EXAMPLE_NOTE.split('\n')[2]!;
  const cases: readonly (readonly [string, Uint8Array])[] = [
    ['nothing', utf8('')],
    ['a text alone', utf8(EXAMPLE_TEXT)],
    ['a text and an empty line', utf8(`${EXAMPLE_TEXT}\n`)],
    ['no empty line', utf8(EXAMPLE_NOTE.replace('\n\n', '\n'))],
    ['no end of the last line', utf8(EXAMPLE_NOTE.slice(0, -1))],
    ['an empty line behind the signatures', utf8(`${EXAMPLE_NOTE}\n`)],
    ['a line that is no signature', utf8(`${EXAMPLE_NOTE}hello\n`)],
    ['CR LF', utf8(EXAMPLE_NOTE.replaceAll('\n', '\r\n'))],
    ['a tab in the text', utf8(EXAMPLE_NOTE.replace('an example', 'an\texample'))],
    ['a NUL in the text', utf8(EXAMPLE_NOTE.replace('an example', 'an\0example'))],
    ['a hyphen for the dash', utf8(EXAMPLE_NOTE.replace('—', '-'))],
    ['an en dash for the em dash', utf8(EXAMPLE_NOTE.replace('—', '–'))],
    ['no space behind the dash', utf8(EXAMPLE_NOTE.replace('— ', '—'))],
    ['two spaces behind the dash', utf8(EXAMPLE_NOTE.replace('— ', '—  '))],
    ['two spaces before the signature', utf8(EXAMPLE_NOTE.replace('foo U', 'foo  U'))],
    ['a third word', utf8(EXAMPLE_NOTE.replace('QM=\n', 'QM= more\n'))],
    ['a space at the end', utf8(EXAMPLE_NOTE.replace('QM=\n', 'QM= \n'))],
    ['no name', utf8(EXAMPLE_NOTE.replace('example.com/foo ', ''))],
    ['a name with a plus', utf8(EXAMPLE_NOTE.replace('/foo', '+foo'))],
    ['a name with a space of Unicode', utf8(EXAMPLE_NOTE.replace('/foo', '\u2003foo'))],
    ['a name with a space that never breaks', utf8(EXAMPLE_NOTE.replace('/foo', '\u00a0foo'))],
    ['a name with a next-line character', utf8(EXAMPLE_NOTE.replace('/foo', '\u0085foo'))],
    ['a key id without a signature', utf8(`${EXAMPLE_TEXT}\n— example.com/foo Uw2QOg==\n`)],
    ['no key id', utf8(`${EXAMPLE_TEXT}\n— example.com/foo Uw2Q\n`)],
    ['a text that is not UTF-8', bytesOf(`\u00ff${latin1(utf8(EXAMPLE_NOTE))}`)],
    ['a name that is not UTF-8', bytesOf(latin1(utf8(EXAMPLE_NOTE)).replace('/foo', '\u00c3foo'))],
    ['a surrogate', bytesOf(`\u00ed\u00a0\u0080${latin1(utf8(EXAMPLE_NOTE))}`)],
    ['an overlong letter', bytesOf(`\u00c1\u0081${latin1(utf8(EXAMPLE_NOTE))}`)],
    [
      'more signatures than are looked at',
      utf8(`${EXAMPLE_TEXT}\n${`${line}\n`.repeat(NOTE_SIGNATURE_COUNT_MAX + 1)}`),
    ],
  ];

  test.each(cases)('%s', (_name, bytes) => {
    expect(codeOf(() => parseNote(bytes))).toBe('note.syntax');
  });

  test('a signature in another base64', () => {
    expect(codeOf(() => parseNote(utf8(EXAMPLE_NOTE.replace('QM=', 'QN='))))).toBe('bytes.base64');
    expect(codeOf(() => parseNote(utf8(EXAMPLE_NOTE.replace('QM=', 'QM'))))).toBe('bytes.base64');
  });

  test('more bytes than a note may have, and not one fewer', () => {
    const padded = (byteLength: number): Uint8Array =>
      utf8(EXAMPLE_NOTE.padStart(byteLength - 2, 'x'));
    expect(padded(NOTE_BYTE_LENGTH_MAX)).toHaveLength(NOTE_BYTE_LENGTH_MAX);
    expect(codeOf(() => parseNote(padded(NOTE_BYTE_LENGTH_MAX)))).toBe('accepted');
    expect(codeOf(() => parseNote(padded(NOTE_BYTE_LENGTH_MAX + 1)))).toBe('note.too-long');
  });

  test('as many signatures as C2SP asks for are read, and the most we look at', () => {
    for (const count of [16, NOTE_SIGNATURE_COUNT_MAX]) {
      const note = parseNote(utf8(`${EXAMPLE_TEXT}\n${`${line}\n`.repeat(count)}`));
      expect(note.signatures).toHaveLength(count);
    }
  });
});

describe('who signed', () => {
  const log = signer('payments/prod/0');
  const witness = signer('witness.example/w1');
  const stranger = signer('stranger.example');
  const text = encodeCheckpointText('payments/prod/0', { size: 7, root: sha256(utf8('root')) });
  const known = [log.verifier, witness.verifier];
  const judge = (...signatures: readonly ReturnType<Signer['sign']>[]) =>
    judgeNote(parseNote(encodeNote(text, signatures)), known, verifyEd25519);

  test('two known keys', async () => {
    expect(await judge(log.sign(text), witness.sign(text))).toEqual({
      signedBy: [log.verifier, witness.verifier],
      forged: [],
    });
  });

  test('lines of unknown keys are passed over', async () => {
    expect(await judge(stranger.sign(text), log.sign(text))).toEqual({
      signedBy: [log.verifier],
      forged: [],
    });
    expect(await judge(stranger.sign(text))).toEqual({ signedBy: [], forged: [] });
  });

  test.each<[string, Partial<Verifier>]>([
    ['name', { name: 'payments/prod/1' }],
    ['id', { keyId: Uint8Array.of(1, 2, 3, 4) }],
  ])(
    'a line that shares all but the %s with a known key is of an unknown key',
    async (_, other) => {
      const { signature } = log.sign(text);
      const verdict = await judge({ verifier: { ...log.verifier, ...other }, signature });
      expect(verdict).toEqual({ signedBy: [], forged: [] });
    },
  );

  test.each<[string, (signature: Uint8Array) => Uint8Array]>([
    ['over another text', () => log.sign(utf8('other\n')).signature],
    ['by another key', () => stranger.sign(text).signature],
    ['cut by a byte', (signature) => signature.subarray(0, 63)],
    ['with a byte more', (signature) => Uint8Array.of(...signature, 0)],
    ['of one byte', (signature) => signature.subarray(0, 1)],
    ['of zeros', () => new Uint8Array(64)],
  ])('a line of a known key with a signature %s is forged', async (_name, forge) => {
    const { verifier, signature } = log.sign(text);
    const forged = { verifier, signature: forge(signature) };
    expect(await judge(forged)).toEqual({ signedBy: [], forged: [verifier] });
    // A good line beside it does not wash it clean.
    expect(await judge(witness.sign(text), forged)).toEqual({
      signedBy: [witness.verifier],
      forged: [verifier],
    });
  });

  test('no bit of a signed checkpoint flips unnoticed', async () => {
    const original = encodeNote(text, [log.sign(text)]);
    for (let bit = 0; bit < original.length * 8; bit++) {
      const bytes = original.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      if (codeOf(() => parseCheckpoint(bytes)) !== 'accepted') continue;
      const { note } = parseCheckpoint(bytes);
      expect([bit, (await judgeNote(note, known, verifyEd25519)).signedBy]).toEqual([bit, []]);
    }
  });
});

describe('checkpoints', () => {
  const body = CHECKPOINT_NOTE.split('\n').slice(0, 3);
  const signature = CHECKPOINT_NOTE.split('\n')[4]!;
  const checkpoint = (...lines: readonly string[]): Uint8Array =>
    utf8(`${lines.join('\n')}\n\n${signature}\n`);
  const [origin, size, root] = body as [string, string, string];

  test.each<[string, Uint8Array]>([
    ['an extension line', checkpoint(origin, size, root, 'more')],
    ['an empty extension line', checkpoint(origin, size, root, '', 'more')],
    ['no root', checkpoint(origin, size)],
    ['the origin alone', checkpoint(origin)],
    ['size 0', checkpoint(origin, '0', root)],
    ['a size with a leading zero', checkpoint(origin, '07', root)],
    ['a size in hex', checkpoint(origin, '0x7', root)],
    ['a negative size', checkpoint(origin, '-7', root)],
    ['a size with a space', checkpoint(origin, ' 7', root)],
    ['a size of 2^53', checkpoint(origin, '9007199254740992', root)],
    ['a root of 31 bytes', checkpoint(origin, size, `${'AAAA'.repeat(10)}AA==`)],
    ['a root of 33 bytes', checkpoint(origin, size, 'AAAA'.repeat(11))],
    ['no root but its line', checkpoint(origin, size, '')],
    ['an empty origin', checkpoint('', size, root)],
    ['an origin with a space', checkpoint('a b', size, root)],
    ['an origin in upper case', checkpoint('A', size, root)],
    ['an origin with a plus', checkpoint('a+b', size, root)],
  ])('%s', (_name, bytes) => {
    expect(codeOf(() => parseCheckpoint(bytes))).toBe('checkpoint.syntax');
  });

  test.each<[string, Uint8Array, string]>([
    ['a root with spare bits', checkpoint(origin, size, `${root.slice(0, -2)}J=`), 'bytes.base64'],
    ['a root without padding', checkpoint(origin, size, root.slice(0, -1)), 'bytes.base64'],
    ['no signature', utf8(`${body.join('\n')}\n`), 'note.syntax'],
    ['too long', utf8(CHECKPOINT_NOTE.padStart(NOTE_BYTE_LENGTH_MAX, 'x')), 'note.too-long'],
  ])('%s', (_name, bytes, code) => {
    expect(codeOf(() => parseCheckpoint(bytes))).toBe(code);
  });
});

describe('keys', () => {
  const ed25519 = (byteLength: number): Uint8Array => {
    const typed = new Uint8Array(1 + byteLength);
    typed[0] = 1;
    return typed;
  };

  test('in another base64', () => {
    const text = `${EXAMPLE_KEY}=`;
    expect(codeOf(() => parseVerifier(sha256, text))).toBe('bytes.base64');
  });

  test.each([
    ['nothing', ''],
    ['a name alone', 'example.com/foo'],
    ['no key', 'example.com/foo+530d903a+'],
    ['another name', EXAMPLE_KEY.replace('foo', 'bar')],
    ['another id', EXAMPLE_KEY.replace('530d903a', '530d903b')],
    ['an id in upper case', EXAMPLE_KEY.replace('530d903a', '530D903A')],
    ['an id of seven digits', EXAMPLE_KEY.replace('530d903a', '530d903')],
    ['a space before', ` ${EXAMPLE_KEY}`],
    ['a line feed behind', `${EXAMPLE_KEY}\n`],
    ['a name that is no origin', EXAMPLE_KEY.replace('example', 'Example')],
    ['a key of 31 bytes', `example.com/foo+530d903a+${encodeBase64(ed25519(31))}`],
    ['a key of 33 bytes', `example.com/foo+530d903a+${encodeBase64(ed25519(33))}`],
  ])('%s', (_name, text) => {
    expect(codeOf(() => parseVerifier(sha256, text))).toBe('key.syntax');
  });

  test.each([
    ['type 02, ECDSA', 2, 'key.syntax'],
    ['type 04, a cosigner’s key', 4, 'key.syntax'],
    ['type 01, under the id of another key', 1, 'key.syntax'],
  ])('of %s', (_name, type, code) => {
    const typed = encodeBase64(Uint8Array.of(type, ...new Uint8Array(32)));
    expect(codeOf(() => parseVerifier(sha256, `example.com/foo+530d903a+${typed}`))).toBe(code);
  });

  test('are misused where the name is no origin, or the key not 32 bytes', () => {
    expect(() => createVerifier(sha256, 'A', new Uint8Array(32))).toThrow(TypeError);
    expect(() => createVerifier(sha256, 'a', new Uint8Array(31))).toThrow(TypeError);
  });

  test('of any log come back from their line', () => {
    const { verifier } = signer('payments/prod/0');
    expect(parseVerifier(sha256, encodeVerifier(verifier))).toEqual(verifier);
  });
});
