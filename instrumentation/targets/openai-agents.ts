// SPDX-License-Identifier: Apache-2.0
/**
 * `@openai/agents`, by its core: runs of agents, their calls of models, whoever provides these, and of function tools. Does not go by
 * the package's tracing, which applications turn off. A model that is called through `openai` has a span of its own below.
 */
import { type Attributes, SpanKind } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { parseJson } from '../../semconv/messages.ts';
import { AnswerOutput } from '../content.ts';
import {
  type Answer,
  hide,
  type Invocation,
  property,
  type Signals,
  startInvocation,
} from '../invocation.ts';
import { guard } from '../settings.ts';
import { replace, watchIterable } from '../streams.ts';
import { channelOf, listen, type Target } from '../target.ts';
import { ToolAnswer, toolStart } from '../tool.ts';
import { runWithin, sdkErrorEnding, ValueAnswer, watchCall, watchHooked } from '../watch.ts';
import { fields, fieldsOf, listOf, textOf } from './values.ts';

const NAME = '@openai/agents-core';

/** Where a model comes by, as the first argument, before it is called. */
const ENTRIES = ['getResponseWithRetry', 'getStreamedResponseWithRetry'];

export const openaiAgentsTarget: Target = {
  name: NAME,
  fromVersion: '0.20.0',
  belowVersion: '1.0.0',
  hooks: [
    {
      channel: 'run',
      file: 'dist/run',
      function: { className: 'Runner', methodName: 'run', kind: 'Async' },
    },
    ...ENTRIES.map((functionName) => ({
      channel: functionName,
      file: 'dist/runner/modelRetry',
      function: { functionName, kind: 'Sync' as const },
    })),
    {
      channel: 'tool',
      file: 'dist/tool',
      function: { functionName: 'invokeFunctionTool', kind: 'Async' },
    },
  ],
  subscribe,
};

