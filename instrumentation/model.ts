// SPDX-License-Identifier: Apache-2.0
/**
 * Makes any function a governed model: a scorer, a rule set, a model of one's own. Each call has one span and one terminal
 * state, and gives back or throws exactly what the function does. Knows nothing of what the function computes.
 */
import { type Attributes, SpanKind } from '@opentelemetry/api';
import {
  AIGOV_OUTPUT_ABSENCE_VALUE_NOT_OBSERVED,
  ATTR_AIGOV_MODEL_DIGEST,
  ATTR_AIGOV_MODEL_VERSION,
  ATTR_GEN_AI_OPERATION_NAME,
  ATTR_GEN_AI_PROVIDER_NAME,
  ATTR_GEN_AI_REQUEST_MODEL,
  readGovernance,
} from '../semconv/index.ts';
import { absentOutput, SequenceOutput, valueOutput } from './content.ts';
import {
  type Answer,
  COMPLETE,
  type Invocation,
  property,
  startInvocation,
  UNREAD,
  whenCollected,
} from './invocation.ts';
import { guard, onSettled } from './settings.ts';
import { watchIterator } from './streams.ts';
import { runWithin } from './watch.ts';

export interface GovernedModelOptions<Arguments extends readonly unknown[]> {
  /** Name of the model. */
  readonly model: string;
  readonly version?: string;
  /** Digest of what the model consists of, say its weights: `sha256:<hex>`. */
  readonly digest?: string;
  /** Who provides the model; absent unless given. */
  readonly provider?: string;
  /** `predict` unless given. */
  readonly operation?: string;
  /** Parameters of the model that hold for every call. */
  readonly config?: unknown;
  /** What of the arguments is the input; all of them unless given. */
  readonly input?: (...args: Arguments) => unknown;
}

/**
 * Wraps a function, synchronous, asynchronous or an async generator, so that each call of it is a governed model
 * invocation. The wrapper has the name, the length and the results of the function, and passes `this` on.
 * @throws TypeError naming the option that is wrong: here, at set-up, and never when the wrapper is called.
 */
export function governedModel<This, Arguments extends unknown[], Result>(
  options: GovernedModelOptions<Arguments>,
  model: (this: This, ...args: Arguments) => Result,
): (this: This, ...args: Arguments) => Result {
  if (typeof model !== 'function') throw new TypeError('model: expected a function');
  const { operation = 'predict', input } = options;
  for (const name of ['model', 'version', 'provider', 'operation'] as const) {
    const value = options[name];
    const isMissing = value === undefined && name !== 'model';
    if (!isMissing && (typeof value !== 'string' || value === '')) {
      throw new TypeError(`options.${name}: expected text`);
    }
  }
  if (input !== undefined && typeof input !== 'function') {
    throw new TypeError('options.input: expected a function');
  }
  const { version, digest, provider } = options;
  const { problems } = readGovernance({ model: { version, digest } });
  if (problems.length > 0) throw new TypeError(problems.join('; ').replaceAll('governance.', ''));
  const attributes: Attributes = {
    [ATTR_GEN_AI_OPERATION_NAME]: operation,
    ...(provider !== undefined && { [ATTR_GEN_AI_PROVIDER_NAME]: provider }),
    [ATTR_GEN_AI_REQUEST_MODEL]: options.model,
    ...(version !== undefined && { [ATTR_AIGOV_MODEL_VERSION]: version }),
    ...(digest !== undefined && { [ATTR_AIGOV_MODEL_DIGEST]: digest }),
  };

  const governed = function (this: This, ...args: Arguments): Result {
    const answer = new ModelAnswer();
    const invocation = guard('model.start', () =>
      startInvocation(
        {
          name: `${operation} ${options.model}`,
          kind: SpanKind.INTERNAL,
          attributes,
          input: () => ({
            content: input === undefined ? args : guard('model.input', () => input(...args)),
            config: options.config,
          }),
        },
        answer,
      ),
    );
    if (invocation === undefined) return model.apply(this, args);
    let result: Result;
    try {
      result = runWithin(invocation, () => model.apply(this, args));
    } catch (error) {
      guard('model.error', () => invocation.endError(error));
      throw error;
    }
    return guard('model.result', () => watchResult(result, invocation, answer)) ?? result;
  };
  Object.defineProperty(governed, 'name', { value: model.name, configurable: true });
  Object.defineProperty(governed, 'length', { value: model.length, configurable: true });
  return governed;
}

/** Watches what a call gave back; answers with what the application gets, which is that or a promise of the same. */
function watchResult<Result>(result: Result, invocation: Invocation, answer: ModelAnswer): Result {
  if (result instanceof Promise) return watchPromise(result, invocation) as Result;
  if (typeof property(result, Symbol.asyncIterator) === 'function') {
    watchGenerator(result, invocation, answer);
  } else if (typeof property(result, 'next') === 'function') {
    // A synchronous iterator: what it will give is not known, and may never be asked for.
    invocation.end(COMPLETE, absentOutput(AIGOV_OUTPUT_ABSENCE_VALUE_NOT_OBSERVED));
  } else {
    invocation.endWhole(result);
  }
  return result;
}

function watchPromise(promise: Promise<unknown>, invocation: Invocation): Promise<unknown> {
  const succeeded = (value: unknown): unknown => {
    guard('model.answer', () => invocation.endWhole(value));
    return value;
  };
  // A promise of a class of its own has methods the application may want: it stays, and listening on the side keeps Node
  // from reporting its rejection. Of a plain promise the application gets the next one, and Node reports as ever.
  if (promise.constructor !== Promise) {
    onSettled('model.answer', promise, succeeded, (error) => invocation.endError(error));
    return promise;
  }
  return promise.then(succeeded, (error: unknown) => {
    guard('model.error', () => invocation.endError(error));
    throw error;
  });
}

function watchGenerator(result: unknown, invocation: Invocation, answer: ModelAnswer): void {
  if (typeof property(result, 'next') !== 'function') {
    // Something to iterate over, as often as one likes or never: what comes of it is not this call's.
    invocation.end(COMPLETE, absentOutput(AIGOV_OUTPUT_ABSENCE_VALUE_NOT_OBSERVED));
    return;
  }
  const iterator = result as AsyncIterator<unknown> & object;
  const reading = { isRead: false, invocation };
  watchIterator(iterator, invocation, {
    isReader: () => {
      reading.isRead = true;
      answer.sequence = new SequenceOutput();
      return true;
    },
    hasEnd: () => false,
    signals: [],
    // A generator that runs out has done all it was going to do.
    runOut: COMPLETE,
    run: (work) => runWithin(invocation, work),
  });
  whenCollected(iterator, reading, endUnread);
}

function endUnread({
  isRead,
  invocation,
}: {
  readonly isRead: boolean;
  readonly invocation: Invocation;
}): void {
  if (!isRead) invocation.end(UNREAD);
}

/** What a function gave back: one value, or a sequence of them. */
class ModelAnswer implements Answer {
  readonly isFinished = false;
  readonly failure: undefined;
  /** There once a sequence is being read. */
  sequence: SequenceOutput | undefined;
  private value: { readonly value: unknown } | undefined;

  chunk(value: unknown): void {
    this.sequence?.add(value);
  }

  whole(value: unknown): void {
    this.value = { value };
  }

  attributes(): Attributes | undefined {
    return this.value === undefined ? this.sequence?.attributes() : valueOutput(this.value.value);
  }
}
