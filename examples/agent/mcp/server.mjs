// SPDX-License-Identifier: Apache-2.0
// A server of the Model Context Protocol with two tools. It is another process, and in your service another team's.
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';

const inputSchema = { type: 'object', properties: { to: { type: 'string' } }, required: ['to'] };
const TOOLS = {
  find_train: ({ to }) => `08:12 to ${to}, 49 euro`,
  book_train: () => {
    throw new Error('no seat is left');
  },
};

const server = new Server({ name: 'trains', version: '1.0.0' }, { capabilities: { tools: {} } });
server.setRequestHandler(ListToolsRequestSchema, () => ({
  tools: Object.keys(TOOLS).map((name) => ({ name, description: name, inputSchema })),
}));
server.setRequestHandler(CallToolRequestSchema, ({ params }) => {
  try {
    const text = TOOLS[params.name](params.arguments);
    return { content: [{ type: 'text', text }] };
  } catch (error) {
    return { content: [{ type: 'text', text: error.message }], isError: true };
  }
});
await server.connect(new StdioServerTransport());
