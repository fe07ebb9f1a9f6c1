// SPDX-License-Identifier: Apache-2.0
/**
 * The one place that writes to the terminal: data to stdout, all else to stderr, colour only where a person looks. What a
 * terminal would obey is spelled out, whoever wrote it; that a text keeps to its one line, its caller sees to by `shown`.
 */
import { randomUUID } from 'node:crypto';

export interface Terminal {
  /** A line of what was asked for, or several. */
  data(lines: string): void;
  /** A line about it, or several. */
  note(lines: string): void;
  /** Progress of long work, rewritten in place; nothing off a terminal. */
  progress(line: string): void;
  bold(text: string): string;
  good(text: string): string;
  bad(text: string): string;
}

/** What a terminal obeys instead of showing: C0, DEL, C1, ends of lines, what turns the direction of text, half pairs. */
const OBEYED = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/**
 * Words that others wrote, such as a span's name or a file's, on one line: what a terminal would obey is spelled as
 * `\u001b`. Without it a log could paint a verdict of its own.
 */
export function shown(text: string): string {
  return text.replace(
    OBEYED,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The same for words of several lines, such as an error in YAML that points at the place. */
export function shownLines(text: string): string {
  return text.split('\n').map(shown).join('\n');
}

/** JSON that a person may look at: the same object, and no raw character that a terminal obeys. */
export function shownJson(value: unknown): string {
  return shownLines(JSON.stringify(value, undefined, 2));
}

export function openTerminal(): Terminal {
  const { stdout, stderr, env } = process;
  const hasColour = stdout.isTTY === true && !env.NO_COLOR;
  // Stands for the start of a colour until it is written: nobody else can know it, so nobody else has colours.
  const mark = randomUUID();
  const paint = (code: number) => (text: string) =>
    hasColour ? `${mark}${code}m${text}${mark}0m` : text;
  const put = (stream: NodeJS.WriteStream, lines: string): void => {
    stream.write(`${shownLines(lines).replaceAll(mark, '\u001b[')}\n`);
  };
  for (const stream of [stdout, stderr]) {
    // Whoever reads may stop, as `head` does; the work goes on, since its exit status is still asked for.
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  let hasProgress = false;
  const clear = (): void => {
    if (hasProgress) stderr.write('\r\u001b[2K');
    hasProgress = false;
  };
  return {
    data: (lines) => {
      clear();
      put(stdout, lines);
    },
    note: (lines) => {
      clear();
      put(stderr, lines);
    },
    progress: (line) => {
      if (stderr.isTTY !== true) return;
      stderr.write(`\r\u001b[2K${shown(line)}`);
      hasProgress = true;
    },
    bold: paint(1),
    good: paint(32),
    bad: paint(31),
  };
}
