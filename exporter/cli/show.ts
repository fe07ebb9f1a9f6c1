// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan show --trace ID`: the sealed spans of one trace, each with the place it is sealed at. Shows nothing that
 * was not verified on the way, and says with a verdict how far to trust it: of the log, or, where the log is large and
 * its index was gone by, of the records shown.
 */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { normalise } from '../../semconv/index.ts';
import { encodeBase64 } from '../log/bytes.ts';
import type { SourceKind } from '../log/header.ts';
import type { VerifiedRecord } from '../log/record.ts';
import type { Verdict } from '../log/report.ts';
import { groupCalls } from './calls.ts';
import { EXIT_IO, EXIT_OF, EXIT_UNKNOWN } from './exit.ts';
import { findIndexed, type IndexedTrace } from './indexed.ts';
import { readSpan, type ShownSpan } from './span.ts';
import { shown, shownJson, type Terminal } from './terminal.ts';
import { openTrustFile, type TrustFile } from './trust.ts';
import { findLogsAloud, joinVerdicts, readable, verifyDirectory } from './verify.ts';

export interface ShowOptions {
  readonly dir: string;
  readonly traceId: string;
  readonly trustPath: string | undefined;
  /** Attributes as they are sealed, and not in one vocabulary. */
  readonly isRaw?: boolean;
  /** Reads and verifies the whole log, however large it is. */
  readonly isFull?: boolean;
  readonly isJson: boolean;
}

interface Found extends ShownSpan {
  /** `<origin>#<record index>/<entry index>`, as `aigov.audit.ref` has it. */
  readonly ref: string;
  readonly leaf: string;
  readonly sealed: string;
  /** Who sent it to be sealed, as the record's header says. */
  readonly source: {
    readonly kind: SourceKind;
    /** SHA-256 of the authenticated principal, base64; null where nobody was authenticated. */
    readonly principal: string | null;
  };
  /** Its attributes in one vocabulary, whatever convention wrote them. */
  readonly normalised: Readonly<Record<string, unknown>>;
  /** Number in the trace of the call of a model that it tells of; several spans may tell of one. */
  call?: number;
}

/** Runs the command; returns the exit status: that of the verdict, 4 where the trace is not there, 5 where nothing could be read. */
export async function runShow(options: ShowOptions, terminal: Terminal): Promise<number> {
  const trust = options.trustPath === undefined ? undefined : openTrustFile(options.trustPath);
  const spans: Found[] = [];
  const verdicts: Verdict[] = [];
  let readCount = 0;
  let isWhole = true;
  for (const { dir } of findLogsAloud(options.dir, terminal)) {
    const indexed = options.isFull ? undefined : await indexedIn(dir, options, trust, terminal);
    if (indexed !== undefined) {
      for (const record of indexed.records) take(record, options.traceId, spans);
      verdicts.push('valid');
      readCount++;
      isWhole = false;
      terminal.note(
        `sealspan: of ${shown(dir)} only records that its index lists were read. They hold under the signed checkpoint of ` +
          `${indexed.head.size} records; what the index leaves out is not seen: \`--full\` reads the whole log`,
      );
      continue;
    }
    const { report, isRead } = await readable(dir, trust, () =>
      verifyDirectory(dir, trust, (record) => take(record, options.traceId, spans)),
    );
    verdicts.push(report.verdict);
    if (isRead) readCount++;
    else {
      for (const { where, message } of report.findings)
        terminal.note(`sealspan: ${shown(where)} can not be read: ${shown(message)}`);
    }
  }
  const verdict = joinVerdicts(verdicts);
  // Those of one millisecond stay in the order they were sealed in.
  spans.sort((a, b) => a.start.localeCompare(b.start));
  const calls = groupCalls(spans);
  for (const [index, call] of calls.entries()) for (const span of call) span.call = index + 1;
  if (options.isJson) {
    const told = options.isRaw === true ? spans.map(({ normalised: _, ...span }) => span) : spans;
    const scope = isWhole ? 'log' : 'records';
    const object = { trace: options.traceId, verdict, scope, calls: calls.length, spans: told };
    terminal.data(shownJson(object));
  } else {
    for (const span of spans) {
      const [first] = calls[(span.call ?? 0) - 1] ?? [];
      print(span, first === span ? undefined : first, options.isRaw === true, terminal);
    }
    const what = isWhole ? 'the log' : 'these records';
    terminal.note(
      `${spans.length} spans of trace ${options.traceId}, calls of a model: ${calls.length}; verdict of ${what}: ${verdict}`,
    );
  }
  if (verdicts.length > 0 && readCount === 0) return EXIT_IO;
  return spans.length === 0 ? EXIT_UNKNOWN : EXIT_OF[verdict];
}

