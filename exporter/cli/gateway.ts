// SPDX-License-Identifier: Apache-2.0
/**
 * `sealspan gateway`: runs the gateway until it is told to end, and ends it in order: what was acknowledged is sealed, the
 * log closed. Exit 0 after SIGTERM or SIGINT, 5 where sealing ended by itself.
 */
import { readConfig } from '../node/config/config.ts';
import { openGateway } from '../node/gateway.ts';
import { EXIT_IO } from './exit.ts';
import { shown, type Terminal } from './terminal.ts';

export interface GatewayOptions {
  readonly configPath: string | undefined;
  readonly isJson: boolean;
}

/** Runs the command; resolves with the exit status once the log is closed. */
export async function runGateway(options: GatewayOptions, terminal: Terminal): Promise<number> {
  const { configPath } = options;
  const config = readConfig(
    configPath === undefined ? process.env : { ...process.env, SEALSPAN_CONFIG: configPath },
  );
  const asked = new Promise<string>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  const gateway = await openGateway(config, {
    onReport: (code, message) => terminal.note(`sealspan: ${code} ${shown(message)}`),
  });
  const reload = (): void => gateway.reload();
  process.on('SIGHUP', reload);
  const { origin, logDirectory, vkey, grpcPort, httpPort, adminPort, policyId } = gateway;
  if (options.isJson) {
    terminal.data(
      JSON.stringify({ origin, logDirectory, vkey, grpcPort, httpPort, adminPort, policyId }),
    );
  } else {
    const port = (name: string, value: number | undefined): string =>
      `${name} ${value === undefined ? 'off' : `port ${value}`}`;
    terminal.data(
      `${origin} in ${logDirectory}: ${port('OTLP/gRPC', grpcPort)}, ${port('OTLP/HTTP', httpPort)}, ${port('admin', adminPort)}`,
    );
    terminal.note(`content policy ${policyId}`);
    if (gateway.keyCreated) terminal.note(`a new key; for trust files: ${vkey}`);
  }
  const failure = await Promise.race([
    asked.then(() => undefined),
    gateway.failed.then((cause) => ({ cause })),
  ]);
  if (failure === undefined) terminal.note('sealspan: ending');
  await gateway.stop();
  process.removeListener('SIGHUP', reload);
  return failure === undefined ? 0 : EXIT_IO;
}
