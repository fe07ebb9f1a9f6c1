// SPDX-License-Identifier: Apache-2.0
/**
 * The `gateway` section of the configuration: where to listen, whom to let in, what to seal. Refuses plaintext that leaves
 * the machine unless somebody said so; does not look at the files and variables it names, opening the gateway does.
 */
import { z } from 'zod';
import { isLoopback } from '../otlp/otlp-config.ts';
import type { Treatment } from './content-judge.ts';

/** How near to the application what arrives there is. Never told by a client, always by who runs the gateway. */
export type GatewaySourceKind = 'direct' | 'collector';

export interface ListenerSettings {
  /** `host:port`; port 0 takes a free one. */
  readonly listen: string;
  /** Of clients without a word of their own; the gateway's `source` unless given. */
  readonly source?: GatewaySourceKind | undefined;
  /** Allows plaintext on this address. Loopback never needs it. */
  readonly insecure?: boolean | undefined;
}

/** One client that is known by name: by its bearer token, or by its certificate. */
export interface ClientSettings {
  /** Its SHA-256 is the principal of what a token sent. */
  readonly id: string;
  /** The token: in a file, re-read while the gateway runs, or in an environment variable. */
  readonly token?:
    | { readonly file?: string | undefined; readonly env?: string | undefined }
    | undefined;
  /** SHA-256 of its certificate in hex, which is the principal as well. */
  readonly certificate?: string | undefined;
  readonly source?: GatewaySourceKind | undefined;
}

export interface GatewaySettings {
  /** OTLP/gRPC. */
  readonly grpc: ListenerSettings | 'off';
  /** OTLP/HTTP, protobuf and JSON; also answers /healthz and /readyz, and /metrics where no client is known by name. */
  readonly http: ListenerSettings | 'off';
  /** /healthz, /readyz and /metrics in plaintext, for probes and Prometheus. */
  readonly admin: ListenerSettings | 'off';
  readonly source: GatewaySourceKind;
  /** PEM files. With `clientCa` only clients with a certificate of it are let in. */
  readonly tls?:
    | {
        readonly cert: string;
        readonly key: string;
        readonly clientCa?: string | undefined;
      }
    | undefined;
  readonly clients: readonly ClientSettings[];
  /** `governed` acknowledges everything and seals what is around AI model invocations. */
  readonly filter: 'all' | 'governed';
  readonly content: {
    /** Of content attributes; follows the top-level `content` unless given. */
    readonly default?: Treatment | undefined;
    readonly attributes: Readonly<Record<string, Treatment>>;
  };
  /** Of one request, inflated. */
  readonly messageByteLengthMax: number;
  /** Of all requests being received or waiting for their seal, 512 bytes added for each item; past it: come again. */
  readonly inFlightByteLengthMax: number;
  /** For one request to arrive whole. */
  readonly readDelayMsMax: number;
  /** For the disk; past it the answer is to come again, and what is sealed after all is sealed twice. */
  readonly sealDelayMsMax: number;
  /** After which a client is asked to come again. */
  readonly retryDelayMs: number;
  /** Age at which connections are closed, so that replicas share load. */
  readonly connectionAgeMsMax: number;
  /** For requests under way when the gateway ends. */
  readonly drainDelayMsMax: number;
}

/** What a person may write: {@link GatewaySettings}, with a default for everything. */
export type GatewayInput = {
  readonly [Key in keyof GatewaySettings]?: Key extends 'content'
    ?
        | {
            readonly default?: Treatment | undefined;
            readonly attributes?: Readonly<Record<string, Treatment>> | undefined;
          }
        | undefined
    : GatewaySettings[Key] | undefined;
};

/** `host:port` or `[address]:port`, in parts. */
export function parseListen(text: string): { readonly host: string; readonly port: number } {
  const found = LISTEN.exec(text);
  const port = Number(found?.[2]);
  if (found === null || port > 65_535) throw new TypeError(`listen: ${text} is not host:port`);
  return { host: found[1]!.replace(/^\[|\]$/g, ''), port };
}

