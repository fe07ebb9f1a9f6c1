// SPDX-License-Identifier: Apache-2.0
/**
 * The caller's trust file: which logs are expected, whose keys sign them, and the last head seen of each. It lies
 * outside the logs, since whoever can change a log could change it too (invariant 9).
 */
import { readFileSync } from 'node:fs';
import type { Document } from 'yaml';
import { z } from 'zod';
import { decodeBase64, encodeBase64 } from '../log/bytes.ts';
import { LogError } from '../log/errors.ts';
import { type Head, parseVerifier, type Verifier } from '../log/note.ts';
import type { WantedLock } from '../node/archive/archive-locks.ts';
import { ConfigError } from '../node/config/config.ts';
import { parseYaml } from '../node/config/settings.ts';
import { RETENTION_DAYS_MAX } from '../node/storage/retention.ts';
import { causeOf } from '../node/system/cause.ts';
import { nodeFiles, replaceFile } from '../node/system/files.ts';
import { sha256 } from '../node/system/keys.ts';

export interface TrustedLog {
  readonly origin: string;
  readonly verifier: Verifier;
  readonly head: Head | undefined;
}

export interface TrustFile {
  readonly logs: readonly TrustedLog[];
  /** How objects of an archive are to be locked. */
  readonly lock: WantedLock;
  /**
   * Remembers the head of a log that was just verified, if it is larger than the one known.
   * @throws ConfigError where the file has no place for it
   */
  remember(origin: string, head: Head): void;
}

/** What is expected of archives where nobody says otherwise. */
export const WANTED_LOCK_DEFAULT: WantedLock = { mode: 'COMPLIANCE', minimumDays: 184 };

const schema = z.strictObject({
  archive: z
    .strictObject({
      mode: z.enum(['compliance', 'governance']).optional(),
      minimumDays: z.number().int().min(0).max(RETENTION_DAYS_MAX).optional(),
    })
    .optional(),
  logs: z.array(
    z.strictObject({
      origin: z.string(),
      key: z.string(),
      head: z.strictObject({ size: z.number().int().min(1), root: z.string() }).optional(),
    }),
  ),
});

/** @throws ConfigError naming the file and what is wrong in it */
export function openTrustFile(path: string): TrustFile {
  let document: Document;
  let value: unknown;
  try {
    const parsed = parseYaml(readFileSync(path, 'utf8'));
    document = parsed.document;
    if (parsed.problem !== undefined) throw new Error(parsed.problem.message);
    // Aliases are followed here: to nowhere, or to more than anybody wrote.
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    const isAbsent = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const cause = isAbsent
      ? 'no such file; exporter/FORMAT.md, "Trust file", shows one'
      : causeOf(error);
    throw new ConfigError(`${path}: ${cause}`, { cause: error });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new ConfigError(`${path}: ${issue.path.join('.')}: ${issue.message}`);
  }
  const logs = parsed.data.logs.map(({ origin, key, head }, index): TrustedLog => {
    try {
      const verifier = parseVerifier(sha256, key);
      if (verifier.name !== origin)
        throw new LogError('key.syntax', `the key is that of ${verifier.name}`);
      return {
        origin,
        verifier,
        head: head === undefined ? undefined : { size: head.size, root: decodeBase64(head.root) },
      };
    } catch (error) {
      throw new ConfigError(`${path}: logs.${index}: ${causeOf(error)}`);
    }
  });
  // Heads are looked up by origin and written back by place: of two entries one would be read and never raised
  // (FORMAT.md, "Trust file"), and a rollback would pass.
  const repeated = logs.findIndex(
    ({ origin }, index) => logs.findIndex((log) => log.origin === origin) < index,
  );
  if (repeated >= 0) {
    const { origin } = logs[repeated]!;
    throw new ConfigError(`${path}: logs.${repeated}: ${origin} stands in the list twice`);
  }
  const { mode, minimumDays } = parsed.data.archive ?? {};
  const sizes = logs.map(({ head }) => head?.size ?? 0);
  return {
    logs,
    lock: {
      mode: mode === 'governance' ? 'GOVERNANCE' : WANTED_LOCK_DEFAULT.mode,
      minimumDays: minimumDays ?? WANTED_LOCK_DEFAULT.minimumDays,
    },
    remember: (origin, head) => {
      const index = logs.findIndex((log) => log.origin === origin);
      if (index < 0 || sizes[index]! >= head.size) return;
      try {
        document.setIn(['logs', index, 'head', 'size'], head.size);
        document.setIn(['logs', index, 'head', 'root'], encodeBase64(head.root));
      } catch (error) {
        // Such as where the log is an alias of another: there is no place of its own to write to.
        throw new ConfigError(`${path}: logs.${index}: can not hold a head (${causeOf(error)})`);
      }
      // A crash before this is done leaves the older head, which the log still extends.
      replaceFile(nodeFiles, path, new TextEncoder().encode(document.toString()));
      sizes[index] = head.size;
    },
  };
}
