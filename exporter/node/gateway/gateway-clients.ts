// SPDX-License-Identifier: Apache-2.0
/**
 * Who sent a request: by bearer token or by certificate, never by what the request says of itself (invariant 11).
 * Says `unsure` where it can not decide, since a client that is turned away for good throws its data away.
 */
import { timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ClientSettings, GatewaySourceKind } from '../config/gateway-config.ts';
import { causeOf } from '../system/cause.ts';
import { sha256 } from '../system/keys.ts';

/** What a record's source line says of the sender, the policy left out. */
export interface Sender {
  readonly kind: GatewaySourceKind;
  /** SHA-256 of a certificate's DER, or of the id of the client whose token came; undefined for nobody. */
  readonly principal: Uint8Array | undefined;
}

export type Identification =
  | { readonly status: 'known'; readonly sender: Sender }
  /** Surely nobody who may send. */
  | { readonly status: 'unknown' }
  /** A token could not be read just now. */
  | { readonly status: 'unsure'; readonly cause: string };

export interface Clients {
  /**
   * @param authorization the header, if any
   * @param certificate DER of the peer's certificate, where TLS checked it against the CA of clients
   * @param kind what the listener says of its clients
   */
  identify(
    authorization: string | undefined,
    certificate: Uint8Array | undefined,
    kind: GatewaySourceKind,
  ): Identification;
}

interface TokenClient {
  readonly sender: (kind: GatewaySourceKind) => Sender;
  readonly read: () => string;
  hash: Uint8Array;
}

/** Tokens change on disk while we run: looked at this often, and sooner for a token that nobody has. */
const TOKEN_AGE_MS_MAX = 5000;
const TOKEN_AGE_MS_MIN = 1000;

/**
 * @param now milliseconds, monotone
 * @throws TypeError naming the client whose token can not be read
 */
export function openClients(
  settings: readonly ClientSettings[],
  env: Readonly<Record<string, string | undefined>>,
  now: () => number,
): Clients {
  const tokens: TokenClient[] = [];
  const certificates = new Map<string, GatewaySourceKind | undefined>();
  for (const { id, token, certificate, source } of settings) {
    if (certificate !== undefined) certificates.set(certificate, source);
    if (token === undefined) continue;
    const principal = sha256(Buffer.from(id));
    const read = (): string => {
      const text =
        token.file === undefined ? env[token.env ?? ''] : readFileSync(token.file, 'utf8');
      const trimmed = text?.trim() ?? '';
      if (trimmed === '') throw new Error('it is empty or not there');
      return trimmed;
    };
    let hash: Uint8Array;
    try {
      hash = sha256(Buffer.from(read()));
    } catch (error) {
      throw new TypeError(`gateway.clients: the token of ${id} can not be read: ${causeOf(error)}`);
    }
    tokens.push({ sender: (kind) => ({ kind: source ?? kind, principal }), read, hash });
  }
  let readAtMs = now();
  let failure: string | undefined;

  const readAgain = (ageMs: number): boolean => {
    if (now() - readAtMs < ageMs) return false;
    readAtMs = now();
    failure = undefined;
    for (const client of tokens) {
      try {
        client.hash = sha256(Buffer.from(client.read()));
      } catch (error) {
        // The token before stays good: it was not taken back, it can not be read.
        failure = causeOf(error);
      }
    }
    return true;
  };

  /** Compares with every token, each in constant time: how long it takes tells nothing. */
  const find = (hash: Uint8Array): TokenClient | undefined => {
    let found: TokenClient | undefined;
    for (const client of tokens) if (timingSafeEqual(client.hash, hash)) found = client;
    return found;
  };

  return {
    identify: (authorization, certificate, kind) => {
      const token = /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization ?? '')?.[1];
      if (tokens.length > 0 && token !== undefined) {
        const hash = sha256(Buffer.from(token));
        readAgain(TOKEN_AGE_MS_MAX);
        let client = find(hash);
        if (client === undefined && readAgain(TOKEN_AGE_MS_MIN)) client = find(hash);
        if (client !== undefined) return { status: 'known', sender: client.sender(kind) };
        if (failure !== undefined) return { status: 'unsure', cause: failure };
        return { status: 'unknown' };
      }
      if (certificate !== undefined) {
        const principal = sha256(certificate);
        const source = certificates.get(Buffer.from(principal).toString('hex'));
        // A certificate that TLS let in is a client, named here or not; with tokens, only one that is named.
        if (tokens.length === 0 || certificates.has(Buffer.from(principal).toString('hex'))) {
          return { status: 'known', sender: { kind: source ?? kind, principal } };
        }
      }
      if (tokens.length > 0) return { status: 'unknown' };
      return { status: 'known', sender: { kind, principal: undefined } };
    },
  };
}
