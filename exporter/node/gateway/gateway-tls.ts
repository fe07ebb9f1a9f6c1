// SPDX-License-Identifier: Apache-2.0
/**
 * The gateway's certificate, key and CA of clients, taken again from their files while it runs: certificates live for weeks,
 * a gateway for longer. What does not fit together, as halfway through a renewal, is told and not taken.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { GatewaySettings } from '../config/gateway-config.ts';
import { causeOf } from '../system/cause.ts';

/** PEM files that fit each other. */
export interface ServerTlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Of clients: only those with a certificate of it are let in. */
  readonly ca?: Buffer;
}

export interface GatewayTls {
  /** The newest that fit. Whether there is a `ca` never changes. */
  readonly files: ServerTlsFiles;
  /** Calls back whenever there are new ones, for connections to come. */
  watch(listener: (files: ServerTlsFiles) => void): void;
  /** Looks at the files now, and not only when it is time. */
  reload(): void;
  close(): void;
}

/** Files are looked at this often: read whole, since what is mounted changes by links, and times tell nothing. */
const LOOK_DELAY_MS = 10_000;

/**
 * @param report what became of a change: `tls.reloaded`, or `tls.refused` with the cause, once for each cause
 * @throws TypeError naming what can not be read or does not fit
 */
export function openTls(
  paths: NonNullable<GatewaySettings['tls']>,
  report: (code: string, message: string) => void,
): GatewayTls {
  let files = readFiles(paths);
  let refusedBecause: string | undefined;
  const listeners: ((files: ServerTlsFiles) => void)[] = [];
  const reload = (): void => {
    try {
      const read = readFiles(paths);
      refusedBecause = undefined;
      if (areEqual(read, files)) return;
      files = read;
      for (const listener of listeners) listener(files);
    } catch (error) {
      const cause = causeOf(error);
      if (cause !== refusedBecause) report('tls.refused', `${cause}; the one before stays`);
      refusedBecause = cause;
      return;
    }
    const { subject, validTo } = new X509Certificate(files.cert);
    report('tls.reloaded', `${subject}, valid to ${validTo}`);
  };
  const timer = setInterval(reload, LOOK_DELAY_MS).unref();
  return {
    get files() {
      return files;
    },
    watch: (listener) => {
      listeners.push(listener);
    },
    reload,
    close: () => clearInterval(timer),
  };
}

function readFiles(paths: NonNullable<GatewaySettings['tls']>): ServerTlsFiles {
  const read = (name: string, path: string): Buffer => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw new TypeError(`gateway.tls.${name}: ${path} can not be read: ${causeOf(error)}`);
    }
  };
  const files = {
    cert: read('cert', paths.cert),
    key: read('key', paths.key),
    ...(paths.clientCa === undefined ? {} : { ca: read('clientCa', paths.clientCa) }),
  };
  try {
    createSecureContext(files);
    // A CA that is none is passed over by TLS, and then nobody gets in.
    if (files.ca !== undefined) new X509Certificate(files.ca);
  } catch (error) {
    throw new TypeError(`gateway.tls: the files do not fit together: ${causeOf(error)}`);
  }
  return files;
}

function areEqual(a: ServerTlsFiles, b: ServerTlsFiles): boolean {
  const same = (one: Buffer | undefined, other: Buffer | undefined): boolean =>
    one === undefined ? other === undefined : other !== undefined && one.equals(other);
  return same(a.cert, b.cert) && same(a.key, b.key) && same(a.ca, b.ca);
}
