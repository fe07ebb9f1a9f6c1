// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan show --trace ID`: the sealed spans of one trace, each with the place it is sealed at. Shows nothing that
 * was not verified on the way, and says with the log's verdict how far to trust it.
 */
import { normalise } from '../../semconv/index.ts';
import { encodeBase64 } from '../log/bytes.ts';
import type { Verdict } from '../log/report.ts';
import { readSpan, type ShownSpan } from './span.ts';
import type { Terminal } from './terminal.ts';
import { openTrustFile } from './trust.ts';
import { EXIT_OF, findLogs, joinVerdicts, verifyDirectory } from './verify.ts';

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
  /** Its attributes in one vocabulary, whatever convention wrote them. */
  readonly normalised: Readonly<Record<string, unknown>>;
}

const EXIT_NOT_FOUND = 4;

/** Runs the command; returns the exit status: that of the verdict, or 4 where the trace is not there. */
export async function runShow(options: ShowOptions, terminal: Terminal): Promise<number> {
  const trust = options.trustPath === undefined ? undefined : openTrustFile(options.trustPath);
  const spans: Found[] = [];
  const verdicts: Verdict[] = [];
  for (const { dir } of findLogs(options.dir)) {
    const report = await verifyDirectory(dir, trust, ({ header, entries, leaves }) => {
      if (header.kind !== 'traces') return;
      entries.forEach((entry, index) => {
        const span = readSpan(entry);
        if (span.traceId !== options.traceId) return;
        spans.push({
          ...span,
          ref: `${header.log}#${header.index}/${index}`,
          leaf: encodeBase64(leaves[index]!),
          sealed: header.sealed,
          normalised: normalise(span.attributes),
        });
      });
    });
    verdicts.push(report.verdict);
  }
  const verdict = joinVerdicts(verdicts);
  // Those of one millisecond stay in the order they were sealed in.
  spans.sort((a, b) => a.start.localeCompare(b.start));
  if (options.isJson) {
    terminal.data(JSON.stringify({ trace: options.traceId, verdict, spans }, undefined, 2));
  } else {
    for (const span of spans) print(span, terminal);
    terminal.note(
      `${spans.length} spans of trace ${options.traceId}; verdict of the log: ${verdict}`,
    );
  }
  return spans.length === 0 ? EXIT_NOT_FOUND : EXIT_OF[verdict];
}

function print(span: Found, terminal: Terminal): void {
  const outcome = span.status === 'error' ? terminal.bad('error') : span.status;
  terminal.data(
    `${span.start}  ${terminal.bold(span.name)}  ${span.durationMs.toFixed(1)} ms  ${outcome}`,
  );
  terminal.data(`  sealed ${span.sealed} as ${span.ref}`);
  terminal.data(
    `  leaf ${span.leaf}${span.isSampled ? '' : '   (not sampled: sealed, not in the backend)'}`,
  );
  for (const [key, value] of Object.entries(span.normalised).sort()) {
    terminal.data(`  ${key} = ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  }
  for (const event of span.events) {
    terminal.data(`  event ${event.name} ${JSON.stringify(event.attributes)}`);
  }
}
