// SPDX-License-Identifier: Apache-2.0
/**
 * An OTLP backend that takes everything, counts spans, and keeps nothing. Prints its ports; `/counted` tells the counts.
 * Looks no deeper into a request than it must to count.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { FieldCursor } from '../../../exporter/log/wire.ts';

const counted = { requests: 0, spans: 0, bytes: 0 };

/** Fields number 1 of the message are ResourceSpans, fields 2 of those ScopeSpans, fields 2 of those spans. */
function countSpans(bytes: Uint8Array, start: number, end: number, depth: number): void {
  const cursor = new FieldCursor(bytes, start, end);
  while (cursor.next()) {
    if (cursor.number !== (depth === 0 ? 1 : 2)) continue;
    if (depth === 2) counted.spans++;
    else countSpans(bytes, cursor.valueStart, cursor.valueEnd, depth + 1);
  }
}

function take(bytes: Uint8Array): void {
  counted.requests++;
  counted.bytes += bytes.length;
  countSpans(bytes, 0, bytes.length, 0);
}

const same = (bytes: Buffer): Buffer => bytes;
const grpc = new Server({ 'grpc.max_receive_message_length': -1 });
grpc.addService(
  {
    export: {
      path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
      requestStream: false,
      responseStream: false,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    },
  },
  {
    export: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
      take(call.request);
      callback(null, Buffer.alloc(0));
    },
  },
);
const http = createServer((request, response) => {
  if (request.url === '/counted') {
    response.end(JSON.stringify(counted));
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    take(Buffer.concat(chunks));
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
  });
});

grpc.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, grpcPort) => {
  if (error !== null) throw error;
  http.listen(0, '127.0.0.1', () => {
    const { port } = http.address() as AddressInfo;
    console.log(JSON.stringify({ grpcPort, httpPort: port }));
  });
});
