// SPDX-License-Identifier: Apache-2.0
/**
 * The smaller interfaces of `openai`: text completions, moderations and decisions; what a request says before it is sent, and
 * what its answer says. The outcome of a decision is content, and so are the categories of a moderation.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import { chatMessages } from '../../semconv/messages.ts';
import type { Described } from '../api-client.ts';
import { property } from '../invocation.ts';
import { currentSettings } from '../settings.ts';
import { ValueAnswer } from '../watch.ts';
import { ChatAnswer, PARAMETERS } from './openai-chat.ts';
import {
  type Field,
  fields,
  fieldsOf,
  indexOf,
  listOf,
  textOf,
  userMessages,
  without,
} from './values.ts';

/** What does not configure the model: the content, how the answer is delivered, and whom it is for. */
const NOT_CONFIGURATION: ReadonlySet<string> = new Set([
  'prompt',
  'suffix',
  'input',
  'stream',
  'stream_options',
  'user',
  'safety_identifier',
  'prompt_cache_key',
]);

/** A call for text completions, the interface before chat completions. */
export function completionsCall(body: unknown, server: Attributes): Described {
  const prompt = property(body, 'prompt');
  const stop = property(body, 'stop');
  const stops = [stop].flat().filter((text) => typeof text === 'string');
  // A list of texts, or of lists of tokens, is as many prompts; a list of tokens is one.
  const isList = Array.isArray(prompt) && prompt.length > 0 && typeof prompt[0] !== 'number';
  const choiceCount = indexOf(property(body, 'n'), 1) * (isList ? prompt.length : 1);
  return described(names.GEN_AI_OPERATION_NAME_VALUE_TEXT_COMPLETION, body, {
    server,
    attributes: {
      ...fieldsOf(body, PARAMETERS),
      ...(stops.length > 0 && { [names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES]: stops }),
    },
    content: { prompt, suffix: property(body, 'suffix') },
    messages: () => userMessages(prompt, property(body, 'suffix')),
    answer: new ChatAnswer({ n: choiceCount }),
  });
}

/** A call that asks whether content is harmful. */
export function moderationsCall(body: unknown, server: Attributes): Described {
  const input = property(body, 'input');
  return described('moderate', body, {
    server,
    attributes: {},
    content: { input },
    messages: () =>
      userMessages([input].flat().map((part) => textOf(part) ?? property(part, 'text'))),
    answer: new ValueAnswer(
      (value) => property(value, 'results') ?? value,
      (value) => fieldsOf(value, MODERATION),
    ),
  });
}

const MODEL: Field = ['model', names.ATTR_GEN_AI_RESPONSE_MODEL, 'string'];
const MODERATION = fields([['id', names.ATTR_GEN_AI_RESPONSE_ID, 'string'], MODEL]);

/** A call that asks questions about an input and gets values, each with a probability. */
export function decisionsCall(body: unknown, server: Attributes): Described {
  const input = property(body, 'input');
  return described('decide', body, {
    server,
    attributes: {},
    content: { input },
    messages: () => chatMessages(input) ?? userMessages(input),
    answer: new ValueAnswer((value) => property(value, 'answers') ?? value, decisionReported),
  });
}

const DECISION = fields([
  MODEL,
  ['usage.input_tokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
  ['usage.output_tokens', names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS, 'number'],
  [
    'usage.input_tokens_details.cached_tokens',
    names.ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    'number',
  ],
  [
    'usage.input_tokens_details.cache_write_tokens',
    names.ATTR_GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    'number',
  ],
  [
    'usage.output_tokens_details.reasoning_tokens',
    names.ATTR_GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
    'number',
  ],
]);

/** What was decided is told of a single answer only: of several, none is the outcome. */
function decisionReported(value: unknown): Attributes {
  const answers = listOf(property(value, 'answers'));
  const [answer] = answers.length === 1 ? answers : [];
  const confidence = property(answer, 'confidence') ?? property(answer, 'probability');
  const outcome = property(answer, 'choice') ?? property(answer, 'score');
  const isFull = currentSettings().policy === names.AIGOV_CONTENT_POLICY_VALUE_FULL;
  const isRefused =
    answers.length > 0 && answers.every((given) => property(given, 'type') === 'refusal');
  return {
    ...fieldsOf(value, DECISION),
    ...(typeof confidence === 'number' && {
      [names.ATTR_AIGOV_DECISION_CONFIDENCE]: confidence,
    }),
    ...(isFull &&
      outcome !== undefined && { [names.ATTR_AIGOV_DECISION_OUTCOME]: String(outcome) }),
    ...(isRefused && { [names.ATTR_GEN_AI_RESPONSE_FINISH_REASONS]: ['refusal'] }),
  };
}

interface Given {
  readonly server: Attributes;
  readonly attributes: Attributes;
  readonly content: unknown;
  readonly messages: () => unknown;
  readonly answer: Described['answer'];
}

function described(operation: string, body: unknown, given: Given): Described {
  const model = textOf(property(body, 'model'));
  return {
    start: {
      name: model === undefined ? operation : `${operation} ${model}`,
      attributes: {
        [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
        ...given.server,
        ...(model !== undefined && { [names.ATTR_GEN_AI_REQUEST_MODEL]: model }),
        ...given.attributes,
      },
      input: () => ({
        content: given.content,
        config: without(body, NOT_CONFIGURATION),
        messages: given.messages,
      }),
    },
    answer: given.answer,
  };
}
