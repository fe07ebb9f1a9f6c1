// SPDX-License-Identifier: Apache-2.0
/**
 * `onnxruntime-node`: each run of a session, with the digest of the model file it was made of. Weights that the file refers to are not
 * in that digest. Runs within a call of a model that is watched as a whole are that call's.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { SpanKind } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { property, startInvocation } from '../invocation.ts';
import { countProblem, guard, onSettled } from '../settings.ts';
import { channelOf, listen, type Target } from '../target.ts';
import { ValueAnswer, watchHooked } from '../watch.ts';

const NAME = 'onnxruntime-node';
const CLASS = 'OnnxruntimeSessionHandler';

export const onnxruntimeTarget: Target = {
  name: NAME,
  fromVersion: '1.17.0',
  belowVersion: '2.0.0',
  hooks: [
    {
      channel: 'create',
      file: 'dist/backend',
      function: { className: CLASS, methodName: 'constructor', kind: 'Sync' },
    },
    {
      channel: 'run',
      file: 'dist/backend',
      function: { className: CLASS, methodName: 'run', kind: 'Async' },
    },
  ],
  subscribe,
};

/** What is known of a model. The digest of a large one is there some time after the model is. */
export interface LocalModel {
  /** Name of its file, if it came of one. */
  readonly name: string | undefined;
  /** `sha256:<hex>` of its file. */
  digest: string | undefined;
}

/** By what the runtime's sessions call their handler. */
const models = new WeakMap<object, LocalModel>();

/** What is known of the model of a session. */
export function modelOfSession(session: unknown): LocalModel | undefined {
  const handler = property(session, 'handler');
  return typeof handler === 'object' && handler !== null ? models.get(handler) : undefined;
}

/** There while a call of a model runs that is watched as a whole, whose steps are sessions. */
export const withinModel: AsyncLocalStorage<boolean | undefined> = new AsyncLocalStorage();

function subscribe(): void {
  listen(channelOf(NAME, 'create').end, ({ self, arguments: args, ...outcome }) => {
    if (typeof self !== 'object' || self === null || 'error' in outcome) return;
    models.set(self, modelOf(args?.[0]));
  });
  watchHooked(NAME, 'run', ({ self, arguments: args }) => {
    if (withinModel.getStore() === true) return undefined;
    const model = typeof self === 'object' && self !== null ? models.get(self) : undefined;
    const operation = 'predict';
    const digest = model?.digest;
    const invocation = startInvocation(
      {
        name: model?.name === undefined ? operation : `${operation} ${model.name}`,
        kind: SpanKind.INTERNAL,
        attributes: {
          [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
          ...(model?.name !== undefined && { [names.ATTR_GEN_AI_REQUEST_MODEL]: model.name }),
          ...(digest !== undefined && { [names.ATTR_AIGOV_MODEL_DIGEST]: digest }),
        },
        input: () => ({ content: tensorsOf(args?.[0]) }),
      },
      new ValueAnswer(tensorsOf),
    );
    return {
      invocation,
      succeeded: (result) => {
        if (digest === undefined && model?.digest !== undefined) {
          invocation.annotate({ [names.ATTR_AIGOV_MODEL_DIGEST]: model.digest });
        }
        invocation.endWhole(result);
      },
    };
  });
}

/** Larger models are hashed beside the event loop. 64 MiB take some 50 ms, while loading them takes more. */
const BYTE_LENGTH_MAX = 2 ** 26;

function modelOf(given: unknown): LocalModel {
  const name =
    typeof given === 'string' ? basename(given).replace(/\.(?:onnx|ort)$/, '') : undefined;
  const model: LocalModel = { name, digest: undefined };
  const fail = (): void => countProblem('onnxruntime.digest');
  guard('onnxruntime.digest', () => {
    const hash = createHash('sha256');
    if (given instanceof Uint8Array && given.byteLength <= BYTE_LENGTH_MAX) {
      model.digest = `sha256:${hash.update(given).digest('hex')}`;
    } else if (typeof given === 'string' && statSync(given).size <= BYTE_LENGTH_MAX) {
      model.digest = `sha256:${hash.update(readFileSync(given)).digest('hex')}`;
    } else if (typeof given === 'string') {
      const hashed = pipeline(createReadStream(given), hash);
      onSettled(
        'onnxruntime.digest',
        hashed,
        () => {
          model.digest = `sha256:${hash.digest('hex')}`;
        },
        fail,
      );
    } else if (given instanceof Uint8Array) {
      const hashed = crypto.subtle.digest('SHA-256', given as Uint8Array<ArrayBuffer>);
      onSettled(
        'onnxruntime.digest',
        hashed,
        (bytes) => {
          model.digest = `sha256:${Buffer.from(bytes).toString('hex')}`;
        },
        fail,
      );
    }
  });
  return model;
}

/** Tensors by name, each as its type, its dimensions and its data. */
function tensorsOf(tensors: unknown): unknown {
  if (typeof tensors !== 'object' || tensors === null) return tensors;
  return Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => {
      const [type, dims, data] = ['type', 'dims', 'data'].map((key) => property(tensor, key));
      return [name, { type, dims, data }];
    }),
  );
}
