// SPDX-License-Identifier: Apache-2.0
/**
 * The inputs that fuzzing starts from, one file for each kind, kept in the tree: `corpus/<kind>.json` names each and has
 * its bytes in base64, or as text where they are text. Taken from the vectors by `npm run fuzz -- --corpus`; what once broke a parser is
 * added by hand and stays.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { splitPayload } from '../../exporter/log/entries.ts';
import { readFrames } from '../../exporter/log/segment.ts';
import { nodePrimitives } from '../../exporter/node/system/keys.ts';
import { VECTOR_DIRECTORY, type Vector } from '../../scripts/vectors.ts';

const DIRECTORY = join(import.meta.dirname, 'corpus');
const BYTE_LENGTH_MAX = 3000;
const COUNT_MAX = 24;

/** What a corpus holds, by name. */
export type Corpus = ReadonlyMap<string, Uint8Array>;

type Entry = { readonly text: string } | { readonly base64: string };

export function readCorpus(kind: string): Corpus {
  const text = readFileSync(join(DIRECTORY, `${kind}.json`), 'utf8');
  return new Map(
    Object.entries(JSON.parse(text) as Record<string, Entry>).map(([name, entry]) => [
      name,
      new Uint8Array(
        'text' in entry ? Buffer.from(entry.text) : Buffer.from(entry.base64, 'base64'),
      ),
    ]),
  );
}

function entryOf(bytes: Uint8Array): Entry {
  const isText = bytes.every((byte) => byte === 0x0a || (byte >= 0x20 && byte < 0x7f));
  const buffer = Buffer.from(bytes);
  return isText ? { text: buffer.toString('latin1') } : { base64: buffer.toString('base64') };
}

/** Writes a corpus; entries that stand there under other names stay. */
function writeCorpus(kind: string, found: Corpus): void {
  const path = join(DIRECTORY, `${kind}.json`);
  let kept: Record<string, Entry> = {};
  try {
    kept = JSON.parse(readFileSync(path, 'utf8')) as Record<string, Entry>;
  } catch {
    // The first of its kind.
  }
  const taken = Object.fromEntries([...found].map(([name, bytes]) => [name, entryOf(bytes)]));
  const entries = Object.entries({ ...kept, ...taken }).sort(([a], [b]) => (a < b ? -1 : 1));
  writeFileSync(path, `${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`);
}

/** Collects pieces, each once, under the name of the vector that it is from. */
class Pieces {
  readonly #byContent = new Map<string, string>();

  add(name: string, bytes: Uint8Array): void {
    const content = Buffer.from(bytes).toString('latin1');
    if (bytes.length <= BYTE_LENGTH_MAX && !this.#byContent.has(content)) {
      this.#byContent.set(content, name);
    }
  }

  /** As many as a corpus takes, spread over all of them. */
  spread(): Corpus {
    const all = [...this.#byContent];
    const step = Math.max(1, all.length / COUNT_MAX);
    const chosen = new Map<string, Uint8Array>();
    for (let at = 0; at < all.length; at += step) {
      const [content, name] = all[Math.floor(at)]!;
      chosen.set(`vector ${name}`, new Uint8Array(Buffer.from(content, 'latin1')));
    }
    return chosen;
  }
}

/** Takes the corpora of the log's own formats from the vectors. */
export async function writeCorporaOfVectors(): Promise<void> {
  const pieces = new Map<string, Pieces>();
  const add = (kind: string, name: string, bytes: Uint8Array): void => {
    const known = pieces.get(kind) ?? new Pieces();
    pieces.set(kind, known);
    known.add(name, bytes);
  };
  for (const file of readdirSync(VECTOR_DIRECTORY).sort()) {
    const vector = JSON.parse(readFileSync(join(VECTOR_DIRECTORY, file), 'utf8')) as Vector;
    for (const [path, content] of Object.entries(vector.files)) {
      if (typeof content !== 'string') continue;
      const bytes = new Uint8Array(Buffer.from(content, 'base64'));
      if (!path.startsWith('segments/')) {
        add('note', vector.name, bytes);
        continue;
      }
      add('segment', vector.name, bytes);
      try {
        for (const { header, headerBytes, stored } of readFrames(bytes)) {
          add('header', vector.name, headerBytes);
          add('stored', vector.name, stored);
          const payload = await nodePrimitives.inflate(stored, header.payloadByteLength);
          add(header.kind, vector.name, payload);
          for (const entry of splitPayload(payload, header.kind)) add('entry', vector.name, entry);
        }
      } catch {
        // A vector that can not be read to its end has given what it has.
      }
    }
  }
  for (const [kind, found] of pieces) writeCorpus(kind, found.spread());
}
