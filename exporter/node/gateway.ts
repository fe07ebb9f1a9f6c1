// SPDX-License-Identifier: Apache-2.0
/**
 * The gateway: the sealing core as an OTLP endpoint that a Collector's stock exporters point at. Acknowledged means sealed
 * and fsynced; everything else is answered so that a Collector keeps its data. What a client never sent, it can not know.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { encodeHex } from '../log/bytes.ts';
import type { RefusedEvent, WriterCounters } from '../log/control.ts';
import { sealingConfig } from './audit.ts';
import { type Config, ConfigError } from './config/config.ts';
import type { Treatment } from './config/content-judge.ts';
import { type GatewaySettings, gatewaySchema } from './config/gateway-config.ts';
import { type ContentPolicy, createContentPolicy } from './gateway/content-policy.ts';
import { openClients } from './gateway/gateway-clients.ts';
import { type Listening, openGrpc } from './gateway/gateway-grpc.ts';
import { openHttp, type Probes } from './gateway/gateway-http.ts';
import { Intake, type Refusal } from './gateway/gateway-intake.ts';
import { openGatewayMetrics } from './gateway/gateway-metrics.ts';
import { openTls } from './gateway/gateway-tls.ts';
import type { SealingState } from './sealing/protocol.ts';
import { SealingClient } from './sealing/sealing-client.ts';
import { causeOf } from './system/cause.ts';
import { openDigestKey } from './system/keys.ts';

export interface Gateway extends SealingState {
  /** Ports that are listened on; undefined where it is off. */
  readonly grpcPort: number | undefined;
  readonly httpPort: number | undefined;
  readonly adminPort: number | undefined;
  /** As source lines have it; its document is in `policies/` below the directory of logs. */
  readonly policyId: string;
  /** Resolves with the cause where sealing ended by itself: there is no way on but a new start. */
  readonly failed: Promise<string>;
  /** Takes certificates from their files again, as it also does by itself from time to time. */
  reload(): void;
  /** Takes nothing new, answers what is under way, seals `closed`, and gives the log back. */
  stop(): Promise<void>;
}

export interface GatewayHooks {
  /** What a person should know: `code` and words. */
  readonly onReport?: (code: string, message: string) => void;
}

/** For backend and archive to take what is sealed when the gateway ends; what they do not, they take after the next start. */
const FLUSH_DELAY_MS = 5000;
const REFUSAL_DELAY_MS = 1000;
/** Kinds of refusals told apart between two reports to the sealing thread. */
const REFUSAL_COUNT_MAX = 256;

/**
 * Opens the log, then the listeners.
 * @throws ConfigError for settings that can not be
 * @throws StartError where the log can not be written, with the fix
 * @throws Error where an address can not be bound
 */
