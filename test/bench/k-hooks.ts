// SPDX-License-Identifier: Apache-2.0
/**
 * K: what a watched call costs the event loop beside the same call left alone, toggled within one process against a provider on
 * this machine: hook and span, and apart from these the digests of content, per kB. Beside it a span of the same attributes
 * written by hand, which is the SDK's own cost and no instrumentation's, and what another instrumentation costs. Turns are
 * counted by their mean, garbage and all: a median leaves out what is collected in fewer than half of them. No turn is shorter
 * than a tick of the kernel, in which some machines count a thread's time.
 */
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { createServer } from 'node:tls';
import { startFakeOpenai } from '../support/fake-openai.ts';
import { selfSignedCertificate } from '../support/otlp-backend.ts';
import type { HooksFound, HooksSpec } from './probes/hooks.ts';
import { type Bench, type Row, row, runBenches } from './support/bench.ts';
import { probe } from './support/processes.ts';

const KILOBYTE = 1024;
interface Load {
  readonly id: string;
  readonly what: string;
  readonly kilobytes: number;
  readonly isStream?: boolean;
  /** As providers are called, and unlike a stand-in on the same machine. */
  readonly isTls?: boolean;
}
const LOADS: readonly Load[] = [
  { id: 'K.plain', what: 'an answer in one piece, a prompt of 1 kB', kilobytes: 1 },
  { id: 'K.tls', what: 'the same over TLS', kilobytes: 1, isTls: true },
  { id: 'K.stream', what: 'an answer streamed, a prompt of 1 kB', kilobytes: 1, isStream: true },
  { id: 'K.large', what: 'an answer in one piece, a prompt of 64 kB', kilobytes: 64 },
];
/** The hook and its span, of what the bare client takes. */
const AIM = { most: 0.1 };

export const hooks: Bench = {
  id: 'K',
  question: 'CPU on the event loop for a watched call, of what the client takes by itself',
  run: async ({ rounds, say }) => {
    const provider = await startFakeOpenai({ isForgetful: true });
    const secured = await startTls(Number(new URL(provider.url).port));
    const rows: Row[] = [];
    for (const { id, what, kilobytes, isStream = false, isTls = false } of LOADS) {
      say(`K: ${what}`);
      const found: HooksFound[] = [];
      for (let round = 0; round < rounds; round++) {
        const spec: HooksSpec = {
          url: isTls ? `https://127.0.0.1:${secured.port}/v1` : provider.url,
          ca: isTls ? secured.cert : undefined,
          promptByteLength: kilobytes * KILOBYTE,
          isStream,
          turnCount: 30,
          callCount: 100,
        };
        found.push(await probe<HooksFound>('hooks', spec));
      }
      const mean = (of: keyof HooksFound): string =>
        (found.reduce((sum, one) => sum + (one[of] ?? 0), 0) / found.length).toFixed(0);
      const peers = found.flatMap(({ peer, peerBare }) =>
        peer === undefined || peerBare === undefined ? [] : [(peer - peerBare) / peerBare],
      );
      rows.push(
        row({
          id,
          what: `${what}: hook and span, of the bare client`,
          unit: 'x',
          values: found.map(({ bare, watched }) => (watched - bare) / bare),
          aim: AIM,
          floor: found.map(({ bare, byHand }) => (byHand - bare) / bare),
          peer: peers.length === 0 ? undefined : peers,
          note: `us a call: ${mean('bare')} bare, ${mean('byHand')} with a span by hand, ${mean('watched')} watched, ${mean('digested')} with digests; peer: OpenInference`,
        }),
        row({
          id: `${id}.digests`,
          what: `${what}: digests of content, beside that`,
          unit: 'us/kB of prompt',
          values: found.map(({ watched, digested }) => (digested - watched) / kilobytes),
        }),
      );
    }
    await Promise.all([provider.close(), secured.close()]);
    return rows;
  },
};

/** Speaks TLS for a server on this machine that does not. */
async function startTls(
  port: number,
): Promise<{ port: number; cert: string; close: () => Promise<void> }> {
  const { key, cert } = selfSignedCertificate(['127.0.0.1']);
  const server = createServer({ key, cert }, (client) => {
    const upstream = connect(port, '127.0.0.1');
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
    client.pipe(upstream).pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    cert,
    close: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

if (import.meta.main) await runBenches([hooks]);
