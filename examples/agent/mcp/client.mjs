// SPDX-License-Identifier: Apache-2.0
// The client of the Model Context Protocol, from the packages of this folder: starts the server beside it.
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';

export async function connect() {
  const client = new Client({ name: 'travel-agent', version: '1.0.0' });
  const args = [fileURLToPath(new URL('server.mjs', import.meta.url))];
  await client.connect(new StdioClientTransport({ command: process.execPath, args }));
  return client;
}
