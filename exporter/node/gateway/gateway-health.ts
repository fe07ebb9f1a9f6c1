// SPDX-License-Identifier: Apache-2.0
/**
 * grpc.health.v1 for the gateway: Check, and Watch for clients that choose among replicas. Tells whether requests are taken
 * now; what was acknowledged it does not know.
 */
import type {
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { LogError } from '../../log/errors.ts';
import { FieldCursor, LEN } from '../../log/wire.ts';
import { GRPC_INVALID_ARGUMENT, GRPC_NOT_FOUND } from './gateway-answer.ts';

export interface Health {
  readonly implementation: UntypedServiceImplementation;
  /** Tells all who watch that nothing is taken any more, and ends their streams. */
  close(): void;
}

/** HealthCheckResponse: field 1 is the status. */
const SERVING: Buffer = Buffer.of(0x08, 0x01);
const NOT_SERVING: Buffer = Buffer.of(0x08, 0x02);
const SERVICE_UNKNOWN: Buffer = Buffer.of(0x08, 0x03);

/** Who watches is told of a change this late at most. */
const LOOK_DELAY_MS = 500;

type Watching = ServerWritableStream<Buffer, Buffer>;

/** @param services names that are served; the empty name is the server as a whole */
export function openHealth(services: ReadonlySet<string>, isReady: () => boolean): Health {
  /** What each was told last. */
  const watching = new Map<Watching, Buffer>();
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  const status = (): Buffer => {
    try {
      return !isClosed && isReady() ? SERVING : NOT_SERVING;
    } catch {
      // A throw would be answered as UNKNOWN, or end the process out of the timer.
      return NOT_SERVING;
    }
  };

  const tellAll = (): void => {
    const now = status();
    for (const [call, before] of watching) {
      if (now === before || before === SERVICE_UNKNOWN) continue;
      watching.set(call, now);
      call.write(now);
    }
  };
  const forget = (call: Watching): void => {
    watching.delete(call);
    if (watching.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };

  return {
    implementation: {
      check: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>): void => {
        const service = serviceOf(call.request);
        if (service === undefined) {
          callback({ code: GRPC_INVALID_ARGUMENT, details: 'no HealthCheckRequest' });
        } else if (services.has(service)) callback(null, status());
        else callback({ code: GRPC_NOT_FOUND, details: 'a service that is not served here' });
      },
      watch: (call: Watching): void => {
        call.on('error', () => forget(call));
        const service = serviceOf(call.request);
        if (service === undefined) {
          call.emit('error', { code: GRPC_INVALID_ARGUMENT, details: 'no HealthCheckRequest' });
          return;
        }
        // A service that is not known may be one day: the protocol wants the stream left open.
        const now = services.has(service) ? status() : SERVICE_UNKNOWN;
        call.write(now);
        if (isClosed) {
          call.end();
          return;
        }
        call.on('cancelled', () => forget(call));
        watching.set(call, now);
        timer ??= setInterval(tellAll, LOOK_DELAY_MS).unref();
      },
    },
    close: () => {
      isClosed = true;
      tellAll();
      for (const call of [...watching.keys()]) {
        forget(call);
        call.end();
      }
    },
  };
}

/** HealthCheckRequest has the service's name in field 1; undefined where it is none. */
function serviceOf(request: Buffer): string | undefined {
  let service = '';
  try {
    const cursor = new FieldCursor(request, 0, request.length);
    while (cursor.next()) {
      if (cursor.number === 1 && cursor.wireType === LEN) {
        service = request.toString('utf8', cursor.valueStart, cursor.valueEnd);
      }
    }
  } catch (error) {
    if (!(error instanceof LogError)) throw error;
    return undefined;
  }
  return service;
}
