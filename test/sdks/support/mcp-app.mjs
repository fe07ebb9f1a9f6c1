// SPDX-License-Identifier: Apache-2.0
/**
 * A client of the Model Context Protocol and, in the same process, the server it talks to: `@modelcontextprotocol/sdk` 1 or the
 * split packages of 2, whichever is asked for.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { failing } from './case.ts';

const [, folder, name, format] = process.argv.slice(2);
const { load } = await import(pathToFileURL(join(folder, 'load.mjs')).href);
const isSplit = name.endsWith('/client');
const { Client, InMemoryTransport } = isSplit
  ? await load('@modelcontextprotocol/client', format)
  : { ...(await load(`${name}/client`, format)), ...(await load(`${name}/inMemory.js`, format)) };
const { McpServer } = await load(
  isSplit ? '@modelcontextprotocol/server' : `${name}/server/mcp.js`,
  format,
);
const { z } = await load('zod', format);

const shape = { city: z.string() };
const inputSchema = isSplit ? z.object(shape) : shape;

/** A client that is connected to a server with the tools of this test. */
async function connect() {
  const server = new McpServer({ name: 'own', version: '1.0.0' });
  const add = (tool, run) => server.registerTool(tool, { description: 'Tells', inputSchema }, run);
  add('weather', ({ city }) => ({ content: [{ type: 'text', text: `${city}: sun` }] }));
  add('throws', () => {
    throw new RangeError('no such city');
  });
  add('hangs', () => new Promise(() => {}));
  const client = new Client({ name: 'own', version: '1.0.0' });
  const [left, right] = InMemoryTransport.createLinkedPair();
  await Promise.all([server.connect(right), client.connect(left)]);
  return { client, server };
}
const call = (client, tool, options, args = { city: 'Köln' }) => {
  const params = { name: tool, arguments: args };
  return isSplit ? client.callTool(params, options) : client.callTool(params, undefined, options);
};
const calling = async (tool, options, args) => {
  const { client } = await connect();
  return call(client, tool, options, args);
};

export const cases = {
  plain: () => calling('weather'),
  'several at once': async () => {
    const { client } = await connect();
    return Promise.all([call(client, 'weather'), call(client, 'weather')]);
  },
  'tool that throws': () => calling('throws'),
  'wrong arguments': () => calling('weather', undefined, { town: 'Köln' }),
  'no such tool': () => failing(() => calling('nothing')),
  aborted: () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    return calling('hangs', { signal: controller.signal });
  },
  timeout: () => calling('hangs', { timeout: 50 }),
  'no connection': async () => {
    const { client } = await connect();
    await client.close();
    return failing(() => call(client, 'weather'));
  },
  'connection dies': async () => {
    const { client, server } = await connect();
    setTimeout(() => server.close(), 50);
    return failing(() => call(client, 'hangs'));
  },
  'never awaited': async () => {
    const { client } = await connect();
    void call(client, 'weather');
  },
  'no call of a tool': async () => {
    const { client } = await connect();
    return (await client.listTools()).tools.length;
  },
};
