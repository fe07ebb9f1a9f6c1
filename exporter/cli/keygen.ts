// SPDX-License-Identifier: Apache-2.0
/** `sealspan keygen`: a signing key for one log, and the line that those who verify it need. */
import { isOrigin } from '../log/header.ts';
import { ConfigError } from '../node/config/config.ts';
import { causeOf } from '../node/system/cause.ts';
import { generateKeyPem, parseSigner, writeSecret } from '../node/system/keys.ts';
import type { Terminal } from './terminal.ts';

export interface KeygenOptions {
  /** The log's whole name, the instance included: one key signs one log, for life. */
  readonly origin: string;
  readonly path: string;
  readonly isJson: boolean;
}

/** Runs the command; returns the exit status. */
export function runKeygen(options: KeygenOptions, terminal: Terminal): number {
  if (!isOrigin(options.origin)) {
    throw new ConfigError(
      `--origin: '${options.origin}' is no origin; for example payments/prod/0`,
    );
  }
  const pem = generateKeyPem();
  try {
    writeSecret(options.path, pem);
  } catch (error) {
    throw new ConfigError(`--out: ${causeOf(error)}`, { cause: error });
  }
  const { vkey } = parseSigner(options.origin, pem);
  if (options.isJson) {
    terminal.data(JSON.stringify({ origin: options.origin, key: vkey, file: options.path }));
    return 0;
  }
  terminal.data(vkey);
  terminal.note(
    `private key written to ${options.path} (mode 0600); the line above is public: put it in a trust file`,
  );
  return 0;
}
