// SPDX-License-Identifier: Apache-2.0
/**
 * A process to be killed at any moment: a service that makes calls to a provider under audit, or a gateway that takes
 * spans. Writes what it was told sealed to stdout at once, a line each; ends in order on SIGTERM. Waits for nobody.
 */
import { writeSync } from 'node:fs';
import * as http from 'node:http';
import { AlwaysOffSampler, TracerProvider } from '@opentelemetry/sdk-trace';
import { openAuditWith } from '../../exporter/node/audit.ts';
import { type ConfigInput, readConfig } from '../../exporter/node/config/config.ts';
import { openGateway } from '../../exporter/node/gateway.ts';

export interface DoomedTask {
  readonly role: 'service' | 'gateway';
  readonly config: ConfigInput;
  /** Base URL of the provider that the service calls. */
  readonly provider: string;
}

/** Header of a call that tells the provider its span. */
export const SPAN_HEADER = 'x-span-id';
const CALLS_AT_ONCE = 4;

/** Waits for a full pipe: what is told was told, whatever comes next. */
function tell(line: string): void {
  for (;;) {
    try {
      writeSync(1, `${line}\n`);
      return;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
    }
  }
}

const agent = new http.Agent({ keepAlive: true });
const BODY = JSON.stringify({ model: 'gpt-fake', messages: [{ role: 'user', content: 'hello' }] });

/** One call. That it failed, as when the provider gave up an idle connection, is an answer as well. */
function ask(provider: string, spanId: string): Promise<void> {
  return new Promise((resolve) => {
    const request = http.request(`${provider}/chat/completions`, {
      method: 'POST',
      agent,
      headers: { 'content-type': 'application/json', [SPAN_HEADER]: spanId },
    });
    request.on('error', () => resolve());
    request.on('response', (response) => {
      response.on('error', () => resolve());
      response.resume();
      response.on('end', () => resolve());
    });
    request.end(BODY);
  });
}

function serve({ config, provider: url }: DoomedTask): void {
  const audit = openAuditWith(readConfig({}, config), {
    onReport: (code, message) => writeSync(2, `${code}: ${message}\n`),
  });
  const provider = new TracerProvider({
    spanProcessors: audit.capture.wrapProcessors([]),
    sampler: audit.capture.sampler(new AlwaysOffSampler()),
  });
  const tracer = provider.getTracer('app');
  let isEnding = false;
  const loop = async (): Promise<void> => {
    while (!isEnding) {
      const span = tracer.startSpan('call', {
        attributes: { 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': 'gpt-fake' },
      });
      const { spanId } = span.spanContext();
      await ask(url, spanId);
      span.end();
      const { status } = await audit.capture.committed(span);
      tell(`${status} ${spanId}`);
    }
  };
  const loops = Array.from({ length: CALLS_AT_ONCE }, loop);
  process.once('SIGTERM', async () => {
    isEnding = true;
    await Promise.all(loops);
    await audit.shutdown();
    agent.destroy();
  });
  tell('open');
}

async function takeSpans({ config }: DoomedTask): Promise<void> {
  const gateway = await openGateway(readConfig({}, config), {
    onReport: (code, message) => writeSync(2, `${code}: ${message}\n`),
  });
  process.once('SIGTERM', () => void gateway.stop());
  tell(`open ${gateway.httpPort}`);
}

if (import.meta.main) {
  const task = JSON.parse(process.argv[2]!) as DoomedTask;
  tell('begin');
  if (task.role === 'service') serve(task);
  else await takeSpans(task);
}
