// SPDX-License-Identifier: Apache-2.0
/**
 * The clients of the Model Context Protocol, `@modelcontextprotocol/sdk` 1 and `@modelcontextprotocol/client` 2: each call of a tool,
 * as the one who asks sees it. Resources, prompts, tasks and the side of the server are not seen.
 */
import { SpanKind } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { type Ending, property, type Signals, startInvocation } from '../invocation.ts';
import { guard } from '../settings.ts';
import type { Target } from '../target.ts';
import { ToolAnswer, toolStart } from '../tool.ts';
import { sdkErrorEnding, watchHooked } from '../watch.ts';
import { textOf } from './values.ts';

const SDK = '@modelcontextprotocol/sdk';
const CLIENT = '@modelcontextprotocol/client';
const METHOD = 'tools/call';
const callTool = { className: 'Client', methodName: 'callTool', kind: 'Async' } as const;

export const mcpTargets: readonly Target[] = [
  {
    name: SDK,
    fromVersion: '1.10.0',
    belowVersion: '2.0.0',
    hooks: [{ channel: 'tool', file: 'dist/(?:esm|cjs)/client/index', function: callTool }],
    // The signal stands after the schema of the result.
    subscribe: () => subscribe(SDK, 2),
  },
  {
    name: CLIENT,
    fromVersion: '2.0.0',
    belowVersion: '3.0.0',
    hooks: [
      { channel: 'tool', file: 'dist/index', belowVersion: '2.4.0', function: callTool },
      { channel: 'tool', file: 'dist/public-[\\w-]+', fromVersion: '2.4.0', function: callTool },
    ],
    subscribe: () => subscribe(CLIENT, 1),
  },
];

function subscribe(target: string, optionsAt: number): void {
  watchHooked(target, 'tool', ({ self, arguments: args }) => {
    const name = property(args?.[0], 'name');
    const answer = new ToolAnswer();
    const transport = property(self, 'transport');
    const sessionId = textOf(property(transport, 'sessionId'));
    const version =
      textOf(property(transport, '_protocolVersion')) ??
      textOf(property(self, '_negotiatedProtocolVersion'));
    const start = toolStart({
      name,
      type: 'extension',
      kind: SpanKind.CLIENT,
      arguments: property(args?.[0], 'arguments'),
      attributes: {
        [names.ATTR_MCP_METHOD_NAME]: METHOD,
        ...(sessionId !== undefined && { [names.ATTR_MCP_SESSION_ID]: sessionId }),
        ...(version !== undefined && { [names.ATTR_MCP_PROTOCOL_VERSION]: version }),
      },
    });
    const signal = property(args?.[optionsAt], 'signal');
    const invocation = startInvocation(
      { ...start, name: typeof name === 'string' ? `${METHOD} ${name}` : METHOD },
      answer,
    );
    return {
      invocation,
      signals: [signal instanceof AbortSignal ? signal : undefined],
      errorEnding: endingOf,
      succeeded: (result) => {
        // The tool failed, and the model is to be told so: that is an answer, and a failure.
        if (property(result, 'isError') === true) answer.failure = 'tool_error';
        invocation.endWhole(resultOf(result));
      },
    };
  });
}

/** What the tool gave, without what the protocol adds. */
function resultOf(result: unknown): unknown {
  const [content, structuredContent] = ['content', 'structuredContent'].map((key) =>
    property(result, key),
  );
  return { content, structuredContent };
}

const TIMEOUTS: ReadonlySet<unknown> = new Set([-32001, 'REQUEST_TIMEOUT']);
const CLOSED: ReadonlySet<unknown> = new Set([-32000, 'CONNECTION_CLOSED']);

/** Errors of the protocol have a code of JSON-RPC, those of the package a word. */
function endingOf(error: unknown, signals: Signals): Ending {
  const ending = sdkErrorEnding(error, signals);
  const code = guard('mcp.code', () => property(error, 'code'));
  if (ending.completion !== 'error' || ending.detail !== undefined) return ending;
  if (TIMEOUTS.has(code)) return { completion: 'error', detail: 'timeout', errorType: 'timeout' };
  if (CLOSED.has(code)) return { ...ending, detail: 'connection', errorType: 'CONNECTION_CLOSED' };
  return typeof code === 'number' ? { ...ending, errorType: String(code) } : ending;
}
