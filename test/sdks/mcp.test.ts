// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: both lines of the clients of the Model Context Protocol behave with our hooks as without, and each call of a tool leaves one
 * span that says how it ended. Method: the matrix, with a real server of the same line in the same process.
 */
import { describe } from 'vitest';
import { noHelpers } from './support/case.ts';
import { describeMatrix, digest, type Ends, inputs } from './support/matrix.ts';

const none = (absent: string): Ends => ({ absent });
const noStream = none('a tool gives one answer');
const RESULT = '{"content":[{"text":"Köln: sun","type":"text"}]}';
const TOOL = {
  'gen_ai.operation.name': 'execute_tool',
  'gen_ai.tool.type': 'extension',
  'mcp.method.name': 'tools/call',
};

const ENDS = {
  plain: 'complete',
  'tool call': none('every case is the call of a tool'),
  stream: noStream,
  'stream of a tool call': noStream,
  'stream broken off': noStream,
  'stream with a throwing reader': noStream,
  'stream ends early': noStream,
  'stream whose connection dies': noStream,
  'stream that reports an error': noStream,
  'stream never read': noStream,
  'stream half read': noStream,
  'stream aborted': noStream,
  aborted: 'aborted signal',
  timeout: 'error timeout timeout',
  'no connection': 'error Error',
  'connection dies': 'error connection CONNECTION_CLOSED',
  '400': none('a transport in the process has no status'),
  '500 after retries': none('the package does not retry'),
  'good after retries': none('the package does not retry'),
  'never awaited': 'complete',
  ...noHelpers(),
  'several at once': ['complete', 'complete'],
  'tool that throws': 'error tool_error',
  'wrong arguments': 'error tool_error',
  'no such tool': 'error -32602',
} satisfies Readonly<Record<string, Ends>>;

describe.each([
  ['@modelcontextprotocol/sdk', '1.32.2', { 'no such tool': 'error tool_error' }, {}],
  ['@modelcontextprotocol/client', '2.4.0', {}, { 'mcp.protocol.version': '2025-11-25' }],
] as const)('%s', (target, version, ends, more) => {
  describeMatrix({
    target,
    versions: [{ version, folder: '.', formats: ['esm', 'cjs'] }],
    app: 'mcp-app.mjs',
    ends: { ...ENDS, ...ends },
    whole: {
      plain: {
        ...TOOL,
        ...more,
        'gen_ai.tool.name': 'weather',
        ...inputs('{"city":"Köln"}'),
        'aigov.output.digest': digest(RESULT),
        'aigov.output.length': Buffer.byteLength(RESULT),
        'aigov.invocation.completion': 'complete',
      },
    },
  });
});
