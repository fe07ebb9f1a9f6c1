// SPDX-License-Identifier: Apache-2.0
/**
 * `@huggingface/transformers`: each call of a pipeline, with the model it was made for. Models and tokenizers that are called without a
 * pipeline are seen as runs of their sessions, by the target of the runtime.
 */
import { SpanKind } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { hide, property, startInvocation } from '../invocation.ts';
import { guard } from '../settings.ts';
import { channelOf, listen, type Target } from '../target.ts';
import { ValueAnswer, watchCall } from '../watch.ts';
import { modelOfSession, withinModel } from './onnxruntime.ts';
import { textOf } from './values.ts';

const NAME = '@huggingface/transformers';
const FILE = 'dist/transformers.node';

export const transformersTarget: Target = {
  name: NAME,
  fromVersion: '4.0.0',
  belowVersion: '5.0.0',
  hooks: [
    {
      channel: 'create',
      file: FILE,
      function: { className: 'Pipeline', methodName: 'constructor', kind: 'Sync' },
    },
    { channel: 'pipeline', file: FILE, function: { functionName: 'pipeline', kind: 'Async' } },
  ],
  subscribe,
};

/** What a pipeline was asked for as: the name of its model, and the version of it. */
const asked = new WeakMap<object, { readonly model: unknown; readonly revision: unknown }>();

type Method = (this: unknown, ...args: unknown[]) => unknown;

function subscribe(): void {
  listen(channelOf(NAME, 'pipeline').asyncEnd, ({ arguments: args, result }) => {
    if (typeof result !== 'function') return;
    asked.set(result, { model: args?.[1], revision: property(args?.[2], 'revision') });
  });
  // A pipeline is a function that calls this method of its own.
  listen(channelOf(NAME, 'create').end, ({ self }) => {
    if (typeof self !== 'function') return;
    hide(self, '_call', function (this: unknown, ...args: unknown[]): unknown {
      const { _call: method } = Object.getPrototypeOf(this) as { readonly _call: Method };
      // A pipeline that calls itself, or another, for a part of its answer.
      if (withinModel.getStore() === true) return method.apply(this, args);
      return callPipeline(method, this, args);
    });
  });
}

function callPipeline(method: Method, pipeline: unknown, args: unknown[]): unknown {
  const invocation = guard('transformers.start', () => {
    const known = asked.get(pipeline as object);
    const task = textOf(property(pipeline, 'task'));
    const model = property(pipeline, 'model');
    const name =
      textOf(known?.model) ?? textOf(property(property(model, 'config'), '_name_or_path'));
    const operation = operationOf(task);
    const version = textOf(known?.revision);
    const digest = digestOf(model);
    return startInvocation(
      {
        name: name === undefined ? operation : `${operation} ${name}`,
        kind: SpanKind.INTERNAL,
        attributes: {
          [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
          ...(name !== undefined && { [names.ATTR_GEN_AI_REQUEST_MODEL]: name }),
          ...(version !== undefined && { [names.ATTR_AIGOV_MODEL_VERSION]: version }),
          ...(digest !== undefined && { [names.ATTR_AIGOV_MODEL_DIGEST]: digest }),
        },
        input: () => ({
          content: plainOf(args[0]) ?? null,
          config: { model: name, task, options: args.slice(1) },
        }),
      },
      new ValueAnswer(plainOf),
    );
  });
  if (invocation === undefined) return method.apply(pipeline, args);
  return watchCall(invocation, () => withinModel.run(true, () => method.apply(pipeline, args)), {
    succeeded: (result) => {
      invocation.endWhole(result);
      return undefined;
    },
  });
}

/** Tensors, alone or in a list, as their type, their dimensions and their data; all else as it is. */
function plainOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plainOf);
  if (property(value, 'ort_tensor') === undefined) return value;
  const [type, dims, data] = ['type', 'dims', 'data'].map((key) => property(value, key));
  return { type, dims, data };
}

/** The conventions have a name for what some tasks do. */
function operationOf(task: string | undefined): string {
  switch (task) {
    case 'text-generation':
    case 'text2text-generation':
      return names.GEN_AI_OPERATION_NAME_VALUE_TEXT_COMPLETION;
    case 'feature-extraction':
    case 'image-feature-extraction':
      return names.GEN_AI_OPERATION_NAME_VALUE_EMBEDDINGS;
    default:
      return 'predict';
  }
}

/** Of a model that is one file. One of several has no digest of its own. */
function digestOf(model: unknown): string | undefined {
  const sessions = Object.values(property(model, 'sessions') ?? {});
  return sessions.length === 1 ? modelOfSession(sessions[0])?.digest : undefined;
}
