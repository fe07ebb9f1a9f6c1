// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan recover`: opens the successor of a log that must not be continued, because its disk is lost, older than its
 * archive, or another history. Leaves the old directory as it was, under another name.
 */

import { encodeBase64 } from '../log/bytes.ts';
import { type Archive, openDirectoryArchive } from '../node/archive/archive.ts';
import { S3Archive } from '../node/archive/archive-s3.ts';
import { type Config, ConfigError, readConfig } from '../node/config/config.ts';
import { StartRefusal } from '../node/sealing/place.ts';
import { openSuccessor, type Successor } from '../node/sealing/successor.ts';
import { shown, type Terminal } from './terminal.ts';

export interface RecoverOptions {
  readonly instance: string | undefined;
  /** The log that ends, where no directory tells. */
  readonly origin: string | undefined;
  readonly isJson: boolean;
}

async function archiveOf({ archiveS3, archiveDirectory }: Config): Promise<Archive> {
  if (archiveS3 !== undefined) return S3Archive.open(archiveS3);
  if (archiveDirectory !== undefined) return openDirectoryArchive(archiveDirectory);
  throw new ConfigError(
    'archive: found off, expected the archive that has the log to be succeeded',
  );
}

/** Runs the command; returns the exit status. */
export async function runRecover(options: RecoverOptions, terminal: Terminal): Promise<number> {
  const config = readConfig(process.env);
  const instance = options.instance ?? config.instance;
  if (instance === undefined) {
    throw new ConfigError(
      `--instance is missing: which directory below ${config.dir}; for example 0`,
    );
  }
  const archive = await archiveOf(config);
  let successor: Successor;
  try {
    successor = await openSuccessor({
      dir: config.dir,
      instance,
      origin: options.origin,
      archive,
      keyPem: config.keyPem,
      configurationHash: config.hash,
      heartbeatMs: config.heartbeatMs,
    });
  } catch (error) {
    if (error instanceof StartRefusal) throw new ConfigError(error.message);
    throw error;
  } finally {
    archive.close();
  }
  tell(successor, options.isJson, terminal);
  return 0;
}

function tell(successor: Successor, isJson: boolean, terminal: Terminal): void {
  const { origin, vkey, predecessor, resealedCount, damage, abandoned } = successor;
  const { checkpoint } = predecessor;
  if (isJson) {
    const root = encodeBase64(checkpoint.root);
    const before = { origin: checkpoint.origin, size: checkpoint.size, root };
    terminal.data(
      JSON.stringify({ origin, key: vkey, predecessor: before, resealedCount, damage, abandoned }),
    );
    return;
  }
  terminal.data(vkey);
  const line = (text: string): void => terminal.note(text);
  line(`${origin} succeeds ${checkpoint.origin}, which ended at ${checkpoint.size} records`);
  line(`${resealedCount} entries that no signature covered were sealed again`);
  if (damage !== undefined) line(`not all of them could be read: ${shown(damage)}`);
  if (abandoned !== undefined) line(`the old directory is ${abandoned}`);
  line('add the line above to the trust files, and keep the one of the log that ended');
}