/** Adds the spans of a trace that a record holds. */
function take({ header, entries, leaves }: VerifiedRecord, traceId: string, spans: Found[]): void {
  if (header.kind !== 'traces') return;
  const { kind, principal } = header.source;
  const id = Buffer.from(traceId, 'hex');
  entries.forEach((entry, index) => {
    // Most are of other traces, and take far longer to be read than to be passed over.
    if (!Buffer.from(entry.buffer, entry.byteOffset, entry.length).includes(id)) return;
    const span = readSpan(entry);
    if (span.traceId !== traceId) return;
    spans.push({
      ...span,
      ref: `${header.log}#${header.index}/${index}`,
      leaf: encodeBase64(leaves[index]!),
      sealed: header.sealed,
      source: { kind, principal: principal === undefined ? null : encodeBase64(principal) },
      normalised: normalise(span.attributes),
    });
  });
}

/** What the index of a log knows of a trace; undefined where the log is to be read whole. */
async function indexedIn(
  dir: string,
  { traceId }: ShowOptions,
  trust: TrustFile | undefined,
  terminal: Terminal,
): Promise<IndexedTrace | undefined> {
  if (!isLarge(dir)) return undefined;
  const id = Buffer.from(traceId, 'hex');
  const found = await findIndexed(dir, id, trust, (size, of) =>
    terminal.progress(`${shown(dir)}: ${size} of ${of} records indexed`),
  );
  if (found.status === 'ok') return found;
  terminal.note(
    `sealspan: ${shown(dir)} is read whole, and not by an index: ${shown(found.cause)}`,
  );
  return undefined;
}

/** Below this a log is read whole in about a second, and its verdict says more. */
const INDEXED_BYTE_LENGTH_MIN = 1024 * 1024;

function isLarge(dir: string): boolean {
  const folder = join(dir, 'segments');
  let byteLength = 0;
  try {
    for (const name of readdirSync(folder)) {
      byteLength += lstatSync(join(folder, name)).size;
      if (byteLength >= INDEXED_BYTE_LENGTH_MIN) return true;
    }
  } catch {
    // Reading it says why it can not be.
  }
  return false;
}

/** @param same the span that told of the same call before */
function print(span: Found, same: Found | undefined, isRaw: boolean, terminal: Terminal): void {
  const outcome = span.status === 'error' ? terminal.bad('error') : span.status;
  terminal.data(
    `${span.start}  ${terminal.bold(shown(span.name))}  ${span.durationMs.toFixed(1)} ms  ${outcome}`,
  );
  terminal.data(`  sealed ${span.sealed} as ${span.ref}`);
  terminal.data(
    `  leaf ${span.leaf}${span.isSampled ? '' : '   (not sampled: sealed, not in the backend)'}`,
  );
  const { kind, principal } = span.source;
  terminal.data(`  source ${kind}${principal === null ? '' : `, principal ${principal}`}`);
  if (same !== undefined) {
    const teller = span.scope || 'another';
    terminal.data(`  ${shown(`the same call as ${same.ref} (${same.name}), told by ${teller}`)}`);
  }
  const attributes = isRaw ? span.attributes : span.normalised;
  for (const [key, value] of Object.entries(attributes).sort()) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    terminal.data(`  ${shown(`${key} = ${text}`)}`);
  }
  for (const event of span.events) {
    terminal.data(`  event ${shown(`${event.name} ${JSON.stringify(event.attributes)}`)}`);
  }
}
