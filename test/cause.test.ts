// SPDX-License-Identifier: Apache-2.0
// Goal: whatever somebody else's words hold, what is shown of them is one short line that no terminal obeys. Method: a
// table of texts as receivers and systems send them.
import { describe, expect, test } from 'vitest';
import { causeOf, shownText } from '../exporter/node/system/cause.ts';

const ESCAPE = String.fromCodePoint(0x1b);
const RIGHT_TO_LEFT = String.fromCodePoint(0x202e);

describe('text that is shown', () => {
  test.each([
    ['as it is', 'quota exceeded', 'quota exceeded'],
    ['on one line', 'first\r\n\tsecond', 'first second'],
    ['without what moves a cursor', `${ESCAPE}[2Jgone`, '[2Jgone'],
    ['without what turns text around', `a${RIGHT_TO_LEFT}b`, 'a b'],
    ['trimmed', '\n  text \n', 'text'],
    ['up to a length', 'x'.repeat(200), 'x'.repeat(200)],
    ['and cut beyond it', 'x'.repeat(201), `${'x'.repeat(200)}…`],
  ])('%s', (_what, text, shown) => {
    expect(shownText(text)).toBe(shown);
  });
});

describe('the cause of a failure', () => {
  const coded = (message: string, code: unknown): Error =>
    Object.assign(new Error(message), { code });
  test.each([
    ['its message', new Error('no space left'), 'no space left'],
    ['its code where it has no message', coded('', 'ECONNREFUSED'), 'ECONNREFUSED'],
    ['nothing of a code that is no text', coded('', 7), ''],
    ['nothing of what is no error', 'a text that somebody threw', 'unknown error'],
  ])('is %s', (_what, error, cause) => {
    expect(causeOf(error)).toBe(cause);
  });
});