function subscribe(): void {
  watchHooked(NAME, 'run', ({ arguments: args }) => {
    const agent = textOf(property(args?.[0], 'name'));
    const operation = names.GEN_AI_OPERATION_NAME_VALUE_INVOKE_AGENT;
    const input = args?.[1];
    const invocation = startInvocation(
      {
        name: agent === undefined ? operation : `${operation} ${agent}`,
        kind: SpanKind.INTERNAL,
        attributes: {
          [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
          ...(agent !== undefined && { [names.ATTR_GEN_AI_AGENT_NAME]: agent }),
        },
        // A run that goes on where another stopped has no input of its own.
        input: () => ({
          content: typeof input === 'string' || Array.isArray(input) ? input : null,
        }),
      },
      new ValueAnswer((result) => property(result, 'finalOutput')),
    );
    const signals = signalsOf(args?.[2]);
    return {
      invocation,
      signals,
      succeeded: (result) => {
        if (typeof property(result, '_done') === 'function')
          watchRun(result as object, invocation, signals);
        else invocation.endWhole(result);
      },
    };
  });
  for (const entry of ENTRIES) {
    listen(channelOf(NAME, entry).start, ({ arguments: args }) => {
      const model = args?.[0];
      if (typeof model === 'object' && model !== null) watchModel(model);
    });
  }
  watchHooked(NAME, 'tool', ({ arguments: args }) => {
    const tool = property(args?.[0], 'tool');
    const details = property(args?.[0], 'details');
    // JSON, as the model wrote it.
    const input = property(args?.[0], 'input');
    const given = typeof input === 'string' ? (parseJson(input) ?? input) : input;
    const start = toolStart({
      name: property(tool, 'name'),
      id: property(property(details, 'toolCall'), 'callId'),
      description: property(tool, 'description'),
      arguments: given,
    });
    const invocation = startInvocation(start, new ToolAnswer());
    return {
      invocation,
      signals: signalsOf(details),
      succeeded: (result) => invocation.endWhole(result),
    };
  });
}

/** A streamed run goes on after its result was given out; it says itself when it is done. */
function watchRun(result: object, invocation: Invocation, signals: Signals): void {
  replace(result, '_done', (original, self, args) => {
    guard('agents.done', () => {
      const isCancelled = property(self, 'cancelled') === true;
      if (isCancelled) invocation.end({ completion: 'aborted', detail: 'signal' });
      else invocation.endWhole(self);
    });
    return original.apply(self, args);
  });
  replace(result, '_raiseError', (original, self, args) => {
    guard('agents.error', () => invocation.endError(args[0], signals, sdkErrorEnding));
    return original.apply(self, args);
  });
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

/** Models whose methods are watched. */
const watched = new WeakSet<object>();

function watchModel(model: object): void {
  if (watched.has(model)) return;
  watched.add(model);
  for (const name of ['getResponse', 'getStreamedResponse']) {
    const method = property(model, name);
    if (typeof method !== 'function') continue;
    hide(model, name, function (this: unknown, ...args: unknown[]): unknown {
      return callModel(method as Method, this, args, name !== 'getResponse');
    });
  }
}

function callModel(method: Method, model: unknown, args: unknown[], isStream: boolean): unknown {
  const signals = guard('agents.signals', () => signalsOf(args[0])) ?? [];
  const invocation = guard('agents.start', () => startCall(model, args[0], isStream, signals));
  if (invocation === undefined) return method.apply(model, args);
  if (isStream) {
    const stream = runWithin(invocation, () => method.apply(model, args));
    guard('agents.stream', () => {
      if (typeof stream !== 'object' || stream === null) return;
      watchIterable(stream, Symbol.asyncIterator, invocation, {
        signals,
        errorEnding: sdkErrorEnding,
        run: (work) => runWithin(invocation, work),
      });
    });
    return stream;
  }
  return watchCall(invocation, () => method.apply(model, args), {
    signals,
    succeeded: (result) => {
      invocation.endWhole(result);
      return undefined;
    },
  });
}

function signalsOf(options: unknown): Signals {
  const signal = property(options, 'signal');
  return [signal instanceof AbortSignal ? signal : undefined];
}

const PARAMETERS = fields([
  ['modelSettings.temperature', names.ATTR_GEN_AI_REQUEST_TEMPERATURE, 'number'],
  ['modelSettings.topP', names.ATTR_GEN_AI_REQUEST_TOP_P, 'number'],
  ['modelSettings.maxTokens', names.ATTR_GEN_AI_REQUEST_MAX_TOKENS, 'number'],
  ['modelSettings.frequencyPenalty', names.ATTR_GEN_AI_REQUEST_FREQUENCY_PENALTY, 'number'],
  ['modelSettings.presencePenalty', names.ATTR_GEN_AI_REQUEST_PRESENCE_PENALTY, 'number'],
  ['modelSettings.reasoning.effort', names.ATTR_GEN_AI_REQUEST_REASONING_LEVEL, 'string'],
  ['conversationId', names.ATTR_GEN_AI_CONVERSATION_ID, 'string'],
  ['previousResponseId', names.ATTR_GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID, 'string'],
]);

function startCall(
  model: unknown,
  request: unknown,
  isStream: boolean,
  signals: Signals,
): Invocation {
  const operation = names.GEN_AI_OPERATION_NAME_VALUE_CHAT;
  const name = textOf(property(model, '_model')) ?? textOf(property(model, 'model'));
  const [input, instructions, tools] = ['input', 'systemInstructions', 'tools'].map((key) =>
    property(request, key),
  );
  const [modelSettings, outputType, handoffs, prompt] = [
    'modelSettings',
    'outputType',
    'handoffs',
    'prompt',
  ].map((key) => property(request, key));
  return startInvocation(
    {
      name: name === undefined ? operation : `${operation} ${name}`,
      attributes: {
        [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
        ...(name !== undefined && { [names.ATTR_GEN_AI_REQUEST_MODEL]: name }),
        ...(isStream && { [names.ATTR_GEN_AI_REQUEST_STREAM]: true }),
        ...fieldsOf(request, PARAMETERS),
      },
      input: () => ({
        content: { input, instructions },
        config: { model: name, modelSettings, tools, outputType, handoffs, prompt },
        messages: () => messagesOf(input),
        ...(instructions !== undefined && {
          systemInstructions: () => [{ type: 'text', content: instructions }],
        }),
        ...(listOf(tools).length > 0 && { toolDefinitions: () => tools }),
      }),
    },
    new ModelAnswer(signals),
  );
}

/** Items of a conversation as messages of the GenAI conventions. */
function messagesOf(input: unknown): readonly unknown[] {
  if (typeof input === 'string')
    return [{ role: 'user', parts: [{ type: 'text', content: input }] }];
  return listOf(input).map((item) => {
    const [type, id, name] = ['type', 'callId', 'name'].map((key) => property(item, key));
    if (type === 'function_call') {
      const args = property(item, 'arguments');
      const part = { type: 'tool_call', id, name, arguments: parseJson(String(args)) ?? args };
      return { role: 'assistant', parts: [part] };
    }
    if (type === 'function_call_result') {
      const part = { type: 'tool_call_response', id, response: property(item, 'output') };
      return { role: 'tool', parts: [part] };
    }
    const content = property(item, 'content');
    const parts =
      typeof content === 'string'
        ? [{ type: 'text', content }]
        : listOf(content).map((part) => {
            const text = property(part, 'text');
            return text === undefined
              ? { type: property(part, 'type') }
              : { type: 'text', content: text };
          });
    return { role: property(item, 'role') ?? 'assistant', parts };
  });
}

const REPORTED = fields([
  ['responseId', names.ATTR_GEN_AI_RESPONSE_ID, 'string'],
  ['id', names.ATTR_GEN_AI_RESPONSE_ID, 'string'],
  ['usage.inputTokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['usage.outputTokens', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
]);

/** A response in the shape that the package gives those of all models, or the events of one. */
class ModelAnswer implements Answer {
  readonly failure: undefined;
  private readonly signals: Signals;
  private isWhole = false;
  private output = new AnswerOutput();
  private reported: Attributes = {};

  constructor(signals: Signals) {
    this.signals = signals;
  }

  /** A stream that is told to stop ends as one that is done, with what there is so far. */
  get isFinished(): boolean {
    return this.isWhole && !this.signals.some((signal) => signal?.aborted === true);
  }

  whole(response: unknown): void {
    this.isWhole = true;
    // Whole, so what came in pieces before is in it.
    this.output = new AnswerOutput();
    this.output.message(0, 'assistant');
    this.reported = fieldsOf(response, REPORTED);
    for (const [place, item] of listOf(property(response, 'output')).entries()) {
      if (property(item, 'type') === 'function_call') {
        this.output.toolCall(0, place, property(item, 'callId'), property(item, 'name'));
        this.output.text(0, 'tool_call', place, textOf(property(item, 'arguments')) ?? '');
      }
      const parts = [...listOf(property(item, 'content')), ...listOf(property(item, 'rawContent'))];
      const isReasoning = property(item, 'type') === 'reasoning';
      for (const part of parts) {
        const text = textOf(property(part, 'text'));
        const refusal = textOf(property(part, 'refusal'));
        if (text !== undefined)
          this.output.text(0, isReasoning ? 'reasoning' : 'text', place, text);
        if (refusal !== undefined) this.output.text(0, 'refusal', place, refusal);
      }
    }
  }

  chunk(event: unknown): void {
    const type = property(event, 'type');
    if (type === 'response_done') {
      this.whole(property(event, 'response'));
    } else if (type === 'output_text_delta') {
      this.output.message(0, 'assistant');
      this.output.text(0, 'text', 0, textOf(property(event, 'delta')) ?? '');
    }
  }

  attributes(): Attributes | undefined {
    if (this.output.isEmpty) return undefined;
    return { ...this.reported, ...this.output.attributes() };
  }
}
