// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan hold`: asks the writers of logs to place or release a legal hold, and tells which are on. Seals nothing
 * itself: a log has one writer, which carries a request out within seconds, or when it starts next.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type HoldRequest, holdsIn, pendingHolds, requestHold } from '../node/archive/holds.ts';
import { ConfigError } from '../node/config/config.ts';
import { sealedEvents } from '../node/sealing/place.ts';
import { nodeFiles } from '../node/system/files.ts';
import { shown, shownJson, type Terminal } from './terminal.ts';
import { findLogsAloud, isLive, type LogPlace } from './verify.ts';

export interface HoldOptions {
  readonly dir: string;
  /** Undefined only lists. */
  readonly request: HoldRequest | undefined;
  readonly isJson: boolean;
}

interface HeldLog {
  readonly dir: string;
  /** Whether its writer runs. */
  readonly isLive: boolean;
  /** Sealed, and not released. */
  readonly holds: readonly string[];
  /** Asked for, and not sealed yet. */
  readonly pending: readonly HoldRequest[];
}

/** Runs the command; returns the exit status. */
export async function runHold(
  { dir, request, isJson }: HoldOptions,
  terminal: Terminal,
): Promise<number> {
  // A copy has no writer to ask: only a writer's own directory holds `signing`.
  const places = findLogsAloud(dir, terminal).filter((log) => existsSync(join(log.dir, 'signing')));
  if (places.length === 0) throw new ConfigError(`${dir}: no log of a writer is in or below it`);
  let logs = await heldLogs(places);
  if (request !== undefined) {
    // One that is on is not placed again, and one that is not on can not be released.
    const asked = logs.filter((log) => isOn(log, request.id) !== (request.action === 'placed'));
    if (asked.length === 0 && request.action === 'released') {
      throw new ConfigError(`--id: no hold '${request.id}' is on in or below ${dir}`);
    }
    for (const log of asked) requestHold(nodeFiles, log.dir, request, Date.now());
    logs = await heldLogs(places);
  }
  if (isJson) terminal.data(shownJson({ logs }));
  else for (const log of logs) tell(log, terminal);
  return 0;
}

function heldLogs(places: readonly LogPlace[]): Promise<HeldLog[]> {
  return Promise.all(
    places.map(async ({ dir }) => ({
      dir,
      isLive: isLive(dir),
      holds: [...holdsIn((await sealedEvents(dir)).holds)],
      pending: pendingHolds(nodeFiles, dir),
    })),
  );
}

/** Whether a hold is on, or will be once its writer has done what it was asked for. */
function isOn({ holds, pending }: HeldLog, id: string): boolean {
  const last = pending.findLast((request) => request.id === id);
  return last === undefined ? holds.includes(id) : last.action === 'placed';
}

function tell({ dir, isLive: isRunning, holds, pending }: HeldLog, terminal: Terminal): void {
  for (const id of holds) terminal.data(`${shown(dir)}: hold ${shown(id)}`);
  const when = isRunning
    ? 'its writer seals it within seconds'
    : 'its writer seals it when it starts';
  for (const { action, id } of pending) {
    const what = action === 'placed' ? 'is to be placed' : 'is to be released';
    terminal.data(`${shown(dir)}: hold ${shown(id)} ${what}; ${when}`);
  }
  if (holds.length + pending.length === 0) terminal.data(`${shown(dir)}: no hold`);
}
