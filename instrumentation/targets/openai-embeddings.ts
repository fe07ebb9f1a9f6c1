// SPDX-License-Identifier: Apache-2.0
/**
 * Embeddings: what a request says before it is sent, and what its answer says. The vectors are digested as the application
 * gets them. Relies on no field being there: other providers speak this interface with gaps.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';
import type { Described } from '../api-client.ts';
import { property } from '../invocation.ts';
import { ValueAnswer } from '../watch.ts';
import { fields, fieldsOf, listOf, textOf, userMessages, without } from './values.ts';

const PARAMETERS = fields([
  ['model', names.ATTR_GEN_AI_REQUEST_MODEL, 'string'],
  ['dimensions', names.ATTR_GEN_AI_EMBEDDINGS_DIMENSION_COUNT, 'number'],
]);

const REPORTED = fields([
  ['model', names.ATTR_GEN_AI_RESPONSE_MODEL, 'string'],
  ['usage.prompt_tokens', names.ATTR_GEN_AI_USAGE_INPUT_TOKENS, 'number'],
]);

/** What does not configure the model: the content, and whom the answer is for. */
const NOT_CONFIGURATION: ReadonlySet<string> = new Set(['input', 'user']);

/** A call for embeddings. */
export function embeddingsCall(body: unknown, server: Attributes): Described {
  const operation = names.GEN_AI_OPERATION_NAME_VALUE_EMBEDDINGS;
  const model = textOf(property(body, 'model'));
  const format = textOf(property(body, 'encoding_format'));
  return {
    start: {
      name: model === undefined ? operation : `${operation} ${model}`,
      attributes: {
        [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
        ...server,
        ...fieldsOf(body, PARAMETERS),
        ...(format !== undefined && { [names.ATTR_GEN_AI_REQUEST_ENCODING_FORMATS]: [format] }),
      },
      input: () => ({
        content: { input: property(body, 'input') },
        config: without(body, NOT_CONFIGURATION),
        messages: () => userMessages(property(body, 'input')),
      }),
    },
    answer: new ValueAnswer(vectorsOf, reportedOf),
  };
}

function vectorsOf(value: unknown): unknown {
  const data = property(value, 'data');
  return Array.isArray(data) ? data.map((item) => property(item, 'embedding')) : value;
}

function reportedOf(value: unknown): Attributes {
  const [first] = listOf(property(value, 'data'));
  const vector = property(first, 'embedding');
  return {
    ...fieldsOf(value, REPORTED),
    ...(Array.isArray(vector) && { [names.ATTR_GEN_AI_EMBEDDINGS_DIMENSION_COUNT]: vector.length }),
  };
}