export async function openGateway(config: Config, hooks: GatewayHooks = {}): Promise<Gateway> {
  const settings = config.gateway ?? gatewaySchema.parse({});
  const clients = asConfig(() =>
    openClients(settings.clients, process.env, () => performance.now()),
  );
  const policy = openPolicy(config, settings);

  let isStopping = false;
  let downBecause: string | undefined;
  let endedBecause: string | undefined;
  let fail: (cause: string) => void;
  const failed = new Promise<string>((resolve) => {
    fail = resolve;
  });
  const report = (code: string, message: string): void => {
    if (code === 'log.down') downBecause = message;
    if (code === 'log.up') downBecause = undefined;
    if (code === 'thread.down') {
      endedBecause = message;
      fail(message);
    }
    hooks.onReport?.(code, message);
  };
  const closedBecause = (): string | undefined => {
    if (isStopping) return 'the gateway is ending';
    if (endedBecause !== undefined) return 'sealing ended';
    // The cause may name files: that is for the operator, who has the report.
    return downBecause === undefined ? undefined : 'the log can not be written now';
  };

  const tls =
    settings.tls === undefined ? undefined : asConfig(() => openTls(settings.tls!, report));
  // Who may wait is decided here, by the budget: what it let in is not to be turned away behind it.
  const pendingByteLengthMax = Math.max(
    config.pendingByteLengthMax,
    settings.inFlightByteLengthMax,
  );
  const sealing = new SealingClient(
    { ...sealingConfig(config), numbers: false, pendingByteLengthMax },
    report,
  );
  let sealedCount = 0;
  const counters = (): WriterCounters => ({
    started: sealedCount,
    ended: sealedCount,
    sealed: sealedCount,
    lost: 0,
    highest: 0,
    open: '',
  });
  const refusals = new Refusals((refused) => sealing.countRefused(refused));
  const metrics = openGatewayMetrics(async () => ({
    inFlightByteLength: intake.inFlightByteLength,
    isReady: closedBecause() === undefined,
    sealing: await sealing.status(),
  }));
  const intake = new Intake({
    settings,
    clients,
    policy,
    metrics,
    closedBecause,
    onRefusal: (refusal) => refusals.add(refusal),
    seal: async (bytes, kind, source, itemCount) => {
      const outcome = await sealing.submit(bytes, { kind, source }, counters());
      if (outcome.status === 'sealed') sealedCount += itemCount;
      return outcome;
    },
  });
  const closeLog = (): void => {
    refusals.flush();
    sealing.closeSync({ counters: counters(), interrupted: [] });
  };
  process.once('exit', closeLog);

  const probes: Probes = {
    isAlive: () => endedBecause === undefined,
    closedBecause,
    metrics: () => metrics.text(),
  };
  const listening: { grpc?: Listening; http?: Listening; admin?: Listening } = {};
  const stop = async (): Promise<void> => {
    isStopping = true;
    const delayMs = settings.drainDelayMsMax;
    await Promise.all([listening.grpc?.drain(delayMs), listening.http?.drain(delayMs)]);
    await sealing.flush(Math.min(FLUSH_DELAY_MS, delayMs), counters());
    closeLog();
    process.removeListener('exit', closeLog);
    await sealing.ended(Math.min(FLUSH_DELAY_MS, delayMs));
    refusals.close();
    metrics.close();
    tls?.close();
    await listening.admin?.drain(0);
  };
  try {
    const isReady = (): boolean => closedBecause() === undefined;
    const { grpc, http, admin } = settings;
    if (grpc !== 'off') {
      listening.grpc = await openGrpc({ listener: grpc, settings, tls, intake, isReady });
    }
    if (http !== 'off') {
      // Where clients have to say who they are, numbers are not for everybody either.
      const isOpen = settings.clients.length === 0 && tls?.files.ca === undefined;
      listening.http = await openHttp({
        name: 'http',
        listener: http,
        settings,
        tls,
        intake,
        probes: isOpen ? probes : { ...probes, metrics: undefined },
      });
    }
    if (admin !== 'off') {
      const rest = { settings, tls: undefined, intake: undefined, probes };
      listening.admin = await openHttp({ name: 'admin', listener: admin, ...rest });
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    ...sealing.state,
    grpcPort: listening.grpc?.port,
    httpPort: listening.http?.port,
    adminPort: listening.admin?.port,
    policyId: policy.id,
    failed,
    reload: () => tls?.reload(),
    stop,
  };
}

/** Misuse that a person wrote is theirs to be told of. */
function asConfig<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new ConfigError(causeOf(error));
  }
}

/** What the top-level `content` means for content that others recorded. */
const TREATMENTS: Readonly<Record<NonNullable<Config['content']>, Treatment>> = {
  digest: 'digest',
  omit: 'drop',
  full: 'keep',
};

/** The policy in force; its document is left where people find it by its id. */
function openPolicy(config: Config, settings: GatewaySettings): ContentPolicy {
  const content = settings.content.default ?? TREATMENTS[config.content ?? 'digest'];
  const { attributes } = settings.content;
  const needsKey = content === 'digest' || Object.values(attributes).includes('digest');
  mkdirSync(config.dir, { recursive: true, mode: 0o700 });
  const key = needsKey ? openDigestKey(join(config.dir, 'digest.key')) : undefined;
  const policy = createContentPolicy({ content, attributes }, key);
  if (policy.id !== 'verbatim') {
    const directory = join(config.dir, 'policies');
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // Named by its hash: the same name is the same policy, and nobody has to trust the file.
    writeFileSync(join(directory, `${basename(policy.id)}.json`), policy.document, { mode: 0o600 });
  }
  return policy;
}

/** Refusals between two reports to the sealing thread: a flood of them is one message a second. */
class Refusals {
  readonly #report: (refused: Omit<RefusedEvent, 'name'>) => void;
  readonly #counts = new Map<string, { -readonly [K in keyof RefusedEvent]: RefusedEvent[K] }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(report: (refused: Omit<RefusedEvent, 'name'>) => void) {
    this.#report = report;
  }

  add({ sender, cause, sha256 }: Refusal): void {
    const principal = sender.principal === undefined ? '-' : encodeHex(sender.principal);
    const isMany = this.#counts.size >= REFUSAL_COUNT_MAX;
    const key = `${sender.kind} ${principal} ${cause}`;
    const known = this.#counts.get(key) ?? (isMany ? this.#counts.get('several') : undefined);
    if (known !== undefined) {
      known.count++;
      return;
    }
    this.#counts.set(isMany ? 'several' : key, {
      name: 'refused',
      count: 1,
      cause: isMany ? 'several' : cause,
      source: sender.kind,
      ...(sender.principal === undefined || isMany ? {} : { principal: sender.principal }),
      ...(sha256 === undefined || isMany ? {} : { sha256: sha256() }),
    });
    this.#timer ??= setTimeout(() => this.flush(), REFUSAL_DELAY_MS).unref();
  }

  flush(): void {
    this.close();
    for (const { name: _, ...refused } of this.#counts.values()) this.#report(refused);
    this.#counts.clear();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
