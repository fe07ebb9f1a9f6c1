// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan show --trace ID`: the sealed spans of one trace, each with the place it is sealed at. Shows nothing that
 * was not verified on the way, and says with the log's verdict how far to trust it.
 */
import { normalise } from '../../semconv/index.ts';
import { encodeBase64 } from '../log/bytes.ts';
import type { SourceKind } from '../log/header.ts';
import type { Verdict } from '../log/report.ts';
import { readSpan, type ShownSpan } from './span.ts';
import { shown, shownJson, type Terminal } from './terminal.ts';
import { openTrustFile } from './trust.ts';
import { EXIT_IO, EXIT_OF, findLogsAloud, joinVerdicts, verifyReadable } from './verify.ts';

export interface ShowOptions {
  readonly dir: string;
  readonly traceId: string;
  readonly trustPath: string | undefined;
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
}

const EXIT_NOT_FOUND = 4;

/** Runs the command; returns the exit status: that of the verdict, 4 where the trace is not there, 5 where nothing could be read. */
export async function runShow(options: ShowOptions, terminal: Terminal): Promise<number> {
  const trust = options.trustPath === undefined ? undefined : openTrustFile(options.trustPath);
  const spans: Found[] = [];
  const verdicts: Verdict[] = [];
  let readCount = 0;
  for (const { dir } of findLogsAloud(options.dir, terminal)) {
    const { report, isRead } = await verifyReadable(dir, trust, ({ header, entries, leaves }) => {
      if (header.kind !== 'traces') return;
      const { kind, principal } = header.source;
      entries.forEach((entry, index) => {
        const span = readSpan(entry);
        if (span.traceId !== options.traceId) return;
        spans.push({
          ...span,
          ref: `${header.log}#${header.index}/${index}`,
          leaf: encodeBase64(leaves[index]!),
          sealed: header.sealed,
          source: { kind, principal: principal === undefined ? null : encodeBase64(principal) },
          normalised: normalise(span.attributes),
        });
      });
    });
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
  if (options.isJson) {
    terminal.data(shownJson({ trace: options.traceId, verdict, spans }));
  } else {
    for (const span of spans) print(span, terminal);
    terminal.note(
      `${spans.length} spans of trace ${options.traceId}; verdict of the log: ${verdict}`,
    );
  }
  if (verdicts.length > 0 && readCount === 0) return EXIT_IO;
  return spans.length === 0 ? EXIT_NOT_FOUND : EXIT_OF[verdict];
}

function print(span: Found, terminal: Terminal): void {
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
  for (const [key, value] of Object.entries(span.normalised).sort()) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    terminal.data(`  ${shown(`${key} = ${text}`)}`);
  }
  for (const event of span.events) {
    terminal.data(`  event ${shown(`${event.name} ${JSON.stringify(event.attributes)}`)}`);
  }
}