const LISTEN = /^([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):(0|[1-9][0-9]{0,4})$/;

const listener = z.strictObject({
  listen: z
    .string()
    .refine((text) => Number(LISTEN.exec(text)?.[2]) <= 65_535, 'expected host:port'),
  source: z.enum(['direct', 'collector']).optional(),
  insecure: z.boolean().optional(),
});

const treatment = z.enum(['keep', 'digest', 'drop']);
const delay = (defaultMs: number, maxMs: number) =>
  z.number().int().min(1).max(maxMs).default(defaultMs);

const client = z
  .strictObject({
    id: z
      .string()
      .regex(/^[\x21-\x7e]{1,128}$/, 'expected 1 to 128 printable ASCII characters, no space'),
    token: z
      .strictObject({ file: z.string().min(1).optional(), env: z.string().min(1).optional() })
      .refine(({ file, env }) => (file === undefined) !== (env === undefined), {
        error: 'expected either file or env',
      })
      .optional(),
    certificate: z
      .string()
      .transform((text) => text.replaceAll(':', '').toLowerCase())
      .refine((text) => /^[0-9a-f]{64}$/.test(text), 'expected the 64 hex digits of a SHA-256')
      .optional(),
    source: z.enum(['direct', 'collector']).optional(),
  })
  .refine((value) => (value.token === undefined) !== (value.certificate === undefined), {
    error: 'expected either token or certificate',
  });

const MIB = 1024 * 1024;

/** Checks the section and fills in what is not given. */
export const gatewaySchema: z.ZodType<GatewaySettings, GatewayInput> = z
  .strictObject({
    grpc: z.union([listener, z.literal('off')]).default({ listen: '127.0.0.1:4317' }),
    http: z.union([listener, z.literal('off')]).default({ listen: '127.0.0.1:4318' }),
    admin: z.union([listener, z.literal('off')]).default('off'),
    source: z.enum(['direct', 'collector']).default('direct'),
    tls: z
      .strictObject({
        cert: z.string().min(1),
        key: z.string().min(1),
        clientCa: z.string().min(1).optional(),
      })
      .optional(),
    clients: z.array(client).max(1000).default([]),
    filter: z.enum(['all', 'governed']).default('all'),
    content: z
      .strictObject({
        default: treatment.optional(),
        attributes: z.record(z.string().min(1), treatment).default({}),
      })
      .prefault({}),
    messageByteLengthMax: z
      .number()
      .int()
      .min(1024)
      .max(64 * MIB)
      .default(64 * MIB),
    inFlightByteLengthMax: z
      .number()
      .int()
      .min(1024)
      .default(256 * MIB),
    readDelayMsMax: delay(30_000, 600_000),
    sealDelayMsMax: delay(10_000, 600_000),
    retryDelayMs: delay(1000, 600_000),
    connectionAgeMsMax: delay(300_000, 86_400_000),
    drainDelayMsMax: delay(10_000, 600_000),
  })
  .superRefine((settings, context) => {
    const refuse = (path: readonly PropertyKey[], message: string): void => {
      context.addIssue({ code: 'custom', path: [...path], message });
    };
    for (const name of ['grpc', 'http', 'admin'] as const) {
      const given = settings[name];
      if (given === 'off' || given.insecure === true) continue;
      // `admin` has no TLS: probes can not bring a certificate.
      if (settings.tls !== undefined && name !== 'admin') continue;
      const host = LISTEN.exec(given.listen)?.[1] ?? '';
      if (isLoopback(host)) continue;
      const cure = name === 'admin' ? '' : '`gateway.tls`, ';
      refuse(
        [name, 'listen'],
        `plaintext that leaves the machine: expected a loopback address, ${cure}or \`insecure: true\` beside it`,
      );
    }
    const ids = new Set<string>();
    for (const [index, { id, certificate }] of settings.clients.entries()) {
      if (ids.has(id)) refuse(['clients', index, 'id'], 'expected each id once');
      ids.add(id);
      if (certificate !== undefined && settings.tls?.clientCa === undefined) {
        refuse(['clients', index, 'certificate'], 'expected `gateway.tls.clientCa` with it');
      }
    }
  });
